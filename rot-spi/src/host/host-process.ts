import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { HostOptions, RootConfig } from '../config.js';
import type { RootCallName, RootDescription, RootHealth } from '../contract.js';
import { RootFault } from '../fault.js';
import { type ByteReader, WireError } from './bytes.js';
import { CALL_CODECS, type CallCodec, DESCRIPTION, FAULT, HEALTH, type Shape, TABLE_DIGEST } from './call-codec.js';
import { CallLedger, type InFlight, isHeavy, type Job, type Opening } from './call-ledger.js';
import { hostCommand } from './environment.js';
import { FRAME, FrameSink, FrameSplitter } from './frames.js';
import { NO_KEYS, SentKeys } from './key-slots.js';
import { type WireValue, writeValue } from './values.js';

/** The server's side of one host: a child process, its connection and the calls in flight on it. */

export type HostLimits = Required<Pick<HostOptions, 'callTimeoutMs' | 'startTimeoutMs' | 'maxInFlight' | 'maxFrame'>>;

export interface HostEvents {
  /** Once. The jobs that were in flight are the receiver's to settle. `hung`: it was killed for not answering. */
  readonly died: (fault: RootFault, jobs: readonly Job[], hung: boolean) => void;
}

const REQUEST_BATCH = { frames: 16, bytes: 32_768 };
/** After the process ended, for what it had already written. */
const LAST_WORDS_MS = 20;
/** After SIGKILL the kernel reaps within this, or the module sits in an uninterruptible system call. */
const REAP_MS = 2000;
export const CALL_NUMBERS: ReadonlyMap<RootCallName, number> = new Map(CALL_CODECS.map(({ name }, number) => [name, number]));
/** The process ended by itself; how is known a moment later (`exited`). */
export const HOST_DIED = 'the root-of-trust host died';
export const DESCRIBE_JOB = -1;
export const HEALTH_JOB = -2;

const unavailable = (message: string): RootFault => new RootFault('unavailable', message, 'try again shortly; the host is being replaced');

export class HostProcess {
  readonly tag: string;
  readonly pid: number | undefined;
  description: RootDescription | undefined;
  /** Settles when the process has been reaped, with how it ended. */
  readonly exited: Promise<string>;
  private readonly limits: HostLimits;
  private readonly events: HostEvents;
  private readonly child: ChildProcess;
  private readonly socket: Socket;
  private readonly sink: FrameSink;
  private readonly keys = new SentKeys();
  private readonly calls: CallLedger;
  private readonly clock: NodeJS.Timeout;
  private dead = false;
  private overdue = false;
  private opening: Opening | undefined;

