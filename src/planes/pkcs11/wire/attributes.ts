import { type ByteReader, type ByteWriter, ULONG_BYTES, WireError } from './bytes.js';
import { CKA } from './codes.js';

/** Generation of the client: the version byte it sent, which also decides how it writes mechanisms. */
export type Generation = 0 | 1 | 2;

/** A value as the application gave it. Scalars of length 0 and dates left empty are `undefined` with length 0. */
export type AttributeValue = boolean | number | Uint8Array | readonly number[] | readonly Attribute[] | undefined;
export interface Attribute {
  readonly type: number;
  readonly value: AttributeValue;
  /** False where the application's ulValueLen was (CK_ULONG)-1. */
  readonly available: boolean;
}
export interface WantedAttribute {
  readonly type: number;
  /** Bytes the caller has; 0 = it asks for the size. */
  readonly capacity: number;
}

export type AttributeClass = 'bool' | 'ulong' | 'date' | 'mechanisms' | 'attributes' | 'bytes';

const BOOLS = [
  ...[0x1, 0x2, 0x86, 0x103, 0x104, 0x105, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x10b, 0x10c, 0x162, 0x163, 0x164, 0x165],
  ...[0x170, 0x171, 0x200, 0x202, 0x210, 0x301, 0x302, 0x405],
];
const ULONGS = [
  ...[0x0, 0x80, 0x87, 0x88, 0x100, 0x121, 0x133, 0x134, 0x160, 0x161, 0x166, 0x201, 0x300],
  ...[0x400, 0x401, 0x402, 0x403, 0x404, 0x406, 0x500],
];
const CLASSES: ReadonlyMap<number, AttributeClass> = new Map([
  ...BOOLS.map((type) => [type, 'bool'] as const),
  ...ULONGS.map((type) => [type, 'ulong'] as const),
  [CKA.START_DATE, 'date'],
  [CKA.END_DATE, 'date'],
  [CKA.ALLOWED_MECHANISMS, 'mechanisms'],
  [CKA.WRAP_TEMPLATE, 'attributes'],
  [CKA.UNWRAP_TEMPLATE, 'attributes'],
  [CKA.DERIVE_TEMPLATE, 'attributes'],
]);
/** Everything not listed travels as a byte string, in the client's own memory order where it is a number. */
export const attributeClass = (type: number): AttributeClass => CLASSES.get(type) ?? 'bytes';

const MAX_ATTRIBUTES = 1024;
const MAX_MECHANISMS = 4096;
/** Templates within templates; newer clients stop at 8. */
const MAX_DEPTH = 8;

/** Least bytes one attribute takes on the wire: type and valid flag. A count beyond that is a lie. */
const MIN_ATTRIBUTE_BYTES = 5;
const WANTED_BYTES = 8;

export const readAttributes = (reader: ByteReader, generation: Generation, depth = 0): Attribute[] => {
  const count = reader.u32();
  if (count > MAX_ATTRIBUTES || count * MIN_ATTRIBUTE_BYTES > reader.left) throw new WireError(`${count} attributes cannot be there`);
  if (depth > MAX_DEPTH) throw new WireError('templates nested too deeply');
  const attributes: Attribute[] = [];
  for (let n = 0; n < count; n += 1) attributes.push(readAttribute(reader, generation, depth));
  return attributes;
};

const readAttribute = (reader: ByteReader, generation: Generation, depth: number): Attribute => {
  const type = reader.u32();
  const valid = reader.byte();
  if (valid > 1) throw new WireError('a valid flag is neither 0 nor 1');
  if (valid === 0) return { type, value: undefined, available: false };
  const length = reader.u32();
  return { type, value: readValue(reader, type, length, generation, depth), available: true };
};

