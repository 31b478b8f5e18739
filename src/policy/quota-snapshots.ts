import { FaultError } from '../domain/index.js';
import type { AuditDraft, Journal } from '../guard/ports.js';
import type { SettingStore } from '../storage/ports.js';
import type { QuotaCount } from './limiter.js';

/** Where a node keeps its quota counts over a restart. */
export interface QuotaSnapshots {
  /** Rejects when it can't be read: the engine then doesn't start, rather than give everybody a fresh quota. */
  load(): Promise<readonly QuotaCount[]>;
  save(counts: readonly QuotaCount[]): Promise<void>;
}

const SETTING_TENANT = 'default';
const MAX_COUNTS = 100_000;
const WINDOWS: ReadonlySet<unknown> = new Set(['hour', 'day', 'month']);
const COMPONENT = 'system:policy';

const isCount = (value: unknown): value is QuotaCount => {
  const count = value as Partial<QuotaCount> | null;
  return (
    typeof count === 'object' &&
    count !== null &&
    typeof count.key === 'string' &&
    typeof count.name === 'string' &&
    WINDOWS.has(count.window) &&
    Number.isSafeInteger(count.used) &&
    (count.used as number) > 0
  );
};

const recordOf = (now: number, items: number): AuditDraft => ({
  tenant: SETTING_TENANT,
  at: now,
  plane: 'internal',
  requestId: `policy-quotas-${now}`,
  actor: { kind: 'service', id: COMPONENT, name: COMPONENT, method: 'internal' },
  operation: 'save-quotas',
  action: 'service:save-quotas',
  outcome: 'success',
  source: 'local',
  detail: { items },
});

/** One setting per node, written through the journal like every change of state. */
export const makeJournalSnapshots = (options: {
  readonly settings: SettingStore;
  readonly journal: Pick<Journal, 'commit'>;
  readonly nodeId: string;
  readonly clock: () => number;
}): QuotaSnapshots => {
  const name = `policy-quotas/${options.nodeId}`;
  return {
    load: async () => {
      const stored = await options.settings.setting(SETTING_TENANT, name);
      const counts = (stored as { counts?: unknown } | undefined | null)?.counts;
      return Array.isArray(counts) ? counts.filter(isCount) : [];
    },
    save: async (counts) => {
      const value = { counts: counts.slice(0, MAX_COUNTS) };
      const fault = await options.journal.commit(recordOf(options.clock(), value.counts.length), [
        { kind: 'put-setting', tenant: SETTING_TENANT, name, value },
      ]);
      if (fault !== undefined) throw new FaultError(fault);
    },
  };
};
