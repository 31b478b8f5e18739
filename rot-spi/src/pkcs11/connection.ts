import { setTimeout as sleep } from 'node:timers/promises';
import type { Pkcs11RootConfig } from '../config.js';
import { RootFault, type RootFaultCode } from '../fault.js';
import { ckError, ckrOf, classOf, faultOf } from './ck-error.js';
import { CKF, CKR, returnName } from './constants.js';
import {
  acquireLibrary,
  type Cryptoki,
  type CryptokiSource,
  type Handle,
  type Library,
  reinitialiseLibrary,
  releaseLibrary,
} from './cryptoki.js';
import { logIn, type Pin, readPin } from './login.js';
import { type FoundSlot, findSlot, toWanted, type Wanted } from './slot.js';

const DEFAULT_SESSIONS = 8;
const DEFAULT_KEEP_ALIVE_MS = 20_000;
/** SoftHSM #757: right after start a token may be missing from the list for an instant. */
const SLOT_RETRIES_MS = [0, 50, 100, 200, 400] as const;
/** Waits before each attempt to bring a lost device back within one call; then the root says `unavailable`. */
const RECOVERY_WAITS_MS = [0, 200, 800] as const;
const DRAIN_MS = 2_000;
const RECOVERY_WINDOW_MS = 10_000;
const MAX_RECOVERIES_IN_WINDOW = 8;
const FIRST_BACK_OFF_MS = 1_000;
const LONGEST_BACK_OFF_MS = 30_000;
const MAX_WAITERS = 8_192;
const PING_BYTES = 16;

/** What an error may mean to a call, and whether it may be made again. */
export interface CallPolicy {
  /** Repeating it cannot do harm: no token object appears twice, no counter moves. */
  readonly repeatable: boolean;
  /** What a failure of the data itself is called. */
  readonly data?: RootFaultCode;
  /** The module may answer a general error to bad data (SoftHSM 2.6 does for a wrong GCM tag). */
  readonly suspectData?: boolean;
  /** Forget the handles this call used. */
  readonly stale?: () => void;
}

type State = 'ready' | 'down' | 'pin-rejected' | 'closed';

const isClean = (rv: number | undefined): boolean => rv === CKR.SIGNATURE_INVALID || rv === CKR.SIGNATURE_LEN_RANGE;

/**
 * One logged-in token: its sessions, and the way back when they die. Synchronous work runs on whatever session is free, one
 * operation each; objects that live only as long as a session (v2.40 §6.7.1) are made on `anchor`, which never runs anything long.
 */
export class Connection {
  readonly config: Pkcs11RootConfig;
  readonly cryptoki: Cryptoki;
  /** Handles of another generation are dead, or worse, mean other objects. */
  generation = 0;
  /** Called after every new log-in, before anybody else may use the token. Throws when it is not the token it was. */
  onOpen: (() => void) | undefined;
  readonly #library: Library;
  readonly #wanted: Wanted;
  readonly #pin: Pin;
  #limit: number;
  #found: FoundSlot;
  #anchor: Handle | undefined;
  #free: Handle[] = [];
  #opened = 0;
  #extra = 0;
  #busy = 0;
  #waiters: { readonly give: (session: Handle) => void; readonly fail: (error: unknown) => void }[] = [];
  #state: State = 'down';
  #epoch = 0;
  #healing: Promise<void> | undefined;
  #backOffMs = FIRST_BACK_OFF_MS;
  #nextTryMs = 0;
  #recoveries: number[] = [];
  #why = 'the token is not open yet';
  #keepAlive: NodeJS.Timeout | undefined;

  private constructor(config: Pkcs11RootConfig, library: Library, wanted: Wanted, pin: Pin, found: FoundSlot) {
    this.config = config;
    this.cryptoki = library.cryptoki;
    this.#library = library;
    this.#wanted = wanted;
    this.#pin = pin;
    this.#found = found;
    const most = found.token.maxSessionCount;
    // 0 = no limit, 0xFFFFFFFF = not told (v2.40 §4.3); one session is the anchor.
    const room = most > 1 && most < 0xffff_ffff ? most - 1 : Number.POSITIVE_INFINITY;
    this.#limit = Math.max(1, Math.min(config.sessions ?? DEFAULT_SESSIONS, room));
  }

