import type { BoundKey, RootCallName, RootDescription, RootRequest, VerificationKey } from '../contract.js';
import type { Algorithm, AlgorithmKind, AlgorithmRow, HashName, KeySpecRow, KeyUsage } from '../vocabulary/index.js';
import { KEY_SPECS, type KeySpec, SPLIT_METHODS } from '../vocabulary/index.js';
import {
  checkBinding,
  checkBoundKey,
  checkExportable,
  checkMaterial,
  checkNewLength,
  checkNewSecret,
  checkPublicKey,
  checkUsage,
  checkVerificationKey,
  isBound,
  keyBytes,
} from './keys.js';
import {
  checkAlgorithm,
  checkCipherParameters,
  checkDeriveParameters,
  checkHash,
  checkSignedData,
  checkSignParameters,
  checkWholeBlocks,
  splitTag,
} from './parameters.js';
import {
  checkBytes,
  checkInteger,
  checkRecord,
  checkText,
  invalid,
  MAX_DATA_KEY_BYTES,
  MAX_KEY_REF_CHARACTERS,
  MAX_MATERIAL_BYTES,
  MAX_OPERATION_ID_CHARACTERS,
  MAX_PUBLIC_KEY_BYTES,
  MAX_RANDOM_BYTES,
  MAX_SECRET_BYTES,
  MIN_GENERATED_BITS,
  unsupported,
} from './primitives.js';

/** What the back end said it can do, indexed for the hot path. */
export interface Capabilities {
  readonly description: RootDescription;
  readonly algorithms: ReadonlyMap<Algorithm, { readonly specs: ReadonlySet<KeySpec>; readonly multiPart: boolean }>;
  readonly specs: ReadonlyMap<KeySpec, { readonly generate: boolean; readonly import: boolean }>;
  readonly hashes: ReadonlySet<HashName>;
  readonly powers: ReadonlySet<RootCallName>;
}

/** Room for an AEAD tag, padding or a wrapping header over `maxInput` when ciphertext comes back in. */
const MAX_EXPANSION_BYTES = 1_024;
const MAX_PUBLIC_EXPONENT = 0xffff_ffff;
const MAX_CIPHERTEXT_TAG_BYTES = 16_384;

type RequestCheck<C extends RootCallName> = (request: RootRequest<C>, can: Capabilities) => RootRequest<C>;
type Row = AlgorithmRow & { readonly name: Algorithm };
type Spec = KeySpecRow & { readonly name: KeySpec };

const checkSupported = (can: Capabilities, row: Row, spec: Spec, multiPart = false): void => {
  const line = can.algorithms.get(row.name);
  if (!line?.specs.has(spec.name))
    throw unsupported(`this root has no ${row.name} for ${spec.name} keys`, 'See the capability report of the root.');
  if (multiPart && !line.multiPart) throw unsupported(`this root does ${row.name} in a single part only`);
};

const fittingRow = (can: Capabilities, algorithm: unknown, kind: AlgorithmKind, spec: Spec, multiPart = false): Row => {
  const row = checkAlgorithm(algorithm, kind, spec);
  checkSupported(can, row, spec, multiPart);
  return row;
};

const specOfPublic = (key: VerificationKey, algorithm: unknown): void => {
  if (!isBound(key) && KEY_SPECS[key.spec].shape !== 'pair') throw invalid(`${String(algorithm)} needs a bound key`);
};

const checkProtect = (
  request: RootRequest<'reEncrypt'>['to'] | RootRequest<'encrypt'>,
  input: Uint8Array | undefined,
  can: Capabilities,
): void => {
  const spec = checkVerificationKey(request.key);
  specOfPublic(request.key, request.algorithm);
  const row = fittingRow(can, request.algorithm, 'cipher', spec);
  checkUsage(request.key, ['encrypt']);
  checkCipherParameters(row, request, 'out', can.description.maxInput);
  if (input !== undefined) {
    checkBytes(input, 'plaintext', can.description.maxInput);
    checkWholeBlocks(row, input, 'out');
  }
};

