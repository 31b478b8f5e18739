import { spawnSync } from 'node:child_process';
import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aegis, aegisOk, call, discard, freePort, type RunningService, startService, temporaryDataDir } from './running-service.js';

/** What operators do: import, certificates, dates, backup and restore, re-sealing, lost token, limits; with openssl as the judge. */
let service: RunningService;
let work: string;
const at = (name: string): string => join(work, name);
const json = (args: readonly string[]): Record<string, unknown> =>
  JSON.parse(aegisOk(service, [...args, '--json']).toString()) as Record<string, unknown>;

beforeAll(async () => {
  service = await startService();
  work = mkdtempSync(join(tmpdir(), 'aegis-operator-'));
  writeFileSync(at('FILE'), randomBytes(5_000));
});
afterAll(async () => {
  await discard(service);
  rmSync(work, { recursive: true, force: true });
});

describe('import', () => {
  test('an encrypted PKCS#8 key is wrapped here, signs there, and its file never travelled', () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(at('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'correct horse' }));
    writeFileSync(at('pass'), 'correct horse\n', { mode: 0o600 });
    const imported = json(['key', 'import', 'payroll', at('key.pem'), '--passphrase-file', at('pass'), '--activate']);
    expect(imported).toMatchObject({ spec: 'rsa-2048', state: 'active', exportable: false });
    aegisOk(service, ['sign', '--key', 'payroll', '--algorithm', 'rsa-pkcs1-sha256', '--in', at('FILE'), '--out', at('rsa.sig')]);
    const expected = createSign('sha256')
      .update(readFileSync(at('FILE')))
      .sign(privateKey);
    expect(readFileSync(at('rsa.sig')).equals(expected)).toBe(true);
    const wrong = aegis(service, ['key', 'import', 'other', at('key.pem')]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('--passphrase-file');
  });

  test('raw AES and JWK keys; an exportable one comes back byte for byte, another is refused', () => {
    const secret = randomBytes(32);
    writeFileSync(at('raw.key'), secret, { mode: 0o600 });
    json(['key', 'import', 'raw-aes', at('raw.key'), '--exportable', '--activate']);
    aegisOk(service, ['key', 'export', 'raw-aes', '--out', at('raw.out')]);
    expect(readFileSync(at('raw.out')).equals(secret)).toBe(true);
    expect(statSync(at('raw.out')).mode & 0o777).toBe(0o600);
    json(['key', 'create', 'kept', '--spec', 'aes-256']);
    const refused = aegis(service, ['key', 'export', 'kept', '--out', at('no.out')]);
    expect(refused.code).toBe(4);
    expect(existsSync(at('no.out'))).toBe(false);
    writeFileSync(at('key.jwk'), JSON.stringify(generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })));
    expect(json(['key', 'import', 'from-jwk', at('key.jwk'), '--activate'])['spec']).toBe('ed25519');
  });
});

