import {
  type ObjectOptions,
  type SchemaOptions,
  type StaticDecode,
  type TNull,
  type TObject,
  type TProperties,
  TransformKind,
  type TSchema,
  type TUnion,
  Type,
} from '@sinclair/typebox';

/**
 * The kinds of value on the REST wire. One TypeBox schema gives validation (ajv), the TypeScript type on the wire
 * (`Static`), the decoded type (`StaticDecode`), the OpenAPI 3.1 document and the reference page.
 */

/** A value of the right JSON type whose content does not decode; the decoder adds where it stood. */
class WireValueError extends Error {}

/** Object that knows its fields: an unknown one is an error that names it. */
export const closed = <P extends TProperties>(properties: P, options: ObjectOptions = {}): TObject<P> =>
  Type.Object(properties, { additionalProperties: false, ...options });

/** Closed list of words. A plain `enum` reads better in OpenAPI than a union of constants. */
export const word = <const V extends readonly string[]>(values: V, options: SchemaOptions = {}) =>
  Type.Unsafe<V[number]>({ type: 'string', enum: [...values], ...options });

export const text = (maxLength: number, options: SchemaOptions = {}) => Type.String({ minLength: 1, maxLength, ...options });

/** Every integer is bounded, so nothing beyond 2^53 or infinite gets past the door. */
export const int = (minimum: number, maximum: number, options: SchemaOptions = {}) => Type.Integer({ minimum, maximum, ...options });

/** Standard base64 with padding (RFC 4648 §4), and only its canonical form: what it decodes to encodes back to the same text. */
export function fromBase64(value: string): Buffer {
  const bytes = Buffer.from(value, 'base64');
  if (bytes.toString('base64') !== value) throw new WireValueError('must be standard base64 with padding (RFC 4648 §4)');
  return bytes;
}
export const toBase64 = (value: Uint8Array): string => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');

/** RFC 3339 → milliseconds since the epoch. */
function fromTimestamp(value: string): number {
  const at = Date.parse(value);
  if (Number.isNaN(at)) throw new WireValueError('must be an RFC 3339 date and time, e.g. 2026-01-31T12:00:00Z');
  return at;
}
export const toTimestamp = (value: number): string => new Date(value).toISOString();

/** Bytes in a request: base64 on the wire, a Buffer in `toRequest`. */
export const bytes = (description: string, options: SchemaOptions = {}) =>
  Type.Transform(Type.String({ contentEncoding: 'base64', description: `${description} Standard base64.`, ...options }))
    .Decode((value) => fromBase64(value) as Uint8Array)
    .Encode(toBase64);
/** Bytes in an answer. */
export const bytesOut = (description: string) => Type.String({ contentEncoding: 'base64', description: `${description} Standard base64.` });

/** Moment in a request: RFC 3339 on the wire, milliseconds in `toRequest`. */
export const timestamp = (description: string) =>
  Type.Transform(Type.String({ format: 'date-time', maxLength: 40, description }))
    .Decode(fromTimestamp)
    .Encode(toTimestamp);
export const timestampOut = (description: string) => Type.String({ format: 'date-time', description });

/** The same schema or null (OpenAPI 3.1: a list of types), typed as a union so that a decoded null stays null. */
export const nullable = <S extends TSchema>(schema: S): TUnion<[S, TNull]> => {
  const { enum: values, type, ...rest } = schema as S & { enum?: readonly unknown[]; type: string };
  const marks = Object.fromEntries(Object.getOwnPropertySymbols(schema).map((s) => [s, (schema as Record<symbol, unknown>)[s]]));
  return {
    ...rest,
    ...marks,
    type: [type, 'null'],
    ...(values === undefined ? {} : { enum: [...values, null] }),
  } as unknown as TUnion<[S, TNull]>;
};

/** Text pairs with bounded names and values. */
export const textPairs = (description: string, maxPairs = 64) =>
  Type.Unsafe<Record<string, string>>({
    type: 'object',
    description,
    maxProperties: maxPairs,
    propertyNames: { minLength: 1, maxLength: 128 },
    additionalProperties: { type: 'string', maxLength: 1024 },
  });
/** Free JSON by name. */
export const jsonPairs = (description: string, maxPairs = 128) =>
  Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    description,
    maxProperties: maxPairs,
    propertyNames: { minLength: 1, maxLength: 256 },
    additionalProperties: true,
  });

export type Decoder = (value: unknown, path: string) => unknown;

/** Where an undecodable value stood. */
export class WireFieldError extends Error {
  readonly field: string;
  constructor(field: string, reason: string) {
    super(reason);
    this.field = field;
  }
}

const joined = (path: string, name: string | number): string => (path === '' ? String(name) : `${path}.${name}`);

/**
 * Compiles the decoding of a schema once: undefined when nothing in it needs decoding. Validated values only; objects are
 * changed in place, they are this request's own.
 */
export function compileDecoder(schema: TSchema): Decoder | undefined {
  const transform = (schema as { [TransformKind]?: { Decode: (value: unknown) => unknown } })[TransformKind];
  if (transform !== undefined) return decodeValue(transform.Decode);
  if (schema['properties'] !== undefined) return decodeObject(schema['properties'] as TProperties);
  if (schema['items'] !== undefined) return decodeArray(schema['items'] as TSchema);
  return undefined;
}

const decodeValue =
  (decode: (value: unknown) => unknown): Decoder =>
  (value, path) => {
    if (value === null) return null;
    try {
      return decode(value);
    } catch (error) {
      if (error instanceof WireValueError) throw new WireFieldError(path, error.message);
      throw error;
    }
  };

function decodeObject(properties: TProperties): Decoder | undefined {
  const parts = Object.entries(properties).flatMap(([name, schema]) => {
    const decode = compileDecoder(schema);
    return decode === undefined ? [] : [{ name, decode }];
  });
  if (parts.length === 0) return undefined;
  return (value, path) => {
    if (value === null) return null;
    const record = value as Record<string, unknown>;
    for (const { name, decode } of parts) {
      if (record[name] !== undefined) record[name] = decode(record[name], joined(path, name));
    }
    return record;
  };
}

function decodeArray(items: TSchema): Decoder | undefined {
  const decode = compileDecoder(items);
  if (decode === undefined) return undefined;
  return (value, path) => (value === null ? null : (value as unknown[]).map((item, i) => decode(item, joined(path, i))));
}

export type Decoded<S extends TSchema> = StaticDecode<S>;
