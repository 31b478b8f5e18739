#!/usr/bin/env node
// A software root behind the process boundary against the same root in this process, in one run, alternating.
//
//   node test/bench/host.mjs [--hosts N] [--seconds S] [--json]
//
// Targets: ECDSA P-256 sign at least 80 % of in-process, AES-256-GCM of 256 bytes with 64 calls in flight at least 50 %.
// Exit 1 when one is missed. Server and host need a core each: on a busy machine the figures say little, so its load is shown.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openHostedRoot } from '@aegis/rot-spi/host';
import { openSoftwareRoot } from '@aegis/rot-spi/software';

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '0.4' },
    json: { type: 'boolean', default: false },
  },
});
const ROUNDS = 5;
const roundMs = Number(values.seconds) * 1000;

const makeKey = async (root, call, objectId, spec, usage) => {
  const binding = { objectId, version: 1, tenant: 'bench', spec, usage, exportable: false };
  const { reference } = await root.call(call, { binding });
  return { reference, binding };
};

/** Calls per second and server CPU microseconds per call, with so many callers that each wait for their answer. */
const measure = async (root, job, callers) => {
  const started = performance.now();
  const cpu = process.cpuUsage();
  const end = started + roundMs;
  let calls = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < end) {
        await job(root);
        calls++;
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return { rate: (calls / (performance.now() - started)) * 1000, cpuUs: (user + system) / calls };
};

const median = (numbers) => [...numbers].sort((left, right) => left - right)[Math.floor(numbers.length / 2)];

const compare = async (local, hosted, job, callers) => {
  await measure(local, job, callers);
  await measure(hosted, job, callers);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const inProcess = await measure(local, job, callers);
    const throughHost = await measure(hosted, job, callers);
    rounds.push({ local: inProcess.rate, hosted: throughHost.rate, ratio: throughHost.rate / inProcess.rate, cpuUs: throughHost.cpuUs });
  }
  const column = (name) => median(rounds.map((round) => round[name]));
  return { local: column('local'), hosted: column('hosted'), ratio: column('ratio'), serverCpuUs: column('cpuUs') };
};

const load = loadavg()[0].toFixed(1);
if (!values.json) process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, load at start ${load}\n`);
const directory = mkdtempSync(join(tmpdir(), 'aegis-bench-'));
const config = {
  id: 'software',
  kind: 'software',
  hosts: Number(values.hosts),
  seal: { kind: 'key-file', path: join(directory, 'seal.key'), create: true },
};
const hosted = await openHostedRoot(config);
const local = await openSoftwareRoot(config);
const results = [];
try {
  while (hosted.hosts().some(({ state }) => state !== 'ready')) await new Promise((resolve) => setTimeout(resolve, 10));
  const ec = await makeKey(hosted, 'generateKeyPair', 'bench-ec', 'ec-p256', ['sign', 'verify']);
  const aes = await makeKey(hosted, 'generateKey', 'bench-aes', 'aes-256', ['encrypt', 'decrypt']);
  const data = new Uint8Array(32).fill(1);
  const plaintext = new Uint8Array(256).fill(2);
  const sign = (root) => root.call('sign', { key: ec, algorithm: 'ecdsa-sha256', data });
  const encrypt = (root) => root.call('encrypt', { key: aes, algorithm: 'aes-gcm', plaintext });
  const cases = [
    ['ECDSA P-256 sign', sign, 1, undefined],
    ['ECDSA P-256 sign', sign, 16, undefined],
    ['ECDSA P-256 sign', sign, 64, 0.8],
    ['AES-256-GCM 256 bytes', encrypt, 1, undefined],
    ['AES-256-GCM 256 bytes', encrypt, 64, 0.5],
  ];
  for (const [name, job, callers, target] of cases) {
    const result = { name, callers, ...(target === undefined ? {} : { target }), ...(await compare(local, hosted, job, callers)) };
    results.push(result);
    if (values.json) continue;
    const verdict = target === undefined ? '' : result.ratio >= target ? `  (target ${target}: met)` : `  (target ${target}: MISSED)`;
    process.stdout.write(
      `${name}, ${callers} in flight: in process ${result.local.toFixed(0)}/s, through ${values.hosts} host(s) ${result.hosted.toFixed(0)}/s, ` +
        `ratio ${result.ratio.toFixed(2)}, server CPU ${result.serverCpuUs.toFixed(1)} µs a call${verdict}\n`,
    );
  }
} finally {
  await Promise.all([hosted.close(), local.close()]);
  rmSync(directory, { recursive: true, force: true });
}
if (values.json)
  process.stdout.write(`${JSON.stringify({ machine: `${cpus().length} × ${cpus()[0]?.model}`, node: process.version, load, results })}\n`);
process.exitCode = results.some(({ target, ratio }) => target !== undefined && ratio < target) ? 1 : 0;
