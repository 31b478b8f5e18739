import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { makeRestServer } from '../planes/rest/index.js';
import type { Config } from './config/load.js';
import { lockDataDirectory, openDataDirectory, writeFileDurably } from './data-directory.js';
import { firstWords } from './first-words.js';
import { type RunningKmip, startKmip } from './kmip.js';
import { makeLogger } from './log.js';
import { type RunningPkcs11, startPkcs11 } from './pkcs11-plane.js';
import { provisionSoftHsmRoot } from './roots.js';
import { type Core, openCore } from './service.js';
import { StartError } from './start-error.js';
import { VERSION } from './version.js';

/** A second signal, or this long after the first, ends the process however busy it is. */
const STOP_TIMEOUT_MS = 20_000;

export interface RunningService {
  readonly url: string;
  readonly core: Core;
  readonly kmip: RunningKmip | undefined;
  readonly pkcs11: RunningPkcs11 | undefined;
  /** From now on the readiness page says what is so; before, that the planes are starting. */
  answerReady(): void;
  stop(): Promise<void>;
}

const portError = (host: string, port: number, code: string | undefined): StartError =>
  code === 'EADDRINUSE'
    ? new StartError(
        `port ${port} on ${host} is in use`,
        'Stop what listens there, or choose another port: AEGIS_REST_PORT=8421 or --rest-port 8421.',
      )
    : new StartError(`cannot listen on ${host}:${port} (${code})`, 'Choose another address or port: AEGIS_REST_HOST, AEGIS_REST_PORT.');

/** Tries the port before anything slow starts, so that a taken one is told at once. */
function checkPort(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => reject(portError(host, port, error.code)));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()));
  });
}

const readPem = (path: string, what: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new StartError(
      `rest.tls.${what}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'Correct the path in the configuration.',
    );
  }
};

function tlsOf(config: Config) {
  const { tls } = config.rest;
  if (tls === undefined) return undefined;
  const asks = tls.clientCertificates !== undefined && tls.clientCertificates !== 'off';
  if (asks && tls.clientCa === undefined)
    throw new StartError(
      'rest.tls.clientCertificates needs rest.tls.clientCa',
      'Name the PEM file of the authorities whose client certificates are accepted.',
    );
  return {
    cert: readPem(tls.certificate, 'certificate'),
    key: readPem(tls.key, 'key'),
    ...(tls.clientCa === undefined ? {} : { ca: readPem(tls.clientCa, 'clientCa') }),
    ...(asks ? { requestClientCertificate: true } : {}),
  };
}

/** Until every plane has started (or has said that it starts later): who waits for readiness may use any of them then. */
const STARTING = { ready: false, checks: [{ name: 'planes', state: 'down', detail: 'The planes are starting.' }] };

/** Starts the service on a data directory that the caller has opened and locked. */
async function start(config: Config, log: Logger): Promise<RunningService> {
  const { host, port } = config.rest;
  const tls = tlsOf(config);
  if (port !== 0) await checkPort(host, port);
  const core = await openCore(config, log);
  const state = { started: false };
  try {
    const rest = makeRestServer({
      service: core.service,
      idempotency: core.storage.idempotency,
      readiness: () => (state.started ? core.readiness() : Promise.resolve(STARTING)),
      metrics: core.metrics.text,
      limits: { bodyBytes: config.rest.bodyBytes, concurrency: config.rest.concurrency, handlerTimeoutMs: config.rest.requestTimeoutMs },
      allowedHosts: config.rest.hostNames,
      logger: log,
      version: VERSION,
      ...(tls === undefined ? {} : { tls }),
    });
    const address = await rest.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
      throw portError(host, port, error.code);
    });
    const url = address.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]');
    const pkcs11 = await startPkcs11(config, core, log);
    const showPlanes = (more: RunningKmip['addresses']): void =>
      core.setPlanes([{ name: 'rest', address: url }, ...more, ...(pkcs11?.addresses ?? [])]);
    showPlanes([]);
    const kmip = await startKmip(config, core, log, showPlanes).catch(async (error: unknown) => {
      await Promise.all([rest.close(), pkcs11?.stop()]);
      throw error;
    });
    return {
      url,
      core,
      kmip,
      pkcs11,
      answerReady() {
        state.started = true;
      },
      async stop() {
        await Promise.all([rest.close(), kmip?.stop(), pkcs11?.stop()]);
        await core.stop();
      },
    };
  } catch (error) {
    await core.stop();
    throw error;
  }
}

async function show(config: Config, running: RunningService): Promise<void> {
  const views = await Promise.all(running.core.registry.ids().map((id) => running.core.registry.view(id)));
  process.stdout.write(
    firstWords({
      url: running.url,
      dataDir: config.dataDir,
      database: running.core.databaseKind === 'embedded' ? 'private PostgreSQL in the data directory' : 'PostgreSQL by configuration',
      roots: views.map(({ id, state, detail }) => ({ id, state, detail })),
      defaultRoot: config.defaultRoot,
      token: running.core.firstToken,
      kmip: running.kmip,
      pkcs11: running.pkcs11,
    }),
  );
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends at once. */
function untilSignal(log: Logger): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(1);
      asked = true;
      log.info({ signal }, 'stopping');
      setTimeout(() => {
        log.error('could not stop in time');
        process.exit(1);
      }, STOP_TIMEOUT_MS).unref();
      resolve(signal);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

/** Runs the service in the foreground until a signal; answers the exit code. */
export async function serve(given: Config, options: { readonly hsm: boolean }): Promise<number> {
  const signalled = untilSignal(makeLogger(given.logLevel));
  const log = makeLogger(given.logLevel);
  openDataDirectory(given.dataDir);
  const unlock = lockDataDirectory(given.dataDir);
  try {
    const config = await withSoftHsm(given, options.hsm);
    const running = await start(config, log);
    writeFileDurably(
      config.dataDir,
      'service.json',
      `${JSON.stringify({ url: running.url, pid: process.pid, kmip: running.kmip?.addresses ?? [], pkcs11: running.pkcs11?.addresses ?? [] })}\n`,
    );
    running.answerReady();
    await show(config, running);
    await signalled;
    rmSync(join(config.dataDir, 'service.json'), { force: true });
    await running.stop();
    return 0;
  } finally {
    unlock();
  }
}

async function withSoftHsm(config: Config, wanted: boolean): Promise<Config> {
  if (!wanted) return config;
  const softhsm = await provisionSoftHsmRoot(config.dataDir);
  return { ...config, roots: { ...config.roots, softhsm } };
}

/** Makes everything a first start makes, without serving. */
export async function initialise(given: Config, options: { readonly hsm: boolean }): Promise<Record<string, unknown>> {
  openDataDirectory(given.dataDir);
  const unlock = lockDataDirectory(given.dataDir);
  try {
    const config = await withSoftHsm(given, options.hsm);
    const core = await openCore(config, makeLogger(config.logLevel));
    await core.stop();
    return {
      dataDir: config.dataDir,
      roots: Object.keys(config.roots),
      adminToken: join(config.dataDir, 'admin-token'),
      created: core.firstToken !== undefined,
    };
  } finally {
    unlock();
  }
}
