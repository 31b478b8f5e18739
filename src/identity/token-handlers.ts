import {
  type AuthorizedCall,
  fail,
  type Handlers,
  type Planned,
  type Principal,
  type StoredToken,
  scopeWithin,
  type TokenView,
} from '../domain/index.js';
import type { IdentityStore } from '../storage/ports.js';
import { denied, isAdmin, isOwn, mayLookAround, OPERATOR_TENANT, refuseAgents, requireAdmin, requireUnscoped } from './authority.js';
import * as read from './fields.js';
import { notFound } from './principal-handlers.js';
import { covers } from './roles.js';
import { makePin, makeToken } from './token.js';

export type TokenHandlers = Pick<Handlers, 'issue-token' | 'list-tokens' | 'revoke-token'>;

export interface TokenOptions {
  /** Life of a token that asks for none, milliseconds. Default 90 days. */
  readonly defaultTokenTtlMs?: number;
  /** Longest life, milliseconds. Default 2 years. */
  readonly maxTokenTtlMs?: number;
}

const DAY_MS = 86_400_000;
const MAX_TOKEN_NAME = 128;
/** A PIN is shorter than a token, so it lives shorter too. */
const DEFAULT_PIN_TTL_MS = 3_600_000;
const MAX_PIN_TTL_MS = DAY_MS;
const PAGE = 200;
/** Live tokens of one principal; more are a leak or a loop. */
const MAX_LIVE_TOKENS = 200;

export const toTokenView = (token: StoredToken): TokenView => ({
  ...{
    id: token.id,
    principalId: token.principalId,
    tenant: token.tenant,
    name: token.name,
    prefix: token.prefix,
    createdAt: token.createdAt,
  },
  ...(token.scope === undefined ? {} : { scope: token.scope }),
  ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }),
  ...(token.revokedAt === undefined ? {} : { revokedAt: token.revokedAt }),
});

