import { createHash } from 'node:crypto';
import { KEY_SPECS, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, ObjectType } from '../../domain/index.js';
import { certificateParts, octets, publicParts } from './der.js';
import { curveParameters, keyTypeOf } from './key-types.js';
import { fromHex, fromStoredText, STORED, storedName } from './stored-attributes.js';
import type { AttributeValue } from './wire/attributes.js';
import { CK_UNAVAILABLE, CKA, CKO } from './wire/codes.js';

/** What a managed object looks like through PKCS#11: one row per attribute, total over the classes it belongs to. */

const CLASS_OF: Partial<Record<ObjectType, number>> = {
  'private-key': CKO.PRIVATE_KEY,
  'public-key': CKO.PUBLIC_KEY,
  'symmetric-key': CKO.SECRET_KEY,
  'secret-data': CKO.SECRET_KEY,
  certificate: CKO.CERTIFICATE,
  'opaque-object': CKO.DATA,
};
export const classOf = (object: Pick<ManagedObject, 'type'>): number | undefined => CLASS_OF[object.type];
export const typesOfClass = (cko: number): readonly ObjectType[] =>
  (Object.keys(CLASS_OF) as ObjectType[]).filter((type) => CLASS_OF[type] === cko);
export const SHOWN_TYPES = Object.keys(CLASS_OF) as readonly ObjectType[];

/** Destroyed objects, and those on their way, are gone for an application. */
export const isShown = (object: ManagedObject): boolean =>
  classOf(object) !== undefined && !object.state.startsWith('destroyed') && object.dates.destroyDue === undefined;

export interface Facts {
  readonly object: ManagedObject;
  /** SubjectPublicKeyInfo of the current version. */
  readonly publicKey: Uint8Array | undefined;
  readonly provenance: { readonly local: boolean; readonly alwaysSensitive: boolean; readonly neverExtractable: boolean } | undefined;
  readonly bits: number | undefined;
  /** Display name of the other half of a pair, where this half has none of its own. */
  readonly pairName: string | undefined;
}

/** `secret`: the value is inside the root; `sensitive`: it may not be read; `absent`: no such attribute. */
export type AttributeAnswer = { readonly value: AttributeValue } | 'secret' | 'sensitive' | 'absent';

const uuidBytes = (id: string): Uint8Array => Buffer.from(id.replaceAll('-', ''), 'hex');

/** Attribute the key service keeps on both halves of a pair. */
const PAIR_ATTRIBUTE = 'x-aegis-pair';
export const pairIdOf = (object: ManagedObject): string | undefined => {
  const pair = object.attributes[PAIR_ATTRIBUTE];
  if (typeof pair === 'string') return pair;
  return object.links.find((link) => link.type === 'private-key' || link.type === 'public-key')?.target;
};

/** Own CKA_ID, or one that both halves of a pair (and their certificate) share: the private key's id. */
const idOf = (object: ManagedObject): Uint8Array => {
  const own = fromHex(object.attributes[STORED.id]);
  if (own !== undefined) return own;
  if (object.type === 'opaque-object') return new Uint8Array(0);
  const partner = object.type === 'public-key' || object.type === 'certificate' ? pairIdOf(object) : undefined;
  return uuidBytes(partner !== undefined && /^[0-9a-f-]{36}$/i.test(partner) ? partner : object.id);
};

const labelOf = ({ object, pairName }: Pick<Facts, 'object' | 'pairName'>): Uint8Array => {
  const own = object.attributes[STORED.label];
  if (typeof own === 'string') return fromStoredText(own);
  return Buffer.from(object.names[0] ?? pairName ?? '');
};
/** Whether the label is the other half's name, which then has to be looked up. */
export const needsPairName = (object: ManagedObject): boolean =>
  object.type === 'public-key' &&
  object.attributes[STORED.label] === undefined &&
  object.names.length === 0 &&
  pairIdOf(object) !== undefined;

