import { createCipheriv, createDecipheriv, createHmac, generateKeyPairSync, privateDecrypt, verify } from 'node:crypto';
import type { Fields, KmipVersion } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeKeyValue, encodeKeyValue } from '../../src/planes/kmip/material/key-value.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 60_000);
afterAll(() => target.stop());

const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');
const WRAPS = 0x10 | 0x20;
const KEK = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const SECRET = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
/** RFC 3394 §4.1: 128 bits of key data under a 128-bit KEK. */
const RFC_3394 = '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5';

const raw = (material: Uint8Array, algorithm = 'AES'): Fields => ({
  KeyBlock: {
    KeyFormatType: 'Raw',
    KeyValue: { KeyMaterial: material },
    CryptographicAlgorithm: algorithm,
    CryptographicLength: material.length * 8,
  },
});
const registered = async (object: Fields, attributes: readonly object[], type = 'SymmetricKey'): Promise<string> => {
  const answer = await client.request('Register', { ObjectType: type, Attributes: attributes, [type]: object } as never);
  return answer.UniqueIdentifier as string;
};
const mask = (value: number) => ({ name: 'CryptographicUsageMask', value });
const ACTIVE = { name: 'ActivationDate', value: 1n };
const kek = () => registered(raw(KEK), [mask(WRAPS), ACTIVE]);
const secret = (more: readonly object[] = []) => registered(raw(SECRET), [mask(0xc), ...more]);
const get = async (id: string, rest: object, from = client): Promise<Fields> => {
  const answer = (await from.request('Get', { UniqueIdentifier: id, ...rest } as never)) as unknown as Record<string, Fields>;
  return (answer[String(answer['ObjectType'])] as Fields)['KeyBlock'] as Fields;
};
const specification = (id: string, parameters?: Fields, more: Fields = {}): object => ({
  KeyWrappingSpecification: {
    WrappingMethod: 'Encrypt',
    EncryptionKeyInformation: { UniqueIdentifier: id, ...(parameters === undefined ? {} : { CryptographicParameters: parameters }) },
    EncodingOption: 'NoEncoding',
    ...more,
  },
});
const reasonOf = async (run: Promise<unknown>): Promise<string> => {
  const error = (await run.then(
    () => undefined,
    (failure: unknown) => failure,
  )) as { reason?: string } | undefined;
  return String(error?.reason);
};

