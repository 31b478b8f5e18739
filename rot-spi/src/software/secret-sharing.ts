import { checkPrimeSync, randomBytes } from 'node:crypto';
import { RootFault } from '../fault.js';
import { withZeroised } from '../secret.js';
import type { SplitMethod } from '../vocabulary/index.js';

/**
 * Secret sharing as KMIP defines it (KMIP 2.1 §13.1): XOR, and Shamir's scheme over GF(2^8), GF(2^16) and a prime field. Shares are
 * evaluated at the part numbers 1, 2, …; the secret is the polynomial at 0.
 */

/** One share with its number, from 1. */
export interface Share {
  readonly part: number;
  readonly bytes: Uint8Array;
}
export interface Sharing {
  readonly method: SplitMethod;
  readonly threshold: number;
  /** Prime of the field, big-endian, for `prime-field`. */
  readonly prime?: Uint8Array;
}

const invalid = (message: string): RootFault => new RootFault('invalid-argument', message);

/** x^8+x^4+x^3+x^2+1: what KMIP 2.1 §13.1 and the shares of TC-SJ-2 and TC-SJ-3 use. KMIP 1.4 names FIPS 197's 0x11B, its cases do not. */
const POLYNOMIAL = 0x11d;
/** {3A}: y^2+y+m is irreducible over this GF(2^8) (KMIP 2.1 §13.1). */
const M = 0x3a;

/** FIPS 197's polynomial, which KMIP 3.0 can ask for (Split Key Polynomial, Polynomial-283). */
const FIPS_POLYNOMIAL = 0x11b;

/** Multiplication in GF(2^8) without a branch or a look-up that depends on the values. */
const timesBy =
  (polynomial: number) =>
  (a: number, b: number): number => {
    let product = 0;
    let shifted = a;
    for (let bit = 0; bit < 8; bit += 1) {
      product ^= shifted & -((b >> bit) & 1);
      shifted = (shifted << 1) ^ (polynomial & -(shifted >> 7));
    }
    return product & 0xff;
  };

/** a^254 = a^-1. */
const inverseBy =
  (times: Field['times']) =>
  (a: number): number => {
    let result = 1;
    let power = a;
    for (let bit = 1; bit < 8; bit += 1) {
      power = times(power, power);
      result = times(result, power);
    }
    return result;
  };

interface Field {
  /** Bytes of one element. */
  readonly width: number;
  readonly times: (a: number, b: number) => number;
  readonly inverse: (a: number) => number;
}

const times8 = timesBy(POLYNOMIAL);
const inverse8 = inverseBy(times8);
const GF8: Field = { width: 1, times: times8, inverse: inverse8 };
const GF8_FIPS: Field = { width: 1, times: timesBy(FIPS_POLYNOMIAL), inverse: inverseBy(timesBy(FIPS_POLYNOMIAL)) };

/** Elements uy+v as u‖v. The printed product of §13.1 lacks the factor m of ru; y^2 = y+m gives it. */
const GF16: Field = {
  width: 2,
  times: (a, b) => {
    const [r, s, u, v] = [a >> 8, a & 0xff, b >> 8, b & 0xff];
    const sv = times8(s, v);
    return ((times8(r ^ s, u ^ v) ^ sv) << 8) | (times8(times8(r, u), M) ^ sv);
  },
  inverse: (a) => {
    const [u, v] = [a >> 8, a & 0xff];
    const d = inverse8(times8(u ^ v, v) ^ times8(M, times8(u, u)));
    return (times8(u, d) << 8) | times8(u ^ v, d);
  },
};

const elementAt = (bytes: Uint8Array, index: number, width: number): number =>
  width === 1 ? (bytes[index] ?? 0) : ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0);

const setElement = (bytes: Uint8Array, index: number, width: number, value: number): void => {
  if (width === 1) bytes[index] = value;
  else {
    bytes[2 * index] = value >> 8;
    bytes[2 * index + 1] = value & 0xff;
  }
};

