import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { provisionSoftHsm } from '../../softhsm/provision.mjs';
import type { Pkcs11RootConfig } from '../src/config.js';
import type { BoundKey, KeyBinding, RootOfTrust } from '../src/contract.js';
import { RootFault } from '../src/fault.js';
import { openPkcs11RootWith } from '../src/pkcs11/back-end.js';
import { CKR } from '../src/pkcs11/constants.js';
import { openPkcs11Root } from '../src/pkcs11/index.js';
import { faultyModule } from './pkcs11-faulty.js';
import { newDirectory, skipSoftHsm, softHsmConfig } from './pkcs11-tokens.js';

const directories: string[] = [];
const home = (name: string): string => {
  const directory = newDirectory(name);
  directories.push(directory);
  return directory;
};
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

const data = Buffer.from('invoice 4711');
const bindingOf = (objectId: string, spec: KeyBinding['spec'] = 'ec-p256'): KeyBinding => ({
  objectId,
  version: 1,
  tenant: 'tenant-a',
  spec,
  usage: ['sign', 'verify', 'encrypt', 'decrypt'],
  exportable: false,
});
const newPair = async (root: RootOfTrust, objectId: string): Promise<BoundKey> => {
  const binding = bindingOf(objectId);
  return { reference: (await root.call('generateKeyPair', { binding })).reference, binding };
};
const signs = async (root: RootOfTrust, key: BoundKey): Promise<boolean> => {
  const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
  return (await root.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature })).valid;
};
const faultOf = async (call: Promise<unknown>): Promise<RootFault> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof RootFault) return error;
    throw error;
  }
  throw new Error('the call succeeded');
};
const withRoot = async <T>(config: Pkcs11RootConfig, use: (root: RootOfTrust) => Promise<T>): Promise<T> => {
  const root = await openPkcs11Root(config);
  try {
    return await use(root);
  } finally {
    await root.close();
  }
};

/** Looks at the token from another process, as another application with the PIN would. */
const elsewhere = (config: Pkcs11RootConfig, script: string): string =>
  execFileSync(
    process.execPath,
    [
      '-e',
      `const { readFileSync } = require('node:fs');
       const p11 = require(${JSON.stringify(createRequire(import.meta.url).resolve('pkcs11js'))});
       const m = new p11.PKCS11(); m.load(${JSON.stringify(config.module)}); m.C_Initialize({ flags: 2 });
       const slot = m.C_GetSlotList(true).find((s) => m.C_GetTokenInfo(s).label.trim() === ${JSON.stringify(config.slot.label)});
       const s = m.C_OpenSession(slot, 6);
       const login = () => m.C_Login(s, 1, readFileSync(${JSON.stringify('file' in config.pin ? config.pin.file : '')}, 'utf8').trim());
       const find = (t) => { m.C_FindObjectsInit(s, t); const r = m.C_FindObjects(s, 1000); m.C_FindObjectsFinal(s); return r; };
       const text = (o, type) => m.C_GetAttributeValue(s, o, [{ type }])[0].value.toString('latin1');
       ${script}`,
    ],
    { env: { ...process.env, ...config.environment }, encoding: 'utf8' },
  ).trim();

const labels = (config: Pkcs11RootConfig): string[] =>
  JSON.parse(elsewhere(config, 'login(); console.log(JSON.stringify(find([{ type: 1, value: true }]).map((o) => text(o, 3)).sort()))'));

