import { FRAME_HEADER_BYTES, toFrame } from '../wire/frames.js';

/**
 * Answers the door can give by itself: C_GetSessionInfo as the service last gave it, until a call passes that may change it;
 * and C_GenerateRandom from bytes the service has handed over for that session. Both are asked thousands of times a second
 * by some applications, and neither tells or does anything that the service has not just allowed.
 */
const CALL = { sessionInfo: 13, random: 64 } as const;
/** Initialize, Finalize, Open/Close/CloseAll session, Login, Logout, LoginUser: what changes sessions or who acts in them. */
const CHANGING: ReadonlySet<number> = new Set([1, 2, 10, 11, 12, 18, 19, 66]);
const SESSION_INFO_BYTES = 17;
const RANDOM_BYTES = 23;
const SESSION_AT = { sessionInfo: 9, random: 11 } as const;
/** "u" and "ufy" with their lengths. */
const SIGNATURES = { sessionInfo: Buffer.from('0000000175', 'hex'), random: Buffer.from('00000003756679', 'hex') } as const;
const RANDOM_REPLY = Buffer.from('00000040000000026179' + '01', 'hex');
const MAX_SESSIONS = 256;
/** Random bytes wait no longer than this for their reader, ms. */
const POOL_MS = 1_000;
const ULONG_BYTES = 8;

interface Pool {
  readonly bytes: Buffer;
  readonly since: number;
  at: number;
}

export class ReadyAnswers {
  /** Response bodies by session. */
  readonly #infos = new Map<string, Buffer>();
  readonly #pools = new Map<string, Pool>();
  /** Requests for session info under way: code → session and epoch. */
  readonly #asked = new Map<number, { readonly session: string; readonly epoch: number }>();
  #changing = new Set<number>();
  #epoch = 0;

  /** The answer to a request, or undefined: then it is for the service, and this notes what follows from it. */
  answer(code: number, body: Buffer): Buffer | undefined {
    if (body.length < ULONG_BYTES) return undefined;
    const call = body.readUInt32BE(0);
    if (call === CALL.random) return this.#random(code, body);
    if (call === CALL.sessionInfo) return this.#sessionInfo(code, body);
    if (CHANGING.has(call)) {
      this.#changing.add(code);
      this.forget();
    }
    return undefined;
  }

  #sessionInfo(code: number, body: Buffer): Buffer | undefined {
    if (body.length !== SESSION_INFO_BYTES || body.compare(SIGNATURES.sessionInfo, 0, 5, 4, 9) !== 0) return undefined;
    const session = body.toString('latin1', SESSION_AT.sessionInfo);
    const known = this.#infos.get(session);
    if (known !== undefined) return toFrame(code, known);
    if (this.#changing.size === 0 && this.#asked.size < MAX_SESSIONS) this.#asked.set(code, { session, epoch: this.#epoch });
    return undefined;
  }

  #random(code: number, body: Buffer): Buffer | undefined {
    if (body.length !== RANDOM_BYTES || body.compare(SIGNATURES.random, 0, 7, 4, 11) !== 0) return undefined;
    const session = body.toString('latin1', SESSION_AT.random, SESSION_AT.random + ULONG_BYTES);
    const pool = this.#pools.get(session);
    if (pool === undefined) return undefined;
    const wanted = body.readUInt32BE(SESSION_AT.random + ULONG_BYTES);
    if (wanted === 0 || wanted > pool.bytes.length - pool.at || Date.now() - pool.since > POOL_MS) {
      this.#drop(session);
      return undefined;
    }
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + RANDOM_REPLY.length + 4 + wanted);
    frame.writeUInt32BE(code, 0);
    frame.writeUInt32BE(0, 4);
    frame.writeUInt32BE(RANDOM_REPLY.length + 4 + wanted, 8);
    RANDOM_REPLY.copy(frame, FRAME_HEADER_BYTES);
    frame.writeUInt32BE(wanted, FRAME_HEADER_BYTES + RANDOM_REPLY.length);
    pool.bytes.copy(frame, FRAME_HEADER_BYTES + RANDOM_REPLY.length + 4, pool.at, pool.at + wanted);
    // Given once, and gone.
    pool.bytes.fill(0, pool.at, pool.at + wanted);
    pool.at += wanted;
    return frame;
  }

  /** A response on its way to the client. */
  response(code: number, body: Buffer): void {
    const asked = this.#asked.get(code);
    if (asked !== undefined) {
      this.#asked.delete(code);
      const good = body.length > 4 && body.readUInt32BE(0) === CALL.sessionInfo;
      if (good && asked.epoch === this.#epoch && this.#infos.size < MAX_SESSIONS) this.#infos.set(asked.session, Buffer.from(body));
      return;
    }
    if (this.#changing.delete(code)) this.forget();
  }

  offer(body: Buffer): void {
    if (body.length <= ULONG_BYTES || this.#changing.size > 0 || this.#pools.size >= MAX_SESSIONS) return;
    const session = body.toString('latin1', 0, ULONG_BYTES);
    this.#drop(session);
    this.#pools.set(session, { bytes: Buffer.from(body.subarray(ULONG_BYTES)), since: Date.now(), at: 0 });
  }

  #drop(session: string): void {
    this.#pools.get(session)?.bytes.fill(0);
    this.#pools.delete(session);
  }

  /** Sessions or logins may change, or the service is gone: nothing is known any more. */
  forget(): void {
    this.#epoch += 1;
    this.#infos.clear();
    for (const session of [...this.#pools.keys()]) this.#drop(session);
  }
  /** A request goes to the service a second time: what it may change is unknown again. */
  repeated(code: number, body: Buffer): void {
    if (body.length < 4 || !CHANGING.has(body.readUInt32BE(0))) return;
    this.#changing.add(code);
    this.forget();
  }
  /** The service is gone and with it what was under way. */
  lost(): void {
    this.#asked.clear();
    this.#changing.clear();
    this.forget();
  }
}
