import { constants, createHash, createSign, createVerify, type KeyObject, sign as signOnce, verify as verifyOnce } from 'node:crypto';
import { promisify } from 'node:util';
import type { SignParameters } from '../contract.js';
import { curveNamed } from '../encoding/curves.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, type HashName } from '../vocabulary/index.js';
import { derToP1363, p1363ToDer } from './ecdsa-encoding.js';
import { signDigest, verifyDigest } from './ecdsa-prehashed.js';
import { type OpenedKey, privateOf } from './opened-keys.js';
import { digestInfo, type PssParameters, pkcs1SignRaw, pkcs1VerifyRaw, pssEncode, pssVerify, rawPrivate } from './rsa.js';

const signAsync = promisify(signOnce) as (algorithm: string | null, data: Uint8Array, key: object) => Promise<Buffer>;

const pssParameters = (hash: HashName, parameters: SignParameters): PssParameters => ({
  hash,
  mgf1Hash: parameters.mgf1Hash ?? hash,
  saltLength: parameters.saltLength ?? HASH_BYTES[hash],
  anySalt: parameters.anySalt === true,
});

const hashOf = (algorithm: Algorithm): HashName => {
  const { hash } = ALGORITHMS[algorithm];
  if (hash === undefined) throw new RootFault('internal', `${algorithm} has no hash`);
  return hash;
};

const hashed = (hash: HashName, data: Uint8Array): Buffer => createHash(hash).update(data).digest();

/** node:crypto's options for an algorithm that it does itself, or undefined where it has to be put together here. */
const nativeOptions = (algorithm: Algorithm, parameters: SignParameters): object | undefined => {
  if (parameters.prehashed || algorithm === 'rsa-pkcs1-raw' || algorithm === 'ecdsa-raw') return undefined;
  if (algorithm.startsWith('rsa-pkcs1')) return { padding: constants.RSA_PKCS1_PADDING };
  if (algorithm.startsWith('ecdsa')) return { dsaEncoding: parameters.encoding === 'p1363' ? 'ieee-p1363' : 'der' };
  if (!algorithm.startsWith('rsa-pss'))
    return parameters.context === undefined || parameters.context.length === 0 ? {} : { context: parameters.context };
  const pss = pssParameters(hashOf(algorithm), parameters);
  return pss.hash === pss.mgf1Hash
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pss.anySalt ? constants.RSA_PSS_SALTLEN_AUTO : pss.saltLength }
    : undefined;
};

/** Ed25519, Ed448, ML-DSA and SLH-DSA hash by themselves. */
const nativeHash = (algorithm: Algorithm): HashName | null => ALGORITHMS[algorithm].hash ?? null;

/**
 * Whether this runtime honours a context string. One that ignores the option would sign without the context, so it is
 * asked once, by trial.
 */
export const honoursContext = (privateKey: KeyObject, publicKey: KeyObject): boolean => {
  const message = Buffer.from('context trial');
  const context = Buffer.from('c');
  try {
    const signature = signOnce(null, message, { key: privateKey, context } as never);
    return verifyOnce(null, message, { key: publicKey, context } as never, signature) && !verifyOnce(null, message, publicKey, signature);
  } catch {
    return false;
  }
};

const SLOW_FAMILIES: ReadonlySet<string> = new Set(['rsa', 'slh-dsa']);

/** RSA takes milliseconds, SLH-DSA up to seconds; they go to the thread pool; everything else is quicker than the way there. */
export const makeSignature = (
  key: OpenedKey,
  algorithm: Algorithm,
  data: Uint8Array,
  parameters: SignParameters,
): Buffer | Promise<Buffer> => {
  const privateKey = privateOf(key);
  const options = nativeOptions(algorithm, parameters);
  if (options !== undefined) {
    const native = { key: privateKey, ...options };
    return SLOW_FAMILIES.has(key.spec.family)
      ? signAsync(nativeHash(algorithm), data, native)
      : signOnce(nativeHash(algorithm), data, native);
  }
  if (algorithm === 'rsa-pkcs1-raw') return pkcs1SignRaw(privateKey, data);
  if (algorithm === 'ecdsa-raw') return signEcDigest(key, data, parameters);
  const digest = parameters.prehashed ? data : hashed(hashOf(algorithm), data);
  if (algorithm.startsWith('ecdsa')) return signEcDigest(key, digest, parameters);
  if (algorithm.startsWith('rsa-pkcs1')) return pkcs1SignRaw(privateKey, digestInfo(hashOf(algorithm), digest));
  return rawPrivate(privateKey, pssEncode(privateKey, digest, pssParameters(hashOf(algorithm), parameters)));
};

