import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { KMIP_HANDLERS } from '../../src/planes/kmip/handlers.js';
import { skipVectors } from './official-cases.js';
import { writeMatrix } from './support-matrix.js';

const PAGE = join(import.meta.dirname, '../../docs/kmip/support-matrix.md');

test.skipIf(skipVectors)('docs/kmip/support-matrix.md is what the official cases show (AEGIS_WRITE_DOCS=1 writes it)', () => {
  const page = writeMatrix(new Set(KMIP_HANDLERS.keys()));
  if (process.env.AEGIS_WRITE_DOCS === '1') {
    mkdirSync(dirname(PAGE), { recursive: true });
    writeFileSync(PAGE, page);
  }
  expect(readFileSync(PAGE, 'utf8')).toBe(page);
});
