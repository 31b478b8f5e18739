import { childOf, childrenOf, type Item, knownTag, readXml, showTag, writeXml } from '@aegis/kmip-ttlv';
import { type Comparison, compareItems, type Difference } from './compare.js';
import type { OfficialCase } from './official-cases.js';
import { type Bindings, fillRequest, makeBindings, noteDates, noteOutputs, readExpected } from './placeholders.js';
import type { Subject } from './tolerances.js';

/** One encoding and transport of the plane: a request item in, the response item out. */
export type Exchange = (request: Item) => Promise<Item>;

/** The first thing that is not as the file says. */
export interface Failure {
  /** Number of the message within the case, from 0. */
  readonly step: number;
  readonly operation: string;
  readonly differences: readonly Difference[];
}

const TAG = {
  BatchItem: knownTag('BatchItem'),
  Operation: knownTag('Operation'),
  ResponsePayload: knownTag('ResponsePayload'),
  RequestPayload: knownTag('RequestPayload'),
} as const;
const GENERATING = /^(Create|CreateKeyPair|CreateSplitKey|ReKey|ReKeyKeyPair|Certify|ReCertify|CreateCredential)$/;
const IDENTIFIER = /^(UniqueIdentifier|PrivateKeyUniqueIdentifier|PublicKeyUniqueIdentifier)$/;

const nothing: Subject = { generated: false, algorithm: undefined, origin: '' };

/** What the case did to which object, to know whose material the server made. */
type Objects = Map<string, Subject>;

/** One chain: cases run one after another on one tenant, with one set of placeholders for each case but common knowledge of objects. */
export interface CaseRun {
  readonly bindings: Bindings;
  readonly objects: Objects;
}
export const makeRun = (): CaseRun => ({ bindings: makeBindings(), objects: new Map() });

/** Sends every message of the case and compares every answer; stops at the first difference, as later messages build on earlier ones. */
export async function runCase(one: OfficialCase, exchange: Exchange, run: CaseRun): Promise<Failure | undefined> {
  for (const [step, { request, response }] of one.steps.entries()) {
    const adapt = one.adapt ?? ((item: Item): Item => item);
    const expected = adapt(readExpected(response));
    let sent: Item | undefined;
    let got: Item;
    try {
      sent = adapt(readXml(fillRequest(request, run.bindings)));
      noteDates(sent, run.bindings);
      got = await exchange(sent);
    } catch (error) {
      const path = sent === undefined ? 'the request' : 'the exchange';
      return { step, operation: operationsOf(expected), differences: [{ path, expected: 'an answer', got: String(error) }] };
    }
    const differences = compareMessages(one, sent, expected, got, run);
    noteOutputs(got, run.bindings);
    if (differences.length > 0) return { step, operation: operationsOf(sent), differences };
  }
  return undefined;
}

const operationOf = (item: Item | undefined): string => {
  const operation = item === undefined ? undefined : childOf(item, TAG.Operation);
  return operation === undefined ? '' : (/value="([^"]*)"/.exec(writeXml(operation))?.[1] ?? '');
};
const batchOf = (message: Item): Item[] => childrenOf(message).filter((item) => item.tag === TAG.BatchItem);
const operationsOf = (message: Item): string => batchOf(message).map(operationOf).join(' + ');

function compareMessages(one: OfficialCase, sent: Item, expected: Item, got: Item, run: CaseRun): Difference[] {
  const differences: Difference[] = [];
  const root = showTag(expected.tag);
  const context = (request: Item | undefined, subject: Subject, about?: string): Comparison => ({
    about,
    bindings: run.bindings,
    place: { family: one.family, operation: operationOf(request), request, subject },
    differences,
  });
  if (got.tag !== expected.tag) return [{ path: root, expected: root, got: showTag(got.tag) }];
  const requests = batchOf(sent);
  const [wanted, given] = [batchOf(expected), batchOf(got)];
  const header = (message: Item): Item => ({ ...message, value: childrenOf(message).filter((item) => item.tag !== TAG.BatchItem) });
  compareItems(header(expected), header(got), root, context(undefined, nothing));
  let placeholder: string | undefined;
  for (let i = 0; i < Math.max(wanted.length, given.length); i++) {
    const [want, give, request] = [wanted[i], given[i], requests[i]];
    const path = `${root}/BatchItem[${i}]`;
    if (want === undefined || give === undefined) {
      differences.push({
        path,
        expected: want === undefined ? 'nothing' : writeXml(want),
        got: give === undefined ? 'nothing' : writeXml(give),
      });
      continue;
    }
    const ids = identifiersOf(give);
    learn(request, ids, run.objects);
    const about = identifiersOf(request)[0] ?? placeholder ?? ids[0];
    compareItems(want, give, path, context(request, run.objects.get(about ?? '') ?? nothing, about));
    placeholder = ids[0] ?? placeholder;
  }
  return differences;
}

/** The identifiers a payload names at its top level. */
function identifiersOf(batchItem: Item | undefined): string[] {
  if (batchItem === undefined) return [];
  const payload = childOf(batchItem, TAG.ResponsePayload) ?? childOf(batchItem, TAG.RequestPayload);
  if (payload === undefined) return [];
  return childrenOf(payload)
    .filter((item) => IDENTIFIER.test(showTag(item.tag)) && typeof item.value === 'string')
    .map((item) => item.value as string);
}

function learn(request: Item | undefined, ids: readonly string[], objects: Objects): void {
  if (request === undefined) return;
  const operation = operationOf(request);
  const text = writeXml(request);
  const algorithm =
    /CryptographicAlgorithm type="Enumeration" value="([^"]+)"/.exec(text)?.[1] ??
    /Cryptographic Algorithm"\/><AttributeValue type="Enumeration" value="([^"]+)"/.exec(text)?.[1];
  if (GENERATING.test(operation)) for (const id of ids) objects.set(id, { generated: true, algorithm, origin: text });
  else if (operation === 'Register' || operation === 'Import')
    for (const id of ids) objects.set(id, { generated: false, algorithm, origin: text });
  else if (operation === 'DeriveKey' || operation === 'JoinSplitKey') {
    const bases = identifiersOf(request).map((id) => objects.get(id));
    for (const id of ids) objects.set(id, { generated: bases.some((base) => base?.generated === true), algorithm, origin: text });
  }
}

/** The failure as lines to read: where, what was expected, what came. */
export const describeFailure = (one: OfficialCase, failure: Failure): string =>
  [
    `${one.name} message ${failure.step} (${failure.operation}) of ${one.file}`,
    ...failure.differences.map(({ path, expected, got }) => `  ${path}\n    expected ${expected}\n    got      ${got}`),
  ].join('\n');
