import { createDecipheriv, randomBytes } from 'node:crypto';
import type { CreatedKey, KeyEvidence, RootRequest, RootResponse } from '../contract.js';
import { RootFault } from '../fault.js';
import { HASH_BYTES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import {
  canonicalSpki,
  normalisePkcs8,
  type PrivateParts,
  pointFromAttribute,
  pointToSpki,
  readPkcs8,
  rsaToSpki,
  valueToPkcs8,
} from './asymmetric.js';
import { CKA, CKK, CKO, mechanismName } from './constants.js';
import type { Cryptoki, Handle, KeyPairHandles, Template } from './cryptoki.js';
import { asBuffer, type OpenKey, pointHint } from './key-store.js';
import type { SpecPlan, WrapCipher } from './plans.js';
import type { Context } from './session-call.js';
import { newPublicTemplate, readAttribute, readBoolean, readNumber } from './templates.js';

const DEFAULT_SECRET_BITS = 256;
const DEFAULT_EXPONENT = 65_537;
const MAX_WRAPPED_BYTES = 16_384;
const KEK_BYTES = 32;

/** Bytes of a value of this spec: parity included for 3DES, the nominal size where the length is open. */
export const valueBytes = (spec: KeySpec): number => {
  if (spec === 'des3-112') return 16;
  if (spec === 'des3-168') return 24;
  return KEY_SPECS[spec].bits / 8;
};

/** Bytes of a key already made. */
export const secretBytes = (spec: KeySpec, bits: number): number => (KEY_SPECS[spec].variableLength === true ? bits / 8 : valueBytes(spec));

/** Length in the token of an HMAC value, where the module wants at least the digest's. */
export const heldBytes = (context: Context, spec: KeySpec, bytes: number): number => {
  const { hash } = KEY_SPECS[spec];
  return hash !== undefined && context.plans.padsShortHmac ? Math.max(bytes, HASH_BYTES[hash]) : bytes;
};
const paddedValue = (context: Context, spec: KeySpec, material: Uint8Array): Buffer => {
  const held = heldBytes(context, spec, material.length);
  return held === material.length ? asBuffer(material) : Buffer.concat([material, Buffer.alloc(held - material.length)]);
};

const needGenerate = (plan: SpecPlan): number => {
  if (plan.generate === undefined) throw new RootFault('unsupported', `this module does not generate ${plan.spec} keys`);
  return plan.generate;
};

export const generateKey = (context: Context, request: RootRequest<'generateKey'>): Promise<CreatedKey> => {
  const { connection, keys } = context;
  const { binding, bits } = request;
  const row = KEY_SPECS[binding.spec];
  const open = row.variableLength === true;
  const length = open ? (bits ?? (row.bits === 0 ? DEFAULT_SECRET_BITS : row.bits)) / 8 : valueBytes(binding.spec);
  if (heldBytes(context, binding.spec, length) !== length)
    throw new RootFault(
      'unsupported',
      `this module makes no ${binding.spec} key shorter than the digest`,
      'Leave bits out, or import the key.',
    );
  return connection.run(
    () => {
      const mechanism = needGenerate(keys.plan(binding.spec));
      const placement = keys.placement(binding, length);
      // DES keys have one length and refuse to be told it (v2.40 §2.9.3).
      const sized = placement.keyType === CKK.DES2 || placement.keyType === CKK.DES3 ? [] : [{ type: CKA.VALUE_LEN, value: length }];
      const handle = connection.cryptoki.C_GenerateKey(connection.anchor, { mechanism }, [...keys.templateOf(placement), ...sized]);
      return keys.keep(placement, handle, { bits: open ? length * 8 : row.bits, local: true });
    },
    { repeatable: false },
  );
};

/** SubjectPublicKeyInfo of a public key object, or of a private one that carries the public numbers. */
export const readSpki = (cryptoki: Cryptoki, session: Handle, object: Handle, spec: KeySpec): Buffer | undefined => {
  if (KEY_SPECS[spec].family === 'rsa') {
    const modulus = readAttribute(cryptoki, session, object, CKA.MODULUS);
    const exponent = readAttribute(cryptoki, session, object, CKA.PUBLIC_EXPONENT);
    return modulus === undefined || exponent === undefined ? undefined : canonicalSpki(rsaToSpki(modulus, exponent), spec);
  }
  const point = readAttribute(cryptoki, session, object, CKA.EC_POINT);
  return point === undefined ? undefined : canonicalSpki(pointToSpki(spec, pointFromAttribute(spec, point)), spec);
};

export const generateKeyPair = (context: Context, request: RootRequest<'generateKeyPair'>): Promise<CreatedKey> => {
  const { connection, keys } = context;
  const { binding } = request;
  const row = KEY_SPECS[binding.spec];
  const finish = (placement: ReturnType<typeof keys.placement>, pair: KeyPairHandles): CreatedKey => {
    const { cryptoki, anchor } = connection;
    let spki: Buffer | undefined;
    try {
      spki = readSpki(cryptoki, anchor, pair.publicKey, binding.spec);
      if (spki === undefined) throw new RootFault('internal', 'the module does not tell the public key it made');
    } catch (error) {
      cryptoki.C_DestroyObject(anchor, pair.privateKey);
      throw error;
    } finally {
      cryptoki.C_DestroyObject(anchor, pair.publicKey);
    }
    return keys.keep(placement, pair.privateKey, { bits: row.bits, spki, local: true });
  };
  return connection.run(
    () => {
      const plan = keys.plan(binding.spec);
      const mechanism = { mechanism: needGenerate(plan) };
      const placement = keys.placement(binding);
      const privateKey = keys.templateOf(placement);
      const publicKey = newPublicTemplate(binding.spec, request.publicExponent ?? DEFAULT_EXPONENT, plan.curveParams, false, placement.id);
      const { cryptoki, anchor } = connection;
      if (row.family !== 'rsa' || !connection.concurrent)
        return finish(placement, cryptoki.C_GenerateKeyPair(anchor, mechanism, publicKey, privateKey));
      // RSA takes seconds, so it runs on the pool; the few hundred bytes pkcs11js leaks there (#120) do not count.
      return connection.withSessionAsync(async (session) => {
        return finish(placement, await cryptoki.C_GenerateKeyPairAsync(session, mechanism, publicKey, privateKey));
      });
    },
    { repeatable: false },
  );
};

export const privateAttributes = (parts: PrivateParts, plan: SpecPlan): Template => {
  if (parts.rsa !== undefined) {
    const types = [
      CKA.MODULUS,
      CKA.PUBLIC_EXPONENT,
      CKA.PRIVATE_EXPONENT,
      CKA.PRIME_1,
      CKA.PRIME_2,
      CKA.EXPONENT_1,
      CKA.EXPONENT_2,
      CKA.COEFFICIENT,
    ];
    return types.map((type, index) => ({ type, value: parts.rsa?.[index] ?? Buffer.alloc(0) }));
  }
  return [
    { type: CKA.EC_PARAMS, value: plan.curveParams ?? Buffer.alloc(0) },
    { type: CKA.VALUE, value: parts.value ?? Buffer.alloc(0) },
    ...pointHint(plan, parts.spki),
  ];
};

export const importKey = (context: Context, request: RootRequest<'importKey'>): Promise<CreatedKey> => {
  const { connection, keys } = context;
  const { binding, format, material } = request;
  const row = KEY_SPECS[binding.spec];
  if (format === 'spki') {
    const spki = canonicalSpki(material, binding.spec);
    return connection.run(() => keys.keepPublic(binding, spki), { repeatable: true });
  }
  const { cryptoki } = connection;
  return connection.run(
    () => {
      const plan = keys.plan(binding.spec);
      const placement = keys.placement(binding, format === 'raw' ? heldBytes(context, binding.spec, material.length) : undefined);
      const create = (value: Template): Handle => cryptoki.C_CreateObject(connection.anchor, [...keys.templateOf(placement), ...value]);
      if (format === 'raw') {
        const bits = row.variableLength === true ? material.length * 8 : row.bits;
        const value = paddedValue(context, binding.spec, material);
        try {
          return keys.keep(placement, create([{ type: CKA.VALUE, value }]), { bits });
        } finally {
          if (value.length !== material.length) value.fill(0);
        }
      }
      const parts = readPkcs8(material, binding.spec);
      try {
        return keys.keep(placement, create(privateAttributes(parts, plan)), { bits: row.bits, spki: parts.spki });
      } finally {
        wipe(parts);
      }
    },
    { repeatable: false },
  );
};

const wipe = (parts: PrivateParts): void => {
  parts.pkcs8.fill(0);
  parts.value?.fill(0);
  for (const number of parts.rsa?.slice(2) ?? []) number.fill(0);
};

/**
 * Wraps the key under an AES key that exists for this one call and of which this process knows the value, and opens the
 * result here: the key in the token stays sensitive, which most HSMs insist on.
 */
const exportWrapped = (context: Context, key: OpenKey, mechanism: number, cipher: WrapCipher): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const value = randomBytes(KEK_BYTES);
  let kek: Handle | undefined;
  try {
    kek = cryptoki.C_CreateObject(anchor, transportTemplate(value));
    return openWrapped(cipher, value, cryptoki.C_WrapKey(anchor, { mechanism }, kek, key.handle, Buffer.alloc(MAX_WRAPPED_BYTES)));
  } finally {
    value.fill(0);
    if (kek !== undefined) cryptoki.C_DestroyObject(anchor, kek);
  }
};

