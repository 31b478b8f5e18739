import type { Socket } from 'node:net';
import { ByteReader, ByteWriter, readU32, recycle, WireError } from './bytes.js';

/** Frames: u32 length of what follows, u32 call id, u8 kind, payload. Big-endian. */

export const FRAME = {
  /** server → host: first frame. */
  hello: 1,
  call: 2,
  describe: 3,
  health: 4,
  /** Finish, close the root, exit. */
  stop: 5,
  /** host → server. */
  ready: 16,
  refused: 17,
  result: 18,
  fault: 19,
  description: 20,
  healthReport: 21,
} as const;
export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

const LENGTH_BYTES = 4;
const HEAD_BYTES = 5;
const FIRST_BUFFER_BYTES = 65_536;
/** A frame longer than this is not given memory on its word alone: its buffer grows as the bytes arrive. */
const TRUSTED_LENGTH_BYTES = 1_048_576;
const KEPT_BUFFERS = 4;

export type FrameHandler = (call: number, kind: number, reader: ByteReader) => void;

/** Cuts a stream of chunks into frames. Throws WireError on a length outside the limits; then the stream is finished. */
export class FrameSplitter {
  private readonly maxFrame: number;
  private readonly onFrame: FrameHandler;
  /** A frame that began in an earlier chunk. */
  private partial: Buffer | undefined;
  private have = 0;
  private want = 0;

  constructor(maxFrame: number, onFrame: FrameHandler) {
    this.maxFrame = maxFrame;
    this.onFrame = onFrame;
  }

  /** The chunk is zeroed before this returns: what it held lives on only in what the handler took. */
  push(chunk: Buffer): void {
    try {
      let at = this.partial === undefined ? 0 : this.fill(chunk, 0);
      while (at < chunk.length) {
        const left = chunk.length - at;
        if (left < LENGTH_BYTES) {
          this.begin(LENGTH_BYTES, chunk, at);
          return;
        }
        const total = LENGTH_BYTES + this.checked(readU32(chunk, at));
        if (left < total) {
          this.begin(total, chunk, at);
          return;
        }
        this.deliver(chunk, at, at + total, false);
        at += total;
      }
    } finally {
      chunk.fill(0);
    }
  }

  private checked(length: number): number {
    if (length < HEAD_BYTES || length > this.maxFrame) throw new WireError(`frame length ${length} is outside the limits`);
    return length;
  }

  private begin(total: number, chunk: Buffer, at: number): void {
    this.partial = Buffer.allocUnsafeSlow(Math.max(chunk.length - at, Math.min(total, TRUSTED_LENGTH_BYTES)));
    this.have = 0;
    this.want = total;
    this.fill(chunk, at);
  }

  /** Continues the frame begun; answers where in the chunk it ended. */
  private fill(chunk: Buffer, from: number): number {
    let at = from;
    for (;;) {
      const count = Math.min(this.want - this.have, chunk.length - at);
      this.room(count);
      chunk.copy(this.partial as Buffer, this.have, at, at + count);
      this.have += count;
      at += count;
      if (this.have < this.want) return at;
      if (this.want > LENGTH_BYTES) break;
      this.want = LENGTH_BYTES + this.checked(readU32(this.partial as Buffer, 0));
    }
    const whole = this.partial as Buffer;
    this.partial = undefined;
    this.deliver(whole, 0, this.want, true);
    return at;
  }

  private room(count: number): void {
    const partial = this.partial as Buffer;
    if (this.have + count <= partial.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.min(this.want, Math.max(this.have + count, partial.length * 2)));
    partial.copy(grown, 0, 0, this.have);
    partial.fill(0);
    this.partial = grown;
  }

  private deliver(source: Buffer, start: number, end: number, owned: boolean): void {
    const call = readU32(source, start + LENGTH_BYTES);
    const kind = source[start + LENGTH_BYTES + 4] as number;
    this.onFrame(call, kind, new ByteReader(source, start + LENGTH_BYTES + HEAD_BYTES, end, owned));
  }
}

/** When a batch goes out without waiting for the end of the event-loop turn, so that both processes work at once. */
export interface BatchLimits {
  readonly frames: number;
  readonly bytes: number;
}

/** Gathers the frames of one event-loop turn into one write. */
export class FrameSink {
  private readonly socket: Socket;
  private readonly maxFrame: number;
  private readonly batch: BatchLimits;
  private readonly writer = new ByteWriter(FIRST_BUFFER_BYTES);
  private readonly spares: Buffer[] = [];
  private start = 0;
  private frames = 0;
  private scheduled = false;
  private inSocket = 0;
  private readonly flushLater = (): void => {
    this.scheduled = false;
    this.flush();
  };

  constructor(socket: Socket, maxFrame: number, batch: BatchLimits) {
    this.socket = socket;
    this.maxFrame = maxFrame;
    this.batch = batch;
  }

  /** Bytes that the other side has not taken yet. */
  get queuedBytes(): number {
    return this.inSocket + this.writer.length;
  }

  begin(call: number, kind: FrameKind): ByteWriter {
    const { writer } = this;
    this.start = writer.length;
    writer.limit = this.start + LENGTH_BYTES + this.maxFrame;
    writer.u32(0);
    writer.u32(call);
    writer.u8(kind);
    return writer;
  }

  /** Gives up the frame begun. */
  abort(): void {
    this.writer.buffer.fill(0, this.start, this.writer.length);
    this.writer.length = this.start;
  }

  end(): void {
    const { writer, batch } = this;
    writer.putU32(this.start, writer.length - this.start - LENGTH_BYTES);
    this.frames++;
    if (this.frames >= batch.frames || writer.length >= batch.bytes) this.flush();
    else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(this.flushLater);
    }
  }

  flush(): void {
    if (this.writer.length === 0) return;
    const written = this.writer.take(this.spares.pop(), FIRST_BUFFER_BYTES);
    this.frames = 0;
    this.inSocket += written.length;
    if (!this.socket.writable) {
      this.sent(written);
      return;
    }
    this.socket.write(written, () => this.sent(written));
  }

  private sent(written: Buffer): void {
    this.inSocket -= written.length;
    const spare = recycle(written);
    if (spare !== undefined && this.spares.length < KEPT_BUFFERS) this.spares.push(spare);
  }
}
