import { type Fields, ItemType, type KmipAttribute, knownTag } from '@aegis/kmip-ttlv';
import { type Algorithm, fromUsageMask, KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import type { FaultCode, ManagedObject, NewObject, ObjectType, ObjectView, RevocationReason } from '../../src/domain/index.js';
import { Inexpressible } from './cases/behaviour-case.js';

// The algebra's words in KMIP's and back, as a client would write them: nothing here comes from the plane under test.

export const OBJECT_TYPES: Readonly<Partial<Record<ObjectType, string>>> = {
  'symmetric-key': 'SymmetricKey',
  'private-key': 'PrivateKey',
  'public-key': 'PublicKey',
  certificate: 'Certificate',
  'secret-data': 'SecretData',
  'opaque-object': 'OpaqueObject',
};
const STATES: Readonly<Record<string, ManagedObject['state']>> = {
  PreActive: 'pre-active',
  Active: 'active',
  Deactivated: 'deactivated',
  Compromised: 'compromised',
  Destroyed: 'destroyed',
  DestroyedCompromised: 'destroyed-compromised',
};
export const REVOCATIONS: Readonly<Partial<Record<RevocationReason, string>>> = {
  unspecified: 'Unspecified',
  'key-compromise': 'KeyCompromise',
  superseded: 'Superseded',
  'cessation-of-operation': 'CessationOfOperation',
};
const LINKS: Readonly<Record<string, string>> = {
  PublicKeyLink: 'public-key',
  PrivateKeyLink: 'private-key',
  CertificateLink: 'certificate',
  ReplacementObjectLink: 'replacement',
  ReplacedObjectLink: 'replaced',
  DerivationBaseObjectLink: 'derivation-base',
  DerivedKeyLink: 'derived-key',
};
const CURVES: Readonly<Partial<Record<KeySpec, string>>> = {
  'ec-p256': 'P_256',
  'ec-p384': 'P_384',
  'ec-p521': 'P_521',
  'ec-secp256k1': 'SECP256K1',
  x25519: 'CURVE25519',
};
const NAMED: Readonly<Partial<Record<KeySpec, string>>> = {
  chacha20: 'ChaCha20',
  ed25519: 'Ed25519',
  ed448: 'Ed448',
  'hmac-sha256': 'HMAC_SHA256',
  'hmac-sha512': 'HMAC_SHA512',
};
const FAMILIES: Readonly<Record<string, string>> = { aes: 'AES', des3: 'DES3', rsa: 'RSA', ec: 'EC', xdh: 'ECDH' };

/** What a refusal of the plane's own (no fault of the service behind it) means in the algebra. Reasons of several faults stand for none. */
export const REASONS: Readonly<Record<string, FaultCode>> = {
  BadCryptographicParameters: 'invalid-field',
  UnsupportedCryptographicParameters: 'unsupported-algorithm',
  InvalidAttribute: 'invalid-field',
  InvalidAttributeValue: 'invalid-field',
  InvalidField: 'invalid-field',
  InvalidMessage: 'invalid-field',
  KeyFormatTypeNotSupported: 'invalid-field',
  NonUniqueNameAttribute: 'already-exists',
  AttributeReadOnly: 'attribute-read-only',
  ReadOnlyAttribute: 'attribute-read-only',
  ItemNotFound: 'not-found',
  ObjectNotFound: 'not-found',
  ObjectArchived: 'archived',
  ObjectDestroyed: 'destroyed',
  WrongKeyLifecycleState: 'wrong-state',
  IncompatibleCryptographicUsageMask: 'usage-denied',
  InvalidCorrelationValue: 'operation-unknown',
  InvalidObjectType: 'wrong-object-type',
  NotExtractable: 'not-exportable',
};

const hashOf = (name: string): string => name.replace(/^sha(\d+)$/, 'SHA_$1');
/** Cryptographic Parameters of an algorithm. */
export const parametersOf = (algorithm: string): Fields => {
  const block = /^(aes|des3)-(cbc|ctr|ecb|cfb|ofb|gcm|ccm)(?:128|64)?(-pkcs5)?$/.exec(algorithm);
  if (block !== null) {
    const mode = { BlockCipherMode: (block[2] as string).toUpperCase() };
    return block[3] === undefined ? mode : { ...mode, PaddingMethod: 'PKCS5' };
  }
  if (algorithm === 'chacha20-poly1305') return { CryptographicAlgorithm: 'ChaCha20Poly1305' };
  if (algorithm === 'aes-cmac') return { BlockCipherMode: 'CMAC' };
  if (algorithm === 'ed25519' || algorithm === 'ed448') return {};
  const hmac = /^hmac-sha(\d+)$/.exec(algorithm);
  if (hmac !== null) return { CryptographicAlgorithm: `HMAC_SHA${hmac[1]}` };
  const ecdsa = /^ecdsa-(sha\d+)$/.exec(algorithm);
  if (ecdsa !== null) return { CryptographicAlgorithm: 'ECDSA', HashingAlgorithm: hashOf(ecdsa[1] as string) };
  const rsa = /^rsa-(oaep|pss|pkcs1)-(sha\d+)$/.exec(algorithm);
  if (rsa !== null) {
    const PaddingMethod = { oaep: 'OAEP', pss: 'PSS', pkcs1: 'PKCS1V1_5' }[rsa[1] as 'oaep'];
    return { PaddingMethod, HashingAlgorithm: hashOf(rsa[2] as string) };
  }
  if (algorithm === 'aes-kwp') return { BlockCipherMode: 'AESKeyWrapPadding' };
  throw new Inexpressible('parameters for this algorithm');
};
export const hashParameters = (hash: string): Fields => ({ HashingAlgorithm: hashOf(hash) });

type Use = 'cipher' | 'signature' | 'mac';
/** What the algebra takes when no algorithm is named; a KMIP client always names its own. */
export const defaultAlgorithm = (spec: KeySpec, use: Use): Algorithm => {
  const { family, hash } = KEY_SPECS[spec];
  if (use === 'mac') return family === 'aes' ? 'aes-cmac' : (`hmac-${hash}` as Algorithm);
  if (use === 'cipher') return family === 'rsa' ? 'rsa-oaep-sha256' : family === 'chacha20' ? 'chacha20-poly1305' : 'aes-gcm';
  if (family === 'eddsa') return spec as 'ed25519';
  if (family === 'rsa') return 'rsa-pss-sha256';
  return ({ 'ec-p384': 'ecdsa-sha384', 'ec-p521': 'ecdsa-sha512' } as const)[spec as 'ec-p384'] ?? 'ecdsa-sha256';
};

/** Cryptographic Algorithm, Length and Domain Parameters of a specification. */
export const specAttributes = (spec: KeySpec, bits?: number): KmipAttribute[] => {
  if (spec === 'secret') return [{ name: 'CryptographicLength', value: bits ?? 256 }];
  const row = Object.hasOwn(KEY_SPECS, spec) ? KEY_SPECS[spec] : undefined;
  if (row === undefined) throw new Inexpressible('key specification by name: it has algorithm and length');
  const curve = CURVES[spec];
  return [
    { name: 'CryptographicAlgorithm', value: NAMED[spec] ?? (FAMILIES[row.family] as string) },
    ...(row.family === 'eddsa' || row.family === 'xdh' ? [] : [{ name: 'CryptographicLength', value: bits ?? row.bits }]),
    ...(curve === undefined ? [] : [{ name: 'CryptographicDomainParameters', value: { RecommendedCurve: curve } }]),
  ];
};
const specOf = (algorithm: unknown, length: unknown, curve: unknown): KeySpec | undefined =>
  (Object.keys(KEY_SPECS) as KeySpec[]).find((spec) => {
    const { family, bits } = KEY_SPECS[spec];
    if (NAMED[spec] !== undefined) return NAMED[spec] === algorithm;
    if (family === 'ec' || family === 'xdh') {
      if (curve !== undefined) return CURVES[spec] === curve;
      return (algorithm === 'EC' || algorithm === 'ECDSA') && bits === length && spec.startsWith('ec-p');
    }
    return FAMILIES[family] === algorithm && bits === length;
  });

// Tags and free attributes are vendor attributes: a tag is text, an attribute JSON.
const TAGS = 'behaviour-tags';
const FREE = 'behaviour-attributes';
const vendor = (of: string, name: string, text: string): KmipAttribute => ({
  vendor: of,
  name,
  value: { tag: knownTag('AttributeValue'), type: ItemType.TextString, value: text },
});
export const tagAttribute = (name: string, text: string): KmipAttribute => vendor(TAGS, name, text);
export const freeAttribute = (name: string, value: unknown): KmipAttribute => {
  if (/^x-aegis-/i.test(name)) throw new Inexpressible('attributes of the service’s own: a vendor attribute never is one');
  return vendor(FREE, name, JSON.stringify(value));
};
export const named = (text: string): KmipAttribute => ({
  name: 'Name',
  value: { NameValue: text, NameType: 'UninterpretedTextString' },
});
const MAX_TAGS = 64;
export const toSeconds = (ms: number): bigint => BigInt(Math.floor(ms / 1000));
export const DATES = {
  activation: 'ActivationDate',
  processStart: 'ProcessStartDate',
  protectStop: 'ProtectStopDate',
  deactivation: 'DeactivationDate',
} as const;
export const limitsAttribute = ({ unit, total }: { unit: string; total: number }): KmipAttribute => ({
  name: 'UsageLimits',
  value: { UsageLimitsTotal: BigInt(total), UsageLimitsUnit: unit === 'byte' ? 'Byte' : 'Object' },
});

/** The attributes of a new object. `exportable` is said either way: the algebra's default is no, KMIP's yes. */
export const newObject = (wish: NewObject): KmipAttribute[] => {
  if (wish.root !== undefined) throw new Inexpressible('root of trust by name');
  const tags = Object.entries(wish.tags ?? {});
  if (tags.length > MAX_TAGS) throw new Inexpressible('bound on tags: they are vendor attributes');
  const dates = { ...(wish.activate === true ? { activation: Date.now() } : {}), ...wish.dates };
  return [
    ...(wish.names ?? []).map(named),
    ...(wish.description === undefined ? [] : [{ name: 'Description', value: wish.description }]),
    { name: 'Extractable', value: wish.exportable === true },
    ...tags.map(([name, text]) => tagAttribute(name, text)),
    ...Object.entries(wish.attributes ?? {}).map(([name, value]) => freeAttribute(name, value)),
    ...Object.entries(dates).map(([name, ms]) => ({ name: DATES[name as 'activation'], value: toSeconds(ms as number) })),
    ...(wish.usageLimits === undefined ? [] : [limitsAttribute(wish.usageLimits)]),
  ];
};

/** Text of a vendor attribute. */
const textsOf = (attributes: readonly KmipAttribute[], of: string): readonly (readonly [string, string])[] =>
  attributes.flatMap((one) => (one.vendor === of ? [[one.name, String(one.value?.value)] as const] : []));

const unsaid = (target: object, field: string, what: string): void => {
  Object.defineProperty(target, field, {
    enumerable: false,
    get: () => {
      throw new Inexpressible(what);
    },
  });
};

/** The view of an object that its attributes give. A KMIP object has one version, its first. */
export const viewOf = (attributes: readonly KmipAttribute[]): ObjectView => {
  const all = (name: string): readonly unknown[] =>
    attributes.filter((one) => one.vendor === undefined && one.name === name).map(({ value }) => value);
  const one = (name: string): unknown => all(name)[0];
  const ms = (name: string): number | undefined => (one(name) === undefined ? undefined : Number(one(name)) * 1000);
  const curve = (one('CryptographicDomainParameters') as Fields | undefined)?.['RecommendedCurve'];
  const spec = specOf(one('CryptographicAlgorithm'), one('CryptographicLength'), curve);
  const state = STATES[String(one('State'))];
  const limits = one('UsageLimits') as Fields | undefined;
  const why = one('RevocationReason') as Fields | undefined;
  const description = one('Description');
  const dates: Record<string, number | undefined> = {
    created: ms('InitialDate'),
    activation: ms('ActivationDate'),
    processStart: ms('ProcessStartDate'),
    protectStop: ms('ProtectStopDate'),
    deactivation: ms('DeactivationDate'),
    compromiseOccurrence: ms('CompromiseOccurrenceDate'),
    archive: ms('ArchiveDate'),
    destroy: ms('DestroyDate'),
  };
  const object = {
    id: one('UniqueIdentifier'),
    type: Object.entries(OBJECT_TYPES).find(([, name]) => name === one('ObjectType'))?.[0],
    ...(spec === undefined ? {} : { spec }),
    usage: fromUsageMask(Number(one('CryptographicUsageMask') ?? 0)),
    state,
    archived: dates['archive'] !== undefined,
    exportable: one('Extractable'),
    currentVersion: 1,
    names: all('Name').map((value) => (value as Fields)['NameValue']),
    ...(description === undefined ? {} : { description }),
    tags: Object.fromEntries(textsOf(attributes, TAGS)),
    attributes: Object.fromEntries(textsOf(attributes, FREE).map(([name, text]) => [name, JSON.parse(text)])),
    dates: Object.fromEntries(Object.entries(dates).filter(([, value]) => value !== undefined)),
    links: all('Link').map((value) => {
      const { LinkType, LinkedObjectIdentifier: target } = value as Fields;
      return { type: LINKS[String(LinkType)], target };
    }),
    ...(limits === undefined
      ? {}
      : { usageLimits: { total: Number(limits['UsageLimitsTotal']), remaining: Number(limits['UsageLimitsCount']) } }),
    ...(why === undefined
      ? {}
      : {
          revocation: {
            reason: Object.entries(REVOCATIONS).find(([, name]) => name === why['RevocationReasonCode'])?.[0],
            message: why['RevocationMessage'],
          },
        }),
  };
  unsaid(object, 'revision', 'revision of an object');
  const versions = [{ version: 1, state: state?.startsWith('destroyed') === true ? 'destroyed' : 'current' }];
  return { object, versions } as unknown as ObjectView;
};
