import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { ENUMERATIONS, type Fields, type KmipVersion } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
}, 60_000);
afterAll(() => target.stop());

const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');
const mask = (value: number) => ({ name: 'CryptographicUsageMask', value });
const ACTIVE = { name: 'ActivationDate', value: 1n };
const block = (format: string, material: Uint8Array | Fields, algorithm?: string, length?: number): Fields => ({
  KeyBlock: {
    KeyFormatType: format,
    KeyValue: { KeyMaterial: material },
    ...(algorithm === undefined ? {} : { CryptographicAlgorithm: algorithm, CryptographicLength: length }),
  },
});
const register = async (type: string, object: Fields, attributes: readonly object[], from = client): Promise<string> =>
  (await from.request('Register', { ObjectType: type, Attributes: attributes, [type]: object } as never)).UniqueIdentifier as string;
const get = async (id: string, rest: object = {}, from = client): Promise<Fields> => {
  const answer = (await from.request('Get', { UniqueIdentifier: id, ...rest } as never)) as unknown as Record<string, Fields>;
  return answer[String(answer['ObjectType'])] as Fields;
};
const blockOf = async (id: string, rest: object = {}, from = client): Promise<Fields> => (await get(id, rest, from))['KeyBlock'] as Fields;
const materialOf = (keyBlock: Fields): unknown => (keyBlock['KeyValue'] as Fields)['KeyMaterial'];
const attributesOf = async (id: string, ...names: string[]): Promise<readonly { name: string; value: unknown }[]> => {
  const references = names.length === 0 ? {} : { AttributeReference: names.map((name) => ({ name })) };
  return (await client.request('GetAttributes', { UniqueIdentifier: id, ...references } as never)).Attributes as never;
};
const reasonOf = async (run: Promise<unknown>): Promise<string> => {
  const error = (await run.then(
    () => undefined,
    (failure: unknown) => failure,
  )) as { reason?: string } | undefined;
  return String(error?.reason);
};
const der = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1' | 'spki'): Uint8Array =>
  new Uint8Array(key.export({ format: 'der', type } as never) as never);

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

