import type { Algorithm, HashName, KeySpec } from '../vocabulary/index.js';
import { CKK } from './constants.js';

/** How a key of one specification is made and kept in this module, as the probe found it. */
export interface SpecPlan {
  readonly spec: KeySpec;
  readonly keyType: number;
  /** Key (pair) generation mechanism; absent when the module cannot. */
  readonly generate?: number;
  readonly import: boolean;
  /** CKA_EC_PARAMS in the form this module accepts. */
  readonly curveParams?: Buffer;
  /** Mechanism that wraps such keys and gives them back, for `storage: wrapped`. */
  readonly wrap?: number;
  /** The wrapping loses the length of values that are not whole 8-byte blocks (SoftHSM 2.6): those stay in the token. */
  readonly wrapsWholeBlocks?: boolean;
  /** Unwrapping needs the public point beforehand (NSS). */
  readonly needsPoint?: boolean;
  /** How an exportable key leaves: under a one-time AES key, or as an attribute of a key that is not sensitive. */
  readonly exportVia?: { readonly kind: 'wrap'; readonly mechanism: number; readonly cipher: WrapCipher } | { readonly kind: 'value' };
}

/** OpenSSL's names of RFC 5649 and RFC 3394. */
export type WrapCipher = 'id-aes256-wrap-pad' | 'id-aes256-wrap';

export interface AlgorithmPlan {
  readonly algorithm: Algorithm;
  readonly specs: readonly KeySpec[];
  /** The mechanism's number, or the first of two. */
  readonly mechanism: number;
  /** Update calls work in the module; otherwise parts are collected and done at once. */
  readonly streams: boolean;
  /** Signatures: the module hashes by itself / signs a digest. */
  readonly hashesInside?: boolean;
  readonly signsDigest?: boolean;
  /** Which of several parameter forms the module understands. */
  readonly variant?: number;
  readonly note?: string;
}

export interface Plans {
  readonly specs: ReadonlyMap<KeySpec, SpecPlan>;
  readonly algorithms: ReadonlyMap<Algorithm, AlgorithmPlan>;
  readonly hashes: readonly HashName[];
  readonly seeds: boolean;
  /** HMAC keys shorter than the digest must be padded with zeros to it. */
  readonly padsShortHmac: boolean;
  /** Key types whose operations take longer than a millisecond: those run off the event loop. */
  readonly slow: ReadonlySet<number>;
}

export const isPrivateKeyType = (keyType: number): boolean =>
  keyType === CKK.RSA || keyType === CKK.EC || keyType === CKK.EC_EDWARDS || keyType === CKK.EC_MONTGOMERY;

/** Whether a key of this size can live outside the token. */
export const canWrap = (plan: SpecPlan, bytes: number | undefined): boolean =>
  plan.wrap !== undefined && (plan.wrapsWholeBlocks !== true || bytes === undefined || bytes % 8 === 0);
