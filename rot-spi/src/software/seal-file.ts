import { createCipheriv, createDecipheriv, createHash, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { RootFault } from '../fault.js';
import { Secret } from '../secret.js';
import { SECRET_ACCESS } from '../secret-access.js';

/**
 * The file that holds a software root's sealing keys.
 *
 *   "AEGISSEAL" 0x01 | u32 n | header: n bytes of JSON, no secret | u32 m | body: m bytes | SHA-256 of everything before
 *
 * The body is the concatenated 32-byte keys, oldest generation first; in clear, or under AES-256-GCM with everything
 * before the body as associated data and a key that scrypt (RFC 7914) makes from a passphrase, or a random one that the
 * header holds wrapped by a key elsewhere (a cloud KMS).
 */
const MAGIC = Buffer.from('AEGISSEAL\u0001', 'latin1');
const CHECKSUM_BYTES = 32;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
export const SEALING_KEY_BYTES = 32;
export const FINGERPRINT_BYTES = 16;
export const MAX_SEAL_FILE_BYTES = 1_048_576;
const MAX_GENERATIONS = 10_000;

export interface ScryptParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
}

/** 128 MiB and some 0.4 s: above the OWASP floor, once per start. */
export const newScryptParameters = (): ScryptParameters => ({ N: 131_072, r: 8, p: 1, salt: randomBytes(32) });

export interface Generation {
  readonly generation: number;
  readonly createdAt: number;
  readonly key: Secret;
}

export interface SealContent {
  readonly fingerprint: Buffer;
  /** Ascending, at least one. */
  readonly generations: readonly Generation[];
}

/** How the body is protected: nothing but the file mode, or a key-encryption key with the parameters that made it. */
export type BodyProtection =
  | { readonly kind: 'none' }
  | { readonly kind: 'passphrase'; readonly kek: Secret; readonly scrypt: ScryptParameters }
  | { readonly kind: 'wrapped'; readonly kek: Secret; readonly wrapped: WrappedKek };

/** A key-encryption key as the key elsewhere wrapped it. No secret: only that key opens it. */
export interface WrappedKek {
  /** `vault`, `aws`, … */
  readonly provider: string;
  /** The wrapping key in the provider's own words: name, ARN, resource name, URL. */
  readonly key: string;
  /** Which version of it, where the provider says so. */
  readonly version?: string;
  /** Lower-case hex. */
  readonly blob: string;
}

interface Header {
  readonly format: 1;
  readonly fingerprint: string;
  readonly generations: readonly { readonly generation: number; readonly createdAt: number }[];
  readonly protection: BodyProtection['kind'];
  readonly wrapped?: WrappedKek;
  readonly scrypt?: { readonly N: number; readonly r: number; readonly p: number; readonly salt: string };
  readonly nonce?: string;
}

const lengthPrefixed = (bytes: Buffer): Buffer => {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  return Buffer.concat([prefix, bytes]);
};

/** Bounds keep a forged header from asking for all memory. */
const SCRYPT_BOUNDS = { N: 1_048_576, r: 16, p: 8 };

export const deriveKek = (passphrase: Secret, parameters: ScryptParameters): Promise<Secret> =>
  new Promise((resolve, reject) => {
    const options: ScryptOptions = { N: parameters.N, r: parameters.r, p: parameters.p, maxmem: 160 * parameters.N * parameters.r };
    scrypt(passphrase.bytes(SECRET_ACCESS), parameters.salt, SEALING_KEY_BYTES, options, (error, key) =>
      error === null
        ? resolve(Secret.own(key))
        : reject(new RootFault('sealed', 'the passphrase could not be processed', 'Check that 200 MiB of memory are free.')),
    );
  });

const toHeader = (content: SealContent, protection: BodyProtection, nonce: Buffer): Header => ({
  format: 1,
  fingerprint: content.fingerprint.toString('hex'),
  generations: content.generations.map(({ generation, createdAt }) => ({ generation, createdAt })),
  protection: protection.kind,
  ...(protection.kind === 'passphrase' ? { scrypt: { ...protection.scrypt, salt: protection.scrypt.salt.toString('hex') } } : {}),
  ...(protection.kind === 'wrapped' ? { wrapped: protection.wrapped } : {}),
  ...(protection.kind === 'none' ? {} : { nonce: nonce.toString('hex') }),
});

/** The bytes to write; the caller zeroes them. */
export const encodeSealFile = (content: SealContent, protection: BodyProtection): Buffer => {
  const nonce = randomBytes(NONCE_BYTES);
  const head = Buffer.concat([MAGIC, lengthPrefixed(Buffer.from(JSON.stringify(toHeader(content, protection, nonce))))]);
  const keys = Buffer.concat(content.generations.map(({ key }) => key.bytes(SECRET_ACCESS)));
  const body = protection.kind === 'none' ? keys : encryptBody(protection.kek, nonce, head, keys);
  const framed = lengthPrefixed(body);
  const file = Buffer.concat([head, framed, createHash('sha256').update(head).update(framed).digest()]);
  for (const buffer of [keys, body, framed]) buffer.fill(0);
  return file;
};

const encryptBody = (kek: Secret, nonce: Buffer, head: Buffer, keys: Buffer): Buffer => {
  const cipher = createCipheriv('aes-256-gcm', kek.bytes(SECRET_ACCESS), nonce).setAAD(head);
  return Buffer.concat([cipher.update(keys), cipher.final(), cipher.getAuthTag()]);
};

export interface SealFileParts {
  readonly header: Header;
  readonly head: Buffer;
  readonly body: Buffer;
}

