import { RootFault, type RootFaultCode } from '@aegis/rot-spi';
import { type FaultCode, FaultError } from '../domain/index.js';

interface Row {
  readonly code: FaultCode;
  /** Shown instead of the root's own words, where those are for operators only. */
  readonly message?: string;
  readonly next?: string;
}

/** Every way a root refuses → what the caller is told. The compiler refuses a root fault without a row. */
const ROWS = {
  unsupported: { code: 'unsupported-algorithm', next: 'Ask `get-root` for what this root of trust can do.' },
  'invalid-argument': { code: 'invalid-field', next: 'Correct the parameter and try again.' },
  'reference-invalid': {
    code: 'root-rejected',
    message: 'The root of trust refused the stored key reference: it does not belong to this object.',
    next: 'Treat the database as tampered with or wrongly restored; see docs/runbooks.',
  },
  'wrong-root': {
    code: 'root-rejected',
    message: 'The key was made under another root of trust or sealing key.',
    next: 'Attach the root that made it, or restore its sealing key.',
  },
  'usage-denied': { code: 'usage-denied', next: 'Use a key made for this usage.' },
  'not-exportable': { code: 'not-exportable', next: 'Only keys created as exportable ever leave their root.' },
  'decryption-failed': {
    code: 'decryption-failed',
    message: 'Decryption failed: wrong key, wrong associated data or damaged ciphertext.',
    next: 'Check the ciphertext and the associated data.',
  },
  'operation-unknown': { code: 'operation-unknown', next: 'Begin the operation again.' },
  'key-not-found': {
    code: 'root-rejected',
    message: 'The key’s object is not on its token any more.',
    next: 'Restore the token from its backup, or destroy the key.',
  },
  'limit-exceeded': { code: 'overloaded', next: 'Try again with less input or fewer calls at once.' },
  unavailable: { code: 'root-unavailable', next: 'Try again; if it persists see the readiness report and docs/runbooks.' },
  sealed: { code: 'root-sealed', next: 'An operator must provide the sealing key or PIN.' },
  'pin-rejected': {
    code: 'root-rejected',
    message: 'The root of trust rejected its PIN; it is not tried again.',
    next: 'An operator must correct the PIN and restart the root.',
  },
  internal: { code: 'internal', message: 'The root of trust failed.', next: 'See the server log.' },
} as const satisfies Record<RootFaultCode, Row>;

/** A fault that crossed a process boundary may have lost its class but not its name and code. */
const isRootFault = (error: unknown): error is RootFault =>
  error instanceof RootFault ||
  (error instanceof Error && error.name === 'RootFault' && Object.hasOwn(ROWS, (error as { code?: string }).code ?? ''));

/** Faults pass; root faults are translated; anything else is `internal` and says nothing. */
export const toFaultError = (error: unknown): FaultError => {
  if (error instanceof FaultError) return error;
  if (!isRootFault(error)) {
    return new FaultError(
      { code: 'internal', message: 'The root of trust failed unexpectedly.', next: 'See the server log.' },
      { cause: error },
    );
  }
  const row: Row = ROWS[error.code];
  const next = error.next ?? row.next;
  return new FaultError(
    { code: row.code, message: row.message ?? error.message, ...(next === undefined ? {} : { next }) },
    { cause: error },
  );
};
