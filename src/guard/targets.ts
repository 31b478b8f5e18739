import { envelopeTarget, type Fault, type LoadedObject, type OperationName, parseObjectRef } from '../domain/index.js';
import type { GuardParts } from './ports.js';

const MAX_REF_LENGTH = 256;

/** References a request may leave out; any other `alsoUses` field is required. */
const OPTIONAL_OTHERS: ReadonlySet<string> = new Set([
  'export-key.wrappingKey',
  'register.replaces',
  'issue-certificate.subjectKey',
  'derive.dataKey',
]);
export const isOptionalOther = (operation: OperationName, field: string): boolean => OPTIONAL_OTHERS.has(`${operation}.${field}`);

/** Operations whose ciphertext may name the object instead of the request, in which field. */
const ENVELOPE_FIELDS: Readonly<Partial<Record<OperationName, string>>> = { decrypt: 'ciphertext', 're-encrypt': 'ciphertext' };

export type ReadRef =
  | { readonly kind: 'ref'; readonly ref: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly fault: Fault };

/** The reference in a request field: text of sensible length, or nothing. */
export const readRef = (field: string, value: unknown): ReadRef => {
  if (value === undefined || value === null) return { kind: 'absent' };
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_REF_LENGTH) {
    const message = `\`${field}\` must be an object id, alias or alias@version of at most ${MAX_REF_LENGTH} characters.`;
    return { kind: 'refused', fault: { code: 'invalid-field', message, field } };
  }
  return { kind: 'ref', ref: value };
};

/** Object named by the ciphertext itself, where the request names none. */
export const refOfCiphertext = (
  operation: OperationName,
  request: Readonly<Record<string, unknown>>,
  parts: GuardParts,
): string | undefined => {
  if (parts.targetOf !== undefined) return parts.targetOf(operation, request);
  const field = ENVELOPE_FIELDS[operation];
  const bytes = field === undefined ? undefined : request[field];
  return bytes instanceof Uint8Array ? envelopeTarget(bytes) : undefined;
};

/** Loads within the tenant; what a loader returns of another tenant is nothing at all. */
export const loadObject = async (parts: GuardParts, tenant: string, ref: string): Promise<LoadedObject | undefined> => {
  const loaded = await parts.objects.load(tenant, parseObjectRef(ref).ref);
  return loaded !== undefined && loaded.object.tenant === tenant ? loaded : undefined;
};

/** The same from the loader's cache, if it is there. */
export const cachedObject = (parts: GuardParts, tenant: string, ref: string): LoadedObject | undefined => {
  const cached = parts.objects.cached?.(tenant, parseObjectRef(ref).ref);
  return cached !== undefined && cached.object.tenant === tenant ? cached : undefined;
};

export const notFound = (field: string): Fault => ({
  code: 'not-found',
  message: 'No such object.',
  field,
  next: 'Check the id or alias; list objects with locate.',
});
