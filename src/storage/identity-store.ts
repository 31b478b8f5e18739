import { CERTIFICATE_ATTRIBUTES, type Principal, type StoredCertificateBinding, type StoredToken } from '../domain/index.js';
import { CoherentCache } from './coherent-cache.js';
import type { Database } from './database.js';
import { pageLimit, parseCursor, toPage } from './page-cursor.js';
import type { IdentityStore, IssuedCertificate } from './ports.js';
import { fromBindingRow, fromObjectRow, fromPrincipalRow, fromTokenRow, OBJECT_SELECT, toTokenView } from './rows.js';

const PRINCIPAL_BYTES = 800;
const TOKEN_BYTES = 600;
const BINDING_BYTES = 600;
const CERTIFICATE_BYTES = 4_000;
const LIMITS = { entries: 10_000, bytes: 16 * 1024 * 1024 };

/** An answer that may be "nothing", so that "nothing" is kept too. */
interface Found<T> {
  readonly value: T | undefined;
  readonly unkept?: boolean;
}

/**
 * Principals, tokens and client certificates, which every call reads. Tokens belong to their principal: whatever happens to
 * it reaches them. What a certificate leads to depends on every binding there is, so any change of a principal drops them all.
 */
export interface IdentityCache {
  readonly principals: CoherentCache<Principal>;
  readonly tokens: CoherentCache<StoredToken>;
  readonly bindings: CoherentCache<Found<StoredCertificateBinding>>;
  /** By fingerprint; each belongs to its object, and all of them to the authorities seen. */
  readonly issued: CoherentCache<Found<IssuedCertificate>>;
  readonly authorities: Set<string>;
  objectChanged(id: string): void;
  principalChanged(id: string): void;
  tokenChanged(id: string): void;
  clear(): void;
}

export const makeIdentityCache = (): IdentityCache => {
  const principals = new CoherentCache<Principal>(LIMITS);
  const tokens = new CoherentCache<StoredToken>(LIMITS);
  const bindings = new CoherentCache<Found<StoredCertificateBinding>>(LIMITS);
  const issued = new CoherentCache<Found<IssuedCertificate>>(LIMITS);
  const authorities = new Set<string>();
  return {
    principals,
    tokens,
    bindings,
    issued,
    authorities,
    objectChanged(id) {
      if (authorities.has(id)) issued.clear();
      else issued.invalidate(id);
    },
    principalChanged(id) {
      bindings.clear();
      principals.invalidate(id);
      // Each of its tokens is stored under the principal as owner.
      tokens.invalidate(id);
    },
    tokenChanged(id) {
      // Kept tokens know their principal; one being read at this moment is not kept, whoever it belongs to.
      const owners = tokens.ownersWhere((token) => token.id === id);
      if (owners.length === 0) tokens.invalidateRunning();
      for (const owner of owners) tokens.invalidate(owner);
    },
    clear() {
      principals.clear();
      tokens.clear();
      bindings.clear();
      issued.clear();
    },
  };
};

