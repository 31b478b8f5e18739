import type { ChildProcess } from 'node:child_process';
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { StorageLog } from '../log.js';
import { type Account, chooseAccount, reachable } from './account.js';
import { chooseBinaries, findBinaries, type PostgresBinaries, stageBinaries } from './binaries.js';
import {
  type ClusterPaths,
  clusterPaths,
  forgetSocketDirectory,
  giveDirectory,
  initCluster,
  loadPasswords,
  type Passwords,
  socketDirectory,
  socketPath,
  spawnOn,
} from './cluster-files.js';
import { takeOwnership } from './owner.js';
import { stopOrphan, stopPostmaster } from './processes.js';

/** Crash recovery of a large WAL takes a while; a server that is still recovering is not a failed one. */
const READY_WITHIN_MS = 180_000;
/** After kill -9 of the postmaster its children need a moment to notice and let go of the shared memory. */
const SHARED_MEMORY_RETRY_MS = 15_000;

/** fsync stays on: an acknowledged commit survives power loss. Values are for a server beside Aegis on a small machine. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: '5432',
  unix_socket_permissions: '0700',
  ssl: 'off',
  max_connections: '40',
  shared_buffers: '128MB',
  work_mem: '8MB',
  maintenance_work_mem: '64MB',
  effective_cache_size: '1GB',
  random_page_cost: '1.1',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '1GB',
  checkpoint_timeout: '10min',
  autovacuum_naptime: '30s',
  update_process_title: 'off',
  log_destination: 'stderr',
  logging_collector: 'off',
  log_line_prefix: '',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
  // No statement, parameter or row value in any log; errors of single statements are answered, not logged.
  log_min_messages: 'log',
  log_statement: 'none',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
};

/** A private PostgreSQL of ours. */
export interface EmbeddedPostgres {
  /** As the role that owns the database `aegis`; not a superuser. */
  readonly connection: pg.PoolConfig & { readonly host: string; readonly database: string };
  /** As superuser, for making test databases and for maintenance. */
  readonly administration: pg.ClientConfig;
  readonly major: number;
  readonly pid: number;
  /** Fast shutdown, bounded. */
  stop(): Promise<void>;
  /** Called once if PostgreSQL ends without `stop`; start it again with the same options. */
  onExit(listener: (reason: string) => void): void;
}

