import { type AuditRecord, type Fault, OPERATION_TABLE, type OperationName } from '../domain/index.js';

/**
 * Which request fields policy conditions may read, and which of them the audit record keeps. Both are allow-lists: a field
 * that isn't here (payloads, secrets, certificates, free attributes) reaches neither. A listed field of the wrong type or an
 * unreasonable size is refused, because a condition that can't see a value must not be decided without it.
 */
type FieldType = 'text' | 'number' | 'flag' | 'texts' | 'tags';
interface FieldRow {
  readonly type: FieldType;
  /** Kept in the record's `detail`. */
  readonly audited: boolean;
}
const text = { type: 'text', audited: true } as const;
const number = { type: 'number', audited: true } as const;
/** Absent means false, so that `request.exportable` is always there to compare. */
const flag = { type: 'flag', audited: true } as const;
const texts = { type: 'texts', audited: true } as const;
const tags = { type: 'tags', audited: false } as const;

const FIELDS = {
  action: text,
  activate: flag,
  actor: text,
  algorithm: text,
  at: number,
  bits: number,
  ca: flag,
  compromisedAt: number,
  countTotal: flag,
  days: number,
  disabled: flag,
  dryRun: flag,
  encoding: text,
  expectedVersion: number,
  exportable: flag,
  format: text,
  hash: text,
  id: text,
  iterations: number,
  kdf: text,
  kind: text,
  length: number,
  limit: number,
  mode: text,
  name: text,
  namePrefix: text,
  names: texts,
  objectGroup: text,
  offset: number,
  offsetMs: number,
  operation: text,
  outcome: text,
  owner: text,
  parent: text,
  parentId: text,
  pendingMs: number,
  plaintext: flag,
  plane: text,
  prehashed: flag,
  principalId: text,
  protection: text,
  purpose: text,
  reason: text,
  register: flag,
  requestId: text,
  resource: text,
  revision: number,
  roles: texts,
  root: text,
  rootId: text,
  saltLength: number,
  scope: texts,
  since: number,
  spec: text,
  specs: texts,
  states: texts,
  subject: text,
  subjectAltNames: texts,
  tagLength: number,
  tags,
  tenant: text,
  ttlMs: number,
  type: text,
  types: texts,
  until: number,
  usage: texts,
  version: number,
  wrapAlgorithm: text,
  wrappingKey: text,
} as const satisfies Record<string, FieldRow>;
type FieldName = keyof typeof FIELDS;

const CREATION = ['activate', 'exportable', 'names', 'objectGroup', 'protection', 'root', 'spec', 'tags', 'usage'] as const;
const CIPHER = ['algorithm', 'format', 'tagLength', 'version'] as const;
const SIGNING = ['algorithm', 'encoding', 'prehashed', 'saltLength', 'version'] as const;
const AUDIT_FILTER = ['action', 'actor', 'operation', 'outcome', 'parent', 'plane', 'requestId', 'resource', 'since', 'until'] as const;

/** Total over the operations table, so that a new operation has to decide. */
const REQUEST_FIELDS: Readonly<Record<OperationName, readonly FieldName[]>> = {
  'create-key': [...CREATION, 'bits'],
  'create-key-pair': CREATION,
  register: [...CREATION, 'format', 'type'],
  'import-key': [...CREATION, 'format', 'type', 'wrapAlgorithm'],
  'create-import-wrapping-key': ['root', 'spec', 'ttlMs'],
  'get-object': [],
  locate: ['countTotal', 'limit', 'name', 'namePrefix', 'objectGroup', 'offset', 'owner', 'rootId', 'specs', 'states', 'types', 'usage'],
  'get-public-key': ['version'],
  'export-key': ['version', 'wrapAlgorithm', 'wrappingKey'],
  'key-evidence': ['version'],
  'update-object': ['names', 'objectGroup', 'revision', 'tags'],
  activate: ['at'],
  rotate: [],
  're-key': [...CREATION, 'offsetMs'],
  revoke: ['compromisedAt', 'reason'],
  archive: [],
  recover: [],
  destroy: ['pendingMs'],
  'cancel-destroy': [],
  encrypt: CIPHER,
  decrypt: CIPHER,
  sign: SIGNING,
  verify: SIGNING,
  mac: ['algorithm', 'version'],
  'mac-verify': ['algorithm', 'version'],
  wrap: ['algorithm', 'version', 'wrappingKey'],
  unwrap: [...CREATION, 'algorithm', 'format', 'type'],
  derive: [...CREATION, 'algorithm', 'hash', 'iterations', 'length', 'type', 'version'],
  agree: [...CREATION, 'algorithm', 'kdf', 'length', 'version'],
  encapsulate: [...CREATION, 'version'],
  decapsulate: [...CREATION, 'version'],
  'generate-data-key': ['length', 'plaintext', 'version'],
  're-encrypt': [],
  random: ['length', 'root'],
  'seed-random': ['root'],
  digest: ['hash'],
  'begin-operation': ['algorithm', 'encoding', 'hash', 'kind', 'prehashed', 'saltLength', 'tagLength', 'version'],
  'update-operation': [],
  'finish-operation': [],
  'cancel-operation': [],
  'create-csr': ['algorithm', 'subject', 'subjectAltNames', 'version'],
  'self-sign': ['algorithm', 'ca', 'days', 'register', 'subject', 'subjectAltNames', 'version'],
  whoami: [],
  'create-principal': ['kind', 'name', 'parentId', 'purpose', 'roles', 'tags', 'tenant'],
  'get-principal': ['id'],
  'list-principals': ['kind', 'limit'],
  'update-principal': ['disabled', 'id', 'revision', 'roles', 'tags'],
  'delete-principal': ['id'],
  'issue-token': ['name', 'principalId', 'scope', 'ttlMs'],
  'list-tokens': ['limit', 'principalId'],
  'revoke-token': ['id'],
  'list-policies': ['limit'],
  'get-policy': ['name', 'version'],
  'put-policy': ['dryRun', 'expectedVersion', 'mode', 'name'],
  'validate-policy': [],
  'delete-policy': ['name'],
  'rollback-policy': ['name', 'version'],
  'policy-history': ['limit', 'name'],
  'test-policy': ['operation', 'principalId'],
  'list-audit': [...AUDIT_FILTER, 'limit'],
  'verify-audit': ['since'],
  'audit-health': [],
  'export-audit': [...AUDIT_FILTER, 'format'],
  'list-roots': [],
  'get-root': ['id'],
  'rotate-seal': ['root'],
  status: [],
  'create-backup': [],
};