const PRINCIPAL = {
  name: 'principal',
  text: 'SELECT * FROM principal WHERE id = $1 AND ($2::text IS NULL OR tenant = $2)',
};
const TOKEN_BY_HASH = { name: 'token-by-hash', text: 'SELECT * FROM token WHERE hash = $1' };
const TOKEN = { name: 'token', text: 'SELECT * FROM token WHERE id = $1 AND tenant = $2' };
const LIST_PRINCIPALS = {
  name: 'list-principals',
  text: `SELECT * FROM principal WHERE tenant = $1 AND ($2::text IS NULL OR kind = $2) AND (created, id) > ($3, $4)
    ORDER BY created, id LIMIT $5`,
};
const LIST_TOKENS = {
  name: 'list-tokens',
  text: `SELECT * FROM token WHERE tenant = $1 AND ($2::text IS NULL OR principal_id = $2) AND (created, id) > ($3, $4)
    ORDER BY created, id LIMIT $5`,
};
/** Every condition of a binding has to hold. The most specific come first: fingerprint, then alternative name, then subject. */
const BINDING = {
  name: 'certificate-binding',
  text: `SELECT *, (fingerprint IS NOT NULL)::int * 4 + (subject_alt_name IS NOT NULL)::int * 2 + (subject IS NOT NULL)::int AS weight
    FROM certificate_binding
    WHERE (fingerprint = $1 OR subject = $2 OR subject_alt_name = ANY($3::text[]))
      AND (fingerprint IS NULL OR fingerprint = $1) AND (subject IS NULL OR subject = $2)
      AND (subject_alt_name IS NULL OR subject_alt_name = ANY($3::text[]))
    ORDER BY weight DESC LIMIT 2`,
};
const FROM_OBJECT = 'FROM object o LEFT JOIN object_usage u ON u.object_id = o.id';
/** Any tenant: the certificate says who calls, not the other way round. The second condition repeats the predicate of the partial index. */
const ISSUED = {
  name: 'issued-certificate',
  text: `SELECT ${OBJECT_SELECT}, a.id AS authority_id,
      (a.revocation IS NOT NULL OR a.state IN ('compromised', 'destroyed', 'destroyed-compromised')) AS authority_ended
    ${FROM_OBJECT} JOIN object a ON a.id = o.attributes->>'${CERTIFICATE_ATTRIBUTES.issuedBy}' AND a.tenant = o.tenant
    WHERE o.attributes @> $1::jsonb AND o.attributes <> '{}'::jsonb AND o.type = 'certificate' LIMIT 1`,
};
const AUTHORITIES = {
  name: 'authorities',
  text: `SELECT ${OBJECT_SELECT} ${FROM_OBJECT}
    WHERE o.attributes @> '{"${CERTIFICATE_ATTRIBUTES.authority}": true}' AND o.attributes <> '{}'::jsonb AND o.type = 'certificate' AND o.state = 'active' AND NOT o.archived
    ORDER BY o.created, o.id`,
};
const ANY_PRINCIPAL = { name: 'any-principal', text: 'SELECT 1 FROM principal LIMIT 1' };
const TOUCH_TOKENS = {
  name: 'touch-tokens',
  text: `UPDATE token t SET last_used = s.at FROM unnest($1::text[], $2::bigint[]) AS s(id, at)
    WHERE t.id = s.id AND (t.last_used IS NULL OR t.last_used < s.at)`,
};
const MAX_TOUCHED = 10_000;

export interface IdentityStoreWithUse extends IdentityStore {
  /** Writes when tokens were last used; called now and then, never on the path of a call. */
  flushUse(): Promise<void>;
}

const clean = (text: string): string => text.replaceAll('\0', '\u{fffd}');