const majorOf = async (data: string): Promise<number | undefined> => {
  const text = await readFile(join(data, 'PG_VERSION'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : Number.parseInt(text, 10);
};

const makeReachable = async (binaries: PostgresBinaries, account: Account): Promise<PostgresBinaries & { staged?: string }> => {
  if (await reachable(binaries.directory, account)) return binaries;
  for (const temporary of [tmpdir(), '/tmp', '/var/tmp'])
    if (await reachable(temporary, account)) return stageBinaries(binaries, temporary);
  throw new Error(
    `PostgreSQL's programs in ${binaries.directory} can't be used by user id ${account.uid}, which it has to run as because Aegis runs as root. ` +
      'Install PostgreSQL from the system packages, run Aegis as a normal user, or set AEGIS_DATABASE_URL.',
  );
};

/** Removes the copy that a killed server left; its name is one of ours or it is not touched. */
const removeStaged = async (paths: ClusterPaths): Promise<void> => {
  const staged = await readFile(paths.staged, 'utf8').catch(() => undefined);
  if (staged !== undefined && /^\/[^\0]*\/aegis-postgresql-[A-Za-z0-9]{6}$/.test(staged) && !staged.includes('/../'))
    await rm(staged, { recursive: true, force: true });
  await rm(paths.staged, { force: true });
};

const reasonOf = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal === null ? `exit code ${code}` : `signal ${signal}`;

interface Running {
  readonly child: ChildProcess;
  readonly exit: Promise<string>;
  readonly lines: readonly string[];
  ended(): boolean;
}

const run = async (paths: ClusterPaths, binaries: PostgresBinaries, account: Account, log: StorageLog): Promise<Running> => {
  // Before PostgreSQL 18 the setting does not exist; `sync` needs no I/O worker processes.
  const settings = { ...SETTINGS, ...(binaries.major >= 18 ? { io_method: 'sync' } : {}) };
  const child = await spawnOn(join(binaries.directory, 'postgres'), paths.data, account, (data) => [
    '-D',
    data,
    // Relative to the data directory, which PostgreSQL makes its working directory.
    '-c',
    'unix_socket_directories=../run',
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]);
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null)
      createInterface({ input: stream }).on('line', (line) => {
        if (lines.push(line) > 40) lines.shift();
        if (/\b(FATAL|PANIC|ERROR|WARNING):/.test(line) && !line.includes('the database system is starting up'))
          log.warn({ postgres: line }, 'PostgreSQL says');
        else log.debug({ postgres: line }, 'PostgreSQL says');
      });
  let ended = false;
  const exit = new Promise<string>((resolveExit) => {
    const end = (reason: string) => {
      ended = true;
      resolveExit(reason);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(reasonOf(code, signal)));
  });
  return { child, exit, lines, ended: () => ended };
};

/** Rejects when `work` has not settled in time: a client of a server that dies in the middle of the handshake may never hear of it. */
const bounded = async <T>(work: Promise<T>, withinMs: number): Promise<T> => {
  const timer = new AbortController();
  try {
    return await Promise.race([
      work,
      sleep(withinMs, undefined, { signal: timer.signal }).then(() => Promise.reject(new Error(`no answer in ${withinMs} ms`))),
    ]);
  } finally {
    timer.abort();
  }
};
const CONNECT_MS = 5_000;
const END_MS = 1_000;
const endQuietly = (client: pg.Client): Promise<void> => bounded(client.end(), END_MS).catch(() => undefined);

const ready = async (running: Running, config: pg.ClientConfig): Promise<boolean> => {
  const until = performance.now() + READY_WITHIN_MS;
  while (!running.ended()) {
    const client = new pg.Client({ ...config, connectionTimeoutMillis: CONNECT_MS });
    client.on('error', () => undefined);
    try {
      await bounded(client.connect(), CONNECT_MS + END_MS);
      await endQuietly(client);
      return true;
    } catch (error) {
      await endQuietly(client);
      const code = (error as { code?: string }).code;
      if (code === '28P01')
        throw new Error(
          'the embedded PostgreSQL refuses the password in passwords.json. Restore that file beside the data, or restore a backup.',
          {
            cause: error,
          },
        );
      if (performance.now() > until)
        throw new Error(`the embedded PostgreSQL is not ready after ${READY_WITHIN_MS / 1000} s.`, { cause: error });
    }
    await sleep(20);
  }
  return false;
};

/** Starts, and tries again while the children of a killed postmaster still hold its memory. */
const runUntilReady = async (
  paths: ClusterPaths,
  binaries: PostgresBinaries,
  account: Account,
  log: StorageLog,
  config: pg.ClientConfig,
): Promise<Running> => {
  const until = performance.now() + SHARED_MEMORY_RETRY_MS;
  for (;;) {
    const running = await run(paths, binaries, account, log);
    try {
      if (await ready(running, config)) return running;
    } catch (error) {
      if (running.child.pid !== undefined) await stopPostmaster(running.child.pid);
      throw error;
    }
    const reason = await running.exit;
    // Its last words may still be in the pipe when the exit is known.
    await sleep(50);
    const said = running.lines.join(' | ');
    if (!/still in use|lock file "postmaster.pid" already exists/.test(said) || performance.now() > until)
      throw new Error(
        `the embedded PostgreSQL did not start (${reason}): ${said.slice(-600)}. ` +
          `Its files are in ${paths.base}; check free space and permissions there.`,
      );
    await sleep(250);
  }
};

/** The application's role and database; repeated at every start, so a start that was killed half-way is completed. */
const ensureDatabase = async (administration: pg.ClientConfig, passwords: Passwords): Promise<void> => {
  const client = new pg.Client({ ...administration, connectionTimeoutMillis: CONNECT_MS });
  client.on('error', () => undefined);
  await bounded(client.connect(), CONNECT_MS + END_MS);
  try {
    const { rows } = await client.query<{ role: boolean; database: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'aegis') AS role, EXISTS (SELECT FROM pg_database WHERE datname = 'aegis') AS database`,
    );
    if (rows[0]?.role !== true) await client.query(`CREATE ROLE aegis LOGIN PASSWORD ${pg.escapeLiteral(passwords.application)}`);
    if (rows[0]?.database !== true) {
      await client.query(`CREATE DATABASE aegis OWNER aegis TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`);
      await client.query('REVOKE ALL ON DATABASE aegis FROM PUBLIC');
    }
  } finally {
    await endQuietly(client);
  }
};

const prepare = async (dataDir: string, log: StorageLog) => {
  const paths = clusterPaths(dataDir);
  const cluster = await stat(paths.data).catch(() => undefined);
  const account = await chooseAccount(cluster === undefined ? undefined : { uid: cluster.uid, gid: cluster.gid });
  // Only we make entries here; the other account may pass to its two folders, and nobody passes the data directory above.
  await chmod(paths.base, account.uid === undefined ? 0o700 : 0o711);
  await giveDirectory(paths.run, account);
  await stopOrphan(paths.data, socketPath(await socketDirectory(paths.run)), log);
  await removeStaged(paths);
  const binaries = await makeReachable(chooseBinaries(await findBinaries(), await majorOf(paths.data)), account);
  if (binaries.staged !== undefined) await writeFile(paths.staged, binaries.staged, { mode: 0o600 });
  const passwords = await loadPasswords(paths.passwords);
  if (cluster === undefined) {
    log.info({ directory: paths.data, postgres: binaries.major }, 'making the embedded PostgreSQL cluster');
    await initCluster(paths, binaries, account, passwords.superuser);
  }
  return { paths, account, binaries, passwords };
};

/**
 * Starts the private PostgreSQL in `<dataDir>/postgres`: Unix socket in a 0700 directory, no TCP, fsync on. Works as root
 * (PostgreSQL then runs as `postgres` or `nobody`) and as a normal user. A PostgreSQL that a killed server left on the same
 * data is stopped first; a second live Aegis on it is refused. Errors say what to do.
 */
export const startEmbeddedPostgres = async (options: { readonly dataDir: string; readonly log: StorageLog }): Promise<EmbeddedPostgres> => {
  const dataDir = resolve(options.dataDir);
  const { log } = options;
  await mkdir(join(dataDir, 'postgres'), { recursive: true, mode: 0o700 });
  const ownership = await takeOwnership(clusterPaths(dataDir).owners);
  let staged: string | undefined;
  const cleanUp = async () => {
    if (staged !== undefined) await rm(staged, { recursive: true, force: true });
    await ownership.release();
  };
  try {
    const { paths, account, binaries, passwords } = await prepare(dataDir, log);
    staged = binaries.staged;
    const host = await socketDirectory(paths.run);
    const administration = { host, port: 5432, user: 'postgres', database: 'postgres', password: passwords.superuser, ssl: false };
    const running = await runUntilReady(paths, binaries, account, log, administration);
    await ensureDatabase(administration, passwords);
    const pid = running.child.pid as number;
    log.info({ pid, postgres: binaries.major, origin: binaries.origin }, 'embedded PostgreSQL is ready');
    const listeners: ((reason: string) => void)[] = [];
    let stopping = false;
    let endedWith: string | undefined;
    void running.exit.then(async (reason) => {
      if (stopping) return;
      await cleanUp();
      endedWith = reason;
      log.error({ pid, reason }, 'embedded PostgreSQL ended unexpectedly');
      for (const listener of listeners) listener(reason);
    });
    return {
      connection: { host, port: 5432, user: 'aegis', database: 'aegis', password: passwords.application, ssl: false },
      administration,
      major: binaries.major,
      pid,
      async stop() {
        if (stopping || endedWith !== undefined) return;
        stopping = true;
        if (!running.ended()) await stopPostmaster(pid);
        await running.exit;
        await cleanUp();
        await forgetSocketDirectory(paths.run);
      },
      onExit(listener) {
        if (endedWith !== undefined) listener(endedWith);
        else listeners.push(listener);
      },
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
};
