import { describe, expect, it } from 'vitest';
import { chainHash, genesisHash } from '../../src/audit/chain.js';
import { type JournalOptions, makeJournal } from '../../src/audit/journal.js';
import { FaultError } from '../../src/domain/index.js';
import { type CommitPlan, draft, type MemoryAudit, makeMemoryAudit, someChange } from './memory-audit.js';

const makeSubject = (over: Partial<JournalOptions> = {}, memory: MemoryAudit = makeMemoryAudit()) => {
  const journal = makeJournal({
    ...{ store: memory.journal, audit: memory.audit, nodeId: 'node-1', bootId: 'boot', clock: Date.now, settleMs: 400 },
    ...over,
  });
  return { memory, journal };
};
const planned =
  (...plans: CommitPlan[]) =>
  (commit: number): CommitPlan =>
    plans[commit - 1] ?? 'commit';
const faultOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error !== undefined && !(error instanceof FaultError)) throw error;
  return error?.fault;
};
const expectSoundChains = (memory: MemoryAudit): void => {
  for (const chain of memory.chains.values())
    for (const [index, row] of chain.entries()) {
      const before = chain[index - 1]?.chain;
      expect(row.chain.sequence).toBe(index + 1);
      expect(row.chain.previous).toBe(before?.hash ?? genesisHash(row.chain.node, row.chain.boot));
      expect(row.chain.hash).toBe(chainHash(row.chain.previous, row.canonical));
    }
};

