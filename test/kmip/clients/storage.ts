import { randomBytes } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { type KmipVersion, writeTtlv } from '@aegis/kmip-ttlv';
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
  type RawResult,
  readResults,
  struct,
  text,
  toRequest,
} from './raw-client.js';

// Storage arrays and hypervisors.

const ENCRYPT_DECRYPT = 0x0c;
const queryFor = (...functions: readonly string[]) => functions.map((one) => choice('QueryFunction', one));
const version = (major: number, minor: number) =>
  struct('ProtocolVersion', int('ProtocolVersionMajor', major), int('ProtocolVersionMinor', minor));
const versionsOf = (result: RawResult | undefined): string[] =>
  all(result?.payload ?? struct('ResponsePayload'), 'ProtocolVersion').map(
    (one) => `${at(one, 'ProtocolVersionMajor')}.${at(one, 'ProtocolVersionMinor')}`,
  );
const symmetricKey = (format: string, material: Uint8Array, bits: number) =>
  struct(
    'SymmetricKey',
    struct(
      'KeyBlock',
      choice('KeyFormatType', format),
      struct('KeyValue', bytes('KeyMaterial', material)),
      choice('CryptographicAlgorithm', 'AES'),
      int('CryptographicLength', bits),
    ),
  );
const passwordData = (material: Uint8Array) =>
  struct(
    'SecretData',
    choice('SecretDataType', 'Password'),
    struct('KeyBlock', choice('KeyFormatType', 'Opaque'), struct('KeyValue', bytes('KeyMaterial', material))),
  );
const revocation = (code: string, message?: string) =>
  struct('RevocationReason', choice('RevocationReasonCode', code), message === undefined ? undefined : text('RevocationMessage', message));
const unique = (prefix: string): string => `${prefix}-${randomBytes(6).toString('hex')}`;

async function vSphere(target: KmipTarget): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const probe = await RawClient.open(target);
    const [answer] = await probe.ask({ version: '1.1', items: [{ operation: 'DiscoverVersions', payload: [] }] });
    expect(versionsOf(answer)).toContain('1.1');
    probe.close();
  }
  const client = await RawClient.open(target);
  const information = await client.must('1.1', 'Query', queryFor('QueryServerInformation'));
  expect(typeof at(information, 'VendorIdentification')).toBe('string');
  const created = await client.must('1.1', 'Create', [
    choice('ObjectType', 'SymmetricKey'),
    struct('TemplateAttribute', ...aes(256, ENCRYPT_DECRYPT)),
  ]);
  const key = idOf(created);
  const product = ['x-Product_Version', 'x-Vendor', 'x-Product'];
  for (const one of product) {
    const payload = await client.must('1.1', 'GetAttributes', [id(key), text('AttributeName', one)]);
    expect(all(payload, 'Attribute'), `${one} is absent: Success, and no attribute`).toEqual([]);
    expect(idOf(payload)).toBe(key);
  }
  const state = await client.must('1.1', 'GetAttributes', [id(key), text('AttributeName', 'State')]);
  expect(attributeIn(state, 'State')).toBe(1);
  const batch = await client.ask({
    version: '1.1',
    items: product.map((one, i) => ({
      operation: 'AddAttribute',
      id: Buffer.from(`item-${i}`),
      payload: [id(key), attribute(one, text('AttributeValue', `VMware ${i}`))],
    })),
  });
  expect(batch.map(({ status, id: echoed }) => ({ status, echoed }))).toEqual(
    product.map((_, i) => ({ status: 'Success', echoed: Buffer.from(`item-${i}`).toString('hex') })),
  );
  await client.must('1.1', 'Activate', [id(key)]);
  const got = await client.must('1.1', 'Get', [id(key)]);
  expect((at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array).length).toBe(32);
  const vendor = await client.must('1.1', 'GetAttributes', [id(key), text('AttributeName', 'x-Vendor')]);
  expect(attributeIn(vendor, 'x-Vendor')).toBe('VMware 1');
  client.close();
  // vCenter's own certificates name no extended key usage.
  const plain = target.authority.issue(unique('vcenter'), { eku: 'none' });
  await target.admin('create-principal', {
    kind: 'service',
    name: unique('vcenter'),
    roles: ['kmip-client'],
    certificate: { fingerprint: plain.fingerprint },
  });
  const other = await RawClient.open(target, plain);
  await other.must('1.1', 'Create', [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, ENCRYPT_DECRYPT))]);
  other.close();
}