  static async open(config: Pkcs11RootConfig, source: CryptokiSource): Promise<Connection> {
    const wanted = toWanted(config.slot);
    const pin = await readPin(config);
    const { library, found } = await findTokenPatiently(config, source, wanted).catch((error: unknown) => {
      pin.value.zeroise();
      throw error;
    });
    try {
      const connection = new Connection(config, library, wanted, pin, found);
      connection.#openSessions();
      connection.#state = 'ready';
      return connection;
    } catch (error) {
      pin.value.zeroise();
      releaseLibrary(library);
      throw toOpenFault(error);
    }
  }

  get anchor(): Handle {
    if (this.#anchor === undefined) throw new RootFault('unavailable', this.#why);
    return this.#anchor;
  }
  get found(): FoundSlot {
    return this.#found;
  }
  get state(): State {
    return this.#state;
  }
  /** False on a token with room for one session only: asynchronous work has none to itself. */
  get concurrent(): boolean {
    return this.#limit > 0;
  }
  get why(): string {
    return this.#why;
  }

  startKeepAlive(): void {
    this.#keepAlive = setInterval(() => void this.#ping(), this.config.keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS).unref();
  }

  /** Runs `use` on a free session, all of it before this returns. */
  withSession<T>(use: (session: Handle) => T): T {
    const session = this.#free.pop() ?? this.#openSessionIfRoom();
    // With every session taken, the anchor serves: it never runs anything longer than this.
    if (session === undefined) return use(this.anchor);
    try {
      const result = use(session);
      this.#free.push(session);
      return result;
    } catch (error) {
      this.#giveBack(session, isClean(ckrOf(error)));
      throw error;
    }
  }

  /** Runs `use` on a session of its own while others run on theirs; waits for one when all are taken. */
  async withSessionAsync<T>(use: (session: Handle) => Promise<T>): Promise<T> {
    const session = this.#free.pop() ?? this.#openSessionIfRoom() ?? (await this.#waitForSession());
    const { generation } = this;
    this.#busy += 1;
    let clean = true;
    try {
      return await use(session);
    } catch (error) {
      clean = isClean(ckrOf(error));
      throw error;
    } finally {
      this.#busy -= 1;
      // A session of an earlier generation is closed already, and its number may by now be another session's.
      if (generation === this.generation) this.#giveBack(session, clean);
    }
  }

  /** A session outside the pool, for one multi-part operation. The caller gives it back with `closeExtra`. */
  openExtra(most: number): Handle {
    if (this.#extra >= most)
      throw new RootFault('limit-exceeded', `${most} multi-part operations are open already`, 'Finish or cancel some; idle ones expire.');
    const session = this.#openRaw();
    this.#extra += 1;
    return session;
  }
  /** Closing also ends whatever operation the session was in: v2.40 has no other way to cancel one. */
  closeExtra(session: Handle, generation: number): void {
    if (generation !== this.generation) return;
    this.#extra -= 1;
    this.#closeRaw(session);
  }

  /** Makes a call, heals what can be healed, makes it again where that is safe. */
  async run<T>(attempt: () => T | Promise<T>, policy: CallPolicy): Promise<T> {
    for (let round = 0; ; round += 1) {
      if (this.#state !== 'ready' || this.#epoch !== this.#library.epoch) await this.#comeBack();
      const { generation } = this;
      try {
        const result = attempt();
        return result instanceof Promise ? await result : result;
      } catch (error) {
        const rv = ckrOf(error);
        if (rv === undefined || error instanceof RootFault) throw error;
        await this.#heal(rv, round, policy, generation);
      }
    }
  }

  /** A real round trip. Throws when the token does not answer. */
  ping(): void {
    this.cryptoki.C_GenerateRandom(this.anchor, Buffer.alloc(PING_BYTES));
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    clearInterval(this.#keepAlive);
    this.#state = 'closed';
    this.#why = 'the root is closed';
    await this.#drain();
    if (this.#epoch === this.#library.epoch) this.#closeSessions();
    this.generation += 1;
    this.#pin.value.zeroise();
    releaseLibrary(this.#library);
  }

  /** Returns when the call may be made again; throws when it may not. */
  async #heal(rv: number, round: number, policy: CallPolicy, generation: number): Promise<void> {
    const kind = classOf(rv);
    if (kind === 'data' || kind === 'refusal' || kind === 'pin') throw faultOf(rv, policy.data);
    if (kind === 'handle' || kind === 'busy') {
      policy.stale?.();
      if (round > 0) throw faultOf(rv, policy.data);
      return;
    }
    if (generation !== this.generation && this.#state === 'ready') {
      // Somebody else has healed it meanwhile.
      if (round > 0 || !(policy.repeatable || kind === 'session')) throw faultOf(rv);
      return;
    }
    // NSS answers DEVICE_ERROR to the first signature of a process that does not match (no error code is set inside yet).
    const doubtful = rv === CKR.DEVICE_ERROR && policy.suspectData === true;
    if ((kind === 'ambiguous' || (doubtful && round === 0)) && this.#answers()) {
      // The token is well: the data is at fault, or this session was. One fresh session tells.
      if (round > 0 || !policy.repeatable) throw policy.suspectData ? faultOf(rv, policy.data) : faultOf(rv);
      return;
    }
    if (kind === 'session' && round === 0) await this.#once(() => this.#reopen());
    else await this.#recover(`the token failed (${returnName(rv)})`);
    if (round > (doubtful ? 1 : 0) || !(policy.repeatable || kind === 'session')) throw faultOf(rv);
  }

  #answers(): boolean {
    try {
      this.ping();
      return true;
    } catch {
      return false;
    }
  }

  /** Brings sessions or the library back before a call, unless the last try was too recent. */
  async #comeBack(): Promise<void> {
    if (this.#state === 'closed') throw new RootFault('unavailable', this.#why);
    if (this.#state === 'pin-rejected') throw new RootFault('pin-rejected', this.#why, 'Correct the PIN, then restart the root.');
    if (this.#state === 'ready') {
      // Another root of this process re-initialised the module: only our handles are gone.
      await this.#once(() => this.#reopen());
      return;
    }
    if (this.#healing === undefined && Date.now() < this.#nextTryMs)
      throw new RootFault('unavailable', this.#why, 'Check the HSM, its network and its client; the root tries again by itself.');
    await this.#recover(this.#why);
  }

  /** One healing at a time; everybody else waits for its outcome. */
  #once(heal: () => Promise<void>): Promise<void> {
    this.#healing ??= heal().finally(() => {
      this.#healing = undefined;
    });
    return this.#healing;
  }

  async #reopen(): Promise<void> {
    await this.#drain();
    try {
      if (this.#epoch === this.#library.epoch) this.#closeSessions();
      this.#openSessions();
      this.#state = 'ready';
    } catch (error) {
      this.#failed(error);
      await this.#reinitialise();
    }
  }

  #recover(why: string): Promise<void> {
    return this.#once(async () => {
      this.#state = 'down';
      this.#why = why;
      const now = Date.now();
      this.#recoveries = this.#recoveries.filter((at) => now - at < RECOVERY_WINDOW_MS);
      if (this.#recoveries.length >= MAX_RECOVERIES_IN_WINDOW) {
        // It comes back and fails again: re-initialising for every call would only hide that.
        this.#recoveries = [];
        throw this.#backOff();
      }
      this.#recoveries.push(now);
      await this.#drain();
      await this.#reinitialise();
    });
  }

  #backOff(): RootFault {
    this.#nextTryMs = Date.now() + this.#backOffMs;
    this.#backOffMs = Math.min(this.#backOffMs * 2, LONGEST_BACK_OFF_MS);
    return new RootFault('unavailable', this.#why, 'Check the HSM, its network and its client; the root tries again by itself.');
  }

  async #reinitialise(): Promise<void> {
    for (const waitMs of RECOVERY_WAITS_MS) {
      if (waitMs > 0) await sleep(waitMs);
      if ((this.#state as State) === 'closed') throw new RootFault('unavailable', this.#why);
      try {
        if (this.#epoch === this.#library.epoch || waitMs > 0) reinitialiseLibrary(this.#library);
        this.#found = findSlot(this.cryptoki, this.#wanted);
        this.#openSessions();
        this.#state = 'ready';
        this.#backOffMs = FIRST_BACK_OFF_MS;
        return;
      } catch (error) {
        this.#failed(error);
      }
    }
    throw this.#backOff();
  }

  /** Notes why; a refused PIN ends all trying. */
  #failed(error: unknown): void {
    this.#state = 'down';
    const fault = toOpenFault(error);
    this.#why = fault.message;
    if (fault.code !== 'pin-rejected') return;
    this.#state = 'pin-rejected';
    throw fault;
  }

  #openSessions(): void {
    this.generation += 1;
    this.#epoch = this.#library.epoch;
    this.#free = [];
    this.#opened = 0;
    this.#extra = 0;
    this.#anchor = this.#openRaw();
    logIn(this.cryptoki, this.#anchor, this.config.module, this.#found, this.#pin);
    this.onOpen?.();
  }

  #closeSessions(): void {
    for (const session of this.#free) this.#closeRaw(session);
    if (this.#anchor !== undefined) this.#closeRaw(this.#anchor);
    this.#free = [];
    this.#anchor = undefined;
  }

  #openRaw(): Handle {
    return this.cryptoki.C_OpenSession(this.#found.slot, CKF.SERIAL_SESSION | CKF.RW_SESSION);
  }
  #closeRaw(session: Handle): void {
    try {
      this.cryptoki.C_CloseSession(session);
    } catch {
      // Closed already, with the token or the library.
    }
  }
  #openSession(): Handle {
    const session = this.#openRaw();
    this.#opened += 1;
    return session;
  }

  #openSessionIfRoom(): Handle | undefined {
    if (this.#opened >= this.#limit) return undefined;
    try {
      return this.#openSession();
    } catch (error) {
      if (ckrOf(error) !== CKR.SESSION_COUNT) throw error;
      this.#limit = this.#opened;
      return undefined;
    }
  }

  #giveBack(session: Handle, clean: boolean): void {
    if (!clean) {
      // Whatever operation it was in ends with it.
      this.#closeRaw(session);
      this.#opened -= 1;
      const waiter = this.#waiters.shift();
      if (waiter === undefined) return;
      try {
        waiter.give(this.#openSession());
      } catch (error) {
        waiter.fail(error);
      }
      return;
    }
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#free.push(session);
    else waiter.give(session);
  }

  #waitForSession(): Promise<Handle> {
    if (this.#waiters.length >= MAX_WAITERS) throw new RootFault('limit-exceeded', 'too many calls wait for a session of the token');
    return new Promise((give, fail) => this.#waiters.push({ give, fail }));
  }

  /** Waits for running asynchronous calls, which hold module memory, and sends the waiting ones away. */
  async #drain(): Promise<void> {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.fail(ckError(CKR.SESSION_CLOSED));
    for (let waitedMs = 0; this.#busy > 0 && waitedMs < DRAIN_MS; waitedMs += 10) await sleep(10);
  }

  async #ping(): Promise<void> {
    if (this.#healing !== undefined) return;
    try {
      await this.run(
        () => {
          this.ping();
          // Idle sessions expire one by one on network HSMs.
          for (const session of this.#free) this.cryptoki.C_GenerateRandom(session, Buffer.alloc(PING_BYTES));
        },
        { repeatable: true },
      );
    } catch {
      // The next call reports it; health shows it.
    }
  }
}

const openLibrary = (config: Pkcs11RootConfig, source: CryptokiSource): Library => {
  try {
    return acquireLibrary(config, source);
  } catch (error) {
    throw toOpenFault(error);
  }
};

/**
 * A module may look at its tokens only in C_Initialize (SoftHSM), and miss one that another process writes at that moment
 * (softhsm/SoftHSMv2 #757): looking again means initialising again. No PIN is used here.
 */
const findTokenPatiently = async (
  config: Pkcs11RootConfig,
  source: CryptokiSource,
  wanted: Wanted,
): Promise<{ library: Library; found: FoundSlot }> => {
  let last: unknown;
  for (const waitMs of SLOT_RETRIES_MS) {
    if (waitMs > 0) await sleep(waitMs);
    const library = openLibrary(config, source);
    try {
      return { library, found: findSlot(library.cryptoki, wanted) };
    } catch (error) {
      releaseLibrary(library);
      last = error;
    }
  }
  throw toOpenFault(last);
};

export const toOpenFault = (error: unknown): RootFault => {
  if (error instanceof RootFault) return error;
  const rv = ckrOf(error);
  if (rv === undefined) return new RootFault('internal', 'the PKCS#11 back end failed while it opened the token');
  const fault = faultOf(rv);
  if (fault.code === 'pin-rejected') return fault;
  return new RootFault(
    'unavailable',
    `the token cannot be opened (${returnName(rv)})`,
    'Check the HSM, the module configuration and its `environment`; the vendor log tells more.',
  );
};
