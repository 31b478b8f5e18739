import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Storage } from '../../src/storage/ports.js';
import { insertOf, makeChainWriter, NOW, sampleObject, samplePolicy, samplePrincipal, sampleToken } from './samples.js';
import { onServer, type TestStorage, withTestStorage } from './test-database.js';

let context: TestStorage;
let one: Storage;
let two: Storage;
let writer: ReturnType<typeof makeChainWriter>;
beforeAll(async () => {
  context = await withTestStorage();
  one = context.storage;
  two = await context.open('node-2');
  writer = makeChainWriter(one);
});
afterAll(() => context.close());

const sql = <T>(text: string, values: unknown[] = []): Promise<T[]> =>
  onServer(async (client) => (await client.query(text, values)).rows as T[], context.connection.database);

/** Node warns once a process, so everything in this file is listened to. */
const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(warning.message));

describe('two nodes', () => {
  test('what one changes the other sees as soon as the change is effective, in every cache', async () => {
    const object = sampleObject({ names: ['shared'] });
    const principal = samplePrincipal();
    const token = sampleToken(principal);
    await writer.one(insertOf(object), { kind: 'insert-principal', principal }, { kind: 'insert-token', token });
    expect((await two.objects.load('acme', 'shared'))?.object.description).toBeUndefined();
    expect(await two.identity.principal('acme', principal.id)).toEqual(principal);
    expect((await two.identity.tokenByHash(token.hash))?.revokedAt).toBeUndefined();
    for (let revision = 2; revision < 8; revision += 1) {
      await writer.one(
        { kind: 'update-object', object: { ...object, description: `v${revision}`, revision }, expect: revision - 1 },
        { kind: 'update-principal', principal: { ...principal, disabled: revision % 2 === 0, revision }, expect: revision - 1 },
      );
      expect(await one.cluster.effective(one.cluster.epoch(), 3_000)).toBe(true);
      expect((await two.objects.load('acme', 'shared'))?.object.description).toBe(`v${revision}`);
      expect((await two.objects.load('acme', object.id))?.object.description).toBe(`v${revision}`);
      expect((await two.identity.principal('acme', principal.id))?.disabled).toBe(revision % 2 === 0);
    }
    await writer.one({ kind: 'revoke-token', tenant: 'acme', id: token.id, at: NOW });
    await one.cluster.effective(one.cluster.epoch(), 3_000);
    expect((await two.identity.tokenByHash(token.hash))?.revokedAt).toBe(NOW);
  });

  test('a node’s own cache is right at once, whatever is being read at that moment', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    let reading = true;
    const readers = Array.from({ length: 4 }, async () => {
      while (reading) {
        await one.objects.load('acme', object.id);
        await sleep(0);
      }
    });
    for (let revision = 2; revision < 60; revision += 1) {
      await writer.one({ kind: 'update-object', object: { ...object, description: `v${revision}`, revision }, expect: revision - 1 });
      expect((await one.objects.load('acme', object.id))?.object.revision).toBe(revision);
    }
    reading = false;
    await Promise.all(readers);
    expect((await one.objects.load('acme', object.id))?.object.revision).toBe(59);
  });

  test('uses are not announced and do not disturb the other node’s cache; a limit’s use is', async () => {
    const plain = sampleObject();
    const limited = sampleObject({ usageLimits: { unit: 'object', total: 10, remaining: 10 } });
    await writer.one(insertOf(plain), insertOf(limited));
    await two.objects.load('acme', limited.id);
    const before = one.cluster.epoch();
    for (let use = 0; use < 5; use += 1)
      await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: plain.id, amount: 1, limited: false });
    expect(one.cluster.epoch()).toBe(before);
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: limited.id, amount: 4, limited: true });
    expect(one.cluster.epoch()).toBe(before + 1);
    expect(await one.cluster.effective(one.cluster.epoch(), 3_000)).toBe(true);
    expect((await two.objects.load('acme', limited.id))?.object.usageLimits?.remaining).toBe(6);
  });

  test('listeners hear of policies and settings on both nodes', async () => {
    const heard: string[] = [];
    one.cluster.onChange((_, changes) => changes.policies && heard.push('one'));
    two.cluster.onChange((_, changes) => changes.policies && heard.push('two'));
    await writer.one(insertOf(sampleObject()));
    await writer.one({ kind: 'put-policy', document: samplePolicy() });
    expect(heard).toEqual(['one']);
    await expect.poll(() => heard, { timeout: 3_000 }).toEqual(['one', 'two']);
  });

  test('epochs that were pruned away start the caches anew', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    await two.objects.load('acme', object.id);
    // Behind the store's back, with the log row of the change missing.
    await sql(`WITH e AS (UPDATE cluster SET epoch = epoch + 3 RETURNING epoch) UPDATE object SET description = 'pruned' WHERE id = $1`, [
      object.id,
    ]);
    await expect.poll(async () => (await two.objects.load('acme', object.id))?.object.description, { timeout: 3_000 }).toBe('pruned');
    await writer.one({ kind: 'update-object', object: { ...object, description: 'after', revision: 2 }, expect: 1 });
    expect(await one.cluster.effective(one.cluster.epoch(), 3_000)).toBe(true);
    expect((await two.objects.load('acme', object.id))?.object.description).toBe('after');
  });

  test('a lease that was lost while the node stood still begins anew, with empty caches', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    await two.objects.load('acme', object.id);
    await sql(`DELETE FROM node WHERE id = 'node-2'`);
    await sql(`UPDATE object SET description = 'missed' WHERE id = $1`, [object.id]);
    await expect.poll(async () => (await sql(`SELECT 1 FROM node WHERE id = 'node-2'`)).length, { timeout: 4_000 }).toBe(1);
    expect((await two.objects.load('acme', object.id))?.object.description).toBe('missed');
    expect(two.cluster.isLive()).toBe(true);
  });

  test('effective waits for a live node that has not seen the change, and not for one whose lease ended', async () => {
    await sql(
      `INSERT INTO node (id, boot, started, lease_until, seen_epoch) VALUES ('stuck', 'b', 0, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1500, 0)`,
    );
    await writer.one(insertOf(sampleObject()));
    const began = performance.now();
    expect(await one.cluster.effective(one.cluster.epoch(), 400)).toBe(false);
    expect(await one.cluster.effective(one.cluster.epoch(), 5_000)).toBe(true);
    expect(performance.now() - began).toBeGreaterThan(1_000);
    expect(performance.now() - began).toBeLessThan(4_000);
  });

  test('an exclusive job runs on one node at a time, and again afterwards', async () => {
    let inside = 0;
    let most = 0;
    let ran = 0;
    const job = async () => {
      inside += 1;
      most = Math.max(most, inside);
      await sleep(15);
      inside -= 1;
      ran += 1;
      return 'done';
    };
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        await sleep(index * 5);
        return (index % 2 === 0 ? one : two).cluster.exclusively('job', job);
      }),
    );
    expect(most).toBe(1);
    expect(ran).toBeGreaterThan(3);
    expect(outcomes.filter((outcome) => outcome === undefined).length).toBe(30 - ran);
    await expect(one.cluster.exclusively('job', () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(await two.cluster.exclusively('job', async () => 1)).toBe(1);
    // Two names do not exclude each other.
    expect(await one.cluster.exclusively('a', () => two.cluster.exclusively('b', async () => 2) as Promise<number>)).toBe(2);
  });

  test('a node that closed is not waited for', async () => {
    const three = await context.open('node-3');
    await three.close();
    expect(three.cluster.isLive()).toBe(false);
    expect(await sql(`SELECT 1 FROM node WHERE id = 'node-3'`)).toEqual([]);
  });
});

