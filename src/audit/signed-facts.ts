import { randomBytes } from 'node:crypto';
import type { AuditCheckpoint } from '../domain/index.js';
import { checkpointProblem, keyFingerprint } from './checkpoint.js';
import { sha256 } from './hash.js';
import { appendLeaves, EMPTY_TREE, type TreeState, treeRoot } from './merkle.js';

/** What good checkpoints say: which record each chain had at which place, and the roots of the tree at their sizes. */
export interface SignedFacts {
  checkpoint(checkpoint: AuditCheckpoint): void;
  /** Leaves in tree order, `from` = index of the first; all checkpoints must have been given before. */
  leaves(from: number, hashes: readonly string[]): void;
  headAt(chain: string, sequence: number): SignedHead | undefined;
  /** A link of a chain as it was found, for the comparison with the tree. */
  seen(chain: string, sequence: number, hash: string): void;
  /** Every chain that was signed for, with its last signed sequence. */
  lastHeads(): readonly { readonly chain: string; readonly sequence: number; readonly at: number }[];
  /** Compares the tree with the chains, once everything has been fed; only where nothing is left out. */
  checkTree(): void;
  readonly summary: { checkpoints: number; provenTreeSize: number; readonly fingerprints: Set<string> };
}

interface SignedHead {
  readonly hash: string;
  /** `at` of the checkpoint. */
  readonly at: number;
}

export const isoTime = (at: number): string => (Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : String(at));
export const chainKey = (chain: { readonly node: string; readonly boot: string }): string => JSON.stringify([chain.node, chain.boot]);

/**
 * Compares two sets of hashes of any size in constant memory: sums (eight words, each modulo 2^32) of a keyed hash under a
 * key drawn for this run (MSet-VAdd-Hash, Clarke et al. 2003), which nobody can prepare a collision for.
 */
const makeSetBalance = () => {
  const key = randomBytes(32).toString('hex');
  const sums = new Uint32Array(8);
  return {
    add: (hash: string, sign: 1 | -1): void => {
      const term = sha256(Buffer.from(key + hash));
      for (let word = 0; word < 8; word += 1) sums[word] = (sums[word] ?? 0) + sign * term.readUInt32LE(word * 4);
    },
    isEven: (): boolean => sums.every((sum) => sum === 0),
  };
};

const signatureProblem = (signed: AuditCheckpoint, fingerprint: string, pins: readonly string[]): string | undefined => {
  const wrong = checkpointProblem(signed);
  if (wrong !== undefined) return wrong;
  return pins.length === 0 || pins.includes(fingerprint) ? undefined : `signed by a key you do not trust (${fingerprint})`;
};

export const makeSignedFacts = (pins: readonly string[], problem: (text: string) => void): SignedFacts => {
  const heads = new Map<string, Map<number, SignedHead>>();
  const last = new Map<string, number>();
  const roots = new Map<number, string>();
  const balance = makeSetBalance();
  const summary = { checkpoints: 0, provenTreeSize: 0, fingerprints: new Set<string>() };
  let newestSize = 0;
  let tree: TreeState = EMPTY_TREE;

  const addHead = (head: AuditCheckpoint['heads'][number], at: number): void => {
    const key = chainKey(head);
    const known = heads.get(key) ?? new Map<number, SignedHead>();
    heads.set(key, known);
    const other = known.get(head.sequence);
    if (other !== undefined && other.hash !== head.hash)
      problem(`two checkpoints disagree on record ${head.sequence} of node ${head.node} boot ${head.boot}`);
    known.set(head.sequence, { hash: head.hash, at });
    last.set(key, Math.max(last.get(key) ?? 0, head.sequence));
  };

  const checkpoint = (signed: AuditCheckpoint): void => {
    const name = `checkpoint of ${isoTime(signed.at)} over ${signed.treeSize} records`;
    const fingerprint = keyFingerprint(signed.publicKey);
    summary.checkpoints += 1;
    summary.fingerprints.add(fingerprint);
    const wrong = signatureProblem(signed, fingerprint, pins);
    if (wrong !== undefined) {
      problem(`${name}: ${wrong}`);
      return;
    }
    const other = roots.get(signed.treeSize);
    if (other !== undefined && other !== signed.rootHash) problem(`${name}: another checkpoint of this size has another root`);
    roots.set(signed.treeSize, signed.rootHash);
    newestSize = Math.max(newestSize, signed.treeSize);
    for (const head of signed.heads) addHead(head, signed.at);
  };

  const checkRoot = (size: number): void => {
    const root = roots.get(size);
    if (root === undefined) return;
    if (treeRoot(tree) === root) summary.provenTreeSize = size;
    else problem(`the first ${size} leaves do not give the root that the checkpoint over ${size} records was signed for`);
  };

  const leaves = (from: number, hashes: readonly string[]): void => {
    if (from !== tree.size) {
      problem(`the leaves of the tree from ${tree.size} on are missing or out of order`);
      return;
    }
    const end = from + hashes.length;
    const stops = [...roots.keys()].filter((size) => size > from && size < end).sort((a, b) => a - b);
    for (const stop of [...stops, end]) {
      const part = hashes.slice(tree.size - from, stop - from).map((hash) => Buffer.from(hash, 'hex'));
      tree = appendLeaves(tree, part);
      checkRoot(stop);
    }
    for (const hash of hashes) balance.add(hash, 1);
  };

  const checkTree = (): void => {
    const inChains = [...last.values()].reduce((sum, sequence) => sum + sequence, 0);
    if (tree.size !== newestSize) problem(`the tree has ${tree.size} leaves here, the newest checkpoint was signed for ${newestSize}`);
    else if (inChains !== newestSize)
      problem(`the chain heads that were signed add up to ${inChains} records, the newest checkpoint was signed for ${newestSize}`);
    else if (!balance.isEven()) problem('the records are not the ones in the tree that was signed');
  };

  return {
    ...{ checkpoint, leaves, checkTree, summary },
    headAt: (chain, sequence) => heads.get(chain)?.get(sequence),
    seen: (chain, sequence, hash) => {
      if (sequence <= (last.get(chain) ?? 0)) balance.add(hash, -1);
    },
    lastHeads: () => [...last].map(([chain, sequence]) => ({ chain, sequence, at: heads.get(chain)?.get(sequence)?.at ?? 0 })),
  };
};
