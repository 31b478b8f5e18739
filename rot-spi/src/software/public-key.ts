import { createPublicKey, type KeyObject } from 'node:crypto';
import { curveOf, EC_PUBLIC_KEY, readSpki, toEcSpki } from '../encoding/ec-keys.js';
import { invertModulo, modulo, powerModulo, toBigInt } from '../encoding/modular.js';
import { RootFault } from '../fault.js';
import type { KeySpec, KeySpecRow } from '../vocabulary/index.js';

type Spec = KeySpecRow & { readonly name: KeySpec };

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the public key is not valid: ${what}`);

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

/** OIDs as hex of their contents. */
const ALGORITHM_OIDS: Readonly<Partial<Record<string, string>>> = {
  rsa: '2a864886f70d010101',
  ec: EC_PUBLIC_KEY,
  ed25519: '2b6570',
  ed448: '2b6571',
  x25519: '2b656e',
  x448: '2b656f',
};

/** The OID that a key of this spec must have; undefined for the post-quantum families, which OpenSSL alone judges. */
export const oidOf = (spec: Spec): string | undefined => ALGORITHM_OIDS[spec.family] ?? ALGORITHM_OIDS[spec.name];

/** SubjectPublicKeyInfo (RFC 5280 §4.1) → the same, canonical, with the algorithm that the spec asks for. */
const checkSpki = (spec: Spec, spki: Uint8Array): Uint8Array => {
  const { algorithm, point } = readSpki(spki);
  const oid = oidOf(spec);
  if (oid !== undefined && algorithm.oid !== oid) throw malformed(`it is not a key for ${spec.name}`);
  return spec.family === 'ec' ? toEcSpki(curveOf(spec, algorithm), point) : spki;
};

const checkRsaPublic = (key: KeyObject, spec: Spec): void => {
  const details = key.asymmetricKeyDetails;
  if (details?.modulusLength !== spec.bits) throw malformed(`the modulus has ${details?.modulusLength} bits, not ${spec.bits}`);
  const modulus = toBigInt(Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url'));
  if ((modulus & 1n) === 0n) throw malformed('the modulus is even');
  const exponent = details.publicExponent ?? 0n;
  if (exponent < 3n || exponent % 2n === 0n || exponent > MAX_EXPONENT) throw malformed('the public exponent is not usable');
};

/** SubjectPublicKeyInfo DER → key, checked against the spec. Throws RootFault `invalid-argument`. */
export const parsePublicKey = (spec: Spec, spki: Uint8Array): KeyObject => {
  const checked = checkSpki(spec, spki);
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(checked.buffer, checked.byteOffset, checked.byteLength), format: 'der', type: 'spki' });
  } catch {
    throw malformed('it is not a SubjectPublicKeyInfo of a supported type');
  }
  const type = key.asymmetricKeyType as string | undefined;
  if (type !== (spec.family === 'rsa' || spec.family === 'ec' ? spec.family : spec.curve)) throw malformed(`it is not a ${spec.name} key`);
  if (spec.family === 'rsa') checkRsaPublic(key, spec);
  const edwards = EDWARDS[spec.name];
  if (edwards !== undefined) checkEdwards(Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url'), edwards);
  return key;
};
