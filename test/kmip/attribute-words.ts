import { type Fields, ItemType, type KmipAttribute, type KmipVersion, knownTag } from '@aegis/kmip-ttlv';
import { type KmipClient, KmipRefusal } from '@aegis/kmip-ttlv/client';

// What the tests of attributes, lifecycle and Locate say again and again.

export type Client = KmipClient;

/** A request whose payload the test spells itself: attributes as lists, whatever the version. */
export const ask = (client: Client, operation: string, payload: Fields = {}): Promise<Fields> =>
  client.request(operation as 'Ping', payload as never) as unknown as Promise<Fields>;

/** `Success`, or the Result Reason of a refusal. */
export const outcome = async (run: Promise<unknown>): Promise<string> => {
  try {
    await run;
    return 'Success';
  } catch (error) {
    if (error instanceof KmipRefusal) return String(error.reason);
    throw error;
  }
};

const aes = (...more: readonly KmipAttribute[]): readonly KmipAttribute[] => [
  { name: 'CryptographicAlgorithm', value: 'AES' },
  { name: 'CryptographicLength', value: 256 },
  { name: 'CryptographicUsageMask', value: 0x0c },
  ...more,
];
export const named = (text: string): KmipAttribute => ({
  name: 'Name',
  value: { NameValue: text, NameType: 'UninterpretedTextString' },
});
export const custom = (name: string, text: string): KmipAttribute => ({
  vendor: 'x',
  name,
  value: { tag: knownTag('AttributeValue'), type: ItemType.TextString, value: text },
});
export const secondsFromNow = (seconds: number): bigint => BigInt(Math.floor(Date.now() / 1000) + seconds);

/** Creates an AES key and answers its id. */
export const createKey = async (client: Client, ...more: readonly KmipAttribute[]): Promise<string> => {
  const answer = await ask(client, 'Create', { ObjectType: 'SymmetricKey', Attributes: aes(...more) });
  return answer['UniqueIdentifier'] as string;
};

export const attributesOf = async (client: Client, id: string, ...names: readonly string[]): Promise<readonly KmipAttribute[]> => {
  const answer = await ask(client, 'GetAttributes', {
    UniqueIdentifier: id,
    ...(names.length === 0 ? {} : { AttributeReference: names.map((name) => ({ name })) }),
  });
  return (answer['Attributes'] ?? []) as readonly KmipAttribute[];
};
/** The value of a single attribute; undefined when it is absent. */
export const single = async (client: Client, id: string, name: string): Promise<unknown> =>
  (await attributesOf(client, id, name)).find((one) => one.name === name)?.value;
export const valuesOf = async (client: Client, id: string, name: string): Promise<readonly unknown[]> =>
  (await attributesOf(client, id, name)).filter((one) => one.name === name).map((one) => one.value);

export const EVERY_OLD: readonly KmipVersion[] = ['1.0', '1.1', '1.2', '1.3', '1.4'];
