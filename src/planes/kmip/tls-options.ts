import type { TlsOptions } from 'node:tls';

/** Forward secrecy and authenticated encryption only (KMIP Profiles 2.1 §3.1.1; RFC 9325 §4.2). */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');

type Pem = string | Buffer;

/** What the plane proves itself with and whom it believes, PEM. */
export interface KmipTls {
  /** One for each kind of key; the client's offer decides which is used. */
  readonly key: Pem | readonly Pem[];
  /** Certificate and chain, for each key. */
  readonly cert: Pem | readonly Pem[];
  /** Authorities of client certificates. */
  readonly ca: Pem | readonly Pem[];
  readonly crl?: Pem | readonly Pem[];
}

const all = (pem: Pem | readonly Pem[]): Pem[] => (typeof pem === 'string' || Buffer.isBuffer(pem) ? [pem] : [...pem]);

export const secureContextOf = (tls: KmipTls): TlsOptions => ({
  key: all(tls.key),
  cert: all(tls.cert),
  ca: all(tls.ca),
  ...(tls.crl === undefined ? {} : { crl: all(tls.crl) }),
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  ecdhCurve: 'X25519:P-256:P-384:P-521',
  honorCipherOrder: true,
});

export const serverTlsOptions = (tls: KmipTls, handshakeTimeoutMs: number): TlsOptions => ({
  ...secureContextOf(tls),
  requestCert: true,
  // Whoever fails is closed by the identity check, which knows the operator's settings.
  rejectUnauthorized: false,
  handshakeTimeout: handshakeTimeoutMs,
});
