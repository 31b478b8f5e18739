import type { KeySpec, KeyUsage } from '@aegis/rot-spi/vocabulary';

/** The id clients see: opaque, ≤ 36 characters (a UUID), safe on every wire. */
export type KeyHandle = string & { readonly __brand: 'KeyHandle' };
export const toKeyHandle = (id: string): KeyHandle => id as KeyHandle;

/** KMIP object types (KMIP 2.1 §2); REST shows the key types. */
export const OBJECT_TYPES = [
  'symmetric-key',
  'private-key',
  'public-key',
  'certificate',
  'certificate-request',
  'secret-data',
  'opaque-object',
  'split-key',
  'pgp-key',
  'template',
] as const;
export type ObjectType = (typeof OBJECT_TYPES)[number];

/** KMIP 1.4 §3.22 / SP 800-57 part 1 §7. */
export const LIFECYCLE_STATES = ['pre-active', 'active', 'deactivated', 'compromised', 'destroyed', 'destroyed-compromised'] as const;
export type LifecycleState = (typeof LIFECYCLE_STATES)[number];

/** KMIP 1.4 §9.1.3.2.19 Revocation Reason Code. */
export const REVOCATION_REASONS = [
  'unspecified',
  'key-compromise',
  'ca-compromise',
  'affiliation-changed',
  'superseded',
  'cessation-of-operation',
  'privilege-withdrawn',
] as const;
export type RevocationReason = (typeof REVOCATION_REASONS)[number];

/** All dates are milliseconds since the Unix epoch, UTC. */
export interface ObjectDates {
  readonly created: number;
  readonly initial?: number;
  readonly activation?: number;
  readonly processStart?: number;
  readonly protectStop?: number;
  readonly deactivation?: number;
  readonly compromiseOccurrence?: number;
  readonly compromise?: number;
  /**
   * When a scheduled destroy takes effect (pending window); cancellable until then. On an object already destroyed it
   * marks that its root has not confirmed yet that the material outside the database is gone; the scheduler clears it.
   */
  readonly destroyDue?: number;
  readonly destroy?: number;
  readonly archive?: number;
  readonly lastChange: number;
}

export interface UsageLimits {
  /** `byte` or `object` (operations), KMIP 1.4 §3.21. */
  readonly unit: 'byte' | 'object';
  readonly total: number;
  readonly remaining: number;
}

/** Automatic rotation: the scheduler makes a new version when either bound is reached. */
export interface RotationPolicy {
  /** Age of the current version, milliseconds. */
  readonly everyMs?: number;
  /** Uses (sign, encrypt, …) of the current version. */
  readonly afterUses?: number;
}

export interface ObjectLink {
  /** KMIP Link Type in kebab case: public-key, private-key, replacement, replaced, derivation-base, derived-key, certificate, parent … */
  readonly type: string;
  readonly target: string;
}

export type ProtectionLevel = 'software' | 'hsm' | 'external';

/** One version of the key's material; old versions still verify and decrypt. */
export interface ObjectVersion {
  readonly objectId: string;
  readonly tenant: string;
  /** From 1, never reused. */
  readonly version: number;
  readonly state: 'current' | 'superseded' | 'destroyed';
  readonly rootId: string;
  readonly rootFingerprint: string;
  /** What the root returned; opened only by that root. Empty for public objects and destroyed versions. */
  readonly reference: Uint8Array;
  /** SubjectPublicKeyInfo DER for pairs. */
  readonly publicKey?: Uint8Array;
  readonly bits: number;
  readonly createdAt: number;
  readonly provenance: { readonly local: boolean; readonly alwaysSensitive: boolean; readonly neverExtractable: boolean };
  /** SHA-256 over the key material's public form, or absent. */
  readonly digest?: Uint8Array;
  readonly destroyedAt?: number;
  readonly revision: number;
}

/** Wide enough for KMIP and PKCS#11; REST projects the part an operator wants. */
export interface ManagedObject {
  readonly id: KeyHandle;
  readonly tenant: string;
  readonly type: ObjectType;
  /** Key specification; absent for certificates, opaque objects and the like. */
  readonly spec?: KeySpec;
  readonly usage: readonly KeyUsage[];
  readonly state: LifecycleState;
  readonly archived: boolean;
  readonly exportable: boolean;
  readonly protection: ProtectionLevel;
  readonly rootId: string;
  readonly currentVersion: number;
  /** Aliases, unique in the tenant (KMIP Name). The first is the display name. */
  readonly names: readonly string[];
  readonly description?: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly objectGroup?: string;
  readonly dates: ObjectDates;
  readonly usageLimits?: UsageLimits;
  readonly rotation?: RotationPolicy;
  /** Uses of the current version, for rotation by count. */
  readonly uses: number;
  readonly links: readonly ObjectLink[];
  readonly revocation?: { readonly reason: RevocationReason; readonly message?: string };
  /** Who made it. */
  readonly owner: string;
  /** Everything a wire wants kept and given back that the algebra does not interpret: KMIP attributes, PKCS#11 attributes (`kmip:…`, `pkcs11:…`, `x-…`). JSON values only. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Public bytes of certificates, requests, public opaque objects. Secret opaque data is a sealed version instead. */
  readonly content?: Uint8Array;
  /** Lease time in seconds granted by Obtain Lease, and until when. */
  readonly lease?: { readonly seconds: number; readonly until: number };
  /** Optimistic lock; the ETag. */
  readonly revision: number;
}
