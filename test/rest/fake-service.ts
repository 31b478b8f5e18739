import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeySpec } from '@aegis/rot-spi/vocabulary';
import { pino } from 'pino';
import type {
  AuditRecord,
  AuthorityView,
  Caller,
  CertificateView,
  GuardedService,
  ManagedObject,
  ObjectView,
  OperationName,
  OperationRequest,
  OperationResponse,
  PolicyDocument,
  Principal,
  Result,
} from '../../src/domain/index.js';
import { FaultError, fail, toKeyHandle } from '../../src/domain/index.js';
import type { IdempotencyPort, RestOptions } from '../../src/planes/rest/ports.js';

/** A guarded service in memory: enough of every operation to see what the plane passes on and what it makes of the answer. */

export const TOKEN = 'aegis_test_token_0123456789';
export const PAIR = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
export const SPKI: Buffer = createPublicKey(createPrivateKey(PAIR.privateKey.export({ format: 'pem', type: 'pkcs8' }))).export({
  format: 'der',
  type: 'spki',
});

export const NOW = Date.UTC(2026, 0, 31, 12);

export function makeObject(id: string, more: Partial<ManagedObject> = {}): ManagedObject {
  return {
    id: toKeyHandle(id),
    tenant: 'default',
    type: 'private-key',
    spec: 'ec-p256',
    usage: ['sign'],
    state: 'active',
    archived: false,
    exportable: false,
    protection: 'software',
    rootId: 'software',
    currentVersion: 1,
    names: [],
    tags: {},
    dates: { created: NOW, lastChange: NOW, activation: NOW },
    uses: 0,
    links: [{ type: 'public-key', target: `${id}-pub` }],
    owner: 'p-admin',
    attributes: {},
    revision: 1,
    ...more,
  };
}

export const toView = (object: ManagedObject): ObjectView => ({
  object,
  versions: [
    {
      version: 1,
      state: 'current',
      rootId: object.rootId,
      bits: 256,
      createdAt: NOW,
      provenance: { local: true, alwaysSensitive: true, neverExtractable: true },
      ...(object.type === 'symmetric-key' ? {} : { publicKey: SPKI }),
    },
  ],
  ...(object.type === 'symmetric-key' ? {} : { publicKey: SPKI }),
});

