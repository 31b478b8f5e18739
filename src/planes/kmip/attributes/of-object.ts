import { createHash } from 'node:crypto';
import {
  attributeRow,
  type Fields,
  type KmipAttribute,
  type KmipVersion,
  knownTag,
  livesIn,
  type TagName,
  tagRow,
  type Value,
} from '@aegis/kmip-ttlv';
import { KEY_SPECS, toUsageMask } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, ObjectView, VersionView } from '../../../domain/index.js';
import { certificateFields, elementsOf } from './certificate-fields.js';
import { attributesOfTemplate } from './given.js';
import { algorithmOfSpec, curveOfSpec } from './key-spec.js';
import { fromJson, instancesOf, storedAttributes, storedKey, storedOne } from './stored-values.js';
import { attributeOfLink, linkTypeName, REASON_NAMES, STATE_NAMES, TYPE_NAMES } from './vocabulary.js';

// Everything KMIP can say of a managed object (KMIP 2.1 §4, 1.4 §3): the domain's fields in KMIP's words, and what was kept for it.

/** The lease of an object on which none was granted yet, seconds. */
export const DEFAULT_LEASE_SECONDS = 3600;

interface Facts {
  readonly object: ManagedObject;
  readonly current: VersionView | undefined;
}
type Said = Value | readonly Value[] | undefined;
type Teller = (facts: Facts) => Said;

const seconds = (ms: number | undefined): bigint | undefined => (ms === undefined ? undefined : BigInt(Math.floor(ms / 1000)));
const date =
  (field: keyof ManagedObject['dates']): Teller =>
  ({ object }) =>
    seconds(object.dates[field]);
const kept =
  (name: string): Teller =>
  ({ object }) =>
    storedOne(object.attributes, name);

/** True where the object has a key of its own kind inside. */
const hasKey = ({ object }: Facts): boolean => object.spec !== undefined && object.spec !== 'secret';

const algorithm: Teller = (facts) =>
  kept('CryptographicAlgorithm')(facts) ?? (hasKey(facts) ? algorithmOfSpec(facts.object.spec as never) : undefined);

const length: Teller = (facts) => {
  const told = kept('CryptographicLength')(facts);
  if (told !== undefined) return told;
  const { object, current } = facts;
  if (hasKey(facts)) {
    const { bits, variableLength } = KEY_SPECS[object.spec as never] as { bits: number; variableLength?: true };
    return variableLength === true ? (current?.bits ?? bits) : bits;
  }
  return object.type === 'secret-data' ? current?.bits : undefined;
};

const domainParameters: Teller = (facts) => {
  const told = kept('CryptographicDomainParameters')(facts);
  const { spec, type } = facts.object;
  if (told !== undefined || spec === undefined || (type !== 'public-key' && type !== 'private-key')) return told;
  const curve = curveOfSpec(spec);
  return curve === undefined ? undefined : ({ RecommendedCurve: curve } as Fields);
};

const usageMask: Teller = (facts) => {
  const told = kept('CryptographicUsageMask')(facts);
  if (told !== undefined) return told;
  // Templates and certificates that nobody gave a mask say nothing.
  if (facts.object.type === 'template' || instancesOf(facts.object.attributes, storedKey('~NoMask')).length > 0) return undefined;
  return toUsageMask(facts.object.usage);
};

/** A destroyed object has given its names back for new ones; what it was called is told all the same. */
const namesOf = (object: ManagedObject): readonly string[] => {
  const former = object.attributes['x-aegis-former-names'];
  return object.names.length === 0 && Array.isArray(former) ? (former as readonly string[]) : object.names;
};

const names: Teller = ({ object }) => {
  const types = new Map(
    instancesOf(object.attributes, storedKey('~NameType')).map(({ v }) => {
      const { NameValue, NameType } = fromJson(v) as { NameValue: string; NameType: string | number };
      return [NameValue, NameType];
    }),
  );
  return namesOf(object).map((text): Fields => ({ NameValue: text, NameType: types.get(text) ?? 'UninterpretedTextString' }));
};

