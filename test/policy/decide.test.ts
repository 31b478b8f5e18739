import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACTIONS, OPERATION_NAMES, OPERATION_TABLE, type PolicyEffect, type Principal } from '../../src/domain/index.js';
import type { PolicyQuestion } from '../../src/guard/ports.js';
import { agentOf, allow, ask, document, engineOf, key, person } from './fixture.js';

const alice = person('alice', { roles: ['user'], tags: { team: 'payments' } });
const bare = person('bare');
const decideWith = async (statements: readonly object[], question: PolicyQuestion): Promise<string> => {
  const { engine } = await engineOf({ d: document(...statements) });
  const { effect, statement } = engine.decide(question);
  return `${effect} ${statement}`;
};
const signing = (principal: Principal = bare, over: Partial<PolicyQuestion> = {}): PolicyQuestion =>
  ask(principal, 'sign', { object: key('invoice', { tags: { env: 'prod' } }), ...over });
const toBare = (over: object): object => allow({ principals: ['user:bare'], ...over });

describe('a decision', () => {
  it('is deny by default, and says so', async () => {
    expect(await decideWith([], signing())).toBe('deny default');
    expect(await decideWith([allow({ principals: ['user:other'] })], signing())).toBe('deny default');
    expect(await decideWith([toBare({ actions: ['keys:verify'] })], signing())).toBe('deny default');
  });

  it('lets deny beat step-up beat allow, wherever they stand', async () => {
    const statements = (['allow', 'step-up', 'deny'] as const).map((effect) => toBare({ id: effect, effect }));
    const cases: [readonly PolicyEffect[], string][] = [
      [['allow'], 'allow d/allow'],
      [['allow', 'step-up'], 'step-up d/step-up'],
      [['allow', 'deny'], 'deny d/deny'],
      [['step-up', 'deny'], 'deny d/deny'],
      [['step-up'], 'step-up d/step-up'],
      [['allow', 'step-up', 'deny'], 'deny d/deny'],
    ];
    for (const [effects, expected] of cases) {
      const chosen = statements.filter((s) => effects.includes((s as { id: PolicyEffect }).id));
      expect(await decideWith(chosen, signing())).toBe(expected);
      expect(await decideWith([...chosen].reverse(), signing())).toBe(expected);
    }
  });

  it('matches principals by every selector', async () => {
    const matching = ['*', 'role:user', 'user:alice', 'user:*', 'kind:human', 'id:id-alice', 'tag:team=payments', 'tag:team=*'];
    const others = [
      'role:admin',
      'user:Alice',
      'service:alice',
      'service:*',
      'kind:service',
      'kind:agent',
      'agent:*',
      'id:alice',
      'tag:team=x',
      'tag:x=*',
      'parent:alice',
      'parent:*',
    ];
    for (const selector of matching)
      expect(
        await decideWith([allow({ principals: [selector], actions: ['keys:export'] })], ask(alice, 'export-key', { object: key('k') })),
        selector,
      ).toBe('allow d/a');
    for (const selector of others)
      expect(
        await decideWith([allow({ principals: [selector], actions: ['keys:export'] })], ask(alice, 'export-key', { object: key('k') })),
        selector,
      ).toBe('deny default');
  });

  it('matches resources by every selector', async () => {
    const matching = [
      '*',
      'key:*',
      'key:invoice',
      'key:inv*',
      'id:oid-invoice',
      'tag:env=prod',
      'tag:env=*',
      'spec:ec-p256',
      'spec:ec-*',
      'root:software',
      'root:*',
    ];
    const others = [
      'tenant',
      'key:invoic',
      'key:invoices',
      'key:x*',
      'id:invoice',
      'tag:env=dev',
      'tag:prod=*',
      'spec:rsa-*',
      'root:softhsm',
    ];
    for (const selector of matching) expect(await decideWith([toBare({ resources: [selector] })], signing()), selector).toBe('allow d/a');
    for (const selector of others) expect(await decideWith([toBare({ resources: [selector] })], signing()), selector).toBe('deny default');
  });

  it('judges an object about to be made by what the request says of it', async () => {
    const request = { spec: 'ec-p256', root: 'software', names: ['pay-1'], tags: { env: 'prod' } };
    const create = (over: object = {}) => ask(bare, 'create-key-pair', { request: { ...request, ...over } });
    const decide = (resource: string, over: object = {}) =>
      decideWith([toBare({ actions: ['keys:create'], resources: [resource] })], create(over));
    for (const selector of ['*', 'tenant', 'key:*', 'key:pay-1', 'key:pay-*', 'spec:ec-*', 'root:software', 'root:*', 'tag:env=prod'])
      expect(await decide(selector), selector).toBe('allow d/a');
    for (const selector of ['key:x', 'spec:rsa-*', 'root:softhsm', 'tag:env=dev', 'id:pay-1'])
      expect(await decide(selector), selector).toBe('deny default');
    expect(await decide('key:pay-*', { names: [] })).toBe('deny default');
  });

  it('grants several names at once only where each is granted, and restricts where one is', async () => {
    const create = ask(bare, 'create-key', { request: { names: ['pay-1', 'root-ca'], spec: 'aes-256', root: 'software' } });
    const grant = toBare({ actions: ['keys:create'], resources: ['key:pay-*'] });
    expect(await decideWith([grant], create)).toBe('deny default');
    expect(await decideWith([toBare({ actions: ['keys:create'], resources: ['key:pay-*', 'key:root-ca'] })], create)).toBe('allow d/a');
    const forbid = toBare({ id: 'f', effect: 'deny', actions: ['keys:create'], resources: ['key:root-*'] });
    expect(await decideWith([toBare({ actions: ['*'] }), forbid], create)).toBe('deny d/f');
  });

  it('restricts a creation whose root nobody knows by statements about any root', async () => {
    const create = ask(bare, 'create-key', { request: { spec: 'aes-256' } });
    const all = toBare({ actions: ['*'] });
    expect(
      await decideWith([all, toBare({ id: 'f', effect: 'deny', actions: ['keys:create'], resources: ['root:softhsm'] })], create),
    ).toBe('deny d/f');
    expect(await decideWith([toBare({ actions: ['keys:create'], resources: ['root:softhsm'] })], create)).toBe('deny default');
  });

  it('restricts what one key makes of another, and grants nothing by it', async () => {
    const kek = key('kek', { spec: 'aes-256', rootId: 'software' });
    const unwrap = (request: object) => ask(bare, 'unwrap', { object: kek, request: request as never });
    const forbid = (resource: string) => [
      toBare({ actions: ['*'] }),
      toBare({ id: 'f', effect: 'deny', actions: ['keys:unwrap'], resources: [resource] }),
    ];
    expect(await decideWith(forbid('spec:des3-*'), unwrap({ spec: 'des3-168' }))).toBe('deny d/f');
    expect(await decideWith(forbid('key:root-ca'), unwrap({ spec: 'aes-128', names: ['root-ca'] }))).toBe('deny d/f');
    expect(await decideWith(forbid('root:softhsm'), unwrap({ spec: 'aes-128', root: 'softhsm' }))).toBe('deny d/f');
    expect(await decideWith(forbid('root:softhsm'), unwrap({ spec: 'aes-128' }))).toBe('allow d/a');
    expect(await decideWith(forbid('tenant'), unwrap({ spec: 'aes-128' }))).toBe('allow d/a');
    expect(await decideWith([toBare({ actions: ['keys:unwrap'], resources: ['spec:ec-*'] })], unwrap({ spec: 'ec-p256' }))).toBe(
      'deny default',
    );
    const signed = ask(bare, 'sign', { object: kek, request: { spec: 'des3-168' } });
    expect(await decideWith([toBare({}), toBare({ id: 'f', effect: 'deny', resources: ['spec:des3-*'] })], signed)).toBe('allow d/a');
  });

  it('judges a missing object by statements about any key only', async () => {
    const missing = ask(bare, 'sign');
    for (const selector of ['*', 'key:*'])
      expect(await decideWith([toBare({ resources: [selector] })], missing), selector).toBe('allow d/a');
    for (const selector of ['tenant', 'key:invoice', 'key:i*', 'root:*', 'root:software', 'spec:ec-*', 'tag:env=*'])
      expect(await decideWith([toBare({ resources: [selector] })], missing), selector).toBe('deny default');
  });

  it('takes what names no object as the tenant, and roots by their id', async () => {
    const all = (actions: string[], resources: string[]) => [toBare({ actions, resources })];
    expect(await decideWith(all(['audit:read'], ['tenant']), ask(bare, 'list-audit'))).toBe('allow d/a');
    expect(await decideWith(all(['audit:read'], ['key:*']), ask(bare, 'list-audit'))).toBe('deny default');
    expect(await decideWith(all(['keys:list'], ['tenant']), ask(bare, 'locate'))).toBe('allow d/a');
    expect(await decideWith(all(['keys:list'], ['key:*']), ask(bare, 'locate'))).toBe('allow d/a');
    expect(await decideWith(all(['keys:list'], ['key:invoice']), ask(bare, 'locate'))).toBe('deny default');
    const seal = ask(bare, 'rotate-seal', { request: { root: 'software' } });
    expect(await decideWith(all(['roots:rotate-seal'], ['root:software']), seal)).toBe('allow d/a');
    expect(await decideWith(all(['roots:rotate-seal'], ['root:softhsm']), seal)).toBe('deny default');
    expect(await decideWith(all(['roots:read'], ['root:software']), ask(bare, 'get-root', { request: { id: 'software' } }))).toBe(
      'allow d/a',
    );
  });

  it('counts a condition that fails as no grant and as a restriction', async () => {
    const failing = 'request.spec == "x"';
    expect(await decideWith([toBare({ when: failing })], signing())).toBe('deny default');
    expect(await decideWith([toBare({}), toBare({ id: 'f', effect: 'deny', when: failing })], signing())).toBe('deny d/f');
    expect(await decideWith([toBare({}), toBare({ id: 'f', effect: 'step-up', when: failing })], signing())).toBe('step-up d/f');
    expect(await decideWith([toBare({}), toBare({ id: 'f', effect: 'deny', when: 'request.tags' })], signing())).toBe('deny d/f');
    expect(await decideWith([toBare({}), toBare({ id: 'f', effect: 'deny', when: 'false' })], signing())).toBe('allow d/a');
  });

  it('refuses when more conditions would have to be evaluated than it can afford', async () => {
    const costly = Array.from({ length: 2500 }, (_, i) => toBare({ id: `s${i}`, effect: 'deny', when: `source == "${i}"` }));
    const { engine } = await engineOf({ d: document(toBare({}), ...costly) });
    expect(engine.decide(signing())).toMatchObject({ effect: 'deny', statement: 'aegis-builtin/cost' });
    expect(engine.decide(signing(alice)).effect).toBe('allow');
  });

  it('is refused to a disabled principal and across tenants whatever the documents say', async () => {
    const open = [allow({ principals: ['*'], actions: ['*'] })];
    expect(await decideWith(open, signing(person('bare', { disabled: true })))).toBe('deny default');
    expect(await decideWith(open, signing(person('bare', { tenant: 'globex' })))).toBe('deny default');
    expect(await decideWith(open, signing(bare, { tenant: 'globex' }))).toBe('deny default');
  });

  it('keeps a tenant’s documents to that tenant', async () => {
    const { engine, store } = await engineOf();
    store.put('d', document(allow({ principals: ['*'] })), { tenant: 'globex' });
    await engine.reload();
    const foreign = person('x', { tenant: 'globex' });
    expect(engine.decide(ask(foreign, 'sign', { tenant: 'globex', object: key('k', { tenant: 'globex' }) })).effect).toBe('allow');
    expect(engine.decide(signing()).effect).toBe('deny');
  });
});

