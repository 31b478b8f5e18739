import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CALLS, callById } from '../../src/planes/pkcs11/calls.js';
import { HANDLERS } from '../../src/planes/pkcs11/handlers.js';
import { lettersOf, readArguments, readHead } from '../../src/planes/pkcs11/wire/arguments.js';
import {
  type Attribute,
  type AttributeValue,
  attributeClass,
  readAttributes,
  readWanted,
  writeAttribute,
} from '../../src/planes/pkcs11/wire/attributes.js';
import { ByteReader, ByteWriter, WireError } from '../../src/planes/pkcs11/wire/bytes.js';
import { CKA, CKM } from '../../src/planes/pkcs11/wire/codes.js';
import { FRAME_HEADER_BYTES, FrameReader, MAX_BODY_BYTES, toErrorFrame, toFrame } from '../../src/planes/pkcs11/wire/frames.js';
import { type Mechanism, readMechanism } from '../../src/planes/pkcs11/wire/mechanism-encodings.js';
import { captures, skipCaptures } from './captures.js';

const collect = () => {
  const frames: { code: number; body: Buffer }[] = [];
  const large: number[] = [];
  const reader = new FrameReader({
    frame: ({ code, body }) => frames.push({ code, body: Buffer.from(body) }),
    tooLarge: (code) => large.push(code),
  });
  return { frames, large, reader };
};

describe.skipIf(skipCaptures)('captures of stock clients', () => {
  const all = captures();
  test('are there for every client generation', () => {
    expect(new Set(all.map((one) => one.generation))).toEqual(new Set([0, 1, 2]));
  });

  for (const { file, generation, frames } of all) {
    const requests = frames.filter((one) => one.fromClient);
    test(`${file}: every one of ${requests.length} requests is cut, found in the table and consumed to the last byte`, () => {
      const { frames: cut, reader } = collect();
      // One byte at a time is the worst a stream can do.
      for (const { frame } of requests) for (const byte of frame) reader.push(Buffer.of(byte));
      expect(cut.map(({ code, body }) => ({ code, body }))).toEqual(requests.map(({ code, body }) => ({ code, body })));
      for (const { call, body } of requests) {
        const head = readHead(body);
        const row = callById(head.call);
        expect({ id: head.call, signature: head.signature }).toEqual({ id: call, signature: row?.request });
        expect(readArguments(head.reader, lettersOf(head.signature), generation)).toHaveLength(lettersOf(head.signature).length);
      }
    });

    test(`${file}: the responses of the stock server have the signatures of the table`, () => {
      for (const { call, body } of frames.filter((one) => !one.fromClient)) {
        const head = readHead(body);
        expect(head.signature).toBe(call === 0 ? 'u' : callById(call)?.response);
      }
    });
  }

  const mechanismsOf = (file: string): Mechanism[] => {
    const capture = all.find((one) => one.file === file);
    if (capture === undefined) throw new Error(file);
    return capture.frames
      .filter((one) => one.fromClient)
      .flatMap(({ body }) => {
        const head = readHead(body);
        const letters = lettersOf(head.signature);
        const at = letters.indexOf('M');
        return at < 0 ? [] : [readArguments(head.reader, letters, capture.generation)[at] as Mechanism];
      });
  };
  test('the same program means the same mechanisms in the old and in the new encoding', () => {
    const old = mechanismsOf('tee-0.25.5.log');
    expect(old.length).toBeGreaterThan(3);
    expect(mechanismsOf('tee-0.26.4.log')).toEqual(old);
    expect(old).toContainEqual({
      type: CKM.RSA_PKCS_PSS,
      parameter: { record: 'pss', hash: CKM.SHA256, mgf: 2, saltLength: 32 },
      unread: false,
    });
  });
});

