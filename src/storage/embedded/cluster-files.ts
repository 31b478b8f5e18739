import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Account } from './account.js';
import type { PostgresBinaries } from './binaries.js';

/**
 * glibc would give the top of the heap back to the kernel after each statement and fetch it again for the next: an eighth of
 * PostgreSQL's time here. mallopt(3); other C libraries ignore it.
 */
const ALLOCATOR = { MALLOC_TOP_PAD_: '1048576', MALLOC_TRIM_THRESHOLD_: '16777216' };

/** sun_path holds 108 bytes with the final zero (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;
const SOCKET_NAME = '.s.PGSQL.5432';

export interface ClusterPaths {
  /** Ours; only we write here. */
  readonly base: string;
  /** The cluster (PGDATA) and the folder of its socket: the PostgreSQL account's, 0700. */
  readonly data: string;
  readonly run: string;
  readonly passwords: string;
  readonly owners: string;
  /** Names the copy of the programs that runs now, if one had to be made. */
  readonly staged: string;
}

export const clusterPaths = (dataDir: string): ClusterPaths => {
  const base = join(dataDir, 'postgres');
  return {
    base,
    data: join(base, 'data'),
    run: join(base, 'run'),
    passwords: join(base, 'passwords.json'),
    owners: join(base, 'owners'),
    staged: join(base, 'staged'),
  };
};

export interface Passwords {
  readonly superuser: string;
  readonly application: string;
}

/** Reads the generated passwords, or makes them (0600, durable before the cluster that uses them). */
export const loadPasswords = async (path: string): Promise<Passwords> => {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text !== undefined) return JSON.parse(text) as Passwords;
  const made: Passwords = { superuser: randomBytes(32).toString('base64url'), application: randomBytes(32).toString('base64url') };
  const partial = `${path}.${process.pid}`;
  const file = await open(partial, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(made));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(partial, path);
  return made;
};

/** A directory for the PostgreSQL account, 0700. */
export const giveDirectory = async (path: string, account: Account): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
  if (account.uid !== undefined && account.gid !== undefined) await chown(path, account.uid, account.gid);
};

/**
 * Starts a PostgreSQL program on a data directory. When it runs as another account (we are root), it gets the directory as
 * an open descriptor and its path as /proc/self/fd/3: it reaches its own files although it may not enter the directories
 * above them, and it gets no capability for that (docs/adr/0002). The environment is minimal: no secret of ours is in it.
 */
export const spawnOn = async (
  program: string,
  directory: string,
  account: Account,
  args: (dataPath: string) => readonly string[],
): Promise<ChildProcess> => {
  const foreign = account.uid !== undefined && account.gid !== undefined;
  const viaDescriptor = foreign && process.platform === 'linux';
  const handle = viaDescriptor ? await open(directory, 'r') : undefined;
  try {
    return spawn(program, args(viaDescriptor ? '/proc/self/fd/3' : directory), {
      cwd: '/',
      // Its own session: Ctrl-C at the terminal reaches us alone, and we stop PostgreSQL after the last commit.
      detached: true,
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...ALLOCATOR },
      stdio: ['ignore', 'pipe', 'pipe', ...(handle === undefined ? [] : [handle.fd])],
      ...(foreign ? { uid: account.uid as number, gid: account.gid as number } : {}),
    });
  } finally {
    // spawn has duplicated the descriptor by now: fork happens before it returns.
    await handle?.close();
  }
};

const finished = (child: ChildProcess): Promise<{ code: number | null; output: string }> =>
  new Promise((resolve, reject) => {
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-4_000);
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });

const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** Makes a new cluster beside its final place and renames it: a start that is killed half-way leaves nothing that looks whole. */
export const initCluster = async (
  paths: ClusterPaths,
  binaries: PostgresBinaries,
  account: Account,
  superuserPassword: string,
): Promise<void> => {
  const fresh = join(paths.base, 'data.new');
  await rm(fresh, { recursive: true, force: true });
  await giveDirectory(fresh, account);
  const passwordFile = join(paths.run, 'initdb-password');
  await rm(passwordFile, { force: true });
  await writeFile(passwordFile, superuserPassword, { mode: 0o600, flag: 'wx' });
  try {
    if (account.uid !== undefined && account.gid !== undefined) await chown(passwordFile, account.uid, account.gid);
    const child = await spawnOn(join(binaries.directory, 'initdb'), fresh, account, (data) => [
      `--pgdata=${data}`,
      '--username=postgres',
      `--pwfile=${data === fresh ? passwordFile : `${data}/../run/initdb-password`}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--data-checksums',
    ]);
    const { code, output } = await finished(child);
    if (code !== 0) throw new Error(`initdb (${binaries.directory}) failed: ${output.trim().split('\n').slice(-4).join(' | ')}`);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(fresh, paths.data);
  await syncDirectory(paths.base);
};

/** Short names of long socket directories made by this process, by the long one. */
const shortNames = new Map<string, string>();

/**
 * The directory clients connect through: the socket's own, or a link to it in a fresh 0700 directory where the path would be
 * too long for a socket address. The server itself binds by a relative path and has no such limit.
 */
export const socketDirectory = async (run: string): Promise<string> => {
  if (Buffer.byteLength(join(run, SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES) return run;
  const known = shortNames.get(run);
  if (known !== undefined) return known;
  const base = [tmpdir(), '/tmp'].find((candidate) => Buffer.byteLength(candidate) < 60) ?? '/tmp';
  const made = join(await mkdtemp(join(base, 'aegis-')), 'pg');
  await symlink(run, made);
  shortNames.set(run, made);
  return made;
};

/** Removes the short name; only after the last client is gone. */
export const forgetSocketDirectory = async (run: string): Promise<void> => {
  const made = shortNames.get(run);
  if (made === undefined) return;
  shortNames.delete(run);
  await rm(dirname(made), { recursive: true, force: true });
};

export const socketPath = (directory: string): string => join(directory, SOCKET_NAME);
