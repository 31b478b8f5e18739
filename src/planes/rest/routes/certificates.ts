import { Type } from '@sinclair/typebox';
import {
  type AuthorityView,
  CERTIFICATE_PURPOSES,
  CERTIFICATE_STATES,
  type CertificateView,
  type NewObject,
  type OperationResponse,
} from '../../../domain/index.js';
import { toETag } from '../etag.js';
import { closed, int, text, textPairs, timestamp, timestampOut, toBase64, toTimestamp, word } from '../schema-kinds.js';
import { ByKey, Id, KeyRef, Name, page, paging, Reason, Spec } from '../shapes.js';
import { given, pageView, toPem } from '../views.js';
import { requestDer } from './certificate-request-text.js';
import { jsonRoute, type Route, rawRoute } from './route.js';

const PurposeName = word(CERTIFICATE_PURPOSES);
const StateName = word(CERTIFICATE_STATES);
const purposes = Type.Array(PurposeName, {
  minItems: 1,
  maxItems: CERTIFICATE_PURPOSES.length,
  uniqueItems: true,
  description: 'Extended key usage. Default `client`.',
});
const authority = { ...KeyRef, description: 'Authority, by id or name. Default: the newest active one.' } as typeof KeyRef;
const csr = Type.String({
  minLength: 1,
  maxLength: 131_072,
  description: 'PKCS#10 request, PEM or base64 of its DER. Its signature is checked.',
});

const CertificateOut = Type.Object(
  {
    id: Type.String(),
    tenant: Type.String(),
    name: Type.Optional(Type.String()),
    names: Type.Array(Type.String()),
    state: StateName,
    subject: Type.String({ description: 'RFC 4514, most specific first.' }),
    issuer: Type.String(),
    subjectAltNames: Type.Array(Type.String()),
    serial: Type.String({ description: 'Hex.' }),
    fingerprint: Type.String({ description: 'SHA-256 of the DER, hex.' }),
    purposes: Type.Array(PurposeName),
    notBefore: timestampOut('Valid from.'),
    notAfter: timestampOut('Valid until.'),
    authority: Type.String({ description: 'Key of the authority.' }),
    principalId: Type.Optional(Type.String({ description: 'Whoever presents it is this principal.' })),
    revocation: Type.Optional(
      Type.Object({ reason: Reason, message: Type.Optional(Type.String()), at: timestampOut('When it was revoked.') }),
    ),
    replaces: Type.Optional(Type.String()),
    replacedBy: Type.Optional(Type.String()),
    certificate: Type.Optional(Type.String({ description: 'PEM.' })),
    revision: Type.Integer({ description: 'The ETag.' }),
  },
  { title: 'Certificate' },
);
const AuthorityOut = Type.Object(
  {
    id: Type.String({ description: 'Id of the key.' }),
    certificateId: Type.String(),
    tenant: Type.String(),
    names: Type.Array(Type.String()),
    isDefault: Type.Boolean({ description: 'Issues where no authority is named.' }),
    state: word(['active', 'retired'] as const),
    subject: Type.String(),
    spec: Type.String(),
    root: Type.String({ description: 'Root of trust that holds its key.' }),
    serial: Type.String(),
    fingerprint: Type.String(),
    notBefore: timestampOut('Valid from.'),
    notAfter: timestampOut('Valid until.'),
    certificate: Type.String({ description: 'PEM.' }),
  },
  { title: 'CertificateAuthority' },
);

const certificateView = (view: CertificateView) => ({
  id: view.id,
  tenant: view.tenant,
  ...given('name', view.names[0]),
  names: [...view.names],
  state: view.state,
  subject: view.subject,
  issuer: view.issuer,
  subjectAltNames: [...view.subjectAltNames],
  serial: view.serial,
  fingerprint: view.fingerprint,
  purposes: [...view.purposes],
  notBefore: toTimestamp(view.notBefore),
  notAfter: toTimestamp(view.notAfter),
  authority: view.authority,
  ...given('principalId', view.principalId),
  ...given(
    'revocation',
    view.revocation === undefined
      ? undefined
      : { reason: view.revocation.reason, ...given('message', view.revocation.message), at: toTimestamp(view.revocation.at) },
  ),
  ...given('replaces', view.replaces),
  ...given('replacedBy', view.replacedBy),
  ...given('certificate', view.certificate === undefined ? undefined : toPem('CERTIFICATE', view.certificate)),
  revision: view.revision,
});
const authorityView = (view: AuthorityView) => ({
  ...view,
  names: [...view.names],
  notBefore: toTimestamp(view.notBefore),
  notAfter: toTimestamp(view.notAfter),
  certificate: toPem('CERTIFICATE', view.certificate),
});
const certificateHeaders = (view: CertificateView) => ({ ETag: toETag(view.revision), Location: `/v1/certificates/${view.id}` });

