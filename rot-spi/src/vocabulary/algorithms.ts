import { type Approval, byName, type HashName, type KeyFamily } from './key-specs.js';

/**
 * Every cryptographic algorithm a caller can name, as one table. The name is what REST, policy, audit and the
 * root-of-trust contract use; KMIP and PKCS#11 map their own vocabulary onto it in their planes.
 */
export type AlgorithmKind = 'cipher' | 'signature' | 'mac' | 'wrap' | 'derive' | 'agree' | 'kem';

export interface AlgorithmRow {
  readonly name: string;
  readonly kind: AlgorithmKind;
  /** Key families that can do it. */
  readonly families: readonly KeyFamily[];
  readonly hash?: HashName;
  /** IV, nonce or initial counter length in bytes: the default one generated when the caller gives none. */
  readonly ivLength?: number;
  /** IV lengths accepted, [min, max] bytes; absent = exactly ivLength. */
  readonly ivRange?: readonly [number, number];
  /** Authentication tag length in bytes (default) for AEAD. */
  readonly tagLength?: number;
  /** Output of the padding-free block modes must be a multiple of this many bytes. */
  readonly blockLength?: number;
  readonly approval: Approval;
  /** The clause that approves or defines it. */
  readonly clause: string;
}

const row = <N extends string>(name: N, rest: Omit<AlgorithmRow, 'name'>): AlgorithmRow & { readonly name: N } => ({ name, ...rest });

const RSA = ['rsa'] as const;
const EC = ['ec'] as const;

const SIGN_HASHES = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-224', 'sha3-256', 'sha3-384', 'sha3-512'] as const;
type SignHash = (typeof SIGN_HASHES)[number];
/** SHA-1 signatures are for verification of old data only (SP 800-131A r2 §3). */
const hashApproval = (hash: HashName): Approval => (hash === 'sha1' || hash === 'md5' ? 'legacy' : 'approved');

const signatures = <P extends string>(prefix: P, families: readonly KeyFamily[], clause: string) =>
  SIGN_HASHES.map((hash) =>
    row(`${prefix}-${hash}` as `${P}-${SignHash}`, { kind: 'signature', families, hash, approval: hashApproval(hash), clause }),
  );
const MAC_HASHES = SIGN_HASHES;

/** Derivations over HMAC: any value with bytes can be their key. SHA-1 in HMAC is still approved, but not for new keys made here. */
const derivations = <P extends string, H extends HashName>(prefix: P, hashes: readonly H[], clause: string) =>
  hashes.map((hash) =>
    row(`${prefix}-${hash}` as `${P}-${H}`, {
      kind: 'derive',
      families: ['secret', 'hmac', 'aes'],
      hash,
      approval: hash === 'sha1' ? 'legacy' : 'approved',
      clause,
    }),
  );

