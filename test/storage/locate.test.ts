import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LocateFilter, ManagedObject } from '../../src/domain/index.js';
import type { ObjectStore } from '../../src/storage/ports.js';
import { insertOf, makeChainWriter, NOW, sampleObject, sampleVersion } from './samples.js';
import { type TestStorage, withTestStorage } from './test-database.js';

let context: TestStorage;
let objects: ObjectStore;
const all: ManagedObject[] = [];

const names = ['a', 'ab', 'abc', 'a%b', 'a_b', 'a\\b', 'ünï', 'ü', "o'hara", 'zz', '', ' '];
/** A deterministic choice, so that a failure can be repeated. */
const pick = <T>(list: readonly T[], seed: number): T => list[seed % list.length] as T;

beforeAll(async () => {
  context = await withTestStorage();
  objects = context.storage.objects;
  for (let index = 0; index < 240; index += 1)
    all.push(
      sampleObject({
        tenant: index % 5 === 0 ? 'globex' : 'acme',
        type: pick(['symmetric-key', 'private-key', 'public-key', 'certificate'], index),
        ...(index % 3 === 0 ? { objectGroup: pick(['g1', 'g2'], index) } : {}),
        state: pick(['pre-active', 'active', 'deactivated', 'destroyed'], index >> 1),
        archived: index % 7 === 0,
        rootId: pick(['soft', 'hsm'], index >> 2),
        usage: pick([['sign'], ['sign', 'verify'], ['encrypt', 'decrypt'], []] as const, index >> 1),
        names: index < names.length * 5 ? [`${pick(names, Math.floor(index / 5))}#${index % 5}`, `n-${index}`] : [],
        tags: index % 4 === 0 ? {} : { team: pick(['x', 'y'], index), n: String(index % 3) },
        attributes: index % 4 === 1 ? {} : { 'x-n': index % 6, 'x-deep': { a: [index % 2] } },
        links: index % 6 === 0 ? [{ type: 'parent', target: `t${index % 4}` }] : [],
        owner: pick(['alice', 'bob'], index >> 3),
        // Many objects share a moment: the order then depends on the id.
        dates: { created: NOW + (index % 20), lastChange: NOW, ...(index % 2 === 0 ? { activation: NOW + (index % 9) } : {}) },
      }),
    );
  const [first] = all;
  const { spec: _, ...withoutSpec } = first as ManagedObject;
  all[0] = withoutSpec;
  const writer = makeChainWriter(context.storage);
  await writer.commit(all.map((object) => [insertOf(object)]));
});
afterAll(() => context.close());

const contains = (whole: unknown, part: unknown): boolean => {
  if (Array.isArray(part)) return Array.isArray(whole) && part.every((item) => whole.some((other) => contains(other, item)));
  if (typeof part === 'object' && part !== null)
    return (
      typeof whole === 'object' &&
      whole !== null &&
      Object.entries(part).every(([key, value]) => key in whole && contains((whole as Record<string, unknown>)[key], value))
    );
  return whole === part;
};

/** What the filter means, in plain words of code. */
const matches = (object: ManagedObject, filter: LocateFilter): boolean => {
  const inRange = (value: number | undefined, range: readonly [number, number] | undefined) =>
    range === undefined || (value !== undefined && value >= range[0] && value <= range[1]);
  return (
    (filter.archived === 'any' || object.archived === (filter.archived ?? false)) &&
    (filter.types?.includes(object.type) ?? true) &&
    (filter.states?.includes(object.state) ?? true) &&
    (filter.specs === undefined || (object.spec !== undefined && filter.specs.includes(object.spec))) &&
    (filter.name === undefined || object.names.includes(filter.name)) &&
    (filter.namePrefix === undefined || object.names.some((name) => name.startsWith(filter.namePrefix as string))) &&
    (filter.rootId === undefined || object.rootId === filter.rootId) &&
    (filter.objectGroup === undefined || object.objectGroup === filter.objectGroup) &&
    (filter.owner === undefined || object.owner === filter.owner) &&
    (filter.usage?.every((usage) => object.usage.includes(usage)) ?? true) &&
    contains(object.tags, filter.tags ?? {}) &&
    contains(object.attributes, filter.attributes ?? {}) &&
    (filter.link === undefined || object.links.some((link) => link.type === filter.link?.type && link.target === filter.link.target)) &&
    inRange(object.dates.created, filter.createdBetween) &&
    inRange(object.dates.activation, filter.activationBetween)
  );
};
const expected = (tenant: string, filter: LocateFilter): string[] =>
  all
    .filter((object) => object.tenant === tenant && matches(object, filter))
    .sort((a, b) => b.dates.created - a.dates.created || (a.id < b.id ? 1 : -1))
    .map((object) => object.id);

