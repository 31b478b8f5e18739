import { childOf, childrenOf, type Item, ItemType, itemTypeName, knownTag, showTag, writeXml } from '@aegis/kmip-ttlv';
import { type Bindings, nowOffset, placeholderOf } from './placeholders.js';
import { leniencyAt, type Place } from './tolerances.js';

// The strict comparison of one response with the expected one: same items, same order, same types, same values.

export interface Difference {
  readonly path: string;
  readonly expected: string;
  readonly got: string;
}

/** How far a date that the file gives as `$NOW` may be from the case's own time: slow machines, and a server that rounds. */
const NOW_TOLERANCE_SECONDS = 120;

/** Structures whose children are a list to which no version of the standard gives an order; compared name by name. */
const UNORDERED = /(GetAttributes|GetAttributeList)\/ResponsePayload(\/Attributes)?$/;

export interface Comparison {
  readonly bindings: Bindings;
  readonly place: Omit<Place, 'path'>;
  readonly differences: Difference[];
  /** Identifier of the object that the batch item is about. */
  readonly about?: string | undefined;
}

const show = (item: Item | undefined): string => {
  if (item === undefined) return 'nothing';
  if (item.type === ItemType.Structure) return childrenOf(item).length === 0 ? 'an empty structure' : clip(writeXml(item));
  const text = /value="([^"]*)"/.exec(writeXml(item))?.[1] ?? '';
  return `${itemTypeName(item.type)} ${placeholderOf(item) ?? clip(text)}`;
};
const clip = (text: string): string => (text.length > 400 ? `${text.slice(0, 400)}…` : text);

export function compareItems(expected: Item, got: Item, path: string, comparison: Comparison): void {
  const { differences } = comparison;
  const differ = (): void => void differences.push({ path, expected: show(expected), got: show(got) });
  if (expected.tag !== got.tag) {
    differ();
    return;
  }
  const leniency = leniencyAt({ ...comparison.place, path: path.replace(/\[\d+\]/g, '') });
  if ((leniency === 'any' || leniency === 'optional') && expected.type === got.type) return;
  if (expected.type !== got.type) differ();
  else if (leniency === 'vendor') sameFrame(expected, got) || differ();
  else if (leniency === 'present') comparePresence(expected, got, path, comparison);
  else if (expected.type === ItemType.Structure) compareChildren(expected, got, path, comparison);
  else if (!sameValue(expected, got, leniency === 'bound', comparison)) differ();
}

function sameFrame(expected: Item, got: Item): boolean {
  const [wanted, given] = [expected.value as Uint8Array, got.value as Uint8Array];
  return wanted.length === given.length && wanted[0] === given[0] && wanted[1] === given[1];
}

function sameValue(expected: Item, got: Item, bound: boolean, { bindings, about }: Comparison): boolean {
  if (expected.type === ItemType.DateTime || expected.type === ItemType.DateTimeExtended) return sameTime(expected, got, bindings);
  const name = placeholderOf(expected);
  // A file has one name for the digests of all its objects.
  if (name !== undefined) return bindPlaceholder(name === '$DIGEST_VALUE' ? `${name} of ${about}` : name, got, bindings);
  if (got.value instanceof Uint8Array && expected.value instanceof Uint8Array) {
    const [wanted, actual] = [Buffer.from(expected.value).toString('hex'), Buffer.from(got.value).toString('hex')];
    if (!bound || actual.length === 0) return wanted === actual;
    const known = bindings.literals.get(wanted);
    bindings.literals.set(wanted, known ?? actual);
    return known === undefined || known === actual;
  }
  return expected.value === got.value;
}

/**
 * A date that a request of the case states comes back as it is. The others are the server's own: `$NOW`, or in the older files the moment when the
 * file was made, for which the server must show now.
 */
function sameTime(expected: Item, got: Item, bindings: Bindings): boolean {
  const offset = nowOffset(expected);
  if (offset === undefined && (expected.value === got.value || bindings.stated.has(expected.value as bigint)))
    return expected.value === got.value;
  const unit = got.type === ItemType.DateTimeExtended ? 1_000_000n : 1n;
  return Math.abs(Number((got.value as bigint) / unit) - bindings.now - (offset ?? 0)) <= NOW_TOLERANCE_SECONDS;
}

/** Binds on first use; two names never stand for the same identifier. */
function bindPlaceholder(name: string, got: Item, bindings: Bindings): boolean {
  const value = got.value as string | Uint8Array;
  if (value.length === 0) return false;
  // One stream may have another correlation value than the one before it.
  const known = name === '$CORRELATION_VALUE' ? undefined : bindings.values.get(name);
  if (known !== undefined) return Buffer.from(known as string).equals(Buffer.from(value as string));
  if (/UNIQUE_IDENTIFIER/.test(name)) {
    for (const [other, taken] of bindings.values)
      if (/UNIQUE_IDENTIFIER/.test(other) && Buffer.from(taken as string).equals(Buffer.from(value as string))) return false;
  }
  bindings.values.set(name, typeof value === 'string' ? value : value.slice());
  return true;
}

