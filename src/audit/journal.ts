import { type AuditHealth, type Change, type Fault, fail } from '../domain/index.js';
import type { AuditDraft, Journal } from '../guard/ports.js';
import type { AuditStore, JournalStore } from '../storage/ports.js';
import { canonicalRecord } from './canonical.js';
import { toOverloaded } from './commit-failure.js';
import { type Lane, type LaneItem, type LaneOptions, makeLane } from './lane.js';
import { makeRecordIds } from './record-id.js';
import { makeRedaction, type RedactionOptions } from './redaction.js';

export interface JournalOptions extends RedactionOptions {
  readonly store: JournalStore;
  readonly audit: Pick<AuditStore, 'heads'>;
  readonly nodeId: string;
  /** Unique per process start: names this process's chains. */
  readonly bootId: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Calls waiting for the log; one more is refused (`overloaded`). Default 8192. */
  readonly maxPending?: number;
  /** Bytes waiting (records and changes). Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** Records in one transaction. Default 256. */
  readonly maxGroup?: number;
  /** Bytes in one transaction. Default 4 MiB. */
  readonly maxGroupBytes?: number;
  /**
   * How long callers wait to learn what became of a commit whose answer was lost. The store settles
   * most of them itself before it says that it does not know. Default 4 s.
   */
  readonly settleMs?: number;
  /** Chains for records without changes (or that only count a use), which never wait for row locks. Default 1. */
  readonly recordLanes?: number;
  /** Chains for records with changes. Default 1. */
  readonly changeLanes?: number;
}

type JournalHealth = Pick<AuditHealth, 'state' | 'detail' | 'pending' | 'lastDurableAt'>;

/** The journal of one process: guard's port, its health, and an orderly end. */
export interface RunningJournal extends Journal {
  health(): JournalHealth;
  /** Refuses new calls, writes what is queued (at most `timeoutMs`, default 10 s), rejects the rest. */
  close(timeoutMs?: number): Promise<void>;
}

const DEFAULTS = {
  maxPending: 8192,
  maxPendingBytes: 64 * 1024 * 1024,
  maxGroup: 256,
  maxGroupBytes: 4 * 1024 * 1024,
  settleMs: 4000,
  recordLanes: 1,
  changeLanes: 1,
};
const CHANGE_BASE_BYTES = 512;
const CLOSE_TIMEOUT_MS = 10_000;

/** Rough size of a change: its byte arrays and long texts, two levels deep; the rest is small. */
const sizeOf = (value: unknown, depth: number): number => {
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value === 'string') return value.length;
  if (depth === 0 || typeof value !== 'object' || value === null) return 0;
  let bytes = 0;
  for (const part of Object.values(value)) bytes += sizeOf(part, depth - 1);
  return bytes;
};
const changeBytes = (changes: readonly Change[]): number => changes.reduce((sum, change) => sum + CHANGE_BASE_BYTES + sizeOf(change, 4), 0);

/** Counting a use can't fail and waits for nobody: the store writes it in the records' own statement. */
const isPlainUse = (change: Change): boolean => change.kind === 'consume-usage' && !change.limited;

const fenceDraft = (at: number, lost: number): AuditDraft => ({
  tenant: 'default',
  at,
  plane: 'internal',
  requestId: 'audit-recovery',
  actor: { kind: 'service', id: 'system:audit', name: 'system:audit', method: 'internal' },
  operation: 'audit-recovery',
  action: 'audit:recover',
  outcome: 'failed',
  fault: 'audit-unavailable',
  detail: { records: lost, reason: 'a group of records was lost with the connection to the database; its calls were refused' },
});

const makeLanes = (name: string, count: number, bootId: string, options: Omit<LaneOptions, 'boot'>): readonly Lane[] =>
  Array.from({ length: count }, (_, index) => makeLane({ ...options, boot: `${bootId}-${name}${index === 0 ? '' : index + 1}` }));

const report = (lanes: readonly Lane[], pending: number, maxPending: number): JournalHealth => {
  const all = lanes.map((lane) => lane.status());
  const durable = all.flatMap((status) => status.lastDurableAt ?? []);
  const base = { pending, ...(durable.length === 0 ? {} : { lastDurableAt: Math.max(...durable) }) };
  const failing = all.find((status) => status.failing !== undefined)?.failing;
  if (failing !== undefined) return { state: 'failing', detail: failing, ...base };
  if (all.some((status) => status.settling))
    return { state: 'degraded', detail: 'A commit’s answer was lost; finding out whether it took place.', ...base };
  if (pending > maxPending / 2) return { state: 'degraded', detail: `${pending} calls wait for the database.`, ...base };
  return { state: 'ok', ...base };
};

export const makeJournal = (given: JournalOptions): RunningJournal => {
  const options = { ...DEFAULTS, ...given };
  const { nodeId, bootId, clock } = options;
  const nextId = makeRecordIds(clock);
  const redact = makeRedaction(given);
  const toRecord = (draft: AuditDraft) => redact(draft, nextId(), nodeId);
  const common = {
    ...{ store: options.store, audit: options.audit, node: nodeId, clock },
    ...{ maxGroup: options.maxGroup, maxGroupBytes: options.maxGroupBytes, settleMs: options.settleMs },
    fenceRecord: (lost: number) => toRecord(fenceDraft(clock(), lost)),
  };
  const recordLanes = makeLanes('r', options.recordLanes, bootId, common);
  const changeLanes = makeLanes('c', options.changeLanes, bootId, common);
  const lanes = [...recordLanes, ...changeLanes];
  let closed = false;
  let pending = 0;
  let pendingBytes = 0;
  let turn = 0;

  const submit = (draft: AuditDraft, changes: readonly Change[]): Promise<Fault | undefined> => {
    if (closed) return Promise.reject(fail('shutting-down', 'The service is stopping.'));
    if (pending >= options.maxPending) return Promise.reject(toOverloaded());
    const record = toRecord(draft);
    const canonical = canonicalRecord(record);
    const bytes = canonical.length + (changes.length === 0 ? 0 : changeBytes(changes));
    if (pendingBytes + bytes > options.maxPendingBytes && pending > 0) return Promise.reject(toOverloaded());
    const targets = changes.every(isPlainUse) ? recordLanes : changeLanes;
    turn = (turn + 1) % Number.MAX_SAFE_INTEGER;
    pending += 1;
    pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        pending -= 1;
        pendingBytes -= bytes;
      };
      const item: LaneItem = {
        ...{ record, canonical, changes, bytes },
        settle: (fault) => {
          done();
          resolve(fault);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      (targets[turn % targets.length] as Lane).enqueue(item);
    });
  };

  return {
    intent: async (draft) => {
      await submit(draft, []);
    },
    commit: submit,
    health: () => report(lanes, pending, options.maxPending),
    close: async (timeoutMs = CLOSE_TIMEOUT_MS) => {
      closed = true;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), timeoutMs);
      });
      const ended = await Promise.race([Promise.all(lanes.map((lane) => lane.idle())), late]);
      clearTimeout(timer);
      if (ended !== 'late') return;
      for (const lane of lanes) lane.abandon(fail('shutting-down', 'The service stopped before this call was recorded.'));
    },
  };
};
