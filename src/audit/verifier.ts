import type { AuditCheckpoint, AuditRecord, AuditVerification, ChainLink } from '../domain/index.js';
import { canonicalRecord } from './canonical.js';
import { chainHash, genesisHash } from './chain.js';
import { chainKey, isoTime, makeSignedFacts } from './signed-facts.js';

/**
 * The checks themselves, for a file and for the database alike. It is fed in order: checkpoints, leaves in tree order, then
 * the records of each chain by sequence; memory grows with the number of chains and checkpoints, not of records.
 */
export interface Verifier {
  checkpoint(checkpoint: AuditCheckpoint): void;
  leaves(from: number, hashes: readonly string[]): void;
  /** `counted`: whether the record is part of what was asked for (own tenant); all are checked alike. */
  record(record: AuditRecord, chain: ChainLink, counted?: boolean, canonical?: string): void;
  /** Links whose records are left out; their hashes are proven by the tree and the signed heads only. */
  omitted(chain: ChainName, from: number, hashes: readonly string[]): void;
  /** Links left out without hashes. */
  gap(chain: ChainName, from: number, to: number): void;
  /** A finding of the caller that belongs to no record. */
  problem(text: string): void;
  /** A finding about the record after the last one read: what an unreadable line must have been. */
  badNext(reason: string): void;
  /** A finding about the last record read. */
  badLast(reason: string): void;
  finish(): AuditVerification;
}

export interface VerifierOptions {
  /** Every link of every chain is there from the first; otherwise segments are checked and missing ends only noted. */
  readonly complete: boolean;
  /** SHA-256 fingerprints of the checkpoint keys to trust; empty: any key, and a note says so. */
  readonly pins: readonly string[];
}

interface ChainName {
  readonly node: string;
  readonly boot: string;
}
interface Position extends ChainName {
  readonly sequence: number;
}
interface Link extends Position {
  readonly hash: string;
  readonly previous?: string;
}
interface ChainState {
  readonly sequence: number;
  /** Absent after links without hashes. */
  readonly hash: string | undefined;
  /** Last sequence at which a signed head was met. */
  readonly anchored: number;
}

const MAX_PROBLEMS = 100;

const makeFindings = () => {
  const problems: string[] = [];
  const findings: { firstBad?: NonNullable<AuditVerification['firstBad']> } = {};
  const problem = (text: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push(text);
    else if (problems.length === MAX_PROBLEMS) problems.push('… and more');
  };
  const bad = ({ node, boot, sequence }: Position, reason: string): void => {
    findings.firstBad ??= { node, boot, sequence, reason };
    problem(`node ${node} boot ${boot} record ${sequence}: ${reason}`);
  };
  return { problems, findings, problem, bad };
};

const missingReason = (from: number, before: number): string =>
  before - from === 1 ? 'it is missing' : `it and the records up to ${before - 1} are missing`;

