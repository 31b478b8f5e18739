/**
 * Arithmetic modulo a public prime. `multiplyModulo` is for secrets: fixed-size limbs in typed arrays that can be
 * zeroised, no branch or index that depends on a value. The BigInt functions are for public values only.
 */

/** 24-bit limbs: a product has 48 bits, and 32 of them still add up exactly in a double. */
const LIMB_BITS = 24;
const LIMB = 1 << LIMB_BITS;
const LIMB_MASK = LIMB - 1;

export interface Modulus {
  readonly value: bigint;
  readonly bytes: number;
  readonly limbs: Float64Array;
  /** −n⁻¹ modulo a limb. */
  readonly inverse: number;
  /** (2^24)^(2·limbs) mod n. */
  readonly squaredRadix: Float64Array;
}

export const toBigInt = (bytes: Uint8Array): bigint =>
  bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`);

export const fromBigInt = (value: bigint, length: number): Buffer => Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

export const modulo = (value: bigint, modulus: bigint): bigint => {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
};

/** Extended Euclid; public or blinded values only: its time depends on them. */
export const invertModulo = (value: bigint, modulus: bigint): bigint => {
  let [a, b, x, y] = [modulo(value, modulus), modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b - quotient * a, a];
    [x, y] = [y - quotient * x, x];
  }
  return modulo(x, modulus);
};

export const powerModulo = (base: bigint, exponent: bigint, modulus: bigint): bigint => {
  let [result, square] = [1n, modulo(base, modulus)];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
};

const toLimbs = (bytes: Uint8Array, limbs: Float64Array): void => {
  for (let index = 0; index < limbs.length; index += 1) {
    const end = bytes.length - index * 3;
    const byte = (offset: number): number => (end - offset >= 0 ? (bytes[end - offset] ?? 0) : 0);
    limbs[index] = byte(1) + byte(2) * 0x100 + byte(3) * 0x10000;
  }
};

const fromLimbs = (limbs: Float64Array, bytes: Uint8Array): void => {
  for (let index = 0; index < bytes.length; index += 1) {
    const limb = limbs[Math.floor(index / 3)] ?? 0;
    bytes[bytes.length - 1 - index] = (limb >> ((index % 3) * 8)) & 0xff;
  }
};

export const makeModulus = (value: bigint): Modulus => {
  const bytes = Math.ceil(value.toString(16).length / 2);
  const count = Math.ceil((bytes * 8) / LIMB_BITS);
  const limbs = new Float64Array(count);
  const squaredRadix = new Float64Array(count);
  toLimbs(fromBigInt(value, bytes), limbs);
  toLimbs(fromBigInt((1n << BigInt(LIMB_BITS * 2 * count)) % value, bytes), squaredRadix);
  const inverse = Number(modulo(-invertModulo(value, BigInt(LIMB)), BigInt(LIMB)));
  return { value, bytes, limbs, inverse, squaredRadix };
};

/** One Montgomery product: a·b·R⁻¹ mod n, into `out`. Operand scanning; every carry is taken for every value. */
const montgomery = (a: Float64Array, b: Float64Array, modulus: Modulus, out: Float64Array): void => {
  const count = modulus.limbs.length;
  const sum = new Float64Array(count + 2);
  for (let i = 0; i < count; i += 1) {
    addProduct(sum, a[i] ?? 0, b, count);
    const factor = Math.imul((sum[0] ?? 0) & LIMB_MASK, modulus.inverse) & LIMB_MASK;
    addProduct(sum, factor, modulus.limbs, count);
    for (let j = 0; j <= count; j += 1) sum[j] = sum[j + 1] ?? 0;
    sum[count + 1] = 0;
  }
  subtractOnce(sum, modulus.limbs, out);
  sum.fill(0);
};

/** sum += factor·b, carried through so that every limb is below 2^24 again. */
const addProduct = (sum: Float64Array, factor: number, b: Float64Array, count: number): void => {
  let carry = 0;
  for (let j = 0; j < count; j += 1) {
    const value = (sum[j] ?? 0) + factor * (b[j] ?? 0) + carry;
    carry = Math.floor(value / LIMB);
    sum[j] = value - carry * LIMB;
  }
  const top = (sum[count] ?? 0) + carry;
  const over = Math.floor(top / LIMB);
  sum[count] = top - over * LIMB;
  sum[count + 1] = (sum[count + 1] ?? 0) + over;
};

/** out = sum − n if that is not negative, else sum; chosen by mask. */
const subtractOnce = (sum: Float64Array, modulus: Float64Array, out: Float64Array): void => {
  const count = modulus.length;
  const difference = new Float64Array(count);
  let borrow = 0;
  for (let j = 0; j < count; j += 1) {
    const value = (sum[j] ?? 0) - (modulus[j] ?? 0) - borrow;
    borrow = value < 0 ? 1 : 0;
    difference[j] = value + borrow * LIMB;
  }
  const keep = (sum[count] ?? 0) - borrow < 0 ? 1 : 0;
  for (let j = 0; j < count; j += 1) out[j] = (sum[j] ?? 0) * keep + (difference[j] ?? 0) * (1 - keep);
  difference.fill(0);
};

/** a·b mod n for secret a and b below n, as big-endian bytes of the modulus' length; the caller zeroes the result. */
export const multiplyModulo = (a: Uint8Array, b: Uint8Array, modulus: Modulus): Buffer => {
  const [x, y, product] = [0, 1, 2].map(() => new Float64Array(modulus.limbs.length)) as [Float64Array, Float64Array, Float64Array];
  toLimbs(a, x);
  toLimbs(b, y);
  montgomery(x, y, modulus, product);
  montgomery(product, modulus.squaredRadix, modulus, product);
  const result = Buffer.alloc(modulus.bytes);
  fromLimbs(product, result);
  for (const limbs of [x, y, product]) limbs.fill(0);
  return result;
};
