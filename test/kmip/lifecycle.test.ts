import { randomUUID } from 'node:crypto';
import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, attributesOf, type Client, createKey, named, outcome, secondsFromNow, single, valuesOf } from './attribute-words.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let old: Client;
let current: Client;
let draft: Client;
beforeAll(async () => {
  target = await startKmipTarget();
  [old, current, draft] = await Promise.all([
    target.connect('alice', '1.4'),
    target.connect('alice', '2.1'),
    target.connect('alice', '3.0'),
  ]);
}, 120_000);
afterAll(() => target?.stop());

const stateOf = (client: Client, id: string) => single(client, id, 'State');
const nameTexts = async (id: string) => (await valuesOf(current, id, 'Name')).map((value) => (value as Fields)['NameValue']);
const linksOf = async (id: string) =>
  Object.fromEntries(
    (await valuesOf(current, id, 'Link')).map((value) => [(value as Fields)['LinkType'], (value as Fields)['LinkedObjectIdentifier']]),
  );

describe('Re-key', () => {
  test('the Name moves, both are linked, the old state stays, policy name and custom attributes survive', async () => {
    const name = `rekey-${randomUUID()}`;
    const id = await createKey(
      old,
      named(name),
      { name: 'OperationPolicyName', value: 'default' },
      { name: 'ActivationDate', value: secondsFromNow(-60) },
    );
    const answer = await ask(old, 'ReKey', { UniqueIdentifier: id, Attributes: [named(`${name}-more`)] });
    const next = answer['UniqueIdentifier'] as string;
    expect(next).not.toBe(id);
    expect(await nameTexts(next)).toEqual([name, `${name}-more`]);
    expect(await nameTexts(id)).toEqual([]);
    expect(await linksOf(id)).toEqual({ ReplacementObjectLink: next });
    expect(await linksOf(next)).toEqual({ ReplacedObjectLink: id });
    expect(await stateOf(old, id)).toBe('Active');
    expect(await stateOf(old, next)).toBe('Active');
    expect(await single(old, next, 'OperationPolicyName')).toBe('default');
    const [before, after] = await Promise.all([single(old, id, 'Digest'), single(old, next, 'Digest')]);
    expect(after).toBeDefined();
    expect(after).not.toEqual(before);
  });

  test('an offset sets the activation and moves the other dates by the same', async () => {
    const start = secondsFromNow(-1000);
    const id = await createKey(
      current,
      { name: 'ActivationDate', value: start },
      { name: 'ProcessStartDate', value: start + 100n },
      { name: 'ProtectStopDate', value: start + 5000n },
      { name: 'DeactivationDate', value: start + 9000n },
    );
    const next = (await ask(current, 'ReKey', { UniqueIdentifier: id, Offset: 3600 }))['UniqueIdentifier'] as string;
    const initial = (await single(current, next, 'InitialDate')) as bigint;
    const activation = (await single(current, next, 'ActivationDate')) as bigint;
    expect(activation).toBe(initial + 3600n);
    expect(await single(current, next, 'ProcessStartDate')).toBe(activation + 100n);
    expect(await single(current, next, 'ProtectStopDate')).toBe(activation + 5000n);
    expect(await single(current, next, 'DeactivationDate')).toBe(activation + 9000n);
    expect(await stateOf(current, next)).toBe('PreActive');
  });

  test('an offset beside dates, or without an activation date to start from, is refused', async () => {
    const plain = await createKey(old);
    const date: KmipAttribute = { name: 'ActivationDate', value: secondsFromNow(60) };
    expect(await outcome(ask(old, 'ReKey', { UniqueIdentifier: plain, Offset: 60, Attributes: [date] }))).toBe('InvalidMessage');
    const stops = await createKey(old, { name: 'DeactivationDate', value: secondsFromNow(5000) });
    expect(await outcome(ask(old, 'ReKey', { UniqueIdentifier: stops, Offset: 60 }))).toBe('IllegalOperation');
    expect(await outcome(ask(current, 'ReKey', { UniqueIdentifier: stops, Offset: 60 }))).toBe('InvalidField');
  });

  test('a key that has expired is replaced; with an offset its replacement is not', async () => {
    const id = await createKey(
      current,
      { name: 'ActivationDate', value: secondsFromNow(-900) },
      { name: 'DeactivationDate', value: secondsFromNow(-600) },
    );
    const same = (await ask(current, 'ReKey', { UniqueIdentifier: id }))['UniqueIdentifier'] as string;
    expect(await stateOf(current, same)).toBe('Deactivated');
    const later = (await ask(current, 'ReKey', { UniqueIdentifier: id, Offset: 0 }))['UniqueIdentifier'] as string;
    expect(await stateOf(current, later)).toBe('Active');
    await ask(current, 'Destroy', { UniqueIdentifier: id });
    expect(await outcome(ask(current, 'ReKey', { UniqueIdentifier: id }))).toBe('ObjectDestroyed');
  });

  test('a usage limit starts anew with the same total', async () => {
    const limits: KmipAttribute = { name: 'UsageLimits', value: { UsageLimitsTotal: 100n, UsageLimitsUnit: 'Byte' } };
    const id = await createKey(current, limits, { name: 'ActivationDate', value: secondsFromNow(-5) });
    await ask(current, 'GetUsageAllocation', { UniqueIdentifier: id, UsageLimitsCount: 40n });
    const next = (await ask(current, 'ReKey', { UniqueIdentifier: id }))['UniqueIdentifier'] as string;
    expect(await single(current, next, 'UsageLimits')).toEqual({
      UsageLimitsTotal: 100n,
      UsageLimitsCount: 100n,
      UsageLimitsUnit: 'Byte',
    });
    expect(await single(current, id, 'UsageLimits')).toEqual({ UsageLimitsTotal: 100n, UsageLimitsCount: 60n, UsageLimitsUnit: 'Byte' });
  });

  test('a pair is replaced whole, names and links of both halves', async () => {
    const name = randomUUID();
    const made = await ask(current, 'CreateKeyPair', {
      CommonAttributes: [
        { name: 'CryptographicAlgorithm', value: 'ECDSA' },
        { name: 'CryptographicDomainParameters', value: { RecommendedCurve: 'P_256' } },
      ],
      PrivateKeyAttributes: [named(`${name}-private`), { name: 'CryptographicUsageMask', value: 0x1 }],
      PublicKeyAttributes: [named(`${name}-public`), { name: 'CryptographicUsageMask', value: 0x2 }],
    });
    const [privateId, publicId] = [made['PrivateKeyUniqueIdentifier'] as string, made['PublicKeyUniqueIdentifier'] as string];
    expect(await single(current, publicId, 'CryptographicAlgorithm')).toBe('ECDSA');
    const again = await ask(current, 'ReKeyKeyPair', { PrivateKeyUniqueIdentifier: privateId });
    const [nextPrivate, nextPublic] = [again['PrivateKeyUniqueIdentifier'] as string, again['PublicKeyUniqueIdentifier'] as string];
    expect(await nameTexts(nextPrivate)).toEqual([`${name}-private`]);
    expect(await nameTexts(nextPublic)).toEqual([`${name}-public`]);
    expect(await nameTexts(privateId)).toEqual([]);
    expect(await linksOf(nextPrivate)).toEqual({ PublicKeyLink: nextPublic, ReplacedObjectLink: privateId });
    expect(await linksOf(nextPublic)).toEqual({ PrivateKeyLink: nextPrivate, ReplacedObjectLink: publicId });
    expect(await linksOf(publicId)).toEqual({ PrivateKeyLink: privateId, ReplacementObjectLink: nextPublic });
    expect(await outcome(ask(current, 'ReKey', { UniqueIdentifier: nextPrivate }))).toBe('InvalidObjectType');
    expect(await outcome(ask(old, 'ReKey', { UniqueIdentifier: nextPrivate }))).toBe('PermissionDenied');
  });
});

