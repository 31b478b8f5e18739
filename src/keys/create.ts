import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  fail,
  type Handlers,
  type ManagedObject,
  type NewObject,
  type ObjectVersion,
  type OperationName,
  type Planned,
} from '../domain/index.js';
import { isPair } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { badField } from './field-rules.js';
import { IMPORT_KEY_ATTRIBUTE, type KeyParts, PAIR_ATTRIBUTE } from './key-parts.js';
import { checkUsage, publicUsage } from './key-usages.js';
import { bindingOf, draftObject, publicVersionOf, resourceOf, versionOf } from './new-object.js';
import { toView } from './views.js';

const knownSpec = (spec: string): KeySpec => {
  if (typeof spec === 'string' && Object.hasOwn(KEY_SPECS, spec)) return spec as KeySpec;
  throw badField('spec', 'No such key specification.', `Choose from ${Object.keys(KEY_SPECS).join(', ')}.`);
};

/** Longest secret value generated, bits. */
const MAX_SECRET_BITS = 65_536;
/** SP 800-131A r2 §10: HMAC keys under 112 bits are disallowed. */
const MIN_HMAC_BITS = 112;

const checkBits = (spec: KeySpec, bits: number | undefined): number | undefined => {
  if (bits === undefined) {
    if (KEY_SPECS[spec].bits === 0) throw badField('bits', `A ${spec} needs its length.`, 'Give bits, for example 256.');
    return undefined;
  }
  const row = KEY_SPECS[spec];
  if (row.variableLength !== true) {
    if (bits !== row.bits) throw badField('bits', `${spec} keys have ${row.bits} bits.`, 'Leave bits out, or choose another spec.');
    return undefined;
  }
  const min = row.family === 'hmac' ? MIN_HMAC_BITS : 8;
  if (!Number.isSafeInteger(bits) || bits % 8 !== 0 || bits < min || bits > MAX_SECRET_BITS) {
    throw badField('bits', `A ${spec} has ${min} to ${MAX_SECRET_BITS} bits, in whole bytes.`, 'Correct the length.');
  }
  return bits;
};

const generable = (spec: KeySpec): void => {
  if (KEY_SPECS[spec].importOnly === true) {
    throw fail('unsupported-algorithm', `${spec} keys are too weak to be made today; they can only be imported.`, {
      field: 'spec',
      next: 'Choose a stronger spec.',
    });
  }
};

const madeDetail = (object: ManagedObject) => ({
  spec: object.spec ?? null,
  root: object.rootId,
  exportable: object.exportable,
  state: object.state,
});

const created = async <O extends OperationName>(
  parts: KeyParts,
  object: ManagedObject,
  version: ObjectVersion,
  response: Planned<O>['response'],
  more: Planned<O>['changes'] = [],
): Promise<Planned<O>> => ({
  response,
  changes: [{ kind: 'insert-object', object, versions: [version] }, ...more],
  resource: resourceOf(object),
  detail: madeDetail(object),
  ...(await compensationFor(parts, [{ rootId: object.rootId, reference: version.reference, binding: bindingOf(object, version.version) }])),
});

const createKey =
  (parts: KeyParts): Handlers['create-key'] =>
  async (call) => {
    const { request, now } = call;
    const spec = knownSpec(request.spec);
    if (isPair(spec)) throw badField('spec', `${spec} is a key pair.`, 'Use create-key-pair.');
    generable(spec);
    const bits = checkBits(spec, request.bits);
    const secret = KEY_SPECS[spec].shape === 'secret';
    if (request.type !== undefined && (request.type !== 'symmetric-key' || !secret)) {
      throw badField('type', 'Only a secret is told what it is.', 'Leave type out.');
    }
    const type = secret && request.type === undefined ? 'secret-data' : 'symmetric-key';
    const usage = checkUsage(request.usage, spec, type, 'usage');
    const root = await parts.roots.choose({ ...wish(request), spec, how: 'generate' });
    const own = secret && type === 'symmetric-key' ? {} : { spec };
    const object = await draftObject(parts, call, request, { type, ...own, usage, rootId: root.id, protection: root.protection });
    const made = await parts.roots.call(root.id, 'generateKey', { binding: bindingOf(object, 1), ...(bits === undefined ? {} : { bits }) });
    const version = versionOf(object, 1, made, root.description, now);
    return created(parts, object, version, toView(object, [version], now));
  };

export const wish = (request: Pick<NewObject, 'root' | 'protection'>) => ({
  ...(request.root === undefined ? {} : { root: request.root }),
  ...(request.protection === undefined ? {} : { protection: request.protection }),
});

/**
 * The public object of a pair: an object of its own, with its own id and lifecycle, linked both ways. What describes the
 * pair (tags, group, dates, activation) is taken from the private half unless given; names never are, they are unique.
 */
