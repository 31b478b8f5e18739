import type { Principal, Role } from '../domain/index.js';

/** Roles whose rights another role includes. Auditors stand apart on purpose: they read what others did. */
const INCLUDES: Readonly<Record<Role, readonly Role[]>> = {
  admin: ['admin', 'operator', 'auditor', 'user', 'kmip-client'],
  operator: ['operator', 'user'],
  auditor: ['auditor'],
  user: ['user'],
  // An operator runs keys but takes none out, so he does not make clients that do.
  'kmip-client': ['kmip-client', 'user'],
};

/** Whether somebody with `have` has everything that `wanted` stands for. */
export const covers = (have: readonly Role[], wanted: readonly Role[]): boolean =>
  wanted.every((role) => have.some((own) => INCLUDES[own]?.includes(role) ?? false));

/** The part of an agent's roles that the human it acts for has, today. */
export const withinParent = (agent: readonly Role[], parent: readonly Role[]): readonly Role[] =>
  agent.filter((role) => role !== 'admin' && covers(parent, [role]));

/** An admin who can act by himself: what a tenant must always have one of. Agents don't count. */
export const isWorkingAdmin = (principal: Principal): boolean =>
  principal.kind !== 'agent' && !principal.disabled && principal.roles.includes('admin');
