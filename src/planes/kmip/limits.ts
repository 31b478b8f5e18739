import { DEFAULT_LIMITS } from '@aegis/kmip-ttlv';

/** Bounds of the plane. What comes from the network is measured against these before anything is allocated for it. */
export interface KmipLimits {
  /** Largest request, bytes of TTLV or of the HTTP body. */
  readonly messageBytes: number;
  readonly depth: number;
  readonly items: number;
  /** Batch items of one request. */
  readonly batchItems: number;
  /** Open connections. */
  readonly connections: number;
  /** Connections whose TLS handshake is not finished. */
  readonly handshakes: number;
  readonly handshakeTimeoutMs: number;
  /** A message must be whole this long after its first byte. */
  readonly messageTimeoutMs: number;
  /** Requests of one connection that wait; beyond it the socket is not read. */
  readonly pipelined: number;
  /** Connections without traffic are closed after this long; 0 = never. */
  readonly idleTimeoutMs: number;
  /** Longest a request may run. */
  readonly requestTimeoutMs: number;
  /** Asynchronous requests kept for one principal. */
  readonly asynchronous: number;
  /** How long the result of an asynchronous request is kept. */
  readonly asynchronousKeepMs: number;
}

export const DEFAULT_KMIP_LIMITS: KmipLimits = {
  messageBytes: DEFAULT_LIMITS.maxBytes,
  depth: DEFAULT_LIMITS.maxDepth,
  items: DEFAULT_LIMITS.maxItems,
  batchItems: 1_000,
  connections: 10_000,
  handshakes: 512,
  handshakeTimeoutMs: 10_000,
  messageTimeoutMs: 30_000,
  pipelined: 64,
  idleTimeoutMs: 0,
  requestTimeoutMs: 60_000,
  asynchronous: 100,
  asynchronousKeepMs: 10 * 60_000,
};
