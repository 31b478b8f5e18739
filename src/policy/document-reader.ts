import type { PolicyStore } from '../storage/ports.js';
import { BUILTIN } from './builtin.js';
import type { Rule } from './compile.js';
import { BUILTIN_ONLY, type TenantPolicy } from './decide.js';
import { makePolicyDirectory } from './directory.js';
import { type HeldDocument, holdDocument, type SourceDocument, toTenantPolicy } from './document-set.js';
import { makeLock, makeSerial } from './serial.js';

const HISTORY_DEPTH = 20;

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

export interface ReaderOptions {
  readonly store: PolicyStore;
  readonly clock?: () => number;
  readonly directory?: string;
  readonly onProblem?: (problem: string) => void;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300);
const keyOf = (tenant: string, name: string): string => `${tenant}\u0000${name}`;
export const rulesOf = (documents: readonly HeldDocument[]): readonly Rule[] => documents.flatMap(({ good }) => good?.document.rules ?? []);

/** Documents of every origin, and the tenants' indexes made of them. */
export const makeLibrary = (store: PolicyStore) => {
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
export type Library = ReturnType<typeof makeLibrary>;

/** Reads documents from store and directory into the library, and tells what is wrong with them. */
export const makeReader = (options: ReaderOptions, library: Library) => {
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

  const exclusively = makeLock();
  const begin = (): Promise<void> =>
    exclusively(async () => {
      await readStore();
      await readDirectory();
      await applyAll();
    });
  // The directory is polled by the clock alone: two polls in quick succession would take half a file for a settled one.
  const reload = makeSerial(() =>
    exclusively(async () => {
      await readStore();
      await applyAll();
    }),
  );
  const pollDirectory = makeSerial(() =>
    exclusively(async () => {
      const before = fromDirectory;
      await readDirectory();
      const changed = before.length !== fromDirectory.length || before.some((d, i) => d !== fromDirectory[i]);
      if (changed) await applyAll();
      else tellProblems();
    }),
  );
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
  return { begin, reload, pollDirectory, status };
};
