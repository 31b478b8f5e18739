import { describe, expect, it } from 'vitest';
import {
  type AuthorizedCall,
  type Fault,
  FaultError,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
  type Planned,
  type Principal,
} from '../../src/domain/index.js';
import { BUILTIN_NAME, BUILTIN_SOURCE } from '../../src/policy/builtin.js';
import { makePolicyHandlers, type PolicyHandlers } from '../../src/policy/handlers.js';
import { agentOf, allow, document, engineOf, key, NOW, person, token } from './fixture.js';

const admin = person('root', { roles: ['admin'] });
const alice = person('alice');
const carol = person('carol', { roles: ['user'] });
const bot = agentOf(carol);
const ALLOW = document(allow());

const setup = async (documents: Record<string, string> = {}) => {
  const { engine, store } = await engineOf(documents);
  const principals = new Map<string, Principal>([admin, alice, carol, bot, person('foreign', { tenant: 'globex' })].map((p) => [p.id, p]));
  const handlers = makePolicyHandlers({
    engine,
    store,
    identity: { principal: async (_tenant, id) => principals.get(id) },
    objects: {
      load: async (_tenant, ref) => {
        if (ref === 'invoice') return { object: key('invoice', { tags: { env: 'prod' } }), versions: [] };
        return ref === 'foreign' ? { object: key('foreign', { tenant: 'globex' }), versions: [] } : undefined;
      },
    },
  });
  /** Runs a handler and does what the guard would do with its plan. */
  const run = async <O extends OperationName & keyof PolicyHandlers>(
    operation: O,
    request: OperationRequest<O>,
    principal: Principal = admin,
  ): Promise<OperationResponse<O>> => {
    const call: AuthorizedCall<O> = {
      operation,
      request,
      principal,
      authentication: token,
      tenant: 'default',
      requestId: 'r',
      plane: 'rest',
      source: '10.0.0.1',
      now: NOW,
      others: {},
    };
    const planned = (await (handlers[operation] as unknown as (c: AuthorizedCall<O>) => Promise<Planned<O>>)(call)) as Planned<O>;
    for (const change of planned.changes) {
      if (change.kind === 'put-policy') {
        const active = await store.document('default', change.document.name);
        expect(change.expectVersion).toBe(active?.version ?? 0);
        store.put(change.document.name, change.document.source, { version: change.document.version, mode: change.document.mode });
      } else if (change.kind === 'delete-policy') store.remove(change.name);
      else throw new Error(`unexpected change ${change.kind}`);
    }
    await planned.afterCommit?.();
    return planned.response;
  };
  const faultOf = async <O extends OperationName & keyof PolicyHandlers>(
    operation: O,
    request: OperationRequest<O>,
    principal: Principal = admin,
  ): Promise<Fault> => {
    const before = JSON.stringify(store.documents);
    try {
      await run(operation, request, principal);
    } catch (error) {
      expect(JSON.stringify(store.documents)).toBe(before);
      if (error instanceof FaultError) return error.fault;
      throw error;
    }
    throw new Error('not refused');
  };
  return { engine, store, run, faultOf };
};

