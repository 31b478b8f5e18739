import type { PolicyEffect, PolicyProblem } from '../domain/index.js';
import { type Condition, compileCondition } from './condition.js';
import type { ParsedDocument, ParsedStatement } from './document.js';
import type { Limit } from './limits.js';
import { parseDocumentText } from './parse-document.js';
import type { ResourceSelector } from './selectors.js';

/** One statement, ready to decide. */
export interface Rule {
  /** `document/statement`. */
  readonly label: string;
  readonly effect: PolicyEffect;
  readonly principals: readonly string[];
  readonly actions: readonly string[];
  readonly resources: readonly ResourceSelector[];
  readonly condition: Condition | undefined;
  readonly limits: readonly Limit[];
  readonly reason: string;
}
export interface CompiledDocument {
  readonly name: string;
  readonly rules: readonly Rule[];
}
export type Compiled =
  | { readonly document: CompiledDocument; readonly problems: readonly [] }
  | { readonly document?: never; readonly problems: readonly PolicyProblem[] };

const REASONS: Readonly<Record<PolicyEffect, string>> = { allow: 'allowed by', deny: 'denied by', 'step-up': 'step-up asked by' };
/** Longest run of compiling before the event loop gets a turn, ms. */
const SLICE_MS = 8;
const MAX_PROBLEMS = 100;

const conditionProblem = (when: NonNullable<ParsedStatement['when']>, index: number, reason: string, offset: number): PolicyProblem => {
  const before = when.source.slice(0, offset).split('\n');
  const last = before[before.length - 1] ?? '';
  return {
    line: when.line + before.length - 1,
    column: (before.length === 1 ? when.column : 1) + last.length,
    path: `statements.${index}.when`,
    reason: `the condition ${reason}`,
  };
};

const toRule = (name: string, statement: ParsedStatement, condition: Condition | undefined): Rule => {
  const label = `${name}/${statement.id}`;
  const { effect, principals, actions, resources, limits } = statement;
  return { label, effect, principals, actions, resources, limits, condition, reason: `${REASONS[effect]} ${label}` };
};

const compileAll = function* (name: string, parsed: ParsedDocument): Generator<undefined, Compiled> {
  if (parsed.problems.length > 0) return { problems: parsed.problems };
  const rules: Rule[] = [];
  const problems: PolicyProblem[] = [];
  for (const [index, statement] of parsed.statements.entries()) {
    const { when } = statement;
    const compiled = when === undefined ? undefined : compileCondition(when.source);
    if (when !== undefined && compiled?.problem !== undefined) {
      const { reason, offset = 0 } = compiled.problem;
      problems.push(conditionProblem(when, index, reason, offset));
      if (problems.length >= MAX_PROBLEMS) break;
    } else rules.push(toRule(name, statement, compiled?.condition));
    yield;
  }
  return problems.length > 0 ? { problems } : { document: { name, rules }, problems: [] };
};

/** Compiles without pause; for the built-in document. */
export const compileSync = (name: string, parsed: ParsedDocument): Compiled => {
  const steps = compileAll(name, parsed);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
};

/** Text → rules, or every problem with its line. `parseLimitMs` bounds the reading of what a caller just sent. Gives the event loop turns; 20,000 conditions take about two seconds of CPU. */
export const compilePolicy = async (name: string, source: string, parseLimitMs?: number): Promise<Compiled> => {
  const steps = compileAll(name, await parseDocumentText(source, parseLimitMs));
  let sliceEnd = performance.now() + SLICE_MS;
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() < sliceEnd) continue;
    await new Promise((resolve) => setImmediate(resolve));
    sliceEnd = performance.now() + SLICE_MS;
  }
};
