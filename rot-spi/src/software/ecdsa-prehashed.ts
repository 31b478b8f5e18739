import { createECDH, createHash, createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import type { Curve } from '../encoding/curves.js';
import { writeEcPrivateKey } from '../encoding/ec-keys.js';
import { fromBigInt, invertModulo, modulo, multiplyModulo, toBigInt } from '../encoding/modular.js';
import { RootFault } from '../fault.js';

/**
 * ECDSA over a digest that the caller computed (FIPS 186-5 §6.4 from step 3 on). node:crypto always hashes, so both
 * directions are reduced to a signature over a message chosen here, and OpenSSL does every secret-dependent curve
 * operation, the nonce included.
 *
 * Signing. With z the digest, d the key, m a fresh random message and h = H(m): OpenSSL signs m with d' = d·h·z⁻¹ and
 * returns r, s' = k⁻¹(h + r·d'). Then s = s'·z·h⁻¹ = k⁻¹(z + r·d) is a signature of z under d. h is random, so d' is d
 * under a multiplicative blind of one use.
 *
 * Verifying. (r, s) holds for z under Q exactly when it holds for h under Q' = Q + tG with t = (z − h)·r⁻¹, for then
 * h·s⁻¹·G + r·s⁻¹·Q' = z·s⁻¹·G + r·s⁻¹·Q.
 */
const hashFor = (curve: Curve): string => (curve.orderBits > 384 ? 'sha512' : curve.orderBits > 256 ? 'sha384' : 'sha256');

/** Leftmost bits of the digest, as an integer (FIPS 186-5 §6.4.1 step 2). */
const toScalar = (digest: Uint8Array, curve: Curve): bigint => {
  const excess = digest.length * 8 - curve.orderBits;
  const value = toBigInt(digest);
  return modulo(excess > 0 ? value >> BigInt(excess) : value, curve.order.value);
};

const chosenMessage = (curve: Curve, message: Buffer): bigint => toScalar(createHash(hashFor(curve)).update(message).digest(), curve);

const generators = new Map<string, Buffer>();

/** G, uncompressed. */
const generatorOf = (curve: Curve): Buffer => {
  const known = generators.get(curve.name);
  if (known !== undefined) return known;
  const ecdh = createECDH(curve.name);
  ecdh.setPrivateKey(fromBigInt(1n, curve.order.bytes));
  const point = ecdh.getPublicKey();
  generators.set(curve.name, point);
  return point;
};

/**
 * Without a public key OpenSSL would compute it, a third of the work; signing does not use it, so G stands in its place.
 * The key object never leaves `signDigest`.
 */
const importBlinded = (curve: Curve, scalar: Buffer): KeyObject => {
  const der = writeEcPrivateKey(curve, scalar, generatorOf(curve));
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'sec1' });
  } finally {
    der.fill(0);
    scalar.fill(0);
  }
};

/** `scalar` is the private key d, big-endian, of the order's length. Returns r‖s (IEEE P1363). */
export const signDigest = (curve: Curve, scalar: Uint8Array, digest: Uint8Array): Buffer => {
  const n = curve.order.value;
  const z = toScalar(digest, curve);
  // Over zero anyone can make a signature that verifies: R = uQ, s = r·u⁻¹.
  if (z === 0n) throw new RootFault('invalid-argument', 'a digest of zero cannot be signed');
  const message = randomBytes(32);
  const h = chosenMessage(curve, message);
  const inverse = invertModulo(modulo(z * h, n), n);
  const blinded = multiplyModulo(scalar, fromBigInt(modulo(h * modulo(h * inverse, n), n), curve.order.bytes), curve.order);
  const signature = sign(hashFor(curve), message, { key: importBlinded(curve, blinded), dsaEncoding: 'ieee-p1363' });
  const length = signature.length / 2;
  const s = modulo(toBigInt(signature.subarray(length)) * modulo(z * modulo(z * inverse, n), n), n);
  return Buffer.concat([signature.subarray(0, length), fromBigInt(s, length)]);
};

interface Point {
  readonly x: bigint;
  readonly y: bigint;
}

const toPoint = (key: KeyObject): Point => {
  const jwk = key.export({ format: 'jwk' });
  return { x: toBigInt(Buffer.from(jwk.x ?? '', 'base64url')), y: toBigInt(Buffer.from(jwk.y ?? '', 'base64url')) };
};

const timesGenerator = (curve: Curve, scalar: bigint): Point => {
  const ecdh = createECDH(curve.name);
  ecdh.setPrivateKey(fromBigInt(scalar, curve.order.bytes));
  const point = ecdh.getPublicKey();
  return { x: toBigInt(point.subarray(1, 1 + curve.fieldBytes)), y: toBigInt(point.subarray(1 + curve.fieldBytes)) };
};

/** Affine addition of public points; undefined for the point at infinity. */
const addPoints = (curve: Curve, one: Point, other: Point): Point | undefined => {
  const { p, a } = curve;
  if (one.x === other.x && modulo(one.y + other.y, p) === 0n) return undefined;
  const slope =
    one.x === other.x
      ? modulo((3n * one.x * one.x + a) * invertModulo(2n * one.y, p), p)
      : modulo((other.y - one.y) * invertModulo(other.x - one.x, p), p);
  const x = modulo(slope * slope - one.x - other.x, p);
  return { x, y: modulo(slope * (one.x - x) - one.y, p) };
};

const toPublicKey = (curve: Curve, { x, y }: Point): KeyObject => {
  const field = (value: bigint): string => fromBigInt(value, curve.fieldBytes).toString('base64url');
  return createPublicKey({ key: { kty: 'EC', crv: curve.jwkName, x: field(x), y: field(y) }, format: 'jwk' });
};

/** `signature` is r‖s of twice the order's length; anything else is invalid. */
export const verifyDigest = (curve: Curve, key: KeyObject, digest: Uint8Array, signature: Uint8Array): boolean => {
  const n = curve.order.value;
  const length = curve.order.bytes;
  if (signature.length !== 2 * length) return false;
  const r = toBigInt(signature.subarray(0, length));
  const s = toBigInt(signature.subarray(length));
  if (r === 0n || r >= n || s === 0n || s >= n) return false;
  const z = toScalar(digest, curve);
  const q = toPoint(key);
  // Two messages: for one digest in 2^256 the shifted point is infinity, and never for both.
  for (const text of ['aegis prehashed ecdsa 1', 'aegis prehashed ecdsa 2']) {
    const message = Buffer.from(text);
    const t = modulo((z - chosenMessage(curve, message)) * invertModulo(r, n), n);
    const shifted = t === 0n ? q : addPoints(curve, q, timesGenerator(curve, t));
    if (shifted === undefined) continue;
    return verify(hashFor(curve), message, { key: toPublicKey(curve, shifted), dsaEncoding: 'ieee-p1363' }, signature);
  }
  return false;
};
