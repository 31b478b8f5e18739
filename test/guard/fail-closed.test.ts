import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type Fault, FaultError, fail, type OperationName, type PolicyDecision, type Result } from '../../src/domain/index.js';
import type { STAGES } from '../../src/guard/guard.js';
import type { GuardParts } from '../../src/guard/ports.js';
import { authentication, type Bench, CHANGE, caller, human, makeBench, makeObject, requestFor, settleSoon, type Trace } from './harness.js';

/** One operation of each effect, with and without an intent record. */
const OPERATIONS: readonly OperationName[] = ['get-object', 'verify', 'sign', 'update-object', 'create-key', 'destroy'];
const objectFor = (name: OperationName) => makeObject(name === 'destroy' ? { state: 'deactivated' } : {});
const HAS_INTENT: ReadonlySet<OperationName> = new Set(['sign', 'create-key', 'destroy']);

const AXES = {
  identity: ['allow', 'refuse', 'throw'],
  policy: ['allow', 'refuse', 'step-up', 'throw'],
  risk: ['allow', 'refuse', 'throw'],
  decision: ['allow', 'refuse', 'throw'],
  operation: ['allow', 'refuse', 'throw'],
  audit: ['allow', 'refuse', 'throw', 'intent-throw'],
  detection: ['allow', 'none', 'throw'],
  response: ['allow', 'throw'],
} as const satisfies Record<(typeof STAGES)[number]['name'], readonly string[]>;
type StageName = keyof typeof AXES;
type Combination = { readonly [S in StageName]: (typeof AXES)[S][number] };

const combinations = function* (): Generator<Combination> {
  const names = Object.keys(AXES) as StageName[];
  const indices = names.map(() => 0);
  for (;;) {
    yield Object.fromEntries(names.map((n, i) => [n, AXES[n][indices[i] as number]])) as unknown as Combination;
    let at = names.length - 1;
    while (at >= 0) {
      indices[at] = (indices[at] as number) + 1;
      if ((indices[at] as number) < AXES[names[at] as StageName].length) break;
      indices[at] = 0;
      at -= 1;
    }
    if (at < 0) return;
  }
};

const boom = (stage: string): never => {
  throw new Error(`boom in ${stage}`);
};
const DECISIONS: Record<string, PolicyDecision> = {
  allow: { effect: 'allow', statement: 'd/allow', reason: '' },
  refuse: { effect: 'deny', statement: 'd/deny', reason: '' },
  'step-up': { effect: 'step-up', statement: 'd/step-up', reason: '' },
};

interface Counts {
  compensated: number;
  afterCommit: number;
  responded: number;
}

/** Fakes that behave as the combination says. */
const arrange = (c: Combination, name: OperationName): Bench & { counts: Counts } => {
  const counts: Counts = { compensated: 0, afterCommit: 0, responded: 0 };
  const parts = (trace: Trace): Partial<GuardParts> => ({
    identifier: {
      identify: async () => {
        trace.events.push('identity');
        if (c.identity === 'refuse') throw fail('unauthenticated', 'no');
        if (c.identity === 'throw') boom('identity');
        return { principal: human, authentication };
      },
    },
    policy: {
      decide: () => {
        trace.events.push('policy');
        return c.policy === 'throw' ? boom('policy') : (DECISIONS[c.policy] as PolicyDecision);
      },
      limit: () => {
        trace.events.push('decision');
        if (c.decision === 'throw') boom('decision');
        return c.decision === 'refuse' ? { code: 'rate-limited', message: 'slow down' } : undefined;
      },
    },
    risk: {
      assess: async () => {
        trace.events.push('risk');
        if (c.risk === 'throw') boom('risk');
        return { score: c.risk === 'refuse' ? 100 : 1, reasons: [] };
      },
    },
    riskLimits: { refuseAt: 90 },
    journal: {
      intent: async (record) => {
        trace.events.push('intent');
        if (c.audit === 'intent-throw') boom('intent');
        trace.intents.push(record);
      },
      commit: async (record, changes) => {
        trace.events.push('commit');
        if (c.audit === 'throw') boom('audit');
        trace.records.push({ record, changes });
        if (c.audit === 'refuse') return { code: 'already-exists', message: 'taken' };
        trace.committed.push(...changes);
        return undefined;
      },
    },
    detectors: [
      {
        observe: () => {
          trace.events.push('detection');
          if (c.detection === 'throw') boom('detection');
          return c.detection === 'none' ? [] : [{ detector: 'x', severity: 'low', reason: 'y' }];
        },
      },
    ],
    responders: [
      {
        respond: () => {
          counts.responded += 1;
          if (c.response === 'throw') boom('response');
        },
      },
    ],
  });
  const bench = makeBench(parts, [objectFor(name)], () => {
    if (c.operation === 'refuse') throw fail('root-unavailable', 'gone');
    if (c.operation === 'throw') boom('operation');
    return {
      response: { done: true } as never,
      changes: [CHANGE],
      compensate: async () => {
        counts.compensated += 1;
      },
      afterCommit: async () => {
        counts.afterCommit += 1;
      },
    };
  });
  return { ...bench, counts };
};

