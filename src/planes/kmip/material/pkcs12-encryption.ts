import { createCipheriv, createDecipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import {
  bodyOf,
  DerError,
  type DerNode,
  type DerPart,
  der,
  oid,
  oidText,
  readSequence,
  sequence,
  TAG,
  unsigned,
  unsignedOf,
} from './der.js';
import type { Wiper } from './key-model.js';
import { decryptRc2Cbc } from './rc2.js';

// Password-based encryption of PKCS#12: its own key derivation (RFC 7292 appendix B) and PBES2 (RFC 8018).

/** Derivation work that one file may ask of us, in iterations altogether: a hostile one would keep the process busy. */
const MAX_ITERATIONS = 1_500_000;

/** The password of a file, and the work it has left. */
export interface Opening {
  readonly password: Uint8Array;
  readonly wiper: Wiper;
  /** @throws DerError beyond the bound */
  spend(iterations: number): void;
}
export const makeOpening = (password: Uint8Array, wiper: Wiper): Opening => {
  let left = MAX_ITERATIONS;
  return {
    password,
    wiper,
    spend: (iterations) => {
      left -= Math.max(1, iterations);
      if (left < 0) throw new DerError('more work than is done for one file');
    },
  };
};

/** Password as BMPString with its terminator (RFC 7292 appendix B.1). */
const bmpPassword = (password: Uint8Array): Uint8Array => {
  const text = Buffer.from(password).toString('utf8');
  const out = Buffer.alloc(text.length * 2 + 2);
  for (let i = 0; i < text.length; i += 1) out.writeUInt16BE(text.charCodeAt(i), 2 * i);
  return out;
};

const BLOCK_BYTES: Readonly<Record<string, number>> = { sha1: 64, sha224: 64, sha256: 64, sha384: 128, sha512: 128 };

const filled = (source: Uint8Array, block: number): Uint8Array => {
  const length = source.length === 0 ? 0 : block * Math.ceil(source.length / block);
  return Uint8Array.from({ length }, (_, i) => source[i % source.length] as number);
};

/** RFC 7292 appendix B.2. `id`: 1 key, 2 IV, 3 MAC key. */
const pkcs12Kdf = (hash: string, password: Uint8Array, salt: Uint8Array, id: 1 | 2 | 3, iterations: number, length: number): Uint8Array => {
  const block = BLOCK_BYTES[hash];
  if (block === undefined || iterations < 1) throw new DerError('a derivation that is not supported');
  const secret = bmpPassword(password);
  const input = Buffer.concat([filled(salt, block), filled(secret, block)]);
  secret.fill(0);
  const out = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    let a = createHash(hash).update(new Uint8Array(block).fill(id)).update(input).digest();
    for (let i = 1; i < iterations; i += 1) a = createHash(hash).update(a).digest();
    out.set(a.subarray(0, Math.min(a.length, length - at)), at);
    at += a.length;
    addBlock(input, filled(a, block).subarray(0, block));
  }
  input.fill(0);
  return out;
};

/** Each block of `input` becomes (itself + b + 1) mod 2^(8·block). */
const addBlock = (input: Uint8Array, b: Uint8Array): void => {
  for (let start = 0; start < input.length; start += b.length) {
    let carry = 1;
    for (let i = b.length - 1; i >= 0; i -= 1) {
      carry += (input[start + i] as number) + (b[i] as number);
      input[start + i] = carry & 0xff;
      carry >>= 8;
    }
  }
};

const PBES2 = '1.2.840.113549.1.5.13';
const PBKDF2 = '1.2.840.113549.1.5.12';
const PBE = '1.2.840.113549.1.12.1.';
const PRFS: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.8': 'sha224',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
};
const CIPHERS: Readonly<Record<string, readonly [name: string, keyBytes: number]>> = {
  '1.2.840.113549.3.7': ['des-ede3-cbc', 24],
  '2.16.840.1.101.3.4.1.2': ['aes-128-cbc', 16],
  '2.16.840.1.101.3.4.1.22': ['aes-192-cbc', 24],
  '2.16.840.1.101.3.4.1.42': ['aes-256-cbc', 32],
};

const numberOf = (node: DerNode | undefined): number => {
  const bytes = unsignedOf(node);
  if (bytes.length > 4) throw new DerError('a number too large');
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
};

