import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { genesisHash } from '../../src/audit/chain.js';
import { matchesFilter } from '../../src/audit/export.js';
import { appendLeaves, treeRoot } from '../../src/audit/merkle.js';
import type { AuditCheckpoint, AuditFilter, ChainLink, Change, Fault } from '../../src/domain/index.js';
import type { AuditDraft } from '../../src/guard/ports.js';
import type { AuditStore, ChainedRecord, ClusterStore, JournalStore } from '../../src/storage/ports.js';

/** What a test wants a commit to do, decided when the records are known. */
export type CommitPlan =
  | 'commit'
  /** The database answers with an error; nothing is stored. */
  | { readonly fail: string }
  /** The connection is gone: stored or not, the caller does not learn it; `later` = stored after that many ms. */
  | { readonly lost: 'stored' | 'not-stored'; readonly later?: number }
  /** Fails before the records are asked for. */
  | { readonly unreachable: true };

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const databaseError = (code: string): Error => Object.assign(new Error(`database says ${code}`), { code });
const keyOf = (link: { node: string; boot: string }): string => JSON.stringify([link.node, link.boot]);

/** In-memory store of the audit ports that refuses every record that does not continue its chain, as the real one does. */
export const makeMemoryAudit = (node = 'node-1') => {
  const chains = new Map<string, ChainedRecord[]>();
  const folded = new Map<string, number>();
  const order: ChainedRecord[] = [];
  const checkpoints: AuditCheckpoint[] = [];
  let leaves: string[] = [];
  let tree: { size: number; peaks: readonly string[] } = { size: 0, peaks: [] };
  const state = {
    plan: (_commit: number, _items: number): CommitPlan => 'commit',
    faultOf: (_change: Change): Fault | undefined => undefined,
    delayMs: 0,
    commits: 0,
    groups: [] as number[],
    applied: [] as Change[],
    failHeads: false,
    failFold: undefined as undefined | 'before' | 'after',
    failSave: undefined as undefined | 'before' | 'after',
  };

  const store = (records: readonly ChainedRecord[]): void => {
    const first = records[0] as ChainedRecord;
    const key = keyOf(first.chain);
    const chain = chains.get(key) ?? [];
    const last = chain.at(-1)?.chain;
    for (const [index, record] of records.entries()) {
      const previous = index === 0 ? last : records[index - 1]?.chain;
      if (record.chain.sequence !== (previous?.sequence ?? 0) + 1) throw databaseError('23505');
      if (record.chain.previous !== (previous?.hash ?? genesisHash(record.chain.node, record.chain.boot))) throw databaseError('23505');
    }
    chains.set(key, [...chain, ...records]);
    order.push(...records);
  };

  const journal: JournalStore = {
    commitGroup: async (items, chain) => {
      state.commits += 1;
      const plan = state.plan(state.commits, items.length);
      await wait(state.delayMs);
      if (plan !== 'commit' && 'unreachable' in plan) throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
      const faults = items.map((item) => item.changes.map(state.faultOf).find((fault) => fault !== undefined));
      const records = chain(faults);
      if (records.length !== items.length) throw new Error('a record per item');
      state.groups.push(items.length);
      const apply = () => {
        store(records);
        for (const [index, item] of items.entries()) if (faults[index] === undefined) state.applied.push(...item.changes);
      };
      if (plan === 'commit') {
        apply();
        return faults;
      }
      if ('fail' in plan) throw databaseError(plan.fail);
      if ('lost' in plan) {
        if (plan.lost === 'stored' && plan.later === undefined) apply();
        else if (plan.lost === 'stored')
          setTimeout(() => {
            try {
              apply();
            } catch {
              /* a fence was first: the database would refuse it too */
            }
          }, plan.later);
        throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
      }
      throw new Error('unreachable');
    },
  };

  const all = (): ChainedRecord[] => [...chains.keys()].sort().flatMap((key) => chains.get(key) ?? []);

  const audit: AuditStore = {
    list: async (tenant, filter, page) => ({
      items: [...order]
        .reverse()
        .map((row) => row.record)
        .filter((record) => (tenant === undefined || record.tenant === tenant) && matchesFilter(record, filter))
        .slice(0, page.limit),
    }),
    stream: async function* (filter: AuditFilter & { tenant?: string }) {
      for (const row of all())
        if ((filter.tenant === undefined || row.record.tenant === filter.tenant) && matchesFilter(row.record, filter)) yield row;
    },
    heads: async () => {
      if (state.failHeads) throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
      return [...chains.values()].flatMap((chain) => (chain.at(-1)?.chain.node === node ? [chain.at(-1)?.chain as ChainLink] : []));
    },
    unsequenced: async (limit) =>
      order
        .filter((row) => row.chain.sequence > (folded.get(keyOf(row.chain)) ?? 0))
        .slice(0, limit)
        .map((row) => ({
          id: row.record.id,
          hash: row.chain.hash,
          node: row.chain.node,
          boot: row.chain.boot,
          sequence: row.chain.sequence,
        })),
    fold: async (next, nextState) => {
      if (state.failFold === 'before') throw databaseError('57P01');
      if (tree.size !== nextState.size - next.length) return false;
      leaves = [...leaves, ...next.map((leaf) => leaf.hash)];
      tree = nextState;
      for (const leaf of next) folded.set(keyOf(leaf), leaf.sequence);
      if (state.failFold === 'after') throw databaseError('57P01');
      return true;
    },
    treeState: async () => tree,
    foldedHeads: async () =>
      [...folded].reverse().map(([key, sequence]) => {
        const link = (chains.get(key) ?? [])[sequence - 1]?.chain as ChainLink;
        return { node: link.node, boot: link.boot, sequence, hash: link.hash };
      }),
    leaves: async (from, limit) => leaves.slice(from, from + limit),
    saveCheckpoint: async (checkpoint) => {
      if (state.failSave === 'before') throw databaseError('57P01');
      checkpoints.push(checkpoint);
      if (state.failSave === 'after') throw databaseError('57P01');
    },
    checkpoints: async (since) => checkpoints.filter((checkpoint) => since === undefined || checkpoint.at >= since),
    unsequencedCount: async () => order.length - tree.size,
  };
  const cluster: Pick<ClusterStore, 'exclusively'> = { exclusively: async (_name, job) => job() };

  return {
    ...{ journal, audit, cluster, state, chains, order, checkpoints },
    all,
    /** Overwrites the stored tree, as somebody who owns the database could. */
    setTree: (hashes: readonly string[]) => {
      leaves = [...hashes];
      tree = appendLeaves(
        { size: 0, peaks: [] },
        hashes.map((hash) => Buffer.from(hash, 'hex')),
      );
      return treeRoot(tree);
    },
    leaves: () => leaves,
  };
};
export type MemoryAudit = ReturnType<typeof makeMemoryAudit>;

/** A P-256 key that signs checkpoints, in the place of the root of trust. */
export const makeSigner = (keyId = 'audit-key') => {
  const { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return {
    pem: publicKey.export({ format: 'pem', type: 'spki' }) as string,
    sign: async (data: Uint8Array) => ({
      keyId,
      algorithm: 'ecdsa-sha256',
      signature: createSign('sha256').update(data).sign(privateKey),
      publicKey: new Uint8Array(spki),
    }),
  };
};

let calls = 0;
export const draft = (over: Partial<AuditDraft> = {}): AuditDraft => {
  calls += 1;
  return {
    ...{
      tenant: 'default',
      at: 1_760_000_000_000 + calls,
      plane: 'rest',
      requestId: `req-${calls}`,
      operation: 'sign',
      action: 'keys:sign',
    },
    actor: { kind: 'human', id: 'p-1', name: 'Ada', method: 'token', credentialId: 't-1' },
    resource: { type: 'private-key', id: 'k-1', name: 'invoice' },
    outcome: 'success',
    ...over,
  };
};

export const someChange: Extract<Change, { kind: 'put-setting' }> = { kind: 'put-setting', tenant: 'default', name: 'x', value: 1 };
export const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};
export async function* linesOf(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}
