import type { IdentityStore } from '../storage/ports.js';
import { makePrincipalHandlers, type PrincipalHandlers } from './principal-handlers.js';
import { makeTokenHandlers, type TokenHandlers, type TokenOptions } from './token-handlers.js';

export interface IdentityHandlerParts extends TokenOptions {
  readonly store: IdentityStore;
}
export type IdentityHandlers = PrincipalHandlers & TokenHandlers;

/** Principals and tokens. Handlers plan changes and write nothing; what they plan commits with the audit record. */
export const makeIdentityHandlers = (parts: IdentityHandlerParts): IdentityHandlers => ({
  ...makePrincipalHandlers(parts.store),
  ...makeTokenHandlers(parts.store, parts),
});
