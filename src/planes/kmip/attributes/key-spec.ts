import type { KmipAttribute } from '@aegis/kmip-ttlv';
import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { refuse } from '../contract.js';

// Cryptographic Algorithm, Length and curve (KMIP 2.1 §4.13–4.16) and the domain's key specifications.

/** Specifications by algorithm and length in bits. The first of an algorithm is what it gets when no length is asked for. */
const BY_LENGTH: Readonly<Record<string, readonly (readonly [bits: number, spec: KeySpec])[]>> = {
  AES: [
    [256, 'aes-256'],
    [128, 'aes-128'],
    [192, 'aes-192'],
  ],
  // With and without the parity bits.
  DES3: [
    [168, 'des3-168'],
    [192, 'des3-168'],
    [112, 'des3-112'],
    [128, 'des3-112'],
  ],
  RSA: [
    [2048, 'rsa-2048'],
    [3072, 'rsa-3072'],
    [4096, 'rsa-4096'],
    [1024, 'rsa-1024'],
  ],
  ChaCha20: [[256, 'chacha20']],
  ChaCha20Poly1305: [[256, 'chacha20']],
};
const EC_BY_LENGTH: readonly (readonly [bits: number, spec: KeySpec])[] = [
  [256, 'ec-p256'],
  [384, 'ec-p384'],
  [521, 'ec-p521'],
];
const BY_CURVE: Readonly<Record<string, KeySpec>> = {
  P_256: 'ec-p256',
  P_384: 'ec-p384',
  P_521: 'ec-p521',
  SECP256K1: 'ec-secp256k1',
  CURVE25519: 'x25519',
  CURVE448: 'x448',
};
/** Algorithms whose keys have any length, or one that the name says. */
const BY_NAME: Readonly<Record<string, KeySpec>> = {
  HMAC_SHA1: 'hmac-sha1',
  HMAC_SHA224: 'hmac-sha224',
  HMAC_SHA256: 'hmac-sha256',
  HMAC_SHA384: 'hmac-sha384',
  HMAC_SHA512: 'hmac-sha512',
  HMAC_SHA3_224: 'hmac-sha3-224',
  HMAC_SHA3_256: 'hmac-sha3-256',
  HMAC_SHA3_384: 'hmac-sha3-384',
  HMAC_SHA3_512: 'hmac-sha3-512',
  Ed25519: 'ed25519',
  Ed448: 'ed448',
  ML_KEM_512: 'ml-kem-512',
  ML_KEM_768: 'ml-kem-768',
  ML_KEM_1024: 'ml-kem-1024',
  ML_DSA_44: 'ml-dsa-44',
  ML_DSA_65: 'ml-dsa-65',
  ML_DSA_87: 'ml-dsa-87',
  SLH_DSA_SHA2_128s: 'slh-dsa-sha2-128s',
  SLH_DSA_SHA2_128f: 'slh-dsa-sha2-128f',
  SLH_DSA_SHA2_192s: 'slh-dsa-sha2-192s',
  SLH_DSA_SHA2_256s: 'slh-dsa-sha2-256s',
  SLH_DSA_SHAKE_128s: 'slh-dsa-shake-128s',
  SLH_DSA_SHAKE_256s: 'slh-dsa-shake-256s',
};
const EC_NAMES = ['EC', 'ECDSA', 'ECDH', 'ECMQV'];

/** What a request says about a key. */
export interface KeyFacts {
  readonly algorithm?: string | number;
  /** Cryptographic Length, bits. */
  readonly length?: number;
  /** Recommended Curve of Cryptographic Domain Parameters. */
  readonly curve?: string | number;
}

/** The specification that fits; undefined when the service knows no such key. Never refuses. */
export const specOfFacts = ({ algorithm, length, curve }: KeyFacts): KeySpec | undefined => {
  if (typeof algorithm !== 'string') return undefined;
  if (EC_NAMES.includes(algorithm)) {
    if (curve !== undefined) return Object.hasOwn(BY_CURVE, curve) ? BY_CURVE[curve] : undefined;
    return length === undefined ? 'ec-p256' : EC_BY_LENGTH.find(([bits]) => bits === length)?.[1];
  }
  if (Object.hasOwn(BY_NAME, algorithm)) return BY_NAME[algorithm];
  const rows = Object.hasOwn(BY_LENGTH, algorithm) ? BY_LENGTH[algorithm] : undefined;
  return length === undefined ? rows?.[0]?.[1] : rows?.find(([bits]) => bits === length)?.[1];
};

