/**
 * How long a group waits for calls that are about to join it. A commit costs the same whether it carries four records or
 * forty, and calls come in crowds: those that were answered a moment ago ask again, those that wait for their signature come
 * back with its outcome. So a group waits a moment while fewer are here than there were lately; a lone caller never waits.
 */
export interface Gathering {
  /** Calls worth waiting for, given so many are here; not above `queued` when there is no reason to wait. */
  goal(queued: number): number;
  /** What a wait came to. */
  waited(reached: boolean, before: number, queued: number): void;
  /** A group has been answered; `present` counts its calls and those queued behind it. */
  answered(present: number): void;
}

/** Longest wait, ms. */
export const GATHER_MS = 3;
/** A few always come late; nobody waits for the last tenth. */
const SHARE = 0.9;
/** By group: a crowd that is gone is hardly expected any more after 16 (0.9^16 is less than a fifth). */
const DECAY = 0.9;
/** After waits in vain, so many groups go without one at most. */
const MAX_PAUSE_GROUPS = 64;
/** A wait was worth it when it brought so much more. */
const WORTHWHILE = 1.25;

export const makeGathering = (): Gathering => {
  let crowd = 0;
  let pause = 0;
  let skip = 0;
  return {
    goal: (queued) => {
      const goal = Math.floor(crowd * SHARE);
      if (goal <= queued) return queued;
      if (skip === 0) return goal;
      skip -= 1;
      return queued;
    },
    waited: (reached, before, queued) => {
      if (reached || queued >= before * WORTHWHILE) {
        pause = 0;
        return;
      }
      crowd = queued;
      pause = Math.min(Math.max(1, pause * 2), MAX_PAUSE_GROUPS);
      skip = pause;
    },
    answered: (present) => {
      crowd = Math.max(present, crowd * DECAY);
    },
  };
};
