import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { CliError, EXIT, type Invocation, type Terminal } from './command.js';

/** A saved service to talk to. Tokens are kept in files of their own or in this 0600 file, never in argv. */
export interface Context {
  readonly url: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
}
interface ContextFile {
  readonly current?: string;
  readonly contexts: Readonly<Record<string, Context>>;
}

/** What a command talks with. */
export interface Session {
  readonly url: string;
  readonly token: string | undefined;
  /** PEM of authorities, for https. */
  readonly ca: string | undefined;
  /** Where url and token came from, for messages. */
  readonly origin: string;
}

export const contextPath = (env: NodeJS.ProcessEnv): string =>
  join(env.XDG_CONFIG_HOME ?? join(env.HOME ?? homedir(), '.config'), 'aegis', 'contexts.json');

export function readContexts(env: NodeJS.ProcessEnv): ContextFile {
  const path = contextPath(env);
  if (!existsSync(path)) return { contexts: {} };
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Partial<ContextFile>;
    return { contexts: value.contexts ?? {}, ...(value.current === undefined ? {} : { current: value.current }) };
  } catch {
    throw new CliError(`${path} is not readable as JSON`, EXIT.usage, `Mend it, or remove it and run \`aegis login\` again.`);
  }
}

/** Written whole to a 0600 temporary file, then renamed, so that a crash leaves the old one. */
export function writeContexts(env: NodeJS.ProcessEnv, contexts: ContextFile): void {
  const path = contextPath(env);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(contexts, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

/** Reads a secret file; refuses one that others can read. */
export function readSecretFile(path: string): string {
  let mode: number;
  let text: string;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CliError(
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      EXIT.usage,
      'Check the path and its permissions.',
    );
  }
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new CliError(`${path} can be read by others`, EXIT.usage, `chmod 600 ${path}`);
  if (text === '') throw new CliError(`${path} is empty`, EXIT.usage);
  return text;
}

export const dataDirOf = (invocation: Invocation, env: NodeJS.ProcessEnv): string =>
  resolve(invocation.text['data-dir'] ?? env.AEGIS_DATA_DIR ?? '.aegis');

/** The port the environment names, else the address a running local service wrote into its data directory, else the default. */
function localUrl(dataDir: string, env: NodeJS.ProcessEnv): string {
  const port = env.AEGIS_REST_PORT;
  if (port !== undefined && port !== '' && port !== '0') return `http://127.0.0.1:${port}`;
  const file = join(dataDir, 'service.json');
  if (existsSync(file)) {
    try {
      const { url } = JSON.parse(readFileSync(file, 'utf8')) as { url?: unknown };
      if (typeof url === 'string') return url;
    } catch {
      // A half-written or foreign file tells nothing; the default may still be right.
    }
  }
  return 'http://127.0.0.1:8420';
}

/** Order of strength: flags, environment, context, the local service of this machine. */
export function openSession(invocation: Invocation, terminal: Terminal): Session {
  const { env } = terminal;
  const file = readContexts(env);
  const name = invocation.text['context'] ?? env.AEGIS_CONTEXT ?? file.current;
  const context = name === undefined ? undefined : file.contexts[name];
  if (name !== undefined && context === undefined && file.current !== name)
    throw new CliError(`there is no context “${name}”`, EXIT.usage, 'aegis context list');
  const dataDir = dataDirOf(invocation, env);
  const chosenUrl = invocation.text['url'] ?? env.AEGIS_URL ?? context?.url;
  const tokenFile = invocation.text['token-file'] ?? env.AEGIS_TOKEN_FILE;
  const adminFile = join(dataDir, 'admin-token');
  const fromContext = chosenUrl === undefined || chosenUrl === context?.url;
  const token =
    (tokenFile === undefined ? undefined : readSecretFile(tokenFile)) ??
    (env.AEGIS_TOKEN || undefined) ??
    (fromContext ? (context?.token ?? (context?.tokenFile === undefined ? undefined : readSecretFile(context.tokenFile))) : undefined) ??
    // The local admin token goes to the local service only, never to an address from elsewhere.
    (isLocal(chosenUrl) && context === undefined && existsSync(adminFile) ? readSecretFile(adminFile) : undefined);
  const caFile = invocation.text['ca'] ?? env.AEGIS_CA ?? (fromContext ? context?.ca : undefined);
  return {
    url: (chosenUrl ?? localUrl(dataDir, env)).replace(/\/+$/, ''),
    token,
    ca: caFile === undefined ? undefined : readFileSync(caFile, 'utf8'),
    origin:
      context === undefined || !fromContext
        ? chosenUrl === undefined
          ? `data directory ${dataDir}`
          : 'flag or environment'
        : `context ${name}`,
  };
}

function isLocal(url: string | undefined): boolean {
  if (url === undefined) return true;
  try {
    return ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(url).hostname);
  } catch {
    return false;
  }
}
