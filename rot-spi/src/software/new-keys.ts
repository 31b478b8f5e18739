import { createHash, createSecretKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { keyBytes } from '../checks/keys.js';
import type { CreatedKey, KeyBinding, KeyProvenance } from '../contract.js';
import { RootFault } from '../fault.js';
import { withZeroised } from '../secret.js';
import { KEY_SPECS } from '../vocabulary/index.js';
import { checkValueOf } from './check-value.js';
import { type KeyMaterial, type Spec, withMaterial } from './key-material.js';
import { sealReference } from './reference.js';
import type { SealRing } from './seal-ring.js';

type PairGenerator = (type: string, options: object) => Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }>;
/** In the thread pool: an RSA-4096 pair takes seconds. */
const generatePair = promisify(generateKeyPair) as unknown as PairGenerator;

const DEFAULT_SECRET_BYTES = 32;
const DEFAULT_PUBLIC_EXPONENT = 65_537;

export const specOf = (binding: KeyBinding): Spec => KEY_SPECS[binding.spec] as Spec;

/** PKCS#11 v2.40 §4.4: what a key made here, and one that came from outside, may claim. */
export const localProvenance = (binding: KeyBinding): KeyProvenance => ({
  local: true,
  alwaysSensitive: !binding.exportable,
  neverExtractable: !binding.exportable,
});
export const FOREIGN: KeyProvenance = { local: false, alwaysSensitive: false, neverExtractable: false };

/** A value derived from a key is as sensitive as the key was and its own binding is (PKCS#11 v2.40 §2.31). */
export const derivedProvenance = (base: KeyProvenance, binding: KeyBinding): KeyProvenance => ({
  local: false,
  alwaysSensitive: base.alwaysSensitive && !binding.exportable,
  neverExtractable: base.neverExtractable && !binding.exportable,
});

const publicHalf = (material: KeyMaterial): KeyObject | undefined => (material.kind === 'raw' ? undefined : material.publicKey);

const bitsOf = (spec: Spec, material: KeyMaterial): number =>
  material.kind === 'raw' && spec.family !== 'des3' ? (material.secret.symmetricKeySize ?? 0) * 8 : spec.bits;

/** Seals a key and describes it; the plain bytes are overwritten. */
export const sealNewKey = (ring: SealRing, binding: KeyBinding, material: KeyMaterial, provenance: KeyProvenance): CreatedKey => {
  const spec = specOf(binding);
  let digest: Uint8Array | undefined;
  const reference = withMaterial(material, (bytes) => {
    digest = mayDigest(spec, binding, provenance, bytes) ? digestOf(spec, material, bytes) : undefined;
    return sealReference(ring, binding, { kind: material.kind, provenance, material: bytes });
  });
  const publicKey = publicHalf(material)?.export({ format: 'der', type: 'spki' });
  const checkValue = checkValueOf(spec, material);
  return {
    reference,
    bits: bitsOf(spec, material),
    provenance,
    ...(publicKey === undefined ? {} : { publicKey }),
    ...(checkValue === undefined ? {} : { checkValue }),
    ...(digest === undefined ? {} : { digest }),
  };
};

/** Random bytes shorter than this could be found by their digest. */
const MIN_DIGESTED_SECRET_BYTES = 10;
/**
 * Of exportable keys only: who may read the digest may as well be told the key. Of secret data only what was generated here: a
 * password that came from outside can be guessed.
 */
const mayDigest = (spec: Spec, binding: KeyBinding, provenance: KeyProvenance, bytes: Uint8Array): boolean =>
  binding.exportable && (spec.family !== 'secret' || (provenance.local && bytes.length >= MIN_DIGESTED_SECRET_BYTES));
const digestOf = (spec: Spec, material: KeyMaterial, bytes: Uint8Array): Uint8Array => {
  if (spec.family !== 'rsa' || material.kind !== 'pkcs8') return sha256(bytes);
  // KMIP's format for RSA is the RSAPrivateKey inside (RFC 8017 §A.1.2).
  return withZeroised(material.privateKey.export({ format: 'der', type: 'pkcs1' }), sha256);
};
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

const ownedSecret = (bytes: Buffer): KeyObject => {
  try {
    return createSecretKey(bytes);
  } finally {
    bytes.fill(0);
  }
};

/** Odd parity in the low bit of every byte (SP 800-67 r2 §3.2). */
const setParity = (bytes: Buffer): Buffer => {
  for (let index = 0; index < bytes.length; index += 1) {
    const high = (bytes[index] ?? 0) & 0xfe;
    let parity = 1;
    for (let bit = 1; bit < 8; bit += 1) parity ^= (high >> bit) & 1;
    bytes[index] = high | parity;
  }
  return bytes;
};

/** Where neither spec nor caller says: as long as the hash for HMAC, else 256 bits. */
export const generateSecret = (spec: Spec, bits: number | undefined): KeyMaterial => {
  const open = bits === undefined ? spec.bits / 8 || DEFAULT_SECRET_BYTES : bits / 8;
  const bytes = randomBytes(keyBytes(spec) ?? open);
  return { kind: 'raw', secret: ownedSecret(spec.family === 'des3' ? setParity(bytes) : bytes) };
};

export const generatePairOf = async (spec: Spec, publicExponent = DEFAULT_PUBLIC_EXPONENT): Promise<KeyMaterial> => {
  const options =
    spec.family === 'rsa'
      ? { modulusLength: spec.bits, publicExponent }
      : spec.family === 'ec'
        ? { namedCurve: spec.curve, paramEncoding: 'named' }
        : {};
  const type = spec.family === 'rsa' || spec.family === 'ec' ? spec.family : (spec.curve ?? '');
  const { privateKey, publicKey } = await generatePair(type, options);
  return { kind: 'pkcs8', privateKey, publicKey };
};

/** A secret value made by derivation, cut to the length its spec or the request asks for. The bytes are overwritten. */
export const takeSecret = (spec: Spec, bytes: Buffer): KeyMaterial => {
  const exact = keyBytes(spec);
  if (exact !== undefined && bytes.length !== exact) {
    bytes.fill(0);
    throw new RootFault('invalid-argument', `${spec.name} needs ${exact} bytes`);
  }
  return { kind: 'raw', secret: ownedSecret(bytes) };
};
