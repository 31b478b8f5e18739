import type { ExpectedGap } from '../src/contract-suite/index.js';

const gaps = (reason: string, ...what: string[]): ExpectedGap[] => what.map((one) => ({ what: one, reason }));

/** What no module reaches through pkcs11js 2.1.7, or PKCS#11 itself does not have. */
const EVERY_TOKEN: readonly ExpectedGap[] = [
  ...gaps(
    'post-quantum algorithms are PKCS#11 v3.2; neither module has them',
    'spec:ml-*',
    'spec:slh-*',
    'algorithm:ml-*',
    'algorithm:slh-*',
  ),
  ...gaps('no KEM without ML-KEM', 'power:encapsulate', 'power:decapsulate'),
  ...gaps('a key that the token has already is not taken over', 'power:lookupKey', 'power:adoptKey'),
  ...gaps('the keys of this root are the token’s: they are rotated with the token', 'power:rotateSeal'),
  ...gaps('PKCS#11 has no PKCS#5 padding for ECB', 'algorithm:aes-ecb-pkcs5', 'algorithm:des3-ecb-pkcs5'),
  ...gaps('the module has no such key type', 'spec:x25519', 'spec:x448', 'algorithm:xdh'),
  ...gaps('the module does not list the mode', 'algorithm:aes-cfb128', 'algorithm:aes-cfb8', 'algorithm:aes-ofb'),
  ...gaps('the module has no SHA-3', 'algorithm:hmac-sha3-*', 'algorithm:rsa-pss-sha3-*'),
  ...gaps(
    'pkcs11js 2.1.7 cannot pass CK_HKDF_PARAMS and CK_SP800_108_KDF_PARAMS (nested pointers)',
    'algorithm:hkdf-*',
    'algorithm:sp800-108-*',
  ),
  ...gaps('CKM_PKCS5_PBKD2 takes a password from outside the token, not a key', 'algorithm:pbkdf2-*'),
  ...gaps('PKCS#11 has no such derivation', 'algorithm:hash-derive', 'algorithm:hmac-derive'),
  ...gaps('the module does not wrap with the mode', 'algorithm:aes-gcm-wrap'),
  ...gaps('a token takes no bundle of equal DES keys', 'spec:des3-weak'),
  ...gaps('the module does not list the mode', 'algorithm:des3-cfb64', 'algorithm:des3-ofb', 'algorithm:aes-ccm'),
  ...gaps('PKCS#11 has no such cipher', 'algorithm:one-time-pad'),
  ...gaps('PKCS#11 splits no keys', 'power:splitKey', 'power:joinKey'),
];

export const SOFTHSM_GAPS: readonly ExpectedGap[] = [
  ...EVERY_TOKEN,
  ...gaps('SoftHSM 2.6 has no such key type', 'spec:chacha20', 'algorithm:chacha20*'),
  ...gaps(
    'SoftHSM 2.6 ties MGF1 to the hash and takes no label',
    'parameter:oaep-mgf1-hash',
    'parameter:oaep-label',
    'parameter:pss-mgf1-hash',
  ),
  ...gaps('SoftHSM 2.6 pads with zeros before RFC 5649 does', 'parameter:kwp-any-length'),
  ...gaps('CKM_ECDH1_DERIVE keeps the last bytes and SoftHSM 2.6 has no CKM_EXTRACT_KEY_FROM_KEY', 'parameter:agree-shorter-key'),
  ...gaps('CKM_AES_ECB_ENCRYPT_DATA takes a pointer pkcs11js 2.1.7 cannot pass', 'parameter:encrypt-derive-ecb'),
  ...gaps(
    'SoftHSM 2.6 has OAEP with SHA-1 only',
    'algorithm:rsa-oaep-sha224',
    'algorithm:rsa-oaep-sha256',
    'algorithm:rsa-oaep-sha384',
    'algorithm:rsa-oaep-sha512',
    'algorithm:rsa-oaep-sha256-wrap',
    'algorithm:rsa-aes-kwp',
  ),
  ...gaps(
    'SoftHSM 2.6 wants a value at least as long as the digest; the probe uses 33 bytes',
    'algorithm:hmac-sha384@secret',
    'algorithm:hmac-sha512@secret',
  ),
  ...gaps('SoftHSM 2.6 makes no HMAC with an AES key', 'algorithm:hmac-sha*@aes-*'),
  ...gaps('SoftHSM 2.6 does not wrap with the mode', 'algorithm:aes-cbc-pkcs5-wrap'),
  ...gaps('SoftHSM 2.6 has no such hash', 'hash:sha512-*', 'hash:sha3-*'),
];
export const NSS_GAPS: readonly ExpectedGap[] = [
  ...EVERY_TOKEN,
  // NSS 3.87 lists CKM_CHACHA20_KEY_GEN (0x1225), CKM_CHACHA20 (0x1226) and CKM_CHACHA20_POLY1305 (0x4021).
  ...gaps(
    'pkcs11js 2.1.7 cannot pass CK_CHACHA20_PARAMS and CK_SALSA20_CHACHA20_POLY1305_PARAMS (nested pointers)',
    'spec:chacha20',
    'algorithm:chacha20*',
  ),
  ...gaps('without HKDF and SP 800-108 nothing is left to derive with', 'power:derive', 'algorithm:encrypt-derive'),
  ...gaps('NSS lists its hashes for the generic slot only, not for the database', 'power:digest', 'hash:*'),
  ...gaps('NSS 3.87 has no such curve', 'spec:ec-secp256k1', 'spec:ed25519', 'spec:ed448', 'algorithm:ed25519', 'algorithm:ed448'),
  ...gaps('CKM_ECDH1_DERIVE keeps the last bytes and NSS has no CKM_EXTRACT_KEY_FROM_KEY', 'parameter:agree-shorter-key'),
];
