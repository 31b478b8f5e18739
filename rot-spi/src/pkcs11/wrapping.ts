import type { CreatedKey, KeyBinding, RootRequest, RootResponse } from '../contract.js';
import { RootFault } from '../fault.js';
import { type Algorithm, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { curveOf } from './asymmetric.js';
import { encryptionKey, staleKey, tagBytesOf, toIv } from './cipher.js';
import { ckrOf, classOf } from './ck-error.js';
import { CKA, CKM } from './constants.js';
import type { Handle, Mechanism, Template } from './cryptoki.js';
import { asBuffer } from './key-store.js';
import { heldBytes, readSpki, secretBytes, transportTemplate, valueBytes } from './making.js';
import { cipherMechanism } from './mechanisms.js';
import { visible, WHOLE_BLOCKS } from './probe-secrets.js';
import { findPublicPoint } from './public-point.js';
import { type Context, initialise } from './session-call.js';
import { readAttribute, readNumber } from './templates.js';

const MAX_WRAPPED_BYTES = 16_384;
const KW_BLOCK_BYTES = 8;

/** KW and KWP have several numbers across modules; the probe has found the right one. */
const wrapMechanism = (
  context: Context,
  algorithm: Algorithm,
  iv: Buffer,
  request: RootRequest<'wrapKey'> | RootRequest<'unwrapKey'>,
): Mechanism => {
  const plan = context.plans.algorithms.get(algorithm);
  if (plan === undefined) throw new RootFault('unsupported', `this module does not wrap with ${algorithm}`);
  if (algorithm === 'aes-kw' || algorithm === 'aes-kwp') return { mechanism: plan.mechanism };
  return cipherMechanism(algorithm, iv, request, tagBytesOf(algorithm, request.tagLength));
};

export const wrapKey = (context: Context, request: RootRequest<'wrapKey'>): Promise<RootResponse<'wrapKey'>> => {
  const { connection, keys } = context;
  const { algorithm } = request;
  return connection.run(
    () => {
      const target = keys.openSecret(request.key);
      checkWrappable(context, algorithm, request.key.binding.spec, target.reference.bits);
      const { handle } = encryptionKey(context, request.wrappingKey);
      const iv = toIv(context, algorithm, request.iv);
      const fresh = request.iv === undefined && iv.length > 0 ? { iv } : {};
      if (algorithm === 'rsa-aes-kwp') return { wrapped: wrapInTwoSteps(context, request, handle, target.handle) };
      return { wrapped: wrapOnce(context, wrapMechanism(context, algorithm, iv, request), handle, target.handle), ...fresh };
    },
    {
      repeatable: true,
      stale: () => {
        keys.forget(request.key);
        staleKey(context, request.wrappingKey)();
      },
    },
  );
};

/** RFC 3394 takes whole blocks only; modules differ in what they do with the rest, some pad it silently. */
const checkWrappable = (context: Context, algorithm: Algorithm, spec: KeySpec, bits: number): void => {
  const pair = KEY_SPECS[spec].shape === 'pair';
  const whole = !pair && secretBytes(spec, bits) % KW_BLOCK_BYTES === 0;
  if (!pair && heldBytes(context, spec, secretBytes(spec, bits)) !== secretBytes(spec, bits))
    throw new RootFault(
      'unsupported',
      'this module holds short HMAC keys padded and would wrap the padding too',
      'Export the key instead.',
    );
  const kwp = algorithm === 'aes-kwp' || algorithm === 'rsa-aes-kwp';
  if (kwp && !pair && !whole && context.plans.algorithms.get('aes-kwp')?.variant === WHOLE_BLOCKS)
    throw new RootFault('unsupported', 'this module wraps only values of whole 8-byte blocks correctly', 'Use a key of such a length.');
  if (algorithm === 'aes-kw' && (!whole || secretBytes(spec, bits) < 2 * KW_BLOCK_BYTES))
    throw new RootFault(
      'invalid-argument',
      `aes-kw wraps whole blocks of ${KW_BLOCK_BYTES} bytes`,
      'Use aes-kwp for keys of other lengths and private keys.',
    );
};

const wrapOnce = (context: Context, mechanism: Mechanism, wrapping: Handle, key: Handle): Buffer => {
  const { cryptoki, anchor } = context.connection;
  let wrapped = Buffer.alloc(0);
  initialise(() => {
    wrapped = Buffer.from(cryptoki.C_WrapKey(anchor, mechanism, wrapping, key, Buffer.alloc(MAX_WRAPPED_BYTES)));
  });
  return wrapped;
};

const kwpMechanism = (context: Context): number => {
  const plan = context.plans.algorithms.get('aes-kwp');
  if (plan === undefined) throw new RootFault('unsupported', 'this module has no aes-kwp');
  return plan.mechanism;
};

/** RSA AES KEY WRAP as its two steps inside the module (v3.0 §6.1.21): its parameter holds a pointer pkcs11js cannot pass. */
const wrapInTwoSteps = (context: Context, request: RootRequest<'wrapKey'>, rsa: Handle, key: Handle): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const mechanism = kwpMechanism(context);
  const template = transportTemplate().map((attribute) => (attribute.type === CKA.EXTRACTABLE ? { ...attribute, value: true } : attribute));
  const kek = cryptoki.C_GenerateKey(anchor, { mechanism: CKM.AES_KEY_GEN }, template);
  try {
    const outer = wrapOnce(context, cipherMechanism('rsa-oaep-sha256-wrap', Buffer.alloc(0), request, 0), rsa, kek);
    return Buffer.concat([outer, wrapOnce(context, { mechanism }, kek, key)]);
  } finally {
    cryptoki.C_DestroyObject(anchor, kek);
  }
};

