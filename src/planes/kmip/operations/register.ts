import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { isFirstEra } from '@aegis/kmip-ttlv';
import type { KeySpec } from '@aegis/rot-spi/vocabulary';
import type { NewObject, ObjectLink, ObjectType } from '../../../domain/index.js';
import { givenAttributes, templateAttributes } from '../attributes/given.js';
import { curveOfSpec, keyFacts } from '../attributes/key-spec.js';
import { protectionOf, readNewObject } from '../attributes/new-object.js';
import { keptOne } from '../attributes/stored-values.js';
import { objectTypeOf, TYPE_NAMES } from '../attributes/vocabulary.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { makeWiper, type Wiper } from '../material/key-model.js';
import { type ReadObject, readObject } from '../material/read-object.js';
import { isPkcs12, registerPkcs12 } from './register-pkcs12.js';

// Register (KMIP 2.1 §6.1.43, 1.4 §4.3): bytes go to the root's intake, what describes them to the object.

export interface Registering {
  readonly call: KmipCall;
  readonly type: ObjectType;
  readonly object: Fields;
  readonly attributes: readonly KmipAttribute[];
  readonly wiper: Wiper;
  /** Fields of the service's request beside the object (root, id, what is replaced). */
  readonly extra: {
    readonly protection?: NonNullable<NewObject['protection']>;
    readonly id?: string;
    readonly replaces?: string;
    readonly initial?: number;
  };
  /** Server-set attributes that the operation takes (Import). */
  readonly alsoTakes?: readonly string[];
}

/** The object of a payload, by its Object Type. */
export const objectIn = (payload: Fields): { readonly type: ObjectType; readonly object: Fields } => {
  const type = objectTypeOf(payload['ObjectType']);
  if (type === undefined) throw refuse('InvalidObjectType', 'The Object Type is not known.');
  const object = payload[TYPE_NAMES[type]] as Fields | undefined;
  if (object === undefined) throw refuse('InvalidMessage', `The ${TYPE_NAMES[type]} itself is missing.`);
  return { type, object };
};

/** Attributes in the Key Value stand where the request says nothing else (KMIP 2.1 §3.2). */
const withInner = (given: readonly KmipAttribute[], inner: readonly KmipAttribute[]): readonly KmipAttribute[] => [
  ...given,
  ...inner.filter((one) => !given.some(({ name, vendor }) => name === one.name && vendor === one.vendor)),
];

const KEYED: readonly ObjectType[] = ['symmetric-key', 'private-key', 'public-key', 'split-key', 'pgp-key', 'certificate'];

/** What the Key Block says is an attribute too (KMIP 2.1 §4.13, §4.14), in its words and not in the request's. */
const withFacts = (given: readonly KmipAttribute[], read: ReadObject): readonly KmipAttribute[] => {
  if (!KEYED.includes(read.type)) return given;
  const { algorithm, length } = read.facts;
  const own: KmipAttribute[] = [
    ...(algorithm === undefined ? [] : [{ name: 'CryptographicAlgorithm', value: algorithm }]),
    ...(length === undefined ? [] : [{ name: 'CryptographicLength', value: length }]),
  ];
  return [...given.filter(({ name, vendor }) => vendor !== undefined || !own.some((one) => one.name === name)), ...own].filter(
    (attribute) => !namesOtherCurve(attribute, read.intake.spec),
  );
};
/** Domain parameters of a curve that the key is not on would be told back as the key's. */
const namesOtherCurve = ({ name, vendor, value }: KmipAttribute, spec: KeySpec | undefined): boolean => {
  const own = spec === undefined ? undefined : curveOfSpec(spec);
  if (own === undefined || vendor !== undefined || name !== 'CryptographicDomainParameters') return false;
  const said = (value as Fields | undefined)?.['RecommendedCurve'];
  return said !== undefined && said !== own;
};

/**
 * The cases of 1.4 (TC-WRAP-2, TC-WRAP-3) have the server unwrap with a key whose mask is Wrap Key alone. The mask stays what
 * the client said; from 2.0 on Unwrap Key is what it takes.
 */
