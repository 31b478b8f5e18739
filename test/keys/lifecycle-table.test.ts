import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type AuthorizedCall,
  FaultError,
  LIFECYCLE,
  LIFECYCLE_STATES,
  type LifecycleState,
  type LoadedObject,
  OPERATION_TABLE,
  type OperationName,
  type Planned,
} from '../../src/domain/index.js';
import { makeKeyHandlers } from '../../src/keys/key-handlers.js';
import { type BoundService, Refusal, utf8 } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { openTestRoot } from './test-roots.js';

/** Makes a fresh object for one cell and says which request the operation then gets. */
type Setup = (alice: BoundService, service: TestService) => Promise<{ readonly id: string; readonly request: Record<string, unknown> }>;

const onAes =
  (request: Record<string, unknown> = {}): Setup =>
  async (alice) => {
    const { object } = await alice('create-key', {
      spec: 'aes-256',
      exportable: true,
      activate: true,
      usage: ['encrypt', 'decrypt', 'wrap', 'unwrap', 'mac', 'mac-verify', 'derive'],
    });
    return { id: object.id, request: { key: object.id, ...request } };
  };
const onPair =
  (
    request: Record<string, unknown>,
    spec: 'ec-p256' | 'ml-kem-768' = 'ec-p256',
    usage: readonly ('sign' | 'verify' | 'agree')[] = ['sign', 'verify', 'agree'],
  ): Setup =>
  async (alice) => {
    const { object } = await alice('create-key-pair', { spec, exportable: true, activate: true, usage });
    return { id: object.id, request: { key: object.id, ...request } };
  };

const onCertificate =
  (request: Record<string, unknown>): Setup =>
  async (alice) => {
    const { items } = await alice('list-authorities', {});
    if (items.length === 0) await alice('create-authority', { subject: 'CN=ca', spec: 'ec-p256' });
    const { id } = await alice('issue-certificate', { publicKey: peer, subject: 'CN=x' });
    return { id, request: { key: id, ...request } };
  };

const peer = new Uint8Array(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({ format: 'der', type: 'spki' }));
const other = async (alice: BoundService, usage: readonly ('wrap' | 'encrypt')[]): Promise<string> =>
  (await alice('create-key', { spec: 'aes-256', activate: true, usage })).object.id;

/** One row per operation that the lifecycle governs; the test below refuses a missing one. */
const SETUPS: Partial<Record<OperationName, Setup>> = {
  'import-key': async (alice) => {
    const kek = await alice('create-key', { spec: 'aes-256', activate: true, usage: ['wrap', 'unwrap'] });
    const key = await alice('create-key', { spec: 'aes-256', exportable: true });
    const { wrapped } = await alice('wrap', { key: key.object.id, wrappingKey: kek.object.id, algorithm: 'aes-kwp' });
    const request = {
      wrappingKey: kek.object.id,
      wrapped,
      wrapAlgorithm: 'aes-kwp',
      type: 'symmetric-key',
      spec: 'aes-256',
      format: 'raw',
    };
    return { id: kek.object.id, request };
  },
  unwrap: async (alice) => {
    const kek = await alice('create-key', { spec: 'aes-256', activate: true, usage: ['wrap', 'unwrap'] });
    const key = await alice('create-key', { spec: 'aes-256', exportable: true });
    const { wrapped } = await alice('wrap', { key: key.object.id, wrappingKey: kek.object.id, algorithm: 'aes-kwp' });
    const request = { unwrappingKey: kek.object.id, wrapped, algorithm: 'aes-kwp', type: 'symmetric-key', spec: 'aes-256', format: 'raw' };
    return { id: kek.object.id, request };
  },
  'unwrap-data': async (alice) => {
    const kek = await alice('create-key', { spec: 'aes-256', activate: true, usage: ['wrap', 'unwrap'] });
    const key = await alice('create-key', { spec: 'aes-256', exportable: true });
    const { wrapped } = await alice('wrap', { key: key.object.id, wrappingKey: kek.object.id, algorithm: 'aes-kwp' });
    return { id: kek.object.id, request: { unwrappingKey: kek.object.id, wrapped, algorithm: 'aes-kwp' } };
  },
  'get-object': onAes(),
  'get-public-key': onPair({}),
  'key-evidence': onAes(),
  'export-key': onAes(),
  'update-object': onAes({ tags: { a: 'b' } }),
  activate: onAes(),
  rotate: onAes(),
  're-key': onAes(),
  revoke: onAes({ reason: 'key-compromise' }),
  archive: onAes(),
  recover: onAes(),
  destroy: onAes({ pendingMs: 0 }),
  'cancel-destroy': async (alice, { store }) => {
    const made = await onAes()(alice, undefined as never);
    const object = store.objects.get(made.id);
    if (object !== undefined) store.objects.set(made.id, { ...object, dates: { ...object.dates, destroyDue: 4_000_000_000_000 } });
    return made;
  },
  encrypt: onAes({ plaintext: utf8('x') }),
  decrypt: async (alice) => {
    const made = await onAes()(alice, undefined as never);
    const { ciphertext } = await alice('encrypt', { key: made.id, plaintext: utf8('x') });
    return { id: made.id, request: { ciphertext } };
  },
  sign: onPair({ data: utf8('x') }),
  verify: onPair({ data: utf8('x'), signature: new Uint8Array(70) }),
  mac: onAes({ data: utf8('x') }),
  'mac-verify': onAes({ data: utf8('x'), mac: new Uint8Array(16) }),
  wrap: async (alice, s) => {
    const made = await onAes()(alice, s);
    return { id: made.id, request: { ...made.request, wrappingKey: await other(alice, ['wrap']) } };
  },
  derive: onAes({ algorithm: 'hkdf-sha256', spec: 'aes-256' }),
  'split-key': onAes({ method: 'xor', threshold: 2, count: 2 }),
  agree: onPair({ peerPublicKey: peer, spec: 'aes-256' }),
  encapsulate: onPair({ spec: 'aes-256' }, 'ml-kem-768', ['agree']),
  decapsulate: onPair({ spec: 'aes-256', ciphertext: new Uint8Array(1088) }, 'ml-kem-768', ['agree']),
  'generate-data-key': onAes({ plaintext: false }),
  're-encrypt': async (alice, s) => {
    const made = await SETUPS.decrypt?.(alice, s);
    return { id: made?.id ?? '', request: { ...made?.request, to: await other(alice, ['encrypt']) } };
  },
  'create-csr': onPair({ subject: 'CN=x' }),
  'self-sign': onPair({ subject: 'CN=x', days: 1 }),
  'get-certificate': onCertificate({}),
  'revoke-certificate': onCertificate({ reason: 'key-compromise' }),
  'renew-certificate': onCertificate({}),
};

