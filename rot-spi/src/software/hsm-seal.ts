import type { Pkcs11RootConfig, SoftwareRootConfig } from '../config.js';
import type { BoundKey, KeyBinding } from '../contract.js';
import { RootFault } from '../fault.js';
import type { KekWrapper } from './seal-ring.js';

type PkcsSeal = Extract<SoftwareRootConfig['seal'], { kind: 'pkcs11' }>;

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** What the key in the HSM is bound to: the same for the whole life of a seal, so that only this use opens its reference. */
const BINDING: KeyBinding = {
  objectId: 'aegis-software-root-seal',
  version: 1,
  tenant: 'aegis',
  spec: 'aes-256',
  usage: ['encrypt', 'decrypt'],
  exportable: false,
};

const toConfig = ({ hsm }: PkcsSeal, id: string): Pkcs11RootConfig => ({
  id: `${id} seal`,
  kind: 'pkcs11',
  storage: 'token',
  sessions: 1,
  ...hsm,
});

const keyOf = (text: string): BoundKey => ({ reference: Buffer.from(text, 'hex'), binding: BINDING });

/**
 * Seals with a non-extractable AES-256 key of an HSM (AES-256-GCM, the root's fingerprint as associated data). The HSM is opened for
 * each use and closed again: a software root needs it at start, when it is checked, and never to work.
 */
export const makeHsmWrapper = (seal: PkcsSeal, id: string): KekWrapper => {
  let known: string | undefined;
  const withHsm = async <T>(use: (call: import('../contract.js').RootOfTrust) => Promise<T>): Promise<T> => {
    const { openPkcs11Root } = await import('../pkcs11/index.js');
    const hsm = await openPkcs11Root(toConfig(seal, id));
    try {
      return await use(hsm);
    } catch (error) {
      if (!(error instanceof RootFault) || error.code === 'unavailable' || error.code === 'pin-rejected') throw error;
      throw new RootFault('sealed', `the HSM does not open the seal of ${seal.path}: ${error.message}`, error.next);
    } finally {
      await hsm.close();
    }
  };
  return {
    provider: 'pkcs11',
    wrap: (kek, context) =>
      withHsm(async (hsm) => {
        known ??= Buffer.from((await hsm.call('generateKey', { binding: BINDING })).reference).toString('hex');
        const sealed = await hsm.call('encrypt', { key: keyOf(known), algorithm: 'aes-gcm', plaintext: kek, aad: context });
        const { iv, tag, ciphertext } = sealed;
        if (iv?.length !== IV_BYTES || tag?.length !== TAG_BYTES)
          throw new RootFault('unsupported', 'the HSM has no AES-GCM with a 96-bit IV');
        return { provider: 'pkcs11', key: known, blob: Buffer.concat([iv, ciphertext, tag]).toString('hex') };
      }),
    unwrap: (wrapped, context) =>
      withHsm(async (hsm) => {
        const blob = Buffer.from(wrapped.blob, 'hex');
        const { plaintext } = await hsm.call('decrypt', {
          key: keyOf(wrapped.key),
          algorithm: 'aes-gcm',
          iv: blob.subarray(0, IV_BYTES),
          ciphertext: blob.subarray(IV_BYTES, -TAG_BYTES),
          tag: blob.subarray(-TAG_BYTES),
          aad: context,
        });
        known = wrapped.key;
        return Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
      }),
    isStale: async () => false,
  };
};
