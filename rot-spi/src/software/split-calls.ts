import { checkMaterial, keyBytes } from '../checks/keys.js';
import type { CreatedKey, NewKey, RootRequest, RootResponse } from '../contract.js';
import { checkRsaPrivateKey } from '../encoding/rsa-keys.js';
import { undecryptable } from './ciphers.js';
import { checkPair, exportMaterial, type KeyMaterial, parseMaterial, type Spec } from './key-material.js';
import { FOREIGN, sealNewKey, specOf } from './new-keys.js';
import type { OpenedKey, OpenedKeys } from './opened-keys.js';
import type { SealRing } from './seal-ring.js';
import { joinSecret, type Sharing, splitSecret } from './secret-sharing.js';

/** As withZeroised, for work that is awaited. */
export const zeroingLater = async <T>(bytes: Buffer, use: (bytes: Buffer) => Promise<T>): Promise<T> => {
  try {
    return await use(bytes);
  } finally {
    bytes.fill(0);
  }
};

const splitZeroising = (secret: Buffer, parts: number, sharing: Sharing): Buffer[] => {
  try {
    return splitSecret(secret, parts, sharing);
  } finally {
    secret.fill(0);
  }
};

/** A joined PKCS#8 key may stand between zeros: before it in a prime field, after it where pieces are of two bytes. */
const withoutFiller = (bytes: Buffer): Buffer => {
  const start = bytes.findIndex((byte) => byte !== 0);
  const der = start < 0 ? bytes : bytes.subarray(start);
  // Longer than 255 bytes: 30 82 and two bytes of length; shorter: 30 81 and one, or 30 and one.
  const sizes = der[1] === 0x82 ? 2 : der[1] === 0x81 ? 1 : 0;
  const length = sizes === 0 ? (der[1] ?? 0) : der.readUIntBE(2, Math.min(sizes, Math.max(der.length - 2, 1)));
  return der.subarray(0, 2 + sizes + length);
};

/** Wrong parts make noise: no key, or a private key that does not parse. Which of them it was, nobody is told. */
const parseJoined = async (spec: Spec, bytes: Buffer): Promise<KeyMaterial> => {
  try {
    if (spec.family === 'rsa') await checkRsaPrivateKey(spec, bytes);
    checkMaterial(spec, spec.shape === 'pair' ? 'pkcs8' : 'raw', bytes);
    return await checkPair(spec, parseMaterial(spec, spec.shape === 'pair' ? 'pkcs8' : 'raw', bytes));
  } catch {
    throw undecryptable();
  }
};

/** Splitting and joining: shares are sealed like every other secret of this root. */
export const makeSplitCalls = (
  ring: SealRing,
  keys: OpenedKeys,
  seal: (newKey: NewKey, bytes: Buffer, base: OpenedKey) => CreatedKey,
): {
  readonly splitKey: (request: RootRequest<'splitKey'>) => RootResponse<'splitKey'>;
  readonly joinKey: (request: RootRequest<'joinKey'>) => Promise<RootResponse<'joinKey'>>;
} => ({
  splitKey: ({ key, newKeys, ...sharing }) => {
    const base = keys.open(key);
    const secret = exportMaterial(base.material);
    const shares = splitZeroising(secret, newKeys.length, sharing);
    return { parts: newKeys.map((newKey, index) => seal(newKey, shares[index] as Buffer, base)) };
  },
  joinKey: async ({ parts: given, newKey, ...sharing }) => {
    const shares = given.map(({ key, part }) => ({ part, bytes: exportMaterial(keys.open(key).material) }));
    const spec = specOf(newKey.binding);
    try {
      const length = spec.shape === 'pair' ? undefined : (keyBytes(spec) ?? newKey.length);
      return await zeroingLater(joinSecret(shares, sharing, length), async (bytes) =>
        sealNewKey(ring, newKey.binding, await parseJoined(spec, spec.shape === 'pair' ? withoutFiller(bytes) : bytes), FOREIGN),
      );
    } finally {
      for (const { bytes } of shares) bytes.fill(0);
    }
  },
});
