import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import type { ManagedObject, NewObject } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { algorithmOfSpec, keyFacts } from '../attributes/key-spec.js';
import { protectionOf, readNewObject } from '../attributes/new-object.js';
import { storedKey, storedOne } from '../attributes/stored-values.js';
import { idOf, targetOf } from '../attributes/target.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { checkQuantumSafe, givenHalves, refuseBy, withGenerator } from './lifecycle-create.js';

// Re-key and Re-key Key Pair (KMIP 2.1 §6.1.46, §6.1.47; 1.4 §4.4, §4.5): the domain copies, moves the names and links both ways.

/** What describes the existing object's own life and material, and is not copied (KMIP 2.1 table 304). */
const NOT_COPIED = [
  'Digest',
  'Fresh',
  'OriginalCreationDate',
  'RandomNumberGenerator',
  'DeactivationReason',
  'NeverExtractable',
  'AlwaysSensitive',
  'KeyValuePresent',
  'KeyValueLocation',
  'KeyFormatType',
  '~IndexLink',
];
const DATE_ATTRIBUTES = ['ActivationDate', 'ProcessStartDate', 'ProtectStopDate', 'DeactivationDate'];

const isNamed = ({ name, vendor }: KmipAttribute, names: readonly string[]): boolean => vendor === undefined && names.includes(name);

/** KMIP 1.4 §11.5: an offset and dates exclude each other, and without an activation date there is nothing to shift from. */
const offsetOf = (payload: Fields, attributes: readonly KmipAttribute[], object: ManagedObject, call: KmipCall): { offsetMs?: number } => {
  const offset = payload['Offset'];
  if (offset === undefined) return {};
  if (attributes.some((attribute) => isNamed(attribute, DATE_ATTRIBUTES)))
    throw refuse('InvalidMessage', 'An Offset and dates exclude each other.');
  const { activation, processStart, protectStop, deactivation } = object.dates;
  if (activation === undefined && (processStart ?? protectStop ?? deactivation) !== undefined) {
    throw refuseBy(
      call.version,
      'IllegalOperation',
      'InvalidField',
      'Without an Activation Date the other dates cannot be moved by an Offset.',
    );
  }
  return { offsetMs: Number(offset) * 1000 };
};

/** A replacement is a key of the same kind: the request may repeat that, not change it. */
const requireSameKey = (object: ManagedObject, attributes: readonly KmipAttribute[]): void => {
  const { algorithm, length, curve } = keyFacts(attributes);
  const known =
    storedOne(object.attributes, 'CryptographicAlgorithm') ?? (object.spec === undefined ? undefined : algorithmOfSpec(object.spec));
  if (algorithm !== undefined && algorithm !== known) throw refuse('InvalidField', 'A replacement keeps the Cryptographic Algorithm.');
  if ((length !== undefined || curve !== undefined) && object.spec === undefined)
    throw refuse('InvalidField', 'The key cannot be re-keyed so.');
};

/** What the replacement gets: what the request says, Names beside those that move, and nothing of the old object's own history. */
const replacementOf = (object: ManagedObject, attributes: readonly KmipAttribute[], call: KmipCall): NewObject => {
  requireSameKey(object, attributes);
  const said = readNewObject(
    attributes.filter(
      (attribute) => !isNamed(attribute, ['CryptographicAlgorithm', 'CryptographicLength', 'CryptographicDomainParameters']),
    ),
    { type: object.type, call, spec: object.spec, partial: true },
  );
  const exportable = said.exportable ?? object.exportable;
  const sensitive = said.attributes?.[storedKey('Sensitive')] ?? object.attributes[storedKey('Sensitive')];
  return {
    ...said,
    names: [...object.names, ...(said.names ?? []).filter((name) => !object.names.includes(name))],
    attributes: {
      ...Object.fromEntries(NOT_COPIED.map((name) => [storedKey(name), null])),
      ...(exportable ? {} : { [storedKey('NeverExtractable')]: [{ v: true }] }),
      ...(sensitive === undefined ? {} : { [storedKey('AlwaysSensitive')]: [{ v: true }] }),
      // A mask that the request does not repeat is the existing key's, whole.
      ...(said.usage === undefined ? {} : { [storedKey('CryptographicUsageMask')]: null }),
      ...said.attributes,
    },
  };
};

const requireRenewable = (object: ManagedObject, type: ManagedObject['type'], call: KmipCall): void => {
  if (object.type === type && object.spec !== undefined) return;
  throw refuseBy(call.version, 'PermissionDenied', 'InvalidObjectType', `Not a ${type} that the server can make anew.`);
};

/** Re-key. */
export const reKey: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const { object } = await call.call('get-object', { key });
  requireRenewable(object, 'symmetric-key', call);
  if (object.spec !== undefined) checkQuantumSafe(attributes, object.spec, undefined);
  const made = await call.call('re-key', {
    key,
    ...withGenerator(replacementOf(object, attributes, call), call),
    ...protectionOf(payload['ProtectionStorageMasks']),
    ...offsetOf(payload, attributes, object, call),
  });
  return { UniqueIdentifier: made.object.id };
};

/** Re-key Key Pair. */
export const reKeyKeyPair: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call, 'PrivateKeyUniqueIdentifier');
  const { privateAttributes, publicAttributes } = await givenHalves(payload, call);
  const { object } = await call.call('get-object', { key });
  requireRenewable(object, 'private-key', call);
  const link = object.links.find(({ type }) => type === 'public-key');
  if (link === undefined) throw refuseBy(call.version, 'PermissionDenied', 'InvalidObjectType', 'The private key has no public half here.');
  const { object: publicObject } = await call.call('get-object', { key: idOf(link.target, call) });
  const made = await call.call('re-key', {
    key,
    ...withGenerator(replacementOf(object, privateAttributes, call), call),
    ...protectionOf(payload['PrivateProtectionStorageMasks'] ?? payload['CommonProtectionStorageMasks']),
    ...offsetOf(payload, privateAttributes, object, call),
    publicKey: withGenerator(replacementOf(publicObject, publicAttributes, call), call),
  });
  if (made.publicKeyId === undefined) {
    throw refuseBy(call.version, 'PermissionDenied', 'InvalidObjectType', 'The pair was not made by this server.');
  }
  return { PrivateKeyUniqueIdentifier: made.object.id, PublicKeyUniqueIdentifier: made.publicKeyId };
};
