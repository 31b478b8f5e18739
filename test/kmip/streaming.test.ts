import { createCipheriv, createHash, createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, hex, MASK, refusal, registerKey, registerPair, toHex } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 120_000);
afterAll(() => target?.stop());

const KEY = hex('000102030405060708090a0b0c0d0e0f');
const IV = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
const TEXT = randomBytes(1000);

/** Sends `data` in pieces of these sizes, the rest with the last part. */
const stream = async (
  operation: string,
  first: Fields,
  sizes: readonly number[],
  data: Uint8Array,
  last: Fields = {},
  on: readonly KmipClient[] = [client],
) => {
  const outputs: Uint8Array[] = [];
  let at = 0;
  let CorrelationValue: unknown;
  for (const [index, size] of [...sizes, data.length].entries()) {
    const final = index === sizes.length;
    const answer = await ask(on[index % on.length] as KmipClient, operation, {
      ...(index === 0
        ? { ...first, InitIndicator: true }
        : { CorrelationValue, CryptographicParameters: first['CryptographicParameters'] }),
      ...(size === 0 && !final ? {} : { Data: data.subarray(at, at + size) }),
      ...(final ? { FinalIndicator: true, ...last } : {}),
    } as Fields);
    at += size;
    if (answer['Data'] !== undefined) outputs.push(answer['Data'] as Uint8Array);
    if (final) return { ...answer, all: Buffer.concat(outputs).toString('hex') } as Fields & { all: string };
    expect(answer['CorrelationValue'], 'a part that is not the last names its stream').toBeInstanceOf(Uint8Array);
    CorrelationValue = answer['CorrelationValue'];
  }
  throw new Error('no last part');
};

