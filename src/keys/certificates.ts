import type * as asn1js from 'asn1js';
import { Attribute, BasicConstraints, Certificate, CertificationRequest, type Extension, Extensions, type PublicKeyInfo } from 'pkijs';
import {
  type AuthorizedCall,
  type Change,
  type Handlers,
  type ManagedObject,
  materialise,
  type OperationRequest,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { pinnedVersion, protectVersion, requireUsage, specOf, targetOf } from './chosen-key.js';
import { parseSubject } from './distinguished-names.js';
import { badField } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage, publicUsage } from './key-usages.js';
import { draftObject, nextObject, publicVersionOf, updateObject } from './new-object.js';
import { readCertificate } from './public-material.js';
import { signatureIdentifier } from './signature-identifiers.js';
import { parseAltNames } from './subject-alt-names.js';
import type { UsageAccount } from './usage-accounting.js';
import {
  altNames,
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
} from './x509.js';

/** KeyUsage bits from the left (RFC 5280 §4.2.1.3). */
const keyUsage = (object: ManagedObject, ca: boolean): asn1js.BitString => {
  let bits = 0x80;
  if (object.usage.includes('content-commitment')) bits |= 0x40;
  if (object.usage.includes('decrypt') || object.usage.includes('unwrap')) bits |= 0x20;
  if (object.usage.includes('agree')) bits |= 0x08;
  if (ca) bits |= 0x06;
  return keyUsageBits(bits);
};

const prepare = async (parts: KeyParts, call: AuthorizedCall<'create-csr' | 'self-sign'>): Promise<Signing> => {
  const loaded = targetOf(call);
  const { object } = loaded;
  requireUsage(object, 'sign');
  const named = call.request.algorithm ?? (await interoperable(parts, object));
  const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'signature', named);
  signatureIdentifier(algorithm);
  return { loaded, version: protectVersion(loaded, pinnedVersion(call.request.version, call.request.key)), algorithm };
};

const createCsr =
  (parts: KeyParts, account: UsageAccount): Handlers['create-csr'] =>
  async (call) => {
    const signing = await prepare(parts, call);
    const { object } = signing.loaded;
    const { request } = call;
    const names = parseAltNames(request.subjectAltNames);
    const csr = new CertificationRequest({
      version: 0,
      subject: parseSubject(request.subject),
      subjectPublicKeyInfo: keyInfo(signing.version),
      attributes: [],
    });
    if (names !== undefined) {
      const extensions = new Extensions({ extensions: [...altNames(names)] });
      csr.attributes = [new Attribute({ type: OID.extensionRequest, values: [extensions.toSchema()] })];
    }
    csr.signatureAlgorithm = signatureIdentifier(signing.algorithm);
    const tbs = signedPart(csr);
    const used = account.consume(object, { payloadBytes: tbs.byteLength });
    csr.signatureValue = await signDer(parts, signing, tbs);
    return {
      response: { csr: new Uint8Array(csr.toSchema(true).toBER()), objectId: object.id, version: signing.version.version },
      changes: used.changes,
      detail: { version: signing.version.version, algorithm: signing.algorithm, subject: request.subject },
    };
  };

export const checkDays = (parts: KeyParts, days: number): number => {
  const { maxCertificateDays } = parts.defaults;
  if (Number.isSafeInteger(days) && days >= 1 && days <= maxCertificateDays) return days;
  throw badField('days', `Between 1 and ${maxCertificateDays} days.`, 'Correct it.');
};

const certificateExtensions = (object: ManagedObject, info: PublicKeyInfo, request: OperationRequest<'self-sign'>): Extension[] => {
  const ca = request.ca === true;
  const id = keyIdentifier(info);
  return [
    extension(OID.basicConstraints, true, new BasicConstraints({ cA: ca }).toSchema()),
    extension(OID.keyUsage, true, keyUsage(object, ca)),
    subjectKeyExtension(id),
    authorityKeyExtension(id),
    ...altNames(parseAltNames(request.subjectAltNames)),
  ];
};

const buildCertificate = (parts: KeyParts, call: AuthorizedCall<'self-sign'>, signing: Signing): Certificate => {
  const { request, now } = call;
  const subject = parseSubject(request.subject);
  const info = keyInfo(signing.version);
  const notBefore = now - BACKDATE_MS;
  return new Certificate({
    version: 2,
    serialNumber: serialNumber(),
    signature: signatureIdentifier(signing.algorithm),
    issuer: subject,
    subject,
    notBefore: certificateTime(notBefore),
    notAfter: certificateTime(notBefore + checkDays(parts, request.days) * DAY_MS),
    subjectPublicKeyInfo: info,
    signatureAlgorithm: signatureIdentifier(signing.algorithm),
    extensions: certificateExtensions(signing.loaded.object, info, request),
  });
};

const selfSign =
  (parts: KeyParts, account: UsageAccount): Handlers['self-sign'] =>
  async (call) => {
    const signing = await prepare(parts, call);
    const { object } = signing.loaded;
    const certificate = buildCertificate(parts, call, signing);
    const tbs = signedPart(certificate);
    const used = account.consume(object, { payloadBytes: tbs.byteLength });
    certificate.signatureValue = await signDer(parts, signing, tbs);
    const der = new Uint8Array(certificate.toSchema(true).toBER());
    const registered = call.request.register === true ? await registerCertificate(parts, call, signing, der) : undefined;
    return {
      response: {
        certificate: der,
        objectId: object.id,
        version: signing.version.version,
        ...(registered === undefined ? {} : { certificateId: registered.id }),
      },
      changes: [...used.changes, ...(registered?.changes ?? [])],
      detail: {
        version: signing.version.version,
        algorithm: signing.algorithm,
        subject: call.request.subject,
        ca: call.request.ca === true,
        ...(registered === undefined ? {} : { certificate: registered.id }),
      },
    };
  };

/** The certificate as an object of its own, linked to its key both ways (KMIP 1.4 §3.35). */
const registerCertificate = async (
  parts: KeyParts,
  call: AuthorizedCall<'self-sign'>,
  { loaded, version }: Signing,
  der: Uint8Array,
): Promise<{ readonly id: string; readonly changes: readonly Change[] }> => {
  const { object } = loaded;
  const { now } = call;
  const read = readCertificate(der, 'certificate');
  const spec = specOf(object);
  const drafted = await draftObject(
    parts,
    call,
    { activate: true, exportable: true, links: [{ type: 'private-key', target: object.id }] },
    {
      type: 'certificate',
      spec,
      usage: checkUsage(publicUsage(object.usage), spec, 'certificate', 'usage'),
      rootId: object.rootId,
      protection: object.protection,
      reserved: read.facts,
      content: der,
    },
  );
  const row = publicVersionOf(
    drafted,
    1,
    der,
    version.publicKey,
    { fingerprint: version.rootFingerprint },
    { local: true, bits: version.bits, now },
  );
  const links = [...object.links, { type: 'certificate', target: drafted.id as string }];
  return {
    id: drafted.id,
    changes: [
      { kind: 'insert-object', object: drafted, versions: [row] },
      updateObject(object, nextObject(materialise(object, now), { links }, now)),
    ],
  };
};

export const makeCertificateHandlers = (parts: KeyParts, account: UsageAccount): Pick<Handlers, 'create-csr' | 'self-sign'> => ({
  'create-csr': createCsr(parts, account),
  'self-sign': selfSign(parts, account),
});
