import type { AlgorithmCapability, CipherParameters, SignParameters, SpecCapability } from '../contract.js';
import type { WrappedKek } from '../software/seal-file.js';
import type { Algorithm, KeySpec, KeyUsage } from '../vocabulary/index.js';

/**
 * What Aegis asks of a cloud key-management service. A provider implements the part it has; `layered.ts` turns it into a
 * root whose keys never leave the provider, `envelope.ts` into the seal of a software root. Refusals are RootFaults:
 * `sealed` when the provider says disabled, denied or deleted, `unavailable` when it could not be asked.
 */
export interface CloudKms {
  /** `vault`, `aws`, `gcp`, `azure`. */
  readonly provider: string;
  readonly specs: readonly SpecCapability[];
  readonly algorithms: readonly AlgorithmCapability[];
  /** Largest input of one call, bytes. */
  readonly maxInput: number;
  /** Facts about the service as observed: address, version. No secret. */
  facts(): Promise<Readonly<Record<string, string>>>;
  /** One cheap authenticated round trip. */
  ping(): Promise<void>;
  close(): Promise<void>;

  /** Makes the sealing key if it is not there. */
  ensureSealingKey(key: string): Promise<void>;
  wrapKek(key: string, kek: Uint8Array, context: Uint8Array): Promise<WrappedKek>;
  unwrapKek(wrapped: WrappedKek, context: Uint8Array): Promise<Buffer>;
  /** Version of the sealing key that new wraps use; undefined where the provider does not tell. */
  currentVersion(key: string): Promise<string | undefined>;

  describeKey(id: CloudKeyId): Promise<CloudKey>;
  /** A key that exists already, by the provider's own words for it; the newest version where they name none. */
  findKey(ref: string): Promise<CloudKey>;
  /** The words that name just this version. */
  refOf(id: CloudKeyId): string;
  createKey(request: NewCloudKey): Promise<CloudKey>;
  /** `material`: raw bytes of a secret, PKCS#8 DER of a private key. */
  importKey(request: NewCloudKey & { readonly material: Uint8Array }): Promise<CloudKey>;
  exportKey(id: CloudKeyId, spec: KeySpec): Promise<Buffer>;
  /** Idempotent; only for keys that Aegis made. */
  destroyKey(id: CloudKeyId): Promise<void>;

  encrypt(request: CloudCipher & { readonly plaintext: Uint8Array }): Promise<{ ciphertext: Buffer; iv?: Buffer; tag?: Buffer }>;
  decrypt(request: CloudCipher & { readonly ciphertext: Uint8Array; readonly tag?: Uint8Array }): Promise<Buffer>;
  sign(request: CloudSign): Promise<Buffer>;
  verify(request: CloudSign & { readonly signature: Uint8Array }): Promise<boolean>;
  mac(request: CloudMac): Promise<Buffer>;
  random(length: number): Promise<Buffer>;
}

/** A key of the provider; what a layered reference holds, sealed. */
export interface CloudKeyId {
  readonly name: string;
  readonly version: string;
}

export interface CloudKey {
  readonly id: CloudKeyId;
  readonly spec: KeySpec;
  readonly state: 'enabled' | 'disabled' | 'pending-deletion';
  /** Tells this material from another that took its name: creation time as the provider writes it. */
  readonly identity: string;
  /** SubjectPublicKeyInfo DER, for pairs. */
  readonly publicKey?: Buffer;
  readonly exportable: boolean;
  readonly imported: boolean;
  /** Exact size where the spec leaves it open. */
  readonly bits?: number;
}

export interface NewCloudKey {
  readonly name: string;
  readonly spec: KeySpec;
  readonly exportable: boolean;
  readonly usage: readonly KeyUsage[];
  /** For people and cost reports at the provider: object, version, tenant. */
  readonly labels: Readonly<Record<string, string>>;
  readonly bits?: number;
}

interface OnCloudKey {
  readonly id: CloudKeyId;
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
}
export type CloudCipher = OnCloudKey & CipherParameters;
export type CloudSign = OnCloudKey & SignParameters & { readonly data: Uint8Array };
export type CloudMac = OnCloudKey & { readonly data: Uint8Array };