const flag = (object: ManagedObject, name: string, fallback: boolean): boolean => {
  const stored = object.attributes[name];
  return typeof stored === 'boolean' ? stored : fallback;
};
export const isSensitive = (object: ManagedObject): boolean => flag(object, STORED.sensitive, !object.exportable);
export const isModifiable = (object: ManagedObject): boolean => flag(object, STORED.modifiable, true);
export const isDestroyable = (object: ManagedObject): boolean => flag(object, STORED.destroyable, true);
const isPublicBytes = (object: ManagedObject): boolean =>
  object.type === 'public-key' || object.type === 'certificate' || object.type === 'opaque-object';
/** Keys never leave their root by way of a copy. */
export const isCopyable = (object: ManagedObject): boolean => isPublicBytes(object) && flag(object, STORED.copyable, true);
export const isPrivate = (object: ManagedObject): boolean =>
  flag(object, STORED.private, object.type === 'private-key' || object.type === 'symmetric-key' || object.type === 'secret-data');
export const sessionOf = (object: ManagedObject): string | undefined => {
  const session = object.attributes[STORED.session];
  return typeof session === 'string' ? session : undefined;
};

type Row = (facts: Facts) => AttributeAnswer;
const value =
  (of: (facts: Facts) => AttributeValue): Row =>
  (facts) => ({ value: of(facts) });
const fixed = (constant: AttributeValue): Row => value(() => constant);
const uses = (...usages: readonly KeyUsage[]): Row => value(({ object }) => usages.some((usage) => object.usage.includes(usage)));
const free =
  (type: number): Row =>
  ({ object }) => ({ value: fromHex(object.attributes[storedName(type) ?? '']) ?? new Uint8Array(0) });
/** Key material itself. */
const material: Row = ({ object }) => (object.exportable && !isSensitive(object) ? 'secret' : 'sensitive');

const familyOf = ({ object }: Facts) => (object.spec === undefined ? undefined : KEY_SPECS[object.spec].family);
const isRsa = (facts: Facts): boolean => familyOf(facts) === 'rsa';
const hasCurve = (facts: Facts): boolean => ['ec', 'eddsa', 'xdh'].includes(familyOf(facts) ?? '');
const only =
  (test: (facts: Facts) => boolean, row: Row): Row =>
  (facts) =>
    test(facts) ? row(facts) : 'absent';
const ofPublic =
  (of: (parts: { modulus?: Uint8Array; exponent?: Uint8Array; point: Uint8Array }) => AttributeValue): Row =>
  (facts) => {
    const parts = facts.publicKey === undefined ? undefined : publicParts(facts.publicKey, isRsa(facts));
    const found = parts === undefined ? undefined : of(parts);
    return found === undefined ? 'absent' : { value: found };
  };
/** CKA_EC_POINT: DER OCTET STRING around the point (PKCS#11 v3.0 §6.3.3); Edwards and Montgomery keys the same way. */
const ecPoint = ofPublic(({ point }) => octets(point));

const COMMON: Readonly<Record<number, Row>> = {
  [CKA.CLASS]: value(({ object }) => classOf(object)),
  [CKA.TOKEN]: value(({ object }) => sessionOf(object) === undefined),
  [CKA.PRIVATE]: value(({ object }) => isPrivate(object)),
  [CKA.MODIFIABLE]: value(({ object }) => isModifiable(object)),
  [CKA.COPYABLE]: value(({ object }) => isCopyable(object)),
  [CKA.DESTROYABLE]: value(({ object }) => isDestroyable(object)),
  [CKA.LABEL]: value((facts) => labelOf(facts)),
  [CKA.UNIQUE_ID]: value(({ object }) => Buffer.from(object.id)),
};
const KEY: Readonly<Record<number, Row>> = {
  [CKA.KEY_TYPE]: value(({ object }) => {
    const own = object.attributes[STORED.keyType];
    return typeof own === 'number' ? own : object.spec === undefined ? CK_UNAVAILABLE : keyTypeOf(object.spec);
  }),
  [CKA.ID]: value(({ object }) => idOf(object)),
  [CKA.START_DATE]: free(CKA.START_DATE),
  [CKA.END_DATE]: free(CKA.END_DATE),
  [CKA.DERIVE]: uses('derive', 'agree'),
  [CKA.LOCAL]: value(({ provenance }) => provenance?.local === true),
  [CKA.KEY_GEN_MECHANISM]: value(({ object, provenance }) => {
    const own = object.attributes[STORED.mechanism];
    return provenance?.local === true && typeof own === 'number' ? own : CK_UNAVAILABLE;
  }),
  [CKA.ALLOWED_MECHANISMS]: value(({ object }) => allowedMechanisms(object) ?? []),
};
export const allowedMechanisms = (object: ManagedObject): readonly number[] | undefined => {
  const stored = object.attributes[STORED.allowed];
  return Array.isArray(stored) ? stored.filter((one): one is number => typeof one === 'number') : undefined;
};

