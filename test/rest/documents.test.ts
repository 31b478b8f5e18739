import Ajv2020 from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { makeRestServer, ROUTES, toOpenApi, toReferenceMarkdown } from '../../src/planes/rest/index.js';
import { PAGES } from '../../src/planes/rest/page-rows.js';
import { DOCS_CSP, DOCS_HTML, DOCS_START } from '../../src/planes/rest/pages.js';
import { bearer, makeFakeService, makeObject, toOptions } from './fake-service.js';

const document = toOpenApi(ROUTES, '0.1.0') as {
  openapi: string;
  paths: Record<string, Record<string, OperationObject>>;
  components: { schemas: Record<string, object>; parameters: Record<string, object>; responses: Record<string, object> };
};
interface OperationObject {
  operationId: string;
  parameters?: { name?: string; in?: string; required?: boolean; $ref?: string }[];
  requestBody?: { content: { 'application/json': { schema: object; example?: unknown } } };
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
);

/** The parts of the OpenAPI 3.1.0 specification (§4.8) that this document uses, as a schema; nothing else is allowed in it. */
const closed = (properties: object, required: string[] = []) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  patternProperties: { '^x-': {} },
});
const reference = closed({ $ref: { type: 'string', pattern: '^#/components/' } }, ['$ref']);
const schema = { type: 'object' };
const media = { type: 'object', minProperties: 1, additionalProperties: closed({ schema, example: {} }, ['schema']) };
const parameter = {
  anyOf: [
    reference,
    closed(
      {
        name: { type: 'string' },
        in: { enum: ['path', 'query', 'header'] },
        required: { type: 'boolean' },
        description: { type: 'string' },
        schema,
        style: { const: 'form' },
        explode: { type: 'boolean' },
        example: {},
      },
      ['name', 'in', 'schema'],
    ),
  ],
};
const response = {
  anyOf: [reference, closed({ description: { type: 'string' }, headers: { type: 'object' }, content: media }, ['description'])],
};
const operationSchema = closed(
  {
    operationId: { type: 'string', pattern: '^[a-z-]+$' },
    tags: { type: 'array', items: { type: 'string' }, minItems: 1 },
    summary: { type: 'string', minLength: 4 },
    description: { type: 'string' },
    parameters: { type: 'array', items: parameter },
    requestBody: closed({ required: { type: 'boolean' }, content: media }, ['content']),
    responses: { type: 'object', minProperties: 1, propertyNames: { pattern: '^([1-5]\\d\\d|default)$' }, additionalProperties: response },
    security: { type: 'array' },
  },
  ['operationId', 'tags', 'summary', 'responses'],
);
const OPENAPI_31 = closed(
  {
    openapi: { const: '3.1.0' },
    info: closed(
      {
        title: { type: 'string' },
        version: { type: 'string' },
        description: { type: 'string' },
        license: closed({ name: {}, identifier: {} }, ['name']),
      },
      ['title', 'version'],
    ),
    servers: { type: 'array', items: closed({ url: { type: 'string' } }, ['url']) },
    security: { type: 'array', items: { type: 'object', additionalProperties: { type: 'array' } } },
    tags: { type: 'array', items: closed({ name: { type: 'string' } }, ['name']) },
    paths: {
      type: 'object',
      propertyNames: { pattern: '^/' },
      additionalProperties: closed({
        get: operationSchema,
        post: operationSchema,
        put: operationSchema,
        patch: operationSchema,
        delete: operationSchema,
      }),
    },
    components: closed({
      schemas: { type: 'object', propertyNames: { pattern: '^[A-Za-z0-9._-]+$' }, additionalProperties: schema },
      parameters: { type: 'object', additionalProperties: parameter },
      responses: { type: 'object', additionalProperties: response },
      securitySchemes: {
        type: 'object',
        additionalProperties: closed({ type: { enum: ['http', 'mutualTLS'] }, scheme: {}, description: {} }, ['type']),
      },
    }),
  },
  ['openapi', 'info', 'paths'],
);