describe('keys come back as they were registered, and in other formats when asked', () => {
  const RSA_FORMS = ['PKCS_1', 'PKCS_8', 'TransparentRSAPrivateKey'];
  test.each(RSA_FORMS)('an RSA private key registered as %s', async (format) => {
    const source = await register('PrivateKey', block('PKCS_1', der(rsa.privateKey, 'pkcs1'), 'RSA', 2048), [mask(1)]);
    const material = materialOf(await blockOf(source, { KeyFormatType: format })) as Uint8Array;
    const id = await register('PrivateKey', block(format, material, 'RSA', 2048), [mask(1)]);
    const back = await blockOf(id);
    expect(back).toMatchObject({ KeyFormatType: format, CryptographicAlgorithm: 'RSA', CryptographicLength: 2048 });
    expect(back['Attributes']).toBeUndefined();
    expect(hex(materialOf(await blockOf(id, { KeyFormatType: 'PKCS_8' })))).toBe(hex(der(rsa.privateKey, 'pkcs8')));
    expect(hex(materialOf(await blockOf(id, { KeyFormatType: 'PKCS_1' })))).toBe(hex(der(rsa.privateKey, 'pkcs1')));
  });

  test('an EC private key in each of its formats', async () => {
    const id = await register('PrivateKey', block('ECPrivateKey', der(ec.privateKey, 'sec1'), 'EC', 256), [mask(1)]);
    expect(hex(materialOf(await blockOf(id)))).toBe(hex(der(ec.privateKey, 'sec1')));
    expect(hex(materialOf(await blockOf(id, { KeyFormatType: 'PKCS_8' })))).toBe(hex(der(ec.privateKey, 'pkcs8')));
    const structure = materialOf(await blockOf(id, { KeyFormatType: 'TransparentECPrivateKey' })) as Fields;
    expect(structure['RecommendedCurve']).toBe('P_256');
    const again = await register('PrivateKey', block('TransparentECPrivateKey', structure, 'EC', 256), [mask(1)]);
    expect(hex(materialOf(await blockOf(again, { KeyFormatType: 'PKCS_8' })))).toBe(hex(der(ec.privateKey, 'pkcs8')));
    expect(await reasonOf(get(id, { KeyFormatType: 'PKCS_1' }))).toBe('KeyFormatTypeNotSupported');
  });

  test('an EC public key, compressed and not', async () => {
    const id = await register('PublicKey', block('X_509', der(ec.publicKey, 'spki'), 'EC', 256), [mask(2)]);
    expect(hex(materialOf(await blockOf(id)))).toBe(hex(der(ec.publicKey, 'spki')));
    const compression = 'ECPublicKeyTypeX9_62CompressedPrime';
    const small = await blockOf(id, { KeyFormatType: 'TransparentECPublicKey', KeyCompressionType: compression });
    expect(small['KeyCompressionType']).toBe(compression);
    expect((materialOf(small) as { QString: Uint8Array }).QString.length).toBe(33);
    const again = await register('PublicKey', block('TransparentECPublicKey', materialOf(small) as Fields, 'EC', 256), [mask(2)]);
    expect((materialOf(await blockOf(again)) as { QString: Uint8Array }).QString.length).toBe(33);
    expect(hex(materialOf(await blockOf(again, { KeyFormatType: 'X_509' })))).toBe(hex(der(ec.publicKey, 'spki')));
    expect(await reasonOf(get(id, { KeyCompressionType: 'ECPublicKeyTypeX9_62CompressedChar2' }))).toBe('KeyCompressionTypeNotSupported');
  });

  test.each(['ed25519', 'x25519', 'ed448'])('an %s key', async (name) => {
    const pair = generateKeyPairSync(name as 'ed25519');
    const algorithm = name === 'x25519' ? 'ECDH' : name === 'ed448' ? 'Ed448' : 'Ed25519';
    const id = await register('PrivateKey', block('PKCS_8', der(pair.privateKey, 'pkcs8'), algorithm, name === 'ed448' ? 456 : 256), [
      mask(name === 'x25519' ? 0x800 : 1),
    ]);
    const structure = materialOf(await blockOf(id, { KeyFormatType: 'TransparentECPrivateKey' })) as Fields;
    expect(structure['RecommendedCurve']).toBe(name === 'ed448' ? 'CURVE448' : 'CURVE25519');
    expect(hex(materialOf(await blockOf(id)))).toBe(hex(der(pair.privateKey, 'pkcs8')));
  });

  test('a symmetric key raw and as a structure', async () => {
    const key = Buffer.alloc(32, 3);
    const id = await register('SymmetricKey', block('TransparentSymmetricKey', { Key: key }, 'AES', 256), [mask(0xc)]);
    expect(hex((materialOf(await blockOf(id)) as { Key: Uint8Array }).Key)).toBe(hex(key));
    expect(hex(materialOf(await blockOf(id, { KeyFormatType: 'Raw' })))).toBe(hex(key));
    expect(await reasonOf(get(id, { KeyFormatType: 'PKCS_8' }))).toBe('KeyFormatTypeNotSupported');
  });

  test('an RSA pair made here is given in the formats that clients ask for', async () => {
    const made = await client.request('CreateKeyPair', {
      CommonAttributes: [
        { name: 'CryptographicAlgorithm', value: 'RSA' },
        { name: 'CryptographicLength', value: 2048 },
      ],
      PrivateKeyAttributes: [mask(1)],
      PublicKeyAttributes: [mask(2)],
    } as never);
    const privateBlock = await blockOf(made.PrivateKeyUniqueIdentifier as string);
    expect(privateBlock).toMatchObject({ KeyFormatType: 'PKCS_1', CryptographicAlgorithm: 'RSA', CryptographicLength: 2048 });
    const key = createPrivateKey({ key: Buffer.from(materialOf(privateBlock) as Uint8Array), format: 'der', type: 'pkcs1' });
    const publicBlock = await blockOf(made.PublicKeyUniqueIdentifier as string, { KeyFormatType: 'X_509' });
    expect(hex(materialOf(publicBlock))).toBe(hex(der(createPublicKey(key), 'spki')));
  });
});

