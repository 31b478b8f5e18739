import type { AuditRecord } from './audit-record.js';
import type { Change } from './change.js';
import type { Fault } from './fault.js';
import type { ManagedObject, ObjectVersion } from './managed-object.js';
import type { OperationName, OperationRequest, OperationResponse } from './operations.js';
import type { Authentication, Credential, Principal } from './principal.js';
import type { Result } from './result.js';

export type PlaneName = 'rest' | 'kmip' | 'pkcs11' | 'mcp' | 'agent' | 'gate' | 'internal';

/** What a plane knows about the caller before identity. */
export interface Caller {
  readonly plane: PlaneName;
  readonly credential: Credential;
  /** Client's or ours, ≤ 128 printable characters. */
  readonly requestId: string;
  /** Remote address, or `local`. */
  readonly source: string;
  readonly userAgent?: string;
  /** Tenant asked for where the credential allows several; the credential's own otherwise. */
  readonly tenant?: string;
  readonly signal?: AbortSignal;
  /**
   * Set by a plane that could not read the request (bad JSON, schema, size): the caller is still identified and the call
   * recorded, and this is the answer. `request` may then be anything.
   */
  readonly malformed?: Fault;
}

/**
 * Completes a request with what only the target says: a wire that names a cipher mode and leaves the cipher to the key, say.
 * Pure and quick. The guard calls it once per pass, after loading the target and before policy is asked, so that policy,
 * limits and the record see the request that is carried out. It may not name another target, and what it throws (a
 * FaultError) is answered only to a caller whom policy and the object's own state would have let through.
 */
export type Refine<O extends OperationName = OperationName> = (object: ManagedObject) => OperationRequest<O>;

/** The one function every plane calls. It never throws. */
export type GuardedService = <O extends OperationName>(
  operation: O,
  request: OperationRequest<O>,
  caller: Caller,
  refine?: Refine<O>,
) => Promise<Result<OperationResponse<O>>>;

/** What the operation stage gets: everything already decided. */
export interface AuthorizedCall<O extends OperationName = OperationName> {
  readonly operation: O;
  readonly request: OperationRequest<O>;
  readonly principal: Principal;
  readonly authentication: Authentication;
  /** The human an agent acts for. */
  readonly parent?: Principal;
  /** Remote address, or `local`. */
  readonly source?: string;
  readonly tenant: string;
  readonly requestId: string;
  readonly plane: PlaneName;
  /** Time of the call, ms; one clock reading per call. */
  readonly now: number;
  /** Target object as the policy saw it, with its versions; absent where the row has no target. */
  readonly target?: LoadedObject;
  /** Objects of `alsoUses`, by field. */
  readonly others: Readonly<Record<string, LoadedObject>>;
}

export interface LoadedObject {
  readonly object: ManagedObject;
  readonly versions: readonly ObjectVersion[];
}

/** What a handler returns: the answer, and the changes that commit in one transaction with the audit record. */
export interface Planned<O extends OperationName = OperationName> {
  readonly response: OperationResponse<O>;
  readonly changes: readonly Change[];
  /** Audit resource where it is not the target (a created object), and allow-listed details. */
  readonly resource?: NonNullable<AuditRecord['resource']>;
  readonly detail?: Readonly<Record<string, string | number | boolean | null>>;
  /** Undo of an outside effect when the commit does not happen (destroy the token object just made). Never throws. */
  readonly compensate?: () => Promise<void>;
  /** Outside effect that may only happen once the commit is durable (destroy the token object). Retried by the reaper. */
  readonly afterCommit?: () => Promise<void>;
}

export type Handler<O extends OperationName> = (call: AuthorizedCall<O>) => Promise<Planned<O>>;
export type Handlers = { readonly [O in OperationName]: Handler<O> };
export type { Fault };
