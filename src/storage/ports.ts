import type { Fault } from '../domain/fault.js';
import type {
  AuditCheckpoint,
  AuditFilter,
  AuditRecord,
  ChainLink,
  Change,
  LoadedObject,
  LocateFilter,
  ManagedObject,
  ObjectVersion,
  Page,
  PolicyDocument,
  Principal,
  PrincipalKind,
  StoredCertificateBinding,
  StoredToken,
  TokenView,
} from '../domain/index.js';

/** A record with its place in the chain, ready to store. `canonical` is the RFC 8785 text that was hashed. */
export interface ChainedRecord {
  readonly record: AuditRecord;
  readonly chain: ChainLink;
  readonly canonical: string;
  /** On reading: the column searches find it by that does not say what the text says. */
  readonly misfiled?: string;
}

/** One call's share of a group: its changes, and its record — a function of whether the changes took. */
export interface JournalItem {
  readonly changes: readonly Change[];
}

/**
 * The only writer of state. A group is one transaction:
 * 1. each item's changes are applied in order, a failing item alone rolled back (savepoint or conditional statements);
 * 2. `chain(faults)` is called once with each item's fault (or undefined) and returns the records to insert, in chain order;
 * 3. records are inserted, the cluster epoch is bumped when any change took, the transaction commits with synchronous_commit=on.
 * Resolves with each item's fault; rejects (nothing committed, or unknown) when the database failed. The rejection, or one
 * of its `cause`s, carries the SQLSTATE as `code` when the database answered: that tells "rolled back" from "unknown".
 */
export interface JournalStore {
  commitGroup(
    items: readonly JournalItem[],
    chain: (faults: readonly (Fault | undefined)[]) => readonly ChainedRecord[],
  ): Promise<readonly (Fault | undefined)[]>;
}

/** Seals of one object's rows as they are stored; `versions` in the order of the versions. */
export interface StoredSeals {
  readonly object: Uint8Array | undefined;
  readonly versions: readonly (Uint8Array | undefined)[];
}
/** Rejects (FaultError) unless every row is as the service wrote it. */
export type CheckSeals = (loaded: LoadedObject, seals: StoredSeals) => Promise<void>;

/** For the one time that rows from before the seals get theirs. */
export interface SealStore {
  /** Objects with an unsealed row. */
  unsealed(limit: number): Promise<readonly LoadedObject[]>;
  /** Seals the rows if they are still at the revisions that were read. */
  seal(loaded: LoadedObject, seals: { readonly object: Uint8Array; readonly versions: readonly Uint8Array[] }): Promise<void>;
}

export interface ObjectStore {
  /** By id or alias within the tenant, through the cache, with all versions. */
  load(tenant: string, ref: string): Promise<LoadedObject | undefined>;
  /** The same without waiting, where the cache has it; nothing otherwise. */
  cached?(tenant: string, ref: string): LoadedObject | undefined;
  locate(
    tenant: string,
    filter: LocateFilter,
    page: { limit: number; cursor?: string; offset?: number; countTotal?: boolean },
  ): Promise<Page<ManagedObject> & { total?: number }>;
  /**
   * Objects whose date-driven work is due (activation while pre-active, deactivation while active, destroyDue in ANY state
   * — also destroyed, where it marks an unconfirmed root destroy — rotation by age or use while active), oldest first, any tenant.
   */
  due(now: number, limit: number): Promise<readonly LoadedObject[]>;
  /** Versions still made under another root fingerprint or seal generation, for re-sealing; any tenant; keyset paged by (objectId, version). */
  versionsOfRoot(
    rootId: string,
    after: { objectId: string; version: number } | undefined,
    limit: number,
  ): Promise<readonly { object: ManagedObject; version: ObjectVersion }[]>;
  count(tenant: string): Promise<number>;
}

export interface IssuedCertificate {
  readonly object: ManagedObject;
  /** Its authority was revoked or destroyed, and with it all that it issued. */
  readonly authorityEnded: boolean;
}

export interface IdentityStore {
  principal(tenant: string | undefined, id: string): Promise<Principal | undefined>;
  listPrincipals(tenant: string, filter: { kind?: PrincipalKind }, page: { limit: number; cursor?: string }): Promise<Page<Principal>>;
  /** By SHA-256 of the token; cached; the caller compares in constant time. */
  tokenByHash(hash: Uint8Array): Promise<StoredToken | undefined>;
  /** The same without waiting, where the cache has it; `key` is the hash as lower-case hex. */
  cachedToken?(key: string): StoredToken | undefined;
  /** `principal` likewise. */
  cachedPrincipal?(tenant: string, id: string): Principal | undefined;
  token(tenant: string, id: string): Promise<StoredToken | undefined>;
  listTokens(tenant: string, filter: { principalId?: string }, page: { limit: number; cursor?: string }): Promise<Page<TokenView>>;
  certificateBinding(candidate: {
    fingerprint: string;
    subject: string;
    subjectAltNames: readonly string[];
  }): Promise<StoredCertificateBinding | undefined>;
  /** The certificate of this fingerprint (SHA-256, lower-case hex) that an authority of this service issued, of any tenant and in any state; cached. */
  issuedCertificate(fingerprint: string): Promise<IssuedCertificate | undefined>;
  /** Certificate objects of every authority of every tenant that is not retired: whose clients a plane lets in. */
  authorities(): Promise<readonly ManagedObject[]>;
  /** True while no principal exists at all (first start). */
  isEmpty(): Promise<boolean>;
}

