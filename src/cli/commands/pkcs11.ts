import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseDuration } from '../api-command.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type Terminal } from '../command.js';
import { writeOutput } from '../files.js';
import { printJson, printRecord, printTable } from '../output.js';
import { dataDirOf, openSession } from '../session.js';

/** `aegis pkcs11 …`: what an application needs to find the token, and what an operator wants to see of it. */

const CLIENT_MODULES = [
  '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so',
  '/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so',
  '/usr/lib64/pkcs11/p11-kit-client.so',
  '/usr/lib/pkcs11/p11-kit-client.so',
  '/usr/local/lib/pkcs11/p11-kit-client.so',
  '/opt/homebrew/lib/pkcs11/p11-kit-client.so',
];

const SOCKET_OPTION = { name: 'socket', value: 'PATH', summary: 'Socket to use. Default: the first one of the local service.' } as const;

/** `unix:path=` address; what is not plain is percent-encoded, as p11-kit decodes it. */
const addressOf = (path: string): string =>
  `unix:path=${path.replace(/[^A-Za-z0-9/._-]/g, (c) => [...Buffer.from(c)].map((b) => `%${b.toString(16).padStart(2, '0')}`).join(''))}`;

function socketOf(invocation: Invocation, terminal: Terminal): string {
  const given = invocation.text['socket'] ?? terminal.env.AEGIS_PKCS11_SOCKET;
  if (given !== undefined && given !== '' && given !== 'off') return resolve(given);
  const dataDir = dataDirOf(invocation, terminal.env);
  try {
    const { pkcs11 } = JSON.parse(readFileSync(join(dataDir, 'service.json'), 'utf8')) as { pkcs11?: { address?: string }[] };
    const address = pkcs11?.[0]?.address;
    if (address?.startsWith('unix:') === true) return address.slice('unix:'.length);
  } catch {
    // No running service tells; the default may still be right.
  }
  return join(dataDir, 'pkcs11.sock');
}

function clientModule(): string {
  const found = CLIENT_MODULES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new CliError('p11-kit-client.so is not installed', EXIT.failure, 'sudo apt-get install p11-kit-modules');
}

const shellQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const env: Command = {
  path: ['pkcs11', 'env'],
  summary: 'Print the environment that makes the stock p11-kit client find the token.',
  options: [SOCKET_OPTION],
  example: 'aegis pkcs11 env',
  run: async (invocation, terminal) => {
    const address = addressOf(socketOf(invocation, terminal));
    const module = clientModule();
    if (invocation.switches.has('json')) printJson(terminal, { P11_KIT_SERVER_ADDRESS: address, PKCS11_MODULE: module });
    else terminal.stdout.write(`export P11_KIT_SERVER_ADDRESS=${shellQuote(address)}\nexport PKCS11_MODULE=${shellQuote(module)}\n`);
    return EXIT.ok;
  },
};

const moduleFile: Command = {
  path: ['pkcs11', 'module'],
  summary: 'Write the p11-kit module file that shows the token to everything that uses p11-kit.',
  details:
    'As root the file goes to /etc/pkcs11/modules, for every user; otherwise to ~/.config/pkcs11/modules. `--out -` prints it instead. No environment variable is needed then.',
  options: [
    SOCKET_OPTION,
    { name: 'name', value: 'NAME', summary: 'Name of the module. Default aegis.' },
    { name: 'out', value: 'FILE', summary: 'Where to write it; `-` = standard output.' },
  ],
  example: 'aegis pkcs11 module',
  run: async (invocation, terminal) => {
    const name = invocation.text['name'] ?? 'aegis';
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new CliError(`“${name}” is not a module name`, EXIT.usage, 'Letters, digits, - and _.');
    const text = `# Written by \`aegis pkcs11 module\`.\nremote: ${addressOf(socketOf(invocation, terminal))}\n`;
    if (invocation.text['out'] === '-') {
      terminal.stdout.write(text);
      return EXIT.ok;
    }
    const home = terminal.env.HOME ?? homedir();
    const folder = process.getuid?.() === 0 ? '/etc/pkcs11/modules' : join(home, '.config', 'pkcs11', 'modules');
    const path = invocation.text['out'] ?? join(folder, `${name}.module`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: 0o644 });
    printRecord(terminal, { written: path });
    return EXIT.ok;
  },
};

