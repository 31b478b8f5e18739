import type {
  Authentication,
  Caller,
  Fault,
  LoadedObject,
  OperationName,
  OperationRow,
  Planned,
  PolicyDecision,
  Principal,
  Refine,
} from '../domain/index.js';
import type { AuditDraft, Finding, GuardParts, PolicyQuestion, RiskAssessment } from './ports.js';

/** The pipeline's vocabulary; guard.ts holds the literal order. */
type StageName = 'identity' | 'policy' | 'risk' | 'decision' | 'operation' | 'audit' | 'detection' | 'response';

/**
 * One stage. It returns a fault to refuse and nothing to let pass; a throw is a refusal too. A stage may add to the call's
 * state but can't take a refusal back: only the loop writes `fault`.
 *
 * - `while-allowed`: skipped once anything refused; raced against the caller's abort signal.
 * - `always`: exactly once per pass, refused or not.
 * - `after-answer`: started once the answer is settled, detached from it.
 */
export interface Stage<N extends StageName = StageName> {
  readonly name: N;
  readonly runs: 'while-allowed' | 'always' | 'after-answer';
  readonly run: (state: CallState, parts: GuardParts) => Promise<Fault | undefined> | Fault | undefined;
}

/** One question put to policy, and its answer. The first is the call's own action; the rest come from `alsoUses`. */
interface Asked {
  readonly question: PolicyQuestion;
  readonly decision: PolicyDecision;
}

/** Everything known about one call. Made once per call; stages fill it in. */
export interface CallState {
  readonly operation: OperationName;
  /** Absent for a name that is not in the table. */
  readonly row: OperationRow | undefined;
  /** As asked; as completed by `refine` once the target is loaded. */
  request: Readonly<Record<string, unknown>>;
  readonly received: Readonly<Record<string, unknown>>;
  readonly refine: Refine | undefined;
  /** Why the request could not be completed for this target: answered last, to whom everything else would let pass. */
  unrefined: Fault | undefined;
  readonly caller: Caller;
  /** The call's one clock reading, ms since the epoch. */
  readonly now: number;
  /** performance.now() at the start. */
  readonly startedAt: number;
  /** 0 on the first pass; conflicts make further ones. */
  attempt: number;
  // identity
  principal: Principal | undefined;
  authentication: Authentication | undefined;
  parent: Principal | undefined;
  tenant: string | undefined;
  // policy
  /** Allow-listed request fields (request-fields.ts). */
  fields: Readonly<Record<string, unknown>> | undefined;
  /** The reference the request names its target by, as asked. */
  targetRef: string | undefined;
  target: LoadedObject | undefined;
  others: Record<string, LoadedObject>;
  /** What is answered once policy allows but something named was not there. */
  missing: Fault | undefined;
  asked: Asked[];
  risk: RiskAssessment | undefined;
  // operation
  planned: Planned | undefined;
  operationBegan: boolean;
  /** The answer was given up while the operation still ran: whatever it plans is undone when it arrives. */
  abandoned: boolean;
  // audit
  draft: AuditDraft | undefined;
  /** Set by the audit stage alone, once record and changes are durable together. */
  committed: boolean;
  /** The commit met a concurrent change and the pass may run again. */
  conflicted: boolean;
  // detection
  findings: readonly Finding[];
  /** First refusal; written by the loop only. */
  fault: Fault | undefined;
  /** Ends the wait for the running stage; set while the caller's signal can interrupt one. */
  giveUp: (() => void) | undefined;
  onAbort: (() => void) | undefined;
}

/** Reports an error that no caller sees; the hook itself can't break a call. */
export const reportProblem = (state: CallState, parts: GuardParts, stage: string, error: unknown): void => {
  try {
    parts.onProblem?.({ stage, requestId: state.caller.requestId, operation: state.operation, error });
  } catch {
    // The log is not worth a call.
  }
};
