import { appendFileSync } from 'node:fs';
import type { Item } from '@aegis/kmip-ttlv';
import { afterAll, describe, expect, test } from 'vitest';
import { KNOWN_GAPS } from './known-gaps.js';
import { type OfficialCase, PREDECESSORS, skipVectors, vectorsFolder, vectorsPresent } from './official-cases.js';
import { PROVISIONS } from './provisions.js';
import { type CaseRun, describeFailure, type Failure, makeRun, runCase } from './run-case.js';
import { casesOf } from './transpose.js';
import { openVectorPlane, type VectorConnection, type VectorPlane } from './vector-plane.js';

/** Runs only the cases whose name contains this: `AEGIS_CASE=TC-ECDSA npx vitest run --config test/config/vitest.config.ts test/vectors`. */
const ONLY = process.env.AEGIS_CASE ?? '';

/** How a case is spoken: TTLV over TLS, or one of the HTTPS encodings. */
export type Encoding = 'ttlv' | 'xml' | 'json';

const chainOf = (one: OfficialCase): OfficialCase[] =>
  (PREDECESSORS[one.family] ?? []).map((family) => {
    const found = casesOf(one.version).find((other) => other.family === family);
    if (found === undefined) throw new Error(`${one.name} goes on after ${family}, which ${one.version} does not have`);
    return found;
  });

/** The case on a tenant of its own, after what it builds on. */
async function runOn(plane: VectorPlane, one: OfficialCase, encoding: Encoding): Promise<Failure | undefined> {
  const run: CaseRun = makeRun();
  const connection: VectorConnection = await plane.open({ encoding, settings: PROVISIONS[one.family]?.settings ?? {} });
  const exchange = (request: Item): Promise<Item> => connection.exchange(request);
  try {
    await PROVISIONS[one.family]?.prepare?.(connection, one.version);
    for (const before of chainOf(one)) {
      const failure = await runCase(before, exchange, run);
      if (failure !== undefined) return failure;
      // The next case starts with names of its own for the same objects.
      run.bindings.values.clear();
    }
    return await runCase(one, exchange, run);
  } finally {
    await connection.close();
  }
}

/** A line of JSON for each case, for whoever works the failures off: `AEGIS_VECTOR_REPORT=/tmp/report.jsonl`. */
function report(name: string, one: OfficialCase, failure: Failure | undefined): void {
  const file = process.env.AEGIS_VECTOR_REPORT;
  if (file === undefined) return;
  const first = failure?.differences.map(({ path, expected, got }) => ({ path, expected, got }));
  appendFileSync(
    file,
    `${JSON.stringify({ name, file: one.file, step: failure?.step, operation: failure?.operation, differences: first })}\n`,
  );
}

/** One test for each case; a case on the list of known gaps must fail. */
export function describeCases(title: string, read: () => readonly OfficialCase[], encoding: Encoding = 'ttlv'): void {
  if (!vectorsPresent) {
    test.skipIf(skipVectors)(`${title}: set AEGIS_VECTORS to the folder that holds kmip/vectors`, () => {
      throw new Error(`${vectorsFolder} is absent`);
    });
    return;
  }
  const cases = read();
  const label = (one: OfficialCase): string => (encoding === 'ttlv' ? one.name : `${one.name} (${encoding})`);
  const chosen = cases.filter((one) => label(one).includes(ONLY));
  if (chosen.length === 0) return;
  describe(`${title}, ${cases.length} cases`, () => {
    let plane: Promise<VectorPlane> | undefined;
    afterAll(async () => (await plane)?.close());
    for (const one of chosen) {
      const reason = KNOWN_GAPS[label(one)];
      test(reason === undefined ? label(one) : `${label(one)}: known gap (${reason})`, async () => {
        plane ??= openVectorPlane();
        const failure = await runOn(await plane, one, encoding);
        report(label(one), one, failure);
        if (reason === undefined) expect(failure === undefined ? 'passes' : describeFailure(one, failure)).toBe('passes');
        else expect(failure, `${label(one)} passes: take it off known-gaps.ts`).toBeDefined();
      });
    }
  });
}
