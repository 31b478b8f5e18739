import { ItemType, itemTypeCode, itemTypeName } from '../spec/item-types.js';
import { knownTag, maskOfTag, showTag, tagCode } from '../spec/lookup.js';
import { CodecError } from '../tree/codec-error.js';
import { childrenOf, DEFAULT_LIMITS, type Item, type ItemValue, type Limits } from '../tree/item.js';
import { meaningTag } from './context.js';
import * as scalar from './scalars.js';
import { escapeXml, scanXml } from './xml-syntax.js';

// XML encoding (additional message encodings 1.0 §6.1).

/** XML is read up to this many characters for each byte of `maxBytes`: the longest names cost about that against 16 bytes of TTLV. */
const CHARACTERS_PER_BYTE = 8;
const INT64 = { low: -(1n << 63n), high: (1n << 63n) - 1n };

type Frame = { tag: number; type: number; text: string | undefined; children: Item[] };

/**
 * Reads one message from its XML encoding. Element names are the normalised tag names, `<TTLV tag="0x…">` or `x` and six hex digits.
 * @throws CodecError
 */
export function readXml(text: string, limits: Limits = DEFAULT_LIMITS): Item {
  if (text.length > limits.maxBytes * CHARACTERS_PER_BYTE)
    throw new CodecError('TooLarge', `the message is longer than ${limits.maxBytes} bytes`);
  const stack: Frame[] = [];
  let root: Item | undefined;
  let items = 0;
  let where = 0;
  const guarded = <T>(at: number, step: () => T): T => {
    where = at;
    try {
      return step();
    } catch (error) {
      throw error instanceof CodecError && error.path === '' ? new CodecError(error.code, error.reason, pathOf(stack), where) : error;
    }
  };
  scanXml(text, {
    open: (name, attributes, at) =>
      guarded(at, () => {
        if (++items > limits.maxItems) throw new CodecError('TooManyItems', `more than ${limits.maxItems} items`);
        if (stack.length > limits.maxDepth) throw new CodecError('TooDeep', `more than ${limits.maxDepth} levels of structures`);
        const parent = stack[stack.length - 1];
        if (parent !== undefined && parent.type !== ItemType.Structure) throw new CodecError('BadMessage', 'only a Structure holds items');
        stack.push(openFrame(name, attributes));
      }),
    close: (_, at) =>
      guarded(at, () => {
        const frame = stack[stack.length - 1] as Frame;
        const parent = stack[stack.length - 2];
        const item: Item = { tag: frame.tag, type: frame.type, value: frameValue(frame, parent) };
        if (parent === undefined) root = item;
        else parent.children.push(item);
        stack.pop();
      }),
  });
  return root as Item;
}

/** The path of the innermost open element; places among siblings are counted only here, when something is wrong. */
const pathOf = (stack: readonly Frame[]): string =>
  stack
    .map((frame, depth) => {
      const index = stack[depth - 1]?.children.filter((child) => child.tag === frame.tag).length ?? 0;
      return index > 0 || frame.tag === BATCH_ITEM ? `${showTag(frame.tag)}[${index}]` : showTag(frame.tag);
    })
    .join('/');
const BATCH_ITEM = knownTag('BatchItem');

function openFrame(qualified: string, attributes: ReadonlyMap<string, string>): Frame {
  const name = qualified.slice(qualified.indexOf(':') + 1);
  const tag = elementTag(name, attributes.get('tag'));
  const typeName = attributes.get('type') ?? 'Structure';
  const type = itemTypeCode(typeName);
  if (type === undefined) throw new CodecError('BadType', 'no item type has that name', showTag(tag));
  return { tag, type, text: attributes.get('value'), children: [] };
}

function elementTag(name: string, attribute: string | undefined): number {
  const text = name === 'TTLV' ? attribute : name;
  if (text === undefined) throw new CodecError('BadTag', 'a TTLV element has a tag attribute');
  const hex = /^(?:0x|x)([0-9a-fA-F]{6})$/.exec(text)?.[1];
  const tag = hex === undefined ? tagCode(text) : Number.parseInt(hex, 16);
  if (tag === undefined) throw new CodecError('BadTag', 'no tag has that name; an unknown tag is written as <TTLV tag="0x…">');
  return tag;
}

function frameValue(frame: Frame, parent: Frame | undefined): ItemValue {
  if (frame.type === ItemType.Structure) {
    if (frame.text !== undefined) throw new CodecError('BadValue', 'a Structure has no value attribute');
    return frame.children;
  }
  if (frame.text === undefined) throw new CodecError('MissingField', 'the element has no value attribute');
  return parseValue(frame.type, frame.text, parent === undefined ? frame.tag : meaningTag(frame.tag, parent.tag, parent.children));
}