/** Of a Query answer only this is compared: each kind of thing the file's server lists is listed here too. */
function comparePresence(expected: Item, got: Item, path: string, { differences }: Comparison): void {
  // No server has validations to show before somebody validated it.
  const kinds = new Set([`${knownTag('ValidationInformation')} ${ItemType.Structure}`]);
  for (const kind of childrenOf(got).map((child) => `${child.tag} ${child.type}`)) kinds.add(kind);
  for (const child of childrenOf(expected))
    if (!kinds.has(`${child.tag} ${child.type}`)) {
      kinds.add(`${child.tag} ${child.type}`);
      differences.push({ path: `${path}/${showTag(child.tag)}`, expected: show(child), got: 'nothing' });
    }
}

function compareChildren(expected: Item, got: Item, path: string, comparison: Comparison): void {
  const wanted = childrenOf(expected);
  const pairs = UNORDERED.test(path.replace(/^.*BatchItem(\[\d+\])?/, comparison.place.operation))
    ? pairByName(wanted, childrenOf(got))
    : pairInOrder(wanted, childrenOf(got));
  const counts = new Map<number, number>();
  for (const [one, other] of pairs) {
    const tag = (one ?? other)?.tag as number;
    const index = counts.get(tag) ?? 0;
    counts.set(tag, index + 1);
    const many = wanted.filter((child) => child.tag === tag).length > 1;
    const name = attributeName(one ?? other);
    const inner = `${path}/${label(one ?? other)}${many ? `[${index}]` : ''}`;
    if (one !== undefined && other !== undefined) compareItems(one, other, inner, comparison);
    else if (leniencyAt({ ...comparison.place, path: inner }) !== 'optional')
      comparison.differences.push({ path: name === '' ? inner : `${inner} (${name})`, expected: show(one), got: show(other) });
  }
}

/** The tag's name; an Attribute of 1.x has its own name too, since all of them share the tag. */
function label(item: Item | undefined): string {
  const name = item === undefined || item.tag !== ATTRIBUTE ? undefined : childOf(item, ATTRIBUTE_NAME)?.value;
  return `${showTag(item?.tag ?? 0)}${typeof name === 'string' ? `:${name}` : ''}`;
}
const ATTRIBUTE = knownTag('Attribute');
const ATTRIBUTE_NAME = knownTag('AttributeName');

type Pair = readonly [Item | undefined, Item | undefined];

/** In order; where the tags part, what is missing or too many is told rather than everything after it. */
function pairInOrder(wanted: readonly Item[], given: readonly Item[]): Pair[] {
  const pairs: Pair[] = [];
  let [i, j] = [0, 0];
  while (i < wanted.length || j < given.length) {
    const [one, other] = [wanted[i], given[j]];
    if (one !== undefined && other !== undefined && one.tag === other.tag) {
      pairs.push([one, other]);
      i++;
      j++;
    } else if (one !== undefined && !given.slice(j).some((later) => later.tag === one.tag)) {
      pairs.push([one, undefined]);
      i++;
    } else if (other !== undefined && !wanted.slice(i).some((later) => later.tag === other.tag)) {
      pairs.push([undefined, other]);
      j++;
    } else {
      // Both are there, in another order: that is a difference of its own.
      pairs.push([one, undefined], [undefined, other]);
      i++;
      j++;
    }
  }
  return pairs;
}

function pairByName(wanted: readonly Item[], given: readonly Item[]): Pair[] {
  const left = [...given];
  const pairs: Pair[] = wanted.map((one) => {
    const exact = left.findIndex((other) => attributeName(other) === attributeName(one) && isPlainlyEqual(one, other));
    const found = exact >= 0 ? exact : left.findIndex((other) => attributeName(other) === attributeName(one));
    return [one, found < 0 ? undefined : left.splice(found, 1)[0]];
  });
  return [...pairs, ...left.map((other): Pair => [undefined, other])];
}

const isPlainlyEqual = (one: Item, other: Item): boolean => writeXml(one) === writeXml(other);

/** What tells one attribute of a list from another: the tag, and for Attribute and references the name within. */
function attributeName(item: Item | undefined): string {
  if (item === undefined) return '';
  if (item.type !== ItemType.Structure)
    return `${showTag(item.tag)} ${/AttributeName|AttributeReference/.test(showTag(item.tag)) ? String(item.value) : ''}`;
  const inner = childrenOf(item)
    .filter((child) => /^(AttributeName|VendorIdentification|LinkType)$/.test(showTag(child.tag)))
    .map((child) => String(child.value));
  return `${showTag(item.tag)} ${inner.join(' ')}`;
}
