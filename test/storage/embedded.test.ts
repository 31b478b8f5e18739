import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { chooseBinaries, findBinaries, type PostgresBinaries, stageBinaries } from '../../src/storage/embedded/binaries.js';
import { processStamp } from '../../src/storage/embedded/processes.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded/start-embedded-postgres.js';
import { quietLog } from './test-database.js';

const isRoot = process.geteuid?.() === 0;
const noSkip = process.env['AEGIS_NO_SKIP'] === '1';
const directories: string[] = [];
const running: EmbeddedPostgres[] = [];
const makeDirectory = (parent = tmpdir()): string => {
  const made = mkdtempSync(join(parent, 'aegis-embedded-'));
  directories.push(made);
  return made;
};
const start = async (dataDir: string): Promise<EmbeddedPostgres> => {
  const embedded = await startEmbeddedPostgres({ dataDir, log: quietLog });
  running.push(embedded);
  return embedded;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map((embedded) => embedded.stop()));
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

const ask = async (embedded: EmbeddedPostgres, text: string): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client(embedded.connection);
  await client.connect();
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
};
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
const alive = (pid: number): boolean => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

describe('the embedded PostgreSQL', () => {
  test('is private, durable, keeps its data, and its roles can do what they need and no more', async () => {
    const dataDir = makeDirectory();
    const first = await start(dataDir);
    expect(
      await ask(
        first,
        `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full, current_setting('synchronous_commit') AS commit,
      current_setting('listen_addresses') AS tcp, current_setting('data_checksums') AS checksums, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super`,
      ),
    ).toEqual([{ fsync: 'on', full: 'on', commit: 'on', tcp: '', checksums: 'on', super: false }]);
    await expect(ask(first, `SELECT pg_read_file('/etc/passwd')`)).rejects.toThrow(/permission denied/);
    await expect(ask(first, `COPY (SELECT 1) TO PROGRAM 'true'`)).rejects.toThrow(/superuser|pg_execute_server_program|permission denied/);
    await ask(first, 'CREATE TABLE kept (a int); INSERT INTO kept VALUES (7)');
    expect(mode(join(dataDir, 'postgres', 'passwords.json'))).toBe('600');
    for (const private_ of ['data', 'run']) expect(mode(join(dataDir, 'postgres', private_))).toBe('700');
    const wrong = new pg.Client({ ...first.connection, password: 'wrong' });
    await expect(wrong.connect()).rejects.toThrow(/password authentication failed/);
    await first.stop();
    expect(alive(first.pid)).toBe(false);
    expect(readdirSync(join(dataDir, 'postgres', 'owners'))).toEqual([]);
    const second = await start(dataDir);
    expect(await ask(second, 'SELECT a FROM kept')).toEqual([{ a: 7 }]);
  });

  test.skipIf(!isRoot && !noSkip)(
    'as root it works below directories that only root may enter, as another user without any capability (needs: sudo)',
    async () => {
      const closed = makeDirectory();
      chmodSync(closed, 0o700);
      const dataDir = join(closed, 'deeper', '.aegis');
      await mkdir(dataDir, { recursive: true, mode: 0o700 });
      const embedded = await start(dataDir);
      const status = readFileSync(`/proc/${embedded.pid}/status`, 'utf8');
      expect(status).not.toMatch(/^Uid:\s+0/m);
      for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) expect(status).toMatch(new RegExp(`^${set}:\\s+0+$`, 'm'));
      expect(status).toMatch(/^Groups:\s*$/m);
      expect(mode(dataDir)).toBe('700');
      expect(statSync(dataDir).uid).toBe(0);
      await writeFile(join(dataDir, 'root.key'), 'secret', { mode: 0o600 });
      const client = new pg.Client(embedded.administration);
      await client.connect();
      // Not even its superuser reaches our other files.
      await expect(client.query('SELECT pg_read_file($1)', [join(dataDir, 'root.key')])).rejects.toThrow(/Permission denied/);
      await client.end();
      // No secret of this process is in its environment.
      expect(readFileSync(`/proc/${embedded.pid}/environ`, 'latin1')).not.toMatch(/AEGIS|HOME=|VITEST/);
    },
  );

  test('a path too long for a socket address works', async () => {
    const dataDir = join(makeDirectory(), 'x'.repeat(120), '.aegis');
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const embedded = await start(dataDir);
    expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(Buffer.byteLength(join(embedded.connection.host, '.s.PGSQL.5432'))).toBeLessThan(108);
    await embedded.stop();
    expect(existsSync(embedded.connection.host)).toBe(false);
  });

  test('a second one on the same data is refused, in this process and from another', async () => {
    const dataDir = makeDirectory();
    const embedded = await start(dataDir);
    await expect(startEmbeddedPostgres({ dataDir, log: quietLog })).rejects.toThrow(/already running in this process/);
    // A live foreign owner: any other live process under its number and start time.
    const other = spawn('sleep', ['60']);
    try {
      await embedded.stop();
      await writeFile(join(dataDir, 'postgres', 'owners', String(other.pid)), processStamp(other.pid as number));
      await expect(startEmbeddedPostgres({ dataDir, log: quietLog })).rejects.toThrow(
        new RegExp(`another Aegis \\(process ${other.pid}\\)`),
      );
    } finally {
      other.kill('SIGKILL');
      await new Promise((resolve) => other.once('exit', resolve));
    }
    // The same number with another start time is somebody else: not an owner.
    await writeFile(join(dataDir, 'postgres', 'owners', '1'), 'another start');
    expect(await ask(await start(dataDir), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('kill -9 of PostgreSQL is reported once, and it starts again at the same address with everything acknowledged', async () => {
    const dataDir = makeDirectory();
    const first = await start(dataDir);
    await ask(first, 'CREATE TABLE t (a int)');
    const client = new pg.Client(first.connection);
    client.on('error', () => undefined);
    await client.connect();
    let acknowledged = 0;
    const load = (async () => {
      for (;;) {
        await client.query('INSERT INTO t VALUES (1)');
        acknowledged += 1;
      }
    })().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const reasons: string[] = [];
    const exit = new Promise<void>((resolve) => first.onExit((reason) => resolve(void reasons.push(reason))));
    process.kill(first.pid, 'SIGKILL');
    await exit;
    await load;
    const second = await start(dataDir);
    expect(second.connection).toEqual(first.connection);
    const [row] = await ask(second, 'SELECT count(*)::int AS count FROM t');
    expect(row?.['count']).toBeGreaterThanOrEqual(acknowledged);
    expect(acknowledged).toBeGreaterThan(10);
    expect(reasons).toEqual(['signal SIGKILL']);
  });

  test('a stale lock file whose process number belongs to somebody else by now does not block the start', async () => {
    const dataDir = makeDirectory();
    const first = await start(dataDir);
    await ask(first, 'CREATE TABLE kept (a int)');
    const exit = new Promise<void>((resolve) => first.onExit(() => resolve()));
    process.kill(first.pid, 'SIGKILL');
    await exit;
    const lock = join(dataDir, 'postgres', 'data', 'postmaster.pid');
    const { uid, gid } = statSync(lock);
    // Of the same user, so that PostgreSQL itself could not tell it from another server.
    const bystander = spawn('sleep', ['60'], { uid, gid });
    try {
      await writeFile(lock, readFileSync(lock, 'utf8').replace(/^\d+/, String(bystander.pid)));
      expect(await ask(await start(dataDir), 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 0 }]);
      expect(alive(bystander.pid as number)).toBe(true);
    } finally {
      bystander.kill('SIGKILL');
    }
  });

  const child = fileURLToPath(new URL('embedded-child.mjs', import.meta.url));
  const dist = fileURLToPath(new URL('../../dist/storage/embedded/start-embedded-postgres.js', import.meta.url));
  const built = existsSync(dist);
  const needsBuild = !built && !noSkip;
  const spawnServer = async (dataDir: string, ids: { uid?: number; gid?: number } = {}) => {
    const server = spawn(process.execPath, [child, dataDir], { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/', ...ids });
    const line = await new Promise<string>((resolve, reject) => {
      server.stdout.once('data', (data: Buffer) => resolve(data.toString()));
      server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    return { server, report: JSON.parse(line) as { pid: number; uid: number } };
  };

  test.skipIf(needsBuild)(
    'a server killed with -9 leaves a PostgreSQL behind that does not block the next start (needs: npm run build)',
    async () => {
      const dataDir = makeDirectory();
      const { server, report } = await spawnServer(dataDir);
      const gone = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGKILL');
      await gone;
      expect(alive(report.pid)).toBe(true);
      const embedded = await start(dataDir);
      expect(alive(report.pid)).toBe(false);
      expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    },
  );

  test.skipIf(needsBuild)(
    'Ctrl-C at the terminal reaches the server first: PostgreSQL is in a session of its own (needs: npm run build)',
    async () => {
      const { server, report } = await spawnServer(makeDirectory());
      const session = (pid: number | undefined) => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[3];
      expect(session(report.pid)).not.toBe(session(server.pid));
      const gone = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      expect(await gone).toBe(0);
      expect(alive(report.pid)).toBe(false);
    },
  );

  test.skipIf((!isRoot || needsBuild) && !noSkip)(
    'as a normal user it runs as that user; a cluster of another user is refused with the reason (needs: sudo, npm run build)',
    async () => {
      const dataDir = makeDirectory();
      chmodSync(dataDir, 0o700);
      await chown(dataDir, 65_534, 65_534);
      const { server, report } = await spawnServer(dataDir, { uid: 65_534, gid: 65_534 });
      expect(report.uid).toBe(65_534);
      const gone = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      expect(await gone).toBe(0);
      await chown(join(dataDir, 'postgres', 'data'), 12_345, 12_345);
      const refused = spawn(process.execPath, [child, dataDir], {
        uid: 65_534,
        gid: 65_534,
        cwd: '/',
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      refused.stderr.on('data', (data: Buffer) => {
        said += data.toString();
      });
      await new Promise((resolve) => refused.once('close', resolve));
      expect(said).toMatch(/belong to user id 12345, but Aegis runs as 65534.*chown/s);
    },
  );
});

describe('binaries', () => {
  const at = (major: number): PostgresBinaries => ({ directory: `/pg/${major}`, major, origin: 'system' });
  test('the newest for new data, the matching one for existing data, or an explanation', () => {
    expect(chooseBinaries([at(17), at(15)], undefined).major).toBe(17);
    expect(chooseBinaries([at(17), at(15)], 15).major).toBe(15);
    expect(() => chooseBinaries([at(17), at(15)], 16)).toThrow(
      /written by PostgreSQL 16.*found: 17 in \/pg\/17, 15 in \/pg\/15.*Install PostgreSQL 16/,
    );
    expect(() => chooseBinaries([], undefined)).toThrow(/no PostgreSQL 14 or newer was found.*AEGIS_DATABASE_URL/);
  });

  test('are found here, each of its own version', async () => {
    const found = await findBinaries();
    expect(found.length).toBeGreaterThan(0);
    for (const { major, directory } of found) expect(existsSync(join(directory, 'initdb')) && major >= 14).toBe(true);
  });

  test('a staged copy is whole, readable by everyone and writable by nobody else', async () => {
    const [packaged] = (await findBinaries()).filter((binaries) => binaries.origin === 'embedded-postgres');
    const source = packaged ?? ((await findBinaries())[0] as PostgresBinaries);
    const staged = await stageBinaries(source, tmpdir());
    directories.push(staged.staged);
    expect(mode(staged.staged)).toBe('755');
    expect(existsSync(join(staged.directory, 'postgres'))).toBe(true);
  });
});
