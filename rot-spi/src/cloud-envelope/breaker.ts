import { RootFault } from '../fault.js';

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** How long it stays open before one call may try, ms. */
  readonly openMs: number;
  readonly clock?: () => number;
}

export interface Breaker {
  /** Throws `unavailable` at once while open; otherwise runs the call and counts how it ended. */
  run<T>(call: () => Promise<T>): Promise<T>;
  state(): 'closed' | 'open' | 'trying';
}

/** Only an answer that never came counts: a refusal shows that the other side is well. */
const isOutage = (error: unknown): boolean => error instanceof RootFault && error.code === 'unavailable';

/**
 * A circuit breaker: after `failures` outages in a row every call fails at once for `openMs`, then one is let through.
 * Without it every caller waits a whole time-out and the calls of the other roots queue behind them.
 */
export const makeBreaker = ({ failures, openMs, clock = Date.now }: BreakerOptions): Breaker => {
  let inARow = 0;
  let openedAt: number | undefined;
  let trying = false;
  const state = (): 'closed' | 'open' | 'trying' => {
    if (openedAt === undefined) return 'closed';
    return trying || clock() - openedAt >= openMs ? 'trying' : 'open';
  };
  return {
    state,
    run: async (call) => {
      const now = state();
      if (now === 'open' || (now === 'trying' && trying))
        throw new RootFault(
          'unavailable',
          'the provider did not answer lately; it is tried again soon',
          'Wait, or see the health of the root.',
        );
      trying = now === 'trying';
      try {
        const answer = await call();
        inARow = 0;
        openedAt = undefined;
        return answer;
      } catch (error) {
        if (!isOutage(error)) {
          inARow = 0;
          openedAt = undefined;
        } else {
          inARow += 1;
          if (now === 'trying' || inARow >= failures) openedAt = clock();
        }
        throw error;
      } finally {
        if (now === 'trying') trying = false;
      }
    },
  };
};
