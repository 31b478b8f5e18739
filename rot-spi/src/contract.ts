import type { Algorithm, Approval, HashName, KeySpec, KeyUsage, SplitMethod } from './vocabulary/index.js';

/**
 * The contract between the key service and a root of trust.
 *
 * A root is the only code that may open a secret. It hands out *references*: opaque bytes that only it can open and
 * that are bound to everything in `KeyBinding`; presenting a reference with any other binding is refused
 * (`reference-invalid`). No call returns key bytes except `exportKey`, and that one only for a key bound as exportable.
 *
 * The contract is small: `describe`, `health`, `close`, and optional powers. Callers ask (`describe().powers`,
 * `capability report`) instead of catching "not implemented"; an absent method and an absent power always agree.
 */

/** What a reference is bound to. Every field is authenticated; changing one in the database breaks the reference. */
export interface KeyBinding {
  /** The managed object's id (≤ 64 characters). */
  readonly objectId: string;
  /** Key version within the object, from 1. */
  readonly version: number;
  /** Tenant that owns the object. */
  readonly tenant: string;
  readonly spec: KeySpec;
  readonly usage: readonly KeyUsage[];
  /** Whether `exportKey` (or wrapping under another key) may ever reveal it. Never changes. */
  readonly exportable: boolean;
}

/** A reference together with the binding it must open under. */
export interface BoundKey {
  readonly reference: Uint8Array;
  readonly binding: KeyBinding;
}

/** Private-key operations take a bound key; public-key operations also take SubjectPublicKeyInfo DER (RFC 5280 §4.1). */
export type VerificationKey = BoundKey | { readonly publicKey: Uint8Array; readonly spec: KeySpec };

/** Origin and protection as the back end itself reports it. `asserted` = a token attribute, not proof. */
export interface KeyProvenance {
  readonly local: boolean;
  readonly alwaysSensitive: boolean;
  readonly neverExtractable: boolean;
}

export interface CreatedKey {
  readonly reference: Uint8Array;
  /** SubjectPublicKeyInfo DER, for pairs. */
  readonly publicKey?: Uint8Array;
  /** Exact size: bits of a secret value, or modulus/field size. */
  readonly bits: number;
  readonly provenance: KeyProvenance;
  /** Key check value (first 3 bytes, CMAC-zero or SHA-256 of the public key) where the back end can give one. */
  readonly checkValue?: Uint8Array;
  /**
   * SHA-256 of the material as exportKey gives it (of an RSA private key: of the RSAPrivateKey inside, RFC 8017 §A.1.2), where the back end
   * can make one and the key may be exported (KMIP's Digest). Never of secret data from outside: a hash of a password would let whoever reads the
   * database guess it.
   */
  readonly digest?: Uint8Array;
}

/**
 * Plain or wrapped key material on its way in or out. Encodings:
 * `raw` secret bytes; `pkcs8` PrivateKeyInfo DER (RFC 5958); `spki` SubjectPublicKeyInfo DER.
 */
export type MaterialFormat = 'raw' | 'pkcs8' | 'spki';

export interface CipherParameters {
  /** IV, nonce or initial counter block. Absent on encrypt: the root generates it and returns it. */
  readonly iv?: Uint8Array;
  readonly aad?: Uint8Array;
  /** Tag length in bytes, AEAD only; default from the algorithm table. */
  readonly tagLength?: number;
  /** OAEP label. */
  readonly label?: Uint8Array;
  /** OAEP mask generation hash where it differs from the algorithm's hash. */
  readonly mgf1Hash?: HashName;
}

export interface SignParameters {
  /** `data` is already the message digest. */
  readonly prehashed?: boolean;
  /** PSS salt length in bytes; default = hash length. */
  readonly saltLength?: number;
  /** Verification only, without `saltLength`: a PSS signature with a salt of any length (RFC 8017 §9.1.2 note). */
  readonly anySalt?: boolean;
  readonly mgf1Hash?: HashName;
  /** ECDSA output: ASN.1 DER (default) or fixed-length r‖s (IEEE P1363). */
  readonly encoding?: 'der' | 'p1363';
  /** Context string of Ed448 / ML-DSA / SLH-DSA. */
  readonly context?: Uint8Array;
}

