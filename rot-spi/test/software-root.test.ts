import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import type { BackEnd, CreatedKey, KeyBinding, RootCallName, RootDescription } from '../src/contract.js';
import { curveNamed } from '../src/encoding/curves.js';
import { fromBigInt, multiplyModulo, toBigInt } from '../src/encoding/modular.js';
import { RootFault } from '../src/fault.js';
import { toRoot } from '../src/root.js';
import { Secret } from '../src/secret.js';
import { SECRET_ACCESS } from '../src/secret-access.js';
import { openSoftwareRoot } from '../src/software/index.js';
import type { Spec } from '../src/software/key-material.js';
import { type MultiPart, makeMultiPart } from '../src/software/multi-part.js';
import { generateSecret, localProvenance, sealNewKey } from '../src/software/new-keys.js';
import { makeOpenedKey, makeOpenedKeys } from '../src/software/opened-keys.js';
import { openSealRing } from '../src/software/seal-ring.js';
import { KEY_SPECS, type KeySpec } from '../src/vocabulary/index.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-root-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const binding = (spec: KeySpec = 'aes-256', objectId = 'k'): KeyBinding => ({
  objectId,
  version: 1,
  tenant: 't',
  spec,
  usage: ['encrypt', 'decrypt', 'mac', 'mac-verify', 'sign'],
  exportable: false,
});

describe('the checks around a back end', () => {
  const description: RootDescription = {
    id: 'liar',
    kind: 'software',
    fingerprint: '00',
    powers: ['generateKey', 'encrypt', 'random', 'generateDataKey', 'digest', 'beginOperation', 'sign', 'decrypt'],
    specs: [{ spec: 'aes-256', generate: true, import: false, nonExtractable: true, approval: 'approved' }],
    algorithms: [{ algorithm: 'aes-gcm', specs: ['aes-256'], multiPart: true, approval: 'approved', mechanism: 'none' }],
    hashes: ['sha256'],
    maxInput: 65_536,
    module: {},
    external: false,
  };
  const key = { reference: new Uint8Array(8), binding: binding() };
  const encrypt = { key, algorithm: 'aes-gcm', plaintext: new Uint8Array(4) } as const;
  const created: CreatedKey = {
    reference: new Uint8Array(8),
    bits: 256,
    provenance: { local: true, alwaysSensitive: true, neverExtractable: true },
  };
  const rootWith = (calls: Partial<BackEnd>, facts: Partial<RootDescription> = {}) =>
    toRoot({
      describe: async () => ({ ...description, ...facts }),
      health: async () => ({ state: 'ready' }),
      close: async () => undefined,
      ...calls,
    } as BackEnd);
  const outcome = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => 'ok',
      (error: unknown) => (error instanceof RootFault ? error.code : error),
    );

  const lies: readonly (readonly [string, RootCallName, unknown, unknown])[] = [
    ['material in the answer of generateKey', 'generateKey', { binding: binding() }, { ...created, material: new Uint8Array(32) }],
    ['no reference', 'generateKey', { binding: binding() }, { ...created, reference: new Uint8Array() }],
    ['a public key of a secret', 'generateKey', { binding: binding() }, { ...created, publicKey: new Uint8Array(4) }],
    ['no IV given back', 'encrypt', encrypt, { ciphertext: new Uint8Array(4), tag: new Uint8Array(16) }],
    ['a short IV', 'encrypt', encrypt, { ciphertext: new Uint8Array(4), iv: new Uint8Array(8), tag: new Uint8Array(16) }],
    ['no tag', 'encrypt', encrypt, { ciphertext: new Uint8Array(4), iv: new Uint8Array(12) }],
    [
      'the plaintext too',
      'encrypt',
      encrypt,
      { ciphertext: new Uint8Array(4), iv: new Uint8Array(12), tag: new Uint8Array(16), plaintext: new Uint8Array(4) },
    ],
    ['fewer random bytes', 'random', { length: 16 }, { bytes: new Uint8Array(15) }],
    [
      'a data key that was not asked for',
      'generateDataKey',
      { key, length: 2, reveal: false },
      { ciphertext: new Uint8Array(2), iv: new Uint8Array(12), tag: new Uint8Array(16), plaintext: new Uint8Array(2) },
    ],
    ['a short digest', 'digest', { hash: 'sha256', data: new Uint8Array() }, { digest: new Uint8Array(20) }],
    ['a guessable operation', 'beginOperation', { kind: 'encrypt', key, algorithm: 'aes-gcm' }, { operation: '1', iv: new Uint8Array(12) }],
    ['nothing', 'random', { length: 1 }, undefined],
  ];
  test.each(lies)('a back end that answers with %s is stopped', async (_, call, request, answer) => {
    expect(await outcome(rootWith({ [call]: () => answer }).call(call, request as never))).toBe('internal');
  });

  test('what an unexpected error said does not get out, its code does', async () => {
    const failing = rootWith({
      random: () => Promise.reject(Object.assign(new Error('key 0123456789abcdef is bad'), { code: 'ERR_OSSL_BAD' })),
    });
    const fault = await failing.call('random', { length: 1 }).catch((error: RootFault) => error);
    expect(fault).toMatchObject({ code: 'internal', message: expect.stringContaining('ERR_OSSL_BAD') });
    expect(inspect(fault)).not.toContain('0123456789abcdef');
  });

  test('a power is both reported and there, or neither', async () => {
    const silent = rootWith({ random: () => ({ bytes: new Uint8Array(1) }) }, { powers: [] });
    expect(await outcome(silent.call('random', { length: 1 }))).toBe('unsupported');
    const boasting = rootWith({}, { powers: ['random'] });
    expect(await outcome(boasting.call('random', { length: 1 }))).toBe('unsupported');
    expect((await boasting.describe()).powers).toEqual([]);
  });

  test('an AEAD tag at the end of the ciphertext reaches the back end apart', async () => {
    let seen: { readonly ciphertext: Uint8Array; readonly tag?: Uint8Array } | undefined;
    const root = rootWith({
      decrypt: (request) => {
        seen = request;
        return { plaintext: new Uint8Array() };
      },
    });
    const request = { key, algorithm: 'aes-gcm', ciphertext: Buffer.from('abcdTTTTTTTTTTTTTTTT'), iv: new Uint8Array(12) } as const;
    await root.call('decrypt', request);
    expect([seen?.ciphertext.length, Buffer.from(seen?.tag ?? '').toString()]).toEqual([4, 'TTTTTTTTTTTTTTTT']);
    await root.call('decrypt', { ...request, tagLength: 12 });
    expect([seen?.ciphertext.length, seen?.tag?.length]).toEqual([8, 12]);
    expect(await outcome(root.call('decrypt', { ...request, ciphertext: Buffer.alloc(15) }))).toBe('decryption-failed');
  });

  test('a broken health check is unavailable, not an exception', async () => {
    const root = rootWith({ health: () => Promise.reject(new RootFault('pin-rejected', 'the PIN is wrong', 'Correct it.')) });
    expect(await root.health()).toEqual({ state: 'unavailable', detail: 'the PIN is wrong. Correct it.' });
  });
});

