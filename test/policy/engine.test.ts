import { mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change, Fault } from '../../src/domain/index.js';
import { makePolicyDirectory } from '../../src/policy/directory.js';
import { makePolicyEngine } from '../../src/policy/engine.js';
import { makeSerial } from '../../src/policy/serial.js';
import { allow, ask, document, engineOf, key, makeStore, NOW, person } from './fixture.js';

const alice = person('alice');
const admin = person('root', { roles: ['admin'] });
const sign = ask(alice, 'sign', { object: key('invoice') });
const adminSign = ask(admin, 'sign', { object: key('invoice') });
const ALLOW = document(allow());
const DENY = document(allow({ id: 'no', effect: 'deny', principals: ['*'] }));
const BROKEN = 'statements: [';
const soon = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (condition: () => boolean): Promise<void> => {
  const end = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > end) throw new Error('timed out');
    await soon();
  }
};

describe('loading', () => {
  it('decides by what the store holds, from the start and after each reload', async () => {
    const { engine, store } = await engineOf({ d: ALLOW });
    expect(engine.decide(sign).effect).toBe('allow');
    store.put('d', DENY);
    expect(engine.decide(sign).effect).toBe('allow');
    await engine.reload();
    expect(engine.decide(sign)).toMatchObject({ effect: 'deny', statement: 'd/no' });
    store.remove('d');
    await engine.reload();
    expect(engine.decide(sign).statement).toBe('default');
    expect(engine.status()).toMatchObject({ documents: 1 });
  });

  it('does not start when the store can’t be read', async () => {
    const store = makeStore();
    store.broken = true;
    await expect(makePolicyEngine({ store })).rejects.toThrow('database gone');
  });

  it('keeps the last good document when the newest is broken, and says so once', async () => {
    const told: string[] = [];
    const { engine, store } = await engineOf({ d: DENY, e: ALLOW }, { onProblem: (p) => told.push(p) });
    store.put('d', BROKEN);
    await engine.reload();
    await engine.reload();
    expect(engine.decide(sign)).toMatchObject({ effect: 'deny', statement: 'd/no' });
    expect(engine.status('default').problem).toMatch(/policy default\/d version 2: line 1: /);
    expect(engine.status('globex').problem).toBe('1 policy document can’t be read; see the log');
    expect(engine.status().problem).toBe('1 policy document can’t be read; see the log');
    expect(told).toHaveLength(1);
    store.put('d', ALLOW);
    await engine.reload();
    expect(engine.decide(sign).effect).toBe('allow');
    expect(engine.status().problem).toBeUndefined();
  });

  it('after a restart takes the last version that can be read', async () => {
    const store = makeStore();
    store.put('d', ALLOW);
    store.put('d', DENY);
    store.put('d', BROKEN);
    store.put('d', BROKEN);
    const engine = await makePolicyEngine({ store });
    expect(engine.decide(sign)).toMatchObject({ effect: 'deny', statement: 'd/no' });
    expect(engine.status('default').problem).toMatch(/version 4/);
  });

  it('closes the tenant when a document that enforces was never readable, but leaves the way to mend it', async () => {
    const { engine, store } = await engineOf({ other: ALLOW });
    store.put('d', BROKEN);
    await engine.reload();
    expect(engine.decide(sign)).toMatchObject({ effect: 'deny', statement: 'aegis-builtin/locked' });
    expect(engine.decide(adminSign)).toMatchObject({ effect: 'deny', statement: 'aegis-builtin/locked' });
    for (const name of ['put-policy', 'delete-policy', 'list-policies', 'list-audit', 'status'] as const)
      expect(engine.decide(ask(admin, name)).effect, name).toBe('allow');
    expect(engine.decide(ask(alice, 'put-policy')).effect).toBe('deny');
    const foreign = person('x', { tenant: 'globex', roles: ['user'] });
    expect(engine.decide(ask(foreign, 'sign', { tenant: 'globex', object: key('k', { tenant: 'globex' }) })).effect).toBe('allow');
    store.remove('d');
    await engine.reload();
    expect(engine.decide(sign).effect).toBe('allow');
  });

  it('a broken dry-run document costs nobody anything', async () => {
    const { engine, store } = await engineOf({ other: ALLOW });
    store.put('d', BROKEN, { mode: 'dry-run' });
    await engine.reload();
    expect(engine.decide(sign).effect).toBe('allow');
    expect(engine.status('default').problem).toMatch(/d version 1/);
  });

  it('a store that fails later changes nothing, shows, and is asked again', async () => {
    let changed: (epoch: number, changes: { policies: boolean; settings: boolean }) => void = () => {};
    const { engine, store } = await engineOf({ d: ALLOW }, { cluster: { onChange: (listener) => (changed = listener) } });
    store.broken = true;
    await expect(engine.reload()).rejects.toThrow();
    expect(engine.decide(sign).effect).toBe('allow');
    expect(engine.status().problem).toMatch(/from the database/);
    expect(engine.status().problem).not.toMatch(/gone/);
    store.put('d', DENY);
    changed(2, { policies: true, settings: false });
    await soon(100);
    store.broken = false;
    await until(() => engine.decide(sign).effect === 'deny');
    expect(engine.status().problem).toBeUndefined();
    await engine.close();
  });

  it('follows changes of the cluster that touch policies, and only those', async () => {
    let changed: (epoch: number, changes: { policies: boolean; settings: boolean }) => void = () => {};
    const { engine, store } = await engineOf({ d: ALLOW }, { cluster: { onChange: (listener) => (changed = listener) } });
    const reads = store.reads;
    store.put('d', DENY);
    for (let epoch = 0; epoch < 100; epoch += 1) changed(epoch, { policies: false, settings: true });
    await soon(120);
    expect(store.reads).toBe(reads);
    for (let epoch = 0; epoch < 100; epoch += 1) changed(epoch, { policies: true, settings: false });
    await until(() => engine.decide(sign).effect === 'deny');
    expect(store.reads).toBe(reads + 1);
    await engine.close();
  });

  it('a reload asked for during another one sees what was true when it was asked', async () => {
    const { engine, store } = await engineOf({ d: ALLOW });
    const first = engine.reload();
    store.put('d', DENY);
    await Promise.all([first, engine.reload()]);
    expect(engine.decide(sign).effect).toBe('deny');
  });
});

