import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BACKUP_TABLES, BackupError, createBackup, NOT_IN_BACKUP, restoreBackup, verifyBackup } from '../../src/storage/backup.js';
import { openStorage } from '../../src/storage/open-storage.js';
import { insertOf, makeChainWriter, NOW, sampleObject, samplePolicy, samplePrincipal, sampleToken, sampleVersion } from './samples.js';
import { makeTestDatabase, onServer, quietLog, type TestStorage, withTestStorage } from './test-database.js';

const PASSPHRASE = 'correct horse battery';
const ROOTS = [{ id: 'soft', fingerprint: 'f'.repeat(64) }];

let context: TestStorage;
let file: Buffer;
const collect = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};
/** In pieces of a size that fits nothing. */
const stream = async function* (bytes: Buffer, piece = 10_007): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
};
const rowsOf = (database: string, table: string): Promise<unknown[]> =>
  onServer(async (client) => (await client.query(`SELECT row_to_json(t)::text AS row FROM ${table} t ORDER BY 1`)).rows, database);

beforeAll(async () => {
  context = await withTestStorage();
  const writer = makeChainWriter(context.storage);
  const principal = samplePrincipal({ name: 'Ünï "code" \n' });
  const objects = Array.from({ length: 700 }, (_, index) =>
    sampleObject({
      names: [`key ${index} "\\\n`],
      content: Buffer.alloc(200, index),
      attributes: { 'x-n': index, 'x-deep': { a: [null, 1.5, 'é'] } },
      usageLimits: { unit: 'object', total: 9, remaining: 9 },
    }),
  );
  await writer.commit(objects.map((object) => [insertOf(object)]));
  await writer.commit([
    [{ kind: 'insert-principal', principal }],
    [{ kind: 'insert-token', token: sampleToken(principal) }],
    [
      {
        kind: 'set-certificate-binding',
        principalId: principal.id,
        tenant: 'acme',
        binding: { principalId: principal.id, tenant: 'acme', fingerprint: 'ab' },
      },
    ],
    [{ kind: 'put-policy', document: samplePolicy() }],
    [{ kind: 'put-setting', tenant: 'acme', name: 's', value: { a: 1 } }],
    [{ kind: 'consume-usage', tenant: 'acme', objectId: objects[0]?.id ?? '', amount: 2, limited: true }],
  ]);
  const leaves = await context.storage.audit.unsequenced(100);
  await context.storage.audit.fold(leaves, { size: leaves.length, peaks: ['aa'] });
  await context.storage.audit.saveCheckpoint({
    treeSize: 1,
    rootHash: 'aa',
    at: NOW,
    heads: [],
    keyId: 'k',
    algorithm: 'a',
    signature: 's',
    publicKey: 'p',
  });
  await context.storage.idempotency.claim('acme', principal.id, 'key', Buffer.alloc(32), 60_000);
  file = await collect(createBackup({ connection: context.connection, passphrase: PASSPHRASE }));
});
afterAll(() => context.close());

