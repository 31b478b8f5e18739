import type { AuditCheckpoint, AuditFilter, AuditRecord, ChainLink } from '../domain/index.js';
import { type Database, query } from './database.js';
import { toStorageFault } from './failures.js';
import { pageLimit, parseCursor, toPage } from './page-cursor.js';
import type { AuditStore, ChainedRecord } from './ports.js';
import { SEARCH_COLUMNS } from './record-inserts.js';

/** Rows fetched at a time by the stream: bounds its memory whatever the length of the log. */
const STREAM_ROWS = 500;
const MAX_LEAVES = 100_000;
const FOLD_LOCK = `hashtextextended('aegis audit fold', 0)`;

const COLUMNS = `c.node, c.boot, r.chain, r.sequence, encode(r.previous, 'hex') AS previous, encode(r.hash, 'hex') AS hash, r.canonical,
  ${Object.keys(SEARCH_COLUMNS)
    .map((name) => `r.${name}`)
    .join(', ')}`;

interface RecordRow {
  readonly node: string;
  readonly boot: string;
  readonly chain: number;
  readonly sequence: number;
  readonly at: number;
  readonly previous: string;
  readonly hash: string;
  readonly canonical: string;
}

/** What the columns still tell of a record whose text somebody destroyed: its hash then shows that it is not the record. */
const fromColumns = (row: RecordRow & Record<string, unknown>): AuditRecord => {
  const text = (name: string): string => String(row[name] ?? '');
  return {
    ...{ id: text('id'), tenant: text('tenant'), at: row.at, node: row.node, plane: text('plane'), requestId: text('request_id') },
    actor: { kind: 'unknown', id: text('actor'), name: 'the stored record is damaged', method: 'unknown' },
    ...{ operation: text('operation'), action: text('action'), outcome: text('outcome') as AuditRecord['outcome'] },
  };
};

const parseObject = (text: string): object | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const parseRecord = (row: RecordRow & Record<string, unknown>): AuditRecord => {
  const found = parseObject(row.canonical) as AuditRecord | undefined;
  return typeof found?.actor === 'object' && found.actor !== null ? found : fromColumns(row);
};

const misfiledColumn = (row: RecordRow & Record<string, unknown>, record: AuditRecord): string | undefined => {
  try {
    return Object.entries(SEARCH_COLUMNS).find(([name, pick]) => row[name] !== pick(record))?.[0];
  } catch {
    return 'canonical';
  }
};

const toChained = (row: RecordRow & Record<string, unknown>): ChainedRecord => {
  const chain: ChainLink = { node: row.node, boot: row.boot, sequence: row.sequence, previous: row.previous, hash: row.hash };
  const record = parseRecord(row);
  const misfiled = misfiledColumn(row, record);
  return { record: { ...record, chain }, chain, canonical: row.canonical, ...(misfiled === undefined ? {} : { misfiled }) };
};

interface CheckpointRow {
  readonly tree_size: number;
  readonly at: number;
  readonly body: string;
}

/** A body that somebody damaged becomes a checkpoint without a signature, which verification names, rather than a failed read. */
const toCheckpoint = (row: CheckpointRow): AuditCheckpoint => {
  const body = parseObject(row.body) as AuditCheckpoint | undefined;
  const texts = [body?.rootHash, body?.keyId, body?.algorithm, body?.publicKey, body?.signature];
  const heads = Array.isArray(body?.heads) && body.heads.every((head: unknown) => typeof head === 'object' && head !== null);
  if (body !== undefined && body.treeSize === row.tree_size && body.at === row.at && heads && texts.every((t) => typeof t === 'string'))
    return body;
  return {
    ...{ treeSize: row.tree_size, at: row.at, rootHash: '', heads: [], keyId: '' },
    ...{ algorithm: '(the stored checkpoint is damaged)', publicKey: '', signature: '' },
  };
};

const FILTER_COLUMNS: Readonly<Record<Exclude<keyof AuditFilter, 'since' | 'until'>, string>> = {
  actor: 'actor',
  parent: 'parent',
  action: 'action',
  operation: 'operation',
  resource: 'resource',
  outcome: 'outcome',
  requestId: 'request_id',
  plane: 'plane',
};

/** The filter as SQL over `audit_record r`; a zero character matches nothing, as the columns hold none. */
const conditions = (tenant: string | undefined, filter: AuditFilter): { where: string; values: unknown[] } => {
  const values: unknown[] = [];
  const where: string[] = [];
  const add = (sql: string, value: unknown): void => {
    values.push(typeof value === 'string' ? value.replaceAll('\0', '\u{fffd}') : value);
    where.push(`r.${sql} $${values.length}`);
  };
  if (tenant !== undefined) add('tenant =', tenant);
  for (const [field, column] of Object.entries(FILTER_COLUMNS)) {
    const value = filter[field as keyof AuditFilter];
    if (value !== undefined) add(`${column} =`, value);
  }
  if (filter.since !== undefined) add('at >=', Math.ceil(filter.since));
  if (filter.until !== undefined) add('at <=', Math.floor(filter.until));
  return { where: where.length === 0 ? 'true' : where.join(' AND '), values };
};