type Unwrap = (template: Template) => Handle;

export const unwrapKey = (context: Context, request: RootRequest<'unwrapKey'>): Promise<CreatedKey> => {
  const { connection, keys } = context;
  const { newKey, algorithm } = request;
  return connection.run(
    () => {
      const unwrapping = keys.openSecret(request.unwrappingKey);
      const wrapped = asBuffer(request.wrapped);
      checkWrappedLength(algorithm, request.unwrappingKey.binding.spec, wrapped.length);
      return withUnwrap(context, request, unwrapping.handle, wrapped, algorithm, (unwrap) =>
        KEY_SPECS[newKey.binding.spec].shape === 'pair'
          ? unwrapPrivate(context, newKey.binding, unwrap)
          : unwrapSecret(context, newKey.binding, newKey.length, algorithm === 'aes-kw', unwrap),
      );
    },
    { repeatable: false, data: 'decryption-failed', suspectData: true, stale: () => keys.forget(request.unwrappingKey) },
  );
};

/** Lengths no wrapping can have are not left to the module's care. */
const checkWrappedLength = (algorithm: Algorithm, spec: KeySpec, bytes: number): void => {
  const { family, bits } = KEY_SPECS[spec];
  const least = algorithm === 'aes-kw' ? 3 * KW_BLOCK_BYTES : 2 * KW_BLOCK_BYTES;
  const keyWrap = algorithm === 'aes-kw' || algorithm === 'aes-kwp';
  const possible = keyWrap
    ? bytes % KW_BLOCK_BYTES === 0 && bytes >= least
    : family !== 'rsa' || (algorithm === 'rsa-aes-kwp' ? bytes >= bits / 8 + least : bytes === bits / 8);
  if (!possible) throw new RootFault('decryption-failed', 'the input does not decrypt under this key');
};

const withUnwrap = (
  context: Context,
  request: RootRequest<'unwrapKey'>,
  unwrapping: Handle,
  wrapped: Buffer,
  algorithm: Algorithm,
  use: (unwrap: Unwrap) => CreatedKey,
): CreatedKey => {
  const { cryptoki, anchor } = context.connection;
  const once =
    (mechanism: Mechanism, key: Handle, blob: Buffer): Unwrap =>
    (template) =>
      cryptoki.C_UnwrapKey(anchor, mechanism, key, blob, template);
  if (algorithm !== 'rsa-aes-kwp')
    return use(once(wrapMechanism(context, algorithm, asBuffer(request.iv ?? new Uint8Array()), request), unwrapping, wrapped));
  const outerBytes = KEY_SPECS[request.unwrappingKey.binding.spec].bits / 8;
  if (wrapped.length <= outerBytes) throw new RootFault('decryption-failed', 'the input does not decrypt under this key');
  const outer = cipherMechanism('rsa-oaep-sha256-wrap', Buffer.alloc(0), request, 0);
  const template = transportTemplate().filter(({ type }) => type !== CKA.VALUE_LEN);
  const kek = once(outer, unwrapping, wrapped.subarray(0, outerBytes))(template);
  try {
    return use(once({ mechanism: kwpMechanism(context) }, kek, wrapped.subarray(outerBytes)));
  } finally {
    cryptoki.C_DestroyObject(anchor, kek);
  }
};

/** Placement of a short-lived look at what is inside: a session object that can do nothing but be wrapped. */
const lookTemplate = (context: Context, binding: KeyBinding, usage: KeyBinding['usage']): Template =>
  context.keys.templateOf({
    binding: { ...binding, usage },
    keyType: context.keys.plan(binding.spec).keyType,
    token: false,
    extractable: true,
    sensitive: true,
    valueLater: true,
  });

const unwrapSecret = (
  context: Context,
  binding: KeyBinding,
  length: number | undefined,
  exactBlocks: boolean,
  unwrap: Unwrap,
): CreatedKey => {
  const { keys } = context;
  const bytes = measureSecret(context, binding, length, exactBlocks, unwrap);
  const placement = keys.placement(binding, bytes);
  const row = KEY_SPECS[binding.spec];
  const handle = unwrap(keys.templateOf({ ...placement, valueLater: true }));
  return keys.keep(placement, handle, { bits: row.variableLength === true ? bytes * 8 : row.bits });
};

