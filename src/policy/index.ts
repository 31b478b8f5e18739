/** The policy engine: documents of statements, what they decide, and the operations that change them. */
export { makePolicyEngine, type RunningPolicyEngine } from './engine.js';
export { makePolicyHandlers } from './handlers.js';
