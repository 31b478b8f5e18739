import { randomUUID } from 'node:crypto';
import { type Fields, ItemType, type KmipAttribute, knownTag } from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  attributesOf,
  type Client,
  createKey,
  custom,
  EVERY_OLD,
  named,
  outcome,
  secondsFromNow,
  single,
  valuesOf,
} from './attribute-words.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let old: Client;
let current: Client;
beforeAll(async () => {
  target = await startKmipTarget();
  [old, current] = await Promise.all([target.connect('alice', '1.4'), target.connect('alice', '2.1')]);
}, 120_000);
afterAll(() => target?.stop());

const add = (client: Client, id: string, attribute: KmipAttribute) =>
  ask(client, 'AddAttribute', { UniqueIdentifier: id, NewAttribute: attribute });
const modify = (client: Client, id: string, attribute: KmipAttribute, current?: KmipAttribute) =>
  ask(client, 'ModifyAttribute', {
    UniqueIdentifier: id,
    NewAttribute: attribute,
    ...(current === undefined ? {} : { CurrentAttribute: current }),
  });
const remove = (client: Client, id: string, reference: Fields) =>
  ask(client, 'DeleteAttribute', { UniqueIdentifier: id, AttributeReference: reference });
const set = (id: string, attribute: KmipAttribute) => ask(current, 'SetAttribute', { UniqueIdentifier: id, NewAttribute: attribute });
const adjust = (id: string, name: string, type: string, value?: number) =>
  ask(current, 'AdjustAttribute', {
    UniqueIdentifier: id,
    AttributeReference: { name },
    AdjustmentType: type,
    ...(value === undefined ? {} : { AdjustmentValue: value }),
  });
const contact = (text: string): KmipAttribute => ({ name: 'ContactInformation', value: text });
const application = (data: string): KmipAttribute => ({
  name: 'ApplicationSpecificInformation',
  value: { ApplicationNamespace: 'ssl', ApplicationData: data },
});

describe('reading', () => {
  test('an attribute that is absent, or that nobody knows, is Success with nothing, in every version of 1.x', async () => {
    for (const version of EVERY_OLD) {
      const client = await target.connect('alice', version);
      const id = await createKey(client);
      const answer = await ask(client, 'GetAttributes', {
        UniqueIdentifier: id,
        AttributeReference: [{ vendor: 'x', name: 'Product_Version' }, { name: 'ContactInformation' }, { vendor: '', name: 'No Such' }],
      });
      expect(answer).toMatchObject({ UniqueIdentifier: id });
      expect(answer['Attributes'] ?? [], version).toEqual([]);
    }
  });

  test('attributes come in the order asked for; the same one twice is refused', async () => {
    const id = await createKey(current);
    const names = ['State', 'Name', 'ObjectType', 'CryptographicLength'];
    expect(await outcome(attributesOf(current, id, 'State', 'ObjectType', 'State'))).toBe('InvalidMessage');
    expect((await attributesOf(current, id, ...names)).map(({ name }) => name)).toEqual(['State', 'ObjectType', 'CryptographicLength']);
  });

  test('the list has every name once, and what Get Attributes answers has no others', async () => {
    for (const client of [old, current, await target.connect('alice', '3.0')]) {
      const id = await createKey(client, named(randomUUID()), application('1'), application('2'), custom('Barcode', 'a'));
      const list = (await ask(client, 'GetAttributeList', { UniqueIdentifier: id }))['AttributeReference'] as { name: string }[];
      const texts = list.map(({ name }) => name);
      expect(new Set(texts).size).toBe(texts.length);
      expect(new Set((await attributesOf(client, id)).map(({ name }) => name))).toEqual(new Set(texts));
    }
  });
});

