import { type Algorithm, isAlgorithm } from '@aegis/rot-spi/vocabulary';
import { refuse } from '../contract.js';
import { hashNamed } from './hashes.js';
import type { KeyFacts } from './key-facts.js';
import { nameOf } from './payload-fields.js';

/** Cryptographic Algorithm of a MAC (KMIP 2.1 §11.12) → algorithm. */
const HMACS: Readonly<Record<string, Algorithm>> = {
  HMAC_SHA1: 'hmac-sha1',
  HMAC_SHA224: 'hmac-sha224',
  HMAC_SHA256: 'hmac-sha256',
  HMAC_SHA384: 'hmac-sha384',
  HMAC_SHA512: 'hmac-sha512',
  HMAC_SHA3_224: 'hmac-sha3-224',
  HMAC_SHA3_256: 'hmac-sha3-256',
  HMAC_SHA3_384: 'hmac-sha3-384',
  HMAC_SHA3_512: 'hmac-sha3-512',
};

const unsupported = (message: string) => refuse('UnsupportedCryptographicParameters', message);

/**
 * MAC and MAC Verify (KMIP 2.1 §6.1.32). A key of an HMAC algorithm is bound to it; an AES key makes CMAC (SP 800-38B) unless an HMAC is named.
 * @throws KmipRefusal
 */
export const macFor = ({ family, spec, parameters }: KeyFacts): { readonly algorithm?: Algorithm } => {
  const name = nameOf(parameters.CryptographicAlgorithm, 'CryptographicAlgorithm');
  const mode = nameOf(parameters.BlockCipherMode, 'BlockCipherMode');
  if (name !== undefined && Object.hasOwn(HMACS, name)) return { algorithm: HMACS[name] as Algorithm };
  if (family === 'aes' && (name === undefined || name === 'AES') && (mode === undefined || mode === 'CMAC')) {
    const hash = mode === undefined && name === undefined ? hashNamed(parameters.HashingAlgorithm) : undefined;
    return { algorithm: hash === undefined ? 'aes-cmac' : hmacWith(hash) };
  }
  if (name !== undefined || mode !== undefined) throw unsupported(`${mode ?? name} is not supported as a MAC of ${spec} keys.`);
  const hash = hashNamed(parameters.HashingAlgorithm);
  return hash === undefined ? {} : { algorithm: hmacWith(hash) };
};

const hmacWith = (hash: string): Algorithm => {
  const name = `hmac-${hash}`;
  if (!isAlgorithm(name)) throw unsupported('This hash is not supported as HMAC.');
  return name;
};
