import type { Socket } from 'node:net';
import { requestIdOf } from './caller.js';
import { PROBLEM_MEDIA, toProblem, type WireFault } from './problem.js';

/** Refusals before there is a request. */

const CLIENT_ERRORS: Readonly<Record<string, WireFault>> = {
  HPE_HEADER_OVERFLOW: { code: 'headers-too-large', message: 'The request headers are too large', next: 'Send fewer or shorter headers.' },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'request-timeout', message: 'The request did not arrive in time', next: 'Send it again, faster.' },
};
/** RFC 9110 §9.1: a method that this server does not know at all. */
const UNKNOWN_METHOD: WireFault = {
  code: 'unsupported-operation',
  message: 'This method is not served',
  next: 'Use GET, HEAD, POST, PUT, PATCH or DELETE.',
};
/** RFC 9112 §3: a request line with any token for a method; without one it is no HTTP, and the parser complains the same way. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64} \S+ HTTP\/1\.[01]\r\n/;
const UNREADABLE: WireFault = { code: 'invalid-request', message: 'This is not a valid HTTP request', next: 'Send HTTP/1.1.' };

/** Connections whose framing can't be trusted any more: one answer, and nothing that follows on them is served. */
export const condemned = new WeakSet<object>();

const MAX_LINE_CHARACTERS = 8_192;

function faultOf(error: { readonly code?: string; readonly rawPacket?: Buffer }): WireFault {
  const line = error.code === 'HPE_INVALID_METHOD' ? (error.rawPacket?.toString('latin1', 0, MAX_LINE_CHARACTERS) ?? '') : '';
  return REQUEST_LINE.test(line) ? UNKNOWN_METHOD : (CLIENT_ERRORS[error.code ?? ''] ?? UNREADABLE);
}

/** What node could not read as HTTP: one answer, then the connection ends. */
export function answerClientError(error: Error & { code?: string; rawPacket?: Buffer }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  if (condemned.has(socket)) {
    socket.end();
    return;
  }
  const problem = toProblem(faultOf(error), requestIdOf({ headers: {} }));
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: ${PROBLEM_MEDIA}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Request-Id: ${problem.instance}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
