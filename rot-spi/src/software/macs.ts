import { type Cipher, createCipheriv, createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm } from '../vocabulary/index.js';

export interface Mac {
  readonly update: (data: Uint8Array) => void;
  readonly finish: () => Buffer;
}

const BLOCK_BYTES = 16;
/** CBC output is thrown away; in steps, so that a large message does not need as much memory again. */
const FEED_BYTES = 65_536;
/** R_128 (SP 800-38B §5.3). */
const R128 = 0x87;

/** Doubling in GF(2^128), without a branch on the value. */
const double = (block: Buffer): Buffer => {
  const result = Buffer.alloc(BLOCK_BYTES);
  const carry = (block[0] ?? 0) >> 7;
  for (let index = 0; index < BLOCK_BYTES; index += 1) result[index] = (((block[index] ?? 0) << 1) | ((block[index + 1] ?? 0) >> 7)) & 0xff;
  result[BLOCK_BYTES - 1] = (result[BLOCK_BYTES - 1] ?? 0) ^ (R128 * carry);
  return result;
};

/** AES-CMAC (SP 800-38B §6.2): CBC with a zero IV whose last block is masked by a subkey. */
export const makeCmac = (key: KeyObject): Mac => {
  const bits = (key.symmetricKeySize ?? 0) * 8;
  const cbc: Cipher = createCipheriv(`aes-${bits}-cbc`, key, Buffer.alloc(BLOCK_BYTES)).setAutoPadding(false);
  /** The last block is held back: whether it is whole decides the subkey. */
  let held = Buffer.alloc(0);
  const feed = (data: Uint8Array): void => {
    for (let at = 0; at < data.length; at += FEED_BYTES) cbc.update(data.subarray(at, at + FEED_BYTES)).fill(0);
  };
  return {
    update: (data) => {
      if (data.length === 0) return;
      if (held.length + data.length <= BLOCK_BYTES) {
        held = Buffer.concat([held, data]);
        return;
      }
      const keep = (held.length + data.length) % BLOCK_BYTES || BLOCK_BYTES;
      feed(held);
      feed(data.subarray(0, Math.max(0, data.length - keep)));
      const rest = data.subarray(Math.max(0, data.length - keep));
      held = Buffer.from(rest);
    },
    finish: () => {
      const zero = createCipheriv(`aes-${bits}-ecb`, key, null).setAutoPadding(false).update(Buffer.alloc(BLOCK_BYTES));
      const k1 = double(zero);
      const subkey = held.length === BLOCK_BYTES ? k1 : double(k1);
      const last = Buffer.alloc(BLOCK_BYTES);
      last.set(held);
      if (held.length < BLOCK_BYTES) last[held.length] = 0x80;
      for (let index = 0; index < BLOCK_BYTES; index += 1) last[index] = (last[index] ?? 0) ^ (subkey[index] ?? 0);
      const mac = cbc.update(last);
      for (const secret of [zero, k1, subkey, last, held]) secret.fill(0);
      return mac;
    },
  };
};

export const makeMac = (key: KeyObject, algorithm: Algorithm): Mac => {
  if (algorithm === 'aes-cmac') return makeCmac(key);
  const { hash } = ALGORITHMS[algorithm];
  if (hash === undefined) throw new RootFault('unsupported', `there is no ${algorithm}`);
  const hmac = createHmac(hash, key);
  return { update: (data) => void hmac.update(data), finish: () => hmac.digest() };
};

export const computeMac = (key: KeyObject, algorithm: Algorithm, data: Uint8Array): Buffer => {
  const mac = makeMac(key, algorithm);
  mac.update(data);
  return mac.finish();
};

/** Shortest truncation that is still a check (SP 800-107 r1 §5.3.3). */
const MIN_MAC_BYTES = 4;

/** The given MAC may be the leftmost bytes of the whole one. */
export const macMatches = (expected: Buffer, given: Uint8Array): boolean =>
  given.length >= MIN_MAC_BYTES && given.length <= expected.length && timingSafeEqual(expected.subarray(0, given.length), given);
