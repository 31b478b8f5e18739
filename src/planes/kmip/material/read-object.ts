import { createHash } from 'node:crypto';
import type { Fields, KmipAttribute, KmipVersion } from '@aegis/kmip-ttlv';
import type { KeySpec } from '@aegis/rot-spi/vocabulary';
import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { ObjectType } from '../../../domain/index.js';
import { type KeyFacts, specOfFacts } from '../attributes/key-spec.js';
import { keptOne } from '../attributes/stored-values.js';
import { refuse } from '../contract.js';
import { readSpki, writePkcs8, writeSpki } from './asn1-keys.js';
import { curveNamed } from './curves.js';
import { DerError, readSequence } from './der.js';
import { compressed, compressionOf, type FormatHints, type KeyFormat, type Material, readMaterial } from './formats.js';
import { factsOf, type KeyModel, type ModelFacts, type Wiper } from './key-model.js';
import { encodeKeyValue } from './key-value.js';
import { keptBlock, type StoredBlock } from './stored-block.js';

// A managed object of a request (Register, Import) → what the key service registers.

/** What goes to the service's `register`; `material` is overwritten there. */
interface Intake {
  readonly spec?: KeySpec;
  readonly format: 'raw' | 'pkcs8' | 'spki' | 'x509' | 'opaque' | 'absent';
  readonly material: Uint8Array;
}
export interface ReadObject {
  readonly type: ObjectType;
  readonly intake: Intake;
  readonly block: StoredBlock;
  /** Algorithm, length and curve as the key itself has them. */
  readonly facts: KeyFacts & { readonly spec?: KeySpec };
  /** Attributes that come with the value: the kept block, Digest, Key Format Type. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Attributes inside the Key Value (KMIP 2.1 §3.2). */
  readonly inner: readonly KmipAttribute[];
}

const SIDE: Readonly<Partial<Record<ObjectType, FormatHints['side']>>> = { 'private-key': 'private', 'public-key': 'public' };

/** Fields of the object that are not its key block. */
const besideOf = (object: Fields): Fields | undefined => {
  const { KeyBlock: _, $extra: __, ...rest } = object;
  return Object.keys(rest).length === 0 ? undefined : rest;
};

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

const digestAttribute = (bytes: Uint8Array, format: KeyFormat): Readonly<Record<string, unknown>> =>
  keptOne('Digest', { HashingAlgorithm: 'SHA_256', DigestValue: sha256(bytes), KeyFormatType: format } as Fields);

/** What the Key Block and the attributes say of the key; the block wins (KMIP 2.1 §6.1.43 "the values in the key block"). */
const saidFacts = (block: Fields, attributes: KeyFacts, type: ObjectType): KeyFacts => {
  // Secret Data has an algorithm only in the words of its Key Block (TC-OTP-3: not in those of its attributes).
  const given = type === 'secret-data' ? {} : attributes;
  const algorithm = (block['CryptographicAlgorithm'] ?? given.algorithm) as string | number | undefined;
  const length = (block['CryptographicLength'] ?? given.length) as number | undefined;
  return {
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(length === undefined ? {} : { length }),
    ...(given.curve === undefined ? {} : { curve: given.curve }),
  };
};

/** What a symmetric key of these bytes can be used as; the length is that of the bytes, whatever is said. */
const symmetricSpec = (key: Uint8Array, said: KeyFacts): KeySpec | undefined => {
  const spec = specOfFacts({ ...said, length: key.length * 8 });
  if (spec === undefined || KEY_SPECS[spec].shape !== 'symmetric') return undefined;
  return spec === 'des3-168' && isWeakBundle(key) ? 'des3-weak' : spec;
};

/** Triple DES of fewer keys than it says (SP 800-67 r2 §3.3.2), parity bits aside: TC-STREAM-ENC-2 registers one and uses it. */
const isWeakBundle = (key: Uint8Array): boolean => {
  const same = (a: number, b: number): boolean =>
    Array.from({ length: 8 }, (_, i) => ((key[a + i] as number) ^ (key[b + i] as number)) & 0xfe).every((difference) => difference === 0);
  return same(0, 8) || same(8, 16);
};

interface Usable {
  readonly intake: Intake;
  readonly facts: KeyFacts;
  readonly digest: Readonly<Record<string, unknown>>;
}

/** The key in the form a root takes it, where one can. */
const usable = (type: ObjectType, model: KeyModel, said: KeyFacts, wiper: Wiper): Usable | undefined => {
  if (model.kind === 'symmetric') {
    const spec = type === 'symmetric-key' ? symmetricSpec(model.key, said) : undefined;
    if (spec === undefined) return undefined;
    const material = wiper.take(new Uint8Array(model.key));
    return { intake: { spec, format: 'raw', material }, facts: said, digest: digestAttribute(material, 'Raw') };
  }
  const own = factsOf(model);
  if (own.spec === undefined) return undefined;
  const facts: KeyFacts = {
    ...(own.algorithm === undefined ? {} : { algorithm: said.algorithm ?? own.algorithm }),
    ...(own.length === undefined ? {} : { length: own.length }),
    ...(said.curve === undefined ? {} : { curve: said.curve }),
  };
  if (type === 'private-key') {
    const material = writePkcs8(model);
    if (material === undefined) return undefined;
    wiper.take(material);
    return { intake: { spec: own.spec, format: 'pkcs8', material }, facts, digest: digestAttribute(material, 'PKCS_8') };
  }
  // A point is registered uncompressed; Get compresses it again when it came that way.
  const material = writeSpki(compressionOf(model) === undefined ? model : compressed(model, 'ECPublicKeyTypeUncompressed'));
  if (material === undefined) return undefined;
  return { intake: { spec: own.spec, format: 'spki', material }, facts, digest: digestAttribute(material, 'X_509') };
};

