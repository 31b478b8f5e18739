import { isUtf8 } from 'node:buffer';
import { types } from 'node:util';
import { RootFault } from '../fault.js';

/**
 * Bounded reading and writing of the bytes between the server and a root-of-trust host. Every read checks what is left
 * before it allocates; every write checks the frame's limit before it grows. Neither side believes the other.
 */

/** Bytes that the peer should never have sent. The connection it came over is finished. */
export class WireError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WireError';
  }
}

/** Texts on this wire are names, ids and operator messages. */
const MAX_TEXT_BYTES = 16_384;
const SHORT_TEXT = 48;
/** Buffers up to this size are zeroed and used again; larger ones are zeroed and dropped. */
const KEPT_BUFFER_BYTES = 262_144;

const tooLarge = () =>
  new RootFault('limit-exceeded', 'the call does not fit into one frame', 'send less data per call, or raise maxFrame');

/** Appends to a growing buffer. `limit` is where the frame being written must end. */
export class ByteWriter {
  buffer: Buffer;
  length = 0;
  limit: number;

  constructor(initialBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.limit = initialBytes;
  }

  /** Makes room for `count` more bytes or throws `limit-exceeded`. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed > this.limit) throw tooLarge();
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(needed, this.buffer.length * 2), Math.max(this.limit, needed)));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer.fill(0, 0, this.length);
    this.buffer = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.buffer[this.length++] = value >>> 8;
    this.buffer[this.length++] = value & 0xff;
  }

  u32(value: number): void {
    this.reserve(4);
    this.putU32(this.length, value);
    this.length += 4;
  }

  putU32(at: number, value: number): void {
    const { buffer } = this;
    buffer[at] = value >>> 24;
    buffer[at + 1] = (value >>> 16) & 0xff;
    buffer[at + 2] = (value >>> 8) & 0xff;
    buffer[at + 3] = value & 0xff;
  }

  /** Unsigned, up to 2^53 - 1, seven bits a byte, least significant first. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.buffer[this.length++] = (rest % 128) | 0x80;
      rest = rest > 0x7fffffff ? Math.floor(rest / 128) : rest >>> 7;
    }
    this.buffer[this.length++] = rest;
  }

  f64(value: number): void {
    this.reserve(8);
    this.length = this.buffer.writeDoubleBE(value, this.length);
  }

  bytes(value: Uint8Array): void {
    const count = value.length;
    this.reserve(count + 8);
    this.varint(count);
    this.buffer.set(value, this.length);
    this.length += count;
  }

  text(value: string): void {
    const count = value.length;
    if (count <= SHORT_TEXT && this.shortText(value, count)) return;
    // Two different strings must never become the same bytes, so what UTF-8 can't say is refused.
    if (/\p{Surrogate}/u.test(value)) throw new RootFault('invalid-argument', 'text is not well-formed Unicode');
    const size = Buffer.byteLength(value);
    if (size > MAX_TEXT_BYTES) throw new RootFault('limit-exceeded', `text is longer than ${MAX_TEXT_BYTES} bytes`);
    this.reserve(size + 8);
    this.varint(size);
    this.length += this.buffer.write(value, this.length, 'utf8');
  }

  /** ASCII of up to 48 characters, which nearly every id is, without a call into C++. */
  private shortText(value: string, count: number): boolean {
    this.reserve(count + 1);
    const { buffer } = this;
    const start = this.length + 1;
    for (let index = 0; index < count; index++) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) return false;
      buffer[start + index] = code;
    }
    buffer[this.length] = count;
    this.length = start + count;
    return true;
  }

  /** Hands over what was written (the caller gives it back with `recycle`) and starts on another buffer. */
  take(spare: Buffer | undefined, initialBytes: number): Buffer {
    const full = this.buffer.subarray(0, this.length);
    this.buffer = spare ?? Buffer.allocUnsafeSlow(initialBytes);
    this.length = 0;
    return full;
  }
}

/** Zeroes what a written buffer held, so that plaintext doesn't outlive its frame; answers it for further use if small. */
export const recycle = (written: Buffer): Buffer | undefined => {
  written.fill(0);
  const { byteLength } = written.buffer;
  return byteLength <= KEPT_BUFFER_BYTES ? Buffer.from(written.buffer, 0, byteLength) : undefined;
};

/** Reads one frame's payload: `source[at, end)`. With `owned`, byte fields are views into `source`; otherwise of one copy. */
export class ByteReader {
  private readonly source: Buffer;
  private at: number;
  private readonly end: number;
  private owner: Buffer | undefined;
  private ownerStart = 0;

  constructor(source: Buffer, at: number, end: number, owned: boolean) {
    this.source = source;
    this.at = at;
    this.end = end;
    if (owned) this.owner = source;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  /** Throws unless `count` bytes are left. */
  need(count: number): void {
    if (count > this.end - this.at) throw new WireError('frame ends early');
  }

  finish(): void {
    if (this.at !== this.end) throw new WireError(`${this.end - this.at} bytes too many in a frame`);
  }

  u8(): number {
    this.need(1);
    return this.source[this.at++] as number;
  }

  u16(): number {
    this.need(2);
    const { source, at } = this;
    this.at += 2;
    return ((source[at] as number) << 8) | (source[at + 1] as number);
  }

  u32(): number {
    this.need(4);
    const value = readU32(this.source, this.at);
    this.at += 4;
    return value;
  }

  varint(): number {
    const first = this.u8();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    let scale = 128;
    for (let index = 1; index < 8; index++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        // One number has one form; the last byte of a longer form is never 0.
        if (byte === 0 || value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new WireError('malformed integer');
  }

  f64(): number {
    this.need(8);
    const value = this.source.readDoubleBE(this.at);
    this.at += 8;
    return value;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new WireError('malformed flag');
    return value === 1;
  }

  private extent(): number {
    const count = this.varint();
    this.need(count);
    return count;
  }

  /** A view of this frame's own memory, which it shares with nothing but the frame's other fields. */
  bytes(): Uint8Array {
    const count = this.extent();
    const start = this.at;
    this.at += count;
    if (this.owner === undefined) {
      this.owner = Buffer.allocUnsafeSlow(this.end - start);
      this.source.copy(this.owner, 0, start, this.end);
      this.ownerStart = start;
    }
    return new Uint8Array(this.owner.buffer, this.owner.byteOffset + start - this.ownerStart, count);
  }

  /** Bytes in memory of their own, for what outlives the frame. */
  detachedBytes(maxBytes: number): Uint8Array {
    const count = this.extent();
    if (count > maxBytes) throw new WireError(`more than ${maxBytes} bytes in a bounded field`);
    const copy = new Uint8Array(count);
    copy.set(this.source.subarray(this.at, this.at + count));
    this.at += count;
    return copy;
  }

  text(): string {
    const count = this.extent();
    if (count > MAX_TEXT_BYTES) throw new WireError('text too long');
    const start = this.at;
    this.at += count;
    const value = this.source.toString('utf8', start, this.at);
    if (value.includes('\ufffd') && !isUtf8(this.source.subarray(start, this.at))) throw new WireError('text is not UTF-8');
    return value;
  }
}

export const readU32 = (source: Uint8Array, at: number): number =>
  (source[at] as number) * 0x1000000 +
  (((source[at + 1] as number) << 16) | ((source[at + 2] as number) << 8) | (source[at + 3] as number));

export const isBytes = (value: unknown): value is Uint8Array => types.isUint8Array(value);
