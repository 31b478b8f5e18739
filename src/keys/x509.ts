import { createHash, randomBytes } from 'node:crypto';
import { type Algorithm, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import { Extension, type GeneralNames, PublicKeyInfo, Time } from 'pkijs';
import { fail, type LoadedObject, type ManagedObject, type ObjectVersion } from '../domain/index.js';
import { boundKey, specOf } from './chosen-key.js';
import type { KeyParts } from './key-parts.js';

/** What every certificate, request and revocation list made here is built of. */
export const OID = {
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  crlNumber: '2.5.29.20',
  crlReason: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

export const DAY_MS = 86_400_000;
/** Clocks of others run behind; a certificate valid from this very second fails on them. */
export const BACKDATE_MS = 60_000;

/** A copy of exactly these bytes. `slice` would not do: on a Buffer it is a view, and `.buffer` the whole pool behind it. */
export const toBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
export const extension = (extnID: string, critical: boolean, value: asn1js.BaseBlock): Extension =>
  new Extension({ extnID, critical, extnValue: value.toBER() });

/** SubjectPublicKeyInfo DER as pkijs wants it. */
export const toKeyInfo = (spki: Uint8Array): PublicKeyInfo => new PublicKeyInfo({ schema: asn1js.fromBER(toBuffer(spki)).result });

export const keyInfo = (version: ObjectVersion): PublicKeyInfo => {
  if (version.publicKey === undefined) throw fail('wrong-object-type', 'The key has no public half.', { next: 'Use a key pair.' });
  return toKeyInfo(version.publicKey);
};

/** RFC 5280 §4.2.1.2 method 1: SHA-1 of the subjectPublicKey bits, an identifier and nothing more. */
export const keyIdentifier = (info: PublicKeyInfo): ArrayBuffer =>
  toBuffer(createHash('sha1').update(info.subjectPublicKey.valueBlock.valueHexView).digest());
export const subjectKeyExtension = (id: ArrayBuffer): Extension =>
  extension(OID.subjectKeyIdentifier, false, new asn1js.OctetString({ valueHex: id }));
export const authorityKeyExtension = (id: ArrayBuffer): Extension =>
  extension(
    OID.authorityKeyIdentifier,
    false,
    new asn1js.Sequence({ value: [new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 0 }, valueHex: id })] }),
  );

/** KeyUsage, bit 0 leftmost (RFC 5280 §4.2.1.3). */
export const keyUsageBits = (bits: number): asn1js.BitString => {
  let unused = 0;
  while (((bits >> unused) & 1) === 0) unused += 1;
  return new asn1js.BitString({ valueHex: Uint8Array.of(bits).buffer, unusedBits: unused });
};

export const altNames = (names: GeneralNames | undefined, critical = false): readonly Extension[] =>
  names === undefined ? [] : [extension(OID.subjectAltName, critical, names.toSchema())];

/** Positive, 127 random bits (RFC 5280 §4.1.2.2, at most 20 octets). */
export const serialNumber = (): asn1js.Integer => {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return new asn1js.Integer({ valueHex: toBuffer(bytes) });
};

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5); whole seconds. */
export const certificateTime = (at: number): Time => {
  const value = new Date(Math.trunc(at / 1000) * 1000);
  return new Time({ type: value.getUTCFullYear() < 2050 ? 0 : 1, value });
};

export interface Signing {
  readonly loaded: LoadedObject;
  readonly version: ObjectVersion;
  readonly algorithm: Algorithm;
}

/** Many authorities and clients still refuse RSA-PSS in certificates; without a wish, RSA keys sign them the older way. */
export const interoperable = async (parts: KeyParts, object: ManagedObject): Promise<Algorithm | undefined> => {
  const spec = specOf(object);
  if (KEY_SPECS[spec].family !== 'rsa') return undefined;
  return parts.roots.supports(await parts.roots.describe(object.rootId), 'rsa-pkcs1-sha256', spec) ? 'rsa-pkcs1-sha256' : undefined;
};

/** DER of what is signed: the first element of the outer sequence. */
export const signedPart = (structure: { toSchema(encodeFlag: boolean): asn1js.Sequence }): ArrayBuffer => {
  const first = structure.toSchema(true).valueBlock.value[0];
  if (first === undefined) throw fail('internal', 'The certificate could not be encoded.');
  return first.toBER();
};

/** Signs DER in the root; ECDSA comes as the DER sequence that X.509 wants (RFC 5758 §3.2). */
export const signDer = async (parts: KeyParts, { loaded, version, algorithm }: Signing, data: ArrayBuffer): Promise<asn1js.BitString> => {
  const { signature } = await parts.roots.call(loaded.object.rootId, 'sign', {
    key: boundKey(loaded.object, version),
    algorithm,
    data: new Uint8Array(data),
    ...(algorithm.startsWith('ecdsa') ? { encoding: 'der' as const } : {}),
  });
  return new asn1js.BitString({ valueHex: toBuffer(signature) });
};
