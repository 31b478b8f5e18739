import { randomBytes } from 'node:crypto';
import type { BatchItem } from '@aegis/kmip-ttlv';
import { refuse } from './contract.js';

// Requests whose answer is fetched later (KMIP 1.4 §4.27 and §6.7, 2.1 §6.1.38): bounded, and each belongs to the principal that made it.

export type ProcessingStage = 'Submitted' | 'InProcess' | 'Completed';

export interface AsyncRequest {
  readonly correlation: Uint8Array;
  readonly operation: string;
  /** ms since 1970. */
  readonly submittedAt: number;
  readonly stage: ProcessingStage;
  /** A Poll has had the answer. */
  readonly obtained: boolean;
  readonly answer?: BatchItem;
}

export interface AsyncRequests {
  /** Puts the items of one batch in line; `run` is called for each in order. Answers their correlation values. */
  submit(owner: string, operations: readonly string[], run: (index: number) => Promise<BatchItem>): Uint8Array[];
  /** Nothing where the owner has no such request. */
  find(owner: string, correlation: Uint8Array): AsyncRequest | undefined;
  obtained(owner: string, correlation: Uint8Array): void;
  cancel(owner: string, correlation: Uint8Array): 'Canceled' | 'UnableToCancel' | 'Completed' | 'Unavailable';
  list(owner: string): readonly AsyncRequest[];
  /** Resolves when the request is completed. */
  completed(owner: string, correlation: Uint8Array): Promise<void>;
  size(): number;
  /** Drops what waits; what runs ends by itself. */
  close(): void;
}

interface Entry {
  owner: string;
  correlation: Uint8Array;
  operation: string;
  submittedAt: number;
  stage: ProcessingStage;
  obtained: boolean;
  canceled: boolean;
  answer: BatchItem | undefined;
  completedAt: number | undefined;
  readonly waiters: (() => void)[];
}

export interface AsyncOptions {
  /** Requests kept for one owner. */
  readonly perOwner: number;
  /** … and for all of them. */
  readonly total?: number;
  /** Batches that run at once. */
  readonly running?: number;
  readonly keepMs: number;
  readonly clock?: () => number;
}

const CORRELATION_BYTES = 16;
const keyOf = (correlation: Uint8Array): string => Buffer.from(correlation).toString('hex');
const CANCELED: BatchItem = {
  fields: { ResultStatus: 'OperationFailed', ResultReason: 'OperationCanceledByRequester', ResultMessage: 'The request was canceled.' },
};

export function makeAsyncRequests(options: AsyncOptions): AsyncRequests {
  const clock = options.clock ?? Date.now;
  const entries = new Map<string, Entry>();
  const line: (() => Promise<void>)[] = [];
  let running = 0;

  const expire = (): void => {
    const before = clock() - options.keepMs;
    for (const [key, entry] of entries) if (entry.completedAt !== undefined && entry.completedAt <= before) entries.delete(key);
  };
  const complete = (entry: Entry, answer: BatchItem): void => {
    entry.answer = answer;
    entry.stage = 'Completed';
    entry.completedAt = clock();
    for (const waiter of entry.waiters.splice(0)) waiter();
  };
  const pump = (): void => {
    while (running < (options.running ?? 64)) {
      const next = line.shift();
      if (next === undefined) return;
      running += 1;
      void next().finally(() => {
        running -= 1;
        pump();
      });
    }
  };
  /** What was obtained makes room first; a client that never polls is told to. */
  const makeRoom = (owner: string, count: number): void => {
    expire();
    const own = [...entries].filter(([, entry]) => entry.owner === owner);
    let excess = own.length + count - options.perOwner;
    for (const [key, entry] of own) {
      if (excess <= 0) break;
      if (!entry.obtained) continue;
      entries.delete(key);
      excess -= 1;
    }
    if (excess > 0 || entries.size + count > (options.total ?? 10_000))
      throw refuse('ServerLimitExceeded', 'Too many asynchronous requests are outstanding. Poll or Cancel some first.');
  };
  const owned = (owner: string, correlation: Uint8Array): Entry | undefined => {
    expire();
    const entry = entries.get(keyOf(correlation));
    return entry?.owner === owner ? entry : undefined;
  };

  return {
    submit(owner, operations, run) {
      makeRoom(owner, operations.length);
      const made = operations.map((operation): Entry => {
        const entry: Entry = {
          ...{ owner, correlation: new Uint8Array(randomBytes(CORRELATION_BYTES)), operation, submittedAt: clock(), stage: 'Submitted' },
          ...{ obtained: false, canceled: false, answer: undefined, completedAt: undefined, waiters: [] },
        };
        entries.set(keyOf(entry.correlation), entry);
        return entry;
      });
      line.push(async () => {
        for (const [index, entry] of made.entries()) {
          if (entry.canceled) continue;
          entry.stage = 'InProcess';
          complete(entry, await run(index));
        }
      });
      pump();
      return made.map((entry) => entry.correlation);
    },
    find: (owner, correlation) => owned(owner, correlation) as AsyncRequest | undefined,
    obtained(owner, correlation) {
      const entry = owned(owner, correlation);
      if (entry !== undefined) entry.obtained = true;
    },
    cancel(owner, correlation) {
      const entry = owned(owner, correlation);
      if (entry === undefined) return 'Unavailable';
      if (entry.stage === 'Completed') return entry.canceled ? 'Canceled' : 'Completed';
      if (entry.stage === 'InProcess') return 'UnableToCancel';
      entry.canceled = true;
      complete(entry, CANCELED);
      return 'Canceled';
    },
    list(owner) {
      expire();
      return [...entries.values()].filter((entry) => entry.owner === owner && !entry.obtained) as AsyncRequest[];
    },
    completed(owner, correlation) {
      const entry = owned(owner, correlation);
      if (entry === undefined || entry.stage === 'Completed') return Promise.resolve();
      return new Promise((resolve) => entry.waiters.push(resolve));
    },
    size: () => entries.size,
    close: () => {
      line.length = 0;
    },
  };
}
