import { KEY_SPEC_NAMES, KEY_USAGES } from '@aegis/rot-spi/vocabulary';
import { LIFECYCLE_STATES, OBJECT_TYPES, REVOCATION_REASONS } from '../../domain/index.js';
import { type ApiCommand, fromApi, parseDuration, parsePairs, parseWhen, query, segment } from '../api-command.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type OptionRow } from '../command.js';
import { writeOutput } from '../files.js';
import { printJson } from '../output.js';
import { openSession } from '../session.js';

const DAY_MS = 86_400_000;
/** Both halves of a pair are objects; a list for people leaves the public halves out. */
const LISTED_TYPES = ['symmetric-key', 'private-key', 'secret-data', 'split-key', 'pgp-key'] as const;
const KEY = { name: 'KEY', summary: 'Id or alias of the key.' } as const;
const RECORD_FIELDS = [
  'id',
  'name',
  'names',
  'spec',
  'type',
  'state',
  'usage',
  'exportable',
  'root',
  'protection',
  'currentVersion',
  'createdAt',
  'activationDate',
  'deactivationDate',
  'destroyDate',
  'destroyDueDate',
  'revocation',
  'rotation',
  'usageLimits',
  'tags',
  'description',
  'publicKeyId',
  'revision',
] as const;
const RECORD = { kind: 'record', fields: RECORD_FIELDS } as const;

/** Options shared by every way of making a key. */
export const NEW_KEY_OPTIONS: readonly OptionRow[] = [
  { name: 'usage', value: 'USAGE,…', many: true, choices: KEY_USAGES, summary: 'What the key may do. Default by specification.' },
  { name: 'activate', summary: 'Make it Active at once.' },
  { name: 'exportable', summary: 'Allow the key to leave the root of trust. Can never be changed later.' },
  { name: 'root', value: 'ROOT', summary: 'Root of trust. Default by configuration.' },
  { name: 'alias', value: 'NAME', many: true, summary: 'Further aliases.' },
  { name: 'description', value: 'TEXT', summary: 'For people.' },
  { name: 'tag', value: 'NAME=VALUE', many: true, summary: 'Tags, for policy and search.' },
  { name: 'group', value: 'GROUP', summary: 'Object group.' },
  { name: 'activation', value: 'DATE', summary: 'Becomes Active then (RFC 3339).' },
  { name: 'process-start', value: 'DATE', summary: 'Not before: decrypt, verify, unwrap.' },
  { name: 'protect-stop', value: 'DATE', summary: 'Not after: encrypt, sign, wrap.' },
  { name: 'deactivation', value: 'DATE', summary: 'Becomes Deactivated then.' },
  { name: 'rotate-every', value: 'DURATION', summary: 'Rotate by age, e.g. 90d.' },
  { name: 'rotate-after', value: 'USES', summary: 'Rotate by use count.' },
  { name: 'max-uses', value: 'N', summary: 'Refuse protecting operations after N.' },
];

const toNumber = (text: string | undefined, option: string): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new CliError(`--${option}: “${text}” is not a positive whole number`, EXIT.usage);
  return value;
};

const without = <T extends Record<string, unknown>>(record: T): Partial<T> =>
  Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined)) as Partial<T>;

/** Body of every creating call, from the shared options. */
export function newKeyBody(invocation: Invocation, name: string | undefined): Record<string, unknown> {
  const { text, lists, switches } = invocation;
  const everyMs = parseDuration(text['rotate-every'], 'rotate-every');
  const afterUses = toNumber(text['rotate-after'], 'rotate-after');
  const total = toNumber(text['max-uses'], 'max-uses');
  const names = [...(name === undefined ? [] : [name]), ...(lists['alias'] ?? [])];
  const date = (option: string): string | undefined => {
    const value = text[option];
    if (value === undefined) return undefined;
    const parsed = new Date(value);
    if (Number.isNaN(parsed.getTime()))
      throw new CliError(`--${option}: “${value}” is not a date such as 2027-01-31T12:00:00Z`, EXIT.usage);
    return parsed.toISOString();
  };
  return without({
    names: names.length === 0 ? undefined : names,
    usage: lists['usage'],
    activate: switches.has('activate') || undefined,
    exportable: switches.has('exportable') || undefined,
    root: text['root'],
    description: text['description'],
    tags: parsePairs(lists['tag'], 'tag'),
    group: text['group'],
    activationDate: date('activation'),
    processStartDate: date('process-start'),
    protectStopDate: date('protect-stop'),
    deactivationDate: date('deactivation'),
    rotation:
      everyMs === undefined && afterUses === undefined
        ? undefined
        : without({ everyDays: everyMs === undefined ? undefined : everyMs / DAY_MS, afterUses }),
    usageLimits: total === undefined ? undefined : { unit: 'object', total },
  });
}

