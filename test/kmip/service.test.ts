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