const PRINCIPAL: Principal = {
  kind: 'human',
  id: 'p-admin',
  tenant: 'default',
  name: 'admin',
  roles: ['admin'],
  tags: {},
  disabled: false,
  createdAt: NOW,
  revision: 1,
};
const POLICY: PolicyDocument = {
  tenant: 'default',
  name: 'signing',
  version: 3,
  source: 'statements: []',
  mode: 'enforce',
  active: true,
  createdAt: NOW,
  createdBy: 'p-admin',
};
export const RECORD: AuditRecord = {
  id: 'a-1',
  tenant: 'default',
  at: NOW,
  node: 'n1',
  plane: 'rest',
  requestId: 'r-1',
  actor: { kind: 'human', id: 'p-admin', name: '=cmd|evil', method: 'token' },
  operation: 'sign',
  action: 'keys:sign',
  outcome: 'success',
  chain: { node: 'n1', boot: 'b1', sequence: 1, previous: '00', hash: 'aa' },
};
const TOKEN_VIEW = { id: 't-1', principalId: 'p-admin', tenant: 'default', name: 'ci', prefix: 'aegis_te', createdAt: NOW };
const CERTIFICATE_VIEW: CertificateView = {
  id: 'c-1',
  tenant: 'default',
  names: [],
  state: 'valid',
  subject: 'CN=a',
  issuer: 'CN=ca',
  subjectAltNames: [],
  serial: '01',
  fingerprint: '00',
  purposes: ['client'],
  notBefore: NOW,
  notAfter: NOW,
  authority: 'ca-1',
  revision: 1,
  certificate: Buffer.alloc(100),
};
const AUTHORITY_VIEW: AuthorityView = {
  id: 'ca-1',
  certificateId: 'c-0',
  tenant: 'default',
  names: [],
  isDefault: true,
  state: 'active',
  subject: 'CN=ca',
  spec: 'ec-p256',
  root: 'software',
  serial: '01',
  fingerprint: '00',
  notBefore: NOW,
  notAfter: NOW,
  certificate: Buffer.alloc(100),
};
const ROOT = { id: 'software', kind: 'software', state: 'ready', isDefault: true, hosts: 1 } as const;
const HEALTH = { state: 'ok', pending: 0, unsequenced: 0 } as const;
async function* chunksOf(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

/** Operations that no route reaches; routes.test.ts says why. */
const UNREACHED = [
  'restore-object',
  'get-creation-rules',
  'set-creation-rules',
  'log-message',
  'unwrap-data',
  'split-key',
  'join-key',
] as const satisfies readonly OperationName[];
type Unreached = (typeof UNREACHED)[number];
type Handlers = {
  [O in OperationName]: (request: OperationRequest<O>, caller: Caller) => OperationResponse<O> | Promise<OperationResponse<O>>;
};

export interface Call {
  readonly operation: OperationName;
  readonly request: unknown;
  readonly caller: Caller;
}

export interface FakeService {
  readonly service: GuardedService;
  readonly calls: Call[];
  readonly objects: Map<string, ManagedObject>;
  /** Replaces one operation. */
  override<O extends OperationName>(operation: O, handler: Handlers[O]): void;
}

export function makeFakeService(): FakeService {
  const objects = new Map<string, ManagedObject>();
  const calls: Call[] = [];
  let counter = 0;
  const find = (ref: string): ManagedObject => {
    const found = objects.get(ref) ?? [...objects.values()].find((o) => o.names.includes(ref));
    if (found === undefined) throw fail('not-found', `No key “${ref}”`, { field: 'key', next: 'List the keys.' });
    return found;
  };
  const create = (names: readonly string[] | undefined, more: Partial<ManagedObject>): ObjectView => {
    for (const name of names ?? []) {
      if ([...objects.values()].some((o) => o.names.includes(name))) throw fail('already-exists', 'The name is taken', { field: 'names' });
    }
    counter += 1;
    const object = makeObject(`k-${counter}`, { names: names ?? [], ...more });
    objects.set(object.id, object);
    return toView(object);
  };
  const change = (ref: string, more: Partial<ManagedObject>): ObjectView => {
    const object = find(ref);
    const changed = { ...object, ...more, revision: object.revision + 1 };
    objects.set(object.id, changed);
    return toView(changed);
  };
  const createAny = (request: { names?: readonly string[]; spec?: KeySpec; tags?: Readonly<Record<string, string>> }) =>
    create(request.names, { ...(request.spec === undefined ? {} : { spec: request.spec }), tags: request.tags ?? {} });
  const used = (ref: string) => ({ objectId: find(ref).id as string, version: 1 });

  const unreached = Object.fromEntries(
    UNREACHED.map((name) => [
      name,
      () => {
        throw fail('unsupported-operation', `${name} has no route`);
      },
    ]),
  ) as unknown as Pick<Handlers, Unreached>;
  const handlers: Handlers = {
    ...unreached,
    'create-key': (r) => create(r.names, { type: 'symmetric-key', spec: r.spec, links: [], tags: r.tags ?? {} }),
    'create-key-pair': (r) => {
      const view = create(r.names, { spec: r.spec, tags: r.tags ?? {} });
      return { ...view, publicKeyId: `${view.object.id}-pub` };
    },
    register: (r) => create(r.names, { type: r.type }),
    'import-key': createAny,
    'adopt-key': (r) => create(r.names, { spec: 'ec-p256' }),
    'create-import-wrapping-key': () => ({ ...create([], { spec: 'rsa-3072' }), algorithms: ['rsa-aes-kwp', 'rsa-oaep-sha256-wrap'] }),
    'get-object': (r) => toView(find(r.key)),
    locate: (r) => {
      const all = [...objects.values()].filter(
        (o) =>
          (r.types === undefined || r.types.includes(o.type)) &&
          (r.name === undefined || o.names.includes(r.name)) &&
          Object.entries(r.tags ?? {}).every(([k, v]) => o.tags[k] === v),
      );
      const from = r.cursor === undefined ? 0 : Number(r.cursor);
      const items = all.slice(from, from + (r.limit ?? 100));
      return {
        items,
        ...(from + items.length < all.length ? { next: String(from + items.length) } : {}),
        ...(r.countTotal ? { total: all.length } : {}),
      };
    },
    'get-public-key': (r) => ({ ...used(r.key), spec: 'ec-p256', publicKey: SPKI }),
    'export-key': (r) => ({
      ...used(r.key),
      type: 'symmetric-key',
      spec: 'aes-256',
      format: 'raw',
      material: Buffer.alloc(32, 7),
      bits: 256,
    }),
    'key-evidence': (r) => {
      find(r.key);
      return { provenance: { local: true, alwaysSensitive: true, neverExtractable: true }, asserted: { CKA_SENSITIVE: 'true' } };
    },
    'update-object': (r) => {
      const object = find(r.key);
      if (r.revision !== undefined && r.revision !== object.revision) throw fail('conflict', 'Changed meanwhile');
      return change(r.key, {
        ...(r.tags === undefined ? {} : { tags: r.tags }),
        ...(r.description == null ? {} : { description: r.description }),
      });
    },
    activate: (r) => change(r.key, { state: 'active' }),
    rotate: (r) => change(r.key, { currentVersion: find(r.key).currentVersion + 1 }),
    're-key': (r) => ({ ...create([], {}), publicKeyId: `${find(r.key).id}-pub` }),
    revoke: (r) => change(r.key, { state: 'compromised', revocation: { reason: r.reason } }),
    archive: (r) => change(r.key, { archived: true }),
    recover: (r) => change(r.key, { archived: false }),
    destroy: (r) => change(r.key, { state: 'destroyed' }),
    'cancel-destroy': (r) => change(r.key, {}),
    encrypt: (r) => ({ ...used(r.key), algorithm: 'aes-gcm', ciphertext: Buffer.concat([Buffer.from('E'), r.plaintext]) }),
    decrypt: (r) => ({ objectId: r.key ?? 'k-1', version: 1, algorithm: 'aes-gcm', plaintext: r.ciphertext.subarray(1) }),
    sign: (r) => ({
      ...used(r.key),
      algorithm: r.algorithm ?? 'ecdsa-sha256',
      signature: r.prehashed ? randomBytes(70) : sign('sha256', r.data, PAIR.privateKey),
    }),
    verify: (r) => ({ ...used(r.key), algorithm: r.algorithm ?? 'ecdsa-sha256', valid: false }),
    mac: (r) => ({ ...used(r.key), algorithm: 'hmac-sha256', mac: Buffer.alloc(32) }),
    'mac-verify': (r) => ({ ...used(r.key), algorithm: 'hmac-sha256', valid: true }),
    wrap: (r) => ({ ...used(r.key), algorithm: 'aes-kwp', wrapped: Buffer.alloc(40) }),
    unwrap: createAny,
    derive: createAny,
    agree: createAny,
    encapsulate: (r) => ({ ...createAny(r), ciphertext: Buffer.alloc(16) }),
    decapsulate: createAny,
    'generate-data-key': (r) => ({
      ...used(r.key),
      ciphertext: Buffer.alloc(60),
      ...(r.plaintext ? { plaintext: Buffer.alloc(r.length ?? 32, 1) } : {}),
    }),
    're-encrypt': (r) => ({ ...used(r.to), algorithm: 'aes-gcm', ciphertext: Buffer.alloc(60) }),
    random: (r) => ({ bytes: randomBytes(r.length) }),
    'seed-random': (r) => ({ accepted: r.seed.length }),
    digest: () => ({ digest: Buffer.alloc(32) }),
    'begin-operation': () => ({ operation: 'op-1', algorithm: 'ecdsa-sha256' }),
    'update-operation': (r) => ({ output: Buffer.from(r.data) }),
    'finish-operation': () => ({ output: Buffer.alloc(4), valid: true }),
    'cancel-operation': () => ({}),
    'create-csr': (r) => ({ ...used(r.key), csr: Buffer.alloc(100) }),
    'self-sign': (r) => ({ ...used(r.key), certificate: Buffer.alloc(100) }),
    'create-authority': (r) => ({ ...AUTHORITY_VIEW, names: r.names ?? [] }),
    'list-authorities': () => ({ items: [AUTHORITY_VIEW] }),
    'issue-certificate': (r) => ({ ...CERTIFICATE_VIEW, names: r.names ?? [] }),
    'list-certificates': () => ({ items: [CERTIFICATE_VIEW] }),
    'get-certificate': () => CERTIFICATE_VIEW,
    'revoke-certificate': (r) => ({ ...CERTIFICATE_VIEW, state: 'revoked', revocation: { reason: r.reason ?? 'unspecified', at: NOW } }),
    'renew-certificate': () => CERTIFICATE_VIEW,
    'get-crl': () => ({ crl: Buffer.alloc(100), authority: 'ca-1', number: NOW, thisUpdate: NOW, nextUpdate: NOW, entries: 0 }),
    whoami: () => ({ principal: PRINCIPAL, method: 'token' }),
    'create-principal': (r) => ({ ...PRINCIPAL, id: 'p-2', name: r.name, roles: r.roles }),
    'get-principal': (r) => ({ ...PRINCIPAL, id: r.id }),
    'set-login': (r) => ({ principalId: r.principalId, kind: r.kind, login: r.login, set: r.password !== null }),
    'list-principals': () => ({ items: [PRINCIPAL] }),
    'update-principal': (r) => {
      if (r.revision !== undefined && r.revision !== 1) throw fail('conflict', 'Changed meanwhile');
      return { ...PRINCIPAL, revision: 2 };
    },
    'delete-principal': () => ({}),
    'issue-token': () => ({ ...TOKEN_VIEW, token: `secret-${++counter}` }),
    'list-tokens': () => ({ items: [TOKEN_VIEW] }),
    'revoke-token': () => ({ ...TOKEN_VIEW, revokedAt: NOW }),
    'list-policies': () => ({ items: [POLICY] }),
    'get-policy': () => POLICY,
    'put-policy': (r) => {
      if (r.expectedVersion !== undefined && r.expectedVersion !== 3) throw fail('conflict', 'Changed meanwhile');
      return { ...POLICY, version: 4, problems: [{ line: 1, path: 'statements', reason: 'empty' }] };
    },
    'validate-policy': () => ({ problems: [] }),
    'delete-policy': () => ({}),
    'rollback-policy': (r) => ({ ...POLICY, version: r.version }),
    'policy-history': () => ({ items: [POLICY] }),
    'test-policy': () => ({ effect: 'allow', statement: 'signing/1', reason: 'matched', explanation: { considered: [] } }),
    'list-audit': () => ({ items: [RECORD], next: 'more' }),
    'verify-audit': () => ({ valid: true, records: 1, chains: 1, checkpoints: 0, problems: [] }),
    'audit-health': () => HEALTH,
    'export-audit': () => ({ chunks: chunksOf(`${JSON.stringify(RECORD)}\n`, '{"checkpoint":{"treeSize":1}}\n') }),
    'list-roots': () => ({ roots: [ROOT] }),
    'get-root': (r) => ({ ...ROOT, id: r.id, description: { specs: [], deep: { er: [1, 2] } } }),
    'rotate-seal': (r) => ({ root: r.root, generation: 2, rewrapped: 5 }),
    status: () => ({
      version: '0.1.0',
      node: 'n1',
      startedAt: NOW,
      database: { kind: 'embedded', state: 'up' },
      roots: [ROOT],
      audit: HEALTH,
      policies: { documents: 1, statements: 2 },
      planes: [{ name: 'rest', address: 'http://127.0.0.1:8420' }],
    }),
    'create-backup': () => ({ chunks: chunksOf('AEGISBACKUP', 'data'), name: 'aegis-2026.backup' }),
  };

  const service = (async (operation: OperationName, request: never, caller: Caller): Promise<Result<unknown>> => {
    calls.push({ operation, request, caller });
    const { credential } = caller;
    const known =
      credential.kind === 'internal' || credential.kind === 'certificate' || (credential.kind === 'bearer' && credential.token === TOKEN);
    if (!known) return { ok: false, fault: { code: 'unauthenticated', message: 'No valid credential', next: 'Send a token.' } };
    try {
      return { ok: true, value: await handlers[operation](request, caller) };
    } catch (error) {
      if (error instanceof FaultError) return { ok: false, fault: error.fault };
      throw error;
    }
  }) as GuardedService;

  return {
    service,
    calls,
    objects,
    override: (operation, handler) => {
      handlers[operation] = handler;
    },
  };
}

export interface FakeIdempotency extends IdempotencyPort {
  readonly rows: Map<string, { hash: string; answer?: { status: number; body: string } }>;
}
export function makeFakeIdempotency(): FakeIdempotency {
  const rows: FakeIdempotency['rows'] = new Map();
  const nameOf = (...parts: string[]) => parts.join('|');
  return {
    rows,
    async claim(tenant, principalId, key, requestHash) {
      const name = nameOf(tenant, principalId, key);
      const hash = Buffer.from(requestHash).toString('hex');
      const row = rows.get(name);
      if (row === undefined) {
        rows.set(name, { hash });
        return { kind: 'fresh' };
      }
      if (row.hash !== hash) return { kind: 'mismatch' };
      return row.answer === undefined ? { kind: 'busy' } : { kind: 'done', ...row.answer };
    },
    async complete(tenant, principalId, key, status, body) {
      const row = rows.get(nameOf(tenant, principalId, key));
      if (row !== undefined) row.answer = { status, body };
    },
    async release(tenant, principalId, key) {
      rows.delete(nameOf(tenant, principalId, key));
    },
  };
}

/** Log lines, to look for secrets in. */
export const logLines: string[] = [];
export const logger = pino({ level: 'debug' }, { write: (line: string) => void logLines.push(line) });

export const toOptions = (fake: FakeService, more: Partial<RestOptions> = {}): RestOptions => ({
  service: fake.service,
  idempotency: makeFakeIdempotency(),
  readiness: async () => ({ ready: true, checks: [{ name: 'database', state: 'up' }] }),
  metrics: async () => '# HELP x x\n',
  logger,
  version: '0.1.0',
  ...more,
});
export const bearer = { authorization: `Bearer ${TOKEN}` };
