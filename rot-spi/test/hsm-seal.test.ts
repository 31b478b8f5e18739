import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SoftwareRootConfig } from '../src/config.js';
import type { RootOfTrust } from '../src/contract.js';
import { openHostedRoot } from '../src/host/index.js';
import { newDirectory, skipSoftHsm, softHsmConfig } from './pkcs11-tokens.js';

/** A software root whose sealing keys are sealed by a key in SoftHSM2, in a host process as in production. */
const sealedBy = (directory: string, file: string, label = 'seal'): SoftwareRootConfig => {
  const { module, slot, pin, environment } = softHsmConfig(join(directory, label), label);
  return {
    id: 'software',
    kind: 'software',
    seal: {
      kind: 'pkcs11',
      path: join(directory, file),
      create: true,
      hsm: { module, slot, pin, ...(environment === undefined ? {} : { environment }) },
    },
  };
};
const binding = { objectId: 'a', version: 1, tenant: 't', spec: 'aes-256', usage: ['encrypt', 'decrypt'], exportable: false } as const;
const seal = async (root: RootOfTrust) => {
  const { reference } = await root.call('generateKey', { binding });
  return {
    reference,
    sealed: await root.call('encrypt', { key: { reference, binding }, algorithm: 'aes-gcm', plaintext: Buffer.from('hello') }),
  };
};

describe.skipIf(skipSoftHsm)('a software root sealed by an HSM key', () => {
  test('opens again from the HSM alone; keys work without it; another token does not open it', async () => {
    const directory = newDirectory('hsm-seal');
    const config = sealedBy(directory, 'software.seal');
    const root = await openHostedRoot(config);
    const { reference, sealed } = await seal(root);
    expect((await root.describe()).module['seal']).toBe('pkcs11');
    await root.close();
    expect(readFileSync(join(directory, 'software.seal'), 'latin1')).toContain('"provider":"pkcs11"');

    const again = await openHostedRoot(config);
    const opened = await again.call('decrypt', { key: { reference, binding }, algorithm: 'aes-gcm', ...sealed });
    expect(Buffer.from(opened.plaintext).toString()).toBe('hello');
    await again.close();

    const elsewhere = sealedBy(directory, 'software.seal', 'other');
    await expect(openHostedRoot(elsewhere)).rejects.toMatchObject({ code: expect.stringMatching(/sealed|wrong-root|unavailable/) });
    const rotated = await openHostedRoot(config);
    expect((await rotated.call('rotateSeal', {})).generation).toBe(2);
    await rotated.close();
    const after = await openHostedRoot(config);
    expect((await after.describe()).sealGeneration).toBe(2);
    await after.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('a wrong PIN closes it, tried once', async () => {
    const directory = newDirectory('hsm-pin');
    const config = sealedBy(directory, 'software.seal');
    await (await openHostedRoot(config)).close();
    if (config.seal.kind !== 'pkcs11') throw new Error('not sealed by an HSM');
    process.env['AEGIS_TEST_WRONG_PIN'] = 'not-it';
    const wrong: SoftwareRootConfig = {
      ...config,
      seal: { ...config.seal, hsm: { ...config.seal.hsm, pin: { env: 'AEGIS_TEST_WRONG_PIN' } } },
    };
    await expect(openHostedRoot(wrong)).rejects.toMatchObject({ code: 'pin-rejected' });
    delete process.env['AEGIS_TEST_WRONG_PIN'];
    rmSync(directory, { recursive: true, force: true });
  });
});
