import pg from 'pg';
import { fail } from '../domain/index.js';
import { BackupError, type BackupHeader, type BackupRoot, newKdf, openBackup, sealBackup } from './backup-format.js';
import { numericTypes, toConnectionConfig } from './database.js';
import type { StorageLog } from './log.js';
import { migrate, readMigrations } from './migrate.js';

export { BackupError } from './backup-format.js';

/**
 * Tables of a backup, in an order that satisfies their references. `node`, `change_log` and `schema_migration` belong to a
 * running cluster and to the target's own schema; a test keeps the two lists complete.
 */
export const BACKUP_TABLES = [
  'object',
  'object_name',
  'object_version',
  'object_usage',
  'principal',
  'certificate_binding',
  'token',
  'policy_document',
  'setting',
  'idempotency',
  'audit_chain',
  'audit_record',
  'audit_leaf',
  'audit_tree',
  'audit_checkpoint',
  'cluster',
] as const;
export const NOT_IN_BACKUP = ['node', 'change_log', 'schema_migration'] as const;
/** Tables whose one row a migration makes. */
const SINGLE_ROW = ['audit_tree', 'cluster'];

const FETCH_ROWS = 500;
/** Rows are sent to the database in statements of about this size. */
const BATCH_CHARACTERS = 512 * 1024;
const MAX_LINE_CHARACTERS = 128 * 1024 * 1024;
const MIN_PASSPHRASE_CHARACTERS = 12;
/** A reader of the backup that stalls this long loses it: it holds a snapshot that keeps the database from cleaning up. */
const STALLED_MS = 15 * 60_000;

export interface BackupProgress {
  readonly table: string;
  readonly rows: number;
  readonly totalRows: number;
}

export interface BackupReport {
  readonly createdAt: number;
  readonly schemaVersion: number;
  readonly roots: readonly BackupRoot[];
  readonly tables: Readonly<Record<string, number>>;
  readonly rows: number;
}

const totalOf = (header: BackupHeader): number => Object.values(header.tables).reduce((sum, rows) => sum + rows, 0);
const reportOf = (header: BackupHeader): BackupReport => ({
  createdAt: header.createdAt,
  schemaVersion: header.migrations.length,
  roots: header.roots,
  tables: header.tables,
  rows: totalOf(header),
});

