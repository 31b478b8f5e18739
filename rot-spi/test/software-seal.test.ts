import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { SoftwareRootConfig } from '../src/config.js';
import type { BoundKey, KeyBinding, RootOfTrust } from '../src/contract.js';
import type { RootFault } from '../src/fault.js';
import { openSoftwareRoot } from '../src/software/index.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-seal-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let count = 0;
const next = (): number => {
  count += 1;
  return count;
};
const newPath = (): string => join(directory, `${next()}`, 'seal.key');
const keyFile = (path: string, create = true): SoftwareRootConfig => ({
  id: 'software',
  kind: 'software',
  seal: { kind: 'key-file', path, create },
});
const withPassphrase = (path: string, file: string, create = true): SoftwareRootConfig => ({
  id: 'software',
  kind: 'software',
  seal: { kind: 'passphrase', path, passphrase: { file }, create },
});
const secretFile = (text: string, mode = 0o600): string => {
  const path = join(directory, `secret-${next()}`);
  writeFileSync(path, text, { mode });
  return path;
};

const binding: KeyBinding = { objectId: 'k', version: 1, tenant: 't', spec: 'aes-256', usage: ['encrypt', 'decrypt'], exportable: false };
const newKey = async (root: RootOfTrust): Promise<BoundKey> => ({
  reference: (await root.call('generateKey', { binding })).reference,
  binding,
});
const use = (root: RootOfTrust, key: BoundKey) => root.call('encrypt', { key, algorithm: 'aes-gcm', plaintext: Buffer.from('x') });
const faultOf = async (attempt: Promise<unknown>): Promise<RootFault> =>
  attempt.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: RootFault) => error,
  );
const generationIn = (key: BoundKey): number => Buffer.from(key.reference).readUInt32BE(17);

describe('sealing key file', () => {
  test('is created with mode 0600 in a directory of mode 0700, and opens again as the same root', async () => {
    const path = newPath();
    const first = await openSoftwareRoot(keyFile(path));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(path, '..'))).toEqual(['seal.key']);
    const key = await newKey(first);
    await first.close();
    const second = await openSoftwareRoot(keyFile(path, false));
    expect((await second.describe()).fingerprint).toBe((await first.describe()).fingerprint);
    await use(second, key);
    await second.close();
  });

  test('is not made up when it is missing', async () => {
    const fault = await faultOf(openSoftwareRoot(keyFile(newPath(), false)));
    expect(fault.code).toBe('sealed');
    expect(fault.next).toMatch(/backup|create/);
  });

  test.each([0o640, 0o604, 0o660, 0o644])('mode %o is refused with the command that mends it', async (mode) => {
    const path = newPath();
    await (await openSoftwareRoot(keyFile(path))).close();
    chmodSync(path, mode);
    const fault = await faultOf(openSoftwareRoot(keyFile(path)));
    expect([fault.code, fault.next]).toEqual(['sealed', `Run: chmod 600 ${path}`]);
    chmodSync(path, 0o400);
    await (await openSoftwareRoot(keyFile(path))).close();
  });

  test('damage anywhere is noticed, and never mended by a new file', async () => {
    const path = newPath();
    await (await openSoftwareRoot(keyFile(path))).close();
    const good = readFileSync(path);
    for (let at = 0; at < good.length; at += 7) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x04;
      writeFileSync(path, bad);
      expect((await faultOf(openSoftwareRoot(keyFile(path)))).code).toBe('sealed');
    }
    for (const length of [0, 1, 10, good.length - 1]) {
      writeFileSync(path, good.subarray(0, length));
      expect((await faultOf(openSoftwareRoot(keyFile(path)))).code).toBe('sealed');
    }
    writeFileSync(path, good);
    await (await openSoftwareRoot(keyFile(path))).close();
  });

  test('a file of another kind or a directory is refused', async () => {
    for (const path of [secretFile('not a sealing key file'), directory, '/dev/null'])
      expect((await faultOf(openSoftwareRoot(keyFile(path)))).code).toBe('sealed');
  });

  test('health turns degraded when the file is gone or open to others, and ready again', async () => {
    const path = newPath();
    const root = await openSoftwareRoot(keyFile(path));
    const key = await newKey(root);
    expect((await root.health()).state).toBe('ready');
    chmodSync(path, 0o644);
    expect(await root.health()).toMatchObject({ state: 'degraded', detail: expect.stringContaining('chmod 600') });
    chmodSync(path, 0o600);
    copyFileSync(path, `${path}.kept`);
    rmSync(path);
    expect(await root.health()).toMatchObject({ state: 'degraded', detail: expect.stringContaining('backup') });
    await use(root, key);
    copyFileSync(`${path}.kept`, path);
    expect((await root.health()).state).toBe('ready');
    await root.close();
  });
});

