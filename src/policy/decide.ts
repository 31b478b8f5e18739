import type { PolicyDecision, PolicyEffect, Principal } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import { Binding } from './binding.js';
import { BUILTIN, BUILTIN_NAME } from './builtin.js';
import type { Rule } from './compile.js';
import type { LimitUse } from './limiter.js';
import { principalKeys } from './principal-keys.js';
import { type Cell, isCreation, makeStatementIndex, type StatementIndex } from './statement-index.js';

/** The statements that apply to calls in one tenant. */
export interface TenantPolicy {
  readonly index: StatementIndex;
  /** Statements of documents in dry-run mode. */
  readonly dryRun: StatementIndex | undefined;
  /** Why nothing but recovery is allowed: a document that enforces can't be read and has no last good version. */
  readonly locked: string | undefined;
}
export const BUILTIN_ONLY: TenantPolicy = { index: makeStatementIndex(BUILTIN.rules), dryRun: undefined, locked: undefined };

/** Left open for mending a tenant whose documents can't be read. */
const RECOVERY_ACTIONS: ReadonlySet<string> = new Set([
  'policies:read',
  'policies:write',
  'policies:test',
  'audit:read',
  'audit:verify',
  'service:status',
  'service:whoami',
]);

/** Conditions evaluated for one decision at most, some ms of work; a tenant's documents can't make its calls slower than that. */
const MAX_CONDITIONS = 2000;

const LIMIT_USES = Symbol('limit uses');
/** A decision that remembers which limits bind it. */
export type DecisionWithLimits = PolicyDecision & { readonly [LIMIT_USES]?: readonly LimitUse[] };
export const limitUses = (decision: DecisionWithLimits): readonly LimitUse[] | undefined => decision[LIMIT_USES];

/** What one set of statements says to one principal. `undefined`: nothing. */
interface Verdict {
  readonly effect: PolicyEffect;
  readonly statement: string;
  readonly reason: string;
}
interface Outcome {
  readonly verdict: Verdict | undefined;
  readonly uses: readonly LimitUse[];
}

const NO_USES: readonly LimitUse[] = [];
const NOTHING_ALLOWS: Verdict = { effect: 'deny', statement: 'default', reason: 'no statement allows this' };
const TOO_COSTLY: Verdict = {
  effect: 'deny',
  statement: `${BUILTIN_NAME}/cost`,
  reason: `more than ${MAX_CONDITIONS} conditions would have to be evaluated; narrow the statements' principals, actions and resources`,
};
const deny = (statement: string, reason: string): Verdict => ({ effect: 'deny', statement, reason });

/** One principal's view of one question: its statements' cells, its variables, and how much evaluating is left. */
class Hearing {
  readonly #binding: Binding;
  readonly #granting: Cell[] = [];
  readonly #restricting: Cell[];
  #left = MAX_CONDITIONS;
  /** Set once the budget is gone; the answer is then a refusal. */
  exhausted = false;

