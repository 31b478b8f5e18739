import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { HostOptions, RootConfig } from '../dist/config.js';
import type { BoundKey } from '../dist/contract.js';
import type { RootFault } from '../dist/fault.js';
import { restartDelayMs } from '../dist/host/host-seats.js';
import { type HostedRoot, makeHostedRoot } from '../dist/host/hosted-root.js';

const ENTRY = new URL('./host-fixtures/fault-host.mjs', import.meta.url);
const SERVER = fileURLToPath(new URL('./host-fixtures/server.mjs', import.meta.url));

interface Fake {
  readonly start?: string;
  readonly stateFile?: string;
  readonly healthFile?: string;
  readonly log?: string;
  readonly external?: boolean;
  readonly deaf?: boolean;
}
type Event = Parameters<NonNullable<HostOptions['onEvent']>>[0];

let directory = '';
const opened: HostedRoot[] = [];
const children: ChildProcess[] = [];
const orphans: number[] = [];
let events: Event[] = [];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aegis-host-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((root) => root.close()));
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const pid of orphans.splice(0)) if (alive(pid)) process.kill(pid, 'SIGKILL');
  events = [];
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const file = (name: string, content = ''): string => {
  const path = join(directory, `${name}-${Math.random().toString(36).slice(2)}`);
  writeFileSync(path, content);
  return path;
};
const lines = (path: string, word: string): number =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(word)).length;

