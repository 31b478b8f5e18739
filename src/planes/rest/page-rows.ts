import { type TSchema, Type } from '@sinclair/typebox';
import { word } from './schema-kinds.js';

/** Rows of the pages without an operation, for registration, OpenAPI and the reference. */
export interface PageRow {
  readonly id: 'live' | 'ready' | 'metrics' | 'jwks' | 'crl' | 'openapi' | 'docs';
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly media: string;
  readonly schema?: TSchema;
  readonly unavailable?: true;
}

const Readiness = Type.Object(
  {
    status: word(['ready', 'unavailable'] as const),
    ready: Type.Boolean(),
    checks: Type.Array(Type.Object({ name: Type.String(), state: Type.String(), detail: Type.Optional(Type.String()) })),
  },
  { title: 'Readiness' },
);

export const PAGES: readonly PageRow[] = [
  {
    id: 'live',
    path: '/health/live',
    summary: 'Liveness',
    description: 'The process answers.',
    media: 'application/json',
    schema: Type.Object({ status: Type.String(), version: Type.String() }, { title: 'Liveness' }),
  },
  {
    id: 'ready',
    path: '/health/ready',
    summary: 'Readiness',
    description: '200 when every part works, 503 otherwise; names what is down either way.',
    media: 'application/json',
    schema: Readiness,
    unavailable: true,
  },
  { id: 'metrics', path: '/metrics', summary: 'Metrics', description: 'Prometheus text format.', media: 'text/plain' },
  {
    id: 'jwks',
    path: '/.well-known/jwks.json',
    summary: 'Published public keys',
    description:
      'JSON Web Key Set (RFC 7517) of the active and deactivated keys tagged `publish=jwks`, newest five versions each, `kid` = `id@version`. Kept for up to 30 seconds.',
    media: 'application/jwk-set+json',
    schema: Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) }, { title: 'JwkSet' }),
  },
  {
    id: 'crl',
    path: '/.well-known/crl',
    summary: 'Certificate revocation list',
    description:
      'DER (RFC 5280 §5) of the issuing authority of the tenant `default`, or of the one named by `?authority=ID`. Kept for up to 30 seconds.',
    media: 'application/pkix-crl',
  },
  { id: 'openapi', path: '/openapi.json', summary: 'This description', description: 'OpenAPI 3.1.', media: 'application/json' },
  { id: 'docs', path: '/docs', summary: 'Interactive description', description: 'Served from local files only.', media: 'text/html' },
];