describe('agents', () => {
  const parent = person('carol', { roles: ['user'] });
  const bot = (over: Partial<Principal> = {}): Principal => agentOf(parent, { roles: ['user'], tags: { team: 'x' }, ...over });
  const decide = (statements: readonly object[], human: Principal = parent, agent: Principal = bot()) =>
    decideWith(statements, signing(agent, { parent: human }));

  it('get nothing from roles, tags or everybody', async () => {
    for (const selector of ['role:user', 'tag:team=x', 'tag:team=*', '*', 'kind:human', 'user:bot'])
      expect(await decide([allow({ principals: [selector] })]), selector).toBe('deny default');
  });

  it('need a statement that names agents, and their human allowed the same', async () => {
    for (const selector of ['kind:agent', 'agent:bot', 'agent:*', 'id:id-bot', 'parent:carol', 'parent:*'])
      expect(await decide([allow({ principals: [selector] })]), selector).toBe('allow d/a');
    for (const selector of ['agent:other', 'parent:alice', 'id:id-carol'])
      expect(await decide([allow({ principals: [selector] })]), selector).toBe('deny default');
    const unprivileged = person('carol');
    expect(await decide([allow({ principals: ['kind:agent'] })], unprivileged)).toBe('deny default');
    expect(await decide([allow({ principals: ['kind:agent', 'user:carol'] })], unprivileged)).toBe('allow d/a');
  });

  it('are bound by what restricts them or their human', async () => {
    const grant = allow({ principals: ['kind:agent'] });
    for (const selector of ['*', 'role:user', 'tag:team=x', 'kind:agent', 'user:carol', 'id:id-carol', 'parent:carol'])
      expect(await decide([grant, allow({ id: 'f', effect: 'deny', principals: [selector] })]), selector).toBe('deny d/f');
    expect(await decide([grant, allow({ id: 's', effect: 'step-up', principals: ['user:carol'] })])).toBe('step-up d/s');
  });

  it('have no rights without their human', async () => {
    const grant = [allow({ principals: ['kind:agent'] })];
    expect(await decideWith(grant, signing(bot()))).toBe('deny default');
    expect(await decide(grant, person('carol', { roles: ['user'], disabled: true }))).toBe('deny default');
    expect(await decide(grant, person('dave', { roles: ['user'] }))).toBe('deny default');
    expect(await decide(grant, person('carol', { roles: ['user'], tenant: 'globex' }))).toBe('deny default');
    expect(await decide(grant, person('carol', { kind: 'service', roles: ['user'] } as Partial<Principal>))).toBe('deny default');
  });

  it('an admin’s agent without a grant can do nothing but say who it is', async () => {
    const { engine } = await engineOf();
    const boss = person('boss', { roles: ['admin'] });
    const agent = agentOf(boss, { roles: ['admin'] });
    for (const name of OPERATION_NAMES) {
      const { effect } = engine.decide(ask(agent, name, { parent: boss }));
      expect(effect, name).toBe(name === 'whoami' ? 'allow' : 'deny');
    }
  });
});

