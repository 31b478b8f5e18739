import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The built command, as a user runs it. */
const PROJECT_ROOT = new URL('../..', import.meta.url).pathname;
export const AEGIS = join(PROJECT_ROOT, 'dist', 'cli', 'main.js');
const READY_TIMEOUT_MS = 90_000;

export interface RunningService {
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  readonly pid: number;
  readonly process: ChildProcess;
  /** Everything printed so far. */
  output(): string;
  token(): string;
  /** Waits for the process to end; answers its exit code or signal. */
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stop(signal?: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const temporaryDataDir = (): string => mkdtempSync(join(tmpdir(), 'aegis-e2e-'));

export interface StartOptions {
  readonly dataDir?: string;
  readonly port?: number;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Resolve when listening is impossible too (the process ended). */
  readonly allowExit?: boolean;
}

/** Environment of a user's shell without this test run's own settings. */
function userEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('AEGIS_') && !name.startsWith('VITEST') && name !== 'NODE_OPTIONS'),
  );
  return { ...clean, XDG_CONFIG_HOME: join(tmpdir(), 'aegis-no-config'), ...extra };
}

/** Starts `aegis up` and waits until it is ready. */
export async function startService(options: StartOptions = {}): Promise<RunningService> {
  const dataDir = options.dataDir ?? temporaryDataDir();
  const port = options.port ?? (await freePort());
  const child = spawn(process.execPath, [AEGIS, 'up', ...(options.args ?? [])], {
    env: userEnvironment({
      AEGIS_DATA_DIR: dataDir,
      AEGIS_REST_PORT: String(port),
      // Many services run beside one another in tests.
      AEGIS_KMIP_PORT: '0',
      AEGIS_KMIP_HTTPS_PORT: '0',
      ...options.env,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  child.stdout.on('data', (part) => (printed += part));
  child.stderr.on('data', (part) => (printed += part));
  let ended = false;
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('exit', (code, signal) => {
      ended = true;
      resolve({ code, signal });
    });
  });
  const url = `http://127.0.0.1:${port}`;
  const service: RunningService = {
    url,
    port,
    dataDir,
    pid: child.pid ?? -1,
    process: child,
    output: () => printed,
    token: () => readFileSync(join(dataDir, 'admin-token'), 'utf8').trim(),
    exited,
    async stop(signal = 'SIGTERM') {
      if (!ended) child.kill(signal);
      return exited;
    },
  };
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    if (ended) {
      if (options.allowExit === true) return service;
      throw new Error(`the service ended before it was ready:\n${printed}`);
    }
    const ready = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2_000) }).then(
      (r) => r.status === 200,
      () => false,
    );
    if (ready) return service;
    await sleep(50);
  }
  child.kill('SIGKILL');
  throw new Error(`the service was not ready within ${READY_TIMEOUT_MS} ms:\n${printed}`);
}

/** Stops whatever is left and removes the data directory. */
export async function discard(service: RunningService | undefined): Promise<void> {
  if (service === undefined) return;
  await service.stop('SIGTERM');
  rmSync(service.dataDir, { recursive: true, force: true, maxRetries: 5 });
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs `aegis …` against a service, in a working directory of its own. */
export function aegis(
  service: { readonly dataDir: string; readonly port: number },
  args: readonly string[],
  options: { input?: Uint8Array; cwd?: string; env?: NodeJS.ProcessEnv } = {},
): CommandResult {
  const result = spawnSync(process.execPath, [AEGIS, ...args], {
    env: userEnvironment({ AEGIS_DATA_DIR: service.dataDir, AEGIS_REST_PORT: String(service.port), ...options.env }),
    maxBuffer: 512 * 1024 * 1024,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr.toString() };
}

/** Runs it and insists on success. */
export function aegisOk(
  service: { readonly dataDir: string; readonly port: number },
  args: readonly string[],
  options: Parameters<typeof aegis>[2] = {},
): Buffer {
  const result = aegis(service, args, options);
  if (result.code !== 0) throw new Error(`aegis ${args.join(' ')} → ${result.code}\n${result.stdout.toString()}${result.stderr}`);
  return result.stdout;
}

export const call = async (
  service: RunningService,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; body: Record<string, unknown> }> => {
  const response = await fetch(service.url + path, {
    method,
    headers: {
      authorization: `Bearer ${service.token()}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
};

export const softHsmPresent = (): boolean =>
  [
    '/usr/lib/softhsm/libsofthsm2.so',
    '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
    '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
    '/usr/local/lib/softhsm/libsofthsm2.so',
  ].some((path) => existsSync(path));

/** Skips visibly where something is missing, unless skipping is forbidden: then the test runs and fails. */
export const missing = (present: boolean): boolean => !present && process.env.AEGIS_NO_SKIP !== '1';