describe('writing a policy', () => {
  it('makes version after version, which decide from the answer on', async () => {
    const { engine, run } = await setup();
    expect(await run('put-policy', { name: 'd', source: ALLOW })).toMatchObject({
      version: 1,
      active: true,
      mode: 'enforce',
      problems: [],
      createdBy: admin.id,
    });
    expect(engine.statements('default')).toBe(1);
    expect(await run('put-policy', { name: 'd', source: document() })).toMatchObject({ version: 2 });
    expect(engine.statements('default')).toBe(0);
    expect((await run('policy-history', { name: 'd' })).items.map((d) => d.version)).toEqual([2, 1]);
    await run('delete-policy', { name: 'd' });
    expect(await run('put-policy', { name: 'd', source: ALLOW })).toMatchObject({ version: 3 });
  });

  it('refuses what does not compile, with lines, and keeps what there was', async () => {
    const { engine, faultOf } = await setup({ d: ALLOW });
    const fault = await faultOf('put-policy', { name: 'd', source: 'statements:\n  - id: x\n    effect: maybe\n' });
    expect(fault).toMatchObject({ code: 'invalid-field', field: 'source' });
    expect(fault.message).toMatch(/line 3 \(statements\.0\.effect\): must be allow, deny or step-up/);
    expect(engine.statements('default')).toBe(1);
  });

  it('only looks, when asked to', async () => {
    const { store, run } = await setup({ d: ALLOW });
    const bad = await run('put-policy', { name: 'd', source: 'statements: 5', dryRun: true });
    expect(bad.problems).toHaveLength(1);
    expect(bad).toMatchObject({ version: 2, active: false });
    expect((await run('put-policy', { name: 'd', source: ALLOW, dryRun: true })).problems).toEqual([]);
    expect(store.documents).toHaveLength(1);
    expect((await run('validate-policy', { source: 'statements: 5' })).problems).toHaveLength(1);
    expect((await run('validate-policy', { source: ALLOW })).problems).toEqual([]);
  });

  it('honours the version the writer expects', async () => {
    const { run, faultOf } = await setup({ d: ALLOW });
    expect(await faultOf('put-policy', { name: 'd', source: ALLOW, expectedVersion: 5 })).toMatchObject({ code: 'conflict' });
    expect(await faultOf('put-policy', { name: 'new', source: ALLOW, expectedVersion: 1 })).toMatchObject({ code: 'conflict' });
    expect(await run('put-policy', { name: 'new', source: ALLOW, expectedVersion: 0 })).toMatchObject({ version: 1 });
    expect(await run('put-policy', { name: 'd', source: ALLOW, expectedVersion: 1 })).toMatchObject({ version: 2 });
  });

  it('refuses names that are reserved or malformed, and sources that are not text or too large', async () => {
    const { faultOf } = await setup();
    for (const name of [BUILTIN_NAME, 'aegis-x', 'file.a'])
      expect(await faultOf('put-policy', { name, source: ALLOW }), name).toMatchObject({ code: 'permission-denied' });
    for (const name of ['', 'A', '../x', 'a b', '-a', 'x'.repeat(64), 'a\u0000', 5, null])
      expect(await faultOf('put-policy', { name: name as string, source: ALLOW }), String(name)).toMatchObject({
        code: 'invalid-field',
        field: 'name',
      });
    for (const source of [5, null, undefined, 'a\u0000'])
      expect(await faultOf('put-policy', { name: 'd', source: source as string })).toMatchObject({ code: 'invalid-field' });
    expect(await faultOf('put-policy', { name: 'd', source: 'é'.repeat(600_000) })).toMatchObject({ code: 'payload-too-large' });
    expect(await faultOf('put-policy', { name: 'd', source: ALLOW, mode: 'off' as never })).toMatchObject({
      code: 'invalid-field',
      field: 'mode',
    });
    expect(await faultOf('delete-policy', { name: BUILTIN_NAME })).toMatchObject({ code: 'permission-denied' });
  });

  it('does not let a writer lock itself out', async () => {
    const { run, faultOf } = await setup();
    const deny = (over: object) => document(allow({ id: 'no', effect: 'deny', principals: ['*'], actions: ['policies:*'], ...over }));
    for (const over of [
      {},
      { actions: ['*'] },
      { principals: ['role:admin'] },
      { principals: ['id:id-root'] },
      { effect: 'step-up' },
      { when: 'request.spec == "never there"' },
    ])
      expect(await faultOf('put-policy', { name: 'd', source: deny(over) }), JSON.stringify(over)).toMatchObject({
        code: 'conflict',
        statement: 'd/no',
      });
    expect(await run('put-policy', { name: 'd', source: deny({ principals: ['user:alice'] }) })).toMatchObject({ version: 1 });
    expect(await run('put-policy', { name: 'e', source: deny({ when: 'principal.name != "root"' }) })).toMatchObject({ version: 1 });
    expect(await run('put-policy', { name: 'f', source: deny({}), mode: 'dry-run' })).toMatchObject({ version: 1, mode: 'dry-run' });
  });

  it('does not let a writer delete or roll back what its own right rests on', async () => {
    const grant = document(allow({ actions: ['policies:*'] }));
    const { run, faultOf } = await setup({ grant });
    expect(await faultOf('delete-policy', { name: 'grant' }, alice)).toMatchObject({ code: 'conflict' });
    expect(await faultOf('put-policy', { name: 'grant', source: document() }, alice)).toMatchObject({ code: 'conflict' });
    await run('put-policy', { name: 'other', source: ALLOW }, alice);
    await run('delete-policy', { name: 'other' }, alice);
    await run('put-policy', { name: 'grant', source: document() });
    await run('put-policy', { name: 'grant', source: grant });
    expect(await faultOf('rollback-policy', { name: 'grant', version: 2 }, alice)).toMatchObject({ code: 'conflict' });
    expect(await run('rollback-policy', { name: 'grant', version: 2 })).toMatchObject({ version: 4 });
  });

  it('does not disarm an enforced document by a dry-run version', async () => {
    const { run, faultOf } = await setup();
    await run('put-policy', { name: 'd', source: ALLOW, mode: 'dry-run' });
    await run('put-policy', { name: 'd', source: ALLOW });
    expect(await faultOf('put-policy', { name: 'd', source: ALLOW, mode: 'dry-run' })).toMatchObject({ code: 'conflict', field: 'mode' });
    expect(await faultOf('rollback-policy', { name: 'd', version: 1 })).toMatchObject({ code: 'conflict' });
  });

  it('rolls back to what there was, as a new version', async () => {
    const { engine, run, faultOf } = await setup();
    await run('put-policy', { name: 'd', source: ALLOW });
    await run('put-policy', { name: 'd', source: document() });
    expect(await run('rollback-policy', { name: 'd', version: 1 })).toMatchObject({ version: 3, source: ALLOW });
    expect(engine.statements('default')).toBe(1);
    expect(await faultOf('rollback-policy', { name: 'd', version: 9 })).toMatchObject({ code: 'not-found' });
    expect(await faultOf('rollback-policy', { name: 'd', version: 1.5 })).toMatchObject({ code: 'invalid-field' });
    expect(await faultOf('delete-policy', { name: 'nope' })).toMatchObject({ code: 'not-found' });
  });
});

