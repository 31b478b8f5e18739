import { afterAll, describe, expect, it } from 'vitest';
import { FAULT_CODES, fail } from '../../src/domain/index.js';
import { PROJECTIONS } from '../../src/planes/projections.js';
import { makeRestServer } from '../../src/planes/rest/index.js';
import { WIRE_FAULTS } from '../../src/planes/rest/problem.js';
import { bearer, logLines, makeFakeService, makeObject, TOKEN, toOptions } from './fake-service.js';

/** Every way a request can be refused, as a client sees it. */

const fake = makeFakeService();
fake.objects.set('k', makeObject('k', { names: ['invoice'] }));
const app = makeRestServer(toOptions(fake));
afterAll(() => app.close());

const json = { ...bearer, 'content-type': 'application/json' };
const post = (url: string, payload: string | object, headers: Record<string, string> = json) =>
  app.inject({ method: 'POST', url, headers, payload });

function expectProblem(
  answer: { statusCode: number; headers: Record<string, unknown>; json: () => unknown },
  status: number,
  code: string,
) {
  const body = answer.json() as Record<string, unknown>;
  expect(body).toMatchObject({ type: `urn:aegis:problem:${code}`, status, code });
  expect(answer.statusCode).toBe(status);
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(body['instance']).toBe(answer.headers['x-request-id']);
  for (const name of ['title', 'detail']) expect(String(body[name]).length).toBeGreaterThan(3);
  return body;
}

describe('faults of the service', () => {
  it.each(FAULT_CODES)('%s has the status and title of its projection', async (code) => {
    const other = makeFakeService();
    other.override('whoami', () => {
      throw fail(code, 'because', { field: 'a.b', next: 'do this', retryAfterMs: 1_500, statement: 'doc/1' });
    });
    const server = makeRestServer(toOptions(other));
    const answer = await server.inject({ url: '/v1/whoami', headers: bearer });
    const body = expectProblem(answer, PROJECTIONS[code].http, code);
    expect(body).toMatchObject({
      title: PROJECTIONS[code].title,
      detail: 'because',
      field: 'a.b',
      next: 'do this',
      retryAfter: 2,
      statement: 'doc/1',
    });
    expect(answer.headers['retry-after']).toBe('2');
    expect(answer.headers['www-authenticate'] !== undefined).toBe(PROJECTIONS[code].http === 401);
  });

  it('does not show what an unforeseen error says, to the client or the log', async () => {
    const other = makeFakeService();
    other.override('whoami', () => {
      throw new Error('the-secret-in-the-message');
    });
    const server = makeRestServer(toOptions(other));
    const answer = await server.inject({ url: '/v1/whoami', headers: bearer });
    expectProblem(answer, 500, 'internal');
    expect(answer.body).not.toContain('the-secret-in-the-message');
    expect(logLines.join()).not.toContain('the-secret-in-the-message');
    expect(logLines.join()).toContain(String(answer.headers['x-request-id']));
  });

  it('names its codes apart from the domain’s', () => {
    expect(Object.keys(WIRE_FAULTS).filter((code) => code in PROJECTIONS)).toEqual([]);
  });
});

