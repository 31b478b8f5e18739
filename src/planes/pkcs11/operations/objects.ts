import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import type { ObjectView, OperationRequest } from '../../../domain/index.js';
import type { CallName } from '../calls.js';
import type { CallContext, FindOperation, Handler, KnownObject, Session } from '../contract.js';
import { makeFind } from '../find.js';
import { privateNumber, readPrivateMaterial, readPublicMaterial } from '../key-material.js';
import { keptKeyType, secretSpec } from '../key-types.js';
import {
  type AttributeAnswer,
  attributesOfClass,
  classOf,
  type Facts,
  isCopyable,
  isDestroyable,
  isModifiable,
  isSensitive,
  sessionOf as markOf,
  needsPairName,
  needsVersion,
  readAttribute,
} from '../object-view.js';
import { factsOf, forget, handleFor, keepView, knownObject, withPairName } from '../objects.js';
import { Rv, rv } from '../rv.js';
import { sessionOf } from '../sessions.js';
import { STORED, storedName, toHex, toStoredText } from '../stored-attributes.js';
import { type Common, nameFor, readCommon, readProtection, readRest, readTemplate, readUsage, type Template } from '../templates.js';
import { type Space, writeAttribute, writeUlongs } from '../wire/arguments.js';
import { type Attribute, memoryLength, type WantedAttribute } from '../wire/attributes.js';
import { CKA, CKK, CKO, CKR } from '../wire/codes.js';

/** Objects: create, copy, destroy, read, change, find. */

/** An object was made: it gets a handle, unless its session is gone meanwhile. */
export const adopt = async (context: CallContext, session: Session, view: ObjectView): Promise<KnownObject> => {
  if (session.closed && markOf(view.object) !== undefined) {
    await context.reap(session.slot.tenant, view.object.id);
    throw rv('SESSION_CLOSED');
  }
  const known = handleFor(context, session.slot, view.object);
  keepView(context, known, view);
  return known;
};

type Register = OperationRequest<'register'>;
type Making = Pick<Register, 'type' | 'format' | 'material'> & Partial<Pick<Register, 'spec' | 'usage' | 'exportable'>>;

/** Stores it under a name of its own where the label is free; a name taken in between costs one more try. */
const register = async (
  context: CallContext,
  session: Session,
  common: Common,
  template: Template,
  making: Making,
): Promise<ObjectView> => {
  const attributes = { ...common.request.attributes, ...readRest(template) };
  const named = await nameFor(context, session, common);
  const request = { ...common.request, ...making, attributes };
  return context.call(session.slot, 'register', { ...request, ...named }, MAKING_FAULTS);
};
export const MAKING_FAULTS = { 'unsupported-algorithm': 'KEY_SIZE_RANGE', 'not-found': 'GENERAL_ERROR' } as const;

const createData = (context: CallContext, session: Session, template: Template, common: Common): Promise<ObjectView> => {
  const material = template.bytes(CKA.VALUE) ?? new Uint8Array(0);
  // The service keeps no empty content; the mark says that this byte stands for none.
  const empty = material.length === 0;
  const marked: Common = empty
    ? { ...common, request: { ...common.request, attributes: { ...common.request.attributes, [STORED.empty]: true } } }
    : common;
  return register(context, session, marked, template, {
    type: 'opaque-object',
    format: 'opaque',
    material: empty ? new Uint8Array(1) : Uint8Array.from(material),
    exportable: true,
  });
};

const createCertificate = (context: CallContext, session: Session, template: Template, common: Common): Promise<ObjectView> => {
  if (template.need(template.ulong(CKA.CERTIFICATE_TYPE)) !== 0) throw rv('ATTRIBUTE_VALUE_INVALID');
  const material = template.need(template.bytes(CKA.VALUE));
  if (template.bool(CKA.TRUSTED) === true) throw rv('ATTRIBUTE_READ_ONLY');
  const category = template.ulong(CKA.CERTIFICATE_CATEGORY);
  // What the certificate itself says is read from it, whatever the template claims.
  for (const type of [CKA.ISSUER, CKA.SERIAL_NUMBER]) template.bytes(type);
  const attributes =
    category === undefined || category === 0 ? common.request.attributes : { ...common.request.attributes, [STORED.category]: category };
  return register(context, session, { ...common, request: { ...common.request, attributes } }, template, {
    type: 'certificate',
    format: 'x509',
    material: Uint8Array.from(material),
  });
};

