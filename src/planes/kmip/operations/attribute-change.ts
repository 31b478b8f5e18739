import { type AttributeReference, type Fields, isFirstEra, type KmipAttribute, type Value } from '@aegis/kmip-ttlv';
import { FaultError, type ObjectView } from '../../../domain/index.js';
import { type Instances, requireChangeable, type Update, updateFor } from '../attributes/changes.js';
import { checkApplicationData } from '../attributes/new-object.js';
import { attributesOfObject } from '../attributes/of-object.js';
import { appliesTo, checkValue, rowOf } from '../attributes/rules.js';
import { sameJson, storedValue } from '../attributes/stored-values.js';
import { targetOf } from '../attributes/target.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { shown } from './attribute-read.js';
import { refuseBy } from './lifecycle-create.js';

// Add, Modify, Set, Adjust and Delete Attribute (KMIP 2.1 §6.1.2, §6.1.3, §6.1.13, §6.1.34, §6.1.51; 1.4 §4.14–§4.16).

/** One attempt at a change: what to write, and the attribute that 1.x echoes. */
interface Planned {
  readonly update: Update;
  readonly echo: KmipAttribute;
  readonly deleted?: true;
}
type Plan = (view: ObjectView) => Planned;

/** Attempts before somebody else's changes win, each on a fresh look at the object. */
const ATTEMPTS = 5;

/** Runs a change on the object as it is, again when somebody was faster: an instance added meanwhile is not lost. */
const changeObject = async (key: string, plan: Plan, call: KmipCall): Promise<KmipAttribute> => {
  for (let attempt = 1; ; attempt += 1) {
    const view = await call.call('get-object', { key });
    const { update, echo, deleted } = plan(view);
    try {
      const after = await call.call('update-object', { key, revision: view.object.revision, ...update });
      // As it is now: the service may have completed it (the count of Usage Limits).
      const told = attributesOfObject(after, call.version).find((one) => same(one, echo) && one.index === echo.index);
      return deleted === true ? echo : (told ?? echo);
    } catch (error) {
      const conflict = error instanceof FaultError && error.fault.code === 'conflict';
      if (!conflict || attempt === ATTEMPTS) throw error;
    }
  }
};

const answer = (key: string, field: 'NewAttribute' | 'CurrentAttribute', echo: KmipAttribute, call: KmipCall): Fields => ({
  UniqueIdentifier: key,
  ...(isFirstEra(call.version) ? { [field]: shown(echo) } : {}),
});

const same = (a: Pick<KmipAttribute, 'name' | 'vendor'>, b: Pick<KmipAttribute, 'name' | 'vendor'>): boolean =>
  a.name === b.name && a.vendor === b.vendor;
const sameValue = (a: KmipAttribute, b: KmipAttribute): boolean => sameJson(storedValue(a), storedValue(b));

const instancesOf = (view: ObjectView, attribute: Pick<KmipAttribute, 'name' | 'vendor'>, call: KmipCall): Instances =>
  attributesOfObject(view, call.version)
    .filter((one) => same(one, attribute))
    .map((one, position) => ({ ...one, index: one.index ?? position }));

const isMultiple = (attribute: KmipAttribute, call: KmipCall): boolean => rowOf(attribute, call.version)?.multiple ?? true;

/** What every new value must be: an attribute of the version and of the object's type, with a value that can be kept. */
const checkNew = (attribute: KmipAttribute, { object }: ObjectView, call: KmipCall): void => {
  rowOf(attribute, call.version);
  checkValue(attribute);
  if (attribute.vendor === undefined && attribute.name === 'ApplicationSpecificInformation') checkApplicationData(attribute);
  if (attribute.vendor === undefined && !appliesTo(attribute.name, object.type)) {
    throw refuseBy(call.version, 'PermissionDenied', 'InvalidAttribute', `A ${object.type} has no ${attribute.name}.`);
  }
};

/** Add, Set and Adjust have a reason of their own for what is never the client's (KMIP 2.1 tables 169, 172, 324). */
const requireSettable = (attribute: KmipAttribute, call: KmipCall): void => {
  const row = rowOf(attribute, call.version);
  if (row?.client === 'no' || attribute.vendor === 'y') throw refuse('ReadOnlyAttribute', `${attribute.name} is not a client's to set.`);
};

const nonUnique = (call: KmipCall) =>
  refuseBy(call.version, 'IllegalOperation', 'NonUniqueNameAttribute', 'The object has this Name already.');

const newAttribute = (payload: Fields): KmipAttribute => payload['NewAttribute'] as unknown as KmipAttribute;