describe('public material and certificates', () => {
  test('PEM, DER and JWK of one key are the same key; the JWKS shows only what is published', async () => {
    json(['key', 'create', 'web', '--spec', 'ec-p256', '--activate', '--tag', 'publish=jwks']);
    const pem = aegisOk(service, ['key', 'public', 'web', '--format', 'pem']).toString();
    const der = aegisOk(service, ['key', 'public', 'web', '--format', 'der']);
    const jwk = JSON.parse(aegisOk(service, ['key', 'public', 'web', '--format', 'jwk']).toString()) as { x: string };
    expect(pem.replace(/-----[A-Z ]+-----|\s/g, '')).toBe(der.toString('base64'));
    expect(der.includes(Buffer.from(jwk.x, 'base64url'))).toBe(true);
    const jwks = (await (await fetch(`${service.url}/.well-known/jwks.json`)).json()) as { keys: { x?: string }[] };
    expect(jwks.keys.map((k) => k.x)).toEqual([jwk.x]);
  });

  test.each(['ec-p256', 'ec-p384', 'rsa-2048', 'ed25519'])(
    'a certificate request and a self-signed certificate with %s satisfy openssl',
    (spec) => {
      json(['key', 'create', `ca-${spec}`, '--spec', spec, '--usage', 'sign,verify', '--activate']);
      aegisOk(service, [
        'key',
        'csr',
        `ca-${spec}`,
        '--subject',
        'CN=www.example.org,O=Example',
        '--san',
        'dns:www.example.org,ip:127.0.0.1',
        '--out',
        at('req.pem'),
      ]);
      const request = spawnSync('openssl', ['req', '-in', at('req.pem'), '-noout', '-verify', '-text'], { encoding: 'utf8' });
      expect(request.status, request.stderr).toBe(0);
      expect(request.stdout).toContain('DNS:www.example.org');
      aegisOk(service, ['key', 'self-sign', `ca-${spec}`, '--subject', 'CN=Example Root', '--days', '30', '--ca', '--out', at('cert.pem')]);
      const verified = spawnSync('openssl', ['verify', '-CAfile', at('cert.pem'), at('cert.pem')], { encoding: 'utf8' });
      expect(verified.stdout + verified.stderr).toContain('OK');
    },
  );
});

describe('lifecycle', () => {
  test('dates take effect on time; a pending destroy can be cancelled, then happens', async () => {
    const soon = new Date(Date.now() + 1_500).toISOString();
    json(['key', 'create', 'later', '--spec', 'aes-256', '--activation', soon]);
    expect((await call(service, 'POST', '/v1/keys/later/encrypt', { plaintext: 'AAAA' })).body['code']).toBe('wrong-state');
    await sleep(1_700);
    expect((await call(service, 'POST', '/v1/keys/later/encrypt', { plaintext: 'AAAA' })).status).toBe(200);
    aegisOk(service, ['key', 'revoke', 'later', '--reason', 'cessation-of-operation']);
    expect(json(['key', 'destroy', 'later', '--pending', '7d'])['destroyDueDate']).toBeTruthy();
    expect(json(['key', 'cancel-destroy', 'later'])['state']).toBe('deactivated');
    expect(json(['key', 'destroy', 'later'])['state']).toBe('destroyed');
  });

  test('rotation by use count happens by itself; a usage limit ends a key exactly', async () => {
    json(['key', 'create', 'worn', '--spec', 'ec-p256', '--activate', '--rotate-after', '5']);
    for (let i = 0; i < 5; i += 1) await call(service, 'POST', '/v1/keys/worn/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' });
    const deadline = Date.now() + 20_000;
    while ((await call(service, 'GET', '/v1/keys/worn')).body['currentVersion'] !== 2 && Date.now() < deadline) await sleep(200);
    expect((await call(service, 'GET', '/v1/keys/worn')).body['currentVersion']).toBe(2);
    json(['key', 'create', 'thrice', '--spec', 'ec-p256', '--activate', '--max-uses', '3']);
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => call(service, 'POST', '/v1/keys/thrice/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' })),
    );
    expect(answers.filter((a) => a.status === 200)).toHaveLength(3);
    expect(new Set(answers.filter((a) => a.status !== 200).map((a) => a.body['code']))).toEqual(new Set(['usage-limit-reached']));
  });

  test('a change against an old revision is refused; an idempotent create happens once', async () => {
    const { revision } = json(['key', 'create', 'shared', '--spec', 'aes-256']);
    aegisOk(service, ['key', 'update', 'shared', '--description', 'first', '--if-revision', String(revision)]);
    expect(aegis(service, ['key', 'update', 'shared', '--description', 'second', '--if-revision', String(revision)]).code).toBe(6);
    const create = () => call(service, 'POST', '/v1/keys', { spec: 'aes-256', names: ['once'] }, { 'idempotency-key': 'abc-123' });
    const first = await create();
    const second = await create();
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body['id']).toBe(first.body['id']);
    expect(
      (await call(service, 'POST', '/v1/keys', { spec: 'aes-128', names: ['once'] }, { 'idempotency-key': 'abc-123' })).body['code'],
    ).toBe('idempotency-mismatch');
  });
});

