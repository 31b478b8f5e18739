import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { CallName } from '../calls.js';
import type { CallContext, Handler, KeyOperation, Reply, Session } from '../contract.js';
import { isMultiPart } from '../mechanisms.js';
import { type FaultOverrides, rv } from '../rv.js';
import { finished, sessionOf } from '../sessions.js';
import { type Space, writeNeeded, writeOutput } from '../wire/arguments.js';
import type { Mechanism } from '../wire/mechanism-encodings.js';
import { cipherFields } from './cipher-parameters.js';
import {
  begin,
  CHUNK_BYTES,
  EMPTY,
  fits,
  objectOf,
  operationOf,
  orEnd,
  pieces,
  requireAlgorithm,
  requireParts,
  requireSingle,
} from './key-operations.js';

/** Encrypt and decrypt, in one part or many, with the buffer rules of PKCS#11 v3.0 §5.2. */

type Direction = 'encrypt' | 'decrypt';

const FAULTS: Readonly<Record<Direction, FaultOverrides>> = {
  encrypt: {
    'invalid-field': 'DATA_LEN_RANGE',
    'payload-too-large': 'DATA_LEN_RANGE',
    'not-found': 'KEY_HANDLE_INVALID',
    destroyed: 'KEY_HANDLE_INVALID',
  },
  decrypt: {
    'invalid-field': 'ENCRYPTED_DATA_LEN_RANGE',
    'payload-too-large': 'ENCRYPTED_DATA_LEN_RANGE',
    'not-found': 'KEY_HANDLE_INVALID',
    destroyed: 'KEY_HANDLE_INVALID',
  },
};

const init =
  (direction: Direction): Handler =>
  async (context, args) => {
    const [handle, mechanism, key] = args as [number, Mechanism | undefined, number];
    const session = sessionOf(context.connection, handle);
    const operation = await begin(context, session, { kind: direction, mechanism, key, can: (row) => row.cipher !== undefined });
    if (operation === undefined) return undefined;
    try {
      requireAlgorithm(context, operation, cipherFields(operation.row, operation.mechanism.parameter).algorithm);
    } catch (error) {
      finished(session, operation);
      throw error;
    }
    return undefined;
  };

const tagBytes = ({ mechanism }: KeyOperation): number => (mechanism.parameter?.record === 'gcm' ? mechanism.parameter.tagBits / 8 : 0);

/** Most bytes that can come out of `length` bytes in, for size queries; never too small. */
const bound = (operation: KeyOperation, direction: Direction, length: number): number => {
  const { row } = operation;
  if (row.cipher?.single === true) {
    const object = objectOf(operation);
    return object.spec === undefined ? 0 : KEY_SPECS[object.spec].bits / 8;
  }
  const block = row.cipher?.blockBytes ?? 0;
  if (direction === 'decrypt') return Math.max(0, length - tagBytes(operation));
  if (row.cipher?.padded === true) return (Math.floor(length / block) + 1) * block;
  return length + tagBytes(operation);
};

const checkLength = ({ row }: KeyOperation, direction: Direction, length: number): void => {
  const block = row.cipher?.blockBytes;
  if (block === undefined || length % block === 0) return;
  if (direction === 'decrypt') throw rv('ENCRYPTED_DATA_LEN_RANGE');
  if (row.cipher?.padded !== true) throw rv('DATA_LEN_RANGE');
};

const sameInput = (operation: KeyOperation, input: Uint8Array): Uint8Array | undefined =>
  operation.ready !== undefined && Buffer.compare(operation.ready.input, input) === 0 ? operation.ready.output : undefined;

