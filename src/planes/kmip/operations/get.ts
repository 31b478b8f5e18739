import { attributeNamed, type Fields, type KmipAttribute } from '@aegis/kmip-ttlv';
import { fail, type ManagedObject, type ObjectView, type OperationResponse } from '../../../domain/index.js';
import { attributesOfTemplate } from '../attributes/given.js';
import { attributesOfObject } from '../attributes/of-object.js';
import { keptOne } from '../attributes/stored-values.js';
import { targetOf } from '../attributes/target.js';
import { TYPE_NAMES } from '../attributes/vocabulary.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import type { KeyFormat, Material } from '../material/formats.js';
import { makeWiper, type Wiper } from '../material/key-model.js';
import { decodeKeyValue, encodeKeyValue } from '../material/key-value.js';
import { blockOf, type StoredBlock } from '../material/stored-block.js';
import { authenticate, readWrapping, unwrapValue, type Wrapping, wrappingData, wrappingFault } from '../material/wrapping.js';
import { type Exported, keyBlock, keyedObject, materialFor, plainObject, type Wanted } from '../material/write-object.js';
import { exportPkcs12 } from './get-pkcs12.js';

// Get (KMIP 2.1 §6.1.19, 1.4 §4.11) and what Export shares with it.

/** KMIP 2.1 §4.22: Fresh is false once the object has been served. */
const NOT_FRESH = keptOne('Fresh', false);

const UNKEYED = ['certificate', 'certificate-request', 'opaque-object'];

export interface Retrieval {
  readonly call: KmipCall;
  readonly id: string;
  readonly payload: Fields;
  readonly wiper: Wiper;
}

const wantedOf = ({ call, payload }: Retrieval): Wanted => {
  const format = payload['KeyFormatType'] as KeyFormat | undefined;
  const compression = payload['KeyCompressionType'] as string | number | undefined;
  return {
    version: call.version,
    ...(format === undefined ? {} : { format }),
    ...(compression === undefined ? {} : { compression }),
  };
};

const wrapTypeOf = (payload: Fields): 'NotWrapped' | 'AsRegistered' | undefined => {
  const type = payload['KeyWrapType'];
  if (type === undefined || type === 'NotWrapped' || type === 'AsRegistered') return type as 'NotWrapped' | 'AsRegistered' | undefined;
  throw refuse('KeyWrapTypeNotSupported', 'The Key Wrap Type is Not Wrapped or As Registered.');
};

/** What was registered wrapped, opened with the keys that its Key Wrapping Data names. */
const opened = async (block: StoredBlock, exported: Exported, { call }: Retrieval): Promise<{ block: StoredBlock; exported: Exported }> => {
  const data = block.wrapping as Fields;
  const wrapping = await readWrapping(data, call, 'data');
  const { wrapping: _, ...rest } = block;
  // TC-WRAP-2 puts the encrypted bytes in the Key Material of a structure; what is only signed is a structure anyway.
  const structured = block.holds === 'ttlv' ? decodeKeyValue(exported.material, '2.1') : undefined;
  const whole = structured !== undefined && wrapping.encryption === undefined && wrapping.encoded;
  const signed = whole ? encodeKeyValue(structured, call.version) : undefined;
  const value = signed ?? (structured === undefined ? exported.material : bytesOf(structured));
  const { bytes, encoded } = await unwrapValue(wrapping, data, value, call);
  if (structured !== undefined && wrapping.encryption === undefined) return { block: { ...rest, holds: 'ttlv' }, exported };
  return { block: { ...rest, holds: encoded ? 'ttlv' : 'bytes' }, exported: { format: 'opaque', material: bytes } };
};

const bytesOf = (keyValue: Fields): Uint8Array => {
  const material = keyValue['KeyMaterial'];
  if (material instanceof Uint8Array) return material;
  throw refuse('EncodingOptionError', 'Without encoding the Key Material is a byte string.');
};

/** As it was registered: the wrapped bytes and what wrapped them, or the structure with its MAC. */
const asRegistered = (block: StoredBlock, object: ManagedObject, exported: Exported, wanted: Wanted): Fields => {
  if (wanted.format !== undefined && wanted.format !== block.format) {
    throw refuse('KeyFormatTypeNotSupported', 'A wrapped object is given in the format in which it was registered.');
  }
  const keyValue = block.holds === 'ttlv' ? decodeKeyValue(exported.material, '2.1') : exported.material;
  const content = keyBlock(block, object, exported, {
    format: block.format,
    keyValue,
    wrapping: block.wrapping as Fields,
    ...(block.compression === undefined ? {} : { compression: block.compression }),
  });
  return keyedObject(block, object, content);
};

const plainBlock = (block: StoredBlock, object: ManagedObject, exported: Exported, wanted: Wanted, wiper: Wiper): Fields => {
  const { format, material, compression } = materialFor(block, object, exported, wanted, wiper);
  const value = { format, keyValue: { KeyMaterial: material } as Fields, ...(compression === undefined ? {} : { compression }) };
  return keyedObject(block, object, keyBlock(block, object, exported, value));
};

