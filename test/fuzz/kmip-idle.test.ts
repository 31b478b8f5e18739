import { fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from '../kmip/kmip-target.js';

// A thousand storage arrays that keep their connection and say nothing. The clients live in a process of their own, so that what grows here is the server.

const IDLE = 1_000;
const MAX_GROWTH_BYTES = 100 << 20;
const CLIENTS = join(import.meta.dirname, '../bench/kmip-idle-clients.mjs');

let target: KmipTarget;
let dir: string;
beforeAll(async () => {
  target = await startKmipTarget();
  dir = mkdtempSync(join(tmpdir(), 'aegis-idle-'));
}, 120_000);
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await target?.stop();
});

/** In TLS 1.3 the client is through before the server is: waits until the server counts so many. */
async function untilOpen(count: number): Promise<void> {
  for (const deadline = Date.now() + 20_000; target.server.connections().open !== count && Date.now() < deadline; ) await sleep(50);
  expect(target.server.connections().open).toBe(count);
}

test(`${IDLE} idle connections with client certificates: others are served, memory stays bounded, nothing is left behind`, async () => {
  const warm = await target.connect();
  await warm.discoverVersions();
  const before = { rss: process.memoryUsage().rss, open: target.server.connections().open };
  const file = join(dir, 'idle.json');
  writeFileSync(
    file,
    JSON.stringify({ host: target.host, port: target.port, tls: { ...target.tls(), servername: 'localhost' }, count: IDLE }),
    { mode: 0o600 },
  );
  const child = fork(CLIENTS, [file]);
  const { open } = await new Promise<{ open: number }>((resolve, reject) => {
    child.once('message', (message) => resolve(message as { open: number }));
    child.once('exit', () => reject(new Error('the idle clients ended')));
  });
  expect(open).toBe(IDLE);
  await untilOpen(before.open + IDLE);
  const growth = process.memoryUsage().rss - before.rss;
  console.log(`${IDLE} idle connections: ${Math.round(growth / 2 ** 20)} MiB`);
  expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  // A new client and an old one are served as before.
  const fresh = await target.connect('bob', '1.4');
  expect(await fresh.discoverVersions()).toContain('1.4');
  expect(await warm.discoverVersions()).toContain('2.1');
  // They are still there after a while, and gone when their process is.
  await sleep(1_000);
  expect(target.server.connections().open).toBe(before.open + IDLE + 1);
  child.removeAllListeners('exit');
  child.kill('SIGKILL');
  await untilOpen(before.open + 1);
}, 180_000);
