import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { GuardedService } from '../../domain/index.js';
import { answerError, faultOf, sendProblem } from './answer.js';
import { NO_CREDENTIAL, requestIdOf, toCaller } from './caller.js';
import { answerClientError } from './client-error.js';
import { makeAdmission, makeDoor, OVERDUE, securityHeaders } from './door.js';
import { drainBody } from './drain.js';
import { makeHandler } from './handler.js';
import { type InFlight, makeInFlight } from './in-flight.js';
import { assertStorable, isStorable, nestingExceeds } from './json-body.js';
import { toLimits } from './limits.js';
import { notFound } from './not-found.js';
import { registerPages } from './pages.js';
import type { RestLimits, RestOptions, RestTls } from './ports.js';
import { type WireFault, WireRefusal } from './problem.js';
import type { Route } from './routes/route.js';
import { ROUTES } from './routes/table.js';
import { coerceQuery } from './validation.js';

/**
 * The REST plane: fastify over the route table. It translates and never decides; every call goes to the guarded service.
 * Not yet listening: the app does that.
 */
export function makeRestServer(options: RestOptions): FastifyInstance {
  const limits = toLimits(options.limits);
  const app = fastify(toFastifyOptions(options, limits) as object) as unknown as FastifyInstance;
  app.server.maxConnections = limits.connections;
  const inFlight = makeInFlight(limits.concurrency, limits.handlerTimeoutMs, (request, reply) => sendProblem(request, reply, OVERDUE));

  app.removeAllContentTypeParsers();
  registerJson(app, limits);
  app.addHook('onRequest', makeDoor(app, options));
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply));
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, notFound(request, reply)));
  registerPages(app, options);
  void app.register(async (guarded) => {
    guarded.addHook('onRequest', makeAdmission(inFlight));
    guarded.setErrorHandler(makeGuardedErrorHandler(options.service, inFlight));
    const parts = { service: options.service, idempotency: options.idempotency, idempotencyTtlMs: limits.idempotencyTtlMs, inFlight };
    for (const route of ROUTES) registerRoute(guarded, route, parts);
  });
  return app;
}

function toFastifyOptions(options: RestOptions, limits: Required<RestLimits>): object {
  const { logger, tls } = options;
  const http = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.connectionsCheckingIntervalMs,
    // Lenient parsing is how requests get smuggled.
    insecureHTTPParser: false,
  };
  return {
    ...(tls === undefined ? { http } : { https: { ...http, ...toTlsOptions(tls) } }),
    loggerInstance: logger,
    // One logger for all: a child per request costs more than a signature's share of the request.
    childLoggerFactory: (parent: unknown) => parent,
    logController: makeLogController(),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.connectionTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: false,
    genReqId: requestIdOf,
    requestIdHeader: false,
    exposeHeadRoutes: true,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 1024, caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false },
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      void reply.headers(securityHeaders(options)).header('x-request-id', request.id);
      answerError(error, request, reply);
    },
    clientErrorHandler: answerClientError,
    ajv: {
      customOptions: {
        removeAdditional: false,
        coerceTypes: false,
        useDefaults: false,
        allErrors: false,
        verbose: true,
        allowUnionTypes: true,
      },
    },
  };
}

/** No line per request: the audit log has them. fastify's own lines would quote URLs and errors, which may quote the client. */
const makeLogController = (): LogController =>
  Object.assign(new LogController({ disableRequestLogging: true }), {
    streamError: (error: { readonly code?: string }, request: FastifyRequest) => {
      if (error.code === 'ERR_STREAM_PREMATURE_CLOSE') return;
      request.log.warn({ requestId: request.id, route: request.routeOptions.url, code: error.code }, 'REST stream cut off');
    },
  });

