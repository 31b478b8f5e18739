import { randomBytes } from 'node:crypto';
import { ALGORITHMS, type Algorithm, type HashName, type KeyFamily } from '@aegis/rot-spi/vocabulary';
import { refuse } from '../contract.js';
import { hashNamed } from './hashes.js';
import type { KeyFacts } from './key-facts.js';
import { type CryptographicParameters, countOf, nameOf } from './payload-fields.js';

// Cryptographic Parameters of Encrypt and Decrypt → algorithm and options (KMIP 2.1 §4.16, §6.1.11, §6.1.17).

type Row = Readonly<Record<string, Algorithm>>;
/** Block Cipher Mode → Padding Method → algorithm. Without a Padding Method there is no padding (CS-BC-M-4). */
const BLOCK_CIPHERS: Readonly<Partial<Record<KeyFamily, Readonly<Record<string, Row>>>>> = {
  aes: {
    CBC: { None: 'aes-cbc', PKCS5: 'aes-cbc-pkcs5' },
    ECB: { None: 'aes-ecb', PKCS5: 'aes-ecb-pkcs5' },
    CTR: { None: 'aes-ctr' },
    CFB: { None: 'aes-cfb128' },
    OFB: { None: 'aes-ofb' },
    GCM: { None: 'aes-gcm' },
    CCM: { None: 'aes-ccm' },
    AEAD: { None: 'aes-gcm' },
  },
  des3: {
    CBC: { None: 'des3-cbc', PKCS5: 'des3-cbc-pkcs5' },
    ECB: { None: 'des3-ecb', PKCS5: 'des3-ecb-pkcs5' },
    CFB: { None: 'des3-cfb64' },
    OFB: { None: 'des3-ofb' },
  },
};

const OAEP: Partial<Record<HashName, Algorithm>> = {
  sha1: 'rsa-oaep-sha1',
  sha224: 'rsa-oaep-sha224',
  sha256: 'rsa-oaep-sha256',
  sha384: 'rsa-oaep-sha384',
  sha512: 'rsa-oaep-sha512',
};

/** Names of Cryptographic Algorithm that a key of the family may be used as. */
const NAMES: Readonly<Partial<Record<KeyFamily, readonly string[]>>> = {
  aes: ['AES'],
  des3: ['DES3'],
  rsa: ['RSA'],
  chacha20: ['ChaCha20', 'ChaCha20Poly1305'],
  secret: ['OneTimePad'],
};

const bad = (message: string) => refuse('BadCryptographicParameters', message);
const unsupported = (message: string) => refuse('UnsupportedCryptographicParameters', message);

const blockCipher = ({ family, spec, parameters }: KeyFacts): Algorithm => {
  const modes = BLOCK_CIPHERS[family];
  const mode = nameOf(parameters.BlockCipherMode, 'BlockCipherMode');
  if (modes === undefined) throw unsupported(`${spec} keys do not encrypt.`);
  if (mode === undefined) throw bad('The Block Cipher Mode is in neither the request nor the Cryptographic Parameters of the key.');
  const paddings = Object.hasOwn(modes, mode) ? modes[mode] : undefined;
  if (paddings === undefined) throw unsupported(`Block Cipher Mode ${mode} is not supported for ${spec} keys.`);
  const padding = nameOf(parameters.PaddingMethod, 'PaddingMethod') ?? 'None';
  const algorithm = Object.hasOwn(paddings, padding) ? paddings[padding] : undefined;
  if (algorithm !== undefined) return algorithm;
  throw Object.keys(paddings).length === 1
    ? bad(`Block Cipher Mode ${mode} takes no padding.`)
    : unsupported(`Padding Method ${padding} is not supported.`);
};

interface Choice {
  readonly algorithm: Algorithm;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: HashName;
}

