import type { Fields, Value } from '@aegis/kmip-ttlv';
import { refuse } from './contract.js';

// Unique Identifiers that a batch fills in: the ID Placeholder (KMIP 1.4 §4, 2.1 §6) and the Enumeration and Integer forms of 2.x (2.1 §11.55).

/** What one batch item left for the following ones. */
export interface ItemTrace {
  readonly operation: string;
  readonly ids: readonly string[];
  /** What a cryptographic operation put out, for Data by Enumeration or Integer (KMIP 2.1 §7.9). */
  readonly data?: Uint8Array;
}

/** Payload field that an operation copies into the ID Placeholder: KMIP 1.4 §4 and the descriptions of the operations. */
const COPIED_FROM: Readonly<Record<string, string>> = {
  Create: 'UniqueIdentifier',
  CreateKeyPair: 'PrivateKeyUniqueIdentifier',
  Register: 'UniqueIdentifier',
  DeriveKey: 'UniqueIdentifier',
  ReKey: 'UniqueIdentifier',
  ReKeyKeyPair: 'PrivateKeyUniqueIdentifier',
  Certify: 'UniqueIdentifier',
  ReCertify: 'UniqueIdentifier',
  Recover: 'UniqueIdentifier',
  // The split whose Key Part Identifier is 1 comes first.
  CreateSplitKey: 'UniqueIdentifier',
  JoinSplitKey: 'UniqueIdentifier',
  Import: 'UniqueIdentifier',
  Export: 'UniqueIdentifier',
  CreateGroup: 'UniqueIdentifier',
  CreateUser: 'UniqueIdentifier',
  CreateCredential: 'UniqueIdentifier',
};

const textsOf = (value: Value | undefined): string[] =>
  typeof value === 'string' ? [value] : Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];

/** Identifiers of a response in the order of its fields: what an Integer Unique Identifier counts. */
export const identifiersOf = (payload: Fields): string[] => [
  ...textsOf(payload['PrivateKeyUniqueIdentifier']),
  ...textsOf(payload['PublicKeyUniqueIdentifier']),
  ...textsOf(payload['UniqueIdentifier']),
];

/** The ID Placeholder after an operation succeeded: unchanged, or emptied by a Locate that did not find exactly one object. */
export function placeholderAfter(operation: string, payload: Fields, before: string | undefined): string | undefined {
  if (operation === 'Locate') {
    const found = textsOf(payload['UniqueIdentifier']);
    return found.length === 1 ? found[0] : undefined;
  }
  const field = COPIED_FROM[operation];
  return field === undefined ? before : (textsOf(payload[field])[0] ?? before);
}

/** Data of a response: what it encrypted, signed, hashed or drew. */
export function dataOf(payload: Fields): { readonly data?: Uint8Array } {
  const data = payload['Data'] ?? payload['MACData'] ?? payload['SignatureData'];
  return data instanceof Uint8Array ? { data } : {};
}

/** Data Enumeration (KMIP 2.1 §11.14) → operation. The others are the operation's own name. */
const DATA_OF: Readonly<Record<string, string>> = { MACMACData: 'MAC', SignSignatureData: 'Sign' };

/** Data of an earlier item: of the last one of that operation, or the nth of the batch, negative ones counted back from this item. */
function earlierData({ type, value }: VariantLike, trace: readonly ItemTrace[]): Uint8Array {
  const made = trace.filter(({ data }) => data !== undefined);
  const found =
    type === 'Enumeration'
      ? made.findLast(({ operation }) => operation === (DATA_OF[String(value)] ?? String(value)))
      : made.at(Number(value));
  if (found?.data !== undefined) return found.data;
  throw refuse('InvalidField', 'No earlier item of this batch has such data.');
}

const PAIR_HALVES: Readonly<Record<string, readonly [operation: string, half: number]>> = {
  CreateKeyPair: ['CreateKeyPair', 0],
  CreateKeyPairPrivateKey: ['CreateKeyPair', 0],
  CreateKeyPairPublicKey: ['CreateKeyPair', 1],
  ReKeyKeyPair: ['ReKeyKeyPair', 0],
  ReKeyKeyPairPrivateKey: ['ReKeyKeyPair', 0],
  ReKeyKeyPairPublicKey: ['ReKeyKeyPair', 1],
};

/** An identifier by enumeration: the ID Placeholder, or what the last operation of that name in this batch answered. */
function byName(name: string | number, trace: readonly ItemTrace[], placeholder: string | undefined): string {
  if (name === 'IDPlaceholder') {
    if (placeholder !== undefined) return placeholder;
    throw refuse('ItemNotFound', 'The ID Placeholder is empty.');
  }
  const [operation, half] = PAIR_HALVES[name] ?? [String(name), 0];
  const found = trace.findLast((item) => item.operation === operation)?.ids[half];
  if (found !== undefined) return found;
  throw refuse('ItemNotFound', 'No earlier item of this batch has such an identifier.');
}

/** An identifier by number: counted from the first of the batch, or, when negative, back from this item. */
function byNumber(index: number, trace: readonly ItemTrace[]): string {
  const found = trace.flatMap((item) => item.ids).at(index);
  if (found !== undefined) return found;
  throw refuse('ItemNotFound', 'No earlier item of this batch has such an identifier.');
}

const NAMES = /UniqueIdentifier$|^LinkedObjectIdentifier$/;
const MAX_DEPTH = 16;

interface VariantLike {
  readonly type: string;
  readonly value: string | number | bigint;
}
const isVariant = (value: unknown): value is VariantLike =>
  typeof value === 'object' && value !== null && 'type' in value && 'value' in value && !('tag' in value);

/** The payload with every identifier as text. The same object when it has none of the other forms, which is the rule and costs no allocation. */
export function resolveIdentifiers<T>(payload: T, trace: readonly ItemTrace[], placeholder: string | undefined, depth = 0): T {
  if (typeof payload !== 'object' || payload === null || payload instanceof Uint8Array || depth > MAX_DEPTH) return payload;
  if (Array.isArray(payload)) {
    let list: unknown[] | undefined;
    for (let i = 0; i < payload.length; i++) {
      const next: unknown = resolveIdentifiers(payload[i], trace, placeholder, depth + 1);
      if (next === payload[i]) continue;
      list ??= [...payload];
      list[i] = next;
    }
    return (list ?? payload) as T;
  }
  let made: Record<string, unknown> | undefined;
  for (const name in payload) {
    const value: unknown = payload[name];
    if (typeof value !== 'object') continue;
    const next =
      name === 'Data' && depth === 0 && isVariant(value)
        ? earlierData(value, trace)
        : (isVariant(value) || Array.isArray(value)) && NAMES.test(name)
          ? resolveOne(value, trace, placeholder)
          : resolveIdentifiers(value, trace, placeholder, depth + 1);
    if (next === value) continue;
    made ??= { ...(payload as Record<string, unknown>) };
    made[name] = next;
  }
  return (made ?? payload) as T;
}

function resolveOne(value: unknown, trace: readonly ItemTrace[], placeholder: string | undefined): unknown {
  if (Array.isArray(value)) {
    const made = value.map((one) => resolveOne(one, trace, placeholder));
    return made.some((one, i) => one !== value[i]) ? made : value;
  }
  if (!isVariant(value)) return value;
  if (value.type === 'Enumeration') return byName(value.value as string | number, trace, placeholder);
  if (value.type === 'Integer' || value.type === 'LongInteger') return byNumber(Number(value.value), trace);
  return String(value.value);
}
