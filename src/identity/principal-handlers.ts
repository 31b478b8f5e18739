import { randomUUID } from 'node:crypto';
import { type AuthorizedCall, type Change, fail, type Handlers, type Planned, type Principal, type Role } from '../domain/index.js';
import type { IdentityStore } from '../storage/ports.js';
import { isAdmin, isOwn, refuseAgents, requireAdmin, requireCover, requireTenant, requireUnscoped } from './authority.js';
import * as read from './fields.js';
import { covers, isWorkingAdmin } from './roles.js';

export type PrincipalHandlers = Pick<
  Handlers,
  'whoami' | 'create-principal' | 'get-principal' | 'list-principals' | 'update-principal' | 'delete-principal'
>;

const PAGE = 200;
const MAX_PARENT_ID = 128;

export const notFound = (what: string) => fail('not-found', `No such ${what}.`);
const resourceOf = (principal: Principal): NonNullable<Planned['resource']> => ({
  type: 'principal',
  id: principal.id,
  name: principal.name,
});

/** The human an agent acts for: enabled, of the same tenant, and the caller himself unless he is an admin. */
const requireParent = async (store: IdentityStore, call: AuthorizedCall, parentId: unknown, tenant: string, roles: readonly Role[]) => {
  const id = read.readText(parentId ?? '', 'parentId', MAX_PARENT_ID);
  const parent = await store.principal(tenant, id);
  if (parent === undefined || parent.kind !== 'human' || parent.disabled)
    throw fail('invalid-field', 'The parent of an agent is an enabled human of the same tenant.', { field: 'parentId' });
  if (parent.id !== call.principal.id) requireAdmin(call, 'create agents for other people');
  if (roles.includes('admin') || !covers(parent.roles, roles))
    throw fail('invalid-field', 'An agent has no role that its human does not have, and is never admin.', { field: 'roles' });
  return parent.id;
};

const makePrincipal = async (store: IdentityStore, call: AuthorizedCall<'create-principal'>, tenant: string): Promise<Principal> => {
  const { request } = call;
  const roles = read.readRoles(request.roles);
  const base = {
    ...{ id: randomUUID(), tenant, name: read.readName(request.name), roles, tags: read.readTags(request.tags) },
    ...{ disabled: false, createdAt: call.now, revision: 1 },
  };
  switch (request.kind) {
    case 'human':
    case 'service':
      if (request.parentId !== undefined) throw fail('invalid-field', 'Only an agent has a parent.', { field: 'parentId' });
      if (request.purpose !== undefined) throw fail('invalid-field', 'Only an agent has a purpose.', { field: 'purpose' });
      return { ...base, kind: request.kind };
    case 'agent': {
      const purpose = read.readPurpose(request.purpose);
      const parentId = await requireParent(store, call, request.parentId, tenant, roles);
      return { ...base, kind: 'agent', parentId, purpose };
    }
    default:
      throw fail('invalid-field', 'A principal is a human, a service or an agent.', { field: 'kind' });
  }
};

const createPrincipal = async (store: IdentityStore, call: AuthorizedCall<'create-principal'>): Promise<Planned<'create-principal'>> => {
  refuseAgents(call);
  const tenant = call.request.tenant === undefined ? call.tenant : read.readTenant(call.request.tenant);
  requireTenant(call, tenant);
  requireCover(call, read.readRoles(call.request.roles), 'The new principal would have');
  const principal = await makePrincipal(store, call, tenant);
  const changes: Change[] = [{ kind: 'insert-principal', principal }];
  if (call.request.certificate !== undefined) {
    requireAdmin(call, 'bind certificates');
    requireUnscoped(call, 'bind certificates');
    const binding = read.readCertificate(call.request.certificate, principal);
    changes.push({ kind: 'set-certificate-binding', binding, principalId: principal.id, tenant });
  }
  return { response: principal, changes, resource: resourceOf(principal), detail: { principalId: principal.id } };
};

/** Another working admin of the tenant, or a refusal: a tenant without one could not be managed by anybody. */
const requireOtherAdmin = async (store: IdentityStore, tenant: string, id: string): Promise<Principal> => {
  let cursor: string | undefined;
  do {
    const page = await store.listPrincipals(tenant, {}, { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    const other = page.items.find((principal) => principal.id !== id && isWorkingAdmin(principal));
    if (other !== undefined) return other;
    cursor = page.next;
  } while (cursor !== undefined);
  throw fail('wrong-state', 'This is the last enabled administrator of the tenant.', {
    next: 'Make somebody else an administrator first.',
  });
};

const bump = (principal: Principal): Change => ({
  kind: 'update-principal',
  principal: { ...principal, revision: principal.revision + 1 },
  expect: principal.revision,
});

/** In one order everywhere, so that two such calls can't wait for each other's rows. */
const idOf = (change: Change): string =>
  change.kind === 'update-principal' ? change.principal.id : change.kind === 'delete-principal' ? change.id : '';
const inRowOrder = (changes: readonly Change[]): readonly Change[] => [...changes].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));

/**
 * Changes that take a working admin away also rewrite (with its revision expected) another one that stays: of two calls
 * that remove each other's witness at the same time, one fails with `conflict`, and one admin is left.
 */