/** The domain has one group; the further ones are kept beside it. */
const groups: Teller = ({ object }) => {
  if (object.objectGroup === undefined) return undefined;
  return [object.objectGroup, ...instancesOf(object.attributes, storedKey('~ObjectGroups')).map(({ v }) => fromJson(v))];
};

const links: Teller = ({ object }) =>
  object.links.flatMap(({ type, target }): readonly Fields[] => {
    const name = linkTypeName(type);
    return name === undefined ? [] : [{ LinkType: name, LinkedObjectIdentifier: target }];
  });

/** SHA-256 of the key material or content, where one was made (KMIP 1.4 §3.17). */
const digest: Teller = ({ object, current }) => {
  const told = instancesOf(object.attributes, storedKey('Digest')).map(({ v }) => fromJson(v));
  if (told.length > 0) return told;
  if (current?.digest === undefined) return undefined;
  const value = object.type === 'public-key' && isRsa(object) ? pkcs1Digest(current.publicKey) : current.digest;
  return { HashingAlgorithm: 'SHA_256', DigestValue: value, KeyFormatType: digestFormat(object) } as Fields;
};
const isRsa = ({ spec }: ManagedObject): boolean => spec !== undefined && KEY_SPECS[spec].family === 'rsa';
const digestFormat = (object: ManagedObject): string => {
  if (object.type === 'private-key') return isRsa(object) ? 'PKCS_1' : 'PKCS_8';
  if (object.type !== 'public-key') return 'Raw';
  return isRsa(object) ? 'PKCS_1' : 'X_509';
};
/** Of the RSAPublicKey (RFC 8017 §A.1.1) that a SubjectPublicKeyInfo carries as its bit string: what Get answers. */
const pkcs1Digest = (spki: Uint8Array | undefined): Uint8Array => {
  const [info] = elementsOf(spki ?? new Uint8Array(0));
  const bits = info === undefined ? undefined : elementsOf(info.content)[1];
  return new Uint8Array(
    createHash('sha256')
      .update(bits?.content.subarray(1) ?? new Uint8Array(0))
      .digest(),
  );
};

/** The format Get answers in when none is asked for (KMIP 2.1 §4.34, table 112; 1.4 §9.1.3.2.3). */
export const defaultFormat = ({ type, spec }: ManagedObject): string | undefined => {
  const family = spec === undefined ? undefined : KEY_SPECS[spec].family;
  switch (type) {
    case 'certificate':
      return 'X_509';
    case 'certificate-request':
      return 'PKCS_10';
    case 'opaque-object':
      return 'Opaque';
    case 'template':
      return undefined;
    case 'private-key':
      if (family === 'rsa') return 'PKCS_1';
      return family === 'ec' ? 'TransparentECPrivateKey' : 'PKCS_8';
    case 'public-key':
      if (family === 'rsa') return 'PKCS_1';
      return family === 'ec' ? 'TransparentECPublicKey' : 'X_509';
    default:
      return 'Raw';
  }
};

const usageLimits: Teller = ({ object: { usageLimits: limits } }) =>
  limits === undefined
    ? undefined
    : ({
        UsageLimitsTotal: BigInt(limits.total),
        UsageLimitsCount: BigInt(limits.remaining),
        UsageLimitsUnit: limits.unit === 'byte' ? 'Byte' : 'Object',
      } as Fields);

const revocation: Teller = ({ object: { revocation: why } }) =>
  why === undefined
    ? undefined
    : ({
        RevocationReasonCode: REASON_NAMES[why.reason],
        ...(why.message === undefined ? {} : { RevocationMessage: why.message }),
      } as Fields);

/** Made here: then the server knows when and with which generator (KMIP 1.4 §3.44, §3.46). */
const madeHere = ({ current, object }: Facts): boolean => current?.provenance.local === true && object.type !== 'certificate';

/** False until Sensitive was said; an object of another wire that never leaves its root is sensitive (PKCS#11 v3.0 §4.8). */
const sensitive: Teller = (facts) => kept('Sensitive')(facts) ?? (facts.object.exportable ? false : fromRest(facts, 'alwaysSensitive'));
const alwaysSensitive: Teller = (facts) =>
  kept('AlwaysSensitive')(facts) ?? (facts.object.exportable ? false : fromRest(facts, 'alwaysSensitive'));
