import { expect } from 'vitest';
import { type BehaviourCase, refusalOf } from './behaviour-case.js';

const AES = { generate: ['aes-256'] } as const;

export const metadataCases: readonly BehaviourCase[] = [
  {
    name: 'updates names, tags, description and attributes; attributes merge and null deletes',
    needs: AES,
    run: async ({ alice, name }) => {
      const [first, second] = [name('a'), name('b')];
      const { object } = await alice('create-key', {
        spec: 'aes-256',
        names: [first],
        attributes: { 'x-a': 1, 'x-b': { c: [true] } },
        description: 'old',
      });
      const after = await alice('update-object', {
        key: first,
        names: [first, second],
        tags: { env: 'prod' },
        description: null,
        attributes: { 'x-a': null, 'x-d': 'new' },
      });
      expect(after.object).toMatchObject({ names: [first, second], tags: { env: 'prod' } });
      expect(after.object).not.toHaveProperty('description');
      expect(after.object.attributes).toEqual({ 'x-b': { c: [true] }, 'x-d': 'new' });
      expect((await alice('get-object', { key: second })).object.id).toBe(object.id);
    },
  },
  {
    name: 'keeps a lost update from happening',
    needs: AES,
    run: async ({ alice, bob }) => {
      const { object } = await alice('create-key', { spec: 'aes-256' });
      const after = await alice('update-object', { key: object.id, revision: object.revision, tags: { by: 'alice' } });
      expect(after.object.revision).toBeGreaterThan(object.revision);
      expect((await refusalOf(bob('update-object', { key: object.id, revision: object.revision, tags: { by: 'bob' } }))).code).toBe(
        'conflict',
      );
      expect((await bob('get-object', { key: object.id })).object.tags).toEqual({ by: 'alice' });
    },
  },
  {
    name: 'keeps its own attributes to itself',
    needs: AES,
    run: async ({ alice }) => {
      for (const attributes of [{ 'x-aegis-pair': 'other' }, { 'X-Aegis-Import-Wrapping-Key': true }]) {
        expect((await refusalOf(alice('create-key', { spec: 'aes-256', attributes }))).code).toBe('attribute-read-only');
      }
      const { object } = await alice('create-key', { spec: 'aes-256' });
      expect((await refusalOf(alice('update-object', { key: object.id, attributes: { 'x-aegis-pair': null } }))).code).toBe(
        'attribute-read-only',
      );
    },
  },
  {
    name: 'refuses attributes and tags without bounds',
    needs: AES,
    run: async ({ alice }) => {
      const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`t${i}`, 'x']));
      expect((await refusalOf(alice('create-key', { spec: 'aes-256', tags: many }))).field).toBe('tags');
      expect((await refusalOf(alice('create-key', { spec: 'aes-256', attributes: { 'x-big': 'x'.repeat(200_000) } }))).field).toBe(
        'attributes',
      );
      let deep: unknown = 1;
      for (let i = 0; i < 50; i += 1) deep = [deep];
      expect((await refusalOf(alice('create-key', { spec: 'aes-256', attributes: { 'x-deep': deep } }))).field).toBe('attributes.x-deep');
    },
  },
  {
    name: 'settles dates that have passed',
    needs: AES,
    run: async ({ alice }) => {
      const now = Date.now();
      const { object } = await alice('create-key', { spec: 'aes-256' });
      const future = now + 86_400_000;
      await alice('update-object', { key: object.id, dates: { activation: future } });
      const active = await alice('update-object', { key: object.id, dates: { activation: now - 1000 } });
      expect(active.object.state).toBe('active');
      expect((await refusalOf(alice('update-object', { key: object.id, dates: { activation: future } }))).code).toBe('attribute-read-only');
      const ended = await alice('update-object', { key: object.id, dates: { deactivation: now - 500 } });
      expect(ended.object.state).toBe('deactivated');
      expect((await refusalOf(alice('update-object', { key: object.id, dates: { deactivation: future } }))).code).toBe(
        'attribute-read-only',
      );
    },
  },
  {
    name: 'grants a lease and no longer than allowed',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256' });
      const leased = await alice('update-object', { key: object.id, lease: { seconds: 3600 } });
      expect(leased.object.lease?.seconds).toBe(3600);
      expect(leased.object.lease?.until).toBeGreaterThan(object.dates.created);
      expect((await refusalOf(alice('update-object', { key: object.id, lease: { seconds: 10 ** 9 } }))).field).toBe('lease.seconds');
    },
  },
  {
    name: 'shows nothing of one tenant to another',
    needs: AES,
    run: async ({ alice, stranger, name }) => {
      const label = name('secret');
      const { object } = await alice('create-key', { spec: 'aes-256', names: [label], activate: true });
      const { ciphertext } = await alice('encrypt', { key: label, plaintext: Uint8Array.of(1) });
      for (const key of [label, object.id, `${object.id}@1`]) {
        expect((await refusalOf(stranger('get-object', { key }))).code).toBe('not-found');
        expect((await refusalOf(stranger('destroy', { key, pendingMs: 0 }))).code).toBe('not-found');
      }
      expect((await refusalOf(stranger('decrypt', { ciphertext }))).code).toBe('not-found');
      expect((await stranger('locate', { name: label })).items).toHaveLength(0);
      const own = await stranger('create-key', { spec: 'aes-256', names: [label] });
      expect(own.object.id).not.toBe(object.id);
    },
  },
];
