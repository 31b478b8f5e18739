import type { Algorithm, HashName, KeyFamily } from '@aegis/rot-spi/vocabulary';
import type { Generation } from './wire/attributes.js';
import { CKF, CKM, type CkmName } from './wire/codes.js';
import { isPassed, PARAMETER_RECORDS, type ParameterRecord } from './wire/mechanism-encodings.js';

/**
 * PKCS#11 mechanism ↔ the algebra. Mechanism list, mechanism info, the docs table and the tests derive from it. A mechanism
 * that no released client passes (AES key wrap, EdDSA, SHA-3 …) has no row: it could not be reached.
 */
export interface MechanismRow {
  readonly name: CkmName;
  readonly type: number;
  /** Key families it works with; empty for digests. */
  readonly families: readonly KeyFamily[];
  /** Key sizes in the unit PKCS#11 prescribes: bits for RSA and EC, bytes for AES and secrets. */
  readonly sizes: readonly [number, number];
  /** Signature. `digest`: the caller hashes (or pads) itself; then single-part only. */
  readonly signature?: { readonly algorithm: Algorithm | 'pss'; readonly input: 'message' | 'digest' };
  readonly mac?: { readonly algorithm: Algorithm; readonly bytes: number; readonly general?: true };
  readonly cipher?: {
    readonly algorithm: Algorithm | 'oaep';
    readonly blockBytes?: number;
    readonly padded?: true;
    readonly single?: true;
  };
  /** Algorithm for C_WrapKey and C_UnwrapKey. */
  readonly wrap?: Algorithm | 'oaep';
  readonly digest?: HashName;
  readonly generate?: 'key' | 'pair';
  readonly derive?: 'ecdh' | { readonly hash: HashName };
  readonly record: ParameterRecord | undefined;
}

const row = (
  name: CkmName,
  families: readonly KeyFamily[],
  sizes: readonly [number, number],
  rest: Partial<MechanismRow>,
): MechanismRow => ({
  name,
  type: CKM[name],
  families,
  sizes,
  record: PARAMETER_RECORDS.get(CKM[name])?.record,
  ...rest,
});

const RSA_USE = [1024, 4096] as const;
const EC_SIZES = [256, 521] as const;
const AES_SIZES = [16, 32] as const;
const SECRET_SIZES = [1, 8192] as const;
const NO_KEY = [0, 0] as const;
const RSA: readonly KeyFamily[] = ['rsa'];
const EC: readonly KeyFamily[] = ['ec'];
const AES: readonly KeyFamily[] = ['aes'];
const DES3: readonly KeyFamily[] = ['des3'];
const MAC_KEYS: readonly KeyFamily[] = ['hmac', 'secret'];

const rsaSign = (name: CkmName, algorithm: Algorithm | 'pss'): MechanismRow =>
  row(name, RSA, RSA_USE, { signature: { algorithm, input: 'message' } });
const ecSign = (name: CkmName, algorithm: Algorithm): MechanismRow =>
  row(name, EC, EC_SIZES, { signature: { algorithm, input: 'message' } });
const digest = (name: CkmName, hash: HashName): MechanismRow => row(name, [], NO_KEY, { digest: hash });
const hmac = (name: CkmName, algorithm: Algorithm, bytes: number, general?: true): MechanismRow =>
  row(name, MAC_KEYS, SECRET_SIZES, { mac: { algorithm, bytes, ...(general === undefined ? {} : { general }) } });
const cipher = (
  name: CkmName,
  families: readonly KeyFamily[],
  algorithm: Algorithm,
  shape: { blockBytes?: number; padded?: true } = {},
  wrap?: Algorithm,
): MechanismRow =>
  row(name, families, families === AES ? AES_SIZES : [16, 24], {
    cipher: { algorithm, ...shape },
    ...(wrap === undefined ? {} : { wrap }),
  });

