import { afterAll, expect, test } from 'vitest';
import type { OperationName } from '../../src/domain/index.js';
import { canDo, runBehaviourCases } from '../behaviour/run-cases.js';
import { openTestRoot } from '../keys/test-roots.js';
import { bindBridge } from './behaviour-target.js';
import { openPlane, type TestPlane } from './plane.js';
import { ProtocolClient } from './protocol-client.js';

const overWire = new Map<OperationName, number>();
let plane: TestPlane | undefined;

runBehaviourCases('PKCS#11 plane over the software root', async () => {
  const root = await openTestRoot();
  const report = await root.describe();
  const opened = await openPlane(root);
  plane = opened;
  const as = async (tenant: string) => {
    const { token } = opened.token('admin', tenant);
    const client = await ProtocolClient.open(opened.path, 2);
    await client.initialize();
    const session = await client.session(token, tenant === 'default' ? 1 : 2);
    return bindBridge({ service: opened.service, client, session, token, overWire });
  };
  let n = 0;
  const [alice, bob, stranger] = await Promise.all([as('default'), as('default'), as('acme')]);
  return {
    ...{ alice, bob, stranger },
    name: (prefix) => {
      n += 1;
      return `${prefix}-${n}`;
    },
    can: (needs) => canDo(report, needs),
  };
});

test('what the wire can say went over the wire', () => {
  for (const operation of ['sign', 'verify', 'mac', 'mac-verify', 'random', 'digest'] as const)
    expect(overWire.get(operation), operation).toBeGreaterThan(0);
});

afterAll(async () => {
  await plane?.close();
});
