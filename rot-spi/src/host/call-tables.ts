import type {
  AlgorithmCapability,
  BoundKey,
  CreatedKey,
  KeyBinding,
  KeyPart,
  KeyProvenance,
  MaterialFormat,
  NewKey,
  RootCallName,
  RootDescription,
  RootHealth,
  RootRequest,
  RootResponse,
  SpecCapability,
  VerificationKey,
} from '../contract.js';
import type { Algorithm, Approval, HashName, KeySpec, KeyUsage, SplitMethod } from '../vocabulary/index.js';

/**
 * Every call that can cross the process boundary, field by field. The types force the table to be complete: a field
 * added to the contract doesn't compile until it has a row, and nothing without a row can cross. Order is the wire
 * order; both sides run the same build, which the first frame proves (see `TABLE_DIGEST`).
 */

type OperationKind = RootRequest<'beginOperation'>['kind'];

type KindOf<V> = [V] extends [boolean]
  ? 'flag'
  : [V] extends [number]
    ? 'uint' | 'real'
    : [V] extends [Uint8Array]
      ? 'bytes'
      : [V] extends [BoundKey]
        ? 'key'
        : [V] extends [VerificationKey]
          ? 'verificationKey'
          : [V] extends [KeyBinding]
            ? 'binding'
            : [V] extends [NewKey]
              ? 'newKey'
              : [V] extends [KeyProvenance]
                ? 'provenance'
                : [V] extends [Algorithm]
                  ? 'algorithm'
                  : [V] extends [KeySpec]
                    ? 'spec'
                    : [V] extends [HashName]
                      ? 'hash'
                      : [V] extends [MaterialFormat]
                        ? 'format'
                        : [V] extends ['der' | 'p1363']
                          ? 'signatureEncoding'
                          : [V] extends [SplitMethod]
                            ? 'splitMethod'
                            : [V] extends [OperationKind]
                              ? 'operationKind'
                              : [V] extends [Approval]
                                ? 'approval'
                                : [V] extends [RootDescription['kind']]
                                  ? 'rootKind'
                                  : [V] extends [RootHealth['state']]
                                    ? 'healthState'
                                    : [V] extends [string]
                                      ? 'text'
                                      : [V] extends [readonly KeySpec[]]
                                        ? 'specs'
                                        : [V] extends [readonly NewKey[]]
                                          ? 'newKeys'
                                          : [V] extends [readonly KeyPart[]]
                                            ? 'keyParts'
                                            : [V] extends [readonly CreatedKey[]]
                                              ? 'createdKeys'
                                              : [V] extends [readonly HashName[]]
                                                ? 'hashes'
                                                : [V] extends [readonly RootCallName[]]
                                                  ? 'powers'
                                                  : [V] extends [readonly AlgorithmCapability[]]
                                                    ? 'algorithmCapabilities'
                                                    : [V] extends [readonly SpecCapability[]]
                                                      ? 'specCapabilities'
                                                      : [V] extends [readonly KeyUsage[]]
                                                        ? 'usages'
                                                        : [V] extends [Readonly<Record<string, string>>]
                                                          ? 'texts'
                                                          : V extends object
                                                            ? FieldTable<V>
                                                            : never;

/** One row per field; a trailing `?` says that the field may be absent, exactly where the contract says so. */
export type FieldTable<T> = [keyof T] extends [never]
  ? Readonly<Record<never, never>>
  : string extends keyof T
    ? never
    : {
        readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K>
          ? KindOf<Exclude<T[K], undefined>> extends infer N extends string
            ? `${N}?`
            : never
          : KindOf<T[K]>;
      };

export interface CallRow<C extends RootCallName> {
  readonly request: FieldTable<RootRequest<C>>;
  readonly response: FieldTable<RootResponse<C>>;
  /**
   * What may be done when the host died before it answered. `again`: nothing outside the answer changed, so another host
   * may be asked once. `unless-external`: so too, except where the call leaves a token object behind. `never`.
   */
  readonly lost: 'again' | 'unless-external' | 'never';
  /** Whether this request takes seconds by nature (making primes, stretching a passphrase). Default: none does. */
  readonly heavy?: (request: RootRequest<C>) => boolean;
}

