import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { defineContractSuite } from '../src/contract-suite/index.js';
import { openPkcs11Root } from '../src/pkcs11/index.js';
import { NSS_GAPS } from './pkcs11-gaps.js';
import { newDirectory, nssConfig, skipNss } from './pkcs11-tokens.js';

/** An independent second module. It holds one database per process, so `wrong-root` is shown on SoftHSM2 only. */
const directory = newDirectory('contract-nss-wrapped');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.skipIf(skipNss)('NSS softoken, storage: wrapped', () => {
  defineContractSuite(
    { name: 'nss (wrapped)', open: () => openPkcs11Root(nssConfig(directory, 'wrapped')), expectUnsupported: NSS_GAPS },
    { describe, test, expect },
  );
});
