import { ECDH } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import { refuse } from '../contract.js';
import {
  readPkcs1Private,
  readPkcs1Public,
  readPkcs8,
  readSec1,
  readSpki,
  writePkcs1,
  writePkcs8,
  writeSec1,
  writeSpki,
} from './asn1-keys.js';
import { type CurveRow, EDWARDS } from './curves.js';
import { DerError } from './der.js';
import { isPrivate, type KeyModel, type Wiper } from './key-model.js';
import { isTransparent, readTransparent, writeTransparent } from './transparent.js';

// Key Format Types (KMIP 2.1 §11.25) to and from the model. A name, or the number of an extension.

export type KeyFormat = string | number;
export type Material = Uint8Array | Fields;

/** What the request says beside the material, where an encoding alone does not tell. */
export interface FormatHints {
  readonly side: 'symmetric' | 'private' | 'public';
  readonly algorithm?: unknown;
  readonly curve?: CurveRow;
}

const needBytes = (material: Material): Uint8Array => {
  if (!(material instanceof Uint8Array)) throw refuse('InvalidField', 'The Key Material is a byte string in this Key Format Type.');
  if (material.length === 0) throw refuse('InvalidField', 'The Key Material is empty.');
  return material;
};

/** Raw keys of a pair: the bytes RFC 8032 and RFC 7748 speak of, and the X9.62 point or scalar where the curve is known. */
const readRawPair = (bytes: Uint8Array, hints: FormatHints): KeyModel | undefined => {
  const row = EDWARDS.find(
    ({ algorithm, bytes: length }) => algorithm === hints.algorithm && algorithm !== 'ECDH' && length === bytes.length,
  );
  if (row !== undefined) {
    return hints.side === 'private' ? { kind: 'edwards-private', row, seed: bytes } : { kind: 'edwards-public', row, point: bytes };
  }
  if (hints.curve === undefined) return undefined;
  return hints.side === 'private'
    ? { kind: 'ec-private', curve: hints.curve, d: bytes }
    : { kind: 'ec-public', curve: hints.curve, point: bytes };
};

const readAsn1 = (format: KeyFormat, bytes: Uint8Array, hints: FormatHints): KeyModel | undefined => {
  switch (format) {
    case 'PKCS_1':
      return hints.side === 'private' ? readPkcs1Private(bytes) : readPkcs1Public(bytes);
    case 'PKCS_8':
      return readPkcs8(bytes);
    case 'X_509':
      return readSpki(bytes);
    case 'ECPrivateKey':
      return readSec1(bytes, hints.curve);
    default:
      return undefined;
  }
};

/**
 * The key in the material; undefined where the format says nothing of its inside (Opaque, extensions, a raw key of an unknown
 * kind). Malformed structures are refused, except that an ASN.1 key which cannot be read here is undefined too: what a
 * client registered is kept and given back even when nobody here can use it.
 * @throws KmipRefusal Invalid Field
 */
export const readMaterial = (format: KeyFormat, material: Material, hints: FormatHints, wiper: Wiper): KeyModel | undefined => {
  if (isTransparent(format)) {
    if (material instanceof Uint8Array) throw refuse('InvalidField', 'The Key Material of a Transparent key is a structure.');
    const model = readTransparent(format, material, hints.algorithm, wiper);
    if (isPrivate(model) !== (hints.side === 'private')) throw refuse('InvalidField', 'The Key Format Type does not fit the object.');
    return model;
  }
  const bytes = needBytes(material);
  if (format === 'Raw' && hints.side === 'symmetric') return { kind: 'symmetric', key: bytes };
  if (format === 'Raw') return readRawPair(bytes, hints);
  try {
    const model = readAsn1(format, bytes, hints);
    return model === undefined || isPrivate(model) === (hints.side === 'private') ? model : undefined;
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
};

const writeRaw = (model: KeyModel): Uint8Array | undefined => {
  switch (model.kind) {
    case 'symmetric':
      return new Uint8Array(model.key);
    case 'edwards-private':
      return new Uint8Array(model.seed);
    case 'edwards-public':
    case 'ec-public':
      return new Uint8Array(model.point);
    case 'ec-private': {
      const out = new Uint8Array(Math.max(Math.ceil(model.curve.bits / 8), model.d.length));
      out.set(model.d, out.length - model.d.length);
      return out;
    }
    default:
      return undefined;
  }
};

/** Fresh bytes (the caller overwrites them) or undefined where the key has no such format. */
export const writeMaterial = (format: KeyFormat, model: KeyModel): Material | undefined => {
  if (isTransparent(format)) return writeTransparent(format, model);
  switch (format) {
    case 'Raw':
      return writeRaw(model);
    case 'PKCS_1':
      return writePkcs1(model);
    case 'PKCS_8':
      return writePkcs8(model);
    case 'X_509':
      return writeSpki(model);
    case 'ECPrivateKey':
      return writeSec1(model);
    default:
      return undefined;
  }
};

const COMPRESSIONS: Readonly<Record<string, 'uncompressed' | 'compressed' | 'hybrid'>> = {
  ECPublicKeyTypeUncompressed: 'uncompressed',
  ECPublicKeyTypeX9_62CompressedPrime: 'compressed',
  ECPublicKeyTypeX9_62CompressedChar2: 'compressed',
  ECPublicKeyTypeX9_62Hybrid: 'hybrid',
};
const isBinaryCurve = ({ openssl }: CurveRow): boolean => /^(sect|c2)/.test(openssl);

/**
 * The public key with its point in another form (Key Compression Type, KMIP 2.1 §11.24).
 * @throws KmipRefusal Key Compression Type Not Supported
 */
export const compressed = (model: KeyModel, type: unknown): KeyModel => {
  const form = typeof type === 'string' && Object.hasOwn(COMPRESSIONS, type) ? COMPRESSIONS[type] : undefined;
  const fits =
    model.kind === 'ec-public' &&
    (form !== 'compressed' || isBinaryCurve(model.curve) === (type === 'ECPublicKeyTypeX9_62CompressedChar2'));
  if (model.kind !== 'ec-public' || form === undefined || !fits) {
    throw refuse('KeyCompressionTypeNotSupported', 'The key has no such compressed form.');
  }
  try {
    const point = ECDH.convertKey(model.point, model.curve.openssl, undefined, undefined, form);
    return { ...model, point: new Uint8Array(point as Buffer) };
  } catch {
    throw refuse('KeyCompressionTypeNotSupported', 'The point of the key cannot be converted.');
  }
};

/** Which form a point is in, as Key Compression Type names it. */
export const compressionOf = (model: KeyModel): string | undefined => {
  if (model.kind !== 'ec-public') return undefined;
  const form = model.point[0];
  if (form === 2 || form === 3)
    return isBinaryCurve(model.curve) ? 'ECPublicKeyTypeX9_62CompressedChar2' : 'ECPublicKeyTypeX9_62CompressedPrime';
  return form === 6 || form === 7 ? 'ECPublicKeyTypeX9_62Hybrid' : undefined;
};
