import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { verifyExport } from '../../audit/index.js';
import { fromApi, parseWhen, query, segment } from '../api-command.js';
import { callApi, streamApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type OptionRow } from '../command.js';
import { promptSecret, writeOutput } from '../files.js';
import { makeProgress, printJson, printTable } from '../output.js';
import { openSession, readSecretFile } from '../session.js';

const FILTERS: readonly OptionRow[] = [
  { name: 'actor', value: 'ID', summary: 'Principal id or name.' },
  { name: 'parent', value: 'ID', summary: 'Human whose agents acted.' },
  { name: 'action', value: 'ACTION', summary: 'e.g. keys:sign.' },
  { name: 'operation', value: 'OPERATION', summary: 'e.g. sign.' },
  { name: 'resource', value: 'ID', summary: 'Object id.' },
  { name: 'outcome', value: 'OUTCOME', choices: ['intent', 'success', 'refused', 'failed'], summary: 'How it ended.' },
  { name: 'since', value: 'WHEN', summary: 'Date, or a time ago such as 24h.' },
  { name: 'until', value: 'WHEN', summary: 'Date, or a time ago.' },
  { name: 'request', value: 'ID', summary: 'Request id.' },
];
const filterPairs = ({ text }: Invocation): Record<string, string | undefined> => ({
  actor: text['actor'],
  parent: text['parent'],
  action: text['action'],
  operation: text['operation'],
  resource: text['resource'],
  outcome: text['outcome'],
  since: parseWhen(text['since'], 'since'),
  until: parseWhen(text['until'], 'until'),
  requestId: text['request'],
});
const COLUMNS = ['at', 'actor', 'operation', 'resource', 'outcome', 'fault', 'statement', 'requestId'] as const;

interface RecordRow {
  readonly id: string;
  readonly actor: { readonly name: string; readonly kind: string };
  readonly resource?: { readonly id: string; readonly name?: string };
  readonly [field: string]: unknown;
}
const toRow = (record: RecordRow): Record<string, unknown> => ({
  ...record,
  actor: `${record.actor.kind}:${record.actor.name}`,
  resource: record.resource?.name ?? record.resource?.id,
});

const list: Command = {
  path: ['audit', 'list'],
  summary: 'List audit records, newest first.',
  options: [
    ...FILTERS,
    { name: 'limit', value: 'N', summary: 'Page size.' },
    { name: 'cursor', value: 'CURSOR', summary: 'Where the last page ended.' },
  ],
  run: async (invocation, terminal) => {
    const { text } = invocation;
    const { body } = await callApi(
      openSession(invocation, terminal),
      'GET',
      `/v1/audit${query({ ...filterPairs(invocation), limit: text['limit'], cursor: text['cursor'] })}`,
    );
    const page = body as { items: RecordRow[]; next?: string };
    if (invocation.switches.has('json')) printJson(terminal, page);
    else {
      printTable(terminal, COLUMNS, page.items.map(toRow));
      if (page.next !== undefined) terminal.stderr.write(`More: add --cursor ${page.next}\n`);
    }
    return EXIT.ok;
  },
};

const POLL_MS = 1_000;
const tail: Command = {
  path: ['audit', 'tail'],
  summary: 'Follow the audit log until interrupted.',
  options: [
    ...FILTERS.filter((o) => !['since', 'until'].includes(o.name)),
    { name: 'lines', value: 'N', summary: 'Records to begin with. Default 10.' },
  ],
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const seen = new Set<string>();
    let limit = Number(invocation.text['lines'] ?? '10');
    for (;;) {
      const { body } = await callApi(session, 'GET', `/v1/audit${query({ ...filterPairs(invocation), limit: Math.max(limit, 1) })}`);
      const fresh = (body as { items: RecordRow[] }).items.filter((r) => !seen.has(r.id)).reverse();
      for (const record of limit === 0 ? [] : fresh) {
        if (invocation.switches.has('json')) terminal.stdout.write(`${JSON.stringify(record)}\n`);
        else terminal.stdout.write(`${COLUMNS.map((c) => String(toRow(record)[c] ?? '-')).join('  ')}\n`);
      }
      for (const record of fresh) seen.add(record.id);
      // The window of ids is bounded: the newest thousand are enough to tell old from new.
      for (const id of seen) {
        if (seen.size <= 2_000) break;
        seen.delete(id);
      }
      limit = 500;
      await sleep(POLL_MS);
    }
  },
};

const exportAudit: Command = {
  path: ['audit', 'export'],
  summary: 'Export audit records with their chain and checkpoints.',
  options: [
    ...FILTERS,
    { name: 'format', value: 'FORMAT', choices: ['jsonl', 'csv'], summary: 'jsonl (default; can be verified offline) or csv.' },
    { name: 'out', value: 'FILE', summary: 'Default: standard output.' },
  ],
  example: 'aegis audit export --format jsonl --out log.jsonl',
  run: async (invocation, terminal) => {
    const format = invocation.text['format'] ?? 'jsonl';
    const stream = await streamApi(
      openSession(invocation, terminal),
      'GET',
      `/v1/audit/export${query({ ...filterPairs(invocation), format })}`,
    );
    const progress = makeProgress(terminal, 'exporting');
    await writeOutput(invocation.text['out'], terminal, counted(stream, progress.advance), 0o600);
    progress.done();
    return EXIT.ok;
  },
};

async function* counted(stream: AsyncIterable<Uint8Array>, advance: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const part of stream) {
    advance(part.byteLength);
    yield part;
  }
}

