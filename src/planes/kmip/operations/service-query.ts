import {
  childOf,
  childrenOf,
  ENUMERATIONS,
  type Fields,
  type Item,
  KMIP_VERSIONS,
  type KmipVersion,
  livesIn,
  lowerMessage,
  OPERATIONS,
  operationRow,
  tagCode,
  versionNumbers,
  versionOf,
  writeMessage,
} from '@aegis/kmip-ttlv';
import type { KmipCall, KmipHandler } from '../contract.js';
import { recognise } from '../recognise.js';
import { markRepeatable } from '../repeated-answers.js';

// Query and Discover Versions: what the server can, derived from its tables and handlers.

/** KMIP 1.4 §4.26: no list asks for all, newest first; a list for what both speak, in the server's order of preference. */
export const discoverVersions: KmipHandler = async (payload, call) => {
  await recognise(call);
  const asked = (payload['ProtocolVersion'] ?? []) as readonly Fields[];
  const wanted = new Set(asked.map((one) => versionOf(Number(one['ProtocolVersionMajor']), Number(one['ProtocolVersionMinor']))));
  const spoken = KMIP_VERSIONS.filter((version) => call.plane.versions.includes(version) && (asked.length === 0 || wanted.has(version)));
  return {
    ProtocolVersion: [...spoken].reverse().map((version) => {
      const { major, minor } = versionNumbers(version);
      return { ProtocolVersionMajor: major, ProtocolVersionMinor: minor };
    }),
  };
};

const namesOf = (enumeration: string, version: KmipVersion): string[] => {
  const row = ENUMERATIONS.find((one) => one.name === enumeration);
  return (row?.values ?? []).filter((value) => livesIn(value, version)).map((value) => value.name);
};

/** Operations that the server sends on a connection whose roles have been exchanged (Set Endpoint Role). */
const SENT_BY_SERVER: readonly string[] = ['Notify', 'Put'];

const operations = (call: KmipCall): string[] =>
  OPERATIONS.map((row) => row.name as string).filter((name) => {
    const row = operationRow(name);
    if (row === undefined || !livesIn(row, call.version)) return false;
    if (name === 'Interop' && !call.settings.interop) return false;
    return call.plane.handlers.has(name) || SENT_BY_SERVER.includes(name);
  });

const MAKERS = ['Create', 'Register', 'CreateUser', 'CreateGroup', 'CreateCredential'];
const objectTypes = (call: KmipCall): string[] =>
  MAKERS.some((name) => call.plane.handlers.has(name)) ? namesOf('ObjectType', call.version) : [];

const SOFTWARE_MASK = 0x1;
const HARDWARE_MASK = 0x2;
const OFF_SYSTEM_MASK = 0x10;
const PROTECTION_MASKS = { software: SOFTWARE_MASK, hsm: HARDWARE_MASK, external: HARDWARE_MASK | OFF_SYSTEM_MASK } as const;

/** Node's generator, OpenSSL's CTR_DRBG with AES-256 (SP 800-90A); of a hardware module nothing is known. */
const rngs = (call: KmipCall): Fields[] =>
  call.plane.facts().protection.includes('software')
    ? [{ RNGAlgorithm: 'DRBG', CryptographicAlgorithm: 'AES', CryptographicLength: 256, DRBGAlgorithm: 'CTR', PredictionResistance: false }]
    : [{ RNGAlgorithm: 'Unspecified' }];

const capabilities = (): Fields[] => [
  {
    StreamingCapability: true,
    AsynchronousCapability: true,
    AttestationCapability: false,
    BatchUndoCapability: true,
    BatchContinueCapability: true,
    UnwrapMode: 'Processed',
    DestroyAction: 'KeyMaterialDeleted',
    ShreddingAlgorithm: 'Unsupported',
    RNGMode: 'SharedInstantiation',
    QuantumSafeCapability: false,
  },
];

/** Profiles need more than operations: these make demands on TLS, or on objects, that the server does not meet by default. */
const NOT_CLAIMED = /SuiteB|QuantumSafe|Storage(Array|.*Encrypting)|PKCS_11/;

/** Server profiles of the version itself: 1.x names carry their version. */
function profiles(call: KmipCall): Fields[] {
  const { major, minor } = versionNumbers(call.version);
  const suffix = major < 2 ? `KMIPV${major}_${minor}` : '';
  return namesOf('ProfileName', call.version)
    .filter((name) => name.includes('Server') && !NOT_CLAIMED.test(name) && name.endsWith(suffix))
    .map((name) => ({
      ProfileName: name,
      ...(major < 2 ? {} : { ProfileVersion: { ProfileVersionMajor: major, ProfileVersionMinor: minor } }),
    }));
}

