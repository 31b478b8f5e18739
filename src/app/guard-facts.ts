import { envelopeTarget, type OperationName } from '../domain/index.js';
import type { GuardParts } from '../guard/ports.js';
import type { Storage } from '../storage/ports.js';

/** The object an envelope ciphertext names, for the operations whose request may leave the key out. */
export function envelopeTargetOf(operation: OperationName, request: unknown): string | undefined {
  if (operation !== 'decrypt' && operation !== 're-encrypt') return undefined;
  const { ciphertext } = request as { readonly ciphertext?: unknown };
  return ciphertext instanceof Uint8Array ? envelopeTarget(ciphertext) : undefined;
}

/** What policy conditions may know beside the request: whose token is to be revoked. */
export const makeFacts =
  (storage: Storage): NonNullable<GuardParts['facts']> =>
  (operation, request, tenant) => {
    if (operation !== 'revoke-token') return undefined;
    const { id } = request as { readonly id?: unknown };
    if (typeof id !== 'string') return undefined;
    return storage.identity.token(tenant, id).then((token) => (token === undefined ? undefined : { owner: token.principalId }));
  };
