import { createHash, randomBytes } from 'node:crypto';
import type { RootRequest, RootResponse } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type HashName, type KeySpec } from '../vocabulary/index.js';
import { decrypt, encrypt, encryptionKey, tagBytesOf, toIv } from './cipher.js';
import { ckrOf } from './ck-error.js';
import { CKR } from './constants.js';
import type { Handle } from './cryptoki.js';
import type { OpenKey } from './key-store.js';
import { cipherMechanism, HASH_MECHANISMS } from './mechanisms.js';
import { type Context, initialise, toInput } from './session-call.js';
import { decodeSignature, encodeSignature, mac, macBytesOf, macMatches, macMechanism, sign, signatureForm, verify } from './signature.js';

type Begin = RootRequest<'beginOperation'>;
type Finished = RootResponse<'finishOperation'>;

/** Streams open at once in one host, idle time after which one is dropped, and what a collected one may hold. */
const MAX_STREAMS = 64;
const IDLE_MS = 5 * 60_000;
const SWEEP_MS = 30_000;
export const MAX_INPUT_BYTES = 16 * 1024 * 1024;
const MAX_COLLECTED_BYTES = MAX_INPUT_BYTES;
const MAX_ALL_COLLECTED_BYTES = 128 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);
const FINAL_BYTES = 1_024;

interface Running {
  readonly update: (data: Buffer) => Buffer;
  readonly finish: (signature: Uint8Array | undefined) => Finished | Promise<Finished>;
  readonly close: () => void;
  readonly generation: number;
  usedMs: number;
}

const unknown = (): RootFault =>
  new RootFault(
    'operation-unknown',
    'this multi-part operation is not known: finished, expired, or lost with its session',
    'Begin it again.',
  );

/** Multi-part operations. In the module where it can; otherwise the parts are collected and the operation runs at the end. */
export class Multipart {
  readonly #context: Context;
  readonly #running = new Map<string, Running>();
  readonly #sweeper: NodeJS.Timeout;
  #collected = 0;

  constructor(context: Context) {
    this.#context = context;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  begin(request: Begin): Promise<RootResponse<'beginOperation'>> {
    const { connection, keys } = this.#context;
    const { key } = request;
    return connection.run(
      () => {
        const { running, iv } = this.#start(request);
        const operation = randomBytes(16).toString('hex');
        this.#running.set(operation, running);
        return { operation, ...(iv === undefined ? {} : { iv }) };
      },
      {
        repeatable: true,
        stale: () => {
          if (key !== undefined && 'reference' in key) keys.forget(key);
        },
      },
    );
  }

  update({ operation, data }: RootRequest<'updateOperation'>): RootResponse<'updateOperation'> {
    const running = this.#get(operation);
    running.usedMs = Date.now();
    return this.#guarded(operation, running, () => ({ output: data.length === 0 ? EMPTY : running.update(toInput(data)) }));
  }

  async finish({ operation, data, signature }: RootRequest<'finishOperation'>): Promise<Finished> {
    const running = this.#get(operation);
    const head = data === undefined || data.length === 0 ? EMPTY : this.#guarded(operation, running, () => running.update(toInput(data)));
    this.#running.delete(operation);
    try {
      const finished = await running.finish(signature);
      return head.length === 0 ? finished : { ...finished, output: Buffer.concat([head, finished.output]) };
    } catch (error) {
      throw toStreamFault(error);
    } finally {
      running.close();
    }
  }

  cancel({ operation }: RootRequest<'cancelOperation'>): Record<never, never> {
    const running = this.#get(operation);
    this.#running.delete(operation);
    running.close();
    return {};
  }

