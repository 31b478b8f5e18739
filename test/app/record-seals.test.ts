import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRecordSeals, type RecordSeals } from '../../src/app/record-seals.js';
import { StartError } from '../../src/app/start-error.js';
import { makeJournal, type RunningJournal } from '../../src/audit/journal.js';
import type { AuditDraft } from '../../src/guard/ports.js';
import { makeRootRegistry } from '../../src/keys/root-registry.js';
import { keyServiceOver } from '../behaviour/key-service-target.js';
import { openTestRoot } from '../keys/test-roots.js';
import { onServer, quietLog, type TestStorage, withTestStorage } from '../storage/test-database.js';

/** Whoever owns the database changes rows; the service must notice before it uses them. */
let test: TestStorage;
let journal: RunningJournal;
let root: Awaited<ReturnType<typeof openTestRoot>>;
let seals: RecordSeals | undefined;
let pinned: string | undefined;

const open = async (): Promise<RecordSeals> => {
  const { storage } = test;
  return openRecordSeals({
    ...{ settings: storage.settings, store: storage.seals, journal, cluster: storage.cluster, clock: Date.now, log: quietLog },
    registry: makeRootRegistry({ roots: new Map([['software', root]]), defaultRoot: 'software' }),
    pin: {
      read: () => pinned,
      write: (id) => {
        pinned = id;
      },
    },
  });
};
const sql = (text: string, values: unknown[] = []) =>
  onServer((client) => client.query(text, values), test.connection.database).then((result) => result.rows);
/** The service over what the database holds now: a node that has read nothing yet. */
const service = async () => {
  const storage = await test.open(`node-${randomUUID()}`);
  return (await keyServiceOver(root, { objects: storage.objects, settings: storage.settings, journal: seals?.sealing(journal) ?? journal }))
    .alice;
};

beforeEach(async () => {
  pinned = undefined;
  seals = undefined;
  test = await withTestStorage({
    checkSeals: async (loaded, stored) => {
      if (seals !== undefined) await seals.check(loaded, stored);
    },
  });
  journal = makeJournal({ store: test.storage.journal, audit: test.storage.audit, nodeId: 'n', bootId: randomUUID(), clock: Date.now });
  root = await openTestRoot();
});
afterEach(async () => {
  await journal.close();
  await test.close();
  await root.close();
});

const pair = async () => {
  const alice = await service();
  const made = await alice('create-key-pair', { spec: 'ec-p256', names: ['invoice'], usage: ['sign', 'verify'], activate: true });
  return { alice, publicId: made.publicKeyId };
};