const planAdd =
  (attribute: KmipAttribute, call: KmipCall): Plan =>
  (view) => {
    checkNew(attribute, view, call);
    requireSettable(attribute, call);
    requireChangeable(attribute, view.object, call.now, 'client');
    const has = instancesOf(view, attribute, call);
    if (has.length > 0 && !isMultiple(attribute, call)) {
      throw refuseBy(call.version, 'IllegalOperation', 'AttributeSingleValued', `${attribute.name} has its value.`);
    }
    if (has.some((one) => sameValue(one, attribute))) {
      if (attribute.vendor === undefined && attribute.name === 'Name') throw nonUnique(call);
      throw refuseBy(call.version, 'IllegalOperation', 'InvalidField', 'The object has this instance of the attribute already.');
    }
    // An index is never given twice while instances with a higher one exist (KMIP 1.4 §2.1.1).
    const index = has.length === 0 ? 0 : Math.max(...has.map((one) => one.index)) + 1;
    const added = { ...attribute, index };
    return { update: updateFor(attribute, [...has, added], view.object, call), echo: added };
  };

/** Add Attribute. */
export const addAttribute: KmipHandler = async (payload, call) => {
  const attribute = newAttribute(payload);
  // KMIP 1.4 §11.15 has Invalid Field for an index other than the 0 that clients always send.
  if ((attribute.index ?? 0) !== 0) throw refuse('InvalidField', 'A new attribute gets its index from the server.');
  const key = await targetOf(payload, call);
  return answer(key, 'NewAttribute', await changeObject(key, planAdd(attribute, call), call), call);
};

const noInstance = () => refuse('AttributeInstanceNotFound', 'The object has no such instance of the attribute.');
const noAttribute = (name: string) => refuse('AttributeNotFound', `The object has no ${name}.`);

/** The instance a Modify or Delete means: by index in 1.x, by current value from 2.0 on, else the only one. */
const chosenInstance = (
  has: Instances,
  wanted: { readonly index?: number; readonly current?: KmipAttribute | undefined },
  call: KmipCall,
) => {
  if (wanted.current !== undefined) {
    const { current } = wanted;
    const found = has.find((one) => sameValue(one, current));
    if (found === undefined) throw noInstance();
    return found;
  }
  if (isFirstEra(call.version)) {
    const found = has.find(({ index }) => index === (wanted.index ?? 0));
    if (found === undefined) throw noInstance();
    return found;
  }
  if (has.length > 1) throw refuse('MultiValuedAttribute', 'The attribute has several instances: say which with Current Attribute.');
  return has[0] as Instances[number];
};

const planModify =
  (attribute: KmipAttribute, current: KmipAttribute | undefined, call: KmipCall): Plan =>
  (view) => {
    checkNew(attribute, view, call);
    if (current !== undefined && !same(current, attribute))
      throw refuse('InvalidField', 'Current and New Attribute are of different kinds.');
    const has = instancesOf(view, attribute, call);
    // What is not the client's is said so, whether or not it has a value.
    requireChangeable(attribute, view.object, call.now, 'client');
    if (has.length === 0)
      throw isFirstEra(call.version) ? refuse('InvalidField', `The object has no ${attribute.name}.`) : noAttribute(attribute.name);
    const chosen = chosenInstance(has, { index: attribute.index ?? 0, current }, call);
    if (has.some((one) => one !== chosen && sameValue(one, attribute))) {
      throw refuseBy(call.version, 'IllegalOperation', 'InvalidField', 'Another instance has this value.');
    }
    const modified = { ...attribute, index: chosen.index };
    const next = has.map((one) => (one === chosen ? modified : one));
    return { update: updateFor(attribute, next, view.object, call), echo: modified };
  };

/** Modify Attribute. */
export const modifyAttribute: KmipHandler = async (payload, call) => {
  const attribute = newAttribute(payload);
  const current = payload['CurrentAttribute'] as unknown as KmipAttribute | undefined;
  const key = await targetOf(payload, call);
  return answer(key, 'NewAttribute', await changeObject(key, planModify(attribute, current, call), call), call);
};

/** Set Attribute (2.0): the one value, added or changed. */
export const setAttribute: KmipHandler = async (payload, call) => {
  const attribute = newAttribute(payload);
  const key = await targetOf(payload, call);
  await changeObject(
    key,
    (view) => {
      checkNew(attribute, view, call);
      const row = attribute.vendor === undefined ? rowOf(attribute, call.version) : undefined;
      if (row?.client === 'no' || attribute.vendor === 'y')
        throw refuse('ReadOnlyAttribute', `${attribute.name} is not a client's to set.`);
      requireChangeable(attribute, view.object, call.now, 'client');
      const has = instancesOf(view, attribute, call);
      if (has.length > 1) throw refuse('MultiValuedAttribute', 'The attribute has several instances; Set Attribute has one.');
      const value = { ...attribute, index: has[0]?.index ?? 0 };
      return { update: updateFor(attribute, [value], view.object, call), echo: value };
    },
    call,
  );
  return { UniqueIdentifier: key };
};

