import { type Fault, FaultError, type LoadedObject, OPERATION_TABLE, type OperationName, scopeAllows } from '../domain/index.js';
import type { GuardParts, PolicyQuestion } from './ports.js';
import { readFields } from './request-fields.js';
import type { CallState, Stage } from './stage.js';
import { cachedObject, isOptionalOther, loadObject, notFound, readRef, refOfCiphertext } from './targets.js';

const SCOPE_STATEMENT = 'token/scope';

const denied = (statement: string, next: string): Fault => ({
  code: 'permission-denied',
  message: 'Policy does not allow this.',
  next,
  statement,
});

/** Builds one question. Everything in it comes from identity, the table and the allow-listed request fields. */
const toQuestion = (state: CallState, action: string, loaded: LoadedObject | undefined): PolicyQuestion | undefined => {
  const { principal, authentication, tenant, parent, fields, caller } = state;
  if (principal === undefined || authentication === undefined || tenant === undefined || fields === undefined) return undefined;
  return {
    principal,
    authentication,
    operation: state.operation,
    action,
    tenant,
    plane: caller.plane,
    source: caller.source,
    now: state.now,
    request: fields,
    ...(parent === undefined ? {} : { parent }),
    ...(loaded === undefined ? {} : { object: loaded.object }),
  };
};

/** Asks one question. Only `allow` and `step-up` pass on (the decision stage settles step-up); every other answer is a refusal. */
const ask = (state: CallState, parts: GuardParts, action: string, loaded: LoadedObject | undefined): Fault | undefined => {
  const question = toQuestion(state, action, loaded);
  if (question === undefined) return denied('default', 'Authenticate first.');
  const scope = question.authentication.scope;
  if (scope !== undefined) {
    const named = loaded === undefined ? [] : [loaded.object.id, ...loaded.object.names];
    if (!scopeAllows(scope, action, named)) {
      state.asked.push({ question, decision: { effect: 'deny', statement: SCOPE_STATEMENT, reason: 'outside the token’s scope' } });
      return denied(SCOPE_STATEMENT, 'Use a token whose scope covers this action and object.');
    }
  }
  const decision = parts.policy.decide(question);
  state.asked.push({ question, decision });
  if (decision.effect === 'allow' || decision.effect === 'step-up') return undefined;
  return denied(decision.statement, 'Ask an administrator, or see why with `aegis policy test`.');
};

/** How the request names the row's target: its reference, nothing, or why that can't be read. Sets `missing` for what policy may still hide. */
const nameTarget = (state: CallState, parts: GuardParts, field: string): string | Fault | undefined => {
  const named = readRef(field, state.request[field]);
  if (named.kind === 'refused') return named.fault;
  const ref = named.kind === 'ref' ? named.ref : refOfCiphertext(state.operation, state.request, parts);
  if (ref === undefined && !mayLackTarget(state.operation, state.request)) {
    const message = `\`${field}\` is missing: nothing in the request names the object.`;
    state.missing = { code: 'invalid-field', message, field, next: `Give \`${field}\`.` };
  }
  return ref;
};

const takeTarget = (state: CallState, field: string, loaded: LoadedObject | undefined): void => {
  state.target = loaded;
  if (loaded === undefined) state.missing = notFound(field);
};

/** A digest is the one multi-part operation without a key. */
const mayLackTarget = (operation: OperationName, request: Readonly<Record<string, unknown>>): boolean =>
  operation === 'begin-operation' && request['kind'] === 'digest';

/** More objects in one field than any operation has use for. */
const MAX_LISTED = 256;

interface OtherField {
  /** The field in the operations table. */
  readonly row: string;
  /** The same, or with the place in its list. */
  readonly field: string;
  readonly action: string;
  readonly value: unknown;
}

/** The fields that name further objects: one a row, or one for each item of a list (`parts.0`, `parts.1`, …). */
const otherFields = (state: CallState): readonly OtherField[] =>
  (state.row?.alsoUses ?? []).flatMap(({ field, action, many }): OtherField[] => {
    const value = state.request[field];
    if (many !== true || !Array.isArray(value)) return [{ row: field, field, action, value }];
    return value.slice(0, MAX_LISTED + 1).map((item, index) => ({ row: field, field: `${field}.${index}`, action, value: item }));
  });

const loadOthers = async (state: CallState, parts: GuardParts, tenant: string): Promise<Fault | undefined> => {
  for (const { row, field, value } of otherFields(state)) {
    const named = readRef(field, value);
    if (named.kind === 'refused') return named.fault;
    if (named.kind === 'absent') {
      if (!isOptionalOther(state.operation, row))
        state.missing ??= { code: 'invalid-field', message: `\`${field}\` is missing.`, field, next: `Give \`${field}\`.` };
      continue;
    }
    const loaded = await loadObject(parts, tenant, named.ref);
    if (loaded === undefined) state.missing ??= notFound(field);
    else state.others[field] = loaded;
  }
  return undefined;
};

