import { countUsesSql, markDueSql, type Touched, usesValues } from './group-changes.js';
import type { ChainedRecord } from './ports.js';

/** One chain of this process as the database knows it. */
export interface ChainRow {
  readonly id: number;
  readonly fence: number;
}

/**
 * $1 chain id, $2 sequence before, $3 hash before, $4 fence, $5 sequence after, $6 hash after. A chain that stands elsewhere,
 * or was fenced, gives no row; the records' chain is then null, which their table refuses: nothing is written.
 */
const HEAD = `head AS (
  UPDATE audit_chain SET sequence = $5, hash = $6
  WHERE id = $1 AND sequence = $2 AND fence = $4 AND (hash = $3 OR sequence = 0) RETURNING id)`;

/** $7 previous hash and the hashes, 32 bytes each; $8 canonical texts, one per line (JSON has no raw line feed); then the filter columns. */
const RECORDS = `INSERT INTO audit_record
    (chain, sequence, tenant, at, id, actor, parent, action, operation, resource, outcome, request_id, plane, previous, hash, canonical)
  SELECT (SELECT id FROM head), $2::bigint + r.n, r.tenant, r.at, r.id, r.actor, r.parent, r.action, r.operation, r.resource, r.outcome,
    r.request_id, r.plane, substring($7::bytea FROM (r.n::int - 1) * 32 + 1 FOR 32), substring($7::bytea FROM r.n::int * 32 + 1 FOR 32), r.canonical
  FROM ROWS FROM (
    unnest(string_to_array($8, E'\\n')), unnest($9::text[]), unnest($10::bigint[]), unnest($11::text[]), unnest($12::text[]),
    unnest($13::text[]), unnest($14::text[]), unnest($15::text[]), unnest($16::text[]), unnest($17::text[]), unnest($18::text[]),
    unnest($19::text[])
  ) WITH ORDINALITY AS r(canonical, tenant, at, id, actor, parent, action, operation, resource, outcome, request_id, plane, n)
  ORDER BY r.n`;

/** Records alone: the whole group in one statement and one round trip. */
export const INSERT_RECORDS = { name: 'insert-records', text: `WITH ${HEAD} ${RECORDS}` };

/** Records and uses of keys without limits, likewise. */
export const INSERT_RECORDS_AND_USES = {
  name: 'insert-records-and-uses',
  text: `WITH ${HEAD}, records AS (${RECORDS} RETURNING 1), used AS (${countUsesSql('$20', '$21', '$22')}), due AS (${markDueSql('used')})
    SELECT object_id AS id, uses, remaining FROM used`,
};

/**
 * Records, and the next epoch with what changed in it. The one row that all nodes share is locked last, after the records are
 * in, and only until the commit.
 */
export const INSERT_RECORDS_AND_EPOCH = {
  name: 'insert-records-and-epoch',
  text: `WITH ${HEAD}, records AS (${RECORDS} RETURNING 1), bumped AS (
      UPDATE cluster SET epoch = epoch + 1 WHERE (SELECT count(*) FROM records) > 0 RETURNING epoch
    )
    INSERT INTO change_log (epoch, objects, principals, tokens, policies, settings)
    SELECT epoch, $20::text[], $21::text[], $22::text[], $23, $24 FROM bumped RETURNING epoch`,
};

/** PostgreSQL text holds no zero character; filter columns are only for finding, the hashed text is kept as it is (escaped). */
const column = (value: string | undefined): string | null => (value === undefined ? null : value.replaceAll('\0', '\u{fffd}'));

type Entry = ChainedRecord['record'];

/** What searches find a record by, in the order of INSERT; reading compares the same, since no hash covers these columns. */
export const SEARCH_COLUMNS: Readonly<Record<string, (record: Entry) => string | number | null>> = {
  tenant: (record) => column(record.tenant),
  at: (record) => record.at,
  id: (record) => record.id,
  actor: (record) => column(record.actor.id),
  parent: (record) => column(record.actor.parentId),
  action: (record) => record.action,
  operation: (record) => record.operation,
  resource: (record) => column(record.resource?.id),
  outcome: (record) => record.outcome,
  request_id: (record) => column(record.requestId),
  plane: (record) => record.plane,
};

const PICKS = Object.values(SEARCH_COLUMNS);
const NEEDS_ESCAPE = /["\\]/;

/**
 * One column of all records as the text of a PostgreSQL array (§8.15.2 of its manual). Written here because the driver's own
 * way takes several calls and regular expressions for each of the dozen values of each record.
 */
const columnText = (records: readonly ChainedRecord[], pick: (record: Entry) => string | number | null): string => {
  let text = '{';
  for (let index = 0; index < records.length; index += 1) {
    const value = pick((records[index] as ChainedRecord).record);
    if (index > 0) text += ',';
    if (value === null) text += 'NULL';
    else if (typeof value === 'number') text += value;
    else text += `"${NEEDS_ESCAPE.test(value) ? value.replace(/["\\]/g, '\\$&') : value}"`;
  }
  return `${text}}`;
};

const HASH_BYTES = 32;

export const recordValues = (chain: ChainRow, records: readonly ChainedRecord[]): unknown[] => {
  const first = records[0] as ChainedRecord;
  const last = records[records.length - 1] as ChainedRecord;
  const hashes = Buffer.allocUnsafe((records.length + 1) * HASH_BYTES);
  hashes.write(first.chain.previous, 0, 'hex');
  let canonical = '';
  for (let index = 0; index < records.length; index += 1) {
    const record = records[index] as ChainedRecord;
    hashes.write(record.chain.hash, (index + 1) * HASH_BYTES, 'hex');
    canonical += index === 0 ? record.canonical : `\n${record.canonical}`;
  }
  return [
    chain.id,
    first.chain.sequence - 1,
    hashes.subarray(0, HASH_BYTES),
    chain.fence,
    last.chain.sequence,
    hashes.subarray(hashes.length - HASH_BYTES),
    hashes,
    canonical,
    ...PICKS.map((pick) => columnText(records, pick)),
  ];
};

export const usageValues = (touched: Touched): unknown[] => usesValues(touched);

export const epochValues = (touched: Touched): unknown[] => [
  [...touched.objects],
  [...touched.principals],
  [...touched.tokens],
  touched.policies,
  touched.settings,
];

const HASH_HEX = /^[0-9a-f]{64}$/;

/** A group's records form one unbroken run of one chain; anything else is a bug of the caller and is refused before it is stored. */
export const checkRun = (records: readonly ChainedRecord[]): void => {
  const first = records[0];
  if (first === undefined) throw new Error('a group without audit records is refused: every change has its record');
  let previous = first.chain.previous;
  if (!HASH_HEX.test(previous)) throw new Error('audit records of a group must continue one chain (its head is no hash)');
  for (let index = 0; index < records.length; index += 1) {
    const { chain, canonical } = records[index] as ChainedRecord;
    if (
      chain.node !== first.chain.node ||
      chain.boot !== first.chain.boot ||
      chain.sequence !== first.chain.sequence + index ||
      chain.previous !== previous ||
      !HASH_HEX.test(chain.hash) ||
      canonical.includes('\n') ||
      canonical === ''
    )
      throw new Error(`audit records of a group must continue one chain (record ${index} does not)`);
    previous = chain.hash;
  }
};