describe('OpenAPI 3.1', () => {
  const ajv = new Ajv2020.default({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(document as object, 'openapi');

  it('is an OpenAPI 3.1 document', () => {
    const valid = ajv.validate(OPENAPI_31, document);
    expect(ajv.errors ?? []).toEqual([]);
    expect(valid).toBe(true);
  });

  it('has every route and page, and nothing else', () => {
    const told = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort();
    expect(told).toEqual([...ROUTES.map((r) => `${r.method} ${r.path}`), ...PAGES.map((p) => `GET ${p.path}`)].sort());
    expect(new Set(operations.map((o) => o.operation.operationId)).size).toBe(operations.length);
  });

  it('resolves every reference, and every schema compiles in draft 2020-12', () => {
    const refs = new Set<string>();
    JSON.stringify(document, (name, value) => {
      if (name === '$ref') refs.add(value);
      return value;
    });
    for (const ref of refs) {
      const found = ref
        .slice(2)
        .split('/')
        .reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], document);
      expect(found, ref).toBeTypeOf('object');
    }
    for (const name of Object.keys(document.components.schemas)) {
      expect(() => ajv.compile({ $ref: `openapi#/components/schemas/${name}` }), name).not.toThrow();
    }
  });

  it('names every part of a path as a required parameter, and no other', () => {
    for (const { path, operation } of operations) {
      const inPath = (operation.parameters ?? []).filter((p) => p.in === 'path');
      expect(inPath.map((p) => p.name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]));
      expect(inPath.every((p) => p.required)).toBe(true);
    }
  });

  it('has an example for every body that validates against the document’s own schema', () => {
    for (const { operation } of operations) {
      const body = operation.requestBody?.content['application/json'];
      if (body === undefined || operation.operationId === 'rotate') continue;
      if (body.example === undefined) continue;
      const absolute = JSON.parse(JSON.stringify(body.schema).replaceAll('"#/', '"openapi#/'));
      expect(ajv.validate(absolute, body.example), `${operation.operationId} ${ajv.errorsText()}`).toBe(true);
    }
  });

  it('describes what the server answers', async () => {
    const fake = makeFakeService();
    fake.objects.set('k', makeObject('k', { names: ['invoice'] }));
    const app = makeRestServer(toOptions(fake));
    const check = async (url: string, path: string, status: number, type: string) => {
      const answer = await app.inject({ url, headers: url.includes('nothing') ? {} : bearer });
      expect(answer.statusCode).toBe(status);
      const told = document.paths[path]?.['get']?.responses[String(status)] as { $ref?: string } | undefined;
      const described = told?.$ref === undefined ? told : document.components.responses['Problem'];
      const content = (described as { content: Record<string, { schema: object }> }).content[type]?.schema;
      const absolute = JSON.parse(JSON.stringify(content).replaceAll('"#/', '"openapi#/'));
      expect(ajv.validate(absolute, answer.json()), ajv.errorsText()).toBe(true);
    };
    await check('/v1/keys/k', '/v1/keys/{id}', 200, 'application/json');
    await check('/v1/keys', '/v1/keys', 200, 'application/json');
    await check('/v1/audit', '/v1/audit', 200, 'application/json');
    await check('/v1/status', '/v1/status', 200, 'application/json');
    await check('/v1/keys/nothing', '/v1/keys/{id}', 401, 'application/problem+json');
    await check('/health/ready', '/health/ready', 200, 'application/json');
  });

  it('is served, with an ETag', async () => {
    const app = makeRestServer(toOptions(makeFakeService()));
    const answer = await app.inject('/openapi.json');
    expect(answer.json()).toEqual(JSON.parse(JSON.stringify(document)));
    expect((await app.inject({ url: '/openapi.json', headers: { 'if-none-match': String(answer.headers['etag']) } })).statusCode).toBe(304);
  });
});

describe('/docs', () => {
  const app = makeRestServer(toOptions(makeFakeService()));

  it('is made of local files only', async () => {
    for (const text of [DOCS_HTML, DOCS_START, DOCS_CSP]) expect(text).not.toMatch(/\/\/[a-z0-9-]+\./i);
    const links = [...DOCS_HTML.matchAll(/(?:src|href)="([^"]+)"/g)].map((m) => String(m[1]));
    expect(links.length).toBeGreaterThan(3);
    for (const link of links) {
      expect(link).toMatch(/^\/[^/]/);
      const answer = await app.inject(link);
      expect(answer.statusCode, link).toBe(200);
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
      expect(answer.rawPayload.length).toBeGreaterThan(100);
    }
    for (const script of DOCS_HTML.match(/<script[^>]*>/g) ?? []) expect(script).toContain('src=');
  });

  it('allows itself to load nothing else and asks no validator', async () => {
    for (const url of ['/docs', '/docs/']) {
      const answer = await app.inject(url);
      expect(answer.headers['content-security-policy']).toBe(DOCS_CSP);
    }
    expect(DOCS_CSP).toContain("default-src 'none'");
    expect(DOCS_CSP).not.toContain('unsafe');
    expect(DOCS_CSP).not.toContain('http');
    expect(DOCS_START).toContain('validatorUrl: null');
    expect(DOCS_START).toContain('persistAuthorization: false');
  });
});

describe('the reference page', () => {
  const page = toReferenceMarkdown(ROUTES);
  it('tells every route, page and problem code', () => {
    for (const route of ROUTES) expect(page).toContain(`### ${route.method} ${route.path}\n`);
    for (const row of PAGES) expect(page).toContain(`GET ${row.path}`);
    expect(page).toContain('| `method-not-allowed` | 405 |');
    expect(page).toContain('| `unauthenticated` | 401 |');
  });
  it('is the same each time, and has no table row of another width', () => {
    expect(toReferenceMarkdown(ROUTES)).toBe(page);
    for (const line of page.split('\n').filter((l) => /^\| (path|query|body|header) /.test(l))) {
      expect(line.replaceAll('\\|', '').split('|'), line).toHaveLength(6);
    }
  });
});
