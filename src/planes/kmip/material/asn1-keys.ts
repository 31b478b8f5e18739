import { type CurveRow, curveOfOid, edwardsOfOid } from './curves.js';
import {
  bitString,
  bodyOf,
  DerError,
  type DerNode,
  type DerPart,
  der,
  oid,
  oidText,
  readDer,
  readSequence,
  sequence,
  smallInteger,
  TAG,
  unsigned,
  unsignedOf,
  writeDer,
} from './der.js';
import type { KeyModel } from './key-model.js';

// PKCS#1 (RFC 8017), PKCS#8 (RFC 5958), SEC 1 ECPrivateKey (RFC 5915) and SubjectPublicKeyInfo (RFC 5280 §4.1), to and from the model.

const OID = {
  rsa: '1.2.840.113549.1.1.1',
  rsaPss: '1.2.840.113549.1.1.10',
  ec: '1.2.840.10045.2.1',
  dsa: '1.2.840.10040.4.1',
  dh: '1.2.840.10046.2.1',
  pkcs3: '1.2.840.113549.1.3.1',
} as const;

const CONTEXT_0 = 0xa0;
const CONTEXT_1 = 0xa1;
const NULL: DerPart = der(TAG.null);

export const readPkcs1Private = (bytes: Uint8Array): Extract<KeyModel, { kind: 'rsa-private' }> => {
  const [version, ...numbers] = readSequence(bytes);
  // Version 1 has more than two primes (RFC 8017 §A.1.2); no root of trust uses such a key.
  if (unsignedOf(version)[0] !== 0 || numbers.length !== 8) throw new DerError('not an RSAPrivateKey of two primes');
  const [n, e, d, p, q, dp, dq, qi] = numbers.map(unsignedOf) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  return { kind: 'rsa-private', n, e, d, p, q, dp, dq, qi };
};

export const readPkcs1Public = (bytes: Uint8Array): Extract<KeyModel, { kind: 'rsa-public' }> => {
  const [n, e, ...rest] = readSequence(bytes);
  if (rest.length > 0) throw new DerError('not an RSAPublicKey');
  return { kind: 'rsa-public', n: unsignedOf(n), e: unsignedOf(e) };
};

/** `curve`: what the caller knows where the key itself does not say it. */
export const readSec1 = (bytes: Uint8Array, curve?: CurveRow): Extract<KeyModel, { kind: 'ec-private' }> => {
  const [version, scalar, ...rest] = readSequence(bytes);
  if (unsignedOf(version)[0] !== 1) throw new DerError('not an ECPrivateKey');
  const parameters = rest.find(({ tag }) => tag === CONTEXT_0);
  const named = parameters === undefined ? curve : curveOfOid(oidText(bodyOf(readDer(parameters.body), TAG.oid)));
  const given = rest.find(({ tag }) => tag === CONTEXT_1);
  if (named === undefined || (curve !== undefined && named !== curve)) throw new DerError('the curve is not known');
  const d = bodyOf(scalar, TAG.octetString);
  return { kind: 'ec-private', curve: named, d, ...(given === undefined ? {} : { point: bitsOf(readDer(given.body)) }) };
};

const bitsOf = (node: DerNode): Uint8Array => {
  const body = bodyOf(node, TAG.bitString);
  if (body[0] !== 0) throw new DerError('unused bits');
  return body.subarray(1);
};

interface Identifier {
  readonly oid: string;
  readonly parameters: DerNode | undefined;
}
const readIdentifier = (node: DerNode | undefined): Identifier => {
  const [name, parameters] = readSequence(node?.whole ?? new Uint8Array());
  return { oid: oidText(bodyOf(name, TAG.oid)), parameters };
};
const curveOf = ({ parameters }: Identifier): CurveRow => {
  const curve = curveOfOid(oidText(bodyOf(parameters, TAG.oid)));
  if (curve === undefined) throw new DerError('the curve is not known');
  return curve;
};
const dsaGroup = ({ parameters }: Identifier) => {
  const [p, q, g] = readSequence(parameters?.whole ?? new Uint8Array());
  return { p: unsignedOf(p), q: unsignedOf(q), g: unsignedOf(g) };
};
/** X9.42 (RFC 3279 §2.3.3: p, g, q, j?) or PKCS#3 (p, g, length?). */
const dhGroup = ({ oid: name, parameters }: Identifier) => {
  const [p, g, third, fourth] = readSequence(parameters?.whole ?? new Uint8Array());
  const group = { p: unsignedOf(p), g: unsignedOf(g) };
  if (name === OID.pkcs3 || third === undefined) return group;
  return { ...group, q: unsignedOf(third), ...(fourth?.tag === TAG.integer ? { j: unsignedOf(fourth) } : {}) };
};

/** PrivateKeyInfo; an encrypted one (RFC 5958 §3) is another structure and refused as such. */
export const readPkcs8 = (bytes: Uint8Array): KeyModel => {
  const [version, algorithm, key] = readSequence(bytes);
  if (version?.tag !== TAG.integer) throw new DerError('not a PrivateKeyInfo');
  const identifier = readIdentifier(algorithm);
  const inner = bodyOf(key, TAG.octetString);
  if (identifier.oid === OID.rsa || identifier.oid === OID.rsaPss) return readPkcs1Private(inner);
  if (identifier.oid === OID.ec) return readSec1(inner, curveOf(identifier));
  if (identifier.oid === OID.dsa) return { kind: 'dsa-private', ...dsaGroup(identifier), x: unsignedOf(readDer(inner)) };
  if (identifier.oid === OID.dh || identifier.oid === OID.pkcs3) {
    return { kind: 'dh-private', ...dhGroup(identifier), x: unsignedOf(readDer(inner)) };
  }
  const row = edwardsOfOid(identifier.oid);
  if (row === undefined) return { kind: 'other-private', oid: identifier.oid, pkcs8: bytes };
  const seed = bodyOf(readDer(inner), TAG.octetString);
  if (seed.length !== row.bytes) throw new DerError('a seed of another length');
  return { kind: 'edwards-private', row, seed };
};

