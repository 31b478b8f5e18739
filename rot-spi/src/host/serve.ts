import type { Socket } from 'node:net';
import type { RootConfig } from '../config.js';
import type { RootCallName, RootDescription, RootHealth, RootOfTrust, RootRequest } from '../contract.js';
import { RootFault } from '../fault.js';
import { type ByteReader, WireError } from './bytes.js';
import { CALL_CODECS, type CallCodec, DESCRIPTION, FAULT, HEALTH, TABLE_DIGEST, toFault } from './call-codec.js';
import { FRAME, type FrameKind, FrameSink, FrameSplitter } from './frames.js';
import { NO_KEYS, ReceivedKeys } from './key-slots.js';
import { readValue, type WireValue } from './values.js';

/** The host's side of the connection: answers the server's frames with a root of trust. */

export interface Hello {
  readonly digest: string;
  readonly config: RootConfig;
  readonly maxFrame: number;
  readonly maxInFlight: number;
  readonly serverPid: number;
}

export interface Serving {
  readonly open: (config: RootConfig) => Promise<RootOfTrust>;
  /** The first frame has come and is genuine. */
  readonly greeted?: (hello: Hello) => void;
  /** Nothing more will be served: `code` 0 when asked to stop or left by the server, 70 (EX_SOFTWARE) on malformed frames. */
  readonly ended: (code: number, reason: string) => void;
}

/** Until the first frame tells the real limit. */
const HELLO_MAX_BYTES = 65_536;
const ANSWER_BATCH = { frames: 16, bytes: 32_768 };
/** Calls started before the answers of earlier ones are gathered: keeps the server busy while this process computes. */
const CALLS_PER_TURN = 8;
const LEAVE_MS = 1000;

interface Waiting {
  readonly call: number;
  readonly number: number;
  readonly codec: CallCodec;
  readonly request: unknown;
  readonly size: number;
}

const readHello = (reader: ByteReader): Hello => {
  const hello = readValue(reader) as { readonly [name: string]: WireValue } | null | undefined;
  reader.finish();
  if (typeof hello !== 'object' || hello === null) throw new WireError('malformed greeting');
  const { digest, config, maxFrame, maxInFlight, serverPid } = hello;
  const positive = (value: WireValue): value is number => Number.isSafeInteger(value) && (value as number) > 0;
  if (typeof digest !== 'string' || typeof config !== 'object' || config === null) throw new WireError('malformed greeting');
  if (!positive(maxFrame) || !positive(maxInFlight) || !positive(serverPid)) throw new WireError('malformed greeting');
  return { digest, config: config as unknown as RootConfig, maxFrame, maxInFlight, serverPid };
};

class HostServer {
  private readonly socket: Socket;
  private readonly serving: Serving;
  private readonly keys = new ReceivedKeys();
  private readonly queue: Waiting[] = [];
  private splitter: FrameSplitter;
  private sink: FrameSink;
  private hello: Hello | undefined;
  private root: RootOfTrust | undefined;
  private inFlight = 0;
  private inFlightBytes = 0;
  private paused = false;
  private turning = false;
  private over = false;
  private readonly nextTurn = (): void => this.turn();

  constructor(socket: Socket, serving: Serving) {
    this.socket = socket;
    this.serving = serving;
    this.splitter = this.makeSplitter(HELLO_MAX_BYTES);
    this.sink = new FrameSink(socket, HELLO_MAX_BYTES, ANSWER_BATCH);
    socket.on('end', () => this.leave(0, 'the server closed the connection'));
    socket.on('close', () => this.leave(0, 'the server closed the connection'));
    socket.on('error', () => this.leave(0, 'the connection to the server broke'));
  }

  private makeSplitter(maxFrame: number): FrameSplitter {
    return new FrameSplitter(maxFrame, (call, kind, reader) => this.receive(call, kind, reader));
  }

  take(chunk: Buffer): void {
    if (this.over) return;
    try {
      this.splitter.push(chunk);
    } catch (error) {
      this.leave(70, error instanceof WireError ? `malformed frame: ${error.message}` : 'a frame could not be handled');
    }
    if (!this.turning) this.turn();
  }

  private receive(call: number, kind: number, reader: ByteReader): void {
    if (this.hello === undefined) {
      if (kind !== FRAME.hello) throw new WireError('no greeting');
      this.greet(readHello(reader));
      return;
    }
    switch (kind) {
      case FRAME.call:
        this.enqueue(call, reader);
        return;
      case FRAME.describe:
        reader.finish();
        this.report(call, FRAME.description, DESCRIPTION, (root) => root.describe());
        return;
      case FRAME.health:
        reader.finish();
        this.report(call, FRAME.healthReport, HEALTH, (root) => root.health());
        return;
      case FRAME.stop:
        reader.finish();
        this.leave(0, 'asked to stop');
        return;
      default:
        throw new WireError(`unknown kind of frame ${kind}`);
    }
  }

