import { createHash, createPublicKey, type JsonWebKey, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { csvRows } from '../../src/audit/csv.js';
import { type AuditRecord, fail } from '../../src/domain/index.js';
import { csvCell, toCsv } from '../../src/planes/rest/audit-csv.js';
import { makeRestServer } from '../../src/planes/rest/index.js';
import { bearer, makeFakeIdempotency, makeFakeService, makeObject, NOW, RECORD, SPKI, TOKEN, toOptions } from './fake-service.js';

/** What the plane makes of good requests. */

const setUp = (more = {}) => {
  const fake = makeFakeService();
  const idempotency = makeFakeIdempotency();
  return { fake, idempotency, app: makeRestServer(toOptions(fake, { idempotency, ...more })) };
};

describe('creating keys', () => {
  it('makes a pair of a pair’s specification, and answers the fixed shape', async () => {
    const { fake, app } = setUp();
    const answer = await app.inject({
      method: 'POST',
      url: '/v1/keys',
      headers: bearer,
      payload: {
        spec: 'ec-p256',
        name: 'invoice',
        alias: 'inv',
        aliases: ['i', 'inv'],
        usage: ['sign', 'verify'],
        activate: true,
        tags: { team: 'a' },
        group: 'g',
        activationDate: '2026-01-31T12:00:00Z',
        rotation: { everyDays: 90 },
        usageLimits: { unit: 'object', total: 5 },
        attributes: { 'x-any': { nested: [1, 'a'] } },
      },
    });
    expect(answer.statusCode).toBe(201);
    expect(fake.calls[0]).toMatchObject({
      operation: 'create-key-pair',
      request: {
        spec: 'ec-p256',
        names: ['invoice', 'inv', 'i'],
        usage: ['sign', 'verify'],
        activate: true,
        tags: { team: 'a' },
        objectGroup: 'g',
        dates: { activation: NOW },
        rotation: { everyMs: 90 * 86_400_000 },
        usageLimits: { unit: 'object', total: 5 },
        attributes: { 'x-any': { nested: [1, 'a'] } },
      },
    });
    const key = answer.json();
    expect(key).toMatchObject({
      id: 'k-1',
      name: 'invoice',
      spec: 'ec-p256',
      state: 'active',
      currentVersion: 1,
      publicKeyId: 'k-1-pub',
      revision: 1,
    });
    expect(key.createdAt).toBe('2026-01-31T12:00:00.000Z');
    expect(createPublicKey(key.publicKey).export({ format: 'der', type: 'spki' })).toEqual(SPKI);
    expect(answer.headers).toMatchObject({ etag: '"1"', location: '/v1/keys/k-1' });
    expect(answer.body).not.toContain('reference');
  });

  it('makes one key of any other specification', async () => {
    const { fake, app } = setUp();
    await app.inject({ method: 'POST', url: '/v1/keys', headers: bearer, payload: { spec: 'secret', bits: 512 } });
    expect(fake.calls[0]).toMatchObject({ operation: 'create-key', request: { spec: 'secret', bits: 512 } });
  });

  it('signs so that the signature verifies', async () => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const message = Buffer.from('hello');
    const answer = await app.inject({
      method: 'POST',
      url: '/v1/keys/k/sign',
      headers: bearer,
      payload: { message: message.toString('base64'), algorithm: 'ecdsa-sha256' },
    });
    const { signature, ...rest } = answer.json();
    expect(rest).toEqual({ algorithm: 'ecdsa-sha256', keyId: 'k', keyVersion: 1 });
    expect(verify('sha256', message, createPublicKey({ key: SPKI, format: 'der', type: 'spki' }), Buffer.from(signature, 'base64'))).toBe(
      true,
    );
    await app.inject({ method: 'POST', url: '/v1/keys/k/sign', headers: bearer, payload: { digest: 'AAAA' } });
    expect(fake.calls.at(-1)?.request).toEqual({ key: 'k', data: Buffer.alloc(3), prehashed: true });
  });

  it('answers a signature that does not match as a result', async () => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const answer = await app.inject({ method: 'POST', url: '/v1/keys/k/verify', headers: bearer, payload: { message: '', signature: '' } });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ valid: false, keyId: 'k' });
  });

  it('names the wrapping key by the path and the wrapped one in the body', async () => {
    const { fake, app } = setUp();
    fake.objects.set('b', makeObject('b'));
    await app.inject({ method: 'POST', url: '/v1/keys/w/wrap', headers: bearer, payload: { key: 'b', algorithm: 'aes-kwp' } });
    expect(fake.calls.at(-1)?.request).toEqual({ key: 'b', wrappingKey: 'w', algorithm: 'aes-kwp' });
    await app.inject({ method: 'POST', url: '/v1/keys/w/unwrap', headers: bearer, payload: { wrapped: 'AAAA', spec: 'ec-p256' } });
    expect(fake.calls.at(-1)?.request).toMatchObject({ unwrappingKey: 'w', format: 'pkcs8', type: 'private-key' });
    await app.inject({ method: 'POST', url: '/v1/keys/b/re-encrypt', headers: bearer, payload: { ciphertext: 'AAAA', from: 'a' } });
    expect(fake.calls.at(-1)?.request).toMatchObject({ to: 'b', from: 'a' });
  });

  it('passes dates and null on in PATCH, and days as milliseconds', async () => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const payload = {
      description: null,
      group: null,
      deactivationDate: null,
      activationDate: '2026-01-31T12:00:00Z',
      rotation: null,
      usageLimits: null,
    };
    expect((await app.inject({ method: 'PATCH', url: '/v1/keys/k', headers: bearer, payload })).statusCode).toBe(200);
    expect(fake.calls.at(-1)?.request).toEqual({
      key: 'k',
      description: null,
      objectGroup: null,
      dates: { activation: NOW, deactivation: null },
      rotation: null,
      usageLimits: null,
    });
    await app.inject({ method: 'DELETE', url: '/v1/keys/k?pendingDays=7', headers: bearer });
    expect(fake.calls.at(-1)).toMatchObject({ operation: 'destroy', request: { key: 'k', pendingMs: 7 * 86_400_000 } });
    const merge = await app.inject({
      method: 'PATCH',
      url: '/v1/keys/k',
      headers: { ...bearer, 'content-type': 'application/merge-patch+json' },
      payload: '{"tags":{"a":"b"}}',
    });
    expect(merge.statusCode).toBe(200);
  });
});