describe('secrets', () => {
  test('are read with access only, show nothing, and are gone after zeroise', () => {
    const source = Buffer.from('topsecret');
    const secret = Secret.take(source);
    expect(source.equals(Buffer.alloc(9))).toBe(true);
    expect(secret.bytes(SECRET_ACCESS).toString()).toBe('topsecret');
    for (const shown of [String(secret), JSON.stringify({ secret }), inspect(secret, { depth: 9, showHidden: true })])
      expect(shown).not.toMatch(/topsecret|746f70/);
    expect(() => secret.bytes({ ...SECRET_ACCESS })).toThrow(RootFault);
    const view = secret.bytes(SECRET_ACCESS);
    secret.zeroise();
    expect(view.equals(Buffer.alloc(9))).toBe(true);
    expect(() => secret.bytes(SECRET_ACCESS)).toThrow(RootFault);
  });
});

describe('opened keys', () => {
  test('stay within their bound, the least recently used go first, and evicted ones open again', async () => {
    const ring = await openSealRing({ kind: 'key-file', path: join(directory, 'cache.key'), create: true });
    const keys = makeOpenedKeys(ring, 3);
    const made = Array.from({ length: 10 }, (_, index) => {
      const bound = binding('aes-256', `k${index}`);
      return {
        binding: bound,
        reference: sealNewKey(ring, bound, generateSecret(KEY_SPECS['aes-256'] as Spec, undefined), localProvenance(bound)).reference,
      };
    });
    const opened = made.map((key) => {
      const result = keys.open(key);
      expect(keys.size()).toBeLessThanOrEqual(3);
      return result;
    });
    const [first] = made;
    if (first === undefined) throw new Error('no keys');
    const again = keys.open(first);
    expect(again === opened[0], 'it was evicted').toBe(false);
    expect(keys.open(first) === again, 'it is cached now').toBe(true);
    expect(keys.open({ ...first, reference: Buffer.from(first.reference) }) === again, 'by content').toBe(true);
    keys.forget(first);
    expect(keys.open(first) === again).toBe(false);
    keys.close();
    expect(keys.size()).toBe(0);
  });
});