const withoutValue = (block: StoredBlock, object: ManagedObject): Fields =>
  keyedObject(block, object, keyBlock(block, object, undefined, { format: block.format }));

const openObject = async (retrieval: Retrieval, object: ManagedObject, exported: Exported): Promise<Fields> => {
  const { payload, wiper } = retrieval;
  const block = blockOf(object);
  const wanted = wantedOf(retrieval);
  if (object.type === 'template') return { Attribute: attributesOfTemplate({ object, versions: [] }) };
  if (UNKEYED.includes(object.type)) return plainObject(block, object, exported.material, wanted.format);
  if (block.holds === 'nothing') return withoutValue(block, object);
  if (wanted.format === 'PKCS_12') return exportPkcs12(retrieval, object, exported);
  if (block.wrapping === undefined) return plainBlock(block, object, exported, wanted, wiper);
  if (wrapTypeOf(payload) !== 'NotWrapped') return asRegistered(block, object, exported, wanted);
  const inside = await opened(block, exported, retrieval);
  return plainBlock(inside.block, object, inside.exported, wanted, wiper);
};

type Response = OperationResponse<'export-key'>;
const objectOf = (response: Response): ManagedObject => {
  if (response.object === undefined) throw refuse('GeneralFailure', 'The key service did not describe the object.');
  return response.object;
};

/** The object in clear, or as it was registered. */
const retrieveOpen = async (retrieval: Retrieval): Promise<{ readonly object: ManagedObject; readonly fields: Fields }> => {
  const { call, id, payload } = retrieval;
  wrapTypeOf(payload);
  const response = await call.call('export-key', { key: id, leaves: NOT_FRESH });
  const object = objectOf(response);
  return { object, fields: await openObject(retrieval, object, response) };
};

/** The attributes to be wrapped with the key (KMIP 2.1 §7.18). */
const namedAttributes = (specification: Fields, view: ObjectView, call: KmipCall): readonly KmipAttribute[] => {
  const names = specification['AttributeName'];
  const texts = (Array.isArray(names) ? names : names === undefined ? [] : [names]) as readonly string[];
  if (texts.length === 0) return [];
  const references = texts.map(attributeNamed);
  return attributesOfObject(view, call.version).filter((one) => references.some((r) => r.name === one.name && r.vendor === one.vendor));
};

const keyValueOf = (material: Material, attributes: readonly KmipAttribute[]): Fields => ({
  KeyMaterial: material,
  ...(attributes.length === 0 ? {} : { Attributes: attributes }),
});

/** The bytes that are wrapped: the Key Value in TTLV, or the Key Material alone. Fresh. */
const valueBytes = (material: Material, attributes: readonly KmipAttribute[], encoded: boolean, call: KmipCall): Uint8Array => {
  if (encoded) return encodeKeyValue(keyValueOf(material, attributes), call.version);
  if (attributes.length > 0 || !(material instanceof Uint8Array)) {
    throw refuse('EncodingOptionError', 'Without encoding neither attributes nor a structure can be wrapped.');
  }
  return new Uint8Array(material);
};

/** Everything in the root of trust: the key goes there in the very form in which it is wrapped. */
const wrapsAsIs = (wrapping: Wrapping, block: StoredBlock, object: ManagedObject, wanted: Wanted): boolean => {
  const asked = wanted.format ?? block.format;
  const form = object.type === 'private-key' ? 'PKCS_8' : 'Raw';
  const same = wrapping.encryption?.object.rootId === object.rootId && block.holds === 'key' && object.type !== 'public-key';
  return same && !wrapping.encoded && wrapping.authentication === undefined && asked === form;
};

/** The encoding that goes under the wrapping key, made while the material is in the service's hands. */
const makeEncoder = (retrieval: Retrieval, wrapping: Wrapping, view: ObjectView, specification: Fields) => {
  const { call, wiper } = retrieval;
  const { object } = view;
  const made: { mac?: Uint8Array; format?: KeyFormat; compression?: string | number; refusal?: unknown } = {};
  const attributes = namedAttributes(specification, view, call);
  const written = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const stored = blockOf(object);
    const form =
      stored.holds !== 'key' ? 'opaque' : object.type === 'private-key' ? 'pkcs8' : object.type === 'public-key' ? 'spki' : 'raw';
    const exported: Exported = { format: form, material: bytes };
    const inside = stored.wrapping === undefined ? { block: stored, exported } : await opened(stored, exported, retrieval);
    wiper.take(inside.exported.material);
    const { format, material, compression } = materialFor(inside.block, object, inside.exported, wantedOf(retrieval), wiper);
    made.format = format;
    if (compression !== undefined) made.compression = compression;
    const value = valueBytes(material, attributes, wrapping.encoded, call);
    if (wrapping.authentication !== undefined && wrapping.method === 'MACSignThenEncrypt') {
      made.mac = await authenticate(wrapping.authentication, value, call);
    }
    return value;
  };
  // The guard makes a fault of whatever is thrown inside it; what is refused here has a reason of its own.
  const encode = (bytes: Uint8Array): Promise<Uint8Array> =>
    written(bytes).catch((error: unknown) => {
      made.refusal = error;
      throw fail('invalid-request', 'The key cannot be encoded as asked.');
    });
  return { encode, made };
};