/** Fields of every request that issues. */
const content = {
  name: Type.Optional({ ...Name, description: 'Alias of the certificate.' } as typeof Name),
  subject: Type.Optional(text(2048, { description: 'RFC 4514: `CN=array-7,O=Bank`. Default: the request’s.' })),
  subjectAltNames: Type.Optional(
    Type.Array(text(2048), { maxItems: 100, description: '`dns:…`, `ip:…`, `email:…`, `uri:…`. Default: the request’s.' }),
  ),
  days: Type.Optional(int(1, 36_500, { description: 'Life time; ends with the authority at the latest. Default 365.' })),
  purposes: Type.Optional(purposes),
  authority: Type.Optional(authority),
  tags: Type.Optional(textPairs('Tags.')),
};
interface ContentWire {
  readonly name?: string;
  readonly subject?: string;
  readonly subjectAltNames?: readonly string[];
  readonly days?: number;
  readonly purposes?: readonly (typeof CERTIFICATE_PURPOSES)[number][];
  readonly authority?: string;
  readonly tags?: NonNullable<NewObject['tags']>;
}
const toContent = (body: ContentWire) => ({
  ...given('names', body.name === undefined ? undefined : [body.name]),
  ...given('subject', body.subject),
  ...given('subjectAltNames', body.subjectAltNames),
  ...given('days', body.days),
  ...given('purposes', body.purposes),
  ...given('authority', body.authority),
  ...given('tags', body.tags),
});

const CRL_MEDIA = ['application/pkix-crl', 'application/x-pem-file', 'application/json'] as const;
const CrlOut = Type.Object(
  {
    crl: Type.String({ description: 'PEM.' }),
    authority: Type.String(),
    number: Type.Number(),
    entries: Type.Integer(),
    thisUpdate: timestampOut('Made.'),
    nextUpdate: timestampOut('A newer one is due by then.'),
  },
  { title: 'RevocationList' },
);
const crlAnswer = (r: OperationResponse<'get-crl'>, accept: string) => {
  if (accept.includes('application/json')) {
    const { crl, thisUpdate, nextUpdate, ...rest } = r;
    const body = { crl: toPem('X509 CRL', crl), ...rest, thisUpdate: toTimestamp(thisUpdate), nextUpdate: toTimestamp(nextUpdate) };
    return { type: 'application/json; charset=utf-8', body: JSON.stringify(body) };
  }
  if (accept.includes('pem')) return { type: 'application/x-pem-file', body: toPem('X509 CRL', r.crl) };
  return { type: 'application/pkix-crl', body: Buffer.from(r.crl) };
};

const EXAMPLE_ID = '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a12';
const EXAMPLE_CSR = toBase64(new Uint8Array([0x30, 0x00]));