describe('states', () => {
  test('dates drive them: past activation activates, past deactivation deactivates', async () => {
    const active = await createKey(old, { name: 'ActivationDate', value: secondsFromNow(-1) });
    expect(await stateOf(old, active)).toBe('Active');
    const over = await createKey(
      old,
      { name: 'ActivationDate', value: secondsFromNow(-100) },
      { name: 'DeactivationDate', value: secondsFromNow(-50) },
    );
    expect(await stateOf(old, over)).toBe('Deactivated');
    const later = await createKey(old, { name: 'ActivationDate', value: secondsFromNow(3600) });
    expect(await stateOf(old, later)).toBe('PreActive');
    await ask(old, 'ModifyAttribute', { UniqueIdentifier: later, NewAttribute: { name: 'ActivationDate', value: secondsFromNow(-5) } });
    expect(await stateOf(old, later)).toBe('Active');
    await ask(old, 'AddAttribute', { UniqueIdentifier: later, NewAttribute: { name: 'DeactivationDate', value: secondsFromNow(-1) } });
    expect(await stateOf(old, later)).toBe('Deactivated');
  });

  test('an active key is not destroyed; a revoked one is, and its Name is free again', async () => {
    const name = `again-${randomUUID()}`;
    const id = await createKey(old, named(name));
    await ask(old, 'Activate', { UniqueIdentifier: id });
    expect(await outcome(ask(old, 'Destroy', { UniqueIdentifier: id }))).toBe('PermissionDenied');
    expect(await outcome(ask(current, 'Destroy', { UniqueIdentifier: id }))).toBe('WrongKeyLifecycleState');
    expect(await outcome(ask(old, 'Activate', { UniqueIdentifier: id }))).toBe('PermissionDenied');
    await ask(old, 'Revoke', {
      UniqueIdentifier: id,
      RevocationReason: { RevocationReasonCode: 'CessationOfOperation', RevocationMessage: 'over' },
    });
    expect(await single(old, id, 'RevocationReason')).toEqual({ RevocationReasonCode: 'CessationOfOperation', RevocationMessage: 'over' });
    await ask(old, 'Destroy', { UniqueIdentifier: id });
    expect(await stateOf(old, id)).toBe('Destroyed');
    expect(await nameTexts(id)).toEqual([name]);
    expect(await outcome(ask(current, 'Destroy', { UniqueIdentifier: id }))).toBe('ObjectDestroyed');
    const again = await createKey(old, named(name));
    expect(await nameTexts(again)).toEqual([name]);
    expect(await outcome(createKey(old, named(name)))).toBe('InvalidField');
    expect(await outcome(createKey(current, named(name)))).toBe('NonUniqueNameAttribute');
  });

  test('a compromise is recorded from Pre-Active, with when it happened', async () => {
    const id = await createKey(old);
    await ask(old, 'Revoke', {
      UniqueIdentifier: id,
      RevocationReason: { RevocationReasonCode: 'KeyCompromise' },
      CompromiseOccurrenceDate: 6n,
    });
    expect(await stateOf(old, id)).toBe('Compromised');
    expect(await single(old, id, 'CompromiseOccurrenceDate')).toBe(6n);
    await ask(old, 'Destroy', { UniqueIdentifier: id });
    expect(await stateOf(old, id)).toBe('DestroyedCompromised');
  });

  test('Archive and Recover; an archived object is not archived twice, not changed, not located unless asked for', async () => {
    const name = `archive-${randomUUID()}`;
    const id = await createKey(current, named(name));
    await ask(current, 'Archive', { UniqueIdentifier: id });
    expect(await single(current, id, 'ArchiveDate')).toBeTypeOf('bigint');
    expect(await outcome(ask(current, 'Archive', { UniqueIdentifier: id }))).toBe('ObjectArchived');
    expect(await outcome(ask(current, 'Activate', { UniqueIdentifier: id }))).toBe('ObjectArchived');
    expect(await outcome(ask(current, 'Check', { UniqueIdentifier: id }))).toBe('ObjectArchived');
    const find = (mask?: number) =>
      ask(current, 'Locate', { Attributes: [named(name)], ...(mask === undefined ? {} : { StorageStatusMask: mask }) });
    expect((await find())['UniqueIdentifier'] ?? []).toEqual([]);
    expect((await find(2))['UniqueIdentifier']).toEqual([id]);
    await ask(current, 'Recover', { UniqueIdentifier: id });
    expect(await single(current, id, 'ArchiveDate')).toBeUndefined();
    expect((await find())['UniqueIdentifier']).toEqual([id]);
  });

  test('3.0: Deactivate ends what is active, with its reason; Obliterate leaves nothing to find', async () => {
    const id = await createKey(
      draft,
      named(`deactivate-${randomUUID()}`),
      { name: 'ActivationDate', value: secondsFromNow(-5) },
      { name: 'ProtectStopDate', value: secondsFromNow(900) },
    );
    await ask(draft, 'Deactivate', { UniqueIdentifier: id });
    expect(await stateOf(draft, id)).toBe('Deactivated');
    expect(await single(draft, id, 'RevocationReason')).toBeUndefined();
    expect(await outcome(ask(draft, 'Deactivate', { UniqueIdentifier: id }))).toBe('WrongKeyLifecycleState');

    const name = `gone-${randomUUID()}`;
    const gone = await createKey(draft, named(name));
    await ask(draft, 'Obliterate', { UniqueIdentifier: gone });
    expect(await outcome(attributesOf(draft, gone))).toBe('ItemNotFound');
    expect(await outcome(ask(draft, 'Destroy', { UniqueIdentifier: gone }))).toBe('ItemNotFound');
    const everywhere = await ask(draft, 'Locate', { Attributes: [named(name)], StorageStatusMask: 7 });
    expect(everywhere['UniqueIdentifier'] ?? []).toEqual([]);
    await createKey(draft, named(name));
  });
});

