import {
  type AuthorizedCall,
  type Change,
  effectiveState,
  fail,
  type Handlers,
  type LifecycleState,
  type ManagedObject,
  materialise,
  type ObjectVersion,
  type OperationName,
  type OperationRequest,
  type Planned,
  REVOCATION_REASONS,
} from '../domain/index.js';
import { targetOf } from './chosen-key.js';
import { BOUNDS, badField, checkDate, checkText } from './field-rules.js';
import { FORMER_NAMES_ATTRIBUTE, type KeyParts, OBLITERATED_ATTRIBUTE } from './key-parts.js';
import { bindingOf, nextObject, updateObject, updateVersion, without } from './new-object.js';
import { toView } from './views.js';

type ViewOperation = 'activate' | 'revoke' | 'archive' | 'recover' | 'destroy' | 'cancel-destroy';

/** One changed object, its view, and the transition in the audit record. */
const changed = <O extends ViewOperation & OperationName>(
  call: AuthorizedCall<O>,
  before: ManagedObject,
  after: ManagedObject,
  versions: readonly ObjectVersion[],
  detail: Planned['detail'] = {},
): Planned<O> => ({
  response: toView(after, versions, call.now) as Planned<O>['response'],
  changes: [updateObject(before, after)],
  detail: { from: before.state, to: after.state, ...detail },
});

const unchanged = <O extends ViewOperation & OperationName>(
  call: AuthorizedCall<O>,
  object: ManagedObject,
  versions: readonly ObjectVersion[],
): Planned<O> => ({ response: toView(object, versions, call.now) as Planned<O>['response'], changes: [], detail: { unchanged: true } });

/** KMIP 1.4 §4.19: only from Pre-Active; the activation date becomes now. A later `at` schedules instead. */
const activate = async (call: AuthorizedCall<'activate'>): Promise<Planned<'activate'>> => {
  const { object, versions } = targetOf(call);
  const { request, now } = call;
  const at = request.at === undefined ? now : Math.max(checkDate(request.at, 'at'), now);
  const { deactivation, processStart, protectStop } = object.dates;
  const end = Math.min(deactivation ?? Number.POSITIVE_INFINITY, protectStop ?? Number.POSITIVE_INFINITY);
  if (end <= at) {
    throw fail('outside-validity', 'The object’s protect-stop or deactivation date lies before its activation.', {
      field: 'at',
      next: 'Move that date first (update-object).',
    });
  }
  const dates = { ...object.dates, activation: at, ...(processStart !== undefined && processStart < at ? { processStart: at } : {}) };
  return changed(call, object, nextObject(object, { dates, state: effectiveState({ ...object, dates }, now) }, now), versions);
};

const isCompromise = (reason: string): boolean => reason === 'key-compromise' || reason === 'ca-compromise';

/** KMIP 1.4 §3.22: a compromise is recorded from every state; any other reason ends what is active. */
const revokedState = (state: LifecycleState, compromise: boolean): LifecycleState => {
  if (compromise) return state === 'destroyed' || state === 'destroyed-compromised' ? 'destroyed-compromised' : 'compromised';
  if (state === 'active' || state === 'deactivated') return 'deactivated';
  if (state === 'destroyed') throw fail('destroyed', 'The object is destroyed.', { next: 'Only a compromise can still be reported.' });
  throw fail('wrong-state', `An object that is ${state} can only be revoked as compromised.`, {
    field: 'reason',
    next: state === 'pre-active' ? 'Destroy it instead, or activate it first.' : 'It stays compromised; nothing is left to do.',
  });
};

const revoke = async (call: AuthorizedCall<'revoke'>): Promise<Planned<'revoke'>> => {
  const { object: stored, versions } = targetOf(call);
  const { request, now } = call;
  if (!REVOCATION_REASONS.includes(request.reason)) {
    throw badField('reason', 'No such revocation reason.', `Choose from ${REVOCATION_REASONS.join(', ')}.`);
  }
  const compromise = isCompromise(request.reason);
  const object = materialise(stored, now);
  const state = revokedState(object.state, compromise);
  const message = request.message === undefined ? {} : { message: checkText(request.message, 'message', BOUNDS.messageChars) };
  const dates = compromise ? compromiseDates(object, request.compromisedAt, now) : deactivationDates(object, request.compromisedAt, now);
  const after = nextObject(object, { state, dates, revocation: { reason: request.reason, ...message } }, now);
  return changed(call, stored, after, versions, { reason: request.reason });
};

/** KMIP 1.4 §4.20: the occurrence defaults to the initial date — nothing the key did can be trusted. */
const compromiseDates = (object: ManagedObject, compromisedAt: number | undefined, now: number) => {
  if (compromisedAt !== undefined && checkDate(compromisedAt, 'compromisedAt') > now) {
    throw badField('compromisedAt', 'A compromise cannot lie in the future.', 'Give when it happened.');
  }
  const { dates } = object;
  const occurrence = compromisedAt ?? dates.compromiseOccurrence ?? dates.initial ?? dates.created;
  return { ...dates, compromiseOccurrence: occurrence, compromise: dates.compromise ?? now };
};
const deactivationDates = (object: ManagedObject, compromisedAt: number | undefined, now: number) => {
  if (compromisedAt !== undefined) {
    throw badField('compromisedAt', 'Only a compromise has an occurrence date.', 'Leave it out, or use reason key-compromise.');
  }
  return object.state === 'deactivated' ? object.dates : { ...object.dates, deactivation: now };
};

const archive = async (call: AuthorizedCall<'archive'>): Promise<Planned<'archive'>> => {
  const { object, versions } = targetOf(call);
  if (object.archived) return unchanged(call, object, versions);
  const now = call.now;
  const after = nextObject(materialise(object, now), { archived: true, dates: { ...object.dates, archive: now } }, now);
  return changed(call, object, after, versions, { archived: true });
};

