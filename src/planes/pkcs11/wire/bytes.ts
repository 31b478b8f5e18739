/** Something on the wire that cannot be read: answered, never a reason to close the connection. */
export class WireError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WireError';
  }
}

/** CK_ULONG is 8 bytes on every client this protocol serves (LP64). */
export const ULONG_BYTES = 8;

/** Reads a body strictly: every length is checked against what is there before anything is sliced; nothing is copied. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }
  get position(): number {
    return this.#at;
  }
  moveTo(position: number): void {
    if (position < 0 || position > this.#bytes.length) throw new WireError('position outside the body');
    this.#at = position;
  }

  take(length: number): Buffer {
    if (length < 0 || length > this.left) throw new WireError(`${length} bytes wanted, ${this.left} are left`);
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
  byte(): number {
    if (this.left < 1) throw new WireError('a byte is missing');
    const value = this.#bytes[this.#at] ?? 0;
    this.#at += 1;
    return value;
  }
  u32(): number {
    if (this.left < 4) throw new WireError('a u32 is missing');
    const value = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }
  /** A CK_ULONG; values above 2^53 lose their low bits, which no handle, flag or length of ours has. */
  ulong(): number {
    if (this.left < ULONG_BYTES) throw new WireError('a ulong is missing');
    const value = this.#bytes.readUInt32BE(this.#at) * 2 ** 32 + this.#bytes.readUInt32BE(this.#at + 4);
    this.#at += ULONG_BYTES;
    return value;
  }
  /** u32 length and bytes; 0xffffffff is a NULL pointer. */
  string(): Buffer | undefined {
    const length = this.u32();
    return length === 0xffff_ffff ? undefined : this.take(length);
  }
}

/** Grows by doubling; bodies are small and bounded by what the handlers put in. */
export class ByteWriter {
  #bytes: Buffer;
  #at = 0;

  constructor(size = 256) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  #room(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const wider = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + length));
    this.#bytes.copy(wider, 0, 0, this.#at);
    this.#bytes = wider;
  }
  byte(value: number): this {
    this.#room(1);
    this.#bytes[this.#at] = value;
    this.#at += 1;
    return this;
  }
  u32(value: number): this {
    this.#room(4);
    this.#bytes.writeUInt32BE(value, this.#at);
    this.#at += 4;
    return this;
  }
  /** A number of 2^64 or more is written as CK_UNAVAILABLE_INFORMATION. */
  ulong(value: number): this {
    this.#room(ULONG_BYTES);
    const unavailable = value >= 2 ** 64;
    this.#bytes.writeUInt32BE(unavailable ? 0xffff_ffff : Math.floor(value / 2 ** 32), this.#at);
    this.#bytes.writeUInt32BE(unavailable ? 0xffff_ffff : value % 2 ** 32, this.#at + 4);
    this.#at += ULONG_BYTES;
    return this;
  }
  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }
  /** u32 length and bytes. */
  string(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }
  setU32(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value, at);
  }
  get length(): number {
    return this.#at;
  }
  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}
