import { compareVersions, type Fields, type KmipVersion } from '@aegis/kmip-ttlv';
import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import { FaultError, type ManagedObject } from '../../../domain/index.js';
import { identifierOf } from '../attributes/target.js';
import { type KmipCall, refuse } from '../contract.js';
import type { KeyFacts } from '../cryptography/key-facts.js';
import { macFor } from '../cryptography/macs.js';
import type { CryptographicParameters } from '../cryptography/payload-fields.js';
import { signatureFor } from '../cryptography/signatures.js';
import { choiceFor, parametersFor, type WrappingChoice } from './wrapping-algorithms.js';

// Key Wrapping Specification and Key Wrapping Data (KMIP 2.1 §3.3, §7.18): which keys, which method, what is wrapped.

/** A key named by Encryption Key Information or MAC/Signature Key Information. */
export interface NamedKey {
  readonly id: string;
  readonly object: ManagedObject;
  readonly parameters: CryptographicParameters;
}

export interface Wrapping {
  readonly method: string;
  readonly encryption?: NamedKey & { readonly choice: WrappingChoice };
  readonly authentication?: NamedKey;
  readonly encoded: boolean;
}

const FAULTS: Readonly<Record<string, readonly [reason: string, message: string]>> = {
  'not-found': ['WrappingObjectNotFound', 'The wrapping key does not exist.'],
  destroyed: ['WrappingObjectDestroyed', 'The wrapping key is destroyed.'],
  archived: ['WrappingObjectArchived', 'The wrapping key is archived.'],
};
/** What a fault about the wrapping key is called (KMIP 2.1 §6.1.19.1). */
export const wrappingFault = (error: unknown): unknown => {
  const named = error instanceof FaultError ? FAULTS[error.fault.code] : undefined;
  return named === undefined ? error : refuse(named[0], named[1]);
};

const wrappingObject = async (id: string, call: KmipCall): Promise<ManagedObject> => {
  try {
    const { object } = await call.call('get-object', { key: id });
    if (object.state === 'destroyed' || object.state === 'destroyed-compromised') {
      throw refuse('WrappingObjectDestroyed', 'The wrapping key is destroyed.');
    }
    if (object.archived) throw refuse('WrappingObjectArchived', 'The wrapping key is archived.');
    return object;
  } catch (error) {
    throw wrappingFault(error);
  }
};

const keyIn = async (information: unknown, call: KmipCall, strict: boolean): Promise<NamedKey | undefined> => {
  if (information === undefined) return undefined;
  const { UniqueIdentifier: named, CryptographicParameters: asked } = information as Fields;
  const id = identifierOf(named, call);
  const object = await wrappingObject(id, call);
  return { id, object, parameters: parametersFor(object, asked as Fields | undefined, strict) };
};

const ENCRYPTS = ['Encrypt', 'EncryptThenMACSign', 'MACSignThenEncrypt'];
const AUTHENTICATES = ['MACSign', 'EncryptThenMACSign', 'MACSignThenEncrypt'];

/**
 * Both structures have the same fields here. `specification`: a request to wrap, whose parameters must be the key's (KMIP 2.1 §7.18);
 * the data beside what is wrapped already say how that was done.
 * @throws KmipRefusal
 */
export const readWrapping = async (fields: Fields, call: KmipCall, use: 'specification' | 'data'): Promise<Wrapping> => {
  const strict = use === 'specification';
  const method = String(fields['WrappingMethod']);
  if (!ENCRYPTS.includes(method) && !AUTHENTICATES.includes(method)) {
    throw refuse('FeatureNotSupported', 'Wrapping methods are Encrypt, MAC/sign and the two of both.');
  }
  const encryption = ENCRYPTS.includes(method) ? await keyIn(fields['EncryptionKeyInformation'], call, strict) : undefined;
  const authentication = AUTHENTICATES.includes(method) ? await keyIn(fields['MACSignatureKeyInformation'], call, strict) : undefined;
  if (encryption === undefined && ENCRYPTS.includes(method)) throw refuse('InvalidField', 'The method needs Encryption Key Information.');
  if (authentication === undefined && AUTHENTICATES.includes(method)) {
    throw refuse('InvalidField', 'The method needs MAC/Signature Key Information.');
  }
  const option = fields['EncodingOption'] ?? 'TTLVEncoding';
  if (option !== 'NoEncoding' && option !== 'TTLVEncoding') throw refuse('EncodingOptionError', 'The Encoding Option is not known.');
  return {
    method,
    ...(encryption === undefined ? {} : { encryption: { ...encryption, choice: choiceFor(encryption.object, encryption.parameters) } }),
    ...(authentication === undefined ? {} : { authentication }),
    encoded: option === 'TTLVEncoding',
  };
};

