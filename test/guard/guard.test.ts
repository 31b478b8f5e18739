import { describe, expect, it } from 'vitest';
import {
  type Agent,
  type AuthorizedCall,
  type Change,
  type Fault,
  LIFECYCLE_STATES,
  lifecycleVerdict,
  OPERATION_NAMES,
  OPERATION_TABLE,
  type OperationName,
  type Principal,
} from '../../src/domain/index.js';
import { STAGES } from '../../src/guard/guard.js';
import type { PolicyQuestion } from '../../src/guard/ports.js';
import { authentication, CHANGE, caller, human, loaded, makeBench, makeObject, NOW, requestFor, settleSoon, TENANT } from './harness.js';

const ALLOW = { effect: 'allow', statement: 'd/allow', reason: '' } as const;
const DENY = { effect: 'deny', statement: 'd/deny', reason: '' } as const;

describe('the pipeline', () => {
  it('is the literal order of the architecture', () => {
    expect(STAGES.map((s) => s.name)).toEqual(['identity', 'policy', 'risk', 'decision', 'operation', 'audit', 'detection', 'response']);
  });

  it('lets every operation of the table through to its handler and records it once', async () => {
    for (const name of OPERATION_NAMES) {
      const row = OPERATION_TABLE[name];
      const stand = row.actsAs === undefined ? undefined : OPERATION_TABLE.sign;
      const state = LIFECYCLE_STATES.find((s) =>
        [row.lifecycle, stand?.lifecycle ?? 'none', ...(row.alsoUses ?? []).map((a) => a.lifecycle)].every(
          (group) => lifecycleVerdict(s, group) === 'allow',
        ),
      );
      expect(state, name).toBeDefined();
      const bench = makeBench(undefined, [makeObject({ state: state as 'active' })]);
      const answer = await bench.guard(name, requestFor(name) as never, caller());
      expect(answer, name).toEqual({ ok: true, value: {} });
      expect(bench.trace.records, name).toHaveLength(1);
      expect(bench.trace.records[0]?.record).toMatchObject({ operation: name, action: row.action, outcome: 'success', tenant: TENANT });
      expect(bench.trace.intents.length, name).toBe(row.intent ? 1 : 0);
      if (row.target !== undefined) expect(bench.trace.questions[0]?.object?.id).toBe(makeObject().id);
    }
  });

  it('hands the handler what was decided on, and nothing else', async () => {
    let seen: AuthorizedCall | undefined;
    const object = makeObject();
    const bench = makeBench(
      () => ({
        handlers: {
          sign: async (call: AuthorizedCall) => {
            seen = call;
            return { response: {}, changes: [] };
          },
        } as never,
      }),
      [object],
    );
    await bench.guard('sign', { key: 'invoice@3', data: new Uint8Array(1) }, caller());
    expect(seen).toEqual({
      operation: 'sign',
      request: { key: 'invoice@3', data: new Uint8Array(1) },
      principal: human,
      authentication,
      tenant: TENANT,
      requestId: 'r-1',
      plane: 'rest',
      source: '10.0.0.1',
      now: NOW,
      target: loaded(object),
      others: {},
    });
  });
});

