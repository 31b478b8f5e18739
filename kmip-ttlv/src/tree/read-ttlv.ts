import { ItemType } from '../spec/item-types.js';
import { showTag } from '../spec/lookup.js';
import { CodecError, type CodecErrorCode } from './codec-error.js';
import { DEFAULT_LIMITS, type Item, type ItemValue, type Limits } from './item.js';

// TTLV reader (KMIP 1.4 §9.1.1, 2.1 §10.1): 3 bytes tag, 1 byte type, 4 bytes length, value, zero padding to 8 bytes.

const HEADER_BYTES = 8;
const SHORT_TEXT_BYTES = 48;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Carries the place only; the path is worked out when the error leaves, so that good input pays nothing for it. */
class Fault {
  readonly code: CodecErrorCode;
  readonly reason: string;
  readonly at: number;
  constructor(code: CodecErrorCode, reason: string, at: number) {
    this.code = code;
    this.reason = reason;
    this.at = at;
  }
}

const padded = (length: number): number => (length + 7) & ~7;

/**
 * The bytes of the first whole message in a buffer: 8 + the length in its header, or undefined when fewer than 8 bytes are there.
 * @throws CodecError when the item is not a structure or is longer than `maxBytes`, so that a receiver refuses before it buffers.
 */
export function messageLength(bytes: Uint8Array, maxBytes: number = DEFAULT_LIMITS.maxBytes): number | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  if (bytes[3] !== ItemType.Structure) throw new CodecError('BadType', 'a message is a Structure', '', 3);
  const length = (((bytes[4] as number) << 24) | ((bytes[5] as number) << 16) | ((bytes[6] as number) << 8) | (bytes[7] as number)) >>> 0;
  if (length % 8 !== 0) throw new CodecError('BadLength', 'the length of a Structure is a multiple of 8', '', 4);
  if (length + HEADER_BYTES > maxBytes) throw new CodecError('TooLarge', `the message is longer than ${maxBytes} bytes`, '', 4);
  return length + HEADER_BYTES;
}

