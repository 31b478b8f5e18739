import type { Stage } from './stage.js';

/** No engine means not assessed, which is not the same as a score of zero: the record then says nothing. */
export const risk: Stage<'risk'> = {
  name: 'risk',
  runs: 'while-allowed',
  run: (state, parts) => {
    const question = state.asked[0]?.question;
    if (parts.risk === undefined || question === undefined) return undefined;
    return parts.risk.assess(question).then((assessment) => {
      if (typeof assessment?.score !== 'number' || !Number.isFinite(assessment.score))
        return {
          code: 'internal',
          message: 'The risk of this call could not be assessed.',
          next: 'Retry; tell the operator if it persists.',
        } as const;
      state.risk = assessment;
      return undefined;
    });
  },
};
