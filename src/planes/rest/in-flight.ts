import type { ServerResponse } from 'node:http';

/**
 * Requests under way: their number, bounded, and each one's deadline. One listener and one timer per request.
 *
 * `close` of the response is the end of a request on every path: answered, refused, or the client gone. (`close` of the
 * request is not: node emits it as soon as the body is read.)
 */
export interface InFlight {
  /** False when the service is at its bound; otherwise the request counts until its response closes. */
  readonly admit: (response: ServerResponse) => boolean;
  /** Aborts when the time allowed is over or the client has gone. */
  readonly signalOf: (response: ServerResponse) => AbortSignal | undefined;
  /** The deadline no longer applies: the answer is a stream, bound by the silence of the connection. */
  readonly lift: (response: ServerResponse) => void;
  readonly count: () => number;
}

interface Request {
  readonly controller: AbortController;
  timer: NodeJS.Timeout | undefined;
}

/** The guard answers an aborted call itself; this is how long it is waited for before the plane answers in its place. */
const GRACE_MS = 2_000;

export function makeInFlight(bound: number, timeoutMs: number, onOverdue: (response: ServerResponse) => void): InFlight {
  const requests = new WeakMap<ServerResponse, Request>();
  let count = 0;

  function released(this: ServerResponse): void {
    count -= 1;
    const request = requests.get(this);
    if (request === undefined) return;
    clearTimeout(request.timer);
    // Not answered yet: the client has gone.
    if (!this.writableEnded) request.controller.abort();
  }
  const expire = (request: Request, response: ServerResponse): void => {
    request.controller.abort();
    request.timer = setTimeout(onOverdue, GRACE_MS, response);
  };

  return {
    admit: (response) => {
      if (count >= bound) return false;
      count += 1;
      const request: Request = { controller: new AbortController(), timer: undefined };
      request.timer = setTimeout(expire, timeoutMs, request, response);
      requests.set(response, request);
      response.once('close', released);
      return true;
    },
    signalOf: (response) => requests.get(response)?.controller.signal,
    lift: (response) => clearTimeout(requests.get(response)?.timer),
    count: () => count,
  };
}
