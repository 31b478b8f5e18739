/// <reference lib="es2024.string" />
import { Buffer } from 'node:buffer';
import {
  type AuditFilter,
  type AuditHealth,
  type AuditVerification,
  type AuthorizedCall,
  fail,
  type Handlers,
  type OperationResponse,
  type Planned,
} from '../domain/index.js';
import type { AuditStore } from '../storage/ports.js';
import { csvRows } from './csv.js';
import { exportLines } from './export.js';
import type { RunningJournal } from './journal.js';
import type { Sequencer } from './sequencer.js';
import { verifyStored } from './verify-stored.js';

export interface AuditHandlerParts {
  readonly audit: AuditStore;
  readonly journal: Pick<RunningJournal, 'health'>;
  readonly sequencer: Pick<Sequencer, 'health' | 'round'>;
}
export type AuditHandlers = Pick<Handlers, 'list-audit' | 'verify-audit' | 'audit-health' | 'export-audit'>;

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
const MAX_FILTER_TEXT = 256;
const MAX_WAITING_VERIFICATIONS = 4;
const CHUNK_BYTES = 64 * 1024;
const CHECKPOINT_WAIT_MS = 3000;
const TEXT_FILTERS = ['actor', 'parent', 'action', 'operation', 'resource', 'requestId', 'plane'] as const;
const OUTCOMES: readonly string[] = ['intent', 'success', 'refused', 'failed'];
/** More leaves behind than this and the sequencer is not keeping up. */
const MANY_UNSEQUENCED = 100_000;

const checkTime = (field: 'since' | 'until', value: number | undefined): void => {
  if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
    throw fail('invalid-field', 'A time is a whole number of milliseconds since 1970-01-01 UTC.', { field });
};

/** Only the members of a filter, checked; what a plane put beside them does not reach the store. */
const toFilter = (request: AuditFilter): AuditFilter => {
  const filter: { -readonly [F in keyof AuditFilter]: AuditFilter[F] } = {};
  for (const field of TEXT_FILTERS) {
    const value = request[field];
    if (value === undefined) continue;
    if (typeof value !== 'string' || value.length > MAX_FILTER_TEXT || !value.isWellFormed() || value.includes('\0'))
      throw fail('invalid-field', `A filter is a text of at most ${MAX_FILTER_TEXT} characters.`, { field });
    filter[field] = value;
  }
  if (request.outcome !== undefined) {
    if (!OUTCOMES.includes(request.outcome))
      throw fail('invalid-field', `The outcome is one of ${OUTCOMES.join(', ')}.`, { field: 'outcome' });
    filter.outcome = request.outcome;
  }
  checkTime('since', request.since);
  checkTime('until', request.until);
  if (request.since !== undefined) filter.since = request.since;
  if (request.until !== undefined) filter.until = request.until;
  return filter;
};

const toLimit = (limit: number | undefined): number => {
  if (limit === undefined) return DEFAULT_PAGE;
  if (!Number.isInteger(limit) || limit < 1) throw fail('invalid-field', `The limit is between 1 and ${MAX_PAGE}.`, { field: 'limit' });
  return Math.min(limit, MAX_PAGE);
};

