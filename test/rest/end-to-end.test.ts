import { createHash, createPublicKey, randomUUID, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AEGIS, discard, type RunningService, startService } from '../service/running-service.js';

/** The REST plane over the real guard, store and root, as a client with nothing but HTTP sees it. */

const built = existsSync(AEGIS);
if (!built && process.env['AEGIS_NO_SKIP'] !== '1') console.warn('REST end to end skipped: build first (npm run build)');

describe.skipIf(!built && process.env['AEGIS_NO_SKIP'] !== '1')('REST over the whole service', () => {
  let service: RunningService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => discard(service));

  interface Answer {
    readonly status: number;
    readonly headers: Headers;
    readonly body: Record<string, never> & { [name: string]: unknown };
    readonly text: string;
  }
  async function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(service.url + path, {
      method,
      headers: {
        authorization: `Bearer ${service.token()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '') && !/ndjson/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson && text !== '' ? JSON.parse(text) : {}, text };
  }
  const b64 = (text: string) => Buffer.from(text).toString('base64');

  it('the fixed lines: create, read by alias, sign, encrypt and decrypt', async () => {
    const created = await ask('POST', '/v1/keys', { name: 'e2e-sign', spec: 'ec-p256', usage: ['sign', 'verify'], activate: true });
    expect(created.status, created.text).toBe(201);
    const byAlias = await ask('GET', '/v1/keys/e2e-sign');
    expect(byAlias.body['id']).toBe(created.body['id']);
    const signed = await ask('POST', '/v1/keys/e2e-sign/sign', { message: b64('hello'), algorithm: 'ecdsa-sha256' });
    const publicKey = createPublicKey(String(byAlias.body['publicKey']));
    expect(verify('sha256', Buffer.from('hello'), publicKey, Buffer.from(String(signed.body['signature']), 'base64'))).toBe(true);
    const digest = createHash('sha256').update('hello').digest('base64');
    const prehashed = await ask('POST', '/v1/keys/e2e-sign/sign', { digest, algorithm: 'ecdsa-sha256' });
    expect(verify('sha256', Buffer.from('hello'), publicKey, Buffer.from(String(prehashed.body['signature']), 'base64'))).toBe(true);
    const checked = await ask('POST', '/v1/keys/e2e-sign/verify', { message: b64('hellO'), signature: signed.body['signature'] });
    expect(checked.body).toMatchObject({ valid: false });

    await ask('POST', '/v1/keys', { name: 'e2e-seal', spec: 'aes-256', usage: ['encrypt', 'decrypt'], activate: true });
    const sealed = await ask('POST', '/v1/keys/e2e-seal/encrypt', { plaintext: b64('secret'), aad: b64('context') });
    expect(sealed.body).toMatchObject({ algorithm: 'aes-gcm', keyVersion: 1 });
    const opened = await ask('POST', '/v1/decrypt', { ciphertext: sealed.body['ciphertext'], aad: b64('context') });
    expect(opened.body['plaintext']).toBe(b64('secret'));
    const wrong = await ask('POST', '/v1/keys/e2e-seal/decrypt', { ciphertext: sealed.body['ciphertext'], aad: b64('other') });
    expect(wrong.body).toMatchObject({ status: 422, code: 'decryption-failed' });
  });

  it('the life of a key, each step a state', async () => {
    const { body } = await ask('POST', '/v1/keys', { name: 'e2e-life', spec: 'ed25519', usage: ['sign', 'verify'] });
    const id = String(body['id']);
    expect(body['state']).toBe('pre-active');
    expect((await ask('POST', `/v1/keys/${id}/sign`, { message: '' })).body).toMatchObject({ status: 409, code: 'wrong-state' });
    expect((await ask('POST', `/v1/keys/${id}/activate`)).body['state']).toBe('active');
    const first = await ask('POST', `/v1/keys/${id}/sign`, { message: b64('x') });
    expect((await ask('POST', `/v1/keys/${id}/rotate`)).body['currentVersion']).toBe(2);
    const old = await ask('POST', `/v1/keys/${id}/verify`, { message: b64('x'), signature: first.body['signature'] });
    expect(old.body).toMatchObject({ valid: true, keyVersion: 1 });
    expect((await ask('DELETE', `/v1/keys/${id}`)).body).toMatchObject({ code: 'wrong-state' });
    expect((await ask('POST', `/v1/keys/${id}/revoke`, { reason: 'superseded' })).body['state']).toBe('deactivated');
    const due = await ask('DELETE', `/v1/keys/${id}?pendingDays=7`);
    expect(Date.parse(String(due.body['destroyDueDate'])) - Date.now()).toBeGreaterThan(6.9 * 86_400_000);
    expect((await ask('POST', `/v1/keys/${id}/cancel-destroy`)).body['destroyDueDate']).toBeUndefined();
    expect((await ask('POST', `/v1/keys/${id}/destroy`, {})).body['state']).toBe('destroyed');
    expect((await ask('POST', `/v1/keys/${id}/verify`, { message: '', signature: '' })).status).toBe(410);
  });

  it('ETag, If-Match and pages against the real store', async () => {
    const made = await ask('POST', '/v1/keys', { name: 'e2e-etag', spec: 'aes-128', tags: { suite: 'e2e' } });
    const etag = String(made.headers.get('etag'));
    const changed = await ask('PATCH', '/v1/keys/e2e-etag', { description: 'x' }, { 'if-match': etag });
    expect(changed.status, changed.text).toBe(200);
    expect(changed.headers.get('etag')).not.toBe(etag);
    const stale = await ask('PATCH', '/v1/keys/e2e-etag', { description: 'y' }, { 'if-match': etag });
    expect(stale.body).toMatchObject({ status: 412, code: 'precondition-required' });
    for (let i = 0; i < 4; i++) await ask('POST', '/v1/keys', { spec: 'aes-128', tags: { suite: 'e2e' } });
    const seen: string[] = [];
    let path: string | undefined = '/v1/keys?tag.suite=e2e&limit=2';
    while (path !== undefined) {
      const page: Answer = await ask('GET', path);
      seen.push(...(page.body['items'] as unknown as { id: string }[]).map((k) => k.id));
      path = /<([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1];
    }
    expect(new Set(seen).size).toBe(5);
    expect(seen).toHaveLength(5);
  });

  it('Idempotency-Key: one key however often it is asked, also at the same time', async () => {
    const key = randomUUID();
    const body = { name: 'e2e-once', spec: 'aes-256' };
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask('POST', '/v1/keys', body, { 'idempotency-key': key })));
    expect([...new Set(answers.map((a) => a.status))].sort()).toEqual(answers.some((a) => a.status === 409) ? [201, 409] : [201]);
    expect(new Set(answers.filter((a) => a.status === 201).map((a) => a.body['id'])).size).toBe(1);
    const again = await ask('POST', '/v1/keys', body, { 'idempotency-key': key });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await ask('POST', '/v1/keys', { ...body, spec: 'aes-128' }, { 'idempotency-key': key });
    expect(other.body).toMatchObject({ status: 422, code: 'idempotency-mismatch' });
    expect(((await ask('GET', '/v1/keys?name=e2e-once')).body['items'] as unknown as unknown[]).length).toBe(1);
  });

  it('a token that was revoked gets no replay either', async () => {
    const who = await ask('POST', '/v1/principals', { kind: 'service', name: 'e2e-service', roles: ['operator'] });
    const issued = await ask('POST', '/v1/tokens', { principalId: who.body['id'], ttlSeconds: 600 });
    const asService = { authorization: `Bearer ${issued.body['token']}`, 'idempotency-key': randomUUID() };
    const body = { name: 'e2e-service-key', spec: 'aes-256' };
    expect((await ask('POST', '/v1/keys', body, asService)).status).toBe(201);
    expect((await ask('POST', '/v1/keys', body, asService)).headers.get('idempotency-replayed')).toBe('true');
    expect((await ask('DELETE', `/v1/tokens/${issued.body['id']}`)).status).toBe(200);
    const refused = await ask('POST', '/v1/keys', body, asService);
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toContain('invalid_token');
  });

  it('the published key set holds what the tag publishes, with the versions', async () => {
    await ask('POST', '/v1/keys', {
      name: 'e2e-jwks',
      spec: 'ec-p256',
      usage: ['sign', 'verify'],
      activate: true,
      tags: { publish: 'jwks' },
    });
    await ask('POST', '/v1/keys/e2e-jwks/rotate');
    const { body } = await ask('GET', '/.well-known/jwks.json', undefined, { authorization: '' });
    const { id } = (await ask('GET', '/v1/keys/e2e-jwks')).body as { id?: unknown };
    expect((body['keys'] as unknown as { kid: string }[]).map((k) => k.kid)).toEqual([`${id}@2`, `${id}@1`]);
  });

  it('a refusal without credential is in the audit log by its request id, in JSON and in CSV', async () => {
    const requestId = `e2e-${randomUUID()}`;
    expect((await ask('POST', '/v1/keys', { nonsense: 1 }, { authorization: 'Basic x', 'x-request-id': requestId })).status).toBe(401);
    const page = await ask('GET', `/v1/audit?requestId=${requestId}`);
    expect(page.body['items']).toMatchObject([{ outcome: 'refused', fault: 'unauthenticated', requestId }]);
    const csv = await ask('GET', `/v1/audit/export?format=csv&requestId=${requestId}`);
    expect(csv.text.trim().split('\r\n')).toHaveLength(2);
    expect((await ask('POST', '/v1/audit/verify', {})).body).toMatchObject({ valid: true });
  });

  it('a certificate signing request and a multi-part signature', async () => {
    const csr = await ask('POST', '/v1/keys/e2e-sign/csr', { subject: 'CN=e2e,O=Bank', subjectAltNames: ['DNS:e2e.example'] });
    expect(String(csr.body['csr'])).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n/);
    const begun = await ask('POST', '/v1/operations', { kind: 'sign', key: 'e2e-sign', algorithm: 'ecdsa-sha256' });
    expect(begun.status, begun.text).toBe(201);
    const operation = `/v1/operations/${encodeURIComponent(String(begun.body['operation']))}`;
    expect((await ask('POST', `${operation}/update`, { data: b64('hel') })).status).toBe(200);
    const finished = await ask('POST', `${operation}/finish`, { data: b64('lo') });
    const publicKey = createPublicKey(await (await ask('GET', '/v1/keys/e2e-sign/public')).text);
    expect(verify('sha256', Buffer.from('hello'), publicKey, Buffer.from(String(finished.body['output']), 'base64'))).toBe(true);
    expect((await ask('POST', `${operation}/finish`)).body).toMatchObject({ status: 404, code: 'operation-unknown' });
  });
});
