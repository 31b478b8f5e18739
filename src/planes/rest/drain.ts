import type { IncomingMessage } from 'node:http';

/** A client that has sent this much more than allowed is cut off; one within it hears why it was refused. */
const DRAIN_BYTES = 16 * 1024 * 1024;
const DRAIN_MS = 5_000;

/**
 * Reads and drops what is left of a body, bounded in bytes and time. A server that answers in the middle of a body and closes
 * resets the connection, and most clients then report a broken pipe instead of the answer (RFC 9112 §9.6).
 */
export function drainBody(request: IncomingMessage): Promise<void> {
  const announced = Number(request.headers['content-length']);
  if (request.readableEnded || request.destroyed || announced > DRAIN_BYTES) return Promise.resolve();
  return new Promise((resolve) => {
    let seen = 0;
    const timer = setTimeout(finish, DRAIN_MS);
    function finish(): void {
      clearTimeout(timer);
      request.off('data', onData).off('end', finish).off('close', finish).off('error', finish);
      resolve();
    }
    function onData(chunk: Buffer): void {
      seen += chunk.length;
      if (seen > DRAIN_BYTES) finish();
    }
    request.on('data', onData).once('end', finish).once('close', finish).once('error', finish);
    request.resume();
  });
}
