import type pg from 'pg';
import type { Change, Fault } from '../domain/index.js';
import { query } from './database.js';
import { fromRecordset, OBJECT_COLUMNS, recordset, toObjectRow, toVersionRow, VERSION_COLUMNS } from './rows.js';

type Of<K extends Change['kind']> = Extract<Change, { readonly kind: K }>;
type Client = Pick<pg.ClientBase, 'query'>;

const columns = (table: Readonly<Record<string, string>>): string => Object.keys(table).join(', ');

const INSERT_OBJECTS = {
  name: 'insert-objects',
  text: `WITH input AS MATERIALIZED (
      SELECT * FROM ${recordset('$1', 'r', OBJECT_COLUMNS, { limit_remaining: 'bigint', uses: 'bigint' })}
    ), objects AS (
      INSERT INTO object (${columns(OBJECT_COLUMNS)}) SELECT ${fromRecordset('input', OBJECT_COLUMNS)} FROM input
    ), names AS (
      INSERT INTO object_name (tenant, name, object_id) SELECT tenant, n.name, id FROM input, unnest(names) AS n(name)
    ), counters AS (
      INSERT INTO object_usage (object_id, uses, remaining)
      SELECT id, uses, CASE WHEN limit_unit IS NOT NULL THEN limit_remaining END FROM input WHERE uses > 0 OR limit_unit IS NOT NULL
    )
    INSERT INTO object_version (${columns(VERSION_COLUMNS)})
    SELECT ${fromRecordset('v', VERSION_COLUMNS)} FROM ${recordset('$2', 'v', VERSION_COLUMNS)}`,
};

/** Any number of new objects, with their names, counters and versions, in one statement. */
export const insertObjects = async (client: Client, changes: readonly Of<'insert-object'>[]): Promise<undefined> => {
  const objects = changes.map(({ object, versions, seals }) =>
    toObjectRow(object, seals?.object, versions.find((version) => version.version === object.currentVersion)?.createdAt),
  );
  const versions = changes.flatMap(({ versions: rows, seals }) =>
    rows.map((version, index) => toVersionRow(version, seals?.versions[index])),
  );
  await query(client, INSERT_OBJECTS, [JSON.stringify(objects), JSON.stringify(versions)]);
};

/** Columns an update leaves alone, or sets by a rule of its own. */
const KEPT = new Set(['id', 'tenant', 'current_since', 'limit_unit', 'limit_total']);
const SET_OBJECT = Object.entries(OBJECT_COLUMNS)
  .filter(([name]) => !KEPT.has(name))
  .map(([name, type]) => `${name} = ${type === 'bytea' ? `decode(r.${name}, 'base64')` : `r.${name}`}`)
  .join(', ');

/** $1 row, $2 expected revision, $3 `uses` written, $4 limits written. Rotation by use starts anew when its counter or bound is set. */
const UPDATE_OBJECT = {
  name: 'update-object',
  text: `UPDATE object o SET ${SET_OBJECT},
      limit_unit = CASE WHEN $4 THEN r.limit_unit ELSE o.limit_unit END,
      limit_total = CASE WHEN $4 THEN r.limit_total ELSE o.limit_total END,
      current_since = coalesce(
        (SELECT v.created FROM object_version v WHERE v.object_id = o.id AND v.version = r.current_version),
        CASE WHEN r.current_version = o.current_version THEN o.current_since END),
      use_due = r.rotation_after_uses IS NOT NULL
        AND r.rotation_after_uses <= CASE WHEN $3 THEN r.uses ELSE coalesce((SELECT u.uses FROM object_usage u WHERE u.object_id = o.id), 0) END
    FROM ${recordset('$1', 'r', OBJECT_COLUMNS, { limit_remaining: 'bigint', uses: 'bigint' })},
      (SELECT b.id, b.names FROM object b, ${recordset('$1', 'k', { id: 'text', tenant: 'text' })}
        WHERE b.id = k.id AND b.tenant = k.tenant FOR UPDATE OF b) before
    WHERE o.id = before.id AND o.id = r.id AND o.revision = $2
    RETURNING before.names = o.names AS same_names`,
};
const SET_USES = {
  name: 'set-uses',
  text: 'INSERT INTO object_usage (object_id, uses) VALUES ($1, $2) ON CONFLICT (object_id) DO UPDATE SET uses = EXCLUDED.uses',
};
const SET_LIMIT = {
  name: 'set-limit',
  text: 'INSERT INTO object_usage (object_id, remaining) VALUES ($1, $2) ON CONFLICT (object_id) DO UPDATE SET remaining = EXCLUDED.remaining',
};
const DROP_NAMES = {
  name: 'drop-names',
  text: 'DELETE FROM object_name WHERE object_id = $1 AND tenant = $2 AND NOT name = ANY($3::text[])',
};
const ADD_NAMES = {
  name: 'add-names',
  text: `INSERT INTO object_name (tenant, name, object_id)
    SELECT $2, n.name, $1 FROM unnest($3::text[]) AS n(name)
    WHERE NOT EXISTS (SELECT FROM object_name h WHERE h.tenant = $2 AND h.name = n.name AND h.object_id = $1)`,
};
const OBJECT_EXISTS = { name: 'object-exists', text: 'SELECT 1 FROM object WHERE id = $1 AND tenant = $2' };

