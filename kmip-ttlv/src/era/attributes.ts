import type { AttributeReference, Fields, KmipAttribute, StandardAttribute, Value } from '../message/value.js';
import { enumerationValue } from '../spec/lookup.js';

// 3.0 has one attribute for each type of Link and a Name of plain text; the neutral model keeps the Link and Name structures of 1.x and 2.x.

const LINK_NAMES: readonly (readonly [linkType: string, attribute: string])[] = [
  ['CertificateLink', 'CertificateLink'],
  ['PublicKeyLink', 'PublicKeyLink'],
  ['PrivateKeyLink', 'PrivateKeyLink'],
  ['DerivationBaseObjectLink', 'DerivationObjectLink'],
  ['DerivedKeyLink', 'DerivedObjectLink'],
  ['ReplacementObjectLink', 'ReplacementObjectLink'],
  ['ReplacedObjectLink', 'ReplacedObjectLink'],
  ['ParentLink', 'ParentLink'],
  ['ChildLink', 'ChildLink'],
  ['PreviousLink', 'PreviousLink'],
  ['NextLink', 'NextLink'],
  ['PKCS_12CertificateLink', 'PKCS_12CertificateLink'],
  ['PKCS_12PasswordLink', 'PKCS_12PasswordLink'],
  ['WrappingKeyLink', 'WrappingKeyLink'],
];
const linkTypes: ReadonlyMap<string, string> = new Map(LINK_NAMES.map(([type, attribute]) => [attribute, type]));
const linkAttributes: ReadonlyMap<string, string> = new Map(LINK_NAMES);

/** A 3.0 attribute in the neutral form. Links that 1.x and 2.x have no type for stay what they are. */
export function liftAttribute(attribute: KmipAttribute): KmipAttribute {
  if (attribute.vendor !== undefined) return attribute;
  if (attribute.name === 'Name' && typeof attribute.value === 'string') {
    return { ...attribute, value: { NameValue: attribute.value, NameType: 'UninterpretedTextString' } };
  }
  const type = linkTypes.get(attribute.name);
  if (type === undefined) return attribute;
  const value: Fields = { LinkType: type, LinkedObjectIdentifier: attribute.value };
  return { ...withoutValue(attribute), name: 'Link', value };
}

/** The 3.0 form of a neutral attribute; undefined for a Link whose type 3.0 has no attribute for. */
export function lowerAttribute(attribute: KmipAttribute): KmipAttribute | undefined {
  if (attribute.vendor !== undefined) return attribute;
  const value = attribute.value as Fields | string | undefined;
  if (attribute.name === 'Name' && typeof value === 'object') return { ...attribute, value: value['NameValue'] as string };
  if (attribute.name !== 'Link' || typeof value !== 'object') return attribute;
  const linkType = value['LinkType'];
  // The enumeration may be given as its number.
  const name = typeof linkType === 'string' ? linkAttributes.get(linkType) : linkName(linkType as number);
  return name === undefined ? undefined : { ...withoutValue(attribute), name, value: value['LinkedObjectIdentifier'] as Value };
}

const linkName = (value: number): string | undefined => LINK_NAMES.find(([type]) => enumerationValue('LinkType', type) === value)?.[1];
const withoutValue = ({ index }: StandardAttribute): { index?: number } => (index === undefined ? {} : { index });

export function liftReference(reference: AttributeReference): AttributeReference {
  const linkType = reference.vendor === undefined ? linkTypes.get(reference.name) : undefined;
  return linkType === undefined ? reference : { ...reference, name: 'Link', linkType };
}

/** The 3.0 form of a neutral reference; undefined for a Link without type, which 3.0 cannot name. */
export function lowerReference(reference: AttributeReference): AttributeReference | undefined {
  if (reference.vendor !== undefined || reference.name !== 'Link') return reference;
  const name = linkAttributes.get(reference.linkType ?? '');
  return name === undefined ? undefined : { name };
}