const withLook = <T>(context: Context, unwrap: Unwrap, template: Template, use: (look: Handle) => T): T => {
  const { cryptoki, anchor } = context.connection;
  const look = unwrap(template);
  try {
    return use(look);
  } finally {
    cryptoki.C_DestroyObject(anchor, look);
  }
};

/**
 * Length of a secret the module will not show. CKA_VALUE_LEN where the module fills it in (SoftHSM does not after an unwrap);
 * else from the length of its wrapping under the root's own key, which tells it up to the padding; and where that leaves a
 * choice, the value itself, but only of a key that may leave the token anyway.
 */
const measureSecret = (context: Context, binding: KeyBinding, wanted: number | undefined, exactBlocks: boolean, unwrap: Unwrap): number => {
  const { cryptoki, anchor } = context.connection;
  const { spec } = binding;
  const row = KEY_SPECS[spec];
  const exact = row.variableLength === true ? wanted : valueBytes(spec);
  const wrong = (): RootFault => new RootFault('invalid-argument', `the wrapped value is not a ${spec} key of the expected length`);
  const template = lookTemplate(context, binding, []);
  const { told, padded } = withLook(context, unwrap, template, (look) => ({
    told: readNumber(cryptoki, anchor, look, CKA.VALUE_LEN),
    padded: paddedLength(context, spec, look),
  }));
  if (told !== undefined && told > 0) {
    if (exact !== undefined && told !== exact) throw wrong();
    return told;
  }
  if (exact !== undefined) {
    if (padded !== undefined && toBlocks(exact) !== padded) throw wrong();
    return exact;
  }
  if (exactBlocks && padded !== undefined) return padded;
  if (binding.exportable) return withLook(context, unwrap, visible(template), (look) => visibleLength(context, look));
  if (padded !== undefined && row.bits > 0 && toBlocks(row.bits / 8) === padded) return row.bits / 8;
  throw new RootFault('invalid-argument', 'the module does not tell the exact length of the wrapped value', 'Give newKey.length.');
};

const toBlocks = (bytes: number): number => Math.ceil(bytes / KW_BLOCK_BYTES) * KW_BLOCK_BYTES;

const paddedLength = (context: Context, spec: KeySpec, look: Handle): number | undefined => {
  const { connection, anchors, keys } = context;
  const { wrap } = keys.plan(spec);
  if (wrap === undefined || anchors.wrapping === undefined) return undefined;
  const { cryptoki, anchor } = connection;
  const blob = cryptoki.C_WrapKey(anchor, { mechanism: wrap }, anchors.wrapping.handle, look, Buffer.alloc(MAX_WRAPPED_BYTES));
  return blob.length - KW_BLOCK_BYTES;
};

const visibleLength = (context: Context, look: Handle): number => {
  const { cryptoki, anchor } = context.connection;
  const value = readAttribute(cryptoki, anchor, look, CKA.VALUE);
  if (value === undefined)
    throw new RootFault('invalid-argument', 'the module does not tell the length of the wrapped value', 'Give newKey.length.');
  value.fill(0);
  return value.length;
};

const unwrapPrivate = (context: Context, binding: KeyBinding, unwrap: Unwrap): CreatedKey => {
  const { keys } = context;
  const spki = findSpki(context, binding, unwrap);
  const placement = keys.placement(binding);
  const handle = unwrap([...keys.templateOf({ ...placement, valueLater: true }), ...keys.pointHint(binding.spec, spki)]);
  return keys.keep(placement, handle, { bits: KEY_SPECS[binding.spec].bits, spki });
};

/** The public key of a wrapped private key, found inside the module. */
const findSpki = (context: Context, binding: KeyBinding, unwrap: Unwrap): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const { spec } = binding;
  const ec = KEY_SPECS[spec].family === 'ec';
  const template = lookTemplate(context, binding, ec ? ['sign', 'agree'] : ['sign']);
  const look = unwrap([...template, ...context.keys.placeholderPoint(spec)]);
  try {
    if (ec) checkCurve(context, look, spec);
    const told = ec && context.keys.plan(spec).needsPoint === true ? undefined : readSpki(cryptoki, anchor, look, spec);
    const spki = told ?? (ec ? findPublicPoint(context, spec, look) : undefined);
    if (spki === undefined) throw new RootFault('unsupported', `this module does not tell the public key of an unwrapped ${spec} key`);
    return spki;
  } catch (error) {
    const rv = ckrOf(error);
    if (rv !== undefined && classOf(rv) === 'refusal')
      throw new RootFault('invalid-argument', `the wrapped value is not a usable ${spec} key`);
    throw error;
  } finally {
    cryptoki.C_DestroyObject(anchor, look);
  }
};

const checkCurve = (context: Context, handle: Handle, spec: KeySpec): void => {
  const { cryptoki, anchor } = context.connection;
  const params = readAttribute(cryptoki, anchor, handle, CKA.EC_PARAMS);
  if (params !== undefined && !params.equals(curveOf(spec).params))
    throw new RootFault('invalid-argument', `the wrapped key is not on the curve of ${spec}`);
};