const unwrapsToo = (usage: NewObject['usage'], type: ObjectType, call: KmipCall): NewObject['usage'] =>
  isFirstEra(call.version) && type === 'symmetric-key' && usage?.includes('wrap') === true && !usage.includes('unwrap')
    ? [...usage, 'unwrap']
    : usage;

const keptMask = (attributes: readonly KmipAttribute[]): Readonly<Record<string, unknown>> => {
  const mask = attributes.find(({ name, vendor }) => vendor === undefined && name === 'CryptographicUsageMask')?.value;
  return typeof mask === 'number' ? keptOne('CryptographicUsageMask', mask) : {};
};

/** KMIP 2.1 §6.1.43: "the server SHALL create a Link attribute of Link Type Wrapping Key Link" for what comes wrapped. */
const wrappingLinks = ({ block }: ReadObject, call: KmipCall): readonly ObjectLink[] => {
  const information = block.wrapping?.['EncryptionKeyInformation'] as Fields | undefined;
  const target = information?.['UniqueIdentifier'];
  return isFirstEra(call.version) || typeof target !== 'string' ? [] : [{ type: 'wrapping-key', target }];
};

const describe = (registering: Registering, read: ReadObject, spec: KeySpec | undefined): NewObject => {
  const { call, type, attributes, alsoTakes } = registering;
  const all = withFacts(withInner(attributes, read.inner), read);
  const made = readNewObject(all, { type, call, spec, ...(alsoTakes === undefined ? {} : { alsoTakes }) });
  const usage = unwrapsToo(made.usage, type, call);
  const widened = usage !== made.usage;
  const links = [...(made.links ?? []), ...wrappingLinks(read, call)];
  return {
    ...made,
    ...(links.length === 0 ? {} : { links }),
    ...(usage === undefined ? {} : { usage }),
    attributes: { ...made.attributes, ...read.attributes, ...(widened ? keptMask(all) : {}) },
  };
};

/** Registers one object and answers its id. */
const registerObject = async (registering: Registering): Promise<string> => {
  const { call, type, object, attributes, wiper, extra } = registering;
  const read = readObject(type, object, { version: call.version, given: keyFacts(attributes), wiper });
  const { intake } = read;
  const response = await call.call('register', {
    ...describe(registering, read, intake.spec ?? read.facts.spec),
    ...intake,
    type,
    ...extra,
  });
  return response.object.id;
};

/** KMIP 1.4 §2.2.6: a Template is its attributes, those in the object and its name among those of the request. */
const registerTemplate = async ({ call, object, attributes, extra }: Registering): Promise<string> => {
  const inside = (object['Attribute'] ?? []) as readonly KmipAttribute[];
  const isName = ({ name, vendor }: KmipAttribute): boolean => vendor === undefined && name === 'Name';
  // A Name in the Template is the template's own: names are unique, so that no object could take it over (SASED-M-2-10).
  const list = inside.filter((attribute) => !isName(attribute));
  const made = readNewObject([...attributes, ...inside.filter(isName)], { type: 'template', call });
  const response = await call.call('register', {
    ...made,
    ...extra,
    type: 'template',
    format: 'opaque',
    material: new Uint8Array(0),
    attributes: { ...made.attributes, ...templateAttributes(list) },
  });
  return response.object.id;
};

/** Any object; PKCS#12 becomes several. */
export const registerAny = (registering: Registering): Promise<string> => {
  if (registering.type === 'template') return registerTemplate(registering);
  return isPkcs12(registering) ? registerPkcs12(registering, registerObject) : registerObject(registering);
};

export const register: KmipHandler = async (payload, call) => {
  const wiper = makeWiper();
  try {
    const { type, object } = objectIn(payload);
    const attributes = await givenAttributes(payload, 'Attributes', call);
    const extra = protectionOf(payload['ProtectionStorageMasks']);
    const id = await registerAny({ call, type, object, attributes, wiper, extra: extra as Registering['extra'] });
    call.setPlaceholder(id);
    return { UniqueIdentifier: id };
  } finally {
    wiper.wipe();
  }
};
