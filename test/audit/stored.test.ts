import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportLines } from '../../src/audit/export.js';
import { makeAuditHandlers } from '../../src/audit/handlers.js';
import { makeJournal, type RunningJournal } from '../../src/audit/journal.js';
import { makeSequencer } from '../../src/audit/sequencer.js';
import { verifyExport } from '../../src/audit/verify-export.js';
import { verifyStored } from '../../src/audit/verify-stored.js';
import { FaultError } from '../../src/domain/index.js';
import { onServer, type TestStorage, withTestStorage } from '../storage/test-database.js';
import { collect, draft, linesOf, makeSigner, someChange } from './memory-audit.js';

/** The audit engine on PostgreSQL. */
let test: TestStorage;
let journal: RunningJournal;
const signer = makeSigner();
const journalOn = (storage: TestStorage['storage'], nodeId: string, bootId: string) =>
  makeJournal({ store: storage.journal, audit: storage.audit, nodeId, bootId, clock: Date.now });
const sequencerOn = (storage: TestStorage['storage']) =>
  makeSequencer({ audit: storage.audit, cluster: storage.cluster, sign: signer.sign });
const sql = (text: string) => onServer((client) => client.query(text), test.connection.database);

beforeEach(async () => {
  test = await withTestStorage();
  journal = journalOn(test.storage, 'node-1', 'boot-1');
});
afterEach(async () => {
  await journal.close();
  await test.close();
});

