import { type ManagedObject, materialise, type ObjectVersion, type ObjectView, type VersionView } from '../domain/index.js';

const versionView = (version: ObjectVersion): VersionView => ({
  version: version.version,
  state: version.state,
  rootId: version.rootId,
  bits: version.bits,
  createdAt: version.createdAt,
  ...(version.destroyedAt === undefined ? {} : { destroyedAt: version.destroyedAt }),
  ...(version.publicKey === undefined ? {} : { publicKey: version.publicKey }),
  ...(version.digest === undefined ? {} : { digest: version.digest }),
  provenance: version.provenance,
});

/** The marker on a destroyed object whose root has not confirmed is the scheduler's business, not the caller's. */
const withoutMarker = (object: ManagedObject): ManagedObject => {
  if (object.dates.destroyDue === undefined || (object.state !== 'destroyed' && object.state !== 'destroyed-compromised')) return object;
  const { destroyDue: _, ...dates } = object.dates;
  return { ...object, dates };
};

export const seenObject = (object: ManagedObject, now: number): ManagedObject => withoutMarker(materialise(object, now));

/** What callers see: state as the dates have it, versions without references. */
export const toView = (object: ManagedObject, versions: readonly ObjectVersion[], now: number): ObjectView => {
  const current = versions.find((v) => v.version === object.currentVersion);
  return {
    object: seenObject(object, now),
    versions: [...versions].sort((a, b) => a.version - b.version).map(versionView),
    ...(current?.publicKey === undefined ? {} : { publicKey: current.publicKey }),
  };
};
