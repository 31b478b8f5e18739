import * as asn1js from 'asn1js';
import { CertificateRevocationList, Extensions, RevokedCertificate } from 'pkijs';
import {
  type AuthorizedCall,
  CERTIFICATE_ATTRIBUTES as CA,
  CERTIFICATE_STATES,
  type CertificatePurpose,
  type CertificateState,
  type CertificateView,
  effectiveState,
  fail,
  type Handlers,
  type ManagedObject,
  type RevocationReason,
} from '../domain/index.js';
import { type Authority, loadAuthority, toName } from './certificate-authority.js';
import { targetOf } from './chosen-key.js';
import { badField } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { makeLifecycleHandlers } from './lifecycle-operations.js';
import { signatureIdentifier } from './signature-identifiers.js';
import { authorityKeyExtension, certificateTime, extension, keyIdentifier, OID, signDer, signedPart, toBuffer } from './x509.js';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
/** Rows read for one page of a listing that filters by what is true only now (expired, revoked). */
const MAX_SCANNED = 10_000;
/** A list with more entries would be tens of megabytes; then it is time for a new authority. */
const MAX_CRL_ENTRIES = 500_000;
/** Until when clients may go by a list, ms. */
const CRL_LIFE_MS = 24 * 3_600_000;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

export const requireIssued = (object: ManagedObject): void => {
  if (object.type === 'certificate' && object.attributes[CA.issued] === true) return;
  throw fail('wrong-object-type', 'Not a certificate issued by an authority of this service.', {
    next: 'List those: aegis cert list. Other certificates are handled as objects (revoke, destroy).',
  });
};

const stateOf = (object: ManagedObject, now: number): CertificateState => {
  if (object.revocation !== undefined) return 'revoked';
  if (Date.parse(text(object.attributes[CA.notAfter])) <= now) return 'expired';
  return effectiveState(object, now) === 'active' && !object.archived ? 'valid' : 'inactive';
};

const revocationOf = (object: ManagedObject): CertificateView['revocation'] => {
  const { revocation, dates } = object;
  if (revocation === undefined) return undefined;
  const at = dates.compromise ?? dates.deactivation ?? dates.lastChange;
  return { reason: revocation.reason, at, ...(revocation.message === undefined ? {} : { message: revocation.message }) };
};

export const toCertificateView = (object: ManagedObject, now: number): CertificateView => {
  const { attributes, links } = object;
  const revocation = revocationOf(object);
  const principalId = attributes[CA.principal];
  const linked = (type: string) => links.find((l) => l.type === type)?.target;
  const replaces = linked('replaced');
  const replacedBy = linked('replacement');
  return {
    id: object.id,
    tenant: object.tenant,
    names: object.names,
    state: stateOf(object, now),
    subject: toName(attributes[CA.subject]),
    issuer: toName(attributes[CA.issuer]),
    subjectAltNames: (attributes[CA.altNames] as readonly string[] | undefined) ?? [],
    serial: text(attributes[CA.serial]),
    fingerprint: text(attributes[CA.fingerprint]),
    purposes: (attributes[CA.purposes] as readonly CertificatePurpose[] | undefined) ?? [],
    notBefore: Date.parse(text(attributes[CA.notBefore])),
    notAfter: Date.parse(text(attributes[CA.notAfter])),
    authority: text(attributes[CA.issuedBy]),
    ...(typeof principalId === 'string' ? { principalId } : {}),
    ...(revocation === undefined ? {} : { revocation }),
    ...(replaces === undefined ? {} : { replaces }),
    ...(replacedBy === undefined ? {} : { replacedBy }),
    ...(object.content === undefined ? {} : { certificate: object.content }),
    revision: object.revision,
  };
};

const pageSize = (limit: number | undefined): number => {
  if (limit === undefined) return DEFAULT_PAGE;
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return limit;
  throw badField('limit', `Between 1 and ${MAX_PAGE}.`, 'Correct it.');
};

/** What is expired or revoked is seen only row by row, so pages of a filtered listing may be short; the cursor goes on all the same. */
const list =
  (parts: KeyParts): Handlers['list-certificates'] =>
  async ({ request, tenant, now }) => {
    const { state, principalId, authority, cursor } = request;
    if (state !== undefined && !CERTIFICATE_STATES.includes(state))
      throw badField('state', 'No such state.', `Choose from ${CERTIFICATE_STATES.join(', ')}.`);
    const issuer = authority === undefined ? undefined : (await parts.objects.load(tenant, authority))?.object.id;
    if (authority !== undefined && issuer === undefined) throw fail('not-found', 'No such authority.', { field: 'authority' });
    const attributes = {
      [CA.issued]: true,
      ...(issuer === undefined ? {} : { [CA.issuedBy]: issuer }),
      ...(principalId === undefined ? {} : { [CA.principal]: principalId }),
    };
    const filter = { types: ['certificate' as const], attributes, archived: 'any' as const };
    const limit = pageSize(request.limit);
    const items: CertificateView[] = [];
    let next = cursor;
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const wanted = limit - items.length;
      const page = await parts.objects.locate(tenant, filter, { limit: wanted, ...(next === undefined ? {} : { cursor: next }) });
      scanned += wanted;
      items.push(...page.items.map((o) => toCertificateView(o, now)).filter((view) => state === undefined || view.state === state));
      next = page.next;
      if (next === undefined || items.length >= limit) break;
    }
    return { response: { items, ...(next === undefined ? {} : { next }) }, changes: [], detail: { found: items.length } };
  };

