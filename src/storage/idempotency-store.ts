import type { Database } from './database.js';
import type { IdempotencyStore } from './ports.js';

const NOW_MS = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';

/**
 * Claims by inserting. An expired row, and the claim of a process that is gone (its lease ended and no answer was stored), are
 * taken over. $6 boot id of this process.
 */
const CLAIM = {
  name: 'claim-idempotency',
  text: `INSERT INTO idempotency AS i (tenant, principal_id, key, request_hash, expires, claimed_by)
    VALUES ($1, $2, $3, $4, ${NOW_MS} + $5, $6)
    ON CONFLICT (tenant, principal_id, key) DO UPDATE
      SET request_hash = EXCLUDED.request_hash, expires = EXCLUDED.expires, claimed_by = EXCLUDED.claimed_by, status = NULL, body = NULL
      WHERE i.expires <= ${NOW_MS}
        OR (i.status IS NULL AND i.request_hash = EXCLUDED.request_hash
          AND NOT EXISTS (SELECT FROM node n WHERE n.boot = i.claimed_by AND n.lease_until > ${NOW_MS}))
    RETURNING 1`,
};
const STORED = {
  name: 'stored-idempotency',
  text: 'SELECT request_hash, status, body FROM idempotency WHERE tenant = $1 AND principal_id = $2 AND key = $3',
};
const COMPLETE = {
  name: 'complete-idempotency',
  text: `UPDATE idempotency SET status = $4, body = $5
    WHERE tenant = $1 AND principal_id = $2 AND key = $3 AND claimed_by = $6 AND status IS NULL`,
};
const RELEASE = {
  name: 'release-idempotency',
  text: 'DELETE FROM idempotency WHERE tenant = $1 AND principal_id = $2 AND key = $3 AND claimed_by = $4 AND status IS NULL',
};

export const makeIdempotencyStore = (database: Database, bootId: string): IdempotencyStore => {
  const claim: IdempotencyStore['claim'] = async (tenant, principalId, key, requestHash, ttlMs) => {
    const hash = Buffer.from(requestHash);
    // A row that goes away between the two statements makes another round; it can't do so for ever.
    for (let round = 0; round < 5; round += 1) {
      const claimed = await database.run(CLAIM, [tenant, principalId, key, hash, Math.ceil(ttlMs), bootId]);
      if (claimed.length > 0) return { kind: 'fresh' };
      const [row] = await database.read<{ request_hash: Buffer; status: number | null; body: string | null }>(STORED, [
        tenant,
        principalId,
        key,
      ]);
      if (row === undefined) continue;
      if (!row.request_hash.equals(hash)) return { kind: 'mismatch' };
      return row.status === null ? { kind: 'busy' } : { kind: 'done', status: row.status, body: row.body ?? '' };
    }
    return { kind: 'busy' };
  };
  return {
    claim,
    async complete(tenant, principalId, key, status, body) {
      await database.run(COMPLETE, [tenant, principalId, key, status, body, bootId]);
    },
    async release(tenant, principalId, key) {
      await database.run(RELEASE, [tenant, principalId, key, bootId]);
    },
  };
};
