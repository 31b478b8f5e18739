import type { RootDescription } from '@aegis/rot-spi';
import { describe, test } from 'vitest';
import { BEHAVIOUR_CASES } from './cases/all.js';
import type { BehaviourTarget, Needs } from './cases/behaviour-case.js';

/** Whether a root, by its own report, has what a case needs. */
export const canDo = (report: RootDescription, needs: Needs): boolean =>
  (needs.generate ?? []).every((spec) => report.specs.some((s) => s.spec === spec && s.generate)) &&
  (needs.import ?? []).every((spec) => report.specs.some((s) => s.spec === spec && s.import)) &&
  (needs.algorithms ?? []).every(([name, spec]) => report.algorithms.some((a) => a.algorithm === name && a.specs.includes(spec))) &&
  (needs.powers ?? []).every((power) => report.powers.includes(power)) &&
  (needs.multiPart ?? []).every((name) => report.algorithms.some((a) => a.algorithm === name && a.multiPart));

/** Registers every case against one target; a case is skipped, visibly, only when the root says it lacks something. */
export const runBehaviourCases = (title: string, open: () => Promise<BehaviourTarget>): void => {
  describe(title, () => {
    let target: Promise<BehaviourTarget> | undefined;
    for (const [group, cases] of Object.entries(BEHAVIOUR_CASES)) {
      describe(group, () => {
        for (const one of cases) {
          test(one.name, async (context) => {
            target ??= open();
            const ready = await target;
            if (one.needs !== undefined && !ready.can(one.needs)) context.skip(`this root lacks ${JSON.stringify(one.needs)}`);
            await one.run(ready);
          });
        }
      });
    }
  });
};
