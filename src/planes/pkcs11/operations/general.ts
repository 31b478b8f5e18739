import { createHash } from 'node:crypto';
import type { CallName } from '../calls.js';
import type { CallContext, ConnectionState, Handler, Slot } from '../contract.js';
import { needsLogin, pinFlags, prove, proven, toLogin } from '../identity.js';
import { algorithmsOf, type MechanismRow, mechanismFlags, mechanismRow, offeredMechanisms } from '../mechanisms.js';
import { rv } from '../rv.js';
import { closeConnection, closeSession, logout, openSession, sessionOf, sessionsOf, slotOf } from '../sessions.js';
import { type Space, writePadded, writeUlongs } from '../wire/arguments.js';
import { CK_UNAVAILABLE, CKF, CKU } from '../wire/codes.js';

/** Calls about the library, slots, sessions and login. */

const HANDSHAKE = 'PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1';
const MANUFACTURER = 'Aegis';
const MAX_RESERVED_BYTES = 1024;
const MAX_PIN_BYTES = 255;
const MIN_PIN_BYTES = 4;

/** `tenant=acme token=aegis_…`: parameters an application passes through C_Initialize. Anything else in it is somebody else's. */
const readReserved = (bytes: Uint8Array | undefined): { tenant?: string; token?: string } => {
  if (bytes === undefined || bytes.length > MAX_RESERVED_BYTES) return {};
  const text = Buffer.from(bytes).toString('utf8').replace(/\0+$/, '');
  const pairs = new Map(
    text
      .split(/[\s;,]+/)
      .flatMap((part) => (part.includes('=') ? [[part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)] as const] : [])),
  );
  const tenant = pairs.get('tenant');
  const token = pairs.get('token') ?? pairs.get('pin');
  return { ...(tenant === undefined ? {} : { tenant }), ...(token === undefined ? {} : { token }) };
};

export const makeSlots = (tenants: readonly string[]): Slot[] => tenants.map((tenant, at) => ({ id: at + 1, tenant, login: undefined }));

const initialize: Handler = async (context, args) => {
  const [handshake, , reserved] = args as [Uint8Array | undefined, number, Uint8Array | undefined];
  const { connection } = context;
  if (handshake === undefined || Buffer.from(handshake).toString('latin1') !== HANDSHAKE) throw rv('DEVICE_ERROR');
  const given = readReserved(reserved);
  const served = connection.socket.tenants;
  const tenants = given.tenant === undefined ? served : served.filter((tenant) => tenant === given.tenant);
  if (tenants.length === 0) throw rv('ARGUMENTS_BAD');
  connection.slots.splice(0, connection.slots.length, ...makeSlots(served).filter((slot) => tenants.includes(slot.tenant)));
  connection.reserved = undefined;
  const [slot] = connection.slots;
  if (given.token === undefined || slot === undefined) {
    connection.initialised = true;
    context.remember({ e: 'init', ...(given.tenant === undefined ? {} : { tenant: given.tenant }) });
    return undefined;
  }
  const { tokenId } = await prove(context, slot, given.token);
  connection.reserved = { tenant: slot.tenant, credential: proven(slot.tenant, tokenId) };
  connection.initialised = true;
  context.remember({ e: 'init', tenant: slot.tenant, tokenId });
  return undefined;
};

const finalize: Handler = async (context) => {
  await closeConnection(context);
  context.connection.closed = false;
  return undefined;
};

const requireInitialised = (connection: ConnectionState): void => {
  if (!connection.initialised) throw rv('CRYPTOKI_NOT_INITIALIZED');
};

const getInfo: Handler = ({ connection, parts }) => {
  requireInitialised(connection);
  return (w) => {
    w.byte(connection.generation === 0 ? 2 : 3).byte(connection.generation === 0 ? 40 : 0);
    writePadded(w, MANUFACTURER, 32);
    w.ulong(0);
    writePadded(w, 'Aegis key management', 32);
    w.byte(parts.version.major).byte(parts.version.minor);
  };
};

const getSlotList: Handler = ({ connection }, args) => {
  requireInitialised(connection);
  const [, space] = args as [number, Space];
  return (w) =>
    writeUlongs(
      w,
      connection.slots.map((slot) => slot.id),
      space,
    );
};

