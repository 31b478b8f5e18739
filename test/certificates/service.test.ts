import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { aegis, aegisOk, call, discard, type RunningService, startService } from '../service/running-service.js';

/** The built service after `npm start`, its command line, and openssl as the outside. */

let service: RunningService;
let work: string;
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'aegis-cert-'));
  service = await startService();
}, 120_000);
afterAll(async () => {
  await discard(service);
  rmSync(work, { recursive: true, force: true });
});

const identity = (name: string): string => join(service.dataDir, 'kmip', name);
interface Plane {
  readonly name: string;
  readonly address: string;
}
const planes = (): Plane[] => (JSON.parse(readFileSync(join(service.dataDir, 'service.json'), 'utf8')) as { kmip: Plane[] }).kmip;
const endpoint = (name: string): string => /([\d.]+:\d+)/.exec(planes().find((p) => p.name === name)?.address ?? '')?.[1] ?? '';
const port = (): number => Number(endpoint('kmip').split(':')[1]);
const run = (args: readonly string[], options: Parameters<typeof aegis>[2] = {}) => aegis(service, args, { cwd: work, ...options });
const ok = (args: readonly string[], options: Parameters<typeof aegis>[2] = {}): string =>
  aegisOk(service, args, { cwd: work, ...options }).toString();
const json = <T>(args: readonly string[]): T => JSON.parse(ok([...args, '--json'])) as T;
const openssl = (args: readonly string[], input: string | Uint8Array = '') => {
  const result = spawnSync('openssl', [...args], { input, cwd: work });
  return { ok: result.status === 0, text: `${result.stdout}${result.stderr}`, stdout: result.stdout };
};
const connect = async (cert: string, key: string): Promise<KmipClient> =>
  KmipClient.connect({
    host: '127.0.0.1',
    port: port(),
    tls: { ca: readFileSync(identity('ca.pem')), cert: readFileSync(cert), key: readFileSync(key) },
    timeoutMs: 10_000,
  });
const speaks = async (cert: string, key: string): Promise<boolean> => {
  const client = await connect(cert, key).catch(() => undefined);
  if (client === undefined) return false;
  try {
    await client.request('Locate', { MaximumItems: 1, Attributes: [] } as never);
    return true;
  } catch {
    return false;
  } finally {
    await client.close();
  }
};

interface Certificate {
  readonly id: string;
  readonly state: string;
  readonly serial: string;
  readonly principalId?: string;
  readonly fingerprint: string;
  readonly certificate: string;
}

