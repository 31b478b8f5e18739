import { randomBytes } from 'node:crypto';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const roundTrip = (spec: KeySpec, algorithm: Algorithm): BehaviourCase => ({
  name: `encrypts and decrypts with ${algorithm} under ${spec}, envelope and raw`,
  needs: { generate: [spec], algorithms: [[algorithm, spec]] },
  run: async ({ alice }) => {
    const operation = spec.startsWith('rsa') ? 'create-key-pair' : 'create-key';
    const { object } = await alice(operation, { spec, usage: ['encrypt', 'decrypt'], activate: true });
    const plaintext = new Uint8Array(randomBytes(algorithm === 'rsa-oaep-sha512' ? 64 : 96));
    const sealed = await alice('encrypt', { key: object.id, plaintext, algorithm });
    expect(sealed).toMatchObject({ objectId: object.id, version: 1, algorithm });
    const opened = await alice('decrypt', { ciphertext: sealed.ciphertext, algorithm });
    expect(Buffer.from(opened.plaintext)).toEqual(Buffer.from(plaintext));
    if (!/gcm|poly1305|oaep/.test(algorithm))
      expect((await refusalOf(alice('decrypt', { ciphertext: sealed.ciphertext }))).field).toBe('algorithm');
    const raw = await alice('encrypt', { key: object.id, plaintext, algorithm, format: 'raw' });
    const { ciphertext, iv, tag } = raw;
    const back = await alice('decrypt', {
      key: object.id,
      ciphertext,
      algorithm,
      format: 'raw',
      ...(iv === undefined ? {} : { iv }),
      ...(tag === undefined ? {} : { tag }),
    });
    expect(Buffer.from(back.plaintext)).toEqual(Buffer.from(plaintext));
  },
});

const CIPHERS: readonly (readonly [KeySpec, Algorithm])[] = [
  ['aes-128', 'aes-gcm'],
  ['aes-256', 'aes-gcm'],
  ['aes-256', 'aes-cbc'],
  ['aes-256', 'aes-cbc-pkcs5'],
  ['aes-256', 'aes-ctr'],
  ['aes-256', 'aes-ecb'],
  ['aes-256', 'aes-cfb128'],
  ['aes-256', 'aes-ofb'],
  ['chacha20', 'chacha20-poly1305'],
  ['des3-168', 'des3-cbc-pkcs5'],
  ['rsa-2048', 'rsa-oaep-sha1'],
  ['rsa-2048', 'rsa-oaep-sha256'],
];
const AES = { generate: ['aes-256'], algorithms: [['aes-gcm', 'aes-256']] } as const;