describe('ETag and If-Match', () => {
  it('changes at that revision and 412 at another', async () => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const patch = (ifMatch: string) =>
      app.inject({ method: 'PATCH', url: '/v1/keys/k', headers: { ...bearer, 'if-match': ifMatch }, payload: { tags: { a: 'b' } } });
    const { etag } = (await app.inject({ url: '/v1/keys/k', headers: bearer })).headers;
    const first = await patch(String(etag));
    expect(first.statusCode).toBe(200);
    expect(first.headers['etag']).toBe('"2"');
    const second = await patch(String(etag));
    expect(second.statusCode).toBe(412);
    expect(second.json()).toMatchObject({ code: 'precondition-required', field: 'If-Match' });
    expect((await patch('*')).statusCode).toBe(200);
    for (const tag of ['W/"3"', '3', '"x"', '"3", "4"', '']) expect((await patch(tag)).statusCode, tag).toBe(412);
  });

  it('is not ignored where it cannot be honoured', async () => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const answer = await app.inject({ method: 'POST', url: '/v1/keys/k/rotate', headers: { ...bearer, 'if-match': '"1"' } });
    expect(answer.statusCode).toBe(400);
    expect(fake.calls).toHaveLength(0);
  });

  it('a conflict without If-Match stays a conflict', async () => {
    const { fake, app } = setUp();
    fake.override('update-object', () => {
      throw fail('conflict', 'Changed meanwhile');
    });
    expect((await app.inject({ method: 'PATCH', url: '/v1/keys/k', headers: bearer, payload: { tags: {} } })).statusCode).toBe(409);
  });

  it('works for principals and for policies by version', async () => {
    const { app } = setUp();
    const send = (method: 'PATCH' | 'PUT', url: string, ifMatch: string, payload: object) =>
      app.inject({ method, url, headers: { ...bearer, 'if-match': ifMatch }, payload });
    expect((await send('PATCH', '/v1/principals/p', '"1"', { disabled: true })).statusCode).toBe(200);
    expect((await send('PATCH', '/v1/principals/p', '"9"', { disabled: true })).statusCode).toBe(412);
    expect((await send('PUT', '/v1/policies/p', '"3"', { source: 'x' })).headers['etag']).toBe('"4"');
    expect((await send('PUT', '/v1/policies/p', '"2"', { source: 'x' })).statusCode).toBe(412);
  });
});

