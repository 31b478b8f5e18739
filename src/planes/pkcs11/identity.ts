import type { Credential } from '../../domain/index.js';
import type { CallContext, ConnectionState, Login, Slot } from './contract.js';
import { Rv, rv, toLoginRv } from './rv.js';
import { CKF, CKU } from './wire/codes.js';

const NOBODY: Credential = { kind: 'none' };

/** Who acts in a slot: its login, else the reserved string's token, else the identity bound to the socket, else nobody. */
export const credentialOf = (connection: ConnectionState, slot: Slot): Credential => {
  if (slot.login !== undefined) return slot.login.credential;
  if (connection.reserved?.tenant === slot.tenant) return connection.reserved.credential;
  const bound = connection.socket.principal;
  if (bound === undefined || bound.tenant !== slot.tenant) return NOBODY;
  return { kind: 'socket', socket: connection.socket.name, tenant: bound.tenant, principalId: bound.id };
};
export const hasIdentity = (connection: ConnectionState, slot: Slot): boolean => credentialOf(connection, slot).kind !== 'none';
/** An identity that is there without C_Login: the token then does not ask for one. */
export const needsLogin = (connection: ConnectionState, slot: Slot): boolean =>
  credentialOf(connection, { ...slot, login: undefined }).kind === 'none';

/** Failed logins of one connection after which it gets no more tries; the socket's own throttle counts across connections. */
const MAX_FAILED_LOGINS = 10;
/** Each failure makes the next answer slower, up to this, ms. */
const MAX_DELAY_MS = 3_000;
const FIRST_DELAY_MS = 50;

/** What C_GetTokenInfo says of wrong PINs since the last right one (PKCS#11 v2.40 §3.2, CK_TOKEN_INFO). */
export const pinFlags = ({ failedLogins }: Pick<ConnectionState, 'failedLogins'>): number =>
  (failedLogins > 0 ? CKF.USER_PIN_COUNT_LOW : 0) +
  (failedLogins === MAX_FAILED_LOGINS - 1 ? CKF.USER_PIN_FINAL_TRY : 0) +
  (failedLogins >= MAX_FAILED_LOGINS ? CKF.USER_PIN_LOCKED : 0);

const delayAfterFailure = (failures: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.min(FIRST_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS)));

/** A token by its form; anything else can only be a PIN. */
const presented = (tenant: string, secret: string): Credential =>
  secret.startsWith('aegis_') ? { kind: 'bearer', token: secret } : { kind: 'pin', tenant, pin: secret };

export interface Proof {
  readonly tokenId: string;
  readonly admin: boolean;
}

/**
 * Presents a token or PIN once, in a recorded call, and answers the id under which the login goes on: the secret is not kept.
 * A token of another tenant than the slot's is as wrong as any other.
 */
export const prove = async (context: CallContext, slot: Slot, secret: string): Promise<Proof> => {
  const { connection } = context;
  if (connection.failedLogins >= MAX_FAILED_LOGINS) throw rv('PIN_LOCKED');
  const trial: Slot = { ...slot, login: { userType: 'user', credential: presented(slot.tenant, secret) } };
  try {
    const who = await context.call(trial, 'whoami', {});
    if (who.principal.tenant !== slot.tenant || who.credentialId === undefined) throw rv('PIN_INCORRECT');
    connection.failedLogins = 0;
    return { tokenId: who.credentialId, admin: who.principal.roles.includes('admin') };
  } catch (error) {
    connection.failedLogins += 1;
    await delayAfterFailure(connection.failedLogins);
    if (error instanceof Rv && error.fault !== undefined) throw toLoginRv(error.fault);
    throw error;
  }
};

export const proven = (tenant: string, tokenId: string): Credential => ({ kind: 'proven', tenant, tokenId });

export const toLogin = (slot: Pick<Slot, 'tenant'>, tokenId: string, userType: number): Login => ({
  userType: userType === CKU.SO ? 'so' : 'user',
  credential: proven(slot.tenant, tokenId),
});
