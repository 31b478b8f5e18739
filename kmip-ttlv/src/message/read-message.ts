import { ATTRIBUTES } from '../spec/attributes.js';
import { ItemType, itemTypeName } from '../spec/item-types.js';
import { knownTag, showTag, tagRow } from '../spec/lookup.js';
import type { TagRow } from '../spec/table-rows.js';
import { type KmipVersion, versionOf } from '../spec/versions.js';
import { CodecError } from '../tree/codec-error.js';
import { childOf, childrenOf, type Item } from '../tree/item.js';
import { type Field, REQUEST_MESSAGE, RESPONSE_MESSAGE, type Schema, type TagView, type VersionView, versionView } from './schema.js';
import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value } from './value.js';

// Item tree to typed message.

/**
 * `strict` also refuses what a lenient reader keeps in `$extra` or sorts: fields the version does not have at that place, and fields out of order.
 * `lax` does not insist on required fields.
 */
export type ReadOptions = { readonly strict?: boolean; readonly lax?: boolean };
type Context = { readonly version: KmipVersion; readonly options: ReadOptions; readonly view: VersionView };

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
const UNIQUE_BATCH_ITEM_ID = knownTag('UniqueBatchItemID');
const REQUEST_PAYLOAD = knownTag('RequestPayload');
const RESPONSE_PAYLOAD = knownTag('ResponsePayload');
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
    const context = { version, options, view: versionView(version) };
    const [first, ...rest] = childrenOf(message);
    const headerName = kind === 'request' ? 'RequestHeader' : 'ResponseHeader';
    if (first === undefined || showTag(first.tag) !== headerName) throw new CodecError('BadMessage', `the first item is the ${headerName}`);
    const header = within(headerName, () => readStructure(first, context.view.structure(headerName) as Schema, context));
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

/** The fields of a batch item that are not read by its schema: the payload's needs the operation first. */
type Captured = { readonly payloadTag: number; operation?: Item; id?: Item; payload?: Item };

function readBatchItem(item: Item, kind: 'request' | 'response', context: Context): BatchItem {
  if (item.tag !== BATCH_ITEM) throw new CodecError('BadMessage', 'only Batch Items follow the header');
  const captured: Captured = { payloadTag: kind === 'request' ? REQUEST_PAYLOAD : RESPONSE_PAYLOAD };
  const schema = context.view.structure(kind === 'request' ? 'RequestBatchItem' : 'ResponseBatchItem') as Schema;
  const fields = readStructure(item, schema, context, captured);
  const { operation: operationItem, id: idItem, payload: payloadItem } = captured;
  const operation =
    operationItem === undefined ? undefined : (readValue(operationItem, context.view.tag(OPERATION), context) as string | number);
  const id = idItem === undefined ? undefined : (readValue(idItem, context.view.tag(UNIQUE_BATCH_ITEM_ID), context) as Uint8Array);
  const payloadName = kind === 'request' ? 'RequestPayload' : 'ResponsePayload';
  const payload = payloadItem === undefined ? undefined : within(payloadName, () => readPayload(payloadItem, operation, kind, context));
  const read: { fields: Fields; operation?: string | number; id?: Uint8Array; payload?: Fields } = { fields };
  if (operation !== undefined) read.operation = operation;
  if (id !== undefined) read.id = id;
  if (payload !== undefined) read.payload = payload;
  return read;
}

/** True when the child is one of those that a batch item keeps apart. */
function capture(captured: Captured, child: Item, name: string): boolean {
  const slot =
    child.tag === captured.payloadTag
      ? 'payload'
      : child.tag === OPERATION
        ? 'operation'
        : child.tag === UNIQUE_BATCH_ITEM_ID
          ? 'id'
          : undefined;
  if (slot === undefined) return false;
  if (captured[slot] !== undefined) throw new CodecError('BadMessage', 'the field appears more than once', name);
  captured[slot] = child;
  return true;
}

function isCaptured(captured: Captured | undefined, tag: number): boolean {
  if (captured === undefined) return false;
  return (tag === captured.payloadTag && captured.payload !== undefined) || (tag === OPERATION && captured.operation !== undefined);
}

function readPayload(item: Item, operation: string | number | undefined, kind: 'request' | 'response', context: Context): Fields {
  const schema = typeof operation === 'string' ? context.view.payload(operation, kind) : undefined;
  if (schema !== undefined) return readStructure(item, schema, context);
  if (item.type !== ItemType.Structure) throw new CodecError('BadMessage', 'a payload is a Structure');
  return { $extra: childrenOf(item) };
}

