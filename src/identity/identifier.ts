import type { Authentication, Caller, Credential, Principal, StoredCertificateBinding, StoredToken } from '../domain/index.js';
import { CERTIFICATE_ATTRIBUTES, effectiveState, FaultError, fail } from '../domain/index.js';
import type { Identified, Identifier } from '../guard/ports.js';
import type { IdentityStore, SettingStore } from '../storage/ports.js';
import { type Logins, makeLogins } from './login.js';
import { makeMessageIdentifier } from './message-identifier.js';
import { withinParent } from './roles.js';
import { makeThrottle, type Throttle, type ThrottleOptions } from './throttle.js';
import { type ParsedToken, parsePin, parseToken, sameHash } from './token.js';

export interface IdentifierOptions {
  readonly store: Pick<
    IdentityStore,
    'principal' | 'tokenByHash' | 'certificateBinding' | 'issuedCertificate' | 'cachedToken' | 'cachedPrincipal'
  > &
    Partial<Pick<IdentityStore, 'token'>>;
  /** Where passwords and the like of message credentials are kept; absent = none is accepted. */
  readonly settings?: Pick<SettingStore, 'setting'>;
  /** Components of this process that may act. Default INTERNAL_COMPONENTS. */
  readonly components?: readonly string[];
  readonly throttle?: Omit<ThrottleOptions, 'clock'>;
  /** Milliseconds; only for the throttle's windows. Default Date.now. */
  readonly clock?: () => number;
}

/**
 * Built-in service principals `system:<component>`, for calls that begin inside the process. They have no roles: the
 * built-in policy gives each the few actions it needs by its name.
 */
export const INTERNAL_COMPONENTS = [
  ...[
    'scheduler',
    'reaper',
    'keys',
    'audit',
    'sequencer',
    'backup',
    'bootstrap',
    'recovery',
    'monitor',
    'jwks',
    'crl',
    'kmip',
    'pkcs11',
    'app',
  ],
] as const;
/** Where a component acts that names no tenant. */
const OPERATOR_TENANT = 'default';
const MAX_KNOWN_GOOD = 8192;
/** PIN guesses of one source per minute from which on it is told to slow down, and from which on unknown PINs are not looked up. */
const PIN_THROTTLE = { slowedAt: 10, closedAt: 60 } as const;
/** Logins that one PIN opens on one node; an application that needs more wants a token. */
const MAX_PIN_LOGINS = 10_000;
const MAX_COUNTED_PINS = 4096;

/** One answer for every way of being nobody: it must not tell which part of a credential was right. */
const unauthenticated = (): FaultError =>
  fail('unauthenticated', 'Not authenticated.', {
    next: 'Present a valid API token (Authorization: Bearer …) or a mapped client certificate.',
  });

type Ended = 'credential-expired' | 'credential-revoked';
const endOf = (token: StoredToken, now: number): Ended | undefined => {
  if (token.revokedAt !== undefined) return 'credential-revoked';
  return token.expiresAt !== undefined && token.expiresAt <= now ? 'credential-expired' : undefined;
};
const ended = (code: Ended): FaultError =>
  fail(code, code === 'credential-expired' ? 'The credential has expired.' : 'The credential was revoked.', {
    next: 'Ask an administrator for a new token or certificate.',
  });

/** Ids of tokens that have worked lately; they are still looked up, but never turned away with a flood. Bounded. */
const makeKnownGood = () => {
  const hashes = new Map<string, Uint8Array>();
  return {
    has: (token: ParsedToken): boolean => {
      const known = hashes.get(token.id);
      return known !== undefined && sameHash(known, token.hash);
    },
    add: (token: ParsedToken): void => {
      if (hashes.has(token.id)) return;
      if (hashes.size >= MAX_KNOWN_GOOD) {
        const [oldest] = hashes.keys();
        if (oldest !== undefined) hashes.delete(oldest);
      }
      hashes.set(token.id, token.hash);
    },
    remove: (token: ParsedToken): void => void hashes.delete(token.id),
  };
};

/** Every condition a binding has must hold; one without conditions matches nothing. Checked again whatever the store says. */
const bindingMatches = (binding: StoredCertificateBinding, certificate: Extract<Credential, { kind: 'certificate' }>): boolean => {
  const checks = [
    binding.fingerprint === undefined ? undefined : binding.fingerprint.toLowerCase() === certificate.fingerprint.toLowerCase(),
    binding.subject === undefined ? undefined : binding.subject !== '' && binding.subject === certificate.subject,
    binding.subjectAltName === undefined ? undefined : certificate.subjectAltNames.includes(binding.subjectAltName),
  ].filter((check) => check !== undefined);
  return checks.length > 0 && checks.every(Boolean);
};

const makeResolver = (store: IdentifierOptions['store']) => {
  /** The principal as it is now: enabled, and an agent only with its human and within the human's roles. */
  const resolve = async (tenant: string, id: string): Promise<Pick<Identified, 'principal' | 'parent'>> => {
    const principal = await store.principal(tenant, id);
    if (principal === undefined || principal.tenant !== tenant || principal.id !== id || principal.disabled) throw unauthenticated();
    if (principal.kind !== 'agent') return { principal };
    const parent = await store.principal(tenant, principal.parentId);
    if (parent === undefined || parent.kind !== 'human' || parent.tenant !== tenant || parent.disabled) throw unauthenticated();
    return { principal: { ...principal, roles: withinParent(principal.roles, parent.roles) }, parent };
  };
  return resolve;
};