describe('jobs in turn', () => {
  it('never overlap, share while queued, and run again for who asks during one', async () => {
    const log: string[] = [];
    let runs = 0;
    const job = makeSerial(async () => {
      runs += 1;
      const run = runs;
      log.push(`begin ${run}`);
      await soon();
      log.push(`end ${run}`);
      if (run === 1) throw new Error('first');
    });
    const first = job();
    await Promise.resolve();
    const [second, third] = [job(), job()];
    expect(second).toBe(third);
    await expect(first).rejects.toThrow('first');
    const fourth = job();
    await Promise.all([second, fourth]);
    await job();
    expect(log).toEqual([...new Set(log)]);
    for (let i = 0; i < log.length; i += 2) expect(log[i + 1]).toBe(log[i]?.replace('begin', 'end'));
    expect(runs).toBeGreaterThanOrEqual(3);
  });
});

describe('a directory of documents', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aegis-policy-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));
  const put = async (name: string, source: string): Promise<void> => {
    await writeFile(join(directory, `.${name}.tmp`), source);
    await rename(join(directory, `.${name}.tmp`), join(directory, name));
  };

  it('is loaded for the tenant default, beside the store’s', async () => {
    await put('a.yaml', ALLOW);
    await put('README.md', 'x');
    const { engine } = await engineOf({}, { directory });
    expect(engine.decide(sign)).toMatchObject({ effect: 'allow', statement: 'file.a/a' });
    await engine.close();
  });

  it('is watched; a broken file changes nothing', async () => {
    await put('a.yaml', ALLOW);
    const { engine } = await engineOf({}, { directory, directoryPollMs: 10 });
    await put('b.yml', DENY);
    await until(() => engine.decide(sign).effect === 'deny');
    await put('b.yml', BROKEN);
    await until(() => engine.status().problem !== undefined);
    expect(engine.decide(sign)).toMatchObject({ effect: 'deny', statement: 'file.b/no' });
    await unlink(join(directory, 'b.yml'));
    await until(() => engine.decide(sign).effect === 'allow');
    expect(engine.status().problem).toBeUndefined();
    await rm(directory, { recursive: true });
    await until(() => engine.status().problem !== undefined);
    expect(engine.decide(sign).effect).toBe('allow');
    await engine.close();
  });

  it('that can’t be read at the start stops the start; a broken file in it closes the tenant', async () => {
    await expect(makePolicyEngine({ store: makeStore(), directory: join(directory, 'nope') })).rejects.toThrow(/can't be read/);
    await put('a.yaml', BROKEN);
    const { engine } = await engineOf({}, { directory });
    expect(engine.decide(adminSign).statement).toBe('aegis-builtin/locked');
    await engine.close();
  });

  it('counts a change once it has settled, so that half a file never decides', async () => {
    await put('a.json', DENY);
    const files = makePolicyDirectory(directory);
    expect((await files.poll())[0]?.source).toBe(DENY);
    await put('a.json', ALLOW);
    expect((await files.poll())[0]?.source).toBe(DENY);
    expect((await files.poll())[0]?.source).toBe(ALLOW);
    await unlink(join(directory, 'a.json'));
    expect(await files.poll()).toHaveLength(1);
    await put('a.json', DENY);
    expect((await files.poll())[0]?.source).toBe(ALLOW);
    await unlink(join(directory, 'a.json'));
    await files.poll();
    expect(await files.poll()).toEqual([]);
  });

  it('refuses two files of one name', async () => {
    await put('a.json', DENY);
    await put('a.yaml', DENY);
    await expect(makePolicyDirectory(directory).poll()).rejects.toThrow('two files');
  });

  it('reads an oversized file no further than its limit, and refuses it', async () => {
    await put('a.yaml', `#${'x'.repeat(3 * 1024 * 1024)}`);
    const { engine } = await engineOf({}, { directory });
    expect(engine.status('default').problem).toMatch(/larger than 1048576/);
    await engine.close();
  });
});

