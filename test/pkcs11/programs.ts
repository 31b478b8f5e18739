import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aegisOk, type RunningService, startService, temporaryDataDir } from '../service/running-service.js';

/** The stock client of the distribution and the programs that load it. */
export const CLIENT_MODULE = '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so';
const ENGINE = '/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so';

/** Program or file → Debian package that brings it. */
const PACKAGES: Readonly<Record<string, string>> = {
  [CLIENT_MODULE]: 'p11-kit-modules',
  [ENGINE]: 'libengine-pkcs11-openssl',
  '/usr/bin/pkcs11-tool': 'opensc',
  '/usr/bin/p11tool': 'gnutls-bin',
  '/usr/bin/openssl': 'openssl',
  '/usr/bin/certutil': 'libnss3-tools',
  '/usr/bin/ssh-keygen': 'openssh-client',
  '/usr/sbin/sshd': 'openssh-server',
  '/usr/bin/javac': 'default-jdk-headless',
  '/usr/sbin/nginx': 'nginx-light',
  '/usr/bin/gcc': 'gcc',
  '/usr/include/p11-kit-1/p11-kit/pkcs11.h': 'libp11-kit-dev',
};
export const needs = {
  pkcs11Tool: ['/usr/bin/pkcs11-tool'],
  p11tool: ['/usr/bin/p11tool'],
  openssl: ['/usr/bin/openssl', ENGINE],
  nss: ['/usr/bin/certutil'],
  ssh: ['/usr/bin/ssh-keygen', '/usr/sbin/sshd'],
  java: ['/usr/bin/javac'],
  nginx: ['/usr/sbin/nginx', '/usr/bin/openssl', ENGINE],
  c: ['/usr/bin/gcc', '/usr/include/p11-kit-1/p11-kit/pkcs11.h'],
} as const;

const told = new Set<string>();
/** Skips visibly, with the command that enables it; with AEGIS_NO_SKIP=1 the test runs and fails. */
export const skipWithout = (files: readonly string[]): boolean => {
  const absent = [CLIENT_MODULE, ...files].filter((file) => !existsSync(file));
  if (absent.length === 0) return false;
  const packages = [...new Set(absent.map((file) => PACKAGES[file] ?? file))].join(' ');
  if (!told.has(packages)) console.log(`skipped: sudo apt-get install ${packages}`);
  told.add(packages);
  return process.env.AEGIS_NO_SKIP !== '1';
};

export interface ProgramRun {
  readonly service: RunningService;
  readonly folder: string;
  readonly pin: string;
  readonly env: NodeJS.ProcessEnv;
  path(name: string): string;
  /** Runs a program; throws with everything it said unless it ended well. */
  ok(program: string, args: readonly string[], options?: RunOptions): string;
  run(program: string, args: readonly string[], options?: RunOptions): SpawnSyncReturns<Buffer>;
  /** pkcs11-tool with module and login. */
  tool(...args: string[]): string;
}
interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
}

const LIMIT_MS = 60_000;

export const openProgramRun = async (root: 'software' | 'softhsm', more: NodeJS.ProcessEnv = {}): Promise<ProgramRun> => {
  const dataDir = temporaryDataDir();
  // The token is made first: only then can it be the default for new keys.
  if (root === 'softhsm') aegisOk({ dataDir, port: 0 }, ['init', '--hsm']);
  const service = await startService({ dataDir, env: { ...(root === 'softhsm' ? { AEGIS_DEFAULT_ROOT: 'softhsm' } : {}), ...more } });
  const folder = mkdtempSync(join(tmpdir(), 'aegis-programs-'));
  const pin = aegisOk(service, ['pkcs11', 'pin', '--ttl', '2h']).toString().trim();
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    LANG: 'C.UTF-8',
    P11_KIT_SERVER_ADDRESS: `unix:path=${join(service.dataDir, 'pkcs11.sock')}`,
  };
  const run: ProgramRun['run'] = (program, args, options = {}) =>
    spawnSync(program, args, {
      cwd: folder,
      env: { ...env, ...options.env },
      timeout: LIMIT_MS,
      ...(options.input === undefined ? {} : { input: options.input }),
    });
  const ok: ProgramRun['ok'] = (program, args, options) => {
    const done = run(program, args, options);
    const said = `${done.stdout}${done.stderr}`;
    if (done.status !== 0) throw new Error(`${program} ${args.join(' ')} → ${done.status ?? done.signal}\n${said}`);
    return said;
  };
  return {
    ...{ service, folder, pin, env, run, ok },
    path: (name) => join(folder, name),
    tool: (...args) => ok('pkcs11-tool', ['--module', CLIENT_MODULE, '--login', '--pin', pin, ...args]),
  };
};
