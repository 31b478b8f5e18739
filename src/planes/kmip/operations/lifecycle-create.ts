import { compareVersions, type KmipAttribute, type KmipVersion } from '@aegis/kmip-ttlv';
import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import type { NewObject } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { readKeySpec } from '../attributes/key-spec.js';
import { protectionOf, readNewObject } from '../attributes/new-object.js';
import { keptOne } from '../attributes/stored-values.js';
import { objectTypeOf } from '../attributes/vocabulary.js';
import { type Fields, type KmipCall, type KmipHandler, refuse } from '../contract.js';

const firstEra = (version: KmipVersion): boolean => compareVersions(version, '2.0') < 0;

/** A refusal that 1.x and 2.x give different reasons for. */
export const refuseBy = (version: KmipVersion, first: string, later: string, message: string) =>
  refuse(firstEra(version) ? first : later, message);

/** Families whose security rests on what a quantum computer breaks (SP 800-131A, NIST IR 8547). */
const BROKEN_BY_QUANTUM: ReadonlySet<string> = new Set(['rsa', 'ec', 'eddsa', 'xdh', 'des3']);
const QUANTUM_SAFE_BITS = 256;

/** KMIP 2.1 §4.41: whoever asks for a quantum-safe key gets one, or none. */
export const checkQuantumSafe = (attributes: readonly KmipAttribute[], spec: KeySpec, bits: number | undefined): void => {
  const asked = attributes.some(({ name, vendor, value }) => vendor === undefined && name === 'QuantumSafe' && value === true);
  if (!asked) return;
  const { family, shape } = KEY_SPECS[spec];
  const length = bits ?? KEY_SPECS[spec].bits;
  if (BROKEN_BY_QUANTUM.has(family) || (shape === 'symmetric' && length < QUANTUM_SAFE_BITS)) {
    throw refuse('GeneralFailure', 'A key of this algorithm and length is not quantum safe.');
  }
};

/** What the operator says of the generator the keys are made with, where that is not what the plane would say itself. */
export const withGenerator = (made: NewObject, call: KmipCall): NewObject => {
  const told = call.settings.randomNumberGenerator;
  return told === undefined ? made : { ...made, attributes: { ...made.attributes, ...keptOne('RandomNumberGenerator', told) } };
};

/** Create (KMIP 2.1 §6.1.8, 1.4 §4.1). */
export const create: KmipHandler = async (payload, call) => {
  const type = objectTypeOf(payload['ObjectType']);
  if (type !== 'symmetric-key' && type !== 'secret-data') {
    throw refuse('InvalidObjectType', 'Create makes symmetric keys and secret data.');
  }
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const wanted = readKeySpec(attributes, type);
  checkQuantumSafe(attributes, wanted.spec, wanted.bits);
  const made = await call.call('create-key', {
    ...withGenerator(readNewObject(attributes, { type, call, spec: wanted.type === undefined ? wanted.spec : undefined }), call),
    ...protectionOf(payload['ProtectionStorageMasks']),
    ...wanted,
  });
  return { ObjectType: payload['ObjectType'] as string, UniqueIdentifier: made.object.id };
};

/** Attributes of one half: the common ones, overridden by its own (KMIP 1.4 §4.2). */
const halfOf = (common: readonly KmipAttribute[], own: readonly KmipAttribute[]): readonly KmipAttribute[] => [
  ...common.filter((one) => !own.some((other) => other.name === one.name && other.vendor === one.vendor)),
  ...own,
];

interface Halves {
  readonly privateAttributes: readonly KmipAttribute[];
  readonly publicAttributes: readonly KmipAttribute[];
}
/** What a request says of both halves of a pair. */
export const givenHalves = async (payload: Fields, call: KmipCall): Promise<Halves> => {
  const common = await givenAttributes(payload, 'CommonAttributes', call);
  return {
    privateAttributes: halfOf(common, await givenAttributes(payload, 'PrivateKeyAttributes', call)),
    publicAttributes: halfOf(common, await givenAttributes(payload, 'PublicKeyAttributes', call)),
  };
};

/** Create Key Pair (KMIP 2.1 §6.1.9, 1.4 §4.2). */
export const createKeyPair: KmipHandler = async (payload, call) => {
  const { privateAttributes, publicAttributes } = await givenHalves(payload, call);
  // The algorithm may be said for one half only; it is the pair's.
  const { spec } = readKeySpec([...privateAttributes, ...publicAttributes], 'private-key');
  checkQuantumSafe(privateAttributes, spec, undefined);
  const ownPublic = withGenerator(readNewObject(publicAttributes, { type: 'public-key', call, spec }), call);
  const made = await call.call('create-key-pair', {
    ...withGenerator(readNewObject(privateAttributes, { type: 'private-key', call, spec }), call),
    ...protectionOf(payload['PrivateProtectionStorageMasks'] ?? payload['CommonProtectionStorageMasks']),
    spec,
    // Dates are given even when none are: the public half takes the private one's only where the request has none of its own.
    publicKey: { dates: {}, ...ownPublic },
  });
  return { PrivateKeyUniqueIdentifier: made.object.id, PublicKeyUniqueIdentifier: made.publicKeyId };
};
