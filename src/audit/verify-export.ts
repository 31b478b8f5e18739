import type { AuditRecord, AuditVerification, ChainLink } from '../domain/index.js';
import { canonicalJson } from './canonical.js';
import { HASH_HEX } from './chain.js';
import { isCheckpoint, pinFingerprint } from './checkpoint.js';
import { EXPORT_FORMAT, EXPORT_VERSION, type ExportHeader, type ExportTrailer, makeLineDigest, type Omitted } from './export-format.js';
import { makeVerifier, type Verifier } from './verifier.js';

export interface VerifyOptions {
  /** Checkpoint key(s) to trust: PEM, base64 SubjectPublicKeyInfo or its SHA-256 in hex. Absent: the key in the file, with a note. */
  readonly publicKey?: string | readonly string[];
}

const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;
const SECTIONS = ['header', 'checkpoint', 'leaves', 'record', 'trailer'] as const;
type Section = (typeof SECTIONS)[number];

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isSequence = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH_HEX.test(value);
const isChain = (value: unknown): value is ChainLink =>
  isObject(value) &&
  Object.keys(value).length === 5 &&
  [value['node'], value['boot']].every((name) => typeof name === 'string') &&
  isSequence(value['sequence']) &&
  [value['previous'], value['hash']].every(isHash);
const isOmitted = (value: unknown): value is Omitted => {
  if (!isObject(value) || typeof value['node'] !== 'string' || typeof value['boot'] !== 'string' || !isSequence(value['from']))
    return false;
  const { hashes, to } = value;
  if (Array.isArray(hashes)) return to === undefined && hashes.length > 0 && hashes.every(isHash);
  return hashes === undefined && isSequence(to) && to >= value['from'];
};

/** A record line's hash covers the whole `record` member, so it is compared as it stands in the line. */
const recordText = (line: string, chain: ChainLink): string => line.slice(`{"chain":${canonicalJson(chain)},"record":`.length, -1);

/** Feeds one line to the verifier; returns the section it belongs to, or why it can't be read. */
const feed = (verifier: Verifier, line: string, value: Record<string, unknown>): Section | string => {
  const { chain, record, omitted, checkpoint, leaves } = value;
  if ('record' in value) {
    if (!isChain(chain) || !isObject(record) || Object.keys(value).length !== 2) return 'is not a record with its place in a chain';
    verifier.record(record as unknown as AuditRecord, chain, true, recordText(line, chain));
    return 'record';
  }
  if (Object.keys(value).length !== 1) return 'is not a line of an audit export';
  if ('omitted' in value) {
    if (!isOmitted(omitted)) return 'does not say which records are left out';
    if (omitted.hashes !== undefined) verifier.omitted(omitted, omitted.from, omitted.hashes);
    else verifier.gap(omitted, omitted.from, omitted.to ?? omitted.from);
    return 'record';
  }
  if ('checkpoint' in value) {
    if (!isCheckpoint(checkpoint)) return 'is not a checkpoint';
    verifier.checkpoint(checkpoint);
    return 'checkpoint';
  }
  if ('leaves' in value) {
    const { from, hashes } = isObject(leaves) ? leaves : {};
    if (typeof from !== 'number' || !Array.isArray(hashes) || !hashes.every(isHash)) return 'is not a run of leaves';
    verifier.leaves(from, hashes);
    return 'leaves';
  }
  return 'is not a line of an audit export';
};

/** Parses a line that must be exactly its own canonical form: otherwise it could show one thing here and another elsewhere. */
const parseLine = (line: string): Record<string, unknown> | string => {
  if (line.length > MAX_LINE_CHARACTERS) return 'is longer than any line of an export';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'is not JSON (cut off or changed)';
  }
  if (!isObject(value)) return 'is not a JSON object';
  try {
    return canonicalJson(value) === line ? value : 'is not in canonical form: it was changed';
  } catch {
    return 'has no canonical form';
  }
};

