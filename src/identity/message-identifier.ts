import { createHash } from 'node:crypto';
import type { Authentication, Caller, Credential, FaultError, MessageCredential } from '../domain/index.js';
import { fail } from '../domain/index.js';
import type { Identifier } from '../guard/ports.js';
import type { Logins } from './login.js';
import { makeThrottle } from './throttle.js';

type Identified = Awaited<ReturnType<Identifier['identify']>>;
type Certificate = NonNullable<Extract<Credential, { kind: 'message' }>['certificate']>;
type Secret = Exclude<MessageCredential, { kind: 'token' }>;

interface MessageIdentifierParts {
  readonly logins: Logins | undefined;
  readonly clock: () => number;
  readonly resolve: (tenant: string, id: string) => Promise<Pick<Identified, 'principal' | 'parent'>>;
  readonly byCertificate: (certificate: Certificate, now: number) => Promise<Identified>;
  readonly byToken: (token: string, caller: Caller, now: number) => Promise<Identified>;
  readonly refusal: () => FaultError;
}

/** Where a login without certificate belongs that names no tenant. */
const OPERATOR_TENANT = 'default';
const MAX_PRESENTED = 8;
const MAX_SECRET = 1_024;
/** Wrong passwords of one login per minute, whatever their source, from which on it is closed for the rest of that minute. */
const LOGIN_THROTTLE = { slowedAt: 10, closedAt: 20 } as const;
const WITH_TENANT = /^(.+)@([a-z0-9][a-z0-9-]{0,62})$/s;

const tooLong = (credential: Secret): boolean =>
  Object.values(credential).some((value) => (typeof value === 'string' || value instanceof Uint8Array) && value.length > MAX_SECRET);

/**
 * Credentials of a message. Each has to hold, and so has the certificate of the connection: a wrong one refuses the request whatever the
 * others prove. All belong to one tenant. The last one says who acts: a password names the person where the certificate names the machine.
 */
export const makeMessageIdentifier = (parts: MessageIdentifierParts) => {
  const throttle = makeThrottle({ ...LOGIN_THROTTLE, clock: parts.clock });

  const bySecret = async (given: Secret, tenant: string | undefined, caller: Caller, now: number): Promise<Identified> => {
    if (parts.logins === undefined || tooLong(given)) throw parts.refusal();
    const named = tenant === undefined ? WITH_TENANT.exec(given.login) : null;
    const login = named?.[1] ?? given.login;
    const home = tenant ?? named?.[2] ?? OPERATOR_TENANT;
    const key = createHash('sha256').update(`${home}\0${given.kind}\0${login}`).digest('hex').slice(0, 32);
    if (throttle.level(key) === 'closed')
      throw fail('rate-limited', 'Too many failed authentications.', {
        retryAfterMs: throttle.retryAfterMs(key),
        next: 'Wait, then present a valid credential.',
      });
    const facts = { withCertificate: tenant !== undefined, requestId: caller.requestId, now };
    const proven = await parts.logins.verify(home, { ...given, login }, facts);
    if (proven === undefined) {
      throttle.failed(key);
      throw parts.refusal();
    }
    const authentication: Authentication = {
      method: given.kind,
      credentialId: `${given.kind}:${key}`,
      ...(proven.serverProof === undefined ? {} : { serverProof: proven.serverProof }),
    };
    return { ...(await parts.resolve(home, proven.principalId)), authentication };
  };

  return async (credential: Extract<Credential, { kind: 'message' }>, caller: Caller, now: number): Promise<Identified> => {
    const { certificate, presented } = credential;
    if (presented.length === 0 || presented.length > MAX_PRESENTED) throw parts.refusal();
    const first = certificate === undefined ? undefined : await parts.byCertificate(certificate, now);
    let last = first;
    for (const one of presented) {
      const next =
        one.kind === 'token' ? await parts.byToken(one.token, caller, now) : await bySecret(one, last?.principal.tenant, caller, now);
      if (last !== undefined && next.principal.tenant !== last.principal.tenant) throw parts.refusal();
      last = next;
    }
    if (last === undefined) throw parts.refusal();
    return last;
  };
};
