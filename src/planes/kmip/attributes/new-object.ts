import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { fromUsageMask, KEY_SPECS, KEY_USAGES, type KeySpec, type KeyUsage, toUsageMask } from '@aegis/rot-spi/vocabulary';
import type { NewObject, ObjectLink, ObjectType, UsageLimits } from '../../../domain/index.js';
import { type KmipCall, refuse } from '../contract.js';
import { algorithmOfSpec, curveOfSpec } from './key-spec.js';
import { checkGiven } from './rules.js';
import { keyOf, type StoredInstance, storedKey, storedValue, toJson } from './stored-values.js';
import { identifierOf } from './target.js';
import { linkOfAttribute, linkTypeOf } from './vocabulary.js';

// From the attributes of a request to the domain's words (KMIP 2.1 §4, 1.4 §3): what the domain interprets becomes its fields, everything
// else is kept and given back as it came.

/** Longest Name or Object Group, characters (the domain's bound). */
const MAX_NAME_CHARS = 255;

const invalid = (message: string) => refuse('InvalidAttributeValue', message);

/** Seconds of the wire to the domain's milliseconds. */
export const toMs = (value: unknown, name: string): number => {
  if (typeof value !== 'bigint' || value < 0n || value > 8_640_000_000_000n) throw invalid(`${name} is no date that can be kept.`);
  return Number(value) * 1000;
};

/** The text and type of a Name. */
export const nameOf = (value: unknown): { readonly text: string; readonly type: string | number } => {
  const { NameValue: text, NameType: type } = (typeof value === 'string' ? { NameValue: value } : value) as Fields;
  if (typeof text !== 'string' || text.trim() === '') throw invalid('A Name has a value.');
  if (text.length > MAX_NAME_CHARS) throw invalid(`A Name has at most ${MAX_NAME_CHARS} characters.`);
  return { text, type: (type as string | number | undefined) ?? 'UninterpretedTextString' };
};

/** A Link, or a 3.0 link attribute that has no Link Type. */
export const linkOf = (attribute: KmipAttribute, call: Pick<KmipCall, 'placeholder'>): ObjectLink => {
  const third = linkOfAttribute(attribute.name);
  if (third !== undefined) return { type: third, target: identifierOf(attribute.value, call) };
  const { LinkType: type, LinkedObjectIdentifier: target } = attribute.value as Fields;
  const known = linkTypeOf(type);
  if (known === undefined) throw invalid('The Link Type is not known.');
  if (target === undefined || target === '') throw invalid('A Link has a Linked Object Identifier.');
  return { type: known, target: identifierOf(target, call) };
};

/** A 3.0 link that is an attribute of its own; one that names its object (Name Reference) is kept as it came. */
export const isThirdEraLink = ({ name, vendor, value }: KmipAttribute): boolean =>
  vendor === undefined &&
  linkOfAttribute(name) !== undefined &&
  (value as { readonly type?: unknown } | undefined)?.type !== 'NameReference';