describe('streams', () => {
  test('give what one part gives, whatever the pieces, on whichever connection', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt });
    const second = await target.connect();
    for (const [parameters, name, padding] of [
      [{ BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' }, 'aes-128-cbc', true],
      [{ BlockCipherMode: 'CTR' }, 'aes-128-ctr', false],
    ] as const) {
      const cipher = createCipheriv(name, KEY, IV).setAutoPadding(padding);
      const expected = Buffer.concat([cipher.update(TEXT), cipher.final()]);
      const first = { UniqueIdentifier: id, CryptographicParameters: parameters, IVCounterNonce: IV };
      for (const sizes of [
        [16, 16],
        [1, 0, 15, 333],
        [0, 7, 0],
      ]) {
        const sealed = await stream('Encrypt', first, sizes, TEXT, {}, [client, second]);
        expect(sealed.all, `${name} in ${sizes.join()}`).toBe(expected.toString('hex'));
        const opened = await stream('Decrypt', first, sizes, expected, {}, [second, client]);
        expect(opened.all).toBe(toHex(TEXT));
        expect(opened['UniqueIdentifier']).toBe(id);
        expect(opened['CorrelationValue']).toBeUndefined();
      }
    }
  });

  test('GCM: the tag comes with the last part; nothing is opened before it holds', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt });
    const aad = Buffer.from('bound');
    const nonce = IV.subarray(0, 12);
    const cipher = createCipheriv('aes-128-gcm', KEY, nonce).setAAD(aad);
    const expected = Buffer.concat([cipher.update(TEXT), cipher.final()]);
    const first = {
      UniqueIdentifier: id,
      CryptographicParameters: { BlockCipherMode: 'GCM', TagLength: 16 },
      IVCounterNonce: nonce,
      AuthenticatedEncryptionAdditionalData: aad,
    };
    const sealed = await stream('Encrypt', first, [10, 500], TEXT);
    expect([sealed.all, toHex(sealed['AuthenticatedEncryptionTag'])]).toEqual([
      expected.toString('hex'),
      cipher.getAuthTag().toString('hex'),
    ]);
    const AuthenticatedEncryptionTag = cipher.getAuthTag();
    expect((await stream('Decrypt', first, [10, 500], expected, { AuthenticatedEncryptionTag })).all).toBe(toHex(TEXT));
    expect((await stream('Decrypt', { ...first, AuthenticatedEncryptionTag }, [10, 500], expected)).all, 'tag with the first part').toBe(
      toHex(TEXT),
    );
    const begun = await ask(client, 'Decrypt', { ...first, Data: expected.subarray(0, 500), InitIndicator: true });
    expect(begun['Data'], 'nothing unauthenticated leaves').toBeUndefined();
    const wrong = {
      CorrelationValue: begun['CorrelationValue'],
      Data: expected.subarray(500),
      FinalIndicator: true,
      AuthenticatedEncryptionTag: Buffer.alloc(16),
    } as Fields;
    expect(await refusal(client, 'Decrypt', wrong)).toBe('CryptographicFailure');
    expect(await refusal(client, 'Decrypt', { ...wrong, AuthenticatedEncryptionTag }), 'a failed stream is gone').toBe(
      'InvalidCorrelationValue',
    );
  });

  test('a server-chosen IV is said with the first part', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt });
    const CryptographicParameters = { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5', RandomIV: true };
    const begun = await ask(client, 'Encrypt', { UniqueIdentifier: id, CryptographicParameters, InitIndicator: true, Data: TEXT });
    expect(begun['IVCounterNonce']).toHaveLength(16);
    const { CorrelationValue } = begun;
    const ended = await ask(client, 'Encrypt', { UniqueIdentifier: id, CorrelationValue, FinalIndicator: true });
    expect(ended['IVCounterNonce']).toBeUndefined();
    const sealed = Buffer.concat([begun['Data'] as Uint8Array, ended['Data'] as Uint8Array]);
    const opened = await ask(client, 'Decrypt', {
      UniqueIdentifier: id,
      CryptographicParameters,
      IVCounterNonce: begun['IVCounterNonce'],
      Data: sealed,
    });
    expect(toHex(opened['Data'])).toBe(toHex(TEXT));
  });

  test('first and last part in one', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt | MASK.mac });
    const whole = await ask(client, 'MAC', {
      UniqueIdentifier: id,
      Data: TEXT,
      InitIndicator: true,
      FinalIndicator: true,
      CryptographicParameters: { CryptographicAlgorithm: 'HMAC_SHA256' },
    });
    expect(toHex(whole['MACData'])).toBe(createHmac('sha256', KEY).update(TEXT).digest('hex'));
    expect(whole['CorrelationValue']).toBeUndefined();
  });

  test('signatures, MACs and hashes in parts, and their checks', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pair = await registerPair(
      client,
      {
        pkcs8: new Uint8Array(rsa.privateKey.export({ format: 'der', type: 'pkcs8' })),
        spki: new Uint8Array(rsa.publicKey.export({ format: 'der', type: 'spki' })),
      },
      { algorithm: 'RSA', length: 2048, privateMask: MASK.sign, publicMask: MASK.verify },
    );
    const CryptographicParameters = { PaddingMethod: 'PSS', HashingAlgorithm: 'SHA_256', SaltLength: 100 };
    const { SignatureData } = await stream('Sign', { UniqueIdentifier: pair.privateKey, CryptographicParameters }, [1, 500], TEXT);
    const check = { UniqueIdentifier: pair.publicKey, CryptographicParameters: { PaddingMethod: 'PSS', HashingAlgorithm: 'SHA_256' } };
    expect(await stream('SignatureVerify', check, [3], TEXT, { SignatureData })).toMatchObject({ ValidityIndicator: 'Valid' });
    expect(await stream('SignatureVerify', { ...check, SignatureData }, [3], TEXT)).toMatchObject({ ValidityIndicator: 'Valid' });
    expect(await stream('SignatureVerify', { ...check, SignatureData }, [3], randomBytes(1000))).toMatchObject({
      ValidityIndicator: 'Invalid',
    });
    const mac = await registerKey(client, KEY, { algorithm: 'HMAC_SHA256', mask: MASK.mac | MASK.macVerify });
    const { MACData } = await stream('MAC', { UniqueIdentifier: mac }, [0, 999], TEXT);
    expect(toHex(MACData)).toBe(createHmac('sha256', KEY).update(TEXT).digest('hex'));
    expect(await stream('MACVerify', { UniqueIdentifier: mac, MACData }, [9], TEXT)).toMatchObject({ ValidityIndicator: 'Valid' });
    expect(await stream('MACVerify', { UniqueIdentifier: mac, MACData: Buffer.alloc(32) }, [9], TEXT)).toMatchObject({
      ValidityIndicator: 'Invalid',
    });
    const hashed = await stream('Hash', { CryptographicParameters: { HashingAlgorithm: 'SHA3_256' } }, [1, 0, 5], TEXT);
    expect(toHex(hashed['Data'])).toBe(createHash('sha3-256').update(TEXT).digest('hex'));
  });
});

