import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { makeChangeHints } from './change-hints.js';
import { query as ask, type Database } from './database.js';
import type { StorageLog } from './log.js';
import type { ClusterStore } from './ports.js';

const POLL_MS = 200;
const RENEW_MS = 1_000;
/** This node trusts its lease this long after it asked for it, by its own monotonic clock. */
const LEASE_MS = 5_000;
/** The database counts longer, so that the others never give a node up before it has given up itself. */
const LEASE_MARGIN_MS = 2_500;
const PRUNE_EVERY_MS = 30_000;
/** Epochs kept although everyone has seen them. */
const KEPT_EPOCHS = 1_000;
const EFFECTIVE_POLL_MS = 50;
const LONGEST_PAUSE_MS = 2_000;
/** An answer that takes longer is worth a new connection: the lease is running out. */
const ANSWER_MS = 3_000;

const NOW_MS = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';

type Asked = Parameters<typeof ask>;
const turns = new WeakMap<object, Promise<unknown>>();
/** Polls and locks share a connection that takes one statement at a time: each waits for the one before it, whatever became of that. */
const query = <R extends pg.QueryResultRow>(client: pg.Client, statement: Asked[1], values?: Asked[2]): Promise<R[]> => {
  const answer = (turns.get(client) ?? Promise.resolve()).then(() => ask<R>(client, statement, values));
  turns.set(
    client,
    answer.catch(() => undefined),
  );
  return answer;
};

/** What changed in one epoch. */
export interface EpochChanges {
  readonly epoch: number;
  readonly objects: readonly string[];
  readonly principals: readonly string[];
  readonly tokens: readonly string[];
  readonly policies: boolean;
  readonly settings: boolean;
}

export interface ClusterEvents {
  /** Another node's changes, one epoch after the other. */
  changed(changes: EpochChanges): void;
  /** Epochs were missed: nothing kept can be trusted. */
  missed(): void;
  /** Every now and then while connected: housekeeping of the caller. */
  housekeeping(): Promise<void>;
}

export interface ManagedCluster extends ClusterStore {
  readonly bootId: string;
  /** This node's own commit made this epoch, and its caches already know. */
  committed(epoch: number): void;
  /** Tells the listeners about the newest epoch. */
  announce(changes: Pick<EpochChanges, 'policies' | 'settings'>): void;
  close(): Promise<void>;
}

const REGISTER = {
  text: `INSERT INTO node (id, boot, started, lease_until, seen_epoch)
    SELECT $1, $2, ${NOW_MS}, ${NOW_MS} + ${LEASE_MS + LEASE_MARGIN_MS}, epoch FROM cluster
    ON CONFLICT (id, boot) DO UPDATE SET lease_until = EXCLUDED.lease_until, seen_epoch = EXCLUDED.seen_epoch
    RETURNING seen_epoch AS epoch`,
};
const RENEW = {
  name: 'renew-lease',
  text: `UPDATE node SET lease_until = ${NOW_MS} + ${LEASE_MS + LEASE_MARGIN_MS}, seen_epoch = $3
    WHERE id = $1 AND boot = $2 RETURNING (SELECT count(*) FROM node n WHERE n.lease_until > ${NOW_MS}) AS live`,
};
const POLL = {
  name: 'poll-changes',
  text: `SELECT c.epoch AS now, l.* FROM cluster c LEFT JOIN LATERAL (
      SELECT * FROM change_log WHERE epoch > $1 ORDER BY epoch LIMIT 5000) l ON true ORDER BY l.epoch`,
};
const LAGGING = {
  name: 'lagging-nodes',
  text: `SELECT 1 FROM node WHERE lease_until > ${NOW_MS} AND seen_epoch < $1 AND NOT (id = $2 AND boot = $3) LIMIT 1`,
};
const PRUNE = [
  // A minute after the lease ended nobody waits for the node any more.
  `DELETE FROM node WHERE lease_until < ${NOW_MS} - 60000`,
  `DELETE FROM change_log WHERE epoch < (SELECT min(seen_epoch) FROM node WHERE lease_until > ${NOW_MS}) - ${KEPT_EPOCHS}`,
  `DELETE FROM idempotency WHERE expires <= ${NOW_MS}`,
];
const TRY_LOCK = { text: 'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS held' };
const UNLOCK = { text: 'SELECT pg_advisory_unlock(hashtextextended($1, 0))' };

