import type { AuditRecord } from '../../domain/index.js';
import { toTimestamp } from './schema-kinds.js';

/** Columns of the CSV form, in order. */
const COLUMNS: readonly (readonly [string, (r: AuditRecord) => unknown])[] = [
  ['id', (r) => r.id],
  ['at', (r) => toTimestamp(r.at)],
  ['tenant', (r) => r.tenant],
  ['node', (r) => r.node],
  ['plane', (r) => r.plane],
  ['requestId', (r) => r.requestId],
  ['actorKind', (r) => r.actor.kind],
  ['actorId', (r) => r.actor.id],
  ['actorName', (r) => r.actor.name],
  ['parentId', (r) => r.actor.parentId],
  ['method', (r) => r.actor.method],
  ['credentialId', (r) => r.actor.credentialId],
  ['operation', (r) => r.operation],
  ['action', (r) => r.action],
  ['resourceType', (r) => r.resource?.type],
  ['resourceId', (r) => r.resource?.id],
  ['resourceName', (r) => r.resource?.name],
  ['outcome', (r) => r.outcome],
  ['fault', (r) => r.fault],
  ['statement', (r) => r.statement],
  ['riskScore', (r) => r.risk?.score],
  ['source', (r) => r.source],
  ['durationUs', (r) => r.durationUs],
  ['detail', (r) => (r.detail === undefined ? undefined : JSON.stringify(r.detail))],
  ['chainNode', (r) => r.chain?.node],
  ['boot', (r) => r.chain?.boot],
  ['sequence', (r) => r.chain?.sequence],
  ['hash', (r) => r.chain?.hash],
];

/**
 * One field (RFC 4180). A text that a spreadsheet would run as a formula gets an apostrophe in front
 * (OWASP CSV injection: `=`, `+`, `-`, `@`, tab, carriage return, and their full-width forms).
 */
export function csvField(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const raw = String(value);
  const safe = /^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]/u.test(raw) || /^[\t\r\n]/.test(raw) ? `'${raw}` : raw;
  return /[",\r\n;']/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const HEADER = `${COLUMNS.map(([name]) => name).join(',')}\r\n`;
const toRow = (record: AuditRecord): string => `${COLUMNS.map(([, of]) => csvField(of(record))).join(',')}\r\n`;

export const toCsv = (records: readonly AuditRecord[]): string => HEADER + records.map(toRow).join('');

/** A line of the export that is longer than this is not one of ours. */
const LINE_MAX_CHARACTERS = 4_194_304;

const isRecord = (value: unknown): value is AuditRecord =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as AuditRecord).id === 'string' &&
  typeof (value as AuditRecord).at === 'number';

/** A line is a record itself, or an object that holds one under `record` with its chain link beside it; checkpoints have no row in CSV. */
function lineToRow(line: string): string {
  const value = JSON.parse(line) as { record?: unknown; chain?: AuditRecord['chain'] };
  if (isRecord(value)) return toRow(value);
  if (isRecord(value.record)) return toRow(value.chain === undefined ? value.record : { ...value.record, chain: value.chain });
  return '';
}

/** JSON lines → CSV, as they arrive; never holds more than one chunk and one unfinished line. */
export async function* jsonLinesToCsv(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield Buffer.from(HEADER);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > LINE_MAX_CHARACTERS && !rest.includes('\n')) throw new Error('audit export: a line is too long');
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    const rows = lines
      .filter((line) => line !== '')
      .map(lineToRow)
      .join('');
    if (rows !== '') yield Buffer.from(rows);
  }
  rest += decoder.decode();
  const last = rest === '' ? '' : lineToRow(rest);
  if (last !== '') yield Buffer.from(last);
}
