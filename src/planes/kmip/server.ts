import { randomBytes, X509Certificate } from 'node:crypto';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer, type Server, type TLSSocket } from 'node:tls';
import { type Item, KMIP_VERSIONS, type KmipVersion } from '@aegis/kmip-ttlv';
import type { GuardedService } from '../../domain/index.js';
import { makeAsyncRequests } from './async-requests.js';
import type { BatchParts } from './batch.js';
import { type EkuCheck, type IdentityOptions, makeIdentityCheck } from './client-identity.js';
import { KmipServerConnection } from './connection.js';
import type { KmipFacts, KmipPlane, KmipSettings } from './contract.js';
import { applyCreationRules, makeCreationRules } from './creation-rules.js';
import { makeExchange } from './exchange.js';
import { KMIP_HANDLERS } from './handlers.js';
import { makeHttpsBinding } from './https-binding.js';
import { DEFAULT_KMIP_LIMITS, type KmipLimits } from './limits.js';
import { makeNotifications } from './notifications.js';
import { makeTickets } from './tickets.js';
import { type KmipTls, secureContextOf, serverTlsOptions } from './tls-options.js';

/** The part of a logger that the plane uses. */
export interface KmipLogger {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface KmipServerOptions {
  readonly service: GuardedService;
  readonly tls: KmipTls;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 5696; 0 = any free port. */
  readonly port?: number;
  /** HTTPS binding; absent = none, 0 = any free port. */
  readonly httpsPort?: number;
  readonly limits?: Partial<KmipLimits>;
  /** Default `if-present`. */
  readonly clientEku?: EkuCheck;
  /** Connections without certificate may authenticate by the credential in their messages. Default false. */
  readonly certificateOptional?: boolean;
  readonly isRevoked?: NonNullable<IdentityOptions['isRevoked']>;
  readonly settings?: Partial<KmipSettings>;
  /** Default all that the tables know. */
  readonly versions?: readonly KmipVersion[];
  /** What Query tells of the server. */
  readonly facts?: () => KmipFacts;
  readonly logger?: KmipLogger;
  /** Every batch item, for metrics. */
  readonly onItem?: NonNullable<BatchParts['onItem']>;
  /** Every message's tree; whoever shows it leaves the values out. */
  readonly trace?: (direction: 'request' | 'response', item: Item) => void;
}

export interface KmipServer {
  listen(): Promise<{ readonly host: string; readonly port: number; readonly httpsPort?: number }>;
  /** New key, certificate or authorities for the connections that follow; sessions made before do not resume. */
  reload(tls: KmipTls): void;
  connections(): { readonly open: number; readonly handshakes: number; readonly https: number };
  /** Takes no more connections and requests, answers what runs, then closes; what is left after `graceMs` is cut off. */
  close(graceMs?: number): Promise<void>;
}

const DEFAULT_GRACE_MS = 10_000;
const TICKET_KEY_BYTES = 48;
const HTTP_KEEP_ALIVE_MS = 65_000;

const certificatesOf = (pem: KmipTls['ca']): X509Certificate[] =>
  (Array.isArray(pem) ? pem : [pem as string | Buffer])
    .flatMap((one) => String(one).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
    .map((one) => new X509Certificate(one));

export function makeKmipServer(options: KmipServerOptions): KmipServer {
  const limits: KmipLimits = { ...DEFAULT_KMIP_LIMITS, ...options.limits };
  const log = options.logger;
  const bootId = randomBytes(6).toString('hex').toUpperCase();
  let requests = 0;
  const nextRequestId = (): string => {
    requests += 1;
    return `${bootId}-${requests}`;
  };
  // The message of an error may quote input; its name and place in the code do not.
  const onProblem = (where: string, error: unknown): void =>
    log?.error(
      { where, error: error instanceof Error ? { name: error.name, stack: error.stack?.split('\n    at ').slice(1, 4) } : 'unknown' },
      'kmip',
    );
  const asynchronous = makeAsyncRequests({ perOwner: limits.asynchronous, keepMs: limits.asynchronousKeepMs });
  const plane: KmipPlane = {
    facts: options.facts ?? (() => ({ version: 'unknown', node: 'unknown', protection: ['software'] })),
    handlers: KMIP_HANDLERS,
    versions: options.versions ?? KMIP_VERSIONS,
    asynchronous,
    tickets: makeTickets(),
    notifications: makeNotifications({ service: options.service, handlers: KMIP_HANDLERS, nextRequestId, onProblem }),
    rules: makeCreationRules(),
    load: () => Math.round((100 * open.size) / limits.connections),
  };
  const exchange = makeExchange({
    service: options.service,
    plane,
    prepare: applyCreationRules,
    settings: { rngSeed: 'accept', interop: false, ...options.settings },
    limits,
    onProblem,
    ...(options.onItem === undefined ? {} : { onItem: options.onItem }),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
  });

  let identityOptions: IdentityOptions = {
    eku: options.clientEku ?? 'if-present',
    certificateOptional: options.certificateOptional ?? false,
    authorities: certificatesOf(options.tls.ca),
    ...(options.isRevoked === undefined ? {} : { isRevoked: options.isRevoked }),
  };
  const identities = makeIdentityCheck(() => identityOptions);
  const open = new Set<KmipServerConnection>();
  const tlsOptions = serverTlsOptions(options.tls, limits.handshakeTimeoutMs);
  const parts = { exchange, limits, nextRequestId, onProblem };

  const tls: Server = createTlsServer(tlsOptions, (socket) => {
    const identity = identities.check(socket);
    if (identity === undefined) return void socket.destroy();
    const connection = new KmipServerConnection(socket, identity, parts);
    open.add(connection);
    socket.once('close', () => {
      open.delete(connection);
      plane.notifications.leave(connection);
    });
  });
  tls.maxConnections = limits.connections;

  const identityOf = (socket: TLSSocket) => identities.check(socket);
  const https: HttpsServer | undefined =
    options.httpsPort === undefined
      ? undefined
      : createHttpsServer(
          {
            ...tlsOptions,
            keepAliveTimeout: HTTP_KEEP_ALIVE_MS,
            requestTimeout: limits.messageTimeoutMs,
            headersTimeout: limits.messageTimeoutMs,
          },
          makeHttpsBinding({ ...parts, identityOf }),
        );
  if (https !== undefined) https.maxConnections = limits.connections;
  const servers: readonly Server[] = https === undefined ? [tls] : [tls, https as unknown as Server];
  const handshakes = servers.map((server) => boundHandshakes(server, limits.handshakes));

  return {
    async listen() {
      const host = options.host ?? '127.0.0.1';
      const port = await listen(tls, host, options.port ?? 5696);
      const httpsPort = https === undefined ? undefined : await listen(https as unknown as Server, host, options.httpsPort ?? 0);
      return { host, port, ...(httpsPort === undefined ? {} : { httpsPort }) };
    },
    reload(next) {
      identities.forget();
      identityOptions = { ...identityOptions, authorities: certificatesOf(next.ca) };
      for (const server of servers) {
        server.setSecureContext(secureContextOf(next));
        server.setTicketKeys(randomBytes(TICKET_KEY_BYTES));
      }
    },
    connections: () => ({
      open: open.size,
      handshakes: handshakes.reduce((sum, pending) => sum + pending.size, 0),
      https: https === undefined ? 0 : ((https as unknown as { _connections?: number })._connections ?? 0),
    }),
    async close(graceMs = DEFAULT_GRACE_MS) {
      asynchronous.close();
      const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      https?.closeIdleConnections();
      for (const pending of handshakes) for (const socket of pending) socket.destroy();
      for (const connection of open) connection.finish();
      const timer = setTimeout(() => {
        for (const connection of open) connection.destroy();
        https?.closeAllConnections();
      }, graceMs);
      await Promise.all(closed);
      clearTimeout(timer);
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

const endpointOf = (socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string =>
  `${socket.remoteAddress}|${socket.remotePort}`;

/** Connections that have not finished their handshake: the newest beyond the bound is cut off, so that the others get through. */
function boundHandshakes(server: Server, limit: number): ReadonlySet<Socket> {
  const pending = new Set<Socket>();
  const byEndpoint = new Map<string, Socket>();
  const done = (endpoint: string): void => {
    const socket = byEndpoint.get(endpoint);
    if (socket !== undefined) pending.delete(socket);
    byEndpoint.delete(endpoint);
  };
  server.on('connection', (socket: Socket) => {
    if (pending.size >= limit) return void socket.destroy();
    const endpoint = endpointOf(socket);
    pending.add(socket);
    byEndpoint.set(endpoint, socket);
    socket.once('close', () => done(endpoint));
    socket.once('error', () => socket.destroy());
  });
  server.on('secureConnection', (socket: TLSSocket) => done(endpointOf(socket)));
  server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
  return pending;
}