function parseValue(type: number, text: string, meaning: number): ItemValue {
  switch (type) {
    case ItemType.Integer:
      return parseInteger(text, meaning);
    case ItemType.LongInteger:
      return scalar.isHex(text) ? scalar.parseHex64(text) : scalar.parseDecimal(text, INT64.low, INT64.high);
    case ItemType.BigInteger:
      return parseBigInteger(text);
    case ItemType.Enumeration:
      return scalar.parseEnumeration(meaning, text);
    case ItemType.Boolean:
      return parseBoolean(text);
    case ItemType.ByteString:
      return scalar.parseBytes(text);
    case ItemType.DateTime:
      return scalar.isHex(text) ? scalar.parseHex64(text) : scalar.parseDate(text, 'seconds');
    case ItemType.DateTimeExtended:
      return scalar.isHex(text) ? scalar.parseHex64(text) : scalar.parseDate(text, 'microseconds');
    case ItemType.Interval:
      return scalar.isHex(text) ? scalar.parseHex32(text) : Number(scalar.parseDecimal(text, 0n, 0xffffffffn));
    default:
      return text;
  }
}

function parseInteger(text: string, meaning: number): number {
  if (scalar.isHex(text)) return scalar.parseHex32(text) | 0;
  if (/^[+-]?\d+$/.test(text)) return Number(scalar.parseDecimal(text, -0x80000000n, 0x7fffffffn));
  if (maskOfTag(meaning) === undefined) throw new CodecError('BadValue', 'the value is a decimal integer');
  return scalar.parseMask(meaning, text, /\s+/);
}

function parseBigInteger(text: string): Uint8Array {
  const bytes = scalar.parseBytes(text.startsWith('0x') ? text.slice(2) : text);
  if (bytes.length === 0) throw new CodecError('BadValue', 'a Big Integer has at least one byte');
  const length = Math.ceil(bytes.length / 8) * 8;
  if (length === bytes.length) return bytes;
  // The text may leave out the sign extension that TTLV requires.
  const extended = new Uint8Array(length).fill((bytes[0] as number) & 0x80 ? 0xff : 0);
  extended.set(bytes, length - bytes.length);
  return extended;
}

function parseBoolean(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new CodecError('BadValue', 'a Boolean is true or false');
}

/**
 * The XML encoding of an item.
 * @param indent spaces for each level; none writes one line
 * @throws CodecError when a text has a character that XML 1.0 cannot carry (most control characters)
 */
export function writeXml(item: Item, indent?: number): string {
  const lines: string[] = [];
  writeElement(item, item.tag, 0, indent, lines);
  return lines.join(indent === undefined ? '' : '\n');
}

function writeElement(item: Item, meaning: number, depth: number, indent: number | undefined, lines: string[]): void {
  const margin = ' '.repeat((indent ?? 0) * depth);
  const name = showTag(item.tag);
  const start = name.startsWith('0x') ? `<TTLV tag="${name}"` : `<${name}`;
  const end = name.startsWith('0x') ? '</TTLV>' : `</${name}>`;
  if (item.type !== ItemType.Structure) {
    lines.push(`${margin}${start} type="${itemTypeName(item.type) ?? unknownType(item)}" value="${showValue(item, meaning)}"/>`);
    return;
  }
  const children = childrenOf(item);
  if (children.length === 0) {
    lines.push(`${margin}${start}/>`);
    return;
  }
  lines.push(`${margin}${start}>`);
  for (const child of children) writeElement(child, meaningTag(child.tag, item.tag, children), depth + 1, indent, lines);
  lines.push(`${margin}${end}`);
}

function unknownType(item: Item): never {
  throw new CodecError('BadType', `no item type has the code ${item.type}`, showTag(item.tag));
}

function showValue(item: Item, meaning: number): string {
  const { type, value } = item;
  switch (type) {
    case ItemType.Integer:
      return scalar.showMask(meaning, value as number, ' ') ?? String(value);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return scalar.showBytes(value as Uint8Array);
    case ItemType.Enumeration:
      return scalar.showEnumeration(meaning, value as number);
    case ItemType.DateTime:
      return scalar.showDate(value as bigint, 'seconds') ?? scalar.showHex(value as bigint, 8);
    case ItemType.DateTimeExtended:
      return scalar.showDate(value as bigint, 'microseconds') ?? scalar.showHex(value as bigint, 8);
    case ItemType.TextString:
    case ItemType.Identifier:
    case ItemType.Reference:
    case ItemType.NameReference:
      return escapeXml(value as string) ?? notXml(item);
    default:
      return String(value);
  }
}

function notXml(item: Item): never {
  throw new CodecError('BadValue', 'the text has a character that XML cannot carry', showTag(item.tag));
}
