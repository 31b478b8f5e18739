import * as crypto from 'node:crypto';
import type { CipherParameters, SignParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, type HashName, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { curveOf } from './asymmetric.js';
import { CKM, PARAMS } from './constants.js';
import type { Mechanism } from './cryptoki.js';

interface HashRow {
  readonly digest: number;
  readonly hmac?: number;
  readonly rsaPkcs?: number;
  readonly rsaPss?: number;
  readonly ecdsa?: number;
  readonly mgf?: number;
  /** DigestInfo up to the digest (RFC 8017 §9.2 note 1). */
  readonly digestInfo?: string;
}

/** Mechanism numbers per hash: v2.40 §2.1, §2.20; v3.0 §6.1, §6.22. */
export const HASH_MECHANISMS: Readonly<Record<HashName, HashRow>> = {
  md5: { digest: 0x210 },
  sha1: { digest: 0x220, hmac: 0x221, rsaPkcs: 0x6, rsaPss: 0xe, ecdsa: 0x1042, mgf: 1, digestInfo: '3021300906052b0e03021a05000414' },
  sha224: {
    digest: 0x255,
    hmac: 0x256,
    rsaPkcs: 0x46,
    rsaPss: 0x47,
    ecdsa: 0x1043,
    mgf: 5,
    digestInfo: '302d300d06096086480165030402040500041c',
  },
  sha256: {
    digest: 0x250,
    hmac: 0x251,
    rsaPkcs: 0x40,
    rsaPss: 0x43,
    ecdsa: 0x1044,
    mgf: 2,
    digestInfo: '3031300d060960864801650304020105000420',
  },
  sha384: {
    digest: 0x260,
    hmac: 0x261,
    rsaPkcs: 0x41,
    rsaPss: 0x44,
    ecdsa: 0x1045,
    mgf: 3,
    digestInfo: '3041300d060960864801650304020205000430',
  },
  sha512: {
    digest: 0x270,
    hmac: 0x271,
    rsaPkcs: 0x42,
    rsaPss: 0x45,
    ecdsa: 0x1046,
    mgf: 4,
    digestInfo: '3051300d060960864801650304020305000440',
  },
  'sha512-224': { digest: 0x48 },
  'sha512-256': { digest: 0x4c },
  'sha3-224': {
    digest: 0x2b5,
    hmac: 0x2b6,
    rsaPkcs: 0x66,
    rsaPss: 0x67,
    ecdsa: 0x1047,
    mgf: 6,
    digestInfo: '302d300d06096086480165030402070500041c',
  },
  'sha3-256': {
    digest: 0x2b0,
    hmac: 0x2b1,
    rsaPkcs: 0x60,
    rsaPss: 0x63,
    ecdsa: 0x1048,
    mgf: 7,
    digestInfo: '3031300d060960864801650304020805000420',
  },
  'sha3-384': {
    digest: 0x2c0,
    hmac: 0x2c1,
    rsaPkcs: 0x61,
    rsaPss: 0x64,
    ecdsa: 0x1049,
    mgf: 8,
    digestInfo: '3041300d060960864801650304020905000430',
  },
  'sha3-512': {
    digest: 0x2d0,
    hmac: 0x2d1,
    rsaPkcs: 0x62,
    rsaPss: 0x65,
    ecdsa: 0x104a,
    mgf: 9,
    digestInfo: '3051300d060960864801650304020a05000440',
  },
};

const unsupported = (what: string): RootFault => new RootFault('unsupported', `PKCS#11 has no mechanism for ${what}`);
const need = (number: number | undefined, what: string): number => {
  if (number === undefined) throw unsupported(what);
  return number;
};

/** CK_ULONG as the platform's C long. */
const ULONG_BYTES = process.platform === 'win32' ? 4 : 8;
export const ulong = (value: number): Buffer => {
  const bytes = Buffer.alloc(ULONG_BYTES);
  bytes.writeUInt32LE(value);
  return bytes;
};

const CIPHERS: Readonly<Partial<Record<Algorithm, number>>> = {
  'aes-gcm': CKM.AES_GCM,
  'aes-cbc': CKM.AES_CBC,
  'aes-cbc-pkcs5': CKM.AES_CBC_PAD,
  'aes-ctr': CKM.AES_CTR,
  'aes-ecb': CKM.AES_ECB,
  'aes-cfb128': CKM.AES_CFB128,
  'aes-cfb8': CKM.AES_CFB8,
  'aes-ofb': CKM.AES_OFB,
  'des3-cbc': CKM.DES3_CBC,
  'des3-cbc-pkcs5': CKM.DES3_CBC_PAD,
  'des3-ecb': CKM.DES3_ECB,
  'rsa-oaep-sha1': CKM.RSA_PKCS_OAEP,
  'rsa-oaep-sha224': CKM.RSA_PKCS_OAEP,
  'rsa-oaep-sha256': CKM.RSA_PKCS_OAEP,
  'rsa-oaep-sha384': CKM.RSA_PKCS_OAEP,
  'rsa-oaep-sha512': CKM.RSA_PKCS_OAEP,
  'rsa-pkcs1': CKM.RSA_PKCS,
  'rsa-raw': CKM.RSA_X_509,
  'rsa-pkcs1-wrap': CKM.RSA_PKCS,
  'rsa-oaep-sha1-wrap': CKM.RSA_PKCS_OAEP,
  'rsa-oaep-sha256-wrap': CKM.RSA_PKCS_OAEP,
  'aes-gcm-wrap': CKM.AES_GCM,
  'aes-cbc-pkcs5-wrap': CKM.AES_CBC_PAD,
};
export const cipherMechanismOf = (algorithm: Algorithm): number | undefined => CIPHERS[algorithm];

const CKZ_DATA_SPECIFIED = 1;

const oaep = (hash: HashName, parameters: CipherParameters): NonNullable<Mechanism['parameter']> => ({
  type: PARAMS.RSA_OAEP,
  hashAlg: HASH_MECHANISMS[hash].digest,
  mgf: need(HASH_MECHANISMS[parameters.mgf1Hash ?? hash].mgf, `MGF1 with ${parameters.mgf1Hash ?? hash}`),
  source: CKZ_DATA_SPECIFIED,
  ...(parameters.label === undefined || parameters.label.length === 0 ? {} : { sourceData: Buffer.from(parameters.label) }),
});

/** SoftHSM and p11-kit read the 48-byte structure with ulIvBits (v2.40 errata 1), so that one is sent. */
const gcm = (iv: Buffer, parameters: CipherParameters, tagBytes: number): NonNullable<Mechanism['parameter']> => ({
  type: PARAMS.AES_GCM_240,
  iv,
  ivBits: iv.length * 8,
  tagBits: tagBytes * 8,
  ...(parameters.aad === undefined || parameters.aad.length === 0 ? {} : { aad: Buffer.from(parameters.aad) }),
});

const COUNTER_BITS = 128;

/** Mechanism and parameters of a cipher; `iv` is complete, `tagBytes` is 0 for everything but AEAD. */
export const cipherMechanism = (algorithm: Algorithm, iv: Buffer, parameters: CipherParameters, tagBytes: number): Mechanism => {
  const mechanism = need(CIPHERS[algorithm], algorithm);
  const { hash } = ALGORITHMS[algorithm];
  if (mechanism === CKM.RSA_PKCS_OAEP) return { mechanism, parameter: oaep(hash ?? 'sha1', parameters) };
  if (mechanism === CKM.AES_GCM) return { mechanism, parameter: gcm(iv, parameters, tagBytes) };
  if (mechanism === CKM.AES_CTR) return { mechanism, parameter: Buffer.concat([ulong(COUNTER_BITS), iv]) };
  return iv.length === 0 ? { mechanism } : { mechanism, parameter: iv };
};

export const hmacMechanism = (hash: HashName): number | undefined => HASH_MECHANISMS[hash].hmac;

const pss = (hash: HashName, parameters: SignParameters): NonNullable<Mechanism['parameter']> => ({
  type: PARAMS.RSA_PSS,
  hashAlg: HASH_MECHANISMS[hash].digest,
  mgf: need(HASH_MECHANISMS[parameters.mgf1Hash ?? hash].mgf, `MGF1 with ${parameters.mgf1Hash ?? hash}`),
  saltLen: parameters.saltLength ?? HASH_BYTES[hash],
});

/** CK_EDDSA_PARAMS without prehash and context (v3.0 §6.3.15): Ed448 demands them, older modules know none. */
const EMPTY_EDDSA_PARAMS = Buffer.alloc(3 * ULONG_BYTES);

export interface SignatureForm {
  readonly mechanism: Mechanism;
  /** The module wants the digest (in the form of `toDigestInput`), not the message. */
  readonly digest: boolean;
}

/** The mechanism of a signature; `digest` chooses the one that signs a finished digest. */
export const signatureMechanism = (algorithm: Algorithm, digest: boolean, parameters: SignParameters, variant = 0): Mechanism => {
  const { hash } = ALGORITHMS[algorithm];
  if (algorithm === 'ed25519' || algorithm === 'ed448')
    return variant === 0 ? { mechanism: CKM.EDDSA } : { mechanism: CKM.EDDSA, parameter: EMPTY_EDDSA_PARAMS };
  if (algorithm === 'ecdsa-raw') return { mechanism: CKM.ECDSA };
  if (algorithm === 'rsa-pkcs1-raw') return { mechanism: CKM.RSA_PKCS };
  if (hash === undefined) throw unsupported(algorithm);
  const numbers = HASH_MECHANISMS[hash];
  if (algorithm.startsWith('ecdsa-')) return { mechanism: digest ? CKM.ECDSA : need(numbers.ecdsa, algorithm) };
  if (algorithm.startsWith('rsa-pkcs1-')) return { mechanism: digest ? CKM.RSA_PKCS : need(numbers.rsaPkcs, algorithm) };
  if (algorithm.startsWith('rsa-pss-'))
    return { mechanism: digest ? CKM.RSA_PKCS_PSS : need(numbers.rsaPss, algorithm), parameter: pss(hash, parameters) };
  throw unsupported(algorithm);
};

/** One-shot where Node has it (20.12, 21.7): half the cost of a Hash object. */
const oneShot = (crypto as { readonly hash?: (hash: string, data: Uint8Array, encoding: 'buffer') => Buffer }).hash;
export const hashOf = (hash: HashName, data: Uint8Array): Buffer =>
  oneShot === undefined ? crypto.createHash(hash).update(data).digest() : oneShot(hash, data, 'buffer');

/** What a digest-signing mechanism wants: DigestInfo for PKCS#1, the leftmost bits for ECDSA (FIPS 186-5 §6.4.1). */
export const toDigestInput = (algorithm: Algorithm, spec: KeySpec, digest: Buffer): Buffer => {
  const { hash } = ALGORITHMS[algorithm];
  if (KEY_SPECS[spec].family === 'ec') return digest.subarray(0, Math.min(digest.length, curveOf(spec).width));
  if (hash === undefined || !algorithm.startsWith('rsa-pkcs1-')) return digest;
  return Buffer.concat([Buffer.from(needPrefix(HASH_MECHANISMS[hash].digestInfo), 'hex'), digest]);
};
const needPrefix = (prefix: string | undefined): string => {
  if (prefix === undefined) throw unsupported('this hash in PKCS#1');
  return prefix;
};
