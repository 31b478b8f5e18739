/// <reference lib="es2024.string" />
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { type AuditRecord, type Fault, REQUEST_FIELD_TYPES } from '../domain/index.js';
import type { AuditDraft } from '../guard/ports.js';
import { shareText } from './canonical.js';

/**
 * Values of `detail` that stay readable. Everything else is replaced by a keyed hash: a field that somebody adds later is
 * safe in the log before anyone has thought about it. Names only, never values that a caller could make a secret of
 * (no messages, attributes, descriptions).
 */
const AUDIT_DETAIL_NAMES: readonly string[] = [
  // request fields that the domain's own allow-list keeps
  ...Object.entries(REQUEST_FIELD_TYPES).flatMap(([name, row]) => (row.audited ? [name] : [])),
  // identifiers that are not secrets
  ...['objectId', 'keyId', 'publicKeyId', 'wrappingKeyId', 'certificateId', 'replacementId', 'replacedId', 'operationId', 'intentId'],
  ...['tokenId', 'tokenPrefix', 'fingerprint', 'policy', 'document', 'component', 'rootFingerprint'],
  // words of closed vocabularies
  ...['state', 'fromState', 'toState', 'fault', 'method', 'enabled', 'archived', 'wrapped', 'valid', 'cancelled', 'automatic', 'trigger'],
  ...['detector', 'severity', 'bootstrap', 'recovery', 'dryRunEffect', 'dryRunStatement', 'statement', 'boot'],
  ...['from', 'to', 'phase', 'done', 'failed', 'running', 'unchanged', 'revealed', 'replaces', 'unwrappingKey'],
  // numbers
  ...['fromVersion', 'toVersion', 'currentVersion', 'versions', 'generation', 'bytes', 'size', 'count', 'items', 'records', 'chains'],
  ...['checkpoints', 'total', 'uses', 'remaining', 'rewrapped', 'leaves', 'treeSize', 'sequence', 'attempt', 'problems'],
  ...['found', 'previous', 'wrappingVersion'],
  ...['expiresAt', 'activation', 'deactivation', 'destroyDue'],
];

const MAX_TEXT = 256;
const MAX_DETAILS = 32;
const MAX_REASONS = 16;
const DETAIL_NAME = /^[A-Za-z][A-Za-z0-9]{0,63}$/;
/** C0, DEL, C1, line and paragraph separators, bidirectional overrides, surrogates: what could forge or hide a line in a viewer. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not get through
const SUSPECT = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, without surrogates, which toWellFormed has dealt with
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g;
/** A token that strayed into a name, a request id or an address (src/identity/token.ts has the format). */
const TOKEN = /aegis_[0-9A-Za-z]{4,}_[0-9A-Za-z]{8,}/g;

const escapeControl = (char: string): string => `\\u{${char.charCodeAt(0).toString(16).padStart(2, '0')}}`;
const shorten = (text: string, max: number): string => {
  const mark = createHash('sha256').update(text).digest('hex').slice(0, 8);
  return `${text.slice(0, max - 10)}…#${mark}`.toWellFormed();
};

/** Bounded, one line, well-formed, no token; a text that is cut keeps 8 hex of its SHA-256 so that two long names stay apart. */
export const cleanText = (text: string, max = MAX_TEXT): string => {
  let clean = text.includes('aegis_') ? text.replace(TOKEN, 'aegis_[removed]') : text;
  if (clean.length > max) clean = shorten(clean, max);
  return SUSPECT.test(clean) ? clean.toWellFormed().replace(CONTROL, escapeControl) : clean;
};

type Actor = AuditRecord['actor'];
type Resource = NonNullable<AuditRecord['resource']>;

const cleanActor = (actor: Actor): Actor => ({
  kind: cleanText(actor.kind, 32),
  id: cleanText(actor.id, 128),
  name: cleanText(actor.name),
  method: cleanText(actor.method, 32),
  ...(actor.parentId === undefined ? {} : { parentId: cleanText(actor.parentId, 128) }),
  ...(actor.credentialId === undefined ? {} : { credentialId: cleanText(actor.credentialId, 128) }),
});

const cleanResource = (resource: Resource): Resource => ({
  type: cleanText(resource.type, 64),
  id: cleanText(resource.id, 128),
  ...(resource.name === undefined ? {} : { name: cleanText(resource.name) }),
});

const sameActor = (a: Actor, b: Actor): boolean =>
  a.id === b.id &&
  a.credentialId === b.credentialId &&
  a.name === b.name &&
  a.kind === b.kind &&
  a.method === b.method &&
  a.parentId === b.parentId;

const sameResource = (a: Resource, b: Resource): boolean => a.id === b.id && a.name === b.name && a.type === b.type;

