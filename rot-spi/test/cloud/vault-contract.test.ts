import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCloudRoot } from '../../src/cloud-envelope/index.js';
import type { CloudRootConfig } from '../../src/config.js';
import { defineContractSuite } from '../../src/contract-suite/index.js';
import { SOFTWARE_GAPS } from '../software-gaps.js';
import { startTransitDouble, type TransitDouble } from './transit-double.js';
import { TRANSIT_GAPS } from './transit-gaps.js';

const directory = mkdtempSync(join(tmpdir(), 'aegis-vault-'));
let double: TransitDouble;
beforeAll(async () => {
  double = await startTransitDouble();
  writeFileSync(join(directory, 'token'), double.token, { mode: 0o600 });
});
afterAll(async () => {
  await double.close();
  rmSync(directory, { recursive: true, force: true });
});

const open = (mode: CloudRootConfig['mode'], name: string) =>
  openCloudRoot({
    id: 'vault',
    kind: 'cloud-envelope',
    mode,
    provider: { kind: 'vault', address: double.address, auth: { method: 'token', token: { file: join(directory, 'token') } } },
    seal: { key: `seal-${name}`, path: join(directory, `${mode}-${name}.seal`), create: true },
  });

defineContractSuite(
  {
    name: 'vault, layered (strict local double)',
    open: () => open('layered', 'one'),
    reopenOther: () => open('layered', 'two'),
    expectUnsupported: TRANSIT_GAPS,
  },
  { describe, test, expect },
);

defineContractSuite(
  {
    name: 'vault, envelope (strict local double)',
    open: () => open('envelope', 'one'),
    reopenOther: () => open('envelope', 'two'),
    expectUnsupported: SOFTWARE_GAPS,
  },
  { describe, test, expect },
);

/**
 * The same on a Vault or OpenBao of yours, when asked for: AEGIS_TEST_VAULT_ADDR, AEGIS_TEST_VAULT_TOKEN, a Transit engine mounted at
 * `transit`. It makes and leaves keys named aegis-*.
 */
const real = process.env['AEGIS_TEST_VAULT_ADDR'];
if (real !== undefined) {
  const openReal = (mode: CloudRootConfig['mode'], name: string) => {
    const file = join(directory, 'real-token');
    writeFileSync(file, process.env['AEGIS_TEST_VAULT_TOKEN'] ?? 'none', { mode: 0o600 });
    return openCloudRoot({
      id: 'vault',
      kind: 'cloud-envelope',
      mode,
      provider: { kind: 'vault', address: real, auth: { method: 'token', token: { file } } },
      seal: { key: `aegis-seal-${name}`, path: join(directory, `real-${mode}-${name}.seal`), create: true },
    });
  };
  for (const [mode, expectUnsupported] of [
    ['layered', TRANSIT_GAPS],
    ['envelope', SOFTWARE_GAPS],
  ] as const)
    defineContractSuite(
      { name: `vault, ${mode} (yours)`, open: () => openReal(mode, 'one'), reopenOther: () => openReal(mode, 'two'), expectUnsupported },
      { describe, test, expect },
    );
}
