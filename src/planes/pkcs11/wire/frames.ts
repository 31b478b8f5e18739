/**
 * Frames of the p11-kit remote protocol: u32 code, u32 length of options, u32 length of body, options, body; big-endian.
 * Both the door and the service read them; nothing here allocates more than the limits say.
 */
export const FRAME_HEADER_BYTES = 12;
/** The client's instance name; the stock client sends a handful of bytes. */
const MAX_OPTIONS_BYTES = 4096;
/** Largest body: room for an 8 MiB input, a template and their lengths. */
export const MAX_BODY_BYTES = 9 * 1024 * 1024;

interface Frame {
  /** Correlation number chosen by the client; 0 is never a client's. */
  readonly code: number;
  /** The whole frame as it came, header included. */
  readonly bytes: Buffer;
  readonly body: Buffer;
}

export interface FrameSink {
  frame(frame: Frame): void;
  /** A frame over the limits was skipped without being kept; it still wants an answer. */
  tooLarge(code: number): void;
}

/** Cuts a stream into frames. A frame over the limits is discarded as it arrives, and reported. */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  #frame: Buffer | undefined;
  #filled = 0;
  /** Bytes of an oversized frame still to be thrown away. */
  #skip = 0;
  #code = 0;
  #optionBytes = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Bytes held for a frame that is not complete yet. */
  get pending(): number {
    return this.#headerBytes + this.#filled;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) at += this.#discard(chunk.length - at);
      else if (this.#frame === undefined) at = this.#startOrWhole(chunk, at);
      else at += this.#fill(chunk, at);
    }
  }

  #discard(available: number): number {
    const now = Math.min(available, this.#skip);
    this.#skip -= now;
    if (this.#skip === 0) this.#sink.tooLarge(this.#code);
    return now;
  }

  #startOrWhole(chunk: Buffer, at: number): number {
    const whole = this.#headerBytes === 0 ? this.#tryWhole(chunk, at) : undefined;
    if (whole !== undefined) return whole;
    const taken = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - at);
    chunk.copy(this.#header, this.#headerBytes, at, at + taken);
    this.#headerBytes += taken;
    if (this.#headerBytes === FRAME_HEADER_BYTES) this.#begin();
    return at + taken;
  }

  /** The common case: the frame lies whole in one chunk and needs no copy. */
  #tryWhole(chunk: Buffer, at: number): number | undefined {
    if (chunk.length - at < FRAME_HEADER_BYTES) return undefined;
    const options = chunk.readUInt32BE(at + 4);
    const body = chunk.readUInt32BE(at + 8);
    if (options > MAX_OPTIONS_BYTES || body > MAX_BODY_BYTES) return undefined;
    const end = at + FRAME_HEADER_BYTES + options + body;
    if (end > chunk.length) return undefined;
    this.#sink.frame({
      code: chunk.readUInt32BE(at),
      bytes: chunk.subarray(at, end),
      body: chunk.subarray(at + FRAME_HEADER_BYTES + options, end),
    });
    return end;
  }

  #begin(): void {
    this.#headerBytes = 0;
    this.#code = this.#header.readUInt32BE(0);
    const options = this.#header.readUInt32BE(4);
    const body = this.#header.readUInt32BE(8);
    if (options > MAX_OPTIONS_BYTES || body > MAX_BODY_BYTES) {
      this.#skip = options + body;
      return;
    }
    this.#optionBytes = options;
    this.#frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + options + body);
    this.#header.copy(this.#frame);
    this.#filled = FRAME_HEADER_BYTES;
    this.#finishIfFull();
  }

  #fill(chunk: Buffer, at: number): number {
    const frame = this.#frame as Buffer;
    const taken = Math.min(frame.length - this.#filled, chunk.length - at);
    chunk.copy(frame, this.#filled, at, at + taken);
    this.#filled += taken;
    this.#finishIfFull();
    return taken;
  }

  #finishIfFull(): void {
    const frame = this.#frame;
    if (frame === undefined || this.#filled < frame.length) return;
    this.#frame = undefined;
    this.#filled = 0;
    this.#sink.frame({ code: this.#code, bytes: frame, body: frame.subarray(FRAME_HEADER_BYTES + this.#optionBytes) });
  }
}

/** A frame of the server: no options. */
export const toFrame = (code: number, body: Uint8Array): Buffer => {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length);
  frame.writeUInt32BE(code, 0);
  frame.writeUInt32BE(0, 4);
  frame.writeUInt32BE(body.length, 8);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
};

/** An error response: call 0, signature "u", the return value (never 0: that would be read as a broken reply). */
export const toErrorFrame = (code: number, rv: number): Buffer => {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + 17);
  frame.writeUInt32BE(code, 0);
  frame.writeUInt32BE(17, 8);
  frame.writeUInt32BE(1, FRAME_HEADER_BYTES + 4);
  frame[FRAME_HEADER_BYTES + 8] = 0x75;
  frame.writeUInt32BE(rv === 0 ? 5 : rv, FRAME_HEADER_BYTES + 13);
  return frame;
};
