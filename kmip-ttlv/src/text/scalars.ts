import { maskOfTag, valueForTag, valueNameForTag } from '../spec/lookup.js';
import { CodecError } from '../tree/codec-error.js';

// What both text forms share: hex, dates, enumeration and mask names (additional message encodings 1.0 §4.1 and §6.1).

const HEX = /^0x[0-9a-fA-F]+$/;
const DATE = /^(-?\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$/;
const hexPairs: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

const bad = (what: string): CodecError => new CodecError('BadValue', what);

export const isHex = (text: string): boolean => HEX.test(text);

/** Lower-case hex without prefix. */
export function showBytes(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += hexPairs[bytes[i] as number];
  return text;
}

/** The value of a hex digit's character code, or 16. */
function nibble(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  const lower = unit | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : 16;
}

/** Hex pairs, either case, no prefix. A loop, because a regular expression over megabytes exhausts its stack. */
export function parseBytes(text: string): Uint8Array {
  if (text.length % 2 !== 0) throw bad('the value is hex pairs');
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = nibble(text.charCodeAt(2 * i));
    const low = nibble(text.charCodeAt(2 * i + 1));
    if (high > 15 || low > 15) throw bad('the value is hex pairs');
    bytes[i] = (high << 4) | low;
  }
  return bytes;
}

/** `0x` and all the digits of a 4 or 8 byte value, two's complement. */
export function showHex(value: number | bigint, bytes: 4 | 8): string {
  return `0x${BigInt.asUintN(bytes * 8, BigInt(value))
    .toString(16)
    .padStart(bytes * 2, '0')}`;
}

/** A 32-bit hex value as an unsigned number; fewer digits than eight are tolerated, as the standard's own example has seven. */
export function parseHex32(text: string): number {
  if (!HEX.test(text) || text.length > 10) throw bad('the value is 0x and at most 8 hex digits');
  return Number.parseInt(text.slice(2), 16);
}

export function parseHex64(text: string): bigint {
  if (!HEX.test(text) || text.length > 18) throw bad('the value is 0x and at most 16 hex digits');
  return BigInt.asIntN(64, BigInt(text));
}

/** A decimal integer within the bounds. */
export function parseDecimal(text: string, low: bigint, high: bigint): bigint {
  if (!/^[+-]?\d{1,20}$/.test(text)) throw bad('the value is a decimal integer');
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  if (value < low || value > high) throw bad('the value is out of the range of its type');
  return value;
}

/** The name of an enumeration value, or its eight hex digits. */
export function showEnumeration(tag: number, value: number): string {
  return valueNameForTag(tag, value) ?? showHex(value, 4);
}

/** An enumeration value from its name or hex. */
export function parseEnumeration(tag: number, text: string): number {
  if (text.startsWith('0x')) return parseHex32(text);
  const value = valueForTag(tag, text);
  if (value === undefined) throw bad('the enumeration has no value of that name; an unknown value is written as 0x and 8 hex digits');
  return value;
}

/** Mask components, what no name covers last as hex; undefined when the tag carries no mask or no bit is set. */
export function showMask(tag: number, value: number, separator: ' ' | '|'): string | undefined {
  const mask = maskOfTag(tag);
  if (mask === undefined || value === 0) return undefined;
  const parts: string[] = [];
  let rest = value >>> 0;
  for (const bit of mask.values) {
    if ((rest & bit.value) === 0) continue;
    parts.push(bit.name);
    rest = (rest & ~bit.value) >>> 0;
  }
  if (rest !== 0) parts.push(showHex(rest, 4));
  return parts.join(separator);
}

/** A signed 32-bit integer from mask components: names and hex values. */
export function parseMask(tag: number, text: string, separator: RegExp): number {
  const mask = maskOfTag(tag);
  let value = 0;
  for (const part of text.split(separator)) {
    if (part === '') continue;
    const bit = part.startsWith('0x') ? parseHex32(part) : mask?.values.find((row) => row.name === part)?.value;
    if (bit === undefined) throw bad('the value is not an integer nor names of mask bits');
    value |= bit;
  }
  return value;
}

/** Seconds or microseconds since 1970 as ISO 8601 with offset; undefined when the year is not between 1 and 9999. */
export function showDate(value: bigint, unit: 'seconds' | 'microseconds'): string | undefined {
  const perSecond = unit === 'seconds' ? 1n : 1_000_000n;
  const fraction = ((value % perSecond) + perSecond) % perSecond;
  const seconds = (value - fraction) / perSecond;
  if (seconds < -62_135_596_800n || seconds > 253_402_300_799n) return undefined;
  const iso = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${iso}${unit === 'seconds' ? '' : `.${fraction.toString().padStart(6, '0')}`}+00:00`;
}

/** An xsd:dateTime; no zone means UTC; a fraction is truncated for seconds (§4.1.6.11). */
export function parseDate(text: string, unit: 'seconds' | 'microseconds'): bigint {
  const match = DATE.exec(text);
  if (match === null) throw bad('the value is an ISO 8601 date and time');
  const [, year, month, day, hour, minute, second, fraction, zone] = match as unknown as string[];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const sane = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day) && Number(hour) < 24 && Number(minute) < 60;
  if (!sane || Number(second) > 59) throw bad('the value is a date and time that exist');
  const seconds = BigInt(date.getTime() / 1000) - zoneSeconds(zone);
  return unit === 'seconds' ? seconds : seconds * 1_000_000n + BigInt((fraction ?? '').slice(0, 6).padEnd(6, '0'));
}

function zoneSeconds(zone: string | undefined): bigint {
  if (zone === undefined || zone === 'Z') return 0n;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4, 6));
  if (hours > 14 || minutes > 59) throw bad('the zone is an offset that exists');
  return BigInt((zone[0] === '-' ? -1 : 1) * (hours * 3600 + minutes * 60));
}
