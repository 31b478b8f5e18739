import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import { Certificate, CertificationRequest } from 'pkijs';
import { badField } from './field-rules.js';

const specOfRsa = (bits: number): KeySpec | undefined => {
  const name = `rsa-${bits}`;
  return Object.hasOwn(KEY_SPECS, name) ? (name as KeySpec) : undefined;
};

/** The spec of a public key, as OpenSSL reads it. */
const specOfPublicKey = (key: KeyObject): KeySpec | undefined => {
  const details = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa') return specOfRsa(details.modulusLength ?? 0);
  const curve = key.asymmetricKeyType === 'ec' ? details.namedCurve : key.asymmetricKeyType;
  return (Object.keys(KEY_SPECS) as KeySpec[]).find((s) => KEY_SPECS[s].curve === curve && KEY_SPECS[s].shape === 'pair');
};

const PEM_NEXT = 'Send DER; PEM is converted by the command line (`aegis key import`).';

/** SubjectPublicKeyInfo DER → canonical DER and spec. */
export const readPublicKey = (der: Uint8Array, field: string): { readonly spki: Uint8Array; readonly spec: KeySpec } => {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  } catch {
    throw badField(field, 'Not a SubjectPublicKeyInfo in DER.', PEM_NEXT);
  }
  const spec = specOfPublicKey(key);
  if (spec === undefined) throw badField(field, 'A public key of a kind or size that is not supported.', 'Use a listed key spec.');
  return { spki: new Uint8Array(key.export({ format: 'der', type: 'spki' })), spec };
};

export interface ReadCertificate {
  readonly spki: Uint8Array;
  /** Absent for key kinds Aegis does not use; the certificate is kept all the same. */
  readonly spec?: KeySpec;
  readonly facts: Readonly<Record<string, string>>;
}

/** The certificate's key as it stands there, where OpenSSL has no use for it: an unknown algorithm, a point off its curve. */
const certifiedKey = (certificate: X509Certificate): { readonly spki: Uint8Array; readonly spec: KeySpec | undefined } => {
  try {
    const key = certificate.publicKey;
    return { spki: new Uint8Array(key.export({ format: 'der', type: 'spki' })), spec: specOfPublicKey(key) };
  } catch {
    const { subjectPublicKeyInfo } = new Certificate({ schema: asn1js.fromBER(new Uint8Array(certificate.raw).buffer).result });
    return { spki: new Uint8Array(subjectPublicKeyInfo.toSchema().toBER()), spec: undefined };
  }
};

export const readCertificate = (der: Uint8Array, field: string): ReadCertificate => {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(Buffer.from(der));
  } catch {
    throw badField(field, 'Not an X.509 certificate in DER.', PEM_NEXT);
  }
  // PEM parses too; what is stored and signed over is DER.
  if (!Buffer.from(der).equals(certificate.raw)) throw badField(field, 'Not exactly one X.509 certificate in DER.', PEM_NEXT);
  const { spki, spec } = certifiedKey(certificate);
  return {
    spki,
    ...(spec === undefined ? {} : { spec }),
    facts: {
      'x-aegis-x509-subject': certificate.subject,
      'x-aegis-x509-issuer': certificate.issuer,
      'x-aegis-x509-serial': certificate.serialNumber.toLowerCase(),
      'x-aegis-x509-fingerprint': certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      'x-aegis-x509-not-before': new Date(certificate.validFrom).toISOString(),
      'x-aegis-x509-not-after': new Date(certificate.validTo).toISOString(),
    },
  };
};

/** PKCS#10 (RFC 2986): parsed whole, so that no other DER is kept under that name. */
export const readCertificateRequest = (der: Uint8Array, field: string): { readonly spki: Uint8Array } => {
  try {
    const parsed = asn1js.fromBER(new Uint8Array(der).buffer);
    if (parsed.offset !== der.length) throw new Error('trailing bytes');
    const request = new CertificationRequest({ schema: parsed.result });
    return { spki: new Uint8Array(request.subjectPublicKeyInfo.toSchema().toBER()) };
  } catch {
    throw badField(field, 'Not a PKCS#10 certificate request in DER.', PEM_NEXT);
  }
};
