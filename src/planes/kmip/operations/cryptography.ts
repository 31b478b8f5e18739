import type { KmipHandler } from '../contract.js';
import { decrypt, encrypt } from './crypto-ciphers.js';
import { hash, rngRetrieve, rngSeed } from './crypto-keyless.js';
import { mac, macVerify } from './crypto-macs.js';
import { sign, signatureVerify } from './crypto-signatures.js';

import { deriveKey } from './derive.js';
import { pkcs11 } from './pkcs11.js';
import { createSplitKey, joinSplitKey } from './split-keys.js';

/** Encrypt, Decrypt, Sign, Signature Verify, MAC, MAC Verify, Hash, RNG, Derive Key, PKCS#11; streaming. */
export const CRYPTOGRAPHY_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Encrypt: encrypt,
  Decrypt: decrypt,
  Sign: sign,
  SignatureVerify: signatureVerify,
  MAC: mac,
  MACVerify: macVerify,
  Hash: hash,
  RNGRetrieve: rngRetrieve,
  RNGSeed: rngSeed,
  DeriveKey: deriveKey,
  CreateSplitKey: createSplitKey,
  JoinSplitKey: joinSplitKey,
  PKCS_11: pkcs11,
};
