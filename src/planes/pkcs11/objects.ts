import type { ManagedObject, ObjectView } from '../../domain/index.js';
import type { CallContext, ConnectionState, KnownObject, Session, Slot } from './contract.js';
import { type Facts, isPrivate, isShown, needsPairName, pairIdOf, sessionOf } from './object-view.js';
import { Rv, rv } from './rv.js';
import type { CkrName } from './wire/codes.js';

/**
 * How long what the guard let a principal see may be shown again without asking: applications read an object attribute by
 * attribute, twice each. Using a key is never answered from here.
 */
const VIEW_MS = 2_000;
/** Objects one connection may know by handle. */
const MAX_OBJECTS = 200_000;

/** Session objects are marked with the connection and session they belong to; nobody else sees them. */
export const sessionMark = (connection: ConnectionState, session: number): string => `${connection.id}/${session}`;
const ownSession = (connection: ConnectionState, object: ManagedObject): number | undefined => {
  const mark = sessionOf(object);
  return mark?.startsWith(`${connection.id}/`) === true ? Number(mark.slice(connection.id.length + 1)) : undefined;
};
export const isVisible = (connection: ConnectionState, object: ManagedObject): boolean =>
  isShown(object) && (sessionOf(object) === undefined || ownSession(connection, object) !== undefined);

const remembering = (context: CallContext, known: KnownObject): void =>
  context.remember({ e: 'objects', list: [[known.handle, known.objectId, known.slot.id, known.session ?? null]] });

/** The handle of an object, given now where it had none. `note` off: the caller notes a whole batch. */
export const handleFor = (context: CallContext, slot: Slot, object: ManagedObject, note = true): KnownObject => {
  const { connection } = context;
  const existing = connection.objects.get(connection.handles.get(object.id) ?? -1);
  if (existing !== undefined) {
    if (existing.view === undefined || existing.view.object.revision !== object.revision)
      existing.view = { object, publicKey: undefined, full: false, at: context.parts.clock() };
    return existing;
  }
  if (connection.objects.size >= MAX_OBJECTS) throw rv('HOST_MEMORY');
  const known: KnownObject = {
    handle: connection.nextHandle,
    objectId: object.id,
    slot,
    session: ownSession(connection, object),
    view: { object, publicKey: undefined, full: false, at: context.parts.clock() },
  };
  connection.nextHandle += 1;
  connection.objects.set(known.handle, known);
  connection.handles.set(known.objectId, known.handle);
  if (note) remembering(context, known);
  return known;
};

export const noteHandles = (context: CallContext, known: readonly KnownObject[]): void => {
  if (known.length > 0) context.remember({ e: 'objects', list: known.map((k) => [k.handle, k.objectId, k.slot.id, k.session ?? null]) });
};

export const forget = (context: CallContext, known: KnownObject): void => {
  context.connection.objects.delete(known.handle);
  context.connection.handles.delete(known.objectId);
  context.remember({ e: 'forget', handle: known.handle });
};

/** The object of a handle in the session's token; `bad` is what this call says to a handle that is none. */
export const knownObject = (
  context: CallContext,
  session: Session,
  handle: number,
  bad: CkrName = 'OBJECT_HANDLE_INVALID',
): KnownObject => {
  const known = context.connection.objects.get(handle);
  if (known === undefined || known.slot !== session.slot) throw rv(bad);
  return known;
};

const viewOf = ({ object, versions, publicKey }: ObjectView) => {
  const current = versions.find((version) => version.version === object.currentVersion);
  return { object, publicKey: publicKey ?? current?.publicKey, provenance: current?.provenance, bits: current?.bits };
};
type FullView = ReturnType<typeof viewOf>;
const FULL = new WeakMap<object, FullView>();

/** Keeps an answer of the service as what is known of the object now. */
export const keepView = (context: CallContext, known: KnownObject, view: ObjectView): void => {
  const full = viewOf(view);
  known.view = { object: full.object, publicKey: full.publicKey, full: true, at: context.parts.clock() };
  FULL.set(known.view, full);
};

/** What is known of an object, fresh enough to show. `full` wants the current version too. */
export const factsOf = async (
  context: CallContext,
  known: KnownObject,
  full: boolean,
  bad: CkrName = 'OBJECT_HANDLE_INVALID',
): Promise<Facts> => {
  const fresh = known.view !== undefined && context.parts.clock() - known.view.at < VIEW_MS && (known.view.full || !full);
  if (!fresh) await refresh(context, known, bad);
  const { view } = known;
  if (view === undefined || !isVisible(context.connection, view.object)) throw rv(bad);
  const rest = FULL.get(view);
  return { object: view.object, publicKey: view.publicKey, provenance: rest?.provenance, bits: rest?.bits, pairName: undefined };
};

const refresh = async (context: CallContext, known: KnownObject, bad: CkrName): Promise<void> => {
  try {
    const view = await context.call(known.slot, 'get-object', { key: known.objectId }, { 'not-found': bad, destroyed: bad });
    keepView(context, known, view);
  } catch (error) {
    if (error instanceof Rv && (error.fault?.code === 'not-found' || error.fault?.code === 'destroyed')) forget(context, known);
    throw error;
  }
};

/**
 * What the key can do never changes after it was made (its reference is bound to it), so Init looks at what is known however
 * old; the guard judges the use itself.
 */
export const keyOf = async (context: CallContext, session: Session, handle: number, bad: CkrName = 'KEY_HANDLE_INVALID') => {
  const known = knownObject(context, session, handle, bad);
  if (known.view === undefined) await refresh(context, known, bad);
  const object = known.view?.object;
  if (object === undefined || !isVisible(context.connection, object)) throw rv(bad);
  return { known, object };
};

/** Facts with the other half's name, for a label this half does not have itself. Who may not read the other half sees no label. */
export const withPairName = async (context: CallContext, slot: Slot, facts: Facts): Promise<Facts> => {
  const pair = needsPairName(facts.object) ? pairIdOf(facts.object) : undefined;
  if (pair === undefined) return facts;
  try {
    const { connection } = context;
    const known = connection.objects.get(connection.handles.get(pair) ?? -1);
    const other = known?.view?.object ?? (await context.call(slot, 'get-object', { key: pair })).object;
    return { ...facts, pairName: other.names[0] };
  } catch (error) {
    if (error instanceof Rv) return facts;
    throw error;
  }
};

/** Logging out hides what needed the login: private session objects end, handles of private objects lose their meaning. */
export const dropPrivate = async (context: CallContext, slot: Slot): Promise<void> => {
  for (const known of [...context.connection.objects.values()]) {
    if (known.slot !== slot || (known.view !== undefined && !isPrivate(known.view.object))) continue;
    forget(context, known);
    if (known.session !== undefined) await context.reap(slot.tenant, known.objectId);
  }
};

/** Session objects of a session that ends. */
export const dropSession = async (context: CallContext, session: Session): Promise<void> => {
  for (const known of [...context.connection.objects.values()]) {
    if (known.session !== session.handle) continue;
    forget(context, known);
    await context.reap(session.slot.tenant, known.objectId);
  }
};