describe('the service’s own components', () => {
  const component = (name: string) => ({
    principal: person(`system:${name}`, { kind: 'service', roles: ['admin'] } as Partial<Principal>),
    authentication: { method: 'internal', credentialId: name } as const,
  });
  it('get what the built-in document names, and nothing from roles or a tenant’s grants', async () => {
    const { engine } = await engineOf({ d: document(allow({ principals: ['*', 'role:admin', 'service:*'], actions: ['*'] })) });
    const allowed = (name: string) =>
      OPERATION_NAMES.filter((op) => engine.decide({ ...ask(bare, op, { object: key('k') }), ...component(name) }).effect === 'allow');
    expect(allowed('scheduler')).toEqual(expect.arrayContaining(['rotate', 'destroy', 'activate', 'revoke', 'update-object']));
    for (const never of ['sign', 'decrypt', 'export-key', 'create-principal', 'issue-token', 'put-policy'])
      expect(allowed('scheduler')).not.toContain(never);
    expect(allowed('unknown')).toEqual(['whoami']);
  });
  it('can’t be imitated by a service of that name', async () => {
    const { engine } = await engineOf();
    const impostor = person('system:scheduler', { kind: 'service' } as Partial<Principal>);
    expect(engine.decide(ask(impostor, 'rotate', { object: key('k') })).effect).toBe('deny');
  });
  it('are bound by a tenant’s denials', async () => {
    const { engine } = await engineOf({ d: document(allow({ effect: 'deny', principals: ['*'], actions: ['keys:rotate'] })) });
    expect(engine.decide({ ...ask(bare, 'rotate', { object: key('k') }), ...component('scheduler') }).effect).toBe('deny');
  });
});

