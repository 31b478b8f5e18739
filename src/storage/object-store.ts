import type { LoadedObject } from '../domain/index.js';
import { fail } from '../domain/index.js';
import { CoherentCache } from './coherent-cache.js';
import type { Database, Row } from './database.js';
import { locateConditions, OBLITERATED } from './locate-conditions.js';
import type { StorageLog } from './log.js';
import { MAX_OFFSET, pageLimit, parseCursor, toPage } from './page-cursor.js';
import type { CheckSeals, ObjectStore } from './ports.js';
import { fromLoadedRows, fromObjectRow, fromVersionRow, OBJECT_SELECT, sealsOf, VERSION_SELECT } from './rows.js';

/** About what an object costs beyond its variable parts, bytes. */
const OBJECT_BASE_BYTES = 1_600;
const VERSION_BASE_BYTES = 700;
const ALIAS_BYTES = 200;
const MAX_CACHE_BYTES = 64 * 1024 * 1024;
/** Longer than any id or alias: not worth a question. */
const MAX_REFERENCE_CHARACTERS = 4_096;

export type ObjectCache = CoherentCache<LoadedObject>;
export const makeObjectCache = (entries: number): ObjectCache => new CoherentCache({ entries, bytes: MAX_CACHE_BYTES });

const cacheKey = (tenant: string, ref: string): string => `${tenant}\0${ref}`;

const approximateBytes = ({ object, versions }: LoadedObject): number => {
  let bytes =
    OBJECT_BASE_BYTES +
    (object.content?.length ?? 0) +
    2 * JSON.stringify([object.attributes, object.tags, object.links, object.names]).length;
  for (const version of versions) bytes += VERSION_BASE_BYTES + version.reference.length + (version.publicKey?.length ?? 0);
  return bytes;
};

/** Keeps a loaded object under its id; `ref` is the alias it was asked by, if any. */
export const keepLoaded = (
  keep: (key: string, owner: string, bytes: number) => void,
  tenant: string,
  loaded: LoadedObject,
  ref: string = loaded.object.id,
): void => {
  keep(cacheKey(tenant, loaded.object.id), loaded.object.id, approximateBytes(loaded));
  if (ref !== loaded.object.id) keep(cacheKey(tenant, ref), loaded.object.id, ALIAS_BYTES);
};

const FROM = 'FROM object o LEFT JOIN object_usage u ON u.object_id = o.id';
const VERSIONS = 'LEFT JOIN object_version v ON v.object_id = o.id AND v.tenant = o.tenant';

/** An id wins over an alias of the same text, so that nobody can take over a handle by naming a key after it. */
const LOAD = {
  name: 'load-object',
  text: `SELECT ${OBJECT_SELECT}, ${VERSION_SELECT} ${FROM} ${VERSIONS}
    WHERE o.tenant = $1 AND NOT o.attributes ? '${OBLITERATED}' AND o.id = coalesce(
      (SELECT i.id FROM object i WHERE i.id = $2 AND i.tenant = $1),
      (SELECT n.object_id FROM object_name n WHERE n.tenant = $1 AND n.name = $2))
    ORDER BY v.version`,
};

const DUE = {
  name: 'due-objects',
  text: `SELECT ${OBJECT_SELECT}, ${VERSION_SELECT}
    FROM (SELECT * FROM object WHERE next_due <= $1 ORDER BY next_due, id LIMIT $2) o
    LEFT JOIN object_usage u ON u.object_id = o.id ${VERSIONS}
    ORDER BY o.next_due, o.id, v.version`,
};

const VERSIONS_OF_ROOT = {
  name: 'versions-of-root',
  text: `SELECT ${OBJECT_SELECT}, ${VERSION_SELECT}
    FROM (SELECT * FROM object_version
      WHERE (object_id, version) > ($2, $3) AND root_id = $1 AND state <> 'destroyed' AND octet_length(reference) > 0
      ORDER BY object_id, version LIMIT $4) v
    JOIN object o ON o.id = v.object_id LEFT JOIN object_usage u ON u.object_id = o.id
    ORDER BY v.object_id, v.version`,
};

