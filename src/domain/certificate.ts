import type { RevocationReason } from './managed-object.js';

/** Attributes by which the service knows its authorities and the certificates they issued; only the service writes them. */
export const CERTIFICATE_ATTRIBUTES = {
  /** On the private key of an authority, and on its own certificate: true. */
  authority: 'x-aegis-authority',
  /** On the private key of an authority: id of its own certificate. */
  authorityCertificate: 'x-aegis-authority-certificate',
  /** On an authority's own certificate: id of its key. */
  authorityKey: 'x-aegis-authority-key',
  /** On a certificate issued here: id of the authority's key. */
  issuedBy: 'x-aegis-issued-by',
  /** On a certificate issued here: true, so that all of a tenant are found at once. */
  issued: 'x-aegis-issued',
  /** On a certificate issued here for a principal: whoever presents it is that principal while the object is active. */
  principal: 'x-aegis-certificate-principal',
  /**
   * On what the service keeps for itself (authorities, certificates that stand for principals): true. Locate leaves it out,
   * so that a client which takes all it finds never meets a key that is not its own, and only administrators change it.
   */
  service: 'x-aegis-service',
  purposes: 'x-aegis-certificate-purposes',
  altNames: 'x-aegis-x509-alt-names',
  subject: 'x-aegis-x509-subject',
  issuer: 'x-aegis-x509-issuer',
  serial: 'x-aegis-x509-serial',
  fingerprint: 'x-aegis-x509-fingerprint',
  notBefore: 'x-aegis-x509-not-before',
  notAfter: 'x-aegis-x509-not-after',
} as const;

/** Extended key usages an issued certificate may have (RFC 5280 §4.2.1.12). */
export const CERTIFICATE_PURPOSES = ['client', 'server'] as const;
export type CertificatePurpose = (typeof CERTIFICATE_PURPOSES)[number];

export const CERTIFICATE_STATES = ['valid', 'revoked', 'expired', 'inactive'] as const;
/** `inactive`: neither revoked nor expired, but the object is pre-active, archived or was deactivated by a date. */
export type CertificateState = (typeof CERTIFICATE_STATES)[number];

/** A certificate issued by an authority of this service. */
export interface CertificateView {
  /** Id of the managed object. */
  readonly id: string;
  readonly tenant: string;
  readonly names: readonly string[];
  readonly state: CertificateState;
  /** RFC 4514, most specific first. */
  readonly subject: string;
  readonly issuer: string;
  /** As `DNS:…`, `IP:…`, `email:…`, `URI:…`. */
  readonly subjectAltNames: readonly string[];
  /** Hex. */
  readonly serial: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly purposes: readonly CertificatePurpose[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Id of the authority's key. */
  readonly authority: string;
  /** Whoever presents it is this principal. */
  readonly principalId?: string;
  readonly revocation?: { readonly reason: RevocationReason; readonly message?: string; readonly at: number };
  readonly replaces?: string;
  readonly replacedBy?: string;
  /** DER; absent once destroyed. */
  readonly certificate?: Uint8Array;
  readonly revision: number;
}

/** An authority of this service: its key lives in a root of trust and signs nothing but certificates and revocation lists. */
export interface AuthorityView {
  /** Id of the key. */
  readonly id: string;
  readonly certificateId: string;
  readonly tenant: string;
  readonly names: readonly string[];
  /** Issues where no authority is named: the newest active one. */
  readonly isDefault: boolean;
  readonly state: 'active' | 'retired';
  readonly subject: string;
  readonly spec: string;
  readonly root: string;
  readonly serial: string;
  readonly fingerprint: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER. */
  readonly certificate: Uint8Array;
}
