import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openCloudRoot } from '../../src/cloud-envelope/index.js';
import type { CloudRootConfig } from '../../src/config.js';
import { defineContractSuite } from '../../src/contract-suite/index.js';
import { SOFTWARE_GAPS } from '../software-gaps.js';
import { TRANSIT_GAPS } from './transit-gaps.js';

/**
 * The same suite on a Vault or OpenBao of yours: AEGIS_TEST_VAULT_ADDR, AEGIS_TEST_VAULT_TOKEN (and a Transit engine mounted at `transit`).
 * It makes and leaves keys named aegis-*. An opt-in, so it counts neither as run nor as skipped when it is not asked for.
 */
const address = process.env['AEGIS_TEST_VAULT_ADDR'];

if (address !== undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'aegis-real-vault-'));
  writeFileSync(join(directory, 'token'), process.env['AEGIS_TEST_VAULT_TOKEN'] ?? 'none', { mode: 0o600 });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const open = (mode: CloudRootConfig['mode'], name: string) =>
    openCloudRoot({
      id: 'vault',
      kind: 'cloud-envelope',
      mode,
      provider: { kind: 'vault', address, auth: { method: 'token', token: { file: join(directory, 'token') } } },
      seal: { key: `aegis-seal-${name}`, path: join(directory, `${mode}-${name}.seal`), create: true },
    });
  for (const [mode, expectUnsupported] of [
    ['layered', TRANSIT_GAPS],
    ['envelope', SOFTWARE_GAPS],
  ] as const)
    defineContractSuite(
      { name: `real vault, ${mode}`, open: () => open(mode, 'one'), reopenOther: () => open(mode, 'two'), expectUnsupported },
      { describe, test, expect },
    );
} else {
  test('the double has a suite of its own; a real Vault is asked for with AEGIS_TEST_VAULT_ADDR', () =>
    expect(TRANSIT_GAPS.length).toBeGreaterThan(0));
}
