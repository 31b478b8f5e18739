import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded/start-embedded-postgres.js';
import type { StorageLog } from '../../src/storage/log.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import type { Storage } from '../../src/storage/ports.js';

/** Says only what a failing test needs. */
export const quietLog: StorageLog = {
  debug() {},
  info() {},
  warn() {},
  error(fields, message) {
    if (process.env['AEGIS_TEST_LOG'] === '1') console.error(message, fields);
  },
};

interface Server {
  readonly administration: pg.ClientConfig;
  readonly embedded?: EmbeddedPostgres;
  stop(): Promise<void>;
}

const startLocal = async (): Promise<Server> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'aegis-test-'));
  const embedded = await startEmbeddedPostgres({ dataDir, log: quietLog });
  // A test process that is killed leaves nothing running: the watcher stops exactly this server, by its working directory.
  spawn(
    'sh',
    [
      '-c',
      'while kill -0 "$0" 2>/dev/null; do sleep 2; done; [ "$(readlink "/proc/$1/cwd")" = "$2/postgres/data" ] && kill -INT "$1"; sleep 5; rm -rf "$2"',
      String(process.pid),
      String(embedded.pid),
      dataDir,
    ],
    { detached: true, stdio: 'ignore', cwd: '/' },
  ).unref();
  return {
    administration: embedded.administration,
    embedded,
    async stop() {
      await embedded.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
};

/** AEGIS_TEST_CONTAINERS=1 runs the same tests on the official image, where Docker is available. */
const startContainer = async (): Promise<Server> => {
  const { GenericContainer, Wait } = await import('testcontainers');
  const password = randomBytes(16).toString('hex');
  const container = await new GenericContainer(process.env['AEGIS_TEST_POSTGRES_IMAGE'] ?? 'postgres:17-alpine')
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withExposedPorts(5432)
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
    .start();
  return {
    administration: { host: container.getHost(), port: container.getMappedPort(5432), user: 'postgres', database: 'postgres', password },
    async stop() {
      await container.stop();
    },
  };
};

let server: Promise<Server> | undefined;
/** The server of this test file; started by the first use, stopped after the last test. */
export const testServer = (): Promise<Server> => {
  server ??= process.env['AEGIS_TEST_CONTAINERS'] === '1' ? startContainer() : startLocal();
  return server;
};

afterAll(async () => {
  const running = await server?.catch(() => undefined);
  server = undefined;
  await running?.stop();
});

export const onServer = async <T>(work: (client: pg.Client) => Promise<T>, database?: string): Promise<T> => {
  const { administration } = await testServer();
  const client = new pg.Client({ ...administration, ...(database === undefined ? {} : { database }) });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

export interface TestDatabase {
  readonly connection: pg.PoolConfig & { readonly database: string };
  drop(): Promise<void>;
}

/** An empty database of its own. */
export const makeTestDatabase = async (): Promise<TestDatabase> => {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await onServer((client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`));
  const { administration } = await testServer();
  return {
    connection: { ...(administration as pg.PoolConfig), database: name },
    drop: () => onServer(async (client) => void (await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))),
  };
};

export interface TestStorage {
  readonly storage: Storage;
  readonly connection: TestDatabase['connection'];
  /** Another node on the same database. */
  open(nodeId: string, options?: Partial<StorageOptions>): Promise<Storage>;
  close(): Promise<void>;
}

/** A migrated database of its own with one node (`node-1`) on it. Call `close` when done. */
export const withTestStorage = async (options: Partial<StorageOptions> = {}): Promise<TestStorage> => {
  const database = await makeTestDatabase();
  const opened: Storage[] = [];
  const open = async (nodeId: string, more: Partial<StorageOptions> = {}): Promise<Storage> => {
    const storage = await openStorage({ connection: database.connection, kind: 'external', nodeId, log: quietLog, ...options, ...more });
    opened.push(storage);
    return storage;
  };
  const storage = await open('node-1');
  return {
    storage,
    connection: database.connection,
    open,
    async close() {
      await Promise.all(opened.map((each) => each.close()));
      await database.drop();
    },
  };
};
