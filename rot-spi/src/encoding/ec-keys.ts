import { createECDH } from 'node:crypto';
import { RootFault } from '../fault.js';
import type { KeySpecRow } from '../vocabulary/index.js';
import { type Curve, curveNamed } from './curves.js';
import { BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, readAlgorithm, readDer, readSequence, SEQUENCE, writeDer } from './der.js';
import { fromBigInt, modulo, powerModulo, toBigInt } from './modular.js';

/**
 * EC keys as they come from outside. They are read here before any library sees them: Node.js aborts (an assertion in
 * GetEcKeyDetail) on a key object whose point is not on its curve, and a hostile key must not end the process.
 */
const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the key is not valid: ${what}`);

/** id-ecPublicKey (RFC 5480 §2.1.1), hex of the OID's content. */
export const EC_PUBLIC_KEY = '2a8648ce3d0201';
const PUBLIC_KEY_TAG = 0xa1;

type AlgorithmOids = NonNullable<ReturnType<typeof readAlgorithm>>;

/** X9.62 point → SubjectPublicKeyInfo with the point uncompressed. Everything wrong is found here, before OpenSSL. */
export const toEcSpki = (curve: Curve, point: Uint8Array): Buffer => {
  const { p, a, b, fieldBytes } = curve;
  const form = point[0];
  const compressed = form === 2 || form === 3;
  if (!(compressed || form === 4) || point.length !== 1 + fieldBytes * (compressed ? 1 : 2))
    throw malformed('its point is not in X9.62 form');
  const x = toBigInt(point.subarray(1, 1 + fieldBytes));
  if (x >= p) throw malformed('its point is not on the curve');
  const square = modulo(x * x * x + a * x + b, p);
  // p ≡ 3 (mod 4) for every curve here, so a root is a power.
  let y = compressed ? powerModulo(square, (p + 1n) / 4n, p) : toBigInt(point.subarray(1 + fieldBytes));
  if (y >= p || modulo(y * y, p) !== square) throw malformed('its point is not on the curve');
  if (compressed && (y & 1n) !== BigInt(form & 1)) y = p - y;
  const uncompressed = Buffer.concat([Buffer.from([4]), fromBigInt(x, fieldBytes), fromBigInt(y, fieldBytes)]);
  const algorithm = writeDer(SEQUENCE, writeDer(OBJECT_IDENTIFIER, Buffer.from(EC_PUBLIC_KEY, 'hex')), curve.oid);
  return writeDer(SEQUENCE, algorithm, writeDer(BIT_STRING, Buffer.alloc(1), uncompressed));
};

/** The parts of one SubjectPublicKeyInfo (RFC 5280 §4.1). */
export const readSpki = (spki: Uint8Array): { readonly algorithm: AlgorithmOids; readonly point: Uint8Array } => {
  const parts = readSequence(spki);
  const [identifier, key] = parts ?? [];
  const algorithm = readAlgorithm(identifier);
  if (parts?.length !== 2 || algorithm === undefined || key?.tag !== BIT_STRING || key.content[0] !== 0)
    throw malformed('it is not one SubjectPublicKeyInfo');
  return { algorithm, point: key.content.subarray(1) };
};

/** Named curves only: explicit parameters let the sender choose the generator (CVE-2020-0601). */
export const curveOf = (spec: KeySpecRow, algorithm: AlgorithmOids): Curve => {
  const curve = curveNamed(spec.curve);
  const named = algorithm.oid === EC_PUBLIC_KEY && algorithm.parameter === curve?.oid.subarray(2).toString('hex');
  if (curve === undefined || !named) throw malformed(`it is not on ${spec.curve}`);
  return curve;
};

/** The parts of one PrivateKeyInfo (RFC 5958 §2); attributes and an outer public key are left to the library. */
export const readPrivateKeyInfo = (der: Uint8Array): { readonly algorithm: AlgorithmOids; readonly key: Uint8Array } => {
  const [version, identifier, key] = readSequence(der) ?? [];
  const algorithm = readAlgorithm(identifier);
  if (version?.tag !== INTEGER || algorithm === undefined || key?.tag !== OCTET_STRING)
    throw malformed('it is not one PKCS#8 PrivateKeyInfo');
  return { algorithm, key: key.content };
};

/** ECPrivateKey (RFC 5915 §3): scalar, and the public point where one is embedded. */
const readEcPrivateKey = (der: Uint8Array): { readonly scalar: Uint8Array; readonly point?: Uint8Array } => {
  const [version, scalar, ...rest] = readSequence(der) ?? [];
  if (version?.tag !== INTEGER || scalar?.tag !== OCTET_STRING) throw malformed('it is not an ECPrivateKey');
  const given = rest.find((part) => part.tag === PUBLIC_KEY_TAG);
  if (given === undefined) return { scalar: scalar.content };
  const bits = readDer(given.content);
  if (bits?.tag !== BIT_STRING || bits.end !== given.content.length || bits.content[0] !== 0)
    throw malformed('its public key is not a BIT STRING');
  return { scalar: scalar.content, point: bits.content.subarray(1) };
};

/** ECPrivateKey with the named curve and the public point. The caller zeroes it. */
export const writeEcPrivateKey = (curve: Curve, scalar: Uint8Array, point: Uint8Array): Buffer => {
  const octets = writeDer(OCTET_STRING, scalar);
  const publicKey = writeDer(PUBLIC_KEY_TAG, writeDer(BIT_STRING, Buffer.alloc(1), point));
  const der = writeDer(SEQUENCE, writeDer(INTEGER, Buffer.from([1])), octets, writeDer(0xa0, curve.oid), publicKey);
  octets.fill(0);
  return der;
};

/** Throws RootFault `invalid-argument` unless the point of a public EC key is on the curve of its spec. */
export const checkEcPublicKey = (spec: KeySpecRow, spki: Uint8Array): void => {
  const { algorithm, point } = readSpki(spki);
  toEcSpki(curveOf(spec, algorithm), point);
};

/**
 * A private key with the point computed from its scalar: an embedded one that does not match would make signatures
 * under one key verify under another. The caller zeroes the scalar. Throws RootFault `invalid-argument`.
 */
export const openEcPrivateKey = (
  spec: KeySpecRow,
  pkcs8: Uint8Array,
): { readonly curve: Curve; readonly scalar: Buffer; readonly point: Buffer } => {
  const { algorithm, key } = readPrivateKeyInfo(pkcs8);
  const curve = curveOf(spec, algorithm);
  const given = readEcPrivateKey(key);
  const scalar = Buffer.alloc(curve.order.bytes);
  if (given.scalar.length > scalar.length) throw malformed('the private key is out of range');
  scalar.set(given.scalar, scalar.length - given.scalar.length);
  const point = pointOf(curve, scalar);
  const matches = given.point === undefined || toEcSpki(curve, given.point).equals(toEcSpki(curve, point));
  if (matches) return { curve, scalar, point };
  scalar.fill(0);
  throw malformed('the public key does not match the private key');
};

const pointOf = (curve: Curve, scalar: Buffer): Buffer => {
  const ecdh = createECDH(curve.name);
  try {
    ecdh.setPrivateKey(scalar);
    return ecdh.getPublicKey();
  } catch {
    scalar.fill(0);
    throw malformed('the private key is out of range');
  }
};

/** Throws RootFault `invalid-argument` unless `openEcPrivateKey` takes it. */
export const checkEcPrivateKey = (spec: KeySpecRow, pkcs8: Uint8Array): void => {
  openEcPrivateKey(spec, pkcs8).scalar.fill(0);
};