const connect = async (connection: pg.PoolConfig | string, purpose: string): Promise<pg.Client> => {
  const client = new pg.Client({
    ...toConnectionConfig(connection),
    application_name: `aegis ${purpose}`,
    types: numericTypes,
    keepAlive: true,
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
};

/** Columns that hold data of their own; generated ones are computed again. */
const columnsOf = async (client: pg.Client, table: string): Promise<string[]> => {
  const { rows } = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [table],
  );
  return rows.map((row) => row.name);
};

const describe = async (client: pg.Client): Promise<BackupHeader> => {
  const tables: Record<string, number> = {};
  for (const table of BACKUP_TABLES)
    tables[table] = (await client.query<{ count: number }>(`SELECT count(*) FROM ${table}`)).rows[0]?.count ?? 0;
  const roots = await client.query<{ id: string; fingerprint: string; versions: number }>(
    `SELECT root_id AS id, root_fingerprint AS fingerprint, count(*) AS versions FROM object_version
     WHERE state <> 'destroyed' AND octet_length(reference) > 0 GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  const migrations = await client.query<{ name: string; checksum: string }>('SELECT name, checksum FROM schema_migration ORDER BY version');
  return { format: 1, createdAt: Date.now(), migrations: migrations.rows, roots: roots.rows, tables, kdf: newKdf() };
};

/** Lines: a table's `{"table": …, "columns": […]}`, then its rows as JSON; `end` closes the whole. */
const writeRows = async function* (
  client: pg.Client,
  header: BackupHeader,
  onProgress?: (progress: BackupProgress) => void,
): AsyncGenerator<Buffer> {
  const totalRows = totalOf(header);
  let rows = 0;
  for (const table of BACKUP_TABLES) {
    const columns = await columnsOf(client, table);
    yield Buffer.from(`${JSON.stringify({ table, columns })}\n`);
    await client.query(
      `DECLARE rows NO SCROLL CURSOR FOR SELECT row_to_json(r)::text AS line FROM (SELECT ${columns.join(', ')} FROM ${table}) r`,
    );
    for (;;) {
      const batch = await client.query<{ line: string }>(`FETCH ${FETCH_ROWS} FROM rows`);
      if (batch.rows.length === 0) break;
      rows += batch.rows.length;
      yield Buffer.from(batch.rows.map((row) => `${row.line}\n`).join(''));
      onProgress?.({ table, rows, totalRows });
    }
    await client.query('CLOSE rows');
  }
  yield Buffer.from('{"end":true}\n');
};

/**
 * One encrypted file with everything in the database, as it is at one moment; sealed keys stay sealed by their roots. Streamed
 * in bounded memory. Faults: `invalid-field` for a short passphrase, `storage-unavailable` while reading.
 */
export const createBackup = (options: {
  readonly connection: pg.PoolConfig | string;
  readonly passphrase: string;
  readonly onProgress?: (progress: BackupProgress) => void;
}): AsyncIterable<Uint8Array> => {
  if (options.passphrase.length < MIN_PASSPHRASE_CHARACTERS)
    throw fail('invalid-field', `The passphrase needs at least ${MIN_PASSPHRASE_CHARACTERS} characters.`, { field: 'passphrase' });
  return (async function* () {
    const client = await connect(options.connection, 'backup');
    try {
      await client.query(`SET statement_timeout = 0; SET idle_in_transaction_session_timeout = ${STALLED_MS}`);
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const header = await describe(client);
      yield* sealBackup(header, options.passphrase, writeRows(client, header, options.onProgress));
    } finally {
      await client.end().catch(() => undefined);
    }
  })();
};

type Line =
  | { readonly kind: 'table'; readonly table: string; readonly columns: readonly string[] }
  | { readonly kind: 'row'; readonly json: string };

const splitLines = async function* (content: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: string[] = [];
  let length = 0;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of content) {
    const lines = decoder.decode(chunk, { stream: true }).split('\n');
    for (const [index, line] of lines.entries()) {
      parts.push(line);
      length += line.length;
      if (length > MAX_LINE_CHARACTERS) throw new BackupError('a row of this backup is too large. Use another copy of the file.');
      if (index === lines.length - 1) break;
      yield parts.join('');
      parts = [];
      length = 0;
    }
  }
  if (length > 0) throw new BackupError('this backup ends inside a row. Use another copy of the file.');
};

/** The lines, checked: known tables in order, the counts of the header, the closing line. */
const readLines = async function* (
  content: AsyncIterable<Buffer>,
  header: BackupHeader,
  onProgress?: (progress: BackupProgress) => void,
): AsyncGenerator<Line> {
  const damaged = (what: string) => new BackupError(`this backup is not consistent (${what}). Make a new one.`);
  const totalRows = totalOf(header);
  let next = 0;
  let table: string | undefined;
  let inTable = 0;
  let rows = 0;
  let ended = false;
  const closeTable = (): void => {
    if (table !== undefined && header.tables[table] !== inTable)
      throw damaged(`${table} has ${inTable} rows, ${header.tables[table]} expected`);
  };
  for await (const line of splitLines(content)) {
    if (ended) throw damaged('content after its end');
    if (line.startsWith('{"table":') || line === '{"end":true}') {
      closeTable();
      const marker = JSON.parse(line) as { table?: string; columns?: string[]; end?: true };
      if (marker.end === true) {
        if (next !== BACKUP_TABLES.length) throw damaged('tables are missing');
        ended = true;
        continue;
      }
      table = BACKUP_TABLES[next];
      next += 1;
      inTable = 0;
      if (marker.table !== table || !Array.isArray(marker.columns) || !marker.columns.every((name) => /^[a-z_]+$/.test(name)))
        throw damaged('an unknown table');
      yield { kind: 'table', table: marker.table as string, columns: marker.columns };
    } else {
      if (table === undefined) throw damaged('a row without a table');
      inTable += 1;
      rows += 1;
      if (rows % FETCH_ROWS === 0 || rows === totalRows) onProgress?.({ table, rows, totalRows });
      yield { kind: 'row', json: line };
    }
  }
  if (!ended) throw damaged('its end is missing');
};

/** Reads the whole file: authentic to the last byte, complete, and of this format. Needs no database. */
export const verifyBackup = async (
  stream: AsyncIterable<Uint8Array>,
  options: { readonly passphrase: string; readonly onProgress?: (progress: BackupProgress) => void },
): Promise<BackupReport> => {
  const { header, content, close } = await openBackup(stream, options.passphrase);
  try {
    for await (const line of readLines(content, header, options.onProgress)) if (line.kind === 'row') JSON.parse(line.json);
  } finally {
    await close();
  }
  return reportOf(header);
};

const refuseMissingRoots = (header: BackupHeader, present: readonly { readonly id: string; readonly fingerprint: string }[]): void => {
  const fingerprints = new Set(present.map((root) => root.fingerprint));
  const missing = header.roots.filter((root) => !fingerprints.has(root.fingerprint));
  if (missing.length === 0) return;
  const list = missing.map((root) => `${root.id} (fingerprint ${root.fingerprint}, ${root.versions} key versions)`).join(', ');
  const have = present.map((root) => `${root.id} (${root.fingerprint})`).join(', ') || 'none';
  throw new BackupError(
    `the keys of this backup are sealed by roots of trust that are not configured here: ${list}; configured: ${have}. ` +
      'Restore the sealing key file, passphrase or HSM token of that root first, then repeat.',
  );
};

/** The schema of the backup, exactly: the migrations it was written by have to be ours too. */
const schemaOf = async (header: BackupHeader) => {
  const known = await readMigrations();
  if (header.migrations.length > known.length)
    throw new BackupError(
      `the backup was made by a newer version of Aegis (schema ${header.migrations.length}). Restore it with that version.`,
    );
  for (const [index, applied] of header.migrations.entries())
    if (known[index]?.checksum !== applied.checksum)
      throw new BackupError(
        `the backup's schema is not one of this program (${applied.name} differs). Restore it with the version that made it.`,
      );
  return known.slice(0, header.migrations.length);
};

const refuseUsed = async (client: pg.Client): Promise<void> => {
  for (const table of [...BACKUP_TABLES, 'node']) {
    if (SINGLE_ROW.includes(table)) continue;
    const { rows } = await client.query<{ used: boolean }>(`SELECT to_regclass('${table}') IS NOT NULL AS used`);
    if (rows[0]?.used !== true) continue;
    const any = await client.query(`SELECT 1 FROM ${table} LIMIT 1`);
    if (any.rows.length > 0)
      throw new BackupError(
        `the database is not empty (table ${table}). Restore into a new data directory or an empty database, with the service stopped; nothing was changed.`,
      );
  }
};

const load = async (client: pg.Client, lines: AsyncIterable<Line>): Promise<void> => {
  let into: { table: string; columns: readonly string[] } | undefined;
  let batch: string[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    if (into === undefined || batch.length === 0) return;
    const columns = into.columns.join(', ');
    await client.query(
      `INSERT INTO ${into.table} (${columns}) OVERRIDING SYSTEM VALUE SELECT ${columns} FROM json_populate_recordset(NULL::${into.table}, $1::json)`,
      [`[${batch.join(',')}]`],
    );
    batch = [];
    size = 0;
  };
  for await (const line of lines) {
    if (line.kind === 'table') {
      await flush();
      const columns = await columnsOf(client, line.table);
      if (columns.join() !== line.columns.join())
        throw new BackupError(
          `the backup's table ${line.table} has other columns than the schema. Restore it with the version that made it.`,
        );
      into = line;
      if (SINGLE_ROW.includes(line.table)) await client.query(`DELETE FROM ${line.table}`);
      continue;
    }
    batch.push(line.json);
    size += line.json.length;
    if (size >= BATCH_CHARACTERS) await flush();
  }
  await flush();
  await client.query(
    `SELECT setval(pg_get_serial_sequence('audit_chain', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM audit_chain), false)`,
  );
};

/**
 * Restores into an empty database, in one transaction: a file that is damaged anywhere changes nothing. Refuses when the roots
 * that sealed the keys are not among `roots`, and names the missing ones. Older backups are brought to the present schema.
 */
export const restoreBackup = async (
  stream: AsyncIterable<Uint8Array>,
  options: {
    readonly connection: pg.PoolConfig | string;
    readonly passphrase: string;
    readonly roots: readonly { readonly id: string; readonly fingerprint: string }[];
    readonly log: StorageLog;
    readonly onProgress?: (progress: BackupProgress) => void;
  },
): Promise<BackupReport> => {
  const { header, content, close } = await openBackup(stream, options.passphrase);
  const connection = toConnectionConfig(options.connection);
  try {
    refuseMissingRoots(header, options.roots);
    const migrations = await schemaOf(header);
    const client = await connect(connection, 'restore');
    try {
      await refuseUsed(client);
      await migrate({ connection, log: options.log, migrations });
      await client.query('BEGIN');
      await load(client, readLines(content, header, options.onProgress));
      await client.query('COMMIT');
      await client.query('ANALYZE');
    } finally {
      await client.end().catch(() => undefined);
    }
  } finally {
    await close();
  }
  await migrate({ connection, log: options.log });
  return reportOf(header);
};