const recover = async (call: AuthorizedCall<'recover'>): Promise<Planned<'recover'>> => {
  const { object, versions } = targetOf(call);
  if (!object.archived) return unchanged(call, object, versions);
  const now = call.now;
  const after = nextObject(materialise(object, now), { archived: false, dates: without(object.dates, 'archive') }, now);
  return changed(call, object, after, versions, { archived: false });
};

const destroy =
  (parts: KeyParts) =>
  async (call: AuthorizedCall<'destroy'>): Promise<Planned<'destroy'>> => {
    const { object: stored, versions } = targetOf(call);
    const { request, now } = call;
    const { destroyPendingMs, maxDestroyPendingMs } = parts.defaults;
    const pendingMs = request.obliterate === true ? 0 : (request.pendingMs ?? destroyPendingMs);
    if (!Number.isSafeInteger(pendingMs) || pendingMs < 0 || pendingMs > maxDestroyPendingMs) {
      throw badField('pendingMs', `Between 0 and ${maxDestroyPendingMs} ms.`, 'Correct the window.');
    }
    const object = materialise(stored, now);
    if (pendingMs > 0) {
      const after = nextObject(object, { dates: { ...object.dates, destroyDue: now + pendingMs } }, now);
      return changed(call, stored, after, versions, { pendingMs });
    }
    return destroyNow(parts, call, stored, versions);
  };

/**
 * The row and its history stay for ever; the material goes. Where the material lives in the database the reference is
 * wiped in the same transaction. Where the root holds something (a token object) the reference stays, on a version that
 * is `destroyed` and that nothing will use, until the root has confirmed; `destroyDue` keeps the object in the
 * scheduler's sight until then, so that a crash after the commit leaves no forgotten key on the token.
 */
const destroyNow = async (
  parts: KeyParts,
  call: AuthorizedCall<'destroy'>,
  stored: ManagedObject,
  versions: readonly ObjectVersion[],
): Promise<Planned<'destroy'>> => {
  const { now, request } = call;
  const state = stored.state === 'compromised' ? 'destroyed-compromised' : 'destroyed';
  const living = versions.filter((v) => v.state !== 'destroyed');
  const outside = await heldOutside(parts, stored.rootId, living);
  const updates = living.map((v) =>
    updateVersion(v, { state: 'destroyed', destroyedAt: now, ...(outside.includes(v) ? {} : { reference: new Uint8Array(0) }) }),
  );
  const dates = { ...without(stored.dates, 'destroyDue'), destroy: now, ...(outside.length === 0 ? {} : { destroyDue: now }) };
  const content = stored.type === 'certificate' || stored.type === 'certificate-request' ? stored : without(stored, 'content');
  const left = request.obliterate === true ? nothingLeft(stored) : { ...(content as ManagedObject), ...releasedNames(stored, request) };
  const after = nextObject(left, { state, dates }, now);
  const afterVersions = versions.map((v) => updates.find((u) => u.version.version === v.version)?.version ?? v);
  const changes: Change[] = [updateObject(stored, after), ...updates];
  return {
    response: toView(after, afterVersions, now),
    changes,
    detail: { from: effectiveState(stored, now), to: state, versions: living.length },
    ...(outside.length === 0 ? {} : { afterCommit: () => destroyOutside(parts, stored, outside) }),
  };
};

/** Destroyed objects keep their names for people; freed, the names may be given to new objects (KMIP clients use theirs again). */
const releasedNames = (object: ManagedObject, request: OperationRequest<'destroy'>): Partial<ManagedObject> =>
  request.releaseNames !== true || object.names.length === 0
    ? {}
    : { names: [], attributes: { ...object.attributes, [FORMER_NAMES_ATTRIBUTE]: object.names } };

/** KMIP 3.0 Obliterate: the row stays, so that the id is never given again and the scheduler still sees what a root must confirm. */
const nothingLeft = (object: ManagedObject): ManagedObject => ({
  ...(without(object, 'content', 'description', 'objectGroup', 'rotation', 'revocation', 'lease') as ManagedObject),
  names: [],
  tags: {},
  links: [],
  attributes: { [OBLITERATED_ATTRIBUTE]: true },
});

/** Versions whose root keeps something outside our database. A root that does not answer is taken to. */
export const heldOutside = async (
  parts: KeyParts,
  rootId: string,
  versions: readonly ObjectVersion[],
): Promise<readonly ObjectVersion[]> => {
  const secret = versions.filter((v) => v.reference.length > 0);
  if (secret.length === 0) return [];
  const { external } = await parts.roots.describe(rootId).catch(() => ({ external: true }));
  return external ? secret : [];
};

export const destroyOutside = async (parts: KeyParts, object: ManagedObject, versions: readonly ObjectVersion[]): Promise<void> => {
  for (const { reference, version, rootId } of versions) {
    await parts.roots.call(rootId, 'destroyKey', { key: { reference, binding: bindingOf(object, version) } });
  }
};

const cancelDestroy = async (call: AuthorizedCall<'cancel-destroy'>): Promise<Planned<'cancel-destroy'>> => {
  const { object, versions } = targetOf(call);
  if (object.dates.destroyDue === undefined) {
    throw fail('wrong-state', 'No destruction is scheduled.', { next: 'Nothing to cancel.' });
  }
  const after = nextObject(object, { dates: without(object.dates, 'destroyDue') }, call.now);
  return changed(call, object, after, versions);
};

export const makeLifecycleHandlers = (parts: KeyParts): Pick<Handlers, ViewOperation> => ({
  activate,
  revoke,
  archive,
  recover,
  destroy: destroy(parts),
  'cancel-destroy': cancelDestroy,
});
