import { readFileSync } from 'node:fs';
import { chown, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StorageLog } from '../log.js';

/** Identity of a process beyond its number, which the kernel reuses: its start time in ticks and the boot; empty where /proc is absent. */
export const processStamp = (pid: number): string => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 2 is the name in parentheses and may hold anything; field 22 is the start time (proc_pid_stat(5)).
    const start = fields.slice(fields.lastIndexOf(')') + 2).split(' ')[19];
    return `${start} ${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}`;
  } catch {
    return '';
  }
};

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    // A zombie holds nothing any more: it only waits for its parent.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return fields[fields.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return true;
  }
};

/** Is something listening on this Unix socket? */
const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(socketPath);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2_000, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });

const exited = async (pid: number, withinMs: number): Promise<boolean> => {
  const until = performance.now() + withinMs;
  while (isAlive(pid)) {
    if (performance.now() > until) return false;
    await sleep(25);
  }
  return true;
};

/** PostgreSQL's shutdown modes: SIGINT fast (rolls back, checkpoints), SIGQUIT immediate (recovers at next start), then SIGKILL. */
export const stopPostmaster = async (pid: number, fastMs = 10_000, immediateMs = 5_000): Promise<void> => {
  for (const [signal, withinMs] of [
    ['SIGINT', fastMs],
    ['SIGQUIT', immediateMs],
    ['SIGKILL', 5_000],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw error;
    }
    if (await exited(pid, withinMs)) return;
  }
  throw new Error(`PostgreSQL (process ${pid}) does not end, even on SIGKILL. Look for a stuck disk (ps -o stat,wchan -p ${pid}).`);
};

/** True when process `pid` works in `dataDirectory`; undefined when that can't be told here. */
const worksIn = async (pid: number, dataDirectory: string): Promise<boolean | undefined> => {
  if (process.platform !== 'linux') return undefined;
  const [ours, theirs] = await Promise.all([stat(dataDirectory), stat(`/proc/${pid}/cwd`).catch(() => undefined)]);
  return theirs !== undefined && ours.dev === theirs.dev && ours.ino === theirs.ino;
};

/**
 * Ends a PostgreSQL left on our data directory by a server that was killed. The data directory is locked by the caller
 * (owner.ts), so a postmaster on it has no owner. One that we cannot see (another container on the same volume) is refused.
 */
export const stopOrphan = async (dataDirectory: string, socketPath: string, log: StorageLog): Promise<void> => {
  const pidFile = await readFile(`${dataDirectory}/postmaster.pid`, 'utf8').catch(() => undefined);
  if (pidFile === undefined) return;
  const pid = Number.parseInt(pidFile, 10);
  const alive = Number.isInteger(pid) && pid > 1 && isAlive(pid);
  const ours = alive ? await worksIn(pid, dataDirectory) : false;
  if (ours === true || (ours === undefined && (await answers(socketPath)))) {
    log.warn({ pid }, 'found a PostgreSQL left by a killed server on our data; stopping it');
    await stopPostmaster(pid);
    return;
  }
  if (await answers(socketPath))
    throw new Error(
      `a PostgreSQL that this host cannot see is running on ${dataDirectory} (another container on the same volume?). ` +
        'Stop the other Aegis first; two servers on one data directory would destroy it.',
    );
  if (alive) await disownLock(`${dataDirectory}/postmaster.pid`, pidFile);
};

/** Larger than any process id (PID_MAX_LIMIT is 4194304). */
const NO_PROCESS = '4194305';

/**
 * The lock file names a process that is alive but not PostgreSQL: the number was given to another process (usual in a container
 * that was started again), and PostgreSQL would wait for it for ever. Only the number is replaced: the rest of the file tells
 * PostgreSQL which shared memory the children of the killed server may still use, and that check must stay.
 */
const disownLock = async (path: string, content: string): Promise<void> => {
  const { uid, gid } = await stat(path);
  const changed = `${path}.aegis`;
  await writeFile(changed, content.replace(/^\d+/, NO_PROCESS), { mode: 0o600 });
  await chown(changed, uid, gid);
  await rename(changed, path);
};
