import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RootCallName, RootOfTrust, RootRequest } from '../src/contract.js';
import { ALL_USAGES } from '../src/contract-suite/session.js';
import { RootFault } from '../src/fault.js';
import { openSoftwareRoot } from '../src/software/index.js';
import { ALGORITHM_NAMES, ALGORITHMS, type AlgorithmKind, HASHES, KEY_SPECS, type KeySpec } from '../src/vocabulary/index.js';

/**
 * Whatever a caller sends is answered or refused by name: never `internal`, never another exception, never a dead
 * process. AEGIS_FUZZ_SEED repeats a run, AEGIS_FUZZ_ROUNDS makes it longer.
 */
const seed = Number(process.env['AEGIS_FUZZ_SEED'] ?? Date.now() % 0xffff_ffff);
const rounds = Number(process.env['AEGIS_FUZZ_ROUNDS'] ?? 15_000);

/** mulberry32 */
const makeRandom = (start: number): ((below: number) => number) => {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
};
const random = makeRandom(seed);
const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
const SIZES = [0, 1, 4, 8, 11, 12, 15, 16, 17, 20, 24, 28, 32, 48, 64, 65, 128, 255, 256, 257, 384, 1000];
const bytes = (): Buffer => Buffer.from(Array.from({ length: pick(SIZES) }, () => random(256)));
const maybe = (name: string, value: () => unknown, oneIn: number): object => (random(oneIn) === 0 ? { [name]: value() } : {});

const directory = mkdtempSync(join(tmpdir(), 'aegis-fuzz-'));
interface Key {
  readonly reference: Uint8Array;
  readonly binding: { readonly spec: KeySpec };
  readonly publicKey?: Uint8Array;
}
let root: RootOfTrust;
let specs: readonly KeySpec[] = [];
const keys: Key[] = [];
const operations: string[] = [];

beforeAll(async () => {
  root = await openSoftwareRoot({ id: 'f', kind: 'software', seal: { kind: 'key-file', path: join(directory, 'seal.key'), create: true } });
  const description = await root.describe();
  specs = description.specs.map(({ spec }) => spec);
  for (const { spec, generate } of description.specs) {
    if (!generate || KEY_SPECS[spec].bits > 2_048 || spec.startsWith('slh')) continue;
    for (const exportable of [true, false]) {
      const binding = { objectId: `o${keys.length}`, version: 1, tenant: 't', spec, usage: ALL_USAGES, exportable };
      const pair = KEY_SPECS[spec].shape === 'pair';
      const created = pair ? await root.call('generateKeyPair', { binding }) : await root.call('generateKey', { binding });
      keys.push({ reference: created.reference, binding, ...(created.publicKey === undefined ? {} : { publicKey: created.publicKey }) });
    }
  }
});
afterAll(async () => {
  await root.close();
  rmSync(directory, { recursive: true, force: true });
});

const anyKey = (): unknown => {
  const { reference, binding, publicKey } = pick(keys);
  return publicKey !== undefined && random(6) === 0 ? { publicKey, spec: binding.spec } : { reference, binding };
};
const familyOf = (key: unknown): string =>
  KEY_SPECS[(key as Partial<Key>).binding?.spec ?? (key as { readonly spec: KeySpec }).spec].family;
const algorithmFor = (key: unknown, kind: AlgorithmKind): string => {
  const fitting = ALGORITHM_NAMES.filter(
    (name) => ALGORITHMS[name].kind === kind && (ALGORITHMS[name].families as readonly string[]).includes(familyOf(key)),
  );
  return fitting.length > 0 && random(15) > 0 ? pick(fitting) : pick(ALGORITHM_NAMES);
};
const parameters = (): object => ({
  ...maybe('iv', bytes, 2),
  ...maybe('aad', bytes, 4),
  ...maybe('tagLength', () => random(20), 8),
  ...maybe('label', bytes, 8),
  ...maybe('mgf1Hash', () => pick(HASHES), 8),
  ...maybe('prehashed', () => true, 3),
  ...maybe('saltLength', () => random(300), 8),
  ...maybe('encoding', () => pick(['der', 'p1363']), 4),
  ...maybe('context', bytes, 12),
  ...maybe('salt', bytes, 4),
  ...maybe('info', bytes, 4),
  ...maybe('iterations', () => pick([1, 2, 100]), 3),
  ...maybe('fixedInput', bytes, 4),
  ...maybe('data', bytes, 2),
  ...maybe('hash', () => pick(HASHES), 3),
  ...maybe('cipher', () => pick(ALGORITHM_NAMES), 3),
});
const newKey = (): object => ({
  binding: { objectId: 'n', version: 1, tenant: 't', spec: pick(specs), usage: ALL_USAGES, exportable: true },
  ...maybe('length', () => pick([1, 16, 24, 32, 48, 64, 100, 8_192]), 2),
});
const on = (name: string, kind: AlgorithmKind, more: () => object) => (): object => {
  const key = anyKey();
  return { [name]: key, algorithm: algorithmFor(key, kind), ...parameters(), ...more() };
};
const KINDS: Readonly<Record<string, AlgorithmKind>> = {
  encrypt: 'cipher',
  decrypt: 'cipher',
  sign: 'signature',
  verify: 'signature',
  mac: 'mac',
  macVerify: 'mac',
  digest: 'mac',
};
const encrypt = on('key', 'cipher', () => ({ plaintext: bytes() }));
const decrypt = on('key', 'cipher', () => ({ ciphertext: bytes(), ...maybe('tag', bytes, 2) }));