const planDelete =
  (reference: AttributeReference, current: KmipAttribute | undefined, call: KmipCall): Plan =>
  (view) => {
    const named = { name: reference.name, ...(reference.vendor === undefined ? {} : { vendor: reference.vendor }) } as KmipAttribute;
    const row = rowOf(named, call.version);
    const all = instancesOf(view, named, call);
    const has = reference.linkType === undefined ? all : all.filter(({ value }) => (value as Fields)['LinkType'] === reference.linkType);
    if (row?.always === true) throw refuse('AttributeReadOnly', `${named.name} always has a value.`);
    requireChangeable(named, view.object, call.now, 'delete');
    if (has.length === 0) throw noAttribute(named.name);
    // From 2.0 on a reference alone means every instance.
    const everyone = !isFirstEra(call.version) && current === undefined;
    const chosen = everyone ? has : [chosenInstance(has, { index: reference.index ?? 0, current }, call)];
    const rest = all.filter((one) => !chosen.includes(one));
    return { update: updateFor(named, rest, view.object, call), echo: chosen[0] as KmipAttribute, deleted: true };
  };

/** Delete Attribute. */
export const deleteAttribute: KmipHandler = async (payload, call) => {
  const current = payload['CurrentAttribute'] as unknown as KmipAttribute | undefined;
  const reference = (payload['AttributeReference'] as AttributeReference | undefined) ?? current;
  if (reference === undefined) throw refuse('InvalidMessage', 'Delete Attribute needs a Current Attribute or an Attribute Reference.');
  const key = await targetOf(payload, call);
  return answer(key, 'CurrentAttribute', await changeObject(key, planDelete(reference, current, call), call), call);
};

/** Largest and smallest value of the numeric types (KMIP 2.1 §9.1.1.4). */
const INTEGER_LIMIT = 2 ** 31;
const LONG_LIMIT = 2n ** 63n;
const UNSIGNED_LIMIT = 2 ** 32;
const INTERVALS: ReadonlySet<string> = new Set(['LeaseTime', 'ProtectionPeriod', 'RotateInterval', 'RotateOffset']);

const outOfRange = () => refuse('NumericRange', 'The result does not fit the type of the attribute.');

/** A value one step, or `by`, further; false becomes true under Negate. */
const adjusted = (name: string, value: Value | undefined, type: unknown, by: Value | undefined): Value => {
  if (typeof value === 'boolean' || (value === undefined && type === 'Negate')) {
    if (type !== 'Negate') throw refuse('InvalidDataType', 'A Boolean can only be negated.');
    return value !== true;
  }
  if (value !== undefined && typeof value !== 'number' && typeof value !== 'bigint') {
    throw refuse('InvalidDataType', 'Only numbers, intervals, dates and Booleans are adjusted.');
  }
  const old = BigInt(value ?? 0);
  const step = by === undefined ? 1n : typeof by === 'number' || typeof by === 'bigint' ? BigInt(by) : undefined;
  if (step === undefined) throw refuse('InvalidDataType', 'The Adjustment Value is no number.');
  const result = type === 'Negate' ? -old : type === 'Decrement' ? old - step : old + step;
  if (typeof value === 'bigint') {
    if (result >= LONG_LIMIT || result < -LONG_LIMIT) throw outOfRange();
    return result;
  }
  const number = Number(result);
  const interval = INTERVALS.has(name);
  if (interval ? number < 0 || number >= UNSIGNED_LIMIT : number < -INTEGER_LIMIT || number >= INTEGER_LIMIT) throw outOfRange();
  return number;
};

const adjustedAttribute = (has: KmipAttribute | undefined, reference: AttributeReference, payload: Fields): KmipAttribute => {
  const { AdjustmentType: type, AdjustmentValue: by } = payload;
  const { name, vendor } = reference;
  if (vendor === undefined) return { name, value: adjusted(name, has?.value as Value | undefined, type, by) };
  const item = (has as { readonly value?: { readonly tag: number; readonly type: number; readonly value: Value } } | undefined)?.value;
  if (item === undefined) throw refuse('ItemNotFound', 'The object has no such attribute, and its type is not known.');
  return { name, vendor, value: { ...item, value: adjusted(name, item.value, type, by) } } as KmipAttribute;
};

/** Adjust Attribute (2.0): counts up or down, or negates. */
export const adjustAttribute: KmipHandler = async (payload, call) => {
  const reference = payload['AttributeReference'] as AttributeReference;
  const key = await targetOf(payload, call);
  await changeObject(
    key,
    (view) => {
      const named = { name: reference.name, ...(reference.vendor === undefined ? {} : { vendor: reference.vendor }) } as KmipAttribute;
      requireSettable(named, call);
      const has = instancesOf(view, named, call);
      if (has.length > 1) throw refuse('MultiValuedAttribute', 'The attribute has several instances.');
      const next = { ...adjustedAttribute(has[0], reference, payload), index: has[0]?.index ?? 0 };
      requireChangeable(named, view.object, call.now, 'client');
      return { update: updateFor(named, [next], view.object, call), echo: next };
    },
    call,
  );
  return { UniqueIdentifier: key };
};
