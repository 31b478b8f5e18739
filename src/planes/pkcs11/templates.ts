import type { KeyUsage } from '@aegis/rot-spi/vocabulary';
import type { NewObject } from '../../domain/index.js';
import type { CallContext, Session } from './contract.js';
import { hasIdentity } from './identity.js';
import { sessionMark } from './objects.js';
import { rv } from './rv.js';
import { STORED, storedName, toHex, toStoredText } from './stored-attributes.js';
import type { Attribute, AttributeValue } from './wire/attributes.js';
import { CKA, CKO } from './wire/codes.js';

/** A template, read strictly: each attribute once, of the right kind, and at the end nothing left that nobody looked at. */
export interface Template {
  has(type: number): boolean;
  bool(type: number): boolean | undefined;
  ulong(type: number): number | undefined;
  bytes(type: number): Uint8Array | undefined;
  mechanisms(type: number): readonly number[] | undefined;
  /** Value that must be there. */
  need<T>(value: T | undefined): T;
  /** Attributes nobody has asked for yet. */
  rest(): readonly Attribute[];
}

export const readTemplate = (attributes: readonly Attribute[]): Template => {
  const left = new Map<number, Attribute>();
  for (const one of attributes) {
    if (left.has(one.type)) throw rv('TEMPLATE_INCONSISTENT');
    left.set(one.type, one);
  }
  const all = new Set(left.keys());
  const take = <T extends AttributeValue>(type: number, is: (value: AttributeValue) => value is T): T | undefined => {
    const one = left.get(type);
    if (one === undefined) return undefined;
    left.delete(type);
    if (!one.available || !is(one.value)) throw rv('ATTRIBUTE_VALUE_INVALID');
    return one.value;
  };
  return {
    has: (type) => all.has(type),
    bool: (type) => take(type, (v): v is boolean => typeof v === 'boolean'),
    ulong: (type) => take(type, (v): v is number => typeof v === 'number'),
    bytes: (type) => take(type, (v): v is Uint8Array => v instanceof Uint8Array),
    mechanisms: (type) => take(type, (v): v is readonly number[] => Array.isArray(v)),
    need: (value) => {
      if (value === undefined) throw rv('TEMPLATE_INCOMPLETE');
      return value;
    },
    rest: () => [...left.values()],
  };
};

/** Usage flags by class, as the algebra names what they allow. */
type UsageRows = readonly (readonly [attribute: number, usages: readonly KeyUsage[]])[];
const PRIVATE_USAGE: UsageRows = [
  [CKA.SIGN, ['sign']],
  [CKA.DECRYPT, ['decrypt']],
  [CKA.UNWRAP, ['unwrap']],
  [CKA.DERIVE, ['derive', 'agree']],
];
const PUBLIC_USAGE: UsageRows = [
  [CKA.VERIFY, ['verify']],
  [CKA.ENCRYPT, ['encrypt']],
  [CKA.WRAP, ['wrap']],
  [CKA.DERIVE, ['derive', 'agree']],
];
const SECRET_USAGE: UsageRows = [
  [CKA.ENCRYPT, ['encrypt']],
  [CKA.DECRYPT, ['decrypt']],
  [CKA.SIGN, ['mac']],
  [CKA.VERIFY, ['mac-verify']],
  [CKA.WRAP, ['wrap']],
  [CKA.UNWRAP, ['unwrap']],
  [CKA.DERIVE, ['derive']],
];
const USAGE_ROWS: Readonly<Record<number, UsageRows>> = {
  [CKO.PRIVATE_KEY]: PRIVATE_USAGE,
  [CKO.PUBLIC_KEY]: PUBLIC_USAGE,
  [CKO.SECRET_KEY]: SECRET_USAGE,
};

/**
 * Usages the flags ask for, as far as the kind of key can have them. A template that names no usage at all gets every usage
 * of its class, as tokens commonly do; one that names some gets those.
 */
export const readUsage = (template: Template, cko: number, possible: readonly KeyUsage[]): readonly KeyUsage[] => {
  const rows = USAGE_ROWS[cko] ?? [];
  const named = rows.map(([attribute, usages]) => ({ usages, asked: template.bool(attribute) }));
  const silent = named.every(({ asked }) => asked === undefined);
  const chosen = named.filter(({ asked }) => (silent ? true : asked === true)).flatMap(({ usages }) => usages);
  // Recover operations exist in PKCS#11 only; nothing here can do them.
  for (const absent of [CKA.SIGN_RECOVER, CKA.VERIFY_RECOVER]) template.bool(absent);
  return possible.filter((usage) => chosen.includes(usage));
};

/** What holds for every new object: where it lives, what it is called, and the attributes that are only kept. */
export interface Common {
  readonly token: boolean;
  readonly request: NewObject & { readonly attributes: Readonly<Record<string, unknown>> };
}

const MAX_STORED_BYTES = 16_384;
const stored = (name: string, bytes: Uint8Array | undefined): Record<string, unknown> => {
  if (bytes === undefined || bytes.length === 0) return {};
  if (bytes.length > MAX_STORED_BYTES) throw rv('ATTRIBUTE_VALUE_INVALID');
  return { [name]: toHex(bytes) };
};
const storedFlag = (name: string, flag: boolean | undefined, fallback: boolean): Record<string, unknown> =>
  flag === undefined || flag === fallback ? {} : { [name]: flag };