describe('after the first start', () => {
  it('the identities are there, for their owner only, and chain to the authority', async () => {
    expect(statSync(identity('.')).mode & 0o777).toBe(0o700);
    for (const name of ['ca.pem', 'client.pem', 'client-key.pem', 'client2.pem', 'client2-key.pem', 'server.pem', 'server-key.pem'])
      expect(statSync(identity(name)).mode & 0o777, name).toBe(0o600);
    expect(openssl(['verify', '-CAfile', identity('ca.pem'), '-purpose', 'sslclient', identity('client.pem')]).text).toMatch(/OK/);
    for (const name of ['server.pem', 'server-rsa.pem'])
      expect(
        openssl(['verify', '-CAfile', identity('ca.pem'), '-purpose', 'sslserver', '-verify_ip', '127.0.0.1', identity(name)]).text,
      ).toMatch(/OK/);
    // The second client is another tenant's: its own authority.
    expect(openssl(['verify', '-CAfile', identity('ca.pem'), identity('client2.pem')]).ok).toBe(false);
    await vi.waitFor(() => expect(service.output()).toMatch(/npx aegis kmip ping/), { timeout: 10_000 });
    expect(service.output()).not.toMatch(/PRIVATE KEY/);
  });

  const client = () => ['-cert', identity('client.pem'), '-key', identity('client-key.pem')];
  it.each([
    ['kmip', '-tls1_2'],
    ['kmip', '-tls1_3'],
    ['kmip-https', '-tls1_2'],
    ['kmip-https', '-tls1_3'],
  ])('%s: openssl s_client %s succeeds with the client certificate', (plane, version) => {
    const args = [
      's_client',
      '-connect',
      endpoint(plane),
      '-CAfile',
      identity('ca.pem'),
      '-verify_return_error',
      '-verify_ip',
      '127.0.0.1',
      '-brief',
      version,
    ];
    const held = openssl([...args, ...client()]);
    expect(held.text).toMatch(/Verification: OK|CONNECTION ESTABLISHED/);
    expect(held.ok, held.text).toBe(true);
  });
  it('a client that knows RSA only gets the RSA certificate', () => {
    const args = [
      's_client',
      '-connect',
      endpoint('kmip'),
      '-CAfile',
      identity('ca.pem'),
      '-tls1_2',
      '-sigalgs',
      'RSA+SHA256:RSA-PSS+SHA256',
      '-cipher',
      'ECDHE-RSA-AES256-GCM-SHA384',
    ];
    const held = openssl([...args, ...client()]);
    expect(held.text).toMatch(/Cipher is ECDHE-RSA-AES256-GCM-SHA384/);
  });
  it('without a certificate, or with one of somebody else, nothing is answered', async () => {
    openssl([
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=kmip-client/O=default',
      '-keyout',
      'own-key.pem',
      '-out',
      'own.pem',
    ]);
    expect(await speaks(join(work, 'own.pem'), join(work, 'own-key.pem'))).toBe(false);
    const bare = await KmipClient.connect({
      host: '127.0.0.1',
      port: port(),
      tls: { ca: readFileSync(identity('ca.pem')) },
      timeoutMs: 5_000,
    }).catch(() => undefined);
    const answered = await bare?.request('Query', { QueryFunction: ['QueryOperations'] } as never).then(
      () => true,
      () => false,
    );
    expect(answered ?? false).toBe(false);
    const alert = openssl(
      ['s_client', '-connect', endpoint('kmip'), '-CAfile', identity('ca.pem'), '-tls1_2', '-ign_eof'],
      Buffer.from('42007801000000', 'hex'),
    );
    expect(alert.text).not.toMatch(/RequestMessage/);
    expect(await speaks(identity('client.pem'), identity('client-key.pem'))).toBe(true);
    expect(await speaks(identity('client2.pem'), identity('client2-key.pem'))).toBe(true);
  });
  it('ping, locate, stats and trace show what they say', async () => {
    const ping = json<{ versions: string[]; operations: number }>(['kmip', 'ping']);
    expect(ping.versions).toContain('1.4');
    expect(ping.operations).toBeGreaterThan(20);
    const client1 = await connect(identity('client.pem'), identity('client-key.pem'));
    const made = await client1.request('Create', {
      ObjectType: 'SymmetricKey',
      Attributes: [
        { name: 'CryptographicAlgorithm', value: 'AES' },
        { name: 'CryptographicLength', value: 256 },
        { name: 'CryptographicUsageMask', value: 0x0c },
        { name: 'Name', value: { NameValue: 'secret-project-key', NameType: 'UninterpretedTextString' } },
      ],
    } as never);
    await client1.close();
    const id = (made as { UniqueIdentifier: string }).UniqueIdentifier;
    expect(ok(['kmip', 'locate', '--name', 'secret-project-key'])).toContain(id);
    // Nothing of another tenant, and nothing that the service keeps for itself.
    expect(json<unknown[]>(['kmip', 'locate', '--identity', 'client2'])).toEqual([]);
    expect(json<{ id: string }[]>(['kmip', 'locate']).map((o) => o.id)).toEqual([id]);
    const trace = ok(['kmip', 'trace', '--operation', 'Locate']);
    expect(trace).toMatch(/RequestMessage +Structure, \d+ bytes/);
    expect(trace).toMatch(/UniqueIdentifier +TextString, 36 bytes/);
    expect(trace).not.toContain(id);
    const capture = '42007b010000001042009207000000087365637265742d31';
    const shown = ok(['kmip', 'trace', '--in', '-'], { input: Buffer.from(capture) });
    expect(shown).toMatch(/TextString, 8 bytes/);
    expect(shown).not.toContain('secret-1');
    const stats = json<{ plane: { name: string }[]; calls: { operation: string; success: number }[] }>(['kmip', 'stats']);
    expect(stats.plane.some((s) => s.name === 'aegis_kmip_items_total')).toBe(true);
    expect(stats.calls.find((c) => c.operation === 'create-key')?.success).toBeGreaterThan(0);
  });
});

