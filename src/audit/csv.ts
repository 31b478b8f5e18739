import type { ChainedRecord } from '../storage/ports.js';
import { canonicalJson } from './canonical.js';

type Cell = string | number | undefined;

/** CSV columns in order; one row per record. Times are UTC, RFC 3339 with milliseconds. */
const COLUMNS: readonly (readonly [name: string, read: (row: ChainedRecord) => Cell])[] = [
  ['time', ({ record }) => (Math.abs(record.at) <= 8.64e15 ? new Date(record.at).toISOString() : record.at)],
  ['id', ({ record }) => record.id],
  ['tenant', ({ record }) => record.tenant],
  ['plane', ({ record }) => record.plane],
  ['requestId', ({ record }) => record.requestId],
  ['actorKind', ({ record }) => record.actor.kind],
  ['actorId', ({ record }) => record.actor.id],
  ['actorName', ({ record }) => record.actor.name],
  ['actorParentId', ({ record }) => record.actor.parentId],
  ['method', ({ record }) => record.actor.method],
  ['credentialId', ({ record }) => record.actor.credentialId],
  ['operation', ({ record }) => record.operation],
  ['action', ({ record }) => record.action],
  ['resourceType', ({ record }) => record.resource?.type],
  ['resourceId', ({ record }) => record.resource?.id],
  ['resourceName', ({ record }) => record.resource?.name],
  ['outcome', ({ record }) => record.outcome],
  ['fault', ({ record }) => record.fault],
  ['statement', ({ record }) => record.statement],
  ['riskScore', ({ record }) => record.risk?.score],
  ['riskReasons', ({ record }) => record.risk?.reasons.join('; ')],
  ['source', ({ record }) => record.source],
  ['durationUs', ({ record }) => record.durationUs],
  ['detail', ({ record }) => (record.detail === undefined ? undefined : canonicalJson(record.detail))],
  ['node', ({ chain }) => chain.node],
  ['boot', ({ chain }) => chain.boot],
  ['sequence', ({ chain }) => chain.sequence],
  ['hash', ({ chain }) => chain.hash],
];

/** Characters a spreadsheet takes for the start of a formula (OWASP CSV injection), with their full-width forms. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
/** RFC 4180 §2 rules 6 and 7; blanks at the ends are quoted too because readers trim them. */
const NEEDS_QUOTES = /[",\r\n]|^\s|\s$/;

/** One cell: a leading quote mark takes the meaning from a formula; then RFC 4180 quoting. */
export const csvCell = (value: Cell): string => {
  if (value === undefined) return '';
  const text = String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Rows with CRLF, the names of the columns first. */
export async function* csvRows(records: AsyncIterable<ChainedRecord>): AsyncGenerator<string> {
  yield `${COLUMNS.map(([name]) => name).join(',')}\r\n`;
  for await (const row of records) yield `${COLUMNS.map(([, read]) => csvCell(read(row))).join(',')}\r\n`;
}