/** Encrypt, with or without a MAC or signature. */
const retrieveWrapped = async (
  retrieval: Retrieval,
  specification: Fields,
): Promise<{ readonly object: ManagedObject; readonly fields: Fields }> => {
  const { call, id } = retrieval;
  const view = await call.call('get-object', { key: id });
  const { object } = view;
  const block = blockOf(object);
  if (UNKEYED.includes(object.type) || object.type === 'template')
    throw refuse('InvalidObjectType', 'The object has no Key Block to wrap.');
  if (block.holds === 'nothing') throw refuse('KeyValueNotPresent', 'The value of the object is held elsewhere.');
  const wrapping = await readWrapping(specification, call, 'specification');
  const { encryption } = wrapping;
  if (!wrapping.encoded && specification['AttributeName'] !== undefined) {
    throw refuse('EncodingOptionError', 'Without encoding no attributes can be wrapped.');
  }
  if (encryption === undefined) return signedOnly(retrieval, specification, wrapping, view);
  const wanted = wantedOf(retrieval);
  const { encode, made } = makeEncoder(retrieval, wrapping, view, specification);
  const asIs = wrapsAsIs(wrapping, block, object, wanted);
  const { algorithm, ...parameters } = encryption.choice;
  const wrapped = await call
    .call('export-key', {
      key: id,
      wrappingKey: encryption.id,
      wrapAlgorithm: algorithm,
      ...parameters,
      leaves: NOT_FRESH,
      ...(asIs ? {} : { encode }),
    })
    .catch((error: unknown) => {
      throw wrappingFault(made.refusal ?? error);
    });
  if (wrapping.authentication !== undefined && wrapping.method === 'EncryptThenMACSign') {
    made.mac = await authenticate(wrapping.authentication, wrapped.material, call);
  }
  const data = wrappingData(specification, { ...wrapped, ...made }, call.version);
  const content = keyBlock(block, object, undefined, {
    format: made.format ?? wanted.format ?? block.format,
    // TC-WRAP-3 wants the form in which the object was registered.
    keyValue: block.wrapping !== undefined && block.holds === 'ttlv' ? { KeyMaterial: wrapped.material } : wrapped.material,
    wrapping: data,
    ...(made.compression === undefined ? {} : { compression: made.compression }),
  });
  return { object, fields: keyedObject(block, object, withKeyFacts(content, view)) };
};

/** Of a wrapped key nothing is seen here; its algorithm and length are among its attributes. */
const withKeyFacts = (content: Fields, view: ObjectView): Fields => {
  if (content['CryptographicAlgorithm'] !== undefined || view.object.type === 'secret-data') return content;
  const told = attributesOfObject(view, '2.1');
  const oneOf = (name: string) => told.find((one) => one.vendor === undefined && one.name === name)?.value;
  return {
    ...content,
    CryptographicAlgorithm: oneOf('CryptographicAlgorithm'),
    CryptographicLength: oneOf('CryptographicLength'),
  } as Fields;
};

/** MAC/sign alone: the Key Value is in clear beside what authenticates it. */
const signedOnly = async (retrieval: Retrieval, specification: Fields, wrapping: Wrapping, view: ObjectView) => {
  const { call, wiper } = retrieval;
  const { object, fields } = await retrieveOpen(retrieval);
  const block = fields['KeyBlock'] as Fields;
  const material = (block['KeyValue'] as Fields | undefined)?.['KeyMaterial'] as Material | undefined;
  if (material === undefined || block['KeyWrappingData'] !== undefined)
    throw refuse('EncodingOptionError', 'The object is wrapped already.');
  const attributes = namedAttributes(specification, view, call);
  const bytes = wiper.take(valueBytes(material, attributes, wrapping.encoded, call));
  const mac = wrapping.authentication === undefined ? undefined : await authenticate(wrapping.authentication, bytes, call);
  const data = wrappingData(specification, mac === undefined ? {} : { mac }, call.version);
  return { object, fields: { ...fields, KeyBlock: { ...block, KeyValue: keyValueOf(material, attributes), KeyWrappingData: data } } };
};

/** The object of an id as the payload wants it. */
export const retrieve = (retrieval: Retrieval): Promise<{ readonly object: ManagedObject; readonly fields: Fields }> => {
  const specification = retrieval.payload['KeyWrappingSpecification'];
  return specification === undefined ? retrieveOpen(retrieval) : retrieveWrapped(retrieval, specification as Fields);
};

export const get: KmipHandler = async (payload, call) => {
  const id = await targetOf(payload, call);
  const wiper = makeWiper();
  try {
    const { object, fields } = await retrieve({ call, id, payload, wiper });
    const type = TYPE_NAMES[object.type];
    call.setPlaceholder(id);
    return { ObjectType: type, UniqueIdentifier: id, [type]: fields };
  } finally {
    wiper.wipe();
  }
};
