import type pg from 'pg';
import { type Fault, FaultError } from '../domain/index.js';
import { type Database, query } from './database.js';
import { isConnectionLoss, isTransient, sqlState, toStorageFault } from './failures.js';
import { applyGroup, countPlainUse, countUses, isPlainUse, nothingTouched, type Touched } from './group-changes.js';
import type { StorageLog } from './log.js';
import type { Counted } from './object-changes.js';
import type { ChainedRecord, JournalItem, JournalStore } from './ports.js';
import {
  type ChainRow,
  checkRun,
  epochValues,
  INSERT_RECORDS,
  INSERT_RECORDS_AND_EPOCH,
  INSERT_RECORDS_AND_USES,
  recordValues,
  usageValues,
} from './record-inserts.js';

/** How long callers wait to learn what became of a commit whose answer was lost. */
const SETTLE_MS = 6_000;
const SETTLE_PAUSE_MS = 100;
const MAX_ATTEMPTS = 4;

/** What a durable group means for this node's caches and epoch. */
export interface CommitEffects {
  /** Before the commit is sent: lets the caches tell what is read meanwhile from what is read after. */
  begin(): CommitMark;
}
export interface CommitMark {
  committed(touched: Touched, epoch: number | undefined): void;
  /** Nothing happened, or nobody knows: `uncertain` then drops what may be stale. */
  abandoned(touched: Touched | undefined, uncertain: boolean): void;
}

/** Nothing was committed, for certain; `code` is the SQLSTATE that says so to whoever reads causes. */
class NotCommitted extends Error {
  /** 40000 transaction_rollback; 40001 where repeating the same group is worthwhile. */
  readonly code: '40000' | '40001';
  constructor(code: '40000' | '40001', cause: unknown) {
    super('nothing was committed', { cause });
    this.code = code;
  }
}

const notCommitted = (error: unknown, code: '40000' | '40001'): FaultError =>
  new FaultError(toStorageFault(error).fault, { cause: new NotCommitted(code, error) });

/** Registers a chain, or raises the fence of one whose state is uncertain: what is still on its way then finds another fence. */
const FENCE = {
  name: 'fence-chain',
  text: `INSERT INTO audit_chain (node, boot, sequence, hash) VALUES ($1, $2, 0, '')
    ON CONFLICT (node, boot) DO UPDATE SET fence = audit_chain.fence + 1
    RETURNING id, fence, sequence, encode(hash, 'hex') AS hash`,
};
const HASH_AT = { name: 'hash-at', text: `SELECT encode(hash, 'hex') AS hash FROM audit_record WHERE chain = $1 AND sequence = $2` };

type Verdict = 'committed' | 'not-committed' | 'unknown';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The journal's side of the database.
 *
 * A commit whose answer was lost is settled before anyone is told anything: on a new connection the chain's fence is raised,
 * which waits for the old transaction if it still runs and shuts out a statement that has not arrived yet; then the chain's
 * head says whether the group is in. If the database does not come back in time, the call fails as "unknown".
 */
