import { randomUUID } from 'node:crypto';
import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Client, createKey, custom, named, outcome, secondsFromNow, single } from './attribute-words.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let old: Client;
let current: Client;
beforeAll(async () => {
  target = await startKmipTarget();
  [old, current] = await Promise.all([target.connect('alice', '1.4'), target.connect('alice', '2.1')]);
}, 120_000);
afterAll(() => target?.stop());

const find = async (client: Client, attributes: readonly KmipAttribute[], more: Fields = {}): Promise<readonly string[]> =>
  ((await ask(client, 'Locate', { Attributes: attributes, ...more }))['UniqueIdentifier'] ?? []) as string[];
const mark = (text: string): KmipAttribute => custom('mark', text);

describe('every attribute is a filter', () => {
  const text = randomUUID();
  const start = secondsFromNow(-5000);
  let id: string;
  let other: string;
  beforeAll(async () => {
    id = await createKey(
      current,
      mark(text),
      named(`${text}-a`),
      named(`${text}-b`),
      { name: 'ObjectGroup', value: `${text}-g1` },
      { name: 'ObjectGroup', value: `${text}-g2` },
      { name: 'ActivationDate', value: start },
      { name: 'ProcessStartDate', value: start + 10n },
      { name: 'ProtectStopDate', value: start + 90_000n },
      { name: 'DeactivationDate', value: start + 99_000n },
      { name: 'UsageLimits', value: { UsageLimitsTotal: 100n, UsageLimitsUnit: 'Byte' } },
      { name: 'ContactInformation', value: 'desk' },
      { name: 'Description', value: `words ${text}` },
      { name: 'CryptographicParameters', value: { BlockCipherMode: 'GCM', TagLength: 16, RandomIV: true } },
      { name: 'ApplicationSpecificInformation', value: { ApplicationNamespace: 'ssl', ApplicationData: text } },
      { name: 'Link', value: { LinkType: 'ParentLink', LinkedObjectIdentifier: text } },
      { name: 'Sensitive', value: true },
    );
    other = await createKey(current, mark(text));
  });
  const cases = (): readonly [string, readonly KmipAttribute[], readonly KmipAttribute[]][] => [
    ['Unique Identifier', [{ name: 'UniqueIdentifier', value: id }], [{ name: 'UniqueIdentifier', value: randomUUID() }]],
    ['Name', [named(`${text}-a`)], [named(`${text}-`), named(`${text}-a2`)]],
    ['several Names', [named(`${text}-b`), named(`${text}-a`)], [named(`${text}-a`), named(`${text}-c`)]],
    ['a Name of another type', [named(`${text}-a`)], [{ name: 'Name', value: { NameValue: `${text}-a`, NameType: 'URI' } }]],
    ['Object Type', [{ name: 'ObjectType', value: 'SymmetricKey' }], [{ name: 'ObjectType', value: 'PrivateKey' }]],
    ['Object Group', [{ name: 'ObjectGroup', value: `${text}-g1` }], [{ name: 'ObjectGroup', value: `${text}-g3` }]],
    ['a further Object Group', [{ name: 'ObjectGroup', value: `${text}-g2` }], [{ name: 'ObjectGroup', value: `${text}-g` }]],
    ['State', [{ name: 'State', value: 'Active' }], [{ name: 'State', value: 'PreActive' }]],
    ['a date', [{ name: 'ActivationDate', value: start }], [{ name: 'ActivationDate', value: start + 1n }]],
    [
      'a range of dates',
      [
        { name: 'ProcessStartDate', value: start },
        { name: 'ProcessStartDate', value: start + 20n },
      ],
      [
        { name: 'ProcessStartDate', value: start + 11n },
        { name: 'ProcessStartDate', value: start + 20n },
      ],
    ],
    [
      'the range given backwards',
      [
        { name: 'DeactivationDate', value: start + 99_001n },
        { name: 'DeactivationDate', value: start + 99_000n },
      ],
      [{ name: 'DeactivationDate', value: 5n }],
    ],
    ['a date it has not', [{ name: 'ProtectStopDate', value: start + 90_000n }], [{ name: 'CompromiseDate', value: start }]],
    [
      'Original Creation Date',
      [
        { name: 'OriginalCreationDate', value: secondsFromNow(-900) },
        { name: 'OriginalCreationDate', value: secondsFromNow(900) },
      ],
      [{ name: 'OriginalCreationDate', value: 1n }],
    ],
    ['Cryptographic Algorithm', [{ name: 'CryptographicAlgorithm', value: 'AES' }], [{ name: 'CryptographicAlgorithm', value: 'DES3' }]],
    ['Cryptographic Length', [{ name: 'CryptographicLength', value: 256 }], [{ name: 'CryptographicLength', value: 128 }]],
    ['a mask it has', [{ name: 'CryptographicUsageMask', value: 0x4 }], [{ name: 'CryptographicUsageMask', value: 0x6 }]],
    [
      'Usage Limits, as many or more',
      [{ name: 'UsageLimits', value: { UsageLimitsTotal: 90n } }],
      [{ name: 'UsageLimits', value: { UsageLimitsTotal: 101n } }],
    ],
    [
      'a link',
      [{ name: 'Link', value: { LinkType: 'ParentLink', LinkedObjectIdentifier: text } }],
      [{ name: 'Link', value: { LinkType: 'ChildLink', LinkedObjectIdentifier: text } }],
    ],
    [
      'a kept structure, in part',
      [{ name: 'CryptographicParameters', value: { BlockCipherMode: 'GCM' } }],
      [{ name: 'CryptographicParameters', value: { BlockCipherMode: 'CBC' } }],
    ],
    ['text', [{ name: 'ContactInformation', value: 'desk' }], [{ name: 'ContactInformation', value: 'des' }]],
    ['Description', [{ name: 'Description', value: `words ${text}` }], [{ name: 'Description', value: 'words' }]],
    [
      'Application Specific Information',
      [{ name: 'ApplicationSpecificInformation', value: { ApplicationNamespace: 'ssl', ApplicationData: text } }],
      [{ name: 'ApplicationSpecificInformation', value: { ApplicationNamespace: 'tls', ApplicationData: text } }],
    ],
    ['Fresh', [{ name: 'Fresh', value: true }], [{ name: 'Fresh', value: false }]],
    ['Sensitive', [{ name: 'Sensitive', value: true }], [{ name: 'Sensitive', value: false }]],
    ['Extractable', [{ name: 'Extractable', value: true }], [{ name: 'Extractable', value: false }]],
    ['Key Format Type', [{ name: 'KeyFormatType', value: 'Raw' }], [{ name: 'KeyFormatType', value: 'PKCS_1' }]],
    ['a custom attribute, no wildcards', [mark(text)], [mark(`${text.slice(0, 8)}*`)]],
  ];
  test('finds what has it and not what has another', async () => {
    for (const [what, matching, missing] of cases()) {
      expect(await find(current, [mark(text), ...matching]), what).toContain(id);
      expect(await find(current, [mark(text), ...missing]), `not ${what}`).not.toContain(id);
    }
    expect(await find(current, [mark(text), named(`${text}-a`)])).toEqual([id]);
    expect(await find(current, [mark(text)])).toEqual([other, id]);
  });

  test('a digest finds the one key', async () => {
    const digest = (await single(current, id, 'Digest')) as Fields;
    expect(await find(current, [mark(text), { name: 'Digest', value: digest }])).toEqual([id]);
  });

  test('1.4 finds the same', async () => {
    expect(await find(old, [{ ...custom('mark', text) }, named(`${text}-a`)])).toEqual([id]);
    expect(
      await find(old, [
        custom('mark', text),
        { name: 'OriginalCreationDate', value: secondsFromNow(-900) },
        { name: 'OriginalCreationDate', value: secondsFromNow(900) },
      ]),
    ).toEqual([other, id]);
  });
});

