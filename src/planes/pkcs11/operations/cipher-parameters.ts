import { HASH_BYTES, type HashName, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, OperationRequest } from '../../../domain/index.js';
import { hashOfMechanism, hashOfMgf, type MechanismRow } from '../mechanisms.js';
import { allowedMechanisms } from '../object-view.js';
import { rv } from '../rv.js';
import type { MechanismParameter } from '../wire/mechanism-encodings.js';

/** Mechanism parameters → fields of the algebra; what does not fit its mechanism is CKR_MECHANISM_PARAM_INVALID. */

/** CKA_ALLOWED_MECHANISMS limits a key for applications of this wire; policies limit it for every wire. */
export const requireAllowed = (object: ManagedObject, type: number): void => {
  const allowed = allowedMechanisms(object);
  if (allowed !== undefined && allowed.length > 0 && !allowed.includes(type)) throw rv('MECHANISM_INVALID');
};

const bad = () => rv('MECHANISM_PARAM_INVALID');
/** A copy: what came from the wire is a view of a buffer that will be used again. */
const own = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes);

export interface Oaep {
  readonly hash: HashName;
  readonly mgf1Hash: HashName;
  readonly label: Uint8Array;
}
/** CKZ_DATA_SPECIFIED; 0 is what applications send with an empty label. */
const DATA_SPECIFIED = 1;
export const toOaep = (parameter: MechanismParameter | undefined): Oaep => {
  if (parameter?.record !== 'oaep') throw bad();
  const [hash, mgf1Hash] = [hashOfMechanism(parameter.hash), hashOfMgf(parameter.mgf)];
  if (hash === undefined || mgf1Hash === undefined) throw bad();
  if (parameter.source !== DATA_SPECIFIED && (parameter.source !== 0 || parameter.label.length > 0)) throw bad();
  return { hash, mgf1Hash, label: own(parameter.label) };
};

type CipherFields = Pick<OperationRequest<'encrypt'>, 'algorithm' | 'iv' | 'aad' | 'tagLength' | 'label' | 'mgf1Hash'>;

const OAEP_HASHES = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;
const oaepFields = (parameter: MechanismParameter | undefined): CipherFields => {
  const { hash, mgf1Hash, label } = toOaep(parameter);
  const known = OAEP_HASHES.find((one) => one === hash);
  if (known === undefined) throw bad();
  return {
    algorithm: `rsa-oaep-${known}`,
    ...(mgf1Hash === hash ? {} : { mgf1Hash }),
    ...(label.length === 0 ? {} : { label }),
  };
};

/** SP 800-38D tags of 12 to 16 bytes; shorter ones are refused by the service, and here by name. */
const gcmFields = (parameter: MechanismParameter | undefined): CipherFields => {
  if (parameter?.record !== 'gcm') throw bad();
  const { iv, aad, tagBits } = parameter;
  if (iv.length === 0 || tagBits % 8 !== 0 || tagBits < 96 || tagBits > 128) throw bad();
  return { algorithm: 'aes-gcm', iv: own(iv), tagLength: tagBits / 8, ...(aad.length === 0 ? {} : { aad: own(aad) }) };
};

const COUNTER_BITS = 128;
const ivFields = (row: MechanismRow, parameter: MechanismParameter | undefined): CipherFields => {
  const algorithm = row.cipher?.algorithm;
  if (algorithm === undefined || algorithm === 'oaep') throw rv('MECHANISM_INVALID');
  if (row.record === undefined) return { algorithm };
  if (parameter === undefined) throw bad();
  if (parameter.record === 'iv16' || parameter.record === 'iv8') {
    if (parameter.iv.length !== (parameter.record === 'iv16' ? 16 : 8)) throw bad();
    return { algorithm, iv: own(parameter.iv) };
  }
  // The algebra counts through the whole block; a narrower counter would wrap around somewhere else.
  if (parameter.record !== 'ctr' || parameter.counterBits !== COUNTER_BITS || parameter.iv.length !== 16) throw bad();
  return { algorithm, iv: own(parameter.iv) };
};

export const cipherFields = (row: MechanismRow, parameter: MechanismParameter | undefined): CipherFields => {
  if (row.cipher?.algorithm === 'oaep') return oaepFields(parameter);
  return row.record === 'gcm' ? gcmFields(parameter) : ivFields(row, parameter);
};

type SignFields = Pick<OperationRequest<'sign'>, 'algorithm' | 'prehashed' | 'saltLength' | 'mgf1Hash' | 'encoding'>;
const PSS_HASHES = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;

const pssFields = (row: MechanismRow, parameter: MechanismParameter | undefined): SignFields => {
  if (parameter?.record !== 'pss') throw bad();
  const hash = PSS_HASHES.find((one) => one === hashOfMechanism(parameter.hash));
  const mgf1Hash = hashOfMgf(parameter.mgf);
  if (hash === undefined || mgf1Hash === undefined || parameter.saltLength > 512) throw bad();
  const algorithm = `rsa-pss-${hash}` as const;
  // CKM_SHA256_RSA_PKCS_PSS and its like hash themselves; the parameter must say the same hash.
  if (row.signature?.algorithm !== 'pss' && row.signature?.algorithm !== algorithm) throw bad();
  return {
    algorithm,
    saltLength: parameter.saltLength,
    ...(row.signature.input === 'digest' ? { prehashed: true } : {}),
    ...(mgf1Hash === hash ? {} : { mgf1Hash }),
  };
};

export const signFields = (row: MechanismRow, parameter: MechanismParameter | undefined): SignFields => {
  const { signature } = row;
  if (signature === undefined) throw rv('MECHANISM_INVALID');
  if (row.record === 'pss') return pssFields(row, parameter);
  if (signature.algorithm === 'pss') throw bad();
  return signature.algorithm.startsWith('ecdsa')
    ? { algorithm: signature.algorithm, encoding: 'p1363' }
    : { algorithm: signature.algorithm };
};

/** Length the input of a raw signature must have, bytes; undefined = any the key has room for. */
export const digestLength = (row: MechanismRow, parameter: MechanismParameter | undefined): number | undefined => {
  if (row.signature?.input !== 'digest' || parameter?.record !== 'pss') return undefined;
  const hash = hashOfMechanism(parameter.hash);
  return hash === undefined ? undefined : HASH_BYTES[hash];
};

/** Length of a MAC: whole, or what the *_GENERAL parameter says. */
export const macLength = (row: MechanismRow, parameter: MechanismParameter | undefined): number => {
  const whole = row.mac?.bytes ?? 0;
  if (row.mac?.general !== true) return whole;
  if (parameter?.record !== 'mac-general' || parameter.length < 1 || parameter.length > whole) throw bad();
  return parameter.length;
};

/** Bytes of a signature by this key. */
export const signatureLength = (row: MechanismRow, parameter: MechanismParameter | undefined, object: ManagedObject): number => {
  if (row.mac !== undefined) return macLength(row, parameter);
  const bits = object.spec === undefined ? 0 : KEY_SPECS[object.spec].bits;
  return row.families.includes('rsa') ? bits / 8 : 2 * Math.ceil(bits / 8);
};
