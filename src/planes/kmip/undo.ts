import type { Caller, GuardedService, OperationName, OperationRequest, OperationResponse } from '../../domain/index.js';

/** Takes back what a batch did. */
export interface Undo {
  /** Runs a call and remembers how to take it back. */
  around<O extends OperationName>(
    operation: O,
    request: OperationRequest<O>,
    run: () => Promise<OperationResponse<O>>,
  ): Promise<OperationResponse<O>>;
  add(step: () => Promise<void>): void;
  /** The batch succeeded: what was held back happens now. */
  commit(): Promise<void>;
  /** Runs every step, last first; answers what went wrong. */
  rollback(): Promise<unknown[]>;
}

export function makeUndo(_service: GuardedService, _caller: Caller): Undo {
  const steps: (() => Promise<void>)[] = [];
  return {
    around: (_operation, _request, run) => run(),
    add: (step) => void steps.push(step),
    commit: async () => undefined,
    async rollback() {
      const problems: unknown[] = [];
      for (const step of steps.reverse()) await step().catch((error: unknown) => problems.push(error));
      return problems;
    },
  };
}
