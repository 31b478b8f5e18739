import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BoundKey, RootCallName } from '../dist/contract.js';
import { RootFault } from '../dist/fault.js';
import { ByteReader, ByteWriter, recycle, WireError } from '../dist/host/bytes.js';
import { CALL_CODECS, FAULT, type KeyPorts } from '../dist/host/call-codec.js';
import { CALL_NAMES, CALLS } from '../dist/host/call-tables.js';
import { FRAME, FrameSink, FrameSplitter } from '../dist/host/frames.js';
import { KEY_SLOTS, NO_KEYS, ReceivedKeys, SentKeys } from '../dist/host/key-slots.js';
import { readValue, type WireValue, writeValue } from '../dist/host/values.js';
import { ALGORITHM_NAMES, HASHES, KEY_SPEC_NAMES, KEY_USAGES } from '../dist/vocabulary/index.js';

const LIMIT_BYTES = 1_000_000;
const newWriter = (limit = LIMIT_BYTES): ByteWriter => {
  const writer = new ByteWriter(64);
  writer.limit = limit;
  return writer;
};
const written = (fill: (writer: ByteWriter) => void): Buffer => {
  const writer = newWriter();
  fill(writer);
  return Buffer.from(writer.buffer.subarray(0, writer.length));
};
const readAll = <T>(bytes: Buffer, read: (reader: ByteReader) => T): T => {
  const reader = new ByteReader(bytes, 0, bytes.length, false);
  const value = read(reader);
  reader.finish();
  return value;
};

const wellFormed = (max: number) => fc.string({ unit: 'grapheme', maxLength: max });
const bytes = (max: number) => fc.uint8Array({ maxLength: max });
const binding = fc.record({
  objectId: wellFormed(64),
  version: fc.nat(),
  tenant: wellFormed(30),
  spec: fc.constantFrom(...KEY_SPEC_NAMES),
  usage: fc.array(fc.constantFrom(...KEY_USAGES), { maxLength: 8 }),
  exportable: fc.boolean(),
});
const key = fc.record({ reference: bytes(300), binding });

const newKey = fc.record({ binding, length: fc.nat() }, { requiredKeys: ['binding'] });
const provenance = fc.record({ local: fc.boolean(), alwaysSensitive: fc.boolean(), neverExtractable: fc.boolean() });
const createdKey = fc.record(
  { reference: bytes(300), publicKey: bytes(100), bits: fc.nat(), provenance, checkValue: bytes(3) },
  { requiredKeys: ['reference', 'bits', 'provenance'], noNullPrototype: true },
);

/** A value for every kind of field that a call's table may name. */
const KINDS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  bytes: bytes(400),
  text: wellFormed(100),
  uint: fc.maxSafeNat(),
  flag: fc.boolean(),
  algorithm: fc.constantFrom(...ALGORITHM_NAMES),
  spec: fc.constantFrom(...KEY_SPEC_NAMES),
  hash: fc.constantFrom(...HASHES),
  format: fc.constantFrom('raw', 'pkcs8', 'spki'),
  signatureEncoding: fc.constantFrom('der', 'p1363'),
  operationKind: fc.constantFrom('encrypt', 'decrypt', 'sign', 'verify', 'mac', 'macVerify', 'digest'),
  binding,
  key,
  verificationKey: fc.oneof(key, fc.record({ publicKey: bytes(100), spec: fc.constantFrom(...KEY_SPEC_NAMES) })),
  newKey,
  newKeys: fc.array(newKey, { maxLength: 5 }),
  keyParts: fc.array(fc.record({ key, part: fc.nat() }), { maxLength: 5 }),
  createdKeys: fc.array(createdKey, { maxLength: 5 }),
  splitMethod: fc.constantFrom('xor', 'gf2-16', 'prime-field', 'gf2-8', 'gf2-8-283'),
  provenance,
  texts: fc.dictionary(
    wellFormed(20).filter((name) => name !== '__proto__'),
    wellFormed(40),
  ),
};

type Table = { readonly [name: string]: string | Table };
const valuesOf = (table: Table): fc.Arbitrary<unknown> => {
  const required: string[] = [];
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [name, kind] of Object.entries(table)) {
    const optional = typeof kind === 'string' && kind.endsWith('?');
    if (!optional) required.push(name);
    const made = typeof kind === 'string' ? KINDS[optional ? kind.slice(0, -1) : kind] : valuesOf(kind);
    if (made === undefined) throw new Error(`no generator for ${String(kind)}`);
    fields[name] = made;
  }
  return fc.record(fields, { requiredKeys: required, noNullPrototype: true });
};

