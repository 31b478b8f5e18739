import { KEY_SPECS, type KeySpec, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import type { ObjectView, OperationRequest } from '../../../domain/index.js';
import type { CallName } from '../calls.js';
import type { CallContext, Handler, Session } from '../contract.js';
import { ecSpki, readElement, unsigned } from '../der.js';
import { curveOf, curveParameters, DES_BYTES, secretSpec } from '../key-types.js';
import { type MechanismRow, mechanismRow } from '../mechanisms.js';
import { keyOf } from '../objects.js';
import { Rv, rv } from '../rv.js';
import { sessionOf } from '../sessions.js';
import { STORED } from '../stored-attributes.js';
import { type Common, nameFor, readCommon, readProtection, readRest, readTemplate, readUsage, type Template } from '../templates.js';
import { type Space, writeNeeded, writeOutput } from '../wire/arguments.js';
import type { Attribute } from '../wire/attributes.js';
import { CKA, CKK, CKM, CKO } from '../wire/codes.js';
import type { Mechanism } from '../wire/mechanism-encodings.js';
import { requireAllowed, toOaep } from './cipher-parameters.js';
import { adopt, MAKING_FAULTS, requireUsage, withAttributes } from './objects.js';

/** Making keys: generate, wrap, unwrap, derive. */

const rowOf = (mechanism: Mechanism | undefined, can: (row: MechanismRow) => boolean): MechanismRow => {
  const row = mechanism === undefined ? undefined : mechanismRow(mechanism.type);
  if (mechanism === undefined || row === undefined || mechanism.unread || !can(row)) throw rv('MECHANISM_INVALID');
  return row;
};

/** Class and type may be repeated in a template, but must be what the mechanism makes. */
const checkKind = (template: Template, cko: number, keyTypes: readonly number[]): number | undefined => {
  const given = template.ulong(CKA.CLASS);
  if (given !== undefined && given !== cko) throw rv('TEMPLATE_INCONSISTENT');
  const keyType = template.ulong(CKA.KEY_TYPE);
  if (keyType !== undefined && !keyTypes.includes(keyType)) throw rv('TEMPLATE_INCONSISTENT');
  return keyType;
};

const HMAC_TYPES = [CKK.SHA_1_HMAC, CKK.SHA224_HMAC, CKK.SHA256_HMAC, CKK.SHA384_HMAC, CKK.SHA512_HMAC];
interface KeyPlan {
  /** Kept with the object where the spec does not say it. */
  readonly keyType?: number;
  readonly spec: KeySpec;
  readonly bits?: number;
}
const planKey = (row: MechanismRow, template: Template): KeyPlan => {
  if (row.families.includes('des3')) {
    const two = row.type === CKM.DES2_KEY_GEN;
    checkKind(template, CKO.SECRET_KEY, [two ? CKK.DES2 : CKK.DES3]);
    return { spec: two ? 'des3-112' : 'des3-168' };
  }
  if (row.type === CKM.DES_KEY_GEN) {
    checkKind(template, CKO.SECRET_KEY, [CKK.DES]);
    return { spec: 'secret', bits: DES_BYTES * 8, keyType: CKK.DES };
  }
  const aes = row.type === CKM.AES_KEY_GEN;
  const keyType = checkKind(template, CKO.SECRET_KEY, aes ? [CKK.AES] : [CKK.GENERIC_SECRET, ...HMAC_TYPES]);
  const length = template.need(template.ulong(CKA.VALUE_LEN));
  const spec = aes ? secretSpec(CKK.AES, length) : secretSpec(keyType ?? CKK.GENERIC_SECRET, length);
  if (spec === undefined || length < 1 || length > row.sizes[1]) throw rv('KEY_SIZE_RANGE');
  return aes ? { spec } : { spec, bits: length * 8 };
};

const local = (common: Common, mechanism: number): Common => withAttributes(common, { [STORED.mechanism]: mechanism });

const generateKey: Handler = async (context, args) => {
  const [handle, mechanism, attributes] = args as [number, Mechanism | undefined, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  const row = rowOf(mechanism, (one) => one.generate === 'key');
  const template = readTemplate(attributes);
  const { keyType, ...plan } = planKey(row, template);
  const common = readCommon(context, session, template, CKO.SECRET_KEY);
  const usage = readUsage(template, CKO.SECRET_KEY, KEY_SPECS[plan.spec].usages);
  const protection = readProtection(template);
  const kept = keyType === undefined ? {} : { [STORED.keyType]: keyType };
  const full = local(withAttributes(common, { ...protection.attributes, ...readRest(template), ...kept }), row.type);
  const named = await nameFor(context, session, full);
  const request = { ...full.request, ...named, ...plan, exportable: protection.exportable };
  const view = await context.call(
    session.slot,
    'create-key',
    { ...request, usage: plan.spec === 'secret' ? usage : requireUsage(usage) },
    MAKING_FAULTS,
  );
  const known = await adopt(context, session, view);
  return (w) => w.ulong(known.handle);
};

const PUBLIC_EXPONENT = Buffer.from([1, 0, 1]);
const planPair = (row: MechanismRow, publicTemplate: Template, privateTemplate: Template): KeySpec => {
  const keyType = row.type === CKM.EC_KEY_PAIR_GEN ? CKK.EC : CKK.RSA;
  checkKind(publicTemplate, CKO.PUBLIC_KEY, [keyType]);
  checkKind(privateTemplate, CKO.PRIVATE_KEY, [keyType]);
  if (keyType === CKK.RSA) {
    const bits = publicTemplate.need(publicTemplate.ulong(CKA.MODULUS_BITS));
    const exponent = publicTemplate.bytes(CKA.PUBLIC_EXPONENT);
    if (exponent !== undefined && exponent.length > 0 && Buffer.compare(unsigned(exponent), PUBLIC_EXPONENT) !== 0)
      throw rv('ATTRIBUTE_VALUE_INVALID');
    const spec = `rsa-${bits}`;
    if (!(spec in KEY_SPECS)) throw rv('KEY_SIZE_RANGE');
    return spec as KeySpec;
  }
  const parameters = publicTemplate.need(publicTemplate.bytes(CKA.EC_PARAMS));
  const spec = curveOf(parameters);
  if (spec === undefined || KEY_SPECS[spec].family !== 'ec') throw rv('CURVE_NOT_SUPPORTED');
  // Some applications repeat the curve for the private half.
  privateTemplate.bytes(CKA.EC_PARAMS);
  return spec;
};
/** Both halves may verify and encrypt in the algebra; what PKCS#11 shows of each half follows its class. */
const union = (spec: KeySpec, ...usages: readonly (readonly KeyUsage[])[]): readonly KeyUsage[] =>
  KEY_SPECS[spec].usages.filter((usage) => usages.some((list) => list.includes(usage)));

const generateKeyPair: Handler = async (context, args) => {
  const [handle, mechanism, publicAttributes, privateAttributes] = args as [
    number,
    Mechanism | undefined,
    readonly Attribute[],
    readonly Attribute[],
  ];
  const session = sessionOf(context.connection, handle);
  const row = rowOf(mechanism, (one) => one.generate === 'pair');
  const [publicTemplate, privateTemplate] = [readTemplate(publicAttributes), readTemplate(privateAttributes)];
  const spec = planPair(row, publicTemplate, privateTemplate);
  const publicCommon = readCommon(context, session, publicTemplate, CKO.PUBLIC_KEY);
  const privateCommon = readCommon(context, session, privateTemplate, CKO.PRIVATE_KEY);
  const publicUsage = readUsage(publicTemplate, CKO.PUBLIC_KEY, KEY_SPECS[spec].usages);
  const privateUsage = requireUsage(readUsage(privateTemplate, CKO.PRIVATE_KEY, KEY_SPECS[spec].usages));
  publicTemplate.bool(CKA.TRUSTED);
  const protection = readProtection(privateTemplate);
  const full = local(withAttributes(privateCommon, { ...protection.attributes, ...readRest(privateTemplate) }), row.type);
  const publicFull = local(withAttributes(publicCommon, readRest(publicTemplate)), row.type);
  const named = await nameFor(context, session, full);
  const view = await context.call(
    session.slot,
    'create-key-pair',
    {
      ...full.request,
      ...named,
      spec,
      exportable: protection.exportable,
      ...(privateCommon.token || publicCommon.token ? {} : { shortLived: true }),
      usage: union(spec, privateUsage, publicUsage),
      publicKey: { ...publicFull.request, ...(publicUsage.length === 0 ? {} : { usage: publicUsage }) },
    },
    MAKING_FAULTS,
  );
  const privateKey = await adopt(context, session, view);
  const publicView = await context.call(session.slot, 'get-object', { key: view.publicKeyId });
  const publicKey = await adopt(context, session, publicView);
  return (w) => w.ulong(publicKey.handle).ulong(privateKey.handle);
};

const wrapKey: Handler = async (context, args) => {
  const [handle, mechanism, wrapping, target, space] = args as [number, Mechanism | undefined, number, number, Space];
  const session = sessionOf(context.connection, handle);
  const key = await keyOf(context, session, target);
  const wrapper = await keyOf(context, session, wrapping, 'WRAPPING_KEY_HANDLE_INVALID');
  // What holds whatever the mechanism is said first: an application looks for another key then, not for another mechanism.
  if ('exportable' in key.object && !key.object.exportable) throw rv('KEY_UNEXTRACTABLE');
  const row = rowOf(mechanism, (one) => one.wrap !== undefined);
  requireAllowed(wrapper.object, row.type);
  if (!row.families.some((family) => wrapper.object.spec !== undefined && KEY_SPECS[wrapper.object.spec].family === family))
    throw rv('WRAPPING_KEY_TYPE_INCONSISTENT');
  const size = row.families.includes('rsa') && wrapper.object.spec !== undefined ? KEY_SPECS[wrapper.object.spec].bits / 8 : undefined;
  if (size !== undefined && size > space.capacity) return (w) => writeNeeded(w, size);
  const { wrapped } = await context.call(
    session.slot,
    'wrap',
    { key: key.known.objectId, wrappingKey: wrapper.known.objectId, ...wrapFields(row, mechanism as Mechanism) },
    { 'not-exportable': 'KEY_UNEXTRACTABLE', 'wrong-object-type': 'KEY_NOT_WRAPPABLE', 'unsupported-algorithm': 'KEY_NOT_WRAPPABLE' },
  );
  return (w) => (wrapped.length > space.capacity || space.asksSize ? writeNeeded(w, wrapped.length) : writeOutput(w, wrapped));
};

const WRAP_HASHES = { sha1: 'rsa-oaep-sha1-wrap', sha256: 'rsa-oaep-sha256-wrap' } as const;
type WrapFields = Pick<OperationRequest<'wrap'>, 'algorithm' | 'iv' | 'aad' | 'tagLength' | 'label' | 'mgf1Hash'>;
const wrapFields = (row: MechanismRow, { parameter }: Mechanism): WrapFields => {
  if (row.wrap === 'oaep') {
    const { hash, mgf1Hash, label } = toOaep(parameter);
    const algorithm = WRAP_HASHES[hash as keyof typeof WRAP_HASHES];
    if (algorithm === undefined) throw rv('MECHANISM_PARAM_INVALID');
    return { algorithm, ...(mgf1Hash === hash ? {} : { mgf1Hash }), ...(label.length === 0 ? {} : { label }) };
  }
  if (row.wrap === 'rsa-pkcs1-wrap') return { algorithm: row.wrap };
  if (parameter?.record === 'iv16')
    return { algorithm: row.wrap as NonNullable<WrapFields['algorithm']>, iv: Uint8Array.from(parameter.iv) };
  if (parameter?.record === 'gcm' && parameter.tagBits % 8 === 0) {
    const aad = parameter.aad.length === 0 ? {} : { aad: Uint8Array.from(parameter.aad) };
    return { algorithm: 'aes-gcm-wrap', iv: Uint8Array.from(parameter.iv), tagLength: parameter.tagBits / 8, ...aad };
  }
  throw rv('MECHANISM_PARAM_INVALID');
};

/** Lengths tried for a wrapped AES key whose template does not say one, bytes. */
const AES_LENGTHS = [32, 16, 24];

const unwrapKey: Handler = async (context, args) => {
  const [handle, mechanism, unwrapping, wrapped, attributes] = args as [
    number,
    Mechanism | undefined,
    number,
    Uint8Array | undefined,
    readonly Attribute[],
  ];
  const session = sessionOf(context.connection, handle);
  const row = rowOf(mechanism, (one) => one.wrap !== undefined);
  const { known, object } = await keyOf(context, session, unwrapping, 'UNWRAPPING_KEY_HANDLE_INVALID');
  requireAllowed(object, row.type);
  if (wrapped === undefined) throw rv('ARGUMENTS_BAD');
  const template = readTemplate(attributes);
  const cko = template.need(template.ulong(CKA.CLASS));
  if (cko !== CKO.SECRET_KEY && cko !== CKO.PRIVATE_KEY) throw rv('TEMPLATE_INCONSISTENT');
  const specs = specsToTry(template, cko);
  const common = readCommon(context, session, template, cko);
  const usage = readUsage(template, cko, KEY_SPECS[specs[0] as KeySpec].usages);
  const protection = readProtection(template);
  const full = withAttributes(common, { ...protection.attributes, ...readRest(template) });
  const named = await nameFor(context, session, full);
  const view = await firstFitting(specs, (spec) =>
    context.call(
      session.slot,
      'unwrap',
      {
        ...full.request,
        ...named,
        unwrappingKey: known.objectId,
        wrapped: Uint8Array.from(wrapped),
        format: cko === CKO.PRIVATE_KEY ? 'pkcs8' : 'raw',
        type: cko === CKO.PRIVATE_KEY ? 'private-key' : spec === 'secret' ? 'secret-data' : 'symmetric-key',
        spec,
        exportable: protection.exportable,
        ...(usage.length === 0 ? {} : { usage }),
        ...wrapFields(row, mechanism as Mechanism),
      },
      {
        'decryption-failed': 'WRAPPED_KEY_INVALID',
        'invalid-field': 'WRAPPED_KEY_INVALID',
        'wrong-object-type': 'UNWRAPPING_KEY_TYPE_INCONSISTENT',
      },
    ),
  );
  const made = await adopt(context, session, view);
  return (w) => w.ulong(made.handle);
};

const specsToTry = (template: Template, cko: number): readonly KeySpec[] => {
  const keyType = template.need(template.ulong(CKA.KEY_TYPE));
  if (cko === CKO.SECRET_KEY) {
    const length = template.ulong(CKA.VALUE_LEN);
    const lengths = keyType === CKK.AES && length === undefined ? AES_LENGTHS : [length];
    const specs = lengths.map((one) => secretSpec(keyType, one)).filter((spec) => spec !== undefined);
    if (specs.length === 0) throw rv('TEMPLATE_INCONSISTENT');
    return specs;
  }
  if (keyType === CKK.RSA) return ['rsa-2048', 'rsa-3072', 'rsa-4096'];
  if (keyType !== CKK.EC) throw rv('TEMPLATE_INCONSISTENT');
  const parameters = template.bytes(CKA.EC_PARAMS);
  const curve = parameters === undefined ? undefined : curveOf(parameters);
  return curve === undefined ? ['ec-p256', 'ec-p384', 'ec-p521', 'ec-secp256k1'] : [curve];
};

/** A wrapped key does not say its own length; the next spec is tried only where this one did not fit what came out. */
const firstFitting = async (specs: readonly KeySpec[], attempt: (spec: KeySpec) => Promise<ObjectView>): Promise<ObjectView> => {
  let failure: unknown;
  for (const spec of specs) {
    try {
      return await attempt(spec);
    } catch (error) {
      if (!(error instanceof Rv) || !['decryption-failed', 'invalid-field'].includes(error.fault?.code ?? '')) throw error;
      failure ??= error;
    }
  }
  throw failure;
};

/** CK_EC_KDF_TYPE: only CKD_NULL, the shared secret as it is. */
const CKD_NULL = 1;

const peerKey = (curve: Uint8Array, publicData: Uint8Array): Uint8Array => {
  const outer = readElement(publicData);
  const wrapped = outer?.tag === 0x04 && outer.whole.length === publicData.length;
  return ecSpki(curve, wrapped ? outer.content : publicData);
};

/**
 * CKM_ECDH1_DERIVE. PKCS#11 v3.0 §6.3.18 shortens a secret at its leading end, the algebra at the other: so only the whole
 * secret is given.
 */
const agree = async (
  context: CallContext,
  session: Session,
  mechanism: Mechanism,
  base: number,
  template: Template,
): Promise<ObjectView> => {
  const { known, object } = await keyOf(context, session, base);
  requireAllowed(object, mechanism.type);
  const { parameter } = mechanism;
  if (parameter?.record !== 'ecdh' || parameter.kdf !== CKD_NULL || parameter.shared.length > 0) throw rv('MECHANISM_PARAM_INVALID');
  const curve = object.spec === undefined ? undefined : curveParameters(object.spec);
  if (object.spec === undefined || curve === undefined || KEY_SPECS[object.spec].family !== 'ec') throw rv('KEY_TYPE_INCONSISTENT');
  const whole = Math.ceil(KEY_SPECS[object.spec].bits / 8);
  const keyType = checkKind(template, CKO.SECRET_KEY, [CKK.GENERIC_SECRET, CKK.AES, ...HMAC_TYPES]) ?? CKK.GENERIC_SECRET;
  const length = template.ulong(CKA.VALUE_LEN) ?? whole;
  const spec = secretSpec(keyType, length);
  if (spec === undefined || length !== whole) throw rv('KEY_SIZE_RANGE');
  const common = readCommon(context, session, template, CKO.SECRET_KEY);
  const usage = readUsage(template, CKO.SECRET_KEY, KEY_SPECS[spec].usages);
  const protection = readProtection(template);
  const full = withAttributes(common, { ...protection.attributes, ...readRest(template) });
  return context.call(
    session.slot,
    'agree',
    {
      ...full.request,
      ...(await nameFor(context, session, full)),
      key: known.objectId,
      algorithm: 'ecdh',
      peerPublicKey: peerKey(curve, parameter.publicData),
      spec,
      exportable: protection.exportable,
      ...(spec === 'secret' ? { length } : {}),
      ...(usage.length === 0 ? {} : { usage }),
    },
    { ...MAKING_FAULTS, 'invalid-field': 'MECHANISM_PARAM_INVALID' },
  );
};

const derive: Handler = async (context, args) => {
  const [handle, mechanism, base, attributes] = args as [number, Mechanism | undefined, number, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  rowOf(mechanism, (one) => one.derive !== undefined);
  const known = await adopt(context, session, await agree(context, session, mechanism as Mechanism, base, readTemplate(attributes)));
  return (w) => w.ulong(known.handle);
};
/** C_DeriveKey2 adds a mechanism update, which only mechanisms this plane does not have would fill. */
const derive2: Handler = async (context, args) => {
  const reply = await derive(context, args);
  return (w) => {
    w.ulong(0).byte(0);
    reply?.(w);
  };
};

export const KEY_HANDLERS = {
  C_GenerateKey: generateKey,
  C_GenerateKeyPair: generateKeyPair,
  C_WrapKey: wrapKey,
  C_UnwrapKey: unwrapKey,
  C_DeriveKey: derive,
  C_DeriveKey2: derive2,
} satisfies Partial<Record<CallName, Handler>>;
