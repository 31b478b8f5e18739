import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { aegisOk, call, discard, type RunningService, startService } from './running-service.js';

/**
 * `kill -9` of the server, of PostgreSQL and of both, under load. What was acknowledged must be there afterwards, nothing
 * half-done may show, and the audit log must verify.
 */
const ROUNDS = 21;
const WRITERS = 8;
const VICTIMS = ['server', 'postgres', 'both'] as const;

let service: RunningService | undefined;
afterAll(() => discard(service));

/** Pids of the private PostgreSQL of this data directory: the postmaster and its children. */
function postgresPids(dataDir: string): number[] {
  const pids: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8');
      const cwd = spawnSync('readlink', [`/proc/${entry}/cwd`], { encoding: 'utf8' }).stdout.trim();
      if (/postgres/.test(command) && cwd.startsWith(dataDir)) pids.push(Number(entry));
    } catch {
      // The process ended while we looked.
    }
  }
  return pids;
}

interface Acknowledged {
  readonly created: Set<string>;
  readonly signed: Set<string>;
  readonly destroyed: Set<string>;
}

async function writer(
  running: RunningService,
  index: number,
  round: number,
  acknowledged: Acknowledged,
  stopped: () => boolean,
): Promise<void> {
  for (let i = 0; !stopped(); i += 1) {
    const name = `r${round}w${index}n${i}`;
    try {
      const created = await call(running, 'POST', '/v1/keys', { spec: 'ec-p256', names: [name], activate: i % 2 === 0 });
      if (created.status === 201) acknowledged.created.add(name);
      else continue;
      if (i % 2 === 0) {
        const requestId = `sign-${name}`;
        const signed = await call(
          running,
          'POST',
          `/v1/keys/${name}/sign`,
          { message: 'AAAA', algorithm: 'ecdsa-sha256' },
          { 'x-request-id': requestId },
        );
        if (signed.status === 200) acknowledged.signed.add(requestId);
      } else {
        const destroyed = await call(running, 'POST', `/v1/keys/${name}/destroy`, {});
        if (destroyed.status === 200) acknowledged.destroyed.add(name);
      }
    } catch {
      // The connection broke: nothing was acknowledged.
      await sleep(20);
    }
  }
}

test(`nothing acknowledged is lost in ${ROUNDS} rounds of kill -9`, { timeout: 900_000 }, async () => {
  service = await startService();
  const { dataDir, port } = service;
  const acknowledged: Acknowledged = { created: new Set(), signed: new Set(), destroyed: new Set() };
  for (let round = 0; round < ROUNDS; round += 1) {
    const victim = VICTIMS[round % VICTIMS.length];
    let stopped = false;
    const running: RunningService = service;
    const writers = Array.from({ length: WRITERS }, (_, i) => writer(running, i, round, acknowledged, () => stopped));
    await sleep(300 + Math.random() * 500);
    if (victim !== 'server')
      for (const pid of postgresPids(dataDir)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended together with its postmaster.
        }
      }
    if (victim !== 'postgres') {
      running.process.kill('SIGKILL');
      await running.exited;
      stopped = true;
      await Promise.all(writers);
      service = await startService({ dataDir, port });
    } else {
      // The service heals by itself.
      const deadline = Date.now() + 60_000;
      for (;;) {
        const ready = await fetch(`${running.url}/health/ready`).then(
          (r) => r.status === 200,
          () => false,
        );
        if (ready) break;
        if (Date.now() > deadline) throw new Error(`not healed after the database was killed:\n${running.output().slice(-3_000)}`);
        await sleep(100);
      }
      await sleep(200);
      stopped = true;
      await Promise.all(writers);
    }
  }
  expect(acknowledged.created.size).toBeGreaterThan(ROUNDS * 5);

  for (const name of acknowledged.created) {
    const { status, body } = await call(service, 'GET', `/v1/keys/${name}`);
    expect(status, name).toBe(200);
    if (acknowledged.destroyed.has(name)) expect(body['state'], name).toBe('destroyed');
    // Whatever shows is whole: an active key signs, a destroyed one does not.
    if (body['state'] === 'active')
      expect((await call(service, 'POST', `/v1/keys/${name}/sign`, { message: 'AAAA', algorithm: 'ecdsa-sha256' })).status, name).toBe(200);
  }
  const exported = aegisOk(service, ['audit', 'export', '--format', 'jsonl']).toString();
  for (const requestId of acknowledged.signed) expect(exported.includes(`"requestId":"${requestId}"`), requestId).toBe(true);
  const verified = JSON.parse(aegisOk(service, ['audit', 'verify', '--json']).toString()) as { valid: boolean; problems: string[] };
  expect(verified.problems).toEqual([]);
  expect(verified.valid).toBe(true);
});
