import { X509Certificate } from 'node:crypto';
import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import { BasicConstraints, Certificate } from 'pkijs';
import {
  type AuthorityView,
  type AuthorizedCall,
  admission,
  CERTIFICATE_ATTRIBUTES as CA,
  type Change,
  effectiveState,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
  type OperationName,
  parseObjectRef,
} from '../domain/index.js';
import { checkDays } from './certificates.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { isAuthorityKey, isPair, protectVersion, specOf } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { knownSpec, wish } from './create.js';
import { parseSubject } from './distinguished-names.js';
import { badField } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { bindingOf, draftObject, publicVersionOf, resourceOf, versionOf } from './new-object.js';
import { readCertificate } from './public-material.js';
import { signatureIdentifier } from './signature-identifiers.js';
import {
  authorityKeyExtension,
  BACKDATE_MS,
  certificateTime,
  DAY_MS,
  extension,
  interoperable,
  keyIdentifier,
  keyInfo,
  keyUsageBits,
  OID,
  type Signing,
  serialNumber,
  signDer,
  signedPart,
  subjectKeyExtension,
  toBuffer,
} from './x509.js';

const DEFAULT_AUTHORITY_DAYS = 3_653;
/** Every client there is verifies it, and 128-bit strength outlasts the authority. */
const DEFAULT_SPEC: KeySpec = 'rsa-3072';
/** What a certificate can be signed with here; KEMs and key agreement sign nothing, secp256k1 no TLS library takes. */
const FAMILIES: readonly string[] = ['rsa', 'ec', 'eddsa'];
/** keyCertSign and cRLSign: the key does nothing else (RFC 5280 §4.2.1.3). */
const CA_KEY_USAGE = 0x06;
const MAX_AUTHORITIES = 200;

/** An authority ready to sign: its key, and its certificate as DER and parsed. */
export interface Authority {
  readonly signing: Signing;
  readonly certificate: Certificate;
  readonly der: Uint8Array;
  readonly notAfter: number;
}

const authoritySpec = (asked: string | undefined): KeySpec => {
  const spec = knownSpec(asked ?? DEFAULT_SPEC);
  if (isPair(spec) && FAMILIES.includes(KEY_SPECS[spec].family) && spec !== 'rsa-1024' && spec !== 'ec-secp256k1') return spec;
  throw badField('spec', `An authority does not sign with ${spec}.`, 'Use rsa-3072, rsa-4096, ec-p256, ec-p384 or ed25519.');
};

const buildAuthorityCertificate = (signing: Signing, subjectText: string, notBefore: number, notAfter: number): Certificate => {
  const subject = parseSubject(subjectText);
  const info = keyInfo(signing.version);
  const id = keyIdentifier(info);
  return new Certificate({
    version: 2,
    serialNumber: serialNumber(),
    signature: signatureIdentifier(signing.algorithm),
    issuer: subject,
    subject,
    notBefore: certificateTime(notBefore),
    notAfter: certificateTime(notAfter),
    subjectPublicKeyInfo: info,
    signatureAlgorithm: signatureIdentifier(signing.algorithm),
    extensions: [
      // It issues no further authorities.
      extension(OID.basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 }).toSchema()),
      extension(OID.keyUsage, true, keyUsageBits(CA_KEY_USAGE)),
      subjectKeyExtension(id),
      authorityKeyExtension(id),
    ],
  });
};

type CreateCall = AuthorizedCall<'create-authority'>;

/** The key pair as one object: its public half is in the certificate. */
const makeAuthorityKey = async (parts: KeyParts, call: CreateCall, spec: KeySpec, notAfter: number) => {
  const { subject: _, days: __, spec: ___, ...request } = call.request;
  if (request.exportable === true) throw badField('exportable', 'The key of an authority never leaves its root.', 'Leave it out.');
  const root = await parts.roots.choose({ ...wish(request), spec, how: 'generate' });
  const drafted = await draftObject(
    parts,
    call,
    { ...request, activate: true, dates: { deactivation: notAfter } },
    {
      type: 'private-key',
      spec,
      usage: ['sign', 'verify', 'certificate-sign', 'crl-sign'],
      rootId: root.id,
      protection: root.protection,
      reserved: { [CA.authority]: true, [CA.service]: true },
    },
  );
  const made = await parts.roots.call(root.id, 'generateKeyPair', { binding: bindingOf(drafted, 1) });
  return { drafted, version: versionOf(drafted, 1, made, root.description, call.now), root };
};

