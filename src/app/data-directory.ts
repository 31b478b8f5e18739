import { randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { StartError } from './start-error.js';

/** Makes the data directory (0700) or checks that it is ours and private. */
export function openDataDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StartError(
      `the data directory ${path} cannot be made (${(error as NodeJS.ErrnoException).code})`,
      'Choose another with AEGIS_DATA_DIR or --data-dir, or mend its permissions.',
    );
  }
  const info = statSync(path);
  if (!info.isDirectory()) throw new StartError(`${path} is not a directory`, 'Choose another with AEGIS_DATA_DIR.');
  if (process.platform === 'win32') return;
  if (process.getuid !== undefined && info.uid !== process.getuid())
    throw new StartError(
      `the data directory ${path} belongs to another user (uid ${info.uid})`,
      `Run as that user, or choose another directory with AEGIS_DATA_DIR.`,
    );
  if ((info.mode & 0o077) !== 0)
    throw new StartError(
      `the data directory ${path} can be entered by others (mode ${(info.mode & 0o777).toString(8)})`,
      `chmod 700 ${path}`,
    );
}

/** Writes a file whole: temporary file, fsync, rename, fsync of the directory. */
export function writeFileDurably(directory: string, name: string, text: string, mode = 0o600): void {
  const temporary = join(directory, `.${name}.${randomBytes(6).toString('hex')}`);
  const file = openSync(temporary, 'wx', mode);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, join(directory, name));
  const parent = openSync(directory, 'r');
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

/** The node's stable name: configured, or made once and kept. */
export function nodeIdOf(dataDir: string, configured: string | undefined): string {
  if (configured !== undefined) return configured;
  const file = join(dataDir, 'node-id');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  const id = `node-${randomUUID().slice(0, 8)}`;
  writeFileDurably(dataDir, 'node-id', `${id}\n`);
  return id;
}

/** A value this node has to find again, beside the database rather than in it. */
export const pinIn = (dataDir: string, name: string): { read(): string | undefined; write(value: string): void } => ({
  read: () => (existsSync(join(dataDir, name)) ? readFileSync(join(dataDir, name), 'utf8').trim() : undefined),
  write: (value) => writeFileDurably(dataDir, name, `${value}\n`),
});

/** Start time of a process in clock ticks since boot, so that a reused pid is not taken for the old process. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/**
 * One service per data directory. The lock names pid and start time; a lock left by a killed process is taken over.
 * Answers the release function.
 */
export function lockDataDirectory(dataDir: string): () => void {
  const path = join(dataDir, 'service.lock');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeSync(file, JSON.stringify({ pid: process.pid, start: startTimeOf(process.pid) }));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = readLock(path);
      if (
        holder !== undefined &&
        holder.pid !== process.pid &&
        isAlive(holder.pid) &&
        (holder.start === undefined || holder.start === startTimeOf(holder.pid))
      ) {
        throw new StartError(
          `another Aegis (process ${holder.pid}) runs on ${dataDir}`,
          `Stop it first (kill ${holder.pid}), or choose another directory with AEGIS_DATA_DIR.`,
        );
      }
      rmSync(path, { force: true });
    }
  }
  throw new StartError(`the lock ${path} could not be taken`, 'Another process starts at the same moment; try again.');
}

function readLock(path: string): { pid: number; start: string | undefined } | undefined {
  try {
    if (!lstatSync(path).isFile()) return undefined;
    const { pid, start } = JSON.parse(readFileSync(path, 'utf8')) as { pid?: unknown; start?: string };
    return typeof pid === 'number' && Number.isInteger(pid) && pid > 0 ? { pid, start } : undefined;
  } catch {
    return undefined;
  }
}
