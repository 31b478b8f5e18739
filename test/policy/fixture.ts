import type { Authentication, ManagedObject, OperationName, PolicyDocument, Principal } from '../../src/domain/index.js';
import { OPERATION_TABLE, toKeyHandle } from '../../src/domain/index.js';
import type { PolicyQuestion } from '../../src/guard/ports.js';
import { makePolicyEngine, type PolicyEngineOptions, type RunningPolicyEngine } from '../../src/policy/engine.js';
import type { PolicyStore } from '../../src/storage/ports.js';

export const NOW = Date.UTC(2026, 10, 20, 12, 0, 0);

export const person = (name: string, over: Partial<Principal> = {}): Principal =>
  ({
    kind: 'human',
    id: `id-${name}`,
    tenant: 'default',
    name,
    roles: [],
    tags: {},
    disabled: false,
    createdAt: 0,
    revision: 1,
    ...over,
  }) as Principal;
export const agentOf = (parent: Principal, over: Partial<Principal> = {}): Principal =>
  person('bot', { kind: 'agent', parentId: parent.id, purpose: 'test', ...over } as Partial<Principal>);
export const token: Authentication = { method: 'token', credentialId: 't1' };

export const key = (name: string, over: Partial<ManagedObject> = {}): ManagedObject => ({
  id: toKeyHandle(`oid-${name}`),
  tenant: 'default',
  type: 'private-key',
  spec: 'ec-p256',
  usage: ['sign', 'verify'],
  state: 'active',
  archived: false,
  exportable: false,
  protection: 'software',
  rootId: 'software',
  currentVersion: 1,
  names: [name],
  tags: {},
  dates: { created: 0, lastChange: 0 },
  uses: 0,
  links: [],
  owner: 'id-owner',
  attributes: {},
  revision: 1,
  ...over,
});

export const ask = (principal: Principal, operation: OperationName, over: Partial<PolicyQuestion> = {}): PolicyQuestion => ({
  principal,
  authentication: token,
  operation,
  action: OPERATION_TABLE[operation].action,
  tenant: 'default',
  plane: 'rest',
  source: '10.0.0.1',
  now: NOW,
  request: {},
  ...over,
});

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A store in memory; tests change `documents` or make it fail. */
export interface FakeStore extends PolicyStore {
  documents: Mutable<PolicyDocument>[];
  broken: boolean;
  reads: number;
  put(name: string, source: string, over?: Partial<PolicyDocument>): void;
  remove(name: string, tenant?: string): void;
}
export const makeStore = (): FakeStore => {
  const store: FakeStore = {
    documents: [],
    broken: false,
    reads: 0,
    put: (name, source, over = {}) => {
      const tenant = over.tenant ?? 'default';
      const versions = store.documents.filter((d) => d.name === name && d.tenant === tenant);
      for (const d of versions) d.active = false;
      const version = Math.max(0, ...versions.map((d) => d.version)) + 1;
      store.documents.push({ tenant, name, version, source, mode: 'enforce', active: true, createdAt: NOW, createdBy: 'x', ...over });
    },
    remove: (name, tenant = 'default') => {
      for (const d of store.documents) if (d.name === name && d.tenant === tenant) d.active = false;
    },
    active: async () => {
      store.reads += 1;
      if (store.broken) throw new Error('database gone');
      return store.documents.filter((d) => d.active).map((d) => ({ ...d }));
    },
    document: async (tenant, name, version) =>
      store.documents.find((d) => d.tenant === tenant && d.name === name && (version === undefined ? d.active : d.version === version)),
    list: async (tenant) => ({ items: store.documents.filter((d) => d.tenant === tenant && d.active) }),
    history: async (tenant, name, page) => ({
      items: store.documents
        .filter((d) => d.tenant === tenant && d.name === name)
        .sort((a, b) => b.version - a.version)
        .slice(0, page.limit),
    }),
  };
  return store;
};

export const engineOf = async (
  documents: Readonly<Record<string, string>> = {},
  options: Partial<PolicyEngineOptions> = {},
): Promise<{ engine: RunningPolicyEngine; store: FakeStore }> => {
  const store = makeStore();
  for (const [name, source] of Object.entries(documents)) store.put(name, source);
  const engine = await makePolicyEngine({ store, clock: () => NOW, ...options });
  return { engine, store };
};

export const document = (...statements: readonly object[]): string => JSON.stringify({ version: 1, statements });
export const allow = (over: object = {}): object => ({
  id: 'a',
  effect: 'allow',
  principals: ['user:alice'],
  actions: ['keys:sign'],
  resources: ['*'],
  ...over,
});