/**
 * This node's membership: a lease, and the epochs of the others' changes, both over one connection of its own. A renewal
 * also proves that the changes up to `seen_epoch` were applied, so a node that is live is never staler than a poll.
 */
export const joinCluster = async (options: {
  readonly database: Database;
  readonly nodeId: string;
  readonly bootId: string;
  readonly log: StorageLog;
  readonly events: ClusterEvents;
  /** True when no other process can be on this database: leases of earlier ones are void. */
  readonly alone: boolean;
  /** Pause between looks for changes, ms. Default 200. */
  readonly pollMs?: number;
}): Promise<ManagedCluster> => {
  const { database, nodeId, bootId, log, events, pollMs = POLL_MS } = options;
  let client: pg.Client | undefined;
  let liveUntil = 0;
  let seen = 0;
  let newest = 0;
  let others = false;
  let renewedAt = 0;
  let reportedEpoch = 0;
  let prunedAt = performance.now();
  let closing = false;
  const own = new Set<number>();
  const held = new Set<string>();
  const listeners: ((epoch: number, changes: Pick<EpochChanges, 'policies' | 'settings'>) => void)[] = [];

  const hints = makeChangeHints({ database, bootId, log });

  const announce = (changes: Pick<EpochChanges, 'policies' | 'settings'>): void => {
    for (const listener of listeners) {
      try {
        listener(newest, changes);
      } catch (error) {
        log.error({ error: (error as Error).message }, 'a listener for changes failed');
      }
    }
  };

  const connected = async (): Promise<pg.Client> => {
    if (client !== undefined) return client;
    const fresh = await database.dedicated('cluster', ANSWER_MS);
    fresh.once('end', () => {
      if (client === fresh) client = undefined;
    });
    await hints.attach(fresh);
    client = fresh;
    return fresh;
  };

  const register = async (connection: pg.Client): Promise<void> => {
    const asked = performance.now();
    if (options.alone) await query(connection, { text: `DELETE FROM node WHERE NOT (id = $1 AND boot = $2)` }, [nodeId, bootId]);
    const [row] = await query<{ epoch: number }>(connection, REGISTER, [nodeId, bootId]);
    // What happened before is not known: begin with empty caches at the epoch of the registration.
    seen = row?.epoch ?? 0;
    newest = Math.max(newest, seen);
    own.clear();
    events.missed();
    announce({ policies: true, settings: true });
    renewedAt = asked;
    reportedEpoch = seen;
    liveUntil = asked + LEASE_MS;
  };

  const poll = async (connection: pg.Client): Promise<void> => {
    const rows = await query<EpochChanges & { now: number; epoch: number | null } & pg.QueryResultRow>(connection, POLL, [seen]);
    const now = rows[0]?.now ?? seen;
    let foreign = { any: false, policies: false, settings: false };
    for (const row of rows) {
      if (row.epoch === null) continue;
      if (row.epoch !== seen + 1) break;
      seen = row.epoch;
      if (own.delete(row.epoch)) continue;
      events.changed(row);
      foreign = { any: true, policies: foreign.policies || row.policies, settings: foreign.settings || row.settings };
    }
    const complete = rows.length >= 5000 || seen >= now;
    if (!complete) {
      log.warn({ seen, now }, 'changes of other nodes were missed; the caches start anew');
      seen = now;
      own.clear();
      events.missed();
      foreign = { any: true, policies: true, settings: true };
    }
    newest = Math.max(newest, seen);
    if (foreign.any) announce(foreign);
  };

  const renew = async (connection: pg.Client): Promise<void> => {
    const asked = performance.now();
    const [row] = await query<{ live: number }>(connection, RENEW, [nodeId, bootId, seen]);
    if (row === undefined) return register(connection);
    others = row.live > 1;
    renewedAt = asked;
    reportedEpoch = seen;
    liveUntil = asked + LEASE_MS;
  };

  const housekeeping = async (connection: pg.Client): Promise<void> => {
    prunedAt = performance.now();
    await events.housekeeping();
    const [lock] = await query<{ held: boolean }>(connection, TRY_LOCK, ['aegis prune']);
    if (lock?.held !== true) return;
    try {
      for (const text of PRUNE) await query(connection, { text });
    } finally {
      await query(connection, UNLOCK, ['aegis prune']);
    }
  };

  /** One step of membership; steps never overlap, whoever asks for one. */
  let step: Promise<void> | undefined;
  const advance = (): Promise<void> => {
    step ??= (async () => {
      const connection = await connected();
      await poll(connection);
      // With others live, tell them at once what was seen: their revocations wait for it.
      if (performance.now() - renewedAt >= RENEW_MS || (others && reportedEpoch !== seen)) await renew(connection);
      if (performance.now() - prunedAt >= PRUNE_EVERY_MS) await housekeeping(connection);
    })().finally(() => {
      step = undefined;
    });
    return step;
  };

  await register(await connected());
  const loop = (async () => {
    let failures = 0;
    while (!closing) {
      const pause = failures === 0 ? pollMs : Math.min(POLL_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
      await hints.rest(pause);
      if (closing) return;
      try {
        await advance();
        failures = 0;
      } catch (error) {
        failures = Math.min(failures + 1, 10);
        log.debug({ error: (error as Error).message }, 'the cluster connection failed; connecting again');
        const broken = client;
        client = undefined;
        broken?.end().catch(() => undefined);
      }
    }
  })();

  const exclusively: ClusterStore['exclusively'] = async (name, job) => {
    if (held.has(name)) return undefined;
    held.add(name);
    let connection: pg.Client;
    try {
      connection = await connected();
      const [lock] = await query<{ held: boolean }>(connection, TRY_LOCK, [name]);
      if (lock?.held !== true) {
        held.delete(name);
        return undefined;
      }
    } catch (error) {
      held.delete(name);
      log.debug({ error: (error as Error).message, name }, 'no lock, the database is not reachable');
      return undefined;
    }
    try {
      return await job();
    } finally {
      held.delete(name);
      // On a lost connection the server has let go of it already.
      await query(connection, UNLOCK, [name]).catch(() => undefined);
    }
  };

  return {
    bootId,
    isLive: () => !closing && performance.now() < liveUntil,
    epoch: () => newest,
    exclusively,
    async effective(epoch, timeoutMs) {
      const until = performance.now() + timeoutMs;
      for (;;) {
        try {
          if (seen < epoch) await advance();
          if (seen >= epoch && (await database.read(LAGGING, [epoch, nodeId, bootId])).length === 0) return true;
        } catch (error) {
          log.debug({ error: (error as Error).message }, 'can not tell yet whether every node has seen a change');
        }
        if (performance.now() + EFFECTIVE_POLL_MS > until) return false;
        await sleep(EFFECTIVE_POLL_MS);
      }
    },
    onChange(listener) {
      listeners.push(listener);
    },
    committed(epoch) {
      if (epoch > seen) own.add(epoch);
      newest = Math.max(newest, epoch);
      if (others) hints.send();
    },
    announce,
    async close() {
      closing = true;
      hints.wake();
      await loop;
      const connection = client;
      client = undefined;
      if (connection === undefined) return;
      await query(connection, { text: 'DELETE FROM node WHERE id = $1 AND boot = $2' }, [nodeId, bootId]).catch(() => undefined);
      await connection.end().catch(() => undefined);
    },
  };
};