describe('1.x: instances have indexes that stay', () => {
  test('deleting one leaves the others where they were, and a new one gets a new index', async () => {
    const id = await createKey(old, application('zero'), application('one'), application('two'));
    const deleted = await remove(old, id, { name: 'ApplicationSpecificInformation', index: 1 });
    expect(deleted['CurrentAttribute']).toMatchObject({ index: 1, value: { ApplicationData: 'one' } });
    const left = () => attributesOf(old, id, 'ApplicationSpecificInformation');
    expect((await left()).map(({ index, value }) => [index ?? 0, (value as Fields)['ApplicationData']])).toEqual([
      [0, 'zero'],
      [2, 'two'],
    ]);
    const added = await add(old, id, application('three'));
    expect(added['NewAttribute']).toMatchObject({ index: 3 });
    await modify(old, id, { ...application('two again'), index: 2 });
    expect((await left()).map(({ index, value }) => [index ?? 0, (value as Fields)['ApplicationData']])).toEqual([
      [0, 'zero'],
      [2, 'two again'],
      [3, 'three'],
    ]);
    expect(await outcome(modify(old, id, { ...application('x'), index: 1 }))).toBe('ItemNotFound');
    expect(await outcome(remove(old, id, { name: 'ApplicationSpecificInformation', index: 7 }))).toBe('ItemNotFound');
  });

  test('Names and groups too, which the service keeps in lists of its own', async () => {
    const text = randomUUID();
    const id = await createKey(
      old,
      named(`${text}-0`),
      named(`${text}-1`),
      named(`${text}-2`),
      { name: 'ObjectGroup', value: 'a' },
      { name: 'ObjectGroup', value: 'b' },
    );
    await remove(old, id, { name: 'Name', index: 1 });
    await remove(old, id, { name: 'ObjectGroup' });
    const indexed = async (name: string) =>
      (await attributesOf(old, id, name)).map(({ index, value }) => [index ?? 0, (value as Fields)['NameValue'] ?? value]);
    expect(await indexed('Name')).toEqual([
      [0, `${text}-0`],
      [2, `${text}-2`],
    ]);
    expect(await indexed('ObjectGroup')).toEqual([[1, 'b']]);
    // The freed name may be used.
    await createKey(old, named(`${text}-1`));
  });

  test('Add answers the attribute with its index, Modify the new value, Delete the old one', async () => {
    const id = await createKey(old);
    expect((await add(old, id, { ...custom('a', '1'), index: 0 }))['NewAttribute']).toMatchObject({ name: 'a', vendor: 'x' });
    expect((await modify(old, id, custom('a', '2')))['NewAttribute']).toMatchObject({ value: { value: '2' } });
    expect((await remove(old, id, { vendor: 'x', name: 'a' }))['CurrentAttribute']).toMatchObject({ value: { value: '2' } });
    expect(await outcome(remove(old, id, { vendor: 'x', name: 'a' }))).toBe('ItemNotFound');
    expect(await outcome(modify(old, id, custom('a', '3')))).toBe('InvalidField');
    expect(await outcome(add(old, id, { ...custom('a', '1'), index: 4 }))).toBe('InvalidField');
    const limits: KmipAttribute = { name: 'UsageLimits', value: { UsageLimitsTotal: 1000n, UsageLimitsUnit: 'Byte' } };
    expect((await add(old, id, limits))['NewAttribute']).toMatchObject({ value: { UsageLimitsTotal: 1000n, UsageLimitsCount: 1000n } });
  });
});

describe('2.x: instances are chosen by value', () => {
  test('Current Attribute says which; without it several are refused', async () => {
    const id = await createKey(current, application('one'), application('two'));
    expect(await outcome(modify(current, id, application('three')))).toBe('MultiValuedAttribute');
    await modify(current, id, application('three'), application('one'));
    expect((await valuesOf(current, id, 'ApplicationSpecificInformation')).map((value) => (value as Fields)['ApplicationData'])).toEqual([
      'three',
      'two',
    ]);
    expect(await outcome(modify(current, id, application('four'), application('one')))).toBe('AttributeInstanceNotFound');
    await ask(current, 'DeleteAttribute', { UniqueIdentifier: id, CurrentAttribute: application('two') });
    expect((await valuesOf(current, id, 'ApplicationSpecificInformation')).length).toBe(1);
    await add(current, id, application('five'));
    await remove(current, id, { name: 'ApplicationSpecificInformation' });
    expect(await valuesOf(current, id, 'ApplicationSpecificInformation')).toEqual([]);
    expect(await outcome(remove(current, id, { name: 'ApplicationSpecificInformation' }))).toBe('AttributeNotFound');
  });

  test('Set adds, then changes, and refuses several', async () => {
    const id = await createKey(current, application('one'), application('two'));
    await set(id, contact('first'));
    await set(id, contact('second'));
    expect(await single(current, id, 'ContactInformation')).toBe('second');
    expect(await outcome(set(id, application('three')))).toBe('MultiValuedAttribute');
    expect(await outcome(set(id, { name: 'State', value: 'Compromised' }))).toBe('ReadOnlyAttribute');
  });

  test('Adjust counts, negates, and stays in range', async () => {
    const id = await createKey(current);
    await adjust(id, 'ProtectionPeriod', 'Increment', 100);
    await adjust(id, 'ProtectionPeriod', 'Increment');
    await adjust(id, 'ProtectionPeriod', 'Decrement', 50);
    expect(await single(current, id, 'ProtectionPeriod')).toBe(51);
    expect(await outcome(adjust(id, 'ProtectionPeriod', 'Decrement', 52))).toBe('NumericRange');
    await adjust(id, 'QuantumSafe', 'Negate');
    expect(await single(current, id, 'QuantumSafe')).toBe(true);
    await adjust(id, 'QuantumSafe', 'Negate');
    expect(await single(current, id, 'QuantumSafe')).toBe(false);
    await add(current, id, { name: 'Comment', value: 'text' });
    expect(await outcome(adjust(id, 'Comment', 'Increment'))).toBe('InvalidDataType');
    expect(await outcome(adjust(id, 'State', 'Increment'))).toBe('ReadOnlyAttribute');
  });

  test('answers hold the identifier alone', async () => {
    const id = await createKey(current);
    expect(await add(current, id, contact('a'))).toEqual({ UniqueIdentifier: id });
    expect(await modify(current, id, contact('b'))).toEqual({ UniqueIdentifier: id });
    expect(await remove(current, id, { name: 'ContactInformation' })).toEqual({ UniqueIdentifier: id });
  });
});

