/** One stored version of a policy document. */
export interface PolicyDocument {
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
  /** YAML or JSON as written. */
  readonly source: string;
  readonly mode: 'enforce' | 'dry-run';
  readonly active: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface PolicyProblem {
  /** 1-based. */
  readonly line: number;
  readonly column?: number;
  /** e.g. `statements.2.when`. */
  readonly path: string;
  readonly reason: string;
}

export type PolicyEffect = 'allow' | 'deny' | 'step-up';

export interface PolicyDecision {
  readonly effect: PolicyEffect;
  /** `document/statement-id` that decided; `default` when none matched. */
  readonly statement: string;
  readonly reason: string;
  /** What dry-run documents would have decided, when they differ. */
  readonly dryRun?: { readonly effect: PolicyEffect; readonly statement: string };
}

export interface PolicyExplanation {
  readonly considered: readonly { readonly statement: string; readonly matched: boolean; readonly why: string }[];
}
