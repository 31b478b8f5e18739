import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTransitDouble, type TransitDouble } from '../../rot-spi/test/cloud/transit-double.js';
import { AEGIS, discard, type RunningService, startService, temporaryDataDir } from './running-service.js';

/** A layered and an envelope root on Vault (a strict double of Transit) behind the whole service, in hosts of their own. */
let double: TransitDouble;
let service: RunningService;
const run = promisify(execFile);
const aegis = async (...args: string[]): Promise<Record<string, unknown>> => {
  const env = { ...process.env, AEGIS_DATA_DIR: service.dataDir, AEGIS_REST_PORT: String(service.port) };
  return JSON.parse((await run(process.execPath, [AEGIS, ...args, '--json'], { env })).stdout) as Record<string, unknown>;
};
const rest = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> => {
  const response = await fetch(`${service.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${service.token()}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

beforeAll(async () => {
  double = await startTransitDouble();
  const dataDir = temporaryDataDir();
  writeFileSync(join(dataDir, 'vault-token'), double.token, { mode: 0o600 });
  const provider = { kind: 'vault', address: double.address, auth: { method: 'token', token: { file: join(dataDir, 'vault-token') } } };
  const root = (mode: string) => ({
    kind: 'cloud-envelope',
    mode,
    provider,
    seal: { key: `seal-${mode}`, path: `${mode}.seal`, create: true },
    refreshMs: 1_000,
  });
  const roots = {
    software: { kind: 'software', seal: { kind: 'key-file', path: 'software-root.key', create: true } },
    layered: root('layered'),
    sealed: root('envelope'),
  };
  writeFileSync(join(dataDir, 'aegis.yaml'), JSON.stringify({ roots, defaultRoot: 'software' }));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  double.keys.set('payments', {
    type: 'ecdsa-p256',
    exportable: false,
    imported: false,
    derived: false,
    deletionAllowed: false,
    minDecryption: 1,
    versions: [{ createdAt: new Date().toISOString(), privateKey }],
  });
  service = await startService({ dataDir });
});
afterAll(async () => {
  await discard(service);
  await double.close();
});

describe('a key of the provider', () => {
  test('is registered where it is, signs under our audit, and destroying it here leaves it there', async () => {
    const registered = await aegis('key', 'register', 'payments', '--root', 'layered', '--ref', 'payments', '--activate');
    expect(registered).toMatchObject({ spec: 'ec-p256', state: 'active', root: 'layered', protection: 'external', exportable: false });
    const message = randomBytes(500);
    const signed = await rest('POST', '/v1/keys/payments/sign', { message: message.toString('base64'), algorithm: 'ecdsa-sha256' });
    expect(signed.status).toBe(200);
    const theirs = double.keys.get('payments')?.versions[0]?.privateKey;
    expect(theirs).toBeDefined();
    if (theirs === undefined) return;
    expect(verify('sha256', message, createPublicKey(theirs as never), Buffer.from(String(signed.body['signature']), 'base64'))).toBe(true);
    const audit = await rest('GET', '/v1/audit?action=keys:adopt');
    expect(JSON.stringify(audit.body)).toContain(String(registered['id']));
    await rest('POST', '/v1/keys/payments/revoke', { reason: 'cessation-of-operation' });
    expect((await rest('DELETE', '/v1/keys/payments')).status).toBeLessThan(300);
    expect(double.keys.has('payments')).toBe(true);
  });

  test('a name that is not there, and a root that is not layered, are told apart', async () => {
    const missing = await rest('POST', '/v1/keys/adopt', { root: 'layered', ref: 'nothing-here', names: ['x'] });
    expect([missing.status, String(missing.body['detail'])]).toEqual([404, expect.stringContaining('nothing-here')]);
    const wrong = await rest('POST', '/v1/keys/adopt', { root: 'software', ref: 'payments', names: ['x'] });
    expect([wrong.status, wrong.body['field'] ?? wrong.body['errors']]).toEqual([400, expect.anything()]);
  });
});

describe('one root closed by its provider', () => {
  test('the others work on, readiness names it, and it opens again by itself', async () => {
    await rest('POST', '/v1/keys', { spec: 'aes-256', names: ['in-vault-seal'], root: 'sealed', activate: true });
    await rest('POST', '/v1/keys', { spec: 'aes-256', names: ['local'], root: 'software', activate: true });
    const use = (name: string) => rest('POST', `/v1/keys/${name}/encrypt`, { plaintext: 'aGVsbG8=' });
    expect([(await use('in-vault-seal')).status, (await use('local')).status]).toEqual([200, 200]);
    double.tokenValid = false;
    const until = async (holds: () => Promise<boolean>): Promise<void> => {
      for (let tries = 0; tries < 300; tries += 1) {
        if (await holds()) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      throw new Error('it never became so');
    };
    await until(async () => (await use('in-vault-seal')).status === 503);
    expect(String((await use('in-vault-seal')).body['type'])).toContain('root-');
    expect((await use('local')).status).toBe(200);
    double.tokenValid = true;
    await until(async () => (await use('in-vault-seal')).status === 200);
  });
});
