import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import type { MaterialFormat } from '../contract.js';
import { openEcPrivateKey, readPrivateKeyInfo, writeEcPrivateKey } from '../encoding/ec-keys.js';
import { RootFault } from '../fault.js';
import { withZeroised } from '../secret.js';
import type { KeySpec, KeySpecRow } from '../vocabulary/index.js';
import { oidOf, parsePublicKey } from './public-key.js';

export type Spec = KeySpecRow & { readonly name: KeySpec };

/** A key as the engine uses it: a secret value, a private key with its public half, or a public key alone. */
export type KeyMaterial =
  | { readonly kind: 'raw'; readonly secret: KeyObject }
  | { readonly kind: 'pkcs8'; readonly privateKey: KeyObject; readonly publicKey: KeyObject }
  | { readonly kind: 'spki'; readonly publicKey: KeyObject };

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the key material is not valid: ${what}`);

const parsePrivateKey = (spec: Spec, der: Uint8Array): KeyObject => {
  if (spec.family === 'ec') return parseEcPrivateKey(spec, der);
  const { algorithm } = readPrivateKeyInfo(der);
  const oid = oidOf(spec);
  if (oid !== undefined && algorithm.oid !== oid) throw malformed(`it is not a private key for ${spec.name}`);
  try {
    return createPrivateKey({ key: Buffer.from(der.buffer, der.byteOffset, der.byteLength), format: 'der', type: 'pkcs8' });
  } catch {
    throw malformed('it is not a PKCS#8 PrivateKeyInfo of a supported type');
  }
};

const parseEcPrivateKey = (spec: Spec, der: Uint8Array): KeyObject => {
  const { curve, scalar, point } = openEcPrivateKey(spec, der);
  const encoded = withZeroised(scalar, (bytes) => writeEcPrivateKey(curve, bytes, point));
  return withZeroised(encoded, (key) => createPrivateKey({ key, format: 'der', type: 'sec1' }));
};

const checkType = (key: KeyObject, spec: Spec): void => {
  const details = key.asymmetricKeyDetails;
  const type = key.asymmetricKeyType as string | undefined;
  if (spec.family === 'rsa') {
    if (type !== 'rsa') throw malformed('it is not an RSA key');
    if (details?.modulusLength !== spec.bits) throw malformed(`the modulus has ${details?.modulusLength} bits, not ${spec.bits}`);
  } else if (spec.family === 'ec') {
    if (type !== 'ec' || details?.namedCurve !== spec.curve) throw malformed(`it is not a key on ${spec.curve}`);
  } else if (type !== spec.curve) throw malformed(`it is not a ${spec.name} key`);
};

/**
 * Checks material from outside; that an RSA key is made of primes is checked before (checkRsaPrivateKey), because it
 * takes time. Throws RootFault `invalid-argument`; the message never quotes bytes.
 */
export const parseMaterial = (spec: Spec, format: MaterialFormat, material: Uint8Array): KeyMaterial => {
  if (format === 'raw') return { kind: 'raw', secret: createSecretKey(material) };
  if (format === 'spki') return { kind: 'spki', publicKey: parsePublicKey(spec, material) };
  const privateKey = parsePrivateKey(spec, material);
  checkType(privateKey, spec);
  const publicKey = createPublicKey(privateKey);
  parsePublicKey(spec, publicKey.export({ format: 'der', type: 'spki' }));
  return { kind: 'pkcs8', privateKey, publicKey };
};

const signApart = promisify(sign) as (algorithm: null, data: Uint8Array, key: KeyObject) => Promise<Buffer>;

/**
 * An SLH-DSA private key carries its public root as given (FIPS 205 §9.1) and OpenSSL does not compute it again: one that
 * does not belong makes signatures nobody can verify. So a trial, in the thread pool: up to seconds for the small sets.
 */
export const checkPair = async (spec: Spec, key: KeyMaterial): Promise<KeyMaterial> => {
  if (spec.family !== 'slh-dsa' || key.kind !== 'pkcs8') return key;
  const trial = Buffer.from('pairwise consistency');
  if (!verify(null, trial, key.publicKey, await signApart(null, trial, key.privateKey)))
    throw malformed('the public key does not match the private key');
  return key;
};

/** Material from our own sealed reference: authenticated, so it was checked when it came in. */
export const openMaterial = (kind: KeyMaterial['kind'], material: Buffer): KeyMaterial => {
  if (kind === 'raw') return { kind, secret: createSecretKey(material) };
  if (kind === 'spki') return { kind, publicKey: createPublicKey({ key: material, format: 'der', type: 'spki' }) };
  const privateKey = createPrivateKey({ key: material, format: 'der', type: 'pkcs8' });
  return { kind, privateKey, publicKey: createPublicKey(privateKey) };
};

/** The bytes of a key; the caller zeroes them. */
export const exportMaterial = (key: KeyMaterial): Buffer => {
  if (key.kind === 'raw') return key.secret.export();
  if (key.kind === 'spki') return key.publicKey.export({ format: 'der', type: 'spki' });
  return key.privateKey.export({ format: 'der', type: 'pkcs8' });
};

export const withMaterial = <T>(key: KeyMaterial, use: (bytes: Buffer) => T): T => withZeroised(exportMaterial(key), use);

/** Private scalar of an EC key, big-endian, of the order's length; the caller zeroes it. */
export const exportScalar = (privateKey: KeyObject): Buffer =>
  withZeroised(privateKey.export({ format: 'der', type: 'sec1' }), (der) => {
    // ECPrivateKey ::= SEQUENCE { INTEGER 1, OCTET STRING privateKey, … } (RFC 5915 §3)
    const start = der[1] === 0x81 ? 3 : 2;
    const length = der[start + 4] ?? 0;
    const scalar = Buffer.alloc(length);
    der.copy(scalar, 0, start + 5, start + 5 + length);
    return scalar;
  });
