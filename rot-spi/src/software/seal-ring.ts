import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SoftwareRootConfig } from '../config.js';
import { RootFault } from '../fault.js';
import { Secret } from '../secret.js';
import { SECRET_ACCESS } from '../secret-access.js';
import { readSecretSource } from '../secret-source.js';
import {
  type BodyProtection,
  decodeSealFile,
  deriveKek,
  encodeSealFile,
  FINGERPRINT_BYTES,
  type Generation,
  newScryptParameters,
  openSealFile,
  type ScryptParameters,
  SEALING_KEY_BYTES,
  type SealContent,
  type SealFileParts,
  scryptOf,
  type WrappedKek,
} from './seal-file.js';
import { createFile, fileStamp, readOwnerOnlyFile, replaceFile, withFileLock } from './seal-store.js';

/** Something outside that wraps the key-encryption key of a seal file: a key in a cloud KMS. */
export interface KekWrapper {
  /** Name of the provider, as written into the file. */
  readonly provider: string;
  /** `context` (the root's fingerprint) is bound to the result: additional data or encryption context. */
  readonly wrap: (kek: Uint8Array, context: Uint8Array) => Promise<WrappedKek>;
  /** Answers the 32 bytes; the caller zeroes them. Throws RootFault with the provider's refusal. */
  readonly unwrap: (wrapped: WrappedKek, context: Uint8Array) => Promise<Buffer>;
  /** Whether the wrapping key has been rotated since `wrapped` was made. */
  readonly isStale: (wrapped: WrappedKek) => Promise<boolean>;
}

type SealConfig =
  | Exclude<SoftwareRootConfig['seal'], { kind: 'pkcs11' }>
  | { readonly kind: 'wrapped'; readonly path: string; readonly create?: boolean; readonly wrapper: KekWrapper };

