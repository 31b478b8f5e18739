import type { BoundKey, KeyBinding } from '../contract.js';
import { flipped, pattern, type Session, toHex } from './session.js';
import type { ContractRunner } from './target.js';

/** Bits of a reference that are tried one by one: all of the first 64 bytes, then a sample. */
const bitsOf = (length: number): readonly number[] => {
  const bits = Array.from({ length: Math.min(length, 64) * 8 }, (_, bit) => bit);
  for (let bit = 512; bit < length * 8; bit += 61) bits.push(bit);
  for (let bit = Math.max(0, length * 8 - 40); bit < length * 8; bit += 1) bits.push(bit);
  return bits;
};

/** Every field of a binding, changed to another legal value. */
const swaps = (binding: KeyBinding): readonly (readonly [string, KeyBinding])[] => [
  ['object id', { ...binding, objectId: `${binding.objectId}x` }],
  ['object id, shorter', { ...binding, objectId: binding.objectId.slice(0, -1) }],
  ['tenant', { ...binding, tenant: 'tenant-b' }],
  [
    'boundary between object id and tenant',
    { ...binding, objectId: `${binding.objectId}${binding.tenant[0]}`, tenant: binding.tenant.slice(1) },
  ],
  ['version', { ...binding, version: binding.version + 1 }],
  ['usage, one more', { ...binding, usage: [...binding.usage, 'export'] }],
  ['usage, one less', { ...binding, usage: binding.usage.filter((usage) => usage !== 'wrap') }],
  ['exportable', { ...binding, exportable: !binding.exportable }],
];

