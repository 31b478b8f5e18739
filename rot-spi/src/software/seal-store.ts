import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { RootFault } from '../fault.js';
import { MAX_SEAL_FILE_BYTES } from './seal-file.js';

/** Files that must survive a power cut and must not be read by others. Nothing here knows what is in them. */
const OWNER_ONLY = 0o600;
const OWNER_ONLY_DIRECTORY = 0o700;
const GROUP_AND_OTHERS = 0o077;
const STALE_TEMPORARY_MS = 60_000;
const TEMPORARY_NAME = /^(\d+-[0-9a-f]{12}\.tmp|lock\.[0-9a-f]{12})$/;

const errorCode = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown error';

/** Identity of a file's content as far as a stat can tell: rename replaces the inode. */
export const fileStamp = (path: string): string | undefined => {
  try {
    const facts = statSync(path, { bigint: true });
    return `${facts.dev}:${facts.ino}:${facts.mtimeNs}:${facts.size}`;
  } catch {
    return undefined;
  }
};

const checkOwnerOnly = (facts: { readonly mode: number; readonly uid: number }, path: string): void => {
  if (process.platform === 'win32') return;
  if ((facts.mode & GROUP_AND_OTHERS) !== 0)
    throw new RootFault(
      'sealed',
      `the sealing key file ${path} can be read by other users (mode ${(facts.mode & 0o777).toString(8)})`,
      `Run: chmod 600 ${path}`,
    );
  const self = process.getuid?.();
  // Whoever owns the file can replace the sealing key with one of their own.
  if (facts.uid !== 0 && facts.uid !== self)
    throw new RootFault('sealed', `the sealing key file ${path} belongs to another user (uid ${facts.uid})`, `Run: chown ${self} ${path}`);
};

/** Reads the whole file; undefined when there is none. Refuses one that others may read. The caller zeroes the bytes. */
export const readOwnerOnlyFile = (path: string): Buffer | undefined => {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new RootFault(
      'sealed',
      `cannot open the sealing key file ${path} (${errorCode(error)})`,
      'Give the service user read access to it.',
    );
  }
  try {
    const facts = fstatSync(descriptor);
    if (!facts.isFile() || facts.size > MAX_SEAL_FILE_BYTES)
      throw new RootFault('sealed', `${path} is not a sealing key file`, 'Check the path in the configuration of the root.');
    checkOwnerOnly(facts, path);
    const bytes = Buffer.alloc(facts.size);
    let length = 0;
    for (let got = -1; got !== 0 && length < bytes.length; length += got)
      got = readSync(descriptor, bytes, length, bytes.length - length, length);
    return bytes;
  } finally {
    closeSync(descriptor);
  }
};

const fsyncDirectory = (path: string): void => {
  if (process.platform === 'win32') return;
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
};

const writeTemporary = (path: string, bytes: Buffer): string => {
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  const descriptor = openSync(temporary, 'wx', OWNER_ONLY);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    fsyncSync(descriptor);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  return temporary;
};

const cannotWrite = (path: string, error: unknown): RootFault =>
  new RootFault(
    'unavailable',
    `cannot write the sealing key file ${path} (${errorCode(error)})`,
    'Check free space and that the directory is writable by the service user; nothing was changed.',
  );

/** Creates the file whole or not at all. False when another process was first. */
export const createFile = (path: string, bytes: Buffer): boolean => {
  let temporary: string | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: OWNER_ONLY_DIRECTORY });
    temporary = writeTemporary(path, bytes);
    linkSync(temporary, path); // unlike rename, fails when the name is taken
    unlinkSync(temporary);
    fsyncDirectory(dirname(path));
    return true;
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    if (errorCode(error) === 'EEXIST') return false;
    throw cannotWrite(path, error);
  }
};

/** Replaces the file; after a crash at any point either the old or the new one is there, whole. */
export const replaceFile = (path: string, bytes: Buffer): void => {
  let temporary: string | undefined;
  try {
    temporary = writeTemporary(path, bytes);
    renameSync(temporary, path);
    fsyncDirectory(dirname(path));
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    throw cannotWrite(path, error);
  }
};

/** What a crash between write and rename left behind; called under the lock. */
const removeStaleTemporaries = (path: string): void => {
  const prefix = `${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(prefix) || !TEMPORARY_NAME.test(name.slice(prefix.length))) continue;
    const file = join(dirname(path), name);
    const age = Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > STALE_TEMPORARY_MS) rmSync(file, { force: true });
  }
};

interface LockOwner {
  readonly host: string;
  readonly pid: number;
  /** Which start of that pid: a restarted container has the same few numbers again. Linux only. */
  readonly started?: string;
  readonly nonce: string;
}

const readOwner = (lock: string): LockOwner | undefined => {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')) as LockOwner;
  } catch {
    return undefined;
  }
};

/** Boot id and start time in ticks (proc(5), field 22 of stat); undefined where there is no /proc. */
const startOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}:${fields[19]}`;
  } catch {
    return undefined;
  }
};

const isAlive = ({ pid, started }: LockOwner): boolean => {
  if (pid === process.pid) return false; // a change is synchronous: this process is not in the middle of one
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  const now = startOf(pid);
  return started === undefined || now === undefined || now === started;
};

/** Moves the lock of a dead process on this machine out of the way; never one that changed hands meanwhile. */
const clearDeadLock = (lock: string): void => {
  const owner = readOwner(lock);
  if (owner === undefined || owner.host !== hostname() || typeof owner.pid !== 'number' || isAlive(owner)) return;
  const aside = `${lock}.${randomBytes(6).toString('hex')}`;
  try {
    renameSync(lock, aside);
    if (readOwner(aside)?.nonce !== owner.nonce) linkSync(aside, lock);
    rmSync(aside, { force: true });
  } catch {
    // Another process was quicker; the next attempt to take the lock decides.
  }
};

/** Runs `change` while no other process changes the file; two rotations at once would lose a generation and its keys. */
export const withFileLock = <T>(path: string, change: () => T): T => {
  const lock = `${path}.lock`;
  const started = startOf(process.pid);
  const owner: LockOwner = {
    host: hostname(),
    pid: process.pid,
    ...(started === undefined ? {} : { started }),
    nonce: randomBytes(16).toString('hex'),
  };
  takeLock(lock, owner, path);
  try {
    removeStaleTemporaries(path);
    return change();
  } finally {
    if (readOwner(lock)?.nonce === owner.nonce) rmSync(lock, { force: true });
  }
};

/** Linked into place whole: a lock that a crash left half written would have no owner to ask about. */
const takeLock = (lock: string, owner: LockOwner, path: string): void => {
  const prepared = `${lock}.${owner.nonce.slice(0, 12)}`;
  try {
    writeFileSync(prepared, JSON.stringify(owner), { flag: 'wx', mode: OWNER_ONLY });
    for (let attempt = 0; attempt < 3; attempt += 1) {
      if (linkIfFree(prepared, lock)) return;
      clearDeadLock(lock);
    }
  } catch (error) {
    throw cannotWrite(path, error);
  } finally {
    rmSync(prepared, { force: true });
  }
  throw new RootFault(
    'unavailable',
    'the sealing key file is being changed by another process',
    `Try again; if none is running, remove ${lock}.`,
  );
};

const linkIfFree = (from: string, to: string): boolean => {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
};
