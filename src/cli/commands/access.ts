import { existsSync } from 'node:fs';
import { LOGIN_KINDS, ROLES } from '../../domain/index.js';
import { fromApi, parseDuration, parsePairs, query, segment } from '../api-command.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT } from '../command.js';
import { promptSecret, readInput, writeOutput } from '../files.js';
import { printJson, printRecord, printTable } from '../output.js';
import { contextPath, openSession, readContexts, readSecretFile, writeContexts } from '../session.js';

const PAGE = [
  { name: 'limit', value: 'N', summary: 'Page size.' },
  { name: 'cursor', value: 'CURSOR', summary: 'Where the last page ended.' },
] as const;
const ID = { name: 'ID', summary: 'Id of the principal.' } as const;
const PRINCIPAL = {
  kind: 'record',
  fields: ['id', 'kind', 'name', 'tenant', 'roles', 'disabled', 'tags', 'parentId', 'purpose', 'createdAt', 'revision'],
} as const;

const without = (record: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined));

const LOGIN_SECRET_BYTES = 4_096;

/** The secret comes from a file only its owner reads, from standard input, or from the terminal; never from the command line. */
const setLogin: Command = {
  path: ['principal', 'set-login'],
  summary: 'Set or remove what a principal proves itself with in KMIP request headers.',
  arguments: [ID],
  options: [
    { name: 'kind', value: 'KIND', choices: [...LOGIN_KINDS], summary: 'Default: password.' },
    { name: 'login', value: 'NAME', summary: 'Username, or serial number of a device.' },
    { name: 'password-file', value: 'FILE', summary: 'File with the password (0600), - for standard input. Default: asks.' },
    { name: 'otp-seed-file', value: 'FILE', summary: 'File with the seed of one-time passwords, base64 (0600).' },
    { name: 'device-identifier', value: 'TEXT', summary: 'Identifier that a device has to present too.' },
    { name: 'network-identifier', value: 'TEXT', summary: 'The same, of its network.' },
    { name: 'machine-identifier', value: 'TEXT', summary: 'The same, of its machine.' },
    { name: 'media-identifier', value: 'TEXT', summary: 'The same, of its medium.' },
    { name: 'no-password', summary: 'A device or one-time password without password.' },
    { name: 'remove', summary: 'Remove the login.' },
  ],
  example: 'aegis principal set-login 018f… --login array-7',
  run: async (invocation, terminal) => {
    const { text, switches, args } = invocation;
    if (text['login'] === undefined) throw new CliError('--login is missing', EXIT.usage, 'Name the user or the device.');
    const secret = async (): Promise<string | undefined> => {
      const file = text['password-file'];
      if (switches.has('no-password')) return undefined;
      if (file === '-') return (await readInput(undefined, terminal, LOGIN_SECRET_BYTES)).toString('utf8').trimEnd();
      return file === undefined ? promptSecret(terminal, 'Password: ') : readSecretFile(file);
    };
    const device = without({
      deviceIdentifier: text['device-identifier'],
      networkIdentifier: text['network-identifier'],
      machineIdentifier: text['machine-identifier'],
      mediaIdentifier: text['media-identifier'],
    });
    const password = switches.has('remove') ? null : await secret();
    const seedFile = text['otp-seed-file'];
    const body = without({
      kind: text['kind'] ?? 'password',
      login: text['login'],
      password: typeof password === 'string' ? Buffer.from(password, 'utf8').toString('base64') : password,
      otpSeed: seedFile === undefined ? undefined : readSecretFile(seedFile),
      device: Object.keys(device).length === 0 ? undefined : device,
    });
    const session = openSession(invocation, terminal);
    const answer = (await callApi(session, 'PUT', `/v1/principals/${segment(args[0])}/logins`, { body })).body as Record<string, unknown>;
    if (switches.has('json')) printJson(terminal, answer);
    else printRecord(terminal, answer);
    return EXIT.ok;
  },
};

