import {
  childOf,
  childrenOf,
  compareVersions,
  type Item,
  ItemType,
  KMIP_VERSIONS,
  type KmipVersion,
  knownTag,
  livesIn,
  OPERATIONS,
  showTag,
  writeXml,
} from '@aegis/kmip-ttlv';
import { KNOWN_GAPS } from './known-gaps.js';
import type { OfficialCase } from './official-cases.js';
import { readExpected } from './placeholders.js';
import { casesOf } from './transpose.js';

// docs/kmip/support-matrix.md, from the official cases that pass: the suite runs every case and holds the list of known gaps, so what is neither
// listed nor failing has happened over the wire.

/** Profiles of the standard by the prefix of their cases (KMIP Profiles 2.1 §5, 1.4 §5). */
const PROFILES: readonly (readonly [RegExp, string])[] = [
  [/^BL-/, 'Baseline Server'],
  [/^MSGENC-HTTPS/, 'HTTPS Server'],
  [/^MSGENC-JSON/, 'JSON Server'],
  [/^MSGENC-XML/, 'XML Server'],
  [/^SKLC/, 'Symmetric Key Lifecycle Server'],
  [/^SKFF/, 'Symmetric Key Foundry Server'],
  [/^AKLC/, 'Asymmetric Key Lifecycle Server'],
  [/^CS-BC/, 'Basic Cryptographic Server'],
  [/^CS-AC/, 'Advanced Cryptographic Server'],
  [/^CS-RNG/, 'RNG Cryptographic Server'],
  [/^OMOS/, 'Opaque Managed Object Store Server'],
  [/^SASED/, 'Storage Array with Self-Encrypting Drives Server'],
  [/^TL-/, 'Tape Library Server'],
  [/^AX-/, 'AES XTS Server'],
  [/^QS-/, 'Quantum Safe Server'],
  [/^PKCS11/, 'PKCS#11 Server'],
  [/^SUITEB_128/, 'Suite B minLOS_128 Server'],
  [/^SUITEB_192/, 'Suite B minLOS_192 Server'],
  [/^TC-/, 'Test cases outside the profiles'],
];

const TAG = {
  batchItem: knownTag('BatchItem'),
  operation: knownTag('Operation'),
  status: knownTag('ResultStatus'),
  objectType: knownTag('ObjectType'),
  request: knownTag('RequestPayload'),
  response: knownTag('ResponsePayload'),
} as const;

const NOT_ON_OBJECTS: ReadonlySet<string> = new Set([
  'Query',
  'Locate',
  'Interop',
  'RNGRetrieve',
  'RNGSeed',
  'Hash',
  'Log',
  'Login',
  'PKCS_11',
  'DiscoverVersions',
]);
/** Requests of the server to a client that took the server's role with Set Endpoint Role, which 2.0 brought. */
const TO_CLIENTS: ReadonlySet<string> = new Set(['Notify', 'Put']);

interface Seen {
  /** Successful batch items by version and operation. */
  readonly operations: Map<string, number>;
  /** Operations that succeeded by version and object type. */
  readonly objects: Map<string, Set<string>>;
  /** Passing and all cases by version and profile. */
  readonly profiles: Map<string, { passed: number; all: number }>;
}

const nameIn = (item: Item | undefined): string => (item === undefined ? '' : (/value="([^"]*)"/.exec(writeXml(item))?.[1] ?? ''));
const batchOf = (message: Item): Item[] => childrenOf(message).filter((item) => item.tag === TAG.batchItem);
const identifiersIn = (payload: Item | undefined): string[] =>
  payload === undefined
    ? []
    : childrenOf(payload)
        .filter((item) => /UniqueIdentifier$/.test(showTag(item.tag)) && item.type !== ItemType.Structure)
        .map((item) => `${showTag(item.tag)} ${String(item.value)}`);
const bare = (identifier: string): string => identifier.replace(/^\w+ /, '');

