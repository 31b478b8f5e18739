import { randomBytes } from 'node:crypto';

/** RFC 9562 §5.7 UUIDv7: 48 bits of milliseconds, then a counter (§6.2 method 1) so that ids of one process sort as made. */
const POOL_IDS = 512;
const RANDOM_BYTES_PER_ID = 8;
const RANDOM_DIGITS = RANDOM_BYTES_PER_ID * 2;
const COUNTER_LIMIT = 0xfff;
/** Added so that the counter always has four hexadecimal digits, of which the last three are it. */
const COUNTER_OFFSET = 0x1000;
/** RFC 9562 §4.1: the variant is the top two bits, 10. */
const VARIANT = ['8', '9', 'a', 'b'] as const;

/** Returns a generator of ids; `clock` in milliseconds since the epoch. A clock that steps back does not break the order. */
export const makeRecordIds = (clock: () => number): (() => string) => {
  let pool = '';
  let used = 0;
  let lastMs = 0;
  let time = '';
  let counter = 0;
  return () => {
    const nowMs = Math.max(0, Math.floor(clock()));
    if (used >= pool.length) {
      pool = randomBytes(POOL_IDS * RANDOM_BYTES_PER_ID).toString('hex');
      used = 0;
    }
    const random = used;
    used += RANDOM_DIGITS;
    if (nowMs > lastMs || counter >= COUNTER_LIMIT || time === '') {
      lastMs = Math.max(nowMs, time === '' ? 0 : lastMs + 1);
      counter = 0;
      const digits = lastMs.toString(16).padStart(12, '0');
      time = `${digits.slice(0, 8)}-${digits.slice(8)}-7`;
    } else counter += 1;
    const variant = VARIANT[pool.charCodeAt(random) & 3];
    const count = (counter + COUNTER_OFFSET).toString(16).slice(1);
    return `${time}${count}-${variant}${pool.slice(random + 1, random + 4)}-${pool.slice(random + 4, random + RANDOM_DIGITS)}`;
  };
};
