/// <reference lib="es2024.string" />
import type { AuditRecord } from '../domain/index.js';

/**
 * RFC 8785 (JSON Canonicalization Scheme), strict: what has no canonical form throws instead of being left out, because a
 * value that silently disappears would not be covered by the hash.
 */
const MAX_DEPTH = 64;

/** A lone surrogate has no UTF-8 form (RFC 8785 §3.2.2.2 refers to I-JSON, RFC 7493 §2.1). */
const quote = (text: string): string => {
  if (!text.isWellFormed()) throw new TypeError('canonical JSON: string with a lone surrogate');
  return JSON.stringify(text);
};

/** ECMAScript number to string is what RFC 8785 §3.2.2.3 prescribes; JSON.stringify writes -0 as 0. */
const numberText = (value: number): string => {
  if (!Number.isFinite(value)) throw new TypeError('canonical JSON: number is not finite');
  return JSON.stringify(value);
};

const objectText = (value: object, depth: number): string => {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('canonical JSON: not a plain object');
  // RFC 8785 §3.2.3: sorted by UTF-16 code units, which is the default order of strings here.
  const keys = Object.keys(value).sort();
  const members = keys.map((key) => `${quote(key)}:${write((value as Record<string, unknown>)[key], depth + 1)}`);
  return `{${members.join(',')}}`;
};

const write = (value: unknown, depth: number): string => {
  if (depth > MAX_DEPTH) throw new TypeError(`canonical JSON: nested deeper than ${MAX_DEPTH}`);
  if (value === null) return 'null';
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      return numberText(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (!Array.isArray(value)) return objectText(value, depth);
      // `Array.from` visits holes, which `map` would skip.
      return `[${Array.from(value as unknown[], (item) => write(item, depth + 1)).join(',')}]`;
    default:
      throw new TypeError(`canonical JSON: ${typeof value} has no form`);
  }
};

/** RFC 8785 text of a JSON value. Throws TypeError on undefined, NaN, bigint, class instances, lone surrogates and depth over 64. */
export const canonicalJson = (value: unknown): string => write(value, 0);

type Detail = NonNullable<AuditRecord['detail']>;
type Bare = Omit<AuditRecord, 'chain'>;

/** What JSON.stringify would write differently from RFC 8785 instead of failing: a lone surrogate, as an escape. */
const LONE_SURROGATE = /\\ud[89a-f]/;
/** Other names would not all stay where sorting puts them, or need quoting. */
const USUAL_NAME = /^[A-Za-z][A-Za-z0-9]*$/;
const KEPT_TEXTS = 512;
const KEPT_LENGTH = 64;

/** Names of operations, actions, tenants and the like come back with every record: their quoted forms are kept. */
const quoted = new Map<string, string>();
const quoteUsual = (text: string): string => {
  const known = quoted.get(text);
  if (known !== undefined) return known;
  const made = JSON.stringify(text);
  if (text.length <= KEPT_LENGTH) {
    if (quoted.size >= KEPT_TEXTS) quoted.clear();
    quoted.set(text, made);
  }
  return made;
};

/** Texts of members that many records share as one frozen object (who calls, and what about). */
const shared = new WeakMap<object, string>();
/** `value` is a frozen object that further records will hold too. */
export const shareText = (value: Readonly<Record<string, string | undefined>>): void => void shared.set(value, canonicalJson(value));

const actorText = (actor: AuditRecord['actor']): string => {
  const { credentialId, id, kind, method, name, parentId } = actor;
  return shared.get(actor) ?? JSON.stringify({ credentialId, id, kind, method, name, parentId });
};
const resourceText = (resource: NonNullable<AuditRecord['resource']>): string => {
  const { id, name, type } = resource;
  return shared.get(resource) ?? JSON.stringify({ id, name, type });
};

const valueText = (value: Detail[string]): string | undefined => {
  if (typeof value === 'string') return value.length <= KEPT_LENGTH ? quoteUsual(value) : JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : undefined;
  return value === null || typeof value === 'boolean' ? String(value) : undefined;
};

const detailText = (detail: Detail): string | undefined => {
  const names = Object.keys(detail);
  if (names.length > 1) names.sort();
  let text = '{';
  for (const name of names) {
    const value = USUAL_NAME.test(name) ? valueText(detail[name] as Detail[string]) : undefined;
    if (value === undefined) return undefined;
    text += `${text === '{' ? '' : ','}"${name}":${value}`;
  }
  return `${text}}`;
};

const isUsualNumber = (value: number | undefined): boolean => value === undefined || Number.isSafeInteger(value);
const optional = (name: string, text: string | undefined): string => (text === undefined ? '' : `,"${name}":${text}`);

/** The text of a record like nearly all; nothing for one that the general writer has to look at. */
const usualText = (record: Bare): string | undefined => {
  const { actor, resource, risk, detail, at, durationUs, fault, source, statement } = record;
  if (risk !== undefined || !isUsualNumber(at) || !isUsualNumber(durationUs)) return undefined;
  const details = detail === undefined ? undefined : detailText(detail);
  if (detail !== undefined && details === undefined) return undefined;
  const text =
    `{"action":${quoteUsual(record.action)},"actor":${actorText(actor)},"at":${at === 0 ? 0 : at}${optional('detail', details)}` +
    `${optional('durationUs', durationUs === undefined ? undefined : String(durationUs))}` +
    `${optional('fault', fault === undefined ? undefined : quoteUsual(fault))},"id":${JSON.stringify(record.id)}` +
    `,"node":${quoteUsual(record.node)},"operation":${quoteUsual(record.operation)},"outcome":${quoteUsual(record.outcome)}` +
    `,"plane":${quoteUsual(record.plane)},"requestId":${JSON.stringify(record.requestId)}` +
    `${optional('resource', resource === undefined ? undefined : resourceText(resource))}` +
    `${optional('source', source === undefined ? undefined : quoteUsual(source))}` +
    `${optional('statement', statement === undefined ? undefined : quoteUsual(statement))},"tenant":${quoteUsual(record.tenant)}}`;
  return LONE_SURROGATE.test(text) ? undefined : text;
};

/**
 * The same text as `canonicalJson` for an audit record without `chain`: this runs once for every record of the service, so
 * the members are put in order by hand and strings and numbers are written by the engine (the way RFC 8785 §3.2.2 wants).
 * Only the members of AuditRecord are written. Throws TypeError where the general one does.
 */
export const canonicalRecord = (record: Bare): string => {
  const text = usualText(record);
  if (text !== undefined) return text;
  // Either it throws, or it only looks odd (a backslash that somebody wrote, a risk score).
  const { chain: _place, ...rest } = record as AuditRecord;
  return canonicalJson(rest);
};
