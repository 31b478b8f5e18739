/**
 * The closed list of ways a call can end without success. `planes/projections.ts` gives each its face on every wire;
 * the compiler refuses a code without one.
 */
export const FAULT_CODES = [
  // identity and policy
  'unauthenticated', // no or unknown credential
  'credential-expired',
  'credential-revoked',
  'permission-denied', // default deny or a deny statement
  'step-up-required',
  'rate-limited', // with retryAfterMs
  'quota-exceeded',
  // request
  'invalid-request', // field and reason
  'invalid-field',
  'payload-too-large',
  'unsupported-algorithm',
  'unsupported-operation',
  'idempotency-mismatch', // same key, other request
  // objects
  'not-found',
  'already-exists', // name or alias taken
  'conflict', // revision (ETag) mismatch or concurrent change
  'precondition-required',
  'wrong-state', // lifecycle table refuses
  'destroyed',
  'archived',
  'usage-denied', // usage mask
  'outside-validity', // process-start / protect-stop / activation dates
  'usage-limit-reached',
  'not-exportable',
  'not-extractable-sensitive',
  'attribute-read-only',
  'attribute-not-found',
  'wrong-object-type',
  // cryptography
  'decryption-failed',
  'operation-unknown', // multi-part operation
  // back ends
  'root-unavailable',
  'root-sealed',
  'root-rejected', // PIN rejected, wrong root, reference invalid: operator action
  'storage-unavailable',
  'audit-unavailable',
  'overloaded',
  'timeout',
  'shutting-down',
  'internal',
] as const;
export type FaultCode = (typeof FAULT_CODES)[number];

/** `message` and `next` are shown to the caller; they never hold secrets, payloads or another tenant's names. */
export interface Fault {
  readonly code: FaultCode;
  readonly message: string;
  /** Dotted path of the offending request field, e.g. `spec` or `usage.1`. */
  readonly field?: string;
  /** What the caller can do next. */
  readonly next?: string;
  readonly retryAfterMs?: number;
  /** Policy statement that decided, when disclosed. */
  readonly statement?: string;
  /** The database's answer to the commit was lost: the call may have taken effect. Do not undo outside effects. */
  readonly uncertain?: boolean;
}

/** How a fault travels inside: thrown, caught by the guard, projected by the plane. */
export class FaultError extends Error {
  readonly fault: Fault;
  constructor(fault: Fault, options?: { cause?: unknown }) {
    super(`${fault.code}: ${fault.message}`, options);
    this.name = 'FaultError';
    this.fault = fault;
  }
}

export const fail = (code: FaultCode, message: string, rest: Omit<Fault, 'code' | 'message'> = {}): FaultError =>
  new FaultError({ code, message, ...rest });