/** One call where it fits one, else part by part. */
const whole = async (
  context: CallContext,
  session: Session,
  operation: KeyOperation,
  direction: Direction,
  data: Uint8Array,
): Promise<Uint8Array> => {
  if (data.length > CHUNK_BYTES && operation.row.cipher?.single !== true) {
    const parts = [await stream(context, session, operation, direction, data), await last(context, session, operation, direction)];
    return Buffer.concat(parts);
  }
  const key = operation.key?.objectId ?? '';
  const fields = cipherFields(operation.row, operation.mechanism.parameter);
  const input = Uint8Array.from(data);
  if (direction === 'encrypt') {
    const { ciphertext, tag } = await context.call(
      session.slot,
      'encrypt',
      { key, ...fields, plaintext: input, format: 'raw' },
      FAULTS.encrypt,
    );
    return tag === undefined ? ciphertext : Buffer.concat([ciphertext, tag]);
  }
  return (await context.call(session.slot, 'decrypt', { key, ...fields, ciphertext: input, format: 'raw' }, FAULTS.decrypt)).plaintext;
};

const single =
  (direction: Direction): Handler =>
  async (context, args) => {
    const [handle, given, space] = args as [number, Uint8Array | undefined, Space];
    const session = sessionOf(context.connection, handle);
    const operation = operationOf(session, direction);
    await requireSingle(context, session, operation);
    const data = given ?? EMPTY;
    const most = bound(operation, direction, data.length);
    if (space.asksSize && most > 0 && operation.ready === undefined) {
      operation.whole = true;
      return (w) => writeNeeded(w, most);
    }
    const output =
      sameInput(operation, data) ??
      (await orEnd(context, session, operation, () => {
        checkLength(operation, direction, data.length);
        return whole(context, session, operation, direction, data);
      }));
    return deliver(session, operation, data, output, space, true);
  };

/** Gives the output and ends the operation, or keeps both until there is room. */
const deliver = (session: Session, operation: KeyOperation, input: Uint8Array, output: Uint8Array, space: Space, ends: boolean): Reply => {
  if (!fits(output, space)) {
    operation.ready = { input: Uint8Array.from(input), output };
    return (w) => writeNeeded(w, output.length);
  }
  // The answer is written before anything wipes what it came from.
  const answer = Uint8Array.from(output);
  operation.ready = undefined;
  if (ends && output.length === 0 && space.asksSize) operation.drained = true;
  else if (ends) finished(session, operation);
  return (w) => writeOutput(w, answer);
};

const start = async (context: CallContext, session: Session, operation: KeyOperation, direction: Direction): Promise<string> => {
  const key = operation.key?.objectId ?? '';
  const fields = cipherFields(operation.row, operation.mechanism.parameter);
  operation.remote ??= (
    await context.call(session.slot, 'begin-operation', { kind: direction, key, ...fields }, FAULTS[direction])
  ).operation;
  return operation.remote;
};

/** Sends data on. When decrypting GCM the last bytes so far are kept back: they may be the tag. */
const stream = async (
  context: CallContext,
  session: Session,
  operation: KeyOperation,
  direction: Direction,
  data: Uint8Array,
): Promise<Uint8Array> => {
  const remote = await start(context, session, operation, direction);
  const keep = direction === 'decrypt' ? tagBytes(operation) : 0;
  const all = keep === 0 ? data : Buffer.concat([...operation.held, data]);
  const ready = all.subarray(0, Math.max(0, all.length - keep));
  if (keep > 0) {
    operation.held = [Uint8Array.from(all.subarray(ready.length))];
    operation.heldBytes = all.length - ready.length;
  }
  const outputs: Uint8Array[] = [];
  for (const piece of pieces(ready)) {
    const { output } = await context.call(
      session.slot,
      'update-operation',
      { operation: remote, data: Uint8Array.from(piece) },
      FAULTS[direction],
    );
    outputs.push(output);
  }
  return outputs.length === 1 ? (outputs[0] as Uint8Array) : Buffer.concat(outputs);
};