export const MECHANISMS: readonly MechanismRow[] = [
  row('RSA_PKCS_KEY_PAIR_GEN', RSA, RSA_USE, { generate: 'pair' }),
  row('RSA_PKCS', RSA, RSA_USE, {
    signature: { algorithm: 'rsa-pkcs1-raw', input: 'digest' },
    cipher: { algorithm: 'rsa-pkcs1', single: true },
    wrap: 'rsa-pkcs1-wrap',
  }),
  row('RSA_X_509', RSA, RSA_USE, { cipher: { algorithm: 'rsa-raw', single: true } }),
  row('RSA_PKCS_OAEP', RSA, RSA_USE, { cipher: { algorithm: 'oaep', single: true }, wrap: 'oaep' }),
  row('RSA_PKCS_PSS', RSA, RSA_USE, { signature: { algorithm: 'pss', input: 'digest' } }),
  rsaSign('SHA1_RSA_PKCS', 'rsa-pkcs1-sha1'),
  rsaSign('SHA224_RSA_PKCS', 'rsa-pkcs1-sha224'),
  rsaSign('SHA256_RSA_PKCS', 'rsa-pkcs1-sha256'),
  rsaSign('SHA384_RSA_PKCS', 'rsa-pkcs1-sha384'),
  rsaSign('SHA512_RSA_PKCS', 'rsa-pkcs1-sha512'),
  rsaSign('SHA1_RSA_PKCS_PSS', 'rsa-pss-sha1'),
  rsaSign('SHA224_RSA_PKCS_PSS', 'rsa-pss-sha224'),
  rsaSign('SHA256_RSA_PKCS_PSS', 'rsa-pss-sha256'),
  rsaSign('SHA384_RSA_PKCS_PSS', 'rsa-pss-sha384'),
  rsaSign('SHA512_RSA_PKCS_PSS', 'rsa-pss-sha512'),
  row('EC_KEY_PAIR_GEN', EC, EC_SIZES, { generate: 'pair' }),
  row('ECDSA', EC, EC_SIZES, { signature: { algorithm: 'ecdsa-raw', input: 'digest' } }),
  ecSign('ECDSA_SHA1', 'ecdsa-sha1'),
  ecSign('ECDSA_SHA224', 'ecdsa-sha224'),
  ecSign('ECDSA_SHA256', 'ecdsa-sha256'),
  ecSign('ECDSA_SHA384', 'ecdsa-sha384'),
  ecSign('ECDSA_SHA512', 'ecdsa-sha512'),
  row('ECDH1_DERIVE', EC, EC_SIZES, { derive: 'ecdh' }),
  row('AES_KEY_GEN', AES, AES_SIZES, { generate: 'key' }),
  cipher('AES_ECB', AES, 'aes-ecb', { blockBytes: 16 }),
  cipher('AES_CBC', AES, 'aes-cbc', { blockBytes: 16 }),
  cipher('AES_CBC_PAD', AES, 'aes-cbc-pkcs5', { blockBytes: 16, padded: true }, 'aes-cbc-pkcs5-wrap'),
  cipher('AES_CTR', AES, 'aes-ctr'),
  cipher('AES_GCM', AES, 'aes-gcm', {}, 'aes-gcm-wrap'),
  cipher('AES_OFB', AES, 'aes-ofb'),
  cipher('AES_CFB8', AES, 'aes-cfb8'),
  cipher('AES_CFB128', AES, 'aes-cfb128'),
  row('AES_CMAC', AES, AES_SIZES, { mac: { algorithm: 'aes-cmac', bytes: 16 } }),
  row('AES_CMAC_GENERAL', AES, AES_SIZES, { mac: { algorithm: 'aes-cmac', bytes: 16, general: true } }),
  // A value of eight bytes to keep for applications that still pass such keys around; no mechanism here enciphers with it.
  row('DES_KEY_GEN', ['secret'], [8, 8], { generate: 'key' }),
  row('DES2_KEY_GEN', DES3, [16, 16], { generate: 'key' }),
  row('DES3_KEY_GEN', DES3, [24, 24], { generate: 'key' }),
  cipher('DES3_ECB', DES3, 'des3-ecb', { blockBytes: 8 }),
  cipher('DES3_CBC', DES3, 'des3-cbc', { blockBytes: 8 }),
  cipher('DES3_CBC_PAD', DES3, 'des3-cbc-pkcs5', { blockBytes: 8, padded: true }),
  row('GENERIC_SECRET_KEY_GEN', ['secret'], SECRET_SIZES, { generate: 'key' }),
  digest('MD5', 'md5'),
  digest('SHA_1', 'sha1'),
  digest('SHA224', 'sha224'),
  digest('SHA256', 'sha256'),
  digest('SHA384', 'sha384'),
  digest('SHA512', 'sha512'),
  digest('SHA512_224', 'sha512-224'),
  digest('SHA512_256', 'sha512-256'),
  hmac('SHA_1_HMAC', 'hmac-sha1', 20),
  hmac('SHA224_HMAC', 'hmac-sha224', 28),
  hmac('SHA256_HMAC', 'hmac-sha256', 32),
  hmac('SHA384_HMAC', 'hmac-sha384', 48),
  hmac('SHA512_HMAC', 'hmac-sha512', 64),
  hmac('SHA_1_HMAC_GENERAL', 'hmac-sha1', 20, true),
  hmac('SHA224_HMAC_GENERAL', 'hmac-sha224', 28, true),
  hmac('SHA256_HMAC_GENERAL', 'hmac-sha256', 32, true),
  hmac('SHA384_HMAC_GENERAL', 'hmac-sha384', 48, true),
  hmac('SHA512_HMAC_GENERAL', 'hmac-sha512', 64, true),
];

