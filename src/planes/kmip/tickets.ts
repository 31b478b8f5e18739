import { randomBytes } from 'node:crypto';
import { refuse } from './contract.js';

// Tickets of Login and Delegated Login (KMIP 2.1 §6.1.30, §6.1.12). A ticket without Request Count is an API token as the guard knows it, good on
// every node; one with a count is a random name for such a token, known to this node alone, which counts.

export interface Tickets {
  /** The ticket's value for a token. */
  issue(token: string, requestCount: number | undefined, expiresAt: number): Uint8Array;
  /** The token behind a ticket; counts the request when `use`. Nothing for one that is spent or not known. */
  open(value: Uint8Array, use: boolean): string | undefined;
  forget(value: Uint8Array): void;
}

interface Counted {
  readonly token: string;
  remaining: number;
  readonly expiresAt: number;
}

const TICKET_BYTES = 32;
const MAX_COUNTED = 10_000;
const MAX_TOKEN_BYTES = 512;

export function makeTickets(clock: () => number = Date.now): Tickets {
  const counted = new Map<string, Counted>();
  const keyOf = (value: Uint8Array): string => Buffer.from(value).toString('hex');
  const makeRoom = (): void => {
    const now = clock();
    for (const [key, one] of counted) if (one.remaining <= 0 || one.expiresAt <= now) counted.delete(key);
    if (counted.size >= MAX_COUNTED)
      throw refuse('ServerLimitExceeded', 'Too many tickets with a request count are open. Log out of some first.');
  };
  return {
    issue(token, requestCount, expiresAt) {
      if (requestCount === undefined) return new Uint8Array(Buffer.from(token, 'utf8'));
      makeRoom();
      const value = new Uint8Array(randomBytes(TICKET_BYTES));
      counted.set(keyOf(value), { token, remaining: requestCount, expiresAt });
      return value;
    },
    open(value, use) {
      if (value.length !== TICKET_BYTES) return value.length > MAX_TOKEN_BYTES ? undefined : Buffer.from(value).toString('latin1');
      const found = counted.get(keyOf(value));
      if (found === undefined || found.remaining <= 0) return undefined;
      if (use) found.remaining -= 1;
      return found.token;
    },
    forget: (value) => void counted.delete(keyOf(value)),
  };
}