describe('limits of statements', () => {
  const limited = (limits: object[], over: object = {}) => document(allow({ limits, ...over }));
  const use = (engine: Awaited<ReturnType<typeof engineOf>>['engine'], question = sign): Fault | undefined =>
    engine.limit(question, engine.decide(question));

  it('hold rates, refill with time and say when to come back', async () => {
    const { engine } = await engineOf({ d: limited([{ rate: '3/min' }]) });
    const at = (ms: number) => use(engine, { ...sign, now: NOW + ms })?.code;
    expect([at(0), at(0), at(0), at(0)]).toEqual([undefined, undefined, undefined, 'rate-limited']);
    expect(use(engine)).toMatchObject({ code: 'rate-limited', retryAfterMs: 20_000, statement: 'd/a' });
    expect(at(19_999)).toBe('rate-limited');
    expect(at(20_000)).toBeUndefined();
    expect(at(20_000)).toBe('rate-limited');
  });

  it('a clock that steps back grants nothing twice', async () => {
    const { engine } = await engineOf({ d: limited([{ rate: '1/min' }]) });
    const at = (ms: number) => use(engine, { ...sign, now: NOW + ms })?.code;
    expect(at(0)).toBeUndefined();
    expect(at(-120_000)).toBe('rate-limited');
    expect(at(0)).toBe('rate-limited');
    expect(at(59_999)).toBe('rate-limited');
    expect(at(60_000)).toBeUndefined();
  });

  it('count apart per principal, key, action, source, or together', async () => {
    const { engine } = await engineOf({
      d: document(allow({ principals: ['*'], actions: ['keys:*'], limits: [{ rate: '1/hour', per: ['principal', 'key'] }] })),
    });
    expect(use(engine)).toBeUndefined();
    expect(use(engine)?.code).toBe('rate-limited');
    expect(use(engine, { ...sign, object: key('other') })).toBeUndefined();
    expect(use(engine, ask(person('bob'), 'sign', { object: key('invoice') }))).toBeUndefined();
    expect(use(engine, ask(alice, 'verify', { object: key('invoice') }))?.code).toBe('rate-limited');
    const perTenant = await engineOf({ d: document(allow({ principals: ['*'], limits: [{ rate: '1/hour', per: 'tenant' }] })) });
    expect(use(perTenant.engine)).toBeUndefined();
    expect(use(perTenant.engine, ask(person('bob'), 'sign', { object: key('x') }))?.code).toBe('rate-limited');
  });

  it('of every matching statement bind, also where a role grants without limit', async () => {
    const user = person('alice', { roles: ['user'] });
    const { engine } = await engineOf({ d: limited([{ rate: '1/min' }]) });
    const question = ask(user, 'sign', { object: key('invoice') });
    expect(use(engine, question)).toBeUndefined();
    expect(use(engine, question)?.code).toBe('rate-limited');
  });

  it('take from all or from none', async () => {
    const { engine } = await engineOf({ d: limited([{ rate: '5/min' }, { quota: '1/day' }]) });
    expect(use(engine)).toBeUndefined();
    for (let i = 0; i < 10; i += 1) expect(use(engine)?.code).toBe('quota-exceeded');
    const tomorrow = { ...sign, now: NOW + 86_400_000 };
    expect(use(engine, tomorrow)).toBeUndefined();
  });

  it('hold quotas per calendar window, UTC', async () => {
    const { engine } = await engineOf({ d: limited([{ quota: '2/day' }]) });
    const at = (iso: string) => use(engine, { ...sign, now: Date.parse(iso) });
    expect(at('2026-11-20T23:59:58Z')).toBeUndefined();
    expect(at('2026-11-20T23:59:59Z')).toBeUndefined();
    expect(at('2026-11-20T23:59:59Z')).toMatchObject({ code: 'quota-exceeded', retryAfterMs: 1000 });
    expect(at('2026-11-21T00:00:00Z')).toBeUndefined();
  });

  it('share a quota over nodes', async () => {
    const { engine } = await engineOf({ d: limited([{ quota: '10/day' }]) }, { nodes: () => 3 });
    const taken = Array.from({ length: 10 }, () => use(engine)).filter((f) => f === undefined).length;
    expect(taken).toBe(3);
  });

  it('charge an agent’s human as well', async () => {
    const carol = person('carol');
    const bot = (name: string) => ({ ...person(name), kind: 'agent', parentId: carol.id, purpose: 'x' }) as never;
    const { engine } = await engineOf({
      d: document(
        allow({ id: 'h', principals: ['user:carol'], limits: [{ rate: '2/hour' }] }),
        allow({ id: 'g', principals: ['kind:agent'] }),
      ),
    });
    const asked = (name: string) => ask(bot(name), 'sign', { object: key('k'), parent: carol });
    expect(use(engine, asked('one'))).toBeUndefined();
    expect(use(engine, asked('two'))).toBeUndefined();
    expect(use(engine, asked('three'))?.code).toBe('rate-limited');
    expect(use(engine, ask(carol, 'sign', { object: key('k') }))?.code).toBe('rate-limited');
  });

  it('never count what was not allowed', async () => {
    const { engine } = await engineOf({ d: limited([{ rate: '1/hour' }]) });
    const decision = engine.decide(sign);
    expect(engine.limit(sign, { ...decision, effect: 'deny' })).toBeUndefined();
    expect(use(engine)).toBeUndefined();
  });

  it('stay bounded in memory without handing out fresh budgets', async () => {
    const { engine } = await engineOf(
      { d: document(allow({ principals: ['*'], limits: [{ rate: '1/hour' }] })) },
      { maxCounters: 100, defaultRate: null },
    );
    let allowed = 0;
    for (let i = 0; i < 1000; i += 1) if (use(engine, ask(person(`u${i}`), 'sign', { object: key('k') })) === undefined) allowed += 1;
    expect(allowed).toBe(101);
    for (let i = 0; i < 100; i += 1) expect(use(engine, ask(person(`u${i}`), 'sign', { object: key('k') }))?.code).toBe('rate-limited');
    // Counters that say nothing any more make room.
    const later = { now: NOW + 3_600_001 };
    expect(use(engine, ask(person('new'), 'sign', { object: key('k'), ...later }))).toBeUndefined();
  });

  it('have a ceiling for every principal by default, which can be set and must be readable', async () => {
    const user = person('u', { roles: ['user'] });
    const { engine } = await engineOf({}, { defaultRate: '2/min' });
    const question = ask(user, 'sign', { object: key('k') });
    expect([use(engine, question), use(engine, question)]).toEqual([undefined, undefined]);
    expect(use(engine, question)?.code).toBe('rate-limited');
    await expect(engineOf({}, { defaultRate: 'unlimited' })).rejects.toThrow(/must read COUNT\/UNIT/);
  });
});

