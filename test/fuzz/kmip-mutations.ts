import { childrenOf, type Item, ItemType, writeTtlv } from '@aegis/kmip-ttlv';

/** A number below the given one. */
export type Random = (below: number) => number;

/** Mulberry32: small, seeded, good enough to choose mutations. */
export function makeRandom(seed: number): Random {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export const pick = <T>(list: readonly T[], random: Random): T => list[random(list.length)] as T;

const NUMBERS = [0, 1, -1, 2, 3, 4, 7, 8, 15, 16, 17, 32, 64, 127, 128, 255, 256, 4096, 65_535, 1 << 20, 0x7fffffff, -0x80000000];
const BIG = [0n, 1n, -1n, 1n << 31n, 1n << 32n, (1n << 63n) - 1n, -(1n << 63n), 253_402_300_799n];
const TEXTS = [
  '',
  'x',
  'IDPlaceholder',
  '00000000-0000-0000-0000-000000000000',
  '../../etc/passwd',
  "' OR 1=1 --",
  '\u0000',
  '💥',
  'y'.repeat(5_000),
  'Name',
  'x-',
  '-',
];

/** The tree with one to four places changed: values at their bounds, items gone, doubled, moved, of another type or under another tag. */
export function mutateTree(source: Item, donors: readonly Item[], random: Random): Item {
  let item = source;
  for (let round = 1 + random(4); round > 0; round--) item = mutateOnce(item, donors, random);
  return item;
}

function mutateOnce(source: Item, donors: readonly Item[], random: Random): Item {
  // Mostly below the header: a message whose version cannot be read is simply closed upon.
  const header = childrenOf(source)[0];
  const first = header === undefined || random(8) === 0 ? 0 : 1 + countOf(header);
  let left = first + random(Math.max(1, countOf(source) - first));
  const walk = (one: Item): Item | readonly Item[] => {
    const here = left-- === 0;
    const inner = one.type === ItemType.Structure ? { ...one, value: childrenOf(one).flatMap(walk) } : one;
    return here ? changed(inner, donors, random) : inner;
  };
  const result = walk(source);
  return Array.isArray(result) ? ((result[0] as Item | undefined) ?? source) : (result as Item);
}

const countOf = (item: Item): number => 1 + childrenOf(item).reduce((sum, child) => sum + countOf(child), 0);

function changed(item: Item, donors: readonly Item[], random: Random): Item | readonly Item[] {
  switch (random(8)) {
    case 0:
      return [];
    case 1:
      return [item, item];
    case 2:
      return { ...item, tag: random(4) === 0 ? random(0x1000000) : 0x420000 + random(0x180) };
    case 3:
      return descendant(pick(donors, random), random);
    case 4:
      return retyped(item, random);
    case 5:
      return { tag: item.tag, type: ItemType.Structure, value: Array.from({ length: random(40) }, () => item) };
    default:
      return revalued(item, random);
  }
}

function descendant(item: Item, random: Random): Item {
  const inner = childrenOf(item);
  return inner.length === 0 || random(4) === 0 ? item : descendant(pick(inner, random), random);
}

const retyped = (item: Item, random: Random): Item => {
  switch (random(7)) {
    case 0:
      return { tag: item.tag, type: ItemType.Integer, value: pick(NUMBERS, random) };
    case 1:
      return { tag: item.tag, type: ItemType.LongInteger, value: pick(BIG, random) };
    case 2:
      return { tag: item.tag, type: ItemType.Enumeration, value: pick(NUMBERS, random) >>> 0 };
    case 3:
      return { tag: item.tag, type: ItemType.Boolean, value: random(2) === 0 };
    case 4:
      return { tag: item.tag, type: ItemType.TextString, value: pick(TEXTS, random) };
    case 5:
      return { tag: item.tag, type: ItemType.ByteString, value: new Uint8Array(random(300)).fill(random(256)) };
    default:
      return { tag: item.tag, type: ItemType.DateTime, value: pick(BIG, random) };
  }
};

function revalued(item: Item, random: Random): Item {
  const { value } = item;
  if (typeof value === 'number') {
    const next = random(3) === 0 ? pick(NUMBERS, random) : value + random(5) - 2;
    return { ...item, value: item.type === ItemType.Integer ? next | 0 : next >>> 0 };
  }
  if (typeof value === 'bigint') return { ...item, value: pick(BIG, random) };
  if (typeof value === 'boolean') return { ...item, value: !value };
  if (typeof value === 'string')
    return { ...item, value: random(2) === 0 ? pick(TEXTS, random) : value.slice(0, random(value.length + 1)) };
  if (value instanceof Uint8Array) {
    const bytes = item.type === ItemType.BigInteger ? new Uint8Array(8 * (1 + random(4))) : value.slice(0, random(value.length + 1));
    if (bytes.length > 0) bytes[random(bytes.length)] = random(256);
    return { ...item, value: bytes };
  }
  return { ...item, value: [...childrenOf(item)].sort(() => random(3) - 1) };
}

/** Bytes that need not be TTLV any more: flipped, cut, spliced, with lengths that lie. */
export function mutateBytes(source: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes = source.slice();
  for (let round = 1 + random(4); round > 0; round--) {
    const at = random(bytes.length || 1);
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        bytes[(at & ~7) + 3 + random(5)] = pick([0, 1, 4, 8, 0x7f, 0x80, 0xff], random);
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...other.subarray(random(other.length || 1))]).slice(0, 16_384);
        break;
      default:
        bytes = Uint8Array.from([...bytes, ...new Uint8Array(random(24)).fill(random(256))]);
    }
  }
  return bytes;
}

/** The bytes with an outermost length that is true, so that what follows on the connection is not taken for a part of it. */
export function framed(bytes: Uint8Array): Uint8Array {
  const whole = bytes.length < 8 ? Uint8Array.from([...bytes, ...new Uint8Array(8 - bytes.length)]) : bytes.slice();
  new DataView(whole.buffer).setUint32(4, whole.length - 8);
  return whole;
}

/** Undefined where the changed tree cannot be written at all. */
export function tryWrite(item: Item): Uint8Array | undefined {
  try {
    return writeTtlv(item);
  } catch {
    return undefined;
  }
}