export interface PolicyStore {
  /** Every active document of every tenant (the engine's load). */
  active(): Promise<readonly PolicyDocument[]>;
  document(tenant: string, name: string, version?: number): Promise<PolicyDocument | undefined>;
  list(tenant: string, page: { limit: number; cursor?: string }): Promise<Page<PolicyDocument>>;
  history(tenant: string, name: string, page: { limit: number; cursor?: string }): Promise<Page<PolicyDocument>>;
}

export interface AuditStore {
  /** Newest first. */
  list(tenant: string | undefined, filter: AuditFilter, page: { limit: number; cursor?: string }): Promise<Page<AuditRecord>>;
  /** Every record of (optionally one tenant's) chains in (node, boot, sequence) order, streamed with their canonical text. */
  stream(filter: AuditFilter & { tenant?: string }): AsyncIterable<ChainedRecord>;
  /** Last link of each chain of this node, to continue or to check. */
  heads(): Promise<readonly ChainLink[]>;
  /** Committed records not yet in the Merkle tree, oldest first; within one chain always in sequence order, without gaps. */
  unsequenced(limit: number): Promise<readonly { hash: string; node: string; boot: string; sequence: number }[]>;
  /**
   * Appends leaves to the tree and stores the tree state; under an advisory lock, one node at a time. False when another node
   * holds it, or when the stored size is not `state.size - leaves.length` any more (another node has folded since).
   */
  fold(
    leaves: readonly { hash: string; node: string; boot: string; sequence: number }[],
    state: { size: number; peaks: readonly string[] },
  ): Promise<boolean>;
  treeState(): Promise<{ size: number; peaks: readonly string[] }>;
  /** Last folded link of every chain of every node that has one, the most recently started chain first: what a checkpoint names. */
  foldedHeads(): Promise<readonly { node: string; boot: string; sequence: number; hash: string }[]>;
  leaves(from: number, limit: number): Promise<readonly string[]>;
  saveCheckpoint(checkpoint: AuditCheckpoint): Promise<void>;
  checkpoints(since?: number): Promise<readonly AuditCheckpoint[]>;
  unsequencedCount(): Promise<number>;
}

export interface IdempotencyStore {
  /** Claims the key. `fresh`: run the call; `done`: answer with this; `busy`: another request runs it now; `mismatch`: same key, other request. */
  claim(
    tenant: string,
    principalId: string,
    key: string,
    requestHash: Uint8Array,
    ttlMs: number,
  ): Promise<{ kind: 'fresh' } | { kind: 'done'; status: number; body: string } | { kind: 'busy' } | { kind: 'mismatch' }>;
  complete(tenant: string, principalId: string, key: string, status: number, body: string): Promise<void>;
  release(tenant: string, principalId: string, key: string): Promise<void>;
}

export interface SettingStore {
  setting(tenant: string, name: string): Promise<unknown>;
}

/** Cluster duties: leases, epoch, single-runner jobs. */
export interface ClusterStore {
  /** False once the lease could not be renewed in time: the node must refuse to serve. */
  isLive(): boolean;
  epoch(): number;
  /** Runs `job` only if this node gets the named advisory lock now; undefined when another has it. */
  exclusively<T>(name: string, job: () => Promise<T>): Promise<T | undefined>;
  /** Resolves once every live node has seen `epoch` or lost its lease, at most `timeoutMs`; false on time-out. */
  effective(epoch: number, timeoutMs: number): Promise<boolean>;
  /** Called after every change of the epoch (own or foreign), with whether policies or settings are among what changed. */
  onChange(listener: (epoch: number, changes: { readonly policies: boolean; readonly settings: boolean }) => void): void;
}

export interface Storage {
  readonly journal: JournalStore;
  readonly objects: ObjectStore;
  readonly identity: IdentityStore;
  readonly policies: PolicyStore;
  readonly audit: AuditStore;
  readonly idempotency: IdempotencyStore;
  readonly settings: SettingStore;
  readonly seals: SealStore;
  readonly cluster: ClusterStore;
  health(): Promise<{ state: 'up' | 'down'; detail?: string; kind: 'embedded' | 'external' }>;
  close(): Promise<void>;
}
