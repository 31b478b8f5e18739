import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Caller, Credential, Principal, StoredToken } from '../../src/domain/index.js';
import { fail } from '../../src/domain/index.js';
import { type IdentifierOptions, INTERNAL_COMPONENTS, makeIdentifier } from '../../src/identity/identifier.js';
import { makeThrottle, sourceKey } from '../../src/identity/throttle.js';
import { makeToken } from '../../src/identity/token.js';
import { add, faultOf, type MemoryIdentity, makeMemoryIdentity, NOW } from './memory-identity.js';

const makeSubject = (over: Partial<IdentifierOptions> = {}) => {
  const memory = makeMemoryIdentity();
  const clock = { now: 0 };
  const identifier = makeIdentifier({ store: memory.store, clock: () => clock.now, ...over });
  const identify = (credential: Credential, caller: Partial<Caller> = {}) =>
    identifier.identify(credential, { plane: 'rest', credential, requestId: 'r', source: '10.0.0.1', ...caller }, NOW);
  return { memory, clock, identify };
};
const give = (memory: MemoryIdentity, principal: Principal, over: Partial<StoredToken> = {}): string => {
  const { token, id, prefix, hash } = makeToken();
  memory.state.tokens.set(id, { id, prefix, hash, tenant: principal.tenant, principalId: principal.id, name: 't', createdAt: 0, ...over });
  return token;
};
const bearer = (token: string): Credential => ({ kind: 'bearer', token });
const certificate = (over: object = {}): Credential => ({
  kind: 'certificate',
  fingerprint: 'AB'.repeat(32),
  subject: 'CN=app',
  subjectAltNames: ['DNS:app.example'],
  ...over,
});

