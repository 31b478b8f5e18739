import { type ByteReader, type ByteWriter, isBytes, WireError } from './bytes.js';

/**
 * Free-form values (the host's configuration): undefined, null, booleans, numbers, strings, bytes, arrays and plain
 * objects. Calls don't use this; their fields are tables (call-tables.ts).
 */
export type WireValue =
  | undefined
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly WireValue[]
  | { readonly [key: string]: WireValue };

const MAX_DEPTH = 16;
const UNDEFINED = 0;
const NULL = 1;
const FALSE = 2;
const TRUE = 3;
const INTEGER = 4;
const NEGATIVE = 5;
const DOUBLE = 6;
const TEXT = 7;
const BYTES = 8;
const ARRAY = 9;
const OBJECT = 10;

const writeNumber = (writer: ByteWriter, value: number): void => {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writer.u8(value < 0 ? NEGATIVE : INTEGER);
    writer.varint(Math.abs(value));
    return;
  }
  writer.u8(DOUBLE);
  writer.f64(value);
};

/** Throws WireError for what has no form here (functions, symbols, bigints, nesting deeper than 16). */
export const writeValue = (writer: ByteWriter, value: WireValue, depth = 0): void => {
  if (depth > MAX_DEPTH) throw new WireError('value nested too deeply');
  if (value === undefined) writer.u8(UNDEFINED);
  else if (value === null) writer.u8(NULL);
  else if (typeof value === 'boolean') writer.u8(value ? TRUE : FALSE);
  else if (typeof value === 'number') writeNumber(writer, value);
  else if (typeof value === 'string') {
    writer.u8(TEXT);
    writer.text(value);
  } else if (isBytes(value)) {
    writer.u8(BYTES);
    writer.bytes(value);
  } else if (Array.isArray(value)) {
    writer.u8(ARRAY);
    writer.varint(value.length);
    for (const item of value as readonly WireValue[]) writeValue(writer, item, depth + 1);
  } else if (typeof value === 'object') {
    const entries = Object.entries(value);
    writer.u8(OBJECT);
    writer.varint(entries.length);
    for (const [key, item] of entries) {
      if (key === '__proto__') throw new WireError('key not allowed');
      writer.text(key);
      writeValue(writer, item, depth + 1);
    }
  } else throw new WireError(`a ${typeof value} has no form on the wire`);
};

/** A count is believed only as far as the bytes that are left could hold so many items. */
const readCount = (reader: ByteReader, leastBytesEach: number): number => {
  const count = reader.varint();
  if (count * leastBytesEach > reader.remaining) throw new WireError('more items than bytes');
  return count;
};

const readMagnitude = (reader: ByteReader): number => {
  const magnitude = reader.varint();
  if (magnitude === 0) throw new WireError('malformed integer');
  return magnitude;
};

const readObject = (reader: ByteReader, depth: number): { readonly [key: string]: WireValue } => {
  const result: Record<string, WireValue> = {};
  for (let left = readCount(reader, 2); left > 0; left--) {
    const key = reader.text();
    if (key === '__proto__' || Object.hasOwn(result, key)) throw new WireError('key not allowed');
    result[key] = readValue(reader, depth + 1);
  }
  return result;
};

const readArray = (reader: ByteReader, depth: number): readonly WireValue[] => {
  const result: WireValue[] = [];
  for (let left = readCount(reader, 1); left > 0; left--) result.push(readValue(reader, depth + 1));
  return result;
};

export const readValue = (reader: ByteReader, depth = 0): WireValue => {
  if (depth > MAX_DEPTH) throw new WireError('value nested too deeply');
  switch (reader.u8()) {
    case UNDEFINED:
      return undefined;
    case NULL:
      return null;
    case FALSE:
      return false;
    case TRUE:
      return true;
    case INTEGER:
      return reader.varint();
    case NEGATIVE:
      return -readMagnitude(reader);
    case DOUBLE:
      return reader.f64();
    case TEXT:
      return reader.text();
    case BYTES:
      return reader.bytes();
    case ARRAY:
      return readArray(reader, depth);
    case OBJECT:
      return readObject(reader, depth);
    default:
      throw new WireError('unknown kind of value');
  }
};
