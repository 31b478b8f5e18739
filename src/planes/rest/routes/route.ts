import type { Static, StaticDecode, TObject, TSchema } from '@sinclair/typebox';
import type { OperationName, OperationRequest, OperationResponse } from '../../../domain/index.js';
import { closed } from '../schema-kinds.js';

/**
 * A route is a row: everything about it is data, and registration, validation, OpenAPI, the reference page, the tests and
 * the CLI derive from it.
 */
const HTTP_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];

export const ROUTE_GROUPS = {
  keys: 'Keys',
  use: 'Using keys',
  'multi-part': 'Multi-part operations',
  random: 'Random numbers and digests',
  identity: 'Principals and tokens',
  certificates: 'Certificates',
  policies: 'Policies',
  audit: 'Audit',
  service: 'Roots of trust and service',
} as const;
export type RouteGroup = keyof typeof ROUTE_GROUPS;

/** What a row's functions see: validated and decoded. */
export interface RouteInput<P = unknown, Q = unknown, B = unknown> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Revision named by If-Match, on rows that take it. */
  readonly revision?: number;
  /** Accept header, for rows that offer several formats. */
  readonly accept: string;
}

export interface RouteExample {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly response?: unknown;
}

/** Raw answer: bytes of a type of its own. */
export interface RawAnswer {
  readonly type: string;
  readonly body: Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cursor of the next page, for the Link header. */
  readonly next?: string;
}
/** Streamed answer; backpressure comes from the client. */
export interface StreamAnswer {
  readonly type: string;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The facts about a row that are not its functions. */
interface RouteFacts {
  /** OpenAPI operationId, unique. */
  readonly id: string;
  readonly method: HttpMethod;
  /** `/v1/keys/{id}`. */
  readonly path: string;
  readonly group: RouteGroup;
  readonly summary: string;
  readonly description?: string;
  readonly example?: RouteExample;
  /** The same with the command line. */
  readonly cli?: string;
  /** A request without a body counts as `{}`. */
  readonly bodyOptional?: true;
  /** Takes If-Match with the object's ETag; a mismatch is 412. */
  readonly ifMatch?: true;
  /** Takes Idempotency-Key. Never on rows whose answer holds a token, a key or plaintext. */
  readonly idempotent?: true;
}

interface RouteParts<O extends OperationName, P extends TSchema, Q extends TSchema, B extends TSchema> extends RouteFacts {
  readonly operation: O;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly toRequest: (input: RouteInput<StaticDecode<P>, StaticDecode<Q>, StaticDecode<B>>) => OperationRequest<O>;
}

export interface JsonRouteRow<O extends OperationName, P extends TSchema, Q extends TSchema, B extends TSchema, R extends TSchema>
  extends RouteParts<O, P, Q, B> {
  readonly response: R;
  readonly success: 200 | 201;
  readonly fromResponse: (
    response: OperationResponse<O>,
    input: RouteInput<StaticDecode<P>, StaticDecode<Q>, StaticDecode<B>>,
  ) => Static<R>;
  /** ETag, Location and the like. */
  readonly headers?: (response: OperationResponse<O>) => Readonly<Record<string, string>>;
}
export interface RawRouteRow<O extends OperationName, P extends TSchema, Q extends TSchema, B extends TSchema>
  extends RouteParts<O, P, Q, B> {
  readonly media: readonly string[];
  /** Shape of the JSON form, where one of the media is application/json. */
  readonly schema?: TSchema;
  readonly toRaw: (response: OperationResponse<O>, input: RouteInput<StaticDecode<P>, StaticDecode<Q>, StaticDecode<B>>) => RawAnswer;
}
export interface StreamRouteRow<O extends OperationName, P extends TSchema, Q extends TSchema, B extends TSchema>
  extends RouteParts<O, P, Q, B> {
  readonly media: readonly string[];
  readonly toStream: (response: OperationResponse<O>, input: RouteInput<StaticDecode<P>, StaticDecode<Q>, StaticDecode<B>>) => StreamAnswer;
}

/** An operation with its own request, as one value. */
export type OperationCall = {
  readonly [O in OperationName]: { readonly operation: O; readonly request: OperationRequest<O> };
}[OperationName];

/** How a row answers. */
export type RouteAnswer =
  | {
      readonly kind: 'json';
      readonly schema: TSchema;
      readonly fromResponse: (response: never, input: RouteInput) => unknown;
      readonly headers?: (response: never) => Readonly<Record<string, string>>;
    }
  | { readonly kind: 'empty' }
  | {
      readonly kind: 'raw';
      readonly media: readonly string[];
      readonly schema?: TSchema;
      readonly toRaw: (response: never, input: RouteInput) => RawAnswer;
    }
  | { readonly kind: 'stream'; readonly media: readonly string[]; readonly toStream: (response: never, input: RouteInput) => StreamAnswer };

/** A row with its types erased: what registration, OpenAPI, docs, tests and the CLI iterate. */
export interface Route extends RouteFacts {
  readonly operations: readonly OperationName[];
  readonly params: TObject;
  readonly query: TObject;
  /** Absent: the route takes no body. */
  readonly body?: TSchema;
  readonly success: 200 | 201 | 204;
  readonly answer: RouteAnswer;
  readonly toCall: (input: RouteInput) => OperationCall;
}

type AnyParts = RouteParts<OperationName, TSchema, TSchema, TSchema>;
type Empty = TObject<Record<never, never>>;

/** Erasing is safe because registration validates and decodes with the row's own schemas before it calls the row's functions. */
function erase(row: object, success: 200 | 201 | 204, answer: RouteAnswer): Route {
  const { operation, toRequest, ...facts } = row as AnyParts;
  return {
    ...facts,
    operations: [operation],
    params: (facts.params ?? closed({})) as TObject,
    query: (facts.query ?? closed({})) as TObject,
    success,
    answer,
    toCall: (input) => ({ operation, request: toRequest(input as never) }) as OperationCall,
  };
}

export const jsonRoute = <
  const O extends OperationName,
  R extends TSchema,
  P extends TSchema = Empty,
  Q extends TSchema = Empty,
  B extends TSchema = Empty,
>({
  response,
  success,
  fromResponse,
  headers,
  ...row
}: JsonRouteRow<O, P, Q, B, R>): Route =>
  erase(row, success, {
    kind: 'json',
    schema: response,
    fromResponse: fromResponse as (response: never, input: RouteInput) => unknown,
    ...(headers === undefined ? {} : { headers: headers as (response: never) => Readonly<Record<string, string>> }),
  });

/** 204: done, nothing to say. */
export const emptyRoute = <const O extends OperationName, P extends TSchema = Empty, Q extends TSchema = Empty, B extends TSchema = Empty>(
  row: RouteParts<O, P, Q, B>,
): Route => erase(row, 204, { kind: 'empty' });

export const rawRoute = <const O extends OperationName, P extends TSchema = Empty, Q extends TSchema = Empty, B extends TSchema = Empty>({
  media,
  schema,
  toRaw,
  ...row
}: RawRouteRow<O, P, Q, B>): Route =>
  erase(row, 200, {
    kind: 'raw',
    media,
    ...(schema === undefined ? {} : { schema }),
    toRaw: toRaw as (response: never, input: RouteInput) => RawAnswer,
  });

export const streamRoute = <
  const O extends OperationName,
  P extends TSchema = Empty,
  Q extends TSchema = Empty,
  B extends TSchema = Empty,
>({
  media,
  toStream,
  ...row
}: StreamRouteRow<O, P, Q, B>): Route =>
  erase(row, 200, { kind: 'stream', media, toStream: toStream as (response: never, input: RouteInput) => StreamAnswer });
