import { createPublicKey, verify } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { HostOptions, Pkcs11RootConfig } from '../dist/config.js';
import type { RootFault } from '../dist/fault.js';
import { type HostedRoot, openHostedRoot } from '../dist/host/index.js';
import { newDirectory, skipSoftHsm, softHsmConfig } from './pkcs11-tokens.js';

/** The process boundary around a real PKCS#11 module: several processes on one token, one of which is killed. */
describe.skipIf(skipSoftHsm)('SoftHSM2 behind hosts', () => {
  const directory = newDirectory('hosts');
  const config: Pkcs11RootConfig | undefined = skipSoftHsm
    ? undefined
    : { ...softHsmConfig(directory, 'hosts'), storage: 'wrapped', hosts: 2 };
  const opened: HostedRoot[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((root) => root.close()));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const open = async (changes: Partial<Pkcs11RootConfig> = {}, options: HostOptions = {}): Promise<HostedRoot> => {
    const root = await openHostedRoot({ ...(config as Pkcs11RootConfig), ...changes }, options);
    opened.push(root);
    return root;
  };
  const until = async (condition: () => boolean, limitMs = 30_000): Promise<void> => {
    const end = performance.now() + limitMs;
    while (!condition()) {
      if (performance.now() > end) throw new Error(`not within ${limitMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const allReady = (root: HostedRoot) => until(() => root.hosts().every(({ state }) => state === 'ready'));
  const makePair = async (root: HostedRoot) => {
    const binding = { objectId: 'signer', version: 1, tenant: 't', spec: 'ec-p256', usage: ['sign', 'verify'], exportable: false } as const;
    const { reference, publicKey } = await root.call('generateKeyPair', { binding });
    return { key: { reference, binding }, publicKey: createPublicKey({ key: Buffer.from(publicKey ?? []), format: 'der', type: 'spki' }) };
  };

  it('a key made by one host is used by all; kill -9 of one loses no call and gives no wrong signature', async () => {
    const root = await open();
    await allReady(root);
    const { key, publicKey } = await makePair(root);
    let [signed, wrong, stop] = [0, 0, false];
    const faults: string[] = [];
    const lanes = Array.from({ length: 16 }, async (_, lane) => {
      while (!stop) {
        const data = Buffer.from(`lane ${lane} turn ${signed}`);
        try {
          const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
          if (!verify('sha256', data, publicKey, signature)) wrong++;
          signed++;
        } catch (error) {
          faults.push(`${(error as RootFault).code}: ${(error as RootFault).message}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    });
    for (const index of [0, 1]) {
      const before = signed;
      await until(() => signed > before + 50);
      const victim = root.hosts()[index]?.pid;
      if (victim !== undefined) process.kill(victim, 'SIGKILL');
      await until(() => root.hosts()[index]?.restarts === 1);
      await allReady(root);
    }
    stop = true;
    await Promise.all(lanes);
    expect(wrong).toBe(0);
    // The other host was ready all the time, and a signature that was not answered can be made again.
    expect([...new Set(faults)]).toEqual([]);
    expect((await root.health()).state).toBe('ready');
  }, 60_000);

  it('a wrong PIN is tried once by one host, whatever is asked of the root, until somebody says retry', async () => {
    const pin = join(directory, 'wrong-pin');
    writeFileSync(pin, '000000', { mode: 0o600 });
    const started: string[] = [];
    const onEvent: HostOptions['onEvent'] = ({ kind }) => started.push(kind);
    expect(await open({ pin: { file: pin } }).catch((fault: RootFault) => fault.code)).toBe('pin-rejected');
    const root = await open({ pin: { file: pin } }, { lazy: true, onEvent });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(started.filter((kind) => kind === 'started')).toHaveLength(1);
    expect(await root.call('random', { length: 1 }).catch((fault: RootFault) => fault.code)).toBe('pin-rejected');
    expect((await root.health()).state).toBe('unavailable');
    expect((await root.retry()).state).toBe('unavailable');
    expect(started.filter((kind) => kind === 'started')).toHaveLength(2);
  }, 60_000);

  it('a module that is not there is "unavailable" or worse, at once, with what to do', async () => {
    const fault = await open({ module: '/nonexistent/libpkcs11.so' }).catch((error: RootFault) => error);
    expect(fault).toMatchObject({ name: 'RootFault' });
    expect((fault as RootFault).next).toBeTruthy();
  }, 60_000);
});
