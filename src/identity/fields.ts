import { type CertificateBinding, FaultError, fail, parseScope, ROLES, type Role, type StoredCertificateBinding } from '../domain/index.js';

/** Checks of request fields; each throws `invalid-field` with the field's dotted path. */
const MAX_NAME = 128;
const MAX_TAGS = 64;
const MAX_TAG_NAME = 64;
const MAX_TAG_VALUE = 256;
const MAX_PURPOSE = 256;
const MAX_SUBJECT = 1024;
export const TENANT_FORM = /^[a-z0-9][a-z0-9-]{0,62}$/;
const FINGERPRINT = /^[0-9a-f]{64}$/;
/** Nothing that could hide or forge a line where names are shown; NUL has no form in the database. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are refused
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/u;

const invalid = (field: string, message: string, next?: string): FaultError =>
  fail('invalid-field', message, { field, ...(next === undefined ? {} : { next }) });

/** A trimmed printable text of 1 to `max` characters. */
export const readText = (value: unknown, field: string, max: number): string => {
  if (typeof value !== 'string' || value.length === 0 || value.length > max || value.trim() !== value || UNPRINTABLE.test(value))
    throw invalid(field, `\`${field}\` is a printable text of 1 to ${max} characters without blanks at its ends.`);
  return value;
};

/** `system:` names belong to the components of the service. */
export const readName = (value: unknown): string => {
  const name = readText(value, 'name', MAX_NAME);
  if (/^system:/i.test(name)) throw invalid('name', 'Names that begin with `system:` are reserved.', 'Choose another name.');
  return name;
};

export const readTenant = (value: unknown): string => {
  if (typeof value !== 'string' || !TENANT_FORM.test(value))
    throw invalid('tenant', 'A tenant is 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen.');
  return value;
};

export const readRoles = (value: unknown): readonly Role[] => {
  if (!Array.isArray(value)) throw invalid('roles', `\`roles\` is a list of ${ROLES.join(', ')}.`);
  for (const [index, role] of value.entries())
    if (!(ROLES as readonly unknown[]).includes(role)) throw invalid(`roles.${index}`, `A role is one of ${ROLES.join(', ')}.`);
  return [...new Set(value as Role[])];
};

export const readTags = (value: unknown): Readonly<Record<string, string>> => {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('tags', '`tags` is an object of texts.');
  const entries = Object.entries(value);
  if (entries.length > MAX_TAGS) throw invalid('tags', `At most ${MAX_TAGS} tags.`);
  for (const [name, text] of entries) {
    readText(name, 'tags', MAX_TAG_NAME);
    if (typeof text !== 'string' || text.length > MAX_TAG_VALUE || UNPRINTABLE.test(text))
      throw invalid(`tags.${name}`, `A tag's value is a printable text of at most ${MAX_TAG_VALUE} characters.`);
  }
  return Object.fromEntries(entries as [string, string][]);
};

export const readPurpose = (value: unknown): string => {
  if (value === undefined) throw invalid('purpose', 'An agent needs a purpose: what it may be asked to do, in a few words.');
  return readText(value, 'purpose', MAX_PURPOSE);
};

export const readFlag = (value: unknown, field: string): boolean => {
  if (typeof value !== 'boolean') throw invalid(field, `\`${field}\` is true or false.`);
  return value;
};

/** A certificate condition as the store keeps it. Fingerprints are taken with or without colons, in any case. */
export const readCertificate = (
  value: CertificateBinding,
  principal: { readonly id: string; readonly tenant: string },
): StoredCertificateBinding => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('certificate', '`certificate` is an object with fingerprint, subject or subjectAltName.');
  const { fingerprint, subject, subjectAltName } = value;
  const hex = typeof fingerprint === 'string' ? fingerprint.replaceAll(':', '').toLowerCase() : fingerprint;
  if (hex !== undefined && !(typeof hex === 'string' && FINGERPRINT.test(hex)))
    throw invalid('certificate.fingerprint', 'The fingerprint is the SHA-256 of the certificate in hex.');
  if (hex === undefined && subject === undefined && subjectAltName === undefined)
    throw invalid('certificate', 'A certificate condition needs a fingerprint, a subject or a subject alternative name.');
  return {
    ...{ principalId: principal.id, tenant: principal.tenant },
    ...(hex === undefined ? {} : { fingerprint: hex }),
    ...(subject === undefined ? {} : { subject: readText(subject, 'certificate.subject', MAX_SUBJECT) }),
    ...(subjectAltName === undefined ? {} : { subjectAltName: readText(subjectAltName, 'certificate.subjectAltName', MAX_SUBJECT) }),
  };
};

export const readScope = (value: unknown): readonly string[] | undefined => {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalid('scope', '`scope` is a list of actions such as `keys:sign` or `keys:*@invoice`.');
  const parsed = parseScope(value);
  if (!parsed.ok) throw new FaultError(parsed.fault);
  return parsed.value;
};

/** Milliseconds a token lives. */
export const readTtl = (value: unknown, defaultMs: number, maxMs: number): number => {
  if (value === undefined) return defaultMs;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1000 || value > maxMs)
    throw invalid('ttlMs', `\`ttlMs\` is between 1000 and ${maxMs} milliseconds.`);
  return value;
};

const MAX_PAGE = 1000;
const DEFAULT_PAGE = 100;
export const readPage = (request: { readonly limit?: number; readonly cursor?: string }): { limit: number; cursor?: string } => {
  const { limit, cursor } = request;
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) throw invalid('limit', `The limit is between 1 and ${MAX_PAGE}.`);
  return { limit: Math.min(limit ?? DEFAULT_PAGE, MAX_PAGE), ...(cursor === undefined ? {} : { cursor }) };
};
