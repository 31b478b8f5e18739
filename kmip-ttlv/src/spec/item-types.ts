import type { Lifetime } from './versions.js';

// Item types (KMIP 1.4 §9.1.1.2, 2.1 §10.1.2, 3.0 tables). `bytes` is the length of the value where the type fixes it.

/** Item types by their code on the wire. */
export const ITEM_TYPES = [
  { code: 0x01, name: 'Structure', since: '1.0' },
  { code: 0x02, name: 'Integer', since: '1.0', bytes: 4 },
  { code: 0x03, name: 'LongInteger', since: '1.0', bytes: 8 },
  { code: 0x04, name: 'BigInteger', since: '1.0' },
  { code: 0x05, name: 'Enumeration', since: '1.0', bytes: 4 },
  { code: 0x06, name: 'Boolean', since: '1.0', bytes: 8 },
  { code: 0x07, name: 'TextString', since: '1.0' },
  { code: 0x08, name: 'ByteString', since: '1.0' },
  { code: 0x09, name: 'DateTime', since: '1.0', bytes: 8 },
  { code: 0x0a, name: 'Interval', since: '1.0', bytes: 4 },
  { code: 0x0b, name: 'DateTimeExtended', since: '2.0', bytes: 8 },
  { code: 0x0c, name: 'Identifier', since: '3.0' },
  { code: 0x0d, name: 'Reference', since: '3.0' },
  { code: 0x0e, name: 'NameReference', since: '3.0' },
] as const satisfies readonly (Lifetime & { code: number; name: string; bytes?: number })[];

export type ItemTypeName = (typeof ITEM_TYPES)[number]['name'];
/** Item type codes by name: `ItemType.Structure` is 1. */
export const ItemType = {
  Structure: 0x01,
  Integer: 0x02,
  LongInteger: 0x03,
  BigInteger: 0x04,
  Enumeration: 0x05,
  Boolean: 0x06,
  TextString: 0x07,
  ByteString: 0x08,
  DateTime: 0x09,
  Interval: 0x0a,
  DateTimeExtended: 0x0b,
  Identifier: 0x0c,
  Reference: 0x0d,
  NameReference: 0x0e,
} as const satisfies Record<ItemTypeName, number>;

const names: readonly (ItemTypeName | undefined)[] = ITEM_TYPES.reduce<(ItemTypeName | undefined)[]>((list, row) => {
  list[row.code] = row.name;
  return list;
}, []);

/** The name of a type code, or undefined. */
export function itemTypeName(code: number): ItemTypeName | undefined {
  return names[code];
}

/** The code of a type name, or undefined. */
export function itemTypeCode(name: string): number | undefined {
  return Object.hasOwn(ItemType, name) ? ItemType[name as ItemTypeName] : undefined;
}
