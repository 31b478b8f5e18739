// One decision among 10,000 statements. Target: ≤ 10 µs of CPU.
// Run: npm run build && [AEGIS_BENCH_CALLS=n] node test/bench/policy.mjs
import { makePolicyEngine } from '../../dist/policy/engine.js';
import { atMost, showFigure } from './figure.mjs';

const DECISIONS = Number(process.env.AEGIS_BENCH_CALLS ?? 100_000);
const STATEMENTS = 10_000;

/** How 10,000 statements may be spread; each is decided among all of them. */
const SHAPES = {
  'one statement per user and key': (i) => ({ principals: [`user:u${i}`], actions: ['keys:sign'], resources: [`key:k${i}`] }),
  'one role, many keys': (i) => ({ principals: ['role:user'], actions: ['keys:sign'], resources: [`key:k${i}`] }),
  'one role, many prefixes': (i) => ({ principals: ['role:user'], actions: ['keys:*'], resources: [`key:k${i}-*`] }),
  'tags against tags': (i) => ({ principals: [`tag:team=t${i}`], actions: ['*'], resources: [`tag:team=t${i}`] }),
  'with a condition each': (i) => ({
    principals: [`user:u${i}`],
    actions: ['keys:sign'],
    resources: [`key:k${i}`],
    when: `request.algorithm == "ecdsa-sha256" && source.startsWith("10.")`,
  }),
  'deny, step-up and allow, all with conditions': (i) => ({
    effect: ['deny', 'step-up', 'allow'][i % 3],
    principals: [`user:u${Math.floor(i / 3)}`],
    actions: ['keys:sign'],
    resources: [`key:k${Math.floor(i / 3)}`],
    when: i % 3 === 2 ? 'true' : 'source.startsWith("192.168.")',
  }),
};

const questionAt = (i) => ({
  principal: {
    kind: 'human',
    id: `id${i}`,
    tenant: 'default',
    name: `u${i}`,
    roles: ['user'],
    tags: { team: `t${i}`, site: 'x' },
    disabled: false,
    createdAt: 0,
    revision: 1,
  },
  authentication: { method: 'token', credentialId: 't' },
  operation: 'sign',
  action: 'keys:sign',
  tenant: 'default',
  plane: 'rest',
  source: '10.1.2.3',
  now: 1_800_000_000_000,
  object: {
    id: `object-${i}`,
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
    names: [`k${i}`],
    tags: { team: `t${i}`, env: 'prod' },
    dates: { created: 0, lastChange: 0 },
    uses: 0,
    links: [],
    owner: 'o',
    attributes: {},
    revision: 1,
  },
  request: { algorithm: 'ecdsa-sha256', prehashed: false },
});

export const measurePolicy = async (shape, decisions = DECISIONS) => {
  const statements = Array.from({ length: STATEMENTS }, (_, i) => ({ id: `s${i}`, effect: 'allow', ...SHAPES[shape](i) }));
  const source = JSON.stringify({ version: 1, statements }).slice(0);
  const half = Math.ceil(statements.length / 2);
  const part = (from, to) => JSON.stringify({ version: 1, statements: statements.slice(from, to) });
  const documents = source.length < 1_000_000 ? [source] : [part(0, half), part(half, statements.length)];
  const store = {
    active: async () =>
      documents.map((text, i) => ({
        tenant: 'default',
        name: `d${i}`,
        version: 1,
        source: text,
        mode: 'enforce',
        active: true,
        createdAt: 0,
        createdBy: '',
      })),
    history: async () => ({ items: [] }),
  };
  const loadedAt = performance.now();
  const engine = await makePolicyEngine({ store, clock: () => 0 });
  const loadMs = performance.now() - loadedAt;
  const status = engine.status();
  if (status.problem !== undefined) throw new Error(status.problem);
  // Fresh request and object each time, as in real calls; principals come out of a cache.
  const questions = Array.from({ length: 2000 }, (_, i) => questionAt(i));
  const repeat = (n) => {
    let allowed = 0;
    for (let i = 0; i < n; i += 1) {
      const question = { ...questions[i % questions.length] };
      const decision = engine.decide(question);
      if (engine.limit(question, decision) === undefined && decision.effect === 'allow') allowed += 1;
    }
    return allowed;
  };
  repeat(20_000);
  const before = process.cpuUsage();
  repeat(decisions);
  const used = process.cpuUsage(before);
  await engine.close();
  return { us: (used.user + used.system) / decisions, loadMs, statements: status.statements };
};

export const run = async () => {
  const figures = [];
  for (const shape of Object.keys(SHAPES)) {
    const { us, loadMs, statements } = await measurePolicy(shape);
    const detail = `${statements} statements, loaded in ${Math.round(loadMs)} ms`;
    figures.push(atMost(`Policy decision and limits, ${shape}`, us, 10, 'µs CPU', detail));
  }
  return figures;
};

if (import.meta.url === `file://${process.argv[1]}`) for (const figure of await run()) console.log(showFigure(figure));