describe('whoever changes a row in the database is found out when it is used', () => {
  beforeEach(async () => {
    seals = await open();
  });

  const TAMPERED: readonly (readonly [what: string, text: string])[] = [
    ['a usage mask', `UPDATE object SET usage = array_append(usage, 'unwrap') WHERE type = 'private-key'`],
    ['exportability', `UPDATE object SET exportable = true WHERE type = 'private-key'`],
    ['the state', `UPDATE object SET state = 'pre-active' WHERE type = 'private-key'`],
    ['the owner', `UPDATE object SET owner = 'mallory' WHERE type = 'private-key'`],
    ['a date', `UPDATE object SET deactivation = 99999999999999 WHERE type = 'private-key'`],
    ['an attribute', `UPDATE object SET attributes = '{"x-a": 1}' WHERE type = 'private-key'`],
    ['a tag', `UPDATE object SET tags = '{"publish": "jwks"}' WHERE type = 'private-key'`],
    ['the seal itself', `UPDATE object SET seal = decode(repeat('00', 32), 'hex') WHERE type = 'private-key'`],
    ['the seal, taken away', `UPDATE object SET seal = NULL WHERE type = 'private-key'`],
    ['the seal of a version, taken away', `UPDATE object_version SET seal = NULL`],
    ['the size of a version', `UPDATE object_version SET bits = 512`],
    ['when a version was made', `UPDATE object_version SET created = 1`],
  ];
  it.each(TAMPERED)('%s', async (_what, text) => {
    await pair();
    await sql(text);
    const alice = await service();
    await expect(alice('get-public-key', { key: 'invoice' })).rejects.toMatchObject({ fault: { code: 'root-rejected' } });
    await expect(alice('sign', { key: 'invoice', data: new Uint8Array(8) })).rejects.toMatchObject({ fault: { code: 'root-rejected' } });
    const { items } = await test.storage.audit.list(undefined, { operation: 'sign' }, { limit: 5 });
    expect(items[0]).toMatchObject({ outcome: 'refused', fault: 'root-rejected' });
  });

  it('a public key: neither shown nor used', async () => {
    const { publicId } = await pair();
    const mine = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({ type: 'spki', format: 'der' });
    await sql('UPDATE object_version SET public_key = $1', [mine]);
    const alice = await service();
    for (const key of ['invoice', publicId]) {
      await expect(alice('get-public-key', { key })).rejects.toMatchObject({ fault: { code: 'root-rejected' } });
      await expect(alice('verify', { key, data: new Uint8Array(8), signature: new Uint8Array(64) })).rejects.toMatchObject({
        fault: { code: 'root-rejected' },
      });
    }
  });

  it('the seal of another row is none for this one', async () => {
    const { alice, publicId } = await pair();
    await alice('create-key-pair', { spec: 'ec-p256', names: ['other'], usage: ['sign', 'verify'], activate: true });
    await sql(
      `UPDATE object_version v SET public_key = w.public_key, seal = w.seal FROM object_version w
       WHERE v.object_id = $1 AND w.object_id <> $1`,
      [publicId],
    );
    await expect((await service())('get-public-key', { key: publicId })).rejects.toMatchObject({ fault: { code: 'root-rejected' } });
  });

  it('an undone revocation', async () => {
    const { alice } = await pair();
    await alice('revoke', { key: 'invoice', reason: 'key-compromise' });
    await sql(
      `UPDATE object SET state = 'active', revocation = NULL, compromise = NULL, compromise_occurrence = NULL, deactivation = NULL`,
    );
    await expect((await service())('sign', { key: 'invoice', data: new Uint8Array(8) })).rejects.toMatchObject({
      fault: { code: 'root-rejected' },
    });
  });

  it('and counting uses, which moves no seal, finds nobody out', async () => {
    const alice = await service();
    await alice('create-key', {
      ...{ spec: 'hmac-sha256', names: ['mac'], usage: ['mac'], activate: true },
      usageLimits: { unit: 'object', total: 5, remaining: 5 },
    } as never);
    await alice('mac', { key: 'mac', data: new Uint8Array(8) });
    await (await service())('mac', { key: 'mac', data: new Uint8Array(8) });
    expect((await (await service())('get-object', { key: 'mac' })).object.usageLimits?.remaining).toBe(3);
  });
});

describe('the key of the seals', () => {
  it('seals what was there before it was made, once; from then on the database can’t start anew', async () => {
    await pair();
    expect(await sql('SELECT 1 FROM object WHERE seal IS NOT NULL')).toEqual([]);
    seals = await open();
    expect(await sql('SELECT 1 FROM object WHERE seal IS NULL')).toEqual([]);
    expect(await sql('SELECT 1 FROM object_version WHERE seal IS NULL')).toEqual([]);
    await (await service())('get-public-key', { key: 'invoice' });

    seals = await open();
    await (await service())('get-public-key', { key: 'invoice' });
    await sql(`DELETE FROM setting WHERE name = 'record-seal-key'`);
    await sql('UPDATE object SET seal = NULL, exportable = true');
    await expect(open()).rejects.toBeInstanceOf(StartError);
    expect(await sql('SELECT 1 FROM object WHERE seal IS NOT NULL')).toEqual([]);
  });

  it('is of one root and one database: another one is not taken for it', async () => {
    seals = await open();
    pinned = randomUUID();
    await expect(open()).rejects.toThrow(/record seal key/);
  });

  it('that can’t be made yet refuses changes, records that, and is made as soon as it can', async () => {
    let away = true;
    const real = root;
    root = {
      ...real,
      call: (name, request) =>
        away ? Promise.reject(Object.assign(new Error('away'), { name: 'RootFault', code: 'unavailable' })) : real.call(name, request),
    } as typeof root;
    seals = await open();
    const draft: AuditDraft = {
      ...{ tenant: 't', at: 1, plane: 'rest', requestId: 'r', operation: 'create-key', action: 'keys:create', outcome: 'success' },
      actor: { kind: 'human', id: 'a', name: 'a', method: 'token' },
    };
    const change = { kind: 'update-object', object: { id: 'x', tenant: 't' }, expect: 1 } as never;
    expect(await seals.sealing(journal).commit(draft, [change])).toMatchObject({ code: 'root-unavailable' });
    const { items } = await test.storage.audit.list('t', {}, { limit: 5 });
    expect(items).toMatchObject([{ outcome: 'failed', fault: 'root-unavailable' }]);
    away = false;
    await pair();
    await (await service())('get-public-key', { key: 'invoice' });
    expect(pinned).toBeDefined();
  });
});
