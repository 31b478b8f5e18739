import type { AttributeReference, Fields, KmipAttribute, StandardAttribute, Value, VendorAttribute } from '@aegis/kmip-ttlv';
import { childrenOf, type Item, ItemType, knownTag, structure } from '@aegis/kmip-ttlv';

// How KMIP attributes that the domain does not interpret are kept in ManagedObject.attributes: one entry per attribute name, a list of
// instances. Everything is JSON, so that Locate can ask the database for containment.

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** One instance; `i` is its 1.x Attribute Index, left out where it is the position in the list. */
export interface StoredInstance {
  readonly v: Json;
  readonly i?: number;
}
export type StoredAttributes = Readonly<Record<string, unknown>>;

const PREFIX = 'kmip:';
const VENDOR_PREFIX = 'kmip:v:';
const ATTRIBUTE_VALUE = knownTag('AttributeValue');

/** The key of a standard attribute. */
export const storedKey = (name: string): string => `${PREFIX}${name}`;
/** The key of a vendor or custom attribute; vendor and name may hold any character but are told apart. */
export const vendorKey = (vendor: string, name: string): string => `${VENDOR_PREFIX}${encodeURIComponent(vendor)}:${name}`;
export const keyOf = ({ name, vendor }: Pick<AttributeReference, 'name' | 'vendor'>): string =>
  vendor === undefined ? storedKey(name) : vendorKey(vendor, name);
/** What a key names; undefined for keys of other wires and for the plane's own notes (`kmip:~…`). */
export const namedBy = (key: string): { readonly name: string; readonly vendor?: string } | undefined => {
  if (key.startsWith(VENDOR_PREFIX)) {
    const colon = key.indexOf(':', VENDOR_PREFIX.length);
    return { vendor: decodeURIComponent(key.slice(VENDOR_PREFIX.length, colon)), name: key.slice(colon + 1) };
  }
  return key.startsWith(PREFIX) && !key.startsWith('kmip:~') ? { name: key.slice(PREFIX.length) } : undefined;
};

/** JSON has no bytes and no 64-bit integers: they are objects with one key that no KMIP structure has. */
export const toJson = (value: Value): Json => {
  if (typeof value === 'bigint') return { $n: value.toString() };
  if (value instanceof Uint8Array) return { $b: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map((one) => toJson(one as Value));
  if (typeof value !== 'object') return value;
  const fields: Record<string, Json> = {};
  for (const [name, field] of Object.entries(value as Fields)) if (field !== undefined) fields[name] = toJson(field as Value);
  return fields;
};

export const fromJson = (json: Json): Value => {
  if (typeof json !== 'object' || json === null) return json as Value;
  if (Array.isArray(json)) return json.map(fromJson);
  const fields = json as { readonly [name: string]: Json };
  if (typeof fields['$n'] === 'string') return BigInt(fields['$n']);
  if (typeof fields['$b'] === 'string') return new Uint8Array(Buffer.from(fields['$b'], 'base64'));
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fromJson(field)])) as Value;
};

/** Equal whatever the order of the fields: the database does not keep it. */
export const sameJson = (a: unknown, b: unknown): boolean => {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((one, i) => sameJson(one, b[i]));
  }
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every(
    (name) => Object.hasOwn(b, name) && sameJson((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
  );
};

const itemToJson = (item: Item): Json =>
  item.type === ItemType.Structure
    ? { t: item.type, c: childrenOf(item).map((child) => ({ tag: child.tag, ...(itemToJson(child) as object) })) }
    : { t: item.type, x: toJson(item.value as Value) };
const itemFromJson = (json: Json, tag: number): Item => {
  const { t, x, c } = json as { readonly t: number; readonly x?: Json; readonly c?: readonly Json[] };
  if (t !== ItemType.Structure) return { tag, type: t, value: fromJson(x as Json) as Item['value'] };
  return structure(
    tag,
    (c ?? []).map((child) => itemFromJson(child, (child as { readonly tag: number }).tag)),
  );
};

/** The stored form of an attribute's value. A vendor's keeps its item type, which alone says how to write it. */
export const storedValue = (attribute: KmipAttribute): Json => {
  if (attribute.value === undefined) return null;
  // Of an unknown tag (vendor '') the item itself is kept with its tag.
  if (attribute.vendor !== undefined) {
    const item = attribute.value;
    return item.tag === ATTRIBUTE_VALUE ? itemToJson(item) : { tag: item.tag, ...(itemToJson(item) as object) };
  }
  return toJson(attribute.value);
};

/** The instances kept under a key, with their 1.x indexes. */
export const instancesOf = (attributes: StoredAttributes, key: string): readonly Required<StoredInstance>[] => {
  const list = attributes[key];
  if (!Array.isArray(list)) return [];
  return (list as readonly StoredInstance[]).map(({ v, i }, position) => ({ v, i: i ?? position }));
};

/** Instances in their stored form: an index that is the position is left out, so that equal lists are equal JSON. */
export const toStored = (instances: readonly Required<StoredInstance>[]): readonly StoredInstance[] =>
  instances.map(({ v, i }, position) => (i === position ? { v } : { v, i }));

const attributeFrom = (named: { readonly name: string; readonly vendor?: string }, { v, i }: Required<StoredInstance>): KmipAttribute => {
  if (named.vendor === undefined) return { name: named.name, index: i, value: fromJson(v) } satisfies StandardAttribute;
  const tag = (v as { readonly tag?: number } | null)?.tag ?? ATTRIBUTE_VALUE;
  return {
    name: named.name,
    vendor: named.vendor,
    index: i,
    ...(v === null ? {} : { value: itemFromJson(v, tag) }),
  } satisfies VendorAttribute;
};

/** Every attribute kept, in the order of their keys; indexes set. */
export const storedAttributes = (attributes: StoredAttributes): readonly KmipAttribute[] =>
  Object.keys(attributes).flatMap((key) => {
    const named = namedBy(key);
    return named === undefined ? [] : instancesOf(attributes, key).map((instance) => attributeFrom(named, instance));
  });

/** The first value kept of a standard attribute. */
export const storedOne = (attributes: StoredAttributes, name: string): Value | undefined => {
  const first = instancesOf(attributes, storedKey(name))[0];
  return first === undefined ? undefined : fromJson(first.v);
};

/** One value as the list that is kept. */
export const keptOne = (name: string, value: Value): Readonly<Record<string, readonly StoredInstance[]>> => ({
  [storedKey(name)]: [{ v: toJson(value) }],
});

/** A list of attributes (a Template's) as one JSON value, and back. */
export const listToJson = (list: readonly KmipAttribute[]): Json =>
  list.map((attribute) => ({
    n: attribute.name,
    ...(attribute.vendor === undefined ? {} : { vendor: attribute.vendor }),
    v: storedValue(attribute),
  }));
export const listFromJson = (json: unknown): readonly KmipAttribute[] =>
  Array.isArray(json)
    ? (json as readonly { readonly n: string; readonly vendor?: string; readonly v: Json }[]).map(({ n, vendor, v }) => {
        const { index: _, ...attribute } = attributeFrom({ name: n, ...(vendor === undefined ? {} : { vendor }) }, { v, i: 0 });
        return attribute as KmipAttribute;
      })
    : [];