export interface DeriveParameters {
  readonly salt?: Uint8Array;
  /** HKDF info, SP 800-108 label ‖ 0x00 ‖ context when `fixedInput` is absent, PBKDF2: unused. */
  readonly info?: Uint8Array;
  readonly iterations?: number;
  /** SP 800-108 fixed input data given whole. */
  readonly fixedInput?: Uint8Array;
  /** Data for hash-derive / hmac-derive / encrypt-derive. */
  readonly data?: Uint8Array;
  readonly hash?: HashName;
  readonly cipher?: Algorithm;
  readonly iv?: Uint8Array;
}

/** What becomes of a secret value made by derive, agree, unwrap or decapsulate: a new key under a new binding. */
export interface NewKey {
  readonly binding: KeyBinding;
  /** Length in bytes where the spec leaves it open. */
  readonly length?: number;
}

/** One part of a split key: its number from 1, and the share. */
export interface KeyPart {
  readonly key: BoundKey;
  readonly part: number;
}

/** The calls a root can serve: name → [request, response]. The process boundary, the contract suite and the metrics iterate it. */
export interface RootCalls {
  generateKey: [{ readonly binding: KeyBinding; readonly bits?: number }, CreatedKey];
  /** `shortLived`: the pair ends with a session; only then are specs made that are import-only for being too weak (RSA-1024). */
  generateKeyPair: [{ readonly binding: KeyBinding; readonly publicExponent?: number; readonly shortLived?: boolean }, CreatedKey];
  /** Plain material goes straight into the root; the caller zeroes its copy. */
  importKey: [{ readonly binding: KeyBinding; readonly format: MaterialFormat; readonly material: Uint8Array }, CreatedKey];
  /** Layered roots: what the provider says of a key it has already. `ref` in the provider's words; answered with its version. */
  lookupKey: [
    { readonly ref: string },
    { readonly ref: string; readonly spec: KeySpec; readonly bits: number; readonly publicKey?: Uint8Array },
  ];
  /** Layered roots: a reference to a key that the provider has already. Nothing is made there and destroying it deletes nothing. */
  adoptKey: [{ readonly binding: KeyBinding; readonly ref: string }, CreatedKey];
  /** Refused (`not-exportable`) unless the binding says exportable and the key itself agrees. */
  exportKey: [{ readonly key: BoundKey }, { readonly format: MaterialFormat; readonly material: Uint8Array }];
  /** Releases whatever the reference holds (a token object). Idempotent. */
  destroyKey: [{ readonly key: BoundKey }, Record<never, never>];
  encrypt: [
    { readonly key: VerificationKey; readonly algorithm: Algorithm; readonly plaintext: Uint8Array } & CipherParameters,
    { readonly ciphertext: Uint8Array; readonly iv?: Uint8Array; readonly tag?: Uint8Array },
  ];
  decrypt: [
    {
      readonly key: BoundKey;
      readonly algorithm: Algorithm;
      readonly ciphertext: Uint8Array;
      readonly tag?: Uint8Array;
    } & CipherParameters,
    { readonly plaintext: Uint8Array },
  ];
  sign: [
    { readonly key: BoundKey; readonly algorithm: Algorithm; readonly data: Uint8Array } & SignParameters,
    { readonly signature: Uint8Array },
  ];
  /** A signature that does not match is `valid: false`, never an error. */
  verify: [
    {
      readonly key: VerificationKey;
      readonly algorithm: Algorithm;
      readonly data: Uint8Array;
      readonly signature: Uint8Array;
    } & SignParameters,
    { readonly valid: boolean },
  ];
  mac: [{ readonly key: BoundKey; readonly algorithm: Algorithm; readonly data: Uint8Array }, { readonly mac: Uint8Array }];
  /** Compared in constant time; `mac` may be truncated to no less than 4 bytes. */
  macVerify: [
    { readonly key: BoundKey; readonly algorithm: Algorithm; readonly data: Uint8Array; readonly mac: Uint8Array },
    { readonly valid: boolean },
  ];
  /** Wraps `key` (must be exportable) under `wrappingKey`. Private keys travel as PKCS#8. */
  wrapKey: [
    { readonly wrappingKey: VerificationKey; readonly algorithm: Algorithm; readonly key: BoundKey } & CipherParameters,
    { readonly wrapped: Uint8Array; readonly iv?: Uint8Array },
  ];
  unwrapKey: [
    {
      readonly unwrappingKey: BoundKey;
      readonly algorithm: Algorithm;
      readonly wrapped: Uint8Array;
      readonly format: MaterialFormat;
      readonly newKey: NewKey;
    } & CipherParameters,
    CreatedKey,
  ];
  /** `dataKey`: a secret whose value is the derivation data, in place of `data` (hash-derive, hmac-derive, encrypt-derive) or of `info`. */
  derive: [
    { readonly key: BoundKey; readonly algorithm: Algorithm; readonly newKey: NewKey; readonly dataKey?: BoundKey } & DeriveParameters,
    CreatedKey,
  ];
  /**
   * Splits an exportable key into as many parts as there are `newKeys`, all secrets; `threshold` of them make it again (all of them
   * for `xor`). A private key is split in its PKCS#8 form.
   */
  splitKey: [
    {
      readonly key: BoundKey;
      readonly method: SplitMethod;
      readonly threshold: number;
      /** Prime of the field, big-endian, for `prime-field`. */
      readonly prime?: Uint8Array;
      readonly newKeys: readonly NewKey[];
    },
    { readonly parts: readonly CreatedKey[] },
  ];
  /** Makes a key from parts. Exportable only if all parts are. Too few or foreign parts: `decryption-failed` where it shows. */
  joinKey: [
    {
      readonly parts: readonly KeyPart[];
      readonly method: SplitMethod;
      readonly threshold: number;
      readonly prime?: Uint8Array;
      readonly newKey: NewKey;
    },
    CreatedKey,
  ];
  /** ECDH / X25519 / X448. Without `kdf` the new key is the raw shared secret (leftmost bytes when the spec is shorter). */
  agree: [
    {
      readonly key: BoundKey;
      readonly algorithm: Algorithm;
      readonly peerPublicKey: Uint8Array;
      readonly newKey: NewKey;
      readonly kdf?: Algorithm;
    } & DeriveParameters,
    CreatedKey,
  ];
  encapsulate: [
    { readonly publicKey: Uint8Array; readonly spec: KeySpec; readonly newKey: NewKey },
    CreatedKey & { readonly ciphertext: Uint8Array },
  ];
  decapsulate: [{ readonly key: BoundKey; readonly ciphertext: Uint8Array; readonly newKey: NewKey }, CreatedKey];
  /** Wrap `bytes` of fresh randomness under the key (data key). `plaintext` only when `reveal`. */
  generateDataKey: [
    { readonly key: BoundKey; readonly length: number; readonly reveal: boolean; readonly aad?: Uint8Array },
    { readonly ciphertext: Uint8Array; readonly iv: Uint8Array; readonly tag: Uint8Array; readonly plaintext?: Uint8Array },
  ];
  /** Decrypt under one key and encrypt under another without the plaintext leaving the root. */
  reEncrypt: [
    {
      readonly from: {
        readonly key: BoundKey;
        readonly algorithm: Algorithm;
        readonly ciphertext: Uint8Array;
        readonly tag?: Uint8Array;
      } & CipherParameters;
      readonly to: { readonly key: BoundKey; readonly algorithm: Algorithm } & CipherParameters;
    },
    { readonly ciphertext: Uint8Array; readonly iv?: Uint8Array; readonly tag?: Uint8Array },
  ];
  random: [{ readonly length: number }, { readonly bytes: Uint8Array }];
  seedRandom: [{ readonly seed: Uint8Array }, { readonly accepted: number }];
  digest: [{ readonly hash: HashName; readonly data: Uint8Array }, { readonly digest: Uint8Array }];
  /** Multi-part operation: begin → update* → finish | cancel. `operation` ids are unguessable and die with the host. */
  beginOperation: [
    {
      readonly kind: 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'mac' | 'macVerify' | 'digest';
      readonly key?: VerificationKey;
      readonly algorithm?: Algorithm;
      readonly hash?: HashName;
    } & CipherParameters &
      SignParameters,
    { readonly operation: string; readonly iv?: Uint8Array },
  ];
  updateOperation: [{ readonly operation: string; readonly data: Uint8Array }, { readonly output: Uint8Array }];
  /** `signature` = signature, MAC or AEAD tag to check, where the kind needs one. */
  finishOperation: [
    { readonly operation: string; readonly data?: Uint8Array; readonly signature?: Uint8Array },
    { readonly output: Uint8Array; readonly tag?: Uint8Array; readonly valid?: boolean },
  ];
  cancelOperation: [{ readonly operation: string }, Record<never, never>];
  /** What the back end itself says about one key (token attributes: asserted, never proof). */
  evidence: [{ readonly key: BoundKey }, KeyEvidence];
  /** Re-seal or re-wrap a reference under the root's current sealing key. */
  rewrapReference: [{ readonly key: BoundKey }, { readonly reference: Uint8Array }];
  /** Software root: replace the sealing key; references are then moved with rewrapReference. */
  rotateSeal: [Record<never, never>, { readonly generation: number }];
}
export type RootCallName = keyof RootCalls;
export type RootRequest<C extends RootCallName> = RootCalls[C][0];
export type RootResponse<C extends RootCallName> = RootCalls[C][1];

