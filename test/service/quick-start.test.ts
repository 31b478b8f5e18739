import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aegis, aegisOk, call, discard, missing, type RunningService, softHsmPresent, startService } from './running-service.js';

/** What the README tells a newcomer, run on each root as a user runs it: the built command, curl's wire, openssl. */
const TARGETS = [
  { name: 'software root', up: [], root: [] as string[], present: true },
  { name: 'SoftHSM2 root (apt-get install softhsm2)', up: ['--hsm'], root: ['--root', 'softhsm'], present: softHsmPresent() },
];

const openssl = (...args: string[]): string => {
  const result = spawnSync('openssl', args, { encoding: 'utf8' });
  return `${result.status} ${result.stdout}${result.stderr}`;
};

for (const target of TARGETS) {
  describe.skipIf(missing(target.present))(`quick start on the ${target.name}`, () => {
    let service: RunningService;
    let work: string;
    const at = (name: string): string => join(work, name);

    beforeAll(async () => {
      service = await startService({ args: target.up });
      work = mkdtempSync(join(tmpdir(), 'aegis-user-'));
      writeFileSync(at('FILE'), randomBytes(300_000));
    });
    afterAll(async () => {
      await discard(service);
      rmSync(work, { recursive: true, force: true });
    });

    test('the data directory is private and holds the admin token', () => {
      expect(statSync(service.dataDir).mode & 0o777).toBe(0o700);
      expect(statSync(join(service.dataDir, 'admin-token')).mode & 0o777).toBe(0o600);
      expect(service.token().length).toBeGreaterThan(32);
    });

    test('create, sign over the CLI, verify with openssl', () => {
      const created = JSON.parse(
        aegisOk(service, [
          'key',
          'create',
          'invoice',
          '--spec',
          'ec-p256',
          '--usage',
          'sign,verify',
          '--activate',
          '--json',
          ...target.root,
        ]).toString(),
      );
      expect(created.state).toBe('active');
      expect(created.root).toBe(target.root[1] ?? 'software');
      aegisOk(service, ['sign', '--key', 'invoice', '--in', at('FILE'), '--out', at('FILE.sig')]);
      writeFileSync(at('pub.pem'), aegisOk(service, ['key', 'public', 'invoice', '--format', 'pem']));
      expect(openssl('dgst', '-sha256', '-verify', at('pub.pem'), '-signature', at('FILE.sig'), at('FILE'))).toContain('Verified OK');
      writeFileSync(at('OTHER'), 'other');
      expect(openssl('dgst', '-sha256', '-verify', at('pub.pem'), '-signature', at('FILE.sig'), at('OTHER'))).not.toContain('Verified OK');
    });

    test('sign over REST, verify with openssl', async () => {
      const message = readFileSync(at('FILE')).subarray(0, 1000);
      writeFileSync(at('message'), message);
      const key = await call(service, 'GET', '/v1/keys/invoice');
      expect(key.status).toBe(200);
      const signed = await call(service, 'POST', `/v1/keys/${key.body['id']}/sign`, {
        message: message.toString('base64'),
        algorithm: 'ecdsa-sha256',
      });
      expect(signed.status).toBe(200);
      writeFileSync(at('message.sig'), Buffer.from(String(signed.body['signature']), 'base64'));
      expect(openssl('dgst', '-sha256', '-verify', at('pub.pem'), '-signature', at('message.sig'), at('message'))).toContain('Verified OK');
    });

    test('encrypt and decrypt a file, and refuse a changed or cut one', () => {
      aegisOk(service, [
        'key',
        'create',
        'vault-key',
        '--spec',
        'aes-256',
        '--usage',
        'encrypt,decrypt',
        '--activate',
        '--json',
        ...target.root,
      ]);
      aegisOk(service, ['encrypt', '--key', 'vault-key', '--in', at('FILE'), '--out', at('FILE.enc')]);
      aegisOk(service, ['decrypt', '--in', at('FILE.enc'), '--out', at('FILE.dec')]);
      expect(readFileSync(at('FILE.dec')).equals(readFileSync(at('FILE')))).toBe(true);
      const sealed = readFileSync(at('FILE.enc'));
      expect(sealed.includes(readFileSync(at('FILE')).subarray(1000, 1032))).toBe(false);
      const changed = Buffer.from(sealed);
      changed[200_000] = (changed[200_000] ?? 0) ^ 1;
      writeFileSync(at('changed.enc'), changed);
      writeFileSync(at('cut.enc'), sealed.subarray(0, 65_536 * 2));
      for (const bad of ['changed.enc', 'cut.enc']) {
        const result = aegis(service, ['decrypt', '--in', at(bad), '--out', at(`${bad}.dec`)]);
        expect(result.code).toBe(9);
        expect(() => statSync(at(`${bad}.dec`))).toThrow();
      }
      // Pipes, and a file of no bytes at all.
      const piped = aegisOk(service, ['encrypt', '--key', 'vault-key'], { input: Buffer.alloc(0) });
      expect(aegisOk(service, ['decrypt'], { input: piped }).length).toBe(0);
    });

    test('encrypt over REST round trips and binds its associated data', async () => {
      const plaintext = Buffer.from('attack at dawn').toString('base64');
      const aad = Buffer.from('ctx').toString('base64');
      const sealed = await call(service, 'POST', '/v1/keys/vault-key/encrypt', { plaintext, aad });
      expect(sealed.status).toBe(200);
      const opened = await call(service, 'POST', '/v1/keys/vault-key/decrypt', { ciphertext: sealed.body['ciphertext'], aad });
      expect(opened.body['plaintext']).toBe(plaintext);
      const refused = await call(service, 'POST', '/v1/keys/vault-key/decrypt', { ciphertext: sealed.body['ciphertext'] });
      expect(refused.status).toBe(422);
      expect(refused.body['code']).toBe('decryption-failed');
    });

    test('rotate: old signatures still verify, new ones are by the new version', () => {
      const rotated = JSON.parse(aegisOk(service, ['key', 'rotate', 'invoice', '--json']).toString());
      expect(rotated.currentVersion).toBe(2);
      expect(aegisOk(service, ['verify', '--key', 'invoice', '--in', at('FILE'), '--signature', at('FILE.sig')]).toString()).toContain(
        'version 1',
      );
      aegisOk(service, ['sign', '--key', 'invoice', '--in', at('FILE'), '--out', at('FILE.sig2')]);
      writeFileSync(at('pub2.pem'), aegisOk(service, ['key', 'public', 'invoice', '--format', 'pem']));
      expect(openssl('dgst', '-sha256', '-verify', at('pub2.pem'), '-signature', at('FILE.sig2'), at('FILE'))).toContain('Verified OK');
      expect(openssl('dgst', '-sha256', '-verify', at('pub.pem'), '-signature', at('FILE.sig2'), at('FILE'))).not.toContain('Verified OK');
    });

    test('revoke and destroy: the key stops signing, its history stays', async () => {
      aegisOk(service, ['key', 'revoke', 'invoice', '--reason', 'key-compromise']);
      const refused = aegis(service, ['sign', '--key', 'invoice', '--in', at('FILE'), '--out', at('no.sig')]);
      expect(refused.code).toBe(7);
      expect(refused.stderr).toMatch(/compromised/i);
      aegisOk(service, ['key', 'destroy', 'invoice']);
      const gone = await call(service, 'POST', '/v1/keys/invoice/sign', { message: 'AAAA', algorithm: 'ecdsa-sha256' });
      expect(gone.status).toBe(410);
      const shown = await call(service, 'GET', '/v1/keys/invoice');
      expect(shown.body['state']).toBe('destroyed-compromised');
    });

    test('the audit log proves it, offline', () => {
      aegisOk(service, ['audit', 'export', '--format', 'jsonl', '--out', at('log.jsonl')]);
      const verified = aegis(service, ['audit', 'verify', at('log.jsonl')], { env: { AEGIS_REST_PORT: '1' } });
      expect(verified.code, verified.stderr).toBe(0);
      const lines = readFileSync(at('log.jsonl'), 'utf8').trimEnd().split('\n');
      for (const operation of ['create-key-pair', 'sign', 'rotate', 'revoke', 'destroy']) {
        expect(lines.some((line) => line.includes(`"operation":"${operation}"`) && line.includes('"outcome":"success"'))).toBe(true);
      }
      // Any record changed, and any record left out, is noticed.
      const index = lines.findIndex((line) => line.includes('"operation":"revoke"') && line.includes('"outcome":"success"'));
      writeFileSync(
        at('forged.jsonl'),
        `${lines.with(index, (lines[index] ?? '').replace('key-compromise', 'superseded').replace('"success"', '"refused"')).join('\n')}\n`,
      );
      expect(aegis(service, ['audit', 'verify', at('forged.jsonl')]).code).toBe(9);
      writeFileSync(at('dropped.jsonl'), `${lines.toSpliced(index, 1).join('\n')}\n`);
      expect(aegis(service, ['audit', 'verify', at('dropped.jsonl')]).code).toBe(9);
    });

    test('it ends cleanly and starts again on the same data', async () => {
      const token = service.token();
      const { code } = await service.stop('SIGTERM');
      expect(code).toBe(0);
      const again = await startService({ dataDir: service.dataDir, port: service.port });
      service = again;
      expect(again.token()).toBe(token);
      expect(again.output()).not.toContain(token);
      aegisOk(again, ['decrypt', '--in', at('FILE.enc'), '--out', at('FILE.dec2')]);
      expect(readFileSync(at('FILE.dec2')).equals(readFileSync(at('FILE')))).toBe(true);
    });
  });
}
