import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeEnvelope,
  ENVELOPE_ALGORITHM_IDS,
  type EnvelopeAlgorithm,
  encodeEnvelope,
  envelopeHeader,
  envelopeTarget,
  parseObjectRef,
} from '../../src/domain/index.js';

const docs = readFileSync(new URL('../../docs/formats.md', import.meta.url), 'utf8');
const bytes = (max: number) => fc.uint8Array({ maxLength: max });

describe('the ciphertext envelope', () => {
  test('comes back as it went', () => {
    const names = Object.keys(ENVELOPE_ALGORITHM_IDS) as EnvelopeAlgorithm[];
    fc.assert(
      fc.property(
        fc.uuid(),
        fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        fc.constantFrom(...names),
        bytes(255),
        bytes(255),
        bytes(300),
        (id, version, algorithm, iv, tag, ciphertext) => {
          const envelope = encodeEnvelope(envelopeHeader(id, version, algorithm, iv.length, tag.length), iv, tag, ciphertext);
          expect(decodeEnvelope(envelope)).toEqual({ objectId: id, version, algorithm, iv, tag, ciphertext });
          expect(envelopeTarget(envelope)).toBe(id);
        },
      ),
    );
  });

  test('reads any bytes without throwing, and names nothing for what it did not write', () => {
    fc.assert(
      fc.property(bytes(200), (any) => void decodeEnvelope(any)),
      { numRuns: 2000 },
    );
    const whole = encodeEnvelope(
      envelopeHeader('00112233-4455-6677-8899-aabbccddeeff', 1, 'aes-gcm', 12, 16),
      new Uint8Array(12),
      new Uint8Array(16),
      new Uint8Array(3),
    );
    for (let cut = 0; cut < 56; cut += 1) expect(decodeEnvelope(whole.subarray(0, cut)), `cut at ${cut}`).toBeUndefined();
    expect(decodeEnvelope(whole.subarray(0, 56))?.ciphertext).toHaveLength(0);
  });

  test('is documented number by number', () => {
    const table = docs.slice(docs.indexOf('| number | algorithm |'), docs.indexOf('Numbers are only ever added'));
    const rows = [...table.matchAll(/\| (\d+) \| ([a-z0-9-]+) (?=\|)/g)].map(([, number, name]) => [name, Number(number)]);
    expect(Object.fromEntries(rows)).toEqual(ENVELOPE_ALGORITHM_IDS);
    expect(new Set(Object.values(ENVELOPE_ALGORITHM_IDS)).size).toBe(Object.keys(ENVELOPE_ALGORITHM_IDS).length);
  });

  test('the documented example opens as the document says', () => {
    const example = Buffer.from(/^41454731[0-9a-f]+$/m.exec(docs)?.[0] ?? '', 'hex');
    const envelope = decodeEnvelope(example);
    expect(envelope).toMatchObject({ objectId: '00112233-4455-6677-8899-aabbccddeeff', version: 7, algorithm: 'aes-gcm' });
    const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    const cipher = createDecipheriv('aes-256-gcm', key, envelope?.iv ?? Buffer.alloc(12)).setAuthTag(Buffer.from(envelope?.tag ?? []));
    cipher.setAAD(Buffer.concat([example.subarray(0, 28), Buffer.from('ctx')]));
    expect(Buffer.concat([cipher.update(envelope?.ciphertext ?? Buffer.alloc(0)), cipher.final()]).toString()).toBe('hello');
  });
});

describe('references', () => {
  test.each([
    ['invoice', { ref: 'invoice' }],
    ['invoice@3', { ref: 'invoice', version: 3 }],
    ['ops@example.com', { ref: 'ops@example.com' }],
    ['ops@example.com@12', { ref: 'ops@example.com', version: 12 }],
    ['a@0', { ref: 'a@0' }],
    ['a@007', { ref: 'a@007' }],
    ['@1', { ref: '@1' }],
    ['a@99999999999999', { ref: 'a@99999999999999' }],
  ])('%s', (text, expected) => {
    expect(parseObjectRef(text)).toEqual(expected);
  });
});
