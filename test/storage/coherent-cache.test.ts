import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CoherentCache } from '../../src/storage/coherent-cache.js';

describe('the cache', () => {
  test('never exceeds its bounds, forgets the least recently used first, and forgets an owner wholly', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('put', 'get', 'drop'), fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 40 })), {
          maxLength: 200,
        }),
        (steps) => {
          const cache = new CoherentCache<number>({ entries: 8, bytes: 100 });
          let model: { key: string; owner: string; value: number; bytes: number }[] = [];
          for (const [step, number, bytes] of steps) {
            const key = `k${number}`;
            const owner = `o${number % 5}`;
            if (step === 'put') {
              const mark = cache.mark();
              cache.putSince(mark, key, owner, number, bytes);
              cache.unmark(mark);
              model = [...model.filter((entry) => entry.key !== key), { key, owner, value: number, bytes }];
              while (model.length > 8 || model.reduce((sum, entry) => sum + entry.bytes, 0) > 100) model.shift();
            } else if (step === 'get') {
              const found = model.find((entry) => entry.key === key);
              expect(cache.get(key)).toBe(found?.value);
              if (found !== undefined) model = [...model.filter((entry) => entry !== found), found];
            } else {
              cache.invalidate(owner);
              model = model.filter((entry) => entry.owner !== owner);
            }
            expect(cache.size).toBe(model.length);
            expect(cache.bytes).toBe(model.reduce((sum, entry) => sum + entry.bytes, 0));
          }
        },
      ),
    );
  });

  test('what was read before a change is not kept, nor given to those who ask after it', async () => {
    const cache = new CoherentCache<string>({ entries: 10, bytes: 100 });
    const store = (_: string, keep: (key: string, owner: string, bytes: number) => void) => keep('alias', 'owner', 1);
    let answerOld: (value: string) => void = () => undefined;
    const old = cache.through('alias', () => new Promise<string>((resolve) => (answerOld = resolve)), store);
    const joined = cache.through('alias', () => Promise.reject(new Error('must join')), store);
    cache.invalidate('owner');
    const fresh = cache.through('alias', async () => 'new', store);
    expect(await fresh).toBe('new');
    answerOld('old');
    expect(await Promise.all([old, joined])).toEqual(['old', 'old']);
    expect(cache.get('alias')).toBe('new');
  });

  test('a failed read is not remembered', async () => {
    const cache = new CoherentCache<string>({ entries: 10, bytes: 100 });
    await expect(
      cache.through(
        'k',
        () => Promise.reject(new Error('down')),
        () => undefined,
      ),
    ).rejects.toThrow('down');
    expect(
      await cache.through(
        'k',
        async () => 'up',
        (_, keep) => keep('k', 'o', 1),
      ),
    ).toBe('up');
    expect(cache.get('k')).toBe('up');
  });

  test('steady load does not make it remember every change there ever was', () => {
    const cache = new CoherentCache<string>({ entries: 10, bytes: 100 });
    let previous = cache.mark();
    for (let index = 0; index < 100_000; index += 1) {
      cache.invalidate(`owner-${index}`);
      const next = cache.mark();
      cache.unmark(previous);
      previous = next;
    }
    expect(cache.remembered).toBeLessThan(5_000);
    // The oldest running read is still protected.
    cache.invalidate('mine');
    cache.putSince(previous, 'k', 'mine', 'stale', 1);
    expect(cache.get('k')).toBeUndefined();
  });
});