const BEFORE: readonly StageName[] = ['identity', 'policy', 'risk', 'decision'];

/** The invariants; throws text rather than using expect, because they run tens of thousands of times. */
const violations = (c: Combination, name: OperationName, bench: Bench & { counts: Counts }, answer: Result<unknown>): string[] => {
  const { trace, counts } = bench;
  const wrong: string[] = [];
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(what);
  };
  const intentFails = c.audit === 'intent-throw' && HAS_INTENT.has(name);
  const admitted = BEFORE.every((stage) => c[stage] === 'allow');
  const ranIt = admitted && !intentFails;
  const auditWorks = c.audit === 'allow' || c.audit === 'intent-throw';
  const succeeds = ranIt && c.operation === 'allow' && auditWorks;
  must(answer.ok === succeeds, `answer ${JSON.stringify(answer)} but success should be ${succeeds}`);
  must(trace.events.includes('operation') === ranIt, 'operation ran although a stage before it did not allow, or did not run');
  must(trace.events.filter((e) => e === 'commit').length === 1, 'the audit stage did not run exactly once');
  must(c.audit === 'throw' ? trace.records.length === 0 : trace.records.length === 1, 'not exactly one final record');
  must(trace.events.filter((e) => e === 'operation').length <= 1, 'operation ran twice');
  if (!succeeds && !(c.audit === 'refuse')) must(trace.committed.length === 0, 'changes committed without success');
  if (succeeds) must(trace.committed.length === 1, 'success without its changes');
  if (c.audit === 'throw' && !answer.ok) must(answer.fault.code === 'audit-unavailable', 'a lost record must answer audit-unavailable');
  if (intentFails && admitted && auditWorks && !answer.ok)
    must(answer.fault.code === 'audit-unavailable', 'a lost intent must answer audit-unavailable');
  const planLost = ranIt && c.operation === 'allow' && !succeeds;
  must(counts.compensated === (planLost ? 1 : 0), `compensated ${counts.compensated} times`);
  must(counts.afterCommit === (succeeds ? 1 : 0), `afterCommit ${counts.afterCommit} times`);
  must(trace.intents.length === (admitted && HAS_INTENT.has(name) && !intentFails ? 1 : 0), 'intent record missing or superfluous');
  if (HAS_INTENT.has(name) && ranIt) must(trace.events.indexOf('intent') < trace.events.indexOf('operation'), 'intent after the operation');
  const record = trace.records[0]?.record;
  if (record !== undefined) {
    const expected = ranIt ? (c.operation === 'allow' ? 'success' : 'failed') : 'refused';
    must(record.outcome === expected, `recorded ${record.outcome} instead of ${expected}`);
    must((record.fault === undefined) === (record.outcome === 'success'), 'record’s fault and outcome disagree');
    must(c.identity === 'allow' ? record.actor.id === human.id : record.actor.kind === 'unknown', 'wrong actor in the record');
  }
  for (let i = 0; i < BEFORE.length; i += 1) {
    // A step-up and a high risk score pass their stage as a finding: the decision stage is where they refuse.
    const refusedEarlier = BEFORE.slice(0, i).some((s) => c[s] !== 'allow' && c[s] !== 'step-up' && !(s === 'risk' && c.risk === 'refuse'));
    if (refusedEarlier) must(!trace.events.includes(BEFORE[i] as string), `${BEFORE[i]} ran after a refusal`);
  }
  return wrong;
};

