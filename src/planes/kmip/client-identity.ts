import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Credential } from '../../domain/index.js';
import { type ClientCertificate, credentialAt, toClientCertificate } from '../client-certificate.js';

// Which certificate a connection has proved, checked again where TLS only remembers it.

/** Extended key usage of client certificates: `if-present` refuses one that names other uses only (RFC 5280 §4.2.1.12). */
export type EkuCheck = 'required' | 'if-present' | 'ignored';

export interface IdentityOptions {
  readonly eku: EkuCheck;
  /** A connection without certificate may go on and authenticate by the credential in its messages. */
  readonly certificateOptional: boolean;
  /** Authorities, PEM: for chains that TLS refused for their extended key usage alone. */
  readonly authorities: readonly X509Certificate[];
  /** Revocation that the operator knows of besides the CRL. */
  readonly isRevoked?: (certificate: { readonly fingerprint: string; readonly serialNumber: string }) => boolean;
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';
const MAX_CHAIN = 8;
const MAX_VERIFIED = 10_000;
const NO_CREDENTIAL: Credential = { kind: 'none' };
/** A certificate that has ended is not the same as none, which a password in the header might make up for: the guard refuses this one. */
const ENDED: Credential = { kind: 'bearer', token: '' };

/** What a connection is known by; asked again for every request, because a certificate ends while a connection lasts. */
export interface ConnectionIdentity {
  credential(): Credential;
}

export interface IdentityCheck {
  /** The identity of a finished handshake, or undefined when the connection is to be closed. */
  check(socket: TLSSocket): ConnectionIdentity | undefined;
  /** After authorities changed: sessions made before do not resume. */
  forget(): void;
}

export function makeIdentityCheck(options: () => IdentityOptions): IdentityCheck {
  /** Certificates whose chain a full handshake of this process has verified, oldest first. */
  const verified = new Map<string, true>();
  const remember = (fingerprint: string): void => {
    verified.delete(fingerprint);
    if (verified.size >= MAX_VERIFIED)
      for (const oldest of verified.keys()) return void (verified.delete(oldest) && verified.set(fingerprint, true));
    verified.set(fingerprint, true);
  };
  return {
    check(socket) {
      const certificate = socket.getPeerX509Certificate();
      if (certificate === undefined) return options().certificateOptional ? { credential: () => NO_CREDENTIAL } : undefined;
      const client = toClientCertificate(certificate);
      if (!chainHolds(socket, certificate, options())) return undefined;
      // A resumed session carries the certificate but not the proof that the authorities of today would accept it.
      if (socket.isSessionReused() && !verified.has(client.credential.fingerprint)) return undefined;
      if (!ekuHolds(certificate, options().eku)) return undefined;
      const identity = identityOf(client, certificate, options);
      if (identity.credential() === ENDED) return undefined;
      remember(client.credential.fingerprint);
      return identity;
    },
    forget: () => verified.clear(),
  };
}

function identityOf(client: ClientCertificate, certificate: X509Certificate, options: () => IdentityOptions): ConnectionIdentity {
  const known = { fingerprint: client.credential.fingerprint, serialNumber: certificate.serialNumber };
  return {
    credential: () => (options().isRevoked?.(known) === true ? ENDED : (credentialAt(client, Date.now()) ?? ENDED)),
  };
}

function ekuHolds(certificate: X509Certificate, check: EkuCheck): boolean {
  const usages = certificate.keyUsage as readonly string[] | undefined;
  if (check === 'ignored') return true;
  if (usages === undefined || usages.length === 0) return check === 'if-present';
  return usages.includes(CLIENT_AUTH) || usages.includes(ANY_USAGE);
}

function chainHolds(socket: TLSSocket, certificate: X509Certificate, options: IdentityOptions): boolean {
  if (socket.authorized) return true;
  // OpenSSL insists on the client usage; where the operator does not, the chain is verified here without it.
  return (
    options.eku === 'ignored' &&
    String(socket.authorizationError) === 'INVALID_PURPOSE' &&
    verifiesTo(certificate, presented(socket), options.authorities)
  );
}

/** Certificates that the client sent after its own. */
function presented(socket: TLSSocket): X509Certificate[] {
  const found: X509Certificate[] = [];
  let at = socket.getPeerCertificate(true);
  while (found.length < MAX_CHAIN && at?.issuerCertificate !== undefined && at.issuerCertificate !== at) {
    at = at.issuerCertificate;
    found.push(new X509Certificate(at.raw));
  }
  return found;
}

const validNow = (certificate: X509Certificate): boolean => {
  const now = Date.now();
  return Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo);
};
const issued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);

function verifiesTo(leaf: X509Certificate, between: readonly X509Certificate[], authorities: readonly X509Certificate[]): boolean {
  let current = leaf;
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    if (!validNow(current)) return false;
    const subject = current;
    if (authorities.some((authority) => validNow(authority) && issued(authority, subject))) return true;
    const next = between.find((candidate) => candidate.fingerprint256 !== subject.fingerprint256 && issued(candidate, subject));
    if (next === undefined) return false;
    current = next;
  }
  return false;
}
