import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  CERTIFICATE_ATTRIBUTES as CA,
  type Caller,
  type Credential,
  FaultError,
  type ManagedObject,
  type Principal,
} from '../../src/domain/index.js';
import { makeIdentifier } from '../../src/identity/index.js';
import { makeMemoryIdentity } from '../identity/memory-identity.js';

/** Whom a client certificate stands for. */

const NOW = 1_800_000_000_000;
const CALLER: Caller = { plane: 'kmip', credential: { kind: 'none' }, requestId: 'r', source: '10.0.0.1' };

const person = (id: string, tenant: string, over: Partial<Principal> = {}): Principal =>
  ({
    kind: 'service',
    id,
    tenant,
    name: id,
    roles: ['kmip-client'],
    tags: {},
    disabled: false,
    createdAt: 0,
    revision: 1,
    ...over,
  }) as Principal;

const makeSubject = () => {
  const memory = makeMemoryIdentity();
  const identifier = makeIdentifier({ store: memory.store, clock: () => NOW });
  for (const [id, tenant] of [
    ['array', 'bank'],
    ['victim', 'other'],
  ] as const)
    memory.state.principals.set(id, person(id, tenant));
  const issue = (over: Partial<ManagedObject> = {}, attributes: Record<string, unknown> = { [CA.principal]: 'array' }): string => {
    const fingerprint = randomBytes(32).toString('hex');
    const dates = { created: NOW, lastChange: NOW, deactivation: NOW + 1_000, activation: NOW - 1_000 };
    const object = {
      id: 'c',
      tenant: 'bank',
      type: 'certificate',
      state: 'active',
      archived: false,
      dates,
      attributes: { [CA.issued]: true, ...attributes },
      ...over,
    };
    memory.state.issued.set(fingerprint, object as unknown as ManagedObject);
    return fingerprint;
  };
  const present = async (fingerprint: string, more: Partial<Extract<Credential, { kind: 'certificate' }>> = {}, now = NOW) => {
    try {
      const credential: Credential = { kind: 'certificate', fingerprint, subject: 'CN=victim', subjectAltNames: ['DNS:victim'], ...more };
      const found = await identifier.identify(credential, CALLER, now);
      return `${found.principal.tenant}/${found.principal.id}`;
    } catch (error) {
      if (error instanceof FaultError) return error.fault.code;
      throw error;
    }
  };
  return { memory, issue, present };
};

describe('a certificate of an authority of the service', () => {
  it('is the principal it was issued for, in any writing of its fingerprint', async () => {
    const { issue, present } = makeSubject();
    const fingerprint = issue();
    expect(await present(fingerprint)).toBe('bank/array');
    expect(await present(fingerprint.toUpperCase())).toBe('bank/array');
  });
  it('is nobody as soon as its object is not active: revoked, compromised, destroyed, archived, expired, not yet active', async () => {
    const { issue, present } = makeSubject();
    for (const state of ['pre-active', 'deactivated', 'compromised', 'destroyed', 'destroyed-compromised'] as const)
      expect(await present(issue({ state, dates: { created: NOW, lastChange: NOW } })), state).toBe('credential-revoked');
    expect(await present(issue({ archived: true }))).toBe('credential-revoked');
    const fingerprint = issue();
    expect(await present(fingerprint, {}, NOW + 999)).toBe('bank/array');
    expect(await present(fingerprint, {}, NOW + 1_000)).toBe('credential-revoked');
  });
  it('is nobody when its authority was revoked', async () => {
    const { memory, issue, present } = makeSubject();
    const fingerprint = issue();
    memory.state.authorityEnded = true;
    expect(await present(fingerprint)).toBe('credential-revoked');
  });
  it('is nobody when its principal is gone, disabled or of another tenant', async () => {
    const { memory, issue, present } = makeSubject();
    expect(await present(issue({}, { [CA.principal]: 'nobody' }))).toBe('unauthenticated');
    expect(await present(issue({}, { [CA.principal]: 'victim' }))).toBe('unauthenticated');
    memory.state.principals.set('array', person('array', 'bank', { disabled: true }));
    expect(await present(issue())).toBe('unauthenticated');
  });
  it('never becomes somebody by what it says of itself: subject and names are the issuing tenant’s words', async () => {
    const { memory, issue, present } = makeSubject();
    const forged = issue({}, {});
    for (const binding of [{ subject: 'CN=victim' }, { subjectAltName: 'DNS:victim' }]) {
      memory.state.bindings.length = 0;
      memory.state.bindings.push({ principalId: 'victim', tenant: 'other', ...binding });
      expect(await present(forged), JSON.stringify(binding)).toBe('unauthenticated');
      // The same words in a certificate of an outside authority are what the operator bound.
      expect(await present('ff'.repeat(32))).toBe('other/victim');
    }
  });
  it('issued for nobody may still be bound by its fingerprint', async () => {
    const { memory, issue, present } = makeSubject();
    const fingerprint = issue({}, {});
    expect(await present(fingerprint)).toBe('unauthenticated');
    memory.state.bindings.push({ principalId: 'victim', tenant: 'other', fingerprint });
    expect(await present(fingerprint)).toBe('other/victim');
  });
});
