import {
  childOf,
  childrenOf,
  type Fields,
  type Item,
  ItemType,
  type KmipVersion,
  knownTag,
  liftMessage,
  lowerMessage,
  type Message,
  readMessage,
  readTtlv,
  structure,
  writeMessage,
  writeTtlv,
} from '@aegis/kmip-ttlv';
import { refuse } from '../contract.js';

// A Key Value as TTLV by itself: what Encoding Option TTLV wraps (KMIP 2.1 §3.2), and how a structure that no root understands is sealed.
// The codec reads and writes messages; a message around the structure is put on and taken off.

const around = (version: KmipVersion, keyValue: Fields | Uint8Array): Message => ({
  kind: 'response',
  version,
  header: { TimeStamp: 0n },
  items: [
    {
      operation: 'Get',
      fields: { ResultStatus: 'Success' },
      payload: {
        ObjectType: 'SymmetricKey',
        UniqueIdentifier: '0',
        SymmetricKey: { KeyBlock: { KeyFormatType: 'Raw', KeyValue: keyValue } },
      },
    },
  ],
});
const PATH = ['BatchItem', 'ResponsePayload', 'SymmetricKey', 'KeyBlock', 'KeyValue'] as const;

const inside = (message: Item): Item => {
  let item: Item | undefined = message;
  for (const name of PATH) item = item === undefined ? undefined : childOf(item, knownTag(name));
  if (item === undefined) throw refuse('EncodingOptionError', 'The Key Value could not be encoded.');
  return item;
};

/** The message with another item at the path. */
const withInside = (item: Item, at: number, replacement: Item): Item => {
  const name = PATH[at];
  if (name === undefined) return replacement;
  const tag = knownTag(name);
  return structure(
    item.tag,
    childrenOf(item).map((child) => (child.tag === tag ? withInside(child, at + 1, replacement) : child)),
  );
};

/** Key Value structure → TTLV. Fresh bytes; the caller overwrites them. */
export const encodeKeyValue = (keyValue: Fields, version: KmipVersion): Uint8Array =>
  writeTtlv(inside(writeMessage(lowerMessage(around(version, keyValue)))));

/**
 * TTLV → Key Value structure, lifted; byte values are views.
 * @throws KmipRefusal Encoding Option Error
 */
export const decodeKeyValue = (bytes: Uint8Array, version: KmipVersion): Fields => {
  try {
    const item = readTtlv(bytes);
    if (item.tag !== knownTag('KeyValue') || item.type !== ItemType.Structure) throw new Error('another structure');
    const message = withInside(writeMessage(lowerMessage(around(version, new Uint8Array(1)))), 0, item);
    const payload = liftMessage(readMessage(message)).items[0]?.payload;
    const object = payload?.['SymmetricKey'] as { readonly KeyBlock: { readonly KeyValue: Fields } };
    return object.KeyBlock.KeyValue;
  } catch {
    throw refuse('EncodingOptionError', 'What is wrapped is no Key Value in TTLV.');
  }
};
