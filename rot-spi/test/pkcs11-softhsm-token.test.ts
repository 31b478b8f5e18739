import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { defineContractSuite } from '../src/contract-suite/index.js';
import { openPkcs11Root } from '../src/pkcs11/index.js';
import { SOFTHSM_GAPS } from './pkcs11-gaps.js';
import { newDirectory, skipSoftHsm, softHsmConfig } from './pkcs11-tokens.js';

const directory = newDirectory('contract-token');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

// Both tokens first: a process does not see a token that another one makes later.
if (!skipSoftHsm) softHsmConfig(directory, 'other');

describe.skipIf(skipSoftHsm)('SoftHSM2, storage: token', () => {
  defineContractSuite(
    {
      name: 'softhsm (token)',
      open: () => openPkcs11Root(softHsmConfig(directory)),
      reopenOther: () => openPkcs11Root(softHsmConfig(directory, 'other')),
      expectUnsupported: SOFTHSM_GAPS,
    },
    { describe, test, expect },
  );
});
