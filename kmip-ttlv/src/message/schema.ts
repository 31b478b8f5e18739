import { ATTRIBUTES } from '../spec/attributes.js';
import { ItemType } from '../spec/item-types.js';
import { enumerationOfTag, knownTag, showTag, tagCode, tagRow } from '../spec/lookup.js';
import { OPERATIONS } from '../spec/operations.js';
import { STRUCTURES } from '../spec/structures.js';
import type { AttributeRow, EnumerationRow, FieldRow, OperationRow, StructureRow } from '../spec/table-rows.js';
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
  readonly view: TagView;
};

/** What a version knows of a tag. */
export type TagView = {
  readonly tag: number;
  readonly name: string;
  /** The item types it may have, the usual one first; none for a tag without row. */
  readonly types: readonly number[];
  /** The names and values of its enumeration that the version has; `all` those of any version. */
  readonly enumeration:
    | { readonly names: ReadonlyMap<number, string>; readonly values: ReadonlyMap<string, number>; readonly all: EnumerationRow }
    | undefined;
  /** The fields, when the tag is a structure that the tables describe. */
  readonly schema: () => Schema | undefined;
};

export type Schema = {
  readonly fields: readonly Field[];
  readonly byTag: ReadonlyMap<number, Field>;
  readonly byName: ReadonlyMap<string, Field>;
  /** How many of the fields are required. */
  readonly required: number;
};

export function makeSchema(fields: readonly Field[]): Schema {
  return {
    fields,
    byTag: new Map(fields.map((field) => [field.tag, field])),
    byName: new Map(fields.map((field) => [field.name, field])),
    required: fields.filter((field) => field.required).length,
  };
}
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

function fieldLives(field: FieldRow, version: KmipVersion): boolean {
  const since = field.since ?? '1.0';
  return livesIn(field.until === undefined ? { since } : { since, until: field.until }, version);
}

/** One version's tables, compiled as they are asked for. */
export type VersionView = {
  readonly version: KmipVersion;
  tag(code: number): TagView;
  structure(name: string): Schema | undefined;
  payload(operation: string, direction: Direction): Schema | undefined;
};

function makeVersionView(version: KmipVersion): VersionView {
  const tags = new Map<number, TagView>();
  const known = new Map<string, Schema>();
  const payloads = { request: new Map<string, Schema>(), response: new Map<string, Schema>() };
  const tag = (code: number): TagView => {
    const cached = tags.get(code);
    if (cached !== undefined) return cached;
    const name = showTag(code);
    let schema: Schema | undefined;
    const made: TagView = {
      tag: code,
      name,
      types: compileTypes(code, version),
      enumeration: compileEnumeration(code, version),
      schema: () => (schema ??= structure(name)),
    };
    // Only known tags are kept, so that hostile tags cannot grow the map.
    if (tagRow(code) !== undefined) tags.set(code, made);
    return made;
  };
  const compile = (rows: readonly FieldRow[]): Schema => {
    const fields = rows
      .filter((row) => fieldLives(row, version))
      .map((row, order): Field => {
        const code = tagCode(row.name) as number;
        const shape = shapes.get(row.name) ?? 'plain';
        return {
          name: row.name,
          tag: code,
          required: row.required === true,
          repeated: row.repeated === true,
          shape,
          order,
          view: tag(code),
        };
      });
    return makeSchema(fields);
  };
  const structure = (name: string): Schema | undefined => {
    const cached = known.get(name);
    const row = cached === undefined ? structures.get(name) : undefined;
    if (row === undefined) return cached;
    const made = compile(row.fields);
    known.set(name, made);
    return made;
  };
  const payload = (operation: string, direction: Direction): Schema | undefined => {
    const cached = payloads[direction].get(operation);
    const row = cached === undefined ? operations.get(operation) : undefined;
    if (row === undefined || !livesIn(row, version)) return cached;
    const made = compile(row[direction]);
    payloads[direction].set(operation, made);
    return made;
  };
  return { version, tag, structure, payload };
}

function compileTypes(code: number, version: KmipVersion): readonly number[] {
  const row = tagRow(code);
  const changes = TYPE_CHANGES.filter((change) => change.tag === row?.name && compareVersions(change.since, version) <= 0);
  return (changes[changes.length - 1]?.types ?? row?.types ?? []).map((name) => ItemType[name]);
}

function compileEnumeration(code: number, version: KmipVersion): TagView['enumeration'] {
  const all = enumerationOfTag(code);
  if (all === undefined) return undefined;
  const alive = all.values.filter((row) => livesIn(row, version));
  return { all, names: new Map(alive.map((row) => [row.value, row.name])), values: new Map(alive.map((row) => [row.name, row.value])) };
}

const views = new Map<KmipVersion, VersionView>();

/** The compiled tables of a version. */
export function versionView(version: KmipVersion): VersionView {
  const cached = views.get(version);
  if (cached !== undefined) return cached;
  const made = makeVersionView(version);
  views.set(version, made);
  return made;
}

/** The fields of a structure in a version; undefined for a structure that the tables do not describe. */
export function structureSchema(name: string, version: KmipVersion): Schema | undefined {
  return versionView(version).structure(name);
}

/** The fields of a payload; undefined for an operation that the version does not have. */
export function payloadSchema(operation: string, direction: Direction, version: KmipVersion): Schema | undefined {
  return versionView(version).payload(operation, direction);
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

/** The item types that a tag may have in a version, the usual one first. Empty for a tag without row. */
export function typesOf(tag: number, version: KmipVersion): readonly number[] {
  return versionView(version).tag(tag).types;
}

export const REQUEST_MESSAGE = knownTag('RequestMessage');
export const RESPONSE_MESSAGE = knownTag('ResponseMessage');