describe('quota counts', () => {
  const QUOTA = document(allow({ limits: [{ quota: '5/day' }] }));
  const setup = () => {
    const stored = new Map<string, unknown>();
    const changes: Change[] = [];
    const journal = {
      commit: async (_record: unknown, planned: readonly Change[]) => {
        for (const change of planned) {
          changes.push(change);
          if (change.kind === 'put-setting') stored.set(`${change.tenant}/${change.name}`, JSON.parse(JSON.stringify(change.value)));
        }
        return undefined;
      },
    };
    const settings = { setting: async (tenant: string, name: string) => stored.get(`${tenant}/${name}`) };
    return { stored, changes, options: { journal, settings, nodeId: 'n1' } };
  };

  it('survive a restart', async () => {
    const { options, changes } = setup();
    const first = await engineOf({ d: QUOTA }, options);
    for (let i = 0; i < 3; i += 1) expect(first.engine.limit(sign, first.engine.decide(sign))).toBeUndefined();
    await first.engine.close();
    const second = await engineOf({ d: QUOTA }, options);
    const left = Array.from({ length: 5 }, () => second.engine.limit(sign, second.engine.decide(sign))).filter(
      (f) => f === undefined,
    ).length;
    expect(left).toBe(2);
    expect(changes).toHaveLength(1);
    await second.engine.close();
  });

  it('are not saved again while nothing changed, nor at all without quotas', async () => {
    const { options, changes } = setup();
    const { engine } = await engineOf({ d: ALLOW }, { ...options, quotaSaveMs: 5 });
    engine.limit(sign, engine.decide(sign));
    await soon(40);
    await engine.close();
    expect(changes).toEqual([]);
  });

  it('that can’t be read stop the start, rather than begin everybody’s quota afresh', async () => {
    const { options } = setup();
    const settings = { setting: () => Promise.reject(new Error('gone')) };
    await expect(engineOf({ d: QUOTA }, { ...options, settings })).rejects.toThrow('gone');
  });

  it('ignore what is not a count, and counts of other windows', async () => {
    const { options, stored } = setup();
    stored.set('default/policy-quotas/n1', {
      counts: [
        null,
        5,
        { key: 'x' },
        { key: 'x', window: 'day', name: '2020-01-01', used: 9 },
        { key: 'y', window: 'eon', name: 'x', used: 1 },
      ],
    });
    const { engine } = await engineOf({ d: QUOTA }, options);
    expect(engine.limit(sign, engine.decide(sign))).toBeUndefined();
    await engine.close();
  });
});
