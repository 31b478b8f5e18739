import type { OperationName } from '../domain/index.js';
import type { Journal } from '../guard/ports.js';
import type { ClusterStore } from '../storage/ports.js';

/** Longer than a lease lasts in the database's eyes (7.5 s), so that a node that died is never waited for in vain. */
const EFFECTIVE_TIMEOUT_MS = 9_000;

/** What takes something away: nobody may act on the state before it once it has been answered, on any node. */
const NARROWING: ReadonlySet<string> = new Set<OperationName>([
  'revoke',
  'archive',
  'destroy',
  'update-object',
  'restore-object',
  'update-principal',
  'set-login',
  'delete-principal',
  'revoke-token',
  'revoke-certificate',
  'renew-certificate',
  'put-policy',
  'delete-policy',
  'rollback-policy',
]);

/**
 * A journal whose revocations are answered only once every live node has seen them or lost its lease (architecture:
 * durability and scale). The change is durable by then in any case: an error or a node that stays behind is only reported.
 */
export const effectiveEverywhere = (
  journal: Journal,
  cluster: Pick<ClusterStore, 'epoch' | 'effective'>,
  onLagging: (operation: string) => void,
): Journal => ({
  intent: (record) => journal.intent(record),
  async commit(record, changes) {
    const fault = await journal.commit(record, changes);
    if (fault !== undefined || changes.length === 0 || !NARROWING.has(record.operation)) return fault;
    if (!(await cluster.effective(cluster.epoch(), EFFECTIVE_TIMEOUT_MS))) onLagging(record.operation);
    return undefined;
  },
});
