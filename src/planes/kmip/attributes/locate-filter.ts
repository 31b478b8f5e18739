import { compareVersions, type Fields, type KmipAttribute, type KmipVersion, type Value } from '@aegis/kmip-ttlv';
import { KEY_SPEC_NAMES, toUsageMask } from '@aegis/rot-spi/vocabulary';
import { LIFECYCLE_STATES, type LifecycleState, type LocateFilter, type ManagedObject, type ObjectView } from '../../../domain/index.js';
import { type KmipCall, refuse } from '../contract.js';
import { algorithmOfSpec } from './key-spec.js';
import { isThirdEraLink, linkOf, nameOf } from './new-object.js';
import { attributesOfObject, TOLD } from './of-object.js';
import { checkValue, rowOf } from './rules.js';
import { keyOf, sameJson, storedKey, storedOne, storedValue, toJson } from './stored-values.js';
import { objectTypeOf, stateOf } from './vocabulary.js';

// Locate (KMIP 2.1 §6.1.28, 1.4 §4.9) as questions to the key service. What its filter can look up goes there; what is left is tested here.

/** A search: objects that one of `filters` finds and every test accepts. */
export interface Search {
  readonly filters: readonly LocateFilter[];
  /** On the object's row alone. */
  readonly tests: readonly ((object: ManagedObject) => boolean)[];
  /** What only the whole object says: its versions' digests and lengths. */
  readonly viewTests: readonly ((view: ObjectView) => boolean)[];
}

type Range = readonly [number, number];
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface Draft {
  /** Conditions of every filter. */
  readonly base: Mutable<LocateFilter>;
  /** Alternatives, of which one must hold; each list multiplies the filters. */
  readonly either: (readonly Partial<LocateFilter>[])[];
  readonly contained: Record<string, unknown[]>;
  readonly tests: ((object: ManagedObject) => boolean)[];
  readonly viewTests: ((view: ObjectView) => boolean)[];
}

const SECOND_MS = 1000;
const DATES: Readonly<Record<string, keyof NonNullable<LocateFilter['between']>>> = {
  InitialDate: 'initial',
  ActivationDate: 'activation',
  ProcessStartDate: 'processStart',
  ProtectStopDate: 'protectStop',
  DeactivationDate: 'deactivation',
  CompromiseOccurrenceDate: 'compromiseOccurrence',
  CompromiseDate: 'compromise',
  DestroyDate: 'destroy',
  ArchiveDate: 'archive',
  LastChangeDate: 'lastChange',
};

/** "If a single instance of a given Date attribute is used, the same date; if two, inside or at a limit of the range." */
const rangeOf = (values: readonly Value[], name: string): Range => {
  const all = values.map((value) => {
    if (typeof value !== 'bigint') throw refuse('InvalidField', `${name} is a date.`);
    return Math.min(Math.max(Number(value), -8_640_000_000), 8_640_000_000_000) * SECOND_MS;
  });
  if (all.length > 2) throw refuse('InvalidField', `${name} is given at most twice, for a range.`);
  return [Math.min(...all), Math.max(...all) + SECOND_MS - 1];
};

const within = (at: number | undefined, [from, to]: Range): boolean => at !== undefined && at >= from && at <= to;

/** Rows from which an object may be in the state by now: dates take effect before the scheduler writes them down. */
const ROWS_OF: Partial<Record<LifecycleState, readonly LifecycleState[]>> = {
  active: ['pre-active', 'active'],
  deactivated: ['pre-active', 'active', 'deactivated'],
};

/** Every field that is asked for is there and equal; other values are equal as a whole. */
const matches = (has: unknown, wanted: unknown): boolean => {
  if (typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted)) {
    if (typeof has !== 'object' || has === null) return false;
    return Object.entries(wanted).every(([name, value]) => matches((has as Record<string, unknown>)[name], value));
  }
  return sameJson(has, wanted);
};

/** Usage Limits: as much left, or more. */
const limitsTest =
  (wanted: Fields) =>
  ({ usageLimits }: ManagedObject): boolean => {
    if (usageLimits === undefined) return false;
    const { UsageLimitsTotal: total, UsageLimitsCount: count, UsageLimitsUnit: unit } = wanted;
    if (unit !== undefined && unit !== (usageLimits.unit === 'byte' ? 'Byte' : 'Object')) return false;
    return Number(total ?? 0n) <= usageLimits.total && Number(count ?? 0n) <= usageLimits.remaining;
  };

const maskTest =
  (wanted: number) =>
  ({ attributes, usage }: ManagedObject): boolean => {
    const told = storedOne(attributes, 'CryptographicUsageMask');
    return ((typeof told === 'number' ? told : toUsageMask(usage)) & wanted) === wanted;
  };