/** The object types that the items of a case are about, followed through its identifiers. */
function lookAt(one: OfficialCase, version: KmipVersion, seen: Seen): void {
  const types = new Map<string, string>();
  let placeholder = '';
  for (const { request, response } of one.steps) {
    const [asked, answered] = [batchOf(readExpected(request)), batchOf(readExpected(response))];
    for (const [i, answer] of answered.entries()) {
      if (nameIn(childOf(answer, TAG.status)) !== 'Success') continue;
      const operation = nameIn(childOf(answer, TAG.operation));
      const [sent, got] = [childOf(asked[i] ?? answer, TAG.request), childOf(answer, TAG.response)];
      const stated =
        nameIn(sent === undefined ? undefined : childOf(sent, TAG.objectType)) ||
        nameIn(got === undefined ? undefined : childOf(got, TAG.objectType));
      for (const identifier of identifiersIn(got)) {
        const half = /^(Private|Public)Key/.exec(identifier)?.[1];
        const type = half === undefined ? stated : `${half}Key`;
        if (type !== '') types.set(bare(identifier), type);
        placeholder = bare(identifier);
      }
      const about = identifiersIn(sent).map(bare)[0] ?? placeholder;
      const type = stated || types.get(about) || '';
      count(seen, version, operation, NOT_ON_OBJECTS.has(operation) ? '' : type);
    }
  }
}

function count(seen: Seen, version: KmipVersion, operation: string, type: string): void {
  const key = `${version} ${operation}`;
  seen.operations.set(key, (seen.operations.get(key) ?? 0) + 1);
  if (type === '') return;
  const row = seen.objects.get(`${version} ${type}`) ?? new Set();
  seen.objects.set(`${version} ${type}`, row.add(operation));
}

function collect(): Seen {
  const seen: Seen = { operations: new Map(), objects: new Map(), profiles: new Map() };
  for (const version of KMIP_VERSIONS)
    for (const one of casesOf(version)) {
      const passes = KNOWN_GAPS[one.name] === undefined;
      const profile = PROFILES.find(([prefix]) => prefix.test(one.name))?.[1];
      if (profile === undefined) throw new Error(`${one.name} belongs to no profile of the list`);
      const row = seen.profiles.get(`${version} ${profile}`) ?? { passed: 0, all: 0 };
      seen.profiles.set(`${version} ${profile}`, { passed: row.passed + Number(passes), all: row.all + 1 });
      if (passes) lookAt(one, version, seen);
    }
  return seen;
}

const table = (head: string, rows: readonly (readonly string[])[]): string =>
  [
    `| ${head} | ${KMIP_VERSIONS.join(' | ')} |`,
    `|---|${KMIP_VERSIONS.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');

/** The page. `served` are the operations that the plane has a handler for. */
export function writeMatrix(served: ReadonlySet<string>): string {
  const seen = collect();
  const operations = OPERATIONS.map((row) => [
    row.name,
    ...KMIP_VERSIONS.map((version) => {
      if (!livesIn(row, version)) return '';
      const times = seen.operations.get(`${version} ${row.name}`);
      if (TO_CLIENTS.has(row.name)) return compareVersions(version, '2.0') >= 0 ? 'sent' : '–';
      return times !== undefined ? String(times) : served.has(row.name) ? 'yes' : '–';
    }),
  ]);
  const types = [...new Set([...seen.objects.keys()].map((key) => key.slice(4)))].sort();
  const objects = types.map((type) => [
    type,
    ...KMIP_VERSIONS.map((version) => [...(seen.objects.get(`${version} ${type}`) ?? [])].sort().join(', ')),
  ]);
  const profiles = PROFILES.map(([, profile]) => [
    profile,
    ...KMIP_VERSIONS.map((version) => {
      const row = seen.profiles.get(`${version} ${profile}`);
      return row === undefined ? '' : row.passed === row.all ? `${row.all}` : `${row.passed} of ${row.all}`;
    }),
  ]);
  const gaps = Object.entries(KNOWN_GAPS).map(([name, reason]) => `| ${name} | ${reason} |`);
  return `<!-- Written by the suite from the official cases it runs: AEGIS_WRITE_DOCS=1 npx vitest run --config test/config/vitest.config.ts test/vectors/support-matrix -->

# KMIP support matrix

From the official cases of OASIS (KMIP Profiles and Test Cases), run over TLS against the real server and compared message by message; those of 1.3 and 2.0,
for which none were published, are their neighbours' as far as the version's tables have everything in them. 3.0 follows the published draft cases.

## Operations

A number is how often the operation succeeded in official cases that pass; \`yes\` means that the server has it and other tests use it, without an official case;
\`sent\` that the server sends it to clients that take the server role; \`–\` that it is not served; an empty cell that the version does not have it.

${table('operation', operations)}

## Object types

The operations that succeeded on objects of the type.

${table('object type', objects)}

## Profiles

Cases that pass, by the profile they prove.

${table('profile', profiles)}

## Cases that do not pass

${gaps.length === 0 ? 'None.' : `| case | reason |\n|---|---|\n${gaps.join('\n')}`}
`;
}
