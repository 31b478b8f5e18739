import type { LifecycleState, ObjectType, RevocationReason } from '../../../domain/index.js';

// KMIP's words and the domain's, as tables.

const invert = <K extends string, V extends string>(table: Readonly<Record<K, V>>): ReadonlyMap<string, K> =>
  new Map(Object.entries(table).map(([key, value]) => [value as string, key as K]));

export const TYPE_NAMES: Readonly<Record<ObjectType, string>> = {
  'symmetric-key': 'SymmetricKey',
  'private-key': 'PrivateKey',
  'public-key': 'PublicKey',
  certificate: 'Certificate',
  'certificate-request': 'CertificateRequest',
  'secret-data': 'SecretData',
  'opaque-object': 'OpaqueObject',
  'split-key': 'SplitKey',
  'pgp-key': 'PGPKey',
  template: 'Template',
};
const typesByName = invert(TYPE_NAMES);
/** The domain's type of a KMIP Object Type name; undefined for one the service does not keep. */
export const objectTypeOf = (name: unknown): ObjectType | undefined => (typeof name === 'string' ? typesByName.get(name) : undefined);

export const STATE_NAMES: Readonly<Record<LifecycleState, string>> = {
  'pre-active': 'PreActive',
  active: 'Active',
  deactivated: 'Deactivated',
  compromised: 'Compromised',
  destroyed: 'Destroyed',
  'destroyed-compromised': 'DestroyedCompromised',
};
const statesByName = invert(STATE_NAMES);
export const stateOf = (name: unknown): LifecycleState | undefined => (typeof name === 'string' ? statesByName.get(name) : undefined);

export const REASON_NAMES: Readonly<Record<RevocationReason, string>> = {
  unspecified: 'Unspecified',
  'key-compromise': 'KeyCompromise',
  'ca-compromise': 'CACompromise',
  'affiliation-changed': 'AffiliationChanged',
  superseded: 'Superseded',
  'cessation-of-operation': 'CessationOfOperation',
  'privilege-withdrawn': 'PrivilegeWithdrawn',
};
const reasonsByName = invert(REASON_NAMES);
export const revocationReasonOf = (name: unknown): RevocationReason | undefined =>
  typeof name === 'string' ? reasonsByName.get(name) : undefined;

/** Links: the domain's type, the Link Type of 1.x and 2.x. Types that only 3.0 has (as attributes of their own) have no second column. */
const LINKS: readonly (readonly [domain: string, linkType: string])[] = [
  ['certificate', 'CertificateLink'],
  ['public-key', 'PublicKeyLink'],
  ['private-key', 'PrivateKeyLink'],
  ['derivation-base', 'DerivationBaseObjectLink'],
  ['derived-key', 'DerivedKeyLink'],
  ['replacement', 'ReplacementObjectLink'],
  ['replaced', 'ReplacedObjectLink'],
  ['parent', 'ParentLink'],
  ['child', 'ChildLink'],
  ['previous', 'PreviousLink'],
  ['next', 'NextLink'],
  ['pkcs12-certificate', 'PKCS_12CertificateLink'],
  ['pkcs12-password', 'PKCS_12PasswordLink'],
  ['wrapping-key', 'WrappingKeyLink'],
];
/** Links of 3.0 that 1.x and 2.x have no Link Type for: the domain's type and the attribute. */
const THIRD_ERA_LINKS: readonly (readonly [domain: string, attribute: string])[] = [
  ['certificate-request', 'CertificateRequestLink'],
  ['credential', 'CredentialLink'],
  ['group', 'GroupLink'],
  ['joined-split-key-parts', 'JoinedSplitKeyPartsLink'],
  ['password', 'PasswordLink'],
  ['split-key-base', 'SplitKeyBaseLink'],
];
const linkTypes: ReadonlyMap<string, string> = new Map(LINKS);
const linksByType: ReadonlyMap<string, string> = new Map(LINKS.map(([domain, type]) => [type, domain]));
const linkAttributes: ReadonlyMap<string, string> = new Map(THIRD_ERA_LINKS);
const linksByAttribute: ReadonlyMap<string, string> = new Map(THIRD_ERA_LINKS.map(([domain, attribute]) => [attribute, domain]));

/** The domain's link type of a Link Type; an extension value keeps its number. */
export const linkTypeOf = (linkType: unknown): string | undefined => {
  if (typeof linkType === 'number') return `kmip:${linkType.toString(16)}`;
  return typeof linkType === 'string' ? linksByType.get(linkType) : undefined;
};
/** The Link Type of a domain link; undefined where only a 3.0 attribute says it, or no wire of ours made it. */
export const linkTypeName = (domain: string): string | number | undefined => {
  const extension = /^kmip:([0-9a-f]{1,8})$/.exec(domain);
  return extension === null ? linkTypes.get(domain) : Number.parseInt(extension[1] as string, 16);
};
export const linkOfAttribute = (attribute: string): string | undefined => linksByAttribute.get(attribute);
export const attributeOfLink = (domain: string): string | undefined => linkAttributes.get(domain);
