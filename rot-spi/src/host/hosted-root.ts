import type { HostOptions, RootConfig } from '../config.js';
import type {
  BoundKey,
  RootCallName,
  RootCalls,
  RootDescription,
  RootHealth,
  RootOfTrust,
  RootRequest,
  RootResponse,
} from '../contract.js';
import { RootFault, type RootFaultCode } from '../fault.js';
import { toFault } from './call-codec.js';
import type { Job } from './call-ledger.js';
import { CALL_NAMES, CALLS, CONTINUING_CALLS } from './call-tables.js';
import { CALL_NUMBERS, DESCRIBE_JOB, HEALTH_JOB, type HostLimits, type HostProcess, within } from './host-process.js';
import { HostSeats, type HostStatus, type Seat } from './host-seats.js';

/** A root of trust that runs in processes of its own. */
export interface HostedRoot extends RootOfTrust {
  readonly id: string;
  hosts(): HostStatus[];
  /**
   * Tries again now: after a wrong PIN or a missing sealing key, which are never retried by themselves (tokens lock), or
   * to cut a back-off short. Answers the health found after one attempt.
   */
  retry(): Promise<RootHealth>;
}

export interface HostedRootParts {
  readonly config: RootConfig;
  /** The program a host runs. */
  readonly entry: URL;
  readonly options: HostOptions;
}

const DEFAULT_LIMITS: HostLimits = { callTimeoutMs: 10_000, startTimeoutMs: 30_000, maxInFlight: 4096, maxFrame: 64 * 1024 * 1024 };
const LOOK_EVERY_MS = 5;
/** To close the root (log out, finalize the module) after its last call. */
const LEAVE_MS = 2000;

const toLimits = ({ callTimeoutMs, startTimeoutMs, maxInFlight, maxFrame }: HostOptions): HostLimits => {
  const limits = {
    callTimeoutMs: callTimeoutMs ?? DEFAULT_LIMITS.callTimeoutMs,
    startTimeoutMs: startTimeoutMs ?? DEFAULT_LIMITS.startTimeoutMs,
    maxInFlight: maxInFlight ?? DEFAULT_LIMITS.maxInFlight,
    maxFrame: maxFrame ?? DEFAULT_LIMITS.maxFrame,
  };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > 0x7fffffff) {
      throw new RootFault(
        'invalid-argument',
        `${name} must be a whole number from 1 to ${0x7fffffff}`,
        `correct ${name} in the configuration`,
      );
    }
  }
  return limits;
};

const CONTINUING: ReadonlySet<string> = new Set(CONTINUING_CALLS);
/** Multi-part ids as callers see them: which host process, then that host's own id. */
const OPERATION_ID = /^(\d{1,10})\.(.+)$/s;

/** Only a root that could not be opened by anybody says so in its own words; the rest is "unavailable". */
const STANDING_FAULTS: readonly RootFaultCode[] = ['pin-rejected', 'sealed'];

class Hosts implements HostedRoot {
  readonly id: string;
  private readonly limits: HostLimits;
  private readonly seats: HostSeats;
  private sealing: Promise<unknown> = Promise.resolve();
  private closing: Promise<void> | undefined;

  constructor({ config, entry, options }: HostedRootParts) {
    this.id = config.id;
    this.limits = toLimits(options);
    this.seats = new HostSeats({
      config,
      entry,
      limits: this.limits,
      onEvent: options.onEvent,
      lost: (job, fault) => this.moveOrFail(job, fault),
    });
  }

  /** Opens the first host. `lazy`: a root that can't be opened now is no failure. */
  async open(lazy: boolean): Promise<void> {
    const fault = await this.seats.openFirst();
    if (fault === undefined || lazy) return;
    await this.close();
    throw fault;
  }

  hosts(): HostStatus[] {
    return this.seats.status();
  }

  async retry(): Promise<RootHealth> {
    await this.seats.retry();
    return this.health();
  }

  async describe(): Promise<RootDescription> {
    const { description } = this.seats;
    if (description === undefined) throw this.noHost();
    return description;
  }

