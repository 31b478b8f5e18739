import { type Fault, OPERATION_TABLE } from '../domain/index.js';
import { admit, otherRequirement, targetRequirement } from './admission.js';
import { standsFor } from './policy.js';
import type { GuardParts } from './ports.js';
import type { CallState, Stage } from './stage.js';

const stepUp = (statement: string): Fault => ({
  code: 'step-up-required',
  message: 'This needs a stronger or fresh authentication.',
  next: 'Authenticate again as the policy statement asks, then retry.',
  statement,
});

/** Every question must have been answered, and answered with allow. */
const policyVerdict = (state: CallState): Fault | undefined => {
  if (state.asked.length === 0) return { code: 'permission-denied', message: 'Policy does not allow this.', statement: 'default' };
  for (const { decision } of state.asked) {
    if (decision.effect === 'step-up') return stepUp(decision.statement);
    if (decision.effect !== 'allow')
      return { code: 'permission-denied', message: 'Policy does not allow this.', statement: decision.statement };
  }
  return undefined;
};

/** Once per call: a pass repeated because of a conflict is not another request of the client's. */
const limitVerdict = (state: CallState, parts: GuardParts): Fault | undefined => {
  if (state.attempt > 0) return undefined;
  for (const { question, decision } of state.asked) {
    const fault = parts.policy.limit(question, decision);
    if (fault !== undefined) return fault;
  }
  return undefined;
};

const riskVerdict = (state: CallState, parts: GuardParts): Fault | undefined => {
  const { risk } = state;
  const limits = parts.riskLimits;
  if (risk === undefined || limits === undefined) return undefined;
  if (limits.refuseAt !== undefined && risk.score >= limits.refuseAt)
    return {
      code: 'permission-denied',
      message: 'Refused because of its risk.',
      next: 'Ask the operator; the record names the reasons.',
      statement: 'risk/refuse',
    };
  if (limits.stepUpAt !== undefined && risk.score >= limits.stepUpAt) return stepUp('risk/step-up');
  return undefined;
};

const admissionVerdict = (state: CallState): Fault | undefined => {
  const { tenant, target, others, operation, now } = state;
  if (tenant === undefined) return { code: 'not-found', message: 'No such object.' };
  if (target !== undefined) {
    const own = admit(target.object, targetRequirement(operation), tenant, now);
    if (own !== undefined) return own;
    const stand = standsFor(state);
    if (stand !== undefined && OPERATION_TABLE[stand].target !== undefined) {
      const fault = admit(target.object, targetRequirement(stand), tenant, now);
      if (fault !== undefined) return fault;
    }
  }
  for (const field in others) {
    const loaded = others[field];
    const requirement = otherRequirement(operation, field);
    const fault = loaded === undefined || requirement === undefined ? undefined : admit(loaded.object, requirement, tenant, now);
    if (fault !== undefined) return { ...fault, field };
  }
  return undefined;
};

/** Puts the answers together. The order is what a caller may learn first: permission, limits, existence, risk, the object's own state. */
export const decision: Stage<'decision'> = {
  name: 'decision',
  runs: 'while-allowed',
  run: (state, parts) =>
    policyVerdict(state) ??
    limitVerdict(state, parts) ??
    state.missing ??
    riskVerdict(state, parts) ??
    admissionVerdict(state) ??
    state.unrefined,
};