const parseHeader = (line: string | undefined): ExportHeader | string => {
  const value = parseLine(line ?? '');
  if (typeof value === 'string') return `The file is not an audit export: its first line ${value}.`;
  if (value['format'] !== EXPORT_FORMAT) return 'The file is not an audit export: its first line is not the header of one.';
  if (value['version'] !== EXPORT_VERSION)
    return `The export has version ${String(value['version']).slice(0, 20)}; this program reads version ${EXPORT_VERSION}.`;
  if (typeof value['complete'] !== 'boolean' || typeof value['tenant'] !== 'string') return 'The header of the export is damaged.';
  const filter = isObject(value['filter']) ? value['filter'] : {};
  if (value['complete'] !== (filter['since'] === undefined && filter['until'] === undefined))
    return 'The header of the export contradicts itself: only a range of time makes an export a part of the log.';
  return value as unknown as ExportHeader;
};

const trailerProblem = (stated: unknown, actual: ExportTrailer): string | undefined => {
  if (!isObject(stated)) return 'the trailer is damaged';
  for (const name of ['records', 'omitted', 'checkpoints', 'lines'] as const)
    if (stated[name] !== actual[name]) return `the trailer counts ${String(stated[name])} ${name}, the file has ${actual[name]}`;
  return stated['sha256'] === actual.sha256 ? undefined : 'the file was changed: its SHA-256 is not the one in the trailer';
};

const notAnExport = (reason: string): AuditVerification => ({ valid: false, records: 0, chains: 0, checkpoints: 0, problems: [reason] });

/** Everything after the header; says what it found to the verifier. */
const readBody = async (lines: AsyncIterator<string>, headerText: string, verifier: Verifier): Promise<void> => {
  const digest = makeLineDigest();
  digest.add(headerText);
  const counts = { records: 0, omitted: 0, checkpoints: 0 };
  let section: Section = 'header';
  let number = 1;
  for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
    const line = next.value;
    number += 1;
    if (section === 'trailer') {
      if (line === '') continue;
      verifier.problem(`line ${number}: there is something after the trailer`);
      return;
    }
    const value = parseLine(line);
    if (typeof value !== 'string' && 'trailer' in value) {
      const wrong = trailerProblem(value['trailer'], digest.trailer(counts));
      if (wrong !== undefined) verifier.problem(`line ${number}: ${wrong}`);
      section = 'trailer';
      continue;
    }
    digest.add(line);
    const read = typeof value === 'string' ? value : feed(verifier, line, value);
    if (!(SECTIONS as readonly string[]).includes(read)) {
      if (section === 'record' || section === 'leaves') verifier.badNext(`line ${number} of the file ${read}`);
      else verifier.problem(`line ${number} ${read}`);
      continue;
    }
    if (SECTIONS.indexOf(read as Section) < SECTIONS.indexOf(section))
      verifier.problem(`line ${number}: ${read} lines must come before ${section} lines`);
    section = read as Section;
    const { omitted } = value as unknown as { omitted?: Omitted };
    if (read === 'checkpoint') counts.checkpoints += 1;
    else if (omitted?.hashes !== undefined) counts.omitted += omitted.hashes.length;
    else if (read === 'record' && omitted === undefined) counts.records += 1;
  }
  if (section !== 'trailer') verifier.problem('the file is cut off: its last line, the trailer, is missing');
};

/**
 * Verifies a jsonl export offline (lines without their LF). Never throws for anything a file can contain; throws TypeError
 * when `publicKey` is not a key.
 */
export const verifyExport = async (lines: AsyncIterable<string>, options: VerifyOptions = {}): Promise<AuditVerification> => {
  const keys = options.publicKey === undefined ? [] : [options.publicKey].flat();
  const pins = keys.map(pinFingerprint);
  const iterator = lines[Symbol.asyncIterator]();
  try {
    const first = await iterator.next();
    const header = parseHeader(first.done === true ? undefined : first.value);
    if (typeof header === 'string') return notAnExport(header);
    const verifier = makeVerifier({ complete: header.complete, pins });
    await readBody(iterator, first.value as string, verifier);
    return verifier.finish();
  } finally {
    await iterator.return?.();
  }
};
