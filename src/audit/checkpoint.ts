import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { AuditCheckpoint } from '../domain/index.js';
import { canonicalJson } from './canonical.js';
import { type ChainHead, HASH_HEX } from './chain.js';

/** What the root of trust gives for the log's signing key: key id, algorithm of the vocabulary, DER signature, SPKI DER. */
interface CheckpointSignature {
  readonly keyId: string;
  readonly algorithm: string;
  readonly signature: Uint8Array;
  readonly publicKey: Uint8Array;
}
export type SignCheckpoint = (data: Uint8Array) => Promise<CheckpointSignature>;

export interface CheckpointFacts {
  readonly treeSize: number;
  readonly rootHash: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly heads: readonly ChainHead[];
}

/** Algorithms a checkpoint may be signed with: the digest `node:crypto` wants, and the type of key it must be. */
const ALGORITHMS: Readonly<Record<string, { readonly digest: string | null; readonly keyType: string }>> = {
  'ecdsa-sha256': { digest: 'sha256', keyType: 'ec' },
  'ecdsa-sha384': { digest: 'sha384', keyType: 'ec' },
  'ecdsa-sha512': { digest: 'sha512', keyType: 'ec' },
  ed25519: { digest: null, keyType: 'ed25519' },
};
const MAX_KEY_CHANGES = 3;

/** The signed text: RFC 8785 JSON of the checkpoint without `signature`. */
const signedText = (unsigned: Omit<AuditCheckpoint, 'signature'>): Buffer =>
  Buffer.from(
    canonicalJson({
      ...{ treeSize: unsigned.treeSize, rootHash: unsigned.rootHash, at: unsigned.at },
      heads: unsigned.heads.map(({ node, boot, sequence, hash }) => ({ node, boot, sequence, hash })),
      ...{ keyId: unsigned.keyId, algorithm: unsigned.algorithm, publicKey: unsigned.publicKey },
    }),
  );

type KeyFacts = Pick<AuditCheckpoint, 'keyId' | 'algorithm' | 'publicKey'>;
const keyFacts = (signed: CheckpointSignature): KeyFacts => ({
  keyId: signed.keyId,
  algorithm: signed.algorithm,
  publicKey: Buffer.from(signed.publicKey).toString('base64'),
});
const sameKey = (a: KeyFacts, b: KeyFacts): boolean => a.keyId === b.keyId && a.algorithm === b.algorithm && a.publicKey === b.publicKey;

/**
 * Signs a checkpoint. The text names the key that signs it, which only the signer knows: the first call of a process asks
 * with a text that names none (and is no checkpoint), and a key that has changed meanwhile is signed for again.
 */
export const makeCheckpointSigner = (sign: SignCheckpoint): ((facts: CheckpointFacts) => Promise<AuditCheckpoint>) => {
  let known: KeyFacts | undefined;
  return async (facts) => {
    known ??= keyFacts(await sign(Buffer.from(canonicalJson({ purpose: 'aegis-audit-key-check', at: facts.at }))));
    for (let change = 0; change < MAX_KEY_CHANGES; change += 1) {
      const unsigned = { ...facts, ...known };
      const signed = await sign(signedText(unsigned));
      const facts2 = keyFacts(signed);
      if (sameKey(facts2, known)) {
        const checkpoint = { ...unsigned, signature: Buffer.from(signed.signature).toString('base64') };
        const problem = checkpointProblem(checkpoint);
        if (problem !== undefined) throw new Error(`the new checkpoint does not verify: ${problem}`);
        return checkpoint;
      }
      known = facts2;
    }
    throw new Error('the signing key of the audit log changes with every call');
  };
};

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const isName = (value: unknown): value is string => typeof value === 'string' && value.length > 0 && value.length <= 256;
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH_HEX.test(value);
const isHead = (value: unknown): value is ChainHead => {
  const head = value as ChainHead | null;
  return typeof head === 'object' && head !== null && isName(head.node) && isName(head.boot) && isCount(head.sequence) && isHash(head.hash);
};

/** Shape check of what a file claims to be a checkpoint. */
export const isCheckpoint = (value: unknown): value is AuditCheckpoint => {
  const c = value as AuditCheckpoint | null;
  if (typeof c !== 'object' || c === null || !isCount(c.treeSize) || !isHash(c.rootHash) || !isCount(c.at)) return false;
  if (!Array.isArray(c.heads) || !c.heads.every(isHead) || !isName(c.keyId) || !isName(c.algorithm)) return false;
  return [c.signature, c.publicKey].every((text) => typeof text === 'string' && text.length <= 32_768 && BASE64.test(text));
};

const importKey = (base64: string): KeyObject | undefined => {
  try {
    return createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
};

/** Why the signature of a checkpoint is not good, or undefined. The key is the one it names itself: pin it separately. */
export const checkpointProblem = (checkpoint: AuditCheckpoint): string | undefined => {
  const algorithm = Object.hasOwn(ALGORITHMS, checkpoint.algorithm) ? ALGORITHMS[checkpoint.algorithm] : undefined;
  if (algorithm === undefined) return `unknown signature algorithm ${checkpoint.algorithm.slice(0, 40)}`;
  const key = importKey(checkpoint.publicKey);
  if (key === undefined) return 'its public key cannot be read';
  if (key.asymmetricKeyType !== algorithm.keyType) return 'its public key is not of the algorithm it names';
  try {
    const good = verify(algorithm.digest, signedText(checkpoint), key, Buffer.from(checkpoint.signature, 'base64'));
    return good ? undefined : 'its signature does not match';
  } catch {
    return 'its signature does not match';
  }
};

/** SHA-256 of the SubjectPublicKeyInfo, lower-case hex: what an operator keeps and pins. */
export const keyFingerprint = (publicKeyBase64: string): string =>
  createHash('sha256').update(Buffer.from(publicKeyBase64, 'base64')).digest('hex');

/** Fingerprint of a pin given as PEM, base64 SPKI DER or fingerprint itself. Throws TypeError when it is none of them. */
export const pinFingerprint = (pin: string): string => {
  const text = pin.trim();
  const hex = text.replaceAll(':', '').toLowerCase();
  if (HASH_HEX.test(hex)) return hex;
  try {
    const key = text.includes('-----BEGIN') ? createPublicKey(text) : importKey(text);
    if (key !== undefined)
      return createHash('sha256')
        .update(key.export({ format: 'der', type: 'spki' }))
        .digest('hex');
  } catch {
    // Falls through to the one message that helps.
  }
  throw new TypeError('A trusted checkpoint key is a PEM or base64 SubjectPublicKeyInfo, or its SHA-256 fingerprint in hex.');
};
