import { CERTIFICATE_ATTRIBUTES, type LocateFilter } from '../domain/index.js';

const DATE_COLUMNS = {
  created: 'o.created',
  initial: 'o.initial',
  activation: 'o.activation',
  processStart: 'o.process_start',
  protectStop: 'o.protect_stop',
  deactivation: 'o.deactivation',
  compromiseOccurrence: 'o.compromise_occurrence',
  compromise: 'o.compromise',
  destroy: 'o.destroyed',
  archive: 'o.archived_at',
  lastChange: 'o.last_change',
} as const satisfies Record<keyof NonNullable<LocateFilter['between']>, string>;
/** The attribute that marks an object of which nothing may be found any more; the key service sets it (Destroy with `obliterate`). */
export const OBLITERATED = 'x-aegis-obliterated';

/** In a LIKE pattern these mean themselves only when escaped. */
const escapeLike = (text: string): string => text.replace(/[\\%_]/g, '\\$&');
const isEmpty = (record: object): boolean => Object.keys(record).length === 0;

/**
 * Locate's filter as SQL over `object o`. The tenant is always the first condition. Every value is a parameter; a zero
 * character, which PostgreSQL's text can't hold, matches nothing.
 */
export const locateConditions = (tenant: string, filter: LocateFilter): { readonly where: string; readonly values: readonly unknown[] } => {
  const values: unknown[] = [tenant];
  const where = ['o.tenant = $1'];
  const parameter = (value: unknown): string => `$${values.push(value)}`;
  const oneOf = (column: string, list: readonly string[] | undefined): void => {
    const single = list?.length === 1 ? list[0] : undefined;
    // One value as an equality: the index then also gives the order.
    if (single !== undefined) where.push(`${column} = ${parameter(single)}`);
    else if (list !== undefined) where.push(`${column} = ANY(${parameter(list)}::text[])`);
  };
  const equal = (column: string, value: string | undefined): void => {
    if (value !== undefined) where.push(`${column} = ${parameter(value)}`);
  };
  const between = (column: string, range: readonly [number, number] | undefined): void => {
    if (range !== undefined) where.push(`${column} BETWEEN ${parameter(range[0])} AND ${parameter(range[1])}`);
  };

  // A scalar: names are unique in a tenant, so this is one look-up by key.
  if (filter.name !== undefined)
    where.push(`o.id = (SELECT n.object_id FROM object_name n WHERE n.tenant = $1 AND n.name = ${parameter(filter.name)})`);
  if (filter.namePrefix !== undefined)
    where.push(
      `o.id IN (SELECT n.object_id FROM object_name n WHERE n.tenant = $1 AND n.name LIKE ${parameter(`${escapeLike(filter.namePrefix)}%`)})`,
    );
  equal('o.id', filter.id);
  oneOf('o.type', filter.types);
  oneOf('o.state', filter.states);
  oneOf('o.spec', filter.specs);
  equal('o.root_id', filter.rootId);
  equal('o.object_group', filter.objectGroup);
  equal('o.owner', filter.owner);
  if (filter.usage !== undefined && filter.usage.length > 0) where.push(`o.usage @> ${parameter(filter.usage)}::text[]`);
  // The second half repeats the predicate of the partial index, which is used only where the condition implies it.
  if (filter.tags !== undefined && !isEmpty(filter.tags))
    where.push(`o.tags @> ${parameter(JSON.stringify(filter.tags))}::jsonb AND o.tags <> '{}'::jsonb`);
  if (filter.attributes !== undefined && !isEmpty(filter.attributes))
    where.push(`o.attributes @> ${parameter(JSON.stringify(filter.attributes))}::jsonb AND o.attributes <> '{}'::jsonb`);
  // What the service keeps for itself is found by its own attributes only.
  if (!Object.keys(filter.attributes ?? {}).some((name) => name.startsWith('x-aegis-')))
    where.push(`NOT (o.attributes ? '${CERTIFICATE_ATTRIBUTES.service}')`);
  if (filter.link !== undefined)
    where.push(
      `o.links @> ${parameter(JSON.stringify([{ type: filter.link.type, target: filter.link.target }]))}::jsonb AND o.links <> '[]'::jsonb`,
    );
  // Archived objects are off-line: they are found only by who asks for them (KMIP 2.1 §11.56 Storage Status Mask).
  if (filter.archived !== 'any') where.push(`o.archived = ${parameter(filter.archived === true)}`);
  between('o.created', filter.createdBetween);
  between('o.activation', filter.activationBetween);
  for (const [date, range] of Object.entries(filter.between ?? {})) between(DATE_COLUMNS[date as keyof typeof DATE_COLUMNS], range);
  // Of an obliterated object only the row is left, so that its id is never given again.
  where.push(`NOT o.attributes ? '${OBLITERATED}'`);
  if (values.some(holdsZero)) where.push('false');
  return { where: where.join(' AND '), values: values.map(withoutZero) };
};

const holdsZero = (value: unknown): boolean =>
  typeof value === 'string' ? value.includes('\0') || /(?<!\\)(?:\\\\)*\\u0000/.test(value) : Array.isArray(value) && value.some(holdsZero);
const withoutZero = (value: unknown): unknown => (holdsZero(value) ? (Array.isArray(value) ? [] : value === '' ? '' : '{}') : value);