const createPublic = (context: CallContext, session: Session, template: Template, common: Common): Promise<ObjectView> => {
  const { spec, bytes } = readPublicMaterial(template, template.need(template.ulong(CKA.KEY_TYPE)));
  const usage = readUsage(template, CKO.PUBLIC_KEY, KEY_SPECS[spec].usages);
  template.bool(CKA.TRUSTED);
  return register(context, session, common, template, {
    type: 'public-key',
    format: 'spki',
    material: bytes,
    ...(usage.length === 0 ? {} : { usage }),
  });
};

const createPrivate = (context: CallContext, session: Session, template: Template, common: Common): Promise<ObjectView> => {
  const { spec, bytes } = readPrivateMaterial(template, template.need(template.ulong(CKA.KEY_TYPE)));
  const usage = requireUsage(readUsage(template, CKO.PRIVATE_KEY, KEY_SPECS[spec].usages));
  const { exportable, attributes } = readProtection(template);
  return register(context, session, withAttributes(common, attributes), template, {
    type: 'private-key',
    format: 'pkcs8',
    material: bytes,
    spec,
    usage,
    exportable,
  });
};

const createSecret = (context: CallContext, session: Session, template: Template, common: Common): Promise<ObjectView> => {
  const keyType = template.need(template.ulong(CKA.KEY_TYPE));
  const value = template.need(template.bytes(CKA.VALUE));
  const length = template.ulong(CKA.VALUE_LEN);
  if (length !== undefined && length !== value.length) throw rv('TEMPLATE_INCONSISTENT');
  const spec = secretSpec(keyType, value.length);
  if (spec === undefined) throw rv(keyType === CKK.AES ? 'ATTRIBUTE_VALUE_INVALID' : 'TEMPLATE_INCONSISTENT');
  const usage = readUsage(template, CKO.SECRET_KEY, KEY_SPECS[spec].usages);
  const { exportable, attributes } = readProtection(template);
  const kept = keptKeyType(keyType);
  const own = kept === undefined ? attributes : { ...attributes, [STORED.keyType]: kept };
  return register(context, session, withAttributes(common, own), template, {
    type: spec === 'secret' ? 'secret-data' : 'symmetric-key',
    format: 'raw',
    material: Uint8Array.from(value),
    spec,
    usage: spec === 'secret' ? usage : requireUsage(usage),
    exportable,
  });
};

/** A key that may do nothing is a mistake of its template. */
export const requireUsage = <T extends readonly unknown[]>(usage: T): T => {
  if (usage.length === 0) throw rv('TEMPLATE_INCONSISTENT');
  return usage;
};
export const withAttributes = (common: Common, attributes: Readonly<Record<string, unknown>>): Common => ({
  ...common,
  request: { ...common.request, attributes: { ...common.request.attributes, ...attributes } },
});

const CREATE: Readonly<Record<number, typeof createData>> = {
  [CKO.DATA]: createData,
  [CKO.CERTIFICATE]: createCertificate,
  [CKO.PUBLIC_KEY]: createPublic,
  [CKO.PRIVATE_KEY]: createPrivate,
  [CKO.SECRET_KEY]: createSecret,
};

