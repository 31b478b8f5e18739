import { HASH_BYTES, type HashName } from '@aegis/rot-spi/vocabulary';
import type { CallName } from '../calls.js';
import type { CallContext, Handler, KeyOperation, Reply, Session } from '../contract.js';
import { knownObject } from '../objects.js';
import { rv } from '../rv.js';
import { endOperation, finished, sessionOf } from '../sessions.js';
import { type Space, writeNeeded, writeOutput } from '../wire/arguments.js';
import { CKF } from '../wire/codes.js';
import type { Mechanism } from '../wire/mechanism-encodings.js';
import { begin, CHUNK_BYTES, EMPTY, hold, operationOf, orEnd, pieces, requireParts, requireSingle, takeHeld } from './key-operations.js';

/** Digests, random bytes, and C_SessionCancel. */

const hashOf = (operation: KeyOperation): HashName => {
  const hash = operation.row.digest;
  if (hash === undefined) throw rv('MECHANISM_INVALID');
  return hash;
};

const init: Handler = async (context, args) => {
  const [handle, mechanism] = args as [number, Mechanism | undefined];
  await begin(context, sessionOf(context.connection, handle), { kind: 'digest', mechanism, can: (row) => row.digest !== undefined });
  return undefined;
};

const feed = async (context: CallContext, session: Session, operation: KeyOperation, data: Uint8Array): Promise<void> => {
  const { slot } = session;
  for (const piece of pieces(data)) {
    hold(operation, piece);
    if (operation.heldBytes < CHUNK_BYTES) continue;
    operation.remote ??= (await context.callPublic(slot, 'begin-operation', { kind: 'digest', hash: hashOf(operation) })).operation;
    await context.callPublic(slot, 'update-operation', { operation: operation.remote, data: takeHeld(operation) });
  }
};

const produce = async (context: CallContext, session: Session, operation: KeyOperation): Promise<Uint8Array> => {
  const data = takeHeld(operation);
  if (operation.remote === undefined) return (await context.callPublic(session.slot, 'digest', { hash: hashOf(operation), data })).digest;
  const { output } = await context.callPublic(session.slot, 'finish-operation', { operation: operation.remote, data });
  operation.remote = undefined;
  return output;
};

const answer = async (context: CallContext, session: Session, operation: KeyOperation, data: Uint8Array, space: Space): Promise<Reply> => {
  const length = HASH_BYTES[hashOf(operation)];
  if (space.capacity < length) return (w) => writeNeeded(w, length);
  const digest = await orEnd(context, session, operation, async () => {
    await feed(context, session, operation, data);
    return produce(context, session, operation);
  });
  finished(session, operation);
  return (w) => writeOutput(w, digest);
};

const digest: Handler = async (context, args) => {
  const [handle, data, space] = args as [number, Uint8Array | undefined, Space];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'digest');
  await requireSingle(context, session, operation);
  operation.whole = true;
  return answer(context, session, operation, data ?? EMPTY, space);
};
const update: Handler = async (context, args) => {
  const [handle, data] = args as [number, Uint8Array | undefined];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'digest');
  await requireParts(context, session, operation);
  operation.parts = true;
  await orEnd(context, session, operation, () => feed(context, session, operation, data ?? EMPTY));
  return undefined;
};
const final: Handler = async (context, args) => {
  const [handle, space] = args as [number, Space];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'digest');
  await requireParts(context, session, operation);
  operation.parts = true;
  return answer(context, session, operation, EMPTY, space);
};
/** A digest of key bytes would let them out; the algebra has none. */
const digestKey: Handler = (context, args) => {
  const session = sessionOf(context.connection, args[0]);
  operationOf(session, 'digest');
  knownObject(context, session, args[1] as number, 'KEY_HANDLE_INVALID');
  throw rv('KEY_INDIGESTIBLE');
};

const MAX_SEED_BYTES = 4096;
const seed: Handler = async (context, args) => {
  const [handle, bytes] = args as [number, Uint8Array | undefined];
  const { slot } = sessionOf(context.connection, handle);
  if (bytes === undefined || bytes.length === 0) return undefined;
  await context.callPublic(
    slot,
    'seed-random',
    { seed: Uint8Array.from(bytes.subarray(0, MAX_SEED_BYTES)) },
    { 'unsupported-operation': 'RANDOM_SEED_NOT_SUPPORTED' },
  );
  return undefined;
};

/** Largest C_GenerateRandom; a frame holds no more, and no application asks for it. */
const MAX_RANDOM_BYTES = 8 * 1024 * 1024;
const RANDOM_PART_BYTES = 1024 * 1024;
/** An application that asks again within this time gets a stock, ms; the call that the guard judges and records says how much. */
const STOCK_WITHIN_MS = 1_000;
const STOCK_BYTES = 16 * 1024;
const STOCK_GROWTH = 4;
const MAX_STOCK_BYTES = 512 * 1024;
const MAX_STOCKED_BYTES = 256;

const random: Handler = async (context, args) => {
  const [handle, space] = args as [number, Space];
  const session = sessionOf(context.connection, handle);
  const wanted = space.capacity;
  // NULL is refused where it can be told from a length of 0, which the oldest clients write the same way and programs do ask for.
  if ((space.asksSize && context.connection.generation > 0) || wanted > MAX_RANDOM_BYTES) throw rv('ARGUMENTS_BAD');
  const now = context.parts.clock();
  const again = wanted > 0 && wanted <= MAX_STOCKED_BYTES && now - session.randomAt < STOCK_WITHIN_MS;
  // A stock that was used up within the second is followed by a larger one.
  const stock = again ? Math.min(Math.max(session.randomStock * STOCK_GROWTH, STOCK_BYTES), MAX_STOCK_BYTES) : 0;
  session.randomAt = now;
  session.randomStock = stock;
  const parts: Uint8Array[] = [];
  for (let left = wanted + stock; left > 0; left -= RANDOM_PART_BYTES)
    parts.push((await context.callPublic(session.slot, 'random', { length: Math.min(left, RANDOM_PART_BYTES) })).bytes);
  const bytes = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  if (stock > 0) context.offerRandom(session.handle, bytes.subarray(wanted));
  const given = Uint8Array.from(bytes.subarray(0, wanted));
  bytes.fill(0);
  return (w) => writeOutput(w, given);
};

const CANCELS = [
  [CKF.ENCRYPT, 'encrypt'],
  [CKF.DECRYPT, 'decrypt'],
  [CKF.DIGEST, 'digest'],
  [CKF.SIGN, 'sign'],
  [CKF.VERIFY, 'verify'],
  [CKF.FIND_OBJECTS, 'find'],
  [CKF.MESSAGE_SIGN, 'message-sign'],
  [CKF.MESSAGE_VERIFY, 'message-verify'],
] as const;
const cancel: Handler = async (context, args) => {
  const session = sessionOf(context.connection, args[0]);
  const flags = args[1] as number;
  for (const [flag, kind] of CANCELS) if (Math.floor(flags / flag) % 2 === 1) await endOperation(context, session, kind);
  return undefined;
};

export const DIGEST_HANDLERS = {
  C_DigestInit: init,
  C_Digest: digest,
  C_DigestUpdate: update,
  C_DigestKey: digestKey,
  C_DigestFinal: final,
  C_SeedRandom: seed,
  C_GenerateRandom: random,
  C_SessionCancel: cancel,
} satisfies Partial<Record<CallName, Handler>>;
