import { hash, type KeyObject } from 'node:crypto';
import type { Spec } from './key-material.js';
import { parsePublicKey } from './public-key.js';

/** Parsed public keys, least recently used out first: parsing costs several verifications. */
export interface PublicKeys {
  readonly parse: (spec: Spec, spki: Uint8Array) => KeyObject;
}

export const makePublicKeys = (maxEntries: number): PublicKeys => {
  const entries = new Map<string, KeyObject>();
  return {
    parse: (spec, spki) => {
      const id = `${spec.name}:${hash('sha256', spki, 'binary')}`;
      const found = entries.get(id);
      if (found !== undefined) {
        entries.delete(id);
        entries.set(id, found);
        return found;
      }
      const key = parsePublicKey(spec, spki);
      entries.set(id, key);
      const [oldest] = entries.keys();
      if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
      return key;
    },
  };
};
