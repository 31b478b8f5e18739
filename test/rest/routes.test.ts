import { describe, expect, it } from 'vitest';
import { OPERATION_NAMES } from '../../src/domain/index.js';
import { makeRestServer, ROUTES } from '../../src/planes/rest/index.js';
import type { Route } from '../../src/planes/rest/routes/route.js';
import { bearer, makeFakeService, makeObject, toOptions } from './fake-service.js';

/** Every row, driven from the table itself. */

const fake = makeFakeService();
const app = makeRestServer(toOptions(fake));

const fill = (route: Route): string =>
  route.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(route.example?.params?.[name] ?? 'missing'));

/** Operations without a route, each with its reason. */
const WITHOUT_ROUTE: Readonly<Record<string, string>> = {
  'restore-object': 'Takes back what a KMIP batch did a moment ago, and nothing else.',
  'get-creation-rules': 'KMIP structures that only KMIP reads.',
  'set-creation-rules': 'KMIP structures that only KMIP reads.',
  'log-message': 'A client of KMIP speaks to the audit trail; REST clients have logs of their own.',
  'unwrap-data': 'KMIP wraps keys in encodings of its own; what REST unwraps becomes a key and does not come out.',
  'split-key': 'Parts of split keys are objects of KMIP: REST shows keys.',
  'join-key': 'Parts of split keys are objects of KMIP: REST shows keys.',
};

describe('the route table', () => {
  it('reaches every operation, or says why not', () => {
    const reached = new Set(ROUTES.flatMap((route) => route.operations));
    const missing = OPERATION_NAMES.filter((name) => !reached.has(name) && WITHOUT_ROUTE[name] === undefined);
    expect(missing).toEqual([]);
    expect(Object.keys(WITHOUT_ROUTE).filter((name) => reached.has(name as never))).toEqual([]);
  });

  it('has no two rows for one method and path, and unique ids', () => {
    const places = ROUTES.map((r) => `${r.method} ${r.path.replace(/\{\w+\}/g, '{}')}`);
    expect(new Set(places).size).toBe(places.length);
    expect(new Set(ROUTES.map((r) => r.id)).size).toBe(ROUTES.length);
  });

  it('never lets an answer with a secret be stored for replay', () => {
    const secret = ['token', 'plaintext', 'material', 'passphrase'];
    for (const route of ROUTES.filter((r) => r.idempotent)) {
      const fields = route.answer.kind === 'json' ? Object.keys((route.answer.schema['properties'] as object | undefined) ?? {}) : [];
      expect(
        fields.filter((f) => secret.includes(f)),
        route.id,
      ).toEqual([]);
    }
    expect(ROUTES.filter((r) => r.operations.includes('issue-token')).every((r) => r.idempotent !== true)).toBe(true);
  });

  it.each(ROUTES.map((route) => [route.id, route] as const))(
    '%s: its example passes its own schemas and gives its success',
    async (_id, route) => {
      fake.objects.clear();
      for (const name of ['invoice', 'tls-cert', 'transport', 'array-key', 'base-key', 'agreement', 'kem', 'vault-key', 'new-key', 'tls']) {
        fake.objects.set(name, makeObject(name, { names: [`${name}-alias`] }));
      }
      const answer = await app.inject({
        method: route.method,
        url: fill(route),
        ...(route.example?.query === undefined ? {} : { query: { ...route.example.query } }),
        headers: bearer,
        ...(route.example?.body === undefined ? {} : { payload: route.example.body as object }),
      });
      expect(answer.statusCode, answer.body).toBe(route.success);
      expect(answer.headers['cache-control']).toBe('no-store');
      const last = fake.calls.at(-1);
      expect(route.operations).toContain(last?.operation);
      if (route.answer.kind === 'json') {
        const body = answer.json() as Record<string, unknown>;
        for (const name of (route.answer.schema['required'] as string[] | undefined) ?? []) expect(body, name).toHaveProperty(name);
      }
    },
  );

  it.each(ROUTES.filter((r) => r.body !== undefined && r.bodyOptional !== true).map((route) => [route.id, route] as const))(
    '%s: an unknown field is refused by name, and so is a body that is missing',
    async (_id, route) => {
      const body = { ...(route.example?.body as object), 'not-a-field': 1 };
      const before = fake.calls.length;
      const answer = await app.inject({ method: route.method, url: fill(route), headers: bearer, payload: body });
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toMatchObject({ code: 'invalid-field', field: 'not-a-field' });
      const none = await app.inject({ method: route.method, url: fill(route), headers: bearer });
      expect(none.statusCode).toBe(400);
      expect(fake.calls.length).toBe(before);
    },
  );
});
