import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, processStamp } from './processes.js';

const ATTEMPTS = 5;

/** Data directories owned by this process. */
const owned = new Set<string>();

const liveOthers = async (directory: string): Promise<number[]> => {
  const others: number[] = [];
  for (const name of await readdir(directory)) {
    const pid = Number(name);
    if (pid === process.pid) continue;
    const stamp = await readFile(join(directory, name), 'utf8').catch(() => undefined);
    if (stamp === undefined) continue;
    if (Number.isInteger(pid) && isAlive(pid) && processStamp(pid) === stamp) others.push(pid);
    else await rm(join(directory, name), { force: true });
  }
  return others;
};

/**
 * Makes this process the only owner of the directory until `release`. Every contender first writes its own file and then
 * looks at the others', so two can both step back but never both go on; survives kill -9 because a file counts only while
 * its process (number and start time) lives.
 */
export const takeOwnership = async (directory: string): Promise<{ release(): Promise<void> }> => {
  if (owned.has(directory)) throw new Error(`the embedded PostgreSQL in ${directory} is already running in this process.`);
  owned.add(directory);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const mine = join(directory, String(process.pid));
    for (let attempt = 1; ; attempt += 1) {
      await writeFile(mine, processStamp(process.pid), { mode: 0o600 });
      const others = await liveOthers(directory);
      if (others.length === 0)
        return {
          async release() {
            owned.delete(directory);
            await rm(mine, { force: true });
          },
        };
      await rm(mine, { force: true });
      if (attempt >= ATTEMPTS)
        throw new Error(
          `another Aegis (process ${others.join(', ')}) is using this data directory. ` +
            'Stop it first, or start this one with another AEGIS_DATA_DIR (and another AEGIS_REST_PORT).',
        );
      await sleep(50 + Math.random() * 250 * attempt);
    }
  } catch (error) {
    owned.delete(directory);
    throw error;
  }
};