const checkProcess = (request: RootRequest<'decrypt'>, can: Capabilities): RootRequest<'decrypt'> => {
  const spec = checkBoundKey(request.key);
  const row = fittingRow(can, request.algorithm, 'cipher', spec);
  checkUsage(request.key, ['decrypt']);
  checkCipherParameters(row, request, 'in', can.description.maxInput);
  checkBytes(request.ciphertext, 'ciphertext', can.description.maxInput + MAX_EXPANSION_BYTES);
  checkWholeBlocks(row, request.ciphertext, 'in');
  return { ...request, ...splitTag(row, request.ciphertext, request.tag, request.tagLength) };
};

const checkSigning = (request: RootRequest<'sign'> | RootRequest<'verify'>, can: Capabilities, usage: KeyUsage): void => {
  const spec = checkVerificationKey(request.key);
  const row = fittingRow(can, request.algorithm, 'signature', spec);
  checkUsage(request.key, [usage]);
  checkSignParameters(row, spec, request);
  checkBytes(request.data, 'data', can.description.maxInput);
  checkSignedData(row, spec, request.prehashed, request.data);
};

const checkMacing = (request: RootRequest<'mac'>, can: Capabilities, usage: KeyUsage): void => {
  const spec = checkBoundKey(request.key);
  fittingRow(can, request.algorithm, 'mac', spec);
  checkUsage(request.key, [usage]);
  checkBytes(request.data, 'data', can.description.maxInput);
};

const checkGenerated = (spec: Spec, can: Capabilities, shortLived = false): void => {
  if (spec.importOnly && shortLived && can.specs.get(spec.name)?.import) return;
  if (spec.importOnly) throw unsupported(`${spec.name} keys are too weak to be made today`, 'Choose a stronger key specification.');
  if (!can.specs.get(spec.name)?.generate)
    throw unsupported(`this root does not generate ${spec.name} keys`, 'See the capability report of the root.');
};

const checkGenerate: RequestCheck<'generateKey'> = (request, can) => {
  const spec = checkBinding(request.binding);
  if (spec.shape === 'pair') throw invalid(`${spec.name} is a key pair: use generateKeyPair`);
  checkGenerated(spec, can);
  if (request.bits === undefined) return request;
  const exact = keyBytes(spec);
  if (exact !== undefined && request.bits !== exact * 8 && request.bits !== spec.bits) throw invalid(`${spec.name} has ${spec.bits} bits`);
  // Secret data is no key: how long a random value has to be is for whoever uses it to say.
  checkInteger(request.bits, 'bits', spec.shape === 'secret' ? 8 : MIN_GENERATED_BITS, MAX_SECRET_BYTES * 8);
  if (request.bits % 8 !== 0) throw invalid('bits must be a multiple of 8');
  return request;
};

const checkGeneratePair: RequestCheck<'generateKeyPair'> = (request, can) => {
  const spec = checkBinding(request.binding);
  if (spec.shape !== 'pair') throw invalid(`${spec.name} is not a key pair: use generateKey`);
  if (request.shortLived !== undefined && typeof request.shortLived !== 'boolean') throw invalid('shortLived must be true or false');
  checkGenerated(spec, can, request.shortLived === true);
  if (request.publicExponent === undefined) return request;
  if (spec.family !== 'rsa') throw invalid(`${spec.name} has no public exponent`);
  // FIPS 186-5 §A.1.1: odd, above 2^16.
  if (checkInteger(request.publicExponent, 'publicExponent', 65_537, MAX_PUBLIC_EXPONENT) % 2 === 0)
    throw invalid('publicExponent must be odd');
  return request;
};

const checkImported = (spec: Spec, can: Capabilities): void => {
  if (!can.specs.get(spec.name)?.import)
    throw unsupported(`this root does not import ${spec.name} keys`, 'See the capability report of the root.');
};

const checkDerivedKey = (spec: Spec, can: Capabilities): void => {
  const line = can.specs.get(spec.name);
  if (!line?.import && !line?.generate) throw unsupported(`this root holds no ${spec.name} keys`, 'See the capability report of the root.');
};

