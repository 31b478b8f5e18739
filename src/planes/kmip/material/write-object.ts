import { compareVersions, type Fields, type KmipVersion, type Value } from '@aegis/kmip-ttlv';
import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject } from '../../../domain/index.js';
import { algorithmOfSpec } from '../attributes/key-spec.js';
import { storedOne } from '../attributes/stored-values.js';
import { refuse } from '../contract.js';
import { readPkcs8, readSpki } from './asn1-keys.js';
import { curveNamed } from './curves.js';
import { DerError } from './der.js';
import { compressed, type FormatHints, type KeyFormat, type Material, readMaterial, writeMaterial } from './formats.js';
import { factsOf, type KeyModel, type Wiper } from './key-model.js';
import { decodeKeyValue } from './key-value.js';
import type { StoredBlock } from './stored-block.js';

// Material of the key service → the object of a response, in the format asked for.

/** Bytes as `export-key` gives them. */
export interface Exported {
  readonly format: 'raw' | 'pkcs8' | 'spki' | 'x509' | 'opaque' | 'wrapped';
  readonly material: Uint8Array;
}

const notSupported = () => refuse('KeyFormatTypeNotSupported', 'The object cannot be given in that Key Format Type.');

/** Formats that 2.0 and 1.3 renamed: the three kinds of elliptic curve became one. */
const RENAMED = /^TransparentEC(DSA|DH|MQV)?(Private|Public)Key$/;
/** Which name of a format a version has. */
const formatIn = (version: KmipVersion, format: KeyFormat): KeyFormat => {
  const match = typeof format === 'string' ? RENAMED.exec(format) : null;
  if (match === null) return format;
  const [, kind, side] = match;
  if (compareVersions(version, '2.0') >= 0) return `TransparentEC${side}Key`;
  return kind === undefined && compareVersions(version, '1.3') < 0 ? `TransparentECDSA${side}Key` : format;
};

/** What an object made here is given as, where its default of 2.1 (Table 81) is a structure that 1.x clients did not expect. */
const usualFormat = (block: StoredBlock, object: ManagedObject, version: KmipVersion): KeyFormat => {
  const made = object.attributes['kmip:~block'] === undefined;
  // TC-CREATE-SD-1: secret data made here is opaque in 1.x; Table 81 of 2.1 has Raw.
  if (made && object.type === 'secret-data' && compareVersions(version, '2.0') < 0) return 'Opaque';
  if (!made || compareVersions(version, '2.0') >= 0 || typeof block.format !== 'string' || !RENAMED.test(block.format)) return block.format;
  return object.type === 'private-key' ? 'ECPrivateKey' : 'X_509';
};

const modelOf = (exported: Exported): KeyModel => {
  const { format, material } = exported;
  try {
    if (format === 'pkcs8') return readPkcs8(material);
    if (format === 'spki') return readSpki(material);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw notSupported();
  }
  return { kind: 'symmetric', key: material };
};

const sideOf = (object: ManagedObject): FormatHints['side'] =>
  object.type === 'private-key' ? 'private' : object.type === 'public-key' ? 'public' : 'symmetric';

const hintsOf = (block: StoredBlock, object: ManagedObject): FormatHints => {
  const curve = curveNamed(block.curve);
  return { side: sideOf(object), algorithm: block.algorithm, ...(curve === undefined ? {} : { curve }) };
};

/** The key itself, however it is held. @throws KmipRefusal Key Format Type Not Supported where nobody here can read it */
export const modelFor = (block: StoredBlock, object: ManagedObject, exported: Exported, wiper: Wiper): KeyModel => {
  if (block.holds === 'key') return modelOf(exported);
  const material = block.holds === 'ttlv' ? (decodeKeyValue(exported.material, '2.1')['KeyMaterial'] as Material) : exported.material;
  const model = block.wrapping === undefined ? readMaterial(block.format, material, hintsOf(block, object), wiper) : undefined;
  if (model === undefined) throw notSupported();
  return model;
};

/** Sealed as it came; another format is tried when the kind is known all the same. */
const keptMaterial = (block: StoredBlock, object: ManagedObject, bytes: Uint8Array, format: KeyFormat, wiper: Wiper): Material => {
  const material = block.holds === 'ttlv' ? (decodeKeyValue(bytes, '2.1')['KeyMaterial'] as Material) : bytes;
  if (format === block.format) return material;
  const model = readMaterial(block.format, material, hintsOf(block, object), wiper);
  const written = model === undefined ? undefined : writeMaterial(format, model);
  if (written === undefined) throw notSupported();
  return written;
};

export interface Wanted {
  readonly version: KmipVersion;
  readonly format?: KeyFormat;
  readonly compression?: string | number;
}

/** A format that this version and this kind of object do not have is as unsupported as any other. */
const rawAlias = (object: ManagedObject, block: StoredBlock, format: KeyFormat): KeyFormat => {
  // Bytes without structure are the same bytes under either name.
  const plain =
    object.type === 'secret-data' || object.type === 'split-key' || object.type === 'pgp-key' || object.type === 'symmetric-key';
  const both = (name: KeyFormat): boolean => name === 'Raw' || name === 'Opaque';
  return plain && both(format) && both(block.format) && block.holds !== 'ttlv' ? block.format : format;
};