const identifyComponent = (component: string, caller: Caller, components: readonly string[]): Identified => {
  if (caller.plane !== 'internal' || !components.includes(component)) throw unauthenticated();
  const principal: Principal = {
    ...{ kind: 'service', id: `system:${component}`, name: `system:${component}`, tenant: caller.tenant ?? OPERATOR_TENANT },
    ...{ roles: [], tags: {}, disabled: false, createdAt: 0, revision: 0 },
  };
  return { principal, authentication: { method: 'internal', credentialId: `system:${component}` } };
};

/** Turns "nobody" into "slow down" for a source that fails too often; every other fault passes as it is. */
const throttled = async (throttle: Throttle, source: string, attempt: () => Promise<Identified>): Promise<Identified> => {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof FaultError) || error.fault.code !== 'unauthenticated') throw error;
    const level = throttle.level(source);
    const retryAfterMs = throttle.failed(source);
    if (level === 'open') throw error;
    throw fail('rate-limited', 'Too many failed authentications.', { retryAfterMs, next: 'Wait, then present a valid credential.' });
  }
};

/** What a bearer credential turned out to be. A plane keeps one credential for all calls of a connection that present the same token. */
interface Remembered {
  readonly key: string;
  readonly stored: StoredToken;
  readonly principal: Principal;
  readonly identified: Identified;
}

/**
 * The answer for a credential that was just identified, as long as the caches still hold the very token and principal it
 * rests on: a change of either drops them there. The secret was compared when it was first seen; it can't have become
 * another one, as the credential is the same object.
 */
const makeMemory = (store: IdentifierOptions['store']) => {
  const remembered = new WeakMap<Credential, Remembered>();
  return {
    recall: (credential: Credential, now: number): Identified | undefined => {
      const known = remembered.get(credential);
      if (known === undefined || store.cachedToken?.(known.key) !== known.stored) return undefined;
      if (store.cachedPrincipal?.(known.stored.tenant, known.principal.id) !== known.principal) return undefined;
      return endOf(known.stored, now) === undefined ? known.identified : undefined;
    },
    keep: (credential: Credential, token: ParsedToken, stored: StoredToken, identified: Identified): void => {
      // An agent depends on its human too: it is looked up every time.
      if (identified.parent !== undefined || store.cachedToken === undefined) return;
      const key = Buffer.from(token.hash).toString('hex');
      remembered.set(credential, { key, stored, principal: identified.principal, identified });
    },
  };
};