/** The operation that a multi-part `kind` stands for: its action is required as well. */
export const standsFor = (state: CallState): OperationName | undefined => {
  const actsAs = state.row?.actsAs;
  if (actsAs === undefined) return undefined;
  const value = state.request[actsAs.field];
  return typeof value === 'string' && Object.hasOwn(actsAs.rows, value) ? actsAs.rows[value] : undefined;
};

const askAll = (state: CallState, parts: GuardParts): Fault | undefined => {
  const { row } = state;
  if (row === undefined) return undefined;
  const own = ask(state, parts, row.action, state.target);
  if (own !== undefined) return own;
  if (row.actsAs !== undefined) {
    const stand = standsFor(state);
    if (stand === undefined)
      return {
        code: 'invalid-field',
        message: `\`${row.actsAs.field}\` must be one of: ${Object.keys(row.actsAs.rows).join(', ')}.`,
        field: row.actsAs.field,
      };
    const refusal = ask(state, parts, OPERATION_TABLE[stand].action, state.target);
    if (refusal !== undefined) return refusal;
  }
  for (const { field, action, value } of row.alsoUses === undefined ? [] : otherFields(state)) {
    if (value === undefined || value === null) continue;
    const refusal = ask(state, parts, action, state.others[field]);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
};

/** What a refinement may not touch: which objects the call is about, and which operation it stands for. */
const sameObjects = (state: CallState, refined: Readonly<Record<string, unknown>>): boolean => {
  const { row, request } = state;
  const fixed = [row?.target, row?.actsAs?.field, ...(row?.alsoUses ?? []).map(({ field }) => field)];
  return fixed.every((field) => field === undefined || refined[field] === request[field]);
};

/** Lets the plane complete the request for this target, and reads its fields again for policy. */
const refine = (state: CallState, parts: GuardParts, facts: Readonly<Record<string, unknown>> | undefined): Fault | undefined => {
  if (state.refine === undefined || state.target === undefined) return undefined;
  let refined: Readonly<Record<string, unknown>>;
  try {
    refined = state.refine(state.target.object) as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof FaultError)) throw error;
    state.unrefined = error.fault;
    return undefined;
  }
  if (!sameObjects(state, refined)) return { code: 'internal', message: 'The request changed its object on the way.' };
  state.request = refined;
  const read = readFields(state.operation, refined, parts.defaultRoot);
  if (read.fault !== undefined) return read.fault;
  state.fields = facts === undefined ? read.fields : { ...read.fields, ...facts };
  return undefined;
};

type Facts = Readonly<Record<string, unknown>> | undefined;

const judge = (state: CallState, parts: GuardParts, facts: Facts): Fault | undefined => refine(state, parts, facts) ?? askAll(state, parts);

/** The rest of the stage where something has to be waited for. */
const judgeLater = async (
  state: CallState,
  parts: GuardParts,
  tenant: string,
  facts: Promise<Facts> | undefined,
  target: Promise<LoadedObject | undefined> | undefined,
): Promise<Fault | undefined> => {
  const known = await facts;
  if (known !== undefined) state.fields = { ...state.fields, ...known };
  if (target !== undefined) takeTarget(state, state.row?.target as string, await target);
  const refusal = state.row?.alsoUses === undefined ? undefined : await loadOthers(state, parts, tenant);
  return refusal ?? judge(state, parts, known);
};

/**
 * Loads what the request names, within the caller's tenant, and asks policy about each action on each object. An object that
 * isn't there is asked about too, without attributes: who may not do this at all learns nothing about what exists. Where the
 * cache has everything, nothing is waited for.
 */
export const policy: Stage<'policy'> = {
  name: 'policy',
  runs: 'while-allowed',
  run: (state, parts) => {
    const { caller, row, operation, tenant } = state;
    if (caller.malformed !== undefined) return caller.malformed;
    if (row === undefined || tenant === undefined)
      return { code: 'unsupported-operation', message: 'No such operation.', next: 'See the list of operations in the reference.' };
    const read = readFields(operation, state.request, parts.defaultRoot);
    if (read.fault !== undefined) return read.fault;
    state.fields = read.fields;
    const named = row.target === undefined ? undefined : nameTarget(state, parts, row.target);
    if (typeof named === 'object') return named;
    state.targetRef = named;
    const facts = parts.facts?.(operation, state.request, tenant);
    const cached = named === undefined ? undefined : cachedObject(parts, tenant, named);
    if (facts !== undefined || row.alsoUses !== undefined || (named !== undefined && cached === undefined)) {
      const target = named === undefined ? undefined : loadObject(parts, tenant, named);
      return judgeLater(state, parts, tenant, facts, target);
    }
    if (cached !== undefined) state.target = cached;
    return judge(state, parts, undefined);
  },
};
