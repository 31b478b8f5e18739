import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import { BasicConstraints, Certificate, type Extension, type PublicKeyInfo, type RelativeDistinguishedNames } from 'pkijs';
import {
  type AuthorizedCall,
  CERTIFICATE_ATTRIBUTES as CA,
  CERTIFICATE_PURPOSES,
  type CertificatePurpose,
  type Change,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  materialise,
  type NewObject,
  type ObjectVersion,
  type OperationRequest,
} from '../domain/index.js';
import { type Authority, loadAuthority } from './certificate-authority.js';
import { requireHolder } from './certificate-authority-holder.js';
import { requireIssued, toCertificateView } from './certificate-authority-records.js';
import { readRequest } from './certificate-authority-request.js';
import { checkDays } from './certificates.js';
import { otherOf, targetOf } from './chosen-key.js';
import { emptyName, parseSubject } from './distinguished-names.js';
import { badField, checkBytes } from './field-rules.js';
import { type KeyParts, RESERVED_PREFIX } from './key-parts.js';
import { draftObject, nextObject, publicVersionOf, resourceOf, updateObject } from './new-object.js';
import { readCertificate, readPublicKey } from './public-material.js';
import { signatureIdentifier } from './signature-identifiers.js';
import { normaliseAltNames, parseAltNames } from './subject-alt-names.js';
import {
  altNames,
  authorityKeyExtension,
  BACKDATE_MS,
  certificateTime,
  DAY_MS,
  extension,
  keyIdentifier,
  keyUsageBits,
  OID,
  serialNumber,
  signDer,
  signedPart,
  subjectKeyExtension,
  toKeyInfo,
} from './x509.js';

type IssueCall = AuthorizedCall<'issue-certificate'>;
type RenewCall = AuthorizedCall<'renew-certificate'>;
type Call = IssueCall | RenewCall;

const DEFAULT_DAYS = 365;
const MAX_KEY_BYTES = 65_536;

/** Everything a certificate will say. */
interface Wanted {
  readonly spki: Uint8Array;
  readonly spec: KeySpec;
  readonly subject: RelativeDistinguishedNames;
  readonly names: readonly string[];
  readonly purposes: readonly CertificatePurpose[];
  readonly days: number;
  readonly principalId?: string;
}

/** The key to certify and what its owner asked for, wherever it comes from. */
interface Asked {
  readonly publicKey: Uint8Array;
  readonly subject?: RelativeDistinguishedNames;
  readonly names?: readonly string[];
  readonly purposes?: readonly CertificatePurpose[];
}

const fromRequest = (csr: Uint8Array): Asked => {
  const { spki, subject, subjectAltNames } = readRequest(csr);
  return { publicKey: spki, subject, names: subjectAltNames };
};

const keyOfObject = ({ object, versions }: LoadedObject): Asked => {
  if (object.type === 'certificate-request' && object.content !== undefined) return fromRequest(object.content);
  const publicKey = versions.find((v) => v.version === object.currentVersion)?.publicKey;
  if (publicKey !== undefined && object.type !== 'certificate') return { publicKey };
  throw fail('wrong-object-type', `A ${object.type} is not certified.`, {
    field: 'subjectKey',
    next: 'Name a public key, a private key or a certificate request.',
  });
};

const exactlyOne = (request: { readonly csr?: Uint8Array; readonly publicKey?: Uint8Array; readonly subjectKey?: string }): void => {
  const given = [request.csr, request.publicKey, request.subjectKey].filter((one) => one !== undefined);
  if (given.length !== 1) throw badField('csr', 'One key is certified.', 'Give exactly one of csr, publicKey and subjectKey.');
};

const toAsked = (call: IssueCall): Asked => {
  const { request } = call;
  exactlyOne(request);
  if (request.csr !== undefined) return fromRequest(request.csr);
  if (request.publicKey !== undefined) return { publicKey: checkBytes(request.publicKey, 'publicKey', MAX_KEY_BYTES, 1) };
  return keyOfObject(otherOf(call, 'subjectKey'));
};

const checkPurposes = (purposes: readonly CertificatePurpose[]): readonly CertificatePurpose[] => {
  if (!Array.isArray(purposes) || purposes.length === 0 || !purposes.every((p) => CERTIFICATE_PURPOSES.includes(p)))
    throw badField('purposes', 'A certificate is for a client, a server or both.', `Choose from ${CERTIFICATE_PURPOSES.join(', ')}.`);
  return CERTIFICATE_PURPOSES.filter((p) => purposes.includes(p));
};

