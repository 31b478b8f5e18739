import type { AuditRecord, Change, Fault, ManagedObject, ObjectVersion } from '../domain/index.js';
import { FaultError } from '../domain/index.js';
import type { ObjectStore, SettingStore } from '../storage/ports.js';
import { bindingOf, updateVersion } from './new-object.js';
import type { RootRegistry } from './root-registry.js';

/** A record before it is placed, and the port that makes records and changes durable together (the guard's Journal). */
export type JobRecord = Omit<AuditRecord, 'id' | 'node' | 'chain'>;
export interface JobJournal {
  commit(record: JobRecord, changes: readonly Change[]): Promise<Fault | undefined>;
}

/** Settings of the service itself live under a tenant that no caller can have. */
const SERVICE_TENANT = '$service';
const resealSetting = (rootId: string): string => `reseal:${rootId}`;

/**
 * Progress of moving one root's references to its newest sealing key. It is stored with every page it moves, in the same
 * transaction, so a process that dies in the middle leaves an exact place to go on from; and moving a reference twice is
 * harmless, so even a lost place would only cost time. Old generations keep opening until the operator removes them.
 */
export interface ResealState {
  readonly root: string;
  readonly generation: number;
  readonly state: 'running' | 'done';
  readonly startedAt: number;
  readonly finishedAt?: number;
  readonly rewrapped: number;
  readonly failed: number;
  readonly after?: { readonly objectId: string; readonly version: number };
}

export const readResealState = async (settings: SettingStore, rootId: string): Promise<ResealState | undefined> => {
  const value = await settings.setting(SERVICE_TENANT, resealSetting(rootId));
  const state = value as Partial<ResealState> | null | undefined;
  if (typeof state?.generation !== 'number' || typeof state.rewrapped !== 'number') return undefined;
  return state as ResealState;
};
export const putResealState = (state: ResealState): Change => ({
  kind: 'put-setting',
  tenant: SERVICE_TENANT,
  name: resealSetting(state.root),
  value: state,
});

export interface ResealParts {
  readonly objects: Pick<ObjectStore, 'versionsOfRoot'>;
  readonly roots: RootRegistry;
  readonly settings: SettingStore;
  readonly journal: JobJournal;
  readonly clock: () => number;
}

/** References moved in one transaction. */
const PAGE = 200;

export const jobRecord = (
  operation: string,
  action: string,
  at: number,
  outcome: 'success' | 'failed',
  rest: Pick<JobRecord, 'detail' | 'resource' | 'fault'> & { readonly tenant?: string },
): JobRecord => ({
  tenant: rest.tenant ?? SERVICE_TENANT,
  at,
  plane: 'internal',
  requestId: `scheduler-${at}`,
  actor: { kind: 'service', id: 'system:scheduler', name: 'system:scheduler', method: 'internal', credentialId: 'system:scheduler' },
  operation,
  action,
  outcome,
  ...(rest.resource === undefined ? {} : { resource: rest.resource }),
  ...(rest.fault === undefined ? {} : { fault: rest.fault }),
  ...(rest.detail === undefined ? {} : { detail: rest.detail }),
});

type Row = { readonly object: ManagedObject; readonly version: ObjectVersion };

/** A reference under the newest sealing key; nothing for rows without one, and for one the root refuses (counted, left alone). */
const rewrap = async (
  parts: ResealParts,
  rootId: string,
  fingerprint: string,
  { object, version }: Row,
): Promise<Change | 'failed' | undefined> => {
  if (version.reference.length === 0 || version.state === 'destroyed') return undefined;
  try {
    const key = { reference: version.reference, binding: bindingOf(object, version.version) };
    const { reference } = await parts.roots.call(rootId, 'rewrapReference', { key });
    return updateVersion(version, { reference, rootFingerprint: fingerprint });
  } catch (error) {
    // One row that does not open must not stop the others; a root that is away must, or every row would count as failed.
    if (error instanceof FaultError && error.fault.code === 'root-rejected') return 'failed';
    throw error;
  }
};

/**
 * One page. The page and its progress commit together; when a row changed meanwhile the whole page is refused, and then
 * each row is tried alone (a row someone else changed was written under the newest key or is met again by the next run).
 */
export const resealPage = async (parts: ResealParts, state: ResealState): Promise<ResealState> => {
  const { fingerprint } = await parts.roots.describe(state.root);
  const rows = await parts.objects.versionsOfRoot(state.root, state.after, PAGE);
  const results = await Promise.all(rows.map((row) => rewrap(parts, state.root, fingerprint, row)));
  const changes = results.filter((r): r is Change => r !== undefined && r !== 'failed');
  const last = rows.at(-1);
  const now = parts.clock();
  const { after: _, ...rest } = state;
  const done = rows.length < PAGE;
  const counted = (moved: number, lost: number): ResealState => ({
    ...rest,
    rewrapped: state.rewrapped + moved,
    failed: state.failed + results.filter((r) => r === 'failed').length + lost,
    ...(done ? { state: 'done', finishedAt: now } : { state: 'running' }),
    ...(done || last === undefined ? {} : { after: { objectId: last.object.id, version: last.version.version } }),
  });
  const record = (next: ResealState) =>
    jobRecord('rotate-seal', 'roots:rotate-seal', now, 'success', {
      resource: { type: 'root', id: state.root },
      detail: { phase: 'reseal', generation: state.generation, rewrapped: next.rewrapped, failed: next.failed, done },
    });
  const whole = counted(changes.length, 0);
  const fault = await parts.journal.commit(record(whole), [...changes, putResealState(whole)]);
  if (fault === undefined) return whole;
  if (fault.code !== 'conflict') throw new FaultError(fault);
  return resealOneByOne(parts, changes, counted, record);
};

const resealOneByOne = async (
  parts: ResealParts,
  changes: readonly Change[],
  counted: (moved: number, lost: number) => ResealState,
  record: (state: ResealState) => JobRecord,
): Promise<ResealState> => {
  let moved = 0;
  for (const change of changes) {
    const fault = await parts.journal.commit(record(counted(moved + 1, 0)), [change]);
    if (fault === undefined) moved += 1;
    else if (fault.code !== 'conflict') throw new FaultError(fault);
  }
  const next = counted(moved, changes.length - moved);
  const fault = await parts.journal.commit(record(next), [putResealState(next)]);
  if (fault !== undefined) throw new FaultError(fault);
  return next;
};
