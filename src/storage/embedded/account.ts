import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

/** The account PostgreSQL runs as. Absent ids = ours. */
export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

const numericId = async (flag: '-u' | '-g', name: string): Promise<number | undefined> => {
  try {
    const { stdout } = await execFileAsync('id', [flag, name], { timeout: 5_000 });
    return Number(stdout.trim());
  } catch {
    return undefined;
  }
};

/**
 * PostgreSQL refuses to run as root. As root: the owner of an existing cluster, else `postgres`, else `nobody`.
 * As anyone else: ourselves, and a cluster that somebody else owns is refused with the reason.
 */
export const chooseAccount = async (cluster: { uid: number; gid: number } | undefined): Promise<Account> => {
  const own = process.geteuid?.();
  if (own === undefined) return {};
  if (own !== 0) {
    if (cluster !== undefined && cluster.uid !== own)
      throw new Error(
        `the database files belong to user id ${cluster.uid}, but Aegis runs as ${own}. Start Aegis as the user that made the data directory, ` +
          'or give the files to this user (chown -R) while Aegis is stopped.',
      );
    return {};
  }
  if (cluster !== undefined && cluster.uid !== 0) return { uid: cluster.uid, gid: cluster.gid };
  for (const name of ['postgres', 'nobody']) {
    const uid = await numericId('-u', name);
    const gid = await numericId('-g', name);
    if (uid !== undefined && uid !== 0 && gid !== undefined) return { uid, gid };
  }
  return { uid: 65_534, gid: 65_534 };
};

/** May `account` enter and read this path, by the mode bits of every directory above it? */
export const reachable = async (path: string, account: Account): Promise<boolean> => {
  if (account.uid === undefined) return true;
  for (let current = path; ; current = dirname(current)) {
    const entry = await stat(current).catch(() => undefined);
    if (entry === undefined) return false;
    const bits = entry.uid === account.uid ? entry.mode >> 6 : entry.gid === account.gid ? entry.mode >> 3 : entry.mode;
    if ((bits & 0o1) === 0) return false;
    if (current === dirname(current)) return true;
  }
};
