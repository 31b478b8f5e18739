import type { Algorithm } from '@aegis/rot-spi/vocabulary';

/**
 * The envelope: what `encrypt` answers and `decrypt` takes in `format: envelope`. It names object, version and algorithm
 * itself, so that a ciphertext outlives renames and rotations. Byte table: docs/formats.md.
 *
 * For AEAD algorithms the 28 fixed bytes are authenticated in front of the caller's associated data; IV and tag are bound
 * by the algorithm itself.
 */
export interface Envelope {
  readonly objectId: string;
  readonly version: number;
  readonly algorithm: Algorithm;
  readonly iv: Uint8Array;
  readonly tag: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** Append only: a number once given is never reused, ciphertexts live for decades. */
export const ENVELOPE_ALGORITHM_IDS = {
  'aes-gcm': 1,
  'aes-cbc': 2,
  'aes-cbc-pkcs5': 3,
  'aes-ctr': 4,
  'aes-ecb': 5,
  'aes-ecb-pkcs5': 6,
  'aes-cfb128': 7,
  'aes-cfb8': 8,
  'aes-ofb': 9,
  'chacha20-poly1305': 10,
  chacha20: 11,
  'des3-cbc': 12,
  'des3-cbc-pkcs5': 13,
  'des3-ecb': 14,
  'des3-ecb-pkcs5': 15,
  'rsa-oaep-sha1': 16,
  'rsa-oaep-sha224': 17,
  'rsa-oaep-sha256': 18,
  'rsa-oaep-sha384': 19,
  'rsa-oaep-sha512': 20,
  'rsa-pkcs1': 21,
  'rsa-raw': 22,
} as const satisfies Partial<Record<Algorithm, number>>;
export type EnvelopeAlgorithm = keyof typeof ENVELOPE_ALGORITHM_IDS;
const BY_ID: ReadonlyMap<number, EnvelopeAlgorithm> = new Map(
  Object.entries(ENVELOPE_ALGORITHM_IDS).map(([name, id]) => [id, name as EnvelopeAlgorithm]),
);
export const isEnvelopeAlgorithm = (algorithm: string): algorithm is EnvelopeAlgorithm => Object.hasOwn(ENVELOPE_ALGORITHM_IDS, algorithm);

/** "AEG1" */
const MAGIC = Uint8Array.of(0x41, 0x45, 0x47, 0x31);
export const ENVELOPE_HEADER_BYTES = 28;

const uuidBytes = (id: string): Uint8Array => {
  const hex = id.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new Error('envelope: object id is not a UUID');
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
};
const uuidText = (bytes: Uint8Array): string => {
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** The fixed part, which is also the prefix of the associated data. */
export const envelopeHeader = (
  objectId: string,
  version: number,
  algorithm: EnvelopeAlgorithm,
  ivLength: number,
  tagLength: number,
): Uint8Array => {
  const header = new Uint8Array(ENVELOPE_HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(MAGIC, 0);
  header.set(uuidBytes(objectId), 4);
  view.setUint32(20, version);
  view.setUint16(24, ENVELOPE_ALGORITHM_IDS[algorithm]);
  header[26] = ivLength;
  header[27] = tagLength;
  return header;
};

export const joinBytes = (...parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

export const encodeEnvelope = (header: Uint8Array, iv: Uint8Array, tag: Uint8Array, ciphertext: Uint8Array): Uint8Array => {
  if (header[26] !== iv.length || header[27] !== tag.length) throw new Error('envelope: lengths differ from the header');
  return joinBytes(header, iv, tag, ciphertext);
};

/** Undefined when it is not an envelope of ours at all; the parts otherwise. Nothing in it is authenticated yet. */
export const decodeEnvelope = (bytes: Uint8Array): Envelope | undefined => {
  if (bytes.length < ENVELOPE_HEADER_BYTES || MAGIC.some((b, i) => bytes[i] !== b)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const algorithm = BY_ID.get(view.getUint16(24));
  const version = view.getUint32(20);
  const ivEnd = ENVELOPE_HEADER_BYTES + view.getUint8(26);
  const tagEnd = ivEnd + view.getUint8(27);
  if (algorithm === undefined || version === 0 || bytes.length < tagEnd) return undefined;
  return {
    objectId: uuidText(bytes.subarray(4, 20)),
    version,
    algorithm,
    iv: bytes.subarray(ENVELOPE_HEADER_BYTES, ivEnd),
    tag: bytes.subarray(ivEnd, tagEnd),
    ciphertext: bytes.subarray(tagEnd),
  };
};

/** Id of the object an envelope names, so that the guard can load and judge it when `key` (or `from`) is absent. */
export const envelopeTarget = (ciphertext: Uint8Array): string | undefined => decodeEnvelope(ciphertext)?.objectId;
