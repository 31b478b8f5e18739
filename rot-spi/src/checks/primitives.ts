import { RootFault } from '../fault.js';

/** Bounds on what a request may carry, before any of it is copied or parsed. */
export const MAX_OBJECT_ID_CHARACTERS = 64;
/** Name of a key at a cloud provider: an ARN, a resource name, a URL. */
export const MAX_KEY_REF_CHARACTERS = 2_048;
export const MAX_TENANT_CHARACTERS = 128;
export const MAX_REFERENCE_BYTES = 65_536;
export const MAX_PUBLIC_KEY_BYTES = 16_384;
export const MAX_MATERIAL_BYTES = 65_536;
export const MAX_LABEL_BYTES = 65_536;
export const MAX_CONTEXT_BYTES = 255;
export const MAX_RANDOM_BYTES = 1_048_576;
export const MAX_DATA_KEY_BYTES = 4_096;
export const MAX_SECRET_BYTES = 8_192;
/** SP 800-131A r2: under 112 bits of strength nothing new is made. */
export const MIN_GENERATED_BITS = 112;
/** Some two seconds of work: three times what OWASP asks of SHA-256 today, and well inside the time-out of a call. */
export const MAX_PBKDF2_ITERATIONS = 2_000_000;
export const MAX_OPERATION_ID_CHARACTERS = 128;

export const invalid = (message: string): RootFault => new RootFault('invalid-argument', message);
export const unsupported = (message: string, next?: string): RootFault => new RootFault('unsupported', message, next);

/** A byte string within [min, max]; too long answers `limit-exceeded`. */
export const checkBytes = (value: unknown, name: string, max: number, min = 0): Uint8Array => {
  if (!(value instanceof Uint8Array)) throw invalid(`${name} must be bytes`);
  if (value.length > max) throw new RootFault('limit-exceeded', `${name} is ${value.length} bytes; at most ${max} are accepted`);
  if (value.length < min) throw invalid(`${name} is ${value.length} bytes; at least ${min} are needed`);
  return value;
};

export const checkInteger = (value: unknown, name: string, min: number, max: number): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw invalid(`${name} must be a whole number`);
  if (value < min) throw invalid(`${name} must be at least ${min}`);
  if (value > max) throw new RootFault('limit-exceeded', `${name} must be at most ${max}`);
  return value;
};

/** Lone surrogates would collapse to U+FFFD in UTF-8, so two different names could be authenticated as one. */
const ILL_FORMED = /\p{Surrogate}/u;

export const checkText = (value: unknown, name: string, maxCharacters: number): string => {
  if (typeof value !== 'string' || value.length === 0) throw invalid(`${name} must be text`);
  if (value.length > maxCharacters) throw new RootFault('limit-exceeded', `${name} is longer than ${maxCharacters} characters`);
  if (ILL_FORMED.test(value)) throw invalid(`${name} is not well-formed Unicode`);
  return value;
};

export const checkRecord = (value: unknown, name: string): void => {
  if (typeof value !== 'object' || value === null) throw invalid(`${name} is missing`);
};
