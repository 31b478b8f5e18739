import { createHash, createHmac } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { KmipClient as Client } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
const who: Record<string, string> = {};
const utf8 = (text: string) => new Uint8Array(Buffer.from(text));

beforeAll(async () => {
  target = await startKmipTarget();
  const user = await target.admin('create-principal', { kind: 'human', name: 'operator-jane', roles: ['admin'] });
  who['jane'] = user.id;
  await target.admin('set-login', { principalId: user.id, kind: 'password', login: 'jane', password: utf8('correct horse') });
}, 120_000);
afterAll(() => target?.stop());

const header = (type: string, value: Fields): Fields => ({
  Authentication: { Credential: [{ CredentialType: type, CredentialValue: value }] },
});
const ping = async (client: KmipClient, given: Fields): Promise<unknown> => {
  const [result] = await client.batch([{ operation: 'Ping', payload: {} }], given);
  return result?.status === 'Success' ? 'Success' : result?.reason;
};
const actorOfLastPing = async (): Promise<string | undefined> => {
  const { items } = await target.admin('list-audit', { operation: 'whoami', plane: 'kmip', limit: 1 });
  return items[0]?.actor.id;
};

test('username and password beside the certificate: both have to hold, and the user acts', async () => {
  const client = await target.connect('alice');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'correct horse' }))).toBe('Success');
  expect(await actorOfLastPing()).toBe(who['jane']);
  // Again, from the memory of a moment ago.
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'correct horse' }))).toBe('Success');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'wrong horse' }))).toBe(
    'AuthenticationNotSuccessful',
  );
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane' }))).toBe('AuthenticationNotSuccessful');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'nobody', Password: 'correct horse' }))).toBe(
    'AuthenticationNotSuccessful',
  );
  // The certificate alone still works: the wrong header spoiled its own request only.
  expect(await ping(client, {})).toBe('Success');
});

test('a password of one tenant is nothing beside a certificate of another', async () => {
  const client = await target.connect('stranger');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'correct horse' }))).toBe(
    'AuthenticationNotSuccessful',
  );
});

test('a password stops counting when it is changed or its user disabled', async () => {
  const client = await target.connect('alice');
  const user = await target.admin('create-principal', { kind: 'service', name: 'short-lived', roles: ['user'] });
  const set = (password: string) =>
    target.admin('set-login', { principalId: user.id, kind: 'password', login: 'short', password: utf8(password) });
  const try_ = (password: string) => ping(client, header('UsernameAndPassword', { Username: 'short', Password: password }));
  await set('first password');
  expect(await try_('first password')).toBe('Success');
  await set('second password');
  expect(await try_('first password')).toBe('AuthenticationNotSuccessful');
  expect(await try_('second password')).toBe('Success');
  await target.admin('update-principal', { id: user.id, disabled: true });
  expect(await try_('second password')).toBe('AuthenticationNotSuccessful');
  await expect(
    target.admin('set-login', { principalId: who['jane'] as string, kind: 'password', login: 'short', password: utf8('taken over') }),
  ).rejects.toThrow('already-exists');
  await expect(set('short')).rejects.toThrow('invalid-field');
});

test('guessing one login is closed after some tries, and no other login with it', async () => {
  const client = await target.connect('alice');
  const user = await target.admin('create-principal', { kind: 'service', name: 'target-of-guesses', roles: ['user'] });
  await target.admin('set-login', { principalId: user.id, kind: 'password', login: 'guessed', password: utf8('the right one') });
  for (let i = 0; i < 20; i += 1) await ping(client, header('UsernameAndPassword', { Username: 'guessed', Password: `guess ${i}` }));
  expect(await ping(client, header('UsernameAndPassword', { Username: 'guessed', Password: 'the right one' }))).not.toBe('Success');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'correct horse' }))).toBe('Success');
});

test('a device is its serial number, its other identifiers and its password, all of them', async () => {
  const client = await target.connect('alice');
  await target.admin('set-login', {
    principalId: who['jane'] as string,
    kind: 'device',
    login: 'SN-1',
    password: utf8('device password'),
    device: { machineIdentifier: 'M-1' },
  });
  const whole = { DeviceSerialNumber: 'SN-1', Password: 'device password', MachineIdentifier: 'M-1' };
  expect(await ping(client, header('Device', whole))).toBe('Success');
  expect(await ping(client, header('Device', { ...whole, MachineIdentifier: 'M-2' }))).toBe('AuthenticationNotSuccessful');
  expect(await ping(client, header('Device', { DeviceSerialNumber: 'SN-1', MachineIdentifier: 'M-1' }))).toBe(
    'AuthenticationNotSuccessful',
  );
  expect(await ping(client, header('Device', {}))).toBe('AuthenticationNotSuccessful');
});

