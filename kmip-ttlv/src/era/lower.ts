import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value } from '../message/value.js';
import { attributeLivesIn, attributeText } from '../message/write-message.js';
import { enumerationValue, valueLivesIn } from '../spec/lookup.js';
import type { KmipVersion } from '../spec/versions.js';
import { lowerAttribute, lowerReference } from './attributes.js';
import { isFirstEra, isThirdEra } from './lift.js';
import { ATTRIBUTE_LISTS, differsByEra, type EraRule, eraRules, KEYED_OBJECTS, SINGLE_ATTRIBUTES } from './payload-eras.js';

// From the neutral form to a version's own. Attributes that the version does not have are left out.

type Draft = Record<string, Value | undefined>;

/** The message in the form of its version, for writeMessage. */
export function lowerMessage(message: Message): Message {
  const items = message.items.map((item) => lowerItem(item, message.kind, message.version));
  const indicator = message.header['AsynchronousIndicator'];
  if (!isFirstEra(message.version) || typeof indicator !== 'string') return { ...message, items };
  return { ...message, header: { ...message.header, AsynchronousIndicator: indicator !== 'Prohibited' }, items };
}

function lowerItem(item: BatchItem, kind: Message['kind'], version: KmipVersion): BatchItem {
  const reason = item.fields['ResultReason'];
  const fields = typeof reason === 'string' ? { ...item.fields, ResultReason: reasonIn(reason, version) } : item.fields;
  if (item.payload === undefined || typeof item.operation !== 'string') return { ...item, fields };
  return { ...item, fields, payload: lowerPayload(item.operation, kind, version, item.payload) };
}

/** What an older version answers for a Result Reason that it does not have; General Failure when nothing is close. */
const OLDER_REASONS: Readonly<Record<string, string>> = {
  ObjectNotFound: 'ItemNotFound',
  AttributeNotFound: 'ItemNotFound',
  AttributeInstanceNotFound: 'ItemNotFound',
  ObjectDestroyed: 'PermissionDenied',
  WrongKeyLifecycleState: 'PermissionDenied',
  NotAuthorised: 'PermissionDenied',
  Sensitive: 'PermissionDenied',
  NotExtractable: 'PermissionDenied',
  IncompatibleCryptographicUsageMask: 'PermissionDenied',
  UsageLimitExceeded: 'PermissionDenied',
  ReadOnlyAttribute: 'PermissionDenied',
  AttributeReadOnly: 'PermissionDenied',
  AttributeSingleValued: 'InvalidField',
  MultiValuedAttribute: 'InvalidField',
  UnsupportedAttribute: 'InvalidField',
  InvalidAttribute: 'InvalidField',
  InvalidAttributeValue: 'InvalidField',
  InvalidObjectType: 'InvalidField',
  IllegalObjectType: 'InvalidField',
  InvalidDataType: 'InvalidField',
  NumericRange: 'InvalidField',
  NonUniqueNameAttribute: 'InvalidField',
  ObjectAlreadyExists: 'IllegalOperation',
  UnknownEnumeration: 'InvalidField',
  UnknownTag: 'InvalidMessage',
  CodecError: 'InvalidMessage',
  UnsupportedProtocolVersion: 'InvalidMessage',
  UnknownMessageExtension: 'FeatureNotSupported',
  BadCryptographicParameters: 'InvalidField',
  UnsupportedCryptographicParameters: 'InvalidField',
  BadPassword: 'AuthenticationNotSuccessful',
  InvalidTicket: 'AuthenticationNotSuccessful',
  InvalidCSR: 'InvalidField',
  InvalidCorrelationValue: 'InvalidField',
  InvalidAsynchronousCorrelationValue: 'InvalidField',
  MissingInitializationVector: 'InvalidField',
  KeyWrapTypeNotSupported: 'FeatureNotSupported',
  WrappingObjectNotFound: 'ItemNotFound',
  WrappingObjectDestroyed: 'PermissionDenied',
  WrappingObjectArchived: 'ObjectArchived',
  KeyValueNotPresent: 'ItemNotFound',
  AttestationRequired: 'PermissionDenied',
  AttestationFailed: 'PermissionDenied',
  EncodingOptionError: 'InvalidField',
};

