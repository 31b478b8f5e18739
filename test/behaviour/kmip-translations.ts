import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { ALGORITHMS, type Algorithm, KEY_SPECS, type KeySpec, toUsageMask } from '@aegis/rot-spi/vocabulary';
import {
  decodeEnvelope,
  type EnvelopeAlgorithm,
  encodeEnvelope,
  envelopeHeader,
  joinBytes,
  type NewObject,
  type ObjectView,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
} from '../../src/domain/index.js';
import { Inexpressible, Refusal } from './cases/behaviour-case.js';
import {
  DATES,
  defaultAlgorithm,
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

/** Sends one KMIP operation and gives the answer's payload; a refusal is thrown in the algebra's words. */
export type Ask = (operation: string, payload: Fields) => Promise<Fields>;
type Translation<O extends OperationName> = (request: OperationRequest<O>, ask: Ask) => Promise<OperationResponse<O>>;

const bytes = (value: unknown): Uint8Array => new Uint8Array((value as Uint8Array | undefined) ?? []);
const absent = (message: string) => new Refusal({ code: 'not-found', message });
const wrong = (field: string, message: string) => new Refusal({ code: 'invalid-field', field, message });
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The id of what the algebra names by id or alias: KMIP names by id, and finds by Name. An object has one version, its first. */
const idOf = async (key: string, ask: Ask, version?: number): Promise<string> => {
  const [, text, suffix] = /^(.*?)(?:@(\d+))?$/s.exec(key) as unknown as [string, string, string | undefined];
  if ((suffix ?? '1') !== '1' || (version ?? 1) !== 1) throw new Inexpressible('versions of a key');
  if (ID.test(text)) return text;
  const found = (await locate(text, ask))[0];
  if (found === undefined) throw absent(`Locate finds no ${text}.`);
  return found;
};
const locate = async (name: string, ask: Ask): Promise<readonly string[]> => {
  const found = (await ask('Locate', { Attributes: [named(name)] } as never))['UniqueIdentifier'] ?? [];
  return (Array.isArray(found) ? found : [found]) as readonly string[];
};

const attributesOf = async (id: string, ask: Ask, ...names: readonly string[]): Promise<readonly KmipAttribute[]> => {
  const some = names.length === 0 ? {} : { AttributeReference: names.map((name) => ({ name })) };
  return (await ask('GetAttributes', { UniqueIdentifier: id, ...some } as never))['Attributes'] as unknown as readonly KmipAttribute[];
};
const view = async (id: unknown, ask: Ask): Promise<ObjectView> => viewOf(await attributesOf(id as string, ask));

/** An operation that names the object and changes its state; the answer is the object as it then is. */
const onObject =
  <O extends 'activate' | 'archive' | 'recover'>(operation: string): Translation<O> =>
  async ({ key }, ask) => {
    const id = await idOf(key, ask);
    await ask(operation, { UniqueIdentifier: id });
    return view(id, ask) as never;
  };
const unsaid = (what: string) => async (): Promise<never> => {
  throw new Inexpressible(what);
};

const maskOf = ({ usage }: NewObject, spec?: KeySpec): KmipAttribute[] => {
  const fit = spec === undefined || usage?.every((one) => KEY_SPECS[spec]?.usages.includes(one) ?? true);
  if (fit === false) throw new Inexpressible('refusal of usages that mean nothing: the mask is kept as given');
  return usage === undefined ? [] : [{ name: 'CryptographicUsageMask', value: toUsageMask(usage) }];
};

/** Of a pair the half wanted, by the link of the other. */
const otherHalf = async (id: string, from: string, to: string, ask: Ask): Promise<string> => {
  const { object } = viewOf(await attributesOf(id, ask, 'ObjectType', 'Link'));
  if (object.type !== from) return id;
  const half = object.links.find(({ type }) => type === to)?.target;
  if (half === undefined) throw new Inexpressible('public half of a private key that was registered alone');
  return half;
};

// ---- Cryptography -------------------------------------------------------------------------------------------------

const specOfKey = async (id: string, ask: Ask): Promise<KeySpec> => {
  const told = await attributesOf(id, ask, 'CryptographicAlgorithm', 'CryptographicLength', 'CryptographicDomainParameters');
  const { spec } = viewOf(told).object;
  // Whatever the object is: the operation itself is to be refused, and by the plane.
  return spec ?? 'aes-256';
};
type Use = Parameters<typeof defaultAlgorithm>[1];
const algorithmFor = async (asked: Algorithm | undefined, id: string, use: Use, ask: Ask): Promise<Algorithm> =>
  asked ?? defaultAlgorithm(await specOfKey(id, ask), use);

const optional = (field: string, value: unknown): Fields => (value === undefined ? {} : { [field]: value as never });
const isAead = (algorithm: Algorithm): boolean => ALGORITHMS[algorithm]?.tagLength !== undefined;

const encryptRaw = async (id: string, algorithm: Algorithm, request: Partial<OperationRequest<'encrypt'>>, ask: Ask) => {
  const made = await ask('Encrypt', {
    UniqueIdentifier: id,
    CryptographicParameters: { ...parametersOf(algorithm), ...optional('TagLength', request.tagLength) },
    Data: request.plaintext as Uint8Array,
    ...optional('IVCounterNonce', request.iv),
    ...optional('AuthenticatedEncryptionAdditionalData', request.aad),
  });
  const [iv, tag] = [made['IVCounterNonce'] ?? request.iv, made['AuthenticatedEncryptionTag']];
  return {
    ciphertext: bytes(made['Data']),
    ...(iv === undefined ? {} : { iv: bytes(iv) }),
    ...(tag === undefined ? {} : { tag: bytes(tag) }),
  };
};

/** KMIP has no envelope: the client keeps id, algorithm, IV and tag beside the ciphertext, in the service's own layout, and binds the header. */
const encrypt: Translation<'encrypt'> = async (request, ask) => {
  if (request.iv !== undefined) throw new Inexpressible('key that lets no caller choose an IV');
  const named = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, named, 'cipher', ask);
  if (request.format === 'raw') return { objectId: named, version: 1, algorithm, ...(await encryptRaw(named, algorithm, request, ask)) };
  // The envelope names the half that opens it.
  const id = algorithm.startsWith('rsa') ? await otherHalf(named, 'public-key', 'private-key', ask) : named;
  const facts = { objectId: id, version: 1, algorithm };
  const { ivLength = 0, tagLength = 0 } = ALGORITHMS[algorithm] ?? {};
  const header = () => envelopeHeader(id, 1, algorithm as EnvelopeAlgorithm, ivLength, request.tagLength ?? tagLength);
  const aad = isAead(algorithm) ? { aad: joinBytes(header(), request.aad ?? new Uint8Array()) } : {};
  const made = await encryptRaw(named, algorithm, { ...request, ...aad }, ask);
  return { ...facts, ciphertext: encodeEnvelope(header(), bytes(made.iv), bytes(made.tag), made.ciphertext) };
};

