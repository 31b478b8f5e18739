import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BoundKey, KeyBinding, RootOfTrust } from '../src/contract.js';
import { RootFault } from '../src/fault.js';
import { openPkcs11RootWith } from '../src/pkcs11/back-end.js';
import { CKR } from '../src/pkcs11/constants.js';
import { faultyModule } from './pkcs11-faulty.js';
import { newDirectory, skipSoftHsm, softHsmConfig } from './pkcs11-tokens.js';

const directory = newDirectory('faults');
const module = faultyModule();
let root: RootOfTrust;

const data = Buffer.from('invoice 4711');
const bindingOf = (spec: KeyBinding['spec'], objectId: string): KeyBinding => ({
  objectId,
  version: 1,
  tenant: 'tenant-a',
  spec,
  usage: ['sign', 'verify', 'encrypt', 'decrypt', 'mac', 'mac-verify'],
  exportable: false,
});
const newPair = async (objectId: string): Promise<BoundKey> => {
  const binding = bindingOf('ec-p256', objectId);
  const { reference } = await root.call('generateKeyPair', { binding });
  return { reference, binding };
};
const signs = async (key: BoundKey): Promise<boolean> => {
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
const within = async <T>(ms: number, call: Promise<T>): Promise<T> => {
  const start = performance.now();
  const result = await call;
  expect(performance.now() - start).toBeLessThan(ms);
  return result;
};

const ready = async (): Promise<void> => {
  const deadline = Date.now() + 45_000;
  while ((await root.health()).state !== 'ready' && Date.now() < deadline) await new Promise((done) => setTimeout(done, 100));
};

describe.skipIf(skipSoftHsm)('PKCS#11 back end under faults', () => {
  beforeAll(async () => {
    root = await openPkcs11RootWith(softHsmConfig(directory), module.source);
  });
  // Recoveries are rationed: after a burst of faults the root takes a moment before it tries again.
  beforeEach(ready);
  afterEach(() => module.heal());
  afterAll(async () => {
    await root.close();
    rmSync(directory, { recursive: true, force: true });
  });

  for (const [name, rv] of [
    ['SESSION_HANDLE_INVALID', CKR.SESSION_HANDLE_INVALID],
    ['SESSION_CLOSED', CKR.SESSION_CLOSED],
    ['USER_NOT_LOGGED_IN', CKR.USER_NOT_LOGGED_IN],
  ] as const)
    test(`${name}: new sessions and log-in, no re-initialisation, the call succeeds`, async () => {
      const key = await newPair(`session-${rv}`);
      const before = module.count('C_Initialize');
      module.fail('C_SignInit', rv);
      expect(await signs(key)).toBe(true);
      expect(module.count('C_Initialize')).toBe(before);
    });

  for (const [name, rv] of [
    ['DEVICE_ERROR', CKR.DEVICE_ERROR],
    ['DEVICE_REMOVED', CKR.DEVICE_REMOVED],
    ['TOKEN_NOT_PRESENT', CKR.TOKEN_NOT_PRESENT],
    ['CRYPTOKI_NOT_INITIALIZED', CKR.CRYPTOKI_NOT_INITIALIZED],
  ] as const)
    test(`${name}: the library is initialised anew once, the call succeeds`, async () => {
      const key = await newPair(`device-${rv}`);
      const before = module.count('C_Initialize');
      module.fail('C_Sign', rv);
      expect(await signs(key)).toBe(true);
      expect(module.count('C_Initialize')).toBe(before + 1);
    });

  test('after a recovery, handles of before are not used: the right key signs', async () => {
    const first = await newPair('handles-1');
    const second = await newPair('handles-2');
    expect(await signs(first)).toBe(true);
    module.fail('C_SignInit', CKR.DEVICE_ERROR);
    expect(await signs(second)).toBe(true);
    expect(await signs(first)).toBe(true);
  });

  test('a wrong GCM tag is decryption-failed, and no storm of re-initialisations', async () => {
    const binding = bindingOf('aes-256', 'gcm');
    const { reference } = await root.call('generateKey', { binding });
    const key = { reference, binding };
    const sealed = await root.call('encrypt', { key, algorithm: 'aes-gcm', plaintext: data });
    const before = module.count('C_Initialize');
    for (let i = 0; i < 20; i += 1) {
      const tag = Buffer.from(sealed.tag ?? []);
      tag[i % 16] = (tag[i % 16] ?? 0) ^ 1;
      const fault = await faultOf(
        root.call('decrypt', { key, algorithm: 'aes-gcm', ciphertext: sealed.ciphertext, tag, iv: sealed.iv ?? new Uint8Array() }),
      );
      expect(fault.code).toBe('decryption-failed');
    }
    expect(module.count('C_Initialize')).toBe(before);
    const opened = await root.call('decrypt', {
      key,
      algorithm: 'aes-gcm',
      ciphertext: sealed.ciphertext,
      tag: sealed.tag ?? new Uint8Array(),
      iv: sealed.iv ?? new Uint8Array(),
    });
    expect(Buffer.from(opened.plaintext)).toEqual(data);
  });

  test('a passing GENERAL_ERROR never turns a good signature into an invalid one, nor good ciphertext into a failure', async () => {
    const key = await newPair('passing');
    const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
    module.fail('C_Verify', CKR.GENERAL_ERROR);
    expect((await root.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature })).valid).toBe(true);
  });

  test('a DEVICE_ERROR of a verification is doubted first (NSS), and an answer is never made up from it', async () => {
    const key = await newPair('doubted');
    const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
    const request = { key, algorithm: 'ecdsa-sha256', data, signature } as const;
    const before = module.count('C_Initialize');
    module.fail('C_Verify', CKR.DEVICE_ERROR);
    expect((await root.call('verify', request)).valid).toBe(true);
    expect(module.count('C_Initialize')).toBe(before);
    module.fail('C_Verify', CKR.DEVICE_ERROR, 2);
    expect((await root.call('verify', request)).valid).toBe(true);
    expect(module.count('C_Initialize')).toBe(before + 1);
    module.fail('C_Verify', CKR.DEVICE_ERROR, 100);
    expect((await faultOf(root.call('verify', request))).code).toBe('unavailable');
  });

  test('OPERATION_ACTIVE and stale handles: another session, the handle looked up again', async () => {
    const key = await newPair('stale');
    expect(await signs(key)).toBe(true);
    module.fail('C_SignInit', CKR.OPERATION_ACTIVE);
    expect(await signs(key)).toBe(true);
    const before = module.count('C_FindObjectsInit');
    module.fail('C_SignInit', CKR.KEY_HANDLE_INVALID);
    expect(await signs(key)).toBe(true);
    expect(module.count('C_FindObjectsInit')).toBeGreaterThan(before);
  });

  test('a key creation that failed half-way is not repeated behind the caller’s back', async () => {
    const binding = bindingOf('aes-256', 'half-way');
    module.fail('C_GenerateKey', CKR.DEVICE_ERROR);
    expect((await faultOf(root.call('generateKey', { binding }))).code).toBe('unavailable');
    await ready();
    expect(await signs(await newPair('after-half-way'))).toBe(true);
  });

  test('multi-part operations are lost with their session, and say so', async () => {
    const binding = bindingOf('aes-256', 'parts');
    const { reference } = await root.call('generateKey', { binding });
    const key = { reference, binding };
    const { operation } = await root.call('beginOperation', { kind: 'encrypt', key, algorithm: 'aes-cbc-pkcs5' });
    await root.call('updateOperation', { operation, data });
    module.fail('C_GenerateRandom', CKR.DEVICE_ERROR);
    await root.call('random', { length: 8 });
    expect((await faultOf(root.call('updateOperation', { operation, data }))).code).toBe('operation-unknown');
    expect((await faultOf(root.call('finishOperation', { operation }))).code).toBe('operation-unknown');
  });

  test('the token disappears and returns: unavailable meanwhile, never key-not-found, then well by itself', async () => {
    const key = await newPair('travelling');
    expect(await signs(key)).toBe(true);
    const tokens = join(directory, 'tokens');
    renameSync(tokens, `${tokens}.away`);
    try {
      const unknown = bindingOf('ec-p256', 'unknown');
      const codes = new Set<string>();
      for (let i = 0; i < 4; i += 1) {
        const health = await within(10_000, root.health());
        if (health.state === 'ready') continue; // SoftHSM may still serve from memory
        expect(health.detail).toMatch(/token/);
        codes.add((await faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha256', data }))).code);
        codes.add((await faultOf(root.call('generateKeyPair', { binding: unknown }))).code);
      }
      expect([...codes]).toEqual(['unavailable']);
    } finally {
      renameSync(`${tokens}.away`, tokens);
    }
    await ready();
    expect(await signs(key)).toBe(true);
  });

  test('a device that stays broken: calls fail clearly within a bound, then all is well again', async () => {
    const key = await newPair('broken');
    module.fail('C_Initialize', CKR.DEVICE_ERROR, 1_000);
    module.fail('C_Sign', CKR.DEVICE_ERROR, 1_000);
    for (let i = 0; i < 5; i += 1) {
      const fault = await within(5_000, faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha256', data })));
      expect(fault.code).toBe('unavailable');
      expect(fault.next).toMatch(/HSM/);
    }
    expect((await root.health()).state).toBe('unavailable');
    module.heal();
    await ready();
    expect(await signs(key)).toBe(true);
  });

  test('fifty operations at once, with faults among them, all answer and all rightly', async () => {
    const keys = await Promise.all(['a', 'b', 'c'].map((name) => newPair(`many-${name}`)));
    module.fail('C_SignInit', CKR.SESSION_HANDLE_INVALID, 3);
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => signs(keys[i % keys.length] as BoundKey)));
    expect(results.every(Boolean)).toBe(true);
  });
});

