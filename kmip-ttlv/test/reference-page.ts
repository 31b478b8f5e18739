import {
  ATTRIBUTES,
  type AttributeRow,
  ENUMERATIONS,
  type EnumerationRow,
  type FieldRow,
  type Lifetime,
  MASKS,
  OPERATIONS,
  type OperationRow,
  STRUCTURES,
  type StructureRow,
  TAGS,
  type TagRow,
} from '../src/index.js';

// docs/kmip/reference.md, from the tables and nothing else.

const life = (row: Partial<Lifetime>): string => {
  if (row.until !== undefined) return row.since === row.until ? `${row.until} only` : `${row.since ?? '1.0'}–${row.until}`;
  return row.since === undefined || row.since === '1.0' ? '' : `${row.since}+`;
};
const field = (row: FieldRow): string => {
  const versions = life(row as Partial<Lifetime>);
  return `${row.name}${row.repeated ? '*' : ''}${row.required ? '!' : ''}${versions === '' ? '' : ` (${versions})`}`;
};
const fields = (rows: readonly FieldRow[]): string => (rows.length === 0 ? '–' : rows.map(field).join(', '));
const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
const hex = (value: number, digits: number): string => `0x${value.toString(16).toUpperCase().padStart(digits, '0')}`;

export function referencePage(): string {
  const operations = (OPERATIONS as readonly OperationRow[]).map((row) => [
    hex(row.code, 2),
    row.name,
    life(row),
    row.from,
    fields(row.request),
    fields(row.response),
  ]);
  const attributes = (ATTRIBUTES as readonly AttributeRow[]).map((row) => [
    row.name,
    life(row),
    row.multiple ? 'many' : 'one',
    row.setBy.join(', '),
    row.client,
    row.delete,
    row.server,
    row.appliesTo,
  ]);
  const structures = (STRUCTURES as readonly StructureRow[]).map((row) => [row.name, fields(row.fields)]);
  const values = (rows: readonly EnumerationRow['values'][number][]): string =>
    rows.map((row) => `${row.name} ${hex(row.value, 1)}${life(row) === '' ? '' : ` (${life(row)})`}`).join(', ') || 'extensions only';
  const enumerations = (ENUMERATIONS as readonly EnumerationRow[]).map((row) => [row.name, values(row.values)]);
  const masks = MASKS.map((row) => [row.name, values(row.values)]);
  const tags = (TAGS as readonly TagRow[]).map((row) => [hex(row.code, 6), row.name, row.types.join(', '), life(row)]);
  return [
    '# KMIP reference',
    'Generated from the tables of `@aegis/kmip-ttlv` (`AEGIS_UPDATE=1 npx vitest run --config test/config/vitest.config.ts kmip-ttlv/test/reference`). `!` is required, `*` may be repeated; versions are given where they are not all. 3.0 is a draft.',
    '## Operations',
    table(['Code', 'Operation', 'Versions', 'From', 'Request', 'Response'], operations),
    '## Attributes',
    table(
      ['Attribute', 'Versions', 'Values', 'Set by', 'Client may change', 'Client may delete', 'Server may change', 'Applies to'],
      attributes,
    ),
    '## Structures',
    table(['Structure', 'Fields in order'], structures),
    '## Enumerations',
    table(['Enumeration', 'Values'], enumerations),
    '## Masks',
    table(['Mask', 'Bits'], masks),
    '## Tags',
    table(['Tag', 'Name', 'Item types', 'Versions'], tags),
    '',
  ].join('\n\n');
}
