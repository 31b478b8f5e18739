// What 1.x calls otherwise, as data: the 1.x field, the neutral field (which is the 2.x one) and how one becomes the other.

export type EraRule =
  /** A Template-Attribute structure; its template names go to `<neutral>Templates`. */
  | { readonly kind: 'template'; readonly old: string; readonly neutral: string }
  /** Repeated Attribute. */
  | { readonly kind: 'list'; readonly old: 'Attribute'; readonly neutral: 'Attributes' }
  /** One Attribute. */
  | { readonly kind: 'one'; readonly old: 'Attribute'; readonly neutral: 'NewAttribute' | 'CurrentAttribute' }
  /** Repeated Attribute Name. */
  | { readonly kind: 'names'; readonly old: 'AttributeName'; readonly neutral: 'AttributeReference' }
  /** Attribute Name and Attribute Index. */
  | { readonly kind: 'name'; readonly old: 'AttributeName'; readonly neutral: 'AttributeReference' }
  | { readonly kind: 'rename'; readonly old: string; readonly neutral: string };

const TEMPLATES: readonly EraRule[] = [
  { kind: 'template', old: 'TemplateAttribute', neutral: 'Attributes' },
  { kind: 'template', old: 'CommonTemplateAttribute', neutral: 'CommonAttributes' },
  { kind: 'template', old: 'PrivateKeyTemplateAttribute', neutral: 'PrivateKeyAttributes' },
  { kind: 'template', old: 'PublicKeyTemplateAttribute', neutral: 'PublicKeyAttributes' },
  { kind: 'rename', old: 'CertificateRequest', neutral: 'CertificateRequestValue' },
];
const LIST: EraRule = { kind: 'list', old: 'Attribute', neutral: 'Attributes' };
const NAMES: EraRule = { kind: 'names', old: 'AttributeName', neutral: 'AttributeReference' };
const NEW: EraRule = { kind: 'one', old: 'Attribute', neutral: 'NewAttribute' };

const RULES: Readonly<Record<string, readonly EraRule[]>> = {
  // Attribute first, so that what FortiGate puts in a Template-Attribute is added to it.
  'Locate request': [LIST, ...TEMPLATES],
  'GetAttributes request': [NAMES],
  'GetAttributes response': [LIST],
  'GetAttributeList response': [NAMES],
  'AddAttribute request': [NEW],
  'AddAttribute response': [NEW],
  'ModifyAttribute request': [NEW],
  'ModifyAttribute response': [NEW],
  'DeleteAttribute request': [{ kind: 'name', old: 'AttributeName', neutral: 'AttributeReference' }],
  'DeleteAttribute response': [{ kind: 'one', old: 'Attribute', neutral: 'CurrentAttribute' }],
  'Import request': [LIST],
  'Export response': [LIST],
  'Notify request': [LIST],
  'Put request': [LIST],
};

/** The rules of a payload of 1.x. */
export function eraRules(operation: string, direction: 'request' | 'response'): readonly EraRule[] {
  return RULES[`${operation} ${direction}`] ?? TEMPLATES;
}

/** The fields of payloads that hold lists of attributes, one attribute, and references, in the neutral form. */
export const ATTRIBUTE_LISTS: readonly string[] = ['Attributes', 'CommonAttributes', 'PrivateKeyAttributes', 'PublicKeyAttributes'];
export const SINGLE_ATTRIBUTES: readonly string[] = ['NewAttribute', 'CurrentAttribute'];

/** The objects of payloads; a Key Value in them may carry attributes. */
export const KEYED_OBJECTS: readonly string[] = ['SymmetricKey', 'PublicKey', 'PrivateKey', 'SplitKey', 'SecretData', 'PGPKey'];

/** Every field that an era has its own form of, under its 1.x name and its neutral one. */
const ERA_FIELDS: ReadonlySet<string> = new Set([
  ...['AttributeReference', ...ATTRIBUTE_LISTS, ...SINGLE_ATTRIBUTES, ...KEYED_OBJECTS],
  ...[...TEMPLATES, ...Object.values(RULES).flat()].flatMap(({ old, neutral }) => [old, neutral, `${neutral}Templates`]),
]);

/** False for most payloads: they are the same in all eras and need no copy. */
export function differsByEra(payload: object): boolean {
  for (const name in payload) if (ERA_FIELDS.has(name)) return true;
  return false;
}