async function* toChunks(texts: AsyncIterable<string>, lineEnd: string): AsyncGenerator<Uint8Array> {
  let parts: string[] = [];
  let size = 0;
  for await (const text of texts) {
    parts.push(text, lineEnd);
    size += text.length + lineEnd.length;
    if (size < CHUNK_BYTES) continue;
    yield Buffer.from(parts.join(''));
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.from(parts.join(''));
}

/** One verification at a time: each reads the whole log. */
const makeQueue = () => {
  let waiting = 0;
  let tail: Promise<unknown> = Promise.resolve();
  return async <T>(job: () => Promise<T>): Promise<T> => {
    if (waiting >= MAX_WAITING_VERIFICATIONS)
      throw fail('overloaded', 'Too many verifications of the log are waiting.', {
        next: 'Wait for one to end, or verify an export offline.',
      });
    waiting += 1;
    const run = tail.then(job, job);
    tail = run.catch(() => undefined);
    try {
      return await run;
    } finally {
      waiting -= 1;
    }
  };
};

const answer = <T>(response: T, detail?: Planned['detail']) => ({ response, changes: [], ...(detail === undefined ? {} : { detail }) });

/** What the log as a whole says of itself: the journal decides whether calls can go on, the sequencer only lags. */
export const auditHealth = async (parts: AuditHandlerParts): Promise<AuditHealth> => {
  const journal = parts.journal.health();
  const sequencer = parts.sequencer.health();
  const unsequenced = await parts.audit.unsequencedCount().catch(() => undefined);
  const lagging =
    unsequenced !== undefined && unsequenced > MANY_UNSEQUENCED ? `${unsequenced} records wait for the Merkle tree.` : undefined;
  const unreadable = unsequenced === undefined ? 'The audit tables cannot be read.' : undefined;
  const details = [journal.detail, unreadable, sequencer.detail, lagging].filter((text) => text !== undefined);
  const state = journal.state !== 'ok' ? journal.state : details.length > 0 ? 'degraded' : 'ok';
  return {
    ...{ state, pending: journal.pending, unsequenced: unsequenced ?? 0 },
    ...(details.length === 0 ? {} : { detail: details.join(' ') }),
    ...(journal.lastDurableAt === undefined ? {} : { lastDurableAt: journal.lastDurableAt }),
    ...(sequencer.lastCheckpointAt === undefined ? {} : { lastCheckpointAt: sequencer.lastCheckpointAt }),
  };
};

/** A checkpoint over everything up to now, so that what is exported is signed for; the export goes on without when it can't be had. */
const checkpointNow = async (sequencer: AuditHandlerParts['sequencer']): Promise<void> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CHECKPOINT_WAIT_MS);
  });
  await Promise.race([sequencer.round(true).catch(() => undefined), late]);
  clearTimeout(timer);
};

const exportChunks = (audit: AuditStore, call: AuthorizedCall<'export-audit'>): OperationResponse<'export-audit'> => {
  const filter = toFilter(call.request);
  const format = call.request.format ?? 'jsonl';
  if (format !== 'jsonl' && format !== 'csv') throw fail('invalid-field', 'The format is jsonl or csv.', { field: 'format' });
  if (format === 'csv') return { chunks: toChunks(csvRows(audit.stream({ ...filter, tenant: call.tenant })), '') };
  return { chunks: toChunks(exportLines({ audit, tenant: call.tenant, filter, now: call.now }), '\n') };
};

/** The audit operations. Every one of them sees the caller's own tenant only, the default tenant included. */
export const makeAuditHandlers = (parts: AuditHandlerParts): AuditHandlers => {
  const { audit } = parts;
  const inTurn = makeQueue();
  return {
    'list-audit': async (call) => {
      const { limit, cursor } = call.request;
      const page = { limit: toLimit(limit), ...(cursor === undefined ? {} : { cursor }) };
      return answer(await audit.list(call.tenant, toFilter(call.request), page));
    },
    'verify-audit': async (call) => {
      const { since } = call.request;
      checkTime('since', since);
      const options = { tenant: call.tenant, ...(since === undefined ? {} : { since }) };
      const result: AuditVerification = await inTurn(() => verifyStored(audit, options));
      return answer(result, { valid: result.valid, records: result.records, checkpoints: result.checkpoints });
    },
    'audit-health': async () => answer(await auditHealth(parts)),
    'export-audit': async (call) => {
      const response = exportChunks(audit, call);
      if (call.request.format !== 'csv') await checkpointNow(parts.sequencer);
      return answer(response, { format: call.request.format ?? 'jsonl' });
    },
  };
};
