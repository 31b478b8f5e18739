/**
 * A strict reader for the few DER structures that are looked into before OpenSSL sees them: some malformed keys make
 * Node.js abort (GetEcKeyDetail asserts on a point that is not on its curve), so they must not get that far.
 */
export interface Der {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Offset of what follows, in the bytes that were read. */
  readonly end: number;
}

export const SEQUENCE = 0x30;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;

/** One TLV with a definite length in its shortest form (X.690 §10.1); undefined for anything else. */
export const readDer = (bytes: Uint8Array, at = 0): Der | undefined => {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || count > 3) return undefined;
  let length = first < 0x80 ? first : 0;
  for (let index = 0; index < count; index += 1) length = length * 256 + (bytes[at + 2 + index] ?? 0);
  const shortest = count === 0 || (count === 1 ? length >= 0x80 : length >= 2 ** (8 * (count - 1)));
  const start = at + 2 + count;
  if (!shortest || start + length > bytes.length) return undefined;
  return { tag, content: bytes.subarray(start, start + length), end: start + length };
};

/** The elements of a constructed value, or undefined when it does not divide into whole ones. */
const readAll = (content: Uint8Array): readonly Der[] | undefined => {
  const elements: Der[] = [];
  for (let at = 0; at < content.length; ) {
    const element = readDer(content, at);
    if (element === undefined || elements.length >= 16) return undefined;
    elements.push(element);
    at = element.end;
  }
  return elements;
};

/** The elements of one SEQUENCE that fills `bytes`. */
export const readSequence = (bytes: Uint8Array): readonly Der[] | undefined => {
  const whole = readDer(bytes);
  return whole?.tag === SEQUENCE && whole.end === bytes.length ? readAll(whole.content) : undefined;
};

/** Algorithm OID and, where the parameters are one, the OID in them (RFC 5280 §4.1.1.2), as hex of their contents. */
export const readAlgorithm = (identifier: Der | undefined): { readonly oid: string; readonly parameter?: string } | undefined => {
  if (identifier?.tag !== SEQUENCE) return undefined;
  const parts = readAll(identifier.content);
  const [oid, parameter] = parts ?? [];
  if (oid?.tag !== OBJECT_IDENTIFIER || (parts?.length ?? 0) > 2) return undefined;
  const text = (der: Der): string => Buffer.from(der.content).toString('hex');
  return { oid: text(oid), ...(parameter?.tag === OBJECT_IDENTIFIER ? { parameter: text(parameter) } : {}) };
};

/** Encodes one TLV of less than 64 KiB. */
export const writeDer = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), ...parts]);
};
