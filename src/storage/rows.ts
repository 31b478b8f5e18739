import type { KeySpec, KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  type LoadedObject,
  type ManagedObject,
  type ObjectDates,
  type ObjectVersion,
  type PolicyDocument,
  type Principal,
  type Role,
  type StoredCertificateBinding,
  type StoredToken,
  type TokenView,
  toKeyHandle,
} from '../domain/index.js';
import type { StoredSeals } from './ports.js';

/** Date column of every date of an object. */
const DATE_COLUMNS = {
  created: 'created',
  initial: 'initial',
  activation: 'activation',
  processStart: 'process_start',
  protectStop: 'protect_stop',
  deactivation: 'deactivation',
  compromiseOccurrence: 'compromise_occurrence',
  compromise: 'compromise',
  destroyDue: 'destroy_due',
  destroy: 'destroyed',
  archive: 'archived_at',
  lastChange: 'last_change',
} as const satisfies Record<keyof ObjectDates, string>;

/** Columns of `object` that a write sets, with their types for json_to_recordset; `content` travels as base64 text. */
export const OBJECT_COLUMNS = {
  id: 'text',
  tenant: 'text',
  type: 'text',
  spec: 'text',
  usage: 'text[]',
  state: 'text',
  archived: 'boolean',
  exportable: 'boolean',
  protection: 'text',
  root_id: 'text',
  current_version: 'integer',
  current_since: 'bigint',
  names: 'text[]',
  description: 'text',
  tags: 'jsonb',
  object_group: 'text',
  created: 'bigint',
  initial: 'bigint',
  activation: 'bigint',
  process_start: 'bigint',
  protect_stop: 'bigint',
  deactivation: 'bigint',
  compromise_occurrence: 'bigint',
  compromise: 'bigint',
  destroy_due: 'bigint',
  destroyed: 'bigint',
  archived_at: 'bigint',
  last_change: 'bigint',
  limit_unit: 'text',
  limit_total: 'bigint',
  rotation_every_ms: 'bigint',
  rotation_after_uses: 'bigint',
  links: 'jsonb',
  revocation: 'jsonb',
  owner: 'text',
  attributes: 'jsonb',
  content: 'bytea',
  lease: 'jsonb',
  revision: 'integer',
  seal: 'bytea',
} as const;

export const VERSION_COLUMNS = {
  object_id: 'text',
  version: 'integer',
  tenant: 'text',
  state: 'text',
  root_id: 'text',
  root_fingerprint: 'text',
  reference: 'bytea',
  public_key: 'bytea',
  bits: 'integer',
  created: 'bigint',
  local: 'boolean',
  always_sensitive: 'boolean',
  never_extractable: 'boolean',
  digest: 'bytea',
  destroyed: 'bigint',
  revision: 'integer',
  seal: 'bytea',
} as const;

type Columns = Readonly<Record<string, string>>;

/** `json_to_recordset($n) AS alias(…)`: one JSON parameter carries any number of rows. */
export const recordset = (parameter: string, alias: string, columns: Columns, more: Columns = {}): string => {
  const list = Object.entries({ ...columns, ...more }).map(([name, type]) => `${name} ${type === 'bytea' ? 'text' : type}`);
  return `json_to_recordset(${parameter}::json) AS ${alias}(${list.join(', ')})`;
};

/** Select list that turns a recordset's base64 text back into bytes. */
export const fromRecordset = (alias: string, columns: Columns): string =>
  Object.entries(columns)
    .map(([name, type]) => (type === 'bytea' ? `decode(${alias}.${name}, 'base64')` : `${alias}.${name}`))
    .join(', ');

const base64 = (bytes: Uint8Array | undefined): string | null =>
  bytes === undefined ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

export const toObjectRow = (object: ManagedObject, seal: Uint8Array | undefined, currentSince?: number): Record<string, unknown> => {
  const row: Record<string, unknown> = {
    id: object.id,
    tenant: object.tenant,
    type: object.type,
    spec: object.spec,
    usage: object.usage,
    state: object.state,
    archived: object.archived,
    exportable: object.exportable,
    protection: object.protection,
    root_id: object.rootId,
    current_version: object.currentVersion,
    current_since: currentSince,
    names: object.names,
    description: object.description,
    tags: object.tags,
    object_group: object.objectGroup,
    limit_unit: object.usageLimits?.unit,
    limit_total: object.usageLimits?.total,
    limit_remaining: object.usageLimits?.remaining,
    uses: object.uses,
    rotation_every_ms: object.rotation?.everyMs,
    rotation_after_uses: object.rotation?.afterUses,
    links: object.links,
    revocation: object.revocation,
    owner: object.owner,
    attributes: object.attributes,
    content: base64(object.content),
    lease: object.lease,
    revision: object.revision,
    seal: base64(seal),
  };
  for (const [date, column] of Object.entries(DATE_COLUMNS)) row[column] = object.dates[date as keyof ObjectDates];
  return row;
};