describe('aegis cert', () => {
  it('issues for a principal, revokes at once on an open connection too, renews with both valid meanwhile', async () => {
    const issued = json<Certificate>([
      'cert',
      'issue',
      'array-7',
      '--for',
      'array-7',
      '--name',
      'array-7',
      '--san',
      'dns:array-7.bank.example',
      '--validity',
      '90d',
    ]);
    for (const name of ['array-7.pem', 'array-7-key.pem', 'array-7-ca.pem'])
      expect(statSync(join(work, name)).mode & 0o777, name).toBe(0o600);
    expect(openssl(['verify', '-CAfile', 'array-7-ca.pem', 'array-7.pem']).ok).toBe(true);
    const [cert, key] = [join(work, 'array-7.pem'), join(work, 'array-7-key.pem')];
    expect(await speaks(cert, key)).toBe(true);
    const open = await connect(cert, key);
    const renewed = json<Certificate>(['cert', 'renew', 'array-7', '--out', 'next']);
    expect(renewed.principalId).toBe(issued.principalId);
    expect(await speaks(cert, key)).toBe(true);
    expect(await speaks(join(work, 'next.pem'), join(work, 'next-key.pem'))).toBe(true);
    ok(['cert', 'revoke', issued.id, '--reason', 'key-compromise']);
    await expect(open.request('Locate', { MaximumItems: 1, Attributes: [] } as never)).rejects.toThrow();
    await open.close();
    expect(await speaks(cert, key)).toBe(false);
    expect(await speaks(join(work, 'next.pem'), join(work, 'next-key.pem'))).toBe(true);
    ok(['cert', 'crl', '--out', 'crl.pem']);
    const check = (file: string) => openssl(['verify', '-crl_check', '-CAfile', 'array-7-ca.pem', '-CRLfile', 'crl.pem', file]);
    expect(check('array-7.pem').text).toMatch(/certificate revoked/);
    expect(check('next.pem').ok).toBe(true);
    const list = json<{ items: Certificate[] }>(['cert', 'list', '--principal', issued.principalId ?? '']);
    expect(list.items.map((c) => c.state)).toEqual(['valid', 'revoked']);
    expect(json<Certificate>(['cert', 'get', 'array-7']).id).toBe(renewed.id);
  });

  it('writes PKCS#12 that openssl opens, with the passphrase from a file and never from the command line', () => {
    writeFileSync(join(work, 'pass'), 'correct horse\n', { mode: 0o600 });
    ok(['cert', 'issue', 'veeam', '--pkcs12', 'veeam.p12', '--passphrase-file', 'pass', '--key-algorithm', 'rsa-2048']);
    expect(statSync(join(work, 'veeam.p12')).mode & 0o777).toBe(0o600);
    expect(existsSync(join(work, 'veeam-key.pem'))).toBe(false);
    const opened = openssl(['pkcs12', '-in', 'veeam.p12', '-passin', 'file:pass', '-nodes']);
    expect(opened.text.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(opened.text).toMatch(/BEGIN PRIVATE KEY/);
    writeFileSync(join(work, 'open'), 'x', { mode: 0o644 });
    expect(run(['cert', 'issue', 'v2', '--pkcs12', 'v2.p12', '--passphrase-file', 'open']).code).toBe(2);
    expect(run(['cert', 'issue', 'v3', '--pkcs12', 'v3.p12']).stderr).toMatch(/no terminal to ask on/);
    expect(run(['cert', 'issue', 'v4', '--passphrase', 'x']).code).toBe(2);
  });

  it('never writes over a file, and issues nothing then', () => {
    const before = json<{ items: unknown[] }>(['cert', 'list']).items.length;
    writeFileSync(join(work, 'kept-key.pem'), 'precious');
    const refused = run(['cert', 'issue', 'kept']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/exists already/);
    expect(readFileSync(join(work, 'kept-key.pem'), 'utf8')).toBe('precious');
    expect(json<{ items: unknown[] }>(['cert', 'list']).items.length).toBe(before);
  });

  it('signs requests of devices, PEM and DER, and says what is wrong with others', () => {
    openssl([
      'req',
      '-new',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'vc-key.pem',
      '-out',
      'vc.csr',
      '-subj',
      '/O=Bank/CN=vcenter',
      '-addext',
      'subjectAltName=DNS:vcenter.bank.example',
    ]);
    const printed = ok(['cert', 'sign-csr', 'vc.csr']);
    expect(new X509Certificate(printed).subject).toBe('O=Bank\nCN=vcenter');
    openssl(['req', '-in', 'vc.csr', '-outform', 'DER', '-out', 'vc.der']);
    ok(['cert', 'sign-csr', 'vc.der', '--out', 'vc.pem', '--for', 'vcenter', '--subject', 'CN=vc2']);
    const own = new X509Certificate(readFileSync(join(work, 'vc.pem')));
    expect(own.subject).toBe('CN=vc2');
    expect(own.subjectAltName).toBe('DNS:vcenter.bank.example');
    writeFileSync(join(work, 'bad.csr'), 'hello');
    const refused = run(['cert', 'sign-csr', 'bad.csr']);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/PKCS#10/);
  });

  it('a new authority issues from then on, and its clients are let in without a restart', async () => {
    const before = readFileSync(identity('ca.pem'), 'utf8').match(/BEGIN/g)?.length ?? 0;
    ok(['cert', 'ca', 'create', '--subject', 'CN=Second CA,O=Bank', '--spec', 'ec-p384']);
    expect(ok(['cert', 'ca']).match(/BEGIN/g)).toHaveLength(before + 1);
    const { items } = json<{ items: { isDefault: boolean; subject: string }[] }>(['cert', 'ca', 'list']);
    expect(items.find((item) => item.isDefault)?.subject).toBe('CN=Second CA,O=Bank');
    ok(['cert', 'issue', 'late', '--for', 'late']);
    const deadline = Date.now() + 10_000;
    let spoke = false;
    while (!spoke && Date.now() < deadline) spoke = await speaks(join(work, 'late.pem'), join(work, 'late-key.pem'));
    expect(spoke).toBe(true);
    expect(await speaks(identity('client.pem'), identity('client-key.pem'))).toBe(true);
    expect(readFileSync(identity('ca.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(before + 1);
    // Revoked, it takes everything that it issued with it, on open connections at once and at the next handshake.
    const open = await connect(join(work, 'late.pem'), join(work, 'late-key.pem'));
    const second = json<{ items: { id: string; certificateId: string; subject: string }[] }>(['cert', 'ca', 'list']).items[0];
    ok(['key', 'revoke', second?.id ?? '', '--reason', 'ca-compromise']);
    await expect(open.request('Locate', { MaximumItems: 1, Attributes: [] } as never)).rejects.toThrow();
    await open.close();
    ok(['key', 'revoke', second?.certificateId ?? '', '--reason', 'ca-compromise']);
    expect(await speaks(join(work, 'late.pem'), join(work, 'late-key.pem'))).toBe(false);
    expect(ok(['cert', 'crl', '--authority', second?.id ?? ''])).toMatch(/BEGIN X509 CRL/);
    await vi.waitFor(() => expect(readFileSync(identity('ca.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(before), { timeout: 5_000 });
    expect(await speaks(identity('client.pem'), identity('client-key.pem'))).toBe(true);
  });
});

describe('REST', () => {
  it('issues, shows, lists, revokes; the list of revocations as DER, PEM and JSON, and without a credential', async () => {
    openssl(['req', '-new', '-newkey', 'ed25519', '-nodes', '-keyout', 'r-key.pem', '-out', 'r.csr', '-subj', '/CN=rest']);
    const csr = readFileSync(join(work, 'r.csr'), 'utf8');
    const made = await call(service, 'POST', '/v1/certificates', { csr, days: 10, name: 'rest' });
    expect(made.status).toBe(201);
    const id = String(made.body['id']);
    expect((await call(service, 'GET', '/v1/certificates/rest')).body).toMatchObject({ id, state: 'valid', subject: 'CN=rest' });
    const revoked = await call(service, 'POST', `/v1/certificates/${id}/revoke`, { reason: 'superseded' });
    expect(revoked.body).toMatchObject({ state: 'revoked', revocation: { reason: 'superseded' } });
    const { items } = (await call(service, 'GET', '/v1/certificates?state=revoked')).body as { items: { id: string }[] };
    expect(items.map((c) => c.id)).toContain(id);
    const headers = { authorization: `Bearer ${service.token()}` };
    const der = await fetch(`${service.url}/v1/certificates/crl`, { headers });
    expect(der.headers.get('content-type')).toBe('application/pkix-crl');
    expect(openssl(['crl', '-inform', 'DER', '-noout', '-text'], Buffer.from(await der.arrayBuffer())).text).toContain('Version 2');
    const text = await fetch(`${service.url}/v1/certificates/crl`, { headers: { ...headers, accept: 'application/x-pem-file' } });
    expect(await text.text()).toMatch(/BEGIN X509 CRL/);
    const open = await fetch(`${service.url}/.well-known/crl`);
    expect(open.status).toBe(200);
    expect(openssl(['crl', '-inform', 'DER', '-noout', '-text'], Buffer.from(await open.arrayBuffer())).ok).toBe(true);
    expect((await fetch(`${service.url}/.well-known/crl?authority=${id}`)).status).toBe(404);
    expect((await fetch(`${service.url}/.well-known/crl?authority=../x`)).status).toBe(400);
    expect((await fetch(`${service.url}/v1/certificates`)).status).toBe(401);
  });

  it('only an administrator has certificates issued for others', async () => {
    const principal = await call(service, 'POST', '/v1/principals', { kind: 'service', name: 'machine', roles: ['kmip-client'] });
    const machine = String(principal.body['id']);
    const token = await call(service, 'POST', '/v1/tokens', { principalId: machine });
    const as = { authorization: `Bearer ${String(token.body['token'])}` };
    const csr = readFileSync(join(work, 'r.csr'), 'utf8');
    const admin = (await call(service, 'GET', '/v1/whoami')).body as { principal: { id: string } };
    const other = await call(service, 'POST', '/v1/certificates', { csr, principalId: admin.principal.id }, as);
    expect(other.status).toBe(403);
    expect((await call(service, 'POST', '/v1/certificates', { csr, principalId: machine }, as)).status).toBe(403);
    const own = await call(service, 'POST', '/v1/certificates', { csr, principalId: machine });
    expect(own.status).toBe(201);
    // Its own it renews in time, by itself.
    const renewed = await call(service, 'POST', `/v1/certificates/${String(own.body['id'])}/renew`, {}, as);
    expect(renewed.body).toMatchObject({ state: 'valid', principalId: machine });
    expect((await call(service, 'POST', '/v1/certificates/authorities', { subject: 'CN=x' }, as)).status).toBe(403);
    const { items } = (await call(service, 'GET', '/v1/certificates', undefined, as)).body as {
      items: { id: string; principalId?: string }[];
    };
    const foreign = items.find((c) => c.principalId !== undefined && c.principalId !== machine);
    expect((await call(service, 'POST', `/v1/certificates/${foreign?.id}/revoke`, {}, as)).status).toBe(403);
    expect((await call(service, 'POST', `/v1/keys/${foreign?.id}/revoke`, { reason: 'key-compromise' }, as)).status).toBe(403);
    const scoped = await call(service, 'POST', '/v1/tokens', { principalId: admin.principal.id, scope: ['certificates:*'] });
    const narrow = { authorization: `Bearer ${String(scoped.body['token'])}` };
    expect((await call(service, 'POST', '/v1/certificates', { csr, principalId: machine }, narrow)).status).toBe(403);
  });
});
