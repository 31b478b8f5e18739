import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, canonicalRecord } from '../../src/audit/canonical.js';
import { genesis, linkRecord } from '../../src/audit/chain.js';
import { makeRecordIds } from '../../src/audit/record-id.js';
import type { AuditRecord } from '../../src/domain/index.js';
import { draft } from './memory-audit.js';

describe('RFC 8785', () => {
  it('gives the result of the example in §3.2.2 and §3.2.3', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });
  it('sorts names by UTF-16 code units (§3.2.3)', () => {
    const value = {
      '\u20ac': 'Euro',
      '\r': 'CR',
      '\ufb33': 'Hebrew',
      '1': 'One',
      '\ud83d\ude00': 'Emoji',
      '\u0080': 'Control',
      '\u00f6': 'o umlaut',
    };
    expect(Object.values(JSON.parse(canonicalJson(value)))).toEqual(expect.arrayContaining(['CR', 'One']));
    expect(canonicalJson(value)).toBe('{"\\r":"CR","1":"One","\u0080":"Control","ö":"o umlaut","€":"Euro","😀":"Emoji","\ufb33":"Hebrew"}');
  });
  it('writes minus zero as zero', () => expect(canonicalJson([-0])).toBe('[0]'));
  it.each([
    ['undefined', undefined],
    ['undefined in an object', { a: undefined }],
    ['a hole', Array(2)],
    ['NaN', Number.NaN],
    ['infinity', [Number.POSITIVE_INFINITY]],
    ['bigint', 1n],
    ['a date', new Date(0)],
    ['bytes', new Uint8Array(2)],
    ['a map', new Map()],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a lone surrogate', '\ud800'],
    ['a lone surrogate in a name', { '\udc00': 1 }],
  ])('refuses %s', (_name, value) => expect(() => canonicalJson(value)).toThrow(TypeError));
  it('refuses depth without end', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => canonicalJson(cycle)).toThrow(/deeper/);
  });
  it('is a fixed point of parse and write for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        let text: string;
        try {
          text = canonicalJson(value);
        } catch {
          return;
        }
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });
});

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => value.isWellFormed());
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
const record = fc
  .record({
    ...{ id: text, tenant: text, at: fc.integer(), node: text, plane: text, requestId: text, operation: text, action: text },
    actor: fc
      .record({ kind: text, id: text, name: text, method: text, parentId: optional(text), credentialId: optional(text) })
      .map(withoutUndefined),
    outcome: fc.constantFrom('intent', 'success', 'refused', 'failed'),
    resource: optional(fc.record({ type: text, id: text, name: optional(text) }).map(withoutUndefined)),
    fault: optional(fc.constantFrom('timeout', 'internal')),
    statement: optional(text),
    risk: optional(fc.record({ score: fc.double({ noNaN: true, noDefaultInfinity: true }), reasons: fc.array(text, { maxLength: 3 }) })),
    source: optional(text),
    durationUs: optional(fc.nat()),
    detail: optional(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)), { maxKeys: 4 })),
  })
  .map(withoutUndefined) as unknown as fc.Arbitrary<AuditRecord>;

describe('the record writer', () => {
  it('gives what the general one gives', () => {
    fc.assert(
      fc.property(record, (value) => {
        expect(canonicalRecord(value)).toBe(canonicalJson(value));
      }),
    );
  });
  it('puts any names in order, also those an object would move', () => {
    const base = { id: 'i', node: 'n', ...draft() };
    for (const detail of [
      { '10': 1, '9': 2, a: 3 },
      JSON.parse('{"b":1,"__proto__":2,"a":3}'),
      { b: '\\ud800 written out', a: 1 },
      { z: null, B: true, a: 'x' },
    ])
      expect(canonicalRecord({ ...base, detail })).toBe(canonicalJson({ ...base, detail }));
    for (const bad of [
      { at: Number.NaN },
      { durationUs: Number.POSITIVE_INFINITY },
      { source: '\udc00' },
      { detail: { a: Number.NaN } },
      { risk: { score: Number.NaN, reasons: [] } },
    ])
      expect(() => canonicalRecord({ ...base, ...bad })).toThrow(TypeError);
  });
  it('hashes what a shell can hash: previous as hex, then the text', () => {
    const start = genesis('n', 'b');
    expect(start.hash).toBe(createHash('sha256').update('aegis-audit-chain:n:b').digest('hex'));
    const { chain, canonical } = linkRecord(start, { id: 'i', node: 'n', ...draft() });
    expect(chain).toMatchObject({ sequence: 1, previous: start.hash });
    expect(chain.hash).toBe(createHash('sha256').update(start.hash).update(canonical).digest('hex'));
  });
});

describe('record ids', () => {
  it('are UUIDv7, unique and sorted as made, also when the clock stands or steps back', () => {
    let now = 1_760_000_000_000;
    const next = makeRecordIds(() => now);
    const ids: string[] = [];
    for (let index = 0; index < 20_000; index += 1) {
      if (index === 9000) now -= 5000;
      if (index === 15_000) now += 60_000;
      ids.push(next());
    }
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
    for (const id of ids.slice(0, 50)) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt((ids[0] ?? '').replace('-', '').slice(0, 12), 16)).toBe(1_760_000_000_000);
  });
});
