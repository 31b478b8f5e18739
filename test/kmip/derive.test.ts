import { createCipheriv, createHash, createHmac, diffieHellman, generateKeyPairSync, hkdfSync, pbkdf2Sync } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, hex, MASK, material, refusal, registerKey, registerPair, registerSecret } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 120_000);
afterAll(() => target?.stop());

const KEY = hex('00112233445566778899aabbccddeeff');
const DATA = Buffer.from('label\0context');
const SALT = Buffer.from('salt');
const AES256 = [
  { name: 'CryptographicAlgorithm', value: 'AES' },
  { name: 'CryptographicLength', value: 256 },
  { name: 'CryptographicUsageMask', value: MASK.encrypt | MASK.decrypt },
];

const derive = async (
  UniqueIdentifier: string | readonly string[],
  DerivationMethod: string,
  DerivationParameters: Fields,
  more: Fields = {},
): Promise<string> => {
  const ids = typeof UniqueIdentifier === 'string' ? [UniqueIdentifier] : UniqueIdentifier;
  const made = await ask(client, 'DeriveKey', {
    ObjectType: 'SymmetricKey',
    UniqueIdentifier: ids,
    DerivationMethod,
    DerivationParameters,
    Attributes: AES256,
    ...more,
  });
  return made['UniqueIdentifier'] as string;
};
const refused = (UniqueIdentifier: string | readonly string[], DerivationMethod: string, DerivationParameters: Fields, more: Fields = {}) =>
  refusal(client, 'DeriveKey', {
    ObjectType: 'SymmetricKey',
    UniqueIdentifier: typeof UniqueIdentifier === 'string' ? [UniqueIdentifier] : UniqueIdentifier,
    DerivationMethod,
    DerivationParameters,
    Attributes: AES256,
    ...more,
  });

const number32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
/** SP 800-108 with HMAC for 32 bytes, info ‖ [L]. */
const sp800108 = (mode: 'C' | 'F' | 'DPI', hash: string, iv = Buffer.alloc(0)): string => {
  const prf = (...parts: Uint8Array[]) => createHmac(hash, KEY).update(Buffer.concat(parts)).digest();
  const fixed = Buffer.concat([DATA, number32(256)]);
  let [block, chain, out] = [iv, fixed, Buffer.alloc(0)];
  for (let i = 1; out.length < 32; i += 1) {
    if (mode === 'DPI') chain = prf(chain);
    block = prf(mode === 'C' ? Buffer.alloc(0) : mode === 'F' ? block : chain, number32(i), fixed);
    out = Buffer.concat([out, block]);
  }
  return out.subarray(0, 32).toString('hex');
};

