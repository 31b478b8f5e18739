import { type Item, lowerMessage, readTtlv, type Value, writeMessage, writeTtlv } from '@aegis/kmip-ttlv';
import { KmipRefusal } from '@aegis/kmip-ttlv/client';
import { streamApi } from '../client.js';
import { CliError, type Command, EXIT, type OptionRow } from '../command.js';
import { readInput } from '../files.js';
import { KMIP_OPTIONS, type KmipEndpoint, openKmip } from '../kmip-session.js';
import { readCapture, showStructure, toTraced } from '../kmip-trace.js';
import { printJson, printRecord, printTable } from '../output.js';
import { openSession } from '../session.js';

const MAX_CAPTURE_BYTES = 16 * 1024 * 1024;
const MAX_METRICS_BYTES = 16 * 1024 * 1024;
const ms = (value: number): number => Math.round(value * 100) / 100;

/** What a server refused, as a person reads it; a connection that ends at once is nearly always the certificate. */
async function talk<T>(endpoint: KmipEndpoint, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof KmipRefusal)
      throw new CliError(
        error.message,
        error.reason === 'PermissionDenied' ? EXIT.denied : EXIT.failure,
        'See what was recorded: aegis audit list',
      );
    throw new CliError(
      `${endpoint.host}:${endpoint.port}: ${(error as Error).message}`,
      EXIT.unauthenticated,
      'A connection that is closed right after the handshake means that the client certificate was refused: is it valid, not revoked, and for this service?',
    );
  } finally {
    await endpoint.client.close().catch(() => undefined);
  }
}

const ping: Command = {
  path: ['kmip', 'ping'],
  summary: 'Prove that the KMIP endpoint answers: mutual TLS, Discover Versions, Query.',
  options: KMIP_OPTIONS,
  example: 'aegis kmip ping',
  run: async (invocation, terminal) => {
    const endpoint = await openKmip(invocation, terminal);
    const { client, host, port, connectMs } = endpoint;
    const answer = await talk(endpoint, async () => {
      const started = performance.now();
      // Discover Versions came with 1.1 (KMIP 1.1 §4.26).
      const versions = client.version === '1.0' ? ['1.0'] : await client.discoverVersions();
      const roundTripMs = performance.now() - started;
      const query = await client.request('Query', { QueryFunction: ['QueryOperations', 'QueryServerInformation'] } as never);
      return { versions, roundTripMs, query: query as unknown as { Operation?: Value[]; VendorIdentification?: string } };
    });
    const facts = {
      endpoint: `${host}:${port}`,
      protocol: client.version,
      versions: answer.versions,
      vendor: answer.query.VendorIdentification,
      operations: answer.query.Operation?.length ?? 0,
      connectMs: ms(connectMs),
      roundTripMs: ms(answer.roundTripMs),
    };
    if (invocation.switches.has('json')) printJson(terminal, facts);
    else printRecord(terminal, facts);
    return EXIT.ok;
  },
};

const LOCATE_OPTIONS: readonly OptionRow[] = [
  { name: 'name', value: 'NAME', summary: 'Name of the object.' },
  { name: 'type', value: 'TYPE', summary: 'KMIP Object Type, e.g. SymmetricKey.' },
  { name: 'group', value: 'GROUP', summary: 'Object Group.' },
  { name: 'state', value: 'STATE', summary: 'KMIP State, e.g. Active.' },
  { name: 'max', value: 'N', summary: 'At most so many. Default 100.' },
];

const locate: Command = {
  path: ['kmip', 'locate'],
  summary: 'Find objects over KMIP, as a client of that certificate sees them.',
  options: [...KMIP_OPTIONS, ...LOCATE_OPTIONS],
  example: 'aegis kmip locate --type SymmetricKey --state Active',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const max = Number(text['max'] ?? '100');
    if (!Number.isInteger(max) || max < 1 || max > 10_000) throw new CliError('--max: a whole number from 1 to 10000', EXIT.usage);
    const attributes = [
      ...(text['name'] === undefined ? [] : [{ name: 'Name', value: { NameValue: text['name'], NameType: 'UninterpretedTextString' } }]),
      ...(text['type'] === undefined ? [] : [{ name: 'ObjectType', value: text['type'] }]),
      ...(text['group'] === undefined ? [] : [{ name: 'ObjectGroup', value: text['group'] }]),
      ...(text['state'] === undefined ? [] : [{ name: 'State', value: text['state'] }]),
    ];
    const endpoint = await openKmip(invocation, terminal);
    const { client } = endpoint;
    const rows = await talk(endpoint, async () => {
      const found = (await client.request('Locate', { MaximumItems: max, Attributes: attributes } as never)) as {
        UniqueIdentifier?: string[];
      };
      const names = [{ name: 'Name' }, { name: 'ObjectType' }, { name: 'State' }];
      const rows: Record<string, unknown>[] = [];
      for (const id of found.UniqueIdentifier ?? []) {
        const answer = await client.request('GetAttributes', { UniqueIdentifier: id, AttributeReference: names } as never);
        rows.push({ id, ...attributesOf(answer as { Attributes?: { name: string; value: unknown }[] }) });
      }
      return rows;
    });
    if (switches.has('json')) printJson(terminal, rows);
    else printTable(terminal, ['id', 'type', 'state', 'names'], rows);
    return EXIT.ok;
  },
};

