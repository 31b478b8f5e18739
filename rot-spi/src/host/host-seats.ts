import type { HostOptions, RootConfig } from '../config.js';
import type { RootDescription } from '../contract.js';
import { RootFault } from '../fault.js';
import { toFault } from './call-codec.js';
import type { Job } from './call-ledger.js';
import { asksAtTerminal } from './environment.js';
import { HOST_DIED, type HostLimits, HostProcess, within } from './host-process.js';

/** The places for a root's host processes: who sits there, when an empty one is filled again, and when it is not. */

export interface HostStatus {
  readonly pid: number | undefined;
  /** `waiting`: will be restarted by itself. `unavailable`: only on request (`retry`). */
  readonly state: 'starting' | 'ready' | 'waiting' | 'unavailable' | 'stopped';
  readonly inFlight: number;
  readonly restarts: number;
  readonly lastError?: string;
}

export interface Seat {
  readonly index: number;
  process: HostProcess | undefined;
  state: HostStatus['state'];
  /** Processes that have sat here. */
  starts: number;
  lastError: string | undefined;
  /** Ends in a row without a stable time between them. */
  failures: number;
  readySince: number;
  timer: NodeJS.Timeout | undefined;
  /** Takes no new calls; is about to be replaced. */
  leaving: boolean;
}

export interface SeatParts {
  readonly config: RootConfig;
  readonly entry: URL;
  readonly limits: HostLimits;
  readonly onEvent: HostOptions['onEvent'];
  /** A call whose host died before it answered. */
  readonly lost: (job: Job, fault: RootFault) => void;
}

const MAX_HOSTS = 64;
const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 10_000;
/** A host that lived this long was sound: the next death counts as the first. */
const STABLE_MS = 10_000;
/** For what a person has to type. */
const PROMPT_TIMEOUT_MS = 300_000;
/** From the end of the connection to the news of how the process ended. */
const EXIT_CODE_MS = 250;
/** To close the root after its last call. */
const LEAVE_MS = 2000;

/** Full delay grows from 100 ms to 10 s; half of it is chance, so that hosts don't return in step. */
export const restartDelayMs = (failures: number, chance: number): number => {
  const full = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 30));
  return Math.max(FIRST_DELAY_MS, full / 2 + (chance * full) / 2);
};

const hostCount = (config: RootConfig): number => {
  const count = config.hosts ?? 1;
  if (!Number.isSafeInteger(count) || count < 1 || count > MAX_HOSTS) {
    throw new RootFault('invalid-argument', `hosts must be from 1 to ${MAX_HOSTS}`, `correct hosts of root ${config.id}`);
  }
  return count;
};

/** A process that died while it opened its root says nothing; its exit code or signal is the only trace of why. */
const explain = async (fault: RootFault, process: HostProcess | undefined): Promise<RootFault> => {
  if (process === undefined || fault.message !== HOST_DIED) return fault;
  const how = await Promise.race([process.exited, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), EXIT_CODE_MS))]);
  const next = 'check the module and its configuration; what the host printed is in the service log';
  return new RootFault(fault.code, `${HOST_DIED} while it opened the root${how === undefined ? '' : ` (${how})`}`, next);
};

export class HostSeats {
  /** Of the newest host; stays when no host is ready. */
  description: RootDescription | undefined;
  private powers: ReadonlySet<string> | undefined;
  /** Why no host is started by itself any more: a wrong PIN, a missing sealing key. */
  standing: RootFault | undefined;
  private readonly parts: SeatParts;
  private readonly seats: Seat[];
  private started = 0;
  private generation = 0;
  private closed = false;
  /** One root is opened at a time: with a wrong PIN that costs one attempt, not one for each host. */
  private opening: Promise<unknown> = Promise.resolve();

  constructor(parts: SeatParts) {
    this.parts = parts;
    this.seats = Array.from({ length: hostCount(parts.config) }, (_, index) => ({
      index,
      process: undefined,
      state: 'stopped',
      starts: 0,
      lastError: undefined,
      failures: 0,
      readySince: 0,
      timer: undefined,
      leaving: false,
    }));
  }

