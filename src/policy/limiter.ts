import type { Fault } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import { type Limit, type LimitDimension, type QuotaWindow, quotaWindow } from './limits.js';

/**
 * Counts. Rates are token buckets in this node's memory: with n nodes a client that spreads its calls gets up to n times the
 * rate. Quotas are counted per node too, each node enforcing its share (quota ÷ nodes), and survive a restart through
 * periodic snapshots (quota-snapshots.ts); a crash loses at most the counts since the last one.
 */
export interface LimitUse {
  /** `document/statement`. */
  readonly label: string;
  readonly limit: Limit;
  /** Whose budget it is: the caller's, or its parent's for the parent's statements. */
  readonly principalId: string;
}

export interface QuotaCount {
  readonly key: string;
  readonly window: QuotaWindow;
  /** Name of the calendar window, e.g. 2026-11-20. */
  readonly name: string;
  readonly used: number;
}

export interface Limiter {
  /** Takes one from every limit, or from none and says which is exhausted. */
  take(uses: readonly LimitUse[], question: PolicyQuestion): Fault | undefined;
  quotas(now: number): readonly QuotaCount[];
  /** Puts counts of a snapshot back; larger counts win. */
  restore(counts: readonly QuotaCount[], now: number): void;
  sizes(): { readonly buckets: number; readonly quotas: number };
}

interface Bucket {
  tokens: number;
  at: number;
  /** When it will be full again if unused: from then on it says nothing. */
  fullAt: number;
}
interface Quota {
  window: QuotaWindow;
  name: string;
  endsAt: number;
  used: number;
}

const DEFAULT_MAX_ENTRIES = 100_000;
/** U+001F: neither in names nor ids, and fit for JSON in PostgreSQL (which refuses U+0000). */
const SEPARATOR = '\u001f';

const part = (dimension: LimitDimension, use: LimitUse, question: PolicyQuestion): string => {
  switch (dimension) {
    case 'principal':
      return use.principalId;
    case 'parent':
      return question.parent?.id ?? question.principal.id;
    case 'key':
      return question.object?.id ?? '-';
    case 'action':
      return question.action;
    case 'tenant':
      return question.tenant;
    case 'source':
      return question.source.slice(0, 64);
  }
};

/** Tenants count apart always: two tenants may have documents of the same name. */
const keyOf = (use: LimitUse, question: PolicyQuestion): string => {
  let key = `${question.tenant}${SEPARATOR}${use.label}${SEPARATOR}${use.limit.text}`;
  for (const dimension of use.limit.per) key += SEPARATOR + part(dimension, use, question);
  return key;
};

/**
 * A bounded map of counters. When full, counters that say nothing any more go; if there are none, newcomers share one
 * counter per limit: forgetting a counter would hand its owner a fresh budget.
 */
const makeCounters = <T>(maxEntries: number, isSpent: (counter: T, now: number) => boolean) => {
  const entries = new Map<string, T>();
  let sweptAt = Number.NEGATIVE_INFINITY;
  const makeRoom = (now: number): boolean => {
    if (entries.size < maxEntries) return true;
    // A full map of live counters is swept at most once a second, whatever arrives.
    if (now - sweptAt < 1000 && now >= sweptAt) return false;
    sweptAt = now;
    for (const [key, counter] of entries) if (isSpent(counter, now)) entries.delete(key);
    return entries.size < maxEntries;
  };
  return {
    entries,
    get: (key: string, sharedKey: string, now: number, make: () => T): T => {
      const found = entries.get(key);
      if (found !== undefined) return found;
      const at = makeRoom(now) ? key : sharedKey;
      let counter = entries.get(at);
      if (counter === undefined) {
        counter = make();
        entries.set(at, counter);
      }
      return counter;
    },
  };
};

