import {
  type AuditRecord,
  type Fault,
  OPERATION_TABLE,
  type OperationName,
  REQUEST_FIELD_TYPES,
  REQUEST_FIELDS,
  type RequestFieldName,
  type RequestFieldType,
} from '../domain/index.js';

const MAX_TEXT_LENGTH = 1024;
const MAX_TEXTS = 256;
const MAX_TAGS = 256;
/** Longest text kept in one record's detail. */
const MAX_DETAIL_LENGTH = 256;

const isShortText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;

const fits = (type: RequestFieldType, value: unknown): boolean => {
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

const EXPECTED: Readonly<Record<RequestFieldType, string>> = {
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
    const name = names[i] as RequestFieldName;
    const { type } = REQUEST_FIELD_TYPES[name];
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
    const row = Object.hasOwn(REQUEST_FIELD_TYPES, name) ? REQUEST_FIELD_TYPES[name as RequestFieldName] : undefined;
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
