import { type Fields, fromBigInt } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, hex, MASK, material, refusal, registerKey, toHex, VERSIONS } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 120_000);
afterAll(() => target?.stop());

const KEY = hex('0102030405060708090a0b0c0d0e0f10');
const AES128 = [
  { name: 'CryptographicAlgorithm', value: 'AES' },
  { name: 'CryptographicLength', value: 128 },
  { name: 'CryptographicUsageMask', value: MASK.encrypt | MASK.decrypt },
];
/** 2^255 − 19. */
const PRIME = fromBigInt(2n ** 255n - 19n);

const split = async (
  id: string | undefined,
  parts: number,
  threshold: number,
  method: string,
  more: Fields = {},
  on = client,
): Promise<readonly string[]> => {
  const made = await ask(on, 'CreateSplitKey', {
    ObjectType: 'SplitKey',
    ...(id === undefined ? {} : { UniqueIdentifier: id }),
    SplitKeyParts: parts,
    SplitKeyThreshold: threshold,
    SplitKeyMethod: method,
    Attributes: [],
    ...more,
  });
  return made['UniqueIdentifier'] as readonly string[];
};
const joined = async (ids: readonly string[], more: Fields = {}, on = client): Promise<string> => {
  const made = await ask(on, 'JoinSplitKey', { ObjectType: 'SymmetricKey', UniqueIdentifier: ids, Attributes: AES128, ...more });
  return made['UniqueIdentifier'] as string;
};
const notJoined = (ids: readonly string[], more: Fields = {}) =>
  refusal(client, 'JoinSplitKey', { ObjectType: 'SymmetricKey', UniqueIdentifier: ids, Attributes: AES128, ...more });

