import { describe, expect, it } from 'vitest';
import { OPERATION_NAMES, OPERATION_TABLE, type OperationName, ROLES } from '../../src/domain/index.js';
import { makePolicyEngine } from '../../src/policy/engine.js';
import { ask, key, makeStore, person } from './fixture.js';

/** Reading about certificates, revocation lists included. */
const CERTIFICATE_READING: readonly OperationName[] = ['list-authorities', 'list-certificates', 'get-certificate', 'get-crl'];

const engine = await makePolicyEngine({ store: makeStore() });

/** What each role may do to anything in its tenant, written out: a change of the built-in document has to change it here too. */
const GRANTS: Readonly<Record<(typeof ROLES)[number], readonly OperationName[]>> = {
  admin: OPERATION_NAMES,
  operator: OPERATION_NAMES.filter(
    (n) =>
      (OPERATION_TABLE[n].action.startsWith('keys:') && n !== 'export-key') ||
      OPERATION_TABLE[n].action.startsWith('service:') ||
      CERTIFICATE_READING.includes(n) ||
      ['list-roots', 'get-root', 'list-policies', 'get-policy', 'validate-policy', 'policy-history', 'list-audit', 'audit-health'].includes(
        n,
      ),
  ),
  auditor: [
    'get-object',
    'key-evidence',
    'locate',
    'get-public-key',
    'get-principal',
    'list-principals',
    'list-tokens',
    'list-policies',
    'get-policy',
    'validate-policy',
    'policy-history',
    'test-policy',
    'list-audit',
    'verify-audit',
    'audit-health',
    'export-audit',
    'list-roots',
    'get-root',
    'status',
    'whoami',
    'get-creation-rules',
    ...CERTIFICATE_READING,
  ],
  // Every operation on keys, export included: a storage array that cannot take its key out cannot use it.
  'kmip-client': [
    ...OPERATION_NAMES.filter((n) => OPERATION_TABLE[n].action.startsWith('keys:')),
    // Of issue-certificate only what is for no principal; the request of this test names one.
    'renew-certificate',
    ...CERTIFICATE_READING,
    'random',
    'seed-random',
    'digest',
    'update-operation',
    'finish-operation',
    'cancel-operation',
    'log-message',
    'whoami',
    'get-creation-rules',
  ],
  user: [
    'get-object',
    'key-evidence',
    'locate',
    'get-public-key',
    'encrypt',
    'decrypt',
    'sign',
    'create-csr',
    'self-sign',
    'verify',
    'mac',
    'mac-verify',
    'wrap',
    'unwrap',
    'unwrap-data',
    'generate-data-key',
    're-encrypt',
    'random',
    'digest',
    'begin-operation',
    'update-operation',
    'finish-operation',
    'cancel-operation',
    'whoami',
    'get-creation-rules',
  ],
};

describe('roles', () => {
  for (const role of ROLES) {
    it(`${role} may do exactly what is written here`, () => {
      const principal = person('p', { roles: [role] });
      const other = { id: 'someone-else', principalId: 'someone-else', owner: 'someone-else', tenant: 'default', roles: [role] };
      const allowed = OPERATION_NAMES.filter(
        (name) => engine.decide(ask(principal, name, { object: key('k'), request: other })).effect === 'allow',
      );
      expect([...allowed].sort()).toEqual([...GRANTS[role]].sort());
    });
  }

  it('nobody without a role may do anything but ask who it is, read itself and the rules that bind everybody', () => {
    const nobody = person('nobody');
    const allowed = OPERATION_NAMES.filter(
      (name) => engine.decide(ask(nobody, name, { object: key('k'), request: { id: 'id-nobody' } })).effect === 'allow',
    );
    expect(allowed.sort()).toEqual(['get-creation-rules', 'get-principal', 'whoami']);
  });

  it('users, operators and auditors manage their own tokens and nobody else’s', () => {
    for (const role of ['user', 'operator', 'auditor'] as const) {
      const me = person('me', { roles: [role] });
      const may = (name: OperationName, request: object) => engine.decide(ask(me, name, { request: request as never })).effect;
      expect(may('issue-token', { principalId: 'id-me' })).toBe('allow');
      expect(may('list-tokens', { principalId: 'id-me' })).toBe('allow');
      expect(may('revoke-token', { id: 't', owner: 'id-me' })).toBe('allow');
      expect(may('issue-token', { principalId: 'id-you' })).toBe('deny');
      expect(may('issue-token', {})).toBe('deny');
      expect(may('revoke-token', { id: 't', owner: 'id-you' })).toBe('deny');
      expect(may('revoke-token', { id: 't' })).toBe('deny');
      expect(may('list-tokens', { principalId: 'id-you' })).toBe(role === 'auditor' ? 'allow' : 'deny');
    }
  });
});

