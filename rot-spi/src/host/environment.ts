import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RootConfig, SecretSource } from '../config.js';
import { RootFault } from '../fault.js';

/** How a host process is started: the command and an environment with nothing in it that a root doesn't need. */

/** Paths, language and time; where OpenSSL finds its configuration (a FIPS provider is chosen there). */
const PASSED_VARIABLES = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'OPENSSL_CONF', 'OPENSSL_MODULES'] as const;

/**
 * Flags of this process that a host keeps: memory and OpenSSL's mode. Never one that opens a debugger, loads code or
 * writes heap contents anywhere.
 */
const KEPT_FLAG =
  /^--(enable-fips|force-fips|openssl-shared-config|openssl-legacy-provider|openssl-config=.+|secure-heap=\d+|secure-heap-min=\d+|max-old-space-size=\d+)$/;

/** A crash must not write keys to disk. Node can't set resource limits itself; a shell can, before it becomes the host. */
const SHELL = '/bin/sh';
const WITHOUT_CORE_DUMPS = 'ulimit -c 0; exec "$0" "$@"';

export interface HostCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const keptFlags = (): string[] => {
  const fromEnvironment = (process.env['NODE_OPTIONS'] ?? '').split(/\s+/);
  return [...new Set([...process.execArgv, ...fromEnvironment].filter((flag) => KEPT_FLAG.test(flag)))];
};

const secretSources = (config: RootConfig): SecretSource[] => {
  if (config.kind === 'pkcs11') return [config.pin];
  if (config.kind === 'cloud-envelope') {
    if (config.provider.kind !== 'vault') return [];
    const { auth } = config.provider;
    return auth.method === 'token' ? [auth.token] : auth.method === 'approle' ? [auth.secretId] : [];
  }
  const { seal } = config;
  return seal.kind === 'passphrase' ? [seal.passphrase] : seal.kind === 'pkcs11' ? [seal.hsm.pin] : [];
};

/** Whether opening the root asks a person at the terminal. */
export const asksAtTerminal = (config: RootConfig): boolean => secretSources(config).some((source) => 'prompt' in source);

const hostEnvironment = (config: RootConfig): Record<string, string> => {
  const env: Record<string, string> = {};
  const pass = (name: string): void => {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  };
  PASSED_VARIABLES.forEach(pass);
  for (const source of secretSources(config)) if ('env' in source) pass(source.env);
  // The SDK's own chain: keys, profile, web identity, container and metadata settings.
  if (config.kind === 'cloud-envelope' && config.provider.kind === 'aws')
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) pass(name);
  const own =
    config.kind === 'pkcs11'
      ? (config.environment ?? {})
      : config.kind === 'software' && config.seal.kind === 'pkcs11'
        ? (config.seal.hsm.environment ?? {})
        : {};
  if ('NODE_OPTIONS' in own) {
    throw new RootFault('invalid-argument', "a root's environment may not set NODE_OPTIONS", `remove it from root ${config.id}`);
  }
  return { ...env, ...own };
};

export const hostCommand = (entry: URL, config: RootConfig): HostCommand => {
  const args = [...keptFlags(), fileURLToPath(entry)];
  const env = hostEnvironment(config);
  if (!existsSync(SHELL)) return { file: process.execPath, args, env };
  return { file: SHELL, args: ['-c', WITHOUT_CORE_DUMPS, process.execPath, ...args], env };
};
