import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/audit/canonical.js';
import { chainHash } from '../../src/audit/chain.js';
import { exportLines, selectCheckpoints } from '../../src/audit/export.js';
import { makeJournal } from '../../src/audit/journal.js';
import { makeSequencer } from '../../src/audit/sequencer.js';
import { type VerifyOptions, verifyExport } from '../../src/audit/verify-export.js';
import { verifyStored } from '../../src/audit/verify-stored.js';
import type { AuditCheckpoint, AuditFilter } from '../../src/domain/index.js';
import { collect, draft, linesOf, type MemoryAudit, makeMemoryAudit, makeSigner, someChange } from './memory-audit.js';

const signer = makeSigner();
let memory: MemoryAudit;
let lines: readonly string[];

/** 3 boots, 2 tenants, a checkpoint after each of 3 rounds, and 5 records that no checkpoint covers yet. */
const makeLog = async (): Promise<MemoryAudit> => {
  const log = makeMemoryAudit();
  let clock = 1_760_000_000_000;
  const sequencer = makeSequencer({ audit: log.audit, cluster: log.cluster, sign: signer.sign, clock: () => clock });
  for (const boot of ['b1', 'b2', 'b3']) {
    const journal = makeJournal({ store: log.journal, audit: log.audit, nodeId: 'node-1', bootId: boot, clock: Date.now });
    for (let index = 0; index < 12; index += 1)
      await journal.commit(
        draft({
          at: clock + index,
          tenant: index % 4 === 3 ? 'other' : 'default',
          requestId: `${boot}-${index}`,
          actor: { kind: 'human', id: index % 2 === 0 ? 'ada' : 'bob', name: 'x', method: 'token' },
        }),
        index % 3 === 0 ? [someChange] : [],
      );
    clock += 3_600_000;
    await sequencer.round(true);
  }
  const journal = makeJournal({ store: log.journal, audit: log.audit, nodeId: 'node-1', bootId: 'b4', clock: Date.now });
  for (let index = 0; index < 5; index += 1) await journal.commit(draft({ at: clock }), []);
  return log;
};
const exportOf = (log: MemoryAudit, tenant = 'default', filter: AuditFilter = {}) =>
  collect(exportLines({ audit: log.audit, tenant, filter, now: 1_760_000_000_000 }));
const verify = (text: readonly string[], options?: VerifyOptions) => verifyExport(linesOf(text), options);

/** What an attacker who knows the format does after a change: counts and digest of the trailer made right again. */
const resealed = (changed: readonly string[]): string[] => {
  const body = changed.filter((line) => !line.startsWith('{"trailer"'));
  const parsed = body.map((line) => JSON.parse(line) as Record<string, { hashes?: string[] }>);
  const omitted = parsed.reduce((sum, line) => sum + (line['omitted']?.hashes?.length ?? 0), 0);
  const trailer = {
    ...{
      records: parsed.filter((line) => 'record' in line).length,
      omitted,
      checkpoints: parsed.filter((line) => 'checkpoint' in line).length,
    },
    ...{
      lines: body.length,
      sha256: createHash('sha256')
        .update(body.map((line) => `${line}\n`).join(''))
        .digest('hex'),
    },
  };
  return [...body, canonicalJson({ trailer })];
};
interface RecordLine {
  chain: { node: string; boot: string; sequence: number; previous: string; hash: string };
  record: Record<string, unknown>;
}
const isRecord = (line: string): boolean => line.includes('"record":{');
const recordIndexes = (text: readonly string[]): number[] => text.flatMap((line, index) => (isRecord(line) ? [index] : []));
const parse = (line: string | undefined): RecordLine => JSON.parse(line ?? '') as RecordLine;

beforeAll(async () => {
  memory = await makeLog();
  lines = await exportOf(memory);
});