describe.skipIf(skipSoftHsm)('PKCS#11 back end on a slow module', () => {
  test('runs operations off the event loop, so that the host goes on answering', async () => {
    const slow = faultyModule();
    slow.delay('C_Sign', 3);
    slow.delay('C_SignAsync', 20);
    const home = newDirectory('slow');
    const other = await openPkcs11RootWith(softHsmConfig(home), slow.source);
    try {
      const binding = bindingOf('ec-p256', 'slow');
      const { reference } = await other.call('generateKeyPair', { binding });
      const key = { reference, binding };
      let ticks = 0;
      const timer = setInterval(() => {
        ticks += 1;
      }, 5);
      const start = performance.now();
      const signatures = await Promise.all(Array.from({ length: 40 }, () => other.call('sign', { key, algorithm: 'ecdsa-sha256', data })));
      const tookMs = performance.now() - start;
      clearInterval(timer);
      expect(slow.count('C_SignAsync')).toBeGreaterThanOrEqual(40);
      expect(tookMs).toBeLessThan(40 * 20); // eight sessions at a time
      expect(ticks).toBeGreaterThan(3);
      for (const { signature } of signatures)
        expect((await other.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature })).valid).toBe(true);
    } finally {
      await other.close();
      rmSync(home, { recursive: true, force: true });
    }
  });
});
