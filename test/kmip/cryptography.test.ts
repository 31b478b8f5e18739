import { constants, createCipheriv, createHash, createHmac, generateKeyPairSync, privateDecrypt, sign, verify } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, hex, MASK, refusal, registerKey, registerPair, registerSecret, toHex, VERSIONS } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

// What OpenSSL says (node:crypto in this process) is what the server must answer.

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 120_000);
afterAll(() => target?.stop());

const KEY16 = hex('000102030405060708090a0b0c0d0e0f');
const KEY24 = hex('0123456789abcdef23456789abcdef01456789abcdef0123');
const KEY32 = hex('202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f');
const IV16 = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
const IV8 = hex('f0f1f2f3f4f5f6f7');
const TEXT = Buffer.from('attack at dawn, or a little later if it rains');
const BLOCKS = Buffer.alloc(48, 'block of sixteen');
const CRYPT = MASK.encrypt | MASK.decrypt;

const openssl = (name: string, key: Uint8Array, iv: Uint8Array | null, data: Uint8Array, padding: boolean): string => {
  const cipher = createCipheriv(name, key, iv).setAutoPadding(padding);
  return Buffer.concat([cipher.update(data), cipher.final()]).toString('hex');
};

describe('Encrypt and Decrypt', () => {
  const CASES: readonly (readonly [
    what: string,
    algorithm: string,
    key: Uint8Array,
    parameters: Fields,
    openssl: string,
    iv: Uint8Array | null,
    padding: boolean,
  ])[] = [
    ['AES CBC', 'AES', KEY16, { BlockCipherMode: 'CBC' }, 'aes-128-cbc', IV16, false],
    ['AES CBC PKCS5', 'AES', KEY32, { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' }, 'aes-256-cbc', IV16, true],
    ['AES ECB', 'AES', KEY24, { BlockCipherMode: 'ECB' }, 'aes-192-ecb', null, false],
    ['AES ECB PKCS5', 'AES', KEY16, { BlockCipherMode: 'ECB', PaddingMethod: 'PKCS5' }, 'aes-128-ecb', null, true],
    ['AES CTR', 'AES', KEY32, { BlockCipherMode: 'CTR' }, 'aes-256-ctr', IV16, false],
    ['AES CFB', 'AES', KEY32, { BlockCipherMode: 'CFB' }, 'aes-256-cfb', IV16, false],
    ['AES OFB', 'AES', KEY32, { BlockCipherMode: 'OFB' }, 'aes-256-ofb', IV16, false],
    ['3DES CBC', 'DES3', KEY24, { BlockCipherMode: 'CBC' }, 'des-ede3-cbc', IV8, false],
    ['3DES CBC PKCS5', 'DES3', KEY24, { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' }, 'des-ede3-cbc', IV8, true],
    ['3DES CFB', 'DES3', KEY24, { BlockCipherMode: 'CFB' }, 'des-ede3-cfb', IV8, false],
    ['3DES OFB', 'DES3', KEY24, { BlockCipherMode: 'OFB' }, 'des-ede3-ofb', IV8, false],
    ['3DES ECB', 'DES3', KEY24, { BlockCipherMode: 'ECB' }, 'des-ede3', null, false],
  ];
  test.each(CASES)('%s', async (_what, algorithm, key, parameters, name, iv, padding) => {
    const id = await registerKey(client, key, { algorithm, mask: CRYPT });
    const data = padding || !/cbc|ecb|ede3$/.test(name) ? TEXT : BLOCKS;
    const expected = openssl(name, key, iv, data, padding);
    const nonce = iv === null ? {} : { IVCounterNonce: iv };
    const request = { UniqueIdentifier: id, CryptographicParameters: parameters, ...nonce };
    const sealed = await ask(client, 'Encrypt', { ...request, Data: data });
    expect(toHex(sealed['Data'])).toBe(expected);
    // The client's own IV is not said again.
    expect(sealed['IVCounterNonce']).toBeUndefined();
    expect(toHex((await ask(client, 'Decrypt', { ...request, Data: sealed['Data'] }))['Data'])).toBe(toHex(data));
  });

  test('the key’s own Cryptographic Parameters stand where the request has none, and not beside those it has', async () => {
    const id = await registerKey(client, KEY16, {
      algorithm: 'AES',
      mask: CRYPT,
      parameters: { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' },
    });
    const own = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: TEXT, IVCounterNonce: IV16 });
    expect(toHex(own['Data'])).toBe(openssl('aes-128-cbc', KEY16, IV16, TEXT, true));
    const given = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: BLOCKS, CryptographicParameters: { BlockCipherMode: 'ECB' } });
    expect(toHex(given['Data'])).toBe(openssl('aes-128-ecb', KEY16, null, BLOCKS, false));
    await ask(client, 'ModifyAttribute', {
      UniqueIdentifier: id,
      NewAttribute: { name: 'CryptographicParameters', value: { BlockCipherMode: 'CTR' } },
    });
    const changed = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: TEXT, IVCounterNonce: IV16 });
    expect(toHex(changed['Data']), 'a changed attribute counts at once').toBe(openssl('aes-128-ctr', KEY16, IV16, TEXT, false));
  });

  test('the server chooses the IV when the client gives none, and says it', async () => {
    const id = await registerKey(client, KEY32, { algorithm: 'AES', mask: CRYPT });
    for (const [mode, length] of [
      ['CBC', 16],
      ['GCM', 12],
      ['CTR', 16],
    ] as const) {
      const parameters = { BlockCipherMode: mode, RandomIV: true, ...(mode === 'CBC' ? { PaddingMethod: 'PKCS5' } : {}) };
      const one = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: TEXT, CryptographicParameters: parameters });
      const two = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: TEXT, CryptographicParameters: parameters });
      expect((one['IVCounterNonce'] as Uint8Array).length).toBe(length);
      expect(toHex(one['IVCounterNonce'])).not.toBe(toHex(two['IVCounterNonce']));
      const opened = await ask(client, 'Decrypt', {
        UniqueIdentifier: id,
        CryptographicParameters: parameters,
        Data: one['Data'],
        IVCounterNonce: one['IVCounterNonce'],
        AuthenticatedEncryptionTag: one['AuthenticatedEncryptionTag'],
      });
      expect(toHex(opened['Data'])).toBe(toHex(TEXT));
    }
    const wide = await ask(client, 'Encrypt', {
      UniqueIdentifier: id,
      Data: TEXT,
      CryptographicParameters: { BlockCipherMode: 'GCM', RandomIV: true, IVLength: 128, TagLength: 12 },
    });
    expect((wide['IVCounterNonce'] as Uint8Array).length).toBe(16);
    expect((wide['AuthenticatedEncryptionTag'] as Uint8Array).length).toBe(12);
    expect(
      await refusal(client, 'Encrypt', {
        UniqueIdentifier: id,
        Data: TEXT,
        CryptographicParameters: { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5', RandomIV: false },
      }),
    ).toBe('InvalidMessage');
    expect(
      await refusal(client, 'Decrypt', { UniqueIdentifier: id, Data: BLOCKS, CryptographicParameters: { BlockCipherMode: 'CBC' } }),
    ).toBe('InvalidMessage');
  });

  test('CTR with a counter of its own (RFC 3686): a nonce of 12 bytes, counting from 1', async () => {
    const id = await registerKey(client, KEY16, { algorithm: 'AES', mask: CRYPT });
    const CryptographicParameters = { BlockCipherMode: 'CTR', CounterLength: 32, InitialCounterValue: 1 };
    const nonce = IV16.subarray(0, 12);
    const sealed = await ask(client, 'Encrypt', { UniqueIdentifier: id, Data: TEXT, CryptographicParameters, IVCounterNonce: nonce });
    expect(toHex(sealed['Data'])).toBe(openssl('aes-128-ctr', KEY16, Buffer.concat([nonce, Buffer.from([0, 0, 0, 1])]), TEXT, false));
    const random = await ask(client, 'Encrypt', {
      UniqueIdentifier: id,
      Data: TEXT,
      CryptographicParameters: { ...CryptographicParameters, RandomIV: true },
    });
    expect((random['IVCounterNonce'] as Uint8Array).length).toBe(12);
    const opened = await ask(client, 'Decrypt', {
      UniqueIdentifier: id,
      Data: random['Data'],
      CryptographicParameters,
      IVCounterNonce: random['IVCounterNonce'],
    });
    expect(toHex(opened['Data'])).toBe(toHex(TEXT));
  });

  test('GCM: the tag has its own field from 1.4 and ends the data before; a wrong tag or wrong additional data opens nothing', async () => {
    for (const version of VERSIONS) {
      const own = await target.connect('alice', version);
      const id = await registerKey(own, KEY16, { algorithm: 'AES', mask: CRYPT });
      const CryptographicParameters = { BlockCipherMode: 'GCM', TagLength: 16 };
      const IVCounterNonce = IV16.subarray(0, 12);
      const cipher = createCipheriv('aes-128-gcm', KEY16, IVCounterNonce);
      const expected = Buffer.concat([cipher.update(TEXT), cipher.final()]).toString('hex');
      const tag = cipher.getAuthTag();
      const request = { UniqueIdentifier: id, CryptographicParameters, IVCounterNonce };
      const sealed = await ask(own, 'Encrypt', { ...request, Data: TEXT });
      const apart = !['1.2', '1.3'].includes(version);
      expect(toHex(sealed['Data']), version).toBe(apart ? expected : expected + tag.toString('hex'));
      expect(toHex(sealed['AuthenticatedEncryptionTag']), version).toBe(apart ? tag.toString('hex') : '');
      const opening = { ...request, Data: sealed['Data'], ...(apart ? { AuthenticatedEncryptionTag: tag } : {}) };
      expect(toHex((await ask(own, 'Decrypt', opening))['Data']), version).toBe(toHex(TEXT));
      const broken = Buffer.from(sealed['Data'] as Uint8Array);
      broken[broken.length - 1] = (broken[broken.length - 1] ?? 0) ^ 1;
      expect(await refusal(own, 'Decrypt', { ...opening, Data: broken }), version).toBe('CryptographicFailure');
      if (!apart) continue;
      expect(await refusal(own, 'Decrypt', { ...opening, AuthenticatedEncryptionAdditionalData: hex('00') }), version).toBe(
        'CryptographicFailure',
      );
      await own.close();
    }
  });

  test('CCM and ChaCha20-Poly1305 with additional data', async () => {
    const aad = Buffer.from('header');
    const aes = await registerKey(client, KEY32, { algorithm: 'AES', mask: CRYPT });
    const ccm = createCipheriv('aes-256-ccm', KEY32, IV16.subarray(0, 12), { authTagLength: 16 });
    ccm.setAAD(aad, { plaintextLength: TEXT.length });
    const expected = Buffer.concat([ccm.update(TEXT), ccm.final()]).toString('hex');
    const request = {
      UniqueIdentifier: aes,
      CryptographicParameters: { BlockCipherMode: 'CCM', TagLength: 16 },
      IVCounterNonce: IV16.subarray(0, 12),
      AuthenticatedEncryptionAdditionalData: aad,
    };
    const sealed = await ask(client, 'Encrypt', { ...request, Data: TEXT });
    expect([toHex(sealed['Data']), toHex(sealed['AuthenticatedEncryptionTag'])]).toEqual([expected, ccm.getAuthTag().toString('hex')]);
    const opened = await ask(client, 'Decrypt', {
      ...request,
      Data: sealed['Data'],
      AuthenticatedEncryptionTag: sealed['AuthenticatedEncryptionTag'],
    });
    expect(toHex(opened['Data'])).toBe(toHex(TEXT));
    const chacha = await registerKey(client, KEY32, { algorithm: 'ChaCha20Poly1305', mask: CRYPT });
    const poly = createCipheriv('chacha20-poly1305', KEY32, IV16.subarray(0, 12), { authTagLength: 16 });
    poly.setAAD(aad, { plaintextLength: TEXT.length });
    const sealed2 = await ask(client, 'Encrypt', {
      UniqueIdentifier: chacha,
      IVCounterNonce: IV16.subarray(0, 12),
      AuthenticatedEncryptionAdditionalData: aad,
      Data: TEXT,
    });
    expect(toHex(sealed2['Data'])).toBe(Buffer.concat([poly.update(TEXT), poly.final()]).toString('hex'));
    expect(toHex(sealed2['AuthenticatedEncryptionTag'])).toBe(poly.getAuthTag().toString('hex'));
  });

  test('what cannot be, is refused with its reason', async () => {
    const id = await registerKey(client, KEY16, { algorithm: 'AES', mask: CRYPT });
    const encrypt = (CryptographicParameters: Fields | undefined, more: Fields = {}) =>
      refusal(client, 'Encrypt', {
        UniqueIdentifier: id,
        Data: BLOCKS,
        IVCounterNonce: IV16,
        ...(CryptographicParameters === undefined ? {} : { CryptographicParameters }),
        ...more,
      });
    expect(await encrypt(undefined), 'no mode anywhere').toBe('BadCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'PCBC' })).toBe('UnsupportedCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'CBC', PaddingMethod: 'ISO10126' })).toBe('UnsupportedCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'CTR', PaddingMethod: 'PKCS5' })).toBe('BadCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'CBC', CryptographicAlgorithm: 'DES3' })).toBe('BadCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'GCM', TagLength: 17 })).toBe('GeneralFailure');
    expect(await encrypt({ BlockCipherMode: 'GCM', TagLength: 4 })).toBe('UnsupportedCryptographicParameters');
    expect(await encrypt({ BlockCipherMode: 'CBC' }, { IVCounterNonce: IV8 }), 'an IV of half a block').toBe('InvalidField');
    expect(await encrypt({ BlockCipherMode: 'CBC' }, { Data: TEXT }), 'no whole blocks').toBe('InvalidField');
    expect(await encrypt({ BlockCipherMode: 'CBC' }, { Data: undefined }), 'no data').toBe('InvalidMessage');
    expect(await encrypt({ BlockCipherMode: 'CBC' }, { UniqueIdentifier: '00000000-0000-4000-8000-000000000000' })).toMatch(
      /^(Item|Object)NotFound$/,
    );
    const old = await target.connect('alice', '1.4');
    expect(
      await refusal(old, 'Encrypt', { UniqueIdentifier: id, Data: BLOCKS, CryptographicParameters: { BlockCipherMode: 'PCBC' } }),
      'reasons are no newer than the version',
    ).toMatch(/^(InvalidField|FeatureNotSupported|CryptographicFailure|GeneralFailure)$/);
  });

  test('usage mask, state, dates and limits hold, whatever the parameters', async () => {
    const CryptographicParameters = { BlockCipherMode: 'ECB' };
    const noEncrypt = await registerKey(client, KEY16, { algorithm: 'AES', mask: MASK.decrypt });
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: noEncrypt, Data: BLOCKS, CryptographicParameters })).toBe(
      'IncompatibleCryptographicUsageMask',
    );
    const inactive = await registerKey(client, KEY16, { algorithm: 'AES', mask: CRYPT, inactive: true });
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: inactive, Data: BLOCKS, CryptographicParameters })).toBe(
      'WrongKeyLifecycleState',
    );
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: inactive, Data: BLOCKS }), 'the state is told before bad parameters').toBe(
      'WrongKeyLifecycleState',
    );
    const limited = await registerKey(client, KEY16, {
      algorithm: 'AES',
      mask: CRYPT,
      more: [{ name: 'UsageLimits', value: { UsageLimitsTotal: 2n, UsageLimitsUnit: 'Object' } }],
    });
    for (let use = 0; use < 2; use += 1) await ask(client, 'Encrypt', { UniqueIdentifier: limited, Data: BLOCKS, CryptographicParameters });
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: limited, Data: BLOCKS, CryptographicParameters })).toBe('PermissionDenied');
    const stranger = await target.connect('stranger');
    expect(
      await refusal(stranger, 'Encrypt', { UniqueIdentifier: limited, Data: BLOCKS, CryptographicParameters }),
      'another tenant',
    ).toMatch(/^(Item|Object)NotFound$/);
    expect(
      await refusal(stranger, 'Encrypt', { UniqueIdentifier: limited, Data: BLOCKS, CryptographicParameters: { BlockCipherMode: 'PCBC' } }),
      'and learns nothing by bad parameters',
    ).toMatch(/^(Item|Object)NotFound$/);
  });

  test('a one-time pad is XOR and no longer than itself', async () => {
    const pad = await registerSecret(client, hex('fc932e1428bd0011'), CRYPT, [{ name: 'CryptographicAlgorithm', value: 'OneTimePad' }]);
    const sealed = await ask(client, 'Encrypt', { UniqueIdentifier: pad, Data: hex('010203040506') });
    expect(toHex(sealed['Data'])).toBe('fd912d102dbb');
    expect(toHex((await ask(client, 'Decrypt', { UniqueIdentifier: pad, Data: sealed['Data'] }))['Data'])).toBe('010203040506');
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: pad, Data: Buffer.alloc(9) })).toBe('InvalidField');
    const plain = await registerSecret(client, hex('fc932e1428bd0011'), CRYPT);
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: plain, Data: hex('01') }), 'other secret data does not encrypt').toBe(
      'UnsupportedCryptographicParameters',
    );
  });
});

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const derOf = (pair: { publicKey: import('node:crypto').KeyObject; privateKey: import('node:crypto').KeyObject }) => ({
  pkcs8: new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' })),
  spki: new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' })),
});

