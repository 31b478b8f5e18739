// CPU of the guard without the operation: no-op identity, policy, store, handler and journal. Target: ≤ 30 µs a call.
// Run: npm run build && [AEGIS_BENCH_CALLS=n] node test/bench/guard.mjs
import { OPERATION_NAMES } from '../../dist/domain/index.js';
import { makeGuard } from '../../dist/guard/guard.js';
import { atMost, showFigure } from './figure.mjs';

const CALLS = Number(process.env.AEGIS_BENCH_CALLS ?? 100_000);
const principal = {
  kind: 'human',
  id: 'p1',
  tenant: 'default',
  name: 'alice',
  roles: ['operator'],
  tags: {},
  disabled: false,
  createdAt: 0,
  revision: 1,
};
const authentication = { method: 'token', credentialId: 't1' };
const object = {
  id: '11111111-1111-4111-8111-111111111111',
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
  names: ['invoice'],
  tags: { env: 'prod' },
  dates: { created: 0, lastChange: 0 },
  uses: 0,
  links: [],
  owner: 'p1',
  attributes: {},
  revision: 1,
};
const loaded = { object, versions: [] };
const identified = { principal, authentication };
const planned = { response: {}, changes: [] };
const decision = { effect: 'allow', statement: 'd/s', reason: '' };

export const measureGuard = async (calls = CALLS) => {
  let records = 0;
  const guard = makeGuard({
    identifier: { identify: async () => identified },
    policy: { decide: () => decision, limit: () => undefined },
    objects: { load: async () => loaded },
    handlers: Object.fromEntries(OPERATION_NAMES.map((name) => [name, async () => planned])),
    journal: {
      intent: async () => {},
      commit: async () => {
        records += 1;
      },
    },
    detectors: [],
    responders: [],
    clock: Date.now,
    serving: () => undefined,
    onOutcome: () => {},
  });
  const request = { key: 'invoice', data: new Uint8Array(32), algorithm: 'ecdsa-sha256' };
  const { signal } = new AbortController();
  const call = (i) =>
    guard('sign', request, { plane: 'rest', credential: { kind: 'bearer', token: 'x' }, requestId: `r${i}`, source: '10.0.0.1', signal });
  const repeat = async (n) => {
    for (let i = 0; i < n; i += 1) {
      const answer = await call(i);
      if (!answer.ok) throw new Error(answer.fault.message);
    }
  };
  await repeat(Math.min(20_000, calls));
  records = 0;
  const before = process.cpuUsage();
  await repeat(calls);
  const used = process.cpuUsage(before);
  if (records !== calls) throw new Error(`${records} records of ${calls} calls`);
  return (used.user + used.system) / calls;
};

export const run = async () => [
  atMost('Guard without the operation', await measureGuard(), 30, 'µs CPU a call', 'sign: intent, abort signal, no-op parts'),
];

if (import.meta.url === `file://${process.argv[1]}`) for (const figure of await run()) console.log(showFigure(figure));