  close(): void {
    clearInterval(this.#sweeper);
    for (const running of this.#running.values()) running.close();
    this.#running.clear();
  }

  #get(operation: string): Running {
    const running = this.#running.get(operation);
    if (running === undefined) throw unknown();
    if (running.generation === this.#context.connection.generation) return running;
    // The session it ran in is gone.
    this.#running.delete(operation);
    running.close();
    throw unknown();
  }

  /** An error ends the operation: what the module has swallowed of the data cannot be told. */
  #guarded<T>(operation: string, running: Running, use: () => T): T {
    try {
      return use();
    } catch (error) {
      this.#running.delete(operation);
      running.close();
      throw toStreamFault(error);
    }
  }

  #sweep(): void {
    const before = Date.now() - IDLE_MS;
    for (const [operation, running] of this.#running)
      if (running.usedMs < before || running.generation !== this.#context.connection.generation) {
        this.#running.delete(operation);
        running.close();
      }
  }

  #start(request: Begin): { readonly running: Running; readonly iv?: Buffer } {
    switch (request.kind) {
      case 'encrypt':
        return this.#startEncrypt(request);
      case 'decrypt':
        return { running: this.#startDecrypt(request) };
      case 'sign':
      case 'verify':
        return { running: this.#startSignature(request) };
      case 'mac':
      case 'macVerify':
        return { running: this.#startMac(request) };
      case 'digest':
        return { running: this.#startDigest(request.hash ?? 'sha256') };
    }
  }

  #startEncrypt(request: Begin): { readonly running: Running; readonly iv?: Buffer } {
    const { key, algorithm } = need(request);
    const { connection, plans } = this.#context;
    const { cryptoki } = connection;
    const tagBytes = tagBytesOf(algorithm, request.tagLength);
    const used = encryptionKey(this.#context, key);
    const iv = toIv(this.#context, algorithm, request.iv);
    const fresh = request.iv === undefined && iv.length > 0 ? { iv } : {};
    const toFinished = (output: Buffer): Finished =>
      tagBytes === 0
        ? { output }
        : { output: output.subarray(0, output.length - tagBytes), tag: output.subarray(output.length - tagBytes) };
    if (plans.algorithms.get(algorithm)?.streams !== true)
      return {
        ...fresh,
        running: this.#collect(async (data) => {
          const { ciphertext, tag } = await encrypt(this.#context, { ...request, key, algorithm, iv, plaintext: data });
          return { output: Buffer.from(ciphertext), ...(tag === undefined ? {} : { tag }) };
        }),
      };
    const mechanism = cipherMechanism(algorithm, iv, request, tagBytes);
    const session = this.#openStream((on) => cryptoki.C_EncryptInit(on, mechanism, used.handle), used.opened);
    let total = 0;
    return {
      ...fresh,
      running: this.#stream(session, used.opened, {
        update: (data) => {
          total += data.length;
          return Buffer.from(cryptoki.C_EncryptUpdate(session, data, Buffer.alloc(data.length + FINAL_BYTES)));
        },
        finish: () =>
          toFinished(Buffer.from(cryptoki.C_EncryptFinal(session, Buffer.alloc(Math.min(total, MAX_INPUT_BYTES) + FINAL_BYTES)))),
      }),
    };
  }

  /** AEAD plaintext is held back until the tag has been checked, so nothing unverified is ever given out (SP 800-38D §7.2). */
  #startDecrypt(request: Begin): Running {
    const { key, algorithm } = need(request);
    if (!('reference' in key)) throw new RootFault('invalid-argument', 'decrypt needs a bound key');
    const { connection, keys, plans } = this.#context;
    const { cryptoki } = connection;
    const tagBytes = tagBytesOf(algorithm, request.tagLength);
    const opened = keys.openSecret(key);
    if (tagBytes > 0 || plans.algorithms.get(algorithm)?.streams !== true)
      return this.#collect(async (data, signature) => {
        const { plaintext } = await decrypt(this.#context, { ...request, key, algorithm, ...toSealed(data, signature, tagBytes) });
        return { output: Buffer.from(plaintext) };
      });
    const mechanism = cipherMechanism(algorithm, Buffer.from(request.iv ?? []), request, 0);
    const session = this.#openStream((on) => cryptoki.C_DecryptInit(on, mechanism, opened.handle), opened);
    return this.#stream(session, opened, {
      update: (data) => Buffer.from(cryptoki.C_DecryptUpdate(session, data, Buffer.alloc(data.length + FINAL_BYTES))),
      finish: () => asDecryption(() => ({ output: Buffer.from(cryptoki.C_DecryptFinal(session, Buffer.alloc(FINAL_BYTES))) })),
    });
  }

  #startSignature(request: Begin): Running {
    const { key, algorithm } = need(request);
    const { connection, keys, plans } = this.#context;
    const { cryptoki } = connection;
    const spec: KeySpec = 'reference' in key ? key.binding.spec : key.spec;
    const { kind, encoding } = request;
    const form = signatureForm(this.#context, { ...request, algorithm, data: EMPTY });
    const opened = kind === 'sign' && 'reference' in key ? keys.openSecret(key) : undefined;
    const whole = async (data: Buffer, signature: Uint8Array | undefined, prehashed = false): Promise<Finished> => {
      const call = { ...request, algorithm, data, prehashed };
      if ('reference' in key && kind === 'sign') return { output: Buffer.from((await sign(this.#context, { ...call, key })).signature) };
      return { output: EMPTY, valid: (await verify(this.#context, { ...call, key, signature: needSignature(signature) })).valid };
    };
    const { hash } = ALGORITHMS[algorithm];
    if (form.digest && hash !== undefined) return this.#hashOutside(hash, (digest, given) => whole(digest, given, true));
    if (plans.algorithms.get(algorithm)?.streams !== true || request.anySalt === true)
      return this.#collect((data, given) => whole(data, given));
    if (opened !== undefined) {
      const session = this.#openStream((on) => cryptoki.C_SignInit(on, form.mechanism, opened.handle), opened);
      return this.#stream(session, opened, {
        update: (data) => {
          cryptoki.C_SignUpdate(session, data);
          return EMPTY;
        },
        finish: () => ({
          output: encodeSignature(algorithm, Buffer.from(cryptoki.C_SignFinal(session, Buffer.alloc(FINAL_BYTES))), encoding),
        }),
      });
    }
    const handle = keys.openPublic(spec, keys.publicKeyOf(key).spki);
    const session = this.#openStream((on) => cryptoki.C_VerifyInit(on, form.mechanism, handle), undefined);
    return this.#stream(session, undefined, {
      update: (data) => {
        cryptoki.C_VerifyUpdate(session, data);
        return EMPTY;
      },
      finish: (signature) => {
        const fixed = decodeSignature(algorithm, spec, needSignature(signature), encoding);
        return { output: EMPTY, valid: fixed !== undefined && verifyFinal(() => cryptoki.C_VerifyFinal(session, fixed)) };
      },
    });
  }

  #startMac(request: Begin): Running {
    const { key, algorithm } = need(request);
    if (!('reference' in key)) throw new RootFault('invalid-argument', 'a MAC needs a bound key');
    const { connection, keys, plans } = this.#context;
    const { cryptoki } = connection;
    const opened = keys.openSecret(key);
    const conclude = (made: Buffer, given: Uint8Array | undefined): Finished =>
      request.kind === 'mac' ? { output: made } : { output: EMPTY, valid: macMatches(made, needSignature(given)) };
    if (plans.algorithms.get(algorithm)?.streams !== true)
      return this.#collect(async (data, given) => conclude(Buffer.from((await mac(this.#context, { key, algorithm, data })).mac), given));
    const session = this.#openStream((on) => cryptoki.C_SignInit(on, macMechanism(algorithm), opened.handle), opened);
    return this.#stream(session, opened, {
      update: (data) => {
        cryptoki.C_SignUpdate(session, data);
        return EMPTY;
      },
      finish: (given) => conclude(Buffer.from(cryptoki.C_SignFinal(session, Buffer.alloc(macBytesOf(algorithm)))), given),
    });
  }

  #startDigest(hash: HashName): Running {
    const { cryptoki } = this.#context.connection;
    const session = this.#openStream((on) => cryptoki.C_DigestInit(on, { mechanism: HASH_MECHANISMS[hash].digest }), undefined);
    return this.#stream(session, undefined, {
      update: (data) => {
        cryptoki.C_DigestUpdate(session, data);
        return EMPTY;
      },
      finish: () => ({ output: Buffer.from(cryptoki.C_DigestFinal(session, Buffer.alloc(64))) }),
    });
  }

  /** A session of its own with the operation begun on it. */
  #openStream(init: (session: Handle) => void, key: OpenKey | undefined): Handle {
    const { connection } = this.#context;
    const session = connection.openExtra(MAX_STREAMS);
    try {
      initialise(() => init(session));
    } catch (error) {
      connection.closeExtra(session, connection.generation);
      throw error;
    }
    if (key !== undefined) key.pins += 1;
    return session;
  }

  #stream(session: Handle, key: OpenKey | undefined, steps: Pick<Running, 'update' | 'finish'>): Running {
    const { connection, keys } = this.#context;
    const { generation } = connection;
    let open = true;
    return {
      ...steps,
      generation,
      usedMs: Date.now(),
      close: () => {
        if (!open) return;
        open = false;
        connection.closeExtra(session, generation);
        if (key !== undefined) keys.unpin(key);
      },
    };
  }

  /** For mechanisms that sign a digest: the parts are public data and are hashed here, without a bound on their size. */
  #hashOutside(hash: HashName, run: (digest: Buffer, signature: Uint8Array | undefined) => Promise<Finished>): Running {
    const digest = createHash(hash);
    return {
      generation: this.#context.connection.generation,
      usedMs: Date.now(),
      update: (data) => {
        digest.update(data);
        return EMPTY;
      },
      finish: (signature) => run(digest.digest(), signature),
      close: () => undefined,
    };
  }

  #collect(run: (data: Buffer, signature: Uint8Array | undefined) => Promise<Finished>): Running {
    if (this.#running.size >= MAX_STREAMS * 4) throw new RootFault('limit-exceeded', 'too many multi-part operations are open');
    let parts: Buffer[] = [];
    let size = 0;
    return {
      generation: this.#context.connection.generation,
      usedMs: Date.now(),
      update: (data) => {
        if (size + data.length > MAX_COLLECTED_BYTES || this.#collected + data.length > MAX_ALL_COLLECTED_BYTES)
          throw new RootFault(
            'limit-exceeded',
            `this module needs the data in one piece, and of that at most ${MAX_COLLECTED_BYTES} bytes`,
            'Use envelope encryption, or hash first and sign the digest.',
          );
        size += data.length;
        this.#collected += data.length;
        parts.push(Buffer.from(data));
        return EMPTY;
      },
      finish: (signature) => run(Buffer.concat(parts), signature),
      close: () => {
        this.#collected -= size;
        size = 0;
        for (const part of parts) part.fill(0);
        parts = [];
      },
    };
  }
}

