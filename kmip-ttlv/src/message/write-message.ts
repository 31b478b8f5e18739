import { ItemType, itemTypeName } from '../spec/item-types.js';
import { knownTag, tagCode, tagLivesIn, tagRow } from '../spec/lookup.js';
import { type KmipVersion, livesIn, versionNumbers } from '../spec/versions.js';
import { CodecError } from '../tree/codec-error.js';
import { type Item, structure } from '../tree/item.js';
import { attributeRow, type Field, makeSchema, type Schema, type TagView, type VersionView, versionView } from './schema.js';
import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value, Variant } from './value.js';

// Typed message to item tree, in the order of the standard. What the version does not have is left out: fields, attributes and their values.

const BATCH_ITEM = knownTag('BatchItem');
const ATTRIBUTE = knownTag('Attribute');
const ATTRIBUTE_NAME = knownTag('AttributeName');
const ATTRIBUTE_INDEX = knownTag('AttributeIndex');
const ATTRIBUTE_VALUE = knownTag('AttributeValue');
const VENDOR_IDENTIFICATION = knownTag('VendorIdentification');

/**
 * The item tree of a message: Protocol Version and Batch Count are filled in, fields are put in order and those that the version does not have are left out.
 * @throws CodecError when a required field is absent or a value has no form in the version
 */
export function writeMessage(message: Message): Item {
  const { kind, version } = message;
  const view = versionView(version);
  const { major, minor } = versionNumbers(version);
  const headerName = kind === 'request' ? 'RequestHeader' : 'ResponseHeader';
  const { ProtocolVersion: _, ...given } = message.header;
  const header: Fields = {
    ProtocolVersion: { ProtocolVersionMajor: major, ProtocolVersionMinor: minor },
    ...given,
    BatchCount: message.items.length,
  };
  const messageName = kind === 'request' ? 'RequestMessage' : 'ResponseMessage';
  return within(messageName, () =>
    structure(knownTag(messageName), [
      within(headerName, () => structure(knownTag(headerName), writeFields(header, view.structure(headerName) as Schema, view))),
      ...message.items.map((item, i) => within(`BatchItem[${i}]`, () => writeBatchItem(item, kind, view))),
    ]),
  );
}

function prefixed(error: unknown, name: string): unknown {
  if (!(error instanceof CodecError)) return error;
  return new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
}

function within<T>(name: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw prefixed(error, name);
  }
}

function writeBatchItem(item: BatchItem, kind: 'request' | 'response', view: VersionView): Item {
  const payloadName = kind === 'request' ? 'RequestPayload' : 'ResponsePayload';
  const { operation, payload } = item;
  const schema = view.structure(kind === 'request' ? 'RequestBatchItem' : 'ResponseBatchItem') as Schema;
  const payloadOf = typeof operation === 'string' ? view.payload(operation, kind) : undefined;
  if (kind === 'request' && typeof operation === 'string' && payloadOf === undefined) {
    throw new CodecError('NotInVersion', `${view.version} has no such operation`, 'Operation');
  }
  const payloadItem =
    payload === undefined
      ? undefined
      : within(payloadName, () => structure(knownTag(payloadName), writeFields(payload, payloadOf ?? NO_FIELDS, view)));
  const items: Item[] = [];
  for (const field of schema.fields) {
    const { name } = field;
    const value =
      name === payloadName ? payloadItem : name === 'Operation' ? operation : name === 'UniqueBatchItemID' ? item.id : item.fields[name];
    writeOne(value, field, view, items);
  }
  return structure(BATCH_ITEM, withExtra(items, item.fields));
}
const NO_FIELDS: Schema = makeSchema([]);

function writeFields(fields: Fields, schema: Schema, view: VersionView): Item[] {
  const items: Item[] = [];
  if (writeInOrder(fields, schema, view, items)) return withExtra(items, fields);
  items.length = 0;
  for (const field of schema.fields) writeOne(fields[field.name], field, view, items);
  return withExtra(items, fields);
}

/**
 * The fields in the order that the object has them, which is that of the standard when it was read or written so. False when it is another order or a
 * required field is absent; the caller then goes by the schema, which costs a look at every field that could be there.
 */
