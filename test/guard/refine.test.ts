import { describe, expect, test } from 'vitest';
import { fail, type OperationRequest } from '../../src/domain/index.js';
import { caller, makeBench, makeObject } from './harness.js';

const REQUEST = { key: 'invoice', plaintext: new Uint8Array([1]), format: 'raw' } as const satisfies OperationRequest<'encrypt'>;

describe('completing a request for its target', () => {
  test('policy, operation and record see the completed request', async () => {
    const seen: unknown[] = [];
    const bench = makeBench((trace) => ({
      handlers: {
        ...makeBench().parts.handlers,
        encrypt: async (call) => {
          seen.push(call.request.algorithm);
          trace.events.push('operation');
          return { response: {} as never, changes: [] };
        },
      },
    }));
    const result = await bench.guard('encrypt', REQUEST, caller(), (object) => ({
      ...REQUEST,
      algorithm: object.usage.includes('encrypt') ? 'aes-ctr' : 'aes-ecb',
    }));
    expect(result.ok).toBe(true);
    expect(seen).toEqual(['aes-ctr']);
    expect(bench.trace.questions.map((q) => q.request['algorithm'])).toEqual(['aes-ctr']);
    expect(bench.trace.records[0]?.record.detail).toMatchObject({ algorithm: 'aes-ctr' });
  });

  test('why it cannot be completed is told last: after policy and after the object’s own state', async () => {
    const refine = () => {
      throw fail('invalid-field', 'no such mode for this key');
    };
    const denied = makeBench(() => ({
      policy: { decide: () => ({ effect: 'deny', statement: 's', reason: 'r' }), limit: () => undefined },
    }));
    expect(await denied.guard('encrypt', REQUEST, caller(), refine)).toMatchObject({ ok: false, fault: { code: 'permission-denied' } });
    const destroyed = makeBench(undefined, [makeObject({ state: 'destroyed' })]);
    expect(await destroyed.guard('encrypt', REQUEST, caller(), refine)).toMatchObject({ ok: false, fault: { code: 'destroyed' } });
    const allowed = makeBench();
    expect(await allowed.guard('encrypt', REQUEST, caller(), refine)).toMatchObject({ ok: false, fault: { code: 'invalid-field' } });
    expect(allowed.trace.events).not.toContain('operation');
    expect(allowed.trace.records[0]?.record).toMatchObject({ outcome: 'refused', fault: 'invalid-field' });
  });

  test('it is not asked without a target, and cannot point the call at another object', async () => {
    let asked = 0;
    const bench = makeBench();
    const missing = await bench.guard('encrypt', { ...REQUEST, key: 'nowhere' }, caller(), () => {
      asked += 1;
      return REQUEST;
    });
    expect(missing).toMatchObject({ ok: false, fault: { code: 'not-found' } });
    expect(asked).toBe(0);
    const moved = await bench.guard('encrypt', REQUEST, caller(), () => ({ ...REQUEST, key: 'other' }));
    expect(moved).toMatchObject({ ok: false, fault: { code: 'internal' } });
    expect(bench.trace.events).not.toContain('operation');
  });

  test('what breaks inside it refuses the call and says nothing', async () => {
    const bench = makeBench();
    const result = await bench.guard('encrypt', REQUEST, caller(), () => {
      throw new Error('secret detail');
    });
    expect(result).toMatchObject({ ok: false, fault: { code: 'internal' } });
    expect(JSON.stringify(result)).not.toContain('secret detail');
  });
});
