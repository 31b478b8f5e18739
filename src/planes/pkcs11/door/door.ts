import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, lstatSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { FRAME_HEADER_BYTES, FrameReader, toErrorFrame } from '../wire/frames.js';
import {
  type ClientHello,
  CONTROL,
  controlType,
  DOOR_PROTOCOL,
  type DoorHello,
  type DoorOrder,
  type DoorReport,
  type DoorSocket,
} from './protocol.js';
import { ReadyAnswers } from './ready-answers.js';

/**
 * The door: owns the sockets that applications connect to, and nothing else. p11-kit clients die of SIGPIPE when their
 * server goes away, so this process stays while the service behind it restarts, and hands frames through. It has no key,
 * no credential and no library beyond Node's own.
 */

/** CKR_DEVICE_ERROR and CKR_DATA_LEN_RANGE; the door answers nothing else. */
const DEVICE_ERROR = 0x30;
const DATA_LEN_RANGE = 0x21;
const HIGHEST_VERSION = 2;
/** Calls wait this long for a service that is away, ms. */
const WAIT_MS = 10_000;
const RETRY_MS = 100;
const NO_BODY = Buffer.alloc(0);
/** Frames and bytes of one client that may wait; then its socket is not read on. */
const MAX_WAITING_FRAMES = 256;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** A crashed service comes back or it does not: without clients the door waits this long for it, so that new ones need not fail, ms. */
const ORPHAN_MS = 30_000;

interface Waiting {
  readonly code: number;
  readonly frame: Buffer;
  readonly since: number;
}