describe('pages', () => {
  it('walks to the end by cursor and by Link', async () => {
    const { fake, app } = setUp();
    for (let i = 0; i < 25; i++) fake.objects.set(`k${i}`, makeObject(`k${i}`, { tags: { 'a b': 'c&d' } }));
    const seen: string[] = [];
    let url: string | undefined = `/v1/keys?limit=10&tag.a%20b=${encodeURIComponent('c&d')}`;
    while (url !== undefined) {
      const answer: { json: () => unknown; headers: Record<string, unknown> } = await app.inject({ url, headers: bearer });
      const page = answer.json() as { items: { id: string }[]; next?: string };
      seen.push(...page.items.map((k) => k.id));
      const link: string | undefined = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers['link'] ?? ''))?.[1];
      expect(link === undefined).toBe(page.next === undefined);
      url = link;
    }
    expect(seen).toEqual([...fake.objects.keys()]);
    expect(fake.calls.at(-1)?.request).toMatchObject({ tags: { 'a b': 'c&d' }, limit: 10, cursor: '20' });
  });

  it('joins filters, comma separated or repeated', async () => {
    const { fake, app } = setUp();
    await app.inject({
      url: '/v1/keys?state=active,deactivated&state=compromised&spec=aes-256&type=symmetric-key&archived=any&count=true&createdAfter=2026-01-31T12:00:00Z',
      headers: bearer,
    });
    expect(fake.calls[0]?.request).toEqual({
      states: ['active', 'deactivated', 'compromised'],
      specs: ['aes-256'],
      types: ['symmetric-key'],
      archived: 'any',
      countTotal: true,
      createdBetween: [NOW, 8_640_000_000_000_000],
      limit: 100,
    });
  });
});

