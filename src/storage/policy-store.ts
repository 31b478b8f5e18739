import type { Database } from './database.js';
import { pageLimit, parseCursor, toPage } from './page-cursor.js';
import type { PolicyStore, SettingStore } from './ports.js';
import { fromPolicyRow } from './rows.js';

const ACTIVE = { name: 'active-policies', text: 'SELECT * FROM policy_document WHERE active ORDER BY tenant, name' };
const DOCUMENT = {
  name: 'policy-document',
  text: 'SELECT * FROM policy_document WHERE tenant = $1 AND name = $2 AND CASE WHEN $3::int IS NULL THEN active ELSE version = $3 END',
};
const LIST = {
  name: 'list-policies',
  text: 'SELECT * FROM policy_document WHERE tenant = $1 AND active AND name > $2 ORDER BY name LIMIT $3',
};
const HISTORY = {
  name: 'policy-history',
  text: `SELECT * FROM policy_document WHERE tenant = $1 AND name = $2 AND ($3::bigint IS NULL OR version < $3)
    ORDER BY version DESC LIMIT $4`,
};
const SETTING = { name: 'setting', text: 'SELECT value FROM setting WHERE tenant = $1 AND name = $2' };

/** Policy documents: the active version of each for the engine, every version for people. */
export const makePolicyStore = (database: Database): PolicyStore => ({
  async active() {
    return (await database.read(ACTIVE)).map(fromPolicyRow);
  },
  async document(tenant, name, version) {
    if (name.includes('\0')) return undefined;
    return (await database.read(DOCUMENT, [tenant, name, version ?? null])).map(fromPolicyRow)[0];
  },
  async list(tenant, page) {
    const limit = pageLimit(page.limit);
    const question = ['policies', tenant];
    const after = parseCursor(question, page.cursor, ['string']) ?? [''];
    const rows = await database.read(LIST, [tenant, after[0], limit + 1]);
    return toPage(rows, limit, question, (row) => [row['name'] as string], fromPolicyRow);
  },
  async history(tenant, name, page) {
    const limit = pageLimit(page.limit);
    const question = ['policy-history', tenant, name];
    const after = parseCursor(question, page.cursor, ['number']) ?? [null];
    const rows = await database.read(HISTORY, [tenant, name, after[0], limit + 1]);
    return toPage(rows, limit, question, (row) => [row['version'] as number], fromPolicyRow);
  },
});

export const makeSettingStore = (database: Database): SettingStore => ({
  async setting(tenant, name) {
    return (await database.read<{ value: unknown }>(SETTING, [tenant, name]))[0]?.value;
  },
});
