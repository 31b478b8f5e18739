import type { BoundKey } from '../contract.js';
import { type KeySpec, SPLIT_METHODS, type SplitMethod } from '../vocabulary/index.js';
import { hex, pattern, type Session, specRow, toHex } from './session.js';
import type { ContractRunner } from './target.js';

/** 2^521 − 1, larger than every key split here but private ones. */
const PRIME = Buffer.concat([Buffer.of(0x01), Buffer.alloc(65, 0xff)]);

export const defineSplitting = (session: Session, { describe, test, expect }: ContractRunner): void => {
  const secret = { exportable: true } as const;
  const materialOf = async (key: BoundKey): Promise<string> => toHex((await session.call('exportKey', { key })).material);
  const sharing = (method: SplitMethod) => ({ method, ...(method === 'prime-field' ? { prime: PRIME } : {}) });

  const split = async (key: BoundKey, method: SplitMethod, threshold: number, count: number) => {
    const newKeys = Array.from({ length: count }, () => ({ binding: session.binding('secret', secret) }));
    const made = await session.call('splitKey', { key, ...sharing(method), threshold, newKeys });
    return made.parts.map(({ reference }, index) => ({
      part: index + 1,
      key: { reference, binding: newKeys[index]?.binding as BoundKey['binding'] },
    }));
  };
  const join = async (
    parts: readonly { readonly part: number; readonly key: BoundKey }[],
    method: SplitMethod,
    threshold: number,
    spec: KeySpec,
    exportable = true,
  ): Promise<BoundKey> => {
    const binding = session.binding(spec, { exportable });
    // A prime field forgets leading zeros: where the spec leaves the length open it has to be said.
    const length = method === 'prime-field' && specRow(spec).variableLength ? { length: specRow(spec).bits / 8 } : {};
    const { reference } = await session.call('joinKey', { parts, ...sharing(method), threshold, newKey: { binding, ...length } });
    return { reference, binding };
  };

  describe('split keys', () => {
    for (const method of SPLIT_METHODS) {
      test(`${method}: every set of enough parts makes the key again, fewer do not`, async () => {
        if (!(await session.has('splitKey'))) {
          await session.refused('unsupported', () => session.call('splitKey', {} as never));
          await session.refused('unsupported', () => session.call('joinKey', {} as never));
          return;
        }
        for (const spec of ['aes-128', 'aes-256', 'hmac-sha512'] as const) {
          const key = await session.key(spec, secret);
          const threshold = method === 'xor' ? 4 : 3;
          const parts = await split(key, method, threshold, 4);
          const sets =
            method === 'xor'
              ? [[3, 1, 0, 2]]
              : [
                  [0, 1, 2],
                  [3, 1, 2],
                  [3, 0, 1],
                  [2, 0, 3],
                  [0, 1, 2, 3],
                ];
          for (const set of sets) {
            const joined = await join(
              set.map((index) => parts[index] as (typeof parts)[number]),
              method,
              threshold,
              spec,
            );
            expect(await materialOf(joined), `${method}, ${spec}, parts ${set.join()}`).toBe(await materialOf(key));
          }
          const shares = await Promise.all(parts.map((part) => materialOf(part.key)));
          expect(new Set([...shares, await materialOf(key)]).size, 'no share is another or the key').toBe(5);
          await session.refused('decryption-failed', () => join(parts.slice(0, threshold - 1), method, threshold, spec));
          const [first, second] = parts;
          if (first === undefined || second === undefined) throw new Error('no parts');
          await session.refused('decryption-failed', () => join([first, first, first, second], method, threshold, spec));
        }
      });
    }

    test('known answers: TC-SJ-3-14 (GF(2^8), 2 of 4)', async () => {
      if (!(await session.has('joinKey'))) return;
      const shares = [
        '66c46a7754f94de420c7b1a7fff5ec56',
        'cf93d1e2a7e593cd5b8d6247f4e5d49c',
        'a855b891f61ad9217240d8ec061e37da',
        '803dbad55cdd329fad19d99ae2c5a415',
      ];
      const parts = await Promise.all(
        shares.map(async (share, index) => ({
          part: index + 1,
          key: await session.imported(session.binding('secret', secret), 'raw', hex(share)),
        })),
      );
      for (const [a, b] of [
        [0, 2],
        [1, 3],
        [3, 0],
      ] as const) {
        const chosen = [parts[a], parts[b]] as typeof parts;
        expect(await materialOf(await join(chosen, 'gf2-8', 2, 'aes-128'))).toBe('0102030405060708090a0b0c0d0e0f10');
      }
    });

    test('private keys in their PKCS#8 form, and secrets of odd length', async () => {
      if (!(await session.has('splitKey'))) return;
      const pair = await session.key('ec-p256', secret);
      for (const method of ['gf2-16', 'gf2-8', 'xor'] as const) {
        const joined = await join(await split(pair, method, 3, 3), method, 3, 'ec-p256');
        expect(await materialOf(joined), method).toBe(await materialOf(pair));
      }
      const odd = await session.imported(session.binding('secret', secret), 'raw', pattern(7));
      const parts = await split(odd, 'gf2-16', 2, 2);
      const binding = session.binding('secret', secret);
      const { reference } = await session.call('joinKey', { parts, method: 'gf2-16', threshold: 2, newKey: { binding, length: 7 } });
      expect(await materialOf({ reference, binding })).toBe(toHex(pattern(7)));
    });

    test('what must not leave is not split, and parts that must not leave make nothing that may', async () => {
      if (!(await session.has('splitKey'))) return;
      const kept = await session.key('aes-256', { exportable: false });
      await session.refused('not-exportable', () => split(kept, 'xor', 2, 2));
      const key = await session.key('aes-128', secret);
      const bindings = [session.binding('secret', { exportable: false }), session.binding('secret', { exportable: false })];
      const made = await session.call('splitKey', { key, method: 'xor', threshold: 2, newKeys: bindings.map((binding) => ({ binding })) });
      const parts = made.parts.map(({ reference }, index) => ({
        part: index + 1,
        key: { reference, binding: bindings[index] as BoundKey['binding'] },
      }));
      await session.refused('not-exportable', () => join(parts, 'xor', 2, 'aes-128'));
      await join(parts, 'xor', 2, 'aes-128', false);
    });

    test('impossible splits are refused', async () => {
      if (!(await session.has('splitKey'))) return;
      const key = await session.key('aes-128', secret);
      for (const [method, threshold, count] of [
        ['xor', 2, 3],
        ['gf2-8', 4, 3],
        ['gf2-8', 1, 3],
        ['gf2-16', 2, 256],
        ['gf2-8', 2, 0],
      ] as const)
        await session.refused(['invalid-argument', 'limit-exceeded'], () => split(key, method, threshold, count));
      const newKeys = [1, 2].map(() => ({ binding: session.binding('secret', secret) }));
      for (const prime of [Buffer.of(7), Buffer.concat([Buffer.of(1), Buffer.alloc(17)]), Buffer.alloc(0)])
        await session.refused('invalid-argument', () =>
          session.call('splitKey', { key, method: 'prime-field', threshold: 2, prime, newKeys }),
        );
      await session.refused('invalid-argument', () => session.call('splitKey', { key, method: 'prime-field', threshold: 2, newKeys }));
      const huge = Buffer.alloc(4096, 0xff);
      await session.refused(['invalid-argument', 'limit-exceeded'], () =>
        session.call('splitKey', { key, method: 'prime-field', threshold: 2, prime: huge, newKeys }),
      );
    });
  });
};