describe.skipIf(skipSoftHsm)('finding the token', () => {
  const directory = home('slot');
  const config = softHsmConfig(directory, 'first token');
  softHsmConfig(directory, 'second');

  test('by label, serial, URI and index: always the same root', async () => {
    const one = await withRoot(config, async (root) => root.describe());
    const serial = one.module['tokenSerial'] ?? '';
    expect(serial).not.toBe('');
    const ways: Pkcs11RootConfig['slot'][] = [
      { serial },
      { uri: 'pkcs11:token=first%20token' },
      { uri: `pkcs11:serial=${serial};model=SoftHSM%20v2` },
      { uri: `pkcs11:manufacturer=SoftHSM%20project;token=first%20token` },
    ];
    for (const slot of ways)
      expect((await withRoot({ ...config, slot }, async (root) => root.describe())).fingerprint).toBe(one.fingerprint);
    const byIndex = await Promise.all([0, 1].map(async (index) => index));
    const fingerprints = [];
    for (const index of byIndex)
      fingerprints.push(
        await withRoot({ ...config, slot: { index } }, async (root) => (await root.describe()).fingerprint).catch(
          (error: RootFault) => error.code,
        ),
      );
    expect(fingerprints).toContain(one.fingerprint);
  });

  test('facts of module and token are told, and that it is a test token', async () => {
    const { module, kind, external } = await withRoot(config, async (root) => root.describe());
    expect(kind).toBe('pkcs11');
    expect(external).toBe(true);
    expect(module).toMatchObject({ tokenLabel: 'first token', libraryManufacturer: 'SoftHSM', note: 'TEST TOKEN, no validation' });
    expect(module['librarySha256']).toMatch(/^[0-9a-f]{64}$/);
  });

  test('a token that is not there: unavailable, with what is there and what to do', async () => {
    const fault = await faultOf(openPkcs11Root({ ...config, slot: { label: 'elsewhere' } }));
    expect(fault.code).toBe('unavailable');
    expect(fault.message).toContain('first token');
    expect(fault.next).toContain('SOFTHSM2_CONF');
  });

  test.each([
    [{}],
    [{ label: 'first token', serial: '1' }],
    [{ uri: 'token=first' }],
    [{ uri: 'pkcs11:' }],
    [{ uri: 'pkcs11:token=a?pin-value=1234' }],
    [{ uri: 'pkcs11:object=key' }],
    [{ uri: 'pkcs11:token=a;token=b' }],
    [{ uri: 'pkcs11:token=%zz' }],
    [{ index: -1 }],
  ] as Pkcs11RootConfig['slot'][][])('a slot setting that says nothing or too much is refused: %j', async (slot) => {
    expect((await faultOf(openPkcs11Root({ ...config, slot: slot ?? {} }))).code).toBe('invalid-argument');
  });
});

describe.skipIf(skipSoftHsm)('the PIN', () => {
  const CKF_USER_PIN_COUNT_LOW = 0x1_0000;
  const flagsOf = (config: Pkcs11RootConfig): number => Number(elsewhere(config, 'console.log(m.C_GetTokenInfo(slot).flags)'));

  test('a wrong PIN is tried exactly once and never again, however often the root is opened', async () => {
    const directory = home('pin');
    const config = softHsmConfig(directory);
    const pin = join(directory, 'wrong-pin');
    writeFileSync(pin, 'not the pin\n', { mode: 0o600 });
    const wrong: Pkcs11RootConfig = { ...config, pin: { file: pin } };
    expect(flagsOf(config) & CKF_USER_PIN_COUNT_LOW).toBe(0);
    const module = faultyModule();
    for (let i = 0; i < 5; i += 1) {
      const fault = await faultOf(openPkcs11RootWith(wrong, module.source));
      expect(fault.code).toBe('pin-rejected');
      expect(fault.next).toMatch(/PIN/);
      expect(`${fault.message} ${fault.next}`).not.toContain('not the pin');
    }
    expect(module.count('C_Login')).toBe(1);
    expect(flagsOf(config) & CKF_USER_PIN_COUNT_LOW).not.toBe(0);
    // Corrected, it is another PIN, and works.
    const root = await openPkcs11RootWith(config, module.source);
    expect((await root.health()).state).toBe('ready');
    await root.close();
    expect(flagsOf(config) & CKF_USER_PIN_COUNT_LOW).toBe(0);
  });

  test.each([
    ['locked', CKR.PIN_LOCKED, /security officer/],
    ['expired', CKR.PIN_EXPIRED, /vendor tool/],
  ] as const)('a PIN that is %s: pin-rejected, said why, not tried twice', async (_, rv, next) => {
    const module = faultyModule();
    const config = softHsmConfig(home('pin-state'));
    module.fail('C_Login', rv, 10);
    for (let i = 0; i < 3; i += 1) {
      const fault = await faultOf(openPkcs11RootWith(config, module.source));
      expect(fault.code).toBe('pin-rejected');
      if (i === 0) expect(fault.next).toMatch(next);
    }
    expect(module.count('C_Login')).toBe(1);
  });

  test('a PIN refused at a re-login ends all trying until somebody acts', async () => {
    const module = faultyModule();
    const root = await openPkcs11RootWith(softHsmConfig(home('pin-later')), module.source);
    const key = await newPair(root, 'later');
    const before = module.count('C_Login');
    module.fail('C_Login', CKR.PIN_INCORRECT, 10);
    module.fail('C_SignInit', CKR.DEVICE_REMOVED);
    for (let i = 0; i < 5; i += 1)
      expect((await faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha256', data }))).code).toBe('pin-rejected');
    expect(module.count('C_Login')).toBe(before + 1);
    expect((await root.health()).state).toBe('unavailable');
    await root.close();
  });

  test('already logged in is success: two roots on one token in one process, and closing one leaves the other whole', async () => {
    const config = softHsmConfig(home('two'));
    const one = await openPkcs11Root(config);
    const two = await openPkcs11Root({ ...config, storage: 'wrapped' });
    const key = await newPair(one, 'shared');
    expect(await signs(two, key)).toBe(true);
    await one.close();
    expect(await signs(two, key)).toBe(true);
    await two.close();
  });

  test('a PIN file that others can read is refused before the token sees anything', async () => {
    const directory = home('pin-mode');
    const config = softHsmConfig(directory);
    const module = faultyModule();
    chmodSync(join(directory, 'pin'), 0o644);
    const fault = await faultOf(openPkcs11RootWith(config, module.source));
    expect(fault.code).toBe('sealed');
    expect(fault.next).toContain('chmod 600');
    expect(module.count('C_Login')).toBe(0);
  });
});

describe.skipIf(skipSoftHsm)('what is missing', () => {
  test('a module that is not there: unavailable, with the path and the next step', async () => {
    const config = { ...softHsmConfig(home('missing')), module: '/usr/lib/nowhere/libhsm.so' };
    const fault = await faultOf(openPkcs11Root(config));
    expect(fault.code).toBe('unavailable');
    expect(fault.message).toContain('/usr/lib/nowhere/libhsm.so');
    expect(fault.next).toContain('ldd');
  });

  test('pkcs11js not installed: the back end loads all the same and says how to mend it', () => {
    const script = `
      import { Module } from 'node:module';
      const resolve = Module._resolveFilename;
      Module._resolveFilename = function (name, ...rest) {
        if (name === 'pkcs11js') throw Object.assign(new Error("Cannot find module 'pkcs11js'"), { code: 'MODULE_NOT_FOUND' });
        return resolve.call(this, name, ...rest);
      };
      const { openPkcs11Root } = await import(${JSON.stringify(new URL('../dist/pkcs11/index.js', import.meta.url).href)});
      process.env.TEST_PIN = '1234';
      try {
        await openPkcs11Root({ id: 'x', kind: 'pkcs11', module: '/x.so', slot: { index: 0 }, pin: { env: 'TEST_PIN' }, storage: 'token' });
      } catch (error) {
        console.log(JSON.stringify([error.code, error.message, error.next]));
      }`;
    const [code, message, next] = JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }));
    expect(code).toBe('unavailable');
    expect(message).toContain('pkcs11js');
    expect(next).toContain('npm install pkcs11js');
  });
});

