import type pg from 'pg';
import type { Change, Fault, Principal } from '../domain/index.js';
import { query, type Statement } from './database.js';
import { conflict } from './object-changes.js';

type Of<K extends Change['kind']> = Extract<Change, { readonly kind: K }>;
type Client = Pick<pg.ClientBase, 'query'>;
type Apply<K extends Change['kind']> = (client: Client, change: Of<K>) => Promise<Fault | undefined>;

const statement = (name: string, text: string): Statement => ({ name, text });

const notFound = (what: string): Fault => ({ code: 'not-found', message: `This ${what} does not exist.` });

/** Runs a statement that returns a row per changed row; no row is `fault`. */
const changed = async (
  client: Client,
  what: Statement,
  values: readonly unknown[],
  fault: Fault | undefined,
): Promise<Fault | undefined> => ((await query(client, what, values)).length === 0 ? fault : undefined);

const principalValues = (principal: Principal): unknown[] => [
  principal.id,
  principal.tenant,
  principal.kind,
  principal.name,
  principal.roles,
  JSON.stringify(principal.tags),
  principal.disabled,
  principal.createdAt,
  principal.revision,
  principal.kind === 'agent' ? principal.parentId : null,
  principal.kind === 'agent' ? principal.purpose : null,
  principal.kind === 'agent' ? (principal.model ?? null) : null,
];

