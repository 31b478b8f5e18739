import {
  constants,
  createHash,
  type KeyObject,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  publicEncrypt,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { RootFault } from '../fault.js';
import { HASH_BYTES, type HashName } from '../vocabulary/index.js';
import { undecryptable } from './ciphers.js';
import { decodePkcs1 } from './implicit-rejection.js';

/** RFC 8017 on top of OpenSSL's raw RSA (blinded, constant time), for what node:crypto has no option for. */

export const modulusBytes = (key: KeyObject): number => Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
const modulusBits = (key: KeyObject): number => key.asymmetricKeyDetails?.modulusLength ?? 0;

const outOfRange = (): RootFault => new RootFault('invalid-argument', 'the number is not below the RSA modulus');

/** RSAEP / RSAVP1 (§5.1.1): `block` of at most the modulus' length. */
export const rawPublic = (key: KeyObject, block: Uint8Array): Buffer => {
  const padded = Buffer.alloc(modulusBytes(key));
  if (block.length > padded.length) throw outOfRange();
  padded.set(block, padded.length - block.length);
  try {
    return publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, padded);
  } catch {
    throw outOfRange();
  }
};

/** RSADP / RSASP1 (§5.1.2). */
export const rawPrivate = (key: KeyObject, block: Uint8Array): Buffer => {
  if (block.length !== modulusBytes(key)) throw new RootFault('invalid-argument', `the input must have ${modulusBytes(key)} bytes`);
  try {
    return privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, block);
  } catch {
    throw outOfRange();
  }
};

const digest = (hash: HashName, ...parts: readonly Uint8Array[]): Buffer => {
  const state = createHash(hash);
  for (const part of parts) state.update(part);
  return state.digest();
};

/** MGF1 (§B.2.1). */
const mask = (hash: HashName, seed: Uint8Array, length: number): Buffer => {
  const blocks: Buffer[] = [];
  const counter = Buffer.alloc(4);
  for (let index = 0; index * HASH_BYTES[hash] < length; index += 1) {
    counter.writeUInt32BE(index);
    blocks.push(digest(hash, seed, counter));
  }
  return Buffer.concat(blocks).subarray(0, length);
};

const xorInto = (target: Uint8Array, other: Uint8Array): void => {
  for (let index = 0; index < target.length; index += 1) target[index] = (target[index] ?? 0) ^ (other[index] ?? 0);
};

export interface PssParameters {
  readonly hash: HashName;
  readonly mgf1Hash: HashName;
  readonly saltLength: number;
  /** Verification: the salt is as long as the signature says. */
  readonly anySalt?: boolean;
}

/** EMSA-PSS-ENCODE (§9.1.1) of a digest. */
export const pssEncode = (key: KeyObject, digestBytes: Uint8Array, { hash, mgf1Hash, saltLength }: PssParameters): Buffer => {
  const bits = modulusBits(key) - 1;
  const length = Math.ceil(bits / 8);
  const hashLength = HASH_BYTES[hash];
  if (length < hashLength + saltLength + 2) throw new RootFault('invalid-argument', 'the salt is too long for this RSA key');
  const salt = randomBytes(saltLength);
  const h = digest(hash, Buffer.alloc(8), digestBytes, salt);
  const block = Buffer.alloc(length - hashLength - 1);
  block[block.length - saltLength - 1] = 1;
  block.set(salt, block.length - saltLength);
  xorInto(block, mask(mgf1Hash, h, block.length));
  block[0] = (block[0] ?? 0) & (0xff >> (8 * length - bits));
  const encoded = Buffer.concat([block, h, Buffer.from([0xbc])]);
  return encoded.length === modulusBytes(key) ? encoded : Buffer.concat([Buffer.alloc(1), encoded]);
};

