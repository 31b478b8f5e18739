// RC2 in CBC mode (RFC 2268), for reading old PKCS#12 files only: OpenSSL 3 keeps it in a provider that Node.js does not load.

// The permutation of RFC 2268 §2, hex.
const PI = Uint8Array.from(
  Buffer.from(
    'd978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82' +
      '54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb6266fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7' +
      '08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ecc2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731' +
      '2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a90d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad',
    'hex',
  ),
);

const expand = (key: Uint8Array, effectiveBits: number): Uint16Array => {
  const l = new Uint8Array(128);
  l.set(key);
  for (let i = key.length; i < 128; i += 1) l[i] = PI[((l[i - 1] as number) + (l[i - key.length] as number)) & 0xff] as number;
  const bytes = (effectiveBits + 7) >> 3;
  const mask = 0xff >> ((8 - (effectiveBits & 7)) & 7);
  l[128 - bytes] = PI[(l[128 - bytes] as number) & mask] as number;
  for (let i = 127 - bytes; i >= 0; i -= 1) l[i] = PI[(l[i + 1] as number) ^ (l[i + bytes] as number)] as number;
  const words = Uint16Array.from({ length: 64 }, (_, i) => (l[2 * i] as number) | ((l[2 * i + 1] as number) << 8));
  l.fill(0);
  return words;
};

const SHIFTS = [1, 2, 3, 5] as const;
const rotateRight = (value: number, by: number): number => ((value >>> by) | (value << (16 - by))) & 0xffff;

const decryptBlock = (words: Uint16Array, block: Uint8Array, out: Uint8Array): void => {
  const r = [0, 1, 2, 3].map((i) => (block[2 * i] as number) | ((block[2 * i + 1] as number) << 8)) as [number, number, number, number];
  const at = (i: number): number => r[i & 3] as number;
  let j = 63;
  for (let round = 15; round >= 0; round -= 1) {
    for (let i = 3; i >= 0; i -= 1) {
      const value = rotateRight(at(i), SHIFTS[i] as number);
      r[i] = (value - (words[j] as number) - (at(i + 3) & at(i + 2)) - (~at(i + 3) & at(i + 1))) & 0xffff;
      j -= 1;
    }
    if (round === 11 || round === 5) for (let i = 3; i >= 0; i -= 1) r[i] = (at(i) - (words[at(i + 3) & 63] as number)) & 0xffff;
  }
  for (let i = 0; i < 4; i += 1) {
    out[2 * i] = at(i) & 0xff;
    out[2 * i + 1] = at(i) >> 8;
  }
};

/** Without the padding taken off; undefined for a length that is no multiple of the block. */
export const decryptRc2Cbc = (key: Uint8Array, effectiveBits: number, iv: Uint8Array, data: Uint8Array): Uint8Array | undefined => {
  if (data.length === 0 || data.length % 8 !== 0 || iv.length !== 8) return undefined;
  const words = expand(key, effectiveBits);
  const out = new Uint8Array(data.length);
  let previous = iv;
  for (let at = 0; at < data.length; at += 8) {
    const block = data.subarray(at, at + 8);
    const plain = out.subarray(at, at + 8);
    decryptBlock(words, block, plain);
    for (let i = 0; i < 8; i += 1) plain[i] = (plain[i] as number) ^ (previous[i] as number);
    previous = block;
  }
  words.fill(0);
  return out;
};