describe('group commit', () => {
  it('resolves an intent only when it is durable', async () => {
    const { memory, journal } = makeSubject();
    memory.state.delayMs = 30;
    let resolved = false;
    const intent = journal.intent(draft({ outcome: 'intent' })).then(() => {
      resolved = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect([resolved, memory.order.length]).toEqual([false, 0]);
    await intent;
    expect(memory.order.map((row) => row.record.outcome)).toEqual(['intent']);
  });

  it('writes what arrives during a commit as one group, in order, bounded in number and bytes', async () => {
    const { memory, journal } = makeSubject({ maxGroup: 40 });
    memory.state.delayMs = 5;
    const ids = Array.from({ length: 200 }, (_, index) => `r-${index}`);
    await Promise.all(ids.map((requestId) => journal.commit(draft({ requestId }), [])));
    expect(memory.order.map((row) => row.record.requestId)).toEqual(ids);
    expect(Math.max(...memory.state.groups)).toBe(40);
    expect(memory.state.commits).toBe(5);
    const small = makeSubject({ maxGroupBytes: 1500 });
    await Promise.all(Array.from({ length: 20 }, () => small.journal.commit(draft(), [])));
    expect(Math.max(...small.memory.state.groups)).toBeLessThanOrEqual(4);
    expectSoundChains(memory);
  });

  it('records a call whose changes fault as failed and answers the fault, without harming its neighbours', async () => {
    const { memory, journal } = makeSubject();
    memory.state.faultOf = (change) =>
      change.kind === 'put-setting' && change.value === 'bad' ? { code: 'conflict', message: 'changed' } : undefined;
    const results = await Promise.all([
      journal.commit(draft({ requestId: 'a' }), [someChange]),
      journal.commit(draft({ requestId: 'b' }), [{ kind: 'put-setting', tenant: 'default', name: 'x', value: 'bad' }]),
      journal.commit(draft({ requestId: 'c' }), [someChange]),
    ]);
    expect(results.map((fault) => fault?.code)).toEqual([undefined, 'conflict', undefined]);
    expect(memory.order.map(({ record }) => [record.requestId, record.outcome, record.fault])).toEqual([
      ['a', 'success', undefined],
      ['b', 'failed', 'conflict'],
      ['c', 'success', undefined],
    ]);
    expect(memory.state.applied).toHaveLength(2);
    expectSoundChains(memory);
  });

  it('keeps records without changes out of the way of slow changes', async () => {
    const { memory, journal } = makeSubject();
    const slow = memory.journal.commitGroup;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    memory.journal.commitGroup = async (items, chain) => {
      if (items.some((item) => item.changes.length > 0 && item.changes[0]?.kind !== 'consume-usage')) await gate;
      return slow(items, chain);
    };
    const change = journal.commit(draft(), [someChange]);
    await journal.commit(draft(), []);
    await journal.commit(draft(), [{ kind: 'consume-usage', tenant: 'default', objectId: 'k', amount: 1, limited: false }]);
    expect(memory.order).toHaveLength(2);
    release();
    await change;
    expect([...memory.chains.keys()].sort()).toEqual(['["node-1","boot-c"]', '["node-1","boot-r"]']);
    expectSoundChains(memory);
  });

  it('refuses more than it may hold, by number and by bytes, and takes calls again afterwards', async () => {
    const { memory, journal } = makeSubject({ maxPending: 5 });
    memory.state.delayMs = 10;
    const calls = Array.from({ length: 8 }, () => faultOf(journal.commit(draft(), [])));
    expect((await Promise.all(calls)).map((fault) => fault?.code)).toEqual([...Array(5).fill(undefined), ...Array(3).fill('overloaded')]);
    expect(await journal.commit(draft(), [])).toBeUndefined();
    const heavy = makeSubject({ maxPendingBytes: 10_000 });
    const big = { ...someChange, value: 'x'.repeat(8000) };
    const faults = await Promise.all([1, 2].map(() => faultOf(heavy.journal.commit(draft(), [big]))));
    expect(faults.map((fault) => fault?.code)).toEqual([undefined, 'overloaded']);
    expect(heavy.journal.health().pending).toBe(0);
  });

  it('writes what is queued when it closes, then refuses', async () => {
    const { memory, journal } = makeSubject();
    memory.state.delayMs = 10;
    const calls = Array.from({ length: 10 }, () => journal.commit(draft(), []));
    await journal.close();
    await Promise.all(calls);
    expect(memory.order).toHaveLength(10);
    expect((await faultOf(journal.commit(draft(), [])))?.code).toBe('shutting-down');
  });
  it('does not wait for ever for a store that hangs', async () => {
    const { memory, journal } = makeSubject();
    memory.journal.commitGroup = () => new Promise(() => undefined);
    void journal.commit(draft(), []).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const behind = faultOf(journal.commit(draft(), []));
    await journal.close(50);
    expect((await behind)?.code).toBe('shutting-down');
  });
});

describe('when the store fails', () => {
  it('refuses everybody, also who waits behind, stores nothing, and goes on by itself', async () => {
    const { memory, journal } = makeSubject({ maxGroup: 2 });
    memory.state.plan = planned({ unreachable: true });
    const faults = await Promise.all(Array.from({ length: 6 }, () => faultOf(journal.commit(draft(), []))));
    expect(faults.map((fault) => fault?.code)).toEqual(Array(6).fill('audit-unavailable'));
    expect(faults.every((fault) => fault?.uncertain === undefined)).toBe(true);
    expect(memory.state.commits).toBe(1);
    expect(memory.order).toHaveLength(0);
    expect(journal.health()).toMatchObject({ state: 'failing', detail: expect.stringContaining('ECONNREFUSED') });
    expect(await journal.commit(draft(), [])).toBeUndefined();
    expect(journal.health()).toMatchObject({ state: 'ok', pending: 0 });
    expectSoundChains(memory);
  });

  it('says that the disk is full, and heals', async () => {
    const { memory, journal } = makeSubject();
    memory.state.plan = planned({ fail: '53100' });
    const fault = await faultOf(journal.commit(draft(), []));
    expect(fault).toMatchObject({
      code: 'audit-unavailable',
      message: expect.stringContaining('no space'),
      next: expect.stringContaining('Free space'),
    });
    expect(journal.health()).toMatchObject({ state: 'failing', detail: expect.stringContaining('no space left (53100)') });
    await journal.commit(draft(), []);
    expect(journal.health().state).toBe('ok');
    expectSoundChains(memory);
  });

  it('repeats what the database rolled back for a deadlock', async () => {
    const { memory, journal } = makeSubject();
    memory.state.plan = planned({ fail: '40P01' }, { fail: '40001' });
    expect(await journal.commit(draft(), [someChange])).toBeUndefined();
    expect(memory.order).toHaveLength(1);
    expectSoundChains(memory);
  });

  it('keeps one call’s bad data from harming its group: alone it is recorded as failed', async () => {
    const { memory, journal } = makeSubject();
    const store = memory.journal.commitGroup;
    memory.journal.commitGroup = async (items, chain) => {
      const faults = items.map(() => undefined);
      if (items.some((item) => item.changes.some((change) => change.kind === 'put-setting' && change.value === 'poison'))) {
        chain(faults);
        throw Object.assign(new Error('invalid byte sequence'), { code: '22021' });
      }
      return store(items, chain);
    };
    const poison = { ...someChange, value: 'poison' };
    const results = await Promise.all(
      [someChange, poison, someChange].map((change, index) => journal.commit(draft({ requestId: `p-${index}` }), [change])),
    );
    expect(results.map((fault) => fault?.code)).toEqual([undefined, 'internal', undefined]);
    expect(memory.order.map(({ record }) => [record.requestId, record.outcome])).toEqual([
      ['p-0', 'success'],
      ['p-1', 'failed'],
      ['p-2', 'success'],
    ]);
    expectSoundChains(memory);
  });
});

describe('when the answer to a commit is lost', () => {
  it('finds out that it was stored and answers success, once', async () => {
    const { memory, journal } = makeSubject();
    memory.state.plan = planned({ lost: 'stored' });
    expect(await journal.commit(draft(), [someChange])).toBeUndefined();
    expect(memory.order).toHaveLength(1);
    expect(memory.state.applied).toHaveLength(1);
    await journal.commit(draft(), [someChange]);
    expectSoundChains(memory);
    expect(memory.chains.size).toBe(1);
  });

  it('finds out that it was not, and puts a fence there so that it never will be', async () => {
    const { memory, journal } = makeSubject();
    memory.state.plan = planned({ lost: 'not-stored' });
    const fault = await faultOf(journal.commit(draft(), [someChange]));
    expect(fault).toMatchObject({ code: 'audit-unavailable' });
    expect(fault?.uncertain).toBeUndefined();
    expect(memory.order.map(({ record }) => record.operation)).toEqual(['audit-recovery']);
    await journal.commit(draft(), [someChange]);
    expectSoundChains(memory);
    expect(memory.order).toHaveLength(2);
  });

  it('is right also when the lost commit arrives late, before or after the look', async () => {
    for (const later of [1, 5, 20, 40, 80]) {
      const { memory, journal } = makeSubject();
      memory.state.plan = planned({ lost: 'stored', later });
      const fault = await faultOf(journal.commit(draft({ requestId: 'mine' }), [someChange]));
      await new Promise((resolve) => setTimeout(resolve, 120));
      const stored = memory.order.some(({ record }) => record.requestId === 'mine');
      expect(stored, `after ${later} ms`).toBe(fault === undefined);
      expect(memory.state.applied.length).toBe(stored ? 1 : 0);
      expectSoundChains(memory);
    }
  });

  it('says that nobody knows when the database does not come back, and starts a new chain', async () => {
    const { memory, journal } = makeSubject();
    await journal.commit(draft(), []);
    memory.state.plan = planned('commit', { lost: 'stored' });
    memory.state.failHeads = true;
    const fault = await faultOf(journal.commit(draft(), []));
    expect(fault).toMatchObject({ code: 'audit-unavailable', uncertain: true, next: expect.stringContaining('before you repeat') });
    memory.state.failHeads = false;
    await journal.commit(draft(), []);
    expect([...memory.chains.keys()]).toEqual(['["node-1","boot-r"]', '["node-1","boot-r.2"]']);
    expectSoundChains(memory);
  });

  it('leaves a chain that somebody else writes under the same name', async () => {
    const memory = makeMemoryAudit();
    const one = makeSubject({}, memory).journal;
    const two = makeSubject({}, memory).journal;
    await one.commit(draft(), []);
    expect(await two.commit(draft(), [])).toBeUndefined();
    await one.commit(draft(), []);
    expect(memory.order).toHaveLength(3);
    expectSoundChains(memory);
  });

  it('acknowledges exactly what is stored, whatever fails when', async () => {
    const plans: readonly CommitPlan[] = [
      'commit',
      { fail: '57014' },
      { fail: '40001' },
      { lost: 'stored' },
      { lost: 'not-stored' },
      { unreachable: true },
      { lost: 'stored', later: 15 },
    ];
    for (let seed = 1; seed <= 25; seed += 1) {
      const { memory, journal } = makeSubject({ maxGroup: 4 });
      let random = seed * 7919;
      memory.state.plan = () => {
        random = (random * 48271) % 2147483647;
        return plans[random % plans.length] as CommitPlan;
      };
      const acknowledged: string[] = [];
      const refused: string[] = [];
      const call = async (requestId: string) => {
        const fault = await faultOf(journal.commit(draft({ requestId }), requestId.endsWith('c') ? [someChange] : []));
        if (fault?.uncertain !== true) (fault === undefined ? acknowledged : refused).push(requestId);
      };
      for (let wave = 0; wave < 4; wave += 1)
        await Promise.all(Array.from({ length: 6 }, (_, index) => call(`${wave}-${index}${index % 2 === 0 ? 'c' : 'r'}`)));
      memory.state.plan = () => 'commit';
      await new Promise((resolve) => setTimeout(resolve, 30));
      const stored = memory.order.map(({ record }) => record.requestId);
      expect(new Set(stored.filter((id) => id !== 'audit-recovery')).size).toBe(stored.filter((id) => id !== 'audit-recovery').length);
      expect(
        acknowledged.filter((id) => !stored.includes(id)),
        `seed ${seed}`,
      ).toEqual([]);
      expect(
        refused.filter((id) => stored.includes(id)),
        `seed ${seed}`,
      ).toEqual([]);
      expectSoundChains(memory);
      expect(journal.health().pending).toBe(0);
    }
  });
});