export const makeJournalStore = (parts: {
  readonly database: Database;
  readonly effects: CommitEffects;
  readonly log: StorageLog;
  readonly settleMs?: number;
}): JournalStore => {
  const { database, effects, log } = parts;
  const chains = new Map<string, ChainRow>();
  const keyOf = (record: ChainedRecord): string => JSON.stringify([record.chain.node, record.chain.boot]);

  const fence = async (record: ChainedRecord) => {
    const [row] = await database.run<{ id: number; fence: number; sequence: number; hash: string }>(FENCE, [
      record.chain.node,
      record.chain.boot,
    ]);
    if (row === undefined) throw new Error('the audit chain could not be registered');
    chains.set(keyOf(record), { id: row.id, fence: row.fence });
    return row;
  };

  /** Chains are few and live as long as the process: a handful of lanes, and their successors after a fork. */
  const chainOf = async (record: ChainedRecord): Promise<ChainRow> => chains.get(keyOf(record)) ?? fence(record);

  const lookUp = async (last: ChainedRecord): Promise<Verdict> => {
    const row = await fence(last);
    if (row.sequence < last.chain.sequence) return 'not-committed';
    if (row.sequence === last.chain.sequence) return row.hash === last.chain.hash ? 'committed' : 'not-committed';
    const [stored] = await database.read<{ hash: string }>(HASH_AT, [row.id, last.chain.sequence]);
    return stored?.hash === last.chain.hash ? 'committed' : 'not-committed';
  };

  const settle = async (records: readonly ChainedRecord[], cause: unknown): Promise<Verdict> => {
    const last = records[records.length - 1] as ChainedRecord;
    // Until it is settled, the next group of the chain has to ask again.
    chains.delete(keyOf(last));
    const until = performance.now() + (parts.settleMs ?? SETTLE_MS);
    do {
      try {
        const verdict = await lookUp(last);
        log.info({ verdict, records: records.length }, 'a commit whose answer was lost is settled');
        return verdict;
      } catch (error) {
        log.debug({ error: (error as Error).message }, 'the outcome of a commit is not known yet');
        chains.delete(keyOf(last));
        await pause(SETTLE_PAUSE_MS);
      }
    } while (performance.now() < until);
    log.error({ records: records.length, cause: (cause as Error).message }, 'the outcome of a commit could not be learnt in time');
    return 'unknown';
  };

  /** A group without changes that could fail: one statement, which may be sent again as it is once it is known not to be in. */
  const commitPlain = async (items: readonly JournalItem[], records: readonly ChainedRecord[], mark: CommitMark): Promise<void> => {
    const touched = nothingTouched();
    for (const item of items) for (const change of item.changes) if (isPlainUse(change)) countPlainUse(touched, change);
    const statement = touched.uses.size > 0 ? INSERT_RECORDS_AND_USES : INSERT_RECORDS;
    for (let attempt = 1; ; attempt += 1) {
      let sent = false;
      try {
        const chain = await chainOf(records[0] as ChainedRecord);
        const values = [...recordValues(chain, records), ...(touched.uses.size > 0 ? usageValues(touched) : [])];
        const rows = await database.withWriter((client) => {
          sent = true;
          return query<Counted & pg.QueryResultRow>(client, statement, values);
        });
        if (touched.uses.size > 0) touched.counted.push(...rows);
        mark.committed(touched, undefined);
        return;
      } catch (error) {
        if (!sent) throw notCommitted(error, '40000');
        const verdict = isConnectionLoss(error) ? await settle(records, error) : isTransient(error) ? 'not-committed' : undefined;
        if (verdict === 'committed') {
          mark.committed(nothingTouched(), undefined);
          return;
        }
        if (verdict === 'not-committed' && attempt < MAX_ATTEMPTS) continue;
        if (verdict === 'not-committed') throw notCommitted(error, '40001');
        throw toStorageFault(error);
      }
    }
  };

  /** Everything up to the records, in an open transaction; repeated while the database says that repeating helps. */
  const withChanges = async (
    client: pg.PoolClient,
    items: readonly JournalItem[],
  ): Promise<{ faults: readonly (Fault | undefined)[]; touched: Touched }> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const applied = await applyGroup(client, items);
        await countUses(client, applied.touched);
        return applied;
      } catch (error) {
        if (isConnectionLoss(error)) throw error;
        await client.query('ROLLBACK');
        if (!isTransient(error) || attempt >= MAX_ATTEMPTS) throw error;
        await pause(Math.random() * 10 * attempt);
      }
    }
  };

  interface Progress {
    records?: readonly ChainedRecord[];
    touched?: Touched;
    faults?: readonly (Fault | undefined)[];
    epoch?: number | undefined;
  }

  const commitTransaction = async (
    client: pg.PoolClient,
    items: readonly JournalItem[],
    chain: Parameters<JournalStore['commitGroup']>[1],
    progress: Progress,
  ): Promise<void> => {
    const { faults, touched } = await withChanges(client, items);
    try {
      const records = chain(faults);
      checkRun(records);
      const row = await chainOf(records[0] as ChainedRecord);
      Object.assign(progress, { faults, touched, records });
      const values = recordValues(row, records);
      if (touched.any) {
        const [bumped] = await query<{ epoch: number }>(client, INSERT_RECORDS_AND_EPOCH, [...values, ...epochValues(touched)]);
        progress.epoch = bumped?.epoch;
      } else await query(client, INSERT_RECORDS, values);
      await client.query('COMMIT');
    } catch (error) {
      if (!isConnectionLoss(error) || progress.records === undefined) await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  };

  const commitChanges = async (
    items: readonly JournalItem[],
    chain: Parameters<JournalStore['commitGroup']>[1],
    mark: CommitMark,
  ): Promise<readonly (Fault | undefined)[]> => {
    for (let attempt = 1; ; attempt += 1) {
      const progress: Progress = {};
      try {
        await database.withWriter((client) => commitTransaction(client, items, chain, progress));
        mark.committed(progress.touched as Touched, progress.epoch);
        return progress.faults as readonly (Fault | undefined)[];
      } catch (error) {
        if (error instanceof FaultError) throw progress.records === undefined ? notCommitted(error, '40000') : error;
        if (!isConnectionLoss(error)) throw sqlState(error) === undefined ? error : toStorageFault(error);
        // Nothing of this group was near a commit: a fresh connection may do (fail-over, a stale pooled connection).
        if (progress.records === undefined && attempt < 2) continue;
        const verdict = progress.records === undefined ? 'not-committed' : await settle(progress.records, error);
        if (verdict === 'committed') {
          // The epoch is not known here; the poll brings it.
          mark.committed(progress.touched as Touched, undefined);
          return progress.faults as readonly (Fault | undefined)[];
        }
        mark.abandoned(progress.touched, verdict === 'unknown');
        throw verdict === 'not-committed' ? notCommitted(error, '40001') : toStorageFault(error);
      }
    }
  };

  return {
    async commitGroup(items, chain) {
      const mark = effects.begin();
      try {
        if (!items.every((item) => item.changes.every(isPlainUse))) return await commitChanges(items, chain, mark);
        const faults = items.map(() => undefined);
        const records = chain(faults);
        checkRun(records);
        await commitPlain(items, records, mark);
        return faults;
      } catch (error) {
        mark.abandoned(undefined, false);
        throw error;
      }
    },
  };
};
