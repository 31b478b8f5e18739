import type { CipherParameters, DeriveParameters, SignParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import {
  ALGORITHMS,
  type Algorithm,
  type AlgorithmKind,
  type AlgorithmRow,
  HASH_BYTES,
  HASHES,
  isAlgorithm,
  type KeySpecRow,
} from '../vocabulary/index.js';
import { checkBytes, checkInteger, invalid, MAX_CONTEXT_BYTES, MAX_LABEL_BYTES, MAX_PBKDF2_ITERATIONS, unsupported } from './primitives.js';

/** SP 800-38D §5.2.1.2: the tag lengths GCM may have, bytes. */
const GCM_TAG_BYTES: ReadonlySet<number> = new Set([4, 8, 12, 13, 14, 15, 16]);
/** SP 800-38C App. A.1: even, of 4 to 16 bytes. */
const CCM_TAG_BYTES: ReadonlySet<number> = new Set([4, 6, 8, 10, 12, 14, 16]);
/** RFC 8439 has 16; KMIP's CS-BC-M-CHACHA20POLY1305-1 cuts the tag to 12 as GCM may. */
const POLY1305_TAG_BYTES: ReadonlySet<number> = new Set([12, 13, 14, 15, 16]);
const tagBytes = (row: AlgorithmRow): ReadonlySet<number> =>
  row.name === 'chacha20-poly1305' ? POLY1305_TAG_BYTES : row.name === 'aes-ccm' ? CCM_TAG_BYTES : GCM_TAG_BYTES;
/** A whole counter block, an RFC 8439 nonce (counter 0), or Bernstein's 64-bit nonce (counter 0). */
const CHACHA20_IV_BYTES: ReadonlySet<number> = new Set([8, 12, 16]);
const MAX_RAW_DIGEST_BYTES = 64;
const HASH_SET: ReadonlySet<string> = new Set(HASHES);

export const checkHash = (hash: unknown, name = 'hash'): void => {
  if (typeof hash !== 'string' || !HASH_SET.has(hash)) throw unsupported(`${name} is not a known hash`);
};

/** The row of an algorithm of the wanted kind that fits the key's family. */
export const checkAlgorithm = (algorithm: unknown, kind: AlgorithmKind, spec: KeySpecRow): AlgorithmRow & { readonly name: Algorithm } => {
  if (typeof algorithm !== 'string' || !isAlgorithm(algorithm)) throw unsupported('this algorithm is not known');
  const row = ALGORITHMS[algorithm];
  if (row.kind !== kind) throw invalid(`${algorithm} is a ${row.kind} algorithm, not a ${kind} algorithm`);
  if (!row.families.includes(spec.family)) throw invalid(`${algorithm} does not work with a ${spec.name} key`);
  if (spec.family === 'eddsa' && algorithm !== spec.name) throw invalid(`${algorithm} does not work with a ${spec.name} key`);
  if (kind === 'mac' && spec.family === 'hmac' && row.hash !== spec.hash)
    throw invalid(`${algorithm} does not work with a ${spec.name} key`);
  return row as AlgorithmRow & { readonly name: Algorithm };
};

/** Bytes of a block where input must be whole blocks on decryption, padded modes included. */
const blockBytes = (row: AlgorithmRow): number | undefined => {
  if (row.blockLength !== undefined) return row.blockLength;
  if (!row.name.includes('-pkcs5')) return undefined;
  return row.name.startsWith('des3') ? 8 : 16;
};

const checkIv = (row: AlgorithmRow, iv: Uint8Array | undefined, required: boolean): void => {
  if (iv === undefined) {
    if (required && row.ivLength !== undefined) throw invalid(`${row.name} needs the IV it was encrypted with`);
    return;
  }
  if (row.ivLength === undefined) throw invalid(`${row.name} takes no IV`);
  const [min, max] = row.ivRange ?? [row.ivLength, row.ivLength];
  if (!(iv instanceof Uint8Array)) throw invalid('iv must be bytes');
  if (iv.length < min || iv.length > max || (row.name === 'chacha20' && !CHACHA20_IV_BYTES.has(iv.length)))
    throw invalid(`an IV of ${iv.length} bytes does not fit ${row.name}`);
};

const checkTagLength = (row: AlgorithmRow, tagLength: number): void => {
  if (typeof tagLength !== 'number') throw invalid('tagLength must be a number of bytes');
  if (!tagBytes(row).has(tagLength)) throw invalid(`${row.name} cannot have a tag of ${tagLength} bytes`);
};

export const checkCipherParameters = (row: AlgorithmRow, parameters: CipherParameters, direction: 'in' | 'out', maxInput: number): void => {
  const aead = row.tagLength !== undefined;
  const oaep = row.name.includes('oaep') || row.name === 'rsa-aes-kwp';
  checkIv(row, parameters.iv, direction === 'in');
  if (parameters.aad !== undefined) {
    if (!aead) throw invalid(`${row.name} authenticates no additional data`);
    checkBytes(parameters.aad, 'aad', maxInput);
  }
  if (parameters.tagLength !== undefined) {
    if (!aead) throw invalid(`${row.name} has no tag`);
    checkTagLength(row, parameters.tagLength);
  }
  if (parameters.label !== undefined) {
    if (!oaep) throw invalid(`${row.name} takes no label`);
    checkBytes(parameters.label, 'label', MAX_LABEL_BYTES);
  }
  if (parameters.mgf1Hash !== undefined) {
    if (!oaep) throw invalid(`${row.name} has no mask generation function`);
    checkHash(parameters.mgf1Hash, 'mgf1Hash');
  }
};

export const checkWholeBlocks = (row: AlgorithmRow, input: Uint8Array, direction: 'in' | 'out'): void => {
  const block = direction === 'in' ? blockBytes(row) : row.blockLength;
  if (block !== undefined && input.length % block !== 0) throw invalid(`${row.name} input must be a multiple of ${block} bytes`);
  if (direction === 'in' && row.blockLength === undefined && block !== undefined && input.length === 0)
    throw invalid(`${row.name} input must have at least one block`);
};

/**
 * The tag of an AEAD ciphertext may come apart or as the last bytes of the ciphertext (RFC 5116 §5.1); back ends always
 * get it apart.
 */
export const splitTag = (
  row: AlgorithmRow,
  ciphertext: Uint8Array,
  tag: Uint8Array | undefined,
  tagLength: number | undefined,
): { readonly ciphertext: Uint8Array; readonly tag?: Uint8Array } => {
  if (row.tagLength === undefined) {
    if (tag !== undefined) throw invalid(`${row.name} has no tag`);
    return { ciphertext };
  }
  if (tag !== undefined) {
    checkBytes(tag, 'tag', 16, 1);
    checkTagLength(row, tag.length);
    if (tagLength !== undefined && tagLength !== tag.length) throw invalid('tag and tagLength disagree');
    return { ciphertext, tag };
  }
  const length = tagLength ?? row.tagLength;
  if (ciphertext.length < length) throw new RootFault('decryption-failed', 'the ciphertext does not decrypt');
  return { ciphertext: ciphertext.subarray(0, ciphertext.length - length), tag: ciphertext.subarray(ciphertext.length - length) };
};

export const checkSignParameters = (row: AlgorithmRow, spec: KeySpecRow, parameters: SignParameters): void => {
  const pss = row.name.startsWith('rsa-pss');
  if (parameters.prehashed && row.hash === undefined)
    throw unsupported(`${row.name} signs the message itself, not a digest`, 'Send the message, or use an algorithm with a hash.');
  if (parameters.saltLength !== undefined) {
    if (!pss) throw invalid(`${row.name} has no salt`);
    const max = Math.ceil((spec.bits - 1) / 8) - (row.hash === undefined ? 0 : HASH_BYTES[row.hash]) - 2; // RFC 8017 §9.1.1 step 3
    if (checkInteger(parameters.saltLength, 'saltLength', 0, 65_535) > max) throw invalid(`a salt of more than ${max} bytes does not fit`);
  }
  if (parameters.anySalt !== undefined && (!pss || parameters.saltLength !== undefined))
    throw invalid('anySalt is for RSA-PSS without a salt length');
  if (parameters.mgf1Hash !== undefined) {
    if (!pss) throw invalid(`${row.name} has no mask generation function`);
    checkHash(parameters.mgf1Hash, 'mgf1Hash');
  }
  if (parameters.encoding !== undefined) {
    if (!row.name.startsWith('ecdsa')) throw invalid(`${row.name} has only one encoding`);
    if (parameters.encoding !== 'der' && parameters.encoding !== 'p1363') throw invalid('encoding must be der or p1363');
  }
  if (parameters.context !== undefined) {
    if (!['ed448', 'ml-dsa', 'slh-dsa'].includes(row.name)) throw invalid(`${row.name} takes no context`);
    checkBytes(parameters.context, 'context', MAX_CONTEXT_BYTES);
  }
};

export const checkSignedData = (row: AlgorithmRow, spec: KeySpecRow, prehashed: boolean | undefined, data: Uint8Array): void => {
  if (prehashed && row.hash !== undefined && data.length !== HASH_BYTES[row.hash])
    throw invalid(`a ${row.hash} digest has ${HASH_BYTES[row.hash]} bytes, not ${data.length}`);
  if (row.name === 'ecdsa-raw' && (data.length === 0 || data.length > MAX_RAW_DIGEST_BYTES))
    throw invalid(`ecdsa-raw takes a digest of 1 to ${MAX_RAW_DIGEST_BYTES} bytes`);
  // RFC 8017 §9.2 step 3: at least 11 bytes of padding.
  if (row.name === 'rsa-pkcs1-raw' && data.length > spec.bits / 8 - 11) throw invalid('the data is too long for this RSA key');
};

const DERIVE_FIELDS = ['salt', 'info', 'fixedInput', 'data', 'iv'] as const;

const requireOnly = (row: AlgorithmRow, parameters: DeriveParameters, allowed: readonly (keyof DeriveParameters)[]): void => {
  for (const field of [...DERIVE_FIELDS, 'iterations', 'hash', 'cipher'] as const)
    if (parameters[field] !== undefined && !allowed.includes(field)) throw invalid(`${row.name} takes no ${field}`);
};

/** Which parameters each derivation takes, by its prefix. `!` marks the ones it needs. */
const DERIVATIONS: readonly (readonly [
  prefix: string,
  allowed: readonly (keyof DeriveParameters)[],
  needed: readonly (keyof DeriveParameters)[],
])[] = [
  ['hkdf', ['salt', 'info'], []],
  ['pbkdf2', ['salt', 'iterations'], ['salt', 'iterations']],
  ['sp800-108-feedback', ['info', 'fixedInput', 'iv'], []],
  ['sp800-108', ['info', 'fixedInput'], []],
  ['hash-derive', ['hash', 'data'], ['hash']],
  ['hmac-derive', ['hash', 'data'], ['hash', 'data']],
  ['encrypt-derive', ['cipher', 'iv', 'data'], ['cipher', 'data']],
];

export const checkDeriveParameters = (row: AlgorithmRow, spec: KeySpecRow, parameters: DeriveParameters, maxInput: number): void => {
  const rule = DERIVATIONS.find(([prefix]) => row.name.startsWith(prefix));
  if (rule === undefined) throw unsupported(`${row.name} has no derivation rule`);
  requireOnly(row, parameters, rule[1]);
  for (const field of rule[2]) if (parameters[field] === undefined) throw invalid(`${row.name} needs ${field}`);
  for (const field of DERIVE_FIELDS) if (parameters[field] !== undefined) checkBytes(parameters[field], field, maxInput);
  if (parameters.iterations !== undefined) checkInteger(parameters.iterations, 'iterations', 1, MAX_PBKDF2_ITERATIONS);
  if (parameters.hash !== undefined) checkHash(parameters.hash);
  if (row.name.startsWith('sp800-108') && (parameters.info === undefined) === (parameters.fixedInput === undefined))
    throw invalid(`${row.name} needs exactly one of info and fixedInput`);
  if (row.name === 'encrypt-derive') checkEncryptDerive(spec, parameters);
};

const checkEncryptDerive = (spec: KeySpecRow, parameters: DeriveParameters): void => {
  const cipher = checkAlgorithm(parameters.cipher, 'cipher', spec);
  if (cipher.tagLength !== undefined) throw invalid('encrypt-derive takes a cipher without a tag');
  checkIv(cipher, parameters.iv, true);
  checkWholeBlocks(cipher, parameters.data ?? new Uint8Array(), 'out');
};
