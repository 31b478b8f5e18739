import { checkPrime, createECDH, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import type { MaterialFormat } from '../contract.js';
import type { Curve } from '../encoding/curves.js';
import { curveOf, readEcPrivateKey, readPrivateKeyInfo, toEcSpki, writeEcPrivateKey } from '../encoding/ec-keys.js';
import { invertModulo, modulo, toBigInt } from '../encoding/modular.js';
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

const isPrime = (value: bigint): Promise<boolean> =>
  new Promise((resolve, reject) =>
    checkPrime(value, { checks: 8 }, (error, prime) => (error === null || error === undefined ? resolve(prime) : reject(error))),
  );

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the key material is not valid: ${what}`);

const parsePrivateKey = (spec: Spec, der: Uint8Array): KeyObject => {
  const { algorithm, key } = readPrivateKeyInfo(der);
  const oid = oidOf(spec);
  if (oid !== undefined && algorithm.oid !== oid) throw malformed(`it is not a private key for ${spec.name}`);
  if (spec.family === 'ec') return parseEcPrivateKey(curveOf(spec, algorithm), key);
  try {
    return createPrivateKey({ key: Buffer.from(der.buffer, der.byteOffset, der.byteLength), format: 'der', type: 'pkcs8' });
  } catch {
    throw malformed('it is not a PKCS#8 PrivateKeyInfo of a supported type');
  }
};

/**
 * The scalar is taken out and the point computed from it: an embedded one that does not match would make signatures
 * under one key verify under another.
 */
const parseEcPrivateKey = (curve: Curve, der: Uint8Array): KeyObject => {
  const given = readEcPrivateKey(der);
  const scalar = Buffer.alloc(curve.order.bytes);
  if (given.scalar.length > scalar.length) throw malformed('the private key is out of range');
  scalar.set(given.scalar, scalar.length - given.scalar.length);
  const ecdh = createECDH(curve.name);
  try {
    ecdh.setPrivateKey(scalar);
    const point = ecdh.getPublicKey();
    if (given.point !== undefined && !toEcSpki(curve, given.point).equals(toEcSpki(curve, point)))
      throw malformed('the public key does not match the private key');
    return withZeroised(writeEcPrivateKey(curve, scalar, point), (key) => createPrivateKey({ key, format: 'der', type: 'sec1' }));
  } catch (error) {
    throw error instanceof RootFault ? error : malformed('the private key is out of range');
  } finally {
    scalar.fill(0);
  }
};

const number = (text: string | undefined): bigint => toBigInt(Buffer.from(text ?? '', 'base64url'));

/** SP 800-56B r2 §6.4.1.2: a modulus of two primes, and exponents that fit it. */
const checkRsa = async (key: KeyObject): Promise<void> => {
  const jwk = key.export({ format: 'jwk' });
  const [n, e, d, p, q] = [number(jwk.n), number(jwk.e), number(jwk.d), number(jwk.p), number(jwk.q)];
  if (p < 3n || q < 3n || p === q || p * q !== n) throw malformed('the primes do not make the modulus');
  if (modulo(e * d, p - 1n) !== 1n || modulo(e * d, q - 1n) !== 1n) throw malformed('the private exponent does not match');
  const crt = number(jwk.dp) === modulo(d, p - 1n) && number(jwk.dq) === modulo(d, q - 1n) && number(jwk.qi) === invertModulo(q, p);
  if (!crt) throw malformed('the CRT values do not match');
  const prime = await Promise.all([p, q].map(isPrime));
  if (prime.includes(false)) throw malformed('the modulus is not made of primes');
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

/** Checks everything about material from outside. Throws RootFault `invalid-argument`; the message never quotes bytes. */
export const parseMaterial = async (spec: Spec, format: MaterialFormat, material: Uint8Array): Promise<KeyMaterial> => {
  if (format === 'raw') {
    if (spec.family === 'des3') checkDes3(material);
    return { kind: 'raw', secret: createSecretKey(material) };
  }
  if (format === 'spki') return { kind: 'spki', publicKey: parsePublicKey(spec, material) };
  const privateKey = parsePrivateKey(spec, material);
  checkType(privateKey, spec);
  const publicKey = createPublicKey(privateKey);
  parsePublicKey(spec, publicKey.export({ format: 'der', type: 'spki' }));
  if (spec.family === 'rsa') await checkRsa(privateKey);
  return { kind: 'pkcs8', privateKey, publicKey };
};

/** SP 800-67 r2 §3.3.2: the single keys of a bundle must differ, or 3DES is single DES. Parity bits do not count. */
const checkDes3 = (material: Uint8Array): void => {
  const part = (index: number): string =>
    Buffer.from(material.subarray(index * 8, index * 8 + 8).map((byte) => byte & 0xfe)).toString('latin1');
  if (part(0) === part(1) || (material.length === 24 && part(1) === part(2))) throw malformed('the single DES keys are equal');
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