describe('passphrase', () => {
  test('opens with the right one only, and the file holds no key in clear', async () => {
    const path = newPath();
    const right = secretFile('correct horse battery staple\n');
    const root = await openSoftwareRoot(withPassphrase(path, right));
    const key = await newKey(root);
    await root.close();
    const wrong = await faultOf(openSoftwareRoot(withPassphrase(path, secretFile('correct horse battery stapl'))));
    expect([wrong.code, wrong.next]).toEqual(['sealed', expect.stringContaining('passphrase')]);
    expect(`${wrong.message} ${wrong.stack}`).not.toContain('horse');
    expect((await faultOf(openSoftwareRoot(keyFile(path)))).message).toContain('protected by a passphrase');
    const again = await openSoftwareRoot(withPassphrase(path, secretFile('correct horse battery staple')));
    await use(again, key);
    expect((await again.call('rotateSeal', {})).generation).toBe(2);
    const newer = await newKey(again);
    await again.close();
    const third = await openSoftwareRoot(withPassphrase(path, right, false));
    await use(third, key);
    await use(third, newer);
    await third.close();
  });

  test('comes from a file that only the owner reads, from the environment, and from nowhere else', async () => {
    const path = newPath();
    const fault = await faultOf(openSoftwareRoot(withPassphrase(path, secretFile('secret', 0o644))));
    expect([fault.code, fault.next]).toEqual(['sealed', expect.stringContaining('chmod 600')]);
    expect((await faultOf(openSoftwareRoot(withPassphrase(path, secretFile(''))))).code).toBe('sealed');
    expect((await faultOf(openSoftwareRoot(withPassphrase(path, join(directory, 'none'))))).code).toBe('sealed');
    expect(existsSync(path)).toBe(false);
    const config = (env: string): SoftwareRootConfig => ({
      id: 's',
      kind: 'software',
      seal: { kind: 'passphrase', path, passphrase: { env }, create: true },
    });
    expect((await faultOf(openSoftwareRoot(config('AEGIS_TEST_NO_SUCH_VARIABLE')))).code).toBe('sealed');
    process.env['AEGIS_TEST_PASSPHRASE'] = 'from the environment';
    const root = await openSoftwareRoot(config('AEGIS_TEST_PASSPHRASE'));
    delete process.env['AEGIS_TEST_PASSPHRASE'];
    await newKey(root);
    await root.close();
  });
});