/** Said by the versions of an object, which a row does not have. */
const OF_VERSIONS = ['Digest', 'CryptographicLength', 'RandomNumberGenerator', 'Sensitive', 'AlwaysSensitive', 'NeverExtractable'];

const toldTest = (attribute: KmipAttribute, version: KmipVersion) => {
  const wanted = storedValue(attribute);
  return (view: ObjectView): boolean =>
    attributesOfObject(view, version).some(
      (has) => has.vendor === attribute.vendor && has.name === attribute.name && matches(storedValue(has), wanted),
    );
};

type Condition = (draft: Draft, attribute: KmipAttribute, call: Pick<KmipCall, 'version' | 'placeholder'>) => void;

const byName: Condition = (draft, { value }, { version }) => {
  const { text, type } = nameOf(value);
  if (draft.base.name === undefined) {
    draft.base.name = text;
  } else draft.tests.push(({ names }) => names.includes(text));
  // 3.0 has no Name Type; whoever says one before that means it.
  const said = typeof value === 'object' && (value as Fields)['NameType'] !== undefined && compareVersions(version, '3.0') < 0;
  if (said)
    draft.tests.push(
      (object) =>
        toldTest({ name: 'Name', value: { NameValue: text, NameType: type } }, version)(rowOnly(object)) || isFormer(object, text),
    );
};
const FORMER_NAMES = 'x-aegis-former-names';
const isFormer = ({ attributes }: ManagedObject, name: string): boolean => {
  const former = attributes[FORMER_NAMES];
  return Array.isArray(former) && former.includes(name);
};
const rowOnly = (object: ManagedObject): ObjectView => ({ object, versions: [] });

const byState: Condition = (draft, { value }) => {
  const state = stateOf(value);
  if (state === undefined) throw refuse('InvalidField', 'No such State.');
  draft.base.states = ROWS_OF[state] ?? [state];
  draft.tests.push((object) => object.state === state);
};

const byAlgorithm: Condition = (draft, attribute) => {
  const { value } = attribute;
  const specs = KEY_SPEC_NAMES.filter((spec) => algorithmOfSpec(spec) === value);
  const told: Partial<LocateFilter> = { attributes: { [storedKey('CryptographicAlgorithm')]: [{ v: toJson(value as Value) }] } };
  draft.either.push(specs.length === 0 ? [told] : [{ specs }, told]);
  const name = value as string;
  draft.tests.push(({ attributes, spec }) => (storedOne(attributes, 'CryptographicAlgorithm') ?? (spec && algorithmOfSpec(spec))) === name);
};

const CONDITIONS: Readonly<Record<string, Condition>> = {
  UniqueIdentifier: (draft, { value }) => {
    draft.base.id = String(value).toLowerCase();
  },
  ObjectType: (draft, { value }) => {
    const type = objectTypeOf(value);
    // A type that the service does not keep matches nothing.
    draft.base.types = type === undefined ? [] : [type];
  },
  Name: byName,
  State: byState,
  CryptographicAlgorithm: byAlgorithm,
  ObjectGroup: (draft, { value }) => {
    const group = String(value);
    draft.either.push([{ objectGroup: group }, { attributes: { [storedKey('~ObjectGroups')]: [{ v: group }] } }]);
  },
  Link: (draft, attribute, call) => {
    const { LinkType: type, LinkedObjectIdentifier: target } = attribute.value as Fields;
    if (type === undefined || target === undefined) draft.tests.push((object) => toldTest(attribute, call.version)(rowOnly(object)));
    else byLink(draft, attribute, call);
  },
  CryptographicUsageMask: (draft, { value }) => {
    draft.tests.push(maskTest(value as number));
  },
  UsageLimits: (draft, { value }) => {
    draft.tests.push(limitsTest(value as Fields));
  },
};

const byLink: Condition = (draft, attribute, call) => {
  const link = linkOf(attribute, call);
  if (draft.base.link === undefined) draft.base.link = link;
  else draft.tests.push(({ links }) => links.some(({ type, target }) => type === link.type && target === link.target));
};

/** Original Creation Date: given at registration, else the date of what was made here. */
const byOriginalDate = (draft: Draft, values: readonly Value[]): void => {
  const range = rangeOf(values, 'OriginalCreationDate');
  draft.either.push([{ createdBetween: range }, { attributes: { [storedKey('~OriginalGiven')]: [{ v: true }] } }]);
  draft.viewTests.push(({ object, versions }) => {
    const told = storedOne(object.attributes, 'OriginalCreationDate');
    if (typeof told === 'bigint') return within(Number(told) * SECOND_MS, range);
    return (
      versions.some(({ version, provenance }) => version === object.currentVersion && provenance.local) &&
      within(object.dates.created, range)
    );
  });
};

