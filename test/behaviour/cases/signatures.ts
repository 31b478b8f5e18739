import { constants, createHash, createPublicKey, verify as nodeVerify } from 'node:crypto';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const message = utf8('pay 10 to bob');
const nodeCheck = (spki: Uint8Array, algorithm: Algorithm, signature: Uint8Array): boolean => {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  const hash = algorithm.startsWith('ed') ? null : (/sha\d+$/.exec(algorithm)?.[0] ?? null);
  const padding = algorithm.startsWith('rsa-pss')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : {};
  return nodeVerify(hash, message, { key, ...padding }, signature);
};

const signs = (spec: KeySpec, algorithm: Algorithm): BehaviourCase => ({
  name: `signs with ${algorithm} under ${spec}, as node:crypto verifies`,
  needs: { generate: [spec], algorithms: [[algorithm, spec]] },
  run: async ({ alice }) => {
    const made = await alice('create-key-pair', { spec, activate: true });
    const key = made.object.id;
    const { signature, version } = await alice('sign', { key, data: message, algorithm });
    expect(version).toBe(1);
    const { publicKey } = await alice('get-public-key', { key });
    expect(nodeCheck(publicKey, algorithm, signature)).toBe(true);
    expect(await alice('verify', { key, data: message, signature, algorithm })).toMatchObject({ valid: true, version: 1 });
    expect(await alice('verify', { key: made.publicKeyId, data: message, signature, algorithm })).toMatchObject({ valid: true });
    const other = await alice('verify', { key, data: utf8('pay 99 to bob'), signature, algorithm });
    expect(other.valid).toBe(false);
    expect(other).not.toHaveProperty('version');
    const bad = signature.slice();
    bad[bad.length - 1] = (bad[bad.length - 1] ?? 0) ^ 1;
    expect((await alice('verify', { key, data: message, signature: bad, algorithm })).valid).toBe(false);
    expect((await refusalOf(alice('sign', { key: made.publicKeyId, data: message }))).code).toBe('usage-denied');
  },
});

const SIGNATURES: readonly (readonly [KeySpec, Algorithm])[] = [
  ['ec-p256', 'ecdsa-sha256'],
  ['ec-p384', 'ecdsa-sha384'],
  ['ec-p521', 'ecdsa-sha512'],
  ['ec-secp256k1', 'ecdsa-sha256'],
  ['ed25519', 'ed25519'],
  ['ed448', 'ed448'],
  ['rsa-2048', 'rsa-pkcs1-sha256'],
  ['rsa-2048', 'rsa-pss-sha256'],
  ['rsa-3072', 'rsa-pss-sha384'],
];
const EC = { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] } as const;

const macs = (spec: KeySpec, algorithm: Algorithm, usage: 'hmac' | 'aes'): BehaviourCase => ({
  name: `makes and checks ${algorithm} under ${spec}`,
  needs: { generate: [spec], algorithms: [[algorithm, spec]] },
  run: async ({ alice }) => {
    const { object } = await alice('create-key', { spec, activate: true, ...(usage === 'aes' ? { usage: ['mac', 'mac-verify'] } : {}) });
    const made = await alice('mac', { key: object.id, data: message });
    expect(made).toMatchObject({ algorithm, version: 1 });
    expect((await alice('mac-verify', { key: object.id, data: message, mac: made.mac })).valid).toBe(true);
    expect((await alice('mac-verify', { key: object.id, data: utf8('other'), mac: made.mac })).valid).toBe(false);
    expect((await refusalOf(alice('mac-verify', { key: object.id, data: message, mac: made.mac.slice(0, 2) }))).field).toBe('mac');
  },
});

export const signatureCases: readonly BehaviourCase[] = [
  ...SIGNATURES.map(([spec, algorithm]) => signs(spec, algorithm)),
  macs('hmac-sha256', 'hmac-sha256', 'hmac'),
  macs('hmac-sha512', 'hmac-sha512', 'hmac'),
  macs('aes-256', 'aes-cmac', 'aes'),
  {
    name: 'signs a digest made by the caller, and refuses one of the wrong length',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const digest = new Uint8Array(createHash('sha256').update(message).digest());
      const { signature } = await alice('sign', { key: object.id, data: digest, prehashed: true });
      expect((await alice('verify', { key: object.id, data: message, signature })).valid).toBe(true);
      expect((await refusalOf(alice('sign', { key: object.id, data: message, prehashed: true }))).field).toBe('data');
    },
  },
  {
    name: 'gives ECDSA signatures as DER or as r and s',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const { signature } = await alice('sign', { key: object.id, data: message, encoding: 'p1363' });
      expect(signature).toHaveLength(64);
      expect((await alice('verify', { key: object.id, data: message, signature, encoding: 'p1363' })).valid).toBe(true);
      expect((await alice('verify', { key: object.id, data: message, signature })).valid).toBe(false);
    },
  },
  {
    name: 'answers a malformed signature with invalid, not with an error',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      for (const signature of [new Uint8Array(0), utf8('nonsense'), new Uint8Array(72), new Uint8Array(5000)]) {
        expect((await alice('verify', { key: object.id, data: message, signature })).valid).toBe(false);
      }
    },
  },
  {
    name: 'verifies with a registered public key made elsewhere',
    needs: EC,
    run: async ({ alice }) => {
      const made = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const { publicKey } = await alice('get-public-key', { key: made.object.id });
      const { signature } = await alice('sign', { key: made.object.id, data: message });
      const copy = await alice('register', { type: 'public-key', format: 'spki', material: publicKey, activate: true });
      expect(copy.object).toMatchObject({ type: 'public-key', spec: 'ec-p256' });
      expect((await alice('verify', { key: copy.object.id, data: message, signature })).valid).toBe(true);
      const broken = publicKey.slice(0, -2);
      expect((await refusalOf(alice('register', { type: 'public-key', format: 'spki', material: broken }))).field).toBe('material');
    },
  },
];
