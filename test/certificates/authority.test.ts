import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeFreshIdentity, REQUEST_KEYS, toPem } from '../../src/cli/certificate-request.js';
import { toPkcs12 } from '../../src/cli/pkcs12.js';
import { CERTIFICATE_ATTRIBUTES as CA, type CertificateView, type FaultCode } from '../../src/domain/index.js';
import { type BoundService, Refusal } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from '../keys/key-service.js';
import { openTestRoot } from '../keys/test-roots.js';

/** The authority's operations behind the real guard, judged by openssl. */

const work = mkdtempSync(join(tmpdir(), 'aegis-ca-'));
afterAll(() => rmSync(work, { recursive: true }));
let count = 0;
const file = (content: string | Uint8Array): string => {
  count += 1;
  const path = join(work, `${count}`);
  writeFileSync(path, content);
  return path;
};
const openssl = (args: readonly string[], input?: string): { ok: boolean; text: string } => {
  const result = spawnSync('openssl', [...args], { ...(input === undefined ? {} : { input }), encoding: 'utf8' });
  return { ok: result.status === 0, text: `${result.stdout}${result.stderr}` };
};
const pem = (der: Uint8Array | undefined, label = 'CERTIFICATE'): string => toPem(label, der ?? new Uint8Array(0));
const certificateFile = (view: { readonly certificate?: Uint8Array }): string => file(pem(view.certificate));

const codeOf = async (work: Promise<unknown>): Promise<FaultCode | undefined> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error.fault.code;
    throw error;
  }
};

let s: TestService;
let alice: BoundService;
beforeAll(async () => {
  s = makeTestService(new Map([['software', await openTestRoot()]]), { realTime: true });
  alice = s.alice;
});

const nextTenant = (): string => {
  count += 1;
  return `tenant-${count}`;
};
const freshTenant = (): BoundService => s.as('alice', nextTenant());
const csrOf = (kind: (typeof REQUEST_KEYS)[number] = 'ec-p256'): Uint8Array => makeFreshIdentity(kind).csr;

