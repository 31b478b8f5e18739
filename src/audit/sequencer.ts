import { setImmediate as turn } from 'node:timers/promises';
import type { AuditCheckpoint } from '../domain/index.js';
import type { AuditStore, ClusterStore } from '../storage/ports.js';
import type { ChainHead } from './chain.js';
import { makeCheckpointSigner, type SignCheckpoint } from './checkpoint.js';
import { appendLeaves, isTreeState, type TreeState, treeRoot } from './merkle.js';

export interface SequencerOptions {
  readonly audit: Pick<AuditStore, 'treeState' | 'unsequenced' | 'fold' | 'foldedHeads' | 'checkpoints' | 'saveCheckpoint'>;
  readonly cluster: Pick<ClusterStore, 'exclusively'>;
  /** Signs with the log's key in the root of trust. */
  readonly sign: SignCheckpoint;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
  /** Pause between rounds; default 1 s. */
  readonly intervalMs?: number;
  /** A checkpoint is due after so many new leaves (at most every 5 s) … default 10,000. */
  readonly checkpointEveryRecords?: number;
  /** … or when the oldest leaf without one has waited so long; default 10 s. */
  readonly checkpointEveryMs?: number;
  /** Leaves folded in one transaction; default 1000. */
  readonly batch?: number;
  /** Operator log; never gets record contents. */
  readonly log?: { warn(details: object, message: string): void };
}

interface SequencerHealth {
  readonly state: 'ok' | 'degraded';
  readonly detail?: string;
  /** `at` of the newest checkpoint this node has made or seen. */
  readonly lastCheckpointAt?: number;
}

export interface Sequencer {
  start(): void;
  /** Ends after the running round. */
  stop(): Promise<void>;
  /** One round: fold what is committed, publish a checkpoint when due (or `force`). False when another node is at it. */
  round(force?: boolean): Promise<boolean>;
  health(): SequencerHealth;
}

const LOCK = 'audit-sequencer';
/** Up to so many chains every checkpoint names all; beyond, those that moved since one last named them, and the youngest. */
const USUAL_HEADS = 64;
/** Under load a checkpoint is not worth its row more often than this. */
const MIN_SPACING_MS = 5000;
const MAX_BATCHES_PER_ROUND = 50;
const LEAVES_PER_TURN = 128;
/** How far back the newest checkpoint is looked for, step by step, before all are read. */
const LOOK_BACK_MS = [3_600_000, 86_400_000, 30 * 86_400_000] as const;

/** The newest checkpoint without reading a year of them. */
const newestCheckpoint = async (audit: Pick<AuditStore, 'checkpoints'>, now: number): Promise<AuditCheckpoint | undefined> => {
  const newest = (found: readonly AuditCheckpoint[]): AuditCheckpoint | undefined =>
    found.reduce<AuditCheckpoint | undefined>(
      (best, next) => (best === undefined || next.treeSize >= best.treeSize ? next : best),
      undefined,
    );
  for (const back of LOOK_BACK_MS) {
    const found = newest(await audit.checkpoints(now - back));
    if (found !== undefined) return found;
  }
  return newest(await audit.checkpoints());
};

const chainName = (head: { readonly node: string; readonly boot: string }): string => JSON.stringify([head.node, head.boot]);

/**
 * Which heads a checkpoint names: every one that no checkpoint has named where it stands now, filled up with the youngest.
 * So the newest checkpoint that names a chain always tells its head, however many chains years of restarts have left.
 */
export const selectHeads = (heads: readonly ChainHead[], named: ReadonlyMap<string, number>): readonly ChainHead[] => {
  if (heads.length <= USUAL_HEADS) return heads;
  const moved = heads.filter((head) => named.get(chainName(head)) !== head.sequence);
  const chosen = new Set([...moved, ...heads].slice(0, Math.max(USUAL_HEADS, moved.length)));
  return heads.filter((head) => chosen.has(head));
};

/** A thousand leaves are milliseconds of hashing: calls get their turn in between. */
const appendInTurns = async (state: TreeState, leaves: readonly { readonly hash: string }[]): Promise<TreeState> => {
  let next = state;
  for (let from = 0; from < leaves.length; from += LEAVES_PER_TURN) {
    if (from > 0) await turn();
    next = appendLeaves(
      next,
      leaves.slice(from, from + LEAVES_PER_TURN).map((leaf) => Buffer.from(leaf.hash, 'hex')),
    );
  }
  return next;
};