const addDates = (draft: Draft, name: string, values: readonly Value[]): void => {
  const field = DATES[name];
  if (field === undefined) byOriginalDate(draft, values);
  else draft.base.between = { ...draft.base.between, [field]: rangeOf(values, name) };
};

/** Standard attributes that only a look at the object answers; false where what is stored is the answer. */
const addStandard = (draft: Draft, attribute: KmipAttribute, call: Pick<KmipCall, 'version' | 'placeholder'>): boolean => {
  const { name } = attribute;
  const condition = Object.hasOwn(CONDITIONS, name) ? CONDITIONS[name] : isThirdEraLink(attribute) ? byLink : undefined;
  if (condition !== undefined) {
    condition(draft, attribute, call);
    return true;
  }
  const test = toldTest(attribute, call.version);
  if (OF_VERSIONS.includes(name)) draft.viewTests.push(test);
  // What the domain's fields or a certificate's bytes say is no stored attribute.
  else if (TOLD.has(name) || /^(Certificate|X_509|DigitalSignature)/.test(name)) draft.tests.push((object) => test(rowOnly(object)));
  else return false;
  return true;
};

const addCondition = (draft: Draft, attribute: KmipAttribute, call: Pick<KmipCall, 'version' | 'placeholder'>): void => {
  if (attribute.vendor === undefined && addStandard(draft, attribute, call)) return;
  const key = keyOf(attribute);
  draft.contained[key] = [...(draft.contained[key] ?? []), { v: storedValue(attribute) }];
};

const DEAD: readonly LifecycleState[] = ['destroyed', 'destroyed-compromised'];
const LIVING = LIFECYCLE_STATES.filter((state) => !DEAD.includes(state));
const ON_LINE = 0x1;
const ARCHIVAL = 0x2;
const DESTROYED = 0x4;

/** Storage Status Mask: which objects are searched at all; on-line ones unless it says more. */
const statusFilters = (mask: number): readonly Partial<LocateFilter>[] => {
  const filters: Partial<LocateFilter>[] = [];
  const living = mask & (ON_LINE | ARCHIVAL);
  if (living !== 0) filters.push({ states: LIVING, archived: living === (ON_LINE | ARCHIVAL) ? 'any' : living === ARCHIVAL });
  if ((mask & DESTROYED) !== 0) filters.push({ states: DEAD, archived: 'any' });
  return filters;
};

const joined = (a: LocateFilter, b: Partial<LocateFilter>): LocateFilter | undefined => {
  const states = a.states === undefined || b.states === undefined ? (a.states ?? b.states) : a.states.filter((s) => b.states?.includes(s));
  if (states?.length === 0) return undefined;
  const attributes = { ...a.attributes, ...b.attributes };
  return { ...a, ...b, ...(states === undefined ? {} : { states }), ...(Object.keys(attributes).length === 0 ? {} : { attributes }) };
};

/** Destroyed objects have given their names back; they are found by those they had. */
const formerNames = (filter: LocateFilter): LocateFilter => {
  if (filter.name === undefined || !filter.states?.every((state) => DEAD.includes(state))) return filter;
  const { name, ...rest } = filter;
  return { ...rest, attributes: { ...rest.attributes, [FORMER_NAMES]: [name] } };
};

const multiplied = (filters: readonly LocateFilter[], alternatives: readonly Partial<LocateFilter>[]): readonly LocateFilter[] =>
  filters.flatMap((filter) => alternatives.flatMap((one) => joined(filter, one) ?? []));

/**
 * The search for what a Locate asks.
 * @throws KmipRefusal for attributes the version does not have, and values that none could have
 */
export const searchFor = (
  attributes: readonly KmipAttribute[],
  storageStatusMask: number | undefined,
  call: Pick<KmipCall, 'version' | 'placeholder'>,
): Search => {
  const draft: Draft = { base: {}, either: [], contained: {}, tests: [], viewTests: [] };
  const dates = new Map<string, Value[]>();
  for (const attribute of attributes) {
    rowOf(attribute, call.version);
    checkValue(attribute);
    const isDate = attribute.vendor === undefined && (Object.hasOwn(DATES, attribute.name) || attribute.name === 'OriginalCreationDate');
    if (isDate) dates.set(attribute.name, [...(dates.get(attribute.name) ?? []), attribute.value as Value]);
    else addCondition(draft, attribute, call);
  }
  for (const [name, values] of dates) addDates(draft, name, values);
  const base: LocateFilter = { ...draft.base, ...(Object.keys(draft.contained).length === 0 ? {} : { attributes: draft.contained }) };
  let filters = multiplied([base], statusFilters(storageStatusMask ?? ON_LINE));
  for (const alternatives of draft.either) filters = multiplied(filters, alternatives);
  const possible = base.types?.length === 0 ? [] : filters.map(formerNames);
  return { filters: possible, tests: draft.tests, viewTests: draft.viewTests };
};
