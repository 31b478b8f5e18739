/** The identity engine: who calls, and who may become whom. */
export { bootstrapAdmin, recoverAdmin } from './bootstrap.js';
export { makeIdentityHandlers } from './handlers.js';
export { makeIdentifier } from './identifier.js';
