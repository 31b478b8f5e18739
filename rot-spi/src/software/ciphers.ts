import {
  type Cipher,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  type Decipher,
  type DecipherGCM,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import type { CipherParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm } from '../vocabulary/index.js';
import type { Spec } from './key-material.js';

/** Symmetric ciphers: our name → OpenSSL's, for one key size. */
interface SymmetricCipher {
  readonly openssl: string;
  readonly padding: boolean;
  readonly aead: boolean;
}

const AES_MODES: Readonly<Record<string, string>> = {
  'aes-gcm': 'gcm',
  'aes-ccm': 'ccm',
  'aes-cbc': 'cbc',
  'aes-cbc-pkcs5': 'cbc',
  'aes-ctr': 'ctr',
  'aes-ecb': 'ecb',
  'aes-ecb-pkcs5': 'ecb',
  'aes-cfb128': 'cfb',
  'aes-cfb8': 'cfb8',
  'aes-ofb': 'ofb',
  'aes-gcm-wrap': 'gcm',
  'aes-cbc-pkcs5-wrap': 'cbc',
};
const DES3_MODES: Readonly<Record<string, string>> = {
  'des3-cbc': '-cbc',
  'des3-cbc-pkcs5': '-cbc',
  'des3-ecb': '',
  'des3-ecb-pkcs5': '',
  'des3-cfb64': '-cfb',
  'des3-ofb': '-ofb',
};

export const symmetricCipher = (algorithm: Algorithm, spec: Spec): SymmetricCipher | undefined => {
  const padding = algorithm.includes('pkcs5');
  const aead = ALGORITHMS[algorithm].tagLength !== undefined;
  const aes = AES_MODES[algorithm];
  if (aes !== undefined && spec.family === 'aes') return { openssl: `aes-${spec.bits}-${aes}`, padding, aead };
  const des3 = DES3_MODES[algorithm];
  if (des3 !== undefined && spec.family === 'des3')
    return { openssl: `${spec.bits === 112 ? 'des-ede' : 'des-ede3'}${des3}`, padding, aead };
  if (spec.family === 'chacha20' && (algorithm === 'chacha20' || algorithm === 'chacha20-poly1305'))
    return { openssl: algorithm, padding, aead };
  return undefined;
};

const wanted = (algorithm: Algorithm, spec: Spec): SymmetricCipher => {
  const cipher = symmetricCipher(algorithm, spec);
  if (cipher === undefined) throw new RootFault('unsupported', `there is no ${algorithm} for ${spec.name} keys`);
  return cipher;
};

/** OpenSSL's ChaCha20 takes a 32-bit little-endian block counter before a 96-bit nonce; shorter nonces start at block 0. */
const toOpensslIv = (algorithm: Algorithm, iv: Uint8Array): Uint8Array =>
  algorithm === 'chacha20' && iv.length < 16 ? Buffer.concat([Buffer.alloc(16 - iv.length), iv]) : iv;

/**
 * A fresh IV: random (SP 800-38D §8.2.2, SP 800-38A App. C). ChaCha20's counter starts at zero, so that a long message
 * does not run over into the nonce.
 */
export const freshIv = (algorithm: Algorithm): Buffer | undefined => {
  const length = ALGORITHMS[algorithm].ivLength;
  if (length === undefined) return undefined;
  const iv = randomBytes(length);
  return algorithm === 'chacha20' ? Buffer.from(iv.fill(0, 0, 4)) : iv;
};

const tagBytes = (algorithm: Algorithm, parameters: CipherParameters): number =>
  parameters.tagLength ?? ALGORITHMS[algorithm].tagLength ?? 16;

/** CCM authenticates the length of the message before the message (SP 800-38C App. A.2.1), so it is done in one part. */
const setAad = (
  cipher: CipherGCM | DecipherGCM,
  algorithm: Algorithm,
  { aad }: CipherParameters,
  messageBytes: number | undefined,
): void => {
  if (algorithm === 'aes-ccm') cipher.setAAD(aad ?? new Uint8Array(), { plaintextLength: messageBytes ?? 0 });
  else if (aad !== undefined) cipher.setAAD(aad);
};

/** XOR with the bytes of the pad, from its first one; data beyond its end is refused. */
const makePad = (key: KeyObject): Protector => {
  const pad = key.export();
  let at = 0;
  return {
    update: (data) => {
      if (at + data.length > pad.length)
        throw new RootFault('invalid-argument', `the pad has ${pad.length} bytes, fewer than the data`, 'Use a longer pad.');
      const output = Buffer.alloc(data.length);
      for (let index = 0; index < data.length; index += 1) output[index] = (data[index] ?? 0) ^ (pad[at + index] ?? 0);
      at += data.length;
      pad.fill(0, 0, at);
      return output;
    },
    finish: () => {
      pad.fill(0);
      return { output: Buffer.alloc(0) };
    },
  };
};

export interface Protector {
  readonly update: (data: Uint8Array) => Buffer;
  /** Last output; for AEAD the tag too. */
  readonly finish: () => { readonly output: Buffer; readonly tag?: Buffer };
}

export const makeProtector = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  iv: Uint8Array | undefined,
  parameters: CipherParameters,
  messageBytes?: number,
): Protector => {
  if (algorithm === 'one-time-pad') return makePad(key);
  const line = wanted(algorithm, spec);
  const options = line.aead ? { authTagLength: tagBytes(algorithm, parameters) } : undefined;
  const cipher = createCipheriv(line.openssl, key, iv === undefined ? null : toOpensslIv(algorithm, iv), options as object) as Cipher;
  cipher.setAutoPadding(line.padding);
  setAad(cipher as CipherGCM, algorithm, parameters, messageBytes);
  return {
    update: (data) => cipher.update(data),
    finish: () => ({ output: cipher.final(), ...(line.aead ? { tag: (cipher as CipherGCM).getAuthTag() } : {}) }),
  };
};