describe('a sound export', () => {
  it('verifies, with its tree, and says what is not covered', async () => {
    const result = await verify(lines, { publicKey: signer.pem });
    expect(result).toMatchObject({ valid: true, records: 32, omitted: 9, chains: 7, checkpoints: 3, provenTreeSize: 36, problems: [] });
    expect(result.notes).toEqual(
      expect.arrayContaining([expect.stringContaining('5 newest record(s)'), expect.stringContaining('9 record(s) are left out')]),
    );
  });
  it('shows no content of another tenant', async () => {
    const other = await exportOf(memory, 'other');
    expect(other.join('\n')).not.toContain('"tenant":"default"');
    expect(lines.join('\n')).not.toContain('"tenant":"other"');
    expect(await verify(other)).toMatchObject({ valid: true, records: 9, omitted: 32, provenTreeSize: 36 });
  });
  it('of a tenant without records verifies too', async () => {
    expect(await verify(await exportOf(memory, 'nobody'))).toMatchObject({ valid: true, records: 0, omitted: 41, provenTreeSize: 36 });
  });
  it('filtered by actor keeps every link', async () => {
    const filtered = await exportOf(memory, 'default', { actor: 'ada' });
    expect(recordIndexes(filtered).every((index) => filtered[index]?.includes('"id":"ada"'))).toBe(true);
    expect(await verify(filtered)).toMatchObject({ valid: true, records: 18, omitted: 23, provenTreeSize: 36 });
  });
  it('of a range of time claims only what it can', async () => {
    const part = await exportOf(memory, 'default', { since: 1_760_000_000_000 + 3_600_000, until: 1_760_000_000_000 + 3_600_000 + 6 });
    const result = await verify(part);
    expect(result).toMatchObject({ valid: true, records: 6 });
    expect(result.provenTreeSize).toBeUndefined();
    expect(result.notes).toEqual(expect.arrayContaining([expect.stringContaining('part of the log')]));
  });
  it('of an empty log verifies and says that nothing is signed', async () => {
    const result = await verify(await exportOf(makeMemoryAudit()));
    expect(result).toMatchObject({ valid: true, records: 0, checkpoints: 0 });
    expect(result.notes?.[0]).toContain('no checkpoint');
  });
  it('trusts only the key that is pinned, given as PEM, DER or fingerprint', async () => {
    const fingerprint = (await verify(lines)).keyFingerprints?.[0] ?? '';
    for (const publicKey of [signer.pem, fingerprint, fingerprint.toUpperCase().replace(/..(?!$)/g, '$&:'), [makeSigner().pem, signer.pem]])
      expect((await verify(lines, { publicKey })).valid).toBe(true);
    const stranger = await verify(lines, { publicKey: makeSigner().pem });
    expect(stranger.valid).toBe(false);
    expect(stranger.problems[0]).toContain('signed by a key you do not trust');
    await expect(verify(lines, { publicKey: 'nonsense' })).rejects.toThrow(TypeError);
  });
  it('agrees with the verification in the database', async () => {
    expect(await verifyStored(memory.audit, { tenant: 'default', publicKey: signer.pem })).toMatchObject({
      valid: true,
      records: 32,
      chains: 7,
      checkpoints: 3,
      provenTreeSize: 36,
    });
    expect(await verifyStored(memory.audit, { tenant: 'default', since: 1_760_000_000_000 + 3_600_000 })).toMatchObject({
      valid: true,
      problems: [],
    });
  });
});