const verify: Command = {
  path: ['audit', 'verify'],
  summary: 'Verify an export offline, or, without a file, the log of the service. Names the first bad record.',
  arguments: [{ name: 'FILE', summary: 'An export in jsonl.', optional: true }],
  options: [
    {
      name: 'public-key',
      value: 'FILE',
      summary: 'PEM of the checkpoint key you trust; without it the key in the file is shown, not trusted.',
    },
  ],
  details: 'Only checkpoints kept elsewhere protect against someone who owns the database: keep exports.',
  example: 'aegis audit verify log.jsonl',
  run: async (invocation, terminal) => {
    const [path] = invocation.args;
    const result =
      path === undefined
        ? (await callApi(openSession(invocation, terminal), 'POST', '/v1/audit/verify', { body: {} })).body
        : await verifyFile(path, invocation.text['public-key']);
    const verification = result as {
      valid: boolean;
      records: number;
      chains: number;
      checkpoints: number;
      firstBad?: { node: string; boot: string; sequence: number; reason: string };
      problems: string[];
      notes?: string[];
      keyFingerprints?: string[];
    };
    if (invocation.switches.has('json')) printJson(terminal, verification);
    else {
      terminal.stdout.write(
        `${verification.valid ? 'valid' : 'NOT VALID'}: ${verification.records} records in ${verification.chains} chains, ${verification.checkpoints} checkpoints\n`,
      );
      const bad = verification.firstBad;
      if (bad !== undefined)
        terminal.stdout.write(`first bad record: node ${bad.node} boot ${bad.boot} sequence ${bad.sequence}: ${bad.reason}\n`);
      for (const problem of verification.problems) terminal.stdout.write(`- ${problem}\n`);
      for (const note of verification.notes ?? []) terminal.stdout.write(`note: ${note}\n`);
      for (const fingerprint of verification.keyFingerprints ?? []) terminal.stdout.write(`checkpoint key SHA-256: ${fingerprint}\n`);
    }
    return verification.valid ? EXIT.ok : EXIT.verificationFailed;
  },
};

async function verifyFile(path: string, publicKeyPath: string | undefined): Promise<unknown> {
  if (!existsSync(path)) throw new CliError(`${path} does not exist`, EXIT.notFound);
  const { readFileSync } = await import('node:fs');
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
  return verifyExport(lines, publicKeyPath === undefined ? {} : { publicKey: readFileSync(publicKeyPath, 'utf8') });
}

const rotateSeal: Command = fromApi({
  path: ['root', 'rotate-seal'],
  summary: 'Replace the sealing key of a root and re-seal every key under it.',
  arguments: [{ name: 'ROOT', summary: 'Name of the root.' }],
  method: 'POST',
  to: ({ args }) => `/v1/roots/${segment(args[0])}/rotate-seal`,
  body: () => ({}),
  view: { kind: 'record' },
});

const backupCreate: Command = {
  path: ['backup', 'create'],
  summary: 'Write one encrypted file with data, audit and sealed keys.',
  options: [
    { name: 'out', value: 'FILE', required: true, summary: 'File to write (0600).' },
    { name: 'passphrase-file', value: 'FILE', summary: 'Passphrase that encrypts the backup. Default: ask.' },
  ],
  details: 'The sealing key of the root (or the HSM) is not in the backup: keep it separately, or the keys cannot be opened.',
  run: async (invocation, terminal) => {
    const file = invocation.text['passphrase-file'];
    const passphrase = file === undefined ? await askTwice(terminal) : readSecretFile(file);
    const stream = await streamApi(openSession(invocation, terminal), 'POST', '/v1/backups', { passphrase });
    const progress = makeProgress(terminal, 'backing up');
    await writeOutput(invocation.text['out'], terminal, counted(stream, progress.advance), 0o600);
    progress.done();
    terminal.stderr.write(`Backup written to ${invocation.text['out']}. Check it: aegis backup verify ${invocation.text['out']}\n`);
    return EXIT.ok;
  },
};

async function askTwice(terminal: Parameters<Command['run']>[1]): Promise<string> {
  const first = await promptSecret(terminal, 'Passphrase for the backup: ');
  if (first.length < 12) throw new CliError('the passphrase is shorter than 12 characters', EXIT.usage);
  if ((await promptSecret(terminal, 'Again: ')) !== first) throw new CliError('the two passphrases differ', EXIT.usage);
  return first;
}

export const RECORD_COMMANDS: readonly Command[] = [
  list,
  tail,
  exportAudit,
  verify,
  fromApi({
    path: ['audit', 'health'],
    summary: 'Whether records become durable and are folded into checkpoints.',
    method: 'GET',
    to: () => '/v1/audit/health',
    view: { kind: 'record' },
  }),
  fromApi({
    path: ['root', 'list'],
    summary: 'List roots of trust and their health.',
    method: 'GET',
    to: () => '/v1/roots',
    view: { kind: 'table', columns: ['id', 'kind', 'state', 'isDefault', 'hosts', 'detail'] },
  }),
  fromApi({
    path: ['root', 'get'],
    summary: 'Show a root: module facts and capabilities.',
    arguments: [{ name: 'ROOT', summary: 'Name of the root.' }],
    method: 'GET',
    to: ({ args }) => `/v1/roots/${segment(args[0])}`,
    view: { kind: 'text', of: (body) => JSON.stringify(body, undefined, 2) },
  }),
  rotateSeal,
  backupCreate,
];
