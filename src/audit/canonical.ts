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

const sortedDetail = (detail: Detail): Detail => {
  const names = Object.keys(detail);
  if (names.length < 2) return detail;
  const sorted: Record<string, Detail[string]> = {};
  for (const name of names.sort()) sorted[name] = detail[name] as Detail[string];
  return sorted;
};

/** What JSON.stringify would write differently from RFC 8785 instead of failing: a lone surrogate as an escape, NaN as null. */
const LONE_SURROGATE = /\\ud[89a-f]/;
const isUsual = (value: unknown): boolean => typeof value !== 'number' || Number.isFinite(value);
/** Names like `7` or `__proto__` would not stay where sorting puts them in an object. */
const isUsualDetail = (detail: Detail): boolean =>
  Object.keys(detail).every((name) => /^[A-Za-z]/.test(name)) && Object.values(detail).every(isUsual);
const isOdd = (record: Omit<AuditRecord, 'chain'>): boolean =>
  !isUsual(record.at) ||
  !isUsual(record.durationUs) ||
  !isUsual(record.risk?.score) ||
  (record.detail !== undefined && !isUsualDetail(record.detail));

/**
 * The same text as `canonicalJson` for an audit record without `chain`: this runs once for every call of the service, so
 * the members are put in order by hand and the engine's own serialiser writes them (strings and numbers the way RFC 8785
 * §3.2.2 wants). Only the members of AuditRecord are written. Throws TypeError where the general one does.
 */
export const canonicalRecord = (record: Omit<AuditRecord, 'chain'>): string => {
  const { actor, resource, risk, detail } = record;
  const text = JSON.stringify({
    action: record.action,
    actor: {
      credentialId: actor.credentialId,
      id: actor.id,
      kind: actor.kind,
      method: actor.method,
      name: actor.name,
      parentId: actor.parentId,
    },
    at: record.at,
    detail: detail === undefined ? undefined : sortedDetail(detail),
    durationUs: record.durationUs,
    fault: record.fault,
    id: record.id,
    node: record.node,
    operation: record.operation,
    outcome: record.outcome,
    plane: record.plane,
    requestId: record.requestId,
    resource: resource === undefined ? undefined : { id: resource.id, name: resource.name, type: resource.type },
    risk: risk === undefined ? undefined : { reasons: risk.reasons, score: risk.score },
    source: record.source,
    statement: record.statement,
    tenant: record.tenant,
  });
  if (!LONE_SURROGATE.test(text) && !isOdd(record)) return text;
  // Either it throws, or the text only looks odd (a backslash that somebody wrote).
  const { chain: _place, ...rest } = record as AuditRecord;
  return canonicalJson(rest);
};