const checkWrapping: RequestCheck<'wrapKey'> = (request, can) => {
  const spec = checkVerificationKey(request.wrappingKey, 'wrappingKey');
  checkBoundKey(request.key);
  specOfPublic(request.wrappingKey, request.algorithm);
  const row = fittingRow(can, request.algorithm, 'wrap', spec);
  checkUsage(request.wrappingKey, ['wrap']);
  checkExportable(request.key);
  checkCipherParameters(row, request, 'out', can.description.maxInput);
  return request;
};

const checkUnwrapping: RequestCheck<'unwrapKey'> = (request, can) => {
  const spec = checkBoundKey(request.unwrappingKey, 'unwrappingKey');
  const row = fittingRow(can, request.algorithm, 'wrap', spec);
  checkUsage(request.unwrappingKey, ['unwrap']);
  checkCipherParameters(row, request, 'in', can.description.maxInput);
  checkBytes(request.wrapped, 'wrapped', MAX_MATERIAL_BYTES + MAX_EXPANSION_BYTES, 1);
  checkRecord(request.newKey, 'newKey');
  const made = checkBinding(request.newKey.binding);
  checkNewLength(made, request.newKey.length);
  checkMaterial(made, request.format);
  if (request.format === 'spki') throw invalid('a public key is not wrapped: import it');
  checkDerivedKey(made, can);
  return request;
};

const checkDeriving: RequestCheck<'derive'> = (request, can) => {
  const spec = checkBoundKey(request.key);
  const row = fittingRow(can, request.algorithm, 'derive', spec);
  checkUsage(request.key, ['derive']);
  checkDerivedKey(checkNewSecret(request.newKey), can);
  if (request.dataKey === undefined) {
    checkDeriveParameters(row, spec, request, can.description.maxInput);
    return request;
  }
  if (KEY_SPECS[checkBoundKey(request.dataKey, 'dataKey').name].shape !== 'secret') throw invalid('dataKey must be a secret');
  checkUsage(request.dataKey, ['derive']);
  const field = dataField(row.name);
  if (request[field] !== undefined) throw invalid(`dataKey stands for ${field}`);
  checkDeriveParameters(row, spec, { ...request, [field]: EMPTY }, can.description.maxInput);
  return request;
};

const EMPTY = new Uint8Array();
/** What the value of `dataKey` is to a derivation. */
export const dataField = (algorithm: Algorithm): 'data' | 'info' => (algorithm.endsWith('-derive') ? 'data' : 'info');

const checkAgreeing: RequestCheck<'agree'> = (request, can) => {
  const spec = checkBoundKey(request.key);
  fittingRow(can, request.algorithm, 'agree', spec);
  // CKA_DERIVE covers ECDH in PKCS#11 v2.40 §2.3.5, so either word allows it.
  checkUsage(request.key, ['agree', 'derive']);
  checkPublicKey(request.peerPublicKey, spec.name, 'peerPublicKey');
  checkDerivedKey(checkNewSecret(request.newKey), can);
  if (request.kdf === undefined) return request;
  const secret = KEY_SPECS.secret as Spec;
  checkDeriveParameters(fittingRow(can, request.kdf, 'derive', secret), secret, request, can.description.maxInput);
  return request;
};

/** KMIP part numbers are evaluated in GF(2^8) too. */
const MAX_PARTS = 255;

const checkSharing = (request: RootRequest<'splitKey'> | RootRequest<'joinKey'>, parts: number): void => {
  if (!(SPLIT_METHODS as readonly unknown[]).includes(request.method)) throw unsupported('this method of splitting is not known');
  checkInteger(parts, 'the number of parts', 1, MAX_PARTS);
  checkInteger(request.threshold, 'threshold', 2, MAX_PARTS);
  if ((request.prime !== undefined) !== (request.method === 'prime-field')) throw invalid('prime is for the prime field, which needs it');
  if (request.prime !== undefined) checkBytes(request.prime, 'prime', MAX_MATERIAL_BYTES, 1);
};

