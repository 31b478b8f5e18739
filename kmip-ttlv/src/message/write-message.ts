import { ItemType, itemTypeName } from '../spec/item-types.js';
import { enumerationOfTag, enumerationValue, knownTag, tagCode, tagLivesIn, tagRow, valueLivesIn } from '../spec/lookup.js';
import { type KmipVersion, livesIn, versionNumbers } from '../spec/versions.js';
import { CodecError } from '../tree/codec-error.js';
import { type Item, structure } from '../tree/item.js';
import { attributeRow, type Field, payloadSchema, type Schema, structureSchema, typesOf } from './schema.js';
import type { AttributeReference, BatchItem, Fields, KmipAttribute, Message, Value, Variant } from './value.js';

// Typed message to item tree, in the order of the standard. What the version does not have is left out: fields, attributes and their values.

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
  const { major, minor } = versionNumbers(version);
  const headerName = kind === 'request' ? 'RequestHeader' : 'ResponseHeader';
  const header: Fields = {
    ...message.header,
    ProtocolVersion: { ProtocolVersionMajor: major, ProtocolVersionMinor: minor },
    BatchCount: message.items.length,
  };
  const messageName = kind === 'request' ? 'RequestMessage' : 'ResponseMessage';
  return within(messageName, () =>
    structure(knownTag(messageName), [
      within(headerName, () =>
        structure(knownTag(headerName), writeFields(header, structureSchema(headerName, version) as Schema, version)),
      ),
      ...message.items.map((item, i) => within(`BatchItem[${i}]`, () => writeBatchItem(item, kind, version))),
    ]),
  );
}

function within<T>(name: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new CodecError(error.code, error.reason, error.path === '' ? name : `${name}/${error.path}`, error.offset);
  }
}

function writeBatchItem(item: BatchItem, kind: 'request' | 'response', version: KmipVersion): Item {
  const payloadName = kind === 'request' ? 'RequestPayload' : 'ResponsePayload';
  const { operation, payload } = item;
  const schema = structureSchema(kind === 'request' ? 'RequestBatchItem' : 'ResponseBatchItem', version) as Schema;
  const payloadOf = typeof operation === 'string' ? payloadSchema(operation, kind, version) : undefined;
  if (kind === 'request' && typeof operation === 'string' && payloadOf === undefined)
    throw new CodecError('NotInVersion', `${version} has no such operation`, 'Operation');
  const payloadItem =
    payload === undefined
      ? undefined
      : within(payloadName, () => structure(knownTag(payloadName), writeFields(payload, payloadOf ?? NO_FIELDS, version)));
  const fields: Fields = { ...item.fields, Operation: operation, UniqueBatchItemID: item.id, [payloadName]: payloadItem };
  return structure(knownTag('BatchItem'), writeFields(fields, schema, version));
}
const NO_FIELDS: Schema = { fields: [], byTag: new Map() };

function writeFields(fields: Fields, schema: Schema, version: KmipVersion): Item[] {
  const items: Item[] = [];
  for (const field of schema.fields) {
    const value = fields[field.name];
    if (value === undefined) {
      if (field.required) throw new CodecError('MissingField', 'the field is required', field.name);
      continue;
    }
    if (!field.repeated) items.push(within(field.name, () => writeField(value, field, version)));
    else writeRepeated(value as readonly Value[], field, version, items);
  }
  const extra = fields.$extra;
  if (extra !== undefined) for (const item of extra) items.push(item);
  return items;
}

function writeRepeated(values: readonly Value[], field: Field, version: KmipVersion, items: Item[]): void {
  for (const [i, one] of values.entries()) {
    const write = (): Item => within(`${field.name}[${i}]`, () => writeField(one, field, version));
    const item = field.shape === 'attribute' ? unlessNewer(write) : write();
    if (item !== undefined) items.push(item);
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

function writeField(value: Value, field: Field, version: KmipVersion): Item {
  switch (field.shape) {
    case 'attribute':
      return writeAttribute(value as KmipAttribute, version);
    case 'attributes':
      return structure(field.tag, writeAttributes(value as readonly KmipAttribute[], version));
    case 'oneAttribute':
      return structure(field.tag, [writeMember(value as KmipAttribute, version)]);
    case 'reference':
      return writeReference(value as AttributeReference, field.tag);
    default:
      return writeValue(value, field.tag, version);
  }
}

function isItem(value: Value): value is Item {
  return typeof value === 'object' && 'tag' in value && 'type' in value && 'value' in value;
}

function isVariant(value: Value): value is Variant {
  return typeof value === 'object' && 'type' in value && 'value' in value && !('tag' in value);
}

function writeValue(value: Value, tag: number, version: KmipVersion): Item {
  if (isItem(value)) return value;
  const types = typesOf(tag, version);
  if (isVariant(value)) {
    const type = ItemType[value.type];
    if (!types.includes(type)) throw new CodecError('NotInVersion', `${version} has no ${value.type} here`);
    return { tag, type, value: type === ItemType.Enumeration ? writeEnumeration(value.value as string, tag, version) : value.value };
  }
  const type = types.find((candidate) => fits(value, candidate));
  if (type === undefined) throw new CodecError('BadValue', `the value fits none of ${types.map(itemTypeName).join(', ')}`);
  if (type === ItemType.Structure) {
    const schema = structureSchema(tagRow(tag)?.name ?? '', version);
    return structure(tag, writeFields(value as Fields, schema ?? NO_FIELDS, version));
  }
  if (type === ItemType.Enumeration) return { tag, type, value: writeEnumeration(value as string | number, tag, version) };
  return { tag, type, value: value as string };
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

function writeEnumeration(value: string | number, tag: number, version: KmipVersion): number {
  const enumeration = enumerationOfTag(tag);
  const code = typeof value === 'number' ? value : enumeration === undefined ? undefined : enumerationValue(enumeration.name, value);
  if (code === undefined) throw new CodecError('BadValue', 'the enumeration has no value of that name');
  // A number that no version names is the caller's own; a named one must be of the version.
  if (typeof value === 'string' && enumeration !== undefined && !valueLivesIn(enumeration.name, code, version)) {
    throw new CodecError('NotInVersion', `${version} has no such value`);
  }
  return code;
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

function writeAttribute(attribute: KmipAttribute, version: KmipVersion): Item {
  const items: Item[] = [{ tag: ATTRIBUTE_NAME, type: ItemType.TextString, value: attributeText(attribute) }];
  if (attribute.index !== undefined) items.push({ tag: ATTRIBUTE_INDEX, type: ItemType.Integer, value: attribute.index });
  if (attribute.value !== undefined) {
    const tag = attribute.vendor === undefined ? tagCode(attribute.name) : ATTRIBUTE_VALUE;
    if (tag === undefined) throw new CodecError('BadTag', 'no attribute has that name');
    items.push({ ...within('AttributeValue', () => writeValue(attribute.value as Value, tag, version)), tag: ATTRIBUTE_VALUE });
  }
  return structure(ATTRIBUTE, items);
}

function writeAttributes(attributes: readonly KmipAttribute[], version: KmipVersion): Item[] {
  return attributes
    .filter((attribute) => attributeLivesIn(attribute, version))
    .map((attribute) => unlessNewer(() => writeMember(attribute, version)))
    .filter((item) => item !== undefined);
}

function writeMember(attribute: KmipAttribute, version: KmipVersion): Item {
  const { name, vendor, value } = attribute;
  if (vendor === undefined) {
    const tag = tagCode(name);
    if (tag === undefined || value === undefined) throw new CodecError('MissingField', 'an attribute has a known name and a value');
    return within(name, () => writeValue(value, tag, version));
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
