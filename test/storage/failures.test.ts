import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Change, FaultError } from '../../src/domain/index.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded/start-embedded-postgres.js';
import { openStorage } from '../../src/storage/open-storage.js';
import type { Storage } from '../../src/storage/ports.js';
import { insertOf, makeChainWriter, sampleObject } from './samples.js';
import { makeTestDatabase, onServer, quietLog, type TestDatabase, type TestStorage, testServer, withTestStorage } from './test-database.js';

/** Writers that go on through failures and remember what was acknowledged, as the audit lanes do: a failed chain is left for a new one. */
const runLoad = (storage: Storage, lanes: number, node: string) => {
  const acknowledged = new Set<string>();
  const failed: { id: string; certain: boolean }[] = [];
  const longestMs = { value: 0 };
  let running = true;
  const lane = async (): Promise<void> => {
    let writer = makeChainWriter(storage, node);
    while (running) {
      const objects = Array.from({ length: 3 }, () => sampleObject());
      const began = performance.now();
      try {
        await writer.commit(objects.map((object): Change[] => [insertOf(object)]));
        for (const object of objects) acknowledged.add(object.id);
      } catch (error) {
        expect(error).toBeInstanceOf(FaultError);
        expect((error as FaultError).fault.code).toBe('storage-unavailable');
        const code = ((error as Error).cause as { code?: string } | undefined)?.code ?? '';
        for (const object of objects) failed.push({ id: object.id, certain: code.startsWith('4000') });
        writer = makeChainWriter(storage, node);
        await sleep(20);
      }
      longestMs.value = Math.max(longestMs.value, performance.now() - began);
    }
  };
  const done = Promise.all(Array.from({ length: lanes }, lane));
  return {
    acknowledged,
    failed,
    longestMs,
    async stop() {
      running = false;
      await done;
    },
  };
};

const storedIds = async (connection: pg.PoolConfig): Promise<Set<string>> => {
  const { default: driver } = await import('pg');
  const client = new driver.Client(connection as pg.ClientConfig);
  await client.connect();
  try {
    return new Set((await client.query<{ id: string }>('SELECT id FROM object')).rows.map((row) => row.id));
  } finally {
    await client.end();
  }
};

const expectExact = (load: ReturnType<typeof runLoad>, stored: Set<string>): void => {
  const lost = [...load.acknowledged].filter((id) => !stored.has(id));
  expect(lost, 'acknowledged and lost').toEqual([]);
  const ghosts = load.failed.filter(({ id, certain }) => certain && stored.has(id));
  expect(ghosts, 'said to have failed for certain, but stored').toEqual([]);
};

describe('connections that die', () => {
  let context: TestStorage;
  beforeAll(async () => {
    context = await withTestStorage();
  });
  afterAll(() => context.close());

  test('every connection terminated again and again under load: answers are exact', async () => {
    const load = runLoad(context.storage, 4, 'node-1');
    let reads = 0;
    let readFailures = 0;
    let reading = true;
    const reader = (async () => {
      while (reading) {
        await context.storage.objects.load('acme', randomUUID()).then(
          () => (reads += 1),
          () => (readFailures += 1),
        );
      }
    })();
    for (let round = 0; round < 15; round += 1) {
      await sleep(60 + Math.random() * 60);
      await onServer((client) =>
        client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()', [
          context.connection.database,
        ]),
      );
    }
    await sleep(200);
    await load.stop();
    reading = false;
    await reader;
    expect(load.acknowledged.size).toBeGreaterThan(50);
    expectExact(load, await storedIds(context.connection));
    expect(reads).toBeGreaterThan(100);
    // A read is repeated once on a fresh connection; only a second termination can hit it.
    expect(readFailures).toBeLessThan(reads / 10);
    expect(context.storage.cluster.isLive()).toBe(true);
    expect(load.longestMs.value).toBeLessThan(10_000);
  });
});

