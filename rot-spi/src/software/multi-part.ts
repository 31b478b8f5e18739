import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import type { RootRequest, RootResponse, VerificationKey } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm } from '../vocabulary/index.js';
import { freshIv, makeOpener, makeProtector, undecryptable } from './ciphers.js';
import { macMatches, makeMac } from './macs.js';
import { type OpenedKey, secretOf } from './opened-keys.js';
import { signInParts, verifyInParts } from './signatures.js';

type Begin = RootRequest<'beginOperation'>;
type Finished = RootResponse<'finishOperation'>;

/** One operation under way. `held` is what it keeps in memory until the end, bytes. */
interface Operation {
  readonly update: (data: Uint8Array) => Buffer;
  readonly finish: (signature: Uint8Array | undefined) => Finished | Promise<Finished>;
  readonly held: () => number;
  readonly discard: () => void;
}

export interface MultiPart {
  readonly begin: (request: Begin) => RootResponse<'beginOperation'>;
  readonly update: (request: RootRequest<'updateOperation'>) => RootResponse<'updateOperation'>;
  readonly finish: (request: RootRequest<'finishOperation'>) => Promise<Finished>;
  readonly cancel: (request: RootRequest<'cancelOperation'>) => Record<never, never>;
  readonly size: () => number;
  readonly close: () => void;
}

export interface MultiPartLimits {
  readonly maxOperations: number;
  /** An operation nobody has touched for this long is discarded. */
  readonly idleMs: number;
  /** Largest plaintext held back for one AEAD decryption, bytes. */
  readonly maxHeldBytes: number;
  /** The same over all operations. */
  readonly maxHeldTotalBytes: number;
}

const MULTI_PART_LIMITS: MultiPartLimits = {
  maxOperations: 4_096,
  idleMs: 300_000,
  maxHeldBytes: 33_554_432,
  maxHeldTotalBytes: 268_435_456,
};

const NOTHING = Buffer.alloc(0);
const nothingHeld = { held: () => 0, discard: () => undefined };

const need = (bytes: Uint8Array | undefined, what: string): Uint8Array => {
  if (bytes === undefined) throw new RootFault('invalid-argument', `finishing this operation needs the ${what}`);
  return bytes;
};

const encrypting = (key: OpenedKey, algorithm: Algorithm, iv: Uint8Array | undefined, request: Begin): Operation => {
  const cipher = makeProtector(secretOf(key), key.spec, algorithm, iv, request);
  return { ...nothingHeld, update: (data) => cipher.update(data), finish: () => cipher.finish() };
};

const decrypting = (key: OpenedKey, algorithm: Algorithm, request: Begin): Operation => {
  const decipher = makeOpener(secretOf(key), key.spec, algorithm, request);
  return { ...nothingHeld, update: (data) => decipher.update(data), finish: () => ({ output: decipher.finish() }) };
};

/** SP 800-38D §7.2: plaintext may not be released before the tag is verified, so it is held until then. */
const decryptingAead = (key: OpenedKey, algorithm: Algorithm, request: Begin, limits: MultiPartLimits): Operation => {
  const decipher = makeOpener(secretOf(key), key.spec, algorithm, request);
  const expected = request.tagLength ?? ALGORITHMS[algorithm].tagLength ?? 16;
  let parts: Buffer[] = [];
  let held = 0;
  const discard = (): void => {
    for (const part of parts) part.fill(0);
    parts = [];
    held = 0;
  };
  return {
    held: () => held,
    discard,
    update: (data) => {
      if (held + data.length > limits.maxHeldBytes)
        throw new RootFault('limit-exceeded', `an authenticated decryption holds at most ${limits.maxHeldBytes} bytes`);
      parts.push(decipher.update(data));
      held += data.length;
      return NOTHING;
    },
    finish: (signature) => {
      const tag = need(signature, 'tag');
      if (tag.length !== expected) throw undecryptable();
      return { output: Buffer.concat([...parts, decipher.finish(tag)]) };
    },
  };
};

const macing = (key: OpenedKey, algorithm: Algorithm, checking: boolean): Operation => {
  const mac = makeMac(secretOf(key), algorithm);
  const absorb = (data: Uint8Array): Buffer => {
    mac.update(data);
    return NOTHING;
  };
  return {
    ...nothingHeld,
    update: absorb,
    finish: (signature) => {
      if (!checking) return { output: mac.finish() };
      const given = need(signature, 'MAC to check');
      return { output: NOTHING, valid: macMatches(mac.finish(), given) };
    },
  };
};

const signing = (key: OpenedKey, algorithm: Algorithm, request: Begin): Operation => {
  const state = signInParts(key, algorithm, request);
  const update = (data: Uint8Array): Buffer => {
    state.update(data);
    return NOTHING;
  };
  return { ...nothingHeld, update, finish: async () => ({ output: await state.sign() }) };
};

