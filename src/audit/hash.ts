import { createHash, hash as oneShotHash } from 'node:crypto';

/** crypto.hash (one native call) came with Node.js 20.12 and halves the cost of a short hash. */
const hasOneShot = typeof oneShotHash === 'function';

export const sha256 = (data: Uint8Array): Buffer =>
  hasOneShot ? oneShotHash('sha256', data, 'buffer') : createHash('sha256').update(data).digest();

/** Of the text's UTF-8; lower-case hex. */
export const sha256Hex = (text: string): string =>
  hasOneShot ? oneShotHash('sha256', text) : createHash('sha256').update(text).digest('hex');
