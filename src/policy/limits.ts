import type { Parsed } from './selectors.js';

/** What a limit counts apart. */
export const LIMIT_DIMENSIONS = ['principal', 'parent', 'key', 'action', 'tenant', 'source'] as const;
export type LimitDimension = (typeof LIMIT_DIMENSIONS)[number];

/** `rate`: a token bucket of `count` refilled over `windowMs`. `quota`: `count` per calendar window, UTC. */
export type Limit =
  | {
      readonly kind: 'rate';
      readonly count: number;
      readonly windowMs: number;
      readonly per: readonly LimitDimension[];
      readonly text: string;
    }
  | {
      readonly kind: 'quota';
      readonly count: number;
      readonly window: QuotaWindow;
      readonly per: readonly LimitDimension[];
      readonly text: string;
    };
export type QuotaWindow = 'hour' | 'day' | 'month';

const SECOND_MS = 1000;
const UNITS_MS: Readonly<Record<string, number>> = {
  s: SECOND_MS,
  sec: SECOND_MS,
  second: SECOND_MS,
  min: 60 * SECOND_MS,
  minute: 60 * SECOND_MS,
  h: 3600 * SECOND_MS,
  hour: 3600 * SECOND_MS,
};
const QUOTA_WINDOWS: Readonly<Record<string, QuotaWindow>> = { h: 'hour', hour: 'hour', day: 'day', d: 'day', month: 'month' };
const FORM = /^([1-9][0-9]{0,8})\/([a-z]+)$/;

/** `100/min`. Anything else is refused: a limit that can't be read must never mean "unlimited". */
export const parseRate = (text: string): Parsed<{ readonly count: number; readonly windowMs: number }> => {
  const match = FORM.exec(text);
  const windowMs = match?.[2] !== undefined && Object.hasOwn(UNITS_MS, match[2]) ? UNITS_MS[match[2]] : undefined;
  if (match?.[1] === undefined || windowMs === undefined)
    return { ok: false, reason: 'must read COUNT/UNIT with unit s, min or hour, e.g. `100/min`' };
  return { ok: true, value: { count: Number(match[1]), windowMs } };
};

/** `10000/day`. */
export const parseQuota = (text: string): Parsed<{ readonly count: number; readonly window: QuotaWindow }> => {
  const match = FORM.exec(text);
  const window = match?.[2] !== undefined && Object.hasOwn(QUOTA_WINDOWS, match[2]) ? QUOTA_WINDOWS[match[2]] : undefined;
  if (match?.[1] === undefined || window === undefined)
    return { ok: false, reason: 'must read COUNT/UNIT with unit hour, day or month, e.g. `10000/day`' };
  return { ok: true, value: { count: Number(match[1]), window } };
};

/** The calendar window (UTC) an instant falls into: its name, and when it ends, ms. */
export const quotaWindow = (window: QuotaWindow, now: number): { readonly name: string; readonly endsAt: number } => {
  const iso = new Date(now).toISOString();
  const at = new Date(now);
  const [y, m, d, h] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours()];
  switch (window) {
    case 'hour':
      return { name: iso.slice(0, 13), endsAt: Date.UTC(y, m, d, h + 1) };
    case 'day':
      return { name: iso.slice(0, 10), endsAt: Date.UTC(y, m, d + 1) };
    case 'month':
      return { name: iso.slice(0, 7), endsAt: Date.UTC(y, m + 1, 1) };
  }
};
