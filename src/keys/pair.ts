import type { LoadedObject, ManagedObject } from '../domain/index.js';
import { type KeyParts, PAIR_ATTRIBUTE } from './key-parts.js';

/** Id of the other half of a pair made here, or nothing. Links are for people; this attribute is the service's own. */
export const pairOf = (object: ManagedObject): string | undefined => {
  const other = object.attributes[PAIR_ATTRIBUTE];
  return typeof other === 'string' ? other : undefined;
};

/** The other half, when it exists, points back and still has material to speak of. */
export const loadCounterpart = async (parts: Pick<KeyParts, 'objects'>, object: ManagedObject): Promise<LoadedObject | undefined> => {
  const id = pairOf(object);
  const other = id === undefined ? undefined : await parts.objects.load(object.tenant, id);
  if (other === undefined || other.object.id !== id || pairOf(other.object) !== object.id) return undefined;
  return other.object.state === 'destroyed' || other.object.state === 'destroyed-compromised' ? undefined : other;
};