describe('RSA, ECDSA and EdDSA', () => {
  const SIGNS = { privateMask: MASK.sign | MASK.decrypt, publicMask: MASK.verify | MASK.encrypt };

  test('OAEP and PKCS#1 v1.5 encryption open with OpenSSL', async () => {
    const { privateKey, publicKey } = await registerPair(client, derOf(rsa), { algorithm: 'RSA', length: 2048, ...SIGNS });
    const cases: readonly (readonly [Fields, (data: Uint8Array) => Buffer])[] = [
      [
        { PaddingMethod: 'OAEP', HashingAlgorithm: 'SHA_256' },
        (data) => privateDecrypt({ key: rsa.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, data),
      ],
      [
        { PaddingMethod: 'OAEP', HashingAlgorithm: 'SHA_1', PSource: hex('aabb') },
        (data) =>
          privateDecrypt(
            { key: rsa.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1', oaepLabel: Buffer.from('aabb', 'hex') },
            data,
          ),
      ],
      [{ PaddingMethod: 'PKCS1V1_5' }, (data) => privateDecrypt({ key: rsa.privateKey, padding: constants.RSA_PKCS1_PADDING }, data)],
    ];
    for (const [parameters, open] of cases) {
      const CryptographicParameters = { CryptographicAlgorithm: 'RSA', ...parameters };
      const sealed = await ask(client, 'Encrypt', { UniqueIdentifier: publicKey, Data: TEXT, CryptographicParameters });
      if (parameters['PaddingMethod'] === 'OAEP') expect(toHex(open(sealed['Data'] as Uint8Array))).toBe(toHex(TEXT));
      const opened = await ask(client, 'Decrypt', { UniqueIdentifier: privateKey, Data: sealed['Data'], CryptographicParameters });
      expect(toHex(opened['Data'])).toBe(toHex(TEXT));
    }
    expect(await refusal(client, 'Encrypt', { UniqueIdentifier: publicKey, Data: TEXT })).toBe('BadCryptographicParameters');
    expect(
      await refusal(client, 'Decrypt', {
        UniqueIdentifier: privateKey,
        Data: Buffer.alloc(256, 7),
        CryptographicParameters: { PaddingMethod: 'OAEP', HashingAlgorithm: 'SHA_256' },
      }),
    ).toBe('CryptographicFailure');
  });

  test('RSA signatures: by Digital Signature Algorithm, by padding and hash, over data and digests', async () => {
    const { privateKey, publicKey } = await registerPair(client, derOf(rsa), { algorithm: 'RSA', length: 2048, ...SIGNS });
    const pkcs1 = sign('sha384', TEXT, rsa.privateKey).toString('hex');
    for (const parameters of [
      { DigitalSignatureAlgorithm: 'SHA_384WithRSAEncryption' },
      { PaddingMethod: 'PKCS1V1_5', HashingAlgorithm: 'SHA_384', CryptographicAlgorithm: 'RSA' },
    ]) {
      const signed = await ask(client, 'Sign', { UniqueIdentifier: privateKey, Data: TEXT, CryptographicParameters: parameters });
      expect(toHex(signed['SignatureData'])).toBe(pkcs1);
      const digested = await ask(client, 'Sign', {
        UniqueIdentifier: privateKey,
        DigestedData: createHash('sha384').update(TEXT).digest(),
        CryptographicParameters: parameters,
      });
      expect(toHex(digested['SignatureData'])).toBe(pkcs1);
    }
    const CryptographicParameters = { PaddingMethod: 'PSS', HashingAlgorithm: 'SHA_256' };
    for (const SaltLength of [0, 20, 32, 222]) {
      const { SignatureData } = await ask(client, 'Sign', {
        UniqueIdentifier: privateKey,
        Data: TEXT,
        CryptographicParameters: { ...CryptographicParameters, SaltLength },
      });
      const own = { key: rsa.publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: SaltLength };
      expect(verify('sha256', TEXT, own, SignatureData as Uint8Array), `salt ${SaltLength}`).toBe(true);
      const check = (parameters: Fields) =>
        ask(client, 'SignatureVerify', { UniqueIdentifier: publicKey, Data: TEXT, SignatureData, CryptographicParameters: parameters });
      expect(await check(CryptographicParameters), 'any salt').toMatchObject({ ValidityIndicator: 'Valid' });
      expect(
        await check({ ...CryptographicParameters, SaltLength: SaltLength === 222 ? 221 : SaltLength + 1 }),
        'another salt',
      ).toMatchObject({
        ValidityIndicator: 'Invalid',
      });
    }
    expect(await refusal(client, 'Sign', { UniqueIdentifier: privateKey, Data: TEXT })).toBe('BadCryptographicParameters');
    expect(
      await refusal(client, 'Sign', { UniqueIdentifier: privateKey, Data: TEXT, DigestedData: Buffer.alloc(32), CryptographicParameters }),
    ).toBe('InvalidField');
    expect(await refusal(client, 'Sign', { UniqueIdentifier: privateKey, DigestedData: Buffer.alloc(31), CryptographicParameters })).toBe(
      'BadCryptographicParameters',
    );
    expect(
      await refusal(client, 'Sign', {
        UniqueIdentifier: privateKey,
        Data: TEXT,
        CryptographicParameters: { ...CryptographicParameters, TrailerField: 2 },
      }),
    ).toBe('UnsupportedCryptographicParameters');
    expect(
      await refusal(client, 'Sign', {
        UniqueIdentifier: privateKey,
        Data: TEXT,
        CryptographicParameters: { DigitalSignatureAlgorithm: 'DSAWithSHA256' },
      }),
    ).toBe('UnsupportedCryptographicParameters');
  });

  test('ECDSA and Ed25519 verify with OpenSSL; a changed message is Invalid, another kind of key too', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const own = await registerPair(client, derOf(ec), { algorithm: 'EC', length: 256, ...SIGNS });
    for (const parameters of [
      undefined,
      { DigitalSignatureAlgorithm: 'ECDSAWithSHA512' },
      { CryptographicAlgorithm: 'ECDSA', HashingAlgorithm: 'SHA_256' },
    ]) {
      const given = parameters === undefined ? {} : { CryptographicParameters: parameters };
      const { SignatureData } = await ask(client, 'Sign', { UniqueIdentifier: own.privateKey, Data: TEXT, ...given });
      expect(
        verify(parameters?.DigitalSignatureAlgorithm === undefined ? 'sha256' : 'sha512', TEXT, ec.publicKey, SignatureData as Uint8Array),
      ).toBe(true);
      const check = (Data: Uint8Array, more: Fields = given) =>
        ask(client, 'SignatureVerify', { UniqueIdentifier: own.publicKey, Data, SignatureData, ...more });
      expect(await check(TEXT)).toMatchObject({ ValidityIndicator: 'Valid' });
      expect(await check(BLOCKS)).toMatchObject({ ValidityIndicator: 'Invalid' });
      expect(
        await check(TEXT, {
          CryptographicParameters: { CryptographicAlgorithm: 'RSA', PaddingMethod: 'PSS', HashingAlgorithm: 'SHA_256' },
        }),
      ).toMatchObject({ ValidityIndicator: 'Invalid' });
    }
    const ed = generateKeyPairSync('ed25519');
    const edwards = await registerPair(client, derOf(ed), { algorithm: 'Ed25519', length: 256, ...SIGNS });
    const { SignatureData } = await ask(client, 'Sign', { UniqueIdentifier: edwards.privateKey, Data: TEXT });
    expect(verify(null, TEXT, ed.publicKey, SignatureData as Uint8Array)).toBe(true);
    expect(await refusal(client, 'Sign', { UniqueIdentifier: edwards.privateKey, DigestedData: Buffer.alloc(64) })).toBe(
      'UnsupportedCryptographicParameters',
    );
  });
});

describe('MAC, Hash and random numbers', () => {
  test('HMAC with HMAC keys and with AES keys, CMAC', async () => {
    const mask = MASK.mac | MASK.macVerify;
    const hmac = await registerKey(client, KEY32, { algorithm: 'HMAC_SHA512', mask });
    const bare = await ask(client, 'MAC', { UniqueIdentifier: hmac, Data: TEXT });
    expect(toHex(bare['MACData'])).toBe(createHmac('sha512', KEY32).update(TEXT).digest('hex'));
    const aes = await registerKey(client, KEY16, { algorithm: 'AES', mask });
    const named = await ask(client, 'MAC', {
      UniqueIdentifier: aes,
      Data: TEXT,
      CryptographicParameters: { CryptographicAlgorithm: 'HMAC_SHA3_256' },
    });
    expect(toHex(named['MACData'])).toBe(createHmac('sha3-256', KEY16).update(TEXT).digest('hex'));
    // RFC 4493 §4, example 1.
    const cmacKey = await registerKey(client, hex('2b7e151628aed2a6abf7158809cf4f3c'), { algorithm: 'AES', mask });
    const cmac = await ask(client, 'MAC', {
      UniqueIdentifier: cmacKey,
      Data: new Uint8Array(),
      CryptographicParameters: { BlockCipherMode: 'CMAC' },
    });
    expect(toHex(cmac['MACData'])).toBe('bb1d6929e95937287fa37d129b756746');
    const check = (MACData: unknown) => ask(client, 'MACVerify', { UniqueIdentifier: hmac, Data: TEXT, MACData } as Fields);
    expect(await check(bare['MACData'])).toMatchObject({ ValidityIndicator: 'Valid' });
    expect(await check(named['MACData'])).toMatchObject({ ValidityIndicator: 'Invalid' });
    expect(
      await refusal(client, 'MAC', { UniqueIdentifier: hmac, Data: TEXT, CryptographicParameters: { CryptographicAlgorithm: 'HMAC_MD5' } }),
    ).toBe('UnsupportedCryptographicParameters');
    expect(
      await refusal(client, 'MAC', { UniqueIdentifier: aes, Data: TEXT, CryptographicParameters: { BlockCipherMode: 'CBC_MAC' } }),
    ).toBe('UnsupportedCryptographicParameters');
  });

  test('every hash of the standard that OpenSSL has', async () => {
    for (const [name, own] of [
      ['MD5', 'md5'],
      ['SHA_1', 'sha1'],
      ['SHA_224', 'sha224'],
      ['SHA_256', 'sha256'],
      ['SHA_384', 'sha384'],
      ['SHA_512', 'sha512'],
      ['SHA_512_256', 'sha512-256'],
      ['SHA3_224', 'sha3-224'],
      ['SHA3_512', 'sha3-512'],
    ] as const) {
      const { Data } = await ask(client, 'Hash', { CryptographicParameters: { HashingAlgorithm: name }, Data: TEXT });
      expect(toHex(Data), name).toBe(createHash(own).update(TEXT).digest('hex'));
    }
    expect(await refusal(client, 'Hash', { CryptographicParameters: { HashingAlgorithm: 'Tiger' }, Data: TEXT })).toBe(
      'UnsupportedCryptographicParameters',
    );
    expect(await refusal(client, 'Hash', { CryptographicParameters: {}, Data: TEXT })).toBe('InvalidField');
  });

  test('random numbers: the asked length, never the same, and bounded', async () => {
    const one = await ask(client, 'RNGRetrieve', { DataLength: 32 });
    const two = await ask(client, 'RNGRetrieve', { DataLength: 32 });
    expect([(one['Data'] as Uint8Array).length, toHex(one['Data']) === toHex(two['Data'])]).toEqual([32, false]);
    for (const DataLength of [0, -1, 0x7fff_ffff]) expect(await refusal(client, 'RNGRetrieve', { DataLength })).toBe('InvalidField');
  });

  test('RNG Seed does what the server is set to', async () => {
    const seed = Buffer.alloc(32, 5);
    for (const [rngSeed, expected] of [
      ['accept', 32],
      ['partial', 16],
      ['ignore', 0],
    ] as const) {
      const { port } = await target.serve({ settings: { rngSeed } });
      const own = await target.connect('alice', '2.1', { port });
      expect(await ask(own, 'RNGSeed', { Data: seed }), rngSeed).toEqual({ DataLength: expected });
      expect((await ask(own, 'RNGRetrieve', { DataLength: 64 }))['Data']).toHaveLength(64);
    }
    const { port } = await target.serve({ settings: { rngSeed: 'refuse' } });
    expect(await refusal(await target.connect('alice', '2.1', { port }), 'RNGSeed', { Data: seed })).toBe('PermissionDenied');
  });
});

describe('PKCS#11 over KMIP', () => {
  test('initialise, information, finalise; a session is its opener’s alone', async () => {
    const opened = await ask(client, 'PKCS_11', { PKCS_11Function: 'C_Initialize', PKCS_11InputParameters: hex('01') });
    expect(opened).toMatchObject({ PKCS_11Function: 'C_Initialize', PKCS_11ReturnCode: 'OK' });
    const { CorrelationValue } = opened;
    const info = await ask(client, 'PKCS_11', { PKCS_11Function: 'C_GetInfo', CorrelationValue });
    expect(
      Buffer.from(info['PKCS_11OutputParameters'] as Uint8Array)
        .subarray(0, 7)
        .toString('latin1'),
    ).toBe('\u0002(Aegis');
    expect(info['PKCS_11OutputParameters']).toHaveLength(76);
    const bob = await target.connect('bob');
    expect(await ask(bob, 'PKCS_11', { PKCS_11Function: 'C_GetInfo', CorrelationValue })).toMatchObject({
      PKCS_11ReturnCode: 'CRYPTOKI_NOT_INITIALIZED',
    });
    expect(await ask(client, 'PKCS_11', { PKCS_11Function: 'C_Login', CorrelationValue })).toMatchObject({
      PKCS_11ReturnCode: 'FUNCTION_NOT_SUPPORTED',
    });
    expect(await ask(client, 'PKCS_11', { PKCS_11Function: 'C_Finalize', CorrelationValue })).toMatchObject({ PKCS_11ReturnCode: 'OK' });
    expect(await ask(client, 'PKCS_11', { PKCS_11Function: 'C_GetInfo', CorrelationValue })).toMatchObject({
      PKCS_11ReturnCode: 'CRYPTOKI_NOT_INITIALIZED',
    });
    expect(await refusal(client, 'PKCS_11', { PKCS_11Function: 'C_GetInfo', PKCS_11Interface: 'Vendor X' })).toBe(
      'PKCS_11InvalidInterface',
    );
    expect(await refusal(client, 'PKCS_11', { PKCS_11Function: 'C_Initialize', PKCS_11InputParameters: hex('0102') })).toBe(
      'PKCS_11CodecError',
    );
  });
});
