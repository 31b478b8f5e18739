import { type Item, ItemType, KMIP_VERSIONS, type KmipAttribute, type KmipVersion, knownTag } from '@aegis/kmip-ttlv';
import { KEY_SPEC_NAMES, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ManagedObject, NewObject, ObjectType, ObjectView } from '../../src/domain/index.js';
import { algorithmOfSpec, curveOfSpec, readKeySpec, specOfFacts } from '../../src/planes/kmip/attributes/key-spec.js';
import { readNewObject } from '../../src/planes/kmip/attributes/new-object.js';
import { attributesOfObject } from '../../src/planes/kmip/attributes/of-object.js';
import { fromJson, namedBy, storedAttributes, toJson, vendorKey } from '../../src/planes/kmip/attributes/stored-values.js';
import { KmipRefusal } from '../../src/planes/kmip/contract.js';

const call = (version: KmipVersion) => ({ version, placeholder: () => undefined });
const text = (value: string): Item => ({ tag: knownTag('AttributeValue'), type: ItemType.TextString, value });
const aes: readonly KmipAttribute[] = [
  { name: 'CryptographicAlgorithm', value: 'AES' },
  { name: 'CryptographicLength', value: 256 },
];
const read = (attributes: readonly KmipAttribute[], version: KmipVersion = '2.1', type: ObjectType = 'symmetric-key'): NewObject =>
  readNewObject(attributes, { type, call: call(version), spec: type === 'symmetric-key' ? 'aes-256' : undefined });
const reasonOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof KmipRefusal) return error.reason;
    throw error;
  }
  return 'no refusal';
};

const NOW = 1_700_000_000_000;
const viewOf = (made: NewObject, more: Partial<ManagedObject> = {}): ObjectView => ({
  object: {
    id: '018bcfe5-6800-7000-8000-0123456789ab' as ManagedObject['id'],
    tenant: 'default',
    type: 'symmetric-key',
    spec: 'aes-256',
    usage: made.usage ?? ['encrypt', 'decrypt'],
    state: 'pre-active',
    archived: false,
    exportable: made.exportable === true,
    protection: 'software',
    rootId: 'software',
    currentVersion: 1,
    names: made.names ?? [],
    ...(made.description === undefined ? {} : { description: made.description }),
    tags: {},
    ...(made.objectGroup === undefined ? {} : { objectGroup: made.objectGroup }),
    dates: { created: NOW, initial: NOW, lastChange: NOW, ...made.dates },
    ...(made.usageLimits === undefined ? {} : { usageLimits: { ...made.usageLimits, remaining: made.usageLimits.total } }),
    uses: 0,
    links: made.links ?? [],
    owner: 'someone',
    attributes: made.attributes ?? {},
    revision: 1,
    ...more,
  },
  versions: [
    {
      version: 1,
      state: 'current',
      rootId: 'software',
      bits: 256,
      createdAt: NOW,
      digest: new Uint8Array(32),
      provenance: { local: true, alwaysSensitive: false, neverExtractable: false },
    },
  ],
});
const told = (view: ObjectView, name: string, version: KmipVersion = '2.1') =>
  attributesOfObject(view, version)
    .filter((one) => one.name === name)
    .map((one) => one.value);