const open = async (fake: Fake = {}, hosts = 1, options: HostOptions = {}, extra: object = {}): Promise<HostedRoot> => {
  const config = { id: 'faulty', kind: 'software', hosts, seal: { kind: 'key-file', path: '/nonexistent' }, fake, ...extra };
  const root = await makeHostedRoot({
    entry: ENTRY,
    config: config as unknown as RootConfig,
    options: { ...options, onEvent: (event) => events.push(event) },
  });
  opened.push(root);
  return root;
};
const until = async (condition: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> => {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const allReady = (root: HostedRoot) => until(() => root.hosts().every(({ state }) => state === 'ready'));
const pids = (root: HostedRoot): number[] => root.hosts().flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
const alive = (pid: number): boolean => {
  // A zombie still has an entry; it runs nothing.
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
};

const makeKey = (objectId: string): BoundKey => ({
  reference: new Uint8Array(Buffer.from(`reference of ${objectId}`)),
  binding: { objectId, version: 1, tenant: 't', spec: 'hmac-sha256', usage: ['mac'], exportable: false },
});
const expected = (key: BoundKey, data: Uint8Array): Uint8Array =>
  new Uint8Array(createHmac('sha256', key.reference).update(key.binding.objectId).update(data).digest());
const mac = (root: HostedRoot, data: string, objectId = 'k') =>
  root.call('mac', { key: makeKey(objectId), algorithm: 'hmac-sha256', data: Buffer.from(data) });
const faultOf = (promise: Promise<unknown>): Promise<RootFault> =>
  promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (fault: RootFault) => fault,
  );

describe('a hosted root', () => {
  it('answers what its back end answers, thousands at once', async () => {
    const root = await open({}, 2);
    await allReady(root);
    const answers = await Promise.all(
      Array.from({ length: 5000 }, async (_, index) => {
        const [key, data] = [makeKey(`object-${index % 700}`), Buffer.from(`message ${index}`)];
        const answer = await root.call('mac', { key, algorithm: 'hmac-sha256', data });
        return Buffer.from(answer.mac).equals(expected(key, data));
      }),
    );
    expect(answers.every(Boolean)).toBe(true);
    expect(
      await root.call('macVerify', { key: makeKey('k'), algorithm: 'hmac-sha256', data: Buffer.from('x'), mac: new Uint8Array(32) }),
    ).toEqual({
      valid: false,
    });
    expect(root.hosts().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  });

  it('spreads calls over its hosts', async () => {
    const root = await open({}, 3);
    await allReady(root);
    const asked = await Promise.all(Array.from({ length: 300 }, () => root.call('evidence', { key: makeKey('k') })));
    const counts = new Map<string, number>();
    for (const { asserted } of asked) counts.set(asserted['pid'] as string, (counts.get(asserted['pid'] as string) ?? 0) + 1);
    expect([...counts.values()].sort()).toEqual([100, 100, 100]);
  });

  it('large data crosses both ways; what exceeds a frame is refused and harms nothing', async () => {
    const root = await open({}, 1, { maxFrame: 2_000_000 });
    const { bytes } = await root.call('random', { length: 1_900_000 });
    expect(bytes.length).toBe(1_900_000);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
    const data = new Uint8Array(1_900_000).map((_, index) => index);
    expect((await root.call('mac', { key: makeKey('k'), algorithm: 'hmac-sha256', data })).mac).toEqual(expected(makeKey('k'), data));
    const before = pids(root);
    expect((await faultOf(root.call('digest', { hash: 'sha256', data: new Uint8Array(2_000_001) }))).code).toBe('limit-exceeded');
    expect((await faultOf(root.call('random', { length: 2_000_001 }))).code).toBe('limit-exceeded');
    expect((await mac(root, 'fine')).mac).toEqual(expected(makeKey('k'), Buffer.from('fine')));
    expect(pids(root)).toEqual(before);
  });

  it('gives a host a bare environment, no debugger, no core dumps and no secret in its arguments', async () => {
    process.env['AEGIS_TEST_SECRET'] = 'must not be passed';
    process.env['NODE_OPTIONS'] = '--max-old-space-size=300 --inspect-port=0 --trace-warnings';
    try {
      const config = {
        kind: 'pkcs11',
        module: '/nonexistent',
        slot: { index: 0 },
        storage: 'token',
        pin: { env: 'AEGIS_TEST_PIN' },
        environment: { MODULE_CONF: '/etc/module' },
      };
      process.env['AEGIS_TEST_PIN'] = '1234';
      const root = await open({}, 1, {}, config);
      const { module } = await root.describe();
      const names = (module['environment'] as string).split(',');
      expect(names).toContain('AEGIS_TEST_PIN');
      expect(names).toContain('MODULE_CONF');
      const allowed = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'OPENSSL_CONF', 'OPENSSL_MODULES'];
      // The shell that sets the core limit adds these.
      const others = names.filter((name) => ![...allowed, 'AEGIS_TEST_PIN', 'MODULE_CONF', 'PWD', 'OLDPWD', 'SHLVL', '_'].includes(name));
      expect(others).toEqual([]);
      expect(module['flags']).toBe('--max-old-space-size=300');
      expect(module['argv']).toMatch(/^\S+ \S+fault-host\.mjs$/);
      expect(module['coreLimit']).toBe('0');
      expect(module['title']).toBe('aegis-root faulty');
      expect(await faultOf(open({}, 1, {}, { ...config, environment: { NODE_OPTIONS: '--inspect' } }))).toMatchObject({
        code: 'invalid-argument',
      });
    } finally {
      for (const name of ['AEGIS_TEST_SECRET', 'AEGIS_TEST_PIN', 'NODE_OPTIONS']) delete process.env[name];
    }
  });

  it('refuses senseless limits', async () => {
    expect(await faultOf(open({}, 0))).toMatchObject({ code: 'invalid-argument' });
    expect(await faultOf(open({}, 1, { callTimeoutMs: 0 }))).toMatchObject({ code: 'invalid-argument' });
    expect(await faultOf(open({}, 1, { maxFrame: Number.NaN }))).toMatchObject({ code: 'invalid-argument' });
  });

  it('a long call does not hold up short ones', async () => {
    const root = await open();
    let over = false;
    const long = root.call('generateKeyPair', { binding: makeKey('pair').binding }).then(() => {
      over = true;
    });
    await Promise.all(Array.from({ length: 50 }, (_, index) => mac(root, `short ${index}`)));
    expect(over).toBe(false);
    await long;
  });

  it('a crowd of long calls waits its turn: none fails, the host is not blamed, short calls go by', async () => {
    // 20 times 400 ms, two at a time: far beyond the limit of an ordinary call.
    const root = await open({}, 1, { callTimeoutMs: 800 });
    const before = pids(root);
    const crowd = Array.from({ length: 20 }, () => root.call('generateKeyPair', { binding: makeKey('pair').binding }));
    expect(root.hosts()[0]?.inFlight).toBe(20);
    for (let turn = 0; turn < 10; turn++) {
      await mac(root, `short ${turn}`);
      expect(root.hosts()[0]?.inFlight).toBeGreaterThan(2);
      await sleep(50);
    }
    await Promise.all(crowd);
    expect(pids(root)).toEqual(before);
  });

  it('long calls that wait too long fail, those that are being served do not', async () => {
    const root = await open({}, 1, { callTimeoutMs: 200 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => root.call('generateKeyPair', { binding: makeKey('pair').binding })),
    );
    const done = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(done).toBeGreaterThanOrEqual(4);
    expect(done).toBeLessThan(20);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'unavailable' });
    expect(root.hosts()[0]?.restarts).toBe(0);
  });

  it('a host that holds more data than agreed stops reading, and goes on when it has answered', async () => {
    const root = await open({}, 1, { maxFrame: 500_000 });
    const before = pids(root);
    const calls = Array.from({ length: 12 }, () => {
      const data = Buffer.alloc(200_000, ' ');
      data.write('slow 150');
      return root.call('mac', { key: makeKey('k'), algorithm: 'hmac-sha256', data }).then(
        ({ mac: answer }) => Buffer.from(answer).equals(expected(makeKey('k'), data)),
        (fault: RootFault) => fault.code,
      );
    });
    const outcomes = await Promise.all(calls);
    expect(outcomes.filter((outcome) => outcome === true).length).toBeGreaterThanOrEqual(5);
    for (const outcome of outcomes) expect([true, 'limit-exceeded']).toContain(outcome);
    await mac(root, 'after');
    expect(pids(root)).toEqual(before);
  });

  it('refuses more calls than the bound, at once, and serves again when some are done', async () => {
    const root = await open({}, 1, { maxInFlight: 10 });
    let over = false;
    const slow = Array.from({ length: 10 }, () =>
      mac(root, 'slow 500').finally(() => {
        over = true;
      }),
    );
    const fault = await faultOf(mac(root, 'one too many'));
    expect(fault.code).toBe('limit-exceeded');
    expect(fault.next).toBeTruthy();
    expect(over).toBe(false);
    await Promise.all(slow);
    await mac(root, 'again');
  });
});

