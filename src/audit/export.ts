import type { AuditCheckpoint, AuditFilter, AuditRecord } from '../domain/index.js';
import type { AuditStore, ChainedRecord } from '../storage/ports.js';
import { canonicalJson } from './canonical.js';
import {
  checkpointLine,
  EXPORT_FORMAT,
  EXPORT_VERSION,
  headerLine,
  leavesLine,
  makeLineDigest,
  omittedLine,
  recordLine,
} from './export-format.js';
import { chainKey } from './signed-facts.js';

export interface ExportOptions {
  readonly audit: Pick<AuditStore, 'stream' | 'checkpoints' | 'leaves'>;
  readonly tenant: string;
  readonly filter: AuditFilter;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const LEAVES_PER_LINE = 500;
const HASHES_PER_LINE = 500;
const MAX_CHECKPOINTS = 1000;
/**
 * `at` is when a call began and its place in the chain is when it ended, so a range of time is not a range of the chain.
 * Links this much outside the range are read too and shown as hashes; they usually reach to a signed head.
 */
const TIME_SLACK_MS = 15 * 60_000;

/** Same meaning as the store's filter (src/storage): actor, parent and resource by id, times inclusive. */
export const matchesFilter = (record: AuditRecord, filter: AuditFilter): boolean =>
  (filter.actor === undefined || record.actor.id === filter.actor) &&
  (filter.parent === undefined || record.actor.parentId === filter.parent) &&
  (filter.action === undefined || record.action === filter.action) &&
  (filter.operation === undefined || record.operation === filter.operation) &&
  (filter.resource === undefined || record.resource?.id === filter.resource) &&
  (filter.outcome === undefined || record.outcome === filter.outcome) &&
  (filter.requestId === undefined || record.requestId === filter.requestId) &&
  (filter.plane === undefined || record.plane === filter.plane) &&
  (filter.since === undefined || record.at >= filter.since) &&
  (filter.until === undefined || record.at <= filter.until);

/** At most MAX_CHECKPOINTS: the newest, for every chain the last that names it (its signed end), and an even choice of the rest. */
export const selectCheckpoints = (all: readonly AuditCheckpoint[]): readonly AuditCheckpoint[] => {
  const ordered = [...all].sort((a, b) => a.treeSize - b.treeSize || a.at - b.at);
  if (ordered.length <= MAX_CHECKPOINTS) return ordered;
  const lastOfChain = new Map<string, AuditCheckpoint>();
  for (const checkpoint of ordered) for (const head of checkpoint.heads) lastOfChain.set(chainKey(head), checkpoint);
  const needed = new Set([...lastOfChain.values(), ordered.at(-1)]);
  const step = Math.ceil(ordered.length / MAX_CHECKPOINTS);
  return ordered.filter((checkpoint, index) => needed.has(checkpoint) || index % step === 0);
};

const readCheckpoints = async (options: ExportOptions): Promise<readonly AuditCheckpoint[]> => {
  const { since, until } = options.filter;
  const found = await options.audit.checkpoints(since === undefined ? undefined : since - TIME_SLACK_MS);
  return selectCheckpoints(until === undefined ? found : found.filter((checkpoint) => checkpoint.at <= until + TIME_SLACK_MS));
};

async function* leafLines(audit: ExportOptions['audit'], size: number): AsyncGenerator<string> {
  for (let from = 0; from < size; ) {
    const hashes = await audit.leaves(from, Math.min(LEAVES_PER_LINE, size - from));
    if (hashes.length === 0) return;
    yield leavesLine(from, hashes);
    from += hashes.length;
  }
}

interface Counts {
  records: number;
  omitted: number;
}

/** Record and omitted lines of a stream that is in chain order. */
async function* linkLines(
  stream: AsyncIterable<ChainedRecord>,
  isShown: (record: AuditRecord) => boolean,
  complete: boolean,
  counts: Counts,
): AsyncGenerator<string> {
  let chain = '';
  let last = 0;
  let started = false;
  let run: { node: string; boot: string; from: number; hashes: string[] } | undefined;
  const flush = (): string[] => {
    const line = run === undefined ? [] : [omittedLine(run)];
    counts.omitted += run?.hashes.length ?? 0;
    run = undefined;
    return line;
  };
  for await (const { record, chain: link, canonical } of stream) {
    const key = chainKey(link);
    if (key !== chain) {
      yield* flush();
      chain = key;
      started = complete;
      last = link.sequence - 1;
    }
    const shown = isShown(record);
    started ||= shown;
    if (started && link.sequence > last + 1) {
      // The store's time range cut a piece out of the chain.
      yield* flush();
      if (!complete) yield omittedLine({ node: link.node, boot: link.boot, from: last + 1, to: link.sequence - 1 });
    }
    last = link.sequence;
    if (!started) continue;
    if (shown) {
      yield* flush();
      counts.records += 1;
      yield recordLine(link, canonical);
    } else {
      run ??= { node: link.node, boot: link.boot, from: link.sequence, hashes: [] };
      run.hashes.push(link.hash);
      if (run.hashes.length >= HASHES_PER_LINE) yield* flush();
    }
  }
  yield* flush();
}

/**
 * The lines of a verifiable export. Records of other tenants, and those that the filter leaves out, appear as bare hashes, so
 * that chains and tree can still be checked. Checkpoints and leaves are read before the records: what they cover is in the stream.
 */
export async function* exportLines(options: ExportOptions): AsyncGenerator<string> {
  const { audit, filter, tenant } = options;
  const complete = filter.since === undefined && filter.until === undefined;
  const digest = makeLineDigest();
  const checkpoints = await readCheckpoints(options);
  yield digest.add(headerLine({ format: EXPORT_FORMAT, version: EXPORT_VERSION, tenant, filter, complete, exportedAt: options.now }));
  for (const checkpoint of checkpoints) yield digest.add(checkpointLine(checkpoint));
  if (complete) for await (const line of leafLines(audit, checkpoints.at(-1)?.treeSize ?? 0)) yield digest.add(line);
  const counts: Counts = { records: 0, omitted: 0 };
  const stream = audit.stream({
    ...(filter.since === undefined ? {} : { since: filter.since - TIME_SLACK_MS }),
    ...(filter.until === undefined ? {} : { until: filter.until + TIME_SLACK_MS }),
  });
  const isShown = (record: AuditRecord): boolean => record.tenant === tenant && matchesFilter(record, filter);
  for await (const line of linkLines(stream, isShown, complete, counts)) yield digest.add(line);
  yield canonicalJson({ trailer: digest.trailer({ ...counts, checkpoints: checkpoints.length }) });
}
