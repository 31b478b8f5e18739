import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { type BehaviourCase, type BoundService, refusalOf, utf8 } from './behaviour-case.js';

const POWERS = { powers: ['beginOperation'] } as const;
const feed = async (alice: BoundService, operation: string, parts: readonly Uint8Array[]): Promise<Buffer> => {
  const out: Uint8Array[] = [];
  for (const data of parts) out.push((await alice('update-operation', { operation, data })).output);
  return Buffer.concat(out);
};

export const multiPartCases: readonly BehaviourCase[] = [
  {
    name: 'signs in parts what verifies as a whole, and verifies in parts',
    needs: { ...POWERS, generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']], multiPart: ['ecdsa-sha256'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const key = object.id;
      const begun = await alice('begin-operation', { kind: 'sign', key });
      expect(begun).toMatchObject({ objectId: key, version: 1, algorithm: 'ecdsa-sha256' });
      await feed(alice, begun.operation, [utf8('one '), utf8('two ')]);
      const { output: signature } = await alice('finish-operation', { operation: begun.operation, data: utf8('three') });
      expect((await alice('verify', { key, data: utf8('one two three'), signature })).valid).toBe(true);
      for (const [text, valid] of [
        ['one two three', true],
        ['one two four', false],
      ] as const) {
        const check = await alice('begin-operation', { kind: 'verify', key });
        await feed(alice, check.operation, [utf8(text.slice(0, 5)), utf8(text.slice(5))]);
        expect((await alice('finish-operation', { operation: check.operation, signature })).valid).toBe(valid);
      }
    },
  },
  {
    name: 'encrypts and decrypts in parts',
    needs: { ...POWERS, generate: ['aes-256'], algorithms: [['aes-cbc-pkcs5', 'aes-256']], multiPart: ['aes-cbc-pkcs5'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const data = randomBytes(1000);
      const begun = await alice('begin-operation', { kind: 'encrypt', key: object.id, algorithm: 'aes-cbc-pkcs5' });
      const head = await feed(alice, begun.operation, [new Uint8Array(data.subarray(0, 333)), new Uint8Array(data.subarray(333))]);
      const { output } = await alice('finish-operation', { operation: begun.operation });
      const ciphertext = Buffer.concat([head, output]);
      const whole = await alice('decrypt', {
        key: object.id,
        ciphertext: new Uint8Array(ciphertext),
        iv: begun.iv as Uint8Array,
        algorithm: 'aes-cbc-pkcs5',
        format: 'raw',
      });
      expect(Buffer.from(whole.plaintext)).toEqual(data);
    },
  },
  {
    name: 'digests in parts without a key',
    needs: POWERS,
    run: async ({ alice }) => {
      const { operation } = await alice('begin-operation', { kind: 'digest', hash: 'sha256' });
      await feed(alice, operation, [utf8('a'), utf8('b')]);
      const { output } = await alice('finish-operation', { operation, data: utf8('c') });
      expect(Buffer.from(output)).toEqual(createHash('sha256').update('abc').digest());
      expect((await refusalOf(alice('finish-operation', { operation }))).code).toBe('operation-unknown');
    },
  },
  {
    name: 'knows an operation only to the one who began it',
    needs: { ...POWERS, generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']], multiPart: ['ecdsa-sha256'] },
    run: async ({ alice, bob, stranger }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const { operation } = await alice('begin-operation', { kind: 'sign', key: object.id });
      for (const other of [bob, stranger]) {
        expect((await refusalOf(other('update-operation', { operation, data: utf8('x') }))).code).toBe('operation-unknown');
        expect((await refusalOf(other('finish-operation', { operation }))).code).toBe('operation-unknown');
        expect((await refusalOf(other('cancel-operation', { operation }))).code).toBe('operation-unknown');
      }
      await alice('cancel-operation', { operation });
      expect((await refusalOf(alice('finish-operation', { operation }))).code).toBe('operation-unknown');
    },
  },
  {
    name: 'makes no output once the key was revoked, however early the operation began',
    needs: { ...POWERS, generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']], multiPart: ['ecdsa-sha256'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const { operation } = await alice('begin-operation', { kind: 'sign', key: object.id });
      await alice('update-operation', { operation, data: utf8('x') });
      await alice('revoke', { key: object.id, reason: 'key-compromise' });
      expect((await refusalOf(alice('finish-operation', { operation }))).code).toBe('wrong-state');
      expect((await refusalOf(alice('finish-operation', { operation }))).code).toBe('operation-unknown');
    },
  },
  {
    name: 'asks of a multi-part operation what it asks of the whole one',
    needs: { ...POWERS, generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']], multiPart: ['ecdsa-sha256'] },
    run: async ({ alice }) => {
      const idle = await alice('create-key-pair', { spec: 'ec-p256' });
      expect((await refusalOf(alice('begin-operation', { kind: 'sign', key: idle.object.id }))).code).toBe('wrong-state');
      const verifier = await alice('create-key-pair', { spec: 'ec-p256', usage: ['verify'], activate: true });
      expect((await refusalOf(alice('begin-operation', { kind: 'sign', key: verifier.object.id }))).code).toBe('usage-denied');
      const limited = await alice('create-key-pair', { spec: 'ec-p256', activate: true, usageLimits: { unit: 'object', total: 1 } });
      const first = await alice('begin-operation', { kind: 'sign', key: limited.object.id });
      expect((await refusalOf(alice('begin-operation', { kind: 'sign', key: limited.object.id }))).code).toBe('usage-limit-reached');
      await alice('finish-operation', { operation: first.operation, data: utf8('x') });
      expect((await refusalOf(alice('begin-operation', { kind: 'sign' }))).field).toBe('key');
      expect((await refusalOf(alice('begin-operation', { kind: 'constructor' as never, key: idle.object.id }))).field).toBe('kind');
    },
  },
];