describe('policy', () => {
  test('a document decides, is explained, and its mistakes are named by line', () => {
    const user = json(['principal', 'create', 'signer', '--role', 'user']);
    writeFileSync(
      at('policy.yaml'),
      'version: 1\nstatements:\n  - id: no-signing\n    effect: deny\n    principals: ["service:signer"]\n    actions: ["keys:sign"]\n    resources: ["*"]\n',
    );
    json(['key', 'create', 'guarded', '--spec', 'ec-p256', '--activate']);
    expect(aegis(service, ['policy', 'test', '--operation', 'sign', '--key', 'guarded', '--principal', String(user['id'])]).code).toBe(0);
    aegisOk(service, ['policy', 'put', 'limits', at('policy.yaml')]);
    const explained = aegis(service, [
      'policy',
      'test',
      '--operation',
      'sign',
      '--key',
      'guarded',
      '--principal',
      String(user['id']),
      '--json',
    ]);
    expect(explained.code).toBe(4);
    expect(JSON.parse(explained.stdout.toString())).toMatchObject({ effect: 'deny', statement: 'limits/no-signing' });
    writeFileSync(
      at('broken.yaml'),
      'version: 1\nstatements:\n  - id: x\n    effect: permit\n    principals: ["*"]\n    actions: ["keys:sing"]\n    resources: ["*"]\n',
    );
    const refused = aegis(service, ['policy', 'validate', at('broken.yaml')]);
    expect(refused.code).toBe(1);
    expect(refused.stdout.toString()).toMatch(/4 .*effect/);
    expect(refused.stdout.toString()).toMatch(/6 .*keys:sing/);
    aegisOk(service, ['policy', 'delete', 'limits']);
    expect(aegis(service, ['policy', 'test', '--operation', 'sign', '--key', 'guarded', '--principal', String(user['id'])]).code).toBe(0);
  });
});

describe('contexts', () => {
  test('login saves address and token for you alone; logout forgets them', () => {
    writeFileSync(at('token'), `${service.token()}\n`, { mode: 0o600 });
    const env = { XDG_CONFIG_HOME: at('config') };
    aegisOk(service, ['login', '--url', service.url, '--token-file', at('token'), '--name', 'here'], { env });
    expect(statSync(at('config/aegis/contexts.json')).mode & 0o777).toBe(0o600);
    const elsewhere = { dataDir: at('nowhere'), port: 1 };
    expect(aegisOk(elsewhere, ['whoami'], { env }).toString()).toContain('admin');
    expect(aegisOk(elsewhere, ['context', 'list'], { env }).toString()).not.toContain(service.token());
    aegisOk(elsewhere, ['logout'], { env });
    expect(aegis(elsewhere, ['whoami'], { env }).code).toBe(8);
    writeFileSync(at('open-token'), 'x', { mode: 0o644 });
    expect(aegis(service, ['whoami', '--token-file', at('open-token')]).stderr).toContain('chmod 600');
  });
});

