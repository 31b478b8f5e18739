import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, canonicalRecord } from '../../src/audit/canonical.js';
import { cleanText, makeRedaction } from '../../src/audit/redaction.js';
import type { AuditDraft } from '../../src/guard/ports.js';
import { makeToken } from '../../src/identity/token.js';
import { draft } from './memory-audit.js';

const redact = makeRedaction();
const detailOf = (detail: Record<string, unknown>) =>
  redact(draft({ detail: detail as NonNullable<AuditDraft['detail']> }), 'id', 'n').detail;

describe('what reaches the log', () => {
  it('shows listed names and hashes everything else, whatever its type', () => {
    const detail = detailOf({
      algorithm: 'ecdsa-sha256',
      version: 3,
      exportable: false,
      passphrase: 'hunter2',
      pin: 1234,
      secretFlag: true,
      note: null,
    });
    expect(detail).toMatchObject({ algorithm: 'ecdsa-sha256', version: 3, exportable: false, note: null });
    for (const name of ['passphrase', 'pin', 'secretFlag']) expect(detail?.[name]).toMatch(/^hmac:[0-9a-f]{16}$/);
    expect(JSON.stringify(detail)).not.toMatch(/hunter2|1234/);
  });
  it('hashes under a key of the process: equal values look equal here and different elsewhere', () => {
    expect(detailOf({ pin: 'a' })).toEqual(detailOf({ pin: 'a' }));
    expect(detailOf({ pin: 'a' })).not.toEqual(makeRedaction()(draft({ detail: { pin: 'a' } }), 'i', 'n').detail);
  });
  it('hashes objects, arrays, bytes and long strings also under listed names', () => {
    const detail = detailOf({
      spec: { deep: 'secret' },
      version: [1],
      usage: Buffer.from('secret'),
      root: 'x'.repeat(300),
      bits: Number.NaN,
    });
    for (const name of ['spec', 'version', 'usage', 'root', 'bits']) expect(detail?.[name]).toMatch(/^hmac:/);
  });
  it('drops impossible names and bounds their number', () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`name${index}`, 1]));
    expect(Object.keys(detailOf(many) ?? {})).toHaveLength(32);
    expect(detailOf({ 'a b': 1, '': 2, [`x${'y'.repeat(80)}`]: 3, __proto__x: 4 })).toEqual({});
  });
  it('keeps only the members of a record', () => {
    const record = redact({ ...draft(), payload: 'secret', plaintext: 'secret' } as AuditDraft, 'id', 'n');
    expect(canonicalRecord(record)).not.toContain('secret');
    expect(JSON.stringify(record)).not.toContain('secret');
  });
  it('takes a token out of any text', () => {
    const { token } = makeToken();
    const record = redact(
      draft({ requestId: token, source: token, resource: { type: 'key', id: token, name: `my ${token}` }, detail: { name: token } }),
      'i',
      'n',
    );
    const secret = token.slice(23);
    expect(canonicalRecord(record)).not.toContain(secret);
    expect(record.resource?.name).toBe('my aegis_[removed]');
  });
  it('escapes what could forge a line and bounds every text', () => {
    expect(cleanText('a\nb\u0000c\u001b[31m\u2028\u202e')).toBe('a\\u{0a}b\\u{00}c\\u{1b}[31m\\u{2028}\\u{202e}');
    const long = cleanText('x'.repeat(1000));
    expect(long.length).toBeLessThanOrEqual(256);
    expect(cleanText(`${'x'.repeat(999)}y`)).not.toBe(long);
    expect(cleanText('ok \ud83d\ude00 Ünïcode')).toBe('ok \ud83d\ude00 Ünïcode');
    expect(cleanText('\ud83d')).toBe('\ufffd');
  });
  it('makes a canonical text of any draft at all', () => {
    const any = fc.record({
      ...{
        tenant: fc.string({ unit: 'binary' }),
        at: fc.double(),
        plane: fc.string(),
        requestId: fc.string({ unit: 'binary', maxLength: 400 }),
      },
      ...{ operation: fc.string(), action: fc.string(), outcome: fc.constant('success'), durationUs: fc.double() },
      actor: fc.record({
        kind: fc.string(),
        id: fc.string({ unit: 'binary' }),
        name: fc.string({ unit: 'binary', maxLength: 600 }),
        method: fc.string(),
      }),
      risk: fc.record({ score: fc.double(), reasons: fc.array(fc.string({ unit: 'binary' })) }),
      detail: fc.dictionary(fc.string(), fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true })),
    });
    fc.assert(
      fc.property(any, (value) => {
        const text = canonicalRecord(redact(value as unknown as AuditDraft, 'id', 'node'));
        // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
        expect(text).not.toMatch(/[\u0000-\u001f\u2028\u2029]|\\u00[01]/);
        expect(JSON.parse(text)).toMatchObject({ id: 'id', node: 'node' });
        // The second time round who and what come from memory.
        const again = redact(value as unknown as AuditDraft, 'id', 'node');
        expect(canonicalRecord(again)).toBe(text);
        expect(canonicalJson(again)).toBe(text);
      }),
    );
  });
});