describe('who calls', () => {
  it('is the holder of a valid token, with its scope and end', async () => {
    const { memory, identify } = makeSubject();
    const principal = add(memory, { roles: ['operator'] });
    const token = give(memory, principal, { scope: ['keys:sign'], expiresAt: NOW + 1 });
    expect(await identify(bearer(token))).toEqual({
      principal,
      authentication: { method: 'token', credentialId: token.slice(6, 22), scope: ['keys:sign'], expiresAt: NOW + 1 },
    });
  });

  it('is answered alike for every way of being nobody', async () => {
    const { memory, identify } = makeSubject();
    const disabled = add(memory, { disabled: true });
    const gone = { ...add(memory), id: 'gone' };
    const moved = add(memory, { tenant: 'acme' });
    const agentOf = (parentId: string, over: Partial<Principal> = {}) =>
      add(memory, { kind: 'agent', parentId, purpose: 'x', ...over } as Partial<Principal>);
    const service = add(memory, { kind: 'service' });
    const human = add(memory);
    const cases: Credential[] = [
      { kind: 'none' },
      bearer(''),
      bearer('nonsense'),
      bearer(makeToken().token),
      bearer(give(memory, disabled)),
      bearer(give(memory, gone)),
      bearer(give(memory, moved, { tenant: 'default' })),
      bearer(give(memory, agentOf('nobody'))),
      bearer(give(memory, agentOf(disabled.id))),
      bearer(give(memory, agentOf(service.id))),
      bearer(give(memory, agentOf(moved.id))),
      bearer(give(memory, agentOf(human.id, { disabled: true }))),
      certificate(),
      { kind: 'internal', component: 'scheduler' },
      { kind: 'internal', component: 'unknown' },
      { kind: 'strange' } as never,
    ];
    const faults = await Promise.all(cases.map((credential) => faultOf(identify(credential))));
    for (const [index, fault] of faults.entries()) expect(fault, `case ${index}`).toEqual(faults[0]);
    expect(faults[0]?.code).toBe('unauthenticated');
  });

  it('is told that a credential of his has ended', async () => {
    const { memory, identify } = makeSubject();
    const principal = add(memory);
    expect((await faultOf(identify(bearer(give(memory, principal, { expiresAt: NOW })))))?.code).toBe('credential-expired');
    expect((await faultOf(identify(bearer(give(memory, principal, { revokedAt: 5, expiresAt: 1 })))))?.code).toBe('credential-revoked');
  });

  it('is refused when the store answers with another token than the one asked for', async () => {
    const { memory, identify } = makeSubject();
    const principal = add(memory);
    const token = give(memory, principal);
    const other = [...memory.state.tokens.values()][0];
    memory.store.tokenByHash = async () => (other === undefined ? undefined : { ...other, hash: crypto.randomBytes(32) });
    expect((await faultOf(identify(bearer(token))))?.code).toBe('unauthenticated');
  });

  it('is compared in constant time, and nowhere else', () => {
    const sourceOf = (name: string) => readFileSync(new URL(`../../src/identity/${name}.ts`, import.meta.url), 'utf8');
    expect(sourceOf('token')).toMatch(/timingSafeEqual\(a, b\)/);
    expect(sourceOf('identifier')).toMatch(/sameHash\(presented\.hash, stored\.hash\)/);
    expect(sourceOf('identifier')).not.toMatch(/\.hash\s*[!=]==|[!=]==\s*\w+\.hash|\.equals\(|\.compare\(/);
  });

  it('lets the faults of the store through as they are', async () => {
    const { memory, identify } = makeSubject();
    memory.store.tokenByHash = async () => {
      throw fail('storage-unavailable', 'down');
    };
    expect((await faultOf(identify(bearer(makeToken().token))))?.code).toBe('storage-unavailable');
  });
});

describe('agents', () => {
  it('come with their human, and never with more than the human has today', async () => {
    const { memory, identify } = makeSubject();
    const human = add(memory, { roles: ['operator'] });
    const agent = add(memory, {
      kind: 'agent',
      parentId: human.id,
      purpose: 'x',
      roles: ['operator', 'auditor', 'user', 'admin'],
    } as Partial<Principal>);
    const token = give(memory, agent);
    const first = await identify(bearer(token));
    expect(first.parent).toEqual(human);
    expect(first.principal.roles).toEqual(['operator', 'user']);
    memory.state.principals.set(human.id, { ...human, roles: ['user'] });
    expect((await identify(bearer(token))).principal.roles).toEqual(['user']);
    memory.state.principals.set(human.id, { ...human, disabled: true });
    expect((await faultOf(identify(bearer(token))))?.code).toBe('unauthenticated');
    memory.state.principals.delete(human.id);
    expect((await faultOf(identify(bearer(token))))?.code).toBe('unauthenticated');
  });
});

describe('client certificates', () => {
  it('are who they are mapped to, by every condition of the mapping', async () => {
    const { memory, identify } = makeSubject();
    const principal = add(memory, { kind: 'service' });
    const bind = (binding: object) => {
      memory.state.bindings = [{ principalId: principal.id, tenant: 'default', ...binding }];
    };
    for (const binding of [{ fingerprint: 'ab'.repeat(32) }, { subject: 'CN=app' }, { subjectAltName: 'DNS:app.example' }]) {
      bind(binding);
      // The store compares what it keeps, which is lower case; the identifier itself does not care.
      memory.store.certificateBinding = async () => memory.state.bindings[0];
      expect(await identify(certificate())).toMatchObject({
        principal,
        authentication: { method: 'client-certificate', credentialId: 'ab'.repeat(32) },
      });
    }
    for (const binding of [
      {},
      { subject: '' },
      { subject: 'CN=app2' },
      { fingerprint: 'cd'.repeat(32) },
      { subject: 'CN=app', fingerprint: 'cd'.repeat(32) },
      { subjectAltName: 'DNS:*' },
    ]) {
      bind(binding);
      expect(
        (await faultOf(identify(certificate({ subject: binding.subject === '' ? '' : 'CN=app' }))))?.code,
        JSON.stringify(binding),
      ).toBe('unauthenticated');
    }
  });
});

describe('components of the service', () => {
  it('act in the tenant of the call, without roles, from inside only', async () => {
    const { identify } = makeSubject();
    for (const component of INTERNAL_COMPONENTS) {
      const { principal } = await identify({ kind: 'internal', component }, { plane: 'internal', tenant: 'acme' });
      expect(principal).toMatchObject({ id: `system:${component}`, tenant: 'acme', roles: [] });
    }
    expect((await identify({ kind: 'internal', component: 'scheduler' }, { plane: 'internal' })).principal.tenant).toBe('default');
    for (const plane of ['rest', 'kmip', 'pkcs11', 'mcp', 'agent', 'gate'] as const)
      expect((await faultOf(identify({ kind: 'internal', component: 'scheduler' }, { plane, source: 'local' })))?.code).toBe(
        'unauthenticated',
      );
    for (const component of ['', '__proto__', 'constructor', 'admin'])
      expect((await faultOf(identify({ kind: 'internal', component }, { plane: 'internal' })))?.code).toBe('unauthenticated');
  });
});

describe('the throttle', () => {
  it('slows a source that fails, and no other, for a minute', async () => {
    const { identify, clock } = makeSubject({ throttle: { slowedAt: 5 } });
    for (let index = 0; index < 5; index += 1) expect((await faultOf(identify(bearer('bad'))))?.code).toBe('unauthenticated');
    expect(await faultOf(identify(bearer('bad')))).toMatchObject({ code: 'rate-limited', retryAfterMs: 60_000 });
    expect((await faultOf(identify(certificate())))?.code).toBe('rate-limited');
    expect((await faultOf(identify(bearer('bad'), { source: '10.0.0.2' })))?.code).toBe('unauthenticated');
    clock.now += 60_000;
    expect((await faultOf(identify(bearer('bad'))))?.code).toBe('unauthenticated');
  });

  it('never locks out a valid token, from another source or the same', async () => {
    const { memory, identify } = makeSubject({ throttle: { slowedAt: 5 } });
    const token = give(memory, add(memory));
    for (let index = 0; index < 50; index += 1) await faultOf(identify(bearer('bad')));
    await identify(bearer(token));
    await identify(bearer(token), { source: '10.9.9.9' });
  });

  it('keeps a flood from the database, but not the clients that are known', async () => {
    const { memory, identify } = makeSubject({ throttle: { slowedAt: 5, closedAt: 10 } });
    const known = give(memory, add(memory));
    await identify(bearer(known));
    for (let index = 0; index < 10; index += 1) await faultOf(identify(bearer(makeToken().token)));
    const before = memory.state.lookups;
    for (let index = 0; index < 100; index += 1) expect((await faultOf(identify(bearer(makeToken().token))))?.code).toBe('rate-limited');
    expect(memory.state.lookups).toBe(before);
    await identify(bearer(known));
    expect(memory.state.lookups).toBe(before + 1);
  });

  it('does not count calls without a credential or with an ended one', async () => {
    const { memory, identify } = makeSubject({ throttle: { slowedAt: 2 } });
    const ended = give(memory, add(memory), { expiresAt: 1 });
    for (let index = 0; index < 10; index += 1) {
      expect((await faultOf(identify({ kind: 'none' })))?.code).toBe('unauthenticated');
      expect((await faultOf(identify(bearer(ended))))?.code).toBe('credential-expired');
    }
  });

  it('remembers a bounded number of sources, and keeps the busy ones', () => {
    const throttle = makeThrottle({ clock: () => 0, slowedAt: 3, maxSources: 100 });
    for (let index = 0; index < 5000; index += 1) {
      throttle.failed(`10.1.${index >> 8}.${index & 255}`);
      if (index % 20 === 0) throttle.failed('10.0.0.1');
    }
    expect(throttle.size()).toBe(100);
    expect(throttle.level('10.0.0.1')).toBe('slowed');
  });

  it('takes an IPv6 customer for one source', () => {
    expect(sourceKey('2001:db8:1:2:aaaa::1')).toBe(sourceKey('2001:0db8:0001:2::9'));
    expect(sourceKey('2001:db8:1:2::1')).not.toBe(sourceKey('2001:db8:1:3::1'));
    expect(sourceKey('::ffff:10.0.0.1')).toBe('10.0.0.1');
    expect(sourceKey('fe80::1%eth0')).toBe(sourceKey('fe80::2'));
    expect(sourceKey('::1')).toBe('0:0:0:0::/64');
    expect(sourceKey('x'.repeat(1000))).toHaveLength(64);
  });
});
