import { defineHonesty } from './honesty.js';
import { defineKnownAnswers } from './known-answers.js';
import { defineLifecycle } from './lifecycle.js';
import { defineNegatives } from './negatives.js';
import { defineReferences } from './references.js';
import { defineRefusals } from './refusals.js';
import { defineRoundTrips } from './round-trips.js';
import { Session } from './session.js';
import { defineSplitting } from './splitting.js';
import type { ContractRunner, ContractTarget } from './target.js';

export type { ContractRunner, ContractTarget, ExpectedGap } from './target.js';

const DEFAULT_TIMEOUT_MS = 120_000;

/**
 * The one suite every back end must pass. Call it at the top level of a test file:
 *
 *   defineContractSuite({ name: 'software', open: () => openSoftwareRoot(config) }, { describe, test, expect });
 *
 * The root is opened by the first test and closed by the last.
 */
export const defineContractSuite = (target: ContractTarget, runner: ContractRunner): void => {
  const session = new Session(target, runner);
  const timeout = target.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const timed: ContractRunner = { ...runner, test: (name, body) => runner.test(name, body, timeout) };
  runner.describe(`root of trust contract: ${target.name}`, () => {
    defineHonesty(session, timed);
    defineKnownAnswers(session, timed);
    defineRoundTrips(session, timed);
    defineNegatives(session, timed);
    defineReferences(session, timed);
    defineRefusals(session, timed);
    defineSplitting(session, timed);
    defineLifecycle(session, timed);
  });
};