const range = fc.tuple(fc.integer({ min: NOW - 1, max: NOW + 21 }), fc.integer({ min: NOW - 1, max: NOW + 21 }));
const filters = fc.record(
  {
    types: fc.subarray(['symmetric-key', 'private-key', 'public-key', 'certificate'] as const, { minLength: 1 }),
    states: fc.subarray(['pre-active', 'active', 'deactivated', 'destroyed'] as const),
    specs: fc.subarray(['aes-256', 'ec-p256'] as const),
    name: fc.oneof(fc.constantFrom('a%b#1', 'n-3', 'ü#2', 'none', '#0'), fc.string()),
    namePrefix: fc.oneof(fc.constantFrom('a', 'a%', 'a_', 'a\\', 'n-1', 'ü', '', '%', '#'), fc.string({ maxLength: 2 })),
    rootId: fc.constantFrom('soft', 'hsm', 'none'),
    objectGroup: fc.constantFrom('g1', 'g2', 'none'),
    usage: fc.subarray(['sign', 'verify', 'encrypt'] as const),
    tags: fc.constantFrom({}, { team: 'x' }, { team: 'y', n: '1' }, { team: 'none' }, { "t'": '"\\' }, { z: '\0' }),
    attributes: fc.constantFrom<Record<string, unknown>[]>({}, { 'x-n': 3 }, { 'x-deep': { a: [1] } }, { 'x-n': '3' }),
    link: fc.constantFrom({ type: 'parent', target: 't0' }, { type: 'child', target: 't0' }),
    archived: fc.constantFrom<(boolean | 'any')[]>(true, false, 'any'),
    owner: fc.constantFrom('alice', 'bob', 'eve\0'),
    createdBetween: range,
    activationBetween: range,
  },
  { requiredKeys: [] },
) as fc.Arbitrary<LocateFilter>;
/** At most three conditions at a time: with more, nearly nothing matches. */
const someFilters = fc
  .tuple(
    filters,
    fc.shuffledSubarray(
      Object.keys({
        types: 0,
        states: 0,
        specs: 0,
        name: 0,
        namePrefix: 0,
        rootId: 0,
        objectGroup: 0,
        usage: 0,
        tags: 0,
        attributes: 0,
        link: 0,
        archived: 0,
        owner: 0,
        createdBetween: 0,
        activationBetween: 0,
      }),
      { maxLength: 3 },
    ),
  )
  .map(([filter, keys]) => Object.fromEntries(Object.entries(filter).filter(([key]) => keys.includes(key))) as LocateFilter);

describe('locate', () => {
  test('finds exactly what the filter means, in order, whole or page by page', async () => {
    let found = 0;
    await fc.assert(
      fc.asyncProperty(
        someFilters,
        fc.constantFrom('acme', 'globex', 'nobody'),
        fc.integer({ min: 1, max: 60 }),
        async (filter, tenant, limit) => {
          const want = expected(tenant, filter);
          const whole = await objects.locate(tenant, filter, { limit: 1000, countTotal: true });
          expect(whole.items.map((object) => object.id)).toEqual(want);
          expect(whole.total).toBe(want.length);
          expect(whole.next).toBeUndefined();
          const paged: string[] = [];
          for (let cursor: string | undefined; ; ) {
            const page = await objects.locate(tenant, filter, { limit, ...(cursor === undefined ? {} : { cursor }) });
            expect(page.items.length).toBeLessThanOrEqual(limit);
            paged.push(...page.items.map((object) => object.id));
            cursor = page.next;
            if (cursor === undefined) break;
          }
          expect(paged).toEqual(want);
          const offset = await objects.locate(tenant, filter, { limit, offset: 2 });
          expect(offset.items.map((object) => object.id)).toEqual(want.slice(2, 2 + limit));
          found += want.length;
        },
      ),
      { numRuns: 250 },
    );
    expect(found).toBeGreaterThan(1_000);
  });

  test('a located object is the whole object', async () => {
    const { items } = await objects.locate('acme', { name: 'n-3' }, { limit: 1 });
    expect(items).toEqual([all[3]]);
  });

  test('a cursor of another listing, a broken one and bad sizes are refused', async () => {
    const { next } = await objects.locate('acme', {}, { limit: 1 });
    expect(next).toBeDefined();
    const refused = (work: Promise<unknown>, field: string) =>
      expect(work).rejects.toMatchObject({ fault: { code: 'invalid-field', field } });
    await refused(objects.locate('globex', {}, { limit: 1, cursor: next as string }), 'cursor');
    await refused(objects.locate('acme', { owner: 'bob' }, { limit: 1, cursor: next as string }), 'cursor');
    for (const cursor of ['', 'x', '!!', 'e30', Buffer.from('[1,2,3]').toString('base64url'), 'a'.repeat(5_000)])
      await refused(objects.locate('acme', {}, { limit: 1, cursor }), 'cursor');
    for (const limit of [0, -1, 1.5, Number.NaN]) await refused(objects.locate('acme', {}, { limit }), 'limit');
    for (const offset of [-1, 0.5, 1e12]) await refused(objects.locate('acme', {}, { limit: 1, offset }), 'offset');
  });

  test('count is of the tenant', async () => {
    expect(await objects.count('acme')).toBe(192);
    expect(await objects.count('globex')).toBe(48);
    expect(await objects.count('nobody')).toBe(0);
  });
});

