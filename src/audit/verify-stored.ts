import type { AuditRecord, AuditVerification } from '../domain/index.js';
import type { AuditStore } from '../storage/ports.js';
import { canonicalJson } from './canonical.js';
import { pinFingerprint } from './checkpoint.js';
import { selectCheckpoints } from './export.js';
import { makeVerifier } from './verifier.js';

export interface VerifyStoredOptions {
  /** Only records from then on (milliseconds since the epoch); the start of chains and the tree are then not checked. */
  readonly since?: number;
  /** Whose records are counted; all are checked. */
  readonly tenant: string;
  readonly publicKey?: string | readonly string[];
}

const LEAVES_PER_READ = 1000;
/** Other calls get their turn after so many records (about 5 ms). */
const RECORDS_PER_TURN = 256;
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const shownText = (record: AuditRecord): string => {
  const { chain: _place, ...shown } = record;
  try {
    return canonicalJson(shown);
  } catch {
    return '';
  }
};

/** Verifies the log in the database: every chain, every checkpoint, the tree. Memory does not grow with the number of records. */
export const verifyStored = async (
  audit: Pick<AuditStore, 'checkpoints' | 'leaves' | 'stream'>,
  options: VerifyStoredOptions,
): Promise<AuditVerification> => {
  const pins = options.publicKey === undefined ? [] : [options.publicKey].flat().map(pinFingerprint);
  const complete = options.since === undefined;
  const verifier = makeVerifier({ complete, pins });
  const checkpoints = selectCheckpoints(await audit.checkpoints(options.since));
  for (const checkpoint of checkpoints) verifier.checkpoint(checkpoint);
  const size = complete ? (checkpoints.at(-1)?.treeSize ?? 0) : 0;
  for (let from = 0; from < size; ) {
    const hashes = await audit.leaves(from, Math.min(LEAVES_PER_READ, size - from));
    if (hashes.length === 0) break;
    verifier.leaves(from, hashes);
    from += hashes.length;
    await nextTurn();
  }
  let seen = 0;
  const ends = new Map<string, number>();
  for await (const { record, chain, misfiled } of audit.stream(options.since === undefined ? {} : { since: options.since })) {
    const key = JSON.stringify([chain.node, chain.boot]);
    const last = ends.get(key);
    // By time, a few records of a chain may fall outside a range whose neighbours are inside.
    if (!complete && last !== undefined && chain.sequence > last + 1) verifier.gap(chain, last + 1, chain.sequence - 1);
    ends.set(key, chain.sequence);
    // What is hashed is the record as readers get it, not the text stored beside it.
    verifier.record(record, chain, record.tenant === options.tenant, shownText(record));
    // Nothing signs the columns that searches go by, so a record could be hidden from a list while its text is untouched.
    if (misfiled !== undefined) verifier.badLast(`searches would not find it: the column ${misfiled} does not say what the record says`);
    seen += 1;
    if (seen % RECORDS_PER_TURN === 0) await nextTurn();
  }
  return verifier.finish();
};
