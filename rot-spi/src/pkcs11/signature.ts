import { timingSafeEqual } from 'node:crypto';
import type { RootRequest, RootResponse } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { curveOf } from './asymmetric.js';
import { staleKey } from './cipher.js';
import { ckrOf } from './ck-error.js';
import { CKM, CKR } from './constants.js';
import type { Mechanism } from './cryptoki.js';
import { ecdsaFromDer, ecdsaToDer } from './der.js';
import { hashOf, hmacMechanism, type SignatureForm, signatureMechanism, toDigestInput } from './mechanisms.js';
import { type Context, perform, toInput } from './session-call.js';

const MAX_SIGNATURE_BYTES = 1_024;
const MAX_MAC_BYTES = 64;
const CMAC_BYTES = 16;
/** Shorter than this a truncated MAC proves nothing (contract). */
const MIN_MAC_BYTES = 4;
const TRUE = Buffer.of(1);
const FALSE = Buffer.of(0);

type SignRequest = Omit<RootRequest<'sign'>, 'key'>;

/** Hash inside the module where it can; outside, over public data, where it only signs digests or the caller has hashed. */
export const signatureForm = (context: Context, request: Pick<SignRequest, 'algorithm' | 'prehashed'> & SignRequest): SignatureForm => {
  const plan = context.plans.algorithms.get(request.algorithm);
  const digest = request.prehashed === true || plan?.hashesInside !== true;
  const hashed = ALGORITHMS[request.algorithm].hash !== undefined;
  if (request.prehashed === true && plan?.signsDigest !== true)
    throw new RootFault('unsupported', `this module signs messages with ${request.algorithm}, not digests`, 'Send the message itself.');
  return { mechanism: signatureMechanism(request.algorithm, digest && hashed, request, plan?.variant), digest: digest && hashed };
};

const toSignatureInput = (form: SignatureForm, algorithm: Algorithm, spec: KeySpec, data: Uint8Array, prehashed: boolean): Buffer => {
  const { hash } = ALGORITHMS[algorithm];
  if (form.digest && hash !== undefined) return toDigestInput(algorithm, spec, prehashed ? toInput(data) : hashOf(hash, data));
  return algorithm === 'ecdsa-raw' ? toDigestInput(algorithm, spec, toInput(data)) : toInput(data);
};

export const encodeSignature = (algorithm: Algorithm, signature: Buffer, encoding: 'der' | 'p1363' | undefined): Buffer =>
  algorithm.startsWith('ecdsa') && encoding !== 'p1363' ? ecdsaToDer(signature) : signature;

/** The signature in the module's form, or undefined when no key of this spec can have made it. */
export const decodeSignature = (
  algorithm: Algorithm,
  spec: KeySpec,
  signature: Uint8Array,
  encoding: 'der' | 'p1363' | undefined,
): Buffer | undefined => {
  const bytes = toInput(signature);
  const row = KEY_SPECS[spec];
  if (row.family === 'rsa') return bytes.length === row.bits / 8 ? bytes : undefined;
  const { width } = curveOf(spec);
  if (row.family === 'eddsa') return bytes.length === 2 * width ? bytes : undefined;
  const fixed = algorithm.startsWith('ecdsa') && encoding !== 'p1363' ? ecdsaFromDer(bytes, width) : bytes;
  if (fixed?.length !== 2 * width) return undefined;
  // FIPS 186-5 §6.4.2 step 1: neither may be zero; some modules fall over it.
  return fixed.subarray(0, width).some((b) => b !== 0) && fixed.subarray(width).some((b) => b !== 0) ? fixed : undefined;
};

export const sign = (context: Context, request: RootRequest<'sign'>): Promise<RootResponse<'sign'>> => {
  const { connection, keys } = context;
  const { algorithm, encoding } = request;
  const { spec } = request.key.binding;
  const form = signatureForm(context, request);
  const input = toSignatureInput(form, algorithm, spec, request.data, request.prehashed === true);
  const toResponse = (signature: Buffer): RootResponse<'sign'> => ({ signature: encodeSignature(algorithm, signature, encoding) });
  return connection.run(
    () => {
      const key = keys.openSecret(request.key);
      const { cryptoki } = connection;
      const output = perform(context, key, key.reference.keyType, {
        init: (session) => cryptoki.C_SignInit(session, form.mechanism, key.handle),
        now: (session, out) => cryptoki.C_Sign(session, input, out),
        later: (session, out) => cryptoki.C_SignAsync(session, input, out),
        holds: [input, form.mechanism],
        inputBytes: input.length,
        outputBytes: MAX_SIGNATURE_BYTES,
      });
      return output instanceof Promise ? output.then(toResponse) : toResponse(output);
    },
    { repeatable: true, stale: () => keys.forget(request.key) },
  );
};

const isMismatch = (error: unknown): boolean => {
  const rv = ckrOf(error);
  return rv === CKR.SIGNATURE_INVALID || rv === CKR.SIGNATURE_LEN_RANGE;
};

