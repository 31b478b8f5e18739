import * as crypto from 'node:crypto';
import type { ExpectedGap } from '../src/contract-suite/index.js';

/** What the software engine lacks, wherever its sealing keys come from. */
export const SOFTWARE_GAPS: readonly ExpectedGap[] = [
  ...('encapsulate' in crypto
    ? []
    : [
        ...['spec:ml-*', 'spec:slh-*', 'algorithm:ml-*', 'algorithm:slh-*'].map((what) => ({
          what,
          reason: 'node:crypto has no ML-KEM, ML-DSA or SLH-DSA before 24.7',
        })),
        ...['power:encapsulate', 'power:decapsulate'].map((what) => ({ what, reason: 'no KEM without ML-KEM' })),
      ]),
  ...['power:lookupKey', 'power:adoptKey'].map((what) => ({ what, reason: 'keys of a software root are nowhere else' })),
];
