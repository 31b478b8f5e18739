import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Change, type ManagedObject, toKeyHandle } from '../../src/domain/index.js';
import { insertOf, makeChainWriter, NOW, sampleObject, samplePolicy, samplePrincipal, sampleToken, sampleVersion } from './samples.js';
import { type TestStorage, withTestStorage } from './test-database.js';

let context: TestStorage;
let writer: ReturnType<typeof makeChainWriter>;
beforeAll(async () => {
  context = await withTestStorage();
  writer = makeChainWriter(context.storage);
});
afterAll(() => context.close());

const load = (object: { tenant: string; id: string }) => context.storage.objects.load(object.tenant, object.id);
/** What another node reads, which has nothing cached. */
const loadElsewhere = async (object: { tenant: string; id: string }) => {
  const other = await context.open(`reader-${randomUUID()}`);
  try {
    return await other.objects.load(object.tenant, object.id);
  } finally {
    await other.close();
  }
};

describe('objects', () => {
  test('everything of an object and its versions comes back as it was stored', async () => {
    const object = sampleObject({
      type: 'private-key',
      spec: 'ec-p256',
      usage: ['sign', 'derive'],
      state: 'compromised',
      archived: true,
      exportable: true,
      protection: 'hsm',
      currentVersion: 2,
      names: ['zweite "Name"', 'a\\b', 'ключ, {x}'],
      description: 'quotes " and \\ and\nlines',
      tags: { team: 'zahlung', 'ünïcode ☃': 'ja' },
      objectGroup: 'gruppe',
      dates: {
        created: NOW,
        initial: NOW - 1,
        activation: NOW + 2,
        processStart: NOW + 3,
        protectStop: NOW + 4,
        deactivation: NOW + 5,
        compromiseOccurrence: 0,
        compromise: NOW + 6,
        destroyDue: NOW + 7,
        destroy: NOW + 8,
        archive: NOW + 9,
        lastChange: NOW + 10,
      },
      usageLimits: { unit: 'byte', total: Number.MAX_SAFE_INTEGER, remaining: 17 },
      rotation: { everyMs: 86_400_000, afterUses: 1000 },
      uses: 5,
      links: [{ type: 'public-key', target: 'other' }],
      revocation: { reason: 'key-compromise', message: 'gone' },
      attributes: { 'kmip:Contact': 'x', 'x-nested': { a: [1, 2.5, null, true, 'é'] }, 'x-empty': '' },
      content: Uint8Array.from([0, 255, 10, 13]),
      lease: { seconds: 60, until: NOW + 60_000 },
      revision: 7,
    });
    const versions = [
      sampleVersion(object.id, {
        version: 2,
        createdAt: NOW + 1,
        publicKey: Uint8Array.from([9, 8, 7]),
        digest: new Uint8Array(32).fill(3),
      }),
      sampleVersion(object.id, { version: 1, state: 'destroyed', reference: new Uint8Array(), destroyedAt: NOW, revision: 3 }),
    ];
    expect(await writer.one(insertOf(object, versions))).toBeUndefined();
    const expected = { object, versions: [versions[1], versions[0]] };
    expect(await load(object)).toEqual(expected);
    expect(await loadElsewhere(object)).toEqual(expected);
  });

  test('an object is found by each of its names, in its own tenant only, and an id wins over a name', async () => {
    const object = sampleObject({ names: ['by-name', 'by-other-name'] });
    const squatter = sampleObject({ names: [object.id] });
    await writer.one(insertOf(object));
    await writer.one(insertOf(squatter));
    for (const ref of ['by-name', 'by-other-name', object.id])
      expect((await context.storage.objects.load('acme', ref))?.object.id).toBe(object.id);
    for (const ref of ['by-name', object.id]) expect(await context.storage.objects.load('globex', ref)).toBeUndefined();
    expect(await context.storage.objects.load('acme', 'no such\0name')).toBeUndefined();
  });

  test('update replaces the row, moves names, and keeps the counters of the store', async () => {
    const object = sampleObject({ names: ['old', 'stays'], usageLimits: { unit: 'object', total: 10, remaining: 10 } });
    await writer.one(insertOf(object));
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: object.id, amount: 4, limited: true });
    const changed: ManagedObject = { ...object, names: ['stays', 'new'], state: 'deactivated', description: 'x', revision: 2 };
    expect(await writer.one({ kind: 'update-object', object: changed, expect: 1 })).toBeUndefined();
    expect((await loadElsewhere(object))?.object).toEqual({
      ...changed,
      uses: 1,
      usageLimits: { unit: 'object', total: 10, remaining: 6 },
    });
    expect((await load(object))?.object.uses).toBe(1);
    expect(await context.storage.objects.load('acme', 'old')).toBeUndefined();
    expect((await context.storage.objects.load('acme', 'new'))?.object.id).toBe(object.id);
  });

  test('update with usage writes the named counter only', async () => {
    const object = sampleObject({ usageLimits: { unit: 'object', total: 10, remaining: 10 } });
    await writer.one(insertOf(object));
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: object.id, amount: 3, limited: true });
    await writer.one({ kind: 'update-object', object: { ...object, uses: 0, revision: 2 }, expect: 1, usage: 'uses' });
    expect((await loadElsewhere(object))?.object).toMatchObject({ uses: 0, usageLimits: { remaining: 7 } });
    const { usageLimits: _, ...unlimited } = { ...object, uses: 99, revision: 3 };
    await writer.one({ kind: 'update-object', object: unlimited, expect: 2, usage: 'limits' });
    const read = await loadElsewhere(object);
    expect(read?.object.usageLimits).toBeUndefined();
    expect(read?.object.uses).toBe(0);
    await writer.one({
      kind: 'update-object',
      object: { ...unlimited, usageLimits: { unit: 'byte', total: 5, remaining: 5 }, revision: 4 },
      expect: 3,
      usage: 'limits',
    });
    expect((await loadElsewhere(object))?.object.usageLimits).toEqual({ unit: 'byte', total: 5, remaining: 5 });
  });

  test('a stale revision is a conflict, a missing object is not found, another tenant’s too', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    const update = (more: Partial<ManagedObject>, expected: number): Change => ({
      kind: 'update-object',
      object: { ...object, ...more },
      expect: expected,
    });
    expect((await writer.one(update({}, 9)))?.code).toBe('conflict');
    expect((await writer.one(update({ id: toKeyHandle('missing') }, 1)))?.code).toBe('not-found');
    expect((await writer.one(update({ tenant: 'globex' }, 1)))?.code).toBe('not-found');
    expect((await load(object))?.object).toEqual(object);
  });

  test('a taken name is refused on insert and update, with the field, and leaves nothing behind', async () => {
    const first = sampleObject({ names: ['taken'] });
    const second = sampleObject({ names: ['free', 'taken'] });
    const third = sampleObject({ names: ['mine'] });
    await writer.one(insertOf(first));
    expect(await writer.one(insertOf(second))).toMatchObject({ code: 'already-exists', field: 'names' });
    expect(await loadElsewhere(second)).toBeUndefined();
    expect(await context.storage.objects.load('acme', 'free')).toBeUndefined();
    await writer.one(insertOf(third));
    expect(
      await writer.one({ kind: 'update-object', object: { ...third, names: ['mine', 'taken'], revision: 2 }, expect: 1 }),
    ).toMatchObject({
      code: 'already-exists',
      field: 'names',
    });
    expect((await loadElsewhere(third))?.object).toEqual(third);
    // The same name in another tenant is another name.
    expect(await writer.one(insertOf(sampleObject({ tenant: 'globex', names: ['taken'] })))).toBeUndefined();
  });

  test('versions are added and updated under their revision; rotation comes in one call', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    const next = sampleVersion(object.id, { version: 2, createdAt: NOW + 5 });
    const old = sampleVersion(object.id, { state: 'superseded', revision: 2 });
    expect(
      await writer.one(
        { kind: 'update-object', object: { ...object, currentVersion: 2, uses: 0, revision: 2 }, expect: 1, usage: 'uses' },
        { kind: 'insert-version', version: next },
        { kind: 'update-version', version: old, expect: 1 },
      ),
    ).toBeUndefined();
    expect((await loadElsewhere(object))?.versions).toEqual([old, next]);
    expect((await load(object))?.versions).toEqual([old, next]);
    expect((await writer.one({ kind: 'insert-version', version: next }))?.code).toBe('conflict');
    expect((await writer.one({ kind: 'update-version', version: old, expect: 1 }))?.code).toBe('conflict');
    expect((await writer.one({ kind: 'insert-version', version: sampleVersion('missing') }))?.code).toBe('not-found');
    expect((await writer.one({ kind: 'insert-version', version: { ...next, version: 3, tenant: 'globex' } }))?.code).toBe('not-found');
  });

  test('a value that the database can not hold is the fault of its call alone', async () => {
    const good = sampleObject();
    const bad = sampleObject({ description: 'zero \0 character' });
    const deep = sampleObject({ attributes: { 'x-a': 'zero \0' } });
    const long = sampleObject({ names: [randomBytes(8_000).toString('hex')] });
    const faults = await writer.commit([[insertOf(bad)], [insertOf(good)], [insertOf(deep)], [insertOf(long)]]);
    expect(faults.map((fault) => fault?.code)).toEqual(['invalid-request', undefined, 'invalid-request', 'invalid-request']);
    expect(await load(good)).toBeDefined();
  });
});