function readStructure(item: Item, schema: Schema, context: Context, captured?: Captured): Fields {
  if (item.type !== ItemType.Structure) throw new CodecError('BadMessage', 'the field is a Structure');
  const { strict, lax } = context.options;
  const fields: Record<string, Value | undefined> = {};
  let extra: Item[] | undefined;
  let last = -1;
  for (const child of childrenOf(item)) {
    const field = schema.byTag.get(child.tag);
    if (field === undefined) {
      if (strict) throw new CodecError('NotInVersion', `${context.version} has no such field here`, showTag(child.tag));
      extra ??= [];
      extra.push(child);
      continue;
    }
    if (strict && field.order < last) throw new CodecError('BadMessage', 'the field is out of order', field.name);
    last = field.order;
    if (captured === undefined || !capture(captured, child, field.name)) addField(fields, field, child, context);
  }
  if (!lax) {
    for (const field of schema.fields) {
      if (field.required && fields[field.name] === undefined && !isCaptured(captured, field.tag))
        throw new CodecError('MissingField', 'the field is required', field.name);
    }
  }
  if (extra !== undefined) fields['$extra'] = extra;
  return fields;
}

function addField(fields: Record<string, Value | undefined>, field: Field, child: Item, context: Context): void {
  const before = fields[field.name];
  if (!field.repeated) {
    if (before !== undefined) throw new CodecError('BadMessage', 'the field appears more than once', field.name);
    fields[field.name] = readField(child, field, context, 0);
  } else if (before === undefined) fields[field.name] = [readField(child, field, context, 0)];
  else (before as Value[]).push(readField(child, field, context, (before as Value[]).length));
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
        return readValue(child, field.view, context);
    }
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    const name = field.repeated ? `${field.name}[${index}]` : field.name;
    throw new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
  }
}

function readValue(item: Item, view: TagView, context: Context): Value {
  const { type } = item;
  const { types } = view;
  const usual = type === types[0] || types.length === 0;
  if (!usual && !types.includes(type)) throw new CodecError('BadMessage', `the item type ${itemTypeName(type)} does not fit`);
  if (type === ItemType.Structure) {
    const schema = view.schema();
    return schema === undefined ? { $extra: childrenOf(item) } : readStructure(item, schema, context);
  }
  const value =
    type === ItemType.Enumeration ? (view.enumeration?.names.get(item.value as number) ?? (item.value as number)) : (item.value as Value);
  return usual || unambiguous(type, types) ? value : { type: itemTypeName(type) as never, value: value as string };
}

const TEXTS: readonly number[] = [ItemType.TextString, ItemType.Identifier];

/** True when the JavaScript type alone says which of the types it was; the writer then finds it again. */
function unambiguous(type: number, types: readonly number[]): boolean {
  if (type === ItemType.ByteString) return !types.includes(ItemType.BigInteger);
  // An Identifier and the Text String that an older client sends for it are both just text.
  return type === ItemType.TextString && TEXTS.includes(types[0] as number);
}

/** One 1.x Attribute: name, index, value. */
function readAttribute(item: Item, context: Context): KmipAttribute {
  let name: Item | undefined;
  let index: Item | undefined;
  let value: Item | undefined;
  for (const child of childrenOf(item)) {
    if (child.tag === ATTRIBUTE_NAME) name ??= child;
    else if (child.tag === ATTRIBUTE_INDEX) index ??= child;
    else if (child.tag === ATTRIBUTE_VALUE) value ??= child;
  }
  if (name?.type !== ItemType.TextString) throw new CodecError('MissingField', 'an Attribute has a name', 'AttributeName');
  if (index !== undefined && index.type !== ItemType.Integer)
    throw new CodecError('BadMessage', 'the index is an Integer', 'AttributeIndex');
  const common = index === undefined ? {} : { index: index.value as number };
  const reference = attributeNamed(name.value as string);
  if (reference.vendor !== undefined) {
    return { name: reference.name, vendor: reference.vendor, ...common, ...(value === undefined ? {} : { value }) };
  }
  if (value === undefined) return { name: reference.name, ...common };
  const view = context.view.tag(knownTag(reference.name as never));
  return { name: reference.name, ...common, value: readNamed('AttributeValue', value, view, context) };
}

function readNamed(name: string, item: Item, view: TagView, context: Context): Value {
  try {
    return readValue(item, view, context);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
  }
}

const standardNames: ReadonlyMap<string, AttributeReference> = new Map(
  ATTRIBUTES.map((row) => [(tagRow(knownTag(row.name)) as TagRow).text, { name: row.name }]),
);

/** What a 1.x attribute name means: an attribute of the standard, or a custom one. */
export function attributeNamed(text: string): AttributeReference {
  const known = standardNames.get(text);
  if (known !== undefined) return known;
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
  const view = context.view.tag(child.tag);
  // An unknown tag cannot be named; it survives as a vendor attribute of no vendor whose value is the item itself.
  if (view.types.length === 0) return { name: view.name, vendor: '', value: child };
  return { name: view.name, value: readValue(child, view, context) };
}

function readOneAttribute(item: Item, context: Context): KmipAttribute {
  const [attribute, ...more] = readAttributes(item, context);
  if (attribute === undefined || more.length > 0) throw new CodecError('BadMessage', 'the field holds one attribute');
  return attribute;
}

function readReference(item: Item, context: Context): AttributeReference {
  if (item.type === ItemType.Enumeration) {
    return { name: showTag(item.value as number) };
  }
  const fields = readStructure(item, context.view.structure('AttributeReference') as Schema, context);
  return { name: fields['AttributeName'] as string, vendor: fields['VendorIdentification'] as string };
}
