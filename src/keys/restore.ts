import { type AuthorizedCall, fail, type Handlers, type ManagedObject, type Planned } from '../domain/index.js';
import { targetOf } from './chosen-key.js';
import { checkNames } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { nextObject, updateObject, without } from './new-object.js';
import { toView } from './views.js';

/** Longest life of a batch that may be undone. */
const WINDOW_MS = 10 * 60_000;
/** Optional fields that come back with the snapshot, or go when it has none. */
const OPTIONAL = ['description', 'objectGroup', 'rotation', 'lease', 'revocation'] as const;

const refuseRestore = (message: string) => fail('wrong-state', message, { next: 'Change the object by the operations for it.' });

/**
 * Only what the same wire changed a moment ago: the object is as the batch left it, and the snapshot is an earlier view of that very
 * object. Destroyed material does not return, so a destroyed object is not restored.
 */
const checkRestorable = (call: AuthorizedCall<'restore-object'>, stored: ManagedObject): void => {
  const { request, now, plane } = call;
  if (plane !== 'kmip') throw fail('unsupported-operation', 'Only a batch of the KMIP plane is undone.', {});
  if (stored.state === 'destroyed' || stored.state === 'destroyed-compromised') throw fail('destroyed', 'The object is destroyed.', {});
  if (request.revision !== stored.revision)
    throw fail('conflict', 'The object was changed by someone else meanwhile.', { field: 'revision' });
  if (now - stored.dates.lastChange > WINDOW_MS) throw refuseRestore('The change is too old to be undone.');
  const { snapshot } = request;
  if (snapshot === undefined) return;
  if (
    snapshot.id !== stored.id ||
    snapshot.tenant !== call.tenant ||
    snapshot.revision >= stored.revision ||
    snapshot.currentVersion !== stored.currentVersion
  )
    throw refuseRestore('The snapshot is not an earlier view of this object.');
};

const restored = (stored: ManagedObject, snapshot: ManagedObject): ManagedObject => {
  const base = without(stored, ...OPTIONAL) as ManagedObject;
  const optional = Object.fromEntries(OPTIONAL.flatMap((name) => (snapshot[name] === undefined ? [] : [[name, snapshot[name]]])));
  const { state, archived, usage, names, tags, dates, links, attributes } = snapshot;
  return { ...base, ...optional, state, archived, usage, names, tags, dates, links, attributes };
};

/** A limit that the batch set goes; one that stood keeps its counter, because what was used up stays used up. */
const limitsOf = (stored: ManagedObject, snapshot: ManagedObject): { readonly object: ManagedObject; readonly usage?: 'limits' } => {
  const same = stored.usageLimits?.total === snapshot.usageLimits?.total && stored.usageLimits?.unit === snapshot.usageLimits?.unit;
  if (same) return { object: stored };
  const base = without(stored, 'usageLimits') as ManagedObject;
  return { object: { ...base, ...(snapshot.usageLimits === undefined ? {} : { usageLimits: snapshot.usageLimits }) }, usage: 'limits' };
};

/** As if it had just been made and never activated, so that `destroy` takes it. */
const unmade = (stored: ManagedObject): ManagedObject => ({
  ...stored,
  state: 'pre-active',
  dates: without(stored.dates, 'activation', 'deactivation') as ManagedObject['dates'],
});

export const makeRestoreHandlers = (parts: KeyParts): Pick<Handlers, 'restore-object'> => ({
  'restore-object': async (call): Promise<Planned<'restore-object'>> => {
    const { object: stored, versions } = targetOf(call);
    const { request, now, tenant } = call;
    checkRestorable(call, stored);
    if (request.created === true && now - stored.dates.created > WINDOW_MS) throw refuseRestore('The object is too old to be unmade.');
    const { object: limited, usage } =
      request.snapshot === undefined ? { object: stored, usage: undefined } : limitsOf(stored, request.snapshot);
    const after = request.created === true ? unmade(stored) : request.snapshot === undefined ? stored : restored(limited, request.snapshot);
    const mine = { load: async (t: string, ref: string) => (stored.names.includes(ref) ? undefined : parts.objects.load(t, ref)) };
    await checkNames(after.names, 'names', tenant, mine);
    const next = nextObject(after, {}, now);
    return {
      response: toView(next, versions, now),
      changes: [updateObject(stored, next, usage)],
      detail: { from: stored.state, to: next.state },
    };
  },
});
