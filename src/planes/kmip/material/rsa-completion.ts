import { checkPrimeSync, randomBytes } from 'node:crypto';
import { refuse } from '../contract.js';
import type { KeyModel } from './key-model.js';

// KMIP lets an RSA private key be given by its private exponent, its primes or its CRT exponents alone (2.1 §3.7); a root of trust takes
// all eight numbers of PKCS#1. What is missing is computed here. These are bigints, which cannot be overwritten: only for keys
// whose sender left numbers out.

export interface RsaParts {
  readonly n: Uint8Array;
  readonly e?: Uint8Array;
  readonly d?: Uint8Array;
  readonly p?: Uint8Array;
  readonly q?: Uint8Array;
  readonly dp?: Uint8Array;
  readonly dq?: Uint8Array;
  readonly qi?: Uint8Array;
}
type Whole = Extract<KeyModel, { kind: 'rsa-private' }>;

const impossible = () => refuse('InvalidField', 'The numbers given do not make an RSA private key.');

const big = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
const small = (value: bigint): Uint8Array => {
  const hex = value.toString(16);
  return new Uint8Array(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
};
const gcd = (a: bigint, b: bigint): bigint => {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
};
const power = (base: bigint, exponent: bigint, modulus: bigint): bigint => {
  let result = 1n;
  let square = base % modulus;
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
};
const inverse = (value: bigint, modulus: bigint): bigint => {
  let [r0, r1, t0, t1] = [modulus, ((value % modulus) + modulus) % modulus, 0n, 1n];
  while (r1 !== 0n) {
    const quotient = r0 / r1;
    [r0, r1, t0, t1] = [r1, r0 - quotient * r1, t1, t0 - quotient * t1];
  }
  if (r0 !== 1n) throw impossible();
  return ((t0 % modulus) + modulus) % modulus;
};

/** The root of trust looks closer (FIPS 186-5 §A.1.3); here it is only told apart from noise. */
const isOddPrime = (value: bigint): boolean => value > 2n && (value & 1n) === 1n && checkPrimeSync(value, { checks: 5 });

/** Each try splits the modulus with a chance of a half or more. */
const TRIES = 12;
/** The first try nearly always splits it; a second makes sure. */
const CRT_TRIES = 2;
const MIN_MODULUS_BYTES = 64;
const MAX_MODULUS_BYTES = 2048;
/** Arithmetic on larger numbers would keep the process busy for whoever sends them (RSA-4096: 0.4 s a power). */
const MAX_COMPLETED_BYTES = 512;
const MAX_EXPONENT_BYTES = 8;
const isFactor = (p: bigint, n: bigint): boolean => p > 1n && p < n && n % p === 0n;

/** SP 800-56B r2 appendix C.1: a square root of one other than ±1 splits the modulus. */
const primeFromExponents = (n: bigint, e: bigint, d: bigint): bigint => {
  let odd = e * d - 1n;
  if (odd <= 0n || odd & 1n) throw impossible();
  let halvings = 0;
  for (; (odd & 1n) === 0n; odd >>= 1n) halvings += 1;
  for (let i = 0; i < TRIES; i += 1) {
    let x = power(big(randomBytes(16)) + 2n, odd, n);
    for (let j = 0; j < halvings; j += 1) {
      const factor = gcd(x - 1n < 0n ? 0n : x - 1n, n);
      if (isFactor(factor, n)) return factor;
      x = (x * x) % n;
    }
    // e·d − 1 is a multiple of the order of everything, or this is no key: no further try would tell otherwise.
    if (x !== 1n) throw impossible();
  }
  throw impossible();
};

/** a^(e·dp) = a modulo p and, nearly always, not modulo q. */
const primeFromCrt = (n: bigint, e: bigint, dp: bigint): bigint => {
  for (let i = 0; i < CRT_TRIES; i += 1) {
    const a = big(randomBytes(16)) + 2n;
    const difference = (power(a, e * dp, n) - a) % n;
    const factor = gcd(difference < 0n ? difference + n : difference, n);
    if (isFactor(factor, n)) return factor;
  }
  throw impossible();
};

const firstPrime = (parts: RsaParts, n: bigint, e: bigint): bigint => {
  if (parts.p !== undefined) return big(parts.p);
  if (parts.q !== undefined) return n / big(parts.q);
  if (parts.d !== undefined) return primeFromExponents(n, e, big(parts.d));
  if (parts.dp !== undefined) return primeFromCrt(n, e, big(parts.dp));
  throw impossible();
};

const DEFAULT_EXPONENT = 65_537n;

/** @throws KmipRefusal Invalid Field when the numbers contradict each other or are too few. */
export const completeRsa = (parts: RsaParts): Whole => {
  const { n, e, d, p, q, dp, dq, qi } = parts;
  if (n.length < MIN_MODULUS_BYTES || n.length > MAX_MODULUS_BYTES) throw refuse('InvalidField', 'An RSA modulus of 512 to 16384 bits.');
  if (
    e !== undefined &&
    d !== undefined &&
    p !== undefined &&
    q !== undefined &&
    dp !== undefined &&
    dq !== undefined &&
    qi !== undefined
  ) {
    return { kind: 'rsa-private', n, e, d, p, q, dp, dq, qi };
  }
  const given = [d, p, q, dp, dq, qi].every((one) => one === undefined || one.length <= n.length);
  if (!given || n.length > MAX_COMPLETED_BYTES || (e !== undefined && e.length > MAX_EXPONENT_BYTES)) {
    throw refuse(
      'InvalidField',
      'An RSA private key without all of its numbers has at most 4096 bits, and a public exponent of at most 64.',
    );
  }
  const modulus = big(n);
  const exponent = e === undefined ? DEFAULT_EXPONENT : big(e);
  if (exponent < 3n || (exponent & 1n) === 0n || (modulus & 1n) === 0n) throw impossible();
  const prime = firstPrime(parts, modulus, exponent);
  if (!isFactor(prime, modulus)) throw impossible();
  const other = modulus / prime;
  const privateExponent = d === undefined ? inverse(exponent, ((prime - 1n) * (other - 1n)) / gcd(prime - 1n, other - 1n)) : big(d);
  // A factor found by luck, or primes that are none: the exponents would not undo each other.
  if ([prime, other].some((one) => !isOddPrime(one) || (exponent * privateExponent) % (one - 1n) !== 1n)) throw impossible();
  return {
    kind: 'rsa-private',
    n,
    e: small(exponent),
    d: d ?? small(privateExponent),
    p: p ?? small(prime),
    q: q ?? small(other),
    dp: dp ?? small(privateExponent % (prime - 1n)),
    dq: dq ?? small(privateExponent % (other - 1n)),
    qi: qi ?? small(inverse(other, prime)),
  };
};
