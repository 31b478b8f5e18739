import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditCheckpoint, AuditFilter } from '../../src/domain/index.js';
import type { AuditStore, Storage } from '../../src/storage/ports.js';
import { makeChainWriter, NOW } from './samples.js';
import { type TestStorage, withTestStorage } from './test-database.js';

let context: TestStorage;
let storage: Storage;
let audit: AuditStore;
beforeAll(async () => {
  context = await withTestStorage();
  storage = context.storage;
  audit = storage.audit;
});
afterAll(() => context.close());

const fold = async (limit: number) => {
  const before = await audit.treeState();
  const leaves = await audit.unsequenced(limit);
  expect(await audit.fold(leaves, { size: before.size + leaves.length, peaks: [`p${before.size + leaves.length}`] })).toBe(true);
  return leaves;
};

describe('records', () => {
  test('are listed newest first by every filter, page by page, per tenant', async () => {
    const writer = makeChainWriter(storage);
    const made: Record<string, unknown>[] = [];
    for (let index = 0; index < 60; index += 1)
      made.push({
        id: randomUUID(),
        tenant: index % 4 === 0 ? 'globex' : 'acme',
        at: NOW + Math.floor(index / 3),
        actor: { kind: 'agent', id: `actor-${index % 3}`, name: 'n', method: 'token', ...(index % 2 === 0 ? { parentId: 'ada' } : {}) },
        operation: index % 2 === 0 ? 'sign' : 'encrypt',
        action: index % 2 === 0 ? 'keys:sign' : 'keys:encrypt',
        ...(index % 5 === 0 ? {} : { resource: { type: 'key', id: `key-${index % 5}`, name: 'zero \0' } }),
        outcome: index % 7 === 0 ? 'refused' : 'success',
        requestId: `request-${index}`,
        plane: index % 3 === 0 ? 'kmip' : 'rest',
        detail: { index },
      });
    for (let at = 0; at < 60; at += 20)
      await writer.commit(
        Array.from({ length: 20 }, () => []),
        (_, index) => made[at + index] as object,
      );
    const indices = async (tenant: string | undefined, filter: AuditFilter, limit = 7): Promise<number[]> => {
      const seen: number[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await audit.list(tenant, filter, { limit, ...(cursor === undefined ? {} : { cursor }) });
        seen.push(...page.items.map((record) => record.detail?.['index'] as number));
        cursor = page.next;
        if (cursor === undefined) return seen;
      }
    };
    const want = (test: (index: number) => boolean) => Array.from({ length: 60 }, (_, index) => 59 - index).filter((index) => test(index));
    const acme = (index: number) => index % 4 !== 0;
    expect(await indices(undefined, {})).toEqual(want(() => true));
    expect(await indices('acme', {})).toEqual(want(acme));
    expect(await indices('globex', {})).toEqual(want((index) => !acme(index)));
    expect(await indices('nobody', {})).toEqual([]);
    const cases: [AuditFilter, (index: number) => boolean][] = [
      [{ actor: 'actor-1' }, (index) => index % 3 === 1],
      [{ parent: 'ada' }, (index) => index % 2 === 0],
      [{ action: 'keys:sign' }, (index) => index % 2 === 0],
      [{ operation: 'encrypt' }, (index) => index % 2 === 1],
      [{ resource: 'key-2' }, (index) => index % 5 === 2],
      [{ outcome: 'refused' }, (index) => index % 7 === 0],
      [{ requestId: 'request-17' }, (index) => index === 17],
      [{ plane: 'kmip' }, (index) => index % 3 === 0],
      [{ since: NOW + 5, until: NOW + 9 }, (index) => index >= 15 && index < 30],
      [{ actor: 'actor-1', outcome: 'success', since: NOW + 1 }, (index) => index % 3 === 1 && index % 7 !== 0 && index >= 3],
      [{ actor: "x' OR '1'='1" }, () => false],
    ];
    for (const [filter, test] of cases)
      expect(await indices('acme', filter), JSON.stringify(filter)).toEqual(want((index) => acme(index) && test(index)));
    const { items } = await audit.list('acme', { requestId: 'request-17' }, { limit: 1 });
    expect(items[0]).toMatchObject({ ...made[17], chain: { node: 'node-1', sequence: 18 } });
  });

  test('stream gives whole chains in order, whose hashes hold', async () => {
    const other = makeChainWriter(storage, 'node-2');
    for (let group = 0; group < 4; group += 1)
      await other.commit(
        Array.from({ length: 300 }, () => []),
        () => ({ detail: { text: 'ü "quotes" \\ \u2028 line\nfeed' } }),
      );
    const heads = new Map<string, { sequence: number; hash: string }>();
    let count = 0;
    for await (const { record, chain, canonical } of audit.stream({})) {
      const key = `${chain.node} ${chain.boot}`;
      const head = heads.get(key) ?? {
        sequence: 0,
        hash: createHash('sha256').update(`aegis-audit-chain:${chain.node}:${chain.boot}`).digest('hex'),
      };
      expect(chain.sequence).toBe(head.sequence + 1);
      expect(chain.previous).toBe(head.hash);
      expect(
        createHash('sha256')
          .update(chain.previous + canonical)
          .digest('hex'),
      ).toBe(chain.hash);
      expect(record.chain).toEqual(chain);
      heads.set(key, chain);
      count += 1;
    }
    expect(count).toBe(1_260);
    expect(heads.get(`node-2 ${other.boot}`)).toMatchObject(other.head());
    expect((await audit.heads()).every((link) => link.node === 'node-1')).toBe(true);
    let acme = 0;
    for await (const { record } of audit.stream({ tenant: 'globex' })) {
      expect(record.tenant).toBe('globex');
      acme += 1;
    }
    expect(acme).toBe(15);
  });
});

