import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { type Algorithm, KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import type { NewObject, ObjectView, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import { Inexpressible, Refusal } from './cases/behaviour-case.js';
import { type Ask, attributesOf, bytes, idOf, maskOf, onObject, optional, otherHalf, type Translation, view } from './kmip-asking.js';
import { specOfKey } from './kmip-cryptography.js';
import {
  DATES,
  freeAttribute,
  hashParameters,
  limitsAttribute,
  named,
  newObject,
  OBJECT_TYPES,
  parametersOf,
  REVOCATIONS,
  specAttributes,
  tagAttribute,
  toSeconds,
  viewOf,
} from './kmip-words.js';

// The algebra’s making, reading and changing of objects as requests of KMIP.

export const createKey: Translation<'create-key'> = async (request, ask) => {
  const Attributes = [...specAttributes(request.spec, request.bits), ...maskOf(request, request.spec), ...newObject(request)];
  return view((await ask('Create', { ObjectType: 'SymmetricKey', Attributes } as never))['UniqueIdentifier'], ask);
};
export const createKeyPair: Translation<'create-key-pair'> = async (request, ask) => {
  if (request.publicKey !== undefined) throw new Inexpressible('translation of this yet: no case asks for it');
  const { names = [], tags = {}, dates, activate, usageLimits, ...rest } = request;
  const shared: NewObject = { ...(dates === undefined ? {} : { dates }), ...(activate === undefined ? {} : { activate }) };
  const own = { ...rest, names, tags, ...(usageLimits === undefined ? {} : { usageLimits }) };
  const made = await ask('CreateKeyPair', {
    CommonAttributes: [...specAttributes(request.spec), ...newObject(shared).filter(({ name }) => name !== 'Extractable')],
    PrivateKeyAttributes: [...maskOf(request, request.spec), ...newObject(own)],
  } as never);
  return { ...(await view(made['PrivateKeyUniqueIdentifier'], ask)), publicKeyId: made['PublicKeyUniqueIdentifier'] as string };
};

const FORMATS: Readonly<Record<string, string>> = { raw: 'Raw', pkcs8: 'PKCS_8', spki: 'X_509', opaque: 'Opaque' };
type Registering = Pick<OperationRequest<'register'>, 'type' | 'format' | 'spec' | 'material'>;
const objectOf = ({ type, format, spec, material }: Registering, wrapping: Fields = {}): Fields => {
  if (type === 'certificate') return { CertificateType: 'X_509', CertificateValue: material };
  if (type === 'opaque-object') return { OpaqueDataType: 0x80000001, OpaqueDataValue: material };
  const facts = spec === undefined ? [] : specAttributes(spec).filter(({ name }) => name !== 'CryptographicDomainParameters');
  const keyed = spec === undefined || spec === 'secret' ? {} : Object.fromEntries(facts.map(({ name, value }) => [name, value]));
  const KeyValue = Object.keys(wrapping).length === 0 ? { KeyMaterial: material } : material;
  const KeyBlock = { KeyFormatType: FORMATS[format] as string, KeyValue, ...keyed, ...wrapping } as Fields;
  return type === 'secret-data' ? { SecretDataType: 'Seed', KeyBlock } : { KeyBlock };
};
export const registered = async (request: NewObject & Registering, ask: Ask, wrapping: Fields = {}): Promise<ObjectView> => {
  const type = OBJECT_TYPES[request.type] as string;
  const curve = request.spec === undefined || request.spec === 'secret' ? [] : specAttributes(request.spec);
  const attributes = newObject(request).filter(({ name }) => request.type !== 'certificate' || name !== 'Extractable');
  const usage = request.usage ?? (request.spec === undefined ? undefined : KEY_SPECS[request.spec]?.usages);
  const Attributes = [
    ...curve.filter(({ name }) => name === 'CryptographicDomainParameters'),
    ...(usage === undefined ? [] : maskOf({ usage })),
    ...attributes,
  ];
  const answer = await ask('Register', { ObjectType: type, Attributes, [type]: objectOf(request, wrapping) } as never);
  const made = await view(answer['UniqueIdentifier'], ask);
  const known = made.object.spec !== undefined || !type.endsWith('Key') || Object.keys(wrapping).length > 0;
  const asked = request.spec === undefined || request.spec === 'secret' || request.spec === made.object.spec;
  if (!known || !asked) throw new Inexpressible('refusal of a key that is not what is said of it: it is kept as it came');
  return made;
};

const wrappedWith = (id: string, algorithm: Algorithm = 'aes-kwp'): Fields => ({
  WrappingMethod: 'Encrypt',
  EncryptionKeyInformation: { UniqueIdentifier: id, CryptographicParameters: parametersOf(algorithm) },
  EncodingOption: 'NoEncoding',
});
/** What is registered wrapped stays so: the server opens it for the client, who registers what was inside. */
export const unwrap: Translation<'unwrap'> = async (request, ask) => {
  const { unwrappingKey, wrapped, algorithm, ...wish } = request;
  const { type, format, spec } = wish;
  const KeyWrappingData = wrappedWith(await idOf(unwrappingKey, ask), algorithm);
  const kept = await registered({ type, format, spec, material: wrapped, exportable: true }, ask, { KeyWrappingData });
  const { object } = await get(kept.object.id, ask, { KeyWrapType: 'NotWrapped' });
  const opened = ((object['KeyBlock'] as Fields)['KeyValue'] as Fields)['KeyMaterial'];
  await ask('Destroy', { UniqueIdentifier: kept.object.id });
  return registered({ ...wish, material: bytes(opened) }, ask);
};

const get = async (id: string, ask: Ask, more: Fields = {}): Promise<{ type: string; object: Fields }> => {
  const answer = await ask('Get', { UniqueIdentifier: id, ...more });
  return { type: String(answer['ObjectType']), object: answer[String(answer['ObjectType'])] as Fields };
};
export const exportKey: Translation<'export-key'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const wrapping = request.wrappingKey === undefined ? undefined : await idOf(request.wrappingKey, ask);
  const more = wrapping === undefined ? {} : { KeyWrappingSpecification: wrappedWith(wrapping, request.wrapAlgorithm) };
  const { type, object } = await get(id, ask, more);
  const block = object['KeyBlock'] as Fields | undefined;
  const value = block?.['KeyValue'] ?? object['CertificateValue'] ?? object['OpaqueDataValue'];
  const material = bytes(value instanceof Uint8Array ? value : (value as Fields)['KeyMaterial']);
  const format = wrapping !== undefined ? 'wrapped' : String(block?.['KeyFormatType'] ?? 'Opaque').toLowerCase();
  const bits = Number(block?.['CryptographicLength'] ?? 0);
  const kind = Object.entries(OBJECT_TYPES).find(([, name]) => name === type)?.[0];
  return { objectId: id, version: 1, type: kind, format, material, bits } as OperationResponse<'export-key'>;
};
export const wrap: Translation<'wrap'> = async (request, ask) => {
  const wrapAlgorithm = request.algorithm ?? 'aes-kwp';
  const { objectId, version, material } = await exportKey({ key: request.key, wrappingKey: request.wrappingKey, wrapAlgorithm }, ask);
  return { objectId, version, algorithm: wrapAlgorithm, wrapped: material };
};

export const getPublicKey: Translation<'get-public-key'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const { object } = await get(await otherHalf(id, 'private-key', 'public-key', ask), ask, { KeyFormatType: 'X_509' });
  const value = (object['KeyBlock'] as Fields)['KeyValue'] as Fields;
  return { objectId: id, version: 1, spec: await specOfKey(id, ask), publicKey: bytes(value['KeyMaterial']) };
};

