import type { AlgorithmCapability, SpecCapability } from '../../contract.js';
import { ALGORITHMS, type Algorithm, type HashName, KEY_SPECS, type KeySpec } from '../../vocabulary/index.js';

/** Transit key types and algorithms against ours, as tables (OpenBao 2.x and Vault 1.15+; docs/roots/vault.md). */

interface KeyTypeRow {
  readonly type: string;
  readonly spec: KeySpec;
  /** Path of the export endpoint. */
  readonly export: 'encryption-key' | 'signing-key' | 'hmac-key';
}
const row = (spec: KeySpec, type: string, exported: KeyTypeRow['export']): KeyTypeRow => ({ type, spec, export: exported });

const ROWS: readonly KeyTypeRow[] = [
  row('aes-128', 'aes128-gcm96', 'encryption-key'),
  row('aes-256', 'aes256-gcm96', 'encryption-key'),
  row('chacha20', 'chacha20-poly1305', 'encryption-key'),
  row('hmac-sha224', 'hmac', 'hmac-key'),
  row('hmac-sha256', 'hmac', 'hmac-key'),
  row('hmac-sha384', 'hmac', 'hmac-key'),
  row('hmac-sha512', 'hmac', 'hmac-key'),
  row('rsa-2048', 'rsa-2048', 'signing-key'),
  row('rsa-3072', 'rsa-3072', 'signing-key'),
  row('rsa-4096', 'rsa-4096', 'signing-key'),
  row('ec-p256', 'ecdsa-p256', 'signing-key'),
  row('ec-p384', 'ecdsa-p384', 'signing-key'),
  row('ec-p521', 'ecdsa-p521', 'signing-key'),
  row('ed25519', 'ed25519', 'signing-key'),
];

export const rowOfSpec = (spec: KeySpec): KeyTypeRow | undefined => ROWS.find((one) => one.spec === spec);

/** An `hmac` key says its size and not its hash: the customary hash of that size. */
const HMAC_BY_BYTES: Readonly<Record<number, KeySpec>> = { 28: 'hmac-sha224', 32: 'hmac-sha256', 48: 'hmac-sha384', 64: 'hmac-sha512' };

export const specOfType = (type: string, keyBytes: number | undefined): KeySpec | undefined =>
  type === 'hmac' ? (HMAC_BY_BYTES[keyBytes ?? 0] ?? 'hmac-sha256') : ROWS.find((one) => one.type === type)?.spec;

/** Transit's names of the hashes (keysutil.HashTypeMap). */
export const TRANSIT_HASHES: Readonly<Partial<Record<HashName, string>>> = {
  sha1: 'sha1',
  sha224: 'sha2-224',
  sha256: 'sha2-256',
  sha384: 'sha2-384',
  sha512: 'sha2-512',
  'sha3-224': 'sha3-224',
  'sha3-256': 'sha3-256',
  'sha3-384': 'sha3-384',
  'sha3-512': 'sha3-512',
};

const RSA_SPECS = ['rsa-2048', 'rsa-3072', 'rsa-4096'] as const;
const EC_SPECS = ['ec-p256', 'ec-p384', 'ec-p521'] as const;
const SHA2 = ['sha224', 'sha256', 'sha384', 'sha512'] as const;

const line = (algorithm: Algorithm, specs: readonly KeySpec[], mechanism: string, note?: string): AlgorithmCapability => ({
  algorithm,
  specs,
  multiPart: false,
  approval: ALGORITHMS[algorithm].approval,
  mechanism,
  ...(note === undefined ? {} : { note }),
});

export const TRANSIT_ALGORITHMS: readonly AlgorithmCapability[] = [
  line('aes-gcm', ['aes-128', 'aes-256'], 'transit encrypt', 'the engine makes the 96-bit IV; the tag has 16 bytes'),
  line('chacha20-poly1305', ['chacha20'], 'transit encrypt', 'the engine makes the nonce'),
  line('rsa-oaep-sha256', RSA_SPECS, 'transit encrypt', 'without a label'),
  ...SHA2.map((hash) => line(`ecdsa-${hash}`, EC_SPECS, 'transit sign')),
  line('ecdsa-raw', EC_SPECS, 'transit sign prehashed'),
  ...SHA2.map((hash) => line(`rsa-pkcs1-${hash}`, RSA_SPECS, 'transit sign pkcs1v15')),
  ...SHA2.map((hash) => line(`rsa-pss-${hash}`, RSA_SPECS, 'transit sign pss')),
  line('ed25519', ['ed25519'], 'transit sign'),
  ...SHA2.map((hash) => line(`hmac-${hash}`, [`hmac-${hash}`], 'transit hmac')),
];

export const TRANSIT_SPECS: readonly SpecCapability[] = ROWS.map(({ spec }) => ({
  spec,
  generate: true,
  import: true,
  nonExtractable: true,
  approval: KEY_SPECS[spec].approval,
}));
