import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KMIP_VERSIONS, type KmipVersion } from '@aegis/kmip-ttlv';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import { CliError, EXIT, type Invocation, type OptionRow, type Terminal } from './command.js';
import { dataDirOf, readSecretFile } from './session.js';

const TIMEOUT_MS = 15_000;
const DEFAULT_PORT = 5696;

export const KMIP_OPTIONS: readonly OptionRow[] = [
  { name: 'host', value: 'HOST', summary: 'Host of the KMIP endpoint. Default 127.0.0.1.' },
  { name: 'port', value: 'PORT', summary: 'Default 5696, or where the local service listens.' },
  { name: 'identity', value: 'NAME', summary: 'Identity in kmip/ of the data directory: client (default) or client2.' },
  { name: 'cert', value: 'FILE', summary: 'Client certificate (PEM) instead. With --key and --ca.' },
  { name: 'key', value: 'FILE', summary: 'Its private key (PEM), readable by you only.' },
  { name: 'protocol', value: 'VERSION', choices: KMIP_VERSIONS, summary: 'KMIP version. Default 2.1.' },
];

const readFile = (path: string, what: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(
      `${what}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      EXIT.usage,
      'Give --cert, --key and --ca, or --data-dir of the service.',
    );
  }
};

/** Where the running local service says that it listens. */
function localPort(dataDir: string): number {
  const file = join(dataDir, 'service.json');
  if (!existsSync(file)) return DEFAULT_PORT;
  try {
    const { kmip } = JSON.parse(readFileSync(file, 'utf8')) as { kmip?: { name?: unknown; address?: unknown }[] };
    const plane = Array.isArray(kmip) ? kmip.find((one) => one.name === 'kmip') : undefined;
    const port = Number(/:(\d+)$/.exec(String(plane?.address))?.[1]);
    return Number.isInteger(port) ? port : DEFAULT_PORT;
  } catch {
    return DEFAULT_PORT;
  }
}

const portOf = ({ text }: Invocation, env: NodeJS.ProcessEnv, dataDir: string): number => {
  const given = text['port'] ?? (env['AEGIS_KMIP_PORT'] === '0' ? undefined : env['AEGIS_KMIP_PORT'] || undefined);
  if (given === undefined) return localPort(dataDir);
  const port = Number(given);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new CliError(`--port: “${given}” is no port`, EXIT.usage);
};

export interface KmipEndpoint {
  readonly client: KmipClient;
  readonly host: string;
  readonly port: number;
  /** TCP connection and TLS handshake, ms. */
  readonly connectMs: number;
}

const advice = (code: string | undefined): string => {
  if (code === 'ECONNREFUSED') return 'Is the service running, and its KMIP plane on? See `aegis status`.';
  if (code === 'DEPTH_ZERO_SELF_SIGNED_CERT' || code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' || code?.startsWith('SELF_SIGNED') === true)
    return 'The server’s certificate does not chain to --ca. Fetch the authority again: aegis cert ca --out ca.pem';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return 'The server’s certificate does not name this host: use a name it has, or add one by kmip.names.';
  return 'Look at `openssl s_client -connect HOST:PORT -cert … -key … -CAfile …`, and at the service’s log.';
};

/** Connects with an identity of the data directory, or the one given. */
export async function openKmip(invocation: Invocation, terminal: Terminal): Promise<KmipEndpoint> {
  const { text } = invocation;
  const dataDir = dataDirOf(invocation, terminal.env);
  const directory = join(dataDir, 'kmip');
  const name = text['identity'] ?? 'client';
  if (!/^[\w-]{1,64}$/.test(name)) throw new CliError(`--identity: “${name}” is no name`, EXIT.usage);
  if ((text['cert'] === undefined) !== (text['key'] === undefined)) throw new CliError('--cert and --key belong together', EXIT.usage);
  const tls = {
    ca: readFile(text['ca'] ?? join(directory, 'ca.pem'), 'authority'),
    cert: readFile(text['cert'] ?? join(directory, `${name}.pem`), 'certificate'),
    key: readSecretFile(text['key'] ?? join(directory, `${name}-key.pem`)),
  };
  const host = text['host'] ?? '127.0.0.1';
  const port = portOf(invocation, terminal.env, dataDir);
  const version = (text['protocol'] ?? '2.1') as KmipVersion;
  const started = performance.now();
  try {
    const client = await KmipClient.connect({ host, port, version, tls, timeoutMs: TIMEOUT_MS });
    return { client, host, port, connectMs: performance.now() - started };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CliError(`no KMIP at ${host}:${port}: ${code ?? message}`, EXIT.unavailable, advice(code));
  }
}
