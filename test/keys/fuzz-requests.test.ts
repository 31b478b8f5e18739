import { ALGORITHM_NAMES, HASHES, KEY_SPEC_NAMES, KEY_USAGES } from '@aegis/rot-spi/vocabulary';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { OBJECT_TYPES, OPERATION_NAMES, type OperationName, REVOCATION_REASONS } from '../../src/domain/index.js';
import { makeKeyHandlers } from '../../src/keys/key-handlers.js';
import { Refusal } from '../behaviour/cases/behaviour-case.js';
import { makeTestService, type TestService } from './key-service.js';
import { openTestRoot } from './test-roots.js';

/**
 * Requests as no plane should let them through: every field may hold anything. Whatever comes, the answer is a result or
 * a refusal that names something; never an internal error, never a crash.
 */
let s: TestService;
let refs: string[];
let served: OperationName[];
beforeAll(async () => {
  s = makeTestService(new Map([['software', await openTestRoot()]]), { defaults: { maxOperations: 32 } });
  refs = [];
  for (const spec of ['aes-256', 'hmac-sha256'] as const) {
    const usage =
      spec === 'aes-256'
        ? (['encrypt', 'decrypt', 'wrap', 'unwrap', 'mac', 'mac-verify', 'derive'] as const)
        : (['mac', 'mac-verify', 'derive'] as const);
    refs.push((await s.alice('create-key', { spec, usage: [...usage], exportable: true, activate: true })).object.id);
  }
  for (const spec of ['ec-p256', 'ed25519', 'x25519', 'rsa-2048'] as const) {
    const made = await s.alice('create-key-pair', { spec, exportable: true, activate: true });
    refs.push(made.object.id, made.publicKeyId);
  }
  const handlers = makeKeyHandlers({ objects: s.store, roots: s.registry, settings: s.store });
  served = OPERATION_NAMES.filter(
    (name) => Object.hasOwn(handlers, name) && name !== 'destroy' && name !== 'revoke' && name !== 'archive' && name !== 'rotate-seal',
  );
});

const anything = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      null,
      undefined,
      true,
      false,
      0,
      -1,
      1.5,
      Number.NaN,
      2 ** 40,
      1e300,
      '',
      'x',
      [],
      {},
      '__proto__',
      'constructor',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 30 }) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom<unknown>(null, 1, 'sign', {}, [], undefined), { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.string({ maxLength: 5 }), fc.constantFrom<unknown>(null, 1, 'x', [], {}), { maxKeys: 3 }) },
);
const bytes = fc.uint8Array({ maxLength: 80 });
const number = fc.constantFrom(0, 1, 2, 12, 16, 32, 1000);

/** Field → what would make sense there; anything else is mixed in. */
const FIELDS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  key: fc.nat(9).map((i) => refs[i % refs.length]),
  from: fc.nat(9).map((i) => refs[i % refs.length]),
  to: fc.nat(9).map((i) => refs[i % refs.length]),
  wrappingKey: fc.nat(9).map((i) => refs[i % refs.length]),
  unwrappingKey: fc.nat(9).map((i) => refs[i % refs.length]),
  version: number,
  spec: fc.constantFrom(...KEY_SPEC_NAMES.filter((n) => !n.startsWith('rsa') && !n.startsWith('slh'))),
  algorithm: fc.constantFrom(...ALGORITHM_NAMES),
  wrapAlgorithm: fc.constantFrom(...ALGORITHM_NAMES),
  kdf: fc.constantFrom(...ALGORITHM_NAMES),
  cipher: fc.constantFrom(...ALGORITHM_NAMES),
  hash: fc.constantFrom(...HASHES),
  mgf1Hash: fc.constantFrom(...HASHES),
  type: fc.constantFrom(...OBJECT_TYPES),
  usage: fc.array(fc.constantFrom(...KEY_USAGES), { maxLength: 3 }),
  format: fc.constantFrom('raw', 'pkcs8', 'spki', 'x509', 'opaque', 'envelope'),
  kind: fc.constantFrom('encrypt', 'decrypt', 'sign', 'verify', 'mac', 'macVerify', 'digest'),
  reason: fc.constantFrom(...REVOCATION_REASONS),
  operation: fc.string(),
  names: fc.array(fc.string({ maxLength: 10 }), { maxLength: 2 }),
  tags: fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 })),
  attributes: fc.dictionary(fc.string({ maxLength: 5 }), anything),
  dates: fc.dictionary(fc.constantFrom('activation', 'processStart', 'protectStop', 'deactivation'), anything),
  usageLimits: fc.record({ unit: anything, total: anything }),
  rotation: fc.record({ everyMs: anything, afterUses: anything }),
  links: fc.array(fc.record({ type: anything, target: anything }), { maxLength: 2 }),
  lease: fc.record({ seconds: anything }),
  publicKey: fc.record({ usage: anything, names: anything, tags: anything }),
  subject: fc.constantFrom('CN=x', 'x', ''),
  subjectAltNames: fc.array(fc.string({ maxLength: 8 }), { maxLength: 2 }),
  encoding: fc.constantFrom('der', 'p1363', 'x'),
};
const BYTES = [
  'plaintext',
  'ciphertext',
  'data',
  'signature',
  'mac',
  'iv',
  'aad',
  'tag',
  'label',
  'context',
  'material',
  'wrapped',
  'salt',
  'info',
  'fixedInput',
  'peerPublicKey',
  'seed',
  'fromAad',
  'toAad',
];
const NUMBERS = [
  'length',
  'bits',
  'tagLength',
  'saltLength',
  'iterations',
  'days',
  'ttlMs',
  'offsetMs',
  'at',
  'pendingMs',
  'limit',
  'offset',
  'revision',
];
const FLAGS = ['activate', 'exportable', 'prehashed', 'ca', 'register', 'countTotal', 'reveal'];
const TEXTS = ['description', 'objectGroup', 'root', 'protection', 'message', 'id', 'cursor', 'name'];

const sensible = (field: string): fc.Arbitrary<unknown> =>
  FIELDS[field] ??
  (BYTES.includes(field) ? bytes : NUMBERS.includes(field) ? number : FLAGS.includes(field) ? fc.boolean() : fc.string({ maxLength: 8 }));
const ALL = [...Object.keys(FIELDS), ...BYTES, ...NUMBERS, ...FLAGS, ...TEXTS];

const request = fc
  .tuple(fc.subarray(ALL), fc.nat(3))
  .chain(([fields, madness]) =>
    fc.record(
      Object.fromEntries(
        ['key', 'wrappingKey', 'unwrappingKey', 'to', 'kind', ...fields].map((f) => [
          f,
          madness === 0 ? fc.oneof({ weight: 5, arbitrary: sensible(f) }, { weight: 1, arbitrary: anything }) : sensible(f),
        ]),
      ),
    ),
  );

test('no request makes a handler fail other than by refusing', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.nat(1000), request, async (pick, body) => {
      const operation = served[pick % served.length] as OperationName;
      let outcome = 'done';
      try {
        await s.alice(operation, body as never);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        outcome = error.fault.code;
        if (outcome === 'internal')
          throw new Error(`${operation}: ${error.message}; ${String((s.problems.at(-1) as { error?: Error })?.error?.stack)}`);
      }
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }),
    { numRuns: Number(process.env['AEGIS_FUZZ_RUNS'] ?? 1000) },
  );
  expect(seen.get('done') ?? 0).toBeGreaterThan(0);
  expect([...seen.keys()].length).toBeGreaterThan(3);
}, 300_000);
