import { HASH_BYTES, type HashName } from '@aegis/rot-spi/vocabulary';
import { refuse } from '../contract.js';
import { nameOf } from './payload-fields.js';

/** Hashing Algorithm (KMIP 2.1 §11.22) → hash. The others of the enumeration (MD2, MD4, RIPEMD-160, Tiger, Whirlpool) no root has. */
const HASHES: Readonly<Record<string, HashName>> = {
  MD5: 'md5',
  SHA_1: 'sha1',
  SHA_224: 'sha224',
  SHA_256: 'sha256',
  SHA_384: 'sha384',
  SHA_512: 'sha512',
  SHA_512_224: 'sha512-224',
  SHA_512_256: 'sha512-256',
  SHA3_224: 'sha3-224',
  SHA3_256: 'sha3-256',
  SHA3_384: 'sha3-384',
  SHA3_512: 'sha3-512',
};

/** @throws KmipRefusal Unsupported Cryptographic Parameters */
export const hashNamed = (value: unknown, field = 'HashingAlgorithm'): HashName | undefined => {
  const name = nameOf(value, field);
  if (name === undefined) return undefined;
  const hash = Object.hasOwn(HASHES, name) ? HASHES[name] : undefined;
  if (hash === undefined) throw refuse('UnsupportedCryptographicParameters', `${field} ${name} is not supported.`);
  return hash;
};

/** The SHA-1 or SHA-2 hash whose digests have this length. */
export const hashOfLength = (bytes: number): HashName | undefined =>
  (['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const).find((hash) => HASH_BYTES[hash] === bytes);
