import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { makeCrlPage } from './crl.js';
import { makeJwks } from './jwks.js';
import { toOpenApi } from './openapi.js';
import { PAGES, type PageRow } from './page-rows.js';
import type { RestOptions } from './ports.js';
import { ROUTES } from './routes/table.js';

/** Pages without an operation: health, metrics, the public key set and the documents. None needs a credential. */

const SWAGGER = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui/package.json')), 'static');

/** Local files of the API documents, by the name they are asked for: no path of a client's choosing is ever opened. */
const DOCS_FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  'swagger-ui.css': { file: 'swagger-ui.css', type: 'text/css; charset=utf-8' },
  'swagger-ui-bundle.js': { file: 'swagger-ui-bundle.js', type: 'text/javascript; charset=utf-8' },
  'favicon-32x32.png': { file: 'favicon-32x32.png', type: 'image/png' },
};

/** Only our own files, no inline code, no frame, no other origin. */
export const DOCS_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const PAGE_HEADERS = {
  'content-security-policy': DOCS_CSP,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
} as const;

export const DOCS_HTML = `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Aegis REST API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <noscript>This page needs JavaScript. The same description is at <a href="/openapi.json">/openapi.json</a>.</noscript>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;
/** `validatorUrl: null`: the badge would ask a server on the internet. The token stays in the page and is gone with it. */
export const DOCS_START = `window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
});
`;

const page = (id: PageRow['id']): PageRow => {
  const row = PAGES.find((p) => p.id === id);
  if (row === undefined) throw new Error(`no page ${id}`);
  return row;
};

export function registerPages(app: FastifyInstance, options: RestOptions): void {
  registerHealth(app, options);
  const jwks = makeJwks(options.service, options.jwksTenant ?? 'default');
  app.get(page('jwks').path, async (request, reply) => {
    const body = await jwks(request.id);
    return reply.header('cache-control', 'public, max-age=60').header('content-type', 'application/jwk-set+json').send(body);
  });
  const crl = makeCrlPage(options.service, options.jwksTenant ?? 'default');
  app.get(page('crl').path, async (request, reply) => {
    const body = await crl((request.query as { readonly authority?: unknown }).authority, request.id);
    return reply.header('cache-control', 'public, max-age=60').header('content-type', 'application/pkix-crl').send(body);
  });
  registerDocuments(app, options.version);
}

function registerHealth(app: FastifyInstance, { readiness, metrics, version }: RestOptions): void {
  app.get(page('live').path, (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'live', version }));
  app.get(page('ready').path, async (request, reply) => {
    const state = await readiness().catch((error: unknown) => {
      request.log.error({ requestId: request.id, error: (error as Error).name }, 'readiness check failed');
      return { ready: false, checks: [{ name: 'readiness', state: 'down', detail: 'The check itself failed; see the log.' }] };
    });
    return reply
      .code(state.ready ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ status: state.ready ? 'ready' : 'unavailable', ready: state.ready, checks: state.checks });
  });
  app.get(page('metrics').path, async (_request, reply) =>
    reply
      .header('cache-control', 'no-store')
      .header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
      .send(await metrics()),
  );
}

function registerDocuments(app: FastifyInstance, version: string): void {
  const openApi = JSON.stringify(toOpenApi(ROUTES, version));
  const etag = `"${createHash('sha256').update(openApi).digest('base64url').slice(0, 22)}"`;
  app.get(page('openapi').path, (request, reply) => {
    void reply.header('etag', etag).header('cache-control', 'no-cache');
    if (request.headers['if-none-match'] === etag) return reply.code(304).send();
    return reply.header('content-type', 'application/json; charset=utf-8').send(openApi);
  });
  for (const path of [page('docs').path, `${page('docs').path}/`]) {
    app.get(path, (_request, reply) => reply.headers(PAGE_HEADERS).header('content-type', 'text/html; charset=utf-8').send(DOCS_HTML));
  }
  app.get('/docs/start.js', (_request, reply) => reply.header('content-type', 'text/javascript; charset=utf-8').send(DOCS_START));
  for (const [name, { file, type }] of Object.entries(DOCS_FILES)) {
    app.get(`/docs/${name}`, async (_request, reply) =>
      reply
        .header('content-type', type)
        .header('cache-control', 'public, max-age=3600')
        .send(await readFile(join(SWAGGER, file))),
    );
  }
}
