import type { RootDescription } from '../contract.js';
import type { Algorithm, KeySpec } from '../vocabulary/index.js';
import { flipped, hex, pattern, rowOf, type Session, specRow, toHex } from './session.js';
import type { ContractRunner } from './target.js';

const AEADS = ['aes-gcm', 'chacha20-poly1305'] as const;
const SIGNATURES: readonly (readonly [Algorithm, KeySpec])[] = [
  ['ecdsa-sha256', 'ec-p256'],
  ['ecdsa-sha384', 'ec-p384'],
  ['ecdsa-sha512', 'ec-p521'],
  ['ecdsa-sha256', 'ec-secp256k1'],
  ['ed25519', 'ed25519'],
  ['ed448', 'ed448'],
  ['rsa-pkcs1-sha256', 'rsa-2048'],
  ['rsa-pss-sha256', 'rsa-2048'],
];

const firstSpec = (description: RootDescription, algorithm: Algorithm): KeySpec | undefined =>
  description.algorithms.find((line) => line.algorithm === algorithm)?.specs[0];

/** One TLV after another. Lengths below 65,536. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const length =
    body.length < 0x80 ? [body.length] : body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};
const EC_PUBLIC_KEY = hex('06072a8648ce3d0201');
const P256 = hex('06082a8648ce3d030107');
const ED25519 = hex('06032b6570');
const X25519 = hex('06032b656e');
const spkiOf = (algorithm: readonly Uint8Array[], point: Uint8Array): Buffer =>
  der(0x30, der(0x30, ...algorithm), der(0x03, hex('00'), point));
const ec = (point: string): Buffer => spkiOf([EC_PUBLIC_KEY, P256], hex(point));

const GX = '6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296';
const GY = '4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5';
/** Points that are not on P-256, or are no points. */
const BAD_POINTS: readonly (readonly [string, Buffer])[] = [
  ['off the curve', ec(`04${GX}${GY.slice(0, -1)}6`)],
  ['on the twist', ec(`04${'00'.repeat(31)}01${'00'.repeat(31)}01`)],
  ['at infinity', ec('00')],
  ['zero', ec(`04${'00'.repeat(64)}`)],
  ['x not reduced', ec(`04${'ff'.repeat(32)}${GY}`)],
  ['short', ec(`04${GX}${GY.slice(2)}`)],
  ['long', ec(`04${GX}${GY}00`)],
  ['of another curve by name', spkiOf([EC_PUBLIC_KEY, hex('06052b81040022')], hex(`04${GX}${GY}`))],
];
/** Encodings of the eight points of small order of edwards25519, and not canonical ones (RFC 8032 §5.1.3). */
const SMALL_ORDER_ED25519 = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];
/** RFC 7748 §6.1: peers that force an all-zero secret. */
const SMALL_ORDER_X25519 = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

const mutationsOf = (signature: Uint8Array): readonly (readonly [string, Uint8Array])[] => [
  ...[0, 7, 40, 77, signature.length * 8 - 1].map((bit) => [`bit ${bit}`, flipped(signature, bit)] as const),
  ['empty', new Uint8Array()],
  ['one byte', new Uint8Array(1)],
  ['truncated', signature.subarray(0, -1)],
  ['extended', Buffer.concat([signature, hex('00')])],
  ['doubled', Buffer.concat([signature, signature])],
  ['all zero', new Uint8Array(signature.length)],
  ['all ones', Buffer.alloc(signature.length, 0xff)],
];

const integer = (value: string): Buffer => der(0x02, hex(value));
const N256 = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
/** Signatures that a careless verifier takes (CVE-2022-21449 and Wycheproof's kinds). */
const FORGED_ECDSA: readonly (readonly [string, Buffer])[] = [
  ['r = s = 0', der(0x30, integer('00'), integer('00'))],
  ['r = 1, s = 0', der(0x30, integer('01'), integer('00'))],
  ['r = 0, s = 1', der(0x30, integer('00'), integer('01'))],
  ['r = s = 1', der(0x30, integer('01'), integer('01'))],
  ['r = s = n', der(0x30, integer(`00${N256}`), integer(`00${N256}`))],
  ['r = −1', der(0x30, integer('ff'), integer('01'))],
  ['empty sequence', der(0x30)],
  ['not a sequence', der(0x31, integer('01'), integer('01'))],
  ['null', hex('0500')],
];