/** A session key that can wrap and unwrap and nothing else. */
export const transportTemplate = (value?: Buffer): Template => [
  { type: CKA.CLASS, value: CKO.SECRET_KEY },
  { type: CKA.KEY_TYPE, value: CKK.AES },
  { type: CKA.TOKEN, value: false },
  { type: CKA.PRIVATE, value: true },
  { type: CKA.SENSITIVE, value: true },
  { type: CKA.EXTRACTABLE, value: false },
  { type: CKA.ENCRYPT, value: false },
  { type: CKA.DECRYPT, value: false },
  { type: CKA.SIGN, value: false },
  { type: CKA.VERIFY, value: false },
  { type: CKA.WRAP, value: true },
  { type: CKA.UNWRAP, value: true },
  { type: CKA.DERIVE, value: false },
  value === undefined ? { type: CKA.VALUE_LEN, value: KEK_BYTES } : { type: CKA.VALUE, value },
];

const WRAP_IVS: Readonly<Record<WrapCipher, string>> = { 'id-aes256-wrap-pad': 'a65959a6', 'id-aes256-wrap': 'a6a6a6a6a6a6a6a6' };
export const openWrapped = (cipher: WrapCipher, kek: Buffer, wrapped: Buffer): Buffer => {
  const decipher = createDecipheriv(cipher, kek, Buffer.from(WRAP_IVS[cipher], 'hex'));
  return Buffer.concat([decipher.update(wrapped), decipher.final()]);
};

