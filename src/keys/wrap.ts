import type { CipherParameters } from '@aegis/rot-spi';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  type NewObject,
  type ObjectType,
  type Planned,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import {
  boundKey,
  isImportKey,
  isPair,
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
import { compensationFor } from './compensation.js';
import { knownSpec } from './create.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage } from './key-usages.js';
import { bindingOf, draftObject, resourceOf, versionOf } from './new-object.js';
import { requireExportable } from './read.js';
import { wrapParameters } from './transit.js';
import type { UsageAccount } from './usage-accounting.js';
import { toView } from './views.js';

const wrap =
  (parts: KeyParts, account: UsageAccount): Handlers['wrap'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const wrapping = otherOf(call, 'wrappingKey');
    const { request } = call;
    requireUsage(wrapping.object, 'wrap');
    requireExportable(object);
    requireSameRoot(object, wrapping.object, 'wrapping happens inside one');
    const version = processVersion(loaded, pinnedVersion(request.version, request.key));
    const algorithm = await chooseAlgorithm(parts.roots, wrapping.object, specOf(wrapping.object), 'wrap', request.algorithm);
    const wrappingVersion = protectVersion(wrapping, pinnedVersion(undefined, request.wrappingKey));
    const made = await parts.roots.call(object.rootId, 'wrapKey', {
      wrappingKey: verificationKey(wrapping.object, wrappingVersion),
      algorithm,
      key: boundKey(object, version),
      ...wrapParameters(request),
    });
    const used = account.consume(wrapping.object, { payloadBytes: made.wrapped.length });
    return {
      response: {
        objectId: object.id,
        version: version.version,
        algorithm,
        wrapped: made.wrapped,
        ...(made.iv === undefined ? {} : { iv: made.iv }),
      },
      changes: used.changes,
      detail: { version: version.version, wrappingKey: wrapping.object.id, wrappingVersion: wrappingVersion.version, algorithm },
    };
  };

const MAX_WRAPPED_BYTES = 131_072;
/** Type and spec of an object to be made from a secret must agree. */
export const checkNewType = (type: ObjectType | undefined, spec: KeySpec): ObjectType => {
  const { shape } = KEY_SPECS[spec];
  const fitting: ObjectType = shape === 'pair' ? 'private-key' : shape === 'secret' ? 'secret-data' : 'symmetric-key';
  if (type === undefined || type === fitting) return fitting;
  throw badField('type', `A ${spec} becomes a ${fitting}.`, 'Leave type out, or correct it.');
};

interface Unwrapping {
  readonly request: NewObject & {
    readonly type: ObjectType;
    readonly spec: KeySpec;
    readonly format: 'raw' | 'pkcs8';
    readonly wrapped: Uint8Array;
  };
  readonly unwrappingKey: LoadedObject;
  readonly pinned: number | undefined;
  readonly algorithm: Algorithm;
  readonly parameters: CipherParameters;
}

/** A new object in the root of the key that unwraps it; nothing in clear on the way. */
const unwrapInto = async <O extends 'unwrap' | 'import-key'>(
  parts: KeyParts,
  call: AuthorizedCall<O>,
  { request, unwrappingKey, pinned, algorithm, parameters }: Unwrapping,
): Promise<Planned<O>> => {
  const { now } = call;
  const base = unwrappingKey.object;
  const spec = knownSpec(request.spec);
  const type = checkNewType(request.type, spec);
  if ((request.format === 'pkcs8') !== isPair(spec)) {
    throw badField('format', `A ${spec} travels as ${isPair(spec) ? 'pkcs8' : 'raw'}.`, 'Correct the format.');
  }
  const wrapped = checkBytes(request.wrapped, 'wrapped', MAX_WRAPPED_BYTES, 1);
  requireHome(request, base);
  const version = processVersion(unwrappingKey, pinned);
  const description = await parts.roots.describe(base.rootId);
  const usage = checkUsage(request.usage, spec, type, 'usage');
  const object = await draftObject(parts, call, request, { type, spec, usage, rootId: base.rootId, protection: base.protection });
  const made = await parts.roots.call(base.rootId, 'unwrapKey', {
    unwrappingKey: boundKey(base, version),
    algorithm,
    wrapped,
    format: request.format,
    newKey: { binding: bindingOf(object, 1) },
    ...parameters,
  });
  const fresh = versionOf(object, 1, made, description, now);
  return {
    response: toView(object, [fresh], now) as Planned<O>['response'],
    changes: [{ kind: 'insert-object', object, versions: [fresh] }],
    resource: resourceOf(object),
    detail: { type, spec, root: object.rootId, exportable: object.exportable, unwrappingKey: base.id, algorithm },
    ...(await compensationFor(parts, [{ rootId: object.rootId, reference: fresh.reference, binding: bindingOf(object, 1) }])),
  };
};

/** What is made from a key stays in that key's root of trust. */
export const requireHome = (request: Pick<NewObject, 'root' | 'protection'>, base: ManagedObject): void => {
  if (request.root !== undefined && request.root !== base.rootId) {
    throw badField(
      'root',
      `The key lives in root "${base.rootId}", and what it yields stays there.`,
      'Leave root out, or use a key of the other root.',
    );
  }
  if (request.protection !== undefined && request.protection !== base.protection) {
    throw badField('protection', `The key’s root gives protection level "${base.protection}".`, 'Leave protection out.');
  }
};

const unwrap =
  (parts: KeyParts): Handlers['unwrap'] =>
  async (call) => {
    const unwrappingKey = targetOf(call);
    const { request } = call;
    requireUsage(unwrappingKey.object, 'unwrap');
    const algorithm = await chooseAlgorithm(parts.roots, unwrappingKey.object, specOf(unwrappingKey.object), 'wrap', request.algorithm);
    const { iv, aad, tagLength, label, mgf1Hash, ...rest } = request;
    const parameters = wrapParameters({
      ...(iv === undefined ? {} : { iv }),
      ...(aad === undefined ? {} : { aad }),
      ...(tagLength === undefined ? {} : { tagLength }),
      ...(label === undefined ? {} : { label }),
      ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
    });
    const pinned = pinnedVersion(undefined, request.unwrappingKey);
    return unwrapInto(parts, call, { request: rest, unwrappingKey, pinned, algorithm, parameters });
  };

/** An import-wrapping key stops at its deactivation date; an ordinary deactivated key still unwraps what was wrapped before. */
const requireLivingImportKey = (object: ManagedObject, now: number): void => {
  const end = object.dates.deactivation;
  if (!isImportKey(object) || end === undefined || now < end) return;
  throw fail('outside-validity', 'The import-wrapping key has expired.', {
    field: 'wrappingKey',
    next: 'Create a new import-wrapping key and wrap again.',
  });
};

const importKey =
  (parts: KeyParts): Handlers['import-key'] =>
  async (call) => {
    const wrapping = targetOf(call);
    const { request } = call;
    requireUsage(wrapping.object, 'unwrap');
    requireLivingImportKey(wrapping.object, call.now);
    const spec = specOf(wrapping.object);
    const algorithm = await chooseAlgorithm(parts.roots, wrapping.object, spec, 'wrap', request.wrapAlgorithm, 'wrapAlgorithm');
    const parameters = request.iv === undefined ? {} : wrapParameters({ iv: request.iv });
    return unwrapInto(parts, call, {
      request,
      unwrappingKey: wrapping,
      pinned: pinnedVersion(undefined, request.wrappingKey),
      algorithm,
      parameters,
    });
  };

export const makeWrapHandlers = (parts: KeyParts, account: UsageAccount): Pick<Handlers, 'wrap' | 'unwrap' | 'import-key'> => ({
  wrap: wrap(parts, account),
  unwrap: unwrap(parts),
  'import-key': importKey(parts),
});