export const makeIdentifier = (options: IdentifierOptions): Identifier => {
  const { store } = options;
  const components = options.components ?? INTERNAL_COMPONENTS;
  const throttle = makeThrottle({ ...options.throttle, clock: options.clock ?? Date.now });
  const knownGood = makeKnownGood();
  const resolve = makeResolver(store);
  const memory = makeMemory(store);

  const byToken = async (text: string, source: string, now: number, credential?: Credential): Promise<Identified> => {
    const presented = parseToken(text);
    if (presented === undefined) throw unauthenticated();
    if (throttle.level(source) === 'closed' && !knownGood.has(presented)) throw unauthenticated();
    const stored = await store.tokenByHash(presented.hash);
    if (stored === undefined || !sameHash(presented.hash, stored.hash)) throw unauthenticated();
    const code = endOf(stored, now);
    if (code !== undefined) {
      knownGood.remove(presented);
      throw ended(code);
    }
    const resolved = await resolve(stored.tenant, stored.principalId);
    knownGood.add(presented);
    const identified = { ...resolved, authentication: authenticationOf(stored) };
    if (credential !== undefined) memory.keep(credential, presented, stored, identified);
    return identified;
  };

  const pinThrottle = makeThrottle({ ...PIN_THROTTLE, clock: options.clock ?? Date.now });
  const pinLogins = new Map<string, number>();
  const countPinLogin = (id: string): void => {
    const logins = (pinLogins.get(id) ?? 0) + 1;
    if (logins > MAX_PIN_LOGINS) throw unauthenticated();
    pinLogins.delete(id);
    pinLogins.set(id, logins);
    const [oldest] = pinLogins.keys();
    if (pinLogins.size > MAX_COUNTED_PINS && oldest !== undefined) pinLogins.delete(oldest);
  };

  /** Token id → hash, so that a proven credential is looked up where the cache is. */
  const provenHashes = new Map<string, Uint8Array>();
  const rememberProof = (stored: StoredToken): void => {
    if (provenHashes.has(stored.id)) return;
    const [oldest] = provenHashes.keys();
    if (provenHashes.size >= MAX_COUNTED_PINS && oldest !== undefined) provenHashes.delete(oldest);
    provenHashes.set(stored.id, stored.hash);
  };

  const authenticationOf = (stored: StoredToken): Authentication => ({
    method: 'token',
    credentialId: stored.id,
    ...(stored.expiresAt === undefined ? {} : { expiresAt: stored.expiresAt }),
    ...(stored.scope === undefined ? {} : { scope: stored.scope }),
  });

  /** A PIN opens a PKCS#11 login of its own tenant and nothing else. */
  const byPin = async ({ tenant, pin }: Extract<Credential, { kind: 'pin' }>, caller: Caller, now: number): Promise<Identified> => {
    const presented = caller.plane === 'pkcs11' ? parsePin(tenant, pin) : undefined;
    if (presented === undefined || pinThrottle.level(caller.source) === 'closed') throw unauthenticated();
    const stored = await store.tokenByHash(presented.hash);
    if (stored === undefined || stored.tenant !== tenant || !sameHash(presented.hash, stored.hash)) throw unauthenticated();
    const code = endOf(stored, now);
    if (code !== undefined) throw ended(code);
    countPinLogin(stored.id);
    return { ...(await resolve(stored.tenant, stored.principalId)), authentication: authenticationOf(stored) };
  };

  /** The plane vouches that this credential was proven when the connection logged in; whether it still counts is asked each time. */
  const byProof = async (
    { tenant, tokenId }: Extract<Credential, { kind: 'proven' }>,
    caller: Caller,
    now: number,
  ): Promise<Identified> => {
    if (caller.plane !== 'pkcs11') throw unauthenticated();
    const hash = provenHashes.get(tokenId) ?? (await store.token?.(tenant, tokenId))?.hash;
    const stored = hash === undefined ? undefined : await store.tokenByHash(hash);
    if (stored === undefined || stored.tenant !== tenant || stored.id !== tokenId) throw unauthenticated();
    rememberProof(stored);
    const code = endOf(stored, now);
    if (code !== undefined) throw ended(code);
    return { ...(await resolve(stored.tenant, stored.principalId)), authentication: authenticationOf(stored) };
  };

  const bySocket = async (credential: Extract<Credential, { kind: 'socket' }>, caller: Caller): Promise<Identified> => {
    if (caller.plane !== 'pkcs11') throw unauthenticated();
    const resolved = await resolve(credential.tenant, credential.principalId);
    return { ...resolved, authentication: { method: 'socket', credentialId: `socket:${credential.socket}` } };
  };

  /**
   * A certificate of an authority of this service stands for the principal it was issued for, as long as its object is
   * active and its authority not revoked: whatever ends the one or the other ends that at once. What such a certificate says about itself is the
   * word of whoever may issue in its tenant, so subject and alternative names of it never lead to a principal.
   */
  const byCertificate = async (certificate: Extract<Credential, { kind: 'certificate' }>, now: number): Promise<Identified> => {
    const { subject, subjectAltNames } = certificate;
    const fingerprint = certificate.fingerprint.toLowerCase();
    const authentication: Authentication = { method: 'client-certificate', credentialId: fingerprint };
    const found = await store.issuedCertificate(fingerprint);
    const issued = found?.object;
    if (found?.authorityEnded === true) throw ended('credential-revoked');
    if (issued !== undefined && (issued.archived || effectiveState(issued, now) !== 'active')) throw ended('credential-revoked');
    const principalId = issued?.attributes[CERTIFICATE_ATTRIBUTES.principal];
    if (issued !== undefined && typeof principalId === 'string') return { ...(await resolve(issued.tenant, principalId)), authentication };
    const binding = await store.certificateBinding({ fingerprint, subject, subjectAltNames });
    if (binding === undefined || !bindingMatches(binding, certificate)) throw unauthenticated();
    if (issued !== undefined && binding.fingerprint === undefined) throw unauthenticated();
    return { ...(await resolve(binding.tenant, binding.principalId)), authentication };
  };

  const logins: Logins | undefined = options.settings === undefined ? undefined : makeLogins(options.settings);
  const byMessage = makeMessageIdentifier({
    logins,
    clock: options.clock ?? Date.now,
    resolve,
    byCertificate,
    byToken: (token, caller, now) => byToken(token, caller.source, now),
    refusal: unauthenticated,
  });

  const identify = async (credential: Credential, caller: Caller, now: number): Promise<Identified> => {
    switch (credential.kind) {
      case 'bearer':
        return throttled(throttle, caller.source, () => byToken(credential.token, caller.source, now, credential));
      case 'certificate':
        return throttled(throttle, caller.source, () => byCertificate(credential, now));
      case 'pin':
        return throttled(pinThrottle, caller.source, () => byPin(credential, caller, now));
      case 'proven':
        return byProof(credential, caller, now);
      case 'socket':
        return bySocket(credential, caller);
      case 'message':
        return throttled(throttle, caller.source, () => byMessage(credential, caller, now));
      case 'internal':
        return identifyComponent(credential.component, caller, components);
      default:
        throw unauthenticated();
    }
  };

  return {
    identify: (credential, caller, now) =>
      (credential.kind === 'bearer' ? memory.recall(credential, now) : undefined) ?? identify(credential, caller, now),
  };
};