const neverExtractable: Teller = (facts) =>
  kept('NeverExtractable')(facts) ?? (facts.object.exportable ? false : fromRest(facts, 'neverExtractable'));
const fromRest = ({ object, current }: Facts, fact: 'alwaysSensitive' | 'neverExtractable'): boolean =>
  Object.keys(object.attributes).some((key) => key.startsWith('kmip:')) ? false : (current?.provenance[fact] ?? false);

const OS_RANDOM: Fields = { RNGAlgorithm: 'DRBG', CryptographicAlgorithm: 'AES', CryptographicLength: 256, DRBGAlgorithm: 'CTR' };
/** Of a hardware module's generator nothing is known. */
const generatorOf = ({ protection }: ManagedObject): Fields => (protection === 'software' ? OS_RANDOM : { RNGAlgorithm: 'Unspecified' });
const SOFTWARE_STORAGE = 0x1;
const HARDWARE_STORAGE = 0x2;

/** Eight bytes of the id's random end: unique enough to be short, the same for ever (KMIP 2.1 §4.55). */
const shortIdentifier: Teller = ({ object }) => new Uint8Array(Buffer.from(object.id.replaceAll('-', '').slice(16), 'hex'));

/** What the domain's own fields say. Everything else an object has is kept under its attribute's name. */
const TELLERS: Readonly<Record<string, Teller>> = {
  UniqueIdentifier: ({ object }) => object.id,
  ShortUniqueIdentifier: shortIdentifier,
  ObjectType: ({ object }) => TYPE_NAMES[object.type],
  ObjectClass: (facts) => kept('ObjectClass')(facts) ?? 'User',
  CryptographicAlgorithm: algorithm,
  CryptographicLength: length,
  CryptographicDomainParameters: domainParameters,
  CryptographicUsageMask: usageMask,
  Name: names,
  ObjectGroup: groups,
  Link: links,
  Digest: digest,
  KeyFormatType: (facts) => kept('KeyFormatType')(facts) ?? defaultFormat(facts.object),
  State: ({ object }) => (object.type === 'template' ? undefined : STATE_NAMES[object.state]),
  InitialDate: ({ object }) => seconds(object.dates.initial ?? object.dates.created),
  ActivationDate: date('activation'),
  ProcessStartDate: date('processStart'),
  ProtectStopDate: date('protectStop'),
  DeactivationDate: date('deactivation'),
  CompromiseOccurrenceDate: date('compromiseOccurrence'),
  CompromiseDate: date('compromise'),
  DestroyDate: date('destroy'),
  ArchiveDate: date('archive'),
  LastChangeDate: date('lastChange'),
  OriginalCreationDate: (facts) =>
    kept('OriginalCreationDate')(facts) ?? (madeHere(facts) ? seconds(facts.object.dates.created) : undefined),
  RandomNumberGenerator: (facts) => kept('RandomNumberGenerator')(facts) ?? (madeHere(facts) ? generatorOf(facts.object) : undefined),
  UsageLimits: usageLimits,
  RevocationReason: revocation,
  LeaseTime: ({ object }) => (object.type === 'template' ? undefined : (object.lease?.seconds ?? DEFAULT_LEASE_SECONDS)),
  Description: ({ object }) => object.description,
  Fresh: (facts) => kept('Fresh')(facts) ?? true,
  Sensitive: sensitive,
  AlwaysSensitive: alwaysSensitive,
  Extractable: (facts) => facts.object.exportable && kept('Extractable')(facts) !== false,
  NeverExtractable: neverExtractable,
  ProtectionStorageMask: ({ object }) => (object.protection === 'software' ? SOFTWARE_STORAGE : HARDWARE_STORAGE),
  CertificateType: (facts) => kept('CertificateType')(facts) ?? (facts.object.type === 'certificate' ? 'X_509' : undefined),
  KeyValuePresent: kept('KeyValuePresent'),
};
/** The attributes that the object's own fields say, whatever is kept. */
export const TOLD: ReadonlySet<string> = new Set(Object.keys(TELLERS));
/** What is said first, as in the standard's own cases; the rest follows by name. */
const FIRST = ['UniqueIdentifier', 'ShortUniqueIdentifier', 'ObjectType', 'ObjectClass', 'CryptographicAlgorithm', 'CryptographicLength'];

