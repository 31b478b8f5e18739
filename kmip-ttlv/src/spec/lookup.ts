import { ENUMERATIONS } from './enumerations.js';
import { MASKS } from './masks.js';
import type { EnumerationRow, MaskRow, TagRow, ValueRow } from './table-rows.js';
import { TAGS } from './tags.js';
import { type KmipVersion, livesIn } from './versions.js';

// Indexes over the tables. Everything here is derived; nothing is stated twice.

export type TagName = (typeof TAGS)[number]['name'];
type Enumerations = (typeof ENUMERATIONS)[number];
export type EnumerationName = Enumerations['name'];
/** The value names of one enumeration: `ValueName<'Operation'>` is `'Create' | 'Get' | …`. */
export type ValueName<E extends EnumerationName> = Extract<Enumerations, { name: E }>['values'][number]['name'];

type ValueIndex = {
  readonly row: EnumerationRow;
  readonly byValue: ReadonlyMap<number, readonly ValueRow[]>;
  readonly byName: ReadonlyMap<string, number>;
};

const tagsByCode: ReadonlyMap<number, TagRow> = new Map(TAGS.map((row) => [row.code, row]));
const tagsByName: ReadonlyMap<string, TagRow> = new Map(TAGS.map((row) => [row.name, row]));
const tagsByText: ReadonlyMap<string, TagRow> = new Map(TAGS.map((row) => [row.text, row]));

function indexValues(row: EnumerationRow): ValueIndex {
  const byValue = new Map<number, ValueRow[]>();
  const byName = new Map<string, number>();
  for (const value of row.values) {
    byValue.set(value.value, [...(byValue.get(value.value) ?? []), value]);
    byName.set(value.name, value.value);
  }
  return { row, byValue, byName };
}

const enumerationsByName = new Map<string, ValueIndex>();
const enumerationsByTag = new Map<number, ValueIndex>();
for (const row of ENUMERATIONS as readonly EnumerationRow[]) {
  const index = indexValues(row);
  enumerationsByName.set(row.name, index);
  for (const tag of row.tags) enumerationsByTag.set((tagsByName.get(tag) as TagRow).code, index);
}
// An Attribute Reference of type Enumeration carries a tag (KMIP 2.1 §5.5).
const tagEnumeration = indexValues({ name: 'Tag', tags: ['AttributeReference'], values: TAGS.map((row) => ({ ...row, value: row.code })) });
enumerationsByName.set('Tag', tagEnumeration);
for (const tag of tagEnumeration.row.tags) enumerationsByTag.set((tagsByName.get(tag) as TagRow).code, tagEnumeration);

const masksByTag: ReadonlyMap<number, MaskRow> = new Map(
  (MASKS as readonly MaskRow[]).map((row) => [(tagsByName.get(row.name) as TagRow).code, row]),
);

/** The row of a tag code. */
export function tagRow(code: number): TagRow | undefined {
  return tagsByCode.get(code);
}

/** The code of a tag's normalised name (`'ActivationDate'`). */
export function tagCode(name: string): number | undefined {
  return tagsByName.get(name)?.code;
}

/** The code of a tag known to exist. */
export function knownTag(name: TagName): number {
  return (tagsByName.get(name) as TagRow).code;
}

/** The row of a tag by the words of the standard (`'Activation Date'`), as 1.x attribute names are written. */
export function tagByText(text: string): TagRow | undefined {
  return tagsByText.get(text);
}

/** A tag's normalised name, or `0x` and six hex digits when the tables do not know it. */
export function showTag(code: number): string {
  return tagsByCode.get(code)?.name ?? `0x${code.toString(16).padStart(6, '0')}`;
}

/** The enumeration that items with this tag carry. */
export function enumerationOfTag(code: number): EnumerationRow | undefined {
  return enumerationsByTag.get(code)?.row;
}

/** The mask that Integer items with this tag carry. */
export function maskOfTag(code: number): MaskRow | undefined {
  return masksByTag.get(code);
}

/** The value of a name in an enumeration, any version. */
export function enumerationValue(enumeration: string, name: string): number | undefined {
  return enumerationsByName.get(enumeration)?.byName.get(name);
}

/** The name of a value: the version's own name when given, otherwise the newest. Undefined when no row fits. */
export function enumerationName(enumeration: string, value: number, version?: KmipVersion): string | undefined {
  const rows = enumerationsByName.get(enumeration)?.byValue.get(value);
  if (rows === undefined) return undefined;
  if (version === undefined) return rows[rows.length - 1]?.name;
  return rows.find((row) => livesIn(row, version))?.name;
}

/** As {@link enumerationName}, by the tag that carries the enumeration. */
export function valueNameForTag(tag: number, value: number): string | undefined {
  const rows = enumerationsByTag.get(tag)?.byValue.get(value);
  return rows?.[rows.length - 1]?.name;
}

/** As {@link enumerationValue}, by the tag that carries the enumeration. */
export function valueForTag(tag: number, name: string): number | undefined {
  return enumerationsByTag.get(tag)?.byName.get(name);
}

/** True when the version has the tag. Unknown tags (vendor extensions, newer drafts) have no row and so are in no version. */
export function tagLivesIn(code: number, version: KmipVersion): boolean {
  const row = tagsByCode.get(code);
  return row !== undefined && livesIn(row, version);
}

/** True when the version has the value. Extension values (top bit 8) belong to every version. */
export function valueLivesIn(enumeration: string, value: number, version: KmipVersion): boolean {
  if (value >= 0x80000000) return true;
  return (
    enumerationsByName
      .get(enumeration)
      ?.byValue.get(value)
      ?.some((row) => livesIn(row, version)) ?? false
  );
}
