import type { Fault, PolicyDecision, PolicyExplanation } from '../domain/index.js';
import type { Journal, PolicyEngine, PolicyQuestion } from '../guard/ports.js';
import type { ClusterStore, PolicyStore, SettingStore } from '../storage/ports.js';
import { BUILTIN, BUILTIN_NAME } from './builtin.js';
import type { CompiledDocument, Rule } from './compile.js';
import { BUILTIN_ONLY, decide, limitUses, type TenantPolicy } from './decide.js';
import { makePolicyDirectory } from './directory.js';
import { type HeldDocument, holdDocument, type SourceDocument, toTenantPolicy } from './document-set.js';
import { explain } from './explain.js';
import { type LimitUse, makeLimiter } from './limiter.js';
import { type Limit, parseRate } from './limits.js';
import { makeJournalSnapshots, type QuotaSnapshots } from './quota-snapshots.js';

/** A runaway client's ceiling rather than a fair share; statements set real limits. */
export const DEFAULT_PRINCIPAL_RATE = '20000/s';
const DEFAULT_DIRECTORY_POLL_MS = 2000;
const DEFAULT_QUOTA_SAVE_MS = 30_000;
/** After a failed read of the store: how long until the next. */
const RETRY_MS = 1000;
/** Changes that arrive closer together than this are read together. */
const SETTLE_MS = 50;
const HISTORY_DEPTH = 20;

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

export interface PolicyStatus {
  readonly documents: number;
  readonly statements: number;
  readonly lastGoodAt?: number;
  /**
   * Set while something is wrong: the node is then degraded, deciding by what was last good. Names documents only to their
   * own tenant; everything is told to `onProblem`.
   */
  readonly problem?: string;
}

/** A document that might replace, join (`undefined` now) or leave (`document: null`) those of a tenant. */
export interface PolicyChange {
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

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300);
const keyOf = (tenant: string, name: string): string => `${tenant}\u0000${name}`;

/** Documents of every origin, and the tenants' indexes made of them. */
const makeLibrary = (store: PolicyStore) => {
  let held: ReadonlyMap<string, HeldDocument> = new Map();
  let tenants: ReadonlyMap<string, { readonly documents: readonly HeldDocument[]; readonly policy: TenantPolicy }> = new Map();

  const older = (read: SourceDocument) => async (): Promise<readonly SourceDocument[]> =>
    (await store.history(read.tenant, read.name, { limit: HISTORY_DEPTH })).items;

  /** Tenants whose documents didn't change keep their index. */
  const regroup = (): void => {
    const byTenant = new Map<string, HeldDocument[]>();
    for (const document of held.values()) {
      const list = byTenant.get(document.read.tenant);
      if (list === undefined) byTenant.set(document.read.tenant, [document]);
      else list.push(document);
    }
    const next = new Map<string, { documents: readonly HeldDocument[]; policy: TenantPolicy }>();
    for (const [tenant, documents] of byTenant) {
      const before = tenants.get(tenant);
      const same = before?.documents.length === documents.length && documents.every((d, i) => d === before.documents[i]);
      next.set(tenant, same && before !== undefined ? before : { documents, policy: toTenantPolicy(documents) });
    }
    tenants = next;
  };

  return {
    apply: async (read: readonly SourceDocument[]): Promise<void> => {
      const next = new Map<string, HeldDocument>();
      for (const document of [...read].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const key = keyOf(document.tenant, document.name);
        next.set(key, await holdDocument(held.get(key), document, older(document)));
      }
      held = next;
      regroup();
    },
    policyOf: (tenant: string): TenantPolicy => tenants.get(tenant)?.policy ?? BUILTIN_ONLY,
    documentsOf: (tenant: string): readonly HeldDocument[] => tenants.get(tenant)?.documents ?? [],
    all: (): readonly HeldDocument[] => [...held.values()],
  };
};
type Library = ReturnType<typeof makeLibrary>;

const rulesOf = (documents: readonly HeldDocument[]): readonly Rule[] => documents.flatMap(({ good }) => good?.document.rules ?? []);

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