/** One message's reader. Byte and Big Integer values are views of the input, not copies: keep or wipe the input accordingly. */
class Reader {
  private items = 0;
  private readonly bytes: Uint8Array;
  private readonly limits: Limits;
  private readonly view: DataView;
  constructor(bytes: Uint8Array, limits: Limits) {
    this.bytes = bytes;
    this.limits = limits;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The item at `at`; it must end at or before `end`. */
  item(at: number, end: number, depth: number): Item {
    if (end - at < HEADER_BYTES) throw new Fault('Truncated', 'fewer than 8 bytes are left for an item', at);
    if (++this.items > this.limits.maxItems) throw new Fault('TooManyItems', `more than ${this.limits.maxItems} items`, at);
    const head = this.view.getUint32(at);
    const length = this.view.getUint32(at + 4);
    const type = head & 0xff;
    const start = at + HEADER_BYTES;
    if (length > end - start) throw new Fault('Truncated', 'the item is longer than what holds it', at);
    return { tag: head >>> 8, type, value: this.value(type, start, length, end, depth) };
  }

  private value(type: number, start: number, length: number, end: number, depth: number): ItemValue {
    switch (type) {
      case ItemType.Structure:
        return this.children(start, length, depth + 1);
      case ItemType.Integer:
        this.fixed(start, length, 4, end);
        return this.view.getInt32(start);
      case ItemType.Enumeration:
      case ItemType.Interval:
        this.fixed(start, length, 4, end);
        return this.view.getUint32(start);
      case ItemType.LongInteger:
      case ItemType.DateTime:
      case ItemType.DateTimeExtended:
        this.fixed(start, length, 8, end);
        return this.view.getBigInt64(start);
      case ItemType.Boolean:
        return this.boolean(start, length, end);
      case ItemType.BigInteger:
        if (length === 0 || length % 8 !== 0)
          throw new Fault('BadLength', 'the length of a Big Integer is a multiple of 8, at least 8', start);
        return this.bytes.subarray(start, start + length);
      case ItemType.ByteString:
        this.padding(start, length, end);
        return this.bytes.subarray(start, start + length);
      case ItemType.TextString:
      case ItemType.Identifier:
      case ItemType.Reference:
      case ItemType.NameReference:
        this.padding(start, length, end);
        return this.text(start, length);
      default:
        throw new Fault('BadType', `no item type has the code ${type}`, start);
    }
  }

  private children(start: number, length: number, depth: number): Item[] {
    if (depth > this.limits.maxDepth) throw new Fault('TooDeep', `more than ${this.limits.maxDepth} levels of structures`, start);
    if (length % 8 !== 0) throw new Fault('BadLength', 'the length of a Structure is a multiple of 8', start);
    const children: Item[] = [];
    const end = start + length;
    for (let at = start; at < end; ) {
      children.push(this.item(at, end, depth));
      at += HEADER_BYTES + padded(this.view.getUint32(at + 4));
    }
    return children;
  }

  private fixed(start: number, length: number, expected: number, end: number): void {
    if (length !== expected) throw new Fault('BadLength', `the type has ${expected} bytes`, start);
    if (expected === 4 && (end - start < 8 || this.view.getUint32(start + 4) !== 0)) this.padding(start, length, end);
  }

  private boolean(start: number, length: number, end: number): boolean {
    this.fixed(start, length, 8, end);
    const low = this.view.getUint32(start + 4);
    if (this.view.getUint32(start) !== 0 || low > 1) throw new Fault('BadValue', 'a Boolean is 0 or 1', start);
    return low === 1;
  }

  private padding(start: number, length: number, end: number): void {
    const stop = start + padded(length);
    if (stop > end) throw new Fault('Truncated', 'the padding is longer than what holds it', start);
    for (let at = start + length; at < stop; at++) if (this.bytes[at] !== 0) throw new Fault('BadValue', 'padding is zero', at);
  }

  private text(start: number, length: number): string {
    if (length <= SHORT_TEXT_BYTES) {
      // Names and identifiers are short ASCII; building them here costs less than a call of TextDecoder.
      let text = '';
      const end = start + length;
      let at = start;
      for (; at < end; at++) {
        const byte = this.bytes[at] as number;
        if (byte > 0x7f) break;
        text += String.fromCharCode(byte);
      }
      if (at === end) return text;
    }
    try {
      return utf8.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw new Fault('BadValue', 'the text is not UTF-8', start);
    }
  }
}

/** The path of the innermost item that holds the byte at `at`, by walking headers only. */
function pathAt(bytes: Uint8Array, at: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const path: string[] = [];
  const counts = new Map<number, number>();
  for (let start = 0, end = bytes.length; start + HEADER_BYTES <= end; ) {
    const tag = view.getUint32(start) >>> 8;
    const next = start + HEADER_BYTES + Math.ceil(view.getUint32(start + 4) / 8) * 8;
    const index = counts.get(tag) ?? 0;
    counts.set(tag, index + 1);
    if (at >= next) {
      start = next;
      continue;
    }
    const first = path.length === 0;
    path.push(first || !repeats(view, tag, index, next, end) ? showTag(tag) : `${showTag(tag)}[${index}]`);
    if (at < start + HEADER_BYTES || bytes[start + 3] !== ItemType.Structure) break;
    counts.clear();
    end = Math.min(end, next);
    start += HEADER_BYTES;
  }
  return path.join('/');
}

const repeats = (view: DataView, tag: number, index: number, next: number, end: number): boolean =>
  tag === BATCH_ITEM || index > 0 || (next + 4 <= end && view.getUint32(next) >>> 8 === tag);
const BATCH_ITEM = 0x42000f;

/**
 * Reads exactly one item from the bytes.
 * Strict: lengths, zero padding, Boolean values, UTF-8; any tag and any of the known types, so that what this software does not know survives.
 * Byte values are views of `bytes`.
 * @throws CodecError
 */
export function readTtlv(bytes: Uint8Array, limits: Limits = DEFAULT_LIMITS): Item {
  if (bytes.length > limits.maxBytes) throw new CodecError('TooLarge', `the message is longer than ${limits.maxBytes} bytes`);
  return read(bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), limits);
}

/** Of plain Uint8Array: a Buffer's views would be Buffers, whose methods mean other things. */
function read(bytes: Uint8Array, limits: Limits): Item {
  try {
    const item = new Reader(bytes, limits).item(0, bytes.length, 0);
    const used = bytes.length < HEADER_BYTES ? 0 : HEADER_BYTES + padded(new DataView(bytes.buffer, bytes.byteOffset, 8).getUint32(4));
    if (used !== bytes.length) throw new Fault('TrailingBytes', 'bytes are left over after the message', used);
    return item;
  } catch (error) {
    if (error instanceof Fault)
      throw new CodecError(error.code, error.reason, pathAt(bytes, Math.min(error.at, bytes.length - 1)), error.at);
    throw error;
  }
}
