import { KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import { FaultError, fail, type Handlers, type ManagedObject } from '../domain/index.js';
import { isPair } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { badField, checkText } from './field-rules.js';
import { type KeyParts, PAIR_ATTRIBUTE } from './key-parts.js';
import { checkUsage, publicUsage } from './key-usages.js';
import { bindingOf, draftObject, publicVersionOf, resourceOf, versionOf } from './new-object.js';
import { toView } from './views.js';

/** An ARN, a resource name, a URL. */
const MAX_REF_CHARACTERS = 2_048;

/**
 * A key that the provider of a layered root has already becomes a managed object: named, guarded and audited here, its
 * material where it was. The provider says what kind of key it is.
 */
export const makeAdoptHandlers = (parts: KeyParts): Pick<Handlers, 'adopt-key'> => ({
  'adopt-key': async (call) => {
    const { request, now } = call;
    if (request.protection !== undefined) throw badField('protection', 'The key is where it is.', 'Leave protection out.');
    const ref = checkText(request.ref, 'ref', MAX_REF_CHARACTERS);
    const description = await parts.roots.describe(request.root);
    if (!description.powers.includes('adoptKey'))
      throw badField('root', 'Only a layered root takes a key that exists already.', 'Name a root of kind cloud-envelope, mode layered.');
    const found = await parts.roots.call(request.root, 'lookupKey', { ref }).catch((error: unknown) => {
      if (!(error instanceof FaultError) || error.fault.code !== 'root-rejected') throw error;
      throw fail('not-found', `The provider has no key ${ref}.`, {
        field: 'ref',
        next: 'Correct the name, or the rights of the service there.',
      });
    });
    const { spec } = found;
    const type = isPair(spec) ? 'private-key' : KEY_SPECS[spec].shape === 'secret' ? 'secret-data' : 'symmetric-key';
    const usage = checkUsage(request.usage, spec, type, 'usage');
    const rootId = request.root;
    const protection = parts.roots.protectionOf(description);
    const reserved = { 'external:key': found.ref };
    const draft = await draftObject(parts, call, request, { type, spec, usage, rootId, protection, reserved });
    const publicHalf = type === 'private-key' ? await draftPublicHalf(parts, call, draft) : undefined;
    const object: ManagedObject =
      publicHalf === undefined
        ? draft
        : {
            ...draft,
            attributes: { ...draft.attributes, [PAIR_ATTRIBUTE]: publicHalf.id },
            links: [{ type: 'public-key', target: publicHalf.id }, ...draft.links],
          };
    const made = await parts.roots.call(rootId, 'adoptKey', { binding: bindingOf(object, 1), ref: found.ref });
    const version = versionOf(object, 1, made, description, now);
    const publicVersion =
      publicHalf === undefined
        ? undefined
        : publicVersionOf(publicHalf, 1, made.publicKey, made.publicKey, description, {
            local: made.provenance.local,
            bits: made.bits,
            now,
          });
    return {
      response: { ...toView(object, [version], now), ...(publicHalf === undefined ? {} : { publicKeyId: publicHalf.id }) },
      changes: [
        { kind: 'insert-object', object, versions: [version] },
        ...(publicHalf === undefined || publicVersion === undefined
          ? []
          : [{ kind: 'insert-object', object: publicHalf, versions: [publicVersion] } as const]),
      ],
      resource: resourceOf(object),
      detail: { spec, root: rootId, exportable: object.exportable, state: object.state },
      ...(await compensationFor(parts, [{ rootId, reference: version.reference, binding: bindingOf(object, 1) }])),
    };
  },
});

const draftPublicHalf = async (
  parts: KeyParts,
  call: Parameters<Handlers['adopt-key']>[0],
  privateObject: ManagedObject,
): Promise<ManagedObject> => {
  const { activate, tags, objectGroup, dates } = call.request;
  const spec = privateObject.spec ?? 'secret';
  const inherited = {
    exportable: true,
    ...(activate === undefined ? {} : { activate }),
    ...(tags === undefined ? {} : { tags }),
    ...(objectGroup === undefined ? {} : { objectGroup }),
    ...(dates === undefined ? {} : { dates }),
  };
  const drafted = await draftObject(parts, call, inherited, {
    type: 'public-key',
    spec,
    usage: checkUsage(publicUsage(privateObject.usage), spec, 'public-key', 'usage'),
    rootId: privateObject.rootId,
    protection: privateObject.protection,
    reserved: { [PAIR_ATTRIBUTE]: privateObject.id },
  });
  return { ...drafted, links: [{ type: 'private-key', target: privateObject.id }] };
};