describe.skipIf(skipSoftHsm)('what stays in the token', () => {
  test('opening, probing, refusing and closing leave the root’s own two keys and nothing else', async () => {
    const config = softHsmConfig(home('litter'));
    await withRoot(config, async (root) => {
      const key = await newPair(root, 'short-lived');
      await faultOf(root.call('importKey', { binding: bindingOf('bad'), format: 'pkcs8', material: Buffer.alloc(40, 1) }));
      await root.call('destroyKey', { key });
      await root.call('destroyKey', { key });
    });
    await withRoot({ ...config, storage: 'wrapped' }, async (root) => {
      expect(await signs(root, await newPair(root, 'outside'))).toBe(true);
    });
    expect(labels(config)).toEqual(['aegis-binding', 'aegis-wrap']);
  });

  test('a key is a private, sensitive, never extractable object named after its managed object', async () => {
    const config = softHsmConfig(home('attributes'));
    await withRoot(config, async (root) => {
      const key = await newPair(root, 'named');
      expect(labels(config)).toContain('aegis named v1');
      const { asserted, provenance } = await root.call('evidence', { key });
      expect(provenance).toEqual({ local: true, alwaysSensitive: true, neverExtractable: true });
      expect(asserted).toMatchObject({ CKA_PRIVATE: 'true', CKA_SENSITIVE: 'true', CKA_EXTRACTABLE: 'false', CKA_MODIFIABLE: 'false' });
    });
  });

  test('hosts that start together on a fresh token agree on one binding key and one wrapping key', async () => {
    const config = softHsmConfig(home('together'));
    const script = `
      import { openPkcs11Root } from ${JSON.stringify(new URL('../dist/pkcs11/index.js', import.meta.url).href)};
      const root = await openPkcs11Root(JSON.parse(process.env.TEST_CONFIG));
      console.log((await root.describe()).fingerprint);
      await root.close();`;
    const start = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
          env: { ...process.env, TEST_CONFIG: JSON.stringify(config) },
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let out = '';
        child.stdout.on('data', (chunk: Buffer) => {
          out += chunk.toString();
        });
        child.on('exit', (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`exit ${code}`))));
      });
    const fingerprints = await Promise.all([start(), start(), start(), start()]);
    expect(new Set(fingerprints).size).toBe(1);
    expect(labels(config)).toEqual(['aegis-binding', 'aegis-wrap']);
    await withRoot(config, async (root) => expect((await root.describe()).fingerprint).toBe(fingerprints[0]));
  });
});

