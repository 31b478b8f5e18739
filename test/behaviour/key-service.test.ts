import type { RootOfTrust } from '@aegis/rot-spi';
import { makeTestService } from '../keys/key-service.js';
import { asTokenRoot, openTestRoot } from '../keys/test-roots.js';
import { canDo, runBehaviourCases } from './run-cases.js';

/** The key service behind its guard, without a wire: software root, and the same with keys outside the database. */
const against = async (root: RootOfTrust) => {
  const report = await root.describe();
  const service = makeTestService(new Map([[report.id, root]]), { realTime: true });
  let n = 0;
  return {
    alice: service.as('alice'),
    bob: service.as('bob'),
    stranger: service.as('mallory', 'other-tenant'),
    name: (prefix: string) => {
      n += 1;
      return `${prefix}-${n}`;
    },
    can: (needs: Parameters<typeof canDo>[1]) => canDo(report, needs),
  };
};

runBehaviourCases('software root', async () => against(await openTestRoot()));
runBehaviourCases('token objects', async () => against(asTokenRoot(await openTestRoot('token'))));
