import { type Algorithm, HASH_BYTES, type HashName, isAlgorithm } from '@aegis/rot-spi/vocabulary';
import { KmipRefusal, refuse } from '../contract.js';
import { maskOf } from './ciphers.js';
import { hashNamed, hashOfLength } from './hashes.js';
import type { KeyFacts } from './key-facts.js';
import { type CryptographicParameters, countOf, nameOf } from './payload-fields.js';

// Cryptographic Parameters of Sign and Signature Verify → algorithm and options (KMIP 2.1 §4.16, §6.1.55, §6.1.56).

/** The parameters are of another kind of key: no such signature can be valid, and Signature Verify says so (TC-ECDSA-SIGN-DIGESTEDDATA-1). */
export class OtherKindOfKey extends KmipRefusal {
  constructor(message: string) {
    super('BadCryptographicParameters', message);
    this.name = 'OtherKindOfKey';
  }
}

type Scheme = 'rsa-pkcs1' | 'rsa-pss' | 'ecdsa';
interface Named {
  readonly scheme: Scheme;
  readonly hash?: HashName;
}

/** Digital Signature Algorithm (KMIP 2.1 §11.16). Names of 1.2 end in the standard they are from. DSA and MD2 no root has. */
const DIGITAL_SIGNATURES: Readonly<Record<string, Named>> = {
  SHA_1WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha1' },
  SHA_224WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha224' },
  SHA_256WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha256' },
  SHA_384WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha384' },
  SHA_512WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha512' },
  SHA3_256WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha3-256' },
  SHA3_384WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha3-384' },
  SHA3_512WithRSAEncryption: { scheme: 'rsa-pkcs1', hash: 'sha3-512' },
  RSASSA_PSS: { scheme: 'rsa-pss' },
  ECDSAWithSHA_1: { scheme: 'ecdsa', hash: 'sha1' },
  ECDSAWithSHA224: { scheme: 'ecdsa', hash: 'sha224' },
  ECDSAWithSHA256: { scheme: 'ecdsa', hash: 'sha256' },
  ECDSAWithSHA384: { scheme: 'ecdsa', hash: 'sha384' },
  ECDSAWithSHA512: { scheme: 'ecdsa', hash: 'sha512' },
};
const STANDARD_SUFFIX = /PKCS_1V[12]_[0-9]$/;

const RSA_PADDINGS: Readonly<Record<string, Scheme>> = { PSS: 'rsa-pss', PKCS1V1_5: 'rsa-pkcs1' };
/** Cryptographic Algorithm names that mean another kind of key than the family. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  rsa: ['RSA'],
  ec: ['EC', 'ECDSA'],
  eddsa: ['Ed25519', 'Ed448', 'EC'],
};

const bad = (message: string) => refuse('BadCryptographicParameters', message);
const unsupported = (message: string) => refuse('UnsupportedCryptographicParameters', message);

const namedSignature = (parameters: CryptographicParameters): Named | undefined => {
  const name = nameOf(parameters.DigitalSignatureAlgorithm, 'DigitalSignatureAlgorithm')?.replace(STANDARD_SUFFIX, '');
  if (name === undefined) return undefined;
  const named = Object.hasOwn(DIGITAL_SIGNATURES, name) ? DIGITAL_SIGNATURES[name] : undefined;
  if (named === undefined) throw unsupported(`Digital Signature Algorithm ${name} is not supported.`);
  return named;
};

export interface SignatureRequest {
  /** Absent: the default of the key's curve. */
  readonly algorithm?: Algorithm;
  readonly prehashed?: boolean;
  readonly saltLength?: number;
  readonly mgf1Hash?: HashName;
}

const algorithmNamed = (scheme: Scheme, hash: HashName): Algorithm => {
  const name = `${scheme}-${hash}`;
  if (!isAlgorithm(name)) throw unsupported('This hash is not supported for signatures.');
  return name;
};

/** A digest that the client made must be the hash's, where a hash is named. */
const checkDigest = (hash: HashName, digest: Uint8Array): void => {
  if (digest.length !== HASH_BYTES[hash]) throw bad(`A ${hash} digest has ${HASH_BYTES[hash]} bytes, not ${digest.length}.`);
};