describe('public keys', () => {
  it.each([
    ['?format=pem', '*/*', 'application/x-pem-file'],
    ['', '*/*', 'application/x-pem-file'],
    ['', 'application/octet-stream', 'application/octet-stream'],
    ['?format=der', 'application/json', 'application/octet-stream'],
    ['', 'text/html, application/jwk+json;q=0.9', 'application/jwk+json'],
    ['?format=jwk', '', 'application/jwk+json'],
  ])('%s with Accept %s: %s', async (query, accept, type) => {
    const { fake, app } = setUp();
    fake.objects.set('k', makeObject('k'));
    const answer = await app.inject({ url: `/v1/keys/k/public${query}`, headers: { ...bearer, accept } });
    expect(String(answer.headers['content-type']).split(';')[0]).toBe(type);
    const der =
      type === 'application/octet-stream'
        ? answer.rawPayload
        : type === 'application/jwk+json'
          ? createPublicKey({ key: answer.json() as JsonWebKey, format: 'jwk' }).export({ format: 'der', type: 'spki' })
          : createPublicKey(answer.body).export({ format: 'der', type: 'spki' });
    expect(Buffer.compare(der, SPKI)).toBe(0);
  });

  it('the key set holds only what was published, and asks as the component', async () => {
    const { fake, app } = setUp();
    fake.objects.set('a', makeObject('a', { tags: { publish: 'jwks' } }));
    fake.objects.set('a-pub', makeObject('a-pub', { type: 'public-key', tags: { publish: 'jwks' } }));
    fake.objects.set('b', makeObject('b', { tags: { publish: 'other' } }));
    const answer = await app.inject('/.well-known/jwks.json');
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ keys: [{ kid: 'a@1', kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' }] });
    expect(answer.json().keys).toHaveLength(1);
    expect(answer.body).not.toContain('"d"');
    expect(new Set(fake.calls.map((c) => c.operation))).toEqual(new Set(['locate', 'get-public-key']));
    for (const { caller } of fake.calls) {
      expect(caller).toMatchObject({ plane: 'internal', credential: { kind: 'internal', component: 'jwks' }, tenant: 'default' });
    }
    expect(fake.calls[0]?.request).toMatchObject({ tags: { publish: 'jwks' }, states: ['active', 'deactivated'] });
  });

  it('the key set costs the service one round, however many ask', async () => {
    const { fake, app } = setUp();
    await Promise.all(Array.from({ length: 50 }, () => app.inject('/.well-known/jwks.json')));
    expect(fake.calls).toHaveLength(1);
  });

  it('a refusal is not an empty set', async () => {
    const { fake, app } = setUp();
    fake.override('locate', () => {
      throw fail('permission-denied', 'no');
    });
    expect((await app.inject('/.well-known/jwks.json')).statusCode).toBe(403);
  });
});

describe('Idempotency-Key', () => {
  const create = (app: ReturnType<typeof setUp>['app'], key: string, payload: object, headers: Record<string, string> = bearer) =>
    app.inject({ method: 'POST', url: '/v1/keys', headers: { ...headers, 'idempotency-key': key }, payload });

  it('answers the first answer again, headers and all', async () => {
    const { fake, app } = setUp();
    const first = await create(app, 'a', { spec: 'aes-256', name: 'x' });
    const second = await create(app, 'a', { spec: 'aes-256', name: 'x' });
    expect(first.statusCode).toBe(201);
    expect(first.headers['idempotency-replayed']).toBeUndefined();
    expect(second.statusCode).toBe(201);
    expect(second.headers).toMatchObject({ 'idempotency-replayed': 'true', etag: '"1"', location: '/v1/keys/k-1' });
    expect(second.json()).toEqual(first.json());
    expect(fake.calls.filter((c) => c.operation === 'create-key')).toHaveLength(1);
    expect(fake.objects.size).toBe(1);
  });

  it('422 for another request, also when only the path differs', async () => {
    const { app, fake } = setUp();
    await create(app, 'a', { spec: 'aes-256' });
    const other = await create(app, 'a', { spec: 'aes-128' });
    expect(other.statusCode).toBe(422);
    expect(other.json()).toMatchObject({ code: 'idempotency-mismatch', field: 'Idempotency-Key' });
    fake.objects.set('k', makeObject('k'));
    const path = await app.inject({
      method: 'POST',
      url: '/v1/keys/k/rotate',
      headers: { ...bearer, 'idempotency-key': 'a' },
      payload: { spec: 'aes-256' },
    });
    expect([400, 422]).toContain(path.statusCode);
  });

  it('409 while the first still runs', async () => {
    const { fake, app } = setUp();
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    fake.override('create-key', async () => {
      await gate;
      const object = makeObject('late', { type: 'symmetric-key' });
      return { object, versions: [] };
    });
    const first = create(app, 'a', { spec: 'aes-256' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const second = await create(app, 'a', { spec: 'aes-256' });
    expect(second.statusCode).toBe(409);
    expect(second.headers['retry-after']).toBe('1');
    release();
    expect((await first).statusCode).toBe(201);
  });

  it('frees the key of a refused or broken request', async () => {
    const { fake, app, idempotency } = setUp();
    fake.objects.set('taken', makeObject('taken', { names: ['x'] }));
    expect((await create(app, 'a', { spec: 'aes-256', name: 'x' })).statusCode).toBe(409);
    expect((await create(app, 'b', { spec: 'ec-p256', bits: 5 })).statusCode).toBe(400);
    expect(idempotency.rows.size).toBe(0);
    expect((await create(app, 'a', { spec: 'aes-256', name: 'y' })).statusCode).toBe(201);
  });

  it('belongs to the credential, and a replay asks whether it still stands', async () => {
    const { fake, app, idempotency } = setUp();
    await create(app, 'a', { spec: 'aes-256', name: 'x' });
    expect((await create(app, 'a', { spec: 'aes-256', name: 'x' }, { authorization: 'Bearer other' })).statusCode).toBe(401);
    expect((await create(app, 'a', { spec: 'aes-256', name: 'x' }, {})).statusCode).toBe(401);
    fake.override('whoami', () => {
      throw fail('credential-revoked', 'Revoked');
    });
    expect((await create(app, 'a', { spec: 'aes-256', name: 'x' })).statusCode).toBe(401);
    fake.override('whoami', () => {
      throw fail('permission-denied', 'A token that may only create');
    });
    expect((await create(app, 'a', { spec: 'aes-256', name: 'x' })).statusCode).toBe(201);
    expect(JSON.stringify([...idempotency.rows])).not.toContain(TOKEN);
  });

  it('is not kept where the answer holds a secret', async () => {
    const { app, idempotency } = setUp();
    const issue = () =>
      app.inject({ method: 'POST', url: '/v1/tokens', headers: { ...bearer, 'idempotency-key': 'a' }, payload: { principalId: 'p' } });
    expect((await issue()).json().token).not.toBe((await issue()).json().token);
    expect(idempotency.rows.size).toBe(0);
  });

  it('keeps the stored hash out of reach of a dictionary: it is keyed by the token', async () => {
    const { app, idempotency } = setUp();
    const payload = { type: 'secret-data', format: 'raw', material: 'aHVudGVyMg==' };
    await app.inject({ method: 'POST', url: '/v1/objects/register', headers: { ...bearer, 'idempotency-key': 'a' }, payload });
    const [row] = idempotency.rows.values();
    const plain = createHash('sha256')
      .update(JSON.stringify(['POST', '/v1/objects/register', null, payload]))
      .digest('hex');
    expect(row?.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(row?.hash).not.toBe(plain);
    expect(JSON.stringify(row)).not.toContain('aHVudGVyMg');
  });

  it('refuses a malformed key, and goes without where there is no credential', async () => {
    const { app, idempotency } = setUp();
    for (const key of ['has space', '', 'a'.repeat(256)]) expect((await create(app, key, { spec: 'aes-256' })).statusCode, key).toBe(400);
    expect((await create(app, 'a', { spec: 'aes-256', activationDate: '2026-01-31T12:00:00Z' }, {})).statusCode).toBe(401);
    expect(idempotency.rows.size).toBe(0);
  });

  it('a store that is down refuses before anything is made; one that fails after does not undo success', async () => {
    const idempotency = makeFakeIdempotency();
    const { app, fake } = setUp({
      idempotency: { ...idempotency, claim: async () => Promise.reject(fail('storage-unavailable', 'down')) },
    });
    expect((await create(app, 'a', { spec: 'aes-256' })).statusCode).toBe(503);
    expect(fake.objects.size).toBe(0);
    const late = setUp({ idempotency: { ...idempotency, complete: async () => Promise.reject(new Error('down')) } });
    expect((await create(late.app, 'a', { spec: 'aes-256' })).statusCode).toBe(201);
  });
});

describe('audit', () => {
  const record: AuditRecord = { ...RECORD, detail: { note: 'a,"b"\n' } };

  it('lists as JSON, JSON lines and CSV', async () => {
    const { fake, app } = setUp();
    const json = await app.inject({ url: '/v1/audit?since=2026-01-31T12:00:00Z&outcome=refused&requestId=r', headers: bearer });
    expect(json.json()).toMatchObject({ items: [{ id: 'a-1', at: '2026-01-31T12:00:00.000Z' }], next: 'more' });
    expect(json.headers['link']).toContain('cursor=more');
    expect(fake.calls[0]?.request).toEqual({ since: NOW, outcome: 'refused', requestId: 'r', limit: 100 });
    const lines = await app.inject({ url: '/v1/audit?format=jsonl', headers: bearer });
    expect(lines.headers['content-type']).toContain('application/x-ndjson');
    expect(
      lines.body
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l).id),
    ).toEqual(['a-1']);
    const csv = await app.inject({ url: '/v1/audit?format=csv', headers: bearer });
    expect(csv.body.split('\r\n')[1]).toContain("'=cmd|evil");
  });

  it('exports as it comes', async () => {
    const { app, fake } = setUp();
    const lines = await app.inject({ url: '/v1/audit/export', headers: bearer });
    expect(lines.body).toBe(`${JSON.stringify(RECORD)}\n{"checkpoint":{"treeSize":1}}\n`);
    const csv = await app.inject({ url: '/v1/audit/export?format=csv&actor=p', headers: bearer });
    expect(csv.headers).toMatchObject({
      'content-disposition': 'attachment; filename="audit.csv"',
      'content-type': 'text/csv; charset=utf-8; header=present',
    });
    expect(fake.calls.map((c) => c.request)).toEqual([{ format: 'jsonl' }, { actor: 'p', format: 'csv' }]);
  });

  it('writes a page in the columns of the export', async () => {
    const rows: string[] = [];
    const chain = RECORD.chain ?? expect.fail();
    const { chain: _chain, ...plain } = record;
    for await (const row of csvRows(
      (async function* () {
        yield { record: plain, chain, canonical: '' };
      })(),
    ))
      rows.push(row);
    expect(toCsv([{ ...record, chain }])).toBe(rows.join(''));
  });

  it.each([
    ['=1+1', `'=1+1`],
    ['+1', `'+1`],
    ['-1', `'-1`],
    ['@x', `'@x`],
    ['\t=1', `'\t=1`],
    ['  =1', `'  =1`],
    ['＝1', `'＝1`],
    ['=a,b', `"'=a,b"`],
    ['a"b', '"a""b"'],
    ['a,b', '"a,b"'],
    ['plain', 'plain'],
  ])('no spreadsheet runs %j', (value, expected) => {
    expect(csvCell(value)).toBe(expected);
  });
  it('numbers stay numbers', () => expect(csvCell(-5)).toBe('-5'));
});

describe('pages without a credential', () => {
  it('liveness, readiness and metrics', async () => {
    const { app, fake } = setUp();
    expect((await app.inject('/health/live')).json()).toEqual({ status: 'live', version: '0.1.0' });
    expect((await app.inject('/health/ready')).statusCode).toBe(200);
    expect((await app.inject('/metrics')).headers['content-type']).toContain('text/plain; version=0.0.4');
    expect(fake.calls).toHaveLength(0);
  });
  it('503 names what is down, also when the check itself breaks', async () => {
    const checks = [
      { name: 'database', state: 'down', detail: 'no connection' },
      { name: 'root software', state: 'up' },
    ];
    const down = setUp({ readiness: async () => ({ ready: false, checks }) });
    const answer = await down.app.inject('/health/ready');
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toEqual({ status: 'unavailable', ready: false, checks });
    const broken = setUp({ readiness: async () => Promise.reject(new Error('x')) });
    expect((await broken.app.inject('/health/ready')).statusCode).toBe(503);
  });
});
