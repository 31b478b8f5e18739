import { describe, expect, test } from 'vitest';
import {
  type Fields,
  type KmipVersion,
  liftMessage,
  lowerMessage,
  type Message,
  readMessage,
  readTtlv,
  readXml,
  reasonIn,
  requestOptions,
  writeMessage,
} from '../src/index.js';
import { fromHex, hexMessages, skipVectors, xmlCases } from './vectors.js';

const through = (message: Message): Message => readMessage(writeMessage(lowerMessage(message)), { strict: true });

function request(version: KmipVersion, operation: string, payload: Fields): Message {
  return { kind: 'request', version, header: {}, items: [{ operation, payload, fields: {} }] };
}
const create: Fields = {
  ObjectType: 'SymmetricKey',
  Attributes: [
    { name: 'CryptographicAlgorithm', value: 'AES' },
    { name: 'CryptographicLength', value: 256 },
    { name: 'Name', value: { NameValue: 'k', NameType: 'UninterpretedTextString' } },
    { name: 'Link', value: { LinkType: 'PreviousLink', LinkedObjectIdentifier: 'other' } },
    { name: 'Sensitive', value: true },
    { name: 'QuantumSafe', value: true },
  ],
};
const names = (payload: Fields | undefined, field: string): string[] =>
  ((payload?.[field] ?? []) as { name: string }[]).map((one) => one.name);

describe('eras', () => {
  test('one neutral request takes the form of each version, without what the version does not have', () => {
    const oldest = through(request('1.0', 'Create', create)).items[0]?.payload as Record<string, Fields>;
    expect(oldest['TemplateAttribute']?.['Attribute']).toMatchObject([{ name: 'CryptographicAlgorithm' }, {}, { name: 'Name' }]);
    expect(names(through(request('1.4', 'Create', create)).items[0]?.payload?.['TemplateAttribute'] as Fields, 'Attribute')).toContain(
      'Sensitive',
    );
    expect(names(through(request('2.1', 'Create', create)).items[0]?.payload, 'Attributes')).toContain('QuantumSafe');
    const draft = through(request('3.0', 'Create', create)).items[0]?.payload?.['Attributes'];
    expect(draft).toContainEqual({ name: 'Name', value: 'k' });
    expect(draft).toContainEqual({ name: 'PreviousLink', value: 'other' });
  });

  test('every version reads back as the same neutral request', () => {
    for (const version of ['1.0', '1.3', '1.4', '2.0', '2.1', '3.0'] as const) {
      const lifted = liftMessage(through(request(version, 'Create', create))).items[0]?.payload;
      const expected = (create['Attributes'] as { name: string }[]).filter(
        // Previous Link came with 1.2, Sensitive with 1.4.
        (one) =>
          !(one.name === 'Link' && version < '1.2') &&
          !(one.name === 'Sensitive' && version < '1.4') &&
          !(one.name === 'QuantumSafe' && version < '2.0'),
      );
      expect(lifted, version).toEqual({ ...create, Attributes: expected });
    }
  });

  test('custom attributes of 1.x are vendor attributes, and Delete Attribute keeps its index', () => {
    const payload: Fields = { UniqueIdentifier: '1', AttributeReference: { vendor: 'x', name: 'Colour', index: 2 } };
    const old = through(request('1.2', 'DeleteAttribute', payload));
    expect(old.items[0]?.payload).toEqual({ UniqueIdentifier: '1', AttributeName: 'x-Colour', AttributeIndex: 2 });
    expect(liftMessage(old).items[0]?.payload).toEqual(payload);
  });

  test('a Locate whose filter is wrapped in Template-Attribute is read as one', () => {
    const wrapped: Fields = { MaximumItems: 1, TemplateAttribute: { Attribute: [{ name: 'ObjectType', value: 'SymmetricKey' }] } };
    const lifted = liftMessage(request('1.0', 'Locate', wrapped)).items[0]?.payload;
    expect(lifted).toEqual({ MaximumItems: 1, Attributes: [{ name: 'ObjectType', value: 'SymmetricKey' }] });
  });

  test('the header defaults are those of the version', () => {
    expect(requestOptions(request('1.4', 'Query', {})).batchOrder).toBe(false);
    expect(requestOptions(request('2.1', 'Query', {})).batchOrder).toBe(true);
    const old = liftMessage({ ...request('1.1', 'Query', {}), header: { AsynchronousIndicator: true } });
    expect(requestOptions(old).asynchronous).toBe('Optional');
    expect(lowerMessage(old).header['AsynchronousIndicator']).toBe(true);
  });

  test('no Result Reason is newer than the version', () => {
    expect(reasonIn('ObjectNotFound', '2.1')).toBe('ObjectNotFound');
    expect(reasonIn('ObjectNotFound', '1.4')).toBe('ItemNotFound');
    expect(reasonIn('NotExtractable', '1.4')).toBe('NotExtractable');
    expect(reasonIn('NotExtractable', '1.2')).toBe('PermissionDenied');
    expect(reasonIn('ServerLimitExceeded', '1.0')).toBe('GeneralFailure');
  });
});

describe.skipIf(skipVectors)('eras of the official messages', () => {
  test('lifting and lowering again changes nothing', () => {
    const hex = [...hexMessages('v1.1/document/testcases-v1.1-hex.jsonl'), ...hexMessages('v1.0/document/usecases-v1.0-hex.jsonl')];
    const items = [
      ...xmlCases().flatMap((one) => one.messages.map((xml) => readXml(xml))),
      ...hex.map((one) => readTtlv(fromHex(one.ttlv))),
    ];
    let count = 0;
    for (const item of items) {
      let message: Message;
      try {
        message = readMessage(item);
      } catch {
        continue; // Three that are not what the standard says; typed-vectors.test.ts names them.
      }
      expect(writeMessage(lowerMessage(liftMessage(message)))).toEqual(writeMessage(message));
      count++;
    }
    expect(count).toBe(items.length - 3);
  });
});
