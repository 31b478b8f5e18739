import { describe, expect, test } from 'vitest';
import { childrenOf, type Item, knownTag, readJson, readTtlv, readXml, writeJson, writeTtlv, writeXml } from '../src/index.js';
import { fromHex, hexMessages, officialMessages, skipVectors, toHex, xmlCases } from './vectors.js';

describe.skipIf(skipVectors)('official vectors', () => {
  for (const [file, count] of [
    ['v1.1/document/testcases-v1.1-hex.jsonl', 520],
    ['v1.0/document/usecases-v1.0-hex.jsonl', 290],
  ] as const) {
    test(`raw hex of ${file} re-encodes to the same bytes, through every form`, () => {
      const messages = hexMessages(file);
      expect(messages.length).toBe(count);
      for (const message of messages) {
        const item = readTtlv(fromHex(message.ttlv));
        expect(toHex(writeTtlv(item)), message.name).toBe(message.ttlv.toLowerCase());
        expect(toHex(writeTtlv(readXml(writeXml(item)))), `${message.name} through XML`).toBe(message.ttlv.toLowerCase());
        expect(toHex(writeTtlv(readJson(writeJson(item)))), `${message.name} through JSON`).toBe(message.ttlv.toLowerCase());
      }
      console.log(`${messages.length} messages of ${file}`);
    });
  }

  test('the official encodings match in TTLV, XML and JSON', () => {
    const messages = officialMessages();
    const texts = { withJson: 0, otherTime: 0 };
    for (const message of messages) {
      const item = readTtlv(fromHex(message.ttlv));
      expect(toHex(writeTtlv(item)), message.name).toBe(message.ttlv);
      const xml = readXml(message.xml);
      if (toHex(writeTtlv(xml)) !== message.ttlv) texts.otherTime++;
      expect(sameTime(xml, item), message.name).toEqual(item);
      // The writer's own text, but for white space and the sample's other time, is the sample's.
      expect(squeeze(writeXml(xml)), message.name).toBe(squeeze(message.xml));
      if (message.json === undefined) continue;
      texts.withJson++;
      const json = readJson(repaired(message.json));
      expect(sameTime(json, item), message.name).toEqual(item);
      expect(JSON.parse(writeJson(json)), message.name).toEqual(JSON.parse(repaired(message.json)));
    }
    expect(messages.length).toBe(36);
    console.log(
      `${messages.length} official encodings, ${texts.withJson} with JSON; in ${texts.otherTime} the sample's XML has another Time Stamp than its bytes`,
    );
  });

  test('every XML case parses, encodes to TTLV and comes back equivalent', () => {
    const cases = xmlCases();
    let messages = 0;
    for (const one of cases) {
      expect(one.messages.length, one.file).toBeGreaterThan(0);
      for (const [i, xml] of one.messages.entries()) {
        const where = `${one.file} message ${i}`;
        const item = tryRead(xml, where);
        const bytes = writeTtlv(item);
        expect(readTtlv(bytes), where).toEqual(item);
        expect(readXml(writeXml(item)), where).toEqual(item);
        expect(readJson(writeJson(item)), where).toEqual(item);
        messages++;
      }
    }
    expect(cases.length).toBeGreaterThan(400);
    console.log(`${messages} messages of ${cases.length} XML cases`);
  });
});

function tryRead(xml: string, where: string) {
  try {
    return readXml(xml);
  } catch (error) {
    throw new Error(`${where}: ${error}`);
  }
}

const TIME_STAMP = knownTag('TimeStamp');

/** Some samples were captured twice, so that text and bytes differ in the Time Stamp and in nothing else: the item with the other's time. */
function sameTime(item: Item, other: Item): Item {
  if (item.tag === TIME_STAMP) return other;
  if (!Array.isArray(item.value)) return item;
  return { ...item, value: childrenOf(item).map((child, i) => sameTime(child, childrenOf(other)[i] ?? child)) };
}

/** Text that differs only in white space between attributes and elements is the same XML here. */
const squeeze = (xml: string): string => xml.replace(/>\s+</g, '><').replace(/\s+/g, ' ').replace(/ \/>/g, '/>').trim();

/** One official JSON sample closes its outermost object with `]` instead of `]}` (vectors/README.md). */
function repaired(json: string): string {
  try {
    JSON.parse(json);
    return json;
  } catch {
    return `${json}}`;
  }
}