const login: Command = {
  path: ['login'],
  summary: 'Save a service address and token as a context, and check them.',
  options: [
    { name: 'name', value: 'NAME', summary: 'Name of the context. Default: default.' },
    { name: 'keep-token-file', summary: 'Remember the path of --token-file instead of copying the token.' },
  ],
  details: 'The token is read from --token-file or asked for on the terminal; it is kept in a file only you can read.',
  example: 'aegis login --url https://aegis.example.org:8420 --token-file token.txt --name prod',
  run: async (invocation, terminal) => {
    const url = invocation.text['url'] ?? openSession(invocation, terminal).url;
    const tokenFile = invocation.text['token-file'];
    const token = tokenFile === undefined ? (await promptSecret(terminal, 'API token: ')).trim() : readSecretFile(tokenFile);
    const ca = invocation.text['ca'];
    const session = openSession(
      { ...invocation, text: { ...invocation.text, url } },
      { ...terminal, env: { ...terminal.env, AEGIS_TOKEN: token, AEGIS_TOKEN_FILE: undefined } },
    );
    const { body } = await callApi(session, 'GET', '/v1/whoami');
    const name = invocation.text['name'] ?? 'default';
    const contexts = readContexts(terminal.env);
    const keep = invocation.switches.has('keep-token-file') && tokenFile !== undefined;
    writeContexts(terminal.env, {
      current: name,
      contexts: { ...contexts.contexts, [name]: { url, ...(keep ? { tokenFile } : { token }), ...(ca === undefined ? {} : { ca }) } },
    });
    const { principal } = body as { principal: { name: string; tenant: string; roles: string[] } };
    terminal.stdout.write(
      `Logged in to ${url} as ${principal.name} (tenant ${principal.tenant}, ${principal.roles.join(', ')}); context “${name}” in ${contextPath(terminal.env)}\n`,
    );
    return EXIT.ok;
  },
};

const logout: Command = {
  path: ['logout'],
  summary: 'Forget the current (or named) context and its token.',
  run: async (invocation, terminal) => {
    const file = readContexts(terminal.env);
    const name = invocation.text['context'] ?? file.current;
    if (name === undefined || file.contexts[name] === undefined)
      throw new CliError('there is no context to forget', EXIT.usage, 'aegis context list');
    const { [name]: _, ...contexts } = file.contexts;
    writeContexts(terminal.env, { contexts });
    terminal.stdout.write(
      `Forgot context “${name}”. The token itself is still valid: revoke it with \`aegis token revoke\` if it should not be.\n`,
    );
    return EXIT.ok;
  },
};

const contextList: Command = {
  path: ['context', 'list'],
  summary: 'List saved contexts.',
  run: async (invocation, terminal) => {
    const file = readContexts(terminal.env);
    const rows = Object.entries(file.contexts).map(([name, context]) => ({
      current: name === file.current ? '*' : '',
      name,
      url: context.url,
      token: context.tokenFile ?? (context.token === undefined ? 'none' : 'saved'),
    }));
    if (invocation.switches.has('json')) printJson(terminal, rows);
    else printTable(terminal, ['current', 'name', 'url', 'token'], rows);
    return EXIT.ok;
  },
};

const contextUse: Command = {
  path: ['context', 'use'],
  summary: 'Make a saved context the current one.',
  arguments: [{ name: 'NAME', summary: 'Name of the context.' }],
  run: async (invocation, terminal) => {
    const file = readContexts(terminal.env);
    const name = invocation.args[0] ?? '';
    if (file.contexts[name] === undefined) throw new CliError(`there is no context “${name}”`, EXIT.notFound, 'aegis context list');
    writeContexts(terminal.env, { ...file, current: name });
    terminal.stdout.write(`Using “${name}”.\n`);
    return EXIT.ok;
  },
};