export const CERTIFICATE_ROUTES: readonly Route[] = [
  jsonRoute({
    id: 'create-authority',
    method: 'POST',
    path: '/v1/certificates/authorities',
    group: 'certificates',
    operation: 'create-authority',
    summary: 'Make a certificate authority',
    description: 'Its key is made in a root of trust, never leaves it, and signs certificates and revocation lists only.',
    body: closed({
      subject: text(2048, { description: 'RFC 4514: `CN=Bank KMIP CA,O=Bank`.' }),
      spec: Type.Optional(Spec),
      root: Type.Optional(text(128, { description: 'Root of trust. Default by configuration.' })),
      days: Type.Optional(int(1, 36_500, { description: 'Life time. Default ten years.' })),
      name: Type.Optional(Name),
    }),
    idempotent: true,
    response: AuthorityOut,
    success: 201,
    toRequest: ({ body }) => ({
      subject: body.subject,
      ...given('spec', body.spec),
      ...given('root', body.root),
      ...given('days', body.days),
      ...given('names', body.name === undefined ? undefined : [body.name]),
    }),
    fromResponse: authorityView,
    example: { body: { subject: 'CN=Bank KMIP CA,O=Bank', spec: 'ec-p384' } },
    cli: 'aegis cert ca create --subject CN=KMIP-CA,O=Bank',
  }),
  jsonRoute({
    id: 'list-authorities',
    method: 'GET',
    path: '/v1/certificates/authorities',
    group: 'certificates',
    operation: 'list-authorities',
    summary: 'List certificate authorities, newest first',
    response: Type.Object({ items: Type.Array(AuthorityOut) }, { title: 'CertificateAuthorities' }),
    success: 200,
    toRequest: () => ({}),
    fromResponse: (r) => ({ items: r.items.map(authorityView) }),
    example: {},
    cli: 'aegis cert ca list',
  }),
  rawRoute({
    id: 'get-crl',
    method: 'GET',
    path: '/v1/certificates/crl',
    group: 'certificates',
    operation: 'get-crl',
    summary: 'Certificate revocation list',
    description:
      'Version 2 (RFC 5280 §5), signed in the root of trust, good for 24 hours. DER unless PEM or JSON is asked for. Without a credential the same list is at /.well-known/crl.',
    query: closed({ authority: Type.Optional(authority) }),
    media: CRL_MEDIA,
    schema: CrlOut,
    toRequest: ({ query }) => given('authority', query.authority),
    toRaw: (r, { accept }) => crlAnswer(r, accept),
    example: {},
    cli: 'aegis cert crl --out crl.pem',
  }),
  jsonRoute({
    id: 'issue-certificate',
    method: 'POST',
    path: '/v1/certificates',
    group: 'certificates',
    operation: 'issue-certificate',
    summary: 'Issue a certificate',
    description:
      'For the key of a signing request, or of a managed object (`subjectKey`). With `principalId`, whoever presents it is that principal until it is revoked.',
    body: closed({
      csr: Type.Optional(csr),
      subjectKey: Type.Optional({ ...KeyRef, description: 'Public key, private key or certificate request in Aegis.' } as typeof KeyRef),
      principalId: Type.Optional(Id),
      ...content,
    }),
    idempotent: true,
    response: CertificateOut,
    success: 201,
    toRequest: ({ body }) => ({
      ...toContent(body),
      ...given('csr', body.csr === undefined ? undefined : requestDer(body.csr)),
      ...given('subjectKey', body.subjectKey),
      ...given('principalId', body.principalId),
    }),
    fromResponse: certificateView,
    headers: certificateHeaders,
    example: { body: { csr: EXAMPLE_CSR, subject: 'CN=array-7,O=Bank', subjectAltNames: ['dns:array-7.bank.example'], days: 365 } },
    cli: 'aegis cert issue array-7 --for array-7',
  }),
  jsonRoute({
    id: 'list-certificates',
    method: 'GET',
    path: '/v1/certificates',
    group: 'certificates',
    operation: 'list-certificates',
    summary: 'List issued certificates, newest first',
    query: closed({
      state: Type.Optional(StateName),
      principalId: Type.Optional(Id),
      authority: Type.Optional(authority),
      ...paging,
    }),
    response: page(CertificateOut, 'CertificatePage'),
    success: 200,
    toRequest: ({ query }) => ({
      limit: query.limit ?? 100,
      ...given('state', query.state),
      ...given('principalId', query.principalId),
      ...given('authority', query.authority),
      ...given('cursor', query.cursor),
    }),
    fromResponse: (r) => pageView(r, certificateView),
    example: { query: { state: 'valid' } },
    cli: 'aegis cert list --state valid',
  }),
  jsonRoute({
    id: 'get-certificate',
    method: 'GET',
    path: '/v1/certificates/{id}',
    group: 'certificates',
    operation: 'get-certificate',
    summary: 'Show an issued certificate',
    params: ByKey,
    response: CertificateOut,
    success: 200,
    toRequest: ({ params }) => ({ key: params.id }),
    fromResponse: certificateView,
    headers: (view) => ({ ETag: toETag(view.revision) }),
    example: { params: { id: EXAMPLE_ID } },
    cli: 'aegis cert get array-7',
  }),
  jsonRoute({
    id: 'revoke-certificate',
    method: 'POST',
    path: '/v1/certificates/{id}/revoke',
    group: 'certificates',
    operation: 'revoke-certificate',
    summary: 'Revoke a certificate',
    description: 'It stands for nobody from the moment of the answer, on every node, and is on every list made from then on.',
    params: ByKey,
    body: closed({
      reason: Type.Optional(Reason),
      message: Type.Optional(text(1024)),
      compromisedAt: Type.Optional(timestamp('Since when the key is suspected; with a compromise only.')),
    }),
    bodyOptional: true,
    response: CertificateOut,
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      ...given('reason', body.reason),
      ...given('message', body.message),
      ...given('compromisedAt', body.compromisedAt),
    }),
    fromResponse: certificateView,
    headers: (view) => ({ ETag: toETag(view.revision) }),
    example: { params: { id: EXAMPLE_ID }, body: { reason: 'key-compromise' } },
    cli: 'aegis cert revoke array-7 --reason key-compromise',
  }),
  jsonRoute({
    id: 'renew-certificate',
    method: 'POST',
    path: '/v1/certificates/{id}/renew',
    group: 'certificates',
    operation: 'renew-certificate',
    summary: 'Renew a certificate',
    description:
      'A successor with the same subject, names, principal and aliases, for the key of a new request or the same key. The old one stays valid unless `revokeOld`.',
    params: ByKey,
    body: closed({ csr: Type.Optional(csr), revokeOld: Type.Optional(Type.Boolean()), ...content }),
    bodyOptional: true,
    idempotent: true,
    response: CertificateOut,
    success: 201,
    toRequest: ({ params, body }) => ({
      key: params.id,
      ...toContent(body),
      ...given('csr', body.csr === undefined ? undefined : requestDer(body.csr)),
      ...given('revokeOld', body.revokeOld),
    }),
    fromResponse: certificateView,
    headers: certificateHeaders,
    example: { params: { id: EXAMPLE_ID }, body: { csr: EXAMPLE_CSR } },
    cli: 'aegis cert renew array-7 --out array-7-new',
  }),
];
