import type {
  AuthorizedCall,
  Change,
  Fault,
  ManagedObject,
  OperationName,
  OperationRequest,
  Principal,
  Role,
  StoredCertificateBinding,
  StoredToken,
} from '../../src/domain/index.js';
import { FaultError } from '../../src/domain/index.js';
import type { Journal } from '../../src/guard/ports.js';
import { toTokenView } from '../../src/identity/token-handlers.js';
import type { IdentityStore } from '../../src/storage/ports.js';

/** Identity store and the transaction that changes it, in memory, with the rules of the real one (revisions, unique names). */
export const makeMemoryIdentity = () => {
  const state = {
    principals: new Map<string, Principal>(),
    tokens: new Map<string, StoredToken>(),
    bindings: [] as StoredCertificateBinding[],
    /** Certificates issued here, by fingerprint. */
    issued: new Map<string, ManagedObject>(),
    authorityEnded: false,
    lookups: 0,
    pageSize: Number.POSITIVE_INFINITY,
  };
  const pageOf = <T>(items: readonly T[], page: { limit: number; cursor?: string }) => {
    const from = Number(page.cursor ?? 0);
    const end = from + Math.min(page.limit, state.pageSize);
    return { items: items.slice(from, end), ...(end < items.length ? { next: String(end) } : {}) };
  };
  const store: IdentityStore = {
    principal: async (tenant, id) => {
      const found = state.principals.get(id);
      return tenant === undefined || found?.tenant === tenant ? found : undefined;
    },
    listPrincipals: async (tenant, filter, page) =>
      pageOf(
        [...state.principals.values()].filter((p) => p.tenant === tenant && (filter.kind === undefined || p.kind === filter.kind)),
        page,
      ),
    tokenByHash: async (hash) => {
      state.lookups += 1;
      return [...state.tokens.values()].find((token) => Buffer.from(token.hash).equals(hash));
    },
    token: async (tenant, id) => {
      const token = state.tokens.get(id);
      return token?.tenant === tenant ? token : undefined;
    },
    listTokens: async (tenant, filter, page) =>
      pageOf(
        [...state.tokens.values()]
          .filter((t) => t.tenant === tenant && (filter.principalId === undefined || t.principalId === filter.principalId))
          .map(toTokenView),
        page,
      ),
    certificateBinding: async (candidate) =>
      state.bindings.find(
        (binding) =>
          binding.fingerprint === candidate.fingerprint ||
          binding.subject === candidate.subject ||
          candidate.subjectAltNames.includes(binding.subjectAltName ?? '\0'),
      ),
    issuedCertificate: async (fingerprint) => {
      const object = state.issued.get(fingerprint);
      return object === undefined ? undefined : { object, authorityEnded: state.authorityEnded };
    },
    authorities: async () => [],
    isEmpty: async () => state.principals.size === 0,
  };
  const applyOne = (change: Change): Fault | undefined => {
    const conflict: Fault = { code: 'conflict', message: 'changed' };
    switch (change.kind) {
      case 'insert-principal':
        if (state.principals.has(change.principal.id)) return conflict;
        if ([...state.principals.values()].some((p) => p.tenant === change.principal.tenant && p.name === change.principal.name))
          return { code: 'already-exists', message: 'name' };
        state.principals.set(change.principal.id, change.principal);
        return undefined;
      case 'update-principal':
        if (state.principals.get(change.principal.id)?.revision !== change.expect) return conflict;
        state.principals.set(change.principal.id, change.principal);
        return undefined;
      case 'delete-principal':
        if (!state.principals.delete(change.id)) return { code: 'not-found', message: 'none' };
        for (const token of state.tokens.values()) if (token.principalId === change.id) state.tokens.delete(token.id);
        return undefined;
      case 'insert-token':
        if (!state.principals.has(change.token.principalId)) return { code: 'not-found', message: 'none' };
        state.tokens.set(change.token.id, change.token);
        return undefined;
      case 'revoke-token': {
        const token = state.tokens.get(change.id);
        if (token !== undefined) state.tokens.set(change.id, { ...token, revokedAt: change.at });
        return undefined;
      }
      case 'revoke-tokens-of':
        for (const token of state.tokens.values())
          if (token.principalId === change.principalId && token.revokedAt === undefined)
            state.tokens.set(token.id, { ...token, revokedAt: change.at });
        return undefined;
      case 'set-certificate-binding':
        state.bindings = state.bindings.filter((binding) => binding.principalId !== change.principalId);
        if (change.binding !== null) state.bindings.push(change.binding);
        return undefined;
      default:
        throw new Error(`not an identity change: ${change.kind}`);
    }
  };
  /** All or nothing, as one transaction. */
  const apply = (changes: readonly Change[]): Fault | undefined => {
    const before = { principals: new Map(state.principals), tokens: new Map(state.tokens), bindings: [...state.bindings] };
    for (const change of changes) {
      const fault = applyOne(change);
      if (fault === undefined) continue;
      Object.assign(state, before);
      return fault;
    }
    return undefined;
  };
  const records: { operation: string; actor: string; detail: unknown }[] = [];
  const journal: Pick<Journal, 'commit'> = {
    commit: async (draft, changes) => {
      const fault = apply(changes);
      records.push({ operation: draft.operation, actor: draft.actor.id, detail: draft.detail });
      return fault;
    },
  };
  return { store, state, apply, journal, records };
};
export type MemoryIdentity = ReturnType<typeof makeMemoryIdentity>;

let made = 0;
const person = (over: Partial<Principal> = {}): Principal => {
  made += 1;
  return {
    kind: 'human',
    id: `p-${made}`,
    tenant: 'default',
    name: `name-${made}`,
    roles: ['user'],
    tags: {},
    disabled: false,
    createdAt: made,
    revision: 1,
    ...over,
  } as Principal;
};
export const add = (memory: MemoryIdentity, over: Partial<Principal> = {}): Principal => {
  const principal = person(over);
  memory.state.principals.set(principal.id, principal);
  return principal;
};
export const withRoles = (memory: MemoryIdentity, ...roles: Role[]): Principal => add(memory, { roles });

export const NOW = 1_760_000_000_000;
export const callAs = <O extends OperationName>(
  principal: Principal,
  operation: O,
  request: OperationRequest<O>,
  scope?: readonly string[],
): AuthorizedCall<O> => ({
  ...{ operation, request, principal, tenant: principal.tenant, requestId: 'r', plane: 'rest', now: NOW, others: {} },
  authentication: { method: 'token', credentialId: 't', ...(scope === undefined ? {} : { scope }) },
});
/** `work`: a promise, or the answer itself where nothing had to be waited for. */
export const faultOf = async (work: unknown): Promise<Fault | undefined> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof FaultError) return error.fault;
    throw error;
  }
};
