import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { RootFault } from '../fault.js';
import { KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { readSequence, readTlv, readUnsigned, sequence, tlv, unsignedInteger } from './der.js';

/** Object identifiers, DER with tag and length. */
const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));
const RSA_ENCRYPTION = oid('2a864886f70d010101');
const EC_PUBLIC_KEY = oid('2a8648ce3d0201');
const DER_NULL = Buffer.from([0x05, 0x00]);

interface CurveRow {
  /** CKA_EC_PARAMS: namedCurve OID. */
  readonly params: Buffer;
  /** Bytes of a coordinate and of the group order. */
  readonly width: number;
}
const curve = (hex: string, width: number): CurveRow => ({ params: oid(hex), width });

const CURVES: Readonly<Partial<Record<KeySpec, CurveRow>>> = {
  'ec-p256': curve('2a8648ce3d030107', 32),
  'ec-p384': curve('2b81040022', 48),
  'ec-p521': curve('2b81040023', 66),
  'ec-secp256k1': curve('2b8104000a', 32),
  ed25519: curve('2b6570', 32),
  ed448: curve('2b6571', 57),
  x25519: curve('2b656e', 32),
  x448: curve('2b656f', 56),
};
export const curveOf = (spec: KeySpec): CurveRow => {
  const row = CURVES[spec];
  if (row === undefined) throw new RootFault('unsupported', `${spec} is not a curve this back end knows`);
  return row;
};
/** Before RFC 8410 the curve was a name (PKCS#11 v3.0 §6.3.5 curveName); some modules know only that. */
export const printableCurve = (spec: KeySpec): Buffer => {
  const names: Readonly<Partial<Record<KeySpec, string>>> = {
    ed25519: 'edwards25519',
    ed448: 'edwards448',
    x25519: 'curve25519',
    x448: 'curve448',
  };
  return tlv(0x13, Buffer.from(names[spec] ?? '', 'ascii'));
};

export const rsaToSpki = (modulus: Buffer, exponent: Buffer): Buffer =>
  sequence(sequence(RSA_ENCRYPTION, DER_NULL), tlv(0x03, Buffer.of(0), sequence(unsignedInteger(modulus), unsignedInteger(exponent))));

/** `point`: uncompressed point for EC, the encoded public key for Edwards and Montgomery curves (RFC 8410 §4). */
export const pointToSpki = (spec: KeySpec, point: Buffer): Buffer => {
  const { params } = curveOf(spec);
  const algorithm = KEY_SPECS[spec].family === 'ec' ? sequence(EC_PUBLIC_KEY, params) : sequence(params);
  return sequence(algorithm, tlv(0x03, Buffer.of(0), point));
};

/** CKA_EC_POINT is a DER OCTET STRING (v2.40 §2.3.3); v3.0 Edwards keys and some modules hold the point itself. */
export const pointFromAttribute = (spec: KeySpec, value: Buffer): Buffer => {
  const { width } = curveOf(spec);
  const expected = KEY_SPECS[spec].family === 'ec' ? 2 * width + 1 : width;
  if (value.length === expected) return value;
  const outer = readTlv(value, 0);
  const content = outer.tag === 0x03 ? outer.content.subarray(1) : outer.content;
  if (content.length !== expected) throw new RootFault('internal', 'the module returned a public point of unexpected length');
  return content;
};

export interface RsaPublic {
  readonly modulus: Buffer;
  readonly exponent: Buffer;
}
const subjectPublicKey = (spki: Buffer): Buffer => {
  const bits = readSequence(spki)[1];
  if (bits?.tag !== 0x03 || bits.content[0] !== 0) throw new RootFault('invalid-argument', 'malformed SubjectPublicKeyInfo');
  return bits.content.subarray(1);
};
export const rsaFromSpki = (spki: Buffer): RsaPublic => {
  const [modulus, exponent] = readSequence(subjectPublicKey(spki));
  return { modulus: readUnsigned(modulus), exponent: readUnsigned(exponent) };
};
export const pointFromSpki = (spki: Buffer): Buffer => subjectPublicKey(spki);

const KEY_TYPES: Readonly<Record<string, string>> = { rsa: 'rsa', ec: 'ec' };

