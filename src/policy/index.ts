/** The policy engine: documents of statements, what they decide, and the operations that change them. */
export { BUILTIN_NAME, BUILTIN_SOURCE } from './builtin.js';
export type { PolicyStatus } from './document-reader.js';
export {
  DEFAULT_PRINCIPAL_RATE,
  makePolicyEngine,
  type PolicyEngineOptions,
  type RunningPolicyEngine,
} from './engine.js';
export { makePolicyHandlers, type PolicyHandlerParts, type PolicyHandlers } from './handlers.js';