describe('operations in parts', () => {
  const spec = KEY_SPECS['aes-256'] as Spec;
  const opened = makeOpenedKey(binding(), generateSecret(spec, undefined), localProvenance(binding()));
  const source = {
    open: () => opened,
    publicKey: () => {
      throw new Error('no public key');
    },
  };
  const key = { reference: new Uint8Array(1), binding: binding() };
  const begin = (parts: MultiPart) => parts.begin({ kind: 'encrypt', key, algorithm: 'aes-ctr' }).operation;

  test('are bounded in number', () => {
    const parts = makeMultiPart(source, { maxOperations: 2, idleMs: 60_000, maxHeldBytes: 100, maxHeldTotalBytes: 150 });
    const one = begin(parts);
    begin(parts);
    expect(() => begin(parts)).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
    parts.cancel({ operation: one });
    begin(parts);
    parts.close();
    expect(parts.size()).toBe(0);
  });

  test('expire when idle, and make room', () => {
    let now = 0;
    const parts = makeMultiPart(source, { maxOperations: 1, idleMs: 1_000, maxHeldBytes: 100, maxHeldTotalBytes: 150 }, () => now);
    const first = begin(parts);
    now = 900;
    parts.update({ operation: first, data: new Uint8Array(1) });
    now = 1_800;
    parts.update({ operation: first, data: new Uint8Array(1) });
    now = 2_900;
    expect(() => parts.update({ operation: first, data: new Uint8Array(1) })).toThrow(
      expect.objectContaining({ code: 'operation-unknown' }),
    );
    begin(parts);
    now = 5_000;
    begin(parts);
    parts.close();
  });

  test('hold back only so much unauthenticated plaintext, alone and together', () => {
    const parts = makeMultiPart(source, { maxOperations: 9, idleMs: 60_000, maxHeldBytes: 100, maxHeldTotalBytes: 150 });
    const open = () => parts.begin({ kind: 'decrypt', key, algorithm: 'aes-gcm', iv: new Uint8Array(12) }).operation;
    const [one, two, three] = [open(), open(), open()];
    expect(() => parts.update({ operation: one, data: new Uint8Array(101) })).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
    parts.update({ operation: two, data: new Uint8Array(100) });
    expect(() => parts.update({ operation: three, data: new Uint8Array(60) })).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
    parts.cancel({ operation: two });
    const four = open();
    parts.update({ operation: four, data: new Uint8Array(100) });
    parts.close();
  });
});

describe('modular arithmetic', () => {
  test.each(['prime256v1', 'secp384r1', 'secp521r1', 'secp256k1'])('multiplies like BigInt modulo the order of %s', (name) => {
    const curve = curveNamed(name);
    if (curve === undefined) throw new Error('no curve');
    const { value: n, bytes } = curve.order;
    let state = 1n;
    const next = (): bigint => {
      state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) % (1n << 600n);
      return (state * state) % n;
    };
    const edges = [0n, 1n, 2n, n - 1n, n - 2n, n / 2n, (1n << BigInt(bytes * 8 - 8)) % n];
    const cases = [
      ...edges.flatMap((a) => edges.map((b) => [a, b] as const)),
      ...Array.from({ length: 500 }, () => [next(), next()] as const),
    ];
    for (const [a, b] of cases) expect(toBigInt(multiplyModulo(fromBigInt(a, bytes), fromBigInt(b, bytes), curve.order))).toBe((a * b) % n);
  });
});

describe('context strings', () => {
  const has = (major: number, minor: number): boolean => {
    const [a = 0, b = 0] = process.versions.node.split('.').map(Number);
    return a > major || (a === major && b >= minor);
  };
  test.each([
    ['ed448', 'ed448'],
    ['ml-dsa', 'ml-dsa-65'],
    ['slh-dsa', 'slh-dsa-sha2-128f'],
  ] as const)('%s: bound into the signature where the runtime has them, else unsupported, never ignored', async (algorithm, spec) => {
    const root = await openSoftwareRoot({
      id: 'c',
      kind: 'software',
      seal: { kind: 'key-file', path: join(directory, 'context.key'), create: true },
    });
    const bound: KeyBinding = { ...binding(spec), usage: ['sign', 'verify'] };
    if (!(await root.describe()).specs.some((line) => line.spec === spec)) {
      await expect(root.call('generateKeyPair', { binding: bound })).rejects.toMatchObject({ code: 'unsupported' });
      return root.close();
    }
    const key = { reference: (await root.call('generateKeyPair', { binding: bound })).reference, binding: bound };
    const request = { key, algorithm, data: Buffer.from('data'), context: Buffer.from('context') };
    if (!has(24, 8)) {
      await expect(root.call('sign', request)).rejects.toMatchObject({ code: 'unsupported' });
      await expect(root.call('verify', { ...request, signature: Buffer.alloc(114) })).rejects.toMatchObject({ code: 'unsupported' });
      return root.close();
    }
    const { signature } = await root.call('sign', request);
    expect((await root.call('verify', { ...request, signature })).valid).toBe(true);
    expect((await root.call('verify', { ...request, context: Buffer.from('other'), signature })).valid).toBe(false);
    expect((await root.call('verify', { key, algorithm, data: request.data, signature })).valid).toBe(false);
    await root.close();
  });
});