describe('credentials', () => {
  it.each([
    ['no header', {}],
    ['another scheme', { authorization: `Basic ${TOKEN}` }],
    ['no token', { authorization: 'Bearer ' }],
    ['two tokens', { authorization: `Bearer ${TOKEN} ${TOKEN}` }],
    ['a comma list', { authorization: `Bearer ${TOKEN}, Bearer x` }],
    ['a tab', { authorization: `Bearer\t${TOKEN}` }],
    ['a quoted token', { authorization: `Bearer "${TOKEN}"` }],
    ['a token that is too long', { authorization: `Bearer ${'a'.repeat(513)}` }],
    ['characters after the padding', { authorization: `Bearer ${TOKEN}==a` }],
  ])('%s reaches the guard as no credential', async (_name, headers) => {
    const answer = await app.inject({ url: '/v1/whoami', headers: headers as Record<string, string> });
    expectProblem(answer, 401, 'unauthenticated');
    expect(fake.calls.at(-1)).toMatchObject({ operation: 'whoami', caller: { credential: { kind: 'none' }, plane: 'rest' } });
  });

  it('takes the scheme in any case and a token of 512 characters', async () => {
    expect((await app.inject({ url: '/v1/whoami', headers: { authorization: `bEaReR ${TOKEN}` } })).statusCode).toBe(200);
    await app.inject({ url: '/v1/whoami', headers: { authorization: `Bearer ${'a'.repeat(512)}` } });
    expect(fake.calls.at(-1)?.caller.credential).toEqual({ kind: 'bearer', token: 'a'.repeat(512) });
  });

  it('names the error in the challenge only to a caller that presented something', async () => {
    expect((await app.inject({ url: '/v1/whoami' })).headers['www-authenticate']).toBe('Bearer realm="aegis"');
    const wrong = await app.inject({ url: '/v1/whoami', headers: { authorization: 'Bearer wrong' } });
    expect(wrong.headers['www-authenticate']).toBe('Bearer realm="aegis", error="invalid_token"');
  });

  it('tells a caller without credential that first, through the guard, whatever else is wrong', async () => {
    const before = fake.calls.length;
    expectProblem(await post('/v1/keys', '{"spec":', { 'content-type': 'application/json' }), 401, 'unauthenticated');
    expectProblem(await post('/v1/keys', { spec: 'nonsense' }, {}), 401, 'unauthenticated');
    expectProblem(await post('/v1/keys/k/sign', { message: '***' }, {}), 401, 'unauthenticated');
    expect(fake.calls.length).toBe(before + 3);
  });

  it('passes request id, user agent, tenant and source on', async () => {
    await app.inject({
      url: '/v1/whoami',
      headers: { ...bearer, 'x-request-id': 'my-id/1', 'user-agent': `x${'y'.repeat(500)}`, 'x-aegis-tenant': 'bank-2' },
    });
    const { caller } = fake.calls.at(-1) ?? expect.fail();
    expect(caller).toMatchObject({ requestId: 'my-id/1', tenant: 'bank-2', source: '127.0.0.1' });
    expect(caller.userAgent?.length).toBe(256);
    expect(caller.signal?.aborted).toBe(false);
  });

  it('replaces a request id that is not printable or too long, and refuses a malformed tenant', async () => {
    for (const id of ['with space', 'a'.repeat(129), 'é', '']) {
      const answer = await app.inject({ url: '/health/live', headers: { 'x-request-id': id } });
      expect(answer.headers['x-request-id']).not.toBe(id);
      expect(answer.headers['x-request-id']).toMatch(/^[\w-]{5,}$/);
    }
    expectProblem(await app.inject({ url: '/v1/whoami', headers: { ...bearer, 'x-aegis-tenant': '../x' } }), 400, 'invalid-field');
  });

  it('never repeats an id of its own', async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, async () => (await app.inject('/health/live')).headers['x-request-id']));
    expect(new Set(ids).size).toBe(50);
  });
});