/** What nobody here can use is kept to the last byte. */
const asItCame = (
  keyValue: Fields,
  format: KeyFormat,
  wiper: Wiper,
): { readonly material: Uint8Array; readonly holds: 'bytes' | 'ttlv' } => {
  const material = keyValue['KeyMaterial'] as Material;
  if (material instanceof Uint8Array) return { material: wiper.take(new Uint8Array(material)), holds: 'bytes' };
  if (typeof format === 'string' && !format.startsWith('Transparent')) throw refuse('InvalidField', 'The Key Material is a byte string.');
  return { material: wiper.take(encodeKeyValue({ KeyMaterial: material }, '2.1')), holds: 'ttlv' };
};

const factsFields = (said: KeyFacts) => ({
  ...(said.algorithm === undefined ? {} : { algorithm: said.algorithm }),
  ...(said.length === undefined ? {} : { length: said.length }),
});

export interface ReadContext {
  readonly version: KmipVersion;
  /** Cryptographic Algorithm, Length and curve among the request's attributes. */
  readonly given: KeyFacts;
  readonly wiper: Wiper;
}

/** An object with a key block. @throws KmipRefusal Invalid Field, Key Format Type Not Supported */
const readKeyed = (type: ObjectType, object: Fields, context: ReadContext): ReadObject => {
  const block = object['KeyBlock'] as Fields | undefined;
  if (block === undefined) throw refuse('InvalidMessage', 'The object has no Key Block.');
  const format = block['KeyFormatType'] as KeyFormat;
  const said = saidFacts(block, context.given, type);
  const beside = besideOf(object);
  const compression = block['KeyCompressionType'] as string | number | undefined;
  const base = {
    format,
    ...factsFields(said),
    ...(said.curve === undefined ? {} : { curve: said.curve }),
    ...(beside === undefined ? {} : { beside }),
    ...(compression === undefined ? {} : { compression }),
  };
  const keyValue = block['KeyValue'];
  if (keyValue === undefined) return absentValue(type, base, said);
  if (block['KeyWrappingData'] !== undefined) return wrappedValue(type, base, said, keyValue, block['KeyWrappingData'] as Fields, context);
  if (keyValue instanceof Uint8Array) throw refuse('InvalidField', 'A Key Value that is not wrapped is a structure.');
  const value = keyValue as Fields;
  if (value['KeyMaterial'] === undefined) throw refuse('InvalidMessage', 'The Key Value has no Key Material.');
  return readPlain(type, value, base, said, context);
};

type Base = Omit<StoredBlock, 'holds'>;

const readPlain = (type: ObjectType, value: Fields, base: Base, said: KeyFacts, context: ReadContext): ReadObject => {
  const { wiper } = context;
  const { format } = base;
  const material = value['KeyMaterial'] as Material;
  const inner = (value['Attributes'] ?? []) as readonly KmipAttribute[];
  const curve = curveNamed(said.curve);
  const hints: FormatHints = { side: SIDE[type] ?? 'symmetric', algorithm: said.algorithm, ...(curve === undefined ? {} : { curve }) };
  const interpreted = type === 'symmetric-key' || type === 'private-key' || type === 'public-key';
  const model =
    interpreted || typeof format !== 'string' || format.startsWith('Transparent')
      ? readMaterial(format, material, hints, wiper)
      : undefined;
  const key = model === undefined ? undefined : usable(type, model, said, wiper);
  if (key !== undefined && model !== undefined) {
    const digest = material instanceof Uint8Array ? digestAttribute(material, format) : key.digest;
    const compression = base.compression ?? compressionOf(model);
    const block: StoredBlock = { ...base, ...factsFields(key.facts), holds: 'key', ...(compression === undefined ? {} : { compression }) };
    return finish(type, key.intake, block, key.facts, digest, inner);
  }
  const own = model === undefined ? {} : factsOf(model);
  const facts: KeyFacts = { ...own, ...said };
  const { material: bytes, holds } = asItCame(value, format, wiper);
  const intake: Intake = { format: 'opaque', material: bytes };
  return finish(type, intake, { ...base, ...factsFields(facts), holds }, facts, digestAttribute(bytes, format), inner);
};

