import type { KeyBinding } from '@aegis/rot-spi';
import type { KeyParts } from './key-parts.js';

export interface OutsideKey {
  readonly rootId: string;
  readonly reference: Uint8Array;
  readonly binding: KeyBinding;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((x, i) => b[i] === x);

/**
 * Undo of keys made outside the database (token objects) when their commit did not happen. "Did not happen" may be an
 * honest "unknown" (the connection broke while committing), so the store is asked first: a key that is in it, or a store
 * that does not answer, leaves the token object alone. An orphan on the token costs a slot; a destroyed key costs data.
 */
const makeCompensation =
  ({ objects, roots }: Pick<KeyParts, 'objects' | 'roots'>, keys: readonly OutsideKey[]): (() => Promise<void>) =>
  async () => {
    for (const { rootId, reference, binding } of keys) {
      try {
        const loaded = await objects.load(binding.tenant, binding.objectId);
        if (loaded?.versions.some((v) => v.version === binding.version && same(v.reference, reference))) continue;
        await roots.call(rootId, 'destroyKey', { key: { reference, binding } });
      } catch {
        // The intent record names the object; an operator finds the orphan with `aegis doctor`.
      }
    }
  };

/** `compensate` for the keys just made, where their root leaves something outside our database. */
export const compensationFor = async (
  parts: Pick<KeyParts, 'objects' | 'roots'>,
  keys: readonly OutsideKey[],
): Promise<{ readonly compensate?: () => Promise<void> }> => {
  const outside: OutsideKey[] = [];
  for (const key of keys) {
    // A root that stopped answering between making the key and now is treated as one that may hold it.
    const { external } = await parts.roots.describe(key.rootId).catch(() => ({ external: true }));
    if (external) outside.push(key);
  }
  return outside.length === 0 ? {} : { compensate: makeCompensation(parts, outside) };
};