const toWanted = (parts: KeyParts, call: Call, asked: Asked): Wanted => {
  const { request } = call;
  const { spki, spec } = readPublicKey(asked.publicKey, 'publicKey');
  if (KEY_SPECS[spec].importOnly === true)
    throw badField('publicKey', `A ${spec} key is too weak to be certified.`, 'Use RSA from 2048 bits, or an elliptic curve.');
  const names = normaliseAltNames(request.subjectAltNames ?? asked.names ?? []);
  const subject = request.subject === undefined ? (asked.subject ?? emptyName()) : parseSubject(request.subject);
  if (subject.typesAndValues.length === 0 && names.length === 0)
    throw badField('subject', 'The certificate would name nobody.', 'Give subject, subjectAltNames or a request that has them.');
  return {
    spki,
    spec,
    subject,
    names,
    purposes: checkPurposes(request.purposes ?? asked.purposes ?? ['client']),
    days: checkDays(parts, request.days ?? DEFAULT_DAYS),
  };
};

/** digitalSignature for what signs; RSA may also carry a key for old key exchanges (RFC 5246 §7.4.2), agreement keys only agree. */
const usageOf = (spec: KeySpec): number => {
  const { family } = KEY_SPECS[spec];
  if (family === 'rsa') return 0xa0;
  if (family === 'xdh') return 0x08;
  return family === 'ml-kem' ? 0x20 : 0x80;
};

const PURPOSE_OIDS: Readonly<Record<CertificatePurpose, string>> = { client: OID.clientAuth, server: OID.serverAuth };
const extensionsOf = (wanted: Wanted, info: PublicKeyInfo, authority: Authority): Extension[] => [
  extension(OID.basicConstraints, true, new BasicConstraints({ cA: false }).toSchema()),
  extension(OID.keyUsage, true, keyUsageBits(usageOf(wanted.spec))),
  extension(
    OID.extendedKeyUsage,
    false,
    new asn1js.Sequence({ value: wanted.purposes.map((p) => new asn1js.ObjectIdentifier({ value: PURPOSE_OIDS[p] })) }),
  ),
  subjectKeyExtension(keyIdentifier(info)),
  authorityKeyExtension(keyIdentifier(authority.certificate.subjectPublicKeyInfo)),
  // Critical where there is no other name (RFC 5280 §4.2.1.6).
  ...altNames(parseAltNames(wanted.names), wanted.subject.typesAndValues.length === 0),
];

/** Builds the certificate and has the authority's key sign it, in its root. */
const certify = async (parts: KeyParts, authority: Authority, wanted: Wanted, now: number): Promise<Uint8Array> => {
  const { signing } = authority;
  const info = toKeyInfo(wanted.spki);
  const notBefore = now - BACKDATE_MS;
  const certificate = new Certificate({
    version: 2,
    serialNumber: serialNumber(),
    signature: signatureIdentifier(signing.algorithm),
    issuer: authority.certificate.subject,
    subject: wanted.subject,
    notBefore: certificateTime(notBefore),
    // A certificate that outlives its authority would not verify to its end anyway.
    notAfter: certificateTime(Math.min(notBefore + wanted.days * DAY_MS, authority.notAfter)),
    subjectPublicKeyInfo: info,
    signatureAlgorithm: signatureIdentifier(signing.algorithm),
    extensions: extensionsOf(wanted, info, authority),
  });
  certificate.signatureValue = await signDer(parts, signing, signedPart(certificate));
  return new Uint8Array(certificate.toSchema(true).toBER());
};

interface Issued {
  readonly object: ManagedObject;
  readonly row: ObjectVersion;
}

/** KMIP Certify makes a client's own object, like any certificate of a managed key; what else is issued is an identity. */
const belongsToService = (call: Call, wanted: Wanted): boolean => {
  if (wanted.principalId !== undefined) return true;
  if (call.operation === 'renew-certificate') return call.target?.object.attributes[CA.service] === true;
  return call.plane !== 'kmip' && (call as IssueCall).request.subjectKey === undefined;
};