const tokenIssue: Command = {
  path: ['token', 'issue'],
  summary: 'Issue an API token. It is shown once, here, and stored only as a hash.',
  arguments: [{ name: 'PRINCIPAL', summary: 'Id of the principal it is for.' }],
  options: [
    { name: 'name', value: 'TEXT', summary: 'For people.' },
    { name: 'ttl', value: 'DURATION', summary: 'Life time, e.g. 90d. Default by configuration.' },
    { name: 'scope', value: 'ACTION,…', many: true, summary: 'Limit to these actions, e.g. keys:sign.' },
    { name: 'out', value: 'FILE', summary: 'Write the token to this file (0600) instead of showing it.' },
  ],
  run: async (invocation, terminal) => {
    const { text, lists, args, switches } = invocation;
    const out = text['out'];
    if (out !== undefined && existsSync(out)) throw new CliError(`${out} exists already`, EXIT.usage, 'Choose another file.');
    const ttlMs = parseDuration(text['ttl'], 'ttl');
    const body = without({
      principalId: args[0],
      name: text['name'],
      ttlSeconds: ttlMs === undefined ? undefined : Math.max(1, Math.round(ttlMs / 1_000)),
      scope: lists['scope'],
    });
    const answer = (await callApi(openSession(invocation, terminal), 'POST', '/v1/tokens', { body })).body as Record<string, unknown> & {
      token: string;
    };
    const { token, ...rest } = answer;
    if (out !== undefined) await writeOutput(out, terminal, [Buffer.from(`${token}\n`)], 0o600);
    if (switches.has('json')) printJson(terminal, out === undefined ? answer : rest);
    else printRecord(terminal, out === undefined ? answer : { ...rest, written: out });
    return EXIT.ok;
  },
};

const policyPut: Command = {
  path: ['policy', 'put'],
  summary: 'Store a policy document as a new version and make it the active one.',
  arguments: [
    { name: 'NAME', summary: 'Name of the document.' },
    { name: 'FILE', summary: 'YAML or JSON; `-` = standard input.' },
  ],
  options: [
    { name: 'dry-run', summary: 'Only check it and say what is wrong.' },
    {
      name: 'mode',
      value: 'MODE',
      choices: ['enforce', 'dry-run'],
      summary: 'dry-run: evaluated and recorded, does not decide. Default enforce.',
    },
    { name: 'expect-version', value: 'N', summary: 'Refuse if the active version is another.' },
  ],
  run: async (invocation, terminal) => {
    const { text, args, switches } = invocation;
    const source = (await readInput(args[1], terminal, 1024 * 1024)).toString('utf8');
    const body = without({
      source,
      dryRun: switches.has('dry-run') || undefined,
      mode: text['mode'],
    });
    const expected = text['expect-version'];
    const headers = expected === undefined ? {} : { 'if-match': `"${expected}"` };
    const { body: answer } = await callApi(openSession(invocation, terminal), 'PUT', `/v1/policies/${segment(args[0])}`, { body, headers });
    return showProblems(answer, invocation.switches.has('json'), terminal);
  },
};

function showProblems(answer: unknown, json: boolean, terminal: Parameters<Command['run']>[1]): number {
  const {
    problems = [],
    name,
    version,
  } = answer as { problems?: { line: number; path: string; reason: string }[]; name?: string; version?: number };
  if (json) printJson(terminal, answer);
  else if (problems.length > 0) printTable(terminal, ['line', 'path', 'reason'], problems);
  else terminal.stdout.write(name === undefined ? 'valid\n' : `${name} version ${version}: valid\n`);
  return problems.length > 0 ? EXIT.failure : EXIT.ok;
}

const policyValidate: Command = {
  path: ['policy', 'validate'],
  summary: 'Check a policy document; names line and reason of every problem.',
  arguments: [{ name: 'FILE', summary: 'YAML or JSON; `-` = standard input.' }],
  run: async (invocation, terminal) => {
    const source = (await readInput(invocation.args[0], terminal, 1024 * 1024)).toString('utf8');
    const { body } = await callApi(openSession(invocation, terminal), 'POST', '/v1/policies/validate', { body: { source } });
    return showProblems(body, invocation.switches.has('json'), terminal);
  },
};

const policyTest: Command = {
  path: ['policy', 'test'],
  summary: 'Explain what a principal would be told, without doing it.',
  options: [
    { name: 'operation', value: 'OPERATION', required: true, summary: 'e.g. sign, create-key, export-key.' },
    { name: 'key', value: 'KEY', summary: 'Key it would be done with.' },
    { name: 'principal', value: 'ID', summary: 'Default: yourself.' },
    { name: 'candidate', value: 'FILE', summary: 'A document not stored yet, tested beside the active ones.' },
  ],
  run: async (invocation, terminal) => {
    const { text } = invocation;
    const candidate =
      text['candidate'] === undefined ? undefined : (await readInput(text['candidate'], terminal, 1024 * 1024)).toString('utf8');
    const body = without({ operation: text['operation'], key: text['key'], principalId: text['principal'], candidate });
    const answer = (await callApi(openSession(invocation, terminal), 'POST', '/v1/policies/test', { body })).body as {
      effect: string;
      statement: string;
      reason: string;
      considered: Record<string, unknown>[];
    };
    if (invocation.switches.has('json')) printJson(terminal, answer);
    else {
      printRecord(terminal, { effect: answer.effect, statement: answer.statement, reason: answer.reason });
      printTable(terminal, ['statement', 'matched', 'why'], answer.considered);
    }
    return answer.effect === 'allow' ? EXIT.ok : EXIT.denied;
  },
};

