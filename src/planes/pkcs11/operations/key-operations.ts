import { type Algorithm, KEY_SPECS, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject } from '../../../domain/index.js';
import type { CallContext, KeyOperation, KnownObject, OperationKind, Session } from '../contract.js';
import { type MechanismRow, mechanismRow } from '../mechanisms.js';
import { classOf } from '../object-view.js';
import { keyOf } from '../objects.js';
import { Rv, rv } from '../rv.js';
import { endOperation, finished } from '../sessions.js';
import type { Space } from '../wire/arguments.js';
import { CKO } from '../wire/codes.js';
import type { Mechanism } from '../wire/mechanism-encodings.js';
import { requireAllowed } from './cipher-parameters.js';
import { isOffered } from './general.js';

/** What encrypt, decrypt, sign, verify and digest have in common between Init and Final. */

export type CryptoKind = Exclude<OperationKind, 'find'>;

export const operationOf = (session: Session, kind: CryptoKind): KeyOperation => {
  const operation = session.operations.get(kind);
  if (operation === undefined || operation.kind === 'find') throw rv('OPERATION_NOT_INITIALIZED');
  return operation;
};

/** The object a call found when it began; a key that is not known any more is asked for again. */
export const objectOf = (operation: KeyOperation): ManagedObject => {
  const object = operation.key?.view?.object;
  if (object === undefined) throw rv('KEY_HANDLE_INVALID');
  return object;
};

const CLASSES: Readonly<Record<CryptoKind, readonly number[]>> = {
  encrypt: [CKO.SECRET_KEY, CKO.PUBLIC_KEY],
  decrypt: [CKO.SECRET_KEY, CKO.PRIVATE_KEY],
  sign: [CKO.SECRET_KEY, CKO.PRIVATE_KEY],
  verify: [CKO.SECRET_KEY, CKO.PUBLIC_KEY],
  digest: [],
  'message-sign': [CKO.SECRET_KEY, CKO.PRIVATE_KEY],
  'message-verify': [CKO.SECRET_KEY, CKO.PUBLIC_KEY],
};
const USAGES: Readonly<Record<CryptoKind, (secret: boolean) => KeyUsage>> = {
  encrypt: () => 'encrypt',
  decrypt: () => 'decrypt',
  sign: (secret) => (secret ? 'mac' : 'sign'),
  verify: (secret) => (secret ? 'mac-verify' : 'verify'),
  digest: () => 'sign',
  'message-sign': (secret) => (secret ? 'mac' : 'sign'),
  'message-verify': (secret) => (secret ? 'mac-verify' : 'verify'),
};

/** The right return value for a key that cannot do this; the guard says the same at the use itself, and its word counts. */
const checkKey = (row: MechanismRow, kind: CryptoKind, object: ManagedObject): void => {
  if (object.spec === undefined || !row.families.includes(KEY_SPECS[object.spec].family)) throw rv('KEY_TYPE_INCONSISTENT');
  const cko = classOf(object) ?? -1;
  if (!CLASSES[kind].includes(cko)) throw rv('KEY_TYPE_INCONSISTENT');
  if (!object.usage.includes(USAGES[kind](cko === CKO.SECRET_KEY))) throw rv('KEY_FUNCTION_NOT_PERMITTED');
  requireAllowed(object, row.type);
};

const newOperation = (kind: CryptoKind, row: MechanismRow, mechanism: Mechanism, key: KnownObject | undefined): KeyOperation => ({
  kind,
  row,
  mechanism,
  key,
  parts: false,
  whole: false,
  held: [],
  heldBytes: 0,
  remote: undefined,
  ready: undefined,
  drained: false,
});

export interface Beginning {
  readonly kind: CryptoKind;
  readonly mechanism: Mechanism | undefined;
  /** Whether a mechanism row can do this at all. */
  readonly can: (row: MechanismRow) => boolean;
  readonly key?: number;
}