describe('Get wraps', () => {
  test('with RFC 3394 when nothing else is said', async () => {
    const block = await get(await secret(), specification(await kek()));
    expect(hex(block['KeyValue'])).toBe(RFC_3394);
    expect(block['KeyWrappingData']).toMatchObject({ WrappingMethod: 'Encrypt', EncodingOption: 'NoEncoding' });
    expect(block).toMatchObject({ KeyFormatType: 'Raw', CryptographicAlgorithm: 'AES', CryptographicLength: 128 });
  });

  test('a key in TTLV with the attributes that were named', async () => {
    const id = await secret([{ name: 'Name', value: { NameValue: 'wrapped with attributes', NameType: 'UninterpretedTextString' } }]);
    const block = await get(
      id,
      specification(await kek(), undefined, { EncodingOption: 'TTLVEncoding', AttributeName: ['Cryptographic Usage Mask'] }),
    );
    const decipher = createDecipheriv('id-aes128-wrap', KEK, Buffer.alloc(8, 0xa6));
    const inner = decodeKeyValue(Buffer.concat([decipher.update(block['KeyValue'] as Uint8Array), decipher.final()]), '2.1');
    expect(hex(inner['KeyMaterial'])).toBe(hex(SECRET));
    expect(inner['Attributes']).toMatchObject([{ name: 'CryptographicUsageMask', value: 0xc }]);
  });

  test('with RFC 5649, a private key of any length', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
    const object = {
      KeyBlock: { KeyFormatType: 'PKCS_8', KeyValue: { KeyMaterial: pkcs8 }, CryptographicAlgorithm: 'EC', CryptographicLength: 256 },
    };
    const id = await registered(object, [mask(0x1)], 'PrivateKey');
    const block = await get(id, { ...specification(await kek(), { BlockCipherMode: 'AESKeyWrapPadding' }), KeyFormatType: 'PKCS_8' });
    const decipher = createDecipheriv('id-aes128-wrap-pad', KEK, Buffer.from('a65959a6', 'hex'));
    expect(hex(Buffer.concat([decipher.update(block['KeyValue'] as Uint8Array), decipher.final()]))).toBe(hex(pkcs8));
  });

  test('with GCM and with CBC, the IV beside it', async () => {
    const id = await secret();
    const gcm = await get(id, specification(await kek(), { BlockCipherMode: 'GCM' }));
    const sealed = gcm['KeyValue'] as Uint8Array;
    const open = createDecipheriv('aes-128-gcm', KEK, (gcm['KeyWrappingData'] as Fields)['IVCounterNonce'] as Uint8Array);
    open.setAuthTag(sealed.subarray(-16));
    expect(hex(Buffer.concat([open.update(sealed.subarray(0, -16)), open.final()]))).toBe(hex(SECRET));
    const cbc = await get(id, specification(await kek(), { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' }));
    const decipher = createDecipheriv('aes-128-cbc', KEK, (cbc['KeyWrappingData'] as Fields)['IVCounterNonce'] as Uint8Array);
    expect(hex(Buffer.concat([decipher.update(cbc['KeyValue'] as Uint8Array), decipher.final()]))).toBe(hex(SECRET));
  });

  test('with an RSA public key', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const object = {
      KeyBlock: {
        KeyFormatType: 'X_509',
        KeyValue: { KeyMaterial: publicKey.export({ format: 'der', type: 'spki' }) },
        CryptographicAlgorithm: 'RSA',
        CryptographicLength: 2048,
      },
    };
    const id = await registered(object, [mask(0x10), ACTIVE], 'PublicKey');
    const block = await get(await secret(), specification(id, { PaddingMethod: 'OAEP', HashingAlgorithm: 'SHA_256' }));
    expect(hex(privateDecrypt({ key: privateKey, oaepHash: 'sha256' }, block['KeyValue'] as Uint8Array))).toBe(hex(SECRET));
  });

  test('a sensitive key, which leaves no other way', async () => {
    const id = await secret([{ name: 'Sensitive', value: true }]);
    expect(await reasonOf(get(id, {}))).toBe('Sensitive');
    expect(hex((await get(id, specification(await kek())))['KeyValue'])).toBe(RFC_3394);
    // Not by way of a MAC either: the key value would be in clear beside it.
    const macKey = await registered(raw(Buffer.alloc(32, 9), 'HMAC_SHA256'), [mask(0x180), ACTIVE]);
    const macOnly = { KeyWrappingSpecification: { WrappingMethod: 'MACSign', MACSignatureKeyInformation: { UniqueIdentifier: macKey } } };
    expect(await reasonOf(get(id, macOnly))).toBe('Sensitive');
  });

  test('but never what is not extractable', async () => {
    const id = await secret([{ name: 'Extractable', value: false }]);
    expect(await reasonOf(get(id, specification(await kek())))).toBe('NotExtractable');
  });
});

describe('MAC and signature', () => {
  const macKey = Buffer.alloc(32, 9);
  const mac = () => registered(raw(macKey, 'HMAC_SHA256'), [mask(0x180), ACTIVE]);
  const hmac = (bytes: Uint8Array) => createHmac('sha256', macKey).update(bytes).digest('hex');

  test('alone: the key value in clear, authenticated as TTLV', async () => {
    const id = await mac();
    const method = { WrappingMethod: 'MACSign', MACSignatureKeyInformation: { UniqueIdentifier: id } };
    const block = await get(await secret(), { KeyWrappingSpecification: method });
    expect(hex((block['KeyValue'] as Fields)['KeyMaterial'])).toBe(hex(SECRET));
    expect(hex((block['KeyWrappingData'] as Fields)['MACSignature'])).toBe(hmac(encodeKeyValue({ KeyMaterial: SECRET }, '2.1')));
  });

  test.each([
    ['EncryptThenMACSign', (wrapped: Uint8Array) => hmac(wrapped)],
    ['MACSignThenEncrypt', () => hmac(SECRET)],
  ])('%s', async (method, expected) => {
    const information = { MACSignatureKeyInformation: { UniqueIdentifier: await mac() } };
    const block = await get(await secret(), specification(await kek(), undefined, { WrappingMethod: method, ...information }));
    expect(hex(block['KeyValue'])).toBe(RFC_3394);
    expect(hex((block['KeyWrappingData'] as Fields)['MACSignature'])).toBe(expected(block['KeyValue'] as Uint8Array));
  });

  test('what was wrapped and authenticated here is opened again, and not when a bit of it changed', async () => {
    const information = { MACSignatureKeyInformation: { UniqueIdentifier: await mac() } };
    const block = await get(
      await secret(),
      specification(await kek(), undefined, { WrappingMethod: 'EncryptThenMACSign', ...information }),
    );
    const id = await registered({ KeyBlock: block }, [mask(0xc)]);
    expect(hex(((await get(id, { KeyWrapType: 'NotWrapped' }))['KeyValue'] as Fields)['KeyMaterial'])).toBe(hex(SECRET));
    const data = block['KeyWrappingData'] as Fields;
    const wrong = Uint8Array.from(data['MACSignature'] as Uint8Array, (byte, at) => (at === 0 ? byte ^ 1 : byte));
    const bad = await registered({ KeyBlock: { ...block, KeyWrappingData: { ...data, MACSignature: wrong } } }, [mask(0xc)]);
    expect(await reasonOf(get(bad, { KeyWrapType: 'NotWrapped' }))).toBe('CryptographicFailure');
  });

  test('a private key signs', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const object = {
      KeyBlock: {
        KeyFormatType: 'ECPrivateKey',
        KeyValue: { KeyMaterial: pair.privateKey.export({ format: 'der', type: 'sec1' }) },
        CryptographicAlgorithm: 'EC',
        CryptographicLength: 256,
      },
    };
    const id = await registered(object, [mask(0x1), ACTIVE], 'PrivateKey');
    const method = { WrappingMethod: 'MACSign', MACSignatureKeyInformation: { UniqueIdentifier: id }, EncodingOption: 'NoEncoding' };
    const block = await get(await secret(), { KeyWrappingSpecification: method });
    expect(verify('sha256', SECRET, pair.publicKey, (block['KeyWrappingData'] as Fields)['MACSignature'] as Uint8Array)).toBe(true);
  });
});

