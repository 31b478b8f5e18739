import type { IdentityStore, ObjectStore, SettingStore } from '../storage/ports.js';
import type { RootRegistry } from './root-registry.js';

/** What an operator may configure; every value has a default. */
export interface KeyDefaults {
  /** Window before a destroy takes effect when the caller names none, ms. Default 0 (at once). */
  readonly destroyPendingMs: number;
  /** Longest pending window, ms. Default 365 days. */
  readonly maxDestroyPendingMs: number;
  /** Life of an import-wrapping key, ms. Default 24 h; longest 7 days. */
  readonly importKeyTtlMs: number;
  readonly maxImportKeyTtlMs: number;
  /** Longest lease, seconds. Default 30 days. */
  readonly maxLeaseSeconds: number;
  /** Multi-part operations in this process, and of one principal. */
  readonly maxOperations: number;
  readonly maxOperationsPerPrincipal: number;
  /** A multi-part operation nobody touched for this long is cancelled, ms. */
  readonly operationIdleMs: number;
  /** Longest life of a self-signed certificate, days. */
  readonly maxCertificateDays: number;
  /** Largest content of certificates, opaque objects and the like, bytes. */
  readonly maxContentBytes: number;
}

export const KEY_DEFAULTS: KeyDefaults = {
  destroyPendingMs: 0,
  maxDestroyPendingMs: 365 * 86_400_000,
  importKeyTtlMs: 86_400_000,
  maxImportKeyTtlMs: 7 * 86_400_000,
  maxLeaseSeconds: 30 * 86_400,
  maxOperations: 1024,
  maxOperationsPerPrincipal: 64,
  operationIdleMs: 600_000,
  maxCertificateDays: 3_653,
  maxContentBytes: 1024 * 1024,
};

/** Random-IV encryptions allowed under one AES-GCM key: 2^32 (SP 800-38D §8.3), less a margin for calls in flight. */
export const GCM_INVOCATION_LIMIT = 2 ** 32 - 2 ** 20;

/** What the handlers stand on. */
export interface KeyParts {
  readonly objects: Pick<ObjectStore, 'load' | 'locate' | 'count'>;
  readonly roots: RootRegistry;
  readonly settings: SettingStore;
  /** Whom certificates are issued for; without it none is issued for a principal. */
  readonly principals?: Pick<IdentityStore, 'principal'>;
  readonly defaults: KeyDefaults;
  /** Milliseconds since the epoch; calls carry their own `now`, this one is for work between calls. */
  readonly clock: () => number;
}

/** Attributes only the service writes; callers cannot set, change or delete them. */
export const RESERVED_PREFIX = 'x-aegis-';
/** Id of the other half of a pair made (or re-keyed) here; links are the caller's to change, this is not. */
export const PAIR_ATTRIBUTE = 'x-aegis-pair';
export const IMPORT_KEY_ATTRIBUTE = 'x-aegis-import-wrapping-key';
/** Names a destroyed object had when they were freed for others. */
export const FORMER_NAMES_ATTRIBUTE = 'x-aegis-former-names';
/** Set on what was obliterated: stores load and locate no object that has it. */
export const OBLITERATED_ATTRIBUTE = 'x-aegis-obliterated';
/** Set at creation by a caller of any wire that brings its own IVs (it then owns their uniqueness). */
export const CALLER_IV_ATTRIBUTE = 'x-caller-iv';
