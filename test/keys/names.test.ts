import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FaultError } from '../../src/domain/index.js';
import { parseSubject } from '../../src/keys/distinguished-names.js';
import { publicUsage } from '../../src/keys/key-usages.js';
import { replacementDates } from '../../src/keys/re-key.js';
import { parseAltNames } from '../../src/keys/subject-alt-names.js';

const read = (subject: string): string[] => parseSubject(subject).typesAndValues.map((a) => `${a.type}=${a.value.valueBlock.value}`);

describe('subjects (RFC 4514)', () => {
  test('most specific first in text, last in the certificate', () => {
    expect(read('CN=a,O=b,C=DE')).toEqual(['2.5.4.6=DE', '2.5.4.10=b', '2.5.4.3=a']);
    expect(read('C=DE, O=b, CN=a')).toEqual(['2.5.4.6=DE', '2.5.4.10=b', '2.5.4.3=a']);
  });
  test.each([
    ['CN=Lučić', 'Lučić'],
    ['CN=Lu\\C4\\8Di\\C4\\87', 'Lučić'],
    ['CN=a\\,b', 'a,b'],
    ['CN=a\\=b=c', 'a=b=c'],
    ['CN= spaced ', 'spaced'],
    ['CN=ends\\ ', 'ends '],
    ['CN=\\#hash', '#hash'],
    ['CN=x\\+y', 'x+y'],
    ['CN=back\\\\slash', 'back\\slash'],
    ['2.5.4.3=dotted', 'dotted'],
    ['cn=lower', 'lower'],
  ])('%s', (subject, value) => {
    expect(read(subject)).toEqual([`2.5.4.3=${value}`]);
  });
  test('whatever comes in, it is parsed or refused with a field', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('C', 'N', '=', ',', '\\', '+', 'a', ' ', '#', 'ü') })),
        (subject) => {
          try {
            parseSubject(subject);
          } catch (error) {
            expect(error).toBeInstanceOf(FaultError);
            expect((error as FaultError).fault.field).toBe('subject');
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

test('alternative names: addresses become their bytes', () => {
  const bytes = (name: string) => Buffer.from(parseAltNames([name])?.names[0]?.value.valueBlock.valueHexView ?? []).toString('hex');
  expect(bytes('ip:192.0.2.7')).toBe('c0000207');
  expect(bytes('ip:2001:db8::7')).toBe('20010db8000000000000000000000007');
  expect(bytes('::1')).toBe('00000000000000000000000000000001');
  expect(bytes('ip:::ffff:192.0.2.7')).toBe('00000000000000000000ffffc0000207');
  expect(parseAltNames(['a.example', 'x@y.example', 'https://z.example/'])?.names.map((n) => n.type)).toEqual([2, 1, 6]);
  expect(parseAltNames([])).toBeUndefined();
});

describe('dates of a replacement (KMIP 1.4 table 172)', () => {
  const old = { created: 0, lastChange: 0, initial: 100, activation: 200, processStart: 300, protectStop: 900, deactivation: 1000 };
  test('are copied without an offset', () => {
    expect(replacementDates(old, undefined, 5000)).toEqual({ activation: 200, processStart: 300, protectStop: 900, deactivation: 1000 });
  });
  test('move with the activation date when there is one', () => {
    expect(replacementDates(old, 50, 5000)).toEqual({ activation: 5050, processStart: 5150, protectStop: 5750, deactivation: 5850 });
    expect(replacementDates({ created: 0, lastChange: 0 }, 50, 5000)).toEqual({ activation: 5050 });
  });
});

test('the public half of what a private key does', () => {
  expect(publicUsage(['sign', 'decrypt', 'unwrap', 'agree', 'certificate-sign'])).toEqual(['verify', 'encrypt', 'wrap', 'agree']);
});
