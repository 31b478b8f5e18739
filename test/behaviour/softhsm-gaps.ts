import type { Lacks } from './run-cases.js';

/** What SoftHSM 2.6 lacks of the behaviour cases. A newer SoftHSM that has one of these fails the suite until the row goes. */
export const SOFTHSM_LACKS: Lacks = {
  'creates a chacha20 key': 'the module has no ChaCha20',
  'creates a x25519 pair as two linked objects': 'the module has no X25519',
  'encrypts and decrypts with aes-cfb128 under aes-256, envelope and raw': 'the module has no AES-CFB',
  'encrypts and decrypts with aes-ofb under aes-256, envelope and raw': 'the module has no AES-OFB',
  'encrypts and decrypts with chacha20-poly1305 under chacha20, envelope and raw': 'the module has no ChaCha20',
  'encrypts and decrypts with rsa-oaep-sha256 under rsa-2048, envelope and raw': 'OAEP with SHA-1 only',
  'imports under an import-wrapping key with RSA-OAEP and RSA-AES-KWP; the key never travels in clear':
    'OAEP with SHA-1 only, no RSA-AES-KWP',
  'derives with HKDF what node:crypto derives': 'the module has no HKDF',
  'agrees over X25519': 'the module has no X25519',
};