function writeInOrder(fields: Fields, schema: Schema, view: VersionView, items: Item[]): boolean {
  let last = -1;
  let required = 0;
  for (const name in fields) {
    const field = schema.byName.get(name);
    const value = fields[name];
    if (field === undefined || value === undefined) continue;
    if (field.order < last) return false;
    last = field.order;
    if (field.required) required++;
    writeOne(value, field, view, items);
  }
  return required === schema.required;
}

function writeOne(value: Value | undefined, field: Field, view: VersionView, items: Item[]): void {
  if (value === undefined) {
    if (field.required) throw new CodecError('MissingField', 'the field is required', field.name);
  } else if (field.repeated) writeRepeated(value as readonly Value[], field, view, items);
  else {
    try {
      items.push(writeField(value, field, view));
    } catch (error) {
      throw prefixed(error, field.name);
    }
  }
}

function withExtra(items: Item[], fields: Fields): Item[] {
  const extra = fields.$extra;
  if (extra !== undefined) for (const item of extra) items.push(item);
  return items;
}

function writeRepeated(values: readonly Value[], field: Field, view: VersionView, items: Item[]): void {
  for (const [i, one] of values.entries()) {
    const write = (): Item => writeField(one, field, view);
    try {
      const item = field.shape === 'attribute' ? unlessNewer(write) : write();
      if (item !== undefined) items.push(item);
    } catch (error) {
      throw prefixed(error, `${field.name}[${i}]`);
    }
  }
}

/** An attribute of a list whose value only a newer version has, such as a Link Type, is left out like an attribute that only a newer version has. */
function unlessNewer(write: () => Item): Item | undefined {
  try {
    return write();
  } catch (error) {
    if (error instanceof CodecError && error.code === 'NotInVersion') return undefined;
    throw error;
  }
}

function writeField(value: Value, field: Field, view: VersionView): Item {
  switch (field.shape) {
    case 'attribute':
      return writeAttribute(value as KmipAttribute, view);
    case 'attributes':
      return structure(field.tag, writeAttributes(value as readonly KmipAttribute[], view));
    case 'oneAttribute':
      return structure(field.tag, [writeMember(value as KmipAttribute, view)]);
    case 'reference':
      return writeReference(value as AttributeReference, field.tag);
    default:
      return writeValue(value, field.view, view);
  }
}

function isItem(value: object): value is Item {
  return 'tag' in value && 'type' in value && 'value' in value;
}

function isVariant(value: object): value is Variant {
  return 'type' in value && 'value' in value && !('tag' in value);
}

function writeValue(value: Value, of: TagView, view: VersionView): Item {
  const { tag } = of;
  if (typeof value === 'object' && !(value instanceof Uint8Array)) {
    if (isItem(value)) return value;
    if (isVariant(value)) return writeVariant(value, of, view);
  }
  const type = typeFor(value, of.types);
  if (type === ItemType.Structure) return structure(tag, writeFields(value as Fields, of.schema() ?? NO_FIELDS, view));
  if (type === ItemType.Enumeration) return { tag, type, value: writeEnumeration(value as string | number, of, view) };
  return { tag, type, value: value as string };
}

function writeVariant(variant: Variant, of: TagView, view: VersionView): Item {
  const type = ItemType[variant.type];
  if (!of.types.includes(type)) throw new CodecError('NotInVersion', `${view.version} has no ${variant.type} here`);
  return { tag: of.tag, type, value: type === ItemType.Enumeration ? writeEnumeration(variant.value as string, of, view) : variant.value };
}

function typeFor(value: Value, types: readonly number[]): number {
  for (const type of types) if (fits(value, type)) return type;
  throw new CodecError('BadValue', `the value fits none of ${types.map(itemTypeName).join(', ')}`);
}

function fits(value: Value, type: number): boolean {
  switch (type) {
    case ItemType.Structure:
      return typeof value === 'object' && !(value instanceof Uint8Array) && !Array.isArray(value);
    case ItemType.Integer:
    case ItemType.Interval:
      return typeof value === 'number';
    case ItemType.Enumeration:
      return typeof value === 'number' || typeof value === 'string';
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return typeof value === 'bigint';
    case ItemType.Boolean:
      return typeof value === 'boolean';
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return value instanceof Uint8Array;
    default:
      return typeof value === 'string';
  }
}