describe('targets', () => {
  const onlyOn =
    (ids: readonly string[]) =>
    (question: PolicyQuestion): typeof ALLOW | typeof DENY =>
      question.object !== undefined && ids.includes(question.object.id) ? ALLOW : DENY;

  it('answers not-found only to who could do it at all; others are denied whether it exists or not', async () => {
    const allowed = makeBench();
    expect(await allowed.guard('sign', { key: 'nothing' } as never, caller())).toMatchObject({ ok: false, fault: { code: 'not-found' } });
    expect(allowed.trace.records[0]?.record.resource).toEqual({ type: 'object', id: 'nothing' });
    for (const key of ['nothing', 'invoice']) {
      const denied = makeBench(() => ({ policy: { decide: onlyOn(['other']), limit: () => undefined } }));
      const answer = await denied.guard('sign', { key } as never, caller());
      expect(answer).toEqual({
        ok: false,
        fault: expect.objectContaining({ code: 'permission-denied', message: 'Policy does not allow this.' }),
      });
    }
  });

  it('of another tenant are plainly not there, even from a loader that ignores its tenant', async () => {
    const bench = makeBench(undefined, [makeObject({ tenant: 'globex' })]);
    expect(await bench.guard('get-object', { key: 'invoice' }, caller())).toMatchObject({ ok: false, fault: { code: 'not-found' } });
    expect(JSON.stringify(bench.trace.records)).not.toContain('globex');
    expect(bench.trace.questions.every((q) => q.object === undefined)).toBe(true);
  });

  it('asks about each further object with its own action', async () => {
    const wrapper = makeObject({ id: '22222222-2222-4222-8222-222222222222' as never, names: ['kek'] });
    const bench = makeBench(
      () => ({
        policy: {
          decide: (q) => {
            bench.trace.questions.push(q);
            return q.action === 'keys:wrap' ? DENY : ALLOW;
          },
          limit: () => undefined,
        },
      }),
      [makeObject(), wrapper],
    );
    const answer = await bench.guard('wrap', { key: 'invoice', wrappingKey: 'kek' }, caller());
    expect(answer).toMatchObject({ ok: false, fault: { code: 'permission-denied', statement: 'd/deny' } });
    expect(bench.trace.questions.map((q) => [q.action, q.object?.names[0]])).toEqual([
      ['keys:wrap-target', 'invoice'],
      ['keys:wrap', 'kek'],
    ]);
    expect(bench.trace.records[0]?.record.statement).toBe('d/deny');
  });

  it('export without a wrapping key asks one question; wrap without one is refused', async () => {
    const plain = makeBench();
    expect((await plain.guard('export-key', { key: 'invoice' }, caller())).ok).toBe(true);
    expect(plain.trace.questions.map((q) => q.action)).toEqual(['keys:export']);
    const wrap = makeBench();
    expect(await wrap.guard('wrap', { key: 'invoice' } as never, caller())).toMatchObject({
      ok: false,
      fault: { code: 'invalid-field', field: 'wrappingKey' },
    });
    const gone = makeBench();
    expect(await gone.guard('wrap', { key: 'invoice', wrappingKey: 'nope' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'not-found', field: 'wrappingKey' },
    });
  });

  it('a multi-part operation needs the action of its kind too', async () => {
    const noSign = makeBench(() => ({
      policy: { decide: (q) => (q.action === 'keys:sign' ? DENY : ALLOW), limit: () => undefined },
    }));
    expect(await noSign.guard('begin-operation', { kind: 'sign', key: 'invoice' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'permission-denied' },
    });
    expect((await noSign.guard('begin-operation', { kind: 'verify', key: 'invoice' }, caller())).ok).toBe(true);
    expect((await noSign.guard('begin-operation', { kind: 'digest', hash: 'sha256' }, caller())).ok).toBe(true);
    expect(await noSign.guard('begin-operation', { kind: 'verify' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'invalid-field', field: 'key' },
    });
    for (const kind of ['toString', 'nope', 7, undefined]) {
      expect(await noSign.guard('begin-operation', { kind, key: 'invoice' } as never, caller())).toMatchObject({
        ok: false,
        fault: { code: 'invalid-field', field: 'kind' },
      });
    }
  });

  it('a multi-part operation obeys lifecycle and usage of its kind', async () => {
    const deactivated = makeBench(undefined, [makeObject({ state: 'deactivated' })]);
    expect(await deactivated.guard('begin-operation', { kind: 'sign', key: 'invoice' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'wrong-state' },
    });
    expect((await deactivated.guard('begin-operation', { kind: 'decrypt', key: 'invoice' }, caller())).ok).toBe(true);
    const signOnly = makeBench(undefined, [makeObject({ usage: ['sign'] })]);
    expect(await signOnly.guard('begin-operation', { kind: 'mac', key: 'invoice' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'usage-denied' },
    });
  });

  it('come from the ciphertext where the request names none, within the tenant', async () => {
    const id = makeObject().id;
    const bench = makeBench(() => ({ targetOf: () => id }));
    expect((await bench.guard('decrypt', { ciphertext: new Uint8Array(64) }, caller())).ok).toBe(true);
    expect(bench.trace.records[0]?.record.resource?.id).toBe(id);
    const bare = makeBench();
    expect(await bare.guard('decrypt', { ciphertext: new Uint8Array(64) }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'invalid-field', field: 'key' },
    });
  });

  it('refuses references that are not text of sensible length', async () => {
    for (const key of ['', 'x'.repeat(257), 5, {}, [], true]) {
      const bench = makeBench();
      expect(await bench.guard('sign', { key } as never, caller())).toMatchObject({
        ok: false,
        fault: { code: 'invalid-field', field: 'key' },
      });
      expect(bench.trace.records).toHaveLength(1);
    }
  });
});

