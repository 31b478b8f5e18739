import type { CipherParameters } from '@aegis/rot-spi';
import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  type Change,
  fail,
  type Handlers,
  type LoadedObject,
  type LocateFilter,
  type ManagedObject,
  materialise,
  type ObjectVersion,
  type OperationResponse,
  type Planned,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import {
  boundKey,
  otherOf,
  pinnedVersion,
  processVersion,
  protectVersion,
  requireSameRoot,
  requireUsage,
  specOf,
  targetOf,
  verificationKey,
} from './chosen-key.js';
import { badField, mergeAttributes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { nextObject, updateObject } from './new-object.js';
import { wrapBytes, wrapParameters } from './transit.js';
import type { UsageAccount } from './usage-accounting.js';
import { seenObject, toView } from './views.js';

const getObject = (): Handlers['get-object'] => async (call) => {
  const { object, versions } = targetOf(call);
  return { response: toView(object, versions, call.now), changes: [] };
};

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
const wholeNumber = (value: number | undefined, field: string, min: number, max: number, fallback: number): number => {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || value < min || value > max) throw badField(field, `Between ${min} and ${max}.`, 'Correct it.');
  return value;
};

/** Materialising a date is the scheduler's, so a page by state is filtered once more by what is true now. */
const stillMatches = (object: ManagedObject, filter: LocateFilter): boolean =>
  filter.states === undefined || filter.states.includes(object.state);

const locate =
  ({ objects }: KeyParts): Handlers['locate'] =>
  async ({ request, tenant, now }) => {
    const { limit, cursor, offset, countTotal, ...filter } = request;
    const page = await objects.locate(tenant, filter, {
      limit: wholeNumber(limit, 'limit', 1, MAX_PAGE, DEFAULT_PAGE),
      ...(cursor === undefined ? {} : { cursor }),
      ...(offset === undefined ? {} : { offset: wholeNumber(offset, 'offset', 0, 2 ** 31 - 1, 0) }),
      ...(countTotal === undefined ? {} : { countTotal }),
    });
    const items = page.items.map((o) => seenObject(o, now)).filter((o) => stillMatches(o, filter));
    return { response: { ...page, items }, changes: [], detail: { found: items.length } };
  };

const getPublicKey = (): Handlers['get-public-key'] => async (call) => {
  const loaded = targetOf(call);
  const { object } = loaded;
  const version = publicVersion(loaded, pinnedVersion(call.request.version, call.request.key));
  if (version.publicKey === undefined || object.spec === undefined) {
    throw fail('wrong-object-type', `A ${object.type} has no public key.`, { next: 'Use a key pair, a public key or a certificate.' });
  }
  return {
    response: { objectId: object.id, version: version.version, spec: object.spec, publicKey: version.publicKey },
    changes: [],
    detail: { version: version.version },
  };
};

/** Public keys stay readable after the key is destroyed: old signatures are still checked with them. */
const publicVersion = (loaded: LoadedObject, pinned: number | undefined): ObjectVersion => {
  const wanted = pinned ?? loaded.object.currentVersion;
  const version = loaded.versions.find((v) => v.version === wanted);
  if (version !== undefined) return version;
  throw fail('not-found', `The object has no version ${wanted}.`, { field: 'version', next: 'Use an existing version.' });
};

const CONTENT_FORMAT = { certificate: 'x509', 'certificate-request': 'x509' } as const;
type Exported = OperationResponse<'export-key'>;

const exportPublic = (object: ManagedObject, version: ObjectVersion): Exported | undefined => {
  const base = {
    objectId: object.id,
    version: version.version,
    type: object.type,
    ...(object.spec === undefined ? {} : { spec: object.spec }),
    bits: version.bits,
  };
  if (object.content !== undefined) {
    const format = CONTENT_FORMAT[object.type as keyof typeof CONTENT_FORMAT] ?? 'opaque';
    return { ...base, format, material: object.content };
  }
  if (object.type !== 'public-key' || version.publicKey === undefined) return undefined;
  return { ...base, format: 'spki', material: version.publicKey };
};

/** A KMIP attribute of one truth value, as that plane keeps it (a list of one instance). */
const marked = (object: ManagedObject, attribute: string): boolean | undefined => {
  const kept = object.attributes[attribute];
  const value = Array.isArray(kept) ? (kept[0] as { readonly v?: unknown } | undefined)?.v : undefined;
  return typeof value === 'boolean' ? value : undefined;
};

/** KMIP 2.1 §4.53, PKCS#11 CKA_SENSITIVE: an exportable key that leaves only wrapped, whichever plane asks. */
const requireOpen = (object: ManagedObject): void => {
  if (marked(object, 'kmip:Sensitive') !== true) return;
  throw fail('not-extractable-sensitive', 'The object is sensitive: it leaves its root of trust only wrapped.', {
    next: 'Name a wrapping key.',
  });
};

const requireExportable = (object: ManagedObject): void => {
  // `exportable` is bound into the key and never changes; the attribute may take the permission back, never give it.
  if (object.exportable && marked(object, 'kmip:Extractable') !== false) return;
  throw fail('not-exportable', 'The object was not created exportable; it never leaves its root of trust.', {
    next: 'Create or import a key with exportable set, if policy allows.',
  });
};