const KEPT_BYTES = [CKA.SUBJECT, CKA.START_DATE, CKA.END_DATE, CKA.APPLICATION, CKA.OBJECT_ID];

export const readCommon = (context: CallContext, session: Session, template: Template, cko: number): Common => {
  const token = template.bool(CKA.TOKEN) ?? false;
  if (token && !session.writable) throw rv('SESSION_READ_ONLY');
  const isKey = cko === CKO.PRIVATE_KEY || cko === CKO.SECRET_KEY;
  // The default is the token's to choose (v2.40 §4.4); without a login only public objects can be made.
  const defaultPrivate = token || hasIdentity(context.connection, session.slot) ? undefined : false;
  const label = template.bytes(CKA.LABEL);
  const text = label === undefined ? undefined : toStoredText(label);
  const allowed = template.mechanisms(CKA.ALLOWED_MECHANISMS);
  const attributes: Record<string, unknown> = {
    ...(text === undefined || text === '' ? {} : { [STORED.label]: text }),
    ...stored(STORED.id, template.bytes(CKA.ID)),
    ...storedFlag(STORED.private, template.bool(CKA.PRIVATE) ?? defaultPrivate, isKey),
    ...storedFlag(STORED.modifiable, template.bool(CKA.MODIFIABLE), true),
    ...storedFlag(STORED.copyable, template.bool(CKA.COPYABLE), true),
    ...storedFlag(STORED.destroyable, readMemoryBool(template, CKA.DESTROYABLE), true),
    ...(allowed === undefined || allowed.length === 0 ? {} : { [STORED.allowed]: allowed }),
    ...(token ? {} : { [STORED.session]: sessionMark(context.connection, session.handle), [STORED.node]: context.parts.nodeId }),
  };
  for (const type of KEPT_BYTES) {
    if (!template.has(type)) continue;
    const given = type === CKA.START_DATE || type === CKA.END_DATE ? readDate(template, type) : template.bytes(type);
    Object.assign(attributes, stored(storedName(type) ?? '', given));
  }
  return { token, request: { attributes, activate: true } };
};

const readDate = (template: Template, type: number): Uint8Array | undefined => {
  const one = template.rest().find((attribute) => attribute.type === type);
  return one?.value === undefined ? undefined : template.bytes(type);
};
/** CKA_DESTROYABLE has no class in the protocol: it comes as one byte of memory. */
const readMemoryBool = (template: Template, type: number): boolean | undefined => {
  const bytes = template.bytes(type);
  return bytes === undefined || bytes.length === 0 ? undefined : bytes[0] !== 0;
};

/** Sensitivity of a new key. Default: it never leaves its root. */
export const readProtection = (
  template: Template,
): { readonly exportable: boolean; readonly attributes: Readonly<Record<string, unknown>> } => {
  const sensitive = template.bool(CKA.SENSITIVE);
  const extractable = template.bool(CKA.EXTRACTABLE) ?? false;
  // What this service cannot enforce on every wire it does not promise on this one.
  if (template.bool(CKA.WRAP_WITH_TRUSTED) === true || template.bool(CKA.ALWAYS_AUTHENTICATE) === true) throw rv('TEMPLATE_INCONSISTENT');
  if (template.bool(CKA.TRUSTED) === true) throw rv('ATTRIBUTE_READ_ONLY');
  return { exportable: extractable, attributes: storedFlag(STORED.sensitive, sensitive ?? true, !extractable) };
};

const READ_ONLY: ReadonlySet<number> = new Set([
  CKA.LOCAL,
  CKA.KEY_GEN_MECHANISM,
  CKA.ALWAYS_SENSITIVE,
  CKA.NEVER_EXTRACTABLE,
  CKA.UNIQUE_ID,
]);
/** Given along with material, but the service knows them itself. */
const IGNORED: ReadonlySet<number> = new Set([CKA.CHECK_VALUE, CKA.PUBLIC_KEY_INFO]);
const TEMPLATES: ReadonlySet<number> = new Set([CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE]);

/** What is left: vendor attributes are kept, an empty value says nothing, anything else has no place on this object. */
export const readRest = (template: Template): Readonly<Record<string, unknown>> => {
  const attributes: Record<string, unknown> = {};
  for (const { type, value } of template.rest()) {
    if (READ_ONLY.has(type)) throw rv('ATTRIBUTE_READ_ONLY');
    if (IGNORED.has(type)) continue;
    if (TEMPLATES.has(type) && Array.isArray(value) && value.length === 0) continue;
    const name = storedName(type);
    if (name === undefined || !(value instanceof Uint8Array))
      throw rv(type in CKA_BY_TYPE ? 'TEMPLATE_INCONSISTENT' : 'ATTRIBUTE_TYPE_INVALID');
    Object.assign(attributes, stored(name, value));
  }
  return attributes;
};
const CKA_BY_TYPE: Readonly<Record<number, string>> = Object.fromEntries(Object.entries(CKA).map(([name, type]) => [type, name]));

/** A label that nobody else uses becomes the object's name too, so that policies, REST and the command line can say it. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._:/+-]{0,254}$/u;
export const nameFor = async (context: CallContext, session: Session, common: Common): Promise<{ readonly names?: readonly string[] }> => {
  const label = common.request.attributes[STORED.label];
  if (!common.token || typeof label !== 'string' || !NAME.test(label)) return {};
  const taken = await context.call(session.slot, 'locate', { name: label, limit: 1, archived: 'any' });
  return taken.items.length === 0 ? { names: [label] } : {};
};
