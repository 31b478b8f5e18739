import { ItemType, itemTypeName } from '../spec/item-types.js';
import { enumerationName, enumerationOfTag, knownTag, showTag, tagByText, tagRow } from '../spec/lookup.js';
import { type KmipVersion, versionOf } from '../spec/versions.js';
import { CodecError } from '../tree/codec-error.js';
import { childOf, childrenOf, type Item } from '../tree/item.js';
import {
  attributeRow,
  type Field,
  payloadSchema,
  REQUEST_MESSAGE,
  RESPONSE_MESSAGE,
  type Schema,
  structureSchema,
  typesOf,
} from './schema.js';
import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value } from './value.js';

// Item tree to typed message.

/**
 * `strict` also refuses what a lenient reader keeps in `$extra` or sorts: fields the version does not have at that place, and fields out of order.
 * `lax` does not insist on required fields.
 */
export type ReadOptions = { readonly strict?: boolean; readonly lax?: boolean };
type Context = { readonly version: KmipVersion; readonly options: ReadOptions };

const PROTOCOL_VERSION = knownTag('ProtocolVersion');
const REQUEST_HEADER = knownTag('RequestHeader');
const RESPONSE_HEADER = knownTag('ResponseHeader');
const BATCH_ITEM = knownTag('BatchItem');
const OPERATION = knownTag('Operation');
const ATTRIBUTE = knownTag('Attribute');
const ATTRIBUTE_NAME = knownTag('AttributeName');
const ATTRIBUTE_INDEX = knownTag('AttributeIndex');
const ATTRIBUTE_VALUE = knownTag('AttributeValue');
const VENDOR_IDENTIFICATION = knownTag('VendorIdentification');
const MAJOR = knownTag('ProtocolVersionMajor');
const MINOR = knownTag('ProtocolVersionMinor');

/** The protocol version of a message, known to the tables or not, so that a server can answer an unknown one; undefined without header. */
export function protocolVersionOf(message: Item): { major: number; minor: number } | undefined {
  const header = childOf(message, REQUEST_HEADER) ?? childOf(message, RESPONSE_HEADER);
  const version = header === undefined ? undefined : childOf(header, PROTOCOL_VERSION);
  const major = version === undefined ? undefined : childOf(version, MAJOR)?.value;
  const minor = version === undefined ? undefined : childOf(version, MINOR)?.value;
  return typeof major === 'number' && typeof minor === 'number' ? { major, minor } : undefined;
}

/**
 * The typed form of a message.
 * @throws CodecError with the path of the field
 */
export function readMessage(message: Item, options: ReadOptions = {}): Message {
  if (message.tag !== REQUEST_MESSAGE && message.tag !== RESPONSE_MESSAGE)
    throw new CodecError('BadMessage', 'not a request nor a response');
  const kind = message.tag === REQUEST_MESSAGE ? 'request' : 'response';
  return within(showTag(message.tag), () => {
    const numbers = protocolVersionOf(message);
    if (numbers === undefined) throw new CodecError('MissingField', 'the header has no Protocol Version');
    const version = versionOf(numbers.major, numbers.minor);
    if (version === undefined) throw new CodecError('NotInVersion', `the protocol version ${numbers.major}.${numbers.minor} is not known`);
    const context = { version, options };
    const [first, ...rest] = childrenOf(message);
    const headerName = kind === 'request' ? 'RequestHeader' : 'ResponseHeader';
    if (first === undefined || showTag(first.tag) !== headerName) throw new CodecError('BadMessage', `the first item is the ${headerName}`);
    const header = within(headerName, () => readStructure(first, structureSchema(headerName, version) as Schema, context));
    const items = rest.map((item, i) => within(`${showTag(item.tag)}[${i}]`, () => readBatchItem(item, kind, context)));
    return { kind, version, header, items };
  });
}

function within<T>(name: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
  }
}

