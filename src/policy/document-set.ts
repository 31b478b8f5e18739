import type { PolicyDocument } from '../domain/index.js';
import { BUILTIN } from './builtin.js';
import { type CompiledDocument, compilePolicy } from './compile.js';
import { BUILTIN_ONLY, type TenantPolicy } from './decide.js';
import { makeStatementIndex } from './statement-index.js';

/** A document as it was read from somewhere: the store, or a file. */
export interface SourceDocument {
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
  readonly mode: PolicyDocument['mode'];
  readonly source: string;
}

/** A document as it is held: its last good form, and what is wrong with the newest. */
export interface HeldDocument {
  readonly read: SourceDocument;
  /** Decides until something better comes. Absent: this document could never be read. */
  readonly good: { readonly document: CompiledDocument; readonly mode: PolicyDocument['mode']; readonly version: number } | undefined;
  readonly problem: string | undefined;
}

const firstProblem = (problems: readonly { readonly line: number; readonly reason: string }[]): string => {
  const [first] = problems;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return first === undefined ? 'unreadable' : `line ${first.line}: ${first.reason}${more}`;
};

/**
 * Takes a newly read document in. A broken one never replaces the last good one; where this process has none (it has just
 * started), `older` is asked for earlier versions, newest first.
 */
export const holdDocument = async (
  previous: HeldDocument | undefined,
  read: SourceDocument,
  older: () => Promise<readonly SourceDocument[]>,
): Promise<HeldDocument> => {
  const same =
    previous !== undefined &&
    previous.read.source === read.source &&
    previous.read.version === read.version &&
    previous.read.mode === read.mode;
  if (same && previous.good !== undefined) return previous;
  const compiled = await compilePolicy(read.name, read.source);
  if (compiled.document !== undefined)
    return { read, good: { document: compiled.document, mode: read.mode, version: read.version }, problem: undefined };
  const problem = `policy ${read.tenant}/${read.name} version ${read.version}: ${firstProblem(compiled.problems)}`;
  return { read, good: previous?.good ?? (await lastGood(read, older)), problem };
};

const lastGood = async (read: SourceDocument, older: () => Promise<readonly SourceDocument[]>): Promise<HeldDocument['good']> => {
  for (const candidate of await older().catch(() => [])) {
    if (candidate.version >= read.version) continue;
    const { document } = await compilePolicy(candidate.name, candidate.source);
    if (document !== undefined) return { document, mode: candidate.mode, version: candidate.version };
  }
  return undefined;
};

/** Everything that applies in one tenant, as one index. The tenant's own statements are named before the built-in ones. */
export const toTenantPolicy = (documents: readonly HeldDocument[]): TenantPolicy => {
  const inMode = (mode: PolicyDocument['mode']) => documents.flatMap(({ good }) => (good?.mode === mode ? good.document.rules : []));
  // A dry-run document decides nothing, so losing it opens nothing.
  const lost = documents.find(({ good, read }) => good === undefined && read.mode === 'enforce');
  const enforced = inMode('enforce');
  const tried = inMode('dry-run');
  if (enforced.length === 0 && tried.length === 0 && lost === undefined) return BUILTIN_ONLY;
  return {
    index: enforced.length === 0 ? BUILTIN_ONLY.index : makeStatementIndex([...enforced, ...BUILTIN.rules]),
    dryRun: tried.length === 0 ? undefined : makeStatementIndex(tried),
    locked:
      lost === undefined
        ? undefined
        : `policy document ${lost.read.name} can't be read and has no earlier good version; until it is replaced or deleted, only policies, audit and status are open to those the built-in roles allow`,
  };
};