describe('rotation', () => {
  test('seals under the new generation, keeps the old ones, and keeps the fingerprint', async () => {
    const root = await openSoftwareRoot(keyFile(newPath()));
    const before = await root.describe();
    const old = await newKey(root);
    expect(await root.call('rotateSeal', {})).toEqual({ generation: 2 });
    const fresh = await newKey(root);
    expect([generationIn(old), generationIn(fresh)]).toEqual([1, 2]);
    await use(root, old);
    const moved = { binding, ...(await root.call('rewrapReference', { key: old })) };
    expect(generationIn(moved)).toBe(2);
    await use(root, moved);
    const after = await root.describe();
    expect([after.fingerprint, before.sealGeneration, after.sealGeneration]).toEqual([before.fingerprint, 1, 2]);
    await root.close();
  });

  test('reaches other hosts: one that loaded the file before opens what is sealed after', async () => {
    const path = newPath();
    const [one, two] = [await openSoftwareRoot(keyFile(path)), await openSoftwareRoot(keyFile(path))];
    await one.call('rotateSeal', {});
    const key = await newKey(one);
    await use(two, key);
    expect((await two.call('rotateSeal', {})).generation).toBe(3);
    await use(one, await newKey(two));
    await one.close();
    await two.close();
  });

  test('an older copy of the file does not take newer generations out of use while running, and is named after', async () => {
    const path = newPath();
    const root = await openSoftwareRoot(keyFile(path));
    copyFileSync(path, `${path}.old`);
    await root.call('rotateSeal', {});
    const key = await newKey(root);
    copyFileSync(`${path}.old`, path);
    await use(root, key);
    const restored = await openSoftwareRoot(keyFile(path));
    const fault = await faultOf(use(restored, key));
    expect([fault.code, fault.next]).toEqual(['reference-invalid', expect.stringContaining('restore the newest')]);
    expect((await root.call('rotateSeal', {})).generation).toBe(3);
    await use(restored, key);
    await root.close();
    await restored.close();
  });

  test('refuses to run beside another one, and clears the lock of a dead process', async () => {
    const path = newPath();
    const root = await openSoftwareRoot(keyFile(path));
    const lock = (pid: number, host = hostname()) => writeFileSync(`${path}.lock`, JSON.stringify({ host, pid, nonce: 'n' }));
    for (const [pid, host] of [
      [process.ppid, hostname()],
      [1, 'another-machine'],
    ] as const) {
      lock(pid, host);
      const fault = await faultOf(root.call('rotateSeal', {}));
      expect([fault.code, fault.next]).toEqual(['unavailable', expect.stringContaining(`${path}.lock`)]);
    }
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.on('exit', resolve));
    lock(child.pid ?? 0);
    expect((await root.call('rotateSeal', {})).generation).toBe(2);
    lock(process.pid); // left by an earlier process that had this number
    expect((await root.call('rotateSeal', {})).generation).toBe(3);
    if (process.platform === 'linux') {
      const other = { host: hostname(), pid: process.ppid, started: 'another boot:1', nonce: 'n' };
      writeFileSync(`${path}.lock`, JSON.stringify(other));
      expect((await root.call('rotateSeal', {})).generation).toBe(4);
    }
    expect(readdirSync(join(path, '..'))).toEqual(['seal.key']);
    await root.close();
  });

  test('two roots with different files refuse each other', async () => {
    const [one, two] = [await openSoftwareRoot(keyFile(newPath())), await openSoftwareRoot(keyFile(newPath()))];
    expect((await faultOf(use(two, await newKey(one)))).code).toBe('wrong-root');
    await one.close();
    await two.close();
  });
});

const rotator = (path: string, times: number): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, 'software-fixtures/rotate.mjs'), path, String(times)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

/** Everything a child said it had finished, until it ended or was killed. */
const linesOf = async (child: ChildProcess, killAfterMs?: number): Promise<string[]> => {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    if (text === '' && killAfterMs !== undefined) setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    text += chunk.toString();
  });
  await new Promise((resolve) => child.on('close', resolve));
  return text.split('\n').slice(0, -1);
};

describe('rotation by several processes', () => {
  const built = existsSync(join(import.meta.dirname, '../dist/software/index.js'));
  const childBinding: KeyBinding = { ...binding, objectId: 'child', spec: 'aes-128', usage: ['encrypt'] };
  const opensAll = async (path: string, lines: readonly string[]): Promise<number> => {
    const root = await openSoftwareRoot(keyFile(path, false));
    for (const line of lines.filter((text) => !text.startsWith('ready'))) {
      const [, reference = ''] = line.split(' ');
      await root.call('encrypt', {
        key: { reference: Buffer.from(reference, 'hex'), binding: childBinding },
        algorithm: 'aes-ctr',
        plaintext: Buffer.from('x'),
      });
    }
    const { sealGeneration = 0 } = await root.describe();
    await root.close();
    return sealGeneration;
  };

  test('the package is built (npx tsc -b rot-spi)', () => expect(built).toBe(true));

  test('a start race makes one root, and rotations at once lose no generation', async () => {
    const path = newPath();
    const all = await Promise.all([1, 2, 3].map(() => linesOf(rotator(path, 8))));
    expect(new Set(all.map(([ready]) => ready)).size).toBe(1);
    expect(all.map((lines) => lines.length)).toEqual([9, 9, 9]);
    expect(await opensAll(path, all.flat())).toBe(25);
  });

  test('killed at any point: the file is whole, nothing acknowledged is lost, the next rotation works', async () => {
    const path = newPath();
    let newest = 1;
    for (let round = 0; round < 12; round += 1) {
      const lines = await linesOf(rotator(path, 10_000), round * 7);
      const said = lines.slice(1).map((line) => Number(line.split(' ')[0]));
      const generation = await opensAll(path, lines);
      expect(generation).toBeGreaterThanOrEqual(Math.max(newest, ...said));
      newest = generation;
    }
    const root = await openSoftwareRoot(keyFile(path, false));
    expect((await root.call('rotateSeal', {})).generation).toBe(newest + 1);
    await root.close();
    expect(newest).toBeGreaterThan(3);
  });
});