const readValue = (reader: ByteReader, type: number, length: number, generation: Generation, depth: number): AttributeValue => {
  // The oldest client sends a derive template as its own memory: pointers, useless here.
  const kind = type === CKA.DERIVE_TEMPLATE && generation === 0 ? 'bytes' : attributeClass(type);
  if (kind === 'bool') {
    const value = reader.byte();
    return length === 0 ? undefined : value !== 0;
  }
  if (kind === 'ulong') {
    const value = reader.ulong();
    return length === 0 ? undefined : value;
  }
  if (kind === 'mechanisms') return readMechanismTypes(reader);
  if (kind === 'attributes') return readAttributes(reader, generation, depth + 1);
  const bytes = reader.string();
  if (kind === 'date') {
    if (bytes !== undefined && bytes.length !== 0 && bytes.length !== 8) throw new WireError('a date has 8 bytes');
    return bytes === undefined || bytes.length === 0 ? undefined : bytes;
  }
  return bytes ?? new Uint8Array(0);
};

const readMechanismTypes = (reader: ByteReader): readonly number[] => {
  const count = reader.u32();
  if (count > MAX_MECHANISMS || count * ULONG_BYTES > reader.left) throw new WireError(`${count} mechanisms cannot be there`);
  return Array.from({ length: count }, () => reader.ulong());
};

/**
 * Wanted attributes of C_GetAttributeValue. Clients 0.25.4 and 0.25.5 always append a nested list for array types, newer
 * ones only where they have a buffer, older ones never; `nested` says how to read this body.
 */
export const readWanted = (reader: ByteReader, nested: 'always' | 'with-buffer' | 'never', depth = 0): WantedAttribute[] => {
  const count = reader.u32();
  if (count > MAX_ATTRIBUTES || count * WANTED_BYTES > reader.left) throw new WireError(`${count} attributes cannot be wanted`);
  if (depth > MAX_DEPTH) throw new WireError('templates nested too deeply');
  const wanted: WantedAttribute[] = [];
  for (let n = 0; n < count; n += 1) {
    const type = reader.u32();
    const capacity = reader.u32();
    if (attributeClass(type) === 'attributes' && (nested === 'always' || (nested === 'with-buffer' && capacity > 0)))
      readWanted(reader, nested, depth + 1);
    wanted.push({ type, capacity });
  }
  return wanted;
};

/** In-memory size on the client (LP64), which is what the length field must say. */
export const memoryLength = (value: AttributeValue): number => {
  if (value === undefined) return 0;
  if (typeof value === 'boolean') return 1;
  if (typeof value === 'number') return ULONG_BYTES;
  if (value instanceof Uint8Array) return value.length;
  return value.every((v) => typeof v === 'number') ? value.length * ULONG_BYTES : value.length * 24;
};

/** A number or boolean of a type the client has no class for goes as its own little-endian memory. */
const toMemory = (value: AttributeValue): Uint8Array => {
  if (value === undefined) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'boolean') return Uint8Array.of(value ? 1 : 0);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(ULONG_BYTES);
    bytes.writeBigUInt64LE(value >= 2 ** 64 ? 0xffff_ffff_ffff_ffffn : BigInt(value));
    return bytes;
  }
  throw new WireError('an array has no byte form');
};

/** One attribute of a response; `undefined` as answer = unavailable. */
export const writeAttribute = (writer: ByteWriter, type: number, answer: { readonly value: AttributeValue } | undefined): void => {
  writer.u32(type);
  if (answer === undefined) {
    writer.byte(0);
    return;
  }
  const { value } = answer;
  const kind = attributeClass(type);
  writer.byte(1);
  if (kind === 'bool') writer.u32(1).byte(value === true ? 1 : 0);
  else if (kind === 'ulong') writer.u32(ULONG_BYTES).ulong(typeof value === 'number' ? value : 0);
  else if (kind === 'mechanisms') {
    const types = (value ?? []) as readonly number[];
    writer.u32(types.length * ULONG_BYTES).u32(types.length);
    for (const one of types) writer.ulong(one);
  } else if (kind === 'attributes') {
    const attributes = (value ?? []) as readonly Attribute[];
    writer.u32(attributes.length * 24).u32(attributes.length);
    for (const one of attributes) writeAttribute(writer, one.type, { value: one.value });
  } else {
    const bytes = toMemory(value);
    writer.u32(bytes.length).string(bytes);
  }
};