describe('pages', () => {
  test('Maximum and Offset Items, Located Items, newest first', async () => {
    const text = randomUUID();
    const ids: string[] = [];
    for (let i = 0; i < 45; i += 1) ids.unshift(await createKey(current, mark(text)));
    expect(await find(current, [mark(text)])).toEqual(ids);
    expect(await find(current, [mark(text)], { MaximumItems: 16 })).toEqual(ids.slice(0, 16));
    const page = await ask(current, 'Locate', { Attributes: [mark(text)], MaximumItems: 10, OffsetItems: 30 });
    expect(page).toEqual({ LocatedItems: 45, UniqueIdentifier: ids.slice(30, 40) });
    const tested = await ask(current, 'Locate', {
      Attributes: [mark(text), { name: 'CryptographicUsageMask', value: 4 }],
      MaximumItems: 10,
      OffsetItems: 40,
    });
    expect(tested).toEqual({ LocatedItems: 45, UniqueIdentifier: ids.slice(40) });
    expect(await find(current, [mark(text)], { MaximumItems: 0 })).toEqual([]);
    expect(await outcome(ask(current, 'Locate', { Attributes: [], MaximumItems: -1 }))).toBe('InvalidField');
    // Located Items came with 1.3.
    const early = await target.connect('alice', '1.2');
    expect(await ask(early, 'Locate', { Attributes: [mark(text)], MaximumItems: 1 })).toEqual({ UniqueIdentifier: [ids[0]] });
  });

  test('nothing found is Success with nothing', async () => {
    expect(await ask(old, 'Locate', { Attributes: [named(randomUUID())] })).toEqual({});
  });
});

