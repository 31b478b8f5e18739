import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { csvCell } from '../../src/audit/csv.js';
import { makeAuditHandlers } from '../../src/audit/handlers.js';
import { makeJournal } from '../../src/audit/journal.js';
import { makeSequencer } from '../../src/audit/sequencer.js';
import { verifyExport } from '../../src/audit/verify-export.js';
import { type AuthorizedCall, FaultError, type OperationName, type OperationRequest } from '../../src/domain/index.js';
import { collect, draft, linesOf, type MemoryAudit, makeMemoryAudit, makeSigner } from './memory-audit.js';

const callOf = <O extends OperationName>(operation: O, request: OperationRequest<O>, tenant = 'default'): AuthorizedCall<O> => ({
  ...{ operation, request, tenant, requestId: 'r', plane: 'rest', now: 1_760_000_000_000, others: {} },
  principal: { kind: 'human', id: 'p', tenant, name: 'p', roles: ['auditor'], tags: {}, disabled: false, createdAt: 0, revision: 1 },
  authentication: { method: 'token', credentialId: 't' },
});
const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => (error instanceof FaultError ? error.fault : { code: 'thrown', message: String(error) }),
  );

let memory: MemoryAudit;
const build = () => {
  const journal = makeJournal({ store: memory.journal, audit: memory.audit, nodeId: 'node-1', bootId: 'b', clock: Date.now });
  const sequencer = makeSequencer({ audit: memory.audit, cluster: memory.cluster, sign: makeSigner().sign });
  return { journal, sequencer, handlers: makeAuditHandlers({ audit: memory.audit, journal, sequencer }) };
};
const readChunks = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => Buffer.concat(await collect(chunks)).toString('utf8');

beforeAll(async () => {
  memory = makeMemoryAudit();
  const { journal, sequencer } = build();
  for (let index = 0; index < 20; index += 1) await journal.commit(draft({ tenant: index % 2 === 0 ? 'default' : 'acme' }), []);
  await journal.commit(
    draft({ resource: { type: 'key', id: 'k', name: '=HYPERLINK("http://evil","x")' }, requestId: '@SUM(1,2)\r\n"quoted"' }),
    [],
  );
  await sequencer.round(true);
});