export const makeIdentityStore = (database: Database, cache: IdentityCache): IdentityStoreWithUse => {
  const usedAt = new Map<string, number>();

  const readBinding: IdentityStore['certificateBinding'] = async ({ fingerprint, subject, subjectAltNames }) => {
    const rows = await database.read(BINDING, [fingerprint, clean(subject), subjectAltNames.map(clean)]);
    const [best, next] = rows;
    // Two principals with equally good a claim: nobody is meant for certain.
    if (best === undefined || (next !== undefined && next['weight'] === best['weight'])) return undefined;
    return fromBindingRow(best) satisfies StoredCertificateBinding;
  };
  const certificateBinding: IdentityStore['certificateBinding'] = async (candidate) => {
    const key = JSON.stringify([candidate.fingerprint, candidate.subject, candidate.subjectAltNames]);
    const found = await cache.bindings.through(
      key,
      async () => ({ value: await readBinding(candidate) }),
      (_, keep) => keep(key, '', BINDING_BYTES + 2 * key.length),
    );
    return found?.value;
  };
  /** "Not one of ours" is kept as well: a certificate can't be presented before it was issued. */
  const issuedCertificate: IdentityStore['issuedCertificate'] = async (fingerprint) => {
    const found = await cache.issued.through(
      fingerprint,
      async () => {
        const known = new Set(cache.authorities);
        const attributes = { [CERTIFICATE_ATTRIBUTES.issued]: true, [CERTIFICATE_ATTRIBUTES.fingerprint]: fingerprint };
        const [row] = await database.read(ISSUED, [JSON.stringify(attributes)]);
        if (row === undefined) return { value: undefined };
        const authority = String(row['authority_id']);
        cache.authorities.add(authority);
        const value = { object: fromObjectRow(row), authorityEnded: row['authority_ended'] === true };
        // Of an authority not known when the reading began, a change meanwhile would not have been noticed.
        return { value, unkept: !known.has(authority) };
      },
      ({ value, unkept }, keep) => {
        if (unkept !== true) keep(fingerprint, value?.object.id ?? '', CERTIFICATE_BYTES);
      },
    );
    return found?.value;
  };

  const noteUse = (token: StoredToken): void => {
    if (usedAt.size < MAX_TOUCHED) usedAt.set(token.id, Date.now());
  };

  return {
    async principal(tenant, id) {
      if (id.includes('\0')) return undefined;
      const principal = await cache.principals.through(
        id,
        async () => (await database.read(PRINCIPAL, [id, null])).map(fromPrincipalRow)[0],
        (_, keep) => keep(id, id, PRINCIPAL_BYTES),
      );
      return tenant === undefined || principal?.tenant === tenant ? principal : undefined;
    },
    async listPrincipals(tenant, filter, page) {
      const limit = pageLimit(page.limit);
      const question = ['principals', tenant, filter];
      const after = parseCursor(question, page.cursor, ['number', 'string']) ?? [-1, ''];
      const rows = await database.read(LIST_PRINCIPALS, [tenant, filter.kind ?? null, ...after, limit + 1]);
      return toPage(rows, limit, question, (row) => [row['created'] as number, row['id'] as string], fromPrincipalRow);
    },
    async tokenByHash(hash) {
      const key = Buffer.from(hash).toString('hex');
      const token = await cache.tokens.through(
        key,
        async () => (await database.read(TOKEN_BY_HASH, [Buffer.from(hash)])).map(fromTokenRow)[0],
        (found, keep) => keep(key, found.principalId, TOKEN_BYTES),
      );
      if (token !== undefined) noteUse(token);
      return token;
    },
    cachedToken(key) {
      const token = cache.tokens.get(key);
      if (token !== undefined) noteUse(token);
      return token;
    },
    cachedPrincipal(tenant, id) {
      const principal = cache.principals.get(id);
      return principal?.tenant === tenant ? principal : undefined;
    },
    async token(tenant, id) {
      return (await database.read(TOKEN, [id, tenant])).map(fromTokenRow)[0];
    },
    async listTokens(tenant, filter, page) {
      const limit = pageLimit(page.limit);
      const question = ['tokens', tenant, filter];
      const after = parseCursor(question, page.cursor, ['number', 'string']) ?? [-1, ''];
      const rows = await database.read(LIST_TOKENS, [tenant, filter.principalId ?? null, ...after, limit + 1]);
      return toPage(rows, limit, question, (row) => [row['created'] as number, row['id'] as string], toTokenView);
    },
    certificateBinding,
    issuedCertificate,
    async authorities() {
      return (await database.read(AUTHORITIES)).map(fromObjectRow);
    },
    async isEmpty() {
      return (await database.read(ANY_PRINCIPAL)).length === 0;
    },
    async flushUse() {
      if (usedAt.size === 0) return;
      const entries = [...usedAt].sort(([a], [b]) => (a < b ? -1 : 1));
      usedAt.clear();
      await database.run(TOUCH_TOKENS, [entries.map(([id]) => id), entries.map(([, at]) => at)]);
    },
  };
};
