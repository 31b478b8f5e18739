import type { Pkcs11RootConfig } from '../config.js';
import type { RootOfTrust } from '../contract.js';
import { openPkcs11RootWith } from './back-end.js';
import { pkcs11jsSource } from './cryptoki.js';

/**
 * Opens a PKCS#11 token as a root of trust: loads the module into this process, logs in, finds or makes the root's own two
 * keys, and tries out what the module can do (under two seconds on SoftHSM2).
 *
 * Throws RootFault: `pin-rejected` (wrong, expired or locked PIN; do not start again before somebody has changed it),
 * `sealed` (no PIN to be had), `invalid-argument` (slot), `unavailable` (binding not installed, module not loadable, token
 * not there), each with the next step.
 */
export const openPkcs11Root = (config: Pkcs11RootConfig): Promise<RootOfTrust> => openPkcs11RootWith(config, pkcs11jsSource);
