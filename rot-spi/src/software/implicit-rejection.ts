import { createHash, createHmac, type KeyObject } from 'node:crypto';
import { withZeroised } from '../secret.js';

/**
 * RSAES-PKCS1-v1_5 decoding with implicit rejection (draft-irtf-cfrg-rsa-guidance §7): wrong padding decrypts to bytes
 * that depend on key and ciphertext only, so whoever sends ciphertexts learns nothing from the answer (Bleichenbacher).
 * For runtimes whose OpenSSL does not do it by itself.
 */

/** −1 where equal (or zero), else 0; no branch. Arguments below 2^31. */
const isZero = (value: number): number => ~(value | -value) >> 31;
const isLess = (a: number, b: number): number => (a - b) >> 31;
const choose = (mask: number, yes: number, no: number): number => (mask & yes) | (~mask & no);

const MIN_PADDING_BYTES = 8;

/** PRF of the draft: HMAC-SHA-256(kdk, counter ‖ label ‖ bit length). */
const expand = (kdk: Buffer, label: string, length: number): Buffer => {
  const blocks: Buffer[] = [];
  for (let counter = 0; counter * 32 < length; counter += 1) {
    const head = Buffer.alloc(2);
    head.writeUInt16BE(counter);
    const tail = Buffer.alloc(2);
    tail.writeUInt16BE(length * 8);
    blocks.push(createHmac('sha256', kdk).update(head).update(label, 'latin1').update(tail).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
};

/** Length of the substitute: the last of 128 masked candidates that fits. */
const substituteLength = (kdk: Buffer, max: number): number => {
  const candidates = expand(kdk, 'length', 256);
  let mask = max;
  for (const shift of [1, 2, 4, 8]) mask |= mask >> shift;
  let length = 0;
  for (let at = 0; at < candidates.length; at += 2) {
    const candidate = candidates.readUInt16BE(at) & mask;
    length = choose(isLess(candidate, max), candidate, length);
  }
  return length;
};

/** Tied to the key by a hash of its encoding, so that nobody else can predict the substitute. */
const keyDerivationKey = (key: KeyObject, ciphertext: Uint8Array): Buffer => {
  const secret = withZeroised(key.export({ format: 'der', type: 'pkcs8' }), (der) => createHash('sha256').update(der).digest());
  return withZeroised(secret, (bytes) => createHmac('sha256', bytes).update(ciphertext).digest());
};

/** `block` is the RSA result, of the modulus' length; it is overwritten. */
export const decodePkcs1 = (key: KeyObject, ciphertext: Uint8Array, block: Buffer): Buffer => {
  const kdk = keyDerivationKey(key, ciphertext);
  const substitute = expand(kdk, 'message', block.length);
  let good = isZero(block[0] ?? 1) & isZero((block[1] ?? 0) ^ 2);
  let separator = 0;
  let looking = -1;
  for (let index = 2; index < block.length; index += 1) {
    const zero = isZero(block[index] ?? 0);
    separator = choose(looking & zero, index, separator);
    looking &= ~zero;
  }
  good &= ~looking & ~isLess(separator, 2 + MIN_PADDING_BYTES);
  const start = choose(good, separator + 1, block.length - substituteLength(kdk, block.length - 10));
  for (let index = 0; index < block.length; index += 1) block[index] = choose(good, block[index] ?? 0, substitute[index] ?? 0);
  const message = Buffer.from(block.subarray(start));
  for (const secret of [block, substitute, kdk]) secret.fill(0);
  return message;
};
