import type { AuditOutcome, AuditRecord, Credential, Fault } from '../domain/index.js';
import type { AuditDraft } from './ports.js';
import { cleanText, detailOf, subjectOf } from './request-fields.js';
import type { CallState } from './stage.js';

/** Unauthenticated calls belong to the operator's tenant: whoever claims a tenant must not write into its log. */
const OPERATOR_TENANT = 'default';

const METHODS: Readonly<Record<Credential['kind'], string>> = {
  bearer: 'token',
  certificate: 'client-certificate',
  internal: 'internal',
  pin: 'token',
  proven: 'token',
  socket: 'socket',
  message: 'message-credential',
  none: 'none',
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const actorOf = (state: CallState): AuditRecord['actor'] => {
  const { principal, authentication, caller } = state;
  if (principal === undefined) {
    const { credential } = caller;
    const actor: Mutable<AuditRecord['actor']> = { kind: 'unknown', id: '', name: '', method: METHODS[credential?.kind] ?? 'none' };
    // A fingerprint is public and says which certificate was refused; a token never shows.
    if (credential?.kind === 'certificate') actor.credentialId = cleanText(credential.fingerprint, 128);
    return actor;
  }
  const actor: Mutable<AuditRecord['actor']> = {
    kind: principal.kind,
    id: principal.id,
    name: cleanText(principal.name, 128),
    method: authentication?.method ?? METHODS[caller.credential?.kind] ?? 'none',
  };
  if (principal.kind === 'agent') actor.parentId = principal.parentId;
  if (authentication !== undefined) actor.credentialId = authentication.credentialId;
  return actor;
};

const resourceOf = (state: CallState): AuditRecord['resource'] => {
  if (state.planned?.resource !== undefined) return state.planned.resource;
  const object = state.target?.object;
  if (object !== undefined) {
    const name = object.names[0];
    return name === undefined ? { type: object.type, id: object.id } : { type: object.type, id: object.id, name: cleanText(name) };
  }
  if (state.targetRef !== undefined) return { type: 'object', id: cleanText(state.targetRef) };
  return state.fields === undefined ? undefined : subjectOf(state.operation, state.fields);
};

/** The statement to name: of the question that refused, else of the call's own action. */
const statementOf = (state: CallState): string | undefined => {
  const decisive = state.asked.find(({ decision }) => decision.effect !== 'allow') ?? state.asked[0];
  return decisive?.decision.statement;
};

const detail = (state: CallState): AuditRecord['detail'] => {
  const fromRequest = state.fields === undefined ? undefined : detailOf(state.fields);
  const planned = state.planned?.detail;
  const dryRun = state.asked[0]?.decision.dryRun;
  if (planned === undefined && dryRun === undefined && state.attempt === 0) return fromRequest;
  const all: Record<string, string | number | boolean | null> = { ...fromRequest };
  if (dryRun !== undefined) {
    all['dryRunEffect'] = dryRun.effect;
    all['dryRunStatement'] = dryRun.statement;
  }
  if (state.attempt > 0) all['attempt'] = state.attempt + 1;
  for (const name in planned) {
    const value = planned[name];
    if (value !== undefined) all[name] = typeof value === 'string' ? cleanText(value) : value;
  }
  return all;
};

const build = (state: CallState, outcome: AuditOutcome, fault: Fault | undefined): AuditDraft => {
  const { caller } = state;
  const draft: Mutable<AuditDraft> = {
    tenant: state.tenant ?? OPERATOR_TENANT,
    at: state.now,
    plane: caller.plane,
    requestId: cleanText(String(caller.requestId), 128),
    actor: actorOf(state),
    operation: cleanText(String(state.operation), 64),
    action: state.row?.action ?? 'none',
    outcome,
  };
  const resource = resourceOf(state);
  if (resource !== undefined) draft.resource = resource;
  if (fault !== undefined) draft.fault = fault.code;
  const statement = statementOf(state);
  if (statement !== undefined) draft.statement = statement;
  if (state.risk !== undefined) draft.risk = state.risk;
  if (typeof caller.source === 'string') draft.source = cleanText(caller.source, 128);
  const details = detail(state);
  if (details !== undefined) draft.detail = details;
  return draft;
};

export const intentDraft = (state: CallState): AuditDraft => build(state, 'intent', undefined);

/** `refused`: stopped before the operation. `failed`: the operation began and didn't succeed. */
const outcomeOf = (state: CallState): AuditOutcome => {
  if (state.fault === undefined && state.planned !== undefined) return 'success';
  return state.operationBegan ? 'failed' : 'refused';
};

export const finalDraft = (state: CallState): AuditDraft => ({
  ...build(state, outcomeOf(state), state.fault),
  durationUs: Math.round((performance.now() - state.startedAt) * 1000),
});

/** For a call whose record can't be built otherwise: who and what, and that it failed. */
export const bareDraft = (state: CallState): AuditDraft => ({
  tenant: state.tenant ?? OPERATOR_TENANT,
  at: state.now,
  plane: state.caller.plane,
  requestId: cleanText(String(state.caller.requestId), 128),
  actor: actorOf(state),
  operation: cleanText(String(state.operation), 64),
  action: state.row?.action ?? 'none',
  outcome: state.operationBegan ? 'failed' : 'refused',
  fault: state.fault?.code ?? 'internal',
});