describe('usage', () => {
  test('limits are never exceeded by concurrent groups of several chains', async () => {
    const object = sampleObject({ usageLimits: { unit: 'object', total: 25, remaining: 25 } });
    await writer.one(insertOf(object));
    const writers = Array.from({ length: 4 }, () => makeChainWriter(context.storage));
    const consume: Change = { kind: 'consume-usage', tenant: 'acme', objectId: object.id, amount: 1, limited: true };
    const faults = (
      await Promise.all(
        writers.map(async (each) => {
          const all = [];
          for (let round = 0; round < 5; round += 1) all.push(...(await each.commit([[consume], [consume]])));
          return all;
        }),
      )
    ).flat();
    expect(faults.filter((fault) => fault === undefined)).toHaveLength(25);
    expect(new Set(faults.map((fault) => fault?.code))).toEqual(new Set([undefined, 'usage-limit-reached']));
    expect((await loadElsewhere(object))?.object).toMatchObject({ uses: 25, usageLimits: { remaining: 0 } });
    expect((await load(object))?.object.usageLimits?.remaining).toBe(0);
  });

  test('unlimited uses are counted exactly, many per group and chain, and the cached object follows', async () => {
    const objects = [sampleObject(), sampleObject()] as const;
    await writer.one(...objects.map((object) => insertOf(object)));
    const use = (index: number, uses?: number): Change => ({
      kind: 'consume-usage',
      tenant: 'acme',
      objectId: (objects[index] as ManagedObject).id,
      amount: 7,
      limited: false,
      ...(uses === undefined ? {} : { uses }),
    });
    const writers = Array.from({ length: 4 }, () => makeChainWriter(context.storage));
    await Promise.all(
      writers.map(async (each) => {
        for (let round = 0; round < 10; round += 1) await each.commit([[use(0)], [use(1), use(0)], [use(1, 10)], []]);
      }),
    );
    expect((await loadElsewhere(objects[0]))?.object.uses).toBe(80);
    expect((await loadElsewhere(objects[1]))?.object.uses).toBe(440);
    expect((await load(objects[1]))?.object.uses).toBe(440);
  });

  test('uses of another tenant’s object change nothing, and a failed call counts nothing', async () => {
    const object = sampleObject();
    await writer.one(insertOf(object));
    const use: Change = { kind: 'consume-usage', tenant: 'globex', objectId: object.id, amount: 1, limited: false };
    await writer.one(use);
    await writer.one({ ...use, limited: true });
    expect((await writer.one({ ...use, tenant: 'acme' }, { kind: 'update-object', object, expect: 9 }))?.code).toBe('conflict');
    expect((await loadElsewhere(object))?.object.uses).toBe(0);
  });

  test('a negative amount never refills a limit', async () => {
    const object = sampleObject({ usageLimits: { unit: 'object', total: 5, remaining: 1 } });
    await writer.one(insertOf(object));
    const fault = await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: object.id, amount: -3, limited: true });
    expect(fault?.code).toBe('usage-limit-reached');
    expect((await loadElsewhere(object))?.object.usageLimits?.remaining).toBe(1);
  });
});