/** Facts for the tables of MACs and signatures; without any parameters the algorithm is the usual one of the key. */
const factsFor = ({ object, parameters }: NamedKey): KeyFacts | undefined =>
  object.spec === undefined || Object.keys(parameters).length === 0
    ? undefined
    : { spec: object.spec, family: KEY_SPECS[object.spec].family, named: undefined, parameters };
const signing = (key: NamedKey) => {
  const facts = factsFor(key);
  return facts === undefined ? {} : signatureFor(facts, undefined);
};
const macing = (key: NamedKey) => {
  const facts = factsFor(key);
  return facts === undefined ? {} : macFor(facts);
};

/** MAC under a symmetric key, signature under a private one. */
export const authenticate = async (key: NamedKey, data: Uint8Array, call: KmipCall): Promise<Uint8Array> => {
  const { id, object } = key;
  try {
    if (object.type === 'private-key') return (await call.call('sign', { key: id, data, ...signing(key) })).signature;
    return (await call.call('mac', { key: id, data, ...macing(key) })).mac;
  } catch (error) {
    throw wrappingFault(error);
  }
};

const VERIFYING = ['private-key', 'public-key', 'certificate'];
/** Checks a MAC or signature; a signature also under the corresponding public key. */
const isAuthentic = async (key: NamedKey, data: Uint8Array, value: Uint8Array, call: KmipCall): Promise<boolean> => {
  const { id, object } = key;
  try {
    if (VERIFYING.includes(object.type)) return (await call.call('verify', { key: id, data, signature: value, ...signing(key) })).valid;
    return (await call.call('mac-verify', { key: id, data, mac: value, ...macing(key) })).valid;
  } catch (error) {
    throw wrappingFault(error);
  }
};

/** Encoding Option is of 1.1; a 1.0 message is TTLV encoded and does not say so. */
export const wrappingData = (
  specification: Fields,
  made: { readonly iv?: Uint8Array; readonly mac?: Uint8Array },
  version: KmipVersion,
): Fields => {
  const { AttributeName: _, $extra: __, ...rest } = specification;
  return {
    ...rest,
    ...(made.mac === undefined ? {} : { MACSignature: made.mac }),
    ...(made.iv === undefined ? {} : { IVCounterNonce: made.iv }),
    ...(rest['EncodingOption'] === undefined || compareVersions(version, '1.1') < 0 ? {} : { EncodingOption: rest['EncodingOption'] }),
  };
};

export interface OpenedValue {
  /** What was wrapped; fresh bytes, overwritten by the caller. */
  readonly bytes: Uint8Array;
  readonly encoded: boolean;
}

/**
 * Undoes Key Wrapping Data: checks what authenticates, unwraps what is encrypted. `value` are the bytes of the Key Value.
 * @throws KmipRefusal Cryptographic Failure for a MAC or signature that does not match
 */
export const unwrapValue = async (wrapping: Wrapping, data: Fields, value: Uint8Array, call: KmipCall): Promise<OpenedValue> => {
  const { method, encryption, authentication, encoded } = wrapping;
  const mac = data['MACSignature'];
  const check = async (bytes: Uint8Array): Promise<void> => {
    if (authentication === undefined) return;
    if (!(mac instanceof Uint8Array) || !(await isAuthentic(authentication, bytes, mac, call))) {
      throw refuse('CryptographicFailure', 'The MAC or signature of the Key Value does not match.');
    }
  };
  if (method !== 'MACSignThenEncrypt') await check(value);
  if (encryption === undefined) return { bytes: new Uint8Array(value), encoded };
  const iv = data['IVCounterNonce'];
  try {
    const { material } = await call.call('unwrap-data', {
      unwrappingKey: encryption.id,
      wrapped: value,
      ...encryption.choice,
      ...(iv instanceof Uint8Array ? { iv } : {}),
    });
    if (method === 'MACSignThenEncrypt') await check(material);
    return { bytes: material, encoded };
  } catch (error) {
    throw wrappingFault(error);
  }
};
