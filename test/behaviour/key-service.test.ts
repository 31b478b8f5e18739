import { asTokenRoot, openTestRoot } from '../keys/test-roots.js';
import { keyServiceOver } from './key-service-target.js';
import { runBehaviourCases } from './run-cases.js';

runBehaviourCases('software root', async () => keyServiceOver(await openTestRoot()));
runBehaviourCases('token objects', async () => keyServiceOver(asTokenRoot(await openTestRoot('token'))));
