import { generateKeyPairSync } from 'node:crypto';
import { ENUMERATIONS, type Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask, hex, MASK, refusal, registerKey, registerPair, registerSecret } from './cryptography-kit.js';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

// Any combination of Cryptographic Parameters gives an answer or a refusal with a reason of its own: never an internal error, never silence.

let target: KmipTarget;
let client: KmipClient;
const keys: string[] = [];
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
  const mask = Object.values(MASK).reduce((all, bit) => all | bit, 0);
  for (const [algorithm, bytes] of [
    ['AES', 16],
    ['DES3', 24],
    ['ChaCha20', 32],
    ['HMAC_SHA256', 32],
  ] as const)
    keys.push(await registerKey(client, Buffer.from(Array.from({ length: bytes }, (_, index) => index * 7 + 1)), { algorithm, mask }));
  keys.push(await registerSecret(client, hex('00112233445566778899'), mask));
  for (const [algorithm, length, pair] of [
    ['RSA', 2048, generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['EC', 256, generateKeyPairSync('ec', { namedCurve: 'prime256v1' })],
    ['Ed25519', 256, generateKeyPairSync('ed25519')],
  ] as const) {
    const der = {
      pkcs8: new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' })),
      spki: new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' })),
    };
    const made = await registerPair(client, der, { algorithm, length, privateMask: mask, publicMask: mask });
    keys.push(made.privateKey, made.publicKey);
  }
}, 120_000);
afterAll(() => target?.stop());

const names = (enumeration: string): fc.Arbitrary<string> => {
  const row = ENUMERATIONS.find(({ name }) => name === enumeration);
  if (row === undefined) throw new Error(`no ${enumeration}`);
  return fc.constantFrom(...row.values.filter((value) => !('until' in value)).map(({ name }) => name as string));
};
const count = fc.oneof(fc.integer({ min: -1, max: 300 }), fc.constantFrom(0x7fff_ffff, -0x8000_0000, 8, 12, 16, 32, 64, 96, 128));
const small = fc.uint8Array({ maxLength: 40 });
const parameters = fc.record(
  {
    BlockCipherMode: names('BlockCipherMode'),
    PaddingMethod: names('PaddingMethod'),
    HashingAlgorithm: names('HashingAlgorithm'),
    DigitalSignatureAlgorithm: names('DigitalSignatureAlgorithm'),
    CryptographicAlgorithm: names('CryptographicAlgorithm').filter((name) => !/^(ML|SLH|McEliece_|Ed)/.test(name)),
    RandomIV: fc.boolean(),
    IVLength: count,
    TagLength: count,
    FixedFieldLength: count,
    InvocationFieldLength: count,
    CounterLength: count,
    InitialCounterValue: count,
    SaltLength: count,
    MaskGenerator: names('MaskGenerator'),
    MaskGeneratorHashingAlgorithm: names('HashingAlgorithm'),
    PSource: small,
    TrailerField: count,
  },
  { requiredKeys: [], noNullPrototype: true },
);
const request = fc.record(
  {
    operation: fc.constantFrom('Encrypt', 'Decrypt', 'Sign', 'SignatureVerify', 'MAC', 'MACVerify', 'Hash', 'DeriveKey'),
    key: fc.nat(),
    CryptographicParameters: parameters,
    Data: fc.oneof(small, fc.constant(new Uint8Array(48))),
    IVCounterNonce: small,
    SignatureData: small,
    MACData: small,
    DigestedData: small,
    AuthenticatedEncryptionAdditionalData: small,
    AuthenticatedEncryptionTag: small,
    InitIndicator: fc.boolean(),
    FinalIndicator: fc.boolean(),
    DerivationMethod: names('DerivationMethod'),
    Salt: small,
    InitializationVector: small,
    IterationCount: fc.integer({ min: -1, max: 50 }),
  },
  { requiredKeys: ['operation', 'key', 'CryptographicParameters', 'DerivationMethod'], noNullPrototype: true },
);
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  Encrypt: ['Data', 'IVCounterNonce', 'InitIndicator', 'FinalIndicator', 'AuthenticatedEncryptionAdditionalData'],
  Decrypt: [
    'Data',
    'IVCounterNonce',
    'InitIndicator',
    'FinalIndicator',
    'AuthenticatedEncryptionAdditionalData',
    'AuthenticatedEncryptionTag',
  ],
  Sign: ['Data', 'DigestedData', 'InitIndicator', 'FinalIndicator'],
  SignatureVerify: ['Data', 'DigestedData', 'SignatureData', 'InitIndicator', 'FinalIndicator'],
  MAC: ['Data', 'InitIndicator', 'FinalIndicator'],
  MACVerify: ['Data', 'MACData', 'InitIndicator', 'FinalIndicator'],
  Hash: ['Data', 'FinalIndicator'],
};
const payloadOf = (one: Fields): Fields => {
  const operation = one['operation'] as string;
  const UniqueIdentifier = keys[(one['key'] as number) % keys.length] as string;
  const pick = (fields: readonly string[]): Fields =>
    Object.fromEntries(fields.flatMap((field) => (one[field] === undefined ? [] : [[field, one[field]]])));
  const { CryptographicParameters } = one;
  if (operation !== 'DeriveKey')
    return { ...(operation === 'Hash' ? {} : { UniqueIdentifier }), CryptographicParameters, ...pick(FIELDS[operation] ?? []) };
  return {
    ObjectType: 'SymmetricKey',
    UniqueIdentifier: [UniqueIdentifier],
    DerivationMethod: one['DerivationMethod'],
    DerivationParameters: {
      CryptographicParameters,
      ...pick(['Salt', 'InitializationVector', 'IterationCount']),
      ...(one['Data'] === undefined ? {} : { DerivationData: one['Data'] }),
    },
    Attributes: [
      { name: 'CryptographicAlgorithm', value: 'AES' },
      { name: 'CryptographicLength', value: 128 },
      { name: 'CryptographicUsageMask', value: 4 },
    ],
  };
};

test('any parameters: an answer, or a reason', async () => {
  const reasons = new Map<unknown, number>();
  await fc.assert(
    fc.asyncProperty(request, async (one) => {
      const payload = payloadOf(one as Fields);
      const reason = await refusal(client, one.operation, payload);
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      expect(['InternalServerError', undefined]).not.toContain(reason);
    }),
    { numRuns: 600 },
  );
  // It did reach the ciphers, and the server is well.
  expect(reasons.get('no refusal') ?? 0).toBeGreaterThan(5);
  expect((await ask(client, 'RNGRetrieve', { DataLength: 8 }))['Data']).toHaveLength(8);
}, 120_000);
