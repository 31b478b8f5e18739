import { createCipheriv, createHash, randomBytes } from 'node:crypto';

export interface SeededRandom {
  readonly random: (request: { readonly length: number }) => { readonly bytes: Buffer };
  readonly seedRandom: (request: { readonly seed: Uint8Array }) => { readonly accepted: number };
}

/**
 * OpenSSL's generator, which takes no seed from here. What a caller seeds goes into a pool instead, and once there is one every output
 * is OpenSSL's bytes XOR a key stream made from the pool and a fresh nonce: the seed is really used, and whoever chose it learns
 * nothing, because OpenSSL's bytes alone are as good as before (SP 800-90C §10, combining with an approved source).
 */
export const makeSeededRandom = (): SeededRandom => {
  let pool: Buffer | undefined;
  return {
    random: ({ length }) => {
      const bytes = randomBytes(length);
      if (pool === undefined || length === 0) return { bytes };
      const key = createHash('sha256').update('output').update(pool).update(randomBytes(32)).digest();
      const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
      for (let index = 0; index < length; index += 1) bytes[index] = (bytes[index] ?? 0) ^ (stream[index] ?? 0);
      key.fill(0);
      stream.fill(0);
      // Forward secrecy: what the pool was cannot be had from what it is.
      pool = createHash('sha512').update('step').update(pool).digest();
      return { bytes };
    },
    seedRandom: ({ seed }) => {
      const before = pool ?? randomBytes(64);
      pool = createHash('sha512').update('seed').update(before).update(seed).digest();
      before.fill(0);
      return { accepted: seed.length };
    },
  };
};
