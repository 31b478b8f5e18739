import { RootFault } from '../fault.js';

/** The little DER (X.690) that keys and ECDSA signatures need; reading is strict, so one value has one encoding. */
const bad = (what: string): RootFault => new RootFault('invalid-argument', `malformed DER: ${what}`);

const lengthOctets = (length: number): Buffer => {
  if (length < 0x80) return Buffer.from([length]);
  if (length < 0x100) return Buffer.from([0x81, length]);
  if (length < 0x1_0000) return Buffer.from([0x82, length >> 8, length & 0xff]);
  return Buffer.from([0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]);
};

export const tlv = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOctets(content.length), content]);
};
export const sequence = (...parts: readonly Uint8Array[]): Buffer => tlv(0x30, ...parts);

/** Unsigned big-endian bytes as INTEGER: no leading zeros, but one before a set top bit (X.690 §8.3.2). */
export const unsignedInteger = (value: Uint8Array): Buffer => {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start += 1;
  const body = value.subarray(start);
  return (body[0] ?? 0) & 0x80 ? tlv(0x02, Buffer.of(0), body) : tlv(0x02, body.length === 0 ? Buffer.of(0) : body);
};

export interface Tlv {
  readonly tag: number;
  readonly content: Buffer;
  /** Offset just behind this element. */
  readonly end: number;
}

export const readTlv = (bytes: Buffer, offset: number): Tlv => {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw bad('truncated');
  let length = first;
  let start = offset + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 3 || start + count > bytes.length) throw bad('length');
    length = bytes.readUIntBE(start, count);
    start += count;
    if (length < 0x80 || length < 1 << (8 * (count - 1))) throw bad('length not minimal');
  }
  if (start + length > bytes.length) throw bad('truncated');
  return { tag, content: bytes.subarray(start, start + length), end: start + length };
};

/** The elements of a constructed value, in order, with nothing behind them. */
const readAll = (content: Buffer): Tlv[] => {
  const items: Tlv[] = [];
  for (let offset = 0; offset < content.length; ) {
    const item = readTlv(content, offset);
    items.push(item);
    offset = item.end;
  }
  return items;
};

export const readSequence = (bytes: Buffer): Tlv[] => {
  const outer = readTlv(bytes, 0);
  if (outer.tag !== 0x30 || outer.end !== bytes.length) throw bad('not one SEQUENCE');
  return readAll(outer.content);
};

/** Positive INTEGER as unsigned bytes without leading zeros. */
export const readUnsigned = (item: Tlv | undefined): Buffer => {
  if (item?.tag !== 0x02 || item.content.length === 0) throw bad('INTEGER expected');
  const { content } = item;
  if ((content[0] ?? 0) & 0x80) throw bad('negative INTEGER');
  if (content[0] !== 0 || content.length === 1) return content;
  if (((content[1] ?? 0) & 0x80) === 0) throw bad('INTEGER not minimal');
  return content.subarray(1);
};

/** Where an unsigned number begins in its fixed-width field, and whether its INTEGER needs a zero before it. */
const skipZeros = (bytes: Buffer, start: number, end: number): number => {
  let at = start;
  while (at < end - 1 && bytes[at] === 0) at += 1;
  return at;
};

/** r‖s of fixed width → ECDSA-Sig-Value (RFC 3279 §2.2.3). Written out by hand: this is on the path of every signature. */
export const ecdsaToDer = (signature: Buffer): Buffer => {
  const half = signature.length >> 1;
  const r = skipZeros(signature, 0, half);
  const s = skipZeros(signature, half, signature.length);
  const rPad = (signature[r] ?? 0) >> 7;
  const sPad = (signature[s] ?? 0) >> 7;
  const rBytes = half - r + rPad;
  const sBytes = signature.length - s + sPad;
  const content = rBytes + sBytes + 4;
  const long = content > 0x7f ? 1 : 0;
  const out = Buffer.allocUnsafe(2 + long + content);
  out[0] = 0x30;
  if (long === 1) out[1] = 0x81;
  out[1 + long] = content;
  out[2 + long] = 0x02;
  out[3 + long] = rBytes;
  out[4 + long] = 0;
  signature.copy(out, 4 + long + rPad, r, half);
  const second = 4 + long + rBytes;
  out[second] = 0x02;
  out[second + 1] = sBytes;
  out[second + 2] = 0;
  signature.copy(out, second + 2 + sPad, s);
  return out;
};

/** ECDSA-Sig-Value → r‖s of `width` bytes each; undefined when it is not the one DER encoding of two such numbers. */
export const ecdsaFromDer = (signature: Buffer, width: number): Buffer | undefined => {
  try {
    const items = readSequence(signature);
    if (items.length !== 2) return undefined;
    const r = readUnsigned(items[0]);
    const s = readUnsigned(items[1]);
    if (r.length > width || s.length > width) return undefined;
    const out = Buffer.alloc(2 * width);
    r.copy(out, width - r.length);
    s.copy(out, 2 * width - s.length);
    return out;
  } catch {
    return undefined;
  }
};