describe('due', () => {
  test('finds exactly the objects whose date or count has come, oldest first, with their versions', async () => {
    const writer = makeChainWriter(context.storage);
    const at = (offset: number) => 1_000 + offset;
    const make = (label: string, more: Partial<ManagedObject>, dates: object = {}) =>
      sampleObject({ ...more, description: label, dates: { created: NOW, lastChange: NOW, ...dates } });
    const young = { createdAt: at(50) };
    const cases: [ManagedObject, number?][] = [
      [make('activation', { state: 'pre-active' }, { activation: at(10) })],
      [make('activated already', { state: 'active' }, { activation: at(1) })],
      [make('deactivation', { state: 'active' }, { deactivation: at(5) })],
      [make('deactivated already', { state: 'deactivated' }, { deactivation: at(1) })],
      [make('destroy of a destroyed one', { state: 'destroyed' }, { destroyDue: at(7) })],
      [make('destroy', { state: 'compromised' }, { destroyDue: at(3) })],
      [make('age', { state: 'active', rotation: { everyMs: 20 } })],
      [make('age of a deactivated one', { state: 'deactivated', rotation: { everyMs: 1 } })],
      [make('later', { state: 'active' }, { deactivation: at(500) })],
      [make('count', { state: 'active', rotation: { afterUses: 3 } })],
      [make('count of another', { state: 'active', rotation: { afterUses: 3 } })],
    ];
    await writer.commit(cases.map(([object]) => [insertOf(object, [sampleVersion(object.id, young)])]));
    const counted = cases.find(([object]) => object.description === 'count')?.[0] as ManagedObject;
    const less = cases.find(([object]) => object.description === 'count of another')?.[0] as ManagedObject;
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: counted.id, amount: 1, limited: false, uses: 2 });
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: less.id, amount: 1, limited: false, uses: 2 });
    expect((await context.storage.objects.due(at(100), 50)).map(({ object }) => object.description)).not.toContain('count');
    await writer.one({ kind: 'consume-usage', tenant: 'acme', objectId: counted.id, amount: 1, limited: false });
    const due = await context.storage.objects.due(at(100), 50);
    expect(due.map(({ object }) => object.description)).toEqual([
      'count',
      'destroy',
      'deactivation',
      'destroy of a destroyed one',
      'activation',
      'age',
    ]);
    expect(due.every(({ versions }) => versions.length === 1)).toBe(true);
    expect((await context.storage.objects.due(at(100), 2)).map(({ object }) => object.description)).toEqual(['count', 'destroy']);
    // Rotated: neither its count nor its age is due any more.
    const aged = cases.find(([object]) => object.description === 'age')?.[0] as ManagedObject;
    for (const object of [counted, aged])
      await writer.one(
        { kind: 'update-object', object: { ...object, currentVersion: 2, uses: 0, revision: 2 }, expect: 1, usage: 'uses' },
        { kind: 'insert-version', version: sampleVersion(object.id, { version: 2, createdAt: at(90) }) },
      );
    expect((await context.storage.objects.due(at(100), 50)).map(({ object }) => object.description)).not.toContain('age');
    expect((await context.storage.objects.due(at(100), 50)).map(({ object }) => object.description)).not.toContain('count');
    expect((await context.storage.objects.due(at(111), 50)).map(({ object }) => object.description)).toContain('age');
  });
});

describe('versions of a root', () => {
  test('are paged in order, without destroyed and public ones', async () => {
    const writer = makeChainWriter(context.storage);
    const made = Array.from({ length: 7 }, () => sampleObject({ rootId: 'paged', tenant: 'globex', currentVersion: 2 }));
    for (const object of made)
      await writer.one(
        insertOf(object, [
          sampleVersion(object.id, { tenant: 'globex', rootId: 'paged', state: 'superseded' }),
          sampleVersion(object.id, { tenant: 'globex', rootId: 'paged', version: 2 }),
          sampleVersion(object.id, { tenant: 'globex', rootId: 'paged', version: 3, state: 'destroyed', reference: new Uint8Array() }),
        ]),
      );
    const seen: string[] = [];
    for (let after: { objectId: string; version: number } | undefined; ; ) {
      const page = await context.storage.objects.versionsOfRoot('paged', after, 3);
      if (page.length === 0) break;
      for (const { object, version } of page) {
        expect(object.id).toBe(version.objectId);
        seen.push(`${version.objectId} ${version.version}`);
      }
      const last = page[page.length - 1]?.version;
      after = { objectId: last?.objectId ?? '', version: last?.version ?? 0 };
    }
    expect(seen).toEqual(made.flatMap((object) => [`${object.id} 1`, `${object.id} 2`]).sort());
  });
});