export const encryptionCases: readonly BehaviourCase[] = [
  ...CIPHERS.map(([spec, algorithm]) => roundTrip(spec, algorithm)),
  {
    name: 'authenticates every bit of an envelope and of the associated data',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const aad = utf8('order 42');
      const { ciphertext } = await alice('encrypt', { key: object.id, plaintext: utf8('to the bank'), aad });
      expect(Buffer.from((await alice('decrypt', { ciphertext, aad })).plaintext).toString()).toBe('to the bank');
      for (let at = 0; at < ciphertext.length; at += 1) {
        const bad = ciphertext.slice();
        bad[at] = (bad[at] ?? 0) ^ 1;
        const fault = await refusalOf(alice('decrypt', { key: object.id, ciphertext: bad, aad }));
        expect(['decryption-failed', 'invalid-field', 'not-found'], `byte ${at}`).toContain(fault.code);
      }
      expect((await refusalOf(alice('decrypt', { ciphertext, aad: utf8('order 43') }))).code).toBe('decryption-failed');
      expect((await refusalOf(alice('decrypt', { ciphertext }))).code).toBe('decryption-failed');
      expect((await refusalOf(alice('decrypt', { key: object.id, ciphertext: ciphertext.slice(0, -1), aad }))).code).toBe(
        'decryption-failed',
      );
    },
  },
  {
    name: 'does not open an envelope under a key that did not make it',
    needs: AES,
    run: async ({ alice }) => {
      const a = await alice('create-key', { spec: 'aes-256', activate: true });
      const b = await alice('create-key', { spec: 'aes-256', activate: true });
      const { ciphertext } = await alice('encrypt', { key: a.object.id, plaintext: utf8('x') });
      expect((await refusalOf(alice('decrypt', { key: b.object.id, ciphertext }))).code).toBe('invalid-field');
      // Rewriting the header to name the other key breaks the tag.
      const moved = ciphertext.slice();
      moved.set(Buffer.from(b.object.id.replaceAll('-', ''), 'hex'), 4);
      expect((await refusalOf(alice('decrypt', { ciphertext: moved }))).code).toBe('decryption-failed');
    },
  },
  {
    name: 'does not open an authenticated envelope relabelled as one that is not',
    needs: {
      generate: ['aes-256'],
      algorithms: [
        ['aes-gcm', 'aes-256'],
        ['aes-ctr', 'aes-256'],
      ],
    },
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const { ciphertext } = await alice('encrypt', { key: object.id, plaintext: utf8('pay 10') });
      // SP 800-38D §7.1: GCM encrypts in counter mode from IV ‖ 2; as CTR the same bytes would open, and be malleable.
      const iv = ciphertext.subarray(28, 40);
      const body = ciphertext.subarray(56);
      const header = ciphertext.slice(0, 28);
      header.set([0, 4, 16, 0], 24);
      const relabelled = new Uint8Array(Buffer.concat([header, iv, Buffer.from([0, 0, 0, 2]), body]));
      expect((await refusalOf(alice('decrypt', { ciphertext: relabelled }))).field).toBe('algorithm');
      expect((await refusalOf(alice('decrypt', { ciphertext: relabelled, algorithm: 'aes-gcm' }))).field).toBe('algorithm');
      // That the relabelling is a real one: whoever insists on CTR gets the plaintext.
      const insisted = await alice('decrypt', { ciphertext: relabelled, algorithm: 'aes-ctr' });
      expect(Buffer.from(insisted.plaintext).toString()).toBe('pay 10');
    },
  },
  {
    name: 'refuses bytes that are no envelope',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      for (const ciphertext of [new Uint8Array(0), utf8('AEG1'), new Uint8Array(28), new Uint8Array(randomBytes(100))]) {
        expect((await refusalOf(alice('decrypt', { key: object.id, ciphertext }))).code).toBe('invalid-field');
      }
    },
  },
  {
    name: 'lets no caller choose an IV, unless the key was made for it',
    needs: AES,
    run: async ({ alice }) => {
      const iv = new Uint8Array(12);
      const key = await alice('create-key', { spec: 'aes-256', activate: true });
      const fault = await refusalOf(alice('encrypt', { key: key.object.id, plaintext: utf8('x'), iv, format: 'raw' }));
      expect(fault).toMatchObject({ code: 'invalid-field', field: 'iv' });
      const open = await alice('create-key', { spec: 'aes-256', activate: true, attributes: { 'x-caller-iv': true } });
      const made = await alice('encrypt', { key: open.object.id, plaintext: utf8('x'), iv, format: 'raw' });
      expect(Buffer.from(made.iv ?? [])).toEqual(Buffer.from(iv));
      expect((await refusalOf(alice('encrypt', { key: open.object.id, plaintext: utf8('x'), iv }))).field).toBe('iv');
    },
  },
  {
    name: 'refuses shortened tags',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const { ciphertext, iv, tag } = await alice('encrypt', { key: object.id, plaintext: utf8('x'), format: 'raw' });
      const short = (tag as Uint8Array).slice(0, 4);
      const fault = await refusalOf(
        alice('decrypt', { key: object.id, ciphertext, iv: iv as Uint8Array, tag: short, format: 'raw', algorithm: 'aes-gcm' }),
      );
      expect(fault.field).toBe('tag');
      expect((await refusalOf(alice('encrypt', { key: object.id, plaintext: utf8('x'), tagLength: 4 }))).field).toBe('tagLength');
    },
  },
  {
    name: 'encrypts with the public object what the private one decrypts',
    needs: { generate: ['rsa-2048'], algorithms: [['rsa-oaep-sha1', 'rsa-2048']] },
    run: async ({ alice }) => {
      const made = await alice('create-key-pair', { spec: 'rsa-2048', usage: ['decrypt'], activate: true });
      const { ciphertext } = await alice('encrypt', { key: made.publicKeyId, plaintext: utf8('sealed'), algorithm: 'rsa-oaep-sha1' });
      const opened = await alice('decrypt', { ciphertext });
      expect(opened.objectId).toBe(made.object.id);
      expect(Buffer.from(opened.plaintext).toString()).toBe('sealed');
      expect((await refusalOf(alice('encrypt', { key: made.object.id, plaintext: utf8('x') }))).code).toBe('usage-denied');
    },
  },
  {
    name: 'makes data keys that open again, and reveals them only when asked',
    needs: { ...AES, powers: ['generateDataKey'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const aad = utf8('file 7');
      const made = await alice('generate-data-key', { key: object.id, length: 32, aad, plaintext: true });
      expect(made.plaintext).toHaveLength(32);
      const opened = await alice('decrypt', { ciphertext: made.ciphertext, aad });
      expect(Buffer.from(opened.plaintext)).toEqual(Buffer.from(made.plaintext as Uint8Array));
      const hidden = await alice('generate-data-key', { key: object.id, plaintext: false });
      expect(hidden).not.toHaveProperty('plaintext');
      expect((await alice('decrypt', { ciphertext: hidden.ciphertext })).plaintext).toHaveLength(32);
      expect((await refusalOf(alice('generate-data-key', { key: object.id, length: 5, plaintext: true }))).field).toBe('length');
    },
  },
  {
    name: 're-encrypts to another key and to a newer version without showing the plaintext',
    needs: { ...AES, powers: ['reEncrypt'] },
    run: async ({ alice }) => {
      const a = await alice('create-key', { spec: 'aes-256', activate: true });
      const b = await alice('create-key', { spec: 'aes-256', activate: true });
      const { ciphertext } = await alice('encrypt', { key: a.object.id, plaintext: utf8('move me'), aad: utf8('1') });
      const moved = await alice('re-encrypt', { ciphertext, to: b.object.id, fromAad: utf8('1'), toAad: utf8('2') });
      expect(moved).toMatchObject({ objectId: b.object.id, version: 1 });
      expect(Object.keys(moved)).not.toContain('plaintext');
      expect(Buffer.from((await alice('decrypt', { ciphertext: moved.ciphertext, aad: utf8('2') })).plaintext).toString()).toBe('move me');
      await alice('rotate', { key: b.object.id });
      const newer = await alice('re-encrypt', { ciphertext: moved.ciphertext, from: b.object.id, to: b.object.id, fromAad: utf8('2') });
      expect(newer.version).toBe(2);
      expect(Buffer.from((await alice('decrypt', { ciphertext: newer.ciphertext })).plaintext).toString()).toBe('move me');
    },
  },
  {
    name: 'refuses an algorithm that does not fit the key',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const attempt = (algorithm: string) =>
        refusalOf(alice('encrypt', { key: object.id, plaintext: utf8('x'), algorithm: algorithm as Algorithm }));
      expect((await attempt('rsa-oaep-sha256')).field).toBe('algorithm');
      expect((await attempt('ecdsa-sha256')).field).toBe('algorithm');
      expect((await attempt('no-such-thing')).code).toBe('unsupported-algorithm');
      expect((await attempt('toString')).code).toBe('unsupported-algorithm');
    },
  },
];
