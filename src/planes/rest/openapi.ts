import type { TSchema } from '@sinclair/typebox';
import { OPERATION_TABLE } from '../../domain/index.js';
import { PROJECTIONS } from '../projections.js';
import { PAGES, type PageRow } from './page-rows.js';
import { WIRE_FAULTS } from './problem.js';
import { ROUTE_GROUPS, type Route } from './routes/route.js';

/** The route table as an OpenAPI 3.1 document. Schemas with a title become components. */

type Json = Readonly<Record<string, unknown>>;

const PROBLEM_SCHEMA: Json = {
  type: 'object',
  description: 'RFC 9457 problem details.',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code'],
  properties: {
    type: { type: 'string', format: 'uri', description: '`urn:aegis:problem:<code>`.' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string', description: 'The request id.' },
    code: { type: 'string', enum: [...Object.keys(PROJECTIONS), ...Object.keys(WIRE_FAULTS)], description: 'Stable; branch on this.' },
    field: { type: 'string', description: 'Dotted path of the field that is wrong.' },
    next: { type: 'string', description: 'What to do next.' },
    statement: { type: 'string', description: 'Policy statement that decided, where disclosed.' },
    retryAfter: { type: 'integer', description: 'Seconds.' },
  },
};

/** Collects titled schemas and puts references in their place. */
class Components {
  readonly schemas: Record<string, Json> = { Problem: PROBLEM_SCHEMA };

  toSchema(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map((item) => this.toSchema(item));
    if (typeof schema !== 'object' || schema === null) return schema;
    const title = (schema as { title?: unknown }).title;
    if (typeof title !== 'string') return this.plain(schema);
    const { title: _title, ...rest } = schema as { title: string };
    const made = this.plain(rest);
    const known = this.schemas[title];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(made)) throw new Error(`two schemas are called ${title}`);
    this.schemas[title] = made;
    return { $ref: `#/components/schemas/${title}` };
  }

  /** Own enumerable string keys: TypeBox's symbols are not part of the document. */
  private plain(schema: object): Json {
    return Object.fromEntries(
      Object.entries(schema).map(([name, value]) => [name, name === 'properties' ? this.properties(value) : this.toSchema(value)]),
    );
  }

  /** A property called `title` is a property, not a name. */
  private properties(value: Readonly<Record<string, unknown>>): Json {
    return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, this.toSchema(schema)]));
  }
}

const HEADER_PARAMETERS: Json = {
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    required: false,
    description: 'ETag of the last answer; 412 when the object has changed since.',
    schema: { type: 'string' },
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'Fresh per request, e.g. a UUID: repeating the request answers the first answer again.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
  RequestId: {
    name: 'X-Request-Id',
    in: 'header',
    required: false,
    description:
      'Up to 128 printable characters without spaces come back in the answer, the audit record and problem details; instead of anything else the service makes one of its own.',
    schema: { type: 'string' },
  },
  Tenant: {
    name: 'X-Aegis-Tenant',
    in: 'header',
    required: false,
    description: 'Tenant, where the credential allows several.',
    schema: { type: 'string' },
  },
};
const parameterRef = (name: string): Json => ({ $ref: `#/components/parameters/${name}` });

function toParameters(route: Route, components: Components): unknown[] {
  const path = Object.entries(route.params.properties).map(([name, schema]) =>
    parameter(name, 'path', true, schema, route.example?.params?.[name], components),
  );
  const required = new Set(route.query.required ?? []);
  const query = Object.entries(route.query.properties).map(([name, schema]) =>
    parameter(name, 'query', required.has(name), schema, undefined, components),
  );
  const patterns = Object.values((route.query['patternProperties'] ?? {}) as Record<string, TSchema>).map((schema) =>
    parameter('tag.NAME', 'query', false, schema, undefined, components),
  );
  return [
    ...path,
    ...query,
    ...patterns,
    ...(route.ifMatch ? [parameterRef('IfMatch')] : []),
    ...(route.idempotent ? [parameterRef('IdempotencyKey')] : []),
    parameterRef('RequestId'),
    parameterRef('Tenant'),
  ];
}

