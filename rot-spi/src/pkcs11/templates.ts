import type { KeyBinding } from '../contract.js';
import { KEY_SPECS, type KeySpec, type KeyUsage } from '../vocabulary/index.js';
import { curveOf, pointFromSpki, rsaFromSpki } from './asymmetric.js';
import { CKA, CKK, CKO } from './constants.js';
import type { Cryptoki, Handle, Template } from './cryptoki.js';
import { tlv } from './der.js';

/**
 * Templates name every attribute that matters: defaults differ between modules (AWS CloudHSM: extractable and sensitive,
 * nShield refuses weak ones, SoftHSM: usable for everything).
 */
export interface Placement {
  readonly binding: KeyBinding;
  readonly keyType: number;
  readonly token: boolean;
  readonly extractable: boolean;
  readonly sensitive: boolean;
  readonly id?: Buffer;
  /** The value comes after the template (unwrap, derive): SoftHSM then takes an unmodifiable object for read-only at once. */
  readonly valueLater?: boolean;
}

/** CKA_LABEL is for people looking at the token; nothing is found by it. */
const label = (binding: KeyBinding): string => `aegis ${binding.objectId} v${binding.version}`;

const named = (placement: Placement): Template => [
  { type: CKA.LABEL, value: label(placement.binding) },
  ...(placement.id === undefined ? [] : [{ type: CKA.ID, value: placement.id }]),
];

/**
 * Usages the binding grants and the specification knows: a module may check every one it is told (NSS tries a key agreement
 * with an RSA key that may derive, and fails). A secret may make MACs where its binding says so.
 */
const granted = ({ spec, usage }: KeyBinding): ReadonlySet<KeyUsage> => {
  const known: readonly KeyUsage[] = spec === 'secret' ? [...KEY_SPECS[spec].usages, 'mac', 'mac-verify'] : KEY_SPECS[spec].usages;
  return new Set(usage.filter((one) => known.includes(one)));
};

export const secretTemplate = (placement: Placement): Template => {
  const can = granted(placement.binding);
  return [
    { type: CKA.CLASS, value: CKO.SECRET_KEY },
    { type: CKA.KEY_TYPE, value: placement.keyType },
    { type: CKA.TOKEN, value: placement.token },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.MODIFIABLE, value: placement.valueLater === true },
    { type: CKA.SENSITIVE, value: placement.sensitive },
    { type: CKA.EXTRACTABLE, value: placement.extractable },
    // A data key (generateDataKey) is encrypted under a key that may only wrap, too.
    { type: CKA.ENCRYPT, value: can.has('encrypt') || (can.has('wrap') && placement.keyType === CKK.AES) },
    { type: CKA.DECRYPT, value: can.has('decrypt') },
    // A MAC is checked by making it, so that truncated ones can be: `mac-verify` needs CKA_SIGN as well.
    { type: CKA.SIGN, value: can.has('mac') || can.has('mac-verify') },
    { type: CKA.VERIFY, value: can.has('mac-verify') },
    { type: CKA.WRAP, value: can.has('wrap') },
    { type: CKA.UNWRAP, value: can.has('unwrap') },
    { type: CKA.DERIVE, value: can.has('derive') },
    ...named(placement),
  ];
};

export const privateTemplate = (placement: Placement): Template => {
  const can = granted(placement.binding);
  return [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    { type: CKA.KEY_TYPE, value: placement.keyType },
    { type: CKA.TOKEN, value: placement.token },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.MODIFIABLE, value: placement.valueLater === true },
    { type: CKA.SENSITIVE, value: placement.sensitive },
    { type: CKA.EXTRACTABLE, value: placement.extractable },
    { type: CKA.DECRYPT, value: can.has('decrypt') },
    { type: CKA.SIGN, value: can.has('sign') },
    { type: CKA.UNWRAP, value: can.has('unwrap') },
    { type: CKA.DERIVE, value: can.has('agree') || can.has('derive') },
    ...named(placement),
  ];
};

const FAMILY_KEY_TYPES: Readonly<Record<string, number>> = {
  rsa: CKK.RSA,
  ec: CKK.EC,
  eddsa: CKK.EC_EDWARDS,
  xdh: CKK.EC_MONTGOMERY,
};

/** The public half while a pair is made: a session object, read once and thrown away. */
export const newPublicTemplate = (
  spec: KeySpec,
  exponent: number,
  curveParams: Buffer | undefined,
  token: boolean,
  id?: Buffer,
): Template => {
  const row = KEY_SPECS[spec];
  const rsa = row.family === 'rsa';
  const e = Buffer.alloc(4);
  e.writeUInt32BE(exponent);
  return [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.KEY_TYPE, value: FAMILY_KEY_TYPES[row.family] ?? 0 },
    { type: CKA.TOKEN, value: token },
    { type: CKA.PRIVATE, value: false },
    { type: CKA.VERIFY, value: row.family !== 'xdh' },
    ...(id === undefined ? [] : [{ type: CKA.ID, value: id }]),
    ...(rsa
      ? [
          { type: CKA.ENCRYPT, value: true },
          { type: CKA.WRAP, value: true },
          { type: CKA.MODULUS_BITS, value: row.bits },
          { type: CKA.PUBLIC_EXPONENT, value: e.subarray(exponent > 0xff_ffff ? 0 : 1) },
        ]
      : [{ type: CKA.EC_PARAMS, value: curveParams ?? curveOf(spec).params }]),
  ];
};

/** A public key brought into the module for one purpose or another. */
export const publicTemplate = (spec: KeySpec, spki: Buffer, curveParams: Buffer | undefined): Template => {
  const { family } = KEY_SPECS[spec];
  const base: Template = [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.KEY_TYPE, value: FAMILY_KEY_TYPES[family] ?? 0 },
    { type: CKA.TOKEN, value: false },
    { type: CKA.PRIVATE, value: false },
    { type: CKA.VERIFY, value: true },
  ];
  if (family === 'rsa') {
    const { modulus, exponent } = rsaFromSpki(spki);
    return [
      ...base,
      { type: CKA.ENCRYPT, value: true },
      { type: CKA.WRAP, value: true },
      { type: CKA.MODULUS, value: modulus },
      { type: CKA.PUBLIC_EXPONENT, value: exponent },
    ];
  }
  return [
    ...base,
    { type: CKA.EC_PARAMS, value: curveParams ?? curveOf(spec).params },
    { type: CKA.EC_POINT, value: tlv(0x04, pointFromSpki(spki)) },
  ];
};

/** One attribute, or undefined: the whole call fails when one is sensitive or unknown, so each is asked for alone. */
export const readAttribute = (cryptoki: Cryptoki, session: Handle, object: Handle, type: number): Buffer | undefined => {
  try {
    const value = cryptoki.C_GetAttributeValue(session, object, [{ type }])[0]?.value;
    return value === undefined || value.length === 0 ? undefined : value;
  } catch {
    return undefined;
  }
};

export const readBoolean = (cryptoki: Cryptoki, session: Handle, object: Handle, type: number): boolean | undefined => {
  const value = readAttribute(cryptoki, session, object, type);
  return value === undefined ? undefined : value[0] !== 0;
};

/** CK_ULONG is 8 bytes on Unix, 4 on Windows. */
export const readNumber = (cryptoki: Cryptoki, session: Handle, object: Handle, type: number): number | undefined => {
  const value = readAttribute(cryptoki, session, object, type);
  if (value === undefined) return undefined;
  return value.length >= 8 ? Number(value.readBigUInt64LE()) : value.readUIntLE(0, Math.min(value.length, 4));
};