const CIPHER = { iv: 'bytes?', aad: 'bytes?', tagLength: 'uint?', label: 'bytes?', mgf1Hash: 'hash?' } as const;
const SIGNING = {
  prehashed: 'flag?',
  saltLength: 'uint?',
  anySalt: 'flag?',
  mgf1Hash: 'hash?',
  encoding: 'signatureEncoding?',
  context: 'bytes?',
} as const;
const DERIVING = {
  salt: 'bytes?',
  info: 'bytes?',
  iterations: 'uint?',
  fixedInput: 'bytes?',
  data: 'bytes?',
  hash: 'hash?',
  cipher: 'algorithm?',
  iv: 'bytes?',
} as const;
export const CREATED = {
  reference: 'bytes',
  publicKey: 'bytes?',
  bits: 'uint',
  provenance: 'provenance',
  checkValue: 'bytes?',
  digest: 'bytes?',
} as const;

export const CALLS: { readonly [C in RootCallName]: CallRow<C> } = {
  generateKey: { request: { binding: 'binding', bits: 'uint?' }, response: CREATED, lost: 'unless-external' },
  generateKeyPair: {
    request: { binding: 'binding', publicExponent: 'uint?', shortLived: 'flag?' },
    response: CREATED,
    lost: 'unless-external',
    heavy: () => true,
  },
  importKey: { request: { binding: 'binding', format: 'format', material: 'bytes' }, response: CREATED, lost: 'unless-external' },
  lookupKey: { request: { ref: 'text' }, response: { ref: 'text', spec: 'spec', bits: 'uint', publicKey: 'bytes?' }, lost: 'again' },
  adoptKey: { request: { binding: 'binding', ref: 'text' }, response: CREATED, lost: 'again' },
  exportKey: { request: { key: 'key' }, response: { format: 'format', material: 'bytes' }, lost: 'again' },
  destroyKey: { request: { key: 'key' }, response: {}, lost: 'again' },
  encrypt: {
    request: { key: 'verificationKey', algorithm: 'algorithm', plaintext: 'bytes', ...CIPHER },
    response: { ciphertext: 'bytes', iv: 'bytes?', tag: 'bytes?' },
    lost: 'again',
  },
  decrypt: {
    request: { key: 'key', algorithm: 'algorithm', ciphertext: 'bytes', tag: 'bytes?', ...CIPHER },
    response: { plaintext: 'bytes' },
    lost: 'again',
  },
  sign: {
    request: { key: 'key', algorithm: 'algorithm', data: 'bytes', ...SIGNING },
    response: { signature: 'bytes' },
    lost: 'again',
    heavy: ({ algorithm }) => algorithm === 'slh-dsa',
  },
  verify: {
    request: { key: 'verificationKey', algorithm: 'algorithm', data: 'bytes', signature: 'bytes', ...SIGNING },
    response: { valid: 'flag' },
    lost: 'again',
  },
  mac: { request: { key: 'key', algorithm: 'algorithm', data: 'bytes' }, response: { mac: 'bytes' }, lost: 'again' },
  macVerify: {
    request: { key: 'key', algorithm: 'algorithm', data: 'bytes', mac: 'bytes' },
    response: { valid: 'flag' },
    lost: 'again',
  },
  wrapKey: {
    request: { wrappingKey: 'verificationKey', algorithm: 'algorithm', key: 'key', ...CIPHER },
    response: { wrapped: 'bytes', iv: 'bytes?' },
    lost: 'again',
  },
  unwrapKey: {
    request: { unwrappingKey: 'key', algorithm: 'algorithm', wrapped: 'bytes', format: 'format', newKey: 'newKey', ...CIPHER },
    response: CREATED,
    lost: 'unless-external',
  },
  derive: {
    request: { key: 'key', algorithm: 'algorithm', newKey: 'newKey', dataKey: 'key?', ...DERIVING },
    response: CREATED,
    lost: 'unless-external',
    heavy: ({ algorithm }) => String(algorithm).startsWith('pbkdf2'),
  },
  splitKey: {
    request: { key: 'key', method: 'splitMethod', threshold: 'uint', prime: 'bytes?', newKeys: 'newKeys' },
    response: { parts: 'createdKeys' },
    lost: 'unless-external',
  },
  joinKey: {
    request: { parts: 'keyParts', method: 'splitMethod', threshold: 'uint', prime: 'bytes?', newKey: 'newKey' },
    response: CREATED,
    lost: 'unless-external',
  },
  agree: {
    request: { key: 'key', algorithm: 'algorithm', peerPublicKey: 'bytes', newKey: 'newKey', kdf: 'algorithm?', ...DERIVING },
    response: CREATED,
    lost: 'unless-external',
  },
  encapsulate: {
    request: { publicKey: 'bytes', spec: 'spec', newKey: 'newKey' },
    response: { ...CREATED, ciphertext: 'bytes' },
    lost: 'unless-external',
  },
  decapsulate: { request: { key: 'key', ciphertext: 'bytes', newKey: 'newKey' }, response: CREATED, lost: 'unless-external' },
  generateDataKey: {
    request: { key: 'key', length: 'uint', reveal: 'flag', aad: 'bytes?' },
    response: { ciphertext: 'bytes', iv: 'bytes', tag: 'bytes', plaintext: 'bytes?' },
    lost: 'again',
  },
  reEncrypt: {
    request: {
      from: { key: 'key', algorithm: 'algorithm', ciphertext: 'bytes', tag: 'bytes?', ...CIPHER },
      to: { key: 'key', algorithm: 'algorithm', ...CIPHER },
    },
    response: { ciphertext: 'bytes', iv: 'bytes?', tag: 'bytes?' },
    lost: 'again',
  },
  random: { request: { length: 'uint' }, response: { bytes: 'bytes' }, lost: 'again' },
  seedRandom: { request: { seed: 'bytes' }, response: { accepted: 'uint' }, lost: 'never' },
  digest: { request: { hash: 'hash', data: 'bytes' }, response: { digest: 'bytes' }, lost: 'again' },
  beginOperation: {
    request: { kind: 'operationKind', key: 'verificationKey?', algorithm: 'algorithm?', hash: 'hash?', ...CIPHER, ...SIGNING },
    response: { operation: 'text', iv: 'bytes?' },
    lost: 'again',
  },
  updateOperation: { request: { operation: 'text', data: 'bytes' }, response: { output: 'bytes' }, lost: 'never' },
  finishOperation: {
    request: { operation: 'text', data: 'bytes?', signature: 'bytes?' },
    response: { output: 'bytes', tag: 'bytes?', valid: 'flag?' },
    lost: 'never',
  },
  cancelOperation: { request: { operation: 'text' }, response: {}, lost: 'never' },
  evidence: { request: { key: 'key' }, response: { provenance: 'provenance', asserted: 'texts' }, lost: 'again' },
  rewrapReference: { request: { key: 'key' }, response: { reference: 'bytes' }, lost: 'unless-external' },
  rotateSeal: { request: {}, response: { generation: 'uint' }, lost: 'never' },
};

