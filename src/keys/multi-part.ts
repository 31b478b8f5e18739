import { randomBytes } from 'node:crypto';
import type { RootRequest } from '@aegis/rot-spi';
import { type Algorithm, HASHES, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  admission,
  type Change,
  fail,
  type Handlers,
  type LifecycleGroup,
  type ManagedObject,
  MULTI_PART_ROWS,
  type MultiPartKind,
  OPERATION_TABLE,
  type Planned,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { pinnedVersion, processVersion, protectVersion, requireUsage, specOf, targetOf, verificationKey } from './chosen-key.js';
import { checkPayload, cipherParameters, requireOwnIv } from './cipher-parameters.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { resourceOf } from './new-object.js';
import { signParameters } from './sign.js';
import type { UsageAccount } from './usage-accounting.js';

/** One running operation. It belongs to the principal that began it, on this node, in one host of one root. */
interface Running {
  readonly tenant: string;
  readonly principalId: string;
  readonly rootId: string;
  readonly rootOperation: string;
  readonly kind: MultiPartKind;
  readonly algorithm?: Algorithm;
  readonly objectId?: string;
  readonly version?: number;
  /** What the last part checks, where the caller gave it before. */
  signature?: Uint8Array;
  touchedAt: number;
  /** A part is being worked on; parts of one operation have an order. */
  busy: boolean;
}

const PURPOSE = { encrypt: 'cipher', decrypt: 'cipher', sign: 'signature', verify: 'signature', mac: 'mac', macVerify: 'mac' } as const;
const USAGE: Readonly<Record<Exclude<MultiPartKind, 'digest'>, KeyUsage>> = {
  encrypt: 'encrypt',
  decrypt: 'decrypt',
  sign: 'sign',
  verify: 'verify',
  mac: 'mac',
  macVerify: 'mac-verify',
};
const groupOf = (kind: MultiPartKind): LifecycleGroup => OPERATION_TABLE[MULTI_PART_ROWS[kind]].lifecycle;
const protects = (kind: MultiPartKind): boolean => groupOf(kind) === 'protect';

const unknown = () =>
  fail('operation-unknown', 'No such multi-part operation; it may have finished, expired or run on another node.', {
    field: 'operation',
    next: 'Begin the operation again.',
  });

export const makeMultiPartHandlers = (
  parts: KeyParts,
  account: UsageAccount,
): Pick<Handlers, 'begin-operation' | 'update-operation' | 'finish-operation' | 'cancel-operation'> => {
  const running = new Map<string, Running>();

  const drop = (id: string): void => {
    const entry = running.get(id);
    running.delete(id);
    if (entry !== undefined)
      void parts.roots.call(entry.rootId, 'cancelOperation', { operation: entry.rootOperation }).catch(() => undefined);
  };

  const expire = (now: number): void => {
    for (const [id, entry] of running) {
      if (!entry.busy && now - entry.touchedAt > parts.defaults.operationIdleMs) drop(id);
    }
  };

  const makeRoom = (principalKey: string, now: number): void => {
    const { maxOperations, maxOperationsPerPrincipal } = parts.defaults;
    expire(now);
    const own = [...running.values()].filter((r) => `${r.tenant}/${r.principalId}` === principalKey).length;
    if (own >= maxOperationsPerPrincipal || running.size >= maxOperations) {
      throw fail('overloaded', 'Too many multi-part operations are open.', {
        next: 'Finish or cancel some; an idle one expires by itself.',
        retryAfterMs: 1000,
      });
    }
  };

  /** The caller's own operation, marked busy. Another caller's id is unknown, not forbidden: it discloses nothing. */
  const claim = (call: AuthorizedCall, { operation: id, kind, key }: Claimed): Running => {
    expire(call.now);
    const entry = typeof id === 'string' ? running.get(id) : undefined;
    if (entry === undefined || entry.tenant !== call.tenant || entry.principalId !== call.principal.id) throw unknown();
    if ((kind !== undefined && kind !== entry.kind) || (key !== undefined && key !== entry.objectId)) throw unknown();
    if (entry.busy) {
      throw fail('conflict', 'Another part of this operation is being worked on.', {
        field: 'operation',
        next: 'Send the parts one after the other.',
      });
    }
    entry.busy = true;
    entry.touchedAt = call.now;
    return entry;
  };

  const beginDigest = async (call: AuthorizedCall<'begin-operation'>) => {
    const { hash } = call.request;
    if (hash === undefined || !HASHES.includes(hash)) throw badField('hash', 'A digest needs a hash.', `Choose from ${HASHES.join(', ')}.`);
    const rootId = await parts.roots.withPower('beginOperation');
    return { rootId, request: { kind: 'digest', hash } as const, changes: [] as readonly Change[] };
  };

  const beginKeyed = async (call: AuthorizedCall<'begin-operation'>, kind: Exclude<MultiPartKind, 'digest'>) => {
    const { request } = call;
    // The row's own lifecycle is `none`; what counts is the operation this one stands for.
    const loaded = targetOf(call, groupOf(kind));
    const { object } = loaded;
    requireUsage(object, USAGE[kind]);
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), PURPOSE[kind], request.algorithm);
    const pinned = pinnedVersion(request.version, request.key);
    const version = protects(kind) ? protectVersion(loaded, pinned) : processVersion(loaded, pinned);
    if (kind === 'encrypt' && request.iv !== undefined) requireOwnIv(object, call.plane);
    const parameters =
      PURPOSE[kind] === 'cipher'
        ? cipherParameters(algorithm, request)
        : PURPOSE[kind] === 'signature'
          ? signParameters(algorithm, request, undefined)
          : {};
    // Object-counted limits are paid at the start, so that opening many operations cannot outrun them; bytes as they come.
    const used: ReturnType<UsageAccount['consume']> = protects(kind)
      ? account.consume(object, { payloadBytes: 0, algorithm })
      : { changes: [] };
    const key = verificationKey(object, version);
    const rootRequest: RootRequest<'beginOperation'> = { kind, key, algorithm, ...parameters };
    return {
      rootId: object.rootId,
      request: rootRequest,
      changes: used.changes,
      ...(used.settled === undefined ? {} : { settled: used.settled }),
      algorithm,
      object,
      version: version.version,
    };
  };

  const begin = async (call: AuthorizedCall<'begin-operation'>): Promise<Planned<'begin-operation'>> => {
    const { kind } = call.request;
    if (!Object.hasOwn(MULTI_PART_ROWS, kind))
      throw badField('kind', 'No such kind.', `Choose from ${Object.keys(MULTI_PART_ROWS).join(', ')}.`);
    makeRoom(`${call.tenant}/${call.principal.id}`, call.now);
    const started: Started = kind === 'digest' ? await beginDigest(call) : await beginKeyed(call, kind);
    const made = await parts.roots.call(started.rootId, 'beginOperation', started.request);
    const id = randomBytes(18).toString('base64url');
    const named = {
      ...(started.algorithm === undefined ? {} : { algorithm: started.algorithm }),
      ...(started.object === undefined ? {} : { objectId: started.object.id as string }),
      ...(started.version === undefined ? {} : { version: started.version }),
    };
    running.set(id, {
      tenant: call.tenant,
      principalId: call.principal.id,
      rootId: started.rootId,
      rootOperation: made.operation,
      kind,
      ...named,
      ...keptSignature(call.request.signature),
      touchedAt: call.now,
      busy: false,
    });
    return {
      response: { operation: id, ...named, ...(made.iv === undefined ? {} : { iv: made.iv }) },
      changes: started.changes,
      detail: { kind, ...(started.algorithm === undefined ? {} : { algorithm: started.algorithm }) },
      compensate: async () => drop(id),
      ...(started.settled === undefined ? {} : { afterCommit: async () => started.settled?.() }),
    };
  };

  /**
   * The object is judged again at every part: a key revoked or destroyed in between makes no further output, however
   * long ago the operation began.
   */
  const stillAdmitted = async (call: AuthorizedCall, entry: Running): Promise<ManagedObject | undefined> => {
    if (entry.objectId === undefined) return undefined;
    const loaded = await parts.objects.load(entry.tenant, entry.objectId);
    const version = loaded?.versions.find((v) => v.version === entry.version);
    if (loaded === undefined || version === undefined || version.state === 'destroyed') throw fail('destroyed', 'The key is destroyed.');
    const refusal = admission(loaded.object, groupOf(entry.kind), false, call.now);
    if (refusal !== undefined) throw refusal;
    return loaded.object;
  };

  const consumeBytes = (object: ManagedObject | undefined, entry: Running, bytes: number): readonly Change[] =>
    object === undefined || !protects(entry.kind) || object.usageLimits?.unit !== 'byte' || bytes === 0
      ? []
      : account.consume(object, { payloadBytes: bytes, uses: 0 }).changes;

  /** Runs one part; any failure ends the operation, a half-fed one must not go on. */
  const part = async <T>(
    call: AuthorizedCall,
    claimed: Claimed,
    work: (entry: Running, object: ManagedObject | undefined) => Promise<T>,
  ): Promise<T> => {
    const entry = claim(call, claimed);
    try {
      return await work(entry, await stillAdmitted(call, entry));
    } catch (error) {
      drop(claimed.operation);
      throw error;
    } finally {
      entry.busy = false;
    }
  };

  const about = (entry: Running, object: ManagedObject | undefined) => ({
    ...(object === undefined ? {} : { resource: resourceOf(object) }),
    detail: {
      kind: entry.kind,
      ...(entry.algorithm === undefined ? {} : { algorithm: entry.algorithm }),
      ...(entry.version === undefined ? {} : { version: entry.version }),
    },
  });

  const update = async (call: AuthorizedCall<'update-operation'>): Promise<Planned<'update-operation'>> => {
    const { operation, data, signature } = call.request;
    return part(call, call.request, async (entry, object) => {
      await checkPayload(parts, entry.rootId, data, 'data');
      Object.assign(entry, keptSignature(signature));
      const changes = consumeBytes(object, entry, data.length);
      const { output } = await parts.roots.call(entry.rootId, 'updateOperation', { operation: entry.rootOperation, data });
      return { response: { output, ...owner(entry) }, changes, ...about(entry, object), compensate: async () => drop(operation) };
    });
  };

  const finish = async (call: AuthorizedCall<'finish-operation'>): Promise<Planned<'finish-operation'>> => {
    const { operation, data } = call.request;
    const planned = await part(call, call.request, async (entry, object) => {
      if (data !== undefined) await checkPayload(parts, entry.rootId, data, 'data');
      const { signature } = { ...entry, ...keptSignature(call.request.signature) };
      const changes = consumeBytes(object, entry, data?.length ?? 0);
      const made = await parts.roots.call(entry.rootId, 'finishOperation', {
        operation: entry.rootOperation,
        ...(data === undefined ? {} : { data }),
        ...(signature === undefined ? {} : { signature }),
      });
      const response = { ...made, ...owner(entry) };
      const { detail, ...rest } = about(entry, object);
      return { response, changes, ...rest, detail: { ...detail, ...(response.valid === undefined ? {} : { valid: response.valid }) } };
    });
    running.delete(operation);
    return planned;
  };

  const cancel = async (call: AuthorizedCall<'cancel-operation'>): Promise<Planned<'cancel-operation'>> => {
    const entry = claim(call, call.request);
    drop(call.request.operation);
    return { response: {}, changes: [], detail: { kind: entry.kind } };
  };

  return { 'begin-operation': begin, 'update-operation': update, 'finish-operation': finish, 'cancel-operation': cancel };
};

/** What a part names its operation by. */
interface Claimed {
  readonly operation: string;
  readonly kind?: MultiPartKind;
  readonly key?: string;
}

/** Bound and copied: it outlives the message it came in. */
const keptSignature = (signature: Uint8Array | undefined): { readonly signature?: Uint8Array } =>
  signature === undefined ? {} : { signature: new Uint8Array(checkBytes(signature, 'signature', MAX_SIGNATURE_BYTES)) };
const MAX_SIGNATURE_BYTES = 65_536;

const owner = (entry: Running): { readonly objectId?: string } => (entry.objectId === undefined ? {} : { objectId: entry.objectId });

interface Started {
  readonly rootId: string;
  readonly request: RootRequest<'beginOperation'>;
  readonly changes: readonly Change[];
  readonly settled?: () => void;
  readonly algorithm?: Algorithm;
  readonly object?: ManagedObject;
  readonly version?: number;
}
