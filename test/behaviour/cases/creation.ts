import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf } from './behaviour-case.js';

const SYMMETRIC: readonly KeySpec[] = ['aes-128', 'aes-192', 'aes-256', 'chacha20', 'des3-168', 'hmac-sha256', 'hmac-sha512'];
const PAIRS: readonly KeySpec[] = ['rsa-2048', 'ec-p256', 'ec-p384', 'ec-p521', 'ec-secp256k1', 'ed25519', 'ed448', 'x25519'];

const symmetric = (spec: KeySpec): BehaviourCase => ({
  name: `creates a ${spec} key`,
  needs: { generate: [spec] },
  run: async ({ alice, name }) => {
    const label = name('key');
    const made = await alice('create-key', { spec, names: [label], tags: { team: 'pay' } });
    expect(made.object).toMatchObject({
      type: 'symmetric-key',
      spec,
      state: 'pre-active',
      exportable: false,
      currentVersion: 1,
      names: [label],
    });
    expect(made.versions).toHaveLength(1);
    expect(made.versions[0]).toMatchObject({ version: 1, state: 'current' });
    expect(made.object.usage.length).toBeGreaterThan(0);
    expect(JSON.stringify(made)).not.toContain('reference');
    const read = await alice('get-object', { key: label });
    expect(read.object.id).toBe(made.object.id);
    expect(read.object.tags).toEqual({ team: 'pay' });
  },
});

const pair = (spec: KeySpec): BehaviourCase => ({
  name: `creates a ${spec} pair as two linked objects`,
  needs: { generate: [spec] },
  run: async ({ alice, name }) => {
    const label = name('pair');
    const made = await alice('create-key-pair', { spec, names: [label], activate: true });
    expect(made.object).toMatchObject({ type: 'private-key', spec, state: 'active', names: [label] });
    const open = await alice('get-object', { key: made.publicKeyId });
    expect(open.object).toMatchObject({ type: 'public-key', spec, state: 'active', names: [] });
    expect(open.object.usage).not.toContain('sign');
    expect(open.object.usage).not.toContain('decrypt');
    expect(made.object.links).toContainEqual({ type: 'public-key', target: made.publicKeyId });
    expect(open.object.links).toContainEqual({ type: 'private-key', target: made.object.id });
    const [a, b] = [await alice('get-public-key', { key: label }), await alice('get-public-key', { key: made.publicKeyId })];
    expect(Buffer.from(a.publicKey)).toEqual(Buffer.from(b.publicKey));
    expect(a.publicKey[0]).toBe(0x30);
  },
});

export const creationCases: readonly BehaviourCase[] = [
  ...SYMMETRIC.map(symmetric),
  ...PAIRS.map(pair),
  {
    name: 'gives a key the usages asked for and no others',
    needs: { generate: ['aes-256'], algorithms: [['aes-gcm', 'aes-256']] },
    run: async ({ alice }) => {
      const made = await alice('create-key', { spec: 'aes-256', usage: ['encrypt'], activate: true });
      const { ciphertext } = await alice('encrypt', { key: made.object.id, plaintext: Uint8Array.of(1) });
      expect((await refusalOf(alice('decrypt', { ciphertext }))).code).toBe('usage-denied');
    },
  },
  {
    name: 'refuses a usage the spec cannot have, with its path',
    needs: { generate: ['ec-p256'] },
    run: async ({ alice }) => {
      const fault = await refusalOf(alice('create-key-pair', { spec: 'ec-p256', usage: ['sign', 'encrypt'] }));
      expect(fault).toMatchObject({ code: 'invalid-field', field: 'usage.1' });
      expect(fault.next).toBeTruthy();
    },
  },
  {
    name: 'refuses a name that is taken and makes nothing',
    needs: { generate: ['aes-256'] },
    run: async ({ alice, name }) => {
      const label = name('taken');
      await alice('create-key', { spec: 'aes-256', names: [label] });
      expect((await refusalOf(alice('create-key', { spec: 'aes-256', names: [name('free'), label] }))).code).toBe('already-exists');
      expect((await alice('locate', { name: label })).items).toHaveLength(1);
    },
  },
  {
    name: 'refuses names that would mislead',
    needs: { generate: ['aes-256'] },
    run: async ({ alice, name }) => {
      const other = await alice('create-key', { spec: 'aes-256' });
      const bad = ['', '   ', `${name('v')}@2`, 'a\nb', 'a\u202eb', 'x'.repeat(256), other.object.id];
      for (const label of bad) {
        expect(await refusalOf(alice('create-key', { spec: 'aes-256', names: [label] })), JSON.stringify(label)).toMatchObject({
          code: 'invalid-field',
          field: 'names.0',
        });
      }
    },
  },
  {
    name: 'refuses dates out of order',
    needs: { generate: ['aes-256'] },
    run: async ({ alice }) => {
      const now = Date.now();
      const fault = await refusalOf(alice('create-key', { spec: 'aes-256', dates: { activation: now + 2000, deactivation: now + 1000 } }));
      expect(fault).toMatchObject({ code: 'invalid-field', field: 'dates.deactivation' });
    },
  },
  {
    name: 'refuses an unknown root and names those there are',
    run: async ({ alice }) => {
      const fault = await refusalOf(alice('create-key', { spec: 'aes-256', root: 'no-such-root' }));
      expect(fault).toMatchObject({ code: 'not-found', field: 'root' });
      expect(fault.next).toMatch(/Use one of "/);
    },
  },
  {
    name: 'refuses an unknown spec and one of the wrong shape',
    run: async ({ alice }) => {
      expect((await refusalOf(alice('create-key', { spec: 'aes-512' as KeySpec }))).field).toBe('spec');
      expect((await refusalOf(alice('create-key', { spec: '__proto__' as KeySpec }))).field).toBe('spec');
      expect((await refusalOf(alice('create-key', { spec: 'ec-p256' }))).field).toBe('spec');
      expect((await refusalOf(alice('create-key-pair', { spec: 'aes-256' }))).field).toBe('spec');
    },
  },
  {
    name: 'never makes a key that can only be imported',
    run: async ({ alice }) => {
      expect(Object.values(KEY_SPECS).some((s) => s.importOnly === true)).toBe(true);
      expect((await refusalOf(alice('create-key-pair', { spec: 'rsa-1024' }))).code).toBe('unsupported-algorithm');
    },
  },
];