describe('identity in the guard', () => {
  const as = (principal: Partial<Principal> | undefined, over: object = {}, parent?: Principal) =>
    makeBench(() => ({
      identifier: {
        identify: async () =>
          ({
            principal: principal === undefined ? undefined : { ...human, ...principal },
            authentication: { ...authentication, ...over },
            parent,
          }) as never,
      },
    }));
  const agent = { kind: 'agent', id: 'a-1', name: 'bot', parentId: human.id, purpose: 'x' } as Partial<Agent> as Partial<Principal>;
  const codeOf = async (bench: ReturnType<typeof makeBench>, over: object = {}): Promise<string> => {
    const answer = await bench.guard('whoami', {}, caller(over));
    return answer.ok ? 'ok' : answer.fault.code;
  };

  it('refuses principals that are missing, nameless, disabled or expired', async () => {
    expect(await codeOf(as(undefined))).toBe('unauthenticated');
    expect(await codeOf(as({ id: '' }))).toBe('unauthenticated');
    expect(await codeOf(as({ tenant: '' }))).toBe('unauthenticated');
    expect(await codeOf(as({ disabled: true }))).toBe('credential-revoked');
    expect(await codeOf(as({}, { expiresAt: NOW }))).toBe('credential-expired');
    expect(await codeOf(as({}, { expiresAt: NOW + 1 }))).toBe('ok');
  });

  it('refuses an agent whose human is missing, another, disabled, foreign or an agent itself', async () => {
    expect(await codeOf(as(agent))).toBe('unauthenticated');
    expect(await codeOf(as(agent, {}, { ...human, id: 'p-bob' }))).toBe('unauthenticated');
    expect(await codeOf(as(agent, {}, { ...human, disabled: true }))).toBe('unauthenticated');
    expect(await codeOf(as(agent, {}, { ...human, tenant: 'globex' }))).toBe('unauthenticated');
    expect(await codeOf(as(agent, {}, { ...human, kind: 'service' }))).toBe('unauthenticated');
    const good = as(agent, {}, human);
    expect(await codeOf(good)).toBe('ok');
    expect(good.trace.records[0]?.record.actor).toMatchObject({ kind: 'agent', parentId: human.id });
  });

  it('keeps callers in their tenant; only internal components name another', async () => {
    expect(await codeOf(as({}), { tenant: 'globex' })).toBe('permission-denied');
    expect(await codeOf(as({}), { tenant: TENANT })).toBe('ok');
    const internal = as({}, { method: 'internal' });
    expect(await codeOf(internal, { tenant: 'globex' })).toBe('ok');
    expect(internal.trace.records[0]?.record.tenant).toBe('globex');
  });

  it('an unauthenticated caller cannot write into the log of the tenant it claims', async () => {
    const bench = as(undefined);
    await codeOf(bench, { tenant: 'globex' });
    expect(bench.trace.records[0]?.record).toMatchObject({ tenant: 'default', actor: { kind: 'unknown', id: '', method: 'token' } });
    expect(JSON.stringify(bench.trace.records)).not.toContain('secret-token');
  });

  it('a token’s scope narrows: action, resource, and further objects', async () => {
    const scoped = (scope: readonly string[]) => as({}, { scope });
    const sign = async (scope: readonly string[], key = 'invoice'): Promise<string> => {
      const answer = await scoped(scope).guard('sign', { key } as never, caller());
      return answer.ok ? 'ok' : answer.fault.code;
    };
    expect(await sign(['keys:sign'])).toBe('ok');
    expect(await sign(['keys:*'])).toBe('ok');
    expect(await sign(['*'])).toBe('ok');
    expect(await sign(['keys:sign@invoice'])).toBe('ok');
    expect(await sign(['keys:sign@other'])).toBe('permission-denied');
    expect(await sign(['keys:verify', 'audit:*'])).toBe('permission-denied');
    expect(await sign([])).toBe('permission-denied');
    expect(await sign(['keys:sign@invoice'], 'missing')).toBe('permission-denied');
    const wrap = await scoped(['keys:wrap-target']).guard('wrap', { key: 'invoice', wrappingKey: 'invoice' }, caller());
    expect(wrap).toMatchObject({ ok: false, fault: { code: 'permission-denied', statement: 'token/scope' } });
  });
});