  get count(): number {
    return this.seats.length;
  }

  get inFlight(): number {
    return this.seats.reduce((sum, { process }) => sum + (process?.inFlight ?? 0), 0);
  }

  /** Why hosts are missing: the last errors of those that are. */
  get lastErrors(): string[] {
    return [...new Set(this.seats.flatMap(({ state, lastError }) => (state === 'ready' || lastError === undefined ? [] : [lastError])))];
  }

  status(): HostStatus[] {
    return this.seats.map(({ process, state, starts, lastError }) => ({
      pid: process?.pid,
      state,
      inFlight: process?.inFlight ?? 0,
      restarts: Math.max(0, starts - 1),
      ...(lastError === undefined ? {} : { lastError }),
    }));
  }

  ready(): Seat[] {
    return this.seats.filter(({ state, leaving }) => state === 'ready' && !leaving);
  }

  leastBusy(): HostProcess | undefined {
    let best: HostProcess | undefined;
    for (const { state, leaving, process } of this.seats) {
      if (state !== 'ready' || leaving || process === undefined) continue;
      if (best === undefined || process.inFlight < best.inFlight) best = process;
    }
    return best;
  }

  byTag(tag: string): HostProcess | undefined {
    return this.seats.find(({ state, process }) => state === 'ready' && process?.tag === tag)?.process;
  }

  /** Fills the first seat; the others follow when it is ready. Answers the fault, if any. */
  async openFirst(): Promise<RootFault | undefined> {
    return this.start(this.seats[0] as Seat);
  }

  async retry(): Promise<void> {
    if (this.closed) return;
    this.standing = undefined;
    const idle = this.seats.find(({ state }) => state === 'unavailable' || state === 'waiting' || state === 'stopped');
    if (idle !== undefined) await this.start(idle);
  }

  private start(seat: Seat): Promise<RootFault | undefined> {
    clearTimeout(seat.timer);
    seat.timer = undefined;
    const outcome = this.opening.then(() => this.fill(seat));
    this.opening = outcome;
    return outcome;
  }

  private async fill(seat: Seat): Promise<RootFault | undefined> {
    if (this.closed || seat.state === 'ready' || seat.state === 'starting') return undefined;
    if (this.standing !== undefined) {
      seat.state = 'unavailable';
      return this.standing;
    }
    seat.state = 'starting';
    try {
      const process = this.seatProcess(seat);
      const { config, limits } = this.parts;
      const description = await process.opened(asksAtTerminal(config) ? PROMPT_TIMEOUT_MS : limits.startTimeoutMs);
      if (!process.ready) throw new RootFault('unavailable', 'the root-of-trust host died as soon as it was ready');
      this.becomeReady(seat, process, description);
      return undefined;
    } catch (error) {
      const fault = await explain(toFault(error), seat.process);
      this.startFailed(seat, fault);
      return fault;
    }
  }

  private seatProcess(seat: Seat): HostProcess {
    const { config, entry, limits } = this.parts;
    seat.starts++;
    const process: HostProcess = new HostProcess(String(++this.started), entry, config, limits, {
      died: (fault, jobs, hung) => this.processDied(seat, process, fault, jobs, hung),
    });
    seat.process = process;
    seat.leaving = false;
    this.tell(seat, 'started', `pid ${process.pid}`);
    return process;
  }

  private becomeReady(seat: Seat, process: HostProcess, description: RootDescription): void {
    if (this.closed) return;
    seat.state = 'ready';
    seat.readySince = performance.now();
    this.describeAs(description);
    this.tell(seat, 'ready');
    // It read the sealing key just before another host replaced it.
    if ((description.sealGeneration ?? this.generation) < this.generation) void this.replace(seat, process, 0);
    for (const other of this.seats) {
      if (other.state === 'stopped' || other.state === 'unavailable') void this.start(other);
    }
  }

