import { afterAll } from 'vitest';
import { KMIP_UNSAID } from './kmip-gaps.js';
import { openKmipBehaviour } from './kmip-target.js';
import { runBehaviourCases } from './run-cases.js';

let stop = async (): Promise<void> => {};
afterAll(() => stop(), 30_000);

runBehaviourCases(
  'KMIP over the software root',
  async () => {
    const opened = await openKmipBehaviour();
    stop = opened.stop;
    return opened.target;
  },
  {},
  KMIP_UNSAID,
);
