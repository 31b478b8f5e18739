import { randomBytes } from 'node:crypto';
import type { KmipVersion } from '@aegis/kmip-ttlv';
import { expect } from 'vitest';
import type { KmipTarget } from '../kmip-target.js';
import type { ClientSequence } from './client-sequence.js';
import {
  aes,
  all,
  at,
  attribute,
  attributeIn,
  bool,
  bytes,
  choice,
  date,
  id,
  idOf,
  idsOf,
  int,
  name,
  now,
  RawClient,
  struct,
  text,
} from './raw-client.js';

// Databases and backup products.

const unique = (prefix: string): string => `${prefix}-${randomBytes(6).toString('hex')}`;
const mask = (value: number) => attribute('Cryptographic Usage Mask', int('CryptographicUsageMask', value));
const rawAes = (material: Uint8Array) =>
  struct(
    'SymmetricKey',
    struct(
      'KeyBlock',
      choice('KeyFormatType', 'Raw'),
      struct('KeyValue', bytes('KeyMaterial', material)),
      choice('CryptographicAlgorithm', 'AES'),
      int('CryptographicLength', material.length * 8),
    ),
  );
const secret = (type: string, format: string, material: Uint8Array) =>
  struct(
    'SecretData',
    choice('SecretDataType', type),
    struct('KeyBlock', choice('KeyFormatType', format), struct('KeyValue', bytes('KeyMaterial', material))),
  );
const cbc = (...more: Parameters<typeof struct>[1][]) =>
  struct(
    'CryptographicParameters',
    choice('BlockCipherMode', 'CBC'),
    choice('PaddingMethod', 'PKCS5'),
    choice('CryptographicAlgorithm', 'AES'),
    ...more,
  );

async function mongoFieldLevel(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target);
  const master = randomBytes(96);
  const key = idOf(
    await client.must('1.0', 'Register', [
      choice('ObjectType', 'SecretData'),
      struct('TemplateAttribute', mask(0)),
      secret('Seed', 'Opaque', master),
    ]),
  );
  await client.must('1.0', 'Activate', [id(key)]);
  const got = await client.must('1.0', 'Get', [id(key)]);
  expect(Buffer.from(at(got, 'SecretData', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array)).toEqual(master);
  expect(at(got, 'SecretData', 'SecretDataType')).toBe(choice('SecretDataType', 'Seed').value);
  client.close();
}

async function mongoDelegated(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target);
  const key = idOf(
    await client.must('1.2', 'Create', [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, 0x0c))]),
  );
  await client.must('1.2', 'Activate', [id(key)]);
  const dataKey = randomBytes(96);
  const sealed = await client.must('1.2', 'Encrypt', [id(key), cbc(bool('RandomIV', true)), bytes('Data', dataKey)]);
  const nonce = at(sealed, 'IVCounterNonce') as Uint8Array;
  expect(nonce?.length, 'the IV is in the answer').toBe(16);
  const opened = await client.must('1.2', 'Decrypt', [
    id(key),
    cbc(),
    bytes('Data', at(sealed, 'Data') as Uint8Array),
    bytes('IVCounterNonce', nonce),
  ]);
  expect(Buffer.from(at(opened, 'Data') as Uint8Array)).toEqual(dataKey);
  client.close();
}

async function perconaMongo(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target);
  const header = () => [int('MaximumResponseSize', 8192), date('TimeStamp', now())];
  const material = randomBytes(32);
  const key = idOf(
    await client.must(
      '1.0',
      'Register',
      [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, 0x0c)), rawAes(material)],
      header(),
    ),
  );
  expect(idOf(await client.must('1.0', 'Activate', [id(key)], header()))).toBe(key);
  const [answer] = await client.ask({ version: '1.0', header: header(), items: [{ operation: 'Get', payload: [id(key)] }] });
  expect(answer?.bytes).toBeLessThanOrEqual(8192);
  const got = answer?.payload ?? struct('ResponsePayload');
  expect(idOf(got)).toBe(key);
  expect(Buffer.from(at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array)).toEqual(material);
  for (let i = 0; i < 3; i++) {
    const polled = await client.must('1.0', 'GetAttributes', [id(key), text('AttributeName', 'State')], header());
    expect(attributeIn(polled, 'State')).toBe(2);
  }
  expect(await client.refused('1.0', 'Get', [id('00000000-0000-0000-0000-000000000000')], header())).toBe('ItemNotFound');
  expect(await client.refused('1.0', 'Get', [id(key)], [int('MaximumResponseSize', 100), date('TimeStamp', now())])).toBe(
    'ResponseTooLarge',
  );
  client.close();
}

