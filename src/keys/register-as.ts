import {
  type AuthorizedCall,
  type Change,
  fail,
  isObjectId,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
  type Planned,
} from '../domain/index.js';
import { otherOf } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { badField } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { destroyOutside, heldOutside } from './lifecycle-operations.js';
import { bindingOf, resourceOf, updateObject, updateVersion } from './new-object.js';
import { toView } from './views.js';

type Call = AuthorizedCall<'register'>;
interface Registered {
  readonly object: ManagedObject;
  readonly version: ObjectVersion;
}

/** The object of this id; a fault when the id is taken and nothing says to replace it. */
const replacedBy = async (parts: KeyParts, call: Call): Promise<LoadedObject | undefined> => {
  const { id, replaces } = call.request;
  if (id === undefined || !isObjectId(id)) throw badField('id', 'An object id is a UUID.', 'Send a UUID, or leave the id out.');
  const replaced = replaces === undefined ? undefined : otherOf(call, 'replaces');
  if (replaced !== undefined && replaced.object.id !== id)
    throw badField('replaces', 'Only the object of that id is replaced.', 'Correct it.');
  if (replaced === undefined && (await parts.objects.load(call.tenant, id)) !== undefined) {
    throw fail('already-exists', 'An object of this id exists.', {
      field: 'id',
      next: 'Say that it is to be replaced, or choose another id.',
    });
  }
  return replaced;
};

/** Number of the version that the registered material becomes. */
export const versionNumber = (call: Call): number => {
  const replaced = call.request.replaces === undefined ? undefined : otherOf(call, 'replaces');
  return replaced === undefined ? 1 : Math.max(...replaced.versions.map((v) => v.version)) + 1;
};

/**
 * Register under an id that the caller brings (KMIP Import). The object of that id keeps its row and its history; its
 * attributes, its state and its material are those of the new one, and the old material is destroyed.
 */
export const registerAs = async (
  parts: KeyParts,
  call: Call,
  run: (parts: KeyParts, call: Call) => Promise<Registered>,
): Promise<Planned<'register'>> => {
  const { now } = call;
  const replaced = await replacedBy(parts, call);
  const { object, version } = await run(parts, call);
  const made = [{ rootId: object.rootId, reference: version.reference, binding: bindingOf(object, version.version) }];
  const compensation = version.reference.length === 0 ? {} : await compensationFor(parts, made);
  const detail = { type: object.type, spec: object.spec ?? null, root: object.rootId, exportable: object.exportable, state: object.state };
  if (replaced === undefined) {
    return {
      response: toView(object, [version], now),
      changes: [{ kind: 'insert-object', object, versions: [version] }],
      resource: resourceOf(object),
      detail,
      ...compensation,
    };
  }
  const living = replaced.versions.filter((v) => v.state !== 'destroyed');
  const outside = await heldOutside(parts, replaced.object.rootId, living);
  const ended = living.map((v) =>
    updateVersion(v, { state: 'destroyed', destroyedAt: now, ...(outside.includes(v) ? {} : { reference: new Uint8Array(0) }) }),
  );
  const after: ManagedObject = { ...object, revision: replaced.object.revision + 1 };
  const changes: Change[] = [...ended, { kind: 'insert-version', version }, updateObject(replaced.object, after, 'uses')];
  return {
    response: toView(after, [...ended.map(({ version: old }) => old), version], now),
    changes,
    resource: resourceOf(after),
    detail: { ...detail, replaced: true, version: version.version },
    ...compensation,
    ...(outside.length === 0 ? {} : { afterCommit: () => destroyOutside(parts, replaced.object, outside) }),
  };
};
