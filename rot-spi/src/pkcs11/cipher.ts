import type { BoundKey, RootRequest, RootResponse, VerificationKey } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { CKK } from './constants.js';
import type { Handle } from './cryptoki.js';
import type { OpenKey } from './key-store.js';
import { cipherMechanism } from './mechanisms.js';
import { type Context, perform, random, toInput } from './session-call.js';

/** Padding, tag, or an RSA block of 4,096 bits over the input. */
const PAD_BYTES = 64;
const RSA_BLOCK_BYTES = 1_024;

export interface CipherKey {
  readonly opened: OpenKey | undefined;
  readonly handle: Handle;
  readonly keyType: number;
}

/** Encryption takes the secret key, or the public half of a pair. */
export const encryptionKey = (context: Context, key: VerificationKey): CipherKey => {
  const spec = 'reference' in key ? key.binding.spec : key.spec;
  if (KEY_SPECS[spec].shape === 'pair') {
    const { spki } = context.keys.publicKeyOf(key);
    return { opened: undefined, handle: context.keys.openPublic(spec, spki), keyType: CKK.RSA };
  }
  if (!('reference' in key)) throw new RootFault('invalid-argument', `${spec} keys have no public form`);
  const opened = context.keys.openSecret(key);
  return { opened, handle: opened.handle, keyType: opened.reference.keyType };
};

export const staleKey = (context: Context, key: VerificationKey) => (): void => {
  if ('reference' in key) {
    const { spec } = key.binding;
    if (KEY_SPECS[spec].shape === 'pair') context.keys.forgetPublic(spec, context.keys.publicKeyOf(key).spki);
    context.keys.forget(key);
  } else context.keys.forgetPublic(key.spec, Buffer.from(key.publicKey));
};

/** The caller's IV, or a fresh one of the algorithm's length from the module. */
export const toIv = (context: Context, algorithm: Algorithm, iv: Uint8Array | undefined): Buffer => {
  if (iv !== undefined) return Buffer.from(iv);
  const { cryptoki, anchor } = context.connection;
  return random(cryptoki, anchor, ALGORITHMS[algorithm].ivLength ?? 0);
};

export const tagBytesOf = (algorithm: Algorithm, tagLength: number | undefined): number => {
  const row = ALGORITHMS[algorithm];
  return row.tagLength === undefined ? 0 : (tagLength ?? row.tagLength);
};

const outputBytes = (keyType: number, inputBytes: number): number => (keyType === CKK.RSA ? RSA_BLOCK_BYTES : inputBytes + PAD_BYTES);

/** RFC 8017 §7: what fits one RSA block. Modules answer anything at all to too much. */
const checkRsaRoom = (algorithm: Algorithm, spec: KeySpec, bytes: number): void => {
  const modulus = KEY_SPECS[spec].bits / 8;
  const { hash } = ALGORITHMS[algorithm];
  if (algorithm === 'rsa-raw') {
    if (bytes !== modulus) throw new RootFault('invalid-argument', `rsa-raw takes exactly ${modulus} bytes`);
    return;
  }
  const room = modulus - (hash === undefined ? 11 : 2 * HASH_BYTES[hash] + 2);
  if (bytes > room) throw new RootFault('invalid-argument', `${algorithm} takes at most ${room} bytes with a ${spec} key`);
};

export const encrypt = (context: Context, request: RootRequest<'encrypt'>): Promise<RootResponse<'encrypt'>> => {
  const { connection } = context;
  const { algorithm } = request;
  const tagBytes = tagBytesOf(algorithm, request.tagLength);
  const input = toInput(request.plaintext);
  const spec = 'reference' in request.key ? request.key.binding.spec : request.key.spec;
  if (KEY_SPECS[spec].family === 'rsa') checkRsaRoom(algorithm, spec, input.length);
  const split = (iv: Buffer, output: Buffer): RootResponse<'encrypt'> => {
    const fresh = request.iv === undefined && iv.length > 0 ? { iv } : {};
    if (tagBytes === 0) return { ciphertext: output, ...fresh };
    return { ciphertext: output.subarray(0, output.length - tagBytes), tag: output.subarray(output.length - tagBytes), ...fresh };
  };
  return connection.run(
    () => {
      const key = encryptionKey(context, request.key);
      const iv = toIv(context, algorithm, request.iv);
      const mechanism = cipherMechanism(algorithm, iv, request, tagBytes);
      const { cryptoki } = connection;
      const output = perform(context, key.opened, key.keyType, {
        init: (session) => cryptoki.C_EncryptInit(session, mechanism, key.handle),
        now: (session, out) => cryptoki.C_Encrypt(session, input, out),
        later: (session, out) => cryptoki.C_EncryptAsync(session, input, out),
        holds: [input, mechanism],
        inputBytes: input.length,
        outputBytes: outputBytes(key.keyType, input.length),
      });
      return output instanceof Promise ? output.then((bytes) => split(iv, bytes)) : split(iv, output);
    },
    { repeatable: true, stale: staleKey(context, request.key) },
  );
};