describe('the guard fails closed', () => {
  it('holds its invariants in every combination of what its stages may do', { timeout: 600_000 }, async () => {
    let runs = 0;
    const broken: string[] = [];
    for (const name of OPERATIONS) {
      for (const c of combinations()) {
        const bench = arrange(c, name);
        const answer = await bench.guard(name, requestFor(name) as never, caller());
        runs += 1;
        const wrong = violations(c, name, bench, answer);
        if (wrong.length > 0) broken.push(`${name} ${JSON.stringify(c)}: ${wrong.join('; ')}`);
      }
    }
    expect(broken.slice(0, 5)).toEqual([]);
    expect(runs).toBe(OPERATIONS.length * Object.values(AXES).reduce((n, axis) => n * axis.length, 1));
  });

  it('runs detection and response for every outcome, after the answer and without changing it', async () => {
    const c: Combination = {
      identity: 'allow',
      policy: 'allow',
      risk: 'allow',
      decision: 'allow',
      operation: 'allow',
      audit: 'allow',
      detection: 'allow',
      response: 'throw',
    };
    for (const audit of ['allow', 'throw'] as const) {
      const bench = arrange({ ...c, audit }, 'get-object');
      const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
      expect(answer.ok).toBe(audit === 'allow');
      expect(bench.trace.events).not.toContain('detection');
      await settleSoon();
      expect(bench.trace.events).toContain('detection');
      expect(bench.counts.responded).toBe(1);
      expect(bench.trace.problems.map((p) => p.stage)).toContain('response');
    }
  });

  it('a detector that throws takes nothing from the next one', async () => {
    const seen: string[] = [];
    const { guard } = makeBench(() => ({
      detectors: [{ observe: () => boom('first') }, { observe: (record) => [{ detector: record.operation, severity: 'low', reason: '' }] }],
      responders: [{ respond: (finding) => void seen.push(finding.detector) }],
    }));
    await guard('get-object', { key: 'invoice' }, caller());
    await settleSoon();
    expect(seen).toEqual(['get-object']);
  });

  it('an unknown policy effect, an empty answer and a malformed plan are refusals', async () => {
    for (const decision of [{ effect: 'ALLOW', statement: 's', reason: '' }, {}, undefined, null, true]) {
      const bench = makeBench(() => ({ policy: { decide: () => decision as never, limit: () => undefined } }));
      const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
      expect(answer.ok, String(decision)).toBe(false);
      expect(bench.trace.events).not.toContain('operation');
    }
    for (const planned of [undefined, null, {}, { response: {} }, { response: {}, changes: 'x' }, { changes: [] }]) {
      const bench = makeBench(undefined, undefined, () => planned as never);
      const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
      expect(answer).toMatchObject({ ok: false, fault: { code: 'internal' } });
      expect(bench.trace.records.map((r) => r.record.outcome)).toEqual(['failed']);
    }
  });

  it('never shows an unexpected error to the caller, and always to the log', async () => {
    const secret = 'PIN 1234 of slot 0';
    const bench = makeBench(undefined, undefined, () => {
      throw new Error(secret);
    });
    const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
    expect(JSON.stringify([answer, bench.trace.records])).not.toContain('1234');
    expect(bench.trace.problems[0]).toMatchObject({ stage: 'operation' });
  });

  it('a FaultError with a code outside the list is not passed on', async () => {
    const bench = makeBench(undefined, undefined, () => {
      throw new FaultError({ code: 'success' as never, message: 'x' });
    });
    expect(await bench.guard('get-object', { key: 'invoice' }, caller())).toMatchObject({ ok: false, fault: { code: 'internal' } });
  });

  it('survives hooks that throw', async () => {
    const bench = makeBench(() => ({
      onOutcome: () => boom('metrics'),
      onProblem: () => boom('log'),
    }));
    expect((await bench.guard('get-object', { key: 'invoice' }, caller())).ok).toBe(true);
    const broken = makeBench(() => ({ clock: () => boom('clock'), onProblem: () => boom('log') }));
    expect(await broken.guard('get-object', { key: 'invoice' }, caller())).toMatchObject({ ok: false, fault: { code: 'internal' } });
  });

  it('refuses while the node may not serve, without asking who calls', async () => {
    const down: Fault = { code: 'shutting-down', message: 'bye' };
    for (const serving of [() => down, () => boom('serving')]) {
      const bench = makeBench(() => ({ serving }));
      const answer = await bench.guard('sign', requestFor('sign') as never, caller());
      expect(answer.ok).toBe(false);
      expect(bench.trace.events).toEqual(['commit']);
      expect(bench.trace.records[0]?.record.outcome).toBe('refused');
    }
  });

  it('audits a request that the plane could not read, once the caller is known', async () => {
    const bench = makeBench();
    const malformed: Fault = { code: 'invalid-request', message: 'not JSON' };
    expect(await bench.guard('sign', undefined as never, caller({ malformed }))).toEqual({ ok: false, fault: malformed });
    expect(bench.trace.records[0]?.record).toMatchObject({ outcome: 'refused', fault: 'invalid-request', actor: { id: human.id } });
    expect(bench.trace.events).not.toContain('operation');
  });

  it('answers and records operations that do not exist', async () => {
    for (const name of ['no-such-operation', '__proto__', 'constructor', 'toString']) {
      const bench = makeBench();
      expect(await bench.guard(name as OperationName, {} as never, caller())).toMatchObject({
        ok: false,
        fault: { code: 'unsupported-operation' },
      });
      expect(bench.trace.records).toHaveLength(1);
    }
  });
});