describe('the audit operations', () => {
  it('show the caller’s own tenant only', async () => {
    const { handlers } = build();
    for (const tenant of ['default', 'acme', 'nobody']) {
      const { response } = await handlers['list-audit'](callOf('list-audit', {}, tenant));
      expect(response.items.every((record) => record.tenant === tenant)).toBe(true);
      expect(response.items).toHaveLength({ default: 11, acme: 10, nobody: 0 }[tenant] ?? -1);
    }
    expect((await handlers['verify-audit'](callOf('verify-audit', {}, 'acme'))).response).toMatchObject({ valid: true, records: 10 });
  });

  it('refuse a bad filter with its field', async () => {
    const { handlers } = build();
    const bad = [
      [{ actor: 5 }, 'actor'],
      [{ actor: 'x'.repeat(300) }, 'actor'],
      [{ resource: 'a\0b' }, 'resource'],
      [{ plane: '\ud800' }, 'plane'],
      [{ outcome: 'maybe' }, 'outcome'],
      [{ since: -1 }, 'since'],
      [{ until: 1.5 }, 'until'],
      [{ limit: 0 }, 'limit'],
    ] as const;
    for (const [request, field] of bad)
      expect(await faultOf(handlers['list-audit'](callOf('list-audit', request as never)))).toMatchObject({ code: 'invalid-field', field });
    expect(await faultOf(handlers['export-audit'](callOf('export-audit', { format: 'xml' as never })))).toMatchObject({ field: 'format' });
    expect(await faultOf(handlers['verify-audit'](callOf('verify-audit', { since: Number.NaN })))).toMatchObject({ field: 'since' });
  });

  it('hand only the filter to the store, and at most 1000 records', async () => {
    const asked: unknown[] = [];
    const audit = { ...memory.audit, list: async (...args: unknown[]) => (asked.push(args) > 0 ? { items: [] } : undefined) };
    const { 'list-audit': list } = makeAuditHandlers({ audit: audit as never, journal: build().journal, sequencer: build().sequencer });
    await list(callOf('list-audit', { actor: 'a', limit: 5000, tenant: 'acme', cursor: 'c' } as never));
    expect(asked).toEqual([['default', { actor: 'a' }, { limit: 1000, cursor: 'c' }]]);
  });

  it('export what verifies offline', async () => {
    const { handlers } = build();
    const { response } = await handlers['export-audit'](callOf('export-audit', {}, 'acme'));
    const text = await readChunks(response.chunks);
    expect(text.endsWith('\n')).toBe(true);
    expect(await verifyExport(linesOf(text.trimEnd().split('\n')))).toMatchObject({ valid: true, records: 10, omitted: 11 });
  });

  it('sign for what they export, and export also when that can not be had', async () => {
    const log = makeMemoryAudit();
    const journal = makeJournal({ store: log.journal, audit: log.audit, nodeId: 'node-1', bootId: 'b', clock: Date.now });
    const signer = makeSigner();
    let down = false;
    const sequencer = makeSequencer({
      audit: log.audit,
      cluster: log.cluster,
      sign: async (data) => (down ? Promise.reject(new Error('down')) : signer.sign(data)),
    });
    const handlers = makeAuditHandlers({ audit: log.audit, journal, sequencer });
    const exported = async () =>
      verifyExport(
        linesOf((await readChunks((await handlers['export-audit'](callOf('export-audit', {}))).response.chunks)).trimEnd().split('\n')),
      );
    await journal.commit(draft(), []);
    expect(await exported()).toMatchObject({ valid: true, records: 1, provenTreeSize: 1 });
    down = true;
    await journal.commit(draft(), []);
    expect(await exported()).toMatchObject({ valid: true, records: 2, provenTreeSize: 1 });
  });

  it('export CSV without formulas, one row per record, of the own tenant', async () => {
    const { handlers } = build();
    const { response } = await handlers['export-audit'](callOf('export-audit', { format: 'csv' }));
    const text = await readChunks(response.chunks);
    const rows = text.split('\r\n');
    expect(rows[0]).toMatch(/^time,id,tenant,plane,/);
    expect(text).toContain(`"'=HYPERLINK(""http://evil"",""x"")"`);
    expect(text).toContain(`'@SUM`);
    expect(text).not.toContain('acme');
    expect(rows).toHaveLength(1 + 11 + 1);
    for (const cell of text.split(/,|\r\n/)) expect(cell).not.toMatch(/^"?[=+\-@\t]/);
  });

  it('verify one at a time and refuse a crowd', async () => {
    let running = 0;
    let most = 0;
    const audit = {
      ...memory.audit,
      stream: async function* () {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 15));
        running -= 1;
        yield* [];
      },
    };
    const { journal, sequencer } = build();
    const handlers = makeAuditHandlers({ audit: audit as never, journal, sequencer });
    const faults = await Promise.all(
      Array.from({ length: 6 }, () => faultOf(handlers['verify-audit'](callOf('verify-audit', { since: 1 })))),
    );
    expect(most).toBe(1);
    expect(faults.filter((fault) => fault?.code === 'overloaded')).toHaveLength(2);
    expect(await faultOf(handlers['verify-audit'](callOf('verify-audit', { since: 1 })))).toBeUndefined();
  });

  it('say how the log is: good, lagging, unreadable, failing', async () => {
    const { journal, sequencer, handlers } = build();
    await sequencer.round(true);
    expect((await handlers['audit-health'](callOf('audit-health', {}))).response).toMatchObject({
      state: 'ok',
      pending: 0,
      unsequenced: 0,
    });
    const report = async (over: object, state: object = {}) =>
      (
        await makeAuditHandlers({
          audit: { ...memory.audit, ...over } as never,
          journal: { health: () => ({ ...journal.health(), ...state }) },
          sequencer,
        })['audit-health'](callOf('audit-health', {}))
      ).response;
    expect(await report({ unsequencedCount: async () => 200_000 })).toMatchObject({
      state: 'degraded',
      detail: expect.stringContaining('200000'),
    });
    expect(await report({ unsequencedCount: async () => Promise.reject(new Error('down')) })).toMatchObject({ state: 'degraded' });
    expect(await report({}, { state: 'failing', detail: 'no space' })).toMatchObject({ state: 'failing', detail: 'no space' });
  });
});

describe('CSV cells', () => {
  it('never begin a formula and read back as they were', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('=', '+', '-', '@', '\t', '\r', '\n', '"', ',', "'", 'a', ' ', '＝') }), (text) => {
        const cell = csvCell(text);
        const quoted = cell.startsWith('"');
        const inner = quoted ? cell.slice(1, -1).replaceAll('""', '"') : cell;
        expect(inner).not.toMatch(/^[=+\-@\t\r\n＝]/);
        expect(inner === text || inner === `'${text}`).toBe(true);
        if (!quoted) expect(cell).not.toMatch(/[",\r\n]/);
      }),
    );
    expect(csvCell(undefined)).toBe('');
    expect(csvCell(-5)).toBe("'-5");
  });
});