/** Appends what is committed to the tree; stops when nothing is left or another node holds the tree. */
const foldAll = async (audit: SequencerOptions['audit'], batch: number): Promise<TreeState> => {
  let state: TreeState = await audit.treeState();
  if (!isTreeState(state)) throw new Error('the stored Merkle tree state is damaged; run `aegis audit verify` and restore from a backup');
  for (let round = 0; round < MAX_BATCHES_PER_ROUND; round += 1) {
    const leaves = await audit.unsequenced(batch);
    if (leaves.length === 0) break;
    const next = await appendInTurns(state, leaves);
    if (!(await audit.fold(leaves, next))) break;
    state = next;
  }
  return state;
};

/**
 * Folds committed records into the one tree and signs checkpoints over it. All state is in the database, so it may be killed
 * anywhere: a fold is one transaction, and a checkpoint that was not saved is simply made in the next round.
 */
export const makeSequencer = (options: SequencerOptions): Sequencer => {
  const { audit, cluster } = options;
  const clock = options.clock ?? Date.now;
  const intervalMs = options.intervalMs ?? 1000;
  const everyRecords = options.checkpointEveryRecords ?? 10_000;
  const everyMs = options.checkpointEveryMs ?? 10_000;
  const signCheckpoint = makeCheckpointSigner(options.sign);
  const named = new Map<string, number>();
  let last: AuditCheckpoint | undefined;
  let problem: string | undefined;
  let uncoveredSince: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<unknown> = Promise.resolve();
  let stopped = true;

  /** A stored tree that contradicts what was signed must not be signed over: that would hide the damage. */
  const checkAgainstLast = (state: TreeState): void => {
    if (last === undefined || state.size > last.treeSize) return;
    if (state.size < last.treeSize)
      throw new Error('the stored Merkle tree is smaller than the last checkpoint says; records were removed');
    if (treeRoot(state) !== last.rootHash) throw new Error('the stored Merkle tree is not the one the last checkpoint was signed over');
  };

  const adopt = (checkpoint: AuditCheckpoint): void => {
    last = checkpoint;
    uncoveredSince = undefined;
    for (const head of checkpoint.heads) named.set(chainName(head), head.sequence);
  };

  const isDue = (state: TreeState, now: number): boolean => {
    const uncovered = state.size - (last?.treeSize ?? 0);
    const waited = now - (uncoveredSince ?? now);
    return waited >= everyMs || (uncovered >= everyRecords && (last === undefined || now - last.at >= Math.min(MIN_SPACING_MS, everyMs)));
  };

  const publish = async (state: TreeState, force: boolean): Promise<void> => {
    const now = clock();
    // Another node may have published meanwhile; the newest decides what is due.
    if (last === undefined || state.size > last.treeSize) {
      const newest = await newestCheckpoint(audit, now);
      if (newest !== undefined && newest.treeSize > (last?.treeSize ?? 0)) adopt(newest);
    }
    checkAgainstLast(state);
    if (state.size <= (last?.treeSize ?? 0)) return;
    uncoveredSince ??= now;
    if (!force && !isDue(state, now)) return;
    const heads = await audit.foldedHeads();
    // Every leaf belongs to a chain: when the sum differs, another node has folded since (its lock took ours), so not this round.
    if (heads.reduce((sum, head) => sum + head.sequence, 0) !== state.size)
      throw new Error('tree and chains disagree on the number of folded records; another node may be folding');
    const at = Math.max(now, last?.at ?? 0);
    const checkpoint = await signCheckpoint({ treeSize: state.size, rootHash: treeRoot(state), at, heads: selectHeads(heads, named) });
    await audit.saveCheckpoint(checkpoint);
    adopt(checkpoint);
  };

  const roundNow = async (force: boolean): Promise<boolean> => {
    const done = await cluster.exclusively(LOCK, async () => {
      await publish(await foldAll(audit, options.batch ?? 1000), force);
      return true;
    });
    problem = undefined;
    return done === true;
  };

  /** One at a time in this process: a lock of the same session would let both in. */
  let tail: Promise<unknown> = Promise.resolve();
  const round = (force = false): Promise<boolean> => {
    const next = tail.then(() => roundNow(force));
    tail = next.catch(() => undefined);
    return next;
  };

  const guarded = async (): Promise<void> => {
    try {
      await round();
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      if (problem === undefined) options.log?.warn({ cause }, 'audit checkpoints are delayed; records stay durable and chained');
      problem = `No checkpoint can be published: ${cause}. Records stay durable and chained; it is tried again.`;
    }
  };

  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      running = guarded().then(schedule);
    }, intervalMs);
    timer.unref();
  };

  return {
    start: () => {
      if (!stopped) return;
      stopped = false;
      schedule();
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await running;
      await tail;
    },
    round,
    health: () => ({
      state: problem === undefined ? 'ok' : 'degraded',
      ...(problem === undefined ? {} : { detail: problem }),
      ...(last === undefined ? {} : { lastCheckpointAt: last.at }),
    }),
  };
};
