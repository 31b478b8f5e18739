import type { RootCallName, RootDescription, RootRequest } from '../contract.js';
import { ALGORITHM_NAMES, type Algorithm, HASHES, KEY_SPEC_NAMES, type KeySpec } from '../vocabulary/index.js';
import { ALL_USAGES, type Row, rowOf, type Session, specRow, tableAllows } from './session.js';
import type { ContractRunner } from './target.js';

const CALLS: readonly RootCallName[] = [
  'generateKey',
  'generateKeyPair',
  'importKey',
  'exportKey',
  'destroyKey',
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'mac',
  'macVerify',
  'wrapKey',
  'unwrapKey',
  'derive',
  'splitKey',
  'joinKey',
  'agree',
  'encapsulate',
  'decapsulate',
  'generateDataKey',
  'reEncrypt',
  'random',
  'seedRandom',
  'digest',
  'beginOperation',
  'updateOperation',
  'finishOperation',
  'cancelOperation',
  'lookupKey',
  'adoptKey',
  'evidence',
  'rewrapReference',
  'rotateSeal',
];

const PARTABLE = (row: Row): boolean =>
  row.kind === 'mac' ||
  // CCM starts with the length of the whole message.
  (row.kind === 'cipher' && !row.families.includes('rsa') && row.name !== 'aes-ccm') ||
  (row.kind === 'signature' && row.hash !== undefined && (row.families.includes('rsa') || row.families.includes('ec')));

/** Everything the vocabulary names and this root does not have. */
const gapsOf = (description: RootDescription): readonly string[] => {
  const held = new Map(description.specs.map((line) => [line.spec, line]));
  const lines = new Map(description.algorithms.map((line) => [line.algorithm, line]));
  const gaps: string[] = CALLS.filter((call) => !description.powers.includes(call)).map((call) => `power:${call}`);
  for (const spec of KEY_SPEC_NAMES) {
    const line = held.get(spec);
    if (line === undefined) gaps.push(`spec:${spec}`);
    else if (!line.generate && !specRow(spec).importOnly) gaps.push(`generate:${spec}`);
    if (line !== undefined && !line.import) gaps.push(`import:${spec}`);
  }
  for (const algorithm of ALGORITHM_NAMES) {
    const line = lines.get(algorithm);
    if (line === undefined) gaps.push(`algorithm:${algorithm}`);
    else gaps.push(...missingSpecs(algorithm, line.specs, held).map((spec) => `algorithm:${algorithm}@${spec}`));
    if (line !== undefined && !line.multiPart && PARTABLE(rowOf(algorithm))) gaps.push(`multi-part:${algorithm}`);
  }
  return [...gaps, ...HASHES.filter((hash) => !description.hashes.includes(hash)).map((hash) => `hash:${hash}`)];
};

const missingSpecs = (algorithm: Algorithm, specs: readonly KeySpec[], held: ReadonlyMap<KeySpec, unknown>): readonly KeySpec[] =>
  KEY_SPEC_NAMES.filter((spec) => held.has(spec) && tableAllows(spec, rowOf(algorithm)) && !specs.includes(spec));

const DUMMY = new Uint8Array(64).fill(1);

/** A request that asks for just this algorithm on a key of just this spec; the reference need not be one. */
const requestFor = (row: Row, spec: KeySpec): readonly [RootCallName, unknown] => {
  const binding = { objectId: 'gap', version: 1, tenant: 'tenant-a', spec, usage: ALL_USAGES, exportable: true } as const;
  const key = { reference: DUMMY, binding };
  const newKey = { binding: { ...binding, spec: 'secret' as const }, length: 32 };
  const base = { key, algorithm: row.name };
  if (row.kind === 'cipher') return ['encrypt', { ...base, plaintext: new Uint8Array(16) }];
  if (row.kind === 'signature') return ['sign', { ...base, data: new Uint8Array(16) }];
  if (row.kind === 'mac') return ['mac', { ...base, data: new Uint8Array(16) }];
  if (row.kind === 'wrap') return ['wrapKey', { wrappingKey: key, algorithm: row.name, key }];
  if (row.kind === 'derive') return ['derive', { ...base, newKey }];
  if (row.kind === 'agree') return ['agree', { ...base, newKey, peerPublicKey: DUMMY }];
  return ['decapsulate', { key, ciphertext: DUMMY, newKey }];
};

