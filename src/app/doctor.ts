import { existsSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, type ConfigFlags, loadConfig } from './config/load.js';

export interface Diagnosis {
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do about it. */
  readonly next?: string;
}

const LOW_DISK_BYTES = 1024 ** 3;

interface Target {
  readonly url: string;
  readonly token: string | undefined;
}

const ok = (check: string, detail: string): Diagnosis => ({ check, state: 'ok', detail });
const warn = (check: string, detail: string, next: string): Diagnosis => ({ check, state: 'warn', detail, next });
const bad = (check: string, detail: string, next: string): Diagnosis => ({ check, state: 'fail', detail, next });

function checkDataDirectory(dataDir: string): Diagnosis[] {
  if (!existsSync(dataDir)) return [warn('data directory', `${dataDir} does not exist`, 'It is made by the first start: npm start')];
  const { mode } = statSync(dataDir);
  const { bavail, bsize } = statfsSync(dataDir);
  const free = bavail * bsize;
  const disk = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
  return [
    (mode & 0o077) === 0
      ? ok('data directory', dataDir)
      : bad('data directory', `${dataDir} can be entered by others`, `chmod 700 ${dataDir}`),
    free > LOW_DISK_BYTES
      ? ok('disk', disk)
      : warn('disk', disk, 'Without room for audit records the service refuses every call: make room.'),
    existsSync(join(dataDir, 'admin-token'))
      ? ok('admin token', 'admin-token is in the data directory')
      : warn('admin token', 'no admin-token in the data directory', 'docs/runbooks/lost-admin-token.md'),
  ];
}

const get = async (target: Target, path: string): Promise<{ status: number; body: unknown }> => {
  const response = await fetch(target.url + path, {
    headers: target.token === undefined ? {} : { authorization: `Bearer ${target.token}` },
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, body: await response.json().catch(() => undefined) };
};

async function checkService(target: Target): Promise<Diagnosis[]> {
  const ready = await get(target, '/health/ready').catch(() => undefined);
  if (ready === undefined) return [bad('service', `${target.url} does not answer`, 'Start it: npm start')];
  const { checks = [] } = (ready.body ?? {}) as { checks?: { name: string; state: string; detail?: string }[] };
  const found = checks.map((c): Diagnosis => {
    const detail = c.detail ?? c.state;
    if (c.state === 'up') return ok(c.name, detail);
    return c.state === 'down'
      ? bad(c.name, detail, c.name.startsWith('root') ? 'docs/runbooks/hsm-unavailable.md' : 'See the service’s log.')
      : warn(c.name, detail, c.name.startsWith('root') ? 'docs/runbooks/hsm-unavailable.md' : 'See the service’s log.');
  });
  const who = await get(target, '/v1/whoami').catch(() => undefined);
  const token =
    who?.status === 200
      ? ok('token', 'accepted')
      : bad('token', `refused (${who?.status ?? 'no answer'})`, 'Choose another with --token-file, or docs/runbooks/lost-admin-token.md');
  return [ok('service', `${target.url} answers`), ...found, token];
}

/** Looks at everything that can be looked at from outside, and says how to mend what is wrong. */
export async function diagnose(flags: ConfigFlags, session: () => Target): Promise<Diagnosis[]> {
  try {
    const config = loadConfig(flags);
    const configuration = ok('configuration', config.configFile ?? 'defaults and environment');
    const node = ok('node', process.versions.node);
    return [node, configuration, ...checkDataDirectory(config.dataDir), ...(await checkService(session()))];
  } catch (error) {
    if (error instanceof ConfigError) return [bad('configuration', error.message, 'Mend it, then: aegis config validate')];
    throw error;
  }
}