describe('backup', () => {
  test('every table is either in the backup or named as left out', async () => {
    const tables = await onServer(
      async (client) =>
        (await client.query<{ name: string }>(`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)).rows.map(
          (row) => row.name,
        ),
      context.connection.database,
    );
    expect([...BACKUP_TABLES, ...NOT_IN_BACKUP].sort()).toEqual(tables.sort());
  });

  test('verify reports what is in it, and shows nothing in clear but the header', async () => {
    const seen: number[] = [];
    const report = await verifyBackup(stream(file), { passphrase: PASSPHRASE, onProgress: ({ rows }) => seen.push(rows) });
    expect(report.tables).toMatchObject({ object: 700, object_version: 700, principal: 1, token: 1, audit_record: 706 });
    expect(report.roots).toEqual([{ ...ROOTS[0], versions: 700 }]);
    expect(seen.at(-1)).toBe(report.rows);
    for (const secret of ['key 10', 'alice', 'public_key', PASSPHRASE]) expect(file.includes(secret)).toBe(false);
  });

  test('restore gives every row back, and the service goes on from there', async () => {
    const target = await makeTestDatabase();
    try {
      const report = await restoreBackup(stream(file, 100_000), {
        connection: target.connection,
        passphrase: PASSPHRASE,
        roots: ROOTS,
        log: quietLog,
      });
      expect(report.rows).toBeGreaterThan(2_000);
      for (const table of BACKUP_TABLES)
        expect(await rowsOf(target.connection.database, table), table).toEqual(await rowsOf(context.connection.database, table));
      const storage = await openStorage({ connection: target.connection, kind: 'external', nodeId: 'restored', log: quietLog });
      try {
        expect((await storage.objects.load('acme', 'key 5 "\\\n'))?.versions).toHaveLength(1);
        const writer = makeChainWriter(storage, 'restored');
        expect(await writer.one(insertOf(sampleObject()))).toBeUndefined();
      } finally {
        await storage.close();
      }
      await expect(
        restoreBackup(stream(file), { connection: target.connection, passphrase: PASSPHRASE, roots: ROOTS, log: quietLog }),
      ).rejects.toThrow(/not empty/);
    } finally {
      await target.drop();
    }
  });

  test('any changed, missing or added byte is refused and leaves the database empty', async () => {
    const target = await makeTestDatabase();
    const restore = (bytes: Buffer, passphrase = PASSPHRASE) =>
      restoreBackup(stream(bytes), { connection: target.connection, passphrase, roots: ROOTS, log: quietLog });
    try {
      const flip = (at: number): Buffer => {
        const bytes = Buffer.from(file);
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes;
      };
      const header = 13 + file.readUInt32BE(9);
      const chunk = 64 * 1024 + 16;
      expect(file.length).toBeGreaterThan(header + 3 * chunk);
      const swapped = Buffer.from(file);
      file.copy(swapped, header, header + chunk, header + 2 * chunk);
      file.copy(swapped, header + chunk, header, header + chunk);
      const wrong: [string, Buffer][] = [
        ['magic', flip(0)],
        [
          'header',
          Buffer.concat([
            file.subarray(0, 13),
            Buffer.from(file.subarray(13, header).toString().replace('"versions":700', '"versions":701')),
            file.subarray(header),
          ]),
        ],
        ['first chunk', flip(header + 10)],
        ['second chunk', flip(header + chunk + 1)],
        ['last byte', flip(file.length - 1)],
        ['cut inside', file.subarray(0, file.length - 5)],
        ['cut at a chunk', file.subarray(0, header + 2 * chunk)],
        ['cut after the header', file.subarray(0, header)],
        ['added', Buffer.concat([file, Buffer.from([0])])],
        ['swapped chunks', swapped],
        ['dropped chunk', Buffer.concat([file.subarray(0, header), file.subarray(header + chunk)])],
        ['empty', Buffer.alloc(0)],
      ];
      for (const [what, bytes] of wrong) {
        // Stretching the passphrase costs a while: what fails at the header or the end of the file is tried on the database too.
        if (['second chunk', 'last byte', 'cut at a chunk', 'added'].includes(what))
          await expect(restore(bytes), what).rejects.toBeInstanceOf(BackupError);
        const failure = await verifyBackup(stream(bytes), { passphrase: PASSPHRASE }).catch((error: unknown) => error);
        expect(failure, what).toBeInstanceOf(BackupError);
        // The file is at fault here, not the passphrase, and the message sends nobody to look for another one.
        expect((failure as BackupError).message, what).not.toMatch(/passphrase/);
      }
      await expect(restore(file, 'another passphrase')).rejects.toThrow(/passphrase is wrong/);
      await restore(file);
    } finally {
      await target.drop();
    }
  }, 180_000);

  test('restore refuses where a root of the keys is missing, and names it', async () => {
    const target = await makeTestDatabase();
    try {
      await expect(
        restoreBackup(stream(file), {
          connection: target.connection,
          passphrase: PASSPHRASE,
          roots: [{ id: 'soft', fingerprint: 'e'.repeat(64) }],
          log: quietLog,
        }),
      ).rejects.toThrow(new RegExp(`soft \\(fingerprint ${'f'.repeat(64)}, 700 key versions\\)`));
    } finally {
      await target.drop();
    }
  });

  test('a backup under load is one consistent moment', async () => {
    const writer = makeChainWriter(context.storage, 'node-1', randomUUID());
    let running = true;
    let pairs = 0;
    const load = (async () => {
      while (running) {
        const object = sampleObject({ objectGroup: 'pairs' });
        await writer.one(insertOf(object, [sampleVersion(object.id), sampleVersion(object.id, { version: 2 })]));
        pairs += 1;
      }
    })();
    const report = await verifyBackup(createBackup({ connection: context.connection, passphrase: PASSPHRASE }), { passphrase: PASSPHRASE });
    running = false;
    await load;
    expect(pairs).toBeGreaterThan(1);
    const inserted = (report.tables['object'] ?? 0) - 700;
    expect(report.tables['object_version']).toBe(700 + 2 * inserted);
    expect(report.tables['audit_record']).toBe(706 + inserted);
  });

  test('a short passphrase is refused, and a backup that is not read to its end lets the database go', async () => {
    expect(() => createBackup({ connection: context.connection, passphrase: 'short' })).toThrow(/12 characters/);
    for await (const part of createBackup({ connection: context.connection, passphrase: PASSPHRASE })) {
      expect(part.length).toBeGreaterThan(0);
      break;
    }
    const open = await onServer(
      async (client) =>
        (
          await client.query(`SELECT 1 FROM pg_stat_activity WHERE application_name = 'aegis backup' AND datname = $1`, [
            context.connection.database,
          ])
        ).rows,
    );
    expect(open).toEqual([]);
  });
});
