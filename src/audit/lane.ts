import { type Fault, type FaultError, fail } from '../domain/index.js';
import { type Attempt, type ChainWriter, type ChainWriterOptions, type Entry, failedEntry, makeChainWriter } from './chain-writer.js';
import { failureDetail, isDataError, toUnavailable } from './commit-failure.js';
import { GATHER_MS, makeGathering } from './gathering.js';

/** One call's share of a group and what becomes of its caller. */
export interface LaneItem extends Entry {
  /** Estimate, for the bounds of groups and of the queue. */
  readonly bytes: number;
  settle(fault: Fault | undefined): void;
  reject(error: FaultError): void;
}

export interface LaneOptions extends ChainWriterOptions {
  readonly clock: () => number;
  readonly maxGroup: number;
  readonly maxGroupBytes: number;
}

interface LaneStatus {
  readonly failing?: string;
  readonly settling: boolean;
  readonly lastDurableAt?: number;
  readonly chain: string;
}

export interface Lane {
  enqueue(item: LaneItem): void;
  /** Resolves when nothing is queued or being committed. */
  idle(): Promise<void>;
  /** Rejects everything queued; the running group ends by itself. */
  abandon(error: FaultError): void;
  status(): LaneStatus;
}

type Failure = Exclude<Attempt, { kind: 'committed' }>;

/** One item alone; when its own data is what the database refuses, the call is recorded as failed, without its changes. */
const commitAlone = async (writer: ChainWriter, item: LaneItem): Promise<Attempt> => {
  const attempt = await writer.commit([item]);
  if (attempt.kind !== 'rolled-back' || !isDataError(attempt.error) || item.changes.length === 0) return attempt;
  const { fault } = fail('internal', 'The database refused this change; nothing was done.');
  const recorded = await writer.commit([failedEntry(item, fault)]);
  return recorded.kind === 'committed' ? { kind: 'committed', faults: [fault] } : recorded;
};

/** One chain and the queue before it: while a group commits the next one gathers. */
export const makeLane = (options: LaneOptions): Lane => {
  const writer = makeChainWriter(options);
  let queue: LaneItem[] = [];
  let running = false;
  let failing: string | undefined;
  let lastDurableAt: number | undefined;
  const idleWaiters: (() => void)[] = [];
  const gathering = makeGathering();
  /** Set while a group waits for more. */
  let arrived: (() => void) | undefined;

  const finish = (items: readonly LaneItem[], faults: readonly (Fault | undefined)[]): void => {
    failing = undefined;
    lastDurableAt = options.clock();
    for (const [index, item] of items.entries()) item.settle(faults[index]);
  };

  const abandon = (error: FaultError): void => {
    for (const item of queue.splice(0)) item.reject(error);
  };

  const giveUp = (items: readonly LaneItem[], failure: Failure): void => {
    failing = failureDetail(failure.error);
    const error = toUnavailable(failure.error, failure.kind === 'unknown');
    for (const item of items) item.reject(error);
    // Whoever waits behind would only run into the same wall, one time-out after the other; nothing of theirs was sent.
    abandon(toUnavailable(failure.error, false));
  };

  /** One item's bad data must not harm the rest of its group. */
  const commitSingly = async (items: readonly LaneItem[]): Promise<void> => {
    for (const [index, item] of items.entries()) {
      const single = await commitAlone(writer, item);
      if (single.kind === 'committed') finish([item], single.faults);
      else if (isDataError(single.error)) item.reject(toUnavailable(single.error, false));
      else return giveUp(items.slice(index), single);
    }
  };

  const commitGroup = async (items: readonly LaneItem[]): Promise<void> => {
    if (items.length === 0) return;
    if (items.length === 1) return commitSingly(items);
    const attempt = await writer.commit(items);
    if (attempt.kind === 'committed') finish(items, attempt.faults);
    else if (isDataError(attempt.error)) await commitSingly(items);
    else giveUp(items, attempt);
  };

  const takeGroup = (): readonly LaneItem[] => {
    let bytes = 0;
    let count = 0;
    for (const item of queue) {
      bytes += item.bytes;
      if (count >= options.maxGroup || (count > 0 && bytes > options.maxGroupBytes)) break;
      count += 1;
    }
    const group = queue.slice(0, count);
    queue = queue.slice(count);
    return group;
  };

  /** Ends when `goal` calls are queued, or soon. */
  const gather = async (goal: number): Promise<void> => {
    const before = queue.length;
    const reached = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        arrived = undefined;
        resolve(false);
      }, GATHER_MS);
      arrived = () => {
        if (queue.length < goal) return;
        clearTimeout(timer);
        arrived = undefined;
        resolve(true);
      };
    });
    gathering.waited(reached, before, queue.length);
  };

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      const goal = Math.min(gathering.goal(queue.length), options.maxGroup);
      if (goal > queue.length) await gather(goal);
      const group = takeGroup();
      // A throw is not expected; caught, because otherwise the callers of the group would wait for ever.
      await commitGroup(group).catch((error: unknown) => giveUp(group, { kind: 'unknown', error }));
      gathering.answered(group.length + queue.length);
    }
    running = false;
    for (const resolve of idleWaiters.splice(0)) resolve();
  };

  return {
    enqueue: (item) => {
      queue.push(item);
      arrived?.();
      if (running) return;
      running = true;
      // Lets every call that arrived in this turn of the event loop into the first group.
      setImmediate(() => void run());
    },
    idle: () => (running ? new Promise((resolve) => idleWaiters.push(resolve)) : Promise.resolve()),
    abandon,
    status: () => ({
      settling: writer.settling(),
      chain: writer.chain(),
      ...(failing === undefined ? {} : { failing }),
      ...(lastDurableAt === undefined ? {} : { lastDurableAt }),
    }),
  };
};
