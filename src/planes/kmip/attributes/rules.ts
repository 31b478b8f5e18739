import { type AttributeRow, attributeRow, type KmipAttribute, type KmipVersion, livesIn } from '@aegis/kmip-ttlv';
import type { ObjectType } from '../../../domain/index.js';
import { refuse } from '../contract.js';

// What the attribute tables say to a value that a client gives (KMIP 2.1 §4, 1.4 §3).

/** Server-set in the tables, but what Create, Register, Derive Key and Certify are told in the request (KMIP 2.1 §6.1.8, §6.1.43). */
const GIVEN_AT_CREATION: ReadonlySet<string> = new Set([
  'CryptographicAlgorithm',
  'CryptographicLength',
  'CertificateType',
  'ObjectType',
  'KeyFormatType',
  'OpaqueDataType',
  'DigitalSignatureAlgorithm',
  'ProtectionStorageMask',
  'CertificateLength',
  'ObjectClass',
]);

/** Longest vendor or attribute name, characters: with its prefix it stays a key the service keeps. */
const MAX_NAME_CHARS = 200;

/**
 * The row of a standard attribute in a version; nothing for vendor and custom attributes.
 * @throws KmipRefusal for what neither the standard nor a vendor names
 */
export const rowOf = (
  attribute: { readonly name: string; readonly vendor?: string | undefined },
  version: KmipVersion,
): AttributeRow | undefined => {
  if (attribute.vendor !== undefined) {
    // Vendor '' is a 1.x name that is neither the standard's nor custom, or a tag that no table knows.
    if (attribute.vendor === '' || attribute.name === '') throw refuse('UnsupportedAttribute', 'No such attribute.');
    if (encodeURIComponent(attribute.vendor).length + attribute.name.length > MAX_NAME_CHARS) {
      throw refuse('InvalidAttribute', `The name of an attribute and its vendor have at most ${MAX_NAME_CHARS} characters.`);
    }
    return undefined;
  }
  const row = attributeRow(attribute.name);
  // 3.0 says Link by an attribute for each type; the neutral model keeps the Link.
  if (row?.name === 'Link' && version === '3.0') return row;
  if (row === undefined || !livesIn(row, version)) throw refuse('UnsupportedAttribute', `${attribute.name} is no attribute of ${version}.`);
  return row;
};

/** Attributes that come with one kind of object only; the rest of the tables says "all". */
const APPLIES: readonly { readonly names: RegExp; readonly types: readonly ObjectType[] }[] = [
  { names: /^(Certificate(Type|Length|Identifier|Issuer|Subject)|X_509)/, types: ['certificate', 'certificate-request'] },
  { names: /^CryptographicDomainParameters$/, types: ['public-key', 'private-key', 'certificate', 'template'] },
  { names: /^OpaqueDataType$/, types: ['opaque-object'] },
];
export const appliesTo = (name: string, type: ObjectType): boolean =>
  APPLIES.every(({ names, types }) => !names.test(name) || type === 'template' || types.includes(type));

/** PostgreSQL's JSON takes neither a zero character nor half a surrogate pair (which the JSON encoding can carry). */
const isUnkeepable = (value: unknown): boolean => {
  if (typeof value === 'string') return value.includes('\0') || /\p{Surrogate}/u.test(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  return Object.values(value).some(isUnkeepable);
};

/** Checks a value itself: present, of text that can be kept. */
export const checkValue = (attribute: KmipAttribute): void => {
  if (attribute.value === undefined) throw refuse('InvalidAttributeValue', 'The attribute has no value.');
  if (isUnkeepable(attribute.vendor === undefined ? attribute.value : attribute.value.value)) {
    throw refuse('InvalidAttributeValue', 'Text with a zero character or half a surrogate pair cannot be kept.');
  }
};

/**
 * Checks the attributes of a request that makes an object: known in the version, set by a client, applicable, single ones once.
 * `more` are the names that this operation takes although the table leaves them to the server.
 * @throws KmipRefusal
 */
export const checkGiven = (
  attributes: readonly KmipAttribute[],
  version: KmipVersion,
  type: ObjectType,
  more: readonly string[] = [],
): void => {
  const seen = new Set<string>();
  for (const attribute of attributes) {
    const row = rowOf(attribute, version);
    checkValue(attribute);
    // KMIP 1.4 §3.47: y- is the server's; clients only read it.
    if (attribute.vendor === 'y') throw refuse('ReadOnlyAttribute', 'Attributes of vendor y belong to the server.');
    if (row === undefined) continue;
    if (!row.setBy.includes('client') && !GIVEN_AT_CREATION.has(row.name) && !more.includes(row.name)) {
      throw refuse('ReadOnlyAttribute', `${row.name} is set by the server.`);
    }
    if (!appliesTo(row.name, type)) throw refuse('InvalidAttribute', `A ${type} has no ${row.name}.`);
    if (!row.multiple && seen.has(row.name)) throw refuse('AttributeSingleValued', `${row.name} has one value.`);
    seen.add(row.name);
  }
};
