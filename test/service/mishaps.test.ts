import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  aegis,
  aegisOk,
  call,
  discard,
  freePort,
  missing,
  type RunningService,
  softHsmPresent,
  startService,
  temporaryDataDir,
} from './running-service.js';

/** Everything a new user does wrong: each a clear answer, the next step, and nothing lost. */
describe('a caller’s mistakes', () => {
  let service: RunningService;
  beforeAll(async () => {
    service = await startService();
    aegisOk(service, ['key', 'create', 'k', '--spec', 'ec-p256', '--activate']);
  });
  afterAll(() => discard(service));

  const expectProblem = (
    answer: { status: number; headers: Headers; body: Record<string, unknown> },
    status: number,
    code: string,
  ): void => {
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.body).toMatchObject({ type: `urn:aegis:problem:${code}`, status, code });
    expect(String(answer.body['instance'] ?? answer.body['requestId'])).not.toBe('');
  };

  test('no token, a wrong token, a token of the wrong form', async () => {
    for (const authorization of ['', 'Bearer wrong', `Bearer ${'x'.repeat(400)}`, 'Basic YTpi'])
      expectProblem(await call(service, 'GET', '/v1/keys/k', undefined, { authorization }), 401, 'unauthenticated');
  });

  test('wrong JSON, an unknown field, a wrong type: the field is named', async () => {
    expectProblem(await call(service, 'POST', '/v1/keys', '{"spec": '), 400, 'invalid-request');
    const unknown = await call(service, 'POST', '/v1/keys', { spec: 'aes-256', usages: ['encrypt'] });
    expect(unknown.status).toBe(400);
    expect(JSON.stringify(unknown.body)).toContain('usages');
    const wrong = await call(service, 'POST', '/v1/keys', { spec: 'aes-257' });
    expect(wrong.status).toBe(400);
    expect(wrong.body['field']).toBe('spec');
    const base64 = await call(service, 'POST', '/v1/keys/k/sign', { message: '***', algorithm: 'ecdsa-sha256' });
    expect(base64.status).toBe(400);
    expect(base64.body['field']).toBe('message');
  });

  test('an oversized body', async () => {
    expectProblem(
      await call(service, 'POST', '/v1/keys/k/sign', { message: 'A'.repeat(4 * 1024 * 1024), algorithm: 'ecdsa-sha256' }),
      413,
      'payload-too-large',
    );
  });

  test('an unknown key', async () => {
    expectProblem(await call(service, 'GET', '/v1/keys/no-such-key'), 404, 'not-found');
    expect(aegis(service, ['key', 'get', 'no-such-key']).code).toBe(5);
  });

  test('an expired and a revoked token', async () => {
    const principal = JSON.parse(aegisOk(service, ['principal', 'create', 'short-lived', '--json']).toString());
    const token = JSON.parse(aegisOk(service, ['token', 'issue', principal.id, '--ttl', '1s', '--json']).toString());
    await sleep(1_200);
    expectProblem(
      await call(service, 'GET', '/v1/whoami', undefined, { authorization: `Bearer ${token.token}` }),
      401,
      'credential-expired',
    );
    const other = JSON.parse(aegisOk(service, ['token', 'issue', principal.id, '--json']).toString());
    expect((await call(service, 'GET', '/v1/whoami', undefined, { authorization: `Bearer ${other.token}` })).status).toBe(200);
    aegisOk(service, ['token', 'revoke', other.id]);
    expectProblem(
      await call(service, 'GET', '/v1/whoami', undefined, { authorization: `Bearer ${other.token}` }),
      401,
      'credential-revoked',
    );
  });

  test('a user may use keys but not make or destroy them; a second tenant sees nothing', async () => {
    const user = JSON.parse(aegisOk(service, ['principal', 'create', 'plain-user', '--role', 'user', '--json']).toString());
    const token = JSON.parse(aegisOk(service, ['token', 'issue', user.id, '--json']).toString()).token;
    const as = { authorization: `Bearer ${token}` };
    expect((await call(service, 'POST', '/v1/keys/k/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' }, as)).status).toBe(200);
    expectProblem(await call(service, 'POST', '/v1/keys', { spec: 'aes-256' }, as), 403, 'permission-denied');
    expectProblem(await call(service, 'POST', '/v1/keys/k/destroy', {}, as), 403, 'permission-denied');

    const stranger = JSON.parse(
      aegisOk(service, ['principal', 'create', 'stranger', '--kind', 'human', '--role', 'admin', '--tenant', 'other', '--json']).toString(),
    );
    expect(stranger.tenant).toBe('other');
    const foreign = { authorization: `Bearer ${JSON.parse(aegisOk(service, ['token', 'issue', stranger.id, '--json']).toString()).token}` };
    const id = (await call(service, 'GET', '/v1/keys/k')).body['id'];
    expectProblem(await call(service, 'GET', `/v1/keys/${id}`, undefined, foreign), 404, 'not-found');
    expectProblem(
      await call(service, 'POST', `/v1/keys/${id}/sign`, { message: 'AAAA', algorithm: 'ecdsa-sha256' }, foreign),
      404,
      'not-found',
    );
    expect((await call(service, 'GET', '/v1/keys', undefined, foreign)).body['items']).toEqual([]);
    const log = (await call(service, 'GET', '/v1/audit?limit=200', undefined, foreign)).body['items'] as { tenant?: string }[];
    expect(log.length).toBeGreaterThan(0);
    expect(JSON.stringify(log)).not.toContain('plain-user');
  });

  test('a command that does not exist, an option that does not, a value that is not allowed', () => {
    for (const args of [
      ['kye', 'list'],
      ['key', 'create', 'x', '--specc', 'aes-256'],
      ['key', 'create', 'x', '--spec', 'aes-257'],
      ['key', 'create'],
      ['key', 'get', 'a', 'b'],
    ]) {
      const result = aegis(service, args);
      expect(result.code, args.join(' ')).toBe(2);
      expect(result.stderr).toMatch(/did you mean|needs|unexpected|required/);
    }
  });

  test('every refusal of a known caller left a record in its tenant', async () => {
    const { body } = await call(service, 'GET', '/v1/audit?outcome=refused&limit=200');
    const faults = new Set((body['items'] as { fault?: string }[]).map((r) => r.fault));
    for (const fault of ['not-found', 'permission-denied', 'credential-expired', 'credential-revoked']) {
      expect(faults, fault).toContain(fault);
    }
  });
});