describe('a changed export', () => {
  it('is found out for every byte', async () => {
    const text = lines.join('\n');
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.integer({ min: 1, max: 94 }), async (position, shift) => {
        const code = text.charCodeAt(position);
        const other = code === 10 ? 'x' : String.fromCharCode(32 + ((code - 32 + shift) % 95));
        if (other === text[position]) return;
        const changed = `${text.slice(0, position)}${other}${text.slice(position + 1)}`;
        expect((await verify(changed.split('\n'))).valid).toBe(false);
      }),
      { numRuns: 250 },
    );
  });

  it('names the record whose content was changed, also when trailer and counts were made right', async () => {
    for (const index of recordIndexes(lines)) {
      const { chain, record } = parse(lines[index]);
      const changed = lines.with(index, canonicalJson({ chain, record: { ...record, outcome: 'refused' } }));
      const result = await verify(resealed(changed));
      expect(result.firstBad).toEqual({
        node: chain.node,
        boot: chain.boot,
        sequence: chain.sequence,
        reason: expect.stringContaining('it was changed'),
      });
    }
  });

  it('names the place when a record’s hash was recomputed with its content', async () => {
    for (const index of recordIndexes(lines)) {
      const { chain, record } = parse(lines[index]);
      const forged = { ...record, actor: { kind: 'human', id: 'eve', name: 'Eve', method: 'token' } };
      const hash = chainHash(chain.previous, canonicalJson(forged));
      const result = await verify(resealed(lines.with(index, canonicalJson({ chain: { ...chain, hash }, record: forged }))));
      const isTail = chain.boot.startsWith('b4') && chain.sequence === 5;
      // The last record of all is under no checkpoint and no successor: that is what the note about newest records says.
      expect(result.valid, `${chain.boot} ${chain.sequence}`).toBe(isTail);
      if (!isTail && result.firstBad !== undefined) expect(result.firstBad.sequence - chain.sequence).toBeLessThanOrEqual(1);
      if (!isTail && !chain.boot.startsWith('b4')) expect(result.problems.length).toBeGreaterThan(0);
    }
  });

  it('is found out when a whole chain was rewritten consistently', async () => {
    let previous: string | undefined;
    const rewritten = lines.map((line) => {
      if (!isRecord(line) || parse(line).chain.boot !== 'b2-r') return line;
      const { chain, record } = parse(line);
      const forged = { ...record, source: '10.0.0.1' };
      const start = previous ?? chain.previous;
      previous = chainHash(start, canonicalJson(forged));
      return canonicalJson({ chain: { ...chain, previous: start, hash: previous }, record: forged });
    });
    const result = await verify(resealed(rewritten));
    expect(result.valid).toBe(false);
  });

  it('names a record that was taken out', async () => {
    for (const index of recordIndexes(lines)) {
      const { chain } = parse(lines[index]);
      const result = await verify(resealed(lines.toSpliced(index, 1)));
      const isTail = chain.boot === 'b4-r' && chain.sequence === 5;
      expect(result.valid).toBe(isTail);
      if (!isTail)
        expect(result.firstBad).toMatchObject({ boot: chain.boot, sequence: chain.sequence, reason: expect.stringContaining('missing') });
    }
  });

  it('names a record that is there twice or elsewhere', async () => {
    for (const index of recordIndexes(lines).slice(0, 8)) {
      const line = lines[index] as string;
      const { chain } = parse(line);
      expect((await verify(resealed(lines.toSpliced(index, 0, line)))).firstBad).toMatchObject({
        boot: chain.boot,
        sequence: chain.sequence,
        reason: expect.stringContaining('twice or out of order'),
      });
    }
    const [a = 0, b = 0] = recordIndexes(lines).slice(1);
    const swapped = lines.with(a, lines[b] as string).with(b, lines[a] as string);
    expect((await verify(resealed(swapped))).valid).toBe(false);
  });

  it('is found out when a whole chain, or the end of one, is cut off', async () => {
    const without = (keep: (chain: RecordLine['chain']) => boolean, keepOmitted = true) =>
      resealed(
        lines.filter((line) => (isRecord(line) ? keep(parse(line).chain) : keepOmitted || !line.includes('"omitted":{"boot":"b2-c"'))),
      );
    const noChain = await verify(without((chain) => chain.boot !== 'b2-c', false));
    expect(noChain.firstBad).toMatchObject({ boot: 'b2-c', sequence: 1, reason: expect.stringContaining('was signed for') });
    const noEnd = await verify(without((chain) => chain.boot !== 'b1-r' || chain.sequence < 7));
    expect(noEnd.firstBad).toMatchObject({ boot: 'b1-r', sequence: 7 });
  });

  it('is found out when hashes of left-out records are changed', async () => {
    const index = lines.findIndex((line) => line.startsWith('{"omitted"'));
    const { omitted } = JSON.parse(lines[index] as string) as { omitted: { hashes: string[] } };
    const forged = canonicalJson({ omitted: { ...omitted, hashes: omitted.hashes.map(() => 'ab'.repeat(32)) } });
    expect((await verify(resealed(lines.with(index, forged)))).valid).toBe(false);
  });

  it('is found out when checkpoints are changed, and names them', async () => {
    const index = lines.findIndex((line) => line.startsWith('{"checkpoint"'));
    const { checkpoint } = JSON.parse(lines[index] as string) as { checkpoint: AuditCheckpoint };
    const forgeries: Partial<AuditCheckpoint>[] = [
      { at: checkpoint.at + 1 },
      { treeSize: checkpoint.treeSize - 1 },
      { rootHash: 'cd'.repeat(32) },
      { heads: checkpoint.heads.slice(1) },
      { heads: checkpoint.heads.map((head) => ({ ...head, hash: 'ef'.repeat(32) })) },
      { keyId: 'mine' },
      { signature: Buffer.alloc(70).toString('base64') },
      { publicKey: Buffer.from('nonsense').toString('base64') },
      { algorithm: 'none' },
      { algorithm: 'ed25519' },
      { algorithm: '__proto__' },
    ];
    for (const forgery of forgeries) {
      const result = await verify(resealed(lines.with(index, canonicalJson({ checkpoint: { ...checkpoint, ...forgery } }))));
      expect(result.valid, JSON.stringify(forgery).slice(0, 60)).toBe(false);
      expect(result.problems.some((problem) => problem.startsWith('checkpoint of'))).toBe(true);
    }
  });

  it('is found out when leaves are changed, left out or swapped', async () => {
    const index = lines.findIndex((line) => line.startsWith('{"leaves"'));
    const { leaves } = JSON.parse(lines[index] as string) as { leaves: { from: number; hashes: string[] } };
    const swapped = leaves.hashes.with(3, leaves.hashes[4] as string).with(4, leaves.hashes[3] as string);
    for (const hashes of [leaves.hashes.slice(0, -1), leaves.hashes.with(0, '00'.repeat(32)), swapped, [...leaves.hashes, '00'.repeat(32)]])
      expect((await verify(resealed(lines.with(index, canonicalJson({ leaves: { ...leaves, hashes } }))))).valid).toBe(false);
    expect((await verify(resealed(lines.toSpliced(index, 1)))).valid).toBe(false);
  });

  it('is found out when it is cut anywhere', async () => {
    const text = lines.join('\n');
    for (let cut = 1; cut < 60; cut += 1) {
      const at = Math.floor((text.length * cut) / 60);
      expect((await verify(text.slice(0, at).split('\n'))).valid).toBe(false);
    }
    for (let count = 0; count < lines.length; count += 1) expect((await verify(lines.slice(0, count))).valid).toBe(false);
    expect((await verify(lines.slice(0, -1))).problems.at(-1)).toContain('cut off');
  });

  it('names the record after the last good one when a line can not be read', async () => {
    const [, second = 0] = recordIndexes(lines);
    const { chain } = parse(lines[second]);
    const result = await verify(lines.with(second, '{"chain":{"no'));
    expect(result.firstBad).toMatchObject({ boot: chain.boot, sequence: chain.sequence, reason: expect.stringContaining('not JSON') });
  });

  it('refuses lines that read differently elsewhere: other spelling, double names, later additions', async () => {
    const [index = 0] = recordIndexes(lines);
    const line = lines[index] as string;
    for (const changed of [
      line.replace('{"chain"', '{ "chain"'),
      line.replace('"outcome":"success"', '"outcome":"refused","outcome":"success"'),
      line.replace('"sign"', '"\\u0073ign"'),
    ]) {
      expect(changed).not.toBe(line);
      expect((await verify(resealed(lines.with(index, changed)))).valid).toBe(false);
    }
    expect((await verify([...lines, '{}'])).valid).toBe(false);
    expect((await verify([...lines, ''])).valid).toBe(true);
  });

  it('can not be called a part of the log without a range of time that says which', async () => {
    const header = JSON.parse(lines[0] as string) as object;
    expect((await verify(resealed(lines.with(0, canonicalJson({ ...header, complete: false }))))).valid).toBe(false);
  });

  it('tells what is no export at all', async () => {
    for (const text of [
      [],
      [''],
      ['hello'],
      ['{}'],
      ['[1]'],
      [canonicalJson({ format: 'aegis-audit', version: 99 })],
      [canonicalJson({ format: 'aegis-audit', version: 1 })],
    ]) {
      const result = await verify(text);
      expect(result.valid).toBe(false);
      expect(result.problems).toHaveLength(1);
    }
  });

  it('never throws, whatever the lines', async () => {
    const line = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom(...lines.map((text) => text.slice(0, 3000))),
      fc.anything().map((value) => {
        try {
          return canonicalJson(value);
        } catch {
          return 'null';
        }
      }),
      fc.constantFrom(
        '{"omitted":{"boot":"b","from":1,"node":"n","to":9007199254740991}}',
        '{"leaves":{"from":0,"hashes":[]}}',
        '{"trailer":null}',
        '{"checkpoint":{}}',
        '{"chain":{},"record":{}}',
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), async (body) => {
        expect((await verify([lines[0] as string, ...body])).valid).toBe(false);
      }),
    );
  });
});

