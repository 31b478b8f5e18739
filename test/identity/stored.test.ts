import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeJournal, type RunningJournal } from '../../src/audit/journal.js';
import {
  type AuthorizedCall,
  FaultError,
  type Handler,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
  type Principal,
} from '../../src/domain/index.js';
import { bootstrapAdmin, recoverAdmin } from '../../src/identity/bootstrap.js';
import { type IdentityHandlers, makeIdentityHandlers } from '../../src/identity/handlers.js';
import { makeIdentifier } from '../../src/identity/identifier.js';
import { draft } from '../audit/memory-audit.js';
import { type TestStorage, withTestStorage } from '../storage/test-database.js';
import { callAs, faultOf } from './memory-identity.js';

/** The identity engine on PostgreSQL, through the journal. */
let test: TestStorage;
let journal: RunningJournal;
let dataDir: string;
let handlers: IdentityHandlers;
beforeEach(async () => {
  test = await withTestStorage();
  journal = makeJournal({ store: test.storage.journal, audit: test.storage.audit, nodeId: 'node-1', bootId: 'b', clock: Date.now });
  dataDir = mkdtempSync(join(tmpdir(), 'aegis-identity-'));
  handlers = makeIdentityHandlers({ store: test.storage.identity, settings: test.storage.settings });
});
afterEach(async () => {
  await journal.close();
  await test.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const parts = () => ({ storage: test.storage, journal, dataDir });
const identify = (token: string) => {
  const credential = { kind: 'bearer', token } as const;
  return makeIdentifier({ store: test.storage.identity }).identify(
    credential,
    { plane: 'rest', credential, requestId: 'r', source: 's' },
    Date.now(),
  );
};
const run = async <O extends OperationName & keyof IdentityHandlers>(by: Principal, operation: O, request: OperationRequest<O>) => {
  const call = { ...callAs(by, operation, request), now: Date.now() } as AuthorizedCall<O>;
  const planned = await (handlers[operation] as unknown as Handler<O>)(call);
  const fault = await journal.commit(
    draft({ operation, ...(planned.resource === undefined ? {} : { resource: planned.resource }) }),
    planned.changes,
  );
  return { response: planned.response as OperationResponse<O>, fault };
};

describe('on PostgreSQL', () => {
  it('bootstraps once, on two nodes at a time, and recovers', async () => {
    const second = await test.open('node-2');
    const otherDir = mkdtempSync(join(tmpdir(), 'aegis-identity-'));
    const otherJournal = makeJournal({ store: second.journal, audit: second.audit, nodeId: 'node-2', bootId: 'c', clock: Date.now });
    const results = await Promise.all([
      bootstrapAdmin(parts()),
      bootstrapAdmin({ storage: second, journal: otherJournal, dataDir: otherDir }),
    ]);
    expect(results.filter((access) => access !== undefined)).toHaveLength(1);
    const access = results.find((result) => result !== undefined);
    expect((await identify(access?.token ?? '')).principal.roles).toEqual(['admin']);
    const recovered = await recoverAdmin(parts());
    expect(readFileSync(join(dataDir, 'admin-token'), 'utf8').trim()).toBe(recovered.token);
    expect((await identify(recovered.token)).principal.id).toBe(access?.principalId);
    await otherJournal.close();
    rmSync(otherDir, { recursive: true });
  });

  it('a life of principals and tokens', async () => {
    const { token } = (await bootstrapAdmin(parts())) ?? { token: '' };
    const { principal: admin } = await identify(token);
    const { response: ci } = await run(admin, 'create-principal', {
      kind: 'service',
      name: 'ci',
      roles: ['operator'],
      tags: { team: 'x' },
    });
    expect((await run(admin, 'create-principal', { kind: 'service', name: 'ci', roles: [] })).fault?.code).toBe('already-exists');
    const { response: issued } = await run(admin, 'issue-token', { principalId: ci.id, scope: ['keys:sign'] });
    expect(await identify(issued.token)).toMatchObject({
      principal: { name: 'ci', tags: { team: 'x' } },
      authentication: { scope: ['keys:sign'] },
    });
    await run(admin, 'update-principal', { id: ci.id, roles: ['user'] });
    expect((await identify(issued.token)).principal.roles).toEqual(['user']);
    await run(admin, 'update-principal', { id: ci.id, disabled: true });
    expect(['credential-revoked', 'unauthenticated']).toContain((await faultOf(identify(issued.token)))?.code);
    await run(admin, 'update-principal', { id: ci.id, disabled: false });
    expect((await faultOf(identify(issued.token)))?.code).toBe('credential-revoked');
    await run(admin, 'delete-principal', { id: ci.id });
    expect((await faultOf(identify(issued.token)))?.code).toBe('unauthenticated');
    expect((await faultOf(run(admin, 'delete-principal', { id: admin.id })))?.code).toBe('wrong-state');
  });

  it('certificates lead to one principal only', async () => {
    const { token } = (await bootstrapAdmin(parts())) ?? { token: '' };
    const { principal: admin } = await identify(token);
    const certificate = { fingerprint: 'AB'.repeat(32) };
    const { response: app } = await run(admin, 'create-principal', { kind: 'service', name: 'app', roles: ['user'], certificate });
    expect((await run(admin, 'create-principal', { kind: 'service', name: 'app2', roles: ['user'], certificate })).fault?.code).toBe(
      'already-exists',
    );
    const credential = { kind: 'certificate', fingerprint: 'ab'.repeat(32), subject: 'CN=x', subjectAltNames: [] } as const;
    const found = await makeIdentifier({ store: test.storage.identity }).identify(
      credential,
      { plane: 'rest', credential, requestId: 'r', source: 's' },
      0,
    );
    expect(found.principal.id).toBe(app.id);
  });

  it('two admins that remove each other at once leave one', async () => {
    const { token } = (await bootstrapAdmin(parts())) ?? { token: '' };
    const { principal: one } = await identify(token);
    for (let round = 0; round < 5; round += 1) {
      const { response: two } = await run(one, 'create-principal', { kind: 'human', name: `second-${round}`, roles: ['admin'] });
      const left = await test.storage.identity.principal('default', one.id);
      if (left === undefined) throw new Error('no admin');
      // The loser finds out in the transaction (another revision) or already when it plans (nobody else is left).
      const attempt = async (by: Principal, id: string) => {
        try {
          return (await run(by, 'update-principal', { id, disabled: true })).fault?.code ?? 'done';
        } catch (error) {
          return error instanceof FaultError ? error.fault.code : String(error);
        }
      };
      const outcomes = await Promise.all([attempt(left, two.id), attempt(two, one.id)]);
      const admins = (await test.storage.identity.listPrincipals('default', {}, { limit: 100 })).items.filter(
        (p) => p.roles.includes('admin') && !p.disabled,
      );
      expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'conflict' || outcome === 'wrong-state')).toHaveLength(1);
      expect(admins).toHaveLength(1);
      if (admins[0]?.id !== one.id) break;
    }
  });

  it('a credential that is presented again is identified without waiting, until anything about it changes', async () => {
    const admin = await bootstrapAdmin({ ...parts(), clock: Date.now });
    const identifier = makeIdentifier({ store: test.storage.identity });
    const again = (credential: { readonly kind: 'bearer'; readonly token: string }, now = Date.now()) =>
      identifier.identify(credential, { plane: 'rest', credential, requestId: 'r', source: 's' }, now);
    const root = (await again({ kind: 'bearer', token: admin?.token ?? '' })).principal;
    const made = await run(root, 'create-principal', { kind: 'service', name: 'job', roles: ['operator'] });
    const service = made.response as Principal;
    const issued = await run(root, 'issue-token', { principalId: service.id, name: 'ci' });
    const credential = { kind: 'bearer', token: issued.response.token } as const;
    await again(credential);
    const known = again(credential);
    expect(known).not.toBeInstanceOf(Promise);
    expect((known as Awaited<typeof known>).principal.roles).toEqual(['operator']);

    await run(root, 'update-principal', { id: service.id, roles: ['user'] });
    const changed = again(credential);
    expect(changed).toBeInstanceOf(Promise);
    expect((await changed).principal.roles).toEqual(['user']);

    // Another object with a wrong secret for the same token never meets what is remembered.
    const other = credential.token.endsWith('a') ? 'b' : 'a';
    expect((await faultOf(again({ kind: 'bearer', token: credential.token.slice(0, -1) + other })))?.code).toBe('unauthenticated');

    expect(again(credential)).not.toBeInstanceOf(Promise);
    await run(root, 'revoke-token', { id: issued.response.id });
    expect((await faultOf(again(credential)))?.code).toBe('credential-revoked');
  });
});
