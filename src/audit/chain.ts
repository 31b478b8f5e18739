import type { AuditRecord, ChainLink } from '../domain/index.js';
import type { ChainedRecord } from '../storage/ports.js';
import { canonicalRecord } from './canonical.js';
import { sha256Hex } from './hash.js';

/** Where a chain stands: the last link, or the genesis value with sequence 0. */
export interface ChainHead {
  readonly node: string;
  readonly boot: string;
  readonly sequence: number;
  readonly hash: string;
}

export const HASH_HEX = /^[0-9a-f]{64}$/;

/** SHA-256(previous ‖ canonical): the previous hash as its 64 hex characters, the record as UTF-8. */
export const chainHash = (previous: string, canonical: string): string => sha256Hex(previous + canonical);

/** Binds a chain to its node and boot, so that one chain can't be presented as another. */
export const genesisHash = (node: string, boot: string): string => sha256Hex(`aegis-audit-chain:${node}:${boot}`);

export const genesis = (node: string, boot: string): ChainHead => ({ node, boot, sequence: 0, hash: genesisHash(node, boot) });

/** The next link after `head`; `canonical` is the record's canonical text where the caller has it already. */
export const linkRecord = (head: ChainHead, record: AuditRecord, canonical = canonicalRecord(record)): ChainedRecord => {
  const chain: ChainLink = {
    node: head.node,
    boot: head.boot,
    sequence: head.sequence + 1,
    previous: head.hash,
    hash: chainHash(head.hash, canonical),
  };
  return { record, chain, canonical };
};
