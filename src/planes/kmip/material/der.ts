// The little DER (X.690) that keys need. Read as views and written in one allocation: no copy of a private number is left behind.

export const TAG = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  bmpString: 0x1e,
} as const;

export interface DerNode {
  readonly tag: number;
  /** The contents, a view. */
  readonly body: Uint8Array;
  /** Tag, length and contents, a view. */
  readonly whole: Uint8Array;
}

/** Thrown for anything that is not the DER asked for; never quotes a byte. */
export class DerError extends Error {}
const bad = (what: string): DerError => new DerError(what);

const readAt = (bytes: Uint8Array, at: number): DerNode => {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw bad('truncated');
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw bad('length');
    length = 0;
    for (let i = 0; i < count; i += 1) length = length * 256 + (bytes[start + i] ?? Number.NaN);
    start += count;
  }
  const end = start + length;
  if (!(end <= bytes.length)) throw bad('truncated');
  return { tag, body: bytes.subarray(start, end), whole: bytes.subarray(at, end) };
};

/** Exactly one element. */
export const readDer = (bytes: Uint8Array): DerNode => {
  const node = readAt(bytes, 0);
  if (node.whole.length !== bytes.length) throw bad('trailing bytes');
  return node;
};

/** At most 1024 elements one after another: far more than any key has. */
export const readAll = (bytes: Uint8Array): readonly DerNode[] => {
  const nodes: DerNode[] = [];
  for (let at = 0; at < bytes.length; ) {
    const node = readAt(bytes, at);
    if (nodes.push(node) > 1024) throw bad('too many elements');
    at += node.whole.length;
  }
  return nodes;
};

/** The children of one SEQUENCE (or of another constructed tag). */
export const readSequence = (bytes: Uint8Array, tag: number = TAG.sequence): readonly DerNode[] => {
  const node = readDer(bytes);
  if (node.tag !== tag) throw bad('another tag');
  return readAll(node.body);
};

export const bodyOf = (node: DerNode | undefined, tag: number): Uint8Array => {
  if (node?.tag !== tag) throw bad('another tag');
  return node.body;
};

/** Leading zero bytes are the sign of an INTEGER, not part of the number; a view. */
export const trimmed = (bytes: Uint8Array): Uint8Array => {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at += 1;
  return bytes.subarray(at);
};

/** A non-negative INTEGER, big-endian without leading zeros; a view. */
export const unsignedOf = (node: DerNode | undefined): Uint8Array => {
  const body = bodyOf(node, TAG.integer);
  if (body.length === 0 || (body[0] as number) >= 0x80) throw bad('a negative number');
  return trimmed(body);
};

/** What is to be written: bytes as they are, or an element of parts. */
export type DerPart = Uint8Array | { readonly tag: number; readonly parts: readonly DerPart[] };
export const der = (tag: number, ...parts: readonly DerPart[]): DerPart => ({ tag, parts });
export const sequence = (...parts: readonly DerPart[]): DerPart => der(TAG.sequence, ...parts);

const ZERO = Uint8Array.of(0);
/** A non-negative INTEGER of big-endian bytes. */
export const unsigned = (bytes: Uint8Array): DerPart => {
  const value = trimmed(bytes);
  if (value.length === 0) return der(TAG.integer, ZERO);
  return (value[0] as number) >= 0x80 ? der(TAG.integer, ZERO, value) : der(TAG.integer, value);
};
export const smallInteger = (value: number): DerPart => der(TAG.integer, Uint8Array.of(value));
export const bitString = (...parts: readonly DerPart[]): DerPart => der(TAG.bitString, ZERO, ...parts);

const bodySize = (part: DerPart): number => (part instanceof Uint8Array ? part.length : part.parts.reduce((n, p) => n + sizeOf(p), 0));
const lengthSize = (length: number): number => (length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : length < 0x1000000 ? 4 : 5);
const sizeOf = (part: DerPart): number => {
  const body = bodySize(part);
  return part instanceof Uint8Array ? body : 1 + lengthSize(body) + body;
};

const writeAt = (part: DerPart, out: Uint8Array, at: number): number => {
  if (part instanceof Uint8Array) {
    out.set(part, at);
    return at + part.length;
  }
  const length = bodySize(part);
  const size = lengthSize(length);
  out[at] = part.tag;
  let next = at + 1;
  if (size > 1) out[next++] = 0x80 | (size - 1);
  for (let i = size > 1 ? size - 2 : 0; i >= 0; i -= 1) out[next++] = (length >>> (8 * i)) & 0xff;
  for (const child of part.parts) next = writeAt(child, out, next);
  return next;
};

/** One fresh buffer; the caller overwrites it when it holds a secret. */
export const writeDer = (part: DerPart): Uint8Array => {
  const out = new Uint8Array(sizeOf(part));
  writeAt(part, out, 0);
  return out;
};

/** Contents of an OBJECT IDENTIFIER from its dotted form. */
export const oidBytes = (dotted: string): Uint8Array => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const out: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const digits = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift((left & 0x7f) | 0x80);
    out.push(...digits);
  }
  return Uint8Array.from(out);
};

/** Dotted form of an OBJECT IDENTIFIER's contents. */
export const oidText = (body: Uint8Array): string => {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of body) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const head = arcs.shift() ?? 0;
  const top = Math.min(2, Math.floor(head / 40));
  return [top, head - 40 * top, ...arcs].join('.');
};
export const oid = (dotted: string): DerPart => der(TAG.oid, oidBytes(dotted));
