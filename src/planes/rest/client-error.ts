import type { Socket } from 'node:net';
import { requestIdOf } from './caller.js';
import { PROBLEM_MEDIA, toProblem, type WireFault } from './problem.js';

/** Refusals before there is a request. */

const CLIENT_ERRORS: Readonly<Record<string, WireFault>> = {
  HPE_HEADER_OVERFLOW: { code: 'headers-too-large', message: 'The request headers are too large', next: 'Send fewer or shorter headers.' },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'request-timeout', message: 'The request did not arrive in time', next: 'Send it again, faster.' },
};
const UNREADABLE: WireFault = { code: 'invalid-request', message: 'This is not a valid HTTP request', next: 'Send HTTP/1.1.' };

/** Connections whose framing can't be trusted any more: one answer, and nothing that follows on them is served. */
export const condemned = new WeakSet<object>();

/** What node could not read as HTTP: one answer, then the connection ends. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  if (condemned.has(socket)) {
    socket.end();
    return;
  }
  const problem = toProblem(CLIENT_ERRORS[error.code ?? ''] ?? UNREADABLE, requestIdOf({ headers: {} }));
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: ${PROBLEM_MEDIA}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Request-Id: ${problem.instance}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