  private describeAs(description: RootDescription): void {
    // A host that read the sealing key before it was rotated knows less than another already told.
    if ((this.description?.sealGeneration ?? 0) > (description.sealGeneration ?? 0)) return;
    this.description = description;
    this.powers = new Set(description.powers);
  }

  /** Whether the root is known not to serve the call. */
  lacks(name: string): boolean {
    return this.powers !== undefined && !this.powers.has(name);
  }

  private startFailed(seat: Seat, fault: RootFault): void {
    seat.process = undefined;
    seat.lastError = fault.message;
    if (fault.code === 'pin-rejected' || fault.code === 'sealed') this.stand(fault);
    this.vacate(seat);
  }

  /** No more attempts by themselves: a token locks after a few wrong PINs. */
  private stand(fault: RootFault): void {
    this.standing = fault;
    for (const seat of this.seats) {
      if (seat.timer === undefined) continue;
      clearTimeout(seat.timer);
      seat.timer = undefined;
      seat.state = 'unavailable';
    }
  }

  private processDied(seat: Seat, process: HostProcess, fault: RootFault, jobs: readonly Job[], hung: boolean): void {
    const served = seat.process === process && seat.state === 'ready';
    if (served) {
      seat.process = undefined;
      if (performance.now() - seat.readySince >= STABLE_MS) seat.failures = 0;
      if (!seat.leaving) seat.lastError = fault.message;
      this.vacate(seat);
    }
    for (const job of jobs) this.parts.lost(job, fault);
    void process.exited.then((how) => {
      if (served && seat.lastError === fault.message) seat.lastError = `${fault.message} (${how})`;
      if (this.closed || seat.leaving) this.tell(seat, 'stopped', how);
      else this.tell(seat, hung ? 'hung' : 'died', `${fault.message}; ${how}`);
    });
  }

  /** An empty seat: filled again after a while, on request only, or never. */
  private vacate(seat: Seat): void {
    if (this.closed) {
      seat.state = 'stopped';
      return;
    }
    if (this.standing !== undefined) {
      seat.state = 'unavailable';
      return;
    }
    seat.state = 'waiting';
    const delay = seat.leaving ? 0 : Math.round(restartDelayMs(seat.failures++, Math.random()));
    seat.timer = setTimeout(() => void this.start(seat), delay);
    this.tell(seat, 'restarting', `in ${delay} ms`);
  }

  /** New calls go elsewhere, those in flight may finish, then the process is stopped and its seat filled again. */
  async replace(seat: Seat, process: HostProcess, graceMs: number): Promise<void> {
    if (this.closed || seat.process !== process) return;
    seat.leaving = true;
    const end = performance.now() + graceMs;
    while (process.inFlight > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
    if (seat.process === process) await process.stop(LEAVE_MS, 'the root-of-trust host is being replaced');
  }

  sealedAt(generation: number): void {
    this.generation = Math.max(this.generation, generation);
  }

  /** Takes over a newer description of the process that still sits there. */
  redescribe(seat: Seat, process: HostProcess, description: RootDescription): boolean {
    if (seat.process !== process) return false;
    this.describeAs(description);
    return true;
  }

  close(): void {
    this.closed = true;
    for (const seat of this.seats) {
      clearTimeout(seat.timer);
      seat.timer = undefined;
      if (seat.state !== 'ready' && seat.state !== 'starting') seat.state = 'stopped';
    }
  }

  async stop(graceMs: number): Promise<void> {
    await Promise.all(
      this.seats.map(async (seat) => {
        await seat.process?.stop(graceMs, 'the root of trust is closed');
        seat.state = 'stopped';
        seat.process = undefined;
      }),
    );
    await within(this.opening, graceMs);
  }

  private tell(seat: Seat, kind: Parameters<NonNullable<HostOptions['onEvent']>>[0]['kind'], detail?: string): void {
    try {
      this.parts.onEvent?.({ root: this.parts.config.id, host: seat.index, kind, ...(detail === undefined ? {} : { detail }) });
    } catch {
      // A listener's failure is not the root's.
    }
  }
}