  call<C extends RootCallName>(name: C, request: RootRequest<C>): Promise<RootResponse<C>> {
    const number = CALL_NUMBERS.get(name);
    if (number === undefined) return Promise.reject(new RootFault('unsupported', 'no such call'));
    if (this.seats.lacks(name)) {
      const next = 'see the powers in its capability report';
      return Promise.reject(new RootFault('unsupported', `root of trust ${this.id} does not serve ${name}`, next));
    }
    if (name === 'rotateSeal') return this.rotateSeal() as Promise<RootResponse<C>>;
    if (name === 'beginOperation') return this.begin(number, request) as Promise<RootResponse<C>>;
    if (CONTINUING.has(name)) return this.proceed(number, request as { readonly operation: string }) as Promise<RootResponse<C>>;
    return this.submit(number, request) as Promise<RootResponse<C>>;
  }

  private submit(number: number, request: unknown, on?: HostProcess): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const host = on ?? this.pick();
      if (host === undefined) reject(this.noHost());
      else host.send({ number, request, resolve, reject, moved: on !== undefined });
    });
  }

  private pick(): HostProcess | undefined {
    if (this.closing !== undefined) return undefined;
    return this.seats.leastBusy();
  }

  private noHost(): RootFault {
    if (this.closing !== undefined) return new RootFault('unavailable', `root of trust ${this.id} is closed`);
    const { standing, lastErrors } = this.seats;
    if (standing !== undefined && STANDING_FAULTS.includes(standing.code))
      return new RootFault(standing.code, standing.message, standing.next);
    const because = lastErrors.length === 0 ? '' : `: ${lastErrors.join('; ')}`;
    return new RootFault('unavailable', `root of trust ${this.id} has no host ready${because}`, 'it is being restarted; see its health');
  }

  /** A job whose host died. Nothing is sent twice unless the call's row allows it, and never more than once. */
  private moveOrFail(job: Job, fault: RootFault): void {
    const name = CALL_NAMES[job.number];
    const host = this.pick();
    // What was still waiting to be sent did nothing anywhere.
    const movable = job.sentTo === undefined || (name !== undefined && this.mayMove(name));
    if (job.moved || host === undefined || !movable) {
      job.reject(fault);
      return;
    }
    job.moved = true;
    host.send(job);
  }

  private mayMove(name: RootCallName): boolean {
    const { lost } = CALLS[name];
    return lost === 'again' || (lost === 'unless-external' && this.seats.description?.external === false);
  }

  private async begin(number: number, request: unknown): Promise<RootCalls['beginOperation'][1]> {
    const host = this.pick();
    if (host === undefined) throw this.noHost();
    const { promise, job } = pending(number, request);
    host.send(job);
    const response = (await promise) as RootCalls['beginOperation'][1];
    return { ...response, operation: `${job.sentTo}.${response.operation}` };
  }

  /** update, finish and cancel go to the process that holds the operation, and fail with it. */
  private proceed(number: number, request: { readonly operation: string }): Promise<unknown> {
    const [, tag, operation] = OPERATION_ID.exec(String(request?.operation)) ?? [];
    const host = tag === undefined || this.closing !== undefined ? undefined : this.seats.byTag(tag);
    if (host === undefined) {
      const fault = new RootFault('operation-unknown', 'no such multi-part operation, or its host is gone', 'begin the operation again');
      return Promise.reject(fault);
    }
    return this.submit(number, { ...request, operation }, host);
  }

  private rotateSeal(): Promise<RootCalls['rotateSeal'][1]> {
    const rotated = this.sealing.then(() => this.rotateSealNow());
    this.sealing = rotated.catch(() => undefined);
    return rotated;
  }

  /** When this answers, every host that takes calls seals under the new generation. */
  private async rotateSealNow(): Promise<RootCalls['rotateSeal'][1]> {
    const host = this.pick();
    if (host === undefined) throw this.noHost();
    const response = (await this.submit(CALL_NUMBERS.get('rotateSeal') as number, {}, host)) as RootCalls['rotateSeal'][1];
    this.seats.sealedAt(response.generation);
    const marker = await this.sealMarker(host);
    await Promise.all(this.seats.ready().map((seat) => this.bringToSeal(seat, response.generation, marker)));
    return response;
  }

  /** A key sealed under the newest generation: a host that is shown it must load that generation. */
  private async sealMarker(host: HostProcess): Promise<BoundKey | undefined> {
    const binding = {
      objectId: 'seal-marker',
      version: 1,
      tenant: 'aegis',
      spec: 'aes-256',
      usage: ['encrypt'],
      exportable: false,
    } as const;
    try {
      const created = (await this.submit(CALL_NUMBERS.get('generateKey') as number, { binding }, host)) as RootCalls['generateKey'][1];
      return { binding, reference: created.reference };
    } catch {
      return undefined;
    }
  }

  private async bringToSeal(seat: Seat, generation: number, marker: BoundKey | undefined): Promise<void> {
    const { process } = seat;
    if (process === undefined) return;
    try {
      if (marker !== undefined) await this.submit(CALL_NUMBERS.get('rewrapReference') as number, { key: marker }, process);
      const description = (await this.submit(DESCRIBE_JOB, undefined, process)) as RootDescription;
      if (this.seats.redescribe(seat, process, description) && (description.sealGeneration ?? 0) >= generation) return;
    } catch {
      // A host that can't say which seal it uses is replaced; the new process reads the seal anew.
    }
    await this.seats.replace(seat, process, this.limits.callTimeoutMs);
  }

  async health(): Promise<RootHealth> {
    if (this.closing !== undefined) return { state: 'unavailable', detail: 'closed' };
    const ready = this.seats.ready();
    if (ready.length === 0) {
      const { message, next } = this.noHost();
      return { state: 'unavailable', detail: next === undefined ? message : `${message}; ${next}` };
    }
    const reports = await Promise.all(ready.map(({ process }) => this.hostHealth(process as HostProcess)));
    return this.sumUp(reports);
  }

  private async hostHealth(host: HostProcess): Promise<RootHealth> {
    const started = performance.now();
    try {
      const health = (await this.submit(HEALTH_JOB, undefined, host)) as RootHealth;
      return { latencyMs: performance.now() - started, ...health };
    } catch (error) {
      const { code, message } = toFault(error);
      return { state: code === 'limit-exceeded' ? 'degraded' : 'unavailable', detail: message };
    }
  }

  private sumUp(reports: readonly RootHealth[]): RootHealth {
    const all = this.seats.count;
    const working = reports.filter(({ state }) => state !== 'unavailable');
    const details = [...new Set(reports.flatMap(({ detail }) => (detail === undefined ? [] : [detail])))];
    const { standing, lastErrors } = this.seats;
    if (working.length < all) details.push(...lastErrors);
    if (standing?.next !== undefined) details.push(standing.next);
    if (working.length < all) details.unshift(`${working.length} of ${all} hosts are ready`);
    const latencies = working.flatMap(({ latencyMs }) => (latencyMs === undefined ? [] : [latencyMs]));
    const whole = working.length === all && working.every(({ state }) => state === 'ready');
    return {
      state: whole ? 'ready' : working.length > 0 ? 'degraded' : 'unavailable',
      ...(details.length === 0 ? {} : { detail: details.join('; ') }),
      ...(latencies.length === 0 ? {} : { latencyMs: Math.max(...latencies) }),
    };
  }

  close(): Promise<void> {
    this.closing ??= this.closeNow();
    return this.closing;
  }

  private async closeNow(): Promise<void> {
    this.seats.close();
    const end = performance.now() + this.limits.callTimeoutMs;
    while (this.seats.inFlight > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    await within(this.seats.stop(LEAVE_MS), LEAVE_MS * 3);
  }
}

const pending = (number: number, request: unknown): { promise: Promise<unknown>; job: Job } => {
  let settle: Pick<Job, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<unknown>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, job: { number, request, moved: false, ...(settle as Pick<Job, 'resolve' | 'reject'>) } };
};

/** Opens a root in hosts that run the given program. */
export const makeHostedRoot = async (parts: HostedRootParts): Promise<HostedRoot> => {
  const hosts = new Hosts(parts);
  await hosts.open(parts.options.lazy === true);
  return hosts;
};