/** One application. */
class Client {
  readonly #socket: Socket;
  readonly #innerPath: string;
  readonly #socketName: string;
  readonly #onEnd: () => void;
  readonly #id = randomBytes(18).toString('base64url');
  readonly #outstanding = new Set<number>();
  readonly #answers = new ReadyAnswers();
  #generation: number | undefined;
  #reader: FrameReader;
  #records: string[] = [];
  #upstream: Socket | undefined;
  #ready = false;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #ended = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(socket: Socket, socketName: string, innerPath: string, onEnd: () => void) {
    this.#socket = socket;
    this.#socketName = socketName;
    this.#innerPath = innerPath;
    this.#onEnd = onEnd;
    this.#reader = new FrameReader({
      frame: ({ code, bytes, body }) => this.#request(code, bytes, body),
      tooLarge: (code) => this.#toClient(toErrorFrame(code, DATA_LEN_RANGE)),
    });
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#end());
  }

  #data(chunk: Buffer): void {
    let rest = chunk;
    if (this.#generation === undefined) {
      // A newer client than this knows is answered with the newest version known here; its mechanisms are read as those.
      this.#generation = Math.min(chunk[0] ?? 0, HIGHEST_VERSION);
      this.#socket.write(Uint8Array.of(this.#generation));
      this.#connect();
      rest = chunk.subarray(1);
    }
    if (rest.length > 0) this.#reader.push(rest);
  }

  #toClient(frame: Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(frame);
  }

  #request(code: number, frame: Buffer, body: Buffer): void {
    if (code === 0) {
      this.#toClient(toErrorFrame(0, DEVICE_ERROR));
      return;
    }
    const known = this.#answers.answer(code, body);
    if (known !== undefined) this.#toClient(known);
    else if (this.#ready && this.#upstream !== undefined) this.#forward(code, frame);
    else this.#wait(code, frame);
  }

  #wait(code: number, frame: Buffer): void {
    // The frame is a view of a read buffer; what waits must not pin it.
    this.#waiting.push({ code, frame: Buffer.from(frame), since: Date.now() });
    this.#waitingBytes += frame.length;
    if (this.#waiting.length >= MAX_WAITING_FRAMES || this.#waitingBytes >= MAX_WAITING_BYTES) this.#socket.pause();
  }

  #forward(code: number, frame: Buffer): void {
    this.#outstanding.add(code);
    if (this.#upstream?.write(frame) === false) {
      this.#socket.pause();
      this.#upstream.once('drain', () => this.#socket.resume());
    }
  }

  #connect(): void {
    if (this.#ended) return;
    const upstream = connect({ path: this.#innerPath, allowHalfOpen: true });
    this.#upstream = upstream;
    const reader = new FrameReader({
      frame: ({ code, bytes, body }) => (code === 0 ? this.#control(controlType(bytes), body) : this.#response(code, bytes, body)),
      tooLarge: (code) => this.#response(code, toErrorFrame(code, DEVICE_ERROR), NO_BODY),
    });
    upstream.on('connect', () => {
      const hello: ClientHello = {
        kind: 'client',
        protocol: DOOR_PROTOCOL,
        socket: this.#socketName,
        generation: this.#generation ?? 0,
        id: this.#id,
        records: this.#records,
      };
      upstream.write(`${JSON.stringify(hello)}\n`);
    });
    upstream.on('data', (chunk: Buffer) => reader.push(chunk));
    upstream.on('error', () => undefined);
    upstream.on('end', () => upstream.end());
    upstream.on('close', () => this.#lost(upstream));
  }

  #control(type: number, body: Buffer): void {
    if (type === CONTROL.remember) this.#records.push(body.toString('base64'));
    else if (type === CONTROL.reset) this.#records = [];
    else if (type === CONTROL.again) this.#again(body);
    else if (type === CONTROL.random) this.#answers.offer(body);
    else if (type === CONTROL.leaving) {
      this.#ready = false;
      this.#upstream?.end();
    } else if (type === CONTROL.ready) {
      this.#ready = true;
      const waiting = this.#waiting;
      this.#waiting = [];
      this.#waitingBytes = 0;
      for (const { code, frame } of waiting) {
        this.#answers.repeated(code, frame.subarray(FRAME_HEADER_BYTES + frame.readUInt32BE(4)));
        this.#forward(code, frame);
      }
      this.#socket.resume();
    }
  }

  /** A request that the ending service gave back unread. */
  #again(frame: Buffer): void {
    if (frame.length < FRAME_HEADER_BYTES) return;
    const code = frame.readUInt32BE(0);
    if (!this.#outstanding.delete(code)) return;
    this.#ready = false;
    this.#wait(code, frame);
  }

  #response(code: number, frame: Buffer, body: Buffer): void {
    this.#answers.response(code, body);
    if (!this.#outstanding.delete(code) || this.#socket.destroyed) return;
    if (!this.#socket.write(frame)) {
      const upstream = this.#upstream;
      upstream?.pause();
      this.#socket.once('drain', () => upstream?.resume());
    }
  }

  /** The service is gone: what it was working on may or may not have happened, which is what CKR_DEVICE_ERROR says. */
  #lost(upstream: Socket): void {
    if (this.#upstream !== upstream || this.#ended) return;
    this.#upstream = undefined;
    this.#ready = false;
    this.#answers.lost();
    for (const code of this.#outstanding) this.#toClient(toErrorFrame(code, DEVICE_ERROR));
    this.#outstanding.clear();
    this.#socket.resume();
    this.#expire();
    this.#retry = setTimeout(() => this.#connect(), RETRY_MS);
  }

  #expire(): void {
    const now = Date.now();
    const late = this.#waiting.filter((one) => now - one.since >= WAIT_MS);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter((one) => now - one.since < WAIT_MS);
    this.#waitingBytes = this.#waiting.reduce((sum, one) => sum + one.frame.length, 0);
    for (const { code } of late) this.#toClient(toErrorFrame(code, DEVICE_ERROR));
    this.#socket.resume();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#upstream?.destroy();
    this.#onEnd();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** A socket file that nobody listens on is an old one; anything else in its place is not ours to remove. */
const removeStale = (path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    let isSocket: boolean;
    try {
      isSocket = lstatSync(path).isSocket();
    } catch {
      return resolve();
    }
    if (!isSocket) return reject(new Error('something that is no socket lies there; move it away or choose another path'));
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      reject(new Error('another process listens there; stop it or choose another path'));
    });
    probe.on('error', () => {
      rmSync(path, { force: true });
      resolve();
    });
  });

export interface DoorOptions {
  readonly innerPath: string;
  readonly onEnd: () => void;
}

export class Door {
  readonly #options: DoorOptions;
  readonly #servers = new Map<string, { readonly server: Server; readonly settings: DoorSocket }>();
  readonly #clients = new Set<Client>();
  #link: Socket | undefined;
  #endWhenIdle = false;
  #ended = false;
  readonly #timer: NodeJS.Timeout;
  #aloneSince: number | undefined = Date.now();

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#connect();
    this.#timer = setInterval(() => this.#look(), 1_000);
  }

  #connect(): void {
    if (this.#ended) return;
    const link = connect(this.#options.innerPath);
    let text = '';
    link.on('connect', () => {
      this.#link = link;
      this.#endWhenIdle = false;
      this.#aloneSince = undefined;
      const hello: DoorHello = { kind: 'door', protocol: DOOR_PROTOCOL, pid: process.pid };
      link.write(`${JSON.stringify(hello)}\n`);
    });
    link.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        void this.#obey(JSON.parse(line) as DoorOrder);
      }
    });
    link.on('error', () => undefined);
    link.on('close', () => {
      if (this.#link === link) this.#link = undefined;
      this.#aloneSince ??= Date.now();
      this.#look();
      setTimeout(() => this.#connect(), RETRY_MS);
    });
  }

  #report(report: DoorReport): void {
    this.#link?.write(`${JSON.stringify(report)}\n`);
  }

  async #obey(order: DoorOrder): Promise<void> {
    if (order.order === 'end') return this.end();
    if (order.order === 'service-stopping') {
      this.#endWhenIdle = true;
      return;
    }
    for (const [path, { server, settings }] of this.#servers) {
      const wanted = order.sockets.find((one) => one.path === path);
      if (wanted !== undefined && JSON.stringify(wanted) === JSON.stringify(settings)) continue;
      // Clients already connected stay; only new ones come in elsewhere.
      server.close();
      rmSync(path, { force: true });
      this.#servers.delete(path);
    }
    for (const settings of order.sockets) {
      if (this.#servers.has(settings.path)) continue;
      try {
        await this.#listen(settings);
      } catch (error) {
        this.#report({ report: 'problem', path: settings.path, message: (error as Error).message });
      }
    }
    this.#report({ report: 'listening', paths: [...this.#servers.keys()] });
  }

  async #listen(settings: DoorSocket): Promise<void> {
    await removeStale(settings.path);
    const server = createServer((socket) => this.#accept(socket, settings.name));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(settings.path, resolve);
    });
    if (settings.gid !== undefined) chownSync(settings.path, process.getuid?.() ?? -1, settings.gid);
    chmodSync(settings.path, settings.mode);
    this.#servers.set(settings.path, { server, settings });
  }

  #accept(socket: Socket, name: string): void {
    const client = new Client(socket, name, this.#options.innerPath, () => {
      this.#clients.delete(client);
      this.#look();
    });
    this.#clients.add(client);
  }

  /** Ends when nobody needs it: after an orderly stop at once, after a crash once it has waited long enough. */
  #look(): void {
    if (this.#clients.size > 0 || this.#link !== undefined) return;
    const alone = this.#aloneSince === undefined ? 0 : Date.now() - this.#aloneSince;
    // A data directory that is gone will not have a service again.
    if (this.#endWhenIdle || alone > ORPHAN_MS || !existsSync(dirname(this.#options.innerPath))) this.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.#link?.destroy();
    for (const [path, { server }] of this.#servers) {
      server.close();
      rmSync(path, { force: true });
    }
    for (const client of this.#clients) client.destroy();
    this.#options.onEnd();
  }
}
