import type { OperationName } from '../domain/index.js';
import type { IdentityStore } from '../storage/ports.js';

type Facts = Readonly<Record<string, unknown>>;

/**
 * What policy conditions may know about a token that is to be revoked: `owner`, the principal it belongs to. It fits guard's
 * `facts`; undefined for every other operation.
 */
export const makeIdentityFacts =
  (store: Pick<IdentityStore, 'token'>) =>
  (operation: OperationName, request: unknown, tenant: string): Promise<Facts | undefined> | undefined => {
    const id = (request as { id?: unknown } | null | undefined)?.id;
    if (operation !== 'revoke-token' || typeof id !== 'string') return undefined;
    return store.token(tenant, id).then((token) => (token === undefined ? undefined : { owner: token.principalId }));
  };