describe('many documents at once', () => {
  it('are checked one after the other, and too many are refused', async () => {
    const { run } = await setup();
    const checks = await Promise.allSettled(Array.from({ length: 40 }, () => run('validate-policy', { source: ALLOW })));
    const refused = checks.flatMap((c) => (c.status === 'rejected' ? [(c.reason as FaultError).fault.code] : []));
    expect(new Set(refused)).toEqual(new Set(['overloaded']));
    expect(refused.length).toBe(24);
    expect((await run('validate-policy', { source: ALLOW })).problems).toEqual([]);
  });
});

describe('reading policies', () => {
  it('shows the built-in document with the others', async () => {
    const { run, faultOf } = await setup({ d: ALLOW });
    expect((await run('list-policies', {})).items.map((d) => d.name)).toEqual(['d', BUILTIN_NAME]);
    expect((await run('get-policy', { name: BUILTIN_NAME })).source).toBe(BUILTIN_SOURCE);
    expect((await run('get-policy', { name: 'd' })).source).toBe(ALLOW);
    expect(await faultOf('get-policy', { name: 'd', version: 7 })).toMatchObject({ code: 'not-found' });
    expect(await faultOf('get-policy', { name: 'x' })).toMatchObject({ code: 'not-found' });
    expect(await faultOf('policy-history', { name: 'x' })).toMatchObject({ code: 'not-found' });
    expect(await faultOf('list-policies', { limit: 0 })).toMatchObject({ code: 'invalid-field' });
    expect(await faultOf('list-policies', { limit: 5000 })).toMatchObject({ code: 'invalid-field' });
  });
});

