import type { FaultCode } from './fault.js';

/** `intent` is written before an effect outside the database; every call ends in exactly one of the others. */
export type AuditOutcome = 'intent' | 'success' | 'refused' | 'failed';

/** What happened, without secrets and payloads. `detail` values are allow-listed by name per operation. */
export interface AuditRecord {
  /** UUID v7-like, unique, time-ordered. */
  readonly id: string;
  readonly tenant: string;
  /** Milliseconds since the epoch, of the node. */
  readonly at: number;
  readonly node: string;
  readonly plane: string;
  readonly requestId: string;
  readonly actor: {
    readonly kind: string;
    readonly id: string;
    readonly name: string;
    readonly parentId?: string;
    readonly method: string;
    readonly credentialId?: string;
  };
  readonly operation: string;
  readonly action: string;
  readonly resource?: { readonly type: string; readonly id: string; readonly name?: string };
  readonly outcome: AuditOutcome;
  readonly fault?: FaultCode;
  /** `document/statement` that decided. */
  readonly statement?: string;
  readonly risk?: { readonly score: number; readonly reasons: readonly string[] };
  readonly source?: string;
  readonly durationUs?: number;
  readonly detail?: Readonly<Record<string, string | number | boolean | null>>;
  /** Place in the chain; present on stored records. */
  readonly chain?: ChainLink;
}

/**
 * Hashes are SHA-256, lower-case hex: hash = SHA-256(previous ‖ RFC 8785 JSON of the record without `chain`), where previous
 * is its 64 hex characters; before the first record it is SHA-256("aegis-audit-chain:" ‖ node ‖ ":" ‖ boot).
 */
export interface ChainLink {
  readonly node: string;
  readonly boot: string;
  /** From 1 within (node, boot), without gaps. */
  readonly sequence: number;
  readonly previous: string;
  readonly hash: string;
}

export interface AuditFilter {
  readonly actor?: string;
  readonly parent?: string;
  readonly action?: string;
  readonly operation?: string;
  readonly resource?: string;
  readonly outcome?: AuditOutcome;
  readonly since?: number;
  readonly until?: number;
  readonly requestId?: string;
  readonly plane?: string;
}

/** Signed tree head over all folded records (RFC 6962 §2.1) naming each chain's head. */
export interface AuditCheckpoint {
  readonly treeSize: number;
  readonly rootHash: string;
  readonly at: number;
  readonly heads: readonly { readonly node: string; readonly boot: string; readonly sequence: number; readonly hash: string }[];
  readonly keyId: string;
  readonly algorithm: string;
  /** DER signature over RFC 8785 JSON of the checkpoint without `signature`, base64. */
  readonly signature: string;
  readonly publicKey: string;
}

export interface AuditVerification {
  readonly valid: boolean;
  readonly records: number;
  readonly chains: number;
  readonly checkpoints: number;
  /** First bad record, where invalid. */
  readonly firstBad?: { readonly node: string; readonly boot: string; readonly sequence: number; readonly reason: string };
  readonly problems: readonly string[];
  /** What could not be checked and why (a filtered export, records after the last checkpoint, a key not pinned). */
  readonly notes?: readonly string[];
  /** Hash-only links of records left out (another tenant's, or not matching the filter). */
  readonly omitted?: number;
  /** Tree size that a signed checkpoint proves, where every leaf was present. */
  readonly provenTreeSize?: number;
  /** SHA-256 fingerprints of the checkpoint keys seen (SubjectPublicKeyInfo DER, lower-case hex). */
  readonly keyFingerprints?: readonly string[];
}

export interface AuditHealth {
  readonly state: 'ok' | 'degraded' | 'failing';
  readonly detail?: string;
  readonly pending: number;
  readonly lastDurableAt?: number;
  readonly lastCheckpointAt?: number;
  readonly unsequenced: number;
}
