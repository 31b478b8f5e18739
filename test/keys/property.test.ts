import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Refusal, refusalOf, utf8 } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { openTestRoot } from './test-roots.js';

/** What the model knows of one key: enough to say of every call whether it may succeed. */
interface Model {
  state: 'pre-active' | 'active' | 'deactivated' | 'compromised' | 'destroyed' | 'destroyed-compromised';
  archived: boolean;
  versions: number;
  remaining: number;
  readonly ciphertexts: { readonly bytes: Uint8Array; readonly text: string; readonly version: number }[];
}
interface Real {
  readonly service: TestService;
  readonly key: string;
}
const alive = (m: Model): boolean => m.state !== 'destroyed' && m.state !== 'destroyed-compromised';

const attempt = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'done';
  } catch (error) {
    if (error instanceof Refusal) return error.fault.code;
    throw error;
  }
};

type Command = fc.AsyncCommand<Model, Real>;
const command = (name: string, run: (m: Model, r: Real) => Promise<void>): Command => ({ check: () => true, run, toString: () => name });

const encrypt = (text: string): Command =>
  command(`encrypt(${text.length})`, async (m, { service, key }) => {
    const may = m.state === 'active' && !m.archived && m.remaining > 0;
    const work = service.alice('encrypt', { key, plaintext: utf8(text) });
    expect(await attempt(work), 'encrypt').toSatisfy((code: string) => (code === 'done') === may);
    if (!may) return;
    const { ciphertext, version } = await work;
    expect(version).toBe(m.versions);
    m.remaining -= 1;
    m.ciphertexts.push({ bytes: ciphertext, text, version });
  });

const decryptAll = command('decrypt everything', async (m, { service }) => {
  const may = alive(m) && m.state !== 'pre-active' && !m.archived;
  for (const { bytes, text, version } of m.ciphertexts) {
    const work = service.alice('decrypt', { ciphertext: bytes });
    expect(await attempt(work), `decrypt in ${m.state}`).toSatisfy((code: string) => (code === 'done') === may);
    if (!may) continue;
    const opened = await work;
    expect(Buffer.from(opened.plaintext).toString()).toBe(text);
    expect(opened.version).toBe(version);
  }
});

const rotate = command('rotate', async (m, { service, key }) => {
  const may = (m.state === 'pre-active' || m.state === 'active') && !m.archived;
  expect((await attempt(service.alice('rotate', { key }))) === 'done').toBe(may);
  if (may) m.versions += 1;
});
const activate = command('activate', async (m, { service, key }) => {
  const may = m.state === 'pre-active' && !m.archived;
  expect((await attempt(service.alice('activate', { key }))) === 'done').toBe(may);
  if (may) m.state = 'active';
});
const revoke = (reason: 'superseded' | 'key-compromise'): Command =>
  command(`revoke(${reason})`, async (m, { service, key }) => {
    const compromise = reason === 'key-compromise';
    const may = !m.archived && m.state !== 'destroyed-compromised' && (compromise || m.state === 'active' || m.state === 'deactivated');
    expect((await attempt(service.alice('revoke', { key, reason }))) === 'done', `revoke in ${m.state}`).toBe(may);
    if (!may) return;
    m.state = compromise ? (m.state === 'destroyed' ? 'destroyed-compromised' : 'compromised') : 'deactivated';
  });
const destroy = command('destroy', async (m, { service, key }) => {
  const may = m.state === 'pre-active' || m.state === 'deactivated' || m.state === 'compromised';
  expect((await attempt(service.alice('destroy', { key, pendingMs: 0 }))) === 'done', `destroy in ${m.state}`).toBe(may);
  if (may) m.state = m.state === 'compromised' ? 'destroyed-compromised' : 'destroyed';
});
const archive = (operation: 'archive' | 'recover'): Command =>
  command(operation, async (m, { service, key }) => {
    expect((await attempt(service.alice(operation, { key }))) === 'done').toBe(alive(m));
    if (alive(m)) m.archived = operation === 'archive';
  });
const look = command('look', async (m, { service, key }) => {
  const { object, versions } = await service.alice('get-object', { key });
  expect(object).toMatchObject({ state: m.state, archived: m.archived, currentVersion: m.versions });
  expect(object.usageLimits?.remaining).toBe(m.remaining);
  expect(versions).toHaveLength(m.versions);
  if (!alive(m)) expect(service.store.versions.get(key)?.every((v) => v.reference.length === 0)).toBe(true);
});

const LIMIT = 6;

test('any sequence of operations does what the model says', async () => {
  const root = await openTestRoot();
  const commands = fc.commands(
    [
      fc.string({ maxLength: 40 }).map(encrypt),
      fc.constant(decryptAll),
      fc.constant(rotate),
      fc.constant(activate),
      fc.constantFrom('superseded' as const, 'key-compromise' as const).map(revoke),
      fc.constant(destroy),
      fc.constantFrom('archive' as const, 'recover' as const).map(archive),
      fc.constant(look),
    ],
    { maxCommands: 25 },
  );
  await fc.assert(
    fc.asyncProperty(commands, fc.boolean(), async (list, active) => {
      const service = makeTestService(new Map([['software', root]]));
      const made = await service.alice('create-key', {
        spec: 'aes-256',
        usageLimits: { unit: 'object', total: LIMIT },
        ...(active ? { activate: true } : {}),
      });
      const model: Model = { state: active ? 'active' : 'pre-active', archived: false, versions: 1, remaining: LIMIT, ciphertexts: [] };
      await fc.asyncModelRun(() => ({ model, real: { service, key: made.object.id } }), [...list]);
      expect(service.problems).toEqual([]);
    }),
    { numRuns: 150 },
  );
}, 120_000);

test('uses never exceed the limit, however calls and rotations interleave', async () => {
  const root = await openTestRoot();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.array(fc.boolean(), { minLength: 5, maxLength: 25 }), async (total, kinds) => {
      const service = makeTestService(new Map([['software', root]]));
      const { object } = await service.alice('create-key-pair', {
        spec: 'ec-p256',
        activate: true,
        usageLimits: { unit: 'object', total },
      });
      service.store.delayMs = 1;
      const calls = kinds.map((sign) =>
        sign
          ? service.alice('sign', { key: object.id, data: utf8('x') }).then(
              () => 1,
              () => 0,
            )
          : service.alice('rotate', { key: object.id }).then(
              () => 0,
              () => 0,
            ),
      );
      const signed = (await Promise.all(calls)).reduce<number>((a, b) => a + b, 0);
      expect(signed).toBe(Math.min(total, kinds.filter(Boolean).length));
      const view = await service.alice('get-object', { key: object.id });
      expect(view.object.usageLimits?.remaining).toBe(total - signed);
    }),
    { numRuns: 25 },
  );
}, 120_000);

test('a destroyed key is gone for every operation there is', async () => {
  const service = makeTestService(new Map([['software', await openTestRoot()]]));
  const { object } = await service.alice('create-key', { spec: 'aes-256', activate: true, exportable: true });
  await service.alice('revoke', { key: object.id, reason: 'superseded' });
  await service.alice('destroy', { key: object.id, pendingMs: 0 });
  for (const work of [
    () => service.alice('export-key', { key: object.id }),
    () => service.alice('encrypt', { key: object.id, plaintext: utf8('x') }),
    () => service.alice('wrap', { key: object.id, wrappingKey: object.id }),
    () => service.alice('re-key', { key: object.id }),
    () => service.alice('begin-operation', { kind: 'encrypt', key: object.id }),
  ]) {
    expect((await refusalOf(work())).code).toBe('destroyed');
  }
});
