import type { ActiveOperation, CallContext, ConnectionState, KeyOperation, OperationKind, Session, Slot } from './contract.js';
import { dropPrivate, dropSession } from './objects.js';
import { Rv, rv } from './rv.js';

/** Sessions of one connection. */
const MAX_SESSIONS = 2048;

export const slotOf = (connection: ConnectionState, id: number): Slot => {
  if (!connection.initialised) throw rv('CRYPTOKI_NOT_INITIALIZED');
  const slot = connection.slots.find((one) => one.id === id);
  if (slot === undefined) throw rv('SLOT_ID_INVALID');
  return slot;
};

export const sessionOf = (connection: ConnectionState, handle: unknown): Session => {
  if (!connection.initialised) throw rv('CRYPTOKI_NOT_INITIALIZED');
  const session = typeof handle === 'number' ? connection.sessions.get(handle) : undefined;
  if (session === undefined || session.closed) throw rv('SESSION_HANDLE_INVALID');
  return session;
};

export const makeSession = (handle: number, slot: Slot, writable: boolean): Session => ({
  handle,
  slot,
  writable,
  operations: new Map(),
  randomAt: 0,
  randomStock: 0,
  tail: Promise.resolve(),
  closed: false,
  pending: [],
});

export const openSession = (context: CallContext, slot: Slot, writable: boolean): Session => {
  const { connection } = context;
  if (connection.sessions.size >= MAX_SESSIONS) throw rv('SESSION_COUNT');
  if (!writable && slot.login?.userType === 'so') throw rv('SESSION_READ_WRITE_SO_EXISTS');
  const session = makeSession(connection.nextSession, slot, writable);
  connection.nextSession += 1;
  connection.sessions.set(session.handle, session);
  context.remember({ e: 'open', session: session.handle, slot: slot.id, writable });
  return session;
};

export const sessionsOf = (connection: ConnectionState, slot: Slot): readonly Session[] =>
  [...connection.sessions.values()].filter((session) => session.slot === slot);

/** Multi-part operations of the service that nobody will finish. */
const cancelRemote = async (context: CallContext, slot: Slot, operation: ActiveOperation): Promise<void> => {
  if (operation.kind === 'find' || operation.remote === undefined) return;
  try {
    await context.call(slot, 'cancel-operation', { operation: operation.remote });
  } catch (error) {
    // It ends by itself when idle; whoever closes a session is not told of that.
    if (!(error instanceof Rv)) throw error;
  }
};

export const endOperation = async (context: CallContext, session: Session, kind: OperationKind): Promise<void> => {
  const operation = session.operations.get(kind);
  if (operation === undefined) return;
  session.operations.delete(kind);
  wipe(operation);
  await cancelRemote(context, session.slot, operation);
};

const wipe = (operation: ActiveOperation): void => {
  if (operation.kind === 'find') return;
  for (const part of operation.held) part.fill(0);
  operation.ready?.output.fill(0);
  operation.held = [];
  operation.heldBytes = 0;
  operation.ready = undefined;
};

/** Ends an operation whose work is done or has failed; the remote part, if any, has ended with it. */
export const finished = (session: Session, operation: KeyOperation): void => {
  if (session.operations.get(operation.kind) === operation) session.operations.delete(operation.kind);
  operation.remote = undefined;
  wipe(operation);
};

export const closeSession = async (context: CallContext, session: Session): Promise<void> => {
  if (session.closed) return;
  session.closed = true;
  context.connection.sessions.delete(session.handle);
  context.remember({ e: 'close', session: session.handle });
  for (const kind of [...session.operations.keys()]) await endOperation(context, session, kind);
  await dropSession(context, session);
  // PKCS#11 v3.0 §5.6.8: closing the last session with a token logs out.
  if (sessionsOf(context.connection, session.slot).length === 0 && session.slot.login !== undefined) await logout(context, session.slot);
};

export const logout = async (context: CallContext, slot: Slot): Promise<void> => {
  for (const session of sessionsOf(context.connection, slot))
    for (const kind of [...session.operations.keys()]) if (kind !== 'digest') await endOperation(context, session, kind);
  slot.login = undefined;
  context.remember({ e: 'logout', slot: slot.id });
  await dropPrivate(context, slot);
};

export const closeConnection = async (context: CallContext): Promise<void> => {
  const { connection } = context;
  connection.closed = true;
  for (const session of [...connection.sessions.values()]) await closeSession(context, session);
  connection.initialised = false;
  connection.objects.clear();
  connection.handles.clear();
};