const rsaCipher = ({ parameters }: KeyFacts): Choice => {
  const padding = nameOf(parameters.PaddingMethod, 'PaddingMethod');
  if (padding === 'PKCS1V1_5') return { algorithm: 'rsa-pkcs1' };
  if (padding === 'None') return { algorithm: 'rsa-raw' };
  if (padding === undefined) throw bad('An RSA key needs a Padding Method.');
  if (padding !== 'OAEP') throw unsupported(`Padding Method ${padding} does not encrypt with RSA keys.`);
  // RFC 8017 §A.2.1: the hash of RSAES-OAEP defaults to SHA-1.
  const hash = hashNamed(parameters.HashingAlgorithm) ?? 'sha1';
  const algorithm = OAEP[hash];
  if (algorithm === undefined) throw unsupported('This hash is not supported with OAEP.');
  return { algorithm, ...maskOf(parameters, hash), ...(parameters.PSource === undefined ? {} : { label: parameters.PSource }) };
};

/**
 * Mask generator of OAEP and PSS. Where its hash is left out it is the scheme's own: the published signatures of CS-AC-M-2 are made
 * that way, although KMIP 2.1 Table 59 names SHA-1.
 */
export const maskOf = (parameters: CryptographicParameters, hash: HashName): { readonly mgf1Hash?: HashName } => {
  const generator = nameOf(parameters.MaskGenerator, 'MaskGenerator');
  if (generator !== undefined && generator !== 'MGF1') throw unsupported('Only MGF1 is supported.');
  const mgf1Hash = hashNamed(parameters.MaskGeneratorHashingAlgorithm, 'MaskGeneratorHashingAlgorithm') ?? hash;
  return mgf1Hash === hash ? {} : { mgf1Hash };
};

const chosenCipher = (facts: KeyFacts): Choice => {
  const { family, spec, named, parameters } = facts;
  const asked = nameOf(parameters.CryptographicAlgorithm, 'CryptographicAlgorithm');
  if (asked !== undefined && !(NAMES[family] ?? []).includes(asked)) throw bad(`A ${spec} key does not encrypt with ${asked}.`);
  if (family === 'rsa') return rsaCipher(facts);
  if (family === 'secret' && (asked ?? named) === 'OneTimePad') return { algorithm: 'one-time-pad' };
  if (family !== 'chacha20') return { algorithm: blockCipher(facts) };
  const mode = nameOf(parameters.BlockCipherMode, 'BlockCipherMode');
  if (mode !== undefined && mode !== 'AEAD') throw unsupported(`Block Cipher Mode ${mode} is not supported for ${spec} keys.`);
  return { algorithm: mode === 'AEAD' || (asked ?? named) === 'ChaCha20Poly1305' ? 'chacha20-poly1305' : 'chacha20' };
};

/** SP 800-38D §5.2.1.2; 4 and 8 bytes are in the standard but not served (keys/cipher-parameters.ts). */
const TAG_BYTES: readonly number[] = [12, 13, 14, 15, 16];
const SHORT_TAG_BYTES: readonly number[] = [4, 8];
const tagOf = (algorithm: Algorithm, parameters: CryptographicParameters): { readonly tagLength?: number } => {
  const tagLength = countOf(parameters, 'TagLength');
  if (tagLength === undefined || !hasTag(algorithm)) return {};
  if (TAG_BYTES.includes(tagLength)) return { tagLength };
  if (SHORT_TAG_BYTES.includes(tagLength)) throw unsupported('Tags of less than 12 bytes are not supported.');
  // CS-BC-M-GCM-1: an impossible Tag Length is General Failure.
  throw refuse('GeneralFailure', 'No such tag length.');
};

/** Authenticated encryption: its tag travels in a field of its own from KMIP 1.4, at the end of the data before. */
export const hasTag = (algorithm: Algorithm | undefined): boolean =>
  algorithm !== undefined && ALGORITHMS[algorithm].tagLength !== undefined;

const BITS = 8;
/** Longest counter of a CTR block that Initial Counter Value (a 32-bit Integer) can fill, bytes. */
const MAX_COUNTER_BYTES = 8;

