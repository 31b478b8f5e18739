import { type Item, ItemType, readXml } from '@aegis/kmip-ttlv';
import { officialCases, PUBLISHED_VERSIONS, vectorsPresent } from '../vectors/official-cases.js';
import { makeBindings } from '../vectors/placeholders.js';

// Requests to start from: the official ones where they are, else a few of our own.

const integer = (tag: number, value: number): Item => ({ tag, type: ItemType.Integer, value });
const structure = (tag: number, ...value: Item[]): Item => ({ tag, type: ItemType.Structure, value });
const plainRequest = (minor: number, operation: number, ...payload: Item[]): Item =>
  structure(
    0x420078,
    structure(0x420077, structure(0x420069, integer(0x42006a, 1), integer(0x42006b, minor)), integer(0x42000d, 1)),
    structure(0x42000f, { tag: 0x42005c, type: ItemType.Enumeration, value: operation }, structure(0x420079, ...payload)),
  );

/** Every `step`-th request of the official cases, placeholders replaced by values of their type. */
export function requestCorpus(step = 1): Item[] {
  const own = [
    plainRequest(4, 0x18, { tag: 0x420074, type: ItemType.Enumeration, value: 1 }),
    plainRequest(2, 0x0a, { tag: 0x420094, type: ItemType.TextString, value: 'nothing' }),
    plainRequest(0, 0x08),
  ];
  if (!vectorsPresent) return own;
  const { now } = makeBindings();
  const date = new Date(now * 1000).toISOString().replace('.000Z', '+00:00');
  const texts = PUBLISHED_VERSIONS.flatMap((version) => officialCases(version).flatMap((one) => one.steps.map(({ request }) => request)));
  const official = texts
    .filter((_, i) => i % step === 0)
    .map((text) =>
      readXml(
        text
          .replace(/(type="DateTime"\s+value=")\$[A-Z_0-9]*(?:[+-]\d+)?/g, `$1${date}`)
          .replace(/(type="ByteString"\s+value=")\$[A-Z_0-9]*/g, '$1a1b2c3'),
      ),
    );
  return [...own, ...official];
}
