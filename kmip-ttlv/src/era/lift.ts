import { attributeNamed } from '../message/read-message.js';
import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value } from '../message/value.js';
import { compareVersions, type KmipVersion } from '../spec/versions.js';
import { liftAttribute, liftReference } from './attributes.js';
import { ATTRIBUTE_LISTS, differsByEra, type EraRule, eraRules, KEYED_OBJECTS, SINGLE_ATTRIBUTES } from './payload-eras.js';

// From a version's own form to the neutral one: the field names of 2.x, attributes as lists of name and value, links and names as structures.

type Draft = Record<string, Value | undefined>;

/** True for 1.x, where attributes are named by text and wrapped in Template-Attribute. */
export const isFirstEra = (version: KmipVersion): boolean => compareVersions(version, '2.0') < 0;
/** True for 3.0, where links are attributes of their own and a Name is plain text. */
export const isThirdEra = (version: KmipVersion): boolean => compareVersions(version, '3.0') >= 0;

/** The message with neutral payloads, and the Asynchronous Indicator of 2.x whatever the version. */
export function liftMessage(message: Message): Message {
  return { ...message, header: liftHeader(message), items: message.items.map((item) => liftItem(item, message.kind, message.version)) };
}

function liftHeader(message: Message): Fields {
  const indicator = message.header['AsynchronousIndicator'];
  if (typeof indicator !== 'boolean') return message.header;
  // 1.x says whether the client can take an asynchronous answer, not that it insists on one (KMIP 1.4 §6.7).
  return { ...message.header, AsynchronousIndicator: indicator ? 'Optional' : 'Prohibited' };
}

function liftItem(item: BatchItem, kind: Message['kind'], version: KmipVersion): BatchItem {
  if (item.payload === undefined || typeof item.operation !== 'string') return item;
  return { ...item, payload: liftPayload(item.operation, kind, version, item.payload) };
}

/** The neutral form of a payload. */
export function liftPayload(operation: string, direction: 'request' | 'response', version: KmipVersion, payload: Fields): Fields {
  if (!differsByEra(payload)) return payload;
  const draft: Draft = { ...payload };
  if (isFirstEra(version)) {
    for (const rule of eraRules(operation, direction)) applyRule(rule, draft);
    for (const name of KEYED_OBJECTS) if (draft[name] !== undefined) draft[name] = liftObject(draft[name] as Fields);
  } else if (isThirdEra(version)) liftThird(draft);
  return draft;
}

function applyRule(rule: EraRule, draft: Draft): void {
  const value = draft[rule.old];
  if (value === undefined) return;
  delete draft[rule.old];
  switch (rule.kind) {
    case 'template': {
      const template = value as { Attribute?: readonly KmipAttribute[]; Name?: readonly Fields[] };
      draft[rule.neutral] = [...((draft[rule.neutral] as readonly KmipAttribute[]) ?? []), ...(template.Attribute ?? [])];
      if (template.Name !== undefined) draft[`${rule.neutral}Templates`] = template.Name;
      return;
    }
    case 'names':
      draft[rule.neutral] = (value as readonly string[]).map(attributeNamed);
      return;
    case 'name': {
      const index = draft['AttributeIndex'] as number | undefined;
      delete draft['AttributeIndex'];
      draft[rule.neutral] = { ...attributeNamed(value as string), ...(index === undefined ? {} : { index }) };
      return;
    }
    default:
      draft[rule.neutral] = value;
  }
}

function liftObject(object: Fields): Fields {
  const block = object['KeyBlock'] as Fields | undefined;
  const key = block?.['KeyValue'];
  if (block === undefined || key === undefined || key instanceof Uint8Array) return object;
  const { Attribute: attributes, ...rest } = key as Fields;
  return attributes === undefined ? object : { ...object, KeyBlock: { ...block, KeyValue: { ...rest, Attributes: attributes } } };
}

function liftThird(draft: Draft): void {
  for (const name of ATTRIBUTE_LISTS) {
    const list = draft[name] as readonly KmipAttribute[] | undefined;
    if (list !== undefined) draft[name] = list.map(liftAttribute);
  }
  for (const name of SINGLE_ATTRIBUTES) if (draft[name] !== undefined) draft[name] = liftAttribute(draft[name] as KmipAttribute);
  const references = draft['AttributeReference'];
  if (Array.isArray(references)) draft['AttributeReference'] = references.map((one) => liftReference(one as AttributeReference));
  else if (references !== undefined) draft['AttributeReference'] = liftReference(references as AttributeReference);
}

/** What a request's header asks for, with the defaults of its version. */
export type RequestOptions = {
  readonly asynchronous: 'Prohibited' | 'Optional' | 'Mandatory';
  readonly batchOrder: boolean;
  readonly batchErrorContinuation: 'Stop' | 'Continue' | 'Undo';
  /** Bytes of the TTLV form of the response, whatever the encoding. */
  readonly maximumResponseSizeBytes?: number;
  /** Seconds since 1970. */
  readonly timeStamp?: bigint;
  readonly clientCorrelationValue?: string;
  readonly serverCorrelationValue?: string;
  readonly attestationCapable: boolean;
  readonly credentials: readonly Fields[];
};

/** Reads the header of a lifted request. Batch Order Option is false by default in 1.x (1.4 §7.2) and true from 2.0 on (2.1 §8.2). */
export function requestOptions(request: Message): RequestOptions {
  const { header, version } = request;
  const { MaximumResponseSize: size, TimeStamp: time, ClientCorrelationValue: client, ServerCorrelationValue: server } = header;
  return {
    asynchronous: (header['AsynchronousIndicator'] as RequestOptions['asynchronous'] | undefined) ?? 'Prohibited',
    batchOrder: (header['BatchOrderOption'] as boolean | undefined) ?? !isFirstEra(version),
    batchErrorContinuation: (header['BatchErrorContinuationOption'] as RequestOptions['batchErrorContinuation'] | undefined) ?? 'Stop',
    ...(size === undefined ? {} : { maximumResponseSizeBytes: size as number }),
    ...(time === undefined ? {} : { timeStamp: time as bigint }),
    ...(client === undefined ? {} : { clientCorrelationValue: client as string }),
    ...(server === undefined ? {} : { serverCorrelationValue: server as string }),
    attestationCapable: header['AttestationCapableIndicator'] === true,
    credentials: ((header['Authentication'] as Fields | undefined)?.['Credential'] as readonly Fields[] | undefined) ?? [],
  };
}