const HEADS = {
  name: 'chain-heads',
  text: `SELECT c.node, c.boot, r.sequence, encode(r.previous, 'hex') AS previous, encode(r.hash, 'hex') AS hash
    FROM audit_chain c JOIN audit_record r ON r.chain = c.id AND r.sequence = c.sequence
    WHERE c.node = $1 AND c.sequence > 0 ORDER BY c.id`,
};
const FOLDED_HEADS = {
  name: 'folded-heads',
  text: `SELECT c.node, c.boot, c.folded AS sequence, encode(r.hash, 'hex') AS hash
    FROM audit_chain c JOIN audit_record r ON r.chain = c.id AND r.sequence = c.folded
    WHERE c.folded > 0 ORDER BY c.id DESC`,
};
/**
 * From each chain its next records, then the oldest of all of them; a chain's own order is kept because its times are made to.
 * A run of one chain comes as one row: under load these are most of what the database has to say.
 */
const UNSEQUENCED = {
  name: 'unsequenced',
  text: `WITH next AS (
      SELECT r.hash, c.node, c.boot, r.sequence, r.at, r.chain
      FROM audit_chain c CROSS JOIN LATERAL (
        SELECT a.hash, a.sequence, a.chain, max(a.at) OVER (ORDER BY a.sequence) AS at FROM audit_record a
        WHERE a.chain = c.id AND a.sequence > c.folded ORDER BY a.sequence LIMIT $1) r
      WHERE c.sequence > c.folded ORDER BY r.at, r.chain, r.sequence LIMIT $1
    ), placed AS (
      SELECT *, row_number() OVER (ORDER BY at, chain, sequence) AS place FROM next
    )
    SELECT node, boot, min(sequence) AS first, string_agg(hash, '' ORDER BY sequence) AS hashes
    FROM placed GROUP BY chain, node, boot, place - sequence ORDER BY min(place)`,
};
const UNSEQUENCED_COUNT = {
  name: 'unsequenced-count',
  text: 'SELECT coalesce(sum(sequence - folded), 0)::bigint AS count FROM audit_chain',
};
const TREE = { name: 'audit-tree', text: 'SELECT size, peaks FROM audit_tree' };
const LEAVES = {
  name: 'audit-leaves',
  text: `SELECT first, count, hashes FROM audit_leaf
    WHERE first >= coalesce((SELECT max(first) FROM audit_leaf WHERE first <= $1), 0) AND first < $1::bigint + $2::bigint ORDER BY first`,
};
const ADVANCE_FOLDED = {
  name: 'advance-folded',
  text: `UPDATE audit_chain c SET folded = s.last
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS s(node, boot, first, last)
    WHERE c.node = s.node AND c.boot = s.boot AND c.folded = s.first - 1 AND s.last <= c.sequence RETURNING 1`,
};
const ADVANCE_TREE = 'UPDATE audit_tree SET size = $1, peaks = $2 WHERE size = $1::bigint - $3::bigint RETURNING 1';
const INSERT_LEAVES = 'INSERT INTO audit_leaf (first, count, hashes) VALUES ($1, $2, $3)';
const SAVE_CHECKPOINT = {
  name: 'save-checkpoint',
  text: 'INSERT INTO audit_checkpoint (tree_size, at, body) VALUES ($1, $2, $3) ON CONFLICT (tree_size, at) DO NOTHING',
};
const CHECKPOINTS = { name: 'checkpoints', text: 'SELECT tree_size, at, body FROM audit_checkpoint WHERE at >= $1 ORDER BY tree_size, at' };

type Leaf = Parameters<AuditStore['fold']>[0][number];

/** Thrown inside the fold's transaction to leave it without a trace. */
class Overtaken extends Error {}

interface Run {
  readonly node: string;
  readonly boot: string;
  readonly first: number;
  last: number;
}

/** What each chain contributes; nothing when the leaves of one have a gap. */
const toRuns = (leaves: readonly Leaf[]): readonly Run[] | undefined => {
  const runs: Run[] = [];
  for (const { node, boot, sequence } of leaves) {
    const run = runs.find((known) => known.boot === boot && known.node === node);
    if (run === undefined) runs.push({ node, boot, first: sequence, last: sequence });
    else if (sequence !== run.last + 1) return undefined;
    else run.last = sequence;
  }
  return runs;
};

const HASH_DIGITS = 64;

