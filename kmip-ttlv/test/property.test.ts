import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CodecError,
  fromBigInt,
  type Item,
  ItemType,
  knownTag,
  MASKS,
  makeFrameReader,
  messageLength,
  readJson,
  readTtlv,
  readXml,
  TAGS,
  toBigInt,
  writeJson,
  writeTtlv,
  writeXml,
} from '../src/index.js';

// The generators are driven by the tables: known tags with the types the tables give them, unknown tags with any type.

const int64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const bigInteger = fc.oneof(
  fc.bigInt({ min: -(1n << 300n), max: 1n << 300n }).map(fromBigInt),
  fc.uint8Array({ minLength: 1, maxLength: 5 }).chain((some) => fc.uint8Array({ minLength: some.length * 8, maxLength: some.length * 8 })),
);
// What XML 1.0 can carry; other texts are a test of their own.
const character = fc.oneof(
  fc.constantFrom('\t', '\n', '\r', ' ', '"', "'", '<', '>', '&', ']]>', 'é', '\u{1f511}', '\ud7ff', '\ufffd'),
  fc
    .string({ unit: 'grapheme-composite', minLength: 1, maxLength: 1 })
    .filter((text) => text >= ' ' && text !== '\ufffe' && text !== '\uffff'),
);
const text = fc.array(character, { maxLength: 80 }).map((parts) => parts.join(''));

const scalars: Readonly<Record<number, fc.Arbitrary<Item['value']>>> = {
  [ItemType.Integer]: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  [ItemType.LongInteger]: int64,
  [ItemType.BigInteger]: bigInteger,
  [ItemType.Enumeration]: fc.integer({ min: 0, max: 0xffffffff }),
  [ItemType.Boolean]: fc.boolean(),
  [ItemType.TextString]: text,
  [ItemType.ByteString]: fc.uint8Array({ maxLength: 70 }),
  [ItemType.DateTime]: int64,
  [ItemType.Interval]: fc.integer({ min: 0, max: 0xffffffff }),
  [ItemType.DateTimeExtended]: int64,
  [ItemType.Identifier]: text,
  [ItemType.Reference]: text,
  [ItemType.NameReference]: text,
};
const someTag = fc.oneof(fc.constantFrom(...TAGS.map((row) => row.code)), fc.integer({ min: 0, max: 0xffffff }));
const leaf: fc.Arbitrary<Item> = fc
  .tuple(someTag, fc.constantFrom(...Object.keys(scalars).map(Number)))
  .chain(([tag, type]) => (scalars[type] as fc.Arbitrary<Item['value']>).map((value) => ({ tag, type, value })));
const masked: fc.Arbitrary<Item> = fc
  .tuple(fc.constantFrom(...MASKS.map((row) => row.name)), fc.integer({ min: -0x80000000, max: 0x7fffffff }))
  .map(([name, value]) => ({ tag: knownTag(name), type: ItemType.Integer, value }));
const { tree } = fc.letrec<{ tree: Item; node: Item }>((tie) => ({
  tree: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, masked, tie('node')),
  node: fc.tuple(someTag, fc.array(tie('tree'), { maxLength: 6 })).map(([tag, value]) => ({ tag, type: ItemType.Structure, value })),
}));
const message = fc.array(tree, { maxLength: 8 }).map((value): Item => ({ tag: 0x420078, type: ItemType.Structure, value }));

