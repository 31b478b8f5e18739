import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACTIONS } from '../../src/domain/index.js';
import { compilePolicy } from '../../src/policy/compile.js';
import { MAX_DOCUMENT_BYTES, MAX_STATEMENTS, parsePolicy } from '../../src/policy/document.js';
import { document } from './fixture.js';

const base = { id: 'a', effect: 'allow', principals: ['*'], actions: ['keys:sign'], resources: ['*'] };
const problemsOf = async (source: string): Promise<string[]> =>
  (await compilePolicy('d', source)).problems.map((p) => `${p.line}:${p.column ?? '-'} ${p.path} ${p.reason}`);
const problemsWith = (over: object): Promise<string[]> => problemsOf(document({ ...base, ...over }));

describe('a policy document', () => {
  it('is YAML or JSON', async () => {
    expect(await problemsOf(document(base))).toEqual([]);
    expect(
      await problemsOf(`# comment
version: 1
statements:
  - id: sign-invoices
    effect: allow
    description: The billing service signs.
    principals: ["role:operator", "user:alice", "service:*", "id:0e1f", "tag:team=payments", "kind:agent", "parent:alice", "*"]
    actions: ["keys:sign", "keys:*", "*:read", "*"]
    resources: ["key:*", "key:invoice", "key:inv-*", "id:0e1f", "tag:env=prod", "tag:env=*", "spec:ec-*", "spec:aes-256", "root:softhsm", "root:*", "tenant", "*"]
    when: 'request.algorithm == "ecdsa-sha256" && source.startsWith("10.")'
    limits: [{ rate: 100/min, per: principal }, { quota: 10000/day, per: [key, action] }, { rate: 5/s }]
`),
    ).toEqual([]);
  });

  it('names line, column, place and reason of every problem at once', async () => {
    const problems = await problemsOf(`version: 1
statements:
  - id: one
    effect: permit
    principals: ["role:king", "bob"]
    actions: ["keys:sing"]
    resources: ["key:a*b"]
  - id: one
    effect: allow
    principal: ["*"]
    actions: []
    resources: ["*"]
    when: source.startsWith(
    limits: [{ rate: lots }]
`);
    expect(problems).toEqual([
      expect.stringMatching(/^4:13 statements\.0\.effect must be allow, deny or step-up$/),
      expect.stringMatching(/^5:18 statements\.0\.principals\.0 .*roles admin, operator, auditor, user/),
      expect.stringMatching(/^5:31 statements\.0\.principals\.1 `bob` must be one of/),
      expect.stringMatching(/^6:15 statements\.0\.actions\.0 `keys:sing` is not an action; did you mean `keys:sign`\?$/),
      expect.stringMatching(/^7:17 statements\.0\.resources\.0 .*`\*` at the end only/),
      expect.stringMatching(/^10:5 statements\.1\.principal unknown key `principal`; did you mean `principals`\?$/),
      expect.stringMatching(/^8:9 statements\.1\.id `one` is the id of an earlier statement$/),
      expect.stringMatching(/^8:5 statements\.1 lacks `principals`$/),
      expect.stringMatching(/^11:14 statements\.1\.actions is empty/),
      expect.stringMatching(/^14:22 statements\.1\.limits\.0\.rate `lots` must read COUNT\/UNIT/),
    ]);
  });

  it('places a broken condition inside the document', async () => {
    const [quoted] = await problemsOf(`statements:
  - id: a
    effect: deny
    principals: ["*"]
    actions: ["*"]
    resources: ["*"]
    when: 'source == "x" && sauce == "y"'
`);
    expect(quoted).toBe('7:29 statements.0.when the condition knows no `sauce`; did you mean `source`?');
    const [block] = await problemsOf(`statements:
  - id: a
    effect: deny
    principals: ["*"]
    actions: ["*"]
    resources: ["*"]
    when: |
      source == "x"
      && nofunction(source)
`);
    expect(block).toMatch(/^9:\d+ statements\.0\.when the condition knows no function `nofunction`$/);
  });

  it('knows exactly the actions of the operations table', async () => {
    for (const action of ACTIONS) expect(await problemsWith({ actions: [action] }), action).toEqual([]);
    for (const action of ['keys', 'keys:', ':sign', 'key:sign', 'keys:s*', '*:*', 'nope:*', '*:nope', 'keys:sign ', 'KEYS:SIGN', ''])
      expect(await problemsWith({ actions: [action] }), action).toHaveLength(1);
  });

  it('refuses what could mean two things', async () => {
    for (const over of [
      { extra: 1 },
      { id: '' },
      { id: 'a b' },
      { id: 'x'.repeat(200) },
      { id: 5 },
      { effect: 'ALLOW' },
      { effect: null },
      { principals: 'role:admin' },
      { principals: ['role:'] },
      { principals: ['user:al*'] },
      { principals: ['id:*'] },
      { principals: ['kind:robot'] },
      { principals: ['tag:team'] },
      { principals: ['tag:=x'] },
      { principals: ['tag:te*=x'] },
      { principals: ['system:scheduler'] },
      { principals: ['user:a\nb'] },
      { resources: ['key:'] },
      { resources: ['key:**'] },
      { resources: ['key:a*b*'] },
      { resources: ['id:a*'] },
      { resources: ['spec:ec-p257'] },
      { resources: ['spec:zz*'] },
      { resources: ['root:s*'] },
      { resources: ['invoice'] },
      { when: '' },
      { when: true },
      { when: 'x'.repeat(3000) },
      { limits: { rate: '1/s' } },
      { limits: [] },
      { limits: [{}] },
      { limits: [{ rate: '1/s', quota: '1/day' }] },
      { limits: [{ rate: '0/s' }] },
      { limits: [{ rate: '-1/s' }] },
      { limits: [{ rate: '1.5/s' }] },
      { limits: [{ rate: '1/fortnight' }] },
      { limits: [{ rate: '1/constructor' }] },
      { limits: [{ rate: 100 }] },
      { limits: [{ rate: '1/s', per: 'galaxy' }] },
      { limits: [{ rate: '1/s', per: [] }] },
      { limits: [{ rate: '1/s', burst: 3 }] },
      { limits: [{ quota: '9999999999/day' }] },
      { effect: 'deny', limits: [{ rate: '1/s' }] },
    ]) {
      expect(await problemsWith(over), JSON.stringify(over)).not.toEqual([]);
    }
  });

  it('refuses anything but a mapping with statements', async () => {
    for (const source of [
      '',
      'null',
      '[]',
      '5',
      '"x"',
      '{}',
      'statements: {}',
      'statements: 5',
      'version: 2\nstatements: []',
      'version: "1"\nstatements: []',
      'statements: []\nstatements: []',
      'statements: [5]',
      '--- \nstatements: []\n---\nstatements: []',
      '{"statements": [}',
      'statements: [ &a {id: x}, *a ]',
      'a: &x 1\nstatements: []',
      'statements: !!set {a}',
      'statements: []\n<<: {version: 1}',
      '\u0000',
      '\ufffe',
    ]) {
      expect((await problemsOf(source)).length, JSON.stringify(source)).toBeGreaterThan(0);
    }
    expect(await problemsOf('statements: []')).toEqual([]);
  });

  it('is bounded in size, statements and nesting', async () => {
    expect(await problemsOf(' '.repeat(MAX_DOCUMENT_BYTES + 1))).toHaveLength(1);
    expect(await problemsOf('['.repeat(50_000))).not.toEqual([]);
    const many = Array.from({ length: MAX_STATEMENTS + 1 }, () => '{}').join(',');
    expect((await problemsOf(`{"statements":[${many}]}`))[0]).toMatch(/more than 20000 statements/);
    expect((await problemsOf(`{"statements":[${'{},'.repeat(5000)}{}]}`)).length).toBeLessThanOrEqual(100);
  });

  it('is read in time that grows with its size, not with the square of it', () => {
    const keys = (n: number): string => Array.from({ length: n }, (_, i) => `k${i}: 1`).join('\n');
    const time = (source: string): number => {
      const start = performance.now();
      parsePolicy(source);
      return performance.now() - start;
    };
    time(keys(1000));
    // The yaml package's own duplicate check takes 48 s for 60,000 keys.
    expect(time(keys(40_000))).toBeLessThan(8000);
  });

  it('never throws and never half accepts, whatever the bytes', () => {
    const pieces = [
      'statements:',
      '- id: a',
      'effect: allow',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      ':',
      '\n  ',
      '*a',
      '&a',
      '!!x',
      '|',
      '>',
      '#',
      ',',
      '\t',
      '---',
      'when: "',
      'é',
      '\u0001',
    ];
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 8 })), { maxLength: 40 }), (parts) => {
        const parsed = parsePolicy(parts.join(''));
        if (parsed.problems.length > 0) expect(parsed.statements).toEqual([]);
        for (const problem of parsed.problems) expect(problem.line).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});