describe('a request becomes the domain’s words and comes back as it was', () => {
  const given: readonly KmipAttribute[] = [
    ...aes,
    { name: 'Name', value: { NameValue: 'first', NameType: 'UninterpretedTextString' } },
    { name: 'Name', value: { NameValue: 'urn:second', NameType: 'URI' } },
    { name: 'ObjectGroup', value: 'g1' },
    { name: 'ObjectGroup', value: 'g2' },
    { name: 'CryptographicUsageMask', value: 0x0c },
    { name: 'ActivationDate', value: 1_600_000_000n },
    { name: 'DeactivationDate', value: 1_900_000_000n },
    { name: 'UsageLimits', value: { UsageLimitsTotal: 100n, UsageLimitsUnit: 'Byte' } },
    { name: 'Link', value: { LinkType: 'PreviousLink', LinkedObjectIdentifier: '018bcfe5-6800-7000-8000-000000000001' } },
    { name: 'Description', value: 'words' },
    { name: 'CryptographicParameters', value: { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5' } },
    { name: 'CryptographicParameters', value: { BlockCipherMode: 'GCM', TagLength: 16 } },
    { name: 'ContactInformation', value: 'desk 4' },
    { vendor: 'x', name: 'Barcode', value: text('XXA012A1') },
    { vendor: 'oasisopen', name: 'KMIP Test Case: one', value: { tag: knownTag('AttributeValue'), type: ItemType.DateTime, value: 5n } },
  ];

  test('every attribute given is told again, of equal value', () => {
    const view = viewOf(read(given));
    for (const attribute of given) {
      const values = attributesOfObject(view, '2.1').filter((one) => one.name === attribute.name && one.vendor === attribute.vendor);
      const expected = attribute.name === 'UsageLimits' ? { ...(attribute.value as object), UsageLimitsCount: 100n } : attribute.value;
      expect(values.map((one) => one.value)).toContainEqual(expected);
    }
  });

  test('what the domain interprets is in its fields, not beside them', () => {
    const made = read(given);
    expect(made).toMatchObject({
      names: ['first', 'urn:second'],
      usage: ['encrypt', 'decrypt'],
      objectGroup: 'g1',
      dates: { activation: 1_600_000_000_000, deactivation: 1_900_000_000_000 },
      usageLimits: { unit: 'byte', total: 100 },
      links: [{ type: 'previous', target: '018bcfe5-6800-7000-8000-000000000001' }],
      description: 'words',
      exportable: true,
    });
    expect(Object.keys(made.attributes ?? {})).not.toContain('kmip:CryptographicUsageMask');
  });

  test('nothing newer than the version is told', () => {
    const view = viewOf(read(given));
    expect(told(view, 'Description', '1.3')).toEqual([]);
    expect(told(view, 'AlwaysSensitive', '1.3')).toEqual([]);
    expect(told(view, 'AlwaysSensitive', '1.4')).toEqual([false]);
    expect(told(view, 'ShortUniqueIdentifier', '1.4')).toEqual([]);
    expect(told(view, 'OperationPolicyName', '2.1')).toEqual([]);
  });

  test('a mask with bits that mean nothing for the key is told whole, and what acts is only what can', () => {
    const made = read([...aes, { name: 'CryptographicUsageMask', value: 0x0f }]);
    expect(made.usage).toEqual(['encrypt', 'decrypt']);
    expect(told(viewOf(made), 'CryptographicUsageMask')).toEqual([0x0f]);
  });

  test('a mask of nothing usable makes a key that can do nothing, told as it was given', () => {
    const made = read([...aes, { name: 'CryptographicUsageMask', value: 0x03 }]);
    expect(made.usage?.some((usage) => KEY_SPECS['aes-256'].usages.includes(usage))).toBe(false);
    expect(told(viewOf(made), 'CryptographicUsageMask')).toEqual([0x03]);
  });

  test('Unrestricted stands for every use', () => {
    expect(read([...aes, { name: 'CryptographicUsageMask', value: 0x200000 }]).usage).toEqual(
      expect.arrayContaining([...KEY_SPECS['aes-256'].usages]),
    );
  });

  test('mask 0 is taken for secret data and opaque objects', () => {
    for (const type of ['secret-data', 'opaque-object'] as const) {
      expect(readNewObject([{ name: 'CryptographicUsageMask', value: 0 }], { type, call: call('1.0') }).usage).toEqual([]);
    }
  });

  test('what is sensitive was always so, and what is not extractable never was', () => {
    const closed = read([...aes, { name: 'Sensitive', value: true }, { name: 'Extractable', value: false }], '1.4');
    const view = viewOf(closed);
    expect(['Sensitive', 'AlwaysSensitive', 'Extractable', 'NeverExtractable'].map((name) => told(view, name)[0])).toEqual([
      true,
      true,
      false,
      true,
    ]);
    const open = viewOf(read([...aes]));
    expect(['Sensitive', 'AlwaysSensitive', 'Extractable', 'NeverExtractable'].map((name) => told(open, name)[0])).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });
});

describe('what the tables do not let a client give', () => {
  const refusals: readonly [string, readonly KmipAttribute[], KmipVersion, string][] = [
    ['an attribute the version does not have', [{ name: 'Sensitive', value: true }], '1.3', 'UnsupportedAttribute'],
    ['one that 2.0 dropped', [{ name: 'OperationPolicyName', value: 'default' }], '2.0', 'UnsupportedAttribute'],
    ['a 1.x name nobody knows', [{ vendor: '', name: 'Foo', value: text('a') }], '1.0', 'UnsupportedAttribute'],
    ['the server’s own', [{ name: 'State', value: 'Active' }], '2.1', 'ReadOnlyAttribute'],
    ['a y- attribute', [{ vendor: 'y', name: 'mine', value: text('a') }], '1.2', 'ReadOnlyAttribute'],
    [
      'a single one twice',
      [
        { name: 'Comment', value: 'a' },
        { name: 'Comment', value: 'b' },
      ],
      '2.1',
      'AttributeSingleValued',
    ],
    [
      'a Name twice',
      [
        { name: 'Name', value: { NameValue: 'a' } },
        { name: 'Name', value: { NameValue: 'a' } },
      ],
      '2.1',
      'NonUniqueNameAttribute',
    ],
    ['an empty Name', [{ name: 'Name', value: { NameValue: ' ', NameType: 'UninterpretedTextString' } }], '1.4', 'InvalidAttributeValue'],
    [
      'dates out of order',
      [
        { name: 'ActivationDate', value: 20n },
        { name: 'DeactivationDate', value: 10n },
      ],
      '2.1',
      'InvalidAttributeValue',
    ],
    ['a date before 1970', [{ name: 'ActivationDate', value: -1n }], '2.1', 'InvalidAttributeValue'],
    ['no value', [{ name: 'Comment' }], '2.1', 'InvalidAttributeValue'],
    ['a zero character', [{ vendor: 'x', name: 'a', value: text('a\0b') }], '2.1', 'InvalidAttributeValue'],
    [
      'application data left out',
      [{ name: 'ApplicationSpecificInformation', value: { ApplicationNamespace: 'ssl' } }],
      '2.1',
      'ApplicationNamespaceNotSupported',
    ],
    ['half a surrogate pair', [{ name: 'Comment', value: 'a\ud800' }], '2.1', 'InvalidAttributeValue'],
    [
      'a limit of nothing',
      [{ name: 'UsageLimits', value: { UsageLimitsTotal: 0n, UsageLimitsUnit: 'Byte' } }],
      '2.1',
      'InvalidAttributeValue',
    ],
    ['a certificate’s attribute on a key', [{ name: 'CertificateType', value: 'X_509' }], '2.1', 'InvalidAttribute'],
  ];
  test.each(refusals)('%s', (_, attributes, version, reason) => {
    expect(reasonOf(() => read([...attributes], version))).toBe(reason);
  });
});

describe('key specifications', () => {
  test('every specification is found again by the algorithm, length and curve told of it', () => {
    for (const spec of KEY_SPEC_NAMES) {
      const { family, bits, importOnly } = KEY_SPECS[spec];
      const algorithm = algorithmOfSpec(spec);
      if (importOnly === true) continue;
      if (family === 'secret') {
        expect(algorithm).toBeUndefined();
        continue;
      }
      const curve = curveOfSpec(spec);
      expect(specOfFacts({ algorithm: algorithm as string, length: bits, ...(curve === undefined ? {} : { curve }) }), spec).toBe(spec);
    }
  });

  test.each([
    [{ algorithm: 'AES', length: 100 }, 'InvalidAttributeValue'],
    [{ algorithm: 'RSA', length: 2048 }, 'InvalidAttributeValue'],
    [{ algorithm: 'Blowfish', length: 8 }, 'InvalidAttributeValue'],
    [{ algorithm: 'DH', length: 2048 }, 'InvalidAttributeValue'],
    [{ length: 128 }, 'InvalidMessage'],
    [{ algorithm: 'AES', length: -1 }, 'InvalidAttributeValue'],
  ])('%j is no symmetric key to be made', ({ algorithm, length }: { algorithm?: string; length: number }, reason) => {
    const attributes: KmipAttribute[] = [
      ...(algorithm === undefined ? [] : [{ name: 'CryptographicAlgorithm', value: algorithm }]),
      { name: 'CryptographicLength', value: length },
    ];
    expect(reasonOf(() => readKeySpec(attributes, 'symmetric-key'))).toBe(reason);
  });

  test('a length that is left out is the strongest usual one; secret data must have one', () => {
    expect(readKeySpec([{ name: 'CryptographicAlgorithm', value: 'AES' }], 'symmetric-key')).toEqual({ spec: 'aes-256' });
    expect(readKeySpec([{ name: 'CryptographicLength', value: 80 }], 'secret-data')).toEqual({ spec: 'secret', bits: 80 });
    expect(reasonOf(() => readKeySpec([], 'secret-data'))).toBe('InvalidMessage');
    // Kept, and given to who asks; no root computes with it.
    const skipjack: KmipAttribute[] = [
      { name: 'CryptographicAlgorithm', value: 'SKIPJACK' },
      { name: 'CryptographicLength', value: 80 },
    ];
    expect(readKeySpec(skipjack, 'symmetric-key')).toEqual({ spec: 'secret', bits: 80, type: 'symmetric-key' });
  });
});

describe('kept values', () => {
  test('survive JSON whatever they are', () => {
    const value = fc.letrec((tie) => ({
      leaf: fc.oneof(
        fc.string(),
        fc.integer(),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.boolean(),
        fc.uint8Array({ maxLength: 40 }),
      ),
      fields: fc.dictionary(fc.stringMatching(/^[A-Z][A-Za-z0-9]{0,12}$/), fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('fields')), {
        maxKeys: 4,
      }),
    })).fields;
    fc.assert(
      fc.property(value, (one) => {
        expect(fromJson(JSON.parse(JSON.stringify(toJson(one as never))))).toEqual(
          Object.assign(Object.create(Object.prototype), structuredClone(one)),
        );
      }),
      { numRuns: 200 },
    );
  });

  test('vendor and name stay apart whatever characters they have', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme' }), (vendor, name) => {
        expect(namedBy(vendorKey(vendor, name))).toEqual({ vendor, name });
      }),
    );
  });

  test('the plane’s own notes are no attributes', () => {
    expect(storedAttributes({ 'kmip:~Index': [{ v: 1 }], 'x-caller-iv': true, 'pkcs11:CKA_ID': 'a' })).toEqual([]);
  });

  test('every version tells only what it has', () => {
    const view = viewOf(read([...aes, { vendor: 'x', name: 'ID', value: text('1') }]));
    for (const version of KMIP_VERSIONS) {
      const names = attributesOfObject(view, version).map(({ name }) => name);
      expect(names).toContain('UniqueIdentifier');
      expect(names[0]).toBe('ID');
      expect(new Set(names).size).toBe(names.length);
    }
  });
});
