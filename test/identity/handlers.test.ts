import { describe, expect, it } from 'vitest';
import type { Change, OperationRequest, Principal, Role } from '../../src/domain/index.js';
import { makeIdentityHandlers } from '../../src/identity/handlers.js';
import { makeIdentifier } from '../../src/identity/identifier.js';
import { parseToken } from '../../src/identity/token.js';
import { add, callAs, faultOf, makeMemoryIdentity, NOW, withRoles } from './memory-identity.js';

const makeSubject = () => {
  const memory = makeMemoryIdentity();
  return {
    memory,
    handlers: makeIdentityHandlers({ store: memory.store, settings: { setting: async () => undefined } }),
    identifier: makeIdentifier({ store: memory.store }),
  };
};
type Create = OperationRequest<'create-principal'>;
const wanted = (over: Partial<Create> = {}): Create => ({ kind: 'human', name: 'Grace', roles: ['user'], ...over });
const kinds = (changes: readonly Change[]) => changes.map((change) => change.kind);

describe('creating principals', () => {
  it('plans the principal, its certificate, and writes nothing itself', async () => {
    const { memory, handlers } = makeSubject();
    const admin = withRoles(memory, 'admin');
    const fingerprint = 'AA:'.repeat(31).concat('AA');
    const planned = await handlers['create-principal'](
      callAs(admin, 'create-principal', wanted({ certificate: { fingerprint }, tags: { team: 'a' } })),
    );
    expect(kinds(planned.changes)).toEqual(['insert-principal', 'set-certificate-binding']);
    expect(planned.response).toMatchObject({
      kind: 'human',
      tenant: 'default',
      name: 'Grace',
      roles: ['user'],
      tags: { team: 'a' },
      revision: 1,
      disabled: false,
    });
    expect(planned.changes[1]).toMatchObject({ binding: { fingerprint: 'aa'.repeat(32), principalId: planned.response.id } });
    expect(memory.state.principals.size).toBe(1);
    expect(memory.apply(planned.changes)).toBeUndefined();
  });

  it.each<[Partial<Create>, string]>([
    [{ kind: 'robot' as never }, 'kind'],
    [{ name: '' }, 'name'],
    [{ name: ' x' }, 'name'],
    [{ name: 'a\nb' }, 'name'],
    [{ name: 'x'.repeat(129) }, 'name'],
    [{ name: 'System:scheduler' }, 'name'],
    [{ name: 5 as never }, 'name'],
    [{ roles: ['root' as never] }, 'roles.0'],
    [{ roles: 'admin' as never }, 'roles'],
    [{ tags: { a: 5 as never } }, 'tags.a'],
    [{ tags: ['x'] as never }, 'tags'],
    [{ tags: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`t${i}`, 'x'])) }, 'tags'],
    [{ tenant: 'Acme' }, 'tenant'],
    [{ tenant: '../x' }, 'tenant'],
    [{ parentId: 'p' }, 'parentId'],
    [{ purpose: 'p' }, 'purpose'],
    [{ kind: 'agent' }, 'purpose'],
    [{ kind: 'agent', purpose: 'x' }, 'parentId'],
    [{ kind: 'agent', purpose: 'x', parentId: 'nobody' }, 'parentId'],
    [{ certificate: {} }, 'certificate'],
    [{ certificate: 'x' as never }, 'certificate'],
    [{ certificate: { fingerprint: 'ab' } }, 'certificate.fingerprint'],
    [{ certificate: { subject: '' } }, 'certificate.subject'],
    [{ certificate: { subjectAltName: 'a\0' } }, 'certificate.subjectAltName'],
  ])('refuses %j naming the field', async (over, field) => {
    const { memory, handlers } = makeSubject();
    expect(await faultOf(handlers['create-principal'](callAs(withRoles(memory, 'admin'), 'create-principal', wanted(over))))).toMatchObject(
      { code: 'invalid-field', field },
    );
  });

  it('gives nobody more than the giver has', async () => {
    const roles: readonly Role[] = ['admin', 'operator', 'auditor', 'user', 'kmip-client'];
    const mayGive: Readonly<Record<Role, readonly Role[]>> = {
      admin: roles,
      operator: ['operator', 'user'],
      auditor: ['auditor'],
      user: ['user'],
      'kmip-client': ['kmip-client', 'user'],
    };
    for (const giver of roles)
      for (const given of roles) {
        const { memory, handlers } = makeSubject();
        const fault = await faultOf(
          handlers['create-principal'](callAs(withRoles(memory, giver), 'create-principal', wanted({ roles: [given] }))),
        );
        expect(fault?.code, `${giver} gives ${given}`).toBe(mayGive[giver].includes(given) ? undefined : 'permission-denied');
      }
  });

  it('lets only an unscoped admin of the default tenant into another tenant', async () => {
    const { memory, handlers } = makeSubject();
    const create = (by: Principal, tenant: string, scope?: readonly string[]) =>
      faultOf(handlers['create-principal'](callAs(by, 'create-principal', wanted({ tenant, roles: ['admin'] }), scope)));
    const [root, acme] = [withRoles(memory, 'admin'), add(memory, { tenant: 'acme', roles: ['admin'] })];
    expect(await create(root, 'newborn')).toBeUndefined();
    expect((await create(root, 'newborn', ['principals:*']))?.code).toBe('permission-denied');
    expect((await create(acme, 'newborn'))?.code).toBe('permission-denied');
    expect((await create(acme, 'default'))?.code).toBe('permission-denied');
    expect(await create(acme, 'acme')).toBeUndefined();
    expect((await create(add(memory, { roles: ['operator'] }), 'newborn'))?.code).toBe('permission-denied');
  });

  it('gives agents an enabled human of the tenant, and no more than he has', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, human, foreign] = [withRoles(memory, 'admin'), withRoles(memory, 'operator'), add(memory, { tenant: 'acme' })];
    const create = (by: Principal, parentId: string, roles: readonly Role[]) =>
      faultOf(handlers['create-principal'](callAs(by, 'create-principal', { kind: 'agent', name: 'bot', purpose: 'x', parentId, roles })));
    expect(await create(admin, human.id, ['operator'])).toBeUndefined();
    expect(await create(human, human.id, ['user'])).toBeUndefined();
    expect(await create(human, admin.id, ['user'])).toMatchObject({ code: 'permission-denied' });
    expect(await create(admin, foreign.id, ['user'])).toMatchObject({ field: 'parentId' });
    expect(await create(admin, human.id, ['auditor'])).toMatchObject({ field: 'roles' });
    expect(await create(admin, admin.id, ['admin'])).toMatchObject({ field: 'roles' });
    const disabled = add(memory, { disabled: true });
    const service = add(memory, { kind: 'service' });
    for (const parent of [disabled, service]) expect(await create(admin, parent.id, [])).toMatchObject({ field: 'parentId' });
  });

  it('and tokens are nothing an agent does, whatever its roles', async () => {
    const { memory, handlers } = makeSubject();
    const human = withRoles(memory, 'admin');
    const agent = add(memory, { kind: 'agent', parentId: human.id, purpose: 'x', roles: ['operator', 'user'] } as Partial<Principal>);
    const attempts = [
      handlers['create-principal'](callAs(agent, 'create-principal', wanted())),
      handlers['update-principal'](callAs(agent, 'update-principal', { id: agent.id, tags: {} })),
      handlers['delete-principal'](callAs(agent, 'delete-principal', { id: human.id })),
      handlers['issue-token'](callAs(agent, 'issue-token', { principalId: agent.id })),
    ];
    for (const attempt of attempts) expect((await faultOf(attempt))?.code).toBe('permission-denied');
  });
});

