// The other servers that the KMIP benchmark needs, and the one client that loads all of them.
import { execFileSync, fork, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import { freePort } from './service.mjs';

/** Certificates for a peer: an authority, a server and a client, made with the openssl command. */
export function makeCertificates() {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-kmip-bench-'));
  const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  const newKey = ['-newkey', 'rsa:2048', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Bench CA');
  for (const [name, eku] of [
    ['server', 'serverAuth'],
    ['client', 'clientAuth'],
  ]) {
    writeFileSync(
      join(dir, `${name}.cnf`),
      `basicConstraints=CA:FALSE\nextendedKeyUsage=${eku}\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n`,
    );
    openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=bench-${name}`);
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
      '-out',
      `${name}.pem`,
      '-days',
      '2',
      '-extfile',
      `${name}.cnf`,
    );
  }
  const read = (file) => readFileSync(join(dir, file), 'utf8');
  return {
    dir,
    tls: { ca: read('ca.pem'), cert: read('client.pem'), key: read('client.key'), servername: 'localhost' },
    server: { ca: read('ca.pem'), cert: read('server.pem'), key: read('server.key') },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

const PYKMIP = '/usr/bin/pykmip-server';
export const pykmipPresent = () => existsSync(PYKMIP);

/** PyKMIP's server as it is installed, over TLS 1.2 with client certificates and its SQLite file. */
export async function startPykmip(certificates) {
  const port = await freePort();
  const at = (file) => join(certificates.dir, file);
  const settings = {
    hostname: '127.0.0.1',
    port,
    certificate_path: at('server.pem'),
    key_path: at('server.key'),
    ca_path: at('ca.pem'),
    auth_suite: 'TLS1.2',
    policy_path: certificates.dir,
    enable_tls_client_auth: 'True',
    logging_level: 'ERROR',
    database_path: at('pykmip.db'),
  };
  writeFileSync(
    at('pykmip.conf'),
    `[server]\n${Object.entries(settings)
      .map(([name, value]) => `${name}=${value}`)
      .join('\n')}\n`,
  );
  const child = spawn('/usr/bin/python3', ['-W', 'ignore', PYKMIP, '-f', at('pykmip.conf'), '-l', at('pykmip.log')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (part) => (output += part));
  child.stderr.on('data', (part) => (output += part));
  for (const deadline = Date.now() + 30_000; ; ) {
    const client = await KmipClient.connect({
      host: '127.0.0.1',
      port,
      version: '1.2',
      tls: { ...certificates.tls, maxVersion: 'TLSv1.2' },
      timeoutMs: 2_000,
    }).catch(() => undefined);
    if (client !== undefined) {
      await client.close();
      break;
    }
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`PyKMIP's server did not start:\n${output}`);
    await sleep(100);
  }
  return {
    port,
    stop: () =>
      new Promise((resolve) => {
        child.on('exit', resolve);
        child.kill('SIGKILL');
      }),
  };
}

export async function startEcho(certificates, answers) {
  const file = join(certificates.dir, 'echo.json');
  writeFileSync(file, JSON.stringify({ ...certificates.server, answers }), { mode: 0o600 });
  const child = fork(new URL('./kmip-echo-server.mjs', import.meta.url).pathname, [file]);
  const { port } = await new Promise((resolve) => child.once('message', resolve));
  return { port, stop: () => child.disconnect() };
}

/** `connections` clients, each sending its next request when the last is answered; requests a second over `seconds`. */
export async function load(open, connections, seconds, request) {
  const clients = await Promise.all(Array.from({ length: connections }, open));
  let count = 0;
  let failures = 0;
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < until) {
        if (!(await request(client))) failures += 1;
        count += 1;
      }
    }),
  );
  const rate = (1_000 * count) / (performance.now() - startedAt);
  await Promise.all(clients.map((client) => client.close()));
  if (failures > 0) throw new Error(`${failures} of ${count} requests failed`);
  return rate;
}
