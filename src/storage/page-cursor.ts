import { createHash } from 'node:crypto';
import { fail } from '../domain/index.js';

const MAX_CURSOR_CHARACTERS = 1_024;
const MAX_LIMIT = 1_000;
export const MAX_OFFSET = 10_000_000;

/** Position of the last row of a page: values of the sort columns. */
export type Position = readonly (string | number)[];

const stamp = (question: unknown): string => createHash('sha256').update(JSON.stringify(question)).digest('base64url').slice(0, 12);

/** An opaque cursor: where the page ended, bound to the question it belongs to. It holds nothing the page did not show. */
const toCursor = (question: unknown, position: Position): string =>
  Buffer.from(JSON.stringify([stamp(question), ...position])).toString('base64url');

/** Reads a cursor back; fault `invalid-field` when it is not one of this question. `shape` gives the types of its values. */
export const parseCursor = (
  question: unknown,
  cursor: string | undefined,
  shape: readonly ('string' | 'number')[],
): Position | undefined => {
  if (cursor === undefined) return undefined;
  const refuse = () =>
    fail('invalid-field', 'This cursor does not belong to this listing.', { field: 'cursor', next: 'Start again without a cursor.' });
  if (cursor.length > MAX_CURSOR_CHARACTERS || !/^[\w-]+$/.test(cursor)) throw refuse();
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw refuse();
  }
  if (!Array.isArray(parsed) || parsed.length !== shape.length + 1 || parsed[0] !== stamp(question)) throw refuse();
  const position = parsed.slice(1) as unknown[];
  for (const [index, type] of shape.entries()) {
    const value = position[index];
    if (typeof value !== type || (type === 'number' && !Number.isSafeInteger(value)) || String(value).includes('\0')) throw refuse();
  }
  return position as Position;
};

/** Rows to return, 1 … 1000. */
export const pageLimit = (limit: number): number => {
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw fail('invalid-field', 'The page size must be a whole number from 1.', { field: 'limit', next: `Ask for 1 to ${MAX_LIMIT}.` });
  return Math.min(limit, MAX_LIMIT);
};

/** Cuts the extra row that was read to know whether there is a next page, and makes its cursor. */
export const toPage = <R, T>(
  rows: readonly R[],
  limit: number,
  question: unknown,
  position: (row: R) => Position,
  map: (row: R) => T,
): { readonly items: T[]; readonly next?: string } => {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(map),
    ...(rows.length > limit && last !== undefined ? { next: toCursor(question, position(last)) } : {}),
  };
};
