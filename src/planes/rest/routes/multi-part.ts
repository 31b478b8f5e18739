import { Type } from '@sinclair/typebox';
import type { MultiPartKind } from '../../../domain/index.js';
import { bytes, bytesOut, closed, int, toBase64, word } from '../schema-kinds.js';
import { AlgorithmOut, algorithm, Hash, Id, KeyRef, KeyVersionNumber } from '../shapes.js';
import { given } from '../views.js';
import { emptyRoute, jsonRoute, type Route } from './route.js';

/** Multi-part operations, random numbers and digests. */

const KINDS = ['encrypt', 'decrypt', 'sign', 'verify', 'mac', 'mac-verify', 'digest'] as const;
const kindOf = (kind: (typeof KINDS)[number]): MultiPartKind => (kind === 'mac-verify' ? 'macVerify' : kind);

const ByOperation = closed({ operation: Id });
const rootField = Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'Root of trust. Default by configuration.' }));
/** Most random bytes of one call. */
const RANDOM_MAX_BYTES = 1_048_576;
const RandomOut = Type.Object({ bytes: bytesOut('Random bytes from the root of trust.') }, { title: 'Random' });
const length = int(1, RANDOM_MAX_BYTES, { description: 'Bytes.' });

export const MULTI_PART_ROUTES: readonly Route[] = [
  jsonRoute({
    id: 'begin-operation',
    method: 'POST',
    path: '/v1/operations',
    group: 'multi-part',
    operation: 'begin-operation',
    summary: 'Begin a multi-part operation',
    description: 'For data larger than one request. Continue with update, end with finish; it dies with the root’s host process.',
    body: closed({
      kind: word(KINDS, { description: 'What to do.' }),
      key: Type.Optional(KeyRef),
      algorithm: Type.Optional(algorithm('Algorithm; default by the key.', 'cipher', 'signature', 'mac')),
      hash: Type.Optional(Hash),
      iv: Type.Optional(bytes('IV or nonce; generated when absent (encrypt).')),
      aad: Type.Optional(bytes('Additional authenticated data.')),
      tagLength: Type.Optional(int(4, 16, { description: 'Authentication tag length in bytes.' })),
      label: Type.Optional(bytes('OAEP label.')),
      mgf1Hash: Type.Optional(Hash),
      prehashed: Type.Optional(Type.Boolean({ description: 'The data is already the digest.' })),
      saltLength: Type.Optional(int(0, 512, { description: 'PSS salt length in bytes.' })),
      encoding: Type.Optional(word(['der', 'p1363'] as const)),
      context: Type.Optional(bytes('Context of Ed448, ML-DSA, SLH-DSA.')),
      version: Type.Optional(KeyVersionNumber),
    }),
    response: Type.Object(
      {
        operation: Type.String({ description: 'Names the operation in update, finish and cancel.' }),
        iv: Type.Optional(bytesOut('IV that was generated.')),
        algorithm: Type.Optional(AlgorithmOut),
        keyId: Type.Optional(Type.String()),
        keyVersion: Type.Optional(Type.Integer()),
      },
      { title: 'OperationBegun' },
    ),
    success: 201,
    toRequest: ({ body: { kind, ...rest } }) => ({ ...rest, kind: kindOf(kind) }),
    fromResponse: (r) => ({
      operation: r.operation,
      ...given('iv', r.iv === undefined ? undefined : toBase64(r.iv)),
      ...given('algorithm', r.algorithm as string | undefined),
      ...given('keyId', r.objectId),
      ...given('keyVersion', r.version),
    }),
    headers: (r) => ({ Location: `/v1/operations/${encodeURIComponent(r.operation)}` }),
    example: { body: { kind: 'sign', key: 'invoice', algorithm: 'ecdsa-sha256' } },
  }),
  jsonRoute({
    id: 'update-operation',
    method: 'POST',
    path: '/v1/operations/{operation}/update',
    group: 'multi-part',
    operation: 'update-operation',
    summary: 'Give it the next part',
    params: ByOperation,
    body: closed({ data: bytes('The next part.') }),
    response: Type.Object({ output: bytesOut('What is ready of the output.') }, { title: 'OperationUpdated' }),
    success: 200,
    toRequest: ({ params, body }) => ({ operation: params.operation, data: body.data }),
    fromResponse: (r) => ({ output: toBase64(r.output) }),
    example: { params: { operation: 'op-id' }, body: { data: 'aGVsbG8=' } },
  }),
  jsonRoute({
    id: 'finish-operation',
    method: 'POST',
    path: '/v1/operations/{operation}/finish',
    group: 'multi-part',
    operation: 'finish-operation',
    summary: 'Finish it',
    params: ByOperation,
    body: closed({ data: Type.Optional(bytes('The last part.')), signature: Type.Optional(bytes('Signature, MAC or tag to check.')) }),
    bodyOptional: true,
    response: Type.Object(
      {
        output: bytesOut('The rest of the output: ciphertext, plaintext, signature, MAC or digest.'),
        tag: Type.Optional(bytesOut('Authentication tag.')),
        valid: Type.Optional(Type.Boolean({ description: 'Outcome of verify and mac-verify.' })),
      },
      { title: 'OperationFinished' },
    ),
    success: 200,
    toRequest: ({ params, body }) => ({ operation: params.operation, ...given('data', body.data), ...given('signature', body.signature) }),
    fromResponse: (r) => ({
      output: toBase64(r.output),
      ...given('tag', r.tag === undefined ? undefined : toBase64(r.tag)),
      ...given('valid', r.valid),
    }),
    example: { params: { operation: 'op-id' }, body: {} },
  }),
  emptyRoute({
    id: 'cancel-operation',
    method: 'DELETE',
    path: '/v1/operations/{operation}',
    group: 'multi-part',
    operation: 'cancel-operation',
    summary: 'Cancel it',
    params: ByOperation,
    toRequest: ({ params }) => ({ operation: params.operation }),
    example: { params: { operation: 'op-id' } },
  }),
  jsonRoute({
    id: 'get-random',
    method: 'GET',
    path: '/v1/random',
    group: 'random',
    operation: 'random',
    summary: 'Random bytes',
    query: closed({ length: Type.Optional({ ...length, description: 'Bytes. Default 32.' } as typeof length), root: rootField }),
    response: RandomOut,
    success: 200,
    toRequest: ({ query }) => ({ length: query.length ?? 32, ...given('root', query.root) }),
    fromResponse: (r) => ({ bytes: toBase64(r.bytes) }),
    example: { query: { length: '32' } },
    cli: 'aegis random 32',
  }),
  jsonRoute({
    id: 'random',
    method: 'POST',
    path: '/v1/random',
    group: 'random',
    operation: 'random',
    summary: 'Random bytes',
    body: closed({ length, root: rootField }),
    response: RandomOut,
    success: 200,
    toRequest: ({ body }) => ({ length: body.length, ...given('root', body.root) }),
    fromResponse: (r) => ({ bytes: toBase64(r.bytes) }),
    example: { body: { length: 32 } },
    cli: 'aegis random 32',
  }),
  jsonRoute({
    id: 'seed-random',
    method: 'POST',
    path: '/v1/random/seed',
    group: 'random',
    operation: 'seed-random',
    summary: 'Add entropy to the root’s generator',
    body: closed({ seed: bytes('Seed.'), root: rootField }),
    response: Type.Object({ accepted: Type.Integer({ description: 'Bytes the root took.' }) }, { title: 'Seeded' }),
    success: 200,
    toRequest: ({ body }) => ({ seed: body.seed, ...given('root', body.root) }),
    fromResponse: (r) => ({ accepted: r.accepted }),
    example: { body: { seed: 'c2VlZA==' } },
  }),
  jsonRoute({
    id: 'digest',
    method: 'POST',
    path: '/v1/digest',
    group: 'random',
    operation: 'digest',
    summary: 'Digest of a message',
    body: closed({ hash: Hash, message: bytes('The message.') }),
    response: Type.Object({ digest: bytesOut('The digest.') }, { title: 'Digest' }),
    success: 200,
    toRequest: ({ body }) => ({ hash: body.hash, data: body.message }),
    fromResponse: (r) => ({ digest: toBase64(r.digest) }),
    example: { body: { hash: 'sha256', message: 'aGVsbG8=' }, response: { digest: 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=' } },
  }),
];
