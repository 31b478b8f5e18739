import { createCipheriv, createHmac, generateKeyPairSync, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, hex, MASK, refusal, registerKey, registerPair, toHex } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

// The same operations where the keys are in a PKCS#11 token: what it has works, what it lacks is said with the standard's reason.

const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];
const skip = !MODULES.some((path) => existsSync(path)) && process.env['AEGIS_NO_SKIP'] !== '1';
if (skip) console.warn('KMIP on an HSM skipped: no SoftHSM2 (apt-get install softhsm2)');

describe.skipIf(skip)('KMIP cryptography on a token', () => {
  let target: KmipTarget;
  let client: KmipClient;
  beforeAll(async () => {
    target = await startKmipTarget({ root: 'softhsm' });
    client = await target.connect();
  }, 120_000);
  afterAll(() => target?.stop());

  const KEY = hex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
  const IV = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
  const TEXT = Buffer.from('attack at dawn, or a little later if it rains');
  const CBC = { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' };

  test('Encrypt and Decrypt, in one part and in streams', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt });
    const cipher = createCipheriv('aes-256-cbc', KEY, IV);
    const expected = Buffer.concat([cipher.update(TEXT), cipher.final()]).toString('hex');
    const request = { UniqueIdentifier: id, CryptographicParameters: CBC, IVCounterNonce: IV };
    expect(toHex((await ask(client, 'Encrypt', { ...request, Data: TEXT }))['Data'])).toBe(expected);
    const begun = await ask(client, 'Encrypt', { ...request, Data: TEXT.subarray(0, 20), InitIndicator: true });
    const ended = await ask(client, 'Encrypt', {
      CorrelationValue: begun['CorrelationValue'],
      Data: TEXT.subarray(20),
      FinalIndicator: true,
    } as Fields);
    expect(toHex(begun['Data']) + toHex(ended['Data'])).toBe(expected);
    const random = await ask(client, 'Encrypt', { UniqueIdentifier: id, CryptographicParameters: { ...CBC, RandomIV: true }, Data: TEXT });
    const opened = await ask(client, 'Decrypt', { ...request, IVCounterNonce: random['IVCounterNonce'], Data: random['Data'] });
    expect(toHex(opened['Data'])).toBe(toHex(TEXT));
  });

  test('Sign and Signature Verify: PSS with any salt', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pair = await registerPair(
      client,
      {
        pkcs8: new Uint8Array(rsa.privateKey.export({ format: 'der', type: 'pkcs8' })),
        spki: new Uint8Array(rsa.publicKey.export({ format: 'der', type: 'spki' })),
      },
      { algorithm: 'RSA', length: 2048, privateMask: MASK.sign, publicMask: MASK.verify },
    );
    const pkcs1 = { CryptographicParameters: { DigitalSignatureAlgorithm: 'SHA_256WithRSAEncryption' } };
    const { SignatureData } = await ask(client, 'Sign', { UniqueIdentifier: pair.privateKey, Data: TEXT, ...pkcs1 });
    expect(verify('sha256', TEXT, rsa.publicKey, SignatureData as Uint8Array)).toBe(true);
    const CryptographicParameters = { PaddingMethod: 'PSS', HashingAlgorithm: 'SHA_256' };
    for (const SaltLength of [32, 222, 0]) {
      const made = await ask(client, 'Sign', {
        UniqueIdentifier: pair.privateKey,
        Data: TEXT,
        CryptographicParameters: { ...CryptographicParameters, SaltLength },
      });
      const check = { UniqueIdentifier: pair.publicKey, CryptographicParameters, SignatureData: made['SignatureData'] };
      expect(await ask(client, 'SignatureVerify', { ...check, Data: TEXT }), `salt ${SaltLength}`).toMatchObject({
        ValidityIndicator: 'Valid',
      });
      expect(await ask(client, 'SignatureVerify', { ...check, Data: KEY }), `salt ${SaltLength}`).toMatchObject({
        ValidityIndicator: 'Invalid',
      });
    }
  });

  test('MAC', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'HMAC_SHA256', mask: MASK.mac });
    expect(toHex((await ask(client, 'MAC', { UniqueIdentifier: id, Data: TEXT }))['MACData'])).toBe(
      createHmac('sha256', KEY).update(TEXT).digest('hex'),
    );
  });

  test('what a token lacks is Unsupported Cryptographic Parameters, or a feature that is not there', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.derive });
    for (const mode of ['CFB', 'CCM'])
      expect(
        await refusal(client, 'Encrypt', {
          UniqueIdentifier: id,
          Data: TEXT,
          IVCounterNonce: mode === 'CCM' ? IV.subarray(0, 12) : IV,
          CryptographicParameters: { BlockCipherMode: mode },
        }),
      ).toBe('UnsupportedCryptographicParameters');
    const derive = { ObjectType: 'SymmetricKey', UniqueIdentifier: [id], DerivationMethod: 'HKDF', DerivationParameters: {} };
    const Attributes = [
      { name: 'CryptographicAlgorithm', value: 'AES' },
      { name: 'CryptographicLength', value: 128 },
      { name: 'CryptographicUsageMask', value: MASK.encrypt },
    ];
    expect(await refusal(client, 'DeriveKey', { ...derive, Attributes })).toBe('UnsupportedCryptographicParameters');
    const split = {
      ObjectType: 'SplitKey',
      UniqueIdentifier: id,
      SplitKeyParts: 2,
      SplitKeyThreshold: 2,
      SplitKeyMethod: 'XOR',
      Attributes: [],
    };
    expect(await refusal(client, 'CreateSplitKey', split)).toMatch(/^(FeatureNotSupported|UnsupportedCryptographicParameters)$/);
  });
});