describe('conflicts', () => {
  const CONFLICT: Fault = { code: 'conflict', message: 'changed' };
  const conflicting = (times: number) => {
    let left = times;
    let loads = 0;
    let limits = 0;
    let compensated = 0;
    const bench = makeBench(
      (trace) => ({
        objects: {
          load: async () => {
            loads += 1;
            return loaded(makeObject({ revision: loads }));
          },
        },
        policy: {
          decide: () => ALLOW,
          limit: () => {
            limits += 1;
            return undefined;
          },
        },
        journal: {
          intent: async () => {},
          commit: async (record, changes) => {
            trace.records.push({ record, changes });
            if (left-- > 0) return CONFLICT;
            trace.committed.push(...changes);
            return undefined;
          },
        },
      }),
      undefined,
      () => ({
        response: {} as never,
        changes: [CHANGE],
        compensate: async () => {
          compensated += 1;
        },
      }),
    );
    return { bench, counts: () => ({ loads, limits, compensated }) };
  };

  it('are run again on a freshly loaded object, policy included, up to three times', async () => {
    const { bench, counts } = conflicting(3);
    expect((await bench.guard('update-object', { key: 'invoice' }, caller())).ok).toBe(true);
    expect(counts()).toEqual({ loads: 4, limits: 1, compensated: 3 });
    expect(bench.trace.records.map((r) => r.record.detail?.['attempt'])).toEqual([undefined, 2, 3, 4]);
    expect(bench.trace.committed).toHaveLength(1);
  });

  it('that do not end are answered with the conflict', async () => {
    const { bench, counts } = conflicting(99);
    expect(await bench.guard('update-object', { key: 'invoice' }, caller())).toMatchObject({ ok: false, fault: { code: 'conflict' } });
    expect(counts().loads).toBe(4);
    expect(bench.trace.committed).toEqual([]);
  });

  it('are shown to detectors once, when they are final', async () => {
    for (const lock of [{}, { revision: 3 }]) {
      const seen: unknown[] = [];
      const bench = makeBench(() => ({
        detectors: [
          {
            observe: (record) => {
              seen.push([record.outcome, record.fault]);
              return [];
            },
          },
        ],
        journal: { intent: async () => {}, commit: async () => CONFLICT },
      }));
      await bench.guard('update-object', { key: 'invoice', ...lock } as never, caller());
      await settleSoon();
      expect(seen).toEqual([['failed', 'conflict']]);
    }
  });

  it('are the caller’s to solve when it named the revision', async () => {
    for (const lock of [{ revision: 3 }, { expectedVersion: 1 }]) {
      const { bench, counts } = conflicting(1);
      const answer = await bench.guard('update-object', { key: 'invoice', ...lock } as never, caller());
      expect(answer).toMatchObject({ ok: false, fault: { code: 'conflict' } });
      expect(counts()).toEqual({ loads: 1, limits: 1, compensated: 1 });
    }
  });

  it('a permission withdrawn between two attempts stops the second', async () => {
    let asked = 0;
    const bench = makeBench((trace) => ({
      policy: { decide: () => (asked++ === 0 ? ALLOW : DENY), limit: () => undefined },
      journal: {
        intent: async () => {},
        commit: async (record, changes) => {
          trace.records.push({ record, changes });
          return trace.records.length === 1 ? CONFLICT : undefined;
        },
      },
    }));
    expect(await bench.guard('update-object', { key: 'invoice' }, caller())).toMatchObject({
      ok: false,
      fault: { code: 'permission-denied' },
    });
    expect(bench.trace.records.map((r) => r.record.outcome)).toEqual(['success', 'refused']);
  });

  it('other faults of the commit are answered at once', async () => {
    let compensated = 0;
    const bench = makeBench(
      () => ({ journal: { intent: async () => {}, commit: async () => ({ code: 'usage-limit-reached', message: 'empty' }) as Fault } }),
      undefined,
      () => ({
        response: {} as never,
        changes: [CHANGE],
        compensate: async () => {
          compensated += 1;
        },
      }),
    );
    expect(await bench.guard('sign', requestFor('sign') as never, caller())).toMatchObject({
      ok: false,
      fault: { code: 'usage-limit-reached' },
    });
    expect(compensated).toBe(1);
  });
});

