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
  scryptOf,
} from './seal-file.js';
import { createFile, fileStamp, readOwnerOnlyFile, replaceFile, withFileLock } from './seal-store.js';

type SealConfig = SoftwareRootConfig['seal'];

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
  const bytes = encodeSealFile(content, await toProtection(passphrase, newScryptParameters()));
  zeroise(content);
  createFile(seal.path, bytes);
  bytes.fill(0);
};

const toProtection = async (passphrase: Secret | undefined, parameters: ScryptParameters | undefined): Promise<BodyProtection> =>
  passphrase === undefined || parameters === undefined
    ? { kind: 'none' }
    : { kind: 'passphrase', kek: await deriveKek(passphrase, parameters), scrypt: parameters };

const absent = (path: string): RootFault =>
  new RootFault('sealed', `there is no sealing key file ${path}`, 'Restore it from its backup, or for a new root set seal.create to true.');

const wrongKind = (seal: SealConfig): RootFault =>
  seal.kind === 'passphrase'
    ? new RootFault(
        'sealed',
        `${seal.path} is not protected by a passphrase`,
        'Set seal.kind to key-file, or use the file made with the passphrase.',
      )
    : new RootFault(
        'sealed',
        `${seal.path} is protected by a passphrase`,
        'Set seal.kind to passphrase and say where the passphrase comes from.',
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
      if ((parts.header.protection === 'passphrase') !== (passphrase !== undefined)) throw wrongKind(seal);
      const protection = await toProtection(passphrase, scryptOf(parts));
      return { content: openSealFile(parts, protection, seal.path), protection, stamp };
    } finally {
      file.fill(0);
    }
  } finally {
    passphrase?.zeroise();
  }
};

/** Reads the file again under the key-encryption key at hand. */
const reread = (seal: SealConfig, protection: BodyProtection, fingerprint: Buffer): SealContent => {
  const file = readOwnerOnlyFile(seal.path);
  if (file === undefined) throw absent(seal.path);
  try {
    const parts = decodeSealFile(file, seal.path);
    if (parts.header.protection !== protection.kind) throw wrongKind(seal);
    if (parts.header.fingerprint !== fingerprint.toString('hex'))
      throw new RootFault('sealed', `${seal.path} now belongs to another root`, 'Put the sealing key file of this root back.');
    if (protection.kind === 'passphrase' && !scryptOf(parts)?.salt.equals(protection.scrypt.salt))
      throw new RootFault('sealed', `the passphrase of ${seal.path} was changed`, 'Restart the root with the new passphrase.');
    return openSealFile(parts, protection, seal.path);
  } finally {
    file.fill(0);
  }
};

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
  const { content: first, protection, stamp: firstStamp } = await load(seal);
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
        adopt(reread(seal, protection, fingerprint));
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
    close: () => {
      for (const { key } of known.values()) key.zeroise();
      known.clear();
      if (protection.kind === 'passphrase') protection.kek.zeroise();
    },
  };
};