async function cephCsi(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target);
  const batchId = randomBytes(16);
  const [versions] = await client.ask({
    version: '1.4',
    items: [{ operation: 'DiscoverVersions', id: batchId, payload: [version(1, 4)] }],
  });
  expect(versionsOf(versions)).toEqual(['1.4']);
  expect(versions?.id).toBe(batchId.toString('hex'));
  const key = idOf(
    await client.must('1.4', 'Create', [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, ENCRYPT_DECRYPT))]),
  );
  await client.must('1.4', 'Activate', [id(key)]);
  const parameters = struct(
    'CryptographicParameters',
    choice('BlockCipherMode', 'CBC'),
    choice('PaddingMethod', 'PKCS5'),
    choice('CryptographicAlgorithm', 'AES'),
  );
  const [nonce, plain] = [randomBytes(16), randomBytes(64)];
  const sealed = await client.must('1.4', 'Encrypt', [id(key), parameters, bytes('Data', plain), bytes('IVCounterNonce', nonce)]);
  const opened = await client.must('1.4', 'Decrypt', [
    id(key),
    parameters,
    bytes('Data', at(sealed, 'Data') as Uint8Array),
    bytes('IVCounterNonce', nonce),
  ]);
  expect(Buffer.from(at(opened, 'Data') as Uint8Array)).toEqual(plain);
  const got = await client.must('1.4', 'Get', [id(key)]);
  expect(at(got, 'SymmetricKey', 'KeyBlock', 'CryptographicLength')).toBe(256);
  client.close();
}

async function cephRgw(target: KmipTarget): Promise<void> {
  const user = unique('rgw');
  const password = 'a long enough password';
  const principal = await target.admin('create-principal', {
    kind: 'service',
    name: user,
    roles: ['kmip-client'],
    certificate: { fingerprint: target.authority.issue(user).fingerprint },
  });
  await target.admin('set-login', {
    principalId: principal.id,
    kind: 'password',
    login: user,
    password: new Uint8Array(Buffer.from(password)),
  });
  const credential = struct(
    'Authentication',
    struct(
      'Credential',
      choice('CredentialType', 'UsernameAndPassword'),
      struct('CredentialValue', text('Username', user), text('Password', password)),
    ),
  );
  const header = (...more: (ReturnType<typeof text> | undefined)[]) => [
    int('MaximumResponseSize', 65_536),
    ...more.filter((one) => one !== undefined),
    date('TimeStamp', now()),
  ];
  const client = await RawClient.open(target);
  const label = unique('rgw-key');
  const registered = await client.must('1.0', 'Register', [
    choice('ObjectType', 'SymmetricKey'),
    struct('TemplateAttribute', name(label), attribute('Cryptographic Usage Mask', int('CryptographicUsageMask', ENCRYPT_DECRYPT))),
    symmetricKey('Raw', randomBytes(32), 256),
  ]);
  for (const authentication of [undefined, credential]) {
    const found = await client.must('1.0', 'Locate', [name(label)], header(authentication));
    expect(idsOf(found)).toEqual([idOf(registered)]);
    const got = await client.must('1.0', 'Get', [id(idOf(registered))], header(authentication));
    expect((at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array).length).toBe(32);
    // The pooled connection rests for five seconds before the next object is read.
    if (authentication === undefined) await new Promise((resolve) => setTimeout(resolve, 5_000));
  }
  client.close();
}

