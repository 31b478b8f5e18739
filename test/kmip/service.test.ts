import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { liftMessage, lowerMessage, type Message, makeFrameReader, readMessage, readTtlv, writeMessage, writeTtlv } from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
beforeAll(async () => {
  target = await startKmipTarget();
}, 120_000);
afterAll(() => target?.stop());

test('Query lists only what the version has and the server does', async () => {
  const client = await target.connect('alice', '1.0');
  const old = await client.request('Query', { QueryFunction: ['QueryOperations', 'QueryObjects', 'QueryServerInformation'] });
  expect(old.Operation).toContain('Query');
  expect(old.Operation).not.toContain('DiscoverVersions');
  expect(old.ObjectType).not.toContain('PGPKey');
  expect(old.VendorIdentification).toBe('Aegis');
  const now = await target.connect('alice', '2.1');
  const all = await now.request('Query', {
    QueryFunction: [
      'QueryOperations',
      'QueryObjects',
      'QueryServerInformation',
      'QueryRNGs',
      'QueryProfiles',
      'QueryCapabilities',
      'QueryClientRegistrationMethods',
      'QueryStorageProtectionMasks',
    ],
  });
  expect(all.Operation).toEqual(expect.arrayContaining(['Ping', 'Login', 'SetConstraints', 'Poll', 'Notify', 'Put']));
  expect(all.Operation).not.toContain('CreateUser');
  expect(all.CapabilityInformation?.[0]).toMatchObject({ BatchUndoCapability: true, AsynchronousCapability: true });
  expect(all.ProfileInformation?.length).toBeGreaterThan(3);
  expect(all.RNGParameters?.[0]).toMatchObject({ RNGAlgorithm: 'DRBG' });
});

test('Discover Versions answers exactly what both speak', async () => {
  const client = await target.connect('alice', '1.4');
  const asked = (major: number, minor: number) => ({ ProtocolVersionMajor: major, ProtocolVersionMinor: minor });
  const exact = await client.request('DiscoverVersions', { ProtocolVersion: [asked(1, 4)] });
  expect(exact.ProtocolVersion).toEqual([asked(1, 4)]);
  const some = await client.request('DiscoverVersions', { ProtocolVersion: [asked(1, 0), asked(9, 9), asked(2, 1)] });
  expect(some.ProtocolVersion).toEqual([asked(2, 1), asked(1, 0)]);
  const none = await client.request('DiscoverVersions', { ProtocolVersion: [asked(7, 0)] });
  expect(none.ProtocolVersion ?? []).toEqual([]);
});

test('a ticket stands in for the certificate’s own login, counts its requests, and ends with Logout', async () => {
  const client = await target.connect('alice');
  const { Ticket: ticket } = await client.request('Login', { RequestCount: 2 });
  const header = { Authentication: { Credential: [{ CredentialType: 'Ticket', CredentialValue: { Ticket: ticket } }] } };
  const [first] = await client.batch([{ operation: 'Ping', payload: {} }], header);
  const [second] = await client.batch([{ operation: 'Ping', payload: {} }], header);
  const [third] = await client.batch([{ operation: 'Ping', payload: {} }], header);
  expect([first?.status, second?.status, third?.status, third?.reason]).toEqual(['Success', 'Success', 'OperationFailed', 'InvalidTicket']);

  const open = await client.request('Login', { LeaseTime: 60 });
  const lasting = { Authentication: { Credential: [{ CredentialType: 'Ticket', CredentialValue: { Ticket: open.Ticket } }] } };
  expect((await client.batch([{ operation: 'Ping', payload: {} }], lasting))[0]?.status).toBe('Success');
  await client.request('Logout', { Ticket: open.Ticket });
  expect((await client.batch([{ operation: 'Ping', payload: {} }], lasting))[0]?.reason).toBe('AuthenticationNotSuccessful');
});

test('a delegated ticket does what its rights name and no more', async () => {
  const client = await target.connect('alice');
  const { Ticket: ticket } = await client.request('DelegatedLogin', {
    Rights: { Right: [{ Operations: { Operation: ['RNGRetrieve'] } }] },
  });
  const header = { Authentication: { Credential: [{ CredentialType: 'Ticket', CredentialValue: { Ticket: ticket } }] } };
  const results = await client.batch(
    [
      { operation: 'RNGRetrieve', payload: { DataLength: 16 } },
      { operation: 'Log', payload: { LogMessage: 'not granted' } },
    ],
    header,
  );
  expect(results.map((one) => one.status)).toEqual(['Success', 'OperationFailed']);
  expect(results[1]?.reason).toBe('PermissionDenied');
});

