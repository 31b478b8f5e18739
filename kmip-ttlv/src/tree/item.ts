import { ItemType } from '../spec/item-types.js';

/**
 * One TTLV item. `type` is the wire code ({@link ItemType}) and decides what `value` is:
 *
 * | type | value |
 * |---|---|
 * | Structure | Item[] |
 * | Integer, Enumeration, Interval | number |
 * | LongInteger, DateTime (seconds), DateTimeExtended (microseconds) | bigint |
 * | BigInteger | Uint8Array: two's complement, big-endian, a multiple of 8 bytes, as on the wire |
 * | Boolean | boolean |
 * | TextString, Identifier, Reference, NameReference | string |
 * | ByteString | Uint8Array |
 *
 * Big Integers stay bytes so that they round-trip exactly and so that a private exponent never becomes a bigint that cannot be wiped.
 */
export type Item = { readonly tag: number; readonly type: number; readonly value: ItemValue };
export type ItemValue = readonly Item[] | number | bigint | Uint8Array | boolean | string;

/** Bounds that are checked before anything is allocated for the item that exceeds them. */
export type Limits = { readonly maxBytes: number; readonly maxDepth: number; readonly maxItems: number };

/** 1 MiB, 32 levels, 65,536 items: far above any message of the official cases. */
export const DEFAULT_LIMITS: Limits = { maxBytes: 1 << 20, maxDepth: 32, maxItems: 65_536 };

export function structure(tag: number, value: readonly Item[]): Item {
  return { tag, type: ItemType.Structure, value };
}

/** The children of a structure; none for any other type. */
export function childrenOf(item: Item): readonly Item[] {
  return item.type === ItemType.Structure ? (item.value as readonly Item[]) : [];
}

/** The first child with the tag. */
export function childOf(item: Item, tag: number): Item | undefined {
  return childrenOf(item).find((child) => child.tag === tag);
}

/** A Big Integer's bytes as a bigint. Do not use it on secret values. */
export function toBigInt(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return bytes.length > 0 && (bytes[0] as number) & 0x80 ? value - (1n << BigInt(bytes.length * 8)) : value;
}

/** Two's complement, big-endian, sign-extended to the fewest multiple of 8 bytes. */
export function fromBigInt(value: bigint): Uint8Array {
  let length = 8;
  while (BigInt.asIntN(length * 8, value) !== value) length += 8;
  const bytes = new Uint8Array(length);
  let rest = BigInt.asUintN(length * 8, value);
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}