describe('what a host throws', () => {
  it('a fault keeps code, message and next step', async () => {
    const fault = await faultOf(mac(await open(), 'fault '));
    expect([fault.name, fault.code, fault.message, fault.next]).toEqual([
      'RootFault',
      'key-not-found',
      'the token object is gone',
      'restore the token',
    ]);
  });

  it('anything else becomes "internal" and tells no secret', async () => {
    const root = await open();
    const before = pids(root);
    const fault = await faultOf(mac(root, 'throw '));
    expect(fault.code).toBe('internal');
    expect(fault.message).toContain('ERR_MODULE_BROKE');
    expect(`${fault.message}${fault.stack}${fault.next}`).not.toMatch(/1234|deadbeef/);
    expect(await faultOf(mac(root, 'shapeless '))).toMatchObject({ code: 'internal' });
    expect(await faultOf(root.call('noSuchCall' as never, {} as never))).toMatchObject({ code: 'unsupported' });
    expect(await faultOf(root.call('toString' as never, {} as never))).toMatchObject({ code: 'unsupported' });
    expect(await faultOf(root.call('encrypt', { key: makeKey('k'), algorithm: 'aes-gcm', plaintext: new Uint8Array(1) }))).toMatchObject({
      code: 'unsupported',
    });
    expect(pids(root)).toEqual(before);
  });
});

