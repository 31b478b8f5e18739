import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { OPERATION_TABLE, type OperationName, type Principal, REQUEST_FIELD_TYPES } from '../../src/domain/index.js';
import type { PolicyQuestion } from '../../src/guard/ports.js';
import { CONDITION_VARIABLES } from '../../src/policy/condition.js';
import { LIMIT_DIMENSIONS } from '../../src/policy/limits.js';
import { agentOf, ask, engineOf, key, person } from './fixture.js';

const TEXT = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8');
const blocks = [...TEXT.matchAll(/```(yaml|decisions)\n([\s\S]*?)```/g)].map((m) => ({ kind: m[1], text: m[2] ?? '' }));

const pairs = (words: readonly string[], mark: string): Record<string, string> =>
  Object.fromEntries(words.filter((w) => w.startsWith(mark)).map((w) => w.slice(mark.length).split('=') as [string, string]));
const roles = (words: readonly string[]) => words.filter((w) => w.startsWith('role:')).map((w) => w.slice(5)) as Principal['roles'];

/** `user alice role:user tag:a=b` or `agent bot for alice role:user`: the words after the name of the human are the human's. */
const parsePrincipal = (text: string): Pick<PolicyQuestion, 'principal' | 'parent'> => {
  const [kind, name = '', ...words] = text.split(/\s+/);
  if (kind === 'agent') {
    const parent = person(words[1] ?? '', { roles: roles(words) });
    return { principal: agentOf(parent, { name }), parent };
  }
  return {
    principal: person(name, {
      kind: kind === 'service' ? 'service' : 'human',
      roles: roles(words),
      tags: pairs(words, 'tag:'),
    } as Partial<Principal>),
  };
};

const parseObject = (text: string): Partial<PolicyQuestion> => {
  if (text === '-') return {};
  const words = text.split(/\s+/);
  const part = (mark: string): string | undefined => words.find((w) => w.startsWith(mark))?.slice(mark.length);
  return { object: key(part('key:') ?? '', { tags: pairs(words, 'tag:'), spec: (part('spec:') ?? 'ec-p256') as 'ec-p256' }) };
};

const parseContext = (text: string): Partial<PolicyQuestion> => {
  const { source = '10.0.0.1', ...fields } = pairs(
    text.split(/\s+/).filter((w) => w !== ''),
    '',
  );
  const values: Record<string, unknown> = { exportable: false, ...fields };
  if (fields['exportable'] !== undefined) values['exportable'] = fields['exportable'] === 'true';
  if (fields['names'] !== undefined) values['names'] = [fields['names']];
  return { source, request: values };
};

describe('docs/policy.md', () => {
  const examples = blocks.flatMap((block, i) =>
    block.kind === 'yaml' ? [{ source: block.text, calls: blocks[i + 1]?.kind === 'decisions' ? blocks[i + 1]?.text : undefined }] : [],
  );

  it('has examples, each with the answers it promises', () => {
    expect(examples.length).toBeGreaterThanOrEqual(4);
    for (const { source, calls } of examples) expect(calls, source).toBeDefined();
  });

  for (const [index, { source, calls = '' }] of examples.entries()) {
    it(`example ${index + 1} does what it says`, async () => {
      const { engine } = await engineOf({ example: source });
      expect(engine.status().problem).toBeUndefined();
      for (const line of calls.trim().split('\n')) {
        const [who = '', operation = '', what = '', how = '', answer = ''] = line.split('|').map((part) => part.trim());
        expect(Object.hasOwn(OPERATION_TABLE, operation), line).toBe(true);
        const { principal, parent } = parsePrincipal(who);
        const question = ask(principal, operation as OperationName, {
          ...parseObject(what),
          ...parseContext(how),
          ...(parent === undefined ? {} : { parent }),
        });
        const { effect, statement } = engine.decide(question);
        expect(`${effect} ${statement.replace(/^example\//, '')}`, line).toBe(answer);
      }
    });
  }

  it('lists every request field, variable, its fields and every limit dimension, and nothing else', () => {
    const listed = /<!-- request-fields -->([\s\S]*?)<!-- \/request-fields -->/.exec(TEXT)?.[1] ?? '';
    expect([...listed.matchAll(/`(\w+)`/g)].map((m) => m[1])).toEqual(Object.keys(REQUEST_FIELD_TYPES).sort());
    const table = TEXT.slice(TEXT.indexOf('| variable |'), TEXT.indexOf('`inNetwork(source'));
    for (const [variable, fields] of Object.entries(CONDITION_VARIABLES)) {
      expect(table, variable).toContain(variable);
      if (variable !== 'request' && Array.isArray(fields))
        for (const field of variable === 'parent' ? [] : fields) expect(table, field).toContain(field);
    }
    for (const dimension of LIMIT_DIMENSIONS) expect(TEXT).toContain(`\`${dimension}\``);
  });
});