describe('keys no root of trust uses are kept all the same', () => {
  test.each([
    ['a Blowfish key', 'SymmetricKey', () => block('Raw', Buffer.alloc(20, 4), 'Blowfish', 160)],
    ['an AES key of a length that AES does not have', 'SymmetricKey', () => block('Raw', Buffer.alloc(20, 4), 'AES', 160)],
    ['an opaque key', 'SymmetricKey', () => block('Opaque', Buffer.from('anything'), 'AES', 128)],
    ['a key of a vendor’s format', 'SymmetricKey', () => block(0x80000001 as never, Buffer.from('vendor'), 'AES', 128)],
    [
      'an encrypted PKCS#8',
      'PrivateKey',
      () => block('PKCS_8', rsa.privateKey.export({ format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }), 'RSA', 2048),
    ],
  ])('%s', async (_, type, make) => {
    const object = make();
    const id = await register(type, object, [mask(0xc)]);
    const back = await blockOf(id);
    expect(hex(materialOf(back))).toBe(hex(materialOf(object['KeyBlock'] as Fields)));
    const { KeyValue: _value, ...facts } = object['KeyBlock'] as Fields;
    expect(back).toMatchObject(facts);
    const told = await attributesOf(id, 'CryptographicAlgorithm', 'CryptographicUsageMask');
    expect(told).toMatchObject([{ value: facts['CryptographicAlgorithm'] }, { value: 0xc }]);
  });

  test('DSA as a structure, and converted', async () => {
    const pair = generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 });
    const id = await register('PrivateKey', block('PKCS_8', der(pair.privateKey, 'pkcs8'), 'DSA', 1024), [mask(1)]);
    const structure = materialOf(await blockOf(id, { KeyFormatType: 'TransparentDSAPrivateKey' })) as Fields;
    const again = await register('PrivateKey', block('TransparentDSAPrivateKey', structure, 'DSA', 1024), [mask(1)]);
    const pkcs8 = materialOf(await blockOf(again, { KeyFormatType: 'PKCS_8' })) as Uint8Array;
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
    expect(hex(der(createPublicKey(key), 'spki'))).toBe(hex(der(pair.publicKey, 'spki')));
  });

  test('they cannot be used, and are destroyed like any other', async () => {
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(16, 4), 'Blowfish', 128), [mask(0xc)]);
    await client.request('Activate', { UniqueIdentifier: id });
    expect(await reasonOf(client.request('Encrypt', { UniqueIdentifier: id, Data: Buffer.alloc(8) } as never))).not.toBe('undefined');
    await client.request('Revoke', { UniqueIdentifier: id, RevocationReason: { RevocationReasonCode: 'CessationOfOperation' } });
    await client.request('Destroy', { UniqueIdentifier: id });
    expect(await reasonOf(get(id))).toBe('ObjectDestroyed');
  });
});

