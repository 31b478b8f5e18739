import type { RootDescription } from '@aegis/rot-spi';
import { describe, expect, test } from 'vitest';
import { BEHAVIOUR_CASES } from './cases/all.js';
import { type BehaviourCase, type BehaviourTarget, Inexpressible, type Needs, Refusal, refusalOf } from './cases/behaviour-case.js';

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

/** A case that the wire cannot say: run as far as it goes, it must end with what the list says is missing, or before, where the root lacks it. */
const expectUnsaid = async (one: BehaviourCase, ready: BehaviourTarget, what: string, reason: string | undefined): Promise<void> => {
  const error: unknown = await one.run(ready).then(
    () => new Error(`"${one.name}" runs to its end: strike it off the list`),
    (thrown: unknown) => thrown,
  );
  const lacking = reason !== undefined && one.needs !== undefined && !ready.can(one.needs);
  if (lacking && error instanceof Refusal) return expect(error.fault.code).toBe('unsupported-algorithm');
  if (!(error instanceof Inexpressible)) throw error;
  expect(error.message).toBe(what);
};

/**
 * Registers every case against one target; what the target lacks must be on its list, and nothing else may be. `unsaid` lists the cases
 * that its wire has no words for: name → what. Such a case runs up to there.
 */
export const runBehaviourCases = (title: string, open: () => Promise<BehaviourTarget>, lacks: Lacks = {}, unsaid: Lacks = {}): void => {
  describe(title, () => {
    let target: Promise<BehaviourTarget> | undefined;
    for (const [group, cases] of Object.entries(BEHAVIOUR_CASES)) {
      describe(group, () => {
        for (const one of cases) {
          const what = unsaid[one.name];
          const reason = lacks[one.name];
          const gap = what === undefined ? reason : `the wire has no ${what}`;
          test(gap === undefined ? one.name : `${one.name}: ${what === undefined ? `refused (${gap})` : gap}`, async () => {
            target ??= open();
            const ready = await target;
            if (what !== undefined) return expectUnsaid(one, ready, what, reason);
            if (one.needs !== undefined && !ready.can(one.needs)) return expectGap(one, ready, reason);
            expect(reason, `"${one.name}" is listed as lacking, but the root has it`).toBeUndefined();
            return one.run(ready);
          });
        }
      });
    }
  });
};
