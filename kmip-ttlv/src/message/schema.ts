import { ATTRIBUTES } from '../spec/attributes.js';
import { ItemType } from '../spec/item-types.js';
import { knownTag, tagCode, tagRow } from '../spec/lookup.js';
import { OPERATIONS } from '../spec/operations.js';
import { STRUCTURES } from '../spec/structures.js';
import type { AttributeRow, FieldRow, OperationRow, StructureRow } from '../spec/table-rows.js';
import { TYPE_CHANGES } from '../spec/tags.js';
import { compareVersions, type KmipVersion, livesIn } from '../spec/versions.js';

// The tables, compiled per version when first asked for.

/** How the value of a field is carried in the typed form. */
type FieldShape =
  | 'plain'
  /** One 1.x Attribute. */
  | 'attribute'
  /** A 2.x structure whose children are attributes. */
  | 'attributes'
  /** New Attribute and Current Attribute: the same, with one child. */
  | 'oneAttribute'
  | 'reference';

export type Field = {
  readonly name: string;
  readonly tag: number;
  readonly required: boolean;
  readonly repeated: boolean;
  readonly shape: FieldShape;
  /** Place in the order of the standard. */
  readonly order: number;
};

export type Schema = { readonly fields: readonly Field[]; readonly byTag: ReadonlyMap<number, Field> };
export type Direction = 'request' | 'response';

const shapes: ReadonlyMap<string, FieldShape> = new Map([
  ['Attribute', 'attribute'],
  ['Attributes', 'attributes'],
  ['CommonAttributes', 'attributes'],
  ['PrivateKeyAttributes', 'attributes'],
  ['PublicKeyAttributes', 'attributes'],
  ['NewAttribute', 'oneAttribute'],
  ['CurrentAttribute', 'oneAttribute'],
  ['AttributeReference', 'reference'],
]);

const structures: ReadonlyMap<string, StructureRow> = new Map((STRUCTURES as readonly StructureRow[]).map((row) => [row.name, row]));
const operations: ReadonlyMap<string, OperationRow> = new Map((OPERATIONS as readonly OperationRow[]).map((row) => [row.name, row]));
const attributes: ReadonlyMap<string, AttributeRow> = new Map((ATTRIBUTES as readonly AttributeRow[]).map((row) => [row.name, row]));
const compiled = new Map<string, Schema>();

function fieldLives(field: FieldRow, version: KmipVersion): boolean {
  const since = field.since ?? '1.0';
  return livesIn(field.until === undefined ? { since } : { since, until: field.until }, version);
}

function compile(key: string, rows: readonly FieldRow[], version: KmipVersion): Schema {
  const cached = compiled.get(key);
  if (cached !== undefined) return cached;
  const fields = rows
    .filter((row) => fieldLives(row, version))
    .map((row, order): Field => {
      const tag = tagCode(row.name) as number;
      const shape = shapes.get(row.name) ?? 'plain';
      return { name: row.name, tag, required: row.required === true, repeated: row.repeated === true, shape, order };
    });
  const schema: Schema = { fields, byTag: new Map(fields.map((field) => [field.tag, field])) };
  compiled.set(key, schema);
  return schema;
}

/** The fields of a structure in a version; undefined for a structure that the tables do not describe. */
export function structureSchema(name: string, version: KmipVersion): Schema | undefined {
  const row = structures.get(name);
  return row === undefined ? undefined : compile(`${version} ${name}`, row.fields, version);
}

/** The fields of a payload; undefined for an operation that the version does not have. */
export function payloadSchema(operation: string, direction: Direction, version: KmipVersion): Schema | undefined {
  const row = operations.get(operation);
  if (row === undefined || !livesIn(row, version)) return undefined;
  return compile(`${version} ${operation} ${direction}`, row[direction], version);
}

/** The row of an operation by its name. */
export function operationRow(name: string): OperationRow | undefined {
  return operations.get(name);
}

/** The row of an attribute by its tag's name. */
export function attributeRow(name: string): AttributeRow | undefined {
  return attributes.get(name);
}

/** The attributes of a version. */
export function attributesOf(version: KmipVersion): readonly AttributeRow[] {
  return (ATTRIBUTES as readonly AttributeRow[]).filter((row) => livesIn(row, version));
}

const typeCodes = new Map<string, readonly number[]>();

/** The item types that a tag may have in a version, the usual one first. Empty for a tag without row. */
export function typesOf(tag: number, version: KmipVersion): readonly number[] {
  const key = `${version} ${tag}`;
  const cached = typeCodes.get(key);
  if (cached !== undefined) return cached;
  const row = tagRow(tag);
  const changes = TYPE_CHANGES.filter((change) => change.tag === row?.name && compareVersions(change.since, version) <= 0);
  const codes = (changes[changes.length - 1]?.types ?? row?.types ?? []).map((name) => ItemType[name]);
  // Only known tags are kept, so that hostile tags cannot grow the map.
  if (row !== undefined) typeCodes.set(key, codes);
  return codes;
}

export const REQUEST_MESSAGE = knownTag('RequestMessage');
export const RESPONSE_MESSAGE = knownTag('ResponseMessage');