const INSERT_PRINCIPAL = statement(
  'insert-principal',
  `INSERT INTO principal (id, tenant, kind, name, roles, tags, disabled, created, revision, parent_id, purpose, model)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
);
const UPDATE_PRINCIPAL = statement(
  'update-principal',
  `UPDATE principal SET kind = $3, name = $4, roles = $5, tags = $6, disabled = $7, created = $8, revision = $9,
     parent_id = $10, purpose = $11, model = $12
   WHERE id = $1 AND tenant = $2 AND revision = $13 RETURNING 1`,
);
const PRINCIPAL_EXISTS = statement('principal-exists', 'SELECT 1 FROM principal WHERE id = $1 AND tenant = $2');
const DELETE_PRINCIPAL = statement('delete-principal', 'DELETE FROM principal WHERE id = $1 AND tenant = $2 RETURNING 1');
const CLEAR_BINDING = statement('clear-binding', 'DELETE FROM certificate_binding WHERE principal_id = $1 AND tenant = $2');
const SET_BINDING = statement(
  'set-binding',
  `INSERT INTO certificate_binding (principal_id, tenant, fingerprint, subject, subject_alt_name)
   SELECT p.id, p.tenant, $3, $4, $5 FROM principal p WHERE p.id = $1 AND p.tenant = $2
   ON CONFLICT (principal_id) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, subject = EXCLUDED.subject,
     subject_alt_name = EXCLUDED.subject_alt_name
   RETURNING 1`,
);
const INSERT_TOKEN = statement(
  'insert-token',
  `INSERT INTO token (id, tenant, principal_id, name, prefix, hash, scope, created, expires, revoked)
   SELECT $1, p.tenant, p.id, $4, $5, $6, $7, $8, $9, $10 FROM principal p WHERE p.id = $3 AND p.tenant = $2 RETURNING 1`,
);
const REVOKE_TOKEN = statement(
  'revoke-token',
  'UPDATE token SET revoked = coalesce(revoked, $3) WHERE id = $1 AND tenant = $2 RETURNING 1',
);
const REVOKE_TOKENS_OF = statement(
  'revoke-tokens-of',
  'UPDATE token SET revoked = $3 WHERE principal_id = $1 AND tenant = $2 AND revoked IS NULL',
);
const ACTIVE_VERSION = statement(
  'active-policy-version',
  'SELECT version FROM policy_document WHERE tenant = $1 AND name = $2 AND active FOR UPDATE',
);
const RETIRE_POLICY = statement(
  'retire-policy',
  'UPDATE policy_document SET active = false WHERE tenant = $1 AND name = $2 AND active RETURNING 1',
);
const INSERT_POLICY = statement(
  'insert-policy',
  `INSERT INTO policy_document (tenant, name, version, source, mode, active, created, created_by)
   VALUES ($1, $2, $3, $4, $5, true, $6, $7)`,
);
const PUT_SETTING = statement(
  'put-setting',
  'INSERT INTO setting (tenant, name, value) VALUES ($1, $2, $3) ON CONFLICT (tenant, name) DO UPDATE SET value = EXCLUDED.value',
);

const insertPrincipal: Apply<'insert-principal'> = async (client, { principal }) => {
  await query(client, INSERT_PRINCIPAL, principalValues(principal));
  return undefined;
};

const updatePrincipal: Apply<'update-principal'> = async (client, { principal, expect }) => {
  const missed = await changed(client, UPDATE_PRINCIPAL, [...principalValues(principal), expect], conflict);
  if (missed === undefined) return undefined;
  return (await changed(client, PRINCIPAL_EXISTS, [principal.id, principal.tenant], notFound('principal'))) ?? missed;
};

const setBinding: Apply<'set-certificate-binding'> = async (client, { principalId, tenant, binding }) => {
  if (binding === null) {
    await query(client, CLEAR_BINDING, [principalId, tenant]);
    return undefined;
  }
  const values = [principalId, tenant, binding.fingerprint ?? null, binding.subject ?? null, binding.subjectAltName ?? null];
  return changed(client, SET_BINDING, values, notFound('principal'));
};

const insertToken: Apply<'insert-token'> = (client, { token }) =>
  changed(
    client,
    INSERT_TOKEN,
    [
      token.id,
      token.tenant,
      token.principalId,
      token.name,
      token.prefix,
      Buffer.from(token.hash),
      token.scope ?? null,
      token.createdAt,
      token.expiresAt ?? null,
      token.revokedAt ?? null,
    ],
    notFound('principal'),
  );

const putPolicy: Apply<'put-policy'> = async (client, { document, expectVersion }) => {
  const [active] = await query<{ version: number }>(client, ACTIVE_VERSION, [document.tenant, document.name]);
  if (expectVersion !== undefined && (active?.version ?? 0) !== expectVersion) return conflict;
  await query(client, RETIRE_POLICY, [document.tenant, document.name]);
  await query(client, INSERT_POLICY, [
    document.tenant,
    document.name,
    document.version,
    document.source,
    document.mode,
    document.createdAt,
    document.createdBy,
  ]);
  return undefined;
};

/** Changes of everything but managed objects. A unique violation and its like are thrown and become the item's fault. */
export const RECORD_CHANGES: { readonly [K in Exclude<Change['kind'], ObjectChangeKind>]: Apply<K> } = {
  'insert-principal': insertPrincipal,
  'update-principal': updatePrincipal,
  'delete-principal': (client, { id, tenant }) => changed(client, DELETE_PRINCIPAL, [id, tenant], notFound('principal')),
  'set-certificate-binding': setBinding,
  'insert-token': insertToken,
  'revoke-token': (client, { id, tenant, at }) => changed(client, REVOKE_TOKEN, [id, tenant, at], notFound('token')),
  'revoke-tokens-of': async (client, { principalId, tenant, at }) => {
    await query(client, REVOKE_TOKENS_OF, [principalId, tenant, at]);
    return undefined;
  },
  'put-policy': putPolicy,
  'delete-policy': (client, { tenant, name }) => changed(client, RETIRE_POLICY, [tenant, name], notFound('policy')),
  'put-setting': async (client, { tenant, name, value }) => {
    await query(client, PUT_SETTING, [tenant, name, JSON.stringify(value ?? null)]);
    return undefined;
  },
};

export type ObjectChangeKind = 'insert-object' | 'update-object' | 'insert-version' | 'update-version' | 'consume-usage';
