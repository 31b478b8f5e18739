import { RootFault, type RootFaultCode } from '../fault.js';
import { CKR, returnName } from './constants.js';

/** The return value inside whatever pkcs11js threw: Pkcs11Error, or a bare Error for the calls it forgets to wrap. */
export const ckrOf = (error: unknown): number | undefined => {
  if (!(error instanceof Error)) return undefined;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'number' && code > 0) return code;
  const match = /CKR_\w+:(\d+)/.exec(error.message);
  return match === null ? undefined : Number(match[1]);
};

export type ErrorClass =
  /** Open sessions and log in again, once. */
  | 'session'
  /** The device or the library state is gone: finalise, initialise, log in. */
  | 'device'
  /** Says nothing: a broken device or, in SoftHSM, bad data. Ask the token before believing either. */
  | 'ambiguous'
  /** The object handle is stale. */
  | 'handle'
  /** The session still has an operation from someone who failed half-way. */
  | 'busy'
  | 'pin'
  | 'data'
  | 'refusal';

const CLASSES: Readonly<Record<number, ErrorClass>> = {
  [CKR.SESSION_HANDLE_INVALID]: 'session',
  [CKR.SESSION_CLOSED]: 'session',
  [CKR.USER_NOT_LOGGED_IN]: 'session',
  [CKR.DEVICE_ERROR]: 'device',
  [CKR.DEVICE_REMOVED]: 'device',
  [CKR.TOKEN_NOT_PRESENT]: 'device',
  [CKR.TOKEN_NOT_RECOGNIZED]: 'device',
  [CKR.SLOT_ID_INVALID]: 'device',
  [CKR.CRYPTOKI_NOT_INITIALIZED]: 'device',
  [CKR.GENERAL_ERROR]: 'ambiguous',
  [CKR.FUNCTION_FAILED]: 'ambiguous',
  [CKR.OBJECT_HANDLE_INVALID]: 'handle',
  [CKR.KEY_HANDLE_INVALID]: 'handle',
  [CKR.UNWRAPPING_KEY_HANDLE_INVALID]: 'handle',
  [CKR.WRAPPING_KEY_HANDLE_INVALID]: 'handle',
  [CKR.OPERATION_ACTIVE]: 'busy',
  [CKR.OPERATION_NOT_INITIALIZED]: 'busy',
  [CKR.PIN_INCORRECT]: 'pin',
  [CKR.PIN_INVALID]: 'pin',
  [CKR.PIN_LEN_RANGE]: 'pin',
  [CKR.PIN_EXPIRED]: 'pin',
  [CKR.PIN_LOCKED]: 'pin',
  [CKR.DATA_INVALID]: 'data',
  [CKR.DATA_LEN_RANGE]: 'data',
  [CKR.ENCRYPTED_DATA_INVALID]: 'data',
  [CKR.ENCRYPTED_DATA_LEN_RANGE]: 'data',
  [CKR.SIGNATURE_INVALID]: 'data',
  [CKR.SIGNATURE_LEN_RANGE]: 'data',
  [CKR.WRAPPED_KEY_INVALID]: 'data',
  [CKR.WRAPPED_KEY_LEN_RANGE]: 'data',
  [CKR.ARGUMENTS_BAD]: 'data',
};
export const classOf = (rv: number): ErrorClass => CLASSES[rv] ?? 'refusal';

const REFUSALS: Readonly<Record<number, RootFaultCode>> = {
  [CKR.FUNCTION_NOT_SUPPORTED]: 'unsupported',
  [CKR.MECHANISM_INVALID]: 'unsupported',
  [CKR.MECHANISM_PARAM_INVALID]: 'unsupported',
  [CKR.KEY_SIZE_RANGE]: 'unsupported',
  [CKR.KEY_TYPE_INCONSISTENT]: 'unsupported',
  [CKR.RANDOM_SEED_NOT_SUPPORTED]: 'unsupported',
  [CKR.RANDOM_NO_RNG]: 'unsupported',
  [CKR.KEY_FUNCTION_NOT_PERMITTED]: 'usage-denied',
  [CKR.KEY_NOT_WRAPPABLE]: 'not-exportable',
  [CKR.KEY_UNEXTRACTABLE]: 'not-exportable',
  [CKR.ATTRIBUTE_SENSITIVE]: 'not-exportable',
  [CKR.DEVICE_MEMORY]: 'limit-exceeded',
  [CKR.HOST_MEMORY]: 'limit-exceeded',
  [CKR.SESSION_COUNT]: 'limit-exceeded',
  [CKR.ATTRIBUTE_VALUE_INVALID]: 'invalid-argument',
  [CKR.PUBLIC_KEY_INVALID]: 'invalid-argument',
};

const DATA_NEXT = 'Check the input: length, padding, encoding.';

/** The fault for a return value that nothing can heal. `data` is what a data error means to the call that got it. */
export const faultOf = (rv: number, data: RootFaultCode = 'invalid-argument'): RootFault => {
  const kind = classOf(rv);
  if (kind === 'pin') return pinFault(rv);
  if (kind === 'data' || (kind === 'ambiguous' && data === 'decryption-failed'))
    return data === 'decryption-failed'
      ? new RootFault(data, 'the input does not decrypt under this key')
      : new RootFault(data, `the module refused the input (${returnName(rv)})`, DATA_NEXT);
  if (kind === 'handle') return new RootFault('key-not-found', `the token does not know the key any more (${returnName(rv)})`);
  if (kind === 'session' || kind === 'device' || kind === 'ambiguous' || kind === 'busy')
    return new RootFault('unavailable', `the token failed (${returnName(rv)})`, 'Check the HSM and its client; the call can be repeated.');
  const code = REFUSALS[rv];
  if (code === undefined)
    return new RootFault('internal', `the module refused the call (${returnName(rv)})`, 'Report it with the module version of `describe`.');
  return new RootFault(code, `the module refused the call (${returnName(rv)})`);
};

export const pinFault = (rv: number): RootFault => {
  if (rv === CKR.PIN_LOCKED)
    return new RootFault(
      'pin-rejected',
      'the token has locked the user PIN',
      'Have the security officer reset it (C_InitPIN), then restart the root.',
    );
  if (rv === CKR.PIN_EXPIRED)
    return new RootFault(
      'pin-rejected',
      'the user PIN has expired',
      'Change it with the vendor tool, update the configured PIN, then restart the root.',
    );
  return new RootFault(
    'pin-rejected',
    `the token refused the user PIN (${returnName(rv)}); it is not tried again`,
    'Correct the configured PIN, then restart the root. Each wrong try counts towards the token lock.',
  );
};

/** As pkcs11js throws it, so that the healing sees no difference. */
export const ckError = (rv: number): Error => Object.assign(new Error(`${returnName(rv)}:${rv}`), { code: rv });

/** The root's own keys never go away by themselves: a stale handle to one means that the token did. */
export const tokenGoneIfStale = (error: unknown): unknown => {
  const rv = ckrOf(error);
  return rv !== undefined && classOf(rv) === 'handle' ? ckError(CKR.TOKEN_NOT_PRESENT) : error;
};
