import type { Authentication, Caller, Credential, Principal, StoredCertificateBinding, StoredToken } from '../domain/index.js';
import { FaultError, fail } from '../domain/index.js';
import type { Identifier } from '../guard/ports.js';
import type { IdentityStore } from '../storage/ports.js';
import { withinParent } from './roles.js';
import { makeThrottle, type Throttle, type ThrottleOptions } from './throttle.js';
import { type ParsedToken, parseToken, sameHash } from './token.js';

export interface IdentifierOptions {
  readonly store: Pick<IdentityStore, 'principal' | 'tokenByHash' | 'certificateBinding'>;
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
  ...['scheduler', 'reaper', 'keys', 'audit', 'sequencer', 'backup', 'bootstrap', 'recovery', 'monitor', 'jwks', 'app'],
] as const;
/** Where a component acts that names no tenant. */
const OPERATOR_TENANT = 'default';
const MAX_KNOWN_GOOD = 8192;

type Identified = Awaited<ReturnType<Identifier['identify']>>;

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
    next: 'Ask an administrator for a new token.',
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

export const makeIdentifier = (options: IdentifierOptions): Identifier => {
  const { store } = options;
  const components = options.components ?? INTERNAL_COMPONENTS;
  const throttle = makeThrottle({ ...options.throttle, clock: options.clock ?? Date.now });
  const knownGood = makeKnownGood();
  const resolve = makeResolver(store);

  const byToken = async (text: string, source: string, now: number): Promise<Identified> => {
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
    const authentication: Authentication = {
      method: 'token',
      credentialId: stored.id,
      ...(stored.expiresAt === undefined ? {} : { expiresAt: stored.expiresAt }),
      ...(stored.scope === undefined ? {} : { scope: stored.scope }),
    };
    return { ...resolved, authentication };
  };

  const byCertificate = async (certificate: Extract<Credential, { kind: 'certificate' }>): Promise<Identified> => {
    const { fingerprint, subject, subjectAltNames } = certificate;
    const binding = await store.certificateBinding({ fingerprint, subject, subjectAltNames });
    if (binding === undefined || !bindingMatches(binding, certificate)) throw unauthenticated();
    const resolved = await resolve(binding.tenant, binding.principalId);
    return { ...resolved, authentication: { method: 'client-certificate', credentialId: fingerprint.toLowerCase() } };
  };

  return {
    identify: async (credential, caller, now) => {
      switch (credential.kind) {
        case 'bearer':
          return throttled(throttle, caller.source, () => byToken(credential.token, caller.source, now));
        case 'certificate':
          return throttled(throttle, caller.source, () => byCertificate(credential));
        case 'internal':
          return identifyComponent(credential.component, caller, components);
        default:
          throw unauthenticated();
      }
    },
  };
};
