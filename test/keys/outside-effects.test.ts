import { RootFault } from '@aegis/rot-spi';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, utf8 } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { asTokenRoot, openTestRoot, type TokenRoot } from './test-roots.js';

const inner = openTestRoot('inner');
let token: TokenRoot;
let s: TestService;
beforeEach(async () => {
  token = asTokenRoot(await inner);
  s = makeTestService(new Map([['token', token]]));
});

describe('a token object whose commit did not happen', () => {
  test.each([
    ['create-key', { spec: 'aes-256', names: ['n'] }],
    ['create-key-pair', { spec: 'ec-p256', names: ['n'] }],
    ['register', { type: 'symmetric-key', spec: 'aes-256', format: 'raw', material: new Uint8Array(32), names: ['n'] }],
  ] as const)('%s: is destroyed again', async (operation, request) => {
    s.store.failures.push({ code: 'already-exists', message: 'taken' });
    expect((await refusalOf(s.alice(operation, request as never))).code).toBe('already-exists');
    expect(token.onToken()).toEqual([]);
    expect(s.store.objects.size).toBe(0);
  });

  test('rotate: the new object goes, the old one stays', async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256', activate: true });
    const before = token.onToken();
    s.store.failures.push({ code: 'storage-unavailable', message: 'down' });
    await refusalOf(s.alice('rotate', { key: object.id }));
    expect(token.onToken()).toEqual(before);
    await s.alice('encrypt', { key: object.id, plaintext: utf8('x') });
  });

  test('is left alone when the store says the commit did happen after all', async () => {
    // The answer got lost, the transaction did not: the store has the object.
    const commit = s.store.commit.bind(s.store);
    s.store.commit = async (record, changes) => {
      const fault = await commit(record, changes);
      if (changes.length > 0) throw new Error('connection lost');
      return fault;
    };
    await refusalOf(s.alice('create-key', { spec: 'aes-256', names: ['n'] }));
    expect(token.onToken()).toHaveLength(1);
    s.store.commit = commit;
    const key = await s.alice('get-object', { key: 'n' });
    await s.alice('activate', { key: key.object.id });
    await s.alice('encrypt', { key: 'n', plaintext: utf8('x') });
  });

  test('is left alone while the store cannot say', async () => {
    s.store.failures.push(new Error('connection lost'));
    const load = s.store.load.bind(s.store);
    s.store.load = async () => {
      throw new Error('connection lost');
    };
    await refusalOf(s.alice('create-key', { spec: 'aes-256' }));
    s.store.load = load;
    expect(token.onToken()).toHaveLength(1);
  });
});

