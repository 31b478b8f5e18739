import type pg from 'pg';
import type { Change, Fault, LoadedObject } from '../domain/index.js';
import { query } from './database.js';
import { isConnectionLoss, isTransient, toItemFault } from './failures.js';
import { type Counted, consumeLimited, insertObjects, insertVersion, updateObject, updateVersion } from './object-changes.js';
import type { JournalItem } from './ports.js';
import { RECORD_CHANGES } from './record-changes.js';

type Client = Pick<pg.ClientBase, 'query'>;
type Of<K extends Change['kind']> = Extract<Change, { readonly kind: K }>;

/** What a group changed: for the change log, and for this node's caches once it is durable. */
export interface Touched {
  readonly objects: Set<string>;
  /** The part of `objects` that changed in more than its counters. */
  readonly changedBeyondUse: Set<string>;
  readonly principals: Set<string>;
  readonly tokens: Set<string>;
  policies: boolean;
  settings: boolean;
  readonly inserted: LoadedObject[];
  readonly counted: Counted[];
  /** Uses of objects without a limit, by object: counted at the end, one row each. */
  readonly uses: Map<string, { readonly tenant: string; uses: number }>;
  /** True when other nodes must hear of it. */
  any: boolean;
}

export const nothingTouched = (): Touched => ({
  objects: new Set(),
  changedBeyondUse: new Set(),
  principals: new Set(),
  tokens: new Set(),
  policies: false,
  settings: false,
  inserted: [],
  counted: [],
  uses: new Map(),
  any: false,
});

const addUses = (touched: Touched, objectId: string, tenant: string, uses: number): void => {
  const sum = touched.uses.get(objectId);
  if (sum === undefined) touched.uses.set(objectId, { tenant, uses });
  else sum.uses += uses;
};

const merge = (into: Touched, from: Touched): void => {
  for (const id of from.objects) into.objects.add(id);
  for (const id of from.changedBeyondUse) into.changedBeyondUse.add(id);
  for (const id of from.principals) into.principals.add(id);
  for (const id of from.tokens) into.tokens.add(id);
  into.policies ||= from.policies;
  into.settings ||= from.settings;
  into.any ||= from.any;
  into.inserted.push(...from.inserted);
  into.counted.push(...from.counted);
  for (const [id, { tenant, uses }] of from.uses) addUses(into, id, tenant, uses);
};

/** An unlimited use of an existing object can't fail, so it needs no statement of its own. */
export const isPlainUse = (change: Change): change is Of<'consume-usage'> => change.kind === 'consume-usage' && !change.limited;

export const countPlainUse = (touched: Touched, change: Of<'consume-usage'>): void =>
  addUses(touched, change.objectId, change.tenant, Math.max(0, change.uses ?? 1));

const note = (touched: Touched, change: Change): void => {
  touched.any = true;
  switch (change.kind) {
    case 'insert-object':
      touched.inserted.push({ object: change.object, versions: [...change.versions].sort((a, b) => a.version - b.version) });
      return;
    case 'update-object':
      touched.objects.add(change.object.id);
      touched.changedBeyondUse.add(change.object.id);
      return;
    case 'insert-version':
    case 'update-version':
      touched.objects.add(change.version.objectId);
      touched.changedBeyondUse.add(change.version.objectId);
      return;
    case 'consume-usage':
      touched.objects.add(change.objectId);
      return;
    case 'insert-principal':
    case 'update-principal':
      touched.principals.add(change.principal.id);
      return;
    case 'delete-principal':
      touched.principals.add(change.id);
      return;
    case 'set-certificate-binding':
    case 'revoke-tokens-of':
      touched.principals.add(change.principalId);
      return;
    case 'insert-token':
      touched.tokens.add(change.token.id);
      return;
    case 'revoke-token':
      touched.tokens.add(change.id);
      return;
    case 'put-policy':
    case 'delete-policy':
      touched.policies = true;
      return;
    case 'put-setting':
      touched.settings = true;
  }
};

const applyChange = async (client: Client, change: Change, touched: Touched): Promise<Fault | undefined> => {
  switch (change.kind) {
    case 'insert-object':
      return insertObjects(client, [change]);
    case 'update-object':
      return updateObject(client, change);
    case 'insert-version':
      return insertVersion(client, change);
    case 'update-version':
      return updateVersion(client, change);
    case 'consume-usage': {
      const outcome = await consumeLimited(client, change);
      if ('code' in outcome) return outcome;
      touched.counted.push(outcome);
      return undefined;
    }
    default: {
      // The table is total over the remaining kinds; TypeScript can't tie the row's type to the change's.
      const apply = RECORD_CHANGES[change.kind] as (client: Client, change: Change) => Promise<Fault | undefined>;
      return apply(client, change);
    }
  }
};

/** A later change of an item failed after an earlier one took: only a savepoint can undo that. */
class NeedsSavepoints extends Error {}

