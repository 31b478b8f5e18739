import type { BoundKey, CreatedKey, DeriveParameters, KeyBinding } from '@aegis/rot-spi';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  type Change,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  materialise,
  type NewObject,
  type ObjectType,
  type ObjectVersion,
  type Planned,
} from '../domain/index.js';
import { checkAlgorithm, chooseAlgorithm } from './chosen-algorithm.js';
import {
  boundKey,
  isPair,
  otherOf,
  pinnedVersion,
  processVersion,
  protectVersion,
  requireSameRoot,
  requireUsage,
  specOf,
  targetOf,
} from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { knownSpec } from './create.js';
import { BOUNDS, badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage } from './key-usages.js';
import { bindingOf, draftObject, nextObject, resourceOf, updateObject, versionOf } from './new-object.js';
import { readPublicKey } from './public-material.js';
import { toView } from './views.js';
import { checkNewType, requireHome } from './wrap.js';

type Maker = 'derive' | 'agree' | 'encapsulate' | 'decapsulate';
type Request = NewObject & {
  readonly key: string;
  readonly version?: number;
  readonly spec: KeySpec;
  readonly type?: ObjectType;
  readonly length?: number;
};

const MAX_PARAMETER_BYTES = 65_536;
/** SP 800-132 §5.2 asks for at least 1,000; more than this would occupy a host for minutes. */
const MIN_ITERATIONS = 1;
const MAX_ITERATIONS = 10_000_000;
/** Longest derived secret, bytes. */
const MAX_LENGTH_BYTES = 8192;

const deriveParameters = (request: DeriveParameters): DeriveParameters => {
  const { salt, info, iterations, fixedInput, data, hash, cipher, iv } = request;
  if (iterations !== undefined && (!Number.isSafeInteger(iterations) || iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS)) {
    throw badField('iterations', `Between ${MIN_ITERATIONS} and ${MAX_ITERATIONS}.`, 'Correct it.');
  }
  return {
    ...(salt === undefined ? {} : { salt: checkBytes(salt, 'salt', MAX_PARAMETER_BYTES) }),
    ...(info === undefined ? {} : { info: checkBytes(info, 'info', MAX_PARAMETER_BYTES) }),
    ...(iterations === undefined ? {} : { iterations }),
    ...(fixedInput === undefined ? {} : { fixedInput: checkBytes(fixedInput, 'fixedInput', MAX_PARAMETER_BYTES) }),
    ...(data === undefined ? {} : { data: checkBytes(data, 'data', MAX_PARAMETER_BYTES) }),
    ...(hash === undefined ? {} : { hash }),
    ...(cipher === undefined ? {} : { cipher }),
    ...(iv === undefined ? {} : { iv: checkBytes(iv, 'iv', 128) }),
  };
};

interface Yield {
  readonly loaded: LoadedObject;
  readonly version: ObjectVersion;
  readonly object: ManagedObject;
  readonly binding: KeyBinding;
  readonly length: { readonly length?: number };
}

/** The object to be made, before its root makes the material: same root, secret value, checked fields. */
const draftYield = async (
  parts: KeyParts,
  call: AuthorizedCall<Maker>,
  loaded: LoadedObject,
  request: Request,
  version: ObjectVersion,
): Promise<Yield> => {
  const spec = knownSpec(request.spec);
  if (isPair(spec)) throw badField('spec', 'A secret value cannot become a key pair.', 'Choose a symmetric spec, or secret.');
  const { length } = request;
  if (length !== undefined && (!Number.isSafeInteger(length) || length < 1 || length > MAX_LENGTH_BYTES)) {
    throw badField('length', `Between 1 and ${MAX_LENGTH_BYTES} bytes.`, 'Correct it.');
  }
  requireHome(request, loaded.object);
  const type = checkNewType(request.type, spec);
  const usage = checkUsage(request.usage, spec, type, 'usage');
  const { rootId, protection } = loaded.object;
  const drafted = await draftObject(parts, call, request, { type, spec, usage, rootId, protection });
  const object = { ...drafted, links: [{ type: 'derivation-base', target: loaded.object.id }, ...drafted.links] };
  return { loaded, version, object, binding: bindingOf(object, 1), length: length === undefined ? {} : { length } };
};

const finish = async <O extends Maker>(
  parts: KeyParts,
  call: AuthorizedCall<O>,
  { loaded, version, object }: Yield,
  made: CreatedKey,
  algorithm: string,
  extra: object = {},
): Promise<Planned<O>> => {
  const { fingerprint } = await parts.roots.describe(object.rootId);
  const fresh = versionOf(object, 1, made, { fingerprint }, call.now);
  return {
    response: { ...toView(object, [fresh], call.now), ...extra } as Planned<O>['response'],
    changes: [{ kind: 'insert-object', object, versions: [fresh] }, ...derivedFrom(loaded.object, object, call.now)],
    resource: resourceOf(object),
    detail: {
      base: loaded.object.id,
      baseVersion: version.version,
      algorithm,
      spec: object.spec ?? null,
      root: object.rootId,
      exportable: object.exportable,
    },
    ...(await compensationFor(parts, [{ rootId: object.rootId, reference: fresh.reference, binding: bindingOf(object, 1) }])),
  };
};

