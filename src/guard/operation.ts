import type { AuthorizedCall, Change, Fault, Handler, OperationName, Planned } from '../domain/index.js';
import { intentDraft } from './draft.js';
import type { GuardParts } from './ports.js';
import { type CallState, reportProblem, type Stage } from './stage.js';

const UNSUPPORTED: Fault = { code: 'unsupported-operation', message: 'This node does not serve that operation.' };
const INTERNAL: Fault = {
  code: 'internal',
  message: 'The operation failed inside the service.',
  next: 'Retry; tell the operator the request id if it persists.',
};
export const AUDIT_UNAVAILABLE: Fault = {
  code: 'audit-unavailable',
  message: 'The audit log cannot be written, so nothing was done.',
  next: 'Retry later; the operator sees the cause in `aegis audit health`.',
};

/** Operations that write into tenants other than the caller's by design; policy decides who may call them. */
const CROSS_TENANT: ReadonlySet<OperationName> = new Set(['create-principal', 'issue-token', 'rotate-seal']);

const tenantOf = (change: Change): string => {
  switch (change.kind) {
    case 'insert-object':
    case 'update-object':
      return change.object.tenant;
    case 'insert-version':
    case 'update-version':
      return change.version.tenant;
    case 'insert-principal':
    case 'update-principal':
      return change.principal.tenant;
    case 'insert-token':
      return change.token.tenant;
    case 'put-policy':
      return change.document.tenant;
    default:
      return change.tenant;
  }
};

/** Last line of tenant isolation: a handler's mistake must not write into another tenant. */
const staysInTenant = (state: CallState, changes: readonly Change[]): boolean =>
  CROSS_TENANT.has(state.operation) ||
  state.authentication?.method === 'internal' ||
  changes.every((change) => tenantOf(change) === state.tenant);

const isPlanned = (planned: Planned | undefined): planned is Planned =>
  typeof planned === 'object' && planned !== null && planned.response !== undefined && Array.isArray(planned.changes);

const toCall = (state: CallState): AuthorizedCall | undefined => {
  const { principal, authentication, tenant, parent, target, caller } = state;
  if (principal === undefined || authentication === undefined || tenant === undefined) return undefined;
  return {
    operation: state.operation,
    request: state.request as never,
    principal,
    authentication,
    tenant,
    requestId: caller.requestId,
    plane: caller.plane,
    source: caller.source,
    now: state.now,
    others: state.others,
    ...(parent === undefined ? {} : { parent }),
    ...(target === undefined ? {} : { target }),
  };
};

/** Undoes what a plan did outside the database. Never throws. */
export const compensate = async (state: CallState, parts: GuardParts, planned: Planned | undefined): Promise<void> => {
  try {
    await planned?.compensate?.();
  } catch (error) {
    reportProblem(state, parts, 'compensate', error);
  }
};

const writeIntent = async (state: CallState, parts: GuardParts): Promise<Fault | undefined> => {
  try {
    await parts.journal.intent(intentDraft(state));
    return undefined;
  } catch (error) {
    reportProblem(state, parts, 'intent', error);
    return AUDIT_UNAVAILABLE;
  }
};

/**
 * Runs the handler, after its intent is durable where the row asks for one. What it plans is not done yet: the audit stage
 * commits the changes with the record. A plan that arrives after the caller gave up is undone.
 */
export const operation: Stage<'operation'> = {
  name: 'operation',
  runs: 'while-allowed',
  run: async (state, parts) => {
    const call = toCall(state);
    const handler = Object.hasOwn(parts.handlers, state.operation)
      ? (parts.handlers[state.operation] as Handler<OperationName> | undefined)
      : undefined;
    if (call === undefined || typeof handler !== 'function') return UNSUPPORTED;
    if (state.row?.intent) {
      const fault = await writeIntent(state, parts);
      // Nobody waits any more: the intent stands alone, followed by the record of the time-out.
      if (fault !== undefined || state.abandoned) return fault;
    }
    state.operationBegan = true;
    const planned = await handler(call);
    if (state.abandoned) {
      await compensate(state, parts, planned);
      return undefined;
    }
    if (!isPlanned(planned)) return INTERNAL;
    if (!staysInTenant(state, planned.changes)) {
      reportProblem(state, parts, 'operation', new Error(`${state.operation} planned a change in another tenant`));
      await compensate(state, parts, planned);
      return INTERNAL;
    }
    state.planned = planned;
    return undefined;
  },
};