describe('what is searched', () => {
  test('destroyed objects are found by those who ask for them, by the names they had', async () => {
    const text = randomUUID();
    const id = await createKey(current, named(`n-${text}`));
    await ask(current, 'Destroy', { UniqueIdentifier: id });
    expect(await find(current, [named(`n-${text}`)])).toEqual([]);
    expect(await find(current, [named(`n-${text}`)], { StorageStatusMask: 4 })).toEqual([id]);
    const again = await createKey(current, named(`n-${text}`));
    expect(await find(current, [named(`n-${text}`)], { StorageStatusMask: 5 })).toEqual([again, id]);
    expect(await find(current, [named(`n-${text}`)])).toEqual([again]);
  });

  test('group members: fresh ones, and the default', async () => {
    const group: KmipAttribute = { name: 'ObjectGroup', value: randomUUID() };
    const used = await createKey(current, group);
    const fresh = await createKey(current, group);
    await ask(current, 'Get', { UniqueIdentifier: used });
    expect(await find(current, [group], { ObjectGroupMember: 'GroupMemberFresh' })).toEqual([fresh]);
    expect(await find(current, [group], { ObjectGroupMember: 'GroupMemberDefault' })).toEqual([fresh]);
    await ask(current, 'Activate', { UniqueIdentifier: used });
    expect(await find(current, [group], { ObjectGroupMember: 'GroupMemberDefault' })).toEqual([used]);
    expect(await outcome(ask(current, 'Locate', { Attributes: [], ObjectGroupMember: 'GroupMemberFresh' }))).toBe('InvalidField');
  });

  test('a key that a date has just activated is found as active, though no job wrote it down', async () => {
    const text = randomUUID();
    const id = await createKey(current, mark(text), { name: 'ActivationDate', value: secondsFromNow(2) });
    expect(await find(current, [mark(text), { name: 'State', value: 'Active' }])).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    expect(await find(current, [mark(text), { name: 'State', value: 'Active' }])).toEqual([id]);
  });

  test('never another tenant’s', async () => {
    const text = randomUUID();
    const id = await createKey(current, mark(text), named(`n-${text}`));
    const stranger = await target.connect('stranger', '2.1');
    for (const filter of [[mark(text)], [named(`n-${text}`)], [{ name: 'UniqueIdentifier', value: id }], [] as KmipAttribute[]]) {
      expect(await find(stranger, filter, { StorageStatusMask: 7 })).not.toContain(id);
    }
  });

  test('FortiGate’s form: filters in a Template-Attribute', async () => {
    const text = randomUUID();
    const early = await target.connect('alice', '1.0');
    const id = await createKey(early, named(text));
    expect(await find(early, [named(text)], { MaximumItems: 1 })).toEqual([id]);
    const answer = await early.send({
      kind: 'request',
      version: '1.0',
      header: { ProtocolVersion: { ProtocolVersionMajor: 1, ProtocolVersionMinor: 0 }, BatchCount: 1 },
      items: [{ operation: 'Locate', payload: { TemplateAttribute: { Attribute: [named(text)] } } as Fields, fields: {} }],
    });
    expect(answer.items[0]?.payload?.['UniqueIdentifier']).toEqual([id]);
  });

  test('attributes the version does not know are refused', async () => {
    expect(
      await outcome(ask(old, 'Locate', { Attributes: [{ vendor: '', name: 'Nonsense', value: custom('', 'a').value as never }] })),
    ).toBe('InvalidField');
    expect(await outcome(ask(current, 'Locate', { Attributes: [{ name: 'State', value: 77 }] }))).toBe('InvalidField');
  });
});