describe('a host that dies', () => {
  for (const word of ['exit', 'crash']) {
    it(`${word}: its calls fail at once, it is replaced, the next call works`, async () => {
      const root = await open();
      const [pid] = pids(root);
      const others = Array.from({ length: 20 }, () => faultOf(mac(root, 'slow 60000')));
      const started = performance.now();
      const fault = await faultOf(mac(root, `${word} `));
      expect(fault.code).toBe('unavailable');
      for (const other of await Promise.all(others)) expect(other.code).toBe('unavailable');
      expect(performance.now() - started).toBeLessThan(5000);
      const meanwhile = await faultOf(mac(root, 'while it is away'));
      expect(meanwhile.code).toBe('unavailable');
      await allReady(root);
      expect(pids(root)).not.toEqual([pid]);
      expect((await mac(root, 'back')).mac).toEqual(expected(makeKey('k'), Buffer.from('back')));
      expect(root.hosts()[0]).toMatchObject({
        restarts: 1,
        lastError: expect.stringContaining(word === 'exit' ? 'exit code 3' : 'SIGSEGV'),
      });
      expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['started', 'ready', 'died', 'restarting']));
    });
  }

  for (const hosts of [1, 3]) {
    it(`kill -9 under load, ${hosts} host(s): no wrong answer, every call settles in time, it heals`, async () => {
      const root = await open({}, hosts);
      await allReady(root);
      let [answered, refused, wrong, longest, stop] = [0, 0, 0, 0, false];
      const lane = async (number: number): Promise<void> => {
        for (let turn = 0; !stop; turn++) {
          const [key, data] = [makeKey(`o-${(number * 31 + turn) % 500}`), Buffer.from(`lane ${number} turn ${turn}`)];
          const started = performance.now();
          try {
            const answer = await root.call('mac', { key, algorithm: 'hmac-sha256', data });
            answered++;
            if (!Buffer.from(answer.mac).equals(expected(key, data))) wrong++;
          } catch (error) {
            if ((error as RootFault).code !== 'unavailable') throw error;
            refused++;
            await sleep(5);
          }
          longest = Math.max(longest, performance.now() - started);
        }
      };
      const lanes = Array.from({ length: 64 }, (_, number) => lane(number));
      for (let round = 0; round < 6; round++) {
        // Served again after the death before: that is what "heals" means.
        const before = answered;
        await until(() => answered > before + 20);
        const victim = pids(root)[round % hosts];
        if (victim !== undefined) process.kill(victim, 'SIGKILL');
        await sleep(50);
      }
      const before = answered;
      await until(() => answered > before + 20);
      stop = true;
      await Promise.all(lanes);
      expect(wrong).toBe(0);
      expect(longest).toBeLessThan(5000);
      if (hosts === 1) expect(refused).toBeGreaterThan(0);
      await allReady(root);
      expect(root.hosts().reduce((sum, { restarts }) => sum + restarts, 0)).toBeGreaterThanOrEqual(3);
      expect((await root.health()).state).toBe('ready');
      await mac(root, 'healthy');
    });
  }

  it('pure calls move to another host, once', async () => {
    const root = await open({}, 2);
    await allReady(root);
    const calls = Array.from({ length: 20 }, () => mac(root, 'slow 400'));
    await sleep(100);
    process.kill(pids(root)[0] as number, 'SIGKILL');
    for (const { mac: answer } of await Promise.all(calls)) expect(answer).toEqual(expected(makeKey('k'), Buffer.from('slow 400')));
    // What kills every host it meets stops after two.
    await allReady(root);
    expect((await faultOf(mac(root, 'exit '))).code).toBe('unavailable');
    await allReady(root);
    await mac(root, 'fine');
  });

  it('calls that leave something behind are never made twice', async () => {
    for (const external of [true, false]) {
      const log = file('log');
      const root = await open({ log, external }, 2);
      await allReady(root);
      const create = root.call('generateKey', { binding: makeKey('slow').binding });
      const seed = root.call('seedRandom', { seed: Buffer.from('slow') });
      const outcome = Promise.allSettled([create, seed]);
      await sleep(100);
      const busy = root.hosts().filter(({ inFlight }) => inFlight > 0);
      expect(busy).toHaveLength(2);
      process.kill(busy[0]?.pid as number, 'SIGKILL');
      const [created] = await outcome;
      expect(created.status).toBe(external ? 'rejected' : 'fulfilled');
      expect(lines(log, 'generate slow')).toBe(external ? 1 : 2);
      await allReady(root);
      const seeding = faultOf(root.call('seedRandom', { seed: Buffer.from('slow') }));
      await sleep(100);
      process.kill(root.hosts().find(({ inFlight }) => inFlight > 0)?.pid as number, 'SIGKILL');
      expect((await seeding).code).toBe('unavailable');
    }
  });
});