/** A copy: what the reader gave are views of a buffer that is gone when the operation goes on. */
const keepMechanism = (mechanism: Mechanism): Mechanism =>
  mechanism.parameter === undefined
    ? mechanism
    : {
        ...mechanism,
        parameter: Object.fromEntries(
          Object.entries(mechanism.parameter).map(([name, value]) => [name, value instanceof Uint8Array ? Uint8Array.from(value) : value]),
        ) as unknown as NonNullable<Mechanism['parameter']>,
      };

/** *Init. A NULL mechanism cancels (PKCS#11 v3.0 §5.8.1). */
export const begin = async (
  context: CallContext,
  session: Session,
  { kind, mechanism, can, key }: Beginning,
): Promise<KeyOperation | undefined> => {
  const running = session.operations.get(kind);
  if (mechanism === undefined) {
    await endOperation(context, session, kind);
    return undefined;
  }
  if (running !== undefined && (running.kind === 'find' || !running.drained)) throw rv('OPERATION_ACTIVE');
  await endOperation(context, session, kind);
  const row = mechanismRow(mechanism.type);
  if (row === undefined || mechanism.unread || !can(row) || !isOffered(context)(row)) throw rv('MECHANISM_INVALID');
  const kept = keepMechanism(mechanism);
  if (key === undefined) {
    const operation = newOperation(kind, row, kept, undefined);
    session.operations.set(kind, operation);
    return operation;
  }
  const { known, object } = await keyOf(context, session, key);
  checkKey(row, kind, object);
  const operation = newOperation(kind, row, kept, known);
  session.operations.set(kind, operation);
  return operation;
};

/** Begins what was begun before a restart. What cannot be begun any more is as good as never begun. */
export const beginPending = async (context: CallContext, session: Session): Promise<void> => {
  for (const { kind, mechanism, key } of session.pending.splice(0)) {
    try {
      await begin(context, session, { kind, mechanism, can: () => true, ...(key === undefined ? {} : { key }) });
    } catch (error) {
      if (!(error instanceof Rv)) throw error;
    }
  }
};

/** An algorithm that comes with the parameter (the hash of OAEP and PSS) may be one that this key's root does not have. */
export const requireAlgorithm = (context: CallContext, operation: KeyOperation, algorithm: Algorithm | undefined): void => {
  const rootId = operation.key?.view?.object.rootId;
  if (algorithm !== undefined && rootId !== undefined && !context.parts.canDo(algorithm, rootId)) throw rv('MECHANISM_PARAM_INVALID');
};

/** Single-part and multi-part calls do not mix; a call that tries ends the operation (PKCS#11 v2.40 §5.8 to §5.10). */
export const requireSingle = (context: CallContext, session: Session, operation: KeyOperation): Promise<void> =>
  orEnd(context, session, operation, async () => {
    if (operation.parts) throw rv('OPERATION_ACTIVE');
  });
export const requireParts = (context: CallContext, session: Session, operation: KeyOperation): Promise<void> =>
  orEnd(context, session, operation, async () => {
    if (operation.whole) throw rv('OPERATION_ACTIVE');
  });

/** Anything but a too small buffer ends the operation (PKCS#11 v3.0 §5.2). */
export const orEnd = async <T>(context: CallContext, session: Session, operation: KeyOperation, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Rv) await endOperation(context, session, operation.kind);
    else finished(session, operation);
    throw error;
  }
};

/** Bytes of data before they go to the service as a part; single-part calls stay below. */
export const CHUNK_BYTES = 256 * 1024;

export const hold = (operation: KeyOperation, data: Uint8Array): void => {
  if (data.length === 0) return;
  operation.held.push(Uint8Array.from(data));
  operation.heldBytes += data.length;
};
export const takeHeld = (operation: KeyOperation): Uint8Array => {
  const all = operation.held.length === 1 ? (operation.held[0] as Uint8Array) : Buffer.concat(operation.held);
  operation.held = [];
  operation.heldBytes = 0;
  return all;
};

/** Data in pieces no larger than one part. */
export function* pieces(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += CHUNK_BYTES) yield data.subarray(at, at + CHUNK_BYTES);
}

export const EMPTY = new Uint8Array(0);
/** Whether this output goes out now. */
export const fits = (output: Uint8Array, space: Space): boolean => output.length <= space.capacity;
