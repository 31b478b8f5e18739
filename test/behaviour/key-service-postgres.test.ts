import { randomUUID } from 'node:crypto';
import { afterAll } from 'vitest';
import { makeJournal } from '../../src/audit/journal.js';
import { openTestRoot } from '../keys/test-roots.js';
import { withTestStorage } from '../storage/test-database.js';
import { keyServiceOver } from './key-service-target.js';
import { runBehaviourCases } from './run-cases.js';

const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

/** The same behaviour on the real store and the real journal: what a plan means, PostgreSQL must mean too. */
runBehaviourCases('PostgreSQL, software root', async () => {
  const { storage, close } = await withTestStorage();
  const journal = makeJournal({ store: storage.journal, audit: storage.audit, nodeId: 'node-1', bootId: randomUUID(), clock: Date.now });
  closing.push(() => journal.close(), close);
  return keyServiceOver(await openTestRoot(), { objects: storage.objects, settings: storage.settings, journal });
});
