import type { RootOfTrust } from '@aegis/rot-spi';
import type { Caller, Handlers, PlaneName, Principal, Result, Role } from '../../src/domain/index.js';
import { makeGuard } from '../../src/guard/guard.js';
import type { Journal } from '../../src/guard/ports.js';
import { makeKeyHandlers } from '../../src/keys/key-handlers.js';
import type { KeyDefaults } from '../../src/keys/key-parts.js';
import { makeRootRegistry, type RootRegistry } from '../../src/keys/root-registry.js';
import { makeScheduler, type Scheduler } from '../../src/keys/scheduler.js';
import type { ObjectStore, SettingStore } from '../../src/storage/ports.js';
import { type BoundService, Refusal } from '../behaviour/cases/behaviour-case.js';
import { MemoryStore } from './memory-store.js';

const bindService =
  (service: (o: never, r: never, c: Caller) => Promise<Result<unknown>>, caller: Caller): BoundService =>
  async (operation, request) => {
    const result = await service(operation as never, request as never, caller);
    if (!result.ok) throw new Refusal(result.fault);
    return result.value as never;
  };

/** Where the service keeps its state: the memory store by default, the real one where a test brings it. */
export interface TestStorage {
  readonly objects: ObjectStore;
  readonly settings: SettingStore;
  readonly journal: Journal;
}

export interface TestService {
  /** The memory store; empty where the test brought another. */
  readonly store: MemoryStore;
  readonly registry: RootRegistry;
  readonly scheduler: Scheduler;
  readonly as: (name: string, tenant?: string, plane?: PlaneName) => BoundService;
  readonly alice: BoundService;
  readonly problems: unknown[];
  /** Roles by name; administrators where nothing is said. */
  readonly roles: Map<string, readonly Role[]>;
  now: number;
}

const principal = (name: string, tenant: string): Principal => ({
  kind: 'service',
  id: `p-${name}`,
  tenant,
  name,
  roles: ['admin'],
  tags: {},
  disabled: false,
  createdAt: 0,
  revision: 1,
});

/** The real guard around the real handlers; policy allows everything, because what is tested is what lies behind it. */
export const makeTestService = (
  roots: ReadonlyMap<string, RootOfTrust>,
  options: { readonly defaults?: Partial<KeyDefaults>; readonly realTime?: boolean; readonly storage?: TestStorage } = {},
): TestService => {
  const store = new MemoryStore();
  const { objects, settings, journal } = options.storage ?? { objects: store, settings: store, journal: store };
  const registry = makeRootRegistry({ roots, defaultRoot: [...roots.keys()][0] as string, descriptionTtlMs: 50 });
  const test = { now: 1_800_000_000_000 };
  const clock = options.realTime === true ? Date.now : () => test.now;
  const problems: unknown[] = [];
  const roles = new Map<string, readonly Role[]>();
  const handlers = makeKeyHandlers({
    objects,
    roots: registry,
    settings,
    clock,
    ...(options.defaults === undefined ? {} : { defaults: options.defaults }),
  });
  const service = makeGuard({
    identifier: {
      identify: async (credential, caller) => {
        const name = credential.kind === 'bearer' ? credential.token : 'scheduler';
        const who = { ...principal(name, caller.tenant ?? 'acme'), roles: roles.get(name) ?? ['admin' as const] };
        return { principal: who, authentication: { method: credential.kind === 'internal' ? 'internal' : 'token', credentialId: name } };
      },
    },
    policy: { decide: () => ({ effect: 'allow', statement: 'test/all', reason: 'test' }), limit: () => undefined },
    objects,
    handlers: handlers as unknown as Handlers,
    journal,
    detectors: [],
    responders: [],
    clock,
    serving: () => undefined,
    onProblem: (problem) => problems.push(problem),
  });
  const scheduler = makeScheduler({
    service,
    objects,
    roots: registry,
    settings,
    journal,
    cluster: { exclusively: async (_, job) => job() },
    clock,
  });
  const as = (name: string, tenant = 'acme', plane: PlaneName = 'rest'): BoundService =>
    bindService(service as never, { plane, credential: { kind: 'bearer', token: name }, requestId: 'test', source: 'local', tenant });
  return Object.assign(test, { store, registry, scheduler, as, alice: as('alice'), problems, roles });
};