/** Usage Limits (KMIP 1.4 §3.21): Total and Unit; a Count given at creation is the total. */
export const usageLimitsOf = (value: unknown): Pick<UsageLimits, 'unit' | 'total'> => {
  const { UsageLimitsTotal: total, UsageLimitsUnit: unit } = value as Fields;
  if (typeof total !== 'bigint' || total < 1n || total > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalid('Usage Limits need a Total above zero.');
  if (unit !== 'Byte' && unit !== 'Object') throw invalid('Usage Limits count Byte or Object.');
  return { unit: unit === 'Byte' ? 'byte' : 'object', total: Number(total) };
};

/** Usages no root acts upon, which the domain records all the same. */
const RECORDED: readonly KeyUsage[] = ['export', 'content-commitment', 'certificate-sign', 'crl-sign', 'authenticate', 'unrestricted'];
const PUBLIC: readonly KeyUsage[] = ['verify', 'encrypt', 'wrap', 'agree', 'derive'];

/** What may be kept without any use. */
const USELESS: readonly ObjectType[] = ['secret-data', 'opaque-object', 'split-key', 'pgp-key'];

/**
 * The usages of a mask that a key of this kind can have. The mask itself is kept beside them where it says more: KMIP lets a
 * client ask for bits that mean nothing for the key. Unrestricted (2.0) stands for all of them.
 */
const usageOfMask = (mask: number, spec: KeySpec | undefined, type: ObjectType): readonly KeyUsage[] => {
  if (type === 'certificate-request' || type === 'template') return [];
  const asked = fromUsageMask(mask);
  const all = KEY_SPECS[spec ?? 'secret'].usages;
  const acting = type === 'public-key' || type === 'certificate' ? all.filter((usage) => PUBLIC.includes(usage)) : all;
  const wanted = asked.includes('unrestricted') ? [...acting, 'unrestricted' as const] : asked;
  const kept = KEY_USAGES.filter((usage) => wanted.includes(usage) && (acting.includes(usage) || RECORDED.includes(usage)));
  // The domain wants a key to have a use; `export` is a record only, what decides is `exportable`.
  return kept.length === 0 && !USELESS.includes(type) && (spec === undefined || KEY_SPECS[spec].shape !== 'secret') ? ['export'] : kept;
};

/** What the reader fills. */
interface Draft {
  names: string[];
  links: ObjectLink[];
  groups: string[];
  dates: { activation?: number; processStart?: number; protectStop?: number; deactivation?: number };
  fields: { -readonly [F in keyof NewObject]: NewObject[F] };
  stored: Record<string, StoredInstance[]>;
}

export interface NewObjectOptions {
  readonly type: ObjectType;
  readonly call: Pick<KmipCall, 'version' | 'placeholder'>;
  /** The key's specification, where it is one the service knows. */
  readonly spec?: KeySpec | undefined;
  /** Usages where the request has no mask; absent, the domain's for the kind of key. */
  readonly usageDefault?: readonly KeyUsage[];
  /** Server-set attributes that this operation takes all the same (Import). */
  readonly alsoTakes?: readonly string[];
  /** Re-key: what is not said is copied from the existing object, so nothing is assumed. */
  readonly partial?: boolean;
}

const keep = (draft: Draft, attribute: KmipAttribute): void => {
  const key = keyOf(attribute);
  const list = draft.stored[key] ?? [];
  list.push({ v: storedValue(attribute) });
  draft.stored[key] = list;
};

type Reader = (draft: Draft, attribute: KmipAttribute, options: NewObjectOptions) => void;

const date =
  (field: keyof Draft['dates']): Reader =>
  (draft, { name, value }) => {
    draft.dates[field] = toMs(value, name);
  };

const readName: Reader = (draft, { value }) => {
  const { text, type } = nameOf(value);
  if (draft.names.includes(text)) throw refuse('NonUniqueNameAttribute', 'The same Name is given twice.');
  draft.names.push(text);
  // The usual type is not written down; the others are, by name.
  if (type !== 'UninterpretedTextString') keep(draft, { name: '~NameType', value: { NameValue: text, NameType: type } as Fields });
};

const readMask: Reader = (draft, attribute, { type, spec }) => {
  const mask = attribute.value;
  if (typeof mask !== 'number') throw invalid('The Cryptographic Usage Mask is a mask.');
  draft.fields.usage = usageOfMask(mask, spec, type);
  if (toUsageMask(draft.fields.usage) !== mask) keep(draft, attribute);
};

const readGroup: Reader = (draft, { value }) => {
  if (typeof value !== 'string' || value === '' || value.length > MAX_NAME_CHARS) throw invalid('An Object Group has 1 to 255 characters.');
  if (!draft.groups.includes(value)) draft.groups.push(value);
};

/** KMIP 2.1 §4.4: the server makes up Application Data for the namespaces that Query names, which are none. */
export const checkApplicationData = (attribute: KmipAttribute): void => {
  if ((attribute.value as Fields)['ApplicationData'] !== undefined) return;
  throw refuse('ApplicationNamespaceNotSupported', 'The server makes up no Application Data for this namespace: send it.');
};
const readApplication: Reader = (draft, attribute) => {
  checkApplicationData(attribute);
  keep(draft, attribute);
};

const READERS: Readonly<Record<string, Reader>> = {
  Name: readName,
  CryptographicUsageMask: readMask,
  ActivationDate: date('activation'),
  ProcessStartDate: date('processStart'),
  ProtectStopDate: date('protectStop'),
  DeactivationDate: date('deactivation'),
  ObjectGroup: readGroup,
  ApplicationSpecificInformation: readApplication,
  Link: (draft, attribute, { call }) => {
    draft.links.push(linkOf(attribute, call));
  },
  UsageLimits: (draft, { value }) => {
    draft.fields.usageLimits = usageLimitsOf(value);
  },
  Description: (draft, { value }) => {
    draft.fields.description = value as string;
  },
  Extractable: (draft, { value }) => {
    draft.fields.exportable = value === true;
  },
  OriginalCreationDate: (draft, attribute) => {
    keep(draft, attribute);
    // Locate by this date looks at what has one of its own, and at the date of making of everything else.
    keep(draft, { name: '~OriginalGiven', value: true });
  },
  // Always true once said; false is what an object is that nobody said anything about.
  Sensitive: (draft, attribute) => {
    if (attribute.value !== true) return;
    keep(draft, attribute);
    keep(draft, { name: 'AlwaysSensitive', value: true });
  },
  Fresh: (draft, attribute) => {
    if (attribute.value === false) keep(draft, attribute);
  },
  // Said by the type of the object and by the key itself.
  ObjectType: () => {},
  CryptographicAlgorithm: (draft, attribute, { spec }) => {
    if (spec === undefined || algorithmOfSpec(spec) !== attribute.value) keep(draft, attribute);
  },
  CryptographicLength: (draft, attribute, { spec }) => {
    if (spec === undefined || KEY_SPECS[spec].bits !== attribute.value) keep(draft, attribute);
  },
  CryptographicDomainParameters: (draft, attribute, { spec }) => {
    const curve = (attribute.value as Fields)['RecommendedCurve'];
    const { RecommendedCurve: _, ...rest } = attribute.value as Fields;
    if (spec === undefined || curveOfSpec(spec) !== curve || Object.keys(rest).length > 0) keep(draft, attribute);
  },
};

type SettableDate = keyof Draft['dates'];
/** KMIP 1.4 §3.24–§3.27: nothing before the activation, nothing after the deactivation. */
const ORDER: readonly (readonly [SettableDate, SettableDate])[] = [
  ['activation', 'processStart'],
  ['activation', 'protectStop'],
  ['activation', 'deactivation'],
  ['processStart', 'deactivation'],
  ['protectStop', 'deactivation'],
];
const checkOrder = (dates: Draft['dates']): void => {
  const wrong = ORDER.some(([earlier, later]) => {
    const from = dates[earlier];
    const to = dates[later];
    return from !== undefined && to !== undefined && to < from;
  });
  if (wrong) throw invalid('A date lies before the Activation Date or after the Deactivation Date.');
};

/** An object whose material may leave unless the client says otherwise: KMIP's clients live on Get (2.1 §4.23 Extractable). */
const exportableOf = (draft: Draft): boolean => draft.fields.exportable ?? true;

/** Without a mask of the client's these have none. */
const UNMASKED: readonly ObjectType[] = ['certificate', 'certificate-request', 'pgp-key', 'template'];

const finish = (draft: Draft, { type, usageDefault, partial }: NewObjectOptions): NewObject => {
  checkOrder(draft.dates);
  // A certificate says itself what its key is for; only a mask that a client gave is an attribute of it.
  if (UNMASKED.includes(type) && draft.fields.usage === undefined) draft.stored[storedKey('~NoMask')] = [{ v: true }];
  const [group, ...groups] = draft.groups;
  const exportable = partial === true ? draft.fields.exportable : exportableOf(draft);
  if (exportable === false) draft.stored[storedKey('NeverExtractable')] = [{ v: true }];
  const attributes: Record<string, unknown> = { ...draft.stored };
  if (groups.length > 0) attributes[storedKey('~ObjectGroups')] = groups.map((value) => ({ v: toJson(value) }));
  return {
    ...draft.fields,
    ...(draft.fields.usage === undefined && usageDefault !== undefined ? { usage: usageDefault } : {}),
    ...(exportable === undefined ? {} : { exportable }),
    ...(draft.names.length === 0 ? {} : { names: draft.names }),
    ...(draft.links.length === 0 ? {} : { links: draft.links }),
    ...(group === undefined ? {} : { objectGroup: group }),
    ...(Object.keys(draft.dates).length === 0 ? {} : { dates: draft.dates }),
    attributes,
  };
};

/**
 * The domain's words for the attributes of a request that makes an object. Nothing is asked of the key service; a Name that
 * another object has is found out at the commit.
 * @throws KmipRefusal with the reason the standard has for the attribute
 */
export const readNewObject = (attributes: readonly KmipAttribute[] | undefined, options: NewObjectOptions): NewObject => {
  const given = attributes ?? [];
  checkGiven(given, options.call.version, options.type, options.alsoTakes);
  const draft: Draft = { names: [], links: [], groups: [], dates: {}, fields: {}, stored: {} };
  for (const attribute of given) {
    const reader = attribute.vendor === undefined && Object.hasOwn(READERS, attribute.name) ? READERS[attribute.name] : undefined;
    if (reader !== undefined) reader(draft, attribute, options);
    else if (isThirdEraLink(attribute)) draft.links.push(linkOf(attribute, options.call));
    else keep(draft, attribute);
  }
  return finish(draft, options);
};

/** The protection that Protection Storage Masks (KMIP 2.1 §6.1.8) ask for: the first that this service can give. */
export const protectionOf = (masks: unknown): Pick<NewObject, 'protection'> => {
  const list = ((masks as Fields | undefined)?.['ProtectionStorageMask'] ?? []) as number | readonly number[];
  const wanted = Array.isArray(list) ? (list as readonly number[]) : [list as number];
  if (wanted.length === 0) return {};
  for (const mask of wanted) {
    if ((mask & HARDWARE) !== 0) return { protection: 'hsm' };
    if ((mask & SOFTWARE) !== 0) return { protection: 'software' };
  }
  throw refuse('ProtectionStorageUnavailable', 'Keys are kept in software or in hardware; the masks allow neither.');
};
const SOFTWARE = 0x1;
const HARDWARE = 0x2;
