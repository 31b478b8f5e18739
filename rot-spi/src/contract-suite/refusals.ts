import type { KeyBinding, RootCallName, RootRequest } from '../contract.js';
import type { Algorithm, KeyUsage } from '../vocabulary/index.js';
import { ALL_USAGES, hex, pattern, type Session } from './session.js';
import type { ContractRunner } from './target.js';
import { SIGNATURE_VECTORS, TEST_RSA_KEYS } from './vectors.js';

const without = (usage: KeyUsage): readonly KeyUsage[] => ALL_USAGES.filter((candidate) => candidate !== usage);
const IV = pattern(16);

export const defineRefusals = (session: Session, { describe, test, expect }: ContractRunner): void => {
  const ask = (call: RootCallName, request: unknown): Promise<unknown> => session.call(call, request as RootRequest<RootCallName>);
  const invalid = async (call: RootCallName, ...requests: readonly unknown[]): Promise<void> => {
    for (const request of requests) await session.refused('invalid-argument', () => ask(call, request));
  };
  /** Not every back end has every power; what it lacks is `unsupported` before anything else. */
  const ifHas = async (call: RootCallName, body: () => Promise<void>): Promise<void> => {
    if (await session.has(call)) await body();
    else await session.refused('unsupported', () => ask(call, {}));
  };

  describe('refusals: usage masks', () => {
    const cases: readonly (readonly [KeyUsage, RootCallName, (key: unknown) => unknown])[] = [
      ['encrypt', 'encrypt', (key) => ({ key, algorithm: 'aes-cbc', plaintext: IV })],
      ['decrypt', 'decrypt', (key) => ({ key, algorithm: 'aes-cbc', ciphertext: IV, iv: IV })],
      ['mac', 'mac', (key) => ({ key, algorithm: 'aes-cmac', data: IV })],
      ['mac-verify', 'macVerify', (key) => ({ key, algorithm: 'aes-cmac', data: IV, mac: IV })],
      ['wrap', 'wrapKey', (key) => ({ wrappingKey: key, algorithm: 'aes-kwp', key })],
      [
        'unwrap',
        'unwrapKey',
        (key) => ({
          unwrappingKey: key,
          algorithm: 'aes-kwp',
          wrapped: pattern(40),
          format: 'raw',
          newKey: { binding: session.binding('aes-256') },
        }),
      ],
      [
        'derive',
        'derive',
        (key) => ({ key, algorithm: 'hmac-derive', hash: 'sha256', data: IV, newKey: { binding: session.binding('aes-256') } }),
      ],
      [
        'encrypt',
        'reEncrypt',
        (key) => ({ from: { key, algorithm: 'aes-cbc', ciphertext: IV, iv: IV }, to: { key, algorithm: 'aes-cbc' } }),
      ],
      [
        'decrypt',
        'reEncrypt',
        (key) => ({ from: { key, algorithm: 'aes-cbc', ciphertext: IV, iv: IV }, to: { key, algorithm: 'aes-cbc' } }),
      ],
      ['encrypt', 'beginOperation', (key) => ({ kind: 'encrypt', key, algorithm: 'aes-cbc' })],
      ['decrypt', 'beginOperation', (key) => ({ kind: 'decrypt', key, algorithm: 'aes-cbc', iv: IV })],
      ['mac', 'beginOperation', (key) => ({ kind: 'mac', key, algorithm: 'aes-cmac' })],
    ];
    for (const [usage, call, request] of cases) {
      test(`${call} without ${usage} is usage-denied`, async () => {
        const key = await session.key('aes-256', { usage: without(usage), exportable: true });
        await session.refused(['usage-denied', 'unsupported'], () => ask(call, request(key)));
        if (usage === 'encrypt' && call === 'encrypt')
          await session.refused('usage-denied', async () => ask(call, { ...(request(key) as object), algorithm: await session.cipher() }));
      });
    }

    test('signing, verifying and agreeing obey the mask; a public key needs none', async () => {
      const data = pattern(9);
      const verifyOnly = await session.key('ec-p256', { usage: ['verify'] });
      await session.refused('usage-denied', () => ask('sign', { key: verifyOnly, algorithm: 'ecdsa-sha256', data }));
      const signOnly = await session.key('ec-p256', { usage: ['sign'] });
      const { signature } = await session.call('sign', { key: signOnly, algorithm: 'ecdsa-sha256', data });
      await session.refused('usage-denied', () => ask('verify', { key: signOnly, algorithm: 'ecdsa-sha256', data, signature }));
      const key = { publicKey: signOnly.created.publicKey ?? IV, spec: 'ec-p256' } as const;
      expect((await session.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature })).valid).toBe(true);
      const newKey = { binding: session.binding('aes-256') };
      if (await session.supports('ecdh', 'ec-p256'))
        await session.refused('usage-denied', () =>
          ask('agree', { key: signOnly, algorithm: 'ecdh', peerPublicKey: key.publicKey, newKey }),
        );
    });
  });

  describe('refusals: exportability', () => {
    test('a key that is not exportable leaves in no way', async () => {
      const key = await session.key('aes-256');
      await ifHas('exportKey', async () => void (await session.refused('not-exportable', () => session.call('exportKey', { key }))));
      await ifHas(
        'wrapKey',
        async () => void (await session.refused('not-exportable', () => ask('wrapKey', { wrappingKey: key, algorithm: 'aes-kwp', key }))),
      );
      const pair = await session.key('ec-p256');
      await ifHas('exportKey', async () => void (await session.refused('not-exportable', () => session.call('exportKey', { key: pair }))));
    });

    test('an exportable key exports what was imported', async () => {
      if (!(await session.has('exportKey')) || !(await session.imports('aes-256'))) return;
      const binding = session.binding('aes-256', { exportable: true });
      const key = await session.imported(binding, 'raw', pattern(32));
      const { format, material } = await session.call('exportKey', { key });
      expect(format).toBe('raw');
      expect(Buffer.from(material).equals(pattern(32))).toBe(true);
      expect(key.created.provenance.local || key.created.provenance.neverExtractable, 'an imported key claims to be made here').toBe(false);
    });
  });

  describe('refusals: parameters', () => {
    test('IV, tag, AAD and label rules', async () => {
      if (!(await session.supports('aes-cbc', 'aes-256'))) return;
      const key = await session.key('aes-256');
      const [gcm, cbc, ctr, ecb] = (['aes-gcm', 'aes-cbc', 'aes-ctr', 'aes-ecb'] as const).map((algorithm) => ({
        key,
        algorithm,
        plaintext: IV,
      }));
      await invalid(
        'encrypt',
        { ...cbc, iv: pattern(15) },
        { ...cbc, iv: pattern(17) },
        { ...cbc, iv: new Uint8Array() },
        { ...ctr, iv: pattern(8) },
        { ...ecb, iv: IV },
      );
      await invalid('encrypt', { ...cbc, iv: 'sixteen bytes!!!' }, { ...gcm, iv: new Uint8Array() }, { ...gcm, iv: pattern(129) });
      await invalid(
        'encrypt',
        { ...cbc, aad: IV },
        { ...cbc, tagLength: 16 },
        { ...gcm, tagLength: 11 },
        { ...gcm, tagLength: 17 },
        { ...gcm, tagLength: 0 },
      );
      await invalid(
        'encrypt',
        { ...gcm, label: IV },
        { ...gcm, mgf1Hash: 'sha1' },
        { ...cbc, plaintext: pattern(17) },
        { ...cbc, plaintext: 'text' },
        { ...cbc, plaintext: undefined },
      );
      await invalid(
        'decrypt',
        { key, algorithm: 'aes-cbc', ciphertext: IV },
        { key, algorithm: 'aes-cbc', ciphertext: pattern(17), iv: IV },
        { key, algorithm: 'aes-cbc', ciphertext: IV, iv: IV, tag: IV },
      );
    });

    test('an algorithm of another kind or another family is malformed, an unknown one unsupported', async () => {
      const key = await session.key('aes-256');
      await invalid(
        'encrypt',
        { key, algorithm: 'aes-kw', plaintext: IV },
        { key, algorithm: 'rsa-oaep-sha256', plaintext: IV },
        { key, algorithm: 'ecdsa-sha256', plaintext: IV },
      );
      await invalid('mac', { key, algorithm: 'aes-gcm', data: IV }, { key, algorithm: 'ecdsa-sha256', data: IV });
      await invalid('sign', { key, algorithm: 'ecdsa-sha256', data: IV });
      for (const algorithm of ['aes-256-gcm', 'none', '', '__proto__', 'constructor', null, 7, {}])
        await session.refused('unsupported', () => ask('encrypt', { key, algorithm, plaintext: IV }));
    });

    test('signature parameters', async () => {
      const pair = await session.key('ec-p256');
      const base = { key: pair, algorithm: 'ecdsa-sha256', data: pattern(32) };
      await invalid(
        'sign',
        { ...base, saltLength: 32 },
        { ...base, mgf1Hash: 'sha256' },
        { ...base, encoding: 'raw' },
        { ...base, prehashed: true, data: pattern(31) },
        { ...base, context: IV },
      );
      if (await session.supports('ed25519', 'ed25519')) {
        const key = await session.key('ed25519');
        await session.refused('unsupported', () => ask('sign', { key, algorithm: 'ed25519', data: pattern(64), prehashed: true }));
        await invalid('sign', { key, algorithm: 'ed448', data: IV }, { key, algorithm: 'ed25519', data: IV, context: IV });
      }
      if (!(await session.supports('rsa-pss-sha256', 'rsa-2048'))) return;
      const rsa = { key: await session.key('rsa-2048'), algorithm: 'rsa-pss-sha256', data: IV };
      await invalid(
        'sign',
        { ...rsa, saltLength: 223 },
        { ...rsa, saltLength: -1 },
        { ...rsa, saltLength: 1.5 },
        { ...rsa, encoding: 'p1363' },
      );
    });

    test('making keys: shape, size and exponent', async () => {
      await invalid('generateKey', { binding: session.binding('ec-p256') }, { binding: session.binding('aes-256'), bits: 128 }, {});
      const open = { binding: session.binding((await session.imports('secret')) ? 'secret' : 'hmac-sha256') };
      await invalid('generateKey', { ...open, bits: 130 }, { ...open, bits: 4 }, { ...open, bits: 0 });
      const weak = { binding: session.binding('hmac-sha256') };
      await invalid('generateKey', { ...weak, bits: 64 });
      await invalid(
        'generateKeyPair',
        { binding: session.binding('aes-256') },
        { binding: session.binding('ec-p256'), publicExponent: 65_537 },
      );
      await invalid(
        'generateKeyPair',
        { binding: session.binding('rsa-2048'), publicExponent: 3 },
        { binding: session.binding('rsa-2048'), publicExponent: 65_538 },
      );
      await session.refused('limit-exceeded', () => ask('generateKey', { ...open, bits: 8_000_000 }));
      await session.refused('unsupported', () => ask('generateKeyPair', { binding: session.binding('rsa-1024') }));
      await session.refused('unsupported', () => ask('generateKey', { binding: { ...session.binding('aes-256'), spec: 'aes-512' } }));
    });

    test('bindings: every field is checked', async () => {
      const good = session.binding('aes-256');
      const wrong: readonly unknown[] = [
        { ...good, objectId: '' },
        { ...good, objectId: 7 },
        { ...good, objectId: '\ud800' },
        { ...good, tenant: '' },
        { ...good, tenant: '\udfff' },
        { ...good, version: 0 },
        { ...good, version: 1.5 },
        { ...good, version: '1' },
        { ...good, usage: 'sign' },
        { ...good, usage: ['fly'] },
        { ...good, exportable: 'yes' },
        { ...good, exportable: undefined },
      ];
      await invalid('generateKey', ...wrong.map((binding) => ({ binding })), { binding: null }, { binding: 'x' });
      await session.refused('limit-exceeded', () => ask('generateKey', { binding: { ...good, objectId: 'x'.repeat(65) } }));
      await session.refused('limit-exceeded', () => ask('generateKey', { binding: { ...good, version: 2 ** 40 } }));
      const oddButLegal: Partial<KeyBinding> = { objectId: 'Ω "quoted" \n name', tenant: 'ünïcode', version: 0xffff_ffff };
      const binding = { ...good, ...oddButLegal };
      const { reference } = await session.call('generateKey', { binding });
      const algorithm = await session.cipher();
      expect((await session.call('encrypt', { key: { reference, binding }, algorithm, plaintext: IV })).ciphertext.length).toBe(16);
    });

    test('imports: size, format and consistency', async () => {
      if (!(await session.imports('aes-256'))) return;
      const raw = (spec: KeyBinding['spec'], length: number): unknown => ({
        binding: session.binding(spec),
        format: 'raw',
        material: pattern(length),
      });
      await invalid(
        'importKey',
        { binding: session.binding('aes-256'), format: 'raw' },
        { binding: session.binding('aes-256'), format: 'raw', material: 'x'.repeat(32) },
        raw('aes-256', 31),
        raw('aes-256', 33),
        raw('aes-256', 0),
        raw('aes-128', 32),
        { ...(raw('aes-256', 32) as object), format: 'pkcs8' },
        { ...(raw('aes-256', 32) as object), format: 'pem' },
      );
      if (await session.imports('des3-168'))
        await invalid('importKey', raw('des3-168', 16), {
          binding: session.binding('des3-168'),
          format: 'raw',
          material: Buffer.alloc(24, 0x01),
        });
      if (await session.imports('secret')) await session.refused('limit-exceeded', () => ask('importKey', raw('secret', 8_193)));
    });

    test('imports of pairs: a private key must be one, of its size, with its own public key', async () => {
      const p256 = SIGNATURE_VECTORS.find((vector) => vector.spec === 'ec-p256');
      if (p256 === undefined || !(await session.imports('ec-p256'))) return;
      const der = hex(p256.privateKey);
      const pair = (spec: KeyBinding['spec'], material: Uint8Array, format = 'pkcs8'): unknown => ({
        binding: session.binding(spec),
        format,
        material,
      });
      const wrongPoint = Buffer.from(der);
      wrongPoint[wrongPoint.length - 1] = (wrongPoint.at(-1) ?? 0) ^ 1;
      await invalid(
        'importKey',
        pair('ec-p256', wrongPoint),
        pair('ec-p256', der.subarray(0, -1)),
        pair('ec-p256', Buffer.concat([der, IV])),
        pair('ec-p256', IV),
        pair('ec-p256', der, 'raw'),
      );
      await invalid('importKey', pair('ec-p256', zeroScalar(der)));
      for (const spec of ['ec-p384', 'ec-secp256k1', 'rsa-2048'] as const)
        await session.refused((await session.imports(spec)) ? 'invalid-argument' : 'unsupported', () => ask('importKey', pair(spec, der)));
      const rsa = hex(TEST_RSA_KEYS['rsa-2048'] ?? '');
      if (!(await session.imports('rsa-2048'))) return;
      await invalid('importKey', pair('rsa-3072', rsa), pair('rsa-2048', changedTail(rsa)), pair('ec-p256', rsa));
    });

    test('derivation and agreement parameters', async () => {
      if (!(await session.has('derive'))) return;
      const key = await session.key('secret');
      const newKey = { binding: session.binding('aes-256') };
      const lacks = async (algorithm: Algorithm): Promise<boolean> => !(await session.supports(algorithm, 'secret'));
      if (!(await lacks('pbkdf2-hmac-sha256'))) {
        const base = { key, algorithm: 'pbkdf2-hmac-sha256', newKey, salt: IV };
        await invalid('derive', base, { ...base, iterations: 0 }, { ...base, iterations: 1, info: IV }, { ...base, iterations: 1.5 });
        await session.refused('limit-exceeded', () => ask('derive', { ...base, iterations: 1_000_000_000 }));
      }
      if (!(await lacks('hkdf-sha256'))) {
        const base = { key, algorithm: 'hkdf-sha256', newKey };
        await invalid(
          'derive',
          { ...base, iterations: 5 },
          { ...base, newKey: { binding: session.binding('ec-p256') } },
          { ...base, newKey: { ...newKey, length: 16 } },
        );
        await session.refused(['invalid-argument', 'limit-exceeded'], () =>
          ask('derive', { ...base, newKey: { binding: session.binding('secret'), length: 9_000 } }),
        );
      }
      if (!(await lacks('sp800-108-counter-hmac-sha256'))) {
        const base = { key, algorithm: 'sp800-108-counter-hmac-sha256', newKey };
        await invalid('derive', base, { ...base, info: IV, fixedInput: IV }, { ...base, fixedInput: IV, salt: IV });
      }
      if (await lacks('hmac-derive')) return;
      await invalid(
        'derive',
        { key, algorithm: 'hmac-derive', newKey, data: IV },
        { key, algorithm: 'hmac-derive', newKey, hash: 'sha256' },
      );
      await invalid('derive', { key, algorithm: 'hmac-derive', newKey, hash: 'sha1', data: IV });
    });
  });

  describe('refusals: bounds', () => {
    test('inputs over maxInput and impossible sizes are limit-exceeded', async () => {
      const { maxInput } = await session.describe();
      const key = await session.key('aes-256');
      const large = new Uint8Array(maxInput + 16 - (maxInput % 16));
      await session.refused('limit-exceeded', () => ask('encrypt', { key, algorithm: 'aes-cbc', plaintext: large }));
      if (await session.has('digest')) await session.refused('limit-exceeded', () => ask('digest', { hash: 'sha256', data: large }));
      await session.refused('limit-exceeded', () => ask('random', { length: 1_073_741_824 }));
      await session.refused('limit-exceeded', () =>
        ask('encrypt', { key: { ...key, reference: new Uint8Array(70_000) }, algorithm: 'aes-cbc', plaintext: IV }),
      );
      await invalid('random', { length: -1 }, { length: 1.5 }, { length: '16' }, { length: Number.NaN });
    });

    test('operations in parts that do not exist are operation-unknown', async () => {
      if (!(await session.has('beginOperation'))) return;
      for (const call of ['updateOperation', 'finishOperation', 'cancelOperation'] as const)
        await session.refused('operation-unknown', () => ask(call, { operation: 'f'.repeat(32), data: IV }));
      const key = await session.key('aes-256');
      const { operation } = await session.call('beginOperation', { kind: 'encrypt', key, algorithm: 'aes-ctr' });
      await session.call('cancelOperation', { operation });
      await session.refused('operation-unknown', () => ask('updateOperation', { operation, data: IV }));
      await invalid(
        'beginOperation',
        { kind: 'fly', key, algorithm: 'aes-ctr' },
        { kind: 'encrypt', algorithm: 'aes-ctr' },
        { kind: 'decrypt', key, algorithm: 'aes-ctr' },
      );
    });
  });
};

/** The P-256 PKCS#8 of the vectors with its 32-byte scalar set to zero. */
const zeroScalar = (der: Buffer): Buffer => {
  const copy = Buffer.from(der);
  const at = copy.indexOf(hex('0420')) + 2;
  return copy.fill(0, at, at + 32);
};

/** The last CRT value of an RSA key changed. */
const changedTail = (der: Buffer): Buffer => {
  const copy = Buffer.from(der);
  copy[copy.length - 5] = (copy[copy.length - 5] ?? 0) ^ 0x10;
  return copy;
};