const splitBinary = (field: Field, secret: Uint8Array, parts: number, threshold: number): Buffer[] => {
  const elements = Math.ceil(secret.length / field.width);
  const padded = Buffer.alloc(elements * field.width);
  padded.set(secret);
  const coefficients = Array.from({ length: threshold - 1 }, () => randomBytes(padded.length));
  const shares = Array.from({ length: parts }, (_, part) => {
    const share = Buffer.alloc(padded.length);
    for (let index = 0; index < elements; index += 1) {
      let value = 0;
      // Horner's rule at x = part + 1, the secret last.
      for (let at = threshold - 2; at >= 0; at -= 1)
        value = field.times(value ^ elementAt(coefficients[at] as Buffer, index, field.width), part + 1);
      setElement(share, index, field.width, value ^ elementAt(padded, index, field.width));
    }
    return share;
  });
  for (const bytes of [padded, ...coefficients]) bytes.fill(0);
  return shares;
};

/** Lagrange's weights at 0: ∏ x_j / (x_j − x_i); subtraction is XOR. */
const weightsOf = (field: Field, parts: readonly number[]): readonly number[] =>
  parts.map((own) =>
    parts.reduce((weight, other) => (other === own ? weight : field.times(weight, field.times(other, field.inverse(other ^ own)))), 1),
  );

const joinBinary = (field: Field, shares: readonly Share[]): Buffer => {
  const length = shares[0]?.bytes.length ?? 0;
  if (length % field.width !== 0) throw notJoinable();
  const weights = weightsOf(
    field,
    shares.map(({ part }) => part),
  );
  const secret = Buffer.alloc(length);
  for (let index = 0; index < length / field.width; index += 1) {
    let value = 0;
    for (const [at, { bytes }] of shares.entries()) value ^= field.times(weights[at] ?? 0, elementAt(bytes, index, field.width));
    setElement(secret, index, field.width, value);
  }
  return secret;
};

const splitXor = (secret: Uint8Array, parts: number): Buffer[] => {
  const shares = Array.from({ length: parts - 1 }, () => randomBytes(secret.length));
  return [...shares, joinXor([{ part: parts, bytes: secret }, ...shares.map((bytes, part) => ({ part, bytes }))])];
};

const joinXor = (shares: readonly Share[]): Buffer => {
  const secret = Buffer.from(shares[0]?.bytes ?? []);
  for (const { bytes } of shares.slice(1))
    for (let index = 0; index < secret.length; index += 1) secret[index] = (secret[index] ?? 0) ^ (bytes[index] ?? 0);
  return secret;
};

// Prime field. BigInt arithmetic takes time that depends on its values; a share is made and joined once, not in a loop an attacker drives.

