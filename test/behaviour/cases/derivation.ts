import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const spkiOf = (key: ReturnType<typeof generateKeyPairSync>['publicKey']): Uint8Array =>
  new Uint8Array(key.export({ format: 'der', type: 'spki' }) as never);

export const derivationCases: readonly BehaviourCase[] = [
  {
    name: 'derives with HKDF what node:crypto derives',
    needs: { import: ['secret'], algorithms: [['hkdf-sha256', 'secret']], powers: ['exportKey'] },
    run: async ({ alice }) => {
      const base = randomBytes(32);
      const { object } = await alice('register', {
        type: 'secret-data',
        format: 'raw',
        material: new Uint8Array(base),
        usage: ['derive'],
        activate: true,
      });
      const made = await alice('derive', {
        key: object.id,
        algorithm: 'hkdf-sha256',
        salt: utf8('salt'),
        info: utf8('info'),
        spec: 'aes-256',
        exportable: true,
        activate: true,
      });
      expect(made.object).toMatchObject({ type: 'symmetric-key', spec: 'aes-256' });
      expect(made.object.links).toContainEqual({ type: 'derivation-base', target: object.id });
      const out = await alice('export-key', { key: made.object.id });
      expect(Buffer.from(out.material)).toEqual(Buffer.from(hkdfSync('sha256', base, 'salt', 'info', 32)));
      expect((await refusalOf(alice('derive', { key: object.id, algorithm: 'hkdf-sha256', spec: 'ec-p256' }))).field).toBe('spec');
      expect((await refusalOf(alice('derive', { key: object.id, algorithm: 'hkdf-sha256', spec: 'aes-256', root: 'other' }))).field).toBe(
        'root',
      );
    },
  },
  {
    name: 'agrees on a key over ECDH as node:crypto does',
    needs: { generate: ['ec-p256'], algorithms: [['ecdh', 'ec-p256']], powers: ['exportKey'] },
    run: async ({ alice }) => {
      const made = await alice('create-key-pair', { spec: 'ec-p256', usage: ['agree'], activate: true });
      const peer = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const yielded = await alice('agree', {
        key: made.object.id,
        peerPublicKey: spkiOf(peer.publicKey),
        spec: 'aes-256',
        exportable: true,
      });
      const { publicKey } = await alice('get-public-key', { key: made.object.id });
      const ours = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
      const expected = diffieHellman({ privateKey: peer.privateKey, publicKey: ours });
      expect(Buffer.from((await alice('export-key', { key: yielded.object.id })).material)).toEqual(expected);
      const wrongCurve = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
      expect(
        (await refusalOf(alice('agree', { key: made.object.id, peerPublicKey: spkiOf(wrongCurve.publicKey), spec: 'aes-256' }))).field,
      ).toBe('peerPublicKey');
      expect(createECDH('prime256v1')).toBeTruthy();
    },
  },
  {
    name: 'agrees over X25519',
    needs: { generate: ['x25519'], algorithms: [['xdh', 'x25519']], powers: ['exportKey'] },
    run: async ({ alice }) => {
      const made = await alice('create-key-pair', { spec: 'x25519', activate: true });
      const peer = generateKeyPairSync('x25519');
      const yielded = await alice('agree', {
        key: made.object.id,
        peerPublicKey: spkiOf(peer.publicKey),
        spec: 'secret',
        length: 32,
        exportable: true,
      });
      const { publicKey } = await alice('get-public-key', { key: made.object.id });
      const ours = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
      const expected = diffieHellman({ privateKey: peer.privateKey, publicKey: ours });
      expect(Buffer.from((await alice('export-key', { key: yielded.object.id })).material)).toEqual(expected);
    },
  },
  {
    name: 'gives random bytes, as many as asked and never the same',
    needs: { powers: ['random'] },
    run: async ({ alice }) => {
      const a = await alice('random', { length: 32 });
      const b = await alice('random', { length: 32 });
      expect(a.bytes).toHaveLength(32);
      expect(Buffer.from(a.bytes)).not.toEqual(Buffer.from(b.bytes));
      for (const length of [0, -1, 1.5, 1024 * 1024 + 1, Number.NaN]) {
        expect((await refusalOf(alice('random', { length }))).code, String(length)).toBe('invalid-field');
      }
    },
  },
  {
    name: 'digests',
    needs: { powers: ['digest'] },
    run: async ({ alice }) => {
      const { digest } = await alice('digest', { hash: 'sha256', data: utf8('abc') });
      expect(Buffer.from(digest).toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
      expect((await refusalOf(alice('digest', { hash: 'sha999' as never, data: utf8('abc') }))).field).toBe('hash');
    },
  },
];