/** The same two numbers written in ways that DER forbids (X.690 §10.1, §8.3.2). */
const malleable = (signature: Uint8Array): readonly (readonly [string, Buffer])[] => {
  const body = Buffer.from(signature.subarray(2));
  const rLength = body[1] ?? 0;
  const [r, s] = [body.subarray(2, 2 + rLength), body.subarray(4 + rLength)];
  return [
    ['long length', Buffer.concat([hex('3081'), Buffer.from([body.length]), body])],
    ['indefinite length', Buffer.concat([hex('3080'), body, hex('0000')])],
    ['leading zero in r', der(0x30, der(0x02, hex('00'), r), der(0x02, s))],
    ['leading zero in s', der(0x30, der(0x02, r), der(0x02, hex('00'), s))],
    ['third integer', der(0x30, body, integer('01'))],
    ['trailing bytes inside', der(0x30, body, hex('0000'))],
    ['trailing bytes outside', Buffer.concat([signature, hex('0000')])],
  ];
};

export const defineNegatives = (session: Session, { describe, test, expect }: ContractRunner): void => {
  const absent = async (algorithm: Algorithm, spec: KeySpec): Promise<boolean> => {
    if (await session.supports(algorithm, spec)) return false;
    const listed = [`algorithm:${algorithm}`, `algorithm:${algorithm}@${spec}`, `spec:${spec}`].some((what) => session.isListed(what));
    expect(listed, `${algorithm} on ${spec} is absent and no gap says why`).toBe(true);
    return true;
  };

  describe('negatives: authenticated encryption', () => {
    for (const algorithm of AEADS) {
      test(`${algorithm}: anything changed fails, and nothing is let out`, async () => {
        const spec = firstSpec(await session.describe(), algorithm);
        if (spec === undefined) return expect(session.isListed(`algorithm:${algorithm}`)).toBe(true);
        const key = await session.key(spec);
        const plaintext = pattern(80);
        const sealed = await session.call('encrypt', { key, algorithm, plaintext, aad: pattern(20) });
        const { ciphertext, iv = new Uint8Array(), tag = new Uint8Array() } = sealed;
        const good = { key, algorithm, ciphertext, iv, tag, aad: pattern(20) };
        expect(toHex((await session.call('decrypt', good)).plaintext)).toBe(toHex(plaintext));
        for (const bit of [0, 9, 100, 639])
          await session.refused('decryption-failed', () => session.call('decrypt', { ...good, ciphertext: flipped(ciphertext, bit) }));
        for (let bit = 0; bit < 128; bit += 5)
          await session.refused('decryption-failed', () => session.call('decrypt', { ...good, tag: flipped(tag, bit) }));
        for (const bit of [0, 50, 95])
          await session.refused('decryption-failed', () => session.call('decrypt', { ...good, iv: flipped(iv, bit) }));
        for (const aad of [pattern(19), pattern(21), flipped(pattern(20), 3), new Uint8Array()])
          await session.refused('decryption-failed', () => session.call('decrypt', { ...good, aad }));
        await session.refused('decryption-failed', () => session.call('decrypt', { ...good, ciphertext: ciphertext.subarray(1) }));
        await session.refused('decryption-failed', () => session.call('decrypt', { ...good, ciphertext: new Uint8Array() }));
        await session.refused(['invalid-argument', 'decryption-failed'], () => session.call('decrypt', { ...good, tag: new Uint8Array() }));
        await session.refused(['invalid-argument', 'decryption-failed'], () =>
          session.call('decrypt', { ...good, tag: tag.subarray(0, 3) }),
        );
        await session.refused('invalid-argument', () => session.call('decrypt', { key, algorithm, ciphertext, tag }));
        const other = await session.key(spec, { version: 3 });
        await session.refused('decryption-failed', () => session.call('decrypt', { ...good, key: other }));
      });

      test(`${algorithm} in parts lets nothing out before the tag is checked`, async () => {
        const spec = firstSpec(await session.describe(), algorithm);
        if (spec === undefined || !(await session.has('beginOperation'))) return;
        const line = (await session.describe()).algorithms.find((candidate) => candidate.algorithm === algorithm);
        if (!line?.multiPart) return expect(session.isListed(`multi-part:${algorithm}`)).toBe(true);
        const key = await session.key(spec);
        const sealed = await session.call('encrypt', { key, algorithm, plaintext: pattern(200) });
        const iv = sealed.iv ?? new Uint8Array();
        const begun = await session.call('beginOperation', { kind: 'decrypt', key, algorithm, iv });
        const { output } = await session.call('updateOperation', { operation: begun.operation, data: sealed.ciphertext });
        expect(output.length, 'plaintext before the tag').toBe(0);
        const signature = flipped(sealed.tag ?? new Uint8Array(16), 1);
        await session.refused('decryption-failed', () => session.call('finishOperation', { operation: begun.operation, signature }));
        await session.refused('operation-unknown', () =>
          session.call('finishOperation', { operation: begun.operation, signature: sealed.tag ?? signature }),
        );
      });
    }
  });

  describe('negatives: ciphers', () => {
    test('bad padding fails as decryption-failed, for every padded mode', async () => {
      for (const algorithm of ['aes-cbc-pkcs5', 'aes-ecb-pkcs5', 'des3-cbc-pkcs5', 'des3-ecb-pkcs5'] as const) {
        const spec = firstSpec(await session.describe(), algorithm);
        if (spec === undefined) continue;
        const bare = algorithm.replace('-pkcs5', '') as Algorithm;
        if (!(await session.supports(bare, spec))) continue;
        const key = await session.key(spec);
        const block = specRow(spec).family === 'aes' ? 16 : 8;
        const parameters = rowOf(algorithm).ivLength === undefined ? {} : { iv: pattern(block) };
        for (const ending of [0, block + 1, 0xff]) {
          const plaintext = pattern(block * 2);
          plaintext[plaintext.length - 1] = ending;
          const { ciphertext } = await session.call('encrypt', { key, algorithm: bare, plaintext, ...parameters });
          await session.refused('decryption-failed', () => session.call('decrypt', { key, algorithm, ciphertext, ...parameters }));
        }
        await session.refused('invalid-argument', () =>
          session.call('decrypt', { key, algorithm, ciphertext: pattern(block + 1), ...parameters }),
        );
        await session.refused('invalid-argument', () =>
          session.call('decrypt', { key, algorithm, ciphertext: new Uint8Array(), ...parameters }),
        );
        await session.refused('invalid-argument', () =>
          session.call('encrypt', { key, algorithm: bare, plaintext: pattern(block + 1), ...parameters }),
        );
      }
    });

    test('RSA decryption: wrong lengths are malformed, wrong content gives nothing away', async () => {
      if (await absent('rsa-oaep-sha256', 'rsa-2048')) return;
      const key = await session.key('rsa-2048');
      const { ciphertext } = await session.call('encrypt', { key, algorithm: 'rsa-oaep-sha256', plaintext: pattern(32) });
      for (const bit of [20, 500, 2000])
        await session.refused('decryption-failed', () =>
          session.call('decrypt', { key, algorithm: 'rsa-oaep-sha256', ciphertext: flipped(ciphertext, bit) }),
        );
      for (const wrong of [ciphertext.subarray(1), Buffer.concat([ciphertext, hex('00')]), new Uint8Array()])
        await session.refused(['invalid-argument', 'decryption-failed'], () =>
          session.call('decrypt', { key, algorithm: 'rsa-oaep-sha256', ciphertext: wrong }),
        );
      await session.refused(['decryption-failed'], () =>
        session.call('decrypt', { key, algorithm: 'rsa-oaep-sha256', ciphertext: Buffer.alloc(256, 0) }),
      );
      await session.refused('invalid-argument', () =>
        session.call('encrypt', { key, algorithm: 'rsa-oaep-sha256', plaintext: pattern(191) }),
      );
      if (await session.supports('rsa-oaep-sha1', 'rsa-2048'))
        await session.refused('decryption-failed', () => session.call('decrypt', { key, algorithm: 'rsa-oaep-sha1', ciphertext }));
    });

    test('RSA PKCS#1 v1.5 decryption never returns the plaintext of a changed ciphertext', async () => {
      if (await absent('rsa-pkcs1', 'rsa-2048')) return;
      const key = await session.key('rsa-2048');
      const { ciphertext } = await session.call('encrypt', { key, algorithm: 'rsa-pkcs1', plaintext: pattern(32) });
      for (const bit of [20, 500, 1500, 2000]) {
        const outcome = await session.call('decrypt', { key, algorithm: 'rsa-pkcs1', ciphertext: flipped(ciphertext, bit) }).then(
          ({ plaintext }) => toHex(plaintext),
          (error: { readonly code?: string }) => error.code,
        );
        expect(outcome === toHex(pattern(32)), 'implicit rejection or decryption-failed').toBe(false);
        expect(outcome === 'decryption-failed' || /^([0-9a-f]{2})*$/.test(String(outcome)), String(outcome)).toBe(true);
      }
    });
  });

  describe('negatives: signatures', () => {
    for (const [algorithm, spec] of SIGNATURES) {
      test(`${algorithm} on ${spec}: a changed signature is not valid, and never an error`, async () => {
        if (await absent(algorithm, spec)) return;
        const key = await session.key(spec);
        const data = pattern(50);
        const { signature } = await session.call('sign', { key, algorithm, data });
        for (const verifier of [key, { publicKey: key.created.publicKey ?? new Uint8Array(), spec }]) {
          for (const [name, wrong] of mutationsOf(signature))
            expect(
              (await session.call('verify', { key: verifier, algorithm, data, signature: wrong })).valid,
              `${algorithm}: ${name}`,
            ).toBe(false);
        }
        const other = await session.key(spec, { version: 4 });
        expect((await session.call('verify', { key: other, algorithm, data, signature })).valid, 'another key').toBe(false);
      });
    }

    test('ECDSA: forged and malleable encodings are not valid', async () => {
      if (await absent('ecdsa-sha256', 'ec-p256')) return;
      const key = await session.key('ec-p256');
      const data = pattern(50);
      const { signature } = await session.call('sign', { key, algorithm: 'ecdsa-sha256', data });
      for (const [name, wrong] of [...FORGED_ECDSA, ...malleable(signature)]) {
        expect((await session.call('verify', { key, algorithm: 'ecdsa-sha256', data, signature: wrong })).valid, name).toBe(false);
        const digest = { key, algorithm: 'ecdsa-sha256', data: pattern(32), prehashed: true, signature: wrong } as const;
        await session.attempt('prehashed', async () => expect((await session.call('verify', digest)).valid, `${name}, digest`).toBe(false));
      }
      for (const fixed of [
        '00'.repeat(64),
        `${'00'.repeat(31)}01${'00'.repeat(32)}`,
        N256.repeat(2),
        'ff'.repeat(64),
        '00'.repeat(63),
        '00'.repeat(65),
      ]) {
        for (const algorithm of ['ecdsa-sha256', 'ecdsa-raw'] as const) {
          if (!(await session.supports(algorithm, 'ec-p256'))) continue;
          const request = { key, algorithm, data: pattern(32), signature: hex(fixed), encoding: 'p1363' } as const;
          expect((await session.call('verify', request)).valid, fixed.slice(0, 16)).toBe(false);
        }
      }
    });
  });

  describe('negatives: public keys', () => {
    test('points that are not on the curve are refused wherever a public key goes in', async () => {
      for (const [name, publicKey] of BAD_POINTS) {
        if (await session.supports('ecdsa-sha256', 'ec-p256')) {
          const request = {
            key: { publicKey, spec: 'ec-p256' },
            algorithm: 'ecdsa-sha256',
            data: pattern(10),
            signature: pattern(70),
          } as const;
          expect((await session.refused('invalid-argument', () => session.call('verify', request))).code, name).toBe('invalid-argument');
        }
        if (await session.supports('ecdh', 'ec-p256')) {
          const key = await session.key('ec-p256');
          const newKey = { binding: session.binding('aes-256') };
          await session.refused('invalid-argument', () =>
            session.call('agree', { key, algorithm: 'ecdh', peerPublicKey: publicKey, newKey }),
          );
        }
        if (await session.imports('ec-p256'))
          await session.refused('invalid-argument', () =>
            session.call('importKey', { binding: session.binding('ec-p256'), format: 'spki', material: publicKey }),
          );
      }
    });

    test('points of small order are refused', async () => {
      for (const point of SMALL_ORDER_ED25519) {
        if (await absent('ed25519', 'ed25519')) break;
        const publicKey = spkiOf([ED25519], hex(point));
        // R = A, S = 0 satisfies the equation for most messages under such a key.
        const request = {
          key: { publicKey, spec: 'ed25519' },
          algorithm: 'ed25519',
          data: pattern(3),
          signature: Buffer.concat([hex(point), Buffer.alloc(32)]),
        } as const;
        await session.refused('invalid-argument', () => session.call('verify', request));
      }
      for (const point of SMALL_ORDER_X25519) {
        if (await absent('xdh', 'x25519')) break;
        const key = await session.key('x25519');
        const request = {
          key,
          algorithm: 'xdh',
          peerPublicKey: spkiOf([X25519], hex(point)),
          newKey: { binding: session.binding('aes-256') },
        } as const;
        await session.refused('invalid-argument', () => session.call('agree', request));
      }
    });

    test('what is no SubjectPublicKeyInfo of the right kind is refused', async () => {
      if (await absent('ecdsa-sha256', 'ec-p256')) return;
      const publicKey = (await session.key('ec-p256')).created.publicKey ?? new Uint8Array();
      const wrong = [
        new Uint8Array(1),
        pattern(91),
        publicKey.subarray(0, -1),
        Buffer.concat([publicKey, hex('00')]),
        spkiOf([ED25519], pattern(32)),
      ];
      for (const bytes of wrong) {
        const request = {
          key: { publicKey: bytes, spec: 'ec-p256' },
          algorithm: 'ecdsa-sha256',
          data: pattern(10),
          signature: pattern(70),
        } as const;
        await session.refused('invalid-argument', () => session.call('verify', request));
      }
      if (await session.supports('ecdsa-sha256', 'ec-p384')) {
        const request = {
          key: { publicKey, spec: 'ec-p384' },
          algorithm: 'ecdsa-sha256',
          data: pattern(10),
          signature: pattern(70),
        } as const;
        await session.refused('invalid-argument', () => session.call('verify', request));
      }
    });
  });

  describe('negatives: key wrapping', () => {
    test('a changed wrapped key does not unwrap', async () => {
      const description = await session.describe();
      for (const algorithm of ['aes-kw', 'aes-kwp', 'aes-gcm-wrap', 'rsa-oaep-sha256-wrap', 'rsa-aes-kwp'] as const) {
        const spec = description.algorithms.find((line) => line.algorithm === algorithm)?.specs.find((name) => name !== 'rsa-1024');
        if (spec === undefined) continue;
        const unwrappingKey = await session.key(spec);
        const key = await session.key('aes-256', { exportable: true });
        const { wrapped, iv } = await session.call('wrapKey', { wrappingKey: unwrappingKey, algorithm, key });
        const request = { unwrappingKey, algorithm, format: 'raw', ...(iv === undefined ? {} : { iv }) } as const;
        const unwrap = (bytes: Uint8Array): Promise<unknown> =>
          session.call('unwrapKey', { ...request, wrapped: bytes, newKey: { binding: session.binding('aes-256') } });
        for (const bit of [8, 77, wrapped.length * 8 - 3]) await session.refused('decryption-failed', () => unwrap(flipped(wrapped, bit)));
        for (const bytes of [
          wrapped.subarray(0, -1),
          wrapped.subarray(0, -8),
          wrapped.subarray(0, 8),
          Buffer.alloc(0),
          Buffer.concat([wrapped, pattern(8)]),
        ])
          await session.refused(['decryption-failed', 'invalid-argument'], () => unwrap(bytes));
        const other = { binding: session.binding('aes-128') };
        await session.refused(['invalid-argument', 'decryption-failed'], () =>
          session.call('unwrapKey', { ...request, wrapped, newKey: other }),
        );
      }
    });
  });
};