function readBatchItem(item: Item, kind: 'request' | 'response', context: Context): BatchItem {
  if (item.tag !== BATCH_ITEM) throw new CodecError('BadMessage', 'only Batch Items follow the header');
  const payloadName = kind === 'request' ? 'RequestPayload' : 'ResponsePayload';
  const payloadTag = knownTag(payloadName);
  const operationItem = childOf(item, OPERATION);
  const operation = operationItem?.type === ItemType.Enumeration ? readEnumeration(operationItem, context.version) : undefined;
  const payloadItem = childOf(item, payloadTag);
  const schema = structureSchema(kind === 'request' ? 'RequestBatchItem' : 'ResponseBatchItem', context.version) as Schema;
  // The payload is read by its operation's schema, so it is taken out before the rest of the item is read.
  const { Operation: _, UniqueBatchItemID: id, [payloadName]: __, ...fields } = readStructure(item, schema, context, payloadTag);
  const payload = payloadItem === undefined ? undefined : within(payloadName, () => readPayload(payloadItem, operation, kind, context));
  return {
    fields,
    ...(operation === undefined ? {} : { operation }),
    ...(id === undefined ? {} : { id: id as Uint8Array }),
    ...(payload === undefined ? {} : { payload }),
  };
}

function readPayload(item: Item, operation: string | number | undefined, kind: 'request' | 'response', context: Context): Fields {
  const schema = typeof operation === 'string' ? payloadSchema(operation, kind, context.version) : undefined;
  if (schema !== undefined) return readStructure(item, schema, context);
  if (item.type !== ItemType.Structure) throw new CodecError('BadMessage', 'a payload is a Structure');
  return { $extra: childrenOf(item) };
}

function readStructure(item: Item, schema: Schema, context: Context, opaque?: number): Fields {
  if (item.type !== ItemType.Structure) throw new CodecError('BadMessage', 'the field is a Structure');
  const fields: Record<string, Value | undefined> = {};
  let extra: Item[] | undefined;
  let last = -1;
  for (const child of childrenOf(item)) {
    const field = schema.byTag.get(child.tag);
    if (field === undefined) {
      if (context.options.strict) throw new CodecError('NotInVersion', `${context.version} has no such field here`, showTag(child.tag));
      extra ??= [];
      extra.push(child);
      continue;
    }
    if (context.options.strict && field.order < last) throw new CodecError('BadMessage', 'the field is out of order', field.name);
    last = field.order;
    addField(fields, field, child, context, opaque);
  }
  if (!context.options.lax) {
    for (const field of schema.fields)
      if (field.required && fields[field.name] === undefined) throw new CodecError('MissingField', 'the field is required', field.name);
  }
  if (extra !== undefined) fields['$extra'] = extra;
  return fields;
}

function addField(fields: Record<string, Value | undefined>, field: Field, child: Item, context: Context, opaque?: number): void {
  const before = fields[field.name];
  if (child.tag === opaque) {
    if (before !== undefined) throw new CodecError('BadMessage', 'the field appears more than once', field.name);
    fields[field.name] = child;
    return;
  }
  const index = Array.isArray(before) ? before.length : 0;
  const value = readField(child, field, context, index);
  if (!field.repeated) {
    if (before !== undefined) throw new CodecError('BadMessage', 'the field appears more than once', field.name);
    fields[field.name] = value;
  } else if (Array.isArray(before)) before.push(value);
  else fields[field.name] = [value];
}

function readField(child: Item, field: Field, context: Context, index: number): Value {
  try {
    switch (field.shape) {
      case 'attribute':
        return readAttribute(child, context);
      case 'attributes':
        return readAttributes(child, context);
      case 'oneAttribute':
        return readOneAttribute(child, context);
      case 'reference':
        return readReference(child, context);
      default:
        return readValue(child, context);
    }
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    const name = field.repeated ? `${field.name}[${index}]` : field.name;
    throw new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
  }
}

function readValue(item: Item, context: Context): Value {
  const types = typesOf(item.tag, context.version);
  if (types.length > 0 && !types.includes(item.type))
    throw new CodecError('BadMessage', `the item type ${itemTypeName(item.type)} does not fit`);
  if (item.type === ItemType.Structure) {
    const schema = structureSchema(showTag(item.tag), context.version);
    return schema === undefined ? { $extra: childrenOf(item) } : readStructure(item, schema, context);
  }
  const value = item.type === ItemType.Enumeration ? readEnumeration(item, context.version) : (item.value as Value);
  return item.type === types[0] || types.length === 0 || unambiguous(item.type, types)
    ? value
    : { type: itemTypeName(item.type) as never, value: value as string };
}

