import type { X509Certificate } from 'node:crypto';
import type { Credential } from '../domain/index.js';

/** What several planes read from a client certificate. Nothing is decided here: the guard's identifier maps it to a principal. */

/** node prints one RDN per line in encoding order, values escaped (RFC 2253); RFC 4514 §2.1 wants the last first, comma separated. */
export const toDistinguishedName = (subject: string): string =>
  subject
    .split('\n')
    .filter((part) => part !== '')
    .reverse()
    .join(',');

/** `DNS:a, URI:"x, y"` → entries. node quotes (as JSON) a value that holds a comma or a quote, so that entries cannot be forged. */
export function parseSubjectAltName(text: string | undefined): string[] {
  const entries = text?.match(/[^,\s][^,:]*:(?:"(?:[^"\\]|\\.)*"|[^,]*)/g) ?? [];
  return entries.map((entry) => {
    const colon = entry.indexOf(':');
    const value = entry.slice(colon + 1);
    return `${entry.slice(0, colon)}:${value.startsWith('"') ? (JSON.parse(value) as string) : value}`;
  });
}

export type CertificateCredential = Extract<Credential, { kind: 'certificate' }>;

export interface ClientCertificate {
  readonly credential: CertificateCredential;
  /** Validity, ms since the epoch. */
  readonly from: number;
  readonly until: number;
}

/** A certificate whose chain has been verified, as a credential. */
export function toClientCertificate(certificate: X509Certificate): ClientCertificate {
  return {
    credential: {
      kind: 'certificate',
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      subject: toDistinguishedName(certificate.subject),
      subjectAltNames: parseSubjectAltName(certificate.subjectAltName),
    },
    from: Date.parse(certificate.validFrom),
    until: Date.parse(certificate.validTo),
  };
}

/** The credential while the certificate is valid, else nothing. */
export const credentialAt = (certificate: ClientCertificate, now: number): CertificateCredential | undefined =>
  now >= certificate.from && now <= certificate.until ? certificate.credential : undefined;
