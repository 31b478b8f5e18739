import type { AuditRecord } from '../../domain/index.js';
import { toTimestamp } from './schema-kinds.js';

/** A page of the audit listing as CSV, in the columns of the export (a test compares them). */
const COLUMNS: readonly (readonly [name: string, read: (record: AuditRecord) => string | number | undefined])[] = [
  ['time', (r) => toTimestamp(r.at)],
  ['id', (r) => r.id],
  ['tenant', (r) => r.tenant],
  ['plane', (r) => r.plane],
  ['requestId', (r) => r.requestId],
  ['actorKind', (r) => r.actor.kind],
  ['actorId', (r) => r.actor.id],
  ['actorName', (r) => r.actor.name],
  ['actorParentId', (r) => r.actor.parentId],
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
  ['riskReasons', (r) => r.risk?.reasons.join('; ')],
  ['source', (r) => r.source],
  ['durationUs', (r) => r.durationUs],
  ['detail', (r) => (r.detail === undefined ? undefined : JSON.stringify(r.detail))],
  ['node', (r) => r.chain?.node ?? r.node],
  ['boot', (r) => r.chain?.boot],
  ['sequence', (r) => r.chain?.sequence],
  ['hash', (r) => r.chain?.hash],
];

/** What a spreadsheet takes for the start of a formula (OWASP CSV injection), with the full-width forms and blanks before. */
const FORMULA = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/;
/** RFC 4180 §2 rules 6 and 7; blanks at the ends are quoted too because readers trim them. */
const NEEDS_QUOTES = /[",\r\n]|^\s|\s$/;

export function csvCell(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const toLine = (cells: readonly string[]): string => `${cells.join(',')}\r\n`;

export const toCsv = (records: readonly AuditRecord[]): string =>
  toLine(COLUMNS.map(([name]) => name)) + records.map((record) => toLine(COLUMNS.map(([, read]) => csvCell(read(record))))).join('');