export const defineReferences = (session: Session, { describe, test, expect }: ContractRunner): void => {
  /** Something every root with the key can do, as cheaply as possible. */
  const use = async (key: BoundKey): Promise<string> => {
    const algorithm = await session.cipher();
    const iv = session.isListed('parameter:caller-iv') ? {} : { iv: pattern(16) };
    const sealed = await session.call('encrypt', { key, algorithm, plaintext: pattern(16), ...iv });
    if (sealed.iv === undefined || iv.iv !== undefined) return toHex(sealed.ciphertext);
    // Where every ciphertext is another one, what it opens to is the same.
    return toHex((await session.call('decrypt', { key, algorithm, ...sealed })).plaintext);
  };

  describe('references', () => {
    test('open under their own binding, whatever the order of the usages', async () => {
      const { reference, binding } = await session.key('aes-256');
      const wanted = await use({ reference, binding });
      expect(await use({ reference: Buffer.from(reference), binding: { ...binding, usage: [...binding.usage].reverse() } })).toBe(wanted);
    });

    test('any bit changed makes them invalid', async () => {
      const { reference, binding } = await session.key('aes-256');
      for (const bit of bitsOf(reference.length))
        await session.refused(['reference-invalid', 'wrong-root', 'key-not-found'], () =>
          use({ reference: flipped(reference, bit), binding }),
        );
    });

    test('cut, extended, empty, foreign and random bytes are invalid', async () => {
      const { reference, binding } = await session.key('aes-256');
      const wrong = [
        reference.subarray(0, -1),
        reference.subarray(1),
        Buffer.concat([reference, Buffer.alloc(1)]),
        reference.subarray(0, 20),
        pattern(1),
        pattern(200),
      ];
      for (const bytes of wrong)
        await session.refused(['reference-invalid', 'wrong-root', 'key-not-found'], () => use({ reference: bytes, binding }));
      await session.refused('invalid-argument', () => use({ reference: new Uint8Array(), binding }));
    });

    test('a binding with any field changed is refused, opened before or not', async () => {
      for (const opened of [true, false]) {
        const binding = session.binding('aes-256');
        const { reference } = await session.call('generateKey', { binding });
        if (opened) await use({ reference, binding });
        for (const [name, swapped] of swaps(binding)) {
          const fault = await session.refused('reference-invalid', () => use({ reference, binding: swapped }));
          expect(fault.code, `${name}, ${opened ? 'opened' : 'not opened'} before`).toBe('reference-invalid');
        }
        await use({ reference, binding });
      }
    });

    test('a flipped specification is refused', async () => {
      const { reference, binding } = await session.key('aes-256');
      const { specs } = await session.describe();
      for (const spec of (['aes-128', 'aes-192'] as const).filter((name) => specs.some((line) => line.spec === name)))
        await session.refused('reference-invalid', () => use({ reference, binding: { ...binding, spec } }));
      const pair = await session.key('ec-p256');
      const request = { algorithm: 'ecdsa-sha256', data: pattern(5) } as const;
      await session.refused(['reference-invalid', 'unsupported'], () =>
        session.call('sign', { ...request, key: { reference: pair.reference, binding: { ...pair.binding, spec: 'ec-secp256k1' } } }),
      );
      await session.refused('reference-invalid', () => use({ reference: pair.reference, binding: { ...binding } }));
    });

    test('two rows swapped are both refused', async () => {
      const [a, b] = [session.binding('aes-256'), session.binding('aes-256')];
      const [one, two] = [await session.call('generateKey', { binding: a }), await session.call('generateKey', { binding: b })];
      await session.refused('reference-invalid', () => use({ reference: one.reference, binding: b }));
      await session.refused('reference-invalid', () => use({ reference: two.reference, binding: a }));
    });

    test('exportability cannot be switched on afterwards', async () => {
      if (!(await session.has('exportKey'))) return;
      const { reference, binding } = await session.key('aes-256');
      await session.refused('not-exportable', () => session.call('exportKey', { key: { reference, binding } }));
      await session.refused('reference-invalid', () =>
        session.call('exportKey', { key: { reference, binding: { ...binding, exportable: true } } }),
      );
    });

    test('another root refuses them as wrong-root', async () => {
      const other = await session.other();
      if (other === undefined) return;
      const { reference, binding } = await session.key('aes-256');
      const algorithm = await session.cipher();
      const request = {
        key: { reference, binding },
        algorithm,
        plaintext: pattern(16),
        ...(algorithm === 'aes-cbc' ? { iv: pattern(16) } : {}),
      };
      await session.refused('wrong-root', () => other.call('encrypt', request));
      expect((await other.describe()).fingerprint === (await session.describe()).fingerprint, 'two roots, one fingerprint').toBe(false);
    });

    test('a rewrapped reference opens like the old one, and under no other binding', async () => {
      if (!(await session.has('rewrapReference')))
        return session.refused('unsupported', () => session.call('rewrapReference', {} as never)).then(() => undefined);
      const { reference, binding } = await session.key('aes-256');
      const moved = await session.call('rewrapReference', { key: { reference, binding } });
      expect(await use({ reference: moved.reference, binding })).toBe(await use({ reference, binding }));
      await session.refused('reference-invalid', () =>
        session.call('rewrapReference', { key: { reference, binding: { ...binding, tenant: 'tenant-b' } } }),
      );
      await session.refused('reference-invalid', () => use({ reference: moved.reference, binding: { ...binding, exportable: true } }));
    });

    test('every call that takes a key refuses a reference of another object', async () => {
      const key = await session.key('aes-256', { exportable: true });
      const wrong = { reference: key.reference, binding: { ...key.binding, objectId: 'somebody-else' } };
      const newKey = { binding: session.binding('secret'), length: 16 };
      const calls: readonly (() => Promise<unknown>)[] = [
        () => session.call('encrypt', { key: wrong, algorithm: 'aes-ctr', plaintext: pattern(4) }),
        () => session.call('decrypt', { key: wrong, algorithm: 'aes-ctr', ciphertext: pattern(4), iv: pattern(16) }),
        () => session.call('mac', { key: wrong, algorithm: 'aes-cmac', data: pattern(4) }),
        () => session.call('macVerify', { key: wrong, algorithm: 'aes-cmac', data: pattern(4), mac: pattern(16) }),
        () => session.call('exportKey', { key: wrong }),
        () => session.call('wrapKey', { wrappingKey: key, algorithm: 'aes-kwp', key: wrong }),
        () => session.call('wrapKey', { wrappingKey: wrong, algorithm: 'aes-kwp', key }),
        () => session.call('unwrapKey', { unwrappingKey: wrong, algorithm: 'aes-kwp', wrapped: pattern(40), format: 'raw', newKey }),
        () => session.call('derive', { key: wrong, algorithm: 'hkdf-sha256', newKey }),
        () => session.call('generateDataKey', { key: wrong, length: 16, reveal: false }),
        () => session.call('evidence', { key: wrong }),
        () => session.call('beginOperation', { kind: 'encrypt', key: wrong, algorithm: 'aes-ctr' }),
      ];
      for (const call of calls) await session.refused(['reference-invalid', 'unsupported'], call);
    });
  });
};