describe('uses, leases and checks', () => {
  test('an allocation takes from the limit, never more than is left, however many ask at once', async () => {
    const id = await createKey(
      current,
      { name: 'UsageLimits', value: { UsageLimitsTotal: 100n, UsageLimitsUnit: 'Byte' } },
      { name: 'ActivationDate', value: secondsFromNow(-5) },
    );
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => outcome(ask(current, 'GetUsageAllocation', { UniqueIdentifier: id, UsageLimitsCount: 30n }))),
    );
    expect(outcomes.filter((one) => one === 'Success').length).toBeLessThanOrEqual(3);
    const { UsageLimitsCount: left } = (await single(current, id, 'UsageLimits')) as { UsageLimitsCount: bigint };
    expect(left).toBe(100n - 30n * BigInt(outcomes.filter((one) => one === 'Success').length));
    expect(await outcome(ask(current, 'GetUsageAllocation', { UniqueIdentifier: id, UsageLimitsCount: 1000n }))).toBe('UsageLimitExceeded');
    expect(await outcome(ask(old, 'GetUsageAllocation', { UniqueIdentifier: id, UsageLimitsCount: 1000n }))).toBe('PermissionDenied');
    expect(await outcome(ask(current, 'Check', { UniqueIdentifier: id, UsageLimitsCount: 1000n }))).toBe('UsageLimitExceeded');
    expect(await outcome(ask(current, 'Check', { UniqueIdentifier: id, UsageLimitsCount: left }))).toBe('Success');
    // A limit that is in use stands (KMIP 1.4 §3.21).
    const limits: KmipAttribute = { name: 'UsageLimits', value: { UsageLimitsTotal: 9999n, UsageLimitsUnit: 'Byte' } };
    expect(await outcome(ask(current, 'ModifyAttribute', { UniqueIdentifier: id, NewAttribute: limits }))).toBe('WrongKeyLifecycleState');
    expect(await outcome(ask(current, 'DeleteAttribute', { UniqueIdentifier: id, AttributeReference: { name: 'UsageLimits' } }))).toBe(
      'WrongKeyLifecycleState',
    );
  });

  test('without a limit, or before the key is active, there is nothing to allocate', async () => {
    expect(await outcome(ask(old, 'GetUsageAllocation', { UniqueIdentifier: await createKey(old), UsageLimitsCount: 1n }))).toBe(
      'IllegalOperation',
    );
    const waiting = await createKey(current, { name: 'UsageLimits', value: { UsageLimitsTotal: 10n, UsageLimitsUnit: 'Object' } });
    expect(await outcome(ask(current, 'GetUsageAllocation', { UniqueIdentifier: waiting, UsageLimitsCount: 1n }))).toBe(
      'WrongKeyLifecycleState',
    );
  });

  test('a lease is an interval, with the date of the last change', async () => {
    const id = await createKey(old);
    const lease = await ask(old, 'ObtainLease', { UniqueIdentifier: id });
    expect(lease['LeaseTime']).toBe(3600);
    expect(lease['LastChangeDate']).toBe(await single(old, id, 'LastChangeDate'));
    expect(await single(old, id, 'LeaseTime')).toBe(3600);
    await ask(old, 'Revoke', { UniqueIdentifier: id, RevocationReason: { RevocationReasonCode: 'KeyCompromise' } });
    expect(await outcome(ask(old, 'ObtainLease', { UniqueIdentifier: id }))).toBe('PermissionDenied');
  });

  test('Check compares the mask', async () => {
    const id = await createKey(current);
    expect(await outcome(ask(current, 'Check', { UniqueIdentifier: id, CryptographicUsageMask: 0x4 }))).toBe('Success');
    expect(await outcome(ask(current, 'Check', { UniqueIdentifier: id, CryptographicUsageMask: 0x14 }))).toBe(
      'IncompatibleCryptographicUsageMask',
    );
    expect(await outcome(ask(old, 'Check', { UniqueIdentifier: id, CryptographicUsageMask: 0x14 }))).toBe('PermissionDenied');
  });
});