export const makeVerifier = (options: VerifierOptions): Verifier => {
  const { problems, findings, problem, bad } = makeFindings();
  const signed = makeSignedFacts(options.pins, problem);
  const chains = new Map<string, ChainState>();
  const count = { records: 0, omitted: 0, unknown: 0 };
  let at: Position = { node: '', boot: '', sequence: 0 };

  const checkPlace = (link: Link, before: ChainState | undefined): void => {
    const expected = before === undefined ? (options.complete ? 1 : link.sequence) : before.sequence + 1;
    if (link.sequence > expected) bad({ ...link, sequence: expected }, missingReason(expected, link.sequence));
    else if (link.previous !== undefined) {
      const should = link.sequence === 1 ? genesisHash(link.node, link.boot) : before?.hash;
      if (should !== undefined && should !== link.previous)
        bad(link, 'it does not continue the record before it: one of the two was replaced or removed');
    }
  };

  /** Advances a chain by one link and checks its place; false for one that was there already. */
  const advance = (link: Link): boolean => {
    const key = chainKey(link);
    const before = chains.get(key);
    at = link;
    if (before !== undefined && link.sequence <= before.sequence) {
      bad(link, `it is there twice or out of order (after record ${before.sequence})`);
      return false;
    }
    checkPlace(link, before);
    const head = signed.headAt(key, link.sequence);
    if (head !== undefined && head.hash !== link.hash)
      bad(link, `it is not the record that the checkpoint of ${isoTime(head.at)} was signed for`);
    signed.seen(key, link.sequence, link.hash);
    chains.set(key, {
      sequence: link.sequence,
      hash: link.hash,
      anchored: head === undefined ? (before?.anchored ?? 0) : link.sequence,
    });
    return true;
  };

  const checkContent = (found: AuditRecord, chain: ChainLink, canonical: string | undefined): void => {
    let text = canonical;
    try {
      text ??= canonicalRecord(found);
    } catch {
      bad(chain, 'its content has no canonical form');
      return;
    }
    if (chainHash(chain.previous, text) !== chain.hash) bad(chain, 'its content does not match its hash: it was changed');
    else if (found.node !== chain.node) bad(chain, 'it names another node than its chain');
  };

  /** What should be there and is not, where everything should be. */
  const checkEnds = (): void => {
    for (const head of signed.lastHeads()) {
      const have = chains.get(head.chain)?.sequence ?? 0;
      if (have >= head.sequence) continue;
      const [node, boot] = JSON.parse(head.chain) as [string, string];
      const position = { node, boot, sequence: have + 1 };
      bad(position, `it is missing: the checkpoint of ${isoTime(head.at)} was signed for ${head.sequence} records of this chain`);
    }
  };

  const gap = (chain: ChainName, from: number, to: number): void => {
    const key = chainKey(chain);
    const before = chains.get(key);
    count.unknown += to - from + 1;
    if (options.complete) bad({ ...chain, sequence: from }, 'its hash is left out of an export that says it is complete');
    else if (before !== undefined && from !== before.sequence + 1)
      bad({ ...chain, sequence: before.sequence + 1 }, 'it is missing, or the gap after it is stated wrongly');
    at = { ...chain, sequence: to };
    chains.set(key, { sequence: to, hash: undefined, anchored: before?.anchored ?? 0 });
  };

  const makeNotes = (): readonly string[] => {
    const { checkpoints, fingerprints } = signed.summary;
    const uncovered = [...chains.values()].reduce((sum, chain) => sum + chain.sequence - chain.anchored, 0);
    const notes: (string | false)[] = [
      checkpoints === 0 && 'no checkpoint: only the chains are checked, and whoever can rewrite the whole log can recompute those',
      checkpoints > 0 &&
        options.pins.length === 0 &&
        `the key of the checkpoints is the one they name themselves; compare its fingerprint with the one you keep: ${[...fingerprints].join(', ')}`,
      options.complete && checkpoints > 0 && uncovered > 0 && `${uncovered} newest record(s) are not under a checkpoint yet`,
      !options.complete && 'this is a part of the log: the ends of its chains and the tree are not checked',
      count.omitted > 0 && `${count.omitted} record(s) are left out; their place is checked by hash, their content is not`,
      count.unknown > 0 && `${count.unknown} record(s) in between are left out without their hashes and are not checked at all`,
    ];
    return notes.filter((note) => note !== false);
  };

  return {
    ...{ checkpoint: signed.checkpoint, leaves: signed.leaves, problem, gap },
    badLast: (reason) => bad(at, reason),
    badNext: (reason) => bad({ ...at, sequence: at.sequence + 1 }, reason),
    record: (found, chain, counted = true, canonical = undefined) => {
      if (counted) count.records += 1;
      if (advance(chain)) checkContent(found, chain, canonical);
    },
    omitted: (chain, from, hashes) => {
      count.omitted += hashes.length;
      for (const [index, hash] of hashes.entries()) advance({ node: chain.node, boot: chain.boot, sequence: from + index, hash });
    },
    finish: () => {
      if (options.complete) {
        checkEnds();
        signed.checkTree();
      }
      const { checkpoints, provenTreeSize, fingerprints } = signed.summary;
      return {
        ...{ valid: problems.length === 0, records: count.records, chains: chains.size, checkpoints },
        ...findings,
        ...{ problems, notes: makeNotes(), omitted: count.omitted, keyFingerprints: [...fingerprints] },
        ...(options.complete && provenTreeSize > 0 ? { provenTreeSize } : {}),
      };
    },
  };
};
