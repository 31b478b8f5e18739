import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { ConnectionState, KnownObject, MemoryEvent } from './contract.js';
import { proven, toLogin } from './identity.js';
import { makeSlots } from './operations/general.js';
import { makeSession } from './sessions.js';
import { CKU } from './wire/codes.js';
import type { MechanismParameter } from './wire/mechanism-encodings.js';

/**
 * What a restarted service must know of a connection that stayed open: sessions, logins (by the id of the credential, which
 * is looked up again on every call) and object handles. The door keeps these records without being able to read or make
 * them: each is sealed with a key of this node and bound to its connection and place. Operations in progress are not
 * among them; they end with the service.
 *
 * Record: u32 epoch, u32 sequence, 12 bytes nonce, ciphertext, 16 bytes tag (AES-256-GCM over JSON).
 */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 8;
/** Records before the whole state is written anew. */
const MAX_RECORDS = 400;

const placeOf = (id: string, header: Uint8Array): Buffer => Buffer.concat([Buffer.from(`aegis pkcs11 ${id}\0`), header]);

const seal = (key: Uint8Array, id: string, epoch: number, sequence: number, event: MemoryEvent): Buffer => {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(epoch, 0);
  header.writeUInt32BE(sequence, 4);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(placeOf(id, header));
  const body = Buffer.concat([cipher.update(JSON.stringify(event)), cipher.final()]);
  return Buffer.concat([header, nonce, body, cipher.getAuthTag()]);
};

const open = (key: Uint8Array, id: string, record: Uint8Array): { epoch: number; sequence: number; event: MemoryEvent } | undefined => {
  if (record.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) return undefined;
  const bytes = Buffer.from(record);
  const header = bytes.subarray(0, HEADER_BYTES);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(placeOf(id, header));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    const text = Buffer.concat([decipher.update(bytes.subarray(HEADER_BYTES + NONCE_BYTES, bytes.length - TAG_BYTES)), decipher.final()]);
    return { epoch: header.readUInt32BE(0), sequence: header.readUInt32BE(4), event: JSON.parse(text.toString()) as MemoryEvent };
  } catch {
    return undefined;
  }
};

/** Every event of a state, so that older records can be dropped. */
const snapshot = (state: ConnectionState): readonly MemoryEvent[] => {
  if (!state.initialised) return [];
  const reserved = state.reserved;
  const only = state.slots.length === state.socket.tenants.length ? undefined : state.slots[0]?.tenant;
  const tenant = reserved?.tenant ?? only;
  const tokenId = reserved?.credential.kind === 'proven' ? reserved.credential.tokenId : undefined;
  return [
    { e: 'init', ...(tenant === undefined ? {} : { tenant }), ...(tokenId === undefined ? {} : { tokenId }) },
    { e: 'next', session: state.nextSession, handle: state.nextHandle },
    ...[...state.sessions.values()].map(
      (one): MemoryEvent => ({ e: 'open', session: one.handle, slot: one.slot.id, writable: one.writable }),
    ),
    ...state.slots.flatMap((slot): MemoryEvent[] =>
      slot.login?.credential.kind === 'proven'
        ? [{ e: 'login', slot: slot.id, tokenId: slot.login.credential.tokenId, so: slot.login.userType === 'so' }]
        : [],
    ),
    { e: 'objects', list: [...state.objects.values()].map((one) => [one.handle, one.objectId, one.slot.id, one.session ?? null] as const) },
  ];
};

export interface Memory {
  note(event: MemoryEvent): void;
}
export interface MemoryOutput {
  remember(record: Buffer): void;
  reset(): void;
}

/** Writes records as things happen; after many, the state as a whole instead. */
export const makeMemory = (
  key: Uint8Array,
  state: () => ConnectionState,
  output: MemoryOutput,
  begin: { epoch: number; sequence: number },
): Memory => {
  let { epoch, sequence } = begin;
  const write = (event: MemoryEvent): void => {
    output.remember(seal(key, state().id, epoch, sequence, event));
    sequence += 1;
  };
  return {
    note: (event) => {
      if (sequence < MAX_RECORDS) return write(event);
      epoch += 1;
      sequence = 0;
      output.reset();
      // The state holds the event already: it is noted after the change.
      for (const one of snapshot(state())) write(one);
      if (event.e === 'close' || event.e === 'logout' || event.e === 'forget') write(event);
    },
  };
};