describe('the database', () => {
  it('is found out when a record was rewritten in place or a chain removed', async () => {
    const log = await makeLog();
    const chain = log.chains.get('["node-1","b2-r"]') ?? [];
    const row = chain[2];
    if (row === undefined) throw new Error('no row');
    chain[2] = { ...row, record: { ...row.record, outcome: 'refused' } };
    expect((await verifyStored(log.audit, { tenant: 'default' })).firstBad).toMatchObject({ boot: 'b2-r', sequence: 3 });
    chain[2] = row;
    log.chains.delete('["node-1","b1-c"]');
    expect((await verifyStored(log.audit, { tenant: 'default' })).firstBad).toMatchObject({ boot: 'b1-c', sequence: 1 });
  });
});

describe('the choice of checkpoints', () => {
  it('keeps the newest, each chain’s last, and an even rest', () => {
    const all = Array.from({ length: 5000 }, (_, index) => ({
      treeSize: index + 1,
      at: index,
      heads: [{ node: 'n', boot: index === 77 ? 'rare' : 'usual', sequence: 1, hash: '' }],
    })) as unknown as AuditCheckpoint[];
    const chosen = selectCheckpoints(all);
    expect(chosen.length).toBeLessThanOrEqual(1002);
    expect(chosen.at(-1)?.treeSize).toBe(5000);
    expect(chosen.some((checkpoint) => checkpoint.heads[0]?.boot === 'rare')).toBe(true);
  });
});
