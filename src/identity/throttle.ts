/**
 * Counts failed authentications per source. It never answers for a good credential: from `slowed` on, failures are told to
 * slow down; from `closed` on, credentials that have not worked lately are not even looked up, which protects the database
 * from a flood. Other sources are not affected, and neither are clients of the same source that are known to be good.
 */
export interface Throttle {
  level(source: string): 'open' | 'slowed' | 'closed';
  /** Counts a failure; returns how long the source should wait, in milliseconds. */
  failed(source: string): number;
  /** Milliseconds until the source's window ends. */
  retryAfterMs(source: string): number;
  /** Sources remembered; bounded. */
  size(): number;
}

export interface ThrottleOptions {
  /** Milliseconds, any origin. */
  readonly clock: () => number;
  /** Failures per minute of one source from which on it is told to slow down. Default 60. */
  readonly slowedAt?: number;
  /** … and from which on unknown credentials are refused unseen. Default 1200. */
  readonly closedAt?: number;
  /** Default 10,000. */
  readonly maxSources?: number;
}

const WINDOW_MS = 60_000;
const IPV4_MAPPED = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i;
const MAX_SOURCE_CHARACTERS = 64;

/** First 64 bits of an IPv6 address: one customer has at least that many addresses (RFC 6177). */
const networkOf = (address: string): string => {
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: missing }, () => '0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
};

/** What counts as one source: an IPv4 address, an IPv6 /64, or a name such as `local`. */
export const sourceKey = (source: string): string => {
  const text = source.slice(0, MAX_SOURCE_CHARACTERS);
  const mapped = IPV4_MAPPED.exec(text);
  if (mapped?.[1] !== undefined) return mapped[1];
  return text.includes(':') ? networkOf(text) : text;
};

export const makeThrottle = (options: ThrottleOptions): Throttle => {
  const slowedAt = options.slowedAt ?? 60;
  const closedAt = options.closedAt ?? 1200;
  const maxSources = options.maxSources ?? 10_000;
  const windows = new Map<string, { start: number; failures: number }>();

  const current = (key: string): { start: number; failures: number } | undefined => {
    const window = windows.get(key);
    if (window === undefined) return undefined;
    const age = options.clock() - window.start;
    if (age >= 0 && age < WINDOW_MS) return window;
    windows.delete(key);
    return undefined;
  };

  /** The oldest entries go first; a source that keeps failing is moved to the young end each time. */
  const makeRoom = (): void => {
    for (const key of windows.keys()) {
      if (windows.size < maxSources) return;
      windows.delete(key);
    }
  };

  const remaining = (window: { start: number } | undefined): number =>
    window === undefined ? 0 : Math.max(1, window.start + WINDOW_MS - options.clock());

  return {
    level: (source) => {
      const failures = current(sourceKey(source))?.failures ?? 0;
      return failures >= closedAt ? 'closed' : failures >= slowedAt ? 'slowed' : 'open';
    },
    failed: (source) => {
      const key = sourceKey(source);
      const window = current(key) ?? { start: options.clock(), failures: 0 };
      windows.delete(key);
      makeRoom();
      window.failures += 1;
      windows.set(key, window);
      return remaining(window);
    },
    retryAfterMs: (source) => remaining(current(sourceKey(source))),
    size: () => windows.size,
  };
};
