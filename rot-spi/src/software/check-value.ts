import { createCipheriv, hash } from 'node:crypto';
import type { KeyMaterial, Spec } from './key-material.js';
import { computeMac } from './macs.js';

const CHECK_VALUE_BYTES = 3;

/**
 * A key check value: AES by CMAC and 3DES by encryption of a zero block (ANSI X9.24-1:2017 §7.7.2), pairs by SHA-256 of
 * SubjectPublicKeyInfo. None for secret data and MAC keys: the value may be guessable.
 */
export const checkValueOf = (spec: Spec, material: KeyMaterial): Buffer | undefined => {
  if (material.kind !== 'raw') {
    return hash('sha256', material.publicKey.export({ format: 'der', type: 'spki' }), 'buffer').subarray(0, CHECK_VALUE_BYTES);
  }
  if (spec.family === 'aes') return computeMac(material.secret, 'aes-cmac', Buffer.alloc(16)).subarray(0, CHECK_VALUE_BYTES);
  if (spec.family !== 'des3') return undefined;
  const cipher = createCipheriv(spec.bits === 112 ? 'des-ede' : 'des-ede3', material.secret, null);
  return cipher.update(Buffer.alloc(8)).subarray(0, CHECK_VALUE_BYTES);
};
