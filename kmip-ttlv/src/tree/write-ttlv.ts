import { ItemType, itemTypeName } from '../spec/item-types.js';
import { showTag } from '../spec/lookup.js';
import { CodecError } from './codec-error.js';
import type { Item } from './item.js';

// TTLV writer (KMIP 1.4 §9.1.1). One pass into a growing buffer; the length of a structure is filled in when it closes.

/** Most messages fit; a larger one gets a buffer of its own, so that nothing this size is held for ever. */
const SCRATCH_BYTES = 16_384;
/** A tree deeper than this is refused, so that a cycle or a hostile tree cannot exhaust the stack. */
const MAX_DEPTH = 128;
const SHORT_TEXT_CHARS = 48;
const utf8 = new TextEncoder();

/** What a writer writes into. Allocating one costs more than writing a short message, so that one is kept between messages. */
type Scratch = { readonly bytes: Uint8Array; readonly view: DataView };
const makeScratch = (): Scratch => {
  const bytes = new Uint8Array(SCRATCH_BYTES);
  return { bytes, view: new DataView(bytes.buffer) };
};
/** Absent while a writer has it. */
let spare: Scratch | undefined = makeScratch();

class Writer {
  private readonly scratch = spare ?? makeScratch();
  private bytes = this.scratch.bytes;
  private view = this.scratch.view;
  private at = 0;

  constructor() {
    spare = undefined;
  }

  item(item: Item, depth: number): void {
    const { tag, type, value } = item;
    if (!(Number.isInteger(tag) && tag >= 0 && tag <= 0xffffff)) throw new CodecError('BadTag', 'a tag has 3 bytes');
    this.room(16);
    const start = this.at;
    this.view.setUint32(start, tag * 256 + type);
    this.at = start + 8;
    switch (type) {
      case ItemType.Structure:
        this.children(value, item, depth, start);
        return;
      case ItemType.Integer:
        this.number(item, -0x80000000, 0x7fffffff);
        return;
      case ItemType.Enumeration:
      case ItemType.Interval:
        this.number(item, 0, 0xffffffff);
        return;
      case ItemType.LongInteger:
      case ItemType.DateTime:
      case ItemType.DateTimeExtended:
        if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) throw wrongValue(item);
        this.view.setUint32(start + 4, 8);
        this.view.setBigInt64(start + 8, value);
        this.at = start + 16;
        return;
      case ItemType.Boolean:
        if (typeof value !== 'boolean') throw wrongValue(item);
        this.view.setUint32(start + 4, 8);
        this.view.setUint32(start + 8, 0);
        this.view.setUint32(start + 12, value ? 1 : 0);
        this.at = start + 16;
        return;
      case ItemType.BigInteger:
        if (!(value instanceof Uint8Array) || value.length === 0 || value.length % 8 !== 0) throw wrongValue(item);
        this.octets(value, start);
        return;
      case ItemType.ByteString:
        if (!(value instanceof Uint8Array)) throw wrongValue(item);
        this.octets(value, start);
        return;
      case ItemType.TextString:
      case ItemType.Identifier:
      case ItemType.Reference:
      case ItemType.NameReference:
        if (typeof value !== 'string') throw wrongValue(item);
        this.text(value, item, start);
        return;
      default:
        throw new CodecError('BadType', `no item type has the code ${type}`, showTag(tag));
    }
  }

  private children(value: unknown, item: Item, depth: number, start: number): void {
    if (!Array.isArray(value)) throw wrongValue(item);
    if (depth >= MAX_DEPTH) throw new CodecError('TooDeep', `more than ${MAX_DEPTH} levels of structures`, showTag(item.tag));
    for (let i = 0; i < value.length; i++) this.item(value[i] as Item, depth + 1);
    this.view.setUint32(start + 4, this.at - start - 8);
  }

  private number(item: Item, low: number, high: number): void {
    const value = item.value;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) throw wrongValue(item);
    this.view.setUint32(this.at - 4, 4);
    this.view.setInt32(this.at, value | 0);
    this.view.setUint32(this.at + 4, 0);
    this.at += 8;
  }

  private octets(value: Uint8Array, start: number): void {
    this.room(value.length + 8);
    this.view.setUint32(start + 4, value.length);
    this.bytes.set(value, start + 8);
    this.pad(start + 8 + value.length);
  }

  private text(value: string, item: Item, start: number): void {
    this.room(value.length * 3 + 8);
    if (value.length <= SHORT_TEXT_CHARS && this.ascii(value, start + 8)) {
      this.view.setUint32(start + 4, value.length);
      this.pad(start + 8 + value.length);
      return;
    }
    // A lone surrogate has no UTF-8 form; the encoder would replace it in silence.
    if (!isWellFormed(value)) throw wrongValue(item);
    const { written } = utf8.encodeInto(value, this.bytes.subarray(start + 8));
    this.view.setUint32(start + 4, written);
    this.pad(start + 8 + written);
  }

  private ascii(value: string, at: number): boolean {
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) return false;
      this.bytes[at + i] = unit;
    }
    return true;
  }

  private pad(end: number): void {
    const stop = (end + 7) & ~7;
    this.bytes.fill(0, end, stop);
    this.at = stop;
  }

  private room(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.at + more));
    grown.set(this.bytes.subarray(0, this.at));
    // The old buffer may hold key material; nobody else has it.
    this.bytes.fill(0, 0, this.at);
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  /** The bytes, in a buffer of their own. */
  take(): Uint8Array {
    return this.bytes === this.scratch.bytes ? this.bytes.slice(0, this.at) : this.bytes.subarray(0, this.at);
  }

  /** The scratch may hold key material of this message; the next one finds it empty. */
  close(written: boolean): void {
    if (!written) this.scratch.bytes.fill(0);
    else if (this.bytes === this.scratch.bytes) this.bytes.fill(0, 0, this.at);
    spare = this.scratch;
  }
}

const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
const isWellFormed = (text: string): boolean => !loneSurrogate.test(text);

function wrongValue(item: Item): CodecError {
  return new CodecError('BadValue', `the value does not fit the type ${itemTypeName(item.type)}`, showTag(item.tag));
}

/**
 * The TTLV bytes of an item.
 * @throws CodecError when a value does not fit its type.
 */
export function writeTtlv(item: Item): Uint8Array {
  const writer = new Writer();
  let written = false;
  try {
    writer.item(item, 0);
    written = true;
    return writer.take();
  } finally {
    writer.close(written);
  }
}
