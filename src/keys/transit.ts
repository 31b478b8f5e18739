import type { CipherParameters, KeyBinding } from '@aegis/rot-spi';
import { ALGORITHMS, type Algorithm } from '@aegis/rot-spi/vocabulary';
import { fail, type Handlers, type LoadedObject, type ManagedObject, type ObjectVersion } from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { boundKey, isImportKey, pinnedVersion, processVersion, requireUsage, specOf, targetOf, verificationKey } from './chosen-key.js';
import { checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { newObjectId } from './object-ids.js';

/**
 * Bytes wrapped and unwrapped by a key of ours although they are no key themselves: a key in another encoding, a key together
 * with its attributes. A root wraps keys only, so the bytes become one for as long as the call takes and are destroyed in it.
 */
const inTransit = (tenant: string, now: number): KeyBinding => ({
  objectId: newObjectId(now),
  version: 1,
  tenant,
  spec: 'secret',
  usage: ['export'],
  exportable: true,
});

interface Wrapping {
  readonly object: ManagedObject;
  readonly version: ObjectVersion;
  readonly algorithm: Algorithm;
  readonly parameters: CipherParameters;
}

/** The bytes are overwritten. */
export const wrapBytes = async (
  parts: KeyParts,
  { object, version, algorithm, parameters }: Wrapping,
  bytes: Uint8Array,
  now: number,
): Promise<{ readonly wrapped: Uint8Array; readonly iv?: Uint8Array }> => {
  const wrappingKey = verificationKey(object, version);
  const binding = inTransit(object.tenant, now);
  try {
    const { reference } = await parts.roots.call(object.rootId, 'importKey', { binding, format: 'raw', material: bytes });
    const key = { reference, binding };
    try {
      return await parts.roots.call(object.rootId, 'wrapKey', { wrappingKey, algorithm, key, ...parameters });
    } finally {
      await parts.roots.call(object.rootId, 'destroyKey', { key }).catch(() => undefined);
    }
  } finally {
    bytes.fill(0);
  }
};

/** The caller overwrites the result. */
const unwrapBytes = async (
  parts: KeyParts,
  { object, version, algorithm, parameters }: Wrapping,
  wrapped: Uint8Array,
  now: number,
): Promise<Uint8Array> => {
  const binding = inTransit(object.tenant, now);
  const { reference } = await parts.roots.call(object.rootId, 'unwrapKey', {
    unwrappingKey: boundKey(object, version),
    algorithm,
    wrapped,
    format: 'raw',
    newKey: { binding },
    ...parameters,
  });
  const key = { reference, binding };
  try {
    const { material } = await parts.roots.call(object.rootId, 'exportKey', { key });
    return material;
  } finally {
    await parts.roots.call(object.rootId, 'destroyKey', { key }).catch(() => undefined);
  }
};

const MAX_WRAPPED_BYTES = 131_072;

export const wrapParameters = ({ iv, aad, tagLength, label, mgf1Hash }: CipherParameters): CipherParameters => ({
  ...(iv === undefined ? {} : { iv: checkBytes(iv, 'iv', 128) }),
  ...(aad === undefined ? {} : { aad: checkBytes(aad, 'aad', 65_536) }),
  ...(tagLength === undefined ? {} : { tagLength }),
  ...(label === undefined ? {} : { label: checkBytes(label, 'label', 4096) }),
  ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
});

const requireOrdinaryKey = ({ object }: LoadedObject): void => {
  // An import-wrapping key makes keys that stay here; what it unwraps never comes out.
  if (isImportKey(object)) throw fail('usage-denied', 'An import-wrapping key only unwraps imports.', { next: 'Use import-key.' });
};

const unwrapData =
  (parts: KeyParts): Handlers['unwrap-data'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { request, now } = call;
    const { object } = loaded;
    requireUsage(object, 'unwrap');
    requireOrdinaryKey(loaded);
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'wrap', request.algorithm);
    const version = processVersion(loaded, pinnedVersion(undefined, request.unwrappingKey));
    const wrapped = checkBytes(request.wrapped, 'wrapped', MAX_WRAPPED_BYTES, 1);
    const material = await unwrapBytes(parts, { object, version, algorithm, parameters: wrapParameters(request) }, wrapped, now);
    return {
      response: { objectId: object.id, version: version.version, algorithm, material },
      changes: [],
      detail: { version: version.version, algorithm, kind: ALGORITHMS[algorithm].kind },
    };
  };

export const makeTransitHandlers = (parts: KeyParts): Pick<Handlers, 'unwrap-data'> => ({ 'unwrap-data': unwrapData(parts) });
