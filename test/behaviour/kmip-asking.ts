import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { KEY_SPECS, type KeySpec, toUsageMask } from '@aegis/rot-spi/vocabulary';
import type { NewObject, ObjectView, OperationName, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import { Inexpressible, Refusal } from './cases/behaviour-case.js';
import { named, viewOf } from './kmip-words.js';

// What the translations into KMIP share: asking, naming objects, reading them.

/** Sends one KMIP operation and gives the answer's payload; a refusal is thrown in the algebra's words. */
export type Ask = (operation: string, payload: Fields) => Promise<Fields>;
export type Translation<O extends OperationName> = (request: OperationRequest<O>, ask: Ask) => Promise<OperationResponse<O>>;

export const bytes = (value: unknown): Uint8Array => new Uint8Array((value as Uint8Array | undefined) ?? []);
const absent = (message: string) => new Refusal({ code: 'not-found', message });
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The id of what the algebra names by id or alias: KMIP names by id, and finds by Name. An object has one version, its first. */
export const idOf = async (key: string, ask: Ask, version?: number): Promise<string> => {
  const [, text, suffix] = /^(.*?)(?:@(\d+))?$/s.exec(key) as unknown as [string, string, string | undefined];
  if ((suffix ?? '1') !== '1' || (version ?? 1) !== 1) throw new Inexpressible('versions of a key');
  if (ID.test(text)) return text;
  const found = (await locate(text, ask))[0];
  if (found === undefined) throw absent(`Locate finds no ${text}.`);
  return found;
};
export const locate = async (name: string, ask: Ask): Promise<readonly string[]> => {
  const found = (await ask('Locate', { Attributes: [named(name)] } as never))['UniqueIdentifier'] ?? [];
  return (Array.isArray(found) ? found : [found]) as readonly string[];
};

export const attributesOf = async (id: string, ask: Ask, ...names: readonly string[]): Promise<readonly KmipAttribute[]> => {
  const some = names.length === 0 ? {} : { AttributeReference: names.map((name) => ({ name })) };
  return (await ask('GetAttributes', { UniqueIdentifier: id, ...some } as never))['Attributes'] as unknown as readonly KmipAttribute[];
};
export const view = async (id: unknown, ask: Ask): Promise<ObjectView> => viewOf(await attributesOf(id as string, ask));

/** An operation that names the object and changes its state; the answer is the object as it then is. */
export const onObject =
  <O extends 'activate' | 'archive' | 'recover'>(operation: string): Translation<O> =>
  async ({ key }, ask) => {
    const id = await idOf(key, ask);
    await ask(operation, { UniqueIdentifier: id });
    return view(id, ask) as never;
  };
export const unsaid = (what: string) => async (): Promise<never> => {
  throw new Inexpressible(what);
};

export const maskOf = ({ usage }: NewObject, spec?: KeySpec): KmipAttribute[] => {
  const fit = spec === undefined || usage?.every((one) => KEY_SPECS[spec]?.usages.includes(one) ?? true);
  if (fit === false) throw new Inexpressible('refusal of usages that mean nothing: the mask is kept as given');
  return usage === undefined ? [] : [{ name: 'CryptographicUsageMask', value: toUsageMask(usage) }];
};

/** Of a pair the half wanted, by the link of the other. */
export const otherHalf = async (id: string, from: string, to: string, ask: Ask): Promise<string> => {
  const { object } = viewOf(await attributesOf(id, ask, 'ObjectType', 'Link'));
  if (object.type !== from) return id;
  const half = object.links.find(({ type }) => type === to)?.target;
  if (half === undefined) throw new Inexpressible('public half of a private key that was registered alone');
  return half;
};

export const optional = (field: string, value: unknown): Fields => (value === undefined ? {} : { [field]: value as never });
