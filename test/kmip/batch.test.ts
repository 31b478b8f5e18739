import type { Fields, KmipVersion } from '@aegis/kmip-ttlv';
import type { BatchRequest, KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OPERATION_NAMES, OPERATION_TABLE } from '../../src/domain/index.js';
import { UNDO_WAYS } from '../../src/planes/kmip/undo.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
beforeAll(async () => {
  target = await startKmipTarget();
}, 120_000);
afterAll(() => target?.stop());

let counter = 0;
const name = (): string => {
  counter += 1;
  return `batch-${process.pid}-${counter}`;
};
const create = (label?: string): BatchRequest => ({
  operation: 'Create',
  payload: {
    ObjectType: 'SymmetricKey',
    Attributes: [
      { name: 'CryptographicAlgorithm', value: 'AES' },
      { name: 'CryptographicLength', value: 256 },
      { name: 'CryptographicUsageMask', value: 0x0c },
      ...(label === undefined ? [] : [{ name: 'Name', value: { NameValue: label, NameType: 'UninterpretedTextString' } }]),
    ],
  },
});
const failing: BatchRequest = { operation: 'Get', payload: { UniqueIdentifier: '00000000-0000-4000-8000-000000000000' } };
const stateOf = async (client: KmipClient, id: string): Promise<unknown> => {
  const { Attributes: list } = await client.request('GetAttributes', {
    UniqueIdentifier: id,
    AttributeReference: [{ name: 'State' }],
  } as never);
  return (list as readonly { name: string; value?: unknown }[])[0]?.value;
};
const made = async (client: KmipClient, label?: string): Promise<string> => {
  const [result] = await client.batch([create(label)]);
  expect(result).toMatchObject({ status: 'Success' });
  return result?.payload['UniqueIdentifier'] as string;
};
const locate = async (client: KmipClient, label: string): Promise<readonly string[]> => {
  const found = await client.request('Locate', {
    Attributes: [{ name: 'Name', value: { NameValue: label, NameType: 'UninterpretedTextString' } }],
  });
  return (found.UniqueIdentifier ?? []) as readonly string[];
};
const statuses = (results: readonly { status: unknown }[]): unknown[] => results.map((one) => one.status);

test.each<KmipVersion>(['1.0', '1.4', '2.1'])(
  '%s: the ID Placeholder leads from one item to the next, and out of Locate only for one object',
  async (version) => {
    const client = await target.connect('alice', version);
    const label = name();
    const results = await client.batch([create(label), { operation: 'Activate', payload: {} }, { operation: 'Get', payload: {} }]);
    expect(statuses(results)).toEqual(['Success', 'Success', 'Success']);
    const id = results[0]?.payload['UniqueIdentifier'];
    expect(results[2]?.payload['UniqueIdentifier']).toBe(id);
    const filter = [{ name: 'Name', value: { NameValue: label, NameType: 'UninterpretedTextString' } }];
    const one = await client.batch([
      { operation: 'Locate', payload: { Attributes: filter } },
      { operation: 'GetAttributeList', payload: {} },
    ]);
    expect(one[1]?.payload['UniqueIdentifier']).toBe(id);
    const nothing = await client.batch([
      create(),
      {
        operation: 'Locate',
        payload: { Attributes: [{ ...filter[0], value: { NameValue: name(), NameType: 'UninterpretedTextString' } }] as never },
      },
      { operation: 'GetAttributeList', payload: {} },
    ]);
    expect(nothing[2]?.status).toBe('OperationFailed');
    // The placeholder ends with the batch.
    expect((await client.batch([{ operation: 'GetAttributeList', payload: {} }]))[0]?.status).toBe('OperationFailed');
  },
);

