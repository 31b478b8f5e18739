import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { makeAuditStore } from './audit-store.js';
import { type EpochChanges, joinCluster, type ManagedCluster } from './cluster-store.js';
import { openDatabase, toConnectionConfig } from './database.js';
import type { Touched } from './group-changes.js';
import { makeIdempotencyStore } from './idempotency-store.js';
import { makeIdentityCache, makeIdentityStore } from './identity-store.js';
import { type CommitEffects, makeJournalStore } from './journal-store.js';
import type { StorageLog } from './log.js';
import { migrate } from './migrate.js';
import { keepLoaded, makeObjectCache, makeObjectStore } from './object-store.js';
import { makePolicyStore, makeSettingStore } from './policy-store.js';
import type { CheckSeals, Storage } from './ports.js';
import { makeSealStore } from './seal-store.js';

const DEFAULT_CACHE_ENTRIES = 20_000;

export interface StorageOptions {
  readonly connection: pg.PoolConfig | string;
  readonly kind: 'embedded' | 'external';
  readonly nodeId: string;
  readonly log: StorageLog;
  /** Objects kept in memory (at most 64 MiB of them). */
  readonly cacheEntries?: number;
  /** Pause between looks for the changes of other nodes, ms. Default 200; at most 4000, so that the lease holds. */
  readonly pollMs?: number;
  /** Sees every object before it is used, once per read from the database. */
  readonly checkSeals?: CheckSeals;
}

/** Warns about a server that would acknowledge what it can lose. */
const checkDurability = async (read: (text: string) => Promise<{ fsync: string; full: string }[]>, log: StorageLog): Promise<void> => {
  const [row] = await read(`SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full`);
  if (row?.fsync !== 'on' || row.full !== 'on')
    log.error(
      { fsync: row?.fsync, full_page_writes: row?.full },
      'this PostgreSQL can lose acknowledged commits at power loss; set fsync and full_page_writes to on',
    );
};

/**
 * Opens the store over PostgreSQL: migrates the schema, joins the cluster under `nodeId`, and keeps caches that follow every
 * change of this and of other nodes. Throws MigrationError when the schema does not fit, FaultError when there is no database.
 */
export const openStorage = async (options: StorageOptions): Promise<Storage> => {
  const { log, nodeId } = options;
  const connection = toConnectionConfig(options.connection);
  await migrate({ connection, log });
  const database = openDatabase({ connection, nodeId, log });
  const bootId = randomUUID();
  const objects = makeObjectCache(options.cacheEntries ?? DEFAULT_CACHE_ENTRIES);
  const identityCache = makeIdentityCache();
  const identity = makeIdentityStore(database, identityCache);

  const apply = (changes: Pick<EpochChanges, 'objects' | 'principals' | 'tokens'>): void => {
    for (const id of changes.objects) {
      objects.invalidate(id);
      identityCache.objectChanged(id);
    }
    for (const id of changes.principals) identityCache.principalChanged(id);
    for (const id of changes.tokens) identityCache.tokenChanged(id);
  };

  let cluster: ManagedCluster;
  try {
    await checkDurability((text) => database.read({ text }), log);
    cluster = await joinCluster({
      database,
      nodeId,
      bootId,
      log,
      alone: options.kind === 'embedded',
      ...(options.pollMs === undefined ? {} : { pollMs: Math.min(options.pollMs, 4_000) }),
      events: {
        changed: apply,
        missed() {
          objects.clear();
          identityCache.clear();
        },
        housekeeping: () => identity.flushUse(),
      },
    });
  } catch (error) {
    await database.close();
    throw error;
  }

  const effects: CommitEffects = {
    begin() {
      const mark = objects.mark();
      let open = true;
      const end = (): void => {
        if (open) objects.unmark(mark);
        open = false;
      };
      return {
        committed(touched, epoch) {
          applyOwn(touched, mark);
          if (epoch !== undefined) cluster.committed(epoch);
          end();
          if (touched.any) cluster.announce(touched);
        },
        abandoned(touched, uncertain) {
          if (uncertain && touched !== undefined) applyUncertain(touched);
          end();
        },
      };
    },
  };

  const applyUncertain = (touched: Touched): void =>
    apply({ objects: [...touched.objects], principals: [...touched.principals], tokens: [...touched.tokens] });

  const applyOwn = (touched: Touched, mark: number): void => {
    for (const loaded of touched.inserted)
      if (!touched.objects.has(loaded.object.id))
        keepLoaded((key, owner, bytes) => objects.putSince(mark, key, owner, loaded, bytes), loaded.object.tenant, loaded);
    // A use only moves counters: its entry stays and gets the new ones.
    apply({ objects: [...touched.changedBeyondUse], principals: [...touched.principals], tokens: [...touched.tokens] });
    for (const { id, uses, remaining } of touched.counted)
      objects.revise(id, (loaded) => ({
        versions: loaded.versions,
        object: {
          ...loaded.object,
          uses,
          ...(loaded.object.usageLimits === undefined || remaining === null
            ? {}
            : { usageLimits: { ...loaded.object.usageLimits, remaining } }),
        },
      }));
  };

  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await identity.flushUse().catch(() => undefined);
    await cluster.close();
    await database.close();
  };

  return {
    journal: makeJournalStore({ database, effects, log }),
    objects: makeObjectStore(database, objects, log, options.checkSeals),
    identity,
    policies: makePolicyStore(database),
    audit: makeAuditStore(database, nodeId),
    idempotency: makeIdempotencyStore(database, bootId),
    settings: makeSettingStore(database),
    seals: makeSealStore(database),
    cluster,
    async health() {
      try {
        await database.read({ text: 'SELECT 1' });
        return { state: 'up', kind: options.kind };
      } catch (error) {
        return { state: 'down', kind: options.kind, detail: (error as Error).message };
      }
    },
    close() {
      closed ??= close();
      return closed;
    },
  };
};
