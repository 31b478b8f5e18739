import type { Fields } from '@aegis/kmip-ttlv';
import { refuse } from '../contract.js';
import { type CurveRow, curveNamed, edwardsOf } from './curves.js';
import { trimmed } from './der.js';
import type { DhGroup, KeyModel, Wiper } from './key-model.js';
import { completeRsa, type RsaParts } from './rsa-completion.js';

// Transparent keys (KMIP 2.1 §3.4–3.12, 1.4 §2.1.7): Key Material as a structure of numbers.

const missing = (name: string) => refuse('InvalidField', `The Key Material has no ${name}.`);

const numberIn = (material: Fields, name: string): Uint8Array | undefined => {
  const value = material[name];
  if (value === undefined) return undefined;
  if (!(value instanceof Uint8Array)) throw refuse('InvalidField', `${name} is not a Big Integer.`);
  // The sign is not looked at: no number of a key is negative, and some clients leave the leading zero out.
  return trimmed(value);
};
const need = (material: Fields, name: string): Uint8Array => {
  const value = numberIn(material, name);
  if (value === undefined || value.length === 0) throw missing(name);
  return value;
};
const optional = <K extends string>(key: K, value: Uint8Array | undefined) =>
  (value === undefined ? {} : { [key]: value }) as { readonly [N in K]?: Uint8Array };

const rsaParts = (m: Fields): RsaParts => ({
  n: need(m, 'Modulus'),
  ...optional('e', numberIn(m, 'PublicExponent')),
  ...optional('d', numberIn(m, 'PrivateExponent')),
  ...optional('p', numberIn(m, 'P')),
  ...optional('q', numberIn(m, 'Q')),
  ...optional('dp', numberIn(m, 'PrimeExponentP')),
  ...optional('dq', numberIn(m, 'PrimeExponentQ')),
  ...optional('qi', numberIn(m, 'CRTCoefficient')),
});
const dhGroup = (m: Fields): DhGroup => ({
  p: need(m, 'P'),
  g: need(m, 'G'),
  ...optional('q', numberIn(m, 'Q')),
  ...optional('j', numberIn(m, 'J')),
});
const dsaGroup = (m: Fields) => ({ p: need(m, 'P'), q: need(m, 'Q'), g: need(m, 'G') });

const curveIn = (m: Fields): CurveRow => {
  const curve = curveNamed(m['RecommendedCurve']);
  if (curve === undefined) throw refuse('InvalidField', 'The Recommended Curve is absent or not known.');
  return curve;
};

const ecPrivate = (m: Fields, algorithm: unknown, wiper: Wiper): KeyModel => {
  const row = edwardsOf(m['RecommendedCurve'], algorithm);
  if (row === undefined) return { kind: 'ec-private', curve: curveIn(m), d: need(m, 'D') };
  const given = need(m, 'D');
  if (given.length > row.bytes) throw refuse('InvalidField', 'D is longer than the curve.');
  const seed = wiper.take(new Uint8Array(row.bytes));
  seed.set(given, row.bytes - given.length);
  return { kind: 'edwards-private', row, seed };
};
const ecPublic = (m: Fields, algorithm: unknown): KeyModel => {
  const point = m['QString'];
  if (!(point instanceof Uint8Array) || point.length === 0) throw missing('Q String');
  const row = edwardsOf(m['RecommendedCurve'], algorithm);
  if (row === undefined) return { kind: 'ec-public', curve: curveIn(m), point };
  if (point.length !== row.bytes) throw refuse('InvalidField', 'Q String is not as long as the curve.');
  return { kind: 'edwards-public', row, point };
};

/** Formats whose Key Material is a structure, and which of them are private. */
const TRANSPARENT_FORMATS = {
  TransparentSymmetricKey: 'symmetric',
  TransparentDSAPrivateKey: 'dsa-private',
  TransparentDSAPublicKey: 'dsa-public',
  TransparentRSAPrivateKey: 'rsa-private',
  TransparentRSAPublicKey: 'rsa-public',
  TransparentDHPrivateKey: 'dh-private',
  TransparentDHPublicKey: 'dh-public',
  TransparentECDSAPrivateKey: 'ec-private',
  TransparentECDSAPublicKey: 'ec-public',
  TransparentECDHPrivateKey: 'ec-private',
  TransparentECDHPublicKey: 'ec-public',
  TransparentECMQVPrivateKey: 'ec-private',
  TransparentECMQVPublicKey: 'ec-public',
  TransparentECPrivateKey: 'ec-private',
  TransparentECPublicKey: 'ec-public',
} as const;
export type TransparentFormat = keyof typeof TRANSPARENT_FORMATS;
export const isTransparent = (format: unknown): format is TransparentFormat =>
  typeof format === 'string' && Object.hasOwn(TRANSPARENT_FORMATS, format);

