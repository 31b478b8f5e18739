import type { Fields } from '@aegis/kmip-ttlv';
import { type Algorithm, type HashName, KEY_SPECS, type KeyFamily } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject } from '../../../domain/index.js';
import { fromJson, instancesOf, storedKey } from '../attributes/stored-values.js';
import { refuse } from '../contract.js';
import { maskOf } from '../cryptography/ciphers.js';
import { hashNamed } from '../cryptography/hashes.js';
import type { CryptographicParameters } from '../cryptography/payload-fields.js';

// Cryptographic Parameters of a wrapping key → how it wraps (KMIP 2.1 §3.3, §7.18).

export interface WrappingChoice {
  readonly algorithm: Algorithm;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: HashName;
  readonly tagLength?: number;
}

const unsupported = (message: string) => refuse('UnsupportedCryptographicParameters', message);

/** Block Cipher Mode → Padding Method → algorithm of an AES key. RFC 3394 is what wraps when nothing else is said. */
const AES_MODES: Readonly<Record<string, Readonly<Record<string, Algorithm>>>> = {
  NISTKeyWrap: { None: 'aes-kw' },
  AESKeyWrapPadding: { None: 'aes-kwp' },
  GCM: { None: 'aes-gcm-wrap' },
  AEAD: { None: 'aes-gcm-wrap' },
  CBC: { PKCS5: 'aes-cbc-pkcs5-wrap' },
};
const OAEP: Readonly<Partial<Record<HashName, Algorithm>>> = { sha1: 'rsa-oaep-sha1-wrap', sha256: 'rsa-oaep-sha256-wrap' };

const aesChoice = (parameters: CryptographicParameters): WrappingChoice => {
  const mode = String(parameters.BlockCipherMode ?? 'NISTKeyWrap');
  const padding = String(parameters.PaddingMethod ?? 'None');
  const algorithm = Object.hasOwn(AES_MODES, mode) ? AES_MODES[mode]?.[padding] : undefined;
  if (algorithm === undefined)
    throw unsupported(`Key wrapping with Block Cipher Mode ${mode} and Padding Method ${padding} is not supported.`);
  const tag = parameters.TagLength;
  return { algorithm, ...(algorithm === 'aes-gcm-wrap' && tag !== undefined ? { tagLength: Number(tag) } : {}) };
};

const rsaChoice = (parameters: CryptographicParameters): WrappingChoice => {
  const padding = parameters.PaddingMethod ?? 'OAEP';
  if (padding !== 'OAEP')
    throw unsupported(`Key wrapping with an RSA key and Padding Method ${String(padding)} is not supported; use OAEP.`);
  const hash = hashNamed(parameters.HashingAlgorithm) ?? 'sha1';
  const algorithm = OAEP[hash];
  if (algorithm === undefined) throw unsupported('Key wrapping with OAEP takes SHA-1 or SHA-256.');
  return { algorithm, ...maskOf(parameters, hash), ...(parameters.PSource === undefined ? {} : { label: parameters.PSource }) };
};

const CHOICES: Readonly<Partial<Record<KeyFamily, (parameters: CryptographicParameters) => WrappingChoice>>> = {
  aes: aesChoice,
  rsa: rsaChoice,
};

/** @throws KmipRefusal where the key cannot wrap that way */
export const choiceFor = (object: ManagedObject, parameters: CryptographicParameters): WrappingChoice => {
  const choose = object.spec === undefined ? undefined : CHOICES[KEY_SPECS[object.spec].family];
  if (choose === undefined) throw unsupported('The wrapping key is of a kind that wraps no keys here.');
  return choose(parameters);
};

/** The Cryptographic Parameters that the key has as attributes. */
const ownParameters = (object: ManagedObject): readonly Fields[] =>
  instancesOf(object.attributes, storedKey('CryptographicParameters')).map(({ v }) => fromJson(v) as Fields);

const sameValue = (a: unknown, b: unknown): boolean =>
  a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.from(a).equals(Buffer.from(b)) : a === b;
const covers = (own: Fields, asked: Fields): boolean => Object.entries(asked).every(([name, value]) => sameValue(own[name], value));

/**
 * The parameters to wrap with: those asked for, else the key's first ones. `strict` (KMIP 2.1 §7.18): what is asked for must be one of
 * the key's. A key that has none says nothing against it: clients name the mode and never set the attribute.
 * @throws KmipRefusal Bad Cryptographic Parameters
 */
export const parametersFor = (object: ManagedObject, asked: Fields | undefined, strict: boolean): CryptographicParameters => {
  const own = ownParameters(object);
  if (asked === undefined || Object.keys(asked).length === 0) return (own[0] ?? {}) as CryptographicParameters;
  const match = own.find((one) => covers(one, asked));
  if (strict && own.length > 0 && match === undefined) {
    throw refuse('BadCryptographicParameters', 'The Cryptographic Parameters are none of the wrapping key’s.');
  }
  return { ...match, ...asked } as CryptographicParameters;
};
