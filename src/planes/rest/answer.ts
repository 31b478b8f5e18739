import type { FastifyReply, FastifyRequest } from 'fastify';
import { FaultError } from '../../domain/index.js';
import { faultStatus, INTERNAL, PROBLEM_MEDIA, toProblem, type WireFault, WireRefusal } from './problem.js';
import { WireFieldError } from './schema-kinds.js';
import { toValidationFault } from './validation.js';

/** How refusals leave: RFC 9457 problem details, whatever went wrong and wherever. */

export function sendProblem(request: FastifyRequest, reply: FastifyReply, fault: WireFault): void {
  if (reply.sent) return;
  const problem = toProblem(fault, request.id);
  void reply.code(faultStatus(fault.code).http).header('content-type', PROBLEM_MEDIA);
  if (problem.retryAfter !== undefined) void reply.header('retry-after', String(problem.retryAfter));
  if (problem.status === 401) void reply.header('www-authenticate', challenge(request));
  void reply.send(JSON.stringify(problem));
}

/** RFC 6750 §3: the error is only named to a caller that presented a credential. */
const challenge = (request: FastifyRequest): string =>
  `Bearer realm="aegis"${request.headers.authorization === undefined ? '' : ', error="invalid_token"'}`;

const NEXT_JSON = 'Send a JSON object with Content-Type: application/json.';

/** fastify's own errors by code. */
const FRAMEWORK: Readonly<Record<string, WireFault>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'payload-too-large',
    message: 'The body is larger than this service accepts',
    next: 'Send less at once: for large data use /v1/operations, or a data key and local encryption.',
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'unsupported-media-type', message: 'The body must be application/json', next: NEXT_JSON },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'invalid-request', message: 'The body is not valid JSON', next: NEXT_JSON },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'invalid-request', message: 'The body is empty', next: NEXT_JSON },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'invalid-request',
    message: 'The body is not as long as Content-Length says',
    next: 'Send the whole body.',
  },
  FST_ERR_BAD_URL: { code: 'invalid-request', message: 'The path is not a valid URL path', next: 'Percent-encode the path as UTF-8.' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'invalid-request', message: 'A part of the path is too long', next: 'Use the id of the object.' },
};

interface ThrownError {
  readonly code?: string;
  readonly statusCode?: number;
  readonly validation?: Parameters<typeof toValidationFault>[0];
  readonly validationContext?: string;
}

/** Anything thrown → a fault; undefined for what nobody foresaw. */
export function faultOf(error: unknown): WireFault | undefined {
  if (error instanceof FaultError || error instanceof WireRefusal) return error.fault;
  if (error instanceof WireFieldError)
    return { code: 'invalid-field', message: `Value ${error.message}`, field: error.field, next: 'See GET /openapi.json for the field.' };
  const thrown = error as ThrownError;
  if (thrown.validation !== undefined) return toValidationFault(thrown.validation, thrown.validationContext);
  const known = thrown.code === undefined ? undefined : FRAMEWORK[thrown.code];
  if (known !== undefined) return known;
  // What a client's bytes caused before there was a call: broken chunking, forbidden `__proto__`, a body cut short.
  if (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500)
    return { code: 'invalid-request', message: 'The request cannot be read', next: NEXT_JSON };
  return undefined;
}

/** Names and codes only: an error's text may quote what the client sent. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const fault = faultOf(error);
  if (fault === undefined) {
    const { name, code, stack } = error as { name?: string; code?: string; stack?: string };
    const at = stack
      ?.split('\n')
      .map((line) => line.trim())
      .filter((line) => line.startsWith('at '))
      .slice(0, 5);
    request.log.error({ requestId: request.id, route: request.routeOptions.url, error: name, code, at }, 'REST request failed');
  }
  sendProblem(request, reply, fault ?? INTERNAL);
}
