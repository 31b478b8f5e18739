import { randomBytes, type X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { FastifyRequest } from 'fastify';
import type { Caller, Credential } from '../../domain/index.js';
import { type ClientCertificate, credentialAt, toClientCertificate } from '../client-certificate.js';
import { WireRefusal } from './problem.js';

/** What this plane knows about a caller. It decides nothing: a bad credential goes to the guard as none. */

export const NO_CREDENTIAL: Credential = { kind: 'none' };
const TOKEN_MAX_CHARACTERS = 512;
const BEARER = /^[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)$/;

/** Authorization header → credential (RFC 6750 §2.1, RFC 9110 §11.4). Anything else than one well-formed bearer token is none. */
function parseAuthorization(header: string): Credential {
  if (header.length > TOKEN_MAX_CHARACTERS + 16) return NO_CREDENTIAL;
  const token = BEARER.exec(header)?.[1];
  return token === undefined || token.length > TOKEN_MAX_CHARACTERS ? NO_CREDENTIAL : { kind: 'bearer', token };
}

interface Presented {
  readonly header: string;
  readonly credential: Credential;
}
const PRESENTED = Symbol('aegis.rest.presented');

/**
 * A connection hardly ever changes its token: the credential of the last request is used again while the header is the same.
 * The comparison is with what the same client sent before, so its timing tells nobody anything new.
 */
function bearerOf(socket: { [PRESENTED]?: Presented }, header: string): Credential {
  const last = socket[PRESENTED];
  if (last?.header === header) return last.credential;
  const credential = parseAuthorization(header);
  if (credential.kind === 'bearer') socket[PRESENTED] = { header, credential };
  return credential;
}

/** One certificate per connection: read once. */
const certificates = new WeakMap<TLSSocket, ClientCertificate | null>();

function readCertificate(socket: TLSSocket): ClientCertificate | null {
  const certificate: X509Certificate | undefined = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return certificate === undefined ? null : toClientCertificate(certificate);
}

/** Client certificate of the connection, if it chains to the configured authorities and is valid at this moment. */
function certificateCredential(socket: TLSSocket): Credential {
  let known = certificates.get(socket);
  if (known === undefined) {
    known = readCertificate(socket);
    certificates.set(socket, known);
  }
  return known === null ? NO_CREDENTIAL : (credentialAt(known, Date.now()) ?? NO_CREDENTIAL);
}

/** An Authorization header speaks for itself, also when it is malformed: it never falls back to the certificate. */
function credentialOf(request: IncomingMessage): Credential {
  const authorization = request.headers.authorization;
  if (authorization !== undefined) return bearerOf(request.socket as { [PRESENTED]?: Presented }, authorization);
  return request.socket instanceof TLSSocket ? certificateCredential(request.socket) : NO_CREDENTIAL;
}

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;
const bootId = randomBytes(9).toString('base64url');
let requestCount = 0;

/** X-Request-Id of the client where it is printable and short, else one of ours: unique, not secret. */
export function requestIdOf(request: { readonly headers: IncomingHttpHeaders }): string {
  const given = request.headers['x-request-id'];
  if (typeof given === 'string' && REQUEST_ID.test(given)) return given;
  requestCount += 1;
  return `${bootId}-${requestCount.toString(36)}`;
}

const USER_AGENT_MAX = 256;
const TENANT = /^[a-z0-9][a-z0-9-]{0,62}$/;

function tenantOf(headers: IncomingHttpHeaders): string | undefined {
  const tenant = headers['x-aegis-tenant'];
  if (tenant === undefined) return undefined;
  if (typeof tenant === 'string' && TENANT.test(tenant)) return tenant;
  throw new WireRefusal({
    code: 'invalid-field',
    message: 'X-Aegis-Tenant is not a tenant name',
    field: 'X-Aegis-Tenant',
    next: 'Use lower-case letters, digits and hyphens, or leave the header out.',
  });
}

export function toCaller(request: FastifyRequest, signal: AbortSignal | undefined): Caller {
  const headers = request.raw.headers;
  const userAgent = headers['user-agent'];
  const tenant = tenantOf(headers);
  return {
    plane: 'rest',
    credential: credentialOf(request.raw),
    requestId: request.id,
    source: request.raw.socket.remoteAddress ?? 'local',
    ...(userAgent === undefined
      ? undefined
      : { userAgent: userAgent.length > USER_AGENT_MAX ? userAgent.slice(0, USER_AGENT_MAX) : userAgent }),
    ...(tenant === undefined ? undefined : { tenant }),
    ...(signal === undefined ? undefined : { signal }),
  };
}