describe('Create and Join Split Key', () => {
  const METHODS: readonly (readonly [string, Fields, number])[] = [
    ['XOR', {}, 4],
    ['PolynomialSharingGF2_8', {}, 3],
    ['PolynomialSharingGF2_16', {}, 3],
    ['PolynomialSharingPrimeField', { PrimeFieldSize: PRIME }, 3],
  ];
  test.each(METHODS)('%s: enough parts make the key, with the numbers of each part in Get', async (method, more, threshold) => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const parts = await split(id, 4, threshold, method, more);
    expect(parts).toHaveLength(4);
    for (const [index, part] of parts.entries()) {
      const { SplitKey } = await ask(client, 'Get', { UniqueIdentifier: part });
      expect(SplitKey).toMatchObject({
        SplitKeyParts: 4,
        KeyPartIdentifier: index + 1,
        SplitKeyThreshold: threshold,
        SplitKeyMethod: method,
      });
      expect((SplitKey as Fields)['KeyBlock']).toMatchObject({
        KeyFormatType: 'Raw',
        CryptographicAlgorithm: 'AES',
        CryptographicLength: 128,
      });
      if (more['PrimeFieldSize'] !== undefined) expect(toHex((SplitKey as Fields)['PrimeFieldSize'])).toBe(toHex(PRIME));
    }
    const [a, b, c, d] = parts as [string, string, string, string];
    const sets =
      threshold === 4
        ? [[d, b, a, c]]
        : [
            [a, b, c],
            [d, b, c],
            [a, b, c, d],
          ];
    for (const set of sets) expect(await material(client, await joined(set)), method).toBe(toHex(KEY));
    expect(
      await material(client, await joined([...(sets[0] as string[])], { Attributes: undefined })),
      'algorithm and length are the parts’',
    ).toBe(toHex(KEY));
    expect(await notJoined(parts.slice(0, threshold - 1))).toBe('CryptographicFailure');
    expect(await notJoined([a, a, b, c])).toBe('CryptographicFailure');
  });

  test('parts of different splits do not join', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const [a] = await split(id, 3, 2, 'PolynomialSharingGF2_8');
    const [, b] = await split(id, 3, 3, 'PolynomialSharingGF2_8');
    expect(await notJoined([a as string, b as string])).toBe('CryptographicFailure');
    expect(await notJoined([id, a as string])).toBe('InvalidObjectType');
  });

  test('without a key one is made, split and gone: only the parts stay', async () => {
    const before = await ask(client, 'Locate', { Attributes: [{ name: 'ObjectType', value: 'SymmetricKey' }] });
    const parts = await split(undefined, 3, 2, 'PolynomialSharingGF2_8', { Attributes: AES128 });
    const after = await ask(client, 'Locate', { Attributes: [{ name: 'ObjectType', value: 'SymmetricKey' }] });
    expect(after['UniqueIdentifier']).toEqual(before['UniqueIdentifier']);
    const one = await material(client, await joined([parts[0] as string, parts[1] as string]));
    const two = await material(client, await joined([parts[2] as string, parts[1] as string]));
    expect(one).toBe(two);
    expect(one).toMatch(/^[0-9a-f]{32}$/);
  });

  test('a key that may not leave is not split; parts that may not leave make no key that may', async () => {
    const kept = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt, more: [{ name: 'Extractable', value: false }] });
    expect(
      await refusal(client, 'CreateSplitKey', {
        ObjectType: 'SplitKey',
        UniqueIdentifier: kept,
        SplitKeyParts: 2,
        SplitKeyThreshold: 2,
        SplitKeyMethod: 'XOR',
        Attributes: [],
      }),
    ).toBe('NotExtractable');
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const parts = await split(id, 2, 2, 'XOR', { Attributes: [{ name: 'Extractable', value: false }] });
    expect(await refusal(client, 'Get', { UniqueIdentifier: parts[0] as string })).toBe('NotExtractable');
    expect(await notJoined(parts)).toBe('NotExtractable');
    const inside = await joined(parts, {
      Attributes: [...AES128, { name: 'Extractable', value: false }, { name: 'ActivationDate', value: 1_600_000_000n }],
    });
    const sealed = await ask(client, 'Encrypt', {
      UniqueIdentifier: inside,
      Data: Buffer.alloc(16),
      CryptographicParameters: { BlockCipherMode: 'ECB' },
    });
    expect(sealed['Data']).toHaveLength(16);
  });

  test('impossible splits are refused', async () => {
    const id = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const refused = (SplitKeyParts: number, SplitKeyThreshold: number, SplitKeyMethod: string, more: Fields = {}) =>
      refusal(client, 'CreateSplitKey', {
        ObjectType: 'SplitKey',
        UniqueIdentifier: id,
        SplitKeyParts,
        SplitKeyThreshold,
        SplitKeyMethod,
        Attributes: [],
        ...more,
      });
    expect(await refused(3, 2, 'XOR')).toBe('BadCryptographicParameters');
    expect(await refused(3, 4, 'PolynomialSharingGF2_8')).toBe('InvalidField');
    expect(await refused(3, 1, 'PolynomialSharingGF2_8')).toBe('InvalidField');
    expect(await refused(-1, -1, 'PolynomialSharingGF2_8')).toBe('InvalidField');
    expect(await refused(1_000_000, 2, 'PolynomialSharingGF2_8')).toBe('InvalidField');
    expect(await refused(3, 2, 'PolynomialSharingPrimeField')).toBe('BadCryptographicParameters');
    expect(await refused(3, 2, 'PolynomialSharingPrimeField', { PrimeFieldSize: fromBigInt(2n ** 255n) }), 'no prime').toBe('InvalidField');
    expect(await refused(3, 2, 'PolynomialSharingPrimeField', { PrimeFieldSize: fromBigInt(251n) }), 'too small').toBe('InvalidField');
    const stranger = await target.connect('stranger');
    const parts = await split(id, 2, 2, 'XOR');
    expect(await refusal(stranger, 'JoinSplitKey', { ObjectType: 'SymmetricKey', UniqueIdentifier: parts, Attributes: AES128 })).toMatch(
      /^(Item|Object)NotFound$/,
    );
    expect(
      await refusal(stranger, 'CreateSplitKey', {
        ObjectType: 'SplitKey',
        UniqueIdentifier: id,
        SplitKeyParts: 2,
        SplitKeyThreshold: 2,
        SplitKeyMethod: 'XOR',
        Attributes: [],
      }),
    ).toMatch(/^(Item|Object)NotFound$/);
  });

  test('in every version that has it, and over the polynomial that 3.0 can name', async () => {
    for (const version of VERSIONS) {
      const own = await target.connect('alice', version);
      const id = await registerKey(own, KEY, { algorithm: 'AES', mask: MASK.encrypt });
      const parts = await split(id, 3, 2, 'PolynomialSharingGF2_8', {}, own);
      expect(await material(own, await joined([parts[1] as string, parts[2] as string], {}, own)), version).toBe(toHex(KEY));
      await own.close();
    }
    const newest = await target.connect('alice', '3.0');
    const id = await registerKey(newest, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const parts = await split(id, 3, 2, 'PolynomialSharingGF2_8', { SplitKeyPolynomial: 'Polynomial_283' }, newest);
    expect(await material(newest, await joined([parts[0] as string, parts[2] as string], {}, newest))).toBe(toHex(KEY));
  });

  test('Undo takes parts, joined and derived keys back, and the links they left', async () => {
    const id = await registerKey(client, KEY, {
      algorithm: 'AES',
      mask: MASK.encrypt | MASK.derive,
    });
    const everything = async () => (await ask(client, 'Locate', {}))['UniqueIdentifier'];
    const before = await everything();
    const item = (operation: string, payload: Fields) => ({ operation, payload }) as never;
    const results = await client.batch(
      [
        item('CreateSplitKey', {
          ObjectType: 'SplitKey',
          UniqueIdentifier: id,
          SplitKeyParts: 2,
          SplitKeyThreshold: 2,
          SplitKeyMethod: 'XOR',
          Attributes: [],
        }),
        item('DeriveKey', {
          ObjectType: 'SymmetricKey',
          UniqueIdentifier: [id],
          DerivationMethod: 'HASH',
          DerivationParameters: { CryptographicParameters: { HashingAlgorithm: 'SHA_256' } },
          Attributes: AES128,
        }),
        item('Get', { UniqueIdentifier: '00000000-0000-4000-8000-000000000000' }),
      ],
      { BatchErrorContinuationOption: 'Undo' },
    );
    expect(results.map(({ status }) => status)).toEqual(['OperationUndone', 'OperationUndone', 'OperationFailed']);
    expect(await everything()).toEqual(before);
    const { Attributes } = await ask(client, 'GetAttributes', { UniqueIdentifier: id, AttributeReference: [{ name: 'Link' }] });
    expect(Attributes).toEqual([]);
  });
});
