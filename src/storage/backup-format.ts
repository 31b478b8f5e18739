import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes, type ScryptOptions, scrypt } from 'node:crypto';

/**
 * A backup file: magic, header length (4 bytes, big-endian), header (JSON), then the content in sealed chunks.
 *
 * The file key comes from the passphrase by scrypt (RFC 7914) and from the header by HKDF, so a changed header opens nothing.
 * Chunks are sealed by AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce is an 88-bit
 * counter and a final flag, so that chunks can't be dropped, repeated, reordered or cut off. The key is used for one file only.
 */
const MAGIC = Buffer.from('AEGISBK1\n', 'latin1');
const MAX_HEADER_BYTES = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
/** 64 MiB and about a third of a second; OWASP's equivalent of N = 2^17, p = 1. */
const SCRYPT = { N: 65_536, r: 8, p: 2 } as const;
/** What a header may ask of us at most: 1 GiB. */
const MAX_SCRYPT_BYTES = 1024 * 1024 * 1024;

/** A backup that can't be made, read or restored; the message ends with what to do. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
}

export interface BackupRoot {
  readonly id: string;
  readonly fingerprint: string;
  /** Key versions that only this root opens. */
  readonly versions: number;
}

export interface BackupHeader {
  readonly format: 1;
  readonly createdAt: number;
  /** Applied migrations, in order: the schema the rows were written by. */
  readonly migrations: readonly { readonly name: string; readonly checksum: string }[];
  readonly roots: readonly BackupRoot[];
  /** Rows by table. */
  readonly tables: Readonly<Record<string, number>>;
  readonly kdf: { readonly name: 'scrypt'; readonly N: number; readonly r: number; readonly p: number; readonly salt: string };
  /** Tells a wrong passphrase from a damaged file, base64; it gives away no more than the first chunk does. Absent in older files. */
  readonly check?: string;
}

export const newKdf = (): BackupHeader['kdf'] => ({ name: 'scrypt', ...SCRYPT, salt: randomBytes(SALT_BYTES).toString('base64') });

const encodeHeader = (header: BackupHeader): Buffer => {
  const body = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([MAGIC, length, body]);
};

const stretch = (passphrase: string, kdf: BackupHeader['kdf']): Promise<Buffer> => {
  const options: ScryptOptions = { N: kdf.N, r: kdf.r, p: kdf.p, maxmem: MAX_SCRYPT_BYTES + 1024 * 1024 };
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), Buffer.from(kdf.salt, 'base64'), KEY_BYTES, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
};

const CHECK_BYTES = 16;
const checkOf = (stretched: Buffer): string =>
  Buffer.from(hkdfSync('sha256', stretched, Buffer.alloc(0), 'aegis backup passphrase 1', CHECK_BYTES)).toString('base64');

/** Of the stretched passphrase, which it wipes, and the whole header. */
const fileKey = (stretched: Buffer, encoded: Buffer): Buffer => {
  const info = Buffer.concat([Buffer.from('aegis backup 1'), createHash('sha256').update(encoded).digest()]);
  const key = Buffer.from(hkdfSync('sha256', stretched, Buffer.alloc(0), info, KEY_BYTES));
  stretched.fill(0);
  return key;
};

const nonceOf = (counter: bigint, final: boolean): Buffer => {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(counter, 3);
  nonce[NONCE_BYTES - 1] = final ? 1 : 0;
  return nonce;
};

/** Header and sealed chunks of `content`. */
export const sealBackup = async function* (
  header: BackupHeader,
  passphrase: string,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  const stretched = await stretch(passphrase, header.kdf);
  const encoded = encodeHeader({ ...header, check: checkOf(stretched) });
  const key = fileKey(stretched, encoded);
  try {
    yield encoded;
    let counter = 0n;
    const seal = (plain: Buffer, final: boolean): Buffer => {
      const cipher = createCipheriv('aes-256-gcm', key, nonceOf(counter, final));
      counter += 1n;
      return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    };
    let pending = Buffer.alloc(0);
    for await (const part of content) {
      pending = Buffer.concat([pending, part]);
      // At least one byte stays back: only the last chunk, which may be short, is sealed as final.
      while (pending.length > CHUNK_BYTES) {
        yield seal(pending.subarray(0, CHUNK_BYTES), false);
        pending = pending.subarray(CHUNK_BYTES);
      }
    }
    yield seal(pending, true);
  } finally {
    key.fill(0);
  }
};

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const parseHeader = (body: Buffer): BackupHeader => {
  const header = JSON.parse(body.toString('utf8')) as BackupHeader;
  const { kdf } = header;
  const bounded =
    header.format === 1 &&
    isCount(header.createdAt) &&
    Array.isArray(header.migrations) &&
    Array.isArray(header.roots) &&
    Object.values(header.tables).every(isCount) &&
    kdf.name === 'scrypt' &&
    [kdf.N, kdf.r, kdf.p].every((value) => isCount(value) && value > 0) &&
    128 * kdf.N * kdf.r <= MAX_SCRYPT_BYTES &&
    kdf.p <= 16 &&
    typeof kdf.salt === 'string' &&
    (header.check === undefined || typeof header.check === 'string');
  if (!bounded) throw new BackupError('the header of this backup is not valid. Use another copy of the file.');
  return header;
};