const pin: Command = {
  path: ['pkcs11', 'pin'],
  summary: 'Issue a short-lived PIN for C_Login. It is shown once, here.',
  details:
    'Twelve characters, for one tenant, for one hour by default and a day at most. `aegis token revoke` ends it early; an API token works as a PIN too.',
  options: [
    { name: 'principal', value: 'ID', summary: 'Whom it acts for. Default: you.' },
    { name: 'ttl', value: 'DURATION', summary: 'Life time, e.g. 15m or 8h. Default 1h, at most 24h.' },
    { name: 'scope', value: 'ACTION,…', many: true, summary: 'Limit to these actions, e.g. keys:sign.' },
    { name: 'name', value: 'TEXT', summary: 'For people.' },
    { name: 'out', value: 'FILE', summary: 'Write the PIN to this file (0600) instead of showing it.' },
  ],
  example: 'aegis pkcs11 pin --ttl 8h',
  run: async (invocation, terminal) => {
    const { text, lists, switches } = invocation;
    const out = text['out'];
    if (out !== undefined && existsSync(out)) throw new CliError(`${out} exists already`, EXIT.usage, 'Choose another file.');
    const session = openSession(invocation, terminal);
    const ttlMs = parseDuration(text['ttl'], 'ttl');
    const whoami =
      text['principal'] === undefined ? ((await callApi(session, 'GET', '/v1/whoami')).body as { principal: { id: string } }) : undefined;
    const body = {
      kind: 'pin',
      principalId: text['principal'] ?? whoami?.principal.id,
      ...(text['name'] === undefined ? {} : { name: text['name'] }),
      ...(ttlMs === undefined ? {} : { ttlSeconds: Math.max(1, Math.round(ttlMs / 1_000)) }),
      ...(lists['scope'] === undefined ? {} : { scope: lists['scope'] }),
    };
    const { token, ...rest } = (await callApi(session, 'POST', '/v1/tokens', { body })).body as Record<string, unknown> & { token: string };
    if (out !== undefined) await writeOutput(out, terminal, [Buffer.from(`${token}\n`)], 0o600);
    if (switches.has('json')) printJson(terminal, out === undefined ? { ...rest, pin: token } : rest);
    else terminal.stdout.write(out === undefined ? `${token}\n` : `written: ${out}\n`);
    return EXIT.ok;
  },
};

interface Status {
  readonly door?: { readonly pid: number };
  readonly sockets: readonly {
    readonly name: string;
    readonly path: string;
    readonly tenants: readonly string[];
    readonly bound: boolean;
  }[];
  readonly clients: readonly Record<string, unknown>[];
}
const ANSWER_MS = 5_000;
const askStatus = (innerPath: string): Promise<Status> =>
  new Promise((done, reject) => {
    const socket = connect(innerPath);
    const away = (): void => reject(new CliError('the service does not answer', EXIT.unavailable, 'Start it: npm start, or aegis serve.'));
    let text = '';
    socket.setTimeout(ANSWER_MS, () => socket.destroy());
    socket.on('connect', () => socket.write(`${JSON.stringify({ kind: 'status', protocol: 1 })}\n`));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', away);
    socket.on('close', () => {
      try {
        done(JSON.parse(text) as Status);
      } catch {
        away();
      }
    });
  });

const GENERATIONS = ['≤ 0.24.1', '0.25.0 – 0.25.5', '≥ 0.25.6'];
const status: Command = {
  path: ['pkcs11', 'status'],
  summary: 'Show sockets, door and connected applications of the local service.',
  run: async (invocation, terminal) => {
    const answer = await askStatus(join(dataDirOf(invocation, terminal.env), 'pkcs11-inner.sock'));
    if (invocation.switches.has('json')) {
      printJson(terminal, answer);
      return EXIT.ok;
    }
    printRecord(terminal, { door: answer.door === undefined ? 'not connected' : `process ${answer.door.pid}` });
    printTable(
      terminal,
      ['socket', 'path', 'tenants', 'identity'],
      answer.sockets.map((one) => ({
        socket: one.name,
        path: one.path,
        tenants: one.tenants.join(' '),
        identity: one.bound ? 'bound to the socket' : 'by login',
      })),
    );
    printTable(
      terminal,
      ['socket', 'p11-kit', 'sessions', 'calls'],
      answer.clients.map((one) => ({ ...one, 'p11-kit': GENERATIONS[Number(one['generation'])] ?? '' })),
    );
    return EXIT.ok;
  },
};

const door: Command = {
  path: ['pkcs11', 'stop-door'],
  summary: 'End the process that owns the PKCS#11 sockets; connected applications lose their connection.',
  details:
    'The door outlives restarts of the service, because p11-kit clients do not survive the end of their server. It ends by itself when the service was stopped in order and nobody is connected.',
  run: async (invocation, terminal) => {
    const dataDir = dataDirOf(invocation, terminal.env);
    const { endDoor } = await import('../../app/index.js');
    const ended = endDoor(dataDir, join(dataDir, 'pkcs11-inner.sock'));
    terminal.stdout.write(ended ? 'ended\n' : 'there is none\n');
    return EXIT.ok;
  },
};

export const PKCS11_COMMANDS: readonly Command[] = [env, moduleFile, pin, status, door];
