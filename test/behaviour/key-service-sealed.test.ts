import { randomUUID } from 'node:crypto';
import { afterAll } from 'vitest';
import { openRecordSeals, type RecordSeals } from '../../src/app/record-seals.js';
import { makeJournal } from '../../src/audit/journal.js';
import { makeRootRegistry } from '../../src/keys/root-registry.js';
import { openTestRoot } from '../keys/test-roots.js';
import { quietLog, withTestStorage } from '../storage/test-database.js';
import { keyServiceOver } from './key-service-target.js';
import { runBehaviourCases } from './run-cases.js';

const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

/** Everything the service writes must pass its own seals: hardly anything is kept in memory, so nearly every use reads it back. */
runBehaviourCases('PostgreSQL, sealed records, software root', async () => {
  let seals: RecordSeals | undefined;
  const { storage, close } = await withTestStorage({
    cacheEntries: 1,
    checkSeals: async (loaded, stored) => seals?.check(loaded, stored),
  });
  const journal = makeJournal({ store: storage.journal, audit: storage.audit, nodeId: 'node-1', bootId: randomUUID(), clock: Date.now });
  closing.push(() => journal.close(), close);
  const root = await openTestRoot();
  const registry = makeRootRegistry({ roots: new Map([['software', root]]), defaultRoot: 'software' });
  const pin = { read: () => undefined, write: () => undefined };
  const parts = { registry, settings: storage.settings, store: storage.seals, journal, cluster: storage.cluster };
  seals = await openRecordSeals({ ...parts, clock: Date.now, pin, log: quietLog });
  return keyServiceOver(root, { objects: storage.objects, settings: storage.settings, journal: seals.sealing(journal) });
});
