import type { StructureFields } from '@aegis/kmip-ttlv';
import { type Algorithm, type HashName, isAlgorithm, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { ObjectView, OperationRequest } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { readKeySpec, type WantedKey } from '../attributes/key-spec.js';
import { readNewObject } from '../attributes/new-object.js';
import { idOf } from '../attributes/target.js';
import { objectTypeOf } from '../attributes/vocabulary.js';
import { type Fields, type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { cipherFor } from '../cryptography/ciphers.js';
import { hashNamed } from '../cryptography/hashes.js';
import { callWithKey, type KeyFacts } from '../cryptography/key-facts.js';
import { bytesOf, type CryptographicParameters, nameOf } from '../cryptography/payload-fields.js';

// Derive Key (KMIP 2.1 §6.1.14, §7.12; 1.4 §4.6). The key material of base and result stays in their root of trust.

type Parameters = StructureFields<'DerivationParameters'>;
type Derivation = Pick<OperationRequest<'derive'>, 'algorithm'> & Partial<OperationRequest<'derive'>>;

const BITS = 8;

const bytesOfLength = ({ spec, bits }: WantedKey): { readonly length?: number } => {
  if (bits === undefined) return {};
  if (bits % BITS !== 0) throw refuse('InvalidAttributeValue', 'The Cryptographic Length must be whole bytes.');
  return KEY_SPECS[spec].variableLength === true ? { length: bits / BITS } : {};
};

/** HMAC's hash: of an HMAC key its own; else from the parameters, as Hashing Algorithm or as an HMAC algorithm. */
const prfHash = ({ spec, parameters }: KeyFacts, given: CryptographicParameters): HashName | undefined => {
  const own = KEY_SPECS[spec].hash;
  if (own !== undefined) return own;
  for (const from of [given, parameters]) {
    const hash = hashNamed(from.HashingAlgorithm);
    if (hash !== undefined) return hash;
    const hmac = /^HMAC_SHA(3_)?([0-9]+)$/.exec(nameOf(from.CryptographicAlgorithm, 'CryptographicAlgorithm') ?? '');
    if (hmac !== null) return hashNamed(hmac[1] === undefined ? (hmac[2] === '1' ? 'SHA_1' : `SHA_${hmac[2]}`) : `SHA3_${hmac[2]}`);
  }
  return undefined;
};

const algorithmOf = (name: string): Algorithm => {
  if (!isAlgorithm(name))
    throw refuse('UnsupportedCryptographicParameters', 'This pseudorandom function is not supported for the derivation method.');
  return name;
};

const needed = <T>(value: T | undefined, field: string): T => {
  if (value === undefined) throw refuse('InvalidField', `The derivation method needs ${field}.`);
  return value;
};

/** What a method works on. */
interface Inputs {
  readonly given: CryptographicParameters;
  readonly data: Uint8Array | undefined;
  readonly salt: Uint8Array | undefined;
  readonly iv: Uint8Array | undefined;
  readonly iterations: number | undefined;
  /** The derivation data is a Secret Data object. */
  readonly dataKey: boolean;
}

type Method = (facts: KeyFacts, inputs: Inputs) => Derivation;

const bytes = <F extends string>(field: F, value: Uint8Array | undefined) =>
  value === undefined || value.length === 0 ? {} : { [field]: value };
const requireData = ({ data, dataKey }: Inputs): void => {
  if (!dataKey) needed(data, 'Derivation Data');
};

/** SP 800-108: the PRF is HMAC where a hash is named or is the key's own, else CMAC with an AES key. Derivation Data is Label ‖ 00 ‖ Context. */
const sp800108 =
  (mode: 'counter' | 'feedback' | 'double-pipeline'): Method =>
  (facts, inputs) => {
    requireData(inputs);
    const hash = prfHash(facts, inputs.given);
    return {
      algorithm: algorithmOf(`sp800-108-${mode}-${hash === undefined ? 'cmac' : `hmac-${hash}`}`),
      ...(inputs.dataKey ? {} : { info: inputs.data ?? new Uint8Array() }),
      ...(mode === 'feedback' ? bytes('iv', inputs.iv) : {}),
    };
  };

/** KMIP 2.1 §7.12: "an empty IV is assumed if not provided", which for a cipher that has one is all zeros. */
const encrypting: Method = (facts, inputs) => {
  requireData(inputs);
  const { algorithm } = cipherFor({ ...facts, parameters: { ...inputs.given, RandomIV: true } }, undefined, 'encrypt');
  const size = algorithm.includes('ecb') ? 0 : algorithm.startsWith('des3') ? 8 : 16;
  return {
    algorithm: 'encrypt-derive',
    cipher: algorithm,
    ...(size === 0 ? {} : { iv: inputs.iv === undefined || inputs.iv.length === 0 ? new Uint8Array(size) : inputs.iv }),
    ...bytes('data', inputs.data),
  };
};

const METHODS: Readonly<Record<string, Method>> = {
  /** RFC 8018 §5.2; its default PRF is HMAC-SHA-1 (TC-DERIVEKEY-3). */
  PBKDF2: (facts, { given, salt, iterations }) => ({
    algorithm: algorithmOf(`pbkdf2-hmac-${prfHash({ ...facts, parameters: {} }, given) ?? 'sha1'}`),
    salt: needed(salt, 'a Salt'),
    iterations: needed(iterations, 'an Iteration Count'),
  }),
  HASH: (_, { given, data }) => ({
    algorithm: 'hash-derive',
    hash: needed(hashNamed(given.HashingAlgorithm), 'a Hashing Algorithm'),
    ...bytes('data', data),
  }),
  HMAC: (facts, inputs) => {
    requireData(inputs);
    return {
      algorithm: 'hmac-derive',
      hash: needed(prfHash(facts, inputs.given), 'a Hashing Algorithm'),
      ...(inputs.dataKey ? {} : { data: inputs.data ?? new Uint8Array() }),
    };
  },
  ENCRYPT: encrypting,
  NIST800_108_C: sp800108('counter'),
  NIST800_108_F: sp800108('feedback'),
  NIST800_108_DPI: sp800108('double-pipeline'),
  /** KMIP 2.1 §7.12: the default hash is SHA-256; Derivation Data is the optional information. */
  HKDF: (_, { given, data, salt }) => ({
    algorithm: algorithmOf(`hkdf-${hashNamed(given.HashingAlgorithm) ?? 'sha256'}`),
    ...bytes('salt', salt),
    ...bytes('info', data),
  }),
};

const idsOf = (payload: Fields, call: KmipCall): readonly string[] => {
  const value = payload['UniqueIdentifier'];
  const list = Array.isArray(value) ? (value as readonly unknown[]) : value === undefined ? [] : [value];
  // KMIP 2.1 §6.1.14: the ID Placeholder is no substitute here.
  if (list.length === 0) throw refuse('InvalidMessage', 'The Unique Identifier is missing.');
  if (list.length > 2) throw refuse('InvalidField', 'A key is derived from one or two objects.');
  return list.map((one) => idOf(one, call));
};

interface Wanted {
  readonly fields: Omit<OperationRequest<'derive'>, 'key' | 'algorithm'>;
  readonly ids: readonly string[];
}

const wantedOf = async (payload: Fields, call: KmipCall): Promise<Wanted> => {
  const type = objectTypeOf(payload['ObjectType']);
  if (type !== 'symmetric-key' && type !== 'secret-data') throw refuse('InvalidObjectType', 'Symmetric keys and secret data are derived.');
  const ids = idsOf(payload, call);
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const wanted = readKeySpec(attributes, type);
  const object = readNewObject(attributes, { type, call, spec: wanted.spec });
  return { fields: { ...object, type, spec: wanted.spec, ...bytesOfLength(wanted) }, ids };
};

const inputsOf = (parameters: Parameters, dataKey: boolean): Inputs => {
  const data = bytesOf(parameters as Fields, 'DerivationData');
  const iterations: unknown = parameters.IterationCount;
  if (dataKey && data !== undefined) throw refuse('InvalidField', 'Give Derivation Data or a Secret Data object, not both.');
  if (iterations !== undefined && (typeof iterations !== 'number' || iterations < 1))
    throw refuse('InvalidField', 'The Iteration Count is at least 1.');
  return {
    given: (parameters.CryptographicParameters ?? {}) as CryptographicParameters,
    data,
    salt: bytesOf(parameters as Fields, 'Salt'),
    iv: bytesOf(parameters as Fields, 'InitializationVector'),
    iterations,
    dataKey,
  };
};

/** Of two objects the key, and the one whose value is the derivation data: the Secret Data object beside a key, else the second. */
const keyAndData = async (ids: readonly string[], call: KmipCall): Promise<readonly [key: string, data?: string]> => {
  const [first = '', second] = ids;
  if (second === undefined) return [first];
  const [one, other] = await Promise.all(ids.map((key) => call.call('get-object', { key })));
  return one?.object.type === 'secret-data' && other?.object.type !== 'secret-data' ? [second, first] : [first, second];
};

const isPublic = ({ object }: ObjectView): boolean => object.type === 'public-key' || object.type === 'certificate';

/** Agreement of a private key with the public key of another pair (1.4 §9.1.3.2.21 Asymmetric Key), in either order. */
const agree = async ({ fields, ids }: Wanted, parameters: Parameters, call: KmipCall): Promise<ObjectView> => {
  const asked = nameOf(parameters.CryptographicParameters?.CryptographicAlgorithm, 'CryptographicAlgorithm');
  if (asked !== undefined && !['ECDH', 'EC'].includes(asked))
    throw refuse('UnsupportedCryptographicParameters', `${asked} is not supported.`);
  if (ids.length !== 2) throw refuse('InvalidField', 'Key agreement needs a private key and a public key.');
  const views = await Promise.all(ids.map((key) => call.call('get-object', { key })));
  const own = views.find((view) => view.object.type === 'private-key');
  const peer = views.find(isPublic);
  if (own === undefined || peer?.publicKey === undefined)
    throw refuse('InvalidObjectType', 'Key agreement needs a private key and a public key.');
  if (!peer.object.usage.includes('derive') && !peer.object.usage.includes('agree'))
    throw refuse('IncompatibleCryptographicUsageMask', 'The public key is not made for Derive Key or Key Agreement.');
  const { type: _, ...request } = fields;
  return call.call('agree', {
    ...request,
    key: own.object.id,
    peerPublicKey: peer.publicKey,
    links: [{ type: 'derivation-base', target: peer.object.id }, ...(request.links ?? [])],
  });
};

export const deriveKey: KmipHandler = async (payload, call) => {
  const method = nameOf(payload['DerivationMethod'], 'DerivationMethod') ?? '';
  const parameters = (payload['DerivationParameters'] ?? {}) as Parameters;
  const wanted = await wantedOf(payload, call);
  if (method === 'AsymmetricKey') {
    const made = await agree(wanted, parameters, call);
    return { UniqueIdentifier: made.object.id };
  }
  const choose = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined;
  if (choose === undefined) throw refuse('FeatureNotSupported', `Derivation Method ${method} is not supported.`);
  const [key, dataKey] = await keyAndData(wanted.ids, call);
  const inputs = inputsOf(parameters, dataKey !== undefined);
  // The algorithm is completed from the key; hash-derive is what the request means until then.
  const request = { ...wanted.fields, key, algorithm: 'hash-derive' as const, ...(dataKey === undefined ? {} : { dataKey }) };
  const made = await callWithKey(call, 'derive', request, undefined, (facts) => choose(facts, inputs));
  return { UniqueIdentifier: made.object.id };
};