describe('Data of an earlier item (KMIP 2.1 §7.9)', () => {
  test('by the operation that made it, or by its number in the batch', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt | MASK.mac });
    const CryptographicParameters = { BlockCipherMode: 'CTR' };
    const item = (operation: string, payload: Fields) => ({ operation, payload }) as never;
    const crypt = { UniqueIdentifier: id, CryptographicParameters, IVCounterNonce: IV };
    const results = await client.batch([
      item('RNGRetrieve', { DataLength: 40 }),
      item('Encrypt', { ...crypt, Data: { type: 'Enumeration', value: 'RNGRetrieve' } }),
      item('Decrypt', { ...crypt, Data: { type: 'Enumeration', value: 'Encrypt' } }),
      item('Hash', { CryptographicParameters: { HashingAlgorithm: 'SHA_256' }, Data: { type: 'Integer', value: 0 } }),
      item('MAC', {
        UniqueIdentifier: id,
        CryptographicParameters: { CryptographicAlgorithm: 'HMAC_SHA256' },
        Data: { type: 'Integer', value: -1 },
      }),
      item('Hash', { CryptographicParameters: { HashingAlgorithm: 'SHA_256' }, Data: { type: 'Enumeration', value: 'SignSignatureData' } }),
    ]);
    const [random, , opened, hashed, mac, missing] = results.map(({ payload }) => payload as Fields);
    expect(toHex(opened?.['Data'])).toBe(toHex(random?.['Data']));
    const digest = createHash('sha256')
      .update(random?.['Data'] as Uint8Array)
      .digest();
    expect(toHex(hashed?.['Data'])).toBe(digest.toString('hex'));
    expect(toHex(mac?.['MACData'])).toBe(createHmac('sha256', KEY).update(digest).digest('hex'));
    expect(missing).toEqual({});
    expect(results[5]?.reason).toBe('InvalidField');
  });
});

describe('a Correlation Value', () => {
  const begin = async (on: KmipClient, id: string): Promise<Uint8Array> => {
    const begun = await ask(on, 'Encrypt', {
      UniqueIdentifier: id,
      CryptographicParameters: { BlockCipherMode: 'CTR' },
      IVCounterNonce: IV,
      InitIndicator: true,
    });
    return begun['CorrelationValue'] as Uint8Array;
  };

  test('is its caller’s alone, and of one operation and one key', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt | MASK.mac });
    const other = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt | MASK.decrypt });
    const CorrelationValue = await begin(client, id);
    for (const user of ['bob', 'stranger'] as const)
      expect(await refusal(await target.connect(user), 'Encrypt', { CorrelationValue, Data: TEXT }), user).toBe('InvalidCorrelationValue');
    expect(await refusal(client, 'Decrypt', { CorrelationValue, Data: TEXT })).toBe('InvalidCorrelationValue');
    expect(await refusal(client, 'MAC', { CorrelationValue, Data: TEXT })).toBe('InvalidCorrelationValue');
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: other, CorrelationValue, Data: TEXT })).toBe('InvalidCorrelationValue');
    for (const bad of [Buffer.alloc(0), Buffer.alloc(24), Buffer.alloc(65), randomBytes(24)])
      expect(await refusal(client, 'Encrypt', { CorrelationValue: bad, Data: TEXT })).toBe('InvalidCorrelationValue');
    expect(await refusal(client, 'Encrypt', { CorrelationValue, InitIndicator: true, Data: TEXT })).toBe('InvalidField');
    // None of that ended the stream.
    expect((await ask(client, 'Encrypt', { CorrelationValue, Data: TEXT }))['Data']).toHaveLength(1000);
    await ask(client, 'Encrypt', { CorrelationValue, FinalIndicator: true });
    expect(await refusal(client, 'Encrypt', { CorrelationValue, FinalIndicator: true }), 'once').toBe('InvalidCorrelationValue');
  });

  test('stops with its key', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const CorrelationValue = await begin(client, id);
    await ask(client, 'Revoke', { UniqueIdentifier: id, RevocationReason: { RevocationReasonCode: 'KeyCompromise' } });
    expect(await refusal(client, 'Encrypt', { CorrelationValue, Data: TEXT })).toBe('WrongKeyLifecycleState');
  });

  test('bytes of a stream count against the key’s limit as they come', async () => {
    const id = await registerKey(client, KEY, {
      algorithm: 'AES',
      mask: MASK.encrypt,
      more: [{ name: 'UsageLimits', value: { UsageLimitsTotal: 1500n, UsageLimitsUnit: 'Byte' } }],
    });
    const CorrelationValue = await begin(client, id);
    await ask(client, 'Encrypt', { CorrelationValue, Data: TEXT });
    expect(await refusal(client, 'Encrypt', { CorrelationValue, Data: TEXT })).toBe('PermissionDenied');
  });

  test('there are only so many of one caller, and one that ended makes room', async () => {
    const stranger = await target.connect('stranger');
    const id = await registerKey(stranger, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const open: Uint8Array[] = [];
    let reason: unknown = 'none';
    for (let count = 0; count < 200 && reason === 'none'; count += 1) {
      try {
        open.push(await begin(stranger, id));
      } catch (error) {
        reason = (error as { reason?: unknown }).reason;
      }
    }
    expect(reason).toBe('ServerLimitExceeded');
    expect(open.length).toBeLessThan(200);
    await ask(stranger, 'Encrypt', { CorrelationValue: open[0], FinalIndicator: true } as Fields);
    await begin(stranger, id);
  });
});
