import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type OptionRow, type Terminal } from '../command.js';
import { promptSecret } from '../files.js';
import { printJson, printRecord, printTable } from '../output.js';
import { dataDirOf, openSession, readSecretFile } from '../session.js';

const CONFIG_OPTIONS: readonly OptionRow[] = [
  { name: 'config', value: 'FILE', summary: 'Configuration file. Default: aegis.yaml in the data directory.' },
  { name: 'rest-port', value: 'PORT', summary: 'Port of the REST plane. Default 8420.' },
  { name: 'rest-host', value: 'ADDRESS', summary: 'Address of the REST plane. Default 127.0.0.1.' },
  { name: 'default-root', value: 'ROOT', summary: 'Root for new keys that do not name one.' },
  { name: 'log-level', value: 'LEVEL', choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], summary: 'Default info.' },
];

/** The composition root is loaded only by the commands that need it: it brings the database and the planes with it. */
const loadApp = () => import('../../app/index.js');

const flagsOf = ({ text }: Invocation): Record<string, string> => {
  const names = {
    config: 'config',
    'data-dir': 'dataDir',
    'rest-port': 'restPort',
    'rest-host': 'restHost',
    'default-root': 'defaultRoot',
    'log-level': 'logLevel',
  } as const;
  return Object.fromEntries(Object.entries(names).flatMap(([option, flag]) => (text[option] === undefined ? [] : [[flag, text[option]]])));
};

/** Runs something of the composition root and shows its start-up errors as a user reads them. */
async function withApp(work: (app: Awaited<ReturnType<typeof loadApp>>) => Promise<number>): Promise<number> {
  const app = await loadApp();
  try {
    return await work(app);
  } catch (error) {
    if (error instanceof app.StartError) throw new CliError(error.message, EXIT.unavailable, error.next);
    if (error instanceof app.ConfigError)
      throw new CliError(error.message, EXIT.usage, 'Mend the configuration, then check it: aegis config validate');
    throw error;
  }
}

const runUp = (invocation: Invocation): Promise<number> =>
  withApp((app) => app.serve(app.loadConfig(flagsOf(invocation)), { hsm: invocation.switches.has('hsm') }));

const HSM = { name: 'hsm', summary: 'Provision a SoftHSM2 token in the data directory and add it as root `softhsm`.' } as const;
const up: Command = {
  path: ['up'],
  summary: 'Set up what is missing and run the service in the foreground.',
  options: [...CONFIG_OPTIONS, HSM],
  run: runUp,
};
const serve: Command = {
  path: ['serve'],
  summary: 'Run the service in the foreground (the same as up).',
  options: [...CONFIG_OPTIONS, HSM],
  run: runUp,
};

const init: Command = {
  path: ['init'],
  summary: 'Make data directory, database, sealing key and admin token without serving.',
  options: [...CONFIG_OPTIONS, HSM],
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const result = await app.initialise(app.loadConfig(flagsOf(invocation)), { hsm: invocation.switches.has('hsm') });
      if (invocation.switches.has('json')) printJson(terminal, result);
      else printRecord(terminal, result);
      return EXIT.ok;
    }),
};

const status: Command = {
  path: ['status'],
  summary: 'Show what the service says of itself.',
  run: async (invocation, terminal) => {
    const { body } = await callApi(openSession(invocation, terminal), 'GET', '/v1/status');
    if (invocation.switches.has('json')) {
      printJson(terminal, body);
      return EXIT.ok;
    }
    const { roots, audit, database, policies, planes, ...rest } = body as Record<string, Record<string, unknown>> & {
      roots: Record<string, unknown>[];
      planes: Record<string, unknown>[];
    };
    printRecord(terminal, {
      ...rest,
      database: `${database?.['kind']} ${database?.['state']}`,
      audit: audit?.['state'],
      policies: `${policies?.['documents']} documents, ${policies?.['statements']} statements`,
    });
    terminal.stdout.write('\n');
    printTable(terminal, ['id', 'kind', 'state', 'isDefault', 'detail'], roots);
    printTable(terminal, ['name', 'address'], planes);
    return EXIT.ok;
  },
};

const doctor: Command = {
  path: ['doctor'],
  summary: 'Check configuration, data directory, database, roots, audit and the running service; say how to mend what is wrong.',
  options: CONFIG_OPTIONS,
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const checks = await app.diagnose(flagsOf(invocation), () => openSession(invocation, terminal));
      if (invocation.switches.has('json')) printJson(terminal, checks);
      else
        printTable(
          terminal,
          ['state', 'check', 'detail', 'next'],
          checks.map((c) => ({ ...c })),
        );
      return checks.some((c) => c.state === 'fail') ? EXIT.failure : EXIT.ok;
    }),
};

