import type { BoundKey, CipherParameters } from '@aegis/rot-spi';
import { ALGORITHMS, type Algorithm } from '@aegis/rot-spi/vocabulary';
import {
  decodeEnvelope,
  ENVELOPE_HEADER_BYTES,
  type Envelope,
  encodeEnvelope,
  envelopeHeader,
  fail,
  isEnvelopeAlgorithm,
  joinBytes,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
} from '../domain/index.js';
import { checkAlgorithm, isAead } from './chosen-algorithm.js';
import { boundKey, processVersion, specOf } from './chosen-key.js';
import { type CipherFields, cipherParameters, MIN_TAG_BYTES } from './cipher-parameters.js';
import { badField } from './field-rules.js';
import { pairOf } from './pair.js';

const EMPTY = new Uint8Array(0);

/** Object and version that an envelope names: the private half where the public one encrypts. */
const envelopeName = (object: ManagedObject): string => (object.type === 'public-key' ? (pairOf(object) ?? object.id) : object.id);

export const headerFor = (
  object: ManagedObject,
  version: ObjectVersion,
  algorithm: Algorithm,
  tagLength: number | undefined,
): Uint8Array => {
  if (!isEnvelopeAlgorithm(algorithm)) throw badField('algorithm', `${algorithm} has no envelope.`, 'Use format raw.');
  const row = ALGORITHMS[algorithm];
  const tag = isAead(algorithm) ? (tagLength ?? row.tagLength ?? 0) : 0;
  return envelopeHeader(envelopeName(object), version.version, algorithm, row.ivLength ?? 0, tag);
};
/** What AEAD authenticates in an envelope: its header, then the caller's data. */
export const boundAad = (header: Uint8Array, algorithm: Algorithm, aad: Uint8Array | undefined) =>
  isAead(algorithm) ? { aad: joinBytes(header.subarray(0, ENVELOPE_HEADER_BYTES), aad ?? EMPTY) } : {};

export const sealed = (header: Uint8Array, made: { ciphertext: Uint8Array; iv?: Uint8Array; tag?: Uint8Array }): Uint8Array => {
  const iv = made.iv ?? EMPTY;
  const tag = made.tag ?? EMPTY;
  if (header[26] !== iv.length || header[27] !== tag.length) {
    // The header was authenticated before the root chose; a root that chooses other lengths broke its contract.
    throw fail('internal', 'The root of trust returned an IV or tag of an unexpected length.', { next: 'See the server log.' });
  }
  return encodeEnvelope(header, iv, tag, made.ciphertext);
};

/** An envelope of ours, made under this very object. */
const openEnvelope = (object: ManagedObject, ciphertext: Uint8Array, field: string): { envelope: Envelope; header: Uint8Array } => {
  const envelope = decodeEnvelope(ciphertext);
  if (envelope === undefined) {
    throw badField(field, 'Not an Aegis envelope.', 'Send what encrypt returned, or use format raw with iv and tag.');
  }
  if (envelope.objectId !== object.id) {
    throw badField(field, 'The ciphertext was made under another key.', 'Leave the key out: the envelope names it.');
  }
  return { envelope, header: ciphertext.subarray(0, ENVELOPE_HEADER_BYTES) };
};

/** Version an envelope names; a pinned one must be the same. */
const envelopeVersion = (loaded: LoadedObject, envelope: Envelope, pinned: number | undefined): ObjectVersion => {
  if (pinned !== undefined && pinned !== envelope.version) {
    throw badField('version', `The ciphertext was made with version ${envelope.version}.`, 'Leave the version out.');
  }
  return processVersion(loaded, envelope.version);
};

/**
 * The envelope's algorithm is the sender's claim. Where that algorithm authenticates nothing the claim could be an
 * attacker's: AES-GCM ciphertext relabelled as CTR would open, malleable. So those algorithms are used only when the
 * caller names them; RSA-OAEP stands for itself, a public key authenticates nobody anyway.
 */
const requireMeant = (algorithm: Algorithm, named: Algorithm | undefined): void => {
  if (named !== undefined && named !== algorithm) {
    throw badField('algorithm', `The ciphertext says ${algorithm}.`, 'Leave the algorithm out, or name the one that was used.');
  }
  if (named === undefined && !isAead(algorithm) && !algorithm.startsWith('rsa-oaep')) {
    throw badField(
      'algorithm',
      `The ciphertext says ${algorithm}, which authenticates nothing.`,
      `Name ${algorithm} to decrypt it all the same.`,
    );
  }
};

export interface Opening extends CipherParameters {
  readonly key: BoundKey;
  readonly algorithm: Algorithm;
  readonly ciphertext: Uint8Array;
  readonly tag?: Uint8Array;
}
export const openingOf = (
  loaded: LoadedObject,
  bytes: Uint8Array,
  aad: Uint8Array | undefined,
  pinned: number | undefined,
  fields: CipherFields & { readonly algorithm?: Algorithm } = {},
): { version: ObjectVersion; opening: Opening } => {
  const { object } = loaded;
  const { envelope, header } = openEnvelope(object, bytes, 'ciphertext');
  const algorithm = checkAlgorithm(envelope.algorithm, specOf(object), 'cipher', 'ciphertext');
  requireMeant(algorithm, fields.algorithm);
  if (isAead(algorithm) && (envelope.tag.length < MIN_TAG_BYTES || envelope.iv.length === 0)) {
    // A shortened tag would be a forgery made cheap; headers are only authenticated together with a whole tag.
    throw fail('decryption-failed', 'Decryption failed: wrong key, wrong associated data or damaged ciphertext.', {
      next: 'Check the ciphertext.',
    });
  }
  const { label, mgf1Hash } = fields;
  const parameters = cipherParameters(algorithm, {
    ...(aad === undefined ? {} : { aad }),
    ...(label === undefined ? {} : { label }),
    ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
  });
  const version = envelopeVersion(loaded, envelope, pinned);
  return {
    version,
    opening: {
      key: boundKey(object, version),
      algorithm,
      ciphertext: envelope.ciphertext,
      ...parameters,
      ...(envelope.iv.length === 0 ? {} : { iv: envelope.iv }),
      ...(envelope.tag.length === 0 ? {} : { tag: envelope.tag, tagLength: envelope.tag.length }),
      ...boundAad(header, algorithm, aad),
    },
  };
};