const applyItem = async (client: Client, item: JournalItem, group: Touched, savepoint: boolean): Promise<Fault | undefined> => {
  const touched = nothingTouched();
  let applied = 0;
  for (const change of item.changes) {
    if (isPlainUse(change)) {
      countPlainUse(touched, change);
      continue;
    }
    const fault = await applyChange(client, change, touched);
    if (fault !== undefined) {
      if (applied > 0 && !savepoint) throw new NeedsSavepoints();
      return fault;
    }
    note(touched, change);
    applied += 1;
  }
  merge(group, touched);
  return undefined;
};

const isInsertOnly = (item: JournalItem): item is { readonly changes: readonly Of<'insert-object'>[] } =>
  item.changes.length > 0 && item.changes.every((change) => change.kind === 'insert-object');

/** First attempt: no savepoints, runs of new objects in one statement. Throws when an item fails in a way that must be undone. */
const applyHopefully = async (client: Client, items: readonly JournalItem[], touched: Touched): Promise<(Fault | undefined)[]> => {
  const faults: (Fault | undefined)[] = [];
  for (let index = 0; index < items.length; ) {
    const run: Of<'insert-object'>[] = [];
    for (let item = items[index]; item !== undefined && isInsertOnly(item); item = items[index]) {
      run.push(...item.changes);
      faults.push(undefined);
      index += 1;
    }
    if (run.length > 0) {
      await insertObjects(client, run);
      for (const change of run) note(touched, change);
    } else {
      faults.push(await applyItem(client, items[index] as JournalItem, touched, false));
      index += 1;
    }
  }
  return faults;
};

/** Second attempt: a savepoint around every item, so a failing one is undone alone. */
const applyCarefully = async (client: Client, items: readonly JournalItem[], touched: Touched): Promise<(Fault | undefined)[]> => {
  const faults: (Fault | undefined)[] = [];
  for (const item of items) {
    if (item.changes.every(isPlainUse)) {
      faults.push(await applyItem(client, item, touched, true));
      continue;
    }
    await client.query('SAVEPOINT item');
    let fault: Fault | undefined;
    try {
      fault = await applyItem(client, item, touched, true);
    } catch (error) {
      fault = toItemFault(error);
      if (fault === undefined) throw error;
    }
    await client.query(fault === undefined ? 'RELEASE SAVEPOINT item' : 'ROLLBACK TO SAVEPOINT item');
    faults.push(fault);
  }
  return faults;
};

/**
 * Opens a transaction and applies every item's changes, each item wholly or not at all. The transaction stays open.
 * Rejects with the database's error when it is the database that failed.
 */
export const applyGroup = async (
  client: Client,
  items: readonly JournalItem[],
): Promise<{ readonly faults: readonly (Fault | undefined)[]; readonly touched: Touched }> => {
  const hopeful = nothingTouched();
  await client.query('BEGIN');
  try {
    return { faults: await applyHopefully(client, items, hopeful), touched: hopeful };
  } catch (error) {
    if (isConnectionLoss(error) && !(error instanceof NeedsSavepoints)) throw error;
    await client.query('ROLLBACK');
    if (!(error instanceof NeedsSavepoints) && toItemFault(error) === undefined && !isTransient(error)) throw error;
  }
  const careful = nothingTouched();
  await client.query('BEGIN');
  return { faults: await applyCarefully(client, items, careful), touched: careful };
};

const COUNT_USES = {
  name: 'count-uses',
  text: `WITH used AS (${countUsesSql('$1', '$2', '$3')}), due AS (${markDueSql('used')})
    SELECT object_id AS id, uses, remaining FROM used`,
};

/** Adds uses to many objects, locking their rows in one order; objects of another tenant are left out. */
export function countUsesSql(ids: string, tenants: string, uses: string): string {
  return `INSERT INTO object_usage AS c (object_id, uses)
    SELECT o.id, s.uses FROM unnest(${ids}::text[], ${tenants}::text[], ${uses}::bigint[]) AS s(id, tenant, uses)
    JOIN object o ON o.id = s.id AND o.tenant = s.tenant ORDER BY o.id
    ON CONFLICT (object_id) DO UPDATE SET uses = c.uses + EXCLUDED.uses
    RETURNING object_id, uses, remaining`;
}

export function markDueSql(used: string): string {
  return `UPDATE object o SET use_due = true FROM ${used}
    WHERE o.id = ${used}.object_id AND o.rotation_after_uses <= ${used}.uses AND NOT o.use_due`;
}

/** The three arrays of `countUsesSql`. */
export const usesValues = (touched: Touched): [string[], string[], number[]] => [
  [...touched.uses.keys()],
  [...touched.uses.values()].map((entry) => entry.tenant),
  [...touched.uses.values()].map((entry) => entry.uses),
];

/** Counts the plain uses of a group that also has other changes. */
export const countUses = async (client: Client, touched: Touched): Promise<void> => {
  if (touched.uses.size === 0) return;
  touched.counted.push(...(await query<Counted & pg.QueryResultRow>(client, COUNT_USES, usesValues(touched))));
};
