import { sha256, sha256Hex } from './hash.js';

/**
 * RFC 6962 §2.1 Merkle tree. The tree is kept as its peaks: the roots of the perfect subtrees that a size decomposes into,
 * largest first, which is all that appending and computing the root need (at most 53 hashes).
 * Hashes are lower-case hex. The log's leaf input is the 32 bytes of a record's chain hash.
 */
export interface TreeState {
  readonly size: number;
  readonly peaks: readonly string[];
}

const LEAF = Uint8Array.of(0x00);
const HASH_BYTES = 32;
/** Filled and hashed at once, again and again: every record of the log comes by here about twice. */
const nodeInput = Buffer.alloc(1 + 2 * HASH_BYTES, 0x01);

/** MTH of one entry: SHA-256(0x00 ‖ entry). */
const leafHash = (entry: Uint8Array): Buffer => sha256(Buffer.concat([LEAF, entry]));
/** SHA-256(0x01 ‖ left ‖ right). */
const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_BYTES);
  return sha256(nodeInput);
};

export const EMPTY_TREE: TreeState = { size: 0, peaks: [] };
/** MTH of the empty list: SHA-256 of nothing. */
const EMPTY_ROOT = sha256Hex('');

const bitCount = (size: number): number => {
  let bits = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2;
  return bits;
};

/** False for a state that can't be one (peaks and size disagree): a corrupted row must not become a signed root. */
export const isTreeState = (state: TreeState): boolean =>
  Number.isSafeInteger(state.size) &&
  state.size >= 0 &&
  state.peaks.length === bitCount(state.size) &&
  state.peaks.every((peak) => /^[0-9a-f]{64}$/.test(peak));

/** Appends entries (raw leaf inputs) and returns the new state. */
export const appendLeaves = (state: TreeState, entries: Iterable<Uint8Array>): TreeState => {
  const peaks: Buffer[] = state.peaks.map((peak) => Buffer.from(peak, 'hex'));
  let size = state.size;
  for (const entry of entries) {
    let hash = leafHash(entry);
    // Each trailing one bit of the old size is a perfect subtree of equal height to merge with.
    for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2)) hash = nodeHash(peaks.pop() as Buffer, hash);
    peaks.push(hash);
    size += 1;
  }
  return { size, peaks: peaks.map((peak) => peak.toString('hex')) };
};

/** Root hash of a state, hex: peaks folded from the right. */
export const treeRoot = (state: TreeState): string => {
  const last = state.peaks.at(-1);
  if (last === undefined) return EMPTY_ROOT;
  let root: Buffer = Buffer.from(last, 'hex');
  for (let index = state.peaks.length - 2; index >= 0; index -= 1) root = nodeHash(Buffer.from(state.peaks[index] as string, 'hex'), root);
  return root.toString('hex');
};

/** Largest power of two smaller than n (n ≥ 2). */
const splitPoint = (n: number): number => {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
};

const rangeHash = (entries: readonly Uint8Array[], from: number, to: number): Buffer => {
  if (to - from === 1) return leafHash(entries[from] as Uint8Array);
  const middle = from + splitPoint(to - from);
  return nodeHash(rangeHash(entries, from, middle), rangeHash(entries, middle, to));
};

/** RFC 6962 §2.1.1 PATH(index, entries). Throws RangeError when the index is outside. */
export const inclusionProof = (entries: readonly Uint8Array[], index: number): readonly Buffer[] => {
  if (!Number.isInteger(index) || index < 0 || index >= entries.length) throw new RangeError('leaf index outside the tree');
  const path = (from: number, to: number): Buffer[] => {
    if (to - from === 1) return [];
    const middle = from + splitPoint(to - from);
    return index < middle
      ? [...path(from, middle), rangeHash(entries, middle, to)]
      : [...path(middle, to), rangeHash(entries, from, middle)];
  };
  return path(0, entries.length);
};

/** RFC 6962 §2.1.2 PROOF(first, entries). */
export const consistencyProof = (entries: readonly Uint8Array[], first: number): readonly Buffer[] => {
  if (!Number.isInteger(first) || first < 1 || first > entries.length) throw new RangeError('first size outside the tree');
  const sub = (size: number, from: number, to: number, whole: boolean): Buffer[] => {
    if (size === to - from) return whole ? [] : [rangeHash(entries, from, to)];
    const middle = from + splitPoint(to - from);
    return size <= middle - from
      ? [...sub(size, from, middle, whole), rangeHash(entries, middle, to)]
      : [...sub(size - (middle - from), middle, to, false), rangeHash(entries, from, middle)];
  };
  return sub(first, 0, entries.length, true);
};

/** RFC 9162 §2.1.3.2 (same tree): does `proof` lead from the leaf at `index` to `root` (hex)? */
export const verifyInclusion = (entry: Uint8Array, index: number, size: number, proof: readonly Uint8Array[], root: string): boolean => {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
  let fn = index;
  let sn = size - 1;
  let hash = leafHash(entry);
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else hash = nodeHash(hash, sibling);
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && hash.toString('hex') === root;
};

/** RFC 9162 §2.1.4.2: is the tree of `first` leaves with `firstRoot` a prefix of the one of `second` leaves with `secondRoot`? */
export const verifyConsistency = (
  first: number,
  second: number,
  firstRoot: string,
  secondRoot: string,
  proof: readonly Uint8Array[],
): boolean => {
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(second) || first < 1 || first > second) return false;
  if (first === second) return proof.length === 0 && firstRoot === secondRoot;
  const isPowerOfTwo = bitCount(first) === 1;
  const path: readonly Uint8Array[] = isPowerOfTwo ? [Buffer.from(firstRoot, 'hex'), ...proof] : proof;
  const start = path[0];
  if (start === undefined) return false;
  let fn = first - 1;
  let sn = second - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  let fr: Uint8Array = start;
  let sr: Uint8Array = start;
  for (const node of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(node, fr);
      sr = nodeHash(node, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else sr = nodeHash(sr, node);
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && Buffer.from(fr).toString('hex') === firstRoot && Buffer.from(sr).toString('hex') === secondRoot;
};
