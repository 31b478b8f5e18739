import type { RootOfTrust } from '@aegis/rot-spi';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, utf8 } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { openTestRoot } from './test-roots.js';

const root: Promise<RootOfTrust> = openTestRoot();
let s: TestService;
beforeEach(async () => {
  s = makeTestService(new Map([['software', await root]]));
});
const HOUR = 3_600_000;

describe('dates take effect on time, whether or not the scheduler has run', () => {
  test('activation and deactivation', async () => {
    const { object } = await s.alice('create-key', {
      spec: 'aes-256',
      dates: { activation: s.now + HOUR, deactivation: s.now + 2 * HOUR },
    });
    const key = object.id;
    const encrypt = () => s.alice('encrypt', { key, plaintext: utf8('x') });
    expect((await refusalOf(encrypt())).code).toBe('wrong-state');
    s.now += HOUR - 1;
    expect((await refusalOf(encrypt())).code).toBe('wrong-state');
    s.now += 1;
    const { ciphertext } = await encrypt();
    expect((await s.alice('get-object', { key })).object.state).toBe('active');
    expect(s.store.objects.get(key)?.state).toBe('pre-active');
    s.now += HOUR;
    expect((await refusalOf(encrypt())).code).toBe('wrong-state');
    await s.alice('decrypt', { ciphertext });
    expect((await s.alice('get-object', { key })).object.state).toBe('deactivated');
  });

  test('process start and protect stop', async () => {
    const dates = { activation: s.now, processStart: s.now + HOUR, protectStop: s.now + 2 * HOUR };
    const { object } = await s.alice('create-key', { spec: 'aes-256', dates });
    const encrypt = () => s.alice('encrypt', { key: object.id, plaintext: utf8('x') });
    expect((await refusalOf(encrypt())).code).toBe('outside-validity');
    s.now += HOUR;
    const { ciphertext } = await encrypt();
    s.now += HOUR;
    expect((await refusalOf(encrypt())).code).toBe('outside-validity');
    await s.alice('decrypt', { ciphertext });
  });

  test('a due destruction ends every use, even before it is carried out', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true });
    const { ciphertext } = await s.alice('encrypt', { key: object.id, plaintext: utf8('x') });
    await s.alice('revoke', { key: object.id, reason: 'cessation-of-operation' });
    await s.alice('destroy', { key: object.id, pendingMs: HOUR });
    await s.alice('decrypt', { ciphertext });
    s.now += HOUR;
    expect((await refusalOf(s.alice('decrypt', { ciphertext }))).code).toBe('destroyed');
    expect((await refusalOf(s.alice('cancel-destroy', { key: object.id }))).code).toBe('destroyed');
  });

  test('what waits to be destroyed is not brought to life by its activation date', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', dates: { activation: s.now + HOUR } });
    await s.alice('destroy', { key: object.id, pendingMs: 2 * HOUR });
    s.now += HOUR + 1;
    expect((await refusalOf(s.alice('encrypt', { key: object.id, plaintext: utf8('x') }))).code).toBe('wrong-state');
    s.now += HOUR;
    await s.scheduler.tick();
    expect(s.store.objects.get(object.id)?.state).toBe('destroyed');
  });

  test('an expired import-wrapping key imports nothing', async () => {
    const wrapping = await s.alice('create-import-wrapping-key', { spec: 'rsa-2048', ttlMs: HOUR });
    const attempt = () =>
      refusalOf(
        s.alice('import-key', {
          wrappingKey: wrapping.object.id,
          wrapAlgorithm: 'rsa-oaep-sha256-wrap',
          wrapped: new Uint8Array(256),
          type: 'symmetric-key',
          spec: 'aes-256',
          format: 'raw',
        }),
      );
    expect((await attempt()).code).toBe('decryption-failed');
    s.now += HOUR;
    expect((await attempt()).code).toBe('outside-validity');
  });
});