export const exportKey = (context: Context, request: RootRequest<'exportKey'>): Promise<RootResponse<'exportKey'>> => {
  const { connection, keys } = context;
  const { binding } = request.key;
  const pair = KEY_SPECS[binding.spec].shape === 'pair';
  return connection.run(
    () => {
      const key = keys.open(request.key);
      if (key.reference.kind === 'public') return { format: 'spki' as const, material: key.reference.spki };
      const { cryptoki, anchor } = connection;
      // The binding says exportable; the token has the last word.
      if (readBoolean(cryptoki, anchor, key.handle, CKA.EXTRACTABLE) !== true)
        throw new RootFault('not-exportable', 'the token holds this key as non-extractable');
      const { exportVia } = keys.plan(binding.spec);
      if (exportVia === undefined) throw new RootFault('unsupported', `this module gives no ${binding.spec} key out`);
      const raw =
        exportVia.kind === 'wrap'
          ? exportWrapped(context, key, exportVia.mechanism, exportVia.cipher)
          : readValue(context, key, binding.spec);
      if (!pair) return { format: 'raw' as const, material: withoutPadding(raw, secretBytes(binding.spec, key.reference.bits)) };
      try {
        return { format: 'pkcs8' as const, material: normalisePkcs8(raw, binding.spec) };
      } finally {
        raw.fill(0);
      }
    },
    { repeatable: true, stale: () => keys.forget(request.key) },
  );
};