const tokensOf = async (store: IdentityStore, tenant: string, principalId: string): Promise<readonly TokenView[]> => {
  const found: TokenView[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.listTokens(tenant, { principalId }, { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined && found.length < 10 * PAGE);
  return found;
};

/**
 * Whose token it may become. Own tenant: the caller's own, an agent of his, or anybody's for an admin. Another tenant: only
 * the first token of a principal that an admin of the default tenant has just made there, which is how a tenant is born.
 */
const loadHolder = async (store: IdentityStore, call: AuthorizedCall<'issue-token'>): Promise<Principal> => {
  const { principalId } = call.request;
  if (typeof principalId !== 'string') throw fail('invalid-field', '`principalId` names the principal.', { field: 'principalId' });
  const own = await store.principal(call.tenant, principalId);
  if (own !== undefined) {
    if (!isOwn(call, own)) requireAdmin(call, 'issue tokens for others');
    return own;
  }
  if (call.principal.tenant !== OPERATOR_TENANT || !isAdmin(call)) throw notFound('principal');
  const foreign = await store.principal(undefined, principalId);
  if (foreign === undefined) throw notFound('principal');
  requireUnscoped(call, 'reach into another tenant');
  if ((await tokensOf(store, foreign.tenant, foreign.id)).length > 0)
    throw denied('This principal of another tenant has had its first token.', 'An administrator of that tenant issues the next one.');
  return foreign;
};

/** A token's scope stays within that of the credential that asks for it; without one it would be more than its maker. */
const requireScope = (call: AuthorizedCall<'issue-token'>): readonly string[] | undefined => {
  const scope = read.readScope(call.request.scope);
  const own = call.authentication.scope;
  if (own === undefined || (scope !== undefined && scopeWithin(scope, own))) return scope;
  throw denied('The new token would reach beyond the scope of yours.', `Ask for a scope within ${own.slice(0, 8).join(', ')}.`);
};

const readKind = (kind: unknown): 'token' | 'pin' => {
  if (kind === undefined || kind === 'token') return 'token';
  if (kind === 'pin') return 'pin';
  throw fail('invalid-field', '`kind` is token or pin.', { field: 'kind' });
};

const issueToken = async (
  store: IdentityStore,
  call: AuthorizedCall<'issue-token'>,
  options: TokenOptions,
): Promise<Planned<'issue-token'>> => {
  refuseAgents(call);
  const holder = await loadHolder(store, call);
  if (holder.disabled) throw fail('wrong-state', 'The principal is disabled.', { next: 'Enable it first.' });
  if (!covers(call.principal.roles, holder.roles)) throw denied('This principal has more rights than you have.', 'Ask an administrator.');
  const scope = requireScope(call);
  const kind = readKind(call.request.kind);
  const maxMs = Math.min(options.maxTokenTtlMs ?? 731 * DAY_MS, kind === 'pin' ? MAX_PIN_TTL_MS : Number.POSITIVE_INFINITY);
  const defaultMs = kind === 'pin' ? DEFAULT_PIN_TTL_MS : (options.defaultTokenTtlMs ?? 90 * DAY_MS);
  const ttlMs = read.readTtl(call.request.ttlMs, Math.min(defaultMs, maxMs), maxMs);
  const name = call.request.name === undefined ? kind : read.readText(call.request.name, 'name', MAX_TOKEN_NAME);
  const live = (await tokensOf(store, holder.tenant, holder.id)).filter(
    (token) => token.revokedAt === undefined && (token.expiresAt ?? Number.POSITIVE_INFINITY) > call.now,
  );
  if (live.length >= MAX_LIVE_TOKENS)
    throw fail('quota-exceeded', `A principal has at most ${MAX_LIVE_TOKENS} live tokens.`, { next: 'Revoke those that are not used.' });
  const { token, id, prefix, hash } = kind === 'pin' ? makePin(holder.tenant) : makeToken();
  const stored: StoredToken = {
    ...{ id, tenant: holder.tenant, principalId: holder.id, name, prefix, hash, createdAt: call.now, expiresAt: call.now + ttlMs },
    ...(scope === undefined ? {} : { scope }),
  };
  return {
    response: { ...toTokenView(stored), token },
    changes: [{ kind: 'insert-token', token: stored }],
    resource: { type: 'token', id, name },
    detail: { principalId: holder.id, tokenId: id, expiresAt: call.now + ttlMs },
  };
};

const listTokens = async (store: IdentityStore, call: AuthorizedCall<'list-tokens'>): Promise<Planned<'list-tokens'>> => {
  const principalId = call.request.principalId ?? (mayLookAround(call) ? undefined : call.principal.id);
  if (principalId !== undefined && principalId !== call.principal.id && !mayLookAround(call)) {
    const other = await store.principal(call.tenant, principalId);
    if (other === undefined || !isOwn(call, other)) throw denied('You may list your own tokens only.', 'Leave out the principal.');
  }
  const page = await store.listTokens(call.tenant, principalId === undefined ? {} : { principalId }, read.readPage(call.request));
  return { response: page, changes: [] };
};

/** Own tokens, those of own agents, and for admins and operators those of principals that have no more rights than they. */
const mayRevoke = (call: AuthorizedCall, token: StoredToken, holder: Principal | undefined): boolean => {
  if (token.principalId === call.principal.id || isAdmin(call)) return true;
  if (holder === undefined || call.principal.kind === 'agent') return false;
  return isOwn(call, holder) || (call.principal.roles.includes('operator') && covers(call.principal.roles, holder.roles));
};

const revokeToken = async (store: IdentityStore, call: AuthorizedCall<'revoke-token'>): Promise<Planned<'revoke-token'>> => {
  const { id } = call.request;
  const token = typeof id === 'string' ? await store.token(call.tenant, id) : undefined;
  const holder = token === undefined ? undefined : await store.principal(call.tenant, token.principalId);
  // Somebody else's token and none at all look the same to who may not see it.
  if (token === undefined || token.tenant !== call.tenant || !mayRevoke(call, token, holder)) throw notFound('token');
  const resource = { type: 'token', id: token.id, name: token.name };
  const detail = { principalId: token.principalId, tokenId: token.id };
  if (token.revokedAt !== undefined) return { response: toTokenView(token), changes: [], resource, detail };
  return {
    response: toTokenView({ ...token, revokedAt: call.now }),
    changes: [{ kind: 'revoke-token', tenant: call.tenant, id: token.id, at: call.now }],
    resource,
    detail,
  };
};

export const makeTokenHandlers = (store: IdentityStore, options: TokenOptions): TokenHandlers => ({
  'issue-token': (call) => issueToken(store, call, options),
  'list-tokens': (call) => listTokens(store, call),
  'revoke-token': (call) => revokeToken(store, call),
});
