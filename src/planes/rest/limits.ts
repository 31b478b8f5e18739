import type { RestLimits } from './ports.js';

const DEFAULT_LIMITS: Required<RestLimits> = {
  bodyBytes: 2 * 1024 * 1024,
  headerBytes: 16 * 1024,
  jsonDepth: 32,
  concurrency: 1_024,
  connections: 4_096,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  handlerTimeoutMs: 30_000,
  connectionTimeoutMs: 120_000,
  keepAliveTimeoutMs: 65_000,
  connectionsCheckingIntervalMs: 2_000,
  idempotencyTtlMs: 86_400_000,
};
export const toLimits = (given: RestLimits | undefined): Required<RestLimits> => ({ ...DEFAULT_LIMITS, ...given });