describe('frames', () => {
  test('survive any cut of the stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
        (bodies, cuts) => {
          const stream = Buffer.concat(bodies.map((body, at) => toFrame(at + 1, body)));
          const { frames, reader } = collect();
          for (let at = 0, n = 0; at < stream.length; n += 1) {
            const take = cuts[n % cuts.length] ?? 1;
            reader.push(stream.subarray(at, at + take));
            at += take;
          }
          expect(frames).toEqual(bodies.map((body, at) => ({ code: at + 1, body: Buffer.from(body) })));
          expect(reader.pending).toBe(0);
        },
      ),
    );
  });

  test('over the limit are thrown away as they come, reported, and the next one is read', () => {
    const { frames, large, reader } = collect();
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt32BE(7, 0);
    header.writeUInt32BE(MAX_BODY_BYTES + 1, 8);
    reader.push(header);
    const part = Buffer.alloc(1024 * 1024);
    for (let left = MAX_BODY_BYTES + 1; left > 0; left -= part.length) {
      reader.push(part.subarray(0, Math.min(left, part.length)));
      expect(reader.pending).toBe(0);
    }
    expect(large).toEqual([7]);
    reader.push(toFrame(8, Buffer.from('x')));
    expect(frames).toEqual([{ code: 8, body: Buffer.from('x') }]);
  });

  test('an error response is call 0 with one ulong, as §4 shows it', () => {
    expect(toErrorFrame(0x1c, 0xa0).toString('hex')).toBe('0000001c00000000000000110000000000000001' + '75' + '00000000000000a0');
    expect(toErrorFrame(1, 0).readUInt32BE(FRAME_HEADER_BYTES + 13), 'CKR_OK would be a broken reply').toBeGreaterThan(0);
  });
});

const parse = (hex: string, generation: 0 | 1 | 2): Attribute[] => {
  const reader = new ByteReader(Buffer.from(hex.replace(/[ |]/g, ''), 'hex'));
  const attributes = readAttributes(reader, generation);
  expect(reader.left).toBe(0);
  return attributes;
};

describe('attributes', () => {
  test('of the annotated captures read as they were meant', () => {
    expect(parse('00000003 00000000 01 00000008 0000000000000003 00000102 01 00000001 00000001 02 00000001 01 00000001 01', 0)).toEqual([
      { type: CKA.CLASS, value: 3, available: true },
      { type: CKA.ID, value: Buffer.of(2), available: true },
      { type: CKA.TOKEN, value: true, available: true },
    ]);
    const empty =
      '00000005 00000003 00 00000000 01 00000000 0000000000000000 00000001 01 00000000 00 00000110 01 00000000 ffffffff 0000008c 01 00000008 00000008 2000000000000000';
    expect(parse(empty, 0).map((one) => [one.type, one.available, one.value])).toEqual([
      [CKA.LABEL, false, undefined],
      [CKA.CLASS, true, undefined],
      [CKA.TOKEN, true, undefined],
      [CKA.START_DATE, true, undefined],
      [CKA.NAME_HASH_ALGORITHM, true, Buffer.from('2000000000000000', 'hex')],
    ]);
    expect(
      parse('00000001 40000211 01 00000030 00000002 00000104 01 00000001 01 00000161 01 00000008 0000000000000020', 1)[0]?.value,
    ).toEqual([
      { type: CKA.ENCRYPT, value: true, available: true },
      { type: CKA.VALUE_LEN, value: 32, available: true },
    ]);
    expect(parse('00000001 40000600 01 00000008 00000001 0000000000001081', 0)[0]?.value).toEqual([CKM.AES_ECB]);
  });

  const anyValue = (type: number): fc.Arbitrary<AttributeValue> => {
    const kind = attributeClass(type);
    if (kind === 'bool') return fc.boolean();
    if (kind === 'ulong') return fc.nat();
    if (kind === 'mechanisms') return fc.array(fc.nat(), { maxLength: 5 });
    return fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes));
  };
  test('read back what was written', () => {
    const types = fc.constantFrom(...Object.values(CKA).filter((type) => !['attributes', 'date'].includes(attributeClass(type))));
    fc.assert(
      fc.property(
        fc.array(
          types.chain((type) => anyValue(type).map((value) => ({ type, value, available: true }))),
          { maxLength: 8 },
        ),
        (attributes) => {
          const writer = new ByteWriter();
          writer.u32(attributes.length);
          for (const one of attributes) writeAttribute(writer, one.type, one);
          const reader = new ByteReader(writer.done());
          expect(readAttributes(reader, 2)).toEqual(attributes);
          expect(reader.left).toBe(0);
        },
      ),
    );
  });

  test('an unlisted boolean goes as its own memory with its exact length', () => {
    const writer = new ByteWriter();
    writeAttribute(writer, CKA.DESTROYABLE, { value: true });
    expect(Buffer.from(writer.done()).toString('hex')).toBe('000001720100000001' + '0000000101');
  });

  test('wanted lists of both 0.25 habits are read', () => {
    const plain = Buffer.from('000000024000021100000000000000030000000a', 'hex');
    const nested = Buffer.from('00000002400002110000000000000000000000030000000a', 'hex');
    const expected = [
      { type: CKA.WRAP_TEMPLATE, capacity: 0 },
      { type: CKA.LABEL, capacity: 10 },
    ];
    for (const body of [plain, nested]) expect(readArguments(new ByteReader(body), ['fA'], 1)).toEqual([expected]);
    expect(readWanted(new ByteReader(plain), 'with-buffer')).toEqual(expected);
  });

  test('a count that cannot be there is refused before anything is made', () => {
    for (const hex of ['ffffffff', '00000400', '7fffffff00000000'])
      expect(() => readAttributes(new ByteReader(Buffer.from(hex, 'hex')), 2)).toThrow(WireError);
    let deep = '00000000';
    for (let n = 0; n < 20; n += 1) deep = `0000000140000211010000001800000001${deep}`.slice(0, -8) + deep.slice(-8);
    expect(() => readAttributes(new ByteReader(Buffer.from(deep, 'hex')), 2)).toThrow(WireError);
  });
});

