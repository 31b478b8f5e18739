import {
  attributeLivesIn,
  attributeNamed,
  CodecError,
  childOf,
  childrenOf,
  enumerationName,
  enumerationOfTag,
  type Item,
  ItemType,
  type KmipVersion,
  knownTag,
  livesIn,
  operationRow,
  readMessage,
  tagLivesIn,
  valueLivesIn,
  versionNumbers,
  writeMessage,
  writeTtlv,
  writeXml,
} from '@aegis/kmip-ttlv';
import { type OfficialCase, officialCases } from './official-cases.js';
import { readExpected } from './placeholders.js';

// 1.3 and 2.0 have no published cases. Those of their neighbours are theirs too, as far as every field, value and attribute of a case exists in the
// version: the tables decide, by reading the transposed message strictly and writing it back.

const TAG = {
  Attribute: knownTag('Attribute'),
  AttributeName: knownTag('AttributeName'),
  AttributeReference: knownTag('AttributeReference'),
  Attributes: knownTag('Attributes'),
  BatchItem: knownTag('BatchItem'),
  Operation: knownTag('Operation'),
  ProtocolVersionMajor: knownTag('ProtocolVersionMajor'),
  ProtocolVersionMinor: knownTag('ProtocolVersionMinor'),
  RequestPayload: knownTag('RequestPayload'),
  ResponsePayload: knownTag('ResponsePayload'),
} as const;

type Target = '1.3' | '2.0';

/** The newest neighbour first: its case wins where both have one. */
const SOURCES = { '1.3': ['1.4', '1.2'], '2.0': ['2.1'] } as const;

/** Drops what the version does not have from the lists of attributes that an answer shows and a Get Attributes asks for. */
function inVersion(item: Item, version: Target): Item {
  if (item.type !== ItemType.Structure) return item;
  const inner = childrenOf(item)
    .filter((child) => !isNewerAttribute(child, item, version))
    .map((child) => inVersion(child, version));
  return { ...item, value: inner };
}

function isNewerAttribute(child: Item, parent: Item, version: Target): boolean {
  if (parent.tag === TAG.Attributes) return child.tag !== TAG.Attribute && !tagLivesIn(child.tag, version);
  if (parent.tag !== TAG.ResponsePayload && parent.tag !== TAG.RequestPayload) return false;
  if (child.tag === TAG.AttributeReference && child.type === ItemType.Enumeration) return !tagLivesIn(child.value as number, version);
  const name =
    child.tag === TAG.Attribute ? childOf(child, TAG.AttributeName)?.value : child.tag === TAG.AttributeName ? child.value : undefined;
  return typeof name === 'string' && !attributeLivesIn(attributeNamed(name), version);
}

function withVersion(item: Item, version: Target): Item {
  const { major, minor } = versionNumbers(version);
  const walk = (one: Item): Item =>
    one.tag === TAG.ProtocolVersionMinor
      ? { ...one, value: minor }
      : one.tag === TAG.ProtocolVersionMajor
        ? { ...one, value: major }
        : one.type === ItemType.Structure
          ? { ...one, value: childrenOf(one).map(walk) }
          : one;
  const [header, ...items] = childrenOf(item);
  return { ...item, value: header === undefined ? [] : [walk(header), ...items] };
}

/** Every operation and enumeration value is of the version. */
function valuesLive(item: Item, version: Target): boolean {
  if (item.type === ItemType.Structure) return childrenOf(item).every((child) => valuesLive(child, version));
  if (item.type !== ItemType.Enumeration) return true;
  const enumeration = enumerationOfTag(item.tag);
  if (enumeration === undefined) return true;
  if (!valueLivesIn(enumeration.name, item.value as number, version)) return false;
  const row = item.tag === TAG.Operation ? operationRow(enumerationName(enumeration.name, item.value as number) ?? '') : undefined;
  return row === undefined || livesIn(row, version);
}

/** A request that named attributes must still name some: without a name it would ask for all. */
const stillNames = (before: Item, after: Item): boolean => {
  const names = (item: Item): number =>
    (item.tag === TAG.AttributeName || item.tag === TAG.AttributeReference ? 1 : 0) +
    childrenOf(item).reduce((sum, child) => sum + names(child), 0);
  return names(before) === 0 || names(after) > 0;
};

/** True when the version's tables have everything in the message. */
function belongs(item: Item): boolean {
  try {
    return Buffer.compare(writeTtlv(writeMessage(readMessage(item, { strict: true }))), writeTtlv(item)) === 0;
  } catch (error) {
    if (error instanceof CodecError) return false;
    throw error;
  }
}

/** Asks for every attribute of an object, or the names of all. */
const listsAll = (request: Item): boolean =>
  /value="GetAttributeList"|value="GetAttributes"\/>(?:<UniqueBatchItemID[^>]*>)?<RequestPayload>(?:<UniqueIdentifier[^>]*>)?<\/RequestPayload>/.test(
    writeXml(request),
  );

function transpose(one: OfficialCase, version: Target): OfficialCase | undefined {
  const adapt = (item: Item): Item => withVersion(inVersion(item, version), version);
  // The full list of an older version lacks what the newer one added.
  if (one.version < version && one.steps.some(({ request }) => listsAll(readExpected(request)))) return undefined;
  const fits = one.steps.every(({ request, response }) => {
    const asked = readExpected(request);
    const [sent, answer] = [adapt(asked), adapt(readExpected(response))];
    return stillNames(asked, sent) && [sent, answer].every((item) => belongs(item) && valuesLive(item, version));
  });
  return fits ? { ...one, name: `${one.family}-${version.replace('.', '')}`, version, adapt } : undefined;
}

const transposed = new Map<Target, readonly OfficialCase[]>();

/** The neighbours' cases that hold in a version without files. */
export function transposedCases(version: Target): readonly OfficialCase[] {
  const known = transposed.get(version);
  if (known !== undefined) return known;
  const cases = new Map<string, OfficialCase>();
  for (const source of SOURCES[version])
    for (const one of officialCases(source)) {
      const adapted = cases.has(one.family) ? undefined : transpose(one, version);
      if (adapted !== undefined) cases.set(one.family, adapted);
    }
  const list = [...cases.values()];
  transposed.set(version, list);
  return list;
}

/** The cases of any version, published or transposed. */
export const casesOf = (version: KmipVersion): readonly OfficialCase[] =>
  version === '1.3' || version === '2.0' ? transposedCases(version) : officialCases(version);
