import { expect, test } from 'vitest';
import {
  CodecError,
  type Item,
  ItemType,
  liftMessage,
  lowerMessage,
  readJson,
  readMessage,
  readTtlv,
  readXml,
  writeJson,
  writeMessage,
  writeTtlv,
  writeXml,
} from '../src/index.js';
import { fromHex, hexMessages, vectorsPresent, xmlCases } from './vectors.js';

// Mutated messages: never a crash, a hang or a JavaScript error of its own; either an item that encodes again or a CodecError. The seed is printed so that
// a failure can be run again: AEGIS_FUZZ_SEED=… AEGIS_FUZZ_INPUTS=….

const INPUTS = Number(process.env['AEGIS_FUZZ_INPUTS'] ?? 100_000);
const SEED = Number(process.env['AEGIS_FUZZ_SEED'] ?? Date.now() % 0x7fffffff);
const MAX_MS_PER_INPUT = 5000;
const MAX_GROWTH_BYTES = 256 << 20;

/** Mulberry32: small, seeded, good enough to choose mutations. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const plain: Item = {
  tag: 0x420078,
  type: ItemType.Structure,
  value: [
    { tag: 0x420077, type: ItemType.Structure, value: [{ tag: 0x420069, type: ItemType.Structure, value: [] }] },
    { tag: 0x42000f, type: ItemType.Structure, value: [{ tag: 0x420094, type: ItemType.TextString, value: 'identifier' }] },
  ],
};

function corpus(): Item[] {
  if (!vectorsPresent) return [plain];
  const hex = hexMessages('v1.1/document/testcases-v1.1-hex.jsonl').slice(0, 150);
  const xml = xmlCases().filter((_, i) => i % 12 === 0);
  return [
    plain,
    ...hex.map((one) => readTtlv(fromHex(one.ttlv))),
    ...xml.flatMap((one) => one.messages.slice(0, 4).map((text) => readXml(text))),
  ];
}

function mutateBytes(source: Uint8Array, other: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes = source.slice();
  for (let round = 1 + random(4); round > 0; round--) {
    const at = random(bytes.length || 1);
    switch (random(7)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 2: // a length or type field
        bytes[(at & ~7) + 3 + random(5)] = [0, 1, 4, 8, 0x7f, 0x80, 0xff][random(7)] as number;
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4: // splice from another message
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...other.subarray(random(other.length || 1))]).slice(0, 8192);
        break;
      case 5: // repeat a stretch
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(Math.max(0, at - 64))]).slice(0, 8192);
        break;
      default:
        bytes = Uint8Array.from([...bytes, ...new Uint8Array(random(24))]);
    }
  }
  return bytes;
}

function mutateText(source: string, other: string, random: (below: number) => number): string {
  const at = random(source.length || 1);
  const pieces = [
    '<',
    '>',
    '"',
    '&',
    '&#0;',
    '&#x110000;',
    '</',
    '/>',
    '{',
    '}',
    '[',
    ']',
    '0x',
    '-',
    '\u0000',
    '\ud800',
    'null',
    '1e999',
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '<![CDATA[',
  ];
  switch (random(5)) {
    case 0:
      return source.slice(0, at) + pieces[random(pieces.length)] + source.slice(at + random(3));
    case 1:
      return source.slice(0, at);
    case 2:
      return source.slice(0, at) + other.slice(random(other.length || 1));
    case 3:
      return source.slice(0, at) + source.slice(Math.max(0, at - 200));
    default:
      return source.slice(0, at) + String.fromCharCode(random(0x10000)) + source.slice(at + 1);
  }
}

/** True when the input was accepted; only a CodecError may refuse it. */
function accepted(step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (error instanceof CodecError) return false;
    throw error;
  }
}

/** An accepted TTLV input is exactly what is written back: the reader is strict, so there is one encoding. */
function readBytes(bytes: Uint8Array): void {
  const item = readTtlv(bytes);
  expect(Buffer.compare(writeTtlv(item), bytes)).toBe(0);
  accepted(() => {
    const message = readMessage(item);
    accepted(() => writeMessage(lowerMessage(liftMessage(message))));
  });
  accepted(() => readMessage(item, { lax: true }));
}

test(`a mutation fuzzer of ${INPUTS} inputs finds no crash, no hang and no error of another type`, () => {
  console.log(`fuzz seed ${SEED}`);
  const random = makeRandom(SEED);
  const items = corpus();
  const bytes = items.map(writeTtlv);
  const xml = items.map((item) => writeXml(item));
  const json = items.map((item) => writeJson(item));
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const before = process.memoryUsage().rss;
  let good = 0;
  for (let i = 0; i < INPUTS; i++) {
    const started = performance.now();
    const kind = random(10);
    const fine =
      kind < 7
        ? accepted(() => readBytes(mutateBytes(pick(bytes), pick(bytes), random)))
        : kind < 9
          ? accepted(() => void writeTtlv(readXml(mutateText(pick(xml), pick(xml), random))))
          : accepted(() => void writeTtlv(readJson(mutateText(pick(json), pick(json), random))));
    if (fine) good++;
    expect(performance.now() - started).toBeLessThan(MAX_MS_PER_INPUT);
  }
  // Both outcomes must occur, or the fuzzer tests nothing.
  expect(good).toBeGreaterThan(INPUTS / 200);
  expect(good).toBeLessThan(INPUTS * 0.9);
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  console.log(`${INPUTS} inputs, ${good} accepted`);
}, 300_000);