const certificateObject = async (
  parts: KeyParts,
  call: CreateCall,
  key: ManagedObject,
  version: ObjectVersion,
  der: Uint8Array,
  notAfter: number,
): Promise<{ readonly object: ManagedObject; readonly row: ObjectVersion }> => {
  const read = readCertificate(der, 'certificate');
  const object = await draftObject(
    parts,
    call,
    { activate: true, exportable: true, links: [{ type: 'private-key', target: key.id }], dates: { deactivation: notAfter } },
    {
      type: 'certificate',
      ...(key.spec === undefined ? {} : { spec: key.spec }),
      usage: ['verify'],
      rootId: key.rootId,
      protection: key.protection,
      reserved: { ...read.facts, [CA.authority]: true, [CA.service]: true, [CA.authorityKey]: key.id },
      content: der,
    },
  );
  const from = { local: true, bits: version.bits, now: call.now };
  return { object, row: publicVersionOf(object, 1, der, version.publicKey, { fingerprint: version.rootFingerprint }, from) };
};

const createAuthority =
  (parts: KeyParts): Handlers['create-authority'] =>
  async (call) => {
    const { request, now } = call;
    const spec = authoritySpec(request.spec);
    const notBefore = now - BACKDATE_MS;
    const notAfter = Math.trunc((notBefore + checkDays(parts, request.days ?? DEFAULT_AUTHORITY_DAYS) * DAY_MS) / 1000) * 1000;
    parseSubject(request.subject);
    const { drafted, version } = await makeAuthorityKey(parts, call, spec, notAfter);
    const made = [{ rootId: drafted.rootId, reference: version.reference, binding: bindingOf(drafted, 1) }];
    const undo = await compensationFor(parts, made);
    try {
      const loaded: LoadedObject = { object: drafted, versions: [version] };
      const algorithm = await chooseAlgorithm(parts.roots, drafted, spec, 'signature', await interoperable(parts, drafted));
      const signing: Signing = { loaded, version, algorithm };
      const certificate = buildAuthorityCertificate(signing, request.subject, notBefore, notAfter);
      certificate.signatureValue = await signDer(parts, signing, signedPart(certificate));
      const der = new Uint8Array(certificate.toSchema(true).toBER());
      const own = await certificateObject(parts, call, drafted, version, der, notAfter);
      const key: ManagedObject = {
        ...drafted,
        attributes: { ...drafted.attributes, [CA.authorityCertificate]: own.object.id },
        links: [{ type: 'certificate', target: own.object.id }, ...drafted.links],
      };
      const changes: Change[] = [
        { kind: 'insert-object', object: key, versions: [version] },
        { kind: 'insert-object', object: own.object, versions: [own.row] },
      ];
      return {
        response: toAuthorityView(key, own.object, true, now),
        changes,
        resource: resourceOf(key),
        detail: { spec, root: key.rootId, subject: request.subject, certificate: own.object.id },
        ...undo,
      };
    } catch (error) {
      await undo.compensate?.();
      throw error;
    }
  };

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
/** node prints one part per line, the most general first; RFC 4514 has it the other way round. */
export const toName = (lines: unknown): string =>
  text(lines)
    .split('\n')
    .filter((part) => part !== '')
    .reverse()
    .join(',');

