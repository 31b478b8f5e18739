import type { Fault, PolicyDecision, PolicyExplanation } from '../domain/index.js';
import type { Journal, PolicyEngine, PolicyQuestion } from '../guard/ports.js';
import type { ClusterStore, PolicyStore, SettingStore } from '../storage/ports.js';
import { BUILTIN, BUILTIN_NAME } from './builtin.js';
import type { CompiledDocument } from './compile.js';
import { decide, limitUses, type TenantPolicy } from './decide.js';
import { type Library, makeLibrary, makeReader, messageOf, type PolicyStatus, rulesOf } from './document-reader.js';
import { type SourceDocument, toTenantPolicy } from './document-set.js';
import { explain } from './explain.js';
import { type LimitUse, makeLimiter } from './limiter.js';
import { type Limit, parseRate } from './limits.js';
import { makeJournalSnapshots, type QuotaSnapshots } from './quota-snapshots.js';
import { makeSerial } from './serial.js';

/** A runaway client's ceiling rather than a fair share; statements set real limits. */
const DEFAULT_PRINCIPAL_RATE = '20000/s';
const DEFAULT_DIRECTORY_POLL_MS = 2000;
const DEFAULT_QUOTA_SAVE_MS = 30_000;
/** After a failed read of the store: how long until the next. */
const RETRY_MS = 1000;
/** Changes that arrive closer together than this are read together. */
const SETTLE_MS = 50;

export interface PolicyEngineOptions {
  readonly store: PolicyStore;
  /** Where changes of other nodes are heard of. */
  readonly cluster?: Pick<ClusterStore, 'onChange'>;
  readonly clock?: () => number;
  /** Directory of `*.yaml`, `*.yml` and `*.json` documents for the tenant `default`, beside those of the store. */
  readonly directory?: string;
  readonly directoryPollMs?: number;
  /** `COUNT/UNIT` per principal and node, over all actions; null for none. */
  readonly defaultRate?: string | null;
  /** Nodes that share a quota; each enforces its part. Default 1. */
  readonly nodes?: () => number;
  readonly maxCounters?: number;
  /** Both given: quota counts survive restarts, in a setting of this node. */
  readonly settings?: SettingStore;
  readonly journal?: Pick<Journal, 'commit'>;
  readonly nodeId?: string;
  readonly quotaSaveMs?: number;
  /** Every problem with a document, and every failure to read them, once. */
  readonly onProblem?: (problem: string) => void;
}

/** A document that might replace, join (`undefined` now) or leave (`document: null`) those of a tenant. */
interface PolicyChange {
  readonly tenant: string;
  readonly name: string;
  readonly document: CompiledDocument | null;
}

export interface RunningPolicyEngine extends PolicyEngine {
  /** Reads store and directory again; resolves when what they hold now decides. Rejects when the store can't be read. */
  reload(): Promise<void>;
  /** Of the node; with a tenant, naming that tenant's broken documents. Safe to show without authentication where no tenant is given. */
  status(tenant?: string): PolicyStatus;
  /** The answer that a question would get after a change. */
  decideAfter(change: PolicyChange, question: PolicyQuestion): PolicyDecision;
  explain(question: PolicyQuestion, candidate?: CompiledDocument): PolicyExplanation;
  /** Statements of a tenant's own documents. */
  statements(tenant: string): number;
  close(): Promise<void>;
}

/** The tenant's documents as they would be after a change. */
const after = (library: Library, { tenant, name, document }: PolicyChange): TenantPolicy => {
  const others = library.documentsOf(tenant).filter((d) => d.read.name !== name);
  if (document === null) return toTenantPolicy(others);
  const read: SourceDocument = { tenant, name, version: 0, mode: 'enforce', source: '' };
  return toTenantPolicy([...others, { read, good: { document, mode: 'enforce', version: 0 }, problem: undefined }]);
};

const explainWith = (library: Library, question: PolicyQuestion, candidate: CompiledDocument | undefined): PolicyExplanation => {
  const rules = [...(candidate?.rules ?? []), ...rulesOf(library.documentsOf(question.tenant)), ...BUILTIN.rules];
  const { principal, parent } = question;
  const own = explain(rules, question);
  if (principal.kind !== 'agent' || parent === undefined) return { considered: own };
  const { parent: _, ...rest } = question;
  return { considered: [...own, ...explain(rules, { ...rest, principal: parent }, `for ${parent.name}: `)] };
};

