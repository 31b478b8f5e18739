import { randomUUID } from 'node:crypto';
import { type Change, type Fault, FaultError, fail, type Principal, type StoredToken } from '../domain/index.js';
import type { AuditDraft, Journal } from '../guard/ports.js';
import type { IdentityStore, Storage } from '../storage/ports.js';
import { adminTokenPath, checkPlace, readAdminToken, removeAdminToken, writePendingToken } from './admin-token-file.js';
import { OPERATOR_TENANT } from './authority.js';
import { TENANT_FORM } from './fields.js';
import { isWorkingAdmin } from './roles.js';
import { makeToken, parseToken } from './token.js';

/** Fixed, so that two nodes that start on one empty database at once can't both succeed. */
export const BOOTSTRAP_ADMIN_ID = '00000000-0000-7000-8000-000000000001';
const ADMIN_NAME = 'admin';
const PAGE = 200;
const DAY_MS = 86_400_000;

export interface AdminParts {
  readonly storage: Pick<Storage, 'identity'>;
  readonly journal: Pick<Journal, 'commit'>;
  /** Directory of the operator, 0700. */
  readonly dataDir: string;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
}

export interface AdminAccess {
  /** To be printed once; it is also in the file. */
  readonly token: string;
  readonly path: string;
  readonly tenant: string;
  readonly principalId: string;
  readonly tokenId: string;
  readonly expiresAt?: number;
}

interface TokenOfAdmin {
  readonly text: string;
  readonly principal: Principal;
  readonly name: string;
  readonly now: number;
  readonly ttlMs?: number;
}

const storedToken = ({ text, principal, name, now, ttlMs }: TokenOfAdmin): StoredToken => {
  const parsed = parseToken(text);
  if (parsed === undefined) throw new Error('not a token');
  return {
    ...{
      id: parsed.id,
      tenant: principal.tenant,
      principalId: principal.id,
      name,
      prefix: parsed.prefix,
      hash: parsed.hash,
      createdAt: now,
    },
    ...(ttlMs === undefined ? {} : { expiresAt: now + ttlMs }),
  };
};

const draftOf = (
  component: 'bootstrap' | 'recovery',
  operation: 'create-principal' | 'issue-token',
  principal: Principal,
  token: StoredToken,
  now: number,
): AuditDraft => ({
  ...{ tenant: principal.tenant, at: now, plane: 'internal', requestId: randomUUID(), source: 'local', operation, outcome: 'success' },
  action: operation === 'create-principal' ? 'principals:create' : 'tokens:issue',
  actor: {
    kind: 'service',
    id: `system:${component}`,
    name: `system:${component}`,
    method: 'internal',
    credentialId: `system:${component}`,
  },
  resource:
    operation === 'create-principal'
      ? { type: 'principal', id: principal.id, name: principal.name }
      : { type: 'token', id: token.id, name: token.name },
  detail: {
    ...{ [component]: true, principalId: principal.id, tokenId: token.id },
    ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }),
  },
});

const adminPrincipal = (tenant: string, id: string, name: string, now: number): Principal => ({
  ...{ id, tenant, name, kind: 'human', roles: ['admin'], tags: {}, disabled: false, createdAt: now, revision: 1 },
});

const access = (token: string, path: string, principal: Principal, stored: StoredToken): AdminAccess => ({
  ...{ token, path, tenant: principal.tenant, principalId: principal.id, tokenId: stored.id },
  ...(stored.expiresAt === undefined ? {} : { expiresAt: stored.expiresAt }),
});

/**
 * First start: an admin of the default tenant and one token, in `<dataDir>/admin-token` and in the answer; undefined on every
 * later start. The file comes first and the commit makes it valid, so a kill at any moment leaves either nothing (the next
 * start begins anew and uses the file that is there) or a file that works.
 */