describe('the scheduler', () => {
  test('writes transitions into the row, audited as its own', async () => {
    const { object } = await s.alice('create-key', {
      spec: 'aes-256',
      dates: { activation: s.now + HOUR, deactivation: s.now + 2 * HOUR },
    });
    expect(await s.scheduler.tick()).toBe(false);
    s.now += HOUR;
    expect(await s.scheduler.tick()).toBe(true);
    expect(s.store.objects.get(object.id)?.state).toBe('active');
    expect(s.store.records.at(-1)).toMatchObject({
      operation: 'update-object',
      outcome: 'success',
      plane: 'internal',
      actor: { name: 'scheduler', method: 'internal' },
      resource: { id: object.id },
      detail: { from: 'pre-active', to: 'active' },
    });
    s.now += HOUR;
    await s.scheduler.tick();
    expect(s.store.objects.get(object.id)?.state).toBe('deactivated');
    expect(await s.scheduler.tick()).toBe(false);
  });

  test('writes transitions of archived objects too', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', dates: { activation: s.now + HOUR } });
    await s.alice('archive', { key: object.id });
    s.now += HOUR;
    await s.scheduler.tick();
    expect(s.store.objects.get(object.id)).toMatchObject({ state: 'active', archived: true });
    expect(await s.scheduler.tick()).toBe(false);
  });

  test('destroys when the window is over', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256' });
    await s.alice('destroy', { key: object.id, pendingMs: HOUR });
    s.now += HOUR;
    await s.scheduler.tick();
    const stored = s.store.objects.get(object.id);
    expect(stored?.state).toBe('destroyed');
    expect(stored?.dates).toMatchObject({ destroy: s.now });
    expect(stored?.dates).not.toHaveProperty('destroyDue');
    expect(s.store.versions.get(object.id)?.every((v) => v.reference.length === 0 && v.state === 'destroyed')).toBe(true);
    expect(await s.scheduler.tick()).toBe(false);
  });

  test('rotates by age, again and again', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
    for (let version = 2; version <= 4; version += 1) {
      s.now += HOUR;
      await s.scheduler.tick();
      expect(s.store.objects.get(object.id)?.currentVersion).toBe(version);
      expect(await s.scheduler.tick()).toBe(false);
    }
  });

  test('rotates by use count', async () => {
    const { object } = await s.alice('create-key-pair', { spec: 'ec-p256', activate: true, rotation: { afterUses: 3 } });
    for (let i = 0; i < 3; i += 1) {
      expect(await s.scheduler.tick()).toBe(false);
      await s.alice('sign', { key: object.id, data: utf8('x') });
    }
    expect(await s.scheduler.tick()).toBe(true);
    expect(s.store.objects.get(object.id)).toMatchObject({ currentVersion: 2, uses: 0 });
    expect(await s.scheduler.tick()).toBe(false);
  });

  test('does not rotate what is not active', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
    await s.alice('revoke', { key: object.id, reason: 'superseded' });
    s.now += 10 * HOUR;
    await s.scheduler.tick();
    expect(s.store.objects.get(object.id)?.currentVersion).toBe(1);
  });

  test('pauses over an object that fails and still serves the others', async () => {
    const bad = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
    const object = s.store.objects.get(bad.object.id);
    if (object !== undefined) s.store.objects.set(object.id, { ...object, rootId: 'gone' });
    const good = await s.alice('create-key', { spec: 'aes-256', activate: true, rotation: { everyMs: HOUR } });
    s.now += HOUR;
    await s.scheduler.tick();
    expect(s.store.objects.get(good.object.id)?.currentVersion).toBe(2);
    const attempts = () => s.store.records.filter((r) => r.operation === 'rotate' && r.resource?.id === bad.object.id).length;
    const before = attempts();
    await s.scheduler.tick();
    expect(attempts()).toBe(before);
    s.now += 400_000;
    await s.scheduler.tick();
    expect(attempts()).toBe(before + 1);
  });
});

describe('GCM invocations', () => {
  test('are counted in blocks and refused at the limit of SP 800-38D §8.3', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true });
    const key = object.id;
    for (let i = 0; i < 10; i += 1) await s.alice('encrypt', { key, plaintext: utf8('x') });
    const counted = s.store.objects.get(key)?.uses ?? 0;
    expect(counted).toBeGreaterThanOrEqual(10);
    const stored = s.store.objects.get(key);
    if (stored !== undefined) s.store.objects.set(key, { ...stored, uses: 2 ** 32 });
    expect(await refusalOf(s.alice('encrypt', { key, plaintext: utf8('x') }))).toMatchObject({
      code: 'usage-limit-reached',
      next: expect.stringContaining('Rotate'),
    });
    expect((await refusalOf(s.alice('generate-data-key', { key, plaintext: false }))).code).toBe('usage-limit-reached');
    await s.alice('rotate', { key });
    await s.alice('encrypt', { key, plaintext: utf8('x') });
  });

  test('count no fewer than there were, also when commits fail and many come at once', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true });
    s.store.delayMs = 1;
    s.store.failures.push({ code: 'storage-unavailable', message: 'down' });
    const calls = Array.from({ length: 300 }, () =>
      s.alice('encrypt', { key: object.id, plaintext: utf8('x') }).then(
        () => 1,
        () => 0,
      ),
    );
    const made = (await Promise.all(calls)).reduce<number>((a, b) => a + b, 0);
    expect(made).toBeGreaterThan(290);
    expect(s.store.objects.get(object.id)?.uses).toBeGreaterThanOrEqual(made);
  });
});