/** The Result Reason to send for `reason` in a version: itself, or what the version had for it. Never one newer than the version. */
export function reasonIn(reason: string, version: KmipVersion): string {
  let name: string | undefined = reason;
  while (name !== undefined) {
    const value = enumerationValue('ResultReason', name);
    if (value !== undefined && valueLivesIn('ResultReason', value, version)) return name;
    name = OLDER_REASONS[name];
  }
  return 'GeneralFailure';
}

/** A neutral payload in the form of a version. */
export function lowerPayload(operation: string, direction: 'request' | 'response', version: KmipVersion, payload: Fields): Fields {
  if (!differsByEra(payload)) return payload;
  const draft: Draft = { ...payload };
  if (isThirdEra(version)) lowerThird(draft);
  for (const name of ATTRIBUTE_LISTS) {
    const list = draft[name] as readonly KmipAttribute[] | undefined;
    if (list !== undefined) draft[name] = list.filter((attribute) => attributeLivesIn(attribute, version));
  }
  if (Array.isArray(draft['AttributeReference'])) {
    draft['AttributeReference'] = (draft['AttributeReference'] as AttributeReference[]).filter((one) => attributeLivesIn(one, version));
  }
  if (!isFirstEra(version)) return draft;
  for (const rule of eraRules(operation, direction)) unapplyRule(rule, draft);
  for (const name of KEYED_OBJECTS) if (draft[name] !== undefined) draft[name] = lowerObject(draft[name] as Fields);
  return draft;
}

function unapplyRule(rule: EraRule, draft: Draft): void {
  const value = draft[rule.neutral];
  const templates = rule.kind === 'template' ? draft[`${rule.neutral}Templates`] : undefined;
  if (value === undefined && templates === undefined) return;
  delete draft[rule.neutral];
  switch (rule.kind) {
    case 'template': {
      delete draft[`${rule.neutral}Templates`];
      const list = (value ?? []) as readonly KmipAttribute[];
      draft[rule.old] = {
        ...(templates === undefined ? {} : { Name: templates }),
        ...(list.length === 0 ? {} : { Attribute: list }),
      } as Fields;
      return;
    }
    case 'list':
      if ((value as readonly KmipAttribute[]).length > 0) draft[rule.old] = value;
      return;
    case 'names':
      draft[rule.old] = (value as readonly AttributeReference[]).map(attributeText);
      return;
    case 'name': {
      const reference = value as AttributeReference;
      draft[rule.old] = attributeText(reference);
      if (reference.index !== undefined) draft['AttributeIndex'] = reference.index;
      return;
    }
    default:
      draft[rule.old] = value;
  }
}

function lowerObject(object: Fields): Fields {
  const block = object['KeyBlock'] as Fields | undefined;
  const key = block?.['KeyValue'];
  if (block === undefined || key === undefined || key instanceof Uint8Array) return object;
  const { Attributes: attributes, ...rest } = key as Fields;
  return attributes === undefined ? object : { ...object, KeyBlock: { ...block, KeyValue: { ...rest, Attribute: attributes } } };
}

function lowerThird(draft: Draft): void {
  const kept = <T>(one: T | undefined): one is T => one !== undefined;
  for (const name of ATTRIBUTE_LISTS) {
    const list = draft[name] as readonly KmipAttribute[] | undefined;
    if (list !== undefined) draft[name] = list.map(lowerAttribute).filter(kept);
  }
  for (const name of SINGLE_ATTRIBUTES) if (draft[name] !== undefined) draft[name] = lowerAttribute(draft[name] as KmipAttribute);
  const references = draft['AttributeReference'];
  if (Array.isArray(references))
    draft['AttributeReference'] = references.map((one) => lowerReference(one as AttributeReference)).filter(kept);
  else if (references !== undefined) draft['AttributeReference'] = lowerReference(references as AttributeReference);
}