describe('changing principals', () => {
  it('replaces roles and tags under the revision, and revokes tokens with disabling', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, target] = [withRoles(memory, 'admin'), withRoles(memory, 'user')];
    const { response: issued, changes } = await handlers['issue-token'](callAs(admin, 'issue-token', { principalId: target.id }));
    memory.apply(changes);
    const planned = await handlers['update-principal'](
      callAs(admin, 'update-principal', { id: target.id, revision: 1, roles: ['operator'], disabled: true, tags: { a: 'b' } }),
    );
    expect(kinds(planned.changes)).toEqual(['update-principal', 'revoke-tokens-of']);
    expect(memory.apply(planned.changes)).toBeUndefined();
    expect(memory.state.principals.get(target.id)).toMatchObject({ roles: ['operator'], disabled: true, tags: { a: 'b' }, revision: 2 });
    expect(memory.state.tokens.get(issued.id)?.revokedAt).toBe(NOW);
    expect(
      (await faultOf(handlers['update-principal'](callAs(admin, 'update-principal', { id: target.id, revision: 1, tags: {} }))))?.code,
    ).toBe('conflict');
  });

  it('does not let the lesser touch the greater', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, operator, user] = [withRoles(memory, 'admin'), withRoles(memory, 'operator'), withRoles(memory, 'user')];
    withRoles(memory, 'admin');
    const update = (by: Principal, id: string, over: Omit<OperationRequest<'update-principal'>, 'id'>) =>
      faultOf(handlers['update-principal'](callAs(by, 'update-principal', { id, ...over })));
    expect((await update(operator, admin.id, { disabled: true }))?.code).toBe('permission-denied');
    expect((await update(operator, user.id, { roles: ['admin'] }))?.code).toBe('permission-denied');
    expect((await update(operator, operator.id, { roles: ['admin'] }))?.code).toBe('permission-denied');
    expect((await update(user, user.id, { roles: ['operator'] }))?.code).toBe('permission-denied');
    expect((await update(user, withRoles(memory, 'user').id, { disabled: true }))?.code).toBe('permission-denied');
    expect((await update(operator, user.id, { certificate: { subject: 'CN=me' } }))?.code).toBe('permission-denied');
    expect((await faultOf(handlers['delete-principal'](callAs(operator, 'delete-principal', { id: admin.id }))))?.code).toBe(
      'permission-denied',
    );
    expect((await faultOf(handlers['delete-principal'](callAs(operator, 'delete-principal', { id: user.id }))))?.code).toBe(
      'permission-denied',
    );
    expect(await update(operator, user.id, { disabled: true })).toBeUndefined();
  });

  it('does not let a scoped token reach beyond its scope through somebody else', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, user] = [withRoles(memory, 'admin'), withRoles(memory, 'user')];
    const scope = ['principals:*', 'tokens:*'];
    const update = (over: object) =>
      faultOf(handlers['update-principal'](callAs(admin, 'update-principal', { id: user.id, ...over }, scope)));
    expect((await update({ roles: ['admin'] }))?.code).toBe('permission-denied');
    expect((await update({ certificate: { subject: 'CN=x' } }))?.code).toBe('permission-denied');
    expect(await update({ tags: {} })).toBeUndefined();
    expect(await update({ certificate: null })).toBeUndefined();
    expect(
      (await faultOf(handlers['create-principal'](callAs(admin, 'create-principal', wanted({ certificate: { subject: 'CN=x' } }), scope))))
        ?.code,
    ).toBe('permission-denied');
    expect(
      await faultOf(handlers['create-principal'](callAs(admin, 'create-principal', wanted({ certificate: { subject: 'CN=x' } }), ['*']))),
    ).toBeUndefined();
  });

  it('keeps an agent within its human', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, human] = [withRoles(memory, 'admin'), withRoles(memory, 'user')];
    const agent = add(memory, { kind: 'agent', parentId: human.id, purpose: 'x' } as Partial<Principal>);
    const update = (roles: readonly Role[]) =>
      faultOf(handlers['update-principal'](callAs(admin, 'update-principal', { id: agent.id, roles })));
    expect(await update(['operator'])).toMatchObject({ field: 'roles' });
    expect(await update(['user'])).toBeUndefined();
  });

  it('sees its own tenant only', async () => {
    const { memory, handlers } = makeSubject();
    const [root, foreign] = [withRoles(memory, 'admin'), add(memory, { tenant: 'acme' })];
    for (const attempt of [
      handlers['get-principal'](callAs(root, 'get-principal', { id: foreign.id })),
      handlers['update-principal'](callAs(root, 'update-principal', { id: foreign.id, tags: {} })),
      handlers['delete-principal'](callAs(root, 'delete-principal', { id: foreign.id })),
    ])
      expect((await faultOf(attempt))?.code).toBe('not-found');
    const { response } = await handlers['list-principals'](callAs(root, 'list-principals', {}));
    expect(response.items.map((principal) => principal.id)).toEqual([root.id]);
  });
});