describe('dry-run documents', () => {
  it('decide nothing and say what they would have decided, where it differs', async () => {
    const { engine, store } = await engineOf({ live: document(toBare({})) });
    store.put(
      'try',
      document(toBare({ id: 'no', effect: 'deny' }), allow({ id: 'yes', principals: ['user:alice'], actions: ['keys:export'] })),
      { mode: 'dry-run' },
    );
    await engine.reload();
    expect(engine.decide(signing())).toMatchObject({
      effect: 'allow',
      statement: 'live/a',
      dryRun: { effect: 'deny', statement: 'try/no' },
    });
    expect(engine.decide(ask(alice, 'export-key', { object: key('k') }))).toMatchObject({
      effect: 'deny',
      dryRun: { effect: 'allow', statement: 'try/yes' },
    });
    expect(engine.decide(ask(bare, 'verify', { object: key('k') })).dryRun).toBeUndefined();
  });
});

interface PlainStatement {
  readonly effect: PolicyEffect;
  readonly principals: readonly string[];
  readonly actions: readonly string[];
  readonly resources: readonly string[];
}

/** A slow and plain reading of the same rules, to compare the index with. */
const oracle = (statements: readonly PlainStatement[], question: PolicyQuestion): PolicyEffect => {
  const { principal, object } = question;
  const isPrincipal = (s: string): boolean => {
    const [kind = '', value = ''] = s.split(/:(.*)/s);
    if (s === '*') return true;
    if (kind === 'role') return (principal.roles as readonly string[]).includes(value);
    if (kind === 'user') return value === '*' || value === principal.name;
    if (kind === 'id') return value === principal.id;
    const [name = '', content = ''] = value.split(/=(.*)/s);
    return kind === 'tag' && name in principal.tags && (content === '*' || principal.tags[name] === content);
  };
  const isAction = (s: string): boolean =>
    s === '*' ||
    s === question.action ||
    (s.endsWith(':*') && question.action.startsWith(s.slice(0, -1))) ||
    (s.startsWith('*:') && question.action.endsWith(s.slice(1)));
  const prefix = (pattern: string, value: string | undefined): boolean =>
    value !== undefined && (pattern.endsWith('*') ? value.startsWith(pattern.slice(0, -1)) : value === pattern);
  const isResource = (s: string): boolean => {
    const [kind = '', value = ''] = s.split(/:(.*)/s);
    if (s === '*' || object === undefined) return s === '*';
    if (kind === 'key') return value === '*' || object.names.some((n) => prefix(value, n));
    if (kind === 'id') return object.id === value;
    if (kind === 'spec') return prefix(value, object.spec);
    if (kind === 'root') return value === '*' || object.rootId === value;
    const [name = '', content = ''] = value.split(/=(.*)/s);
    return kind === 'tag' && name in object.tags && (content === '*' || object.tags[name] === content);
  };
  const effects = statements
    .filter((s) => s.principals.some(isPrincipal) && s.actions.some(isAction) && s.resources.some(isResource))
    .map((s) => s.effect);
  return effects.includes('deny') ? 'deny' : effects.includes('step-up') ? 'step-up' : effects.includes('allow') ? 'allow' : 'deny';
};

