import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { parseDocument } from 'yaml';
import { type KmipConfig, resolveKmip } from './kmip.js';
import { type Pkcs11Config, resolvePkcs11 } from './pkcs11.js';
import { type ConfigFile, ConfigSchema, type RootSettings, RootSettingsSchema } from './schema.js';

/** What the service runs with: file, then environment, then flags, the later the stronger. */
export interface Config {
  readonly dataDir: string;
  readonly configFile: string | undefined;
  readonly nodeId: string | undefined;
  /** Connection string of an external PostgreSQL; undefined = private server. */
  readonly databaseUrl: string | undefined;
  readonly maxConnections: number;
  readonly rest: Required<Omit<NonNullable<ConfigFile['rest']>, 'tls'>> & { readonly tls: NonNullable<ConfigFile['rest']>['tls'] };
  readonly kmip: KmipConfig;
  readonly pkcs11: Pkcs11Config;
  readonly roots: Readonly<Record<string, RootSettings>>;
  readonly defaultRoot: string;
  readonly policyDirectory: string | undefined;
  readonly destroyPendingMs: number;
  readonly checkpointEveryMs: number;
  readonly auditMaxPending: number;
  readonly logLevel: string;
  /** Where each effective setting came from, for `aegis config show`. */
  readonly origins: Readonly<Record<string, string>>;
}

export interface ConfigProblem {
  /** Dotted path in the file, or the variable's or flag's name. */
  readonly path: string;
  readonly reason: string;
  readonly line?: number;
}

export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];
  constructor(source: string, problems: readonly ConfigProblem[]) {
    super(
      `${source}: ${problems.map((p) => `${p.line === undefined ? '' : `line ${p.line}: `}${p.path === '' ? '' : `${p.path}: `}${p.reason}`).join('; ')}`,
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * Environment variables and what they set; the reference page derives from it.
 * @public read by src/setup/docs.mjs
 */
export const ENVIRONMENT = {
  AEGIS_DATA_DIR: 'Data directory. Default `./.aegis`.',
  AEGIS_CONFIG: 'Configuration file. Default `aegis.yaml` in the data directory, if there.',
  AEGIS_DATABASE_URL: 'External PostgreSQL ≥ 14, e.g. `postgres://user@host/db`. Default: a private server.',
  AEGIS_REST_HOST: 'Address the REST plane listens on. Default `127.0.0.1`.',
  AEGIS_REST_PORT: 'Port of the REST plane. Default 8420.',
  AEGIS_KMIP_HOST: 'Address the KMIP plane listens on. Default `127.0.0.1`.',
  AEGIS_KMIP_PORT: 'Port of the KMIP plane (TTLV over TLS). Default 5696; 0 = any free port.',
  AEGIS_KMIP_HTTPS_PORT: 'Port of the KMIP plane’s HTTPS binding. Default 5697; 0 = any free port.',
  AEGIS_PKCS11_SOCKET: 'Path of the PKCS#11 socket, or `off`. Default `pkcs11.sock` in the data directory.',
  AEGIS_PKCS11_PRINCIPAL: 'Principal that whoever opens the PKCS#11 socket acts as. Default: applications log in.',
  AEGIS_DEFAULT_ROOT: 'Root of trust for new keys that do not name one.',
  AEGIS_NODE_ID: 'Stable name of this node.',
  AEGIS_LOG_LEVEL: 'trace, debug, info, warn, error, fatal or silent. Default `info`.',
} as const;

const DEFAULT_REST = {
  host: '127.0.0.1',
  port: 8420,
  hostNames: [],
  bodyBytes: 2 * 1024 * 1024,
  concurrency: 1_024,
  requestTimeoutMs: 30_000,
};

/** Checks a value and answers each problem with its path and, where it came from text, its line. */
function checkConfig(schema: TSchema, value: unknown, lineOf: (path: string) => number | undefined): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  for (const error of Value.Errors(schema, value)) {
    const path = error.path.replace(/^\//, '').replaceAll('/', '.');
    const line = lineOf(path);
    problems.push({ path, reason: error.message.toLowerCase(), ...(line === undefined ? {} : { line }) });
    if (problems.length >= 20) break;
  }
  return problems;
}

/** Reads and checks a configuration file (YAML or JSON). */
function readConfigFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(path, [
      {
        path: '',
        reason: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'}); check the path and its permissions`,
      },
    ]);
  }
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) {
    throw new ConfigError(
      path,
      document.errors.map((e) => ({
        path: '',
        reason: e.message.split('\n')[0] ?? 'not valid YAML',
        ...(e.linePos === undefined ? {} : { line: e.linePos[0].line }),
      })),
    );
  }
  const value: unknown = document.toJS() ?? {};
  const lineOf = (dotted: string): number | undefined => {
    const node = document.getIn(dotted.split('.'), true) as { range?: [number, number, number] } | undefined;
    const offset = node?.range?.[0];
    return offset === undefined ? undefined : text.slice(0, offset).split('\n').length;
  };
  const problems = checkConfig(ConfigSchema, value, lineOf);
  if (problems.length > 0) throw new ConfigError(path, problems);
  return value as ConfigFile;
}