const verifying = (publicKey: KeyObject, algorithm: Algorithm, request: Begin): Operation => {
  const state = verifyInParts(publicKey, algorithm, request);
  const update = (data: Uint8Array): Buffer => {
    state.update(data);
    return NOTHING;
  };
  return {
    ...nothingHeld,
    update,
    finish: (signature) => ({ output: NOTHING, valid: state.verify(need(signature, 'signature to check')) }),
  };
};

const digesting = (hash: string): Operation => {
  const state = createHash(hash);
  const update = (data: Uint8Array): Buffer => {
    state.update(data);
    return NOTHING;
  };
  return { ...nothingHeld, update, finish: () => ({ output: state.digest() }) };
};

export interface KeySource {
  readonly open: (key: VerificationKey) => OpenedKey;
  readonly publicKey: (key: VerificationKey) => KeyObject;
}

const unknown = (): RootFault =>
  new RootFault(
    'operation-unknown',
    'there is no such operation under way',
    'It was finished, cancelled or idle for too long; begin it again.',
  );

/** Operations in parts: bounded in number, memory and idle time. Ids are 128 random bits and die with the process. */
export const makeMultiPart = (keys: KeySource, limits: MultiPartLimits = MULTI_PART_LIMITS, now: () => number = Date.now): MultiPart => {
  const operations = new Map<string, { readonly operation: Operation; touchedAt: number }>();
  let heldTotal = 0;

  const drop = (id: string): void => {
    const operation = operations.get(id)?.operation;
    if (operation === undefined) return;
    heldTotal -= operation.held();
    operation.discard();
    operations.delete(id);
  };
  const dropIdle = (): void => {
    for (const [id, { touchedAt }] of operations) if (now() - touchedAt > limits.idleMs) drop(id);
  };
  const sweep = setInterval(dropIdle, Math.max(1_000, limits.idleMs / 4));
  sweep.unref();

  const find = (id: string): Operation => {
    const entry = operations.get(id);
    if (entry === undefined) throw unknown();
    if (now() - entry.touchedAt > limits.idleMs) {
      drop(id);
      throw unknown();
    }
    entry.touchedAt = now();
    return entry.operation;
  };

  const start = (request: Begin, iv: Uint8Array | undefined): Operation => {
    const { key, algorithm } = request;
    if (request.kind === 'digest') return digesting(request.hash ?? 'sha256');
    if (key === undefined || algorithm === undefined)
      throw new RootFault('invalid-argument', `${request.kind} needs a key and an algorithm`);
    if (request.kind === 'verify') return verifying(keys.publicKey(key), algorithm, request);
    const opened = keys.open(key);
    if (request.kind === 'encrypt') return encrypting(opened, algorithm, iv, request);
    if (request.kind === 'sign') return signing(opened, algorithm, request);
    if (request.kind !== 'decrypt') return macing(opened, algorithm, request.kind === 'macVerify');
    const aead = ALGORITHMS[algorithm].tagLength !== undefined;
    return aead ? decryptingAead(opened, algorithm, request, limits) : decrypting(opened, algorithm, request);
  };

  const advance = (id: string, operation: Operation, data: Uint8Array): Buffer => {
    const before = operation.held();
    try {
      const output = operation.update(data);
      heldTotal += operation.held() - before;
      if (operation.held() > before && heldTotal > limits.maxHeldTotalBytes)
        throw new RootFault('limit-exceeded', 'too much is held for authenticated decryptions', 'Finish some, and try again.');
      return output;
    } catch (error) {
      drop(id);
      throw error;
    }
  };

  return {
    begin: (request) => {
      if (operations.size >= limits.maxOperations) dropIdle();
      if (operations.size >= limits.maxOperations)
        throw new RootFault(
          'limit-exceeded',
          `${limits.maxOperations} operations in parts are under way`,
          'Finish or cancel some, and try again.',
        );
      const fresh = request.kind === 'encrypt' && request.algorithm !== undefined ? freshIv(request.algorithm) : undefined;
      const iv = request.iv ?? fresh;
      const operation = start(request, iv);
      const id = randomBytes(16).toString('hex');
      operations.set(id, { operation, touchedAt: now() });
      return { operation: id, ...(iv === undefined || request.kind !== 'encrypt' ? {} : { iv }) };
    },
    update: ({ operation, data }) => ({ output: advance(operation, find(operation), data) }),
    finish: async ({ operation: id, data, signature }) => {
      const operation = find(id);
      try {
        const head = data === undefined ? NOTHING : advance(id, operation, data);
        const rest = await operation.finish(signature);
        return head.length === 0 ? rest : { ...rest, output: Buffer.concat([head, rest.output]) };
      } catch (error) {
        throw error instanceof RootFault ? error : new RootFault('invalid-argument', 'the input does not end at a block');
      } finally {
        drop(id);
      }
    },
    cancel: ({ operation }) => {
      find(operation);
      drop(operation);
      return {};
    },
    size: () => operations.size,
    close: () => {
      clearInterval(sweep);
      for (const id of [...operations.keys()]) drop(id);
    },
  };
};