describe('other objects', () => {
  test('MongoDB: an opaque seed of 96 bytes with mask 0, in 1.0', async () => {
    const old = await target.connect('alice', '1.0');
    const seed = Buffer.alloc(96, 7);
    const id = await register('SecretData', { SecretDataType: 'Seed', ...block('Opaque', seed) }, [mask(0)], old);
    await old.request('Activate', { UniqueIdentifier: id });
    const back = await get(id, {}, old);
    expect(back['SecretDataType']).toBe('Seed');
    expect(hex(materialOf(back['KeyBlock'] as Fields))).toBe(hex(seed));
    expect((back['KeyBlock'] as Fields)['CryptographicAlgorithm']).toBeUndefined();
  });

  test('TrueNAS: a password without a mask, in 1.2', async () => {
    const old = await target.connect('alice', '1.2');
    const name = { name: 'Name', value: { NameValue: 'nas-password', NameType: 'UninterpretedTextString' } };
    const id = await register('SecretData', { SecretDataType: 'Password', ...block('Opaque', Buffer.from('hunter2')) }, [name], old);
    await old.request('Activate', { UniqueIdentifier: id });
    expect(Buffer.from(materialOf(await blockOf(id, {}, old)) as Uint8Array).toString()).toBe('hunter2');
    await old.request('Revoke', { UniqueIdentifier: id, RevocationReason: { RevocationReasonCode: 'CessationOfOperation' } });
    await old.request('Destroy', { UniqueIdentifier: id });
  });

  test('Percona: the answer to Get fits into 8 KiB and carries no attribute', async () => {
    const old = await target.connect('alice', '1.0');
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 1), 'AES', 256), [mask(0xc)], old);
    const back = await blockOf(id, {}, old);
    expect(Object.keys(back['KeyValue'] as Fields)).toEqual(['KeyMaterial']);
  });

  test('opaque objects, split key parts and PGP keys', async () => {
    const opaque = await register('OpaqueObject', { OpaqueDataType: 0x80000001, OpaqueDataValue: Buffer.from('opaque') }, []);
    expect(await get(opaque)).toMatchObject({ OpaqueDataType: 0x80000001 });
    expect(hex((await get(opaque))['OpaqueDataValue'])).toBe(hex(Buffer.from('opaque')));
    const part = { SplitKeyParts: 3, KeyPartIdentifier: 1, SplitKeyThreshold: 2, SplitKeyMethod: 'XOR' };
    const split = await register('SplitKey', { ...part, ...block('Raw', Buffer.alloc(16, 2), 'AES', 128) }, [mask(0xc)]);
    expect(await get(split)).toMatchObject(part);
    const pgp = await register('PGPKey', { PGPKeyVersion: 4, ...block('Raw', Buffer.from('-----BEGIN PGP'), 'RSA', 2048) }, [mask(1)]);
    expect(await get(pgp)).toMatchObject({ PGPKeyVersion: 4 });
  });

  test('a key whose value is elsewhere', async () => {
    const location = {
      name: 'KeyValueLocation',
      value: { KeyValueLocationValue: 'HSM-1', KeyValueLocationType: 'UninterpretedTextString' },
    };
    const object = { KeyBlock: { KeyFormatType: 'Raw', CryptographicAlgorithm: 'AES', CryptographicLength: 128 } };
    const id = await register('SymmetricKey', object, [mask(0xc), location]);
    expect((await blockOf(id))['KeyValue']).toBeUndefined();
    expect(await attributesOf(id, 'KeyValuePresent')).toMatchObject([{ value: false }]);
  });

  test('certificates and requests are kept as DER and tell about themselves', async () => {
    const pem = target.identities.alice.cert;
    const certificate = new X509Certificate(pem);
    const id = await register('Certificate', { CertificateType: 'X_509', CertificateValue: certificate.raw }, [mask(2)]);
    expect(hex((await get(id))['CertificateValue'])).toBe(hex(certificate.raw));
    const asText = await register('Certificate', { CertificateType: 'X_509', CertificateValue: Buffer.from(pem) }, []);
    expect(hex((await get(asText))['CertificateValue'])).toBe(hex(certificate.raw));
    expect(await attributesOf(id, 'CertificateLength')).toMatchObject([{ value: certificate.raw.length }]);
    const request = execFileSync(
      'openssl',
      ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null', '-subj', '/CN=r', '-outform', 'DER'],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const csr = await register('CertificateRequest', { CertificateRequestType: 'PKCS_10', CertificateRequestValue: request }, []);
    expect(hex((await get(csr))['CertificateRequestValue'])).toBe(hex(request));
    expect(await reasonOf(get(id, { KeyFormatType: 'PKCS_8' }))).toBe('KeyFormatTypeNotSupported');
  });
});

describe('certificates of keys that nobody here can use', () => {
  const der = (): Buffer =>
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        '/dev/null',
        '-subj',
        '/CN=odd',
        '-days',
        '2',
        '-outform',
        'DER',
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
  /** One byte of it changed, some way after a marker. */
  const changed = (marker: string, after: number): Buffer => {
    const bytes = der();
    const at = bytes.indexOf(Buffer.from(marker, 'hex')) + marker.length / 2 + after;
    bytes[at] = (bytes[at] as number) ^ 0x15;
    return bytes;
  };
  test.each([
    ['an unknown algorithm', () => changed('2a8648ce3d02', 0)],
    ['an unknown curve', () => changed('2a8648ce3d0301', 0)],
    ['a point that is not on the curve', () => changed('034200', 10)],
  ])('%s', async (_, make) => {
    const bytes = make();
    const id = await register('Certificate', { CertificateType: 'X_509', CertificateValue: bytes }, [mask(2)]);
    expect(hex((await get(id))['CertificateValue'])).toBe(hex(bytes));
    expect(await attributesOf(id, 'CertificateSubjectCN', 'ObjectType')).toContainEqual(expect.objectContaining({ value: 'Certificate' }));
    const verdict = await client.request('Validate', { UniqueIdentifier: [id] } as never);
    expect(verdict.ValidityIndicator).not.toBe('Valid');
  });
});

