import { setTimeout as wait } from 'node:timers/promises';

export interface RetryOptions {
  /** Tries in all. */
  readonly attempts: number;
  /** First pause; doubles with every try. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** No new try is begun after this long. */
  readonly budgetMs: number;
}

/** An attempt that may be made again: the provider was not reached, or asked us to slow down. */
export class Retryable extends Error {
  /** What the provider asked for (Retry-After), ms. */
  readonly afterMs: number | undefined;
  readonly fault: Error;
  constructor(fault: Error, afterMs?: number) {
    super(fault.message);
    this.fault = fault;
    this.afterMs = afterMs;
  }
}

/** Full jitter: a random pause between nothing and the bound, so that callers who failed together do not return together. */
const pauseMs = (attempt: number, { baseMs, maxMs }: RetryOptions): number => Math.random() * Math.min(maxMs, baseMs * 2 ** attempt);

export const withRetries = async <T>(call: () => Promise<T>, options: RetryOptions): Promise<T> => {
  const until = Date.now() + options.budgetMs;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof Retryable)) throw error;
      const pause = Math.max(error.afterMs ?? 0, pauseMs(attempt, options));
      if (attempt + 1 >= options.attempts || Date.now() + pause > until) throw error.fault;
      await wait(pause);
    }
  }
};
