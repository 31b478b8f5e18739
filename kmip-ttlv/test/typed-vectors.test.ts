import { describe, expect, test } from 'vitest';
import { type Item, readMessage, readTtlv, readXml, writeMessage } from '../src/index.js';
import { fromHex, hexMessages, skipVectors, xmlCases } from './vectors.js';

// The tables are held against everything the committee published: each message must be exactly what they say, in order, with nothing left over.

/** Messages that are themselves not what the standard says, and how. */
const DEFECTS: Readonly<Record<string, string>> = {
  'v1.2/profiles/mandatory/CS-AC-M-3-12.xml 2': 'an Attribute has no Attribute Name',
  'v1.2/profiles/mandatory/CS-AC-M-8-12.xml 2': 'an Attribute has no Attribute Name',
  '140 Use Case 8.1 (0) - Create Key Pair response': 'repeats the Unique Identifier that Create Key Pair has not',
  '281 Use Case 11.1 (2) - Client B: Get (symmetric key), Get Attribute List request':
    'Batch Error Continuation Option after Batch Order Option',
  '133 Use Case 7.1 (0) - Create request': 'Criticality Indicator before Vendor Identification',
  '137 Use Case 7.2 (0) - Create request': 'Criticality Indicator before Vendor Identification',
};

/** A vendor extension holds what no table lists; strict reading refuses it. */
const VENDOR: readonly string[] = [
  '133 7.1 Test Case: Unrecognized Message Extension with Criticality Indicator False request',
  '137 7.2 Test Case: Unrecognized Message Extension with Criticality Indicator True request',
];

function check(item: Item, where: string): void {
  if (DEFECTS[where] !== undefined) {
    expect(() => writeMessage(readMessage(item, { strict: true })), where).toThrow();
    return;
  }
  let message: ReturnType<typeof readMessage>;
  try {
    message = readMessage(item, { strict: !VENDOR.includes(where) });
  } catch (error) {
    throw new Error(`${where}: ${error}`);
  }
  expect(writeMessage(message), where).toEqual(item);
}

describe.skipIf(skipVectors)('the tables against the official messages', () => {
  test('every XML case is what the schema of its version says and comes back the same', () => {
    let count = 0;
    for (const one of xmlCases()) {
      for (const [i, xml] of one.messages.entries()) {
        check(readXml(xml), `${one.file} ${i}`);
        count++;
      }
    }
    expect(count).toBeGreaterThan(5000);
    console.log(`${count} XML messages read strictly and written back`);
  });

  test('every raw hex message is what the schema says and comes back the same', () => {
    const messages = [...hexMessages('v1.1/document/testcases-v1.1-hex.jsonl'), ...hexMessages('v1.0/document/usecases-v1.0-hex.jsonl')];
    for (const message of messages) check(readTtlv(fromHex(message.ttlv)), message.name);
    expect(messages.length).toBe(810);
  });
});
