import type { CreatedKey } from '@aegis/rot-spi';
import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  type Change,
  effectiveState,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  materialise,
  type ObjectVersion,
  type Planned,
} from '../domain/index.js';
import { isImportKey, specOf, targetOf } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import type { KeyParts } from './key-parts.js';
import { bindingOf, nextObject, publicVersionOf, updateObject, updateVersion, versionOf } from './new-object.js';
import { loadCounterpart } from './pair.js';
import { toView } from './views.js';

/** What can get new material at all: keys whose root can make such a key. */
export const requireRenewable = (object: ManagedObject): void => {
  if (object.type !== 'symmetric-key' && object.type !== 'private-key') {
    const next = object.type === 'public-key' ? 'Rotate the private key of the pair.' : 'Register a new object instead.';
    throw fail('wrong-object-type', `A ${object.type} cannot be renewed.`, { next });
  }
  if (isImportKey(object)) throw fail('usage-denied', 'An import-wrapping key is not renewed.', { next: 'Create another one.' });
  if (KEY_SPECS[specOf(object)].importOnly === true) {
    throw fail('unsupported-algorithm', `${specOf(object)} keys are too weak to be made today.`, { next: 'Create a stronger key.' });
  }
};

/** New material in the root the key already lives in, never elsewhere. */
export const generateMaterial = async (
  parts: KeyParts,
  object: ManagedObject,
  version: number,
  bits: number | undefined,
): Promise<CreatedKey> => {
  const spec = specOf(object);
  const root = await parts.roots.choose({ root: object.rootId, spec, how: 'generate' });
  const binding = bindingOf(object, version);
  if (KEY_SPECS[spec].shape === 'pair') return parts.roots.call(root.id, 'generateKeyPair', { binding });
  const open = KEY_SPECS[spec].variableLength === true && bits !== undefined;
  return parts.roots.call(root.id, 'generateKey', { binding, ...(open ? { bits } : {}) });
};

/** A version under every number ever used: numbers are not reused, even when the newest was destroyed. */
const nextNumber = (versions: readonly ObjectVersion[]): number => Math.max(...versions.map((v) => v.version)) + 1;

interface Renewal {
  readonly after: ManagedObject;
  readonly versions: readonly ObjectVersion[];
  readonly changes: readonly Change[];
}

/** Old version superseded, new one current, counters of the version at zero. */
const renewed = (loaded: LoadedObject, fresh: ObjectVersion, now: number): Renewal => {
  const old = loaded.versions.filter((v) => v.state === 'current').map((v) => updateVersion(v, { state: 'superseded' }));
  const after = nextObject(materialise(loaded.object, now), { currentVersion: fresh.version, uses: 0 }, now);
  const kept = loaded.versions.map((v) => old.find((o) => o.version.version === v.version)?.version ?? v);
  return {
    after,
    versions: [...kept, fresh],
    changes: [...old, { kind: 'insert-version', version: fresh }, updateObject(loaded.object, after, 'uses')],
  };
};

const rotate =
  (parts: KeyParts) =>
  async (call: AuthorizedCall<'rotate'>): Promise<Planned<'rotate'>> => {
    const loaded = targetOf(call);
    const { object, versions } = loaded;
    const { now } = call;
    requireRenewable(object);
    if (object.dates.destroyDue !== undefined) {
      throw fail('wrong-state', 'The object is scheduled for destruction.', { next: 'Cancel the destruction, or re-key it.' });
    }
    if (effectiveState(object, now) === 'compromised') {
      // State belongs to the object: a new version of a compromised one could protect nothing.
      throw fail('wrong-state', 'A compromised object stays compromised, whatever its version.', {
        next: 'Make a replacement with re-key.',
      });
    }
    const counterpart = await loadCounterpart(parts, object);
    const number = nextNumber([...versions, ...(counterpart?.versions ?? [])]);
    const bits = versions.find((v) => v.version === object.currentVersion)?.bits;
    const { fingerprint } = await parts.roots.describe(object.rootId);
    const made = await generateMaterial(parts, object, number, bits);
    const fresh = versionOf(object, number, made, { fingerprint }, now);
    const own = renewed(loaded, fresh, now);
    const other = counterpart === undefined ? undefined : renewPublic(counterpart, made, fingerprint, number, now);
    return {
      response: toView(own.after, own.versions, now),
      changes: [...own.changes, ...(other?.changes ?? [])],
      detail: { version: number, previous: object.currentVersion },
      ...(await compensationFor(parts, [{ rootId: object.rootId, reference: fresh.reference, binding: bindingOf(object, number) }])),
    };
  };

const renewPublic = (loaded: LoadedObject, made: CreatedKey, fingerprint: string, number: number, now: number): Renewal =>
  renewed(
    loaded,
    publicVersionOf(loaded.object, number, made.publicKey, made.publicKey, { fingerprint }, { local: true, bits: made.bits, now }),
    now,
  );

export const makeRotateHandlers = (parts: KeyParts): Pick<Handlers, 'rotate'> => ({ rotate: rotate(parts) });
