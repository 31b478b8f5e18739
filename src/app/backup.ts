import { createReadStream, existsSync } from 'node:fs';
import type { Handler } from '../domain/index.js';
import { BackupError, type BackupProgress, type BackupReport, createBackup, restoreBackup, verifyBackup } from '../storage/backup.js';
import { openStorage } from '../storage/index.js';
import type { Config } from './config/load.js';
import { lockDataDirectory, nodeIdOf, openDataDirectory } from './data-directory.js';
import { type DatabaseServer, startDatabase } from './database.js';
import { makeLogger } from './log.js';
import { makeMetrics } from './metrics.js';
import { openRoots } from './roots.js';
import { StartError } from './start-error.js';
import { VERSION } from './version.js';

const PROGRESS_MS = 200;

/** `create-backup`: streamed by the plane while it is made. */
export const makeBackupHandler =
  (database: Pick<DatabaseServer, 'connection'>): Handler<'create-backup'> =>
  async ({ request, now }) => ({
    response: {
      chunks: createBackup({ connection: database.connection, passphrase: request.passphrase }),
      name: `aegis-${new Date(now).toISOString().replaceAll(/[:.]/g, '-')}.backup`,
    },
    changes: [],
  });

function progressOn(out: NodeJS.WriteStream): (progress: BackupProgress) => void {
  let last = 0;
  return ({ table, rows, totalRows }) => {
    const now = Date.now();
    if (out.isTTY !== true || now - last < PROGRESS_MS) return;
    last = now;
    out.write(`\r${rows} of ${totalRows} rows  ${table}\u001b[K`);
  };
}

const open = (path: string): NodeJS.ReadableStream & AsyncIterable<Uint8Array> => {
  if (!existsSync(path)) throw new StartError(`${path} does not exist`, 'Check the path of the backup.');
  return createReadStream(path) as NodeJS.ReadableStream & AsyncIterable<Uint8Array>;
};

const shown = (report: BackupReport): Record<string, unknown> => ({
  createdAt: new Date(report.createdAt).toISOString(),
  rows: report.rows,
  keys: report.tables['object'] ?? 0,
  auditRecords: report.tables['audit_record'] ?? 0,
  roots: report.roots.map((root) => `${root.id} ${root.fingerprint.slice(0, 16)}`),
});

/** A damaged file, a wrong passphrase, a wrong root: said as it is, with the next step the error itself carries. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BackupError) throw new StartError(error.message, 'Nothing was changed. See docs/runbooks/restore.md');
    throw error;
  }
}

export const verifyBackupFile = (path: string, passphrase: string, progress: NodeJS.WriteStream): Promise<Record<string, unknown>> =>
  explained(async () => shown(await verifyBackup(open(path), { passphrase, onProgress: progressOn(progress) })));

/** Fingerprints of the roots that answer; one that does not cannot be compared and counts as missing. */
async function presentRoots(config: Config): Promise<{ id: string; fingerprint: string }[]> {
  const roots = await openRoots(config.roots, makeLogger('silent'), makeMetrics(VERSION));
  try {
    const described = await Promise.all(
      [...roots].map(([id, root]) =>
        root.describe().then(
          ({ fingerprint }) => [{ id, fingerprint }],
          () => [],
        ),
      ),
    );
    return described.flat();
  } finally {
    await Promise.all([...roots.values()].map((root) => root.close()));
  }
}

/** Restores into the empty database of a stopped service. */
export async function restoreBackupFile(
  config: Config,
  path: string,
  passphrase: string,
  progress: NodeJS.WriteStream,
): Promise<Record<string, unknown>> {
  const log = makeLogger('warn');
  const stream = open(path);
  openDataDirectory(config.dataDir);
  const unlock = lockDataDirectory(config.dataDir);
  try {
    const roots = await presentRoots(config);
    const database = await startDatabase(config.databaseUrl, config.dataDir, log);
    try {
      const report = await explained(() =>
        restoreBackup(stream, { connection: database.connection, passphrase, roots, log, onProgress: progressOn(progress) }),
      );
      // Opening it once migrates what an older version wrote.
      await (
        await openStorage({ connection: database.connection, kind: database.kind, nodeId: nodeIdOf(config.dataDir, config.nodeId), log })
      ).close();
      return shown(report);
    } finally {
      await database.stop();
    }
  } finally {
    unlock();
  }
}