const signEcDigest = (key: OpenedKey, digest: Uint8Array, parameters: SignParameters): Buffer => {
  const curve = curveNamed(key.spec.curve);
  if (curve === undefined) throw new RootFault('unsupported', `signing a digest is not possible on ${key.spec.name}`);
  const signature = signDigest(curve, key.scalar(), digest);
  return parameters.encoding === 'p1363' ? signature : p1363ToDer(signature);
};

const verifyEcDigest = (key: KeyObject, digest: Uint8Array, signature: Uint8Array, parameters: SignParameters): boolean => {
  const curve = curveNamed(key.asymmetricKeyDetails?.namedCurve);
  if (curve === undefined) throw new RootFault('unsupported', 'verifying a digest is not possible on this curve');
  const fixed = parameters.encoding === 'p1363' ? signature : derToP1363(signature, curve.order.bytes);
  return fixed !== undefined && verifyDigest(curve, key, digest, fixed);
};

/** A signature that cannot even be parsed is an invalid one, so nothing thrown by the library gets out. */
export const checkSignature = (
  publicKey: KeyObject,
  algorithm: Algorithm,
  data: Uint8Array,
  signature: Uint8Array,
  parameters: SignParameters,
): boolean => {
  const options = nativeOptions(algorithm, parameters);
  if (options !== undefined) {
    try {
      return verifyOnce(nativeHash(algorithm), data, { key: publicKey, ...options }, signature);
    } catch {
      return false;
    }
  }
  if (algorithm === 'rsa-pkcs1-raw') return pkcs1VerifyRaw(publicKey, data, signature);
  if (algorithm === 'ecdsa-raw') return verifyEcDigest(publicKey, data, signature, parameters);
  const digest = parameters.prehashed ? data : hashed(hashOf(algorithm), data);
  if (algorithm.startsWith('ecdsa')) return verifyEcDigest(publicKey, digest, signature, parameters);
  if (algorithm.startsWith('rsa-pkcs1')) return pkcs1VerifyRaw(publicKey, digestInfo(hashOf(algorithm), digest), signature);
  return pssVerify(publicKey, digest, signature, pssParameters(hashOf(algorithm), parameters));
};

/** A signature over data that comes in parts; only for algorithms that hash first. */
interface PartialSigning {
  readonly update: (data: Uint8Array) => void;
  readonly sign: () => Buffer | Promise<Buffer>;
}
interface PartialVerifying {
  readonly update: (data: Uint8Array) => void;
  readonly verify: (signature: Uint8Array) => boolean;
}

export const signInParts = (key: OpenedKey, algorithm: Algorithm, parameters: SignParameters): PartialSigning => {
  const privateKey = privateOf(key);
  const options = nativeOptions(algorithm, parameters);
  if (options === undefined)
    return collectDigest(algorithm, (digest) => makeSignature(key, algorithm, digest, { ...parameters, prehashed: true }));
  const state = createSign(hashOf(algorithm));
  return { update: (data) => void state.update(data), sign: () => state.sign({ key: privateKey, ...options }) };
};

const collectDigest = (algorithm: Algorithm, sign: (digest: Buffer) => Buffer | Promise<Buffer>): PartialSigning => {
  const state = createHash(hashOf(algorithm));
  return { update: (data) => void state.update(data), sign: () => sign(state.digest()) };
};

export const verifyInParts = (publicKey: KeyObject, algorithm: Algorithm, parameters: SignParameters): PartialVerifying => {
  const options = nativeOptions(algorithm, parameters);
  if (options === undefined) {
    const state = createHash(hashOf(algorithm));
    return {
      update: (data) => void state.update(data),
      verify: (signature) => checkSignature(publicKey, algorithm, state.digest(), signature, { ...parameters, prehashed: true }),
    };
  }
  const state = createVerify(hashOf(algorithm));
  return {
    update: (data) => void state.update(data),
    verify: (signature) => {
      try {
        return state.verify({ key: publicKey, ...options }, signature);
      } catch {
        return false;
      }
    },
  };
};