/** Cryptographic Algorithm of a specification, as KMIP names it; a wire that was told another name keeps that beside it. */
export const algorithmOfSpec = (spec: KeySpec): string | undefined => {
  const row = KEY_SPECS[spec];
  if (row.family === 'aes') return 'AES';
  if (row.family === 'des3') return 'DES3';
  if (row.family === 'rsa') return 'RSA';
  if (row.family === 'ec') return 'EC';
  if (row.family === 'xdh') return 'ECDH';
  if (row.family === 'chacha20') return 'ChaCha20';
  return Object.entries(BY_NAME).find(([, name]) => name === spec)?.[0];
};
/** Recommended Curve of a specification on an elliptic curve. */
export const curveOfSpec = (spec: KeySpec): string | undefined => Object.entries(BY_CURVE).find(([, name]) => name === spec)?.[0];

const valueNamed = (attributes: readonly KmipAttribute[], name: string): unknown =>
  attributes.find((attribute) => attribute.vendor === undefined && attribute.name === name)?.value;

/** Cryptographic Algorithm, Length and curve among the attributes. */
export const keyFacts = (attributes: readonly KmipAttribute[]): KeyFacts => {
  const algorithm = valueNamed(attributes, 'CryptographicAlgorithm') as string | number | undefined;
  const length = valueNamed(attributes, 'CryptographicLength') as number | undefined;
  const curve = (valueNamed(attributes, 'CryptographicDomainParameters') as { RecommendedCurve?: string } | undefined)?.RecommendedCurve;
  return {
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(length === undefined ? {} : { length }),
    ...(curve === undefined ? {} : { curve }),
  };
};

/**
 * Symmetric algorithms that no root computes with, and the lengths of their keys, bits: made and kept as random bytes, and given
 * to who asks (SKFF-O-1 and its like).
 */
const KEPT_ONLY: Readonly<Record<string, (bits: number) => boolean>> = {
  DES: (bits) => bits === 64 || bits === 56,
  SKIPJACK: (bits) => bits === 80,
  Blowfish: (bits) => bits >= 32 && bits <= 448,
  Camellia: (bits) => bits === 128 || bits === 192 || bits === 256,
  CAST5: (bits) => bits >= 40 && bits <= 128,
  IDEA: (bits) => bits === 128,
  MARS: (bits) => bits >= 128 && bits <= 448,
  RC2: (bits) => bits >= 8 && bits <= 1024,
  RC4: (bits) => bits >= 40 && bits <= 2048,
  RC5: (bits) => bits >= 8 && bits <= 2040,
  Twofish: (bits) => bits === 128 || bits === 192 || bits === 256,
  HMAC_MD5: (bits) => bits >= 64,
  OneTimePad: () => true,
  Poly1305: (bits) => bits === 256,
  ARIA: (bits) => bits === 128 || bits === 192 || bits === 256,
  SEED: (bits) => bits === 128,
  SM4: (bits) => bits === 128,
  GOSTR34_13_2015: (bits) => bits === 256,
  GOST28147_89: (bits) => bits === 256,
};
const isKeptOnly = ({ algorithm, length }: KeyFacts): boolean =>
  typeof algorithm === 'string' && length !== undefined && Object.hasOwn(KEPT_ONLY, algorithm) && KEPT_ONLY[algorithm]?.(length) === true;

/** A key to be made: its specification, its length where the specification leaves it open, and whether it is kept only. */
export interface WantedKey {
  readonly spec: KeySpec;
  readonly bits?: number;
  readonly type?: 'symmetric-key';
}

/**
 * The specification of a key to be made (Create, Create Key Pair, Derive Key, Re-key). Secret data has no algorithm.
 * @throws KmipRefusal with the standard's reason
 */
export const readKeySpec = (attributes: readonly KmipAttribute[], type: 'symmetric-key' | 'private-key' | 'secret-data'): WantedKey => {
  const facts = keyFacts(attributes);
  if (facts.length !== undefined && (!Number.isSafeInteger(facts.length) || facts.length <= 0)) {
    throw refuse('InvalidAttributeValue', 'The Cryptographic Length is a positive number of bits.');
  }
  if (type === 'secret-data') {
    // KMIP 1.4 §4.1: a Secret Data object has a length and no algorithm of its own.
    if (facts.length === undefined) throw refuse('InvalidMessage', 'Secret Data to be made needs its Cryptographic Length.');
    return { spec: 'secret', bits: facts.length };
  }
  if (facts.algorithm === undefined) throw refuse('InvalidMessage', 'The Cryptographic Algorithm is required.');
  if (type === 'symmetric-key' && isKeptOnly(facts)) return { spec: 'secret', bits: Math.ceil((facts.length as number) / 8) * 8, type };
  const spec = specOfFacts(facts);
  if (spec === undefined || (KEY_SPECS[spec].shape === 'pair') !== (type === 'private-key')) {
    throw refuse('InvalidAttributeValue', 'The service makes no such key: check Cryptographic Algorithm, Length and Domain Parameters.');
  }
  return KEY_SPECS[spec].variableLength === true && facts.length !== undefined ? { spec, bits: facts.length } : { spec };
};
