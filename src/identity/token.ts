import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

/**
 * API tokens: `aegis_` ID `_` SECRET CHECK, all base62.
 *   ID      16 characters, random, says nothing of tenant or principal; shown to people as `aegis_ID`
 *   SECRET  43 characters, 256 bits of randomness (62^43 > 2^256)
 *   CHECK   6 characters, CRC-32 of everything before it, so that secret scanners recognise a token for sure and a mistyped
 *           one is refused without asking the database
 * Only the SHA-256 of the whole token is stored: with 256 random bits there is nothing to guess that a slow hash would protect.
 */
const PREFIX = 'aegis_';
const ID_LENGTH = 16;
const SECRET_LENGTH = 43;
const CHECK_LENGTH = 6;
export const TOKEN_LENGTH = PREFIX.length + ID_LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH;
const FORM = /^aegis_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$/;
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Bytes from here on are thrown away, otherwise the first letters of the alphabet would be likelier. */
const FAIR_LIMIT = 256 - (256 % ALPHABET.length);

/** `length` base62 characters, each uniformly random. */
export const randomBase62 = (length: number): string => {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length - text.length + 16)) {
      if (byte < FAIR_LIMIT && text.length < length) text += ALPHABET[byte % ALPHABET.length];
    }
  }
  return text;
};

const checkOf = (text: string): string => {
  let rest = crc32(text);
  let check = '';
  for (let index = 0; index < CHECK_LENGTH; index += 1) {
    check = `${ALPHABET[rest % ALPHABET.length]}${check}`;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return check;
};

export interface ParsedToken {
  readonly id: string;
  /** `aegis_ID`, for people to recognise it by. */
  readonly prefix: string;
  /** SHA-256 of the token, 32 bytes. */
  readonly hash: Uint8Array;
}

const toParsed = (token: string): ParsedToken => ({
  id: token.slice(PREFIX.length, PREFIX.length + ID_LENGTH),
  prefix: token.slice(0, PREFIX.length + ID_LENGTH),
  hash: createHash('sha256').update(token).digest(),
});

/** A new token; the text exists nowhere else. */
export const makeToken = (): ParsedToken & { readonly token: string } => {
  const body = `${PREFIX}${randomBase62(ID_LENGTH)}_${randomBase62(SECRET_LENGTH)}`;
  const token = body + checkOf(body);
  return { ...toParsed(token), token };
};

/** The token's parts, or undefined for a text that can't be one (wrong form or checksum). */
export const parseToken = (text: string): ParsedToken | undefined => {
  if (text.length !== TOKEN_LENGTH || !FORM.test(text)) return undefined;
  const body = text.slice(0, -CHECK_LENGTH);
  return checkOf(body) === text.slice(-CHECK_LENGTH) ? toParsed(text) : undefined;
};

/** Letters and digits that cannot be taken for one another (Crockford's base 32). */
const PIN_ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const PIN_LENGTH = 12;
const PIN_FORM = /^[0-9A-HJKMNP-TV-Z]{12}$/;

/**
 * A PIN: 12 characters, 60 bits of randomness. It opens a PKCS#11 login of one tenant for minutes or hours; with the
 * throttle of failed logins in front, guessing one in that time is out of reach. Only the SHA-256 over tenant and PIN is kept.
 */
const pinHash = (tenant: string, pin: string): Uint8Array => createHash('sha256').update(`aegis-pin\0${tenant}\0${pin}`).digest();

export const makePin = (tenant: string): ParsedToken & { readonly token: string } => {
  const pin = Array.from(randomBytes(PIN_LENGTH), (byte) => PIN_ALPHABET[byte % PIN_ALPHABET.length]).join('');
  const id = randomBase62(ID_LENGTH);
  return { id, prefix: `pin_${id}`, hash: pinHash(tenant, pin), token: pin };
};

/** Dashes and blanks are for the eye; letters may be small. Undefined for a text that can't be a PIN. */
export const parsePin = (tenant: string, text: string): Pick<ParsedToken, 'hash'> | undefined => {
  if (text.length > 32) return undefined;
  const pin = text.replace(/[- ]/g, '').toUpperCase();
  return PIN_FORM.test(pin) ? { hash: pinHash(tenant, pin) } : undefined;
};

/** Constant-time comparison of two SHA-256 values; false where either is not 32 bytes. */
export const sameHash = (a: Uint8Array, b: Uint8Array): boolean => a.byteLength === 32 && b.byteLength === 32 && timingSafeEqual(a, b);
