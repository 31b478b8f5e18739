import type { Handlers } from '../domain/index.js';
import type { IdentityStore, SettingStore } from '../storage/ports.js';
import { makeLoginHandlers } from './login-handlers.js';
import { makePrincipalHandlers, type PrincipalHandlers } from './principal-handlers.js';
import { makeTokenHandlers, type TokenHandlers, type TokenOptions } from './token-handlers.js';

export interface IdentityHandlerParts extends TokenOptions {
  readonly store: IdentityStore;
  readonly settings: Pick<SettingStore, 'setting'>;
}
export type IdentityHandlers = PrincipalHandlers & TokenHandlers & Pick<Handlers, 'set-login'>;

/** Principals and tokens. Handlers plan changes and write nothing; what they plan commits with the audit record. */
export const makeIdentityHandlers = (parts: IdentityHandlerParts): IdentityHandlers => ({
  ...makePrincipalHandlers(parts.store),
  ...makeTokenHandlers(parts.store, parts),
  ...makeLoginHandlers(parts.store, parts.settings),
});