export const toVersionRow = (version: ObjectVersion, seal?: Uint8Array): Record<string, unknown> => ({
  object_id: version.objectId,
  version: version.version,
  tenant: version.tenant,
  state: version.state,
  root_id: version.rootId,
  root_fingerprint: version.rootFingerprint,
  reference: base64(version.reference),
  public_key: base64(version.publicKey),
  bits: version.bits,
  created: version.createdAt,
  local: version.provenance.local,
  always_sensitive: version.provenance.alwaysSensitive,
  never_extractable: version.provenance.neverExtractable,
  digest: base64(version.digest),
  destroyed: version.destroyedAt,
  revision: version.revision,
  seal: base64(seal),
});

/** Select list of an object with its counters: `object o LEFT JOIN object_usage u`. */
export const OBJECT_SELECT = `${Object.keys(OBJECT_COLUMNS)
  .filter((name) => name !== 'current_since')
  .map((name) => `o.${name}`)
  .join(', ')}, coalesce(u.uses, 0)::bigint AS uses, u.remaining`;

/** The same with every version, one row per version, columns prefixed v_. */
export const VERSION_SELECT = Object.keys(VERSION_COLUMNS)
  .map((name) => `v.${name} AS v_${name}`)
  .join(', ');

/** Optional field: present only when the column is not null. */
const optional = <K extends string, V>(key: K, value: V | null | undefined): { readonly [P in K]?: V } =>
  (value === null || value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };

/** A copy of its own: a driver's buffer is a slice of a large block that a cached value would keep alive. */
const bytes = (value: Uint8Array | null | undefined): Uint8Array | undefined =>
  value === null || value === undefined ? undefined : new Uint8Array(value);

// biome-ignore lint/suspicious/noExplicitAny: rows come untyped from the driver; these functions give them their type.
type AnyRow = Record<string, any>;

/**
 * One copy of values that repeat from row to row: with tens of thousands of cached objects the copies would outweigh the rest.
 * Cleared when full, so that hostile variety can't make it grow.
 */
const MAX_SHARED = 4_096;
const shared = new Map<string, unknown>();
const share = <T>(key: string, make: () => T): T => {
  const known = shared.get(key);
  if (known !== undefined) return known as T;
  if (shared.size >= MAX_SHARED) shared.clear();
  const made = make();
  shared.set(key, made);
  return made;
};
const word = <T extends string | null>(value: T): T => (value === null ? value : share(value, () => value));
const words = (values: readonly string[]): readonly string[] => share(`\0${values.join('\0')}`, () => Object.freeze([...values]));
const NO_FIELDS = Object.freeze({});
const NO_ITEMS = Object.freeze([]) as readonly never[];
const fields = <T extends object>(value: T): T => (Object.keys(value).length === 0 ? (NO_FIELDS as T) : value);

const toDates = (row: AnyRow): ObjectDates => {
  const dates: Record<string, number> = {};
  for (const [date, column] of Object.entries(DATE_COLUMNS)) if (row[column] !== null) dates[date] = row[column];
  return dates as unknown as ObjectDates;
};

export const fromObjectRow = (row: AnyRow): ManagedObject => ({
  id: toKeyHandle(row['id']),
  tenant: word(row['tenant']),
  type: word(row['type']),
  ...optional('spec', word(row['spec'] as KeySpec | null)),
  usage: words(row['usage']) as readonly KeyUsage[],
  state: word(row['state']),
  archived: row['archived'],
  exportable: row['exportable'],
  protection: word(row['protection']),
  rootId: word(row['root_id']),
  currentVersion: row['current_version'],
  names: row['names'],
  ...optional('description', row['description'] as string | null),
  tags: fields(row['tags']),
  ...optional('objectGroup', row['object_group'] as string | null),
  dates: toDates(row),
  ...(row['limit_unit'] === null
    ? {}
    : { usageLimits: { unit: row['limit_unit'], total: row['limit_total'], remaining: row['remaining'] ?? 0 } }),
  ...(row['rotation_every_ms'] === null && row['rotation_after_uses'] === null
    ? {}
    : {
        rotation: {
          ...optional('everyMs', row['rotation_every_ms'] as number | null),
          ...optional('afterUses', row['rotation_after_uses'] as number | null),
        },
      }),
  uses: row['uses'],
  links: row['links'].length === 0 ? NO_ITEMS : row['links'],
  ...optional('revocation', row['revocation'] as ManagedObject['revocation'] | null),
  owner: word(row['owner']),
  attributes: fields(row['attributes']),
  ...optional('content', bytes(row['content'])),
  ...optional('lease', row['lease'] as ManagedObject['lease'] | null),
  revision: row['revision'],
});