  /** Starts the process. Throws if that can't even be tried. `tag` names this process among all this server ever starts. */
  constructor(tag: string, entry: URL, config: RootConfig, limits: HostLimits, events: HostEvents) {
    this.tag = tag;
    this.limits = limits;
    this.events = events;
    const { file, args, env } = hostCommand(entry, config);
    this.child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'inherit', 'pipe'], windowsHide: true });
    this.pid = this.child.pid;
    this.exited = this.watchProcess();
    const socket = (this.child.stdio as readonly unknown[] | undefined)?.[3] as Socket | null | undefined;
    // Out of file descriptors: Node gives the child no streams at all.
    if (!socket) throw unavailable('the host could not be started: no connection to it could be made');
    this.socket = socket;
    this.sink = new FrameSink(this.socket, limits.maxFrame, REQUEST_BATCH);
    this.watchSocket();
    this.calls = new CallLedger(limits.callTimeoutMs);
    this.clock = setInterval(() => this.look(), this.calls.tickMs);
    this.clock.unref();
    this.greet(config);
  }

  private watchProcess(): Promise<string> {
    return new Promise((resolve) => {
      this.child.once('error', (error) => {
        this.die(unavailable(`the host could not be started: ${(error as NodeJS.ErrnoException).code ?? error.name}`), false);
        if (this.pid === undefined) resolve('never started');
      });
      this.child.once('exit', (code, signal) => {
        // Answers sent just before the end may still be on their way; the connection's end says when they are all here.
        setTimeout(() => this.die(unavailable(HOST_DIED), false), LAST_WORDS_MS).unref();
        resolve(signal === null ? `exit code ${code}` : `signal ${signal}`);
      });
    });
  }

  private watchSocket(): void {
    const splitter = new FrameSplitter(this.limits.maxFrame, (call, kind, reader) => this.receive(call, kind, reader));
    this.socket.on('data', (chunk: Buffer) => {
      if (this.dead) return;
      try {
        splitter.push(chunk);
      } catch (error) {
        const detail = error instanceof WireError ? error.message : 'it could not be read';
        this.die(unavailable(`the root-of-trust host sent a malformed answer: ${detail}`), false);
      }
    });
    const gone = (): void => this.die(unavailable(HOST_DIED), false);
    this.socket.on('end', gone);
    this.socket.on('close', gone);
    this.socket.on('error', gone);
  }

  private greet(config: RootConfig): void {
    const { maxFrame, maxInFlight } = this.limits;
    const hello = { digest: TABLE_DIGEST, config: config as unknown as WireValue, maxFrame, maxInFlight, serverPid: process.pid };
    try {
      writeValue(this.sink.begin(0, FRAME.hello), hello);
    } catch (error) {
      this.sink.abort();
      this.kill();
      throw error instanceof RootFault ? error : new RootFault('invalid-argument', "the root's configuration can't be sent to its host");
    }
    this.sink.end();
    this.sink.flush();
  }

  /** Resolves once the root is open; rejects with the root's own fault, or `unavailable`. */
  opened(timeoutMs: number): Promise<RootDescription> {
    return new Promise((resolve, reject) => {
      if (this.dead) return reject(unavailable(HOST_DIED));
      const timer = setTimeout(() => {
        this.die(unavailable(`the root-of-trust host was not ready within ${timeoutMs} ms`), true);
      }, timeoutMs);
      this.opening = {
        resolve: (description) => {
          clearTimeout(timer);
          resolve(description);
        },
        reject: (fault) => {
          clearTimeout(timer);
          reject(fault);
        },
      };
    });
  }

  get ready(): boolean {
    return this.description !== undefined && !this.dead;
  }

  get inFlight(): number {
    return this.calls.size;
  }

  /** Sends the job; its promise is settled from here on, by an answer or through `died`. */
  send(job: Job): void {
    if (this.dead) {
      job.reject(unavailable(HOST_DIED));
      return;
    }
    const { maxInFlight, maxFrame } = this.limits;
    if (this.inFlight >= maxInFlight || this.sink.queuedBytes > 2 * maxFrame) {
      job.reject(new RootFault('limit-exceeded', 'too many calls in flight', 'slow down, or configure more hosts for this root'));
      return;
    }
    const codec = CALL_CODECS[job.number];
    if (codec === undefined) {
      this.ask(job);
      return;
    }
    const heavy = isHeavy(codec, job.request);
    if (heavy && this.calls.heavyFull) this.calls.wait(job);
    else this.transmit(job, codec, heavy);
  }

  private transmit(job: Job, codec: CallCodec, heavy: boolean): void {
    const id = this.calls.nextId();
    try {
      const writer = this.sink.begin(id, FRAME.call);
      writer.u8(job.number);
      codec.request.write(writer, job.request, this.keys);
    } catch (error) {
      this.sink.abort();
      this.keys.rollback();
      job.reject(error instanceof RootFault ? error : new RootFault('invalid-argument', `the ${codec.name} request can't be sent`));
      return;
    }
    this.keys.commit();
    job.sentTo = this.tag;
    this.calls.add(id, { job, answer: FRAME.result, shape: codec.response, heavy });
    this.sink.end();
  }

  private ask(job: Job): void {
    const describing = job.number === DESCRIBE_JOB;
    const id = this.calls.nextId();
    this.sink.begin(id, describing ? FRAME.describe : FRAME.health);
    const answer = describing ? FRAME.description : FRAME.healthReport;
    const shape = (describing ? DESCRIPTION : HEALTH) as Shape;
    job.sentTo = this.tag;
    this.calls.add(id, { job, answer, shape, heavy: false });
    this.sink.end();
  }

  /** A call was answered: it leaves, and where it was a heavy one the next of those may go. */
  private settle(id: number, { heavy }: InFlight): void {
    this.calls.remove(id);
    if (!heavy) return;
    for (let job = this.calls.takeWaiting(); job !== undefined; job = this.calls.takeWaiting()) {
      this.transmit(job, CALL_CODECS[job.number] as CallCodec, true);
    }
  }

  private receive(id: number, kind: number, reader: ByteReader): void {
    if (id === 0) {
      this.receiveOpening(kind, reader);
      return;
    }
    const call = this.calls.get(id);
    if (call === undefined) throw new WireError('an answer to no call');
    const { job, answer, shape } = call;
    if (kind === FRAME.fault) {
      const fault = FAULT.read(reader, NO_KEYS);
      reader.finish();
      this.settle(id, call);
      job.reject(fault);
      return;
    }
    if (kind !== answer || (kind === FRAME.result && reader.u8() !== job.number)) throw new WireError('an answer to another call');
    const response = shape.read(reader, NO_KEYS) as RootDescription | RootHealth;
    reader.finish();
    this.settle(id, call);
    job.resolve(response as never);
  }

  private receiveOpening(kind: number, reader: ByteReader): void {
    if (this.opening === undefined) throw new WireError('an answer to no call');
    if (kind === FRAME.refused) {
      const fault = FAULT.read(reader, NO_KEYS);
      reader.finish();
      this.die(fault, false);
      return;
    }
    if (kind !== FRAME.ready) throw new WireError('an answer to another call');
    this.description = DESCRIPTION.read(reader, NO_KEYS);
    reader.finish();
    this.opening.resolve(this.description);
    this.opening = undefined;
  }

  private look(): void {
    this.calls.advance();
    if (this.overdue || !this.calls.anyOverdue()) return;
    this.overdue = true;
    // The answer may be in the socket while this process was busy: let the event loop read before the host is blamed.
    setImmediate(() =>
      setImmediate(() => {
        this.overdue = false;
        if (this.calls.anyOverdue()) this.die(unavailable(`the root-of-trust host did not answer within the time limit`), true);
      }),
    );
  }

  /** The end of this host: whatever state it is in, it answers nothing more and its process is killed. */
  private die(fault: RootFault, hung: boolean): void {
    if (this.dead) return;
    this.dead = true;
    clearInterval(this.clock);
    this.kill();
    const jobs = this.calls.clear(fault, hung);
    this.opening?.reject(fault);
    this.opening = undefined;
    this.events.died(fault, jobs, hung);
  }

  private kill(): void {
    this.socket.destroy();
    this.child.kill('SIGKILL');
  }

  /** Asks the host to leave, waits up to `graceMs`, then kills it. Calls still in flight fail. */
  async stop(graceMs: number, reason: string): Promise<void> {
    if (!this.dead && this.description !== undefined) {
      this.sink.begin(0, FRAME.stop);
      this.sink.end();
      this.sink.flush();
      await within(this.exited, graceMs);
    }
    this.die(unavailable(reason), false);
    await within(this.exited, REAP_MS);
  }
}

export const within = async (promise: Promise<unknown>, limitMs: number): Promise<boolean> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  const done = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return done;
};
