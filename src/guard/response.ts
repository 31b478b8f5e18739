import { reportProblem, type Stage } from './stage.js';

/** Responders act on findings for calls to come; the call that caused them is answered already. */
export const response: Stage<'response'> = {
  name: 'response',
  runs: 'after-answer',
  run: (state, parts) => {
    const { draft } = state;
    if (draft === undefined) return undefined;
    for (const finding of state.findings) {
      for (const responder of parts.responders) {
        try {
          responder.respond(finding, draft);
        } catch (error) {
          reportProblem(state, parts, 'response', error);
        }
      }
    }
    return undefined;
  },
};
