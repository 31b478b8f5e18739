import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { FaultError, isObjectId, type ObjectView } from '../../../domain/index.js';
import { toMs } from '../attributes/new-object.js';
import { attributesOfObject } from '../attributes/of-object.js';
import { identifierOf, targetOf } from '../attributes/target.js';
import { revocationReasonOf, TYPE_NAMES } from '../attributes/vocabulary.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { makeWiper, type Wiper } from '../material/key-model.js';
import { decodeKeyValue } from '../material/key-value.js';
import { blockOf } from '../material/stored-block.js';
import { readWrapping, unwrapValue } from '../material/wrapping.js';
import { retrieve } from './get.js';
import { objectIn, registerAny } from './register.js';

// Export and Import (KMIP 2.1 §6.1.18, §6.1.25; 1.4 §4.41, §4.42): an object with all its attributes, out of one server and into another.

const UNKEYED_VALUES: Readonly<Record<string, Fields>> = {
  certificate: { CertificateType: 'X_509', CertificateValue: new Uint8Array(0) },
  'certificate-request': { CertificateRequestType: 'PKCS_10', CertificateRequestValue: new Uint8Array(0) },
  'opaque-object': { OpaqueDataType: 0x80000000, OpaqueDataValue: new Uint8Array(0) },
  template: { Attribute: [] },
};

/** "If the Managed Object has been Destroyed then the key material SHALL not be returned". */
const remains = ({ object }: ObjectView): Fields => {
  const unkeyed = UNKEYED_VALUES[object.type];
  if (unkeyed !== undefined) return unkeyed;
  const { format, algorithm, length, beside } = blockOf(object);
  return {
    ...beside,
    KeyBlock: {
      KeyFormatType: format,
      ...(algorithm === undefined ? {} : { CryptographicAlgorithm: algorithm }),
      ...(length === undefined ? {} : { CryptographicLength: length }),
    },
  };
};

const isDestroyed = ({ object }: ObjectView): boolean => object.state === 'destroyed' || object.state === 'destroyed-compromised';

export const exportObject: KmipHandler = async (payload, call) => {
  const id = await targetOf(payload, call);
  const wiper = makeWiper();
  try {
    const before = await call.call('get-object', { key: id });
    const fields = isDestroyed(before) ? remains(before) : (await retrieve({ call, id, payload, wiper })).fields;
    // Again: serving it is an attribute too (Fresh).
    const view = isDestroyed(before) ? before : await call.call('get-object', { key: id });
    const type = TYPE_NAMES[view.object.type];
    call.setPlaceholder(id);
    return { ObjectType: type, UniqueIdentifier: id, Attributes: attributesOfObject(view, call.version), [type]: fields };
  } finally {
    wiper.wipe();
  }
};

/** Attributes that say what the object, its place or its history here are: they come from the object, not from the request. */
const OWN_HERE: ReadonlySet<string> = new Set([
  'UniqueIdentifier',
  'ShortUniqueIdentifier',
  'ObjectType',
  'KeyFormatType',
  'Digest',
  'State',
  'InitialDate',
  'LastChangeDate',
  'DestroyDate',
  'ArchiveDate',
  'CompromiseDate',
  'CompromiseOccurrenceDate',
  'RevocationReason',
  'LeaseTime',
  'CertificateLength',
  'CertificateIdentifier',
  'CertificateIssuer',
  'CertificateSubject',
  'CertificateAttributes',
  'X_509CertificateIdentifier',
  'X_509CertificateIssuer',
  'X_509CertificateSubject',
  'DigitalSignatureAlgorithm',
  'ProtectionLevel',
  'ProtectionStorageMask',
  'KeyValuePresent',
]);
/** Every attribute the server sets elsewhere: "all attributes MUST be set to the supplied values". */
const SERVER_SET = [
  'AlwaysSensitive',
  'NeverExtractable',
  'OriginalCreationDate',
  'Fresh',
  'RandomNumberGenerator',
  'ObjectClass',
  'QuantumSafe',
  'NISTKeyType',
  'RotateLatest',
  'RotateGeneration',
  'RotateDate',
  'OpaqueDataType',
  'CertificateType',
  'LeaseTime',
  'UsageLimits',
];

const valueIn = (attributes: readonly KmipAttribute[], name: string): unknown =>
  attributes.find((one) => one.vendor === undefined && one.name === name)?.value;

