import { createHash } from 'node:crypto';
import type { AuditCheckpoint, AuditFilter, ChainLink } from '../domain/index.js';
import { canonicalJson } from './canonical.js';

/**
 * An export is lines of RFC 8785 JSON, in this order:
 *   {"complete":…,"exportedAt":…,"filter":…,"format":"aegis-audit","tenant":…,"version":1}
 *   {"checkpoint":…}                                       signed tree heads
 *   {"leaves":{"from":…,"hashes":[…]}}                     the tree's leaves, only in a complete export
 *   {"chain":…,"record":…}                                 records, by node, boot and sequence
 *   {"omitted":{"boot":…,"from":…,"hashes":[…],"node":…}}  hashes of records that are not shown (another tenant's, filtered)
 *   {"omitted":{"boot":…,"from":…,"node":…,"to":…}}        the same without hashes
 *   {"trailer":{"checkpoints":…,"lines":…,"omitted":…,"records":…,"sha256":…}}
 * `complete`: every link of every chain is there, shown or as a hash. `sha256` is over all lines before, each with its LF;
 * it finds accidents. What finds an attacker is the chains, the tree and the signatures.
 */
export const EXPORT_FORMAT = 'aegis-audit';
export const EXPORT_VERSION = 1;

export interface ExportHeader {
  readonly format: typeof EXPORT_FORMAT;
  readonly version: number;
  readonly tenant: string;
  readonly filter: AuditFilter;
  readonly complete: boolean;
  /** Milliseconds since the epoch. */
  readonly exportedAt: number;
}

export interface Omitted {
  readonly node: string;
  readonly boot: string;
  /** Sequence of the first one left out. */
  readonly from: number;
  /** Chain hashes, one per record … */
  readonly hashes?: readonly string[];
  /** … or the last sequence left out, where the hashes are not known. */
  readonly to?: number;
}

export interface ExportTrailer {
  readonly records: number;
  readonly omitted: number;
  readonly checkpoints: number;
  /** Lines before the trailer. */
  readonly lines: number;
  readonly sha256: string;
}

/** One record line without serialising the record again: `chain` sorts before `record`. */
export const recordLine = (chain: ChainLink, canonical: string): string => `{"chain":${canonicalJson(chain)},"record":${canonical}}`;
export const checkpointLine = (checkpoint: AuditCheckpoint): string => canonicalJson({ checkpoint });
export const leavesLine = (from: number, hashes: readonly string[]): string => canonicalJson({ leaves: { from, hashes } });
export const omittedLine = (omitted: Omitted): string => canonicalJson({ omitted });
export const headerLine = (header: ExportHeader): string => canonicalJson(header);

/** Counts and hashes lines as they pass. */
export const makeLineDigest = () => {
  const digest = createHash('sha256');
  let lines = 0;
  return {
    add: (line: string): string => {
      digest.update(line).update('\n');
      lines += 1;
      return line;
    },
    trailer: (counts: Pick<ExportTrailer, 'records' | 'omitted' | 'checkpoints'>): ExportTrailer => ({
      records: counts.records,
      omitted: counts.omitted,
      checkpoints: counts.checkpoints,
      lines,
      sha256: digest.copy().digest('hex'),
    }),
  };
};