const MAX_TEXT_LENGTH = 1024;
const MAX_TEXTS = 256;
const MAX_TAGS = 256;
/** Longest text kept in one record's detail. */
const MAX_DETAIL_LENGTH = 256;

const isShortText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;

const fits = (type: FieldType, value: unknown): boolean => {
  switch (type) {
    case 'text':
      return isShortText(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'flag':
      return typeof value === 'boolean';
    case 'texts':
      return Array.isArray(value) && value.length <= MAX_TEXTS && value.every(isShortText);
    case 'tags': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
      const entries = Object.entries(value);
      return entries.length <= MAX_TAGS && entries.every(([name, tag]) => isShortText(name) && isShortText(tag));
    }
  }
};

const EXPECTED: Readonly<Record<FieldType, string>> = {
  text: `a string of at most ${MAX_TEXT_LENGTH} characters`,
  number: 'a number',
  flag: 'true or false',
  texts: `a list of at most ${MAX_TEXTS} strings`,
  tags: `an object of at most ${MAX_TAGS} strings`,
};

export type ReadFields = { readonly fields: Readonly<Record<string, unknown>>; readonly fault?: never } | { readonly fault: Fault };

/**
 * The fields of a request that policy may read. `defaultRoot` stands in for an absent `root` where the operation makes
 * something in one. Null counts as absent (it deletes, on updates).
 */
export const readFields = (
  operation: OperationName,
  request: Readonly<Record<string, unknown>>,
  defaultRoot: (() => string | undefined) | undefined,
): ReadFields => {
  const fields: Record<string, unknown> = {};
  const names = REQUEST_FIELDS[operation];
  for (let i = 0; i < names.length; i += 1) {
    const name = names[i] as FieldName;
    const { type } = FIELDS[name];
    const value = request[name];
    if (value === undefined || value === null) {
      if (type === 'flag') fields[name] = false;
      else if (name === 'root' && OPERATION_TABLE[operation].target === undefined) {
        const root = defaultRoot?.();
        if (root !== undefined) fields['root'] = root;
      }
      continue;
    }
    if (!fits(type, value)) return { fault: { code: 'invalid-field', message: `\`${name}\` must be ${EXPECTED[type]}.`, field: name } };
    fields[name] = value;
  }
  return { fields };
};

/** Control characters never reach the log; long values are cut with a mark. */
export const cleanText = (value: string, maxLength: number = MAX_DETAIL_LENGTH): string => {
  const cut = value.length <= maxLength ? value : `${value.slice(0, maxLength - 1)}…`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is replaced (log forging).
  return /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(cut) ? cut.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '�') : cut;
};

type Detail = Record<string, string | number | boolean | null>;

/** Audit detail of a request: what is allow-listed and says something; false flags and empty lists are left out. */
export const detailOf = (fields: Readonly<Record<string, unknown>>): Detail | undefined => {
  let detail: Detail | undefined;
  for (const name in fields) {
    const row = Object.hasOwn(FIELDS, name) ? FIELDS[name as FieldName] : undefined;
    if (row === undefined || !row.audited) continue;
    const value = fields[name];
    if (value === false) continue;
    detail ??= {};
    if (typeof value === 'string') detail[name] = cleanText(value);
    else if (typeof value === 'number' || typeof value === 'boolean') detail[name] = value;
    else if (Array.isArray(value) && value.length > 0) detail[name] = cleanText(value.join(','));
  }
  return detail;
};

/** What a call without a target object is about, for the record: type and the request field with its id. */
const SUBJECTS: Readonly<Partial<Record<OperationName, readonly [type: string, field: string]>>> = {
  'create-principal': ['principal', 'name'],
  'get-principal': ['principal', 'id'],
  'update-principal': ['principal', 'id'],
  'delete-principal': ['principal', 'id'],
  'issue-token': ['principal', 'principalId'],
  'list-tokens': ['principal', 'principalId'],
  'revoke-token': ['token', 'id'],
  'get-policy': ['policy', 'name'],
  'put-policy': ['policy', 'name'],
  'delete-policy': ['policy', 'name'],
  'rollback-policy': ['policy', 'name'],
  'policy-history': ['policy', 'name'],
  'get-root': ['root', 'id'],
  'rotate-seal': ['root', 'root'],
};

export const subjectOf = (
  operation: OperationName,
  fields: Readonly<Record<string, unknown>>,
): NonNullable<AuditRecord['resource']> | undefined => {
  const subject = SUBJECTS[operation];
  if (subject === undefined) return undefined;
  const id = fields[subject[1]];
  return typeof id === 'string' ? { type: subject[0], id: cleanText(id) } : undefined;
};
