import { asTokenRoot, openTestRoot } from '../keys/test-roots.js';
import type { BoundService } from './cases/behaviour-case.js';
import { keyServiceOver } from './key-service-target.js';
import { runBehaviourCases } from './run-cases.js';

runBehaviourCases('software root', async () => keyServiceOver(await openTestRoot()));
runBehaviourCases('token objects', async () => keyServiceOver(asTokenRoot(await openTestRoot('token'))));

/** Bytes as a wire hands them over: a Buffer in the middle of a larger one. */
const pooled = (value: unknown): unknown => {
  if (value instanceof Uint8Array)
    return Buffer.concat([Buffer.alloc(13, 0xee), value, Buffer.alloc(7, 0xee)]).subarray(13, 13 + value.length);
  return value;
};
runBehaviourCases('bytes given as parts of a pool', async () => {
  const target = await keyServiceOver(await openTestRoot());
  const within =
    (service: BoundService): BoundService =>
    (operation, request) =>
      service(operation, Object.fromEntries(Object.entries(request).map(([k, v]) => [k, pooled(v)])) as never);
  return { ...target, alice: within(target.alice), bob: within(target.bob), stranger: within(target.stranger) };
});