export const defineHonesty = (session: Session, { describe, test, expect }: ContractRunner): void => {
  const ask = (call: RootCallName, request: unknown): Promise<unknown> => session.call(call, request as RootRequest<RootCallName>);

  describe('capability report', () => {
    test('every gap is listed with a reason, and nothing listed has been closed', async () => {
      const gaps = gapsOf(await session.describe());
      expect(
        gaps.filter((gap) => !session.isListed(gap)),
        'gaps of the report that the target does not list',
      ).toEqual([]);
      const listed = (session.target.expectUnsupported ?? []).filter(({ what }) => !what.startsWith('parameter:'));
      const closed = listed.filter(({ what }) => !gaps.some((gap) => matches(what, gap)));
      expect(
        closed.map(({ what }) => what),
        'listed gaps that the root does not have',
      ).toEqual([]);
      expect(
        (session.target.expectUnsupported ?? []).filter(({ reason }) => reason.trim().length < 8),
        'gaps without a reason',
      ).toEqual([]);
    });

    test('facts are plausible and never name more than the vocabulary', async () => {
      const description = await session.describe();
      expect(/^[0-9a-f]{16,}$/.test(description.fingerprint), 'fingerprint').toBe(true);
      expect(description.maxInput >= 65_536, 'maxInput').toBe(true);
      expect(description.id.length > 0 && Object.keys(description.module).length > 0, 'identity').toBe(true);
      expect(new Set(description.powers).size, 'powers are unique').toBe(description.powers.length);
      for (const line of description.algorithms) {
        const wrong = line.specs.filter((spec) => !tableAllows(spec, rowOf(line.algorithm)));
        expect(wrong, `${line.algorithm} claims specs that the table excludes`).toEqual([]);
        expect(line.mechanism.length > 0, `${line.algorithm} names its mechanism`).toBe(true);
      }
    });

    test('a power it does not have answers unsupported', async () => {
      const { powers } = await session.describe();
      for (const call of CALLS.filter((name) => !powers.includes(name))) await session.refused('unsupported', () => ask(call, {}));
      for (const call of ['constructor', '__proto__', 'toString', 'describe', 'getKeyBytes', 'close'])
        await session.refused('unsupported', () => ask(call as RootCallName, {}));
    });

    test('a specification it does not have answers unsupported', async () => {
      const { specs, powers } = await session.describe();
      for (const spec of KEY_SPEC_NAMES) {
        const line = specs.find((candidate) => candidate.spec === spec);
        const call = specRow(spec).shape === 'pair' ? 'generateKeyPair' : 'generateKey';
        if (!line?.generate && powers.includes(call))
          await session.refused('unsupported', () => ask(call, { binding: session.binding(spec) }));
        if (line?.import || !powers.includes('importKey')) continue;
        const format = specRow(spec).shape === 'pair' ? 'pkcs8' : 'raw';
        await session.refused('unsupported', () => ask('importKey', { binding: session.binding(spec), format, material: DUMMY }));
      }
    });

    for (const algorithm of ALGORITHM_NAMES) {
      test(`${algorithm} answers unsupported for every specification that is not reported`, async () => {
        const { powers } = await session.describe();
        for (const spec of KEY_SPEC_NAMES) {
          if (!tableAllows(spec, rowOf(algorithm)) || (await session.supports(algorithm, spec))) continue;
          const [call, request] = requestFor(rowOf(algorithm), spec);
          await session.refused('unsupported', () => ask(call, request));
          expect(powers.includes(call) || session.isListed(`power:${call}`), call).toBe(true);
        }
      });
    }
  });
};

const matches = (what: string, gap: string): boolean => {
  const [head = '', ...rest] = what.split('*');
  if (rest.length === 0) return what === gap;
  if (!gap.startsWith(head)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = gap.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return rest.at(-1) === '' || gap.endsWith(rest.at(-1) ?? '');
};