describe('whatever key block comes', () => {
  const FORMATS = ENUMERATIONS.find(({ name }) => name === 'KeyFormatType')?.values.map(({ name }) => name) ?? [];
  const MATERIALS: readonly (readonly [string, Uint8Array | Fields])[] = [
    ['no bytes', new Uint8Array(0)],
    ['bytes without structure', Buffer.alloc(32, 0x30)],
    ['a structure without numbers', {}],
    [
      'a structure of wrong numbers',
      {
        Modulus: Buffer.alloc(8),
        P: Buffer.alloc(8),
        Q: Buffer.alloc(8),
        G: Buffer.alloc(8),
        X: Buffer.alloc(8),
        Y: Buffer.alloc(8),
        D: Buffer.alloc(8),
        RecommendedCurve: 'P_256',
        QString: Buffer.alloc(8),
      },
    ],
  ];
  const TYPES = ['SymmetricKey', 'PrivateKey', 'PublicKey', 'SecretData'] as const;

  test.each(TYPES)('a %s is refused with a reason or comes back', async (type) => {
    const version = await target.connect('alice', '2.1');
    for (const format of FORMATS.filter((name) => !/ECDSA|ECDH|ECMQV/.test(name))) {
      for (const [, material] of MATERIALS) {
        const object = { ...(type === 'SecretData' ? { SecretDataType: 'Seed' } : {}), ...block(format, material, 'RSA', 2048) };
        try {
          const id = await register(type, object, [mask(1)], version);
          const back = await blockOf(id, {}, version);
          if (material instanceof Uint8Array) expect(hex(materialOf(back))).toBe(hex(material));
        } catch (error) {
          const { reason } = error as { reason?: string };
          expect(`${format}: ${reason}`).toMatch(/: (InvalidField|InvalidMessage|BadPassword|InvalidDataType|KeyFormatTypeNotSupported)$/);
        }
      }
    }
  });
});

describe('what describes a key', () => {
  test('Digest is of the material in its format', async () => {
    const key = Buffer.alloc(16, 8);
    const id = await register('SymmetricKey', block('Raw', key, 'AES', 128), [mask(0xc)]);
    const [digest] = (await attributesOf(id, 'Digest')).map(({ value }) => value as Fields);
    const sum = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: key });
    expect(digest).toMatchObject({ HashingAlgorithm: 'SHA_256', KeyFormatType: 'Raw' });
    expect(hex(digest?.['DigestValue'])).toBe(hex(sum));
  });

  test('the block says what the key is when the request says less, and attributes inside the key value count', async () => {
    const inner = {
      KeyBlock: {
        ...(block('Raw', Buffer.alloc(32, 1), 'AES', 256)['KeyBlock'] as Fields),
        KeyValue: { KeyMaterial: Buffer.alloc(32, 1), Attributes: [mask(0xc)] },
      },
    };
    const id = await register('SymmetricKey', inner, []);
    expect(await attributesOf(id, 'CryptographicLength', 'CryptographicUsageMask')).toMatchObject([{ value: 256 }, { value: 0xc }]);
  });

  test('Fresh is true until the key was served', async () => {
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 1), 'AES', 256), [mask(0xc)]);
    expect(await attributesOf(id, 'Fresh')).toMatchObject([{ value: true }]);
    await get(id);
    expect(await attributesOf(id, 'Fresh')).toMatchObject([{ value: false }]);
  });
});