/** The counter that completes a shorter nonce to a block (RFC 3686 §4): Counter Length bits, Initial Counter Value, big-endian. */
const counterOf = (parameters: CryptographicParameters): Uint8Array | undefined => {
  const bits = countOf(parameters, 'CounterLength');
  if (bits === undefined) return undefined;
  if (bits % BITS !== 0 || bits === 0 || bits / BITS > MAX_COUNTER_BYTES)
    throw unsupported('The Counter Length must be 8 to 64 bits in whole bytes.');
  const counter = Buffer.alloc(MAX_COUNTER_BYTES);
  counter.writeBigUInt64BE(BigInt(countOf(parameters, 'InitialCounterValue') ?? 1));
  return counter.subarray(MAX_COUNTER_BYTES - bits / BITS);
};

/** ChaCha20 counts in little-endian before the nonce (RFC 8439 §2.3): 32 bits before 12 bytes of it, 64 before 8. */
const chachaBlock = (nonce: Uint8Array, parameters: CryptographicParameters): Uint8Array => {
  const start = countOf(parameters, 'InitialCounterValue');
  if (start === undefined || start === 0 || nonce.length === 16) return nonce;
  const block = Buffer.alloc(16);
  block.writeUInt32LE(start);
  block.set(nonce, 16 - nonce.length);
  return block;
};

const nonceBytes = (algorithm: Algorithm, parameters: CryptographicParameters): number => {
  const { ivLength = 0, ivRange } = ALGORITHMS[algorithm];
  const fields = (countOf(parameters, 'FixedFieldLength') ?? 0) + (countOf(parameters, 'InvocationFieldLength') ?? 0);
  const bits = countOf(parameters, 'IVLength') ?? (fields === 0 ? undefined : fields);
  const counter = algorithm === 'aes-ctr' ? (counterOf(parameters)?.length ?? 0) : 0;
  if (bits === undefined || bits === 0) return ivLength - counter;
  const [min, max] = ivRange ?? [ivLength - counter, ivLength];
  if (bits % BITS !== 0 || bits / BITS < min || bits / BITS > max) throw bad('No IV of this length fits the cipher.');
  return bits / BITS;
};

/** What goes to the key service, and what the client has to be told. */
interface IvChoice {
  readonly iv?: Uint8Array;
  /** The IV that the server chose, as the client has to give it to Decrypt; absent where the root chooses it. */
  readonly shown?: Uint8Array;
}

const fullIv = (algorithm: Algorithm, iv: Uint8Array, parameters: CryptographicParameters): Uint8Array => {
  if (algorithm === 'chacha20') return chachaBlock(iv, parameters);
  const { ivLength = 0 } = ALGORITHMS[algorithm];
  if (algorithm !== 'aes-ctr' || iv.length >= ivLength) return iv;
  const counter = counterOf(parameters);
  if (counter === undefined || iv.length + counter.length !== ivLength) return iv;
  return Buffer.concat([iv, counter]);
};

const chooseIv = (
  algorithm: Algorithm,
  given: Uint8Array | undefined,
  parameters: CryptographicParameters,
  encrypting: boolean,
): IvChoice => {
  const { ivLength } = ALGORITHMS[algorithm];
  if (ivLength === undefined) return given === undefined || given.length === 0 ? {} : { iv: given };
  if (given !== undefined && given.length > 0) return { iv: fullIv(algorithm, given, parameters) };
  // CS-BC-M-11: Decrypt without the IV is Invalid Message. Encrypt without one gets one, unless the client says that it wants none.
  if (!encrypting || parameters.RandomIV === false) throw refuse('InvalidMessage', 'The IV/Counter/Nonce is missing.');
  const length = nonceBytes(algorithm, parameters);
  if (length === ivLength) return {};
  const nonce = randomBytes(length);
  return { iv: fullIv(algorithm, nonce, parameters), shown: nonce };
};

export interface CipherRequest extends Choice, IvChoice {
  readonly tagLength?: number;
}

/** @throws KmipRefusal */
export const cipherFor = (facts: KeyFacts, given: Uint8Array | undefined, direction: 'encrypt' | 'decrypt'): CipherRequest => {
  const choice = chosenCipher(facts);
  return {
    ...choice,
    ...tagOf(choice.algorithm, facts.parameters),
    ...chooseIv(choice.algorithm, given, facts.parameters, direction === 'encrypt'),
  };
};
