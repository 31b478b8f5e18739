import type { LocateFilter, ManagedObject, OperationRequest } from '../../domain/index.js';
import type { CallContext, FindOperation, KnownObject, Session, Slot } from './contract.js';
import { hasIdentity } from './identity.js';
import { specsOfKeyType } from './key-types.js';
import { needsPairName, needsVersion, pairIdOf, readAttribute, SHOWN_TYPES, typesOfClass } from './object-view.js';
import { factsOf, handleFor, isVisible, noteHandles, withPairName } from './objects.js';
import { Rv } from './rv.js';
import { STORED, toHex, toStoredText } from './stored-attributes.js';
import { type Attribute, type AttributeValue, memoryLength } from './wire/attributes.js';
import { CKA } from './wire/codes.js';

/** Rows asked for at a time; a search reads on only as the application asks for more. */
const PAGE = 500;
/** Names, labels and ids lead to a few objects; these are looked up instead of scanned for. */
const NARROW_PAGE = 200;

const bytesOf = (template: readonly Attribute[], type: number): Uint8Array | undefined => {
  const value = template.find((one) => one.type === type)?.value;
  return value instanceof Uint8Array && value.length > 0 ? value : undefined;
};
const numberOf = (template: readonly Attribute[], type: number): number | undefined => {
  const value = template.find((one) => one.type === type)?.value;
  return typeof value === 'number' ? value : undefined;
};

const uuidOf = (bytes: Uint8Array): string | undefined => {
  if (bytes.length !== 16) return undefined;
  const hex = toHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** What the database can narrow down by itself. */
const broadFilter = (template: readonly Attribute[]): LocateFilter => {
  const cko = numberOf(template, CKA.CLASS);
  const ckk = numberOf(template, CKA.KEY_TYPE);
  const specs = ckk === undefined ? undefined : specsOfKeyType(ckk);
  return {
    types: cko === undefined ? SHOWN_TYPES : typesOfClass(cko),
    ...(specs === undefined || specs.length === 0 ? {} : { specs }),
  };
};

type Search = (context: CallContext, slot: Slot) => AsyncGenerator<readonly ManagedObject[]>;

const pages = (filter: LocateFilter, limit: number): Search =>
  async function* (context, slot) {
    let cursor: string | undefined;
    do {
      const request: OperationRequest<'locate'> = { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) };
      const page = await context.call(slot, 'locate', request);
      yield page.items;
      cursor = page.next;
    } while (cursor !== undefined);
  };

/** One object by id or name, and its other half, where they are there. */
const byRef = async (context: CallContext, slot: Slot, ref: string): Promise<readonly ManagedObject[]> => {
  const found: ManagedObject[] = [];
  const load = async (key: string): Promise<ManagedObject | undefined> => {
    try {
      return (await context.call(slot, 'get-object', { key })).object;
    } catch (error) {
      if (error instanceof Rv && (error.fault?.code === 'not-found' || error.fault?.code === 'destroyed')) return undefined;
      throw error;
    }
  };
  const first = await load(ref);
  if (first === undefined) return found;
  found.push(first);
  const pair = pairIdOf(first);
  const second = pair === undefined ? undefined : await load(pair);
  return second === undefined ? found : [...found, second];
};

const NAME = /^[^\s@]{1,255}$/;
const narrow = (attribute: string, stored: string, ref: string | undefined): Search =>
  async function* (context, slot) {
    yield* pages({ types: SHOWN_TYPES, attributes: { [attribute]: stored } }, NARROW_PAGE)(context, slot);
    if (ref !== undefined) yield await byRef(context, slot, ref);
  };

const chooseSearch = (template: readonly Attribute[]): Search => {
  const unique = bytesOf(template, CKA.UNIQUE_ID);
  if (unique !== undefined)
    return async function* (context, slot) {
      const id = Buffer.from(unique).toString('latin1');
      if (/^[0-9a-f-]{36}$/i.test(id)) yield await byRef(context, slot, id);
    };
  const id = bytesOf(template, CKA.ID);
  if (id !== undefined) return withCertificatesOf(id, narrow(STORED.id, toHex(id), uuidOf(id)));
  const label = bytesOf(template, CKA.LABEL);
  if (label !== undefined) {
    const text = toStoredText(label);
    return narrow(STORED.label, text, text.startsWith('hex:') || !NAME.test(text) ? undefined : text);
  }
  return pages(broadFilter(template), PAGE);
};

/** A certificate that was linked to a key shares the key's default CKA_ID. */
const withCertificatesOf = (id: Uint8Array, search: Search): Search => {
  const uuid = uuidOf(id);
  return async function* (context, slot) {
    yield* search(context, slot);
    if (uuid === undefined) return;
    for (const type of ['private-key', 'public-key'])
      yield* pages({ types: ['certificate'], link: { type, target: uuid } }, NARROW_PAGE)(context, slot);
  };
};

const sameValue = (a: AttributeValue, b: AttributeValue): boolean => {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (a instanceof Uint8Array || b instanceof Uint8Array) return memoryLength(a) === 0 && memoryLength(b) === 0;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, n) => one === b[n]);
  return a === b;
};

const matches = async (context: CallContext, slot: Slot, known: KnownObject, template: readonly Attribute[]): Promise<boolean> => {
  if (template.length === 0) return true;
  const full = template.some((one) => needsVersion(one.type));
  const plain = await factsOf(context, known, full);
  const facts =
    template.some((one) => one.type === CKA.LABEL) && needsPairName(plain.object) ? await withPairName(context, slot, plain) : plain;
  return template.every((wanted) => {
    const answer = readAttribute(facts, wanted.type);
    // Material is never compared: a search must not be a way to guess at it.
    return typeof answer === 'object' && sameValue(answer.value, wanted.value);
  });
};

/** Without a login: the public session objects of this connection. */
const ownPublic: Search = async function* (context, slot) {
  const own = [...context.connection.objects.values()].filter((one) => one.slot === slot && context.isPublicSessionObject(one.objectId));
  yield own.map((one) => one.view?.object).filter((object) => object !== undefined);
};

/** A search that reads on as it is asked; what changes meanwhile may or may not show (PKCS#11 v3.0 §5.7.7 allows either). */
export const makeFind = (context: CallContext, session: Session, template: readonly Attribute[]): FindOperation => {
  const { slot } = session;
  const source = (hasIdentity(context.connection, slot) ? chooseSearch(template) : ownPublic)(context, slot);
  const seen = new Set<number>();
  let waiting: number[] = [];
  let ended = false;
  const readOn = async (): Promise<void> => {
    const { value: page, done } = await source.next();
    ended = done === true;
    if (page === undefined) return;
    const news: KnownObject[] = [];
    for (const object of page as readonly ManagedObject[]) {
      if (!isVisible(context.connection, object)) continue;
      const fresh = !context.connection.handles.has(object.id);
      const known = handleFor(context, slot, object, false);
      if (fresh) news.push(known);
      if (!seen.has(known.handle) && (await matches(context, slot, known, template))) {
        seen.add(known.handle);
        waiting.push(known.handle);
      }
    }
    noteHandles(context, news);
  };
  return {
    kind: 'find',
    next: async (max) => {
      while (waiting.length < max && !ended) await readOn();
      const given = waiting.slice(0, max);
      waiting = waiting.slice(max);
      return given;
    },
  };
};
