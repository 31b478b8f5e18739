import type { RootDescription } from '@aegis/rot-spi';
import { describe, expect, test } from 'vitest';
import { BEHAVIOUR_CASES } from './cases/all.js';
import { type BehaviourCase, type BehaviourTarget, type Needs, refusalOf } from './cases/behaviour-case.js';

/** Whether a root, by its own report, has what a case needs. */
export const canDo = (report: RootDescription, needs: Needs): boolean =>
  (needs.generate ?? []).every((spec) => report.specs.some((s) => s.spec === spec && s.generate)) &&
  (needs.import ?? []).every((spec) => report.specs.some((s) => s.spec === spec && s.import)) &&
  (needs.algorithms ?? []).every(([name, spec]) => report.algorithms.some((a) => a.algorithm === name && a.specs.includes(spec))) &&
  (needs.powers ?? []).every((power) => report.powers.includes(power)) &&
  (needs.multiPart ?? []).every((name) => report.algorithms.some((a) => a.algorithm === name && a.multiPart));

/** Cases a target cannot pass because its root lacks something: name → reason. Reviewed like code. */
export type Lacks = Readonly<Record<string, string>>;

/**
 * A listed gap is checked too: the root must really lack it by its own report, and the service must refuse it as unsupported
 * instead of doing something else.
 */
const expectGap = async (one: BehaviourCase, ready: BehaviourTarget, reason: string | undefined): Promise<void> => {
  expect(reason, `the root lacks ${JSON.stringify(one.needs)}; list "${one.name}" with the reason`).toBeDefined();
  expect((await refusalOf(one.run(ready))).code).toBe('unsupported-algorithm');
};

/** Registers every case against one target; what the target lacks must be on its list, and nothing else may be. */
export const runBehaviourCases = (title: string, open: () => Promise<BehaviourTarget>, lacks: Lacks = {}): void => {
  describe(title, () => {
    let target: Promise<BehaviourTarget> | undefined;
    for (const [group, cases] of Object.entries(BEHAVIOUR_CASES)) {
      describe(group, () => {
        for (const one of cases) {
          const reason = lacks[one.name];
          test(reason === undefined ? one.name : `${one.name}: refused (${reason})`, async () => {
            target ??= open();
            const ready = await target;
            if (one.needs !== undefined && !ready.can(one.needs)) return expectGap(one, ready, reason);
            expect(reason, `"${one.name}" is listed as lacking, but the root has it`).toBeUndefined();
            return one.run(ready);
          });
        }
      });
    }
  });
};
