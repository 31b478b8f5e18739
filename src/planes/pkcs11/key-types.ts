import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { CKK } from './wire/codes.js';

/** Key specification ↔ CK_KEY_TYPE, curve parameters and sizes. */
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

/** CKA_EC_PARAMS: named curve OIDs (RFC 5480 §2.1.1.1, RFC 8410 §3); the first form is the one given back. */
const CURVE_PARAMETERS: readonly { readonly spec: KeySpec; readonly forms: readonly Uint8Array[] }[] = [
  { spec: 'ec-p256', forms: [bytes('06082a8648ce3d030107')] },
  { spec: 'ec-p384', forms: [bytes('06052b81040022')] },
  { spec: 'ec-p521', forms: [bytes('06052b81040023')] },
  { spec: 'ec-secp256k1', forms: [bytes('06052b8104000a')] },
  { spec: 'ed25519', forms: [bytes('06032b6570'), bytes('130c656477617264733235353139')] },
  { spec: 'ed448', forms: [bytes('06032b6571'), bytes('130a65647761726473343438')] },
  { spec: 'x25519', forms: [bytes('06032b656e'), bytes('130a63757276653235353139')] },
  { spec: 'x448', forms: [bytes('06032b656f'), bytes('13086375727665343438')] },
];
export const curveParameters = (spec: KeySpec): Uint8Array | undefined => CURVE_PARAMETERS.find((c) => c.spec === spec)?.forms[0];
export const curveOf = (parameters: Uint8Array): KeySpec | undefined =>
  CURVE_PARAMETERS.find((c) => c.forms.some((form) => Buffer.compare(form, parameters) === 0))?.spec;

const BY_FAMILY: Readonly<Record<(typeof KEY_SPECS)[KeySpec]['family'], number>> = {
  aes: CKK.AES,
  chacha20: CKK.CHACHA20,
  des3: CKK.DES3,
  hmac: CKK.GENERIC_SECRET,
  rsa: CKK.RSA,
  ec: CKK.EC,
  eddsa: CKK.EC_EDWARDS,
  xdh: CKK.EC_MONTGOMERY,
  'ml-kem': CKK.ML_KEM,
  'ml-dsa': CKK.ML_DSA,
  'slh-dsa': CKK.SLH_DSA,
  secret: CKK.GENERIC_SECRET,
};
const HMACS: readonly (readonly [KeySpec, number])[] = [
  ['hmac-sha1', CKK.SHA_1_HMAC],
  ['hmac-sha224', CKK.SHA224_HMAC],
  ['hmac-sha256', CKK.SHA256_HMAC],
  ['hmac-sha384', CKK.SHA384_HMAC],
  ['hmac-sha512', CKK.SHA512_HMAC],
  ['hmac-sha3-224', CKK.SHA3_224_HMAC],
  ['hmac-sha3-256', CKK.SHA3_256_HMAC],
  ['hmac-sha3-384', CKK.SHA3_384_HMAC],
  ['hmac-sha3-512', CKK.SHA3_512_HMAC],
];

export const keyTypeOf = (spec: KeySpec): number =>
  spec === 'des3-112' ? CKK.DES2 : (HMACS.find(([name]) => name === spec)?.[1] ?? BY_FAMILY[KEY_SPECS[spec].family]);

export const DES_BYTES = 8;
/** Key type that the spec does not say by itself, and that is therefore kept with the object. */
export const keptKeyType = (keyType: number): number | undefined => (keyType === CKK.DES ? keyType : undefined);

/** Spec of a secret key of a type and, where the type leaves it open, a length in bytes; undefined = not to be had. */
export const secretSpec = (keyType: number, lengthBytes: number | undefined): KeySpec | undefined => {
  if (keyType === CKK.GENERIC_SECRET) return 'secret';
  // Nothing in the algebra enciphers with single DES; such a key is kept as the secret it is.
  if (keyType === CKK.DES) return lengthBytes === DES_BYTES ? 'secret' : undefined;
  if (keyType === CKK.DES2) return 'des3-112';
  if (keyType === CKK.DES3) return 'des3-168';
  if (keyType === CKK.CHACHA20) return 'chacha20';
  if (keyType === CKK.AES) {
    const spec = `aes-${(lengthBytes ?? 0) * 8}`;
    return Object.hasOwn(KEY_SPECS, spec) || spec in KEY_SPECS ? (spec as KeySpec) : undefined;
  }
  return HMACS.find(([, type]) => type === keyType)?.[0];
};

/** Specs a key type can stand for, to push a search down. */
export const specsOfKeyType = (keyType: number): readonly KeySpec[] =>
  (Object.keys(KEY_SPECS) as KeySpec[]).filter((spec) => keyTypeOf(spec) === keyType);