describe('seal, backup, recovery', () => {
  test('re-sealing moves every key while it serves', async () => {
    const sealed = (await call(service, 'POST', '/v1/keys', { spec: 'aes-256', names: ['resealed'], activate: true })).body;
    const ciphertext = (await call(service, 'POST', `/v1/keys/${sealed['id']}/encrypt`, { plaintext: 'AAAA' })).body['ciphertext'];
    expect(json(['root', 'rotate-seal', 'software'])['generation']).toBe(2);
    expect((await call(service, 'POST', '/v1/keys/resealed/decrypt', { ciphertext })).body['plaintext']).toBe('AAAA');
  });

  test('a backup restores elsewhere with its sealing key, and is refused without it', async () => {
    writeFileSync(at('backup-pass'), 'a long enough passphrase\n', { mode: 0o600 });
    const before = (await call(service, 'POST', '/v1/keys', { spec: 'aes-256', names: ['survivor'], activate: true })).body;
    const ciphertext = (await call(service, 'POST', '/v1/keys/survivor/encrypt', { plaintext: 'c3Vydml2ZXM=' })).body['ciphertext'];
    const pass = ['--passphrase-file', at('backup-pass')];
    aegisOk(service, ['backup', 'create', '--out', at('b.aegis'), ...pass]);
    expect(readFileSync(at('b.aegis')).includes('survivor')).toBe(false);
    const report = JSON.parse(aegisOk(service, ['backup', 'verify', at('b.aegis'), ...pass, '--json']).toString()) as { keys: number };
    expect(report.keys).toBeGreaterThan(5);
    const damaged = readFileSync(at('b.aegis'));
    damaged[damaged.length - 100] = (damaged[damaged.length - 100] ?? 0) ^ 1;
    writeFileSync(at('damaged.aegis'), damaged);
    expect(aegis(service, ['backup', 'verify', at('damaged.aegis'), ...pass]).code).not.toBe(0);

    const stranger = { dataDir: temporaryDataDir(), port: await freePort() };
    const refused = aegis(stranger, ['backup', 'restore', at('b.aegis'), ...pass]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/root/i);
    rmSync(stranger.dataDir, { recursive: true, force: true });

    const heir = { dataDir: temporaryDataDir(), port: await freePort() };
    copyFileSync(join(service.dataDir, 'software-root.key'), join(heir.dataDir, 'software-root.key'));
    aegisOk(heir, ['backup', 'restore', at('b.aegis'), ...pass]);
    expect(aegis(heir, ['backup', 'restore', at('b.aegis'), ...pass]).stderr).toMatch(/empty/i);
    copyFileSync(join(service.dataDir, 'admin-token'), join(heir.dataDir, 'admin-token'));
    const restored = await startService({ dataDir: heir.dataDir, port: heir.port });
    expect((await call(restored, 'GET', '/v1/keys/survivor')).body['id']).toBe(before['id']);
    expect((await call(restored, 'POST', '/v1/keys/survivor/decrypt', { ciphertext })).body['plaintext']).toBe('c3Vydml2ZXM=');
    expect(JSON.parse(aegisOk(restored, ['audit', 'verify', '--json']).toString()).valid).toBe(true);
    await discard(restored);
  });

  test('a lost admin token is recovered by who owns the data directory', async () => {
    const { dataDir, port } = service;
    const old = service.token();
    await service.stop();
    rmSync(join(dataDir, 'admin-token'));
    aegisOk({ dataDir, port }, ['admin', 'recover']);
    service = await startService({ dataDir, port });
    expect(service.token()).not.toBe(old);
    expect((await call(service, 'GET', '/v1/whoami')).status).toBe(200);
    expect(aegisOk(service, ['audit', 'list', '--limit', '200']).toString()).toMatch(/recovery/);
  });
});

describe('the service as a whole', () => {
  test('doctor, status, metrics and the API document tell the truth', async () => {
    expect(aegisOk(service, ['doctor']).toString()).not.toMatch(/^fail/m);
    expect(aegisOk(service, ['status']).toString()).toContain('software');
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics).toMatch(/aegis_operations_total\{operation="whoami",plane="rest",outcome="success",fault="",root=""\} \d+/);
    const document = (await (await fetch(`${service.url}/openapi.json`)).json()) as { openapi: string; paths: Record<string, unknown> };
    expect(document.openapi).toMatch(/^3\.1/);
    expect(Object.keys(document.paths)).toContain('/v1/keys/{id}/sign');
    const docs = await (await fetch(`${service.url}/docs`)).text();
    expect(docs).not.toMatch(/https?:\/\/(?!127\.0\.0\.1|localhost)/);
  });

  test('neither the log nor what is printed later holds a token or a payload', () => {
    expect(service.output()).not.toContain(service.token());
  });
});
