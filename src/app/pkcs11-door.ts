import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFileDurably } from './data-directory.js';

/** The door's process: started when there is none, left alone when there is one. */

const PID_FILE = 'pkcs11-door.json';
const LOG_FILE = 'pkcs11-door.log';
const MAIN = fileURLToPath(new URL('../planes/pkcs11/door/door-main.js', import.meta.url));
/** The door holds frames only; a large heap would be garbage waiting. */
const NODE_FLAGS = ['--max-old-space-size=128', '--max-semi-space-size=8', '--no-warnings'];

const isDoor = (pid: number, innerPath: string): boolean => {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.some((word) => word.endsWith('door-main.js')) && words.includes(innerPath);
  } catch {
    // No /proc (macOS): the title the door gives itself cannot be read either, so only its life is known.
    try {
      process.kill(pid, 0);
      return !existsSync('/proc/self');
    } catch {
      return false;
    }
  }
};

/** Pid of the living door of this data directory. */
const doorPid = (dataDir: string, innerPath: string): number | undefined => {
  try {
    const { pid } = JSON.parse(readFileSync(join(dataDir, PID_FILE), 'utf8')) as { pid?: unknown };
    return typeof pid === 'number' && Number.isInteger(pid) && pid > 1 && isDoor(pid, innerPath) ? pid : undefined;
  } catch {
    return undefined;
  }
};

/** Starts a door of its own session and process group, so that Ctrl-C in the service's terminal does not reach it. */
export const ensureDoor = (dataDir: string, innerPath: string): number => {
  const living = doorPid(dataDir, innerPath);
  if (living !== undefined) return living;
  const log = openSync(join(dataDir, LOG_FILE), 'a', 0o600);
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, innerPath], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', log, log],
    // Nothing of the service's environment, which may hold secrets, goes on into a process that outlives it.
    env: { PATH: process.env.PATH ?? '' },
  });
  closeSync(log);
  child.unref();
  const { pid } = child;
  if (pid === undefined) throw new Error('the PKCS#11 door could not be started');
  child.on('error', () => undefined);
  writeFileDurably(dataDir, PID_FILE, `${JSON.stringify({ pid })}\n`);
  return pid;
};

/** Ends the door; its clients are disconnected. Answers whether there was one. */
export const endDoor = (dataDir: string, innerPath: string): boolean => {
  const pid = doorPid(dataDir, innerPath);
  if (pid === undefined) return false;
  process.kill(pid, 'SIGTERM');
  rmSync(join(dataDir, PID_FILE), { force: true });
  return true;
};