describe('on PostgreSQL', () => {
  it('records, changes, tree, checkpoints, export and verification fit together on two nodes', async () => {
    const second = await test.open('node-2');
    const other = journalOn(second, 'node-2', 'boot-9');
    const sequencers = [sequencerOn(test.storage), sequencerOn(second)];
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          (index % 2 === 0 ? journal : other).commit(
            draft({ tenant: index % 5 === 0 ? 'acme' : 'default', source: 'tab\there "ünïcode" 😀' }),
            index % 3 === 0 ? [{ ...someChange, name: `n${index}` }] : [],
          ),
        ),
      );
      await sequencers[round % 2]?.round(true);
    }
    await journal.commit(draft(), []);
    const lines = await collect(exportLines({ audit: test.storage.audit, tenant: 'default', filter: {}, now: Date.now() }));
    const result = await verifyExport(linesOf(lines), { publicKey: signer.pem });
    expect(result).toMatchObject({ valid: true, records: 193, omitted: 48, chains: 4, checkpoints: 4, provenTreeSize: 240, problems: [] });
    expect(await verifyStored(second.audit, { tenant: 'acme', publicKey: signer.pem })).toMatchObject({
      valid: true,
      records: 48,
      provenTreeSize: 240,
    });
    await other.close();
  });

  it('records the fault of a change that did not take', async () => {
    const principal = {
      kind: 'human',
      id: 'p-1',
      tenant: 'default',
      name: 'ada',
      roles: [],
      tags: {},
      disabled: false,
      createdAt: 1,
      revision: 1,
    } as const;
    expect(await journal.commit(draft(), [{ kind: 'insert-principal', principal }])).toBeUndefined();
    const results = await Promise.all([
      journal.commit(draft({ requestId: 'same-name' }), [{ kind: 'insert-principal', principal: { ...principal, id: 'p-2' } }]),
      journal.commit(draft({ requestId: 'stale' }), [{ kind: 'update-principal', principal: { ...principal, revision: 9 }, expect: 8 }]),
      journal.commit(draft({ requestId: 'good' }), [{ kind: 'insert-principal', principal: { ...principal, id: 'p-3', name: 'bob' } }]),
      journal.commit(draft({ requestId: 'nul' }), [{ kind: 'insert-principal', principal: { ...principal, id: 'p-4', name: 'a\0b' } }]),
    ]);
    expect(results.map((fault) => fault?.code)).toEqual(['already-exists', 'conflict', undefined, expect.any(String)]);
    const { items } = await test.storage.audit.list('default', {}, { limit: 10 });
    const outcomes = Object.fromEntries(items.map((record) => [record.requestId, record.outcome]));
    expect(outcomes).toMatchObject({ 'same-name': 'failed', stale: 'failed', good: 'success', nul: 'failed' });
    expect(await verifyStored(test.storage.audit, { tenant: 'default' })).toMatchObject({ valid: true });
  });

  it('loses and doubles nothing when connections are cut under load', async () => {
    const acknowledged: string[] = [];
    const refused: string[] = [];
    let stop = false;
    const client = async (name: string) => {
      for (let index = 0; !stop; index += 1) {
        const requestId = `${name}-${index}`;
        try {
          const fault = await journal.commit(draft({ requestId }), index % 2 === 0 ? [{ ...someChange, name: `${name}` }] : []);
          if (fault === undefined) acknowledged.push(requestId);
        } catch (error) {
          if (!(error instanceof FaultError)) throw error;
          if (error.fault.uncertain !== true) refused.push(requestId);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    const clients = Promise.all(Array.from({ length: 8 }, (_, index) => client(`c${index}`)));
    for (let cut = 0; cut < 12; cut += 1) {
      await new Promise((resolve) => setTimeout(resolve, 60 + cut * 7));
      await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    stop = true;
    await clients;
    const stored = (await collect(test.storage.audit.stream({}))).map((row) => row.record.requestId);
    const mine = new Set(stored);
    expect(mine.size).toBe(stored.filter((id) => id !== 'audit-recovery').length + (mine.has('audit-recovery') ? 1 : 0));
    expect(acknowledged.filter((id) => !mine.has(id))).toEqual([]);
    expect(refused.filter((id) => mine.has(id))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(100);
    await sequencerOn(test.storage).round(true);
    expect(await verifyStored(test.storage.audit, { tenant: 'default' })).toMatchObject({ valid: true, problems: [] });
    expect(journal.health().state).toBe('ok');
  });

  it.each([
    [
      'a changed record',
      `UPDATE audit_record SET canonical = replace(canonical, '"success"', '"refused"') WHERE sequence = 5 AND chain = (SELECT max(chain) FROM audit_record)`,
      5,
    ],
    ['a removed record', `DELETE FROM audit_record WHERE sequence = 5 AND chain = (SELECT max(chain) FROM audit_record)`, 5],
    ['the end cut off', `DELETE FROM audit_record WHERE sequence > 6 AND chain = (SELECT max(chain) FROM audit_record)`, 7],
  ])('finds %s in the database and names it', async (_name, statement, sequence) => {
    for (let index = 0; index < 10; index += 1) await journal.commit(draft(), []);
    await sequencerOn(test.storage).round(true);
    await sql(statement);
    const handlers = makeAuditHandlers({ audit: test.storage.audit, journal, sequencer: sequencerOn(test.storage) });
    const { response } = await handlers['verify-audit']({ request: {}, tenant: 'default', now: 0 } as never);
    expect(response).toMatchObject({ valid: false, firstBad: { node: 'node-1', boot: 'boot-1-r', sequence } });
    const lines = await collect(exportLines({ audit: test.storage.audit, tenant: 'default', filter: {}, now: 0 }));
    expect((await verifyExport(linesOf(lines))).firstBad).toMatchObject({ sequence });
  });

  it.each([
    ['hidden from its tenant', `SET tenant = 'elsewhere'`],
    ['filed under another actor', `SET actor = 'somebody-else'`],
    ['filed as refused', `SET outcome = 'refused'`],
    ['filed at another time', 'SET at = at - 86400000'],
    ['taken from its resource', `SET resource = 'other'`],
    ['without a readable text', `SET canonical = 'x'`],
    ['with a text of another shape', `SET canonical = '{"actor":null}'`],
  ])('names a record %s, and still lists', async (_name, change) => {
    for (let index = 0; index < 6; index += 1) await journal.commit(draft(), []);
    await sequencerOn(test.storage).round(true);
    await sql(`UPDATE audit_record ${change} WHERE sequence = 3`);
    expect(await verifyStored(test.storage.audit, { tenant: 'default' })).toMatchObject({ valid: false, firstBad: { sequence: 3 } });
    expect((await test.storage.audit.list(undefined, {}, { limit: 10 })).items.length).toBe(6);
  });

  it.each([
    ['unreadable', `SET body = 'x'`],
    ['of another shape', `SET body = '{"heads":[null]}'`],
    ['with other fields', `SET body = replace(body, 'algorithm', 'blgorithm')`],
    ['with a foreign signature', `SET body = replace(body, '"rootHash":"', '"rootHash":"00')`],
  ])('names a checkpoint that is %s, and the log goes on', async (_name, change) => {
    for (let index = 0; index < 3; index += 1) await journal.commit(draft(), []);
    await sequencerOn(test.storage).round(true);
    await sql(`UPDATE audit_checkpoint ${change}`);
    const result = await verifyStored(test.storage.audit, { tenant: 'default' });
    expect(result.valid).toBe(false);
    expect(result.problems[0]).toMatch(/^checkpoint of .* over 3 records: /);
    const lines = await collect(exportLines({ audit: test.storage.audit, tenant: 'default', filter: {}, now: 0 }));
    expect((await verifyExport(linesOf(lines))).valid).toBe(false);
    await journal.commit(draft(), []);
    await sequencerOn(test.storage).round(true);
    expect(await test.storage.audit.checkpoints()).toHaveLength(2);
  });

  it('finds a log that was rewritten whole, chain and tree, by its signature', async () => {
    for (let index = 0; index < 4; index += 1) await journal.commit(draft(), []);
    await sequencerOn(test.storage).round(true);
    await sql(`UPDATE audit_leaf SET hashes = decode(repeat('ab', 32 * count), 'hex')`);
    const result = await verifyStored(test.storage.audit, { tenant: 'default' });
    expect(result.problems).toEqual(expect.arrayContaining([expect.stringContaining('do not give the root')]));
  });
});
