import { rmSync } from 'node:fs';
import { openPkcs11Root } from '@aegis/rot-spi/pkcs11';
import { afterAll, describe } from 'vitest';
import { newDirectory, skipSoftHsm, softHsmConfig } from '../../rot-spi/test/pkcs11-tokens.js';
import { keyServiceOver } from './key-service-target.js';
import { runBehaviourCases } from './run-cases.js';
import { SOFTHSM_LACKS } from './softhsm-gaps.js';

const directory = newDirectory('keys-wrapped');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.skipIf(skipSoftHsm)('SoftHSM2', () => {
  runBehaviourCases(
    'storage: wrapped',
    async () => keyServiceOver(await openPkcs11Root(softHsmConfig(directory, 'aegis', { storage: 'wrapped' }))),
    SOFTHSM_LACKS,
  );
});