describe('what the tables refuse', () => {
  const readOnly: readonly KmipAttribute[] = [
    { name: 'State', value: 'Active' },
    { name: 'CryptographicAlgorithm', value: 'RSA' },
    { name: 'CryptographicLength', value: 128 },
    { name: 'CryptographicUsageMask', value: 0xff },
    { name: 'InitialDate', value: 5n },
    { name: 'LastChangeDate', value: 5n },
    { name: 'UniqueIdentifier', value: 'a' },
    { name: 'LeaseTime', value: 5 },
    { name: 'AlwaysSensitive', value: true },
    { name: 'NeverExtractable', value: true },
    { name: 'Digest', value: { HashingAlgorithm: 'SHA_256', DigestValue: new Uint8Array(32) } },
    { name: 'RevocationReason', value: { RevocationReasonCode: 'Superseded' } },
    { vendor: 'y', name: 'server', value: { tag: knownTag('AttributeValue'), type: ItemType.TextString, value: 'a' } },
  ];
  test('the server’s attributes are neither added, nor changed, nor deleted', async () => {
    const id = await createKey(current);
    const before = await attributesOf(current, id);
    for (const attribute of readOnly) {
      const { name, vendor } = attribute;
      expect(await outcome(add(current, id, attribute)), `add ${name}`).toBe('ReadOnlyAttribute');
      expect(await outcome(modify(current, id, attribute)), `modify ${name}`).toBe('AttributeReadOnly');
      expect(await outcome(remove(current, id, { name, ...(vendor === undefined ? {} : { vendor }) })), `delete ${name}`).toBe(
        'AttributeReadOnly',
      );
      expect(await outcome(add(old, id, attribute)), `add ${name} in 1.4`).toBe('PermissionDenied');
      expect(await outcome(modify(old, id, attribute)), `modify ${name} in 1.4`).toBe('PermissionDenied');
      expect(await outcome(remove(old, id, { name, ...(vendor === undefined ? {} : { vendor }) })), `delete ${name} in 1.4`).toBe(
        'PermissionDenied',
      );
    }
    expect(await attributesOf(current, id)).toEqual(before);
  });

  test('a date that has had its effect stands', async () => {
    const id = await createKey(
      current,
      { name: 'ActivationDate', value: secondsFromNow(-100) },
      { name: 'ProcessStartDate', value: secondsFromNow(-50) },
    );
    expect(await outcome(modify(current, id, { name: 'ActivationDate', value: secondsFromNow(5) }))).toBe('WrongKeyLifecycleState');
    expect(await outcome(modify(current, id, { name: 'ProcessStartDate', value: secondsFromNow(5) }))).toBe('WrongKeyLifecycleState');
    expect(await outcome(modify(old, id, { name: 'ActivationDate', value: secondsFromNow(5) }))).toBe('PermissionDenied');
    expect(await outcome(add(current, id, { name: 'DeactivationDate', value: secondsFromNow(-200) }))).not.toBe('Success');
    expect(await outcome(add(current, id, { name: 'DeactivationDate', value: secondsFromNow(900) }))).toBe('Success');
    expect(await outcome(remove(current, id, { name: 'DeactivationDate' }))).toBe('AttributeReadOnly');
  });

  test('a second value of a single attribute, a second use of a Name', async () => {
    const text = randomUUID();
    const id = await createKey(current, contact('a'), named(text));
    const other = await createKey(current);
    expect(await outcome(add(current, id, contact('b')))).toBe('AttributeSingleValued');
    expect(await outcome(add(old, id, contact('b')))).toBe('IllegalOperation');
    expect(await outcome(add(current, id, named(text)))).toBe('NonUniqueNameAttribute');
    expect(await outcome(add(current, other, named(text)))).toBe('NonUniqueNameAttribute');
    expect(await outcome(add(old, other, named(text)))).not.toBe('Success');
    expect(await valuesOf(current, other, 'Name')).toEqual([]);
  });

  test('what a version does not have', async () => {
    const id = await createKey(current);
    const early = await target.connect('alice', '1.0');
    expect(await outcome(add(early, id, { vendor: '', name: 'Comment', value: custom('', 'a').value as never }))).toBe('InvalidField');
    expect(await outcome(add(current, id, { name: 'CertificateType', value: 'X_509' }))).not.toBe('Success');
  });

  test('Always Sensitive and Never Extractable latch', async () => {
    const id = await createKey(current, { name: 'Sensitive', value: true });
    const flags = async () =>
      Promise.all(['Sensitive', 'AlwaysSensitive', 'Extractable', 'NeverExtractable'].map((name) => single(current, id, name)));
    expect(await flags()).toEqual([true, true, true, false]);
    await modify(current, id, { name: 'Sensitive', value: false });
    expect(await flags()).toEqual([false, false, true, false]);
    await modify(current, id, { name: 'Sensitive', value: true });
    await modify(current, id, { name: 'Extractable', value: false });
    expect(await flags()).toEqual([true, false, false, false]);
    expect(await outcome(ask(current, 'Get', { UniqueIdentifier: id }))).not.toBe('Success');
    const closed = await createKey(current, { name: 'Extractable', value: false });
    expect(await single(current, closed, 'NeverExtractable')).toBe(true);
    expect(await outcome(modify(current, closed, { name: 'Extractable', value: true }))).toBe('PermissionDenied');
    expect(await single(current, closed, 'NeverExtractable')).toBe(true);
  });
});

