import type { KmipHandler } from '../contract.js';

/** Encrypt, Decrypt, Sign, Signature Verify, MAC, MAC Verify, Hash, RNG, Derive Key, PKCS#11; streaming. */
export const CRYPTOGRAPHY_HANDLERS: Readonly<Record<string, KmipHandler>> = {};