describe('Derive Key', () => {
  test('PBKDF2, HASH, HMAC, HKDF and the SP 800-108 methods give what their standards say', async () => {
    const base = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.derive | MASK.encrypt });
    const value = async (method: string, parameters: Fields) => material(client, await derive(base, method, parameters));
    expect(await value('PBKDF2', { Salt: SALT, IterationCount: 1000, CryptographicParameters: { HashingAlgorithm: 'SHA_512' } })).toBe(
      pbkdf2Sync(KEY, SALT, 1000, 32, 'sha512').toString('hex'),
    );
    expect(await value('PBKDF2', { Salt: SALT, IterationCount: 2 })).toBe(pbkdf2Sync(KEY, SALT, 2, 32, 'sha1').toString('hex'));
    expect(await value('HASH', { CryptographicParameters: { HashingAlgorithm: 'SHA_256' }, DerivationData: DATA })).toBe(
      createHash('sha256').update(KEY).update(DATA).digest('hex'),
    );
    expect(await value('HMAC', { CryptographicParameters: { HashingAlgorithm: 'SHA_384' }, DerivationData: DATA })).toBe(
      createHmac('sha384', KEY).update(DATA).digest('hex').slice(0, 64),
    );
    expect(await value('HKDF', { Salt: SALT, DerivationData: DATA })).toBe(
      Buffer.from(hkdfSync('sha256', KEY, SALT, DATA, 32)).toString('hex'),
    );
    expect(await value('HKDF', { CryptographicParameters: { HashingAlgorithm: 'SHA_1' } })).toBe(
      Buffer.from(hkdfSync('sha1', KEY, '', '', 32)).toString('hex'),
    );
    const iv = Buffer.alloc(20, 9);
    for (const [name, hash] of [
      ['SHA_256', 'sha256'],
      ['SHA_1', 'sha1'],
      ['SHA_512', 'sha512'],
    ] as const) {
      const CryptographicParameters = { HashingAlgorithm: name };
      expect(await value('NIST800_108_C', { CryptographicParameters, DerivationData: DATA }), name).toBe(sp800108('C', hash));
      expect(await value('NIST800_108_F', { CryptographicParameters, DerivationData: DATA, InitializationVector: iv }), name).toBe(
        sp800108('F', hash, iv),
      );
      expect(await value('NIST800_108_DPI', { CryptographicParameters, DerivationData: DATA }), name).toBe(sp800108('DPI', hash));
    }
    // Without a hash an AES key's PRF is CMAC, in all three.
    for (const method of ['NIST800_108_C', 'NIST800_108_F', 'NIST800_108_DPI'])
      expect(await value(method, { DerivationData: DATA })).toMatch(/^[0-9a-f]{64}$/);
  });

  test('ENCRYPT: the encrypted derivation data is the key; without an IV it is zero', async () => {
    const base = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.derive });
    const data = Buffer.alloc(32, 'derivation data ');
    for (const [parameters, name, iv] of [
      [{ BlockCipherMode: 'ECB' }, 'aes-128-ecb', null],
      [{ BlockCipherMode: 'CBC' }, 'aes-128-cbc', Buffer.alloc(16)],
    ] as const) {
      const id = await derive(base, 'ENCRYPT', { CryptographicParameters: parameters, DerivationData: data });
      const cipher = createCipheriv(name, KEY, iv).setAutoPadding(false);
      expect(await material(client, id)).toBe(cipher.update(data).toString('hex'));
    }
    const iv = Buffer.alloc(16, 3);
    const own = await derive(base, 'ENCRYPT', {
      CryptographicParameters: { BlockCipherMode: 'CBC' },
      DerivationData: data,
      InitializationVector: iv,
    });
    expect(await material(client, own)).toBe(createCipheriv('aes-128-cbc', KEY, iv).update(data).toString('hex'));
    expect(await refused(base, 'ENCRYPT', { DerivationData: data }), 'no mode').toBe('BadCryptographicParameters');
  });

  test('the derivation data may be a Secret Data object, whose value stays in the root', async () => {
    const base = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.derive });
    const secret = await registerSecret(client, DATA, MASK.derive);
    const CryptographicParameters = { HashingAlgorithm: 'SHA_256' };
    const expected = createHmac('sha256', KEY).update(DATA).digest('hex');
    expect(await material(client, await derive([base, secret], 'HMAC', { CryptographicParameters }))).toBe(expected);
    expect(await material(client, await derive([secret, base], 'HMAC', { CryptographicParameters })), 'in either order').toBe(expected);
    expect(await material(client, await derive([base, secret], 'NIST800_108_C', { CryptographicParameters }))).toBe(
      sp800108('C', 'sha256'),
    );
    expect(await refused([base, secret], 'HMAC', { CryptographicParameters, DerivationData: DATA }), 'both').toBe('InvalidField');
    const shy = await registerSecret(client, DATA, 0);
    expect(await refused([base, shy], 'HMAC', { CryptographicParameters })).toBe('IncompatibleCryptographicUsageMask');
  });

  test('key agreement of two pairs gives both the same key', async () => {
    const pairs = [
      generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
      generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
    ] as const;
    const [one, two] = await Promise.all(
      pairs.map((pair) =>
        registerPair(
          client,
          {
            pkcs8: new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' })),
            spki: new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' })),
          },
          { algorithm: 'EC', length: 256, privateMask: MASK.derive, publicMask: MASK.derive },
        ),
      ),
    );
    if (one === undefined || two === undefined) throw new Error('no pairs');
    const expected = diffieHellman({ privateKey: pairs[0].privateKey, publicKey: pairs[1].publicKey }).toString('hex');
    const parameters = { CryptographicParameters: { CryptographicAlgorithm: 'ECDH' } };
    expect(await material(client, await derive([one.privateKey, two.publicKey], 'AsymmetricKey', parameters))).toBe(expected);
    expect(await material(client, await derive([one.publicKey, two.privateKey], 'AsymmetricKey', parameters))).toBe(expected);
    expect(await refused([one.privateKey, two.privateKey], 'AsymmetricKey', parameters)).toBe('InvalidObjectType');
    expect(await refused(one.privateKey, 'AsymmetricKey', parameters)).toBe('InvalidField');
  });

  test('links run both ways; secret data and HMAC keys of any length come out', async () => {
    const base = await registerSecret(client, Buffer.from('password'), MASK.derive);
    const id = await derive(
      base,
      'PBKDF2',
      { Salt: SALT, IterationCount: 10, CryptographicParameters: { HashingAlgorithm: 'SHA_256' } },
      {
        ObjectType: 'SecretData',
        Attributes: [
          { name: 'CryptographicLength', value: 384 },
          { name: 'CryptographicUsageMask', value: MASK.derive },
        ],
      },
    );
    expect(await material(client, id)).toBe(pbkdf2Sync('password', SALT, 10, 48, 'sha256').toString('hex'));
    const linksOf = async (of: string) => {
      const answer = await ask(client, 'GetAttributes', { UniqueIdentifier: of, AttributeReference: [{ name: 'Link' }] });
      return (answer['Attributes'] as readonly { value: Fields }[]).map(({ value }) => [
        value['LinkType'],
        value['LinkedObjectIdentifier'],
      ]);
    };
    expect(await linksOf(id)).toEqual([['DerivationBaseObjectLink', base]]);
    expect(await linksOf(base)).toEqual([['DerivedKeyLink', id]]);
    const hmac = await derive(
      base,
      'HKDF',
      {},
      {
        Attributes: [
          { name: 'CryptographicAlgorithm', value: 'HMAC_SHA256' },
          { name: 'CryptographicLength', value: 160 },
          { name: 'CryptographicUsageMask', value: MASK.mac },
        ],
      },
    );
    expect(await material(client, hmac)).toBe(Buffer.from(hkdfSync('sha256', 'password', '', '', 20)).toString('hex'));
  });

  test('what cannot be derived is refused', async () => {
    const base = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.derive });
    const noDerive = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.encrypt });
    const inactive = await registerKey(client, KEY, { algorithm: 'AES', mask: MASK.derive, inactive: true });
    const sha256 = { CryptographicParameters: { HashingAlgorithm: 'SHA_256' } };
    expect(await refused(noDerive, 'HASH', sha256)).toBe('IncompatibleCryptographicUsageMask');
    expect(await refused(inactive, 'HASH', sha256)).toBe('WrongKeyLifecycleState');
    expect(await refused(base, 'HASH', {})).toBe('InvalidField');
    expect(await refused(base, 'HMAC', sha256), 'no data').toBe('InvalidField');
    expect(await refused(base, 'PBKDF2', { IterationCount: 10 }), 'no salt').toBe('InvalidField');
    expect(await refused(base, 'PBKDF2', { Salt: SALT, IterationCount: 0 })).toBe('InvalidField');
    expect(await refused(base, 'PBKDF2', { Salt: SALT, IterationCount: 0x7fff_ffff }), 'hours of work').not.toBe('no refusal');
    expect(await refused(base, 'HASH', { CryptographicParameters: { HashingAlgorithm: 'SHA_1' } }), '20 bytes are no AES-256 key').not.toBe(
      'no refusal',
    );
    expect(await refused(base, 'AWSSignatureVersion4', { DerivationData: DATA })).toBe('FeatureNotSupported');
    expect(await refused([base, base, base], 'HASH', sha256)).toBe('InvalidField');
    expect(await refused(base, 'HASH', sha256, { ObjectType: 'PrivateKey' })).toBe('InvalidObjectType');
    const stranger = await target.connect('stranger');
    expect(
      await refusal(stranger, 'DeriveKey', {
        ObjectType: 'SymmetricKey',
        UniqueIdentifier: [base],
        DerivationMethod: 'HASH',
        DerivationParameters: sha256,
        Attributes: AES256,
      }),
    ).toMatch(/^(Item|Object)NotFound$/);
  });
});
