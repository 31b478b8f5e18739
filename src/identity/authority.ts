import { type AuthorizedCall, fail, type Principal, type Role } from '../domain/index.js';
import { covers } from './roles.js';

/**
 * Rules that hold whatever the policies say, because breaking one would let a caller become more than he is:
 * - nobody gives roles he does not have himself, and nobody touches a principal that has more than he has;
 * - a scoped credential does not hand out anything its scope does not limit (roles of somebody else, certificates);
 * - an agent manages no identities;
 * - only an admin of the default tenant reaches into another tenant.
 */
export const OPERATOR_TENANT = 'default';

type Call = Pick<AuthorizedCall, 'principal' | 'authentication' | 'tenant'>;

export const denied = (message: string, next: string) => fail('permission-denied', message, { next });

export const isAdmin = (call: Call): boolean => call.principal.roles.includes('admin');
/** May see the tokens and principals of others. */
export const mayLookAround = (call: Call): boolean => call.principal.roles.some((role) => role !== 'user');
/** A credential that can't do everything its principal can. */
const isScoped = (call: Call): boolean => call.authentication.scope !== undefined && !call.authentication.scope.includes('*');

export const refuseAgents = (call: Call): void => {
  if (call.principal.kind === 'agent') throw denied('An agent does not manage identities.', 'Ask the human it acts for.');
};

/** `roles` are about to be given, or belong to the principal that is about to be changed. */
export const requireCover = (call: Call, roles: readonly Role[], what: string): void => {
  // The service's own components have no roles; the built-in policy names the few that may make principals.
  if (call.authentication.method === 'internal' || covers(call.principal.roles, roles)) return;
  throw denied(
    `${what} more rights than you have.`,
    roles.includes('admin') ? 'Ask an administrator.' : 'Ask somebody who has these roles.',
  );
};

export const requireUnscoped = (call: Call, what: string): void => {
  if (!isScoped(call)) return;
  throw denied(`A token with a scope can not ${what}: that would reach beyond its scope.`, 'Use a token without a scope.');
};

export const requireAdmin = (call: Call, what: string): void => {
  if (!isAdmin(call)) throw denied(`Only an administrator may ${what}.`, 'Ask an administrator.');
};

/** The tenant a new principal goes to. */
export const requireTenant = (call: Call, tenant: string): void => {
  if (tenant === call.tenant) return;
  if (call.principal.tenant !== OPERATOR_TENANT || !isAdmin(call))
    throw denied(
      'Only an administrator of the default tenant may create principals in another tenant.',
      'Ask the operator of this service.',
    );
  requireUnscoped(call, 'reach into another tenant');
};

/** Somebody's own affairs: himself, or an agent that acts for him. */
export const isOwn = (call: Call, principal: Principal): boolean =>
  principal.id === call.principal.id || (principal.kind === 'agent' && principal.parentId === call.principal.id);
