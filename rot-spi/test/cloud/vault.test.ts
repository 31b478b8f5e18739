import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openCloudRoot } from '../../src/cloud-envelope/index.js';
import type { CloudRootConfig } from '../../src/config.js';
import type { BoundKey, KeyBinding, RootOfTrust } from '../../src/contract.js';
import { RootFault } from '../../src/fault.js';
import { startTransitDouble, type TransitDouble } from './transit-double.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-vault-'));
let double: TransitDouble;
let count = 0;
const opened: RootOfTrust[] = [];
beforeEach(async () => {
  double = await startTransitDouble();
  writeFileSync(join(directory, 'token'), double.token, { mode: 0o600 });
});
afterEach(async () => {
  for (const root of opened.splice(0)) await root.close();
  await double.close();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const configFor = (mode: CloudRootConfig['mode'], rest: Partial<CloudRootConfig> = {}): CloudRootConfig => {
  count += 1;
  return {
    id: 'vault',
    kind: 'cloud-envelope',
    mode,
    provider: {
      kind: 'vault',
      address: double.address,
      timeoutMs: 300,
      auth: { method: 'token', token: { file: join(directory, 'token') } },
    },
    seal: { key: 'aegis-seal', path: join(directory, `${count}.seal`), create: true },
    refreshMs: 20,
    ...rest,
  };
};
const open = async (config: CloudRootConfig): Promise<RootOfTrust> => {
  const root = await openCloudRoot(config);
  opened.push(root);
  return root;
};
const binding = (spec: KeyBinding['spec'], rest: Partial<KeyBinding> = {}): KeyBinding => ({
  objectId: `object-${count}`,
  version: 1,
  tenant: 'default',
  spec,
  usage: ['sign', 'verify', 'encrypt', 'decrypt', 'mac', 'mac-verify'],
  exportable: false,
  ...rest,
});
const faultOf = async (attempt: Promise<unknown>): Promise<RootFault> => {
  const outcome = await attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(RootFault);
  return outcome as RootFault;
};
const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  for (let tries = 0; tries < 400; tries += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it never became so');
};
const aesKey = async (root: RootOfTrust): Promise<BoundKey> => {
  const bound = binding('aes-256');
  return { reference: (await root.call('generateKey', { binding: bound })).reference, binding: bound };
};
const encrypt = (root: RootOfTrust, key: BoundKey) => root.call('encrypt', { key, algorithm: 'aes-gcm', plaintext: Buffer.from('hello') });

const set = (state: Partial<TransitDouble>): void => void Object.assign(double, state);

describe('envelope', () => {
  test('keys never reach Vault, the seal file holds none in clear, and it opens again from Vault alone', async () => {
    const config = configFor('envelope');
    const root = await open(config);
    const key = await aesKey(root);
    const sealed = await encrypt(root, key);
    expect([...double.keys.keys()]).toEqual(['aegis-seal']);
    const seen = double.seen.filter((path) => path.startsWith('POST transit/')).length;
    for (let calls = 0; calls < 20; calls += 1) await encrypt(root, key);
    expect(double.seen.filter((path) => /POST transit\/encrypt/.test(path)).length).toBeLessThanOrEqual(seen);
    await root.close();
    const again = await open(config);
    const { plaintext } = await again.call('decrypt', { key, algorithm: 'aes-gcm', ...sealed });
    expect(Buffer.from(plaintext).toString()).toBe('hello');
  });

  test.each([
    ['denied', () => set({ tokenValid: false }), () => set({ tokenValid: true })],
    ['sealed', () => set({ sealed: true }), () => set({ sealed: false })],
    [
      'version disabled',
      (): void => void Object.assign(double.keys.get('aegis-seal') ?? {}, { minDecryption: 9 }),
      (): void => void Object.assign(double.keys.get('aegis-seal') ?? {}, { minDecryption: 1 }),
    ],
  ])('when Vault says %s, the root closes, says why, forgets its keys, and opens again by itself', async (_, stop, start) => {
    const root = await open(configFor('envelope'));
    const key = await aesKey(root);
    stop();
    await until(async () => (await root.health()).state === 'unavailable');
    const fault = await faultOf(encrypt(root, key));
    expect(['sealed', 'invalid-argument', 'decryption-failed']).toContain(fault.code);
    expect((await root.health()).detail?.length).toBeGreaterThan(10);
    start();
    await until(async () => (await root.health()).state === 'ready');
    expect((await encrypt(root, key)).ciphertext.length).toBe(5);
  });

  test('a deleted sealing key closes the root for good, and encrypting never makes another in its place', async () => {
    const root = await open(configFor('envelope'));
    const key = await aesKey(root);
    double.keys.delete('aegis-seal');
    await until(async () => (await root.health()).state === 'unavailable');
    expect((await faultOf(encrypt(root, key))).code).not.toBe('unavailable');
  });

  test('silence is borne for the grace period, then the keys are forgotten; nothing hangs', async () => {
    const root = await open(configFor('envelope', { graceMs: 600 }));
    const key = await aesKey(root);
    double.silent = true;
    expect((await encrypt(root, key)).ciphertext.length).toBe(5);
    await until(async () => (await faultOfOrNone(encrypt(root, key)))?.code === 'unavailable');
    double.silent = false;
    await until(async () => (await root.health()).state === 'ready');
  });

  test('after a rotation in Vault the seal is wrapped anew under the new version, the keys stay', async () => {
    const config = configFor('envelope');
    const root = await open(config);
    const key = await aesKey(root);
    const versionOf = (): string => /"version":"(\d+)"/.exec(readFileSync(config.seal.path, 'latin1'))?.[1] ?? '';
    expect(versionOf()).toBe('1');
    const seal = double.keys.get('aegis-seal');
    seal?.versions.push({ createdAt: 'later', secret: Buffer.alloc(32, 7) });
    await until(() => versionOf() === '2');
    if (seal !== undefined) seal.minDecryption = 2;
    await root.close();
    expect((await encrypt(await open(config), key)).ciphertext.length).toBe(5);
  });
});

const faultOfOrNone = (attempt: Promise<unknown>): Promise<RootFault | undefined> =>
  attempt.then(
    () => undefined,
    (error: unknown) => error as RootFault,
  );

describe('layered', () => {
  test('a key that is there already is looked up, adopted and used; destroying our object leaves it alone', async () => {
    const root = await open(configFor('layered'));
    const made = await root.call('generateKeyPair', { binding: binding('ec-p256') });
    const [name = ''] = [...double.keys.keys()].filter((one) => one.startsWith('aegis-object'));
    const found = await root.call('lookupKey', { ref: name });
    expect([found.ref, found.spec, Buffer.from(found.publicKey ?? [])]).toEqual([
      `${name}/1`,
      'ec-p256',
      Buffer.from(made.publicKey ?? []),
    ]);
    const adopted = binding('ec-p256', { objectId: 'adopted' });
    const { reference, provenance } = await root.call('adoptKey', { binding: adopted, ref: found.ref });
    expect(provenance.local).toBe(true);
    const key = { reference, binding: adopted };
    const data = Buffer.from('message');
    const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
    expect((await root.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature })).valid).toBe(true);
    expect((await root.call('verify', { key, algorithm: 'ecdsa-sha256', data: Buffer.from('other'), signature })).valid).toBe(false);
    await root.call('destroyKey', { key });
    expect(double.keys.has(name)).toBe(true);
    await faultOf(root.call('adoptKey', { binding: binding('rsa-2048', { objectId: 'wrong' }), ref: found.ref }));
    expect((await faultOf(root.call('lookupKey', { ref: 'no-such-key' }))).code).toBe('key-not-found');
  });

  test('another key under the same name is not used in its place, and none is made', async () => {
    const root = await open(configFor('layered'));
    const key = await aesKey(root);
    const [name = ''] = [...double.keys.keys()].filter((one) => one.startsWith('aegis-object'));
    const other = await open(configFor('layered'));
    double.keys.delete(name);
    // Vault's own encrypt would make the key: a root that has not seen it lately asks first.
    expect((await faultOf(encrypt(other, key))).code).toBe('wrong-root');
    double.keys.set(name, {
      type: 'aes256-gcm96',
      exportable: false,
      imported: false,
      derived: false,
      deletionAllowed: false,
      minDecryption: 1,
      versions: [{ createdAt: '2020-01-01T00:00:00Z', secret: Buffer.alloc(32) }],
    });
    const fresh = await openCloudRoot({ ...configFor('layered'), seal: { key: 'aegis-seal', path: join(directory, `${count - 2}.seal`) } });
    opened.push(fresh);
    expect((await faultOf(encrypt(fresh, key))).code).toBe('reference-invalid');
  });

  test('throttling is honoured and retried, a lasting outage opens the breaker, other calls then fail at once', async () => {
    const root = await open(configFor('layered', { refreshMs: 60_000 }));
    const key = await aesKey(root);
    double.fail = { status: 429, message: 'rate limited', retryAfter: '0', times: 2 };
    expect((await encrypt(root, key)).ciphertext.length).toBe(5);
    double.fail = { status: 502, message: 'bad gateway' };
    const before = double.seen.length;
    for (let calls = 0; calls < 5; calls += 1) expect((await faultOf(encrypt(root, key))).code).toBe('unavailable');
    const tried = double.seen.length - before;
    expect(tried).toBeGreaterThan(5);
    expect((await faultOf(encrypt(root, key))).message).toContain('did not answer lately');
    expect(double.seen.length - before).toBe(tried);
    double.fail = undefined;
    await until(async () => (await faultOfOrNone(encrypt(root, key))) === undefined);
  }, 60_000);

  test('what Vault refuses is told with its own words and never with the token or the data', async () => {
    const root = await open(configFor('layered'));
    const key = await aesKey(root);
    double.tokenValid = false;
    const fault = await faultOf(encrypt(root, key));
    expect([fault.code, fault.message.includes('permission denied')]).toEqual(['sealed', true]);
    expect(`${fault.message} ${fault.next}`).not.toContain(double.token);
    expect(`${fault.message} ${fault.next}`).not.toContain(Buffer.from('hello').toString('base64'));
  });

  test('plain http to another machine, a password in the address and a world-readable token are refused', async () => {
    const at = (address: string) => ({ ...configFor('layered'), provider: { ...configFor('layered').provider, address } });
    expect((await faultOf(openCloudRoot(at('http://vault.example:8200')))).message).toContain('not encrypted');
    expect((await faultOf(openCloudRoot(at('https://user:secret@vault.example')))).message).not.toContain('secret');
    writeFileSync(join(directory, 'open-token'), double.token, { mode: 0o644 });
    const config = configFor('layered');
    const provider = { ...config.provider, auth: { method: 'token', token: { file: join(directory, 'open-token') } } } as const;
    expect((await faultOf(openCloudRoot({ ...config, provider }))).next).toContain('chmod 600');
  });
});