const HEX = 'hex:';
const toPlain = (parameter: MechanismParameter | undefined): Record<string, string | number> | null =>
  parameter === undefined
    ? null
    : Object.fromEntries(
        Object.entries(parameter).map(([name, value]) => [
          name,
          value instanceof Uint8Array ? HEX + Buffer.from(value).toString('hex') : value,
        ]),
      );
const fromPlain = (plain: Readonly<Record<string, string | number>> | null): MechanismParameter | undefined =>
  plain === null
    ? undefined
    : (Object.fromEntries(
        Object.entries(plain).map(([name, value]) => [
          name,
          typeof value === 'string' && value.startsWith(HEX) ? Buffer.from(value.slice(HEX.length), 'hex') : value,
        ]),
      ) as unknown as MechanismParameter);

/** Operations between Init and their first data, which a service that ends in order passes on. Others end with it. */
export const freshOperations = (state: ConnectionState): readonly MemoryEvent[] =>
  [...state.sessions.values()].flatMap((session) =>
    [...session.operations.values()].flatMap((one): MemoryEvent[] => {
      if (one.kind === 'find' || one.parts || one.remote !== undefined || one.heldBytes > 0 || one.ready !== undefined || one.drained)
        return [];
      const { type, parameter } = one.mechanism;
      return [
        { e: 'operation', session: session.handle, kind: one.kind, type, parameter: toPlain(parameter), key: one.key?.handle ?? null },
      ];
    }),
  );

const apply = (state: ConnectionState, event: MemoryEvent): void => {
  const slot = 'slot' in event ? state.slots.find((one) => one.id === event.slot) : undefined;
  switch (event.e) {
    case 'init': {
      const slots = makeSlots(state.socket.tenants).filter((one) => event.tenant === undefined || one.tenant === event.tenant);
      state.slots.splice(0, state.slots.length, ...slots);
      const [first] = slots;
      state.reserved =
        event.tokenId === undefined || first === undefined
          ? undefined
          : { tenant: first.tenant, credential: proven(first.tenant, event.tokenId) };
      state.initialised = true;
      break;
    }
    case 'operation':
      state.sessions.get(event.session)?.pending.push({
        kind: event.kind,
        mechanism: { type: event.type, parameter: fromPlain(event.parameter), unread: false },
        key: event.key ?? undefined,
      });
      break;
    case 'next':
      state.nextSession = Math.max(state.nextSession, event.session);
      state.nextHandle = Math.max(state.nextHandle, event.handle);
      break;
    case 'open':
      if (slot !== undefined) state.sessions.set(event.session, makeSession(event.session, slot, event.writable));
      state.nextSession = Math.max(state.nextSession, event.session + 1);
      break;
    case 'close':
      state.sessions.delete(event.session);
      break;
    case 'login':
      if (slot !== undefined) slot.login = toLogin(slot, event.tokenId, event.so ? CKU.SO : CKU.USER);
      break;
    case 'logout':
      if (slot !== undefined) slot.login = undefined;
      break;
    case 'objects':
      for (const [handle, objectId, slotId, session] of event.list) addObject(state, handle, objectId, slotId, session);
      break;
    case 'forget':
      state.handles.delete(state.objects.get(event.handle)?.objectId ?? '');
      state.objects.delete(event.handle);
      break;
  }
};

const addObject = (state: ConnectionState, handle: number, objectId: string, slotId: number, session: number | null): void => {
  const slot = state.slots.find((one) => one.id === slotId);
  if (slot === undefined) return;
  const known: KnownObject = { handle, objectId, slot, session: session ?? undefined, view: undefined };
  state.objects.set(handle, known);
  state.handles.set(objectId, handle);
  state.nextHandle = Math.max(state.nextHandle, handle + 1);
};

/** Where records go on after those given; undefined when they are not ours, not whole or not in order. */
export const restore = (
  key: Uint8Array,
  state: ConnectionState,
  records: readonly Uint8Array[],
): { epoch: number; sequence: number } | undefined => {
  const opened = records.map((record) => open(key, state.id, record));
  const epoch = opened[0]?.epoch ?? 0;
  if (opened.some((one, at) => one === undefined || one.epoch !== epoch || one.sequence !== at)) return undefined;
  for (const one of opened) if (one !== undefined) apply(state, one.event);
  return { epoch, sequence: opened.length };
};