describe('a host that hangs', () => {
  for (const word of ['hang', 'never']) {
    it(`${word}: the call fails in time, the host is killed and replaced`, async () => {
      const root = await open({}, 1, { callTimeoutMs: 500 });
      const [pid] = pids(root);
      const started = performance.now();
      const fault = await faultOf(mac(root, `${word} `));
      expect(fault.code).toBe('unavailable');
      const took = performance.now() - started;
      expect(took).toBeGreaterThan(450);
      expect(took).toBeLessThan(1500);
      await until(() => !alive(pid as number));
      await allReady(root);
      await mac(root, 'back');
      expect(events.some(({ kind }) => kind === 'hung')).toBe(true);
    });
  }

  it('others on the same host move; the call that hung does not take a second host with it', async () => {
    const root = await open({}, 2, { callTimeoutMs: 600 });
    await allReady(root);
    const hung = faultOf(mac(root, 'hang '));
    await sleep(400);
    const before = pids(root);
    const others = Array.from({ length: 10 }, () => mac(root, 'innocent'));
    await Promise.all(others);
    expect((await hung).code).toBe('unavailable');
    await allReady(root);
    expect(pids(root).filter((pid) => before.includes(pid))).toHaveLength(1);
  });

  it('a stall of the server itself is not blamed on the host', async () => {
    const root = await open({}, 1, { callTimeoutMs: 300 });
    const before = pids(root);
    const call = mac(root, 'slow 50');
    await sleep(20);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    await call;
    await sleep(100);
    expect(pids(root)).toEqual(before);
  });
});

describe('a host that answers nonsense', () => {
  for (const word of ['garbage', 'bomb', 'twice']) {
    it(`${word}: it is replaced and nobody gets the nonsense`, async () => {
      const root = await open();
      const [pid] = pids(root);
      const neighbour = faultOf(mac(root, 'slow 30000'));
      const before = process.memoryUsage().arrayBuffers;
      expect((await faultOf(mac(root, `${word} `))).message).toContain('malformed');
      expect((await neighbour).code).toBe('unavailable');
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
      await until(() => !alive(pid as number));
      await allReady(root);
      await mac(root, 'back');
    });
  }
});