const fold = async (database: Database, leaves: readonly Leaf[], state: { size: number; peaks: readonly string[] }): Promise<boolean> => {
  if (leaves.length === 0) return true;
  const chains = toRuns(leaves);
  if (chains === undefined) return false;
  try {
    return await database.withReader(async (client) => {
      await client.query('BEGIN');
      try {
        const [lock] = await query<{ held: boolean }>(client, { text: `SELECT pg_try_advisory_xact_lock(${FOLD_LOCK}) AS held` });
        if (lock?.held !== true) throw new Overtaken();
        const tree = await query(client, { text: ADVANCE_TREE }, [state.size, state.peaks, leaves.length]);
        if (tree.length === 0) throw new Overtaken();
        const advanced = await query(client, ADVANCE_FOLDED, [
          chains.map((chain) => chain.node),
          chains.map((chain) => chain.boot),
          chains.map((chain) => chain.first),
          chains.map((chain) => chain.last),
        ]);
        if (advanced.length !== chains.length) throw new Overtaken();
        const hashes = Buffer.from(leaves.map((leaf) => leaf.hash).join(''), 'hex');
        await query(client, { text: INSERT_LEAVES }, [state.size - leaves.length, leaves.length, hashes]);
        await client.query('COMMIT');
        return true;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => undefined);
        if (error instanceof Overtaken) return false;
        throw error;
      }
    });
  } catch (error) {
    throw toStorageFault(error);
  }
};

export const makeAuditStore = (database: Database, nodeId: string): AuditStore => {
  const list: AuditStore['list'] = async (tenant, filter, page) => {
    const limit = pageLimit(page.limit);
    const question = ['audit', tenant ?? null, filter];
    const { where, values } = conditions(tenant, filter);
    const after = parseCursor(question, page.cursor, ['number', 'number', 'number']);
    const parameter = (value: unknown): string => `$${values.push(value)}`;
    const beyond = after === undefined ? '' : `AND (r.at, r.chain, r.sequence) < (${after.map(parameter).join(', ')})`;
    const rows = await database.read<RecordRow & Record<string, unknown>>(
      {
        text: `SELECT ${COLUMNS} FROM audit_record r JOIN audit_chain c ON c.id = r.chain WHERE ${where} ${beyond}
          ORDER BY r.at DESC, r.chain DESC, r.sequence DESC LIMIT ${parameter(limit + 1)}`,
      },
      values,
    );
    return toPage(
      rows,
      limit,
      question,
      (row) => [row.at, row.chain, row.sequence],
      (row) => toChained(row).record,
    );
  };

  const stream = async function* (filter: AuditFilter & { tenant?: string }): AsyncGenerator<ChainedRecord> {
    const { tenant, ...rest } = filter;
    const { where, values } = conditions(tenant, rest);
    const chains = await database.read<{ id: number }>({ text: 'SELECT id FROM audit_chain ORDER BY node, boot' });
    const position = values.length;
    const text = `SELECT ${COLUMNS} FROM audit_record r JOIN audit_chain c ON c.id = r.chain
      WHERE ${where} AND r.chain = $${position + 1} AND r.sequence > $${position + 2} ORDER BY r.sequence LIMIT ${STREAM_ROWS}`;
    for (const { id } of chains)
      for (let after = 0; ; ) {
        const rows = await database.read<RecordRow & Record<string, unknown>>({ text }, [...values, id, after]);
        for (const row of rows) yield toChained(row);
        if (rows.length < STREAM_ROWS) break;
        after = rows[rows.length - 1]?.sequence ?? after;
      }
  };

  return {
    list,
    stream,
    heads: () => database.read<ChainLink & Record<string, unknown>>(HEADS, [nodeId]),
    foldedHeads: () => database.read<{ node: string; boot: string; sequence: number; hash: string }>(FOLDED_HEADS),
    async unsequenced(limit) {
      const rows = await database.read<{ node: string; boot: string; first: number; hashes: Buffer }>(UNSEQUENCED, [limit]);
      return rows.flatMap(({ node, boot, first, hashes }) => {
        const digits = hashes.toString('hex');
        return Array.from({ length: digits.length / HASH_DIGITS }, (_, index) => ({
          ...{ node, boot, sequence: first + index },
          hash: digits.slice(index * HASH_DIGITS, (index + 1) * HASH_DIGITS),
        }));
      });
    },
    fold: (leaves, state) => fold(database, leaves, state),
    async treeState() {
      const [row] = await database.read<{ size: number; peaks: string[] }>(TREE);
      return { size: row?.size ?? 0, peaks: row?.peaks ?? [] };
    },
    async leaves(from, limit) {
      const wanted = Math.min(limit, MAX_LEAVES);
      const rows = await database.read<{ first: number; count: number; hashes: Buffer }>(LEAVES, [from, wanted]);
      const found: string[] = [];
      for (const row of rows)
        for (let index = Math.max(0, from - row.first); index < row.count && found.length < wanted; index += 1)
          found.push(row.hashes.toString('hex', index * 32, index * 32 + 32));
      return found;
    },
    async saveCheckpoint(checkpoint) {
      await database.run(SAVE_CHECKPOINT, [checkpoint.treeSize, checkpoint.at, JSON.stringify(checkpoint)]);
    },
    async checkpoints(since = 0) {
      const rows = await database.read<CheckpointRow & Record<string, unknown>>(CHECKPOINTS, [since]);
      return rows.map(toCheckpoint);
    },
    async unsequencedCount() {
      return (await database.read<{ count: number }>(UNSEQUENCED_COUNT))[0]?.count ?? 0;
    },
  };
};