describe('what nobody may do, whatever a tenant’s own documents say', () => {
  const open = async () => {
    const store = makeStore();
    for (const tenant of ['default', 'globex'])
      store.put(
        'open',
        '{"statements":[{"id":"all","effect":"allow","principals":["*","kind:agent"],"actions":["*"],"resources":["*"]}]}',
        { tenant },
      );
    return makePolicyEngine({ store });
  };
  it('principals of another tenant are made by administrators of default only', async () => {
    const opened = await open();
    const create = (tenant: string, roles: readonly 'admin'[], request: object) =>
      opened.decide(ask(person('p', { tenant, roles }), 'create-principal', { tenant, request: { roles: [], ...request } as never }))
        .effect;
    expect(create('default', ['admin'], { tenant: 'globex' })).toBe('allow');
    expect(create('default', [], { tenant: 'globex' })).toBe('deny');
    expect(create('globex', ['admin'], { tenant: 'default' })).toBe('deny');
    expect(create('globex', ['admin'], { tenant: 'globex' })).toBe('allow');
    expect(create('globex', ['admin'], {})).toBe('allow');
  });
  it('nobody hands out a role beyond its own, nor a token of somebody else', async () => {
    const opened = await open();
    const operator = person('op', { roles: ['operator', 'user'] });
    const may = (name: OperationName, request: object) => opened.decide(ask(operator, name, { request: request as never })).effect;
    expect(may('create-principal', { roles: ['user'] })).toBe('allow');
    expect(may('create-principal', { roles: ['user', 'admin'] })).toBe('deny');
    expect(may('update-principal', { id: 'x', roles: ['auditor'] })).toBe('deny');
    expect(may('update-principal', { id: 'x', disabled: true })).toBe('allow');
    expect(may('issue-token', { principalId: 'id-op' })).toBe('allow');
    expect(may('issue-token', { principalId: 'id-other' })).toBe('deny');
  });
  it('agents change no principals and no policies', async () => {
    const opened = await open();
    const boss = person('boss', { roles: ['admin'] });
    const agent = person('bot', { kind: 'agent', parentId: boss.id, purpose: 'x' } as never);
    const may = (name: OperationName) =>
      opened.decide(ask(agent, name, { parent: boss, request: { roles: [], principalId: agent.id } })).effect;
    expect(may('sign')).toBe('allow');
    for (const name of [
      'create-principal',
      'update-principal',
      'delete-principal',
      'put-policy',
      'delete-policy',
      'rollback-policy',
    ] as const)
      expect(may(name), name).toBe('deny');
  });
  it('what touches every tenant belongs to tenant default', async () => {
    const opened = await open();
    for (const name of ['create-backup', 'rotate-seal'] as const) {
      const may = (tenant: string) =>
        opened.decide(ask(person('p', { tenant, roles: ['admin'] }), name, { tenant, request: { root: 'software' } })).effect;
      expect(may('default')).toBe('allow');
      expect(may('globex')).toBe('deny');
    }
  });
});
