import { randomUUID } from 'node:crypto';
import { makeJournal } from '../audit/index.js';
import { recoverAdmin } from '../identity/index.js';
import { openStorage } from '../storage/index.js';
import type { Config } from './config/load.js';
import { lockDataDirectory, nodeIdOf, openDataDirectory } from './data-directory.js';
import { startDatabase } from './database.js';
import { makeLogger } from './log.js';

/** Runbook “lost admin token”: whoever owns the data directory gets a new admin token, and the audit log says so. */
export async function recoverAdminToken(config: Config): Promise<{ file: string }> {
  const log = makeLogger(config.logLevel === 'info' ? 'warn' : config.logLevel);
  openDataDirectory(config.dataDir);
  const unlock = lockDataDirectory(config.dataDir);
  try {
    const database = await startDatabase(config.databaseUrl, config.dataDir, log);
    try {
      const nodeId = nodeIdOf(config.dataDir, config.nodeId);
      const storage = await openStorage({ connection: database.connection, kind: database.kind, nodeId, log });
      const journal = makeJournal({ store: storage.journal, audit: storage.audit, nodeId, bootId: randomUUID(), clock: Date.now });
      try {
        const access = await recoverAdmin({ storage, journal, dataDir: config.dataDir });
        return { file: access.path };
      } finally {
        await journal.close();
        await storage.close();
      }
    } finally {
      await database.stop();
    }
  } finally {
    unlock();
  }
}
