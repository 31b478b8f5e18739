import type { Pkcs11RootConfig } from '../config.js';
import { RootFault } from '../fault.js';
import { CKF } from './constants.js';
import type { Cryptoki, Handle, TokenInfo } from './cryptoki.js';

export interface FoundSlot {
  readonly slot: Handle;
  readonly token: TokenInfo;
}

/** What of a token can be asked for; every named field must match. */
interface Wanted {
  readonly label?: string;
  readonly serial?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  readonly slotId?: bigint;
  readonly index?: number;
}

const invalidSlot = (why: string): RootFault =>
  new RootFault(
    'invalid-argument',
    `slot: ${why}`,
    'Name the token by exactly one of label, serial, uri (pkcs11:token=…;serial=…) or index.',
  );

const URI_FIELDS: Readonly<Record<string, keyof Wanted>> = {
  token: 'label',
  serial: 'serial',
  manufacturer: 'manufacturer',
  model: 'model',
  'slot-id': 'slotId',
};

/**
 * The token part of a PKCS#11 URI (RFC 7512 §2.3). Attributes of objects and libraries are refused rather than ignored, and
 * so are the query attributes pin-value and pin-source: a PIN belongs in `pin`.
 */
const parsePkcs11Uri = (uri: string): Wanted => {
  if (!uri.toLowerCase().startsWith('pkcs11:')) throw invalidSlot('a uri begins with pkcs11:');
  const [path = '', query] = uri.slice('pkcs11:'.length).split('?', 2);
  if (query !== undefined) throw invalidSlot('the uri must not carry a query (pin-value, pin-source, module-…)');
  const wanted: Record<string, string | bigint> = {};
  for (const part of path.split(';').filter((text) => text !== '')) {
    const at = part.indexOf('=');
    const field = at < 0 ? undefined : URI_FIELDS[part.slice(0, at)];
    if (field === undefined) throw invalidSlot(`the uri attribute ${at < 0 ? part : part.slice(0, at)} does not name a token`);
    if (field in wanted) throw invalidSlot(`the uri names ${part.slice(0, at)} twice`); // RFC 7512 §2.3: at most once
    wanted[field] = parseUriValue(field, part.slice(at + 1));
  }
  if (Object.keys(wanted).length === 0) throw invalidSlot('the uri names no token');
  return wanted as Wanted;
};

const parseUriValue = (field: keyof Wanted, text: string): string | bigint => {
  if (field === 'slotId') {
    if (!/^\d{1,20}$/.test(text)) throw invalidSlot('slot-id must be a number');
    return BigInt(text);
  }
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidSlot('the uri has a broken percent-encoding');
  }
};

/** Configuration → what to look for. Throws `invalid-argument` unless exactly one way is given. */
export const toWanted = (slot: Pkcs11RootConfig['slot']): Wanted => {
  const given = (['label', 'serial', 'uri', 'index'] as const).filter((way) => slot[way] !== undefined);
  if (given.length !== 1) throw invalidSlot(given.length === 0 ? 'nothing is given' : `${given.join(' and ')} are given together`);
  if (slot.uri !== undefined) return parsePkcs11Uri(slot.uri);
  if (slot.index !== undefined && !(Number.isSafeInteger(slot.index) && slot.index >= 0)) throw invalidSlot('index must be 0 or more');
  return { ...slot };
};

/** Fields are blank-padded, or zero-padded by careless modules (v2.40 §4.3). */
const trimmed = (text: string): string => text.replace(/[\s\0]+$/u, '');

const slotNumber = (slot: Handle): bigint => (slot.length === 8 ? slot.readBigUInt64LE() : BigInt(slot.readUInt32LE()));

const matches = (wanted: Wanted, slot: Handle, index: number, token: TokenInfo): boolean =>
  (wanted.index === undefined || wanted.index === index) &&
  (wanted.slotId === undefined || wanted.slotId === slotNumber(slot)) &&
  (wanted.label === undefined || wanted.label === trimmed(token.label)) &&
  (wanted.serial === undefined || wanted.serial === trimmed(token.serialNumber)) &&
  (wanted.manufacturer === undefined || wanted.manufacturer === trimmed(token.manufacturerID)) &&
  (wanted.model === undefined || wanted.model === trimmed(token.model));

/** One look. Throws `unavailable` (none) or `invalid-argument` (several). */
export const findSlot = (cryptoki: Cryptoki, wanted: Wanted): FoundSlot => {
  const seen: string[] = [];
  const found: FoundSlot[] = [];
  for (const [index, slot] of cryptoki.C_GetSlotList(true).entries()) {
    let token: TokenInfo;
    try {
      token = cryptoki.C_GetTokenInfo(slot);
    } catch {
      continue; // A token that left between the two calls.
    }
    if ((token.flags & CKF.TOKEN_INITIALIZED) !== 0 || wanted.index !== undefined || trimmed(token.label) !== '')
      seen.push(`${index}: "${trimmed(token.label)}" serial ${trimmed(token.serialNumber)}`);
    if (matches(wanted, slot, index, token)) found.push({ slot, token });
  }
  const [first] = found;
  if (first === undefined)
    throw new RootFault(
      'unavailable',
      `no token matches ${describeWanted(wanted)}; present: ${seen.length === 0 ? 'none' : seen.slice(0, 16).join(', ')}`,
      'Check that the HSM is connected, the slot setting, and the module configuration (for SoftHSM: SOFTHSM2_CONF in `environment`).',
    );
  if (found.length > 1)
    throw new RootFault('invalid-argument', `${found.length} tokens match ${describeWanted(wanted)}`, 'Name the token by its serial.');
  return first;
};

const describeWanted = (wanted: Wanted): string =>
  Object.entries(wanted)
    .map(([field, value]) => `${field} "${String(value)}"`)
    .join(', ');

export const trimmedInfo = (
  token: TokenInfo,
): { readonly label: string; readonly serial: string; readonly manufacturer: string; readonly model: string } => ({
  label: trimmed(token.label),
  serial: trimmed(token.serialNumber),
  manufacturer: trimmed(token.manufacturerID),
  model: trimmed(token.model),
});
export type { Wanted };
export { trimmed };