const finish = (
  type: ObjectType,
  intake: Intake,
  block: StoredBlock,
  facts: KeyFacts,
  digest: Readonly<Record<string, unknown>>,
  inner: readonly KmipAttribute[],
): ReadObject => ({
  type,
  intake,
  block,
  facts,
  attributes: { ...keptBlock(block), ...keptOne('KeyFormatType', block.format), ...digest },
  inner,
});

/** KMIP 2.1 §4.27, §4.28: the value is elsewhere, Key Value Present says so. */
const absentValue = (type: ObjectType, base: Base, said: KeyFacts): ReadObject => {
  const read = finish(type, { format: 'absent', material: new Uint8Array(0) }, { ...base, holds: 'nothing' }, said, {}, []);
  return { ...read, attributes: { ...read.attributes, ...keptOne('KeyValuePresent', false) } };
};

/** Kept as it came: whether we hold the wrapping key is asked when somebody wants it unwrapped. */
const wrappedValue = (
  type: ObjectType,
  base: Base,
  said: KeyFacts,
  keyValue: unknown,
  wrapping: Fields,
  { wiper }: ReadContext,
): ReadObject => {
  // Only signed or MACed: the Key Value is there in clear, as a structure, and goes back with its MAC.
  const bytes = keyValue instanceof Uint8Array ? new Uint8Array(keyValue) : wiper.take(encodeKeyValue(keyValue as Fields, '2.1'));
  if (bytes.length === 0) throw refuse('InvalidField', 'The Key Value is empty.');
  const block: StoredBlock = { ...base, holds: keyValue instanceof Uint8Array ? 'wrapped' : 'ttlv', wrapping };
  return finish(type, { format: 'opaque', material: bytes }, block, said, {}, []);
};

const bytesIn = (object: Fields, field: string): Uint8Array => {
  const value = object[field];
  if (!(value instanceof Uint8Array) || value.length === 0) throw refuse('InvalidField', `The object has no ${field}.`);
  return value;
};

/** DER as it is, and PEM's bytes (some clients put the text there). */
export const withoutArmour = (bytes: Uint8Array): Uint8Array => {
  if (bytes[0] !== 0x2d) return bytes;
  const text = Buffer.from(bytes).toString('latin1');
  const body = /-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END/.exec(text)?.[1];
  return body === undefined ? bytes : new Uint8Array(Buffer.from(body.replace(/\s/g, ''), 'base64'));
};

const plain = (
  type: ObjectType,
  intake: Intake,
  format: KeyFormat,
  beside: Fields,
  attributes: Readonly<Record<string, unknown>> = {},
): ReadObject => finish(type, intake, { format, holds: 'bytes', beside }, {}, attributes, []);

/** Algorithm and length of the key that a certificate certifies, without any library seeing a hostile one. */
const certifiedKey = (der: Uint8Array): ModelFacts => {
  try {
    const [tbs] = readSequence(der);
    const fields = readSequence(tbs?.whole ?? der);
    const key = fields[fields[0]?.tag === 0xa0 ? 6 : 5];
    return key === undefined ? {} : factsOf(readSpki(key.whole));
  } catch (error) {
    if (error instanceof DerError) return {};
    throw error;
  }
};

const readCertificate = (object: Fields): ReadObject => {
  const certificateType = object['CertificateType'] as string | number;
  const beside = { CertificateType: certificateType };
  const attributes = keptOne('CertificateType', certificateType);
  const bytes = bytesIn(object, 'CertificateValue');
  if (certificateType !== 'X_509')
    throw refuse('FeatureNotSupported', 'Certificates of type X.509 are kept; a PGP key is a PGP Key object.');
  const material = new Uint8Array(withoutArmour(bytes));
  return { ...plain('certificate', { format: 'x509', material }, 'X_509', beside, attributes), facts: certifiedKey(material) };
};

const readOpaque = (object: Fields, wiper: Wiper): ReadObject => {
  const dataType = object['OpaqueDataType'] as string | number;
  const material = wiper.take(new Uint8Array(bytesIn(object, 'OpaqueDataValue')));
  const attributes = { ...keptOne('OpaqueDataType', dataType), ...digestAttribute(material, 'Opaque') };
  return plain('opaque-object', { format: 'opaque', material }, 'Opaque', { OpaqueDataType: dataType }, attributes);
};

const readRequest = (object: Fields): ReadObject => {
  const requestType = object['CertificateRequestType'] as string | number;
  const value = bytesIn(object, 'CertificateRequestValue');
  if (requestType !== 'PKCS_10' && requestType !== 'PEM')
    throw refuse('FeatureNotSupported', 'Certificate requests are PKCS#10, in DER or PEM.');
  const material = new Uint8Array(withoutArmour(value));
  return plain('certificate-request', { format: 'x509', material }, 'PKCS_10', { CertificateRequestType: requestType });
};

/** Any object of a request but a Template. @throws KmipRefusal */
export const readObject = (type: ObjectType, object: Fields, context: ReadContext): ReadObject => {
  switch (type) {
    case 'certificate':
      return readCertificate(object);
    case 'certificate-request':
      return readRequest(object);
    case 'opaque-object':
      return readOpaque(object, context.wiper);
    default:
      return readKeyed(type, object, context);
  }
};
