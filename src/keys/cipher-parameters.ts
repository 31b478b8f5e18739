import type { CipherParameters } from '@aegis/rot-spi';
import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, PlaneName } from '../domain/index.js';
import { isAead } from './chosen-algorithm.js';
import { badField, checkBytes } from './field-rules.js';
import { CALLER_IV_ATTRIBUTE, type KeyParts } from './key-parts.js';

/** Associated data is hashed once per call, bytes. */
export const MAX_AAD_BYTES = 65_536;
const MAX_LABEL_BYTES = 4096;

export interface CipherFields {
  readonly iv?: Uint8Array;
  readonly aad?: Uint8Array;
  readonly tagLength?: number;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: CipherParameters['mgf1Hash'];
}

/** Planes whose protocol lets the client choose IVs; elsewhere the object must have been made for it. */
const IV_PLANES: readonly PlaneName[] = ['kmip', 'pkcs11', 'internal'];
export const requireOwnIv = (object: ManagedObject, plane: PlaneName): void => {
  if (IV_PLANES.includes(plane) || object.attributes[CALLER_IV_ATTRIBUTE] === true) return;
  // A repeated IV under AES-GCM gives the authentication key away (SP 800-38D §8).
  throw badField('iv', 'The root of trust chooses the IV.', `Leave iv out, or create the key with the attribute ${CALLER_IV_ATTRIBUTE}.`);
};

export const cipherParameters = (algorithm: Algorithm, fields: CipherFields): CipherParameters => {
  const { iv, aad, tagLength, label, mgf1Hash } = fields;
  if (aad !== undefined && aad.length > 0 && !isAead(algorithm)) {
    throw badField(
      'aad',
      `${algorithm} does not authenticate associated data.`,
      'Use an AEAD algorithm such as aes-gcm, or leave aad out.',
    );
  }
  if (label !== undefined && !algorithm.startsWith('rsa-oaep')) throw badField('label', 'Only RSA-OAEP has a label.', 'Leave it out.');
  if (tagLength !== undefined && !isAead(algorithm)) throw badField('tagLength', `${algorithm} has no tag.`, 'Leave it out.');
  return {
    ...(iv === undefined ? {} : { iv: checkBytes(iv, 'iv', 128) }),
    ...(aad === undefined ? {} : { aad: checkBytes(aad, 'aad', MAX_AAD_BYTES) }),
    ...(tagLength === undefined ? {} : { tagLength: checkTagLength(tagLength) }),
    ...(label === undefined ? {} : { label: checkBytes(label, 'label', MAX_LABEL_BYTES) }),
    ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
  };
};
/** SP 800-38D §5.2.1.2: 96 bits and more; shorter tags need limits nobody here keeps, and whoever decrypts chooses the length. */
export const MIN_TAG_BYTES = 12;
const checkTagLength = (bytes: number): number => {
  if (Number.isInteger(bytes) && bytes >= MIN_TAG_BYTES && bytes <= 16) return bytes;
  throw badField('tagLength', 'A tag has 12 to 16 bytes.', 'Leave tagLength out for 16.');
};

/** Largest input of one call to this root. */
export const checkPayload = async (parts: KeyParts, rootId: string, bytes: unknown, field: string, extraBytes = 0): Promise<Uint8Array> => {
  const { maxInput } = await parts.roots.describe(rootId);
  return checkBytes(bytes, field, maxInput + extraBytes);
};
/** Envelope header, IV, tag and padding on top of the largest plaintext, bytes. */
export const EXPANSION_BYTES = 1024;