/** From a row whose version columns are prefixed v_. */
const provenanceOf = (local: boolean, alwaysSensitive: boolean, neverExtractable: boolean): ObjectVersion['provenance'] =>
  share(`\0\0provenance ${local} ${alwaysSensitive} ${neverExtractable}`, () =>
    Object.freeze({ local, alwaysSensitive, neverExtractable }),
  );

export const fromVersionRow = (row: AnyRow): ObjectVersion => ({
  objectId: row['v_object_id'],
  tenant: word(row['v_tenant']),
  version: row['v_version'],
  state: word(row['v_state']),
  rootId: word(row['v_root_id']),
  rootFingerprint: word(row['v_root_fingerprint']),
  reference: bytes(row['v_reference']) ?? new Uint8Array(),
  ...optional('publicKey', bytes(row['v_public_key'])),
  bits: row['v_bits'],
  createdAt: row['v_created'],
  provenance: provenanceOf(row['v_local'], row['v_always_sensitive'], row['v_never_extractable']),
  ...optional('digest', bytes(row['v_digest'])),
  ...optional('destroyedAt', row['v_destroyed'] as number | null),
  revision: row['v_revision'],
});

/** Rows of one or more objects, each object's versions on consecutive rows in order. */
export const fromLoadedRows = (rows: readonly AnyRow[]): LoadedObject[] => {
  const loaded: { object: ManagedObject; versions: ObjectVersion[] }[] = [];
  for (const row of rows) {
    let last = loaded.at(-1);
    if (last === undefined || last.object.id !== row['id']) {
      last = { object: fromObjectRow(row), versions: [] };
      loaded.push(last);
    }
    if (row['v_object_id'] !== null) last.versions.push(fromVersionRow(row));
  }
  return loaded;
};

/** The seals of one object's rows, its versions in the order of `fromLoadedRows`. */
export const sealsOf = (rows: readonly AnyRow[]): StoredSeals => ({
  object: bytes(rows[0]?.['seal']),
  versions: rows.filter((row) => row['v_object_id'] !== null).map((row) => bytes(row['v_seal'])),
});

export const fromPrincipalRow = (row: AnyRow): Principal => {
  const base = {
    id: row['id'] as string,
    tenant: row['tenant'] as string,
    name: row['name'] as string,
    roles: row['roles'] as Role[],
    tags: row['tags'] as Record<string, string>,
    disabled: row['disabled'] as boolean,
    createdAt: row['created'] as number,
    revision: row['revision'] as number,
  };
  if (row['kind'] === 'agent')
    return {
      ...base,
      kind: 'agent',
      parentId: row['parent_id'],
      purpose: row['purpose'],
      ...optional('model', row['model'] as string | null),
    };
  return { ...base, kind: row['kind'] as 'human' | 'service' };
};

export const fromTokenRow = (row: AnyRow): StoredToken => ({
  id: row['id'],
  tenant: row['tenant'],
  principalId: row['principal_id'],
  name: row['name'],
  prefix: row['prefix'],
  hash: bytes(row['hash']) as Uint8Array,
  ...optional('scope', row['scope'] as string[] | null),
  createdAt: row['created'],
  ...optional('expiresAt', row['expires'] as number | null),
  ...optional('revokedAt', row['revoked'] as number | null),
});

export const toTokenView = (row: AnyRow): TokenView => {
  const { hash: _, ...view } = fromTokenRow(row);
  return { ...view, ...optional('lastUsedAt', row['last_used'] as number | null) };
};

export const fromBindingRow = (row: AnyRow): StoredCertificateBinding => ({
  principalId: row['principal_id'],
  tenant: row['tenant'],
  ...optional('fingerprint', row['fingerprint'] as string | null),
  ...optional('subject', row['subject'] as string | null),
  ...optional('subjectAltName', row['subject_alt_name'] as string | null),
});

export const fromPolicyRow = (row: AnyRow): PolicyDocument => ({
  tenant: row['tenant'],
  name: row['name'],
  version: row['version'],
  source: row['source'],
  mode: row['mode'],
  active: row['active'],
  createdAt: row['created'],
  createdBy: row['created_by'],
});
