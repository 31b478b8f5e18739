import type { KmipAttribute } from '@aegis/kmip-ttlv';
import type { ManagedObject } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { type Search, searchFor } from '../attributes/locate-filter.js';
import { storedOne } from '../attributes/stored-values.js';
import { type Fields, type KmipCall, type KmipHandler, refuse } from '../contract.js';

/** Identifiers in one answer. */
const MAX_FOUND = 10_000;
/** Rows looked at where the key service's filter cannot decide alone; beyond, the client has to say more. */
const MAX_SCANNED = 100_000;
/** Objects opened for what their rows do not say. */
const MAX_OPENED = 2_000;
const PAGE = 1000;

interface Window {
  readonly offset: number;
  readonly limit: number;
  readonly total: boolean;
}
interface Found {
  readonly ids: readonly string[];
  readonly total: number;
}

const count = (value: unknown, name: string): number | undefined => {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < 0) throw refuse('InvalidField', `${name} is a number from 0.`);
  return value;
};

/** The whole question is in the filter: the key service pages and counts. */
const findByFilter = async (search: Search, { offset, limit, total }: Window, call: KmipCall): Promise<Found> => {
  const [filter] = search.filters;
  const ids: string[] = [];
  let counted: number | undefined;
  while (ids.length < limit) {
    const wanted = Math.min(PAGE, limit - ids.length);
    const ask = total && counted === undefined ? { countTotal: true } : {};
    const page = await call.call('locate', { ...filter, limit: wanted, offset: offset + ids.length, ...ask });
    counted ??= page.total;
    ids.push(...page.items.map(({ id }) => id));
    if (page.items.length < wanted) break;
  }
  return { ids, total: counted ?? offset + ids.length };
};

const newestFirst = (a: ManagedObject, b: ManagedObject): number => b.dates.created - a.dates.created || (a.id < b.id ? 1 : -1);

/** Rows of every filter that the tests accept, newest first, each once. */
const candidates = async ({ filters, tests }: Search, call: KmipCall): Promise<readonly ManagedObject[]> => {
  const found = new Map<string, ManagedObject>();
  let scanned = 0;
  for (const filter of filters) {
    let cursor: string | undefined;
    do {
      const page = await call.call('locate', { ...filter, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
      scanned += page.items.length;
      if (scanned > MAX_SCANNED)
        throw refuse('GeneralFailure', `More than ${MAX_SCANNED} objects would have to be looked at: say more of what is wanted.`);
      for (const object of page.items) if (tests.every((test) => test(object))) found.set(object.id, object);
      cursor = page.next;
    } while (cursor !== undefined);
  }
  return [...found.values()].sort(newestFirst);
};

const openedMatches = async (
  objects: readonly ManagedObject[],
  { viewTests }: Search,
  call: KmipCall,
): Promise<readonly ManagedObject[]> => {
  if (viewTests.length === 0) return objects;
  if (objects.length > MAX_OPENED)
    throw refuse('GeneralFailure', `More than ${MAX_OPENED} objects would have to be opened: say more of what is wanted.`);
  const kept: ManagedObject[] = [];
  for (const object of objects) {
    const view = await call.call('get-object', { key: object.id });
    if (viewTests.every((test) => test(view))) kept.push(object);
  }
  return kept;
};

const isFresh = ({ attributes }: ManagedObject): boolean => storedOne(attributes, 'Fresh') !== false;

const findByTests = async (search: Search, member: unknown, { offset, limit }: Window, call: KmipCall): Promise<Found> => {
  let all = await openedMatches(await candidates(search, call), search, call);
  if (member === 'GroupMemberFresh') all = all.filter(isFresh);
  // KMIP 1.4 §4.9: "the default object as defined by server policy": the newest of the group that is active, else the newest.
  if (member === 'GroupMemberDefault') all = [all.find(({ state }) => state === 'active') ?? all[0]].filter((one) => one !== undefined);
  return { ids: all.slice(offset, offset + limit).map(({ id }) => id), total: all.length };
};

const groupMember = (payload: Fields, attributes: readonly KmipAttribute[]): unknown => {
  const member = payload['ObjectGroupMember'];
  if (member !== undefined && !attributes.some(({ name, vendor }) => vendor === undefined && name === 'ObjectGroup')) {
    throw refuse('InvalidField', 'Object Group Member needs an Object Group.');
  }
  return member;
};

/** Locate (KMIP 2.1 §6.1.28, 1.4 §4.9). */
export const locate: KmipHandler = async (payload, call) => {
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const offset = count(payload['OffsetItems'], 'Offset Items') ?? 0;
  const limit = Math.min(count(payload['MaximumItems'], 'Maximum Items') ?? MAX_FOUND, MAX_FOUND);
  const member = groupMember(payload, attributes);
  const search = searchFor(attributes, count(payload['StorageStatusMask'], 'Storage Status Mask'), call);
  // The count is what a client pages by; without Offset Items it is left out (TC-OFFSET-1).
  const window = { offset, limit, total: payload['OffsetItems'] !== undefined };
  const simple = search.filters.length === 1 && search.tests.length === 0 && search.viewTests.length === 0 && member === undefined;
  const found = simple ? await findByFilter(search, window, call) : await findByTests(search, member, window, call);
  return { ...(window.total ? { LocatedItems: found.total } : {}), UniqueIdentifier: found.ids };
};
