import { existsSync } from 'node:fs';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
const absent = !existsSync(MODULE) && process.env['AEGIS_NO_SKIP'] !== '1';

describe.skipIf(absent)('Get works whichever root holds the key (apt-get install softhsm2)', () => {
  let target: KmipTarget;
  let client: KmipClient;
  beforeAll(async () => {
    target = await startKmipTarget({ root: 'softhsm' });
    client = await target.connect();
  }, 120_000);
  afterAll(() => target.stop());

  const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');
  const SECRET = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  const raw = (material: Uint8Array): Fields => ({
    KeyBlock: {
      KeyFormatType: 'Raw',
      KeyValue: { KeyMaterial: material },
      CryptographicAlgorithm: 'AES',
      CryptographicLength: material.length * 8,
    },
  });
  const register = async (object: Fields, mask: number, more: object = {}): Promise<string> => {
    const attributes = [
      { name: 'CryptographicUsageMask', value: mask },
      { name: 'ActivationDate', value: 1n },
    ];
    const answer = await client.request('Register', {
      ObjectType: 'SymmetricKey',
      Attributes: attributes,
      SymmetricKey: object,
      ...more,
    } as never);
    return answer.UniqueIdentifier as string;
  };
  const get = async (id: string, rest: object = {}): Promise<Fields> => {
    const answer = (await client.request('Get', { UniqueIdentifier: id, ...rest } as never)) as unknown as Record<string, Fields>;
    return (answer[String(answer['ObjectType'])] as Fields)['KeyBlock'] as Fields;
  };
  const materialOf = (block: Fields): unknown => (block['KeyValue'] as Fields)['KeyMaterial'];
  const specification = (id: string, option: string) => ({
    KeyWrappingSpecification: { WrappingMethod: 'Encrypt', EncryptionKeyInformation: { UniqueIdentifier: id }, EncodingOption: option },
  });

  test('a key on the token, and one that no token understands', async () => {
    const id = await register(raw(SECRET), 0xc);
    expect((await target.admin('get-object', { key: id })).object.rootId).toBe('softhsm');
    expect(hex(materialOf(await get(id)))).toBe(hex(SECRET));
    const odd = await register(raw(Buffer.alloc(20, 3)), 0xc);
    expect(hex(materialOf(await get(odd)))).toBe('03'.repeat(20));
  });

  test('a key made there is given out', async () => {
    const made = await client.request('Create', {
      ObjectType: 'SymmetricKey',
      Attributes: [
        { name: 'CryptographicAlgorithm', value: 'AES' },
        { name: 'CryptographicLength', value: 256 },
        { name: 'CryptographicUsageMask', value: 0xc },
      ],
    } as never);
    expect((materialOf(await get(made.UniqueIdentifier as string)) as Uint8Array).length).toBe(32);
  });

  test('wrapped on the token, alone and as TTLV, and from one root under a key of another', async () => {
    const kek = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
    const onToken = await register(raw(kek), 0x30);
    const id = await register(raw(SECRET), 0xc);
    const wrapped = '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5';
    expect(hex((await get(id, specification(onToken, 'NoEncoding')))['KeyValue'])).toBe(wrapped);
    const encoded = await get(id, specification(onToken, 'TTLVEncoding'));
    const back = await register({ KeyBlock: encoded }, 0xc);
    expect(hex(materialOf(await get(back, { KeyWrapType: 'NotWrapped' })))).toBe(hex(SECRET));
    const inSoftware = await register(raw(kek), 0x30, { ProtectionStorageMasks: { ProtectionStorageMask: [0x1] } });
    expect((await target.admin('get-object', { key: inSoftware })).object.rootId).not.toBe('softhsm');
    expect(hex((await get(id, specification(inSoftware, 'NoEncoding')))['KeyValue'])).toBe(wrapped);
  });
});