describe('a node that looks for changes only every few seconds', () => {
  test('hears of one at once from the node that made it', async () => {
    const slow = await context.open('node-slow', { pollMs: 4_000 });
    try {
      // Node one learns with its next renewal that it is not alone.
      await sleep(1_500);
      const object = sampleObject({ names: ['hinted'] });
      await writer.one(insertOf(object));
      const heard: number[] = [];
      for (let revision = 2; revision < 5; revision += 1) {
        await slow.objects.load('acme', object.id);
        const began = performance.now();
        await writer.one({ kind: 'update-object', object: { ...object, description: `v${revision}`, revision }, expect: revision - 1 });
        // What it hears first may still be of the change before.
        while ((await slow.objects.load('acme', object.id))?.object.description !== `v${revision}`) await sleep(5);
        heard.push(performance.now() - began);
      }
      // Without hints three pauses of four seconds would have to end early by chance.
      expect(heard.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(4_000);
    } finally {
      await slow.close();
    }
  });
});

describe('idempotency', () => {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  test('fresh, busy, done, mismatch, released, expired; other principals and tenants apart', async () => {
    const { idempotency } = one;
    const key = randomUUID();
    expect(await idempotency.claim('acme', 'p', key, hash('a'), 60_000)).toEqual({ kind: 'fresh' });
    expect(await two.idempotency.claim('acme', 'p', key, hash('a'), 60_000)).toEqual({ kind: 'busy' });
    expect(await two.idempotency.claim('acme', 'p', key, hash('b'), 60_000)).toEqual({ kind: 'mismatch' });
    expect(await idempotency.claim('globex', 'p', key, hash('b'), 60_000)).toEqual({ kind: 'fresh' });
    expect(await idempotency.claim('acme', 'q', key, hash('b'), 60_000)).toEqual({ kind: 'fresh' });
    await two.idempotency.complete('acme', 'p', key, 500, 'not mine');
    await idempotency.complete('acme', 'p', key, 201, '{"id":1}');
    expect(await two.idempotency.claim('acme', 'p', key, hash('a'), 60_000)).toEqual({ kind: 'done', status: 201, body: '{"id":1}' });
    await idempotency.release('acme', 'p', key);
    expect((await idempotency.claim('acme', 'p', key, hash('a'), 60_000)).kind).toBe('done');
    const other = randomUUID();
    await idempotency.claim('acme', 'p', other, hash('a'), 60_000);
    await idempotency.release('acme', 'p', other);
    expect(await idempotency.claim('acme', 'p', other, hash('b'), 30)).toEqual({ kind: 'fresh' });
    await sleep(60);
    expect(await idempotency.claim('acme', 'p', other, hash('c'), 60_000)).toEqual({ kind: 'fresh' });
  });

  test('of many claims at once exactly one is fresh', async () => {
    const key = randomUUID();
    const kinds = await Promise.all(
      Array.from(
        { length: 20 },
        async (_, index) => (await (index % 2 === 0 ? one : two).idempotency.claim('acme', 'p', key, hash('a'), 60_000)).kind,
      ),
    );
    expect(kinds.filter((kind) => kind === 'fresh')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'busy')).toHaveLength(19);
  });

  test('polls and locks share their connection one statement at a time', async () => {
    const jobs = Array.from({ length: 40 }, (_, index) => one.cluster.exclusively(`turn ${index}`, () => Promise.resolve(index)));
    expect(await Promise.all(jobs)).toEqual(Array.from({ length: 40 }, (_, index) => index));
    await sleep(20);
    expect(warnings.filter((message) => message.includes('already executing'))).toEqual([]);
  });

  test('the claim of a process that is gone can be taken over by the same request only', async () => {
    const gone = await context.open('node-gone');
    const key = randomUUID();
    await gone.idempotency.claim('acme', 'p', key, hash('a'), 60_000);
    await gone.close();
    expect(await one.idempotency.claim('acme', 'p', key, hash('b'), 60_000)).toEqual({ kind: 'mismatch' });
    expect(await one.idempotency.claim('acme', 'p', key, hash('a'), 60_000)).toEqual({ kind: 'fresh' });
  });
});