const perconaMySql = (spoken: KmipVersion) => async (target: KmipTarget) => {
  const client = await RawClient.open(target);
  const group = unique('mysql');
  const labels = Array.from({ length: 40 }, (_, i) => `${group}-${i}`);
  const made: string[] = [];
  for (const label of labels)
    made.push(
      idOf(
        await client.must(spoken, 'Register', [
          choice('ObjectType', 'SymmetricKey'),
          struct('TemplateAttribute', ...aes(256, 0x0c), name(label), attribute('Object Group', text('AttributeValue', group))),
          rawAes(randomBytes(32)),
        ]),
      ),
    );
  const password = idOf(
    await client.must(spoken, 'Register', [
      choice('ObjectType', 'SecretData'),
      struct('TemplateAttribute', name(`${group}-password`), attribute('Object Group', text('AttributeValue', group)), mask(0)),
      secret('Password', 'Raw', Buffer.from('hunter22')),
    ]),
  );
  const keys = await client.must(spoken, 'Locate', [
    attribute('Object Type', choice('ObjectType', 'SymmetricKey')),
    attribute('Object Group', text('AttributeValue', group)),
  ]);
  expect(idsOf(keys).sort(), 'more identifiers than 16 or 32').toEqual([...made].sort());
  const everything = idsOf(await client.must(spoken, 'Locate', []));
  for (const one of [...made, password]) expect(everything).toContain(one);
  for (const [i, key] of made.slice(0, 5).entries()) {
    await client.must(spoken, 'Get', [id(key)]);
    const attributes = await client.must(spoken, 'GetAttributes', [id(key), text('AttributeName', 'Name')]);
    expect(attributeIn(attributes, 'Name')).toMatchObject({ NameValue: labels[i] });
  }
  const key = made[0] as string;
  await client.must(spoken, 'Activate', [id(key)]);
  await client.must(spoken, 'Revoke', [
    id(key),
    struct('RevocationReason', choice('RevocationReasonCode', 'Unspecified'), text('RevocationMessage', 'rotated away')),
  ]);
  const reason = await client.must(spoken, 'GetAttributes', [id(key), text('AttributeName', 'Revocation Reason')]);
  expect(attributeIn(reason, 'Revocation Reason')).toMatchObject({ RevocationReasonCode: 1, RevocationMessage: 'rotated away' });
  await client.must(spoken, 'Destroy', [id(key)]);
  client.close();
};

async function pgTde(target: KmipTarget): Promise<void> {
  const label = unique('pg_tde');
  const material = randomBytes(16);
  const fresh = async <T>(work: (client: RawClient) => Promise<T>): Promise<T> => {
    const client = await RawClient.open(target);
    try {
      return await work(client);
    } finally {
      client.close();
    }
  };
  const key = await fresh(async (client) =>
    idOf(
      await client.must('1.4', 'Register', [
        choice('ObjectType', 'SymmetricKey'),
        struct('TemplateAttribute', ...aes(128, 0x0c), name(label)),
        rawAes(material),
      ]),
    ),
  );
  expect(key.length).toBeLessThanOrEqual(127);
  const found = await fresh((client) =>
    client.must('1.4', 'Locate', [int('MaximumItems', 16), attribute('Object Type', choice('ObjectType', 'SymmetricKey')), name(label)]),
  );
  expect(idsOf(found)).toEqual([key]);
  const got = await fresh((client) => client.must('1.4', 'Get', [id(key)]));
  expect(Buffer.from(at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array)).toEqual(material);
}

async function mySqlOkv(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target);
  const header = [int('MaximumResponseSize', 280_000)];
  const label = unique('okv');
  const key = idOf(
    await client.must(
      '1.1',
      'Create',
      [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, 0x0c, 0), name(label, 0))],
      header,
    ),
  );
  await client.must('1.1', 'Activate', [id(key)], header);
  const got = await client.must('1.1', 'Get', [id(key)], header);
  expect((at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array).length).toBe(32);
  await client.must('1.1', 'Revoke', [id(key), struct('RevocationReason', choice('RevocationReasonCode', 'CessationOfOperation'))], header);
  await client.must('1.1', 'Destroy', [id(key)], header);
  expect(['ObjectDestroyed', 'ItemNotFound', 'InvalidField', 'PermissionDenied']).toContain(
    await client.refused('1.1', 'Get', [id(key)], header),
  );
  client.close();
}

const edb = (spoken: KmipVersion) => async (target: KmipTarget) => {
  const client = await RawClient.open(target);
  const attributes =
    spoken === '2.0'
      ? struct('Attributes', choice('CryptographicAlgorithm', 'AES'), int('CryptographicLength', 256), int('CryptographicUsageMask', 0x0c))
      : struct('TemplateAttribute', ...aes(256, 0x0c));
  const key = idOf(await client.must(spoken, 'Create', [choice('ObjectType', 'SymmetricKey'), attributes]));
  await client.must(spoken, 'Activate', [id(key)]);
  const dataKey = randomBytes(32);
  const sealed = await client.must(spoken, 'Encrypt', [id(key), cbc(bool('RandomIV', true)), bytes('Data', dataKey)]);
  const opened = await client.must(spoken, 'Decrypt', [
    id(key),
    cbc(),
    bytes('Data', at(sealed, 'Data') as Uint8Array),
    bytes('IVCounterNonce', at(sealed, 'IVCounterNonce') as Uint8Array),
  ]);
  expect(Buffer.from(at(opened, 'Data') as Uint8Array)).toEqual(dataKey);
  client.close();
};