export const reKey: Translation<'re-key'> = async (request, ask) => {
  const id = await idOf(request.key, ask);
  const Attributes = [
    ...(request.exportable === undefined ? [] : [{ name: 'Extractable', value: request.exportable }]),
    ...(request.root === undefined ? [] : newObject({ root: request.root })),
  ];
  const { type } = viewOf(await attributesOf(id, ask, 'ObjectType')).object;
  if (type !== 'private-key') return view((await ask('ReKey', { UniqueIdentifier: id, Attributes } as never))['UniqueIdentifier'], ask);
  const made = await ask('ReKeyKeyPair', { PrivateKeyUniqueIdentifier: id, PrivateKeyAttributes: Attributes } as never);
  return { ...(await view(made['PrivateKeyUniqueIdentifier'], ask)), publicKeyId: made['PublicKeyUniqueIdentifier'] as string };
};

export const revoke: Translation<'revoke'> = async ({ key, reason, message, compromisedAt }, ask) => {
  const id = await idOf(key, ask);
  const RevocationReason = { RevocationReasonCode: REVOCATIONS[reason] ?? reason, ...optional('RevocationMessage', message) };
  const at = compromisedAt === undefined ? {} : { CompromiseOccurrenceDate: toSeconds(compromisedAt) };
  await ask('Revoke', { UniqueIdentifier: id, RevocationReason, ...at });
  return view(id, ask);
};
export const destroy: Translation<'destroy'> = async ({ key, pendingMs }, ask) => {
  if (pendingMs !== 0) throw new Inexpressible('window in which a destroy can be cancelled');
  const id = await idOf(key, ask);
  await ask('Destroy', { UniqueIdentifier: id });
  return view(id, ask);
};
/** KMIP calls it an error to archive what is archived; the algebra does not mind. */
export const archive: Translation<'archive'> = async (request, ask) => {
  try {
    return await onObject<'archive'>('Archive')(request, ask);
  } catch (error) {
    if (!(error instanceof Refusal) || error.fault.code !== 'archived') throw error;
    return view(await idOf(request.key, ask), ask);
  }
};

