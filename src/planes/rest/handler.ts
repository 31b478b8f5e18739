import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Caller, Fault, GuardedService, OperationName, Result } from '../../domain/index.js';
import { sendProblem } from './answer.js';
import { toCaller } from './caller.js';
import { parseIfMatch } from './etag.js';
import { type Claim, claimKey, parseIdempotencyKey, type StoredAnswer } from './idempotency.js';
import type { InFlight } from './in-flight.js';
import type { IdempotencyPort } from './ports.js';
import { WireRefusal } from './problem.js';
import type { Route, RouteInput } from './routes/route.js';
import { compileDecoder } from './schema-kinds.js';

/** One handler for every row: decode → service → encode. */

export interface HandlerParts {
  readonly service: GuardedService;
  readonly idempotency: IdempotencyPort;
  readonly idempotencyTtlMs: number;
  readonly inFlight: InFlight;
}

/** The guarded service with its types erased; a row's `toCall` pairs operation and request, and its answer takes what that operation gives. */
type ErasedService = (operation: OperationName, request: unknown, caller: Caller) => Promise<Result<never>>;

/** If-Match on a row that can't honour it must not be ignored (RFC 9110 §13.1.1: the method MUST NOT be performed if it is false). */
function revisionOf(route: Route, header: string): number | undefined {
  if (route.ifMatch !== true) {
    if (route.method === 'GET') return undefined;
    throw new WireRefusal({
      code: 'invalid-request',
      message: 'If-Match cannot be honoured here',
      field: 'If-Match',
      next: 'Leave it out; it is taken where the reference says so.',
    });
  }
  const revision = parseIfMatch(header);
  if (revision === 'any') return undefined;
  if (revision !== undefined) return revision;
  throw new WireRefusal({
    code: 'precondition-required',
    message: 'If-Match names no revision of this object',
    field: 'If-Match',
    next: 'Send the ETag of the last answer as it came: one strong tag.',
  });
}

/** With If-Match the conflict is the failed precondition the caller asked about (RFC 9110 §15.5.13). */
const atRevision = (fault: Fault, input: RouteInput): Fault =>
  fault.code === 'conflict' && input.revision !== undefined
    ? {
        ...fault,
        code: 'precondition-required',
        field: 'If-Match',
        next: 'Read the object again and repeat the change on its current revision.',
      }
    : fault;

/** Link to the next page (RFC 8288). */
function nextLink(url: string, cursor: string): string {
  const question = url.indexOf('?');
  const parameters = new URLSearchParams(question === -1 ? '' : url.slice(question + 1));
  parameters.set('cursor', cursor);
  return `<${question === -1 ? url : url.slice(0, question)}?${parameters.toString()}>; rel="next"`;
}

export type RouteHandler = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

export function makeHandler(route: Route, parts: HandlerParts): RouteHandler {
  const decodeBody = route.body === undefined ? undefined : compileDecoder(route.body);
  const decodeQuery = compileDecoder(route.query);
  const send = senderOf(route, parts.inFlight);

  const toInput = (request: FastifyRequest): RouteInput => {
    const ifMatch = request.headers['if-match'];
    const revision = ifMatch === undefined ? undefined : revisionOf(route, ifMatch);
    return {
      params: request.params,
      query: decodeQuery === undefined ? request.query : decodeQuery(request.query, ''),
      body: decodeBody === undefined ? request.body : decodeBody(request.body, ''),
      accept: request.headers.accept ?? '',
      ...(revision === undefined ? undefined : { revision }),
    };
  };

  const service = parts.service as unknown as ErasedService;
  const run = async (request: FastifyRequest, reply: FastifyReply, caller: Caller, input: RouteInput): Promise<void> => {
    const call = route.toCall(input);
    const result = await service(call.operation, call.request, caller);
    if (reply.sent) return;
    if (result.ok) await send(request, reply, result.value, input);
    else sendProblem(request, reply, atRevision(result.fault, input));
  };

  if (route.idempotent === true) return withIdempotency(route, parts, toInput, run);
  return (request, reply) => run(request, reply, toCaller(request, parts.inFlight.signalOf(request)), toInput(request));
}

