import {
  type FaultError,
  fail,
  isObjectId,
  type ObjectDates,
  type ObjectLink,
  type RotationPolicy,
  type UsageLimits,
} from '../domain/index.js';
import type { ObjectStore } from '../storage/ports.js';
import { RESERVED_PREFIX } from './key-parts.js';

/** Bounds on what a caller may attach to an object; they keep one row small enough to cache by the thousand. */
export const BOUNDS = {
  names: 32,
  nameChars: 255,
  descriptionChars: 4096,
  tags: 64,
  tagKeyChars: 128,
  tagValueChars: 256,
  attributes: 512,
  attributeNameChars: 255,
  attributesBytes: 131_072,
  links: 128,
  linkTypeChars: 64,
  linkTargetChars: 255,
  groupChars: 255,
  messageChars: 1024,
} as const;

export const badField = (field: string, message: string, next: string): FaultError => fail('invalid-field', message, { field, next });

/** C0/C1 controls, line separators and bidirectional overrides: they make a log or a listing lie. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing control characters is the point
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/u;

export const checkText = (text: unknown, field: string, maxChars: number): string => {
  if (typeof text !== 'string') throw badField(field, 'Must be text.', 'Send a string.');
  if (text.length > maxChars) throw badField(field, `Longer than ${maxChars} characters.`, 'Shorten it.');
  if (/\p{Surrogate}/u.test(text) || UNSAFE.test(text)) {
    throw badField(field, 'Contains control or direction-changing characters.', 'Use printable characters only.');
  }
  return text;
};

export const checkNames = async (
  names: readonly string[] | undefined,
  field: string,
  tenant: string,
  objects: Pick<ObjectStore, 'load'>,
): Promise<readonly string[]> => {
  if (names === undefined) return [];
  if (!Array.isArray(names) || names.length > BOUNDS.names) throw badField(field, `At most ${BOUNDS.names} names.`, 'Send a shorter list.');
  for (const [i, name] of names.entries()) {
    const path = `${field}.${i}`;
    checkText(name, path, BOUNDS.nameChars);
    if (name.trim() === '') throw badField(path, 'A name cannot be empty.', 'Give 1 to 255 characters.');
    if (/@[0-9]+$/.test(name)) {
      throw badField(path, 'A name cannot end in @ and digits: that is how a version is named.', 'Choose another ending.');
    }
    if (names.indexOf(name) !== i) throw badField(path, 'The name is given twice.', 'Give each name once.');
    // A name that is another object's id would shadow nothing, but it would mislead whoever reads it.
    if (isObjectId(name) && (await objects.load(tenant, name))?.object.id === name.toLowerCase()) {
      throw badField(path, 'The name is the id of an existing object.', 'Choose another name.');
    }
  }
  return names;
};

export const checkTags = (tags: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> => {
  if (tags === undefined) return {};
  const entries = Object.entries(tags);
  if (entries.length > BOUNDS.tags) throw badField('tags', `At most ${BOUNDS.tags} tags.`, 'Remove some.');
  for (const [key, value] of entries) {
    if (key === '') throw badField('tags', 'A tag needs a name.', 'Give 1 to 128 characters.');
    checkText(key, `tags.${key.slice(0, 32)}`, BOUNDS.tagKeyChars);
    checkText(value, `tags.${key}`, BOUNDS.tagValueChars);
  }
  return Object.fromEntries(entries);
};

const isJson = (value: unknown, depth: number): boolean => {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth === 0) return false;
  if (Array.isArray(value)) return value.every((v) => isJson(v, depth - 1));
  const proto = Object.getPrototypeOf(value);
  return (proto === Object.prototype || proto === null) && Object.values(value).every((v) => isJson(v, depth - 1));
};
const MAX_ATTRIBUTE_DEPTH = 12;

/** Checks the given attributes alone; `mergeAttributes` checks the sum. */
export const checkAttributes = (attributes: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, unknown>> => {
  if (attributes === undefined) return {};
  for (const [name, value] of Object.entries(attributes)) {
    const path = `attributes.${name.slice(0, 64)}`;
    if (name === '') throw badField('attributes', 'An attribute needs a name.', 'Give 1 to 255 characters.');
    checkText(name, path, BOUNDS.attributeNameChars);
    if (name === '__proto__') throw badField(path, 'Not a usable attribute name.', 'Choose another name.');
    if (name.toLowerCase().startsWith(RESERVED_PREFIX)) {
      throw fail('attribute-read-only', `Attributes starting with ${RESERVED_PREFIX} belong to the service.`, {
        field: path,
        next: 'Use another prefix, for example x-.',
      });
    }
    if (!isJson(value, MAX_ATTRIBUTE_DEPTH)) throw badField(path, 'Not a JSON value, or nested too deeply.', 'Send plain JSON.');
  }
  return boundAttributes(Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== null)));
};

