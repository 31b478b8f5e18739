import { afterAll, describe } from 'vitest';
import { skipSoftHsm } from '../../rot-spi/test/pkcs11-tokens.js';
import { KMIP_UNSAID } from './kmip-gaps.js';
import { openKmipBehaviour } from './kmip-target.js';
import { runBehaviourCases } from './run-cases.js';
import { SOFTHSM_LACKS } from './softhsm-gaps.js';

let stop = async (): Promise<void> => {};
afterAll(() => stop(), 30_000);

describe.skipIf(skipSoftHsm)('KMIP over SoftHSM2', () => {
  runBehaviourCases(
    'storage: wrapped',
    async () => {
      const opened = await openKmipBehaviour({ root: 'softhsm', storage: 'wrapped' });
      stop = opened.stop;
      return opened.target;
    },
    SOFTHSM_LACKS,
    KMIP_UNSAID,
  );
});