const SECRET_PART: Readonly<Record<number, Row>> = {
  [CKA.SENSITIVE]: value(({ object }) => isSensitive(object)),
  [CKA.EXTRACTABLE]: value(({ object }) => object.exportable),
  [CKA.ALWAYS_SENSITIVE]: value(({ object, provenance }) => isSensitive(object) && provenance?.alwaysSensitive === true),
  [CKA.NEVER_EXTRACTABLE]: value(({ object, provenance }) => !object.exportable && provenance?.neverExtractable === true),
  [CKA.WRAP_WITH_TRUSTED]: fixed(false),
};
const RSA_PUBLIC: Readonly<Record<number, Row>> = {
  [CKA.MODULUS]: only(
    isRsa,
    ofPublic(({ modulus }) => modulus),
  ),
  [CKA.PUBLIC_EXPONENT]: only(
    isRsa,
    ofPublic(({ exponent }) => exponent),
  ),
};
const CURVE_PUBLIC: Readonly<Record<number, Row>> = {
  [CKA.EC_PARAMS]: only(
    hasCurve,
    value(({ object }) => (object.spec === undefined ? undefined : curveParameters(object.spec))),
  ),
  [CKA.EC_POINT]: only(hasCurve, ecPoint),
};
const PUBLIC_INFO: Readonly<Record<number, Row>> = {
  [CKA.PUBLIC_KEY_INFO]: (facts) => (facts.publicKey === undefined ? 'absent' : { value: facts.publicKey }),
  [CKA.SUBJECT]: free(CKA.SUBJECT),
};

const PUBLIC: Readonly<Record<number, Row>> = {
  ...COMMON,
  ...KEY,
  ...RSA_PUBLIC,
  ...CURVE_PUBLIC,
  ...PUBLIC_INFO,
  [CKA.ENCRYPT]: uses('encrypt'),
  [CKA.VERIFY]: uses('verify'),
  [CKA.VERIFY_RECOVER]: fixed(false),
  [CKA.WRAP]: uses('wrap'),
  [CKA.TRUSTED]: fixed(false),
  [CKA.MODULUS_BITS]: only(
    isRsa,
    value(({ object }) => (object.spec === undefined ? 0 : KEY_SPECS[object.spec].bits)),
  ),
};
const RSA_SECRETS = [CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2, CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT];
const PRIVATE: Readonly<Record<number, Row>> = {
  ...COMMON,
  ...KEY,
  ...SECRET_PART,
  ...RSA_PUBLIC,
  ...CURVE_PUBLIC,
  ...PUBLIC_INFO,
  ...Object.fromEntries(RSA_SECRETS.map((type) => [type, only(isRsa, material)])),
  [CKA.VALUE]: only((facts) => !isRsa(facts), material),
  [CKA.DECRYPT]: uses('decrypt'),
  [CKA.SIGN]: uses('sign'),
  [CKA.SIGN_RECOVER]: fixed(false),
  [CKA.UNWRAP]: uses('unwrap'),
  [CKA.ALWAYS_AUTHENTICATE]: fixed(false),
};
const SECRET: Readonly<Record<number, Row>> = {
  ...COMMON,
  ...KEY,
  ...SECRET_PART,
  [CKA.VALUE]: material,
  [CKA.VALUE_LEN]: value(({ bits }) => Math.floor((bits ?? 0) / 8)),
  [CKA.ENCRYPT]: uses('encrypt'),
  [CKA.DECRYPT]: uses('decrypt'),
  [CKA.SIGN]: uses('mac'),
  [CKA.VERIFY]: uses('mac-verify'),
  [CKA.WRAP]: uses('wrap'),
  [CKA.UNWRAP]: uses('unwrap'),
  [CKA.TRUSTED]: fixed(false),
};
const DATA: Readonly<Record<number, Row>> = {
  ...COMMON,
  [CKA.APPLICATION]: free(CKA.APPLICATION),
  [CKA.OBJECT_ID]: free(CKA.OBJECT_ID),
  [CKA.VALUE]: ({ object }) => (object.attributes[STORED.empty] === true ? { value: new Uint8Array(0) } : 'secret'),
};