describe('groups', () => {
  test('items fail alone, each wholly, in any mixture', async () => {
    const kept = sampleObject({ names: ['kept'] });
    const half = sampleObject();
    const late = sampleObject();
    const principal = samplePrincipal();
    const faults = await writer.commit([
      [insertOf(kept)],
      [insertOf(half), insertOf(sampleObject({ names: ['kept'] }))],
      [insertOf(late), { kind: 'update-object', object: { ...kept, revision: 5 }, expect: 4 }],
      [{ kind: 'insert-principal', principal }],
      [{ kind: 'update-object', object: { ...kept, description: 'later', revision: 2 }, expect: 1 }],
      [],
    ]);
    expect(faults.map((fault) => fault?.code)).toEqual([undefined, 'already-exists', 'conflict', undefined, undefined, undefined]);
    expect((await loadElsewhere(kept))?.object.description).toBe('later');
    expect((await load(kept))?.object.description).toBe('later');
    for (const gone of [half, late]) expect(await loadElsewhere(gone)).toBeUndefined();
    expect(await context.storage.identity.principal('acme', principal.id)).toEqual(principal);
  });

  test('each item has its record with its outcome, in order', async () => {
    const object = sampleObject({ names: ['recorded'] });
    const requestId = randomUUID();
    await writer.commit([[insertOf(object)], [insertOf(sampleObject({ names: ['recorded'] }))], []], (_, index) => ({
      requestId,
      detail: { index },
    }));
    const { items } = await context.storage.audit.list('acme', { requestId }, { limit: 10 });
    expect(items.map((record) => [record.detail?.['index'], record.outcome, record.fault])).toEqual([
      [2, 'success', undefined],
      [1, 'failed', 'already-exists'],
      [0, 'success', undefined],
    ]);
  });

  test('when the records can not be made, nothing is changed', async () => {
    const object = sampleObject();
    await expect(
      context.storage.journal.commitGroup([{ changes: [insertOf(object)] }], () => {
        throw new Error('no record');
      }),
    ).rejects.toThrow('no record');
    await expect(context.storage.journal.commitGroup([{ changes: [insertOf(object)] }], () => [])).rejects.toThrow(/record/);
    expect(await loadElsewhere(object)).toBeUndefined();
    expect(await writer.one(insertOf(object))).toBeUndefined();
  });

  test('a chain can not be forked, skipped or begun in the middle', async () => {
    const boot = randomUUID();
    const first = makeChainWriter(context.storage, 'node-1', boot);
    const twin = makeChainWriter(context.storage, 'node-1', boot);
    await first.one();
    const object = sampleObject();
    await expect(twin.one()).rejects.toMatchObject({ cause: { code: '23502' } });
    await expect(twin.one(insertOf(object))).rejects.toMatchObject({ cause: { code: '23502' } });
    expect(await loadElsewhere(object)).toBeUndefined();
    await first.one();
    const head = (await context.storage.audit.heads()).find((link) => link.boot === boot);
    expect(head).toMatchObject({ node: 'node-1', sequence: 2, hash: first.head().hash });
  });
});