const textOf = (name: string): string => tagRow(knownTag(name as TagName))?.text ?? name;

/** The 1.x indexes of the domain's own lists, where deletions have left gaps; position otherwise. */
const indexesOf = (object: ManagedObject, name: string): readonly number[] | undefined => {
  const [first] = instancesOf(object.attributes, storedKey(`~Index${name}`));
  return first === undefined ? undefined : (fromJson(first.v) as unknown as readonly number[]);
};

const asAttributes = (name: string, said: Said, object: ManagedObject): readonly KmipAttribute[] => {
  if (said === undefined) return [];
  if (!Array.isArray(said)) return [{ name, index: 0, value: said as Value }];
  const indexes = indexesOf(object, name);
  return (said as readonly Value[]).map((value, position) => ({ name, index: indexes?.[position] ?? position, value }));
};

const thirdEraLinks = (object: ManagedObject): readonly KmipAttribute[] =>
  object.links.flatMap(({ type, target }) => {
    const name = attributeOfLink(type);
    return name === undefined ? [] : [{ name, index: 0, value: target }];
  });

/** Of attributes that are there twice (two organisational units of a certificate) each is an instance. */
const counted = (list: readonly KmipAttribute[]): readonly KmipAttribute[] =>
  list.map((attribute, at) => ({
    ...attribute,
    index: list.slice(0, at).filter(({ name, vendor }) => name === attribute.name && vendor === attribute.vendor).length,
  }));

/** Every attribute, of any version, with 1.x indexes. */
const allAttributes = (view: ObjectView): readonly KmipAttribute[] => {
  const { object } = view;
  const facts: Facts = { object, current: view.versions.find(({ version }) => version === object.currentVersion) };
  const told = Object.entries(TELLERS).flatMap(([name, tell]) => asAttributes(name, tell(facts), object));
  const stored = storedAttributes(object.attributes).filter(({ name, vendor }) => vendor !== undefined || !Object.hasOwn(TELLERS, name));
  // What a template gives to objects are its attributes too (KMIP 1.4 §2.2.6).
  const template = object.type === 'template' ? counted(attributesOfTemplate(view)) : [];
  const certificate = object.type === 'certificate' && object.content !== undefined ? certificateFields(object.content) : [];
  const said = new Set(certificate.map(({ name }) => name));
  return [...told, ...template, ...stored.filter(({ name }) => !said.has(name)), ...counted(certificate), ...thirdEraLinks(object)];
};

const rank = (attribute: KmipAttribute): string => {
  if (attribute.vendor !== undefined) return `0${attribute.vendor}\0${attribute.name}`;
  const first = FIRST.indexOf(attribute.name);
  return first >= 0 ? `1${first}` : `2${textOf(attribute.name)}`;
};

const livesInVersion = (attribute: KmipAttribute, version: KmipVersion): boolean => {
  if (attribute.vendor !== undefined) return true;
  const row = attributeRow(attribute.name);
  if (row === undefined) return false;
  // Name and Link are 1.x and 2.x structures; the era module says them in 3.0's way.
  return livesIn(row, version) || (version === '3.0' && row.name === 'Link');
};

/**
 * The attributes of an object in a version: vendor's first, then identifier, type and key, then by name. `index` is the 1.x
 * Attribute Index of each instance.
 */
export const attributesOfObject = (view: ObjectView, version: KmipVersion): readonly KmipAttribute[] =>
  allAttributes(view)
    .filter((attribute) => livesInVersion(attribute, version))
    .map((attribute, at) => ({ attribute, at, rank: rank(attribute) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : a.at - b.at))
    .map(({ attribute }) => attribute);