const get = async (call: Parameters<Handlers['get-certificate']>[0]): ReturnType<Handlers['get-certificate']> => {
  const { object } = targetOf(call);
  requireIssued(object);
  return { response: toCertificateView(object, call.now), changes: [] };
};

/** The object's own revocation; the operation differs in what it is called, allowed and answered. */
const revoke =
  (parts: KeyParts): Handlers['revoke-certificate'] =>
  async (call) => {
    requireIssued(targetOf(call).object);
    const request = { ...call.request, reason: call.request.reason ?? 'unspecified' };
    // The call stays what it is: its own row and action decide who may.
    const { response, ...planned } = await makeLifecycleHandlers(parts).revoke({ ...call, request } as unknown as AuthorizedCall<'revoke'>);
    return { ...planned, response: toCertificateView(response.object, call.now) };
  };

/** RFC 5280 §5.3.1. `unspecified` is left out, as the standard asks. */
const REASON_CODES: Readonly<Record<RevocationReason, number>> = {
  unspecified: 0,
  'key-compromise': 1,
  'ca-compromise': 2,
  'affiliation-changed': 3,
  superseded: 4,
  'cessation-of-operation': 5,
  'privilege-withdrawn': 9,
};

const toEntry = (object: ManagedObject): RevokedCertificate => {
  const revocation = revocationOf(object);
  const code = revocation === undefined ? 0 : REASON_CODES[revocation.reason];
  const hex = text(object.attributes[CA.serial]);
  const occurrence = object.dates.compromiseOccurrence;
  const extensions = [
    ...(code === 0 ? [] : [extension(OID.crlReason, false, new asn1js.Enumerated({ value: code }))]),
    // Since when the key is suspected (RFC 5280 §5.3.2).
    ...(occurrence === undefined
      ? []
      : [extension(OID.invalidityDate, false, new asn1js.GeneralizedTime({ valueDate: new Date(Math.trunc(occurrence / 1000) * 1000) }))]),
  ];
  return new RevokedCertificate({
    userCertificate: new asn1js.Integer({ valueHex: toBuffer(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')) }),
    revocationDate: certificateTime(revocation?.at ?? object.dates.deactivation ?? object.dates.lastChange),
    ...(extensions.length === 0 ? {} : { crlEntryExtensions: new Extensions({ extensions }) }),
  });
};

const ENDED = ['deactivated', 'compromised', 'destroyed', 'destroyed-compromised'] as const;
/** Everything of this authority that ended before its time, whichever way: revoked, deactivated by a date, destroyed. */
const revokedOf = async (parts: KeyParts, tenant: string, authority: string, now: number): Promise<readonly ManagedObject[]> => {
  const filter = { types: ['certificate' as const], attributes: { [CA.issuedBy]: authority }, states: ENDED, archived: 'any' as const };
  const found: ManagedObject[] = [];
  let cursor: string | undefined;
  do {
    const page = await parts.objects.locate(tenant, filter, { limit: MAX_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    // What has expired needs no list any more.
    found.push(...page.items.filter((object) => Date.parse(text(object.attributes[CA.notAfter])) > now));
    if (found.length > MAX_CRL_ENTRIES)
      throw fail('quota-exceeded', 'The revocation list is too long.', { next: 'Make a new authority; lists are per authority.' });
    cursor = page.next;
  } while (cursor !== undefined);
  return found;
};

const integer = (value: number): asn1js.Integer => asn1js.Integer.fromBigInt(BigInt(value));

const buildList = (authority: Authority, revoked: readonly ManagedObject[], thisUpdate: number, nextUpdate: number) => {
  const { signing, certificate } = authority;
  return new CertificateRevocationList({
    version: 1,
    signature: signatureIdentifier(signing.algorithm),
    issuer: certificate.subject,
    thisUpdate: certificateTime(thisUpdate),
    nextUpdate: certificateTime(nextUpdate),
    ...(revoked.length === 0 ? {} : { revokedCertificates: revoked.map(toEntry) }),
    crlExtensions: new Extensions({
      extensions: [
        authorityKeyExtension(keyIdentifier(certificate.subjectPublicKeyInfo)),
        extension(OID.crlNumber, false, integer(thisUpdate)),
      ],
    }),
    signatureAlgorithm: signatureIdentifier(signing.algorithm),
  });
};

const getCrl =
  (parts: KeyParts): Handlers['get-crl'] =>
  async ({ request, tenant, now }) => {
    const authority = await loadAuthority(parts, { tenant, now }, request.authority, 'crl');
    const id = authority.signing.loaded.object.id;
    const revoked = await revokedOf(parts, tenant, id, now);
    const nextUpdate = now + CRL_LIFE_MS;
    // Rising with time, which every node shares: no counter to keep (RFC 5280 §5.2.3).
    const made = buildList(authority, revoked, now, nextUpdate);
    made.signatureValue = await signDer(parts, authority.signing, signedPart(made));
    const crl = new Uint8Array(made.toSchema(true).toBER());
    return {
      response: { crl, authority: id, number: now, thisUpdate: now, nextUpdate, entries: revoked.length },
      changes: [],
      detail: { authority: id as string, entries: revoked.length },
    };
  };

export const makeCertificateRecordHandlers = (
  parts: KeyParts,
): Pick<Handlers, 'list-certificates' | 'get-certificate' | 'revoke-certificate' | 'get-crl'> => ({
  'list-certificates': list(parts),
  'get-certificate': get,
  'revoke-certificate': revoke(parts),
  'get-crl': getCrl(parts),
});