describe('bodies', () => {
  it.each([
    ['cut off', '{"spec":"aes-256"'],
    ['not JSON', 'spec=aes-256'],
    ['empty', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['a text', '"x"'],
    ['a number', '1'],
    ['__proto__', '{"spec":"aes-256","__proto__":{"admin":true}}'],
    ['escaped __proto__', '{"spec":"aes-256","\\u005f_proto__":{"admin":true}}'],
    ['constructor.prototype', '{"spec":"aes-256","constructor":{"prototype":{"x":1}}}'],
    ['too deep', `{"spec":"aes-256","attributes":${'{"a":'.repeat(40)}1${'}'.repeat(40)}}`],
    ['deep enough to overflow', `{"spec":"aes-256","attributes":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`],
  ])('%s: 400', async (_name, payload) => {
    const before = fake.calls.length;
    expectProblem(await post('/v1/keys', payload), 400, 'invalid-request');
    expect(fake.calls.length).toBe(before);
  });

  it('does not quote the body in the problem or the log', async () => {
    const answer = await post('/v1/backups', '{"passphrase": hunter2-hunter2 }');
    expectProblem(answer, 400, 'invalid-request');
    expect(answer.body + logLines.join()).not.toContain('hunter2');
  });

  it('refuses what is larger than the bound: 413, and before reading it all', async () => {
    expectProblem(await post('/v1/digest', { hash: 'sha256', message: 'A'.repeat(2_100_000) }), 413, 'payload-too-large');
    expect((await post('/v1/digest', { hash: 'sha256', message: 'A'.repeat(2_000_000) })).statusCode).toBe(200);
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'application/xml',
    'nonsense',
  ])('%s: 415', async (type) => {
    expectProblem(await post('/v1/keys', 'a=b', { ...bearer, 'content-type': type }), 415, 'unsupported-media-type');
  });

  it('takes a charset parameter and refuses compressed bodies', async () => {
    expect(
      (await post('/v1/digest', '{"hash":"sha256","message":""}', { ...bearer, 'content-type': 'application/json; charset=utf-8' }))
        .statusCode,
    ).toBe(200);
    expectProblem(await post('/v1/digest', 'x', { ...json, 'content-encoding': 'gzip' }), 415, 'unsupported-media-type');
  });

  it('takes no body where it is optional', async () => {
    expect((await app.inject({ method: 'POST', url: '/v1/keys/k/rotate', headers: bearer })).statusCode).toBe(200);
    expect((await app.inject({ method: 'POST', url: '/v1/keys/k/rotate', headers: json, payload: '' })).statusCode).toBe(200);
  });

  it.each([
    ['U+0000', '{"spec":"aes-256","name":"a\\u0000b"}', 'name'],
    ['half a surrogate pair', '{"spec":"aes-256","attributes":{"x":{"y":"\\ud800"}}}', 'attributes.x.y'],
    ['U+0000 in a name of a tag', '{"spec":"aes-256","tags":{"a\\u0000":"b"}}', 'tags'],
  ])('%s cannot be stored: 400 that names the field', async (_name, payload, field) => {
    expect(expectProblem(await post('/v1/keys', payload), 400, 'invalid-field')['field']).toBe(field);
  });

  it('leaves an escaped backslash before u0000, and whole pairs, alone', async () => {
    expect((await post('/v1/keys', '{"spec":"aes-256","description":"\\\\u0000 \\ud83d\\ude00"}')).statusCode).toBe(201);
  });
});

describe('fields', () => {
  it.each([
    ['unknown, with the nearest known one', { spec: 'aes-256', usge: ['encrypt'] }, 'usge', 'Did you mean “usage”?'],
    ['unknown, in the wrong case', { spec: 'aes-256', Exportable: true }, 'Exportable', 'Did you mean “exportable”?'],
    ['missing', { name: 'x' }, 'spec', 'aes-256'],
    ['not in the list, with the nearest', { spec: 'ec-p265' }, 'spec', 'Did you mean “ec-p256”?'],
    ['not in the list, in a list', { spec: 'aes-256', usage: ['encrypt', 'decript'] }, 'usage.1', 'Did you mean “decrypt”?'],
    ['of the wrong type', { spec: 'aes-256', activate: 'yes' }, 'activate', 'true or false'],
    ['a number for a text', { spec: 'aes-256', name: 7 }, 'name', 'text'],
    ['nested', { spec: 'aes-256', usageLimits: { unit: 'object', total: 0 } }, 'usageLimits.total', '1 or more'],
    ['not whole', { spec: 'aes-256', usageLimits: { unit: 'object', total: 1.5 } }, 'usageLimits.total', 'a whole number'],
    ['not a date', { spec: 'aes-256', activationDate: 'tomorrow' }, 'activationDate', '2026-01-31T12:00:00Z'],
    ['not a day that exists', { spec: 'aes-256', activationDate: '2026-02-31T12:00:00Z' }, 'activationDate', '2026'],
    ['repeated', { spec: 'aes-256', usage: ['encrypt', 'encrypt'] }, 'usage', 'once'],
    ['with a control character', { spec: 'aes-256', name: 'a\nb' }, 'name', ''],
    ['not for this kind', { spec: 'ec-p256', bits: 256 }, 'bits', 'Leave'],
  ])('%s', async (_name, body, field, next) => {
    const problem = expectProblem(await post('/v1/keys', body), 400, 'invalid-field');
    expect(problem['field']).toBe(field);
    expect(String(problem['next'])).toContain(next);
  });

  it.each([
    ['url-safe', 'aGVsbG8_'],
    ['without padding', 'aGVsbG8'],
    ['with a line break', 'aGVs\nbG8='],
    ['with stray bits', 'aGVsbG9='],
    ['with padding in the middle', 'aGVs=bG8'],
    ['not base64', '***'],
  ])('base64 %s is refused and the field named', async (_name, message) => {
    const problem = expectProblem(await post('/v1/keys/k/sign', { message }), 400, 'invalid-field');
    expect(problem['field']).toBe('message');
    expect(problem['detail']).toContain('base64');
  });

  it('takes the empty message and refuses none and both', async () => {
    expect((await post('/v1/keys/k/sign', { message: '' })).statusCode).toBe(200);
    expect(expectProblem(await post('/v1/keys/k/sign', {}), 400, 'invalid-field')['field']).toBe('message');
    expect(expectProblem(await post('/v1/keys/k/sign', { message: '', digest: '' }), 400, 'invalid-field')['field']).toBe('digest');
  });

  it('refuses an algorithm of another kind and offers those that would do', async () => {
    const problem = expectProblem(await post('/v1/keys/k/sign', { message: '', algorithm: 'aes-gcm' }), 400, 'invalid-field');
    expect(problem['next']).toContain('ecdsa-sha256');
    expect(problem['next']).not.toContain('aes-gcm');
  });

  it('checks the query: unknown, wrong type, out of bounds', async () => {
    const get = (url: string) => app.inject({ url, headers: bearer });
    expect(expectProblem(await get('/v1/keys?stat=active'), 400, 'invalid-field')).toMatchObject({ field: 'stat' });
    expect(expectProblem(await get('/v1/keys?limit=ten'), 400, 'invalid-field')).toMatchObject({ field: 'limit' });
    expect(expectProblem(await get('/v1/keys?limit=0'), 400, 'invalid-field')).toMatchObject({ field: 'limit' });
    expect(expectProblem(await get('/v1/keys?limit=1001'), 400, 'invalid-field')).toMatchObject({ field: 'limit' });
    expect(expectProblem(await get('/v1/keys?limit=1&limit=2'), 400, 'invalid-field')).toMatchObject({ field: 'limit' });
    expect(expectProblem(await get('/v1/keys?state=active,dead'), 400, 'invalid-field')).toMatchObject({ field: 'state.1' });
    expect(expectProblem(await get('/v1/keys?name=%00'), 400, 'invalid-field')).toMatchObject({ field: 'name' });
    expect(expectProblem(await get('/v1/keys?__proto__=1'), 400, 'invalid-field')).toMatchObject({ field: '__proto__' });
    expect(expectProblem(await get('/v1/keys/a%00b'), 400, 'invalid-field')).toMatchObject({ field: 'id' });
  });

  it('takes an alias with a slash, percent-encoded', async () => {
    expectProblem(await app.inject({ url: '/v1/keys/prod%2Finvoice', headers: bearer }), 404, 'not-found');
    expect(fake.calls.at(-1)?.request).toEqual({ key: 'prod/invoice' });
  });
});

describe('paths and methods', () => {
  it('404 where there is nothing', async () => {
    for (const url of [
      '/',
      '/v1',
      '/v2/keys',
      '/v1/keys/',
      '/v1//keys',
      '/V1/keys',
      '/v1/keys/k/sign/more',
      '/docs/../../package.json',
      '/docs/%2e%2e/package.json',
      '/docs/index.js',
    ]) {
      expectProblem(await app.inject({ url, headers: bearer }), 404, 'route-not-found');
    }
  });

  it.each([
    ['PUT', '/v1/keys', 'POST, GET, HEAD'],
    ['DELETE', '/v1/keys', 'POST, GET, HEAD'],
    ['OPTIONS', '/v1/keys', 'POST, GET, HEAD'],
    ['GET', '/v1/keys/k/sign', 'POST'],
    ['POST', '/v1/keys/k', 'GET, HEAD, PATCH, DELETE'],
    ['HEAD', '/v1/audit/export', 'GET'],
    ['POST', '/health/live', 'GET, HEAD'],
    ['PATCH', '/v1/policies/p', 'GET, HEAD, PUT, DELETE'],
  ])('%s %s: 405 with Allow', async (method, url, allow) => {
    const answer = await app.inject({ method: method as 'GET', url, headers: bearer });
    expect(answer.statusCode).toBe(405);
    expect(answer.headers['allow']).toBe(allow);
    if (method !== 'HEAD') expect(answer.json()).toMatchObject({ code: 'method-not-allowed' });
  });

  it('answers HEAD like GET without the body', async () => {
    const head = await app.inject({ method: 'HEAD', url: '/v1/keys/k', headers: bearer });
    expect(head.statusCode).toBe(200);
    expect(head.body).toBe('');
    expect(head.headers['etag']).toMatch(/^"\d+"$/);
  });

  it('400 for a path that does not decode or is too long', async () => {
    expectProblem(await app.inject({ url: '/v1/keys/%zz', headers: bearer }), 400, 'invalid-request');
    expectProblem(await app.inject({ url: '/v1/keys/%c3%28', headers: bearer }), 400, 'invalid-request');
    expectProblem(await app.inject({ url: `/v1/keys/${'a'.repeat(2_000)}`, headers: bearer }), 400, 'invalid-request');
    expectProblem(await app.inject({ url: `/v1/keys/${'a'.repeat(301)}`, headers: bearer }), 400, 'invalid-field');
  });

  it('gives no cross-origin permission', async () => {
    const answer = await app.inject({
      method: 'OPTIONS',
      url: '/v1/keys',
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
    });
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  it('sends the security headers with every kind of answer', async () => {
    for (const url of ['/v1/whoami', '/v1/keys/none', '/nowhere', '/health/live', '/v1/keys/%zz']) {
      const { headers } = await app.inject({ url, headers: bearer });
      expect(headers['x-content-type-options'], url).toBe('nosniff');
      expect(headers['content-security-policy'], url).toContain("frame-ancestors 'none'");
    }
  });
});

describe('Host', () => {
  it.each(['localhost', 'localhost:8420', '127.0.0.1:8420', '[::1]:8420', 'LOCALHOST', 'kms.bank.example'])(
    '%s is served',
    async (host) => {
      const server = makeRestServer(toOptions(makeFakeService(), { allowedHosts: ['KMS.bank.example'] }));
      expect((await server.inject({ url: '/health/live', headers: { host } })).statusCode).toBe(200);
    },
  );
  it.each([
    'evil.example',
    'evil.example:8420',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '127.0.0.1@evil.example',
    '[::1',
    'localhost:port',
  ])('%s is not: 421, and nothing is called', async (host) => {
    const before = fake.calls.length;
    expectProblem(await app.inject({ url: '/v1/whoami', headers: { ...bearer, host } }), 421, 'misdirected-request');
    expect(fake.calls.length).toBe(before);
  });
});

describe('the log', () => {
  it('never held a token or a body', () => {
    expect(logLines.join()).not.toContain(TOKEN);
    expect(logLines.join()).not.toContain('Bearer');
  });
});
