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

/** `,"name":"text"` or nothing. Keys are plain ASCII and written in order by the callers below. */
const optionalText = (name: string, value: string | undefined): string => (value === undefined ? '' : `,"${name}":${quote(value)}`);

const actorText = (actor: AuditRecord['actor']): string => {
  const head = actor.credentialId === undefined ? '' : `"credentialId":${quote(actor.credentialId)},`;
  return `{${head}"id":${quote(actor.id)},"kind":${quote(actor.kind)},"method":${quote(actor.method)},"name":${quote(actor.name)}${optionalText('parentId', actor.parentId)}}`;
};

const resourceText = (resource: NonNullable<AuditRecord['resource']>): string =>
  `{"id":${quote(resource.id)}${optionalText('name', resource.name)},"type":${quote(resource.type)}}`;

/**
 * The same text as `canonicalJson` for an audit record without `chain`, written in key order without sorting or copying:
 * this runs once for every call of the service. Only the members of AuditRecord are written.
 */
export const canonicalRecord = (record: Omit<AuditRecord, 'chain'>): string => {
  let text = `{"action":${quote(record.action)},"actor":${actorText(record.actor)},"at":${numberText(record.at)}`;
  if (record.detail !== undefined) text += `,"detail":${write(record.detail, 1)}`;
  if (record.durationUs !== undefined) text += `,"durationUs":${numberText(record.durationUs)}`;
  text += optionalText('fault', record.fault);
  text += `,"id":${quote(record.id)},"node":${quote(record.node)},"operation":${quote(record.operation)},"outcome":${quote(record.outcome)}`;
  text += `,"plane":${quote(record.plane)},"requestId":${quote(record.requestId)}`;
  if (record.resource !== undefined) text += `,"resource":${resourceText(record.resource)}`;
  if (record.risk !== undefined) text += `,"risk":{"reasons":${write(record.risk.reasons, 2)},"score":${numberText(record.risk.score)}}`;
  text += optionalText('source', record.source);
  text += optionalText('statement', record.statement);
  return `${text},"tenant":${quote(record.tenant)}}`;
};