describe('destroying what lives on a token', () => {
  const destroyed = async () => {
    const { object } = await s.alice('create-key', { spec: 'aes-256' });
    await s.alice('rotate', { key: object.id });
    expect(token.onToken()).toHaveLength(2);
    return object.id;
  };

  test('happens after the commit, and the reference is cleared once the root has confirmed', async () => {
    const key = await destroyed();
    const view = await s.alice('destroy', { key, pendingMs: 0 });
    expect(view.object.state).toBe('destroyed');
    expect(view.object.dates).not.toHaveProperty('destroyDue');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(token.onToken()).toEqual([]);
    await s.scheduler.tick();
    expect(s.store.objects.get(key)?.dates).not.toHaveProperty('destroyDue');
    expect(s.store.versions.get(key)?.every((v) => v.reference.length === 0)).toBe(true);
    expect(s.store.records.at(-1)).toMatchObject({ operation: 'destroy', detail: { phase: 'root-confirmed', versions: 2 } });
    expect(await s.scheduler.tick()).toBe(false);
  });

  test('does not happen when the commit fails', async () => {
    const key = await destroyed();
    s.store.failures.push({ code: 'storage-unavailable', message: 'down' });
    await refusalOf(s.alice('destroy', { key, pendingMs: 0 }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(token.onToken()).toHaveLength(2);
    expect((await s.alice('get-object', { key })).object.state).toBe('pre-active');
  });

  test('is tried again until the root has done it', async () => {
    const key = await destroyed();
    const down = () => new RootFault('unavailable', 'token removed');
    token.refuse('destroyKey', down(), down());
    await s.alice('destroy', { key, pendingMs: 0 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(token.onToken()).toHaveLength(2);
    expect((await refusalOf(s.alice('encrypt', { key, plaintext: utf8('x') }))).code).toBe('destroyed');
    await s.scheduler.tick();
    expect(token.onToken()).toHaveLength(2);
    s.now += 10_000;
    await s.scheduler.tick();
    expect(token.onToken()).toEqual([]);
    expect(s.store.versions.get(key)?.every((v) => v.reference.length === 0)).toBe(true);
  });
});

describe('plain material on its way in', () => {
  test.each(['taken in', 'refused by the root', 'refused before'])('is zeroed when %s', async (how) => {
    const material = new Uint8Array(32).fill(7);
    if (how === 'refused by the root') token.refuse('importKey', new RootFault('unavailable', 'gone'));
    const root = how === 'refused before' ? { root: 'nowhere' } : {};
    const work = s.alice('register', { type: 'symmetric-key', spec: 'aes-256', format: 'raw', material, ...root });
    if (how === 'taken in') await work;
    else await refusalOf(work);
    expect(material.every((b) => b === 0)).toBe(true);
  });
});

describe('faults of a root', () => {
  test.each([
    ['unavailable', 'root-unavailable'],
    ['sealed', 'root-sealed'],
    ['pin-rejected', 'root-rejected'],
    ['reference-invalid', 'root-rejected'],
    ['wrong-root', 'root-rejected'],
    ['limit-exceeded', 'overloaded'],
    ['internal', 'internal'],
  ] as const)('%s becomes %s, with a next step', async (code, expected) => {
    const { object } = await s.alice('create-key-pair', { spec: 'ec-p256', activate: true });
    token.refuse('sign', new RootFault(code, 'as the root said'));
    const fault = await refusalOf(s.alice('sign', { key: object.id, data: utf8('x') }));
    expect(fault.code).toBe(expected);
    expect(fault.next).toBeTruthy();
  });

  test('something that is no fault says nothing to the caller', async () => {
    const { object } = await s.alice('create-key-pair', { spec: 'ec-p256', activate: true });
    token.refuse('sign', new TypeError('secret 42 in a stack') as never);
    const fault = await refusalOf(s.alice('sign', { key: object.id, data: utf8('x') }));
    expect(fault.code).toBe('internal');
    expect(JSON.stringify(fault)).not.toContain('42');
  });
});

describe('several roots', () => {
  test('a key stays in its root, and two roots never mix', async () => {
    const software = await openTestRoot('software');
    const both = makeTestService(
      new Map([
        ['token', token],
        ['software', software],
      ]),
    );
    const a = await both.alice('create-key', {
      spec: 'aes-256',
      activate: true,
      exportable: true,
      usage: ['encrypt', 'decrypt', 'wrap', 'unwrap'],
    });
    const b = await both.alice('create-key', {
      spec: 'aes-256',
      root: 'software',
      activate: true,
      usage: ['encrypt', 'decrypt', 'wrap', 'unwrap'],
    });
    const c = await both.alice('create-key', { spec: 'aes-256', protection: 'software' });
    expect([a, b, c].map((k) => [k.object.rootId, k.object.protection])).toEqual([
      ['token', 'hsm'],
      ['software', 'software'],
      ['software', 'software'],
    ]);
    expect((await refusalOf(both.alice('wrap', { key: a.object.id, wrappingKey: b.object.id }))).code).toBe('unsupported-operation');
    expect((await refusalOf(both.alice('export-key', { key: a.object.id, wrappingKey: b.object.id }))).code).toBe('unsupported-operation');
    const { ciphertext } = await both.alice('encrypt', { key: a.object.id, plaintext: utf8('x') });
    expect((await refusalOf(both.alice('re-encrypt', { ciphertext, to: b.object.id }))).code).toBe('unsupported-operation');
    expect((await refusalOf(both.alice('create-key', { spec: 'aes-256', root: 'token', protection: 'software' }))).field).toBe(
      'protection',
    );
    expect((await refusalOf(both.alice('create-key', { spec: 'aes-256', protection: 'external' }))).field).toBe('protection');
    const { roots } = await both.alice('list-roots', {});
    expect(roots.map((r) => [r.id, r.isDefault, r.state])).toEqual([
      ['token', true, 'ready'],
      ['software', false, 'ready'],
    ]);
  });
});
