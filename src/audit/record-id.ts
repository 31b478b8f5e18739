import { randomFillSync } from 'node:crypto';

/** RFC 9562 §5.7 UUIDv7: 48 bits of milliseconds, then a counter (§6.2 method 1) so that ids of one process sort as made. */
const POOL_BYTES = 4096;
const RANDOM_BYTES_PER_ID = 8;
const COUNTER_LIMIT = 0xfff;
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const hex = (byte: number): string => HEX[byte & 0xff] as string;

/** Returns a generator of ids; `clock` in milliseconds since the epoch. A clock that steps back does not break the order. */
export const makeRecordIds = (clock: () => number): (() => string) => {
  const pool = new Uint8Array(POOL_BYTES);
  let used = POOL_BYTES;
  let lastMs = 0;
  let counter = 0;
  return () => {
    const nowMs = Math.max(0, Math.floor(clock()));
    if (used + RANDOM_BYTES_PER_ID > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const random = pool.subarray(used, used + RANDOM_BYTES_PER_ID);
    used += RANDOM_BYTES_PER_ID;
    if (nowMs > lastMs) {
      lastMs = nowMs;
      counter = 0;
    } else if (counter < COUNTER_LIMIT) counter += 1;
    else {
      lastMs += 1;
      counter = 0;
    }
    const time = lastMs.toString(16).padStart(12, '0');
    const tail = hex(random[2] ?? 0) + hex(random[3] ?? 0) + hex(random[4] ?? 0) + hex(random[5] ?? 0) + hex(random[6] ?? 0);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}-${hex(((random[0] ?? 0) & 0x3f) | 0x80)}${hex(random[1] ?? 0)}-${tail}${hex(random[7] ?? 0)}`;
  };
};
