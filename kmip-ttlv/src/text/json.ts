import { ItemType, itemTypeCode, itemTypeName } from '../spec/item-types.js';
import { knownTag, maskOfTag, showTag, tagCode } from '../spec/lookup.js';
import { CodecError } from '../tree/codec-error.js';
import { childrenOf, DEFAULT_LIMITS, fromBigInt, type Item, type ItemValue, type Limits } from '../tree/item.js';
import { meaningTag } from './context.js';
import * as scalar from './scalars.js';

// JSON encoding (additional message encodings 1.0 §4.1). Integers may be numbers or hex there; hex is written, as in the standard's own samples (§5)
// and because it is exact for 64 bits.

const CHARACTERS_PER_BYTE = 10;
const BATCH_ITEM = knownTag('BatchItem');

type Count = { items: number };
/** An item on the way to the one being read, and the siblings before it. */
type Step = { readonly tag: number; readonly before: readonly Item[] };
type JsonItem = { tag: string; type?: string; value: unknown };

/**
 * Reads one message from its JSON encoding.
 * @throws CodecError
 */
export function readJson(text: string, limits: Limits = DEFAULT_LIMITS): Item {
  if (text.length > limits.maxBytes * CHARACTERS_PER_BYTE)
    throw new CodecError('TooLarge', `the message is longer than ${limits.maxBytes} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The engine's own message quotes the input, which may hold key material.
    throw new CodecError('BadSyntax', 'the text is not JSON');
  }
  return fromJsonItem(parsed, limits);
}

/** The item of an already parsed JSON object of the encoding. */
export function fromJsonItem(parsed: unknown, limits: Limits = DEFAULT_LIMITS): Item {
  return readItem(parsed, 0, [], limits, { items: 0 }, 0, []);
}

function readItem(
  parsed: unknown,
  parent: number,
  before: readonly Item[],
  limits: Limits,
  count: Count,
  depth: number,
  path: Step[],
): Item {
  const at = (): string => showPath(path);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new CodecError('BadSyntax', 'an item is an object', at());
  const { tag: tagText, type: typeText = 'Structure', value } = parsed as Record<string, unknown>;
  const tag = typeof tagText === 'string' ? parseTag(tagText) : undefined;
  if (tag === undefined) throw new CodecError('BadTag', 'no tag has that name; an unknown tag is written as 0x and 6 hex digits', at());
  const type = typeof typeText === 'string' ? itemTypeCode(typeText) : undefined;
  path.push({ tag, before });
  if (type === undefined) throw new CodecError('BadType', 'no item type has that name', at());
  if (++count.items > limits.maxItems) throw new CodecError('TooManyItems', `more than ${limits.maxItems} items`, at());
  let read: ItemValue;
  if (type === ItemType.Structure) read = readChildren(tag, value, limits, count, depth + 1, path);
  else {
    try {
      read = parseValue(type, value, meaningTag(tag, parent, before));
    } catch (error) {
      throw error instanceof CodecError && error.path === '' ? new CodecError(error.code, error.reason, at()) : error;
    }
  }
  path.pop();
  return { tag, type, value: read };
}

/** Places among siblings are counted only here, when something is wrong. */
function showPath(path: readonly Step[]): string {
  return path
    .map(({ tag, before }) => {
      const index = before.filter((sibling) => sibling.tag === tag).length;
      return index > 0 || tag === BATCH_ITEM ? `${showTag(tag)}[${index}]` : showTag(tag);
    })
    .join('/');
}

function readChildren(tag: number, value: unknown, limits: Limits, count: Count, depth: number, path: Step[]): Item[] {
  if (depth > limits.maxDepth) throw new CodecError('TooDeep', `more than ${limits.maxDepth} levels of structures`, showPath(path));
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new CodecError('BadValue', 'the value of a Structure is an array', showPath(path));
  const children: Item[] = [];
  for (const child of value) children.push(readItem(child, tag, children, limits, count, depth, path));
  return children;
}

function parseTag(text: string): number | undefined {
  return /^0x[0-9a-fA-F]{6}$/.test(text) ? Number.parseInt(text.slice(2), 16) : tagCode(text);
}

function parseValue(type: number, value: unknown, meaning: number): ItemValue {
  switch (type) {
    case ItemType.Integer:
      return typeof value === 'number' ? whole(value, -0x80000000, 0x7fffffff) : parseIntegerText(text(value), meaning);
    case ItemType.LongInteger:
      return typeof value === 'number'
        ? BigInt(whole(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
        : scalar.parseHex64(text(value));
    case ItemType.BigInteger:
      return parseBigInteger(value);
    case ItemType.Enumeration:
      return typeof value === 'number' ? whole(value, 0, 0xffffffff) : scalar.parseEnumeration(meaning, text(value));
    case ItemType.Boolean:
      return typeof value === 'boolean' ? value : parseBooleanHex(text(value));
    case ItemType.ByteString:
      return scalar.parseBytes(text(value));
    case ItemType.DateTime:
      return parseDateText(text(value), 'seconds');
    case ItemType.DateTimeExtended:
      return parseDateText(text(value), 'microseconds');
    case ItemType.Interval:
      return typeof value === 'number' ? whole(value, 0, 0xffffffff) : scalar.parseHex32(text(value));
    default:
      return text(value);
  }
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new CodecError('BadValue', 'the value has the wrong JSON type');
  return value;
}

function whole(value: number, low: number, high: number): number {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new CodecError('BadValue', 'the value is an integer in the range of its type');
  return value + 0;
}

function parseIntegerText(value: string, meaning: number): number {
  if (scalar.isHex(value)) return scalar.parseHex32(value) | 0;
  if (maskOfTag(meaning) === undefined) throw new CodecError('BadValue', 'the value is a number or 0x and 8 hex digits');
  return scalar.parseMask(meaning, value, /\s*\|\s*/);
}

function parseBigInteger(value: unknown): Uint8Array {
  if (typeof value === 'number') return fromBigInt(BigInt(whole(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)));
  const hex = text(value);
  if (!scalar.isHex(hex) || hex.length % 16 !== 2) throw new CodecError('BadValue', 'the value is 0x and a multiple of 16 hex digits');
  return scalar.parseBytes(hex.slice(2));
}

function parseBooleanHex(value: string): boolean {
  const number = scalar.parseHex64(value);
  if (number !== 0n && number !== 1n) throw new CodecError('BadValue', 'a Boolean is true or false');
  return number === 1n;
}

const parseDateText = (value: string, unit: 'seconds' | 'microseconds'): bigint =>
  scalar.isHex(value) ? scalar.parseHex64(value) : scalar.parseDate(value, unit);

/**
 * The JSON encoding of an item.
 * @param indent spaces for each level; none writes one line
 */
export function writeJson(item: Item, indent?: number): string {
  return JSON.stringify(toJsonItem(item), undefined, indent);
}

/** The JSON object of an item, before it is made text. */
export function toJsonItem(item: Item): JsonItem {
  return showItem(item, item.tag);
}

function showItem(item: Item, meaning: number): JsonItem {
  const type = itemTypeName(item.type);
  if (type === undefined) throw new CodecError('BadType', `no item type has the code ${item.type}`, showTag(item.tag));
  if (item.type !== ItemType.Structure) return { tag: showTag(item.tag), type, value: showValue(item, meaning) };
  const children = childrenOf(item);
  const value = children.map((child) => showItem(child, meaningTag(child.tag, item.tag, children)));
  return { tag: showTag(item.tag), value };
}

function showValue(item: Item, meaning: number): unknown {
  const { type, value } = item;
  switch (type) {
    case ItemType.Integer:
      return scalar.showMask(meaning, value as number, '|') ?? scalar.showHex(value as number, 4);
    case ItemType.Interval:
      return scalar.showHex(value as number, 4);
    case ItemType.LongInteger:
      return scalar.showHex(value as bigint, 8);
    case ItemType.BigInteger:
      return `0x${scalar.showBytes(value as Uint8Array)}`;
    case ItemType.ByteString:
      return scalar.showBytes(value as Uint8Array);
    case ItemType.Enumeration:
      return scalar.showEnumeration(meaning, value as number);
    case ItemType.DateTime:
      return scalar.showDate(value as bigint, 'seconds') ?? scalar.showHex(value as bigint, 8);
    case ItemType.DateTimeExtended:
      return scalar.showDate(value as bigint, 'microseconds') ?? scalar.showHex(value as bigint, 8);
    default:
      return value;
  }
}
