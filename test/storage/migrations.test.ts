import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Migration, MigrationError, migrate, pendingMigrations, readMigrations } from '../../src/storage/migrate.js';
import { makeTestDatabase, onServer, quietLog, type TestDatabase } from './test-database.js';

let database: TestDatabase;
beforeEach(async () => {
  database = await makeTestDatabase();
});
afterEach(() => database.drop());

const run = (migrations?: readonly Migration[]) =>
  migrate({ connection: database.connection, log: quietLog, ...(migrations === undefined ? {} : { migrations }) });
const applied = () =>
  onServer(
    async (client) =>
      (await client.query<{ name: string }>('SELECT name FROM schema_migration ORDER BY version')).rows.map((row) => row.name),
    database.connection.database,
  );
const extra = (version: number, sql: string): Migration => ({
  version,
  name: `${String(version).padStart(4, '0')}_extra.sql`,
  sql,
  checksum: `checksum of ${sql}`,
  breaking: sql.includes('-- breaking'),
});

describe('migrations', () => {
  test('are applied once, in order, by whoever comes first of many at once', async () => {
    const known = await readMigrations();
    const results = await Promise.all(Array.from({ length: 6 }, () => run()));
    expect(results.map((result) => result.version)).toEqual(Array(6).fill(known.length));
    expect(results.flatMap((result) => result.applied)).toEqual(known.map((migration) => migration.name));
    expect((await run()).applied).toEqual([]);
    expect(await applied()).toEqual(known.map((migration) => migration.name));
  });

  test('a failing one is rolled back whole and stops there; repaired, the rest follows', async () => {
    const known = await readMigrations();
    const next = known.length + 1;
    await expect(run([...known, extra(next, 'CREATE TABLE half (a int); SELECT 1/0')])).rejects.toThrow(
      new RegExp(`${extra(next, '').name} failed and was rolled back.*start again`),
    );
    expect(await applied()).toHaveLength(known.length);
    const half = await onServer(
      async (client) => (await client.query(`SELECT to_regclass('half') AS name`)).rows,
      database.connection.database,
    );
    expect(half).toEqual([{ name: null }]);
    expect((await run([...known, extra(next, 'CREATE TABLE half (a int)')])).applied).toEqual([extra(next, '').name]);
  });

  test('a changed checksum is refused, and says what to do', async () => {
    const known = await readMigrations();
    await run();
    const changed = known.map((migration, index) => (index === 1 ? { ...migration, checksum: 'f'.repeat(64) } : migration));
    await expect(run(changed)).rejects.toThrow(/0002_.*applied with checksum .* but the file now has ffffffffffff.*restore/);
  });

  test('an old program runs on a newer schema, but not on a breaking one', async () => {
    const known = await readMigrations();
    await run([...known, extra(known.length + 1, 'CREATE TABLE added (a int)')]);
    expect((await run(known)).version).toBe(known.length + 1);
    await run([...known, extra(known.length + 1, 'CREATE TABLE added (a int)'), extra(known.length + 2, '-- breaking\nDROP TABLE added')]);
    await expect(run(known)).rejects.toThrow(/breaking migration .* does not know.*newer version/);
    await expect(run(known)).rejects.toBeInstanceOf(MigrationError);
  });

  test('breaking is read from the file, line ends do not matter, and a gap in the numbers is refused', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aegis-migrations-'));
    try {
      await writeFile(join(directory, '0001_a.sql'), 'SELECT 1;\r\n-- breaking: drops a column\r\n');
      const [first] = await readMigrations(directory);
      expect(first).toMatchObject({ version: 1, name: '0001_a.sql', breaking: true });
      await writeFile(join(directory, '0001_a.sql'), 'SELECT 1;\n-- breaking: drops a column\n');
      expect((await readMigrations(directory))[0]?.checksum).toBe(first?.checksum);
      await writeFile(join(directory, '0003_b.sql'), 'SELECT 1;');
      await expect(readMigrations(directory)).rejects.toThrow(/0003_b.sql is out of order: expected number 2/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('pending ones are those not applied', async () => {
    const known = await readMigrations();
    const rows = known.slice(0, 1).map(({ version, name, checksum, breaking }) => ({ version, name, checksum, breaking }));
    expect(pendingMigrations(known, rows, quietLog)).toEqual(known.slice(1));
  });
});

describe('the schema', () => {
  /** Tables, columns, constraints and indexes as PostgreSQL describes them; the same text on every supported version. */
  const dump = (): Promise<string> =>
    onServer(async (client) => {
      const tables = await client.query<{ name: string; options: string[] | null }>(
        `SELECT relname AS name, reloptions AS options FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname`,
      );
      const lines: string[] = [];
      for (const { name, options } of tables.rows) {
        lines.push(`table ${name}${options === null ? '' : ` with (${options.join(', ')})`}`);
        const columns = await client.query<{ line: string }>(
          `SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod),
             CASE WHEN attcollation <> 0 AND attcollation <> (SELECT typcollation FROM pg_type WHERE oid = atttypid) THEN 'collate ' || (SELECT collname FROM pg_collation WHERE oid = attcollation) END,
             CASE WHEN attnotnull THEN 'not null' END, CASE attidentity WHEN 'a' THEN 'identity' END,
             CASE attgenerated WHEN 's' THEN 'generated ' ELSE 'default ' END || pg_get_expr(adbin, adrelid)) AS line
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
           WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
          [name],
        );
        const constraints = await client.query<{ line: string }>(
          `SELECT conname || ' ' || pg_get_constraintdef(oid) AS line FROM pg_constraint WHERE conrelid = $1::regclass AND contype <> 'n' ORDER BY conname`,
          [name],
        );
        const indexes = await client.query<{ line: string }>(
          `SELECT replace(indexdef, ' ON public.', ' ON ') AS line FROM pg_indexes WHERE schemaname = 'public' AND tablename = $1 ORDER BY indexname`,
          [name],
        );
        for (const { line } of [...columns.rows, ...constraints.rows, ...indexes.rows]) lines.push(`  ${line.replace(/\s+/g, ' ')}`);
      }
      return `${lines.join('\n')}\n`;
    }, database.connection.database);

  test('is the golden one (AEGIS_UPDATE_GOLDEN=1 writes it anew)', async () => {
    await run();
    const golden = new URL('golden-schema.txt', import.meta.url);
    const now = await dump();
    if (process.env['AEGIS_UPDATE_GOLDEN'] === '1') await writeFile(golden, now);
    expect(now).toBe(await readFile(golden, 'utf8'));
  });

  test('old migrations are never edited: their checksums are the recorded ones', async () => {
    const golden = new URL('golden-migrations.json', import.meta.url);
    const now = (await readMigrations()).map(({ name, checksum }) => ({ name, checksum }));
    if (process.env['AEGIS_UPDATE_GOLDEN'] === '1') await writeFile(golden, `${JSON.stringify(now, null, 2)}\n`);
    expect(now).toEqual(JSON.parse(await readFile(golden, 'utf8')));
  });
});
