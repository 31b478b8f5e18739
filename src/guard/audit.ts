import { type Change, type Fault, FaultError } from '../domain/index.js';
import { bareDraft, finalDraft } from './draft.js';
import { AUDIT_UNAVAILABLE, compensate } from './operation.js';
import type { AuditDraft, GuardParts } from './ports.js';
import { type CallState, reportProblem, type Stage } from './stage.js';

const DEFAULT_AUDIT_TIMEOUT_MS = 30_000;
const NO_CHANGES: readonly Change[] = [];

const UNCERTAIN: Fault = {
  code: 'audit-unavailable',
  message: 'The audit log did not answer in time; the call may or may not have taken effect.',
  next: 'Read the object’s state before you repeat the call.',
  uncertain: true,
};

const LATE = Symbol('late');

interface Wait {
  readonly until: number;
  readonly end: (late: typeof LATE) => void;
}

/**
 * Waits with the same bound, in the order they began. One timer for the oldest instead of one for each: every call waits
 * here, and hardly any ever waits in vain.
 */
const makeBound = (timeoutMs: number) => {
  const waits = new Set<Wait>();
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    timer = undefined;
    const now = performance.now();
    for (const wait of waits) {
      if (wait.until > now) {
        timer = setTimeout(look, wait.until - now);
        return;
      }
      waits.delete(wait);
      wait.end(LATE);
    }
  };
  return <T>(work: Promise<T>): Promise<T | typeof LATE> =>
    new Promise((resolve, reject) => {
      const wait: Wait = { until: performance.now() + timeoutMs, end: resolve };
      waits.add(wait);
      timer ??= setTimeout(look, timeoutMs);
      const done = (): void => {
        waits.delete(wait);
        // Nothing to wait for: a process that ends is not kept by this.
        if (waits.size === 0) {
          clearTimeout(timer);
          timer = undefined;
        }
      };
      work.then(
        (value) => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          reject(error);
        },
      );
    });
};

const bounds = new Map<number, ReturnType<typeof makeBound>>();

/** Waits for the commit at most `timeoutMs`. Not raced against the caller: a record on its way decides what the answer is. */
const withinBound = <T>(work: Promise<T>, timeoutMs: number): Promise<T | typeof LATE> => {
  let bound = bounds.get(timeoutMs);
  if (bound === undefined) {
    bound = makeBound(timeoutMs);
    bounds.set(timeoutMs, bound);
  }
  return bound(work);
};

const isUncertain = (error: unknown): boolean => error instanceof FaultError && error.fault.uncertain === true;

/** Durable together, or not at all. Returns the fault that the store gave instead of success. */
const commit = async (state: CallState, parts: GuardParts, draft: AuditDraft): Promise<Fault | undefined> => {
  const planned = state.fault === undefined ? state.planned : undefined;
  try {
    const answer = await withinBound(
      parts.journal.commit(draft, planned?.changes ?? NO_CHANGES),
      parts.auditTimeoutMs ?? DEFAULT_AUDIT_TIMEOUT_MS,
    );
    if (answer === LATE) {
      reportProblem(state, parts, 'audit', new Error('the journal did not answer in time'));
      return UNCERTAIN;
    }
    if (answer !== undefined) await compensate(state, parts, planned);
    return answer;
  } catch (error) {
    reportProblem(state, parts, 'audit', error);
    if (isUncertain(error)) return UNCERTAIN;
    await compensate(state, parts, planned);
    return AUDIT_UNAVAILABLE;
  }
};

/** The outside effect that had to wait for durability. The call has succeeded already: its failure is the reaper's work. */
const runAfterCommit = async (state: CallState, parts: GuardParts): Promise<void> => {
  try {
    await state.planned?.afterCommit?.();
  } catch (error) {
    reportProblem(state, parts, 'after-commit', error);
  }
};

/** A plan that the call can't keep (it was refused meanwhile) is undone before the record says so. */
const dropPlan = async (state: CallState, parts: GuardParts): Promise<void> => {
  const { planned } = state;
  state.planned = undefined;
  await compensate(state, parts, planned);
};

/** The record must exist even when what a plan wants in it can't be built. */
const draftOf = (state: CallState, parts: GuardParts): AuditDraft | Promise<AuditDraft> => {
  try {
    return finalDraft(state);
  } catch (error) {
    reportProblem(state, parts, 'audit', error);
    return dropPlan(state, parts).then(() => bareDraft(state));
  }
};

/** Every pass ends here exactly once, and no answer leaves before its record is durable. */
export const audit: Stage<'audit'> = {
  name: 'audit',
  runs: 'always',
  run: async (state, parts) => {
    if (state.fault !== undefined && state.planned !== undefined) await dropPlan(state, parts);
    const made = draftOf(state, parts);
    const draft = 'then' in made ? await made : made;
    state.draft = draft;
    const fault = await commit(state, parts, draft);
    if (fault !== undefined) {
      state.draft = { ...draft, outcome: state.operationBegan ? 'failed' : 'refused', fault: fault.code };
      state.conflicted = state.fault === undefined && fault.code === 'conflict';
      return fault;
    }
    if (state.fault === undefined && state.planned !== undefined) {
      state.committed = true;
      if (state.planned.afterCommit !== undefined) await runAfterCommit(state, parts);
    }
    return undefined;
  },
};