describe('a root that does not open', () => {
  for (const [start, code] of [
    ['exit', 'unavailable'],
    ['garbage', 'unavailable'],
    ['throw', 'internal'],
    ['unavailable', 'unavailable'],
    ['pin-rejected', 'pin-rejected'],
    ['sealed', 'sealed'],
  ] as const) {
    it(`${start} is told to the caller, and nothing is left running`, async () => {
      const fault = await faultOf(open({ start }));
      expect(fault.code).toBe(code);
      expect(fault.message).not.toContain('secret');
      if (start === 'exit') expect(fault.message).toContain('exit code 9');
      const started = events.flatMap(({ kind, detail }) => (kind === 'started' ? [Number(detail?.split(' ')[1])] : []));
      expect(started).toHaveLength(1);
      await until(() => started.every((pid) => !alive(pid)));
    });
  }

  it('a start that hangs is given up', async () => {
    const started = performance.now();
    expect((await faultOf(open({ start: 'hang' }, 1, { startTimeoutMs: 500 }))).code).toBe('unavailable');
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it('lazy: answers "unavailable" until the token is there, then serves by itself', async () => {
    const [stateFile, log] = [file('state', 'unavailable'), file('log')];
    const root = await open({ stateFile, log }, 2, { lazy: true });
    expect(await root.health()).toMatchObject({ state: 'unavailable', detail: expect.stringContaining('cannot open: unavailable') });
    expect(await faultOf(root.describe())).toMatchObject({ code: 'unavailable' });
    expect(await faultOf(mac(root, 'x'))).toMatchObject({ code: 'unavailable' });
    await sleep(1200);
    const attempts = lines(log, 'open');
    expect(attempts).toBeGreaterThan(1);
    expect(attempts).toBeLessThan(8);
    writeFileSync(stateFile, 'ok');
    await allReady(root);
    expect((await root.health()).state).toBe('ready');
    expect((await root.describe()).id).toBe('faulty');
    await mac(root, 'x');
  });

  for (const reason of ['pin-rejected', 'sealed'] as const) {
    it(`${reason} is tried once, not once per host, and again only on request`, async () => {
      const [stateFile, log] = [file('state', reason), file('log')];
      const root = await open({ stateFile, log }, 3, { lazy: true });
      await sleep(1000);
      expect(lines(log, 'open')).toBe(1);
      expect(await root.health()).toMatchObject({ state: 'unavailable', detail: expect.stringContaining('do something') });
      expect(await faultOf(mac(root, 'x'))).toMatchObject({ code: reason, next: 'do something' });
      expect(root.hosts()[0]?.state).toBe('unavailable');
      expect((await root.retry()).state).toBe('unavailable');
      await sleep(300);
      expect(lines(log, 'open')).toBe(2);
      writeFileSync(stateFile, 'ok');
      await root.retry();
      await allReady(root);
      expect(lines(log, 'open')).toBe(5);
      await mac(root, 'x');
    });
  }

  it('a PIN changed while hosts run costs one attempt; the hosts that are left go on', async () => {
    const [stateFile, log] = [file('state', 'ok'), file('log')];
    const root = await open({ stateFile, log }, 3);
    await allReady(root);
    writeFileSync(stateFile, 'pin-rejected');
    const [first, second] = pids(root);
    process.kill(first as number, 'SIGKILL');
    process.kill(second as number, 'SIGKILL');
    await until(() => root.hosts().filter(({ state }) => state === 'unavailable').length === 2);
    await sleep(700);
    expect(lines(log, 'open')).toBe(4);
    expect(await root.health()).toMatchObject({ state: 'degraded', detail: expect.stringMatching(/1 of 3.*cannot open.*do something/) });
    await mac(root, 'still served');
    writeFileSync(stateFile, 'ok');
    await root.retry();
    await allReady(root);
    expect((await root.health()).state).toBe('ready');
  });

  it('restart delays grow from 100 ms to 10 s and differ by chance', () => {
    expect(restartDelayMs(0, 0)).toBe(100);
    expect(restartDelayMs(3, 1)).toBe(800);
    expect(restartDelayMs(3, 0)).toBe(400);
    expect(restartDelayMs(50, 1)).toBe(10_000);
    expect(restartDelayMs(5000, 0)).toBe(5000);
  });
});

describe('multi-part operations', () => {
  const begin = (root: HostedRoot) => root.call('beginOperation', { kind: 'digest', hash: 'sha256' });

  it('stay on the host where they began', async () => {
    const root = await open({}, 3);
    await allReady(root);
    const outputs = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const { operation } = await begin(root);
        for (const part of ['a', 'b', 'c']) await root.call('updateOperation', { operation, data: Buffer.from(`${part}${index} `) });
        const { output } = await root.call('finishOperation', { operation });
        expect((await faultOf(root.call('finishOperation', { operation }))).code).toBe('operation-unknown');
        return Buffer.from(output).toString();
      }),
    );
    expect(outputs).toEqual(outputs.map((_, index) => `a${index} b${index} c${index} `));
  });

  it('die with their host, and never reach its successor', async () => {
    const root = await open();
    const { operation } = await begin(root);
    process.kill(pids(root)[0] as number, 'SIGKILL');
    await until(() => root.hosts()[0]?.state !== 'ready');
    expect((await faultOf(root.call('updateOperation', { operation, data: new Uint8Array(1) }))).code).toBe('operation-unknown');
    await allReady(root);
    await begin(root);
    expect((await faultOf(root.call('updateOperation', { operation, data: new Uint8Array(1) }))).code).toBe('operation-unknown');
    for (const odd of ['', 'op-1', '1.', '99.op-1', '__proto__', undefined as unknown as string]) {
      expect((await faultOf(root.call('cancelOperation', { operation: odd }))).code, String(odd)).toBe('operation-unknown');
    }
  });
});

describe('rotateSeal', () => {
  for (const deaf of [false, true]) {
    it(`every host seals under the new generation when it answers${deaf ? ', also one that must be replaced for it' : ''}`, async () => {
      const root = await open({ deaf }, 3);
      await allReady(root);
      const before = pids(root);
      // A deaf fake starts at generation 1 again, so replacing it once is all that can be asked.
      expect(await root.call('rotateSeal', {})).toEqual({ generation: 2 });
      expect((await root.describe()).sealGeneration).toBe(2);
      const kept = pids(root).filter((pid) => before.includes(pid)).length;
      expect(kept).toBe(deaf ? 1 : 3);
      if (deaf) return;
      const made = await Promise.all(
        Array.from({ length: 9 }, (_, index) => root.call('generateKey', { binding: makeKey(`n${index}`).binding })),
      );
      expect(made.map(({ reference }) => reference[0])).toEqual(made.map(() => 2));
      const [one, two] = await Promise.all([root.call('rotateSeal', {}), root.call('rotateSeal', {})]);
      expect([one.generation, two.generation].sort()).toEqual([3, 4]);
    });
  }
});