const readSecretText = (source: { file: string } | { env: string } | { prompt: string }, env: NodeJS.ProcessEnv, what: string): string => {
  if ('file' in source) return readFileSync(source.file, 'utf8').trimEnd();
  if ('env' in source) {
    const value = env[source.env];
    if (value === undefined || value === '')
      throw new ConfigError(what, [{ path: source.env, reason: 'the environment variable is not set' }]);
    return value;
  }
  throw new ConfigError(what, [{ path: 'prompt', reason: 'a database URL cannot be prompted for; use file or env' }]);
};

const parsePort = (text: string, name: string): number => {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new ConfigError('environment', [{ path: name, reason: `must be a port number from 0 to 65535, not “${text.slice(0, 40)}”` }]);
  return port;
};

/** Roots provisioned into the data directory (`npm start -- --hsm`), one JSON file each. */
function provisionedRoots(dataDir: string): Record<string, RootSettings> {
  const directory = join(dataDir, 'roots');
  const roots: Record<string, RootSettings> = {};
  if (!existsSync(directory)) return roots;
  for (const file of readdirSync(directory).sort()) {
    const name = /^([a-z][a-z0-9-]{0,31})\.json$/.exec(file)?.[1];
    if (name === undefined) continue;
    const path = join(directory, file);
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    const problems = checkConfig(RootSettingsSchema, value, () => undefined);
    if (problems.length > 0) throw new ConfigError(path, problems);
    roots[name] = value as RootSettings;
  }
  return roots;
}

export interface ConfigFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly restPort?: string;
  readonly restHost?: string;
  readonly defaultRoot?: string;
  readonly logLevel?: string;
}

