import { isObjectId } from '../../../domain/index.js';
import { type Fields, type KmipCall, refuse } from '../contract.js';

// Which object a payload means (KMIP 2.1 §4.58, §6; 1.4 §4). The batch has already put text where a 2.x client sent an Enumeration or an Integer.

type Call = Pick<KmipCall, 'placeholder'>;

/** Test Cases 1.1, 15.2. */
const missing = () => refuse('InvalidField', 'No Unique Identifier is given and the ID Placeholder is empty.');
const noSuch = () => refuse('ObjectNotFound', 'The Unique Identifier names no object.');

const fromPlaceholder = (call: Call): string => {
  const id = call.placeholder();
  if (id === undefined) throw missing();
  return id;
};

/**
 * The text that a value of type Unique Identifier means: itself, the ID Placeholder where it is absent or its Enumeration, the
 * text of a 3.0 Reference.
 * @throws KmipRefusal Invalid Field
 */
export const identifierOf = (value: unknown, call: Call): string => {
  if (value === undefined || value === '' || value === 'IDPlaceholder') return fromPlaceholder(call);
  if (typeof value === 'string') return value;
  const { type, value: inner } = value as { readonly type?: string; readonly value?: unknown };
  if (type === 'Enumeration' && (inner === 'IDPlaceholder' || inner === 1)) return fromPlaceholder(call);
  if (typeof inner === 'string' && type !== 'Enumeration') return inner;
  throw refuse('InvalidField', 'Not a Unique Identifier that means anything here.');
};

/**
 * The id of the object that a value means. Only ids pass: to KMIP a name is an attribute, never an identifier (a 3.0 Name
 * Reference is looked up by {@link targetOf}).
 * @throws KmipRefusal Object Not Found (Item Not Found before 2.0)
 */
export const idOf = (value: unknown, call: Call): string => {
  const id = identifierOf(value, call);
  if (!isObjectId(id)) throw noSuch();
  return id.toLowerCase();
};

/** 3.0 Name Reference: the object that has the name. */
const byName = async (name: string, call: Pick<KmipCall, 'call'>): Promise<string> => {
  const { items } = await call.call('locate', { name, archived: 'any', limit: 2 });
  const [only] = items;
  if (only === undefined) throw noSuch();
  return only.id;
};

/**
 * The id of the object that a payload means: its Unique Identifier (or another field of that type), else the ID Placeholder.
 * @throws KmipRefusal Invalid Field or Object Not Found
 */
export const targetOf = async (
  payload: Fields,
  call: Pick<KmipCall, 'placeholder' | 'call'>,
  field = 'UniqueIdentifier',
): Promise<string> => {
  const value: unknown = payload[field];
  if (typeof value === 'object' && value !== null && (value as { readonly type?: unknown }).type === 'NameReference') {
    return byName(String((value as { readonly value?: unknown }).value), call);
  }
  return idOf(value, call);
};
