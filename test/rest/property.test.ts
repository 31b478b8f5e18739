import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeRestServer, ROUTES } from '../../src/planes/rest/index.js';
import { nestingExceeds } from '../../src/planes/rest/json-body.js';
import type { Route } from '../../src/planes/rest/routes/route.js';
import { fromBase64 } from '../../src/planes/rest/schema-kinds.js';
import { bearer, makeFakeService, makeObject, toOptions } from './fake-service.js';

/** Whatever is sent, the answer is an answer: never 500, always a problem that names itself, and well-formed calls only. */

const fake = makeFakeService();
for (const name of ['k', 'invoice']) fake.objects.set(name, makeObject(name));
const app = makeRestServer(toOptions(fake));
const withBody = ROUTES.filter((r) => r.body !== undefined);

/** Values near what a field takes, and far from it. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(
    '',
    'aes-256',
    'ec-p256',
    'sign',
    'k',
    'AAAA',
    'A',
    '2026-01-31T12:00:00Z',
    '9999999-01-01T00:00:00Z',
    '\u0000',
    '\ud800',
    -0,
    1e308,
    9_007_199_254_740_992,
    null,
  ),
  fc.array(fc.constantFrom('sign', 'encrypt', '', 7, null), { maxLength: 4 }),
);
const fieldsOf = (route: Route): string[] => Object.keys((route.body?.['properties'] as object | undefined) ?? {});

async function send(route: Route, payload: string): Promise<void> {
  const url = route.path.replace(/\{\w+\}/g, 'k');
  const answer = await app.inject({ method: route.method, url, headers: { ...bearer, 'content-type': 'application/json' }, payload });
  expect(answer.statusCode, `${route.id} ${payload} ${answer.body}`).not.toBe(500);
  if (answer.statusCode >= 400) {
    expect(answer.headers['content-type']).toContain('application/problem+json');
    const problem = answer.json();
    expect(problem.instance).toBe(answer.headers['x-request-id']);
    expect(problem.type).toBe(`urn:aegis:problem:${problem.code}`);
  }
}

describe('any body', () => {
  it('that is JSON never breaks the service', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...withBody), fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }), (route, body) =>
        send(route, JSON.stringify(body)),
      ),
      { numRuns: 600 },
    );
  });

  it('made of the route’s own fields never breaks the service', async () => {
    const near = fc.constantFrom(...withBody).chain((route) =>
      fc.record({
        route: fc.constant(route),
        changes: fc.dictionary(fc.constantFrom(...fieldsOf(route), 'unknown'), value, { maxKeys: 5 }),
        onExample: fc.boolean(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(near, ({ route, changes, onExample }) =>
        send(route, JSON.stringify(onExample ? { ...(route.example?.body as object | undefined), ...changes } : changes)),
      ),
      { numRuns: 1_500 },
    );
  });

  it('that is bytes never breaks the service', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...withBody), fc.string({ unit: 'binary', maxLength: 200 }), (route, body) => send(route, body)),
      { numRuns: 300 },
    );
  });

  it('in any path and query never breaks the service', async () => {
    const reading = ROUTES.filter((r) => r.method === 'GET' && r.answer.kind !== 'stream');
    const query = fc.dictionary(
      fc.oneof(fc.constantFrom('limit', 'cursor', 'state', 'tag.x', 'format', 'version', 'since', 'tag.'), fc.string({ maxLength: 10 })),
      fc.string({ unit: 'binary', maxLength: 20 }),
      {
        maxKeys: 4,
      },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...reading),
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
        query,
        async (route, id, pairs) => {
          const encoded = (text: string) => encodeURIComponent(text.replace(/\p{Cs}/gu, '?'));
          const search = Object.entries(pairs)
            .map(([k, v]) => `${encoded(k)}=${encoded(v)}`)
            .join('&');
          const answer = await app.inject({ url: `${route.path.replace(/\{\w+\}/g, encoded(id))}?${search}`, headers: bearer });
          expect(answer.statusCode, `${route.id} ${search} ${answer.body}`).not.toBe(500);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('in any headers never breaks the service', async () => {
    const text = fc.string({ unit: 'grapheme-ascii', maxLength: 40 });
    const names = ['authorization', 'if-match', 'idempotency-key', 'x-request-id', 'x-aegis-tenant', 'accept', 'content-type', 'host'];
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), text, { maxKeys: 4 }), async (headers) => {
        const answer = await app.inject({
          method: 'POST',
          url: '/v1/keys',
          headers: { ...bearer, 'content-type': 'application/json', ...headers },
          payload: '{"spec":"aes-256"}',
        });
        expect(answer.statusCode, answer.body).not.toBe(500);
      }),
      { numRuns: 400 },
    );
  });
});

describe('base64', () => {
  it('gives back every byte string, and takes only its one spelling', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(fromBase64(Buffer.from(bytes).toString('base64'))).toEqual(Buffer.from(bytes));
      }),
    );
    fc.assert(
      fc.property(fc.string({ maxLength: 24 }), (text) => {
        let decoded: Buffer;
        try {
          decoded = fromBase64(text);
        } catch {
          return;
        }
        expect(decoded.toString('base64')).toBe(text);
      }),
    );
  });
});

describe('nesting', () => {
  const depth = (v: unknown): number => (typeof v === 'object' && v !== null ? 1 + Math.max(0, ...Object.values(v).map(depth)) : 0);
  it('is counted as JSON.parse would', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' }), fc.integer({ min: 1, max: 6 }), (v, max) => {
        const text = JSON.stringify(v);
        // Texts too short to be that deep are let through unread.
        if (text.length > max * 2) expect(nestingExceeds(text, max)).toBe(depth(v) > max);
        else expect(depth(v)).toBeLessThanOrEqual(max);
      }),
      { numRuns: 2_000 },
    );
  });
});