export const readSpki = (bytes: Uint8Array): KeyModel => {
  const [algorithm, key, ...rest] = readSequence(bytes);
  if (key === undefined || rest.length > 0) throw new DerError('not a SubjectPublicKeyInfo');
  const identifier = readIdentifier(algorithm);
  const inner = bitsOf(key);
  if (identifier.oid === OID.rsa || identifier.oid === OID.rsaPss) return readPkcs1Public(inner);
  if (identifier.oid === OID.ec) return { kind: 'ec-public', curve: curveOf(identifier), point: inner };
  if (identifier.oid === OID.dsa) return { kind: 'dsa-public', ...dsaGroup(identifier), y: unsignedOf(readDer(inner)) };
  if (identifier.oid === OID.dh || identifier.oid === OID.pkcs3) {
    return { kind: 'dh-public', ...dhGroup(identifier), y: unsignedOf(readDer(inner)) };
  }
  const row = edwardsOfOid(identifier.oid);
  if (row === undefined) return { kind: 'other-public', oid: identifier.oid, spki: bytes };
  if (inner.length !== row.bytes) throw new DerError('a point of another length');
  return { kind: 'edwards-public', row, point: inner };
};

const pkcs1 = (m: Extract<KeyModel, { kind: 'rsa-private' }>): DerPart =>
  sequence(smallInteger(0), ...[m.n, m.e, m.d, m.p, m.q, m.dp, m.dq, m.qi].map(unsigned));
const pkcs1Public = (m: Extract<KeyModel, { kind: 'rsa-public' }>): DerPart => sequence(unsigned(m.n), unsigned(m.e));

/** The scalar is as long as the curve's order (RFC 5915 §3); here as long as its field, the same for every curve in use. */
const scalar = (curve: CurveRow, d: Uint8Array): DerPart => {
  const bytes = Math.ceil(curve.bits / 8);
  return der(TAG.octetString, new Uint8Array(Math.max(0, bytes - d.length)), d);
};
const sec1 = (m: Extract<KeyModel, { kind: 'ec-private' }>, withCurve: boolean): DerPart =>
  sequence(
    smallInteger(1),
    scalar(m.curve, m.d),
    ...(withCurve ? [der(CONTEXT_0, oid(m.curve.oid))] : []),
    ...(m.point === undefined ? [] : [der(CONTEXT_1, bitString(m.point))]),
  );

const dsaParameters = (m: { readonly p: Uint8Array; readonly q: Uint8Array; readonly g: Uint8Array }): DerPart =>
  sequence(unsigned(m.p), unsigned(m.q), unsigned(m.g));
const dhIdentifier = (m: Extract<KeyModel, { kind: 'dh-private' | 'dh-public' }>): DerPart =>
  m.q === undefined
    ? sequence(oid(OID.pkcs3), sequence(unsigned(m.p), unsigned(m.g)))
    : sequence(oid(OID.dh), sequence(unsigned(m.p), unsigned(m.g), unsigned(m.q), ...(m.j === undefined ? [] : [unsigned(m.j)])));

const privateKeyInfo = (identifier: DerPart, key: DerPart): Uint8Array =>
  writeDer(sequence(smallInteger(0), identifier, der(TAG.octetString, key)));

/** Undefined where the model has no such form. The caller overwrites the result. */
export const writePkcs1 = (model: KeyModel): Uint8Array | undefined => {
  if (model.kind === 'rsa-private') return writeDer(pkcs1(model));
  return model.kind === 'rsa-public' ? writeDer(pkcs1Public(model)) : undefined;
};
export const writeSec1 = (model: KeyModel): Uint8Array | undefined =>
  model.kind === 'ec-private' ? writeDer(sec1(model, true)) : undefined;

export const writePkcs8 = (model: KeyModel): Uint8Array | undefined => {
  switch (model.kind) {
    case 'rsa-private':
      return privateKeyInfo(sequence(oid(OID.rsa), NULL), pkcs1(model));
    case 'ec-private':
      return privateKeyInfo(sequence(oid(OID.ec), oid(model.curve.oid)), sec1(model, false));
    case 'edwards-private':
      return privateKeyInfo(sequence(oid(model.row.oid)), der(TAG.octetString, model.seed));
    case 'dsa-private':
      return privateKeyInfo(sequence(oid(OID.dsa), dsaParameters(model)), unsigned(model.x));
    case 'dh-private':
      return privateKeyInfo(dhIdentifier(model), unsigned(model.x));
    case 'other-private':
      return new Uint8Array(model.pkcs8);
    default:
      return undefined;
  }
};

export const writeSpki = (model: KeyModel): Uint8Array | undefined => {
  switch (model.kind) {
    case 'rsa-public':
      return writeDer(sequence(sequence(oid(OID.rsa), NULL), bitString(pkcs1Public(model))));
    case 'ec-public':
      return writeDer(sequence(sequence(oid(OID.ec), oid(model.curve.oid)), bitString(model.point)));
    case 'edwards-public':
      return writeDer(sequence(sequence(oid(model.row.oid)), bitString(model.point)));
    case 'dsa-public':
      return writeDer(sequence(sequence(oid(OID.dsa), dsaParameters(model)), bitString(unsigned(model.y))));
    case 'dh-public':
      return writeDer(sequence(dhIdentifier(model), bitString(unsigned(model.y))));
    case 'other-public':
      return new Uint8Array(model.spki);
    default:
      return undefined;
  }
};