const wireValue: fc.Arbitrary<WireValue> = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom<WireValue>(undefined, null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    wellFormed(200),
    bytes(100),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      wellFormed(20).filter((name) => name !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

describe('values', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(wireValue, (value) => {
        expect(
          readAll(
            written((writer) => writeValue(writer, value)),
            readValue,
          ),
        ).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('mutated bytes are refused or are some other value, and never anything worse', () => {
    fc.assert(
      fc.property(wireValue, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(), (value, changes, cut) => {
        const good = written((writer) => writeValue(writer, value));
        for (const [at, byte] of changes) good[at % good.length] = byte;
        const bad = good.subarray(0, (cut % good.length) + 1);
        try {
          readAll(bad, readValue);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('claims of size cost nothing until the bytes are there', () => {
    // An array that says it has 2^50 items, nested objects without end, a text of 2^40 bytes.
    for (const hex of ['09ffffffffffff03', '0affffffffffff03', '07ffffffffff1f', '08ffffffffff1f', '0901'.repeat(40)]) {
      const before = process.memoryUsage();
      expect(() => readAll(Buffer.from(hex, 'hex'), readValue), hex).toThrow(WireError);
      expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(10_000_000);
    }
  });

  it('refuses what has no form, a second form of a number, and prototype keys', () => {
    let deep: WireValue = 1;
    for (let level = 0; level < 20; level++) deep = [deep];
    expect(() => written((writer) => writeValue(writer, deep))).toThrow(WireError);
    expect(() => written((writer) => writeValue(writer, (() => 1) as never))).toThrow(WireError);
    expect(() => written((writer) => writeValue(writer, JSON.parse('{"__proto__":1}') as WireValue))).toThrow(WireError);
    expect(() => readAll(Buffer.from('048000', 'hex'), readValue)).toThrow(WireError);
    expect(() => readAll(Buffer.from('0500', 'hex'), readValue)).toThrow(WireError);
    expect(() => readAll(Buffer.concat([Buffer.from('0a0109', 'hex'), Buffer.from('__proto__'), Buffer.from([1])]), readValue)).toThrow(
      WireError,
    );
    expect(() => written((writer) => writeValue(writer, 'half \ud800'))).toThrow(RootFault);
  });
});

describe('calls', () => {
  for (const name of CALL_NAMES) {
    const codec = CALL_CODECS.find((one) => one.name === name);
    const row = CALLS[name];

    it(`${name}: request and response cross unchanged`, () => {
      const sent = new SentKeys();
      const received = new ReceivedKeys();
      const crosses = (table: Table, shape: (typeof CALL_CODECS)[number]['request'] | undefined, encode: KeyPorts, decode: KeyPorts) =>
        fc.assert(
          fc.property(valuesOf(table), (value) => {
            const frame = written((writer) => shape?.write(writer, value, encode));
            sent.commit();
            expect(readAll(frame, (reader) => shape?.read(reader, decode))).toEqual(value);
          }),
          { numRuns: 60 },
        );
      crosses(row.request as unknown as Table, codec?.request, sent, received);
      crosses(row.response as unknown as Table, codec?.response, received, NO_KEYS);
    });
  }

  it('any mutation of any request is refused or read as a request: no other error, no memory', () => {
    const before = process.memoryUsage().arrayBuffers;
    fc.assert(
      fc.property(
        fc.constantFrom(...CALL_CODECS).chain((codec) =>
          fc.record({
            codec: fc.constant(codec),
            value: valuesOf(CALLS[codec.name].request as unknown as Table),
            changes: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
            cut: fc.option(fc.nat()),
          }),
        ),
        ({ codec, value, changes, cut }) => {
          const frame = written((writer) => codec.request.write(writer, value, new SentKeys()));
          if (frame.length === 0) return;
          for (const [at, byte] of changes) frame[at % frame.length] = byte;
          const bad = cut === null ? frame : frame.subarray(0, cut % frame.length);
          try {
            readAll(bad, (reader) => codec.request.read(reader, new ReceivedKeys()));
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          }
        },
      ),
      { numRuns: 3000 },
    );
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
  });

  it('refuses a malformed request before it is sent, naming the field', () => {
    const refused = (name: RootCallName, request: unknown) => {
      const codec = CALL_CODECS.find((one) => one.name === name);
      try {
        written((writer) => codec?.request.write(writer, request, new SentKeys()));
      } catch (error) {
        return error instanceof RootFault ? `${error.code}: ${error.message}` : String(error);
      }
      return 'accepted';
    };
    const bound = { reference: new Uint8Array(3), binding: fc.sample(binding, 1)[0] };
    expect(refused('sign', { key: bound, algorithm: 'rot13', data: new Uint8Array(1) })).toBe('unsupported: algorithm: unknown algorithm');
    expect(refused('sign', { key: bound, algorithm: 'ed25519', data: 'text' })).toBe('invalid-argument: data: expected bytes');
    expect(refused('sign', { key: { reference: 'x' }, algorithm: 'ed25519', data: new Uint8Array(1) })).toMatch(/^invalid-argument: key/);
    expect(refused('random', { length: -1 })).toMatch(/^invalid-argument: length/);
    expect(refused('random', { length: 1.5 })).toMatch(/^invalid-argument: length/);
    expect(refused('random', {})).toMatch(/^invalid-argument: length/);
    expect(refused('random', null)).toMatch(/^invalid-argument/);
    expect(refused('digest', { hash: 'crc32', data: new Uint8Array(1) })).toMatch(/^unsupported: hash/);
    expect(refused('digest', { hash: 'sha256', data: new Uint8Array(LIMIT_BYTES + 1) })).toMatch(/^limit-exceeded/);
    expect(refused('generateKey', { binding: { ...bound.binding, usage: ['fly'] } })).toMatch(/^invalid-argument: binding: usage/);
    expect(refused('generateKey', { binding: { ...bound.binding, objectId: 'x\udc00' } })).toMatch(/^invalid-argument: binding: objectId/);
  });

  it('faults cross as code, message and next step', () => {
    const cross = (fault: RootFault) =>
      readAll(
        written((writer) => FAULT.write(writer, fault, NO_KEYS)),
        (reader) => FAULT.read(reader, NO_KEYS),
      );
    const fault = cross(new RootFault('key-not-found', 'gone', 'look elsewhere'));
    expect([fault.code, fault.message, fault.next]).toEqual(['key-not-found', 'gone', 'look elsewhere']);
    expect(cross(new RootFault('internal', 'x')).next).toBeUndefined();
    expect(cross(new RootFault('internal', `${'é'.repeat(5000)}\ud800`)).message).toHaveLength(2000);
  });
});

describe('the wire has no way to ask for key bytes', () => {
  /** Every field of bytes in an answer, with what it is. A new one must be judged here before the suite passes. */
  const ANSWERED_BYTES: Readonly<Record<string, string>> = {
    reference: 'sealed or wrapped; opens only inside the root',
    publicKey: 'public',
    checkValue: 'three bytes of a digest of the key',
    ciphertext: 'ciphertext',
    iv: 'public',
    tag: 'public',
    signature: 'public',
    mac: 'public',
    wrapped: 'wrapped key material, exportable keys only',
    digest: 'of data given by the caller',
    bytes: 'fresh randomness, not a key of the root',
    output: 'the result of a multi-part operation on data given by the caller',
    plaintext: 'data given by the caller, or a data key made to be revealed; never a key of the root',
  };

  it('only exportKey answers material', () => {
    const answering = (field: string) => CALL_NAMES.filter((name) => field in CALLS[name].response);
    expect(answering('material')).toEqual(['exportKey']);
    expect(answering('plaintext')).toEqual(['decrypt', 'generateDataKey']);
    expect(answering('wrapped')).toEqual(['wrapKey']);
    for (const name of CALL_NAMES) {
      for (const [field, kind] of Object.entries(CALLS[name].response as Table)) {
        expect(typeof kind, `${name}.${field}`).toBe('string');
        if (!String(kind).startsWith('bytes') || (name === 'exportKey' && field === 'material')) continue;
        expect(ANSWERED_BYTES, `${name}.${field}`).toHaveProperty(field);
      }
    }
  });
});

describe('key slots', () => {
  const makeKey = (id: string, change: Partial<BoundKey['binding']> = {}, reference = new Uint8Array([1, 2, 3])): BoundKey => ({
    reference,
    binding: { objectId: id, version: 1, tenant: 't', spec: 'aes-256', usage: ['encrypt', 'decrypt'], exportable: false, ...change },
  });
  const pair = () => {
    const sent = new SentKeys();
    const received = new ReceivedKeys();
    const cross = (bound: BoundKey): { readonly size: number; readonly key: BoundKey } => {
      const frame = written((writer) => sent.write(writer, bound));
      sent.commit();
      return { size: frame.length, key: readAll(frame, (reader) => received.read(reader)) };
    };
    return { sent, received, cross };
  };

  it('sends a key once, and the same object comes out for it again', () => {
    const { cross } = pair();
    const first = cross(makeKey('a'));
    const again = cross(makeKey('a'));
    expect(again.size).toBe(3);
    expect(again.key).toBe(first.key);
    expect(again.key).toStrictEqual(makeKey('a'));
  });

  it('a key that differs in anything is another key', () => {
    const { cross } = pair();
    cross(makeKey('a'));
    const others: BoundKey[] = [
      makeKey('b'),
      makeKey('a', { version: 2 }),
      makeKey('a', { tenant: 'other' }),
      makeKey('a', { spec: 'aes-128' }),
      makeKey('a', { usage: ['encrypt'] }),
      makeKey('a', { usage: ['decrypt', 'encrypt'] }),
      makeKey('a', { exportable: true }),
      makeKey('a', {}, new Uint8Array([1, 2, 4])),
      makeKey('a', {}, new Uint8Array([1, 2])),
    ];
    for (const other of others) expect(cross(other).key).toStrictEqual(other);
    for (const other of others) expect(cross(other)).toStrictEqual({ size: 3, key: other });
  });

  it('changing the bytes or the binding of an object already sent is noticed', () => {
    const { cross } = pair();
    const usage: ('encrypt' | 'decrypt')[] = ['encrypt'];
    const key = makeKey('a', { usage }, new Uint8Array([1, 2, 3]));
    cross(key);
    key.reference[0] = 9;
    expect(cross(key).key.reference[0]).toBe(9);
    usage[0] = 'decrypt';
    expect(cross(key).key.binding.usage).toEqual(['decrypt']);
  });

  it('more keys than slots: every one still comes out right', () => {
    const { cross } = pair();
    const total = KEY_SLOTS + 500;
    for (const round of [1, 2]) {
      for (let index = 0; index < total; index++) {
        const bound = makeKey(`key-${index}`, { version: round });
        expect(cross(bound).key).toEqual(bound);
        if (index % 3 === 0) expect(cross(makeKey('often')).key).toEqual(makeKey('often'));
      }
    }
    expect(cross(makeKey('often')).size).toBe(3);
  });

  it('a frame that was given up introduces no key', () => {
    const { sent, cross } = pair();
    written((writer) => sent.write(writer, makeKey('a')));
    sent.rollback();
    expect(cross(makeKey('a')).size).toBeGreaterThan(3);
  });

  it('an empty slot and a slot out of range are malformed', () => {
    const received = new ReceivedKeys();
    expect(() => readAll(Buffer.from([0, 0, 5]), (reader) => received.read(reader))).toThrow(WireError);
    expect(() => readAll(Buffer.from([1, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]), (reader) => received.read(reader))).toThrow(WireError);
  });
});

describe('frames', () => {
  const frame = (call: number, kind: number, payload: Uint8Array): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUInt32BE(5 + payload.length, 0);
    head.writeUInt32BE(call, 4);
    head[8] = kind;
    return Buffer.concat([head, payload]);
  };

  it('the same frames come out however the stream is cut', () => {
    const frames = fc.array(
      fc.record({ call: fc.integer({ min: 0, max: 0xffffffff }), kind: fc.nat(255), payload: fc.uint8Array({ maxLength: 200 }) }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1 }), (all, cuts) => {
        const stream = Buffer.concat(all.map(({ call, kind, payload }) => frame(call, kind, payload)));
        const got: { call: number; kind: number; payload: Uint8Array }[] = [];
        const splitter = new FrameSplitter(1000, (call, kind, reader) => got.push({ call, kind, payload: rest(reader) }));
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = cuts[turn % cuts.length] as number;
          splitter.push(Buffer.from(stream.subarray(at, at + size)));
          at += size;
        }
        expect(got).toEqual(all);
      }),
      { numRuns: 300 },
    );
  });

  const rest = (reader: ByteReader): Uint8Array => Uint8Array.from({ length: reader.remaining }, () => reader.u8());

  it('large frames in small pieces come out whole', () => {
    const payload = new Uint8Array(300_000).map((_, index) => index % 251);
    const stream = frame(7, 1, Buffer.concat([Buffer.from([0xe0, 0xa7, 0x12]), payload]));
    let got: Uint8Array | undefined;
    const splitter = new FrameSplitter(1_000_000, (_call, _kind, reader) => {
      got = reader.bytes();
    });
    for (let at = 0; at < stream.length; at += 1713) splitter.push(Buffer.from(stream.subarray(at, at + 1713)));
    expect(Buffer.from(got ?? []).equals(payload)).toBe(true);
  });

  it('a length is no reason to allocate, and one outside the limits ends the stream', () => {
    const before = process.memoryUsage().arrayBuffers;
    const splitters = Array.from({ length: 5 }, () => new FrameSplitter(0x7fffffff, () => undefined));
    for (const splitter of splitters) splitter.push(Buffer.from('7ffffff0000000011200', 'hex'));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8_000_000);
    for (const length of ['00000000', '00000004', '000003e9', 'ffffffff']) {
      const splitter = new FrameSplitter(1000, () => undefined);
      expect(() => splitter.push(Buffer.from(`${length}0000000112`, 'hex')), length).toThrow(WireError);
      const slow = new FrameSplitter(1000, () => undefined);
      slow.push(Buffer.from(length.slice(0, 4), 'hex'));
      expect(() => slow.push(Buffer.from(length.slice(4), 'hex')), length).toThrow(WireError);
    }
  });

  it('a chunk is zeroed once it has been read, and fields that were taken are not', () => {
    const taken: Uint8Array[] = [];
    const splitter = new FrameSplitter(1000, (_call, _kind, reader) => taken.push(reader.bytes()));
    const chunk = Buffer.concat([frame(1, 1, Buffer.from([3, 7, 7, 7])), frame(2, 1, Buffer.from([2, 8, 8]))]);
    splitter.push(chunk);
    expect(chunk.every((byte) => byte === 0)).toBe(true);
    expect(taken).toEqual([new Uint8Array([7, 7, 7]), new Uint8Array([8, 8])]);
    // Two callers never share memory.
    expect(taken[0]?.buffer).not.toBe(taken[1]?.buffer);
  });

  it('the frames of one turn leave in one write, and their buffer is zeroed after it', async () => {
    const writes: Buffer[] = [];
    const buffers: Buffer[] = [];
    const sinkSocket = new Duplex({
      write: (chunk: Buffer, _encoding, done) => {
        writes.push(Buffer.from(chunk));
        buffers.push(chunk);
        done();
      },
      read: () => undefined,
    }) as unknown as Socket;
    const sink = new FrameSink(sinkSocket, 100_000, { frames: 1000, bytes: 1_000_000 });
    for (let call = 1; call <= 50; call++) {
      sink.begin(call, FRAME.call).bytes(new Uint8Array(20).fill(0xaa));
      if (call === 25) sink.abort();
      else sink.end();
    }
    expect(writes).toHaveLength(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(writes).toHaveLength(1);
    const calls: number[] = [];
    new FrameSplitter(100_000, (call, _kind, reader) => {
      expect(reader.bytes()).toEqual(new Uint8Array(20).fill(0xaa));
      calls.push(call);
    }).push(writes[0] as Buffer);
    expect(calls).toEqual(Array.from({ length: 50 }, (_, index) => index + 1).filter((call) => call !== 25));
    expect(buffers[0]?.every((byte) => byte === 0)).toBe(true);
    expect(sink.queuedBytes).toBe(0);
  });

  it('a frame longer than the limit is refused while it is written, and the one before it is unharmed', () => {
    const sent: Buffer[] = [];
    const socket = new Duplex({
      write: (chunk: Buffer, _encoding, done) => {
        sent.push(Buffer.from(chunk));
        done();
      },
      read: () => undefined,
    }) as unknown as Socket;
    const sink = new FrameSink(socket, 1000, { frames: 1000, bytes: 1_000_000 });
    sink.begin(1, FRAME.call).bytes(new Uint8Array(100));
    sink.end();
    expect(() => sink.begin(2, FRAME.call).bytes(new Uint8Array(1001))).toThrow(RootFault);
    sink.abort();
    sink.flush();
    expect(sent[0]).toHaveLength(9 + 101);
  });

  it('written buffers are zeroed; large ones are not kept', () => {
    const small = Buffer.allocUnsafeSlow(1000).fill(1);
    expect(recycle(small.subarray(0, 10))).toHaveLength(1000);
    expect(small.subarray(0, 10).every((byte) => byte === 0)).toBe(true);
    expect(recycle(Buffer.allocUnsafeSlow(1_000_000))).toBeUndefined();
  });

  it('a growing buffer leaves nothing behind in the one it outgrew', () => {
    const writer = newWriter();
    writer.bytes(new Uint8Array(40).fill(0x55));
    const old = writer.buffer;
    writer.bytes(new Uint8Array(500).fill(0x66));
    expect(writer.buffer).not.toBe(old);
    expect(old.includes(0x55)).toBe(false);
  });
});
