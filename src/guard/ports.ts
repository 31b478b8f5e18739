import type {
  AuditRecord,
  Authentication,
  AuthorizedCall,
  Caller,
  Change,
  Credential,
  Fault,
  Handlers,
  LoadedObject,
  ManagedObject,
  OperationName,
  PlaneName,
  PolicyDecision,
  Principal,
} from '../domain/index.js';

export interface Identified {
  readonly principal: Principal;
  readonly authentication: Authentication;
  readonly parent?: Principal;
}

/** Identity: credential → principal, or a refusal (thrown or rejected). Never a default principal. */
export interface Identifier {
  identify(credential: Credential, caller: Caller, now: number): Promise<Identified> | Identified;
}

/** What policy sees. */
export interface PolicyQuestion {
  readonly principal: Principal;
  readonly parent?: Principal;
  readonly authentication: Authentication;
  readonly operation: OperationName;
  readonly action: string;
  readonly tenant: string;
  readonly plane: PlaneName;
  readonly source: string;
  readonly now: number;
  readonly object?: ManagedObject;
  /** Scalars of the request that conditions may read (spec, algorithm, exportable, root, reason, …); never payloads. */
  readonly request: Readonly<Record<string, unknown>>;
}

export interface PolicyEngine {
  decide(question: PolicyQuestion): PolicyDecision;
  /** Rate and quota limits of matching statements; a fault (`rate-limited`, `quota-exceeded`) or nothing. */
  limit(question: PolicyQuestion, decision: PolicyDecision): Fault | undefined;
}

export interface RiskAssessment {
  readonly score: number;
  readonly reasons: readonly string[];
}
/** Absent engine = not assessed (the record says nothing), not score 0. */
export interface RiskEngine {
  assess(question: PolicyQuestion): Promise<RiskAssessment>;
}

/** Loads the objects a request names, for policy and the operation alike; one read per call. */
export interface ObjectLoader {
  load(tenant: string, ref: string): Promise<LoadedObject | undefined>;
  /** The same without waiting, where it is in memory and current; nothing otherwise. */
  cached?(tenant: string, ref: string): LoadedObject | undefined;
}

/**
 * Audit and state in one. `intent` resolves when durable. `commit` makes changes and record durable together, in one
 * transaction; a fault (conflict, name taken …) is recorded in the record instead of success and returned. A rejection
 * means nothing was committed, unless it is a FaultError whose fault is `uncertain`.
 */
export interface Journal {
  intent(record: AuditDraft): Promise<void>;
  commit(record: AuditDraft, changes: readonly Change[]): Promise<Fault | undefined>;
}
/** A record before it is placed: id, node and chain are the journal's. */
export type AuditDraft = Omit<AuditRecord, 'id' | 'node' | 'chain'>;

/** Looks at finished calls; never delays or changes the answer. */
export interface Detector {
  observe(record: AuditDraft): readonly Finding[];
}
export interface Finding {
  readonly detector: string;
  readonly severity: 'low' | 'medium' | 'high' | 'critical';
  readonly reason: string;
}
export interface Responder {
  respond(finding: Finding, record: AuditDraft): void;
}

export interface GuardParts {
  readonly identifier: Identifier;
  readonly policy: PolicyEngine;
  readonly risk?: RiskEngine;
  readonly objects: ObjectLoader;
  readonly handlers: Handlers;
  readonly journal: Journal;
  readonly detectors: readonly Detector[];
  readonly responders: readonly Responder[];
  /** Object a request names without its target field: an envelope ciphertext's header (decrypt, re-encrypt). Throws a FaultError when malformed. */
  readonly targetOf?: (operation: OperationName, request: unknown) => string | undefined;
  /**
   * Facts about what the request names that conditions may read beside the request's own fields, e.g. `owner` of the token
   * to revoke. Facts overwrite request fields of the same name.
   */
  readonly facts?: (
    operation: OperationName,
    request: unknown,
    tenant: string,
  ) => Promise<Readonly<Record<string, unknown>> | undefined> | undefined;
  /** Root that creations without `root` go to, so that `root:` statements see it. */
  readonly defaultRoot?: () => string | undefined;
  /** Risk scores from which the decision asks for step-up or refuses; absent = the score is only recorded. */
  readonly riskLimits?: { readonly stepUpAt?: number; readonly refuseAt?: number };
  /** Longest wait for the journal, ms (default 30 000); then the answer is `audit-unavailable`. */
  readonly auditTimeoutMs?: number;
  readonly clock: () => number;
  /** False while the node may not serve (lost lease, shutting down). */
  readonly serving: () => Fault | undefined;
  /** Errors nobody else sees: throws in a stage, failed afterCommit or compensate, detectors. Never holds secrets; for the log. */
  readonly onProblem?: (problem: {
    readonly stage: string;
    readonly requestId: string;
    readonly operation: string;
    readonly error: unknown;
  }) => void;
  /** Every finished call, for metrics. */
  readonly onOutcome?: (
    operation: OperationName,
    plane: PlaneName,
    outcome: string,
    fault: string | undefined,
    durationUs: number,
    rootId: string | undefined,
  ) => void;
}
export type { AuthorizedCall };