describe('bounded work', () => {
  test('PBKDF2 stops at two million iterations, over all output blocks at four', async () => {
    const root = await openSoftwareRoot({
      id: 'w',
      kind: 'software',
      seal: { kind: 'key-file', path: join(directory, 'work.key'), create: true },
    });
    const secret: KeyBinding = { ...binding('secret'), usage: ['derive'] };
    const key = { reference: (await root.call('generateKey', { binding: secret })).reference, binding: secret };
    const derive = (iterations: number, length: number) =>
      root.call('derive', { key, algorithm: 'pbkdf2-hmac-sha1', salt: Buffer.alloc(16), iterations, newKey: { binding: secret, length } });
    await expect(derive(2_000_001, 20)).rejects.toMatchObject({ code: 'limit-exceeded' });
    await expect(derive(100_000, 8_192)).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect((await derive(1_000, 8_192)).bits).toBe(65_536);
    await root.close();
  });

  test('the host is not blocked while an RSA pair is made or a password is stretched', async () => {
    const root = await openSoftwareRoot({ id: 'w', kind: 'software', seal: { kind: 'key-file', path: join(directory, 'work.key') } });
    const secret: KeyBinding = { ...binding('secret'), usage: ['derive'] };
    const key = { reference: (await root.call('generateKey', { binding: secret })).reference, binding: secret };
    let done = false;
    const slow = Promise.all([
      root.call('generateKeyPair', { binding: binding('rsa-3072') }),
      root.call('derive', {
        key,
        algorithm: 'pbkdf2-hmac-sha512',
        salt: Buffer.alloc(16),
        iterations: 300_000,
        newKey: { binding: secret, length: 32 },
      }),
    ]).then(() => {
      done = true;
    });
    let served = 0;
    while (!done) {
      await root.call('random', { length: 16 });
      await new Promise((resolve) => setImmediate(resolve));
      served += 1;
    }
    await slow;
    expect(served).toBeGreaterThan(50);
    await root.close();
  });
});

describe('start', () => {
  test('the capability report is made once, by trial at open', async () => {
    const root = await openSoftwareRoot({
      id: 'quick',
      kind: 'software',
      seal: { kind: 'key-file', path: join(directory, 'quick.key'), create: true },
    });
    const description = await root.describe();
    expect(await root.describe()).toBe(description);
    expect(description).toMatchObject({ id: 'quick', kind: 'software', external: false, sealGeneration: 1 });
    expect(description.module['library version']).toBe(process.versions.openssl);
    await root.close();
  });
});

test('an SLH-DSA private key whose public root is not its own is refused; the right one signs', async () => {
  const root = await openSoftwareRoot({
    id: 'p',
    kind: 'software',
    seal: { kind: 'key-file', path: join(directory, 'pair.key'), create: true },
  });
  const bound: KeyBinding = { ...binding('slh-dsa-sha2-128f'), usage: ['sign', 'verify'], exportable: true };
  if (!(await root.describe()).specs.some((line) => line.spec === bound.spec)) {
    await expect(root.call('importKey', { binding: bound, format: 'pkcs8', material: Buffer.alloc(84) })).rejects.toMatchObject({
      code: 'unsupported',
    });
    return root.close();
  }
  const { reference } = await root.call('generateKeyPair', { binding: bound });
  const { material } = await root.call('exportKey', { key: { reference, binding: bound } });
  const wrong = Buffer.from(material);
  wrong.writeUInt8(wrong.readUInt8(wrong.length - 1) ^ 1, wrong.length - 1);
  await expect(root.call('importKey', { binding: bound, format: 'pkcs8', material: wrong })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  const again = { reference: (await root.call('importKey', { binding: bound, format: 'pkcs8', material })).reference, binding: bound };
  const { signature } = await root.call('sign', { key: again, algorithm: 'slh-dsa', data: Buffer.from('data') });
  const original = { reference, binding: bound };
  expect((await root.call('verify', { key: original, algorithm: 'slh-dsa', data: Buffer.from('data'), signature })).valid).toBe(true);
  await root.close();
});
