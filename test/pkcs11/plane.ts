import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RootOfTrust } from '@aegis/rot-spi';
import type { GuardedService, Handlers, Principal, Role } from '../../src/domain/index.js';
import { makeGuard } from '../../src/guard/guard.js';
import { makeIdentifier, makeIdentityHandlers } from '../../src/identity/index.js';
import { makeToken } from '../../src/identity/token.js';
import { makeKeyHandlers } from '../../src/keys/key-handlers.js';
import { makeRootRegistry } from '../../src/keys/root-registry.js';
import { Door } from '../../src/planes/pkcs11/door/door.js';
import { makePkcs11Server, type Pkcs11Server, type Pkcs11ServerOptions } from '../../src/planes/pkcs11/server.js';
import { add, type MemoryIdentity, makeMemoryIdentity } from '../identity/memory-identity.js';
import { MemoryStore } from '../keys/memory-store.js';

/** The plane over the real guard, keys and identities, with its door in this process. */
export interface TestPlane {
  readonly path: string;
  readonly innerPath: string;
  readonly store: MemoryStore;
  readonly identity: MemoryIdentity;
  readonly service: GuardedService;
  readonly problems: unknown[];
  server: Pkcs11Server;
  /** A token of a new principal. */
  token(
    role?: Role,
    tenant?: string,
    scope?: readonly string[],
  ): { readonly token: string; readonly principal: Principal; readonly id: string };
  /** What `aegis pkcs11 pin` would issue for it. */
  pin(principal: Principal): Promise<string>;
  /** Ends the service and starts it anew on the same store; `orderly` as SIGTERM would. */
  restart(orderly: boolean): Promise<void>;
  close(): Promise<void>;
}

const issue = (identity: MemoryIdentity, principal: Principal, scope: readonly string[] | undefined) => {
  const made = makeToken();
  identity.state.tokens.set(made.id, {
    ...{ id: made.id, tenant: principal.tenant, principalId: principal.id, name: 't', prefix: made.prefix, hash: made.hash, createdAt: 0 },
    ...(scope === undefined ? {} : { scope }),
  });
  return made;
};

export const openPlane = async (
  root: RootOfTrust,
  options: {
    readonly tenants?: readonly string[];
    readonly bound?: boolean;
    readonly delayMs?: number;
    readonly publicSessions?: boolean;
  } = {},
): Promise<TestPlane> => {
  const folder = mkdtempSync(join(tmpdir(), 'aegis-p11-'));
  const [path, innerPath] = [join(folder, 'p.sock'), join(folder, 'inner.sock')];
  const store = new MemoryStore();
  const identity = makeMemoryIdentity();
  const problems: unknown[] = [];
  const registry = makeRootRegistry({ roots: new Map([['software', root]]), defaultRoot: 'software' });
  const tenants = options.tenants ?? ['default', 'acme'];
  const owner = options.bound === true ? add(identity, { roles: ['admin'], tenant: tenants[0] ?? 'default' }) : undefined;
  const service = makeGuard({
    identifier: makeIdentifier({ store: identity.store }),
    policy: {
      decide: ({ principal, action }) =>
        principal.roles.includes('auditor') && !action.startsWith('service:whoami')
          ? { effect: 'deny', statement: 'test/deny', reason: 'test' }
          : { effect: 'allow', statement: 'test/all', reason: 'test' },
      limit: () => undefined,
    },
    objects: store,
    handlers: {
      ...makeKeyHandlers({ objects: store, roots: registry, settings: store, clock: Date.now }),
      ...makeIdentityHandlers({ store: identity.store, settings: store }),
    } as unknown as Handlers,
    journal: {
      intent: (draft) => store.intent(draft),
      commit: async (draft, changes) => {
        if (options.delayMs !== undefined) await new Promise((done) => setTimeout(done, Math.random() * (options.delayMs ?? 0)));
        return changes.some((change) => change.kind.includes('token'))
          ? identity.journal.commit(draft, changes)
          : store.commit(draft, changes);
      },
    },
    detectors: [],
    responders: [],
    clock: Date.now,
    serving: () => undefined,
    onProblem: (problem) => problems.push(problem),
  });
  const sealKey = randomBytes(32);
  const settings: Pkcs11ServerOptions = {
    innerPath,
    sealKey,
    sockets: [
      {
        name: 'test',
        path,
        mode: 0o600,
        tenants,
        publicSessions: options.publicSessions === true,
        ...(owner === undefined ? {} : { principal: { tenant: owner.tenant, id: owner.id } }),
      },
    ],
    parts: {
      service,
      clock: Date.now,
      nodeId: 'node-1',
      version: { major: 1, minor: 0 },
      canDo: () => true,
      log: (event, message) => problems.push({ message, ...event }),
    },
  };
  let server = await makePkcs11Server(settings);
  let ended: () => void = () => undefined;
  const doorEnded = new Promise<void>((done) => {
    ended = done;
  });
  const door = new Door({ innerPath, onEnd: () => ended() });
  await server.untilListening(5_000);
  const plane: TestPlane = {
    path,
    innerPath,
    store,
    identity,
    service,
    problems,
    get server() {
      return server;
    },
    set server(next) {
      server = next;
    },
    token: (role = 'admin', tenant = 'default', scope) => {
      const principal = add(identity, { roles: [role], tenant });
      const { token, id } = issue(identity, principal, scope);
      return { token, principal, id };
    },
    pin: async (principal) => {
      const { token } = issue(identity, principal, undefined);
      const made = await service(
        'issue-token',
        { principalId: principal.id, kind: 'pin' },
        { plane: 'rest', credential: { kind: 'bearer', token }, requestId: 'pin', source: 'local' },
      );
      if (!made.ok) throw new Error(made.fault.message);
      return made.value.token;
    },
    restart: async (orderly) => {
      await server.stop(orderly ? 'in-order' : 'abruptly');
      server = await makePkcs11Server(settings);
      // What is on its way to a process that was killed is lost with it.
      if (!orderly) await new Promise((done) => setTimeout(done, 50));
    },
    close: async () => {
      door.end();
      await doorEnded;
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return plane;
};
