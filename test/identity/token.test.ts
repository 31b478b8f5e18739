import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeToken, parseToken, randomBase62, sameHash, TOKEN_LENGTH } from '../../src/identity/token.js';

describe('API tokens', () => {
  it('have the documented form, enough randomness and no meaning', () => {
    const tokens = Array.from({ length: 500 }, () => makeToken());
    for (const { token, id, prefix, hash } of tokens) {
      expect(token).toMatch(/^aegis_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$/);
      expect(token).toHaveLength(TOKEN_LENGTH);
      expect(prefix).toBe(`aegis_${id}`);
      expect(Buffer.from(hash)).toEqual(createHash('sha256').update(token).digest());
    }
    expect(new Set(tokens.map(({ token }) => token)).size).toBe(500);
    expect(43 * Math.log2(62)).toBeGreaterThan(256);
  });
  it('use every character about equally often', () => {
    const text = randomBase62(62_000);
    const counts = new Map<string, number>();
    for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
    expect(counts.size).toBe(62);
    // 62 cells of expected 1000: a chi-square above 130 has a chance below one in a million.
    expect([...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(130);
  });
  it('are recognised whole, and not with any character changed, added or missing', () => {
    const { token, hash } = makeToken();
    expect(parseToken(token)?.hash).toEqual(hash);
    for (let index = 0; index < token.length; index += 1) {
      const other = token[index] === 'a' ? 'b' : 'a';
      expect(parseToken(token.slice(0, index) + other + token.slice(index + 1))).toBeUndefined();
      expect(parseToken(token.slice(0, index) + token.slice(index + 1))).toBeUndefined();
      expect(parseToken(`${token.slice(0, index)}0${token.slice(index)}`)).toBeUndefined();
    }
    for (const text of ['', 'aegis_', `${token} `, ` ${token}`, `${token}\n`, token.toUpperCase(), 'Bearer x'])
      expect(parseToken(text)).toBeUndefined();
  });
  it('are never made out of other texts', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => parseToken(text) === undefined));
    fc.assert(
      fc.property(
        fc.string({ minLength: 49, maxLength: 49, unit: fc.constantFrom(...'0aZ') }),
        (text) => parseToken(`aegis_${'0'.repeat(16)}_${text}`) === undefined,
      ),
    );
  });
  it('compare hashes of 32 bytes only', () => {
    const a = createHash('sha256').update('a').digest();
    expect(sameHash(a, Buffer.from(a))).toBe(true);
    expect(sameHash(a, createHash('sha256').update('b').digest())).toBe(false);
    expect(sameHash(a, a.subarray(0, 31))).toBe(false);
    expect(sameHash(new Uint8Array(), new Uint8Array())).toBe(false);
  });
});
