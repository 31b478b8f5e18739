import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { type KmipServer, makeKmipServer } from '../planes/kmip/index.js';
import type { KmipConfig } from './config/kmip.js';
import type { Config } from './config/load.js';
import { ensureKmipIdentity, type KmipIdentity } from './kmip-identity.js';
import type { Core } from './service.js';
import { StartError } from './start-error.js';
import { VERSION } from './version.js';

/** The KMIP plane as it runs; `problem` instead of addresses where a default port was taken. */
export interface RunningKmip {
  readonly addresses: readonly { readonly name: string; readonly address: string }[];
  /** `<dataDir>/kmip`, where the identities of the internal authority are. */
  readonly directory: string | undefined;
  readonly problem: string | undefined;
  stop(): Promise<void>;
}

const RETRY_MS = 5_000;

/** The identity of the internal authority could not be made: the root of trust is away, say. */
class IdentityProblem extends Error {
  readonly reason: unknown;
  constructor(reason: unknown) {
    super(reason instanceof Error ? reason.message : 'the KMIP identity could not be made');
    this.name = 'IdentityProblem';
    this.reason = reason;
  }
}

const readPem = (path: string, what: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new StartError(
      `kmip.tls.${what}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'Correct the path in the configuration.',
    );
  }
};

/** Certificates of the operator's own, read once; those of the internal authority follow its changes. */
async function tlsOf(config: KmipConfig, core: Core, dataDir: string, log: Logger) {
  const { tls } = config;
  if (tls !== undefined) {
    const own = {
      key: readPem(tls.key, 'key'),
      cert: readPem(tls.certificate, 'certificate'),
      ca: readPem(tls.clientCa, 'clientCa'),
      ...(tls.crl === undefined ? {} : { crl: readPem(tls.crl, 'crl') }),
    };
    return { identity: undefined, read: () => own };
  }
  const identity: KmipIdentity = await ensureKmipIdentity(core, dataDir, { names: [...config.names, config.host], log }).catch(
    (error: unknown) => {
      throw new IdentityProblem(error);
    },
  );
  return { identity, read: () => identity.serverTls() };
}

const PROTECTION = { software: 'software', pkcs11: 'hsm' } as const;
const protectionOf = (config: Config) => [
  ...new Set(
    Object.values(config.roots).map(({ kind }) => (Object.hasOwn(PROTECTION, kind) ? PROTECTION[kind as 'software'] : 'external')),
  ),
];

const portError = (config: KmipConfig, error: NodeJS.ErrnoException): StartError =>
  error.code === 'EADDRINUSE'
    ? new StartError(
        `a port of the KMIP plane (${config.port}, ${config.httpsPort ?? '-'}) on ${config.host} is in use`,
        'Stop what listens there, or choose others: AEGIS_KMIP_PORT, AEGIS_KMIP_HTTPS_PORT (0 = any free port).',
      )
    : new StartError(`the KMIP plane cannot listen on ${config.host}:${config.port} (${error.code})`, 'Choose another address: kmip.host.');

/** Starts the plane, or answers nothing where the configuration switches it off. `onListening` learns its addresses, now or later. */
export async function startKmip(
  config: Config,
  core: Core,
  log: Logger,
  onListening: (addresses: RunningKmip['addresses']) => void,
): Promise<RunningKmip | undefined> {
  if (!config.kmip.enabled) return undefined;
  const ownCertificates = config.kmip.tls !== undefined;
  const begin = async (): Promise<RunningKmip> => {
    const running = await listenKmip(config, core, log);
    onListening(running.addresses);
    return running;
  };
  try {
    return await begin();
  } catch (error) {
    // The internal authority needs its root of trust; one that is not there yet must not keep the other planes from starting.
    if (ownCertificates || !(error instanceof IdentityProblem)) throw error instanceof IdentityProblem ? error.reason : error;
    return retryKmip(begin, error, log);
  }
}

/** Tries again until the identity can be made, or the service stops. */
function retryKmip(begin: () => Promise<RunningKmip>, first: IdentityProblem, log: Logger): RunningKmip {
  let running: RunningKmip | undefined;
  let stopped = false;
  let attempt: Promise<void> = Promise.resolve();
  const again = (): void => {
    attempt = begin().then(
      async (started) => {
        running = started;
        clearInterval(timer);
        if (stopped) await started.stop();
      },
      (error: unknown) => log.warn({ error: (error as Error).message }, 'the KMIP plane is not served yet'),
    );
  };
  log.warn({ error: first.message }, 'the KMIP plane is not served yet');
  const timer = setInterval(() => {
    if (running === undefined && !stopped) void attempt.then(again);
  }, RETRY_MS);
  return {
    addresses: [],
    directory: undefined,
    problem: first.message,
    async stop() {
      stopped = true;
      clearInterval(timer);
      await attempt;
      await running?.stop();
    },
  };
}

async function listenKmip(config: Config, core: Core, log: Logger): Promise<RunningKmip> {
  const { kmip } = config;
  const { identity, read } = await tlsOf(kmip, core, config.dataDir, log);
  const observe = core.metrics.kmipItem;
  const server: KmipServer = makeKmipServer({
    service: core.service,
    tls: read(),
    host: kmip.host,
    port: kmip.port,
    ...(kmip.httpsPort === undefined ? {} : { httpsPort: kmip.httpsPort }),
    limits: Object.fromEntries(Object.entries(kmip.limits).filter(([, value]) => value !== undefined)),
    clientEku: kmip.clientEku,
    certificateOptional: kmip.certificateOptional,
    settings: { rngSeed: kmip.rngSeed, interop: kmip.interop },
    facts: () => ({ version: VERSION, node: core.nodeId, protection: protectionOf(config) }),
    logger: log,
    onItem: observe,
  });
  identity?.onChange(() => server.reload(read()));
  const stop = async (): Promise<void> => {
    identity?.stop();
    await server.close();
  };
  try {
    const { host, port, httpsPort } = await server.listen();
    core.metrics.watch('aegis_kmip_connections', 'Connections of the KMIP plane.', ['state'], () => {
      const { open, handshakes, https } = server.connections();
      return [
        { labels: { state: 'open' }, value: open },
        { labels: { state: 'handshake' }, value: handshakes },
        { labels: { state: 'https' }, value: https },
      ];
    });
    const shown = host.includes(':') ? `[${host}]` : host;
    const addresses = [
      { name: 'kmip', address: `kmip://${shown}:${port}` },
      ...(httpsPort === undefined ? [] : [{ name: 'kmip-https', address: `https://${shown}:${httpsPort}/kmip` }]),
    ];
    return { addresses, directory: identity?.directory, problem: undefined, stop };
  } catch (error) {
    await stop();
    const known = portError(kmip, error as NodeJS.ErrnoException);
    // A second service on one machine is no mistake; one that asked for this very port is told.
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !kmip.defaultPorts) throw known;
    log.warn({ port: kmip.port, httpsPort: kmip.httpsPort }, 'the KMIP plane is not served: its default ports are taken');
    return { addresses: [], directory: identity?.directory, problem: known.message, stop: async () => undefined };
  }
}