describe('what is refused', () => {
  test('another tenant’s object is not there for any operation', async () => {
    const id = await createKey(current, named(`mine-${randomUUID()}`));
    const stranger = await target.connect('stranger', '2.1');
    const tries: readonly [string, Fields][] = [
      ['GetAttributes', {}],
      ['GetAttributeList', {}],
      ['Activate', {}],
      ['Destroy', {}],
      ['Archive', {}],
      ['Recover', {}],
      ['ReKey', {}],
      ['Check', {}],
      ['ObtainLease', {}],
      ['GetUsageAllocation', { UsageLimitsCount: 1n }],
      ['Revoke', { RevocationReason: { RevocationReasonCode: 'KeyCompromise' } }],
      ['AddAttribute', { NewAttribute: { name: 'Comment', value: 'a' } }],
    ];
    for (const [operation, payload] of tries) {
      expect(await outcome(ask(stranger, operation, { UniqueIdentifier: id, ...payload })), operation).toBe('ItemNotFound');
    }
    expect(await stateOf(current, id)).toBe('PreActive');
  });

  test('a Name is no Unique Identifier', async () => {
    const name = `name-${randomUUID()}`;
    await createKey(current, named(name));
    expect(await outcome(ask(current, 'Activate', { UniqueIdentifier: name }))).toBe('ObjectNotFound');
    expect(await outcome(ask(old, 'Activate', { UniqueIdentifier: name }))).toBe('ItemNotFound');
  });

  test('keys that cannot be made', async () => {
    const create = (client: Client, type: string, ...attributes: readonly KmipAttribute[]) =>
      outcome(ask(client, 'Create', { ObjectType: type, Attributes: attributes }));
    expect(await create(old, 'SymmetricKey', { name: 'CryptographicLength', value: 128 })).toBe('InvalidMessage');
    expect(await create(old, 'Certificate', { name: 'CryptographicLength', value: 128 })).toBe('InvalidField');
    expect(
      await create(current, 'SymmetricKey', { name: 'CryptographicAlgorithm', value: 'AES' }, { name: 'CryptographicLength', value: 100 }),
    ).toBe('InvalidAttributeValue');
    expect(
      await create(
        current,
        'SymmetricKey',
        { name: 'CryptographicAlgorithm', value: 'AES' },
        { name: 'CryptographicLength', value: 128 },
        { name: 'QuantumSafe', value: true },
      ),
    ).toBe('GeneralFailure');
    expect(
      await create(
        current,
        'SymmetricKey',
        { name: 'CryptographicAlgorithm', value: 'AES' },
        { name: 'CryptographicLength', value: 256 },
        { name: 'QuantumSafe', value: true },
      ),
    ).toBe('Success');
  });

  test('masks that are left out get the usual ones', async () => {
    const pair = await ask(await target.connect('alice', '1.2'), 'CreateKeyPair', {
      CommonAttributes: [
        { name: 'CryptographicAlgorithm', value: 'RSA' },
        { name: 'CryptographicLength', value: 2048 },
      ],
    });
    expect(await single(old, pair['PrivateKeyUniqueIdentifier'] as string, 'CryptographicUsageMask')).toBeTypeOf('number');
    expect(await single(old, pair['PublicKeyUniqueIdentifier'] as string, 'CryptographicUsageMask')).toBe(0x2);
  });
});