async function trueNas(target: KmipTarget): Promise<void> {
  const client = await RawClient.open(target, 'alice', { maxVersion: 'TLSv1.2' });
  expect(client.socket.getProtocol()).toBe('TLSv1.2');
  const password = Buffer.from('dataset passphrase');
  const secret = idOf(
    await client.must('1.2', 'Register', [
      choice('ObjectType', 'SecretData'),
      struct('TemplateAttribute', name(unique('truenas'))),
      passwordData(password),
    ]),
  );
  await client.must('1.2', 'Activate', [id(secret)]);
  const got = await client.must('1.2', 'Get', [id(secret)]);
  expect(Buffer.from(at(got, 'SecretData', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array)).toEqual(password);
  expect(at(got, 'SecretData', 'KeyBlock', 'KeyFormatType')).toBe(2);
  await client.must('1.2', 'Revoke', [id(secret), revocation('CessationOfOperation')]);
  await client.must('1.2', 'Destroy', [id(secret)]);
  // Barbican: a pair without any usage mask.
  const pair = await client.must('1.2', 'CreateKeyPair', [
    struct(
      'CommonTemplateAttribute',
      attribute('Cryptographic Algorithm', choice('CryptographicAlgorithm', 'RSA')),
      attribute('Cryptographic Length', int('CryptographicLength', 2048)),
    ),
  ]);
  for (const half of ['PrivateKeyUniqueIdentifier', 'PublicKeyUniqueIdentifier'] as const) {
    const key = at(pair, half) as string;
    const masks = await client.must('1.2', 'GetAttributes', [id(key), text('AttributeName', 'Cryptographic Usage Mask')]);
    expect(attributeIn(masks, 'Cryptographic Usage Mask'), `${half} has the default masks`).toBeGreaterThan(0);
  }
  client.close();
}

const scality = (minor: 2 | 3 | 4) => async (target: KmipTarget) => {
  const spoken = `1.${minor}` as KmipVersion;
  const client = await RawClient.open(target);
  const [versions] = await client.ask({
    version: spoken,
    items: [{ operation: 'DiscoverVersions', payload: [version(1, 4), version(1, 3), version(1, 2)] }],
  });
  expect(versionsOf(versions)).toEqual(['1.4', '1.3', '1.2']);
  const query = await client.must(
    spoken,
    'Query',
    queryFor('QueryExtensionMap', 'QueryServerInformation', 'QueryOperations', 'QueryObjects'),
  );
  const operations = all(query, 'Operation').map((item) => item.value);
  for (const needed of ['Create', 'Activate', 'Encrypt', 'Decrypt', 'Revoke', 'Destroy'])
    expect(operations).toContain(choice('Operation', needed).value);
  const created = await client.must(spoken, 'Create', [
    choice('ObjectType', 'SymmetricKey'),
    struct(
      'TemplateAttribute',
      ...aes(256, ENCRYPT_DECRYPT),
      name(unique('bucket')),
      attribute('x-bucket', text('AttributeValue', 'photos')),
    ),
  ]);
  const key = idOf(created);
  await client.must(spoken, 'Activate', [id(key)]);
  const parameters = struct(
    'CryptographicParameters',
    choice('BlockCipherMode', 'CBC'),
    choice('PaddingMethod', 'PKCS5'),
    choice('CryptographicAlgorithm', 'AES'),
  );
  const zero = new Uint8Array(16);
  const texts = Array.from({ length: 12 }, (_, i) => Buffer.from(`object ${i}`.repeat(i + 1)));
  // Twelve requests in one write; the answers come back in the same order.
  client.send(
    ...texts.map((plain) => ({
      version: spoken,
      items: [{ operation: 'Encrypt', payload: [id(key), parameters, bytes('Data', plain), bytes('IVCounterNonce', zero)] }],
    })),
  );
  const sealed: Uint8Array[] = [];
  for (const _ of texts) sealed.push(at(((await client.receive(spoken))[0] as RawResult).payload, 'Data') as Uint8Array);
  client.send(
    ...sealed.map((data) => ({
      version: spoken,
      items: [{ operation: 'Decrypt', payload: [id(key), parameters, bytes('Data', data), bytes('IVCounterNonce', zero)] }],
    })),
  );
  for (const plain of texts)
    expect(Buffer.from(at(((await client.receive(spoken))[0] as RawResult).payload, 'Data') as Uint8Array).toString()).toBe(
      plain.toString(),
    );
  await client.must(spoken, 'Revoke', [id(key), revocation('CessationOfOperation')]);
  await client.must(spoken, 'Destroy', [id(key)]);
  client.close();
};

async function synology(target: KmipTarget): Promise<void> {
  const probes = await Promise.all([RawClient.open(target), RawClient.open(target), RawClient.open(target)]);
  await Promise.all(probes.map((one) => one.must('1.2', 'Query', queryFor('QueryOperations', 'QueryObjects', 'QueryServerInformation'))));
  for (const one of probes) one.close();
  const client = await RawClient.open(target);
  const label = unique('syno');
  expect(idsOf(await client.must('1.2', 'Locate', [name(label)]))).toEqual([]);
  const secret = idOf(
    await client.must('1.2', 'Register', [
      choice('ObjectType', 'SecretData'),
      struct(
        'TemplateAttribute',
        name(label),
        attribute('Cryptographic Usage Mask', int('CryptographicUsageMask', 0x4)),
        attribute('Operation Policy Name', text('AttributeValue', 'default')),
        attribute('Activation Date', date('ActivationDate', now() - 3_600)),
      ),
      passwordData(Buffer.from('volume key')),
    ]),
  );
  const renamed = `${label}-2`;
  const modified = await client.must('1.2', 'ModifyAttribute', [id(secret), name(renamed)]);
  expect(attributeIn(modified, 'Name'), 'Modify Attribute echoes the attribute').toMatchObject({ NameValue: renamed });
  expect(idsOf(await client.must('1.2', 'Locate', [name(label)]))).toEqual([]);
  expect(idsOf(await client.must('1.2', 'Locate', [name(renamed)]))).toEqual([secret]);
  const state = await client.must('1.2', 'GetAttributes', [
    id(secret),
    text('AttributeName', 'State'),
    text('AttributeName', 'Operation Policy Name'),
  ]);
  expect(attributeIn(state, 'State'), 'a past Activation Date activates').toBe(2);
  expect(attributeIn(state, 'Operation Policy Name')).toBe('default');
  const list = await client.must('1.2', 'GetAttributeList', [id(secret)]);
  const names = all(list, 'AttributeName').map((item) => item.value);
  for (const expected of ['Name', 'State', 'Operation Policy Name', 'Activation Date']) expect(names).toContain(expected);
  expect(new Set(names).size).toBe(names.length);
  const got = await client.must('1.2', 'Get', [id(secret)]);
  expect(Buffer.from(at(got, 'SecretData', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array).toString()).toBe('volume key');
  await client.must('1.2', 'Revoke', [id(secret), revocation('CessationOfOperation')]);
  await client.must('1.2', 'Destroy', [id(secret)]);
  client.close();
}

/** POST /kmip with the TTLV bytes of a request, as VAST speaks it. */
function overHttps(target: KmipTarget) {
  return (operation: string, payload: readonly ReturnType<typeof text>[]): Promise<RawResult> =>
    new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          host: target.host,
          port: target.httpsPort,
          path: '/kmip',
          method: 'POST',
          ...target.tls(),
          servername: 'localhost',
          headers: { 'content-type': 'application/octet-stream' },
        },
        (incoming) => {
          const parts: Buffer[] = [];
          incoming.on('data', (part: Buffer) => parts.push(part));
          incoming.on('end', () => {
            try {
              expect(incoming.statusCode).toBe(200);
              expect(incoming.headers['content-type']).toBe('application/octet-stream');
              resolve(readResults(Buffer.concat(parts), '1.4')[0] as RawResult);
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(writeTtlv(toRequest({ version: '1.4', items: [{ operation, payload }] })));
    });
}

async function vast(target: KmipTarget): Promise<void> {
  const post = overHttps(target);
  const must = async (operation: string, ...payload: ReturnType<typeof text>[]) => {
    const result = await post(operation, payload);
    expect(result, operation).toMatchObject({ status: 'Success', operation });
    return result.payload;
  };
  expect(versionsOf(await post('DiscoverVersions', []))).toContain('1.4');
  const label = unique('vast');
  const policy = attribute('Operation Policy Name', text('AttributeValue', 'vast-policy'));
  const key = idOf(
    await must('Create', choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, ENCRYPT_DECRYPT), policy)),
  );
  await must('AddAttribute', id(key), name(label));
  await must('AddAttribute', id(key), attribute('x-cluster', text('AttributeValue', 'c1')));
  await must('AddAttribute', id(key), attribute('Object Group', text('AttributeValue', unique('group'))));
  await must('Activate', id(key));
  expect(idsOf(await must('Locate', name(label)))).toEqual([key]);
  const got = await must('Get', id(key));
  expect((at(got, 'SymmetricKey', 'KeyBlock', 'KeyValue', 'KeyMaterial') as Uint8Array).length).toBe(32);
  const polled = await must('GetAttributes', id(key), text('AttributeName', 'State'), text('AttributeName', 'Activation Date'));
  expect(attributeIn(polled, 'State')).toBe(2);
  expect(typeof attributeIn(polled, 'Activation Date')).toBe('bigint');
  const next = idOf(await must('ReKey', id(key)));
  expect(next).not.toBe(key);
  const renewed = await must('GetAttributes', id(next), text('AttributeName', 'Operation Policy Name'), text('AttributeName', 'Name'));
  expect(attributeIn(renewed, 'Operation Policy Name'), 'it survives Re-key').toBe('vast-policy');
  expect(attributeIn(renewed, 'Name'), 'the name moves to the new key').toMatchObject({ NameValue: label });
  const old = await must('GetAttributes', id(key), text('AttributeName', 'State'), text('AttributeName', 'Link'));
  expect(attributeIn(old, 'State'), 'the old key stays Active').toBe(2);
  expect(attributeIn(old, 'Link')).toMatchObject({ LinkedObjectIdentifier: next });
  for (const one of [key, next]) {
    await must('Revoke', id(one), revocation('CessationOfOperation')).catch(() => undefined);
    await must('Destroy', id(one));
  }
}

async function fortiGate(target: KmipTarget): Promise<void> {
  const user = unique('forti');
  const identity = target.authority.issue(user);
  const principal = await target.admin('create-principal', {
    kind: 'service',
    name: user,
    roles: ['kmip-client'],
    certificate: { fingerprint: identity.fingerprint },
  });
  await target.admin('set-login', {
    principalId: principal.id,
    kind: 'password',
    login: user,
    password: new Uint8Array(Buffer.from('fortipassword')),
  });
  const authentication = struct(
    'Authentication',
    // The type as a bare number.
    struct('Credential', choice('CredentialType', 1), struct('CredentialValue', text('Username', user), text('Password', 'fortipassword'))),
  );
  const client = await RawClient.open(target, identity);
  const base = unique('ipsec');
  const labels = [`${base}`, `${base}-enc`, `${base}-auth`, `${base}-enc2`];
  const made = new Map<string, string>();
  for (const label of labels.slice(0, 3))
    made.set(
      label,
      idOf(
        await client.must(
          '1.0',
          'Create',
          [choice('ObjectType', 'SymmetricKey'), struct('TemplateAttribute', ...aes(256, ENCRYPT_DECRYPT), name(label))],
          [authentication],
        ),
      ),
    );
  const found = await client.ask({
    version: '1.0',
    header: [authentication, bool('BatchOrderOption', true)],
    items: labels.map((label, i) => ({
      operation: 'Locate',
      id: Uint8Array.of(i + 1),
      // Filters inside a Template-Attribute, where 1.0 has them bare.
      payload: [
        int('MaximumItems', 1),
        struct('TemplateAttribute', attribute('Object Type', choice('ObjectType', 'SymmetricKey')), name(label)),
      ],
    })),
  });
  expect(found.map((one) => one.status)).toEqual(['Success', 'Success', 'Success', 'Success']);
  expect(found.map((one) => idsOf(one.payload))).toEqual(labels.map((label) => (made.has(label) ? [made.get(label)] : [])));
  const wrong = struct(
    'Authentication',
    struct(
      'Credential',
      choice('CredentialType', 1),
      struct('CredentialValue', text('Username', user), text('Password', 'not the password')),
    ),
  );
  expect(await client.refused('1.0', 'Locate', [name(base)], [wrong])).toBe('AuthenticationNotSuccessful');
  client.close();
}

export const STORAGE_SEQUENCES: readonly ClientSequence[] = [
  {
    client: 'VMware vCenter',
    version: '1.1',
    about: 'an absent custom attribute is Success without it; batch item ids come back',
    run: vSphere,
  },
  { client: 'ceph-csi and Rook', version: '1.4', about: 'Discover Versions [1.4] is exactly [1.4]', run: cephCsi },
  { client: 'Ceph RGW', version: '1.0', about: 'header with sizes, times and a login; a pooled connection rests', run: cephRgw },
  { client: 'TrueNAS and Barbican', version: '1.2', about: 'no usage masks; TLS 1.2 only', run: trueNas },
  { client: 'Scality S3', version: '1.2', about: 'pipelined requests', run: scality(2) },
  { client: 'Scality S3', version: '1.3', about: 'pipelined requests', run: scality(3) },
  { client: 'Scality S3', version: '1.4', about: 'pipelined requests', run: scality(4) },
  { client: 'Synology DSM 7', version: '1.2', about: 'Modify Attribute echoes; Operation Policy Name comes back', run: synology },
  { client: 'VAST Data 5', version: '1.4', about: 'TTLV over HTTPS; Re-key', run: vast },
  { client: 'FortiGate 7.4', version: '1.0', about: 'login in the header; four Locates wrapped in Template-Attribute', run: fortiGate },
];
