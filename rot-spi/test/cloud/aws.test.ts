import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCloudRoot } from '../../src/cloud-envelope/index.js';
import type { CloudRootConfig } from '../../src/config.js';
import type { BoundKey, KeyBinding, RootOfTrust } from '../../src/contract.js';
import { defineContractSuite } from '../../src/contract-suite/index.js';
import { RootFault } from '../../src/fault.js';
import { SOFTWARE_GAPS } from '../software-gaps.js';
import { type AwsDouble, startAwsDouble } from './aws-double.js';
import { AWS_GAPS } from './aws-gaps.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-aws-'));
let double: AwsDouble;
beforeAll(async () => {
  double = await startAwsDouble();
  process.env['AWS_ACCESS_KEY_ID'] = double.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = double.secretAccessKey;
});
afterAll(async () => {
  await double.close();
  delete process.env['AWS_ACCESS_KEY_ID'];
  delete process.env['AWS_SECRET_ACCESS_KEY'];
  rmSync(directory, { recursive: true, force: true });
});

const configFor = (mode: CloudRootConfig['mode'], name: string, rest: Partial<CloudRootConfig> = {}): CloudRootConfig => ({
  id: 'aws',
  kind: 'cloud-envelope',
  mode,
  provider: { kind: 'aws', region: 'eu-test-1', endpoint: double.endpoint },
  seal: { key: `alias/aegis-${name}`, path: join(directory, `${mode}-${name}.seal`), create: true },
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
const binding = (spec: KeyBinding['spec'], usage: KeyBinding['usage'], objectId = 'object'): KeyBinding => ({
  objectId,
  version: 1,
  tenant: 'default',
  spec,
  usage,
  exportable: false,
});
const make = async (root: RootOfTrust, of: KeyBinding): Promise<BoundKey> => {
  const call = of.spec.startsWith('ec') || of.spec.startsWith('rsa') ? 'generateKeyPair' : 'generateKey';
  return { reference: (await root.call(call, { binding: of })).reference, binding: of };
};

defineContractSuite(
  {
    name: 'aws, envelope (strict local double)',
    open: () => openCloudRoot(configFor('envelope', 'one')),
    reopenOther: () => openCloudRoot(configFor('envelope', 'two')),
    expectUnsupported: SOFTWARE_GAPS,
  },
  { describe, test, expect },
);

describe('aws, layered', () => {
  test('signs raw and digested messages of any length, and what it signed verifies here and there', async () => {
    const root = await openCloudRoot(configFor('layered', 'sign'));
    for (const [spec, algorithm] of [
      ['ec-p256', 'ecdsa-sha256'],
      ['ec-secp256k1', 'ecdsa-sha256'],
      ['ec-p521', 'ecdsa-sha512'],
      ['rsa-2048', 'rsa-pss-sha384'],
      ['rsa-2048', 'rsa-pkcs1-sha256'],
    ] as const) {
      const key = await make(root, binding(spec, ['sign', 'verify'], `${spec}-${algorithm}`));
      const publicKey = (await root.call('lookupKey', { ref: [...double.keys.keys()].at(-1) ?? '' })).publicKey ?? new Uint8Array();
      for (const data of [Buffer.from('x'), Buffer.alloc(5_000, 7)]) {
        const { signature } = await root.call('sign', { key, algorithm, data });
        expect((await root.call('verify', { key, algorithm, data, signature })).valid).toBe(true);
        expect((await root.call('verify', { key: { publicKey, spec }, algorithm, data, signature })).valid).toBe(true);
        expect((await root.call('verify', { key, algorithm, data: Buffer.from('y'), signature })).valid).toBe(false);
      }
      const digest = createHash(algorithm.slice(-6)).update('message').digest();
      const { signature } = await root.call('sign', { key, algorithm, data: digest, prehashed: true });
      expect((await root.call('verify', { key, algorithm, data: Buffer.from('message'), signature })).valid).toBe(true);
    }
    await root.close();
  });

  test('AAD is the encryption context, imports arrive whole, MACs agree with node', async () => {
    const root = await openCloudRoot(configFor('layered', 'use'));
    const aes = await make(root, binding('aes-256', ['encrypt', 'decrypt']));
    const sealed = await root.call('encrypt', {
      key: aes,
      algorithm: 'aes-gcm',
      plaintext: Buffer.from('hello'),
      aad: Buffer.from('row 7'),
    });
    const opened = await root.call('decrypt', { key: aes, algorithm: 'aes-gcm', ...sealed, aad: Buffer.from('row 7') });
    expect(Buffer.from(opened.plaintext).toString()).toBe('hello');
    expect((await faultOf(root.call('decrypt', { key: aes, algorithm: 'aes-gcm', ...sealed, aad: Buffer.from('row 8') }))).code).toBe(
      'decryption-failed',
    );
    const of = binding('hmac-sha256', ['mac', 'mac-verify'], 'imported');
    const { reference, provenance } = await root.call('importKey', { binding: of, format: 'raw', material: Buffer.alloc(32, 9) });
    expect(provenance).toEqual({ local: false, alwaysSensitive: false, neverExtractable: false });
    const { mac } = await root.call('mac', { key: { reference, binding: of }, algorithm: 'hmac-sha256', data: Buffer.from('data') });
    const { createHmac } = await import('node:crypto');
    expect(Buffer.from(mac)).toEqual(createHmac('sha256', Buffer.alloc(32, 9)).update('data').digest());
    expect((await root.call('random', { length: 3_000 })).bytes.length).toBe(3_000);
    expect((await faultOf(root.call('encrypt', { key: aes, algorithm: 'aes-gcm', plaintext: Buffer.alloc(5_000) }))).code).toBe(
      'limit-exceeded',
    );
    await root.close();
  });

  test('destroying schedules the deletion, twice is once; a key registered from there stays', async () => {
    const root = await openCloudRoot(configFor('layered', 'destroy'));
    const key = await make(root, binding('ec-p384', ['sign', 'verify']));
    const arn = [...double.keys.keys()].at(-1) ?? '';
    const adopted = binding('ec-p384', ['sign', 'verify'], 'adopted');
    const { reference } = await root.call('adoptKey', { binding: adopted, ref: arn });
    await root.call('destroyKey', { key: { reference, binding: adopted } });
    expect(double.keys.get(arn)?.state).toBe('Enabled');
    await root.call('destroyKey', { key });
    await root.call('destroyKey', { key });
    expect(double.keys.get(arn)?.state).toBe('PendingDeletion');
    expect((await faultOf(root.call('sign', { key, algorithm: 'ecdsa-sha384', data: Buffer.from('x') }))).code).toBe('usage-denied');
    await root.close();
  });

  test('a disabled key, wrong credentials, throttling and an outage each have their answer', async () => {
    const root = await openCloudRoot(configFor('layered', 'faults'));
    const key = await make(root, binding('aes-256', ['encrypt', 'decrypt']));
    const use = () => root.call('encrypt', { key, algorithm: 'aes-gcm', plaintext: Buffer.from('x') });
    const own = [...double.keys.values()].at(-1);
    double.fail = { name: 'ThrottlingException', status: 400, times: 2 };
    await use();
    if (own !== undefined) own.state = 'Disabled';
    expect((await faultOf(use())).code).toBe('usage-denied');
    if (own !== undefined) own.state = 'Enabled';
    double.denied = true;
    const denied = await faultOf(use());
    expect([denied.code, denied.message.includes('kms:Encrypt')]).toEqual(['sealed', true]);
    double.denied = false;
    double.fail = { name: 'KMSInternalException', status: 500, times: 1_000 };
    expect((await faultOf(use())).code).toBe('unavailable');
    double.fail = undefined;
    await root.close();
  });

  test('what AWS cannot do is refused with the reason', async () => {
    const root = await openCloudRoot(configFor('layered', 'gaps'));
    const both = await faultOf(root.call('generateKeyPair', { binding: binding('rsa-2048', ['sign', 'encrypt']) }));
    expect([both.code, both.next]).toEqual(['unsupported', 'Make two keys, each with its own usage.']);
    const exportable = { ...binding('aes-256', ['encrypt']), exportable: true };
    expect((await faultOf(root.call('generateKey', { binding: exportable }))).code).toBe('unsupported');
    const { powers, algorithms } = await root.describe();
    for (const { what } of AWS_GAPS) {
      const [kind, name = ''] = what.split(':');
      if (kind === 'power') expect(powers).not.toContain(name);
      if (kind === 'algorithm') expect(algorithms.map((line) => line.algorithm)).not.toContain(name);
    }
    await root.close();
  });
});

describe('aws, the seal', () => {
  test('a key disabled or an access denied closes the envelope root; the ARN is in the file, no key is', async () => {
    const config = configFor('envelope', 'seal', { refreshMs: 20 });
    const root = await openCloudRoot(config);
    const file = readFileSync(config.seal.path, 'latin1');
    const arn = double.aliases.get(config.seal.key) ?? '';
    expect(file).toContain(arn);
    const seal = double.keys.get(arn);
    const until = async (state: string): Promise<void> => {
      for (let tries = 0; tries < 400 && (await root.health()).state !== state; tries += 1)
        await new Promise((resolve) => setTimeout(resolve, 25));
      expect((await root.health()).state).toBe(state);
    };
    if (seal !== undefined) seal.state = 'Disabled';
    await until('unavailable');
    expect((await root.health()).detail).toContain('is disabled');
    if (seal !== undefined) seal.state = 'Enabled';
    await until('ready');
    double.denied = true;
    await until('unavailable');
    double.denied = false;
    await until('ready');
    await root.close();
  });
});