const createObject: Handler = async (context, args) => {
  const [handle, attributes] = args as [number, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  const template = readTemplate(attributes);
  const cko = template.need(template.ulong(CKA.CLASS));
  const create = CREATE[cko];
  if (create === undefined) throw rv('ATTRIBUTE_VALUE_INVALID');
  const known = await adopt(context, session, await create(context, session, template, readCommon(context, session, template, cko)));
  return (w) => w.ulong(known.handle);
};

/** Public objects are copied by what they are; keys in a root are not copyable, and say so (CKA_COPYABLE). */
const copyObject: Handler = async (context, args) => {
  const [handle, from, attributes] = args as [number, number, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  const known = knownObject(context, session, from);
  const facts = await factsOf(context, known, true);
  if (!isCopyable(facts.object)) throw rv('ACTION_PROHIBITED');
  const cko = classOf(facts.object) as number;
  const given = new Set(attributes.map((one) => one.type));
  if (given.has(CKA.CLASS) || given.has(CKA.KEY_TYPE)) throw rv('ATTRIBUTE_READ_ONLY');
  const kept: Attribute[] = [];
  for (const type of COPIED[cko] ?? []) {
    if (given.has(type)) continue;
    const answer = await readValue(context, known, facts, type);
    if (typeof answer === 'object' && memoryLength(answer.value) > 0) kept.push({ type, value: answer.value, available: true });
  }
  const template = readTemplate([{ type: CKA.CLASS, value: cko, available: true }, ...kept, ...attributes]);
  template.ulong(CKA.CLASS);
  const made = await (CREATE[cko] as typeof createData)(context, session, template, readCommon(context, session, template, cko));
  const copy = await adopt(context, session, made);
  return (w) => w.ulong(copy.handle);
};
const COPIED_COMMON = [CKA.TOKEN, CKA.PRIVATE, CKA.LABEL];
const COPIED: Readonly<Record<number, readonly number[]>> = {
  [CKO.DATA]: [...COPIED_COMMON, CKA.APPLICATION, CKA.OBJECT_ID, CKA.VALUE],
  [CKO.CERTIFICATE]: [...COPIED_COMMON, CKA.CERTIFICATE_TYPE, CKA.CERTIFICATE_CATEGORY, CKA.ID, CKA.VALUE],
  [CKO.PUBLIC_KEY]: [
    ...COPIED_COMMON,
    ...[CKA.KEY_TYPE, CKA.ID, CKA.SUBJECT, CKA.START_DATE, CKA.END_DATE, CKA.VERIFY, CKA.ENCRYPT, CKA.WRAP],
    ...[CKA.MODULUS, CKA.PUBLIC_EXPONENT, CKA.EC_PARAMS, CKA.EC_POINT],
  ],
};

const destroyObject: Handler = async (context, args) => {
  const session = sessionOf(context.connection, args[0]);
  const known = knownObject(context, session, args[1] as number);
  const { object } = await factsOf(context, known, false);
  if (known.session === undefined && !session.writable) throw rv('SESSION_READ_ONLY');
  if (!isDestroyable(object)) throw rv('ACTION_PROHIBITED');
  if (known.session === undefined) await destroyToken(context, known);
  else await context.reap(session.slot.tenant, known.objectId);
  forget(context, known);
  return undefined;
};

/** An active key is deactivated first: the lifecycle has no way from active to destroyed (KMIP 1.4 §3.22). */
const destroyToken = async (context: CallContext, known: KnownObject): Promise<void> => {
  const key = known.objectId;
  const { object } = await factsOf(context, known, false);
  if (object.state === 'active') {
    const view = await context.call(known.slot, 'revoke', { key, reason: 'cessation-of-operation' });
    keepView(context, known, view);
  }
  await context.call(known.slot, 'destroy', { key });
};

const getObjectSize: Handler = async (context, args) => {
  const session = sessionOf(context.connection, args[0]);
  const known = knownObject(context, session, args[1] as number);
  const facts = await factsOf(context, known, true);
  let size = 0;
  for (const type of attributesOfClass(classOf(facts.object) as number)) {
    const answer = readAttribute(facts, type);
    if (typeof answer === 'object') size += memoryLength(answer.value);
  }
  return (w) => w.ulong(size + Math.ceil((facts.bits ?? 0) / 8));
};

/** Material of an extractable, not sensitive object: an export, with its own action and record. */
const readSecret = async (context: CallContext, known: KnownObject, facts: Facts, type: number): Promise<AttributeAnswer> => {
  try {
    const { material, format } = await context.call(known.slot, 'export-key', { key: known.objectId });
    if (format !== 'pkcs8') return { value: material };
    try {
      const number = privateNumber(material, type);
      return number === undefined ? 'absent' : { value: number };
    } finally {
      material.fill(0);
    }
  } catch (error) {
    // Who may not export sees what a sensitive key shows.
    if (error instanceof Rv && error.fault !== undefined && facts.object.type !== 'opaque-object') return 'sensitive';
    throw error;
  }
};

const readValue = async (context: CallContext, known: KnownObject, facts: Facts, type: number): Promise<AttributeAnswer> => {
  const answer = readAttribute(facts, type);
  return answer === 'secret' ? readSecret(context, known, facts, type) : answer;
};

const getAttributeValue: Handler = async (context, args) => {
  const [handle, object, wanted] = args as [number, number, readonly WantedAttribute[]];
  const { generation } = context.connection;
  const session = sessionOf(context.connection, handle);
  const known = knownObject(context, session, object);
  const templates: readonly number[] = [CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE];
  // The oldest clients take any response with a template in it for a broken one.
  if (generation === 0 && wanted.some((one) => templates.includes(one.type))) throw rv('ATTRIBUTE_TYPE_INVALID');
  const plain = await factsOf(
    context,
    known,
    wanted.some((one) => needsVersion(one.type)),
  );
  const facts =
    wanted.some((one) => one.type === CKA.LABEL) && needsPairName(plain.object) ? await withPairName(context, session.slot, plain) : plain;
  const answers: { type: number; answer: { value: Attribute['value'] } | undefined }[] = [];
  let result: number = CKR.OK;
  for (const { type, capacity } of wanted) {
    const answer = await readValue(context, known, facts, type);
    if (typeof answer === 'string') {
      result = answer === 'absent' ? CKR.ATTRIBUTE_TYPE_INVALID : CKR.ATTRIBUTE_SENSITIVE;
      answers.push({ type, answer: undefined });
    } else if (capacity > 0 && memoryLength(answer.value) > capacity) {
      result = CKR.BUFFER_TOO_SMALL;
      answers.push({ type, answer: undefined });
    } else answers.push({ type, answer });
  }
  return (w) => {
    w.u32(answers.length);
    for (const { type, answer } of answers) writeAttribute(w, type, answer);
    w.ulong(result);
  };
};

/** What may change on an object that exists, and how it is stored. */
const changeOf = (facts: Facts, { type, value }: Attribute): Record<string, unknown> => {
  if (type === CKA.LABEL && value instanceof Uint8Array) return { [STORED.label]: toStoredText(value) };
  if (type === CKA.ID && value instanceof Uint8Array) return { [STORED.id]: toHex(value) };
  if (type === CKA.SENSITIVE && typeof value === 'boolean') return changeSensitive(facts, value);
  const name = storedName(type);
  if (name !== undefined && (value instanceof Uint8Array || value === undefined))
    return { [name]: value === undefined ? null : toHex(value) };
  const current = readAttribute(facts, type);
  if (current === 'absent') throw rv('ATTRIBUTE_TYPE_INVALID');
  // Setting what is so already changes nothing; everything else was fixed when the object was made.
  if (typeof current === 'object' && current.value === value) return {};
  throw rv('ATTRIBUTE_READ_ONLY');
};
const changeSensitive = ({ object }: Facts, wanted: boolean): Record<string, unknown> => {
  if (!('exportable' in object) || object.type === 'public-key' || object.type === 'certificate') throw rv('ATTRIBUTE_TYPE_INVALID');
  if (isSensitive(object) && !wanted) throw rv('ATTRIBUTE_READ_ONLY');
  return wanted ? { [STORED.sensitive]: true } : {};
};

const setAttributeValue: Handler = async (context, args) => {
  const [handle, object, attributes] = args as [number, number, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  const known = knownObject(context, session, object);
  const facts = await factsOf(context, known, true);
  if (known.session === undefined && !session.writable) throw rv('SESSION_READ_ONLY');
  if (!isModifiable(facts.object)) throw rv('ACTION_PROHIBITED');
  const changes: Record<string, unknown> = {};
  for (const one of attributes) {
    if (!one.available) throw rv('ATTRIBUTE_VALUE_INVALID');
    Object.assign(changes, changeOf(facts, one));
  }
  if (Object.keys(changes).length === 0) return undefined;
  keepView(context, known, await context.call(session.slot, 'update-object', { key: known.objectId, attributes: changes }));
  return undefined;
};

const findInit: Handler = (context, args) => {
  const [handle, template] = args as [number, readonly Attribute[]];
  const session = sessionOf(context.connection, handle);
  if (session.operations.has('find')) throw rv('OPERATION_ACTIVE');
  session.operations.set('find', makeFind(context, session, template));
  return undefined;
};

const findOf = (session: Session): FindOperation => {
  const operation = session.operations.get('find');
  if (operation === undefined || operation.kind !== 'find') throw rv('OPERATION_NOT_INITIALIZED');
  return operation;
};
/** Handles in one answer; an application that gives more room asks again. */
const MAX_FOUND = 4096;
const find: Handler = async (context, args) => {
  const [handle, space] = args as [number, Space];
  const session = sessionOf(context.connection, handle);
  // No room for a single handle can only be NULL: this call has no size query.
  if (space.capacity === 0) throw rv('ARGUMENTS_BAD');
  const handles = await findOf(session).next(Math.min(space.capacity, MAX_FOUND));
  return (w) => writeUlongs(w, handles, space);
};
const findFinal: Handler = (context, args) => {
  const session = sessionOf(context.connection, args[0]);
  findOf(session);
  session.operations.delete('find');
  return undefined;
};

export const OBJECT_HANDLERS = {
  C_CreateObject: createObject,
  C_CopyObject: copyObject,
  C_DestroyObject: destroyObject,
  C_GetObjectSize: getObjectSize,
  C_GetAttributeValue: getAttributeValue,
  C_SetAttributeValue: setAttributeValue,
  C_FindObjectsInit: findInit,
  C_FindObjects: find,
  C_FindObjectsFinal: findFinal,
} satisfies Partial<Record<CallName, Handler>>;