const ofCertificate =
  (of: (der: Uint8Array, parts: NonNullable<ReturnType<typeof certificateParts>>) => AttributeValue): Row =>
  ({ object }) => {
    const der = object.content;
    const parts = der === undefined ? undefined : certificateParts(der);
    return der === undefined || parts === undefined ? 'absent' : { value: of(der, parts) };
  };
const dateOf = (name: string): Row =>
  value(({ object }) => {
    const text = object.attributes[name];
    return typeof text === 'string' ? Buffer.from(text.slice(0, 10).replaceAll('-', '')) : new Uint8Array(0);
  });
const CERTIFICATE: Readonly<Record<number, Row>> = {
  ...COMMON,
  [CKA.CERTIFICATE_TYPE]: fixed(0),
  [CKA.TRUSTED]: fixed(false),
  [CKA.CERTIFICATE_CATEGORY]: value(({ object }) => {
    const own = object.attributes[STORED.category];
    return typeof own === 'number' ? own : 0;
  }),
  [CKA.CHECK_VALUE]: ofCertificate((der) => createHash('sha1').update(der).digest().subarray(0, 3)),
  [CKA.START_DATE]: dateOf('x-aegis-x509-not-before'),
  [CKA.END_DATE]: dateOf('x-aegis-x509-not-after'),
  [CKA.SUBJECT]: ofCertificate((_, { subject }) => subject),
  [CKA.ID]: value(({ object }) => idOf(object)),
  [CKA.ISSUER]: ofCertificate((_, { issuer }) => issuer),
  [CKA.SERIAL_NUMBER]: ofCertificate((_, { serial }) => serial),
  [CKA.VALUE]: ofCertificate((der) => der),
  [CKA.PUBLIC_KEY_INFO]: ofCertificate((_, { publicKey }) => publicKey),
  [CKA.URL]: free(CKA.URL),
  [CKA.HASH_OF_SUBJECT_PUBLIC_KEY]: free(CKA.HASH_OF_SUBJECT_PUBLIC_KEY),
  [CKA.HASH_OF_ISSUER_PUBLIC_KEY]: free(CKA.HASH_OF_ISSUER_PUBLIC_KEY),
};

const ROWS: Readonly<Record<number, Readonly<Record<number, Row>>>> = {
  [CKO.PUBLIC_KEY]: PUBLIC,
  [CKO.PRIVATE_KEY]: PRIVATE,
  [CKO.SECRET_KEY]: SECRET,
  [CKO.DATA]: DATA,
  [CKO.CERTIFICATE]: CERTIFICATE,
};

/** Attributes an object of a class has, besides vendor ones that were given to it. */
export const attributesOfClass = (cko: number): readonly number[] => Object.keys(ROWS[cko] ?? {}).map(Number);

export const readAttribute = (facts: Facts, type: number): AttributeAnswer => {
  const row = ROWS[classOf(facts.object) ?? -1]?.[type];
  if (row !== undefined) {
    const answer = row(facts);
    return typeof answer === 'object' && answer.value === undefined ? 'absent' : answer;
  }
  const name = storedName(type);
  const stored = name === undefined ? undefined : fromHex(facts.object.attributes[name]);
  return stored === undefined ? 'absent' : { value: stored };
};

/** Attributes that need more than a listing row: provenance, size or public key of the current version. */
const NEEDS_VERSION: ReadonlySet<number> = new Set([
  ...[CKA.LOCAL, CKA.KEY_GEN_MECHANISM, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.MODULUS, CKA.PUBLIC_EXPONENT],
  ...[CKA.EC_POINT, CKA.PUBLIC_KEY_INFO, CKA.VALUE_LEN],
]);
export const needsVersion = (type: number): boolean => NEEDS_VERSION.has(type);
