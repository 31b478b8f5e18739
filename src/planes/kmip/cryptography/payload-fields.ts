import type { StructureFields, Value } from '@aegis/kmip-ttlv';
import { type Fields, refuse } from '../contract.js';

// Fields of cryptographic payloads, read without copying: bytes stay views of the message they came in.

export type CryptographicParameters = StructureFields<'CryptographicParameters'>;

/** A byte string field, or nothing. */
export const bytesOf = (payload: Fields, name: string): Uint8Array | undefined => {
  const value: Value | undefined = payload[name];
  if (value === undefined || value instanceof Uint8Array) return value;
  throw refuse('InvalidField', `${name} must be a byte string.`);
};

/** A byte string that a single-part request must carry; an empty one counts. */
export const neededBytes = (payload: Fields, name: string): Uint8Array => {
  const bytes = bytesOf(payload, name);
  // CS-BC-M-11: what a request lacks is Invalid Message in every version.
  if (bytes === undefined) throw refuse('InvalidMessage', `${name} is missing.`);
  return bytes;
};

export const flagOf = (payload: Fields, name: string): boolean => payload[name] === true;

/** A name of an enumeration; a number is one that the tables do not know. */
export const nameOf = (value: unknown, field: string): string | undefined => {
  if (value === undefined || typeof value === 'string') return value;
  throw refuse('InvalidField', `${field} has a value that this version does not define.`);
};

/** The Cryptographic Parameters of a request. Given at all, they stand alone: nothing of the key's own attribute is mixed in (KMIP 2.1 §6.1.17). */
export const givenParameters = (payload: Fields): CryptographicParameters | undefined =>
  payload['CryptographicParameters'] as CryptographicParameters | undefined;

/** A non-negative integer field of the Cryptographic Parameters. */
export const countOf = (parameters: CryptographicParameters, name: keyof CryptographicParameters & string): number | undefined => {
  const value: unknown = parameters[name];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw refuse('BadCryptographicParameters', `${name} must not be negative.`);
};
