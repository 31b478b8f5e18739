import { type AttributeRow, attributeRow, type KmipAttribute } from '@aegis/kmip-ttlv';
import type { ManagedObject, ObjectLink, OperationRequest } from '../../../domain/index.js';
import { type KmipCall, refuse } from '../contract.js';
import { isThirdEraLink, linkOf, nameOf, toMs, usageLimitsOf } from './new-object.js';
import { type StoredInstance, storedKey, storedValue, toStored, vendorKey } from './stored-values.js';
import { linkOfAttribute } from './vocabulary.js';

// From "this attribute now has these instances" to the key service's update-object, and when the tables let a client say so.

/** The fields of update-object that a change sets. */
export type Update = Omit<OperationRequest<'update-object'>, 'key' | 'revision'>;
/** The instances an attribute is to have, with their 1.x indexes, in their order. */
export type Instances = readonly (KmipAttribute & { readonly index: number })[];

const readOnly = (name: string) => refuse('AttributeReadOnly', `${name} is not a client's to change.`);
const wrongState = (message: string) => refuse('WrongKeyLifecycleState', message);

type Rule = (object: ManagedObject, now: number) => boolean;
const RULES: Readonly<Record<Exclude<AttributeRow['client'], 'no' | 'yes'>, Rule>> = {
  preActive: ({ state }) => state === 'pre-active',
  preActiveOrActive: ({ state }) => state === 'pre-active' || state === 'active',
  beforeProcessStart: ({ state, dates }, now) =>
    (state === 'pre-active' || state === 'active') && (dates.processStart === undefined || dates.processStart > now),
  beforeProtectStop: ({ state, dates }, now) =>
    (state === 'pre-active' || state === 'active') && (dates.protectStop === undefined || dates.protectStop > now),
  beforeUsageAllocation: ({ usageLimits }) => usageLimits === undefined || usageLimits.remaining === usageLimits.total,
  whenAbsent: () => false,
  whenDataOmitted: () => false,
};

/**
 * Refuses what the attribute's table does not let a client change or delete now (KMIP 2.1 §4, 1.4 §3).
 * @throws KmipRefusal Attribute Read Only, or Wrong Key Lifecycle State where the object's state decides
 */
export const requireChangeable = (attribute: KmipAttribute, object: ManagedObject, now: number, how: 'client' | 'delete'): void => {
  if (attribute.vendor === 'y') throw readOnly(`y-${attribute.name}`);
  const row = attribute.vendor === undefined ? attributeRow(attribute.name) : undefined;
  if (row === undefined) return;
  const rule = row[how];
  if (rule === 'no') throw readOnly(row.name);
  if (rule !== 'yes' && !RULES[rule](object, now)) throw wrongState(`${row.name} of an object that is ${object.state} is settled.`);
};

/** 1.x indexes of a list that the domain keeps without them; nothing where they are the positions. */
const indexesKept = (name: string, instances: Instances): Readonly<Record<string, unknown>> => {
  const indexes = instances.map(({ index }) => index);
  const usual = indexes.every((index, position) => index === position);
  return { [storedKey(`~Index${name}`)]: usual ? null : [{ v: indexes }] };
};
const kept = (key: string, list: readonly StoredInstance[]): Readonly<Record<string, unknown>> => ({
  [key]: list.length === 0 ? null : list,
});

type Writer = (instances: Instances, object: ManagedObject, call: Pick<KmipCall, 'version' | 'placeholder'>) => Update;

const names: Writer = (instances) => {
  const read = instances.map(({ value }) => nameOf(value));
  const typed = read.filter(({ type }) => type !== 'UninterpretedTextString');
  return {
    names: read.map(({ text }) => text),
    attributes: {
      ...kept(
        storedKey('~NameType'),
        typed.map(({ text, type }) => ({ v: { NameValue: text, NameType: type } })),
      ),
      ...indexesKept('Name', instances),
    },
  };
};

