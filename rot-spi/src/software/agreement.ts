import type { KeyObject } from 'node:crypto';
import * as crypto from 'node:crypto';
import { RootFault } from '../fault.js';

/**
 * ECDH, X25519 and X448 with a checked peer key. An all-zero result (a peer key of small order, RFC 7748 §6.1) is
 * refused by OpenSSL. The caller zeroes the result.
 */
export const agreeSecret = (privateKey: KeyObject, peer: KeyObject): Buffer => {
  try {
    return crypto.diffieHellman({ privateKey, publicKey: peer });
  } catch {
    throw new RootFault('invalid-argument', 'the peer public key gives no shared secret');
  }
};

/** Node 24.7 brought key encapsulation; older runtimes have no such functions. */
interface Kem {
  readonly encapsulate?: (publicKey: KeyObject) => { readonly sharedKey: Buffer; readonly ciphertext: Buffer };
  readonly decapsulate?: (privateKey: KeyObject, ciphertext: Uint8Array) => Buffer;
}
const kem = crypto as unknown as Kem;

const missing = (): RootFault =>
  new RootFault('unsupported', 'this runtime has no key encapsulation', 'Run Aegis on Node.js 24.7 or later.');

export const encapsulateSecret = (publicKey: KeyObject): { readonly sharedKey: Buffer; readonly ciphertext: Buffer } => {
  if (kem.encapsulate === undefined) throw missing();
  return kem.encapsulate(publicKey);
};

/** ML-KEM rejects implicitly (FIPS 203 §7.3): a wrong ciphertext of the right length gives another secret. */
export const decapsulateSecret = (privateKey: KeyObject, ciphertext: Uint8Array): Buffer => {
  if (kem.decapsulate === undefined) throw missing();
  try {
    return kem.decapsulate(privateKey, ciphertext);
  } catch {
    throw new RootFault('invalid-argument', 'the encapsulated key has an impossible length');
  }
};