const checkKind = (key: KeyObject, spec: KeySpec): void => {
  const row = KEY_SPECS[spec];
  const expected = KEY_TYPES[row.family] ?? row.curve;
  if (key.asymmetricKeyType !== expected) throw new RootFault('invalid-argument', `the key is not an ${spec} key`);
  const details = key.asymmetricKeyDetails;
  if (row.family === 'rsa' && details?.modulusLength !== row.bits)
    throw new RootFault('invalid-argument', `the key has ${details?.modulusLength} bits, not ${row.bits}`);
  if (row.family === 'ec' && details?.namedCurve !== row.curve)
    throw new RootFault('invalid-argument', `the key is on ${details?.namedCurve ?? 'an unknown curve'}, not ${row.curve}`);
};

/** Checks that the DER is a public key of this spec, on its curve, and returns the one canonical encoding of it. */
export const canonicalSpki = (spki: Uint8Array, spec: KeySpec): Buffer => {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    throw new RootFault('invalid-argument', 'the public key is not a valid SubjectPublicKeyInfo');
  }
  checkKind(key, spec);
  if (KEY_SPECS[spec].family !== 'ec') return key.export({ format: 'der', type: 'spki' });
  // A compressed point would be refused by most modules; the JWK form has both coordinates.
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  return pointToSpki(spec, Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]));
};

export interface PrivateParts {
  readonly spki: Buffer;
  /** Private value of EC (big-endian, full width) and Edwards keys. */
  readonly value?: Buffer;
  /** n, e, d, p, q, dp, dq, qi. */
  readonly rsa?: readonly Buffer[];
  /** PrivateKeyInfo with the public key inside, zeroised by the caller. */
  readonly pkcs8: Buffer;
}

/**
 * A module that is built on OpenSSL (SoftHSM) may share Node's error queue and leave in it what a signature that did not verify put there;
 * Node takes whatever is in the queue for a failure of its own parsing, and empties it. So what fails is tried again with the queue empty.
 */
const privateKeyFrom = (der: Buffer): KeyObject => {
  const input = { key: der, format: 'der', type: 'pkcs8' } as const;
  try {
    return createPrivateKey(input);
  } catch {
    return createPrivateKey(input);
  }
};

const parsePrivate = (pkcs8: Buffer, spec: KeySpec): KeyObject => {
  try {
    return privateKeyFrom(pkcs8);
  } catch {
    throw new RootFault('invalid-argument', `the material is not a valid PKCS#8 ${spec} key`);
  }
};

/** Takes PKCS#8 apart into what C_CreateObject wants. The buffers hold the private key: overwrite them after use. */
export const readPkcs8 = (material: Uint8Array, spec: KeySpec): PrivateParts => {
  const key = parsePrivate(Buffer.from(material.buffer, material.byteOffset, material.byteLength), spec);
  checkKind(key, spec);
  const pkcs8 = key.export({ format: 'der', type: 'pkcs8' });
  const exported = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const spki = canonicalSpki(exported, spec);
  const inner = readSequence(pkcs8)[2]?.content ?? Buffer.alloc(0);
  const { family } = KEY_SPECS[spec];
  if (family === 'rsa') return { spki, pkcs8, rsa: readSequence(inner).slice(1, 9).map(readUnsigned) };
  if (family === 'ec') {
    const secret = readSequence(inner)[1]?.content ?? Buffer.alloc(0);
    const value = Buffer.alloc(curveOf(spec).width);
    secret.copy(value, value.length - secret.length);
    return { spki, pkcs8, value };
  }
  return { spki, pkcs8, value: Buffer.from(readTlv(inner, 0).content) };
};

/** Private value → PKCS#8, for modules that export a value and not a PKCS#8. */
export const valueToPkcs8 = (spec: KeySpec, value: Buffer): Buffer => {
  const version = Buffer.from([0x02, 0x01, 0x00]);
  const { params } = curveOf(spec);
  if (KEY_SPECS[spec].family === 'ec') {
    const ecPrivateKey = sequence(Buffer.from([0x02, 0x01, 0x01]), tlv(0x04, value));
    return sequence(version, sequence(EC_PUBLIC_KEY, params), tlv(0x04, ecPrivateKey));
  }
  return sequence(version, sequence(params), tlv(0x04, tlv(0x04, value)));
};

/** A module's PKCS#8 (optional fields missing, trailing padding of KW) → complete PKCS#8 of the expected key. */
export const normalisePkcs8 = (pkcs8: Buffer, spec: KeySpec): Buffer => {
  const exact = pkcs8.subarray(0, readTlv(pkcs8, 0).end);
  const key = privateKeyFrom(exact);
  checkKind(key, spec);
  return key.export({ format: 'der', type: 'pkcs8' });
};
