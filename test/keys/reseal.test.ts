import type { RootOfTrust } from '@aegis/rot-spi';
import { expect, test } from 'vitest';
import { makeScheduler } from '../../src/keys/scheduler.js';
import { refusalOf, utf8 } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { asTokenRoot, openTestRoot } from './test-roots.js';

const references = (s: TestService): Map<string, string> =>
  new Map([...s.store.versions.values()].flat().map((v) => [`${v.objectId}@${v.version}`, Buffer.from(v.reference).toString('hex')]));
const moved = (before: Map<string, string>, after: Map<string, string>): number =>
  [...before].filter(([id, reference]) => after.get(id) !== reference).length;

/** The same database and root, met by a process that knows nothing of the last one. */
const restarted = (s: TestService, root: RootOfTrust): TestService => {
  const next = makeTestService(new Map([['software', root]]));
  for (const part of ['objects', 'versions', 'settings'] as const) {
    for (const [k, v] of s.store[part]) next.store[part].set(k, v as never);
  }
  return next;
};

test('moves every reference to the new generation, across a crash, while both generations open', async () => {
  const root = await openTestRoot();
  let s = makeTestService(new Map([['software', root]]));
  const many = 1_250;
  const keys: string[] = [];
  for (let i = 0; i < many; i += 1) keys.push((await s.alice('create-key', { spec: 'aes-256', activate: true })).object.id);
  const { ciphertext } = await s.alice('encrypt', { key: keys[7] as string, plaintext: utf8('old') });
  const gone = await s.alice('create-key', { spec: 'aes-256' });
  await s.alice('destroy', { key: gone.object.id, pendingMs: 0 });
  expect(await s.scheduler.tick()).toBe(false);

  const before = references(s);
  const started = await s.alice('rotate-seal', { root: 'software' });
  expect(started).toMatchObject({ root: 'software', generation: 2, rewrapped: 0 });
  await s.scheduler.tick();
  const half = moved(before, references(s));
  expect(half).toBeGreaterThan(0);
  expect(half).toBeLessThan(many);
  const asked = await s.alice('rotate-seal', { root: 'software' });
  expect(asked).toMatchObject({ generation: 2, rewrapped: half });
  for (const key of [keys[0], keys.at(-1)]) await s.alice('encrypt', { key: key as string, plaintext: utf8('x') });

  s = restarted(s, root);
  for (let i = 0; i < 10 && (await s.scheduler.tick()); i += 1);
  expect(moved(before, references(s))).toBe(many);
  expect(s.store.settings.get('$service/reseal:software')).toMatchObject({ state: 'done', generation: 2, rewrapped: many, failed: 0 });
  expect(Buffer.from((await s.alice('decrypt', { ciphertext })).plaintext).toString()).toBe('old');
  expect(await s.scheduler.tick()).toBe(false);
  const pages = s.store.records.filter((r) => r.operation === 'rotate-seal' && r.detail?.['phase'] === 'reseal');
  expect(pages.length).toBeGreaterThan(0);
  expect(await s.alice('rotate-seal', { root: 'software' })).toMatchObject({ generation: 3 });
}, 120_000);

test('starts by itself when the seal is ahead and nobody wrote the job down', async () => {
  const root = await openTestRoot();
  const s = makeTestService(new Map([['software', root]]));
  await s.alice('create-key', { spec: 'aes-256' });
  const before = references(s);
  s.store.failures.push(new Error('connection lost while committing'));
  await refusalOf(s.alice('rotate-seal', { root: 'software' }));
  expect(s.store.settings.size).toBe(0);
  await s.scheduler.tick();
  expect(moved(before, references(s))).toBe(1);
});

test('goes on when rows change under it', async () => {
  const root = await openTestRoot();
  const s = makeTestService(new Map([['software', root]]));
  const keys: string[] = [];
  for (let i = 0; i < 5; i += 1) keys.push((await s.alice('create-key', { spec: 'aes-256', activate: true })).object.id);
  await s.alice('rotate-seal', { root: 'software' });
  const before = references(s);
  const listed = s.store.versionsOfRoot.bind(s.store);
  s.store.versionsOfRoot = async (...args) => {
    const page = await listed(...args);
    // Rotated between being listed and being written.
    await s.alice('rotate', { key: keys[2] as string });
    return page;
  };
  await s.scheduler.tick();
  expect(moved(before, references(s))).toBeGreaterThanOrEqual(4);
  for (const key of keys) await s.alice('encrypt', { key, plaintext: utf8('x') });
});

test('a reference that does not open stops no other', async () => {
  const root = await openTestRoot();
  const s = makeTestService(new Map([['software', root]]));
  const a = await s.alice('create-key', { spec: 'aes-256', activate: true });
  const b = await s.alice('create-key', { spec: 'aes-256', activate: true });
  const rows = s.store.versions.get(a.object.id) ?? [];
  s.store.versions.set(
    a.object.id,
    rows.map((v) => ({ ...v, reference: v.reference.map((x) => x ^ 1) })),
  );
  await s.alice('rotate-seal', { root: 'software' });
  await s.scheduler.tick();
  expect(s.store.settings.get('$service/reseal:software')).toMatchObject({ state: 'done', rewrapped: 1, failed: 1 });
  await s.alice('encrypt', { key: b.object.id, plaintext: utf8('x') });
});

test('a root without a sealing key says so', async () => {
  const s = makeTestService(new Map([['token', asTokenRoot(await openTestRoot('token'))]]));
  expect((await refusalOf(s.alice('rotate-seal', { root: 'token' }))).code).toBe('unsupported-operation');
  expect((await refusalOf(s.alice('rotate-seal', { root: 'nowhere' }))).code).toBe('not-found');
});

test('does its work on one node only', async () => {
  const root = await openTestRoot();
  const s = makeTestService(new Map([['software', root]]));
  await s.alice('create-key', { spec: 'aes-256', dates: { activation: s.now + 1 } });
  s.now += 10;
  const other = makeScheduler({
    service: async () => {
      throw new Error('must not be called');
    },
    objects: s.store,
    roots: s.registry,
    settings: s.store,
    journal: s.store,
    cluster: { exclusively: async () => undefined },
    clock: () => s.now,
  });
  expect(await other.tick()).toBe(false);
  other.start();
  await other.stop();
});
