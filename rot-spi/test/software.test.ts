import * as crypto from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { defineContractSuite, type ExpectedGap } from '../src/contract-suite/index.js';
import { openSoftwareRoot } from '../src/software/index.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-software-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const open = (name: string) =>
  openSoftwareRoot({ id: 'software', kind: 'software', seal: { kind: 'key-file', path: join(directory, name), create: true } });

const POST_QUANTUM: readonly ExpectedGap[] =
  'encapsulate' in crypto
    ? []
    : [
        ...['spec:ml-*', 'spec:slh-*', 'algorithm:ml-*', 'algorithm:slh-*'].map((what) => ({
          what,
          reason: 'node:crypto has no ML-KEM, ML-DSA or SLH-DSA before 24.7',
        })),
        ...['power:encapsulate', 'power:decapsulate'].map((what) => ({ what, reason: 'no KEM without ML-KEM' })),
      ];

defineContractSuite(
  {
    name: 'software',
    open: () => open('seal.key'),
    reopenOther: () => open('other.key'),
    expectUnsupported: [
      ...POST_QUANTUM,
      ...['power:lookupKey', 'power:adoptKey'].map((what) => ({ what, reason: 'keys of a software root are nowhere else' })),
      { what: 'power:seedRandom', reason: 'OpenSSL seeds itself from the kernel; node:crypto cannot add to it' },
    ],
  },
  { describe, test, expect },
);