export interface Opener {
  readonly update: (data: Uint8Array) => Buffer;
  /** Throws RootFault `decryption-failed` for a wrong tag or padding, and never says which. */
  readonly finish: (tag?: Uint8Array) => Buffer;
}

export const undecryptable = (): RootFault => new RootFault('decryption-failed', 'the ciphertext does not decrypt');

export const makeOpener = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  parameters: CipherParameters & { readonly tag?: Uint8Array },
  messageBytes?: number,
): Opener => {
  if (algorithm === 'one-time-pad') return { update: makePad(key).update, finish: () => Buffer.alloc(0) };
  const line = wanted(algorithm, spec);
  const { iv } = parameters;
  const options = line.aead ? { authTagLength: tagBytes(algorithm, parameters) } : undefined;
  const decipher = createDecipheriv(line.openssl, key, iv === undefined ? null : toOpensslIv(algorithm, iv), options as object) as Decipher;
  decipher.setAutoPadding(line.padding);
  // CCM has to know its tag before the data (SP 800-38C §6.2).
  if (algorithm === 'aes-ccm') (decipher as DecipherGCM).setAuthTag(parameters.tag ?? new Uint8Array());
  setAad(decipher as DecipherGCM, algorithm, parameters, messageBytes);
  return {
    update: (data) => decipher.update(data),
    finish: (tag) => {
      try {
        if (line.aead && algorithm !== 'aes-ccm') (decipher as DecipherGCM).setAuthTag(tag ?? new Uint8Array());
        return decipher.final();
      } catch {
        throw undecryptable();
      }
    },
  };
};

/** Joins without keeping secret copies: the parts are overwritten. */
const joined = (head: Buffer, tail: Buffer): Buffer => {
  if (tail.length === 0) return head;
  const whole = Buffer.concat([head, tail]);
  head.fill(0);
  tail.fill(0);
  return whole;
};

export const encryptSymmetric = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  plaintext: Uint8Array,
  parameters: CipherParameters,
): { readonly ciphertext: Buffer; readonly iv?: Uint8Array; readonly tag?: Buffer } => {
  const iv = parameters.iv ?? freshIv(algorithm);
  const cipher = makeProtector(key, spec, algorithm, iv, parameters, plaintext.length);
  const head = cipher.update(plaintext);
  const { output, tag } = cipher.finish();
  return { ciphertext: joined(head, output), ...(iv === undefined ? {} : { iv }), ...(tag === undefined ? {} : { tag }) };
};

/** CCM verifies at the update; what it throws says no more than any other mode. */
const updated = (decipher: Opener, ciphertext: Uint8Array): Buffer => {
  try {
    return decipher.update(ciphertext);
  } catch (error) {
    throw error instanceof RootFault ? error : undecryptable();
  }
};

/** Nothing unauthenticated leaves: what was decrypted before a tag failed is overwritten. */
export const decryptSymmetric = (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  ciphertext: Uint8Array,
  parameters: CipherParameters & { readonly tag?: Uint8Array },
): Buffer => {
  const tagLength = parameters.tag === undefined ? {} : { tagLength: parameters.tag.length };
  const decipher = makeOpener(key, spec, algorithm, { ...parameters, ...tagLength }, ciphertext.length);
  const head = updated(decipher, ciphertext);
  try {
    return joined(head, decipher.finish(parameters.tag));
  } catch (error) {
    head.fill(0);
    throw error;
  }
};
