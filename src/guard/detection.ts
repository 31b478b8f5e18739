import type { Finding } from './ports.js';
import { reportProblem, type Stage } from './stage.js';

/** Detectors see the finished record. One that throws takes nothing from the others. */
export const detection: Stage<'detection'> = {
  name: 'detection',
  runs: 'after-answer',
  run: (state, parts) => {
    const { draft } = state;
    if (draft === undefined) return undefined;
    const findings: Finding[] = [];
    for (const detector of parts.detectors) {
      try {
        findings.push(...detector.observe(draft));
      } catch (error) {
        reportProblem(state, parts, 'detection', error);
      }
    }
    state.findings = findings;
    return undefined;
  },
};