const verb = (name: string, summary: string, rest: Partial<ApiCommand> = {}): Command =>
  fromApi({
    path: ['key', name],
    summary,
    arguments: [KEY],
    method: 'POST',
    to: ({ args }) => `/v1/keys/${segment(args[0])}/${name}`,
    body: () => ({}),
    view: RECORD,
    ...rest,
  });

const publicKey: Command = {
  path: ['key', 'public'],
  summary: 'Print the public key.',
  arguments: [KEY],
  options: [
    { name: 'format', value: 'FORMAT', choices: ['pem', 'der', 'jwk'], summary: 'pem (default), der or jwk.' },
    { name: 'version', value: 'N', summary: 'Key version. Default: the current one.' },
    { name: 'out', value: 'FILE', summary: 'Write here instead of standard output.' },
  ],
  example: 'aegis key public invoice --format pem > pub.pem',
  run: async (invocation, terminal) => {
    const format = invocation.text['format'] ?? 'pem';
    const session = openSession(invocation, terminal);
    const answer = await callApi(
      session,
      'GET',
      `/v1/keys/${segment(invocation.args[0])}/public${query({ format, version: invocation.text['version'] })}`,
      { accept: '*/*' },
    );
    const bytes = Buffer.isBuffer(answer.body) ? answer.body : Buffer.from(`${JSON.stringify(answer.body, undefined, 2)}\n`);
    await writeOutput(invocation.text['out'], terminal, [bytes]);
    return EXIT.ok;
  },
};

const csr: Command = {
  path: ['key', 'csr'],
  summary: 'Make a certificate signing request (PKCS#10) with a key in the root.',
  arguments: [KEY],
  options: [
    { name: 'subject', value: 'DN', required: true, summary: 'e.g. CN=www.example.org,O=Example (RFC 4514).' },
    { name: 'san', value: 'NAME', many: true, summary: 'Subject alternative names: dns:…, ip:…, email:…, uri:…' },
    { name: 'out', value: 'FILE', summary: 'Write here instead of standard output.' },
  ],
  run: (invocation, terminal) => pemCommand(invocation, terminal, 'csr', 'csr'),
};

const selfSign: Command = {
  path: ['key', 'self-sign'],
  summary: 'Make a self-signed certificate with a key in the root.',
  arguments: [KEY],
  options: [
    { name: 'subject', value: 'DN', required: true, summary: 'e.g. CN=Example Root.' },
    { name: 'san', value: 'NAME', many: true, summary: 'Subject alternative names.' },
    { name: 'days', value: 'N', summary: 'Validity. Default 365.' },
    { name: 'ca', summary: 'Mark as a certificate authority.' },
    { name: 'register', summary: 'Keep the certificate as a managed object.' },
    { name: 'out', value: 'FILE', summary: 'Write here instead of standard output.' },
  ],
  run: (invocation, terminal) => pemCommand(invocation, terminal, 'self-sign', 'certificate'),
};

