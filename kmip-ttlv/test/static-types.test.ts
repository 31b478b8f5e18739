import { expect, test } from 'vitest';
import { type RequestPayload, type ResponsePayload, readMessage, type StructureFields, writeMessage } from '../src/index.js';

// The static types come from the same tables as the codec; `tsc` over the tests checks the lines that must not compile.

const create: RequestPayload<'Create'> = { ObjectType: 'SymmetricKey', Attributes: [{ name: 'CryptographicAlgorithm', value: 'AES' }] };
// @ts-expect-error not an object type
const wrongName: RequestPayload<'Create'> = { ObjectType: 'Symmetric' };
// @ts-expect-error Create has no such field
const wrongField: RequestPayload<'Create'> = { KeyBlock: {} };
// @ts-expect-error a length is a number
const wrongType: StructureFields<'KeyBlock'> = { CryptographicLength: '128' };
const get: ResponsePayload<'Get'> = {
  ObjectType: 'SymmetricKey',
  UniqueIdentifier: 'key-1',
  SymmetricKey: {
    KeyBlock: {
      KeyFormatType: 'Raw',
      KeyValue: { KeyMaterial: new Uint8Array(16) },
      CryptographicAlgorithm: 'AES',
      CryptographicLength: 128,
    },
  },
};

test('what the types allow is written and read back; what they refuse is refused at run time too', () => {
  const request = (payload: object) => ({
    kind: 'request' as const,
    version: '2.1' as const,
    header: {},
    items: [{ operation: 'Create', payload: { ...payload }, fields: {} }],
  });
  expect(readMessage(writeMessage(request(create))).items[0]?.payload).toEqual(create);
  expect(() => writeMessage(request(wrongName))).toThrow('RequestPayload/ObjectType: the enumeration has no value of that name');
  expect(() => writeMessage(request({ ...wrongField }))).toThrow('RequestPayload/ObjectType: the field is required');
  const response = (payload: object) => ({
    kind: 'response' as const,
    version: '1.0' as const,
    header: { TimeStamp: 1n },
    items: [{ operation: 'Get', payload: { ...payload }, fields: { ResultStatus: 'Success' } }],
  });
  expect(readMessage(writeMessage(response(get)), { strict: true }).items[0]?.payload).toEqual(get);
  const broken = { ...get, SymmetricKey: { KeyBlock: { ...get.SymmetricKey?.KeyBlock, ...wrongType } } };
  expect(() => writeMessage(response(broken))).toThrow('SymmetricKey/KeyBlock/CryptographicLength: the value fits none of Integer');
});
