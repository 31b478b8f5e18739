import { createHash } from 'node:crypto';

/** Check value of a key pair: the first three bytes of SHA-256 of its SubjectPublicKeyInfo. */
export const checkValueOf = (spki: Buffer): Buffer => createHash('sha256').update(spki).digest().subarray(0, 3);