/** Runs one job at a time; a caller who comes during one gets the next, so that it sees what was true when it asked. */
const makeSerial = (job: () => Promise<void>): (() => Promise<void>) => {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    running = job().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (running === undefined) return start();
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  };
};

const defaultLimit = (rate: string | null | undefined): Limit | undefined => {
  if (rate === null) return undefined;
  const text = rate ?? DEFAULT_PRINCIPAL_RATE;
  const parsed = parseRate(text);
  if (!parsed.ok) throw new Error(`the default rate \`${text}\` ${parsed.reason}`);
  return { kind: 'rate', ...parsed.value, per: ['principal'], text };
};

/** Reads documents and keeps reading them. */
const makeReader = (options: PolicyEngineOptions, library: Library) => {
  const { store } = options;
  const clock = options.clock ?? Date.now;
  const directory = options.directory === undefined ? undefined : makePolicyDirectory(options.directory);
  let fromStore: readonly SourceDocument[] = [];
  let fromDirectory: readonly SourceDocument[] = [];
  let storeProblem: string | undefined;
  let directoryProblem: string | undefined;
  let lastGoodAt: number | undefined;
  let told: ReadonlySet<string> = new Set();
  let loaded = false;

  const problems = (): readonly string[] =>
    [storeProblem, directoryProblem, ...library.all().map((d) => d.problem)].filter((p) => p !== undefined);
  const tellProblems = (): void => {
    const now = problems();
    for (const problem of now) if (!told.has(problem)) options.onProblem?.(problem);
    told = new Set(now);
    if (now.length === 0) lastGoodAt = clock();
  };

  const readStore = async (): Promise<void> => {
    try {
      fromStore = await store.active();
      storeProblem = undefined;
    } catch (error) {
      storeProblem = `policies can't be read from the database: ${messageOf(error)}`;
      tellProblems();
      throw error;
    }
  };
  const readDirectory = async (): Promise<void> => {
    if (directory === undefined) return;
    try {
      fromDirectory = await directory.poll();
      directoryProblem = undefined;
    } catch (error) {
      directoryProblem = `policies can't be read from ${options.directory}: ${messageOf(error)}`;
      tellProblems();
      // Without a first reading nobody knows what the directory would forbid.
      if (!loaded) throw new Error(directoryProblem, { cause: error });
    }
  };
  const applyAll = async (): Promise<void> => {
    await library.apply([...fromStore, ...fromDirectory]);
    loaded = true;
    tellProblems();
  };

  const reload = makeSerial(async () => {
    await readStore();
    await readDirectory();
    await applyAll();
  });
  const pollDirectory = makeSerial(async () => {
    const before = fromDirectory;
    await readDirectory();
    const changed = before.length !== fromDirectory.length || before.some((d, i) => d !== fromDirectory[i]);
    if (changed) await reload();
    else tellProblems();
  });
  const status = (tenant?: string): PolicyStatus => {
    const documents = library.all();
    const broken = documents.filter((d) => d.problem !== undefined);
    const shown = [
      ...(storeProblem === undefined ? [] : ['policies can’t be read from the database; see the log']),
      ...(directoryProblem === undefined ? [] : ['policies can’t be read from their directory; see the log']),
      ...broken.flatMap((d) => (d.read.tenant === tenant && d.problem !== undefined ? [d.problem] : [])),
    ];
    const unnamed = broken.filter((d) => d.read.tenant !== tenant).length;
    if (unnamed > 0) shown.push(`${unnamed} policy document${unnamed === 1 ? '' : 's'} can’t be read; see the log`);
    return {
      documents: documents.length + 1,
      statements: rulesOf(documents).length + BUILTIN.rules.length,
      ...(lastGoodAt === undefined ? {} : { lastGoodAt }),
      ...(shown.length === 0 ? {} : { problem: shown.slice(0, 5).join('; ') }),
    };
  };
  return { reload, pollDirectory, status };
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
  await reader.reload();
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