describe('the index', () => {
  it('decides like a plain reading of all statements', async () => {
    const names = ['a', 'ab', 'abc', 'b', 'invoice'];
    const some = <T>(values: readonly T[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
    const statement = fc.record({
      effect: fc.constantFrom('allow', 'allow', 'deny', 'step-up'),
      principals: some(['*', 'role:operator', 'role:user', 'user:a', 'user:*', 'id:id-a', 'tag:t=1', 'tag:t=*', 'tag:u=2', 'user:b']),
      actions: some(['*', 'keys:*', 'keys:sign', '*:read', 'keys:read', 'audit:*', 'keys:verify']),
      resources: some([
        '*',
        'key:*',
        ...names.map((n) => `key:${n}`),
        'key:a*',
        'key:ab*',
        'key:b*',
        'id:oid-a',
        'tag:e=1',
        'tag:e=*',
        'spec:ec-*',
        'spec:ec-p256',
        'spec:aes-*',
        'root:software',
        'root:*',
        'root:x',
      ]),
    });
    const question = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      // The built-in document grants roles; without a role only the tenant's own statements speak.
      roles: fc.constant([]),
      tags: fc.constantFrom({}, { t: '1' }, { t: '2' }, { u: '2' }),
      operation: fc.constantFrom('sign', 'verify', 'get-object'),
      keyNames: fc.uniqueArray(fc.constantFrom(...names), { maxLength: 3 }),
      keyTags: fc.constantFrom({}, { e: '1' }, { e: '2' }),
      spec: fc.constantFrom('ec-p256', 'aes-256'),
      rootId: fc.constantFrom('software', 'x'),
    });
    let compared = 0;
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(statement, { minLength: 1, maxLength: 12 }),
        fc.array(question, { minLength: 10, maxLength: 30 }),
        async (statements, questions) => {
          const { engine } = await engineOf({ d: document(...statements.map((s, i) => ({ id: `s${i}`, ...s }))) });
          for (const q of questions) {
            const object = key('a', {
              names: q.keyNames,
              tags: q.keyTags as Record<string, string>,
              spec: q.spec as 'ec-p256',
              rootId: q.rootId,
            });
            const asked = ask(person(q.name, { roles: q.roles, tags: q.tags as Record<string, string> }), q.operation as 'sign', {
              object,
            });
            const expected = oracle(statements as readonly PlainStatement[], asked);
            expect(engine.decide(asked).effect).toBe(expected);
            seen.add(expected);
            compared += 1;
          }
        },
      ),
      { numRuns: 150 },
    );
    expect(compared).toBeGreaterThan(1500);
    expect([...seen].sort()).toEqual(['allow', 'deny', 'step-up']);
  });

  it('explains exactly what it decides', async () => {
    const statements = [
      toBare({ id: 'hit' }),
      toBare({ id: 'elsewhere', resources: ['key:other'] }),
      toBare({ id: 'unlikely', when: 'source == "1.2.3.4"' }),
      toBare({ id: 'failing', effect: 'deny', when: 'request.spec == "x"' }),
      allow({ id: 'someone', principals: ['user:zoe'] }),
      toBare({ id: 'action', actions: ['keys:verify'] }),
    ];
    const { engine } = await engineOf({ d: document(...statements) });
    const { considered } = engine.explain(signing());
    const why = Object.fromEntries(considered.filter((c) => c.statement.startsWith('d/')).map((c) => [c.statement, [c.matched, c.why]]));
    expect(why).toEqual({
      'd/hit': [true, expect.stringMatching(/^allow: principal, action and resource match/)],
      'd/failing': [true, expect.stringMatching(/^deny: the condition could not be evaluated \(.*\), which restricts/)],
      'd/elsewhere': [false, 'the resource is another'],
      'd/unlikely': [false, 'the condition is false'],
      'd/someone': [false, 'the principal is another'],
    });
    expect(considered.filter((c) => c.matched).length).toBe(considered.findIndex((c) => !c.matched));
    expect(engine.decide(signing())).toMatchObject({ effect: 'deny', statement: 'd/failing' });
  });
});

it('knows every action it is asked about', () => {
  for (const name of OPERATION_NAMES) {
    expect(ACTIONS).toContain(OPERATION_TABLE[name].action);
    for (const { action } of OPERATION_TABLE[name].alsoUses ?? []) expect(ACTIONS).toContain(action);
  }
});