const checkSplitting: RequestCheck<'splitKey'> = (request, can) => {
  checkBoundKey(request.key);
  if (!Array.isArray(request.newKeys)) throw invalid('newKeys must be a list');
  checkSharing(request, request.newKeys.length);
  const parts = request.newKeys.length;
  if (request.threshold > parts || (request.method === 'xor' && request.threshold !== parts))
    throw invalid(`a threshold of ${request.threshold} does not fit ${parts} parts`);
  // Parts are for keeping elsewhere, and enough of them are the key.
  checkExportable(request.key);
  for (const newKey of request.newKeys) {
    const spec = checkNewSecret(newKey);
    if (spec.shape !== 'secret') throw invalid('a part of a key is a secret');
    checkDerivedKey(spec, can);
  }
  return request;
};

const checkJoining: RequestCheck<'joinKey'> = (request, can) => {
  if (!Array.isArray(request.parts)) throw invalid('parts must be a list');
  checkSharing(request, request.parts.length);
  checkRecord(request.newKey, 'newKey');
  const made = checkBinding(request.newKey.binding);
  checkNewLength(made, request.newKey.length);
  checkDerivedKey(made, can);
  for (const part of request.parts) {
    checkRecord(part, 'parts');
    if (checkBoundKey(part.key).shape !== 'secret') throw invalid('a part of a key is a secret');
    checkInteger(part.part, 'part', 1, MAX_PARTS);
    if (request.newKey.binding.exportable) checkExportable(part.key);
  }
  return request;
};

const checkKem = (spec: Spec, can: Capabilities): void => {
  fittingRow(can, 'ml-kem', 'kem', spec);
};

const BEGIN: ReadonlyMap<unknown, readonly [KeyUsage, AlgorithmKind]> = new Map([
  ['encrypt', ['encrypt', 'cipher']],
  ['decrypt', ['decrypt', 'cipher']],
  ['sign', ['sign', 'signature']],
  ['verify', ['verify', 'signature']],
  ['mac', ['mac', 'mac']],
  ['macVerify', ['mac-verify', 'mac']],
]);

const checkBegin: RequestCheck<'beginOperation'> = (request, can) => {
  if (request.kind === 'digest') {
    checkHash(request.hash);
    if (request.hash === undefined || !can.hashes.has(request.hash)) throw unsupported('this root does not have this hash');
    return request;
  }
  const rule = BEGIN.get(request.kind);
  if (rule === undefined) throw invalid('kind of operation is not known');
  const [usage, kind] = rule;
  if (request.key === undefined) throw invalid(`${request.kind} needs a key`);
  const spec = checkVerificationKey(request.key);
  if (!isBound(request.key) && request.kind !== 'verify' && request.kind !== 'encrypt') throw invalid(`${request.kind} needs a bound key`);
  const row = fittingRow(can, request.algorithm, kind, spec, true);
  checkUsage(request.key, [usage]);
  if (kind === 'cipher') checkCipherParameters(row, request, request.kind === 'decrypt' ? 'in' : 'out', can.description.maxInput);
  if (kind === 'signature') {
    checkSignParameters(row, spec, request);
    if (request.anySalt === true && request.kind === 'sign') throw invalid('anySalt is for verification');
    if (request.prehashed) throw unsupported('a digest made by the caller is signed in a single part');
  }
  return request;
};

const onBoundKey = <R extends { readonly key: BoundKey }>(request: R): R => {
  checkBoundKey(request.key);
  return request;
};

const checkOperationId = (operation: unknown): void => {
  checkText(operation, 'operation', MAX_OPERATION_ID_CHARACTERS);
};

