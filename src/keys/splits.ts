import type { CreatedKey, KeyBinding } from '@aegis/rot-spi';
import { type KeySpec, SPLIT_METHODS } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  type NewObject,
  type OperationRequest,
  type Planned,
} from '../domain/index.js';
import { boundKey, isPair, otherOf, pinnedVersion, processVersion, requireSameRoot, targetOf } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { knownSpec } from './create.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage } from './key-usages.js';
import { bindingOf, draftObject, resourceOf, versionOf } from './new-object.js';
import { toView } from './views.js';
import { checkNewType, requireHome } from './wrap.js';

/** A split makes this many objects in one call at most; the schemes themselves number parts up to 255. */
const MAX_PARTS = 64;
/** What a root proves prime within one call. */
const MAX_PRIME_BYTES = 136;

type Scheme = Pick<OperationRequest<'split-key'>, 'method' | 'threshold' | 'prime'>;

const schemeOf = ({ method, threshold, prime }: Scheme): Scheme => {
  if (!SPLIT_METHODS.includes(method)) throw badField('method', 'No such method.', `Choose from ${SPLIT_METHODS.join(', ')}.`);
  if (!Number.isSafeInteger(threshold) || threshold < 2) throw badField('threshold', 'At least 2 parts.', 'Correct it.');
  if ((prime !== undefined) !== (method === 'prime-field')) {
    throw badField('prime', 'A prime field needs its prime, and only that.', prime === undefined ? 'Give it.' : 'Leave it out.');
  }
  return { method, threshold, ...(prime === undefined ? {} : { prime: checkBytes(prime, 'prime', MAX_PRIME_BYTES, 1) }) };
};

/** The fields of part `number`: the shared ones, and its own attributes. The name is the first part's. */
const fieldsOf = (request: OperationRequest<'split-key'>, number: number): NewObject => {
  const { key: _, version: __, method: ___, threshold: ____, prime: _____, count: ______, each, names, ...shared } = request;
  return {
    ...shared,
    ...(number === 1 && names !== undefined ? { names } : {}),
    attributes: { ...shared.attributes, ...each?.[number - 1]?.attributes },
  };
};

const draftPart = async (
  parts: KeyParts,
  call: AuthorizedCall<'split-key'>,
  base: ManagedObject,
  number: number,
): Promise<ManagedObject> => {
  const fields = fieldsOf(call.request, number);
  const usage = checkUsage(fields.usage ?? [], 'secret', 'split-key', 'usage');
  const drafted = await draftObject(parts, call, fields, { type: 'split-key', usage, rootId: base.rootId, protection: base.protection });
  return { ...drafted, links: [{ type: 'split-key-base', target: base.id }, ...drafted.links] };
};

const split =
  (parts: KeyParts): Handlers['split-key'] =>
  async (call): Promise<Planned<'split-key'>> => {
    const loaded = targetOf(call);
    const { object: base } = loaded;
    const { request, now } = call;
    const scheme = schemeOf(request);
    const { count } = request;
    if (!Number.isSafeInteger(count) || count < scheme.threshold || count > MAX_PARTS)
      throw badField('count', `Between ${scheme.threshold} and ${MAX_PARTS} parts.`, 'Correct it.');
    if (!base.exportable)
      throw fail('not-exportable', 'Parts of a key can be kept elsewhere, and this key may not leave.', {
        next: 'Split a key that was created exportable.',
      });
    requireHome(request, base);
    const version = processVersion(loaded, pinnedVersion(request.version, request.key));
    const objects: ManagedObject[] = [];
    for (let number = 1; number <= count; number += 1) objects.push(await draftPart(parts, call, base, number));
    const made = await parts.roots.call(base.rootId, 'splitKey', {
      key: boundKey(base, version),
      ...scheme,
      newKeys: objects.map((object) => ({ binding: bindingOf(object, 1) })),
    });
    const { fingerprint } = await parts.roots.describe(base.rootId);
    const rows = objects.map((object, index) => ({
      object,
      version: versionOf(object, 1, made.parts[index] as CreatedKey, { fingerprint }, now),
    }));
    return {
      response: { items: rows.map((row) => toView(row.object, [row.version], now)) },
      changes: rows.map((row) => ({ kind: 'insert-object', object: row.object, versions: [row.version] })),
      resource: resourceOf(base),
      detail: { method: scheme.method, threshold: scheme.threshold, count, first: objects[0]?.id ?? null, root: base.rootId },
      ...(await compensationFor(
        parts,
        rows.map((row) => ({ rootId: base.rootId, reference: row.version.reference, binding: bindingOf(row.object, 1) })),
      )),
    };
  };

