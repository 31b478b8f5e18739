import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aegisOk, discard, startService, temporaryDataDir } from '../service/running-service.js';
import { CLIENT_MODULE, needs, openProgramRun, type ProgramRun, skipWithout } from './programs.js';

const SOURCE = join(import.meta.dirname, 'native', 'probe.c');

describe.skipIf(skipWithout(needs.c))('the stock client in a C program, on a socket bound to a principal', () => {
  let run: ProgramRun;
  beforeAll(async () => {
    run = await openProgramRun('software', { AEGIS_PKCS11_PRINCIPAL: 'admin' });
    run.ok('gcc', ['-O1', '-pthread', '-I/usr/include/p11-kit-1', '-o', 'probe', SOURCE, '-ldl']);
  }, 120_000);
  afterAll(async () => {
    await discard(run?.service);
  });

  test('16 threads on one connection, then a fork whose child starts anew', () => {
    const said = run.ok(run.path('probe'), [CLIENT_MODULE, '16', '5']);
    expect(said).toContain('threads ok\nchild ok\nparent ok');
  }, 90_000);

  test('the door stays through a restart of the service, and is gone after an orderly end without clients', async () => {
    const { port, dataDir } = run.service;
    const door = JSON.parse(aegisOk(run.service, ['pkcs11', 'status', '--json']).toString()) as { door: { pid: number } };
    const alive = (): boolean => {
      try {
        process.kill(door.door.pid, 0);
        return true;
      } catch {
        return false;
      }
    };
    const client = spawn(run.path('probe'), [CLIENT_MODULE, '4', '100'], {
      cwd: run.folder,
      env: run.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    client.stdout.on('data', (part) => (said += part));
    const ended = new Promise<number | null>((resolve) => client.on('exit', (code) => resolve(code)));
    await expect.poll(() => aegisOk(run.service, ['pkcs11', 'status']).toString(), { timeout: 10_000 }).toMatch(/0\.24|0\.25/);
    await run.service.stop('SIGTERM');
    expect(alive(), 'somebody is connected').toBe(true);
    const again = await startService({ dataDir, port, env: { AEGIS_PKCS11_PRINCIPAL: 'admin' } });
    try {
      expect({ code: await ended, said }, 'no call was lost').toEqual({ code: 0, said: 'threads ok\nchild ok\nparent ok\n' });
    } finally {
      await again.stop('SIGTERM');
    }
    await expect.poll(alive, { timeout: 10_000 }).toBe(false);
  }, 120_000);

  test('a service that cannot have its socket says so and serves the rest', async () => {
    const dataDir = temporaryDataDir();
    const service = await startService({ dataDir, env: { AEGIS_PKCS11_SOCKET: `/tmp/${'x'.repeat(120)}/p.sock` } });
    expect(service.output()).toContain('pkcs11     not served');
    await discard(service);
  }, 60_000);
});