test('a hashed password is good for its moment, once', async () => {
  const client = await target.connect('alice');
  await target.admin('set-login', {
    principalId: who['jane'] as string,
    kind: 'hashed-password',
    login: 'jane',
    password: utf8('hash me up'),
  });
  const sha = (...parts: readonly (string | Uint8Array)[]) =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  const value = (at: bigint, password = 'hash me up') => {
    const stamp = Buffer.alloc(8);
    stamp.writeBigInt64BE(at);
    return new Uint8Array(Buffer.concat([sha(sha('jane', password), stamp), sha(password, 'jane')]));
  };
  const given = (at: bigint, bytes = value(at)) =>
    header('HashedPassword', {
      Username: 'jane',
      TimeStamp: { type: 'DateTimeExtended', value: at },
      HashingAlgorithm: 'SHA_256',
      HashedPassword: bytes,
    });
  const now = BigInt(Date.now()) * 1_000n;
  expect(await ping(client, given(now))).toBe('Success');
  expect(await ping(client, given(now))).toBe('AuthenticationNotSuccessful');
  expect(await ping(client, given(now + 1n))).toBe('Success');
  expect(await ping(client, given(now + 2n, value(now + 2n, 'something else')))).toBe('AuthenticationNotSuccessful');
  expect(await ping(client, given(now - 3_600_000_000n))).toBe('AuthenticationNotSuccessful');
});

test('one request may do several things with a credential that is good once, and the server proves itself too', async () => {
  const client = await target.connect('alice');
  const at = BigInt(Date.now() + 60_000) * 1_000n;
  const sha = (...parts: readonly (string | Uint8Array)[]) =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  const stamp = Buffer.alloc(8);
  stamp.writeBigInt64BE(at);
  const s1 = sha('jane', 'hash me up');
  const s2 = sha('hash me up', 'jane');
  const value = new Uint8Array(Buffer.concat([sha(s1, stamp), s2]));
  const given = header('HashedPassword', { Username: 'jane', TimeStamp: { type: 'DateTimeExtended', value: at }, HashedPassword: value });
  const response = await client.send({
    kind: 'request',
    version: '2.1',
    header: given,
    items: ['a', 'b'].map((id) => ({
      operation: 'RNGRetrieve',
      id: new Uint8Array(Buffer.from(id)),
      payload: { DataLength: 8 },
      fields: {},
    })),
  });
  expect(response.items.map((item) => item.fields['ResultStatus'])).toEqual(['Success', 'Success']);
  expect(response.header['ServerHashedPassword']).toEqual(new Uint8Array(sha(stamp, s1, sha(s2))));
});

test('a one-time password is good once', async () => {
  const client = await target.connect('alice');
  const seed = utf8('12345678901234567890');
  await target.admin('set-login', {
    principalId: who['jane'] as string,
    kind: 'one-time-password',
    login: 'jane',
    otpSeed: Uint8Array.from(seed),
  });
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const mac = createHmac('sha1', seed).update(counter).digest();
  const code = String((mac.readUInt32BE((mac[19] as number) & 0xf) & 0x7fffffff) % 1_000_000).padStart(6, '0');
  expect(await ping(client, header('OneTimePassword', { Username: 'jane', OneTimePassword: code }))).toBe('Success');
  expect(await ping(client, header('OneTimePassword', { Username: 'jane', OneTimePassword: code }))).toBe('AuthenticationNotSuccessful');
});

test('what cannot be verified is refused, not ignored', async () => {
  const client = await target.connect('alice');
  const attestation = {
    Nonce: { NonceID: Uint8Array.of(1), NonceValue: Uint8Array.of(2) },
    AttestationType: 'TPMQuote',
    AttestationMeasurement: Uint8Array.of(3),
  };
  expect(await ping(client, header('Attestation', attestation))).toBe('AttestationFailed');
  const ticket = { Ticket: { TicketType: 'Login', TicketValue: new Uint8Array(32) } };
  expect(await ping(client, header('Ticket', ticket))).toBe('InvalidTicket');
});

test('without certificate only where the operator allows it, and then only with a password', async () => {
  const { port } = await target.serve({ certificateOptional: true, httpsPort: 0 });
  const open = (p: number) =>
    Client.connect({
      host: '127.0.0.1',
      port: p,
      version: '2.1',
      timeoutMs: 3_000,
      tls: { ca: target.authority.cert, servername: 'localhost' },
    });
  const client = await open(port);
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane', Password: 'correct horse' }))).toBe('Success');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane@default', Password: 'correct horse' }))).toBe('Success');
  expect(await ping(client, header('UsernameAndPassword', { Username: 'jane@other', Password: 'correct horse' }))).toBe(
    'AuthenticationNotSuccessful',
  );
  expect(await ping(client, {})).toBe('AuthenticationNotSuccessful');
  await client.close();
  const refused = (async () => ping(await open(target.port), {}))();
  await expect(refused).rejects.toThrow();
});

test('no password is in the audit trail', async () => {
  const { items } = await target.admin('list-audit', { operation: 'set-login', limit: 100 });
  expect(items.length).toBeGreaterThan(3);
  expect(JSON.stringify(items)).not.toMatch(/correct horse|hash me up|device password/);
});
