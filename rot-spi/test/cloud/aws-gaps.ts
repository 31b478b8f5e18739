import type { ExpectedGap } from '../../src/contract-suite/index.js';

const gaps = (reason: string, ...names: string[]): ExpectedGap[] => names.map((what) => ({ what, reason }));

/** What a layered root on AWS KMS does not have. */
export const AWS_GAPS: readonly ExpectedGap[] = [
  ...gaps('keys neither wrap keys nor derive any there', 'power:wrapKey', 'power:unwrapKey', 'power:derive', 'power:agree'),
  ...gaps('AWS KMS keeps no state between calls', 'power:beginOperation', 'power:updateOperation', 'power:finishOperation'),
  ...gaps('AWS KMS encrypts with its own AEAD only', 'algorithm:aes-cbc', 'algorithm:aes-ctr', 'algorithm:chacha20-poly1305'),
  ...gaps('ECDSA takes the hash of its curve only', 'algorithm:ecdsa-sha224', 'algorithm:ecdsa-raw'),
];