const REQUESTS: Readonly<Partial<Record<RootCallName, () => object>>> = {
  encrypt,
  decrypt,
  sign: on('key', 'signature', () => ({ data: bytes() })),
  verify: on('key', 'signature', () => ({ data: bytes(), signature: bytes() })),
  mac: on('key', 'mac', () => ({ data: bytes() })),
  macVerify: on('key', 'mac', () => ({ data: bytes(), mac: bytes() })),
  wrapKey: on('wrappingKey', 'wrap', () => ({ key: anyKey() })),
  unwrapKey: on('unwrappingKey', 'wrap', () => ({ wrapped: bytes(), format: pick(['raw', 'pkcs8', 'spki']), newKey: newKey() })),
  derive: on('key', 'derive', () => ({ newKey: newKey() })),
  agree: on('key', 'agree', () => ({ peerPublicKey: pick(keys).publicKey ?? bytes(), newKey: newKey() })),
  generateDataKey: () => ({ key: anyKey(), length: pick([0, 1, 16, 4_096, 5_000]), reveal: random(2) === 0, ...maybe('aad', bytes, 3) }),
  reEncrypt: () => ({ from: decrypt(), to: encrypt() }),
  exportKey: () => ({ key: anyKey() }),
  evidence: () => ({ key: anyKey() }),
  rewrapReference: () => ({ key: anyKey() }),
  destroyKey: () => ({ key: anyKey() }),
  generateKey: () => ({ ...newKey(), ...maybe('bits', () => pick([8, 112, 128, 129, 256, 4_096]), 2) }),
  importKey: () => ({
    ...newKey(),
    format: pick(['raw', 'pkcs8', 'spki']),
    material: random(2) === 0 ? bytes() : (pick(keys).publicKey ?? bytes()),
  }),
  random: () => ({ length: random(100) }),
  digest: () => ({ hash: pick(HASHES), data: bytes() }),
  beginOperation: () => {
    const kind = pick(Object.keys(KINDS));
    return { kind, ...on('key', KINDS[kind] ?? 'mac', () => ({}))() };
  },
  updateOperation: () => ({ operation: operations.length > 0 ? pick(operations) : 'none', data: bytes() }),
  finishOperation: () => ({
    operation: operations.length > 20 ? operations.shift() : 'none',
    ...maybe('data', bytes, 2),
    ...maybe('signature', bytes, 2),
  }),
};

const WEIRD: readonly unknown[] = [
  undefined,
  null,
  0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 31,
  2 ** 53,
  'x',
  '',
  true,
  {},
  [],
  10n,
  Symbol('s'),
  () => 1,
  new Uint8Array(0),
  new Float64Array(4),
  new DataView(new ArrayBuffer(8)),
  new Date(0),
  Object.create(null),
  new Proxy({}, {}),
];
/** One field, at some depth, becomes something it should not be. */
const corrupt = (request: Record<string, unknown>): void => {
  const field = pick(Object.keys(request));
  const value = request[field];
  if (random(3) > 0 || typeof value !== 'object' || value === null || value instanceof Uint8Array) {
    request[field] = pick(WEIRD);
    return;
  }
  const copy = { ...value } as Record<string, unknown>;
  request[field] = copy;
  if (Object.keys(copy).length > 0) corrupt(copy);
};

describe(`any request at all (seed ${seed})`, () => {
  test(`${rounds} requests, a third of them malformed`, async () => {
    const outcomes = new Map<string, number>();
    for (let round = 0; round < rounds; round += 1) {
      const call = pick(Object.keys(REQUESTS) as RootCallName[]);
      const request = (REQUESTS[call]?.() ?? {}) as Record<string, unknown>;
      if (random(3) === 0 && Object.keys(request).length > 0) corrupt(request);
      const outcome = await root.call(call, request as unknown as RootRequest<RootCallName>).then(
        (answer) => {
          if ('operation' in answer) operations.push(String(answer.operation));
          return 'answered';
        },
        (error: unknown) =>
          error instanceof RootFault && error.code !== 'internal'
            ? error.code
            : `${call} ${String(request['algorithm'])}: ${String(error)}`,
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    const CODES = [
      'answered',
      'unsupported',
      'invalid-argument',
      'reference-invalid',
      'wrong-root',
      'not-exportable',
      'decryption-failed',
      'operation-unknown',
      'limit-exceeded',
      'usage-denied',
    ];
    expect([...outcomes.keys()].filter((outcome) => !CODES.includes(outcome))).toEqual([]);
    expect(outcomes.get('answered') ?? 0).toBeGreaterThan(rounds / 20);
  });
});