describe('an operator’s mistakes', () => {
  test('the port is in use', async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    const service = await startService({ port, allowExit: true });
    const { code } = await service.exited;
    squatter.close();
    expect(code).not.toBe(0);
    expect(service.output()).toMatch(new RegExp(`${port}.*in use`, 'i'));
    expect(service.output()).toContain('AEGIS_REST_PORT');
    await discard(service);
  });

  test('a second service on the same data directory', async () => {
    const first = await startService();
    const second = await startService({ dataDir: first.dataDir, allowExit: true });
    expect((await second.exited).code).not.toBe(0);
    expect(second.output()).toContain(String(first.pid));
    expect((await call(first, 'GET', '/v1/whoami')).status).toBe(200);
    await discard(first);
  });

  test('a module that is not there', async () => {
    const dataDir = temporaryDataDir();
    writeFileSync(join(dataDir, 'pin'), '1234\n', { mode: 0o600 });
    writeFileSync(
      join(dataDir, 'aegis.yaml'),
      `roots:\n  software:\n    kind: software\n    seal: { kind: key-file, path: software-root.key, create: true }\n  luna:\n    kind: pkcs11\n    module: /nowhere/libCryptoki2.so\n    slot: { label: p }\n    pin: { file: ${join(dataDir, 'pin')} }\n    storage: token\n`,
    );
    const service = await startService({ dataDir });
    const roots = (await call(service, 'GET', '/v1/roots')).body['items'] as { id: string; state: string; detail?: string }[];
    expect(roots.find((r) => r.id === 'software')?.state).toBe('ready');
    const luna = roots.find((r) => r.id === 'luna');
    expect(luna?.state).toBe('unavailable');
    expect(luna?.detail).toContain('/nowhere/libCryptoki2.so');
    const refused = await call(service, 'POST', '/v1/keys', { spec: 'aes-256', root: 'luna' });
    expect(refused.status).toBe(503);
    expect(refused.body['next']).toBeTruthy();
    aegisOk(service, ['key', 'create', 'still-works', '--spec', 'aes-256']);
    await discard(service);
  });

  test.skipIf(missing(softHsmPresent()))('a wrong PIN is tried once and never again', async () => {
    const first = await startService({ args: ['--hsm'] });
    const { dataDir, port } = first;
    aegisOk(first, ['key', 'create', 'in-hsm', '--spec', 'ec-p256', '--activate', '--root', 'softhsm']);
    await first.stop();
    const root = JSON.parse(spawnSync('cat', [join(dataDir, 'roots', 'softhsm.json')], { encoding: 'utf8' }).stdout) as {
      pin: { file: string };
    };
    const pin = spawnSync('cat', [root.pin.file], { encoding: 'utf8' }).stdout;
    writeFileSync(root.pin.file, 'wrong-pin\n', { mode: 0o600 });
    const wrong = await startService({ dataDir, port });
    await sleep(3_000);
    const seen = ((await call(wrong, 'GET', '/v1/roots')).body['items'] as { id: string; state: string; detail?: string }[]).find(
      (r) => r.id === 'softhsm',
    );
    expect(seen?.state).toBe('unavailable');
    expect(seen?.detail).toMatch(/PIN/);
    expect(
      (await call(wrong, 'POST', '/v1/keys/in-hsm/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' })).status,
    ).toBeGreaterThanOrEqual(500);
    const metrics = await (await fetch(`${wrong.url}/metrics`)).text();
    const started = /aegis_root_host_events_total\{root="softhsm",event="started"\} (\d+)/.exec(metrics)?.[1];
    expect(Number(started ?? '1')).toBe(1);
    await wrong.stop();
    writeFileSync(root.pin.file, pin, { mode: 0o600 });
    const right = await startService({ dataDir, port });
    expect((await call(right, 'POST', '/v1/keys/in-hsm/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' })).status).toBe(200);
    await discard(right);
  });

  test('a database that cannot be reached', async () => {
    const service = await startService({
      env: { AEGIS_DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/none` },
      allowExit: true,
    });
    expect((await service.exited).code).not.toBe(0);
    expect(service.output()).toMatch(/database/i);
    expect(service.output()).toContain('AEGIS_DATABASE_URL');
    await discard(service);
  });

  test('a configuration with a mistake: line and field are named', async () => {
    const dataDir = temporaryDataDir();
    writeFileSync(join(dataDir, 'aegis.yaml'), 'rest:\n  port: 8420\n  prot: 1\n');
    const result = aegis({ dataDir, port: 1 }, ['config', 'validate']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('rest.prot');
    expect(result.stderr).toContain('line 3');
    rmSync(dataDir, { recursive: true });
  });
});

const canMount = (): boolean => {
  if (process.getuid?.() !== 0) return false;
  const probe = mkdtempSync(join(tmpdir(), 'aegis-mount-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe]).status === 0;
  if (mounted) spawnSync('umount', [probe]);
  rmSync(probe, { recursive: true });
  return mounted;
};

describe.skipIf(missing(canMount()))('a full disk (needs root, to mount a small file system)', () => {
  test('refuses what it cannot record, loses nothing, heals when there is room', async () => {
    const disk = mkdtempSync(join(tmpdir(), 'aegis-disk-'));
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=700m', 'tmpfs', disk]).status).toBe(0);
    const dataDir = join(disk, 'data');
    mkdirSync(dataDir, { mode: 0o700 });
    let service: RunningService | undefined;
    try {
      service = await startService({ dataDir });
      aegisOk(service, ['key', 'create', 'k', '--spec', 'ec-p256', '--activate']);
      const { bavail, bsize } = statfsSync(disk);
      spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'filler')}`, 'bs=1M', `count=${Math.ceil((bavail * bsize) / 1_048_576) + 1}`]);
      let refused: Awaited<ReturnType<typeof call>> | undefined;
      let signed = 0;
      // PostgreSQL writes into preallocated WAL for a while; then the answer must be a refusal, never a loss.
      for (let i = 0; i < 60_000 && refused === undefined; i += 64) {
        const answers = await Promise.all(
          Array.from({ length: 64 }, () =>
            call(service as RunningService, 'POST', '/v1/keys/k/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' }),
          ),
        );
        refused = answers.find((a) => a.status !== 200);
        signed += answers.filter((a) => a.status === 200).length;
      }
      expect(refused?.status).toBe(503);
      expect(['audit-unavailable', 'storage-unavailable']).toContain(refused?.body['code']);
      rmSync(join(disk, 'filler'));
      const deadline = Date.now() + 60_000;
      let healed = false;
      while (!healed && Date.now() < deadline) {
        healed = await call(service, 'POST', '/v1/keys/k/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' }).then(
          (a) => a.status === 200,
          () => false,
        );
        if (!healed) await sleep(250);
      }
      expect(healed).toBe(true);
      const verified = JSON.parse(aegisOk(service, ['audit', 'verify', '--json']).toString()) as { valid: boolean; records: number };
      expect(verified.valid).toBe(true);
      expect(verified.records).toBeGreaterThan(signed);
    } finally {
      await service?.stop('SIGTERM');
      spawnSync('umount', ['-l', disk]);
      rmSync(disk, { recursive: true, force: true });
    }
  });
});

describe('hostile connections', () => {
  let service: RunningService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => discard(service));

  test('garbage, half a request, a thousand idle connections: the service goes on', async () => {
    const sockets = Array.from({ length: 1_000 }, () => connect(service.port, '127.0.0.1').on('error', () => undefined));
    for (const [i, socket] of sockets.entries()) {
      if (i % 3 === 0) socket.write('\u0000\u0001garbage\r\n\r\n');
      if (i % 3 === 1) socket.write('POST /v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"spec"');
    }
    await sleep(500);
    expect((await call(service, 'GET', '/v1/whoami')).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  test('a foreign Host header on the loopback listener is refused (DNS rebinding)', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(service.port, '127.0.0.1');
      let text = '';
      socket.on('data', (d) => (text += d));
      socket.on('close', () => resolve(text));
      socket.write(
        `GET /v1/whoami HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer ${service.token()}\r\nConnection: close\r\n\r\n`,
      );
    });
    expect(answer).toMatch(/^HTTP\/1\.1 4(03|21)/);
  });
});