/** A relay in front of the server that can swallow answers, hold requests, or refuse. */
const makeRelay = async (target: { path?: string; host?: string; port?: number }) => {
  let swallowAnswers = false;
  let refuse = false;
  let holdRequests = false;
  let atCommit: 'forward' | 'lose-answer' | 'lose-request' = 'forward';
  const held: { to: Socket; data: Buffer }[] = [];
  const pairs = new Set<{ client: Socket; server: Socket }>();
  const server: Server = createServer((client) => {
    if (refuse) return void client.destroy();
    const upstream = target.path === undefined ? connect(target.port ?? 5432, target.host ?? '127.0.0.1') : connect(target.path);
    const pair = { client, server: upstream };
    pairs.add(pair);
    client.on('data', (data) => {
      if (atCommit !== 'forward' && data.includes('COMMIT\0')) {
        const lost = atCommit;
        atCommit = 'forward';
        upstream.removeAllListeners('data').resume();
        if (lost === 'lose-answer') upstream.write(data);
        setTimeout(() => {
          client.destroy();
          upstream.destroy();
        }, 100);
      } else if (holdRequests) held.push({ to: upstream, data });
      else upstream.write(data);
    });
    upstream.on('data', (data) => (swallowAnswers ? undefined : client.write(data)));
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    upstream.on('close', () => client.destroy());
    client.on('close', () => {
      pairs.delete(pair);
      // The server side stays: what was sent is still being worked on.
      if (!holdRequests && !swallowAnswers) upstream.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = (server.address() as { port: number }).port;
  return {
    port,
    set(next: { swallowAnswers?: boolean; refuse?: boolean; holdRequests?: boolean; atCommit?: typeof atCommit }) {
      atCommit = next.atCommit ?? atCommit;
      swallowAnswers = next.swallowAnswers ?? swallowAnswers;
      refuse = next.refuse ?? refuse;
      holdRequests = next.holdRequests ?? holdRequests;
    },
    dropClients() {
      for (const { client } of pairs) client.destroy();
    },
    held,
    close() {
      for (const { client, server: upstream } of pairs) {
        client.destroy();
        upstream.destroy();
      }
      server.close();
    },
  };
};

describe('commits whose answer is lost', () => {
  let database: TestDatabase;
  let relay: Awaited<ReturnType<typeof makeRelay>>;
  let storage: Storage;
  beforeAll(async () => {
    const { administration } = await testServer();
    database = await makeTestDatabase();
    const host = administration.host ?? '';
    relay = await makeRelay(host.startsWith('/') ? { path: join(host, '.s.PGSQL.5432') } : { host, port: administration.port ?? 5432 });
    storage = await openStorage({
      connection: { ...database.connection, host: '127.0.0.1', port: relay.port },
      kind: 'external',
      nodeId: 'node-1',
      log: quietLog,
    });
  });
  afterAll(async () => {
    relay.set({ swallowAnswers: false, holdRequests: false });
    await storage.close();
    relay.close();
    await database.drop();
  });

  test('a group of records alone: the answer lost after the commit is found again as success', async () => {
    const writer = makeChainWriter(storage);
    await writer.one();
    relay.set({ swallowAnswers: true });
    const pending = writer.one();
    await sleep(300);
    relay.set({ swallowAnswers: false });
    relay.dropClients();
    expect(await pending).toBeUndefined();
    const head = (await storage.audit.heads()).find((link) => link.boot === writer.boot);
    expect(head).toMatchObject({ sequence: 2, hash: writer.head().hash });
  });

  test('a COMMIT whose answer is lost is found again as success, with its faults', async () => {
    const writer = makeChainWriter(storage);
    const [object, taken] = [sampleObject({ names: ['lost-answer'] }), sampleObject({ names: ['lost-answer'] })];
    await writer.one(insertOf(object));
    await storage.objects.load('acme', object.id);
    relay.set({ atCommit: 'lose-answer' });
    const faults = await writer.commit([
      [{ kind: 'update-object', object: { ...object, description: 'changed', revision: 2 }, expect: 1 }],
      [insertOf(taken)],
    ]);
    expect(faults.map((fault) => fault?.code)).toEqual([undefined, 'already-exists']);
    expect((await storage.objects.load('acme', object.id))?.object.description).toBe('changed');
    expect(await writer.one()).toBeUndefined();
  });

  test('a COMMIT that never arrived is a certain failure, and the same group may be repeated', async () => {
    const writer = makeChainWriter(storage);
    const object = sampleObject();
    await writer.one();
    relay.set({ atCommit: 'lose-request' });
    await expect(writer.one(insertOf(object))).rejects.toMatchObject({ fault: { code: 'storage-unavailable' }, cause: { code: '40001' } });
    expect(await storage.objects.load('acme', object.id)).toBeUndefined();
    expect(await writer.one(insertOf(object))).toBeUndefined();
  });

  test('a statement that reaches the server only after the failure was answered changes nothing', async () => {
    const writer = makeChainWriter(storage);
    await writer.one();
    const before = writer.head();
    relay.set({ holdRequests: true });
    relay.held.splice(0);
    const pending = writer.one();
    await sleep(200);
    relay.set({ holdRequests: false });
    relay.dropClients();
    // Settled as not committed, and sent again by itself: it succeeds exactly once.
    expect(await pending).toBeUndefined();
    for (const { to, data } of relay.held) to.write(data);
    await sleep(300);
    const head = (await storage.audit.heads()).find((link) => link.boot === writer.boot);
    expect(head).toMatchObject({ sequence: before.sequence + 1, hash: writer.head().hash });
    expect(await writer.one()).toBeUndefined();
    const records = [];
    for await (const record of storage.audit.stream({ tenant: 'acme' }))
      if (record.chain.boot === writer.boot) records.push(record.chain.sequence);
    expect(records).toEqual([1, 2, 3]);
  });

  test('a database that is away: calls fail in bounded time, then at once, the lease ends, and all of it heals', async () => {
    const writer = makeChainWriter(storage);
    await writer.one();
    relay.set({ refuse: true });
    relay.dropClients();
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const began = performance.now();
      await expect(work()).rejects.toMatchObject({ fault: { code: 'storage-unavailable' } });
      return performance.now() - began;
    };
    expect(await timed(() => storage.objects.load('acme', randomUUID()))).toBeLessThan(4_000);
    // Less than the patience of the first call (2.5 s): nobody waits a second time, however slow the machine.
    expect(await timed(() => storage.objects.load('acme', randomUUID()))).toBeLessThan(2_000);
    expect(await timed(() => writer.one(insertOf(sampleObject())))).toBeLessThan(2_000);
    expect((await storage.health()).state).toBe('down');
    await expect.poll(() => storage.cluster.isLive(), { timeout: 6_000, interval: 100 }).toBe(false);
    relay.set({ refuse: false });
    await expect.poll(() => storage.cluster.isLive(), { timeout: 8_000, interval: 100 }).toBe(true);
    expect((await storage.health()).state).toBe('up');
    expect(await writer.one(insertOf(sampleObject()))).toBeUndefined();
  });
});

describe('PostgreSQL killed', () => {
  test('kill -9 of PostgreSQL under load, started again each time: nothing acknowledged is lost', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'aegis-kill-'));
    let embedded: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir, log: quietLog });
    const storage = await openStorage({ connection: embedded.connection, kind: 'embedded', nodeId: 'node-1', log: quietLog });
    try {
      const load = runLoad(storage, 3, 'node-1');
      for (let round = 0; round < 5; round += 1) {
        await sleep(300 + Math.random() * 300);
        const exit = new Promise<string>((resolve) => embedded.onExit(resolve));
        process.kill(embedded.pid, 'SIGKILL');
        expect(await exit).toContain('SIGKILL');
        embedded = await startEmbeddedPostgres({ dataDir, log: quietLog });
      }
      await sleep(500);
      await load.stop();
      expect(load.acknowledged.size).toBeGreaterThan(100);
      expectExact(load, await storedIds(embedded.connection));
      expect(load.longestMs.value).toBeLessThan(20_000);
    } finally {
      await storage.close();
      await embedded.stop();
      await rm(dataDir, { recursive: true, force: true });
    }
  }, 180_000);
});