const decryptRaw = async (id: string, algorithm: Algorithm, request: Partial<OperationRequest<'decrypt'>>, ask: Ask) => {
  const { Data } = await ask('Decrypt', {
    UniqueIdentifier: id,
    CryptographicParameters: { ...parametersOf(algorithm), ...optional('TagLength', request.tagLength) },
    Data: request.ciphertext as Uint8Array,
    ...optional('IVCounterNonce', request.iv),
    ...optional('AuthenticatedEncryptionTag', request.tag),
    ...optional('AuthenticatedEncryptionAdditionalData', request.aad),
  });
  return { objectId: id, version: 1, algorithm, plaintext: bytes(Data) };
};

const decrypt: Translation<'decrypt'> = async (request, ask) => {
  const key = request.key === undefined ? undefined : await idOf(request.key, ask, request.version);
  if (request.format === 'raw') {
    const id = key as string;
    return decryptRaw(id, await algorithmFor(request.algorithm, id, 'cipher', ask), request, ask);
  }
  const { ciphertext } = request;
  const envelope = decodeEnvelope(ciphertext);
  if (envelope === undefined) throw wrong('ciphertext', 'no envelope');
  const { objectId, algorithm, iv, tag, version } = envelope;
  const { ivLength = 0, tagLength = 0 } = ALGORITHMS[algorithm];
  if (iv.length !== ivLength || tag.length !== tagLength) throw wrong('ciphertext', 'no envelope');
  if (version !== 1 || (key !== undefined && key !== objectId)) throw wrong('ciphertext', 'of another key');
  // A client that opens what the envelope says without authentication can be made to: only by name.
  const bound = isAead(algorithm) || algorithm.startsWith('rsa-oaep');
  if (request.algorithm === undefined ? !bound : request.algorithm !== algorithm) throw wrong('algorithm', 'not the one asked for');
  const header = ciphertext.subarray(0, ciphertext.length - iv.length - tag.length - envelope.ciphertext.length);
  const aad = isAead(algorithm) ? { aad: joinBytes(header, request.aad ?? new Uint8Array()) } : {};
  const sealed = { ciphertext: envelope.ciphertext, ...(iv.length > 0 ? { iv } : {}), ...(tag.length > 0 ? { tag } : {}), ...aad };
  return decryptRaw(objectId, algorithm, sealed, ask);
};

