// A pkcs11 root with two hosts on SoftHSM2 against pkcs11js called directly, ECDSA P-256, in one run.
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openHostedRoot } from '@aegis/rot-spi/host';
import { findSoftHsm, provisionSoftHsm } from '../../softhsm/provision.mjs';
import { atLeast } from './figure.mjs';

const SECONDS = 3;
const CALLERS = 64;

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  if (findSoftHsm() === undefined) {
    console.error('SoftHSM2 is not installed (apt-get install softhsm2): no figures for the pkcs11 root');
    return [];
  }
  const directory = mkdtempSync(join(tmpdir(), 'aegis-bench-hsm-'));
  try {
    const config = await provisionSoftHsm(directory);
    const root = await openHostedRoot({ ...config, id: 'softhsm', hosts: 2 });
    const binding = { objectId: 'bench', version: 1, tenant: 'bench', spec: 'ec-p256', usage: ['sign', 'verify'], exportable: false };
    const { reference } = await root.call('generateKeyPair', { binding });
    const key = { reference, binding };
    const data = new Uint8Array(64).fill(7);
    const hosted = async () => {
      const end = performance.now() + SECONDS * 1000;
      const started = performance.now();
      let calls = 0;
      await Promise.all(
        Array.from({ length: CALLERS }, async () => {
          while (performance.now() < end) {
            await root.call('sign', { key, algorithm: 'ecdsa-sha256', data });
            calls += 1;
          }
        }),
      );
      return (calls / (performance.now() - started)) * 1000;
    };
    const direct = () =>
      new Promise((resolve, reject) => {
        const child = fork(new URL('./direct-pkcs11.mjs', import.meta.url).pathname, { env: { ...process.env, ...config.environment } });
        child.on('message', resolve);
        child.on('exit', (code) => (code === 0 ? undefined : reject(new Error(`the direct benchmark ended with ${code}`))));
        child.send({ module: config.module, slot: config.slot, pin: readFileSync(config.pin.file, 'utf8').trimEnd(), seconds: SECONDS });
      });
    await hosted();
    const rates = { direct: [], hosted: [] };
    for (let round = 0; round < 2; round += 1) {
      rates.direct.push(await direct());
      rates.hosted.push(await hosted());
    }
    await root.close();
    const best = (list) => Math.max(...list);
    return [
      atLeast(
        'pkcs11 root, two hosts, ECDSA P-256 against direct pkcs11js',
        (100 * best(rates.hosted)) / best(rates.direct),
        90,
        '%',
        `direct ${Math.round(best(rates.direct))}/s (one process, C_Sign in a loop), hosted ${Math.round(best(rates.hosted))}/s`,
      ),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
