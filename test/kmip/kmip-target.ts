import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KmipVersion } from '@aegis/kmip-ttlv';
import { KmipClient, type KmipClientOptions } from '@aegis/kmip-ttlv/client';
import { type Config, loadConfig } from '../../src/app/config/load.js';
import { makeLogger } from '../../src/app/log.js';
import { provisionSoftHsmRoot } from '../../src/app/roots.js';
import { type Core, openCore } from '../../src/app/service.js';
import type { OperationName, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import { type KmipServer, type KmipServerOptions, makeKmipServer } from '../../src/planes/kmip/index.js';
import { makeTestAuthority, type TestAuthority, type TestCertificate } from './test-certificates.js';

/**
 * The KMIP plane over the real service (embedded PostgreSQL, guard, policy, audit, root of trust in its own process), on free ports.
 * `alice` and `bob` are administrators of tenant `default`, `stranger` is one of tenant `other`; each has a client certificate.
 */
export interface KmipTarget {
  readonly host: string;
  readonly port: number;
  readonly httpsPort: number;
  /** PEM of the authority of server and clients, and the means to issue more. */
  readonly authority: TestAuthority;
  readonly identities: Readonly<Record<KmipUser, TestCertificate>>;
  readonly server: KmipServer;
  readonly core: Core;
  /** A connected client; `alice` and version 2.1 unless told otherwise. Closed by `stop` too. */
  connect(user?: KmipUser, version?: KmipVersion, options?: Partial<KmipClientOptions>): Promise<KmipClient>;
  /** `ca`, `cert` and `key` for tls.connect or https.request as a user. */
  tls(user?: KmipUser): { ca: string; cert: string; key: string };
  /** A call past the wire, as the bootstrap administrator of tenant `default` (plane `rest`). Throws on refusal. */
  admin<O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>>;
  /** Another plane over the same service, e.g. with other settings. Stopped by `stop` too. */
  serve(options?: Partial<KmipServerOptions>): Promise<{ server: KmipServer; port: number; httpsPort: number | undefined }>;
  stop(): Promise<void>;
}
export type KmipUser = 'alice' | 'bob' | 'stranger';

export interface KmipTargetOptions {
  /** `software` unless given; `softhsm` makes a token in the data directory. */
  readonly root?: 'software' | 'softhsm';
  /** Where the token's keys are kept; token objects unless given. */
  readonly storage?: 'token' | 'wrapped';
  readonly server?: Partial<KmipServerOptions>;
  readonly config?: Partial<Config>;
}

const TENANTS: Readonly<Record<KmipUser, string>> = { alice: 'default', bob: 'default', stranger: 'other' };

const softHsm = async (dataDir: string, storage: 'token' | 'wrapped' | undefined) => {
  const settings = await provisionSoftHsmRoot(dataDir);
  return { softhsm: storage === undefined ? settings : ({ ...settings, storage } as typeof settings) };
};

export async function startKmipTarget(options: KmipTargetOptions = {}): Promise<KmipTarget> {
  const dataDir = mkdtempSync(join(tmpdir(), 'aegis-kmip-'));
  const base = loadConfig({ dataDir, logLevel: process.env['AEGIS_TEST_LOG'] === '1' ? 'warn' : 'silent' }, {});
  const softhsm = options.root === 'softhsm' ? await softHsm(dataDir, options.storage) : undefined;
  const config: Config = {
    ...base,
    ...(softhsm === undefined ? {} : { roots: { ...base.roots, ...softhsm }, defaultRoot: 'softhsm' }),
    ...options.config,
  };
  const log = makeLogger(config.logLevel);
  const core = await openCore(config, log);
  const token = core.firstToken as string;
  const admin = async <O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>> => {
    const result = await core.service(operation, request, {
      plane: 'rest',
      credential: { kind: 'bearer', token },
      requestId: 'test',
      source: 'local',
    });
    if (!result.ok) throw new Error(`${operation}: ${result.fault.code}: ${result.fault.message}`);
    return result.value;
  };

  const authority = makeTestAuthority();
  const serverCertificate = authority.issue('localhost', { eku: 'serverAuth', san: 'DNS:localhost,IP:127.0.0.1' });
  const identities = {} as Record<KmipUser, TestCertificate>;
  for (const user of Object.keys(TENANTS) as KmipUser[]) {
    identities[user] = authority.issue(user);
    await admin('create-principal', {
      kind: 'service',
      name: user,
      roles: ['admin'],
      tenant: TENANTS[user],
      certificate: { fingerprint: identities[user].fingerprint },
    });
  }

  const servers: KmipServer[] = [];
  const serve = async (more: Partial<KmipServerOptions> = {}) => {
    const server = makeKmipServer({
      service: core.service,
      tls: { key: serverCertificate.key, cert: serverCertificate.cert, ca: authority.cert },
      port: 0,
      httpsPort: 0,
      logger: log,
      ...more,
      settings: { interop: true, ...more.settings },
    });
    servers.push(server);
    const address = await server.listen();
    return { server, port: address.port, httpsPort: address.httpsPort };
  };
  const main = await serve(options.server);
  const clients: KmipClient[] = [];
  const tls = (user: KmipUser = 'alice') => ({ ca: authority.cert, cert: identities[user].cert, key: identities[user].key });
  return {
    host: '127.0.0.1',
    port: main.port,
    httpsPort: main.httpsPort as number,
    authority,
    identities,
    server: main.server,
    core,
    async connect(user = 'alice', version = '2.1', more = {}) {
      const client = await KmipClient.connect({
        host: '127.0.0.1',
        port: main.port,
        version,
        ...more,
        tls: { ...tls(user), servername: 'localhost', ...more.tls },
      });
      clients.push(client);
      return client;
    },
    tls,
    admin,
    serve,
    async stop() {
      await Promise.all(clients.map((client) => client.close()));
      await Promise.all(servers.map((server) => server.close(2_000)));
      await core.stop();
      rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