test('constraints and defaults are the tenant’s: enforced on every connection of it, on no other tenant’s', async () => {
  const alice = await target.connect('alice');
  const bob = await target.connect('bob');
  const stranger = await target.connect('stranger');
  const create = (length: number | undefined) =>
    ({
      operation: 'Create',
      payload: {
        ObjectType: 'SymmetricKey',
        Attributes: [
          { name: 'CryptographicAlgorithm', value: 'AES' },
          { name: 'CryptographicUsageMask', value: 0x0c },
          ...(length === undefined ? [] : [{ name: 'CryptographicLength', value: length }]),
        ],
      },
    }) as const;
  await alice.request('SetConstraints', {
    Constraints: {
      Constraint: [{ ObjectTypes: { ObjectType: ['SymmetricKey'] }, Attributes: [{ name: 'CryptographicLength', value: 256 }] }],
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect((await bob.batch([create(128)]))[0]?.reason).toBe('ConstraintViolation');
  expect((await bob.batch([create(256)]))[0]?.status).toBe('Success');
  expect((await stranger.batch([create(128)]))[0]?.status).toBe('Success');
  const { Constraints: constraints } = await bob.request('GetConstraints', {});
  expect(constraints?.Constraint).toHaveLength(1);

  await alice.request('SetDefaults', {
    DefaultsInformation: {
      ObjectDefaults: [{ ObjectTypes: { ObjectType: ['SymmetricKey'] }, Attributes: [{ name: 'CryptographicLength', value: 256 }] }],
    },
  });
  const [made] = await alice.batch([create(undefined)]);
  expect(made?.status).toBe('Success');
  const { DefaultsInformation: shown } = await alice.request('Query', { QueryFunction: ['QueryDefaultsInformation'] });
  expect(shown?.ObjectDefaults).toHaveLength(1);
  await alice.request('SetConstraints', {});
  await alice.request('SetDefaults', {});
  expect((await alice.batch([create(128)]))[0]?.status).toBe('Success');
});

test('what is asked to run later is polled by its owner alone, and answered as it would have been at once', async () => {
  const alice = await target.connect('alice');
  const stranger = await target.connect('stranger');
  const response = await alice.send({
    kind: 'request',
    version: '2.1',
    header: { AsynchronousIndicator: 'Mandatory' },
    items: [{ operation: 'RNGRetrieve', payload: { DataLength: 16 }, fields: {} }],
  });
  const [item] = response.items;
  expect(item?.fields['ResultStatus']).toBe('OperationPending');
  const correlation = item?.fields['AsynchronousCorrelationValue'] as Uint8Array;
  const [foreign] = await stranger.batch([{ operation: 'Poll', payload: { AsynchronousCorrelationValue: correlation } }]);
  expect(foreign?.reason).toBe('InvalidAsynchronousCorrelationValue');
  await alice.request('Process', { AsynchronousCorrelationValue: correlation });
  const outstanding = await alice.request('QueryAsynchronousRequests', {});
  expect(outstanding.AsynchronousRequest?.map((one) => one.ProcessingStage)).toEqual(['Completed']);
  const [polled] = await alice.batch([{ operation: 'Poll', payload: { AsynchronousCorrelationValue: correlation } }]);
  expect(polled).toMatchObject({ operation: 'RNGRetrieve', status: 'Success' });
  expect(polled?.payload['Data']).toHaveLength(16);
  expect((await alice.request('Cancel', { AsynchronousCorrelationValue: correlation })).CancellationResult).toBe('Completed');
  expect((await stranger.request('Cancel', { AsynchronousCorrelationValue: correlation })).CancellationResult).toBe('Unavailable');
  expect((await alice.request('QueryAsynchronousRequests', {})).AsynchronousRequest ?? []).toEqual([]);
});

test('Log ends in the audit trail', async () => {
  const client = await target.connect('alice');
  await client.request('Log', { LogMessage: 'array 7 replaced' });
  const { items } = await target.admin('list-audit', { operation: 'log-message' });
  expect(items[0]?.detail).toMatchObject({ message: 'array 7 replaced' });
});

test('after Set Endpoint Role the server tells of changes and puts replacements, within the tenant and what the client may read', async () => {
  const socket = tlsConnect({ host: '127.0.0.1', port: target.port, servername: 'localhost', ...target.tls('bob') });
  await once(socket, 'secureConnect');
  const frames = makeFrameReader();
  const received: Message[] = [];
  socket.on('data', (chunk) => {
    for (const bytes of frames.push(chunk)) {
      const message = liftMessage(readMessage(readTtlv(Uint8Array.from(bytes))));
      received.push(message);
      if (message.kind === 'request') {
        const operation = message.items[0]?.operation as string;
        const answer: Message = {
          kind: 'response',
          version: '2.1',
          header: { TimeStamp: 0n },
          items: [{ operation, fields: { ResultStatus: 'Success' } }],
        };
        socket.write(writeTtlv(writeMessage(lowerMessage(answer))));
      }
    }
  });
  const until = async (count: number): Promise<void> => {
    for (let i = 0; i < 600 && received.length < count; i += 1) await sleep(10);
  };
  const role: Message = {
    kind: 'request',
    version: '2.1',
    header: {},
    items: [{ operation: 'SetEndpointRole', payload: { EndpointRole: 'Client' }, fields: {} }],
  };
  socket.write(writeTtlv(writeMessage(lowerMessage(role))));
  await until(1);
  expect(received[0]).toMatchObject({ kind: 'response', items: [{ payload: { EndpointRole: 'Client' } }] });

  const attributes = [
    { name: 'CryptographicAlgorithm', value: 'AES' },
    { name: 'CryptographicLength', value: 256 },
    { name: 'CryptographicUsageMask', value: 12 },
  ];
  const stranger = await target.connect('stranger');
  const foreign = await stranger.request('Create', { ObjectType: 'SymmetricKey', Attributes: attributes });
  await stranger.request('Activate', { UniqueIdentifier: foreign.UniqueIdentifier });
  const alice = await target.connect('alice');
  const { UniqueIdentifier: id } = await alice.request('Create', { ObjectType: 'SymmetricKey', Attributes: attributes });
  await alice.request('Activate', { UniqueIdentifier: id });
  await until(2);
  const { UniqueIdentifier: next } = await alice.request('ReKey', { UniqueIdentifier: id });
  await until(3);
  expect(received[1]).toMatchObject({ kind: 'request', items: [{ operation: 'Notify', payload: { UniqueIdentifier: id } }] });
  expect(received[1]?.items[0]?.payload?.['Attributes']).toContainEqual({ name: 'State', value: 'Active' });
  expect(received[2]?.items[0]).toMatchObject({
    operation: 'Put',
    payload: { UniqueIdentifier: next, PutFunction: 'Replace', ReplacedUniqueIdentifier: id },
  });
  expect(received[2]?.items[0]?.payload?.['SymmetricKey']).toBeDefined();
  expect(received).toHaveLength(3);
  socket.destroy();
});

test('Re-Provision gives a client of the internal authority another certificate, and ends the old one', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-reprovision-'));
  const csr = (name: string): Uint8Array => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(join(dir, `${name}.key`), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    spawnSync('openssl', ['req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-outform', 'DER', '-out', `${name}.csr`], {
      cwd: dir,
    });
    return new Uint8Array(readFileSync(join(dir, `${name}.csr`)));
  };
  const pem = (der: Uint8Array): string => new X509Certificate(der).toString();
  try {
    const authority = await target.admin('create-authority', { subject: 'CN=Internal' });
    const array = await target.admin('create-principal', { kind: 'service', name: 'array', roles: ['kmip-client'] });
    const issued = await target.admin('issue-certificate', { csr: csr('first'), principalId: array.id });
    const { port } = await target.serve(internalTls(target, pem(authority.certificate)));
    const open = (certificate: string, name: string) =>
      target.connect('alice', '2.1', {
        port,
        tls: { ca: target.authority.cert, cert: certificate, key: readFileSync(join(dir, `${name}.key`)) },
      });
    const old = await open(pem(issued.certificate as Uint8Array), 'first');
    const { UniqueIdentifier: id } = await old.request('ReProvision', {
      CertificateRequest: { CertificateRequestType: 'PKCS_10', CertificateRequestValue: csr('second') },
    });
    const got = await old.request('Get', { UniqueIdentifier: id });
    const renewed = await open(pem(got.Certificate?.CertificateValue as Uint8Array), 'second');
    await renewed.request('Ping', {});
    const before = await target.admin('get-object', { key: issued.id });
    expect(before.object.dates.deactivation).toBeLessThanOrEqual(Date.now() + 60_000);
    // A certificate from elsewhere cannot be renewed here.
    const outside = await target.connect('alice');
    const [refused] = await outside.batch([{ operation: 'ReProvision', payload: {} }]);
    expect(refused?.reason).toBe('FeatureNotSupported');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function internalTls(kmip: KmipTarget, authority: string) {
  const server = kmip.authority.issue('localhost', { eku: 'serverAuth', san: 'DNS:localhost' });
  return { tls: { key: server.key, cert: server.cert, ca: [kmip.authority.cert, authority] } };
}