function writeEnumeration(value: string | number, of: TagView, view: VersionView): number {
  // A number that no version names is the caller's own; a name must be of the version.
  if (typeof value === 'number') return value;
  const code = of.enumeration?.values.get(value);
  if (code !== undefined) return code;
  const known = of.enumeration?.all.values.find((row) => row.name === value);
  if (known === undefined) throw new CodecError('BadValue', 'the enumeration has no value of that name');
  // Another version's name of a value that this version has too.
  if (of.enumeration?.names.has(known.value)) return known.value;
  throw new CodecError('NotInVersion', `${view.version} has no such value`);
}

/** The words that 1.x has for an attribute. */
export function attributeText(reference: AttributeReference): string {
  if (reference.vendor === undefined) return tagRow(tagCode(reference.name) ?? -1)?.text ?? reference.name;
  return reference.vendor === '' ? reference.name : `${reference.vendor}-${reference.name}`;
}

/** True when the version has the attribute. Vendor attributes belong to every version. */
export function attributeLivesIn(attribute: AttributeReference, version: KmipVersion): boolean {
  if (attribute.vendor !== undefined) return true;
  const row = attributeRow(attribute.name);
  return row === undefined ? tagLivesIn(tagCode(attribute.name) ?? -1, version) : livesIn(row, version);
}

function writeAttribute(attribute: KmipAttribute, view: VersionView): Item {
  const items: Item[] = [{ tag: ATTRIBUTE_NAME, type: ItemType.TextString, value: attributeText(attribute) }];
  if (attribute.index !== undefined) items.push({ tag: ATTRIBUTE_INDEX, type: ItemType.Integer, value: attribute.index });
  if (attribute.value !== undefined) items.push(writeAttributeValue(attribute, view));
  return structure(ATTRIBUTE, items);
}

function writeAttributeValue(attribute: KmipAttribute, view: VersionView): Item {
  const tag = attribute.vendor === undefined ? tagCode(attribute.name) : ATTRIBUTE_VALUE;
  if (tag === undefined) throw new CodecError('BadTag', 'no attribute has that name');
  try {
    const { type, value } = writeValue(attribute.value as Value, view.tag(tag), view);
    return { tag: ATTRIBUTE_VALUE, type, value };
  } catch (error) {
    throw prefixed(error, 'AttributeValue');
  }
}

function writeAttributes(attributes: readonly KmipAttribute[], view: VersionView): Item[] {
  const items: Item[] = [];
  for (const attribute of attributes) {
    if (!attributeLivesIn(attribute, view.version)) continue;
    const item = unlessNewer(() => writeMember(attribute, view));
    if (item !== undefined) items.push(item);
  }
  return items;
}

function writeMember(attribute: KmipAttribute, view: VersionView): Item {
  const { name, vendor, value } = attribute;
  if (vendor === undefined) {
    const tag = tagCode(name);
    if (tag === undefined || value === undefined) throw new CodecError('MissingField', 'an attribute has a known name and a value');
    try {
      return writeValue(value, view.tag(tag), view);
    } catch (error) {
      throw prefixed(error, name);
    }
  }
  if (vendor === '' && value !== undefined && value.tag !== ATTRIBUTE_VALUE) return value;
  const items: Item[] = [
    { tag: VENDOR_IDENTIFICATION, type: ItemType.TextString, value: vendor },
    { tag: ATTRIBUTE_NAME, type: ItemType.TextString, value: name },
  ];
  if (value !== undefined) items.push({ ...value, tag: ATTRIBUTE_VALUE });
  return structure(ATTRIBUTE, items);
}

function writeReference(reference: AttributeReference, tag: number): Item {
  if (reference.vendor === undefined) {
    const code = tagCode(reference.name) ?? (/^0x[0-9a-f]{6}$/.test(reference.name) ? Number.parseInt(reference.name, 16) : undefined);
    if (code === undefined) throw new CodecError('BadTag', 'no attribute has that name');
    return { tag, type: ItemType.Enumeration, value: code };
  }
  return structure(tag, [
    { tag: VENDOR_IDENTIFICATION, type: ItemType.TextString, value: reference.vendor },
    { tag: ATTRIBUTE_NAME, type: ItemType.TextString, value: reference.name },
  ]);
}
