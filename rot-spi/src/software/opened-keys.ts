import { hash, type KeyObject } from 'node:crypto';
import type { BoundKey, KeyBinding, KeyProvenance } from '../contract.js';
import { RootFault } from '../fault.js';
import { Secret } from '../secret.js';
import { SECRET_ACCESS } from '../secret-access.js';
import { KEY_SPECS } from '../vocabulary/index.js';
import { exportScalar, type KeyMaterial, openMaterial, type Spec } from './key-material.js';
import { encodeBinding, openReference } from './reference.js';
import type { SealRing } from './seal-ring.js';

/** A reference that was opened under its binding. */
export interface OpenedKey {
  readonly spec: Spec;
  readonly binding: KeyBinding;
  readonly material: KeyMaterial;
  readonly provenance: KeyProvenance;
  /** Private scalar of an EC key, taken out once for signatures over digests. */
  readonly scalar: () => Buffer;
  readonly forget: () => void;
}

export interface OpenedKeys {
  readonly open: (key: BoundKey) => OpenedKey;
  readonly forget: (key: BoundKey) => void;
  readonly size: () => number;
  readonly close: () => void;
}

export const makeOpenedKey = (binding: KeyBinding, material: KeyMaterial, provenance: KeyProvenance): OpenedKey => {
  let scalar: Secret | undefined;
  return {
    spec: KEY_SPECS[binding.spec] as Spec,
    binding,
    material,
    provenance,
    scalar: () => {
      if (material.kind !== 'pkcs8') throw new RootFault('invalid-argument', 'this reference holds a public key only');
      scalar ??= Secret.own(exportScalar(material.privateKey));
      return scalar.bytes(SECRET_ACCESS);
    },
    forget: () => {
      scalar?.zeroise();
      scalar = undefined;
    },
  };
};

/** The one-shot hash is three times as fast as the object. */
const sha256 = (bytes: Buffer): string => hash('sha256', bytes, 'binary');

/**
 * Opened keys, least recently used out first. An entry is found by SHA-256 over the whole reference and the whole
 * binding, so a hit means exactly what opening it again would.
 */
export const makeOpenedKeys = (ring: SealRing, maxEntries: number): OpenedKeys => {
  const entries = new Map<string, OpenedKey>();

  const open = ({ reference, binding }: BoundKey): OpenedKey => {
    const encoded = encodeBinding(binding);
    const id = sha256(Buffer.concat([encoded, reference]));
    const found = entries.get(id);
    if (found !== undefined) {
      entries.delete(id);
      entries.set(id, found);
      return found;
    }
    const sealed = openReference(ring, reference, encoded);
    try {
      const opened = makeOpenedKey(binding, openMaterial(sealed.kind, sealed.material), sealed.provenance);
      entries.set(id, opened);
      if (entries.size > maxEntries) evictOldest();
      return opened;
    } finally {
      sealed.material.fill(0);
    }
  };

  const evictOldest = (): void => {
    const [oldest] = entries;
    if (oldest === undefined) return;
    oldest[1].forget();
    entries.delete(oldest[0]);
  };

  return {
    open,
    forget: ({ reference, binding }) => {
      const id = sha256(Buffer.concat([encodeBinding(binding), reference]));
      entries.get(id)?.forget();
      entries.delete(id);
    },
    size: () => entries.size,
    close: () => {
      for (const entry of entries.values()) entry.forget();
      entries.clear();
    },
  };
};

/** The secret value of a symmetric key. */
export const secretOf = (key: OpenedKey): KeyObject => {
  if (key.material.kind !== 'raw') throw new RootFault('invalid-argument', `${key.spec.name} is not a secret key`);
  return key.material.secret;
};

export const privateOf = (key: OpenedKey): KeyObject => {
  if (key.material.kind !== 'pkcs8') throw new RootFault('invalid-argument', 'this reference holds no private key');
  return key.material.privateKey;
};
