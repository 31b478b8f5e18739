import type { Authentication, Fault, Principal } from '../domain/index.js';
import type { Identified } from './ports.js';
import type { CallState, Stage } from './stage.js';

const fault = (code: Fault['code'], message: string, next: string): Fault => ({ code, message, next });

const UNAUTHENTICATED = fault('unauthenticated', 'Not authenticated.', 'Present a valid API token or client certificate.');

const isPrincipal = (principal: Principal | undefined): principal is Principal =>
  typeof principal?.id === 'string' && principal.id !== '' && typeof principal.tenant === 'string' && principal.tenant !== '';

/** An agent acts for one human of its own tenant, who must still be there; anybody else acts for nobody. */
const parentFault = (principal: Principal, parent: Principal | undefined): Fault | undefined => {
  if (principal.kind !== 'agent') return undefined;
  if (
    isPrincipal(parent) &&
    parent.kind === 'human' &&
    parent.id === principal.parentId &&
    parent.tenant === principal.tenant &&
    !parent.disabled
  )
    return undefined;
  return fault('unauthenticated', 'The human this agent acts for is unknown or disabled.', 'Enable the parent or retire the agent.');
};

/** Callers stay in their tenant; only internal components, whose work spans tenants, name the one they act in. */
const callTenant = (principal: Principal, authentication: Authentication, asked: string | undefined): string | undefined =>
  asked === undefined || asked === principal.tenant ? principal.tenant : authentication.method === 'internal' ? asked : undefined;

/** Takes who the identifier says it is, or refuses. */
const accept = (state: CallState, identified: Identified | undefined): Fault | undefined => {
  const { caller, now } = state;
  const { principal, authentication, parent } = identified ?? {};
  if (!isPrincipal(principal) || authentication === undefined) return UNAUTHENTICATED;
  state.principal = principal;
  state.authentication = authentication;
  state.parent = parent;
  state.tenant = principal.tenant;
  if (principal.disabled) return fault('credential-revoked', 'This principal is disabled.', 'Ask an administrator to enable it.');
  if (authentication.expiresAt !== undefined && authentication.expiresAt <= now)
    return fault('credential-expired', 'The credential has expired.', 'Obtain a new token or certificate.');
  const orphan = parentFault(principal, parent);
  if (orphan !== undefined) return orphan;
  const tenant = callTenant(principal, authentication, caller.tenant);
  if (tenant === undefined)
    return fault('permission-denied', 'This credential belongs to another tenant.', 'Use a credential of that tenant.');
  state.tenant = tenant;
  return undefined;
};

export const identity: Stage<'identity'> = {
  name: 'identity',
  runs: 'while-allowed',
  run: (state, parts) => {
    // A repeated pass (conflict) is the same call of the same caller.
    if (state.principal !== undefined) return undefined;
    const identified = parts.identifier.identify(state.caller.credential, state.caller, state.now);
    if (identified !== undefined && 'then' in identified) return identified.then((who) => accept(state, who));
    return accept(state, identified);
  },
};
