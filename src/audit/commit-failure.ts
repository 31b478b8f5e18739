import { FaultError, fail } from '../domain/index.js';

/**
 * What a failed group commit means for the chain:
 * `rolled-back`: the database answered with an error, so nothing was committed;
 * `unknown`: the answer was lost, the commit may have happened.
 */
export type FailureKind = 'rolled-back' | 'unknown';

/** SQLSTATE: five characters, at least one digit; no PostgreSQL class begins with E, which sets errno names (E2BIG) apart. */
const SQLSTATE = /^(?=.*\d)[0-9A-DF-Z][0-9A-Z]{4}$/;
const MAX_CAUSES = 8;

const codes = (error: unknown): readonly string[] => {
  const found: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && typeof current === 'object' && current !== null; depth += 1) {
    const code = (current as { code?: unknown }).code;
    if (typeof code === 'string') found.push(code);
    current = (current as { cause?: unknown }).cause;
  }
  return found;
};

const sqlState = (error: unknown): string | undefined => codes(error).find((code) => SQLSTATE.test(code));

/** Class 08 (connection) and 57P0x (shutdown, crash of another back end) can arrive while a COMMIT is on its way. */
const LOST_ANSWER = /^08|^57P0/;
export const failureKind = (error: unknown): FailureKind => {
  const state = sqlState(error);
  return state === undefined || LOST_ANSWER.test(state) ? 'unknown' : 'rolled-back';
};

/** Serialization failure and deadlock: rolled back for certain and worth repeating as it is. */
export const isTransient = (error: unknown): boolean => ['40001', '40P01'].includes(sqlState(error) ?? '');

/**
 * Errors that the data of one item can cause (22 data exception, 23 constraint, 42 type mismatch, 54 program limit): the
 * others of its group must not suffer, so the group is repeated item by item.
 */
export const isDataError = (error: unknown): boolean => /^(21|22|23|42|54)/.test(sqlState(error) ?? '');

const isDiskFull = (error: unknown): boolean => codes(error).some((code) => code === '53100' || code === 'ENOSPC');

/** What callers are told; the cause stays inside for the operator's log. */
export const toUnavailable = (error: unknown, uncertain: boolean): FaultError => {
  const options = { cause: error };
  if (isDiskFull(error))
    return new FaultError(
      {
        code: 'audit-unavailable',
        message: 'The audit log cannot be written: the database has no space left, so nothing is done.',
        next: 'Free space on the database volume; the service goes on by itself.',
        retryAfterMs: 5000,
      },
      options,
    );
  return new FaultError(
    {
      code: 'audit-unavailable',
      message: uncertain
        ? 'The database did not confirm this call: it may have taken effect.'
        : 'The audit log cannot be written, so nothing is done.',
      next: uncertain ? 'Look at the object before you repeat the call.' : 'Repeat the call; if it goes on, look at `aegis audit health`.',
      retryAfterMs: 1000,
      ...(uncertain ? { uncertain: true } : {}),
    },
    options,
  );
};

export const toOverloaded = (): FaultError =>
  fail('overloaded', 'Too many calls wait for the audit log.', { next: 'Repeat the call later.', retryAfterMs: 500 });

/** One line for `audit health`; database messages may quote data, so only codes are shown. */
export const failureDetail = (error: unknown): string => {
  if (isDiskFull(error))
    return 'The database has no space left (53100). Every call is refused until there is space; the service goes on by itself.';
  const state = sqlState(error);
  if (state !== undefined) return `The database refuses the audit record (SQLSTATE ${state}). Look at the database log.`;
  const code = codes(error).find((text) => /^E[A-Z0-9]{2,15}$/.test(text));
  return `The database does not answer${code === undefined ? '' : ` (${code})`}. Check that it runs and is reachable.`;
};