export const bootstrapAdmin = async (parts: AdminParts): Promise<AdminAccess | undefined> => {
  const { storage, journal, dataDir } = parts;
  if (!(await storage.identity.isEmpty())) return undefined;
  const now = (parts.clock ?? Date.now)();
  await checkPlace(dataDir);
  const left = await readAdminToken(dataDir);
  const text = left ?? makeToken().token;
  if (left === undefined) await (await writePendingToken(dataDir, text)).publish();
  const principal = adminPrincipal(OPERATOR_TENANT, BOOTSTRAP_ADMIN_ID, ADMIN_NAME, now);
  const token = storedToken({ text, principal, name: 'bootstrap', now });
  const changes: Change[] = [
    { kind: 'insert-principal', principal },
    { kind: 'insert-token', token },
  ];
  const fault = await journal.commit(draftOf('bootstrap', 'create-principal', principal, token, now), changes);
  if (fault === undefined) return access(text, adminTokenPath(dataDir), principal, token);
  // Another node was first: this token was never valid, and its file would only mislead.
  await removeAdminToken(dataDir, text);
  if (isLostRace(fault) && !(await storage.identity.isEmpty())) return undefined;
  throw new FaultError(fault);
};

const isLostRace = (fault: Fault): boolean => fault.code === 'already-exists' || fault.code === 'conflict';

const findAdmin = async (store: IdentityStore, tenant: string, wanted: string | undefined): Promise<Principal | undefined> => {
  if (wanted !== undefined) {
    const named = await store.principal(tenant, wanted);
    if (named === undefined || !isWorkingAdmin(named))
      throw fail('not-found', `${wanted} is not an enabled administrator of tenant ${tenant}.`, { next: 'Leave out the id to take any.' });
    return named;
  }
  let cursor: string | undefined;
  let service: Principal | undefined;
  do {
    const page = await store.listPrincipals(tenant, {}, { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    const admins = page.items.filter(isWorkingAdmin);
    const human = admins.find((principal) => principal.kind === 'human');
    if (human !== undefined) return human;
    service ??= admins[0];
    cursor = page.next;
  } while (cursor !== undefined);
  return service;
};

export interface RecoverOptions extends AdminParts {
  /** Default: `default`. */
  readonly tenant?: string;
  /** Which administrator; default any enabled one, else a new one is made. */
  readonly principalId?: string;
  /** Life of the new token, milliseconds. Default 30 days: long enough to make proper ones. */
  readonly ttlMs?: number;
  /** Revokes every other token of that administrator (the lost one may be in somebody's hands). Default true. */
  readonly revokeOthers?: boolean;
}

/**
 * The operator has lost the admin token but owns the data directory: a new token for an administrator, audited, written to
 * `<dataDir>/admin-token`. The file of before stays until the new token is valid. May be repeated.
 */
export const recoverAdmin = async (options: RecoverOptions): Promise<AdminAccess> => {
  const { storage, journal, dataDir } = options;
  const tenant = options.tenant ?? OPERATOR_TENANT;
  if (!TENANT_FORM.test(tenant)) throw fail('invalid-field', 'No such tenant name.', { field: 'tenant' });
  const now = (options.clock ?? Date.now)();
  await checkPlace(dataDir);
  const found = await findAdmin(storage.identity, tenant, options.principalId);
  const principal =
    found ?? adminPrincipal(tenant, randomUUID(), `recovered-admin-${new Date(now).toISOString().replaceAll(':', '-')}`, now);
  const { token: text } = makeToken();
  const token = storedToken({ text, principal, name: 'recovery', now, ttlMs: options.ttlMs ?? 30 * DAY_MS });
  const changes: Change[] = [];
  if (found === undefined) changes.push({ kind: 'insert-principal', principal });
  else if (options.revokeOthers !== false) changes.push({ kind: 'revoke-tokens-of', tenant, principalId: principal.id, at: now });
  changes.push({ kind: 'insert-token', token });
  const file = await writePendingToken(dataDir, text);
  const operation = found === undefined ? 'create-principal' : 'issue-token';
  const fault = await journal.commit(draftOf('recovery', operation, principal, token, now), changes).catch(async (error: unknown) => {
    await file.discard();
    throw error;
  });
  if (fault !== undefined) {
    await file.discard();
    throw new FaultError(fault);
  }
  await file.publish();
  return access(text, file.path, principal, token);
};