interface Part {
  readonly loaded: LoadedObject;
  readonly part: number;
}

const partsOf = (call: AuthorizedCall<'join-key'>): readonly [Part, ...Part[]] => {
  const { parts: refs, numbers } = call.request;
  if (!Array.isArray(refs) || refs.length === 0 || refs.length > MAX_PARTS)
    throw badField('parts', `Between 1 and ${MAX_PARTS} parts.`, 'Correct it.');
  if (!Array.isArray(numbers) || numbers.length !== refs.length) throw badField('numbers', 'One number for each part.', 'Correct it.');
  const list = refs.map((_, index) => ({ loaded: otherOf(call, `parts.${index}`), part: numbers[index] as number }));
  const [first] = list as [Part];
  for (const { loaded } of list) {
    if (loaded.object.type !== 'split-key')
      throw fail('wrong-object-type', 'Only parts of split keys are joined.', { field: 'parts', next: 'Name split keys.' });
    requireSameRoot(first.loaded.object, loaded.object, 'parts are joined inside one');
  }
  return list as [Part, ...Part[]];
};

const join =
  (parts: KeyParts): Handlers['join-key'] =>
  async (call): Promise<Planned<'join-key'>> => {
    const { request, now } = call;
    const scheme = schemeOf(request);
    const list = partsOf(call);
    const home = list[0].loaded.object;
    const spec = knownSpec(request.spec);
    const type = checkNewType(request.type, spec);
    requireHome(request, home);
    if (request.exportable === true && list.some(({ loaded }) => !loaded.object.exportable))
      throw fail('not-exportable', 'Parts that may not leave make no key that may.', { next: 'Leave exportable out.' });
    const usage = checkUsage(request.usage, spec, type, 'usage');
    const { length, parts: _, numbers: __, method: ___, threshold: ____, prime: _____, ...fields } = request;
    const drafted = await draftObject(parts, call, fields, { type, spec, usage, rootId: home.rootId, protection: home.protection });
    const object = {
      ...drafted,
      links: [...list.map(({ loaded }) => ({ type: 'joined-split-key-parts', target: loaded.object.id })), ...drafted.links],
    };
    const made = await parts.roots.call(home.rootId, 'joinKey', {
      parts: list.map(({ loaded, part }) => ({ key: boundKey(loaded.object, processVersion(loaded, undefined)), part })),
      ...scheme,
      newKey: newKeyOf(bindingOf(object, 1), spec, length),
    });
    const { fingerprint } = await parts.roots.describe(home.rootId);
    const fresh = versionOf(object, 1, made, { fingerprint }, now);
    return {
      response: toView(object, [fresh], now),
      changes: [{ kind: 'insert-object', object, versions: [fresh] }],
      resource: resourceOf(object),
      detail: {
        method: scheme.method,
        threshold: scheme.threshold,
        count: list.length,
        spec,
        root: home.rootId,
        exportable: object.exportable,
      },
      ...(await compensationFor(parts, [{ rootId: home.rootId, reference: fresh.reference, binding: bindingOf(object, 1) }])),
    };
  };

const newKeyOf = (binding: KeyBinding, spec: KeySpec, length: number | undefined) =>
  length === undefined || isPair(spec) ? { binding } : { binding, length };

export const makeSplitHandlers = (parts: KeyParts): Pick<Handlers, 'split-key' | 'join-key'> => ({
  'split-key': split(parts),
  'join-key': join(parts),
});