/** The certificate as a managed object: its state is what the identity engine goes by. */
const toObject = async (
  parts: Pick<KeyParts, 'objects'>,
  call: Call,
  request: NewObject,
  authority: Authority,
  wanted: Wanted,
  der: Uint8Array,
): Promise<Issued> => {
  const { object: key, versions } = authority.signing.loaded;
  const { facts } = readCertificate(der, 'certificate');
  const notAfter = Date.parse(facts[CA.notAfter] ?? '');
  const activate = request.activate ?? request.dates?.activation === undefined;
  const object = await draftObject(
    parts,
    call,
    { ...request, activate, exportable: true, dates: { deactivation: notAfter, ...request.dates } },
    {
      type: 'certificate',
      spec: wanted.spec,
      usage: KEY_SPECS[wanted.spec].usages.includes('verify') ? ['verify'] : [],
      rootId: key.rootId,
      protection: key.protection,
      reserved: {
        ...facts,
        [CA.issued]: true,
        [CA.issuedBy]: key.id,
        ...(belongsToService(call, wanted) ? { [CA.service]: true } : {}),
        [CA.purposes]: wanted.purposes,
        ...(wanted.names.length === 0 ? {} : { [CA.altNames]: wanted.names }),
        ...(wanted.principalId === undefined ? {} : { [CA.principal]: wanted.principalId }),
      },
      content: der,
    },
  );
  const fingerprint = versions[0]?.rootFingerprint ?? '';
  return { object, row: publicVersionOf(object, 1, der, wanted.spki, { fingerprint }, { local: true, now: call.now }) };
};

const detailOf = ({ object }: Issued, authority: Authority, wanted: Wanted) => ({
  authority: authority.signing.loaded.object.id as string,
  fingerprint: String(object.attributes[CA.fingerprint]),
  serial: String(object.attributes[CA.serial]),
  purposes: wanted.purposes.join(','),
  ...(wanted.principalId === undefined ? {} : { principalId: wanted.principalId }),
});

/** KMIP 1.4 §3.35: key and certificate point to each other. */
const linkToKey = (call: IssueCall, issued: Issued): { readonly object: ManagedObject; readonly changes: readonly Change[] } => {
  const { object } = issued;
  if (call.request.subjectKey === undefined) return { object, changes: [] };
  const { object: key } = otherOf(call, 'subjectKey');
  const type = key.type === 'certificate-request' ? 'parent' : key.type;
  const links = [
    ...key.links.filter((l) => l.type !== 'certificate' || l.target !== object.id),
    { type: 'certificate', target: object.id },
  ];
  return {
    object: { ...object, links: [{ type, target: key.id }, ...object.links] },
    changes: [updateObject(key, nextObject(materialise(key, call.now), { links }, call.now))],
  };
};

const newObjectOf = (request: OperationRequest<'issue-certificate'> | OperationRequest<'renew-certificate'>): NewObject => {
  const { subject: _a, subjectAltNames: _b, days: _c, purposes: _d, authority: _e, csr: _f, publicKey: _g, ...rest } = request;
  const { subjectKey: _h, principalId: _i, key: _j, revokeOld: _k, ...own } = rest as Record<string, unknown>;
  return own as NewObject;
};

const issue =
  (parts: KeyParts): Handlers['issue-certificate'] =>
  async (call) => {
    const { request, now } = call;
    const asked = toAsked(call);
    const holder = request.principalId === undefined ? undefined : await requireHolder(parts, call, request.principalId, 'issue');
    const wanted: Wanted = { ...toWanted(parts, call, asked), ...(holder === undefined ? {} : { principalId: holder.id }) };
    const authority = await loadAuthority(parts, call, request.authority, 'issue');
    const der = await certify(parts, authority, wanted, now);
    const issued = await toObject(parts, call, newObjectOf(request), authority, wanted, der);
    const { object, changes } = linkToKey(call, issued);
    return {
      response: toCertificateView(object, now),
      changes: [{ kind: 'insert-object', object, versions: [issued.row] }, ...changes],
      resource: resourceOf(object),
      detail: detailOf(issued, authority, wanted),
    };
  };

/** What the successor takes over unless the request says otherwise. */
const inherited = (old: LoadedObject, call: RenewCall): Asked => {
  const { request } = call;
  const { attributes } = old.object;
  if (request.csr !== undefined && request.publicKey !== undefined)
    throw badField('csr', 'One key is certified.', 'Give csr or publicKey, or neither to keep the key.');
  const made = request.csr === undefined ? undefined : readRequest(request.csr);
  const kept = old.versions.find((v) => v.version === old.object.currentVersion)?.publicKey;
  const publicKey = made?.spki ?? request.publicKey ?? kept;
  const content = old.object.content;
  if (publicKey === undefined || content === undefined)
    throw fail('destroyed', 'The certificate is destroyed.', { next: 'Issue a new one.' });
  return {
    publicKey,
    subject: subjectOf(content),
    names: (attributes[CA.altNames] as readonly string[] | undefined) ?? [],
    purposes: (attributes[CA.purposes] as readonly CertificatePurpose[] | undefined) ?? ['client'],
  };
};
const subjectOf = (der: Uint8Array): RelativeDistinguishedNames =>
  new Certificate({ schema: asn1js.fromBER(new Uint8Array(der).buffer).result }).subject;