function parameter(
  name: string,
  where: 'path' | 'query',
  required: boolean,
  schema: TSchema,
  example: string | undefined,
  components: Components,
): Json {
  const { description, ...rest } = components.toSchema(schema) as { description?: string };
  return {
    name,
    in: where,
    required,
    ...(description === undefined ? {} : { description }),
    schema: rest,
    // Lists are comma separated.
    ...(schema['type'] === 'array' ? { style: 'form', explode: false } : {}),
    ...(example === undefined ? {} : { example }),
  };
}

function toContent(route: Route, components: Components): Json {
  const { answer, example } = route;
  if (answer.kind === 'empty') return {};
  if (answer.kind === 'json')
    return {
      content: {
        'application/json': {
          schema: components.toSchema(answer.schema),
          ...(example?.response === undefined ? {} : { example: example.response }),
        },
      },
    };
  const schemaOf = (media: string): unknown => {
    if (answer.kind === 'raw' && answer.schema !== undefined && media === 'application/json') return components.toSchema(answer.schema);
    return media === 'application/octet-stream' ? {} : { type: media === 'application/jwk+json' ? 'object' : 'string' };
  };
  return { content: Object.fromEntries(answer.media.map((media) => [media, { schema: schemaOf(media) }])) };
}

const PROBLEM_RESPONSES: Json = {
  '401': { $ref: '#/components/responses/Problem' },
  '403': { $ref: '#/components/responses/Problem' },
  default: { $ref: '#/components/responses/Problem' },
};

function toOperation(route: Route, components: Components): Json {
  const rows = route.operations.map((name) => OPERATION_TABLE[name]);
  return {
    operationId: route.id,
    tags: [ROUTE_GROUPS[route.group]],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    parameters: toParameters(route, components),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: route.bodyOptional !== true,
            content: {
              'application/json': {
                schema: components.toSchema(route.body),
                ...(route.example?.body === undefined ? {} : { example: route.example.body }),
              },
            },
          },
        }),
    responses: {
      [route.success]: { description: route.success === 204 ? 'Done.' : 'Success.', ...toContent(route, components) },
      ...PROBLEM_RESPONSES,
    },
    'x-aegis-operations': route.operations,
    'x-aegis-action': rows[0]?.action,
    'x-aegis-effect': rows[0]?.effect,
    ...(route.cli === undefined ? {} : { 'x-aegis-cli': route.cli }),
  };
}

const toPage = (row: PageRow, components: Components): Json => {
  const content = {
    content: {
      [row.media]: {
        schema:
          row.schema === undefined ? { type: row.media === 'application/json' ? 'object' : 'string' } : components.toSchema(row.schema),
      },
    },
  };
  return {
    operationId: `page-${row.id}`,
    tags: ['Pages without a credential'],
    summary: row.summary,
    description: row.description,
    security: [],
    responses: {
      '200': { description: 'Success.', ...content },
      ...(row.unavailable ? { '503': { description: 'Something is down.', ...content } } : {}),
    },
  };
};

export function toOpenApi(routes: readonly Route[], version: string): Json {
  const components = new Components();
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    Object.assign(paths[route.path] as object, { [route.method.toLowerCase()]: toOperation(route, components) });
  }
  for (const row of PAGES) paths[row.path] = { get: toPage(row, components) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Aegis REST API',
      version,
      description:
        'Every call passes the same guard: identity, policy, audit. Bytes are standard base64, times RFC 3339, errors RFC 9457 problem details with a stable `code`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { certificate: [] }],
    tags: [...Object.values(ROUTE_GROUPS), 'Pages without a credential'].map((name) => ({ name })),
    paths,
    components: {
      schemas: components.schemas,
      parameters: HEADER_PARAMETERS,
      responses: {
        Problem: {
          description: 'Refused or failed; `code` says why.',
          headers: {
            'X-Request-Id': { schema: { type: 'string' } },
            'Retry-After': { schema: { type: 'integer' }, description: 'Seconds.' },
          },
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'API token (RFC 6750).' },
        certificate: { type: 'mutualTLS', description: 'Client certificate, where configured.' },
      },
    },
  };
}