const exportKey =
  (parts: KeyParts, account: UsageAccount): Handlers['export-key'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const wrapped = call.request.wrappingKey !== undefined;
    const absent = absentValue(loaded);
    if (absent !== undefined) return { response: absent, changes: [], detail: { absent: true } };
    const version = processVersion(loaded, pinnedVersion(call.request.version, call.request.key));
    const open = exportPublic(object, version);
    const detail = { version: version.version, wrapped };
    if (open === undefined) requireExportable(object);
    if (wrapped) return exportWrapped(parts, account, call, object, version, open?.material);
    requireOpen(object);
    const changes = leftBehind(call, object);
    if (open !== undefined) return { response: { ...open, object: seenObject(object, call.now) }, changes, detail };
    const { format, material } = await parts.roots.call(object.rootId, 'exportKey', { key: boundKey(object, version) });
    return {
      response: {
        ...exportedBase(object, version),
        object: seenObject(object, call.now),
        format: object.spec === undefined ? 'opaque' : format,
        material,
      },
      changes,
      detail,
    };
  };

/** What the export says of the object from now on; nothing the second time. */
const leftBehind = ({ request, now }: AuthorizedCall<'export-key'>, object: ManagedObject): readonly Change[] => {
  const { leaves } = request;
  if (leaves === undefined) return [];
  const differs = Object.entries(leaves).some(([name, value]) => JSON.stringify(object.attributes[name]) !== JSON.stringify(value));
  if (!differs) return [];
  const attributes = mergeAttributes(object.attributes, leaves);
  return [updateObject(object, nextObject(materialise(object, now), { attributes }, now))];
};

/** An object registered without its value (KMIP Key Value Location) has nothing that could leave. */
const absentValue = ({ object, versions }: LoadedObject): Exported | undefined => {
  const current = versions.find((v) => v.version === object.currentVersion);
  const nothing = current?.reference.length === 0 && current.publicKey === undefined && object.content === undefined;
  if (current === undefined || current.state === 'destroyed' || !nothing) return undefined;
  return { ...exportedBase(object, current), object, format: 'opaque', material: new Uint8Array(0) };
};

const exportedBase = (object: ManagedObject, version: ObjectVersion) => ({
  objectId: object.id,
  version: version.version,
  type: object.type,
  ...(object.spec === undefined ? {} : { spec: object.spec }),
  bits: version.bits,
});

const exportWrapped = async (
  parts: KeyParts,
  account: UsageAccount,
  call: AuthorizedCall<'export-key'>,
  object: ManagedObject,
  version: ObjectVersion,
  open: Uint8Array | undefined,
): Promise<Planned<'export-key'>> => {
  const { request, now } = call;
  const wrapping = otherOf(call, 'wrappingKey');
  requireUsage(wrapping.object, 'wrap');
  const spec = specOf(wrapping.object);
  const algorithm = await chooseAlgorithm(parts.roots, wrapping.object, spec, 'wrap', request.wrapAlgorithm, 'wrapAlgorithm');
  const wrappingVersion = protectVersion(wrapping, pinnedVersion(undefined, request.wrappingKey));
  const parameters = wrapParameters(request);
  const { wrapped, iv } =
    request.encode === undefined && open === undefined
      ? await wrapInside(parts, object, version, wrapping.object, wrappingVersion, algorithm, parameters)
      : await wrapBytes(
          parts,
          { object: wrapping.object, version: wrappingVersion, algorithm, parameters },
          await encoded(parts, call, object, version, open),
          now,
        );
  const used = account.consume(wrapping.object, { payloadBytes: wrapped.length });
  return {
    response: {
      ...exportedBase(object, version),
      object: seenObject(object, now),
      format: 'wrapped',
      material: wrapped,
      ...(iv === undefined ? {} : { iv }),
    },
    changes: [...used.changes, ...leftBehind(call, object)],
    detail: { version: version.version, wrapped: true, wrappingKey: wrapping.object.id, algorithm },
  };
};

/** Both keys in one root: nothing of the key is seen outside it. */
const wrapInside = async (
  parts: KeyParts,
  object: ManagedObject,
  version: ObjectVersion,
  wrapping: ManagedObject,
  wrappingVersion: ObjectVersion,
  algorithm: Algorithm,
  parameters: CipherParameters,
) => {
  requireSameRoot(object, wrapping, 'a wrapped export needs both keys in one');
  return parts.roots.call(object.rootId, 'wrapKey', {
    wrappingKey: verificationKey(wrapping, wrappingVersion),
    algorithm,
    key: boundKey(object, version),
    ...parameters,
  });
};

/** What the caller's encoding makes of the material; the material itself is overwritten. */
const encoded = async (
  parts: KeyParts,
  call: AuthorizedCall<'export-key'>,
  object: ManagedObject,
  version: ObjectVersion,
  open: Uint8Array | undefined,
): Promise<Uint8Array> => {
  const { encode } = call.request;
  const material =
    open === undefined
      ? (await parts.roots.call(object.rootId, 'exportKey', { key: boundKey(object, version) })).material
      : new Uint8Array(open);
  if (encode === undefined) return material;
  try {
    return await encode(material);
  } finally {
    material.fill(0);
  }
};

const keyEvidence =
  (parts: KeyParts): Handlers['key-evidence'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const version = publicVersion(loaded, pinnedVersion(call.request.version, call.request.key));
    const known = { provenance: version.provenance, asserted: {} };
    if (version.reference.length === 0 || version.state === 'destroyed') return { response: known, changes: [] };
    const { powers } = await parts.roots.describe(object.rootId);
    if (!powers.includes('evidence')) return { response: known, changes: [] };
    const evidence = await parts.roots.call(object.rootId, 'evidence', { key: boundKey(object, version) });
    return { response: evidence, changes: [], detail: { version: version.version } };
  };

export const makeReadHandlers = (
  parts: KeyParts,
  account: UsageAccount,
): Pick<Handlers, 'get-object' | 'locate' | 'get-public-key' | 'export-key' | 'key-evidence'> => ({
  'get-object': getObject(),
  locate: locate(parts),
  'get-public-key': getPublicKey(),
  'export-key': exportKey(parts, account),
  'key-evidence': keyEvidence(parts),
});
export { requireExportable };
