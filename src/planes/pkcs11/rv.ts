import type { Fault } from '../../domain/index.js';
import { PROJECTIONS } from '../projections.js';
import { CKR, type CkrName } from './wire/codes.js';

/** A return value other than CKR_OK, thrown by handlers and answered as an error response. */
export class Rv extends Error {
  readonly rv: number;
  /** The fault behind it, where the service refused. */
  readonly fault: Fault | undefined;
  constructor(name: CkrName, fault?: Fault) {
    super(`CKR_${name}${fault === undefined ? '' : `: ${fault.message}`}`);
    this.name = 'Rv';
    this.rv = CKR[name];
    this.fault = fault;
  }
}
export const rv = (name: CkrName): Rv => new Rv(name);

/** Where a fault means something else than its own row says, because of the call it came from. */
export type FaultOverrides = Partial<Record<Fault['code'], CkrName>>;

/**
 * An expired or revoked login is "not logged in" for every call but C_Login itself (PKCS#11 v3.0 §5.1.6 lists PIN errors
 * for C_Login only).
 */
const AFTER_LOGIN: FaultOverrides = {
  'credential-expired': 'USER_NOT_LOGGED_IN',
  'credential-revoked': 'USER_NOT_LOGGED_IN',
};

const nameOf = (ckr: string): CkrName => {
  const name = ckr.replace(/^CKR_/, '');
  return Object.hasOwn(CKR, name) ? (name as CkrName) : 'GENERAL_ERROR';
};

export const toRv = (fault: Fault, overrides: FaultOverrides = {}): Rv =>
  new Rv(overrides[fault.code] ?? AFTER_LOGIN[fault.code] ?? nameOf(PROJECTIONS[fault.code].ckr), fault);

/** C_Login: one answer for every way of being nobody, except what the standard lets a token say. */
export const toLoginRv = (fault: Fault): Rv => {
  const names: FaultOverrides = {
    unauthenticated: 'PIN_INCORRECT',
    'credential-expired': 'PIN_EXPIRED',
    'credential-revoked': 'PIN_INCORRECT',
    'rate-limited': 'PIN_LOCKED',
    'permission-denied': 'PIN_INCORRECT',
  };
  return new Rv(names[fault.code] ?? nameOf(PROJECTIONS[fault.code].ckr), fault);
};