  constructor(index: StatementIndex, question: PolicyQuestion) {
    const { principal, parent } = question;
    this.#binding = new Binding(question, principal, parent, isCreation(question));
    const keys = principalKeys(question);
    index.collect(question, keys.granting, this.#granting);
    if (keys.binding === keys.granting) this.#restricting = this.#granting;
    else {
      this.#restricting = [];
      index.collect(question, keys.binding, this.#restricting);
    }
  }

  /** A failed evaluation never grants and always restricts. */
  #matches(rule: Rule): boolean {
    if (rule.condition === undefined) return true;
    if (this.#left <= 0) {
      this.exhausted = true;
      return rule.effect !== 'allow';
    }
    this.#left -= 1;
    return rule.condition.evaluate(this.#binding).value ?? rule.effect !== 'allow';
  }

  first(effect: PolicyEffect): Rule | undefined {
    const cells = effect === 'allow' ? this.#granting : this.#restricting;
    for (let c = 0; c < cells.length; c += 1) {
      const rules = (cells[c] as Cell)[effect];
      for (let r = 0; r < rules.length; r += 1) {
        const rule = rules[r] as Rule;
        if (this.#matches(rule)) return rule;
      }
    }
    return undefined;
  }

  /** Every matching allow statement's limits bind, so that a cap can be laid over what a role grants. */
  uses(principalId: string): readonly LimitUse[] {
    let seen: Set<Rule> | undefined;
    let uses: LimitUse[] | undefined;
    for (const cell of this.#granting) {
      for (const rule of cell.limited) {
        if (seen?.has(rule)) continue;
        seen = (seen ?? new Set()).add(rule);
        if (!this.#matches(rule)) continue;
        uses ??= [];
        for (const limit of rule.limits) uses.push({ label: rule.label, limit, principalId });
      }
    }
    return uses ?? NO_USES;
  }
}

const hear = (index: StatementIndex, question: PolicyQuestion): Outcome => {
  const hearing = new Hearing(index, question);
  const rule = hearing.first('deny') ?? hearing.first('step-up') ?? hearing.first('allow');
  const uses = rule?.effect === 'allow' ? hearing.uses(question.principal.id) : NO_USES;
  if (hearing.exhausted) return { verdict: TOO_COSTLY, uses: NO_USES };
  if (rule === undefined) return { verdict: undefined, uses };
  return { verdict: { effect: rule.effect, statement: rule.label, reason: rule.reason }, uses };
};

const STRENGTH: Readonly<Record<PolicyEffect, number>> = { deny: 2, 'step-up': 1, allow: 0 };
const stricter = (a: Verdict | undefined, b: Verdict | undefined): Verdict | undefined => {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return STRENGTH[b.effect] > STRENGTH[a.effect] ? b : a;
};

/** What enforced statements say, and what they would say together with the dry-run ones. */
interface Both {
  readonly enforced: Outcome;
  readonly tried: Verdict | undefined;
}
const hearBoth = (policy: TenantPolicy, question: PolicyQuestion): Both => {
  const enforced = hear(policy.locked === undefined ? policy.index : BUILTIN_ONLY.index, question);
  const { dryRun } = policy;
  return { enforced, tried: dryRun === undefined ? enforced.verdict : stricter(enforced.verdict, hear(dryRun, question).verdict) };
};

/** Refusals that come before any statement. */
const outright = (policy: TenantPolicy, { principal, tenant, action, authentication }: PolicyQuestion): Verdict | undefined => {
  if (principal.disabled) return deny('default', 'the principal is disabled');
  if (principal.tenant !== tenant && authentication.method !== 'internal')
    return deny('default', 'the principal belongs to another tenant');
  if (policy.locked !== undefined && !RECOVERY_ACTIONS.has(action) && authentication.method !== 'internal')
    return deny(`${BUILTIN_NAME}/locked`, policy.locked);
  return undefined;
};

const asParent = (question: PolicyQuestion, parent: Principal): PolicyQuestion => {
  const { parent: _, ...rest } = question;
  return { ...rest, principal: parent };
};

/** An agent needs its own grant and its human's: the stricter of both answers, and both budgets. */
const withParent = (policy: TenantPolicy, question: PolicyQuestion, own: Both): Both => {
  const { principal, parent } = question;
  if (principal.kind !== 'agent') return own;
  const missing = deny('default', 'the human this agent acts for is unknown, disabled or of another tenant');
  if (
    parent === undefined ||
    parent.disabled ||
    parent.kind !== 'human' ||
    parent.id !== principal.parentId ||
    parent.tenant !== principal.tenant
  )
    return { enforced: { verdict: missing, uses: NO_USES }, tried: missing };
  const theirs = hearBoth(policy, asParent(question, parent));
  const lacking: Verdict = { ...NOTHING_ALLOWS, reason: 'the human this agent acts for is not allowed this' };
  const both = (mine: Verdict | undefined, other: Verdict | undefined): Verdict | undefined =>
    mine === undefined ? undefined : stricter(mine, other ?? lacking);
  return {
    enforced: {
      verdict: both(own.enforced.verdict, theirs.enforced.verdict),
      uses: [...own.enforced.uses, ...theirs.enforced.uses],
    },
    tried: both(own.tried, theirs.tried),
  };
};

/** Answers one question: deny beats step-up beats allow, and nothing is a deny. */
export const decide = (policy: TenantPolicy, question: PolicyQuestion): DecisionWithLimits => {
  const refusal = outright(policy, question);
  if (refusal !== undefined) return refusal;
  const { enforced, tried } = withParent(policy, question, hearBoth(policy, question));
  const { effect, statement, reason } = enforced.verdict ?? NOTHING_ALLOWS;
  const wouldBe = tried ?? NOTHING_ALLOWS;
  const differs = wouldBe.effect !== effect;
  if (!differs && enforced.uses.length === 0) return { effect, statement, reason };
  return {
    effect,
    statement,
    reason,
    ...(differs ? { dryRun: { effect: wouldBe.effect, statement: wouldBe.statement } } : {}),
    [LIMIT_USES]: enforced.uses,
  };
};
