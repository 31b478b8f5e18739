import type { Algorithm, HashName, KeySpec, KeyUsage, SplitMethod } from '@aegis/rot-spi/vocabulary';
import type { AuditFilter, AuditHealth, AuditRecord, AuditVerification } from './audit-record.js';
import type { AuthorityView, CertificatePurpose, CertificateState, CertificateView } from './certificate.js';
import type { LifecycleGroup } from './lifecycle.js';
import type {
  ManagedObject,
  ObjectDates,
  ObjectLink,
  ObjectType,
  ProtectionLevel,
  RevocationReason,
  RotationPolicy,
  UsageLimits,
} from './managed-object.js';
import type { PolicyDecision, PolicyDocument, PolicyExplanation, PolicyProblem } from './policy.js';
import type { DeviceIdentifiers, LoginKind, Principal, PrincipalKind, Role } from './principal.js';

/** id, alias or `alias@version` of a managed object within the caller's tenant. */
export type ObjectRef = string;

/** Attributes common to every way of making an object. */
export interface NewObject {
  readonly names?: readonly string[];
  readonly description?: string;
  readonly usage?: readonly KeyUsage[];
  /** Make it Active at once (otherwise Pre-Active until `activate` or its activation date). */
  readonly activate?: boolean;
  readonly exportable?: boolean;
  /** Root of trust; default by configuration. */
  readonly root?: string;
  readonly protection?: ProtectionLevel;
  readonly tags?: Readonly<Record<string, string>>;
  readonly objectGroup?: string;
  readonly dates?: Partial<Pick<ObjectDates, 'activation' | 'processStart' | 'protectStop' | 'deactivation'>>;
  readonly usageLimits?: Pick<UsageLimits, 'unit' | 'total'>;
  readonly rotation?: RotationPolicy;
  readonly links?: readonly ObjectLink[];
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/** An object as callers see it: no reference, no version rows. */
export interface ObjectView {
  readonly object: ManagedObject;
  readonly versions: readonly VersionView[];
  /** SubjectPublicKeyInfo DER of the current version, for pairs. */
  readonly publicKey?: Uint8Array;
}
export interface VersionView {
  readonly version: number;
  readonly state: 'current' | 'superseded' | 'destroyed';
  readonly rootId: string;
  readonly bits: number;
  readonly createdAt: number;
  readonly destroyedAt?: number;
  readonly publicKey?: Uint8Array;
  /** SHA-256 of the material as it is exported, or of its public form; absent where the root gave none. */
  readonly digest?: Uint8Array;
  readonly provenance: { readonly local: boolean; readonly alwaysSensitive: boolean; readonly neverExtractable: boolean };
}

interface WithCipher {
  readonly algorithm?: Algorithm;
  readonly iv?: Uint8Array;
  readonly aad?: Uint8Array;
  readonly tagLength?: number;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: HashName;
}
interface WithSign {
  readonly algorithm?: Algorithm;
  readonly prehashed?: boolean;
  readonly saltLength?: number;
  /** Verification of RSA-PSS without `saltLength`: whatever length the signature has (RFC 8017 §9.1.2 note). */
  readonly anySalt?: boolean;
  readonly mgf1Hash?: HashName;
  readonly encoding?: 'der' | 'p1363';
  readonly context?: Uint8Array;
}
interface Derivation {
  readonly algorithm: Algorithm;
  readonly salt?: Uint8Array;
  readonly info?: Uint8Array;
  readonly iterations?: number;
  readonly fixedInput?: Uint8Array;
  readonly data?: Uint8Array;
  readonly hash?: HashName;
  readonly cipher?: Algorithm;
  readonly iv?: Uint8Array;
}
/** What an issued certificate says. What is left out comes from the signing request, or the certificate renewed. */
interface CertificateWish {
  /** RFC 4514, e.g. `CN=array-7,O=Bank`. */
  readonly subject?: string;
  /** `dns:…`, `ip:…`, `email:…`, `uri:…`. */
  readonly subjectAltNames?: readonly string[];
  /** Life time; default 365, cut off at the end of the authority. */
  readonly days?: number;
  /** Default `client`. */
  readonly purposes?: readonly CertificatePurpose[];
  /** Key or name of the authority; default the tenant's newest active one. */
  readonly authority?: ObjectRef;
}
/** How a key is shared out (KMIP 2.1 §13.1). */
interface SplitScheme {
  readonly method: SplitMethod;
  readonly threshold: number;
  /** Prime of the field, big-endian, for `prime-field`. */
  readonly prime?: Uint8Array;
}
/** `version`: pin one version; default: current for protect, the one named by the ciphertext (else current, then older) for process. */
interface OnKey {
  readonly key: ObjectRef;
  readonly version?: number;
}

/** A part of a multi-part operation. `kind` and `key`, where given, must be those it began with: otherwise there is no such operation. */
interface Continuing {
  readonly operation: string;
  readonly kind?: MultiPartKind;
  /** Object id. */
  readonly key?: string;
}

export type MultiPartKind = 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'mac' | 'macVerify' | 'digest';

export interface LocateFilter {
  readonly id?: string;
  readonly types?: readonly ObjectType[];
  readonly name?: string;
  readonly namePrefix?: string;
  readonly states?: readonly ManagedObject['state'][];
  readonly specs?: readonly KeySpec[];
  readonly rootId?: string;
  readonly objectGroup?: string;
  readonly usage?: readonly KeyUsage[];
  readonly tags?: Readonly<Record<string, string>>;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly link?: ObjectLink;
  readonly archived?: boolean | 'any';
  readonly createdBetween?: readonly [number, number];
  readonly activationBetween?: readonly [number, number];
  /** Dates within [from, to], both included, ms; an object without the date does not match. */
  readonly between?: { readonly [D in Exclude<keyof ObjectDates, 'destroyDue'>]?: readonly [number, number] };
  readonly owner?: string;
}

export interface TokenView {
  readonly id: string;
  readonly principalId: string;
  readonly tenant: string;
  readonly name: string;
  readonly prefix: string;
  readonly scope?: readonly string[];
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  readonly lastUsedAt?: number;
}

export interface RootView {
  readonly id: string;
  readonly kind: string;
  readonly state: 'ready' | 'degraded' | 'unavailable';
  readonly detail?: string;
  readonly fingerprint?: string;
  readonly isDefault: boolean;
  readonly hosts: number;
  /** The root's own capability report and module facts. */
  readonly description?: unknown;
}

/** Page of a listing; `cursor` is opaque. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next?: string;
}
interface Paging {
  readonly limit?: number;
  readonly cursor?: string;
}

/**
 * The algebra: name → request, response. One generic function over this map; wrappers, metrics, policy actions,
 * routes, docs and tests iterate it.
 */
export interface Operations {
  // Making objects
  /** `type`: with spec `secret`, the random bytes are a symmetric key of an algorithm no root computes with; the object then has no spec. */
  'create-key': {
    request: NewObject & { readonly spec: KeySpec; readonly bits?: number; readonly type?: 'symmetric-key' };
    response: ObjectView;
  };
  /** Returns the private key's view; the public key is an object of its own, linked. */
  'create-key-pair': {
    request: NewObject & {
      readonly spec: KeySpec;
      readonly publicKey?: NewObject;
      /** Ends with a PKCS#11 session, whose plane sees to that; only then is a pair made that is too weak to keep (RSA-1024). */
      readonly shortLived?: boolean;
    };
    response: ObjectView & { readonly publicKeyId: string };
  };
  /** Plain material (KMIP Register, public keys, certificates). `material` is zeroed by the key service. */
  register: {
    request: NewObject & {
      readonly type: ObjectType;
      readonly spec?: KeySpec;
      /**
       * `opaque`: bytes whose inside no root knows; a symmetric or private key without `spec` is sealed that way, a public key kept.
       * `absent`: the value is held elsewhere (KMIP Key Value Location); `material` is empty.
       */
      readonly format: 'raw' | 'pkcs8' | 'spki' | 'x509' | 'opaque' | 'absent';
      readonly material: Uint8Array;
      /** Id for the object (a UUID), where it has one already (KMIP Import). */
      readonly id?: string;
      /** When the object first came to be, ms, where it has a history elsewhere. */
      readonly initial?: number;
      /** The object of that id that this one takes the place of; its material is destroyed. */
      readonly replaces?: ObjectRef;
    };
    response: ObjectView;
  };
  /** Material wrapped under an import-wrapping key or another managed key: it never travels in clear. */
  'import-key': {
    request: NewObject & {
      readonly type: ObjectType;
      readonly spec: KeySpec;
      readonly wrappingKey: ObjectRef;
      readonly wrapAlgorithm: Algorithm;
      readonly wrapped: Uint8Array;
      readonly iv?: Uint8Array;
      readonly format: 'raw' | 'pkcs8';
    };
    response: ObjectView;
  };
  /** A key that the provider of a layered root has already, by the provider's own name for it. Nothing is made there. */
  'adopt-key': {
    request: NewObject & { readonly root: string; readonly ref: string };
    response: ObjectView & { readonly publicKeyId?: string };
  };
  /** An RSA key in the root whose only use is to unwrap imports; expires. */
  'create-import-wrapping-key': {
    request: { readonly spec?: 'rsa-3072' | 'rsa-4096' | 'rsa-2048'; readonly root?: string; readonly ttlMs?: number };
    response: ObjectView & { readonly algorithms: readonly Algorithm[] };
  };
  // Reading
  'get-object': { request: { readonly key: ObjectRef }; response: ObjectView };
  locate: {
    request: LocateFilter & Paging & { readonly offset?: number; readonly countTotal?: boolean };
    response: Page<ManagedObject> & { readonly total?: number };
  };
  'get-public-key': {
    request: OnKey;
    response: { readonly objectId: string; readonly version: number; readonly spec: KeySpec; readonly publicKey: Uint8Array };
  };
  /** Key bytes out: only for exportable keys; wrapped when `wrappingKey` is given. */
  'export-key': {
    request: OnKey &
      Omit<WithCipher, 'algorithm'> & {
        readonly wrappingKey?: ObjectRef;
        readonly wrapAlgorithm?: Algorithm;
        /**
         * What is wrapped instead of the material itself: an encoding of it (a KMIP Key Value, another key format). Called with the
         * material inside the service; whatever it returns is overwritten afterwards.
         */
        readonly encode?: (material: Uint8Array) => Uint8Array | Promise<Uint8Array>;
        /** Attributes that the export itself changes (KMIP Fresh), in the transaction of its record. */
        readonly leaves?: Readonly<Record<string, unknown>>;
      };
    response: {
      /** The object as it stands. */
      readonly object?: ManagedObject;
      readonly objectId: string;
      readonly version: number;
      readonly type: ObjectType;
      readonly spec?: KeySpec;
      readonly format: 'raw' | 'pkcs8' | 'spki' | 'x509' | 'opaque' | 'wrapped';
      readonly material: Uint8Array;
      readonly iv?: Uint8Array;
      readonly bits: number;
    };
  };
  'key-evidence': {
    request: OnKey;
    response: { readonly provenance: VersionView['provenance']; readonly asserted: Readonly<Record<string, string>> };
  };
  // Changing
  'update-object': {
    request: {
      readonly key: ObjectRef;
      /** Optimistic lock; absent = last writer wins. */
      readonly revision?: number;
      readonly names?: readonly string[];
      readonly description?: string | null;
      readonly tags?: Readonly<Record<string, string>>;
      readonly objectGroup?: string | null;
      readonly dates?: { readonly [D in 'activation' | 'processStart' | 'protectStop' | 'deactivation']?: number | null };
      readonly usageLimits?: Pick<UsageLimits, 'unit' | 'total'> | null;
      readonly rotation?: RotationPolicy | null;
      readonly links?: readonly ObjectLink[];
      /** Merged by key; null deletes. */
      readonly attributes?: Readonly<Record<string, unknown>>;
      readonly lease?: { readonly seconds: number };
      /** Takes this much of the usage limit for use outside the service (KMIP Get Usage Allocation), in the limit's unit. */
      readonly allocate?: number;
    };
    response: ObjectView;
  };
  activate: { request: { readonly key: ObjectRef; readonly at?: number }; response: ObjectView };
  /** New current version under the same id; names stay. */
  rotate: { request: { readonly key: ObjectRef }; response: ObjectView };
  /** KMIP Re-key: a replacement object with a new id, links both ways, names moved. */
  're-key': {
    request: NewObject & {
      readonly key: ObjectRef;
      readonly offsetMs?: number;
      /** What the public half of a pair gets of its own; absent, it follows in dates and activation alone. */
      readonly publicKey?: NewObject;
    };
    response: ObjectView & { readonly publicKeyId?: string };
  };
  revoke: {
    request: { readonly key: ObjectRef; readonly reason: RevocationReason; readonly message?: string; readonly compromisedAt?: number };
    response: ObjectView;
  };
  archive: { request: { readonly key: ObjectRef }; response: ObjectView };
  recover: { request: { readonly key: ObjectRef }; response: ObjectView };
  /**
   * `pendingMs` = window in which it can be cancelled; 0 = now. `releaseNames`: a destroy that takes effect now frees the names for new
   * objects and keeps them as `x-aegis-former-names`. `obliterate`: now, and nothing is left that could be found, read or named again.
   */
  destroy: {
    request: {
      readonly key: ObjectRef;
      readonly pendingMs?: number;
      readonly releaseNames?: boolean;
      readonly obliterate?: boolean;
    };
    response: ObjectView;
  };
  'cancel-destroy': { request: { readonly key: ObjectRef }; response: ObjectView };
  /**
   * Takes back changes of the last minutes for a wire whose batches can be undone (KMIP Undo): the object's state, dates, names, links,
   * attributes and the like become those of `snapshot`, an earlier view of it; material, versions and counters are never touched.
   * `created`: it was made by the same batch and becomes Pre-Active, so that it can be destroyed. `revision` is the one left by the batch.
   */
  'restore-object': {
    request: { readonly key: ObjectRef; readonly revision: number; readonly snapshot?: ManagedObject; readonly created?: boolean };
    response: ObjectView;
  };
  // Using
  encrypt: {
    request: OnKey & WithCipher & { readonly plaintext: Uint8Array; readonly format?: 'envelope' | 'raw' };
    response: {
      readonly objectId: string;
      readonly version: number;
      readonly algorithm: Algorithm;
      readonly ciphertext: Uint8Array;
      readonly iv?: Uint8Array;
      readonly tag?: Uint8Array;
    };
  };
  /** An `envelope` ciphertext names key and version itself; `key` may then be absent. */
  decrypt: {
    request: Partial<OnKey> &
      WithCipher & { readonly ciphertext: Uint8Array; readonly tag?: Uint8Array; readonly format?: 'envelope' | 'raw' };
    response: { readonly objectId: string; readonly version: number; readonly algorithm: Algorithm; readonly plaintext: Uint8Array };
  };
  sign: {
    request: OnKey & WithSign & { readonly data: Uint8Array };
    response: { readonly objectId: string; readonly version: number; readonly algorithm: Algorithm; readonly signature: Uint8Array };
  };
  /** Tries the named version, else current then superseded ones. `valid: false` is a result, not a fault. */
  verify: {
    request: OnKey & WithSign & { readonly data: Uint8Array; readonly signature: Uint8Array };
    response: { readonly objectId: string; readonly version?: number; readonly algorithm: Algorithm; readonly valid: boolean };
  };
  mac: {
    request: OnKey & { readonly algorithm?: Algorithm; readonly data: Uint8Array };
    response: { readonly objectId: string; readonly version: number; readonly algorithm: Algorithm; readonly mac: Uint8Array };
  };
  'mac-verify': {
    request: OnKey & { readonly algorithm?: Algorithm; readonly data: Uint8Array; readonly mac: Uint8Array };
    response: { readonly objectId: string; readonly version?: number; readonly algorithm: Algorithm; readonly valid: boolean };
  };
  wrap: {
    request: { readonly key: ObjectRef; readonly version?: number; readonly wrappingKey: ObjectRef } & WithCipher;
    response: {
      readonly objectId: string;
      readonly version: number;
      readonly algorithm: Algorithm;
      readonly wrapped: Uint8Array;
      readonly iv?: Uint8Array;
    };
  };
  unwrap: {
    request: NewObject & {
      readonly unwrappingKey: ObjectRef;
      readonly wrapped: Uint8Array;
      readonly format: 'raw' | 'pkcs8';
      readonly type: ObjectType;
      readonly spec: KeySpec;
    } & WithCipher;
    response: ObjectView;
  };
  /** What a key wraps that is no key yet: an encoded Key Value, whose parts the plane reads and registers. The caller overwrites `material`. */
  'unwrap-data': {
    request: { readonly unwrappingKey: ObjectRef; readonly wrapped: Uint8Array } & WithCipher;
    response: { readonly objectId: string; readonly version: number; readonly algorithm: Algorithm; readonly material: Uint8Array };
  };
  /** `dataKey`: a secret whose value is the derivation data. */
  derive: {
    request: NewObject &
      OnKey &
      Derivation & { readonly dataKey?: ObjectRef } & { readonly spec: KeySpec; readonly type?: ObjectType; readonly length?: number };
    response: ObjectView;
  };
  /**
   * Splits an exportable key into managed parts, numbered from 1; `threshold` of them make it again. `each` is what the parts have
   * besides the shared fields, by number; names go to the first part.
   */
  'split-key': {
    request: NewObject &
      OnKey &
      SplitScheme & { readonly count: number; readonly each?: readonly { readonly attributes?: Readonly<Record<string, unknown>> }[] };
    response: { readonly items: readonly ObjectView[] };
  };
  /** Makes a key from `parts`, whose numbers are `numbers`. */
  'join-key': {
    request: NewObject &
      SplitScheme & {
        readonly parts: readonly ObjectRef[];
        readonly numbers: readonly number[];
        readonly type: ObjectType;
        readonly spec: KeySpec;
        readonly length?: number;
      };
    response: ObjectView;
  };
  agree: {
    request: NewObject &
      OnKey &
      Partial<Derivation> & {
        readonly peerPublicKey: Uint8Array;
        readonly kdf?: Algorithm;
        readonly spec: KeySpec;
        readonly length?: number;
      };
    response: ObjectView;
  };
  encapsulate: { request: NewObject & OnKey & { readonly spec: KeySpec }; response: ObjectView & { readonly ciphertext: Uint8Array } };
  decapsulate: { request: NewObject & OnKey & { readonly spec: KeySpec; readonly ciphertext: Uint8Array }; response: ObjectView };
  /** `ciphertext` is an envelope that `decrypt` opens. */
  'generate-data-key': {
    request: OnKey & { readonly length?: number; readonly aad?: Uint8Array; readonly plaintext: boolean };
    response: { readonly objectId: string; readonly version: number; readonly ciphertext: Uint8Array; readonly plaintext?: Uint8Array };
  };
  're-encrypt': {
    request: {
      readonly ciphertext: Uint8Array;
      readonly from?: ObjectRef;
      readonly to: ObjectRef;
      readonly fromAad?: Uint8Array;
      readonly toAad?: Uint8Array;
    };
    response: { readonly objectId: string; readonly version: number; readonly algorithm: Algorithm; readonly ciphertext: Uint8Array };
  };
  random: { request: { readonly length: number; readonly root?: string }; response: { readonly bytes: Uint8Array } };
  /** `use`: how many of the seed's bytes are used, from the start; default all. */
  'seed-random': {
    request: { readonly seed: Uint8Array; readonly use?: number; readonly root?: string };
    response: { readonly accepted: number };
  };
  digest: { request: { readonly hash: HashName; readonly data: Uint8Array }; response: { readonly digest: Uint8Array } };
  // Multi-part
  'begin-operation': {
    request: Partial<OnKey> &
      WithCipher &
      WithSign & {
        readonly kind: MultiPartKind;
        readonly hash?: HashName;
        /** Signature, MAC or AEAD tag to check, where it is known from the start; kept until `finish-operation`. */
        readonly signature?: Uint8Array;
      };
    response: {
      readonly operation: string;
      readonly iv?: Uint8Array;
      readonly objectId?: string;
      readonly version?: number;
      readonly algorithm?: Algorithm;
    };
  };
  'update-operation': {
    request: Continuing & { readonly data: Uint8Array; readonly signature?: Uint8Array };
    response: { readonly output: Uint8Array; readonly objectId?: string };
  };
  'finish-operation': {
    request: Continuing & { readonly data?: Uint8Array; readonly signature?: Uint8Array };
    response: { readonly output: Uint8Array; readonly tag?: Uint8Array; readonly valid?: boolean; readonly objectId?: string };
  };
  'cancel-operation': { request: { readonly operation: string }; response: Record<never, never> };
  // Certificates for keys in the root (PKCS#10, self-signed X.509), DER
  'create-csr': {
    request: OnKey & { readonly subject: string; readonly subjectAltNames?: readonly string[]; readonly algorithm?: Algorithm };
    response: { readonly csr: Uint8Array; readonly objectId: string; readonly version: number };
  };
  'self-sign': {
    request: OnKey & {
      readonly subject: string;
      readonly subjectAltNames?: readonly string[];
      readonly days: number;
      readonly ca?: boolean;
      readonly algorithm?: Algorithm;
      readonly register?: boolean;
    };
    response: { readonly certificate: Uint8Array; readonly objectId: string; readonly version: number; readonly certificateId?: string };
  };
  // Certificates of the internal authority (RFC 5280), DER
  /** Makes a key in a root of trust that signs certificates and revocation lists and nothing else, and its own certificate. */
  'create-authority': {
    request: NewObject & { readonly subject: string; readonly spec?: KeySpec; readonly days?: number };
    response: AuthorityView;
  };
  'list-authorities': { request: Record<never, never>; response: { readonly items: readonly AuthorityView[] } };
  /**
   * Certifies the key of a PKCS#10 request (whose signature is checked), of SubjectPublicKeyInfo DER, or of a managed object
   * (public or private key, certificate request); exactly one of the three. For `principalId` whoever presents it is that principal.
   */
  'issue-certificate': {
    request: NewObject &
      CertificateWish & {
        readonly csr?: Uint8Array;
        readonly publicKey?: Uint8Array;
        readonly subjectKey?: ObjectRef;
        readonly principalId?: string;
      };
    response: CertificateView;
  };
  /** Issued certificates, newest first. */
  'list-certificates': {
    request: Paging & { readonly state?: CertificateState; readonly principalId?: string; readonly authority?: ObjectRef };
    response: Page<CertificateView>;
  };
  'get-certificate': { request: { readonly key: ObjectRef }; response: CertificateView };
  /** Takes effect at once: the certificate stands for nobody any more, and is on the next revocation list. */
  'revoke-certificate': {
    request: { readonly key: ObjectRef; readonly reason?: RevocationReason; readonly message?: string; readonly compromisedAt?: number };
    response: CertificateView;
  };
  /** A successor with the same names and principal (KMIP Re-certify): for the same key, or the one of a new request. The old one stays valid unless `revokeOld`. */
  'renew-certificate': {
    request: NewObject &
      CertificateWish & {
        readonly key: ObjectRef;
        readonly csr?: Uint8Array;
        readonly publicKey?: Uint8Array;
        readonly revokeOld?: boolean;
        /** Or deactivates the old one this long from now, so that its holder can still fetch the successor (KMIP Re-Provision). */
        readonly retireOldAfterMs?: number;
      };
    response: CertificateView;
  };
  /** Certificate revocation list v2 of one authority (RFC 5280 §5). */
  'get-crl': {
    request: { readonly authority?: ObjectRef };
    response: {
      readonly crl: Uint8Array;
      readonly authority: string;
      readonly number: number;
      readonly thisUpdate: number;
      readonly nextUpdate: number;
      readonly entries: number;
    };
  };
  // Identity
  whoami: {
    request: Record<never, never>;
    response: {
      readonly principal: Principal;
      readonly method: string;
      readonly scope?: readonly string[];
      /** Id of the token, fingerprint of the certificate; never a secret. */
      readonly credentialId?: string;
      /** See `Authentication.serverProof`; for the KMIP plane. */
      readonly serverProof?: Uint8Array;
    };
  };
  'create-principal': {
    request: {
      readonly kind: PrincipalKind;
      readonly name: string;
      readonly roles: readonly Role[];
      readonly tenant?: string;
      readonly tags?: Readonly<Record<string, string>>;
      readonly parentId?: string;
      readonly purpose?: string;
      readonly certificate?: CertificateBinding;
    };
    response: Principal;
  };
  'get-principal': { request: { readonly id: string }; response: Principal };
  'list-principals': { request: Paging & { readonly kind?: PrincipalKind }; response: Page<Principal> };
  'update-principal': {
    request: {
      readonly id: string;
      readonly revision?: number;
      readonly roles?: readonly Role[];
      readonly disabled?: boolean;
      readonly tags?: Readonly<Record<string, string>>;
      readonly certificate?: CertificateBinding | null;
    };
    response: Principal;
  };
  'delete-principal': { request: { readonly id: string }; response: Record<never, never> };
  /** `token` is in this answer and nowhere else, ever. */
  'issue-token': {
    request: {
      readonly principalId: string;
      readonly name?: string;
      readonly ttlMs?: number;
      readonly scope?: readonly string[];
      /** `pin`: short enough for a PKCS#11 PIN prompt, accepted by C_Login only, and short-lived. Default `token`. */
      readonly kind?: 'token' | 'pin';
    };
    response: TokenView & { readonly token: string };
  };
  'list-tokens': { request: Paging & { readonly principalId?: string }; response: Page<TokenView> };
  'revoke-token': { request: { readonly id: string }; response: TokenView };
  /**
   * What a principal proves itself with on wires that know passwords (KMIP header credentials). `login` is the username, or a device's
   * serial number, unique in the tenant and kind. Secrets are UTF-8 bytes and overwritten; null removes the login.
   */
  'set-login': {
    request: {
      readonly principalId: string;
      readonly kind: LoginKind;
      readonly login: string;
      readonly password?: Uint8Array | null;
      /** Seed of time-based one-time passwords (RFC 6238: SHA-1, 6 digits, 30 s), for kind `one-time-password`. */
      readonly otpSeed?: Uint8Array;
      /** Further identifiers that have to be presented, for kind `device`. */
      readonly device?: DeviceIdentifiers;
    };
    response: { readonly principalId: string; readonly kind: LoginKind; readonly login: string; readonly set: boolean };
  };
  // Rules of a tenant for what is made through KMIP (Set Constraints, Set Defaults); opaque to the service, at most 64 KiB each
  'get-creation-rules': { request: Record<never, never>; response: { readonly constraints?: string; readonly defaults?: string } };
  'set-creation-rules': {
    request: { readonly constraints?: string | null; readonly defaults?: string | null };
    response: { readonly constraints?: string; readonly defaults?: string };
  };
  /** A client's own words in the audit trail (KMIP Log). */
  'log-message': { request: { readonly message: string }; response: Record<never, never> };
  // Policy
  'list-policies': { request: Paging; response: Page<PolicyDocument> };
  'get-policy': { request: { readonly name: string; readonly version?: number }; response: PolicyDocument };
  'put-policy': {
    request: {
      readonly name: string;
      readonly source: string;
      readonly expectedVersion?: number;
      readonly dryRun?: boolean;
      readonly mode?: 'enforce' | 'dry-run';
    };
    response: PolicyDocument & { readonly problems: readonly PolicyProblem[] };
  };
  'validate-policy': { request: { readonly source: string }; response: { readonly problems: readonly PolicyProblem[] } };
  'delete-policy': { request: { readonly name: string }; response: Record<never, never> };
  'rollback-policy': { request: { readonly name: string; readonly version: number }; response: PolicyDocument };
  'policy-history': { request: { readonly name: string } & Paging; response: Page<PolicyDocument> };
  /** Explain what a principal would be told, without doing it. */
  'test-policy': {
    request: {
      readonly principalId?: string;
      readonly operation: OperationName;
      readonly key?: ObjectRef;
      readonly context?: Readonly<Record<string, unknown>>;
      readonly candidate?: string;
    };
    response: PolicyDecision & { readonly explanation: PolicyExplanation };
  };
  // Audit
  'list-audit': { request: AuditFilter & Paging; response: Page<AuditRecord> };
  'verify-audit': { request: { readonly since?: number }; response: AuditVerification };
  'audit-health': { request: Record<never, never>; response: AuditHealth };
  /** Streamed by the plane; each chunk is a run of records with chain hashes, and checkpoints. */
  'export-audit': {
    request: AuditFilter & { readonly format?: 'jsonl' | 'csv' };
    response: { readonly chunks: AsyncIterable<Uint8Array> };
  };
  // Roots and service
  'list-roots': { request: Record<never, never>; response: { readonly roots: readonly RootView[] } };
  'get-root': { request: { readonly id: string }; response: RootView };
  'rotate-seal': {
    request: { readonly root: string };
    response: { readonly root: string; readonly generation: number; readonly rewrapped: number };
  };
  status: { request: Record<never, never>; response: ServiceStatus };
  'create-backup': {
    request: { readonly passphrase: string };
    response: { readonly chunks: AsyncIterable<Uint8Array>; readonly name: string };
  };
}

export interface CertificateBinding {
  /** SHA-256 of the certificate DER, lower-case hex; or match by subject. */
  readonly fingerprint?: string;
  readonly subject?: string;
  readonly subjectAltName?: string;
}

export interface ServiceStatus {
  readonly version: string;
  readonly node: string;
  readonly startedAt: number;
  readonly database: { readonly kind: 'embedded' | 'external'; readonly state: 'up' | 'down'; readonly detail?: string };
  readonly roots: readonly RootView[];
  readonly audit: AuditHealth;
  readonly policies: { readonly documents: number; readonly statements: number; readonly lastGoodAt?: number; readonly problem?: string };
  readonly planes: readonly { readonly name: string; readonly address: string }[];
}

export type OperationName = keyof Operations;
export type OperationRequest<O extends OperationName> = Operations[O]['request'];
export type OperationResponse<O extends OperationName> = Operations[O]['response'];

/** What an operation does to the world: read, use a key, change records, or destroy. */
export type Effect = 'read' | 'use' | 'change' | 'destroy';

export interface OperationRow {
  /** Policy action, `resource:verb`. */
  readonly action: string;
  readonly effect: Effect;
  /** Which lifecycle column applies to the target object; `none` where there is no target. */
  readonly lifecycle: LifecycleGroup;
  /** Request field that names the target object, if any. */
  readonly target?: 'key' | 'from' | 'wrappingKey' | 'unwrappingKey';
  /** Further request fields that name objects this call also uses, each checked as its own resource and action. */
  readonly alsoUses?: readonly {
    readonly field: string;
    readonly action: string;
    readonly lifecycle: LifecycleGroup;
    /** The field is a list of references, each an object of its own. */
    readonly many?: true;
  }[];
  /** Usage the key must have, where fixed. */
  readonly usage?: KeyUsage;
  /** Another usage that allows it as well. */
  readonly orUsage?: KeyUsage;
  /** Needs an intent record before it: it produces an effect outside the database (a signature, an HSM object). */
  readonly intent: boolean;
  /** Works on archived objects. */
  readonly archivedAllowed: boolean;
  /** Counts against usage limits, in objects or bytes of which request field. */
  readonly consumes?: string;
  /**
   * Stands for another operation, chosen by a request field (multi-part `kind`): that row's action, lifecycle and usage are
   * required too, otherwise `keys:multi-part` would be a way around `keys:sign`.
   */
  readonly actsAs?: { readonly field: string; readonly rows: Readonly<Record<string, OperationName>> };
}

/** Multi-part kind → the single-part operation it is a long form of. */
export const MULTI_PART_ROWS = {
  encrypt: 'encrypt',
  decrypt: 'decrypt',
  sign: 'sign',
  verify: 'verify',
  mac: 'mac',
  macVerify: 'mac-verify',
  digest: 'digest',
} as const satisfies Record<MultiPartKind, OperationName>;

const read = (action: string, rest: Partial<OperationRow> = {}): OperationRow => ({
  action,
  effect: 'read',
  lifecycle: 'none',
  intent: false,
  archivedAllowed: true,
  ...rest,
});
const change = (action: string, rest: Partial<OperationRow> = {}): OperationRow => ({
  action,
  effect: 'change',
  lifecycle: 'none',
  intent: false,
  archivedAllowed: false,
  ...rest,
});
const use = (action: string, lifecycle: LifecycleGroup, usage: KeyUsage | undefined, rest: Partial<OperationRow> = {}): OperationRow => ({
  action,
  effect: 'use',
  lifecycle,
  target: 'key',
  ...(usage === undefined ? {} : { usage }),
  intent: false,
  archivedAllowed: false,
  ...rest,
});

/** One row per operation. Policy actions, metrics labels, audit names, docs and tests derive from it. */
const OPERATIONS = {
  'create-key': change('keys:create', { intent: true }),
  'create-key-pair': change('keys:create', { intent: true }),
  register: change('keys:import', { intent: true, alsoUses: [{ field: 'replaces', action: 'keys:destroy', lifecycle: 'none' }] }),
  'import-key': change('keys:import', { intent: true, target: 'wrappingKey', lifecycle: 'process' }),
  'adopt-key': change('keys:adopt', { intent: true }),
  'create-import-wrapping-key': change('keys:create-import-wrapping-key', { intent: true }),
  'get-object': read('keys:read', { target: 'key', lifecycle: 'read' }),
  locate: read('keys:list'),
  'get-public-key': read('keys:read-public', { target: 'key', lifecycle: 'read' }),
  // Nothing outside the database changes, and the bytes leave only when the final record is durable: no intent record.
  'export-key': use('keys:export', 'export', undefined, {
    alsoUses: [{ field: 'wrappingKey', action: 'keys:wrap', lifecycle: 'protect' }],
  }),
  'key-evidence': read('keys:read', { target: 'key', lifecycle: 'read' }),
  'update-object': change('keys:update', { target: 'key', lifecycle: 'annotate' }),
  activate: change('keys:activate', { target: 'key', lifecycle: 'activate' }),
  rotate: change('keys:rotate', { target: 'key', lifecycle: 'rotate', intent: true }),
  // A new object in the place of one that has expired is what Re-key is for (Test Cases 1.1, 9.2): any state but destroyed.
  're-key': change('keys:rotate', { target: 'key', lifecycle: 'annotate', intent: true }),
  revoke: change('keys:revoke', { target: 'key', lifecycle: 'revoke' }),
  archive: change('keys:archive', { target: 'key', lifecycle: 'archive', archivedAllowed: true }),
  recover: change('keys:archive', { target: 'key', lifecycle: 'archive', archivedAllowed: true }),
  destroy: { ...change('keys:destroy', { target: 'key', lifecycle: 'destroy', intent: true, archivedAllowed: true }), effect: 'destroy' },
  'cancel-destroy': change('keys:destroy', { target: 'key', lifecycle: 'cancel-destroy', archivedAllowed: true }),
  'restore-object': change('keys:undo', { target: 'key', lifecycle: 'none', archivedAllowed: true }),
  encrypt: use('keys:encrypt', 'protect', 'encrypt', { consumes: 'plaintext' }),
  decrypt: use('keys:decrypt', 'process', 'decrypt'),
  sign: use('keys:sign', 'protect', 'sign', { intent: true, consumes: 'data' }),
  verify: use('keys:verify', 'process', 'verify'),
  mac: use('keys:mac', 'protect', 'mac', { consumes: 'data' }),
  'mac-verify': use('keys:mac-verify', 'process', 'mac-verify'),
  wrap: use('keys:wrap-target', 'export', undefined, { alsoUses: [{ field: 'wrappingKey', action: 'keys:wrap', lifecycle: 'protect' }] }),
  unwrap: change('keys:unwrap', { target: 'unwrappingKey', lifecycle: 'process', usage: 'unwrap', intent: true }),
  'unwrap-data': use('keys:unwrap', 'process', 'unwrap', { target: 'unwrappingKey', intent: true }),
  derive: change('keys:derive', {
    target: 'key',
    lifecycle: 'protect',
    usage: 'derive',
    intent: true,
    alsoUses: [{ field: 'dataKey', action: 'keys:derive', lifecycle: 'protect' }],
  }),
  // Derive covers agreement in KMIP (2.1 §6.1.14) and PKCS#11 (CKA_DERIVE).
  agree: change('keys:agree', { target: 'key', lifecycle: 'protect', usage: 'agree', orUsage: 'derive', intent: true }),
  'split-key': change('keys:split', { target: 'key', lifecycle: 'export', intent: true }),
  'join-key': change('keys:join', { intent: true, alsoUses: [{ field: 'parts', action: 'keys:join', lifecycle: 'export', many: true }] }),
  encapsulate: change('keys:encapsulate', { target: 'key', lifecycle: 'protect', usage: 'agree', intent: true }),
  decapsulate: change('keys:decapsulate', { target: 'key', lifecycle: 'process', usage: 'agree', intent: true }),
  'generate-data-key': use('keys:generate-data-key', 'protect', 'encrypt'),
  're-encrypt': use('keys:re-encrypt', 'process', 'decrypt', {
    target: 'from',
    alsoUses: [{ field: 'to', action: 'keys:encrypt', lifecycle: 'protect' }],
  }),
  random: read('service:random'),
  'seed-random': change('service:seed-random'),
  digest: read('service:digest'),
  'begin-operation': use('keys:multi-part', 'none', undefined, { actsAs: { field: 'kind', rows: MULTI_PART_ROWS } }),
  'update-operation': read('service:multi-part'),
  'finish-operation': read('service:multi-part'),
  'cancel-operation': read('service:multi-part'),
  'create-csr': use('keys:sign', 'protect', 'sign', { intent: true }),
  'self-sign': use('keys:sign', 'protect', 'sign', { intent: true }),
  'create-authority': change('certificates:create-authority', { intent: true }),
  'list-authorities': read('certificates:read'),
  'issue-certificate': change('certificates:issue', {
    intent: true,
    alsoUses: [{ field: 'subjectKey', action: 'keys:read-public', lifecycle: 'read' }],
  }),
  'list-certificates': read('certificates:read'),
  'get-certificate': read('certificates:read', { target: 'key', lifecycle: 'read' }),
  'revoke-certificate': change('certificates:revoke', { target: 'key', lifecycle: 'revoke' }),
  'renew-certificate': change('certificates:renew', { target: 'key', lifecycle: 'annotate', intent: true }),
  'get-crl': read('certificates:read-crl', { intent: true }),
  whoami: read('service:whoami'),
  'create-principal': change('principals:create'),
  'get-principal': read('principals:read'),
  'list-principals': read('principals:read'),
  'update-principal': change('principals:update'),
  'delete-principal': { ...change('principals:delete'), effect: 'destroy' },
  'issue-token': change('tokens:issue'),
  'list-tokens': read('tokens:read'),
  'revoke-token': change('tokens:revoke'),
  'set-login': change('principals:set-login'),
  'get-creation-rules': read('service:read-creation-rules'),
  'set-creation-rules': change('service:set-creation-rules'),
  'log-message': change('service:log'),
  'list-policies': read('policies:read'),
  'get-policy': read('policies:read'),
  'put-policy': change('policies:write'),
  'validate-policy': read('policies:read'),
  'delete-policy': { ...change('policies:write'), effect: 'destroy' },
  'rollback-policy': change('policies:write'),
  'policy-history': read('policies:read'),
  'test-policy': read('policies:test'),
  'list-audit': read('audit:read'),
  'verify-audit': read('audit:verify'),
  'audit-health': read('audit:read'),
  'export-audit': read('audit:export'),
  'list-roots': read('roots:read'),
  'get-root': read('roots:read'),
  'rotate-seal': change('roots:rotate-seal', { intent: true }),
  status: read('service:status'),
  'create-backup': read('service:backup', { intent: true }),
} as const satisfies Record<OperationName, OperationRow>;

/** The same table with the wide row type, for code that iterates. */
export const OPERATION_TABLE: Readonly<Record<OperationName, OperationRow>> = OPERATIONS;
export const OPERATION_NAMES = Object.keys(OPERATIONS) as readonly OperationName[];
/** Every action policy is asked about: of the operations themselves and of the further objects they use. */
export const ACTIONS: readonly string[] = [
  ...new Set(Object.values(OPERATION_TABLE).flatMap((r) => [r.action, ...(r.alsoUses ?? []).map((a) => a.action)])),
].sort();
