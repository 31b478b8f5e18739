import type { PolicyExplanation } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import { Binding } from './binding.js';
import type { Rule } from './compile.js';
import { principalKeys } from './principal-keys.js';
import { actionPatterns } from './selectors.js';
import { isCreation, makeStatementIndex } from './statement-index.js';

/** Entries shown at most; those that match come first. */
const MAX_CONSIDERED = 200;

type Considered = PolicyExplanation['considered'][number];

/** Why one statement does or doesn't apply; slow and exact, the same index and conditions as a decision. */
const consider = (rule: Rule, question: PolicyQuestion, who: string): Considered => {
  const entry = (matched: boolean, why: string): Considered => ({ statement: rule.label, matched, why: `${who}${why}` });
  const keys = principalKeys(question);
  const relevant = rule.effect === 'allow' ? keys.granting : keys.binding;
  if (!rule.principals.some((key) => relevant.includes(key))) {
    const named = rule.principals.some((key) => keys.binding.includes(key));
    return entry(false, named ? 'roles, tags and `*` grant nothing to an agent or component' : 'the principal is another');
  }
  const cells: unknown[] = [];
  makeStatementIndex([rule]).collect(question, relevant, cells as never);
  if (cells.length === 0) return entry(false, 'the resource is another');
  if (rule.condition === undefined) return entry(true, `${rule.effect}: principal, action and resource match`);
  const { value, error } = rule.condition.evaluate(new Binding(question, question.principal, question.parent, isCreation(question)));
  if (value === undefined) {
    const failed = `the condition could not be evaluated (${error ?? 'unknown'})`;
    return rule.effect === 'allow' ? entry(false, failed) : entry(true, `${rule.effect}: ${failed}, which restricts`);
  }
  return value ? entry(true, `${rule.effect}: the condition holds`) : entry(false, 'the condition is false');
};

/** Every statement that names the action, matching ones first. `who` marks the human's part of an agent's answer. */
export const explain = (rules: readonly Rule[], question: PolicyQuestion, who = ''): readonly Considered[] => {
  const patterns = actionPatterns(question.action);
  const named = rules.filter((rule) => rule.actions.some((action) => patterns.includes(action)));
  const entries = named.map((rule) => consider(rule, question, who));
  return [...entries.filter((e) => e.matched), ...entries.filter((e) => !e.matched)].slice(0, MAX_CONSIDERED);
};
