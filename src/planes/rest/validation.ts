import type { TObject } from '@sinclair/typebox';
import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { NOTHING_HERE, type WireFault } from './problem.js';
import { closest } from './suggestion.js';

/** ajv's findings → a fault that names the field, what is expected and what to do. The values sent are never repeated. */

interface Finding extends FastifySchemaValidationError {
  /** ajv `verbose`: the schema object that holds the failing keyword. */
  readonly parentSchema?: Readonly<Record<string, unknown>>;
}
type Parameters = Readonly<Record<string, unknown>>;

const NAME_MAX = 64;
const shown = (name: string): string => (name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name);

/** JSON pointer (RFC 6901) → dotted path. */
const toPath = (pointer: string, tail?: string): string =>
  [
    ...pointer
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')),
    ...(tail === undefined ? [] : [tail]),
  ]
    .map(shown)
    .join('.');

/** A schema in a few words, for “is required” and “must be”. */
export function expectation(schema: Readonly<Record<string, unknown>> | undefined): string {
  if (schema === undefined) return 'a value';
  const values = schema['enum'];
  if (Array.isArray(values)) return values.length > 12 ? `one of ${values.slice(0, 12).join(', ')} …` : `one of ${values.join(', ')}`;
  const types = ([] as unknown[]).concat(schema['type'] ?? []);
  const named = types.map((type) => {
    if (type === 'string' && schema['contentEncoding'] === 'base64') return 'base64 text';
    if (type === 'string' && schema['format'] === 'date-time') return 'an RFC 3339 date and time';
    return WORDS[String(type)] ?? String(type);
  });
  return named.length === 0 ? 'a value' : named.join(' or ');
}
const WORDS: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  null: 'null',
};

type Told = { readonly message: string; readonly next: string; readonly tail?: string };

const didYouMean = (name: string, known: readonly string[]): string => {
  const near = closest(name, known);
  const list = known.length > 24 ? `${known.slice(0, 24).join(', ')} …` : known.join(', ');
  return `${near === undefined ? '' : `Did you mean “${near}”? `}${known.length === 0 ? 'No fields are taken here.' : `Accepted: ${list}.`}`;
};

/** Keyword → what to tell. Those not listed fall back to ajv's own words. */
const TELL: Readonly<Record<string, (params: Parameters, parent: Readonly<Record<string, unknown>> | undefined, data: unknown) => Told>> = {
  required: (params, parent) => {
    const missing = String(params['missingProperty']);
    const properties = parent?.['properties'] as Record<string, Record<string, unknown>> | undefined;
    return { message: `“${missing}” is required`, next: `Add “${missing}”: ${expectation(properties?.[missing])}.`, tail: missing };
  },
  additionalProperties: (params, parent) => {
    const unknown = String(params['additionalProperty']);
    const known = Object.keys((parent?.['properties'] as object | undefined) ?? {});
    return { message: `Unknown field “${shown(unknown)}”`, next: didYouMean(unknown, known), tail: unknown };
  },
  enum: (params, _parent, data) => {
    const allowed = (params['allowedValues'] as readonly unknown[]).map(String);
    const near = typeof data === 'string' ? closest(data, allowed) : undefined;
    return {
      message: 'Not one of the accepted values',
      next: `${near === undefined ? '' : `Did you mean “${near}”? `}Accepted: ${allowed.join(', ')}.`,
    };
  },
  type: (_params, parent) => ({ message: `Must be ${expectation(parent)}`, next: `Send ${expectation(parent)}.` }),
  minLength: (params) => ({ message: `Must have at least ${params['limit']} character(s)`, next: 'Send a longer text.' }),
  maxLength: (params) => ({ message: `Must have at most ${params['limit']} characters`, next: 'Send a shorter text.' }),
  minimum: (params) => ({ message: `Must be ${params['limit']} or more`, next: `Send ${params['limit']} or more.` }),
  maximum: (params) => ({ message: `Must be ${params['limit']} or less`, next: `Send ${params['limit']} or less.` }),
  exclusiveMinimum: (params) => ({ message: `Must be more than ${params['limit']}`, next: `Send more than ${params['limit']}.` }),
  minItems: (params) => ({ message: `Must have at least ${params['limit']} item(s)`, next: 'Send more items.' }),
  maxItems: (params) => ({ message: `Must have at most ${params['limit']} items`, next: 'Send fewer items.' }),
  uniqueItems: () => ({ message: 'Must not repeat an item', next: 'Name each item once.' }),
  minProperties: (_params, parent) => ({
    message: 'Nothing to do: no field is given',
    next: `Give at least one of ${Object.keys((parent?.['properties'] as object | undefined) ?? {}).join(', ')}.`,
  }),
  maxProperties: (params) => ({ message: `Must have at most ${params['limit']} entries`, next: 'Send fewer entries.' }),
  format: (params) =>
    params['format'] === 'date-time'
      ? { message: 'Must be an RFC 3339 date and time', next: 'Write it as 2026-01-31T12:00:00Z.' }
      : { message: `Must be in the format ${String(params['format'])}`, next: 'See GET /openapi.json for the format.' },
  pattern: (_params, parent) => ({
    message: 'Has characters that are not allowed here',
    next: typeof parent?.['description'] === 'string' ? `Expected: ${parent['description']}` : 'See GET /openapi.json for the pattern.',
  }),
};

export function toValidationFault(findings: readonly FastifySchemaValidationError[], context: string | undefined): WireFault {
  // `propertyNames` reports the name's own failing first and then itself; the name's is the useful one.
  const finding = findings[0] as Finding | undefined;
  if (finding === undefined) return { code: 'invalid-request', message: 'The request does not match its schema' };
  // An empty part of the path: `/v1/keys/` is not a key.
  if (context === 'params' && finding.keyword === 'minLength') return NOTHING_HERE;
  const told = TELL[finding.keyword]?.(finding.params, finding.parentSchema, (finding as { data?: unknown }).data) ?? {
    message: finding.message ?? 'Does not match its schema',
    next: 'See GET /openapi.json for what is expected.',
  };
  const field = toPath(finding.instancePath, told.tail);
  const where = context === 'querystring' ? ' in the query' : context === 'params' ? ' in the path' : '';
  if (field === '' && finding.keyword === 'type')
    return {
      code: 'invalid-request',
      message: 'A JSON object is required as the body',
      next: 'Send a JSON object with Content-Type: application/json.',
    };
  return { code: 'invalid-field', message: `${told.message}${where}`, ...(field === '' ? {} : { field }), next: told.next };
}

/** Query text → the types its schema names. What does not convert stays as it is, for the validator to refuse. */
export function coerceQuery(query: Record<string, unknown>, schema: TObject): void {
  for (const [name, value] of Object.entries(query)) {
    const type = schema.properties[name]?.['type'];
    if (type === 'array') query[name] = ([] as unknown[]).concat(value).flatMap((v) => (typeof v === 'string' ? v.split(',') : [v]));
    else if (typeof value !== 'string') continue;
    else if (type === 'integer' && /^-?\d{1,15}$/.test(value)) query[name] = Number(value);
    else if (type === 'number' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value)) query[name] = Number(value);
    else if (type === 'boolean' && (value === 'true' || value === 'false')) query[name] = value === 'true';
  }
}