const getSlotInfo: Handler = ({ connection, parts }, args) => {
  const slot = slotOf(connection, args[0] as number);
  return (w) => {
    writePadded(w, `Aegis, tenant ${slot.tenant}`, 64);
    writePadded(w, MANUFACTURER, 32);
    w.ulong(CKF.TOKEN_PRESENT);
    for (let n = 0; n < 2; n += 1) w.byte(parts.version.major).byte(parts.version.minor);
  };
};

/** Token label: what a PKCS#11 URI names, e.g. `pkcs11:token=aegis`. */
const tokenLabel = (tenant: string): string => (tenant === 'default' ? 'aegis' : `aegis-${tenant}`);
const tokenSerial = (tenant: string): string => createHash('sha256').update(`aegis pkcs11 token\0${tenant}`).digest('hex').slice(0, 16);

const utcTime = (now: number): string => new Date(now).toISOString().replace(/[-:T]/g, '').slice(0, 14).padEnd(16, '0');

const getTokenInfo: Handler = ({ connection, parts }, args) => {
  const slot = slotOf(connection, args[0] as number);
  const sessions = sessionsOf(connection, slot);
  const flags =
    CKF.RNG +
    CKF.USER_PIN_INITIALIZED +
    CKF.RESTORE_KEY_NOT_NEEDED +
    CKF.CLOCK_ON_TOKEN +
    CKF.TOKEN_INITIALIZED +
    pinFlags(connection) +
    (needsLogin(connection, slot) ? CKF.LOGIN_REQUIRED : 0);
  return (w) => {
    writePadded(w, tokenLabel(slot.tenant), 32);
    writePadded(w, MANUFACTURER, 32);
    writePadded(w, 'Aegis', 16);
    writePadded(w, tokenSerial(slot.tenant), 16);
    w.ulong(flags)
      .ulong(0)
      .ulong(sessions.length)
      .ulong(0)
      .ulong(sessions.filter((s) => s.writable).length);
    w.ulong(MAX_PIN_BYTES).ulong(MIN_PIN_BYTES);
    for (let n = 0; n < 4; n += 1) w.ulong(CK_UNAVAILABLE);
    for (let n = 0; n < 2; n += 1) w.byte(parts.version.major).byte(parts.version.minor);
    writePadded(w, utcTime(parts.clock()), 16);
  };
};

/** A row that stands on algorithms none of the roots has is not offered. */
export const isOffered =
  ({ parts }: Pick<CallContext, 'parts'>) =>
  (row: MechanismRow): boolean => {
    const algorithms = algorithmsOf(row);
    return algorithms.length === 0 || algorithms.some((algorithm) => parts.canDo(algorithm));
  };

const getMechanismList: Handler = (context, args) => {
  const [id, space] = args as [number, Space];
  slotOf(context.connection, id);
  const types = offeredMechanisms(context.connection.generation, isOffered(context)).map((row) => row.type);
  return (w) => writeUlongs(w, types, space);
};

const getMechanismInfo: Handler = (context, args) => {
  const [id, type] = args as [number, number];
  slotOf(context.connection, id);
  const row = mechanismRow(type);
  if (row === undefined || !isOffered(context)(row)) throw rv('MECHANISM_INVALID');
  return (w) => w.ulong(row.sizes[0]).ulong(row.sizes[1]).ulong(mechanismFlags(row));
};

const open: Handler = (context, args) => {
  const [id, flags] = args as [number, number];
  const slot = slotOf(context.connection, id);
  if ((flags & CKF.SERIAL_SESSION) === 0) throw rv('SESSION_PARALLEL_NOT_SUPPORTED');
  const session = openSession(context, slot, (flags & CKF.RW_SESSION) !== 0);
  return (w) => w.ulong(session.handle);
};

const close: Handler = async (context, args) => {
  await closeSession(context, sessionOf(context.connection, args[0]));
  return undefined;
};

const closeAll: Handler = async (context, args) => {
  const slot = slotOf(context.connection, args[0] as number);
  for (const session of sessionsOf(context.connection, slot)) await closeSession(context, session);
  return undefined;
};

/** CK_STATE: 0 RO public, 1 RO user, 2 RW public, 3 RW user, 4 RW security officer. */
const stateOf = (slot: Slot, writable: boolean): number => {
  if (slot.login?.userType === 'so') return 4;
  return (writable ? 2 : 0) + (slot.login === undefined ? 0 : 1);
};