export const decrypt = (context: Context, request: RootRequest<'decrypt'>): Promise<RootResponse<'decrypt'>> => {
  const { connection, keys } = context;
  const { algorithm, tag } = request;
  const tagBytes = tagBytesOf(algorithm, tag?.length ?? request.tagLength);
  const input = toInput(tag === undefined ? request.ciphertext : Buffer.concat([request.ciphertext, tag]));
  const { spec } = request.key.binding;
  // A block of another length cannot be one of this key's; some modules read past its end.
  if (KEY_SPECS[spec].family === 'rsa' && input.length !== KEY_SPECS[spec].bits / 8) return openOnly(context, request.key);
  const toPlaintext = (plaintext: Buffer): RootResponse<'decrypt'> => ({ plaintext });
  return connection.run(
    () => {
      const key = keys.openSecret(request.key);
      const { keyType } = key.reference;
      const mechanism = cipherMechanism(algorithm, Buffer.from(request.iv ?? []), request, tagBytes);
      const { cryptoki } = connection;
      const output = perform(context, key, keyType, {
        init: (session) => cryptoki.C_DecryptInit(session, mechanism, key.handle),
        now: (session, out) => cryptoki.C_Decrypt(session, input, out),
        later: (session, out) => cryptoki.C_DecryptAsync(session, input, out),
        holds: [input, mechanism],
        inputBytes: input.length,
        outputBytes: outputBytes(keyType, input.length),
        confidential: true,
      });
      return output instanceof Promise ? output.then(toPlaintext) : toPlaintext(output);
    },
    { repeatable: true, data: 'decryption-failed', suspectData: true, stale: () => keys.forget(request.key) },
  );
};

/** The reference is still checked first, so that the answer tells nothing about a key that is not the caller's. */
const openOnly = (context: Context, key: BoundKey): Promise<never> =>
  context.connection.run(
    () => {
      context.keys.openSecret(key);
      throw new RootFault('decryption-failed', 'the input does not decrypt under this key');
    },
    { repeatable: true, stale: () => context.keys.forget(key) },
  );

/** PKCS#11 has no re-encryption: the plaintext exists for a moment in this process, which is the root's own, and is overwritten. */
export const reEncrypt = async (context: Context, request: RootRequest<'reEncrypt'>): Promise<RootResponse<'reEncrypt'>> => {
  const { plaintext } = await decrypt(context, request.from);
  try {
    return await encrypt(context, { ...request.to, plaintext });
  } finally {
    plaintext.fill(0);
  }
};

export const generateDataKey = async (
  context: Context,
  request: RootRequest<'generateDataKey'>,
): Promise<RootResponse<'generateDataKey'>> => {
  const { connection } = context;
  const plaintext = await connection.run(() => random(connection.cryptoki, connection.anchor, request.length), { repeatable: true });
  let revealed = false;
  try {
    const { key, aad } = request;
    const made = await encrypt(context, { key, algorithm: 'aes-gcm', plaintext, ...(aad === undefined ? {} : { aad }) });
    if (made.iv === undefined || made.tag === undefined) throw new RootFault('internal', 'the module returned no IV or tag');
    revealed = request.reveal;
    return { ciphertext: made.ciphertext, iv: made.iv, tag: made.tag, ...(revealed ? { plaintext } : {}) };
  } finally {
    if (!revealed) plaintext.fill(0);
  }
};