/** The sealing keys of one root, oldest to newest, as the file on disk has them. */
export interface SealRing {
  /** Stable over rotation: 16 random bytes chosen when the file was made. */
  readonly fingerprint: Buffer;
  readonly generation: () => number;
  /** Key for one token. Undefined for a generation that the file does not have either (another host may have rotated). */
  readonly tokenKey: (generation: number, salt: Uint8Array) => Buffer | undefined;
  /** Adds a generation; older ones stay for the references made under them. */
  readonly rotate: () => number;
  /** Throws RootFault `sealed` when the file is gone, open to others, or another root's. */
  readonly check: () => void;
  /** Asks the provider once more whether it still unwraps, and wraps anew after a rotation there. Nothing for other seals. */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

const TOKEN_KEY_LABEL = Buffer.from('aegis software root: reference key v1\0', 'latin1');

/**
 * A key per token (SP 800-108 r1 §4.1, one block: HMAC-SHA-256 over label, fingerprint, generation and a 128-bit random
 * salt), so the 2^32 bound on random GCM nonces under one key (SP 800-38D §8.3) is never near.
 */
const deriveTokenKey = (sealingKey: Secret, fingerprint: Buffer, generation: number, salt: Uint8Array): Buffer => {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(generation);
  return createHmac('sha256', sealingKey.bytes(SECRET_ACCESS))
    .update(TOKEN_KEY_LABEL)
    .update(fingerprint)
    .update(number)
    .update(salt)
    .digest();
};

const newGeneration = (generation: number): Generation => ({
  generation,
  createdAt: Date.now(),
  key: Secret.own(randomBytes(SEALING_KEY_BYTES)),
});

const zeroise = (content: SealContent): void => {
  for (const { key } of content.generations) key.zeroise();
};

const writeNew = async (seal: SealConfig, passphrase: Secret | undefined): Promise<void> => {
  const content: SealContent = { fingerprint: randomBytes(FINGERPRINT_BYTES), generations: [newGeneration(1)] };
  const protection =
    seal.kind === 'wrapped' ? await wrapNewKek(seal.wrapper, content.fingerprint) : await toProtection(passphrase, newScryptParameters());
  const bytes = encodeSealFile(content, protection);
  zeroise(content);
  if (protection.kind !== 'none') protection.kek.zeroise();
  createFile(seal.path, bytes);
  bytes.fill(0);
};

const wrapNewKek = async (wrapper: KekWrapper, fingerprint: Buffer): Promise<BodyProtection> => {
  const kek = randomBytes(SEALING_KEY_BYTES);
  return { kind: 'wrapped', wrapped: await wrapper.wrap(kek, fingerprint), kek: Secret.own(kek) };
};

const toProtection = async (passphrase: Secret | undefined, parameters: ScryptParameters | undefined): Promise<BodyProtection> =>
  passphrase === undefined || parameters === undefined
    ? { kind: 'none' }
    : { kind: 'passphrase', kek: await deriveKek(passphrase, parameters), scrypt: parameters };

const EXPECTED: Readonly<Record<SealConfig['kind'], BodyProtection['kind']>> = {
  'key-file': 'none',
  passphrase: 'passphrase',
  wrapped: 'wrapped',
};

/** The key that opens the body, from wherever this kind of seal has it. */
const openProtection = async (seal: SealConfig, parts: SealFileParts, passphrase: Secret | undefined): Promise<BodyProtection> => {
  if (parts.header.protection !== EXPECTED[seal.kind]) throw wrongKind(seal, parts.header.protection);
  const { wrapped, fingerprint } = parts.header;
  if (seal.kind !== 'wrapped' || wrapped === undefined) return toProtection(passphrase, scryptOf(parts));
  const kek = await seal.wrapper.unwrap(wrapped, Buffer.from(fingerprint, 'hex'));
  if (kek.length !== SEALING_KEY_BYTES) {
    kek.fill(0);
    throw new RootFault(
      'sealed',
      `${seal.wrapper.provider} unwrapped something else than a key for ${seal.path}`,
      'Check the wrapping key.',
    );
  }
  return { kind: 'wrapped', wrapped, kek: Secret.own(kek) };
};

const absent = (path: string): RootFault =>
  new RootFault('sealed', `there is no sealing key file ${path}`, 'Restore it from its backup, or for a new root set seal.create to true.');

const PROTECTED_BY: Readonly<Record<BodyProtection['kind'], string>> = {
  none: 'nothing but its file mode',
  passphrase: 'a passphrase',
  wrapped: 'a key of a cloud provider or an HSM',
};

const wrongKind = (seal: SealConfig, found: BodyProtection['kind']): RootFault =>
  new RootFault(
    'sealed',
    `${seal.path} is protected by ${PROTECTED_BY[found]}, not by ${PROTECTED_BY[EXPECTED[seal.kind]]}`,
    'Configure the kind of seal that the file was made with, or restore the file of this seal.',
  );

const load = async (seal: SealConfig): Promise<{ content: SealContent; protection: BodyProtection; stamp: string | undefined }> => {
  const passphrase = seal.kind === 'passphrase' ? await readSecretSource(seal.passphrase) : undefined;
  try {
    let stamp = fileStamp(seal.path);
    if (stamp === undefined && readOwnerOnlyFile(seal.path) === undefined) {
      if (!seal.create) throw absent(seal.path);
      await writeNew(seal, passphrase);
      stamp = fileStamp(seal.path);
    }
    const file = readOwnerOnlyFile(seal.path);
    if (file === undefined) throw absent(seal.path);
    try {
      const parts = decodeSealFile(file, seal.path);
      const protection = await openProtection(seal, parts, passphrase);
      return { content: openSealFile(parts, protection, seal.path), protection, stamp };
    } finally {
      file.fill(0);
    }
  } finally {
    passphrase?.zeroise();
  }
};

/** Reads the file again under the key-encryption key at hand. */
const reread = (seal: SealConfig, protection: BodyProtection, fingerprint: Buffer): SealContent =>
  rereadParts(seal, protection, fingerprint).content;

const rereadParts = (
  seal: SealConfig,
  protection: BodyProtection,
  fingerprint: Buffer,
): { readonly content: SealContent; readonly wrapped: WrappedKek | undefined } => {
  const file = readOwnerOnlyFile(seal.path);
  if (file === undefined) throw absent(seal.path);
  try {
    const parts = decodeSealFile(file, seal.path);
    if (parts.header.protection !== protection.kind) throw wrongKind(seal, parts.header.protection);
    if (parts.header.fingerprint !== fingerprint.toString('hex'))
      throw new RootFault('sealed', `${seal.path} now belongs to another root`, 'Put the sealing key file of this root back.');
    if (protection.kind === 'passphrase' && !scryptOf(parts)?.salt.equals(protection.scrypt.salt))
      throw new RootFault('sealed', `the passphrase of ${seal.path} was changed`, 'Restart the root with the new passphrase.');
    return { content: openSealFile(parts, protection, seal.path), wrapped: parts.header.wrapped };
  } finally {
    file.fill(0);
  }
};

/** The file as it is, its key-encryption key wrapped anew. */
const writeWrapped = (seal: SealConfig, protection: BodyProtection & { kind: 'wrapped' }, fingerprint: Buffer): void =>
  withFileLock(seal.path, () => {
    const content = reread(seal, protection, fingerprint);
    const bytes = encodeSealFile(content, protection);
    try {
      replaceFile(seal.path, bytes);
    } finally {
      bytes.fill(0);
      zeroise(content);
    }
  });

const dropSame = (have: Secret, again: Secret, path: string): void => {
  const same = timingSafeEqual(have.bytes(SECRET_ACCESS), again.bytes(SECRET_ACCESS));
  again.zeroise();
  if (!same)
    throw new RootFault(
      'sealed',
      `${path} has another key under a generation that is in use`,
      'Two copies of the file were rotated apart; restore the newest one.',
    );
};

/** Opens (or, when configured, creates) the sealing keys. Throws RootFault `sealed` with the next step. */
export const openSealRing = async (seal: SealConfig): Promise<SealRing> => {
  const { content: first, protection: opened, stamp: firstStamp } = await load(seal);
  let protection = opened;
  const { fingerprint } = first;
  let stamp = firstStamp;
  let newest = 0;
  const known = new Map<number, Generation>();
  /** Only ever adds: a file put back from an older backup must not take newer generations out of use. */
  const adopt = (content: SealContent): void => {
    for (const line of content.generations) {
      const have = known.get(line.generation);
      if (have === undefined) known.set(line.generation, line);
      else if (have.key !== line.key) dropSame(have.key, line.key, seal.path);
      newest = Math.max(newest, line.generation);
    }
  };
  adopt(first);
  const reload = (): void => {
    const now = fileStamp(seal.path);
    if (now === undefined || now === stamp) return;
    adopt(reread(seal, protection, fingerprint));
    stamp = now;
  };
  return {
    fingerprint,
    generation: () => newest,
    tokenKey: (generation, salt) => {
      if (!known.has(generation)) reload();
      const line = known.get(generation);
      return line === undefined ? undefined : deriveTokenKey(line.key, fingerprint, generation, salt);
    },
    rotate: () =>
      withFileLock(seal.path, () => {
        const { content, wrapped } = rereadParts(seal, protection, fingerprint);
        adopt(content);
        // Another host may have had the key-encryption key wrapped anew.
        if (protection.kind === 'wrapped' && wrapped !== undefined) protection = { ...protection, wrapped };
        const added = newGeneration(newest + 1);
        const kept = [...known.values()].sort((a, b) => a.generation - b.generation);
        const bytes = encodeSealFile({ fingerprint, generations: [...kept, added] }, protection);
        try {
          replaceFile(seal.path, bytes);
        } finally {
          bytes.fill(0);
        }
        adopt({ fingerprint, generations: [added] });
        stamp = fileStamp(seal.path);
        return newest;
      }),
    check: () => zeroise(reread(seal, protection, fingerprint)),
    refresh: async () => {
      if (seal.kind !== 'wrapped' || protection.kind !== 'wrapped') return;
      const { content, wrapped } = rereadParts(seal, protection, fingerprint);
      zeroise(content);
      const current = wrapped ?? protection.wrapped;
      dropSame(protection.kek, Secret.own(await seal.wrapper.unwrap(current, fingerprint)), `${seal.path} (key-encryption key)`);
      if (!(await seal.wrapper.isStale(current))) return;
      const anew = await seal.wrapper.wrap(protection.kek.bytes(SECRET_ACCESS), fingerprint);
      protection = { ...protection, wrapped: anew };
      writeWrapped(seal, protection, fingerprint);
      stamp = fileStamp(seal.path);
    },
    close: () => {
      for (const { key } of known.values()) key.zeroise();
      known.clear();
      if (protection.kind !== 'none') protection.kek.zeroise();
    },
  };
};