const withWitness = async (
  store: IdentityStore,
  before: Principal,
  after: Principal | undefined,
  main: Change,
): Promise<readonly Change[]> => {
  if (!isWorkingAdmin(before) || (after !== undefined && isWorkingAdmin(after))) return [main];
  return inRowOrder([main, bump(await requireOtherAdmin(store, before.tenant, before.id))]);
};

const loadTarget = async (store: IdentityStore, call: AuthorizedCall, id: unknown): Promise<Principal> => {
  const found = typeof id === 'string' ? await store.principal(call.tenant, id) : undefined;
  if (found === undefined || found.tenant !== call.tenant) throw notFound('principal');
  return found;
};

/** Roles of an agent also stay within its human's. */
const checkAgentRoles = async (store: IdentityStore, principal: Principal): Promise<void> => {
  if (principal.kind !== 'agent') return;
  const parent = await store.principal(principal.tenant, principal.parentId);
  if (principal.roles.includes('admin') || !covers(parent?.roles ?? [], principal.roles))
    throw fail('invalid-field', 'An agent has no role that its human does not have, and is never admin.', { field: 'roles' });
};

const applyUpdate = async (store: IdentityStore, call: AuthorizedCall<'update-principal'>, before: Principal): Promise<Principal> => {
  const { roles, disabled, tags } = call.request;
  const after: Principal = {
    ...before,
    ...(roles === undefined ? {} : { roles: read.readRoles(roles) }),
    ...(disabled === undefined ? {} : { disabled: read.readFlag(disabled, 'disabled') }),
    ...(tags === undefined ? {} : { tags: read.readTags(tags) }),
    revision: before.revision + 1,
  };
  if (roles !== undefined) {
    requireCover(call, after.roles, 'The principal would have');
    if (!covers(before.roles, after.roles)) requireUnscoped(call, 'add roles');
    await checkAgentRoles(store, after);
  }
  return after;
};

const certificateChange = (call: AuthorizedCall<'update-principal'>, principal: Principal): readonly Change[] => {
  const { certificate } = call.request;
  if (certificate === undefined) return [];
  requireAdmin(call, 'bind certificates');
  if (certificate !== null) requireUnscoped(call, 'bind certificates');
  const binding = certificate === null ? null : read.readCertificate(certificate, principal);
  return [{ kind: 'set-certificate-binding', binding, principalId: principal.id, tenant: principal.tenant }];
};

const updatePrincipal = async (store: IdentityStore, call: AuthorizedCall<'update-principal'>): Promise<Planned<'update-principal'>> => {
  refuseAgents(call);
  const before = await loadTarget(store, call, call.request.id);
  requireCover(call, before.roles, 'This principal has');
  if (!isAdmin(call) && !isOwn(call, before) && call.principal.roles.every((role) => role === 'user'))
    requireAdmin(call, 'change other principals');
  if (call.request.revision !== undefined && call.request.revision !== before.revision)
    throw fail('conflict', 'The principal was changed by someone else.', { next: 'Read it again and repeat.' });
  const after = await applyUpdate(store, call, before);
  const main: Change = { kind: 'update-principal', principal: after, expect: before.revision };
  const changes: Change[] = [...(await withWitness(store, before, after, main)), ...certificateChange(call, after)];
  if (after.disabled && !before.disabled)
    changes.push({ kind: 'revoke-tokens-of', tenant: after.tenant, principalId: after.id, at: call.now });
  return { response: after, changes, resource: resourceOf(after) };
};

const deletePrincipal = async (store: IdentityStore, call: AuthorizedCall<'delete-principal'>): Promise<Planned<'delete-principal'>> => {
  refuseAgents(call);
  const principal = await loadTarget(store, call, call.request.id);
  requireCover(call, principal.roles, 'This principal has');
  if (!isAdmin(call) && !isOwn(call, principal)) requireAdmin(call, 'delete other principals');
  const { id, tenant } = principal;
  const main: Change = { kind: 'delete-principal', tenant, id };
  const changes: Change[] = [
    { kind: 'revoke-tokens-of', tenant, principalId: id, at: call.now },
    { kind: 'set-certificate-binding', binding: null, principalId: id, tenant },
    ...(await withWitness(store, principal, undefined, main)),
  ];
  return { response: {}, changes, resource: resourceOf(principal) };
};

export const makePrincipalHandlers = (store: IdentityStore): PrincipalHandlers => ({
  whoami: async (call) => {
    const { method, scope, credentialId, serverProof } = call.authentication;
    return {
      response: {
        principal: call.principal,
        method,
        ...(scope === undefined ? {} : { scope }),
        // A login that lasts (PKCS#11) goes on under the credential's id, so that nobody has to keep the secret.
        ...(call.plane === 'pkcs11' ? { credentialId } : {}),
        ...(call.plane === 'kmip' && serverProof !== undefined ? { serverProof } : {}),
      },
      changes: [],
    };
  },
  'create-principal': (call) => createPrincipal(store, call),
  'get-principal': async (call) => {
    const principal = await loadTarget(store, call, call.request.id);
    return { response: principal, changes: [], resource: resourceOf(principal) };
  },
  'list-principals': async (call) => {
    const { kind } = call.request;
    const page = await store.listPrincipals(call.tenant, kind === undefined ? {} : { kind }, read.readPage(call.request));
    return { response: page, changes: [] };
  },
  'update-principal': (call) => updatePrincipal(store, call),
  'delete-principal': (call) => deletePrincipal(store, call),
});