describe('the last administrator', () => {
  it('can not be deleted, disabled or demoted', async () => {
    const { memory, handlers } = makeSubject();
    const admin = withRoles(memory, 'admin');
    add(memory, { roles: ['admin'], disabled: true });
    add(memory, { roles: ['admin'], tenant: 'acme' });
    add(memory, { kind: 'agent', parentId: admin.id, purpose: 'x', roles: ['admin'] } as Partial<Principal>);
    const attempts = [
      handlers['delete-principal'](callAs(admin, 'delete-principal', { id: admin.id })),
      handlers['update-principal'](callAs(admin, 'update-principal', { id: admin.id, disabled: true })),
      handlers['update-principal'](callAs(admin, 'update-principal', { id: admin.id, roles: ['operator'] })),
    ];
    for (const attempt of attempts)
      expect(await faultOf(attempt)).toMatchObject({ code: 'wrong-state', message: expect.stringContaining('last') });
    expect(
      await faultOf(handlers['update-principal'](callAs(admin, 'update-principal', { id: admin.id, tags: { a: 'b' } }))),
    ).toBeUndefined();
  });

  it('is found among many pages of others', async () => {
    const { memory, handlers } = makeSubject();
    const admin = withRoles(memory, 'admin');
    for (let index = 0; index < 30; index += 1) withRoles(memory, 'user');
    withRoles(memory, 'admin');
    memory.state.pageSize = 7;
    expect(await faultOf(handlers['delete-principal'](callAs(admin, 'delete-principal', { id: admin.id })))).toBeUndefined();
  });

  it('stays, also when the last two are removed at the same time', async () => {
    type Plan = (by: Principal, id: string) => Promise<{ readonly changes: readonly Change[] }>;
    for (const first of ['delete', 'disable', 'demote'] as const)
      for (const second of ['delete', 'disable', 'demote'] as const) {
        const { memory, handlers } = makeSubject();
        const plans: Record<string, Plan> = {
          delete: (by, id) => handlers['delete-principal'](callAs(by, 'delete-principal', { id })),
          disable: (by, id) => handlers['update-principal'](callAs(by, 'update-principal', { id, disabled: true })),
          demote: (by, id) => handlers['update-principal'](callAs(by, 'update-principal', { id, roles: ['user'] })),
        };
        const [a, b] = [withRoles(memory, 'admin'), withRoles(memory, 'admin')];
        const [one, two] = await Promise.all([plans[first]?.(a, b.id), plans[second]?.(b, a.id)]);
        const faults = [memory.apply(one?.changes ?? []), memory.apply(two?.changes ?? [])];
        expect(faults[0]).toBeUndefined();
        expect(faults[1]?.code, `${first} then ${second}`).toBe('conflict');
        expect([...memory.state.principals.values()].filter((p) => p.roles.includes('admin') && !p.disabled)).toHaveLength(1);
      }
  });
});