describe('testing a policy', () => {
  const GRANT = document(
    allow({ id: 'g', resources: ['tag:env=prod'], when: 'request.algorithm == "ecdsa-sha256" && inNetwork(source, "10.0.0.0/8")' }),
  );

  it('tells what a named principal would be told, and why', async () => {
    const { run } = await setup({ d: GRANT });
    const context = { algorithm: 'ecdsa-sha256' };
    const yes = await run('test-policy', { principalId: alice.id, operation: 'sign', key: 'invoice@3', context });
    expect(yes).toMatchObject({ effect: 'allow', statement: 'd/g' });
    expect(yes.explanation.considered.find((c) => c.statement === 'd/g')).toMatchObject({ matched: true });
    const elsewhere = await run('test-policy', {
      principalId: alice.id,
      operation: 'sign',
      key: 'invoice',
      context: { ...context, source: '192.168.0.1' },
    });
    expect(elsewhere).toMatchObject({ effect: 'deny', statement: 'default' });
    expect(elsewhere.explanation.considered.find((c) => c.statement === 'd/g')).toMatchObject({
      matched: false,
      why: 'the condition is false',
    });
    expect(await run('test-policy', { operation: 'sign', key: 'invoice' })).toMatchObject({
      effect: 'allow',
      statement: `${BUILTIN_NAME}/admin`,
    });
  });

  it('explains both halves of an agent’s answer', async () => {
    const { run } = await setup({ d: document(allow({ id: 'bots', principals: ['kind:agent'] })) });
    const answer = await run('test-policy', { principalId: bot.id, operation: 'sign', key: 'invoice' });
    expect(answer.effect).toBe('allow');
    expect(answer.explanation.considered).toEqual(
      expect.arrayContaining([
        { statement: 'd/bots', matched: true, why: 'allow: principal, action and resource match' },
        { statement: `${BUILTIN_NAME}/user-keys`, matched: true, why: 'for carol: allow: principal, action and resource match' },
      ]),
    );
  });

  it('tries a document that is not stored, beside those that are', async () => {
    const { run, faultOf, store } = await setup({ d: ALLOW });
    const candidate = document(allow({ id: 'no', effect: 'deny' }));
    expect(await run('test-policy', { principalId: alice.id, operation: 'sign', key: 'invoice', candidate })).toMatchObject({
      effect: 'deny',
      statement: 'candidate/no',
    });
    expect(await run('test-policy', { principalId: alice.id, operation: 'sign', key: 'invoice' })).toMatchObject({ effect: 'allow' });
    expect(await faultOf('test-policy', { operation: 'sign', candidate: 'x' })).toMatchObject({ code: 'invalid-field', field: 'source' });
    expect(store.documents).toHaveLength(1);
  });

  it('knows nothing of other tenants and refuses what it does not know', async () => {
    const { faultOf } = await setup();
    expect(await faultOf('test-policy', { principalId: 'id-foreign', operation: 'sign' })).toMatchObject({
      code: 'not-found',
      field: 'principalId',
    });
    expect(await faultOf('test-policy', { principalId: 'nobody', operation: 'sign' })).toMatchObject({ code: 'not-found' });
    expect(await faultOf('test-policy', { operation: 'sign', key: 'foreign' })).toMatchObject({ code: 'not-found', field: 'key' });
    expect(await faultOf('test-policy', { operation: 'constructor' as never })).toMatchObject({
      code: 'invalid-field',
      field: 'operation',
    });
    expect(await faultOf('test-policy', { operation: 'sign', context: { nope: 1 } })).toMatchObject({
      code: 'invalid-field',
      field: 'context',
    });
    expect(await faultOf('test-policy', { operation: 'sign', context: { __proto__x: 1 } })).toMatchObject({
      code: 'invalid-field',
      field: 'context',
    });
  });

  it('takes absent flags as false, as a real call does', async () => {
    const { run } = await setup({ d: document(allow({ actions: ['keys:create'], when: '!request.exportable' })) });
    expect(await run('test-policy', { principalId: alice.id, operation: 'create-key' })).toMatchObject({ effect: 'allow' });
    expect(await run('test-policy', { principalId: alice.id, operation: 'create-key', context: { exportable: true } })).toMatchObject({
      effect: 'deny',
    });
  });
});