function toTlsOptions(tls: RestTls): object {
  if (tls.requestClientCertificate === true && tls.ca === undefined)
    throw new Error(
      'REST TLS: client certificates are asked for but no authority is configured. Set `ca` to the PEM file of their issuer.',
    );
  return {
    key: tls.key,
    cert: tls.cert,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    minVersion: 'TLSv1.2',
    honorCipherOrder: true,
    handshakeTimeout: 10_000,
    // Not required at the handshake: the same port serves bearer tokens. One that does not chain counts as none.
    ...(tls.requestClientCertificate === true ? { requestCert: true, rejectUnauthorized: false } : {}),
  };
}

/** A caller without any credential learns that first, whatever else is wrong; the guard says it, so that it is audited. */
function makeGuardedErrorHandler(service: GuardedService, inFlight: InFlight) {
  return async (error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const fault = faultOf(error);
    if (fault?.code === 'invalid-field' || fault?.code === 'invalid-request') {
      const caller = toAnonymousCaller(request, inFlight);
      const result = caller === undefined ? undefined : await service('whoami', {}, caller);
      if (result?.ok === false) return sendProblem(request, reply, result.fault);
    }
    // The client is still sending: what is left is read and dropped first, so that it hears the answer.
    if (fault?.code === 'payload-too-large') await drainBody(request.raw);
    answerError(error, request, reply);
  };
}

function toAnonymousCaller(request: FastifyRequest, inFlight: InFlight) {
  try {
    const caller = toCaller(request, inFlight.signalOf(request));
    return caller.credential.kind === NO_CREDENTIAL.kind ? caller : undefined;
  } catch {
    return undefined;
  }
}

// --- bodies

const JSON_MEDIA = ['application/json', 'application/merge-patch+json'];

function registerJson(app: FastifyInstance, limits: Required<RestLimits>): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<string>(JSON_MEDIA, { parseAs: 'string', bodyLimit: limits.bodyBytes }, (request, text, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') return done(new WireRefusal(ENCODED));
    if (text === '') return done(null, undefined);
    if (nestingExceeds(text, limits.jsonDepth))
      return done(new WireRefusal({ ...TOO_DEEP, message: `The JSON is nested deeper than ${limits.jsonDepth}` }));
    parse(request, text, (error, body) => {
      if (error) return done(error);
      try {
        assertStorable(text, body);
      } catch (refusal) {
        return done(refusal as Error);
      }
      done(null, body);
    });
  });
}

const ENCODED: WireFault = {
  code: 'unsupported-media-type',
  message: 'Compressed bodies are not taken',
  field: 'Content-Encoding',
  next: 'Send the body as it is.',
};
const TOO_DEEP: WireFault = { code: 'invalid-request', message: 'The JSON is nested too deeply', next: 'Send a flatter document.' };

// --- routes

function registerRoute(app: FastifyInstance, route: Route, parts: Parameters<typeof makeHandler>[1]): void {
  const { body, answer } = route;
  app.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    // HEAD of a stream would run the whole export to throw it away.
    ...(route.method === 'GET' ? { exposeHeadRoute: answer.kind !== 'stream' } : {}),
    schema: {
      params: route.params,
      querystring: route.query,
      ...(body === undefined ? {} : { body }),
      ...(answer.kind === 'json' ? { response: { [route.success]: answer.schema } } : {}),
    },
    preValidation: (request, _reply, done) => {
      try {
        prepare(route, request);
        done();
      } catch (refusal) {
        done(refusal as Error);
      }
    },
    handler: makeHandler(route, parts),
  });
}

/** Before validation: query text gets its types, an optional body its default, and text its check. */
function prepare(route: Route, request: FastifyRequest): void {
  if (request.body === undefined && route.bodyOptional === true) request.body = {};
  const query = request.query as Record<string, unknown>;
  for (const name in query) {
    if (!isStorable(`${name}${String(query[name])}`))
      throw new WireRefusal({ code: 'invalid-field', message: 'The query holds U+0000', field: name.slice(0, 64) });
  }
  if (Object.keys(query).length > 0) coerceQuery(query, route.query);
}