describe('mechanisms', () => {
  const key = '0000000000000004';
  const read = (hex: string, generation: 0 | 1 | 2) =>
    readMechanism(new ByteReader(Buffer.from(hex.replaceAll(' ', ''), 'hex')), generation, 8);
  test('are read in each generation’s own writing', () => {
    const ecdsa = { type: CKM.ECDSA, parameter: undefined, unread: false };
    expect(read(`00001041 ffffffff ${key}`, 0)).toEqual(ecdsa);
    expect(read(`00001041 ffffffff ${key}`, 1)).toEqual(ecdsa);
    expect(read(`00001041 ${key}`, 2)).toEqual(ecdsa);
    const cbc = { type: CKM.AES_CBC_PAD, parameter: { record: 'iv16', iv: Buffer.alloc(16, 7) }, unread: false };
    const iv = `00000010${'07'.repeat(16)}`;
    expect(read(`00001085 ${iv} ${key}`, 1)).toEqual(cbc);
    expect(read(`00001085 01 ${iv} ${key}`, 2)).toEqual(cbc);
    expect(read(`00001085 00 ${key}`, 2)).toEqual({ ...cbc, parameter: undefined });
  });

  test('a NULL mechanism is known in all three writings', () => {
    expect(read(`ffffffff ${key}`, 2)).toBeUndefined();
    expect(read(`ffffffff ${key}`, 1)).toBeUndefined();
    expect(read(`00000000 ${key}`, 1), '0.25.0 to 0.25.2').toBeUndefined();
    expect(read(`00000000 ffffffff ${key}`, 1)).toMatchObject({ type: CKM.RSA_PKCS_KEY_PAIR_GEN });
  });

  test('one of an unknown type is told from its parameter by what must follow', () => {
    expect(read(`80001234 ${key}`, 2)).toMatchObject({ type: 0x8000_1234, unread: false });
    expect(read(`80001234 ffffffff ${key}`, 0)).toMatchObject({ unread: false });
    expect(read(`80001234 01 0000000000000001 ${key}`, 2)).toMatchObject({ unread: true });
  });
});

test('every call of the table has a handler, and signatures that can be read', () => {
  expect(CALLS.map((row) => row.id)).toEqual(Array.from({ length: 89 }, (_, at) => at + 1));
  for (const row of CALLS) {
    expect(HANDLERS[row.name], row.name).toBeTypeOf('function');
    expect(lettersOf(row.request).join('')).toBe(row.request);
  }
});

test('no body, however mangled, does anything but parse or be refused', () => {
  const bodies = captures().flatMap(({ generation, frames }) =>
    frames.filter((one) => one.fromClient).map(({ body }) => ({ generation, body })),
  );
  const seeds =
    bodies.length > 0
      ? bodies
      : [{ generation: 2 as const, body: Buffer.from('0000002a00000003754d75000000000000001100001041' + '0000000000000004', 'hex') }];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 }),
      fc.nat({ max: 12 }),
      (seed, flips, cut) => {
        const body = Buffer.from(seed.body.subarray(0, seed.body.length - Math.min(cut, seed.body.length)));
        for (const [at, value] of flips) if (body.length > 0) body[at % body.length] = value;
        try {
          const head = readHead(body);
          const row = callById(head.call);
          if (row !== undefined && row.request === head.signature) readArguments(head.reader, lettersOf(row.request), seed.generation);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      },
    ),
    { numRuns: 3_000 },
  );
});
