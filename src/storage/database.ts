import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { FaultError } from '../domain/index.js';
import { isConnectionLoss, sqlState, toStorageFault } from './failures.js';
import type { StorageLog } from './log.js';

/** How long a call waits for a database that is away, at most; after that every call fails at once until it is back. */
const PATIENCE_MS = 2_500;
const CONNECT_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 15_000;
/** The client gives up after the server should have: only a silent network lets it come to that. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 3_000;
const LOCK_TIMEOUT_MS = 5_000;
const IDLE_IN_TRANSACTION_MS = 20_000;

const INT8_OID = 20;
/** Dates and counters are bigint in the database and safe integers here. */
export const numericTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID ? Number : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

/** Stronger settings of the server (remote_apply) stay; a session never acknowledges before its commit is on disk. */
const ENFORCE_DURABILITY = `SELECT set_config('synchronous_commit',
  CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, false)`;

export const toConnectionConfig = (connection: pg.PoolConfig | string): pg.PoolConfig =>
  typeof connection === 'string' ? { connectionString: connection } : connection;

export type Row = pg.QueryResultRow;

/** A statement; named ones are prepared once per connection. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
}

export interface Database {
  /** A read: repeated once on a fresh connection when its connection broke. */
  read<R extends Row>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /** A statement with an effect, in its own transaction; not repeated. */
  run<R extends Row>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /** Lends a connection. It is discarded when `work` throws a connection loss, or leaves a transaction open. */
  withWriter<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
  withReader<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
  /** A connection outside the pools, with the same settings. */
  dedicated(purpose: string, answerWithinMs: number): Promise<pg.Client>;
  close(): Promise<void>;
}

export const query = async <R extends Row>(
  client: Pick<pg.ClientBase, 'query'>,
  statement: Statement,
  values: readonly unknown[] = [],
): Promise<R[]> => (await client.query<R>({ ...statement, values: values as unknown[] })).rows;

const sessionSettings = (connection: pg.PoolConfig, name: string): pg.PoolConfig => ({
  ...connection,
  application_name: name.slice(0, 63),
  types: numericTypes,
  connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
  statement_timeout: STATEMENT_TIMEOUT_MS,
  lock_timeout: LOCK_TIMEOUT_MS,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  query_timeout: ANSWER_TIMEOUT_MS,
});

/** Pools over one database: a few connections for the journal's transactions, others for everything else. */
export const openDatabase = (options: {
  readonly connection: pg.PoolConfig;
  readonly nodeId: string;
  readonly log: StorageLog;
  readonly writers?: number;
  readonly readers?: number;
}): Database => {
  const { log } = options;
  let awaySince: number | undefined;
  let closing = false;

  const makePool = (purpose: string, max: number): pg.Pool => {
    const pool = new pg.Pool({
      ...sessionSettings(options.connection, `aegis ${options.nodeId} ${purpose}`),
      max,
      idleTimeoutMillis: 60_000,
      // The pool awaits it before it hands the connection out.
      onConnect: (client) => client.query(ENFORCE_DURABILITY) as unknown as undefined,
    });
    pool.on('error', (error) => log.debug({ purpose, code: sqlState(error) }, 'an idle database connection was lost'));
    return pool;
  };
  const writers = makePool('journal', options.writers ?? 4);
  const readers = makePool('reads', options.readers ?? 8);

  const arrived = (): void => {
    if (awaySince === undefined) return;
    log.info({ awayMs: Math.round(performance.now() - awaySince) }, 'the database is back');
    awaySince = undefined;
  };

  const unreachable = (error: unknown): FaultError => toStorageFault(error);

  /** Waits for a connection with growing pauses; in a long outage only one attempt is made and nobody queues. */
  const acquire = async (pool: pg.Pool): Promise<pg.PoolClient> => {
    const began = performance.now();
    for (let delay = 25; ; delay = Math.min(delay * 2, 400)) {
      try {
        const client = await pool.connect();
        arrived();
        return client;
      } catch (error) {
        const now = performance.now();
        if (awaySince === undefined) {
          awaySince = now;
          if (!closing) log.warn({ code: sqlState(error) ?? (error as { code?: string }).code }, 'the database is not reachable');
        }
        if (closing || now - began + delay > PATIENCE_MS || now - awaySince > PATIENCE_MS || !isRetryable(error)) throw unreachable(error);
        await sleep(delay + Math.random() * delay);
      }
    }
  };

  const lend = async <T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    const client = await acquire(pool);
    let lost: Error | undefined;
    // Between two statements a lost connection shows only here; without a listener it would end the process.
    const onError = (error: Error) => {
      lost = error;
    };
    client.on('error', onError);
    try {
      return await work(client);
    } catch (error) {
      if (isConnectionLoss(error)) lost = error as Error;
      throw error;
    } finally {
      client.removeListener('error', onError);
      client.release(lost ?? (transactionOpen(client) ? new Error('left inside a transaction') : undefined));
    }
  };

  const once = <R extends Row>(pool: pg.Pool, statement: Statement, values: readonly unknown[]): Promise<R[]> =>
    lend(pool, (client) => query<R>(client, statement, values));

  return {
    async read<R extends Row>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
      try {
        return await once<R>(readers, statement, values).catch((error: unknown) => {
          if (!isConnectionLoss(error)) throw error;
          return once<R>(readers, statement, values);
        });
      } catch (error) {
        throw toStorageFault(error);
      }
    },
    async run<R extends Row>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
      try {
        return await once<R>(readers, statement, values);
      } catch (error) {
        throw toStorageFault(error);
      }
    },
    withWriter: (work) => lend(writers, work),
    withReader: (work) => lend(readers, work),
    async dedicated(purpose, answerWithinMs) {
      const client = new pg.Client({
        ...sessionSettings(options.connection, `aegis ${options.nodeId} ${purpose}`),
        statement_timeout: answerWithinMs,
        query_timeout: answerWithinMs + 1_000,
      });
      client.on('error', () => undefined);
      try {
        await client.connect();
        await client.query(ENFORCE_DURABILITY);
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
      return client;
    },
    async close() {
      closing = true;
      await Promise.all([writers.end(), readers.end()]);
    },
  };
};

/** 'I' is idle; anything else after the work means a transaction that must not reach the next user (pg's ReadyForQuery status). */
const transactionOpen = (client: pg.PoolClient): boolean => {
  const status = (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.();
  return status === 'T' || status === 'E';
};

/** Worth waiting for: server away, starting, shutting down or out of connections; not a wrong password or a missing database. */
const isRetryable = (error: unknown): boolean => {
  const state = sqlState(error);
  if (state !== undefined) return /^08|^57P0|^53/.test(state);
  // The pool's own time-out means that every connection is busy: more waiting only makes it worse.
  return !(error instanceof Error && error.message.startsWith('timeout exceeded'));
};
