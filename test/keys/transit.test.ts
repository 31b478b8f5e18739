import { createCipheriv, randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { asTokenRoot, openTestRoot, type TokenRoot } from './test-roots.js';

const inner = openTestRoot('inner');
const second = openTestRoot('second');
let token: TokenRoot;
let s: TestService;
beforeEach(async () => {
  token = asTokenRoot(await inner);
  s = makeTestService(
    new Map([
      ['token', token],
      ['software', await second],
    ]),
  );
});

const KEK = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const SECRET = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
/** RFC 3394 §4.1 */
const WRAPPED = '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5';
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const kek = async (rest: object = {}): Promise<string> => {
  const request = {
    type: 'symmetric-key',
    spec: 'aes-128',
    format: 'raw',
    material: new Uint8Array(KEK),
    usage: ['wrap', 'unwrap'],
    activate: true,
  };
  return (await s.alice('register', { ...request, ...rest } as never)).object.id;
};
const secret = async (rest: object = {}): Promise<string> => {
  const request = { type: 'symmetric-key', spec: 'aes-128', format: 'raw', material: new Uint8Array(SECRET), exportable: true };
  return (await s.alice('register', { ...request, ...rest } as never)).object.id;
};

describe('wrapped export', () => {
  test('of an encoding: the encoding is wrapped, and nothing of it stays on the token', async () => {
    const [key, wrappingKey] = [await secret(), await kek()];
    const before = [...token.onToken()];
    let seen: Uint8Array | undefined;
    const encode = (material: Uint8Array): Uint8Array => {
      seen = material;
      return Buffer.concat([Buffer.from(material).subarray(8), Buffer.from(material).subarray(0, 8)]);
    };
    const out = await s.alice('export-key', { key, wrappingKey, wrapAlgorithm: 'aes-kw', encode });
    const cipher = createCipheriv('id-aes128-wrap', KEK, Buffer.alloc(8, 0xa6));
    const swapped = Buffer.concat([SECRET.subarray(8), SECRET.subarray(0, 8)]);
    expect(hex(out.material)).toBe(hex(Buffer.concat([cipher.update(swapped), cipher.final()])));
    expect(token.onToken()).toEqual(before);
    // What the encoder was shown is overwritten.
    expect([...(seen as Uint8Array)].every((byte) => byte === 0)).toBe(true);
  });

  test('of a key that may not leave: the encoder is never asked', async () => {
    const [key, wrappingKey] = [await secret({ exportable: false }), await kek()];
    let asked = false;
    const encode = (material: Uint8Array): Uint8Array => {
      asked = true;
      return material;
    };
    expect((await refusalOf(s.alice('export-key', { key, wrappingKey, encode }))).code).toBe('not-exportable');
    expect(asked).toBe(false);
  });

  test('into another root, only of an encoding', async () => {
    const [key, wrappingKey] = [await secret(), await kek({ root: 'software' })];
    expect((await refusalOf(s.alice('export-key', { key, wrappingKey, wrapAlgorithm: 'aes-kw' }))).code).toBe('unsupported-operation');
    const encode = (material: Uint8Array) => new Uint8Array(material);
    const out = await s.alice('export-key', { key, wrappingKey, wrapAlgorithm: 'aes-kw', encode });
    expect(hex(out.material)).toBe(WRAPPED);
  });

  test('a failing encoder leaves nothing behind', async () => {
    const [key, wrappingKey] = [await secret(), await kek()];
    const before = [...token.onToken()];
    const encode = (): Uint8Array => {
      throw new Error('no');
    };
    await refusalOf(s.alice('export-key', { key, wrappingKey, encode }));
    expect(token.onToken()).toEqual(before);
  });

  test('leaves word of itself once, in the object', async () => {
    const key = await secret();
    const leaves = { 'kmip:Fresh': [{ v: false }] };
    await s.alice('export-key', { key, leaves });
    const { object } = await s.alice('get-object', { key });
    expect(object.attributes).toMatchObject(leaves);
    await s.alice('export-key', { key, leaves });
    expect((await s.alice('get-object', { key })).object.revision).toBe(object.revision);
    expect((await refusalOf(s.alice('export-key', { key, leaves: { 'x-aegis-service': true } }))).code).toBe('attribute-read-only');
  });
});

describe('a sensitive object, whichever plane asks', () => {
  test('leaves only wrapped', async () => {
    const key = await secret({ attributes: { 'kmip:Sensitive': [{ v: true }] } });
    expect((await refusalOf(s.alice('export-key', { key }))).code).toBe('not-extractable-sensitive');
    expect(hex((await s.alice('export-key', { key, wrappingKey: await kek(), wrapAlgorithm: 'aes-kw' })).material)).toBe(WRAPPED);
  });

  test('and one whose permission was taken back not at all', async () => {
    const key = await secret();
    await s.alice('update-object', { key, attributes: { 'kmip:Extractable': [{ v: false }] } });
    expect((await refusalOf(s.alice('export-key', { key }))).code).toBe('not-exportable');
    expect((await refusalOf(s.alice('wrap', { key, wrappingKey: await kek() }))).code).toBe('not-exportable');
  });
});

describe('unwrap-data', () => {
  const wrapped = Buffer.from(WRAPPED, 'hex');
  test('gives what was wrapped and keeps nothing', async () => {
    const unwrappingKey = await kek();
    const before = [...token.onToken()];
    const out = await s.alice('unwrap-data', { unwrappingKey, wrapped, algorithm: 'aes-kw' });
    expect(hex(out.material)).toBe(hex(SECRET));
    expect(token.onToken()).toEqual(before);
  });

  test('is refused without the usage, for damaged bytes, and for import-wrapping keys', async () => {
    const weak = await kek({ usage: ['wrap'] });
    expect((await refusalOf(s.alice('unwrap-data', { unwrappingKey: weak, wrapped, algorithm: 'aes-kw' }))).code).toBe('usage-denied');
    const damaged = new Uint8Array(wrapped);
    damaged[3] = (damaged[3] as number) ^ 1;
    const unwrappingKey = await kek();
    const refusal = await refusalOf(s.alice('unwrap-data', { unwrappingKey, wrapped: damaged, algorithm: 'aes-kw' }));
    expect(refusal.code).toBe('decryption-failed');
    const importing = await s.alice('create-import-wrapping-key', { root: 'software' });
    expect((await refusalOf(s.alice('unwrap-data', { unwrappingKey: importing.object.id, wrapped: new Uint8Array(384) }))).code).toBe(
      'usage-denied',
    );
    const stranger = s.as('mallory', 'other');
    expect((await refusalOf(stranger('unwrap-data', { unwrappingKey, wrapped, algorithm: 'aes-kw' }))).code).toBe('not-found');
  });
});

describe('objects no root understands', () => {
  test('a key without a spec is sealed and comes back, and does nothing', async () => {
    const request = {
      type: 'symmetric-key',
      format: 'opaque',
      material: new Uint8Array(20).fill(4),
      exportable: true,
      usage: ['encrypt'],
      activate: true,
    };
    const { object } = await s.alice('register', request as never);
    expect(object).toMatchObject({ type: 'symmetric-key', usage: ['encrypt'] });
    expect(object.spec).toBeUndefined();
    expect(hex((await s.alice('export-key', { key: object.id })).material)).toBe('04'.repeat(20));
    expect((await refusalOf(s.alice('encrypt', { key: object.id, plaintext: new Uint8Array(8) }))).code).toBe('wrong-object-type');
    expect(request.material.every((byte) => byte === 0)).toBe(true);
  });

  test('a value that is elsewhere', async () => {
    const request = { type: 'private-key', format: 'absent', material: new Uint8Array(0) };
    const { object } = await s.alice('register', request as never);
    expect((await s.alice('export-key', { key: object.id })).material.length).toBe(0);
    await s.alice('destroy', { key: object.id });
    expect((await refusalOf(s.alice('export-key', { key: object.id }))).code).toBe('destroyed');
    expect((await refusalOf(s.alice('register', { ...request, type: 'certificate' } as never))).code).toBe('invalid-field');
  });
});

describe('an id that the caller brings', () => {
  const request = (id: string, rest: object = {}) => ({
    type: 'symmetric-key',
    spec: 'aes-128',
    format: 'raw',
    material: new Uint8Array(SECRET),
    exportable: true,
    id,
    ...rest,
  });

  test('is the object’s, and is taken once', async () => {
    const id = randomUUID();
    const { object } = await s.alice('register', request(id, { initial: 5_000 }) as never);
    expect(object).toMatchObject({ id, dates: { initial: 5_000 } });
    expect((await refusalOf(s.alice('register', request(id) as never))).code).toBe('already-exists');
    expect((await refusalOf(s.alice('register', request('not-a-uuid') as never))).code).toBe('invalid-field');
  });

  test('of an object that is replaced: new material, the old one gone from the token, the name kept', async () => {
    const id = await secret({ names: ['same'] });
    const [old] = token.onToken();
    const material = new Uint8Array(16).fill(9);
    const { object, versions } = await s.alice('register', request(id, { replaces: id, material, names: ['same'] }) as never);
    expect(object).toMatchObject({ id, currentVersion: 2, names: ['same'] });
    expect(versions.map(({ state }) => state)).toEqual(['destroyed', 'current']);
    expect(token.onToken()).toHaveLength(1);
    expect(token.onToken()).not.toContain(old);
    expect(hex((await s.alice('export-key', { key: 'same' })).material)).toBe('09'.repeat(16));
    await s.alice('rotate', { key: id });
    expect((await s.alice('get-object', { key: id })).object.currentVersion).toBe(3);
  });

  test('of an object that changes meanwhile: a conflict, never a key of zeros', async () => {
    const id = await secret();
    s.store.failures.push({ code: 'conflict', message: 'changed' });
    const refusal = await refusalOf(s.alice('register', request(id, { replaces: id }) as never));
    expect(refusal.code).toBe('conflict');
    expect(hex((await s.alice('export-key', { key: id })).material)).toBe(hex(SECRET));
  });

  test('of another tenant’s object is not that object', async () => {
    const id = await secret();
    const stranger = s.as('mallory', 'other');
    expect((await refusalOf(stranger('register', request(id, { replaces: id }) as never))).code).toBe('not-found');
    await refusalOf(stranger('register', request(id) as never));
    expect(hex((await s.alice('export-key', { key: id })).material)).toBe(hex(SECRET));
  });
});
