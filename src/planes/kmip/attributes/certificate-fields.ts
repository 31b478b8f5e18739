import { X509Certificate } from 'node:crypto';
import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';

// What KMIP says of an X.509 certificate (KMIP 1.4 §3.9–§3.15, 2.1 §4.8), read from its DER.

interface Tlv {
  readonly tag: number;
  /** Tag, length and content. */
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

/** The elements of a constructed value; stops at what is no DER. */
export const elementsOf = (bytes: Uint8Array): readonly Tlv[] => {
  const found: Tlv[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const tag = bytes[at] as number;
    const first = bytes[at + 1] as number;
    const more = first < 0x80 ? 0 : first & 0x7f;
    if (more > 4 || at + 2 + more > bytes.length) break;
    let length = more === 0 ? first : 0;
    for (let i = 0; i < more; i += 1) length = length * 256 + (bytes[at + 2 + i] as number);
    const end = at + 2 + more + length;
    if (end > bytes.length) break;
    found.push({ tag, whole: bytes.subarray(at, end), content: bytes.subarray(at + 2 + more, end) });
    at = end;
  }
  return found;
};

/** Attribute types of a distinguished name that KMIP 1.4 has an attribute for (X.520, RFC 4519, PKCS#9). */
const NAME_PARTS: ReadonlyMap<string, string> = new Map([
  ['550403', 'CN'],
  ['55040a', 'O'],
  ['55040b', 'OU'],
  ['2a864886f70d010901', 'Email'],
  ['550406', 'C'],
  ['550408', 'ST'],
  ['550407', 'L'],
  ['0992268993f22c640101', 'UID'],
  ['550405', 'SerialNumber'],
  ['55040c', 'Title'],
  ['0992268993f22c640119', 'DC'],
  ['55042e', 'DNQualifier'],
]);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** A directory string: BMPString is UTF-16, the others are read as UTF-8. */
const textOf = ({ tag, content }: Tlv): string =>
  tag === 0x1e ? Buffer.from(content).swap16().toString('utf16le') : Buffer.from(content).toString('utf8');

const nameParts = (name: Tlv): readonly { readonly part: string | undefined; readonly oid: string; readonly text: string }[] =>
  elementsOf(name.content).flatMap((set) =>
    elementsOf(set.content).flatMap((pair) => {
      const [oid, value] = elementsOf(pair.content);
      return oid === undefined || value === undefined
        ? []
        : [{ part: NAME_PARTS.get(hex(oid.content)), oid: hex(oid.content), text: textOf(value) }];
    }),
  );

/** RFC 4514: the most specific part first. */
const distinguished = (name: Tlv): string =>
  [...nameParts(name)]
    .reverse()
    .map(({ part, oid, text }) => `${part ?? oid}=${text.replace(/[,+"\\<>;]/g, '\\$&')}`)
    .join(',');

/** Signature algorithms by their OID (RFC 3279, 4055, 5758); KMIP's Digital Signature Algorithm. */
const SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['2a864886f70d010102', 'MD2WithRSAEncryption'],
  ['2a864886f70d010104', 'MD5WithRSAEncryption'],
  ['2a864886f70d010105', 'SHA_1WithRSAEncryption'],
  ['2a864886f70d01010e', 'SHA_224WithRSAEncryption'],
  ['2a864886f70d01010b', 'SHA_256WithRSAEncryption'],
  ['2a864886f70d01010c', 'SHA_384WithRSAEncryption'],
  ['2a864886f70d01010d', 'SHA_512WithRSAEncryption'],
  ['2a864886f70d01010a', 'RSASSA_PSS'],
  ['2a8648ce380403', 'DSAWithSHA_1'],
  ['608648016503040301', 'DSAWithSHA224'],
  ['608648016503040302', 'DSAWithSHA256'],
  ['2a8648ce3d0401', 'ECDSAWithSHA_1'],
  ['2a8648ce3d040301', 'ECDSAWithSHA224'],
  ['2a8648ce3d040302', 'ECDSAWithSHA256'],
  ['2a8648ce3d040303', 'ECDSAWithSHA384'],
  ['2a8648ce3d040304', 'ECDSAWithSHA512'],
]);

const alternativeNames = (text: string | undefined): readonly string[] => (text === undefined ? [] : text.split(', '));
const some = <T>(name: string, list: readonly T[]): Readonly<Record<string, readonly T[]>> => (list.length === 0 ? {} : { [name]: list });

const parts = (prefix: 'CertificateIssuer' | 'CertificateSubject', name: Tlv): readonly KmipAttribute[] =>
  nameParts(name).flatMap(({ part, text }) => (part === undefined ? [] : [{ name: `${prefix}${part}`, value: text }]));

/** Subject Alternative Names as Node prints them, or none where it cannot read them. */
const subjectAlternatives = (der: Uint8Array): readonly string[] => {
  try {
    return alternativeNames(new X509Certificate(Buffer.from(der)).subjectAltName);
  } catch {
    return [];
  }
};

/** The attributes that an X.509 certificate in DER says itself; none for bytes that are no certificate. Every version's. */
export const certificateFields = (der: Uint8Array): readonly KmipAttribute[] => {
  const [certificate] = elementsOf(der);
  const [tbs, algorithm] = certificate === undefined ? [] : elementsOf(certificate.content);
  if (tbs === undefined || algorithm === undefined) return [];
  const fields = elementsOf(tbs.content);
  const offset = fields[0]?.tag === 0xa0 ? 1 : 0;
  const [serial, , issuer, , subject] = fields.slice(offset);
  if (serial === undefined || issuer === undefined || subject === undefined) return [];
  const alternatives = subjectAlternatives(der);
  const signature = SIGNATURES.get(hex(elementsOf(algorithm.content)[0]?.content ?? new Uint8Array(0)));
  return [
    { name: 'CertificateLength', value: der.length },
    { name: 'CertificateIdentifier', value: { Issuer: distinguished(issuer), SerialNumber: hex(serial.content) } as Fields },
    { name: 'CertificateIssuer', value: { CertificateIssuerDistinguishedName: distinguished(issuer) } as Fields },
    {
      name: 'CertificateSubject',
      value: {
        CertificateSubjectDistinguishedName: distinguished(subject),
        ...some('CertificateSubjectAlternativeName', alternatives),
      } as Fields,
    },
    ...parts('CertificateIssuer', issuer),
    ...parts('CertificateSubject', subject),
    { name: 'CertificateIssuerDN', value: distinguished(issuer) },
    { name: 'CertificateSubjectDN', value: distinguished(subject) },
    {
      name: 'X_509CertificateIdentifier',
      value: { IssuerDistinguishedName: issuer.whole, CertificateSerialNumber: serial.whole } as Fields,
    },
    { name: 'X_509CertificateIssuer', value: { IssuerDistinguishedName: issuer.whole } as Fields },
    {
      name: 'X_509CertificateSubject',
      value: {
        SubjectDistinguishedName: subject.whole,
        ...some(
          'SubjectAlternativeName',
          alternatives.map((one) => new Uint8Array(Buffer.from(one, 'utf8'))),
        ),
      } as Fields,
    },
    ...(signature === undefined ? [] : [{ name: 'DigitalSignatureAlgorithm', value: signature }]),
  ];
};
