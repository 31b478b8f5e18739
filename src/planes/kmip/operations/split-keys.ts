import { fromBigInt, toBigInt } from '@aegis/kmip-ttlv';
import { KEY_SPECS, type SplitMethod, toUsageMask } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, NewObject, ObjectView, OperationRequest } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { algorithmOfSpec, readKeySpec } from '../attributes/key-spec.js';
import { protectionOf, readNewObject } from '../attributes/new-object.js';
import { keptOne, storedOne } from '../attributes/stored-values.js';
import { idOf, targetOf } from '../attributes/target.js';
import { objectTypeOf } from '../attributes/vocabulary.js';
import { type Fields, type KmipAttribute, type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { nameOf } from '../cryptography/payload-fields.js';
import { blockOf, keptBlock } from '../material/stored-block.js';

// Create Split Key and Join Split Key (KMIP 2.1 §6.1.10, §6.1.27, §13.1). Shares are made and joined inside the root of trust.

const METHODS: Readonly<Record<string, SplitMethod>> = {
  XOR: 'xor',
  PolynomialSharingGF2_16: 'gf2-16',
  PolynomialSharingPrimeField: 'prime-field',
  PolynomialSharingGF2_8: 'gf2-8',
};

/** How a key is shared out, in the words of the object (Split Key) and of the service. */
interface Scheme {
  readonly method: SplitMethod;
  readonly parts: number;
  readonly threshold: number;
  readonly prime?: Uint8Array;
  readonly named: Fields;
}

/** KMIP's Big Integers are signed and padded to 8 bytes; the service takes a plain big-endian number. */
const magnitude = (value: Uint8Array): Uint8Array => {
  const number = toBigInt(value);
  if (number <= 0n) throw refuse('InvalidField', 'The Prime Field Size is a prime.');
  const hex = number.toString(16);
  return new Uint8Array(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
};

const methodOf = (fields: Fields): SplitMethod => {
  const name = nameOf(fields['SplitKeyMethod'], 'SplitKeyMethod') ?? '';
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (method === undefined) throw refuse('UnsupportedCryptographicParameters', 'The Split Key Method is not supported.');
  return method === 'gf2-8' && fields['SplitKeyPolynomial'] === 'Polynomial_283' ? 'gf2-8-283' : method;
};

/** Reads Parts, Threshold, Method and Prime Field Size, of a request or of a part. */
const schemeOf = (fields: Fields): Scheme => {
  const { SplitKeyParts, SplitKeyThreshold, SplitKeyMethod, PrimeFieldSize, SplitKeyPolynomial } = fields;
  const method = methodOf(fields);
  if (typeof SplitKeyParts !== 'number' || typeof SplitKeyThreshold !== 'number')
    throw refuse('InvalidField', 'Split Key Parts and Threshold are numbers.');
  const prime = PrimeFieldSize instanceof Uint8Array && method === 'prime-field' ? { prime: magnitude(PrimeFieldSize) } : {};
  return {
    method,
    parts: SplitKeyParts,
    threshold: SplitKeyThreshold,
    ...prime,
    named: {
      SplitKeyParts,
      SplitKeyThreshold,
      SplitKeyMethod,
      ...(PrimeFieldSize === undefined ? {} : { PrimeFieldSize: fromBigInt(toBigInt(PrimeFieldSize as Uint8Array)) }),
      ...(SplitKeyPolynomial === undefined ? {} : { SplitKeyPolynomial }),
    },
  };
};

const checkScheme = ({ method, parts, threshold, prime }: Scheme): void => {
  if (parts < 2 || parts > MAX_PARTS) throw refuse('InvalidField', `Between 2 and ${MAX_PARTS} parts.`);
  if (threshold < 2 || threshold > parts) throw refuse('InvalidField', 'The threshold is between 2 and the number of parts.');
  // KMIP 2.1 §13.1: "The number of split keys is Split Key Parts (identical to Split Key Threshold)".
  if (method === 'xor' && threshold !== parts) throw refuse('BadCryptographicParameters', 'XOR needs all of its parts.');
  if ((method === 'prime-field') !== (prime !== undefined))
    throw refuse('BadCryptographicParameters', 'A prime field needs its Prime Field Size.');
};
/** The service makes no more objects in one call. */
const MAX_PARTS = 64;

interface Said {
  readonly algorithm?: string | number;
  readonly length?: number;
}
/** Cryptographic Algorithm and Length of a key. */
const saidOf = ({ object, versions }: ObjectView): Said => {
  const algorithm =
    storedOne(object.attributes, 'CryptographicAlgorithm') ?? (object.spec === undefined ? undefined : algorithmOfSpec(object.spec));
  const length = storedOne(object.attributes, 'CryptographicLength') ?? versions.find((v) => v.version === object.currentVersion)?.bits;
  return {
    ...(algorithm === undefined ? {} : { algorithm: algorithm as string | number }),
    ...(typeof length === 'number' ? { length } : {}),
  };
};

const numbered = (
  scheme: Scheme,
  said: Said,
  mask: number | undefined,
): readonly { readonly attributes: Readonly<Record<string, unknown>> }[] =>
  Array.from({ length: scheme.parts }, (_, index) => ({
    attributes: {
      ...keptBlock({ format: 'Raw', ...said, holds: 'bytes', beside: { ...scheme.named, KeyPartIdentifier: index + 1 } }),
      ...keptOne('KeyFormatType', 'Raw'),
      ...(said.algorithm === undefined ? {} : keptOne('CryptographicAlgorithm', said.algorithm)),
      ...(said.length === undefined ? {} : keptOne('CryptographicLength', said.length)),
      ...(mask === undefined ? {} : keptOne('CryptographicUsageMask', mask)),
    },
  }));

/** KMIP 2.1 §6.1.10: where the attributes of request and key differ, the key's count. */
const KEYS_OWN = ['CryptographicAlgorithm', 'CryptographicLength'];

const splitObject = async (
  key: string,
  scheme: Scheme,
  attributes: readonly KmipAttribute[],
  extra: Partial<NewObject>,
  call: KmipCall,
): Promise<readonly string[]> => {
  const base = await call.call('get-object', { key });
  const given = attributes.filter(({ name, vendor }) => vendor !== undefined || !KEYS_OWN.includes(name));
  const object = readNewObject(given, { type: 'split-key', call, usageDefault: [] });
  const hasMask = given.some(({ name, vendor }) => vendor === undefined && name === 'CryptographicUsageMask');
  const { items } = await call.call('split-key', {
    ...object,
    ...extra,
    key,
    method: scheme.method,
    threshold: scheme.threshold,
    count: scheme.parts,
    ...(scheme.prime === undefined ? {} : { prime: scheme.prime }),
    each: numbered(scheme, saidOf(base), hasMask ? undefined : toUsageMask(base.object.usage)),
  });
  return items.map((item) => item.object.id);
};

/** Without a key to split, one is made, split and gone again: only the parts stay (KMIP 2.1 §6.1.10 "generate a new split key"). */
const splitNew = async (
  scheme: Scheme,
  attributes: readonly KmipAttribute[],
  extra: Partial<NewObject>,
  call: KmipCall,
): Promise<readonly string[]> => {
  const wanted = readKeySpec(attributes, 'symmetric-key');
  const made = await call.call('create-key', { ...wanted, exportable: true, ...extra });
  try {
    return await splitObject(made.object.id, scheme, attributes, extra, call);
  } finally {
    await call.call('destroy', { key: made.object.id, pendingMs: 0, obliterate: true });
  }
};

export const createSplitKey: KmipHandler = async (payload, call) => {
  const scheme = schemeOf(payload);
  checkScheme(scheme);
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const extra = protectionOf(payload['ProtectionStorageMasks']);
  const ids =
    payload['UniqueIdentifier'] === undefined
      ? await splitNew(scheme, attributes, extra, call)
      : await splitObject(await targetOf(payload, call), scheme, attributes, extra, call);
  return { UniqueIdentifier: ids };
};

interface Part {
  readonly object: ManagedObject;
  readonly number: number;
  readonly scheme: Scheme;
}

const partOf = ({ object }: ObjectView): Part => {
  const beside = object.type === 'split-key' ? blockOf(object).beside : undefined;
  const number = beside?.['KeyPartIdentifier'];
  if (beside === undefined || typeof number !== 'number') throw refuse('InvalidObjectType', 'Only split keys are joined.');
  return { object, number, scheme: schemeOf(beside) };
};

const failure = (message: string) => refuse('CryptographicFailure', message);

/** Parts of one split, enough of them, each once. */
const joinable = (parts: readonly Part[]): Part => {
  const [first] = parts;
  if (first === undefined) throw refuse('InvalidMessage', 'The Unique Identifier is missing.');
  const { method, threshold, parts: total, prime } = first.scheme;
  const alike = parts.every(
    ({ scheme }) =>
      scheme.method === method &&
      scheme.threshold === threshold &&
      scheme.parts === total &&
      Buffer.from(scheme.prime ?? []).equals(prime ?? new Uint8Array()),
  );
  if (!alike) throw failure('These are not parts of one split.');
  if (parts.length < threshold) throw failure(`At least ${threshold} parts are needed.`);
  if (new Set(parts.map(({ number }) => number)).size !== parts.length) throw failure('A part is given twice.');
  return first;
};

const JOINED = ['symmetric-key', 'secret-data', 'private-key'] as const;

/** What the parts say of the key stands where the request says nothing. */
const withPartFacts = (attributes: readonly KmipAttribute[], { object }: Part): readonly KmipAttribute[] => {
  const { algorithm, length } = blockOf(object);
  const has = (wanted: string) => attributes.some(({ name, vendor }) => vendor === undefined && name === wanted);
  return [
    ...attributes,
    ...(algorithm === undefined || has('CryptographicAlgorithm') ? [] : [{ name: 'CryptographicAlgorithm', value: algorithm }]),
    ...(length === undefined || has('CryptographicLength') ? [] : [{ name: 'CryptographicLength', value: length }]),
  ];
};

const joinRequest = (
  payload: Fields,
  parts: readonly Part[],
  given: readonly KmipAttribute[],
  call: KmipCall,
): OperationRequest<'join-key'> => {
  const first = joinable(parts);
  const type = JOINED.find((one) => one === objectTypeOf(payload['ObjectType']));
  if (type === undefined) throw refuse('InvalidObjectType', 'Parts are joined to a symmetric key, a private key or secret data.');
  const attributes = withPartFacts(given, first);
  const wanted = readKeySpec(attributes, type);
  const made = readNewObject(attributes, { type, call, spec: wanted.spec });
  const { method, threshold, prime } = first.scheme;
  const variable = KEY_SPECS[wanted.spec].variableLength === true && wanted.bits !== undefined;
  const beside =
    type === 'secret-data'
      ? keptBlock({ format: 'Raw', holds: 'key', beside: { SecretDataType: payload['SecretDataType'] ?? 'Password' } })
      : {};
  return {
    ...made,
    ...protectionOf(payload['ProtectionStorageMasks']),
    attributes: { ...made.attributes, ...beside },
    type,
    spec: wanted.spec,
    parts: parts.map(({ object }) => object.id),
    numbers: parts.map(({ number }) => number),
    method,
    threshold,
    ...(prime === undefined ? {} : { prime }),
    ...(variable ? { length: Math.ceil((wanted.bits as number) / 8) } : {}),
  };
};

export const joinSplitKey: KmipHandler = async (payload, call) => {
  const value = payload['UniqueIdentifier'];
  const list = (Array.isArray(value) ? value : value === undefined ? [] : [value]) as readonly unknown[];
  if (list.length > MAX_PARTS) throw refuse('InvalidField', `At most ${MAX_PARTS} parts.`);
  const ids = list.map((one) => idOf(one, call));
  const views = await Promise.all(ids.map((key) => call.call('get-object', { key })));
  const given = await givenAttributes(payload, 'Attributes', call);
  const made = await call.call('join-key', joinRequest(payload, views.map(partOf), given, call));
  return { UniqueIdentifier: made.object.id };
};