/** One request for each thing that is to differ. */
export const updateObject: Translation<'update-object'> = async (request, ask) => {
  if (request.revision !== undefined) throw new Inexpressible('revision of an object');
  if (request.lease !== undefined) throw new Inexpressible('wish for the length of a lease');
  const id = await idOf(request.key, ask);
  const { object } = await view(id, ask);
  const change = async (operation: string, field: string, value: unknown): Promise<void> => {
    try {
      await ask(operation, { UniqueIdentifier: id, [field]: value as never });
    } catch (error) {
      // What the object's state has settled is "wrong state" in KMIP's words (1.4 §3, Modifiable by client).
      if (!(error instanceof Refusal) || error.fault.code !== 'wrong-state') throw error;
      throw new Refusal({ ...error.fault, code: 'attribute-read-only' });
    }
  };
  const set = (attribute: KmipAttribute) => change('SetAttribute', 'NewAttribute', attribute);
  const remove = (attribute: KmipAttribute) => change('DeleteAttribute', 'CurrentAttribute', attribute);
  const removeAll = (name: string) => change('DeleteAttribute', 'AttributeReference', { name });
  for (const name of request.names ?? []) if (!object.names.includes(name)) await change('AddAttribute', 'NewAttribute', named(name));
  for (const name of request.names === undefined ? [] : object.names) if (!request.names?.includes(name)) await remove(named(name));
  for (const [name, text] of Object.entries(request.tags ?? {})) await set(tagAttribute(name, text));
  for (const [name, value] of Object.entries(request.attributes ?? {})) {
    await (value === null ? remove(freeAttribute(name, object.attributes[name])) : set(freeAttribute(name, value)));
  }
  if (request.description !== undefined)
    await (request.description === null ? removeAll('Description') : set({ name: 'Description', value: request.description }));
  for (const [name, ms] of Object.entries(request.dates ?? {})) {
    await set({ name: DATES[name as 'activation'], value: toSeconds(ms as number) });
  }
  if (request.usageLimits !== undefined)
    await (request.usageLimits === null ? removeAll('UsageLimits') : set(limitsAttribute(request.usageLimits)));
  return view(id, ask);
};

const derived = (request: NewObject & { spec: KeySpec; length?: number }): Fields => {
  const pair = KEY_SPECS[request.spec].shape === 'pair';
  if (pair) throw new Inexpressible('derivation of a pair');
  const bits = request.length === undefined ? undefined : request.length * 8;
  return {
    ObjectType: request.spec === 'secret' ? 'SecretData' : 'SymmetricKey',
    Attributes: [...specAttributes(request.spec, bits), ...maskOf({ usage: KEY_SPECS[request.spec].usages }), ...newObject(request)],
  } as never;
};
export const derive: Translation<'derive'> = async (request, ask) => {
  const hash = /^hkdf-(sha\d+)$/.exec(request.algorithm)?.[1];
  if (hash === undefined) throw new Inexpressible('translation of this yet: no case asks for it');
  const made = await ask('DeriveKey', {
    ...derived(request),
    UniqueIdentifier: [await idOf(request.key, ask)],
    DerivationMethod: 'HKDF',
    DerivationParameters: {
      CryptographicParameters: hashParameters(hash),
      ...optional('Salt', request.salt),
      ...optional('DerivationData', request.info),
    },
  });
  return view(made['UniqueIdentifier'], ask);
};
/** The other side's public key is an object of its own first. */
export const agree: Translation<'agree'> = async (request, ask) => {
  const key = await idOf(request.key, ask);
  const peer = await registered(
    { type: 'public-key', format: 'spki', material: request.peerPublicKey, usage: ['agree', 'derive'], activate: true },
    ask,
  );
  const made = await ask('DeriveKey', {
    ...derived(request),
    UniqueIdentifier: [key, peer.object.id],
    DerivationMethod: 'AsymmetricKey',
    DerivationParameters: {},
  });
  return view(made['UniqueIdentifier'], ask);
};
