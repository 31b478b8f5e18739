import { Type } from '@sinclair/typebox';
import type { AuditFilter } from '../../../domain/index.js';
import { toCsv } from '../audit-csv.js';
import { closed, timestamp, word } from '../schema-kinds.js';
import { AuditHealthOut, AuditRecordOut, page, paging } from '../shapes.js';
import { auditHealthView, auditView, given, pageView } from '../views.js';
import { jsonRoute, type Route, rawRoute, streamRoute } from './route.js';

const idText = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 256, description }));

const filterFields = {
  actor: idText('Principal id.'),
  parent: idText('The human an agent acted for.'),
  action: idText('Policy action, e.g. `keys:sign`.'),
  operation: idText('Operation, e.g. `sign`.'),
  resource: idText('Object or other resource, by id.'),
  outcome: Type.Optional(word(['intent', 'success', 'refused', 'failed'] as const, { description: 'Outcome.' })),
  since: Type.Optional(timestamp('At or after.')),
  until: Type.Optional(timestamp('Before.')),
  requestId: idText('Request id.'),
  plane: idText('Plane: rest, kmip, pkcs11 …'),
};
interface FilterIn {
  readonly actor?: string;
  readonly parent?: string;
  readonly action?: string;
  readonly operation?: string;
  readonly resource?: string;
  readonly outcome?: 'intent' | 'success' | 'refused' | 'failed';
  readonly since?: number;
  readonly until?: number;
  readonly requestId?: string;
  readonly plane?: string;
}
const toFilter = (query: FilterIn): AuditFilter => ({
  ...given('actor', query.actor),
  ...given('parent', query.parent),
  ...given('action', query.action),
  ...given('operation', query.operation),
  ...given('resource', query.resource),
  ...given('outcome', query.outcome),
  ...given('since', query.since),
  ...given('until', query.until),
  ...given('requestId', query.requestId),
  ...given('plane', query.plane),
});

const MEDIA = {
  json: 'application/json; charset=utf-8',
  jsonl: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
} as const;

export const AUDIT_ROUTES: readonly Route[] = [
  rawRoute({
    id: 'list-audit',
    method: 'GET',
    path: '/v1/audit',
    group: 'audit',
    operation: 'list-audit',
    summary: 'List audit records, newest first',
    description: '`format` only changes how the page is written; for a verifiable export use /v1/audit/export.',
    query: closed({
      ...filterFields,
      format: Type.Optional(word(['json', 'jsonl', 'csv'] as const, { description: 'Default json.' })),
      ...paging,
    }),
    media: ['application/json', 'application/x-ndjson', 'text/csv'],
    schema: page(AuditRecordOut, 'AuditPage'),
    toRequest: ({ query }) => ({ ...toFilter(query), limit: query.limit ?? 100, ...given('cursor', query.cursor) }),
    toRaw: (response, { query }) => {
      const format = query.format ?? 'json';
      const view = pageView(response, auditView);
      const next = given('next', response.next);
      if (format === 'csv') return { type: MEDIA.csv, body: toCsv(response.items), ...next };
      if (format === 'jsonl') return { type: MEDIA.jsonl, body: view.items.map((item) => `${JSON.stringify(item)}\n`).join(''), ...next };
      return { type: MEDIA.json, body: JSON.stringify(view), ...next };
    },
    example: { query: { outcome: 'refused', since: '2026-01-31T00:00:00Z' } },
    cli: 'aegis audit list --outcome refused',
  }),
  streamRoute({
    id: 'export-audit',
    method: 'GET',
    path: '/v1/audit/export',
    group: 'audit',
    operation: 'export-audit',
    summary: 'Export audit records',
    description:
      'Streamed in chain order. `jsonl` holds every record with its chain link and the signed checkpoints, and is what `aegis audit verify` checks; `csv` is for reading, safe against formula injection, and cannot be verified.',
    query: closed({ ...filterFields, format: Type.Optional(word(['jsonl', 'csv'] as const, { description: 'Default jsonl.' })) }),
    media: ['application/x-ndjson', 'text/csv'],
    toRequest: ({ query }) => ({ ...toFilter(query), format: query.format ?? 'jsonl' }),
    toStream: (response, { query }) => {
      const format = query.format ?? 'jsonl';
      return {
        type: MEDIA[format],
        chunks: response.chunks,
        headers: { 'Content-Disposition': `attachment; filename="audit.${format}"` },
      };
    },
    example: { query: { format: 'jsonl' } },
    cli: 'aegis audit export --format jsonl --out log.jsonl',
  }),
  jsonRoute({
    id: 'verify-audit',
    method: 'POST',
    path: '/v1/audit/verify',
    group: 'audit',
    operation: 'verify-audit',
    summary: 'Verify the audit log in place',
    description: 'Recomputes every chain and checkpoint and names the first bad record.',
    body: closed({ since: Type.Optional(timestamp('Only records at or after.')) }),
    bodyOptional: true,
    response: Type.Object(
      {
        valid: Type.Boolean(),
        records: Type.Integer(),
        chains: Type.Integer(),
        checkpoints: Type.Integer(),
        firstBad: Type.Optional(Type.Object({ node: Type.String(), boot: Type.String(), sequence: Type.Integer(), reason: Type.String() })),
        problems: Type.Array(Type.String()),
        notes: Type.Optional(Type.Array(Type.String(), { description: 'What could not be checked, and why.' })),
        omitted: Type.Optional(Type.Integer({ description: 'Hash-only links of records left out.' })),
        provenTreeSize: Type.Optional(Type.Integer({ description: 'Tree size that a signed checkpoint proves.' })),
        keyFingerprints: Type.Optional(Type.Array(Type.String(), { description: 'SHA-256 of the checkpoint keys seen; pin yours.' })),
      },
      { title: 'AuditVerification' },
    ),
    success: 200,
    toRequest: ({ body }) => given('since', body.since),
    fromResponse: (r) => ({
      valid: r.valid,
      records: r.records,
      chains: r.chains,
      checkpoints: r.checkpoints,
      ...given('firstBad', r.firstBad === undefined ? undefined : { ...r.firstBad }),
      problems: [...r.problems],
      ...given('notes', r.notes === undefined ? undefined : [...r.notes]),
      ...given('omitted', r.omitted),
      ...given('provenTreeSize', r.provenTreeSize),
      ...given('keyFingerprints', r.keyFingerprints === undefined ? undefined : [...r.keyFingerprints]),
    }),
    example: { body: {}, response: { valid: true, records: 1200, chains: 2, checkpoints: 8, problems: [] } },
    cli: 'aegis audit verify',
  }),
  jsonRoute({
    id: 'audit-health',
    method: 'GET',
    path: '/v1/audit/health',
    group: 'audit',
    operation: 'audit-health',
    summary: 'State of the audit log',
    response: AuditHealthOut,
    success: 200,
    toRequest: () => ({}),
    fromResponse: auditHealthView,
    example: { response: { state: 'ok', pending: 0, unsequenced: 12 } },
    cli: 'aegis audit health',
  }),
];
