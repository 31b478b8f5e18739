import { createHash, randomBytes } from 'node:crypto';
import { type Algorithm, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import {
  Attribute,
  BasicConstraints,
  Certificate,
  CertificationRequest,
  Extension,
  Extensions,
  type GeneralNames,
  PublicKeyInfo,
  Time,
} from 'pkijs';
import {
  type AuthorizedCall,
  type Change,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  materialise,
  type ObjectVersion,
  type OperationRequest,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { boundKey, pinnedVersion, protectVersion, requireUsage, specOf, targetOf } from './chosen-key.js';
import { parseSubject } from './distinguished-names.js';
import { badField } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage, publicUsage } from './key-usages.js';
import { draftObject, nextObject, publicVersionOf, updateObject } from './new-object.js';
import { readCertificate } from './public-material.js';
import { signatureIdentifier } from './signature-identifiers.js';
import { parseAltNames } from './subject-alt-names.js';
import type { UsageAccount } from './usage-accounting.js';

const OID = {
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
} as const;

/** A copy of exactly these bytes. `slice` would not do: on a Buffer it is a view, and `.buffer` the whole pool behind it. */
const toBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
const extension = (extnID: string, critical: boolean, value: asn1js.BaseBlock): Extension =>
  new Extension({ extnID, critical, extnValue: value.toBER() });

const keyInfo = (version: ObjectVersion): PublicKeyInfo => {
  if (version.publicKey === undefined) throw fail('wrong-object-type', 'The key has no public half.', { next: 'Use a key pair.' });
  return new PublicKeyInfo({ schema: asn1js.fromBER(toBuffer(version.publicKey)).result });
};

/** RFC 5280 §4.2.1.2 method 1: SHA-1 of the subjectPublicKey bits, an identifier and nothing more. */
const keyIdentifier = (info: PublicKeyInfo): ArrayBuffer =>
  toBuffer(createHash('sha1').update(info.subjectPublicKey.valueBlock.valueHexView).digest());

/** KeyUsage bits from the left (RFC 5280 §4.2.1.3). */
const keyUsage = (object: ManagedObject, ca: boolean): asn1js.BitString => {
  let bits = 0x80;
  if (object.usage.includes('content-commitment')) bits |= 0x40;
  if (object.usage.includes('decrypt') || object.usage.includes('unwrap')) bits |= 0x20;
  if (object.usage.includes('agree')) bits |= 0x08;
  if (ca) bits |= 0x06;
  let unused = 0;
  while (((bits >> unused) & 1) === 0) unused += 1;
  return new asn1js.BitString({ valueHex: Uint8Array.of(bits).buffer, unusedBits: unused });
};

const altNames = (names: GeneralNames | undefined): readonly Extension[] =>
  names === undefined ? [] : [extension(OID.subjectAltName, false, names.toSchema())];

interface Signing {
  readonly loaded: LoadedObject;
  readonly version: ObjectVersion;
  readonly algorithm: Algorithm;
}
/** Many authorities and clients still refuse RSA-PSS in certificates; without a wish, RSA keys sign them the older way. */
const interoperable = async (parts: KeyParts, object: ManagedObject): Promise<Algorithm | undefined> => {
  const spec = specOf(object);
  if (KEY_SPECS[spec].family !== 'rsa') return undefined;
  return parts.roots.supports(await parts.roots.describe(object.rootId), 'rsa-pkcs1-sha256', spec) ? 'rsa-pkcs1-sha256' : undefined;
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

/** DER of what is signed: the first element of the outer sequence. */
const signedPart = (structure: Certificate | CertificationRequest): ArrayBuffer => {
  const first = structure.toSchema(true).valueBlock.value[0];
  if (first === undefined) throw fail('internal', 'The certificate could not be encoded.');
  return first.toBER();
};

/** Signs DER in the root; ECDSA comes as the DER sequence that X.509 wants (RFC 5758 §3.2). */
const signDer = async (parts: KeyParts, { loaded, version, algorithm }: Signing, data: ArrayBuffer): Promise<asn1js.BitString> => {
  const { signature } = await parts.roots.call(loaded.object.rootId, 'sign', {
    key: boundKey(loaded.object, version),
    algorithm,
    data: new Uint8Array(data),
    ...(algorithm.startsWith('ecdsa') ? { encoding: 'der' as const } : {}),
  });
  return new asn1js.BitString({ valueHex: toBuffer(signature) });
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

const DAY_MS = 86_400_000;
/** Clocks of others run behind; a certificate valid from this very second fails on them. */
const BACKDATE_MS = 60_000;

const checkDays = (parts: KeyParts, days: number): number => {
  const { maxCertificateDays } = parts.defaults;
  if (Number.isSafeInteger(days) && days >= 1 && days <= maxCertificateDays) return days;
  throw badField('days', `Between 1 and ${maxCertificateDays} days.`, 'Correct it.');
};

/** Positive, 127 random bits (RFC 5280 §4.1.2.2, at most 20 octets). */
const serialNumber = (): asn1js.Integer => {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return new asn1js.Integer({ valueHex: toBuffer(bytes) });
};

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5); whole seconds. */
const certificateTime = (at: number): Time => {
  const value = new Date(Math.trunc(at / 1000) * 1000);
  return new Time({ type: value.getUTCFullYear() < 2050 ? 0 : 1, value });
};

const certificateExtensions = (object: ManagedObject, info: PublicKeyInfo, request: OperationRequest<'self-sign'>): Extension[] => {
  const ca = request.ca === true;
  const id = keyIdentifier(info);
  const authority = new asn1js.Sequence({ value: [new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 0 }, valueHex: id })] });
  return [
    extension(OID.basicConstraints, true, new BasicConstraints({ cA: ca }).toSchema()),
    extension(OID.keyUsage, true, keyUsage(object, ca)),
    extension(OID.subjectKeyIdentifier, false, new asn1js.OctetString({ valueHex: id })),
    extension(OID.authorityKeyIdentifier, false, authority),
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