type Sender = (request: FastifyRequest, reply: FastifyReply, value: never, input: RouteInput) => void | Promise<void>;

function senderOf(route: Route, inFlight: InFlight): Sender {
  const { answer, success } = route;
  switch (answer.kind) {
    case 'json':
      return (request, reply, value, input) => {
        const body = answer.fromResponse(value, input);
        if (answer.headers !== undefined) void reply.headers(answer.headers(value));
        const next = (body as { next?: unknown }).next;
        if (typeof next === 'string') void reply.header('link', nextLink(request.url, next));
        void reply.code(success).send(body);
      };
    case 'empty':
      return (_request, reply) => void reply.code(success).send();
    case 'raw':
      return (request, reply, value, input) => {
        const raw = answer.toRaw(value, input);
        if (raw.headers !== undefined) void reply.headers(raw.headers);
        if (raw.next !== undefined) void reply.header('link', nextLink(request.url, raw.next));
        void reply.code(success).header('content-type', raw.type).send(raw.body);
      };
    case 'stream':
      return async (request, reply, value, input) => {
        const stream = answer.toStream(value, input);
        const chunks = await started(stream.chunks);
        if (reply.sent || reply.raw.destroyed) {
          reply.hijack();
          await chunks.return(undefined);
          return;
        }
        inFlight.lift(request);
        if (stream.headers !== undefined) void reply.headers(stream.headers);
        void reply
          .code(success)
          .header('content-type', stream.type)
          .send(Readable.from(chunks, { objectMode: false }));
        // The handler is done when the response is: fastify would end it empty otherwise.
        await new Promise((resolve) => reply.raw.once('close', resolve));
      };
  }
}

/** Waits for the first chunk, so that a source that fails at once is a problem document and not a cut-off 200. */
async function started(chunks: AsyncIterable<Uint8Array>): Promise<AsyncGenerator<Uint8Array>> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    try {
      if (first.done === true) return;
      yield first.value;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  })();
}

type Run = (request: FastifyRequest, reply: FastifyReply, caller: Caller, input: RouteInput) => Promise<void>;

function withIdempotency(route: Route, parts: HandlerParts, toInput: (request: FastifyRequest) => RouteInput, run: Run): RouteHandler {
  const { answer } = route;
  if (answer.kind !== 'json') throw new Error(`route ${route.id}: only JSON answers can be replayed`);
  const service = parts.service as unknown as ErasedService;

  const runClaimed = async (request: FastifyRequest, caller: Caller, input: RouteInput, claim: Claim): Promise<StoredAnswer | Fault> => {
    try {
      const call = route.toCall(input);
      const result = await service(call.operation, call.request, caller);
      if (!result.ok) {
        await claim.release();
        return atRevision(result.fault, input);
      }
      const stored = { headers: answer.headers?.(result.value) ?? {}, body: JSON.stringify(answer.fromResponse(result.value, input)) };
      // The call is done and audited: a store that fails now must not turn success into failure.
      await claim.complete(route.success, stored).catch(() => request.log.warn({ requestId: request.id }, 'idempotent answer not stored'));
      return stored;
    } catch (error) {
      await claim.release().catch(() => undefined);
      throw error;
    }
  };

  return async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const caller = toCaller(request, parts.inFlight.signalOf(request));
    // Written down as sent: decoding changes the body in place.
    const text =
      key === undefined ? '' : JSON.stringify([route.method, request.url, request.headers['if-match'] ?? null, request.body ?? null]);
    const input = toInput(request);
    const outcome =
      key === undefined ? undefined : await claimKey(parts.idempotency, parts.service, caller, key, text, parts.idempotencyTtlMs);
    if (outcome === undefined) return run(request, reply, caller, input);
    const done = outcome.kind === 'replay' ? outcome.answer : await runClaimed(request, caller, input, outcome.claim);
    if (reply.sent) return;
    if ('code' in done) return sendProblem(request, reply, done);
    if (outcome.kind === 'replay') void reply.header('idempotency-replayed', 'true');
    const status = outcome.kind === 'replay' ? outcome.status : route.success;
    void reply.headers(done.headers).code(status).header('content-type', 'application/json; charset=utf-8').send(done.body);
  };
}
