import type { KeyObject } from 'node:crypto';
import type { CipherParameters } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm } from '../vocabulary/index.js';
import { modulusBytes, type OaepParameters, oaepDecrypt, oaepEncrypt, pkcs1Decrypt, pkcs1Encrypt, rawPrivate, rawPublic } from './rsa.js';

const oaep = (algorithm: Algorithm, parameters: CipherParameters): OaepParameters => {
  const hash = ALGORITHMS[algorithm].hash ?? 'sha256';
  return { hash, mgf1Hash: parameters.mgf1Hash ?? hash, label: parameters.label ?? new Uint8Array() };
};

export const encryptRsa = (publicKey: KeyObject, algorithm: Algorithm, plaintext: Uint8Array, parameters: CipherParameters): Buffer => {
  if (algorithm === 'rsa-pkcs1') return pkcs1Encrypt(publicKey, plaintext);
  if (algorithm !== 'rsa-raw') return oaepEncrypt(publicKey, plaintext, oaep(algorithm, parameters));
  // No padding: anything shorter would come back with zeros in front of it.
  if (plaintext.length !== modulusBytes(publicKey))
    throw new RootFault('invalid-argument', `rsa-raw takes exactly ${modulusBytes(publicKey)} bytes with this key`);
  return rawPublic(publicKey, plaintext);
};

/** The caller hands the plaintext on or zeroes it. */
export const decryptRsa = (privateKey: KeyObject, algorithm: Algorithm, ciphertext: Uint8Array, parameters: CipherParameters): Buffer => {
  if (algorithm === 'rsa-pkcs1') return pkcs1Decrypt(privateKey, ciphertext);
  if (algorithm === 'rsa-raw') return rawPrivate(privateKey, ciphertext);
  return oaepDecrypt(privateKey, ciphertext, oaep(algorithm, parameters));
};
