import { type Item, ItemType, itemTypeName, makeFrameReader, readJson, readTtlv, readXml, showTag } from '@aegis/kmip-ttlv';
import { CliError, EXIT } from './command.js';

/**
 * The structure of KMIP messages without any of their values: tags, types and lengths, so that a trace can be handed to
 * somebody else (support, a vendor) whatever keys and names went over the wire.
 */

const WIDTH = 48;

/** Bytes of the value as TTLV counts them (KMIP 1.4 §9.1.1.3), without padding. */
const lengthOf = ({ type, value }: Item): number => {
  switch (type) {
    case ItemType.Structure:
      return (value as readonly Item[]).reduce((sum, child) => sum + 8 + padded(lengthOf(child)), 0);
    case ItemType.Integer:
    case ItemType.Enumeration:
    case ItemType.Interval:
      return 4;
    case ItemType.LongInteger:
    case ItemType.Boolean:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return 8;
    default:
      return value instanceof Uint8Array ? value.length : Buffer.byteLength(String(value), 'utf8');
  }
};
const padded = (length: number): number => Math.ceil(length / 8) * 8;

const lines = (item: Item, depth: number): string[] => {
  const name = `${'  '.repeat(depth)}${showTag(item.tag)}`;
  const children = item.type === ItemType.Structure ? (item.value as readonly Item[]) : [];
  const count = item.type === ItemType.Structure ? `, ${children.length} ${children.length === 1 ? 'item' : 'items'}` : '';
  const own = `${name.padEnd(WIDTH)}  ${itemTypeName(item.type) ?? 'unknown type'}, ${lengthOf(item)} bytes${count}`;
  return [own, ...children.flatMap((child) => lines(child, depth + 1))];
};

/** One message, one line for each item. */
export const showStructure = (item: Item): string => `${lines(item, 0).join('\n')}\n`;

/** The same as data. */
export interface TracedItem {
  readonly tag: string;
  readonly type: string;
  readonly length: number;
  readonly items?: readonly TracedItem[];
}
export const toTraced = (item: Item): TracedItem => ({
  tag: showTag(item.tag),
  type: itemTypeName(item.type) ?? String(item.type),
  length: lengthOf(item),
  ...(item.type === ItemType.Structure ? { items: (item.value as readonly Item[]).map(toTraced) } : {}),
});

const HEX = /^[0-9a-f\s:]+$/i;

/** Messages of a capture: TTLV as bytes or hex (one after the other), or one message as XML or JSON. */
export function readCapture(bytes: Buffer): readonly Item[] {
  const start = bytes.subarray(0, 64).toString('latin1').trimStart();
  try {
    if (start.startsWith('<')) return [readXml(bytes.toString('utf8'))];
    if (start.startsWith('{')) return [readJson(bytes.toString('utf8'))];
    const text = bytes.toString('latin1');
    const raw = HEX.test(text) ? Buffer.from(text.replace(/[\s:]/g, ''), 'hex') : bytes;
    const frames = makeFrameReader();
    const messages = frames.push(raw);
    if (frames.pendingBytes > 0) throw new Error(`the last message is incomplete (${frames.pendingBytes} bytes)`);
    return messages.map((message) => readTtlv(message));
  } catch (error) {
    throw new CliError(
      `the capture cannot be read: ${(error as Error).message}`,
      EXIT.failure,
      'It takes whole TTLV messages as bytes or hex, or one message as XML or JSON.',
    );
  }
}
