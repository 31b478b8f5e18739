import { type AuthorizedCall, fail, type Principal } from '../domain/index.js';
import type { KeyParts } from './key-parts.js';

/**
 * Whom a certificate may be issued for, whatever the policies say: it is a way to act as that principal. So only an
 * administrator of the tenant has one made; a principal may have its own renewed, so that machines can do it in time. An
 * agent never does either, and a credential limited by a scope makes none, which would not be limited.
 */
export const requireHolder = async (
  parts: Pick<KeyParts, 'principals'>,
  call: Pick<AuthorizedCall, 'principal' | 'authentication' | 'tenant'>,
  id: string,
  how: 'issue' | 'renew',
): Promise<Principal> => {
  const { principal, authentication, tenant } = call;
  const denied = (message: string, next: string) => fail('permission-denied', message, { field: 'principalId', next });
  if (authentication.method !== 'internal') {
    if (principal.kind === 'agent') throw denied('An agent has no certificates issued for principals.', 'Ask the human it acts for.');
    if (authentication.scope !== undefined && !authentication.scope.includes('*'))
      throw denied('A token with a scope cannot have a certificate issued: it would reach beyond its scope.', 'Use one without.');
    if (!principal.roles.includes('admin') && (how === 'issue' || id !== principal.id))
      throw denied('Only an administrator has certificates issued for principals.', 'Ask an administrator.');
  }
  const holder = typeof id === 'string' && id.length <= 128 ? await parts.principals?.principal(tenant, id) : undefined;
  if (holder === undefined || holder.tenant !== tenant)
    throw fail('not-found', 'No such principal.', { field: 'principalId', next: 'List them: aegis principal list.' });
  return holder;
};