const boundAttributes = (all: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  if (Object.keys(all).length > BOUNDS.attributes) throw badField('attributes', `At most ${BOUNDS.attributes} attributes.`, 'Remove some.');
  if (Buffer.byteLength(JSON.stringify(all)) > BOUNDS.attributesBytes) {
    throw badField('attributes', `Attributes together exceed ${BOUNDS.attributesBytes} bytes.`, 'Shorten or remove some.');
  }
  return all;
};

/** Merge by name; null deletes. */
export const mergeAttributes = (
  old: Readonly<Record<string, unknown>>,
  change: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> => {
  if (change === undefined) return old;
  checkAttributes(change);
  const merged = Object.entries({ ...old, ...change }).filter(([name]) => !(Object.hasOwn(change, name) && change[name] === null));
  return boundAttributes(Object.fromEntries(merged));
};

export const checkLinks = (links: readonly ObjectLink[] | undefined): readonly ObjectLink[] => {
  if (links === undefined) return [];
  if (links.length > BOUNDS.links) throw badField('links', `At most ${BOUNDS.links} links.`, 'Remove some.');
  return links.map((link, i) => {
    if (!/^[a-z0-9][a-z0-9:-]*$/i.test(checkText(link.type, `links.${i}.type`, BOUNDS.linkTypeChars))) {
      throw badField(`links.${i}.type`, 'Not a link type.', 'Use letters, digits and hyphens, for example certificate.');
    }
    if (checkText(link.target, `links.${i}.target`, BOUNDS.linkTargetChars) === '') {
      throw badField(`links.${i}.target`, 'A link needs a target.', 'Give the id of an object.');
    }
    return { type: link.type, target: link.target };
  });
};

/** Latest instant a JavaScript date can hold, ms. */
const MAX_DATE_MS = 8.64e15;
export const checkDate = (value: unknown, field: string): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > MAX_DATE_MS) {
    throw badField(field, 'Not a date.', 'Give whole milliseconds since 1970-01-01 UTC.');
  }
  return value;
};

type SettableDate = 'activation' | 'processStart' | 'protectStop' | 'deactivation';
/**
 * KMIP 1.4 §3.24–3.27: nothing before the activation, nothing after the deactivation. Process start and protect stop are
 * independent: a key may stop protecting before it starts processing (CS-BC-M-14).
 */
const DATE_ORDER: readonly (readonly [SettableDate, SettableDate])[] = [
  ['activation', 'processStart'],
  ['activation', 'protectStop'],
  ['activation', 'deactivation'],
  ['processStart', 'deactivation'],
  ['protectStop', 'deactivation'],
];
export const checkDateOrder = (dates: Partial<Pick<ObjectDates, SettableDate>>): void => {
  for (const [earlier, later] of DATE_ORDER) {
    const from = dates[earlier];
    const to = dates[later];
    if (from !== undefined) checkDate(from, `dates.${earlier}`);
    if (to !== undefined) checkDate(to, `dates.${later}`);
    if (from !== undefined && to !== undefined && to < from) {
      throw badField(`dates.${later}`, `${later} lies before ${earlier}.`, 'Nothing lies before the activation or after the deactivation.');
    }
  }
};

const positive = (value: unknown, field: string): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw badField(field, 'Must be a whole number of at least 1.', 'Correct the number.');
  }
  return value;
};

export const checkUsageLimits = (limits: Pick<UsageLimits, 'unit' | 'total'>): UsageLimits => {
  if (limits.unit !== 'byte' && limits.unit !== 'object') {
    throw badField('usageLimits.unit', 'Unknown unit.', 'Use byte or object.');
  }
  const total = positive(limits.total, 'usageLimits.total');
  return { unit: limits.unit, total, remaining: total };
};

/** Rotating more often than this would make versions faster than anyone can use them, ms. */
const MIN_ROTATION_MS = 1000;
export const checkRotation = (rotation: RotationPolicy): RotationPolicy => {
  const { everyMs, afterUses } = rotation;
  if (everyMs !== undefined && positive(everyMs, 'rotation.everyMs') < MIN_ROTATION_MS) {
    throw badField('rotation.everyMs', `At least ${MIN_ROTATION_MS} ms.`, 'Rotate less often.');
  }
  if (afterUses !== undefined) positive(afterUses, 'rotation.afterUses');
  return { ...(everyMs === undefined ? {} : { everyMs }), ...(afterUses === undefined ? {} : { afterUses }) };
};

export const checkBytes = (bytes: unknown, field: string, maxBytes: number, minBytes = 0): Uint8Array => {
  if (!(bytes instanceof Uint8Array)) throw badField(field, 'Must be bytes.', 'Send bytes (base64 over REST).');
  if (bytes.length > maxBytes) {
    throw fail('payload-too-large', `${field} holds ${bytes.length} bytes; at most ${maxBytes} are taken.`, {
      field,
      next: 'Use a multi-part operation, or a data key for large data.',
    });
  }
  if (bytes.length < minBytes) throw badField(field, `At least ${minBytes} bytes are needed.`, 'Send the whole value.');
  return bytes;
};
