import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from '../kmip/kmip-target.js';

// PyKMIP 0.10, a client nobody here wrote, in every version that it speaks. Wrapped keys are left out: it reads Key Value only as a structure, where
// the standard and the official cases have the wrapped bytes.

const PYTHON = '/usr/bin/python3';
const SCRIPT = join(import.meta.dirname, 'pykmip_client.py');
const present = spawnSync(PYTHON, ['-c', 'import kmip'], { stdio: 'ignore' }).status === 0;
const skip = !present && process.env.AEGIS_NO_SKIP !== '1';
if (!present) console.log('PyKMIP is absent; install it with: apt-get install python3-pykmip');

const STEPS = [
  'create',
  'register',
  'register_secret_and_opaque',
  'locate',
  'get',
  'get_attributes',
  'modify_attributes',
  'activate',
  'encrypt_and_decrypt',
  'sign_and_verify',
  'mac',
  'derive',
  'rekey',
  'across_tenants',
  'revoke_and_destroy',
];
const STEP_TIMEOUT_MS = 100_000;

let target: KmipTarget;
let dir: string;
beforeAll(async () => {
  if (skip) return;
  target = await startKmipTarget();
  dir = mkdtempSync(join(tmpdir(), 'aegis-pykmip-'));
  writeFileSync(join(dir, 'ca.pem'), target.authority.cert);
  for (const user of ['alice', 'stranger'] as const) {
    writeFileSync(join(dir, `${user}.pem`), target.identities[user].cert);
    writeFileSync(join(dir, `${user}.key`), target.identities[user].key, { mode: 0o600 });
  }
}, 120_000);
afterAll(async () => {
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  await target?.stop();
});

const runClient = (version: string): Promise<Record<string, string>> =>
  new Promise((resolve, reject) => {
    const file = (name: string): string => join(dir, name);
    const args = [file('ca.pem'), file('alice.pem'), file('alice.key'), file('stranger.pem'), file('stranger.key'), version];
    execFile(PYTHON, [SCRIPT, 'localhost', String(target.port), ...args], { timeout: STEP_TIMEOUT_MS }, (error, stdout, stderr) => {
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
      if (error !== null && lines.length === 0) return reject(new Error(`${error.message}\n${stderr}`));
      const rows = lines.map((line) => JSON.parse(line) as { step: string; ok: boolean; error?: string });
      resolve(Object.fromEntries(rows.map(({ step, ok, error: problem }) => [step, ok ? 'ok' : (problem ?? 'failed')])));
    });
  });

describe.skipIf(skip)('PyKMIP', () => {
  for (const version of ['1.0', '1.1', '1.2', '1.3', '1.4', '2.0'])
    test(`KMIP ${version}`, async () => {
      expect(await runClient(version)).toEqual(Object.fromEntries(STEPS.map((step) => [step, 'ok'])));
    }, 120_000);
});
