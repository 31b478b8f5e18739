import { createPublicKey, type KeyObject } from 'node:crypto';
import { RootFault } from '../fault.js';
import type { KeySpec, KeySpecRow } from '../vocabulary/index.js';
import { invertModulo, modulo, powerModulo } from './modular.js';

type Spec = KeySpecRow & { readonly name: KeySpec };

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the public key is not valid: ${what}`);

/** Outer DER length equals the input's: nothing may follow the structure (X.690 §10.1). */
export const isOneDerValue = (der: Uint8Array): boolean => {
  const first = der[1] ?? 0xff;
  if (der[0] !== 0x30) return false;
  if (first < 0x80) return der.length === 2 + first;
  const count = first & 0x7f;
  if (count === 0 || count > 3) return false;
  let length = 0;
  for (let index = 0; index < count; index += 1) length = length * 256 + (der[2 + index] ?? 0);
  return der.length === 2 + count + length;
};

/** A public exponent this long only serves to keep the verifier busy; FIPS 186-5 §A.1.1 stops at 2^256. */
const MAX_EXPONENT = 1n << 64n;

interface Edwards {
  readonly p: bigint;
  readonly a: bigint;
  readonly d: bigint;
  readonly bytes: number;
}
const P25519 = 2n ** 255n - 19n;
const P448 = 2n ** 448n - 2n ** 224n - 1n;
/** RFC 8032 §5.1 and §5.2. */
const EDWARDS: Readonly<Record<string, Edwards>> = {
  ed25519: { p: P25519, a: -1n, d: modulo(-121_665n * invertModulo(121_666n, P25519), P25519), bytes: 32 },
  ed448: { p: P448, a: 1n, d: modulo(-39_081n, P448), bytes: 57 },
};

const isSquare = (value: bigint, p: bigint): boolean => value === 0n || powerModulo(value, (p - 1n) / 2n, p) === 1n;

/** y after doubling the point with this y twice and thrice; small order means 8P is the identity (y = 1, x = 0). */
const hasSmallOrder = (y: bigint, { p, a, d }: Edwards): boolean => {
  const square = (value: bigint): bigint => modulo(value * value, p);
  let y2 = square(y);
  for (let doubling = 0; doubling < 3; doubling += 1) {
    // x² = (1 − y²)/(a − d·y²); doubling: y' = (y² − a·x²)/(2 − a·x² − y²)
    const x2 = modulo((1n - y2) * invertModulo(modulo(a - d * y2, p), p), p);
    const denominator = modulo(2n - a * x2 - y2, p);
    if (denominator === 0n) return true;
    y2 = square(modulo((y2 - a * x2) * invertModulo(denominator, p), p));
  }
  return y2 === 1n;
};

/** RFC 8032 §5.1.3 and §5.2.3: canonical y on the curve; and not of small order, under which one signature fits any message. */
const checkEdwards = (raw: Buffer, curve: Edwards): void => {
  const bytes = Buffer.from(raw).reverse();
  if (bytes.length !== curve.bytes) throw malformed('it has a wrong length');
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  const y = BigInt(`0x${bytes.toString('hex')}`);
  if (y >= curve.p) throw malformed('its encoding is not canonical');
  const x2 = modulo((1n - y * y) * invertModulo(modulo(curve.a - curve.d * y * y, curve.p), curve.p), curve.p);
  if (!isSquare(x2, curve.p)) throw malformed('it is not a point on the curve');
  if (hasSmallOrder(y, curve)) throw malformed('it is a point of small order');
};

const checkRsaPublic = (key: KeyObject, spec: Spec): void => {
  const details = key.asymmetricKeyDetails;
  if (details?.modulusLength !== spec.bits) throw malformed(`the modulus has ${details?.modulusLength} bits, not ${spec.bits}`);
  const exponent = details.publicExponent ?? 0n;
  if (exponent < 3n || exponent % 2n === 0n || exponent > MAX_EXPONENT) throw malformed('the public exponent is not usable');
};

const RSA_TYPE = 'rsa';

/** SubjectPublicKeyInfo DER → key, checked against the spec. OpenSSL checks that an EC point is on its curve. */
export const parsePublicKey = (spec: Spec, spki: Uint8Array): KeyObject => {
  if (!isOneDerValue(spki)) throw malformed('it is not one SubjectPublicKeyInfo');
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength), format: 'der', type: 'spki' });
  } catch {
    throw malformed('it is not a SubjectPublicKeyInfo of a supported type');
  }
  const type = key.asymmetricKeyType as string | undefined;
  if (spec.family === 'rsa') {
    if (type !== RSA_TYPE) throw malformed('it is not an RSA key');
    checkRsaPublic(key, spec);
  } else if (spec.family === 'ec') {
    if (type !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== spec.curve) throw malformed(`it is not a key on ${spec.curve}`);
  } else if (type !== spec.curve) throw malformed(`it is not a ${spec.name} key`);
  const edwards = EDWARDS[spec.name];
  if (edwards !== undefined) checkEdwards(Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url'), edwards);
  return key;
};