/** File < environment < flags. Throws ConfigError naming the field and, for the file, the line. */
export function loadConfig(flags: ConfigFlags = {}, env: NodeJS.ProcessEnv = process.env): Config {
  const dataDir = resolve(flags.dataDir ?? env.AEGIS_DATA_DIR ?? '.aegis');
  const implicit = join(dataDir, 'aegis.yaml');
  const explicit = flags.config ?? env.AEGIS_CONFIG;
  const configFile = explicit === undefined ? (existsSync(implicit) ? implicit : undefined) : resolve(explicit);
  const file: ConfigFile = configFile === undefined ? {} : readConfigFile(configFile);
  const origins: Record<string, string> = {};
  const pick = <T>(
    name: string,
    fromFlag: T | undefined,
    variable: string | undefined,
    fromEnv: T | undefined,
    fromFile: T | undefined,
    fallback: T,
  ): T => {
    origins[name] =
      fromFlag !== undefined
        ? 'flag'
        : fromEnv !== undefined
          ? (variable ?? 'environment')
          : fromFile !== undefined
            ? (configFile ?? 'file')
            : 'default';
    return fromFlag ?? fromEnv ?? fromFile ?? fallback;
  };
  const provisioned = provisionedRoots(dataDir);
  const software: Record<string, RootSettings> = {
    software: { kind: 'software', seal: { kind: 'key-file', path: join(dataDir, 'software-root.key'), create: true } },
  };
  const roots = { ...(file.roots === undefined ? software : {}), ...provisioned, ...absolutePaths(file.roots ?? {}, dataDir) };
  const firstRoot = Object.keys(file.roots ?? {})[0] ?? 'software';
  const defaultRoot = pick('defaultRoot', flags.defaultRoot, 'AEGIS_DEFAULT_ROOT', env.AEGIS_DEFAULT_ROOT, file.defaultRoot, firstRoot);
  if (!(defaultRoot in roots)) {
    throw new ConfigError(origins['defaultRoot'] ?? 'configuration', [
      { path: 'defaultRoot', reason: `no root of trust is named “${defaultRoot}”; configured: ${Object.keys(roots).join(', ')}` },
    ]);
  }
  const databaseUrl =
    env.AEGIS_DATABASE_URL ||
    (file.database?.url === undefined ? undefined : readSecretText(file.database.url, env, configFile ?? 'configuration'));
  origins['database'] = env.AEGIS_DATABASE_URL
    ? 'AEGIS_DATABASE_URL'
    : databaseUrl === undefined
      ? 'default (private server)'
      : (configFile ?? 'file');
  const portFromEnv = env.AEGIS_REST_PORT === undefined ? undefined : parsePort(env.AEGIS_REST_PORT, 'AEGIS_REST_PORT');
  const portFromFlag = flags.restPort === undefined ? undefined : parsePort(flags.restPort, '--rest-port');
  const logLevel = pick('log.level', flags.logLevel, 'AEGIS_LOG_LEVEL', env.AEGIS_LOG_LEVEL, file.log?.level, 'info');
  return {
    dataDir,
    configFile,
    nodeId: pick<string | undefined>('node.id', undefined, 'AEGIS_NODE_ID', env.AEGIS_NODE_ID, file.node?.id, undefined),
    databaseUrl,
    maxConnections: file.database?.maxConnections ?? 16,
    rest: {
      ...DEFAULT_REST,
      ...file.rest,
      hostNames: file.rest?.hostNames ?? [],
      host: pick('rest.host', flags.restHost, 'AEGIS_REST_HOST', env.AEGIS_REST_HOST, file.rest?.host, DEFAULT_REST.host),
      port: pick('rest.port', portFromFlag, 'AEGIS_REST_PORT', portFromEnv, file.rest?.port, DEFAULT_REST.port),
      tls: file.rest?.tls,
    },
    kmip: resolveKmip(
      file.kmip,
      {
        host: env.AEGIS_KMIP_HOST || undefined,
        port: env.AEGIS_KMIP_PORT === undefined ? undefined : parsePort(env.AEGIS_KMIP_PORT, 'AEGIS_KMIP_PORT'),
        httpsPort: env.AEGIS_KMIP_HTTPS_PORT === undefined ? undefined : parsePort(env.AEGIS_KMIP_HTTPS_PORT, 'AEGIS_KMIP_HTTPS_PORT'),
      },
      dataDir,
    ),
    pkcs11: resolvePkcs11(
      file.pkcs11,
      { socket: env.AEGIS_PKCS11_SOCKET || undefined, principal: env.AEGIS_PKCS11_PRINCIPAL || undefined },
      dataDir,
    ),
    roots,
    defaultRoot,
    policyDirectory: file.policies?.directory === undefined ? undefined : resolve(dataDir, file.policies.directory),
    destroyPendingMs: file.keys?.destroyPendingMs ?? 0,
    checkpointEveryMs: file.audit?.checkpointEveryMs ?? 60_000,
    auditMaxPending: file.audit?.maxPending ?? 20_000,
    logLevel,
    origins,
  };
}

/** Relative paths in a configuration file mean: relative to the data directory. */
function absolutePaths(roots: Readonly<Record<string, RootSettings>>, dataDir: string): Record<string, RootSettings> {
  const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(dataDir, path));
  return Object.fromEntries(
    Object.entries(roots).map(([name, root]) => [
      name,
      root.kind === 'pkcs11'
        ? { ...root, module: absolute(root.module) }
        : ({ ...root, seal: { ...root.seal, path: absolute(root.seal.path) } } as RootSettings),
    ]),
  );
}
