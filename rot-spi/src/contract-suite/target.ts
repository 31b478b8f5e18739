import type { RootOfTrust } from '../contract.js';

/**
 * Something a back end cannot do, with the reason. `what` is one of
 *   power:<call>  spec:<spec>  generate:<spec>  import:<spec>  hash:<hash>
 *   algorithm:<algorithm>  algorithm:<algorithm>@<spec>  multi-part:<algorithm>  parameter:<name>
 * and may hold `*` for any text. Every gap of a back end must be listed, and everything listed must be a gap.
 */
export interface ExpectedGap {
  readonly what: string;
  readonly reason: string;
}

export interface ContractTarget {
  readonly name: string;
  readonly open: () => Promise<RootOfTrust>;
  /** A root with another sealing or wrapping key: references of one are `wrong-root` to the other. */
  readonly reopenOther?: () => Promise<RootOfTrust>;
  readonly expectUnsupported?: readonly ExpectedGap[];
  /** Longest time of one test, ms. Default 120,000: RSA-4096 pairs take their time. */
  readonly timeoutMs?: number;
}

interface Matchers {
  toBe(expected: unknown): void;
  toEqual(expected: unknown): void;
}

/** The part of vitest (or any runner like it) that the suite uses. */
export interface ContractRunner {
  readonly describe: (name: string, body: () => void) => void;
  readonly test: (name: string, body: () => Promise<void>, timeoutMs?: number) => void;
  readonly expect: (actual: unknown, message?: string) => Matchers;
}