const attributesOf = (answer: { readonly Attributes?: readonly { readonly name: string; readonly value: unknown }[] }) => {
  const all = answer.Attributes ?? [];
  const one = (name: string) => all.find((a) => a.name === name)?.value;
  const names = all
    .filter((a) => a.name === 'Name')
    .map((a) => (typeof a.value === 'string' ? a.value : (a.value as { NameValue?: string }).NameValue));
  return { type: one('ObjectType'), state: one('State'), names };
};

/** `name{a="b",c="d"} 12` → name, labels and value. */
const SAMPLE = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i;
const LABEL = /([a-z_][a-z0-9_]*)="((?:[^"\\]|\\.)*)"/gi;
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
const parseMetrics = (text: string): Sample[] =>
  text.split('\n').flatMap((line) => {
    const match = SAMPLE.exec(line);
    if (match === null || line.startsWith('#')) return [];
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(LABEL)].map(([, key, value]) => [key, value]));
    return [{ name: match[1] ?? '', labels: labels as Record<string, string>, value: Number(match[3]) }];
  });

const stats: Command = {
  path: ['kmip', 'stats'],
  summary: 'Connections and requests of the KMIP plane, from the service’s metrics.',
  details: 'Reads /metrics of the REST plane; nothing of it needs a credential. Counts begin with the start of the service.',
  run: async (invocation, terminal) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of await streamApi(openSession(invocation, terminal), 'GET', '/metrics')) {
      size += part.byteLength;
      if (size > MAX_METRICS_BYTES) throw new CliError('the metrics are too long', EXIT.failure);
      parts.push(part);
    }
    const samples = parseMetrics(Buffer.concat(parts).toString('utf8'));
    const plane = samples.filter((s) => s.name.startsWith('aegis_kmip_') && !s.name.endsWith('_bucket'));
    const calls = new Map<string, { operation: string; success: number; refused: number; failed: number }>();
    for (const { name, labels, value } of samples) {
      if (name !== 'aegis_operations_total' || labels['plane'] !== 'kmip') continue;
      const operation = labels['operation'] ?? '';
      const row = calls.get(operation) ?? { operation, success: 0, refused: 0, failed: 0 };
      const outcome = labels['outcome'] === 'success' ? 'success' : labels['outcome'] === 'refused' ? 'refused' : 'failed';
      row[outcome] += value;
      calls.set(operation, row);
    }
    const rows = [...calls.values()].sort((a, b) => (a.operation < b.operation ? -1 : 1));
    if (invocation.switches.has('json')) {
      printJson(terminal, { plane, calls: rows });
      return EXIT.ok;
    }
    printTable(
      terminal,
      ['metric', 'labels', 'value'],
      plane.map(({ name, labels, value }) => ({ metric: name.replace(/^aegis_kmip_/, ''), labels, value })),
    );
    terminal.stdout.write('\n');
    printTable(terminal, ['operation', 'success', 'refused', 'failed'], rows);
    return EXIT.ok;
  },
};

/** Requests that change nothing and need nothing: what `trace` sends by itself. */
const TRACEABLE: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  Query: { QueryFunction: ['QueryOperations', 'QueryObjects', 'QueryServerInformation'] },
  DiscoverVersions: {},
  Locate: { MaximumItems: 10, Attributes: [] },
  Ping: {},
};

const trace: Command = {
  path: ['kmip', 'trace'],
  summary: 'Show the structure of KMIP messages: tags, types and lengths, never a value.',
  options: [
    ...KMIP_OPTIONS,
    { name: 'in', value: 'FILE', summary: 'A capture instead of a live request: TTLV as bytes or hex, XML or JSON; `-` = standard input.' },
    { name: 'operation', value: 'NAME', choices: Object.keys(TRACEABLE), summary: 'Live request to make. Default Query.' },
  ],
  details:
    'What it prints can be given to anybody: no identifier, name, date, number or key byte is in it. Cut a capture out of a decrypted TLS stream, or let a client of yours write its messages to a file.',
  example: 'aegis kmip trace --in message.bin',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const messages: { direction: string; item: Item }[] = [];
    if (text['in'] !== undefined) {
      for (const item of readCapture(await readInput(text['in'], terminal, MAX_CAPTURE_BYTES)))
        messages.push({ direction: 'message', item });
    } else {
      const operation = text['operation'] ?? 'Query';
      const endpoint = await openKmip(invocation, terminal);
      const { client } = endpoint;
      const request = writeMessage(
        lowerMessage({
          kind: 'request',
          version: client.version,
          header: {},
          items: [{ operation, payload: TRACEABLE[operation] as never, fields: {} }],
        }),
      );
      const answer = await talk(endpoint, () => client.exchange(writeTtlv(request)));
      messages.push({ direction: 'request', item: request }, { direction: 'response', item: readTtlv(answer) });
    }
    if (switches.has('json')) {
      printJson(
        terminal,
        messages.map(({ direction, item }) => ({ direction, message: toTraced(item) })),
      );
      return EXIT.ok;
    }
    for (const { direction, item } of messages) {
      if (text['in'] === undefined) terminal.stdout.write(`${direction}\n`);
      terminal.stdout.write(`${showStructure(item)}\n`);
    }
    return EXIT.ok;
  },
};

export const KMIP_COMMANDS: readonly Command[] = [ping, locate, stats, trace];