describe('health', () => {
  it('is the sum of what the hosts say', async () => {
    const healthFile = file('health', JSON.stringify({ state: 'ready', latencyMs: 3.5 }));
    const root = await open({ healthFile } as Fake, 2);
    await allReady(root);
    expect(await root.health()).toEqual({ state: 'ready', latencyMs: 3.5 });
    writeFileSync(healthFile, JSON.stringify({ state: 'degraded', detail: 'sessions are short' }));
    expect(await root.health()).toMatchObject({ state: 'degraded', detail: 'sessions are short' });
    writeFileSync(healthFile, JSON.stringify({ state: 'unavailable', detail: 'token removed' }));
    expect(await root.health()).toMatchObject({ state: 'unavailable', detail: expect.stringContaining('token removed') });
  });
});

describe('the end', () => {
  it('close lets calls finish, refuses new ones, closes the root and leaves no process', async () => {
    const log = file('log');
    const root = await open({ log }, 2);
    await allReady(root);
    const before = pids(root);
    const last = Array.from({ length: 5 }, () => mac(root, 'slow 300'));
    const closing = root.close();
    expect((await faultOf(mac(root, 'late'))).code).toBe('unavailable');
    for (const { mac: answer } of await Promise.all(last)) expect(answer).toEqual(expected(makeKey('k'), Buffer.from('slow 300')));
    await closing;
    expect(before.filter(alive)).toEqual([]);
    expect(lines(log, 'close')).toBe(2);
    expect(root.hosts().map(({ state }) => state)).toEqual(['stopped', 'stopped']);
    expect((await root.health()).state).toBe('unavailable');
    await root.close();
  });

  it('close does not wait for ever: not for a call, not for a module that will not finish', async () => {
    const root = await open({}, 1, { callTimeoutMs: 400 });
    const [pid] = pids(root);
    const hung = faultOf(mac(root, 'hang '));
    const started = performance.now();
    await root.close();
    expect(performance.now() - started).toBeLessThan(4000);
    expect((await hung).code).toBe('unavailable');
    expect(alive(pid as number)).toBe(false);
    const slow = await open({ start: 'slow-close' });
    const [other] = pids(slow);
    const again = performance.now();
    await slow.close();
    expect(performance.now() - again).toBeLessThan(5000);
    expect(alive(other as number)).toBe(false);
  });

  it('close during a start stops the start', async () => {
    const root = await open({ start: 'hang' }, 1, { lazy: true, startTimeoutMs: 200 });
    await root.retry();
    const started = performance.now();
    await root.close();
    expect(performance.now() - started).toBeLessThan(3000);
    await sleep(300);
    const all = events.flatMap(({ kind, detail }) => (kind === 'started' ? [Number(detail?.split(' ')[1])] : []));
    expect(all.filter(alive)).toEqual([]);
  });

  const startServer = async (behaviour: string): Promise<{ child: ChildProcess; hosts: number[] }> => {
    const child = spawn(process.execPath, [SERVER, behaviour], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const line = await new Promise<string>((resolve) => child.stdout?.once('data', (data: Buffer) => resolve(String(data))));
    const hosts = line.trim().split(' ').map(Number);
    orphans.push(...hosts);
    return { child, hosts };
  };

  for (const [behaviour, end, limitMs] of [
    ['idle', 'SIGKILL', 3000],
    ['idle', 'exit', 3000],
    ['idle', 'close', 3000],
    // The main thread sits in a call of the module; the watching thread ends it.
    ['hanging', 'SIGKILL', 6000],
  ] as const) {
    it(`no host outlives its server: ${behaviour}, ${end}`, async () => {
      const { child, hosts } = await startServer(behaviour);
      expect(hosts.every(alive)).toBe(true);
      if (end === 'SIGKILL') child.kill('SIGKILL');
      else child.stdin?.write(`${end}\n`);
      await until(() => hosts.every((pid) => !alive(pid)), limitMs);
    });
  }

  it("the terminal's signals and the debugger's do nothing to a host", async () => {
    const root = await open();
    const [pid] = pids(root);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) process.kill(pid as number, signal);
    await sleep(300);
    await mac(root, 'still here');
    expect(pids(root)).toEqual([pid]);
    const debuggable = await new Promise<boolean>((resolve) => {
      const probe = connect(9229, '127.0.0.1', () => {
        probe.destroy();
        resolve(true);
      });
      probe.on('error', () => resolve(false));
    });
    expect(debuggable).toBe(false);
  });

  it('started by hand it serves nothing', async () => {
    const child = spawn(process.execPath, [fileURLToPath(ENTRY)], { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(64);
  });
});