/**
 * The base points to what was made from it (KMIP 2.1 §6.1.14). A key that thousands are derived from keeps as many links as an object
 * may have; the derived ones always point back.
 */
const derivedFrom = (base: ManagedObject, derived: ManagedObject, now: number): readonly Change[] => {
  if (base.links.length >= BOUNDS.links) return [];
  const links = [...base.links, { type: 'derived-key', target: derived.id }];
  return [updateObject(base, nextObject(materialise(base, now), { links }, now))];
};

/** The secret whose value is the derivation data: in the same root, and made to derive from. */
const dataKeyOf = (call: AuthorizedCall<'derive'>, base: ManagedObject): { readonly dataKey?: BoundKey } => {
  if (call.request.dataKey === undefined) return {};
  const other = otherOf(call, 'dataKey');
  requireUsage(other.object, 'derive');
  requireSameRoot(base, other.object, 'derivation keeps both inside one');
  return { dataKey: boundKey(other.object, protectVersion(other, pinnedVersion(undefined, call.request.dataKey))) };
};

const derive =
  (parts: KeyParts): Handlers['derive'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { request } = call;
    requireUsage(loaded.object, 'derive');
    const spec = specOf(loaded.object);
    const algorithm = checkAlgorithm(request.algorithm, spec, 'derive');
    await parts.roots.requireAlgorithm(loaded.object.rootId, algorithm, spec);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const parameters = deriveParameters(request);
    const yields = await draftYield(parts, call, loaded, request, version);
    const made = await parts.roots.call(loaded.object.rootId, 'derive', {
      key: boundKey(loaded.object, version),
      algorithm,
      newKey: { binding: yields.binding, ...yields.length },
      ...parameters,
      ...dataKeyOf(call, loaded.object),
    });
    return finish(parts, call, yields, made, algorithm);
  };

const agree =
  (parts: KeyParts): Handlers['agree'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { request } = call;
    // The row's other usage: derive.
    if (!loaded.object.usage.includes('derive')) requireUsage(loaded.object, 'agree');
    const spec = specOf(loaded.object);
    const algorithm = await chooseAlgorithm(parts.roots, loaded.object, spec, 'agree', request.algorithm);
    const kdf: { kdf?: Algorithm } = request.kdf === undefined ? {} : { kdf: checkAlgorithm(request.kdf, 'secret', 'derive', 'kdf') };
    const peer = readPublicKey(checkBytes(request.peerPublicKey, 'peerPublicKey', MAX_PARAMETER_BYTES, 1), 'peerPublicKey');
    if (peer.spec !== spec)
      throw badField('peerPublicKey', `The peer’s key is ${peer.spec}, this key is ${spec}.`, 'Use a key on the same curve.');
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const parameters = deriveParameters(request);
    const yields = await draftYield(parts, call, loaded, request, version);
    const made = await parts.roots.call(loaded.object.rootId, 'agree', {
      key: boundKey(loaded.object, version),
      algorithm,
      peerPublicKey: peer.spki,
      newKey: { binding: yields.binding, ...yields.length },
      ...kdf,
      ...parameters,
    });
    return finish(parts, call, yields, made, algorithm);
  };

const encapsulate =
  (parts: KeyParts): Handlers['encapsulate'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { request } = call;
    requireUsage(loaded.object, 'agree');
    const spec = await kemSpec(parts, loaded.object);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    if (version.publicKey === undefined) throw fail('wrong-object-type', 'The key has no public half.', { next: 'Use an ML-KEM pair.' });
    const yields = await draftYield(parts, call, loaded, request, version);
    const made = await parts.roots.call(loaded.object.rootId, 'encapsulate', {
      publicKey: version.publicKey,
      spec,
      newKey: { binding: yields.binding },
    });
    return finish(parts, call, yields, made, 'ml-kem', { ciphertext: made.ciphertext });
  };

const decapsulate =
  (parts: KeyParts): Handlers['decapsulate'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { request } = call;
    requireUsage(loaded.object, 'agree');
    await kemSpec(parts, loaded.object);
    const version = processVersion(loaded, pinnedVersion(request.version, request.key));
    const ciphertext = checkBytes(request.ciphertext, 'ciphertext', MAX_PARAMETER_BYTES, 1);
    const yields = await draftYield(parts, call, loaded, request, version);
    const key = boundKey(loaded.object, version);
    const made = await parts.roots.call(loaded.object.rootId, 'decapsulate', { key, ciphertext, newKey: { binding: yields.binding } });
    return finish(parts, call, yields, made, 'ml-kem');
  };

const kemSpec = async (parts: KeyParts, object: ManagedObject): Promise<KeySpec> => {
  const spec = specOf(object);
  checkAlgorithm('ml-kem', spec, 'kem', 'key');
  await parts.roots.requireAlgorithm(object.rootId, 'ml-kem', spec);
  return spec;
};

export const makeDeriveHandlers = (parts: KeyParts): Pick<Handlers, Maker> => ({
  derive: derive(parts),
  agree: agree(parts),
  encapsulate: encapsulate(parts),
  decapsulate: decapsulate(parts),
});
