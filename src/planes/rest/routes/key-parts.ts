import type { Static, StaticDecode, TSchema } from '@sinclair/typebox';
import type { ObjectView, OperationName } from '../../../domain/index.js';
import { toETag } from '../etag.js';
import { closed } from '../schema-kinds.js';
import type { Key, KeyWire } from '../shapes.js';
import { keyView } from '../views.js';
import type { OperationCall, Route, RouteInput } from './route.js';

/** What the rows about keys share. */
export const emptyBody = closed({});

export const keyHeaders = (view: ObjectView): Readonly<Record<string, string>> => ({ ETag: toETag(view.object.revision) });
export const keyLocation = (view: ObjectView): Readonly<Record<string, string>> => ({
  ETag: toETag(view.object.revision),
  Location: `/v1/keys/${view.object.id}`,
});

type MultiFacts<B extends TSchema> = Omit<Route, 'operations' | 'params' | 'query' | 'body' | 'success' | 'answer' | 'toCall'> & {
  readonly body: B;
};

/** A row whose operation depends on its body; every one of them answers a key. */
export const multiCallRoute = <B extends TSchema>(
  facts: MultiFacts<B>,
  operations: readonly OperationName[],
  response: typeof Key,
  toCall: (input: RouteInput<unknown, unknown, StaticDecode<B>>) => OperationCall,
): Route => ({
  ...facts,
  operations,
  params: closed({}),
  query: closed({}),
  success: 201,
  answer: {
    kind: 'json',
    schema: response,
    fromResponse: ((view: ObjectView): Static<typeof Key> => keyView(view)) as (response: never, input: RouteInput) => unknown,
    headers: keyLocation as (response: never) => Readonly<Record<string, string>>,
  },
  toCall: toCall as (input: RouteInput) => OperationCall,
});

export const KEY_EXAMPLE: KeyWire = {
  id: '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a10',
  name: 'invoice',
  names: ['invoice'],
  type: 'private-key',
  spec: 'ec-p256',
  state: 'active',
  archived: false,
  usage: ['sign'],
  exportable: false,
  root: 'software',
  protection: 'software',
  currentVersion: 1,
  tags: { team: 'payments' },
  tenant: 'default',
  owner: '018f2f4e-0000-7000-8000-000000000001',
  createdAt: '2026-01-31T12:00:00.000Z',
  changedAt: '2026-01-31T12:00:00.000Z',
  activationDate: '2026-01-31T12:00:00.000Z',
  uses: 0,
  links: [{ type: 'public-key', target: '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a11' }],
  attributes: {},
  publicKeyId: '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a11',
  publicKey:
    '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYJ2m3s0h1u3qkzYy0QxXqk1mGm1i\nq3p5l8k9o1Q8w5b7n4c2v6x0z9a8s7d6f5g4h3j2k1l0p9o8i7u6y5t4r3e2w1qQ==\n-----END PUBLIC KEY-----\n',
  versions: [
    {
      version: 1,
      state: 'current',
      root: 'software',
      bits: 256,
      createdAt: '2026-01-31T12:00:00.000Z',
      provenance: { local: true, alwaysSensitive: true, neverExtractable: true },
    },
  ],
  revision: 1,
};