test('2.1: identifiers by enumeration and by number', async () => {
  const client = await target.connect('alice', '2.1');
  const results = await client.batch([
    create(),
    create(),
    { operation: 'Activate', payload: { UniqueIdentifier: { type: 'Enumeration', value: 'Create' } } },
    { operation: 'Activate', payload: { UniqueIdentifier: { type: 'Integer', value: 0 } } },
    { operation: 'GetAttributeList', payload: { UniqueIdentifier: { type: 'Integer', value: -1 } } },
    { operation: 'Get', payload: { UniqueIdentifier: { type: 'Enumeration', value: 'Register' } } },
  ]);
  expect(statuses(results)).toEqual(['Success', 'Success', 'Success', 'Success', 'Success', 'OperationFailed']);
  const id = (n: number) => results[n]?.payload['UniqueIdentifier'];
  expect(id(2)).toBe(id(1));
  expect(id(3)).toBe(id(0));
  expect(id(4)).toBe(id(3));
});

test('Stop ends at the first failure, Continue goes on, ids are echoed', async () => {
  const client = await target.connect('alice', '1.4');
  expect(statuses(await client.batch([create(), failing, create()]))).toEqual(['Success', 'OperationFailed']);
  expect(statuses(await client.batch([create(), failing, create()], { BatchErrorContinuationOption: 'Continue' }))).toEqual([
    'Success',
    'OperationFailed',
    'Success',
  ]);
  const ids = [Uint8Array.of(7), new Uint8Array(16).fill(0xab)];
  const response = await client.send({
    kind: 'request',
    version: '1.4',
    header: {},
    items: ids.map((id) => ({ operation: 'Query', id, payload: { QueryFunction: ['QueryObjects'] } as Fields, fields: {} })),
  });
  expect(response.items.map((item) => item.id)).toEqual(ids);
  expect(response.items.map((item) => item.operation)).toEqual(['Query', 'Query']);
});

test('Undo takes back what was made: nothing is found and its name is free', async () => {
  const client = await target.connect('alice', '2.1');
  const label = name();
  const results = await client.batch([create(label), { operation: 'Activate', payload: {} }, failing], {
    BatchErrorContinuationOption: 'Undo',
  });
  expect(statuses(results)).toEqual(['OperationUndone', 'OperationUndone', 'OperationFailed']);
  expect(await locate(client, label)).toEqual([]);
  await made(client, label);
});

test('Undo takes back changes of state, attributes and destruction', async () => {
  const client = await target.connect('alice', '2.1');
  const pre = await made(client);
  const active = await made(client);
  await client.request('Activate', { UniqueIdentifier: active });
  const results = await client.batch(
    [
      { operation: 'Activate', payload: { UniqueIdentifier: pre } },
      { operation: 'AddAttribute', payload: { UniqueIdentifier: pre, NewAttribute: { name: 'Comment', value: 'not for long' } } },
      { operation: 'Revoke', payload: { UniqueIdentifier: active, RevocationReason: { RevocationReasonCode: 'KeyCompromise' } } },
      { operation: 'Destroy', payload: { UniqueIdentifier: active } },
      failing,
    ],
    { BatchErrorContinuationOption: 'Undo' },
  );
  expect(statuses(results)).toEqual(['OperationUndone', 'OperationUndone', 'OperationUndone', 'OperationUndone', 'OperationFailed']);
  expect(await stateOf(client, pre)).toBe('PreActive');
  expect(await stateOf(client, active)).toBe('Active');
  const got = await client.request('GetAttributes', { UniqueIdentifier: pre });
  expect((got.Attributes ?? []).map((one) => one.name)).not.toContain('Comment');
  expect((await client.request('Get', { UniqueIdentifier: active })).SymmetricKey).toBeDefined();
});

test('an Undo batch that succeeds has destroyed what it destroyed', async () => {
  const client = await target.connect('alice', '2.1');
  const id = await made(client);
  const results = await client.batch([{ operation: 'Destroy', payload: { UniqueIdentifier: id } }, create()], {
    BatchErrorContinuationOption: 'Undo',
  });
  expect(statuses(results)).toEqual(['Success', 'Success']);
  expect(await stateOf(client, id)).toBe('Destroyed');
  expect((await client.batch([{ operation: 'Get', payload: { UniqueIdentifier: id } }]))[0]?.status).toBe('OperationFailed');
});