/** Values whose results are kept; when full it starts anew, since what is in use comes back with its next call. */
const MEMO_ENTRIES = 1024;

/** Who calls and what about repeats from call to call: the cleaned form of the last such value under the same key. */
const remember = <T extends object>(keyOf: (value: T) => string, same: (a: T, b: T) => boolean, clean: (value: T) => T) => {
  const known = new Map<string, { readonly given: T; readonly clean: T }>();
  return (value: T): T => {
    const key = keyOf(value);
    const found = known.get(key);
    if (found !== undefined && same(found.given, value)) return found.clean;
    if (known.size >= MEMO_ENTRIES) known.clear();
    const cleaned = Object.freeze(clean(value));
    shareText(cleaned as Readonly<Record<string, string | undefined>>);
    // A copy: what the caller does with its own object later changes nothing here.
    known.set(key, { given: { ...value }, clean: cleaned });
    return cleaned;
  };
};

const finite = (value: number): number => (Number.isFinite(value) ? value : 0);
/** Times are whole milliseconds or microseconds; anything else is no time. */
const whole = (value: number): number => (Number.isSafeInteger(Math.round(value)) ? Math.round(value) : 0);

export interface RedactionOptions {
  /** Key of the hash that stands for hidden values; equal values show as equal while it lives. Default: random per process. */
  readonly hashKey?: Uint8Array;
  /** Further `detail` names that may stay readable. */
  readonly detailNames?: readonly string[];
}

/** Makes the function that turns a draft into exactly what may be stored: known members, bounded strings, allow-listed details. */
export const makeRedaction = (options: RedactionOptions = {}): ((draft: AuditDraft, id: string, node: string) => AuditRecord) => {
  const hashKey = options.hashKey ?? randomBytes(32);
  const readable: ReadonlySet<string> = new Set([...AUDIT_DETAIL_NAMES, ...(options.detailNames ?? [])]);
  const hidden = (value: unknown): string => {
    // An object is not looked into: its conversions could do anything.
    const text =
      typeof value === 'string' ? value.toWellFormed() : typeof value === 'object' ? 'object' : `${typeof value}:${String(value)}`;
    return `hmac:${createHmac('sha256', hashKey).update(text).digest('hex').slice(0, 16)}`;
  };
  const cleanValue = (name: string, value: unknown): string | number | boolean | null => {
    if (value === null) return null;
    if (!readable.has(name)) return hidden(value);
    if (typeof value === 'boolean') return value;
    if (typeof value === 'number') return Number.isFinite(value) ? value : hidden(value);
    return typeof value === 'string' && value.length <= MAX_TEXT ? cleanText(value) : hidden(value);
  };
  const cleanDetail = (detail: NonNullable<AuditDraft['detail']>): NonNullable<AuditRecord['detail']> => {
    const clean: Record<string, string | number | boolean | null> = {};
    let kept = 0;
    for (const name of Object.keys(detail)) {
      if (detail[name] === undefined || !DETAIL_NAME.test(name)) continue;
      kept += 1;
      if (kept > MAX_DETAILS) break;
      clean[name] = cleanValue(name, detail[name]);
    }
    return clean;
  };
  const actorOf = remember<Actor>((actor) => actor.credentialId ?? actor.id, sameActor, cleanActor);
  const resourceOf = remember<Resource>((resource) => resource.id, sameResource, cleanResource);
  return (draft, id, node) => ({
    id,
    tenant: cleanText(draft.tenant, 128),
    at: whole(draft.at),
    node,
    plane: cleanText(draft.plane, 32),
    requestId: cleanText(draft.requestId, 128),
    actor: actorOf(draft.actor),
    operation: cleanText(draft.operation, 64),
    action: cleanText(draft.action, 64),
    outcome: draft.outcome,
    ...(draft.resource === undefined ? {} : { resource: resourceOf(draft.resource) }),
    ...(draft.fault === undefined ? {} : { fault: draft.fault }),
    ...(draft.statement === undefined ? {} : { statement: cleanText(draft.statement) }),
    ...(draft.risk === undefined
      ? {}
      : {
          risk: { score: finite(draft.risk.score), reasons: draft.risk.reasons.slice(0, MAX_REASONS).map((reason) => cleanText(reason)) },
        }),
    ...(draft.source === undefined ? {} : { source: cleanText(draft.source, 128) }),
    ...(draft.durationUs === undefined ? {} : { durationUs: whole(draft.durationUs) }),
    ...(draft.detail === undefined ? {} : { detail: cleanDetail(draft.detail) }),
  });
};

/** The record of a call whose changes did not take. */
export const asFailed = (record: AuditRecord, fault: Fault): AuditRecord => ({ ...record, outcome: 'failed', fault: fault.code });
