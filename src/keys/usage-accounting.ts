import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import { type Change, fail, type ManagedObject } from '../domain/index.js';
import { GCM_INVOCATION_LIMIT } from './key-parts.js';

/**
 * Counts what a key protects: usage limits (KMIP 1.4 §3.21), rotation by use, and the invocations of AES-GCM with random
 * IVs (SP 800-38D §8.3). The counters live in the store, where one conditional update decides; nothing here can be raced
 * into exceeding a limit, because an answer is released only after its consumption committed.
 *
 * A key that is counted for GCM alone would pay a row update per encryption. A node therefore reserves a block of
 * invocations at once and spends it in memory; what is left of a block when the process ends is lost, never reused.
 */
export interface UsageAccount {
  /** Changes for one protecting use of `payloadBytes`; `settled` must run once they are committed. */
  consume(object: ManagedObject, use: Use): { readonly changes: readonly Change[]; readonly settled?: () => void };
}
export interface Use {
  readonly payloadBytes: number;
  readonly algorithm?: Algorithm;
  /** 0 for the further parts of one multi-part operation. */
  readonly uses?: 0 | 1;
}

/** Invocations reserved at once. 2^32 allows four million blocks. */
const BLOCK = 1024;
/** Keys whose reservation is remembered; forgetting one only wastes the rest of its block. */
const MAX_RESERVATIONS = 10_000;

const refuseWornOut = (object: ManagedObject, algorithm: Algorithm | undefined): void => {
  if (algorithm !== 'aes-gcm' || object.uses < GCM_INVOCATION_LIMIT) return;
  throw fail('usage-limit-reached', 'The key has made as many AES-GCM encryptions as SP 800-38D §8.3 allows.', {
    next: 'Rotate the key; what it encrypted stays readable.',
  });
};

const refuseSpent = (object: ManagedObject, amount: number): void => {
  // Early and friendly; the store decides.
  if (object.usageLimits !== undefined && object.usageLimits.remaining < amount) {
    throw fail('usage-limit-reached', 'The key’s usage limit is reached.', { next: 'Rotate or re-key it, or create another key.' });
  }
};

export const makeUsageAccount = (): UsageAccount => {
  const reserved = new Map<string, number>();
  const pending = new Set<string>();

  const grant = (key: string, count: number): void => {
    pending.delete(key);
    reserved.delete(key);
    reserved.set(key, count);
    const oldest = reserved.keys().next();
    if (reserved.size > MAX_RESERVATIONS && oldest.done !== true) reserved.delete(oldest.value);
  };

  const consumeBlock = (object: ManagedObject): ReturnType<UsageAccount['consume']> => {
    const key = `${object.id}@${object.currentVersion}`;
    const left = reserved.get(key) ?? 0;
    if (left > 0) {
      reserved.set(key, left - 1);
      return { changes: [] };
    }
    const base = { kind: 'consume-usage', tenant: object.tenant, objectId: object.id, amount: 0, limited: false } as const;
    // While one reservation is on its way, other calls pay for themselves alone.
    if (pending.has(key)) return { changes: [{ ...base, uses: 1 }] };
    pending.add(key);
    setTimeout(() => pending.delete(key), PENDING_MS).unref();
    return { changes: [{ ...base, uses: BLOCK }], settled: () => grant(key, BLOCK - 1) };
  };

  return {
    consume(object, { payloadBytes, algorithm, uses = 1 }) {
      refuseWornOut(object, algorithm);
      const { usageLimits, rotation } = object;
      const base = { kind: 'consume-usage', tenant: object.tenant, objectId: object.id } as const;
      if (usageLimits !== undefined) {
        const amount = usageLimits.unit === 'byte' ? payloadBytes : uses;
        if (amount === 0 && uses === 0) return { changes: [] };
        refuseSpent(object, amount);
        return { changes: [{ ...base, amount, limited: true, uses }] };
      }
      if (uses === 0) return { changes: [] };
      if (rotation?.afterUses !== undefined) return { changes: [{ ...base, amount: 0, limited: false, uses }] };
      return algorithm === 'aes-gcm' ? consumeBlock(object) : { changes: [] };
    },
  };
};

/** A reservation whose commit never reported back is asked for again after this long, ms. */
const PENDING_MS = 5_000;