describe('PKCS#12', () => {
  test('needs one active password that opens it', async () => {
    const pem = rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    const file = execFileSync('openssl', ['pkcs12', '-export', '-nocerts', '-passout', 'pass:secret'], {
      input: pem,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const object = { KeyBlock: { KeyFormatType: 'PKCS_12', KeyValue: { KeyMaterial: file } } };
    const password = (text: string, more: readonly object[]) =>
      register('SecretData', { SecretDataType: 'Password', ...block('Opaque', Buffer.from(text)) }, [mask(0), ...more]);
    const link = (id: string) => ({ name: 'Link', value: { LinkType: 'PKCS_12PasswordLink', LinkedObjectIdentifier: id } });
    const active = await password('secret', [ACTIVE]);
    expect(await reasonOf(register('PrivateKey', object, [mask(1)]))).toBe('BadPassword');
    expect(await reasonOf(register('PrivateKey', object, [mask(1), link(await password('secret', []))]))).toBe('BadPassword');
    expect(await reasonOf(register('PrivateKey', object, [mask(1), link(await password('wrong', [ACTIVE]))]))).toBe('BadPassword');
    const id = await register('PrivateKey', object, [mask(1), link(active)]);
    expect(hex(materialOf(await blockOf(id)))).toBe(hex(der(rsa.privateKey, 'pkcs8')));
    const written = (await blockOf(id, { KeyFormatType: 'PKCS_12' }))['KeyValue'] as Uint8Array;
    const opened = execFileSync('openssl', ['pkcs12', '-nodes', '-nocerts', '-passin', 'pass:secret'], {
      input: written,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    expect(hex(der(createPrivateKey(opened), 'pkcs8'))).toBe(hex(der(rsa.privateKey, 'pkcs8')));
  });
});

describe('Export and Import', () => {
  const exported = async (id: string): Promise<Fields> =>
    (await client.request('Export', { UniqueIdentifier: id } as never)) as unknown as Fields;

  test('an object comes back with its identifier, its attributes and its state', async () => {
    const name = { name: 'Name', value: { NameValue: 'traveller', NameType: 'UninterpretedTextString' } };
    const own = { vendor: 'x', name: 'Team', value: { tag: 0x42000b, type: 7, value: 'storage' } };
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 6), 'AES', 256), [mask(0xc), ACTIVE, name, own]);
    const all = await exported(id);
    expect(all['ObjectType']).toBe('SymmetricKey');
    const request = { UniqueIdentifier: id, ObjectType: 'SymmetricKey', Attributes: all['Attributes'], SymmetricKey: all['SymmetricKey'] };
    expect(await reasonOf(client.request('Import', request as never))).toBe('ObjectAlreadyExists');
    const again = await client.request('Import', { ...request, ReplaceExisting: true } as never);
    expect(again.UniqueIdentifier).toBe(id);
    expect(hex(materialOf(await blockOf(id)))).toBe('06'.repeat(32));
    const told = await attributesOf(id, 'State', 'Name', 'InitialDate');
    expect(told.find((one) => one.name === 'State')?.value).toBe('Active');
    expect(told.find((one) => one.name === 'Name')?.value).toMatchObject({ NameValue: 'traveller' });
    const before = (all['Attributes'] as unknown as readonly { name: string; value: unknown }[]).find((one) => one.name === 'InitialDate');
    expect(told.find((one) => one.name === 'InitialDate')?.value).toBe(before?.value);
  });

  test('replacing takes the old material away', async () => {
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 6), 'AES', 256), [mask(0xc)]);
    const next = {
      UniqueIdentifier: id,
      ObjectType: 'SymmetricKey',
      ReplaceExisting: true,
      Attributes: [mask(0xc)],
      SymmetricKey: block('Raw', Buffer.alloc(16, 9), 'AES', 128),
    };
    await client.request('Import', next as never);
    expect(hex(materialOf(await blockOf(id)))).toBe('09'.repeat(16));
    const view = await target.admin('get-object', { key: id });
    expect(view.versions.map(({ state }) => state)).toEqual(['destroyed', 'current']);
  });

  test('another server’s identifier is answered with one of ours', async () => {
    const request = {
      UniqueIdentifier: '42',
      ObjectType: 'SymmetricKey',
      Attributes: [mask(0xc)],
      SymmetricKey: block('Raw', Buffer.alloc(16, 9), 'AES', 128),
    };
    const { UniqueIdentifier: id } = await client.request('Import', request as never);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(hex(materialOf(await blockOf(id as string)))).toBe('09'.repeat(16));
  });

  test('what comes wrapped is unwrapped before it is stored, when asked', async () => {
    const kek = await register('SymmetricKey', block('Raw', Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'), 'AES', 128), [
      mask(0x30),
      ACTIVE,
    ]);
    const wrapped = {
      KeyBlock: {
        KeyFormatType: 'Raw',
        KeyValue: Buffer.from('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5', 'hex'),
        CryptographicAlgorithm: 'AES',
        CryptographicLength: 128,
        KeyWrappingData: { WrappingMethod: 'Encrypt', EncryptionKeyInformation: { UniqueIdentifier: kek }, EncodingOption: 'NoEncoding' },
      },
    };
    const request = {
      UniqueIdentifier: 'elsewhere',
      ObjectType: 'SymmetricKey',
      KeyWrapType: 'NotWrapped',
      Attributes: [mask(0xc), ACTIVE],
      SymmetricKey: wrapped,
    };
    const { UniqueIdentifier: id } = await client.request('Import', request as never);
    expect(hex(materialOf(await blockOf(id as string)))).toBe('00112233445566778899aabbccddeeff');
    const gone = {
      ...request,
      SymmetricKey: {
        KeyBlock: {
          ...wrapped.KeyBlock,
          KeyWrappingData: { ...wrapped.KeyBlock.KeyWrappingData, EncryptionKeyInformation: { UniqueIdentifier: 'gone' } },
        },
      },
    };
    expect(await reasonOf(client.request('Import', gone as never))).toBe('WrappingObjectNotFound');
  });

  test('of a destroyed object the attributes are left', async () => {
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 6), 'AES', 256), [mask(0xc)]);
    await client.request('Destroy', { UniqueIdentifier: id });
    const all = await exported(id);
    expect(((all['SymmetricKey'] as Fields)['KeyBlock'] as Fields)['KeyValue']).toBeUndefined();
    expect(all['Attributes']).toEqual(expect.arrayContaining([expect.objectContaining({ name: 'State', value: 'Destroyed' })]));
  });

  test('nobody replaces, or learns of, another tenant’s object', async () => {
    const id = await register('SymmetricKey', block('Raw', Buffer.alloc(32, 6), 'AES', 256), [mask(0xc)]);
    const stranger = await target.connect('stranger');
    const request = {
      UniqueIdentifier: id,
      ObjectType: 'SymmetricKey',
      ReplaceExisting: true,
      Attributes: [mask(0xc)],
      SymmetricKey: block('Raw', Buffer.alloc(32, 1), 'AES', 256),
    };
    await stranger.request('Import', request as never).catch(() => undefined);
    expect(hex(materialOf(await blockOf(id)))).toBe('06'.repeat(32));
  });
});

test.each(['1.0', '1.1', '1.2', '1.3', '1.4', '2.0', '2.1', '3.0'] as readonly KmipVersion[])('Veeam’s sequence in %s', async (version) => {
  const own = await target.connect('alice', version);
  const made = await own.request('CreateKeyPair', {
    CommonAttributes: [
      { name: 'CryptographicAlgorithm', value: 'RSA' },
      { name: 'CryptographicLength', value: 2048 },
    ],
    PrivateKeyAttributes: [mask(0x2b)],
    PublicKeyAttributes: [mask(0x16)],
  } as never);
  for (const [id, format] of [
    [made.PublicKeyUniqueIdentifier as string, 'X_509'],
    [made.PrivateKeyUniqueIdentifier as string, 'PKCS_8'],
  ] as const) {
    await own.request('Activate', { UniqueIdentifier: id });
    const back = await blockOf(id, { KeyFormatType: format }, own);
    expect(Object.keys(back['KeyValue'] as Fields)).toEqual(['KeyMaterial']);
    expect(back).toMatchObject({ CryptographicAlgorithm: 'RSA', CryptographicLength: 2048 });
  }
});