/** What must hold before a back end sees a call. Each returns the request, in the one form that back ends get. */
export const REQUEST_CHECKS: { readonly [C in RootCallName]: RequestCheck<C> } = {
  generateKey: checkGenerate,
  generateKeyPair: checkGeneratePair,
  importKey: (request, can) => {
    const spec = checkBinding(request.binding);
    checkImported(spec, can);
    checkBytes(request.material, 'material', MAX_MATERIAL_BYTES, 1);
    checkMaterial(spec, request.format, request.material);
    return request;
  },
  lookupKey: (request) => {
    checkText(request.ref, 'ref', MAX_KEY_REF_CHARACTERS);
    return request;
  },
  adoptKey: (request) => {
    checkBinding(request.binding);
    checkText(request.ref, 'ref', MAX_KEY_REF_CHARACTERS);
    return request;
  },
  exportKey: (request) => {
    checkBoundKey(request.key);
    checkExportable(request.key);
    return request;
  },
  destroyKey: onBoundKey,
  encrypt: (request, can) => {
    checkBytes(request.plaintext, 'plaintext', can.description.maxInput);
    checkProtect(request, request.plaintext, can);
    return request;
  },
  decrypt: checkProcess,
  sign: (request, can) => {
    checkBoundKey(request.key);
    if (request.anySalt === true) throw invalid('anySalt is for verification');
    checkSigning(request, can, 'sign');
    return request;
  },
  verify: (request, can) => {
    checkSigning(request, can, 'verify');
    checkBytes(request.signature, 'signature', MAX_PUBLIC_KEY_BYTES * 4);
    return request;
  },
  mac: (request, can) => {
    checkMacing(request, can, 'mac');
    return request;
  },
  macVerify: (request, can) => {
    checkMacing(request, can, 'mac-verify');
    checkBytes(request.mac, 'mac', MAX_CIPHERTEXT_TAG_BYTES);
    return request;
  },
  wrapKey: checkWrapping,
  unwrapKey: checkUnwrapping,
  derive: checkDeriving,
  splitKey: checkSplitting,
  joinKey: checkJoining,
  agree: checkAgreeing,
  encapsulate: (request, can) => {
    checkKem(checkPublicKey(request.publicKey, request.spec), can);
    checkDerivedKey(checkNewSecret(request.newKey), can);
    return request;
  },
  decapsulate: (request, can) => {
    checkKem(checkBoundKey(request.key), can);
    checkUsage(request.key, ['agree', 'derive']);
    checkBytes(request.ciphertext, 'ciphertext', MAX_PUBLIC_KEY_BYTES, 1);
    checkDerivedKey(checkNewSecret(request.newKey), can);
    return request;
  },
  generateDataKey: (request, can) => {
    const spec = checkBoundKey(request.key);
    fittingRow(can, spec.family === 'chacha20' ? 'chacha20-poly1305' : 'aes-gcm', 'cipher', spec);
    checkUsage(request.key, ['encrypt', 'wrap']);
    checkInteger(request.length, 'length', 1, MAX_DATA_KEY_BYTES);
    if (typeof request.reveal !== 'boolean') throw invalid('reveal must be true or false');
    if (request.aad !== undefined) checkBytes(request.aad, 'aad', can.description.maxInput);
    return request;
  },
  reEncrypt: (request, can) => {
    checkRecord(request.from, 'from');
    checkRecord(request.to, 'to');
    checkBoundKey(request.to.key);
    checkProtect(request.to, undefined, can);
    return { from: checkProcess(request.from, can), to: request.to };
  },
  random: (request) => {
    checkInteger(request.length, 'length', 0, MAX_RANDOM_BYTES);
    return request;
  },
  seedRandom: (request, can) => {
    checkBytes(request.seed, 'seed', can.description.maxInput);
    return request;
  },
  digest: (request, can) => {
    checkHash(request.hash);
    if (!can.hashes.has(request.hash)) throw unsupported(`this root does not have ${request.hash}`);
    checkBytes(request.data, 'data', can.description.maxInput);
    return request;
  },
  beginOperation: checkBegin,
  updateOperation: (request, can) => {
    checkOperationId(request.operation);
    checkBytes(request.data, 'data', can.description.maxInput);
    return request;
  },
  finishOperation: (request, can) => {
    checkOperationId(request.operation);
    if (request.data !== undefined) checkBytes(request.data, 'data', can.description.maxInput);
    if (request.signature !== undefined) checkBytes(request.signature, 'signature', MAX_PUBLIC_KEY_BYTES * 4);
    return request;
  },
  cancelOperation: (request) => {
    checkOperationId(request.operation);
    return request;
  },
  evidence: onBoundKey,
  rewrapReference: onBoundKey,
  rotateSeal: (request) => request,
};
