import {
  CodecError,
  type Fields,
  type Item,
  KMIP_VERSIONS,
  type KmipVersion,
  type Limits,
  lowerMessage,
  type Message,
  protocolVersionOf,
  readJson,
  readTtlv,
  readXml,
  structure,
  tagCode,
  versionNumbers,
  versionOf,
  writeJson,
  writeMessage,
  writeTtlv,
  writeXml,
} from '@aegis/kmip-ttlv';

// Bytes to messages and back, in the three encodings, and which version an answer is written in.

export type Encoding = 'ttlv' | 'xml' | 'json';

const REQUEST_MESSAGE = tagCode('RequestMessage') as number;
const REQUEST_HEADER = tagCode('RequestHeader') as number;
const HEADER_BYTES = 8;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws CodecError */
export function readItem(bytes: Uint8Array, encoding: Encoding, limits: Limits): Item {
  if (encoding === 'ttlv') return readTtlv(bytes, limits);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new CodecError('BadValue', 'the text is not UTF-8');
  }
  return encoding === 'xml' ? readXml(text, limits) : readJson(text, limits);
}

export function writeItem(item: Item, encoding: Encoding): Uint8Array {
  if (encoding === 'ttlv') return writeTtlv(item);
  return Buffer.from(encoding === 'xml' ? writeXml(item) : writeJson(item), 'utf8');
}

/** The header alone of a TTLV message whose body cannot be read, so that it can be answered in its own version. */
export function salvageVersion(bytes: Uint8Array, limits: Limits): { major: number; minor: number } | undefined {
  if (bytes.length < 3 * HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) >>> 8 !== REQUEST_MESSAGE || view.getUint32(HEADER_BYTES) >>> 8 !== REQUEST_HEADER) return undefined;
  const end = 2 * HEADER_BYTES + view.getUint32(HEADER_BYTES + 4);
  if (end > bytes.length) return undefined;
  try {
    return protocolVersionOf(structure(REQUEST_MESSAGE, [readTtlv(bytes.subarray(HEADER_BYTES, end), limits)]));
  } catch {
    return undefined;
  }
}

/**
 * The version to answer in: the one asked for, else the newest offered one that is older, else the oldest (KMIP 1.4 §6.1: "the server
 * SHALL respond with the version that it supports").
 */
export function answerVersion(asked: { major: number; minor: number }, offered: readonly KmipVersion[]): KmipVersion {
  const exact = versionOf(asked.major, asked.minor);
  if (exact !== undefined && offered.includes(exact)) return exact;
  const older = offered.filter((version) => {
    const { major, minor } = versionNumbers(version);
    return major < asked.major || (major === asked.major && minor < asked.minor);
  });
  const sorted = KMIP_VERSIONS.filter((version) => (older.length > 0 ? older : offered).includes(version));
  return (older.length > 0 ? sorted.at(-1) : sorted[0]) as KmipVersion;
}

/** A response in the form of its version; TTLV bytes are written for its size as well. */
export const writeResponse = (message: Message): Item => writeMessage(lowerMessage(message));

/** A response of one batch item without operation: the message as a whole is refused. */
export const refusalMessage = (version: KmipVersion, header: Fields, reason: string, text: string): Message => ({
  kind: 'response',
  version,
  header,
  items: [{ fields: { ResultStatus: 'OperationFailed', ResultReason: reason, ResultMessage: text } }],
});
