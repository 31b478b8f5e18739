/**
 * The kinds of key Aegis knows, as one table. A key specification names family and size; everything
 * else (usages, classes, sizes, approval) is a column. Names follow the standards' own terms
 * (FIPS 186-5, SP 800-57, RFC 8032, FIPS 203/204/205).
 */

/** What a key may be asked to do; the order is the bit order of KMIP's Cryptographic Usage Mask (KMIP 1.4 §9.1.3.3.1). */
export const KEY_USAGES = [
  'sign', // 0x00000001
  'verify', // 0x00000002
  'encrypt', // 0x00000004
  'decrypt', // 0x00000008
  'wrap', // 0x00000010 Wrap Key
  'unwrap', // 0x00000020 Unwrap Key
  'export', // 0x00000040
  'mac', // 0x00000080 MAC Generate
  'mac-verify', // 0x00000100
  'derive', // 0x00000200 Derive Key
  'content-commitment', // 0x00000400
  'agree', // 0x00000800 Key Agreement
  'certificate-sign', // 0x00001000
  'crl-sign', // 0x00002000
  'generate-cryptogram', // 0x00004000
  'validate-cryptogram', // 0x00008000
  'translate-encrypt', // 0x00010000
  'translate-decrypt', // 0x00020000
  'translate-wrap', // 0x00040000
  'translate-unwrap', // 0x00080000
  'authenticate', // 0x00100000
  'unrestricted', // 0x00200000
  'fpe-encrypt', // 0x00400000
  'fpe-decrypt', // 0x00800000
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

/** Usages → KMIP usage mask. */
export const toUsageMask = (usages: readonly KeyUsage[]): number =>
  usages.reduce((mask, usage) => mask | (1 << KEY_USAGES.indexOf(usage)), 0);

/** KMIP usage mask → usages, in table order. Unknown bits are ignored. */
export const fromUsageMask = (mask: number): KeyUsage[] => KEY_USAGES.filter((_, bit) => (mask & (1 << bit)) !== 0);

export type KeyFamily = 'aes' | 'chacha20' | 'des3' | 'hmac' | 'rsa' | 'ec' | 'eddsa' | 'xdh' | 'ml-kem' | 'ml-dsa' | 'slh-dsa' | 'secret';

/** How SP 800-131A / FIPS 140-3 IG treat the key type. */
export type Approval = 'approved' | 'legacy' | 'not-approved';

export interface KeySpecRow {
  readonly name: string;
  readonly family: KeyFamily;
  /** symmetric: one secret value. pair: private + public. secret: opaque bytes without an algorithm. */
  readonly shape: 'symmetric' | 'pair' | 'secret';
  /** Nominal size in bits: key length, modulus length or field size; 0 where the size is the value's own. */
  readonly bits: number;
  /** True where a value of another length than `bits` is legal on import (HMAC keys, secret data). */
  readonly variableLength?: true;
  /** OpenSSL / node:crypto curve or key-type name for pairs. */
  readonly curve?: string;
  /** Hash bound to the key, for HMAC. */
  readonly hash?: HashName;
  /** Every usage such a key can have. */
  readonly usages: readonly KeyUsage[];
  readonly approval: Approval;
  /** Import and use only: never generated (too weak to create today). */
  readonly importOnly?: true;
}

export const HASHES = [
  'md5',
  'sha1',
  'sha224',
  'sha256',
  'sha384',
  'sha512',
  'sha512-224',
  'sha512-256',
  'sha3-224',
  'sha3-256',
  'sha3-384',
  'sha3-512',
] as const;
export type HashName = (typeof HASHES)[number];

/** Digest length of each hash, bytes. */
export const HASH_BYTES: Readonly<Record<HashName, number>> = {
  md5: 16,
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  'sha512-224': 28,
  'sha512-256': 32,
  'sha3-224': 28,
  'sha3-256': 32,
  'sha3-384': 48,
  'sha3-512': 64,
};

/** How a key is split into parts (KMIP 2.1 §11.55, §13.1); `gf2-8-283` is over FIPS 197's polynomial (KMIP 3.0). */
export const SPLIT_METHODS = ['xor', 'gf2-16', 'prime-field', 'gf2-8', 'gf2-8-283'] as const;
export type SplitMethod = (typeof SPLIT_METHODS)[number];

const CIPHER_USAGES: readonly KeyUsage[] = ['encrypt', 'decrypt', 'wrap', 'unwrap', 'mac', 'mac-verify', 'derive'];
const MAC_USAGES: readonly KeyUsage[] = ['mac', 'mac-verify', 'derive'];
const RSA_USAGES: readonly KeyUsage[] = ['sign', 'verify', 'encrypt', 'decrypt', 'wrap', 'unwrap'];
const EC_USAGES: readonly KeyUsage[] = ['sign', 'verify', 'agree', 'derive'];
const SIGN_USAGES: readonly KeyUsage[] = ['sign', 'verify'];
const AGREE_USAGES: readonly KeyUsage[] = ['agree', 'derive'];

const row = <N extends string>(name: N, rest: Omit<KeySpecRow, 'name'>): KeySpecRow & { readonly name: N } => ({ name, ...rest });
const aes = <N extends string>(name: N, bits: number) =>
  row(name, { family: 'aes', shape: 'symmetric', bits, usages: CIPHER_USAGES, approval: 'approved' });
const hmac = <N extends string>(name: N, hash: HashName, bits: number, approval: Approval = 'approved') =>
  row(name, { family: 'hmac', shape: 'symmetric', bits, hash, variableLength: true, usages: MAC_USAGES, approval });
const rsa = <N extends string>(name: N, bits: number, approval: Approval = 'approved') =>
  row(name, { family: 'rsa', shape: 'pair', bits, usages: RSA_USAGES, approval });
const ec = <N extends string>(name: N, bits: number, curve: string, approval: Approval = 'approved') =>
  row(name, { family: 'ec', shape: 'pair', bits, curve, usages: EC_USAGES, approval });
const pq = <N extends string>(name: N, family: 'ml-dsa' | 'slh-dsa', bits: number) =>
  row(name, { family, shape: 'pair', bits, curve: name, usages: SIGN_USAGES, approval: 'approved' });
const kem = <N extends string>(name: N, bits: number) =>
  row(name, { family: 'ml-kem', shape: 'pair', bits, curve: name, usages: AGREE_USAGES, approval: 'approved' });

const ROWS = [
  aes('aes-128', 128),
  aes('aes-192', 192),
  aes('aes-256', 256),
  row('chacha20', { family: 'chacha20', shape: 'symmetric', bits: 256, usages: CIPHER_USAGES, approval: 'not-approved' }),
  row('des3-112', { family: 'des3', shape: 'symmetric', bits: 112, usages: CIPHER_USAGES, approval: 'legacy' }),
  row('des3-168', { family: 'des3', shape: 'symmetric', bits: 168, usages: CIPHER_USAGES, approval: 'legacy' }),
  // A bundle whose single keys are equal: single DES in disguise (SP 800-67 r2 §3.3.2 forbids it). Old data is read with it.
  row('des3-weak', {
    family: 'des3',
    shape: 'symmetric',
    bits: 168,
    usages: CIPHER_USAGES,
    approval: 'not-approved',
    importOnly: true,
  }),
  hmac('hmac-sha1', 'sha1', 160, 'legacy'),
  hmac('hmac-sha224', 'sha224', 224),
  hmac('hmac-sha256', 'sha256', 256),
  hmac('hmac-sha384', 'sha384', 384),
  hmac('hmac-sha512', 'sha512', 512),
  hmac('hmac-sha3-224', 'sha3-224', 224),
  hmac('hmac-sha3-256', 'sha3-256', 256),
  hmac('hmac-sha3-384', 'sha3-384', 384),
  hmac('hmac-sha3-512', 'sha3-512', 512),
  row('rsa-1024', { family: 'rsa', shape: 'pair', bits: 1024, usages: RSA_USAGES, approval: 'not-approved', importOnly: true }),
  rsa('rsa-2048', 2048),
  rsa('rsa-3072', 3072),
  rsa('rsa-4096', 4096),
  ec('ec-p256', 256, 'prime256v1'),
  ec('ec-p384', 384, 'secp384r1'),
  ec('ec-p521', 521, 'secp521r1'),
  ec('ec-secp256k1', 256, 'secp256k1', 'not-approved'),
  row('ed25519', { family: 'eddsa', shape: 'pair', bits: 255, curve: 'ed25519', usages: SIGN_USAGES, approval: 'approved' }),
  row('ed448', { family: 'eddsa', shape: 'pair', bits: 448, curve: 'ed448', usages: SIGN_USAGES, approval: 'approved' }),
  row('x25519', { family: 'xdh', shape: 'pair', bits: 255, curve: 'x25519', usages: AGREE_USAGES, approval: 'not-approved' }),
  row('x448', { family: 'xdh', shape: 'pair', bits: 448, curve: 'x448', usages: AGREE_USAGES, approval: 'not-approved' }),
  kem('ml-kem-512', 512),
  kem('ml-kem-768', 768),
  kem('ml-kem-1024', 1024),
  pq('ml-dsa-44', 'ml-dsa', 44),
  pq('ml-dsa-65', 'ml-dsa', 65),
  pq('ml-dsa-87', 'ml-dsa', 87),
  pq('slh-dsa-sha2-128s', 'slh-dsa', 128),
  pq('slh-dsa-sha2-128f', 'slh-dsa', 128),
  pq('slh-dsa-sha2-192s', 'slh-dsa', 192),
  pq('slh-dsa-sha2-256s', 'slh-dsa', 256),
  pq('slh-dsa-shake-128s', 'slh-dsa', 128),
  pq('slh-dsa-shake-256s', 'slh-dsa', 256),
  row('secret', {
    family: 'secret',
    shape: 'secret',
    bits: 0,
    variableLength: true,
    usages: ['encrypt', 'decrypt', 'export', 'mac', 'mac-verify', 'derive'],
    approval: 'approved',
  }),
] as const;

export type KeySpec = (typeof ROWS)[number]['name'];

const byName = <R extends { readonly name: string }>(rows: readonly R[]): Readonly<Record<R['name'], R>> =>
  Object.freeze(Object.assign(Object.create(null), Object.fromEntries(rows.map((r) => [r.name, r]))));

/** Every key specification by name; null-prototype, so `in` and indexing are safe on foreign strings. */
export const KEY_SPECS: Readonly<Record<KeySpec, KeySpecRow>> = byName(ROWS);
export const KEY_SPEC_NAMES: readonly KeySpec[] = ROWS.map((r) => r.name);
export const isKeySpec = (name: string): name is KeySpec => name in KEY_SPECS;
export { byName };