describe('tenant isolation of changes', () => {
  it('a handler that plans a change in another tenant is stopped and undone', async () => {
    const foreign: Change = { kind: 'put-setting', tenant: 'globex', name: 'x', value: 1 };
    for (const [name, ok] of [
      ['update-object', false],
      ['issue-token', true],
      ['rotate-seal', true],
    ] as const satisfies readonly (readonly [OperationName, boolean])[]) {
      let compensated = 0;
      const bench = makeBench(undefined, undefined, () => ({
        response: {} as never,
        changes: [foreign],
        compensate: async () => {
          compensated += 1;
        },
      }));
      const answer = await bench.guard(name, requestFor(name) as never, caller());
      expect(answer.ok, name).toBe(ok);
      expect(compensated).toBe(ok ? 0 : 1);
      expect(bench.trace.committed).toHaveLength(ok ? 1 : 0);
    }
  });
});

describe('what policy and the record may see of a request', () => {
  it('keeps payloads, secrets and unlisted fields out of both', async () => {
    const bench = makeBench();
    const data = new TextEncoder().encode('TOP-SECRET');
    await bench.guard('sign', { key: 'invoice', data, algorithm: 'ecdsa-sha256', context: data, evil: 'TOP-SECRET' } as never, caller());
    await bench.guard(
      'register',
      { type: 'secret-data', format: 'raw', material: data, attributes: { x: 'TOP-SECRET' } } as never,
      caller(),
    );
    await bench.guard('create-backup', { passphrase: 'TOP-SECRET' }, caller());
    await bench.guard('encrypt', { key: 'invoice', plaintext: data, aad: data } as never, caller());
    const seen = JSON.stringify([bench.trace.records, bench.trace.intents, bench.trace.questions.map((q) => q.request)]);
    expect(seen).not.toContain('TOP-SECRET');
    expect(seen).not.toContain(String([...data].slice(0, 4)));
    expect(bench.trace.questions[0]?.request).toEqual({ algorithm: 'ecdsa-sha256', prehashed: false });
    expect(bench.trace.records[0]?.record.detail).toEqual({ algorithm: 'ecdsa-sha256' });
  });

  it('refuses a listed field of another type, because a condition could not judge it', async () => {
    for (const [field, value] of [
      ['spec', 5],
      ['spec', 'x'.repeat(2000)],
      ['exportable', 'false'],
      ['names', 'invoice'],
      ['names', Array.from({ length: 300 }, () => 'x')],
      ['tags', ['a']],
      ['tags', { a: 1 }],
    ] as const) {
      const bench = makeBench();
      const answer = await bench.guard('create-key', { [field]: value } as never, caller());
      expect(answer, `${field} ${typeof value}`).toMatchObject({ ok: false, fault: { code: 'invalid-field', field } });
      expect(bench.trace.events).not.toContain('policy');
    }
  });

  it('fills in what absence means: false flags, the default root', async () => {
    const bench = makeBench(() => ({ defaultRoot: () => 'softhsm' }));
    await bench.guard('create-key', { spec: 'aes-256' }, caller());
    expect(bench.trace.questions[0]?.request).toEqual({ activate: false, exportable: false, spec: 'aes-256', root: 'softhsm' });
    await bench.guard('update-object', { key: 'invoice', objectGroup: null }, caller());
    expect(bench.trace.questions[1]?.request).toEqual({});
  });

  it('adds facts about what the request names', async () => {
    const bench = makeBench(() => ({ facts: (name) => (name === 'revoke-token' ? Promise.resolve({ owner: 'p-alice' }) : undefined) }));
    await bench.guard('revoke-token', { id: 't-9' }, caller());
    expect(bench.trace.questions[0]?.request).toEqual({ id: 't-9', owner: 'p-alice' });
    expect(bench.trace.records[0]?.record.resource).toEqual({ type: 'token', id: 't-9' });
  });

  it('cleans what callers wrote before it reaches the log', async () => {
    const bench = makeBench();
    await bench.guard('get-principal', { id: `x\r\n{"forged":true}${'y'.repeat(900)}` }, caller({ requestId: 'a\nb', source: 'c\u0000d' }));
    const record = bench.trace.records[0]?.record;
    expect(record?.requestId).toBe('a�b');
    expect(record?.source).toBe('c�d');
    expect(record?.resource?.id).not.toMatch(/[\r\n]/);
    expect(record?.resource?.id.length).toBeLessThanOrEqual(256);
  });

  it('records the statement, the dry-run difference, the risk and what the handler adds', async () => {
    const bench = makeBench(
      () => ({
        policy: { decide: () => ({ ...ALLOW, dryRun: { effect: 'deny', statement: 'new/x' } }), limit: () => undefined },
        risk: { assess: async () => ({ score: 3, reasons: ['r'] }) },
      }),
      undefined,
      () => ({ response: {} as never, changes: [], resource: { type: 'symmetric-key', id: 'new' }, detail: { version: 2 } }),
    );
    await bench.guard('create-key', { spec: 'aes-256' }, caller());
    expect(bench.trace.records[0]?.record).toMatchObject({
      statement: 'd/allow',
      risk: { score: 3, reasons: ['r'] },
      resource: { type: 'symmetric-key', id: 'new' },
      detail: { spec: 'aes-256', version: 2, dryRunEffect: 'deny', dryRunStatement: 'new/x' },
    });
  });
});

describe('risk limits', () => {
  it('ask for step-up or refuse from their score on; without limits the score is only recorded', async () => {
    const codeAt = async (score: number, limits?: object): Promise<string> => {
      const bench = makeBench(() => ({
        risk: { assess: async () => ({ score, reasons: [] }) },
        ...(limits === undefined ? {} : { riskLimits: limits }),
      }));
      const answer = await bench.guard('whoami', {}, caller());
      return answer.ok ? 'ok' : answer.fault.code;
    };
    expect(await codeAt(100)).toBe('ok');
    expect(await codeAt(49, { stepUpAt: 50, refuseAt: 90 })).toBe('ok');
    expect(await codeAt(50, { stepUpAt: 50, refuseAt: 90 })).toBe('step-up-required');
    expect(await codeAt(90, { stepUpAt: 50, refuseAt: 90 })).toBe('permission-denied');
    expect(await codeAt(Number.NaN)).toBe('internal');
  });
});