const defaultLimit = (rate: string | null | undefined): Limit | undefined => {
  if (rate === null) return undefined;
  const text = rate ?? DEFAULT_PRINCIPAL_RATE;
  const parsed = parseRate(text);
  if (!parsed.ok) throw new Error(`the default rate \`${text}\` ${parsed.reason}`);
  return { kind: 'rate', ...parsed.value, per: ['principal'], text };
};

/** Keeps reading in the background: on changes of the cluster, on time for the directory, again after a failure. */
const watch = (options: PolicyEngineOptions, reader: ReturnType<typeof makeReader>): (() => void) => {
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const later = (ms: number): void => {
    if (timer !== undefined || closed) return;
    timer = setTimeout(() => {
      timer = undefined;
      reader.reload().catch(() => later(RETRY_MS));
    }, ms);
    timer.unref();
  };
  options.cluster?.onChange((_epoch, changes) => {
    if (changes === undefined || changes.policies) later(SETTLE_MS);
  });
  const poll =
    options.directory === undefined
      ? undefined
      : setInterval(
          () => void reader.pollDirectory().catch(() => later(RETRY_MS)),
          options.directoryPollMs ?? DEFAULT_DIRECTORY_POLL_MS,
        ).unref();
  return () => {
    closed = true;
    clearTimeout(timer);
    clearInterval(poll);
  };
};

/** Saves quota counts from time to time, when they changed. */
const keepQuotas = (
  snapshots: QuotaSnapshots,
  limiter: ReturnType<typeof makeLimiter>,
  options: PolicyEngineOptions,
): { readonly stop: () => Promise<void> } => {
  const clock = options.clock ?? Date.now;
  let saved = '';
  const save = async (): Promise<void> => {
    const counts = limiter.quotas(clock());
    const text = JSON.stringify(counts);
    if (text === saved || (counts.length === 0 && saved === '')) return;
    await snapshots.save(counts);
    saved = text;
  };
  const saveOrTell = makeSerial(() => save().catch((error) => options.onProblem?.(`quota counts can't be saved: ${messageOf(error)}`)));
  const timer = setInterval(() => void saveOrTell(), options.quotaSaveMs ?? DEFAULT_QUOTA_SAVE_MS).unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await saveOrTell();
    },
  };
};

const snapshotsOf = (options: PolicyEngineOptions): QuotaSnapshots | undefined => {
  const { settings, journal } = options;
  if (settings === undefined || journal === undefined) return undefined;
  return makeJournalSnapshots({ settings, journal, nodeId: options.nodeId ?? 'node', clock: options.clock ?? Date.now });
};

/**
 * Loads every document and decides by them from then on. Rejects when they can't be read at the start: a node that doesn't
 * know what is forbidden must not serve.
 */
export const makePolicyEngine = async (options: PolicyEngineOptions): Promise<RunningPolicyEngine> => {
  const clock = options.clock ?? Date.now;
  const library = makeLibrary(options.store);
  const limiter = makeLimiter({
    ...(options.maxCounters === undefined ? {} : { maxEntries: options.maxCounters }),
    ...(options.nodes === undefined ? {} : { nodes: options.nodes }),
  });
  const cap = defaultLimit(options.defaultRate);
  const reader = makeReader(options, library);
  const snapshots = snapshotsOf(options);
  await reader.begin();
  if (snapshots !== undefined) limiter.restore(await snapshots.load(), clock());
  const quotaKeeper = snapshots === undefined ? undefined : keepQuotas(snapshots, limiter, options);
  const unwatch = watch(options, reader);

  const limit = (question: PolicyQuestion, decision: PolicyDecision): Fault | undefined => {
    if (decision.effect !== 'allow') return undefined;
    const uses = limitUses(decision);
    const capped = cap !== undefined && question.authentication.method !== 'internal';
    if (!capped) return uses === undefined || uses.length === 0 ? undefined : limiter.take(uses, question);
    const capUse: LimitUse = { label: `${BUILTIN_NAME}/default-rate`, limit: cap, principalId: question.principal.id };
    return limiter.take(uses === undefined ? [capUse] : [...uses, capUse], question);
  };
  return {
    decide: (question) => decide(library.policyOf(question.tenant), question),
    limit,
    reload: reader.reload,
    status: reader.status,
    decideAfter: (change, question) => decide(after(library, change), question),
    explain: (question, candidate) => explainWith(library, question, candidate),
    statements: (tenant) => rulesOf(library.documentsOf(tenant)).length,
    close: async () => {
      unwatch();
      await quotaKeeper?.stop();
    },
  };
};
