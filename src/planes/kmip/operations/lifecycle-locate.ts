import type { KmipAttribute } from '@aegis/kmip-ttlv';
import type { LocateFilter, ManagedObject } from '../../../domain/index.js';
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
  /** The client pages and wants to know how many there are. */
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

/** The whole question is in one filter: the key service pages and counts. */
const findByFilter = async (filter: LocateFilter, { offset, limit, total }: Window, call: KmipCall): Promise<Found> => {
  const ids: string[] = [];
  let counted: number | undefined;
  while (ids.length < limit || (total && counted === undefined)) {
    const wanted = Math.max(1, Math.min(PAGE, limit - ids.length));
    const ask = total && counted === undefined ? { countTotal: true } : {};
    const page = await call.call('locate', { ...filter, limit: wanted, offset: offset + ids.length, ...ask });
    counted ??= page.total;
    ids.push(...page.items.slice(0, limit - ids.length).map(({ id }) => id));
    if (page.items.length < wanted || limit === 0) break;
  }
  return { ids, total: counted ?? offset + ids.length };
};

/** One filter's rows, newest first, read as they are asked for. */
interface Rows {
  head(): Promise<ManagedObject | undefined>;
  take(): void;
}
const rowsOf = (filter: LocateFilter, limit: number, call: KmipCall, seen: (rows: number) => void): Rows => {
  let page: readonly ManagedObject[] = [];
  let at = 0;
  let cursor: string | undefined;
  let done = false;
  return {
    async head() {
      while (at === page.length && !done) {
        const next = await call.call('locate', { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) });
        seen(next.items.length);
        page = next.items;
        at = 0;
        cursor = next.next;
        done = cursor === undefined;
      }
      return page[at];
    },
    take() {
      at += 1;
    },
  };
};

const isNewer = (a: ManagedObject, b: ManagedObject): boolean =>
  a.dates.created > b.dates.created || (a.dates.created === b.dates.created && a.id > b.id);

/** Rows of every filter in one order, newest first, each object once: what several filters find comes from all at the same time. */
async function* newestFirst(filters: readonly LocateFilter[], limit: number, call: KmipCall): AsyncGenerator<ManagedObject> {
  let scanned = 0;
  const seen = (rows: number): void => {
    scanned += rows;
    if (scanned > MAX_SCANNED)
      throw refuse('GeneralFailure', `More than ${MAX_SCANNED} objects would have to be looked at: say more of what is wanted.`);
  };
  const streams = filters.map((filter) => rowsOf(filter, limit, call, seen));
  for (;;) {
    let newest: ManagedObject | undefined;
    for (const stream of streams) {
      const head = await stream.head();
      if (head !== undefined && (newest === undefined || isNewer(head, newest))) newest = head;
    }
    if (newest === undefined) return;
    for (const stream of streams) if ((await stream.head())?.id === newest.id) stream.take();
    yield newest;
  }
}

/** What the tests accept, in order; stops as soon as the window is full and nobody wants the count. */
const findByTests = async ({ filters, tests, viewTests }: Search, { offset, limit, total }: Window, call: KmipCall): Promise<Found> => {
  const tested = tests.length + viewTests.length > 0;
  const ids: string[] = [];
  let found = 0;
  let opened = 0;
  for await (const object of newestFirst(filters, tested || total ? PAGE : Math.max(1, Math.min(PAGE, offset + limit)), call)) {
    if (!tests.every((test) => test(object))) continue;
    if (viewTests.length > 0) {
      opened += 1;
      if (opened > MAX_OPENED)
        throw refuse('GeneralFailure', `More than ${MAX_OPENED} objects would have to be opened: say more of what is wanted.`);
      const view = await call.call('get-object', { key: object.id });
      if (!viewTests.every((test) => test(view))) continue;
    }
    found += 1;
    if (found > offset && ids.length < limit) ids.push(object.id);
    if (!total && found >= offset + limit) break;
  }
  return { ids, total: found };
};

const isFresh = ({ attributes }: ManagedObject): boolean => storedOne(attributes, 'Fresh') !== false;

/** KMIP 1.4 §4.9: "the default object as defined by server policy": the newest of the group that is active, else the newest. */
const findDefault = async (search: Search, call: KmipCall): Promise<Found> => {
  const one = { offset: 0, limit: 1, total: false };
  const active = await findByTests({ ...search, tests: [...search.tests, ({ state }) => state === 'active'] }, one, call);
  return active.ids.length > 0 ? active : findByTests(search, one, call);
};

const groupMember = (payload: Fields, attributes: readonly KmipAttribute[]): unknown => {
  const member = payload['ObjectGroupMember'];
  if (member !== undefined && !attributes.some(({ name, vendor }) => vendor === undefined && name === 'ObjectGroup')) {
    throw refuse('InvalidField', 'Object Group Member needs an Object Group.');
  }
  return member;
};

const find = (search: Search, member: unknown, window: Window, call: KmipCall): Promise<Found> => {
  if (member === 'GroupMemberDefault') return findDefault(search, call);
  if (member === 'GroupMemberFresh') return findByTests({ ...search, tests: [...search.tests, isFresh] }, window, call);
  const [filter, ...more] = search.filters;
  const simple = filter !== undefined && more.length === 0 && search.tests.length === 0 && search.viewTests.length === 0;
  return simple ? findByFilter(filter, window, call) : findByTests(search, window, call);
};

/** Locate (KMIP 2.1 §6.1.28, 1.4 §4.9). */
export const locate: KmipHandler = async (payload, call) => {
  const attributes = await givenAttributes(payload, 'Attributes', call);
  const offset = count(payload['OffsetItems'], 'Offset Items') ?? 0;
  const limit = Math.min(count(payload['MaximumItems'], 'Maximum Items') ?? MAX_FOUND, MAX_FOUND);
  const search = searchFor(attributes, count(payload['StorageStatusMask'], 'Storage Status Mask'), call);
  // The count is what a client pages by; without Offset Items it is left out (TC-OFFSET-1).
  const window = { offset, limit, total: payload['OffsetItems'] !== undefined };
  const found = await find(search, groupMember(payload, attributes), window, call);
  return { ...(window.total ? { LocatedItems: found.total } : {}), UniqueIdentifier: found.ids };
};
