import {
  type Caller,
  FAULT_CODES,
  type Fault,
  FaultError,
  type GuardedService,
  OPERATION_TABLE,
  type OperationName,
  type Refine,
  type Result,
} from '../domain/index.js';
import { audit } from './audit.js';
import { decision } from './decision.js';
import { detection } from './detection.js';
import { identity } from './identity.js';
import { operation } from './operation.js';
import { policy } from './policy.js';
import type { GuardParts } from './ports.js';
import { response } from './response.js';
import { risk } from './risk.js';
import { type CallState, reportProblem, type Stage } from './stage.js';

/** The order of a call. Drawn in docs/architecture.md; nothing else decides it. */
export const STAGES = [identity, policy, risk, decision, operation, audit, detection, response] as const satisfies readonly [
  Stage<'identity'>,
  Stage<'policy'>,
  Stage<'risk'>,
  Stage<'decision'>,
  Stage<'operation'>,
  Stage<'audit'>,
  Stage<'detection'>,
  Stage<'response'>,
];

const MAX_ATTEMPTS = 4;
const RETRY_BASE_MS = 5;

const TIMED_OUT: Fault = {
  code: 'timeout',
  message: 'The caller gave up or the time allowed ran out.',
  next: 'Retry with a longer time limit.',
};
const INTERNAL: Fault = {
  code: 'internal',
  message: 'The call failed inside the service.',
  next: 'Retry; tell the operator the request id if it persists.',
};

const KNOWN_CODES: ReadonlySet<string> = new Set(FAULT_CODES);
const isFault = (fault: unknown): fault is Fault =>
  typeof fault === 'object' && fault !== null && KNOWN_CODES.has((fault as Fault).code) && typeof (fault as Fault).message === 'string';

/** A thrown FaultError says what the caller may know; anything else says nothing to the caller and all to the log. */
const faultOf = (state: CallState, parts: GuardParts, stage: string, error: unknown): Fault => {
  if (error instanceof FaultError && isFault(error.fault)) return error.fault;
  reportProblem(state, parts, stage, error);
  return INTERNAL;
};

const recordOf = (request: unknown): Readonly<Record<string, unknown>> =>
  typeof request === 'object' && request !== null ? (request as Readonly<Record<string, unknown>>) : {};

const newState = (name: OperationName, request: unknown, caller: Caller, refine: Refine | undefined, now: number): CallState => ({
  operation: name,
  row: Object.hasOwn(OPERATION_TABLE, name) ? OPERATION_TABLE[name] : undefined,
  request: recordOf(request),
  received: recordOf(request),
  refine,
  unrefined: undefined,
  caller,
  now,
  startedAt: performance.now(),
  attempt: 0,
  principal: undefined,
  authentication: undefined,
  parent: undefined,
  tenant: undefined,
  fields: undefined,
  targetRef: undefined,
  target: undefined,
  others: {},
  missing: undefined,
  asked: [],
  risk: undefined,
  planned: undefined,
  operationBegan: false,
  abandoned: false,
  draft: undefined,
  committed: false,
  conflicted: false,
  findings: [],
  fault: undefined,
  giveUp: undefined,
  onAbort: undefined,
});

/** Clears what a pass found out, keeping who calls. */
const resetForRetry = (state: CallState): void => {
  state.attempt += 1;
  state.request = state.received;
  state.unrefined = undefined;
  state.fields = undefined;
  state.targetRef = undefined;
  state.target = undefined;
  state.others = {};
  state.missing = undefined;
  state.asked = [];
  state.risk = undefined;
  state.planned = undefined;
  state.operationBegan = false;
  state.conflicted = false;
  state.fault = undefined;
};

/**
 * The stage's answer, or the time-out as soon as the caller gives up. One promise and one listener a call: `Promise.race`
 * would cost every call more than its policy decision does.
 */
const orAbort = (state: CallState, work: Promise<Fault | undefined>): Promise<Fault | undefined> => {
  const { signal } = state.caller;
  if (signal === undefined) return work;
  if (state.onAbort === undefined) {
    state.onAbort = () => state.giveUp?.();
    signal.addEventListener('abort', state.onAbort, { once: true });
  }
  return new Promise((resolve, reject) => {
    let settled = false;
    state.giveUp = () => {
      if (settled) return;
      state.abandoned = true;
      resolve(TIMED_OUT);
    };
    work.then(
      (fault) => {
        settled = true;
        resolve(fault);
      },
      (error: unknown) => {
        settled = true;
        reject(error);
      },
    );
  });
};