/** EMSA-PSS-VERIFY (§9.1.2). All inputs are public. */
export const pssVerify = (
  key: KeyObject,
  digestBytes: Uint8Array,
  signature: Uint8Array,
  { hash, mgf1Hash, saltLength, anySalt }: PssParameters,
): boolean => {
  if (signature.length !== modulusBytes(key)) return false;
  const bits = modulusBits(key) - 1;
  const length = Math.ceil(bits / 8);
  let message: Buffer;
  try {
    message = rawPublic(key, signature);
  } catch {
    return false;
  }
  if (message.length !== length && message[0] !== 0) return false;
  const encoded = message.subarray(message.length - length);
  const hashLength = HASH_BYTES[hash];
  if (length < hashLength + (anySalt ? 0 : saltLength) + 2 || encoded.at(-1) !== 0xbc) return false;
  const block = Buffer.from(encoded.subarray(0, length - hashLength - 1));
  const h = encoded.subarray(block.length, block.length + hashLength);
  const top = 0xff >> (8 * length - bits);
  if (((block[0] ?? 0) & ~top & 0xff) !== 0) return false;
  xorInto(block, mask(mgf1Hash, h, block.length));
  block[0] = (block[0] ?? 0) & top;
  const saltAt = anySalt ? block.findIndex((byte) => byte !== 0) + 1 : block.length - saltLength;
  if (block.subarray(0, saltAt - 1).some((byte) => byte !== 0) || block[saltAt - 1] !== 1) return false;
  return timingSafeEqual(digest(hash, Buffer.alloc(8), digestBytes, block.subarray(saltAt)), h);
};

export interface OaepParameters {
  readonly hash: HashName;
  readonly mgf1Hash: HashName;
  readonly label: Uint8Array;
}

export const oaepCapacity = (key: KeyObject, hash: HashName): number => modulusBytes(key) - 2 * HASH_BYTES[hash] - 2;

const checkOaepLength = (key: KeyObject, hash: HashName, length: number): void => {
  const capacity = oaepCapacity(key, hash);
  if (length > capacity)
    throw new RootFault('invalid-argument', `the plaintext has ${length} bytes; this RSA key takes at most ${Math.max(0, capacity)}`);
};

/** RSAES-OAEP-ENCRYPT (§7.1.1). */
export const oaepEncrypt = (key: KeyObject, plaintext: Uint8Array, parameters: OaepParameters): Buffer => {
  const { hash, mgf1Hash, label } = parameters;
  checkOaepLength(key, hash, plaintext.length);
  if (hash === mgf1Hash)
    return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash, oaepLabel: Buffer.from(label) }, plaintext);
  const hashLength = HASH_BYTES[hash];
  const block = Buffer.alloc(modulusBytes(key) - hashLength - 1);
  digest(hash, label).copy(block);
  block[block.length - plaintext.length - 1] = 1;
  block.set(plaintext, block.length - plaintext.length);
  const seed = randomBytes(hashLength);
  xorInto(block, mask(mgf1Hash, seed, block.length));
  xorInto(seed, mask(mgf1Hash, block, hashLength));
  return rawPublic(key, Buffer.concat([Buffer.alloc(1), seed, block]));
};

/** All ones when the byte is zero, else zero; no branch. */
const zeroMask = (byte: number): number => (byte - 1) >> 31;

/**
 * RSAES-OAEP-DECRYPT (§7.1.2) where MGF1 has a hash of its own. Every check is folded into one verdict that is read once
 * at the end, so that neither the answer nor the path says what was wrong (Manger's attack, §7.1.2 note).
 */
const oaepDecode = (message: Buffer, { hash, mgf1Hash, label }: OaepParameters): Buffer => {
  const hashLength = HASH_BYTES[hash];
  const seed = message.subarray(1, 1 + hashLength);
  const block = message.subarray(1 + hashLength);
  xorInto(seed, mask(mgf1Hash, block, hashLength));
  xorInto(block, mask(mgf1Hash, seed, block.length));
  const expected = digest(hash, label);
  let wrong = message[0] ?? 1;
  for (let index = 0; index < hashLength; index += 1) wrong |= (block[index] ?? 0) ^ (expected[index] ?? 0);
  let looking = -1;
  let start = 0;
  for (let index = hashLength; index < block.length; index += 1) {
    const byte = block[index] ?? 0;
    const isOne = zeroMask(byte ^ 1);
    const isZero = zeroMask(byte);
    start |= looking & isOne & (index + 1);
    wrong |= looking & ~isOne & ~isZero & 1;
    looking &= ~isOne;
  }
  wrong |= looking & 1;
  if (wrong !== 0) throw undecryptable();
  return Buffer.from(block.subarray(start));
};