const groups: Writer = (instances) => {
  const all = instances.map(({ value }) => value as string);
  return {
    objectGroup: all[0] ?? null,
    attributes: {
      ...kept(
        storedKey('~ObjectGroups'),
        all.slice(1).map((one) => ({ v: one })),
      ),
      ...indexesKept('ObjectGroup', instances),
    },
  };
};

/** Links that other attributes say: the 3.0 ones, seen from Link, and the others way round. */
const linksOf =
  (mine: (link: ObjectLink) => boolean): Writer =>
  (instances, object, call) => ({
    links: [...object.links.filter((link) => !mine(link)), ...instances.map((attribute) => linkOf(attribute, call))],
  });
const links: Writer = (instances, object, call) => ({
  ...linksOf(({ type }) => isLinkType(type))(instances, object, call),
  attributes: indexesKept('Link', instances),
});

const date =
  (field: 'activation' | 'processStart' | 'protectStop' | 'deactivation'): Writer =>
  ([instance]) => ({ dates: { [field]: instance === undefined ? null : toMs(instance.value, instance.name) } });

const flag = (value: unknown, name: string): boolean => {
  if (typeof value === 'boolean') return value;
  throw refuse('InvalidAttributeValue', `${name} is true or false.`);
};
const set = (name: string, value: boolean): Readonly<Record<string, unknown>> => ({ [storedKey(name)]: [{ v: value }] });

/** Once false, Always Sensitive stays false (KMIP 2.1 §4.4). */
const sensitive: Writer = ([instance]) => {
  const value = flag(instance?.value, 'Sensitive');
  return { attributes: { ...set('Sensitive', value), ...(value ? {} : set('AlwaysSensitive', false)) } };
};

/** Once true, Never Extractable stays false; and a key that was bound to its root as one that never leaves cannot be let out. */
const extractable: Writer = ([instance], object) => {
  const value = flag(instance?.value, 'Extractable');
  if (!value) return { attributes: set('Extractable', false) };
  if (!object.exportable) throw refuse('PermissionDenied', 'The key was made never to leave its root of trust.');
  return { attributes: { [storedKey('Extractable')]: null, ...set('NeverExtractable', false) } };
};

const WRITERS: Readonly<Record<string, Writer>> = {
  Name: names,
  ObjectGroup: groups,
  Link: links,
  ActivationDate: date('activation'),
  ProcessStartDate: date('processStart'),
  ProtectStopDate: date('protectStop'),
  DeactivationDate: date('deactivation'),
  Sensitive: sensitive,
  Extractable: extractable,
  UsageLimits: ([instance]) => ({ usageLimits: instance === undefined ? null : usageLimitsOf(instance.value) }),
  Description: ([instance]) => ({ description: (instance?.value as string | undefined) ?? null }),
};

const isLinkType = (type: string): boolean => !THIRD_ONLY.has(type);
const THIRD_ONLY: ReadonlySet<string> = new Set(
  ['CertificateRequestLink', 'CredentialLink', 'GroupLink', 'JoinedSplitKeyPartsLink', 'PasswordLink', 'SplitKeyBaseLink'].map(
    (name) => linkOfAttribute(name) as string,
  ),
);

/** Everything else is kept as it came. */
const generic =
  (key: string): Writer =>
  (instances) => ({ attributes: kept(key, toStored(instances.map((attribute) => ({ v: storedValue(attribute), i: attribute.index })))) });

/** The update after which the attribute has these instances and no others. */
export const updateFor = (
  attribute: Pick<KmipAttribute, 'name' | 'vendor'>,
  instances: Instances,
  object: ManagedObject,
  call: Pick<KmipCall, 'version' | 'placeholder'>,
): Update => {
  const { name, vendor } = attribute;
  if (vendor !== undefined) return generic(vendorKey(vendor, name))(instances, object, call);
  const writer = Object.hasOwn(WRITERS, name) ? WRITERS[name] : undefined;
  if (writer !== undefined) return writer(instances, object, call);
  const domain = linkOfAttribute(name);
  if (domain !== undefined && instances.every(isThirdEraLink)) return linksOf(({ type }) => type === domain)(instances, object, call);
  return generic(storedKey(name))(instances, object, call);
};