/** CK_RSA_PKCS_PSS_PARAMS names one salt length, so the usual ones are tried: the hash's, the longest that fits, none. */
const saltLengths = ({ key, algorithm }: RootRequest<'verify'>): readonly number[] => {
  const hash = HASH_BYTES[ALGORITHMS[algorithm].hash ?? 'sha256'];
  const { bits } = KEY_SPECS['reference' in key ? key.binding.spec : key.spec];
  // RFC 8017 §9.1.1 step 3.
  return [hash, Math.ceil((bits - 1) / 8) - hash - 2, 0];
};

export const verify = async (context: Context, request: RootRequest<'verify'>): Promise<RootResponse<'verify'>> => {
  const { anySalt, ...rest } = request;
  if (anySalt !== true) return verifyOnce(context, rest);
  for (const saltLength of saltLengths(request)) {
    const verdict = await verifyOnce(context, { ...rest, saltLength });
    if (verdict.valid) return verdict;
  }
  return { valid: false };
};

const verifyOnce = async (context: Context, request: RootRequest<'verify'>): Promise<RootResponse<'verify'>> => {
  const { connection, keys } = context;
  const { algorithm } = request;
  const spec = 'reference' in request.key ? request.key.binding.spec : request.key.spec;
  const form = signatureForm(context, request);
  const input = toSignatureInput(form, algorithm, spec, request.data, request.prehashed === true);
  const signature = decodeSignature(algorithm, spec, request.signature, request.encoding);
  try {
    const verdict = await connection.run(
      async () => {
        // The key is opened first: a broken reference or key is an error, whatever the signature.
        const { spki } = keys.publicKeyOf(request.key);
        const handle = keys.openPublic(spec, spki);
        if (signature === undefined) return FALSE;
        const { cryptoki } = connection;
        return await mismatchAsFalse(() =>
          perform(context, undefined, keys.plan(spec).keyType, {
            init: (session) => cryptoki.C_VerifyInit(session, form.mechanism, handle),
            now: (session) => (cryptoki.C_Verify(session, input, signature) ? TRUE : FALSE),
            later: async (session) => ((await cryptoki.C_VerifyAsync(session, input, signature)) ? TRUE : FALSE),
            holds: [input, signature, form.mechanism],
            inputBytes: input.length,
            outputBytes: 0,
          }),
        );
      },
      { repeatable: true, data: 'decryption-failed', suspectData: true, stale: staleKey(context, request.key) },
    );
    return { valid: verdict[0] === 1 };
  } catch (error) {
    // The module refuses the signature's bytes in its own way, twice, while it is well: no valid one can do that.
    if (error instanceof RootFault && error.code === 'decryption-failed') return { valid: false };
    throw error;
  }
};

const mismatchAsFalse = async (check: () => Buffer | Promise<Buffer>): Promise<Buffer> => {
  try {
    return await check();
  } catch (error) {
    if (isMismatch(error)) return FALSE;
    throw error;
  }
};

export const macMechanism = (algorithm: Algorithm): Mechanism => {
  if (algorithm === 'aes-cmac') return { mechanism: CKM.AES_CMAC };
  const { hash } = ALGORITHMS[algorithm];
  const mechanism = hash === undefined ? undefined : hmacMechanism(hash);
  if (mechanism === undefined) throw new RootFault('unsupported', `PKCS#11 has no mechanism for ${algorithm}`);
  return { mechanism };
};
export const macBytesOf = (algorithm: Algorithm): number => {
  const { hash } = ALGORITHMS[algorithm];
  return hash === undefined ? CMAC_BYTES : HASH_BYTES[hash];
};

export const mac = (context: Context, request: RootRequest<'mac'>): Promise<RootResponse<'mac'>> => {
  const { connection, keys } = context;
  const input = toInput(request.data);
  const mechanism = macMechanism(request.algorithm);
  return connection.run(
    () => {
      const key = keys.openSecret(request.key);
      const { cryptoki } = connection;
      const output = perform(context, key, key.reference.keyType, {
        init: (session) => cryptoki.C_SignInit(session, mechanism, key.handle),
        now: (session, out) => cryptoki.C_Sign(session, input, out),
        later: (session, out) => cryptoki.C_SignAsync(session, input, out),
        holds: [input],
        inputBytes: input.length,
        outputBytes: MAX_MAC_BYTES,
      });
      return output instanceof Promise ? output.then((bytes) => ({ mac: bytes })) : { mac: output };
    },
    { repeatable: true, stale: () => keys.forget(request.key) },
  );
};

/** Compared in constant time over the length given; what is too short to prove anything does not match. */
export const macMatches = (expected: Uint8Array, given: Uint8Array): boolean =>
  given.length >= MIN_MAC_BYTES && given.length <= expected.length && timingSafeEqual(expected.subarray(0, given.length), given);

export const macVerify = async (context: Context, request: RootRequest<'macVerify'>): Promise<RootResponse<'macVerify'>> => {
  const { mac: expected } = await mac(context, request);
  return { valid: macMatches(expected, request.mac) };
};