const rateFault = (use: LimitUse, retryAfterMs: number): Fault => ({
  code: 'rate-limited',
  message: `Rate limit of ${use.limit.text} reached.`,
  next: 'Wait and retry; spread the calls.',
  retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)),
  statement: use.label,
});
const quotaFault = (use: LimitUse, retryAfterMs: number): Fault => ({
  code: 'quota-exceeded',
  message: `Quota of ${use.limit.text} exhausted.`,
  next: 'Wait for the next window, or have an administrator raise the quota.',
  retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)),
  statement: use.label,
});

export const makeLimiter = (options: { readonly maxEntries?: number; readonly nodes?: () => number } = {}): Limiter => {
  const maxEntries = options.maxEntries ?? DEFAULT_MAX_ENTRIES;
  const buckets = makeCounters<Bucket>(maxEntries, (bucket, now) => bucket.fullAt <= now);
  const quotas = makeCounters<Quota>(maxEntries, (quota, now) => quota.endsAt <= now);
  const shareOf = (count: number): number => Math.max(1, Math.floor(count / Math.max(1, options.nodes?.() ?? 1)));
  const shared = (use: LimitUse): string => `${SEPARATOR}${use.label}${SEPARATOR}${use.limit.text}`;

  const bucketFor = (use: LimitUse, limit: Extract<Limit, { kind: 'rate' }>, question: PolicyQuestion): Bucket => {
    const { now } = question;
    const bucket = buckets.get(keyOf(use, question), shared(use), now, () => ({ tokens: limit.count, at: now, fullAt: now }));
    const gained = (Math.max(0, now - bucket.at) * limit.count) / limit.windowMs;
    bucket.tokens = Math.min(limit.count, bucket.tokens + gained);
    // A clock that steps back must not refill the same interval twice.
    bucket.at = Math.max(bucket.at, now);
    return bucket;
  };
  const quotaFor = (use: LimitUse, limit: Extract<Limit, { kind: 'quota' }>, question: PolicyQuestion): Quota => {
    const { now } = question;
    const fresh = (): Quota => ({ window: limit.window, ...quotaWindow(limit.window, now), used: 0 });
    const quota = quotas.get(keyOf(use, question), shared(use), now, fresh);
    if (now >= quota.endsAt) Object.assign(quota, fresh());
    return quota;
  };
  const check = (use: LimitUse, question: PolicyQuestion): Fault | undefined => {
    const { limit } = use;
    if (limit.kind === 'rate') {
      const { tokens } = bucketFor(use, limit, question);
      return tokens >= 1 ? undefined : rateFault(use, ((1 - tokens) * limit.windowMs) / limit.count);
    }
    const quota = quotaFor(use, limit, question);
    return quota.used < shareOf(limit.count) ? undefined : quotaFault(use, quota.endsAt - question.now);
  };
  const consume = (use: LimitUse, question: PolicyQuestion): void => {
    const { limit } = use;
    if (limit.kind === 'quota') {
      quotaFor(use, limit, question).used += 1;
      return;
    }
    const bucket = bucketFor(use, limit, question);
    bucket.tokens -= 1;
    bucket.fullAt = question.now + ((limit.count - bucket.tokens) * limit.windowMs) / limit.count;
  };

  return {
    take: (uses, question) => {
      for (const use of uses) {
        const fault = check(use, question);
        if (fault !== undefined) return fault;
      }
      for (const use of uses) consume(use, question);
      return undefined;
    },
    quotas: (now) =>
      [...quotas.entries].flatMap(([key, { window, name, endsAt, used }]) =>
        endsAt > now && used > 0 ? [{ key, window, name, used }] : [],
      ),
    restore: (counts, now) => {
      for (const { key, window, name, used } of counts) {
        const current = quotaWindow(window, now);
        if (current.name !== name) continue;
        const quota = quotas.get(key, key, now, () => ({ window, ...current, used: 0 }));
        quota.used = Math.max(quota.used, used);
      }
    },
    sizes: () => ({ buckets: buckets.entries.size, quotas: quotas.entries.size }),
  };
};