/** State by what the domain calls it: dates make an object active or not, the rest is done to it. */
const bringToState = async (id: string, attributes: readonly KmipAttribute[], call: KmipCall): Promise<void> => {
  const state = valueIn(attributes, 'State');
  const { RevocationReasonCode: code, RevocationMessage: message } = (valueIn(attributes, 'RevocationReason') ?? {}) as Fields;
  const compromised = valueIn(attributes, 'CompromiseOccurrenceDate');
  const { object } = await call.call('get-object', { key: id });
  const text = typeof message === 'string' ? { message } : {};
  if (state === 'Compromised' || state === 'DestroyedCompromised') {
    const at = compromised === undefined ? {} : { compromisedAt: toMs(compromised, 'CompromiseOccurrenceDate') };
    const reason = revocationReasonOf(code) === 'ca-compromise' ? 'ca-compromise' : 'key-compromise';
    await call.call('revoke', { key: id, reason, ...text, ...at });
  } else if (state === 'Active' && object.state === 'pre-active') {
    await call.call('activate', { key: id });
  } else if (state === 'Deactivated' && object.state !== 'deactivated') {
    if (object.state === 'pre-active') await call.call('activate', { key: id });
    await call.call('revoke', { key: id, reason: revocationReasonOf(code) ?? 'unspecified', ...text });
  }
};

const idAsked = (payload: Fields, call: KmipCall): string | undefined => {
  const id = identifierOf(payload['UniqueIdentifier'], call);
  // "The Unique Identifier provided in the request or assigned by the server": ids here are UUIDs.
  return isObjectId(id) ? id.toLowerCase() : undefined;
};

const exists = async (id: string, call: KmipCall): Promise<boolean> => {
  try {
    await call.call('get-object', { key: id });
    return true;
  } catch (error) {
    if (error instanceof FaultError && error.fault.code === 'not-found') return false;
    throw error;
  }
};

const placeOf = async (payload: Fields, call: KmipCall): Promise<{ readonly id?: string; readonly replaces?: string }> => {
  const id = idAsked(payload, call);
  if (id === undefined) return {};
  if (!(await exists(id, call))) return { id };
  if (payload['ReplaceExisting'] !== true) throw refuse('ObjectAlreadyExists', 'An object of that Unique Identifier exists.');
  return { id, replaces: id };
};

/** KMIP 2.1 §6.1.25: "If Not Wrapped then the server SHALL unwrap the object before storing it". */
const unwrapped = async (object: Fields, payload: Fields, call: KmipCall, wiper: Wiper): Promise<Fields> => {
  const block = object['KeyBlock'] as Fields | undefined;
  const data = block?.['KeyWrappingData'] as Fields | undefined;
  const type = payload['KeyWrapType'];
  if (type !== undefined && type !== 'NotWrapped' && type !== 'AsRegistered') {
    throw refuse('KeyWrapTypeNotSupported', 'The Key Wrap Type is Not Wrapped or As Registered.');
  }
  if (block === undefined || data === undefined || type !== 'NotWrapped') return object;
  const given = block['KeyValue'];
  const value = given instanceof Uint8Array ? given : (given as Fields | undefined)?.['KeyMaterial'];
  if (!(value instanceof Uint8Array)) throw refuse('EncodingOptionError', 'The wrapped Key Value is a byte string.');
  const { bytes, encoded } = await unwrapValue(await readWrapping(data, call, 'data'), data, value, call);
  wiper.take(bytes);
  const { KeyWrappingData: _, ...rest } = block;
  return { ...object, KeyBlock: { ...rest, KeyValue: encoded ? decodeKeyValue(bytes, call.version) : { KeyMaterial: bytes } } };
};

export const importObject: KmipHandler = async (payload, call) => {
  const wiper = makeWiper();
  try {
    const { type, object: given } = objectIn(payload);
    const attributes = (payload['Attributes'] ?? []) as readonly KmipAttribute[];
    const place = await placeOf(payload, call);
    const object = await unwrapped(given, payload, call, wiper);
    const initial = valueIn(attributes, 'InitialDate');
    const kept = attributes.filter(({ name, vendor }) => vendor !== undefined || !OWN_HERE.has(name));
    const extra = { ...place, ...(initial === undefined ? {} : { initial: toMs(initial, 'InitialDate') }) };
    const id = await registerAny({ call, type, object, attributes: kept, wiper, extra, alsoTakes: SERVER_SET });
    await bringToState(id, attributes, call);
    call.setPlaceholder(id);
    return { UniqueIdentifier: id };
  } finally {
    wiper.wipe();
  }
};