/** Some formats name the algorithm themselves; on a Montgomery curve ECDSA could only mean Edwards. */
const algorithmOf = (format: TransparentFormat, algorithm: unknown): unknown =>
  format.startsWith('TransparentECDSA') ? 'ECDSA' : (algorithm ?? 'EC');

/** @throws KmipRefusal Invalid Field */
export const readTransparent = (format: TransparentFormat, material: Fields, algorithm: unknown, wiper: Wiper): KeyModel => {
  switch (TRANSPARENT_FORMATS[format]) {
    case 'symmetric': {
      const key = material['Key'];
      if (!(key instanceof Uint8Array)) throw missing('Key');
      return { kind: 'symmetric', key };
    }
    case 'rsa-private':
      return completeRsa(rsaParts(material));
    case 'rsa-public':
      return { kind: 'rsa-public', n: need(material, 'Modulus'), e: need(material, 'PublicExponent') };
    case 'dsa-private':
      return { kind: 'dsa-private', ...dsaGroup(material), x: need(material, 'X') };
    case 'dsa-public':
      return { kind: 'dsa-public', ...dsaGroup(material), y: need(material, 'Y') };
    case 'dh-private':
      return { kind: 'dh-private', ...dhGroup(material), x: need(material, 'X') };
    case 'dh-public':
      return { kind: 'dh-public', ...dhGroup(material), y: need(material, 'Y') };
    case 'ec-private':
      return ecPrivate(material, algorithmOf(format, algorithm), wiper);
    case 'ec-public':
      return ecPublic(material, algorithmOf(format, algorithm));
  }
};

/** A Big Integer: a sign bit of zero, extended to a multiple of eight bytes (KMIP 1.4 §9.1.1.4). */
const bigInteger = (bytes: Uint8Array): Uint8Array => {
  const value = trimmed(bytes);
  const length = Math.ceil((value.length + ((value[0] ?? 0) >= 0x80 ? 1 : 0)) / 8) * 8;
  const out = new Uint8Array(Math.max(8, length));
  out.set(value, out.length - value.length);
  return out;
};
const number = (name: string, bytes: Uint8Array | undefined): Fields => (bytes === undefined ? {} : { [name]: bigInteger(bytes) });
const group = (m: DhGroup): Fields => ({ ...number('P', m.p), ...number('Q', m.q), ...number('G', m.g), ...number('J', m.j) });

/** Undefined when the key is of another kind than the format. Every byte array in it is fresh. */
export const writeTransparent = (format: TransparentFormat, model: KeyModel): Fields | undefined => {
  const wanted = TRANSPARENT_FORMATS[format];
  if (model.kind === 'edwards-private' && wanted === 'ec-private') {
    return { RecommendedCurve: model.row.curve, ...number('D', model.seed) };
  }
  if (model.kind === 'edwards-public' && wanted === 'ec-public') {
    return { RecommendedCurve: model.row.curve, QString: new Uint8Array(model.point) };
  }
  return model.kind === wanted ? fieldsOf(model) : undefined;
};

const fieldsOf = (m: KeyModel): Fields | undefined => {
  switch (m.kind) {
    case 'symmetric':
      return { Key: new Uint8Array(m.key) };
    case 'rsa-private':
      return {
        ...number('Modulus', m.n),
        ...number('PrivateExponent', m.d),
        ...number('PublicExponent', m.e),
        ...number('P', m.p),
        ...number('Q', m.q),
        ...number('PrimeExponentP', m.dp),
        ...number('PrimeExponentQ', m.dq),
        ...number('CRTCoefficient', m.qi),
      };
    case 'rsa-public':
      return { ...number('Modulus', m.n), ...number('PublicExponent', m.e) };
    case 'dsa-private':
    case 'dh-private':
      return { ...group(m), ...number('X', m.x) };
    case 'dsa-public':
    case 'dh-public':
      return { ...group(m), ...number('Y', m.y) };
    case 'ec-private':
      return { RecommendedCurve: m.curve.name, ...number('D', m.d) };
    case 'ec-public':
      return { RecommendedCurve: m.curve.name, QString: new Uint8Array(m.point) };
    default:
      return undefined;
  }
};
