import type { ManagedObject, ObjectVersion } from './managed-object.js';
import type { PolicyDocument } from './policy.js';
import type { Principal } from './principal.js';

/** Stored form of an API token: only the hash. */
export interface StoredToken {
  readonly id: string;
  readonly tenant: string;
  readonly principalId: string;
  readonly name: string;
  /** First characters, for people to recognise it by. */
  readonly prefix: string;
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  readonly scope?: readonly string[];
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
}

export interface StoredCertificateBinding {
  readonly principalId: string;
  readonly tenant: string;
  readonly fingerprint?: string;
  readonly subject?: string;
  readonly subjectAltName?: string;
}

/**
 * Everything an operation may do to the database, as data. A group of changes commits in one transaction with the audit
 * record of its call, or not at all. `expect` is the revision the row must still have (optimistic lock → `conflict`).
 */
export type Change =
  | {
      readonly kind: 'insert-object';
      readonly object: ManagedObject;
      readonly versions: readonly ObjectVersion[];
      /** MACs over the rows, `versions` in the order of the versions; set on the way to the store, by nobody else. */
      readonly seals?: { readonly object: Uint8Array; readonly versions: readonly Uint8Array[] };
    }
  /**
   * Replaces the row; names and links are synchronised from the object. Fault `already-exists` when a name is taken.
   * `uses` and `usageLimits` are counters of the store: the row keeps its own (a reader's copy may be old), except that
   * `usage: 'uses'` writes `uses` as given (rotation) and `usage: 'limits'` writes `usageLimits` as given (a new limit, or none).
   */
  | {
      readonly kind: 'update-object';
      readonly object: ManagedObject;
      readonly expect: number;
      readonly usage?: 'uses' | 'limits';
      readonly seal?: Uint8Array;
    }
  | { readonly kind: 'insert-version'; readonly version: ObjectVersion; readonly seal?: Uint8Array }
  /** What a version's seal covers never changes, so an update keeps it. */
  | { readonly kind: 'update-version'; readonly version: ObjectVersion; readonly expect: number }
  /**
   * Atomically: remaining -= amount where `limited` (fault `usage-limit-reached` below zero), uses += `uses` (default 1; more when a
   * node reserves a block of GCM invocations at once). Needs and bumps no revision.
   */
  | {
      readonly kind: 'consume-usage';
      readonly tenant: string;
      readonly objectId: string;
      readonly amount: number;
      readonly limited: boolean;
      readonly uses?: number;
    }
  | { readonly kind: 'insert-principal'; readonly principal: Principal }
  | { readonly kind: 'update-principal'; readonly principal: Principal; readonly expect: number }
  | { readonly kind: 'delete-principal'; readonly tenant: string; readonly id: string }
  | {
      readonly kind: 'set-certificate-binding';
      readonly binding: StoredCertificateBinding | null;
      readonly principalId: string;
      readonly tenant: string;
    }
  | { readonly kind: 'insert-token'; readonly token: StoredToken }
  | { readonly kind: 'revoke-token'; readonly tenant: string; readonly id: string; readonly at: number }
  | { readonly kind: 'revoke-tokens-of'; readonly tenant: string; readonly principalId: string; readonly at: number }
  /** Inserts version n and makes it the active one; `expectVersion` = current active version (0 = none). */
  | { readonly kind: 'put-policy'; readonly document: PolicyDocument; readonly expectVersion?: number }
  | { readonly kind: 'delete-policy'; readonly tenant: string; readonly name: string }
  | { readonly kind: 'put-setting'; readonly tenant: string; readonly name: string; readonly value: unknown };
