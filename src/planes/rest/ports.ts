import type { FastifyBaseLogger } from 'fastify';
import type { GuardedService } from '../../domain/index.js';

/** What the plane needs from outside; the app injects it. */

/** Remembers the answers of creating requests. The shape of storage's IdempotencyStore, so the app passes that one. */
export interface IdempotencyPort {
  /**
   * Claims the key. `fresh`: run the call; `done`: answer with this; `busy`: another request runs it now;
   * `mismatch`: same key, other request.
   */
  claim(
    tenant: string,
    principalId: string,
    key: string,
    requestHash: Uint8Array,
    ttlMs: number,
  ): Promise<{ kind: 'fresh' } | { kind: 'done'; status: number; body: string } | { kind: 'busy' } | { kind: 'mismatch' }>;
  complete(tenant: string, principalId: string, key: string, status: number, body: string): Promise<void>;
  release(tenant: string, principalId: string, key: string): Promise<void>;
}

export interface ReadinessCheck {
  readonly name: string;
  readonly state: 'up' | 'degraded' | 'down' | (string & Record<never, never>);
  readonly detail?: string;
}
export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
}

export interface RestLimits {
  /** Largest request body. Default 2 MiB. */
  readonly bodyBytes?: number;
  /** All request headers together. Default 16 KiB (431 beyond). */
  readonly headerBytes?: number;
  /** Nesting of a JSON body. Default 32. */
  readonly jsonDepth?: number;
  /** Requests under /v1 in flight before 503 `overloaded`. Default 1,024. */
  readonly concurrency?: number;
  /** Open connections. Default 4,096. */
  readonly connections?: number;
  /** Time for the request's headers to arrive. Default 10,000. */
  readonly headersTimeoutMs?: number;
  /** Time for the whole request to arrive. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Time an operation may take before 504 `timeout`; streams are bound by `connectionTimeoutMs` only. Default 30,000. */
  readonly handlerTimeoutMs?: number;
  /** Silence on a connection before it is dropped. Default 120,000. */
  readonly connectionTimeoutMs?: number;
  /** Idle keep-alive. Default 65,000. */
  readonly keepAliveTimeoutMs?: number;
  /** How often slow requests are looked for. Default 2,000. */
  readonly connectionsCheckingIntervalMs?: number;
  /** How long an idempotency key is remembered. Default 24 hours. */
  readonly idempotencyTtlMs?: number;
}

export interface RestTls {
  /** PEM. */
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  /** Authorities client certificates must chain to. Required with `requestClientCertificate`. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly requestClientCertificate?: boolean;
}

export interface RestOptions {
  readonly service: GuardedService;
  readonly idempotency: IdempotencyPort;
  readonly readiness: () => Promise<Readiness>;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
  readonly tls?: RestTls;
  readonly limits?: RestLimits;
  /** Forwarded headers are never believed. */
  readonly trustProxy?: false;
  /** Host names besides localhost and the loopback addresses that a connection to loopback may ask for (a proxy on this machine). */
  readonly allowedHosts?: readonly string[];
  /** pino; needs `info`, `warn`, `error`, `debug`. Bodies, headers and tokens are never logged. */
  readonly logger: FastifyBaseLogger;
  readonly version: string;
  /** Tenant of /.well-known/jwks.json. Default `default`. */
  readonly jwksTenant?: string;
}