describe('tree', () => {
  test('folds every record once, each chain in order, also what commits meanwhile', async () => {
    const writers = Array.from({ length: 3 }, () => makeChainWriter(storage, 'node-1'));
    expect(await audit.unsequencedCount()).toBe(1_260);
    const hashes: string[] = [];
    const last = new Map<string, number>();
    const check = (leaves: Awaited<ReturnType<typeof fold>>) => {
      for (const leaf of leaves) {
        const key = `${leaf.node} ${leaf.boot}`;
        expect(leaf.sequence).toBe((last.get(key) ?? 0) + 1);
        last.set(key, leaf.sequence);
        hashes.push(leaf.hash);
      }
    };
    let writing = true;
    const load = Promise.all(
      writers.map(async (writer, lane) => {
        for (let round = 0; writing && round < 50; round += 1) await writer.commit([[], []], () => ({ at: NOW + 100 - round * lane }));
      }),
    );
    for (let round = 0; round < 20; round += 1) check(await fold(97));
    writing = false;
    await load;
    for (;;) {
      const leaves = await fold(500);
      if (leaves.length === 0) break;
      check(leaves);
    }
    expect(await audit.unsequencedCount()).toBe(0);
    const state = await audit.treeState();
    expect(state).toEqual({ size: hashes.length, peaks: [`p${hashes.length}`] });
    const read: string[] = [];
    for (let from = 0; from < hashes.length; from += 113) read.push(...(await audit.leaves(from, 113)));
    expect(read).toEqual(hashes);
    expect(await audit.leaves(hashes.length, 10)).toEqual([]);
    expect(await audit.leaves(50, 1)).toEqual([hashes[50]]);
    const folded = await audit.foldedHeads();
    for (const writer of writers) expect(folded).toContainEqual({ node: writer.node, boot: writer.boot, ...writer.head() });
    expect(folded[0]?.boot).toBe(writers.map((writer) => writer.boot).find((boot) => boot === folded[0]?.boot));
  });

  test('a fold that was overtaken, or skips, changes nothing', async () => {
    const writer = makeChainWriter(storage);
    await writer.commit([[], [], []]);
    const before = await audit.treeState();
    const leaves = await audit.unsequenced(10);
    expect(leaves).toHaveLength(3);
    expect(await audit.fold(leaves, { size: before.size + 2, peaks: [] })).toBe(false);
    expect(await audit.fold(leaves.slice(1), { size: before.size + 2, peaks: [] })).toBe(false);
    expect(await audit.fold([leaves[0], leaves[2]] as typeof leaves, { size: before.size + 2, peaks: [] })).toBe(false);
    expect(await audit.treeState()).toEqual(before);
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => audit.fold(leaves, { size: before.size + 3, peaks: ['x'] })));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect((await audit.treeState()).size).toBe(before.size + 3);
  });

  test('checkpoints come back as they were signed, from a time on', async () => {
    const checkpoint = (treeSize: number, at: number): AuditCheckpoint => ({
      treeSize,
      at,
      rootHash: 'ab'.repeat(32),
      heads: [{ node: 'n', boot: 'b', sequence: 1, hash: 'cd' }],
      keyId: 'k',
      algorithm: 'ecdsa-sha256',
      signature: 'sig==',
      publicKey: 'pub==',
    });
    for (const [size, at] of [
      [3, 30],
      [1, 10],
      [2, 20],
    ] as const)
      await audit.saveCheckpoint(checkpoint(size, at));
    expect(await audit.checkpoints()).toEqual([checkpoint(1, 10), checkpoint(2, 20), checkpoint(3, 30)]);
    expect(await audit.checkpoints(20)).toEqual([checkpoint(2, 20), checkpoint(3, 30)]);
  });
});