  private greet(hello: Hello): void {
    this.hello = hello;
    // The greeting is alone in its chunk: the server waits for the answer. From here on the agreed limit holds.
    this.splitter = this.makeSplitter(hello.maxFrame);
    this.sink = new FrameSink(this.socket, hello.maxFrame, ANSWER_BATCH);
    if (hello.digest !== TABLE_DIGEST) {
      const fault = new RootFault('unavailable', 'the host on disk is of another version than the server', 'restart the service');
      this.refuseToServe(fault);
      return;
    }
    this.serving.greeted?.(hello);
    this.open(hello).catch((error: unknown) => this.refuseToServe(toFault(error)));
  }

  private async open(hello: Hello): Promise<void> {
    const root = await this.serving.open(hello.config);
    this.root = root;
    const description = await root.describe();
    this.answer(0, FRAME.ready, (writer) => DESCRIPTION.write(writer, description, NO_KEYS));
  }

  private refuseToServe(fault: RootFault): void {
    this.answer(0, FRAME.refused, (writer) => FAULT.write(writer, fault, NO_KEYS));
    this.leave(0, fault.code);
  }

  private enqueue(call: number, reader: ByteReader): void {
    const size = reader.remaining;
    const number = reader.u8();
    const codec = CALL_CODECS[number];
    if (codec === undefined) throw new WireError('unknown call');
    const request = codec.request.read(reader, this.keys);
    reader.finish();
    this.admit(size);
    this.queue.push({ call, number, codec, request, size });
  }

  private admit(size: number): void {
    const { maxInFlight, maxFrame } = this.hello as Hello;
    if (this.root === undefined) throw new WireError('a call before the root is open');
    if (++this.inFlight > maxInFlight) throw new WireError('too many calls in flight');
    this.inFlightBytes += size;
    if (this.inFlightBytes + this.sink.queuedBytes > 2 * maxFrame) this.pause();
  }

  private pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }

  private settled(size: number): void {
    this.inFlight--;
    this.inFlightBytes -= size;
    const { maxFrame } = this.hello as Hello;
    if (!this.paused || this.inFlightBytes + this.sink.queuedBytes > maxFrame) return;
    this.paused = false;
    this.socket.resume();
  }

  /** Starts a few calls, then lets their answers be written before it goes on. */
  private turn(): void {
    this.turning = false;
    const batch = this.queue.splice(0, CALLS_PER_TURN);
    for (const waiting of batch) this.run(waiting);
    if (this.queue.length === 0) return;
    this.turning = true;
    process.nextTick(this.nextTurn);
  }

  private run(waiting: Waiting): void {
    const { call, codec, size } = waiting;
    (this.root as RootOfTrust).call(codec.name, waiting.request as RootRequest<RootCallName>).then(
      (response) => {
        this.result(waiting, response);
        this.settled(size);
      },
      (error: unknown) => {
        this.fault(call, toFault(error));
        this.settled(size);
      },
    );
  }

  private result({ call, number, codec }: Waiting, response: unknown): void {
    this.answer(call, FRAME.result, (writer) => {
      writer.u8(number);
      codec.response.write(writer, response, this.keys);
    });
  }

  private fault(call: number, fault: RootFault): void {
    this.answer(call, FRAME.fault, (writer) => FAULT.write(writer, fault, NO_KEYS));
  }

  private report<T extends RootDescription | RootHealth>(
    call: number,
    kind: FrameKind,
    shape: { write: (writer: ReturnType<FrameSink['begin']>, value: T, keys: typeof NO_KEYS) => void },
    ask: (root: RootOfTrust) => Promise<T>,
  ): void {
    this.admit(0);
    ask(this.root as RootOfTrust).then(
      (value) => {
        this.answer(call, kind, (writer) => shape.write(writer, value, NO_KEYS));
        this.settled(0);
      },
      (error: unknown) => {
        this.fault(call, toFault(error));
        this.settled(0);
      },
    );
  }

  /** Writes one answer; one that has no form on the wire (a back end's mistake, or larger than a frame) becomes a fault. */
  private answer(call: number, kind: FrameKind, fill: (writer: ReturnType<FrameSink['begin']>) => void): void {
    if (this.over) return;
    const { sink } = this;
    try {
      fill(sink.begin(call, kind));
    } catch (error) {
      sink.abort();
      const fault = error instanceof RootFault && error.code === 'limit-exceeded' ? error : new RootFault('internal', 'malformed answer');
      FAULT.write(sink.begin(call, kind === FRAME.ready ? FRAME.refused : FRAME.fault), fault, NO_KEYS);
    }
    sink.end();
  }

  /** Ends once: what is finished is still sent, the root is closed if it can be within a second. */
  private leave(code: number, reason: string): void {
    if (this.over) return;
    this.sink.flush();
    this.over = true;
    this.queue.length = 0;
    const done = (): void => this.serving.ended(code, reason);
    const timer = setTimeout(done, LEAVE_MS);
    const closed = this.root === undefined ? Promise.resolve() : this.root.close();
    closed
      .then(undefined, () => undefined)
      .then(() => {
        clearTimeout(timer);
        if (this.socket.writableLength === 0) done();
        else this.socket.end(done);
      });
  }
}

/** Serves the root on the connection; hand every chunk that arrives to what this answers. */
export const serveRoot = (socket: Socket, serving: Serving): ((chunk: Buffer) => void) => {
  const server = new HostServer(socket, serving);
  return (chunk) => server.take(chunk);
};
