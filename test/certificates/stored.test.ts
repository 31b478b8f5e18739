import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CERTIFICATE_ATTRIBUTES as CA, type ManagedObject } from '../../src/domain/index.js';
import type { Storage } from '../../src/storage/ports.js';
import { insertOf, makeChainWriter, sampleObject, samplePrincipal } from '../storage/samples.js';
import { type TestStorage, withTestStorage } from '../storage/test-database.js';

/** What the identity engine is told about a client certificate: from a cache, and never older than a change on any node. */

let context: TestStorage;
let one: Storage;
let two: Storage;
let writer: ReturnType<typeof makeChainWriter>;
beforeAll(async () => {
  context = await withTestStorage();
  one = context.storage;
  two = await context.open('node-2');
  writer = makeChainWriter(one);
});
afterAll(() => context.close());

const effective = async (): Promise<void> => expect(await one.cluster.effective(one.cluster.epoch(), 3_000)).toBe(true);
const authorityObject = (): ManagedObject =>
  sampleObject({ type: 'private-key', spec: 'ec-p256', attributes: { [CA.authority]: true, [CA.service]: true } });
const certificateObject = (authority: ManagedObject, fingerprint: string): ManagedObject =>
  sampleObject({
    type: 'certificate',
    attributes: { [CA.issued]: true, [CA.issuedBy]: authority.id, [CA.fingerprint]: fingerprint, [CA.principal]: 'p', [CA.service]: true },
  });

describe('issued certificates', () => {
  test('are found by fingerprint in any tenant, and every node sees at once that one was revoked, or its authority', async () => {
    const fingerprint = randomBytes(32).toString('hex');
    const authority = authorityObject();
    const certificate = certificateObject(authority, fingerprint);
    expect(await two.identity.issuedCertificate(fingerprint)).toBeUndefined();
    await writer.one(insertOf(authority), insertOf(certificate));
    const other = randomBytes(32).toString('hex');
    const second = certificateObject(authority, other);
    await writer.one(insertOf(second));
    for (const storage of [one, two])
      for (let i = 0; i < 3; i += 1)
        expect(await storage.identity.issuedCertificate(other)).toMatchObject({
          object: { id: second.id, state: 'active' },
          authorityEnded: false,
        });
    await writer.one({ kind: 'update-object', object: { ...second, state: 'deactivated', revision: 2 }, expect: 1 });
    await effective();
    for (const storage of [one, two]) expect((await storage.identity.issuedCertificate(other))?.object.state).toBe('deactivated');
    const third = randomBytes(32).toString('hex');
    await writer.one(insertOf(certificateObject(authority, third)));
    for (const storage of [one, two])
      for (let i = 0; i < 3; i += 1) expect((await storage.identity.issuedCertificate(third))?.authorityEnded).toBe(false);
    const revoked = { ...authority, state: 'deactivated' as const, revocation: { reason: 'superseded' as const }, revision: 2 };
    await writer.one({ kind: 'update-object', object: revoked, expect: 1 });
    await effective();
    for (const storage of [one, two]) expect((await storage.identity.issuedCertificate(third))?.authorityEnded).toBe(true);
  });

  test('are no certificate that merely was registered, whatever it says of itself', async () => {
    const fingerprint = randomBytes(32).toString('hex');
    await writer.one(insertOf(sampleObject({ type: 'certificate', attributes: { [CA.fingerprint]: fingerprint, [CA.principal]: 'p' } })));
    expect(await one.identity.issuedCertificate(fingerprint)).toBeUndefined();
  });

  test('and authorities are left out of Locate unless asked for by what makes them so', async () => {
    const authority = authorityObject();
    await writer.one(insertOf(authority));
    const ids = async (filter: object) => (await one.objects.locate('acme', filter, { limit: 500 })).items.map((o) => o.id);
    expect(await ids({ types: ['private-key'] })).not.toContain(authority.id);
    expect(await ids({ attributes: { [CA.authority]: true } })).toContain(authority.id);
    expect((await one.objects.load('acme', authority.id))?.object.id).toBe(authority.id);
  });
});

describe('authorities', () => {
  test('of every tenant are trusted while their certificate is active', async () => {
    const own = (tenant: string, state: ManagedObject['state'], archived = false): ManagedObject =>
      sampleObject({
        tenant,
        type: 'certificate',
        state,
        archived,
        attributes: { [CA.authority]: true, [CA.service]: true },
        content: Uint8Array.of(1),
      });
    const wanted = [own('acme', 'active'), own('globex', 'active')];
    for (const object of [...wanted, own('acme', 'deactivated'), own('acme', 'compromised'), own('globex', 'active', true)])
      await writer.one(insertOf(object));
    const found = (await two.identity.authorities()).map((o) => o.id);
    expect(found.sort()).toEqual(wanted.map((o) => o.id).sort());
  });
});

describe('bindings of certificates from outside', () => {
  test('are kept, and dropped on every node with any change that could make them others', async () => {
    const fingerprint = randomBytes(32).toString('hex');
    const candidate = { fingerprint, subject: 'CN=x', subjectAltNames: [] };
    const [a, b] = [samplePrincipal(), samplePrincipal()];
    await writer.one({ kind: 'insert-principal', principal: a }, { kind: 'insert-principal', principal: b });
    const seen = async () => Promise.all([one, two].map(async (s) => (await s.identity.certificateBinding(candidate))?.principalId));
    expect(await seen()).toEqual([undefined, undefined]);
    const bind = (principal: typeof a, binding: object | null) =>
      writer.one({
        kind: 'set-certificate-binding',
        principalId: principal.id,
        tenant: principal.tenant,
        binding: binding === null ? null : { principalId: principal.id, tenant: principal.tenant, ...binding },
      });
    await bind(a, { subject: 'CN=x' });
    await effective();
    expect(await seen()).toEqual([a.id, a.id]);
    // A better claim of somebody else.
    await bind(b, { fingerprint });
    await effective();
    expect(await seen()).toEqual([b.id, b.id]);
    await bind(b, null);
    await effective();
    expect(await seen()).toEqual([a.id, a.id]);
    await writer.one(
      { kind: 'set-certificate-binding', binding: null, principalId: a.id, tenant: a.tenant },
      { kind: 'delete-principal', tenant: a.tenant, id: a.id },
    );
    await effective();
    expect(await seen()).toEqual([undefined, undefined]);
  });
});