describe('arbitrary trees', () => {
  test('round-trip in TTLV, XML and JSON', () => {
    fc.assert(
      fc.property(message, (item) => {
        expect(readTtlv(writeTtlv(item))).toEqual(item);
        expect(readXml(writeXml(item))).toEqual(item);
        expect(readXml(writeXml(item, 2))).toEqual(item);
        expect(readJson(writeJson(item))).toEqual(item);
      }),
      { numRuns: 500 },
    );
  });

  test('any text goes through TTLV and JSON; XML refuses what it cannot carry, and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (value) => {
        const item: Item = { tag: 0x420055, type: ItemType.TextString, value };
        expect(readTtlv(writeTtlv(item))).toEqual(item);
        expect(readJson(writeJson(item))).toEqual(item);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
        if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(value)) expect(() => writeXml(item)).toThrow(CodecError);
        else expect(readXml(writeXml(item))).toEqual(item);
      }),
    );
    expect(() => writeTtlv({ tag: 0x420055, type: ItemType.TextString, value: '\ud800' })).toThrow(CodecError);
  });

  test('big integers are the number they stand for', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 200n), max: 1n << 200n }), (value) => {
        const bytes = fromBigInt(value);
        expect(bytes.length % 8).toBe(0);
        expect(toBigInt(bytes)).toBe(value);
      }),
    );
  });

  test('a stream cut anywhere gives the same messages', () => {
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        (items, cuts) => {
          const messages = items.map(writeTtlv);
          const stream = Buffer.concat(messages);
          const reader = makeFrameReader();
          const found: Uint8Array[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const size = cuts[i % cuts.length] as number;
            found.push(...reader.push(new Uint8Array(stream.subarray(at, at + size))));
            at += size;
          }
          expect(found.map((one) => Buffer.from(one).toString('hex'))).toEqual(messages.map((one) => Buffer.from(one).toString('hex')));
          expect(reader.pendingBytes).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('limits', () => {
  const nested = (depth: number): Item =>
    depth === 0 ? { tag: 1, type: ItemType.Integer, value: 1 } : { tag: 1, type: ItemType.Structure, value: [nested(depth - 1)] };
  const limits = { maxBytes: 4096, maxDepth: 8, maxItems: 50 };

  test('depth, count and size are refused in every form, with the path', () => {
    const deep = nested(9);
    const wide: Item = {
      tag: 0x420078,
      type: ItemType.Structure,
      value: Array.from({ length: 50 }, () => ({ tag: 2, type: ItemType.Boolean, value: true })),
    };
    for (const [item, code] of [
      [deep, 'TooDeep'],
      [wide, 'TooManyItems'],
    ] as const) {
      expect(() => readTtlv(writeTtlv(item), limits)).toThrow(expect.objectContaining({ code }));
      expect(() => readXml(writeXml(item), limits)).toThrow(expect.objectContaining({ code }));
      expect(() => readJson(writeJson(item), limits)).toThrow(expect.objectContaining({ code }));
    }
    expect(readTtlv(writeTtlv(nested(8)), limits)).toEqual(nested(8));
  });

  test('a length bomb is refused before anything is allocated for it', () => {
    const bomb = Uint8Array.of(0x42, 0, 0x78, 1, 0xff, 0xff, 0xff, 0xf8);
    expect(() => messageLength(bomb)).toThrow(expect.objectContaining({ code: 'TooLarge' }));
    expect(() => makeFrameReader().push(bomb)).toThrow(expect.objectContaining({ code: 'TooLarge' }));
    const reader = makeFrameReader();
    reader.push(Uint8Array.of(0x42, 0, 0x78, 1, 0x00, 0x0f, 0x00, 0x00));
    expect(reader.pendingBytes).toBe(8);
  });

  test('thousands of siblings and megabytes of hex cost no more than their size', () => {
    const children = Array.from({ length: 60_000 }, (): Item => ({ tag: 0x42000b, type: ItemType.Integer, value: 1 }));
    const wide: Item = { tag: 0x420008, type: ItemType.Structure, value: children };
    const big: Item = { tag: 0x4200c2, type: ItemType.ByteString, value: new Uint8Array(4 << 20).fill(0xa5) };
    const room = { maxBytes: 8 << 20, maxDepth: 32, maxItems: 65_536 };
    const started = performance.now();
    for (const item of [wide, big]) {
      const bytes = writeTtlv(item);
      expect(Buffer.compare(writeTtlv(readTtlv(bytes, room)), bytes)).toBe(0);
      expect(Buffer.compare(writeTtlv(readXml(writeXml(item), room)), bytes)).toBe(0);
      expect(Buffer.compare(writeTtlv(readJson(writeJson(item), room)), bytes)).toBe(0);
    }
    expect(performance.now() - started).toBeLessThan(5000);
    const nest = '['.repeat(2_000_000);
    expect(() => readJson(nest, room)).toThrow(CodecError);
    expect(() => readJson(`{"tag":"Data","value":${nest}${']'.repeat(2_000_000)}}`, room)).toThrow(CodecError);
    expect(() => readXml('<Data>'.repeat(100_000), room)).toThrow(expect.objectContaining({ code: 'TooDeep' }));
  });

  test('an error names the item and the byte', () => {
    const bytes = writeTtlv({
      tag: 0x420078,
      type: ItemType.Structure,
      value: [
        { tag: 0x420077, type: ItemType.Structure, value: [] },
        { tag: 0x42000f, type: ItemType.Structure, value: [{ tag: 0x42005c, type: ItemType.Enumeration, value: 1 }] },
      ],
    });
    const broken = bytes.slice();
    broken[27] = 0x0f;
    expect(() => readTtlv(broken)).toThrow(
      expect.objectContaining({ code: 'BadType', path: 'RequestMessage/BatchItem[0]/Operation', offset: 32 }),
    );
  });
});
