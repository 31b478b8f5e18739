import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const AES = { generate: ['aes-256'], algorithms: [['aes-gcm', 'aes-256']] } as const;
const EC = { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] } as const;

export const versionCases: readonly BehaviourCase[] = [
  {
    name: 'rotates: new ciphertexts name the new version, old ones still open',
    needs: AES,
    run: async ({ alice, name }) => {
      const label = name('vault');
      await alice('create-key', { spec: 'aes-256', names: [label], activate: true });
      const old = await alice('encrypt', { key: label, plaintext: utf8('one') });
      const rotated = await alice('rotate', { key: label });
      expect(rotated.object.currentVersion).toBe(2);
      expect(rotated.versions.map((v) => v.state)).toEqual(['superseded', 'current']);
      const fresh = await alice('encrypt', { key: label, plaintext: utf8('two') });
      expect([old.version, fresh.version]).toEqual([1, 2]);
      expect(await alice('decrypt', { ciphertext: old.ciphertext })).toMatchObject({ version: 1, plaintext: expect.anything() });
      expect(Buffer.from((await alice('decrypt', { ciphertext: old.ciphertext })).plaintext).toString()).toBe('one');
      expect(Buffer.from((await alice('decrypt', { ciphertext: fresh.ciphertext })).plaintext).toString()).toBe('two');
      // Renaming a version in the header does not make another version open it.
      const forged = old.ciphertext.slice();
      forged[23] = 2;
      expect((await refusalOf(alice('decrypt', { ciphertext: forged }))).code).toBe('decryption-failed');
      expect((await refusalOf(alice('decrypt', { key: `${label}@2`, ciphertext: old.ciphertext }))).code).toBe('invalid-field');
    },
  },
  {
    name: 'rotates a pair: both halves move on, old signatures verify and say which version made them',
    needs: EC,
    run: async ({ alice }) => {
      const made = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const key = made.object.id;
      const { signature: first } = await alice('sign', { key, data: utf8('m') });
      await alice('rotate', { key });
      const { signature: second, version } = await alice('sign', { key, data: utf8('m') });
      expect(version).toBe(2);
      for (const holder of [key, made.publicKeyId]) {
        expect(await alice('verify', { key: holder, data: utf8('m'), signature: first })).toMatchObject({ valid: true, version: 1 });
        expect(await alice('verify', { key: holder, data: utf8('m'), signature: second })).toMatchObject({ valid: true, version: 2 });
        expect((await alice('verify', { key: holder, version: 1, data: utf8('m'), signature: second })).valid).toBe(false);
        expect((await alice('verify', { key: `${holder}@1`, data: utf8('m'), signature: first })).valid).toBe(true);
      }
      const [old, now] = [await alice('get-public-key', { key: `${key}@1` }), await alice('get-public-key', { key })];
      expect(Buffer.from(old.publicKey)).not.toEqual(Buffer.from(now.publicKey));
      expect((await alice('get-object', { key: made.publicKeyId })).object.currentVersion).toBe(2);
      expect((await refusalOf(alice('rotate', { key: made.publicKeyId }))).code).toBe('wrong-object-type');
    },
  },
  {
    name: 'never protects with a superseded version, and knows no version that is not there',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      await alice('rotate', { key: object.id });
      expect(await refusalOf(alice('sign', { key: object.id, version: 1, data: utf8('m') }))).toMatchObject({
        code: 'wrong-state',
        field: 'version',
      });
      expect((await refusalOf(alice('sign', { key: `${object.id}@1`, data: utf8('m') }))).code).toBe('wrong-state');
      expect((await refusalOf(alice('sign', { key: object.id, version: 3, data: utf8('m') }))).code).toBe('not-found');
      expect((await refusalOf(alice('get-public-key', { key: object.id, version: 0 }))).field).toBe('version');
      expect((await refusalOf(alice('get-public-key', { key: `${object.id}@1`, version: 2 }))).field).toBe('version');
    },
  },
  {
    name: 're-keys: another object takes over the names, linked both ways, and the old one keeps its state',
    needs: EC,
    run: async ({ alice, name }) => {
      const label = name('signer');
      const old = await alice('create-key-pair', { spec: 'ec-p256', names: [label], activate: true, tags: { team: 'pay' } });
      const { signature } = await alice('sign', { key: label, data: utf8('m') });
      const next = await alice('re-key', { key: label });
      expect(next.object.id).not.toBe(old.object.id);
      expect(next.object).toMatchObject({ names: [label], state: 'active', tags: { team: 'pay' }, usage: old.object.usage });
      expect(next.object.links).toContainEqual({ type: 'replaced', target: old.object.id });
      const before = await alice('get-object', { key: old.object.id });
      expect(before.object).toMatchObject({ names: [], state: 'active' });
      expect(before.object.links).toContainEqual({ type: 'replacement', target: next.object.id });
      expect((await alice('verify', { key: old.object.id, data: utf8('m'), signature })).valid).toBe(true);
      expect((await alice('verify', { key: label, data: utf8('m'), signature })).valid).toBe(false);
      const open = await alice('get-object', { key: next.publicKeyId as string });
      expect(open.object.links).toContainEqual({ type: 'private-key', target: next.object.id });
      expect(open.object.links).toContainEqual({ type: 'replaced', target: old.publicKeyId });
    },
  },
  {
    name: 'rotates a replacement like any key',
    needs: EC,
    run: async ({ alice, name }) => {
      const label = name('signer');
      await alice('create-key-pair', { spec: 'ec-p256', names: [label], activate: true });
      await alice('re-key', { key: label });
      expect((await alice('rotate', { key: label })).object.currentVersion).toBe(2);
    },
  },
  {
    name: 'never makes a replacement more exportable, or in another root',
    needs: { generate: ['aes-256'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      expect((await refusalOf(alice('re-key', { key: object.id, exportable: true }))).field).toBe('exportable');
      expect((await refusalOf(alice('re-key', { key: object.id, root: 'elsewhere' }))).field).toBe('root');
    },
  },
];
