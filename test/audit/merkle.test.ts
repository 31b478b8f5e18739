import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  appendLeaves,
  consistencyProof,
  EMPTY_TREE,
  inclusionProof,
  isTreeState,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../src/audit/merkle.js';

/** The entries, roots and proofs of the Certificate Transparency reference implementation (merkletree test vectors). */
const ENTRIES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) =>
  Buffer.from(hex, 'hex'),
);
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const A = '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7';
const B = '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e';
const C = '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4';
const D = 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b';
const E = 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0';
const F = '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a';
const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('hex'));

describe('RFC 6962 tree', () => {
  it('has the known root at every size, appended one by one or at once', () => {
    let state = EMPTY_TREE;
    expect(treeRoot(state)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    for (const [index, entry] of ENTRIES.entries()) {
      state = appendLeaves(state, [entry]);
      expect(isTreeState(state)).toBe(true);
      expect(treeRoot(state)).toBe(ROOTS[index]);
      expect(treeRoot(appendLeaves(EMPTY_TREE, ENTRIES.slice(0, index + 1)))).toBe(ROOTS[index]);
    }
  });
  it.each([
    [0, 1, []],
    [0, 8, [A, B, C]],
    [5, 8, [D, E, ROOTS[3]]],
    [2, 3, [ROOTS[1]]],
    [1, 5, [ROOTS[0], B, D]],
  ])('proves entry %i of %i with the known path', (index, size, path) => {
    const proof = inclusionProof(ENTRIES.slice(0, size), index);
    expect(hex(proof)).toEqual(path);
    expect(verifyInclusion(ENTRIES[index] as Buffer, index, size, proof, ROOTS[size - 1] as string)).toBe(true);
  });
  it.each([
    [1, 8, [A, B, C]],
    [6, 8, [F, E, ROOTS[3]]],
    [2, 5, [B, D]],
    [1, 1, []],
  ])('proves size %i a prefix of %i with the known path', (first, second, path) => {
    const proof = consistencyProof(ENTRIES.slice(0, second), first);
    expect(hex(proof)).toEqual(path);
    expect(verifyConsistency(first, second, ROOTS[first - 1] as string, ROOTS[second - 1] as string, proof)).toBe(true);
  });
  it('proves and refutes every entry and prefix of any tree', () => {
    const entries = fc.array(fc.uint8Array({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(), fc.nat(), (all, a, b, flip) => {
        const root = (size: number) => treeRoot(appendLeaves(EMPTY_TREE, all.slice(0, size)));
        const index = a % all.length;
        const proof = inclusionProof(all, index);
        const entry = all[index] as Uint8Array;
        expect(verifyInclusion(entry, index, all.length, proof, root(all.length))).toBe(true);
        expect(verifyInclusion(Uint8Array.of(...entry, 1), index, all.length, proof, root(all.length))).toBe(false);
        const first = 1 + (b % all.length);
        const consistency = consistencyProof(all, first);
        expect(verifyConsistency(first, all.length, root(first), root(all.length), consistency)).toBe(true);
        const broken = consistency.map((hash) => Buffer.from(hash));
        const target = broken[flip % Math.max(1, broken.length)];
        if (target !== undefined) {
          target[flip % 32] = (target[flip % 32] ?? 0) ^ 1;
          expect(verifyConsistency(first, all.length, root(first), root(all.length), broken)).toBe(false);
        }
      }),
    );
  });
  it('knows a damaged state', () => {
    expect(isTreeState({ size: 3, peaks: [A] })).toBe(false);
    expect(isTreeState({ size: -1, peaks: [] })).toBe(false);
    expect(isTreeState({ size: 1, peaks: ['x'] })).toBe(false);
  });
});