describe('a caller that gives up', () => {
  const never = new Promise<never>(() => {});
  const HANGS: Record<string, (trace: Trace) => Partial<GuardParts>> = {
    identity: () => ({ identifier: { identify: () => never } }),
    policy: () => ({ objects: { load: () => never } }),
    risk: () => ({ risk: { assess: () => never } }),
    facts: () => ({ facts: () => never }),
    intent: (trace) => ({
      journal: { intent: () => never, commit: async (record, changes) => void trace.records.push({ record, changes }) },
    }),
  };
  for (const [stage, over] of Object.entries(HANGS)) {
    it(`is answered with a time-out when ${stage} hangs, and the operation never runs`, async () => {
      const bench = makeBench(over);
      const controller = new AbortController();
      const pending = bench.guard('sign', requestFor('sign') as never, caller({ signal: controller.signal }));
      setTimeout(() => controller.abort(), 10);
      expect(await pending).toMatchObject({ ok: false, fault: { code: 'timeout' } });
      expect(bench.trace.events).not.toContain('operation');
      expect(bench.trace.records.map((r) => [r.record.outcome, r.record.fault, r.changes.length])).toEqual([['refused', 'timeout', 0]]);
    });
  }

  it('before the call is refused without running anything', async () => {
    const bench = makeBench();
    const answer = await bench.guard('sign', requestFor('sign') as never, caller({ signal: AbortSignal.abort() }));
    expect(answer).toMatchObject({ ok: false, fault: { code: 'timeout' } });
    expect(bench.trace.events).toEqual(['commit']);
  });

  it('while the operation hangs is answered; the late plan is undone and its changes never happen', async () => {
    let finish: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let compensated = 0;
    const bench = makeBench((trace) => ({
      handlers: {
        sign: async () => {
          await gate;
          trace.events.push('late');
          return {
            response: {},
            changes: [CHANGE],
            compensate: async () => {
              compensated += 1;
            },
          };
        },
      } as never,
    }));
    const controller = new AbortController();
    const pending = bench.guard('sign', requestFor('sign') as never, caller({ signal: controller.signal }));
    setTimeout(() => controller.abort(), 10);
    expect(await pending).toMatchObject({ ok: false, fault: { code: 'timeout' } });
    expect(bench.trace.records.map((r) => [r.record.outcome, r.record.fault])).toEqual([['failed', 'timeout']]);
    finish();
    await settleSoon();
    expect(bench.trace.events).toContain('late');
    expect(compensated).toBe(1);
    expect(bench.trace.committed).toEqual([]);
    expect(bench.trace.records).toHaveLength(1);
  });

  it('in the same tick as the plan arrives loses the plan, not its undoing', async () => {
    for (const abortFirst of [true, false]) {
      let compensated = 0;
      const controller = new AbortController();
      const bench = makeBench(() => ({
        handlers: {
          sign: () =>
            new Promise((resolve) => {
              const plan = {
                response: {},
                changes: [CHANGE],
                compensate: async () => {
                  compensated += 1;
                },
              };
              setTimeout(() => {
                if (abortFirst) controller.abort();
                resolve(plan);
                if (!abortFirst) controller.abort();
              }, 5);
            }),
        } as never,
      }));
      const answer = await bench.guard('sign', requestFor('sign') as never, caller({ signal: controller.signal }));
      await settleSoon();
      expect(bench.trace.records).toHaveLength(1);
      expect(answer.ok).toBe(bench.trace.committed.length === 1);
      expect(compensated).toBe(answer.ok ? 0 : 1);
    }
  });

  it('while the journal writes waits for the journal: what is durable decides', async () => {
    let finish: (fault?: Fault) => void = () => {};
    const bench = makeBench((trace) => ({
      journal: {
        intent: async () => {},
        commit: (record, changes) =>
          new Promise((resolve) => {
            finish = (fault) => {
              trace.records.push({ record, changes });
              resolve(fault);
            };
          }),
      },
    }));
    const controller = new AbortController();
    let answered = false;
    const pending = bench.guard('get-object', { key: 'invoice' }, caller({ signal: controller.signal })).finally(() => {
      answered = true;
    });
    await settleSoon();
    controller.abort();
    await settleSoon();
    expect(answered).toBe(false);
    finish();
    expect((await pending).ok).toBe(true);
  });

  it('leaves no listener behind on a signal that outlives the call', async () => {
    const controller = new AbortController();
    const bench = makeBench();
    await bench.guard('sign', requestFor('sign') as never, caller({ signal: controller.signal }));
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });
});

