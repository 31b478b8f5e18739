import { describe, expect, it } from 'vitest';
import { checkpointProblem } from '../../src/audit/checkpoint.js';
import { makeJournal } from '../../src/audit/journal.js';
import { appendLeaves, EMPTY_TREE, treeRoot } from '../../src/audit/merkle.js';
import { makeSequencer, type SequencerOptions, selectHeads } from '../../src/audit/sequencer.js';
import { verifyStored } from '../../src/audit/verify-stored.js';
import { databaseError, draft, makeMemoryAudit, makeSigner, someChange } from './memory-audit.js';

const makeSubject = (over: Partial<SequencerOptions> = {}) => {
  const memory = makeMemoryAudit();
  const journal = makeJournal({ store: memory.journal, audit: memory.audit, nodeId: 'node-1', bootId: 'boot', clock: Date.now });
  const clock = { now: 1_760_000_000_000 };
  const options = { audit: memory.audit, cluster: memory.cluster, sign: makeSigner().sign, clock: () => clock.now, ...over };
  const write = (count: number) =>
    Promise.all(Array.from({ length: count }, (_, index) => journal.commit(draft(), index % 3 === 0 ? [someChange] : [])));
  return { memory, journal, clock, options, write, sequencer: makeSequencer(options) };
};

describe('the sequencer', () => {
  it('folds everything committed and signs a checkpoint that names every head', async () => {
    const { memory, sequencer, write } = makeSubject();
    await write(10);
    await sequencer.round(true);
    const [checkpoint] = memory.checkpoints;
    expect(checkpoint).toMatchObject({ treeSize: 10, keyId: 'audit-key', algorithm: 'ecdsa-sha256' });
    expect(checkpoint?.heads.map((head) => [head.boot, head.sequence]).sort()).toEqual([
      ['boot-c', 4],
      ['boot-r', 6],
    ]);
    expect(checkpoint === undefined ? 'none' : checkpointProblem(checkpoint)).toBeUndefined();
    const entries = memory.leaves().map((hash) => Buffer.from(hash, 'hex'));
    expect(checkpoint?.rootHash).toBe(treeRoot(appendLeaves(EMPTY_TREE, entries)));
    expect(await verifyStored(memory.audit, { tenant: 'default' })).toMatchObject({ valid: true, records: 10, provenTreeSize: 10 });
  });

  it('waits until a checkpoint is due: time, or number but not too often', async () => {
    const { memory, sequencer, write, clock } = makeSubject({ checkpointEveryMs: 10_000, checkpointEveryRecords: 50 });
    await write(3);
    await sequencer.round();
    expect(memory.checkpoints).toHaveLength(0);
    clock.now += 10_000;
    await sequencer.round();
    expect(memory.checkpoints).toHaveLength(1);
    await write(60);
    clock.now += 1000;
    await sequencer.round();
    expect(memory.checkpoints).toHaveLength(1);
    clock.now += 4000;
    await sequencer.round();
    expect(memory.checkpoints.map((checkpoint) => checkpoint.treeSize)).toEqual([3, 63]);
    clock.now += 60_000;
    await sequencer.round();
    expect(memory.checkpoints).toHaveLength(2);
  });

  it.each(['failFold', 'failSave'] as const)('survives a kill before and after each step (%s)', async (step) => {
    for (const moment of ['before', 'after'] as const) {
      const { memory, sequencer, write, options } = makeSubject({ batch: 4 });
      await write(10);
      memory.state[step] = moment;
      await expect(sequencer.round(true)).rejects.toThrow();
      memory.state[step] = undefined;
      const successor = makeSequencer(options);
      await write(3);
      await successor.round(true);
      expect(memory.checkpoints.at(-1)).toMatchObject({ treeSize: 13 });
      expect(await verifyStored(memory.audit, { tenant: 'default' })).toMatchObject({ valid: true, records: 13, provenTreeSize: 13 });
      expect(await successor.round(true)).toBe(true);
    }
  });

  it('goes on folding while the root of trust can not sign, says so, and catches up', async () => {
    const signer = makeSigner();
    let down = true;
    const warnings: string[] = [];
    const { memory, sequencer, write } = makeSubject({
      intervalMs: 5,
      checkpointEveryMs: 0,
      sign: async (data) => {
        if (down) throw new Error('root unavailable');
        return signer.sign(data);
      },
      log: { warn: (_details, message) => void warnings.push(message) },
    });
    await write(5);
    sequencer.start();
    await expect.poll(() => sequencer.health().state).toBe('degraded');
    expect(sequencer.health().detail).toContain('root unavailable');
    expect(await memory.audit.unsequencedCount()).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(warnings).toHaveLength(1);
    down = false;
    await expect.poll(() => memory.checkpoints.length).toBe(1);
    await expect.poll(() => sequencer.health()).toMatchObject({ state: 'ok', lastCheckpointAt: expect.any(Number) });
    await sequencer.stop();
    const after = memory.checkpoints.length;
    await write(3);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(memory.checkpoints).toHaveLength(after);
  });

  it('signs again when the key was rotated, and never with a key the text does not name', async () => {
    const [first, second] = [makeSigner('key-1'), makeSigner('key-2')];
    let signer = first;
    const { memory, sequencer, write } = makeSubject({ sign: (data) => signer.sign(data) });
    await write(2);
    await sequencer.round(true);
    signer = second;
    await write(2);
    await sequencer.round(true);
    expect(memory.checkpoints.map((checkpoint) => checkpoint.keyId)).toEqual(['key-1', 'key-2']);
    for (const checkpoint of memory.checkpoints) expect(checkpointProblem(checkpoint)).toBeUndefined();
    expect((await verifyStored(memory.audit, { tenant: 'default' })).keyFingerprints).toHaveLength(2);
  });

  it('publishes nothing when the signature is not one', async () => {
    const signer = makeSigner();
    const { memory, sequencer, write } = makeSubject({
      sign: async (data) => ({ ...(await signer.sign(data)), signature: new Uint8Array(70) }),
    });
    await write(2);
    await expect(sequencer.round(true)).rejects.toThrow(/does not verify/);
    expect(memory.checkpoints).toHaveLength(0);
  });

  it('does not sign over a tree that was changed or cut since the last checkpoint', async () => {
    const { memory, sequencer, write } = makeSubject();
    await write(6);
    await sequencer.round(true);
    const leaves = [...memory.leaves()];
    memory.setTree([...leaves.slice(0, 5), '00'.repeat(32)]);
    await expect(sequencer.round(true)).rejects.toThrow(/not the one the last checkpoint/);
    memory.setTree(leaves.slice(0, 4));
    await expect(sequencer.round(true)).rejects.toThrow(/smaller than the last checkpoint/);
  });

  it('refuses a damaged tree state', async () => {
    const { memory, sequencer } = makeSubject();
    memory.audit.treeState = async () => ({ size: 7, peaks: ['00'.repeat(32)] });
    await expect(sequencer.round(true)).rejects.toThrow(/damaged/);
  });

  it('leaves the tree to the node that holds the lock', async () => {
    const { memory, write, options } = makeSubject();
    const sequencer = makeSequencer({ ...options, cluster: { exclusively: async () => undefined } });
    await write(3);
    expect(await sequencer.round(true)).toBe(false);
    expect(memory.checkpoints).toHaveLength(0);
  });

  it('two nodes in turn keep one tree', async () => {
    const { memory, write, options } = makeSubject();
    const other = makeSequencer({ ...options, sign: makeSigner('other').sign });
    const one = makeSequencer(options);
    for (let turn = 0; turn < 6; turn += 1) {
      await write(4);
      await (turn % 2 === 0 ? one : other).round(true);
    }
    expect(memory.checkpoints.map((checkpoint) => checkpoint.treeSize)).toEqual([4, 8, 12, 16, 20, 24]);
    expect(await verifyStored(memory.audit, { tenant: 'default' })).toMatchObject({ valid: true, records: 24, checkpoints: 6 });
  });

  it('names every chain that moved however many there are', () => {
    const heads = Array.from({ length: 300 }, (_, index) => ({ node: 'n', boot: `b${index}`, sequence: 5, hash: '00'.repeat(32) }));
    const named = new Map(heads.map((head) => [JSON.stringify([head.node, head.boot]), 5]));
    expect(selectHeads(heads, named)).toHaveLength(64);
    named.set(JSON.stringify(['n', 'b299']), 4);
    expect(selectHeads(heads, named).map((head) => head.boot)).toContain('b299');
    expect(selectHeads(heads, new Map())).toHaveLength(300);
    expect(selectHeads(heads.slice(0, 3), named)).toHaveLength(3);
  });

  it('reports a database that fails', async () => {
    const { memory, sequencer } = makeSubject({ intervalMs: 5 });
    memory.audit.unsequenced = async () => {
      throw databaseError('57P01');
    };
    sequencer.start();
    await expect.poll(() => sequencer.health().state).toBe('degraded');
    await sequencer.stop();
  });
});
