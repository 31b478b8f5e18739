import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { defineContractSuite } from '../src/contract-suite/index.js';
import { openSoftwareRoot } from '../src/software/index.js';
import { SOFTWARE_GAPS } from './software-gaps.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-software-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const open = (name: string) =>
  openSoftwareRoot({ id: 'software', kind: 'software', seal: { kind: 'key-file', path: join(directory, name), create: true } });

defineContractSuite(
  {
    name: 'software',
    open: () => open('seal.key'),
    reopenOther: () => open('other.key'),
    expectUnsupported: SOFTWARE_GAPS,
  },
  { describe, test, expect },
);