/** Names move, links point both ways; the key's other links stay with the old certificate (KMIP 1.4 §4.8). */
const successorRequest = (old: ManagedObject, request: NewObject): NewObject => ({
  ...(old.description === undefined ? {} : { description: old.description }),
  ...(old.objectGroup === undefined ? {} : { objectGroup: old.objectGroup }),
  tags: old.tags,
  names: old.names,
  ...request,
  attributes: {
    ...Object.fromEntries(Object.entries(old.attributes).filter(([name]) => !name.startsWith(RESERVED_PREFIX))),
    ...request.attributes,
  },
  links: [{ type: 'replaced', target: old.id }, ...old.links.filter((l) => KEY_LINKS.includes(l.type)), ...(request.links ?? [])],
});
const KEY_LINKS: readonly string[] = ['public-key', 'private-key'];

const replacedBy = (old: ManagedObject, next: ManagedObject, call: RenewCall): ManagedObject => {
  const links = [...old.links.filter((l) => l.type !== 'replacement'), { type: 'replacement', target: next.id as string }];
  const current = materialise(old, call.now);
  const ended =
    call.request.revokeOld === true && current.state === 'active'
      ? {
          state: 'deactivated' as const,
          revocation: { reason: 'superseded' as const },
          dates: { ...old.dates, deactivation: call.now },
        }
      : retired(current, call);
  return nextObject(current, { names: [], links, ...ended }, call.now);
};

const MAX_RETIRE_MS = 3_600_000;
/** Never later than it would have ended anyway. */
const retired = (current: ManagedObject, call: RenewCall): Partial<ManagedObject> => {
  const after = call.request.retireOldAfterMs;
  if (after === undefined || current.state !== 'active') return {};
  if (!Number.isSafeInteger(after) || after < 0 || after > MAX_RETIRE_MS)
    throw fail('invalid-field', `Between 0 and ${MAX_RETIRE_MS} ms.`, { field: 'retireOldAfterMs' });
  return { dates: { ...current.dates, deactivation: Math.min(call.now + after, current.dates.deactivation ?? Number.POSITIVE_INFINITY) } };
};

const renew =
  (parts: KeyParts): Handlers['renew-certificate'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object: old } = loaded;
    requireIssued(old);
    if (old.revocation !== undefined || old.state === 'compromised')
      throw fail('wrong-state', 'A revoked certificate is not renewed.', { next: 'Issue a new one: aegis cert issue.' });
    if (old.archived) throw fail('archived', 'The certificate is archived.', { next: 'Recover it first.' });
    const { request, now } = call;
    const bound = old.attributes[CA.principal];
    const holder = typeof bound === 'string' ? await requireHolder(parts, call, bound, 'renew') : undefined;
    const wanted: Wanted = {
      ...toWanted(parts, call, inherited(loaded, call)),
      ...(holder === undefined ? {} : { principalId: holder.id }),
    };
    const authority = await loadAuthority(parts, call, request.authority, 'issue');
    const der = await certify(parts, authority, wanted, now);
    // Names are on their way from the old object in the same transaction: they are no clash.
    const objects: KeyParts['objects'] = {
      load: async (tenant, ref) => (old.names.includes(ref) ? undefined : parts.objects.load(tenant, ref)),
      locate: parts.objects.locate,
      count: parts.objects.count,
    };
    const issued = await toObject({ objects }, call, successorRequest(old, newObjectOf(request)), authority, wanted, der);
    return {
      response: toCertificateView(issued.object, now),
      // Names are freed before they are taken.
      changes: [
        updateObject(old, replacedBy(old, issued.object, call)),
        { kind: 'insert-object', object: issued.object, versions: [issued.row] },
      ],
      resource: resourceOf(issued.object),
      detail: { ...detailOf(issued, authority, wanted), replaces: old.id as string },
    };
  };

export const makeIssueHandlers = (parts: KeyParts): Pick<Handlers, 'issue-certificate' | 'renew-certificate'> => ({
  'issue-certificate': issue(parts),
  'renew-certificate': renew(parts),
});