test('a signature is made as its parameters say', async () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const material = pair.privateKey.export({ format: 'der', type: 'pkcs1' });
  const object = {
    KeyBlock: { KeyFormatType: 'PKCS_1', KeyValue: { KeyMaterial: material }, CryptographicAlgorithm: 'RSA', CryptographicLength: 2048 },
  };
  const id = await registered(object, [mask(0x1), ACTIVE], 'PrivateKey');
  const information = { UniqueIdentifier: id, CryptographicParameters: { DigitalSignatureAlgorithm: 'SHA_384WithRSAEncryption' } };
  const method = { WrappingMethod: 'MACSign', MACSignatureKeyInformation: information, EncodingOption: 'NoEncoding' };
  const block = await get(await secret(), { KeyWrappingSpecification: method });
  expect(verify('sha384', SECRET, pair.publicKey, (block['KeyWrappingData'] as Fields)['MACSignature'] as Uint8Array)).toBe(true);
});

describe('what came wrapped', () => {
  const wrapped = (id: string, more: Fields = {}): Fields => ({
    KeyBlock: {
      KeyFormatType: 'Raw',
      KeyValue: Buffer.from(RFC_3394, 'hex'),
      CryptographicAlgorithm: 'AES',
      CryptographicLength: 128,
      KeyWrappingData: {
        WrappingMethod: 'Encrypt',
        EncryptionKeyInformation: { UniqueIdentifier: id, CryptographicParameters: { BlockCipherMode: 'NISTKeyWrap' } },
        EncodingOption: 'NoEncoding',
        ...more,
      },
    },
  });

  test('is given back as it came, and opened when asked', async () => {
    const wrapping = await kek();
    const id = await registered(wrapped(wrapping), [mask(0xc)]);
    for (const type of [{}, { KeyWrapType: 'AsRegistered' }]) {
      const block = await get(id, type);
      expect(hex(block['KeyValue'])).toBe(RFC_3394);
      expect((block['KeyWrappingData'] as Fields)['EncryptionKeyInformation']).toMatchObject({ UniqueIdentifier: wrapping });
    }
    const open = await get(id, { KeyWrapType: 'NotWrapped' });
    expect(hex((open['KeyValue'] as Fields)['KeyMaterial'])).toBe(hex(SECRET));
    expect(open['KeyWrappingData']).toBeUndefined();
    const { Attributes } = await client.request('GetAttributes', { UniqueIdentifier: id, AttributeReference: [{ name: 'Link' }] } as never);
    expect(Attributes).toMatchObject([{ name: 'Link', value: { LinkType: 'WrappingKeyLink', LinkedObjectIdentifier: wrapping } }]);
  });

  test('is wrapped anew under another key', async () => {
    const id = await registered(wrapped(await kek()), [mask(0xc)]);
    const other = Buffer.alloc(32, 5);
    const block = await get(id, specification(await registered(raw(other), [mask(WRAPS), ACTIVE])));
    const cipher = createCipheriv('id-aes256-wrap', other, Buffer.alloc(8, 0xa6));
    expect(hex(block['KeyValue'])).toBe(hex(Buffer.concat([cipher.update(SECRET), cipher.final()])));
  });

  test('stays as it is where the wrapping key is not ours', async () => {
    const id = await registered(wrapped('not-ours'), [mask(0xc)]);
    expect(hex((await get(id, {}))['KeyValue'])).toBe(RFC_3394);
    expect(await reasonOf(get(id, { KeyWrapType: 'NotWrapped' }))).toBe('WrappingObjectNotFound');
    expect(await reasonOf(get(id, { KeyFormatType: 'TransparentSymmetricKey' }))).toBe('KeyFormatTypeNotSupported');
  });

  test('needs the key that unwraps in a state to do so', async () => {
    const wrapping = await kek();
    const id = await registered(wrapped(wrapping), [mask(0xc)]);
    await client.request('Archive', { UniqueIdentifier: wrapping });
    expect(await reasonOf(get(id, { KeyWrapType: 'NotWrapped' }))).toBe('WrappingObjectArchived');
    await client.request('Recover', { UniqueIdentifier: wrapping });
    await client.request('Revoke', { UniqueIdentifier: wrapping, RevocationReason: { RevocationReasonCode: 'CessationOfOperation' } });
    // Deactivated keys still process what they protected.
    expect(hex(((await get(id, { KeyWrapType: 'NotWrapped' }))['KeyValue'] as Fields)['KeyMaterial'])).toBe(hex(SECRET));
    await client.request('Destroy', { UniqueIdentifier: wrapping });
    expect(await reasonOf(get(id, { KeyWrapType: 'NotWrapped' }))).toBe('WrappingObjectDestroyed');
  });

  test('damaged is refused when it is opened', async () => {
    const id = await registered(wrapped(await kek(), {}), [mask(0xc)]);
    const damaged = wrapped(await kek());
    (damaged['KeyBlock'] as { KeyValue: Uint8Array }).KeyValue = Buffer.alloc(24, 1);
    expect(await reasonOf(get(await registered(damaged, [mask(0xc)]), { KeyWrapType: 'NotWrapped' }))).toBe('CryptographicFailure');
    expect(id).toBeDefined();
  });
});

