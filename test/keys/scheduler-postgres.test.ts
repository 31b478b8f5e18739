import { randomUUID } from 'node:crypto';
import type { RootOfTrust } from '@aegis/rot-spi';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeJournal } from '../../src/audit/journal.js';
import { makeScheduler } from '../../src/keys/scheduler.js';
import type { Storage } from '../../src/storage/ports.js';
import { refusalOf, utf8 } from '../behaviour/cases/behaviour-case.js';
import { withTestStorage } from '../storage/test-database.js';
import { makeTestService, type TestService } from './key-service.js';
import { asTokenRoot, openTestRoot, type TokenRoot } from './test-roots.js';

/** The scheduler against the real store: what is due, what is found again after a restart, and that one node does it. */
let storage: Storage;
let software: RootOfTrust;
let token: TokenRoot;
let s: TestService;
const closing: (() => Promise<void>)[] = [];
beforeAll(async () => {
  const opened = await withTestStorage();
  storage = opened.storage;
  const journal = makeJournal({ store: storage.journal, audit: storage.audit, nodeId: 'node-1', bootId: randomUUID(), clock: Date.now });
  closing.push(() => journal.close(), opened.close);
  software = await openTestRoot();
  token = asTokenRoot(await openTestRoot('token'));
  s = makeTestService(
    new Map([
      ['software', software],
      ['token', token],
    ]),
    {
      storage: { objects: storage.objects, settings: storage.settings, journal },
    },
  );
});
afterAll(async () => {
  for (const close of closing) await close();
});
const HOUR = 3_600_000;
const stored = async (id: string) => (await storage.objects.load('acme', id)) ?? expect.fail('no such object');

test('activation, deactivation and destruction on time', async () => {
  const { object } = await s.alice('create-key', { spec: 'aes-256', dates: { activation: s.now + HOUR, deactivation: s.now + 2 * HOUR } });
  expect(await s.scheduler.tick()).toBe(false);
  s.now += HOUR;
  expect(await s.scheduler.tick()).toBe(true);
  expect((await stored(object.id)).object.state).toBe('active');
  s.now += HOUR;
  await s.scheduler.tick();
  expect((await stored(object.id)).object.state).toBe('deactivated');
  await s.alice('destroy', { key: object.id, pendingMs: HOUR });
  s.now += HOUR;
  await s.scheduler.tick();
  const { object: gone, versions } = await stored(object.id);
  expect(gone.state).toBe('destroyed');
  expect(versions.every((v) => v.reference.length === 0)).toBe(true);
  expect(await s.scheduler.tick()).toBe(false);
});

test('rotation by age and by use', async () => {
  const aged = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
  const used = await s.alice('create-key-pair', { spec: 'ec-p256', activate: true, rotation: { afterUses: 2 } });
  expect(await s.scheduler.tick()).toBe(false);
  await s.alice('sign', { key: used.object.id, data: utf8('x') });
  await s.alice('sign', { key: used.object.id, data: utf8('x') });
  s.now += HOUR;
  await s.scheduler.tick();
  expect((await stored(aged.object.id)).object.currentVersion).toBe(2);
  expect((await stored(used.object.id)).object).toMatchObject({ currentVersion: 2, uses: 0 });
  expect((await stored(used.publicKeyId)).object.currentVersion).toBe(2);
  expect(await s.scheduler.tick()).toBe(false);
});

test('token objects are destroyed until the root has confirmed', async () => {
  const { RootFault } = await import('@aegis/rot-spi');
  const { object } = await s.alice('create-key', { spec: 'aes-256', root: 'token' });
  expect(token.onToken()).toHaveLength(1);
  token.refuse('destroyKey', new RootFault('unavailable', 'token removed'));
  await s.alice('destroy', { key: object.id, pendingMs: 0 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(token.onToken()).toHaveLength(1);
  await s.scheduler.tick();
  expect(token.onToken()).toEqual([]);
  const { object: gone, versions } = await stored(object.id);
  expect(gone.dates).not.toHaveProperty('destroyDue');
  expect(versions[0]?.reference).toHaveLength(0);
  expect(await s.scheduler.tick()).toBe(false);
});

test('a rotated seal moves every reference, each page with its record', async () => {
  const made = await Promise.all(Array.from({ length: 450 }, () => s.alice('create-key', { spec: 'aes-256', activate: true })));
  const { ciphertext } = await s.alice('encrypt', { key: made[3]?.object.id ?? '', plaintext: utf8('old') });
  const before = new Map(
    await Promise.all(made.map(async ({ object }) => [object.id as string, (await stored(object.id)).versions[0]?.reference] as const)),
  );
  expect(await s.alice('rotate-seal', { root: 'software' })).toMatchObject({ generation: 2 });
  for (let i = 0; i < 10 && (await s.scheduler.tick()); i += 1);
  for (const { object } of made) {
    const now = (await stored(object.id)).versions[0]?.reference;
    expect(Buffer.from(now ?? [])).not.toEqual(Buffer.from(before.get(object.id) ?? []));
  }
  expect(await storage.settings.setting('$service', 'reseal:software')).toMatchObject({ state: 'done', failed: 0, generation: 2 });
  expect(Buffer.from((await s.alice('decrypt', { ciphertext })).plaintext).toString()).toBe('old');
  const pages = (await storage.audit.list(undefined, { operation: 'rotate-seal' }, { limit: 50 })).items.filter(
    (r) => r.plane === 'internal',
  );
  expect(pages.length).toBeGreaterThanOrEqual(3);
  expect((await refusalOf(s.alice('rotate-seal', { root: 'token' }))).code).toBe('unsupported-operation');
});

test('two schedulers on one database do the work once', async () => {
  const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
  s.now += HOUR;
  let calls = 0;
  const rival = (release: Promise<void>) =>
    makeScheduler({
      service: async () => {
        calls += 1;
        await release;
        return { ok: false, fault: { code: 'internal', message: 'test' } };
      },
      objects: storage.objects,
      roots: s.registry,
      settings: storage.settings,
      journal: { commit: async () => undefined },
      cluster: storage.cluster,
      clock: () => s.now,
    });
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = rival(held).tick();
  while (calls === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await rival(held).tick()).toBe(false);
  expect(calls).toBe(1);
  release();
  await first;
  await s.scheduler.tick();
  expect((await stored(object.id)).object.currentVersion).toBe(2);
});