const need = (request: Begin): { readonly key: NonNullable<Begin['key']>; readonly algorithm: NonNullable<Begin['algorithm']> } => {
  const { key, algorithm } = request;
  if (key === undefined || algorithm === undefined) throw new RootFault('invalid-argument', `${request.kind} needs a key and an algorithm`);
  return { key, algorithm };
};

const needSignature = (signature: Uint8Array | undefined): Uint8Array => {
  if (signature === undefined) throw new RootFault('invalid-argument', 'the signature or MAC to check is missing');
  return signature;
};

/** The tag may come apart, or as the last bytes of the data. */
const toSealed = (
  data: Buffer,
  signature: Uint8Array | undefined,
  tagBytes: number,
): { readonly ciphertext: Buffer; readonly tag?: Uint8Array } => {
  if (tagBytes === 0) return { ciphertext: data };
  if (signature !== undefined) {
    if (signature.length !== tagBytes) throw new RootFault('invalid-argument', `the tag must have ${tagBytes} bytes`);
    return { ciphertext: data, tag: signature };
  }
  if (data.length < tagBytes) throw new RootFault('decryption-failed', 'the ciphertext does not decrypt');
  return { ciphertext: data.subarray(0, data.length - tagBytes), tag: data.subarray(data.length - tagBytes) };
};

const verifyFinal = (check: () => boolean): boolean => {
  try {
    return check();
  } catch (error) {
    const rv = ckrOf(error);
    if (rv === CKR.SIGNATURE_INVALID || rv === CKR.SIGNATURE_LEN_RANGE) return false;
    throw error;
  }
};

/** Bad padding and friends; a module in real trouble says so with another code. */
const asDecryption = (finish: () => Finished): Finished => {
  try {
    return finish();
  } catch (error) {
    const rv = ckrOf(error);
    if (rv === CKR.GENERAL_ERROR || rv === CKR.FUNCTION_FAILED || rv === CKR.ENCRYPTED_DATA_INVALID || rv === CKR.ENCRYPTED_DATA_LEN_RANGE)
      throw new RootFault('decryption-failed', 'the ciphertext does not decrypt');
    throw error;
  }
};

/** The session of a stream cannot be healed: its operation is lost (contract of multi-part operations). */
const toStreamFault = (error: unknown): unknown => {
  const rv = ckrOf(error);
  if (rv === undefined || error instanceof RootFault) return error;
  if (rv === CKR.DATA_LEN_RANGE || rv === CKR.DATA_INVALID) return new RootFault('invalid-argument', 'the module refuses the data');
  return unknown();
};