describe.skipIf(skipSoftHsm)('other processes and restarts', () => {
  test('references outlive the process; those of either storage open in both', async () => {
    const config = softHsmConfig(home('restart'));
    const wrapped: Pkcs11RootConfig = { ...config, storage: 'wrapped' };
    const inside = await withRoot(config, (root) => newPair(root, 'inside'));
    const outside = await withRoot(wrapped, (root) => newPair(root, 'outside'));
    for (const one of [config, wrapped])
      await withRoot(one, async (root) => {
        expect(await signs(root, inside)).toBe(true);
        expect(await signs(root, outside)).toBe(true);
      });
  });

  test('a key deleted by another process is key-not-found, at once and although its handle was cached', async () => {
    const config = softHsmConfig(home('deleted'));
    await withRoot(config, async (root) => {
      const key = await newPair(root, 'victim');
      const other = await newPair(root, 'bystander');
      expect(await signs(root, key)).toBe(true);
      elsewhere(config, 'login(); for (const o of find([{ type: 3, value: "aegis victim v1" }])) m.C_DestroyObject(s, o);');
      expect((await faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha256', data }))).code).toBe('key-not-found');
      expect(await signs(root, other)).toBe(true);
    });
  });

  test('a second object with the key’s CKA_ID, planted by somebody with the PIN, is noticed', async () => {
    const config = softHsmConfig(home('planted'));
    await withRoot(config, async (root) => {
      const key = await newPair(root, 'original');
      elsewhere(
        config,
        `login();
         const [o] = find([{ type: 3, value: 'aegis original v1' }]);
         const id = m.C_GetAttributeValue(s, o, [{ type: 0x102 }])[0].value;
         const params = Buffer.from('06082a8648ce3d030107', 'hex');
         m.C_GenerateKeyPair(s, { mechanism: 0x1040 },
           [{ type: 0, value: 2 }, { type: 0x100, value: 3 }, { type: 1, value: false }, { type: 0x180, value: params }],
           [{ type: 0, value: 3 }, { type: 0x100, value: 3 }, { type: 1, value: true }, { type: 2, value: true }, { type: 0x102, value: id }, { type: 0x108, value: true }]);`,
      );
      expect((await faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha256', data }))).code).toBe('reference-invalid');
    });
  });

  test('more wrapped keys than the cache holds: every one signs, again and again, with fifty calls at once', async () => {
    const config = softHsmConfig(home('cache'), 'aegis', { storage: 'wrapped', cacheEntries: 4 });
    await withRoot(config, async (root) => {
      const keys: BoundKey[] = [];
      for (let i = 0; i < 12; i += 1) keys.push(await newPair(root, `key-${i}`));
      for (let round = 0; round < 3; round += 1) for (const key of keys) expect(await signs(root, key)).toBe(true);
      const results = await Promise.all(Array.from({ length: 50 }, (_, i) => signs(root, keys[(i * 7) % keys.length] as BoundKey)));
      expect(results.every(Boolean)).toBe(true);
    });
  });
});

describe.skipIf(skipSoftHsm)('softhsm/provision.mjs', () => {
  test('makes private files, no PIN in the output, and changes nothing the second time', () => {
    const directory = join(home('provision'), 'deep', 'hsm');
    const script = new URL('../../softhsm/provision.mjs', import.meta.url).pathname;
    const run = (): string => execFileSync(process.execPath, [script, '--dir', directory], { encoding: 'utf8' });
    const first = run();
    const config = JSON.parse(first) as Pkcs11RootConfig;
    expect(config).toMatchObject({ kind: 'pkcs11', slot: { label: 'aegis' }, storage: 'token', pin: { file: join(directory, 'pin') } });
    for (const [name, mode] of [
      ['pin', 0o600],
      ['so-pin', 0o600],
      ['softhsm2.conf', 0o600],
      ['tokens', 0o700],
      ['', 0o700],
    ] as const)
      expect(statSync(join(directory, name)).mode & 0o777).toBe(mode);
    const serial = (): string => elsewhere(config, 'console.log(m.C_GetTokenInfo(slot).serialNumber)');
    const before = serial();
    expect(run()).toBe(first);
    expect(serial()).toBe(before);
  });

  test('a lost PIN file is said, and no guessed PIN is left behind to be tried', () => {
    const directory = home('lost-pin');
    provisionSoftHsm(directory);
    rmSync(join(directory, 'pin'));
    expect(() => provisionSoftHsm(directory)).toThrow(/PIN file .* was missing/);
    expect(existsSync(join(directory, 'pin'))).toBe(false);
  });

  test('a PIN file that others can read is refused', () => {
    const directory = home('open-pin');
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'my-pin'), '123456\n', { mode: 0o644 });
    expect(() => provisionSoftHsm(directory, { pinFile: join(directory, 'my-pin') })).toThrow(/chmod 600/);
  });
});
