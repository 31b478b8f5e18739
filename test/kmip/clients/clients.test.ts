import { afterAll, beforeAll, describe, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from '../kmip-target.js';
import { DATABASE_SEQUENCES } from './databases.js';
import { STORAGE_SEQUENCES } from './storage.js';

let target: KmipTarget;
beforeAll(async () => {
  target = await startKmipTarget();
}, 120_000);
afterAll(() => target?.stop());

describe('what products send, each in its own version', () => {
  for (const { client, version, about, run } of [...STORAGE_SEQUENCES, ...DATABASE_SEQUENCES])
    test(`${client} (KMIP ${version}): ${about}`, () => run(target));
});