describe('tokens', () => {
  it('are shown once, stored as a hash, and work', async () => {
    const { memory, handlers, identifier } = makeSubject();
    const [admin, target] = [withRoles(memory, 'admin'), withRoles(memory, 'user')];
    const planned = await handlers['issue-token'](
      callAs(admin, 'issue-token', { principalId: target.id, name: 'ci', ttlMs: 60_000, scope: ['keys:sign', 'keys:*@invoice'] }),
    );
    const { token, ...view } = planned.response;
    expect(view).toMatchObject({
      principalId: target.id,
      name: 'ci',
      expiresAt: NOW + 60_000,
      scope: ['keys:sign', 'keys:*@invoice'],
      prefix: token.slice(0, 22),
    });
    expect(JSON.stringify([planned.changes, planned.detail, planned.resource, view])).not.toContain(token.slice(23));
    memory.apply(planned.changes);
    const listed = await handlers['list-tokens'](callAs(admin, 'list-tokens', {}));
    expect(JSON.stringify(listed.response)).not.toContain(token.slice(23));
    expect(parseToken(token)?.id).toBe(view.id);
    const credential = { kind: 'bearer', token } as const;
    const caller = { plane: 'rest', credential, requestId: 'r', source: 's' } as const;
    expect((await identifier.identify(credential, caller, NOW)).principal.id).toBe(target.id);
    const revoked = await handlers['revoke-token'](callAs(admin, 'revoke-token', { id: view.id }));
    expect(revoked.response.revokedAt).toBe(NOW);
    memory.apply(revoked.changes);
    expect((await faultOf(identifier.identify(credential, caller, NOW)))?.code).toBe('credential-revoked');
    expect((await handlers['revoke-token'](callAs(admin, 'revoke-token', { id: view.id }))).changes).toEqual([]);
  });

  it('end by themselves', async () => {
    const { memory, handlers } = makeSubject();
    const admin = withRoles(memory, 'admin');
    const issue = (ttlMs?: number) =>
      handlers['issue-token'](callAs(admin, 'issue-token', { principalId: admin.id, ...(ttlMs === undefined ? {} : { ttlMs }) }));
    expect((await issue()).response.expiresAt).toBe(NOW + 90 * 86_400_000);
    for (const ttlMs of [0, -1, 999, 1.5, Number.POSITIVE_INFINITY, 1e15])
      expect(await faultOf(issue(ttlMs))).toMatchObject({ code: 'invalid-field', field: 'ttlMs' });
  });

  it('have a scope of known actions', async () => {
    const { memory, handlers } = makeSubject();
    const admin = withRoles(memory, 'admin');
    const issue = (scope: unknown) =>
      faultOf(handlers['issue-token'](callAs(admin, 'issue-token', { principalId: admin.id, scope: scope as string[] })));
    for (const scope of [['keys:sign'], ['*'], ['keys:*@invoice-*', 'audit:read']]) expect(await issue(scope)).toBeUndefined();
    for (const [scope, field] of [
      [[], 'scope'],
      ['keys:sign', 'scope'],
      [['keys:signn'], 'scope.0'],
      [['keys:sign', 'nope:*'], 'scope.1'],
      [['keys:si*'], 'scope.0'],
      [['keys:sign@'], 'scope.0'],
      [['keys:sign@a b'], 'scope.0'],
      [['keys:sign@*x'], 'scope.0'],
      [[5], 'scope.0'],
      [Array(65).fill('keys:sign'), 'scope'],
    ])
      expect(await issue(scope), JSON.stringify(scope)).toMatchObject({ code: 'invalid-field', field });
  });

  it('never reach beyond the credential that asked for them', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, user] = [withRoles(memory, 'admin'), withRoles(memory, 'user')];
    const issue = (scope: readonly string[] | undefined, own: readonly string[], principalId = admin.id) =>
      faultOf(handlers['issue-token'](callAs(admin, 'issue-token', { principalId, ...(scope === undefined ? {} : { scope }) }, own)));
    expect((await issue(undefined, ['tokens:issue']))?.code).toBe('permission-denied');
    expect((await issue(['keys:sign'], ['tokens:issue']))?.code).toBe('permission-denied');
    expect((await issue(['*'], ['tokens:*', 'keys:*']))?.code).toBe('permission-denied');
    expect((await issue(['keys:*'], ['tokens:*', 'keys:sign']))?.code).toBe('permission-denied');
    expect((await issue(['keys:sign'], ['tokens:*', 'keys:sign@invoice']))?.code).toBe('permission-denied');
    expect((await issue(['keys:sign@in*'], ['tokens:*', 'keys:sign@invoice']))?.code).toBe('permission-denied');
    expect((await issue(undefined, ['tokens:issue'], user.id))?.code).toBe('permission-denied');
    expect(await issue(['keys:sign@invoice', 'tokens:issue'], ['tokens:*', 'keys:*@in*'])).toBeUndefined();
  });

  it('are issued by their holder or an admin, never upwards', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, operator, user] = [withRoles(memory, 'admin'), withRoles(memory, 'operator'), withRoles(memory, 'user')];
    const issue = (by: Principal, principalId: string) => faultOf(handlers['issue-token'](callAs(by, 'issue-token', { principalId })));
    expect(await issue(user, user.id)).toBeUndefined();
    expect((await issue(user, admin.id))?.code).toBe('permission-denied');
    expect((await issue(operator, user.id))?.code).toBe('permission-denied');
    expect((await issue(operator, admin.id))?.code).toBe('permission-denied');
    expect(await issue(admin, user.id)).toBeUndefined();
    expect((await issue(user, 'nobody'))?.code).toBe('not-found');
    expect((await issue(admin, add(memory, { disabled: true }).id))?.code).toBe('wrong-state');
    const agent = add(memory, { kind: 'agent', parentId: user.id, purpose: 'x' } as Partial<Principal>);
    expect(await issue(user, agent.id)).toBeUndefined();
    const other = add(memory, { kind: 'agent', parentId: operator.id, purpose: 'x' } as Partial<Principal>);
    expect((await issue(user, other.id))?.code).toBe('permission-denied');
  });

  it('of another tenant: the first one of a new principal, by the default admin, and no more', async () => {
    const { memory, handlers } = makeSubject();
    const [root, acme] = [withRoles(memory, 'admin'), add(memory, { tenant: 'acme', roles: ['admin'] })];
    const issue = (by: Principal, principalId: string, scope?: readonly string[]) =>
      handlers['issue-token'](callAs(by, 'issue-token', { principalId, ...(scope === undefined ? {} : { scope }) }, scope));
    expect((await faultOf(issue(acme, root.id)))?.code).toBe('not-found');
    expect((await faultOf(issue(withRoles(memory, 'operator'), acme.id)))?.code).toBe('not-found');
    expect((await faultOf(issue(root, acme.id, ['tokens:*'])))?.code).toBe('permission-denied');
    const first = await issue(root, acme.id);
    expect(first.response.tenant).toBe('acme');
    memory.apply(first.changes);
    expect((await faultOf(issue(root, acme.id)))?.code).toBe('permission-denied');
    memory.apply([{ kind: 'revoke-token', tenant: 'acme', id: first.response.id, at: NOW }]);
    expect((await faultOf(issue(root, acme.id)))?.code).toBe('permission-denied');
  });

  it('are bounded in number', async () => {
    const { memory, handlers } = makeSubject();
    const user = withRoles(memory, 'user');
    memory.state.pageSize = 50;
    const issue = () => handlers['issue-token'](callAs(user, 'issue-token', { principalId: user.id }));
    for (let index = 0; index < 200; index += 1) memory.apply((await issue()).changes);
    expect((await faultOf(issue()))?.code).toBe('quota-exceeded');
    memory.apply([{ kind: 'revoke-tokens-of', tenant: 'default', principalId: user.id, at: NOW }]);
    expect(await faultOf(issue())).toBeUndefined();
  });

  it('are listed and revoked by those they concern', async () => {
    const { memory, handlers } = makeSubject();
    const [admin, operator, auditor, user, other] = [
      withRoles(memory, 'admin'),
      withRoles(memory, 'operator'),
      withRoles(memory, 'auditor'),
      withRoles(memory, 'user'),
      withRoles(memory, 'user'),
    ];
    const ids: Record<string, string> = {};
    for (const holder of [admin, operator, user, other]) {
      const { response, changes } = await handlers['issue-token'](callAs(admin, 'issue-token', { principalId: holder.id }));
      memory.apply(changes);
      ids[holder.id] = response.id;
    }
    const list = async (by: Principal, principalId?: string) =>
      (await handlers['list-tokens'](callAs(by, 'list-tokens', principalId === undefined ? {} : { principalId }))).response.items.map(
        (token) => token.principalId,
      );
    expect(await list(user)).toEqual([user.id]);
    expect((await faultOf(list(user, other.id)))?.code).toBe('permission-denied');
    for (const by of [admin, operator, auditor]) expect(await list(by)).toHaveLength(4);
    const revoke = (by: Principal, holder: Principal) =>
      faultOf(handlers['revoke-token'](callAs(by, 'revoke-token', { id: ids[holder.id] ?? '' })));
    expect(await revoke(user, user)).toBeUndefined();
    expect((await revoke(user, other))?.code).toBe('not-found');
    expect((await revoke(auditor, user))?.code).toBe('not-found');
    expect(await revoke(operator, user)).toBeUndefined();
    expect((await revoke(operator, admin))?.code).toBe('not-found');
    expect(await revoke(admin, operator)).toBeUndefined();
    expect((await revoke(add(memory, { tenant: 'acme', roles: ['admin'] }), user))?.code).toBe('not-found');
    expect((await faultOf(handlers['revoke-token'](callAs(admin, 'revoke-token', { id: 'none' }))))?.code).toBe('not-found');
  });
});

describe('who am I', () => {
  it('answers principal, method and scope', async () => {
    const { memory, handlers } = makeSubject();
    const user = withRoles(memory, 'user');
    expect((await handlers.whoami(callAs(user, 'whoami', {}, ['keys:sign']))).response).toEqual({
      principal: user,
      method: 'token',
      scope: ['keys:sign'],
    });
    expect((await handlers.whoami(callAs(user, 'whoami', {}))).response).toEqual({ principal: user, method: 'token' });
  });
});