const configValidate: Command = {
  path: ['config', 'validate'],
  summary: 'Check the configuration; names field and line of every problem.',
  options: CONFIG_OPTIONS,
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const config = app.loadConfig(flagsOf(invocation));
      if (invocation.switches.has('json')) printJson(terminal, { valid: true, file: config.configFile ?? null });
      else
        terminal.stdout.write(
          `valid${config.configFile === undefined ? ' (no file; defaults and environment)' : `: ${config.configFile}`}\n`,
        );
      return EXIT.ok;
    }),
};

const configShow: Command = {
  path: ['config', 'show'],
  summary: 'Show the effective configuration and where each setting comes from. Secrets are never shown.',
  options: CONFIG_OPTIONS,
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const { origins, databaseUrl, ...config } = app.loadConfig(flagsOf(invocation));
      const shown = {
        ...config,
        databaseUrl: databaseUrl === undefined ? 'private server' : databaseUrl.replace(/:\/\/([^:@/]*):[^@/]*@/, '://$1:…@'),
      };
      printJson(terminal, { ...shown, origins });
      return EXIT.ok;
    }),
};

const configSchema: Command = {
  path: ['config', 'schema'],
  summary: 'Print the JSON Schema of the configuration file, for editors.',
  run: (_invocation, terminal) =>
    withApp(async (app) => {
      printJson(terminal, app.ConfigSchema);
      return EXIT.ok;
    }),
};

const passphraseOf = (invocation: Invocation, terminal: Terminal): Promise<string> => {
  const file = invocation.text['passphrase-file'];
  return file === undefined ? promptSecret(terminal, 'Passphrase of the backup: ') : Promise.resolve(readSecretFile(file));
};
const PASSPHRASE = { name: 'passphrase-file', value: 'FILE', summary: 'Passphrase of the backup. Default: ask.' } as const;

const backupVerify: Command = {
  path: ['backup', 'verify'],
  summary: 'Check that a backup is whole, authentic and readable. Needs no service.',
  arguments: [{ name: 'FILE', summary: 'The backup.' }],
  options: [PASSPHRASE],
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const report = await app.verifyBackupFile(invocation.args[0] ?? '', await passphraseOf(invocation, terminal), terminal.stderr);
      if (invocation.switches.has('json')) printJson(terminal, report);
      else printRecord(terminal, report);
      return EXIT.ok;
    }),
};

const backupRestore: Command = {
  path: ['backup', 'restore'],
  summary: 'Restore a backup into an empty data directory or database, with the service stopped.',
  arguments: [{ name: 'FILE', summary: 'The backup.' }],
  options: [...CONFIG_OPTIONS, PASSPHRASE],
  details: 'Refuses where the configured roots of trust are not the ones the keys were sealed by, and says which is missing.',
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const report = await app.restoreBackupFile(
        app.loadConfig(flagsOf(invocation)),
        invocation.args[0] ?? '',
        await passphraseOf(invocation, terminal),
        terminal.stderr,
      );
      if (invocation.switches.has('json')) printJson(terminal, report);
      else printRecord(terminal, report);
      return EXIT.ok;
    }),
};

const recoverAdmin: Command = {
  path: ['admin', 'recover'],
  summary: 'Issue a new admin token on the machine of the data directory, with the service stopped. Audited.',
  options: CONFIG_OPTIONS,
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const { file } = await app.recoverAdminToken(app.loadConfig(flagsOf(invocation)));
      terminal.stdout.write(`A new admin token is in ${file}; the older tokens of this admin are revoked.\n`);
      return EXIT.ok;
    }),
};

const policyTemplate: Command = {
  path: ['config', 'template'],
  summary: 'Write a commented configuration file to begin with.',
  options: [{ name: 'out', value: 'FILE', summary: 'Default: aegis.yaml in the data directory.' }],
  run: (invocation, terminal) =>
    withApp(async (app) => {
      const path = invocation.text['out'] ?? join(dataDirOf(invocation, terminal.env), 'aegis.yaml');
      try {
        writeFileSync(path, app.CONFIG_TEMPLATE, { flag: 'wx', mode: 0o600 });
      } catch (error) {
        throw new CliError(
          `${path} cannot be written (${(error as NodeJS.ErrnoException).code})`,
          EXIT.failure,
          'An existing file is never overwritten: choose another with --out.',
        );
      }
      terminal.stdout.write(`${path}\n`);
      return EXIT.ok;
    }),
};

export const SERVICE_COMMANDS: readonly Command[] = [
  up,
  serve,
  init,
  status,
  doctor,
  recoverAdmin,
  backupVerify,
  backupRestore,
  configValidate,
  configShow,
  configSchema,
  policyTemplate,
];
