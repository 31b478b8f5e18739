import type { TLSSocket } from 'node:tls';
import { CodecError, type FrameReader, makeFrameReader } from '@aegis/kmip-ttlv';
import type { ConnectionIdentity } from './client-identity.js';
import type { Exchange, KmipSession } from './exchange.js';
import type { KmipLimits } from './limits.js';

export interface ConnectionParts {
  readonly exchange: Exchange;
  readonly limits: KmipLimits;
  readonly nextRequestId: () => string;
  /** Errors that are no client's fault. */
  readonly onProblem: (where: string, error: unknown) => void;
}

const KEEP_ALIVE_MS = 60_000;
/** Bytes of waiting requests beyond which the socket is not read. */
const MAX_WAITING_BYTES = 4 << 20;
const REQUEST = 0x78;
const RESPONSE = 0x7b;

/**
 * One TLS connection: cuts the stream into messages, runs them one after another and answers in order. Requests beyond the bound wait
 * in the kernel, not here; a message once begun must be whole within a time; an answer that the client does not read stops the next.
 */
export class KmipServerConnection implements KmipSession {
  role: 'client' | 'server' = 'client';
  readonly exchangesRoles = true;
  readonly memory = new Map<string, unknown>();
  readonly source: string;
  private readonly socket: TLSSocket;
  private readonly parts: ConnectionParts;
  private readonly identity: ConnectionIdentity;
  private readonly frames: FrameReader;
  private readonly waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private running = false;
  private ending = false;
  private partial: NodeJS.Timeout | undefined;
  /** Aborts what runs, when the client is gone or it takes too long; one for many requests, because making signals costs more than most of them. */
  private cut = new AbortController();
  private readonly clock: NodeJS.Timeout;
  /** Requests of ours to the client (Notify, Put, Query), in order. */
  private readonly asked: { resolve(bytes: Uint8Array): void; reject(error: Error): void; timer: NodeJS.Timeout }[] = [];

  constructor(socket: TLSSocket, identity: ConnectionIdentity, parts: ConnectionParts) {
    this.socket = socket;
    this.identity = identity;
    this.parts = parts;
    this.source = socket.remoteAddress ?? 'local';
    this.frames = makeFrameReader(parts.limits.messageBytes);
    this.clock = setTimeout(() => this.tooLong(), parts.limits.requestTimeoutMs).unref();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (parts.limits.idleTimeoutMs > 0) socket.setTimeout(parts.limits.idleTimeoutMs, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('end', () => this.finish());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.closed());
  }

  credential() {
    return this.identity.credential();
  }
  nextRequestId(): string {
    return this.parts.nextRequestId();
  }
  get busy(): boolean {
    return this.running || this.waiting.length > 0;
  }

  /** No further requests; what runs is answered, then the connection ends. */
  finish(): void {
    this.ending = true;
    if (!this.busy) this.socket.end();
  }
  destroy(): void {
    this.socket.destroy();
  }

  /** Sends a request to the client, which has taken the server's role (KMIP 2.1 §6.1.56), and gives its answer. */
  ask(bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) return reject(new Error('the connection is closed'));
      const timer = setTimeout(() => {
        reject(new Error('the client did not answer in time'));
        this.socket.destroy();
      }, timeoutMs);
      this.asked.push({ resolve, reject, timer });
      this.socket.write(bytes);
    });
  }

  private take(chunk: Buffer): void {
    if (this.ending) return;
    let messages: Uint8Array[];
    try {
      messages = this.frames.push(chunk);
    } catch (error) {
      if (!(error instanceof CodecError)) this.parts.onProblem('frames', error);
      return void this.refuseStream(chunk);
    }
    for (const message of messages) {
      if (message[2] === RESPONSE && this.role === 'server') this.answered(message);
      else {
        this.waiting.push(message);
        this.waitingBytes += message.length;
      }
    }
    this.watchPartial(messages.length > 0);
    if (this.waiting.length >= this.parts.limits.pipelined || this.waitingBytes >= MAX_WAITING_BYTES) this.socket.pause();
    void this.run();
  }

  /** A length that is no message's: answered when the header can be read, after what came before it; then the end. */
  private refuseStream(chunk: Uint8Array): void {
    clearTimeout(this.partial);
    this.ending = true;
    this.socket.pause();
    if (this.frames.pendingBytes <= 8 && chunk[2] === REQUEST) this.waiting.push(chunk.subarray(0, 4_096));
    void this.run();
  }

  /** The request that runs has had its time; a connection that only waits is none the worse. */
  private tooLong(): void {
    if (!this.running) return;
    const { cut } = this;
    this.cut = new AbortController();
    cut.abort();
  }

  private answered(message: Uint8Array): void {
    const next = this.asked.shift();
    if (next === undefined) {
      this.destroy();
      return;
    }
    clearTimeout(next.timer);
    next.resolve(message);
  }

  private watchPartial(completed: boolean): void {
    if (this.frames.pendingBytes === 0 || completed) {
      clearTimeout(this.partial);
      this.partial = undefined;
    }
    if (this.frames.pendingBytes > 0) this.partial ??= setTimeout(() => this.socket.destroy(), this.parts.limits.messageTimeoutMs);
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      for (let next = this.waiting.shift(); next !== undefined && !this.socket.destroyed; next = this.waiting.shift()) {
        this.waitingBytes -= next.length;
        if (this.socket.isPaused() && !this.ending && this.waiting.length < this.parts.limits.pipelined / 2) this.socket.resume();
        if (!(await this.answer(next))) return this.destroy();
      }
    } catch (error) {
      this.parts.onProblem('connection', error);
      this.destroy();
    } finally {
      this.running = false;
    }
    if (this.ending) this.socket.end();
  }

  private async answer(message: Uint8Array): Promise<boolean> {
    this.clock.refresh();
    const bytes = await this.parts.exchange(message, 'ttlv', this, this.cut.signal);
    // Keys and passwords travel in messages: what was read and what was sent does not stay in memory.
    message.fill(0);
    if (bytes === undefined) return false;
    if (!this.socket.destroyed && !this.socket.write(bytes, () => bytes.fill(0))) await this.drained();
    return true;
  }

  /** Until the client has read; one that does not within the message time is gone. */
  private drained(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.socket.destroy(), this.parts.limits.messageTimeoutMs);
      const done = (): void => {
        clearTimeout(timer);
        this.socket.off('drain', done);
        this.socket.off('close', done);
        resolve();
      };
      this.socket.once('drain', done);
      this.socket.once('close', done);
    });
  }

  private closed(): void {
    clearTimeout(this.partial);
    this.waiting.length = 0;
    clearTimeout(this.clock);
    this.cut.abort();
    for (const { reject, timer } of this.asked.splice(0)) {
      clearTimeout(timer);
      reject(new Error('the connection was closed'));
    }
  }
}
