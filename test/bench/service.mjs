// Starts the built service for a benchmark: a temporary data directory, a free port.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.on('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function startService({ dataDir = mkdtempSync(join(tmpdir(), 'aegis-bench-')), args = [], env = {} } = {}) {
  const port = await freePort();
  const started = performance.now();
  const child = spawn(process.execPath, [MAIN, 'up', ...args], {
    env: {
      ...process.env,
      AEGIS_DATA_DIR: dataDir,
      AEGIS_REST_PORT: String(port),
      AEGIS_LOG_LEVEL: 'warn',
      AEGIS_KMIP_PORT: '0',
      AEGIS_KMIP_HTTPS_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (d) => (output += d));
  child.stderr.on('data', (d) => (output += d));
  const url = `http://127.0.0.1:${port}`;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the service ended:\n${output}`);
    if (
      await fetch(`${url}/health/ready`).then(
        (r) => r.status === 200,
        () => false,
      )
    )
      break;
    await sleep(10);
  }
  const startMs = performance.now() - started;
  const token = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  return {
    url,
    token,
    dataDir,
    startMs,
    pid: child.pid,
    rssMiB: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024,
    async call(method, path, body) {
      const response = await fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path} → ${response.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    },
    async stop({ keep = false } = {}) {
      child.kill('SIGTERM');
      await new Promise((resolve) => (child.exitCode === null ? child.on('exit', resolve) : resolve()));
      if (!keep) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
