import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/**
 * Encrypted files of any size (docs/formats.md “Encrypted file”):
 *
 *   magic `AEGISF01` | u32 header length | header (JSON) | chunk*
 *
 * The header names the key and carries the data key wrapped by it. Each chunk is AES-256-GCM with the nonce
 * `prefix (7 bytes) ‖ counter (u32) ‖ last (u8)` and the SHA-256 of everything before the first chunk as associated data
 * (the STREAM construction of Hoang, Reyhanitabar, Rogaway, Vizár), so that reordering, dropping and truncating chunks
 * is detected, as is any change to the header.
 */
const FILE_MAGIC = Buffer.from('AEGISF01', 'latin1');
const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;
const PREFIX_BYTES = 7;
const MAX_HEADER_BYTES = 64 * 1024;
/** 2^32 chunks is the counter's end; far beyond any file. */
const MAX_CHUNKS = 0xffff_ffff;
/** Bound to the wrapped data key, so that it serves nothing but files. */
export const DATA_KEY_AAD = Buffer.from('aegis-file-v1', 'latin1');

export interface FileHeader {
  readonly keyId: string;
  readonly keyVersion: number;
  /** Base64 of the wrapped data key. */
  readonly dataKey: string;
}

export class FileFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FileFormatError';
  }
}

interface ChunkCipher {
  readonly key: Buffer;
  readonly prefix: Buffer;
  readonly aad: Buffer;
}

const nonceOf = (prefix: Buffer, counter: number, last: boolean): Buffer => {
  const nonce = Buffer.alloc(12);
  prefix.copy(nonce, 0);
  nonce.writeUInt32BE(counter, PREFIX_BYTES);
  nonce[11] = last ? 1 : 0;
  return nonce;
};

function sealChunk({ key, prefix, aad }: ChunkCipher, counter: number, last: boolean, plaintext: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(prefix, counter, last));
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function openChunk({ key, prefix, aad }: ChunkCipher, counter: number, last: boolean, chunk: Buffer): Buffer {
  if (chunk.length < TAG_BYTES) throw new FileFormatError('the encrypted file is truncated');
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(prefix, counter, last));
  decipher.setAAD(aad);
  decipher.setAuthTag(chunk.subarray(chunk.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(chunk.subarray(0, chunk.length - TAG_BYTES)), decipher.final()]);
  } catch {
    throw new FileFormatError('the encrypted file was changed or is truncated');
  }
}

/** Cuts a stream into pieces of `size` bytes; the last piece is marked and may be shorter or empty. */
async function* pieces(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<{ piece: Buffer; last: boolean }> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const part of source) {
    held.push(Buffer.from(part.buffer, part.byteOffset, part.byteLength));
    heldBytes += part.byteLength;
    // One byte more than a piece must be in hand: only then is the piece known not to be the last.
    if (heldBytes <= size) continue;
    let all = Buffer.concat(held, heldBytes);
    while (all.length > size) {
      yield { piece: all.subarray(0, size), last: false };
      all = all.subarray(size);
    }
    held = [Buffer.from(all)];
    heldBytes = all.length;
  }
  yield { piece: Buffer.concat(held, heldBytes), last: true };
}

/** Encrypts `source` with `dataKey` (32 bytes, zeroed at the end). */
export async function* encryptFile(source: AsyncIterable<Uint8Array>, header: FileHeader, dataKey: Buffer): AsyncGenerator<Buffer> {
  const prefix = randomBytes(PREFIX_BYTES);
  const json = Buffer.from(
    JSON.stringify({ v: 1, cipher: 'aes-256-gcm-stream', chunk: CHUNK_BYTES, nonce: prefix.toString('base64'), ...header }),
    'utf8',
  );
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  const start = Buffer.concat([FILE_MAGIC, length, json]);
  yield start;
  const chunk: ChunkCipher = { key: dataKey, prefix, aad: createHash('sha256').update(start).digest() };
  let counter = 0;
  try {
    for await (const { piece, last } of pieces(source, CHUNK_BYTES)) {
      if (counter > MAX_CHUNKS) throw new FileFormatError('the file is too large');
      yield sealChunk(chunk, counter, last, piece);
      counter += 1;
    }
  } finally {
    dataKey.fill(0);
  }
}

interface ParsedStart {
  readonly header: FileHeader;
  readonly prefix: Buffer;
  readonly chunkBytes: number;
  readonly aad: Buffer;
}

function parseHeader(json: Buffer, start: Buffer): ParsedStart {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(json.toString('utf8')) as Record<string, unknown>;
  } catch {
    throw new FileFormatError('the header of the encrypted file is damaged');
  }
  const { v, cipher, chunk, nonce, keyId, keyVersion, dataKey } = value;
  if (v !== 1 || cipher !== 'aes-256-gcm-stream') throw new FileFormatError('the file was written by a newer version of Aegis');
  const prefix = typeof nonce === 'string' ? Buffer.from(nonce, 'base64') : Buffer.alloc(0);
  const plausible =
    typeof chunk === 'number' &&
    Number.isInteger(chunk) &&
    chunk >= 1_024 &&
    chunk <= 16 * 1024 * 1024 &&
    prefix.length === PREFIX_BYTES &&
    typeof keyId === 'string' &&
    typeof keyVersion === 'number' &&
    typeof dataKey === 'string';
  if (!plausible) throw new FileFormatError('the header of the encrypted file is damaged');
  return { header: { keyId, keyVersion, dataKey }, prefix, chunkBytes: chunk, aad: createHash('sha256').update(start).digest() };
}

/**
 * Opens an encrypted file: reads the header, asks `unwrap` for the data key, then yields plaintext chunk by chunk.
 * Throws FileFormatError on anything changed, reordered or cut off; what was yielded before is authentic, but only the end
 * proves the file whole.
 */
export async function* decryptFile(
  source: AsyncIterable<Uint8Array>,
  unwrap: (header: FileHeader) => Promise<Buffer>,
): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const fill = async (bytes: number): Promise<void> => {
    while (held.length < bytes) {
      const { done, value } = await iterator.next();
      if (done === true) throw new FileFormatError('the encrypted file is truncated');
      held = Buffer.concat([held, value]);
    }
  };
  await fill(FILE_MAGIC.length + 4);
  if (!held.subarray(0, FILE_MAGIC.length).equals(FILE_MAGIC)) throw new FileFormatError('this is not a file encrypted by `aegis encrypt`');
  const headerBytes = held.readUInt32BE(FILE_MAGIC.length);
  if (headerBytes > MAX_HEADER_BYTES) throw new FileFormatError('the header of the encrypted file is damaged');
  const startBytes = FILE_MAGIC.length + 4 + headerBytes;
  await fill(startBytes);
  const start = parseHeader(held.subarray(FILE_MAGIC.length + 4, startBytes), held.subarray(0, startBytes));
  const rest = held.subarray(startBytes);
  const key = await unwrap(start.header);
  const chunk: ChunkCipher = { key, prefix: start.prefix, aad: start.aad };
  const remaining = async function* (): AsyncGenerator<Uint8Array> {
    if (rest.length > 0) yield rest;
    for (;;) {
      const { done, value } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  };
  let counter = 0;
  try {
    for await (const { piece, last } of pieces(remaining(), start.chunkBytes + TAG_BYTES)) {
      yield openChunk(chunk, counter, last, piece);
      counter += 1;
    }
  } finally {
    key.fill(0);
  }
}
