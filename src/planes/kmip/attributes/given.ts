import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import type { ObjectView } from '../../../domain/index.js';
import { type KmipCall, refuse } from '../contract.js';
import { listFromJson, listToJson, storedKey } from './stored-values.js';

// The attributes a request gives, with those of the 1.x templates that it names (KMIP 1.4 §2.1.8, §3.2).

const TEMPLATE_KEY = storedKey('~Template');

/** The form in which a Template object keeps its attributes. */
export const templateAttributes = (list: readonly KmipAttribute[]): Readonly<Record<string, unknown>> => ({
  [TEMPLATE_KEY]: listToJson(list),
});
/** The attributes of a Template object. */
export const attributesOfTemplate = (view: ObjectView): readonly KmipAttribute[] => listFromJson(view.object.attributes[TEMPLATE_KEY]);

/** Templates of one request; each is a look-up. */
const MAX_TEMPLATES = 16;

const templateNamed = async (name: Fields, call: Pick<KmipCall, 'call'>): Promise<readonly KmipAttribute[]> => {
  const { items } = await call.call('locate', { name: String(name['NameValue']), types: ['template'], limit: 1 });
  const [found] = items;
  if (found === undefined || found.state === 'destroyed') throw refuse('ItemNotFound', 'The template does not exist.');
  return attributesOfTemplate(await call.call('get-object', { key: found.id }));
};

const sameName = (a: KmipAttribute, b: KmipAttribute): boolean => a.name === b.name && a.vendor === b.vendor;
/** KMIP 1.4 §4.1: "attributes specified in the request override those of the templates", later templates earlier ones. */
const overridden = (base: readonly KmipAttribute[], over: readonly KmipAttribute[]): readonly KmipAttribute[] => [
  ...base.filter((one) => !over.some((other) => sameName(one, other))),
  ...over,
];

/**
 * The attributes of a field (`Attributes`, `CommonAttributes`, `PrivateKeyAttributes`, `PublicKeyAttributes`) and of the
 * templates named beside it.
 * @throws KmipRefusal Item Not Found for a template that does not exist
 */
export const givenAttributes = async (payload: Fields, field: string, call: Pick<KmipCall, 'call'>): Promise<readonly KmipAttribute[]> => {
  const own = (payload[field] ?? []) as readonly KmipAttribute[];
  const templates = (payload[`${field}Templates`] ?? []) as readonly Fields[];
  if (templates.length === 0) return own;
  if (templates.length > MAX_TEMPLATES) throw refuse('InvalidField', `At most ${MAX_TEMPLATES} templates.`);
  let merged: readonly KmipAttribute[] = [];
  for (const name of templates) merged = overridden(merged, await templateNamed(name, call));
  return overridden(merged, own);
};
