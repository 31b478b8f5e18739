/** The identity engine: who calls, and who may become whom. */
export { ADMIN_TOKEN_FILE } from './admin-token-file.js';
export { type AdminAccess, type AdminParts, BOOTSTRAP_ADMIN_ID, bootstrapAdmin, type RecoverOptions, recoverAdmin } from './bootstrap.js';
export { type IdentityHandlerParts, type IdentityHandlers, makeIdentityHandlers } from './handlers.js';
export { type IdentifierOptions, INTERNAL_COMPONENTS, makeIdentifier } from './identifier.js';