test('additions at the same time are all kept', async () => {
  const id = await createKey(current);
  const clients = await Promise.all([1, 2, 3, 4].map(() => target.connect('alice', '2.1')));
  const outcomes = await Promise.all(clients.map((client, i) => outcome(add(client, id, custom(`k${i}`, String(i))))));
  expect(outcomes).toEqual(['Success', 'Success', 'Success', 'Success']);
  const kept = (await attributesOf(current, id)).filter(({ vendor }) => vendor === 'x').map(({ name }) => name);
  expect(kept).toEqual(['k0', 'k1', 'k2', 'k3']);
});

test('3.0: links and names are attributes of their own', async () => {
  const draft = await target.connect('alice', '3.0');
  const [a, b] = [await createKey(draft), await createKey(draft)];
  await ask(draft, 'AddAttribute', {
    UniqueIdentifier: a,
    NewAttribute: { name: 'Link', value: { LinkType: 'NextLink', LinkedObjectIdentifier: b } },
  });
  await ask(draft, 'AddAttribute', {
    UniqueIdentifier: a,
    NewAttribute: { name: 'Link', value: { LinkType: 'ParentLink', LinkedObjectIdentifier: b } },
  });
  const answer = await ask(draft, 'GetAttributes', { UniqueIdentifier: a, AttributeReference: [{ name: 'Link', linkType: 'NextLink' }] });
  expect(answer['Attributes']).toMatchObject([{ name: 'Link', value: { LinkType: 'NextLink', LinkedObjectIdentifier: b } }]);
  await ask(draft, 'DeleteAttribute', { UniqueIdentifier: a, AttributeReference: { name: 'Link', linkType: 'NextLink' } });
  expect(await valuesOf(current, a, 'Link')).toEqual([{ LinkType: 'ParentLink', LinkedObjectIdentifier: b }]);
});

test('1.x templates: their attributes go to what names them, what the request says comes first', async () => {
  const text = randomUUID();
  const attribute = (name: string, value: string) => ({ vendor: 'x', name, value: custom('', value).value });
  await ask(old, 'Register', {
    ObjectType: 'Template',
    Attributes: [named(text)],
    Template: {
      Attribute: [attribute('a', 'of the template'), attribute('b', 'of the template'), { name: 'ContactInformation', value: 'desk' }],
    },
  } as unknown as Fields);
  const made = await ask(old, 'Create', {
    ObjectType: 'SymmetricKey',
    Attributes: [
      { name: 'CryptographicAlgorithm', value: 'AES' },
      { name: 'CryptographicLength', value: 128 },
      custom('b', 'of the request'),
    ],
    AttributesTemplates: [{ NameValue: text, NameType: 'UninterpretedTextString' }],
  } as unknown as Fields);
  const id = made['UniqueIdentifier'] as string;
  expect(await single(old, id, 'ContactInformation')).toBe('desk');
  const own = (await attributesOf(old, id))
    .filter(({ vendor }) => vendor === 'x')
    .map(({ name, value }) => [name, (value as { value: string }).value]);
  expect(own).toEqual([
    ['a', 'of the template'],
    ['b', 'of the request'],
  ]);
  const missing = { AttributesTemplates: [{ NameValue: `${text}-none`, NameType: 'UninterpretedTextString' }], Attributes: [] };
  expect(await outcome(ask(old, 'Create', { ObjectType: 'SymmetricKey', ...missing } as unknown as Fields))).toBe('ItemNotFound');
});
