import {
  constants,
  createCipheriv,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const bytes = (b: Buffer): Uint8Array => new Uint8Array(b);
/** RFC 5649, independently of the service: OpenSSL's AES-KWP. */
const wrapPad = (kek: Buffer, key: Buffer): Buffer => {
  const cipher = createCipheriv('id-aes256-wrap-pad' as never, kek, Buffer.from('A65959A6', 'hex'));
  return Buffer.concat([cipher.update(key), cipher.final()]);
};
const oaep = (spki: Uint8Array, key: Buffer): Buffer =>
  publicEncrypt(
    {
      key: createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }),
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha256',
    },
    key,
  );

export const importExportCases: readonly BehaviourCase[] = [
  {
    name: 'registers a symmetric key, uses it, and leaves no copy in the caller’s buffer',
    needs: { import: ['hmac-sha256'], algorithms: [['hmac-sha256', 'hmac-sha256']] },
    run: async ({ alice }) => {
      const secret = randomBytes(32);
      const material = bytes(secret);
      const { object } = await alice('register', { type: 'symmetric-key', spec: 'hmac-sha256', format: 'raw', material, activate: true });
      const made = await alice('mac', { key: object.id, data: utf8('m') });
      expect(Buffer.from(made.mac)).toEqual(createHmac('sha256', secret).update('m').digest());
      expect((await refusalOf(alice('export-key', { key: object.id }))).code).toBe('not-exportable');
    },
  },
  {
    name: 'registers a private key and signs with it',
    needs: { import: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] },
    run: async ({ alice }) => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const material = bytes(privateKey.export({ format: 'der', type: 'pkcs8' }));
      const { object } = await alice('register', { type: 'private-key', spec: 'ec-p256', format: 'pkcs8', material, activate: true });
      await alice('sign', { key: object.id, data: utf8('m') });
      const open = await alice('get-public-key', { key: object.id });
      expect(Buffer.from(open.publicKey)).toEqual(publicKey.export({ format: 'der', type: 'spki' }));
    },
  },
  {
    name: 'registers a private key right after a signature that did not verify',
    needs: { generate: ['rsa-2048'], import: ['ec-p256'], algorithms: [['rsa-pkcs1-sha256', 'rsa-2048']] },
    run: async ({ alice }) => {
      const pair = await alice('create-key-pair', { spec: 'rsa-2048', activate: true });
      const wrong = {
        key: pair.object.id,
        data: utf8('m'),
        signature: new Uint8Array(256).fill(1),
        algorithm: 'rsa-pkcs1-sha256',
      } as const;
      expect((await alice('verify', wrong)).valid).toBe(false);
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const material = bytes(privateKey.export({ format: 'der', type: 'pkcs8' }));
      const { object } = await alice('register', { type: 'private-key', spec: 'ec-p256', format: 'pkcs8', material });
      expect(object).toMatchObject({ type: 'private-key', spec: 'ec-p256' });
    },
  },
  {
    name: 'refuses material that is not what it is said to be, and keeps nothing of it',
    needs: { import: ['ec-p256', 'aes-256'] },
    run: async ({ alice, name }) => {
      const other = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey.export({ format: 'der', type: 'pkcs8' });
      const wrong = [
        { type: 'private-key', spec: 'ec-p256', format: 'pkcs8', material: bytes(other) },
        { type: 'private-key', spec: 'ec-p256', format: 'pkcs8', material: bytes(randomBytes(40)) },
        { type: 'private-key', spec: 'ec-p256', format: 'raw', material: bytes(randomBytes(32)) },
        { type: 'symmetric-key', spec: 'aes-256', format: 'raw', material: bytes(randomBytes(31)) },
        { type: 'symmetric-key', spec: 'aes-256', format: 'raw', material: new Uint8Array(0) },
        { type: 'symmetric-key', spec: 'ec-p256', format: 'raw', material: bytes(randomBytes(32)) },
        { type: 'symmetric-key', format: 'raw', material: bytes(randomBytes(32)) },
      ] as const;
      const label = name('wrong');
      for (const one of wrong) {
        const fault = await refusalOf(alice('register', { ...one, names: [label] }));
        expect(fault.code).toBe('invalid-field');
      }
      expect((await alice('locate', { name: label })).items).toEqual([]);
    },
  },
  {
    name: 'keeps secret data and opaque objects exactly as they came',
    needs: { import: ['secret'] },
    run: async ({ alice }) => {
      const value = randomBytes(96);
      for (const type of ['secret-data', 'opaque-object'] as const) {
        const { object } = await alice('register', { type, format: 'opaque', material: bytes(value), exportable: true, usage: [] });
        const out = await alice('export-key', { key: object.id });
        expect(Buffer.from(out.material), type).toEqual(value);
        const closed = await alice('register', { type, format: 'opaque', material: bytes(value) });
        expect((await refusalOf(alice('export-key', { key: closed.object.id }))).code).toBe('not-exportable');
      }
    },
  },
  {
    name: 'imports under an import-wrapping key with RSA-OAEP and RSA-AES-KWP; the key never travels in clear',
    needs: {
      generate: ['rsa-2048'],
      import: ['aes-256'],
      algorithms: [
        ['rsa-oaep-sha256-wrap', 'rsa-2048'],
        ['rsa-aes-kwp', 'rsa-2048'],
        ['aes-gcm', 'aes-256'],
      ],
    },
    run: async ({ alice }) => {
      const wrapping = await alice('create-import-wrapping-key', { spec: 'rsa-2048' });
      const spki = wrapping.publicKey as Uint8Array;
      const secret = randomBytes(32);
      const kek = randomBytes(32);
      const forms = [
        { wrapAlgorithm: 'rsa-oaep-sha256-wrap', wrapped: bytes(oaep(spki, secret)) },
        { wrapAlgorithm: 'rsa-aes-kwp', wrapped: bytes(Buffer.concat([oaep(spki, kek), wrapPad(kek, secret)])) },
      ] as const;
      for (const form of forms) {
        const made = await alice('import-key', {
          ...form,
          wrappingKey: wrapping.object.id,
          type: 'symmetric-key',
          spec: 'aes-256',
          format: 'raw',
          usage: ['encrypt', 'decrypt'],
          activate: true,
        });
        const { ciphertext, iv, tag } = await alice('encrypt', { key: made.object.id, plaintext: utf8('in'), format: 'raw' });
        const { createDecipheriv } = await import('node:crypto');
        const check = createDecipheriv('aes-256-gcm', secret, iv as Uint8Array).setAuthTag(Buffer.from(tag as Uint8Array));
        expect(Buffer.concat([check.update(ciphertext), check.final()]).toString(), form.wrapAlgorithm).toBe('in');
      }
      expect(wrapping.algorithms).toContain('rsa-aes-kwp');
      const damaged = bytes(oaep(spki, secret));
      damaged[10] = (damaged[10] ?? 0) ^ 1;
      const fault = await refusalOf(
        alice('import-key', {
          wrapped: damaged,
          wrapAlgorithm: 'rsa-oaep-sha256-wrap',
          wrappingKey: wrapping.object.id,
          type: 'symmetric-key',
          spec: 'aes-256',
          format: 'raw',
        }),
      );
      expect(fault.code).toBe('decryption-failed');
    },
  },
  {
    name: 'lets an import-wrapping key do nothing else',
    needs: { generate: ['rsa-2048'] },
    run: async ({ alice }) => {
      const { object } = await alice('create-import-wrapping-key', { spec: 'rsa-2048' });
      const key = object.id;
      const attempts = [
        () => alice('sign', { key, data: utf8('m') }),
        () => alice('decrypt', { key, ciphertext: utf8('m'), format: 'raw' }),
        () => alice('unwrap', { unwrappingKey: key, wrapped: new Uint8Array(256), format: 'raw', type: 'symmetric-key', spec: 'aes-256' }),
        () => alice('export-key', { key }),
        () => alice('rotate', { key }),
        () => alice('re-key', { key }),
        () => alice('update-object', { key, dates: { deactivation: Date.now() + 10 ** 10 } }),
        () => alice('create-csr', { key, subject: 'CN=x' }),
      ];
      for (const attempt of attempts) expect((await refusalOf(attempt())).code).toBe('usage-denied');
      expect((await refusalOf(alice('create-import-wrapping-key', { spec: 'rsa-2048', ttlMs: 10 ** 12 }))).field).toBe('ttlMs');
    },
  },
  {
    name: 'exports an exportable key in clear and wrapped, and takes the wrapped one back',
    needs: {
      generate: ['aes-256'],
      algorithms: [
        ['aes-kwp', 'aes-256'],
        ['aes-gcm', 'aes-256'],
      ],
      powers: ['exportKey', 'wrapKey', 'unwrapKey'],
    },
    run: async ({ alice }) => {
      const kek = await alice('create-key', { spec: 'aes-256', usage: ['wrap', 'unwrap'], activate: true });
      const key = await alice('create-key', { spec: 'aes-256', exportable: true, activate: true });
      const plain = await alice('export-key', { key: key.object.id });
      expect(plain).toMatchObject({ format: 'raw', bits: 256, type: 'symmetric-key' });
      expect(plain.material).toHaveLength(32);
      const out = await alice('export-key', { key: key.object.id, wrappingKey: kek.object.id, wrapAlgorithm: 'aes-kwp' });
      expect(out.format).toBe('wrapped');
      const viaWrap = await alice('wrap', { key: key.object.id, wrappingKey: kek.object.id, algorithm: 'aes-kwp' });
      const back = await alice('unwrap', {
        unwrappingKey: kek.object.id,
        wrapped: viaWrap.wrapped,
        algorithm: 'aes-kwp',
        format: 'raw',
        type: 'symmetric-key',
        spec: 'aes-256',
        activate: true,
      });
      const { ciphertext, iv, tag } = await alice('encrypt', { key: key.object.id, plaintext: utf8('same key'), format: 'raw' });
      const opened = await alice('decrypt', {
        key: back.object.id,
        ciphertext,
        iv: iv as Uint8Array,
        tag: tag as Uint8Array,
        format: 'raw',
      });
      expect(Buffer.from(opened.plaintext).toString()).toBe('same key');
      expect(back.object.exportable).toBe(false);
      const closed = await alice('create-key', { spec: 'aes-256', activate: true });
      expect((await refusalOf(alice('wrap', { key: closed.object.id, wrappingKey: kek.object.id }))).code).toBe('not-exportable');
      expect((await refusalOf(alice('export-key', { key: closed.object.id, wrappingKey: kek.object.id }))).code).toBe('not-exportable');
      expect((await refusalOf(alice('wrap', { key: key.object.id, wrappingKey: closed.object.id }))).code).toBe('usage-denied');
    },
  },
  {
    name: 'keeps certificates with their facts, readable without any right to export secrets',
    needs: { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const signed = await alice('self-sign', { key: object.id, subject: 'CN=keep.example', days: 30 });
      const kept = await alice('register', { type: 'certificate', format: 'x509', material: signed.certificate.slice() });
      expect(kept.object).toMatchObject({
        type: 'certificate',
        spec: 'ec-p256',
        attributes: { 'x-aegis-x509-subject': 'CN=keep.example' },
      });
      const out = await alice('export-key', { key: kept.object.id });
      expect(new X509Certificate(Buffer.from(out.material)).subject).toBe('CN=keep.example');
      const fault = await refusalOf(
        alice('register', { type: 'certificate', format: 'x509', material: utf8('-----BEGIN CERTIFICATE-----') }),
      );
      expect(fault.field).toBe('material');
    },
  },
];