const ROWS = [
  // Ciphers. Without padding unless the name says so.
  row('aes-gcm', {
    kind: 'cipher',
    families: ['aes'],
    ivLength: 12,
    ivRange: [1, 128],
    tagLength: 16,
    approval: 'approved',
    clause: 'SP 800-38D',
  }),
  row('aes-cbc', { kind: 'cipher', families: ['aes'], ivLength: 16, blockLength: 16, approval: 'approved', clause: 'SP 800-38A §6.2' }),
  row('aes-cbc-pkcs5', { kind: 'cipher', families: ['aes'], ivLength: 16, approval: 'approved', clause: 'SP 800-38A §6.2, RFC 5652 §6.3' }),
  row('aes-ctr', { kind: 'cipher', families: ['aes'], ivLength: 16, approval: 'approved', clause: 'SP 800-38A §6.5' }),
  row('aes-ecb', { kind: 'cipher', families: ['aes'], blockLength: 16, approval: 'approved', clause: 'SP 800-38A §6.1' }),
  row('aes-ecb-pkcs5', { kind: 'cipher', families: ['aes'], approval: 'approved', clause: 'SP 800-38A §6.1, RFC 5652 §6.3' }),
  row('aes-cfb128', { kind: 'cipher', families: ['aes'], ivLength: 16, approval: 'approved', clause: 'SP 800-38A §6.3' }),
  row('aes-cfb8', { kind: 'cipher', families: ['aes'], ivLength: 16, approval: 'approved', clause: 'SP 800-38A §6.3' }),
  row('aes-ofb', { kind: 'cipher', families: ['aes'], ivLength: 16, approval: 'approved', clause: 'SP 800-38A §6.4' }),
  row('chacha20-poly1305', {
    kind: 'cipher',
    families: ['chacha20'],
    ivLength: 12,
    tagLength: 16,
    approval: 'not-approved',
    clause: 'RFC 8439 §2.8',
  }),
  row('chacha20', {
    kind: 'cipher',
    families: ['chacha20'],
    ivLength: 16,
    ivRange: [8, 16],
    approval: 'not-approved',
    clause: 'RFC 8439 §2.4',
  }),
  row('des3-cbc', { kind: 'cipher', families: ['des3'], ivLength: 8, blockLength: 8, approval: 'legacy', clause: 'SP 800-67' }),
  row('des3-cbc-pkcs5', { kind: 'cipher', families: ['des3'], ivLength: 8, approval: 'legacy', clause: 'SP 800-67' }),
  row('des3-ecb', { kind: 'cipher', families: ['des3'], blockLength: 8, approval: 'legacy', clause: 'SP 800-67' }),
  row('des3-ecb-pkcs5', { kind: 'cipher', families: ['des3'], approval: 'legacy', clause: 'SP 800-67' }),
  row('des3-cfb64', { kind: 'cipher', families: ['des3'], ivLength: 8, approval: 'legacy', clause: 'SP 800-67, SP 800-38A §6.3' }),
  row('des3-ofb', { kind: 'cipher', families: ['des3'], ivLength: 8, approval: 'legacy', clause: 'SP 800-67, SP 800-38A §6.4' }),
  row('aes-ccm', {
    kind: 'cipher',
    families: ['aes'],
    ivLength: 12,
    ivRange: [7, 13],
    tagLength: 16,
    approval: 'approved',
    clause: 'SP 800-38C',
  }),
  // XOR with the first bytes of a pad at least as long as the data. Whoever uses a pad twice has no secrecy left: usage limits are for that.
  row('one-time-pad', { kind: 'cipher', families: ['secret'], approval: 'not-approved', clause: 'KMIP 1.4 §9.1.3.2.13 (One Time Pad)' }),
  row('rsa-oaep-sha1', { kind: 'cipher', families: RSA, hash: 'sha1', approval: 'approved', clause: 'SP 800-56B r2 §7.2.2' }),
  row('rsa-oaep-sha224', { kind: 'cipher', families: RSA, hash: 'sha224', approval: 'approved', clause: 'SP 800-56B r2 §7.2.2' }),
  row('rsa-oaep-sha256', { kind: 'cipher', families: RSA, hash: 'sha256', approval: 'approved', clause: 'SP 800-56B r2 §7.2.2' }),
  row('rsa-oaep-sha384', { kind: 'cipher', families: RSA, hash: 'sha384', approval: 'approved', clause: 'SP 800-56B r2 §7.2.2' }),
  row('rsa-oaep-sha512', { kind: 'cipher', families: RSA, hash: 'sha512', approval: 'approved', clause: 'SP 800-56B r2 §7.2.2' }),
  row('rsa-pkcs1', { kind: 'cipher', families: RSA, approval: 'not-approved', clause: 'RFC 8017 §7.2' }),
  row('rsa-raw', { kind: 'cipher', families: RSA, approval: 'not-approved', clause: 'RFC 8017 §5.1' }),
  // Signatures. `-prehashed` is a request flag, not a name; `rsa-pkcs1-raw` signs a caller-built DigestInfo (PKCS#11 CKM_RSA_PKCS).
  ...signatures('rsa-pkcs1', RSA, 'FIPS 186-5 §5.4'),
  row('rsa-pkcs1-raw', { kind: 'signature', families: RSA, approval: 'approved', clause: 'RFC 8017 §8.2' }),
  ...signatures('rsa-pss', RSA, 'FIPS 186-5 §5.4'),
  ...signatures('ecdsa', EC, 'FIPS 186-5 §6'),
  // A digest of any length from 1 to 64 bytes made by the caller, leftmost bits used (PKCS#11 CKM_ECDSA).
  row('ecdsa-raw', { kind: 'signature', families: EC, approval: 'approved', clause: 'FIPS 186-5 §6.4.1 step 2' }),
  row('ed25519', { kind: 'signature', families: ['eddsa'], approval: 'approved', clause: 'FIPS 186-5 §7' }),
  row('ed448', { kind: 'signature', families: ['eddsa'], approval: 'approved', clause: 'FIPS 186-5 §7' }),
  row('ml-dsa', { kind: 'signature', families: ['ml-dsa'], approval: 'approved', clause: 'FIPS 204' }),
  row('slh-dsa', { kind: 'signature', families: ['slh-dsa'], approval: 'approved', clause: 'FIPS 205' }),
  // MACs.
  ...MAC_HASHES.map((hash) =>
    row(`hmac-${hash}` as `hmac-${SignHash}`, {
      kind: 'mac',
      families: ['hmac', 'secret', 'aes'],
      hash,
      approval: 'approved',
      clause: 'FIPS 198-1',
    }),
  ),
  row('aes-cmac', { kind: 'mac', families: ['aes'], tagLength: 16, approval: 'approved', clause: 'SP 800-38B' }),
  // Key wrapping.
  row('aes-kw', { kind: 'wrap', families: ['aes'], blockLength: 8, approval: 'approved', clause: 'SP 800-38F §6.2, RFC 3394' }),
  row('aes-kwp', { kind: 'wrap', families: ['aes'], approval: 'approved', clause: 'SP 800-38F §6.3, RFC 5649' }),
  row('aes-gcm-wrap', { kind: 'wrap', families: ['aes'], ivLength: 12, tagLength: 16, approval: 'approved', clause: 'SP 800-38D' }),
  row('aes-cbc-pkcs5-wrap', { kind: 'wrap', families: ['aes'], ivLength: 16, approval: 'not-approved', clause: 'SP 800-38A §6.2' }),
  // What PKCS#11 applications wrap with through the older p11-kit clients; decryption rejects implicitly, so a wrapped value
  // that is not one yields another key rather than an answer.
  row('rsa-pkcs1-wrap', { kind: 'wrap', families: RSA, approval: 'not-approved', clause: 'RFC 8017 §7.2' }),
  row('rsa-oaep-sha1-wrap', { kind: 'wrap', families: RSA, hash: 'sha1', approval: 'approved', clause: 'SP 800-56B r2 §9' }),
  row('rsa-oaep-sha256-wrap', { kind: 'wrap', families: RSA, hash: 'sha256', approval: 'approved', clause: 'SP 800-56B r2 §9' }),
  row('rsa-aes-kwp', {
    kind: 'wrap',
    families: RSA,
    hash: 'sha256',
    approval: 'approved',
    clause: 'PKCS#11 v3.0 §6.1.21 (RSA AES KEY WRAP)',
  }),
  // Derivation.
  ...derivations('hkdf', ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'], 'SP 800-56C r2, RFC 5869'),
  ...derivations('pbkdf2-hmac', ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'], 'SP 800-132'),
  ...derivations('sp800-108-counter-hmac', ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'], 'SP 800-108 r1 §4.1'),
  row('sp800-108-counter-cmac', { kind: 'derive', families: ['aes'], approval: 'approved', clause: 'SP 800-108 r1 §4.1' }),
  ...derivations('sp800-108-feedback-hmac', ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'], 'SP 800-108 r1 §4.2'),
  row('sp800-108-feedback-cmac', { kind: 'derive', families: ['aes'], approval: 'approved', clause: 'SP 800-108 r1 §4.2' }),
  ...derivations('sp800-108-double-pipeline-hmac', ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'], 'SP 800-108 r1 §4.3'),
  row('sp800-108-double-pipeline-cmac', { kind: 'derive', families: ['aes'], approval: 'approved', clause: 'SP 800-108 r1 §4.3' }),
  row('hash-derive', {
    kind: 'derive',
    families: ['secret', 'hmac', 'aes', 'des3'],
    approval: 'not-approved',
    clause: 'KMIP 1.4 §4.6 (HASH)',
  }),
  row('hmac-derive', {
    kind: 'derive',
    families: ['secret', 'hmac', 'aes', 'des3'],
    approval: 'not-approved',
    clause: 'KMIP 1.4 §4.6 (HMAC)',
  }),
  row('encrypt-derive', { kind: 'derive', families: ['aes', 'des3'], approval: 'not-approved', clause: 'KMIP 1.4 §4.6 (ENCRYPT)' }),
  // Agreement and encapsulation.
  row('ecdh', { kind: 'agree', families: EC, approval: 'approved', clause: 'SP 800-56A r3 §5.7.1.2' }),
  row('xdh', { kind: 'agree', families: ['xdh'], approval: 'not-approved', clause: 'RFC 7748 §6' }),
  row('ml-kem', { kind: 'kem', families: ['ml-kem'], approval: 'approved', clause: 'FIPS 203' }),
] as const;

export type Algorithm = (typeof ROWS)[number]['name'];
/** Every algorithm by name; null-prototype. */
export const ALGORITHMS: Readonly<Record<Algorithm, AlgorithmRow>> = byName<(typeof ROWS)[number]>(ROWS);
export const ALGORITHM_NAMES: readonly Algorithm[] = ROWS.map((r) => r.name);
export const isAlgorithm = (name: string): name is Algorithm => name in ALGORITHMS;