const COUNT = { name: 'count-objects', text: 'SELECT count(*) AS total FROM object WHERE tenant = $1' };

const checkOffset = (offset: number): number => {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > MAX_OFFSET)
    throw fail('invalid-field', `The offset must be a whole number from 0 to ${MAX_OFFSET}.`, {
      field: 'offset',
      next: 'Use the cursor for long listings.',
    });
  return offset;
};

const noCheck: CheckSeals = async () => undefined;

/** `check` sees every object that is read for use, before it is; listings and counts are not use. */
export const makeObjectStore = (database: Database, cache: ObjectCache, log: StorageLog, check: CheckSeals = noCheck): ObjectStore => {
  const loadChecked = async (tenant: string, ref: string): Promise<LoadedObject | undefined> => {
    const rows = await database.read(LOAD, [tenant, ref]);
    const loaded = fromLoadedRows(rows)[0];
    if (loaded !== undefined) await check(loaded, sealsOf(rows));
    return loaded;
  };

  /** What fails the check is nobody's work any more: whoever uses it is told, and the operator here. */
  const withoutFalse = async (rows: readonly Row[]): Promise<readonly LoadedObject[]> => {
    const checked = await Promise.all(
      fromLoadedRows(rows).map(async (loaded) => {
        try {
          await check(loaded, sealsOf(rows.filter((row) => row['id'] === loaded.object.id)));
          return loaded;
        } catch (error) {
          log.error({ object: loaded.object.id, error: (error as Error).message }, 'an object whose work is due is left alone');
          return undefined;
        }
      }),
    );
    return checked.filter((loaded) => loaded !== undefined);
  };

  const locate: ObjectStore['locate'] = async (tenant, filter, page) => {
    const limit = pageLimit(page.limit);
    const question = ['locate', tenant, filter];
    const after = parseCursor(question, page.cursor, ['number', 'string']);
    const { where, values } = locateConditions(tenant, filter);
    const paged = [...values];
    const parameter = (value: unknown): string => `$${paged.push(value)}`;
    // Newest first (KMIP 2.1 §6.1.27: most recently created first).
    const beyond = after === undefined ? '' : `AND (o.created, o.id) < (${parameter(after[0])}, ${parameter(after[1])})`;
    const text = `SELECT ${OBJECT_SELECT} ${FROM} WHERE ${where} ${beyond}
      ORDER BY o.created DESC, o.id DESC LIMIT ${parameter(limit + 1)} OFFSET ${parameter(checkOffset(page.offset ?? 0))}`;
    const rows = await database.read({ text }, paged);
    const answer = toPage(rows, limit, question, (row) => [row['created'] as number, row['id'] as string], fromObjectRow);
    if (page.countTotal !== true) return answer;
    const [count] = await database.read<{ total: number }>({ text: `SELECT count(*) AS total FROM object o WHERE ${where}` }, values);
    return { ...answer, total: count?.total ?? 0 };
  };

  return {
    async load(tenant, ref) {
      if (ref.length > MAX_REFERENCE_CHARACTERS || ref.includes('\0') || tenant.includes('\0')) return undefined;
      return cache.through(
        cacheKey(tenant, ref),
        () => loadChecked(tenant, ref),
        (loaded, keep) => keepLoaded(keep, tenant, loaded, ref),
      );
    },
    cached: (tenant, ref) => (ref.length > MAX_REFERENCE_CHARACTERS ? undefined : cache.get(cacheKey(tenant, ref))),
    locate,
    async due(now, limit) {
      return withoutFalse(await database.read(DUE, [now, limit]));
    },
    async versionsOfRoot(rootId, after, limit) {
      const rows = await database.read(VERSIONS_OF_ROOT, [rootId, after?.objectId ?? '', after?.version ?? 0, limit]);
      return rows.map((row) => ({ object: fromObjectRow(row), version: fromVersionRow(row) }));
    },
    async count(tenant) {
      const [row] = await database.read<{ total: number }>(COUNT, [tenant]);
      return row?.total ?? 0;
    },
  };
};