/** Where a handler refuses what the table admits, because of something the table does not know. */
const REFINED: Readonly<Record<string, string>> = {
  // A new version of a compromised object could protect nothing; it is re-keyed.
  'rotate/compromised': 'wrong-state',
  // What a compromised key was certified for is issued anew, for another key.
  'renew-certificate/compromised': 'wrong-state',
};

const governed = Object.entries(OPERATION_TABLE).filter(([, row]) => row.lifecycle !== 'none' && row.target !== undefined);

const force = (service: TestService, id: string, state: LifecycleState): LoadedObject => {
  const object = service.store.objects.get(id);
  if (object === undefined) throw new Error('no object');
  service.store.objects.set(id, { ...object, state, dates: withoutActivation(object.dates, state) });
  if (state.startsWith('destroyed')) {
    const versions = service.store.versions.get(id) ?? [];
    service.store.versions.set(
      id,
      versions.map((v) => ({ ...v, state: 'destroyed', reference: new Uint8Array(0) })),
    );
  }
  return service.store.loaded(service.store.objects.get(id) as LoadedObject['object']);
};
const withoutActivation = <D extends { activation?: number }>(dates: D, state: LifecycleState): D => {
  if (state !== 'pre-active') return dates;
  const { activation: _, ...rest } = dates;
  return rest as D;
};

const outcomeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'allow';
  } catch (error) {
    if (error instanceof Refusal || error instanceof FaultError) return error.fault.code;
    throw error;
  }
};

let service: TestService;
let mlKem = false;
beforeAll(async () => {
  const root = await openTestRoot();
  mlKem = (await root.describe()).specs.some((s) => s.spec === 'ml-kem-768' && s.generate);
  service = makeTestService(new Map([['software', root]]));
});

test('every operation that the lifecycle governs is in this table', () => {
  expect(governed.map(([name]) => name).sort()).toEqual(Object.keys(SETUPS).sort());
});

describe.each(governed.map(([name]) => name as OperationName))('%s', (operation) => {
  test.each(LIFECYCLE_STATES)('on an object that is %s', async (state) => {
    const kem = operation === 'encapsulate' || operation === 'decapsulate';
    if (kem && !mlKem) {
      // Without ML-KEM in the runtime no such key exists; the refusal itself is still the table's, on a stand-in.
      await expectRefusalOnStandIn(operation, state);
      return;
    }
    const setup = SETUPS[operation] as Setup;
    const { id, request } = await setup(service.alice, service);
    const loaded = force(service, id, state);
    const verdict = LIFECYCLE[state][OPERATION_TABLE[operation].lifecycle];
    const expected = verdict === 'allow' ? (REFINED[`${operation}/${state}`] ?? 'allow') : verdict;
    // Behind the guard's back first: the handler itself refuses.
    expect(await outcomeOf(direct(operation, request, loaded)), 'handler alone').toBe(expected);
    expect(await outcomeOf(service.alice(operation, request as never)), 'through the guard').toBe(expected);
  });
});

const others = async (request: Record<string, unknown>): Promise<Record<string, LoadedObject>> => {
  const found: Record<string, LoadedObject> = {};
  for (const field of ['wrappingKey', 'to']) {
    const ref = request[field];
    const loaded = typeof ref === 'string' ? await service.store.load('acme', ref) : undefined;
    if (loaded !== undefined) found[field] = loaded;
  }
  return found;
};

const direct = async (operation: OperationName, request: Record<string, unknown>, target: LoadedObject): Promise<Planned> => {
  const handlers = makeKeyHandlers({ objects: service.store, roots: service.registry, settings: service.store });
  const handler = handlers[operation as keyof typeof handlers] as (call: AuthorizedCall) => Promise<Planned>;
  return handler({
    operation,
    request: request as never,
    principal: { kind: 'service', id: 'p', tenant: 'acme', name: 'p', roles: [], tags: {}, disabled: false, createdAt: 0, revision: 1 },
    authentication: { method: 'token', credentialId: 't' },
    tenant: 'acme',
    requestId: 'r',
    plane: 'rest',
    now: service.now,
    target,
    others: await others(request),
  });
};

const expectRefusalOnStandIn = async (operation: OperationName, state: LifecycleState): Promise<void> => {
  const { id, request } = await onPair({ spec: 'aes-256', ciphertext: new Uint8Array(1088) })(service.alice, service);
  const loaded = force(service, id, state);
  const verdict = LIFECYCLE[state][OPERATION_TABLE[operation].lifecycle];
  const outcome = await outcomeOf(direct(operation, request, loaded));
  expect(outcome).toBe(verdict === 'allow' ? 'invalid-field' : verdict);
};