type Answer = Promise<Fault | undefined> | Fault | undefined;

/** Starts a stage. Throws what the stage throws at once; what it throws later rejects. */
const startStage = (stage: Stage, state: CallState, parts: GuardParts): Answer => {
  if (stage.runs === 'always') return stage.run(state, parts);
  if (state.caller.signal?.aborted) return TIMED_OUT;
  const returned = stage.run(state, parts);
  return returned === undefined || !('then' in returned) ? returned : orAbort(state, returned);
};

/** The one place a fault is set. Audit speaks last: what it could not make durable is not the answer. */
const refuse = (state: CallState, stage: Stage, fault: Fault): void => {
  if (state.fault === undefined || stage.runs === 'always') state.fault = isFault(fault) ? fault : INTERNAL;
};

/** One pass through the stages. */
const pass = async (state: CallState, parts: GuardParts): Promise<void> => {
  for (const stage of STAGES) {
    if (stage.runs === 'while-allowed' && state.fault !== undefined) continue;
    if (stage.runs === 'after-answer') {
      if (parts.detectors.length > 0 && !mayRetry(state)) setImmediate(runDetached, stage, state, parts);
      continue;
    }
    let fault: Fault | undefined;
    try {
      const answer = startStage(stage, state, parts);
      // A stage that had nothing to wait for costs no turn of the microtask queue.
      fault = answer === undefined || !('then' in answer) ? answer : await answer;
    } catch (error) {
      fault = faultOf(state, parts, stage.name, error);
    }
    if (fault !== undefined) refuse(state, stage, fault);
  }
};

const runDetached = (stage: Stage, state: CallState, parts: GuardParts): void => {
  try {
    const returned = stage.run(state, parts);
    if (returned !== undefined && 'then' in returned)
      returned.then(undefined, (error: unknown) => reportProblem(state, parts, stage.name, error));
  } catch (error) {
    reportProblem(state, parts, stage.name, error);
  }
};

/** A caller that named the revision wants to know about the conflict; for anyone else the call is simply made again. */
const mayRetry = (state: CallState): boolean =>
  state.conflicted &&
  state.attempt + 1 < MAX_ATTEMPTS &&
  state.request['revision'] === undefined &&
  state.request['expectedVersion'] === undefined &&
  !state.caller.signal?.aborted;

const jitter = (attempt: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, RETRY_BASE_MS * 2 ** attempt * (0.5 + Math.random())));

const notServing = (state: CallState, parts: GuardParts): Fault | undefined => {
  try {
    return parts.serving();
  } catch (error) {
    return faultOf(state, parts, 'serving', error);
  }
};

const report = (state: CallState, parts: GuardParts): void => {
  try {
    parts.onOutcome?.(
      state.operation,
      state.caller.plane,
      state.draft?.outcome ?? 'failed',
      state.fault?.code,
      Math.round((performance.now() - state.startedAt) * 1000),
      state.target?.object.rootId,
    );
  } catch (error) {
    reportProblem(state, parts, 'metrics', error);
  }
};

const settle = async (state: CallState, parts: GuardParts): Promise<Result<unknown>> => {
  state.fault = notServing(state, parts);
  await pass(state, parts);
  while (mayRetry(state)) {
    await jitter(state.attempt);
    resetForRetry(state);
    await pass(state, parts);
  }
  if (state.onAbort !== undefined) state.caller.signal?.removeEventListener('abort', state.onAbort);
  report(state, parts);
  // Success needs all three: nothing refused, a plan, and the audit stage's word that it is durable.
  if (state.fault === undefined && state.committed && state.planned !== undefined) return { ok: true, value: state.planned.response };
  return { ok: false, fault: state.fault ?? INTERNAL };
};

/** The only caller of the key service. Never throws; every call ends in one durable record per pass, or in `audit-unavailable`. */
export const makeGuard = (parts: GuardParts): GuardedService => {
  const guarded = async (name: OperationName, request: unknown, caller: Caller, refine?: Refine): Promise<Result<unknown>> => {
    try {
      return await settle(newState(name, request, caller, refine, parts.clock()), parts);
    } catch (error) {
      try {
        parts.onProblem?.({ stage: 'guard', requestId: String(caller?.requestId), operation: String(name), error });
      } catch {
        // Nothing is left to tell.
      }
      return { ok: false, fault: INTERNAL };
    }
  };
  return guarded as GuardedService;
};