const decipher = (name: string, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array => {
  const cipher = createDecipheriv(name, key, iv);
  const head = cipher.update(data);
  const tail = cipher.final();
  const out = new Uint8Array(head.length + tail.length);
  out.set(head);
  out.set(tail, head.length);
  head.fill(0);
  tail.fill(0);
  return out;
};

const withoutPadding = (bytes: Uint8Array | undefined): Uint8Array => {
  const pad = bytes?.at(-1) ?? 0;
  if (bytes === undefined || pad < 1 || pad > 8 || bytes.subarray(-pad).some((byte) => byte !== pad)) throw new DerError('decryption');
  return bytes.subarray(0, bytes.length - pad);
};

const decryptPbes2 = (parameters: Uint8Array, { password, spend }: Opening, data: Uint8Array): Uint8Array => {
  const [kdf, scheme] = readSequence(parameters);
  const [kdfName, kdfParameters] = readSequence(kdf?.whole ?? parameters);
  if (oidText(bodyOf(kdfName, TAG.oid)) !== PBKDF2) throw new DerError('a derivation that is not supported');
  const [salt, count, ...rest] = readSequence(kdfParameters?.whole ?? parameters);
  const prf = rest.find(({ tag }) => tag === TAG.sequence);
  const hash = prf === undefined ? 'sha1' : PRFS[oidText(bodyOf(readSequence(prf.whole)[0], TAG.oid))];
  const [name, iv] = readSequence(scheme?.whole ?? parameters);
  const cipher = CIPHERS[oidText(bodyOf(name, TAG.oid))];
  const iterations = numberOf(count);
  if (hash === undefined || cipher === undefined || iterations < 1) throw new DerError('an encryption that is not supported');
  spend(iterations);
  const key = pbkdf2Sync(password, bodyOf(salt, TAG.octetString), iterations, cipher[1], hash);
  try {
    return decipher(cipher[0], key, bodyOf(iv, TAG.octetString), data);
  } finally {
    key.fill(0);
  }
};

/** RC2 and triple DES under a key of appendix B; RC4 was never written by common software. */
const decryptOld = (kind: number, parameters: Uint8Array, { password, spend }: Opening, data: Uint8Array): Uint8Array => {
  const [salt, count] = readSequence(parameters);
  const saltBytes = bodyOf(salt, TAG.octetString);
  const iterations = numberOf(count);
  const keyBytes = { 3: 24, 4: 16, 5: 16, 6: 5 }[kind];
  if (keyBytes === undefined) throw new DerError('an encryption that is not supported');
  // Two derivations, one hash at a time: dearer than the native ones.
  spend(iterations * 8);
  const key = pkcs12Kdf('sha1', password, saltBytes, 1, iterations, keyBytes);
  const iv = pkcs12Kdf('sha1', password, saltBytes, 2, iterations, 8);
  try {
    if (kind >= 5) return withoutPadding(decryptRc2Cbc(key, keyBytes * 8, iv, data));
    const triple = keyBytes === 24 ? key : Uint8Array.from([...key, ...key.subarray(0, 8)]);
    return decipher('des-ede3-cbc', triple, iv, data);
  } finally {
    key.fill(0);
  }
};

/** `algorithm`: an AlgorithmIdentifier. Fresh bytes, left with the wiper. @throws DerError, also for a wrong password */
export const decryptWithPassword = (algorithm: DerNode | undefined, opening: Opening, data: Uint8Array): Uint8Array => {
  const [name, parameters] = readSequence(algorithm?.whole ?? new Uint8Array());
  const dotted = oidText(bodyOf(name, TAG.oid));
  const given = parameters?.whole ?? new Uint8Array();
  try {
    if (dotted === PBES2) return opening.wiper.take(decryptPbes2(given, opening, data));
    if (dotted.startsWith(PBE)) return opening.wiper.take(decryptOld(Number(dotted.slice(PBE.length)), given, opening, data));
  } catch (error) {
    throw error instanceof DerError ? error : new DerError('decryption');
  }
  throw new DerError('an encryption that is not supported');
};

/** Iterations of what is written here: what OpenSSL writes, and a password-protected file of ours only travels inside TLS. */
const ITERATIONS = 10_000;

/** AES-256-CBC under PBKDF2 with HMAC-SHA-256 (RFC 8018 §6.2): the AlgorithmIdentifier and the ciphertext. */
export const encryptWithPassword = (
  plain: Uint8Array,
  password: Uint8Array,
): { readonly algorithm: DerPart; readonly data: Uint8Array } => {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const key = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const data = Buffer.concat([cipher.update(plain), cipher.final()]);
  key.fill(0);
  const count = unsigned(Uint8Array.of(ITERATIONS >> 8, ITERATIONS & 0xff));
  const prf = sequence(oid('1.2.840.113549.2.9'), der(TAG.null));
  const kdf = sequence(oid(PBKDF2), sequence(der(TAG.octetString, salt), count, prf));
  const scheme = sequence(oid('2.16.840.1.101.3.4.1.42'), der(TAG.octetString, iv));
  return { algorithm: sequence(oid(PBES2), sequence(kdf, scheme)), data };
};

const DIGESTS: Readonly<Record<string, readonly [hash: string, bytes: number]>> = {
  '1.3.14.3.2.26': ['sha1', 20],
  '2.16.840.1.101.3.4.2.4': ['sha224', 28],
  '2.16.840.1.101.3.4.2.1': ['sha256', 32],
  '2.16.840.1.101.3.4.2.2': ['sha384', 48],
  '2.16.840.1.101.3.4.2.3': ['sha512', 64],
};

/** The MAC over the authenticated safe (RFC 7292 §4): its digest's OID, its value. */
export const macOf = (digestOid: string, password: Uint8Array, salt: Uint8Array, iterations: number, data: Uint8Array): Buffer => {
  const [hash, bytes] = DIGESTS[digestOid] ?? ['', 0];
  const key = pkcs12Kdf(hash, password, salt, 3, iterations, bytes);
  const mac = createHmac(hash, key).update(data).digest();
  key.fill(0);
  return mac;
};
