import type { AuditRecord, Change, Fault } from '../domain/index.js';
import type { AuditStore, ChainedRecord, JournalStore } from '../storage/ports.js';
import { canonicalRecord } from './canonical.js';
import { type ChainHead, genesis, linkRecord } from './chain.js';
import { failureKind, isDataError, isTransient } from './commit-failure.js';
import { asFailed } from './redaction.js';

/** A record that can be stored as it is, its RFC 8785 text, and the changes that go with it. */
export interface Entry {
  readonly record: AuditRecord;
  readonly canonical: string;
  readonly changes: readonly Change[];
}

export interface ChainWriterOptions {
  readonly store: JournalStore;
  readonly audit: Pick<AuditStore, 'heads'>;
  readonly node: string;
  /** Name of the chain; one that has to be given up is followed by `boot.2`, `boot.3`, … */
  readonly boot: string;
  /** How long callers wait to learn what became of a commit whose answer was lost. */
  readonly settleMs: number;
  /** The record that takes the place of a group that was lost; it also proves that the group can't appear any more. */
  readonly fenceRecord: (lost: number) => AuditRecord;
}

export type Attempt =
  | { readonly kind: 'committed'; readonly faults: readonly (Fault | undefined)[] }
  /** `rolled-back`: nothing of the group is stored and nothing will be. `unknown`: it may be. */
  | { readonly kind: 'rolled-back' | 'unknown'; readonly error: unknown };

/** The only writer of one chain; one call at a time. The head in memory never runs ahead of the chain that is stored. */
export interface ChainWriter {
  commit(entries: readonly Entry[]): Promise<Attempt>;
  /** True while it finds out about a commit whose answer was lost. */
  settling(): boolean;
  chain(): string;
}

interface Placed {
  readonly records: readonly ChainedRecord[];
  readonly faults: readonly (Fault | undefined)[];
  readonly head: ChainHead;
}

const MAX_TRANSIENT_RETRIES = 4;
const FIRST_DELAY_MS = 25;
const MAX_DELAY_MS = 1000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const headOf = ({ chain }: ChainedRecord): ChainHead => ({
  node: chain.node,
  boot: chain.boot,
  sequence: chain.sequence,
  hash: chain.hash,
});

/** Places a group after `from`; an entry whose changes did not take is recorded as failed. */
const placeGroup = (from: ChainHead, entries: readonly Entry[], faults: readonly (Fault | undefined)[]): Placed => {
  let head = from;
  const records = entries.map((entry, index) => {
    const fault = faults[index];
    const placed = fault === undefined ? linkRecord(head, entry.record, entry.canonical) : linkRecord(head, asFailed(entry.record, fault));
    head = headOf(placed);
    return placed;
  });
  return { records, faults, head };
};

export const failedEntry = (entry: Entry, fault: Fault): Entry => {
  const record = asFailed(entry.record, fault);
  return { record, canonical: canonicalRecord(record), changes: [] };
};

export const makeChainWriter = (options: ChainWriterOptions): ChainWriter => {
  const { store, node } = options;
  let generation = 1;
  let head = genesis(node, options.boot);
  let settling = false;

  const startNewChain = (): void => {
    generation += 1;
    head = genesis(node, `${options.boot}.${generation}`);
  };

  const storedHead = async (chain: ChainHead): Promise<ChainHead> =>
    (await options.audit.heads()).find((link) => link.node === node && link.boot === chain.boot) ?? genesis(node, chain.boot);

  const attempt = async (entries: readonly Entry[]): Promise<Attempt> => {
    const sent: { placed?: Placed } = {};
    try {
      await store.commitGroup(entries, (faults) => {
        sent.placed = placeGroup(head, entries, faults);
        return sent.placed.records;
      });
    } catch (error) {
      // Before the store asked for records none was on its way: whatever happened, nothing is stored.
      if (sent.placed === undefined || failureKind(error) === 'rolled-back') return { kind: 'rolled-back', error };
      return settle(sent.placed, error);
    }
    if (sent.placed === undefined) throw new Error('the store committed a group without asking for its records');
    head = sent.placed.head;
    return { kind: 'committed', faults: sent.placed.faults };
  };

  /** One look at the stored head, and a fence where the group is not there (yet). */
  const look = async (lost: Placed, before: ChainHead, fences: Map<string, ChainHead>): Promise<'group' | 'fence' | 'foreign'> => {
    const stored = await storedHead(before);
    if (stored.hash === lost.head.hash) return 'group';
    const known = fences.get(stored.hash);
    if (known !== undefined) {
      head = known;
      return 'fence';
    }
    if (stored.hash !== before.hash) return 'foreign';
    const fence = linkRecord(before, options.fenceRecord(lost.records.length));
    fences.set(fence.chain.hash, headOf(fence));
    await store.commitGroup([{ changes: [] }], () => [fence]);
    head = headOf(fence);
    return 'fence';
  };

  /**
   * The answer to a commit was lost. Either the stored head is the group's (it is durable), or it is still the one before:
   * then a fence record in the same place decides, because only one of the two can ever be committed there.
   */
  const settle = async (lost: Placed, error: unknown): Promise<Attempt> => {
    const before = head;
    const fences = new Map<string, ChainHead>();
    const deadline = performance.now() + options.settleMs;
    settling = true;
    try {
      for (let delay = FIRST_DELAY_MS; performance.now() < deadline; delay = Math.min(delay * 2, MAX_DELAY_MS)) {
        const verdict = await look(lost, before, fences).catch(() => 'later' as const);
        if (verdict === 'fence') return { kind: 'rolled-back', error };
        if (verdict === 'group') {
          head = lost.head;
          return { kind: 'committed', faults: lost.faults };
        }
        if (verdict === 'foreign') break;
        await pause(Math.min(delay, Math.max(0, deadline - performance.now())));
      }
    } finally {
      settling = false;
    }
    startNewChain();
    return { kind: 'unknown', error };
  };

  /** Whether the stored chain is not the one in memory (another process under the same names): then leave it to the other. */
  const leftForkedChain = async (): Promise<boolean> => {
    const stored = await storedHead(head).catch(() => head);
    if (stored.hash === head.hash) return false;
    startNewChain();
    return true;
  };

  const commit = async (entries: readonly Entry[]): Promise<Attempt> => {
    let mayMove = true;
    for (let retry = 0; ; retry += 1) {
      const result = await attempt(entries);
      if (result.kind !== 'rolled-back') return result;
      if (isDataError(result.error) && mayMove && (await leftForkedChain())) {
        mayMove = false;
        continue;
      }
      if (!isTransient(result.error) || retry >= MAX_TRANSIENT_RETRIES) return result;
      await pause(2 ** retry * 5 + Math.random() * 10);
    }
  };

  return { commit, settling: () => settling, chain: () => head.boot };
};
