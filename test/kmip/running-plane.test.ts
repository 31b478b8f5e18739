import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fields } from '@aegis/kmip-ttlv';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aegis, aegisOk, call, discard, type RunningService, startService } from '../service/running-service.js';

// The KMIP plane as `aegis up` leaves it: addresses, identities, logins by the command line, and its stop.

let service: RunningService;
beforeAll(async () => {
  service = await startService();
}, 120_000);
afterAll(() => discard(service));

const planes = (): { name: string; address: string }[] => JSON.parse(readFileSync(join(service.dataDir, 'service.json'), 'utf8')).kmip;
const connect = (name = 'client'): Promise<KmipClient> => {
  const file = (which: string) => readFileSync(join(service.dataDir, 'kmip', which));
  const port = Number(new URL(planes()[0]?.address ?? '').port);
  const tls = { ca: file('ca.pem'), cert: file(`${name}.pem`), key: file(`${name}-key.pem`) };
  return KmipClient.connect({ host: '127.0.0.1', port, version: '2.1', tls });
};
const ping = async (client: KmipClient, username: string, password: string): Promise<unknown> => {
  const header: Fields = {
    Authentication: {
      Credential: [{ CredentialType: 'UsernameAndPassword', CredentialValue: { Username: username, Password: password } }],
    },
  };
  const [result] = await client.batch([{ operation: 'Ping', payload: {} }], header);
  return result?.status === 'Success' ? 'Success' : result?.reason;
};

test('status and first words tell where it listens, and its identities work at once, each in its tenant', async () => {
  expect(planes().map((plane) => plane.name)).toEqual(['kmip', 'kmip-https']);
  for (const { address } of planes()) expect(service.output()).toContain(address);
  const { body } = await call(service, 'GET', '/v1/status');
  expect(body['planes']).toEqual(expect.arrayContaining(planes()));
  const one = await connect();
  const two = await connect('client2');
  const { UniqueIdentifier: id } = await one.request('Create', {
    ObjectType: 'SymmetricKey',
    Attributes: [
      { name: 'CryptographicAlgorithm', value: 'AES' },
      { name: 'CryptographicLength', value: 256 },
      { name: 'CryptographicUsageMask', value: 12 },
    ],
  });
  expect((await one.request('Get', { UniqueIdentifier: id })).SymmetricKey).toBeDefined();
  expect((await two.batch([{ operation: 'Get', payload: { UniqueIdentifier: id } }]))[0]?.reason).toBe('ObjectNotFound');
  const metrics = await fetch(`${service.url}/metrics`, { headers: { authorization: `Bearer ${service.token()}` } }).then((r) => r.text());
  expect(metrics).toMatch(/aegis_kmip_items_total\{operation="Create",outcome="success"\} 1/);
  expect(metrics).toMatch(/aegis_kmip_connections\{state="open"\} 2/);
  await Promise.all([one.close(), two.close()]);
});

test('a login set by the command line works beside the certificate until it is removed', async () => {
  const { id } = JSON.parse(
    aegisOk(service, ['principal', 'create', 'carol', '--kind', 'service', '--role', 'user', '--json']).toString(),
  ) as { id: string };
  const file = join(service.dataDir, 'carol-password');
  writeFileSync(file, 'a password of carol\n', { mode: 0o600 });
  aegisOk(service, ['principal', 'set-login', id, '--login', 'carol', '--password-file', file]);
  const client = await connect();
  expect(await ping(client, 'carol', 'a password of carol')).toBe('Success');
  aegisOk(service, ['principal', 'set-login', id, '--login', 'carol', '--password-file', '-'], {
    input: Buffer.from('another password\n'),
  });
  expect(await ping(client, 'carol', 'a password of carol')).toBe('AuthenticationNotSuccessful');
  expect(await ping(client, 'carol', 'another password')).toBe('Success');
  aegisOk(service, ['principal', 'set-login', id, '--login', 'carol', '--remove']);
  expect(await ping(client, 'carol', 'another password')).toBe('AuthenticationNotSuccessful');
  const short = aegis(service, ['principal', 'set-login', id, '--login', 'carol', '--password-file', '-'], { input: Buffer.from('short') });
  expect(short.code).not.toBe(0);
  expect(service.output()).not.toContain('password of carol');
  await client.close();
});

test('a stop answers what runs and closes the connections', async () => {
  const client = await connect();
  const running = client.request('Ping', {});
  await running;
  const closed = client.exchange(new Uint8Array(0)).catch((error: Error) => error.message);
  const { code } = await service.stop();
  expect(code).toBe(0);
  expect(await closed).toContain('closed');
});