const pssOptions = (parameters: CryptographicParameters, hash: HashName): Pick<SignatureRequest, 'saltLength' | 'mgf1Hash'> => {
  const trailer = countOf(parameters, 'TrailerField');
  // RFC 8017 §A.2.3: 1 stands for 0xBC, the only trailer there is.
  if (trailer !== undefined && trailer !== 1) throw unsupported('Only the standard trailer is supported.');
  const saltLength = countOf(parameters, 'SaltLength');
  return { ...maskOf(parameters, hash), ...(saltLength === undefined ? {} : { saltLength }) };
};

const rsaSignature = (parameters: CryptographicParameters, named: Named | undefined, digest: Uint8Array | undefined): SignatureRequest => {
  const padding = nameOf(parameters.PaddingMethod, 'PaddingMethod') ?? 'PKCS1V1_5';
  const scheme = named?.scheme ?? (Object.hasOwn(RSA_PADDINGS, padding) ? RSA_PADDINGS[padding] : undefined);
  if (scheme === undefined) throw unsupported(`Padding Method ${padding} is not supported for signatures.`);
  const wanted = named?.hash ?? hashNamed(parameters.HashingAlgorithm);
  const hash = wanted ?? (scheme === 'rsa-pss' && digest !== undefined ? hashOfLength(digest.length) : undefined);
  if (hash === undefined) {
    // Digested Data without a hash is signed as it is, DigestInfo and all (TC-RSA-SIGN-DIGESTEDDATA-1).
    if (digest !== undefined && scheme === 'rsa-pkcs1') return { algorithm: 'rsa-pkcs1-raw' };
    throw bad('The Hashing Algorithm is in neither the request nor the Cryptographic Parameters of the key.');
  }
  if (digest !== undefined) checkDigest(hash, digest);
  return {
    algorithm: algorithmNamed(scheme, hash),
    ...(digest === undefined ? {} : { prehashed: true }),
    ...(scheme === 'rsa-pss' ? pssOptions(parameters, hash) : {}),
  };
};

const ecdsaSignature = (
  parameters: CryptographicParameters,
  named: Named | undefined,
  digest: Uint8Array | undefined,
): SignatureRequest => {
  const hash = named?.hash ?? hashNamed(parameters.HashingAlgorithm);
  if (hash === undefined) return digest === undefined ? {} : { algorithm: 'ecdsa-raw' };
  if (digest !== undefined) checkDigest(hash, digest);
  return { algorithm: algorithmNamed('ecdsa', hash), ...(digest === undefined ? {} : { prehashed: true }) };
};

/**
 * `digest` is the Digested Data, where the client made the digest itself.
 * @throws KmipRefusal
 */
export const signatureFor = ({ family, spec, parameters }: KeyFacts, digest: Uint8Array | undefined): SignatureRequest => {
  const named = namedSignature(parameters);
  const asked = nameOf(parameters.CryptographicAlgorithm, 'CryptographicAlgorithm');
  const scheme = named?.scheme ?? '';
  if (family === 'rsa' || family === 'ec') {
    const other =
      (asked !== undefined && !NAMES[family]?.includes(asked)) || (scheme !== '' && scheme.startsWith('rsa') !== (family === 'rsa'));
    if (other) throw new OtherKindOfKey(`A ${spec} key makes no such signature.`);
    return family === 'rsa' ? rsaSignature(parameters, named, digest) : ecdsaSignature(parameters, named, digest);
  }
  if (named !== undefined) throw new OtherKindOfKey(`A ${spec} key makes no such signature.`);
  if (digest !== undefined) throw unsupported(`A ${spec} key signs the data itself, not a digest.`);
  if (family === 'eddsa') {
    if (asked !== undefined && !NAMES['eddsa']?.includes(asked)) throw new OtherKindOfKey(`A ${spec} key makes no such signature.`);
    return { algorithm: spec as 'ed25519' | 'ed448' };
  }
  if (family === 'ml-dsa' || family === 'slh-dsa') return { algorithm: family };
  throw unsupported(`${spec} keys do not sign.`);
};
