import type { RootDescription } from '../contract.js';
import { RootFault } from '../fault.js';
import type { CallCodec, Shape } from './call-codec.js';
import { CALLS } from './call-tables.js';

/** The calls of one host: which are on their way, until when, and which wait for their turn. */

/** A call on its way. It may move to another host once if the first dies. */
export interface Job {
  /** Number on the wire; negative for description and health. */
  readonly number: number;
  readonly request: unknown;
  readonly resolve: (response: never) => void;
  readonly reject: (error: unknown) => void;
  moved: boolean;
  /** Tag of the host it was sent to; undefined while it waits to be sent. */
  sentTo?: string | undefined;
}

export interface InFlight {
  readonly job: Job;
  /** Kind of frame that answers it, and what is in that. */
  readonly answer: number;
  readonly shape: Shape;
  readonly heavy: boolean;
}

type Timed<T> = T & { readonly deadline: number };
export type Opening = { readonly resolve: (description: RootDescription) => void; readonly reject: (fault: RootFault) => void };

/** A time limit is counted in ticks of the server's own event loop, so that a stall of the server blames no host. */
const TICKS_PER_LIMIT = 20;
const LEAST_TICK_MS = 5;
/**
 * Heavy calls in one host at a time; more wait here. They share a few threads with every other asynchronous call of the
 * host, and a crowd of them would otherwise miss the time limit and get a sound host killed.
 */
const HEAVY_AT_ONCE = 2;
/** Times the ordinary limit that a heavy call may wait, and then take. */
const HEAVY_PATIENCE = 6;
const LAST_CALL_ID = 0xffffffff;

export const isHeavy = ({ name }: CallCodec, request: unknown): boolean => {
  const heavy = CALLS[name].heavy as ((request: unknown) => boolean) | undefined;
  // A request that isn't even an object is refused when it is written.
  return heavy !== undefined && typeof request === 'object' && request !== null && heavy(request);
};

export class CallLedger {
  readonly tickMs: number;
  private readonly callTimeoutMs: number;
  private readonly calls = new Map<number, Timed<InFlight>>();
  private readonly waiting: Timed<{ readonly job: Job }>[] = [];
  private heavyCalls = 0;
  private tick = 0;
  private lastId = 0;

  constructor(callTimeoutMs: number) {
    this.callTimeoutMs = callTimeoutMs;
    this.tickMs = Math.max(LEAST_TICK_MS, Math.ceil(callTimeoutMs / TICKS_PER_LIMIT));
  }

  get size(): number {
    return this.calls.size + this.waiting.length;
  }

  get heavyFull(): boolean {
    return this.heavyCalls >= HEAVY_AT_ONCE;
  }

  nextId(): number {
    do {
      this.lastId = this.lastId === LAST_CALL_ID ? 1 : this.lastId + 1;
    } while (this.calls.has(this.lastId));
    return this.lastId;
  }

  add(id: number, call: InFlight): void {
    if (call.heavy) this.heavyCalls++;
    this.calls.set(id, { ...call, deadline: this.deadline(call.heavy ? HEAVY_PATIENCE : 1) });
  }

  get(id: number): InFlight | undefined {
    return this.calls.get(id);
  }

  remove(id: number): void {
    if (this.calls.get(id)?.heavy) this.heavyCalls--;
    this.calls.delete(id);
  }

  wait(job: Job): void {
    job.sentTo = undefined;
    this.waiting.push({ job, deadline: this.deadline(HEAVY_PATIENCE) });
  }

  /** The next job that waited, if there is room for it now. */
  takeWaiting(): Job | undefined {
    return this.heavyFull ? undefined : this.waiting.shift()?.job;
  }

  private deadline(patience: number): number {
    return this.tick + Math.ceil((this.callTimeoutMs * patience) / this.tickMs) + 1;
  }

  /** One tick passed. Jobs that waited too long were never sent: they fail, and say nothing about the host. */
  advance(): void {
    this.tick++;
    while (this.waiting[0] !== undefined && this.waiting[0].deadline <= this.tick) {
      const fault = new RootFault(
        'unavailable',
        'the call waited too long behind other long calls',
        'make fewer keys at once, or add hosts',
      );
      this.waiting.shift()?.job.reject(fault);
    }
  }

  anyOverdue(): boolean {
    for (const { deadline } of this.calls.values()) if (deadline <= this.tick) return true;
    return false;
  }

  /** Empties the ledger: of a hung host the overdue calls fail; all others are answered for somebody else to settle. */
  clear(fault: RootFault, hung: boolean): Job[] {
    const left: Job[] = [];
    for (const { job, deadline } of this.calls.values()) {
      if (hung && deadline <= this.tick) job.reject(fault);
      else left.push(job);
    }
    this.calls.clear();
    left.push(...this.waiting.splice(0).map(({ job }) => job));
    return left;
  }
}