export const ACCESS_COMMANDS: readonly Command[] = [
  setLogin,
  login,
  logout,
  fromApi({
    path: ['whoami'],
    summary: 'Show who the token says you are.',
    method: 'GET',
    to: () => '/v1/whoami',
    view: {
      kind: 'text',
      of: (body) => {
        const { principal, method, scope } = body as {
          principal: { id: string; kind: string; name: string; tenant: string; roles: string[] };
          method: string;
          scope?: string[];
        };
        return `${principal.name}  ${principal.kind}  tenant ${principal.tenant}  roles ${principal.roles.join(',')}  by ${method}${scope === undefined ? '' : `  scope ${scope.join(',')}`}  ${principal.id}`;
      },
    },
  }),
  contextList,
  contextUse,
  fromApi({
    path: ['principal', 'create'],
    summary: 'Create a human, service or agent.',
    arguments: [{ name: 'NAME', summary: 'Unique in the tenant.' }],
    options: [
      { name: 'kind', value: 'KIND', choices: ['human', 'service', 'agent'], summary: 'Default service.' },
      { name: 'role', value: 'ROLE,…', many: true, choices: ROLES, summary: 'Roles. Default user.' },
      { name: 'tenant', value: 'TENANT', summary: 'Another tenant (admins of `default` only).' },
      { name: 'parent', value: 'ID', summary: 'The human an agent acts for.' },
      { name: 'purpose', value: 'TEXT', summary: 'What an agent is for.' },
      { name: 'tag', value: 'NAME=VALUE', many: true, summary: 'Tags, for policy.' },
      { name: 'certificate-fingerprint', value: 'SHA256', summary: 'Client certificate that authenticates it (hex).' },
      { name: 'certificate-subject', value: 'DN', summary: 'Subject of its client certificates.' },
      { name: 'certificate-san', value: 'NAME', summary: 'Subject alternative name of its client certificates.' },
    ],
    method: 'POST',
    to: () => '/v1/principals',
    body: ({ args, text, lists }) => {
      const certificate = without({
        fingerprint: text['certificate-fingerprint'],
        subject: text['certificate-subject'],
        subjectAltName: text['certificate-san'],
      });
      return without({
        name: args[0],
        kind: text['kind'] ?? 'service',
        roles: lists['role'] ?? ['user'],
        tenant: text['tenant'],
        parentId: text['parent'],
        purpose: text['purpose'],
        tags: parsePairs(lists['tag'], 'tag'),
        certificate: Object.keys(certificate).length === 0 ? undefined : certificate,
      });
    },
    view: PRINCIPAL,
  }),
  fromApi({
    path: ['principal', 'list'],
    summary: 'List principals of the tenant.',
    options: [{ name: 'kind', value: 'KIND', choices: ['human', 'service', 'agent'], summary: 'Only these.' }, ...PAGE],
    method: 'GET',
    to: ({ text }) => `/v1/principals${query({ kind: text['kind'], limit: text['limit'], cursor: text['cursor'] })}`,
    view: { kind: 'table', columns: ['id', 'kind', 'name', 'roles', 'disabled', 'createdAt'] },
  }),
  fromApi({
    path: ['principal', 'get'],
    summary: 'Show a principal.',
    arguments: [ID],
    method: 'GET',
    to: ({ args }) => `/v1/principals/${segment(args[0])}`,
    view: PRINCIPAL,
  }),
  fromApi({
    path: ['principal', 'update'],
    summary: 'Change roles or tags, disable or enable.',
    arguments: [ID],
    options: [
      { name: 'role', value: 'ROLE,…', many: true, choices: ROLES, summary: 'The new roles.' },
      { name: 'disable', summary: 'Refuse it from now on and revoke its tokens.' },
      { name: 'enable', summary: 'Allow it again.' },
      { name: 'tag', value: 'NAME=VALUE', many: true, summary: 'The new tags.' },
    ],
    method: 'PATCH',
    to: ({ args }) => `/v1/principals/${segment(args[0])}`,
    body: ({ lists, switches }) =>
      without({
        roles: lists['role'],
        disabled: switches.has('disable') ? true : switches.has('enable') ? false : undefined,
        tags: parsePairs(lists['tag'], 'tag'),
      }),
    view: PRINCIPAL,
  }),
  fromApi({
    path: ['principal', 'delete'],
    summary: 'Delete a principal and revoke its tokens.',
    arguments: [ID],
    method: 'DELETE',
    to: ({ args }) => `/v1/principals/${segment(args[0])}`,
    view: { kind: 'text', of: () => 'deleted' },
  }),
  tokenIssue,
  fromApi({
    path: ['token', 'list'],
    summary: 'List API tokens (never the tokens themselves).',
    options: [{ name: 'principal', value: 'ID', summary: 'Only this principal’s.' }, ...PAGE],
    method: 'GET',
    to: ({ text }) => `/v1/tokens${query({ principalId: text['principal'], limit: text['limit'], cursor: text['cursor'] })}`,
    view: { kind: 'table', columns: ['id', 'principalId', 'name', 'prefix', 'createdAt', 'expiresAt', 'revokedAt', 'scope'] },
  }),
  fromApi({
    path: ['token', 'revoke'],
    summary: 'Revoke an API token.',
    arguments: [{ name: 'TOKEN-ID', summary: 'Id of the token, not the token.' }],
    method: 'DELETE',
    to: ({ args }) => `/v1/tokens/${segment(args[0])}`,
    view: { kind: 'text', of: () => 'revoked' },
  }),
  fromApi({
    path: ['policy', 'list'],
    summary: 'List policy documents.',
    options: PAGE,
    method: 'GET',
    to: ({ text }) => `/v1/policies${query({ limit: text['limit'], cursor: text['cursor'] })}`,
    view: { kind: 'table', columns: ['name', 'version', 'mode', 'createdAt', 'createdBy'] },
  }),
  fromApi({
    path: ['policy', 'show'],
    summary: 'Print a policy document.',
    arguments: [{ name: 'NAME', summary: 'Name of the document.' }],
    options: [{ name: 'version', value: 'N', summary: 'Default: the active one.' }],
    method: 'GET',
    to: ({ args, text }) => `/v1/policies/${segment(args[0])}${query({ version: text['version'] })}`,
    view: { kind: 'text', of: (body) => String(body['source']).trimEnd() },
  }),
  policyPut,
  policyValidate,
  policyTest,
  fromApi({
    path: ['policy', 'history'],
    summary: 'List the versions of a policy document.',
    arguments: [{ name: 'NAME', summary: 'Name of the document.' }],
    method: 'GET',
    to: ({ args }) => `/v1/policies/${segment(args[0])}/history`,
    view: { kind: 'table', columns: ['version', 'active', 'mode', 'createdAt', 'createdBy'] },
  }),
  fromApi({
    path: ['policy', 'rollback'],
    summary: 'Make an earlier version the active one (as a new version).',
    arguments: [{ name: 'NAME', summary: 'Name of the document.' }],
    options: [{ name: 'version', value: 'N', required: true, summary: 'Version to go back to.' }],
    method: 'POST',
    to: ({ args }) => `/v1/policies/${segment(args[0])}/rollback`,
    body: ({ text }) => ({ version: Number(text['version']) }),
    view: { kind: 'record', fields: ['name', 'version', 'mode'] },
  }),
  fromApi({
    path: ['policy', 'delete'],
    summary: 'Delete a policy document.',
    arguments: [{ name: 'NAME', summary: 'Name of the document.' }],
    method: 'DELETE',
    to: ({ args }) => `/v1/policies/${segment(args[0])}`,
    view: { kind: 'text', of: () => 'deleted' },
  }),
];