describe('refusals', () => {
  test.each([
    [
      'a wrapping key that does not exist',
      () => Promise.resolve('018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a11'),
      undefined,
      'WrappingObjectNotFound',
    ],
    ['a key that may not wrap', () => registered(raw(KEK), [mask(0xc), ACTIVE]), undefined, 'IncompatibleCryptographicUsageMask'],
    ['a key that is not active', () => registered(raw(KEK), [mask(WRAPS)]), undefined, 'WrongKeyLifecycleState'],
    ['a mode that wraps no keys', kek, { BlockCipherMode: 'CTR' }, 'UnsupportedCryptographicParameters'],
  ])('%s', async (_, make, parameters, reason) => {
    expect(await reasonOf(get(await secret(), specification(await make(), parameters)))).toBe(reason);
  });

  test('parameters that are none of the key’s', async () => {
    const own = { name: 'CryptographicParameters', value: { BlockCipherMode: 'NISTKeyWrap' } };
    const id = await registered(raw(KEK), [mask(WRAPS), ACTIVE, own]);
    expect(await reasonOf(get(await secret(), specification(id, { BlockCipherMode: 'AESKeyWrapPadding' })))).toBe(
      'BadCryptographicParameters',
    );
    expect(hex((await get(await secret(), specification(id)))['KeyValue'])).toBe(RFC_3394);
  });

  test('attributes cannot be wrapped without an encoding', async () => {
    expect(await reasonOf(get(await secret(), specification(await kek(), undefined, { AttributeName: ['State'] })))).toBe(
      'EncodingOptionError',
    );
    expect(await reasonOf(get(await secret(), { ...specification(await kek()), KeyFormatType: 'TransparentSymmetricKey' }))).toBe(
      'EncodingOptionError',
    );
  });

  test('another tenant’s wrapping key is none', async () => {
    const id = await kek();
    const stranger = await target.connect('stranger');
    const own = await stranger.request('Register', {
      ObjectType: 'SymmetricKey',
      Attributes: [mask(0xc)],
      SymmetricKey: raw(SECRET),
    } as never);
    expect(await reasonOf(get(own.UniqueIdentifier as string, specification(id), stranger))).toBe('WrappingObjectNotFound');
  });
});

test.each(['1.0', '1.2', '1.4', '2.0'] as readonly KmipVersion[])('an object wrapped in %s carries nothing newer', async (version) => {
  const old = await target.connect('alice', version);
  const named = { ...(specification(await kek()) as { KeyWrappingSpecification: Fields }).KeyWrappingSpecification };
  const block = await get(await secret(), { KeyWrappingSpecification: named }, old);
  // 1.0 has no Encoding Option: there the Key Value is always TTLV.
  expect((block['KeyValue'] as Uint8Array).length).toBe(version === '1.0' ? 40 : 24);
});
