import {
  type AuthorizedCall,
  type Change,
  fail,
  type Handlers,
  type ManagedObject,
  materialise,
  type ObjectDates,
  type OperationRequest,
} from '../domain/index.js';
import { targetOf } from './chosen-key.js';
import {
  BOUNDS,
  badField,
  checkDate,
  checkDateOrder,
  checkLinks,
  checkNames,
  checkRotation,
  checkTags,
  checkText,
  checkUsageLimits,
  mergeAttributes,
} from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { nextObject, updateObject, without } from './new-object.js';
import { toView } from './views.js';

type Request = OperationRequest<'update-object'>;
type DateName = keyof NonNullable<Request['dates']>;

const readOnly = (field: string, message: string, next: string) => fail('attribute-read-only', message, { field, next });

/** When a date may still change: KMIP 1.4 §3.24 (activation), §3.25, §3.26, §3.27. */
const dateIsOpen = (object: ManagedObject, name: DateName, now: number): boolean => {
  if (name === 'activation') return object.state === 'pre-active';
  if (object.state !== 'pre-active' && object.state !== 'active') return false;
  const reached = (object.dates[name] ?? Number.POSITIVE_INFINITY) <= now;
  return name === 'deactivation' || !reached;
};

const changedDates = (object: ManagedObject, change: Request['dates'], now: number): ObjectDates => {
  if (change === undefined) return object.dates;
  let dates: ObjectDates = object.dates;
  for (const name of ['activation', 'processStart', 'protectStop', 'deactivation'] as const) {
    const value = change[name];
    if (value === undefined || value === (object.dates[name] ?? null)) continue;
    if (!dateIsOpen(object, name, now)) {
      throw readOnly(`dates.${name}`, `The ${name} date of an object that is ${object.state} is settled.`, 'Leave it out.');
    }
    dates = value === null ? (without(dates, name) as ObjectDates) : { ...dates, [name]: checkDate(value, `dates.${name}`) };
  }
  checkDateOrder(dates);
  return dates;
};

/** KMIP 1.4 §3.21: a limit stands once something was used up against it. */
const changedLimits = (object: ManagedObject, limits: Request['usageLimits']): Partial<ManagedObject> | null => {
  const old = object.usageLimits;
  if (old !== undefined && old.remaining < old.total) {
    throw readOnly('usageLimits', 'The usage limit is in use and cannot be changed.', 'Re-key the object to start a new limit.');
  }
  return limits === null || limits === undefined ? null : { usageLimits: checkUsageLimits(limits) };
};

/** KMIP 1.4 §4.18: only from what can still protect data, only where a limit is set; the store decides whether enough is left. */
const allocation = (object: ManagedObject, amount: number): Change => {
  if (!Number.isSafeInteger(amount) || amount < 1) throw badField('allocate', 'A whole number of at least 1.', 'Correct the amount.');
  if (object.state !== 'active')
    throw fail('wrong-state', `An object that is ${object.state} protects nothing.`, { next: 'Activate it first.' });
  if (object.usageLimits === undefined) {
    throw fail('usage-denied', 'The object has no usage limit.', { field: 'allocate', next: 'Nothing has to be allocated.' });
  }
  return { kind: 'consume-usage', tenant: object.tenant, objectId: object.id, amount, limited: true, uses: 0 };
};
const withAllocated = (object: ManagedObject, amount: number): ManagedObject => {
  const limits = object.usageLimits;
  return limits === undefined ? object : { ...object, usageLimits: { ...limits, remaining: Math.max(0, limits.remaining - amount) } };
};

const grantedLease = (parts: KeyParts, seconds: number, now: number) => {
  const { maxLeaseSeconds } = parts.defaults;
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > maxLeaseSeconds) {
    throw badField('lease.seconds', `Between 0 and ${maxLeaseSeconds} seconds.`, 'Ask for a shorter lease.');
  }
  return { seconds, until: now + seconds * 1000 };
};

const textOrNone = (value: string | null | undefined, field: 'description' | 'objectGroup', maxChars: number) =>
  value === null || value === undefined ? {} : { [field]: checkText(value, field, maxChars) };

/** Fields named in the request with null vanish, others are replaced, attributes merge. */
const changedFields = async (parts: KeyParts, call: AuthorizedCall<'update-object'>, object: ManagedObject): Promise<ManagedObject> => {
  const { request, now, tenant } = call;
  let next: ManagedObject = object;
  if (request.description !== undefined) next = without(next, 'description') as ManagedObject;
  if (request.objectGroup !== undefined) next = without(next, 'objectGroup') as ManagedObject;
  if (request.rotation !== undefined) next = without(next, 'rotation') as ManagedObject;
  if (request.usageLimits !== undefined) {
    next = { ...(without(next, 'usageLimits') as ManagedObject), ...changedLimits(object, request.usageLimits) };
  }
  return {
    ...next,
    ...textOrNone(request.description, 'description', BOUNDS.descriptionChars),
    ...textOrNone(request.objectGroup, 'objectGroup', BOUNDS.groupChars),
    ...(request.rotation === undefined || request.rotation === null ? {} : { rotation: checkRotation(request.rotation) }),
    ...(request.names === undefined ? {} : { names: await keptNames(parts, object, request.names, tenant) }),
    ...(request.tags === undefined ? {} : { tags: checkTags(request.tags) }),
    ...(request.links === undefined ? {} : { links: checkLinks(request.links) }),
    ...(request.lease === undefined ? {} : { lease: grantedLease(parts, request.lease.seconds, now) }),
    attributes: mergeAttributes(object.attributes, request.attributes),
    dates: changedDates(object, request.dates, now),
  };
};

/** Names it already has need no second look: a client that sends the list back must not stumble over itself. */
const keptNames = async (parts: KeyParts, object: ManagedObject, names: readonly string[], tenant: string): Promise<readonly string[]> => {
  const mine = { load: async (t: string, ref: string) => (object.names.includes(ref) ? undefined : parts.objects.load(t, ref)) };
  return checkNames(names, 'names', tenant, mine);
};

export const makeUpdateHandlers = (parts: KeyParts): Pick<Handlers, 'update-object'> => ({
  'update-object': async (call) => {
    const { object: stored, versions } = targetOf(call);
    const { request, now } = call;
    if (request.revision !== undefined && request.revision !== stored.revision) {
      throw fail('conflict', 'The object was changed since it was read.', {
        field: 'revision',
        next: 'Read it again and repeat the change.',
      });
    }
    const object = materialise(stored, now);
    const changed = await changedFields(parts, call, object);
    // A past activation or deactivation date takes effect at once (KMIP 1.4 §3.22, transitions 4 and 6).
    const after = nextObject(materialise(changed, now), {}, now);
    const allocated = request.allocate === undefined ? [] : [allocation(after, request.allocate)];
    const fields = Object.keys(request).filter((k) => k !== 'key' && k !== 'revision');
    return {
      response: toView(allocated.length === 0 ? after : withAllocated(after, request.allocate as number), versions, now),
      changes: [updateObject(stored, after, request.usageLimits === undefined ? undefined : 'limits'), ...allocated],
      detail: {
        fields: fields.join(','),
        ...(after.state === stored.state ? {} : { from: stored.state, to: after.state }),
      },
    };
  },
});