function serverInformation(call: KmipCall): Fields {
  const { version, node } = call.plane.facts();
  return {
    VendorIdentification: 'Aegis',
    ServerInformation: {
      ServerName: node,
      ServerSerialNumber: node,
      ServerVersion: version,
      ServerLoad: String(Math.min(100, call.plane.load())),
      ProductName: 'Aegis',
      BuildLevel: version,
    },
  };
}

/** Query Function → the fields of the response it asks for. */
const ANSWERS: Readonly<Record<string, (call: KmipCall) => Fields | Promise<Fields>>> = {
  QueryOperations: (call) => ({ Operation: operations(call) }),
  QueryObjects: (call) => ({ ObjectType: objectTypes(call) }),
  QueryServerInformation: serverInformation,
  // Namespaces for which the server makes up Application Data: none.
  QueryApplicationNamespaces: () => ({}),
  // Tags of the extension range that the server knows: none.
  QueryExtensionList: () => ({}),
  QueryExtensionMap: () => ({}),
  QueryAttestationTypes: () => ({}),
  QueryRNGs: (call) => ({ RNGParameters: rngs(call) }),
  // Formal validations: none is claimed.
  QueryValidations: () => ({}),
  QueryProfiles: (call) => ({ ProfileInformation: profiles(call) }),
  QueryCapabilities: () => ({ CapabilityInformation: capabilities() }),
  QueryClientRegistrationMethods: () => ({ ClientRegistrationMethod: ['ServerPreGenerated', 'ClientRegistered'] }),
  QueryDefaultsInformation: async (call) => {
    const { defaults } = await call.plane.rules.load(call);
    return defaults === undefined ? {} : { DefaultsInformation: defaults };
  },
  QueryStorageProtectionMasks: (call) => ({
    ProtectionStorageMasks: [
      { ProtectionStorageMask: [...new Set(call.plane.facts().protection.map((level) => PROTECTION_MASKS[level]))] },
    ],
  }),
  QueryCredentialInformation: () => ({}),
};

/** What only the version, the handlers, the settings and the facts decide: its encoding is made once for each combination asked for. */
const FIXED: ReadonlySet<string> = new Set([
  ...['QueryOperations', 'QueryObjects', 'QueryServerInformation', 'QueryProfiles', 'QueryCapabilities', 'QueryRNGs'],
]);
/** Combinations kept; clients send a handful. */
const MAX_KEPT = 256;
const kept = new WeakMap<object, Map<string, Fields>>();

/** The payload with its items as they are written: neither lowered nor sorted again for the next who asks. */
function written(payload: Fields, version: KmipVersion): Fields {
  const message = {
    kind: 'response',
    version,
    header: { TimeStamp: 0n },
    items: [{ operation: 'Query', fields: SUCCESS, payload }],
  } as const;
  const item = childrenOf(writeMessage(lowerMessage(message))).at(-1) as Item;
  return { $extra: childrenOf(childOf(item, RESPONSE_PAYLOAD) as Item) };
}
const SUCCESS: Fields = { ResultStatus: 'Success' };
const RESPONSE_PAYLOAD = tagCode('ResponsePayload') as number;

const answersOf = async (functions: ReadonlySet<string | number>, call: KmipCall): Promise<Fields> =>
  Object.assign({}, ...(await Promise.all([...functions].map((name) => ANSWERS[name]?.(call) ?? {})))) as Fields;

export const query: KmipHandler = async (payload, call) => {
  await recognise(call);
  const functions = new Set((payload['QueryFunction'] ?? []) as readonly (string | number)[]);
  for (const name of functions) if (!FIXED.has(String(name))) return answersOf(functions, call);
  const { version, node, protection } = call.plane.facts();
  const key = [call.version, call.plane.load(), version, node, protection, call.settings.interop, ...functions].join('|');
  let known = kept.get(call.plane);
  if (known === undefined) {
    known = new Map();
    kept.set(call.plane, known);
  }
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = written(await answersOf(functions, call), call.version);
  if (known.size >= MAX_KEPT) known.clear();
  known.set(key, made);
  markRepeatable(made);
  return made;
};
