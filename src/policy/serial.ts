/** Runs one job at a time, first come first served. A failed job doesn't stop the next. */
export const makeLock = (): (<T>(job: () => Promise<T>) => Promise<T>) => {
  let tail: Promise<unknown> = Promise.resolve();
  return (job) => {
    const run = tail.then(job);
    tail = run.catch(() => {});
    return run;
  };
};

/** Coalesces: whoever asks before the job has begun shares it, whoever asks during it gets the next, so that it sees what was true when it asked. */
export const makeSerial = (job: () => Promise<void>): (() => Promise<void>) => {
  const lock = makeLock();
  let queued: Promise<void> | undefined;
  return () => {
    queued ??= lock(() => {
      queued = undefined;
      return job();
    });
    return queued;
  };
};