export interface WrittenMaterial {
  readonly format: KeyFormat;
  readonly material: Material;
  readonly compression?: string | number;
}

/** The Key Material in the format asked for, or in the one it came in. @throws KmipRefusal Key Format Type Not Supported */
export const materialFor = (
  block: StoredBlock,
  object: ManagedObject,
  exported: Exported,
  wanted: Wanted,
  wiper: Wiper,
): WrittenMaterial => {
  const asked = wanted.format ?? usualFormat(block, object, wanted.version);
  const alias = rawAlias(object, block, asked);
  if (block.holds !== 'key') {
    if (wanted.compression !== undefined && wanted.compression !== block.compression) {
      throw refuse('KeyCompressionTypeNotSupported', 'The key has no such compressed form.');
    }
    return { format: formatIn(wanted.version, asked), material: keptMaterial(block, object, exported.material, alias, wiper) };
  }
  if (
    exported.format === 'raw' &&
    (alias === 'Raw' || alias === block.format) &&
    typeof alias === 'string' &&
    !alias.startsWith('Transparent')
  ) {
    return { format: asked, material: exported.material };
  }
  const compression = wanted.compression ?? (wanted.format === undefined || wanted.format === block.format ? block.compression : undefined);
  const model = modelOf(exported);
  const shaped = compression === undefined ? model : compressed(model, compression);
  const material = writeMaterial(alias, shaped);
  if (material === undefined) throw notSupported();
  return { format: formatIn(wanted.version, asked), material, ...(compression === undefined ? {} : { compression }) };
};

/** Algorithm and length of the Key Block: what was registered, else what the key is. */
const blockFacts = (block: StoredBlock, object: ManagedObject, exported: Exported | undefined): Fields => {
  if (block.algorithm !== undefined || block.length !== undefined) {
    return {
      ...(block.algorithm === undefined ? {} : { CryptographicAlgorithm: block.algorithm }),
      ...(block.length === undefined ? {} : { CryptographicLength: block.length }),
    };
  }
  const told = storedOne(object.attributes, 'CryptographicAlgorithm');
  if (object.type === 'symmetric-key' && object.spec === undefined)
    return keptFacts(told, storedOne(object.attributes, 'CryptographicLength'));
  if (block.holds !== 'key' || object.spec === undefined || object.spec === 'secret' || exported === undefined) return {};
  const algorithm = told ?? algorithmOfSpec(object.spec);
  const { bits, shape, variableLength } = KEY_SPECS[object.spec];
  // Triple DES counts its bits without parity; the bytes would say more.
  const length = shape === 'symmetric' && variableLength !== true ? bits : factsOf(modelOf(exported)).length;
  return {
    ...(algorithm === undefined ? {} : { CryptographicAlgorithm: algorithm }),
    ...(length === undefined ? {} : { CryptographicLength: length }),
  };
};

/** Of a key made here that no root computes with. */
const keptFacts = (algorithm: Value | undefined, length: Value | undefined): Fields => ({
  ...(algorithm === undefined ? {} : { CryptographicAlgorithm: algorithm }),
  ...(length === undefined ? {} : { CryptographicLength: length }),
});

/** A Key Block around a Key Value that is there, wrapped or absent. */
export const keyBlock = (
  block: StoredBlock,
  object: ManagedObject,
  exported: Exported | undefined,
  value: {
    readonly format: KeyFormat;
    readonly compression?: string | number;
    readonly keyValue?: Fields | Uint8Array;
    readonly wrapping?: Fields;
  },
): Fields => ({
  KeyFormatType: value.format,
  ...(value.compression === undefined ? {} : { KeyCompressionType: value.compression }),
  ...(value.keyValue === undefined ? {} : { KeyValue: value.keyValue }),
  ...blockFacts(block, object, exported),
  ...(value.wrapping === undefined ? {} : { KeyWrappingData: value.wrapping }),
});

/** Fields that stand beside the Key Block where a client never said them. */
const BESIDE: Readonly<Record<string, Fields>> = { 'secret-data': { SecretDataType: 'Password' }, 'pgp-key': { PGPKeyVersion: 4 } };

/** The object itself around its Key Block. */
export const keyedObject = (block: StoredBlock, object: ManagedObject, content: Fields): Fields => ({
  ...(block.beside ?? BESIDE[object.type] ?? {}),
  KeyBlock: content,
});

/** Objects without a Key Block. @throws KmipRefusal for a Key Format Type they do not have */
export const plainObject = (block: StoredBlock, object: ManagedObject, bytes: Uint8Array, wanted: KeyFormat | undefined): Fields => {
  const own = { certificate: ['X_509', 'Raw'], 'certificate-request': ['PKCS_10'], 'opaque-object': ['Opaque', 'Raw'] }[
    object.type as string
  ];
  if (wanted !== undefined && own?.includes(String(wanted)) !== true) throw notSupported();
  const beside = block.beside ?? {};
  if (object.type === 'certificate') return { CertificateType: 'X_509', ...beside, CertificateValue: bytes };
  // PEM came in as DER and goes out as that.
  if (object.type === 'certificate-request') return { CertificateRequestType: 'PKCS_10', CertificateRequestValue: bytes };
  return { OpaqueDataType: 0x80000000, ...beside, OpaqueDataValue: bytes };
};
