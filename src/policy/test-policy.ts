import {
  type AuthorizedCall,
  fail,
  type ManagedObject,
  OPERATION_TABLE,
  type OperationName,
  type Planned,
  type Principal,
  parseObjectRef,
  REQUEST_FIELD_TYPES,
  REQUEST_FIELDS,
} from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import type { IdentityStore, ObjectStore } from '../storage/ports.js';
import type { Compiled } from './compile.js';
import type { RunningPolicyEngine } from './engine.js';
import { invalidDocument, requireSource } from './source-rules.js';

/** What a principal would be told, and why, without doing it. */
export interface TestParts {
  readonly engine: RunningPolicyEngine;
  readonly identity: Pick<IdentityStore, 'principal'>;
  readonly objects: Pick<ObjectStore, 'load'>;
  readonly compile: (name: string, source: string) => Promise<Compiled>;
}

const MAX_CONTEXT = 64;

const subjectOf = async (
  parts: TestParts,
  call: AuthorizedCall<'test-policy'>,
): Promise<Pick<PolicyQuestion, 'principal' | 'parent' | 'authentication'>> => {
  const { principalId } = call.request;
  if (principalId === undefined || principalId === call.principal.id) {
    const { principal, authentication, parent } = call;
    return { principal, authentication, ...(parent === undefined ? {} : { parent }) };
  }
  const principal = await parts.identity.principal(call.tenant, principalId);
  if (principal === undefined || principal.tenant !== call.tenant)
    throw fail('not-found', 'No such principal.', { field: 'principalId', next: 'List principals.' });
  const parent: Principal | undefined =
    principal.kind === 'agent' ? await parts.identity.principal(call.tenant, principal.parentId) : undefined;
  return { principal, authentication: { method: 'token', credentialId: 'test' }, ...(parent === undefined ? {} : { parent }) };
};

const objectOf = async (parts: TestParts, call: AuthorizedCall<'test-policy'>): Promise<ManagedObject | undefined> => {
  const { key } = call.request;
  if (key === undefined) return undefined;
  const loaded = await parts.objects.load(call.tenant, parseObjectRef(key).ref);
  if (loaded === undefined || loaded.object.tenant !== call.tenant)
    throw fail('not-found', 'No such object.', { field: 'key', next: 'Check the id or alias.' });
  return loaded.object;
};

/** `source`, `plane` and `now` (ms) stand for the call; everything else for request fields. */
const contextOf = (call: AuthorizedCall<'test-policy'>): Pick<PolicyQuestion, 'source' | 'plane' | 'now' | 'request'> => {
  const { source, plane, now, ...request } = (call.request.context ?? {}) as Record<string, unknown>;
  const names = Object.keys(request);
  const unknown = names.find((name) => !Object.hasOwn(REQUEST_FIELD_TYPES, name));
  if (unknown !== undefined || names.length > MAX_CONTEXT)
    throw fail('invalid-field', `Conditions know no request field \`${(unknown ?? '…').slice(0, 60)}\`.`, {
      field: 'context',
      next: 'See the list of request fields in docs/policy.md.',
    });
  // As in a real call: an absent flag is false.
  for (const name of REQUEST_FIELDS[call.request.operation]) if (REQUEST_FIELD_TYPES[name].type === 'flag') request[name] ??= false;
  return {
    source: typeof source === 'string' ? source : (call.source ?? 'local'),
    plane: typeof plane === 'string' ? (plane as PolicyQuestion['plane']) : call.plane,
    now: typeof now === 'number' && Number.isFinite(now) && Math.abs(now) < 8e15 ? now : call.now,
    request,
  };
};

export const testPolicy = async (parts: TestParts, call: AuthorizedCall<'test-policy'>): Promise<Planned<'test-policy'>> => {
  const operation = call.request.operation as OperationName;
  if (!Object.hasOwn(OPERATION_TABLE, operation)) throw fail('invalid-field', 'No such operation.', { field: 'operation' });
  const subject = await subjectOf(parts, call);
  const object = await objectOf(parts, call);
  const question: PolicyQuestion = {
    ...subject,
    ...contextOf(call),
    operation,
    action: OPERATION_TABLE[operation].action,
    tenant: call.tenant,
    ...(object === undefined ? {} : { object }),
  };
  const { candidate } = call.request;
  if (candidate === undefined) {
    const { effect, statement, reason, dryRun } = parts.engine.decide(question);
    const explanation = parts.engine.explain(question);
    return { response: { effect, statement, reason, explanation, ...(dryRun === undefined ? {} : { dryRun }) }, changes: [] };
  }
  const compiled = await parts.compile('candidate', requireSource(candidate));
  if (compiled.document === undefined) throw invalidDocument(compiled.problems);
  const decision = parts.engine.decideAfter({ tenant: call.tenant, name: 'candidate', document: compiled.document }, question);
  const { effect, statement, reason, dryRun } = decision;
  const explanation = parts.engine.explain(question, compiled.document);
  return { response: { effect, statement, reason, explanation, ...(dryRun === undefined ? {} : { dryRun }) }, changes: [] };
};