const notFound = (what: string): Fault => ({ code: 'not-found', message: `This ${what} does not exist.` });
export const conflict: Fault = {
  code: 'conflict',
  message: 'Somebody else changed this at the same time.',
  next: 'Read it again and repeat the change.',
};

export const updateObject = async (client: Client, change: Of<'update-object'>): Promise<Fault | undefined> => {
  const { object, expect, usage } = change;
  const row = JSON.stringify([toObjectRow(object, change.seal)]);
  const [updated] = await query<{ same_names: boolean }>(client, UPDATE_OBJECT, [row, expect, usage === 'uses', usage === 'limits']);
  if (updated === undefined) {
    const exists = await query(client, OBJECT_EXISTS, [object.id, object.tenant]);
    return exists.length === 0 ? notFound('object') : conflict;
  }
  if (usage === 'uses') await query(client, SET_USES, [object.id, object.uses]);
  if (usage === 'limits') await query(client, SET_LIMIT, [object.id, object.usageLimits?.remaining ?? null]);
  if (!updated.same_names) {
    await query(client, DROP_NAMES, [object.id, object.tenant, object.names]);
    await query(client, ADD_NAMES, [object.id, object.tenant, object.names]);
  }
  return undefined;
};

/** Also dates the object's current version, for the case that the object was updated before its version came. */
const INSERT_VERSION = {
  name: 'insert-version',
  text: `WITH v AS (
      INSERT INTO object_version (${columns(VERSION_COLUMNS)})
      SELECT ${fromRecordset('r', VERSION_COLUMNS)} FROM ${recordset('$1', 'r', VERSION_COLUMNS)}
      JOIN object o ON o.id = r.object_id AND o.tenant = r.tenant
      RETURNING object_id, version, created
    ), dated AS (
      UPDATE object o SET current_since = v.created FROM v
      WHERE o.id = v.object_id AND o.current_version = v.version AND o.current_since IS DISTINCT FROM v.created
    )
    SELECT 1 FROM v`,
};

export const insertVersion = async (client: Client, change: Of<'insert-version'>): Promise<Fault | undefined> => {
  const inserted = await query(client, INSERT_VERSION, [JSON.stringify([toVersionRow(change.version, change.seal)])]);
  return inserted.length === 0 ? notFound('object') : undefined;
};

const SET_VERSION = Object.entries(VERSION_COLUMNS)
  .filter(([name]) => !['object_id', 'tenant', 'version', 'seal'].includes(name))
  .map(([name, type]) => `${name} = ${type === 'bytea' ? `decode(r.${name}, 'base64')` : `r.${name}`}`)
  .join(', ');
const UPDATE_VERSION = {
  name: 'update-version',
  text: `UPDATE object_version v SET ${SET_VERSION} FROM ${recordset('$1', 'r', VERSION_COLUMNS)}
    WHERE v.object_id = r.object_id AND v.version = r.version AND v.tenant = r.tenant AND v.revision = $2 RETURNING 1`,
};

export const updateVersion = async (client: Client, change: Of<'update-version'>): Promise<Fault | undefined> => {
  const updated = await query(client, UPDATE_VERSION, [JSON.stringify([toVersionRow(change.version)]), change.expect]);
  return updated.length === 0 ? conflict : undefined;
};

/** $1 id, $2 tenant, $3 amount, $4 uses. */
const CONSUME_LIMITED = {
  name: 'consume-limited',
  text: `WITH used AS (
      UPDATE object_usage u SET remaining = u.remaining - $3, uses = u.uses + $4
      FROM object o WHERE o.id = $1 AND o.tenant = $2 AND u.object_id = o.id AND $3 >= 0
        AND (u.remaining >= $3 OR o.limit_unit IS NULL)
      RETURNING u.object_id, u.uses, u.remaining
    ), due AS (
      UPDATE object o SET use_due = true FROM used
      WHERE o.id = used.object_id AND o.rotation_after_uses <= used.uses AND NOT o.use_due
    )
    SELECT object_id AS id, uses, remaining FROM used`,
};

/** What a counter stands at after a use. */
export interface Counted {
  readonly id: string;
  readonly uses: number;
  readonly remaining: number | null;
}

export const consumeLimited = async (client: Client, change: Of<'consume-usage'>): Promise<Fault | Counted> => {
  const [counted] = await query<Counted & pg.QueryResultRow>(client, CONSUME_LIMITED, [
    change.objectId,
    change.tenant,
    change.amount,
    change.uses ?? 1,
  ]);
  return (
    counted ?? {
      code: 'usage-limit-reached',
      message: 'The usage limit of this key is reached.',
      next: 'Rotate or re-key it, or create another key.',
    }
  );
};