async function pemCommand(invocation: Invocation, terminal: Parameters<Command['run']>[1], action: string, field: string): Promise<number> {
  const { text, lists, switches, args } = invocation;
  const body = without({
    subject: text['subject'],
    subjectAltNames: lists['san'],
    days: action === 'self-sign' ? (toNumber(text['days'], 'days') ?? 365) : undefined,
    ca: switches.has('ca') || undefined,
    register: switches.has('register') || undefined,
  });
  const { body: answer } = await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(args[0])}/${action}`, { body });
  if (switches.has('json')) printJson(terminal, answer);
  else await writeOutput(text['out'], terminal, [Buffer.from(String((answer as Record<string, unknown>)[field]))]);
  return EXIT.ok;
}

export const KEY_COMMANDS: readonly Command[] = [
  fromApi({
    path: ['key', 'create'],
    summary: 'Create a key or key pair in a root of trust.',
    arguments: [{ name: 'NAME', summary: 'Alias of the new key.' }],
    options: [
      {
        name: 'spec',
        value: 'SPEC',
        required: true,
        choices: KEY_SPEC_NAMES,
        summary: 'Key specification, e.g. ec-p256, aes-256, rsa-3072.',
      },
      ...NEW_KEY_OPTIONS,
    ],
    example: 'aegis key create invoice --spec ec-p256 --usage sign,verify --activate',
    method: 'POST',
    to: () => '/v1/keys',
    body: (invocation) => ({ spec: invocation.text['spec'], ...newKeyBody(invocation, invocation.args[0]) }),
    view: RECORD,
  }),
  fromApi({
    path: ['key', 'register'],
    summary: 'Register a key that the provider of a layered root has already; it stays there.',
    arguments: [{ name: 'NAME', summary: 'Alias here.' }],
    options: [
      { name: 'ref', value: 'REF', required: true, summary: 'The provider’s own name for it: Transit key, ARN, resource name, URL.' },
      ...NEW_KEY_OPTIONS,
    ],
    example: 'aegis key register payments --root vault --ref payments --activate',
    method: 'POST',
    to: () => '/v1/keys/adopt',
    body: (invocation) => ({ ref: invocation.text['ref'], ...newKeyBody(invocation, invocation.args[0]) }),
    view: RECORD,
  }),
  fromApi({
    path: ['key', 'list'],
    summary: 'List keys.',
    options: [
      { name: 'name', value: 'NAME', summary: 'Exact alias.' },
      { name: 'state', value: 'STATE,…', many: true, choices: LIFECYCLE_STATES, summary: 'Lifecycle states.' },
      { name: 'spec', value: 'SPEC,…', many: true, choices: KEY_SPEC_NAMES, summary: 'Key specifications.' },
      { name: 'type', value: 'TYPE,…', many: true, choices: OBJECT_TYPES, summary: 'Object types. Default: all but public keys.' },
      { name: 'tag', value: 'NAME=VALUE', many: true, summary: 'Tags that must match.' },
      { name: 'root', value: 'ROOT', summary: 'Root of trust.' },
      { name: 'limit', value: 'N', summary: 'Page size.' },
      { name: 'cursor', value: 'CURSOR', summary: 'Where the last page ended.' },
    ],
    method: 'GET',
    to: ({ text, lists }) =>
      `/v1/keys${query({
        name: text['name'],
        state: lists['state'],
        spec: lists['spec'],
        type: lists['type'] ?? LISTED_TYPES,
        root: text['root'],
        limit: text['limit'],
        cursor: text['cursor'],
        ...Object.fromEntries(Object.entries(parsePairs(lists['tag'], 'tag') ?? {}).map(([k, v]) => [`tag.${k}`, v])),
      })}`,
    view: { kind: 'table', columns: ['id', 'name', 'spec', 'type', 'state', 'currentVersion', 'root', 'createdAt'] },
  }),
  fromApi({
    path: ['key', 'get'],
    summary: 'Show a key.',
    arguments: [KEY],
    method: 'GET',
    to: ({ args }) => `/v1/keys/${segment(args[0])}`,
    view: RECORD,
  }),
  publicKey,
  fromApi({
    path: ['key', 'update'],
    summary: 'Change description, aliases, tags, dates, rotation or limits.',
    arguments: [KEY],
    options: [
      ...NEW_KEY_OPTIONS.filter((o) => !['usage', 'activate', 'exportable', 'root'].includes(o.name)),
      { name: 'if-revision', value: 'N', summary: 'Refuse if the key was changed since this revision.' },
    ],
    method: 'PATCH',
    to: ({ args }) => `/v1/keys/${segment(args[0])}`,
    body: (invocation) => newKeyBody(invocation, undefined),
    headers: ({ text }): Record<string, string> => (text['if-revision'] === undefined ? {} : { 'if-match': `"${text['if-revision']}"` }),
    view: RECORD,
  }),
  verb('activate', 'Make a Pre-Active key Active.'),
  verb('rotate', 'Make a new current version; old versions still verify and decrypt.'),
  verb('re-key', 'Replace by a new key with a new id; the names move to it.'),
  verb('revoke', 'Deactivate a key, or mark it compromised.', {
    options: [
      {
        name: 'reason',
        value: 'REASON',
        required: true,
        choices: REVOCATION_REASONS,
        summary: 'Why. key-compromise makes it Compromised, anything else Deactivated.',
      },
      { name: 'message', value: 'TEXT', summary: 'Kept with the key.' },
      { name: 'compromised-at', value: 'DATE', summary: 'When the compromise is thought to have happened.' },
    ],
    example: 'aegis key revoke invoice --reason key-compromise',
    body: ({ text }) =>
      without({ reason: text['reason'], message: text['message'], compromisedAt: parseWhen(text['compromised-at'], 'compromised-at') }),
  }),
  verb('archive', 'Put a key into the archive: it stays, but serves nothing.'),
  verb('recover', 'Bring an archived key back.'),
  fromApi({
    path: ['key', 'destroy'],
    summary: 'Destroy the key material. Revoke an Active key first.',
    arguments: [KEY],
    options: [{ name: 'pending', value: 'DURATION', summary: 'Window in which it can be cancelled, e.g. 7d. Default by configuration.' }],
    method: 'POST',
    to: ({ args }) => `/v1/keys/${segment(args[0])}/destroy`,
    body: ({ text }) => {
      const pendingMs = parseDuration(text['pending'], 'pending');
      return without({ pendingDays: pendingMs === undefined ? undefined : pendingMs / DAY_MS });
    },
    view: RECORD,
  }),
  verb('cancel-destroy', 'Cancel a pending destroy.'),
  fromApi({
    path: ['key', 'evidence'],
    summary: 'What the root of trust itself asserts about a key.',
    arguments: [KEY],
    method: 'GET',
    to: ({ args }) => `/v1/keys/${segment(args[0])}/evidence`,
    view: { kind: 'record' },
  }),
  csr,
  selfSign,
];