export interface KeyEvidence {
  readonly provenance: KeyProvenance;
  /** Attribute name → value as text, e.g. `CKA_SENSITIVE: true`. Never key material. */
  readonly asserted: Readonly<Record<string, string>>;
}

/** One line of the capability report: this spec with this algorithm, as found by trial. */
export interface AlgorithmCapability {
  readonly algorithm: Algorithm;
  readonly specs: readonly KeySpec[];
  /** Multi-part operations too. */
  readonly multiPart: boolean;
  readonly approval: Approval;
  /** The module's own name for it (CKM_…, OpenSSL name). */
  readonly mechanism: string;
  readonly note?: string;
}

export interface SpecCapability {
  readonly spec: KeySpec;
  readonly generate: boolean;
  readonly import: boolean;
  readonly nonExtractable: boolean;
  readonly approval: Approval;
  readonly note?: string;
}

export interface RootDescription {
  /** Configured name, e.g. `software`, `softhsm`. */
  readonly id: string;
  readonly kind: 'software' | 'pkcs11' | 'cloud-envelope';
  /** Stable identity of the sealing or wrapping key (hex). A reference made under another fingerprint is refused as `wrong-root`. */
  readonly fingerprint: string;
  /** Calls this root serves. */
  readonly powers: readonly RootCallName[];
  readonly specs: readonly SpecCapability[];
  readonly algorithms: readonly AlgorithmCapability[];
  readonly hashes: readonly HashName[];
  /** Largest input of one single-part call, bytes. */
  readonly maxInput: number;
  /** Module facts as observed: library path and hash, manufacturer, model, serial, firmware, OpenSSL version … */
  readonly module: Readonly<Record<string, string>>;
  /** True where `generateKey*`/`importKey` leave something outside our database (a token object). */
  readonly external: boolean;
  /** Seal generation for software roots. */
  readonly sealGeneration?: number;
}

export interface RootHealth {
  readonly state: 'ready' | 'degraded' | 'unavailable';
  /** For operators: what is wrong and what to do next. */
  readonly detail?: string;
  /** Round trip of a real call, milliseconds. */
  readonly latencyMs?: number;
}

export interface RootOfTrust {
  describe(): Promise<RootDescription>;
  health(): Promise<RootHealth>;
  /** Throws RootFault `unsupported` for a power the root lacks. */
  call<C extends RootCallName>(name: C, request: RootRequest<C>): Promise<RootResponse<C>>;
  close(): Promise<void>;
}

/** Back ends implement this: only what they have. `toRoot` (root.ts) turns it into a RootOfTrust with the checks around it. */
export type BackEnd = {
  readonly describe: () => Promise<RootDescription>;
  readonly health: () => Promise<RootHealth>;
  readonly close: () => Promise<void>;
} & { readonly [C in RootCallName]?: (request: RootRequest<C>) => Promise<RootResponse<C>> | RootResponse<C> };