const signed = (request: OperationRequest<'sign'>): Fields => {
  if (request.encoding === 'p1363') throw new Inexpressible('ECDSA signature as r and s: Signature Data is DER');
  return request.prehashed === true ? { DigestedData: request.data } : { Data: request.data };
};
const sign: Translation<'sign'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, id, 'signature', ask);
  const CryptographicParameters = parametersOf(algorithm);
  const { SignatureData } = await ask('Sign', { UniqueIdentifier: id, CryptographicParameters, ...signed(request) });
  return { objectId: id, version: 1, algorithm, signature: bytes(SignatureData) };
};
const valid = (answer: Fields): { valid: boolean; version?: number } =>
  answer['ValidityIndicator'] === 'Valid' ? { valid: true, version: 1 } : { valid: false };
const verify: Translation<'verify'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, id, 'signature', ask);
  const CryptographicParameters = parametersOf(algorithm);
  const SignatureData = request.signature;
  const answer = await ask('SignatureVerify', { UniqueIdentifier: id, CryptographicParameters, ...signed(request), SignatureData });
  return { objectId: id, algorithm, ...valid(answer) };
};

// ---- Objects ------------------------------------------------------------------------------------------------------

const createKey: Translation<'create-key'> = async (request, ask) => {
  const Attributes = [...specAttributes(request.spec, request.bits), ...maskOf(request, request.spec), ...newObject(request)];
  return view((await ask('Create', { ObjectType: 'SymmetricKey', Attributes } as never))['UniqueIdentifier'], ask);
};
const createKeyPair: Translation<'create-key-pair'> = async (request, ask) => {
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
const registered = async (request: NewObject & Registering, ask: Ask, wrapping: Fields = {}): Promise<ObjectView> => {
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
const unwrap: Translation<'unwrap'> = async (request, ask) => {
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
const exportKey: Translation<'export-key'> = async (request, ask) => {
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
const wrap: Translation<'wrap'> = async (request, ask) => {
  const wrapAlgorithm = request.algorithm ?? 'aes-kwp';
  const { objectId, version, material } = await exportKey({ key: request.key, wrappingKey: request.wrappingKey, wrapAlgorithm }, ask);
  return { objectId, version, algorithm: wrapAlgorithm, wrapped: material };
};

const getPublicKey: Translation<'get-public-key'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const { object } = await get(await otherHalf(id, 'private-key', 'public-key', ask), ask, { KeyFormatType: 'X_509' });
  const value = (object['KeyBlock'] as Fields)['KeyValue'] as Fields;
  return { objectId: id, version: 1, spec: await specOfKey(id, ask), publicKey: bytes(value['KeyMaterial']) };
};

const reKey: Translation<'re-key'> = async (request, ask) => {
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

const revoke: Translation<'revoke'> = async ({ key, reason, message, compromisedAt }, ask) => {
  const id = await idOf(key, ask);
  const RevocationReason = { RevocationReasonCode: REVOCATIONS[reason] ?? reason, ...optional('RevocationMessage', message) };
  const at = compromisedAt === undefined ? {} : { CompromiseOccurrenceDate: toSeconds(compromisedAt) };
  await ask('Revoke', { UniqueIdentifier: id, RevocationReason, ...at });
  return view(id, ask);
};
const destroy: Translation<'destroy'> = async ({ key, pendingMs }, ask) => {
  if (pendingMs !== 0) throw new Inexpressible('window in which a destroy can be cancelled');
  const id = await idOf(key, ask);
  await ask('Destroy', { UniqueIdentifier: id });
  return view(id, ask);
};
/** KMIP calls it an error to archive what is archived; the algebra does not mind. */
const archive: Translation<'archive'> = async (request, ask) => {
  try {
    return await onObject<'archive'>('Archive')(request, ask);
  } catch (error) {
    if (!(error instanceof Refusal) || error.fault.code !== 'archived') throw error;
    return view(await idOf(request.key, ask), ask);
  }
};

/** One request for each thing that is to differ. */
const updateObject: Translation<'update-object'> = async (request, ask) => {
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

// ---- Derivation ---------------------------------------------------------------------------------------------------

const derived = (request: NewObject & { spec: KeySpec; length?: number }): Fields => {
  const pair = KEY_SPECS[request.spec].shape === 'pair';
  if (pair) throw new Inexpressible('derivation of a pair');
  const bits = request.length === undefined ? undefined : request.length * 8;
  return {
    ObjectType: request.spec === 'secret' ? 'SecretData' : 'SymmetricKey',
    Attributes: [...specAttributes(request.spec, bits), ...maskOf({ usage: KEY_SPECS[request.spec].usages }), ...newObject(request)],
  } as never;
};
const derive: Translation<'derive'> = async (request, ask) => {
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
const agree: Translation<'agree'> = async (request, ask) => {
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

// ---- Streams ------------------------------------------------------------------------------------------------------

const STREAMS: Readonly<Record<string, readonly [operation: string, use: Use | undefined]>> = {
  sign: ['Sign', 'signature'],
  verify: ['SignatureVerify', 'signature'],
  encrypt: ['Encrypt', 'cipher'],
  decrypt: ['Decrypt', 'cipher'],
  digest: ['Hash', undefined],
};
const begin: Translation<'begin-operation'> = async (request, ask) => {
  const [operation, use] = STREAMS[request.kind] ?? [];
  if (operation === undefined) throw new Inexpressible('operation of a kind that does not exist');
  const id = request.key === undefined ? undefined : await idOf(request.key, ask);
  const algorithm = use === undefined || id === undefined ? undefined : await algorithmFor(request.algorithm, id, use, ask);
  const hash = request.hash === undefined ? undefined : hashParameters(request.hash);
  const begun = await ask(operation, {
    ...optional('UniqueIdentifier', id),
    ...optional('CryptographicParameters', algorithm === undefined ? hash : parametersOf(algorithm)),
    InitIndicator: true,
  });
  const correlation = Buffer.from(bytes(begun['CorrelationValue'])).toString('base64');
  const iv = begun['IVCounterNonce'] === undefined ? {} : { iv: bytes(begun['IVCounterNonce']) };
  return {
    operation: JSON.stringify([operation, correlation, request.hash]),
    objectId: id,
    version: 1,
    algorithm,
    ...iv,
  } as unknown as OperationResponse<'begin-operation'>;
};
const part = async (request: OperationRequest<'finish-operation'>, last: boolean, ask: Ask): Promise<Fields> => {
  const [operation, correlation, hash] = JSON.parse(request.operation) as [string, string, string | null];
  return ask(operation, {
    // Hash has its parameters in every part.
    ...(hash === null ? {} : { CryptographicParameters: hashParameters(hash) }),
    CorrelationValue: bytes(Buffer.from(correlation, 'base64')),
    ...optional('Data', request.data),
    ...optional('SignatureData', request.signature),
    ...(last ? { FinalIndicator: true } : {}),
  });
};
const finish: Translation<'finish-operation'> = async (request, ask) => {
  const answer = await part(request, true, ask);
  const verdict = answer['ValidityIndicator'] === undefined ? {} : valid(answer);
  return { output: bytes(answer['SignatureData'] ?? answer['Data']), ...verdict } as OperationResponse<'finish-operation'>;
};

const mac = async (request: OperationRequest<'mac'>, ask: Ask): Promise<{ id: string; algorithm: Algorithm; payload: Fields }> => {
  const id = await idOf(request.key, ask);
  const algorithm = await algorithmFor(request.algorithm, id, 'mac', ask);
  return { id, algorithm, payload: { UniqueIdentifier: id, CryptographicParameters: parametersOf(algorithm), Data: request.data } };
};

/** Operation of the algebra → requests of KMIP. What has no row no case uses. */
export const KMIP_TRANSLATIONS: { readonly [O in OperationName]?: Translation<O> } = {
  'create-key': createKey,
  'create-key-pair': createKeyPair,
  register: registered,
  'import-key': unsaid('import-wrapping key'),
  'create-import-wrapping-key': unsaid('import-wrapping key'),
  'get-object': async ({ key }, ask) => view(await idOf(key, ask), ask),
  locate: async ({ name = '' }, ask) => ({
    items: await Promise.all((await locate(name, ask)).map(async (id) => (await view(id, ask)).object)),
  }),
  'get-public-key': getPublicKey,
  'export-key': exportKey,
  'update-object': updateObject,
  activate: onObject('Activate'),
  rotate: unsaid('rotation: Re-key makes another object'),
  're-key': reKey,
  revoke,
  archive,
  recover: onObject('Recover'),
  destroy,
  'cancel-destroy': unsaid('window in which a destroy can be cancelled'),
  encrypt,
  decrypt,
  're-encrypt': unsaid('re-encryption'),
  'generate-data-key': unsaid('data keys'),
  sign,
  verify,
  mac: async (request, ask) => {
    const { id, algorithm, payload } = await mac(request, ask);
    return { objectId: id, version: 1, algorithm, mac: bytes((await ask('MAC', payload))['MACData']) };
  },
  'mac-verify': async (request, ask) => {
    const { id, algorithm, payload } = await mac(request, ask);
    return { objectId: id, algorithm, ...valid(await ask('MACVerify', { ...payload, MACData: request.mac })) };
  },
  wrap,
  unwrap,
  derive,
  agree,
  random: async ({ length }, ask) => ({ bytes: bytes((await ask('RNGRetrieve', { DataLength: length }))['Data']) }),
  digest: async ({ hash, data }, ask) => ({
    digest: bytes((await ask('Hash', { CryptographicParameters: hashParameters(hash), Data: data }))['Data']),
  }),
  'begin-operation': begin,
  'update-operation': async (request, ask) => ({ output: bytes((await part(request, false, ask))['Data']) }),
  'finish-operation': finish,
  'cancel-operation': unsaid('way to drop a stream'),
  'create-csr': unsaid('certificate request made by a key'),
  'self-sign': unsaid('self-signed certificate made by a key'),
};