async function veeam(target: KmipTarget): Promise<void> {
  // Sessions of TLS 1.2 and 1.3 resume with a client certificate, and the resumed one is the same client.
  for (const tlsVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    let session: Buffer | undefined;
    const first = await RawClient.open(target, 'alice', { minVersion: tlsVersion, maxVersion: tlsVersion });
    first.socket.on('session', (ticket: Buffer) => (session = ticket));
    await first.must('1.4', 'Locate', [int('MaximumItems', 1)]);
    // Before TLS 1.3 the session is there with the handshake, before anyone listens for it.
    session ??= first.socket.getSession();
    first.close();
    expect(session, `${tlsVersion} gives a session`).toBeDefined();
    const again = await RawClient.open(target, 'alice', { minVersion: tlsVersion, maxVersion: tlsVersion, session });
    expect(again.socket.isSessionReused(), tlsVersion).toBe(true);
    await again.must('1.4', 'Locate', [int('MaximumItems', 1)]);
    again.close();
  }
  const client = await RawClient.open(target);
  const label = unique('veeam');
  expect(idsOf(await client.must('1.4', 'Locate', [name(label)]))).toEqual([]);
  const pair = await client.must('1.4', 'CreateKeyPair', [
    struct(
      'CommonTemplateAttribute',
      attribute('Cryptographic Algorithm', choice('CryptographicAlgorithm', 'RSA')),
      attribute('Cryptographic Length', int('CryptographicLength', 2048)),
    ),
    struct('PrivateKeyTemplateAttribute', name(`${label}-private`), mask(0x8 | 0x20)),
    struct('PublicKeyTemplateAttribute', name(`${label}-public`), mask(0x4 | 0x10)),
  ]);
  const [privateKey, publicKey] = [at(pair, 'PrivateKeyUniqueIdentifier') as string, at(pair, 'PublicKeyUniqueIdentifier') as string];
  await client.must('1.4', 'Activate', [id(privateKey)]);
  await client.must('1.4', 'Activate', [id(publicKey)]);
  for (const [key, kind] of [
    [publicKey, 'PublicKey'],
    [privateKey, 'PrivateKey'],
  ] as const) {
    const got = await client.must('1.4', 'Get', [id(key)]);
    const block = all(got, kind)[0] ?? struct(kind);
    const value = all(all(block, 'KeyBlock')[0] ?? block, 'KeyValue')[0] ?? block;
    expect(all(value, 'Attribute'), 'no Attribute inside Key Value').toEqual([]);
    expect(at(value, 'KeyMaterial')).toBeInstanceOf(Uint8Array);
  }
  for (const key of [privateKey, publicKey]) {
    await client.must('1.4', 'Revoke', [id(key), struct('RevocationReason', choice('RevocationReasonCode', 'CessationOfOperation'))]);
    await client.must('1.4', 'Destroy', [id(key)]);
  }
  client.close();
}

const netBackup = (spoken: KmipVersion) => async (target: KmipTarget) => {
  const client = await RawClient.open(target);
  const query = await client.must(spoken, 'Query', [choice('QueryFunction', 'QueryOperations')]);
  const operations = all(query, 'Operation').map((item) => item.value);
  for (const needed of ['Encrypt', 'Decrypt', 'Get'])
    expect(operations, `${needed} in ${spoken}`).toContain(choice('Operation', needed).value);
  client.close();
};

export const DATABASE_SEQUENCES: readonly ClientSequence[] = [
  { client: 'MongoDB CSFLE', version: '1.0', about: 'Secret Data of usage mask 0, exactly 96 bytes', run: mongoFieldLevel },
  { client: 'MongoDB CSFLE, delegated', version: '1.2', about: 'the IV comes back from Encrypt', run: mongoDelegated },
  { client: 'Percona Server for MongoDB', version: '1.0', about: 'nothing newer than 1.0, at most 8 KiB', run: perconaMongo },
  { client: 'Percona MySQL keyring_kmip', version: '1.0', about: 'Locate beyond 32; names and groups', run: perconaMySql('1.0') },
  { client: 'Percona MySQL keyring_kmip', version: '1.4', about: 'Locate beyond 32; names and groups', run: perconaMySql('1.4') },
  { client: 'PostgreSQL pg_tde', version: '1.4', about: 'a new connection for each call; short identifiers', run: pgTde },
  { client: 'MySQL Enterprise keyring_okv', version: '1.1', about: 'Attribute Index 0 everywhere', run: mySqlOkv },
  { client: 'EDB Postgres TDE', version: '1.4', about: 'Encrypt with the IV of the server', run: edb('1.4') },
  { client: 'EDB Postgres TDE', version: '2.0', about: 'Encrypt with the IV of the server', run: edb('2.0') },
  { client: 'Veeam Backup & Replication 12', version: '1.4', about: 'no attributes in Key Value; TLS sessions resume', run: veeam },
  { client: 'NetBackup', version: '1.2', about: 'Query names Encrypt, Decrypt and Get', run: netBackup('1.2') },
  { client: 'NetBackup', version: '2.1', about: 'Query names Encrypt, Decrypt and Get', run: netBackup('2.1') },
];
