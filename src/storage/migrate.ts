import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { StorageLog } from './log.js';

/** Advisory lock under which migrations run: "aegis" and 1 as one 64-bit number. */
const MIGRATION_LOCK = '107088154555137';
const LOCK_WAIT_MS = 120_000;

/** The same place relative to src/storage and to dist/storage. */
const MIGRATIONS_DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url));

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text with LF line ends, lower-case hex. */
  readonly checksum: string;
  /** True when a line `-- breaking` marks it: binaries that don't know it must not run on the result. */
  readonly breaking: boolean;
}

/** The schema and this program don't fit; the message says what to do. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

/** Reads `NNNN_name.sql`, numbered from 1 without gaps. */
export const readMigrations = async (directory: string = MIGRATIONS_DIRECTORY): Promise<readonly Migration[]> => {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const version = Number(FILE_NAME.exec(name)?.[1] ?? Number.NaN);
      if (version !== index + 1)
        throw new MigrationError(`migrations/${name} is out of order: expected number ${index + 1}. Restore the folder from the release.`);
      const sql = (await readFile(`${directory}/${name}`, 'utf8')).replaceAll('\r\n', '\n');
      return { version, name, sql, checksum: createHash('sha256').update(sql).digest('hex'), breaking: /^-- breaking\b/m.test(sql) };
    }),
  );
};

interface AppliedRow {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly breaking: boolean;
}

/** Throws when what was applied and what this program knows disagree; answers the migrations still to apply. */
export const pendingMigrations = (known: readonly Migration[], applied: readonly AppliedRow[], log: StorageLog): readonly Migration[] => {
  const byVersion = new Map(applied.map((row) => [row.version, row]));
  for (const migration of known) {
    const row = byVersion.get(migration.version);
    if (row !== undefined && row.checksum !== migration.checksum)
      throw new MigrationError(
        `migration ${row.name} was applied with checksum ${row.checksum.slice(0, 12)}…, but the file now has ${migration.checksum.slice(0, 12)}…. ` +
          'A migration must never change after it was applied: restore the file from the release, or restore a backup made before.',
      );
  }
  const newer = applied.filter((row) => row.version > known.length);
  const breaking = newer.find((row) => row.breaking);
  if (breaking !== undefined)
    throw new MigrationError(
      `the database has the breaking migration ${breaking.name}, which this version of Aegis does not know. ` +
        'Start the newer version again, or restore a backup made before the upgrade.',
    );
  if (newer.length > 0)
    log.warn({ newer: newer.map((row) => row.name) }, 'the database is newer than this program; its additions are compatible and ignored');
  return known.filter((migration) => !byVersion.has(migration.version));
};

const apply = async (client: pg.Client, migration: Migration): Promise<void> => {
  await client.query('BEGIN');
  try {
    await client.query(migration.sql);
    await client.query('INSERT INTO schema_migration (version, name, checksum, breaking) VALUES ($1, $2, $3, $4)', [
      migration.version,
      migration.name,
      migration.checksum,
      migration.breaking,
    ]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw new MigrationError(
      `migration ${migration.name} failed and was rolled back: ${error instanceof Error ? error.message : String(error)}. ` +
        'Check that the database role owns the schema (GRANT CREATE ON SCHEMA public), then start again.',
      { cause: error },
    );
  }
};

const checkServer = async (client: pg.Client): Promise<void> => {
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding`,
  );
  const server = rows[0];
  if (server === undefined || server.version < 140_000)
    throw new MigrationError(`PostgreSQL 14 or newer is needed, the server has ${server?.version ?? 'an unknown version'}. Upgrade it.`);
  if (server.encoding !== 'UTF8')
    throw new MigrationError(`the database encoding is ${server.encoding}; create the database with ENCODING 'UTF8'.`);
};

/**
 * Brings the schema up to date, under an advisory lock so that nodes may start together. Forward only; each migration is
 * one transaction. Throws MigrationError when the database is newer and breaking, a checksum changed, or one fails.
 */
export const migrate = async (options: {
  readonly connection: pg.ClientConfig;
  readonly log: StorageLog;
  readonly migrations?: readonly Migration[];
}): Promise<{ readonly version: number; readonly applied: readonly string[] }> => {
  const known = options.migrations ?? (await readMigrations());
  const client = new pg.Client({ ...options.connection, application_name: 'aegis migrate' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await checkServer(client);
    await client.query(`SET statement_timeout = ${LOCK_WAIT_MS}`);
    await client.query(`SELECT pg_advisory_lock(${MIGRATION_LOCK})`);
    await client.query('SET statement_timeout = 0');
    await client.query(
      `CREATE TABLE IF NOT EXISTS schema_migration (
         version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, breaking boolean NOT NULL,
         applied_at timestamptz NOT NULL DEFAULT now())`,
    );
    const { rows } = await client.query<AppliedRow>('SELECT version, name, checksum, breaking FROM schema_migration ORDER BY version');
    const pending = pendingMigrations(known, rows, options.log);
    for (const migration of pending) {
      await apply(client, migration);
      options.log.info({ migration: migration.name }, 'migration applied');
    }
    return { version: Math.max(known.length, ...rows.map((row) => row.version)), applied: pending.map((migration) => migration.name) };
  } finally {
    await client.end().catch(() => undefined);
  }
};
