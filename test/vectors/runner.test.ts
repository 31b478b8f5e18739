import { childrenOf, type Item, ItemType, readTtlv, showTag, writeTtlv } from '@aegis/kmip-ttlv';
import { describe, expect, test } from 'vitest';
import { type OfficialCase, officialCases, PUBLISHED_VERSIONS, skipVectors } from './official-cases.js';
import { nowOffset, placeholderOf, readExpected } from './placeholders.js';
import { makeRun, runCase } from './run-case.js';

// The runner judged before it judges: a server that answers what the files say passes every case; one that changes a single value fails it.

/** Answers the file's own answers, with identifiers of its own. */
function makeOracle(one: OfficialCase, change: (item: Item, step: number) => Item = (item) => item) {
  const made = new Map<string, string>();
  const now = BigInt(Math.floor(Date.now() / 1000));
  const fill = (item: Item): Item => {
    const name = placeholderOf(item);
    const offset = nowOffset(item);
    if (offset !== undefined) return { ...item, value: now + BigInt(offset) };
    if (name !== undefined) {
      const value = made.get(name) ?? `made-${made.size}-${one.name}`;
      made.set(name, value);
      return { ...item, value: item.type === ItemType.ByteString ? Buffer.from(value) : value };
    }
    return item.type === ItemType.Structure ? { ...item, value: childrenOf(item).map(fill) } : item;
  };
  let step = 0;
  return async (request: Item): Promise<Item> => {
    readTtlv(writeTtlv(request));
    const answer = fill(readExpected(one.steps[step]?.response as string));
    return change(answer, step++);
  };
}

/** The message with its n-th leaf changed, or undefined when it has fewer. */
function changeLeaf(message: Item, n: number): { changed: Item; path: string } | undefined {
  let left = n;
  let where = '';
  const walk = (item: Item, path: string): Item => {
    if (item.type === ItemType.Structure)
      return { ...item, value: childrenOf(item).map((child) => walk(child, `${path}/${showTag(child.tag)}`)) };
    if (left-- !== 0) return item;
    where = path;
    const { value } = item;
    if (typeof value === 'string') return { ...item, value: `${value}!` };
    if (typeof value === 'boolean') return { ...item, value: !value };
    if (value instanceof Uint8Array) return { ...item, value: Uint8Array.from([...value, 1, 2, 3, 4, 5, 6, 7, 8]) };
    return { ...item, value: typeof value === 'bigint' ? value + 100_000n : (value as number) + 1 };
  };
  const changed = walk(message, showTag(message.tag));
  return where === '' ? undefined : { changed, path: where };
}

/** Where a changed value may pass: what vectors/README.md tolerates, and first uses, which bind whatever comes. */
const TOLERATED =
  /ResultMessage|ServerCorrelationValue|UniqueIdentifier|LinkedObjectIdentifier|CorrelationValue|TicketValue|KeyMaterial|KeyValue|DigestValue|Data$|IVCounterNonce|AuthenticatedEncryptionTag|ProfileInformation|RNG|Modulus|ResponsePayload\/(?:ProtocolVersion|PKCS_11OutputParameters|Operation|ObjectType|VendorIdentification|ServerInformation|ApplicationNamespace|ExtensionInformation|AttestationType|ClientRegistrationMethod|CapabilityInformation|ValidationInformation|DefaultsInformation|ProtectionStorageMask)|CryptographicLength|CryptographicAlgorithm|Certificate/;

describe.skipIf(skipVectors)('the runner of the official cases', () => {
  test('every case passes against a server that answers what its file says', async () => {
    const failed: string[] = [];
    let count = 0;
    for (const version of PUBLISHED_VERSIONS)
      for (const one of officialCases(version)) {
        count++;
        const failure = await runCase(one, makeOracle(one), makeRun());
        if (failure !== undefined) failed.push(`${one.name} ${failure.step}: ${JSON.stringify(failure.differences[0])}`);
      }
    expect(failed).toEqual([]);
    expect(count).toBe(517);
  });

  test('a server that changes one value fails the case', async () => {
    const passed: string[] = [];
    let tried = 0;
    for (const version of PUBLISHED_VERSIONS)
      for (const [i, one] of officialCases(version).entries()) {
        const at = i % one.steps.length;
        for (let n = i % 5; ; n += 5) {
          let path = '';
          const failure = await runCase(
            one,
            makeOracle(one, (item, step) => {
              const result = step === at ? changeLeaf(item, n) : undefined;
              path = result?.path ?? path;
              return result?.changed ?? item;
            }),
            makeRun(),
          );
          if (path === '') break;
          tried++;
          if (failure === undefined && !TOLERATED.test(path)) passed.push(`${one.name} message ${at} ${path}`);
        }
      }
    expect(passed).toEqual([]);
    expect(tried).toBeGreaterThan(1000);
  });

  test('a missing item and an additional item fail the case', async () => {
    const one = officialCases('1.4').find((each) => each.name === 'SKLC-M-1-14') as OfficialCase;
    for (const edit of [(list: readonly Item[]) => list.slice(0, -1), (list: readonly Item[]) => [...list, list.at(-1) as Item]]) {
      const failure = await runCase(
        one,
        makeOracle(one, (message, step) => (step === 1 ? editPayload(message, edit) : message)),
        makeRun(),
      );
      expect(failure?.step).toBe(1);
    }
  });
});

const editPayload = (item: Item, edit: (list: readonly Item[]) => readonly Item[]): Item =>
  item.type !== ItemType.Structure
    ? item
    : showTag(item.tag) === 'ResponsePayload'
      ? { ...item, value: edit(childrenOf(item)) }
      : { ...item, value: childrenOf(item).map((child) => editPayload(child, edit)) };
