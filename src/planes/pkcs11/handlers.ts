import type { CallName } from './calls.js';
import type { Handler } from './contract.js';
import { CIPHER_HANDLERS } from './operations/ciphers.js';
import { DIGEST_HANDLERS } from './operations/digests.js';
import { GENERAL_HANDLERS } from './operations/general.js';
import { KEY_HANDLERS } from './operations/keys.js';
import { OBJECT_HANDLERS } from './operations/objects.js';
import { SIGNING_HANDLERS } from './operations/signing.js';

/** A handler for every call of the table; the compiler refuses a call without one. */
export const HANDLERS: Readonly<Record<CallName, Handler>> = {
  ...GENERAL_HANDLERS,
  ...OBJECT_HANDLERS,
  ...KEY_HANDLERS,
  ...CIPHER_HANDLERS,
  ...SIGNING_HANDLERS,
  ...DIGEST_HANDLERS,
};
