import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import type { CipherParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm } from '../vocabulary/index.js';
import { decryptSymmetric, encryptSymmetric, undecryptable } from './ciphers.js';
import type { Spec } from './key-material.js';
import { modulusBytes, type OaepParameters, oaepCapacity, oaepDecrypt, oaepEncrypt, pkcs1Decrypt, pkcs1Encrypt } from './rsa.js';

/** Integrity check values of RFC 3394 §2.2.3.1 and RFC 5649 §3. */
const KW_ICV = Buffer.alloc(8, 0xa6);
const KWP_ICV = Buffer.from('a65959a6', 'hex');
const GCM_TAG_BYTES = 16;

const aesWrap = (key: KeyObject, material: Uint8Array, padded: boolean): Buffer => {
  const name = `id-aes${(key.symmetricKeySize ?? 0) * 8}-wrap${padded ? '-pad' : ''}`;
  if (!padded && (material.length < 16 || material.length % 8 !== 0))
    throw new RootFault(
      'invalid-argument',
      'aes-kw wraps 16 bytes or more, in multiples of 8',
      'Use aes-kwp for a key of any other length.',
    );
  const cipher = createCipheriv(name, key, padded ? KWP_ICV : KW_ICV);
  return Buffer.concat([cipher.update(material), cipher.final()]);
};

const aesUnwrap = (key: KeyObject, wrapped: Uint8Array, padded: boolean): Buffer => {
  const name = `id-aes${(key.symmetricKeySize ?? 0) * 8}-wrap${padded ? '-pad' : ''}`;
  if (wrapped.length < (padded ? 16 : 24) || wrapped.length % 8 !== 0)
    throw new RootFault('invalid-argument', 'the wrapped key has an impossible length');
  const decipher = createDecipheriv(name, key, padded ? KWP_ICV : KW_ICV);
  try {
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch {
    throw undecryptable();
  }
};

const oaepParameters = (algorithm: Algorithm, parameters: CipherParameters): OaepParameters => {
  const hash = ALGORITHMS[algorithm].hash ?? 'sha256';
  return { hash, mgf1Hash: parameters.mgf1Hash ?? hash, label: parameters.label ?? new Uint8Array() };
};

/** CKM_RSA_AES_KEY_WRAP (PKCS#11 v3.0 §6.1.21): a one-time AES-256 key under OAEP, then the key under AES-KWP. */
const rsaAesWrap = (key: KeyObject, material: Uint8Array, oaep: OaepParameters): Buffer => {
  if (oaepCapacity(key, oaep.hash) < 32) throw new RootFault('invalid-argument', 'this RSA key is too short for rsa-aes-kwp');
  const once = randomBytes(32);
  try {
    return Buffer.concat([oaepEncrypt(key, once, oaep), aesWrap(createSecretKey(once), material, true)]);
  } finally {
    once.fill(0);
  }
};

const rsaAesUnwrap = (key: KeyObject, wrapped: Uint8Array, oaep: OaepParameters): Buffer => {
  const first = modulusBytes(key);
  if (wrapped.length <= first) throw new RootFault('invalid-argument', 'the wrapped key has an impossible length');
  const once = oaepDecrypt(key, wrapped.subarray(0, first), oaep);
  try {
    if (![16, 24, 32].includes(once.length)) throw undecryptable();
    return aesUnwrap(createSecretKey(once), wrapped.subarray(first), true);
  } finally {
    once.fill(0);
  }
};

export interface Wrapped {
  readonly wrapped: Buffer;
  readonly iv?: Uint8Array;
}

/** `key` is the secret, or for RSA the public key. The caller zeroes `material`. */
export const wrapMaterial = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  material: Uint8Array,
  parameters: CipherParameters,
): Wrapped => {
  if (algorithm === 'aes-kw' || algorithm === 'aes-kwp') return { wrapped: aesWrap(key, material, algorithm === 'aes-kwp') };
  if (algorithm === 'rsa-aes-kwp') return { wrapped: rsaAesWrap(key, material, oaepParameters(algorithm, parameters)) };
  if (algorithm === 'rsa-pkcs1-wrap') return { wrapped: pkcs1Encrypt(key, material) };
  if (spec.family === 'rsa') return { wrapped: oaepEncrypt(key, material, oaepParameters(algorithm, parameters)) };
  const { ciphertext, iv, tag } = encryptSymmetric(key, spec, algorithm, material, parameters);
  return { wrapped: tag === undefined ? ciphertext : Buffer.concat([ciphertext, tag]), ...(iv === undefined ? {} : { iv }) };
};

/** Throws RootFault `decryption-failed`. The caller zeroes the result. */
export const unwrapMaterial = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  wrapped: Uint8Array,
  parameters: CipherParameters,
): Buffer => {
  if (algorithm === 'aes-kw' || algorithm === 'aes-kwp') return aesUnwrap(key, wrapped, algorithm === 'aes-kwp');
  if (algorithm === 'rsa-aes-kwp') return rsaAesUnwrap(key, wrapped, oaepParameters(algorithm, parameters));
  if (algorithm === 'rsa-pkcs1-wrap') return pkcs1Decrypt(key, wrapped);
  if (spec.family === 'rsa') return oaepDecrypt(key, wrapped, oaepParameters(algorithm, parameters));
  if (ALGORITHMS[algorithm].tagLength === undefined) {
    if (wrapped.length === 0 || wrapped.length % 16 !== 0)
      throw new RootFault('invalid-argument', 'the wrapped key has an impossible length');
    return decryptSymmetric(key, spec, algorithm, wrapped, parameters);
  }
  const tagLength = parameters.tagLength ?? GCM_TAG_BYTES;
  if (wrapped.length <= tagLength) throw undecryptable();
  return decryptSymmetric(key, spec, algorithm, wrapped.subarray(0, wrapped.length - tagLength), {
    ...parameters,
    tag: wrapped.subarray(wrapped.length - tagLength),
  });
};