const last = async (context: CallContext, session: Session, operation: KeyOperation, direction: Direction): Promise<Uint8Array> => {
  const remote = await start(context, session, operation, direction);
  const tag = direction === 'decrypt' && tagBytes(operation) > 0 ? Buffer.concat(operation.held) : undefined;
  if (tag !== undefined && tag.length < tagBytes(operation)) throw rv('ENCRYPTED_DATA_LEN_RANGE');
  const made = await context.call(
    session.slot,
    'finish-operation',
    { operation: remote, ...(tag === undefined ? {} : { signature: Uint8Array.from(tag) }) },
    FAULTS[direction],
  );
  operation.remote = undefined;
  if (made.valid === false) throw rv('ENCRYPTED_DATA_INVALID');
  return made.tag === undefined ? made.output : Buffer.concat([made.output, made.tag]);
};

const update =
  (direction: Direction): Handler =>
  async (context, args) => {
    const [handle, given, space] = args as [number, Uint8Array | undefined, Space];
    const session = sessionOf(context.connection, handle);
    const operation = operationOf(session, direction);
    if (!isMultiPart(operation.row)) return orEnd(context, session, operation, () => Promise.reject(rv('FUNCTION_NOT_SUPPORTED')));
    await requireParts(context, session, operation);
    const data = given ?? EMPTY;
    const pending = operation.row.cipher?.blockBytes ?? 0;
    if (space.asksSize && operation.ready === undefined && data.length + pending > 0) {
      const most = data.length + pending;
      return (w) => writeNeeded(w, most);
    }
    operation.parts = true;
    const output =
      sameInput(operation, data) ?? (await orEnd(context, session, operation, () => stream(context, session, operation, direction, data)));
    return deliver(session, operation, data, output, space, false);
  };

const final =
  (direction: Direction): Handler =>
  async (context, args) => {
    const [handle, space] = args as [number, Space];
    const session = sessionOf(context.connection, handle);
    const operation = operationOf(session, direction);
    if (operation.drained) {
      // Either the repeat after a size query, or the end that client 0.24.1 cannot be told apart from one.
      if (!space.asksSize) finished(session, operation);
      return (w) => writeOutput(w, EMPTY);
    }
    await requireParts(context, session, operation);
    operation.parts = true;
    const output =
      sameInput(operation, EMPTY) ?? (await orEnd(context, session, operation, () => last(context, session, operation, direction)));
    return deliver(session, operation, EMPTY, output, space, true);
  };

const unsupported: Handler = (context, args) => {
  sessionOf(context.connection, args[0]);
  throw rv('FUNCTION_NOT_SUPPORTED');
};
/** Message-based encryption passes its parameter as the client's own memory, pointers and all: there is no IV to read. */
const messages = {
  C_MessageEncryptInit: unsupported,
  C_EncryptMessage: unsupported,
  C_EncryptMessageBegin: unsupported,
  C_EncryptMessageNext: unsupported,
  C_MessageEncryptFinal: unsupported,
  C_MessageDecryptInit: unsupported,
  C_DecryptMessage: unsupported,
  C_DecryptMessageBegin: unsupported,
  C_DecryptMessageNext: unsupported,
  C_MessageDecryptFinal: unsupported,
  C_SignMessageBegin: unsupported,
  C_SignMessageNext: unsupported,
  C_VerifyMessageBegin: unsupported,
  C_VerifyMessageNext: unsupported,
  C_DigestEncryptUpdate: unsupported,
  C_DecryptDigestUpdate: unsupported,
  C_SignEncryptUpdate: unsupported,
  C_DecryptVerifyUpdate: unsupported,
} as const;

export const CIPHER_HANDLERS = {
  C_EncryptInit: init('encrypt'),
  C_Encrypt: single('encrypt'),
  C_EncryptUpdate: update('encrypt'),
  C_EncryptFinal: final('encrypt'),
  C_DecryptInit: init('decrypt'),
  C_Decrypt: single('decrypt'),
  C_DecryptUpdate: update('decrypt'),
  C_DecryptFinal: final('decrypt'),
  ...messages,
} satisfies Partial<Record<CallName, Handler>>;
