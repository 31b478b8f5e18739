import { describe, expect, it } from 'vitest';
import { effectiveEverywhere } from '../../src/app/effective-everywhere.js';
import type { AuditDraft } from '../../src/guard/ports.js';
import { onServer, withTestStorage } from '../storage/test-database.js';

const changes = [{} as never];
const record = (operation: string) => ({ operation }) as AuditDraft;

const scene = (seen: boolean, fault?: { code: 'storage-unavailable'; message: string; next: string }) => {
  const order: string[] = [];
  const journal = effectiveEverywhere(
    {
      intent: async () => void order.push('intent'),
      commit: async () => {
        order.push('committed');
        return fault;
      },
    },
    {
      epoch: () => 7,
      effective: async (epoch) => {
        order.push(`everyone saw ${epoch}: ${seen}`);
        return seen;
      },
    },
    (operation) => order.push(`lagging ${operation}`),
  );
  return { order, journal };
};

describe('a change that takes something away', () => {
  it.each(['revoke', 'destroy', 'revoke-token', 'update-principal', 'delete-policy'])('%s waits for every node', async (operation) => {
    const { order, journal } = scene(true);
    expect(await journal.commit(record(operation), changes)).toBeUndefined();
    expect(order).toEqual(['committed', 'everyone saw 7: true']);
  });

  it('is answered all the same when a node stays behind, and that is reported', async () => {
    const { order, journal } = scene(false);
    expect(await journal.commit(record('revoke'), changes)).toBeUndefined();
    expect(order).toContain('lagging revoke');
  });

  it('waits for nobody when it did not take, changed nothing, or takes nothing away', async () => {
    const refused = scene(true, { code: 'storage-unavailable', message: 'm', next: 'n' });
    expect((await refused.journal.commit(record('revoke'), changes))?.code).toBe('storage-unavailable');
    expect(refused.order).toEqual(['committed']);
    const { order, journal } = scene(true);
    await journal.commit(record('revoke'), []);
    await journal.commit(record('sign'), changes);
    expect(order).toEqual(['committed', 'committed']);
  });

  it('is waited for on PostgreSQL until the other node has seen it, and not for one whose lease is over', async () => {
    const test = await withTestStorage();
    try {
      const sql = (text: string) => onServer((client) => client.query(text), test.connection.database);
      const { cluster } = test.storage;
      const lapsed = `INSERT INTO node (id, boot, started, lease_until, seen_epoch) VALUES ('gone', 'b', 0, 1, 0)`;
      await sql(lapsed);
      expect(await cluster.effective(cluster.epoch(), 2_000)).toBe(true);
      await sql(
        `UPDATE node SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000, seen_epoch = -1 WHERE id = 'gone'`,
      );
      expect(await cluster.effective(cluster.epoch(), 300)).toBe(false);
    } finally {
      await test.close();
    }
  });
});