/** Bytes of a stream, taken in pieces of a wanted size. */
const makeReader = (stream: AsyncIterable<Uint8Array>) => {
  const source = stream[Symbol.asyncIterator]();
  let buffered = Buffer.alloc(0);
  let parts: Uint8Array[] = [];
  let length = 0;
  const fill = async (wanted: number): Promise<void> => {
    while (length < wanted) {
      const next = await source.next();
      if (next.done === true) break;
      parts.push(next.value);
      length += next.value.length;
    }
    if (parts.length > 1 || buffered.length !== length) buffered = Buffer.concat(parts);
    parts = [buffered];
  };
  return {
    /** Up to `wanted` bytes; fewer only at the end. */
    async take(wanted: number): Promise<Buffer> {
      await fill(wanted);
      const taken = buffered.subarray(0, wanted);
      buffered = buffered.subarray(taken.length);
      parts = [buffered];
      length = buffered.length;
      return taken;
    },
    async atEnd(): Promise<boolean> {
      await fill(1);
      return length === 0;
    },
    async close(): Promise<void> {
      await source.return?.();
    },
  };
};

export interface OpenedBackup {
  readonly header: BackupHeader;
  /** The content; throws BackupError at the first chunk that is not authentic, and at a missing end. */
  readonly content: AsyncIterable<Buffer>;
  /** Lets go of the stream when the content is not read to its end. */
  close(): Promise<void>;
}

/** Reads the header and the first chunk, which proves the passphrase and the header; the rest follows as `content` is read. */
export const openBackup = async (stream: AsyncIterable<Uint8Array>, passphrase: string): Promise<OpenedBackup> => {
  const reader = makeReader(stream);
  const start = await reader.take(MAGIC.length + 4);
  if (start.length < MAGIC.length + 4 || !start.subarray(0, MAGIC.length).equals(MAGIC)) {
    await reader.close();
    throw new BackupError('this is not an Aegis backup (or one of a newer version). Check the file name.');
  }
  const length = start.readUInt32BE(MAGIC.length);
  const body = length <= MAX_HEADER_BYTES ? await reader.take(length) : Buffer.alloc(0);
  let header: BackupHeader;
  try {
    if (body.length !== length) throw new BackupError('the header of this backup is cut off. Use another copy of the file.');
    header = parseHeader(body);
  } catch (error) {
    await reader.close();
    if (error instanceof BackupError) throw error;
    throw new BackupError('the header of this backup is damaged. Use another copy of the file.', { cause: error });
  }
  const encoded = Buffer.concat([start, body]);

  const content = async function* (): AsyncGenerator<Buffer> {
    const stretched = await stretch(passphrase, header.kdf);
    if (header.check !== undefined && header.check !== checkOf(stretched))
      throw new BackupError('the passphrase is wrong. Use the one that the backup was made with.');
    const key = fileKey(stretched, encoded);
    try {
      for (let counter = 0n, final = false; !final; counter += 1n) {
        const chunk = await reader.take(CHUNK_BYTES + TAG_BYTES);
        final = await reader.atEnd();
        if (chunk.length < TAG_BYTES) throw new BackupError('this backup is cut off. Use another copy of the file.');
        const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(counter, final), { authTagLength: TAG_BYTES });
        decipher.setAuthTag(chunk.subarray(chunk.length - TAG_BYTES));
        let plain: Buffer;
        try {
          plain = Buffer.concat([decipher.update(chunk.subarray(0, chunk.length - TAG_BYTES)), decipher.final()]);
        } catch (error) {
          throw new BackupError(
            counter === 0n && header.check === undefined
              ? 'the passphrase is wrong, or the backup was changed. Check the passphrase, then use another copy of the file.'
              : `this backup was changed or cut off (in the ${CHUNK_BYTES / 1024} KiB after byte ${encoded.length + Number(counter) * (CHUNK_BYTES + TAG_BYTES)}). Use another copy of the file.`,
            { cause: error },
          );
        }
        yield plain;
      }
    } finally {
      key.fill(0);
      await reader.close();
    }
  };
  const chunks = content();
  const first = await chunks.next();
  const all = async function* (): AsyncGenerator<Buffer> {
    if (first.done !== true) yield first.value;
    yield* chunks;
  };
  return {
    header,
    content: all(),
    async close() {
      await chunks.return(undefined);
    },
  };
};
