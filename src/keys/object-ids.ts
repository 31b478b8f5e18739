import { randomBytes } from 'node:crypto';
import { type KeyHandle, toKeyHandle } from '../domain/index.js';

/** UUID version 7 (RFC 9562 §5.7): ids made together lie together in the index; 74 random bits. */
export const newObjectId = (now: number): KeyHandle => {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.max(0, Math.trunc(now)), 0, 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = bytes.toString('hex');
  return toKeyHandle(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
};
