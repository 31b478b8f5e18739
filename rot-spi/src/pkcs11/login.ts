import { createHmac, randomBytes } from 'node:crypto';
import type { Pkcs11RootConfig } from '../config.js';
import { RootFault } from '../fault.js';
import type { Secret } from '../secret.js';
import { SECRET_ACCESS } from '../secret-access.js';
import { readSecretSource } from '../secret-source.js';
import { ckrOf, classOf, pinFault } from './ck-error.js';
import { CKF, CKR, CKU_USER } from './constants.js';
import type { Cryptoki, Handle } from './cryptoki.js';
import { type FoundSlot, trimmedInfo } from './slot.js';

/**
 * PINs this process has seen refused, as keyed hashes. A token counts wrong tries and locks for good, so a refused PIN is
 * never offered again by itself: not by a retry, not by a re-initialisation, not by opening the root anew.
 */
const rejected = new Set<string>();
const rejectionKey = randomBytes(32);

export interface Pin {
  readonly value: Secret;
  /** This very PIN has opened the token before, in this process. */
  proven: boolean;
}

export const readPin = async (config: Pkcs11RootConfig): Promise<Pin> => ({ value: await readSecretSource(config.pin), proven: false });

/** pkcs11js passes the PIN as text in UTF-8, which is also what CK_UTF8CHAR means (v2.40 §5.6). */
const toText = (pin: Secret): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(pin.bytes(SECRET_ACCESS));
  } catch {
    throw new RootFault('sealed', 'the PIN is not valid UTF-8, which PKCS#11 prescribes', 'Store the PIN as UTF-8 text.');
  }
};

const rejectionOf = (module: string, found: FoundSlot, pin: Secret): string => {
  const { label, serial, manufacturer } = trimmedInfo(found.token);
  return createHmac('sha256', rejectionKey)
    .update(JSON.stringify([module, manufacturer, serial, label]))
    .update(pin.bytes(SECRET_ACCESS))
    .digest('hex');
};

const checkFlags = (flags: number, proven: boolean): void => {
  if ((flags & CKF.USER_PIN_LOCKED) !== 0) throw pinFault(CKR.PIN_LOCKED);
  if ((flags & CKF.USER_PIN_FINAL_TRY) !== 0 && !proven)
    throw new RootFault(
      'pin-rejected',
      'one wrong PIN more would lock the token, so the last try is not spent automatically',
      'Log in once by hand (pkcs11-tool --login --list-objects) to reset the counter, then restart the root.',
    );
};

/** Logs the application in. `already logged in` is success: the state belongs to the process (v2.40 §5.6 C_Login). */
export const logIn = (cryptoki: Cryptoki, session: Handle, module: string, found: FoundSlot, pin: Pin): void => {
  if ((found.token.flags & CKF.LOGIN_REQUIRED) === 0) return;
  const rejection = rejectionOf(module, found, pin.value);
  if (rejected.has(rejection)) throw pinFault(CKR.PIN_INCORRECT);
  checkFlags(found.token.flags, pin.proven);
  try {
    cryptoki.C_Login(session, CKU_USER, toText(pin.value));
  } catch (error) {
    const rv = ckrOf(error);
    if (rv === CKR.USER_PIN_NOT_INITIALIZED)
      throw new RootFault('sealed', 'the token has no user PIN yet', 'Initialise it first (softhsm/provision.mjs, or the vendor tool).');
    if (rv !== undefined && classOf(rv) === 'pin') {
      rejected.add(rejection);
      throw pinFault(rv);
    }
    if (rv !== CKR.USER_ALREADY_LOGGED_IN) throw error;
    return;
  }
  pin.proven = true;
};
