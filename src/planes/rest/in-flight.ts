import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * Requests under way: their number, bounded, and their deadline.
 *
 * Signal and timer belong to the connection, not to the request: making an AbortSignal costs more than the rest of the
 * plane's work on a small request, and on HTTP/1.1 a connection has one request at a time (pipelined ones share a fate:
 * when one runs out of time the connection ends). `close` of the response is the end of a request on every path.
 */
export interface InFlight {
  /** False when the service is at its bound; otherwise the request counts until its response closes. */
  readonly admit: (request: FastifyRequest, reply: FastifyReply) => boolean;
  /** Aborts when the time allowed is over or the client has gone. Undefined for a request that was not admitted. */
  readonly signalOf: (request: FastifyRequest) => AbortSignal | undefined;
  /** The deadline no longer applies: the answer is a stream, bound by the silence of the connection. */
  readonly lift: (request: FastifyRequest) => void;
  readonly count: () => number;
}

interface Waiting {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}
interface Connection {
  readonly controller: AbortController;
  timer: NodeJS.Timeout;
  /** Requests not yet answered, oldest first; more than one only with pipelining. */
  readonly waiting: Waiting[];
  lifted: boolean;
}

const CONNECTION = Symbol('aegis.rest.connection');
interface Socket {
  [CONNECTION]?: Connection;
  once(event: 'close', listener: () => void): unknown;
}
const socketOf = (request: FastifyRequest): Socket => request.raw.socket as unknown as Socket;

/** The guard answers an aborted call itself; this is how long it is waited for before the plane answers in its place. */
const GRACE_MS = 2_000;

export function makeInFlight(
  bound: number,
  timeoutMs: number,
  answerOverdue: (request: FastifyRequest, reply: FastifyReply) => void,
): InFlight {
  let count = 0;

  const expire = (connection: Connection): void => {
    if (connection.waiting.length === 0 || connection.lifted) return;
    connection.controller.abort();
    // The signal is spent: no further request may come on this connection.
    for (const { reply } of connection.waiting) if (!reply.raw.headersSent) void reply.header('connection', 'close');
    connection.timer = setTimeout(() => {
      for (const { request, reply } of [...connection.waiting]) answerOverdue(request, reply);
    }, GRACE_MS);
  };
  const release = (connection: Connection, waiting: Waiting): void => {
    const at = connection.waiting.indexOf(waiting);
    if (at === -1) return;
    connection.waiting.splice(at, 1);
    count -= 1;
    // Not answered yet: the client has gone.
    if (!waiting.reply.raw.writableEnded) connection.controller.abort();
  };
  const open = (socket: Socket): Connection => {
    const timer = setTimeout(() => expire(connection), timeoutMs);
    const connection: Connection = { controller: new AbortController(), waiting: [], lifted: false, timer };
    timer.unref();
    // node emits no `close` for the response of a pipelined request whose turn never came.
    socket.once('close', () => {
      clearTimeout(connection.timer);
      for (const waiting of [...connection.waiting]) release(connection, waiting);
    });
    socket[CONNECTION] = connection;
    return connection;
  };

  return {
    admit: (request, reply) => {
      const socket = socketOf(request);
      const connection = socket[CONNECTION] ?? open(socket);
      if (count >= bound || connection.controller.signal.aborted) return false;
      const waiting: Waiting = { request, reply };
      count += 1;
      if (connection.waiting.push(waiting) === 1) {
        connection.lifted = false;
        connection.timer.refresh();
      }
      reply.raw.on('close', () => release(connection, waiting));
      return true;
    },
    signalOf: (request) => socketOf(request)[CONNECTION]?.controller.signal,
    lift: (request) => {
      const connection = socketOf(request)[CONNECTION];
      if (connection !== undefined) connection.lifted = true;
    },
    count: () => count,
  };
}