export const oaepDecrypt = (key: KeyObject, ciphertext: Uint8Array, parameters: OaepParameters): Buffer => {
  const { hash, mgf1Hash, label } = parameters;
  if (ciphertext.length !== modulusBytes(key))
    throw new RootFault('invalid-argument', `the ciphertext must have ${modulusBytes(key)} bytes`);
  if (hash === mgf1Hash) {
    try {
      return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash, oaepLabel: Buffer.from(label) }, ciphertext);
    } catch {
      throw undecryptable();
    }
  }
  if (oaepCapacity(key, hash) < 0) throw undecryptable();
  let message: Buffer;
  try {
    message = rawPrivate(key, ciphertext);
  } catch {
    throw undecryptable();
  }
  try {
    return oaepDecode(message, parameters);
  } finally {
    message.fill(0);
  }
};

/** RSAES-PKCS1-v1_5 (§7.2). Wrong padding decrypts to random bytes (implicit rejection), so there is no oracle. */
export const pkcs1Encrypt = (key: KeyObject, plaintext: Uint8Array): Buffer => {
  const capacity = modulusBytes(key) - 11;
  if (plaintext.length > capacity)
    throw new RootFault('invalid-argument', `the plaintext has ${plaintext.length} bytes; this RSA key takes at most ${capacity}`);
  return publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, plaintext);
};

/** Node refuses the padding where its OpenSSL has no implicit rejection; then it is done here. Found out once. */
let opensslRejectsImplicitly = true;

const pkcs1DecryptNative = (key: KeyObject, ciphertext: Uint8Array): Buffer | undefined => {
  try {
    return privateDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, ciphertext);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_INVALID_ARG_VALUE') throw undecryptable();
    opensslRejectsImplicitly = false;
    return undefined;
  }
};

export const pkcs1Decrypt = (key: KeyObject, ciphertext: Uint8Array): Buffer => {
  if (ciphertext.length !== modulusBytes(key))
    throw new RootFault('invalid-argument', `the ciphertext must have ${modulusBytes(key)} bytes`);
  const native = opensslRejectsImplicitly ? pkcs1DecryptNative(key, ciphertext) : undefined;
  return native ?? decodePkcs1(key, ciphertext, rawPrivate(key, ciphertext));
};

/** DigestInfo prefixes (RFC 8017 §9.2 note 1, FIPS 202 OIDs from the NIST CSOR). */
const DIGEST_INFO: Readonly<Record<HashName, string>> = {
  md5: '3020300c06082a864886f70d020505000410',
  sha1: '3021300906052b0e03021a05000414',
  sha224: '302d300d06096086480165030402040500041c',
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
  'sha512-224': '302d300d06096086480165030402050500041c',
  'sha512-256': '3031300d060960864801650304020605000420',
  'sha3-224': '302d300d06096086480165030402070500041c',
  'sha3-256': '3031300d060960864801650304020805000420',
  'sha3-384': '3041300d060960864801650304020905000430',
  'sha3-512': '3051300d060960864801650304020a05000440',
};

export const digestInfo = (hash: HashName, digestBytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(DIGEST_INFO[hash], 'hex'), digestBytes]);

/** EMSA-PKCS1-v1_5 padding and RSASP1 over a caller-built DigestInfo (§8.2.1). */
export const pkcs1SignRaw = (key: KeyObject, encoded: Uint8Array): Buffer =>
  privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, encoded);

export const pkcs1VerifyRaw = (key: KeyObject, encoded: Uint8Array, signature: Uint8Array): boolean => {
  if (signature.length !== modulusBytes(key)) return false;
  try {
    const recovered = publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature);
    return recovered.length === encoded.length && timingSafeEqual(recovered, encoded);
  } catch {
    return false;
  }
};