describe('the journal', () => {
  it('that never answers is bounded; nothing is undone, because the commit may have happened', async () => {
    let compensated = 0;
    const bench = makeBench(
      () => ({ auditTimeoutMs: 20, journal: { intent: async () => {}, commit: () => new Promise(() => {}) } }),
      undefined,
      () => ({
        response: {} as never,
        changes: [CHANGE],
        compensate: async () => {
          compensated += 1;
        },
      }),
    );
    const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
    expect(answer).toMatchObject({ ok: false, fault: { code: 'audit-unavailable', uncertain: true } });
    expect(compensated).toBe(0);
  });

  it('that lost the database’s answer leaves outside effects alone; one that committed nothing has them undone', async () => {
    for (const [uncertain, undone] of [
      [true, 0],
      [false, 1],
    ] as const) {
      let compensated = 0;
      const bench = makeBench(
        () => ({
          journal: {
            intent: async () => {},
            commit: () => Promise.reject(fail('storage-unavailable', 'gone', uncertain ? { uncertain } : {})),
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
      const answer = await bench.guard('get-object', { key: 'invoice' }, caller());
      expect(answer).toMatchObject({ ok: false, fault: { code: 'audit-unavailable' } });
      expect(compensated).toBe(undone);
    }
  });

  it('runs afterCommit only once durable; its failure goes to the log and the answer stays', async () => {
    const bench = makeBench(undefined, undefined, (trace) => ({
      response: { ok: 1 } as never,
      changes: [],
      afterCommit: async () => {
        trace.events.push('after-commit');
        boom('after-commit');
      },
    }));
    expect((await bench.guard('get-object', { key: 'invoice' }, caller())).ok).toBe(true);
    expect(bench.trace.events.slice(-2)).toEqual(['commit', 'after-commit']);
    expect(bench.trace.problems.map((p) => p.stage)).toEqual(['after-commit']);
  });

  it('keeps the record when what a plan wants in it cannot be built', async () => {
    let compensated = 0;
    const detail = {
      get evil(): string {
        return boom('detail');
      },
    };
    const bench = makeBench(undefined, undefined, () => ({
      response: {} as never,
      changes: [CHANGE],
      detail,
      compensate: async () => {
        compensated += 1;
      },
    }));
    expect(await bench.guard('get-object', { key: 'invoice' }, caller())).toMatchObject({ ok: false, fault: { code: 'internal' } });
    expect(bench.trace.records.map((r) => [r.record.outcome, r.record.fault])).toEqual([['failed', 'internal']]);
    expect(compensated).toBe(1);
    expect(bench.trace.committed).toEqual([]);
  });
});
