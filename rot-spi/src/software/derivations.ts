import { createHash, createHmac, type KeyObject, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { MAX_PBKDF2_ITERATIONS } from '../checks/primitives.js';
import type { DeriveParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import { withZeroised } from '../secret.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, type HashName } from '../vocabulary/index.js';
import { encryptSymmetric } from './ciphers.js';
import type { Spec } from './key-material.js';
import { makeCmac } from './macs.js';

const pbkdf2Async = promisify(pbkdf2);

const EMPTY = new Uint8Array();
const CMAC_BYTES = 16;

const tooLong = (max: number): RootFault => new RootFault('invalid-argument', `this derivation yields at most ${max} bytes`);

const number32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

type Prf = (...parts: readonly Uint8Array[]) => Buffer;

const hmacPrf =
  (hash: HashName, key: KeyObject): Prf =>
  (...parts) => {
    const hmac = createHmac(hash, key);
    for (const part of parts) hmac.update(part);
    return hmac.digest();
  };
const cmacPrf =
  (key: KeyObject): Prf =>
  (...parts) => {
    const cmac = makeCmac(key);
    for (const part of parts) cmac.update(part);
    return cmac.finish();
  };

/**
 * SP 800-108 r1 §4: K(i) = PRF(K, [i]₃₂ ‖ fixed) in counter mode, PRF(K, K(i−1) ‖ [i]₃₂ ‖ fixed) in feedback mode with
 * K(0) = IV, PRF(K, A(i) ‖ [i]₃₂ ‖ fixed) in double-pipeline mode. Without fixed input given whole it is
 * info ‖ [L]₃₂, L in bits.
 */
const sp800108 = (
  mode: 'counter' | 'feedback' | 'double-pipeline',
  prf: Prf,
  prfBytes: number,
  parameters: DeriveParameters,
  length: number,
): Buffer => {
  const fixed = parameters.fixedInput ?? Buffer.concat([parameters.info ?? EMPTY, number32(length * 8)]);
  const result = Buffer.alloc(Math.ceil(length / prfBytes) * prfBytes);
  let block: Uint8Array = mode === 'feedback' ? (parameters.iv ?? EMPTY) : EMPTY;
  let pipeline: Uint8Array = fixed;
  for (let counter = 1; (counter - 1) * prfBytes < length; counter += 1) {
    if (mode === 'double-pipeline') pipeline = prf(pipeline);
    const chained = mode === 'counter' ? EMPTY : mode === 'feedback' ? block : pipeline;
    block = prf(chained, number32(counter), fixed);
    result.set(block, (counter - 1) * prfBytes);
  }
  return cut(result, length);
};

/** The leftmost bytes; the rest is overwritten. */
const cut = (bytes: Buffer, length: number): Buffer => {
  if (length > bytes.length) throw tooLong(bytes.length);
  bytes.fill(0, length);
  return bytes.subarray(0, length);
};

/** RFC 5869 §2. node:crypto's own stops at 1,024 bytes of info. */
const hkdf = (key: KeyObject, hash: HashName, parameters: DeriveParameters, length: number): Buffer => {
  if (length > 255 * HASH_BYTES[hash]) throw tooLong(255 * HASH_BYTES[hash]);
  const extracted = withZeroised(key.export(), (bytes) =>
    createHmac(hash, parameters.salt ?? EMPTY)
      .update(bytes)
      .digest(),
  );
  const result = Buffer.alloc(Math.ceil(length / HASH_BYTES[hash]) * HASH_BYTES[hash]);
  let block: Buffer = Buffer.alloc(0);
  for (let counter = 1; (counter - 1) * HASH_BYTES[hash] < length; counter += 1) {
    block = createHmac(hash, extracted)
      .update(block)
      .update(parameters.info ?? EMPTY)
      .update(Buffer.from([counter]))
      .digest();
    result.set(block, (counter - 1) * HASH_BYTES[hash]);
  }
  extracted.fill(0);
  block.fill(0);
  return cut(result, length);
};

const hashOf = (algorithm: Algorithm, parameters: DeriveParameters): HashName => {
  const hash = ALGORITHMS[algorithm].hash ?? parameters.hash;
  if (hash === undefined) throw new RootFault('invalid-argument', `${algorithm} needs a hash`);
  return hash;
};

/** KMIP 1.4 §4.6 and §9.1.3.2.21: the hash of the key, then of the derivation data if there is any. */
const hashDerive = (key: KeyObject, hash: HashName, data: Uint8Array): Buffer =>
  withZeroised(key.export(), (bytes) => createHash(hash).update(bytes).update(data).digest());

/** How many bytes come out where neither spec nor request says: a whole hash for hash-based, else 32. */
export const naturalLength = (algorithm: Algorithm, parameters: DeriveParameters): number => {
  if (algorithm === 'encrypt-derive') return parameters.data?.length ?? 0;
  const hash = ALGORITHMS[algorithm].hash ?? parameters.hash;
  return hash === undefined ? CMAC_BYTES : HASH_BYTES[hash];
};

const simple = (key: KeyObject, spec: Spec, algorithm: Algorithm, parameters: DeriveParameters, length: number): Buffer => {
  const data = parameters.data ?? EMPTY;
  if (algorithm === 'hash-derive') return cut(hashDerive(key, hashOf(algorithm, parameters), data), length);
  if (algorithm === 'hmac-derive') return cut(hmacPrf(hashOf(algorithm, parameters), key)(data), length);
  if (parameters.cipher === undefined) throw new RootFault('invalid-argument', 'encrypt-derive needs a cipher');
  const iv = parameters.iv === undefined ? {} : { iv: parameters.iv };
  return cut(encryptSymmetric(key, spec, parameters.cipher, data, iv).ciphertext, length);
};

/** Every output block costs all iterations again (RFC 8018 §5.2 step 3), so length multiplies the work. */
const checkPbkdf2Work = (hash: HashName, iterations: number, length: number): void => {
  const blocks = Math.ceil(length / HASH_BYTES[hash]);
  if (iterations * blocks > 2 * MAX_PBKDF2_ITERATIONS)
    throw new RootFault(
      'limit-exceeded',
      `${iterations} iterations for ${length} bytes are too much work for one call`,
      'Derive one hash length and expand it with HKDF.',
    );
};

const modeOf = (algorithm: Algorithm): 'counter' | 'feedback' | 'double-pipeline' =>
  algorithm.includes('feedback') ? 'feedback' : algorithm.includes('double-pipeline') ? 'double-pipeline' : 'counter';

/** Derives `length` bytes; the caller zeroes them. PBKDF2 runs in the thread pool. */
export const deriveBytes = async (
  key: KeyObject,
  spec: Spec,
  algorithm: Algorithm,
  parameters: DeriveParameters,
  length: number,
): Promise<Buffer> => {
  if (algorithm.endsWith('-derive')) return simple(key, spec, algorithm, parameters, length);
  if (algorithm.endsWith('-cmac')) return sp800108(modeOf(algorithm), cmacPrf(key), CMAC_BYTES, parameters, length);
  const hash = hashOf(algorithm, parameters);
  if (algorithm.startsWith('hkdf')) {
    return hkdf(key, hash, parameters, length);
  }
  if (algorithm.startsWith('pbkdf2')) {
    checkPbkdf2Work(hash, parameters.iterations ?? 1, length);
    const password = key.export();
    try {
      return await pbkdf2Async(password, parameters.salt ?? EMPTY, parameters.iterations ?? 1, length, hash);
    } finally {
      password.fill(0);
    }
  }
  return sp800108(modeOf(algorithm), hmacPrf(hash, key), HASH_BYTES[hash], parameters, length);
};
