import { createPublicKey, type KeyObject } from 'node:crypto';
import { curveOf, EC_PUBLIC_KEY, readSpki, toEcSpki } from '../encoding/ec-keys.js';
import { checkEdwardsEncoding, checkEdwardsPoint } from '../encoding/edwards-keys.js';
import { toBigInt } from '../encoding/modular.js';
import { RSA_ENCRYPTION } from '../encoding/rsa-keys.js';
import { RootFault } from '../fault.js';
import type { KeySpec, KeySpecRow } from '../vocabulary/index.js';

type Spec = KeySpecRow & { readonly name: KeySpec };

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the public key is not valid: ${what}`);

/** A public exponent this long only serves to keep the verifier busy; FIPS 186-5 §A.1.1 stops at 2^256. */
const MAX_EXPONENT = 1n << 64n;

/** OIDs as hex of their contents. */
const ALGORITHM_OIDS: Readonly<Partial<Record<string, string>>> = {
  rsa: RSA_ENCRYPTION,
  ec: EC_PUBLIC_KEY,
  ed25519: '2b6570',
  ed448: '2b6571',
  x25519: '2b656e',
  x448: '2b656f',
};

/** The OID that a key of this spec must have; undefined for the post-quantum families, which OpenSSL alone judges. */
export const oidOf = (spec: Spec): string | undefined => ALGORITHM_OIDS[spec.family] ?? ALGORITHM_OIDS[spec.name];

/** SubjectPublicKeyInfo (RFC 5280 §4.1) → the same, canonical, with the algorithm that the spec asks for. */
const checkSpki = (spec: Spec, spki: Uint8Array): Uint8Array => {
  const { algorithm, point } = readSpki(spki);
  const oid = oidOf(spec);
  if (oid !== undefined && algorithm.oid !== oid) throw malformed(`it is not a key for ${spec.name}`);
  return spec.family === 'ec' ? toEcSpki(curveOf(spec, algorithm), point) : spki;
};

const checkRsaPublic = (key: KeyObject, spec: Spec): void => {
  const details = key.asymmetricKeyDetails;
  if (details?.modulusLength !== spec.bits) throw malformed(`the modulus has ${details?.modulusLength} bits, not ${spec.bits}`);
  const modulus = toBigInt(Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url'));
  if ((modulus & 1n) === 0n) throw malformed('the modulus is even');
  const exponent = details.publicExponent ?? 0n;
  if (exponent < 3n || exponent % 2n === 0n || exponent > MAX_EXPONENT) throw malformed('the public exponent is not usable');
};

/** SubjectPublicKeyInfo DER → key, checked against the spec. Throws RootFault `invalid-argument`. */
export const parsePublicKey = (spec: Spec, spki: Uint8Array): KeyObject => {
  const checked = checkSpki(spec, spki);
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(checked.buffer, checked.byteOffset, checked.byteLength), format: 'der', type: 'spki' });
  } catch {
    throw malformed('it is not a SubjectPublicKeyInfo of a supported type');
  }
  const type = key.asymmetricKeyType as string | undefined;
  if (type !== (spec.family === 'rsa' || spec.family === 'ec' ? spec.family : spec.curve)) throw malformed(`it is not a ${spec.name} key`);
  if (spec.family === 'rsa') checkRsaPublic(key, spec);
  if (spec.family === 'eddsa') {
    checkEdwardsEncoding(spec, checked);
    checkEdwardsPoint(spec, checked);
  }
  return key;
};
