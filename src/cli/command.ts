/** One `aegis` command as data: parsing, help, completion and docs/reference/cli.md derive from it. */
export interface OptionRow {
  /** Long name without dashes; camel case of it is the key in `options`. */
  readonly name: string;
  readonly short?: string;
  /** Name of the value in help, e.g. `FILE`; absent = a switch. */
  readonly value?: string;
  readonly summary: string;
  readonly required?: boolean;
  /** May be given several times, or comma separated. */
  readonly many?: boolean;
  /** Allowed values, for completion and checking. */
  readonly choices?: readonly string[];
}

export interface ArgumentRow {
  readonly name: string;
  readonly summary: string;
  readonly optional?: boolean;
}

export interface Invocation {
  readonly args: readonly string[];
  /** String options by long name. */
  readonly text: Readonly<Record<string, string>>;
  /** Repeated options by long name. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly switches: ReadonlySet<string>;
}

export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
}

export interface Command {
  /** e.g. ['key', 'create']. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly arguments?: readonly ArgumentRow[];
  readonly options?: readonly OptionRow[];
  /** Longer help: what happens, an example. */
  readonly details?: string;
  readonly example?: string;
  /** Answers the exit code; throws CliError for anything a user can mend. */
  readonly run: (invocation: Invocation, terminal: Terminal) => Promise<number>;
}

/** An error a person reads: what is wrong and what to do next. */
export class CliError extends Error {
  readonly exitCode: number;
  readonly next: string | undefined;
  constructor(message: string, exitCode: number = EXIT.failure, next?: string) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.next = next;
  }
}

/** Exit codes, documented in docs/reference/cli.md; the service's faults map onto them in planes/projections.ts. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unauthenticated: 3,
  denied: 4,
  notFound: 5,
  conflict: 6,
  state: 7,
  unavailable: 8,
  verificationFailed: 9,
} as const;

/** Options every command takes. */
export const GLOBAL_OPTIONS: readonly OptionRow[] = [
  { name: 'json', summary: 'Print JSON instead of tables.' },
  { name: 'url', value: 'URL', summary: 'Service address. Default: the context, AEGIS_URL, or the local service.' },
  {
    name: 'token-file',
    value: 'FILE',
    summary: 'File holding the API token. Default: the context, AEGIS_TOKEN_FILE, AEGIS_TOKEN, or admin-token in the data directory.',
  },
  { name: 'context', value: 'NAME', summary: 'Saved context to use.' },
  { name: 'data-dir', value: 'DIR', summary: 'Data directory of the local service. Default AEGIS_DATA_DIR or ./.aegis.' },
  { name: 'ca', value: 'FILE', summary: 'PEM file of authorities that the service certificate must chain to.' },
  { name: 'help', short: 'h', summary: 'Show help.' },
];