const draftPublic = async (
  parts: KeyParts,
  call: Parameters<Handlers['create-key-pair']>[0],
  privateObject: ManagedObject,
): Promise<ManagedObject> => {
  const { publicKey: own = {}, ...shared } = call.request;
  const spec = shared.spec;
  const inherited: NewObject = {
    ...(shared.activate === undefined ? {} : { activate: shared.activate }),
    ...(shared.tags === undefined ? {} : { tags: shared.tags }),
    ...(shared.objectGroup === undefined ? {} : { objectGroup: shared.objectGroup }),
    ...(shared.dates === undefined ? {} : { dates: shared.dates }),
  };
  const usage = checkUsage(own.usage ?? publicUsage(privateObject.usage), spec, 'public-key', 'publicKey.usage');
  const drafted = await draftObject(
    parts,
    call,
    { ...inherited, ...own, exportable: true },
    {
      type: 'public-key',
      spec,
      usage,
      rootId: privateObject.rootId,
      protection: privateObject.protection,
      reserved: { [PAIR_ATTRIBUTE]: privateObject.id },
    },
    'publicKey.names',
  );
  const twice = drafted.names.findIndex((n) => privateObject.names.includes(n));
  if (twice >= 0) throw badField(`publicKey.names.${twice}`, 'The private key has this name.', 'Give each half its own name.');
  return { ...drafted, links: [{ type: 'private-key', target: privateObject.id }, ...drafted.links] };
};

const createKeyPair =
  (parts: KeyParts): Handlers['create-key-pair'] =>
  async (call) => {
    const { request, now } = call;
    const spec = knownSpec(request.spec);
    if (!isPair(spec)) throw badField('spec', `${spec} is not a key pair.`, 'Use create-key.');
    const shortLived = request.shortLived === true && KEY_SPECS[spec].importOnly === true;
    // Only that plane ends what it makes with the session it was made for.
    if (request.shortLived === true && call.plane !== 'pkcs11' && call.authentication.credentialId !== 'system:pkcs11')
      throw badField('shortLived', 'Only PKCS#11 sessions have keys that end with them.', 'Leave it out.');
    if (!shortLived) generable(spec);
    const usage = checkUsage(request.usage, spec, 'private-key', 'usage');
    const root = await parts.roots.choose({ ...wish(request), spec, how: shortLived ? 'import' : 'generate' });
    const draft = await draftObject(parts, call, request, {
      type: 'private-key',
      spec,
      usage,
      rootId: root.id,
      protection: root.protection,
    });
    const publicDraft = await draftPublic(parts, call, draft);
    const object: ManagedObject = {
      ...draft,
      attributes: { ...draft.attributes, [PAIR_ATTRIBUTE]: publicDraft.id },
      links: [{ type: 'public-key', target: publicDraft.id }, ...draft.links],
    };
    const made = await parts.roots.call(root.id, 'generateKeyPair', {
      binding: bindingOf(object, 1),
      ...(shortLived ? { shortLived } : {}),
    });
    const version = versionOf(object, 1, made, root.description, now);
    const publicVersion = publicVersionOf(publicDraft, 1, made.publicKey, made.publicKey, root.description, {
      local: true,
      bits: made.bits,
      now,
    });
    return created(parts, object, version, { ...toView(object, [version], now), publicKeyId: publicDraft.id }, [
      { kind: 'insert-object', object: publicDraft, versions: [publicVersion] },
    ]);
  };

const IMPORT_ALGORITHMS = ['rsa-aes-kwp', 'rsa-oaep-sha256-wrap', 'rsa-oaep-sha1-wrap'] as const;
/** Shorter would expire on the way, ms. */
const MIN_IMPORT_TTL_MS = 60_000;

const createImportWrappingKey =
  (parts: KeyParts): Handlers['create-import-wrapping-key'] =>
  async (call) => {
    const { request, now } = call;
    const { maxImportKeyTtlMs, importKeyTtlMs } = parts.defaults;
    const spec = knownSpec(request.spec ?? 'rsa-3072');
    if (KEY_SPECS[spec].family !== 'rsa') throw badField('spec', 'An import-wrapping key is an RSA key.', 'Use rsa-3072 or rsa-4096.');
    generable(spec);
    const ttlMs = request.ttlMs ?? importKeyTtlMs;
    if (!Number.isSafeInteger(ttlMs) || ttlMs < MIN_IMPORT_TTL_MS || ttlMs > maxImportKeyTtlMs) {
      throw badField('ttlMs', `Between ${MIN_IMPORT_TTL_MS} and ${maxImportKeyTtlMs} ms.`, 'Correct the time to live.');
    }
    const root = await parts.roots.choose({ ...wish(request), spec, how: 'generate' });
    const algorithms = IMPORT_ALGORITHMS.filter((a) => parts.roots.supports(root.description, a, spec));
    if (algorithms.length === 0) await parts.roots.requireAlgorithm(root.id, 'rsa-aes-kwp', spec);
    const object = await draftObject(
      parts,
      call,
      { activate: true, dates: { deactivation: now + ttlMs } },
      {
        type: 'private-key',
        spec,
        usage: ['unwrap'],
        rootId: root.id,
        protection: root.protection,
        reserved: { [IMPORT_KEY_ATTRIBUTE]: true },
      },
    );
    const made = await parts.roots.call(root.id, 'generateKeyPair', { binding: bindingOf(object, 1) });
    const version = versionOf(object, 1, made, root.description, now);
    return created(parts, object, version, { ...toView(object, [version], now), algorithms });
  };

export const makeCreateHandlers = (parts: KeyParts): Pick<Handlers, 'create-key' | 'create-key-pair' | 'create-import-wrapping-key'> => ({
  'create-key': createKey(parts),
  'create-key-pair': createKeyPair(parts),
  'create-import-wrapping-key': createImportWrappingKey(parts),
});
export { knownSpec };