const toAuthorityView = (key: ManagedObject, certificate: ManagedObject, isDefault: boolean, now: number): AuthorityView => {
  const { attributes } = certificate;
  return {
    id: key.id,
    certificateId: certificate.id,
    tenant: key.tenant,
    names: key.names,
    isDefault,
    state: isActive(key, now) && isActive(certificate, now) ? 'active' : 'retired',
    subject: toName(attributes[CA.subject]),
    spec: key.spec ?? '',
    root: key.rootId,
    serial: text(attributes[CA.serial]),
    fingerprint: text(attributes[CA.fingerprint]),
    notBefore: Date.parse(text(attributes[CA.notBefore])),
    notAfter: Date.parse(text(attributes[CA.notAfter])),
    certificate: certificate.content ?? new Uint8Array(0),
  };
};

const isActive = (object: ManagedObject, now: number): boolean => !object.archived && effectiveState(object, now) === 'active';

/** Keys of the tenant's authorities, newest first. */
const authorityKeys = async (parts: KeyParts, tenant: string): Promise<readonly ManagedObject[]> => {
  const filter = { types: ['private-key' as const], attributes: { [CA.authority]: true }, archived: 'any' as const };
  const { items } = await parts.objects.locate(tenant, filter, { limit: MAX_AUTHORITIES });
  return [...items].sort((a, b) => b.dates.created - a.dates.created || (a.id < b.id ? 1 : -1));
};

const listAuthorities =
  (parts: KeyParts): Handlers['list-authorities'] =>
  async ({ tenant, now }) => {
    const items: AuthorityView[] = [];
    for (const key of await authorityKeys(parts, tenant)) {
      const own = await parts.objects.load(tenant, text(key.attributes[CA.authorityCertificate]));
      if (own !== undefined) items.push(toAuthorityView(key, own.object, false, now));
    }
    const first = items.find((item) => item.state === 'active' && item.notAfter > now);
    return { response: { items: items.map((item) => (item === first ? { ...item, isDefault: true } : item)) }, changes: [] };
  };

const noAuthority = () =>
  fail('not-found', 'The tenant has no active certificate authority.', {
    field: 'authority',
    next: 'Make one: aegis cert ca create --subject "CN=…".',
  });

const parseCertificate = (der: Uint8Array): Certificate => new Certificate({ schema: asn1js.fromBER(toBuffer(der)).result });

/**
 * The authority to sign with: the one named, or the tenant's newest active one. `crl` also takes one that is retired, whose
 * certificates may still be in use.
 */
export const loadAuthority = async (
  parts: KeyParts,
  call: Pick<AuthorizedCall<OperationName>, 'tenant' | 'now'>,
  ref: string | undefined,
  purpose: 'issue' | 'crl',
): Promise<Authority> => {
  const { tenant, now } = call;
  const candidates = ref === undefined ? (await authorityKeys(parts, tenant)).filter((key) => isActive(key, now)) : [];
  const wanted = ref === undefined ? candidates[0]?.id : parseObjectRef(ref).ref;
  const loaded = wanted === undefined ? undefined : await parts.objects.load(tenant, wanted);
  if (loaded === undefined || loaded.object.tenant !== tenant || !isAuthorityKey(loaded.object)) throw noAuthority();
  const refusal = admission(loaded.object, purpose === 'issue' ? 'protect' : 'process', false, now);
  if (refusal !== undefined) throw refusal;
  const own = await parts.objects.load(tenant, text(loaded.object.attributes[CA.authorityCertificate]));
  const der = own?.object.content;
  if (own === undefined || der === undefined) throw noAuthority();
  const notAfter = Date.parse(new X509Certificate(Buffer.from(der)).validTo);
  if (purpose === 'issue') {
    const retired = admission(own.object, 'protect', false, now);
    if (retired !== undefined) throw retired;
    if (notAfter <= now) throw fail('outside-validity', 'The authority has expired.', { field: 'authority', next: 'Make a new one.' });
  }
  const { object } = loaded;
  const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'signature', await interoperable(parts, object));
  const signing: Signing = { loaded, version: protectVersion(loaded, undefined), algorithm };
  return { signing, certificate: parseCertificate(der), der, notAfter };
};

export const makeAuthorityHandlers = (parts: KeyParts): Pick<Handlers, 'create-authority' | 'list-authorities'> => ({
  'create-authority': createAuthority(parts),
  'list-authorities': listAuthorities(parts),
});