test('restore-object is no way around the guard: only the KMIP plane, only a moment later, only an earlier view of the same object', async () => {
  const key = await target.admin('create-key', { spec: 'aes-256', activate: true });
  const { object } = key;
  await target.admin('revoke', { key: object.id, reason: 'key-compromise' });
  const { object: now } = await target.admin('get-object', { key: object.id });
  await expect(target.admin('restore-object', { key: object.id, revision: now.revision, snapshot: object })).rejects.toThrow(
    'unsupported-operation',
  );
  const asAlice = (request: Parameters<typeof target.admin<'restore-object'>>[1]) =>
    target.core.service('restore-object', request, {
      plane: 'kmip',
      credential: { kind: 'certificate', fingerprint: target.identities.alice.fingerprint, subject: 'CN=alice', subjectAltNames: [] },
      requestId: 'test',
      source: 'local',
    });
  const wrongRevision = await asAlice({ key: object.id, revision: now.revision + 1, snapshot: object });
  expect(wrongRevision).toMatchObject({ ok: false, fault: { code: 'conflict' } });
  const newer = await asAlice({ key: object.id, revision: now.revision, snapshot: { ...object, revision: now.revision } });
  expect(newer).toMatchObject({ ok: false, fault: { code: 'wrong-state' } });
  const foreign = await asAlice({ key: object.id, revision: now.revision, snapshot: { ...object, tenant: 'other' } });
  expect(foreign).toMatchObject({ ok: false, fault: { code: 'wrong-state' } });
});

test('every operation that changes something says how a batch takes it back', () => {
  const changing = OPERATION_NAMES.filter(
    (name) => OPERATION_TABLE[name].effect === 'change' || OPERATION_TABLE[name].effect === 'destroy',
  );
  expect(changing.filter((name) => UNDO_WAYS[name] === undefined)).toEqual([]);
});

test('what cannot be undone is not done in a batch that may be', async () => {
  const client = await target.connect('alice', '2.1');
  const { Ticket: ticket } = await client.request('Login', {});
  const results = await client.batch([create(), { operation: 'Logout', payload: { Ticket: ticket } }], {
    BatchErrorContinuationOption: 'Undo',
  });
  expect(statuses(results)).toEqual(['OperationUndone', 'OperationFailed']);
  expect(results[1]?.reason).toBe('FeatureNotSupported');
  const header = { Authentication: { Credential: [{ CredentialType: 'Ticket', CredentialValue: { Ticket: ticket } }] } };
  expect((await client.batch([{ operation: 'Ping', payload: {} }], header))[0]?.status).toBe('Success');
});

test('Undo takes back key pairs, a re-key and its moved name', async () => {
  const client = await target.connect('alice', '2.1');
  const label = name();
  const id = await made(client, label);
  await client.request('Activate', { UniqueIdentifier: id });
  const results = await client.batch(
    [
      { operation: 'ReKey', payload: { UniqueIdentifier: id } },
      {
        operation: 'CreateKeyPair',
        payload: {
          CommonAttributes: [
            { name: 'CryptographicAlgorithm', value: 'RSA' },
            { name: 'CryptographicLength', value: 2048 },
          ],
        },
      },
      failing,
    ],
    { BatchErrorContinuationOption: 'Undo' },
  );
  expect(statuses(results)).toEqual(['OperationUndone', 'OperationUndone', 'OperationFailed']);
  expect(await locate(client, label)).toEqual([id]);
  const gone = [
    results[0]?.payload['UniqueIdentifier'],
    results[1]?.payload['PrivateKeyUniqueIdentifier'],
    results[1]?.payload['PublicKeyUniqueIdentifier'],
  ];
  for (const one of gone) {
    expect(typeof one).toBe('string');
    expect((await client.batch([{ operation: 'GetAttributeList', payload: { UniqueIdentifier: one as string } }]))[0]?.status).toBe(
      'OperationFailed',
    );
  }
  // And again: nothing of the first attempt is in the way.
  expect((await client.request('ReKey', { UniqueIdentifier: id })).UniqueIdentifier).not.toBe(id);
});