const toBigInt = (bytes: Uint8Array): bigint => (bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
const fromBigInt = (value: bigint, length: number): Buffer => Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

/** Largest prime taken, bytes (1,088 bits): proving a larger one prime would hold up everybody else's calls. Keys of RSA's size are split over GF(2^n). */
const MAX_PRIME_BYTES = 136;
/** Largest parts × threshold × bytes of one split, for the same reason: about a tenth of a second. */
const MAX_WORK = 4_194_304;

const fieldPrime = (prime: Uint8Array | undefined): { readonly p: bigint; readonly bytes: number } => {
  if (prime === undefined) throw invalid('a prime field needs its prime');
  const p = toBigInt(prime);
  const bytes = Math.ceil(p.toString(16).length / 2);
  if (bytes > MAX_PRIME_BYTES) throw new RootFault('limit-exceeded', `a prime of more than ${MAX_PRIME_BYTES} bytes is not taken`);
  if (p < 3n || !checkPrimeSync(p)) throw invalid('the size of the prime field must be a prime');
  return { p, bytes };
};

const mod = (value: bigint, p: bigint): bigint => ((value % p) + p) % p;

const randomBelow = (p: bigint, bytes: number): bigint => mod(toBigInt(randomBytes(bytes + 16)), p);

const splitPrime = (secret: Uint8Array, parts: number, { threshold, prime }: Sharing): Buffer[] => {
  const { p, bytes } = fieldPrime(prime);
  const value = toBigInt(secret);
  // KMIP 2.1 §13.1: the prime is larger than every secret of this length.
  if (p <= 1n << BigInt(secret.length * 8)) throw invalid(`the prime must be larger than 2^${secret.length * 8}`);
  if (p <= BigInt(parts)) throw invalid('the prime must be larger than the number of parts');
  const coefficients = [value, ...Array.from({ length: threshold - 1 }, () => randomBelow(p, bytes))];
  return Array.from({ length: parts }, (_, part) => {
    const x = BigInt(part + 1);
    return fromBigInt(
      coefficients.reduceRight((sum, coefficient) => mod(sum * x + coefficient, p), 0n),
      bytes,
    );
  });
};

/** Extended Euclid; the argument is made of part numbers, which are public. */
const inverse = (value: bigint, p: bigint): bigint => {
  let [r, next] = [mod(value, p), p];
  let [x, y] = [1n, 0n];
  while (r > 1n) {
    const quotient = next / r;
    [r, next] = [next - quotient * r, r];
    [x, y] = [y - quotient * x, x];
  }
  return mod(x, p);
};

const joinPrime = (shares: readonly Share[], prime: Uint8Array | undefined, length: number | undefined): Buffer => {
  const { p, bytes } = fieldPrime(prime);
  let secret = 0n;
  for (const { part, bytes: share } of shares) {
    let [up, down] = [1n, 1n];
    for (const { part: other } of shares) {
      if (other === part) continue;
      up = mod(up * BigInt(other), p);
      down = mod(down * BigInt(other - part), p);
    }
    const value = toBigInt(share);
    if (value >= p) throw notJoinable();
    secret = mod(secret + value * mod(up * inverse(down, p), p), p);
  }
  // Without a length of its own the secret is as long as the largest that the prime allows.
  const wanted = length ?? Math.floor((p.toString(2).length - 1) / 8);
  if (wanted > bytes || secret >= 1n << BigInt(wanted * 8)) throw notJoinable();
  return fromBigInt(secret, wanted);
};

const notJoinable = (): RootFault => new RootFault('decryption-failed', 'these parts do not make a key', 'Give enough parts of one split.');

const FIELDS: Partial<Record<SplitMethod, Field>> = { 'gf2-8': GF8, 'gf2-8-283': GF8_FIPS, 'gf2-16': GF16 };

/** Splits; the caller zeroes secret and shares. */
export const splitSecret = (secret: Uint8Array, parts: number, sharing: Sharing): Buffer[] => {
  if (parts * sharing.threshold * secret.length > MAX_WORK)
    throw new RootFault('limit-exceeded', 'this split is too much work for one call', 'Ask for fewer parts.');
  const field = FIELDS[sharing.method];
  if (field !== undefined) return splitBinary(field, secret, parts, sharing.threshold);
  return sharing.method === 'xor' ? splitXor(secret, parts) : splitPrime(secret, parts, sharing);
};

/** Too few or foreign shares give another value: the scheme itself cannot tell. `length`: bytes of the secret, where that is known. */
export const joinSecret = (shares: readonly Share[], { method, threshold, prime }: Sharing, length: number | undefined): Buffer => {
  if (shares.length < threshold) throw notJoinable();
  if (new Set(shares.map(({ part }) => part)).size !== shares.length) throw notJoinable();
  if (method !== 'prime-field' && shares.some(({ bytes }) => bytes.length !== shares[0]?.bytes.length)) throw notJoinable();
  if (method === 'xor') return joinXor(shares);
  const used = shares.slice(0, threshold);
  const field = FIELDS[method];
  if (field === undefined) return joinPrime(used, prime, length);
  return withZeroised(joinBinary(field, used), (joined) => {
    if (length !== undefined && (length > joined.length || joined.length - length >= field.width)) throw notJoinable();
    return Buffer.from(joined.subarray(0, length ?? joined.length));
  });
};
