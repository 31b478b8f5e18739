import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { sendProblem } from './answer.js';
import { condemned } from './client-error.js';
import { makeHostCheck } from './host-check.js';
import type { InFlight } from './in-flight.js';
import type { RestOptions } from './ports.js';
import type { WireFault } from './problem.js';

/** What every request passes before anything else. */

/** With every answer; each header costs a small request its share, so pages add what only matters to a browser. */
const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;
const HSTS = { 'strict-transport-security': 'max-age=31536000' } as const;

export const securityHeaders = (options: RestOptions): Record<string, string> =>
  options.tls === undefined ? SECURITY_HEADERS : { ...SECURITY_HEADERS, ...HSTS };

/** How often connections are looked at while the server stops. */
const IDLE_SWEEP_MS = 50;

type Hook = (request: FastifyRequest, reply: FastifyReply, done: () => void) => void;

export function makeDoor(app: FastifyInstance, options: RestOptions): Hook {
  const headers = securityHeaders(options);
  const mayServe = makeHostCheck(options.allowedHosts ?? []);
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    // A connection that was busy when the stop began is idle later, and would be kept alive until its time-out.
    const sweep = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MS);
    app.server.once('close', () => clearInterval(sweep));
    done();
  });
  return (request, reply, done) => {
    void reply.headers(headers).header('x-request-id', request.id);
    const { socket, headers: asked } = request.raw;
    const coding = asked['transfer-encoding'];
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') condemned.add(socket);
    if (condemned.has(socket)) {
      void reply.header('connection', 'close');
      return sendProblem(request, reply, UNFRAMED);
    }
    if (closing) return sendProblem(request, reply, SHUTTING_DOWN);
    if (!mayServe(request.raw)) return sendProblem(request, reply, MISDIRECTED);
    done();
  };
}

const SHUTTING_DOWN: WireFault = {
  code: 'shutting-down',
  message: 'The service is stopping',
  next: 'Try again at another node, or in a moment.',
  retryAfterMs: 2_000,
};
/** RFC 9112 §6.3: node takes such a body for empty and what follows for another request, a proxy in front might not. */
const UNFRAMED: WireFault = {
  code: 'invalid-request',
  message: 'The end of the body cannot be known',
  field: 'Transfer-Encoding',
  next: 'Send Content-Length, or Transfer-Encoding: chunked and nothing else.',
};
const MISDIRECTED: WireFault = {
  code: 'misdirected-request',
  message: 'This name is not served here',
  field: 'Host',
  next: 'Use localhost or 127.0.0.1, or add the name to the allowed hosts of the REST plane.',
};
const OVERLOADED: WireFault = {
  code: 'overloaded',
  message: 'Too many requests at once',
  next: 'Try again in a moment, with fewer requests in parallel.',
  retryAfterMs: 1_000,
};
export const OVERDUE: WireFault = {
  code: 'timeout',
  message: 'The operation took too long; it may still take effect',
  next: 'Look at the object before you repeat it; creating requests are safe to repeat with the same Idempotency-Key.',
};

/** Routes under /v1: counted, bounded in time, never cached. */
export function makeAdmission(inFlight: InFlight): Hook {
  return (request, reply, done) => {
    void reply.header('cache-control', 'no-store');
    if (!inFlight.admit(request, reply)) return sendProblem(request, reply, OVERLOADED);
    done();
  };
}