export const CALL_NAMES = Object.keys(CALLS) as readonly RootCallName[];

/** Calls whose request names the multi-part operation they continue. */
export const CONTINUING_CALLS = ['updateOperation', 'finishOperation', 'cancelOperation'] as const satisfies readonly RootCallName[];

export const DESCRIPTION_FIELDS: FieldTable<RootDescription> = {
  id: 'text',
  kind: 'rootKind',
  fingerprint: 'text',
  powers: 'powers',
  specs: 'specCapabilities',
  algorithms: 'algorithmCapabilities',
  hashes: 'hashes',
  maxInput: 'uint',
  module: 'texts',
  external: 'flag',
  sealGeneration: 'uint?',
};

export const SPEC_CAPABILITY_FIELDS: FieldTable<SpecCapability> = {
  spec: 'spec',
  generate: 'flag',
  import: 'flag',
  nonExtractable: 'flag',
  approval: 'approval',
  note: 'text?',
};

export const ALGORITHM_CAPABILITY_FIELDS: FieldTable<AlgorithmCapability> = {
  algorithm: 'algorithm',
  specs: 'specs',
  multiPart: 'flag',
  approval: 'approval',
  mechanism: 'text',
  note: 'text?',
};

export const HEALTH_FIELDS: FieldTable<RootHealth> = { state: 'healthState', detail: 'text?', latencyMs: 'real?' };
export const BINDING_FIELDS: FieldTable<KeyBinding> = {
  objectId: 'text',
  version: 'uint',
  tenant: 'text',
  spec: 'spec',
  usage: 'usages',
  exportable: 'flag',
};
export const PROVENANCE_FIELDS: FieldTable<KeyProvenance> = { local: 'flag', alwaysSensitive: 'flag', neverExtractable: 'flag' };
export const NEW_KEY_FIELDS: FieldTable<NewKey> = { binding: 'binding', length: 'uint?' };
export const KEY_PART_FIELDS: FieldTable<KeyPart> = { key: 'key', part: 'uint' };
