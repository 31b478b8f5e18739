import type { TObject, TSchema } from '@sinclair/typebox';
import { OPERATION_TABLE } from '../../domain/index.js';
import { PROJECTIONS } from '../projections.js';
import { PAGES } from './page-rows.js';
import { WIRE_FAULTS } from './problem.js';
import { ROUTE_GROUPS, type Route, type RouteGroup } from './routes/route.js';
import { expectation } from './validation.js';

/** The route table as the reference page docs/reference/rest.md; checked for drift in the suite. */

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function kind(schema: TSchema): string {
  if (schema['type'] === 'array') return `list of ${kind(schema['items'] as TSchema)}`;
  if (typeof schema['title'] === 'string') return schema['title'];
  const values = schema['enum'] as readonly unknown[] | undefined;
  if (values !== undefined && values.length > 12) return `one of ${values.length} words`;
  return expectation(schema);
}

/** Long closed lists are told once, at the end, under the name of the list. */
function rows(schema: TSchema, label: string): string[] {
  if (schema['properties'] === undefined) return [];
  const object = schema as TObject;
  const required = new Set(object.required ?? []);
  return Object.entries(object.properties).map(([name, property]) => {
    const need = required.has(name) ? 'yes' : '';
    return `| ${label} \`${name}\` | ${cell(kind(property))} | ${need} | ${cell(property.description ?? '')} |`;
  });
}

function parameters(route: Route): string[] {
  const patterns = Object.values((route.query['patternProperties'] ?? {}) as Record<string, TSchema>).map(
    (schema) => `| query \`tag.NAME\` | text |  | ${cell(schema.description ?? '')} |`,
  );
  const headers = [
    ...(route.ifMatch ? ['| header `If-Match` | ETag |  | Only if still at that revision; 412 otherwise. |'] : []),
    ...(route.idempotent ? ['| header `Idempotency-Key` | text |  | Repeating the request answers the first answer again. |'] : []),
  ];
  const all = [
    ...rows(route.params, 'path'),
    ...rows(route.query, 'query'),
    ...patterns,
    ...headers,
    ...(route.body === undefined ? [] : rows(route.body, 'body')),
  ];
  return all.length === 0 ? [] : ['| | Type | Required | |', '|---|---|---|---|', ...all, ''];
}

function answer(route: Route): string[] {
  const { answer: a } = route;
  if (a.kind === 'empty') return ['Answers 204.', ''];
  if (a.kind === 'json') {
    const name = a.schema['title'] as string | undefined;
    const fields = Object.keys((a.schema['properties'] as object | undefined) ?? {});
    return [`Answers ${route.success}${name === undefined ? '' : ` ${name}`}: ${fields.map((f) => `\`${f}\``).join(', ')}.`, ''];
  }
  return [`Answers ${route.success}: ${a.media.join(', ')}${a.kind === 'stream' ? ', streamed' : ''}.`, ''];
}

function curl(route: Route): string[] {
  const { example } = route;
  if (example === undefined) return [];
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(example.params?.[name] ?? name));
  const query = new URLSearchParams(example.query ?? {}).toString();
  const body =
    example.body === undefined
      ? ''
      : ` \\\n  -H 'Content-Type: application/json' -d '${JSON.stringify(example.body).replaceAll("'", "'\\''")}'`;
  const method = route.method === 'GET' ? '' : ` -X ${route.method}`;
  return [
    '```sh',
    `curl -sS${method} -H "Authorization: Bearer $TOKEN" '$AEGIS${path}${query === '' ? '' : `?${query}`}'${body}`.replace(
      "'$AEGIS",
      '"$AEGIS"\'',
    ),
    ...(route.cli === undefined ? [] : [`# or: ${route.cli}`]),
    '```',
    '',
  ];
}

function section(route: Route): string[] {
  const actions = [...new Set(route.operations.map((name) => OPERATION_TABLE[name].action))].join(', ');
  return [
    `### ${route.method} ${route.path}`,
    '',
    `${route.summary}.${route.description === undefined ? '' : ` ${route.description}`}`,
    '',
    `Operation \`${route.operations.join('`, `')}\`, policy action \`${actions}\`.`,
    '',
    ...parameters(route),
    ...answer(route),
    ...curl(route),
  ];
}

const HEAD = `# REST reference

Made from the route table (src/planes/rest/routes) by \`npm run docs\`; do not edit. The same as OpenAPI 3.1: \`GET /openapi.json\`, to try out: \`/docs\`.

- Address: http://127.0.0.1:8420 unless configured. \`AEGIS=http://127.0.0.1:8420\` in the examples.
- Credential: \`Authorization: Bearer TOKEN\` (RFC 6750), or a client certificate where TLS is configured to ask for one. An Authorization header always decides; it never falls back to the certificate.
- Bytes are standard base64 with padding, times RFC 3339, bodies \`application/json\`. Unknown fields are refused.
- \`X-Request-Id\`: yours (at most 128 printable characters) or ours; it is in the answer, in the audit record and in problem details. \`X-Aegis-Tenant\` names the tenant where a credential allows several.
- Lists: \`limit\`, \`cursor\`; the answer has \`next\` and a \`Link\` header while there is more.
- \`ETag\` is the revision of an object; send it back as \`If-Match\` where the route takes it.
- \`Idempotency-Key\` on creating requests: the same key with the same request answers the first answer again (\`Idempotency-Replayed: true\`), with another request 422, while the first still runs 409. Remembered for 24 hours per credential. A failed request frees its key.
- Limits: 2 MiB body (413), 16 KiB headers (431), JSON 32 levels deep, 1,024 requests at once (503 with Retry-After), 30 s for an operation (504), unless configured.
`;

function faults(): string[] {
  const all = [
    ...Object.entries(PROJECTIONS).map(([code, row]) => [code, row.http, row.title] as const),
    ...Object.entries(WIRE_FAULTS).map(([code, row]) => [code, row.http, row.title] as const),
  ];
  return [
    '## Problems',
    '',
    'Every refusal is `application/problem+json` (RFC 9457): `type` (`urn:aegis:problem:CODE`), `title`, `status`, `detail`, `instance` (the request id), `code`, and where they help `field`, `next` (what to do), `retryAfter` (seconds). Branch on `code`.',
    '',
    '| code | Status | |',
    '|---|---|---|',
    ...all.map(([code, http, title]) => `| \`${code}\` | ${http} | ${cell(title)} |`),
    '',
  ];
}

export function toReferenceMarkdown(routes: readonly Route[]): string {
  const groups = (Object.keys(ROUTE_GROUPS) as RouteGroup[]).flatMap((group) => [
    `## ${ROUTE_GROUPS[group]}`,
    '',
    ...routes.filter((route) => route.group === group).flatMap(section),
  ]);
  const pages = [
    '## Pages without a credential',
    '',
    '| | |',
    '|---|---|',
    ...PAGES.map((p) => `| GET ${p.path} | ${cell(`${p.summary}: ${p.description} (${p.media})`)} |`),
    '',
  ];
  return `${[HEAD, ...groups, ...pages, ...faults()].join('\n').trimEnd()}\n`;
}