describe('principals, tokens, certificates, policies, settings', () => {
  test('principals: kinds, revisions, names, deletion', async () => {
    const human = samplePrincipal({ kind: 'human', name: 'Ada', tags: { team: 'x' }, roles: ['admin', 'operator'] });
    const agent = samplePrincipal({ kind: 'agent', parentId: human.id, purpose: 'tests', model: 'm' });
    await writer.one({ kind: 'insert-principal', principal: human });
    await writer.one({ kind: 'insert-principal', principal: agent });
    const { identity } = context.storage;
    expect(await identity.principal(undefined, agent.id)).toEqual(agent);
    expect(await identity.principal('acme', human.id)).toEqual(human);
    expect(await identity.principal('globex', human.id)).toBeUndefined();
    expect(await writer.one({ kind: 'insert-principal', principal: samplePrincipal({ name: 'Ada' }) })).toMatchObject({
      code: 'already-exists',
      field: 'name',
    });
    const disabled = { ...human, disabled: true, revision: 2 };
    expect(await writer.one({ kind: 'update-principal', principal: disabled, expect: 1 })).toBeUndefined();
    expect(await identity.principal('acme', human.id)).toEqual(disabled);
    expect((await writer.one({ kind: 'update-principal', principal: disabled, expect: 1 }))?.code).toBe('conflict');
    expect((await writer.one({ kind: 'update-principal', principal: { ...disabled, tenant: 'globex' }, expect: 2 }))?.code).toBe(
      'not-found',
    );
    expect((await writer.one({ kind: 'delete-principal', tenant: 'globex', id: human.id }))?.code).toBe('not-found');
    expect(await writer.one({ kind: 'delete-principal', tenant: 'acme', id: human.id })).toBeUndefined();
    expect(await identity.principal('acme', human.id)).toBeUndefined();
  });

  test('tokens: by hash, revoked once, all of a principal, gone with it; revocation reaches the cache', async () => {
    const principal = samplePrincipal();
    const tokens = [
      sampleToken(principal, { scope: ['keys:*'], expiresAt: NOW + 1 }),
      sampleToken(principal),
      sampleToken(principal),
    ] as const;
    await writer.one({ kind: 'insert-principal', principal });
    for (const token of tokens) await writer.one({ kind: 'insert-token', token });
    const { identity } = context.storage;
    expect(await identity.tokenByHash(tokens[0].hash)).toEqual({ ...tokens[0], hash: new Uint8Array(tokens[0].hash) });
    expect(await identity.tokenByHash(new Uint8Array(32))).toBeUndefined();
    expect(await writer.one({ kind: 'revoke-token', tenant: 'acme', id: tokens[0].id, at: NOW + 5 })).toBeUndefined();
    await writer.one({ kind: 'revoke-token', tenant: 'acme', id: tokens[0].id, at: NOW + 9 });
    expect((await identity.tokenByHash(tokens[0].hash))?.revokedAt).toBe(NOW + 5);
    expect((await writer.one({ kind: 'revoke-token', tenant: 'globex', id: tokens[1].id, at: NOW }))?.code).toBe('not-found');
    await identity.tokenByHash(tokens[1].hash);
    await writer.one({ kind: 'revoke-tokens-of', tenant: 'acme', principalId: principal.id, at: NOW + 7 });
    expect((await identity.tokenByHash(tokens[1].hash))?.revokedAt).toBe(NOW + 7);
    expect((await identity.token('acme', tokens[2].id))?.revokedAt).toBe(NOW + 7);
    const listed = await identity.listTokens('acme', { principalId: principal.id }, { limit: 10 });
    expect(listed.items).toHaveLength(3);
    expect(JSON.stringify(listed.items)).not.toContain('hash');
    await writer.one({ kind: 'delete-principal', tenant: 'acme', id: principal.id });
    expect(await identity.tokenByHash(tokens[1].hash)).toBeUndefined();
    expect((await writer.one({ kind: 'insert-token', token: sampleToken(principal) }))?.code).toBe('not-found');
  });

  test('certificates: every condition has to hold, the most specific wins, a tie is nobody', async () => {
    const [byPrint, bySubject, byName, second] = Array.from({ length: 4 }, () => samplePrincipal()) as [never, never, never, never];
    const people = [byPrint, bySubject, byName, second] as ReturnType<typeof samplePrincipal>[];
    for (const principal of people) await writer.one({ kind: 'insert-principal', principal });
    const bind = (index: number, binding: object) =>
      writer.one({
        kind: 'set-certificate-binding',
        principalId: people[index]?.id ?? '',
        tenant: 'acme',
        binding: { principalId: people[index]?.id ?? '', tenant: 'acme', ...binding },
      });
    await bind(0, { fingerprint: 'aa', subject: 'CN=x' });
    await bind(1, { subject: 'CN=x' });
    await bind(2, { subjectAltName: 'DNS:x' });
    await bind(3, { subjectAltName: 'DNS:y' });
    const find = async (fingerprint: string, subject: string, ...subjectAltNames: string[]) =>
      (await context.storage.identity.certificateBinding({ fingerprint, subject, subjectAltNames }))?.principalId;
    expect(await find('aa', 'CN=x')).toBe(people[0]?.id);
    expect(await find('aa', 'CN=other')).toBeUndefined();
    expect(await find('bb', 'CN=x')).toBe(people[1]?.id);
    expect(await find('bb', 'CN=x', 'DNS:x')).toBe(people[2]?.id);
    expect(await find('bb', 'CN=x', 'DNS:x', 'DNS:y')).toBeUndefined();
    expect((await bind(3, { subject: 'CN=x' }))?.code).toBe('already-exists');
    await writer.one({ kind: 'set-certificate-binding', principalId: people[1]?.id ?? '', tenant: 'acme', binding: null });
    expect(await find('bb', 'CN=x')).toBeUndefined();
  });

  test('policies: versions, the active one, expectations, deletion, history', async () => {
    const { policies } = context.storage;
    const put = (version: number, expectVersion?: number) =>
      writer.one({
        kind: 'put-policy',
        document: samplePolicy({ version, source: `v${version}` }),
        ...(expectVersion === undefined ? {} : { expectVersion }),
      });
    expect(await put(1, 0)).toBeUndefined();
    expect((await put(2, 0))?.code).toBe('conflict');
    expect(await put(2, 1)).toBeUndefined();
    expect((await put(2))?.code).toBe('conflict');
    expect((await policies.document('acme', 'base'))?.version).toBe(2);
    expect(await policies.document('acme', 'base', 1)).toEqual(samplePolicy({ version: 1, source: 'v1', active: false }));
    expect(await policies.document('globex', 'base')).toBeUndefined();
    expect((await policies.active()).map((document) => document.version)).toEqual([2]);
    expect((await policies.history('acme', 'base', { limit: 10 })).items.map((document) => document.version)).toEqual([2, 1]);
    expect(await writer.one({ kind: 'delete-policy', tenant: 'acme', name: 'base' })).toBeUndefined();
    expect((await writer.one({ kind: 'delete-policy', tenant: 'acme', name: 'base' }))?.code).toBe('not-found');
    expect(await policies.active()).toEqual([]);
    expect(await put(3, 0)).toBeUndefined();
    expect((await policies.list('acme', { limit: 5 })).items.map((document) => document.version)).toEqual([3]);
  });

  test('settings of any JSON shape, per tenant', async () => {
    const { settings } = context.storage;
    for (const value of [{ a: [1, 'x', null] }, 'text', 0, false, null]) {
      await writer.one({ kind: 'put-setting', tenant: 'acme', name: 'shape', value });
      expect(await settings.setting('acme', 'shape')).toEqual(value);
    }
    expect(await settings.setting('globex', 'shape')).toBeUndefined();
  });
});
