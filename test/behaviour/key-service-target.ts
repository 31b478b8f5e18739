import type { RootOfTrust } from '@aegis/rot-spi';
import { makeTestService, type TestStorage } from '../keys/key-service.js';
import type { BehaviourTarget } from './cases/behaviour-case.js';
import { canDo } from './run-cases.js';

/** The key service behind its guard, without a wire, over one root. */
export const keyServiceOver = async (root: RootOfTrust, storage?: TestStorage): Promise<BehaviourTarget> => {
  const report = await root.describe();
  const service = makeTestService(new Map([[report.id, root]]), { realTime: true, ...(storage === undefined ? {} : { storage }) });
  let n = 0;
  return {
    alice: service.as('alice'),
    bob: service.as('bob'),
    stranger: service.as('mallory', 'other-tenant'),
    name: (prefix) => {
      n += 1;
      return `${prefix}-${n}`;
    },
    can: (needs) => canDo(report, needs),
  };
};