const TEXTS: readonly number[] = [ItemType.TextString, ItemType.Identifier];

/** True when the JavaScript type alone says which of the types it was; the writer then finds it again. */
function unambiguous(type: number, types: readonly number[]): boolean {
  if (type === ItemType.ByteString) return !types.includes(ItemType.BigInteger);
  // An Identifier and the Text String that an older client sends for it are both just text.
  return type === ItemType.TextString && TEXTS.includes(types[0] as number);
}

function readEnumeration(item: Item, version: KmipVersion): string | number {
  const enumeration = enumerationOfTag(item.tag);
  const value = item.value as number;
  return enumeration === undefined ? value : (enumerationName(enumeration.name, value, version) ?? value);
}

/** One 1.x Attribute: name, index, value. */
function readAttribute(item: Item, context: Context): KmipAttribute {
  const name = childOf(item, ATTRIBUTE_NAME);
  if (name?.type !== ItemType.TextString) throw new CodecError('MissingField', 'an Attribute has a name', 'AttributeName');
  const index = childOf(item, ATTRIBUTE_INDEX);
  if (index !== undefined && index.type !== ItemType.Integer)
    throw new CodecError('BadMessage', 'the index is an Integer', 'AttributeIndex');
  const value = childOf(item, ATTRIBUTE_VALUE);
  const common = index === undefined ? {} : { index: index.value as number };
  const reference = attributeNamed(name.value as string);
  if (reference.vendor !== undefined) {
    return { name: reference.name, vendor: reference.vendor, ...common, ...(value === undefined ? {} : { value }) };
  }
  const tag = knownTag(reference.name as never);
  const read = value === undefined ? undefined : within('AttributeValue', () => readValue({ ...value, tag }, context));
  return { name: reference.name, ...common, ...(read === undefined ? {} : { value: read }) };
}

/** What a 1.x attribute name means: an attribute of the standard, or a custom one. */
export function attributeNamed(text: string): AttributeReference {
  const row = tagByText(text);
  if (row !== undefined && attributeRow(row.name) !== undefined) return { name: row.name };
  return /^[xy]-/.test(text) ? { vendor: text[0] as string, name: text.slice(2) } : { vendor: '', name: text };
}

function readAttributes(item: Item, context: Context): KmipAttribute[] {
  if (item.type !== ItemType.Structure) throw new CodecError('BadMessage', 'the field is a Structure');
  return childrenOf(item).map((child, i) => within(`${showTag(child.tag)}[${i}]`, () => readMember(child, context)));
}

/** A child of Attributes: an attribute under its own tag, or a vendor's. */
function readMember(child: Item, context: Context): KmipAttribute {
  if (child.tag === ATTRIBUTE) {
    const vendor = childOf(child, VENDOR_IDENTIFICATION)?.value;
    const name = childOf(child, ATTRIBUTE_NAME)?.value;
    const value = childOf(child, ATTRIBUTE_VALUE);
    if (typeof vendor !== 'string' || typeof name !== 'string')
      throw new CodecError('MissingField', 'a vendor attribute has vendor and name');
    return { name, vendor, ...(value === undefined ? {} : { value }) };
  }
  const row = tagRow(child.tag);
  // An unknown tag cannot be named; it survives as a vendor attribute of no vendor whose value is the item itself.
  if (row === undefined) return { name: showTag(child.tag), vendor: '', value: child };
  return { name: row.name, value: readValue(child, context) };
}

function readOneAttribute(item: Item, context: Context): KmipAttribute {
  const [attribute, ...more] = readAttributes(item, context);
  if (attribute === undefined || more.length > 0) throw new CodecError('BadMessage', 'the field holds one attribute');
  return attribute;
}

function readReference(item: Item, context: Context): AttributeReference {
  if (item.type === ItemType.Enumeration) {
    const name = readEnumeration(item, context.version);
    return { name: typeof name === 'string' ? name : showTag(name) };
  }
  const fields = readStructure(item, structureSchema('AttributeReference', context.version) as Schema, context);
  return { name: fields['AttributeName'] as string, vendor: fields['VendorIdentification'] as string };
}