const getSessionInfo: Handler = ({ connection }, args) => {
  const session = sessionOf(connection, args[0]);
  const flags = CKF.SERIAL_SESSION + (session.writable ? CKF.RW_SESSION : 0);
  return (w) => w.ulong(session.slot.id).ulong(stateOf(session.slot, session.writable)).ulong(flags).ulong(0);
};

const doLogin = async (context: CallContext, handle: number, userType: number, pin: Uint8Array | undefined): Promise<void> => {
  const { connection } = context;
  const session = sessionOf(connection, handle);
  const { slot } = session;
  if (userType === CKU.CONTEXT_SPECIFIC) throw rv('OPERATION_NOT_INITIALIZED');
  if (userType !== CKU.USER && userType !== CKU.SO) throw rv('USER_TYPE_INVALID');
  if (userType === CKU.SO && sessionsOf(connection, slot).some((one) => !one.writable)) throw rv('SESSION_READ_ONLY_EXISTS');
  if (slot.login !== undefined)
    throw rv((slot.login.userType === 'so') === (userType === CKU.SO) ? 'USER_ALREADY_LOGGED_IN' : 'USER_ANOTHER_ALREADY_LOGGED_IN');
  if (pin === undefined) throw rv('ARGUMENTS_BAD');
  if (pin.length > MAX_PIN_BYTES) throw rv('PIN_LEN_RANGE');
  const { tokenId, admin } = await prove(context, slot, Buffer.from(pin).toString('utf8'));
  // The security officer of a token is an administrator of its tenant.
  if (userType === CKU.SO && !admin) throw rv('PIN_INCORRECT');
  if (session.closed) throw rv('SESSION_CLOSED');
  slot.login = toLogin(slot, tokenId, userType);
  context.remember({ e: 'login', slot: slot.id, tokenId, so: userType === CKU.SO });
};

const login: Handler = async (context, args) => {
  const [handle, userType, pin] = args as [number, number, Uint8Array | undefined];
  try {
    await doLogin(context, handle, userType, pin);
  } finally {
    pin?.fill(0);
  }
  return undefined;
};

/** C_LoginUser names a user beside the PIN; the PIN alone says who it is, so a name that differs is only a wish. */
const loginUser: Handler = (context, args) => login(context, args.slice(0, 3));

const doLogout: Handler = async (context, args) => {
  const { slot } = sessionOf(context.connection, args[0]);
  if (slot.login === undefined) throw rv('USER_NOT_LOGGED_IN');
  await logout(context, slot);
  return undefined;
};

const waitForSlotEvent: Handler = ({ connection }, args) => {
  requireInitialised(connection);
  if (((args[0] as number) & CKF.DONT_BLOCK) !== 0) throw rv('NO_EVENT');
  // Slots never come or go: the call stays outstanding until the connection ends, as the standard has it.
  return new Promise(() => undefined);
};

const unsupported: Handler = ({ connection }) => {
  requireInitialised(connection);
  throw rv('FUNCTION_NOT_SUPPORTED');
};
/** PINs and tokens are issued by the service (`aegis pkcs11 pin`), never set through the token; operations stay where they run. */
const unsupportedInSession: Handler = ({ connection }, args) => {
  sessionOf(connection, args[0]);
  throw rv('FUNCTION_NOT_SUPPORTED');
};

export const GENERAL_HANDLERS = {
  C_Initialize: initialize,
  C_Finalize: finalize,
  C_GetInfo: getInfo,
  C_GetSlotList: getSlotList,
  C_GetSlotInfo: getSlotInfo,
  C_GetTokenInfo: getTokenInfo,
  C_GetMechanismList: getMechanismList,
  C_GetMechanismInfo: getMechanismInfo,
  C_InitToken: (context, args) => {
    slotOf(context.connection, args[0] as number);
    return unsupported(context, args);
  },
  C_InitToken2: (context, args) => {
    slotOf(context.connection, args[0] as number);
    return unsupported(context, args);
  },
  C_OpenSession: open,
  C_CloseSession: close,
  C_CloseAllSessions: closeAll,
  C_GetSessionInfo: getSessionInfo,
  C_InitPIN: unsupportedInSession,
  C_SetPIN: unsupportedInSession,
  C_GetOperationState: unsupportedInSession,
  C_SetOperationState: unsupportedInSession,
  C_Login: login,
  C_LoginUser: loginUser,
  C_Logout: doLogout,
  C_WaitForSlotEvent: waitForSlotEvent,
} satisfies Partial<Record<CallName, Handler>>;