const BY_TYPE: ReadonlyMap<number, MechanismRow> = new Map(MECHANISMS.map((one) => [one.type, one]));
export const mechanismRow = (type: number): MechanismRow | undefined => BY_TYPE.get(type);

/** What C_GetMechanismInfo says, from what the row can do. */
export const mechanismFlags = (one: MechanismRow): number => {
  const both = one.signature !== undefined || one.mac !== undefined;
  const curve = one.families.includes('ec') ? CKF.EC_F_P + CKF.EC_NAMEDCURVE + CKF.EC_UNCOMPRESS : 0;
  return (
    (both ? CKF.SIGN + CKF.VERIFY : 0) +
    (one.cipher === undefined ? 0 : CKF.ENCRYPT + CKF.DECRYPT) +
    (one.wrap === undefined ? 0 : CKF.WRAP + CKF.UNWRAP) +
    (one.digest === undefined ? 0 : CKF.DIGEST) +
    (one.generate === undefined ? 0 : one.generate === 'key' ? CKF.GENERATE : CKF.GENERATE_KEY_PAIR) +
    (one.derive === undefined ? 0 : CKF.DERIVE) +
    curve
  );
};

/** Multi-part calls of a signature, MAC, cipher or digest. */
export const isMultiPart = (one: MechanismRow): boolean =>
  one.digest !== undefined ||
  one.mac !== undefined ||
  one.signature?.input === 'message' ||
  (one.cipher !== undefined && one.cipher.single !== true);

/** Algorithms of the algebra a row may stand on; one of them is enough. */
export const algorithmsOf = (one: MechanismRow): readonly Algorithm[] => {
  const named = [one.signature?.algorithm, one.mac?.algorithm, one.cipher?.algorithm, one.wrap].filter((a) => a !== undefined);
  if (one.derive === 'ecdh') return ['ecdh'];
  return named.flatMap((a): Algorithm[] =>
    a === 'pss' ? ['rsa-pss-sha256', 'rsa-pss-sha1'] : a === 'oaep' ? ['rsa-oaep-sha1', 'rsa-oaep-sha256'] : [a],
  );
};

/** What a client of a generation is told: only what it passes and what the roots of trust can do. */
export const offeredMechanisms = (generation: Generation, isOffered: (one: MechanismRow) => boolean): readonly MechanismRow[] =>
  MECHANISMS.filter((one) => isPassed(one.type, generation) && isOffered(one));

const HASHES: Readonly<Record<number, HashName>> = {
  [CKM.SHA_1]: 'sha1',
  [CKM.SHA224]: 'sha224',
  [CKM.SHA256]: 'sha256',
  [CKM.SHA384]: 'sha384',
  [CKM.SHA512]: 'sha512',
};
export const hashOfMechanism = (type: number): HashName | undefined => HASHES[type];
/** CK_RSA_PKCS_MGF_TYPE (PKCS#11 v3.0 §6.1.8). */
const MGFS: Readonly<Record<number, HashName>> = { 1: 'sha1', 2: 'sha256', 3: 'sha384', 4: 'sha512', 5: 'sha224' };
export const hashOfMgf = (mgf: number): HashName | undefined => MGFS[mgf];