/** A module that wraps whole blocks appends zeros; anything else there would mean that the key is not what it was. */
const withoutPadding = (raw: Buffer, bytes: number): Buffer => {
  if (raw.length < bytes || raw.subarray(bytes).some((byte) => byte !== 0))
    throw new RootFault('internal', 'the module gave a value of unexpected length', 'Report it with the module version of `describe`.');
  return raw.subarray(0, bytes);
};

const readValue = (context: Context, key: OpenKey, spec: KeySpec): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const value = readAttribute(cryptoki, anchor, key.handle, CKA.VALUE);
  if (value === undefined) throw new RootFault('not-exportable', 'the token does not give the value of this key');
  return KEY_SPECS[spec].shape === 'pair' ? valueToPkcs8(spec, value) : value;
};

export const destroyKey = (context: Context, request: RootRequest<'destroyKey'>): Promise<RootResponse<'destroyKey'>> =>
  context.connection.run(
    () => {
      context.keys.destroy(request.key);
      return {};
    },
    { repeatable: true },
  );

export const rewrapReference = (context: Context, request: RootRequest<'rewrapReference'>): Promise<RootResponse<'rewrapReference'>> =>
  context.connection.run(() => ({ reference: context.keys.reseal(request.key) }), {
    repeatable: true,
    stale: () => context.keys.forget(request.key),
  });

const EVIDENCE_BOOLEANS = [
  'TOKEN',
  'PRIVATE',
  'MODIFIABLE',
  'SENSITIVE',
  'EXTRACTABLE',
  'ALWAYS_SENSITIVE',
  'NEVER_EXTRACTABLE',
  'LOCAL',
  'ENCRYPT',
  'DECRYPT',
  'SIGN',
  'VERIFY',
  'WRAP',
  'UNWRAP',
  'DERIVE',
] as const;
const UNAVAILABLE_INFORMATION = 2 ** 32;

/**
 * Attributes as the token states them now. For a wrapped key they describe the object opened from it (never local, was
 * extractable once); the provenance is what the token said when the key was made, kept under the reference's MAC.
 */
export const evidence = (context: Context, request: RootRequest<'evidence'>): Promise<KeyEvidence> => {
  const { connection, keys } = context;
  return connection.run(
    () => {
      const { handle, reference } = keys.open(request.key);
      const asserted: Record<string, string> = { storage: reference.kind };
      if (reference.kind === 'public') return { provenance: reference.provenance, asserted };
      const { cryptoki, anchor } = connection;
      for (const name of EVIDENCE_BOOLEANS) {
        const value = readBoolean(cryptoki, anchor, handle, CKA[name]);
        if (value !== undefined) asserted[`CKA_${name}`] = String(value);
      }
      const made = readNumber(cryptoki, anchor, handle, CKA.KEY_GEN_MECHANISM);
      if (made !== undefined && made < UNAVAILABLE_INFORMATION) asserted['CKA_KEY_GEN_MECHANISM'] = mechanismName(made);
      asserted['CKA_KEY_TYPE'] = `0x${reference.keyType.toString(16)}`;
      if (reference.kind === 'token') asserted['CKA_ID'] = reference.id.toString('hex');
      return { provenance: reference.provenance, asserted };
    },
    { repeatable: true, stale: () => keys.forget(request.key) },
  );
};
