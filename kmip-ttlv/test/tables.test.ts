import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  ATTRIBUTES,
  compareVersions,
  ENUMERATIONS,
  type EnumerationRow,
  KMIP_VERSIONS,
  type Lifetime,
  livesIn,
  OPERATIONS,
  operationRow,
  STRUCTURES,
  TAGS,
  tagCode,
  versionOf,
} from '../src/index.js';
import { referencePage } from './reference-page.js';

const page = join(import.meta.dirname, '../../docs/kmip/reference.md');

/** The rule of the additional message encodings, §6.1.3, as its own sample code states it. */
function normalised(text: string): string {
  const words = text
    .replace(/[()]/g, ' ')
    .replace(/\W([A-Za-z][a-z])/g, ' $1')
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => word.replace(/\W/g, '_'));
  words[0] = (words[0] as string).replace(/^(\d+)(.*)/, '$2$1');
  return words.map((word) => (word[0] as string).toUpperCase() + word.slice(1)).join('');
}

test('names are the normalised words of the standard', () => {
  for (const row of TAGS) expect(row.name).toBe(normalised(row.text));
  for (const row of OPERATIONS) expect(row.name).toBe(normalised(row.text));
  // The superscript of GF(2^16) is lost in the official lists, so the name keeps what the cases write.
  for (const row of ENUMERATIONS as readonly EnumerationRow[])
    for (const value of row.values) expect(value.name).toBe(normalised(value.text));
});

test('codes and names are unique, and every name that a row uses is a tag', () => {
  expect(new Set(TAGS.map((row) => row.code)).size).toBe(TAGS.length);
  expect(new Set(TAGS.map((row) => row.name)).size).toBe(TAGS.length);
  for (const row of ENUMERATIONS as readonly EnumerationRow[]) {
    for (const tag of row.tags) expect(tagCode(tag), tag).toBeDefined();
    for (const version of KMIP_VERSIONS) {
      const alive = row.values.filter((value) => livesIn(value, version));
      expect(new Set(alive.map((value) => value.value)).size, `${row.name} ${version}`).toBe(alive.length);
      expect(new Set(alive.map((value) => value.name)).size, `${row.name} ${version}`).toBe(alive.length);
    }
  }
  for (const row of [...STRUCTURES.flatMap((one) => [...one.fields]), ...OPERATIONS.flatMap((one) => [...one.request, ...one.response])])
    expect(tagCode(row.name), row.name).toBeDefined();
  for (const row of ATTRIBUTES) expect(tagCode(row.name), row.name).toBeDefined();
});

test('the operations are those of the enumeration, code for code', () => {
  const enumeration = (ENUMERATIONS as readonly EnumerationRow[]).find((row) => row.name === 'Operation');
  expect(OPERATIONS.map((row) => [row.code, row.name])).toEqual(enumeration?.values.map((row) => [row.value, row.name]));
});

test('each version has as many client operations and attributes as its standard says', () => {
  const count = (rows: readonly Lifetime[], version: (typeof KMIP_VERSIONS)[number]): number =>
    rows.filter((row) => livesIn(row, version)).length;
  const fromClient = OPERATIONS.filter((row) => row.from === 'client');
  expect(count(fromClient, '1.4')).toBe(41);
  expect(count(fromClient, '2.1')).toBe(57);
  // Of 51 and 63 (server-notes), less Custom and Vendor Attribute, which have no row; the 24 parts of Certificate Attributes are one in 2.1 and none in 1.4.
  const whole = ATTRIBUTES.filter((row) => !/^Certificate(Subject|Issuer)./.test(row.name));
  expect(count(whole, '1.4')).toBe(51 - 1);
  expect(count(whole, '2.1')).toBe(63 - 1 - 1);
  expect(operationRow('ReKeyKeyPair')?.since).toBe('1.1');
  expect(operationRow('Encrypt')?.since).toBe('1.2');
  expect(operationRow('Import')?.since).toBe('1.4');
  expect(operationRow('SetAttribute')?.since).toBe('2.0');
  expect(operationRow('Ping')?.since).toBe('2.1');
});

test('versions compare by age', () => {
  expect([...KMIP_VERSIONS].sort(compareVersions)).toEqual(KMIP_VERSIONS);
  expect(versionOf(1, 5)).toBeUndefined();
  expect(versionOf(3, 0)).toBe('3.0');
});

test('the reference page is what the tables say', () => {
  if (process.env['AEGIS_UPDATE'] === '1') {
    mkdirSync(join(page, '..'), { recursive: true });
    writeFileSync(page, referencePage());
  }
  expect(readFileSync(page, 'utf8') === referencePage(), 'docs/kmip/reference.md is stale; run this test with AEGIS_UPDATE=1').toBe(true);
});