describe('authorities', () => {
  for (const spec of ['rsa-2048', 'rsa-3072', 'ec-p256', 'ec-p384', 'ec-p521', 'ed25519'] as const) {
    it(`of ${spec}: openssl verifies the chain, the request of every kind of key, and the revocation list`, async () => {
      const tenant = freshTenant();
      const authority = await tenant('create-authority', { subject: `CN=Test CA ${spec},O=Bank,C=DE`, spec });
      const caFile = certificateFile(authority);
      const text = openssl(['x509', '-in', caFile, '-noout', '-text']).text;
      expect(text).toMatch(/CA:TRUE, pathlen:0/);
      expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
      // One attribute to each relative name, the country first.
      expect(openssl(['x509', '-in', caFile, '-noout', '-subject', '-nameopt', 'RFC2253']).text.trim()).toBe(
        `subject=CN=Test CA ${spec},O=Bank,C=DE`,
      );
      const issued: CertificateView[] = [];
      // Every kind of key under one authority is enough.
      const kinds = spec === 'ec-p256' ? REQUEST_KEYS : (['ec-p256', 'rsa-2048'] as const);
      for (const kind of kinds) issued.push(await tenant('issue-certificate', { csr: csrOf(kind), subject: `CN=${kind}` }));
      for (const view of issued) {
        const verified = openssl(['verify', '-CAfile', caFile, '-purpose', 'sslclient', '-x509_strict', certificateFile(view)]);
        expect(verified.ok, verified.text).toBe(true);
        expect(openssl(['verify', '-CAfile', caFile, '-purpose', 'sslserver', certificateFile(view)]).ok).toBe(false);
      }
      const first = issued[0] as CertificateView;
      await tenant('revoke-certificate', { key: first.id, reason: 'superseded' });
      const list = await tenant('get-crl', {});
      expect(list.entries).toBe(1);
      const crlFile = file(pem(list.crl, 'X509 CRL'));
      expect(openssl(['crl', '-in', crlFile, '-CAfile', caFile, '-noout']).text).toMatch(/verify OK/);
      const listed = openssl(['crl', '-in', crlFile, '-noout', '-text']).text;
      expect(listed).toMatch(/Version 2/);
      expect(listed).toMatch(/Superseded/);
      expect(listed.toLowerCase()).toContain(first.serial.replace(/^0+/, ''));
      const check = (view: CertificateView) =>
        openssl(['verify', '-crl_check', '-CAfile', caFile, '-CRLfile', crlFile, certificateFile(view)]);
      expect(check(first).text).toMatch(/certificate revoked/);
      expect(check(issued[1] as CertificateView).ok).toBe(true);
    }, 60_000);
  }

  it('what a certificate says: names, purposes, key identifiers, random serials, no authority of its own', async () => {
    const tenant = freshTenant();
    const authority = await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256', days: 30 });
    const view = await tenant('issue-certificate', {
      csr: csrOf('rsa-2048'),
      subject: 'CN=Gerät\\, sieben,O=Bank',
      subjectAltNames: ['array.example', 'ip:192.0.2.7', 'ip:2001:db8::7', 'email:a@bank.example', 'uri:spiffe://bank/array'],
      purposes: ['server', 'client'],
      days: 3_000,
    });
    const text = openssl(['x509', '-in', certificateFile(view), '-noout', '-text', '-nameopt', 'utf8']).text;
    expect(text).toContain('DNS:array.example, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7');
    expect(text).toContain('email:a@bank.example, URI:spiffe://bank/array');
    expect(text).toContain('CA:FALSE');
    expect(text).toContain('Digital Signature, Key Encipherment');
    expect(text).toContain('TLS Web Client Authentication, TLS Web Server Authentication');
    expect(text).toContain('Subject Key Identifier');
    expect(view.subject).toBe('CN=Gerät\\, sieben,O=Bank');
    // It ends with its authority at the latest.
    expect(view.notAfter).toBe(authority.notAfter);
    const parsed = new X509Certificate(Buffer.from(view.certificate ?? []));
    expect(parsed.checkIssued(new X509Certificate(Buffer.from(authority.certificate)))).toBe(true);
    expect(parsed.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(view.fingerprint);
    const serials = new Set<string>();
    for (let i = 0; i < 20; i += 1) serials.add((await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=x' })).serial);
    expect(serials.size).toBe(20);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  it('the newest issues, an older one goes on answering for what it issued, a revoked one issues nothing', async () => {
    const tenant = freshTenant();
    expect(await codeOf(tenant('issue-certificate', { csr: csrOf(), subject: 'CN=x' }))).toBe('not-found');
    const first = await tenant('create-authority', { subject: 'CN=one', spec: 'ec-p256', names: ['one'] });
    const view = await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=x' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await tenant('create-authority', { subject: 'CN=two', spec: 'ec-p256' });
    expect((await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=y' })).authority).toBe(second.id);
    expect((await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=y', authority: 'one' })).authority).toBe(first.id);
    await tenant('revoke-certificate', { key: view.id });
    expect((await tenant('get-crl', { authority: first.id })).entries).toBe(1);
    expect((await tenant('get-crl', {})).entries).toBe(0);
    await tenant('revoke', { key: first.id, reason: 'cessation-of-operation' });
    expect(await codeOf(tenant('issue-certificate', { csr: csrOf(), subject: 'CN=z', authority: first.id }))).toBe('wrong-state');
    const { items } = await tenant('list-authorities', {});
    expect(items.map((item) => [item.id, item.state, item.isDefault])).toEqual([
      [second.id, 'active', true],
      [first.id, 'retired', false],
    ]);
  });

  it('belong to their tenant: another one neither issues with them nor sees or revokes what they issued', async () => {
    const tenant = freshTenant();
    const stranger = freshTenant();
    const authority = await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const view = await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=x' });
    expect(await codeOf(stranger('issue-certificate', { csr: csrOf(), subject: 'CN=y', authority: authority.id }))).toBe('not-found');
    expect(await codeOf(stranger('get-crl', { authority: authority.id }))).toBe('not-found');
    for (const operation of ['get-certificate', 'revoke-certificate', 'renew-certificate'] as const)
      expect(await codeOf(stranger(operation, { key: view.id })), operation).toBe('not-found');
    expect((await stranger('list-certificates', {})).items).toEqual([]);
  });
});

describe('the key of an authority', () => {
  it('signs nothing but what the authority builds, never changes and never leaves', async () => {
    const tenant = freshTenant();
    const { id } = await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const data = new Uint8Array(32);
    const attempts: [string, Promise<unknown>][] = [
      ['sign', tenant('sign', { key: id, data })],
      ['prehashed', tenant('sign', { key: id, data, prehashed: true })],
      ['create-csr', tenant('create-csr', { key: id, subject: 'CN=x' })],
      ['self-sign', tenant('self-sign', { key: id, subject: 'CN=x', days: 1, ca: true })],
      ['begin-operation', tenant('begin-operation', { key: id, kind: 'sign' })],
      ['rotate', tenant('rotate', { key: id })],
      ['re-key', tenant('re-key', { key: id })],
      ['export-key', tenant('export-key', { key: id })],
    ];
    for (const [name, attempt] of attempts) expect(await codeOf(attempt), name).toMatch(/usage-denied|not-exportable/);
    expect(await codeOf(tenant('create-authority', { subject: 'CN=ca', exportable: true }))).toBe('invalid-field');
  });
  it('is of a kind that signs certificates', async () => {
    for (const spec of ['x25519', 'ml-kem-768', 'aes-256', 'ec-secp256k1', 'rsa-1024'] as const)
      expect(await codeOf(alice('create-authority', { subject: 'CN=ca', spec })), spec).toBe('invalid-field');
  });
});

describe('requests', () => {
  let tenant: BoundService;
  beforeAll(async () => {
    tenant = freshTenant();
    await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
  });
  const fromOpenssl = (args: readonly string[], config?: string): Uint8Array => {
    const out = join(work, nextTenant());
    const made = openssl([
      'req',
      '-new',
      '-nodes',
      '-keyout',
      join(work, 'k.pem'),
      '-outform',
      'DER',
      '-out',
      out,
      ...args,
      ...(config ? ['-config', file(config)] : []),
    ]);
    if (!made.ok) throw new Error(made.text);
    return new Uint8Array(readFileSync(out));
  };
  const CONFIG = `[req]
distinguished_name=dn
req_extensions=ext
prompt=no
string_mask=utf8only
[dn]
C=DE
O=Bank
CN=device
[ext]
subjectAltName=DNS:device.example,IP:192.0.2.1,email:a@b.example,URI:urn:x
basicConstraints=critical,CA:TRUE
keyUsage=keyCertSign
`;

  it('of openssl keep subject and names, and never get what an authority has', async () => {
    for (const newkey of [
      ['-newkey', 'rsa:2048'],
      ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
      ['-newkey', 'ed25519'],
    ]) {
      const view = await tenant('issue-certificate', { csr: fromOpenssl(newkey, CONFIG) });
      expect(view.subject).toBe('CN=device,O=Bank,C=DE');
      expect(view.subjectAltNames).toEqual(['dns:device.example', 'ip:192.0.2.1', 'email:a@b.example', 'uri:urn:x']);
      const text = openssl(['x509', '-in', certificateFile(view), '-noout', '-text']).text;
      expect(text).toContain('CA:FALSE');
      expect(text).not.toContain('Certificate Sign');
    }
  });
  it('signed with RSA-PSS are taken', async () => {
    const csr = fromOpenssl(['-newkey', 'rsa:2048', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32', '-sha256'], CONFIG);
    expect((await tenant('issue-certificate', { csr })).state).toBe('valid');
  });
  it('whose signature is not their key’s, of weak keys, by SHA-1, cut or followed by anything are refused', async () => {
    const good = csrOf();
    const changed = new Uint8Array(good);
    changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
    const foreign = new Uint8Array(good);
    // Another key in place of its own: the signature no longer proves possession.
    const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({ format: 'der', type: 'spki' });
    foreign.set(other, Buffer.from(good).indexOf(other.subarray(0, 26)));
    const bad: [string, Uint8Array][] = [
      ['changed', changed],
      ['foreign key', foreign],
      ['cut', good.subarray(0, good.length - 2)],
      ['trailing', new Uint8Array([...good, 0])],
      ['empty', new Uint8Array(0)],
      ['pem', Buffer.from(toPem('CERTIFICATE REQUEST', good))],
      ['rsa-1024', fromOpenssl(['-newkey', 'rsa:1024'], CONFIG)],
      ['sha1', fromOpenssl(['-newkey', 'rsa:2048', '-sha1'], CONFIG)],
      ['certificate', (await tenant('list-authorities', {})).items[0]?.certificate ?? new Uint8Array(1)],
      ['large', new Uint8Array(70_000).fill(0x30)],
    ];
    for (const [name, csr] of bad)
      expect(await codeOf(tenant('issue-certificate', { csr, subject: 'CN=x' })), name).toMatch(/invalid-field|payload-too-large/);
  });
  it('need exactly one key, a name, real purposes and a sensible life', async () => {
    const csr = csrOf();
    const bad: Record<string, object> = {
      none: { subject: 'CN=x' },
      two: { csr, publicKey: csr, subject: 'CN=x' },
      nameless: { csr },
      purposes: { csr, subject: 'CN=x', purposes: [] },
      purpose: { csr, subject: 'CN=x', purposes: ['ca'] },
      days: { csr, subject: 'CN=x', days: 0 },
      long: { csr, subject: 'CN=x', days: 1e9 },
      subject: { csr, subject: 'CN=\u0000' },
      san: { csr, subject: 'CN=x', subjectAltNames: ['dns:bad name'] },
      sans: { csr, subject: 'CN=x', subjectAltNames: 'dns:a' },
    };
    for (const [name, request] of Object.entries(bad))
      expect(await codeOf(tenant('issue-certificate', request as never)), name).toBe('invalid-field');
    const only = await tenant('issue-certificate', { csr, subjectAltNames: ['dns:only.example'] });
    expect(openssl(['x509', '-in', certificateFile(only), '-noout', '-text']).text).toMatch(/Subject Alternative Name: critical/);
  });
});

describe('certificates of managed keys, as KMIP Certify makes them', () => {
  it('certify a public key, a private key or a request in the service, linked both ways, found by Locate', async () => {
    const tenant = s.as('alice', nextTenant(), 'kmip');
    await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const pair = await tenant('create-key-pair', { spec: 'ec-p256', activate: true });
    for (const key of [pair.publicKeyId, pair.object.id]) {
      const view = await tenant('issue-certificate', { subjectKey: key, subject: 'CN=x', names: [`c-${key.slice(-4)}`] });
      const { object } = await tenant('get-object', { key });
      expect(object.links).toContainEqual({ type: 'certificate', target: view.id });
      const certificate = await tenant('get-object', { key: view.id });
      expect(certificate.object.links).toContainEqual({ type: object.type, target: key });
      expect(Buffer.from(certificate.publicKey ?? [])).toEqual(Buffer.from(pair.publicKey ?? []));
      expect((await tenant('locate', { types: ['certificate'] })).items.map((o) => o.id)).toContain(view.id);
    }
    const { csr } = await tenant('create-csr', { key: pair.object.id, subject: 'CN=from-csr' });
    const kept = await tenant('register', { type: 'certificate-request', format: 'x509', material: csr });
    expect((await tenant('issue-certificate', { subjectKey: kept.object.id })).subject).toBe('CN=from-csr');
    const aes = await tenant('create-key', { spec: 'aes-256' });
    expect(await codeOf(tenant('issue-certificate', { subjectKey: aes.object.id, subject: 'CN=x' }))).toBe('wrong-object-type');
  });
  it('are renewed with links both ways, names moved, the old one kept or revoked', async () => {
    const tenant = freshTenant();
    await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const old = await tenant('issue-certificate', {
      csr: csrOf(),
      subject: 'CN=x',
      subjectAltNames: ['a.example'],
      names: ['web'],
      purposes: ['server'],
    });
    const next = await tenant('renew-certificate', { key: 'web', names: ['web', 'web-2'] });
    expect(next).toMatchObject({
      subject: 'CN=x',
      subjectAltNames: ['dns:a.example'],
      purposes: ['server'],
      replaces: old.id,
      names: ['web', 'web-2'],
    });
    expect(next.serial).not.toBe(old.serial);
    const before = await tenant('get-certificate', { key: old.id });
    expect(before).toMatchObject({ state: 'valid', names: [], replacedBy: next.id });
    const same = (view: CertificateView) =>
      new X509Certificate(Buffer.from(view.certificate ?? [])).publicKey.export({ format: 'der', type: 'spki' });
    expect(same(next).equals(same(old))).toBe(true);
    const third = await tenant('renew-certificate', { key: 'web', csr: csrOf(), revokeOld: true, days: 5 });
    expect(same(third).equals(same(old))).toBe(false);
    expect(await tenant('get-certificate', { key: next.id })).toMatchObject({ state: 'revoked', revocation: { reason: 'superseded' } });
    expect(await codeOf(tenant('renew-certificate', { key: next.id }))).toBe('wrong-state');
    expect((await tenant('get-crl', {})).entries).toBe(1);
  });
});

describe('the service’s own objects', () => {
  it('are changed by administrators only, whatever a role may do with keys', async () => {
    const tenant = freshTenant();
    const authority = await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const view = await tenant('issue-certificate', { csr: csrOf(), subject: 'CN=x' });
    const machine = s.as('machine', `tenant-${count}`);
    s.roles.set('machine', ['kmip-client']);
    for (const key of [authority.id, authority.certificateId, view.id]) {
      expect(await codeOf(machine('revoke', { key, reason: 'key-compromise' })), key).toBe('permission-denied');
      expect(await codeOf(machine('update-object', { key, names: [] })), key).toBe('permission-denied');
      expect(await codeOf(machine('archive', { key })), key).toBe('permission-denied');
      expect((await machine('get-object', { key })).object.attributes[CA.service]).toBe(true);
    }
    expect((await tenant('get-certificate', { key: view.id })).state).toBe('valid');
  });
});

describe('states', () => {
  it('list what is valid, revoked, expired and inactive; the list forgets what has expired', async () => {
    const test = makeTestService(new Map([['software', await openTestRoot()]]));
    const tenant = test.alice;
    await tenant('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const make = (days: number) => tenant('issue-certificate', { csr: csrOf(), subject: `CN=d${days}`, days });
    const short = await make(1);
    const long = await make(100);
    const gone = await make(1);
    const off = await make(100);
    await tenant('revoke-certificate', { key: gone.id, reason: 'key-compromise', compromisedAt: test.now - 1000 });
    await tenant('archive', { key: off.id });
    expect((await tenant('get-crl', {})).entries).toBe(1);
    const ids = async (state: CertificateView['state']) => (await tenant('list-certificates', { state })).items.map((c) => c.id);
    expect(await ids('valid')).toEqual([short.id, long.id]);
    expect(await ids('inactive')).toEqual([off.id]);
    test.now += 2 * 86_400_000;
    expect(await ids('expired')).toEqual([short.id]);
    expect(await ids('revoked')).toEqual([gone.id]);
    expect((await tenant('get-crl', {})).entries).toBe(0);
    expect(await codeOf(tenant('revoke-certificate', { key: 'nothing' }))).toBe('not-found');
  });
});

describe('PKCS#12', () => {
  it('opens with its passphrase in openssl, and with no other', () => {
    for (const kind of ['ec-p256', 'rsa-2048', 'ed25519'] as const) {
      const { key, csr } = makeFreshIdentity(kind);
      const own = spawnSync(
        'openssl',
        [
          'req',
          '-in',
          file(csr),
          '-inform',
          'DER',
          '-key',
          file(key.export({ format: 'pem', type: 'pkcs8' }) as string),
          '-x509',
          '-subj',
          '/CN=ä',
        ],
        { encoding: 'utf8' },
      );
      const store = file(toPkcs12({ key, certificates: [own.stdout, own.stdout], name: 'Gerät', passphrase: 'pässword-😀' }));
      const opened = openssl(['pkcs12', '-in', store, '-passin', `file:${file('pässword-😀')}`, '-nodes', '-info']);
      expect(opened.ok, opened.text).toBe(true);
      expect(opened.text.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
      const keyText = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(opened.text)?.[0];
      expect(`${keyText}\n`).toBe(key.export({ format: 'pem', type: 'pkcs8' }));
      expect(opened.text).toMatch(/PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256/);
      expect(openssl(['pkcs12', '-in', store, '-passin', 'pass:other', '-nodes']).ok).toBe(false);
    }
  });
});