const damaged = (path: string): RootFault =>
  new RootFault(
    'sealed',
    `the sealing key file ${path} is damaged or not one`,
    'Restore it from its backup; references cannot be opened without it.',
  );

/** Splits and checks the frame; nothing is decrypted yet. */
export const decodeSealFile = (file: Buffer, path: string): SealFileParts => {
  if (file.length < MAGIC.length + 8 + CHECKSUM_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged(path);
  const signed = file.subarray(0, file.length - CHECKSUM_BYTES);
  if (!timingSafeEqual(createHash('sha256').update(signed).digest(), file.subarray(signed.length))) throw damaged(path);
  const headerEnd = MAGIC.length + 4 + file.readUInt32BE(MAGIC.length);
  if (headerEnd + 4 > signed.length || headerEnd + 4 + file.readUInt32BE(headerEnd) !== signed.length) throw damaged(path);
  const header = parseHeader(file.subarray(MAGIC.length + 4, headerEnd), path);
  return { header, head: Buffer.from(file.subarray(0, headerEnd)), body: signed.subarray(headerEnd + 4) };
};

const isCount = (value: unknown, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= max;

const parseHeader = (bytes: Buffer, path: string): Header => {
  let header: Header;
  try {
    header = JSON.parse(bytes.toString('utf8')) as Header;
  } catch {
    throw damaged(path);
  }
  const { format, fingerprint, generations, protection } = header;
  if (format !== 1)
    throw new RootFault(
      'sealed',
      `the sealing key file ${path} has a format this version does not know`,
      'Upgrade Aegis, or restore the file that belongs to this version.',
    );
  if (!/^[0-9a-f]{32}$/.test(fingerprint) || !Array.isArray(generations) || !isCount(generations.length, MAX_GENERATIONS))
    throw damaged(path);
  generations.forEach((line, index) => {
    if (!isCount(line.generation, 0xffff_ffff) || !isCount(line.createdAt, Number.MAX_SAFE_INTEGER)) throw damaged(path);
    if (index > 0 && line.generation <= (generations[index - 1]?.generation ?? 0)) throw damaged(path);
  });
  if (protection === 'passphrase') checkScrypt(header, path);
  else if (protection === 'wrapped') checkWrapped(header, path);
  else if (protection !== 'none') throw damaged(path);
  return header;
};

const MAX_WRAPPED_HEX = 32_768;
const MAX_KEY_NAME_CHARACTERS = 2_048;

const checkWrapped = ({ wrapped, nonce }: Header, path: string): void => {
  const isText = (value: unknown): value is string =>
    typeof value === 'string' && value.length > 0 && value.length <= MAX_KEY_NAME_CHARACTERS;
  const sound =
    wrapped !== undefined &&
    isText(wrapped.provider) &&
    isText(wrapped.key) &&
    (wrapped.version === undefined || isText(wrapped.version)) &&
    typeof wrapped.blob === 'string' &&
    wrapped.blob.length <= MAX_WRAPPED_HEX &&
    /^([0-9a-f]{2})+$/.test(wrapped.blob) &&
    /^[0-9a-f]{24}$/.test(nonce ?? '');
  if (!sound) throw damaged(path);
};

const checkScrypt = ({ scrypt: kdf, nonce }: Header, path: string): void => {
  const sound =
    kdf !== undefined &&
    isCount(kdf.N, SCRYPT_BOUNDS.N) &&
    isCount(kdf.r, SCRYPT_BOUNDS.r) &&
    isCount(kdf.p, SCRYPT_BOUNDS.p) &&
    /^([0-9a-f]{2}){16,64}$/.test(kdf.salt) &&
    /^[0-9a-f]{24}$/.test(nonce ?? '');
  if (!sound) throw damaged(path);
};

export const scryptOf = (parts: SealFileParts): ScryptParameters | undefined =>
  parts.header.scrypt === undefined ? undefined : { ...parts.header.scrypt, salt: Buffer.from(parts.header.scrypt.salt, 'hex') };

/** Opens the body; a wrong passphrase answers `sealed`. */
export const openSealFile = (parts: SealFileParts, protection: BodyProtection, path: string): SealContent => {
  const keys = protection.kind === 'none' ? Buffer.from(parts.body) : decryptBody(parts, protection, path);
  try {
    if (keys.length !== parts.header.generations.length * SEALING_KEY_BYTES) throw damaged(path);
    return {
      fingerprint: Buffer.from(parts.header.fingerprint, 'hex'),
      generations: parts.header.generations.map((line, index) => ({
        ...line,
        key: Secret.take(keys.subarray(index * SEALING_KEY_BYTES, (index + 1) * SEALING_KEY_BYTES)),
      })),
    };
  } finally {
    keys.fill(0);
  }
};

const decryptBody = (parts: SealFileParts, protection: Exclude<BodyProtection, { kind: 'none' }>, path: string): Buffer => {
  const { kek } = protection;
  const sealed = parts.body.subarray(0, -TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', kek.bytes(SECRET_ACCESS), Buffer.from(parts.header.nonce ?? '', 'hex'), {
    authTagLength: TAG_BYTES,
  });
  try {
    decipher.setAAD(parts.head).setAuthTag(parts.body.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(sealed), decipher.final()]);
  } catch {
    if (protection.kind === 'wrapped')
      throw new RootFault(
        'sealed',
        `the key that ${protection.wrapped.provider} unwrapped does not open the sealing keys in ${path}`,
        'Restore the file from its backup, or point the root at the key that sealed it.',
      );
    throw new RootFault(
      'sealed',
      `the passphrase does not open the sealing keys in ${path}`,
      'Give the passphrase that was set when the file was created, and start again.',
    );
  }
};
