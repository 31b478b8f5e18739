import { RootFault } from '../fault.js';
import type { Anchors } from './anchors.js';
import { ckrOf } from './ck-error.js';
import type { Connection } from './connection.js';
import { CKR } from './constants.js';
import type { Cryptoki, Handle } from './cryptoki.js';
import type { KeyStore, OpenKey } from './key-store.js';
import type { Plans } from './plans.js';

/** What every call of the back end works with. */
export interface Context {
  readonly connection: Connection;
  readonly anchors: Anchors;
  readonly keys: KeyStore;
  readonly plans: Plans;
}

/** Above this the module is busy for so long that the event loop should not wait for it, however fast its keys are. */
const LARGE_INPUT_BYTES = 256 * 1024;
/** A module may refuse a null pointer, which is what an empty Buffer becomes in pkcs11js. */
const NOT_NULL = Buffer.alloc(8);

export const toInput = (bytes: Uint8Array): Buffer =>
  bytes.length === 0 ? NOT_NULL.subarray(0, 0) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Buffers that a running asynchronous call reads; pkcs11js itself does not hold them (#121). */
const inFlight = new Set<readonly unknown[]>();

/** Parameters the module does not like are a matter of support, not of the data. */
export const initialise = (init: () => void): void => {
  try {
    init();
  } catch (error) {
    const rv = ckrOf(error);
    if (rv === CKR.ARGUMENTS_BAD || rv === CKR.MECHANISM_PARAM_INVALID || rv === CKR.MECHANISM_INVALID || rv === CKR.KEY_TYPE_INCONSISTENT)
      throw new RootFault('unsupported', 'the module does not support these parameters');
    throw error;
  }
};

export interface Operation {
  readonly init: (session: Handle) => void;
  readonly now: (session: Handle, out: Buffer) => Buffer;
  readonly later: (session: Handle, out: Buffer) => Promise<Buffer>;
  /** Buffers to hold while the operation runs elsewhere. */
  readonly holds: readonly unknown[];
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** The output is not to be left in shared memory. */
  readonly confidential?: boolean;
}

/** Output of synchronous calls: a fresh buffer for each costs as much as the rest of the work around a signature. */
const SCRATCH_BYTES = 2_048;
const scratch = Buffer.alloc(SCRATCH_BYTES);

const runNow = (session: Handle, operation: Operation): Buffer => {
  if (operation.confidential === true || operation.outputBytes > SCRATCH_BYTES)
    return operation.now(session, Buffer.alloc(operation.outputBytes));
  return Buffer.from(operation.now(session, scratch));
};

/**
 * Runs one single-part operation. Fast modules are called directly: an asynchronous call costs 60–200 µs of thread switching,
 * more than an ECDSA signature. Slow ones run on the thread pool, so that the host goes on answering.
 */
export const perform = (context: Context, key: OpenKey | undefined, keyType: number, operation: Operation): Buffer | Promise<Buffer> => {
  const { connection, keys, plans } = context;
  const slow = plans.slow.has(keyType) || operation.inputBytes > LARGE_INPUT_BYTES;
  if (!slow || !connection.concurrent)
    return connection.withSession((session) => {
      initialise(() => operation.init(session));
      return runNow(session, operation);
    });
  const run = (): Promise<Buffer> =>
    connection.withSessionAsync(async (session) => {
      const out = Buffer.alloc(operation.outputBytes);
      const held = [operation.holds, out];
      initialise(() => operation.init(session));
      inFlight.add(held);
      try {
        return await operation.later(session, out);
      } finally {
        inFlight.delete(held);
      }
    });
  return key === undefined ? run() : keys.pinned(key, run);
};

export const random = (cryptoki: Cryptoki, session: Handle, length: number): Buffer =>
  length === 0 ? Buffer.alloc(0) : cryptoki.C_GenerateRandom(session, Buffer.alloc(length));
